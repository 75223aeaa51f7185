
/*
 * An answer, of one or several to a request: a turn, and what came of it.
 * What the model says passes here, through the filters of its text, to the
 * dialect, which writes it to a stream, and to what is kept of it, for a whole
 * response.
 */


#ifndef _NGX_HTTP_CLAUDE_ANSWER_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_ANSWER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_turn.h"
#include "ngx_http_claude_answer_text.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_filter.h"


struct ngx_http_claude_answer_s {
    ngx_http_claude_exchange_t       *exchange;  /* exchange of the answer, for
                                                    the dialect */
    const ngx_http_claude_dialect_t  *dialect;
    ngx_http_claude_ctx_t            *ctx;
    ngx_claude_out_t                 *out;       /* sink of the stream; its
                                                    failure is also a whole
                                                    answer's */
    ngx_uint_t                        index;
    ngx_claude_turn_t                 turn;
    void                             *own;       /* state of the dialect */
    ngx_str_t                         before;    /* text before the model's,
                                                    or empty */

    ngx_claude_block_t               *block;     /* block that is open, or
                                                    NULL */
    ngx_uint_t                        ncalls;    /* number of calls so far */
    ngx_http_claude_answer_text_t     text;      /* blocks that are kept */

    ngx_http_claude_filter_t         *filter;    /* first filter of its
                                                    text, or NULL */
    ngx_http_claude_filter_t          sink;      /* last filter, which
                                                    writes */
    ngx_claude_block_t                filtered;  /* block that it writes */
    ngx_http_claude_filter_stops_t    stops;
    ngx_http_claude_filter_object_t   object;
    ngx_http_claude_filter_forced_t   forced;

    unsigned                          streamed:1;
    unsigned                          keeps:1;   /* blocks are kept */
    unsigned                          thoughts:1; /* thinking is shown */
};


/*
 * Gets one ready whose exchange, turn and flags are set.  NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_http_claude_answer_init(ngx_http_claude_answer_t *answer);

/* puts a filter before those that there are: the last one gets it first */
ngx_int_t ngx_http_claude_answer_stops(ngx_http_claude_answer_t *answer,
    ngx_array_t *stops);
void ngx_http_claude_answer_object(ngx_http_claude_answer_t *answer);
void ngx_http_claude_answer_forced(ngx_http_claude_answer_t *answer,
    ngx_str_t *name);

/*
 * Events of the turn, see turn.h.  No memory: answer->out->failed.
 */
void ngx_http_claude_answer_begin(ngx_http_claude_answer_t *answer);
void ngx_http_claude_answer_open(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block);
void ngx_http_claude_answer_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block, u_char *p, size_t len);
void ngx_http_claude_answer_other(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block, u_char *p, size_t len);
void ngx_http_claude_answer_close(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block);
void ngx_http_claude_answer_end(ngx_http_claude_answer_t *answer);

/*
 * Why it ended: what the model said, or that it calls, where a call is one
 * that the model knows nothing of; and in the words of the dialect, a literal.
 */
ngx_claude_stop_e ngx_http_claude_answer_stop(
    ngx_http_claude_answer_t *answer);
const char *ngx_http_claude_answer_reason(ngx_http_claude_answer_t *answer);


#endif /* _NGX_HTTP_CLAUDE_ANSWER_H_INCLUDED_ */
