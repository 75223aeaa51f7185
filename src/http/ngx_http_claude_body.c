
/*
 * The body of a request.  See the header.
 */


#include "ngx_http_claude_body.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_later.h"
#include "ngx_http_claude_scrap.h"


/* bytes of a block of what is freed when the turn is made */
#define BODY_SCRATCH  4096

/* and of one that the turn keeps */
#define BODY_MEMORY   4096


typedef struct {
    ngx_http_claude_ctx_t          *ctx;
    ngx_claude_json_reader_t       *reader;
    ngx_http_claude_body_pt         handler;
    const ngx_claude_json_field_t  *fields;
    ngx_pool_t                     *memory;
    ngx_chain_t                    *in;      /* buffers that were not read */
    off_t                           pos;     /* offset in the first one's
                                                file */
    u_char                         *buf;     /* for slices of pieces */
    size_t                          size;
    ngx_http_claude_later_t         later;   /* the next slice */
} body_t;


static void body_done(ngx_http_request_t *r);
static void body_again(void *data);
static void body_slices(body_t *body);
static ngx_int_t body_slice(body_t *body, size_t size);
static ngx_int_t body_room(body_t *body, size_t size);
static ngx_int_t body_gather(body_t *body, u_char *p, size_t size, size_t *n);
static void body_pass(body_t *body, size_t n);
static void body_scratch(ngx_http_claude_ctx_t *ctx);
static void body_cleanup(void *data);


ngx_int_t
ngx_http_claude_body_read(ngx_http_claude_ctx_t *ctx,
    const ngx_claude_json_field_t *fields,
    ngx_http_claude_body_pt handler)
{
    body_t              *body;
    ngx_int_t            rc;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ctx->request;

    body = ngx_pcalloc(r->pool, sizeof(body_t));
    if (body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->ctx = ctx;
    body->fields = fields;
    body->handler = handler;

    ngx_http_claude_later_init(&body->later, body_again, body,
                               r->connection->log);

    cln->handler = body_cleanup;
    cln->data = body;

    /* a location before has left its own, if it did not read to the end */

    body_scratch(ctx);

    ctx->body = body;

    rc = ngx_http_read_client_request_body(r, body_done);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static void
body_done(ngx_http_request_t *r)
{
    body_t                 *body;
    ngx_http_claude_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);
    body = ctx->body;

    ctx->keepalive = r->keepalive;

    /* from here on only this tells that the client has left */

    r->read_event_handler = ngx_http_test_reading;

    ctx->scratch = ngx_create_pool(BODY_SCRATCH, r->connection->log);
    body->memory = ngx_create_pool(BODY_MEMORY, r->connection->log);
    ctx->memory = body->memory;

    if (ctx->scratch && ctx->memory) {
        body->reader = ngx_claude_json_reader(ctx->memory, ctx->scratch,
                                              body->fields);
    }

    if (body->reader == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    body->in = r->request_body ? r->request_body->bufs : NULL;

    body_slices(body);
}


static void
body_again(void *data)
{
    body_t *body = data;

    ngx_connection_t  *c;

    c = body->ctx->request->connection;

    if (body->ctx->body != body) {

        /* the request has gone to another location, with a body of its own */

        ngx_http_claude_later_never(&body->later);
        return;
    }

    ngx_http_set_log_request(c->log, body->ctx->request);

    body_slices(body);

    ngx_http_run_posted_requests(c);
}


static void
body_slices(body_t *body)
{
    ngx_int_t               rc;
    ngx_http_claude_ctx_t  *ctx;
    ngx_claude_json_t      *root;

    ctx = body->ctx;
    rc = NGX_OK;

    if (body->in) {
        rc = body_slice(body, NGX_CLAUDE_JSON_SLICE);

        if (rc == NGX_OK && body->in) {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log,
                           0, "claude: request %V: the rest of the body is "
                           "for later", &ctx->id);

            ngx_http_claude_later(&body->later);
            return;
        }
    }

    ngx_http_claude_later_never(&body->later);

    root = (rc == NGX_OK) ? ngx_claude_json_end(body->reader) : NULL;

    if (root == NULL) {
        ngx_http_claude_body_free(ctx);

        if (rc == NGX_ABORT) {

            /* a bad file or no memory is no fault of the client's */

            (void) ngx_http_claude_error(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                           "internal_error", NULL,
                           "The server could not read the request body.");

        } else {
            (void) ngx_http_claude_error(ctx, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                           "The request body is not valid JSON: %V.",
                           ngx_claude_json_reason(body->reader));
        }
    }

    body->handler(ctx, root);
}


/*
 * Reads so many bytes, or all that is left.  Pieces are put together first,
 * since the reader begins each token anew that a piece ends in, and a client
 * may send as many small ones as it likes.  NGX_ABORT: not the client's fault.
 */

static ngx_int_t
body_slice(body_t *body, size_t size)
{
    u_char     *p;
    size_t      n;
    ngx_buf_t  *b;

    b = body->in->buf;

    if (ngx_buf_in_memory(b)) {
        n = b->last - b->pos - body->pos;

        if (n >= size || body->in->next == NULL) {
            n = ngx_min(n, size);
            p = b->pos + body->pos;
            body_pass(body, n);

            return n ? ngx_claude_json_read(body->reader, p, n) : NGX_OK;
        }
    }

    if (body_room(body, size) != NGX_OK) {
        return NGX_ABORT;
    }

    n = 0;

    while (body->in && n < size) {

        if (body_gather(body, body->buf + n, size - n, &n) != NGX_OK) {
            return NGX_ABORT;
        }
    }

    return n ? ngx_claude_json_read(body->reader, body->buf, n) : NGX_OK;
}


/* large allocations of a pool can be freed */

static ngx_int_t
body_room(body_t *body, size_t size)
{
    if (size <= body->size) {
        return NGX_OK;
    }

    if (body->buf) {
        ngx_pfree(body->ctx->request->pool, body->buf);
    }

    body->size = ngx_max(size, ngx_pagesize);
    body->buf = ngx_palloc(body->ctx->request->pool, body->size);

    return body->buf ? NGX_OK : NGX_ERROR;
}


/* adds to *n what the next piece has, at most size bytes */

static ngx_int_t
body_gather(body_t *body, u_char *p, size_t size, size_t *n)
{
    ssize_t     len;
    ngx_buf_t  *b;

    b = body->in->buf;

    if (ngx_buf_in_memory(b) && b->pos < b->last) {
        len = ngx_min((off_t) size, b->last - b->pos - body->pos);
        ngx_memcpy(p, b->pos + body->pos, len);

    } else if (b->in_file && b->file_pos < b->file_last) {
        len = ngx_min((off_t) size, b->file_last - b->file_pos - body->pos);
        len = ngx_read_file(b->file, p, len, b->file_pos + body->pos);

        if (len <= 0) {
            return NGX_ERROR;
        }

    } else {

        /* the last buffer of a body may hold nothing and be of no kind */

        len = 0;
    }

    body_pass(body, len);
    *n += len;

    return NGX_OK;
}


/* none is changed: an error_page may hand the body to another module */

static void
body_pass(body_t *body, size_t n)
{
    ngx_buf_t  *b;

    b = body->in->buf;
    body->pos += n;

    if (body->pos >= (ngx_buf_in_memory(b) ? b->last - b->pos
                                           : b->file_last - b->file_pos))
    {
        body->in = body->in->next;
        body->pos = 0;
    }
}


void
ngx_http_claude_body_free(ngx_http_claude_ctx_t *ctx)
{
    body_t  *body;

    body = ctx->body;

    if (body && body->buf) {
        ngx_pfree(ctx->request->pool, body->buf);
        body->buf = NULL;
        body->size = 0;
    }

    body_scratch(ctx);
}


static void
body_scratch(ngx_http_claude_ctx_t *ctx)
{
    if (ctx->scratch) {
        ngx_http_claude_scrap(ctx->scratch);
        ctx->scratch = NULL;
    }
}


static void
body_cleanup(void *data)
{
    body_t  *body = data;

    ngx_http_claude_later_never(&body->later);

    if (body->ctx->body == body) {
        body_scratch(body->ctx);
    }

    /* the rest is of the request's pool, which is going */

    if (body->memory) {
        ngx_http_claude_scrap(body->memory);
    }
}
