
/*
 * The driver: a process from its start to its end.  See the header for what
 * it is for.  It begins a turn, hears every line, and knows what to do when
 * there is none: the process ended, or was silent for too long.
 */


#include "ngx_claude_driver_private.h"


/* how long a process may take to start, and to settle after a turn, msec */
#define DRIVER_START       30000
#define DRIVER_SETTLE      2000

/* after which one that is to end counts as gone: SIGKILL was 1500 */
#define DRIVER_END         10000


static void driver_free(ngx_claude_process_t *process);
static void driver_count(ngx_claude_process_t *process);
static void driver_started(ngx_claude_process_t *process,
    ngx_claude_record_t *record);
static ngx_int_t driver_pending(ngx_claude_process_t *process,
    ngx_claude_record_t *record);
static void driver_unfold(ngx_claude_process_t *process, ngx_uint_t resumed);
static void driver_line(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static void driver_quiet(ngx_claude_process_t *process);
static void driver_broken(ngx_claude_process_t *process);
static void driver_gone(ngx_claude_process_t *process);
static void driver_let_go(ngx_claude_process_t *process);
static void driver_timeout(ngx_event_t *ev);


static const ngx_claude_process_handlers_t  driver_handlers = {
    driver_started,
    driver_line,
    driver_quiet,
    driver_broken,
    driver_gone
};


ngx_claude_zone_t                *driver_zone;
const ngx_claude_driver_hooks_t  *driver_hooks;

static ngx_queue_t                driver_processes;


void
ngx_claude_driver_init(ngx_claude_zone_t *z,
    const ngx_claude_driver_hooks_t *h)
{
    driver_zone = z;
    driver_hooks = h;

    ngx_queue_init(&driver_processes);
}


void
ngx_claude_driver_exit(void)
{
    ngx_queue_t           *q;
    ngx_claude_process_t  *process;

    for (q = ngx_queue_head(&driver_processes);
         q != ngx_queue_sentinel(&driver_processes);
         q = ngx_queue_next(q))
    {
        process = ngx_queue_data(q, ngx_claude_process_t, queue);

        if (process->timer.timer_set) {
            ngx_del_timer(&process->timer);
        }

        ngx_claude_process_gone(process);
    }
}


ngx_claude_process_t *
ngx_claude_driver_adopt(ngx_claude_profile_t *profile,
    size_t max_line, ngx_int_t row, ngx_pid_t pid, uint64_t start,
    ngx_fd_t *fds)
{
    ngx_claude_process_t  *process;

    process = ngx_claude_process_adopt(profile, max_line,
                                       &driver_handlers, pid, start,
                                       fds);
    if (process == NULL) {
        driver_hooks->free(row);
        return NULL;
    }

    ngx_queue_insert_tail(&driver_processes, &process->queue);

    process->row = row;
    process->phase = DRIVER_IDLE;           /* or waiting: the caller knows */
    process->timer.handler = driver_timeout;
    process->timer.data = process;
    process->timer.log = process->log;

    return process;
}


void
ngx_claude_driver_give(ngx_claude_process_t *process)
{
    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    driver_hooks->left(process);
    driver_paid(process);

    ngx_claude_process_gone(process);

    driver_free(process);
}


static void
driver_free(ngx_claude_process_t *process)
{
    driver_calls_drop(process);

    if (process->tools_pool) {
        ngx_destroy_pool(process->tools_pool);
    }

    ngx_queue_remove(&process->queue);
    driver_said_drop(process);
    ngx_destroy_pool(process->pool);
}


void
ngx_claude_driver_free_row(ngx_int_t row)
{
    driver_hooks->free(row);
}


ngx_claude_process_t *
ngx_claude_driver_spawn(ngx_claude_profile_t *profile,
    ngx_claude_record_ask_t *ask, size_t max_line, ngx_int_t row,
    ngx_log_t *log)
{
    ngx_claude_process_t  *process;

    process = ngx_claude_process_create(profile, ask, max_line,
                                        &driver_handlers, log);
    if (process == NULL) {
        driver_hooks->free(row);
        return NULL;
    }

    ngx_queue_insert_tail(&driver_processes, &process->queue);

    process->row = row;
    process->phase = DRIVER_GREETING;
    process->expected = 2;
    process->timer.handler = driver_timeout;
    process->timer.data = process;
    process->timer.log = process->log;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->spawned, 1);

    ngx_claude_zone_process_set(driver_zone, row,
                                NGX_CLAUDE_PROCESS_STARTING, 0, 0);

    /* in the queue before it runs, so it finds them when it first reads */

    if (ngx_claude_cli_initialize(process,
                             driver_id(process, DRIVER_INITIALIZE))
        != NGX_OK
        || ngx_claude_cli_get_version(process,
                             driver_id(process, DRIVER_VERSION))
           != NGX_OK)
    {
        process->doubtful = 1;
    }

    /* what it can be asked for is the same for all of the profile */

    if (!ngx_claude_zone_models_known(driver_zone, &profile->hash)) {

        process->expected++;

        if (ngx_claude_cli_list_models(process,
                             driver_id(process, DRIVER_MODELS))
            != NGX_OK)
        {
            process->doubtful = 1;
        }
    }

    /* ahead of need: no reason for a worker to live on */

    process->timer.cancelable = 1;
    ngx_add_timer(&process->timer, DRIVER_START);

    return process;
}


ngx_int_t
ngx_claude_driver_begin(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn, ngx_claude_rung_e rung,
    ngx_uint_t keep)
{
    ngx_int_t  rc;

    process->turn = turn;
    process->error = NGX_CLAUDE_FAIL_INTERNAL;
    process->tool = 0;
    process->calling = 0;
    process->texted = 0;
    process->parted = 0;
    process->cut = 0;
    process->restating = 0;
    driver_said_drop(process);
    process->err_total = 0;
    process->err_cut = 0;

    driver_payer(process, turn);

    ngx_claude_process_idle(process, 0);

    turn->process = process;
    turn->rung = rung;

    if (!process->used) {
        process->used = 1;
        ngx_memcpy(process->tenant, turn->tenant, NGX_CLAUDE_TENANT_LEN);
    }

    driver_session_begin(process);

    if (process->running) {
        ngx_claude_zone_process_set(driver_zone, process->row,
                                    NGX_CLAUDE_PROCESS_BUSY, 0, 0);
    }

    if (process->unprepared) {

        /* what it holds is known when it has started */

        ngx_claude_driver_rearm(process);
        return NGX_OK;
    }

    driver_count(process);

    rc = NGX_ERROR;

    if (!process->doubtful && driver_session_follow(process, keep) == NGX_OK) {
        rc = driver_prepare(process, keep);
    }

    if (rc == NGX_ERROR) {
        (void) driver_detach(process);
        ngx_claude_driver_end(process);
        return NGX_ERROR;
    }

    ngx_claude_driver_rearm(process);

    if (rc == NGX_OK) {
        driver_send(process);

    } else {
        ngx_claude_process_flush(process);
    }

    return NGX_OK;
}


static void
driver_count(ngx_claude_process_t *process)
{
    ngx_claude_rung_e   rung;
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    rung = turn->rung;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->rungs[rung], 1);

    if (turn->retried == 0) {
        ngx_claude_histogram_add(&driver_zone->counters->wait,
                                 ngx_current_msec - turn->begun);
    }

    ngx_claude_zone_process_turn(driver_zone, process->row, rung);
}


void
ngx_claude_driver_abandon(ngx_claude_process_t *process)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (!ngx_claude_process_flushed(process)) {

        /* half a line was written, and its text goes with the request */

        ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                      "claude: the client left, process %P is ended, it had "
                      "not read the request yet", process->pid);

        driver_leave(process, driver_detach(process));
        ngx_claude_driver_end(process);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                  "claude: the client left, process %P %s", process->pid,
                  (process->phase >= DRIVER_ANSWERING) ? "is interrupted"
                                                       : "goes on without");

    driver_leave(process, driver_detach(process));

    if (process->phase == DRIVER_ASKED
        || process->phase == DRIVER_ANSWERING)
    {
        driver_interrupt(process);
    }

    driver_unasked(process);

    /* before that, what it was sent is what it holds once it has answered */

    ngx_claude_process_resume(process);
    ngx_claude_driver_rearm(process);
}


void
ngx_claude_driver_end(ngx_claude_process_t *process)
{
    if (process->turn) {
        driver_leave(process, driver_detach(process));
    }

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    /* in this order: another request may run before driver_paid() returns */

    driver_hooks->left(process);
    driver_paid(process);

    ngx_claude_zone_process_set(driver_zone, process->row,
                                NGX_CLAUDE_PROCESS_ENDING, 0, 0);
    ngx_claude_process_end(process);

    process->timer.cancelable = 1;
    ngx_add_timer(&process->timer, DRIVER_END);
}


void
ngx_claude_driver_rearm(ngx_claude_process_t *process)
{
    ngx_msec_t  timeout;

    if (process->paused || process->phase == DRIVER_IDLE
        || process->phase == DRIVER_WAITING)
    {
        return;
    }

    process->timer.cancelable = 0;

    if (process->turn && process->phase < DRIVER_SETTLING
        && process->phase != DRIVER_CLEARING && !process->turn->is_finished)
    {
        timeout = process->turn->timeout;

    } else if (process->turn == NULL
               && (process->phase == DRIVER_GREETING
                   || process->phase == DRIVER_PREPARING))
    {

        /* its asker left while it starts: no reason not to let it */

        timeout = DRIVER_START;
        process->timer.cancelable = 1;

    } else {
        timeout = DRIVER_SETTLE;
    }

    ngx_add_timer(&process->timer, timeout);
}


static void
driver_started(ngx_claude_process_t *process,
    ngx_claude_record_t *record)
{
    ngx_claude_zone_process_set(driver_zone, process->row,
                                process->turn
                                ? NGX_CLAUDE_PROCESS_BUSY
                                : NGX_CLAUDE_PROCESS_STARTING,
                                process->pid, process->start);

    if (process->unprepared) {
        process->unprepared = 0;

        if (record
            && (driver_session_resumed(process, record) != NGX_OK
                || driver_pending(process, record) != NGX_OK))
        {
            process->doubtful = 1;
        }

        if (process->turn) {
            driver_unfold(process, record != NULL);
        }

        if (process->ending) {
            return;
        }
    }

    if (process->turn == NULL) {
        ngx_claude_process_idle(process, 1);
    }

    ngx_claude_process_flush(process);
}


/*
 * Takes back a question that its process did not live to take back.  It may
 * not have come as far as the transcript, so the answer is not checked.
 */

static ngx_int_t
driver_pending(ngx_claude_process_t *process,
    ngx_claude_record_t *record)
{
    if (record->pending[0] == '\0') {
        return NGX_OK;
    }

    if (ngx_claude_cli_rewind_line(process,
                                   driver_id(process, DRIVER_PENDING),
                                   record->pending)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->expected++;

    return NGX_OK;
}


/* it is known now what the process of the turn holds */

static void
driver_unfold(ngx_claude_process_t *process, ngx_uint_t resumed)
{
    ngx_claude_fail_e   fail;
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (resumed) {
        turn->rung = NGX_CLAUDE_RUNG_RESUMED;
    }

    driver_count(process);

    if (process->bare) {

        /* model and system text are those of the launch */

        process->doubtful = 1;
        driver_fail(process, NGX_CLAUDE_FAIL_SESSION_GONE, NULL, NULL);
        return;
    }

    if (process->base && turn->session.continues) {
        fail = ngx_claude_driver_session_check(process, turn);

        if (fail != NGX_CLAUDE_FAIL_INTERNAL) {
            driver_fail(process, fail, NULL, NULL);
            return;
        }
    }

    if (process->doubtful
        || driver_session_follow(process, process->held.nelts) != NGX_OK
        || driver_prepare(process, process->held.nelts) == NGX_ERROR)
    {
        process->doubtful = 1;
        driver_fail(process, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its session");
    }
}


static void
driver_line(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    /* a retry is no sign of life: the timeout bounds the retries, too */

    if (process->turn && process->phase < DRIVER_SETTLING
        && line->kind != NGX_CLAUDE_CLI_API_RETRY)
    {
        ngx_claude_driver_rearm(process);
    }

    driver_bill(process, line);

    switch (line->kind) {

    case NGX_CLAUDE_CLI_CONTROL_RESPONSE:
        driver_answered(process, line);
        break;

    case NGX_CLAUDE_CLI_CONTROL_REQUEST:
        driver_rpc(process, line);
        break;

    case NGX_CLAUDE_CLI_USER:
        if (process->phase == DRIVER_ANSWERING) {
            driver_result_next(process);
        }

        break;

    case NGX_CLAUDE_CLI_INIT:
        if (driver_check_version(process,
                              &line->string[NGX_CLAUDE_CLI_S_VERSION])
            == NGX_OK)
        {
            driver_begun(process);
        }

        break;

    case NGX_CLAUDE_CLI_RESULT:
        driver_result(process, line);
        break;

    case NGX_CLAUDE_CLI_API_RETRY:
        driver_retry(process, line);
        break;

    case NGX_CLAUDE_CLI_ASSISTANT:
        if (line->string[NGX_CLAUDE_CLI_S_ERROR].len) {
            process->error = ngx_claude_cli_error(
                                 &line->string[NGX_CLAUDE_CLI_S_ERROR]);
        }
        break;

    case NGX_CLAUDE_CLI_MESSAGE_START:
        if (process->phase == DRIVER_SETTLING && process->calls.nelts
            && !process->cut)
        {
            /* it has answered a call itself, and asks the model again */

            driver_interrupt(process);
            break;
        }

        /* fall through */

    default:
        if (process->turn && process->phase == DRIVER_ASKED
            && line->string[NGX_CLAUDE_CLI_S_PARENT].len == 0)
        {
            driver_event(process, line);
        }
    }
}


static void
driver_quiet(ngx_claude_process_t *process)
{
    if (process->turn && process->turn->is_started) {
        process->turn->handlers->flush(process->turn);
    }
}


static void
driver_broken(ngx_claude_process_t *process)
{
    if (process->turn == NULL) {

        /* a worker that shuts down closes it, whatever it was about to do */

        if (process->phase == DRIVER_GREETING && !ngx_exiting) {
            ngx_log_error(NGX_LOG_ERR, process->log, 0,
                          "claude: process %P failed before its first turn: "
                          "%V%s%V", process->pid, &process->reason,
                          process->detail.len ? ": " : "", &process->detail);
        }

        ngx_claude_driver_end(process);
        return;
    }

    (void) ngx_atomic_fetch_add(&driver_zone->counters->died, 1);

    if (process->phase == DRIVER_SETTLING || process->turn->is_finished) {
        driver_settled(process);
        return;
    }

    if (process->locked) {
        driver_fail(process, NGX_CLAUDE_FAIL_SESSION_BUSY, NULL, NULL);
        return;
    }

    driver_fail(process,
                process->unavailable ? NGX_CLAUDE_FAIL_UNAVAILABLE
                                     : NGX_CLAUDE_FAIL_CLI,
                NULL, NULL);
}


static void
driver_gone(ngx_claude_process_t *process)
{
    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    driver_hooks->free(process->row);
    driver_session_leave(process);

    driver_free(process);
}


/*
 * It cannot be killed, as it hangs in the kernel or is another user's by now.
 * What is left of it is its keeper's, for as long as it takes; its row and the
 * place of its session are not.
 */

static void
driver_let_go(ngx_claude_process_t *process)
{
    if (process->running) {
        ngx_log_error(NGX_LOG_ERR, process->log, 0,
                      "claude: process %P does not end, also not by SIGKILL; "
                      "it counts no more", process->pid);
    }

    ngx_claude_process_gone(process);
    driver_gone(process);
}


static void
driver_timeout(ngx_event_t *ev)
{
    ngx_claude_process_t  *process = ev->data;

    if (process->ending) {
        driver_let_go(process);
        return;
    }

    if (process->phase == DRIVER_IDLE || process->phase == DRIVER_WAITING) {

        /* claude_idle_timeout */

        ngx_claude_driver_end(process);
        return;
    }

    if (process->turn && process->phase == DRIVER_CLEARING) {
        driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                    "it does not stop to wait for results");
        return;
    }

    if (process->turn && process->phase < DRIVER_SETTLING) {
        driver_fail(process, NGX_CLAUDE_FAIL_TIMEOUT, NULL, NULL);
        return;
    }

    if (!process->doubtful) {
        ngx_log_error(NGX_LOG_WARN, process->log, 0,
                      "claude: process %P does not %s, it is ended",
                      process->pid,
                      (process->phase == DRIVER_GREETING) ? "start"
                                                          : "settle");
    }

    if (process->turn) {
        process->cut = 0;
        process->doubtful = 1;
        driver_settled(process);
        return;
    }

    ngx_claude_driver_end(process);
}
