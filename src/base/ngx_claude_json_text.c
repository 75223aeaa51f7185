
/*
 * JSON trees back to text.  See the header.  Depth is bounded by the reader
 * that built the tree.
 */


#include "ngx_claude_json_text.h"
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


static void json_canonical(ngx_claude_out_t *out, ngx_claude_json_t *node);
static void json_canonical_number(ngx_claude_out_t *out,
    ngx_claude_json_t *node);
static u_char *json_decimal(u_char *p, ngx_str_t *number, ngx_uint_t max);
static void json_canonical_array(ngx_claude_out_t *out,
    ngx_claude_json_t *node);
static void json_canonical_object(ngx_claude_out_t *out,
    ngx_claude_json_t *node);
static void json_canonical_members(ngx_claude_out_t *out,
    json_member_t *member, ngx_uint_t n);
static ngx_uint_t json_members(ngx_claude_json_t *node, json_member_t *member);
static int ngx_libc_cdecl json_compare(const void *one, const void *two);
static ngx_int_t json_compare_names(const ngx_str_t *one,
    const ngx_str_t *two);


#define json_first  ngx_claude_json_first
#define json_next   ngx_claude_json_next
#define json_put    ngx_claude_out_literal


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


void
ngx_claude_json_text_out(ngx_claude_out_t *out, ngx_claude_json_t *node)
{
    ngx_str_t           name;
    ngx_uint_t          object;
    ngx_claude_json_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
        json_put(out, "null");
        return;

    case NGX_CLAUDE_JSON_FALSE:
        json_put(out, "false");
        return;

    case NGX_CLAUDE_JSON_TRUE:
        json_put(out, "true");
        return;

    case NGX_CLAUDE_JSON_NUMBER:
        ngx_claude_out_write(out, node->u.data, node->len);
        return;

    case NGX_CLAUDE_JSON_STRING:
        ngx_claude_out_string(out, node->u.data, node->len);
        return;
    }

    object = (node->type == NGX_CLAUDE_JSON_OBJECT);
    ngx_claude_out_write(out, object ? "{" : "[", 1);

    for (child = json_first(node); child; child = json_next(child)) {

        if (object) {
            name = ngx_claude_json_name(child);
            ngx_claude_out_string(out, name.data, name.len);
            json_put(out, ":");
        }

        ngx_claude_json_text_out(out, child);

        if (!child->last) {
            json_put(out, ",");
        }
    }

    ngx_claude_out_write(out, object ? "}" : "]", 1);
}


ngx_int_t
ngx_claude_json_text(ngx_pool_t *pool, ngx_claude_json_t *node,
    ngx_str_t *text)
{
    size_t             len;
    ngx_claude_text_t  whole;

    len = ngx_claude_json_text_len(node);

    /* the writer needs a byte more while it is at a long string */

    if (ngx_claude_text_init(&whole, pool, len + 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_claude_json_text_out(ngx_claude_text_begin(&whole), node);

    if (ngx_claude_text_end(&whole) != NGX_OK) {
        return NGX_ERROR;
    }

    text->data = whole.data;
    text->len = whole.len;

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
    ngx_claude_text_t   whole;
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

    ngx_memzero(&whole, sizeof(ngx_claude_text_t));
    whole.pool = scratch;

    node = ngx_claude_json_parse(scratch, text);

    if (node == NULL) {
        *canonical = *text;
        rc = NGX_DECLINED;

    } else {
        json_canonical(ngx_claude_text_begin(&whole), node);

        rc = ngx_claude_text_end(&whole);

        if (rc == NGX_OK) {
            rc = ngx_claude_text_copy(&whole, pool, canonical);
        }
    }

    ngx_destroy_pool(scratch);

    return rc;
}


static void
json_canonical(ngx_claude_out_t *out, ngx_claude_json_t *node)
{
    switch (node->type) {

    case NGX_CLAUDE_JSON_NUMBER:
        json_canonical_number(out, node);
        break;

    case NGX_CLAUDE_JSON_ARRAY:
        json_canonical_array(out, node);
        break;

    case NGX_CLAUDE_JSON_OBJECT:
        json_canonical_object(out, node);
        break;

    default:                                /* one form only */
        ngx_claude_json_text_out(out, node);
    }
}


/*
 * 1, 1.0 and 1e0 are one number.  So are those that a double does not tell
 * apart, since clients read and write them so.
 */

static void
json_canonical_number(ngx_claude_out_t *out, ngx_claude_json_t *node)
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

    ngx_claude_out_write(out, s.data, s.len);
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


static void
json_canonical_array(ngx_claude_out_t *out, ngx_claude_json_t *node)
{
    ngx_claude_json_t  *child;

    json_put(out, "[");

    for (child = json_first(node); child; child = json_next(child)) {

        json_canonical(out, child);

        if (!child->last) {
            json_put(out, ",");
        }
    }

    json_put(out, "]");
}


static void
json_canonical_object(ngx_claude_out_t *out, ngx_claude_json_t *node)
{
    ngx_uint_t      n;
    json_member_t  *member;

    n = json_members(node, NULL);

    /* a list as large as the cells: off the pool, it is freed at once */

    member = ngx_alloc(ngx_max(n, 1) * sizeof(json_member_t), ngx_cycle->log);
    if (member == NULL) {
        out->failed = 1;
        return;
    }

    (void) json_members(node, member);

    /* the C library's is no quicksort: n log n whatever the names are */

    qsort(member, n, sizeof(json_member_t), json_compare);

    json_canonical_members(out, member, n);

    ngx_free(member);
}


static void
json_canonical_members(ngx_claude_out_t *out, json_member_t *member,
    ngx_uint_t n)
{
    ngx_uint_t  i;

    json_put(out, "{");

    for (i = 0; i < n; i++) {

        /* a name that comes again: the last member of it counts */

        if (i + 1 < n
            && json_compare_names(&member[i].name, &member[i + 1].name) == 0)
        {
            continue;
        }

        ngx_claude_out(out, "%J:", &member[i].name);
        json_canonical(out, member[i].node);

        if (i + 1 < n) {
            json_put(out, ",");
        }
    }

    json_put(out, "}");
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
