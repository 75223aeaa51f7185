
/*
 * The body of a request: read by nginx, into memory or a file, and then made
 * a JSON tree in slices, one for each turn of the event loop, so that a large
 * body stalls nobody.
 */


#ifndef _NGX_HTTP_CLAUDE_BODY_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"
#include "ngx_claude_json.h"


/*
 * The whole body was read: the tree, or NULL when it is refused, with the
 * error set.  The tree's strings live as long as the request, the tree itself
 * and all in ctx->scratch until ngx_http_claude_body_free().  Finalizes the
 * request, now or later.
 */
typedef void (*ngx_http_claude_body_pt)(ngx_http_claude_ctx_t *ctx,
    ngx_claude_json_t *body);


/*
 * Reads a body, and of that the fields, see json.h.  What a content handler
 * returns: NGX_DONE, or a status.
 */
ngx_int_t ngx_http_claude_body_read(ngx_http_claude_ctx_t *ctx,
    const ngx_claude_json_field_t *fields, ngx_http_claude_body_pt handler);

/* once a turn is made of it */
void ngx_http_claude_body_free(ngx_http_claude_ctx_t *ctx);


#endif /* _NGX_HTTP_CLAUDE_BODY_H_INCLUDED_ */
