
/*
 * The reader of bodies.  The tree is the same however the text is cut, every
 * string in it is whole and valid, and what is written escaped is read back
 * to the same bytes.
 */


#include "fuzz.h"


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static ngx_claude_json_t *
json_read(ngx_pool_t *pool, fuzz_input_t *in, size_t max,
    const ngx_claude_json_field_t *fields, ngx_int_t *rc)
{
    size_t                     n;
    u_char                    *piece;
    ngx_str_t                  rest;
    ngx_claude_json_t         *root;
    ngx_claude_json_reader_t  *reader;

    reader = ngx_claude_json_reader(pool, pool, fields);
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

        *rc = ngx_claude_json_read(reader, piece, n);

        free(piece);

        rest.data += n;
        rest.len -= n;
    }

    if (*rc == NGX_OK) {
        root = ngx_claude_json_end(reader);
        *rc = root ? NGX_OK : NGX_ERROR;
    }

    if (*rc != NGX_OK) {
        fuzz_check(ngx_claude_json_reason(reader)->len != 0);
        fuzz_check(fuzz_utf8(ngx_claude_json_reason(reader)->data,
                             ngx_claude_json_reason(reader)->len));
    }

    return root;
}


#define json_first  ngx_claude_json_first
#define json_next   ngx_claude_json_next


static void
json_same(ngx_claude_json_t *a, ngx_claude_json_t *b)
{
    ngx_str_t  one, other;

    fuzz_check(a->type == b->type);

    one = ngx_claude_json_name(a);
    other = ngx_claude_json_name(b);
    fuzz_check(fuzz_same(&one, &other));

    one = ngx_claude_json_value(a);
    other = ngx_claude_json_value(b);
    fuzz_check(fuzz_same(&one, &other));

    for (a = json_first(a), b = json_first(b);
         a && b;
         a = json_next(a), b = json_next(b))
    {
        json_same(a, b);
    }

    fuzz_check(a == NULL && b == NULL);
}


/* of the whole tree, what the fields name, in its order, and nothing else */

static void
json_kept(ngx_claude_json_t *whole, ngx_claude_json_t *some,
    const ngx_claude_json_field_t *fields)
{
    ngx_str_t                       name;
    ngx_claude_json_t              *child;
    const ngx_claude_json_field_t  *field;

    fuzz_check(whole->type == some->type);

    if (whole->type < NGX_CLAUDE_JSON_ARRAY) {
        json_same(whole, some);
        return;
    }

    fuzz_check(ngx_claude_json_holds(some)
               == (json_first(whole) != NULL));

    some = json_first(some);

    for (child = json_first(whole); child; child = json_next(child)) {

        field = NULL;

        if (fields && whole->type == NGX_CLAUDE_JSON_OBJECT) {
            name = ngx_claude_json_name(child);

            for (field = fields; field->name.len; field++) {
                if (fuzz_same((ngx_str_t *) &field->name, &name)) {
                    break;
                }
            }

            if (field->name.len == 0) {
                field = NULL;
            }
        }

        if (whole->type == NGX_CLAUDE_JSON_ARRAY ? fields == NULL
                                                 : field == NULL)
        {
            continue;
        }

        fuzz_check(some != NULL);

        if (field && field->inside == ngx_claude_json_all) {
            json_same(child, some);

        } else {
            json_kept(child, some, field ? field->inside : fields);
        }

        some = json_next(some);
    }

    fuzz_check(some == NULL);
}


/* quotes and all, in the room that was promised */

static void
json_round(ngx_str_t *s)
{
    u_char             *p, *last;
    ngx_str_t           value;
    ngx_pool_t         *pool;
    ngx_claude_json_t  *node;

    pool = fuzz_pool();

    p = ngx_pnalloc(pool, ngx_claude_json_escaped_max(s->len));
    last = ngx_claude_json_escape(p, s->data, s->len);

    node = fuzz_read(pool, p, last - p);

    fuzz_check(node->type == NGX_CLAUDE_JSON_STRING);
    fuzz_check((size_t) (last - p)
               == ngx_claude_json_escaped_len(s->data, s->len));

    value = ngx_claude_json_value(node);
    fuzz_check(fuzz_same(&value, s));

    ngx_destroy_pool(pool);
}


static ngx_uint_t
json_walk(ngx_claude_json_t *node, ngx_uint_t depth)
{
    double              number;
    ngx_int_t           n;
    ngx_str_t           name, value;
    ngx_uint_t          strings;
    ngx_claude_json_t  *child;

    name = ngx_claude_json_name(node);
    value = ngx_claude_json_value(node);

    fuzz_check(depth <= NGX_CLAUDE_JSON_DEPTH);
    fuzz_check(fuzz_utf8(name.data, name.len));
    fuzz_check(fuzz_utf8(value.data, value.len));
    fuzz_check(value.len == 0
               || memchr(value.data, '\0', value.len) == NULL);

    if (ngx_claude_json_double(node, -1e300, 1e300, &number) == NGX_OK) {
        fuzz_check(node->type == NGX_CLAUDE_JSON_NUMBER);
        fuzz_check(number >= -1e300 && number <= 1e300);
    }

    if (ngx_claude_json_integer(node, 1, 10000000, &n) == NGX_OK) {
        fuzz_check(n >= 1 && n <= 10000000);
    }

    strings = 0;

    if (node->type == NGX_CLAUDE_JSON_STRING) {
        json_round(&value);
        strings++;
    }

    for (child = json_first(node); child; child = json_next(child)) {
        strings += json_walk(child, depth + 1);
    }

    return strings;
}


/* written in just the length that was told, and the same when it is read */

static void
json_written(ngx_pool_t *pool, ngx_claude_json_t *root)
{
    ngx_str_t  text;

    fuzz_check(ngx_claude_json_text(pool, root, &text) == NGX_OK);
    fuzz_check(text.len == ngx_claude_json_text_len(root));

    json_same(root, fuzz_read(pool, text.data, text.len));
}


/* one text for all that mean the same, and others for what does not */

static void
json_canonical(void)
{
    ngx_uint_t   i;
    ngx_str_t    text, canonical, again;
    ngx_pool_t  *pool;

    static const struct { const char *text, *canonical; } known[] = {
        { "1", "1" }, { "1.0", "1" }, { "1e0", "1" }, { "10e-1", "1" },
        { "0.1E1", "1" }, { "1000e-3", "1" }, { "-1.50", "-15e-1" },
        { "0", "0" }, { "-0", "0" }, { "0.000", "0" }, { "0e9", "0" },
        { "100", "1e2" }, { "1e2", "1e2" }, { "1.0e+2", "1e2" },
        { "0.1", "1e-1" }, { "0.1000000000000000055", "1e-1" },
        { "123456789012345", "123456789012345" },
        { "9007199254740993", "9007199254740992" },
        { "1e400", "1e400" }, { "1e9999999", "1e9999999" },
        { "[1.0,{\"b\":2.0,\"a\":null}]", "[1,{\"a\":null,\"b\":2}]" },
        { "{\"a\":1,\"b\":[],\"a\":{}}", "{\"a\":{},\"b\":[]}" },
        { "\"\\u0041\\n\"", "\"A\\n\"" }
    };

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        pool = fuzz_pool();

        text.data = (u_char *) known[i].text;
        text.len = strlen(known[i].text);

        fuzz_check(ngx_claude_json_canonical(pool, &text, &canonical)
                   == NGX_OK);
        fuzz_check(canonical.len == strlen(known[i].canonical));
        fuzz_check(memcmp(canonical.data, known[i].canonical, canonical.len)
                   == 0);

        fuzz_check(ngx_claude_json_canonical(pool, &canonical, &again)
                   == NGX_OK);
        fuzz_check(fuzz_same(&canonical, &again));

        ngx_destroy_pool(pool);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    static ngx_uint_t  known;

    ngx_int_t                rc, again;
    ngx_uint_t               i;
    ngx_str_t                text;
    ngx_pool_t              *pool, *other;
    fuzz_input_t             in;
    ngx_claude_json_t       *whole, *pieces, *some;

    static const ngx_claude_json_field_t  inner[] = {
        { ngx_string("a"), NULL, NULL },
        { ngx_string("role"), ngx_claude_json_all, NULL },
        { ngx_null_string, NULL, NULL }
    };

    static const ngx_claude_json_field_t  fields[] = {
        { ngx_string("messages"), inner, NULL },
        { ngx_string("tools"), ngx_claude_json_all, NULL },
        { ngx_string("content"), NULL, NULL },
        { ngx_string("a"), inner, NULL },
        { ngx_null_string, NULL, NULL }
    };

    /* in one piece, byte by byte, and as it comes */

    static const size_t  sizes[] = { 1, 16, 4096 };

    if (!known) {
        known = 1;
        json_canonical();
    }

    pool = fuzz_pool();
    fuzz_input(&in, p, len);

    whole = json_read(pool, &in, 0, ngx_claude_json_all, &rc);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        other = fuzz_pool();
        pieces = json_read(other, &in, sizes[i], ngx_claude_json_all,
                           &again);

        fuzz_check(rc == again);

        if (rc == NGX_OK) {
            json_same(whole, pieces);

            some = json_read(other, &in, sizes[i], fields, &again);

            fuzz_check(again == NGX_OK);
            json_kept(whole, some, fields);
        }

        ngx_destroy_pool(other);
    }

    if (rc == NGX_OK) {
        (void) json_walk(whole, 1);
        json_written(pool, whole);
    }

    /* any text, escaped; a NUL is what the reader refuses */

    text = fuzz_copy(pool, fuzz_rest(&in), 1);

    if (memchr(text.data, '\0', text.len) == NULL) {
        json_round(&text);
    }

    ngx_destroy_pool(pool);

    return 0;
}
