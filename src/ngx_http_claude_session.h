
/*
 * Sessions: the names that answers carry in X-Session-Id, and what a request
 * may do with one.
 *
 * A name that an answer gave is a UUID in which a part is the check sum of
 * the rest and of the API key, so it is known again by any worker and any
 * machine without a table, and is nobody else's.
 */


#ifndef _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"


/*
 * Names the session of a request that brings only new messages or a whole
 * history.  NGX_OK: ctx->session is set; 410, with the error set:
 * it asks to continue a session that no process holds; or an error status.
 */
ngx_int_t ngx_http_claude_session(ngx_http_claude_ctx_t *ctx,
    u_char *tenant, ngx_uint_t whole);


#endif /* _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_ */
