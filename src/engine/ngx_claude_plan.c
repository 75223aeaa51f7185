
/*
 * A plan.  See the header.
 */


#include "ngx_claude_plan.h"
#include "ngx_claude_index.h"
#include "ngx_claude_table.h"
#include "ngx_claude_utf8.h"


/* results that come without their calls: no model makes so many */
#define PLAN_RESULTS  10000

/*
 * Bytes of a live result that reach the model as they are: the CLI puts the
 * name of a file in the place of longer ones.
 */
#define PLAN_RESULT_MAX  262144

/* and of all of them together, which are more than any model reads */
#define PLAN_RESULTS_MAX  8388608


static void plan_rate(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn);
static ngx_uint_t plan_session(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_session_t *session);
static ngx_claude_fail_e plan_session_fail(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_t *turn);
static ngx_uint_t plan_shared(const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, const ngx_claude_turn_t *turn);
static ngx_uint_t plan_fits(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_t *turn);
static ngx_uint_t plan_fits_calls(const ngx_claude_holding_t *holding,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn);
static ngx_uint_t plan_calls_fit(const ngx_claude_message_t *message);
static ngx_uint_t plan_result_fits(const ngx_claude_block_t *result,
    size_t *left);
static void plan_step(ngx_claude_plan_t *plan, ngx_claude_step_e step,
    ngx_claude_wait_e wait, ngx_uint_t arg);


static const char *const  plan_names[] = {
    [NGX_CLAUDE_STEP_CALL_OFF] = "call off",
    [NGX_CLAUDE_STEP_UNRECORD] = "unrecord",
    [NGX_CLAUDE_STEP_REWIND]   = "rewind",
    [NGX_CLAUDE_STEP_MODEL]    = "model",
    [NGX_CLAUDE_STEP_SERVERS]  = "servers",
    [NGX_CLAUDE_STEP_SETTINGS] = "settings",
    [NGX_CLAUDE_STEP_REPLAY]   = "replay",
    [NGX_CLAUDE_STEP_RESULTS]  = "results",
    [NGX_CLAUDE_STEP_ASK]      = "ask",
    [NGX_CLAUDE_STEP_RECORD]   = "record",
    [NGX_CLAUDE_STEP_RESTATE]  = "restate",
    [NGX_CLAUDE_STEP_MARK]     = "mark",
    [NGX_CLAUDE_STEP_SYNC]     = "sync"
};

ngx_claude_table_check(plan_names, NGX_CLAUDE_STEPS);


const char *
ngx_claude_plan_step(ngx_uint_t step)
{
    return plan_names[step];
}


ngx_int_t
ngx_claude_plan_turn(ngx_claude_turn_t *turn)
{
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    if (turn->tools.nelts) {
        ngx_claude_chain_names(turn, &turn->engine.toolset);
    }

    message = turn->messages.elts;

    if (turn->session.results && turn->messages.nelts == 1
        && message->blocks.nelts <= PLAN_RESULTS)
    {
        block = message->blocks.elts;

        turn->engine.results = ngx_claude_index(turn->pool, &block->id,
                                                message->blocks.nelts,
                                                sizeof(ngx_claude_block_t));
        if (turn->engine.results == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_claude_plan_rate(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn)
{
    plan->rung = NGX_CLAUDE_RUNG_NONE;
    plan->fail = NGX_CLAUDE_FAIL_INTERNAL;
    plan->keep = 0;
    plan->nsteps = 0;

    if (!ngx_claude_hash_same(&holding->profile, &turn->profile->hash)
        || !plan_session(holding, &turn->session)
        || (turn->engine.ungated && holding->gated))
    {
        return;
    }

    plan_rate(plan, holding, held, calls, turn);

    if (plan->rung == NGX_CLAUDE_RUNG_NONE) {
        plan->keep = 0;

    } else if (turn->session.continues && holding->nheld) {
        plan->fail = plan_session_fail(holding, turn);
    }
}


void
ngx_claude_plan(ngx_claude_plan_t *plan, const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, const ngx_claude_call_t *calls,
    const ngx_claude_turn_t *turn)
{
    ngx_claude_plan_rate(plan, holding, held, calls, turn);

    if (plan->rung != NGX_CLAUDE_RUNG_NONE) {
        ngx_claude_plan_steps(plan, holding, turn);
    }
}


void
ngx_claude_plan_new(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_turn_t *turn)
{
    plan->rung = NGX_CLAUDE_RUNG_COLD;
    plan->fail = NGX_CLAUDE_FAIL_INTERNAL;
    plan->keep = holding->nheld;
    plan->nsteps = 0;

    if (turn->session.continues) {

        if (holding->nheld) {
            plan->fail = plan_session_fail(holding, turn);
        }

    } else if (holding->nheld >= turn->messages.nelts) {
        plan->rung = NGX_CLAUDE_RUNG_NONE;
        return;
    }

    ngx_claude_plan_steps(plan, holding, turn);
}


/* rung and keep */

static void
plan_rate(ngx_claude_plan_t *plan, const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, const ngx_claude_call_t *calls,
    const ngx_claude_turn_t *turn)
{
    ngx_uint_t          shared;
    ngx_claude_link_t  *links;

    if (!holding->used) {

        /* an agent's directories are one key's, a chat's nobody's */

        if (turn->profile->agent
            ? !holding->owned
              || !ngx_claude_hash_same(&holding->tenant, &turn->tenant)
            : holding->owned)
        {
            return;
        }

        /*
         * An agent's earlier turns are on disk perhaps, in a transcript that
         * only a process at its start can take up.
         */

        if (!turn->session.results
            && (!turn->profile->agent || turn->messages.nelts == 1)
            && !ngx_claude_holding_outdated(holding, turn->profile))
        {
            plan->rung = NGX_CLAUDE_RUNG_WARM;
        }

        return;
    }

    if (!ngx_claude_hash_same(&holding->tenant, &turn->tenant)) {
        return;
    }

    if (turn->session.results) {

        /* results alone are for the process that waits for them */

        if (plan_fits_calls(holding, calls, turn)) {
            plan->rung = NGX_CLAUDE_RUNG_LIVE;
            plan->keep = holding->nheld;
        }

        return;
    }

    if (turn->session.continues) {

        /* without the results of its calls a question is taken back */

        plan->rung = holding->waiting ? NGX_CLAUDE_RUNG_REWOUND
                                      : NGX_CLAUDE_RUNG_LIVE;
        plan->keep = ngx_claude_holding_cut(holding, held, holding->nheld);

        return;
    }

    links = turn->engine.links;
    shared = plan_shared(holding, held, turn);

    if (shared == turn->messages.nelts - 1 && shared == holding->nheld
        && (shared || ngx_claude_link_same(&holding->root, &links[0]))
        && (!holding->waiting || plan_fits(holding, turn)))
    {
        plan->rung = NGX_CLAUDE_RUNG_LIVE;
        plan->keep = shared;
        return;
    }

    plan->keep = ngx_claude_holding_cut(holding, held, shared);

    if (plan->keep && plan->keep >= holding->base) {
        plan->rung = NGX_CLAUDE_RUNG_REWOUND;

    } else if (holding->base == 0
               && (!turn->profile->agent
                   || (holding->nheld == 0 && turn->messages.nelts == 1)))
    {
        plan->rung = NGX_CLAUDE_RUNG_RECYCLED;
        plan->keep = 0;
    }
}


/*
 * A session that a client has named has a process of its own; another one's
 * name is looked for when there is nothing but the name.
 */

static ngx_uint_t
plan_session(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_session_t *session)
{
    ngx_uint_t  named;

    named = (session->kind == NGX_CLAUDE_SESSION_CHOSEN && session->owner);

    if (holding->named_session != named) {
        return 0;
    }

    return (!named && !session->continues)
           || ngx_claude_hash_same(&holding->session, &session->hash);
}


/*
 * A turn that brings only what is new goes on with the model and the system
 * text that the session has.
 */

static ngx_claude_fail_e
plan_session_fail(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_t *turn)
{
    ngx_claude_hash_t  sum;

    ngx_claude_holding_sum(&turn->model, &sum);

    if (!ngx_claude_hash_same(&holding->model, &sum)) {
        return NGX_CLAUDE_FAIL_SESSION_MODEL;
    }

    if (!turn->session.system) {
        return NGX_CLAUDE_FAIL_INTERNAL;
    }

    ngx_claude_chain_system(turn, &sum);

    return ngx_claude_hash_same(&holding->system, &sum)
           ? NGX_CLAUDE_FAIL_INTERNAL : NGX_CLAUDE_FAIL_SESSION_SYSTEM;
}


/* how many messages of the turn the process holds, from the first on */

static ngx_uint_t
plan_shared(const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_turn_t *turn)
{
    ngx_uint_t          n, last, middle;
    ngx_claude_link_t  *links;

    links = turn->engine.links;

    /* never the question itself */

    last = ngx_min(holding->nheld, turn->messages.nelts - 1);
    n = 0;

    if (holding->base) {

        /* the last link alone is known of what was resumed, and is over all */

        if (last < holding->base
            || !ngx_claude_link_same(&held[holding->base - 1].link,
                                     &links[holding->base]))
        {
            return 0;
        }

        n = holding->base;

    } else if (!ngx_claude_link_same(&holding->root, &links[0])) {
        return 0;
    }

    /* a link is over all before it: the same one means the same ones */

    while (n < last) {
        middle = n + (last - n) / 2;

        if (ngx_claude_link_same(&held[middle].link, &links[middle + 1])) {
            n = middle + 1;

        } else {
            last = middle;
        }
    }

    return n;
}


/*
 * Whether the last message of the turn is the results of the calls that the
 * process waits in.  What the CLI would change on the way to the model is
 * left to a replay.
 */

static ngx_uint_t
plan_fits(const ngx_claude_holding_t *holding, const ngx_claude_turn_t *turn)
{
    size_t                 left;
    ngx_uint_t             i;
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    message = turn->messages.elts;
    message += turn->messages.nelts - 1;
    block = message->blocks.elts;

    /* more than the results would come too late for the model's next words */

    if (message->blocks.nelts != holding->ncalls
        || holding->knobs != ngx_claude_holding_knobs(turn)
        || !ngx_claude_hash_same(&holding->tools, &turn->engine.toolset))
    {
        return 0;
    }

    left = PLAN_RESULTS_MAX;

    for (i = 0; i < message->blocks.nelts; i++) {
        if (!plan_result_fits(&block[i], &left)) {
            return 0;
        }
    }

    return turn->session.results || plan_calls_fit(message - 1);
}


/*
 * Whether the process holds the calls as the model made them: of arguments
 * with an escape that is itself a text, "\\u0041", it holds "A".
 */

static ngx_uint_t
plan_calls_fit(const ngx_claude_message_t *message)
{
    u_char              *p, *last;
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    block = message->blocks.elts;

    for (i = 0; i < message->blocks.nelts; i++) {

        if (block[i].type != NGX_CLAUDE_TOOL_USE) {
            continue;
        }

        if (block[i].text.len > PLAN_RESULT_MAX) {
            return 0;
        }

        p = block[i].text.data;
        last = p + block[i].text.len;

        while ((p = ngx_strlchr(p, last, '\\'))) {

            /* of two the first one escapes the other */

            if (last - p > 2 && p[1] == '\\' && p[2] == 'u') {
                return 0;
            }

            p += 2;

            if (p >= last) {
                break;
            }
        }
    }

    return 1;
}


/* results that come alone have to be those of the calls, by their ids */

static ngx_uint_t
plan_fits_calls(const ngx_claude_holding_t *holding,
    const ngx_claude_call_t *calls, const ngx_claude_turn_t *turn)
{
    ngx_uint_t  i;

    if (!holding->waiting || turn->engine.results == NULL
        || !plan_fits(holding, turn))
    {
        return 0;
    }

    for (i = 0; i < holding->ncalls; i++) {
        if (ngx_claude_index_find(turn->engine.results, holding->ncalls,
                                  &calls[i].id)
            == NULL)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
plan_result_fits(const ngx_claude_block_t *result, size_t *left)
{
    size_t               len;
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    /* an error may be one text alone */

    if (result->type != NGX_CLAUDE_TOOL_RESULT || result->content == NULL
        || (result->is_error && result->content->nelts != 1))
    {
        return 0;
    }

    block = result->content->elts;
    len = 0;

    for (i = 0; i < result->content->nelts; i++) {

        len += block[i].text.len;

        if (len > PLAN_RESULT_MAX) {
            return 0;
        }

        /* for a blank text the CLI has words of its own; an image that is a
           URL has no place in MCP */

        if (block[i].type == NGX_CLAUDE_TEXT
            ? ngx_claude_utf8_blank(&block[i].text)
            : (block[i].type != NGX_CLAUDE_IMAGE || block[i].media.len == 0
               || result->is_error))
        {
            return 0;
        }
    }

    *left -= ngx_min(*left, len);

    return i && *left;
}


/*
 * Steps that bring the process to the state that the turn needs.  If they are
 * only the settings, the question follows at once; else the answers are waited
 * for, since a question must not meet a conversation that was not cut, or a
 * model that was not set.
 */

void
ngx_claude_plan_steps(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_turn_t *turn)
{
    ngx_uint_t          before, history, rewind, recorded;
    ngx_claude_wait_e   wait;
    ngx_claude_link_t  *links;

    if (holding->waiting && plan->keep == holding->nheld) {
        plan_step(plan, NGX_CLAUDE_STEP_SETTINGS, NGX_CLAUDE_WAIT_NONE, 0);
        plan_step(plan, NGX_CLAUDE_STEP_RESULTS, NGX_CLAUDE_WAIT_NONE, 0);
        return;
    }

    links = turn->engine.links;
    before = turn->session.continues ? plan->keep : 0;
    history = turn->messages.nelts - 1;
    rewind = (plan->keep < holding->nheld);
    recorded = holding->recorded;
    wait = NGX_CLAUDE_WAIT_NONE;

    if (holding->waiting) {
        plan_step(plan, NGX_CLAUDE_STEP_CALL_OFF, NGX_CLAUDE_WAIT_RESULT, 0);
    }

    if (rewind) {

        /* a question without the results of its calls is not on record yet */

        if (recorded && !turn->session.continues) {
            plan_step(plan, NGX_CLAUDE_STEP_UNRECORD, NGX_CLAUDE_WAIT_NONE, 0);
            recorded = 0;
        }

        plan_step(plan, NGX_CLAUDE_STEP_REWIND, NGX_CLAUDE_WAIT_NONE,
                  plan->keep);
        wait = NGX_CLAUDE_WAIT_ANSWERS;
    }

    if (before == 0 && holding->base == 0
        && !ngx_claude_link_same(&holding->root, &links[0]))
    {
        plan_step(plan, NGX_CLAUDE_STEP_MODEL, NGX_CLAUDE_WAIT_NONE, 0);
        wait = NGX_CLAUDE_WAIT_ANSWERS;
    }

    if (!ngx_claude_hash_same(&holding->tools, &turn->engine.toolset)) {
        plan_step(plan, NGX_CLAUDE_STEP_SERVERS, NGX_CLAUDE_WAIT_NONE, 0);
        wait = NGX_CLAUDE_WAIT_ANSWERS;
    }

    plan_step(plan, NGX_CLAUDE_STEP_SETTINGS, wait, 0);

    if (plan->keep - before < history) {

        if (recorded) {
            plan_step(plan, NGX_CLAUDE_STEP_UNRECORD, NGX_CLAUDE_WAIT_NONE, 0);
        }

        plan_step(plan, NGX_CLAUDE_STEP_REPLAY, NGX_CLAUDE_WAIT_RESULT,
                  history);
    }

    plan_step(plan, NGX_CLAUDE_STEP_ASK, NGX_CLAUDE_WAIT_NONE, 0);

    if (holding->recorded) {
        plan_step(plan, NGX_CLAUDE_STEP_RECORD, NGX_CLAUDE_WAIT_NONE, 0);
    }
}


/*
 * Into a transcript the CLI writes an answer of ours with the next message
 * only, so there is one behind it, which is taken back.
 */

void
ngx_claude_plan_end(ngx_claude_plan_t *plan,
    const ngx_claude_holding_t *holding, const ngx_claude_held_t *held,
    const ngx_claude_turn_t *turn, ngx_claude_end_e end)
{
    ngx_uint_t  all;

    plan->rung = NGX_CLAUDE_RUNG_LIVE;
    plan->fail = NGX_CLAUDE_FAIL_INTERNAL;
    plan->keep = holding->nheld;
    plan->nsteps = 0;

    if (end == NGX_CLAUDE_END_KEEP || holding->nheld == 0) {
        return;
    }

    plan->keep = ngx_claude_holding_cut(holding, held, holding->nheld - 1);

    if (end == NGX_CLAUDE_END_RESTATE && plan->keep < turn->engine.before) {

        /* results of calls that only the process knew */

        plan->rung = NGX_CLAUDE_RUNG_NONE;
        return;
    }

    plan_step(plan, NGX_CLAUDE_STEP_REWIND, NGX_CLAUDE_WAIT_ANSWERS,
              plan->keep);

    if (end == NGX_CLAUDE_END_UNDO) {
        return;
    }

    all = turn->messages.nelts;

    plan_step(plan, NGX_CLAUDE_STEP_REPLAY, NGX_CLAUDE_WAIT_RESULT, all);
    plan_step(plan, NGX_CLAUDE_STEP_RESTATE, NGX_CLAUDE_WAIT_NONE, 0);

    if (holding->recorded) {
        plan_step(plan, NGX_CLAUDE_STEP_MARK, NGX_CLAUDE_WAIT_RESULT, 0);
        plan_step(plan, NGX_CLAUDE_STEP_REWIND, NGX_CLAUDE_WAIT_ANSWERS,
                  turn->engine.before + all + 1);

    } else {
        plan_step(plan, NGX_CLAUDE_STEP_SYNC, NGX_CLAUDE_WAIT_ANSWERS, 0);
    }
}


static void
plan_step(ngx_claude_plan_t *plan, ngx_claude_step_e step,
    ngx_claude_wait_e wait, ngx_uint_t arg)
{
    ngx_claude_plan_step_t  *last;

    last = &plan->steps[plan->nsteps++];

    last->step = step;
    last->wait = wait;
    last->arg = arg;
}
