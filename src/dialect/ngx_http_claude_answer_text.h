
/*
 * The kept text of an answer: its blocks, each escaped, in buffers that become
 * the response, so that nothing is copied twice and nothing is ever moved.
 */


#ifndef _NGX_HTTP_CLAUDE_ANSWER_TEXT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_ANSWER_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_turn.h"
#include "ngx_http_claude_document.h"


/* a block; its strings live as long as the pool */
typedef struct {
    ngx_claude_block_t           block;
    ngx_http_claude_document_t   said;         /* its pieces, escaped */
} ngx_http_claude_answer_block_t;


typedef struct {
    ngx_pool_t                  *pool;
    ngx_array_t                  blocks;       /* answer_block_t */
    size_t                       length;       /* bytes that all of them say */
    size_t                       max;          /* bytes that they may */
} ngx_http_claude_answer_text_t;


typedef void (*ngx_http_claude_answer_write_pt)(
    ngx_http_claude_document_t *document,
    ngx_http_claude_answer_block_t *kept);


/* nothing is kept yet.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_answer_text_init(ngx_http_claude_answer_text_t *text,
    ngx_pool_t *pool, size_t max);

/*
 * A block that begins, a piece of the last one, and its end.  NGX_OK;
 * NGX_ERROR: no memory; NGX_DECLINED: it would be too much.
 */
ngx_int_t ngx_http_claude_answer_text_open(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_t *block);
ngx_int_t ngx_http_claude_answer_text_add(ngx_http_claude_answer_text_t *text,
    u_char *p, size_t len);
ngx_int_t ngx_http_claude_answer_text_close(
    ngx_http_claude_answer_text_t *text, ngx_claude_block_t *block);

/* the block that was opened last */
ngx_http_claude_answer_block_t *ngx_http_claude_answer_text_last(
    ngx_http_claude_answer_text_t *text);

/* whether a block of that kind says something */
ngx_uint_t ngx_http_claude_answer_text_says(
    ngx_http_claude_answer_text_t *text, ngx_claude_block_e type);

/* writes all blocks, each as write() does, with commas between them */
void ngx_http_claude_answer_text_list(ngx_http_claude_answer_text_t *text,
    ngx_http_claude_document_t *document,
    ngx_http_claude_answer_write_pt write);

/* adds what all blocks of that kind say, which is kept here no more */
void ngx_http_claude_answer_text_join(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_e type, ngx_http_claude_document_t *document);


#endif /* _NGX_HTTP_CLAUDE_ANSWER_TEXT_H_INCLUDED_ */
