
/*
 * What the rooms of the HTTP side keep about one request.
 */


#ifndef _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_auth.h"
#include "ngx_claude_turn.h"


/* an error as OpenAI shapes it; strings live as long as the request */
typedef struct {
    ngx_uint_t                    status;       /* 0: there is none */
    ngx_str_t                     type;
    ngx_str_t                     code;         /* empty: null */
    ngx_str_t                     param;        /* empty: null */
    ngx_str_t                     message;
    time_t                        retry_after;  /* seconds, 0: not said */
    unsigned                      final:1;      /* a retry cannot help */
} ngx_http_claude_error_t;


typedef struct {
    ngx_http_request_t           *request;
    ngx_str_t                     id;           /* x-request-id */
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
    void                         *dialect;      /* its own state */
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


#endif /* _NGX_HTTP_CLAUDE_CTX_H_INCLUDED_ */
