
/*
 * The driver: how a process is done with its turn.
 *
 * The model is stopped if need be, turn and process part, and the process is
 * idle again, waits for the results of its calls, takes the question back, or
 * is ended.  The asker is told last, since it may ask the next thing at once.
 */


#include "ngx_claude_driver_private.h"


/*
 * Makes the model stop; the result that follows settles the process.  Not
 * before the CLI has begun with the question: an interrupt that comes while
 * it is queued leaves it there, to be answered as if it were the next one.
 */

void
driver_interrupt(ngx_claude_process_t *process)
{
    process->cut = 1;
    process->phase = DRIVER_SETTLING;

    if (!process->begun) {
        process->unwanted = 1;
        return;
    }

    if (ngx_claude_cli_interrupt(process,
                                 driver_id(process, DRIVER_INTERRUPT))
        != NGX_OK)
    {
        process->doubtful = 1;
        return;
    }

    ngx_claude_process_flush(process);
}


/* every message has its init line; that of the question is the last */

void
driver_begun(ngx_claude_process_t *process)
{
    if (process->phase != DRIVER_ASKED && process->phase != DRIVER_SETTLING) {
        return;
    }

    process->begun = 1;

    if (process->unwanted) {
        process->unwanted = 0;
        driver_interrupt(process);
    }
}


/* the process is done with its turn, which may have left it before */

void
driver_settled(ngx_claude_process_t *process)
{
    ngx_uint_t          keep;
    ngx_claude_turn_t  *turn;

    if (driver_restate(process)) {
        return;
    }

    turn = process->turn ? driver_detach(process) : NULL;

    if (turn) {
        driver_leave(process, turn);
    }

    driver_calls_drop(process);
    process->restating = 0;

    if (process->doubtful || process->is_broken) {
        ngx_claude_driver_end(process);

    } else if (process->cut) {
        process->cut = 0;
        process->phase = DRIVER_REWINDING;

        keep = ngx_claude_driver_cut(process, process->held.nelts - 1);

        if (driver_rewind(process, keep) == NGX_OK) {
            ngx_claude_driver_rearm(process);
            ngx_claude_process_flush(process);

        } else {
            ngx_claude_driver_end(process);
        }

    } else {
        ngx_memcpy(process->session, process->naming,
                   sizeof(process->session));
        driver_said_drop(process);
        driver_idle(process);
    }

    if (turn) {
        driver_finish(turn);
    }
}


/* as an idle one, but for what it has to be told next */

void
driver_wait(ngx_claude_process_t *process)
{
    ngx_int_t           ticket;
    ngx_claude_turn_t  *turn;

    turn = process->turn ? driver_detach(process) : NULL;

    if (turn) {
        driver_leave(process, turn);
    }

    if (process->doubtful || process->is_broken) {
        ngx_claude_driver_end(process);

    } else {
        process->phase = DRIVER_WAITING;
        process->pending = 1;

        ngx_memcpy(process->session, process->naming,
                   sizeof(process->session));

        if (process->timer.timer_set) {
            ngx_del_timer(&process->timer);
        }

        /* its record stays: without the results the question is taken back */

        ticket = process->ticket;
        process->ticket = -1;

        driver_unasked(process);

        driver_hooks->idle(process);

        if (ticket != -1) {
            driver_hooks->leave(ticket);
        }
    }

    if (turn) {
        driver_bill_wait(turn);
        driver_finish(turn);
    }
}


void
driver_idle(ngx_claude_process_t *process)
{
    ngx_int_t  ticket;

    if (process->ending || process->is_broken) {
        return;
    }

    process->phase = DRIVER_IDLE;
    process->resulted = 0;

    driver_paid(process);

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    /* what cannot be said of its session ends it */

    driver_session_record(process, 0);

    if (process->doubtful) {
        ngx_claude_driver_end(process);
        return;
    }

    ticket = process->ticket;
    process->ticket = -1;

    driver_hooks->idle(process);

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}


/* turn and process part */

ngx_claude_turn_t *
driver_detach(ngx_claude_process_t *process)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    ngx_claude_metrics_parted(driver_zone->counters, turn,
                              process->billed ? process->account : NULL);

    turn->process = NULL;
    process->turn = NULL;

    return turn;
}


/* its client has the whole answer, and may ask the next thing at once */

void
driver_finished(ngx_claude_turn_t *turn)
{
    if (turn->session.named && turn->session.owner) {
        ngx_claude_zone_turn_answered(driver_zone, turn->ticket);
    }

    driver_block_end(turn->process);

    turn->is_finished = 1;
    turn->handlers->finished(turn);
}


/* the turn's place among the running ones is free */

void
driver_leave(ngx_claude_process_t *process, ngx_claude_turn_t *turn)
{
    ngx_int_t  ticket;

    ticket = turn->ticket;
    turn->ticket = -1;

    if (turn->session.named && turn->session.owner) {

        /* the next one of the session finds it idle, or gone */

        ngx_claude_zone_turn_answered(driver_zone, ticket);
        driver_session_leave(process);
        process->ticket = ticket;
        return;
    }

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}
