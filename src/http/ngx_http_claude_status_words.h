
/*
 * Status: the words that JSON and Prometheus have in common, and health.
 */


#ifndef _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_gate.h"
#include "ngx_claude_out.h"
#include "ngx_claude_zone.h"
#include "ngx_http_claude_conf.h"


/* names by ngx_claude_process_state_e and ngx_claude_outcome_e */
extern const char  *ngx_http_claude_status_states[];
extern const char  *ngx_http_claude_status_outcomes[];


/* the CLI's version as a JSON string; null until a CLI has told it */
void ngx_http_claude_status_version(ngx_claude_out_t *out,
    ngx_uint_t version);

/*
 * The gate of a profile, as its processes have shown it; of all of them one
 * that does not work, if there is any, else one that is not known to.
 */
ngx_claude_gate_e ngx_http_claude_status_gate(ngx_claude_zone_t *zone,
    ngx_claude_profile_t *profile);
ngx_claude_gate_e ngx_http_claude_status_gates(
    ngx_http_claude_main_conf_t *mcf);

/* processes that are there, in whatever state */
ngx_uint_t ngx_http_claude_status_alive(ngx_claude_zone_sums_t *sums);


#endif /* _NGX_HTTP_CLAUDE_STATUS_WORDS_H_INCLUDED_ */
