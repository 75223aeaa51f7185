
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


static ngx_uint_t driver_ours(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_tool_use(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_foreign_tool(ngx_claude_seat_t *seat);
static void driver_cut_short(ngx_claude_seat_t *seat,
    ngx_claude_stop_e stop);
static void driver_token(ngx_claude_turn_t *turn);
static void driver_no_memory(ngx_claude_seat_t *seat);
static ngx_uint_t driver_keeps(ngx_claude_seat_t *seat);
static void driver_stop(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_remember(ngx_claude_profile_t *profile,
    ngx_claude_fail_e fail);
static ngx_str_t driver_words(ngx_claude_turn_t *turn, ngx_str_t *text);
static void driver_fail_reason(ngx_claude_seat_t *seat,
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
driver_retry(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    double              delay, status;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    delay = line->number[NGX_CLAUDE_CLI_N_RETRY_DELAY];
    status = line->number[NGX_CLAUDE_CLI_N_RETRY_STATUS];

    (void) ngx_atomic_fetch_add(&driver_zone->counters->retries, 1);

    if (turn == NULL || seat->state != DRIVER_ASKED
        || delay <= DRIVER_PATIENCE)
    {
        return;
    }

    turn->retry_after = (time_t) (ngx_min(delay, 86400e3) / 1000) + 1;

    driver_fail(seat,
                (status == 429) ? NGX_CLAUDE_FAIL_RATE_LIMIT
                                : NGX_CLAUDE_FAIL_OVERLOADED,
                NULL, NULL);
}


/* what the model says */

void
driver_event(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t          *text, *type;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    text = &line->string[NGX_CLAUDE_CLI_S_TEXT];

    switch (line->kind) {

    case NGX_CLAUDE_CLI_MESSAGE_START:

        if (turn->is_started && seat->process->profile->agent) {
            driver_agent_next(seat);
            return;
        }

        if (turn->is_started) {

            /* the answer broke off and the CLI asks again by itself */

            driver_fail(seat, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                        "the model's answer broke off");
            return;
        }

        if (!driver_ours(seat, line)) {
            seat->doubtful = 1;
            driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it answered another question");
            return;
        }

        if (seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL) {

            /* it took out what upstream refused, and asked without it */

            driver_fail(seat, NGX_CLAUDE_FAIL_REQUEST, NULL,
                        "an image or a file of the conversation could not be "
                        "processed");
            return;
        }

        /* the calls of the message before were answered */

        driver_calls_drop(seat);

        turn->usage = seat->bill.call;
        turn->is_started = 1;
        seat->process->profile->failed = NGX_CLAUDE_FAIL_INTERNAL;
        turn->handlers->started(turn);
        return;

    case NGX_CLAUDE_CLI_BLOCK_START:
        type = &line->string[NGX_CLAUDE_CLI_S_BLOCK_TYPE];

        if (type->len == 8 && ngx_memcmp(type->data, "tool_use", 8) == 0) {

            if (!seat->process->profile->agent) {
                driver_tool_use(seat, line);
            }

            return;
        }

        break;

    case NGX_CLAUDE_CLI_BLOCK_DELTA:
        type = &line->string[NGX_CLAUDE_CLI_S_DELTA_TYPE];
        break;

    case NGX_CLAUDE_CLI_BLOCK_STOP:

        if (seat->reply.calling && driver_call_end(seat) != NGX_OK) {
            driver_no_memory(seat);
        }

        return;

    case NGX_CLAUDE_CLI_MESSAGE_DELTA:
        if (turn->is_started) {
            turn->usage = seat->bill.call;

            if (seat->process->profile->agent) {
                turn->stop = ngx_claude_cli_stop(
                              &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]);
            } else {
                driver_stop(seat, line);
            }
        }

        return;

    case NGX_CLAUDE_CLI_MESSAGE_STOP:

        if (seat->process->profile->agent) {
            return;
        }

        /* of the message whose calls are answered: it may come that late */

        if (!turn->is_started) {
            return;
        }

        /* the CLI makes up the end of a stream that broke off */

        driver_fail(seat, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;

    default:
        return;
    }

    if (text->len == 0 || !turn->is_started) {
        return;
    }

    driver_token(turn);

    if (type->len == 16 && ngx_memcmp(type->data, "input_json_delta", 16) == 0
        && !seat->reply.calling)
    {
        /* of a tool of the CLI's own */

        return;
    }

    if (seat->reply.calling) {

        if (driver_arguments(seat, text->data, text->len) != NGX_OK) {
            driver_no_memory(seat);
        }

        return;
    }

    if (type->len == 14 && ngx_memcmp(type->data, "thinking_delta", 14) == 0) {
        turn->handlers->thinking(turn, text->data, text->len);
        return;
    }

    if (seat->reply.parted) {
        seat->reply.parted = 0;
        driver_agent_part(seat);
    }

    seat->reply.texted = 1;
    ngx_claude_link_add(&seat->reply.answer, text->data, text->len);
    driver_said(seat, text->data, text->len);

    turn->handlers->text(turn, text->data, text->len);
}


/* the first thing that the model has said, of whatever kind */

static void
driver_token(ngx_claude_turn_t *turn)
{
    if (turn->ttft == (ngx_msec_t) -1) {
        turn->ttft = ngx_current_msec - turn->begun;
    }
}


static void
driver_no_memory(ngx_claude_seat_t *seat)
{
    driver_fail(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                "no memory for its answer");
}


/* whether a line is about the question of the turn, if it says so at all */

static ngx_uint_t
driver_ours(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    u_char      uuid[NGX_CLAUDE_UUID_LEN];
    ngx_str_t  *question;

    question = &line->string[NGX_CLAUDE_CLI_S_QUESTION];

    ngx_claude_cli_uuid(uuid, seat->holding.nonce, seat->holding.newest);

    return question->len == 0
           || (question->len == sizeof(uuid)
               && ngx_memcmp(question->data, uuid, sizeof(uuid)) == 0);
}


/* the model calls a tool */

static void
driver_tool_use(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    if (!seat->turn->is_started) {
        return;
    }

    driver_token(seat->turn);

    switch (driver_call(seat, line)) {

    case NGX_OK:
        return;

    case NGX_DECLINED:
        driver_foreign_tool(seat);
        return;

    default:
        driver_no_memory(seat);
    }
}


/*
 * A call of a tool that was not offered.  The CLI would answer it itself and
 * ask the model again, as soon as the call is complete, so it is stopped
 * while it begins.  What was said before it is the answer.
 */

static void
driver_foreign_tool(ngx_claude_seat_t *seat)
{
    seat->reply.foreign_tool = 1;

    if (!seat->reply.texted && seat->calls.nelts == 0) {
        driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                    "the model called a tool that it was not offered");
        return;
    }

    driver_cut_short(seat,
                     seat->calls.nelts ? NGX_CLAUDE_STOP_TOOL
                                          : NGX_CLAUDE_STOP_END);
}


void
ngx_claude_driver_stop(ngx_claude_seat_t *seat,
    size_t surplus)
{
    seat->reply.said.len -= ngx_min(surplus, seat->reply.said.len);

    driver_cut_short(seat, NGX_CLAUDE_STOP_SEQUENCE);
}


/* what was said is the answer; the model is stopped, the question undone */

static void
driver_cut_short(ngx_claude_seat_t *seat,
    ngx_claude_stop_e stop)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    turn->stop = stop;

    driver_restate_announce(seat);
    driver_interrupt(seat);
    ngx_claude_driver_rearm(seat);

    driver_finished(turn);
}


/* the first stop reason decides the turn */

static void
driver_stop(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t          *reason;
    ngx_claude_link_t   link;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    reason = &line->string[NGX_CLAUDE_CLI_S_STOP_REASON];

    if (reason->len == 0) {

        /* null: the answer broke off, what follows is the CLI's own */

        driver_fail(seat, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                    "the model's answer broke off");
        return;
    }

    turn->stop = ngx_claude_cli_stop(reason);

    if (turn->stop == NGX_CLAUDE_STOP_REFUSAL) {
        turn->refusal = driver_words(turn,
                          &line->string[NGX_CLAUDE_CLI_S_EXPLANATION]);
    }

    if (seat->calls.nelts && turn->stop <= NGX_CLAUDE_STOP_SEQUENCE) {
        turn->stop = NGX_CLAUDE_STOP_TOOL;
    }

    seat->state = DRIVER_SETTLING;

    if (driver_keeps(seat)) {
        ngx_claude_link_end(&seat->reply.answer, &link);

        if (driver_hold_answer(seat, &link) != NGX_OK) {
            seat->doubtful = 1;
        }

        if (seat->calls.nelts) {
            driver_bill_ask(seat);
        }

    } else {
        driver_restate_announce(seat);
        driver_interrupt(seat);
    }

    ngx_claude_driver_rearm(seat);

    driver_finished(turn);

    if (seat->calls.nelts && !seat->reply.cut
        && driver_calls_routed(seat))
    {
        driver_wait(seat);
    }
}


/*
 * Whether the answer stays in the conversation.  After an end that is neither
 * the model's own nor a call, and an empty one, the CLI would ask again; and
 * a call whose arguments are no object it would answer itself.
 */

static ngx_uint_t
driver_keeps(ngx_claude_seat_t *seat)
{
    if (seat->calls.nelts) {
        return seat->turn->stop == NGX_CLAUDE_STOP_TOOL
               && !seat->reply.calling
               && driver_calls_link(seat) == NGX_OK;
    }

    return seat->reply.texted
           && seat->turn->stop <= NGX_CLAUDE_STOP_SEQUENCE;
}


/* the end of something, by the CLI's own account */

void
driver_result(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line)
{
    ngx_claude_fail_e  fail;

    driver_bill_result(seat, line);

    switch (seat->state) {

    case DRIVER_REPLAYING:

        if (line->is_error) {
            seat->doubtful = 1;

            if (seat->turn) {
                driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                            "it refused a message of the history");
            } else {
                ngx_claude_driver_end(seat);
            }

        } else if (seat->turn) {
            driver_send(seat);

        } else if (seat->reply.restating) {

            /* nobody goes on from what is only half there */

            seat->reply.cut = 1;
            driver_settled(seat);

        } else {
            driver_idle(seat);
        }

        return;

    case DRIVER_CLEARING:

        driver_calls_drop(seat);

        if (seat->turn) {
            seat->state = DRIVER_IDLE;

            if (driver_prepare(seat, seat->keep) == NGX_ERROR) {
                driver_fail(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                            "no memory for its messages");
                return;
            }

            ngx_claude_driver_rearm(seat);
            ngx_claude_process_flush(seat->process);

        } else {
            seat->reply.cut = 1;
            driver_settled(seat);
        }

        return;

    case DRIVER_ANSWERING:
    case DRIVER_ASKED:

        if (!driver_ours(seat, line)) {
            seat->doubtful = 1;
            driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it ended another question");
            return;
        }

        if (seat->process->profile->agent && driver_agent_result(seat, line)) {
            return;
        }

        fail = ngx_claude_cli_result_error(line);

        if (fail == NGX_CLAUDE_FAIL_CLI
            && seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL)
        {
            fail = seat->reply.error;
        }

        seat->reply.resulted = 1;
        seat->loginless = ngx_claude_cli_no_login(line);

        driver_fail(seat, fail,
                    &line->string[NGX_CLAUDE_CLI_S_RESULT], NULL);
        return;

    case DRIVER_SETTLING:

        if (seat->calls.nelts && !seat->reply.cut) {

            /* it was to wait for results, and has ended the turn itself */

            seat->doubtful = 1;
        }

        driver_settled(seat);
        return;

    default:

        /* an answer that nobody has asked for */

        seat->doubtful = 1;

        if (seat->turn) {
            driver_fail(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it answered before it was asked");
        } else {
            ngx_claude_driver_end(seat);
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
driver_fail(ngx_claude_seat_t *seat, ngx_claude_fail_e fail,
    ngx_str_t *reason, const char *detail)
{
    ngx_pid_t           pid;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    pid = seat->process->pid;

    if (turn->is_finished) {

        /* its answer is there: only the process is of no use any more */

        seat->doubtful = 1;
        driver_settled(seat);
        return;
    }

    if (fail == NGX_CLAUDE_FAIL_CLI && !turn->is_started
        && turn->retried < NGX_CLAUDE_DRIVER_RETRIES
        && turn->rung != NGX_CLAUDE_RUNG_COLD
        && !seat->reply.resulted)
    {
        ngx_log_error(NGX_LOG_WARN, turn->log, 0,
                      "claude: process %P is of no use, another one is "
                      "taken: %V%s", pid, &seat->process->reason,
                      detail ? detail : "");

        (void) ngx_atomic_fetch_add(&driver_zone->counters->replaced, 1);

        turn->retried++;
        (void) driver_detach(seat);
        ngx_claude_driver_end(seat);

        driver_hooks->again(turn);
        return;
    }

    turn->fail = fail;
    driver_fail_reason(seat, turn, reason, detail);

    (void) driver_detach(seat);
    driver_leave(seat, turn);

    switch (fail) {

    case NGX_CLAUDE_FAIL_CLI:

        if (seat->reply.foreign_tool) {

            /* the model's fault: the process does as it should */

            driver_interrupt(seat);
            ngx_claude_driver_rearm(seat);
            break;
        }

        ngx_claude_driver_end(seat);
        break;

    case NGX_CLAUDE_FAIL_TIMEOUT:

        if (seat->state == DRIVER_ASKED && seat->reply.begun) {

            /* it may be upstream that is silent: what was spent is told */

            seat->doubtful = 1;
            driver_interrupt(seat);
            ngx_claude_driver_rearm(seat);
            break;
        }

        /* fall through */

    case NGX_CLAUDE_FAIL_INTERNAL:
    case NGX_CLAUDE_FAIL_UNAVAILABLE:
    case NGX_CLAUDE_FAIL_TOO_OLD:
    case NGX_CLAUDE_FAIL_NOT_LOGGED_IN:
    case NGX_CLAUDE_FAIL_SESSION_BUSY:
        ngx_claude_driver_end(seat);
        break;

    default:

        /* upstream failed, not the process: the question is taken back */

        if (seat->doubtful) {
            ngx_claude_driver_end(seat);

        } else if (seat->state < DRIVER_ANSWERING) {

            /* idle as soon as the answers that are due have come */

            ngx_claude_driver_rearm(seat);

        } else if (seat->reply.resulted) {
            seat->reply.cut = 1;
            driver_settled(seat);

        } else {
            driver_interrupt(seat);
            ngx_claude_driver_rearm(seat);
        }
    }

    driver_unasked(seat);

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
driver_fail_reason(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn, ngx_str_t *reason, const char *detail)
{
    ngx_claude_profile_t  *profile;

    profile = seat->process->profile;

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
        if (seat->loginless) {
            driver_remember(profile, turn->fail);
            return;
        }

        turn->words = driver_words(turn, reason);
        return;

    case NGX_CLAUDE_FAIL_TOO_OLD:
        driver_remember(profile, turn->fail);
        return;

    case NGX_CLAUDE_FAIL_UNAVAILABLE:
        turn->words = driver_words(turn, &seat->process->detail);
        reason = &seat->process->reason;
        break;

    case NGX_CLAUDE_FAIL_CLI:
        reason = &seat->process->reason;
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
