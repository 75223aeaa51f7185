
/*
 * Sessions: the names that answers carry in X-Session-Id, and what a request
 * may do with one.
 *
 * A name that an answer gave is a UUID in which a part is the check sum of
 * the rest and of the API key, so it is known again by any worker and any
 * machine without a table, and is nobody else's.  Any other UUID is a name of
 * the client's own, and the CLI's session has an id made of it and the key.
 * What is no UUID is a hint which process to prefer.
 */


#ifndef _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"


/*
 * Names the session of a turn whose messages are read: sets ctx->session and
 * turn->session.  whole: the turn has a history, not only what is new.
 * NGX_OK, or an error status.
 */
ngx_int_t ngx_http_claude_session(ngx_http_claude_ctx_t *ctx,
    ngx_claude_turn_t *turn, ngx_uint_t whole);

/*
 * The session of one more answer to the question of that turn, which nobody is
 * told of.  n: number of the answer, from 1.
 */
void ngx_http_claude_session_other(ngx_claude_turn_t *turn, ngx_uint_t n);


#endif /* _NGX_HTTP_CLAUDE_SESSION_H_INCLUDED_ */
