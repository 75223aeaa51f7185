
/*
 * $claude_conversation: what a conversation is known by before it is asked,
 * for an nginx in front of several nodes that sends each conversation to the
 * one that has it (hash $claude_conversation consistent).
 */


#ifndef _NGX_HTTP_CLAUDE_CONVERSATION_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CONVERSATION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>



/*
 * A variable's handler: 40 hexadecimal digits of a hash over the key that the
 * client sends, the system text and the first message of the user, the same
 * for all turns of a conversation.  Empty when the body was not read yet, is
 * not in memory, or is no chat.
 *
 * It asks nobody for a key, so it does no more than some milliseconds of work:
 * of the body it reads up to the first message of the user, and no more than 2
 * MB, and of these texts 1 MB counts.
 */
ngx_int_t ngx_http_claude_conversation_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#endif /* _NGX_HTTP_CLAUDE_CONVERSATION_H_INCLUDED_ */
