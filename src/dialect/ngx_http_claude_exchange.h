
/*
 * An exchange: a request of any dialect, the turns that come of it, and the
 * response.  It is what all dialects have in common: reading the body,
 * several answers, streamed or whole, aborting, errors, sessions, and what
 * was spent.  A dialect's request() sets the question in it.
 */


#ifndef _NGX_HTTP_CLAUDE_EXCHANGE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_EXCHANGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_claude_schema.h"
#include "ngx_claude_turn.h"
#include "ngx_http_claude_answer.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_stream.h"


/* answers to one request */
#define NGX_HTTP_CLAUDE_ANSWERS  8


struct ngx_http_claude_exchange_s {
    const ngx_http_claude_dialect_t  *dialect;
    ngx_http_claude_ctx_t            *ctx;
    void                             *own;       /* the dialect's, zeroed when
                                                    the body is there */
    ngx_str_t                         id;        /* of the answer */
    time_t                            created;   /* seconds */

    /* the question, set by the dialect */

    ngx_claude_json_t                *body;      /* while it is read */
    ngx_claude_turn_t                 turn;      /* each answer has one like
                                                    it */
    ngx_str_t                         model;     /* as the client wrote it */
    ngx_int_t                         n;         /* answers to a question */
    ngx_uint_t                        questions; /* in one request */
    ngx_array_t                       stops;     /* of stop_t, which the
                                                    provider does not take */
    ngx_str_t                         forced_name; /* of a forced call; empty:
                                                      any tool */
    ngx_claude_schema_work_t          schemas;   /* what all of them cost */
    unsigned                          streamed:1;
    unsigned                          thoughts:1; /* thinking is shown */
    unsigned                          object:1;  /* an answer is one JSON
                                                    object */
    unsigned                          forced:1;  /* the model cannot be made
                                                    to call: its text is the
                                                    call */

    /* the answers */

    ngx_http_claude_answer_t         *answers;
    ngx_uint_t                        nanswers;
    ngx_uint_t                        unfinished; /* answers */
    ngx_uint_t                        unsettled;
    ngx_http_claude_stream_t          stream;    /* of a whole response only
                                                    the marks of failure and
                                                    opening */
    ngx_event_t                       event;     /* reading goes on */

    /* the bill: the request is kept until it is known what was spent */

    ngx_http_claude_exchange_t       *earlier;   /* whose turns began before,
                                                    in another location */
    unsigned                          held:1;
    unsigned                          waiting:1; /* for nothing else */
    unsigned                          blocked:1; /* it was terminated */
    unsigned                          deferred:1; /* to be finalized with rc */
    ngx_int_t                         rc;
};


/* the content handler of a dialect's addresses */
ngx_int_t ngx_http_claude_exchange(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect);

/* adds up the usage of all answers, in ex->turn */
void ngx_http_claude_exchange_sum(ngx_http_claude_exchange_t *ex);

/* in exchange_bill.c */

/*
 * What the log is to say of all turns of the request, in ex->turn; and why
 * they ended, one after the other.  For ctx->total and ctx->ends.
 */
ngx_claude_turn_t *ngx_http_claude_exchange_total(void *data);
ngx_int_t ngx_http_claude_exchange_ends(void *data, ngx_str_t *ends);

/* the request is not freed before the release; the turns are about to begin */
void ngx_http_claude_exchange_hold(ngx_http_claude_exchange_t *ex);

/* the request is about to be finalized: it may go, or waits for the bill */
void ngx_http_claude_exchange_release(ngx_http_claude_exchange_t *ex);

/*
 * Whether it is not to be finalized yet: it is when the bill is known.  The
 * line of a mirror's request is written as it is finalized.
 */
ngx_uint_t ngx_http_claude_exchange_defer(ngx_http_claude_exchange_t *ex,
    ngx_int_t rc);

/* the same of one that nginx is about to terminate */
void ngx_http_claude_exchange_block(ngx_http_claude_exchange_t *ex);

/* a turn has its bill: ex may be gone when it returns */
void ngx_http_claude_exchange_paid(ngx_http_claude_exchange_t *ex);


#endif /* _NGX_HTTP_CLAUDE_EXCHANGE_H_INCLUDED_ */
