
/*
 * Output as server-sent events, through nginx's filter chain, with
 * back-pressure: while the client has not taken what was written, the writer
 * is told so, and told again when it may go on.  Buffers are reused; a stream
 * holds no more of them than one read of the CLI's pipe filled.
 */


#ifndef _NGX_HTTP_CLAUDE_STREAM_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STREAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_out.h"


typedef struct ngx_http_claude_stream_s  ngx_http_claude_stream_t;

struct ngx_http_claude_stream_s {
    ngx_claude_out_t       out;           /* to write to; nothing is sent
                                             before the flush.  failed: no
                                             memory, or the filters */

    /* set by the writer */
    ngx_http_request_t    *request;
    ngx_msec_t             heartbeat;
    void                  *data;
    ngx_int_t            (*open)(ngx_http_claude_stream_t *stream);
                                          /* sends the header: the first
                                             heartbeat is due, or text */
    void                 (*blocked)(ngx_http_claude_stream_t *stream);
    void                 (*unblocked)(ngx_http_claude_stream_t *stream);
    void                 (*beat)(ngx_http_claude_stream_t *stream);
                                          /* writes a heartbeat */

    unsigned               complete:1;    /* nothing comes behind what is
                                             written, no heartbeat either */

    /* the room's own */
    ngx_chain_t           *chain;
    ngx_chain_t          **last;
    ngx_buf_t             *buf;           /* the one that is filled */
    ngx_chain_t           *free;
    ngx_chain_t           *busy;
    ngx_event_t            timer;
    unsigned               opened:1;
    unsigned               is_blocked:1;
    unsigned               closed:1;
};


/*
 * An event with a name, a literal; its data is an object, of the members that
 * a format of ngx_claude_out() and at least one value make.
 */
#define ngx_http_claude_event(out, name, members, ...)                        \
    ngx_claude_out(out, "event: " name "\ndata: {" members "}\n\n",           \
                   __VA_ARGS__)


/* begins the heartbeat; ends with the request.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_stream_init(ngx_http_claude_stream_t *stream);

/* sends all that was written.  NGX_ERROR: the request is to be finalized */
ngx_int_t ngx_http_claude_stream_flush(ngx_http_claude_stream_t *stream);

/*
 * The response will be another's, an error page's for instance, which may
 * take its time: no heartbeat any more.  For a stream that is not open.
 */
void ngx_http_claude_stream_cancel(ngx_http_claude_stream_t *stream);

/* ends the response; returns what to finalize the request with */
ngx_int_t ngx_http_claude_stream_close(ngx_http_claude_stream_t *stream);


#endif /* _NGX_HTTP_CLAUDE_STREAM_H_INCLUDED_ */
