
/*
 * Status, private: what its files share.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_PRIVATE_H_INCLUDED_


#include "ngx_claude_out.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_status.h"


/* names short for the files and long for the linker */
#define status_states      ngx_http_claude_status_states
#define status_outcomes    ngx_http_claude_status_outcomes
#define status_json        ngx_http_claude_status_json
#define status_prometheus  ngx_http_claude_status_prometheus
#define status_version     ngx_http_claude_status_version
#define status_alive       ngx_http_claude_status_alive

/* names by ngx_claude_process_state_e and ngx_claude_outcome_e */
extern const char  *status_states[];
extern const char  *status_outcomes[];


void status_json(ngx_http_request_t *r, ngx_claude_out_t *out);

/* the body of a response, from the request's pool; NGX_ERROR: no memory */
ngx_int_t status_prometheus(ngx_http_request_t *r, ngx_str_t *body);

/* the CLI's version as a JSON string; null until a CLI has told it */
void status_version(ngx_claude_out_t *out, ngx_uint_t version);

/* processes that are there, in whatever state */
ngx_uint_t status_alive(ngx_claude_zone_sums_t *sums);


#endif /* _NGX_HTTP_CLAUDE_STATUS_PRIVATE_H_INCLUDED_ */
