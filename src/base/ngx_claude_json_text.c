
/*
 * JSON trees back to text: as they are, and in the one form that all texts of
 * the same meaning have.  Depth is bounded by the reader that built the tree.
 */


#include "ngx_claude_json.h"
#include "ngx_claude_text.h"


/* digits that a double keeps of any number, and that tell it from others */
#define JSON_DIGITS      15
#define JSON_DIGITS_MAX  17

/* a number in its canonical form, with room for any exponent */
#define JSON_NUMBER_LEN  64


typedef struct {
    ngx_str_t           name;
    ngx_claude_json_t  *node;
    ngx_uint_t          n;              /* place among the members */
} json_member_t;


static ngx_int_t json_canonical(ngx_claude_text_t *text,
    ngx_claude_json_t *node);
static ngx_int_t json_canonical_number(ngx_claude_text_t *text,
    ngx_claude_json_t *node);
static u_char *json_decimal(u_char *p, ngx_str_t *number, ngx_uint_t max);
static ngx_int_t json_canonical_array(ngx_claude_text_t *text,
    ngx_claude_json_t *node);
static ngx_int_t json_canonical_object(ngx_claude_text_t *text,
    ngx_claude_json_t *node);
static ngx_int_t json_canonical_members(ngx_claude_text_t *text,
    json_member_t *member, ngx_uint_t n);
static ngx_int_t json_canonical_string(ngx_claude_text_t *text, ngx_str_t *s);
static ngx_uint_t json_members(ngx_claude_json_t *node, json_member_t *member);
static int ngx_libc_cdecl json_compare(const void *one, const void *two);
static ngx_int_t json_compare_names(const ngx_str_t *one,
    const ngx_str_t *two);


#define json_first  ngx_claude_json_first
#define json_next   ngx_claude_json_next
#define json_put    ngx_claude_text_literal


size_t
ngx_claude_json_text_len(ngx_claude_json_t *node)
{
    size_t              len;
    ngx_str_t           s;
    ngx_claude_json_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
    case NGX_CLAUDE_JSON_TRUE:
        return 4;

    case NGX_CLAUDE_JSON_FALSE:
        return 5;

    case NGX_CLAUDE_JSON_NUMBER:
        return node->len;

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_json_escaped_len(node->u.data, node->len);
    }

    len = 2;

    for (child = json_first(node); child; child = json_next(child)) {

        len += ngx_claude_json_text_len(child) + !child->last;

        if (child->named) {
            s = ngx_claude_json_name(child);
            len += ngx_claude_json_escaped_len(s.data, s.len) + 1;
        }
    }

    return len;
}


u_char *
ngx_claude_json_write(u_char *p, ngx_claude_json_t *node)
{
    ngx_str_t           name;
    ngx_uint_t          object;
    ngx_claude_json_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
        return ngx_cpymem(p, "null", 4);

    case NGX_CLAUDE_JSON_FALSE:
        return ngx_cpymem(p, "false", 5);

    case NGX_CLAUDE_JSON_TRUE:
        return ngx_cpymem(p, "true", 4);

    case NGX_CLAUDE_JSON_NUMBER:
        return ngx_cpymem(p, node->u.data, node->len);

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_json_escape(p, node->u.data, node->len);
    }

    object = (node->type == NGX_CLAUDE_JSON_OBJECT);
    *p++ = object ? '{' : '[';

    for (child = json_first(node); child; child = json_next(child)) {

        if (object) {
            name = ngx_claude_json_name(child);
            p = ngx_claude_json_escape(p, name.data, name.len);
            *p++ = ':';
        }

        p = ngx_claude_json_write(p, child);

        if (!child->last) {
            *p++ = ',';
        }
    }

    *p++ = object ? '}' : ']';

    return p;
}


ngx_int_t
ngx_claude_json_text(ngx_pool_t *pool, ngx_claude_json_t *node,
    ngx_str_t *text)
{
    size_t  len;

    len = ngx_claude_json_text_len(node);

    text->data = ngx_pnalloc(pool, ngx_max(len, 1));
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_claude_json_write(text->data, node) - text->data;

    return NGX_OK;
}


ngx_claude_json_t *
ngx_claude_json_parse(ngx_pool_t *pool, ngx_str_t *text)
{
    ngx_claude_json_reader_t  *reader;

    reader = ngx_claude_json_reader(pool, pool,
                                    ngx_claude_json_all);

    if (reader == NULL
        || ngx_claude_json_read(reader, text->data, text->len) != NGX_OK)
    {
        return NULL;
    }

    return ngx_claude_json_end(reader);
}


ngx_int_t
ngx_claude_json_canonical(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *canonical)
{
    ngx_int_t           rc;
    ngx_pool_t         *scratch;
    ngx_claude_text_t   out;
    ngx_claude_json_t  *node;

    /* the usual call has no arguments at all */

    if (text->len == 2 && text->data[0] == '{' && text->data[1] == '}') {
        *canonical = *text;
        return NGX_OK;
    }

    /* the tree is many times as large as the text, and not needed for long */

    scratch = ngx_create_pool(4096, pool->log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&out, sizeof(ngx_claude_text_t));
    out.pool = scratch;

    node = ngx_claude_json_parse(scratch, text);

    if (node == NULL) {
        *canonical = *text;
        rc = NGX_DECLINED;

    } else if (json_canonical(&out, node) != NGX_OK) {
        rc = NGX_ERROR;

    } else {
        rc = ngx_claude_text_copy(&out, pool, canonical);
    }

    ngx_destroy_pool(scratch);

    return rc;
}


static ngx_int_t
json_canonical(ngx_claude_text_t *text, ngx_claude_json_t *node)
{
    u_char     *p;
    ngx_str_t   s;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NUMBER:
        return json_canonical_number(text, node);

    case NGX_CLAUDE_JSON_STRING:
        s = ngx_claude_json_value(node);
        return json_canonical_string(text, &s);

    case NGX_CLAUDE_JSON_ARRAY:
        return json_canonical_array(text, node);

    case NGX_CLAUDE_JSON_OBJECT:
        return json_canonical_object(text, node);
    }

    /* null, false and true */

    p = ngx_claude_text_room(text, ngx_claude_json_text_len(node));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_claude_json_write(p, node) - text->data;

    return NGX_OK;
}


/*
 * 1, 1.0 and 1e0 are one number.  So are those that a double does not tell
 * apart, since clients read and write them so.
 */

static ngx_int_t
json_canonical_number(ngx_claude_text_t *text,
    ngx_claude_json_t *node)
{
    char       number[JSON_NUMBER_LEN];
    u_char    *p, buf[JSON_NUMBER_LEN];
    double     value;
    ngx_str_t  s, wide;

    s = ngx_claude_json_value(node);

    p = json_decimal(buf, &s, JSON_DIGITS);

    if (p == NULL
        && ngx_claude_json_double(node, -1e308, 1e308, &value) == NGX_OK)
    {
        wide.data = (u_char *) number;
        wide.len = snprintf(number, JSON_NUMBER_LEN, "%.15g", value);

        if (strtod(number, NULL) != value) {
            wide.len = snprintf(number, JSON_NUMBER_LEN, "%.17g", value);
        }

        p = json_decimal(buf, &wide, JSON_DIGITS_MAX);
    }

    if (p) {
        s.data = buf;
        s.len = p - buf;
    }

    return ngx_claude_text_add(text, s.data, s.len);
}


/*
 * A number as JSON has it: its digits from the first to the last that is no
 * zero, and a power of ten.  Returns the end, or NULL where it has more than
 * so many digits, or an exponent of another world.
 */

static u_char *
json_decimal(u_char *p, ngx_str_t *number, ngx_uint_t max)
{
    u_char      *s, *last;
    ngx_int_t    power, sign;
    ngx_uint_t   n, zeros, fraction;

    s = number->data;
    last = s + number->len;
    n = 0;
    zeros = 0;
    power = 0;
    fraction = 0;

    if (s < last && *s == '-') {
        *p++ = *s++;
    }

    for ( /* void */ ; s < last && *s != 'e' && *s != 'E'; s++) {

        if (*s == '.') {
            fraction = 1;
            continue;
        }

        power -= fraction;

        if (*s == '0') {
            zeros += (n != 0);
            continue;
        }

        if (n + zeros >= max) {
            return NULL;
        }

        for (n += zeros + 1; zeros; zeros--) {
            *p++ = '0';
        }

        *p++ = *s;
    }

    if (n == 0) {
        p -= (number->len && number->data[0] == '-');
        *p++ = '0';
        return p;
    }

    power += zeros;
    sign = 1;

    if (s < last) {
        s++;

        if (s < last && (*s == '-' || *s == '+')) {
            sign = (*s++ == '-') ? -1 : 1;
        }

        if (last - s > 6) {
            return NULL;
        }

        power += sign * ngx_max(ngx_atoi(s, last - s), 0);
    }

    return power ? ngx_sprintf(p, "e%i", power) : p;
}


static ngx_int_t
json_canonical_string(ngx_claude_text_t *text, ngx_str_t *s)
{
    u_char  *p;

    p = ngx_claude_text_room(text,
                ngx_claude_json_escaped_len(s->data, s->len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_claude_json_escape(p, s->data, s->len) - text->data;

    return NGX_OK;
}


static ngx_int_t
json_canonical_array(ngx_claude_text_t *text,
    ngx_claude_json_t *node)
{
    ngx_claude_json_t  *child;

    if (json_put(text, "[") != NGX_OK) {
        return NGX_ERROR;
    }

    for (child = json_first(node); child; child = json_next(child)) {

        if (json_canonical(text, child) != NGX_OK
            || (!child->last && json_put(text, ",") != NGX_OK))
        {
            return NGX_ERROR;
        }
    }

    return json_put(text, "]");
}


static ngx_int_t
json_canonical_object(ngx_claude_text_t *text,
    ngx_claude_json_t *node)
{
    ngx_int_t       rc;
    ngx_uint_t      n;
    json_member_t  *member;

    n = json_members(node, NULL);

    /* a list as large as the cells: off the pool, it is freed at once */

    member = ngx_alloc(ngx_max(n, 1) * sizeof(json_member_t), text->pool->log);
    if (member == NULL) {
        return NGX_ERROR;
    }

    (void) json_members(node, member);

    /* the C library's is no quicksort: n log n whatever the names are */

    qsort(member, n, sizeof(json_member_t), json_compare);

    rc = json_canonical_members(text, member, n);

    ngx_free(member);

    return rc;
}


static ngx_int_t
json_canonical_members(ngx_claude_text_t *text, json_member_t *member,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    if (json_put(text, "{") != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        /* a name that comes again: the last member of it counts */

        if (i + 1 < n
            && json_compare_names(&member[i].name, &member[i + 1].name) == 0)
        {
            continue;
        }

        if (json_canonical_string(text, &member[i].name) != NGX_OK
            || json_put(text, ":") != NGX_OK
            || json_canonical(text, member[i].node) != NGX_OK
            || (i + 1 < n && json_put(text, ",") != NGX_OK))
        {
            return NGX_ERROR;
        }
    }

    return json_put(text, "}");
}


/* the number of an object's members; member: their list, or NULL */

static ngx_uint_t
json_members(ngx_claude_json_t *node, json_member_t *member)
{
    ngx_uint_t          n;
    ngx_claude_json_t  *child;

    n = 0;

    for (child = json_first(node); child; child = json_next(child)) {

        if (member) {
            member[n].name = ngx_claude_json_name(child);
            member[n].node = child;
            member[n].n = n;
        }

        n++;
    }

    return n;
}


static int ngx_libc_cdecl
json_compare(const void *one, const void *two)
{
    ngx_int_t             rc;
    const json_member_t  *a = one, *b = two;

    rc = json_compare_names(&a->name, &b->name);

    if (rc == 0) {
        rc = (a->n < b->n) ? -1 : 1;
    }

    return (rc > 0) - (rc < 0);
}


static ngx_int_t
json_compare_names(const ngx_str_t *one, const ngx_str_t *two)
{
    ngx_int_t  rc;

    rc = ngx_memcmp(one->data, two->data, ngx_min(one->len, two->len));

    if (rc == 0 && one->len != two->len) {
        rc = (one->len < two->len) ? -1 : 1;
    }

    return rc;
}
