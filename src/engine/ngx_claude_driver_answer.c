
/*
 * The driver: what the model says, and how a turn ends.
 *
 * The first stop reason decides a turn: after some of them the CLI would go
 * on by itself, at the user's expense (CLI-PROTOCOL.md, "It is an agent, not
 * a pipe"), so it is interrupted and the question taken back.
 */


#include "ngx_claude_driver_private.h"


/* how long a missing login or an old CLI is answered from memory, msec */
#define DRIVER_REMEMBER    5000


/* the longest wait between the CLI's own retries that is not cut, msec */
#define DRIVER_PATIENCE    5000


static void driver_message_start(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static ngx_uint_t driver_ours(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static void driver_foreign_tool(ngx_claude_process_t *process);
static void driver_cut_short(ngx_claude_process_t *process,
    ngx_claude_stop_e stop);
static ngx_uint_t driver_keeps(ngx_claude_process_t *process);
static void driver_stop(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static void driver_stop_is(ngx_claude_turn_t *turn,
    ngx_claude_cli_line_t *line);
static void driver_remember(ngx_claude_profile_t *profile,
    ngx_claude_fail_e fail);
static ngx_str_t driver_words(ngx_claude_turn_t *turn, ngx_str_t *text);
static void driver_fail_reason(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn, ngx_str_t *reason, const char *detail);


/* what an operator is told, by ngx_claude_fail_e */

static struct {
    ngx_uint_t   level;
    const char  *text;
} driver_fails[] = {
    { NGX_LOG_ERR,  "internal error" },
    { NGX_LOG_WARN, "the queue is full, see claude_queue" },
    { NGX_LOG_WARN, "waited too long, see claude_queue and "
                    "claude_max_concurrent" },
    { NGX_LOG_ERR,  "the CLI could not be started" },
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
    { NGX_LOG_WARN, "the budget is used up, see claude_max_budget_usd" },
    { NGX_LOG_INFO, "the session is gone" },
    { NGX_LOG_WARN, "another nginx holds the session's transcript" },
    { NGX_LOG_INFO, "the session has another model" },
    { NGX_LOG_INFO, "the session has another system text" }
};


void
ngx_claude_driver_log(ngx_claude_turn_t *turn, ngx_pid_t pid)
{
    ngx_str_t  *words;

    words = turn->words.len ? &turn->words : &turn->reason;

    ngx_log_error(driver_fails[turn->fail].level, turn->log, 0,
                  "claude: %s%s%V, process %P, request %V",
                  driver_fails[turn->fail].text, words->len ? ": " : "",
                  words, pid, &turn->id);
}


/*
 * The CLI waits as long as upstream's Retry-After says, silently.  A client
 * does better to know at once: it can wait, or go elsewhere.
 */

void
driver_retry(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    double              delay, status;
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    delay = line->number[NGX_CLAUDE_CLI_N_RETRY_DELAY];
    status = line->number[NGX_CLAUDE_CLI_N_RETRY_STATUS];

    (void) ngx_atomic_fetch_add(&driver_zone->counters->retries, 1);

    if (turn == NULL || process->phase != DRIVER_ASKED
        || delay <= DRIVER_PATIENCE)
    {
        return;
    }

    turn->retry_after = (time_t) (ngx_min(delay, 86400e3) / 1000) + 1;

    driver_fail(process,
                (status == 429) ? NGX_CLAUDE_FAIL_RATE_LIMIT
                                : NGX_CLAUDE_FAIL_OVERLOADED,
                NULL, NULL);
}


/* what the model says */

void
driver_event(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START) {
        driver_message_start(process, line);
        return;
    }

    /* of the message whose calls are answered: it may come that late */

    if (!turn->is_started) {
        return;
    }

    switch (line->kind) {

    case NGX_CLAUDE_CLI_BLOCK_START:
        driver_block_start(process, line);
        return;

    case NGX_CLAUDE_CLI_BLOCK_DELTA:
        driver_block_delta(process, line);
        return;

    case NGX_CLAUDE_CLI_BLOCK_STOP:
        driver_block_stop(process);
        return;

    case NGX_CLAUDE_CLI_MESSAGE_DELTA:
        turn->usage = process->call;
        driver_stop(process, line);
        return;

    case NGX_CLAUDE_CLI_MESSAGE_STOP:

        if (process->profile->agent) {
            return;
        }

        /* the CLI makes up the end of a stream that broke off */

        driver_fail(process, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;

    default:
        return;
    }
}


/* the model begins: to answer the turn, or to do what it must not */

static void
driver_message_start(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (turn->is_started && process->profile->agent) {
        driver_agent_next(process);
        return;
    }

    if (turn->is_started) {

        /* the answer broke off and the CLI asks again by itself */

        driver_fail(process, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;
    }

    if (!driver_ours(process, line)) {
        process->doubtful = 1;
        driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                    "it answered another question");
        return;
    }

    if (process->error != NGX_CLAUDE_FAIL_INTERNAL) {

        /* it took out what upstream refused, and asked without it */

        driver_fail(process, NGX_CLAUDE_FAIL_REQUEST, NULL,
                    "an image or a file of the conversation could not be "
                    "processed");
        return;
    }

    /* the calls of the message before were answered */

    driver_calls_drop(process);

    /* a block of a turn that failed was never closed */

    process->open.is_open = 0;

    turn->usage = process->call;
    turn->is_started = 1;
    process->profile->failed = NGX_CLAUDE_FAIL_INTERNAL;
    turn->handlers->started(turn);
}


/* the first thing that the model has said, of whatever kind */

void
driver_token(ngx_claude_turn_t *turn)
{
    if (turn->ttft == (ngx_msec_t) -1) {
        turn->ttft = ngx_current_msec - turn->begun;
    }
}


void
driver_no_memory(ngx_claude_process_t *process)
{
    driver_fail(process, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                "no memory for its answer");
}


/* whether a line is about the question of the turn, if it says so at all */

static ngx_uint_t
driver_ours(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    u_char      uuid[NGX_CLAUDE_UUID_LEN];
    ngx_str_t  *question;

    question = &line->string[NGX_CLAUDE_CLI_S_QUESTION];

    ngx_claude_cli_uuid(uuid, process, process->newest);

    return question->len == 0
           || (question->len == sizeof(uuid)
               && ngx_memcmp(question->data, uuid, sizeof(uuid)) == 0);
}


/* the model calls a tool */

void
driver_tool_use(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    driver_token(process->turn);

    switch (driver_call(process, line)) {

    case NGX_OK:
        return;

    case NGX_DECLINED:
        driver_foreign_tool(process);
        return;

    default:
        driver_no_memory(process);
    }
}


/*
 * A call of a tool that was not offered.  The CLI would answer it itself and
 * ask the model again, as soon as the call is complete, so it is stopped
 * while it begins.  What was said before it is the answer.
 */

static void
driver_foreign_tool(ngx_claude_process_t *process)
{
    process->tool = 1;

    if (!process->texted && process->calls.nelts == 0) {
        driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                    "the model called a tool that it was not offered");
        return;
    }

    driver_cut_short(process,
                     process->calls.nelts ? NGX_CLAUDE_STOP_TOOL
                                          : NGX_CLAUDE_STOP_END);
}


void
ngx_claude_driver_stop(ngx_claude_process_t *process,
    size_t surplus)
{
    process->said.len -= ngx_min(surplus, process->said.len);

    driver_cut_short(process, NGX_CLAUDE_STOP_SEQUENCE);
}


/* what was said is the answer; the model is stopped, the question undone */

static void
driver_cut_short(ngx_claude_process_t *process,
    ngx_claude_stop_e stop)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    driver_stop_as(turn, stop);

    driver_restate_announce(process);
    driver_interrupt(process);
    ngx_claude_driver_rearm(process);

    driver_finished(turn);
}


/* the first stop reason decides the turn */

static void
driver_stop(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_claude_link_t   link;
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (process->profile->agent) {

        /* the CLI's result is the end */

        driver_block_end(process);
        driver_stop_is(turn, line);
        return;
    }

    if (line->string[NGX_CLAUDE_CLI_S_STOP_REASON].len == 0) {

        /* null: the answer broke off, what follows is the CLI's own */

        driver_fail(process, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;
    }

    driver_block_end(process);
    driver_stop_is(turn, line);

    if (turn->stop == NGX_CLAUDE_STOP_REFUSAL) {
        turn->refusal = driver_words(turn,
                          &line->string[NGX_CLAUDE_CLI_S_EXPLANATION]);
    }

    if (process->calls.nelts && turn->stop <= NGX_CLAUDE_STOP_SEQUENCE) {
        driver_stop_as(turn, NGX_CLAUDE_STOP_TOOL);
    }

    process->phase = DRIVER_SETTLING;

    if (driver_keeps(process)) {
        ngx_claude_link_end(&process->answer, &link);

        if (driver_hold_answer(process, &link) != NGX_OK) {
            process->doubtful = 1;
        }

        if (process->calls.nelts) {
            driver_bill_ask(process);
        }

    } else {
        driver_restate_announce(process);
        driver_interrupt(process);
    }

    ngx_claude_driver_rearm(process);

    driver_finished(turn);

    if (process->calls.nelts && !process->cut
        && driver_calls_routed(process))
    {
        driver_wait(process);
    }
}


/* what the provider says of it; no memory: the word is not told */

static void
driver_stop_is(ngx_claude_turn_t *turn, ngx_claude_cli_line_t *line)
{
    ngx_str_t  *sequence;

    sequence = &line->string[NGX_CLAUDE_CLI_S_STOP_SEQUENCE];

    driver_stop_as(turn, ngx_claude_cli_stop(
                             &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]));

    turn->stop_reason = driver_words(turn,
                             &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]);

    if (sequence->len) {
        turn->stop_sequence.data = ngx_pstrdup(turn->pool, sequence);

        if (turn->stop_sequence.data) {
            turn->stop_sequence.len = sequence->len;
        }
    }
}


void
driver_stop_as(ngx_claude_turn_t *turn, ngx_claude_stop_e stop)
{
    turn->stop = stop;

    ngx_str_null(&turn->stop_reason);
    ngx_str_null(&turn->stop_sequence);
}


/*
 * Whether the answer stays in the conversation.  After an end that is neither
 * the model's own nor a call, and an empty one, the CLI would ask again; and
 * a call whose arguments are no object it would answer itself.
 */

static ngx_uint_t
driver_keeps(ngx_claude_process_t *process)
{
    if (process->calls.nelts) {
        return process->turn->stop == NGX_CLAUDE_STOP_TOOL
               && !process->calling
               && driver_calls_link(process) == NGX_OK;
    }

    return process->texted
           && process->turn->stop <= NGX_CLAUDE_STOP_SEQUENCE;
}


/* the end of something, by the CLI's own account */

void
driver_result(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_claude_fail_e  fail;

    driver_bill_result(process, line);

    switch (process->phase) {

    case DRIVER_REPLAYING:

        if (line->is_error) {
            process->doubtful = 1;

            if (process->turn) {
                driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                            "it refused a message of the history");
            } else {
                ngx_claude_driver_end(process);
            }

        } else if (process->turn) {
            driver_send(process);

        } else if (process->restating) {

            /* nobody goes on from what is only half there */

            process->cut = 1;
            driver_settled(process);

        } else {
            driver_idle(process);
        }

        return;

    case DRIVER_CLEARING:

        driver_calls_drop(process);

        if (process->turn) {
            process->phase = DRIVER_IDLE;

            if (driver_prepare(process, process->keep) == NGX_ERROR) {
                driver_fail(process, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                            "no memory for its messages");
                return;
            }

            ngx_claude_driver_rearm(process);
            ngx_claude_process_flush(process);

        } else {
            process->cut = 1;
            driver_settled(process);
        }

        return;

    case DRIVER_ANSWERING:
    case DRIVER_ASKED:

        if (!driver_ours(process, line)) {
            process->doubtful = 1;
            driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it ended another question");
            return;
        }

        if (process->profile->agent && driver_agent_result(process, line)) {
            return;
        }

        fail = ngx_claude_cli_result_error(line);

        if (fail == NGX_CLAUDE_FAIL_CLI
            && process->error != NGX_CLAUDE_FAIL_INTERNAL)
        {
            fail = process->error;
        }

        process->resulted = 1;
        process->loginless = ngx_claude_cli_no_login(line);
        process->turn->error_type = driver_words(process->turn,
                                &line->string[NGX_CLAUDE_CLI_S_ERROR_TYPE]);

        driver_fail(process, fail,
                    &line->string[NGX_CLAUDE_CLI_S_RESULT], NULL);
        return;

    case DRIVER_SETTLING:

        if (process->calls.nelts && !process->cut) {

            /* it was to wait for results, and has ended the turn itself */

            process->doubtful = 1;
        }

        driver_settled(process);
        return;

    default:

        /* an answer that nobody has asked for */

        process->doubtful = 1;

        if (process->turn) {
            driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it answered before it was asked");
        } else {
            ngx_claude_driver_end(process);
        }
    }
}


void
driver_finish(ngx_claude_turn_t *turn)
{
    (void) ngx_atomic_fetch_add(
        &driver_zone->counters->outcomes[NGX_CLAUDE_OUTCOME_FINISHED], 1);

    turn->over = 1;
    turn->handlers->settled(turn);
}


/*
 * The turn failed.  reason: the CLI's own words, for the client where they
 * are about upstream; detail: for both.  A used process that failed before
 * the model said anything is no reason to bother the client: another process
 * gets the turn.
 */

void
driver_fail(ngx_claude_process_t *process, ngx_claude_fail_e fail,
    ngx_str_t *reason, const char *detail)
{
    ngx_pid_t           pid;
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    pid = process->pid;

    if (turn->is_finished) {

        /* its answer is there: only the process is of no use any more */

        process->doubtful = 1;
        driver_settled(process);
        return;
    }

    if (fail == NGX_CLAUDE_FAIL_CLI && !turn->is_started
        && turn->retried < NGX_CLAUDE_DRIVER_RETRIES
        && turn->rung != NGX_CLAUDE_RUNG_COLD
        && !process->resulted)
    {
        ngx_log_error(NGX_LOG_WARN, turn->log, 0,
                      "claude: process %P is of no use, another one is "
                      "taken: %V%s", pid, &process->reason,
                      detail ? detail : "");

        (void) ngx_atomic_fetch_add(&driver_zone->counters->replaced, 1);

        turn->retried++;
        (void) driver_detach(process);
        ngx_claude_driver_end(process);

        driver_hooks->again(turn);
        return;
    }

    turn->fail = fail;
    driver_fail_reason(process, turn, reason, detail);

    (void) driver_detach(process);
    driver_leave(process, turn);

    switch (fail) {

    case NGX_CLAUDE_FAIL_CLI:

        if (process->tool) {

            /* the model's fault: the process does as it should */

            driver_interrupt(process);
            ngx_claude_driver_rearm(process);
            break;
        }

        ngx_claude_driver_end(process);
        break;

    case NGX_CLAUDE_FAIL_TIMEOUT:

        if (process->phase == DRIVER_ASKED && process->begun) {

            /* it may be upstream that is silent: what was spent is told */

            process->doubtful = 1;
            driver_interrupt(process);
            ngx_claude_driver_rearm(process);
            break;
        }

        /* fall through */

    case NGX_CLAUDE_FAIL_INTERNAL:
    case NGX_CLAUDE_FAIL_UNAVAILABLE:
    case NGX_CLAUDE_FAIL_TOO_OLD:
    case NGX_CLAUDE_FAIL_NOT_LOGGED_IN:
    case NGX_CLAUDE_FAIL_SESSION_BUSY:
        ngx_claude_driver_end(process);
        break;

    default:

        /* upstream failed, not the process: the question is taken back */

        if (process->doubtful) {
            ngx_claude_driver_end(process);

        } else if (process->phase < DRIVER_ANSWERING) {

            /* idle as soon as the answers that are due have come */

            ngx_claude_driver_rearm(process);

        } else if (process->resulted) {
            process->cut = 1;
            driver_settled(process);

        } else {
            driver_interrupt(process);
            ngx_claude_driver_rearm(process);
        }
    }

    driver_unasked(process);

    turn->over = 1;

    ngx_claude_metrics_failed(driver_zone->counters, fail);
    ngx_claude_driver_log(turn, pid);

    turn->handlers->failed(turn);
}


/* of the profile, which is what has a login; that of another may be well */

static void
driver_remember(ngx_claude_profile_t *profile,
    ngx_claude_fail_e fail)
{
    profile->failed = fail;
    profile->failed_until = ngx_current_msec + DRIVER_REMEMBER;
}


static void
driver_fail_reason(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn, ngx_str_t *reason, const char *detail)
{
    ngx_claude_profile_t  *profile;

    profile = process->profile;

    if (detail) {
        turn->reason.data = (u_char *) detail;
        turn->reason.len = ngx_strlen(detail);
    }

    switch (turn->fail) {

    case NGX_CLAUDE_FAIL_RATE_LIMIT:
    case NGX_CLAUDE_FAIL_REQUEST:
    case NGX_CLAUDE_FAIL_TOO_LARGE:
    case NGX_CLAUDE_FAIL_CONTEXT:
        break;

    case NGX_CLAUDE_FAIL_OVERLOADED:

        /* these words name the operator's gateway: they are for the log */

        turn->words = driver_words(turn, reason);
        return;

    case NGX_CLAUDE_FAIL_NOT_LOGGED_IN:
        if (process->loginless) {
            driver_remember(profile, turn->fail);
            return;
        }

        turn->words = driver_words(turn, reason);
        return;

    case NGX_CLAUDE_FAIL_TOO_OLD:
        driver_remember(profile, turn->fail);
        return;

    case NGX_CLAUDE_FAIL_UNAVAILABLE:
        turn->words = driver_words(turn, &process->detail);
        reason = &process->reason;
        break;

    case NGX_CLAUDE_FAIL_CLI:
        reason = &process->reason;
        break;

    default:
        return;
    }

    if (reason && reason->len) {
        turn->reason = driver_words(turn, reason);
    }
}


/* a copy in one line: none of it may look like a line of nginx's log */

static ngx_str_t
driver_words(ngx_claude_turn_t *turn, ngx_str_t *text)
{
    size_t     i;
    ngx_str_t  words;

    ngx_str_null(&words);

    if (text == NULL || text->len == 0) {
        return words;
    }

    words.data = ngx_pstrdup(turn->pool, text);
    if (words.data == NULL) {
        return words;
    }

    words.len = text->len;

    for (i = 0; i < words.len; i++) {
        if (words.data[i] < 0x20 || words.data[i] == 0x7f) {
            words.data[i] = ' ';
        }
    }

    return words;
}
