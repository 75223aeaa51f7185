
/*
 * Status: the words that JSON and Prometheus have in common, and health.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_out.h"
#include "ngx_claude_zone.h"


/* names by ngx_claude_process_state_e and ngx_claude_outcome_e */
extern const char  *ngx_http_claude_status_states[];
extern const char  *ngx_http_claude_status_outcomes[];


/* the CLI's version as a JSON string; null until a CLI has told it */
void ngx_http_claude_status_version(ngx_claude_out_t *out,
    ngx_uint_t version);

/* processes that are there, in whatever state */
ngx_uint_t ngx_http_claude_status_alive(ngx_claude_zone_sums_t *sums);


#endif /* _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_ */
