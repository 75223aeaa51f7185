
/*
 * The waist: an answer's lines as blocks, a conversation's blocks as lines,
 * and the links of both.
 */


#include "unit.h"

#include <stdio.h>

#include "ngx_claude_driver_private.h"


/* a dot: the CLI would replace what is no image */
#define PNG  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD" \
             "hgGAWjR9awAAAABJRU5ErkJggg=="


static ngx_pool_t            *pool;
static ngx_str_t              dir;

static ngx_claude_turn_t      turn;
static ngx_claude_seat_t      seat;
static ngx_claude_process_t   process;
static ngx_claude_profile_t   profile;
static ngx_claude_zone_t      zone;
static u_char                 told_buf[65536];
static ngx_str_t              told;              /* by the handlers */


/* ---- the asker: what it is told, a line each ---- */

static void
tell(const char *what, u_char *p, size_t len)
{
    size_t  i;

    told.len = ngx_sprintf(told.data + told.len, "%s", what) - told.data;

    for (i = 0; i < len; i++) {

        if (p[i] == LF) {
            told.data[told.len++] = '\\';
            told.data[told.len++] = 'n';
            continue;
        }

        told.data[told.len++] = p[i];
    }
}


static void
tell_string(const char *what, ngx_str_t *s)
{
    if (s->len) {
        tell(what, s->data, s->len);
    }
}


static void
on_started(ngx_claude_turn_t *t)
{
    tell("started\n", NULL, 0);
}


static void
on_open(ngx_claude_turn_t *t, ngx_claude_block_t *block)
{
    static const char  *names[] = {
        "open text", "open image", "open document", "open call",
        "open result", "open thinking", "open redacted", "open other"
    };

    tell(names[block->type], NULL, 0);
    tell_string(" id ", &block->id);
    tell_string(" name ", &block->name);
    tell_string(" text ", &block->text);
    tell("\n", NULL, 0);
}


static void
on_delta(ngx_claude_turn_t *t, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
    tell("delta ", p, len);
    tell("\n", NULL, 0);
}


static void
on_other(ngx_claude_turn_t *t, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
    tell("other ", p, len);
    tell("\n", NULL, 0);
}


static void
on_close(ngx_claude_turn_t *t, ngx_claude_block_t *block)
{
    tell("close", NULL, 0);
    tell_string(" signature ", &block->signature);
    tell("\n", NULL, 0);
}


static void
on_finished(ngx_claude_turn_t *t)
{
    u_char  stop[NGX_INT_T_LEN];

    tell("finished stop ", stop,
         ngx_sprintf(stop, "%d", (int) t->answer.stop) - stop);
    tell_string(" stop_reason ", &t->answer.stop_reason);
    tell_string(" stop_sequence ", &t->answer.stop_sequence);
    tell("\n", NULL, 0);
}


static void
on_other_call(ngx_claude_turn_t *t)
{
    tell("another call\n", NULL, 0);
}


static const ngx_claude_turn_handlers_t  handlers = {
    .started = on_started,
    .open = on_open,
    .delta = on_delta,
    .other = on_other,
    .close = on_close,
    .finished = on_finished,
    .flush = on_other_call,
    .settled = on_other_call,
    .failed = on_other_call,
    .paid = on_other_call
};


/* ---- turns, and a process without a process ---- */

static void
make_turn(ngx_uint_t verbatim)
{
    unit_needs(ngx_claude_turn_init(&turn, pool, pool->log) == NGX_OK,
               "memory");

    turn.handlers = &handlers;
    turn.profile = &profile;
    turn.launch = &profile.hash;
    turn.verbatim = verbatim;
    turn.timeout = 60000;

    ngx_str_set(&turn.model, "sonnet");
    ngx_str_set(&turn.system, "sys");
}


static ngx_claude_block_t *
add(ngx_claude_role_e role, ngx_claude_block_e type, const char *text)
{
    ngx_claude_block_t  *block;

    block = ngx_claude_turn_add(&turn, role, type);
    unit_needs(block != NULL, "memory");

    block->text.data = (u_char *) text;
    block->text.len = ngx_strlen(text);

    return block;
}


static ngx_claude_block_t *
add_thought(const char *text, const char *signature)
{
    ngx_claude_block_t  *block;

    block = add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_THINKING, text);

    block->signature.data = (u_char *) signature;
    block->signature.len = ngx_strlen(signature);

    return block;
}


static ngx_claude_block_t *
add_call(ngx_claude_role_e role, const char *id, const char *input)
{
    ngx_claude_block_t  *block;

    block = add(role, (role == NGX_CLAUDE_ASSISTANT) ? NGX_CLAUDE_TOOL_USE
                                                     : NGX_CLAUDE_TOOL_RESULT,
                input);

    block->id.data = (u_char *) id;
    block->id.len = ngx_strlen(id);

    if (role == NGX_CLAUDE_ASSISTANT) {
        ngx_str_set(&block->name, "get");
    }

    return block;
}


/* a text, or what an image holds, in a result */

static void
add_inner(ngx_claude_block_t *result, ngx_claude_block_e type,
    const char *text)
{
    ngx_claude_block_t  *block;

    if (result->content == NULL) {
        result->content = ngx_array_create(pool, 2,
                                           sizeof(ngx_claude_block_t));
        unit_needs(result->content != NULL, "memory");
    }

    block = ngx_array_push(result->content);
    unit_needs(block != NULL, "memory");

    ngx_memzero(block, sizeof(ngx_claude_block_t));

    block->type = type;
    block->text.data = (u_char *) text;
    block->text.len = ngx_strlen(text);

    if (type == NGX_CLAUDE_IMAGE) {
        ngx_str_set(&block->media, "image/png");
    }
}


static void
make_seat(ngx_claude_link_t *before)
{
    if (seat.timer.timer_set) {
        ngx_del_timer(&seat.timer);
    }

    ngx_memzero(&seat, sizeof(ngx_claude_seat_t));
    ngx_memzero(&process, sizeof(ngx_claude_process_t));

    ngx_claude_outbox_init(&process.outbox, pool->log);

    process.pool = pool;
    process.log = pool->log;
    process.profile = &profile;
    process.data = &seat;

    seat.pool = pool;
    seat.process = &process;
    seat.outbox = &process.outbox;
    seat.state = NGX_CLAUDE_SEAT_ASKED;
    seat.turn = &turn;
    seat.process_row = -1;
    seat.timer.data = &seat;
    seat.timer.log = pool->log;

    ngx_memcpy(seat.holding.nonce, "0123456789", NGX_CLAUDE_NONCE_LEN);

    unit_needs(ngx_array_init(&seat.held, pool, 4, sizeof(ngx_claude_held_t))
               == NGX_OK, "memory");

    turn.engine.seat = &seat;

    if (before) {
        ngx_claude_link_begin(&seat.reply.answer, before, turn.verbatim);
    }
}


/* ---- lines in ---- */

static void
hear(void *data, ngx_claude_cli_line_t *line)
{
    if (seat.turn) {
        driver_move(&seat, driver_event(&seat, line));
    }
}


/* in pieces of so many bytes; the handlers add to what was told */

static void
read_lines(ngx_str_t *lines, size_t n)
{
    size_t                    len, i;
    u_char                    piece[16];
    ngx_int_t                 rc;
    ngx_claude_cli_reader_t  *reader;

    told.data = told_buf;
    told.len = 0;

    reader = ngx_claude_cli_reader(pool, hear, NULL);
    unit_needs(reader != NULL, "memory");

    rc = NGX_OK;

    for (i = 0; i < lines->len && rc == NGX_OK; i += len) {
        len = ngx_min(n, lines->len - i);

        /* what was read is gone after the call */

        ngx_memcpy(piece, lines->data + i, len);
        rc = ngx_claude_cli_read(reader, piece, len);
        ngx_memset(piece, 'x', sizeof(piece));
    }

    unit_ok(rc == NGX_OK, "the lines are read");
}


static ngx_claude_link_t *
links(void)
{
    ngx_claude_link_t  *chain;

    chain = ngx_claude_chain(&turn);
    unit_needs(chain != NULL, "memory");

    return chain;
}


/* the turn that has its answer: with what comes back, and one question more */

static ngx_claude_link_t *
answered(ngx_uint_t verbatim)
{
    ngx_claude_block_t  *block;

    make_turn(verbatim);

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "hi");

    if (verbatim) {
        (void) add_thought("let me \"think\" \xc3\xbc", "c2lnbmVkCg==");
        (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_REDACTED, "cmVkYWN0ZWQ=");
        (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, " Look here. ");
        block = add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
                    "{\"input\":{\"query\":\"a\xc3\xa9\"},"
                    "\"id\":\"srvtoolu_1\",\"name\":\"web_search\","
                    "\"type\":\"server_tool_use\"}");
        block = add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
                    "{\"type\":\"web_search_tool_result\","
                    "\"tool_use_id\":\"srvtoolu_1\",\"content\":[{\"type\":"
                    "\"web_search_result\",\"title\":\"A\",\"n\":1,"
                    "\"url\":\"http://a/\"}]}");
        block = add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, "So: yes");

    } else {
        block = add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT,
                    "Look here. So: yes");
    }

    unit_needs(block != NULL, "memory");

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "more");

    return links();
}


static void
test_answer(ngx_uint_t verbatim)
{
    ngx_str_t           lines, events;
    ngx_claude_held_t  *held;

    static ngx_str_t  tool = ngx_string("get");

    lines = unit_file(pool, &dir, "answer.jsonl");
    events = unit_file(pool, &dir, "answer.events");

    make_turn(verbatim);
    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "hi");
    make_seat(&links()[1]);

    read_lines(&lines, 11);

    unit_same(&told, &events, "blocks are told as the stream has them");

    held = seat.held.elts;

    unit_ok(seat.held.nelts == 1
            && ngx_claude_link_same(&held[0].link, &answered(verbatim)[2]),
            verbatim ? "an answer that comes back block by block is known"
                     : "an answer that comes back as a text is known");

    lines = unit_file(pool, &dir, "odd.jsonl");
    events = unit_file(pool, &dir, "odd.events");

    make_turn(verbatim);
    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "hi");
    *(ngx_str_t *) ngx_array_push(&turn.tools) = tool;
    make_seat(&links()[1]);

    read_lines(&lines, 7);

    unit_same(&told, &events, "so are those of an odd stream");
}


/* ---- lines out ---- */

/* what the process writes to */

static void
open_pipe(int *fds)
{
    static ngx_event_t       write;
    static ngx_connection_t  c;

    unit_needs(pipe(fds) == 0, "a pipe");

    c.fd = fds[1];
    c.write = &write;
    write.ready = 1;
    process.in = &c;
}


static ngx_str_t
written(int *fds)
{
    u_char     *p;
    ssize_t     n;
    ngx_str_t   text;

    text.data = ngx_pnalloc(pool, 65536);
    unit_needs(text.data != NULL, "memory");

    ngx_claude_process_flush(&process);

    n = read(fds[0], text.data, 65536);
    unit_needs(n > 0 && n < 65536, "what was written");

    text.len = n;

    /* uuids are others' to test */

    for (p = text.data;
         (p = ngx_strlchr(p, text.data + text.len, 'u')) != NULL;
         p++)
    {
        if ((size_t) (text.data + text.len - p) > 43
            && ngx_memcmp(p, "uuid\":\"", 7) == 0)
        {
            p[7] = '*';
            ngx_memmove(p + 8, p + 43, text.data + text.len - (p + 43));
            text.len -= 35;
        }
    }

    return text;
}


static void
test_messages(void)
{
    int                    fds[2];
    ngx_str_t              lines, want, rpc;
    ngx_uint_t             i, n;
    ngx_claude_block_t    *block, error, fine;
    ngx_claude_message_t  *message;

    make_turn(0);

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "q \"1\"");
    (void) add_thought("let me \"think\"", "c2ln");
    (void) add_thought("", "ZW1wdHk=");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_REDACTED, "cmVk");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, "a");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
               "{\"type\":\"server_tool_use\",\"id\":\"srvtoolu_1\","
               "\"name\":\"web_search\",\"input\":{\"query\":\"x\"}}");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
               "{\"type\":\"web_search_tool_result\","
               "\"tool_use_id\":\"srvtoolu_1\",\"content\":[]}");
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_1", "{\"a\":1}");
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_2", "{}");
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_3", "{}");

    block = add_call(NGX_CLAUDE_USER, "toolu_1", "");
    add_inner(block, NGX_CLAUDE_TEXT, "ok");
    add_inner(block, NGX_CLAUDE_IMAGE, PNG);
    fine = *block;

    block = add_call(NGX_CLAUDE_USER, "toolu_2", "");
    add_inner(block, NGX_CLAUDE_TEXT, "boom");
    block->is_error = 1;
    error = *block;

    block = add_call(NGX_CLAUDE_USER, "toolu_3", "");
    add_inner(block, NGX_CLAUDE_TEXT, "b");
    add_inner(block, NGX_CLAUDE_TEXT, "c");
    block->is_error = 1;

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_OTHER,
               "{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\","
               "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, "b");
    block = add_call(NGX_CLAUDE_USER, "toolu_4", "");
    block->is_error = 1;

    make_seat(NULL);

    open_pipe(fds);

    message = turn.messages.elts;
    n = turn.messages.nelts;

    for (i = 0; i < n; i++) {
        ngx_str_set(&message[i].model, "claude-opus-5-5");

        unit_needs(ngx_claude_cli_message(&process.outbox, seat.holding.nonce,
                                          &message[i], i + 1, i + 1 == n)
                   == NGX_OK, "memory");
    }

    ngx_str_set(&rpc, "rpc1");

    unit_needs(ngx_claude_cli_rpc_result(&process.outbox, &rpc, 5, &error)
               == NGX_OK
               && ngx_claude_cli_rpc_result(&process.outbox, &rpc, 5, &fine)
                  == NGX_OK, "memory");

    lines = written(fds);
    want = unit_file(pool, &dir, "messages.jsonl");

    unit_same(&lines, &want, "messages are written as the API has them");

    (void) close(fds[0]);
    (void) close(fds[1]);
}


/* a line without memory leaves what is before and behind it as it is */

static void
test_line_lost(ngx_uint_t waits)
{
    int                fds[2];
    u_char             id_buf[1000];
    ngx_str_t          lines, want, id, other;
    ngx_uint_t         i;
    ngx_claude_out_t  *out;

    static u_char  line_buf[3000];

    make_seat(NULL);
    open_pipe(fds);

    id.data = id_buf;
    id.len = sizeof(id_buf);
    ngx_memset(id_buf, '"', sizeof(id_buf));

    ngx_str_set(&other, "a text that is so long that the outbox has no need "
                "to copy it, and refers to it");

    want.data = line_buf;
    want.len = ngx_sprintf(line_buf, "%V,\"%V\"\n", &other, &other)
               - line_buf;

    if (waits) {
        out = ngx_claude_outbox_begin(&process.outbox);
        ngx_claude_out(out, "%V,%J\n", &other, &other);
        unit_ok(ngx_claude_outbox_end(&process.outbox) == NGX_OK, "a line");

    } else {
        want.len = 0;
    }

    out = ngx_claude_outbox_begin(&process.outbox);
    ngx_claude_out(out, "lost%J%J", &other, &id);

    for (i = 0; i < 5000; i++) {
        ngx_claude_out(out, "%ui", i);
    }

    out->failed = 1;
    unit_ok(ngx_claude_outbox_end(&process.outbox) == NGX_ERROR,
            "a line without memory fails");

    unit_ok(ngx_claude_cli_rpc_empty(&process.outbox, &id, 7) == NGX_OK,
            "and is followed by others");
    ngx_memset(id_buf, 'x', sizeof(id_buf));

    want.len = ngx_sprintf(want.data + want.len,
                           "{\"type\":\"control_response\",\"response\":"
                           "{\"subtype\":\"success\",\"request_id\":\"")
               - want.data;

    for (i = 0; i < id.len; i++) {
        want.data[want.len++] = '\\';
        want.data[want.len++] = '"';
    }

    want.len = ngx_sprintf(want.data + want.len,
                           "\",\"response\":{\"mcp_response\":{\"jsonrpc\":"
                           "\"2.0\",\"id\":7,\"result\":{}}}}}\n")
               - want.data;

    lines = written(fds);

    unit_same(&lines, &want, "nothing of it is written");

    (void) close(fds[0]);
    (void) close(fds[1]);
}


static void
test_text(void)
{
    u_char             *data;
    ngx_str_t           got, want, long_one;
    ngx_uint_t          i;
    ngx_claude_out_t   *out;
    ngx_claude_text_t   text;

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = pool;

    out = ngx_claude_text_begin(&text);
    ngx_claude_out_escape(out, (u_char *) "a\"b", 3);
    unit_needs(ngx_claude_text_end(&text) == NGX_OK, "memory");

    out = ngx_claude_text_begin(&text);

    for (i = 0; i < 5000; i++) {
        ngx_claude_out(out, "%ui", i);
    }

    out->failed = 1;
    unit_ok(ngx_claude_text_end(&text) == NGX_ERROR,
            "a text without memory fails");

    got.data = text.data;
    got.len = text.len;
    ngx_str_set(&want, "a\\\"b");

    unit_same(&got, &want, "and is as it was");

    /* in slices, the last of which ends where the room does */

    long_one.len = 10000;
    long_one.data = ngx_pnalloc(pool, long_one.len);
    unit_needs(long_one.data != NULL, "memory");
    ngx_memset(long_one.data, '\n', long_one.len);

    unit_needs(ngx_claude_text_init(&text, pool, 2 * long_one.len + 3)
               == NGX_OK, "memory");

    data = text.data;
    ngx_claude_out(ngx_claude_text_begin(&text), "%J", &long_one);
    unit_needs(ngx_claude_text_end(&text) == NGX_OK, "memory");

    unit_ok(text.len == 2 * long_one.len + 2 && text.data == data
            && ngx_strncmp(text.data, "\"\\n\\n", 5) == 0
            && ngx_strncmp(text.data + text.len - 3, "\\n\"", 3) == 0,
            "a text with room stays where it is");
}


/* ---- links ---- */

static void
hex_is(ngx_claude_link_t *link, const char *hex, const char *name)
{
    u_char  text[2 * sizeof(link->hash)];

    (void) ngx_hex_dump(text, link->hash, sizeof(link->hash));

    unit_ok(ngx_memcmp(text, hex, sizeof(text)) == 0, name);
}


/* processes of an earlier version, and their records, have these */

static void
test_links_kept(ngx_uint_t verbatim)
{
    ngx_claude_link_t   *chain;
    ngx_claude_block_t  *block;

    make_turn(verbatim);

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "hi");
    block = add(NGX_CLAUDE_USER, NGX_CLAUDE_IMAGE, "iVBO");
    ngx_str_set(&block->media, "image/png");
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, " Look here.\n");
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_1", "{ \"a\": 1.0 }");
    block = add_call(NGX_CLAUDE_USER, "toolu_1", "");
    add_inner(block, NGX_CLAUDE_TEXT, "ok");

    chain = links();

    hex_is(&chain[0], "84be54a782e45a0cb37a77e96f0673ade24c3076", "the root");
    hex_is(&chain[1], "3becea7541591d6eec8891e6adc9060e5508a285",
           "a text and an image");
    hex_is(&chain[2], "0c9e36e889207406df46508d19f322d5fb1d60aa",
           "an answer with a call");
    hex_is(&chain[3], "99acc0b1a0697e05f65c964b01fe7cbaca73cded", "a result");
}


/* slices of any size make the same links, and no slice is much longer */

static void
test_links_slices(ngx_uint_t verbatim)
{
    size_t               size;
    ngx_int_t            rc;
    ngx_uint_t           i, n, same;
    ngx_claude_link_t   *whole;
    ngx_claude_block_t  *block;

    static char  text[5000], input[NGX_CLAUDE_CHAIN_CANONICAL + 100];

    memset(text, ' ', sizeof(text) - 1);
    memcpy(text + 100, "words", 5);

    memset(input, ' ', sizeof(input) - 1);
    input[0] = '{';
    input[sizeof(input) - 2] = '}';

    make_turn(verbatim);

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, text);
    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_IMAGE, "");
    (void) add_thought(text, text);
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, text);
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_REDACTED, text);
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, text);
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_1", "{\"a\":1}");
    (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_2", input);
    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER, input);
    block = add_call(NGX_CLAUDE_USER, "toolu_1", "");
    add_inner(block, NGX_CLAUDE_TEXT, text);
    add_inner(block, NGX_CLAUDE_TEXT, "");
    block = add_call(NGX_CLAUDE_USER, "toolu_2", "");
    block->content = NULL;

    whole = links();
    same = 1;

    for (size = 1; size < 100000; size = 3 * size + 1) {

        turn.engine.chain = NULL;
        n = 0;

        do {
            rc = ngx_claude_chain_slice(&turn, size);
            n++;
        } while (rc == NGX_AGAIN);

        unit_needs(rc == NGX_OK, "memory");

        for (i = 0; i <= turn.messages.nelts; i++) {
            same = same && ngx_claude_link_same(
                               &whole[i],
                               (ngx_claude_link_t *) turn.engine.links + i);
        }

        same = same && n >= 5 * sizeof(text) / size;
    }

    unit_ok(same, verbatim ? "links in slices, verbatim" : "links in slices");
}


typedef enum {
    V_TEXT = 0, V_THOUGHT, V_SIGNATURE, V_NO_SIGNATURE, V_OTHER_THOUGHT,
    V_AS_SIGNATURE, V_REDACTED, V_REDACTED_DATA, V_TWO_THOUGHTS,
    V_THOUGHT_BEHIND, V_THOUGHT_AFTER_CALL, V_CALL, V_OTHER, V_OTHER_INPUT,
    V_OTHER_BEHIND, V_TWO_TEXTS, V_RESULT, V_ERROR, V_USER_OTHER,
    V_USER_OTHER2, V_N
} variant_e;


static void
make_variant(variant_e v)
{
    ngx_claude_block_t  *block;

    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "hi");

    switch (v) {
    case V_THOUGHT:        (void) add_thought("hm", "sig"); break;
    case V_SIGNATURE:      (void) add_thought("hm", "sih"); break;
    case V_NO_SIGNATURE:   (void) add_thought("hm", ""); break;
    case V_OTHER_THOUGHT:  (void) add_thought("hn", "sig"); break;
    case V_AS_SIGNATURE:   (void) add_thought("hms", "ig"); break;
    case V_TWO_THOUGHTS:   (void) add_thought("hm", "sig");
                           (void) add_thought("hm", "sig"); break;
    case V_REDACTED:       (void) add(NGX_CLAUDE_ASSISTANT,
                                      NGX_CLAUDE_REDACTED, "hm"); break;
    case V_REDACTED_DATA:  (void) add(NGX_CLAUDE_ASSISTANT,
                                      NGX_CLAUDE_REDACTED, "hn"); break;
    case V_OTHER:          (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
                                "{\"type\":\"x\",\"input\":{}}"); break;
    case V_OTHER_INPUT:    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
                                "{\"type\":\"x\",\"input\":{\"a\":1}}"); break;
    default:               break;
    }

    (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT, "a");

    switch (v) {
    case V_THOUGHT_BEHIND: (void) add_thought("hm", "sig"); break;
    case V_TWO_TEXTS:      (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_TEXT,
                                      "b"); break;
    case V_OTHER_BEHIND:   (void) add(NGX_CLAUDE_ASSISTANT, NGX_CLAUDE_OTHER,
                                "{\"type\":\"x\",\"input\":{}}"); break;
    case V_CALL:
    case V_THOUGHT_AFTER_CALL:
                           (void) add_call(NGX_CLAUDE_ASSISTANT, "toolu_1",
                                           "{}"); break;
    default:               break;
    }

    if (v == V_THOUGHT_AFTER_CALL) {
        (void) add_thought("hm", "sig");
    }

    switch (v) {
    case V_RESULT:
    case V_ERROR:          block = add_call(NGX_CLAUDE_USER, "toolu_1", "");
                           add_inner(block, NGX_CLAUDE_TEXT, "ok");
                           block->is_error = (v == V_ERROR); break;
    case V_USER_OTHER:     (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_OTHER,
                                      "{\"type\":\"x\"}"); break;
    case V_USER_OTHER2:    (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_OTHER,
                                      "{\"type\":\"y\"}"); break;
    default:               (void) add(NGX_CLAUDE_USER, NGX_CLAUDE_TEXT, "c");
    }
}


static ngx_claude_link_t
variant(variant_e v, ngx_uint_t verbatim)
{
    make_turn(verbatim);
    make_variant(v);

    return links()[turn.messages.nelts];
}


static void
test_links_part(void)
{
    ngx_uint_t         i, j, same;
    ngx_claude_link_t  link[V_N], plain;

    same = 0;

    for (i = 0; i < V_N; i++) {
        link[i] = variant(i, 1);

        for (j = 0; j < i; j++) {

            if (ngx_claude_link_same(&link[i], &link[j])) {
                same++;
                printf("#   %d and %d\n", (int) i, (int) j);
            }
        }
    }

    unit_ok(same == 0, "no two conversations have one link, verbatim");

    plain = variant(V_TEXT, 0);

    unit_ok(ngx_claude_link_same(&plain, &link[V_TEXT]),
            "of texts alone there is one link");

    same = 1;

    for (i = V_THOUGHT; i <= V_THOUGHT_BEHIND; i++) {
        link[i] = variant(i, 0);
        same = same && ngx_claude_link_same(&plain, &link[i]);
    }

    unit_ok(same, "else thinking is no part of a link");

    link[V_CALL] = variant(V_CALL, 0);
    link[V_RESULT] = variant(V_RESULT, 0);
    link[V_ERROR] = variant(V_ERROR, 0);

    unit_ok(!ngx_claude_link_same(&plain, &link[V_CALL])
            && !ngx_claude_link_same(&link[V_RESULT], &link[V_ERROR]),
            "but a call is, and that a tool failed");
}


void
unit_tests(ngx_pool_t *p, ngx_str_t *d)
{
    static ngx_claude_counters_t  counters;

    pool = p;
    dir = *d;

    unit_needs(ngx_event_timer_init(pool->log) == NGX_OK, "timers");

    zone.counters = &counters;
    driver_zone = &zone;

    test_answer(1);
    test_answer(0);
    test_messages();
    test_line_lost(0);
    test_line_lost(1);
    test_text();
    test_links_kept(0);
    test_links_slices(0);
    test_links_kept(1);
    test_links_slices(1);
    test_links_part();
}
