
/*
 * Output as server-sent events.  See the header.
 *
 * The memory of buffers is the worker's: a stream borrows what it writes into
 * and gives it back when it is sent, most often in the same event.  So a
 * stream that waits for the model holds none, and thousands of them write
 * into the same few pages.
 */


#include "ngx_http_claude_stream.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_ctx.h"


#define STREAM_BUF_SIZE  4096

/* how many the worker keeps: about what one read of a pipe makes */
#define STREAM_SPARE     64


typedef struct stream_memory_s  stream_memory_t;

struct stream_memory_s {
    stream_memory_t  *next;
};


static ngx_int_t stream_send(ngx_http_claude_stream_t *stream);
static ngx_int_t stream_write(ngx_http_claude_stream_t *stream);
static void stream_room(ngx_claude_out_t *out, size_t least);
static ngx_int_t stream_buf(ngx_http_claude_stream_t *stream);
static void stream_filled(ngx_http_claude_stream_t *stream);
static u_char *stream_borrow(ngx_log_t *log);
static void stream_return(ngx_chain_t *cl);
static void stream_sent(ngx_http_claude_stream_t *stream);
static void stream_writer(ngx_http_request_t *r);
static ngx_int_t stream_wait(ngx_http_claude_stream_t *stream);
static void stream_heartbeat(ngx_event_t *ev);
static void stream_cleanup(void *data);
static void stream_drop(ngx_http_claude_stream_t *stream);


static stream_memory_t  *stream_spare;
static ngx_uint_t        stream_spares;


ngx_int_t
ngx_http_claude_stream_init(ngx_http_claude_stream_t *stream)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_claude_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(stream->request->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = stream_cleanup;
    cln->data = stream;

    stream->out.room = stream_room;
    stream->last = &stream->chain;

    ctx = ngx_http_get_module_ctx(stream->request, ngx_http_claude_module);
    ctx->stream = stream;

    stream->timer.handler = stream_heartbeat;
    stream->timer.data = stream;
    stream->timer.log = stream->request->connection->log;

    ngx_add_timer(&stream->timer, stream->heartbeat);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_stream_flush(ngx_http_claude_stream_t *stream)
{
    if (stream->out.failed) {
        return NGX_ERROR;
    }

    if (stream->chain == NULL || stream->closed) {
        return NGX_OK;
    }

    stream->buf->flush = 1;

    if (stream_send(stream) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (!stream->complete) {
        ngx_add_timer(&stream->timer, stream->heartbeat);
    }

    return stream->request->header_only ? NGX_OK : stream_wait(stream);
}


void
ngx_http_claude_stream_cancel(ngx_http_claude_stream_t *stream)
{
    if (stream->timer.timer_set) {
        ngx_del_timer(&stream->timer);
    }
}


ngx_int_t
ngx_http_claude_stream_close(ngx_http_claude_stream_t *stream)
{
    if (stream->out.failed || (!stream->opened && stream->chain == NULL)) {
        return NGX_ERROR;
    }

    if (stream->timer.timer_set) {
        ngx_del_timer(&stream->timer);
    }

    stream->closed = 1;

    /* the end goes with what is left to send, if anything is: one packet */

    if (stream->chain) {
        stream->buf->last_buf = (stream->request == stream->request->main);
        stream->buf->last_in_chain = 1;

        return stream_send(stream);
    }

    if (stream->request->header_only) {
        return NGX_OK;
    }

    return ngx_http_send_special(stream->request, NGX_HTTP_LAST);
}


static ngx_int_t
stream_send(ngx_http_claude_stream_t *stream)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = stream->request;

    if (!stream->opened) {
        stream->opened = 1;

        rc = stream->open(stream);

        if (rc == NGX_ERROR || rc > NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (r->header_only) {
        stream_drop(stream);
        return NGX_OK;
    }

    return stream_write(stream);
}


/* what there is to send, and what the filters still have */

static ngx_int_t
stream_write(ngx_http_claude_stream_t *stream)
{
    ngx_int_t  rc;

    stream_filled(stream);

    rc = ngx_http_output_filter(stream->request, stream->chain);

    stream_sent(stream);

    if (rc == NGX_ERROR) {
        stream->out.failed = 1;
    }

    return rc;
}


/* no buffer is smaller than what a writer asks for */

static void
stream_room(ngx_claude_out_t *out, size_t least)
{
    ngx_http_claude_stream_t  *stream;

    stream = (ngx_http_claude_stream_t *) out;

    if (stream->closed) {
        return;
    }

    stream_filled(stream);

    if (stream_buf(stream) != NGX_OK) {
        out->failed = 1;
        return;
    }

    out->last = stream->buf->last;
    out->end = stream->buf->end;
}


/* a new one to fill, with a byte before what is written */

static ngx_int_t
stream_buf(ngx_http_claude_stream_t *stream)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_chain_get_free_buf(stream->request->pool, &stream->free);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = cl->buf;

    b->start = stream_borrow(stream->request->connection->log);
    if (b->start == NULL) {
        return NGX_ERROR;
    }

    b->end = b->start + STREAM_BUF_SIZE;
    b->pos = b->start + 1;
    b->last = b->pos;
    b->temporary = 1;
    b->flush = 0;
    b->tag = (ngx_buf_tag_t) &ngx_http_claude_module;

    cl->next = NULL;
    *stream->last = cl;
    stream->last = &cl->next;
    stream->buf = b;

    return NGX_OK;
}


/* no more goes into the buffer: the writer gets another one */

static void
stream_filled(ngx_http_claude_stream_t *stream)
{
    if (stream->buf) {
        stream->buf->last = stream->out.last;
        stream->buf = NULL;
    }

    stream->out.last = NULL;
    stream->out.end = NULL;
}


static u_char *
stream_borrow(ngx_log_t *log)
{
    stream_memory_t  *memory;

    memory = stream_spare;

    if (memory == NULL) {
        return ngx_alloc(STREAM_BUF_SIZE, log);
    }

    stream_spare = memory->next;
    stream_spares--;

    return (u_char *) memory;
}


/* the last one returned is the next one borrowed: it is in the cache */

static void
stream_return(ngx_chain_t *cl)
{
    stream_memory_t  *memory;

    for ( /* void */ ; cl && cl->buf->start; cl = cl->next) {

        memory = (stream_memory_t *) cl->buf->start;

        cl->buf->start = NULL;
        cl->buf->pos = NULL;
        cl->buf->last = NULL;
        cl->buf->end = NULL;

        if (stream_spares == STREAM_SPARE) {
            ngx_free(memory);
            continue;
        }

        memory->next = stream_spare;
        stream_spare = memory;
        stream_spares++;
    }
}


/*
 * Sorts out what the filters have taken.  Free chains keep the heads of
 * buffers alone, the latest in front.
 */

static void
stream_sent(ngx_http_claude_stream_t *stream)
{
    ngx_chain_update_chains(stream->request->pool, &stream->free,
                            &stream->busy, &stream->chain,
                            (ngx_buf_tag_t) &ngx_http_claude_module);
    stream->last = &stream->chain;

    stream_return(stream->free);
}


/* the client can take more, or has taken nothing for send_timeout */

static void
stream_writer(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_claude_ctx_t     *ctx;
    ngx_http_claude_stream_t  *stream;

    c = r->connection;
    wev = c->write;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);
    stream = ctx->stream;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed) {

        /* limit_rate */

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    /* what was written since goes along: all that is in the chain is sent */

    if (stream_write(stream) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (stream_wait(stream) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


/* stops the writer while something is buffered, and lets it go on after */

static ngx_int_t
stream_wait(ngx_http_claude_stream_t *stream)
{
    ngx_uint_t                 active;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = stream->request;
    c = r->connection;
    wev = c->write;

    /* until it is this one's turn to write, the connection is another's */

    active = (c->data == r);

    if (stream->busy || r->buffered || c->buffered) {

        r->write_event_handler = stream_writer;

        if (!stream->is_blocked) {
            stream->is_blocked = 1;
            stream->blocked(stream);
        }

        if (!active) {
            return NGX_OK;
        }

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

        return ngx_handle_write_event(wev, clcf->send_lowat);
    }

    if (active && wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    if (stream->is_blocked) {
        stream->is_blocked = 0;
        r->write_event_handler = ngx_http_request_empty_handler;
        stream->unblocked(stream);
    }

    return NGX_OK;
}


static void
stream_heartbeat(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_claude_ctx_t     *ctx;
    ngx_http_claude_stream_t  *stream;

    stream = ev->data;
    r = stream->request;
    c = r->connection;
    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (ctx == NULL || ctx->stream != stream || stream->complete) {

        /* the client has left, and a post_action runs; or has its answer */

        return;
    }

    ngx_http_set_log_request(c->log, r);

    if (stream->is_blocked) {

        /* nobody reads: one more line would only grow what waits */

        ngx_add_timer(ev, stream->heartbeat);
        return;
    }

    stream->beat(stream);

    if (ngx_http_claude_stream_flush(stream) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }

    ngx_http_run_posted_requests(c);
}


static void
stream_cleanup(void *data)
{
    ngx_http_claude_stream_t  *stream = data;

    if (stream->timer.timer_set) {
        ngx_del_timer(&stream->timer);
    }

    stream_return(stream->chain);
    stream_return(stream->busy);
}


/* nobody wants the body: a mirror, a post_action, an error_page to a 204 */

static void
stream_drop(ngx_http_claude_stream_t *stream)
{
    stream_filled(stream);
    stream_return(stream->chain);

    stream->chain = NULL;
    stream->last = &stream->chain;
}
