
/*
 * tools, tool_choice and the older functions.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"


/* reads a member of the body.  NGX_OK, or an HTTP status with the error set */
ngx_int_t ngx_http_claude_chat_tools(void *data, const char *name,
    ngx_claude_json_t *node);


#endif /* _NGX_HTTP_CLAUDE_CHAT_TOOLS_H_INCLUDED_ */
