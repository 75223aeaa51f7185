
/*
 * Errors.  See the header.
 */


#include "ngx_http_claude_error.h"
#include "ngx_http_claude_conf.h"
#include "ngx_claude_utf8.h"
#include "ngx_http_claude_document.h"


/* a longer wait makes SDKs sleep on without a word, seconds */
#define ERROR_RETRY_MAX  60

/* bytes of a message, of a page's first buffer */
#define ERROR_MESSAGE    1024
#define ERROR_SIZE       1024


static void error_set(ngx_http_claude_ctx_t *ctx, const char *code,
    const char *param, u_char *message, size_t len);
static void error_default(ngx_http_claude_ctx_t *ctx, ngx_uint_t status);
static ngx_int_t error_header_filter(ngx_http_request_t *r);
static ngx_int_t error_body_filter(ngx_http_request_t *r, ngx_chain_t *in);
static ngx_int_t error_headers(ngx_http_request_t *r,
    ngx_http_claude_ctx_t *ctx, off_t length);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


const ngx_http_claude_failure_t
    ngx_http_claude_failures[NGX_CLAUDE_FAILS] =
{
    [NGX_CLAUDE_FAIL_INTERNAL] = { 500, "internal_error", 0,
        "The server could not handle the request." },

    [NGX_CLAUDE_FAIL_QUEUE_FULL] = { 429, "queue_full", 0,
        "The server is busy." },

    [NGX_CLAUDE_FAIL_QUEUE_TIMEOUT] = { 429, "queue_timeout", 0,
        "The server is busy." },

    [NGX_CLAUDE_FAIL_UNAVAILABLE] = { 503, "cli_unavailable", 1,
        "The Claude CLI cannot be started on the server. Its operator finds "
        "the reason in nginx's error log." },

    [NGX_CLAUDE_FAIL_NOT_LOGGED_IN] = { 503, "cli_not_logged_in", 1,
        "The Claude CLI on the server has no valid login. Its operator has to "
        "log it in, or give it a key or token, as the user nginx runs as." },

    [NGX_CLAUDE_FAIL_TOO_OLD] = { 503, "cli_too_old", 1,
        "The Claude CLI on the server is too old: 2.1.260 or later is needed. "
        "Its operator has to update it." },

    [NGX_CLAUDE_FAIL_CLI] = { 502, "cli_failed", 0,
        "The Claude CLI failed." },

    [NGX_CLAUDE_FAIL_TIMEOUT] = { 504, "timeout", 0,
        "The model did not answer in time." },

    [NGX_CLAUDE_FAIL_TURN_TIMEOUT] = { 504, "turn_timeout", 0,
        "The answer took longer than this server allows." },

    [NGX_CLAUDE_FAIL_RATE_LIMIT] = { 429, "rate_limit_exceeded", 0,
        "The model's provider limits the rate of requests." },

    [NGX_CLAUDE_FAIL_OVERLOADED] = { 503, "overloaded", 0,
        "The model's provider is overloaded or out of reach." },

    [NGX_CLAUDE_FAIL_MODEL] = { 404, "model_not_found", 1,
        "The model does not exist or you do not have access to it." },

    [NGX_CLAUDE_FAIL_REQUEST] = { 400, NULL, 1,
        "The model's provider refused the request." },

    [NGX_CLAUDE_FAIL_TOO_LARGE] = { 413, "request_too_large", 1,
        "The model's provider found the request too large." },

    [NGX_CLAUDE_FAIL_CONTEXT] = { 400, "context_length_exceeded", 1,
        "This model's maximum context length is exceeded "
        "(context_length_exceeded): shorten the messages." },

    [NGX_CLAUDE_FAIL_BUDGET] = { 402, "budget_exceeded", 1,
        "The budget of this request is used up." },

    [NGX_CLAUDE_FAIL_SESSION_GONE] = { 410, "session_expired", 1,
        "The session has expired: no process holds its conversation any more. "
        "Send the whole history." },

    [NGX_CLAUDE_FAIL_SESSION_BUSY] = { 409, "session_busy", 0,
        "The session is in use elsewhere on the server." },

    [NGX_CLAUDE_FAIL_SESSION_MODEL] = { 400, "session_model", 1,
        "The session goes on with the model that it began with. Send the "
        "whole history to change it." },

    [NGX_CLAUDE_FAIL_SESSION_SYSTEM] = { 400, "session_system", 1,
        "The session goes on with the system text that it began with. Send "
        "the whole history to change it, or leave it out." }
};

/* a failure that was added behind the last one has no row yet */
typedef char  error_failures_check[
    (NGX_CLAUDE_FAIL_SESSION_SYSTEM + 1 == NGX_CLAUDE_FAILS) ? 1 : -1];


ngx_int_t
ngx_http_claude_error(ngx_http_claude_ctx_t *ctx, ngx_uint_t status,
    const char *code, const char *param, const char *fmt, ...)
{
    u_char   buf[ERROR_MESSAGE], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    /* a URI may hold anything, and the cut be in the midst of a character */

    ngx_claude_utf8_clean(buf, p - buf);

    ctx->error.status = status;
    ctx->error.fail = NGX_CLAUDE_FAILS;

    error_set(ctx, code, param, buf, p - buf);

    return ctx->error.status;
}


/* the strings of an error, and what the dialect has to say of it */

static void
error_set(ngx_http_claude_ctx_t *ctx, const char *code, const char *param,
    u_char *message, size_t len)
{
    ngx_http_claude_error_t  *error;

    error = &ctx->error;
    error->id = ctx->id;

    ngx_str_null(&error->type);
    ngx_str_null(&error->code);
    ngx_str_null(&error->param);
    ngx_str_null(&error->message);

    if (code) {
        error->code.data = (u_char *) code;
        error->code.len = ngx_strlen(code);
    }

    if (param) {
        error->param.len = ngx_strlen(param);
        error->param.data = ngx_pnalloc(ctx->request->pool, error->param.len);

        if (error->param.data == NULL) {
            error->param.len = 0;

        } else {
            ngx_memcpy(error->param.data, param, error->param.len);
        }
    }

    error->message.data = ngx_pnalloc(ctx->request->pool, len);

    if (error->message.data) {
        error->message.len = len;
        ngx_memcpy(error->message.data, message, len);
    }

    if (ctx->dialect->failure) {
        ctx->dialect->failure(error);
    }
}


ngx_int_t
ngx_http_claude_error_turn(ngx_http_claude_ctx_t *ctx,
    ngx_claude_turn_t *turn)
{
    u_char                            wait[128], buf[ERROR_MESSAGE], *p;
    u_char                           *last;
    const char                       *param, *space;
    const ngx_http_claude_failure_t  *failure;

    p = wait;
    space = turn->answer.reason.len ? " " : "";

    if (turn->answer.fail == NGX_CLAUDE_FAIL_CLI && turn->answer.reason.len) {
        space = " What happened: ";
    }

    param = (turn->answer.fail == NGX_CLAUDE_FAIL_MODEL
             || turn->answer.fail == NGX_CLAUDE_FAIL_SESSION_MODEL)
            ? "model" : NULL;

    if (turn->answer.fail == NGX_CLAUDE_FAIL_CONTEXT
        || turn->answer.fail == NGX_CLAUDE_FAIL_SESSION_SYSTEM)
    {
        param = "messages";
    }

    /* clients sleep for whatever the header says, so the rest is words */

    if (turn->answer.retry_after > ERROR_RETRY_MAX) {
        p = ngx_sprintf(p, " It asks to wait for %T seconds.",
                        turn->answer.retry_after);

    } else if (turn->answer.fail == NGX_CLAUDE_FAIL_RATE_LIMIT
               && turn->answer.retry_after == 0)
    {
        p = ngx_sprintf(p, " It is not known how long to wait.");
        turn->answer.retry_after = ERROR_RETRY_MAX / 2;
    }

    failure = &ngx_http_claude_failures[turn->answer.fail];

    ctx->error.final = failure->final
                       || turn->answer.retry_after > ERROR_RETRY_MAX;
    ctx->error.retry_after = ngx_min(turn->answer.retry_after,
                                     ERROR_RETRY_MAX);
    ctx->error.fail = turn->answer.fail;
    ctx->error.status = failure->status;

    last = ngx_slprintf(buf, buf + sizeof(buf), "%s%*s%s%V", failure->message,
                        (size_t) (p - wait), wait, space,
                        &turn->answer.reason);
    ngx_claude_utf8_clean(buf, last - buf);

    error_set(ctx, failure->code, param, buf, last - buf);

    return ctx->error.status;
}


ngx_int_t
ngx_http_claude_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


void
ngx_http_claude_error_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = error_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = error_body_filter;
}


/* an error of nginx's own, or of another module */

static void
error_default(ngx_http_claude_ctx_t *ctx, ngx_uint_t status)
{
    const char  *message;

    ctx->error.final = 0;
    ctx->error.retry_after = 0;

    switch (status) {

    case 401:
        message = "The request is not authorized.";
        break;

    case 403:
        message = "Access is forbidden.";
        break;

    case 404:
        message = "There is nothing under this address.";
        break;

    case 405:
        message = "This method is not allowed here.";
        break;

    case 408:
        message = "The request did not arrive in time.";
        break;

    case 413:
        message = "The request body is too large.";
        break;

    case 429:
        message = "Too many requests.";
        ctx->error.retry_after = 1;
        break;

    case 503:
        message = "The server is busy or not available.";
        break;

    default:
        message = (status >= 500) ? "The server could not handle the request."
                                  : "The request is not valid.";
    }

    (void) ngx_http_claude_error(ctx, status,
                                 (status == 429) ? "rate_limit_exceeded"
                                                 : NULL,
                                 NULL, "%s", message);
}


static ngx_int_t
error_header_filter(ngx_http_request_t *r)
{
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_loc_conf_t  *lcf;
    ngx_http_claude_document_t   document;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    /* a user's error_page leads out of the location, and so past this */

    if (!lcf->endpoint || r->err_status < NGX_HTTP_BAD_REQUEST) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_claude_ctx_make(r);

    /* or to another of ours, whose answer has the error's status then */

    if (ctx == NULL || ctx->answered) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->error.status != r->err_status) {
        error_default(ctx, r->err_status);

    } else if (ctx->keepalive) {

        /*
         * ngx_http_special_response_handler() closes the connection after
         * some errors since the body may not have been read; ours was.
         */

        r->keepalive = 1;
    }

    ngx_http_claude_document_init(&document, r->pool, ERROR_SIZE);
    ctx->dialect->error(&document.out, &ctx->error);

    ctx->json = ngx_http_claude_document_end(&document, r == r->main);

    if (ctx->json == NULL
        || error_headers(r, ctx, ngx_http_claude_document_length(&document))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->replaced = 1;

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
error_headers(ngx_http_request_t *r, ngx_http_claude_ctx_t *ctx, off_t length)
{
    ngx_str_t  value;

    r->headers_out.content_length_n = length;

    if (r->headers_out.content_length) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = NULL;
    }

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    if (ngx_http_claude_header(r, ctx->dialect->request_id, &ctx->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->error.final) {
        ngx_str_set(&value, "false");

        if (ngx_http_claude_header(r, "x-should-retry", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ctx->error.retry_after) {
        value.data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = ngx_sprintf(value.data, "%T", ctx->error.retry_after)
                    - value.data;

        if (ngx_http_claude_header(r, "Retry-After", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
error_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (ctx == NULL || !ctx->replaced || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    /* nginx's page is swallowed, ours takes the place of its end */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    if (ctx->json) {
        in = ctx->json;
        ctx->json = NULL;
    }

    return ngx_http_next_body_filter(r, in);
}
