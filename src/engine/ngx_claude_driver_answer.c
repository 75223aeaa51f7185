
/*
 * The driver: what the model says, and how a turn ends.
 *
 * The first stop reason decides a turn: after some of them the CLI would go
 * on by itself, at the user's expense (CLI-PROTOCOL.md, "It is an agent, not
 * a pipe"), so it is interrupted and the question taken back.
 */


#include "ngx_claude_driver_private.h"


/* the longest wait between the CLI's own retries that is not cut, msec */
#define DRIVER_PATIENCE    5000


static ngx_uint_t driver_ours(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_tool_use(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_foreign_tool(ngx_claude_seat_t *seat);
static void driver_token(ngx_claude_turn_t *turn);
static ngx_claude_heard_e driver_broke_off(ngx_claude_seat_t *seat);
static ngx_claude_heard_e driver_no_memory(ngx_claude_seat_t *seat);
static ngx_uint_t driver_keeps(ngx_claude_seat_t *seat);
static ngx_claude_heard_e driver_stop(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_result_asked(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);


/*
 * The CLI waits as long as upstream's Retry-After says, silently.  A client
 * does better to know at once: it can wait, or go elsewhere.
 */

ngx_claude_heard_e
driver_retry(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    double              delay, status;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    delay = line->number[NGX_CLAUDE_CLI_N_RETRY_DELAY];
    status = line->number[NGX_CLAUDE_CLI_N_RETRY_STATUS];

    (void) ngx_atomic_fetch_add(&driver_zone->counters->retries, 1);

    if (turn == NULL || seat->state != NGX_CLAUDE_SEAT_ASKED
        || delay <= DRIVER_PATIENCE)
    {
        return NGX_CLAUDE_HEARD;
    }

    turn->retry_after = (time_t) (ngx_min(delay, 86400e3) / 1000) + 1;

    return ngx_claude_seat_failed(seat,
                                  (status == 429)
                                  ? NGX_CLAUDE_FAIL_RATE_LIMIT
                                  : NGX_CLAUDE_FAIL_OVERLOADED,
                                  NULL, NULL);
}


/* what the model says */

ngx_claude_heard_e
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
            return NGX_CLAUDE_HEARD;
        }

        if (turn->is_started) {

            /* the answer broke off and the CLI asks again by itself */

            return driver_broke_off(seat);
        }

        if (!driver_ours(seat, line)) {
            seat->doubtful = 1;
            return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                          "it answered another question");
        }

        if (seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL) {

            /* it took out what upstream refused, and asked without it */

            return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_REQUEST, NULL,
                                          "an image or a file of the "
                                          "conversation could not be "
                                          "processed");
        }

        /* the calls of the message before were answered */

        driver_calls_drop(seat);

        turn->usage = seat->bill.call;
        turn->is_started = 1;
        seat->process->profile->failed = NGX_CLAUDE_FAIL_INTERNAL;
        turn->handlers->started(turn);
        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_BLOCK_START:
        type = &line->string[NGX_CLAUDE_CLI_S_BLOCK_TYPE];

        if (type->len == 8 && ngx_memcmp(type->data, "tool_use", 8) == 0) {

            if (!seat->process->profile->agent) {
                return driver_tool_use(seat, line);
            }

            return NGX_CLAUDE_HEARD;
        }

        break;

    case NGX_CLAUDE_CLI_BLOCK_DELTA:
        type = &line->string[NGX_CLAUDE_CLI_S_DELTA_TYPE];
        break;

    case NGX_CLAUDE_CLI_BLOCK_STOP:

        if (seat->reply.calling && driver_call_end(seat) != NGX_OK) {
            return driver_no_memory(seat);
        }

        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_MESSAGE_DELTA:
        if (turn->is_started) {
            turn->usage = seat->bill.call;

            if (seat->process->profile->agent) {
                turn->stop = ngx_claude_cli_stop(
                              &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]);
            } else {
                return driver_stop(seat, line);
            }
        }

        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_CLI_MESSAGE_STOP:

        if (seat->process->profile->agent) {
            return NGX_CLAUDE_HEARD;
        }

        /* of the message whose calls are answered: it may come that late */

        if (!turn->is_started) {
            return NGX_CLAUDE_HEARD;
        }

        /* the CLI makes up the end of a stream that broke off */

        return driver_broke_off(seat);

    default:
        return NGX_CLAUDE_HEARD;
    }

    if (text->len == 0 || !turn->is_started) {
        return NGX_CLAUDE_HEARD;
    }

    driver_token(turn);

    if (type->len == 16 && ngx_memcmp(type->data, "input_json_delta", 16) == 0
        && !seat->reply.calling)
    {
        /* of a tool of the CLI's own */

        return NGX_CLAUDE_HEARD;
    }

    if (seat->reply.calling) {

        if (driver_arguments(seat, text->data, text->len) != NGX_OK) {
            return driver_no_memory(seat);
        }

        return NGX_CLAUDE_HEARD;
    }

    if (type->len == 14 && ngx_memcmp(type->data, "thinking_delta", 14) == 0) {
        turn->handlers->thinking(turn, text->data, text->len);
        return NGX_CLAUDE_HEARD;
    }

    if (seat->reply.parted) {
        seat->reply.parted = 0;
        driver_agent_part(seat);
    }

    seat->reply.texted = 1;
    ngx_claude_link_add(&seat->reply.answer, text->data, text->len);
    driver_said(seat, text->data, text->len);

    turn->handlers->text(turn, text->data, text->len);

    return NGX_CLAUDE_HEARD;
}


/* the first thing that the model has said, of whatever kind */

static void
driver_token(ngx_claude_turn_t *turn)
{
    if (turn->ttft == (ngx_msec_t) -1) {
        turn->ttft = ngx_current_msec - turn->begun;
    }
}


static ngx_claude_heard_e
driver_broke_off(ngx_claude_seat_t *seat)
{
    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                                  "the model's answer broke off");
}


static ngx_claude_heard_e
driver_no_memory(ngx_claude_seat_t *seat)
{
    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_INTERNAL, NULL,
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

static ngx_claude_heard_e
driver_tool_use(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    if (!seat->turn->is_started) {
        return NGX_CLAUDE_HEARD;
    }

    driver_token(seat->turn);

    switch (driver_call(seat, line)) {

    case NGX_OK:
        return NGX_CLAUDE_HEARD;

    case NGX_DECLINED:
        return driver_foreign_tool(seat);

    default:
        return driver_no_memory(seat);
    }
}


/*
 * A call of a tool that was not offered.  The CLI would answer it itself and
 * ask the model again, as soon as the call is complete, so it is stopped
 * while it begins.  What was said before it is the answer.
 */

static ngx_claude_heard_e
driver_foreign_tool(ngx_claude_seat_t *seat)
{
    seat->reply.foreign_tool = 1;

    if (!seat->reply.texted && seat->holding.ncalls == 0) {
        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "the model called a tool that it was "
                                      "not offered");
    }

    seat->turn->stop = seat->holding.ncalls ? NGX_CLAUDE_STOP_TOOL
                                            : NGX_CLAUDE_STOP_END;
    return NGX_CLAUDE_CUT;
}


/* the first stop reason decides the turn */

static ngx_claude_heard_e
driver_stop(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t          *reason;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    reason = &line->string[NGX_CLAUDE_CLI_S_STOP_REASON];

    if (reason->len == 0) {

        /* null: the answer broke off, what follows is the CLI's own */

        return driver_broke_off(seat);
    }

    turn->stop = ngx_claude_cli_stop(reason);

    if (turn->stop == NGX_CLAUDE_STOP_REFUSAL) {
        turn->refusal = driver_words(turn,
                                  &line->string[NGX_CLAUDE_CLI_S_EXPLANATION]);
    }

    if (seat->holding.ncalls && turn->stop <= NGX_CLAUDE_STOP_SEQUENCE) {
        turn->stop = NGX_CLAUDE_STOP_TOOL;
    }

    seat->reply.end = driver_keeps(seat) ? NGX_CLAUDE_END_KEEP
                                         : NGX_CLAUDE_END_UNDO;
    return NGX_CLAUDE_FINISHED;
}


/*
 * Whether the answer stays in the conversation.  After an end that is neither
 * the model's own nor a call, and an empty one, the CLI would ask again; and
 * a call whose arguments are no object it would answer itself.
 */

static ngx_uint_t
driver_keeps(ngx_claude_seat_t *seat)
{
    if (seat->holding.ncalls) {
        return seat->turn->stop == NGX_CLAUDE_STOP_TOOL
               && !seat->reply.calling
               && driver_calls_link(seat) == NGX_OK;
    }

    return seat->reply.texted
           && seat->turn->stop <= NGX_CLAUDE_STOP_SEQUENCE;
}


/* the answer, which came through this CLI, is the last message held */

void
driver_hold_answer(ngx_claude_seat_t *seat)
{
    ngx_claude_link_t  link;

    ngx_claude_link_end(&seat->reply.answer, &link);

    if (ngx_claude_holding_answer(&seat->holding, &seat->held, &link)
        != NGX_OK)
    {
        seat->doubtful = 1;
    }
}


/* the end of something, by the CLI's own account */

ngx_claude_heard_e
driver_result(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    switch (seat->state) {

    case NGX_CLAUDE_SEAT_RUNNING:
    case NGX_CLAUDE_SEAT_MENDING:

        if (ngx_claude_seat_waits(seat) != NGX_CLAUDE_WAIT_RESULT) {
            break;
        }

        if (line->is_error
            && !ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_CALL_OFF))
        {
            seat->doubtful = 1;

            return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                          "it refused a message of the "
                                          "history");
        }

        return NGX_CLAUDE_OVER;

    case NGX_CLAUDE_SEAT_RETURNING:
    case NGX_CLAUDE_SEAT_ASKED:
        return driver_result_asked(seat, line);

    case NGX_CLAUDE_SEAT_SETTLING:

        if (seat->holding.ncalls && seat->reply.end == NGX_CLAUDE_END_KEEP) {

            /* it was to wait for results, and has ended the turn itself */

            seat->doubtful = 1;
        }

        return NGX_CLAUDE_OVER;

    default:
        break;
    }

    /* an answer that nobody has asked for */

    seat->doubtful = 1;

    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                  "it answered before it was asked");
}


/* of the question: an agent's answer, or why there is none */

static ngx_claude_heard_e
driver_result_asked(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_fail_e  fail;

    if (!driver_ours(seat, line)) {
        seat->doubtful = 1;

        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "it ended another question");
    }

    if (seat->process->profile->agent && driver_agent_result(seat, line)) {
        return NGX_CLAUDE_COMPLETE;
    }

    fail = ngx_claude_cli_result_error(line);

    if (fail == NGX_CLAUDE_FAIL_CLI
        && seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL)
    {
        fail = seat->reply.error;
    }

    seat->reply.resulted = 1;
    seat->loginless = ngx_claude_cli_no_login(line);

    return ngx_claude_seat_failed(seat, fail,
                                  &line->string[NGX_CLAUDE_CLI_S_RESULT],
                                  NULL);
}
