
/*
 * Calls and results of a conversation, as chat completions write them.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_CALLS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_CALLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_chat_content.h"


/*
 * The calls of an assistant's message, if there are any, behind its text; a
 * message of role tool or function, the result of one; and whether none is
 * without its result.  NGX_OK, or an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_calls_init(
    ngx_http_claude_chat_reader_t *reader);
ngx_int_t ngx_http_claude_chat_calls(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message);
ngx_int_t ngx_http_claude_chat_result(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message, ngx_uint_t function);
ngx_int_t ngx_http_claude_chat_calls_done(
    ngx_http_claude_chat_reader_t *reader);


#endif /* _NGX_HTTP_CLAUDE_CHAT_CALLS_H_INCLUDED_ */
