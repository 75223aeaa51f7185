
/*
 * response_format.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"


/* reads a member of the body.  NGX_OK, or an HTTP status with the error set */
ngx_int_t ngx_http_claude_chat_format(void *data, const char *name,
    ngx_claude_json_t *node);


#endif /* _NGX_HTTP_CLAUDE_CHAT_FORMAT_H_INCLUDED_ */
