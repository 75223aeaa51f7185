
/*
 * The dialect of chat completions: a body to a question, and answers to
 * OpenAI's objects, streamed or whole.  It knows shapes of JSON, and nothing
 * else.  Source: OpenAI's API reference, "Chat".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_dialect.h"


extern const ngx_http_claude_dialect_t  ngx_http_claude_chat;


#endif /* _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_ */
