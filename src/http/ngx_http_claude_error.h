
/*
 * Errors in the shape of the dialect that is spoken: setting them, giving
 * failures of turns their status, and putting them in the place of every
 * error page of a location of ours, nginx's own ones included.  A user's
 * error_page goes before.
 */


#ifndef _NGX_HTTP_CLAUDE_ERROR_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"


/* error that a client is told of a failed turn */
typedef struct {
    ngx_uint_t                 status;
    const char                *code;            /* NULL: none */
    unsigned                   final:1;         /* a retry cannot help */
    const char                *message;         /* words before the CLI's */
} ngx_http_claude_failure_t;

/* by ngx_claude_fail_e */
extern const ngx_http_claude_failure_t
    ngx_http_claude_failures[NGX_CLAUDE_FAILS];


/*
 * Sets the error of a request and returns the status, to be returned by
 * handlers.  code, param: literals, or NULL for null.  fmt: as of
 * ngx_sprintf(), for the client; what does not fit 1 KB is cut.
 */
ngx_int_t ngx_http_claude_error(ngx_http_claude_ctx_t *ctx, ngx_uint_t status,
    const char *code, const char *param, const char *fmt, ...);

/* an error of what is wrong in a body */
#define ngx_http_claude_error_400(ctx, param, ...)                            \
    ngx_http_claude_error(ctx, NGX_HTTP_BAD_REQUEST, NULL, param, __VA_ARGS__)

/* the error of a failed turn */
ngx_int_t ngx_http_claude_error_turn(ngx_http_claude_ctx_t *ctx,
    ngx_claude_turn_t *turn);

/* adds a header to the response; value is not copied */
ngx_int_t ngx_http_claude_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* installs the filters, at postconfiguration */
void ngx_http_claude_error_init(void);


#endif /* _NGX_HTTP_CLAUDE_ERROR_H_INCLUDED_ */
