
/*
 * Plans: for a process that holds something and a turn that wants something,
 * the rung, what is kept, and the steps; and the holding by itself, also what
 * of it goes into a session's record and out of it again.  No process, no zone,
 * no clock.
 *
 * A conversation is a text here, a message a letter, the first letter model
 * and system text: "Aqaqa" has two questions and their answers.  A link is
 * the text up to its message.
 */


#include "unit.h"

#include <stdio.h>

#include "ngx_claude_engine.h"
#include "ngx_claude_index.h"
#include "ngx_claude_plan.h"


#define TEXT  18


/*
 * holds: what the process has, with a flag a letter behind it:
 *
 *     u  nobody's yet            w  waits for the results of two calls
 *     o  a client's own session  2  two messages were resumed
 *     r  has a transcript        t  tools    k  other knobs
 *     b  of an old binary        m  another model, y  other system text, both
 *                                   only by their sums
 *
 * wants: what the turn has, and:
 *
 *     n  only what is new        R  the question is results of two calls
 *     x  results of others       o  a client's own session
 *     K  another key  P  another launch  S  another session
 *     t  tools                   y  says its system text
 *
 * plan: rung, messages kept, steps; what is waited for: ? answers, ! a result
 */
typedef struct {
    const char  *name;
    const char  *holds;
    const char  *wants;
    const char  *plan;
} plan_test_t;


static const plan_test_t  tests[] = {

    { "the conversation itself", "Aqa", "Aqaq",
      "live 2: settings, ask" },
    { "a longer history", "Aqa", "Aqaqaq",
      "rewound 2: settings, replay 4!, ask" },
    { "a shorter one", "Aqaqa", "Aqaq",
      "rewound 2: rewind 2, settings?, ask" },
    { "a branch", "Aqaqa", "Aqapaz",
      "rewound 2: rewind 2, settings?, replay 4!, ask" },
    { "the question again", "Aqaqa", "Aqaz",
      "rewound 2: rewind 2, settings?, ask" },
    { "another answer to it", "Aqa", "Aqzq",
      "recycled 0: rewind 0, settings?, replay 2!, ask" },
    { "another beginning", "Aqaqa", "Az",
      "recycled 0: rewind 0, settings?, ask" },
    { "another model", "Aqaqa", "Bqaq",
      "recycled 0: rewind 0, model, settings?, replay 2!, ask" },
    { "nothing held, the same model", "A", "Aq",
      "live 0: settings, ask" },
    { "nothing held, another one", "A", "Bq",
      "recycled 0: model, settings?, ask" },

    { "nobody's", "-u", "Aq",
      "warm 0: model, settings?, ask" },
    { "nobody's, for a history", "-u", "Aqaq",
      "warm 0: model, settings?, replay 2!, ask" },
    { "nobody's, of an old binary", "-ub", "Aq", "-" },
    { "used, of an old binary", "Aqab", "Aqaq",
      "live 2: settings, ask" },

    { "another key", "Aqa", "AqaqK", "-" },
    { "another launch", "Aqa", "AqaqP", "-" },
    { "nobody's, another launch", "-u", "AqP", "-" },
    { "nobody's has no key", "-u", "AqK",
      "warm 0: model, settings?, ask" },

    { "tools", "Aqa", "Aqaqt",
      "live 2: servers, settings?, ask" },
    { "the same tools", "Aqat", "Aqaqt",
      "live 2: settings, ask" },
    { "no tools any more", "Aqat", "Aqaq",
      "live 2: servers, settings?, ask" },

    { "the results of its calls", "Aqatw", "AqaqtR",
      "live 2: settings, results" },
    { "of other ones: by their order", "Aqatw", "Aqaqtx",
      "live 2: settings, results" },
    { "other knobs", "Aqatwk", "AqaqtR",
      "recycled 0: call off!, rewind 0, settings?, replay 2!, ask" },
    { "other tools", "Aqatw", "AqaqR",
      "recycled 0: call off!, rewind 0, servers, settings?, replay 2!, ask" },
    { "words in the place of results", "Aqatw", "Aqaqt",
      "recycled 0: call off!, rewind 0, settings?, replay 2!, ask" },
    { "the same, later in a conversation", "Aqaqatw", "Aqaqaqt",
      "rewound 2: call off!, rewind 2, settings?, replay 4!, ask" },
    { "a conversation that does not call", "Aqatw", "Azt",
      "recycled 0: call off!, rewind 0, settings?, ask" },

    { "only what is new", "Aqa", "Aqn",
      "live 2: settings, ask" },
    { "of another session", "Aqa", "AqnS", "-" },
    { "with another model", "Aqam", "Aqn",
      "live 2: settings, ask; another model" },
    { "with another system text, not said", "Aqay", "Aqn",
      "live 2: settings, ask" },
    { "with another system text", "Aqay", "Aqny",
      "live 2: settings, ask; another system text" },
    { "without the results", "Aqaqatw", "Aqnt",
      "rewound 2: call off!, rewind 2, settings?, ask" },
    { "results alone", "Aqatw", "AqntR",
      "live 2: settings, results" },
    { "results alone, of other calls", "Aqatw", "Aqntx", "-" },
    { "results alone, nobody waits", "Aqat", "AqntR", "-" },
    { "results alone, nobody's", "-u", "AqnR", "-" },

    { "a session of one's own", "Aqao", "Aqaqo",
      "live 2: settings, ask" },
    { "nobody else's turn", "Aqao", "Aqaq", "-" },
    { "nor another session's", "Aqao", "AqaqoS", "-" },
    { "no other process for it", "Aqa", "Aqaqo", "-" },
    { "no one's either", "-u", "Aqo", "-" },

    { "resumed", "Aqaqa2", "Aqaqaq",
      "live 4: settings, ask" },
    { "resumed, no cut before that", "Aqaqa2", "Aqaz",
      "rewound 2: rewind 2, settings?, ask" },
    { "resumed, parts before that", "Aqaqa2", "Aqzq", "-" },
    { "resumed, never emptied", "Aqa2", "Az", "-" },

    { "a transcript", "Aqar", "Aqaq",
      "live 2: settings, ask, record" },
    { "a transcript, rewound", "Aqaqar", "Aqaq",
      "rewound 2: unrecord, rewind 2, settings?, ask, record" },
    { "a transcript, replayed", "Aqar", "Aqaqaq",
      "rewound 2: settings, unrecord, replay 4!, ask, record" }
};


static ngx_pool_t            *pool;
static ngx_claude_profile_t   profile;
static ngx_claude_holding_t   holding;
static ngx_claude_held_t      held[TEXT];
static ngx_claude_call_t      calls[2];
static ngx_claude_turn_t      turn;
static ngx_claude_link_t      links[TEXT];
static ngx_claude_message_t   messages[TEXT];
static ngx_claude_block_t     blocks[2];
static ngx_claude_block_t     content;
static ngx_array_t            contents;
static char                   got[512];


static void
link_text(ngx_claude_link_t *link, const char *text, ngx_uint_t n)
{
    ngx_memzero(link, sizeof(ngx_claude_link_t));
    ngx_memcpy(link->hash, text, n);
}


/* how many letters are the conversation's */

static ngx_uint_t
text_len(const char *text)
{
    ngx_uint_t  n;

    for (n = 1; text[n] && ngx_strchr("qapz", text[n])
                && (n % 2 == 1 ? text[n] != 'a' : text[n] != 'q'); n++)
    { /* void */ }

    return n;
}


static void
make_holding(const char *text)
{
    ngx_uint_t   i, n;
    const char  *flags;

    ngx_memzero(&holding, sizeof(ngx_claude_holding_t));
    ngx_memzero(held, sizeof(held));

    n = text_len(text);
    flags = text + n;

    holding.nheld = n - 1;
    holding.used = !strchr(flags, 'u');
    holding.named_session = (strchr(flags, 'o') != NULL);
    holding.recorded = (strchr(flags, 'r') != NULL);
    holding.base = strchr(flags, '2') ? 2 : 0;
    holding.knobs = strchr(flags, 'k') ? 2 : 0;
    holding.tools.hash[0] = (strchr(flags, 't') != NULL);
    holding.tenant.hash[0] = holding.used;
    holding.session.hash[0] = 1;
    holding.mtime = 1;
    holding.inode = strchr(flags, 'b') ? 1 : 2;

    ngx_claude_holding_sum(&turn.model, &holding.model);
    ngx_claude_holding_sum(&turn.system, &holding.system);

    holding.model.hash[0] ^= (strchr(flags, 'm') != NULL);
    holding.system.hash[0] ^= (strchr(flags, 'y') != NULL);

    if (holding.used && !holding.base) {
        link_text(&holding.root, text, 1);
    }

    for (i = 0; i < holding.nheld; i++) {

        if (i + 1 >= holding.base) {
            link_text(&held[i].link, text, i + 2);
        }

        if (i >= holding.base && i % 2 == 0) {
            held[i].line = i + 1;
        }
    }

    if (strchr(flags, 'w')) {
        holding.waiting = 1;
        holding.ncalls = 2;
    }
}


static void
make_turn(const char *text)
{
    ngx_uint_t   i, n;
    const char  *flags, *ids;

    n = text_len(text);
    flags = text + n;

    turn.messages.elts = messages;
    turn.messages.nelts = n - 1;
    turn.engine.links = links;
    turn.profile = &profile;
    turn.engine.results = NULL;
    turn.engine.toolset.hash[0] = (strchr(flags, 't') != NULL);
    turn.tenant.hash[0] = 1 + (strchr(flags, 'K') != NULL);

    profile.hash.hash[0] = (strchr(flags, 'P') != NULL);
    profile.agent = 0;
    profile.mtime = 1;
    profile.inode = 2;

    ngx_memzero(&turn.session, sizeof(ngx_claude_turn_session_t));

    turn.session.hash.hash[0] = 1 + (strchr(flags, 'S') != NULL);
    turn.session.continues = (strchr(flags, 'n') != NULL);
    turn.session.system = (strchr(flags, 'y') != NULL);

    if (strchr(flags, 'o')) {
        turn.session.kind = NGX_CLAUDE_SESSION_CHOSEN;
        turn.session.owner = 1;
    }

    for (i = 0; i < n; i++) {
        link_text(&links[i], text, i + 1);
    }

    ids = strchr(flags, 'R') ? "21" : strchr(flags, 'x') ? "31" : NULL;

    for (i = 0; i < 2; i++) {
        blocks[i].type = ids ? NGX_CLAUDE_TOOL_RESULT : NGX_CLAUDE_TEXT;
        blocks[i].content = &contents;
        blocks[i].id.data = (u_char *) (ids ? ids + i : "");
        blocks[i].id.len = (ids != NULL);
    }

    messages[n - 2].blocks.elts = blocks;
    messages[n - 2].blocks.nelts = ids ? 2 : 1;

    if (turn.session.continues && ids) {
        turn.session.results = 1;
        turn.engine.results = ngx_claude_index(pool, &blocks[0].id, 2,
                                        sizeof(ngx_claude_block_t));
        unit_needs(turn.engine.results != NULL, "memory");
    }
}


/* a plan in words */

static void
describe(ngx_claude_plan_t *plan)
{
    u_char      *p, *last;
    ngx_uint_t   i;

    p = (u_char *) got;
    last = p + sizeof(got);

    if (plan->rung == NGX_CLAUDE_RUNG_NONE) {
        p = ngx_slprintf(p, last, "-");

    } else {
        p = ngx_slprintf(p, last, "%V %uD:", ngx_claude_rung_name(plan->rung),
                         plan->keep);
    }

    for (i = 0; i < plan->nsteps; i++) {
        p = ngx_slprintf(p, last, "%s%s", i ? ", " : " ",
                         ngx_claude_plan_step(plan->steps[i].step));

        if (plan->steps[i].step == NGX_CLAUDE_STEP_REWIND
            || plan->steps[i].step == NGX_CLAUDE_STEP_REPLAY)
        {
            p = ngx_slprintf(p, last, " %uD", plan->steps[i].arg);
        }

        p = ngx_slprintf(p, last, "%s",
                         (plan->steps[i].wait == NGX_CLAUDE_WAIT_ANSWERS) ? "?"
                         : (plan->steps[i].wait == NGX_CLAUDE_WAIT_RESULT)
                           ? "!" : "");
    }

    switch (plan->fail) {

    case NGX_CLAUDE_FAIL_SESSION_MODEL:
        p = ngx_slprintf(p, last, "; another model");
        break;

    case NGX_CLAUDE_FAIL_SESSION_SYSTEM:
        p = ngx_slprintf(p, last, "; another system text");
        break;

    default:
        break;
    }

    *p = '\0';
}


static void
is(const char *want, const char *name)
{
    ngx_uint_t  ok;

    ok = (strcmp(got, want) == 0);

    unit_ok(ok, name);

    if (!ok) {
        printf("#   got  %s\n#   want %s\n", got, want);
    }
}


static void
test_plans(void)
{
    ngx_uint_t         i;
    ngx_claude_plan_t  plan;

    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {

        make_holding(tests[i].holds);
        make_turn(tests[i].wants);

        ngx_claude_plan(&plan, &holding, held, calls, &turn);

        describe(&plan);
        is(tests[i].plan, tests[i].name);
    }

    make_holding("-u");
    make_turn("Aqaq");
    profile.agent = 1;

    ngx_claude_plan(&plan, &holding, held, calls, &turn);
    describe(&plan);
    is("-", "an agent's history may be on disk: nobody's is none");

    make_holding("Aqa");
    make_turn("Az");
    profile.agent = 1;

    ngx_claude_plan(&plan, &holding, held, calls, &turn);
    describe(&plan);
    is("-", "an agent's process is never emptied");

    make_holding("B");
    make_turn("Aq");
    profile.agent = 1;

    ngx_claude_plan(&plan, &holding, held, calls, &turn);
    describe(&plan);
    is("recycled 0: model, settings?, ask", "  but one that is empty");
}


static void
test_new(void)
{
    ngx_claude_plan_t  plan;

    make_holding("-u");
    make_turn("Aqaq");
    ngx_claude_plan_new(&plan, &holding, &turn);
    describe(&plan);
    is("cold 0: model, settings?, replay 2!, ask", "a new process");

    make_holding("Aqa2r");
    make_turn("Aqaq");
    ngx_claude_plan_new(&plan, &holding, &turn);
    describe(&plan);
    is("cold 2: settings, ask, record", "one that has resumed a session");

    make_turn("Aqn");
    ngx_claude_plan_new(&plan, &holding, &turn);
    describe(&plan);
    is("cold 2: settings, ask, record", "  and gets what is new");

    holding.model.hash[0] ^= 1;
    ngx_claude_plan_new(&plan, &holding, &turn);
    describe(&plan);
    is("cold 2: settings, ask, record; another model",
       "  with another model");

    make_holding("Aqaqa2r");
    holding.base = 4;
    make_turn("Aqaq");
    ngx_claude_plan_new(&plan, &holding, &turn);
    describe(&plan);
    is("-", "one that has resumed more than the turn has");
}


static void
test_end(void)
{
    ngx_claude_plan_t  plan;

    make_holding("Aqaqa");
    make_turn("Aqaq");
    turn.engine.before = 0;

    ngx_claude_plan_end(&plan, &holding, held, &turn, NGX_CLAUDE_END_KEEP);
    describe(&plan);
    is("live 4:", "an answer that stays");

    make_holding("Aqaq");
    ngx_claude_plan_end(&plan, &holding, held, NULL, NGX_CLAUDE_END_UNDO);
    describe(&plan);
    is("live 2: rewind 2?", "a question that is taken back");

    ngx_claude_plan_end(&plan, &holding, held, &turn, NGX_CLAUDE_END_RESTATE);
    describe(&plan);
    is("live 2: rewind 2?, replay 3!, restate, sync?",
       "and is put in again, with the answer");

    holding.recorded = 1;
    ngx_claude_plan_end(&plan, &holding, held, &turn, NGX_CLAUDE_END_RESTATE);
    describe(&plan);
    is("live 2: rewind 2?, replay 3!, restate, mark!, rewind 4?",
       "  in a transcript");

    /* the results of calls, which are no line of the user's */

    held[2].line = 0;
    turn.engine.before = 2;
    ngx_claude_plan_end(&plan, &holding, held, &turn, NGX_CLAUDE_END_RESTATE);
    describe(&plan);
    is("-", "  not when only the process knew what was asked");

    ngx_memzero(&holding, sizeof(ngx_claude_holding_t));
    ngx_claude_plan_end(&plan, &holding, held, NULL, NGX_CLAUDE_END_UNDO);
    describe(&plan);
    is("live 0:", "nothing to take back");
}


static void
test_holding(void)
{
    ngx_uint_t         line;
    ngx_array_t        array;
    ngx_claude_link_t  link;

    unit_needs(ngx_array_init(&array, pool, 2, sizeof(ngx_claude_held_t))
               == NGX_OK, "memory");

    ngx_memzero(&holding, sizeof(ngx_claude_holding_t));
    link_text(&link, "A", 1);

    unit_ok(ngx_claude_holding_add(&holding, &array, &link, 1) == NGX_OK
            && ngx_claude_holding_answer(&holding, &array, &link) == NGX_OK
            && ngx_claude_holding_add(&holding, &array, &link, 2) == NGX_OK
            && ngx_claude_holding_add(&holding, &array, &link, 0) == NGX_OK
            && holding.nheld == 4, "four messages");

    unit_ok(!ngx_claude_holding_bare(&holding, array.elts, 4),
            "one answer is the CLI's own");
    unit_ok(ngx_claude_holding_bare(&holding, array.elts, 1), "before, none");

    unit_ok(ngx_claude_holding_cut(&holding, array.elts, 4) == 4,
            "all of it is no cut");
    unit_ok(ngx_claude_holding_cut(&holding, array.elts, 3) == 2,
            "a cut is before a question");

    holding.waiting = 1;
    unit_ok(ngx_claude_holding_cut(&holding, array.elts, 4) == 2,
            "calls that wait go with their question");
    holding.waiting = 0;

    line = ngx_claude_holding_rewind(&holding, &array, 2);

    unit_ok(line == 2 && holding.nheld == 2 && array.nelts == 2
            && holding.newest == 1, "the cut itself");

    line = ngx_claude_holding_rewind(&holding, &array, 0);

    unit_ok(line == 1 && holding.nheld == 0 && holding.newest == 0,
            "and down to nothing");
}


/* a holding whose every byte says something */

static void
make_full(void)
{
    ngx_memset(&holding, 0x55, sizeof(ngx_claude_holding_t));

    holding.nheld = 4;
    holding.used = 1;
    holding.named_session = 1;
    holding.recorded = 1;
    holding.waiting = 1;
}


/* whether there is a trace of a piece of memory in another one */

static ngx_uint_t
has(const void *in, size_t size, const void *what, size_t len)
{
    return memmem(in, size, what, len) != NULL;
}


static void
test_record(void)
{
    size_t                size;
    ngx_claude_hash_t     model;
    ngx_claude_holding_t  disk;

    size = sizeof(ngx_claude_holding_t);

    make_full();
    ngx_memcpy(&holding.tenant, "hash of a key       ", 20);
    ngx_memcpy(&holding.profile, "hash of a launch    ", 20);
    ngx_memcpy(&holding.root, "made of the key     ", 20);
    ngx_memcpy(&holding.session, "hash of a session   ", 20);
    ngx_memcpy(&holding.hint, "hash of a name      ", 20);
    ngx_memcpy(&holding.nonce, "a nonce....", NGX_CLAUDE_NONCE_LEN);
    ngx_memcpy(&holding.settings, "settings", 8);

    ngx_memset(&disk, 0xff, size);
    ngx_claude_holding_record(&disk, &holding, 2);

    unit_ok(disk.nheld == 2 && holding.nheld == 4,
            "a record has as many messages as it is of");
    unit_ok(!has(&disk, size, "hash of", 7) && !disk.used,
            "  not whose they are");
    unit_ok(!has(&disk, size, "made of", 7), "  nor what is made of that");
    unit_ok(!has(&disk, size, "a nonce", 4)
            && !has(&disk, size, "settings", 4),
            "  nor the nonce, nor the sum that is made of it");

    model = holding.model;
    unit_ok(ngx_claude_hash_same(&disk.model, &model)
            && disk.knobs == holding.knobs && disk.lines == holding.lines
            && disk.named_session,
            "  and all else");
}


static void
test_resume(void)
{
    ngx_uint_t            i;
    ngx_array_t           array;
    ngx_claude_link_t     tip;
    ngx_claude_held_t    *message;
    ngx_claude_holding_t  fresh, want, disk;

    static const uint32_t  numbers[] = {
        1, 3, 999999, 1000001, 1000002, 0x7ffffffe, 0x80000000, 0xffffffff,
        0xfffffffe
    };

    unit_needs(ngx_array_init(&array, pool, 2, sizeof(ngx_claude_held_t))
               == NGX_OK, "memory");

    link_text(&tip, "tip", 3);

    /* as a process begins; its key is known before its record is */

    ngx_memzero(&fresh, sizeof(ngx_claude_holding_t));
    ngx_memcpy(fresh.nonce, "0123456789", NGX_CLAUDE_NONCE_LEN);
    fresh.tenant.hash[0] = 1;
    fresh.profile.hash[0] = 2;
    fresh.used = 1;
    fresh.recorded = 1;
    fresh.mtime = 3;

    make_full();
    disk = holding;

    /* all that is taken over */

    want = fresh;
    want.model = disk.model;
    want.system = disk.system;
    want.nheld = 4;
    want.base = 4;

    holding = fresh;
    unit_ok(ngx_claude_holding_resume(&holding, &array, &disk, &tip)
            == NGX_OK && array.nelts == 4, "four messages are resumed");

    message = array.elts;
    unit_ok(ngx_claude_link_same(&message[3].link, &tip)
            && ngx_claude_hash_zero(&message[2].link)
            && message[3].line == 0 && !message[3].by_cli,
            "  of which the last is known");

    unit_ok(ngx_memcmp(&holding, &want, sizeof(ngx_claude_holding_t)) == 0,
            "  with model and system text, and nothing else of a record");

    /* what the disk says of key and state is nothing to a new process */

    ngx_memset(&disk, 0xff, sizeof(ngx_claude_holding_t));
    disk.nheld = 4;
    disk.model = want.model;
    disk.system = want.system;

    array.nelts = 0;
    holding = fresh;
    unit_ok(ngx_claude_holding_resume(&holding, &array, &disk, &tip)
            == NGX_OK
            && ngx_memcmp(&holding, &want, sizeof(ngx_claude_holding_t)) == 0,
            "a forged one does no more");

    array.nelts = 0;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        disk.nheld = numbers[i];

        holding = fresh;
        unit_ok(ngx_claude_holding_resume(&holding, &array, &disk, &tip)
                == NGX_ERROR && array.nelts == 0
                && ngx_memcmp(&holding, &fresh, sizeof(ngx_claude_holding_t))
                   == 0,
                "  with a number that nobody has recorded it does nothing");
    }

    disk.nheld = 0;
    unit_ok(ngx_claude_holding_resume(&holding, &array, &disk, &tip)
            == NGX_OK && array.nelts == 0
            && ngx_memcmp(&holding, &fresh, sizeof(ngx_claude_holding_t))
               == 0,
            "no message is nothing to resume");
}


/* whether the settings of the turn are those before, which are set to them */

static ngx_uint_t
same_settings(void)
{
    uint64_t    settings;
    ngx_uint_t  same;

    settings = ngx_claude_holding_settings(&holding, &turn);
    same = (settings == holding.settings);
    holding.settings = settings;

    return same;
}


static void
test_settings(void)
{
    ngx_str_t   stops[2];
    ngx_uint_t  i;

    static struct {
        ngx_str_t   *value;
        const char  *name;
    } settings[] = {
        { &turn.temperature, "a temperature" },
        { &turn.top_p, "top_p" },
        { &turn.tool_choice, "a choice" },
        { &turn.schema, "a schema" },
        { &turn.tools_json, "tools" }
    };

    ngx_memzero(&holding, sizeof(ngx_claude_holding_t));

    unit_ok(same_settings() && holding.settings == 0,
            "settings: none");

    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        ngx_str_set(settings[i].value, "1");
        unit_ok(!same_settings() && same_settings(), settings[i].name);

        ngx_str_set(settings[i].value, "2");
        unit_ok(!same_settings(), "  and another value");

        ngx_str_set(&turn.system, "be long");
        unit_ok(same_settings(), "  system text is none of them");
        ngx_str_set(&turn.system, "be brief");
    }

    ngx_str_set(&stops[0], "ab");
    ngx_str_set(&stops[1], "c");
    turn.stops.elts = stops;
    turn.stops.nelts = 2;
    unit_ok(!same_settings(), "stops");

    ngx_str_set(&stops[0], "a");
    ngx_str_set(&stops[1], "bc");
    unit_ok(!same_settings(), "  that part elsewhere");

    turn.stops.nelts = 1;
    unit_ok(!same_settings(), "  and one less");

    ngx_str_set(&stops[0], "a longer stop than 8 bytes");
    unit_ok(!same_settings(), "  a long one");
    ngx_str_set(&stops[0], "a longer stop than 8 bytez");
    unit_ok(!same_settings(), "  whose end is another");
    ngx_str_set(&stops[0], "b longer stop than 8 bytez");
    unit_ok(!same_settings(), "  and whose beginning is");

    holding.nonce[0] = 1;
    unit_ok(!same_settings(), "in another process the sum is another");

    turn.summarized = 1;
    unit_ok(!same_settings(), "thinking in words");

    turn.thoughtless = 1;
    unit_ok(!same_settings(), "  and none without thinking");

    turn.summarized = 0;
    unit_ok(same_settings(), "  which is a knob");

    turn.thoughtless = 0;
    turn.stops.nelts = 0;

    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        ngx_str_null(settings[i].value);
    }

    unit_ok(!same_settings() && holding.settings == 0,
            "and none again");
}


void
unit_tests(ngx_pool_t *p, ngx_str_t *dir)
{
    pool = p;

    ngx_str_set(&turn.model, "sonnet");
    ngx_str_set(&turn.system, "be brief");

    content.type = NGX_CLAUDE_TEXT;
    ngx_str_set(&content.text, "words");
    contents.elts = &content;
    contents.nelts = 1;

    ngx_str_set(&calls[0].id, "1");
    ngx_str_set(&calls[1].id, "2");

    test_plans();
    test_new();
    test_end();
    test_holding();
    test_record();
    test_resume();
    test_settings();
}
