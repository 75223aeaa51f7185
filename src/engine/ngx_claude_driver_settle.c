
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
driver_interrupt(ngx_claude_seat_t *seat)
{
    seat->reply.cut = 1;
    seat->state = DRIVER_SETTLING;

    if (!seat->reply.begun) {
        seat->reply.unwanted = 1;
        return;
    }

    if (ngx_claude_cli_interrupt(seat->outbox,
                                 driver_id(seat, DRIVER_INTERRUPT))
        != NGX_OK)
    {
        seat->doubtful = 1;
        return;
    }

    ngx_claude_process_flush(seat->process);
}


/* every message has its init line; that of the question is the last */

void
driver_begun(ngx_claude_seat_t *seat)
{
    if (seat->state != DRIVER_ASKED && seat->state != DRIVER_SETTLING) {
        return;
    }

    seat->reply.begun = 1;

    if (seat->reply.unwanted) {
        seat->reply.unwanted = 0;
        driver_interrupt(seat);
    }
}


/* the process is done with its turn, which may have left it before */

void
driver_settled(ngx_claude_seat_t *seat)
{
    ngx_uint_t          keep;
    ngx_claude_turn_t  *turn;

    if (driver_restate(seat)) {
        return;
    }

    turn = seat->turn ? driver_detach(seat) : NULL;

    if (turn) {
        driver_leave(seat, turn);
    }

    driver_calls_drop(seat);
    seat->reply.restating = 0;

    if (seat->doubtful || seat->process->is_broken) {
        ngx_claude_driver_end(seat);

    } else if (seat->reply.cut) {
        seat->reply.cut = 0;
        seat->state = DRIVER_REWINDING;

        keep = ngx_claude_driver_cut(seat, seat->held.nelts - 1);

        if (driver_rewind(seat, keep) == NGX_OK) {
            ngx_claude_driver_rearm(seat);
            ngx_claude_process_flush(seat->process);

        } else {
            ngx_claude_driver_end(seat);
        }

    } else {
        ngx_memcpy(seat->holding.session, seat->naming,
                   sizeof(seat->holding.session));
        driver_said_drop(seat);
        driver_idle(seat);
    }

    if (turn) {
        driver_finish(turn);
    }
}


/* as an idle one, but for what it has to be told next */

void
driver_wait(ngx_claude_seat_t *seat)
{
    ngx_int_t           ticket;
    ngx_claude_turn_t  *turn;

    turn = seat->turn ? driver_detach(seat) : NULL;

    if (turn) {
        driver_leave(seat, turn);
    }

    if (seat->doubtful || seat->process->is_broken) {
        ngx_claude_driver_end(seat);

    } else {
        seat->state = DRIVER_WAITING;
        seat->holding.waiting = 1;

        ngx_memcpy(seat->holding.session, seat->naming,
                   sizeof(seat->holding.session));

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }

        /* its record stays: without the results the question is taken back */

        ticket = seat->ticket;
        seat->ticket = -1;

        driver_unasked(seat);

        driver_hooks->idle(seat);

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
driver_idle(ngx_claude_seat_t *seat)
{
    ngx_int_t  ticket;

    if (seat->process->ending || seat->process->is_broken) {
        return;
    }

    seat->state = DRIVER_IDLE;
    seat->reply.resulted = 0;

    driver_paid(seat);

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    /* what cannot be said of its session ends it */

    driver_session_record(seat, 0);

    if (seat->doubtful) {
        ngx_claude_driver_end(seat);
        return;
    }

    ticket = seat->ticket;
    seat->ticket = -1;

    driver_hooks->idle(seat);

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}


/* turn and process part */

ngx_claude_turn_t *
driver_detach(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    ngx_claude_metrics_parted(driver_zone->counters, turn,
                              seat->billed ? seat->bill.account : NULL);

    turn->seat = NULL;
    seat->turn = NULL;

    return turn;
}


/* its client has the whole answer, and may ask the next thing at once */

void
driver_finished(ngx_claude_turn_t *turn)
{
    if (turn->session.named && turn->session.held) {
        ngx_claude_zone_turn_answered(driver_zone, turn->ticket);
    }

    turn->is_finished = 1;
    turn->handlers->finished(turn);
}


/* the turn's place among the running ones is free */

void
driver_leave(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    ngx_int_t  ticket;

    ticket = turn->ticket;
    turn->ticket = -1;

    if (turn->session.named && turn->session.held) {

        /* the next one of the session finds it idle, or gone */

        ngx_claude_zone_turn_answered(driver_zone, ticket);
        driver_session_leave(seat);
        seat->ticket = ticket;
        return;
    }

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}
