
/*
 * The bill of an exchange.
 *
 * nginx writes the log when a request is freed.  What was spent may be known
 * a little later than the answer is complete, or the client gone: when the
 * CLI has stopped, and has said what it cost.  So the request is kept so long,
 * in the two ways that nginx has for that: counted, as for a subrequest, and
 * blocked, as while a file is read for it, where it is terminated.
 */


#ifndef _NGX_HTTP_CLAUDE_BILL_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_BILL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_turn.h"
#include "ngx_http_claude_answer.h"
#include "ngx_http_claude_ctx.h"


typedef struct ngx_http_claude_bill_s  ngx_http_claude_bill_t;

struct ngx_http_claude_bill_s {
    ngx_http_claude_ctx_t     *ctx;
    ngx_claude_turn_t         *sum;          /* turn that says of all what
                                                the log wants */
    ngx_http_claude_answer_t  *answers;
    ngx_uint_t                 nanswers;
    ngx_http_claude_bill_t    *earlier;      /* bill of a location that had
                                                turns before */
    unsigned                   held:1;       /* the request is counted */
    unsigned                   waiting:1;    /* the request is kept for
                                                nothing else */
    unsigned                   blocked:1;    /* the request was terminated */
    unsigned                   deferred:1;   /* the request is to be finalized
                                                with rc */
    ngx_int_t                  rc;
};


/*
 * The turns of the answers are about to begin: the request is not freed
 * before the release, and the log asks here.
 */
void ngx_http_claude_bill_open(ngx_http_claude_bill_t *bill,
    ngx_http_claude_ctx_t *ctx, ngx_claude_turn_t *sum,
    ngx_http_claude_answer_t *answers, ngx_uint_t nanswers);

/* the request is about to be finalized: it may go, or waits for the bill */
void ngx_http_claude_bill_release(ngx_http_claude_bill_t *bill);

/*
 * Whether the request is not to be finalized yet: it is when the bill is
 * known.  The line of a mirror's request is written as it is finalized.
 */
ngx_uint_t ngx_http_claude_bill_defer(ngx_http_claude_bill_t *bill,
    ngx_int_t rc);

/* as the release, of a request that nginx is about to terminate */
void ngx_http_claude_bill_block(ngx_http_claude_bill_t *bill);

/* a turn has its bill: the request may be gone when it returns */
void ngx_http_claude_bill_paid(ngx_http_claude_bill_t *bill);


#endif /* _NGX_HTTP_CLAUDE_BILL_H_INCLUDED_ */
