
/*
 * The variables.  None is cached: limit_req and the log phase may ask for
 * the same one at different times of a request's life.
 */


#include "ngx_http_claude_variables.h"
#include "ngx_http_claude_auth.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_conversation.h"
#include "ngx_http_claude_ctx.h"


/* kinds of tokens */
#define VARIABLE_PROMPT      0
#define VARIABLE_CACHED      1
#define VARIABLE_COMPLETION  2
#define VARIABLE_REASONING   3


static ngx_int_t variable_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, size_t len, const char *fmt, ...);
static ngx_int_t variable_key_name(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_string(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_process(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_ttft(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_tokens(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_cost(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_finish_reason(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_upstream_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t variable_error(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


const ngx_http_variable_t  ngx_http_claude_variables[] = {

    { ngx_string("claude_key_name"), NULL, variable_key_name, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_model"), NULL, variable_string,
      offsetof(ngx_http_claude_ctx_t, model), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_session"), NULL, variable_string,
      offsetof(ngx_http_claude_ctx_t, session), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_process"), NULL, variable_process, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_ttft"), NULL, variable_ttft, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_prompt_tokens"), NULL, variable_tokens,
      VARIABLE_PROMPT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_cached_tokens"), NULL, variable_tokens,
      VARIABLE_CACHED, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_completion_tokens"), NULL, variable_tokens,
      VARIABLE_COMPLETION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_reasoning_tokens"), NULL, variable_tokens,
      VARIABLE_REASONING, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_finish_reason"), NULL, variable_finish_reason, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_cost_usd"), NULL, variable_cost, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_upstream_request_id"), NULL, variable_upstream_id, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_error"), NULL, variable_error, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("claude_conversation"), NULL,
      ngx_http_claude_conversation_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_claude_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t        *var;
    const ngx_http_variable_t  *v;

    for (v = ngx_http_claude_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, (ngx_str_t *) &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
variable_value(ngx_http_variable_value_t *v, ngx_str_t *s)
{
    if (s->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = s->len;
    v->data = s->data;

    return NGX_OK;
}


/* from the header, since limits ask before the access phase has come */

static ngx_int_t
variable_key_name(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_key_t       *key;
    ngx_http_claude_loc_conf_t  *lcf;

    ctx = ngx_http_claude_ctx(r);
    key = ctx ? ctx->key : NULL;

    if (key == NULL) {
        lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);
        key = lcf->auth ? ngx_http_claude_auth_find(r, lcf->keys) : NULL;
    }

    if (key == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return variable_value(v, &key->name);
}


static ngx_int_t
variable_string(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_claude_ctx(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return variable_value(v, (ngx_str_t *) ((u_char *) ctx + data));
}


/* len: bytes that the format can take */

static ngx_int_t
variable_number(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    size_t len, const char *fmt, ...)
{
    va_list    args;
    ngx_str_t  s;

    s.data = ngx_pnalloc(r->pool, len);
    if (s.data == NULL) {
        return NGX_ERROR;
    }

    va_start(args, fmt);
    s.len = ngx_vslprintf(s.data, s.data + len, fmt, args) - s.data;
    va_end(args);

    return variable_value(v, &s);
}


static ngx_claude_turn_t *
variable_turn(ngx_http_request_t *r, ngx_http_variable_value_t *v)
{
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_claude_ctx(r);

    if (ctx == NULL || ctx->spender == NULL) {
        v->not_found = 1;
        return NULL;
    }

    return ctx->total(ctx->spender);
}


static ngx_int_t
variable_process(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_claude_turn_t  *turn;

    turn = variable_turn(r, v);

    if (turn == NULL) {
        return NGX_OK;
    }

    return variable_value(v, ngx_claude_rung_name(turn->answer.rung));
}


/* seconds with milliseconds, as all of nginx's times */

static ngx_int_t
variable_ttft(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_claude_turn_t  *turn;

    turn = variable_turn(r, v);

    if (turn == NULL) {
        return NGX_OK;
    }

    if (turn->answer.ttft == (ngx_msec_t) -1) {
        v->not_found = 1;
        return NGX_OK;
    }

    return variable_number(r, v, NGX_TIME_T_LEN + sizeof(".000") - 1,
                           "%T.%03M", (time_t) turn->answer.ttft / 1000,
                           turn->answer.ttft % 1000);
}


static ngx_int_t
variable_tokens(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    uint64_t             n;
    ngx_claude_turn_t   *turn;
    ngx_claude_usage_t  *usage;

    turn = variable_turn(r, v);

    if (turn == NULL) {
        return NGX_OK;
    }

    usage = &turn->answer.spent.usage;

    switch (data) {

    case VARIABLE_PROMPT:
        n = usage->input + usage->cache_read + usage->cache_creation;
        break;

    case VARIABLE_CACHED:
        n = usage->cache_read;
        break;

    case VARIABLE_COMPLETION:
        n = usage->output;
        break;

    default:                                /* VARIABLE_REASONING */
        n = usage->thinking;
    }

    return variable_number(r, v, NGX_INT64_LEN, "%uL", n);
}


static ngx_int_t
variable_cost(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_claude_turn_t  *turn;

    turn = variable_turn(r, v);

    if (turn == NULL) {
        return NGX_OK;
    }

    if (turn->answer.spent.cost < 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return variable_number(r, v, NGX_INT64_LEN + sizeof(".000000") - 1,
                           "%.6f", turn->answer.spent.cost);
}


static ngx_int_t
variable_finish_reason(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t               ends;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_claude_ctx(r);

    if (ctx == NULL || ctx->spender == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ctx->ends(ctx->spender, &ends) != NGX_OK) {
        return NGX_ERROR;
    }

    return variable_value(v, &ends);
}


static ngx_int_t
variable_upstream_id(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t               ids;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_claude_ctx(r);

    if (ctx == NULL || ctx->spender == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    if (ctx->calls(ctx->spender, &ids) != NGX_OK) {
        return NGX_ERROR;
    }

    return variable_value(v, &ids);
}


/* the code if there is one, else the type */

static ngx_int_t
variable_error(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_claude_ctx(r);

    if (ctx == NULL || ctx->error.status == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return variable_value(v, ctx->error.code.len ? &ctx->error.code
                                                 : &ctx->error.type);
}
