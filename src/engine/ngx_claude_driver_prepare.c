
/*
 * The driver: the lines of a plan's steps, and their answers.
 *
 * A process is told model, system text, tools and settings, its conversation
 * is cut where it parts from the turn's, and what is missing is replayed,
 * message by message, up to the question.  Every answer to a control request
 * is checked, and a process in doubt is ended.
 */


#include "ngx_claude_driver_private.h"


static ngx_int_t driver_message(ngx_claude_seat_t *seat, ngx_uint_t n,
    ngx_uint_t query);
static ngx_claude_heard_e driver_check(ngx_claude_seat_t *seat,
    ngx_uint_t kind, ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_greeted(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static void driver_model_id(ngx_claude_seat_t *seat, ngx_str_t *id);
static ngx_uint_t driver_rewound(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_heard_e driver_refused(ngx_claude_seat_t *seat,
    ngx_uint_t kind, ngx_claude_cli_line_t *line);


/* another conversation than the one in whose calls the process waits */

ngx_int_t
driver_call_off(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    seat->holding.waiting = 0;

    return ngx_claude_cli_interrupt(seat->outbox,
                                    driver_id(seat, DRIVER_INTERRUPT));
}


ngx_int_t
driver_rewind(ngx_claude_seat_t *seat, ngx_uint_t keep)
{
    ngx_claude_held_t  *held;

    held = seat->held.elts;

    if (ngx_claude_cli_rewind(seat->outbox, driver_id(seat, DRIVER_REWIND),
                              seat->holding.nonce, held[keep].line,
                              seat->holding.newest)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->target = ngx_claude_holding_rewind(&seat->holding, &seat->held,
                                             keep);
    seat->due++;

    return NGX_OK;
}


ngx_int_t
driver_model(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_claude_link_t  *links;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    links = turn->engine.links;

    ngx_claude_holding_sum(&turn->model, &seat->holding.model);
    ngx_claude_chain_system(turn, &seat->holding.system);

    if (ngx_claude_cli_set_model(seat->outbox, driver_id(seat, DRIVER_MODEL),
                                 &turn->model, &turn->system)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->holding.root = links[0];
    seat->due++;

    return NGX_OK;
}


ngx_int_t
driver_settings(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    uint64_t  knobs, settings;

    seat->holding.by_gate = driver_gate_trusted(seat);

    if (ngx_claude_cli_settings(seat->outbox,
                                driver_id(seat, DRIVER_SETTINGS), seat->turn,
                                seat->holding.by_gate)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    knobs = ngx_claude_holding_knobs(seat->turn);
    settings = ngx_claude_holding_settings(&seat->holding, seat->turn);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat), 0,
                   "claude: process %P, settings: %s", seat->process->pid,
                   (knobs == seat->holding.knobs
                    && settings == seat->holding.settings)
                   ? "as before" : "others");

    seat->holding.knobs = knobs;
    seat->holding.settings = settings;
    seat->due++;

    return NGX_OK;
}


/*
 * The next messages: up to and with the next one of the user, whose result
 * has to be waited for, since what follows would overtake it.
 */

ngx_int_t
driver_replay(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_uint_t             n;
    ngx_claude_message_t  *message;

    for (n = seat->holding.nheld - seat->turn->engine.before; n < arg; n++) {

        if (driver_message(seat, n, 0) != NGX_OK) {
            return NGX_ERROR;
        }

        message = (ngx_claude_message_t *) seat->turn->messages.elts + n;

        if (message->role == NGX_CLAUDE_USER) {
            return NGX_OK;
        }
    }

    return NGX_DONE;
}


ngx_int_t
driver_ask(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_uint_t          n;
    ngx_claude_link_t  *links;

    n = seat->turn->messages.nelts;
    links = seat->turn->engine.links;

    if (driver_message(seat, n - 1, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_claude_link_begin(&seat->reply.answer, &links[n],
                          seat->turn->verbatim);

    return NGX_OK;
}


/* message n of the turn; query: the model is to answer it */

static ngx_int_t
driver_message(ngx_claude_seat_t *seat, ngx_uint_t n, ngx_uint_t query)
{
    ngx_uint_t             line;
    ngx_claude_link_t     *links;
    ngx_claude_message_t  *message;

    links = seat->turn->engine.links;
    message = (ngx_claude_message_t *) seat->turn->messages.elts + n;
    line = ++seat->holding.lines;

    message->model.data = seat->holding.model_id;
    message->model.len = seat->holding.model_id_len;

    if (ngx_claude_cli_message(seat->outbox, seat->holding.nonce, message,
                               line, query)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (message->role != NGX_CLAUDE_USER) {
        return ngx_claude_holding_add(&seat->holding, &seat->held,
                                      &links[n + 1], 0);
    }

    seat->holding.newest = line;

    return message->results
           ? ngx_claude_holding_results(&seat->holding, &seat->held,
                                        &links[n + 1], line)
           : ngx_claude_holding_add(&seat->holding, &seat->held,
                                    &links[n + 1], line);
}


/* the answer to a control request */

ngx_claude_heard_e
driver_answered(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_int_t   id;
    ngx_str_t  *s;
    ngx_uint_t  kind;

    s = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ID];
    id = ngx_atoi(s->data, s->len);

    if (id == NGX_ERROR) {
        return NGX_CLAUDE_HEARD;
    }

    kind = id % DRIVER_KINDS;

    if (kind == DRIVER_COST) {
        driver_bill_asked(seat, line);
        return NGX_CLAUDE_HEARD;
    }

    if (kind == DRIVER_INTERRUPT || seat->due == 0) {
        return NGX_CLAUDE_HEARD;
    }

    return driver_check(seat, kind, line);
}


/* a process that refuses loses its turn, and mostly its life */

static ngx_claude_heard_e
driver_check(ngx_claude_seat_t *seat, ngx_uint_t kind,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t           *string;
    ngx_claude_heard_e   heard;

    string = line->string;

    if (kind == DRIVER_VERSION) {

        /* a CLI that does not know the question is older than the answer */

        heard = driver_check_version(seat,
                                     &string[NGX_CLAUDE_CLI_S_BINARY_VERSION]);

        return (heard == NGX_CLAUDE_ANSWERED) ? driver_greeted(seat, line)
                                              : heard;
    }

    if (kind == DRIVER_MODELS) {

        /* a CLI that has no list is as good as any */

        ngx_claude_zone_models_set(driver_zone, &seat->holding.profile,
                                   &line->models);
        return NGX_CLAUDE_ANSWERED;
    }

    /* 7: "success", and no other word of the CLI's */

    if (string[NGX_CLAUDE_CLI_S_RESPONSE_SUBTYPE].len != 7
        || (kind == DRIVER_REWIND && !driver_rewound(seat, line)))
    {
        return driver_refused(seat, kind, line);
    }

    if (kind == DRIVER_MODEL) {
        driver_model_id(seat, &string[NGX_CLAUDE_CLI_S_RESPONSE_MODEL]);
    }

    return NGX_CLAUDE_ANSWERED;
}


/* the process has said all that it says of itself */

static ngx_claude_heard_e
driver_greeted(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t  *version;

    version = &line->string[NGX_CLAUDE_CLI_S_BINARY_VERSION];

    return driver_gate_initialized(seat, ngx_claude_cli_version(version));
}


/* notes what an alias stands for: replayed thinking has to name it */

static void
driver_model_id(ngx_claude_seat_t *seat, ngx_str_t *id)
{
    seat->holding.model_id_len = 0;

    if (ngx_claude_model_valid(id->data, id->len)) {
        ngx_memcpy(seat->holding.model_id, id->data, id->len);
        seat->holding.model_id_len = id->len;
    }
}


/* whether the conversation was cut where it was to be */

static ngx_uint_t
driver_rewound(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    u_char      uuid[NGX_CLAUDE_UUID_LEN];
    ngx_str_t  *target;

    target = &line->string[NGX_CLAUDE_CLI_S_TARGET];

    ngx_claude_cli_uuid(uuid, seat->holding.nonce, seat->target);

    return line->rewound && target->len == sizeof(uuid)
           && ngx_memcmp(target->data, uuid, sizeof(uuid)) == 0;
}


ngx_claude_heard_e
driver_check_version(ngx_claude_seat_t *seat, ngx_str_t *version)
{
    ngx_uint_t  n;

    n = ngx_claude_cli_version(version);

    if (n >= NGX_CLAUDE_CLI_OLDEST) {
        driver_zone->counters->version = n;
        return NGX_CLAUDE_ANSWERED;
    }

    /* older ones read files that a client's text names: not one word to it */

    seat->doubtful = 1;

    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_TOO_OLD, NULL, NULL);
}


/*
 * A refused model is the client's affair: one that the CLI has no alias for
 * is tried out upstream, so this can be any failure of upstream.  Anything
 * else that is refused makes the process useless.
 */

static ngx_claude_heard_e
driver_refused(ngx_claude_seat_t *seat, ngx_uint_t kind,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t          *error;
    ngx_claude_fail_e   fail;

    if (kind != DRIVER_MODEL) {
        seat->doubtful = 1;

        return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                      "it refused a control request");
    }

    /* model and system text are unknown now: no conversation matches */

    ngx_memzero(&seat->holding.root, sizeof(ngx_claude_link_t));

    if (seat->turn == NULL) {
        return NGX_CLAUDE_ANSWERED;
    }

    error = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ERROR];
    fail = ngx_claude_cli_model_error(
               error, &line->string[NGX_CLAUDE_CLI_S_RESPONSE_CODE]);

    seat->loginless = ngx_claude_cli_no_login(line);

    return ngx_claude_seat_failed(seat, fail, error, NULL);
}
