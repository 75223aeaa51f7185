
/*
 * The driver: how a process comes to the state that its turn needs.
 *
 * It is told model, system text, tools and settings, its conversation is cut
 * where it parts from the turn's, and what is missing is replayed, message by
 * message, up to the question.  Every answer to a control request is checked,
 * and a process in doubt is ended.
 */


#include "ngx_claude_driver_private.h"


static ngx_int_t driver_clear(ngx_claude_process_t *process, ngx_uint_t keep);
static void driver_prepared(ngx_claude_process_t *process);
static void driver_check(ngx_claude_process_t *process, ngx_uint_t kind,
    ngx_claude_cli_line_t *line);
static void driver_refused(ngx_claude_process_t *process, ngx_uint_t kind,
    ngx_claude_cli_line_t *line);
static void driver_model_id(ngx_claude_process_t *process, ngx_str_t *id);


ngx_uint_t
driver_id(ngx_claude_process_t *process, ngx_uint_t kind)
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
driver_prepare(ngx_claude_process_t *process, ngx_uint_t keep)
{
    ngx_int_t           rc;
    ngx_uint_t          ask;
    ngx_claude_link_t  *links;
    ngx_claude_turn_t  *turn;

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

        if (!turn->session.continues) {
            driver_session_unrecord(process);
        }

        if (driver_rewind(process, keep) != NGX_OK) {
            return NGX_ERROR;
        }

        ask = 0;
    }

    if (turn->before == 0 && process->base == 0
        && !ngx_claude_link_same(&process->root, &links[0]))
    {
        driver_session_model(process);

        if (ngx_claude_cli_set_model(process,
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

    if (ngx_claude_cli_settings(process,
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


/* the knobs that the CLI does not turn while it waits for results */

uint64_t
driver_knobs(ngx_claude_turn_t *turn)
{
    return ((uint64_t) turn->max_tokens << 8) | (turn->effort << 1)
           | turn->thoughtless;
}


/*
 * Another conversation than the one whose calls it waits in the midst of: the
 * calls are called off first, and the result of that is waited for.
 */

static ngx_int_t
driver_clear(ngx_claude_process_t *process, ngx_uint_t keep)
{
    process->phase = DRIVER_CLEARING;
    process->pending = 0;
    process->keep = keep;

    return (ngx_claude_cli_interrupt(process,
                                  driver_id(process, DRIVER_INTERRUPT))
            == NGX_OK)
           ? NGX_AGAIN : NGX_ERROR;
}


/* cuts the conversation to so many messages, as ngx_claude_driver_cut()
 * has them */

ngx_int_t
driver_rewind(ngx_claude_process_t *process, ngx_uint_t keep)
{
    ngx_uint_t          n;
    ngx_claude_held_t  *held;

    held = process->held.elts;

    if (ngx_claude_cli_rewind(process,
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
ngx_claude_driver_cut(ngx_claude_process_t *process, ngx_uint_t n)
{
    ngx_claude_held_t  *held;

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
driver_prepared(ngx_claude_process_t *process)
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
driver_send(ngx_claude_process_t *process)
{
    ngx_int_t              rc;
    ngx_uint_t             n, line, query;
    ngx_claude_link_t     *links;
    ngx_claude_turn_t     *turn;
    ngx_claude_message_t  *message;

    turn = process->turn;
    links = turn->links;

    do {
        n = process->held.nelts - turn->before;

        if (n >= turn->messages.nelts) {
            driver_restate_next(process);
            return;
        }

        message = (ngx_claude_message_t *) turn->messages.elts + n;
        query = (n + 1 == turn->messages.nelts && !process->restating);
        line = ++process->lines;
        message->model = process->model_id;

        if (!query && process->recorded) {
            driver_session_unrecord(process);
        }

        rc = ngx_claude_cli_message(process, message, line, query);

        if (message->role == NGX_CLAUDE_USER) {
            process->newest = line;

        } else {
            line = 0;
        }

        if (rc == NGX_OK) {
            rc = driver_hold(process, &links[n + 1], line);
        }

    } while (rc == NGX_OK && message->role == NGX_CLAUDE_ASSISTANT);

    if (rc != NGX_OK) {
        driver_fail(process, NGX_CLAUDE_FAIL_INTERNAL, NULL,
                    "no memory for its messages");
        return;
    }

    if (query) {
        driver_session_record(process, line);

        process->phase = DRIVER_ASKED;
        process->begun = 0;
        process->unwanted = 0;
        ngx_claude_link_begin(&process->answer,
                              &links[turn->messages.nelts], turn->verbatim);
    } else {
        process->phase = DRIVER_REPLAYING;
    }

    ngx_claude_process_flush(process);
}


ngx_int_t
driver_hold(ngx_claude_process_t *process, ngx_claude_link_t *link,
    ngx_uint_t line)
{
    ngx_claude_held_t  *held;

    held = ngx_claude_turn_push(&process->held);
    if (held == NULL) {
        return NGX_ERROR;
    }

    /* with its padding: it may go through a socket, see handover.c */

    ngx_memzero(held, sizeof(ngx_claude_held_t));

    held->link = *link;
    held->line = line;

    return NGX_OK;
}


/* the answer of the model, which came through this CLI */

ngx_int_t
driver_hold_answer(ngx_claude_process_t *process,
    ngx_claude_link_t *link)
{
    ngx_claude_held_t  *held;

    if (driver_hold(process, link, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    held = (ngx_claude_held_t *) process->held.elts
           + process->held.nelts - 1;
    held->own = 1;

    return NGX_OK;
}


/* the answer to a control request */

void
driver_answered(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_int_t   id;
    ngx_str_t  *s;
    ngx_uint_t  kind;

    s = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ID];
    id = ngx_atoi(s->data, s->len);

    if (id == NGX_ERROR) {
        return;
    }

    kind = id % DRIVER_KINDS;

    if (kind == DRIVER_COST) {
        driver_bill_asked(process, line);
        return;
    }

    if (kind == DRIVER_INTERRUPT || process->expected == 0) {
        return;
    }

    driver_check(process, kind, line);

    driver_expected(process);
}


void
driver_expected(ngx_claude_process_t *process)
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
driver_check(ngx_claude_process_t *process, ngx_uint_t kind,
    ngx_claude_cli_line_t *line)
{
    u_char      uuid[NGX_CLAUDE_UUID_LEN];
    ngx_str_t  *string;

    string = line->string;

    if (kind == DRIVER_VERSION) {

        /* a CLI that does not know the question is older than the answer */

        (void) driver_check_version(process,
                          &string[NGX_CLAUDE_CLI_S_BINARY_VERSION]);
        return;
    }

    if (kind == DRIVER_MODELS) {

        /* one that has no list is as good as any */

        ngx_claude_zone_models_set(driver_zone, &process->profile->hash,
                                   &line->models);
        return;
    }

    if (string[NGX_CLAUDE_CLI_S_RESPONSE_SUBTYPE].len != 7) {

        /* anything but "success" */

        driver_refused(process, kind, line);
        return;
    }

    if (kind == DRIVER_MODEL) {
        driver_model_id(process, &string[NGX_CLAUDE_CLI_S_RESPONSE_MODEL]);
    }

    if (kind == DRIVER_REWIND) {
        ngx_claude_cli_uuid(uuid, process, process->target);

        if (!line->rewound
            || string[NGX_CLAUDE_CLI_S_TARGET].len != sizeof(uuid)
            || ngx_memcmp(string[NGX_CLAUDE_CLI_S_TARGET].data, uuid,
                          sizeof(uuid))
               != 0)
        {
            driver_refused(process, kind, line);
        }
    }
}


/* what an alias stands for, which replayed thinking is to name */

static void
driver_model_id(ngx_claude_process_t *process, ngx_str_t *id)
{
    ngx_str_null(&process->model_id);

    if (ngx_claude_cli_model_valid(id->data, id->len)) {
        ngx_memcpy(process->model_name, id->data, id->len);

        process->model_id.data = process->model_name;
        process->model_id.len = id->len;
    }
}


ngx_int_t
driver_check_version(ngx_claude_process_t *process, ngx_str_t *version)
{
    ngx_uint_t  n;

    n = ngx_claude_cli_version(version);

    if (n >= NGX_CLAUDE_CLI_OLDEST) {
        driver_zone->counters->version = n;
        return NGX_OK;
    }

    /* it would read files that a client's text names: not one word to it */

    process->doubtful = 1;

    if (process->turn) {
        driver_fail(process, NGX_CLAUDE_FAIL_TOO_OLD, NULL, NULL);

    } else {
        ngx_claude_driver_end(process);
    }

    return NGX_DECLINED;
}


/*
 * A refused model is the client's affair: one that the CLI has no alias for
 * is tried out upstream, so this can be any failure of upstream.  Anything
 * else that is refused makes the process useless.
 */

static void
driver_refused(ngx_claude_process_t *process, ngx_uint_t kind,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t               *error;
    ngx_claude_fail_e        fail;

    if (kind != DRIVER_MODEL) {
        process->doubtful = 1;

        if (process->turn) {
            driver_fail(process, NGX_CLAUDE_FAIL_CLI, NULL,
                        "it refused a control request");
        } else {
            ngx_claude_driver_end(process);
        }

        return;
    }

    /* it keeps the model and the prompt that it had: nobody's from now on */

    ngx_memzero(&process->root, sizeof(ngx_claude_link_t));

    if (process->turn == NULL) {
        return;
    }

    error = &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ERROR];
    fail = ngx_claude_cli_model_error(
               error, &line->string[NGX_CLAUDE_CLI_S_RESPONSE_CODE]);

    process->loginless = ngx_claude_cli_no_login(line);

    driver_fail(process, fail, error, NULL);
}
