
/*
 * The driver: what its files stand on.
 */


#include "ngx_claude_driver_private.h"


ngx_claude_zone_t                *driver_zone;
const ngx_claude_driver_hooks_t  *driver_hooks;


ngx_uint_t
driver_id(ngx_claude_seat_t *seat, ngx_uint_t kind)
{
    return ++seat->holding.requests * DRIVER_KINDS + kind;
}


/* the first thing that the model has said, of whatever kind */

void
driver_token(ngx_claude_turn_t *turn)
{
    if (turn->answer.ttft == (ngx_msec_t) -1) {
        turn->answer.ttft = ngx_current_msec - turn->answer.begun;
    }
}


ngx_claude_heard_e
driver_no_memory(ngx_claude_seat_t *seat)
{
    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                                  "no memory for its answer");
}


/*
 * A call of a tool that was not offered.  The CLI would answer it itself and
 * ask the model again, as soon as the call is complete, so it is stopped
 * while it begins.  What was said before it is the answer.
 */

ngx_claude_heard_e
driver_foreign_tool(ngx_claude_seat_t *seat)
{
    seat->reply.foreign_tool = 1;

    if (!seat->reply.texted && seat->holding.ncalls == 0) {
        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "the model called a tool that it was "
                                      "not offered");
    }

    driver_stop_as(seat->turn, seat->holding.ncalls ? NGX_CLAUDE_STOP_TOOL
                                                    : NGX_CLAUDE_STOP_END);
    return NGX_CLAUDE_CUT;
}


void
driver_stop_as(ngx_claude_turn_t *turn, ngx_claude_stop_e stop)
{
    turn->answer.stop = stop;

    ngx_str_null(&turn->answer.stop_reason);
    ngx_str_null(&turn->answer.stop_sequence);
}
