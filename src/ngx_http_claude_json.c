
/*
 * JSON on yajl: the reader that makes a tree of a client's body, and the
 * escaping of strings.  See the header for what it owns.
 */


#include "ngx_http_claude_json.h"
#include "ngx_http_claude_utf8.h"

#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>


/* a string that is worth a look before yajl has it */
#define JSON_SHORT  256


struct ngx_http_claude_json_reader_s {
    yajl_handle                   yajl;
    ngx_pool_t                   *pool;
    ngx_http_claude_json_t       *root;
    ngx_http_claude_json_t      **stack;     /* only while it is read */
    ngx_uint_t                    depth;
    ngx_uint_t                    values;
    ngx_str_t                     name;      /* of the member to come */
    ngx_str_t                     reason;
    off_t                         read;      /* bytes of earlier calls */
    off_t                         token;     /* where the last token ended */
};


static ngx_http_claude_json_t *json_add(ngx_http_claude_json_reader_t *reader,
    ngx_http_claude_json_type_e type);
static int json_open(ngx_http_claude_json_reader_t *reader,
    ngx_http_claude_json_type_e type);
static int json_refuse(ngx_http_claude_json_reader_t *reader,
    const char *reason);
static ngx_int_t json_text(ngx_http_claude_json_reader_t *reader,
    ngx_str_t *text, const u_char *s, size_t len);
static void json_yajl_reason(ngx_http_claude_json_reader_t *reader);
static void json_cleanup(void *data);

static int json_on_null(void *ctx);
static int json_on_boolean(void *ctx, int value);
static int json_on_number(void *ctx, const char *s, size_t len);
static int json_on_string(void *ctx, const unsigned char *s, size_t len);
static int json_on_start_map(void *ctx);
static int json_on_map_key(void *ctx, const unsigned char *s, size_t len);
static int json_on_end(void *ctx);
static int json_on_start_array(void *ctx);


static yajl_callbacks  json_callbacks = {
    json_on_null,
    json_on_boolean,
    NULL,                                  /* integers and doubles: */
    NULL,                                  /* as they were written */
    json_on_number,
    json_on_string,
    json_on_start_map,
    json_on_map_key,
    json_on_end,
    json_on_start_array,
    json_on_end
};


ngx_http_claude_json_reader_t *
ngx_http_claude_json_reader(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t             *cln;
    ngx_http_claude_json_reader_t  *reader;

    reader = ngx_pcalloc(pool, sizeof(ngx_http_claude_json_reader_t));
    if (reader == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = json_cleanup;
    cln->data = reader;

    reader->pool = pool;
    reader->stack = ngx_alloc(NGX_HTTP_CLAUDE_JSON_DEPTH
                              * sizeof(ngx_http_claude_json_t *), pool->log);
    reader->yajl = yajl_alloc(&json_callbacks, NULL, reader);

    if (reader->stack == NULL || reader->yajl == NULL) {
        return NULL;
    }

    return reader;
}


ngx_int_t
ngx_http_claude_json_read(ngx_http_claude_json_reader_t *reader, u_char *p,
    size_t len)
{
    yajl_status  status;

    status = yajl_parse(reader->yajl, p, len);

    if (status == yajl_status_ok) {
        reader->read += len;
        return NGX_OK;
    }

    if (status == yajl_status_error) {
        json_yajl_reason(reader);
    }

    return NGX_ERROR;
}


ngx_http_claude_json_t *
ngx_http_claude_json_end(ngx_http_claude_json_reader_t *reader)
{
    yajl_status  status;

    if (reader->read == 0) {
        json_refuse(reader, "the body is empty");

    } else {
        status = yajl_complete_parse(reader->yajl);

        if (reader->reason.len == 0
            && (status != yajl_status_ok || reader->depth
                || reader->root == NULL))
        {
            json_yajl_reason(reader);
        }
    }

    /* its buffers are not for the whole life of a stream */

    json_cleanup(reader);

    return reader->reason.len ? NULL : reader->root;
}


ngx_str_t *
ngx_http_claude_json_reason(ngx_http_claude_json_reader_t *reader)
{
    return &reader->reason;
}


size_t
ngx_http_claude_json_slice(ngx_http_claude_json_reader_t *reader)
{
    return ngx_max((off_t) NGX_HTTP_CLAUDE_JSON_SLICE,
                   reader->read - reader->token);
}


ngx_http_claude_json_t *
ngx_http_claude_json_member(ngx_http_claude_json_t *object, const char *name)
{
    size_t                   len;
    ngx_http_claude_json_t  *node, *found;

    if (object->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return NULL;
    }

    len = ngx_strlen(name);
    found = NULL;

    for (node = object->first; node; node = node->next) {
        if (node->name.len == len
            && ngx_strncmp(node->name.data, name, len) == 0)
        {
            found = node;
        }
    }

    return found;
}


ngx_int_t
ngx_http_claude_json_integer(ngx_http_claude_json_t *node, ngx_int_t min,
    ngx_int_t max, ngx_int_t *value)
{
    double  number;

    /* 1e3 and 100.0 are integers as well */

    if (ngx_http_claude_json_double(node, min, max, &number) != NGX_OK
        || number != (double) (ngx_int_t) number)
    {
        return NGX_DECLINED;
    }

    *value = (ngx_int_t) number;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_json_double(ngx_http_claude_json_t *node, double min,
    double max, double *value)
{
    char    buf[64];
    double  number;

    /* a number that needs more than 63 characters is not one of ours */

    if (node->type != NGX_HTTP_CLAUDE_JSON_NUMBER
        || node->value.len >= sizeof(buf))
    {
        return NGX_DECLINED;
    }

    ngx_cpystrn((u_char *) buf, node->value.data, node->value.len + 1);

    number = strtod(buf, NULL);

    /* written so that not-a-number is out of range, too */

    if (!(number >= min && number <= max)) {
        return NGX_DECLINED;
    }

    *value = number;

    return NGX_OK;
}


typedef struct {
    u_char                       *p;
} ngx_http_claude_json_place_t;


static void
json_print(void *ctx, const char *s, size_t len)
{
    ngx_http_claude_json_place_t  *place = ctx;

    place->p = ngx_cpymem(place->p, s, len);
}


u_char *
ngx_http_claude_json_escape(u_char *p, const u_char *s, size_t len)
{
    /*
     * One generator a worker, reset for each string: yajl_gen_alloc() would
     * cost more than the strings of a delta do.
     */
    static yajl_gen                      gen;
    static ngx_http_claude_json_place_t  place;

    /* names and most other short ones are written as they are */

    if (len <= JSON_SHORT && ngx_http_claude_json_escaped(s, len) == len + 2) {
        *p++ = '"';
        p = ngx_cpymem(p, s, len);
        *p++ = '"';

        return p;
    }

    if (gen == NULL) {
        gen = yajl_gen_alloc(NULL);

        if (gen == NULL
            || !yajl_gen_config(gen, yajl_gen_print_callback, json_print,
                                &place))
        {
            /* only out of memory at the first string of a worker */
            ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0,
                          "claude: no memory for a JSON generator");
            ngx_abort();
        }
    }

    place.p = p;

    (void) yajl_gen_string(gen, s, len);
    yajl_gen_reset(gen, NULL);

    return place.p;
}


size_t
ngx_http_claude_json_escaped(const u_char *s, size_t len)
{
    size_t         n;
    const u_char  *last;

    n = len + 2;

    for (last = s + len; s < last; s++) {

        if (*s >= ' ' && *s != '"' && *s != '\\') {
            continue;
        }

        switch (*s) {

        case '"':
        case '\\':
        case '\b':
        case '\t':
        case '\n':
        case '\f':
        case '\r':
            n++;
            break;

        default:
            n += sizeof("\\u001f") - 2;
        }
    }

    return n;
}


static ngx_http_claude_json_t *
json_add(ngx_http_claude_json_reader_t *reader,
    ngx_http_claude_json_type_e type)
{
    ngx_http_claude_json_t  *node, *parent;

    reader->token = reader->read + yajl_get_bytes_consumed(reader->yajl);

    if (reader->values++ == NGX_HTTP_CLAUDE_JSON_VALUES) {
        json_refuse(reader, "too many values");
        return NULL;
    }

    node = ngx_pcalloc(reader->pool, sizeof(ngx_http_claude_json_t));
    if (node == NULL) {
        json_refuse(reader, "out of memory");
        return NULL;
    }

    node->type = type;

    if (reader->depth == 0) {
        reader->root = node;
        return node;
    }

    parent = reader->stack[reader->depth - 1];

    if (parent->type == NGX_HTTP_CLAUDE_JSON_OBJECT) {
        node->name = reader->name;
    }

    if (parent->last) {
        parent->last->next = node;

    } else {
        parent->first = node;
    }

    parent->last = node;

    return node;
}


static int
json_open(ngx_http_claude_json_reader_t *reader,
    ngx_http_claude_json_type_e type)
{
    ngx_http_claude_json_t  *node;

    if (reader->depth == NGX_HTTP_CLAUDE_JSON_DEPTH) {
        return json_refuse(reader, "nested too deeply");
    }

    node = json_add(reader, type);
    if (node == NULL) {
        return 0;
    }

    reader->stack[reader->depth++] = node;

    return 1;
}


static int
json_refuse(ngx_http_claude_json_reader_t *reader, const char *reason)
{
    if (reader->reason.len == 0) {
        reader->reason.data = (u_char *) reason;
        reader->reason.len = ngx_strlen(reason);
    }

    return 0;
}


static ngx_int_t
json_text(ngx_http_claude_json_reader_t *reader, ngx_str_t *text,
    const u_char *s, size_t len)
{
    /* C code on either side of us would read a shorter string */

    if (len && memchr(s, '\0', len)) {
        json_refuse(reader, "a string holds a NUL character");
        return NGX_ERROR;
    }

    if (!ngx_http_claude_utf8_valid(s, len)) {
        json_refuse(reader, "a string is not valid UTF-8");
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(reader->pool, ngx_max(len, 1));
    if (text->data == NULL) {
        json_refuse(reader, "out of memory");
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, s, len);
    text->len = len;

    return NGX_OK;
}


static void
json_yajl_reason(ngx_http_claude_json_reader_t *reader)
{
    off_t           at;
    u_char         *p;
    size_t          len;
    unsigned char  *text;

    at = reader->read + yajl_get_bytes_consumed(reader->yajl);

    /* not verbose: the client's own text is not quoted back or logged */

    text = yajl_get_error(reader->yajl, 0, NULL, 0);
    if (text == NULL) {
        json_refuse(reader, "parse error");
        return;
    }

    len = ngx_strlen(text);

    while (len && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
        len--;
    }

    p = ngx_pnalloc(reader->pool, len + sizeof(" at byte ") + NGX_OFF_T_LEN);

    if (p) {
        reader->reason.data = p;
        reader->reason.len = ngx_sprintf(p, "%*s at byte %O", len, text, at)
                             - p;
    } else {
        json_refuse(reader, "parse error");
    }

    yajl_free_error(reader->yajl, text);
}


static void
json_cleanup(void *data)
{
    ngx_http_claude_json_reader_t  *reader = data;

    if (reader->yajl) {
        yajl_free(reader->yajl);
        reader->yajl = NULL;
    }

    if (reader->stack) {
        ngx_free(reader->stack);
        reader->stack = NULL;
    }
}


static int
json_on_null(void *ctx)
{
    return json_add(ctx, NGX_HTTP_CLAUDE_JSON_NULL) != NULL;
}


static int
json_on_boolean(void *ctx, int value)
{
    return json_add(ctx, value ? NGX_HTTP_CLAUDE_JSON_TRUE
                               : NGX_HTTP_CLAUDE_JSON_FALSE)
           != NULL;
}


static int
json_on_number(void *ctx, const char *s, size_t len)
{
    ngx_http_claude_json_t  *node;

    node = json_add(ctx, NGX_HTTP_CLAUDE_JSON_NUMBER);

    return node
           && json_text(ctx, &node->value, (const u_char *) s, len) == NGX_OK;
}


static int
json_on_string(void *ctx, const unsigned char *s, size_t len)
{
    ngx_http_claude_json_t  *node;

    node = json_add(ctx, NGX_HTTP_CLAUDE_JSON_STRING);

    return node && json_text(ctx, &node->value, s, len) == NGX_OK;
}


static int
json_on_start_map(void *ctx)
{
    return json_open(ctx, NGX_HTTP_CLAUDE_JSON_OBJECT);
}


static int
json_on_map_key(void *ctx, const unsigned char *s, size_t len)
{
    ngx_http_claude_json_reader_t  *reader = ctx;

    return json_text(reader, &reader->name, s, len) == NGX_OK;
}


static int
json_on_start_array(void *ctx)
{
    return json_open(ctx, NGX_HTTP_CLAUDE_JSON_ARRAY);
}


static int
json_on_end(void *ctx)
{
    ngx_http_claude_json_reader_t  *reader = ctx;

    reader->depth--;

    return 1;
}
