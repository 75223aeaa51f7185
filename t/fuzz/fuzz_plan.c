
/*
 * Plans: any holding, any turn.  A model of the CLI runs the steps, one after
 * the other, and must come to just the conversation that the turn has; and a
 * straightforward reading of the two says what the rung and the beginning
 * must be.
 *
 * A conversation is a text here, a message a letter, the first letter model
 * and system text.  A link is the text up to its message.
 */


#include "fuzz.h"

#include "ngx_claude_plan.c"


#define PLAN_TEXT   18
#define PLAN_CALLS  3


/* what a CLI has, after some steps */
typedef struct {
    u_char                 text[2 * PLAN_TEXT + 4];  /* root and messages */
    ngx_uint_t             len;
    ngx_claude_hash_t      tools;
    ngx_uint_t             calls;        /* that wait for results */
    ngx_uint_t             due;          /* answers */
    ngx_uint_t             doubt;        /* what it has is not certain */
    ngx_uint_t             set;          /* the settings */
    ngx_uint_t             asked;
} plan_cli_t;


typedef struct {
    ngx_claude_holding_t   holding;
    ngx_claude_held_t      held[PLAN_TEXT];
    ngx_claude_call_t      calls[PLAN_CALLS];
    ngx_claude_profile_t   profile;
    ngx_claude_turn_t      turn;
    ngx_claude_link_t      links[PLAN_TEXT];
    ngx_claude_message_t   messages[PLAN_TEXT];
    ngx_claude_block_t     blocks[PLAN_CALLS + 1];
    ngx_claude_block_t     content;
    ngx_array_t            contents;

    u_char                 has[PLAN_TEXT + 1];       /* the process's text */
    u_char                 wants[PLAN_TEXT + 1];     /* the turn's */
    ngx_uint_t             nhas;                     /* with the root */
    ngx_uint_t             nwants;
    ngx_uint_t             strange;                  /* another model */
    ngx_uint_t             foreign;                  /* another system text */
} plan_case_t;


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static void
plan_link(ngx_claude_link_t *link, u_char *text, ngx_uint_t n)
{
    ngx_memzero(link, sizeof(ngx_claude_link_t));
    ngx_memcpy(link->hash, text, n);
}


/* now and then another one */

static void
plan_hash(fuzz_input_t *in, ngx_claude_hash_t *hash)
{
    ngx_memzero(hash, sizeof(ngx_claude_hash_t));

    hash->hash[0] = 1 + (fuzz_number(in, 6) == 0);
}


static void
plan_held(plan_case_t *c, fuzz_input_t *in)
{
    ngx_uint_t             i, n;
    ngx_claude_holding_t  *holding;

    holding = &c->holding;

    /* a process has pairs: a question and its answer */

    n = 2 * fuzz_number(in, 6);

    for (i = 0; i < n + 1; i++) {
        c->has[i] = 'a' + fuzz_number(in, 2);
    }

    c->nhas = n + 1;

    holding->nheld = n;
    holding->used = n || fuzz_number(in, 2);
    holding->named_session = (fuzz_number(in, 5) == 0);
    holding->recorded = (fuzz_number(in, 3) == 0);
    holding->mtime = fuzz_number(in, 3);
    holding->inode = fuzz_number(in, 2);
    holding->knobs = 2 * (fuzz_number(in, 6) == 0);

    plan_hash(in, &holding->profile);
    plan_hash(in, &holding->tenant);
    plan_hash(in, &holding->session);
    plan_hash(in, &holding->tools);

    /* started for its tenant, or for whoever comes first */

    holding->owned = fuzz_number(in, 2);
    ngx_claude_holding_sum(&c->turn.model, &holding->model);
    ngx_claude_holding_sum(&c->turn.system, &holding->system);

    c->strange = (fuzz_number(in, 8) == 0);
    c->foreign = (fuzz_number(in, 8) == 0);
    holding->model.hash[0] ^= c->strange;
    holding->system.hash[0] ^= c->foreign;

    if (n && fuzz_number(in, 5) == 0) {
        holding->base = 2 * (1 + fuzz_number(in, n / 2));
    }

    if (holding->used) {
        plan_link(&holding->root, c->has, holding->base ? 0 : 1);
    }

    for (i = 0; i < n; i++) {
        if (i + 1 >= holding->base) {
            plan_link(&c->held[i].link, c->has, i + 2);
        }

        if (i >= holding->base) {
            c->held[i].line = (i % 2 == 0) ? ++holding->lines : 0;
            c->held[i].by_cli = i % 2;
        }
    }

    holding->newest = holding->lines;

    /* the last answer is calls, which were streamed here */

    if (n > holding->base && fuzz_number(in, 3) == 0) {
        holding->waiting = 1;
        holding->ncalls = 1 + fuzz_number(in, PLAN_CALLS);

        for (i = 0; i < holding->ncalls; i++) {
            c->calls[i].id.data = (u_char *) "123" + i;
            c->calls[i].id.len = 1;
        }
    }
}


static void
plan_asked(plan_case_t *c, fuzz_input_t *in)
{
    ngx_uint_t          i, n;
    ngx_claude_turn_t  *turn;

    turn = &c->turn;

    n = 2 * fuzz_number(in, 6) + 1;

    for (i = 0; i < n + 1; i++) {
        c->wants[i] = (i < c->nhas && fuzz_number(in, 12)) ? c->has[i]
                      : 'a' + fuzz_number(in, 2);
    }

    turn->session.kind = (fuzz_number(in, 5) == 0)
                         ? NGX_CLAUDE_SESSION_CHOSEN
                         : NGX_CLAUDE_SESSION_ISSUED;
    turn->session.owner = (fuzz_number(in, 4) != 0);
    turn->session.continues = (fuzz_number(in, 4) == 0);
    turn->session.system = fuzz_number(in, 2);

    if (turn->session.continues && fuzz_number(in, 2)) {
        turn->session.results = 1;
        n = 1;
    }

    plan_hash(in, &turn->session.hash);
    plan_hash(in, &turn->tenant);
    plan_hash(in, &c->profile.hash);

    c->profile.agent = (fuzz_number(in, 8) == 0);
    c->profile.mtime = fuzz_number(in, 3);
    c->profile.inode = fuzz_number(in, 2);
    turn->profile = &c->profile;
    turn->engine.links = c->links;
    turn->effort = (fuzz_number(in, 6) == 0);

    plan_hash(in, &turn->engine.toolset);

    c->nwants = n + 1;

    for (i = 0; i < n + 1; i++) {
        plan_link(&c->links[i], c->wants, i + 1);
    }

    turn->messages.elts = c->messages;
    turn->messages.nelts = n;

    for (i = 0; i < n; i++) {
        c->messages[i].role = (i % 2) ? NGX_CLAUDE_ASSISTANT : NGX_CLAUDE_USER;
    }
}


/* the blocks of the question: results of calls, or nearly so */

static void
plan_question(plan_case_t *c, fuzz_input_t *in, ngx_pool_t *pool)
{
    ngx_uint_t             i, n;
    ngx_claude_message_t  *message;

    message = &c->messages[c->turn.messages.nelts - 1];
    n = fuzz_number(in, 4) ? ngx_max(c->holding.ncalls, 1)
                           : 1 + fuzz_number(in, PLAN_CALLS);

    c->content.type = fuzz_number(in, 8) ? NGX_CLAUDE_TEXT : NGX_CLAUDE_IMAGE;
    ngx_str_set(&c->content.text, "words");

    if (fuzz_number(in, 8) == 0) {
        c->content.text.len = 0;
    }

    c->contents.elts = &c->content;
    c->contents.nelts = fuzz_number(in, 12) ? 1 : 0;

    for (i = 0; i < n; i++) {
        c->blocks[i].type = fuzz_number(in, 12) ? NGX_CLAUDE_TOOL_RESULT
                                                : NGX_CLAUDE_TEXT;
        c->blocks[i].content = &c->contents;
        c->blocks[i].id.data = (u_char *) "321" + (3 - n) + i;
        c->blocks[i].id.len = 1;
    }

    message->blocks.elts = c->blocks;
    message->blocks.nelts = n;

    if (c->turn.session.results) {
        c->turn.pool = pool;
        c->turn.engine.results = ngx_claude_index(pool, &c->blocks[0].id, n,
                                           sizeof(ngx_claude_block_t));
        fuzz_check(c->turn.engine.results != NULL);
    }
}


/* how many messages both have, from the first on, but for the question */

static ngx_uint_t
plan_same(plan_case_t *c)
{
    ngx_uint_t  n, max;

    max = ngx_min(c->nhas, c->nwants - 1);

    for (n = 0; n < max && c->has[n] == c->wants[n]; n++) { /* void */ }

    /* with the root; what was resumed is the same altogether, or not at all */

    if (n == 0 || n - 1 < c->holding.base) {
        return 0;
    }

    return n - 1;
}


/* the best a process may do: the rung, in the plainest words */

static ngx_claude_rung_e
plan_expect(plan_case_t *c, ngx_uint_t *keep)
{
    ngx_uint_t             i, n, same, fits, own;
    ngx_claude_turn_t     *turn;
    ngx_claude_holding_t  *holding;

    turn = &c->turn;
    holding = &c->holding;
    *keep = 0;

    own = (turn->session.kind == NGX_CLAUDE_SESSION_CHOSEN
           && turn->session.owner);

    if (holding->profile.hash[0] != c->profile.hash.hash[0]
        || holding->named_session != own
        || ((own || turn->session.continues)
            && holding->session.hash[0] != turn->session.hash.hash[0]))
    {
        return NGX_CLAUDE_RUNG_NONE;
    }

    if (!holding->used) {

        /* an agent's directories are its key's, a chat's nobody's */

        if (c->profile.agent
            ? !holding->owned
              || holding->tenant.hash[0] != turn->tenant.hash[0]
            : holding->owned)
        {
            return NGX_CLAUDE_RUNG_NONE;
        }

        if (turn->session.results
            || (c->profile.agent && turn->messages.nelts > 1)
            || (holding->mtime && c->profile.mtime
                && (holding->mtime != c->profile.mtime
                    || holding->inode != c->profile.inode)))
        {
            return NGX_CLAUDE_RUNG_NONE;
        }

        return NGX_CLAUDE_RUNG_WARM;
    }

    if (holding->tenant.hash[0] != turn->tenant.hash[0]) {
        return NGX_CLAUDE_RUNG_NONE;
    }

    n = c->messages[turn->messages.nelts - 1].blocks.nelts;
    fits = holding->waiting && n == holding->ncalls
           && holding->tools.hash[0] == turn->engine.toolset.hash[0]
           && holding->knobs == 2 * (uint64_t) (turn->effort != 0)
           && c->contents.nelts && c->content.text.len
           && c->content.type == NGX_CLAUDE_TEXT;

    for (i = 0; i < n; i++) {
        fits = fits && c->blocks[i].type == NGX_CLAUDE_TOOL_RESULT;
    }

    if (turn->session.results) {

        if (!fits) {
            return NGX_CLAUDE_RUNG_NONE;
        }

        *keep = holding->nheld;
        return NGX_CLAUDE_RUNG_LIVE;
    }

    if (turn->session.continues) {
        *keep = holding->nheld - (holding->waiting ? 2 : 0);
        return holding->waiting ? NGX_CLAUDE_RUNG_REWOUND
                                : NGX_CLAUDE_RUNG_LIVE;
    }

    same = plan_same(c);

    if (same == holding->nheld && same == turn->messages.nelts - 1
        && (holding->base == 0 || same)
        && c->has[0] == c->wants[0]
        && (!holding->waiting || fits))
    {
        *keep = same;
        return NGX_CLAUDE_RUNG_LIVE;
    }

    /* a cut is before a question, and takes the calls that wait with it */

    same -= same % 2;

    if (holding->waiting && same == holding->nheld) {
        same -= 2;
    }

    if (same && same >= holding->base) {
        *keep = same;
        return NGX_CLAUDE_RUNG_REWOUND;
    }

    if (c->profile.agent
        && (holding->nheld || turn->messages.nelts > 1))
    {
        return NGX_CLAUDE_RUNG_NONE;
    }

    return holding->base ? NGX_CLAUDE_RUNG_NONE : NGX_CLAUDE_RUNG_RECYCLED;
}


/* one step, by a CLI that takes nothing that is not in order */

static void
plan_run(plan_case_t *c, plan_cli_t *cli, ngx_claude_plan_step_t *step,
    ngx_uint_t before)
{
    ngx_uint_t  n;

    fuzz_check(!cli->asked || step->step == NGX_CLAUDE_STEP_RECORD);
    fuzz_check(!cli->calls || step->step == NGX_CLAUDE_STEP_CALL_OFF
               || step->step == NGX_CLAUDE_STEP_SETTINGS
               || step->step == NGX_CLAUDE_STEP_RESULTS);

    switch (step->step) {

    case NGX_CLAUDE_STEP_CALL_OFF:
        fuzz_check(cli->calls && step->wait == NGX_CLAUDE_WAIT_RESULT);
        cli->calls = 0;
        break;

    case NGX_CLAUDE_STEP_UNRECORD:
    case NGX_CLAUDE_STEP_RECORD:
        fuzz_check(c->holding.recorded);
        break;

    case NGX_CLAUDE_STEP_REWIND:
        fuzz_check(step->arg < cli->len - 1 && step->arg >= c->holding.base);
        fuzz_check(step->arg % 2 == 0);
        cli->len = step->arg + 1;
        cli->doubt = 1;
        break;

    case NGX_CLAUDE_STEP_MODEL:
        fuzz_check(cli->len == 1 && c->holding.base == 0);
        cli->text[0] = c->wants[0];
        cli->doubt = 1;
        break;

    case NGX_CLAUDE_STEP_SERVERS:
        cli->tools = c->turn.engine.toolset;
        cli->doubt = 1;
        break;

    case NGX_CLAUDE_STEP_SETTINGS:
        cli->set = 1;
        break;

    case NGX_CLAUDE_STEP_REPLAY:
        fuzz_check(cli->set && !cli->doubt);
        fuzz_check(step->wait == NGX_CLAUDE_WAIT_RESULT);
        fuzz_check(step->arg < c->turn.messages.nelts);

        n = cli->len - 1 - before;
        fuzz_check(n < step->arg);

        while (n < step->arg) {
            cli->text[cli->len++] = c->wants[1 + n++];
        }

        break;

    case NGX_CLAUDE_STEP_RESULTS:
        fuzz_check(c->holding.waiting && cli->set);
        fuzz_check(c->blocks[0].type == NGX_CLAUDE_TOOL_RESULT);
        cli->calls = 0;

        /* fall through */

    case NGX_CLAUDE_STEP_ASK:
        fuzz_check(cli->set && !cli->doubt);
        cli->text[cli->len++] = c->wants[c->nwants - 1];
        cli->asked = 1;
        break;

    default:
        fuzz_check(0);
    }

    if (step->wait == NGX_CLAUDE_WAIT_ANSWERS) {
        cli->doubt = 0;
    }
}


static void
plan_check(plan_case_t *c, ngx_claude_plan_t *plan)
{
    ngx_uint_t  i, before;
    plan_cli_t  cli;

    before = c->turn.session.continues ? plan->keep : 0;

    ngx_memzero(&cli, sizeof(plan_cli_t));
    ngx_memcpy(cli.text, c->has, c->nhas);
    cli.tools = c->holding.tools;
    cli.len = c->nhas;
    cli.calls = c->holding.ncalls;

    if (!c->holding.used) {
        cli.text[0] = '-';
    }

    fuzz_check(plan->nsteps <= NGX_CLAUDE_PLAN_STEPS);

    for (i = 0; i < plan->nsteps; i++) {
        plan_run(c, &cli, &plan->steps[i], before);
    }

    fuzz_check(cli.asked && !cli.doubt);
    fuzz_check(ngx_claude_hash_same(&cli.tools, &c->turn.engine.toolset));
    fuzz_check(cli.len == before + c->nwants);

    if (before) {
        fuzz_check(ngx_memcmp(cli.text, c->has, before + 1) == 0);
        fuzz_check(ngx_memcmp(cli.text + before + 1, c->wants + 1,
                              c->nwants - 1)
                   == 0);
    } else {
        fuzz_check(ngx_memcmp(cli.text, c->wants, c->nwants) == 0);
    }
}


/* after the turn: a question and an answer are there, and end in some way */

static void
plan_check_end(plan_case_t *c, fuzz_input_t *in, ngx_claude_plan_t *plan)
{
    ngx_uint_t             i, n, before, mark;
    ngx_claude_end_e       end;
    ngx_claude_held_t      held[2 * PLAN_TEXT + 4];
    ngx_claude_holding_t  *holding;

    before = c->turn.session.continues ? plan->keep : 0;
    n = before + c->turn.messages.nelts;
    holding = &c->holding;

    ngx_memzero(held, sizeof(held));

    for (i = holding->base; i < n; i += 2) {
        held[i].line = i + 1;
    }

    /* results are no line of the user's */

    if (plan->steps[plan->nsteps - 1].step == NGX_CLAUDE_STEP_RESULTS) {
        held[n - 1].line = 0;
    }

    holding->nheld = n;
    holding->waiting = 0;
    holding->ncalls = 0;
    c->turn.engine.before = before;

    end = fuzz_number(in, 3);

    ngx_claude_plan_end(plan, holding, held, &c->turn, end);

    if (end == NGX_CLAUDE_END_KEEP) {
        fuzz_check(plan->nsteps == 0);
        return;
    }

    if (plan->rung == NGX_CLAUDE_RUNG_NONE) {
        fuzz_check(end == NGX_CLAUDE_END_RESTATE && held[n - 1].line == 0);
        return;
    }

    fuzz_check(plan->steps[0].step == NGX_CLAUDE_STEP_REWIND);
    fuzz_check(plan->steps[0].wait == NGX_CLAUDE_WAIT_ANSWERS);
    fuzz_check(plan->steps[0].arg < n && held[plan->steps[0].arg].line);

    for (i = plan->steps[0].arg + 1; i < n; i++) {
        fuzz_check(held[i].line == 0);
    }

    if (end == NGX_CLAUDE_END_UNDO) {
        fuzz_check(plan->nsteps == 1);
        return;
    }

    fuzz_check(plan->steps[1].step == NGX_CLAUDE_STEP_REPLAY);
    fuzz_check(plan->steps[1].wait == NGX_CLAUDE_WAIT_RESULT);
    fuzz_check(before + plan->steps[1].arg == n);
    fuzz_check(plan->steps[2].step == NGX_CLAUDE_STEP_RESTATE);
    fuzz_check(plan->steps[2].wait == NGX_CLAUDE_WAIT_NONE);

    mark = (plan->steps[3].step == NGX_CLAUDE_STEP_MARK);

    fuzz_check(mark == holding->recorded);
    fuzz_check(plan->nsteps == 4 + mark);
    fuzz_check(plan->steps[3 + mark].wait == NGX_CLAUDE_WAIT_ANSWERS);

    if (mark) {

        /* question and answer stay, the mark does not */

        fuzz_check(plan->steps[4].step == NGX_CLAUDE_STEP_REWIND);
        fuzz_check(plan->steps[4].arg == n + 1);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    ngx_uint_t         keep;
    ngx_pool_t        *pool;
    plan_case_t       *c;
    fuzz_input_t       in;
    ngx_claude_plan_t  plan, again;
    ngx_claude_rung_e  rung;

    fuzz_input(&in, p, len);

    pool = fuzz_pool();
    c = ngx_pcalloc(pool, sizeof(plan_case_t));

    ngx_str_set(&c->turn.model, "sonnet");
    ngx_str_set(&c->turn.system, "be brief");

    plan_held(c, &in);
    plan_asked(c, &in);
    plan_question(c, &in, pool);

    ngx_memset(&plan, 0xa5, sizeof(ngx_claude_plan_t));
    ngx_memset(&again, 0x5a, sizeof(ngx_claude_plan_t));

    ngx_claude_plan(&plan, &c->holding, c->held, c->calls, &c->turn);
    ngx_claude_plan(&again, &c->holding, c->held, c->calls, &c->turn);

    rung = plan_expect(c, &keep);

    fuzz_check(plan.rung == rung && again.rung == rung);
    fuzz_check(plan.keep == keep && again.keep == keep);
    fuzz_check(plan.nsteps == again.nsteps);

    fuzz_check((plan.fail != NGX_CLAUDE_FAIL_INTERNAL)
               == (rung != NGX_CLAUDE_RUNG_NONE && c->turn.session.continues
                   && c->holding.nheld
                   && (c->strange
                       || (c->turn.session.system && c->foreign))));

    if (rung == NGX_CLAUDE_RUNG_NONE) {
        fuzz_check(plan.nsteps == 0);

    } else {
        plan_check(c, &plan);
        plan_check_end(c, &in, &plan);
    }

    ngx_destroy_pool(pool);

    return 0;
}
