
/*
 * What the rooms of the HTTP side keep about one request.
 */


#ifndef _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_claude_turn.h"


typedef struct {
    ngx_http_request_t           *request;
    const ngx_http_claude_dialect_t  *dialect;  /* never NULL */
    ngx_str_t                     id;           /* of the request, "req_" and
                                                   32 hexadecimal digits */
    ngx_str_t                     session;      /* X-Session-Id */
    ngx_str_t                     model;        /* the CLI's */
    ngx_http_claude_key_t        *key;          /* NULL: everyone */
    void                         *spender;      /* for the log: whose turns
                                                   were the last to begin */
    ngx_claude_turn_t            *(*total)(void *spender);
    ngx_int_t                   (*ends)(void *spender, ngx_str_t *ends);
    ngx_http_claude_error_t       error;
    ngx_chain_t                  *json;         /* of the error */
    void                         *body;         /* while it is read */
    ngx_pool_t                   *scratch;      /* until its turn is made */
    void                         *exchange;     /* NULL: none has begun */
    void                         *stream;       /* of server-sent events */
    unsigned                      keepalive:1;  /* before the error */
    unsigned                      answered:1;   /* by a handler of ours,
                                                   whatever the status */
    unsigned                      replaced:1;   /* body of the response */
} ngx_http_claude_ctx_t;


/*
 * The context of a request, also after an internal redirect, which clears
 * the module contexts (found again by the clean-up, as realip does).  NULL:
 * there is none.
 */
ngx_http_claude_ctx_t *ngx_http_claude_ctx(ngx_http_request_t *r);

/*
 * The same, made and given an id if there is none, and without the answer of
 * another location if the request was there before; NULL: no memory.
 */
ngx_http_claude_ctx_t *ngx_http_claude_ctx_make(ngx_http_request_t *r);


/*
 * A part of the request's id that is unique as well, for the ids of what
 * comes of it.
 */
ngx_str_t ngx_http_claude_ctx_unique(ngx_http_claude_ctx_t *ctx);


#endif /* _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_ */
