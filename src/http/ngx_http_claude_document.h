
/*
 * A document: JSON in buffers of a pool, each larger than the one before, so
 * that nothing is moved and nothing copied twice.  It becomes a response, or
 * part of another document.
 */


#ifndef _NGX_HTTP_CLAUDE_DOCUMENT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_DOCUMENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_out.h"


typedef struct {
    ngx_claude_out_t   out;         /* to write to; failed: no memory */
    ngx_pool_t        *pool;
    size_t             size;        /* bytes of the next buffer, at least */
    ngx_chain_t       *first;
    ngx_chain_t       *last;        /* buffer that is filled */
    size_t             before;      /* bytes in those before it */
    u_char            *rest;        /* rest of a buffer that others were
                                       added behind */
    u_char            *rest_end;
} ngx_http_claude_document_t;


/* size: of the first buffer.  Takes no memory before something is written */
void ngx_http_claude_document_init(ngx_http_claude_document_t *document,
    ngx_pool_t *pool, size_t size);

/* bytes so far */
size_t ngx_http_claude_document_length(ngx_http_claude_document_t *document);

/* adds the other's buffers at the end: the other is gone */
void ngx_http_claude_document_add(ngx_http_claude_document_t *document,
    ngx_http_claude_document_t *other);

/* writes what is in it to another sink; it stays as it is */
void ngx_http_claude_document_write(ngx_http_claude_document_t *document,
    ngx_claude_out_t *out);

/* adds a text, which stays where it is */
void ngx_http_claude_document_text(ngx_http_claude_document_t *document,
    ngx_str_t *text);

/*
 * The buffers, when all is written, marked as the end of the response if
 * last_buf is set; NULL: no memory, or nothing in it.
 */
ngx_chain_t *ngx_http_claude_document_end(ngx_http_claude_document_t *document,
    ngx_uint_t last_buf);


#endif /* _NGX_HTTP_CLAUDE_DOCUMENT_H_INCLUDED_ */
