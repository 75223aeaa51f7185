
/*
 * response_format of a chat request: what form the answer is to have.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_chat.h"


/*
 * Reads response_format: sets the turn's schema for json_schema.  NGX_OK, or
 * an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_format(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);


#endif /* _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_ */
