
/*
 * Answers of one piece.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_WHOLE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_WHOLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_document.h"
#include "ngx_http_claude_exchange.h"


/* operation of the dialect */
void ngx_http_claude_chat_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document);

/* a whole response of either dialect: choice() writes each of its choices */
typedef void (*ngx_http_claude_chat_choice_pt)(
    ngx_http_claude_answer_t *answer, ngx_http_claude_document_t *document);

void ngx_http_claude_chat_choices(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document, const char *object,
    ngx_http_claude_chat_choice_pt choice);

/* the kept text of an answer, as a string behind its name */
void ngx_http_claude_chat_text(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document, const char *name,
    ngx_claude_block_e type);


#endif /* _NGX_HTTP_CLAUDE_CHAT_WHOLE_H_INCLUDED_ */
