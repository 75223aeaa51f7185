
/*
 * Health and status: what the zone says, as JSON, or as Prometheus text.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* content handlers */
ngx_int_t ngx_http_claude_health_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_claude_status_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_CLAUDE_STATUS_H_INCLUDED_ */
