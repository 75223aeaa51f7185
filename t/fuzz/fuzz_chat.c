
/*
 * A chat request, from its body to its turns, through the handlers of the two
 * endpoints: either turns that the CLI takes as they are, or an error that a
 * client can read.  Each piece of the body ends where its memory ends, some
 * are in a file.
 *
 * It is asked three times.  What is allocated is full of something else each
 * time, so that an answer that has any of it in it differs; and the third time
 * all of the body is kept, so that one differs that read what is not.
 *
 * A first line that begins with # is not of the body: it has flags (1
 * sampling, 2 the older endpoint, 4 an agent, 8 a worker that refuses), a
 * space, and the X-Session-Id.
 */


#include "fuzz.h"

#include <sys/mman.h>
#include <yajl/yajl_parse.h>


#define CHAT_SAMPLING     0x01
#define CHAT_COMPLETIONS  0x02
#define CHAT_AGENT        0x04
#define CHAT_REFUSED      0x08

#define CHAT_FILES        4


typedef struct {
    ngx_int_t     rc;                   /* 0: it has turns */
    ngx_uint_t    turns;
    uint64_t      digest;               /* of all that is in them */
    u_char       *json;                 /* what the client gets */
    size_t        len;
} chat_result_t;


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);
size_t LLVMFuzzerCustomMutator(uint8_t *p, size_t len, size_t max,
    unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *p, size_t len, size_t max);

/* the linker puts these in the place of the real ones: see the Makefile */

void *__real_ngx_alloc(size_t size, ngx_log_t *log);
void *__wrap_ngx_alloc(size_t size, ngx_log_t *log);
ngx_claude_json_reader_t *__real_ngx_claude_json_reader(ngx_pool_t *pool,
    ngx_pool_t *cells, const ngx_claude_json_field_t *fields);
ngx_claude_json_reader_t *__wrap_ngx_claude_json_reader(ngx_pool_t *pool,
    ngx_pool_t *cells, const ngx_claude_json_field_t *fields);
void __wrap_ngx_http_finalize_request(ngx_http_request_t *r, ngx_int_t rc);
ngx_int_t __wrap_ngx_claude_turn_start(ngx_claude_turn_t *turn);
void __wrap_ngx_claude_turn_abort(ngx_claude_turn_t *turn);


static u_char          chat_fill;       /* what unused memory is full of */
static ngx_uint_t      chat_flags;
static ngx_uint_t      chat_keep_all;
static fuzz_request_t  *chat_fake;
static chat_result_t   *chat_result;


void *
__wrap_ngx_alloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = __real_ngx_alloc(size, log);

    if (p) {
        ngx_memset(p, chat_fill, size);
    }

    return p;
}


/* all members, in place of those that the dialect names */

ngx_claude_json_reader_t *
__wrap_ngx_claude_json_reader(ngx_pool_t *pool, ngx_pool_t *cells,
    const ngx_claude_json_field_t *fields)
{
    return __real_ngx_claude_json_reader(pool, cells,
                      chat_keep_all ? ngx_claude_json_all : fields);
}


/* messages are made on the stack */

static ngx_uint_t __attribute__((noinline))
chat_fill_stack(void)
{
    volatile u_char  room[32768];
    size_t           i;

    for (i = 0; i < sizeof(room); i++) {
        room[i] = chat_fill;
    }

    return room[chat_fill];
}


static void
chat_digest(const void *data, size_t len)
{
    size_t         i;
    const u_char  *p = data;

    for (i = 0; i < len; i++) {
        chat_result->digest = (chat_result->digest ^ p[i]) * 0x100000001b3ull;
    }

    chat_result->digest = (chat_result->digest ^ len) * 0x100000001b3ull;
}


static void
chat_digest_text(ngx_str_t *s)
{
    chat_digest(s->data, s->len);
}


/* JSON as the API or the CLI reads it, of any depth */

static void
chat_json(ngx_str_t *s)
{
    yajl_handle  yajl;

    if (s->len == 0) {
        return;
    }

    yajl = yajl_alloc(NULL, NULL, NULL);

    fuzz_check(yajl_parse(yajl, s->data, s->len) == yajl_status_ok);
    fuzz_check(yajl_complete_parse(yajl) == yajl_status_ok);

    yajl_free(yajl);
}


static void
chat_session_header(fuzz_request_t *fake, ngx_str_t value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&fake->request.headers_in.headers);
    fuzz_check(h != NULL);

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    ngx_str_set(&h->key, "X-Session-Id");
    h->lowcase_key = (u_char *) "x-session-id";
    h->hash = 1;
    h->value = fuzz_copy(fake->pool, value, 0);
}


/* a UUID, which is all that may go into the answer's header */

static void
chat_session(ngx_str_t *session)
{
    size_t  i;
    u_char  ch;

    fuzz_check(session->len == 36);

    for (i = 0; i < 36; i++) {
        ch = session->data[i] | 0x20;

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            fuzz_check(session->data[i] == '-');

        } else {
            fuzz_check((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f'));
        }
    }
}


static void
chat_text(ngx_str_t *s)
{
    fuzz_check(s->len != 0);
    fuzz_check(fuzz_utf8(s->data, s->len));
    fuzz_check(memchr(s->data, '\0', s->len) == NULL);

    chat_digest_text(s);
}


/* its text, and the results of a tool that are in it */

static void
chat_block(ngx_claude_block_t *block)
{
    ngx_uint_t           i;
    ngx_claude_block_t  *inner;

    if (block->type != NGX_CLAUDE_TOOL_RESULT) {
        chat_text(&block->text);
    }

    if (block->type == NGX_CLAUDE_TOOL_USE) {
        chat_json(&block->text);
    }

    chat_digest_text(&block->id);
    chat_digest_text(&block->name);
    chat_digest_text(&block->media);

    inner = block->content ? block->content->elts : NULL;

    for (i = 0; block->content && i < block->content->nelts; i++) {
        chat_text(&inner[i].text);
    }
}


static void
chat_messages(ngx_claude_turn_t *turn)
{
    size_t                 spaces;
    ngx_str_t             *s;
    ngx_uint_t             i, j;
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    message = turn->messages.elts;

    fuzz_check(turn->messages.nelts % 2 == 1);

    for (i = 0; i < turn->messages.nelts; i++) {

        fuzz_check(message[i].role == ((i % 2) ? NGX_CLAUDE_ASSISTANT
                                               : NGX_CLAUDE_USER));
        fuzz_check(message[i].blocks.nelts != 0);

        block = message[i].blocks.elts;

        for (j = 0; j < message[i].blocks.nelts; j++) {
            s = &block[j].text;
            chat_block(&block[j]);

            if (block[j].type != NGX_CLAUDE_TEXT) {
                continue;
            }

            for (spaces = 0; spaces < s->len; spaces++) {
                if (!strchr(" \t\r\n\v\f", s->data[spaces])) {
                    break;
                }
            }

            fuzz_check(spaces < s->len);
        }
    }
}


static void
chat_turn(ngx_claude_turn_t *turn)
{
    ngx_str_t   *s;
    ngx_uint_t   i;

    chat_messages(turn);

    chat_text(&turn->system);
    chat_text(&turn->model);
    chat_text(&chat_fake->ctx.model);

    fuzz_check(turn->max_tokens >= 0 && turn->max_tokens <= 10000000);
    fuzz_check(turn->stops.nelts <= 4);

    s = turn->stops.elts;

    for (i = 0; i < turn->stops.nelts; i++) {
        chat_text(&s[i]);
    }

    s = turn->tools.elts;

    for (i = 0; i < turn->tools.nelts; i++) {
        chat_text(&s[i]);
        fuzz_check(s[i].len <= 128);
    }

    fuzz_check(turn->temperature.len < 64 && turn->top_p.len < 64);
    fuzz_check((turn->tools.nelts == 0) == (turn->tools_json.len == 0));

    chat_json(&turn->tools_json);
    chat_json(&turn->tool_choice);
    chat_json(&turn->schema);
    chat_json(&turn->temperature);
    chat_json(&turn->top_p);

    chat_digest_text(&turn->tools_json);
    chat_digest_text(&turn->tool_choice);
    chat_digest_text(&turn->schema);
    chat_digest_text(&turn->temperature);
    chat_digest_text(&turn->call_id);

    chat_session(&chat_fake->ctx.session);
}


ngx_int_t
__wrap_ngx_claude_turn_start(ngx_claude_turn_t *turn)
{
    fuzz_check(chat_result->rc == 0);

    chat_turn(turn);
    chat_result->turns++;

    if (chat_flags & CHAT_REFUSED) {
        turn->answer.fail = NGX_CLAUDE_FAIL_QUEUE_FULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
__wrap_ngx_claude_turn_abort(ngx_claude_turn_t *turn)
{
}


void
__wrap_ngx_http_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    fuzz_check(r == &chat_fake->request);
    fuzz_check(chat_result->rc == 0);

    chat_result->rc = rc;
}


static ngx_int_t
chat_header_filter(ngx_http_request_t *r)
{
    fuzz_check(r->headers_out.content_length_n > 0);

    return NGX_OK;
}


static ngx_int_t
chat_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    u_char       *p;
    ngx_chain_t  *cl;

    fuzz_check(chat_result->json == NULL);
    fuzz_check(in != NULL);

    for (cl = in; cl; cl = cl->next) {
        fuzz_check(cl->buf->pos < cl->buf->last);
        chat_result->len += cl->buf->last - cl->buf->pos;
    }

    fuzz_check(chat_result->len == (size_t) r->headers_out.content_length_n);

    p = malloc(chat_result->len);
    fuzz_check(p != NULL);
    chat_result->json = p;

    for (cl = in; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return NGX_OK;
}


/* what nginx does of a status: its own page, for the filters to replace */

static void
chat_page(void)
{
    ngx_buf_t            buf;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = &chat_fake->request;
    r->err_status = chat_result->rc;

    fuzz_check(ngx_http_top_header_filter(r) == NGX_OK);

    ngx_memzero(&buf, sizeof(ngx_buf_t));
    buf.last_buf = 1;
    out.buf = &buf;
    out.next = NULL;

    fuzz_check(ngx_http_top_body_filter(r, &out) == NGX_OK);
}


static void
chat_error(void)
{
    ngx_int_t                 rc;
    fuzz_tree_t              *node, *type, *param;
    ngx_http_claude_error_t  *error;

    rc = chat_result->rc;
    error = &chat_fake->ctx.error;

    fuzz_check(rc == 400 || rc == 404 || rc == 410
               || ((chat_flags & CHAT_REFUSED) && rc == 429));
    fuzz_check(error->status == (ngx_uint_t) rc);

    chat_page();

    fuzz_check(error->type.len != 0);
    fuzz_check(error->message.len != 0);
    fuzz_check(error->message.len <= 1024);
    fuzz_check(fuzz_utf8(error->message.data, error->message.len));
    fuzz_check(fuzz_utf8(error->param.data, error->param.len));
    fuzz_check(fuzz_utf8(chat_result->json, chat_result->len));

    node = fuzz_json(chat_fake->pool, chat_result->json, chat_result->len);
    node = fuzz_member(node, "error", NGX_CLAUDE_JSON_OBJECT);

    type = fuzz_member(node, "type", NGX_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&type->value, &error->type));

    param = fuzz_tree_member(node, "param");
    fuzz_check(param != NULL);
    fuzz_check(fuzz_same(&param->value, &error->param));

    node = fuzz_member(node, "message", NGX_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&node->value, &error->message));
}


/* a piece of the body, with the end of the memory behind it, or in a file */

static ngx_buf_t *
chat_buf(fuzz_input_t *in, size_t n, ngx_file_t *file)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(chat_fake->pool);
    fuzz_check(b != NULL);

    if (file && fuzz_number(in, 8) == 0) {
        file->fd = memfd_create("body", MFD_CLOEXEC);
        fuzz_check(file->fd != NGX_INVALID_FILE);
        fuzz_check(write(file->fd, in->p, n) == (ssize_t) n);

        file->log = &chat_fake->log;
        ngx_str_set(&file->name, "body");

        b->file = file;
        b->file_last = n;
        b->in_file = 1;

    } else {
        b->start = malloc(n);
        fuzz_check(b->start != NULL);
        ngx_memcpy(b->start, in->p, n);

        b->pos = b->start;
        b->last = b->start + n;
        b->end = b->last;
        b->temporary = 1;
    }

    in->p += n;

    return b;
}


static void
chat_body(fuzz_input_t *in, ngx_file_t *files)
{
    ngx_uint_t                n;
    ngx_chain_t              *cl, **last;
    ngx_http_request_body_t  *rb;

    rb = ngx_pcalloc(chat_fake->pool, sizeof(ngx_http_request_body_t));
    fuzz_check(rb != NULL);

    chat_fake->request.request_body = rb;
    last = &rb->bufs;
    n = 0;

    while (in->p < in->last) {
        cl = ngx_alloc_chain_link(chat_fake->pool);
        fuzz_check(cl != NULL);

        cl->buf = chat_buf(in, fuzz_size(in, 9000, in->last - in->p),
                           (n < CHAT_FILES) ? &files[n] : NULL);
        n += cl->buf->in_file;

        *last = cl;
        last = &cl->next;
    }

    *last = NULL;
}


static void
chat_body_free(void)
{
    ngx_chain_t  *cl;

    for (cl = chat_fake->request.request_body->bufs; cl; cl = cl->next) {

        if (cl->buf->in_file) {
            (void) close(cl->buf->file->fd);

        } else {
            free(cl->buf->start);
        }
    }
}


/* the flags, and whether there is a line of them */

static void
chat_line(fuzz_input_t *in)
{
    ngx_str_t  line;

    chat_flags = 0;

    if (in->p == in->last || *in->p != '#') {
        return;
    }

    line = fuzz_until(in, '\n');
    chat_flags = (line.len > 1) ? line.data[1] : 0;

    if (line.len > 3) {
        line.data += 3;
        line.len -= 3;
        chat_session_header(chat_fake, line);
    }
}


static void
chat_ask(const uint8_t *p, size_t len, u_char fill, chat_result_t *result)
{
    ngx_int_t            rc;
    ngx_file_t           files[CHAT_FILES];
    ngx_pool_t          *pool;
    fuzz_input_t         in;
    ngx_http_request_t  *r;

    chat_fill = fill;
    chat_result = result;

    ngx_memzero(result, sizeof(chat_result_t));
    ngx_memzero(files, sizeof(files));

    pool = fuzz_pool();
    chat_fake = fuzz_request(pool);
    r = &chat_fake->request;

    fuzz_input(&in, p, len);
    chat_line(&in);

    /* the handlers make their own */

    chat_fake->ctx.scratch = NULL;

    chat_fake->lcf.sampling = (chat_flags & CHAT_SAMPLING) != 0;
    chat_fake->lcf.heartbeat = 15000;
    chat_fake->lcf.endpoint = 1;
    chat_fake->profile.agent = (chat_flags & CHAT_AGENT) != 0;
    r->method = NGX_HTTP_POST;

    chat_body(&in, files);
    (void) chat_fill_stack();

    rc = ngx_http_claude_exchange(r, (chat_flags & CHAT_COMPLETIONS)
                                     ? &ngx_http_claude_completions
                                     : &ngx_http_claude_chat);

    fuzz_check(rc == NGX_DONE);

    while (!ngx_queue_empty(&ngx_posted_next_events)) {
        ngx_event_move_posted_next((ngx_cycle_t *) ngx_cycle);
        ngx_event_process_posted((ngx_cycle_t *) ngx_cycle,
                                 &ngx_posted_events);
    }

    if (result->rc) {
        chat_error();
        chat_digest(result->json, result->len);

    } else {
        fuzz_check(result->turns >= 1 && result->turns <= 8);
    }

    chat_body_free();
    ngx_destroy_pool(pool);
}


static void
chat_same(chat_result_t *one, chat_result_t *other)
{
    fuzz_check(one->rc == other->rc);
    fuzz_check(one->turns == other->turns);
    fuzz_check(one->len == other->len);
    fuzz_check(one->len == 0
               || memcmp(one->json, other->json, one->len) == 0);
    fuzz_check(one->digest == other->digest);
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    chat_result_t  one, two, all;

    static ngx_uint_t  installed;

    if (!installed) {
        ngx_http_top_header_filter = chat_header_filter;
        ngx_http_top_body_filter = chat_body_filter;
        ngx_http_claude_error_init();
        installed = 1;
    }

    chat_ask(p, len, '`', &one);
    chat_ask(p, len, '~', &two);

    chat_keep_all = 1;
    chat_ask(p, len, '^', &all);
    chat_keep_all = 0;

    /* no answer has anything in it but its own words and the request's */

    chat_same(&one, &two);
    chat_same(&one, &all);

    free(one.json);
    free(two.json);
    free(all.json);

    return 0;
}


/* values that mean something somewhere in a request */

static const char  *chat_values[] = {
    "null", "true", "false", "0", "1", "-1", "1e9", "0.5", "8", "\"\"", "\" \"",
    "\"a\"", "\"\\ud83d\\ude00\"", "\"\xc3\xa9\"", "[]", "{}", "[[]]", "[1,2]",
    "[\"a\",\"b\"]", "\"auto\"", "\"none\"", "\"required\"",
    "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,"
        "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":1}}}}",
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":"
        "{\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"object\"}}}}}]",
    "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}",
    "{\"type\":\"json_object\"}",
    "{\"type\":\"object\"}", "{\"type\":\"array\"}", "{\"type\":\"text\"}",
    "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":false}}",
    "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}",
    "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",null]}",
    "{\"$ref\":\"#\"}", "{\"$ref\":\"#/$defs/a\"}",
    "{\"$ref\":\"#/properties/a\"}",
    "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}",
    "{\"allOf\":[{\"properties\":{\"a\":{}}},{\"required\":[\"a\"]}]}",
    "{\"const\":[]}", "{\"enum\":[{}]}", "{\"prefixItems\":[{},{}]}",
    "[{\"type\":\"text\",\"text\":\"a\"}]",
    "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,"
        "iVBORw0KGgo=\"}}]",
    "[{\"type\":\"file\",\"file\":{\"file_data\":\"data:text/plain;base64,"
        "aGk=\"}}]",
    "{\"role\":\"user\",\"content\":\"a\"}",
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}",
    "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"a\"}",
    "{\"role\":\"function\",\"name\":\"f\",\"content\":\"a\"}"
};


/* the end of a value, which may be no JSON any more */

static size_t
chat_value(uint8_t *p, size_t i, size_t len)
{
    size_t      depth;
    ngx_uint_t  quoted;

    depth = 0;
    quoted = 0;

    for ( /* void */ ; i < len; i++) {

        if (quoted) {
            if (p[i] == '\\') {
                i++;

            } else if (p[i] == '"') {
                quoted = 0;
            }

            continue;
        }

        if (p[i] == '[' || p[i] == '{') {
            depth++;

        } else if (p[i] == ']' || p[i] == '}' || p[i] == ',') {

            if (depth == 0) {
                return i;
            }

            depth -= (p[i] != ',');
        }

        quoted = (p[i] == '"');
    }

    return ngx_min(i, len);
}


/*
 * Bytes as libFuzzer changes them, or a whole value: it becomes one of the
 * list, or another one of the same request.
 */

size_t
LLVMFuzzerCustomMutator(uint8_t *p, size_t len, size_t max, unsigned int seed)
{
    size_t         i, end, from, n;
    uint8_t       *other;
    fuzz_input_t   in;

    fuzz_input(&in, (u_char *) &seed, sizeof(seed));

    if (len < 2 || fuzz_number(&in, 2) == 0) {
        return LLVMFuzzerMutate(p, len, max);
    }

    i = fuzz_number(&in, len);

    while (i < len && p[i] != ':' && p[i] != '[' && p[i] != ',') { i++; }

    if (i == len) {
        return LLVMFuzzerMutate(p, len, max);
    }

    end = chat_value(p, ++i, len);

    if (fuzz_number(&in, 3)) {
        n = fuzz_number(&in, sizeof(chat_values) / sizeof(chat_values[0]));
        other = (uint8_t *) chat_values[n];
        n = ngx_strlen(chat_values[n]);

    } else {
        from = fuzz_number(&in, len);

        while (from < len && p[from] != ':' && p[from] != ',') { from++; }

        from = ngx_min(from + 1, len);
        other = p + from;
        n = chat_value(p, from, len) - from;
    }

    if (len - (end - i) + n > max) {
        return LLVMFuzzerMutate(p, len, max);
    }

    other = memcpy(malloc(n + 1), other, n);

    memmove(p + i + n, p + end, len - end);
    ngx_memcpy(p + i, other, n);

    free(other);

    return len - (end - i) + n;
}
