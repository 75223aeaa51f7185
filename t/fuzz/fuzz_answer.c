
/*
 * An answer on its way to the client, streamed or whole, through a client
 * that takes what it likes.  What arrives are events and JSON to the letter,
 * and the text in it is the text that the model gave, up to a stop sequence.
 *
 * The input: flags, the model's name up to a line feed, with ANSWER_STOPS two
 * sequences up to a NUL each, the text.
 */


#include "fuzz.h"

#include "ngx_http_claude_exchange.c"


#define ANSWER_STREAMED  0x01
#define ANSWER_USAGE     0x02
#define ANSWER_ERROR     0x04
#define ANSWER_SLOW      0x08
#define ANSWER_LONG      0x70                 /* so many times 16 the text */
#define ANSWER_STOPS     0x80


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static fuzz_input_t  *answer_in;
static ngx_chain_t   *answer_waiting;         /* not taken by the client yet */
static u_char        *answer_out;             /* what the client has got */
static size_t         answer_len;
static size_t         answer_size;
static ngx_uint_t     answer_slow;
static ngx_uint_t     answer_blocked;


static ngx_int_t
answer_header_filter(ngx_http_request_t *r)
{
    r->header_sent = 1;

    return NGX_OK;
}


static void
answer_take(ngx_buf_t *b, size_t n)
{
    if (n == 0) {
        return;
    }

    fuzz_check(answer_len + n <= answer_size);

    ngx_memcpy(answer_out + answer_len, b->pos, n);
    answer_len += n;
    b->pos += n;
}


/* what nginx's write filter does, with a socket of any size */

static ngx_int_t
answer_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    size_t         n, room;
    ngx_chain_t  **last, *cl;

    for (last = &answer_waiting; *last; last = &(*last)->next) { /* void */ }

    for ( /* void */ ; in; in = in->next) {
        fuzz_check(ngx_buf_size(in->buf) >= 0);

        cl = ngx_alloc_chain_link(r->pool);
        cl->buf = in->buf;
        cl->next = NULL;
        *last = cl;
        last = &cl->next;
    }

    room = answer_slow ? fuzz_number(answer_in, 6000) : (size_t) -1;

    while (answer_waiting) {
        n = ngx_buf_size(answer_waiting->buf);

        if (n > room) {
            answer_take(answer_waiting->buf, room);
            break;
        }

        answer_take(answer_waiting->buf, n);
        room -= n;
        answer_waiting = answer_waiting->next;
    }

    r->buffered = answer_waiting ? NGX_HTTP_WRITE_BUFFERED : 0;

    return answer_waiting ? NGX_AGAIN : NGX_OK;
}


static void
answer_pause(ngx_http_claude_stream_t *stream)
{
    fuzz_check(!answer_blocked);
    answer_blocked = 1;
}


static void
answer_resume(ngx_http_claude_stream_t *stream)
{
    fuzz_check(answer_blocked);
    answer_blocked = 0;
}


/* the client takes all that waits, as the write event would find it */

static void
answer_drain(ngx_http_request_t *r)
{
    while (answer_blocked) {
        fuzz_check(r->write_event_handler != NULL);
        r->write_event_handler(r);
    }
}


static size_t
answer_piece(ngx_str_t *text, size_t n)
{
    while (n < text->len && (text->data[n] & 0xc0) == 0x80) {
        n++;
    }

    return n;
}


static void
answer_give(fuzz_request_t *fake, ngx_str_t text)
{
    size_t                       n;
    u_char                      *piece;
    ngx_claude_block_t           block;
    ngx_http_claude_exchange_t  *ex;

    ex = &fake->ex;

    ngx_memzero(&block, sizeof(ngx_claude_block_t));
    block.type = NGX_CLAUDE_TEXT;

    exchange_open(&ex->answers[0].turn, &block);

    while (text.len) {
        n = answer_piece(&text, fuzz_size(answer_in, 9000, text.len));

        /* valid during the call only */

        piece = malloc(n);
        fuzz_check(piece != NULL);
        ngx_memcpy(piece, text.data, n);

        exchange_delta(&ex->answers[0].turn, &block, piece, n);

        free(piece);

        if (ex->stops.nelts && ex->answers[0].stops.done) {

            /* one was found, and the turn gives no more */

            return;
        }

        text.data += n;
        text.len -= n;

        if (ex->streamed && fuzz_number(answer_in, 3) == 0) {
            fuzz_check(ngx_http_claude_stream_flush(&ex->stream) == NGX_OK);
            answer_drain(&fake->request);
        }
    }

    exchange_close(&ex->answers[0].turn, &block);
}


/* whether the first len bytes of the text end with n of the sequence */

static ngx_uint_t
answer_ends(ngx_str_t *text, size_t len, ngx_str_t *stop, size_t n)
{
    return n <= len && memcmp(text->data + len - n, stop->data, n) == 0;
}


/* of what is behind a failure nobody knows whether it is a stop's beginning */

static size_t
answer_held(ngx_str_t *text, ngx_str_t *stop)
{
    size_t  n;

    for (n = stop->len - 1; n && !answer_ends(text, text->len, stop, n); n--) {
        /* void */
    }

    return n;
}


/* the text that goes out, found the simple way */

static ngx_str_t
answer_expected(ngx_http_claude_exchange_t *ex, ngx_str_t text,
    ngx_uint_t fails)
{
    size_t                   len, cut;
    ngx_uint_t               i;
    ngx_http_claude_stop_t  *stop;

    stop = ex->stops.elts;
    cut = 0;

    for (len = 1; len <= text.len && cut == 0; len++) {
        for (i = 0; i < ex->stops.nelts; i++) {
            if (answer_ends(&text, len, &stop[i].text, stop[i].text.len)) {
                cut = ngx_max(cut, stop[i].text.len);
            }
        }
    }

    if (cut) {
        text.len = len - 1 - cut;
        return text;
    }

    for (i = 0; fails && i < ex->stops.nelts; i++) {
        cut = ngx_max(cut, answer_held(&text, &stop[i].text));
    }

    text.len -= cut;

    return text;
}


/* concatenates the text of the events, and checks each */

static ngx_uint_t
answer_events(fuzz_request_t *fake, ngx_str_t *text)
{
    u_char       *p, *last, *end;
    ngx_str_t     content;
    ngx_uint_t    done, errors;
    fuzz_tree_t  *node, *model, *choices;

    done = 0;
    errors = 0;
    content.data = ngx_pnalloc(fake->pool, ngx_max(answer_len, 1));
    content.len = 0;

    for (p = answer_out, last = p + answer_len; p < last; p = end + 2) {
        fuzz_check(last - p > 6 && memcmp(p, "data: ", 6) == 0);
        fuzz_check(!done);

        p += 6;
        end = memmem(p, last - p, "\n\n", 2);

        fuzz_check(end != NULL);
        fuzz_check(memchr(p, '\n', end - p) == NULL);
        fuzz_check(memchr(p, '\r', end - p) == NULL);

        if (end - p == 6 && memcmp(p, "[DONE]", 6) == 0) {
            done = 1;
            continue;
        }

        node = fuzz_json(fake->pool, p, end - p);

        if (fuzz_tree_member(node, "error")) {
            errors++;
            continue;
        }

        model = fuzz_member(node, "model", NGX_CLAUDE_JSON_STRING);
        fuzz_check(fuzz_same(&model->value, &fake->ex.model));

        choices = fuzz_member(node, "choices", NGX_CLAUDE_JSON_ARRAY);

        if (choices->first == NULL) {
            (void) fuzz_member(node, "usage", NGX_CLAUDE_JSON_OBJECT);
            continue;
        }

        node = fuzz_member(choices->first, "delta",
                           NGX_CLAUDE_JSON_OBJECT);
        node = fuzz_tree_member(node, "content");

        if (node) {
            ngx_memcpy(content.data + content.len, node->value.data,
                       node->value.len);
            content.len += node->value.len;
        }
    }

    fuzz_check(fuzz_same(&content, text));

    return done && errors == 0;
}


static void
answer_streamed(fuzz_request_t *fake, ngx_str_t *text, ngx_uint_t fails)
{
    ngx_str_t                    expected;
    ngx_http_claude_exchange_t  *ex;

    ex = &fake->ex;
    expected = answer_expected(ex, *text, fails);

    fuzz_check(ngx_http_claude_stream_init(&ex->stream) == NGX_OK);

    exchange_started(&ex->answers[0].turn);
    answer_give(fake, *text);

    if (fails) {
        (void) ngx_http_claude_error(&fake->ctx, 502, "cli_failed", NULL,
                                     "It said: %V", text);
        exchange_wrong(ex);

    } else {
        exchange_finished(&ex->answers[0].turn);
    }

    fuzz_check(!ex->stream.out.failed);
    fuzz_check(ngx_http_claude_stream_close(&ex->stream) != NGX_ERROR);

    /* what is left is nginx's own to send */

    answer_slow = 0;
    (void) answer_body_filter(&fake->request, NULL);

    fuzz_check(answer_events(fake, &expected) == !fails);
}


static void
answer_whole(fuzz_request_t *fake, ngx_str_t *text)
{
    ngx_str_t     expected;
    fuzz_tree_t  *node, *member;

    expected = answer_expected(&fake->ex, *text, 0);

    answer_give(fake, *text);
    exchange_finished(&fake->ex.answers[0].turn);
    answer_slow = 0;

    fuzz_check(exchange_whole(&fake->ex) == NGX_OK);
    fuzz_check(fake->request.headers_out.content_length_n
               == (off_t) answer_len);

    node = fuzz_json(fake->pool, answer_out, answer_len);

    member = fuzz_member(node, "model", NGX_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&member->value, &fake->ex.model));

    member = fuzz_member(node, "choices", NGX_CLAUDE_JSON_ARRAY);
    member = fuzz_member(member->first, "message",
                         NGX_CLAUDE_JSON_OBJECT);
    member = fuzz_member(member, "content", NGX_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&member->value, &expected));
}


/* up to two, of any bytes that a text may have */

static void
answer_stops(ngx_http_claude_exchange_t *ex, ngx_pool_t *pool,
    fuzz_input_t *in)
{
    ngx_str_t   stop;
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        stop = fuzz_copy(pool, fuzz_until(in, '\0'), 1);

        if (stop.len) {
            fuzz_check(ngx_http_claude_stops_add(&ex->stops, pool, &stop)
                       == NGX_OK);
        }
    }
}


/* without NUL, which no JSON that we read has in it; several times over */

static ngx_str_t
answer_text(ngx_pool_t *pool, fuzz_input_t *in, ngx_uint_t times)
{
    size_t      i;
    u_char     *p;
    ngx_str_t   once, text;

    once = fuzz_copy(pool, fuzz_rest(in), 1);

    for (i = 0; i < once.len; i++) {
        if (once.data[i] == '\0') {
            once.data[i] = '"';
        }
    }

    text.len = once.len * times;
    text.data = ngx_pnalloc(pool, ngx_max(text.len, 1));

    for (p = text.data, i = 0; i < times; i++) {
        p = ngx_cpymem(p, once.data, once.len);
    }

    return text;
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    u_char                       flags;
    ngx_str_t                    text;
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    fuzz_input_t                 in, stops;
    fuzz_request_t              *fake;
    ngx_http_claude_exchange_t  *ex;

    if (len == 0) {
        return 0;
    }

    pool = fuzz_pool();
    fake = fuzz_request(pool);
    ex = &fake->ex;

    fuzz_input(&in, p, len);
    answer_in = &in;

    flags = *in.p++;

    ex->model = fuzz_copy(pool, fuzz_until(&in, '\n'), 1);

    for (i = 0; i < ex->model.len; i++) {
        if (ex->model.data[i] == '\0') {
            ex->model.data[i] = '\\';
        }
    }

    stops = in;

    if (flags & ANSWER_STOPS) {
        (void) fuzz_until(&in, '\0');
        (void) fuzz_until(&in, '\0');
    }

    text = answer_text(pool, &in, 1 + 16 * ((flags & ANSWER_LONG) >> 4));

    /* the longest: each byte escaped in its own event */

    answer_size = 65536 + 8 * ex->model.len + 8 * text.len
                  + (text.len + 8) * (400 + 6 * ex->model.len);
    answer_size = ngx_min(answer_size, 256u << 20);
    answer_out = malloc(answer_size);
    fuzz_check(answer_out != NULL);

    answer_len = 0;
    answer_waiting = NULL;
    answer_blocked = 0;
    answer_slow = flags & ANSWER_SLOW;

    ngx_http_top_header_filter = answer_header_filter;
    ngx_http_top_body_filter = answer_body_filter;

    fake->lcf.heartbeat = 15000;
    ngx_str_set(&fake->ctx.session, "01234567-89ab-8def-8123-456789abcdef");

    fuzz_check(exchange_init(ex) == NGX_OK);

    if (flags & ANSWER_STOPS) {
        answer_stops(ex, pool, &stops);
    }

    ex->streamed = flags & ANSWER_STREAMED;
    ((ngx_http_claude_chat_t *) ex->own)->include_usage =
        (flags & ANSWER_USAGE) != 0;
    ex->stream.blocked = answer_pause;
    ex->stream.unblocked = answer_resume;

    fuzz_check(exchange_answers(ex) == NGX_OK);

    if (ex->streamed) {
        answer_streamed(fake, &text, flags & ANSWER_ERROR);

    } else {
        answer_whole(fake, &text);
    }

    if (fake->write.timer_set) {
        ngx_del_timer(&fake->write);
    }

    free(answer_out);
    ngx_destroy_pool(pool);

    return 0;
}
