
/*
 * Responses of one piece.  See the header.
 */


#include "ngx_http_claude_response.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_error.h"


ngx_int_t
ngx_http_claude_response_headers(ngx_http_request_t *r)
{
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    ctx->answered = 1;

    /* If-Match and the like ask about a document; this is a new answer */

    r->disable_not_modified = 1;

    /* X-Accel-Redirect leaves those of the response that had it */

    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    if (ngx_http_claude_header(r, ctx->dialect->request_id, &ctx->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->session.len) {
        return ngx_http_claude_header(r, "X-Session-Id", &ctx->session);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_response(ngx_http_request_t *r, const char *type,
    ngx_http_claude_document_t *document)
{
    ngx_int_t     rc;
    ngx_chain_t  *out;

    out = ngx_http_claude_document_end(document, r == r->main);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n =
        ngx_http_claude_document_length(document);
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (ngx_http_claude_response_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}
