
/*
 * JSON trees back to text: as they are, and in the one form that all texts of
 * the same meaning have.  Depth is bounded by the reader that built the tree.
 */


#include "ngx_http_claude_json.h"


/* a double, as the canonical form has it */
#define JSON_DOUBLE_LEN  32


typedef struct {
    ngx_http_claude_json_t  *node;
    ngx_uint_t               n;         /* where it stood */
} json_member_t;


static ngx_int_t json_canonical(ngx_pool_t *pool,
    ngx_http_claude_json_t *node);
static ngx_int_t json_canonical_number(ngx_pool_t *pool,
    ngx_http_claude_json_t *node);
static ngx_int_t json_canonical_members(ngx_pool_t *pool,
    ngx_http_claude_json_t *node);
static int ngx_libc_cdecl json_compare(const void *one, const void *two);
static ngx_int_t json_compare_names(ngx_str_t *one, ngx_str_t *two);


size_t
ngx_http_claude_json_text_max(ngx_http_claude_json_t *node)
{
    size_t                   len;
    ngx_http_claude_json_t  *child;

    len = sizeof(",") - 1;

    if (node->name.data) {
        len += ngx_http_claude_json_escaped(node->name.data, node->name.len)
               + 1;
    }

    switch (node->type) {

    case NGX_HTTP_CLAUDE_JSON_NULL:
    case NGX_HTTP_CLAUDE_JSON_TRUE:
        return len + 4;

    case NGX_HTTP_CLAUDE_JSON_FALSE:
        return len + 5;

    case NGX_HTTP_CLAUDE_JSON_NUMBER:
        return len + node->value.len;

    case NGX_HTTP_CLAUDE_JSON_STRING:
        return len + ngx_http_claude_json_escaped(node->value.data,
                                                  node->value.len);

    default:
        for (child = node->first; child; child = child->next) {
            len += ngx_http_claude_json_text_max(child);
        }

        return len + 2;
    }
}


u_char *
ngx_http_claude_json_write(u_char *p, ngx_http_claude_json_t *node)
{
    ngx_http_claude_json_t  *child;

    switch (node->type) {

    case NGX_HTTP_CLAUDE_JSON_NULL:
        return ngx_cpymem(p, "null", 4);

    case NGX_HTTP_CLAUDE_JSON_FALSE:
        return ngx_cpymem(p, "false", 5);

    case NGX_HTTP_CLAUDE_JSON_TRUE:
        return ngx_cpymem(p, "true", 4);

    case NGX_HTTP_CLAUDE_JSON_NUMBER:
        return ngx_cpymem(p, node->value.data, node->value.len);

    case NGX_HTTP_CLAUDE_JSON_STRING:
        return ngx_http_claude_json_escape(p, node->value.data,
                                           node->value.len);

    case NGX_HTTP_CLAUDE_JSON_ARRAY:
        *p++ = '[';

        for (child = node->first; child; child = child->next) {
            p = ngx_http_claude_json_write(p, child);

            if (child->next) {
                *p++ = ',';
            }
        }

        *p++ = ']';
        return p;

    default: /* NGX_HTTP_CLAUDE_JSON_OBJECT */
        *p++ = '{';

        for (child = node->first; child; child = child->next) {
            p = ngx_http_claude_json_escape(p, child->name.data,
                                            child->name.len);
            *p++ = ':';
            p = ngx_http_claude_json_write(p, child);

            if (child->next) {
                *p++ = ',';
            }
        }

        *p++ = '}';
        return p;
    }
}


ngx_int_t
ngx_http_claude_json_text(ngx_pool_t *pool, ngx_http_claude_json_t *node,
    ngx_str_t *text)
{
    text->data = ngx_pnalloc(pool, ngx_http_claude_json_text_max(node));
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_http_claude_json_write(text->data, node) - text->data;

    return NGX_OK;
}


ngx_http_claude_json_t *
ngx_http_claude_json_parse(ngx_pool_t *pool, ngx_str_t *text)
{
    ngx_http_claude_json_reader_t  *reader;

    reader = ngx_http_claude_json_reader(pool);

    if (reader == NULL
        || ngx_http_claude_json_read(reader, text->data, text->len) != NGX_OK)
    {
        return NULL;
    }

    return ngx_http_claude_json_end(reader);
}


ngx_int_t
ngx_http_claude_json_canonical(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *canonical)
{
    ngx_int_t                rc;
    ngx_str_t                inner;
    ngx_pool_t              *scratch;
    ngx_http_claude_json_t  *node;

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

    node = ngx_http_claude_json_parse(scratch, text);

    if (node == NULL) {
        *canonical = *text;
        rc = NGX_DECLINED;

    } else if (json_canonical(scratch, node) != NGX_OK
               || ngx_http_claude_json_text(scratch, node, &inner) != NGX_OK)
    {
        rc = NGX_ERROR;

    } else {
        canonical->len = inner.len;
        canonical->data = ngx_pstrdup(pool, &inner);
        rc = canonical->data ? NGX_OK : NGX_ERROR;
    }

    ngx_destroy_pool(scratch);

    return rc;
}


static ngx_int_t
json_canonical(ngx_pool_t *pool, ngx_http_claude_json_t *node)
{
    ngx_http_claude_json_t  *child;

    if (node->type == NGX_HTTP_CLAUDE_JSON_NUMBER) {
        return json_canonical_number(pool, node);
    }

    for (child = node->first; child; child = child->next) {
        if (json_canonical(pool, child) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (node->type == NGX_HTTP_CLAUDE_JSON_OBJECT && node->first) {
        return json_canonical_members(pool, node);
    }

    return NGX_OK;
}


/* 1, 1.0 and 1e0 are one number */

static ngx_int_t
json_canonical_number(ngx_pool_t *pool, ngx_http_claude_json_t *node)
{
    u_char  *p;
    double   number;

    if (ngx_http_claude_json_double(node, -1e308, 1e308, &number) != NGX_OK) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, JSON_DOUBLE_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    node->value.len = snprintf((char *) p, JSON_DOUBLE_LEN, "%.17g", number);
    node->value.data = p;

    return NGX_OK;
}


static ngx_int_t
json_canonical_members(ngx_pool_t *pool, ngx_http_claude_json_t *node)
{
    ngx_uint_t               i, n;
    json_member_t           *member;
    ngx_http_claude_json_t  *child, **last;

    n = 0;

    for (child = node->first; child; child = child->next) {
        n++;
    }

    member = ngx_palloc(pool, n * sizeof(json_member_t));
    if (member == NULL) {
        return NGX_ERROR;
    }

    n = 0;

    for (child = node->first; child; child = child->next) {
        member[n].node = child;
        member[n].n = n;
        n++;
    }

    ngx_qsort(member, (size_t) n, sizeof(json_member_t), json_compare);

    last = &node->first;

    for (i = 0; i < n; i++) {

        /* of equal names the last one counts */

        if (i + 1 < n
            && json_compare_names(&member[i].node->name,
                                  &member[i + 1].node->name)
               == 0)
        {
            continue;
        }

        *last = member[i].node;
        last = &member[i].node->next;
    }

    *last = NULL;

    return NGX_OK;
}


static int ngx_libc_cdecl
json_compare(const void *one, const void *two)
{
    ngx_int_t             rc;
    const json_member_t  *a = one, *b = two;

    rc = json_compare_names(&a->node->name, &b->node->name);

    if (rc == 0) {
        rc = (a->n < b->n) ? -1 : 1;
    }

    return (rc > 0) - (rc < 0);
}


static ngx_int_t
json_compare_names(ngx_str_t *one, ngx_str_t *two)
{
    ngx_int_t  rc;

    rc = ngx_memcmp(one->data, two->data, ngx_min(one->len, two->len));

    if (rc == 0 && one->len != two->len) {
        rc = (one->len < two->len) ? -1 : 1;
    }

    return rc;
}
