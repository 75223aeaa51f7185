
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


/* texts that become one, a slice at a time */
typedef struct {
    ngx_str_t                         text;      /* what there is of it */
    ngx_uint_t                        n;         /* texts that are in it */
    size_t                            offset;    /* bytes of the next one that
                                                    are, too */
} ngx_http_claude_join_t;


struct ngx_http_claude_exchange_s {
    const ngx_http_claude_dialect_t  *dialect;
    ngx_http_claude_ctx_t            *ctx;
    void                             *own;       /* state of the dialect,
                                                    zeroes at first */
    ngx_str_t                         id;        /* id of the response */
    time_t                            created;   /* seconds since the epoch */

    /* the question, set by the dialect's request() */

    ngx_claude_json_t                *body;      /* tree of the body, while it
                                                    is read */
    const ngx_claude_json_field_t    *field;     /* next member of the table */
    size_t                            left;      /* bytes that the slice has
                                                    left, as long as a hash
                                                    of them takes */
    ngx_claude_turn_t                 turn;      /* turn that those of the
                                                    answers are copies of */
    ngx_str_t                         model;     /* name as the client wrote
                                                    it */
    ngx_int_t                         n;         /* number of answers to each
                                                    question */
    ngx_uint_t                        questions; /* number of them */
    ngx_array_t                       stops;     /* stop_t, sequences that the
                                                    provider does not take */
    ngx_str_t                         forced_name; /* tool of a forced call;
                                                      empty: any */
    ngx_http_claude_join_t            join;      /* system text while it is
                                                    joined */
    ngx_claude_schema_work_t          schemas;   /* work that all schemas have
                                                    made */
    unsigned                          streamed:1;
    unsigned                          thoughts:1; /* thinking is shown */
    unsigned                          object:1;  /* an answer is one JSON
                                                    object */
    unsigned                          forced:1;  /* the model cannot be made
                                                    to call: its text is the
                                                    call */

    /* the answers */

    ngx_claude_turn_asker_t           asker;     /* of their turns */
    ngx_http_claude_answer_t         *answers;
    ngx_uint_t                        nanswers;
    ngx_uint_t                        hashed;    /* number of those whose
                                                    conversation has its
                                                    links */
    ngx_uint_t                        unfinished; /* number of answers whose
                                                     text is not complete */
    ngx_uint_t                        unsettled; /* number of those that have
                                                    no bill yet */
    ngx_http_claude_stream_t          stream;    /* output; a whole response
                                                    has its marks of failure
                                                    and opening alone */
    ngx_http_claude_later_t           later;     /* next slice of the body */
    ngx_http_claude_bill_t            bill;
};


/*
 * What was done since takes as long as to hash so many bytes: 4 ns each.  A
 * reader to whom nothing is left returns NGX_AGAIN, and is called again.
 */
#define ngx_http_claude_exchange_spend(ex, size)                              \
    ((ex)->left -= ngx_min((ex)->left, (size_t) (size)))


/* the content handler of a dialect's addresses */
ngx_int_t ngx_http_claude_exchange(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect);

/* adds up the usage of all answers, in ex->turn, and returns it */
ngx_claude_usage_t *ngx_http_claude_exchange_sum(
    ngx_http_claude_exchange_t *ex);


#endif /* _NGX_HTTP_CLAUDE_EXCHANGE_H_INCLUDED_ */
