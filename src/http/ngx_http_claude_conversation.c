
/*
 * $claude_conversation.  See the header.
 *
 * The body is read for each use of the variable, for one dialect after the
 * other, into a pool of its own: what is in memory is small, see
 * client_body_buffer_size.
 */


#include "ngx_http_claude_conversation.h"
#include "ngx_claude_hash.h"
#include "ngx_claude_json_text.h"
#include "ngx_http_claude_conf.h"


#define CONVERSATION_LEN  40


static ngx_int_t conversation_hash(ngx_http_request_t *r,
    ngx_http_claude_first_t *first, ngx_claude_hash_t *hash);
static ngx_uint_t conversation_speaks(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect);
static ngx_int_t conversation_first(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect, ngx_http_claude_first_t *first);
static ngx_claude_json_t *conversation_body(ngx_http_request_t *r,
    ngx_pool_t *pool, const ngx_claude_json_field_t *fields);


ngx_int_t
ngx_http_claude_conversation_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                   *p;
    ngx_int_t                 rc;
    ngx_claude_hash_t         hash;
    ngx_http_claude_first_t   first;

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    first.pool = ngx_create_pool(4096, r->connection->log);
    if (first.pool == NULL) {
        return NGX_ERROR;
    }

    rc = conversation_hash(r, &first, &hash);

    ngx_destroy_pool(first.pool);

    if (rc == NGX_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, CONVERSATION_LEN);

    if (rc != NGX_OK || p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(p, hash.hash, sizeof(hash.hash));

    v->data = p;
    v->len = CONVERSATION_LEN;

    return NGX_OK;
}


/*
 * The dialects are asked in turn whether the body is one of theirs, those of
 * the address before the others: the node in front knows no location of ours.
 */

static ngx_int_t
conversation_hash(ngx_http_request_t *r, ngx_http_claude_first_t *first,
    ngx_claude_hash_t *hash)
{
    ngx_int_t                          rc;
    ngx_uint_t                         i, others;
    ngx_http_claude_main_conf_t       *mcf;
    const ngx_http_claude_dialect_t  **dialect;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    dialect = mcf->dialects.elts;
    rc = NGX_DECLINED;

    for (others = 0; others < 2; others++) {
        for (i = 0; i < mcf->dialects.nelts && rc == NGX_DECLINED; i++) {

            if (dialect[i]->first == NULL
                || conversation_speaks(r, dialect[i]) == others)
            {
                continue;
            }

            rc = conversation_first(r, dialect[i], first);
        }
    }

    if (rc == NGX_OK) {
        ngx_claude_hash_final(hash, &first->sha1);
    }

    return rc;
}


static ngx_uint_t
conversation_speaks(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect)
{
    const ngx_str_t  *path;

    path = &dialect->path;

    return r->uri.len >= path->len
           && ngx_memcmp(r->uri.data + r->uri.len - path->len, path->data,
                         path->len)
              == 0;
}


static ngx_int_t
conversation_first(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect, ngx_http_claude_first_t *first)
{
    ngx_str_t          *key;
    ngx_claude_json_t  *body;

    body = conversation_body(r, first->pool, dialect->opening);
    if (body == NULL) {
        return NGX_DECLINED;
    }

    ngx_sha1_init(&first->sha1);

    if (r->headers_in.authorization) {
        key = &r->headers_in.authorization->value;
        ngx_sha1_update(&first->sha1, key->data, key->len);
    }

    return dialect->first(first, body);
}


/* NULL: it was not read, is in a file, or is no JSON */

static ngx_claude_json_t *
conversation_body(ngx_http_request_t *r, ngx_pool_t *pool,
    const ngx_claude_json_field_t *fields)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl;
    ngx_claude_json_reader_t  *reader;

    if (r->request_body == NULL || r->request_body->bufs == NULL
        || r->request_body->temp_file)
    {
        return NULL;
    }

    reader = ngx_claude_json_reader(pool, pool, fields);
    if (reader == NULL) {
        return NULL;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        /* a proxy that has sent it has moved pos, and start is not */

        if (b->start == NULL || b->last <= b->start) {
            continue;
        }

        if (ngx_claude_json_read(reader, b->start, b->last - b->start)
            != NGX_OK)
        {
            return NULL;
        }
    }

    return ngx_claude_json_end(reader);
}


ngx_int_t
ngx_http_claude_conversation_add(ngx_http_claude_first_t *first,
    ngx_claude_json_t *node)
{
    ngx_str_t  text;

    if (ngx_claude_json_text(first->pool, node, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sha1_update(&first->sha1, text.data, text.len);

    return NGX_OK;
}
