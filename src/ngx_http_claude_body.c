
/*
 * The body of a request.  See the header.
 */


#include "ngx_http_claude_body.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"


typedef struct {
    ngx_http_claude_ctx_t          *ctx;
    ngx_http_claude_json_reader_t  *reader;
    ngx_http_claude_body_pt         handler;
    ngx_chain_t                    *in;      /* what was not read yet */
    off_t                           pos;     /* in that buffer's file */
    u_char                         *buf;     /* for slices of a file */
    size_t                          size;
    ngx_event_t                     event;
} body_t;


static void body_done(ngx_http_request_t *r);
static void body_event(ngx_event_t *ev);
static void body_slices(body_t *body);
static ngx_int_t body_slice(body_t *body, size_t *size);
static ngx_int_t body_file(body_t *body, ngx_buf_t *b, size_t *size);
static void body_cleanup(void *data);


ngx_int_t
ngx_http_claude_body_read(ngx_http_claude_ctx_t *ctx,
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
    body->handler = handler;
    body->event.handler = body_event;
    body->event.data = body;
    body->event.log = r->connection->log;

    cln->handler = body_cleanup;
    cln->data = body;

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

    body->reader = ngx_http_claude_json_reader(r->pool);

    if (body->reader == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    body->in = r->request_body ? r->request_body->bufs : NULL;

    body_slices(body);
}


static void
body_event(ngx_event_t *ev)
{
    body_t            *body;
    ngx_connection_t  *c;

    body = ev->data;
    c = body->ctx->request->connection;

    ngx_http_set_log_request(c->log, body->ctx->request);

    body_slices(body);

    ngx_http_run_posted_requests(c);
}


static void
body_slices(body_t *body)
{
    size_t                   size, left;
    ngx_int_t                rc;
    ngx_http_claude_ctx_t   *ctx;
    ngx_http_claude_json_t  *root;

    ctx = body->ctx;
    rc = NGX_OK;
    left = ngx_http_claude_json_slice(body->reader);

    while (rc == NGX_OK && body->in) {

        if (left == 0) {
            ngx_post_event(&body->event, &ngx_posted_next_events);
            return;
        }

        size = left;
        rc = body_slice(body, &size);
        left -= size;
    }

    root = (rc == NGX_OK) ? ngx_http_claude_json_end(body->reader) : NULL;

    if (root == NULL) {
        (void) ngx_http_claude_error(ctx, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                       "The request body is not valid JSON: %V.",
                       ngx_http_claude_json_reason(body->reader));

        /* a bad file or no memory is no fault of the client's */

        if (rc == NGX_ABORT) {
            ctx->error.status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    body->handler(ctx, root);
}


/* size becomes what was read; NGX_ABORT: not the client's fault */

static ngx_int_t
body_slice(body_t *body, size_t *size)
{
    ngx_buf_t  *b;
    ngx_int_t   rc;

    b = body->in->buf;
    rc = NGX_OK;

    /*
     * The last buffer of a body may hold nothing and be of no kind.  None is
     * changed: an error_page may hand the body to another module.
     */

    if (ngx_buf_in_memory(b) && b->pos < b->last) {
        *size = ngx_min((off_t) *size, b->last - b->pos - body->pos);

        rc = ngx_http_claude_json_read(body->reader, b->pos + body->pos,
                                       *size);
        body->pos += *size;

        if (body->pos < b->last - b->pos) {
            return rc;
        }

    } else if (b->in_file && b->file_pos < b->file_last) {
        rc = body_file(body, b, size);

        if (body->pos < b->file_last - b->file_pos) {
            return rc;
        }

    } else {
        *size = 0;
    }

    body->in = body->in->next;
    body->pos = 0;

    return rc;
}


static ngx_int_t
body_file(body_t *body, ngx_buf_t *b, size_t *size)
{
    ssize_t  n;

    *size = ngx_min((off_t) *size, b->file_last - b->file_pos - body->pos);

    if (*size > body->size) {

        if (body->buf) {
            ngx_pfree(body->ctx->request->pool, body->buf);
        }

        /* large allocations of a pool can be freed */

        body->size = ngx_max(*size, ngx_pagesize);
        body->buf = ngx_palloc(body->ctx->request->pool, body->size);

        if (body->buf == NULL) {
            return NGX_ABORT;
        }
    }

    n = ngx_read_file(b->file, body->buf, *size, b->file_pos + body->pos);

    if (n <= 0) {
        return NGX_ABORT;
    }

    body->pos += n;
    *size = n;

    return ngx_http_claude_json_read(body->reader, body->buf, n);
}


static void
body_cleanup(void *data)
{
    body_t  *body = data;

    if (body->event.posted) {
        ngx_delete_posted_event(&body->event);
    }
}
