
/*
 * JSON on yajl: the reader that makes a tree of a client's body, and the
 * escaping of strings.  See the header for what it owns.
 */


#include "ngx_claude_json.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_json_string.h"
#include "ngx_claude_utf8.h"

#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>


/* cells that are no values: a member's name, and where the next chunk is */
#define JSON_NAME       (NGX_CLAUDE_JSON_OBJECT + 1)
#define JSON_JUMP       (NGX_CLAUDE_JSON_OBJECT + 2)

/* cells of the first chunk; each is twice as large as the one before */
#define JSON_CHUNK      32
#define JSON_CHUNK_MAX  4096

/* bytes of a string that is looked at before yajl's generator has it */
#define JSON_SHORT      256


/* a container that is being read */
typedef struct {
    ngx_claude_json_t              *node;        /* NULL: not kept */
    ngx_claude_json_t              *last;        /* newest child kept */
    const ngx_claude_json_field_t  *fields;
    ngx_uint_t                      members;     /* number that are kept of a
                                                    table's */
    ngx_claude_json_type_e          type;
} json_frame_t;


struct ngx_claude_json_reader_s {
    yajl_handle                     yajl;
    ngx_pool_t                     *pool;           /* for strings */
    ngx_pool_t                     *cells;
    ngx_claude_json_t              *root;
    ngx_claude_json_t              *free;           /* the next cell */
    ngx_claude_json_t              *limit;          /* behind its chunk */
    size_t                          chunk;          /* cells of that chunk */
    json_frame_t                   *stack;          /* open containers */
    ngx_uint_t                      depth;
    ngx_str_t                       name;           /* the next member's */
    const ngx_claude_json_field_t  *fields;         /* the next value's
                                                       table */
    ngx_uint_t                      keep;           /* boolean: the next value
                                                       is kept */
    ngx_str_t                       reason;
    off_t                           read;           /* bytes that yajl has, or
                                                       that went by it */
    ngx_claude_json_string_t        string;         /* one that goes by yajl */
    size_t                          word;           /* bytes of a token, not of
                                                       a string, so far */
    const ngx_claude_json_events_t *events;         /* NULL: a tree is made */
    void                           *data;           /* theirs */
    unsigned                        done:1;         /* they want no more */
    unsigned                        in_string:1;    /* the next byte is its */
    unsigned                        has_string:1;   /* yajl's next string is
                                                       it */
};


static ngx_claude_json_reader_t *json_reader(ngx_pool_t *pool);
static ngx_int_t json_string(ngx_claude_json_reader_t *reader, u_char **p,
    u_char *last);
static u_char *json_outside(u_char *p, u_char *last, u_char **quote);
static ngx_int_t json_word(ngx_claude_json_reader_t *reader, u_char *p,
    u_char *last);
static ngx_int_t json_feed(ngx_claude_json_reader_t *reader, u_char *p,
    size_t len);
static ngx_uint_t json_keeps(ngx_claude_json_reader_t *reader);
static ngx_claude_json_t *json_add(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type);
static ngx_claude_json_t *json_cells(ngx_claude_json_reader_t *reader,
    ngx_uint_t n);
static int json_scalar(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type, const u_char *s, size_t len);
static int json_open(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type);
static ngx_claude_json_t *json_at(ngx_claude_json_t *cell);
static int json_refuse(ngx_claude_json_reader_t *reader, const char *reason);
static void json_refuse_at(ngx_claude_json_reader_t *reader,
    const char *reason, off_t at);
static ngx_int_t json_check(ngx_claude_json_reader_t *reader, const u_char *s,
    size_t len);
static ngx_int_t json_text(ngx_claude_json_reader_t *reader, ngx_str_t *text,
    const u_char *s, size_t len);
static void json_yajl_reason(ngx_claude_json_reader_t *reader);
static void json_cleanup(void *data);

static int json_on_null(void *ctx);
static int json_on_boolean(void *ctx, int value);
static int json_on_number(void *ctx, const char *s, size_t len);
static int json_on_string(void *ctx, const unsigned char *s, size_t len);
static int json_on_start_map(void *ctx);
static ngx_str_t json_taken(ngx_claude_json_reader_t *reader, const u_char *s,
    size_t len);
static int json_on_map_key(void *ctx, const unsigned char *s, size_t len);
static int json_name(ngx_claude_json_reader_t *reader, const u_char *s,
    size_t len);
static void json_done(ngx_claude_json_reader_t *reader, ngx_uint_t useless);
static int json_on_end(void *ctx);
static int json_on_start_array(void *ctx);

static int json_event(ngx_claude_json_reader_t *reader, ngx_int_t rc);
static int json_event_value(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type, const u_char *s, size_t len);
static int json_event_open(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type);


static yajl_callbacks  json_callbacks = {
    json_on_null,
    json_on_boolean,
    NULL,                                  /* numbers stay as they */
    NULL,                                  /* were written */
    json_on_number,
    json_on_string,
    json_on_start_map,
    json_on_map_key,
    json_on_end,
    json_on_start_array,
    json_on_end
};


const ngx_claude_json_field_t  ngx_claude_json_items[] = {
    { ngx_null_string, NULL, NULL }
};


const ngx_claude_json_field_t  ngx_claude_json_ignored[] = {
    { ngx_null_string, NULL, NULL }
};


const ngx_claude_json_field_t  ngx_claude_json_all[] = {
    { ngx_null_string, NULL, NULL }
};


ngx_claude_json_reader_t *
ngx_claude_json_reader(ngx_pool_t *pool, ngx_pool_t *cells,
    const ngx_claude_json_field_t *fields)
{
    ngx_claude_json_reader_t  *reader;

    reader = json_reader(pool);

    if (reader) {
        reader->cells = cells;
        reader->fields = fields;
    }

    return reader;
}


ngx_claude_json_reader_t *
ngx_claude_json_stream(ngx_pool_t *pool,
    const ngx_claude_json_events_t *events, void *data)
{
    ngx_claude_json_reader_t  *reader;

    reader = json_reader(pool);

    if (reader) {
        reader->events = events;
        reader->data = data;
    }

    return reader;
}


static ngx_claude_json_reader_t *
json_reader(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t        *cln;
    ngx_claude_json_reader_t  *reader;

    reader = ngx_pcalloc(pool, sizeof(ngx_claude_json_reader_t));
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
    reader->chunk = JSON_CHUNK / 2;
    reader->stack = ngx_alloc(NGX_CLAUDE_JSON_DEPTH
                              * sizeof(json_frame_t), pool->log);
    reader->yajl = yajl_alloc(&json_callbacks, NULL, reader);

    if (reader->stack == NULL || reader->yajl == NULL) {
        return NULL;
    }

    return reader;
}


/*
 * yajl scans a token that is split between two calls from its beginning again.
 * So a string that a slice ends in goes by yajl: it is decoded here as it
 * comes, and yajl gets an empty one in its place.  So does one with halves of
 * surrogates, which yajl does not know to take apart.
 */

ngx_int_t
ngx_claude_json_read(ngx_claude_json_reader_t *reader, u_char *p,
    size_t len)
{
    u_char     *end, *last, *quote;
    ngx_int_t   rc;

    last = p + len;

    while (p < last) {

        if (reader->in_string) {
            rc = json_string(reader, &p, last);

            if (rc != NGX_OK) {
                return rc;
            }

            continue;
        }

        end = json_outside(p, last, &quote);

        if (json_word(reader, p, end) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = json_feed(reader, p, end - p);

        if (rc != NGX_OK) {
            return rc;
        }

        p = end;

        if (quote) {
            p++;
            reader->in_string = 1;
            ngx_claude_json_string_begin(&reader->string, reader->pool);
        }
    }

    return NGX_OK;
}


/* goes on with a string that goes by yajl */

static ngx_int_t
json_string(ngx_claude_json_reader_t *reader, u_char **p, u_char *last)
{
    u_char     *begin;
    ngx_int_t   rc;

    static u_char  empty[] = { '"', '"' };

    begin = *p;

    rc = ngx_claude_json_string_read(&reader->string, p, last);

    reader->read += *p - begin;

    if (rc == NGX_AGAIN) {
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        json_refuse_at(reader, reader->string.reason, reader->read - 1);
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        json_refuse(reader, "out of memory");
        return NGX_ERROR;
    }

    reader->in_string = 0;
    reader->has_string = 1;

    /* its quotes were the client's, and are counted */

    rc = json_feed(reader, empty, 2);
    reader->read--;

    return rc;
}


/*
 * Where what yajl gets ends: at the slice's end, or, with *quote set, at a
 * string that goes by it.
 */

static u_char *
json_outside(u_char *p, u_char *last, u_char **quote)
{
    u_char      *begin;
    ngx_uint_t   odd;

    *quote = NULL;

    for ( ;; ) {
        begin = ngx_strlchr(p, last, '"');

        if (begin == NULL) {
            return last;
        }

        odd = 0;

        for (p = begin + 1; p < last && *p != '"'; p++) {

            if (*p != '\\') {
                continue;
            }

            /* \uD8 to \uDF, or what may be one behind the slice */

            if (++p < last && *p == 'u'
                && (last - p < 3
                    || ((p[1] | 0x20) == 'd' && p[2] >= '8')))
            {
                odd = 1;
            }
        }

        if (p >= last || odd) {
            *quote = begin;
            return begin;
        }

        p++;
    }
}


/*
 * A number that is split between calls would be scanned from its beginning as
 * well, and there is no need for long ones.
 */

static ngx_int_t
json_word(ngx_claude_json_reader_t *reader, u_char *p, u_char *last)
{
    u_char  *q;

    for (q = last; q > p; q--) {

        switch (q[-1]) {

        case ' ': case '\t': case '\r': case '\n':
        case '{': case '}': case '[': case ']': case ':': case ',': case '"':
            reader->word = 0;
            goto done;

        default:
            break;
        }

        if (last - q > NGX_CLAUDE_JSON_NUMBER_MAX) {
            break;
        }
    }

done:

    reader->word += last - q;

    if (reader->word > NGX_CLAUDE_JSON_NUMBER_MAX) {
        json_refuse(reader, "a number is too long");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
json_feed(ngx_claude_json_reader_t *reader, u_char *p, size_t len)
{
    yajl_status  status;

    if (len == 0) {
        return NGX_OK;
    }

    status = yajl_parse(reader->yajl, p, len);

    if (status == yajl_status_ok) {
        reader->read += len;
        return NGX_OK;
    }

    if (reader->done) {
        return NGX_DONE;
    }

    if (status == yajl_status_error) {
        json_yajl_reason(reader);
    }

    return NGX_ERROR;
}


ngx_claude_json_t *
ngx_claude_json_end(ngx_claude_json_reader_t *reader)
{
    yajl_status  status;

    if (reader->read == 0 && !reader->in_string) {
        json_refuse(reader, "the body is empty");

    } else if (reader->in_string) {
        json_refuse_at(reader, "parse error: premature EOF", reader->read);

    } else {
        status = yajl_complete_parse(reader->yajl);

        if (reader->reason.len == 0
            && (status != yajl_status_ok || reader->depth
                || (reader->root == NULL && reader->events == NULL)))
        {
            json_yajl_reason(reader);
        }
    }

    /* yajl's buffers go now: the pool may live as long as a stream */

    json_cleanup(reader);

    return reader->reason.len ? NULL : reader->root;
}


ngx_str_t
ngx_claude_json_begun(ngx_claude_json_reader_t *reader)
{
    ngx_str_t  text;

    ngx_str_null(&text);

    return reader->in_string ? reader->string.text : text;
}


ngx_str_t *
ngx_claude_json_reason(ngx_claude_json_reader_t *reader)
{
    return &reader->reason;
}


ngx_claude_json_t *
ngx_claude_json_first(ngx_claude_json_t *node)
{
    if (node->type < NGX_CLAUDE_JSON_ARRAY || node->bare) {
        return NULL;
    }

    return json_at(node + 1);
}


ngx_claude_json_t *
ngx_claude_json_next(ngx_claude_json_t *node)
{
    if (node->last) {
        return NULL;
    }

    return json_at(node->type < NGX_CLAUDE_JSON_ARRAY ? node + 1
                                                      : node->u.end);
}


/* the value at a cell, or at the one that it names or leads to */

static ngx_claude_json_t *
json_at(ngx_claude_json_t *cell)
{
    if (cell->type == JSON_JUMP) {
        cell = cell->u.end;
    }

    return (cell->type == JSON_NAME) ? cell + 1 : cell;
}


ngx_str_t
ngx_claude_json_name(ngx_claude_json_t *node)
{
    ngx_str_t  name;

    ngx_str_null(&name);

    if (node->named) {
        name.len = node[-1].len;
        name.data = node[-1].u.data;
    }

    return name;
}


ngx_str_t
ngx_claude_json_value(ngx_claude_json_t *node)
{
    ngx_str_t  value;

    ngx_str_null(&value);

    if (node->type == NGX_CLAUDE_JSON_STRING
        || node->type == NGX_CLAUDE_JSON_NUMBER)
    {
        value.len = node->len;
        value.data = node->u.data;
    }

    return value;
}


ngx_uint_t
ngx_claude_json_within(ngx_claude_json_t *node, size_t *left)
{
    size_t              size;
    ngx_claude_json_t  *child;

    size = 2 + ngx_claude_json_value(node).len
           + ngx_claude_json_name(node).len;

    if (size > *left) {
        *left = 0;
        return 0;
    }

    *left -= size;

    for (child = ngx_claude_json_first(node);
         child;
         child = ngx_claude_json_next(child))
    {
        if (!ngx_claude_json_within(child, left)) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_claude_json_is(ngx_claude_json_t *node, const char *text)
{
    ngx_str_t  s;

    s = ngx_claude_json_value(node);

    return node->type == NGX_CLAUDE_JSON_STRING && ngx_claude_is(&s, text);
}


ngx_claude_json_t *
ngx_claude_json_member(ngx_claude_json_t *object, const char *name)
{
    ngx_str_t           s;
    ngx_claude_json_t  *node, *found;

    if (object->type != NGX_CLAUDE_JSON_OBJECT) {
        return NULL;
    }

    found = NULL;

    for (node = ngx_claude_json_first(object);
         node;
         node = ngx_claude_json_next(node))
    {
        s = ngx_claude_json_name(node);

        if (ngx_claude_is(&s, name)) {
            found = node;
        }
    }

    return found;
}


ngx_claude_json_t *
ngx_claude_json_field(ngx_claude_json_t *object, const char *name)
{
    ngx_claude_json_t  *node;

    node = ngx_claude_json_member(object, name);

    return (node && node->type != NGX_CLAUDE_JSON_NULL) ? node : NULL;
}


ngx_int_t
ngx_claude_json_integer(ngx_claude_json_t *node, ngx_int_t min,
    ngx_int_t max, ngx_int_t *value)
{
    double  number;

    /* 1e3 and 100.0 are integers as well */

    if (ngx_claude_json_double(node, min, max, &number) != NGX_OK
        || number != (double) (ngx_int_t) number)
    {
        return NGX_DECLINED;
    }

    *value = (ngx_int_t) number;

    return NGX_OK;
}


ngx_int_t
ngx_claude_json_double(ngx_claude_json_t *node, double min,
    double max, double *value)
{
    char    buf[64];
    double  number;

    /* a number that needs more than 63 characters is not one of ours */

    if (node->type != NGX_CLAUDE_JSON_NUMBER || node->len >= sizeof(buf))
    {
        return NGX_DECLINED;
    }

    ngx_cpystrn((u_char *) buf, node->u.data, node->len + 1);

    number = strtod(buf, NULL);

    /* not-a-number fails both comparisons, so it is out of range too */

    if (!(number >= min && number <= max)) {
        return NGX_DECLINED;
    }

    *value = number;

    return NGX_OK;
}


typedef struct {
    u_char                       *p;
} ngx_claude_json_place_t;


static void
json_print(void *ctx, const char *s, size_t len)
{
    ngx_claude_json_place_t  *place = ctx;

    place->p = ngx_cpymem(place->p, s, len);
}


/* escapes control characters, quotes and backslashes, as yajl's generator */

size_t
ngx_claude_json_escaped_len(const u_char *s, size_t len)
{
    size_t         n;
    const u_char  *last;

    n = len + 2;

    for (last = s + len; s < last; s++) {

        if (*s == '"' || *s == '\\') {
            n++;

        } else if (*s < 0x20) {
            n += (*s == '\b' || *s == '\f' || *s == '\n' || *s == '\r'
                  || *s == '\t')
                 ? 1 : sizeof("u0000") - 1;
        }
    }

    return n;
}


u_char *
ngx_claude_json_escape(u_char *p, const u_char *s, size_t len)
{
    /*
     * A generator for the worker, reset for each string: yajl_gen_alloc()
     * would cost more than the strings of a delta do.
     */
    static yajl_gen                 gen;
    static ngx_claude_json_place_t  place;

    if (gen == NULL) {
        gen = yajl_gen_alloc(NULL);

        if (gen == NULL
            || !yajl_gen_config(gen, yajl_gen_print_callback, json_print,
                                &place))
        {
            /* no memory for the worker's first string, and its generator */
            ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0,
                          "claude: no memory for a JSON generator");
            ngx_abort();
        }
    }

    /* names and most other short ones are written as they are */

    if (len <= JSON_SHORT
        && ngx_claude_json_escaped_len(s, len) == len + 2)
    {
        *p++ = '"';
        p = ngx_cpymem(p, s, len);
        *p++ = '"';

        return p;
    }

    place.p = p;

    (void) yajl_gen_string(gen, s, len);
    yajl_gen_reset(gen, NULL);

    return place.p;
}


/* whether somebody reads the value that begins here */

static ngx_uint_t
json_keeps(ngx_claude_json_reader_t *reader)
{
    json_frame_t  *frame;

    if (reader->depth == 0) {
        return 1;
    }

    frame = &reader->stack[reader->depth - 1];

    if (frame->node == NULL) {
        return 0;
    }

    frame->node->holds = 1;

    if (frame->type == NGX_CLAUDE_JSON_OBJECT) {
        return reader->keep;
    }

    reader->fields = frame->fields;

    return frame->fields != NULL;
}


static ngx_claude_json_t *
json_add(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type)
{
    ngx_uint_t          named;
    json_frame_t       *frame;
    ngx_claude_json_t  *node;

    frame = reader->depth ? &reader->stack[reader->depth - 1] : NULL;
    named = (frame && frame->type == NGX_CLAUDE_JSON_OBJECT);

    node = json_cells(reader, 1 + named);
    if (node == NULL) {
        return NULL;
    }

    if (named) {
        node->type = JSON_NAME;
        node->u.data = reader->name.data;
        node->len = reader->name.len;
        node++;
    }

    node->type = type;
    node->named = named;

    if (frame) {
        frame->last = node;

    } else {
        node->last = 1;
        reader->root = node;
    }

    return node;
}


/* n cells, zeroed, side by side, with room for a jump behind them */

static ngx_claude_json_t *
json_cells(ngx_claude_json_reader_t *reader, ngx_uint_t n)
{
    ngx_claude_json_t  *cell;

    if ((size_t) (reader->limit - reader->free) <= n) {

        reader->chunk = ngx_min(reader->chunk * 2, JSON_CHUNK_MAX);

        cell = ngx_palloc(reader->cells,
                          reader->chunk * sizeof(ngx_claude_json_t));
        if (cell == NULL) {
            json_refuse(reader, "out of memory");
            return NULL;
        }

        if (reader->free) {
            ngx_memzero(reader->free, sizeof(ngx_claude_json_t));
            reader->free->type = JSON_JUMP;
            reader->free->u.end = cell;
        }

        reader->free = cell;
        reader->limit = cell + reader->chunk;
    }

    cell = reader->free;
    reader->free += n;

    ngx_memzero(cell, n * sizeof(ngx_claude_json_t));

    return cell;
}


static int
json_scalar(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type, const u_char *s, size_t len)
{
    ngx_str_t           text;
    ngx_claude_json_t  *node;

    if (s && json_check(reader, s, len) != NGX_OK) {
        return 0;
    }

    if (reader->events) {
        return json_event_value(reader, type, s, len);
    }

    if (!json_keeps(reader)) {
        return 1;
    }

    node = json_add(reader, type);
    if (node == NULL) {
        return 0;
    }

    if (s) {
        if (json_text(reader, &text, s, len) != NGX_OK) {
            return 0;
        }

        node->u.data = text.data;
        node->len = text.len;
    }

    if (type == NGX_CLAUDE_JSON_STRING) {
        node->blank = reader->has_string ? reader->string.blank
                                         : ngx_claude_utf8_blank(&text);
    }

    return 1;
}


static int
json_open(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type)
{
    json_frame_t  *frame;

    if (reader->depth == NGX_CLAUDE_JSON_DEPTH) {
        return json_refuse(reader, "nested too deeply");
    }

    if (reader->events) {
        return json_event_open(reader, type);
    }

    frame = &reader->stack[reader->depth];

    frame->node = NULL;
    frame->last = NULL;
    frame->members = 0;
    frame->type = type;

    if (json_keeps(reader)) {

        frame->node = json_add(reader, type);
        if (frame->node == NULL) {
            return 0;
        }

        frame->fields = reader->fields;
    }

    reader->depth++;

    return 1;
}


static int
json_refuse(ngx_claude_json_reader_t *reader, const char *reason)
{
    if (reader->reason.len == 0) {
        reader->reason.data = (u_char *) reason;
        reader->reason.len = ngx_strlen(reason);
    }

    return 0;
}


static void
json_refuse_at(ngx_claude_json_reader_t *reader, const char *reason, off_t at)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(reason);

    while (len && (reason[len - 1] == '\n' || reason[len - 1] == ' ')) {
        len--;
    }

    p = ngx_pnalloc(reader->pool, len + sizeof(" at byte ") + NGX_OFF_T_LEN);

    if (p == NULL) {
        json_refuse(reader, "parse error");
        return;
    }

    reader->reason.data = p;
    reader->reason.len = ngx_sprintf(p, "%*s at byte %O", len, reason, at) - p;
}


/* every string, kept or not: a body is one text, of one encoding */

static ngx_int_t
json_check(ngx_claude_json_reader_t *reader, const u_char *s, size_t len)
{
    if (reader->has_string) {
        return NGX_OK;
    }

    /* a NUL: C code on either side of us would read a shorter string */

    if (len && memchr(s, '\0', len)) {
        json_refuse(reader, "a string holds a NUL character");
        return NGX_ERROR;
    }

    if (!ngx_claude_utf8_valid(s, len)) {
        json_refuse(reader, "a string is not valid UTF-8");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
json_text(ngx_claude_json_reader_t *reader, ngx_str_t *text,
    const u_char *s, size_t len)
{
    if (len > NGX_MAX_UINT32_VALUE) {
        json_refuse(reader, "a string is too long");
        return NGX_ERROR;
    }

    if (reader->has_string && s == reader->string.text.data) {

        /* it has memory of its own */

        *text = reader->string.text;
        return NGX_OK;
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
json_yajl_reason(ngx_claude_json_reader_t *reader)
{
    off_t           at;
    unsigned char  *text;

    at = reader->read + yajl_get_bytes_consumed(reader->yajl);

    /* a verbose message would quote the client's text, into the log too */

    text = yajl_get_error(reader->yajl, 0, NULL, 0);
    if (text == NULL) {
        json_refuse(reader, "parse error");
        return;
    }

    /* yajl's messages end with a NUL */

    json_refuse_at(reader, ngx_claude_cstr(text), at);

    yajl_free_error(reader->yajl, text);
}


static void
json_cleanup(void *data)
{
    ngx_claude_json_reader_t  *reader = data;

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
    return json_scalar(ctx, NGX_CLAUDE_JSON_NULL, NULL, 0);
}


static int
json_on_boolean(void *ctx, int value)
{
    return json_scalar(ctx, value ? NGX_CLAUDE_JSON_TRUE
                                  : NGX_CLAUDE_JSON_FALSE, NULL, 0);
}


static int
json_on_number(void *ctx, const char *s, size_t len)
{
    return json_scalar(ctx, NGX_CLAUDE_JSON_NUMBER, (const u_char *) s,
                       len);
}


static int
json_on_string(void *ctx, const unsigned char *s, size_t len)
{
    int                        rc;
    ngx_str_t                  text;
    ngx_claude_json_reader_t  *reader = ctx;

    text = json_taken(reader, s, len);
    rc = json_scalar(reader, NGX_CLAUDE_JSON_STRING, text.data, text.len);

    json_done(reader, rc && (reader->events || !json_keeps(reader)));

    return rc;
}


/* the string that yajl has come to, or the one that it stands for */

static ngx_str_t
json_taken(ngx_claude_json_reader_t *reader, const u_char *s, size_t len)
{
    ngx_str_t  text;

    text.data = (u_char *) s;
    text.len = len;

    if (reader->has_string && reader->string.text.len) {
        text = reader->string.text;
    }

    return text;
}


static int
json_on_start_map(void *ctx)
{
    return json_open(ctx, NGX_CLAUDE_JSON_OBJECT);
}


static int
json_on_map_key(void *ctx, const unsigned char *s, size_t len)
{
    int                        rc;
    ngx_str_t                  name;
    ngx_claude_json_reader_t  *reader = ctx;

    name = json_taken(reader, s, len);
    rc = json_name(reader, name.data, name.len);

    json_done(reader, rc && (reader->events
                             || reader->name.data != name.data));

    return rc;
}


/* the string is read, and what went round yajl may be of no use to anybody */

static void
json_done(ngx_claude_json_reader_t *reader, ngx_uint_t useless)
{
    if (reader->has_string && useless && reader->string.size) {
        (void) ngx_pfree(reader->pool, reader->string.text.data);
    }

    reader->has_string = 0;
}


static int
json_name(ngx_claude_json_reader_t *reader, const u_char *s, size_t len)
{
    ngx_str_t                       name;
    json_frame_t                   *frame;
    const ngx_claude_json_field_t  *field;

    reader->keep = 0;

    if (json_check(reader, s, len) != NGX_OK) {
        return 0;
    }

    if (reader->events) {
        name.data = (u_char *) s;
        name.len = len;

        return json_event(reader, reader->events->name(reader->data, &name));
    }

    frame = &reader->stack[reader->depth - 1];

    if (frame->node == NULL || frame->fields == NULL) {
        return 1;
    }

    if (frame->fields == ngx_claude_json_all) {
        reader->keep = 1;
        reader->fields = frame->fields;

        return json_text(reader, &reader->name, s, len) == NGX_OK;
    }

    for (field = frame->fields; field->name.len; field++) {

        if (field->name.len == len
            && ngx_memcmp(field->name.data, s, len) == 0)
        {
            reader->keep = (field->inside != ngx_claude_json_ignored);
            reader->name = field->name;
            reader->fields = field->inside;
            break;
        }
    }

    /* who looks for a member looks at all: the last of its name counts */

    if (reader->keep && ++frame->members > NGX_CLAUDE_JSON_MEMBERS) {
        return json_refuse(reader, "an object has a member too often");
    }

    return 1;
}


static int
json_on_start_array(void *ctx)
{
    return json_open(ctx, NGX_CLAUDE_JSON_ARRAY);
}


static int
json_on_end(void *ctx)
{
    json_frame_t              *frame;
    ngx_claude_json_reader_t  *reader = ctx;

    frame = &reader->stack[--reader->depth];

    if (reader->events) {
        return json_event(reader, reader->events->close(reader->data,
                                                        frame->type));
    }

    if (frame->node) {
        frame->node->u.end = reader->free;
        frame->node->bare = (frame->last == NULL);
        frame->node->len = (uint32_t) frame->members;

        if (frame->last) {
            frame->last->last = 1;
        }
    }

    return 1;
}


/* without a tree */

static int
json_event(ngx_claude_json_reader_t *reader, ngx_int_t rc)
{
    reader->done = (rc != NGX_OK);

    return rc == NGX_OK;
}


static int
json_event_value(ngx_claude_json_reader_t *reader,
    ngx_claude_json_type_e type, const u_char *s, size_t len)
{
    ngx_str_t  value;

    value.data = (u_char *) s;
    value.len = len;

    return json_event(reader, reader->events->value(reader->data, type,
                                                    &value));
}


static int
json_event_open(ngx_claude_json_reader_t *reader, ngx_claude_json_type_e type)
{
    reader->stack[reader->depth++].type = type;

    return json_event(reader, reader->events->open(reader->data, type));
}
