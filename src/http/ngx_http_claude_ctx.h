
/*
 * The context of a request: what the rooms of the HTTP side keep about it.
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
    ngx_http_request_t               *request;
    const ngx_http_claude_dialect_t  *dialect;  /* dialect of its address, or
                                                   errors alone; never NULL */
    ngx_str_t                         id;       /* id of the request, "req_"
                                                   and 32 hexadecimal digits */
    ngx_str_t                         session;  /* X-Session-Id */
    ngx_str_t                         model;    /* model as the CLI has it */
    ngx_http_claude_key_t            *key;      /* key of the client; NULL:
                                                   everyone may ask */
    void                             *spender;  /* bill of the turns that were
                                                   the last to begin */
    ngx_claude_turn_t              *(*total)(void *spender);
    ngx_int_t                       (*ends)(void *spender, ngx_str_t *ends);
    ngx_int_t                       (*calls)(void *spender, ngx_str_t *ids);
    ngx_http_claude_error_t           error;
    ngx_chain_t                      *json;     /* body of the error's page */
    void                             *body;     /* reader of the body */
    ngx_pool_t                       *scratch;  /* memory until the turn is
                                                   made */
    ngx_pool_t                       *memory;   /* memory of what comes of the
                                                   body, as long as the
                                                   request */
    ngx_http_claude_exchange_t       *exchange; /* NULL: none has begun */
    void                             *stream;   /* stream of its response */
    unsigned                          keepalive:1; /* r->keepalive before the
                                                      error */
    unsigned                          answered:1;  /* a handler of ours has
                                                      sent the response */
    unsigned                          replaced:1;  /* our page of an error
                                                      takes nginx's place */
} ngx_http_claude_ctx_t;


/*
 * The context of a request, also after an internal redirect, which clears
 * the module contexts (found again by the clean-up, as realip does).  NULL:
 * there is none.
 */
ngx_http_claude_ctx_t *ngx_http_claude_ctx(ngx_http_request_t *r);

/*
 * The context, made and given an id if there is none, and without the answer
 * of another location if the request was there before; NULL: no memory.
 */
ngx_http_claude_ctx_t *ngx_http_claude_ctx_make(ngx_http_request_t *r);

/*
 * A part of the request's id that is unique as well, for the ids of what
 * comes of it.
 */
ngx_str_t ngx_http_claude_ctx_unique(ngx_http_claude_ctx_t *ctx);


#endif /* _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_ */
