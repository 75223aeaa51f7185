
/*
 * Documents.  See the header.
 */


#include "ngx_http_claude_document.h"


/* buffers grow with what is in them, but no further */
#define DOCUMENT_SIZE_MAX  65536


static void document_room(ngx_claude_out_t *out, size_t least);
static ngx_buf_t *document_buf(ngx_http_claude_document_t *document,
    size_t least);
static ngx_buf_t *document_rest(ngx_http_claude_document_t *document);
static ngx_int_t document_link(ngx_http_claude_document_t *document,
    ngx_buf_t *b);
static void document_sync(ngx_http_claude_document_t *document);


void
ngx_http_claude_document_init(ngx_http_claude_document_t *document,
    ngx_pool_t *pool, size_t size)
{
    ngx_memzero(document, sizeof(ngx_http_claude_document_t));

    document->out.room = document_room;
    document->pool = pool;
    document->size = size;
}


size_t
ngx_http_claude_document_length(ngx_http_claude_document_t *document)
{
    if (document->last == NULL) {
        return 0;
    }

    return document->before
           + (document->out.last - document->last->buf->pos);
}


void
ngx_http_claude_document_add(ngx_http_claude_document_t *document,
    ngx_http_claude_document_t *other)
{
    if (other->out.failed) {
        document->out.failed = 1;
    }

    if (document->out.failed || other->last == NULL) {
        return;
    }

    document_sync(other);

    if (document->last) {

        if (document->out.last != document->out.end) {
            document->rest = document->out.last;
            document->rest_end = document->out.end;
        }

        document_sync(document);
        document->before = ngx_http_claude_document_length(document);
        document->last->next = other->first;

    } else {
        document->first = other->first;
    }

    document->last = other->last;
    document->before += other->before;
    document->out.last = other->out.last;
    document->out.end = other->out.last;
}


void
ngx_http_claude_document_write(ngx_http_claude_document_t *document,
    ngx_claude_out_t *out)
{
    ngx_chain_t  *cl;

    if (document->out.failed) {
        out->failed = 1;
        return;
    }

    document_sync(document);

    for (cl = document->first; cl; cl = cl->next) {
        ngx_claude_out_write(out, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }
}


void
ngx_http_claude_document_text(ngx_http_claude_document_t *document,
    ngx_str_t *text)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(document->pool);
    if (b == NULL || document_link(document, b) != NGX_OK) {
        document->out.failed = 1;
        return;
    }

    b->pos = text->data;
    b->last = text->data + text->len;
    b->memory = text->len ? 1 : 0;

    document->out.last = b->last;
    document->out.end = b->last;
}


ngx_chain_t *
ngx_http_claude_document_end(ngx_http_claude_document_t *document,
    ngx_uint_t last_buf)
{
    if (document->out.failed || document->last == NULL) {
        return NULL;
    }

    document_sync(document);

    document->last->buf->last_buf = last_buf;
    document->last->buf->last_in_chain = 1;

    return document->first;
}


static void
document_room(ngx_claude_out_t *out, size_t least)
{
    ngx_buf_t                   *b;
    ngx_http_claude_document_t  *document;

    document = (ngx_http_claude_document_t *) out;

    b = ((size_t) (document->rest_end - document->rest) >= least)
        ? document_rest(document) : document_buf(document, least);

    if (b && document_link(document, b) == NGX_OK) {
        out->last = b->last;
        out->end = b->end;

    } else {
        out->failed = 1;
    }
}


/* a byte of each buffer stays before what is written, as the writer wants */

static ngx_buf_t *
document_buf(ngx_http_claude_document_t *document, size_t least)
{
    size_t      size;
    ngx_buf_t  *b;

    size = ngx_min(ngx_http_claude_document_length(document),
                   DOCUMENT_SIZE_MAX);
    size = ngx_max(size, document->size);
    size = ngx_max(size, least + 1);

    b = ngx_create_temp_buf(document->pool, size);

    if (b) {
        b->pos++;
        b->last++;
    }

    return b;
}


/* room that was left in a buffer when others were added behind it */

static ngx_buf_t *
document_rest(ngx_http_claude_document_t *document)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(document->pool);

    if (b) {
        b->start = document->rest;
        b->pos = document->rest;
        b->last = document->rest;
        b->end = document->rest_end;
        b->temporary = 1;

        document->rest = NULL;
        document->rest_end = NULL;
    }

    return b;
}


/* the writer tells its end to nobody */

static void
document_sync(ngx_http_claude_document_t *document)
{
    if (document->last) {
        document->last->buf->last = document->out.last;
    }
}


/* a buffer at the end */

static ngx_int_t
document_link(ngx_http_claude_document_t *document, ngx_buf_t *b)
{
    ngx_chain_t  *cl;

    cl = ngx_alloc_chain_link(document->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    if (document->last) {
        document_sync(document);
        document->before = ngx_http_claude_document_length(document);
        document->last->next = cl;

    } else {
        document->first = cl;
    }

    document->last = cl;

    return NGX_OK;
}
