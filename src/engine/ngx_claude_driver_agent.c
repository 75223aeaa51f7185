
/*
 * The driver: answers of a CLI with tools of its own.
 *
 * Between two messages of the model the CLI uses its tools.  The client gets
 * what the model says in all of them as one text, the usage is the sum, and
 * the CLI's result is the end, not the first stop reason.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_cstr.h"


/* the model goes on after the CLI has used its tools */

void
driver_agent_next(ngx_claude_seat_t *seat)
{
    driver_block_end(seat);

    seat->reply.parted = seat->reply.texted;
}


/* 0: the result is no answer */

ngx_uint_t
driver_agent_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t          *subtype;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    subtype = &line->string[NGX_CLAUDE_CLI_S_SUBTYPE];

    if (!turn->engine.is_started) {
        return 0;
    }

    if (ngx_claude_is(subtype, "error_max_turns") && seat->reply.texted) {

        /* --max-turns in claude_args */

        driver_stop_as(turn, NGX_CLAUDE_STOP_LENGTH);

    } else if (line->is_error || !ngx_claude_is(subtype, "success")) {
        return 0;
    }

    if (turn->answer.stop == NGX_CLAUDE_STOP_TOOL) {
        driver_stop_as(turn, NGX_CLAUDE_STOP_END);
    }

    turn->answer.usage = turn->answer.spent.usage;

    return 1;
}
