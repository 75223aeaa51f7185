
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
#include "ngx_claude_json.h"


#define STREAM_BUF_SIZE  4096

/* how many the worker keeps: about what one read of a pipe makes */
#define STREAM_SPARE     64

/* a string is escaped in slices that surely fit one buffer */
#define STREAM_SLICE     ((STREAM_BUF_SIZE - 2) / 6)


typedef struct stream_memory_s  stream_memory_t;

struct stream_memory_s {
    stream_memory_t  *next;
};


static ngx_int_t stream_send(ngx_http_claude_stream_t *stream);
static u_char *stream_room(ngx_http_claude_stream_t *stream, size_t least);
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

    stream->last = &stream->out;
    ctx = ngx_http_get_module_ctx(stream->request, ngx_http_claude_module);
    ctx->stream = stream;

    stream->timer.handler = stream_heartbeat;
    stream->timer.data = stream;
    stream->timer.log = stream->request->connection->log;

    ngx_add_timer(&stream->timer, stream->heartbeat);

    return NGX_OK;
}


void
ngx_http_claude_stream_write(ngx_http_claude_stream_t *stream,
    const u_char *p, size_t len)
{
    u_char  *to;
    size_t   n;

    while (len) {
        to = stream_room(stream, 1);
        if (to == NULL) {
            return;
        }

        n = ngx_min(len, (size_t) (stream->buf->end - to));

        stream->buf->last = ngx_cpymem(to, p, n);
        p += n;
        len -= n;
    }
}


void
ngx_http_claude_stream_escape(ngx_http_claude_stream_t *stream,
    const u_char *p, size_t len)
{
    u_char  *to, before;
    size_t   n, rest;

    ngx_http_claude_stream_write(stream, (u_char *) "\"", 1);

    for (rest = len; rest; rest -= n, p += n) {

        n = ngx_min(rest, STREAM_SLICE);

        if (n < rest) {

            /* not in the midst of a character */

            while (n > 1 && (p[n] & 0xc0) == 0x80) {
                n--;
            }
        }

        /* each slice comes with quotes: the first goes, as does the last */

        to = stream_room(stream, ngx_claude_json_escaped_max(n));
        if (to == NULL) {
            return;
        }

        if (to == stream->buf->start) {
            to++;
            stream->buf->pos++;
        }

        before = to[-1];
        stream->buf->last = ngx_claude_json_escape(to - 1, p, n) - 1;
        to[-1] = before;
    }

    ngx_http_claude_stream_write(stream, (u_char *) "\"", 1);
}


ngx_int_t
ngx_http_claude_stream_flush(ngx_http_claude_stream_t *stream)
{
    if (stream->failed) {
        return NGX_ERROR;
    }

    if (stream->out == NULL || stream->closed) {
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
    if (stream->failed || (!stream->opened && stream->out == NULL)) {
        return NGX_ERROR;
    }

    if (stream->timer.timer_set) {
        ngx_del_timer(&stream->timer);
    }

    stream->closed = 1;

    /* the end goes with what is left to send, if anything is: one packet */

    if (stream->out) {
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

    stream->buf = NULL;

    rc = ngx_http_output_filter(r, stream->out);

    stream_sent(stream);

    if (rc == NGX_ERROR) {
        stream->failed = 1;
    }

    return rc;
}


/* where to write at least so many bytes; NULL: no memory */

static u_char *
stream_room(ngx_http_claude_stream_t *stream, size_t least)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = stream->buf;

    if (b && (size_t) (b->end - b->last) >= least) {
        return b->last;
    }

    if (stream->failed || stream->closed) {
        return NULL;
    }

    cl = ngx_chain_get_free_buf(stream->request->pool, &stream->free);
    if (cl == NULL) {
        stream->failed = 1;
        return NULL;
    }

    b = cl->buf;

    b->start = stream_borrow(stream->request->connection->log);
    if (b->start == NULL) {
        stream->failed = 1;
        return NULL;
    }

    b->end = b->start + STREAM_BUF_SIZE;
    b->pos = b->start;
    b->last = b->start;
    b->temporary = 1;
    b->flush = 0;
    b->tag = (ngx_buf_tag_t) &ngx_http_claude_module;

    cl->next = NULL;
    *stream->last = cl;
    stream->last = &cl->next;
    stream->buf = b;

    return b->last;
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
                            &stream->busy, &stream->out,
                            (ngx_buf_tag_t) &ngx_http_claude_module);
    stream->last = &stream->out;

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

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    stream_sent(stream);

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

    ngx_http_claude_stream_write(stream, (u_char *) ": heartbeat\n\n",
                                 sizeof(": heartbeat\n\n") - 1);

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

    stream_return(stream->out);
    stream_return(stream->busy);
}


/* nobody wants the body: a mirror, a post_action, an error_page to a 204 */

static void
stream_drop(ngx_http_claude_stream_t *stream)
{
    stream_return(stream->out);

    stream->out = NULL;
    stream->last = &stream->out;
    stream->buf = NULL;
}
