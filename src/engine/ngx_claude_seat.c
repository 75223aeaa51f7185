
/*
 * A seat.  See the header.
 */


#include "ngx_claude_seat.h"
#include "ngx_claude_table.h"


static const char *const  seat_states[] = {
    [NGX_CLAUDE_SEAT_STARTING]  = "starting",
    [NGX_CLAUDE_SEAT_IDLE]      = "idle",
    [NGX_CLAUDE_SEAT_RUNNING]   = "running",
    [NGX_CLAUDE_SEAT_RETURNING] = "returning",
    [NGX_CLAUDE_SEAT_ASKED]     = "asked",
    [NGX_CLAUDE_SEAT_SETTLING]  = "settling",
    [NGX_CLAUDE_SEAT_MENDING]   = "mending",
    [NGX_CLAUDE_SEAT_ENDING]    = "ending"
};

ngx_claude_table_check(seat_states, NGX_CLAUDE_SEAT_STATES);


void
ngx_claude_seat_state(ngx_claude_seat_t *seat, ngx_claude_seat_state_e state)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat), 0,
                   "claude: process %P was %s, is %s", seat->process->pid,
                   seat_states[seat->state], seat_states[state]);

    seat->state = state;
}


ngx_uint_t
ngx_claude_seat_at(ngx_claude_seat_t *seat, ngx_claude_step_e step)
{
    return (seat->state == NGX_CLAUDE_SEAT_RUNNING
            || seat->state == NGX_CLAUDE_SEAT_MENDING)
           && seat->at < seat->plan.nsteps
           && seat->plan.steps[seat->at].step == step;
}


ngx_claude_wait_e
ngx_claude_seat_waits(ngx_claude_seat_t *seat)
{
    if ((seat->state != NGX_CLAUDE_SEAT_RUNNING
         && seat->state != NGX_CLAUDE_SEAT_MENDING)
        || seat->at >= seat->plan.nsteps)
    {
        return NGX_CLAUDE_WAIT_NONE;
    }

    return seat->plan.steps[seat->at].wait;
}


ngx_claude_heard_e
ngx_claude_seat_failed(ngx_claude_seat_t *seat, ngx_claude_fail_e fail,
    ngx_str_t *reason, const char *detail)
{
    seat->failure.fail = fail;
    seat->failure.reason = reason;
    seat->failure.detail = detail;

    return NGX_CLAUDE_FAILED;
}
