
/*
 * The reader of bodies.  The tree is the same however the text is cut, every
 * string in it is whole and valid, and what is written escaped is read back
 * to the same bytes.
 */


#include "fuzz.h"


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static ngx_http_claude_json_t *
json_read(ngx_pool_t *pool, fuzz_input_t *in, size_t max, ngx_int_t *rc)
{
    size_t                          n;
    u_char                         *piece;
    ngx_str_t                       rest;
    ngx_http_claude_json_t         *root;
    ngx_http_claude_json_reader_t  *reader;

    reader = ngx_http_claude_json_reader(pool);
    fuzz_check(reader != NULL);

    rest.data = (u_char *) in->p;
    rest.len = in->last - in->p;

    root = NULL;
    *rc = NGX_OK;

    while (rest.len && *rc == NGX_OK) {
        n = max ? fuzz_size(in, max, rest.len) : rest.len;

        /* it need not outlive the call */

        piece = malloc(n);
        fuzz_check(piece != NULL);
        ngx_memcpy(piece, rest.data, n);

        *rc = ngx_http_claude_json_read(reader, piece, n);

        free(piece);

        rest.data += n;
        rest.len -= n;

        fuzz_check(ngx_http_claude_json_slice(reader)
                   >= NGX_HTTP_CLAUDE_JSON_SLICE);
    }

    if (*rc == NGX_OK) {
        root = ngx_http_claude_json_end(reader);
        *rc = root ? NGX_OK : NGX_ERROR;
    }

    if (*rc != NGX_OK) {
        fuzz_check(ngx_http_claude_json_reason(reader)->len != 0);
        fuzz_check(fuzz_utf8(ngx_http_claude_json_reason(reader)->data,
                             ngx_http_claude_json_reason(reader)->len));
    }

    return root;
}


static void
json_same(ngx_http_claude_json_t *a, ngx_http_claude_json_t *b)
{
    fuzz_check(a->type == b->type);
    fuzz_check(fuzz_same(&a->name, &b->name));
    fuzz_check(fuzz_same(&a->value, &b->value));

    for (a = a->first, b = b->first; a && b; a = a->next, b = b->next) {
        json_same(a, b);
    }

    fuzz_check(a == NULL && b == NULL);
}


/* quotes and all, in the room that was promised */

static void
json_round(ngx_str_t *s)
{
    u_char                  *p, *last;
    ngx_pool_t              *pool;
    ngx_http_claude_json_t  *node;

    pool = fuzz_pool();

    p = ngx_pnalloc(pool, ngx_http_claude_json_escaped_max(s->len));
    last = ngx_http_claude_json_escape(p, s->data, s->len);

    fuzz_check((size_t) (last - p)
               == ngx_http_claude_json_escaped(s->data, s->len));

    node = fuzz_json(pool, p, last - p);

    fuzz_check(node->type == NGX_HTTP_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&node->value, s));

    ngx_destroy_pool(pool);
}


static ngx_uint_t
json_walk(ngx_http_claude_json_t *node, ngx_uint_t depth)
{
    double                   number;
    ngx_int_t                n;
    ngx_uint_t               strings;
    ngx_http_claude_json_t  *child, *last;

    fuzz_check(depth <= NGX_HTTP_CLAUDE_JSON_DEPTH);
    fuzz_check(fuzz_utf8(node->name.data, node->name.len));
    fuzz_check(fuzz_utf8(node->value.data, node->value.len));
    fuzz_check(node->value.len == 0
               || memchr(node->value.data, '\0', node->value.len) == NULL);

    if (ngx_http_claude_json_double(node, -1e300, 1e300, &number) == NGX_OK) {
        fuzz_check(node->type == NGX_HTTP_CLAUDE_JSON_NUMBER);
        fuzz_check(number >= -1e300 && number <= 1e300);
    }

    if (ngx_http_claude_json_integer(node, 1, 10000000, &n) == NGX_OK) {
        fuzz_check(n >= 1 && n <= 10000000);
    }

    strings = 0;

    if (node->type == NGX_HTTP_CLAUDE_JSON_STRING) {
        json_round(&node->value);
        strings++;
    }

    last = NULL;

    for (child = node->first; child; child = child->next) {
        strings += json_walk(child, depth + 1);
        last = child;
    }

    fuzz_check(node->last == last);

    return strings;
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    ngx_int_t                rc, again;
    ngx_uint_t               i;
    ngx_str_t                text;
    ngx_pool_t              *pool, *other;
    fuzz_input_t             in;
    ngx_http_claude_json_t  *whole, *pieces;

    /* in one piece, byte by byte, and as it comes */

    static const size_t  sizes[] = { 1, 16, 4096 };

    pool = fuzz_pool();
    fuzz_input(&in, p, len);

    whole = json_read(pool, &in, 0, &rc);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        other = fuzz_pool();
        pieces = json_read(other, &in, sizes[i], &again);

        fuzz_check(rc == again);

        if (rc == NGX_OK) {
            json_same(whole, pieces);
        }

        ngx_destroy_pool(other);
    }

    if (rc == NGX_OK) {
        (void) json_walk(whole, 1);
    }

    /* any text, escaped; a NUL is what the reader refuses */

    text = fuzz_copy(pool, fuzz_rest(&in), 1);

    if (memchr(text.data, '\0', text.len) == NULL) {
        json_round(&text);
    }

    ngx_destroy_pool(pool);

    return 0;
}
