
/*
 * The context of a request: making it and finding it again.
 */


#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_openai.h"


#define CTX_UNIQUE_LEN  24


static const ngx_http_claude_dialect_t *ctx_dialect(ngx_http_request_t *r);
static void ctx_again(ngx_http_claude_ctx_t *ctx);
static void ctx_cleanup(void *data);
static ngx_int_t ctx_id(ngx_http_request_t *r, ngx_http_claude_ctx_t *ctx);


ngx_http_claude_ctx_t *
ngx_http_claude_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        ctx = cln->data;

        /* a subrequest and its parent share the pool */

        if (cln->handler == ctx_cleanup && ctx->request == r) {
            return ctx;
        }
    }

    return NULL;
}


ngx_http_claude_ctx_t *
ngx_http_claude_ctx_make(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (ctx) {
        return ctx;
    }

    ctx = ngx_http_claude_ctx(r);

    if (ctx) {
        ctx_again(ctx);
        ctx->dialect = ctx_dialect(r);
        ngx_http_set_ctx(r, ctx, ngx_http_claude_module);
        return ctx;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_claude_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->dialect = ctx_dialect(r);

    if (ctx_id(r, ctx) != NGX_OK) {
        return NULL;
    }

    cln->handler = ctx_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_claude_module);

    return ctx;
}


/* errors have a shape under every address */

static const ngx_http_claude_dialect_t *
ctx_dialect(ngx_http_request_t *r)
{
    const ngx_http_claude_dialect_t  *dialect;

    dialect = ngx_http_claude_dialect(r);

    return dialect ? dialect : &ngx_http_claude_openai;
}


/*
 * Forgets the answer of the location before, which is not this one's.  The
 * turn and the model that it has had stay until there is another, and the key
 * until it is looked for again: the log asks for them.
 */

static void
ctx_again(ngx_http_claude_ctx_t *ctx)
{
    ngx_memzero(&ctx->error, sizeof(ngx_http_claude_error_t));

    ngx_str_null(&ctx->session);

    ctx->exchange = NULL;
    ctx->json = NULL;
    ctx->answered = 0;
    ctx->replaced = 0;
}


/* only marks the context among the clean-ups; it owns nothing but memory */

static void
ctx_cleanup(void *data)
{
    ngx_http_claude_ctx_t  *ctx = data;

    ctx->request = NULL;
}


/* the id is nginx's own $request_id, so that one log finds the other */

static ngx_int_t
ctx_id(ngx_http_request_t *r, ngx_http_claude_ctx_t *ctx)
{
    ngx_str_t                   name = ngx_string("request_id");
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_variable(r, &name, ngx_hash_key(name.data, name.len));

    if (vv == NULL || vv->not_found) {
        return NGX_ERROR;
    }

    ctx->id.data = ngx_pnalloc(r->pool, sizeof("req_") - 1 + vv->len);
    if (ctx->id.data == NULL) {
        return NGX_ERROR;
    }

    ctx->id.len = ngx_sprintf(ctx->id.data, "req_%v", vv) - ctx->id.data;

    return NGX_OK;
}


ngx_str_t
ngx_http_claude_ctx_unique(ngx_http_claude_ctx_t *ctx)
{
    ngx_str_t  id;

    id.data = ctx->id.data + sizeof("req_") - 1;
    id.len = ngx_min(CTX_UNIQUE_LEN, ctx->id.len - (sizeof("req_") - 1));

    return id;
}
