
/*
 * $claude_conversation.  See the header.
 *
 * The body is read once for each use of the variable, into a pool of its own:
 * what is in memory is small, see client_body_buffer_size.
 */


#include "ngx_http_claude_conversation.h"
#include "ngx_claude_json.h"

#include <ngx_sha1.h>


#define CONVERSATION_LEN  40


static const ngx_claude_json_field_t  conversation_message[] = {
    { ngx_string("role"), NULL, NULL },
    { ngx_string("content"), ngx_claude_json_all, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  conversation_fields[] = {
    { ngx_string("messages"), conversation_message, NULL },
    { ngx_string("prompt"), ngx_claude_json_all, NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_claude_json_t *conversation_body(ngx_http_request_t *r,
    ngx_pool_t *pool);
static ngx_int_t conversation_hash(ngx_http_request_t *r, ngx_pool_t *pool,
    ngx_claude_json_t *body, u_char *hash);
static ngx_int_t conversation_add(ngx_sha1_t *sha1, ngx_pool_t *pool,
    ngx_claude_json_t *node);


ngx_int_t
ngx_http_claude_conversation_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char             *p, hash[20];
    ngx_int_t           rc;
    ngx_pool_t         *pool;
    ngx_claude_json_t  *body;

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    pool = ngx_create_pool(4096, r->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    body = conversation_body(r, pool);
    rc = body ? conversation_hash(r, pool, body, hash) : NGX_DECLINED;

    ngx_destroy_pool(pool);

    if (rc == NGX_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, CONVERSATION_LEN);

    if (rc != NGX_OK || p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(p, hash, sizeof(hash));

    v->data = p;
    v->len = CONVERSATION_LEN;

    return NGX_OK;
}


/* NULL: it was not read, is in a file, or is no JSON */

static ngx_claude_json_t *
conversation_body(ngx_http_request_t *r, ngx_pool_t *pool)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl;
    ngx_claude_json_reader_t  *reader;

    if (r->request_body == NULL || r->request_body->bufs == NULL
        || r->request_body->temp_file)
    {
        return NULL;
    }

    reader = ngx_claude_json_reader(pool, pool, conversation_fields);
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


/* NGX_DECLINED: it has neither a message of the user nor a prompt */

static ngx_int_t
conversation_hash(ngx_http_request_t *r, ngx_pool_t *pool,
    ngx_claude_json_t *body, u_char *hash)
{
    ngx_sha1_t          sha1;
    ngx_uint_t          user;
    ngx_claude_json_t  *list, *message, *role, *content;

    ngx_sha1_init(&sha1);

    if (r->headers_in.authorization) {
        ngx_sha1_update(&sha1, r->headers_in.authorization->value.data,
                        r->headers_in.authorization->value.len);
    }

    list = ngx_claude_json_member(body, "messages");

    if (list == NULL) {

        /* of the older endpoint */

        list = ngx_claude_json_member(body, "prompt");

        if (list == NULL || conversation_add(&sha1, pool, list) != NGX_OK) {
            return list ? NGX_ERROR : NGX_DECLINED;
        }

        ngx_sha1_final(hash, &sha1);

        return NGX_OK;
    }

    if (list->type != NGX_CLAUDE_JSON_ARRAY) {
        return NGX_DECLINED;
    }

    user = 0;

    /* later system messages come and go, those before the user stay */

    for (message = ngx_claude_json_first(list);
         message && !user;
         message = ngx_claude_json_next(message))
    {

        role = ngx_claude_json_member(message, "role");
        content = ngx_claude_json_member(message, "content");

        if (role == NULL || content == NULL) {
            return NGX_DECLINED;
        }

        user = ngx_claude_json_is(role, "user");

        if (!user && !ngx_claude_json_is(role, "system")
            && !ngx_claude_json_is(role, "developer"))
        {
            continue;
        }

        ngx_sha1_update(&sha1, user ? "\0u" : "\0s", 2);

        if (conversation_add(&sha1, pool, content) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_sha1_final(hash, &sha1);

    return user ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
conversation_add(ngx_sha1_t *sha1, ngx_pool_t *pool,
    ngx_claude_json_t *node)
{
    ngx_str_t  text;

    if (ngx_claude_json_text(pool, node, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sha1_update(sha1, text.data, text.len);

    return NGX_OK;
}
