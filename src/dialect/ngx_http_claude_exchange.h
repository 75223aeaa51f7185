
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
#include "ngx_http_claude_bill.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_later.h"
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
    ngx_http_claude_later_t           later;     /* reading goes on */
    ngx_http_claude_bill_t            bill;
};


/* the content handler of a dialect's addresses */
ngx_int_t ngx_http_claude_exchange(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect);

/* adds up the usage of all answers, in ex->turn */
void ngx_http_claude_exchange_sum(ngx_http_claude_exchange_t *ex);


#endif /* _NGX_HTTP_CLAUDE_EXCHANGE_H_INCLUDED_ */
