
/*
 * The driver: answers of a CLI with tools of its own.
 *
 * Between two messages of the model the CLI uses its tools.  The client gets
 * what the model says in all of them as one text, the usage is the sum, and
 * the CLI's result is the end, not the first stop reason.
 */


#include "ngx_claude_driver_private.h"


#define driver_agent_is(s, text)                                              \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_memcmp((s)->data, text, sizeof(text) - 1) == 0)


/* the model goes on after the CLI has used its tools */

void
driver_agent_next(ngx_claude_process_t *process)
{
    driver_block_end(process);
    process->parted = process->texted;
}


/* text follows the text of a message before */

void
driver_agent_part(ngx_claude_process_t *process)
{
    static u_char  part[] = "\n\n";

    driver_block_text(process, part, 2);
}


/* 0: the result is no answer */

ngx_uint_t
driver_agent_result(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t                *subtype;
    ngx_claude_link_t         link;
    ngx_claude_turn_t        *turn;

    turn = process->turn;
    subtype = &line->string[NGX_CLAUDE_CLI_S_SUBTYPE];

    if (!turn->is_started) {
        return 0;
    }

    if (driver_agent_is(subtype, "error_max_turns") && process->texted) {

        /* --max-turns in claude_args */

        driver_stop_as(turn, NGX_CLAUDE_STOP_LENGTH);

    } else if (line->is_error || !driver_agent_is(subtype, "success")) {
        return 0;
    }

    if (turn->stop == NGX_CLAUDE_STOP_TOOL) {
        driver_stop_as(turn, NGX_CLAUDE_STOP_END);
    }

    turn->usage = turn->spent.usage;

    driver_block_end(process);
    ngx_claude_link_end(&process->answer, &link);

    if (driver_hold_answer(process, &link) != NGX_OK) {
        process->doubtful = 1;
    }

    process->phase = DRIVER_SETTLING;

    driver_finished(turn);

    driver_settled(process);

    return 1;
}
