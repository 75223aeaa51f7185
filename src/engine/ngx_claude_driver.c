
/*
 * The driver: a seat from the start of its process to its end.  See the
 * header for what it is for.  It begins a turn, has every line heard and moves
 * the seat by what came of it, and knows what to do when there is no line: the
 * process ended, or was silent for too long.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_rights.h"


static ngx_claude_seat_t *driver_seat(ngx_claude_profile_t *profile,
    ngx_int_t row);
static ngx_claude_seat_t *driver_take_seat(ngx_claude_seat_t *seat,
    ngx_claude_seat_state_e state);
static void driver_free(ngx_claude_seat_t *seat);
static void driver_count(ngx_claude_seat_t *seat);
static void driver_started(ngx_claude_process_t *process,
    ngx_claude_record_t *record);
static ngx_int_t driver_prepared(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record);
static ngx_int_t driver_pending(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record);
static void driver_line(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_hear(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_uint_t driver_hears_model(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_over(ngx_claude_seat_t *seat);
static void driver_failed(ngx_claude_seat_t *seat);
static void driver_lost(ngx_claude_seat_t *seat, const char *why);
static void driver_quiet(ngx_claude_process_t *process);
static void driver_broken(ngx_claude_process_t *process);
static void driver_gone(ngx_claude_process_t *process);
static void driver_forget(ngx_claude_seat_t *seat);
static void driver_let_go(ngx_claude_seat_t *seat);
static void driver_timeout(ngx_event_t *ev);
static ngx_uint_t driver_reads(ngx_claude_seat_t *seat);


static const ngx_claude_process_handlers_t  driver_handlers = {
    driver_started,
    driver_line,
    driver_quiet,
    driver_broken,
    driver_gone
};


static ngx_queue_t  driver_seats;


void
ngx_claude_driver_init(ngx_claude_zone_t *z,
    const ngx_claude_driver_hooks_t *h)
{
    driver_zone = z;
    driver_hooks = h;

    ngx_queue_init(&driver_seats);
}


void
ngx_claude_driver_exit(void)
{
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_head(&driver_seats);
         q != ngx_queue_sentinel(&driver_seats);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, queue);

        if (seat->timer.timer_set) {
            ngx_del_timer(&seat->timer);
        }

        ngx_claude_process_gone(seat->process);
    }
}


ngx_claude_seat_t *
ngx_claude_driver_adopt(ngx_claude_profile_t *profile, size_t max_line,
    ngx_int_t row, ngx_pid_t pid, uint64_t start, ngx_fd_t *fds)
{
    ngx_claude_seat_t  *seat;

    seat = driver_seat(profile, row);

    if (seat == NULL) {
        ngx_claude_rights_close(fds, 4);
        driver_hooks->free_row(row);
        return NULL;
    }

    seat->process = ngx_claude_process_adopt(seat->pool, profile, max_line,
                                             &driver_handlers, seat, pid,
                                             start, fds);

    return driver_take_seat(seat, NGX_CLAUDE_SEAT_IDLE);
}


ngx_int_t
ngx_claude_driver_holds(ngx_claude_seat_t *seat,
    ngx_claude_holding_t *holding, ngx_claude_held_t *held,
    ngx_claude_bill_t *bill)
{
    void  *p;

    p = ngx_array_push_n(&seat->held, ngx_max(holding->nheld, 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, held, holding->nheld * sizeof(ngx_claude_held_t));
    seat->held.nelts = holding->nheld;

    seat->holding = *holding;
    seat->holding.ncalls = 0;
    seat->bill = *bill;

    return NGX_OK;
}


/* the seat of a process that is not there yet; NULL: no memory */

static ngx_claude_seat_t *
driver_seat(ngx_claude_profile_t *profile, ngx_int_t row)
{
    ngx_uint_t          i;
    ngx_pool_t         *pool;
    ngx_claude_seat_t  *seat;

    pool = ngx_create_pool(2048, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    seat = ngx_pcalloc(pool, sizeof(ngx_claude_seat_t));

    if (seat == NULL
        || ngx_array_init(&seat->held, pool, 8, sizeof(ngx_claude_held_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    seat->pool = pool;
    seat->process_row = row;
    seat->turn_row = -1;
    seat->timer.handler = driver_timeout;
    seat->timer.data = seat;
    seat->timer.log = pool->log;

    seat->holding.profile = profile->hash;

    for (i = 0; i < NGX_CLAUDE_NONCE_LEN; i++) {
        seat->holding.nonce[i] = (u_char) (ngx_random() >> 8);
    }

    return seat;
}


/* NULL: its process could not be had, the seat and its row are free again */

static ngx_claude_seat_t *
driver_take_seat(ngx_claude_seat_t *seat, ngx_claude_seat_state_e state)
{
    if (seat->process == NULL) {
        driver_hooks->free_row(seat->process_row);
        ngx_destroy_pool(seat->pool);
        return NULL;
    }

    seat->outbox = &seat->process->outbox;
    driver_state(seat, state);

    ngx_queue_insert_tail(&driver_seats, &seat->queue);

    return seat;
}


void
ngx_claude_driver_give(ngx_claude_seat_t *seat)
{
    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    driver_hooks->ended(seat);
    driver_paid(seat);

    ngx_claude_process_gone(seat->process);

    driver_free(seat);
}


static void
driver_free(ngx_claude_seat_t *seat)
{
    driver_calls_drop(seat);

    if (seat->tools_pool) {
        ngx_destroy_pool(seat->tools_pool);
    }

    ngx_queue_remove(&seat->queue);
    driver_said_drop(seat);
    ngx_destroy_pool(seat->pool);
}


void
ngx_claude_driver_free_row(ngx_int_t row)
{
    driver_hooks->free_row(row);
}


ngx_claude_seat_t *
ngx_claude_driver_spawn(ngx_claude_profile_t *profile,
    const ngx_claude_owner_t *owner, ngx_claude_record_ask_t *ask,
    ngx_uint_t ungated, size_t max_line, ngx_int_t row, ngx_log_t *log)
{
    ngx_claude_seat_t  *seat;

    seat = driver_seat(profile, row);

    if (seat == NULL) {
        driver_hooks->free_row(row);
        return NULL;
    }

    if (owner) {
        seat->holding.owned = 1;
        seat->holding.tenant = owner->tenant;
    }

    seat->fresh = 1;

    seat->process = ngx_claude_process_create(seat->pool, profile,
                                              owner ? owner->home : NULL, ask,
                                              ungated
                                              || driver_gate_barred(profile),
                                              max_line, &driver_handlers,
                                              seat, log);

    if (driver_take_seat(seat, NGX_CLAUDE_SEAT_STARTING) == NULL) {
        return NULL;
    }

    ngx_claude_profile_look(profile);

    seat->holding.inode = profile->inode;
    seat->holding.mtime = profile->mtime;
    seat->holding.recorded = (ask != NULL);
    seat->unprepared = (ask != NULL);
    seat->due = 2;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->spawned, 1);

    ngx_claude_zone_process_set(driver_zone, row,
                                NGX_CLAUDE_PROCESS_STARTING, 0, 0);

    /* in the queue before it runs, so it finds them when it first reads */

    if (ngx_claude_cli_initialize(seat->outbox,
                             driver_id(seat, DRIVER_INITIALIZE))
        != NGX_OK
        || ngx_claude_cli_get_version(seat->outbox,
                             driver_id(seat, DRIVER_VERSION))
           != NGX_OK)
    {
        seat->doubtful = 1;
    }

    /* models are the same for all processes of the profile */

    if (!ngx_claude_zone_models_known(driver_zone, &profile->hash)) {

        seat->due++;

        if (ngx_claude_cli_list_models(seat->outbox,
                             driver_id(seat, DRIVER_MODELS))
            != NGX_OK)
        {
            seat->doubtful = 1;
        }
    }

    seat->idled = ngx_current_msec;

    /* ahead of need: no reason for a worker to live on */

    seat->timer.cancelable = 1;
    ngx_add_timer(&seat->timer, DRIVER_START);

    return seat;
}


ngx_int_t
ngx_claude_driver_begin(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn,
    const ngx_claude_plan_t *plan)
{
    driver_said_drop(seat);

    seat->turn = turn;
    ngx_memzero(&seat->reply, sizeof(ngx_claude_reply_t));

    driver_payer(seat, turn);

    ngx_claude_process_idle(seat->process, 0);

    turn->engine.seat = seat;

    if (plan) {
        seat->plan = *plan;

    } else {
        ngx_claude_plan_new(&seat->plan, &seat->holding, turn);
    }

    turn->answer.rung = seat->plan.rung;

    driver_session_begin(seat);

    if (!seat->holding.used) {
        seat->claimed = 1;
        seat->holding.tenant = turn->tenant;
        seat->holding.used = (seat->state != NGX_CLAUDE_SEAT_STARTING
                              || seat->holding.named_session);
    }

    if (seat->process->running) {
        ngx_claude_zone_process_set(driver_zone, seat->process_row,
                                    NGX_CLAUDE_PROCESS_BUSY, 0, 0);
    }

    if (!seat->unprepared) {
        driver_count(seat);
    }

    if (seat->state == NGX_CLAUDE_SEAT_STARTING) {

        /*
         * It gets nothing of the turn before it has started: so it is as good
         * as new if the asker leaves before.
         */

        ngx_claude_driver_rearm(seat);
        return NGX_OK;
    }

    if (driver_begin_plan(seat) == NGX_OK) {
        ngx_claude_driver_rearm(seat);
        return NGX_OK;
    }

    (void) driver_detach(seat);
    ngx_claude_driver_end(seat);

    return NGX_ERROR;
}


static void
driver_count(ngx_claude_seat_t *seat)
{
    ngx_claude_rung_e   rung;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    rung = turn->answer.rung;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->rungs[rung], 1);

    if (turn->engine.retried == 0) {
        ngx_claude_histogram_add(&driver_zone->counters->wait,
                                 ngx_current_msec - turn->answer.begun);
    }

    ngx_claude_zone_process_turn(driver_zone, seat->process_row,
                                 &turn->tenant, rung);
}


void
ngx_claude_driver_pause(ngx_claude_seat_t *seat)
{
    /*
     * One that starts has nothing for the client yet, and is to start.  After
     * the answer little is to come, the turn's end, which waits for no client.
     */

    if (seat->state == NGX_CLAUDE_SEAT_STARTING
        || seat->turn->answer.is_finished)
    {
        return;
    }

    ngx_claude_process_pause(seat->process);

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }
}


void
ngx_claude_driver_resume(ngx_claude_seat_t *seat)
{
    if (seat->process->paused) {
        ngx_claude_process_resume(seat->process);
        ngx_claude_driver_rearm(seat);
    }
}


void
ngx_claude_driver_overdue(ngx_claude_seat_t *seat)
{
    driver_fail(seat, NGX_CLAUDE_FAIL_TURN_TIMEOUT, NULL, NULL);
}


void
ngx_claude_driver_abandon(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                  "claude: the client left, process %P %s", seat->process->pid,
                  (seat->state >= NGX_CLAUDE_SEAT_RETURNING)
                  ? "is interrupted" : "goes on without");

    if (seat->fresh && !seat->wasted) {
        seat->wasted = 1;
        ngx_claude_debt_add(&turn->tenant);
    }

    driver_leave(seat, driver_detach(seat));

    if (seat->doubtful) {

        /* no memory for what it has a part of */

        ngx_claude_driver_end(seat);
        return;
    }

    if (seat->state == NGX_CLAUDE_SEAT_STARTING) {
        driver_start_alone(seat);

    } else if (seat->state == NGX_CLAUDE_SEAT_ASKED
        || seat->state == NGX_CLAUDE_SEAT_RETURNING)
    {
        driver_interrupt(seat);
    }

    driver_unasked(seat);

    /* before that, what it was sent is what it holds once it has answered */

    ngx_claude_process_resume(seat->process);
    ngx_claude_driver_rearm(seat);
}


void
ngx_claude_driver_turn_cut(ngx_claude_seat_t *seat, size_t surplus)
{
    seat->reply.said.len -= ngx_min(surplus, seat->reply.said.len);

    driver_stop_as(seat->turn, NGX_CLAUDE_STOP_SEQUENCE);
    driver_move(seat, NGX_CLAUDE_CUT);
}


static void
driver_started(ngx_claude_process_t *process,
    ngx_claude_record_t *record)
{
    ngx_claude_seat_t *seat = process->data;

    ngx_claude_zone_process_set(driver_zone, seat->process_row,
                                seat->turn
                                ? NGX_CLAUDE_PROCESS_BUSY
                                : NGX_CLAUDE_PROCESS_STARTING,
                                seat->process->pid, seat->process->start);

    driver_gate_started(seat);

    if (seat->unprepared && driver_prepared(seat, record) != NGX_OK) {
        return;
    }

    if (seat->turn == NULL) {
        ngx_claude_process_idle(seat->process, 1);
    }

    ngx_claude_process_flush(seat->process);
}


/* it is known what the process has resumed.  NGX_ERROR: it is ended */

static ngx_int_t
driver_prepared(ngx_claude_seat_t *seat, ngx_claude_record_t *record)
{
    seat->unprepared = 0;

    if (record) {
        seat->holding.used = 1;

        if (driver_session_resumed(seat, record) != NGX_OK
            || driver_pending(seat, record) != NGX_OK)
        {
            seat->doubtful = 1;
        }
    }

    if (seat->turn) {

        if (record) {
            seat->turn->answer.rung = NGX_CLAUDE_RUNG_RESUMED;
        }

        driver_count(seat);
    }

    if (!seat->doubtful) {
        return NGX_OK;
    }

    if (seat->turn) {
        driver_fail(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its session");
    } else {
        ngx_claude_driver_end(seat);
    }

    return NGX_ERROR;
}


/*
 * Takes back a question that its process did not live to take back.  It may
 * not have come as far as the transcript, so the answer is not checked.
 */

static ngx_int_t
driver_pending(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record)
{
    if (record->pending[0] == '\0') {
        return NGX_OK;
    }

    if (ngx_claude_cli_rewind_line(seat->outbox,
                                   driver_id(seat, DRIVER_PENDING),
                                   record->pending)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->due++;

    return NGX_OK;
}


static void
driver_line(ngx_claude_process_t *process, ngx_claude_cli_line_t *line)
{
    ngx_claude_seat_t *seat = process->data;

    ngx_claude_heard_e  heard;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat), 0,
                   "claude: process %P says: %s", process->pid,
                   ngx_claude_cli_kind(line->kind));

    /* a retry is no sign of life: the timeout bounds the retries, too */

    if (seat->turn && line->kind != NGX_CLAUDE_CLI_API_RETRY
        && (seat->state < NGX_CLAUDE_SEAT_SETTLING
            || ngx_claude_seat_waits(seat) == NGX_CLAUDE_WAIT_RESULT))
    {
        ngx_claude_driver_rearm(seat);
    }

    driver_bill(seat, line);

    heard = driver_hear(seat, line);

    if (heard == NGX_CLAUDE_HEARD) {
        return;
    }

    driver_move(seat, heard);

    if (heard == NGX_CLAUDE_FAILED
        && line->kind == NGX_CLAUDE_CLI_CONTROL_RESPONSE)
    {
        /* a refusal is an answer, too */

        driver_answer_came(seat);
    }
}


/* has a line heard; the seat stays where it is */

static ngx_claude_heard_e
driver_hear(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_heard_e  heard;

    switch (line->kind) {

    case NGX_CLAUDE_CLI_CONTROL_RESPONSE:
        return driver_answered(seat, line);

    case NGX_CLAUDE_CLI_CONTROL_REQUEST:
        heard = driver_rpc(seat, line);
        ngx_claude_process_flush(seat->process);
        return heard;

    case NGX_CLAUDE_CLI_USER:
        return (seat->state == NGX_CLAUDE_SEAT_RETURNING)
               ? NGX_CLAUDE_TAKEN : NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_INIT:
        heard = driver_check_version(seat,
                                     &line->string[NGX_CLAUDE_CLI_S_VERSION]);

        return (heard == NGX_CLAUDE_ANSWERED) ? NGX_CLAUDE_BEGUN : heard;

    case NGX_CLAUDE_CLI_RESULT:
        driver_bill_result(seat, line);
        return driver_result(seat, line);

    case NGX_CLAUDE_CLI_API_RETRY:
        return driver_retry(seat, line);

    case NGX_CLAUDE_CLI_SAYS_GATE:
        driver_gate_line(seat, line);
        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_ASSISTANT:
        if (line->string[NGX_CLAUDE_CLI_S_ERROR].len) {
            seat->reply.error = ngx_claude_cli_error(
                                        &line->string[NGX_CLAUDE_CLI_S_ERROR]);
        }

        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_MESSAGE_START:
        if (seat->state == NGX_CLAUDE_SEAT_SETTLING && seat->holding.ncalls
            && seat->reply.end == NGX_CLAUDE_END_KEEP)
        {
            /* the CLI has answered a call itself, and asks the model again */

            return NGX_CLAUDE_UNWANTED;
        }

        /* fall through */

    default:
        return driver_hears_model(seat, line) ? driver_event(seat, line)
                                              : NGX_CLAUDE_HEARD;
    }
}


/* whether the line may be of the answer to the question of the turn */

static ngx_uint_t
driver_hears_model(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    return seat->turn && seat->state == NGX_CLAUDE_SEAT_ASKED
           && line->string[NGX_CLAUDE_CLI_S_PARENT].len == 0;
}


/* the seat moves, by what came of a line */

void
driver_move(ngx_claude_seat_t *seat, ngx_claude_heard_e heard)
{
    switch (heard) {

    case NGX_CLAUDE_HEARD:
        return;

    case NGX_CLAUDE_ANSWERED:
        driver_answer_came(seat);
        return;

    case NGX_CLAUDE_BEGUN:
        driver_begun(seat);
        return;

    case NGX_CLAUDE_TAKEN:
        driver_result_next(seat);
        return;

    case NGX_CLAUDE_UNWANTED:
        driver_interrupt(seat);
        return;

    case NGX_CLAUDE_FINISHED:
        driver_finish(seat);
        return;

    case NGX_CLAUDE_CUT:
        driver_cut_short(seat);
        return;

    case NGX_CLAUDE_WAITS:
        driver_wait(seat);
        return;

    case NGX_CLAUDE_COMPLETE:
        driver_complete(seat);
        return;

    case NGX_CLAUDE_OVER:
        driver_over(seat);
        return;

    case NGX_CLAUDE_FAILED:
        driver_failed(seat);
        return;
    }
}


/* the result that was due has come */

static void
driver_over(ngx_claude_seat_t *seat)
{
    if (seat->state == NGX_CLAUDE_SEAT_SETTLING) {
        driver_settled(seat);
        return;
    }

    if (ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_CALL_OFF)) {
        driver_calls_drop(seat);
    }

    driver_go_on(seat);
}


static void
driver_failed(ngx_claude_seat_t *seat)
{
    if (seat->turn == NULL) {
        driver_lost(seat, driver_fail_text(&seat->failure));
        ngx_claude_driver_end(seat);
        return;
    }

    driver_fail(seat, seat->failure.fail, seat->failure.reason,
                seat->failure.detail);
}


/* a process is of no use that no turn was ever in */

static void
driver_lost(ngx_claude_seat_t *seat, const char *why)
{
    ngx_str_t  reason;

    if (!seat->fresh || seat->holding.used || seat->process->ending
        || ngx_exiting)
    {
        return;
    }

    reason.data = (u_char *) why;
    reason.len = ngx_strlen(why);

    driver_hooks->lost(seat, &reason);
}


static void
driver_quiet(ngx_claude_process_t *process)
{
    ngx_claude_seat_t *seat = process->data;

    if (seat->turn && seat->turn->engine.is_started) {
        seat->turn->handlers->flush(seat->turn);
    }
}


static void
driver_broken(ngx_claude_process_t *process)
{
    ngx_claude_seat_t *seat = process->data;

    if (seat->turn == NULL) {

        /* a worker that shuts down closes it, whatever it was about to do */

        if (!seat->holding.used && !ngx_exiting) {
            driver_hooks->lost(seat, process->detail.len ? &process->detail
                                                         : &process->reason);
        }

        ngx_claude_driver_end(seat);
        return;
    }

    (void) ngx_atomic_fetch_add(&driver_zone->counters->died, 1);

    if (seat->state == NGX_CLAUDE_SEAT_SETTLING
        || seat->turn->answer.is_finished)
    {
        driver_settled(seat);
        return;
    }

    if (process->locked) {
        driver_fail(seat, NGX_CLAUDE_FAIL_SESSION_BUSY, NULL, NULL);
        return;
    }

    driver_fail(seat,
                process->unavailable ? NGX_CLAUDE_FAIL_UNAVAILABLE
                                     : NGX_CLAUDE_FAIL_CLI,
                NULL, NULL);
}


static void
driver_gone(ngx_claude_process_t *process)
{
    driver_forget(process->data);
}


static void
driver_forget(ngx_claude_seat_t *seat)
{
    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    driver_hooks->free_row(seat->process_row);
    driver_session_leave(seat);

    driver_free(seat);
}


/*
 * The process cannot be killed, as it hangs in the kernel or is another user's
 * by now: its keeper waits for it, for as long as it takes, while its row and
 * the place of its session are freed.
 */

static void
driver_let_go(ngx_claude_seat_t *seat)
{
    if (seat->process->running) {
        ngx_log_error(NGX_LOG_ERR, seat->process->log, 0,
                      "claude: process %P does not end, also not by SIGKILL; "
                      "it counts no more", seat->process->pid);
    }

    ngx_claude_process_gone(seat->process);
    driver_forget(seat);
}


static void
driver_timeout(ngx_event_t *ev)
{
    ngx_claude_seat_t  *seat = ev->data;

    switch (seat->state) {

    case NGX_CLAUDE_SEAT_ENDING:
        driver_let_go(seat);
        return;

    case NGX_CLAUDE_SEAT_IDLE:

        /* claude_idle_timeout */

        ngx_claude_driver_end(seat);
        return;

    default:
        break;
    }

    if (seat->turn && ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_CALL_OFF)) {
        driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                    "it does not stop to wait for results");
        return;
    }

    if (seat->turn && seat->state < NGX_CLAUDE_SEAT_SETTLING) {
        driver_fail(seat, NGX_CLAUDE_FAIL_TIMEOUT, NULL, NULL);
        return;
    }

    if (driver_reads(seat)) {
        ngx_claude_driver_rearm(seat);
        return;
    }

    if (seat->state == NGX_CLAUDE_SEAT_STARTING) {
        driver_lost(seat, "it does not start");

    } else if (!seat->doubtful) {
        ngx_log_error(NGX_LOG_WARN, seat->process->log, 0,
                      "claude: process %P does not settle, it is ended",
                      seat->process->pid);
    }

    if (seat->turn) {
        seat->reply.end = NGX_CLAUDE_END_KEEP;
        seat->doubtful = 1;
        driver_settled(seat);
        return;
    }

    ngx_claude_driver_end(seat);
}


/* whether a process whose turn is over has read more of its text meanwhile */

static ngx_uint_t
driver_reads(ngx_claude_seat_t *seat)
{
    size_t  left;

    left = ngx_claude_outbox_left(seat->outbox);

    if (left == 0 || left >= seat->reply.unread) {
        return 0;
    }

    seat->reply.unread = left;

    return 1;
}
