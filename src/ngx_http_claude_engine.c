
/*
 * The engine.  See the header for what it is for.
 *
 * A turn goes through these phases, which are those of its process: the
 * process is prepared (greeted, checked, given model, system prompt and
 * settings), the history is replayed message by message, the last message is
 * asked, and the answer settles.  The first stop reason decides the turn: a
 * CLI would go on by itself after some of them, at the user's expense
 * (CLI-PROTOCOL.md, "It is an agent, not a pipe").
 *
 * A process that is in doubt is ended; nobody is told twice.
 */


#include "ngx_http_claude_engine.h"
#include "ngx_http_claude_mailbox.h"
#include "ngx_http_claude_process.h"


/* control requests of the preparation; the id tells what was answered */
#define ENGINE_INITIALIZE  1
#define ENGINE_VERSION     2
#define ENGINE_MODEL       3
#define ENGINE_SETTINGS    4
#define ENGINE_INTERRUPT   5

/* how long a process may take to settle when the answer is complete, msec */
#define ENGINE_SETTLE      2000

/* how long a missing login or an old CLI is answered from memory, msec */
#define ENGINE_REMEMBER    5000

/* the longest wait between the CLI's own retries that is not cut, msec */
#define ENGINE_PATIENCE    5000

/* what to say when the wait is not known, seconds */
#define ENGINE_RETRY_AFTER 30


typedef enum {
    ENGINE_PREPARING = 0,
    ENGINE_REPLAYING,
    ENGINE_ASKED,
    ENGINE_SETTLING
} ngx_http_claude_engine_phase_e;


static void engine_granted(void);
static void engine_queue_timeout(ngx_event_t *ev);
static void engine_leave(ngx_int_t ticket);
static ngx_int_t engine_refuse(ngx_http_claude_turn_t *turn,
    ngx_http_claude_fail_e fail, const char *reason);
static void engine_run(ngx_http_claude_turn_t *turn, ngx_int_t row);
static ngx_int_t engine_prepare(ngx_http_claude_process_t *process);
static void engine_replay(ngx_http_claude_process_t *process);

static void engine_started(ngx_http_claude_process_t *process);
static void engine_line(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_quiet(ngx_http_claude_process_t *process);
static void engine_broken(ngx_http_claude_process_t *process);
static void engine_gone(ngx_http_claude_process_t *process);
static void engine_timeout(ngx_event_t *ev);

static void engine_answered(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_check_version(ngx_http_claude_process_t *process,
    ngx_str_t *version);
static void engine_bad_model(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_retry(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_event(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_usage(ngx_http_claude_turn_t *turn,
    ngx_http_claude_cli_line_t *line);
static void engine_stop(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static void engine_result(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
static ngx_http_claude_fail_e engine_classify(
    ngx_http_claude_process_t *process, ngx_http_claude_cli_line_t *line);

static void engine_settle(ngx_http_claude_process_t *process);
static void engine_fail(ngx_http_claude_process_t *process,
    ngx_http_claude_fail_e fail, ngx_str_t *reason, const char *detail);
static void engine_end(ngx_http_claude_process_t *process);
static void engine_rearm(ngx_http_claude_process_t *process);


static const ngx_http_claude_process_handlers_t  engine_handlers = {
    engine_started,
    engine_line,
    engine_quiet,
    engine_broken,
    engine_gone
};


static ngx_http_claude_engine_conf_t  *engine;
static ngx_queue_t                     engine_waiting;    /* turns */
static ngx_queue_t                     engine_processes;


/* what an operator is told, by ngx_http_claude_fail_e */

static struct {
    ngx_uint_t   level;
    const char  *text;
} engine_fails[] = {
    { NGX_LOG_ERR,  "internal error" },
    { NGX_LOG_WARN, "the queue is full, see claude_queue" },
    { NGX_LOG_WARN, "waited too long, see claude_queue and "
                    "claude_max_concurrent" },
    { NGX_LOG_ERR,  "no CLI could be started, see claude_binary" },
    { NGX_LOG_ERR,  "the CLI is not logged in, see claude_env" },
    { NGX_LOG_ERR,  "the CLI is too old, 2.1.260 or later is needed" },
    { NGX_LOG_ERR,  "the CLI failed" },
    { NGX_LOG_ERR,  "the CLI wrote nothing for too long, see claude_timeout" },
    { NGX_LOG_WARN, "upstream limits the rate" },
    { NGX_LOG_WARN, "upstream is overloaded or out of reach" },
    { NGX_LOG_INFO, "upstream does not know the model" },
    { NGX_LOG_INFO, "upstream refused the request" },
    { NGX_LOG_INFO, "upstream found the request too large" },
    { NGX_LOG_INFO, "the conversation is too long for the model" },
    { NGX_LOG_WARN, "the budget is used up, see claude_max_budget_usd" }
};


static ngx_str_t  engine_rungs[] = {
    ngx_string("-"),
    ngx_string("live"),
    ngx_string("rewound"),
    ngx_string("recycled"),
    ngx_string("warm"),
    ngx_string("cold"),
    ngx_string("resumed")
};


ngx_int_t
ngx_http_claude_engine_init(ngx_cycle_t *cycle,
    ngx_http_claude_engine_conf_t *conf)
{
    ngx_http_claude_zone_wake_t  wake;

    engine = conf;

    ngx_queue_init(&engine_waiting);
    ngx_queue_init(&engine_processes);

    if (ngx_http_claude_mailbox_open(cycle, conf->zone, engine_granted)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* a worker that was killed may be the reason why this one starts */

    wake.n = 0;
    ngx_http_claude_zone_sweep(conf->zone, 0, &wake);
    ngx_http_claude_mailbox_wake(conf->zone, &wake);

    return NGX_OK;
}


void
ngx_http_claude_engine_exit(ngx_cycle_t *cycle)
{
    ngx_queue_t                  *q;
    ngx_http_claude_process_t    *process;
    ngx_http_claude_zone_wake_t   wake;

    if (engine == NULL) {
        return;
    }

    for (q = ngx_queue_head(&engine_processes);
         q != ngx_queue_sentinel(&engine_processes);
         q = ngx_queue_next(q))
    {
        process = ngx_queue_data(q, ngx_http_claude_process_t, queue);
        ngx_http_claude_process_end(process);
    }

    ngx_http_claude_spawner_exit(cycle);

    wake.n = 0;
    ngx_http_claude_zone_sweep(engine->zone, 1, &wake);
    ngx_http_claude_mailbox_wake(engine->zone, &wake);
    ngx_http_claude_mailbox_close();

    engine = NULL;
}


ngx_int_t
ngx_http_claude_turn_start(ngx_http_claude_turn_t *turn)
{
    ngx_int_t                   row;
    ngx_http_claude_profile_t  *profile;

    turn->begun = ngx_current_msec;
    profile = turn->profile;

    if (profile->failed
        && (ngx_msec_int_t) (profile->failed_until - ngx_current_msec) > 0)
    {
        return engine_refuse(turn, profile->failed, NULL);
    }

    switch (ngx_http_claude_zone_turn_enter(engine->zone, &turn->ticket,
                                            &row))
    {
    case NGX_OK:
        engine_run(turn, row);
        return turn->over ? NGX_DECLINED : NGX_OK;

    case NGX_AGAIN:
        turn->queued = 1;
        turn->timer.handler = engine_queue_timeout;
        turn->timer.data = turn;
        turn->timer.log = turn->log;

        ngx_add_timer(&turn->timer, engine->queue_timeout);
        ngx_queue_insert_tail(&engine_waiting, &turn->waiting);
        return NGX_OK;

    default:
        turn->retry_after = 1 + ngx_http_claude_zone_waiting(engine->zone)
                                / engine->zone->max_running;
        (void) ngx_atomic_fetch_add(
            &engine->zone->counters->outcomes[NGX_HTTP_CLAUDE_OUTCOME_REFUSED],
            1);

        return engine_refuse(turn, NGX_HTTP_CLAUDE_FAIL_QUEUE_FULL,
                             "Too many requests are waiting already.");
    }
}


void
ngx_http_claude_turn_abort(ngx_http_claude_turn_t *turn)
{
    ngx_http_claude_process_t  *process;

    if (turn->over) {
        return;
    }

    turn->over = 1;

    if (turn->queued) {
        turn->queued = 0;
        ngx_del_timer(&turn->timer);
        ngx_queue_remove(&turn->waiting);
        engine_leave(turn->ticket);
        return;
    }

    process = turn->process;

    if (process) {
        (void) ngx_atomic_fetch_add(
            &engine->zone->counters->outcomes[NGX_HTTP_CLAUDE_OUTCOME_ABORTED],
            1);

        ngx_log_error(NGX_LOG_INFO, turn->log, 0,
                      "claude: the client left, process %P is ended",
                      process->pid);
        engine_end(process);
    }
}


void
ngx_http_claude_turn_pause(ngx_http_claude_turn_t *turn)
{
    if (turn->process) {
        ngx_http_claude_process_pause(turn->process);

        if (turn->process->timer.timer_set) {
            ngx_del_timer(&turn->process->timer);
        }
    }
}


void
ngx_http_claude_turn_resume(ngx_http_claude_turn_t *turn)
{
    if (turn->process && turn->process->paused) {
        ngx_http_claude_process_resume(turn->process);
        engine_rearm(turn->process);
    }
}


ngx_str_t *
ngx_http_claude_rung_name(ngx_http_claude_rung_e rung)
{
    return &engine_rungs[rung];
}


/* some of this worker's waiting turns may have been granted */

static void
engine_granted(void)
{
    ngx_int_t                row;
    ngx_queue_t             *q, *next;
    ngx_http_claude_turn_t  *turn;

    for (q = ngx_queue_head(&engine_waiting);
         q != ngx_queue_sentinel(&engine_waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        turn = ngx_queue_data(q, ngx_http_claude_turn_t, waiting);

        if (ngx_http_claude_zone_turn_granted(engine->zone, turn->ticket,
                                              &row)
            != NGX_OK)
        {
            continue;
        }

        turn->queued = 0;
        ngx_del_timer(&turn->timer);
        ngx_queue_remove(&turn->waiting);

        engine_run(turn, row);

        if (turn->over) {
            turn->handlers->failed(turn);

            /* which may have done anything to the queue */

            next = ngx_queue_head(&engine_waiting);
        }
    }
}


static void
engine_queue_timeout(ngx_event_t *ev)
{
    ngx_http_claude_turn_t *turn = ev->data;

    turn->queued = 0;
    ngx_queue_remove(&turn->waiting);
    engine_leave(turn->ticket);

    turn->retry_after = 1 + ngx_http_claude_zone_waiting(engine->zone)
                            / engine->zone->max_running;
    (void) ngx_atomic_fetch_add(
        &engine->zone->counters->outcomes[NGX_HTTP_CLAUDE_OUTCOME_REFUSED], 1);

    (void) engine_refuse(turn, NGX_HTTP_CLAUDE_FAIL_QUEUE_TIMEOUT,
                         "The request has waited too long for its turn.");
    turn->handlers->failed(turn);
}


/* a place among the running or waiting turns is free */

static void
engine_leave(ngx_int_t ticket)
{
    ngx_http_claude_zone_wake_t  wake;

    wake.n = 0;
    ngx_http_claude_zone_turn_leave(engine->zone, ticket, &wake);
    ngx_http_claude_mailbox_wake(engine->zone, &wake);
}


/* a failure without a process */

static ngx_int_t
engine_refuse(ngx_http_claude_turn_t *turn, ngx_http_claude_fail_e fail,
    const char *reason)
{
    turn->over = 1;
    turn->fail = fail;

    if (reason) {
        turn->reason.data = (u_char *) reason;
        turn->reason.len = ngx_strlen(reason);
    }

    ngx_log_error(engine_fails[fail].level, turn->log, 0,
                  "claude: %s, request %V", engine_fails[fail].text,
                  &turn->id);

    return NGX_DECLINED;
}


/* the turn has its place and a row for a process; sets over if it fails */

static void
engine_run(ngx_http_claude_turn_t *turn, ngx_int_t row)
{
    ngx_http_claude_process_t    *process;
    ngx_http_claude_zone_wake_t   wake;

    process = ngx_http_claude_process_create(turn->profile, engine->max_line,
                                             &engine_handlers, NULL,
                                             turn->log);
    if (process == NULL) {
        wake.n = 0;
        ngx_http_claude_zone_process_free(engine->zone, row, &wake);
        ngx_http_claude_mailbox_wake(engine->zone, &wake);

        engine_leave(turn->ticket);
        (void) engine_refuse(turn, NGX_HTTP_CLAUDE_FAIL_UNAVAILABLE, NULL);
        return;
    }

    ngx_queue_insert_tail(&engine_processes, &process->queue);

    process->row = row;
    process->ticket = turn->ticket;
    process->turn = turn;
    process->phase = ENGINE_PREPARING;
    process->timer.handler = engine_timeout;
    process->timer.data = process;
    process->timer.log = process->log;

    turn->process = process;
    turn->rung = NGX_HTTP_CLAUDE_RUNG_COLD;

    (void) ngx_atomic_fetch_add(&engine->zone->counters->spawned, 1);
    (void) ngx_atomic_fetch_add(&engine->zone->counters->rungs[turn->rung], 1);

    ngx_http_claude_zone_process_set(engine->zone, row,
                                     NGX_HTTP_CLAUDE_PROCESS_STARTING, 0, 0);
    ngx_http_claude_zone_process_turn(engine->zone, row, turn->rung);

    engine_rearm(process);

    if (engine_prepare(process) != NGX_OK) {
        turn->over = 1;
        turn->fail = NGX_HTTP_CLAUDE_FAIL_INTERNAL;
        engine_end(process);
    }
}


/* queued before the process runs, so it finds them when it first reads */

static ngx_int_t
engine_prepare(ngx_http_claude_process_t *process)
{
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;
    process->expected = 4;

    if (ngx_http_claude_cli_initialize(process, ENGINE_INITIALIZE) != NGX_OK
        || ngx_http_claude_cli_get_version(process, ENGINE_VERSION) != NGX_OK
        || ngx_http_claude_cli_set_model(process, ENGINE_MODEL, &turn->model,
                                         &turn->system)
           != NGX_OK
        || ngx_http_claude_cli_settings(process, ENGINE_SETTINGS, turn)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Sends the next messages: up to and with the next one of the user, whose
 * result has to be waited for, since what follows would overtake it.
 */

static void
engine_replay(ngx_http_claude_process_t *process)
{
    ngx_int_t                   rc;
    ngx_uint_t                  query;
    ngx_http_claude_turn_t     *turn;
    ngx_http_claude_message_t  *message;

    turn = process->turn;
    message = turn->messages.elts;

    do {
        message = (ngx_http_claude_message_t *) turn->messages.elts
                  + process->replayed++;
        query = (process->replayed == turn->messages.nelts);

        rc = ngx_http_claude_cli_message(process, message, ++process->lines,
                                         query);

    } while (rc == NGX_OK && message->role == NGX_HTTP_CLAUDE_ASSISTANT);

    if (rc != NGX_OK) {
        engine_fail(process, NGX_HTTP_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its messages");
        return;
    }

    process->phase = query ? ENGINE_ASKED : ENGINE_REPLAYING;

    ngx_http_claude_process_flush(process);
}


static void
engine_started(ngx_http_claude_process_t *process)
{
    ngx_http_claude_zone_process_set(engine->zone, process->row,
                                     NGX_HTTP_CLAUDE_PROCESS_BUSY,
                                     process->pid, process->start);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, process->log, 0,
                   "claude: process %P started in %s", process->pid,
                   process->profile->directory);

    ngx_http_claude_process_flush(process);
}


static void
engine_line(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    /* a retry is no sign of life: the timeout bounds the retries, too */

    if (line->kind != NGX_HTTP_CLAUDE_CLI_API_RETRY
        && process->phase != ENGINE_SETTLING)
    {
        engine_rearm(process);
    }

    switch (line->kind) {

    case NGX_HTTP_CLAUDE_CLI_API_RETRY:
        engine_retry(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_CONTROL_RESPONSE:
        engine_answered(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_CONTROL_REQUEST:
        (void) ngx_http_claude_cli_refuse(process,
                          &line->string[NGX_HTTP_CLAUDE_CLI_S_REQUEST_ID]);
        ngx_http_claude_process_flush(process);
        break;

    case NGX_HTTP_CLAUDE_CLI_INIT:
        engine_check_version(process,
                             &line->string[NGX_HTTP_CLAUDE_CLI_S_VERSION]);
        break;

    case NGX_HTTP_CLAUDE_CLI_RESULT:
        engine_result(process, line);
        break;

    case NGX_HTTP_CLAUDE_CLI_ASSISTANT:
        if (line->string[NGX_HTTP_CLAUDE_CLI_S_ERROR].len) {
            process->error = ngx_http_claude_cli_error(
                                 &line->string[NGX_HTTP_CLAUDE_CLI_S_ERROR]);
        }
        break;

    default:
        if (process->phase == ENGINE_ASKED
            && line->string[NGX_HTTP_CLAUDE_CLI_S_PARENT].len == 0)
        {
            engine_event(process, line);
        }
    }
}


static void
engine_quiet(ngx_http_claude_process_t *process)
{
    if (process->turn && process->turn->is_started) {
        process->turn->handlers->flush(process->turn);
    }
}


static void
engine_broken(ngx_http_claude_process_t *process)
{
    (void) ngx_atomic_fetch_add(&engine->zone->counters->died, 1);

    if (process->phase == ENGINE_SETTLING) {
        engine_settle(process);
        return;
    }

    engine_fail(process,
                process->unavailable ? NGX_HTTP_CLAUDE_FAIL_UNAVAILABLE
                                     : NGX_HTTP_CLAUDE_FAIL_CLI,
                NULL, NULL);
}


static void
engine_gone(ngx_http_claude_process_t *process)
{
    ngx_http_claude_zone_wake_t  wake;

    wake.n = 0;
    ngx_http_claude_zone_process_free(engine->zone, process->row, &wake);
    ngx_http_claude_mailbox_wake(engine->zone, &wake);

    ngx_queue_remove(&process->queue);
    ngx_destroy_pool(process->pool);
}


static void
engine_timeout(ngx_event_t *ev)
{
    ngx_http_claude_process_t *process = ev->data;

    if (process->phase == ENGINE_SETTLING) {
        ngx_log_error(NGX_LOG_WARN, process->log, 0,
                      "claude: process %P does not settle, it is ended",
                      process->pid);
        engine_settle(process);
        return;
    }

    engine_fail(process, NGX_HTTP_CLAUDE_FAIL_TIMEOUT, NULL, NULL);
}


/* the answer to a control request */

static void
engine_answered(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_int_t  id;
    ngx_str_t  *string;

    string = line->string;

    id = ngx_atoi(string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_ID].data,
                  string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_ID].len);

    if (process->phase != ENGINE_PREPARING) {
        return;
    }

    if (id == ENGINE_VERSION) {

        /* a CLI that does not know the question is older than the answer */

        engine_check_version(process,
                             &string[NGX_HTTP_CLAUDE_CLI_S_BINARY_VERSION]);

    } else if (string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_SUBTYPE].len != 7) {

        /* anything but "success" */

        if (id == ENGINE_MODEL) {
            engine_bad_model(process, line);

        } else {
            engine_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                        "it refused a control request");
        }
    }

    if (process->turn && --process->expected == 0) {
        engine_replay(process);
    }
}


static void
engine_check_version(ngx_http_claude_process_t *process, ngx_str_t *version)
{
    ngx_uint_t  n;

    n = ngx_http_claude_cli_version(version);

    if (n >= NGX_HTTP_CLAUDE_CLI_OLDEST) {
        engine->zone->counters->version = n;
        return;
    }

    /* it would read files that a client's text names: not one word to it */

    if (process->turn) {
        engine_fail(process, NGX_HTTP_CLAUDE_FAIL_TOO_OLD, NULL, NULL);
    }
}


/*
 * A model that the CLI has no alias for is tried out upstream, so this can
 * be any failure of upstream; the text has its status, if there was one.
 */

static void
engine_bad_model(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_str_t               *error;
    ngx_http_claude_fail_e   fail;

    error = &line->string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_ERROR];
    fail = ngx_http_claude_cli_model_error(
               error, &line->string[NGX_HTTP_CLAUDE_CLI_S_RESPONSE_CODE]);

    engine_fail(process, fail, error, "it refused the model");
}


/*
 * The CLI waits as long as upstream's Retry-After says, silently.  A client
 * does better to know at once: it can wait, or go elsewhere.
 */

static void
engine_retry(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    double                  delay, status;
    ngx_http_claude_turn_t *turn;

    turn = process->turn;
    delay = line->number[NGX_HTTP_CLAUDE_CLI_N_RETRY_DELAY];
    status = line->number[NGX_HTTP_CLAUDE_CLI_N_RETRY_STATUS];

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                   "claude: process %P retries after %.0fms, status %.0f",
                   process->pid, delay, status);

    if (process->phase != ENGINE_ASKED || delay <= ENGINE_PATIENCE) {
        return;
    }

    turn->retry_after = (time_t) (ngx_min(delay, 86400e3) / 1000) + 1;

    engine_fail(process,
                (status == 429) ? NGX_HTTP_CLAUDE_FAIL_RATE_LIMIT
                                : NGX_HTTP_CLAUDE_FAIL_OVERLOADED,
                NULL, NULL);
}


/* what the model says */

static void
engine_event(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_str_t               *text, *type;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;
    text = &line->string[NGX_HTTP_CLAUDE_CLI_S_TEXT];

    switch (line->kind) {

    case NGX_HTTP_CLAUDE_CLI_MESSAGE_START:

        if (turn->is_started) {

            /* the answer broke off and the CLI asks again by itself */

            engine_fail(process, NGX_HTTP_CLAUDE_FAIL_OVERLOADED, NULL,
                        "the model's answer broke off");
            return;
        }

        engine_usage(turn, line);
        turn->is_started = 1;
        turn->handlers->started(turn);
        return;

    case NGX_HTTP_CLAUDE_CLI_BLOCK_START:
        type = &line->string[NGX_HTTP_CLAUDE_CLI_S_BLOCK_TYPE];

        if (type->len == 8 && ngx_memcmp(type->data, "tool_use", 8) == 0) {
            process->tool = 1;
            return;
        }

        break;

    case NGX_HTTP_CLAUDE_CLI_BLOCK_DELTA:
        type = &line->string[NGX_HTTP_CLAUDE_CLI_S_DELTA_TYPE];
        break;

    case NGX_HTTP_CLAUDE_CLI_MESSAGE_DELTA:
        if (turn->is_started) {
            engine_usage(turn, line);
            engine_stop(process, line);
        }

        return;

    case NGX_HTTP_CLAUDE_CLI_MESSAGE_STOP:

        /* the CLI makes up the end of a stream that broke off */

        engine_fail(process, NGX_HTTP_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;

    default:
        return;
    }

    if (text->len == 0 || !turn->is_started) {
        return;
    }

    if (turn->ttft == (ngx_msec_t) -1) {
        turn->ttft = ngx_current_msec - turn->begun;
    }

    if (type->len == 14 && ngx_memcmp(type->data, "thinking_delta", 14) == 0) {
        turn->handlers->thinking(turn, text->data, text->len);
        return;
    }

    process->texted = 1;
    turn->handlers->text(turn, text->data, text->len);
}


/* message_start has what went in, message_delta what came out, in the end */

static void
engine_usage(ngx_http_claude_turn_t *turn, ngx_http_claude_cli_line_t *line)
{
    double                   *number;
    ngx_http_claude_usage_t  *usage;

    number = line->number;
    usage = &turn->usage;

#define engine_take(field, slot)                                              \
    if (number[NGX_HTTP_CLAUDE_CLI_N_ ## slot] >= 0                           \
        && number[NGX_HTTP_CLAUDE_CLI_N_ ## slot] < 1e15)                     \
    {                                                                         \
        usage->field = (uint64_t) number[NGX_HTTP_CLAUDE_CLI_N_ ## slot];     \
    }

    engine_take(input, INPUT);
    engine_take(cache_read, CACHE_READ);
    engine_take(cache_creation, CACHE_CREATION);
    engine_take(output, OUTPUT);
    engine_take(thinking, THINKING);
}


/* the first stop reason decides the turn */

static void
engine_stop(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_str_t               *reason;
    ngx_uint_t               done;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;
    reason = &line->string[NGX_HTTP_CLAUDE_CLI_S_STOP_REASON];

    if (reason->len == 0) {
        return;
    }

    turn->stop = ngx_http_claude_cli_stop(reason);

    if (turn->stop == NGX_HTTP_CLAUDE_STOP_TOOL || process->tool) {

        /* no tools were offered: the CLI would answer the call itself */

        if (!process->texted) {
            engine_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                        "the model called a tool that it was not offered");
            return;
        }

        turn->stop = NGX_HTTP_CLAUDE_STOP_TOOL;
    }

    /* after anything else, an empty end too, the CLI would ask once more */

    done = process->texted
           && (turn->stop == NGX_HTTP_CLAUDE_STOP_END
               || turn->stop == NGX_HTTP_CLAUDE_STOP_SEQUENCE);

    if (turn->stop == NGX_HTTP_CLAUDE_STOP_TOOL) {
        turn->stop = NGX_HTTP_CLAUDE_STOP_END;
    }

    if (!done) {
        (void) ngx_http_claude_cli_interrupt(process, ENGINE_INTERRUPT);
        ngx_http_claude_process_flush(process);
    }

    process->phase = ENGINE_SETTLING;
    ngx_add_timer(&process->timer, ENGINE_SETTLE);

    turn->is_finished = 1;
    turn->handlers->finished(turn);
}


/* the end of something, by the CLI's own account */

static void
engine_result(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    double                   cost;
    ngx_http_claude_fail_e   fail;
    ngx_http_claude_turn_t  *turn;

    turn = process->turn;

    if (process->phase == ENGINE_REPLAYING) {

        if (line->is_error) {
            engine_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                        "it refused a message of the history");
            return;
        }

        engine_replay(process);
        return;
    }

    if (process->phase == ENGINE_PREPARING) {
        engine_fail(process, NGX_HTTP_CLAUDE_FAIL_CLI, NULL,
                    "it answered before it was asked");
        return;
    }

    cost = line->number[NGX_HTTP_CLAUDE_CLI_N_COST];

    if (cost >= process->cost) {
        turn->cost = cost - process->cost;
        process->cost = cost;
    }

    if (process->phase == ENGINE_SETTLING) {
        engine_settle(process);
        return;
    }

    fail = engine_classify(process, line);

    engine_fail(process, fail,
                &line->string[NGX_HTTP_CLAUDE_CLI_S_RESULT], NULL);
}


/* a result before the answer was complete is a failure, whatever it says */

static ngx_http_claude_fail_e
engine_classify(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line)
{
    ngx_http_claude_fail_e  fail;

    fail = ngx_http_claude_cli_result_error(line);

    if (fail == NGX_HTTP_CLAUDE_FAIL_CLI
        && process->error != NGX_HTTP_CLAUDE_FAIL_INTERNAL)
    {
        return process->error;
    }

    return fail;
}


/* the answer was given, and the process is done with it */

static void
engine_settle(ngx_http_claude_process_t *process)
{
    ngx_http_claude_turn_t      *turn;
    ngx_http_claude_counters_t  *counters;

    turn = process->turn;
    counters = engine->zone->counters;

    (void) ngx_atomic_fetch_add(
               &counters->outcomes[NGX_HTTP_CLAUDE_OUTCOME_FINISHED], 1);
    (void) ngx_atomic_fetch_add(&counters->prompt_tokens,
               turn->usage.input + turn->usage.cache_read
               + turn->usage.cache_creation);
    (void) ngx_atomic_fetch_add(&counters->completion_tokens,
                                turn->usage.output);

    if (turn->cost > 0) {
        (void) ngx_atomic_fetch_add(&counters->microdollars,
                                    (ngx_atomic_int_t) (turn->cost * 1e6));
    }

    turn->over = 1;
    engine_end(process);

    turn->handlers->settled(turn);
}


/*
 * The turn failed.  reason: the CLI's own words, for the client where they
 * are about upstream; detail: for the log.
 */

static void
engine_fail(ngx_http_claude_process_t *process, ngx_http_claude_fail_e fail,
    ngx_str_t *reason, const char *detail)
{
    ngx_http_claude_turn_t     *turn;
    ngx_http_claude_profile_t  *profile;

    turn = process->turn;
    profile = process->profile;

    turn->over = 1;
    turn->fail = fail;

    if (detail) {
        turn->reason.data = (u_char *) detail;
        turn->reason.len = ngx_strlen(detail);
    }

    switch (fail) {

    case NGX_HTTP_CLAUDE_FAIL_RATE_LIMIT:

        if (turn->retry_after == 0) {
            turn->retry_after = ENGINE_RETRY_AFTER;
        }

        /* fall through */

    case NGX_HTTP_CLAUDE_FAIL_OVERLOADED:
    case NGX_HTTP_CLAUDE_FAIL_REQUEST:
    case NGX_HTTP_CLAUDE_FAIL_TOO_LARGE:
    case NGX_HTTP_CLAUDE_FAIL_CONTEXT:

        if (reason && reason->len) {
            turn->reason.data = ngx_pstrdup(turn->pool, reason);
            turn->reason.len = turn->reason.data ? reason->len : 0;
        }

        break;

    case NGX_HTTP_CLAUDE_FAIL_NOT_LOGGED_IN:
    case NGX_HTTP_CLAUDE_FAIL_TOO_OLD:
        profile->failed = fail;
        profile->failed_until = ngx_current_msec + ENGINE_REMEMBER;
        break;

    case NGX_HTTP_CLAUDE_FAIL_CLI:
    case NGX_HTTP_CLAUDE_FAIL_UNAVAILABLE:

        if (process->reason.len) {
            turn->reason.data = ngx_pstrdup(turn->pool, &process->reason);
            turn->reason.len = turn->reason.data ? process->reason.len : 0;
        }

        break;

    default:
        break;
    }

    (void) ngx_atomic_fetch_add(
        &engine->zone->counters->outcomes[NGX_HTTP_CLAUDE_OUTCOME_FAILED], 1);

    ngx_log_error(engine_fails[fail].level, turn->log, 0,
                  "claude: %s%s%V, process %P, request %V",
                  engine_fails[fail].text, turn->reason.len ? ": " : "",
                  &turn->reason, process->pid, &turn->id);

    engine_end(process);

    turn->handlers->failed(turn);
}


/* the turn lets go of the process, which is no good for another one */

static void
engine_end(ngx_http_claude_process_t *process)
{
    if (process->turn) {
        process->turn->process = NULL;
        process->turn = NULL;
    }

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    ngx_http_claude_zone_process_set(engine->zone, process->row,
                                     NGX_HTTP_CLAUDE_PROCESS_ENDING, 0, 0);
    ngx_http_claude_process_end(process);

    if (process->ticket != -1) {
        engine_leave(process->ticket);
        process->ticket = -1;
    }
}


static void
engine_rearm(ngx_http_claude_process_t *process)
{
    ngx_msec_t  timeout;

    if (process->turn && !process->paused) {
        timeout = (process->phase == ENGINE_SETTLING) ? ENGINE_SETTLE
                                                      : process->turn->timeout;
        ngx_add_timer(&process->timer, timeout);
    }
}
