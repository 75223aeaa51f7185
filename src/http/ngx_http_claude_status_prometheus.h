
/*
 * Status as Prometheus has it, text format 0.0.4.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_PROMETHEUS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_PROMETHEUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* the body of a response, from the request's pool.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_status_prometheus(ngx_http_request_t *r,
    ngx_str_t *body);


#endif /* _NGX_HTTP_CLAUDE_STATUS_PROMETHEUS_H_INCLUDED_ */
