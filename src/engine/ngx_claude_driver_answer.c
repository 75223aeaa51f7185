
/*
 * The driver: what the model says, and how a turn ends.
 *
 * The first stop reason decides a turn: after some of them the CLI would go
 * on by itself, at the user's expense (docs/cli-protocol.md, "What it does by
 * itself"), so it is interrupted and the question taken back.
 */


#include "ngx_claude_driver_private.h"


/* the longest wait between the CLI's own retries that is not cut, msec */
#define DRIVER_PATIENCE    5000


static ngx_claude_heard_e driver_message_start(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_uint_t driver_ours(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_broke_off(ngx_claude_seat_t *seat);
static ngx_uint_t driver_keeps(ngx_claude_seat_t *seat);
static ngx_claude_heard_e driver_hear_stop(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_stop_is(ngx_claude_turn_t *turn,
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

    if (turn == NULL || seat->state != NGX_CLAUDE_SEAT_ASKED) {
        return NGX_CLAUDE_HEARD;
    }

    if (seat->reply.answered) {

        /* what it would try again has begun: the gate will not let it */

        return driver_broke_off(seat);
    }

    if (delay <= DRIVER_PATIENCE) {
        return NGX_CLAUDE_HEARD;
    }

    if (turn->answer.retry_after == 0) {
        turn->answer.retry_after = (time_t) (ngx_min(delay, 86400e3) / 1000)
                                   + 1;
    }

    return ngx_claude_seat_failed(seat,
                                  (status == 429)
                                  ? NGX_CLAUDE_FAIL_RATE_LIMIT
                                  : NGX_CLAUDE_FAIL_OVERLOADED,
                                  NULL, NULL);
}


/* lines of the model's answer */

ngx_claude_heard_e
driver_event(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (line->kind == NGX_CLAUDE_CLI_MESSAGE_START) {
        return driver_message_start(seat, line);
    }

    /* the end of the message whose calls are answered may come that late */

    if (!turn->engine.is_started) {
        return NGX_CLAUDE_HEARD;
    }

    switch (line->kind) {

    case NGX_CLAUDE_CLI_BLOCK_START:
        return driver_block_start(seat, line);

    case NGX_CLAUDE_CLI_BLOCK_DELTA:
        return driver_block_delta(seat, line);

    case NGX_CLAUDE_CLI_BLOCK_STOP:
        return driver_block_stop(seat);

    case NGX_CLAUDE_CLI_MESSAGE_DELTA:
        turn->answer.usage = seat->bill.call;
        return driver_hear_stop(seat, line);

    case NGX_CLAUDE_CLI_MESSAGE_STOP:

        /* the CLI makes up the end of a stream that broke off */

        return seat->process->profile->agent ? NGX_CLAUDE_HEARD
                                             : driver_broke_off(seat);

    default:
        return NGX_CLAUDE_HEARD;
    }
}


/* the model begins: to answer the turn, or to do what it must not */

static ngx_claude_heard_e
driver_message_start(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (turn->engine.is_started && seat->process->profile->agent) {
        driver_agent_next(seat);
        return NGX_CLAUDE_HEARD;
    }

    if (turn->engine.is_started) {

        /* the answer broke off and the CLI asks again by itself */

        return driver_broke_off(seat);
    }

    if (!driver_ours(seat, line)) {
        seat->doubtful = 1;

        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "it answered another question");
    }

    if (seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL) {

        /* the CLI took out what upstream refused, and asked without it */

        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_REQUEST, NULL,
                                      "an image or a file of the conversation "
                                      "could not be processed");
    }

    driver_gate_begun(seat);

    /* the calls of the message before were answered */

    driver_calls_drop(seat);

    /* a block of a turn that failed was never closed */

    seat->open.is_open = 0;

    turn->answer.usage = seat->bill.call;
    turn->engine.is_started = 1;
    seat->process->profile->failed = NGX_CLAUDE_FAIL_INTERNAL;
    turn->handlers->started(turn);

    return NGX_CLAUDE_HEARD;
}


static ngx_claude_heard_e
driver_broke_off(ngx_claude_seat_t *seat)
{
    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_OVERLOADED, NULL,
                                  "the model's answer broke off");
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


/* the first stop reason decides the turn, but for an agent's */

static ngx_claude_heard_e
driver_hear_stop(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (line->string[NGX_CLAUDE_CLI_S_STOP_REASON].len == 0
        && !seat->process->profile->agent)
    {
        /* null: the answer broke off, what follows is the CLI's own */

        return driver_broke_off(seat);
    }

    driver_block_end(seat);

    if (seat->turn != turn || turn->answer.is_finished) {
        return NGX_CLAUDE_HEARD;
    }

    driver_stop_is(turn, line);

    if (seat->process->profile->agent) {

        /* the CLI's result is the end */

        return NGX_CLAUDE_HEARD;
    }

    if (turn->answer.stop == NGX_CLAUDE_STOP_REFUSAL) {
        turn->answer.refusal = driver_words(turn,
                                  &line->string[NGX_CLAUDE_CLI_S_EXPLANATION]);
    }

    if (seat->holding.ncalls && turn->answer.stop <= NGX_CLAUDE_STOP_SEQUENCE)
    {
        driver_stop_as(turn, NGX_CLAUDE_STOP_TOOL);
    }

    seat->reply.end = driver_keeps(seat) ? NGX_CLAUDE_END_KEEP
                                         : NGX_CLAUDE_END_UNDO;
    return NGX_CLAUDE_FINISHED;
}


/* notes the provider's words for the stop; without memory there are none */

static void
driver_stop_is(ngx_claude_turn_t *turn, ngx_claude_cli_line_t *line)
{
    ngx_str_t  *sequence;

    sequence = &line->string[NGX_CLAUDE_CLI_S_STOP_SEQUENCE];

    driver_stop_as(turn, ngx_claude_cli_stop(
                             &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]));

    turn->answer.stop_reason = driver_words(turn,
                                 &line->string[NGX_CLAUDE_CLI_S_STOP_REASON]);

    if (sequence->len) {
        turn->answer.stop_sequence.data = ngx_pstrdup(turn->pool, sequence);

        if (turn->answer.stop_sequence.data) {
            turn->answer.stop_sequence.len = sequence->len;
        }
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
    if (seat->holding.ncalls) {
        return seat->turn->answer.stop == NGX_CLAUDE_STOP_TOOL
               && !seat->reply.calling
               && driver_calls_link(seat) == NGX_OK;
    }

    return seat->reply.texted
           && seat->turn->answer.stop <= NGX_CLAUDE_STOP_SEQUENCE;
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

            /* a CLI that was to wait for results has ended the turn itself */

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


/* the result of the question: an agent's answer, or why there is none */

static ngx_claude_heard_e
driver_result_asked(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_claude_fail_e  fail;

    if (!driver_ours(seat, line)) {
        seat->doubtful = 1;

        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "it ended another question");
    }

    if (ngx_claude_cli_denied(line)) {
        seat->reply.resulted = 1;

        /* the CLI would have asked again for what has broken off */

        return seat->reply.called ? driver_broke_off(seat)
                                  : driver_gate_shut(seat);
    }

    if (seat->process->profile->agent && driver_agent_result(seat, line)) {
        return NGX_CLAUDE_COMPLETE;
    }

    driver_gate_refused(seat, line);

    fail = ngx_claude_cli_result_error(line);

    if (fail == NGX_CLAUDE_FAIL_CLI
        && seat->reply.error != NGX_CLAUDE_FAIL_INTERNAL)
    {
        fail = seat->reply.error;
    }

    seat->reply.resulted = 1;
    seat->loginless = ngx_claude_cli_no_login(line);
    seat->turn->answer.error_type = driver_words(seat->turn,
                                  &line->string[NGX_CLAUDE_CLI_S_ERROR_TYPE]);

    return ngx_claude_seat_failed(seat, fail,
                                  &line->string[NGX_CLAUDE_CLI_S_RESULT],
                                  NULL);
}
