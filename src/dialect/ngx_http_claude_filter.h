
/*
 * Filters of an answer's text, one behind the other: each gets what the model
 * writes in pieces, and gives on what is the client's.  They know nothing of
 * who asked, nor of the form of the answer.
 */


#ifndef _NGX_HTTP_CLAUDE_FILTER_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_FILTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_text.h"


typedef struct ngx_http_claude_filter_s  ngx_http_claude_filter_t;

/*
 * delta() gets a piece of text, UTF-8 and valid during the call; end() is
 * called after the last.  NGX_OK; NGX_ERROR: no memory; NGX_DONE, of stops
 * alone: the answer is over.
 */
struct ngx_http_claude_filter_s {
    ngx_http_claude_filter_t  *next;
    ngx_pool_t                *pool;
    ngx_int_t                (*delta)(ngx_http_claude_filter_t *filter,
        u_char *p, size_t len);
    ngx_int_t                (*end)(ngx_http_claude_filter_t *filter);
};


/* a stop sequence that the provider does not take */
typedef struct {
    ngx_str_t                  text;
    uint32_t                  *border;         /* by number of bytes of the
                                                  text: the longest beginning
                                                  that they end with, but for
                                                  all */
    ngx_uint_t                 matched;        /* bytes that the answer ends
                                                  with */
} ngx_http_claude_stop_t;


/* ends the answer before a stop sequence */
typedef struct {
    ngx_http_claude_filter_t   filter;
    ngx_array_t                stops;          /* stop_t */
    size_t                     surplus;        /* bytes that the model has
                                                  written and that are no part
                                                  of the answer any more */
    unsigned                   done:1;
} ngx_http_claude_filter_stops_t;


/* leaves out what is around one JSON object */
typedef struct {
    ngx_http_claude_filter_t   filter;
    ngx_str_t                  held;           /* text before the object */
    ngx_uint_t                 depth;
    unsigned                   begun:1;
    unsigned                   done:1;
    unsigned                   in_string:1;
    unsigned                   escaped:1;
    unsigned                   plain:1;        /* there is no object: all of
                                                  the text passes */
} ngx_http_claude_filter_object_t;


/* makes the text a call of a tool */
typedef struct ngx_http_claude_filter_forced_s
    ngx_http_claude_filter_forced_t;

struct ngx_http_claude_filter_forced_s {
    ngx_http_claude_filter_t   filter;
    ngx_str_t                  name;           /* name of the tool; empty: the
                                                  text has name and
                                                  arguments */
    ngx_claude_text_t          json;           /* text, until its end */
    unsigned                   called:1;

    /* a call begins: what goes on then are its arguments */
    ngx_int_t                (*call)(ngx_http_claude_filter_forced_t *forced,
        ngx_str_t *name);
};


/*
 * Adds a stop sequence to an array of them, for filters to be made of.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_stops_add(ngx_array_t *stops, ngx_pool_t *pool,
    ngx_str_t *text);

/* filters before the next one, zeroed by the caller.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_filter_stops(ngx_http_claude_filter_stops_t *stops,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool, ngx_array_t *all);
void ngx_http_claude_filter_object(ngx_http_claude_filter_object_t *object,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool);
void ngx_http_claude_filter_forced(ngx_http_claude_filter_forced_t *forced,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool, ngx_str_t *name);


#endif /* _NGX_HTTP_CLAUDE_FILTER_H_INCLUDED_ */
