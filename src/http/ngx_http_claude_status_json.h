
/*
 * Status as JSON.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_JSON_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_out.h"


/* writes the body of a response */
void ngx_http_claude_status_json(ngx_http_request_t *r,
    ngx_claude_out_t *out);


#endif /* _NGX_HTTP_CLAUDE_STATUS_JSON_H_INCLUDED_ */
