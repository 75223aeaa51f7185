
/*
 * The driver: the gate, see ngx_claude_gate.h.
 *
 * A process that has it says so before it is initialized, and before each call
 * upstream.  One that does not is no failure: where the CLI would ask again it
 * is interrupted, as well as that goes.  But where others of its profile have
 * had it, it is none of use, and ended.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_gate.h"


/* the longest wait that upstream is believed, seconds */
#define GATE_RETRY_MAX  86400


static void gate_passed(ngx_claude_seat_t *seat);
static void gate_said(ngx_claude_seat_t *seat, ngx_str_t *text);
static void gate_header(ngx_claude_seat_t *seat, ngx_str_t *line,
    ngx_uint_t rejected);
static ngx_uint_t gate_value(ngx_str_t *line, const char *name,
    ngx_str_t *value);
static void gate_learn(ngx_claude_seat_t *seat, ngx_claude_gate_e state);
static ngx_uint_t gate_expected(ngx_claude_seat_t *seat);
static void gate_lost(ngx_claude_seat_t *seat, const char *when);


void
driver_gate_line(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t  *text;

    text = &line->string[NGX_CLAUDE_CLI_S_PLUGIN_TEXT];

    if (ngx_claude_is(text, "call")) {
        seat->reply.called = 1;
        seat->reply.answered = 0;

        /* once a process: one that lives on tells nothing of others */

        if (seat->holding.gated && !seat->holding.proved) {
            seat->holding.proved = 1;

            if (!driver_gate_barred(seat->process->profile)) {
                gate_learn(seat, NGX_CLAUDE_GATE_WORKS);
            }
        }

        return;
    }

    if (ngx_claude_begins(text, "said: ")) {
        gate_said(seat, text);
        return;
    }

    if (ngx_claude_is(text, "gate 1")) {
        seat->holding.gated = 1;
    }
}


ngx_uint_t
driver_gate_barred(ngx_claude_profile_t *profile)
{
    return profile->gate
           && ngx_claude_zone_gate(driver_zone, &profile->hash)
              == NGX_CLAUDE_GATE_SHUT;
}


/* the files were looked at before the CLI was started */

void
driver_gate_started(ngx_claude_seat_t *seat)
{
    ngx_claude_process_t  *process;

    process = seat->process;

    if (process->profile->gate == NULL || process->gate == 0
        || process->gate == ECANCELED)
    {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_claude_seat_log(seat),
                   process->gate, "claude: process %P is without its gate, "
                   "\"%s\"", process->pid, process->profile->gate);

    gate_learn(seat, NGX_CLAUDE_GATE_FILES);
}


ngx_claude_heard_e
driver_gate_initialized(ngx_claude_seat_t *seat, ngx_uint_t version)
{
    ngx_claude_process_t  *process;

    process = seat->process;

    if (process->profile->gate == NULL) {
        return NGX_CLAUDE_ANSWERED;
    }

    if (process->gate) {
        return NGX_CLAUDE_ANSWERED;
    }

    if (version < NGX_CLAUDE_CLI_GATE) {

        /* it may have said its word, but is no use before a call */

        seat->holding.gated = 0;
        gate_learn(seat, NGX_CLAUDE_GATE_VERSION);
        return NGX_CLAUDE_ANSWERED;
    }

    if (seat->holding.gated) {
        return NGX_CLAUDE_ANSWERED;
    }

    if (!gate_expected(seat)
        || (seat->turn && seat->turn->engine.retried))
    {
        gate_learn(seat, NGX_CLAUDE_GATE_SILENT);
        return NGX_CLAUDE_ANSWERED;
    }

    gate_lost(seat, "the CLI did not load it");

    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                  "it started without its gate");
}


/* the model begins to answer: if that went by the gate, it has said so */

void
driver_gate_begun(ngx_claude_seat_t *seat)
{
    if (seat->holding.gated && !seat->reply.called) {
        gate_passed(seat);
    }
}


/*
 * A call that went past the gate had no beta for its effort.  So that may be
 * why it was refused, with 400, and the turn is tried once more, without the
 * effort in the body.
 */

void
driver_gate_refused(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    if (!seat->holding.gated || seat->reply.called
        || line->number[NGX_CLAUDE_CLI_N_STATUS] < 400)
    {
        return;
    }

    seat->reply.ungated = (seat->holding.by_gate
                           && line->number[NGX_CLAUDE_CLI_N_STATUS] == 400);
    gate_passed(seat);
}


/*
 * What it says it lets through it lets through in no CLI that it knows.  So
 * another process tries, with the gate if others have had it, else without.
 */

ngx_claude_heard_e
driver_gate_shut(ngx_claude_seat_t *seat)
{
    seat->doubtful = 1;
    seat->reply.ungated = 1;

    if (seat->holding.proved) {
        ngx_log_error(NGX_LOG_ERR, ngx_claude_seat_log(seat), 0,
                      "claude: the gate of process %P let calls through, and "
                      "this one not, so the process is ended",
                      seat->process->pid);

    } else if (gate_expected(seat)) {
        gate_lost(seat, "which let no question through");

    } else {
        seat->turn->engine.ungated = 1;
        gate_learn(seat, NGX_CLAUDE_GATE_SHUT);
    }

    return ngx_claude_seat_failed(seat, NGX_CLAUDE_FAIL_CLI, NULL,
                                  "its gate let no question through");
}


ngx_uint_t
driver_gate_trusted(ngx_claude_seat_t *seat)
{
    ngx_claude_process_t  *process;

    process = seat->process;

    return process->profile->gate && process->gate == 0
           && seat->holding.gated
           && ngx_claude_zone_gate(driver_zone, &seat->holding.profile)
              != NGX_CLAUDE_GATE_PASSED;
}


static void
gate_passed(ngx_claude_seat_t *seat)
{
    seat->holding.gated = 0;

    if (gate_expected(seat)) {
        gate_lost(seat, "a call went past it");

    } else {
        gate_learn(seat, NGX_CLAUDE_GATE_PASSED);
    }
}


/* what the provider said beside a call before holds no more */

void
driver_gate_forget(ngx_claude_turn_t *turn)
{
    ngx_str_null(&turn->answer.upstream_id);
    turn->answer.retry_after = 0;
}


/*
 * Words of the provider beside its answer: a status, then headers, each in a
 * line of its own.
 */

static void
gate_said(ngx_claude_seat_t *seat, ngx_str_t *text)
{
    u_char      *p, *last, *end;
    ngx_str_t    line;
    ngx_uint_t   rejected;

    static const char  plan[] =
        "\nanthropic-ratelimit-unified-status: rejected";

    if (seat->turn == NULL) {
        return;
    }

    /* by a plan's limit, and not by that of a minute */

    rejected = memmem(text->data, text->len, plan, sizeof(plan) - 1) != NULL;

    seat->reply.answered = (text->len > 6 && text->data[6] == '2');

    driver_gate_forget(seat->turn);

    p = text->data;
    last = p + text->len;

    while ((end = ngx_strlchr(p, last, LF)) != NULL) {
        p = end + 1;
        end = ngx_strlchr(p, last, LF);

        line.data = p;
        line.len = (end ? end : last) - p;

        gate_header(seat, &line, rejected);
    }
}


static void
gate_header(ngx_claude_seat_t *seat, ngx_str_t *line, ngx_uint_t rejected)
{
    ngx_int_t           n;
    ngx_str_t           value;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (gate_value(line, "request-id: ", &value)) {
        turn->answer.upstream_id = driver_words(turn, &value);
        return;
    }

    if (seat->reply.answered) {
        return;
    }

    /* a date, which is allowed as well, is not known to come */

    if (gate_value(line, "retry-after: ", &value)) {
        n = ngx_atoi(value.data, value.len);

    /* a plan's limit: when it is lifted, in seconds since 1970 */

    } else if (rejected && turn->answer.retry_after == 0
               && gate_value(line, "anthropic-ratelimit-unified-reset: ",
                             &value))
    {
        n = ngx_atoi(value.data, value.len);
        n = (n == NGX_ERROR) ? n : n - (ngx_int_t) ngx_time();

    } else {
        return;
    }

    if (n != NGX_ERROR) {
        n = ngx_max(n, 1);
        turn->answer.retry_after = ngx_min(n, GATE_RETRY_MAX);
    }
}


static ngx_uint_t
gate_value(ngx_str_t *line, const char *name, ngx_str_t *value)
{
    size_t  len;

    if (!ngx_claude_begins(line, name)) {
        return 0;
    }

    len = ngx_strlen(name);

    value->data = line->data + len;
    value->len = line->len - len;

    return 1;
}


/* what one process shows holds for all of its profile, and is said once */

static void
gate_learn(ngx_claude_seat_t *seat, ngx_claude_gate_e state)
{
    ngx_uint_t             before;
    ngx_claude_profile_t  *profile;

    profile = seat->process->profile;

    before = ngx_claude_zone_gate_set(driver_zone, &seat->holding.profile,
                                      state);

    if (before == state) {
        return;
    }

    if (state == NGX_CLAUDE_GATE_WORKS) {
        ngx_log_error(NGX_LOG_INFO, ngx_claude_seat_log(seat), 0,
                      "claude: the gate of \"%s\" works", profile->binary);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_claude_seat_log(seat),
                  seat->process->gate,
                  "claude: \"%s\" runs without the gate, so that it may ask "
                  "the model more than once for a question: %s (gate \"%s\", "
                  "process %P)", profile->binary,
                  ngx_claude_gate_words(state), profile->gate,
                  seat->process->pid);
}


/* whether processes of the profile, of any worker, have had it */

static ngx_uint_t
gate_expected(ngx_claude_seat_t *seat)
{
    return ngx_claude_zone_gate(driver_zone, &seat->holding.profile)
           == NGX_CLAUDE_GATE_WORKS;
}


/*
 * The process is not to be used again.  Whether the others of its profile are
 * different is open from now on: the next one without is let be.
 */

static void
gate_lost(ngx_claude_seat_t *seat, const char *when)
{
    seat->doubtful = 1;
    seat->reply.ungated = 1;

    (void) ngx_claude_zone_gate_set(driver_zone, &seat->holding.profile,
                                    NGX_CLAUDE_GATE_UNKNOWN);

    ngx_log_error(NGX_LOG_ERR, ngx_claude_seat_log(seat), 0,
                  "claude: process %P is without the gate that others of its "
                  "kind have, %s, so it is ended (gate \"%s\")",
                  seat->process->pid, when, seat->process->profile->gate);
}
