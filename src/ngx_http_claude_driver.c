
/*
 * The driver: a process from phase to phase.  See the header for what it is
 * for.  Every answer to a control request is checked, and a process in doubt
 * is ended.
 */


#include "ngx_http_claude_driver_private.h"


/* how long a process may take to start, and to settle after a turn, msec */
#define DRIVER_START       30000
#define DRIVER_SETTLE      2000


static void driver_free(ngx_http_claude_process_t *process);
static ngx_int_t driver_clear(ngx_http_claude_process_t *process,
    ngx_uint_t keep);
static ngx_int_t driver_pending(ngx_http_claude_process_t *process,
    ngx_http_claude_record_t *record);

static void driver_prepared(ngx_http_claude_process_t *process);

static void driver_count(ngx_http_claude_process_t *process);
static void driver_unfold(ngx_http_claude_process_t *process,
    ngx_uint_t resumed);
static void driver_started(ngx_http_claude_process_t *process,
    ngx_http_claude_record_t *record);
static void driver_line(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void driver_quiet(ngx_http_claude_process_t *process);
static void driver_broken(ngx_http_claude_process_t *process);
static void driver_gone(ngx_http_claude_process_t *process);
static void driver_timeout(ngx_event_t *ev);

static void driver_answered(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void driver_check(ngx_http_claude_process_t *process, ngx_uint_t kind,
    ngx_http_claude_cli_line_t *line);
static ngx_int_t driver_check_version(ngx_http_claude_process_t *process,
    ngx_str_t *version);
static void driver_begun(ngx_http_claude_process_t *process);
static void driver_refused(ngx_http_claude_process_t *process,
    ngx_uint_t kind, ngx_http_claude_cli_line_t *line);


static const ngx_http_claude_process_handlers_t  driver_handlers = {
    driver_started,
    driver_line,
    driver_quiet,
    driver_broken,
    driver_gone
};


ngx_http_claude_zone_t                *driver_zone;
const ngx_http_claude_driver_hooks_t  *driver_hooks;

static ngx_queue_t                     driver_processes;


void
ngx_http_claude_driver_init(ngx_http_claude_zone_t *z,
    const ngx_http_claude_driver_hooks_t *h)
{
    driver_zone = z;
    driver_hooks = h;

    ngx_queue_init(&driver_processes);
}


void
ngx_http_claude_driver_exit(void)
{
    ngx_queue_t                *q;
    ngx_http_claude_process_t  *process;

    for (q = ngx_queue_head(&driver_processes);
         q != ngx_queue_sentinel(&driver_processes);
         q = ngx_queue_next(q))
    {
        process = ngx_queue_data(q, ngx_http_claude_process_t, queue);

        if (process->timer.timer_set) {
            ngx_del_timer(&process->timer);
        }

        ngx_http_claude_process_gone(process);
    }
}


ngx_http_claude_process_t *
ngx_http_claude_driver_adopt(ngx_http_claude_profile_t *profile,
    size_t max_line, ngx_int_t row, ngx_pid_t pid, uint64_t start,
    ngx_fd_t *fds)
{
    ngx_http_claude_process_t  *process;

    process = ngx_http_claude_process_adopt(profile, max_line,
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
ngx_http_claude_driver_give(ngx_http_claude_process_t *process)
{
    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    driver_hooks->left(process);

    ngx_http_claude_process_gone(process);

    driver_free(process);
}


static void
driver_free(ngx_http_claude_process_t *process)
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
ngx_http_claude_driver_free_row(ngx_int_t row)
{
    driver_hooks->free(row);
}


ngx_http_claude_process_t *
ngx_http_claude_driver_spawn(ngx_http_claude_profile_t *profile,
    ngx_http_claude_record_ask_t *ask, size_t max_line, ngx_int_t row,
    ngx_log_t *log)
{
    ngx_http_claude_process_t  *process;

    process = ngx_http_claude_process_create(profile, ask, max_line,
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

    ngx_http_claude_zone_process_set(driver_zone, row,
                                     NGX_HTTP_CLAUDE_PROCESS_STARTING, 0, 0);

    /* in the queue before it runs, so it finds them when it first reads */

    if (ngx_http_claude_cli_initialize(process,
                                  driver_id(process, DRIVER_INITIALIZE))
        != NGX_OK
        || ngx_http_claude_cli_get_version(process,
                                  driver_id(process, DRIVER_VERSION))
           != NGX_OK)
    {
        process->doubtful = 1;
    }

    /* what it can be asked for is the same for all of the profile */

    if (!ngx_http_claude_zone_models_known(driver_zone, profile->hash)) {

        process->expected++;

        if (ngx_http_claude_cli_list_models(process,
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
ngx_http_claude_driver_begin(ngx_http_claude_process_t *process,
    ngx_http_claude_turn_t *turn, ngx_http_claude_rung_e rung,
    ngx_uint_t keep)
{
    ngx_int_t  rc;

    process->turn = turn;
    process->error = NGX_HTTP_CLAUDE_FAIL_INTERNAL;
    process->tool = 0;
    process->calling = 0;
    process->texted = 0;
    process->parted = 0;
    process->spent = process->cost;
    ngx_memzero(&process->earlier, sizeof(ngx_http_claude_usage_t));
    process->cut = 0;
    process->restating = 0;
    driver_said_drop(process);
    process->err_total = 0;
    process->err_cut = 0;
    process->account = NULL;

    ngx_http_claude_process_idle(process, 0);

    turn->process = process;
    turn->rung = rung;

    if (!process->used) {
        process->used = 1;
        ngx_memcpy(process->tenant, turn->tenant, NGX_HTTP_CLAUDE_TENANT_LEN);
    }

    driver_session_begin(process);

    if (process->running) {
        ngx_http_claude_zone_process_set(driver_zone, process->row,
                                         NGX_HTTP_CLAUDE_PROCESS_BUSY, 0, 0);
    }

    if (process->unprepared) {

        /* what it holds is known when it has started */

        ngx_http_claude_driver_rearm(process);
        return NGX_OK;
    }

    driver_count(process);

    rc = NGX_ERROR;

    if (!process->doubtful && driver_session_follow(process, keep) == NGX_OK) {
        rc = driver_prepare(process, keep);
    }

    if (rc == NGX_ERROR) {
        (void) driver_detach(process);
        ngx_http_claude_driver_end(process);
        return NGX_ERROR;
    }

    ngx_http_claude_driver_rearm(process);

    if (rc == NGX_OK) {
        driver_send(process);

    } else {
        ngx_http_claude_process_flush(process);
    }

    return NGX_OK;
}


static void
driver_count(ngx_http_claude_process_t *process)
{
    ngx_http_claude_rung_e   rung;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;
    rung = turn->rung;

    (void) ngx_atomic_fetch_add(&driver_zone->counters->rungs[rung], 1);

    if (turn->retried == 0) {
        ngx_http_claude_histogram_add(&driver_zone->counters->wait,
                                      ngx_current_msec - turn->begun);
    }

    ngx_http_claude_zone_process_turn(driver_zone, process->row, rung);
}


void
ngx_http_claude_driver_abandon(ngx_http_claude_process_t *process)
{
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;

    if (!ngx_http_claude_process_flushed(process)) {

        /* half a line was written, and its text goes with the request */

        ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                      "claude: the client left, process %P is ended, it had "
                      "not read the request yet", process->pid);

        driver_leave(process, driver_detach(process));
        ngx_http_claude_driver_end(process);
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

    /* before that, what it was sent is what it holds once it has answered */

    ngx_http_claude_process_resume(process);
    ngx_http_claude_driver_rearm(process);
}


void
ngx_http_claude_driver_end(ngx_http_claude_process_t *process)
{
    if (process->turn) {
        driver_leave(process, driver_detach(process));
    }

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    driver_hooks->left(process);

    ngx_http_claude_zone_process_set(driver_zone, process->row,
                                     NGX_HTTP_CLAUDE_PROCESS_ENDING, 0, 0);
    ngx_http_claude_process_end(process);
}


void
ngx_http_claude_driver_rearm(ngx_http_claude_process_t *process)
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


ngx_uint_t
driver_id(ngx_http_claude_process_t *process, ngx_uint_t kind)
{
    return ++process->requests * DRIVER_KINDS + kind;
}


/*
 * Queues what brings the process to the state that the turn needs.  When that
 * is only the settings, the question follows at once; else the answers are
 * waited for, since a question must not meet a conversation that was not
 * cut, or a model that was not set.  NGX_AGAIN: they are.
 */

ngx_int_t
driver_prepare(ngx_http_claude_process_t *process, ngx_uint_t keep)
{
    ngx_int_t                rc;
    ngx_uint_t               ask;
    ngx_http_claude_link_t  *links;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;
    links = turn->links;

    if (process->phase == DRIVER_WAITING) {

        if (keep == process->held.nelts) {
            return driver_results(process);
        }

        return driver_clear(process, keep);
    }

    ask = (process->phase != DRIVER_GREETING);

    if (keep < process->held.nelts) {

        /* a question without the results of its calls is not on record yet */

        if (!turn->session.news) {
            driver_session_unrecord(process);
        }

        if (driver_rewind(process, keep) != NGX_OK) {
            return NGX_ERROR;
        }

        ask = 0;
    }

    if (turn->before == 0 && process->base == 0
        && !ngx_http_claude_link_same(&process->root, &links[0]))
    {
        driver_session_model(process);

        if (ngx_http_claude_cli_set_model(process,
                                          driver_id(process, DRIVER_MODEL),
                                          &turn->model, &turn->system)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        process->root = links[0];
        process->expected++;
        ask = 0;

    }

    rc = driver_tools(process);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_AGAIN) {
        ask = 0;
    }

    if (ngx_http_claude_cli_settings(process,
                                     driver_id(process, DRIVER_SETTINGS), turn)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->knobs = driver_knobs(turn);
    process->expected++;
    process->phase = ask ? DRIVER_ASKED : DRIVER_PREPARING;

    return ask ? NGX_OK : NGX_AGAIN;
}


/*
 * Takes back a question that its process did not live to take back.  It may
 * not have come as far as the transcript, so the answer is not checked.
 */

static ngx_int_t
driver_pending(ngx_http_claude_process_t *process,
    ngx_http_claude_record_t *record)
{
    if (record->pending[0] == '\0') {
        return NGX_OK;
    }

    if (ngx_http_claude_cli_rewind_line(process,
                                        driver_id(process, DRIVER_PENDING),
                                        record->pending)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->expected++;

    return NGX_OK;
}


/* the knobs that the CLI does not turn while it waits for results */

uint64_t
driver_knobs(ngx_http_claude_turn_t *turn)
{
    return ((uint64_t) turn->max_tokens << 8) | (turn->effort << 1)
           | turn->thoughtless;
}


/*
 * Another conversation than the one whose calls it waits in the midst of: the
 * calls are called off first, and the result of that is waited for.
 */

static ngx_int_t
driver_clear(ngx_http_claude_process_t *process, ngx_uint_t keep)
{
    process->phase = DRIVER_CLEARING;
    process->pending = 0;
    process->keep = keep;

    return (ngx_http_claude_cli_interrupt(process,
                                       driver_id(process, DRIVER_INTERRUPT))
            == NGX_OK)
           ? NGX_AGAIN : NGX_ERROR;
}


/* cuts the conversation to so many messages, as ngx_http_claude_driver_cut()
 * has them */

ngx_int_t
driver_rewind(ngx_http_claude_process_t *process, ngx_uint_t keep)
{
    ngx_uint_t               n;
    ngx_http_claude_held_t  *held;

    held = process->held.elts;

    if (ngx_http_claude_cli_rewind(process,
                                   driver_id(process, DRIVER_REWIND),
                                   held[keep].line, process->newest)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->target = held[keep].line;
    process->held.nelts = keep;

    /* what is the newest line of the user now, for the next time */

    process->newest = 0;

    for (n = keep; n && process->newest == 0; n--) {
        process->newest = held[n - 1].line;
    }

    process->expected++;

    return NGX_OK;
}


ngx_uint_t
ngx_http_claude_driver_cut(ngx_http_claude_process_t *process, ngx_uint_t n)
{
    ngx_http_claude_held_t  *held;

    held = process->held.elts;

    if (n == process->held.nelts && !process->pending) {
        return n;
    }

    /* the first message is always a line of the user */

    while (n && (n == process->held.nelts || held[n].line == 0)) {
        n--;
    }

    return n;
}


/* all answers are there */

static void
driver_prepared(ngx_http_claude_process_t *process)
{
    switch (process->phase) {

    case DRIVER_GREETING:
        driver_idle(process);
        return;

    case DRIVER_REWINDING:
        if (process->turn == NULL) {
            driver_idle(process);

        } else if (process->restating) {
            driver_send(process);

        } else {
            driver_settled(process);
        }

        return;

    case DRIVER_PREPARING:
        if (process->turn) {
            driver_send(process);

        } else {
            driver_idle(process);
        }

        return;

    default:
        return;
    }
}


/*
 * Sends the next messages: up to and with the next one of the user, whose
 * result has to be waited for, since what follows would overtake it.
 */

void
driver_send(ngx_http_claude_process_t *process)
{
    ngx_int_t                   rc;
    ngx_uint_t                  n, line, query;
    ngx_http_claude_link_t     *links;
    ngx_http_claude_turn_t     *turn;
    ngx_http_claude_message_t  *message;

    turn = process->turn;
    links = turn->links;

    do {
        n = process->held.nelts - turn->before;

        if (n >= turn->messages.nelts) {
            driver_restate_next(process);
            return;
        }

        message = (ngx_http_claude_message_t *) turn->messages.elts + n;
        query = (n + 1 == turn->messages.nelts && !process->restating);
        line = ++process->lines;

        if (!query && process->recorded) {
            driver_session_unrecord(process);
        }

        rc = ngx_http_claude_cli_message(process, message, line, query);

        if (message->role == NGX_HTTP_CLAUDE_USER) {
            process->newest = line;

        } else {
            line = 0;
        }

        if (rc == NGX_OK) {
            rc = driver_hold(process, &links[n + 1], line);
        }

    } while (rc == NGX_OK && message->role == NGX_HTTP_CLAUDE_ASSISTANT);

    if (rc != NGX_OK) {
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its messages");
        return;
    }

    if (query) {
        driver_session_record(process, line);

        process->phase = DRIVER_ASKED;
        process->begun = 0;
        process->unwanted = 0;
        ngx_http_claude_link_begin(&process->answer,
                                   &links[turn->messages.nelts]);
    } else {
        process->phase = DRIVER_REPLAYING;
    }

    ngx_http_claude_process_flush(process);
}


ngx_int_t
driver_hold(ngx_http_claude_process_t *process, ngx_http_claude_link_t *link,
    ngx_uint_t line)
{
    ngx_http_claude_held_t  *held;

    held = ngx_array_push(&process->held);
    if (held == NULL) {
        return NGX_ERROR;
    }

    /* with its padding: it may go through a socket, see handover.c */

    ngx_memzero(held, sizeof(ngx_http_claude_held_t));

    held->link = *link;
    held->line = line;

    return NGX_OK;
}


/* the answer of the model, which came through this CLI */

ngx_int_t
driver_hold_answer(ngx_http_claude_process_t *process,
    ngx_http_claude_link_t *link)
{
    ngx_http_claude_held_t  *held;

    if (driver_hold(process, link, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    held = (ngx_http_claude_held_t *) process->held.elts
           + process->held.nelts - 1;
    held->own = 1;

    return NGX_OK;
}


static void
driver_started(ngx_http_claude_process_t *process,
    ngx_http_claude_record_t *record)
{
    ngx_http_claude_zone_process_set(driver_zone, process->row,
                                     process->turn
                                     ? NGX_HTTP_CLAUDE_PROCESS_BUSY
                                     : NGX_HTTP_CLAUDE_PROCESS_STARTING,
                                     process->pid, process->start);

    if (process->unprepared) {
        process->unprepared = 0;

        if (record
            && (driver_session_resumed(process, record) != NGX_OK
                || driver_pending(process, record) != NGX_OK))
        {
            process->doubtful = 1;
        }

        process->spent = process->cost;

        if (process->turn) {
            driver_unfold(process, record != NULL);
        }

        if (process->ending) {
            return;
        }
    }

    if (process->turn == NULL) {
        ngx_http_claude_process_idle(process, 1);
    }

    ngx_http_claude_process_flush(process);
}


/* it is known now what the process of the turn holds */

static void
driver_unfold(ngx_http_claude_process_t *process, ngx_uint_t resumed)
{
    ngx_http_claude_fail_e   fail;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;

    if (resumed) {
        turn->rung = NGX_HTTP_CLAUDE_RUNG_RESUMED;
    }

    driver_count(process);

    if (process->bare) {

        /* model and system text are those of the launch */

        process->doubtful = 1;
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_SESSION_GONE, NULL, NULL);
        return;
    }

    if (process->base && turn->session.news) {
        fail = ngx_http_claude_driver_session_check(process, turn);

        if (fail != NGX_HTTP_CLAUDE_FAIL_INTERNAL) {
            driver_fail(process, fail, NULL, NULL);
            return;
        }
    }

    if (process->doubtful
        || driver_session_follow(process, process->held.nelts) != NGX_OK
        || driver_prepare(process, process->held.nelts) == NGX_ERROR)
    {
        process->doubtful = 1;
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its session");
    }
}


static void
driver_line(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    /* a retry is no sign of life: the timeout bounds the retries, too */

    if (process->turn && process->phase < DRIVER_SETTLING
        && line->kind != NGX_HTTP_CLAUDE_CLI_API_RETRY)
    {
        ngx_http_claude_driver_rearm(process);
    }

    switch (line->kind) {

    case NGX_HTTP_CLAUDE_CLI_CONTROL_RESPONSE:
        driver_answered(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_CONTROL_REQUEST:
        driver_rpc(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_USER:
        if (process->phase == DRIVER_ANSWERING) {
            driver_result_next(process);
        }

        break;

    case NGX_HTTP_CLAUDE_CLI_INIT:
        if (driver_check_version(process,
                              &line->string[NGX_HTTP_CLAUDE_CLI_S_VERSION])
            == NGX_OK)
        {
            driver_begun(process);
        }

        break;

    case NGX_HTTP_CLAUDE_CLI_RESULT:
        driver_result(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_API_RETRY:
        driver_retry(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_ASSISTANT:
        if (line->string[NGX_HTTP_CLAUDE_CLI_S_ERROR].len) {
            process->error = ngx_http_claude_cli_error(
                                 &line->string[NGX_HTTP_CLAUDE_CLI_S_ERROR]);
        }
        break;

    case NGX_HTTP_CLAUDE_CLI_MESSAGE_START:
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
            && line->string[NGX_HTTP_CLAUDE_CLI_S_PARENT].len == 0)
        {
            driver_event(process, line);
        }
    }
}


static void
driver_quiet(ngx_http_claude_process_t *process)
{
    if (process->turn && process->turn->is_started) {
        process->turn->handlers->flush(process->turn);
    }
}


static void
driver_broken(ngx_http_claude_process_t *process)
{
    if (process->turn == NULL) {

        if (process->phase == DRIVER_GREETING) {
            ngx_log_error(NGX_LOG_ERR, process->log, 0,
                          "claude: process %P failed before its first turn: "
                          "%V%s%V", process->pid, &process->reason,
                          process->detail.len ? ": " : "", &process->detail);
        }

        ngx_http_claude_driver_end(process);
        return;
    }

    (void) ngx_atomic_fetch_add(&driver_zone->counters->died, 1);

    if (process->phase == DRIVER_SETTLING || process->turn->is_finished) {
        driver_settled(process);
        return;
    }

    if (process->locked) {
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_SESSION_BUSY, NULL, NULL);
        return;
    }

    driver_fail(process,
                process->unavailable ? NGX_HTTP_CLAUDE_FAIL_UNAVAILABLE
                                     : NGX_HTTP_CLAUDE_FAIL_CLI,
                NULL, NULL);
}


static void
driver_gone(ngx_http_claude_process_t *process)
{
    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    driver_hooks->free(process->row);
    driver_session_leave(process);

    driver_free(process);
}


static void
driver_timeout(ngx_event_t *ev)
{
    ngx_http_claude_process_t  *process = ev->data;

    if (process->phase == DRIVER_IDLE || process->phase == DRIVER_WAITING) {

        /* claude_idle_timeout */

        ngx_http_claude_driver_end(process);
        return;
    }

    if (process->turn && process->phase == DRIVER_CLEARING) {
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                    "it does not stop to wait for results");
        return;
    }

    if (process->turn && process->phase < DRIVER_SETTLING) {
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_TIMEOUT, NULL, NULL);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, process->log, 0,
                  "claude: process %P does not %s, it is ended", process->pid,
                  (process->phase == DRIVER_GREETING) ? "start" : "settle");

    if (process->turn) {
        process->cut = 0;
        process->doubtful = 1;
        driver_settled(process);
        return;
    }

    ngx_http_claude_driver_end(process);
}


/* the answer to a control request */

static void
driver_answered(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_int_t   id;
    ngx_str_t  *s;
    ngx_uint_t  kind;

    s = &line->string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_ID];
    id = ngx_atoi(s->data, s->len);

    if (id == NGX_ERROR) {
        return;
    }

    kind = id % DRIVER_KINDS;

    if (kind == DRIVER_INTERRUPT || process->expected == 0) {
        return;
    }

    driver_check(process, kind, line);

    driver_expected(process);
}


void
driver_expected(ngx_http_claude_process_t *process)
{
    /* a refusal may have been its end */

    if (process->ending || process->doubtful) {
        return;
    }

    if (--process->expected == 0) {
        driver_prepared(process);
    }
}


/* when it was refused, the process loses its turn, and mostly its life */

static void
driver_check(ngx_http_claude_process_t *process, ngx_uint_t kind,
    ngx_http_claude_cli_line_t *line)
{
    u_char      uuid[NGX_HTTP_CLAUDE_UUID_LEN];
    ngx_str_t  *string;

    string = line->string;

    if (kind == DRIVER_VERSION) {

        /* a CLI that does not know the question is older than the answer */

        (void) driver_check_version(process,
                          &string[NGX_HTTP_CLAUDE_CLI_S_BINARY_VERSION]);
        return;
    }

    if (kind == DRIVER_MODELS) {

        /* one that has no list is as good as any */

        ngx_http_claude_zone_models_set(driver_zone, process->profile->hash,
                                        &line->models);
        return;
    }

    if (string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_SUBTYPE].len != 7) {

        /* anything but "success" */

        driver_refused(process, kind, line);
        return;
    }

    if (kind == DRIVER_REWIND) {
        ngx_http_claude_cli_uuid(uuid, process, process->target);

        if (!line->rewound
            || string[NGX_HTTP_CLAUDE_CLI_S_TARGET].len != sizeof(uuid)
            || ngx_memcmp(string[NGX_HTTP_CLAUDE_CLI_S_TARGET].data, uuid,
                          sizeof(uuid))
               != 0)
        {
            driver_refused(process, kind, line);
        }
    }
}


static ngx_int_t
driver_check_version(ngx_http_claude_process_t *process, ngx_str_t *version)
{
    ngx_uint_t  n;

    n = ngx_http_claude_cli_version(version);

    if (n >= NGX_HTTP_CLAUDE_CLI_OLDEST) {
        driver_zone->counters->version = n;
        return NGX_OK;
    }

    /* it would read files that a client's text names: not one word to it */

    process->doubtful = 1;

    if (process->turn) {
        driver_fail(process, NGX_HTTP_CLAUDE_FAIL_TOO_OLD, NULL, NULL);

    } else {
        ngx_http_claude_driver_end(process);
    }

    return NGX_DECLINED;
}


/*
 * A refused model is the client's affair: one that the CLI has no alias for
 * is tried out upstream, so this can be any failure of upstream.  Anything
 * else that is refused makes the process useless.
 */

static void
driver_refused(ngx_http_claude_process_t *process, ngx_uint_t kind,
    ngx_http_claude_cli_line_t *line)
{
    ngx_str_t               *error;
    ngx_http_claude_fail_e   fail;

    if (kind != DRIVER_MODEL) {
        process->doubtful = 1;

        if (process->turn) {
            driver_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                        "it refused a control request");
        } else {
            ngx_http_claude_driver_end(process);
        }

        return;
    }

    /* it keeps the model and the prompt that it had: nobody's from now on */

    ngx_memzero(&process->root, sizeof(ngx_http_claude_link_t));

    if (process->turn == NULL) {
        return;
    }

    error = &line->string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_ERROR];
    fail = ngx_http_claude_cli_model_error(
               error, &line->string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_CODE]);

    driver_fail(process, fail, error, NULL);
}


/*
 * Makes the model stop; the result that follows settles the process.  Not
 * before the CLI has begun with the question: an interrupt that comes while
 * it is queued leaves it there, to be answered as if it were the next one.
 */

void
driver_interrupt(ngx_http_claude_process_t *process)
{
    process->cut = 1;
    process->phase = DRIVER_SETTLING;

    if (!process->begun) {
        process->unwanted = 1;
        return;
    }

    if (ngx_http_claude_cli_interrupt(process,
                                      driver_id(process, DRIVER_INTERRUPT))
        != NGX_OK)
    {
        process->doubtful = 1;
        return;
    }

    ngx_http_claude_process_flush(process);
}


/* every message has its init line; that of the question is the last */

static void
driver_begun(ngx_http_claude_process_t *process)
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
driver_settled(ngx_http_claude_process_t *process)
{
    ngx_uint_t               keep;
    ngx_http_claude_turn_t  *turn;

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
        ngx_http_claude_driver_end(process);

    } else if (process->cut) {
        process->cut = 0;
        process->phase = DRIVER_REWINDING;

        keep = ngx_http_claude_driver_cut(process, process->held.nelts - 1);

        if (driver_rewind(process, keep) == NGX_OK) {
            ngx_http_claude_driver_rearm(process);
            ngx_http_claude_process_flush(process);

        } else {
            ngx_http_claude_driver_end(process);
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
driver_wait(ngx_http_claude_process_t *process)
{
    ngx_int_t                ticket;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn ? driver_detach(process) : NULL;

    if (turn) {
        driver_leave(process, turn);
    }

    if (process->doubtful || process->is_broken) {
        ngx_http_claude_driver_end(process);

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

        driver_hooks->idle(process);

        if (ticket != -1) {
            driver_hooks->leave(ticket);
        }
    }

    if (turn) {
        driver_finish(turn);
    }
}


void
driver_idle(ngx_http_claude_process_t *process)
{
    ngx_int_t  ticket;

    if (process->ending || process->is_broken) {
        return;
    }

    process->phase = DRIVER_IDLE;
    process->resulted = 0;

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    /* what cannot be said of its session ends it */

    driver_session_record(process, 0);

    if (process->doubtful) {
        ngx_http_claude_driver_end(process);
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

ngx_http_claude_turn_t *
driver_detach(ngx_http_claude_process_t *process)
{
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;

    ngx_http_claude_metrics_parted(driver_zone->counters, turn,
                                   process->account);

    turn->process = NULL;
    process->turn = NULL;

    return turn;
}


/* its client has the whole answer, and may ask the next thing at once */

void
driver_finished(ngx_http_claude_turn_t *turn)
{
    if (turn->session.named && turn->session.held) {
        ngx_http_claude_zone_turn_answered(driver_zone, turn->ticket);
    }

    turn->is_finished = 1;
    turn->handlers->finished(turn);
}


/* the turn's place among the running ones is free */

void
driver_leave(ngx_http_claude_process_t *process, ngx_http_claude_turn_t *turn)
{
    ngx_int_t  ticket;

    ticket = turn->ticket;
    turn->ticket = -1;

    if (turn->session.named && turn->session.held) {

        /* the next one of the session finds it idle, or gone */

        ngx_http_claude_zone_turn_answered(driver_zone, ticket);
        driver_session_leave(process);
        process->ticket = ticket;
        return;
    }

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}
