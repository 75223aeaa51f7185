
/*
 * The driver: how a seat moves.
 *
 * Its plan is run step by step, up to the question and after the answer; the
 * model is stopped if need be, turn and process part, and the process is idle
 * again, waits for the results of its calls, or is ended.  The asker is told
 * last, since it may ask the next thing at once.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_table.h"


/* how long a process may take to settle after a turn, msec */
#define DRIVER_SETTLE      2000

/* after which one that is to end counts as gone: SIGKILL was 1500 */
#define DRIVER_END         10000


static void driver_left_alone(ngx_claude_seat_t *seat);
static void driver_mend(ngx_claude_seat_t *seat);
static void driver_leave_session(ngx_claude_seat_t *seat);
static void driver_proved(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn);
static ngx_uint_t driver_replaceable(ngx_claude_seat_t *seat,
    ngx_claude_fail_e fail);
static void driver_replace(ngx_claude_seat_t *seat);
static void driver_fail_process(ngx_claude_seat_t *seat,
    ngx_claude_fail_e fail);


/*
 * Writers: NGX_OK: written, the step's answers are due; NGX_DONE: there was
 * nothing to write that would have an answer; NGX_ERROR: no memory.
 */
static ngx_int_t  (*const driver_writers[])(ngx_claude_seat_t *seat,
    ngx_uint_t arg) = {
    [NGX_CLAUDE_STEP_CALL_OFF] = driver_call_off,
    [NGX_CLAUDE_STEP_UNRECORD] = driver_unrecord,
    [NGX_CLAUDE_STEP_REWIND]   = driver_rewind,
    [NGX_CLAUDE_STEP_MODEL]    = driver_model,
    [NGX_CLAUDE_STEP_SERVERS]  = driver_servers,
    [NGX_CLAUDE_STEP_SETTINGS] = driver_settings,
    [NGX_CLAUDE_STEP_REPLAY]   = driver_replay,
    [NGX_CLAUDE_STEP_RESULTS]  = driver_results,
    [NGX_CLAUDE_STEP_ASK]      = driver_ask,
    [NGX_CLAUDE_STEP_RECORD]   = driver_record,
    [NGX_CLAUDE_STEP_RESTATE]  = driver_restate,
    [NGX_CLAUDE_STEP_MARK]     = driver_mark,
    [NGX_CLAUDE_STEP_SYNC]     = driver_sync
};

ngx_claude_table_check(driver_writers, NGX_CLAUDE_STEPS);


ngx_int_t
driver_begin_plan(ngx_claude_seat_t *seat)
{
    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat), 0,
                   "claude: process %P, plan: %V, keeps %uD of %uD messages, "
                   "%uD steps", seat->process->pid,
                   ngx_claude_rung_name(seat->turn->answer.rung),
                   seat->plan.keep, seat->holding.nheld, seat->plan.nsteps);

    if (seat->doubtful || seat->plan.rung == NGX_CLAUDE_RUNG_NONE
        || driver_session_follow(seat, seat->plan.keep) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_claude_process_begin(seat->process);

    seat->at = 0;
    driver_state(seat, NGX_CLAUDE_SEAT_RUNNING);

    if (seat->turn->engine.paused) {
        ngx_claude_process_pause(seat->process);

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }
    }

    return driver_run(seat);
}


void
driver_unfold(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    seat->holding.used = 1;

    driver_hooks->started(seat);

    ngx_claude_plan_new(&seat->plan, &seat->holding, turn);

    if (seat->bare) {

        /* model and system text are those of the launch */

        seat->doubtful = 1;
        driver_fail(seat, NGX_CLAUDE_FAIL_SESSION_GONE, NULL, NULL);
        return;
    }

    if (seat->plan.fail != NGX_CLAUDE_FAIL_INTERNAL) {
        driver_fail(seat, seat->plan.fail, NULL, NULL);

        /* it has nothing of the turn: who has no fault is idle */

        if (seat->state == NGX_CLAUDE_SEAT_STARTING) {
            driver_idle(seat);
        }

        return;
    }

    if (driver_begin_plan(seat) != NGX_OK) {
        seat->doubtful = 1;
        driver_fail(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its session");
        return;
    }

    ngx_claude_driver_rearm(seat);
}


/* the process starts on, for whoever comes next */

void
driver_start_alone(ngx_claude_seat_t *seat)
{
    ngx_memzero(&seat->naming, sizeof(ngx_claude_hash_t));

    if (!seat->holding.used) {
        ngx_memzero(&seat->holding.hint, sizeof(ngx_claude_hash_t));
        ngx_memzero(&seat->holding.session, sizeof(ngx_claude_hash_t));
    }

    if (seat->process->running) {
        ngx_claude_zone_process_set(driver_zone, seat->process_row,
                                    NGX_CLAUDE_PROCESS_STARTING, 0, 0);
        ngx_claude_process_idle(seat->process, 1);
    }
}


ngx_int_t
driver_run(ngx_claude_seat_t *seat)
{
    ngx_int_t                rc;
    ngx_claude_plan_step_t  *step;

    while (seat->at < seat->plan.nsteps) {

        step = &seat->plan.steps[seat->at];

        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat), 0,
                       "claude: process %P, step: %s %uD", seat->process->pid,
                       ngx_claude_plan_step(step->step), step->arg);

        rc = driver_writers[step->step](seat, step->arg);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        switch (step->step) {

        case NGX_CLAUDE_STEP_RESULTS:
            driver_result_next(seat);

            if (seat->doubtful) {
                return NGX_ERROR;
            }

            break;

        case NGX_CLAUDE_STEP_ASK:
            driver_state(seat, NGX_CLAUDE_SEAT_ASKED);
            break;
        }

        if (rc == NGX_OK && step->wait != NGX_CLAUDE_WAIT_NONE) {
            break;
        }

        seat->at++;
    }

    ngx_claude_process_flush(seat->process);

    return NGX_OK;
}


void
driver_answer_came(ngx_claude_seat_t *seat)
{
    /* a refusal may have been its end */

    if (seat->process->ending || seat->doubtful || --seat->due) {
        return;
    }

    if (seat->state == NGX_CLAUDE_SEAT_STARTING) {

        if (seat->turn) {
            driver_unfold(seat);

        } else {
            driver_idle(seat);
        }

    } else if (ngx_claude_seat_waits(seat) == NGX_CLAUDE_WAIT_ANSWERS) {
        driver_go_on(seat);
    }
}


/* goes on: the step's answers, or its result, have come */

void
driver_go_on(ngx_claude_seat_t *seat)
{
    if (seat->turn == NULL) {
        driver_left_alone(seat);
        return;
    }

    /* a replay goes on until its writer has nothing left */

    if (!ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_REPLAY)) {
        seat->at++;
    }

    if (driver_run(seat) != NGX_OK) {

        if (seat->state == NGX_CLAUDE_SEAT_MENDING) {
            seat->doubtful = 1;
            driver_settled(seat);

        } else {
            driver_fail(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                        "no memory for its messages");
        }

        return;
    }

    if (seat->state == NGX_CLAUDE_SEAT_MENDING
        && seat->at == seat->plan.nsteps)
    {
        driver_settled(seat);
        return;
    }

    ngx_claude_driver_rearm(seat);
}


/* goes on without its turn, holding what was written */

static void
driver_left_alone(ngx_claude_seat_t *seat)
{
    if (ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_CALL_OFF)
        || (seat->state == NGX_CLAUDE_SEAT_MENDING
            && ngx_claude_seat_waits(seat) == NGX_CLAUDE_WAIT_RESULT))
    {
        /* a question whose calls are off, or half of what is to be restated,
           is no conversation that anybody would go on with */

        seat->reply.end = NGX_CLAUDE_END_UNDO;
        driver_settled(seat);
        return;
    }

    driver_idle(seat);
}


/* the next result of a call goes in; after the last the model is asked */

void
driver_result_next(ngx_claude_seat_t *seat)
{
    if (seat->turn == NULL) {
        return;
    }

    if (seat->state != NGX_CLAUDE_SEAT_RETURNING) {
        driver_state(seat, NGX_CLAUDE_SEAT_RETURNING);
    }

    if (driver_return(seat) != NGX_OK) {
        seat->doubtful = 1;
    }

    if (seat->answered == seat->holding.ncalls) {
        driver_state(seat, NGX_CLAUDE_SEAT_ASKED);
    }

    ngx_claude_process_flush(seat->process);
}


/*
 * Makes the model stop; the result that follows settles the process.  Not
 * before the CLI has begun with the question: an interrupt that comes while
 * it is queued leaves it there, to be answered as if it were the next one.
 */

void
driver_interrupt(ngx_claude_seat_t *seat)
{
    seat->reply.end = NGX_CLAUDE_END_UNDO;
    driver_state(seat, NGX_CLAUDE_SEAT_SETTLING);

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
    if (seat->state != NGX_CLAUDE_SEAT_ASKED
        && seat->state != NGX_CLAUDE_SEAT_SETTLING)
    {
        return;
    }

    seat->reply.begun = 1;

    if (seat->reply.unwanted) {
        seat->reply.unwanted = 0;
        driver_interrupt(seat);
    }
}


/* the model's stop has decided the turn */

void
driver_finish(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    driver_state(seat, NGX_CLAUDE_SEAT_SETTLING);

    if (seat->reply.end == NGX_CLAUDE_END_KEEP) {
        driver_hold_answer(seat);

        if (seat->holding.ncalls) {
            driver_bill_ask(seat);
        }

    } else {
        driver_restate_announce(seat);
        driver_interrupt(seat);
    }

    ngx_claude_driver_rearm(seat);

    driver_turn_finished(seat, turn);

    /* or the asker has left, and the process is being ended */

    if (seat->state == NGX_CLAUDE_SEAT_SETTLING
        && seat->reply.end == NGX_CLAUDE_END_KEEP
        && driver_calls_routed(seat))
    {
        driver_wait(seat);
    }
}


/* makes what was said the answer: stops the model, undoes the question */

void
driver_cut_short(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    driver_restate_announce(seat);
    driver_interrupt(seat);
    ngx_claude_driver_rearm(seat);

    driver_turn_finished(seat, turn);
}


/* the answer is there, and the CLI is done with it */

void
driver_complete(ngx_claude_seat_t *seat)
{
    driver_block_end(seat);

    driver_hold_answer(seat);
    driver_state(seat, NGX_CLAUDE_SEAT_SETTLING);

    if (seat->turn) {
        driver_turn_finished(seat, seat->turn);
    }

    driver_settled(seat);
}


/* the process is done with its turn, which may have left it before */

void
driver_settled(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (turn && turn->answer.is_finished
        && seat->reply.end == NGX_CLAUDE_END_UNDO
        && driver_restate_due(seat))
    {
        ngx_claude_plan_end(&seat->plan, &seat->holding, seat->held.elts, turn,
                            NGX_CLAUDE_END_RESTATE);

        if (seat->plan.rung != NGX_CLAUDE_RUNG_NONE) {
            seat->reply.end = NGX_CLAUDE_END_RESTATE;
            driver_mend(seat);
            return;
        }

        seat->doubtful = 1;
    }

    if (turn) {
        (void) driver_detach(seat);
        driver_leave(seat, turn);
    }

    driver_calls_drop(seat);

    if (seat->doubtful || seat->process->is_broken) {
        ngx_claude_driver_end(seat);

    } else if (seat->reply.end == NGX_CLAUDE_END_UNDO) {
        ngx_claude_plan_end(&seat->plan, &seat->holding, seat->held.elts, NULL,
                            NGX_CLAUDE_END_UNDO);

        seat->reply.end = NGX_CLAUDE_END_KEEP;
        driver_mend(seat);

    } else {
        seat->holding.session = seat->naming;
        driver_said_drop(seat);
        driver_idle(seat);
    }

    if (turn) {
        driver_turn_settled(turn);
    }
}


/* begins the plan for the time after the turn */

static void
driver_mend(ngx_claude_seat_t *seat)
{
    seat->at = 0;
    driver_state(seat, NGX_CLAUDE_SEAT_MENDING);

    if (driver_run(seat) == NGX_OK) {
        ngx_claude_driver_rearm(seat);

    } else if (seat->turn) {
        seat->doubtful = 1;
        driver_settled(seat);

    } else {
        ngx_claude_driver_end(seat);
    }
}


/* as an idle one, but for what it has to be told next */

void
driver_wait(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn ? driver_detach(seat) : NULL;

    if (turn) {
        driver_leave(seat, turn);
    }

    if (seat->doubtful || seat->process->is_broken) {
        ngx_claude_driver_end(seat);

    } else {
        seat->holding.waiting = 1;
        driver_state(seat, NGX_CLAUDE_SEAT_IDLE);

        seat->holding.session = seat->naming;

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }

        /* the record stays: without the results the question is taken back */

        driver_unasked(seat);
        driver_leave_session(seat);
    }

    if (turn) {
        driver_bill_wait(turn);
        driver_turn_settled(turn);
    }
}


void
driver_idle(ngx_claude_seat_t *seat)
{
    if (seat->process->ending || seat->process->is_broken) {
        return;
    }

    seat->reply.resulted = 0;
    driver_state(seat, NGX_CLAUDE_SEAT_IDLE);

    driver_paid(seat);

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    /* a record that cannot be written sets doubtful, which ends the process */

    driver_session_record(seat, 0);

    /* a list of tools that was not read yet goes with the next turn's */

    if (seat->doubtful || ngx_claude_outbox_own(seat->outbox) != NGX_OK) {
        ngx_claude_driver_end(seat);
        return;
    }

    driver_leave_session(seat);
}


/* the process is idle, and only then the next turn of its session may run */

static void
driver_leave_session(ngx_claude_seat_t *seat)
{
    ngx_int_t  row;

    row = seat->turn_row;
    seat->turn_row = -1;

    driver_hooks->idle(seat);

    if (row != -1) {
        driver_hooks->release(row);
    }
}


/* turn and process part */

ngx_claude_turn_t *
driver_detach(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    /* what was not written yet goes with the request */

    if (ngx_claude_outbox_own(seat->outbox) != NGX_OK) {
        ngx_claude_outbox_drop(seat->outbox);
        seat->outbox->deaf = 1;
        seat->doubtful = 1;
    }

    seat->reply.unread = (size_t) -1;

    ngx_claude_metrics_parted(driver_zone->counters, turn,
                              seat->billed ? seat->bill.account : NULL);

    turn->engine.seat = NULL;
    seat->turn = NULL;

    /* what a client does not read is no reason for it to stand still now */

    ngx_claude_process_resume(seat->process);

    driver_hooks->parted(turn);

    return turn;
}


/* the turn's place among the running ones is free */

void
driver_leave(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    ngx_int_t  row;

    row = turn->engine.row;
    turn->engine.row = -1;

    if (turn->session.named && turn->session.owner) {

        /* the next one of the session finds it idle, or gone */

        ngx_claude_zone_turn_answered(driver_zone, row);
        driver_session_leave(seat);
        seat->turn_row = row;
        return;
    }

    if (row != -1) {
        driver_hooks->release(row);
    }
}


/* the turn's client has the whole answer, and may ask the next thing */

void
driver_turn_finished(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    /* seat and turn have parted if the process broke when it was written to */

    if (seat->turn != turn) {
        return;
    }

    if (turn->session.named && turn->session.owner) {
        ngx_claude_zone_turn_answered(driver_zone, turn->engine.row);
    }

    driver_block_end(seat);

    if (seat->turn != turn || turn->answer.is_finished) {
        return;
    }

    driver_proved(seat, turn);

    turn->answer.is_finished = 1;
    turn->handlers->finished(turn);
}


/* a process has answered: its start was not for nothing */

static void
driver_proved(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    if (!seat->fresh) {
        return;
    }

    seat->fresh = 0;

    if (seat->wasted) {
        seat->wasted = 0;
        ngx_claude_debt_return(&turn->tenant);
    }

    driver_hooks->proved(seat);
}


/* the turn is over */

void
driver_turn_settled(ngx_claude_turn_t *turn)
{
    (void) ngx_atomic_fetch_add(
        &driver_zone->counters->outcomes[NGX_CLAUDE_OUTCOME_FINISHED], 1);

    turn->engine.over = 1;
    turn->handlers->settled(turn);
}


/*
 * The turn failed.  reason: the CLI's own words, for the client where they
 * are about upstream; detail: for both.  A used process that failed before
 * the model said anything is no reason to bother the client: another process
 * gets the turn.
 */

void
driver_fail(ngx_claude_seat_t *seat, ngx_claude_fail_e fail, ngx_str_t *reason,
    const char *detail)
{
    ngx_pid_t           pid;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    pid = seat->process->pid;

    if (turn->answer.is_finished) {

        /* the answer is there: only the process is of no use any more */

        seat->doubtful = 1;
        driver_settled(seat);
        return;
    }

    if (driver_replaceable(seat, fail)) {
        ngx_log_error(NGX_LOG_WARN, turn->log, 0,
                      "claude: process %P is of no use, another one is "
                      "taken: %V%s", pid, &seat->process->reason,
                      detail ? detail : "");

        driver_replace(seat);
        return;
    }

    turn->answer.fail = fail;
    driver_fail_reason(seat, turn, reason, detail);

    (void) driver_detach(seat);
    driver_leave(seat, turn);

    driver_fail_process(seat, fail);

    driver_unasked(seat);

    turn->engine.over = 1;

    ngx_claude_metrics_failed(driver_zone->counters, fail);
    ngx_claude_driver_log(turn, pid);

    turn->handlers->failed(turn);
}


/* whether another process is to try */

static ngx_uint_t
driver_replaceable(ngx_claude_seat_t *seat, ngx_claude_fail_e fail)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (turn->engine.is_started
        || turn->engine.retried >= NGX_CLAUDE_DRIVER_RETRIES)
    {
        return 0;
    }

    if (seat->reply.ungated) {
        return fail == NGX_CLAUDE_FAIL_CLI || fail == NGX_CLAUDE_FAIL_REQUEST;
    }

    return fail == NGX_CLAUDE_FAIL_CLI
           && turn->answer.rung != NGX_CLAUDE_RUNG_COLD
           && !seat->reply.resulted;
}


static void
driver_replace(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->replaced, 1);

    turn = driver_detach(seat);
    turn->engine.retried++;

    driver_gate_forget(turn);

    ngx_claude_driver_end(seat);

    driver_hooks->again(turn);
}


/* ends, interrupts or keeps a process whose turn has failed and left it */

static void
driver_fail_process(ngx_claude_seat_t *seat, ngx_claude_fail_e fail)
{
    switch (fail) {

    case NGX_CLAUDE_FAIL_CLI:

        if (seat->reply.foreign_tool) {

            /* the model's fault: the process does as it should */

            break;
        }

        ngx_claude_driver_end(seat);
        return;

    case NGX_CLAUDE_FAIL_TIMEOUT:

        if (seat->state == NGX_CLAUDE_SEAT_ASKED && seat->reply.begun) {

            /* upstream may be what is silent: then the costs are told */

            seat->doubtful = 1;
            break;
        }

        /* fall through */

    case NGX_CLAUDE_FAIL_INTERNAL:
    case NGX_CLAUDE_FAIL_UNAVAILABLE:
    case NGX_CLAUDE_FAIL_TOO_OLD:
    case NGX_CLAUDE_FAIL_NOT_LOGGED_IN:
    case NGX_CLAUDE_FAIL_SESSION_BUSY:
        ngx_claude_driver_end(seat);
        return;

    default:

        /* upstream failed, not the process: the question is taken back */

        if (seat->doubtful) {
            ngx_claude_driver_end(seat);
            return;
        }

        if (seat->state == NGX_CLAUDE_SEAT_STARTING) {
            driver_start_alone(seat);
        }

        if (seat->state < NGX_CLAUDE_SEAT_RETURNING) {

            /* idle as soon as the answers that are due have come */

            ngx_claude_driver_rearm(seat);
            return;
        }

        if (seat->reply.resulted) {
            seat->reply.end = NGX_CLAUDE_END_UNDO;
            driver_settled(seat);
            return;
        }
    }

    driver_interrupt(seat);
    ngx_claude_driver_rearm(seat);
}


void
ngx_claude_driver_end(ngx_claude_seat_t *seat)
{
    if (seat->turn) {
        driver_leave(seat, driver_detach(seat));
    }

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    /* in this order: another request may run before driver_paid() returns */

    driver_hooks->ended(seat);
    driver_paid(seat);

    driver_state(seat, NGX_CLAUDE_SEAT_ENDING);

    ngx_claude_zone_process_set(driver_zone, seat->process_row,
                                NGX_CLAUDE_PROCESS_ENDING, 0, 0);
    ngx_claude_process_end(seat->process);

    seat->timer.cancelable = 1;
    ngx_add_timer(&seat->timer, DRIVER_END);
}


void
ngx_claude_driver_rearm(ngx_claude_seat_t *seat)
{
    ngx_msec_t  timeout, taken;

    if (seat->process->paused || seat->state == NGX_CLAUDE_SEAT_IDLE
        || seat->state == NGX_CLAUDE_SEAT_ENDING)
    {
        return;
    }

    seat->timer.cancelable = 0;

    if (seat->turn && seat->state < NGX_CLAUDE_SEAT_SETTLING
        && !ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_CALL_OFF)
        && !seat->turn->answer.is_finished)
    {
        timeout = seat->turn->timeout;

    } else if (seat->turn == NULL
               && seat->state == NGX_CLAUDE_SEAT_STARTING)
    {
        /* however many askers have left it meanwhile */

        taken = ngx_current_msec - seat->idled;
        timeout = (taken < DRIVER_START) ? DRIVER_START - taken : 1;
        seat->timer.cancelable = 1;

    } else if (seat->turn == NULL
               && seat->state == NGX_CLAUDE_SEAT_RUNNING
               && ngx_claude_seat_waits(seat) == NGX_CLAUDE_WAIT_ANSWERS)
    {
        timeout = DRIVER_START;
        seat->timer.cancelable = 1;

    } else {
        timeout = DRIVER_SETTLE;
    }

    ngx_add_timer(&seat->timer, timeout);
}
