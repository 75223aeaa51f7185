
/*
 * Answers as server-sent events, a chunk for each piece.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_CHUNKS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_CHUNKS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_exchange.h"


/* operations of the dialect: events of a stream */
ngx_int_t ngx_http_claude_chat_answer(ngx_http_claude_answer_t *answer);
void ngx_http_claude_chat_begin(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block);
void ngx_http_claude_chat_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block, ngx_str_t *piece);
void ngx_http_claude_chat_end(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_finish(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out);

/*
 * Chunks of both dialects: the text that those of an answer begin with, made
 * once for each answer, and their end.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_chat_prefix(ngx_http_claude_answer_t *answer,
    const char *object, const char *member);
void ngx_http_claude_chat_chunk_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
void ngx_http_claude_chat_chunk_close(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, const char *reason);


#endif /* _NGX_HTTP_CLAUDE_CHAT_CHUNKS_H_INCLUDED_ */
