
/*
 * Status: words.  See the header.
 */


#include "ngx_http_claude_status_words.h"
#include "ngx_claude_table.h"


const char  *ngx_http_claude_status_states[] = {
    [NGX_CLAUDE_PROCESS_FREE] = "free",
    [NGX_CLAUDE_PROCESS_RESERVED] = "reserved",
    [NGX_CLAUDE_PROCESS_STARTING] = "starting",
    [NGX_CLAUDE_PROCESS_IDLE] = "idle",
    [NGX_CLAUDE_PROCESS_BUSY] = "busy",
    [NGX_CLAUDE_PROCESS_ASKED_FOR] = "wanted",
    [NGX_CLAUDE_PROCESS_EVICTED] = "evicted",
    [NGX_CLAUDE_PROCESS_ENDING] = "ending"
};

ngx_claude_table_check(ngx_http_claude_status_states,
                       NGX_CLAUDE_PROCESS_STATES);


const char  *ngx_http_claude_status_outcomes[] = {
    [NGX_CLAUDE_OUTCOME_FINISHED] = "finished",
    [NGX_CLAUDE_OUTCOME_FAILED] = "failed",
    [NGX_CLAUDE_OUTCOME_ABORTED] = "aborted",
    [NGX_CLAUDE_OUTCOME_REFUSED] = "refused"
};

ngx_claude_table_check(ngx_http_claude_status_outcomes, NGX_CLAUDE_OUTCOMES);


void
ngx_http_claude_status_version(ngx_claude_out_t *out, ngx_uint_t version)
{
    if (version == 0) {
        ngx_claude_out_literal(out, "null");
        return;
    }

    ngx_claude_out(out, "\"%ui.%ui.%ui\"", version / 100000,
                   version / 1000 % 100, version % 1000);
}


ngx_claude_gate_e
ngx_http_claude_status_gate(ngx_claude_zone_t *zone,
    ngx_claude_profile_t *profile)
{
    ngx_uint_t  state;

    if (profile->gate == NULL) {
        return NGX_CLAUDE_GATE_NONE;
    }

    state = ngx_claude_zone_gate(zone, &profile->hash);

    return state ? state : NGX_CLAUDE_GATE_UNKNOWN;
}


ngx_claude_gate_e
ngx_http_claude_status_gates(ngx_http_claude_main_conf_t *mcf)
{
    ngx_uint_t              i;
    ngx_claude_gate_e       state, worst;
    ngx_claude_profile_t  **profile;

    profile = mcf->profiles.elts;
    worst = NGX_CLAUDE_GATE_NONE;

    for (i = 0; i < mcf->profiles.nelts; i++) {
        state = ngx_http_claude_status_gate(mcf->zone, profile[i]);

        if (state > NGX_CLAUDE_GATE_WORKS || worst == NGX_CLAUDE_GATE_NONE
            || (state == NGX_CLAUDE_GATE_UNKNOWN
                && worst == NGX_CLAUDE_GATE_WORKS))
        {
            worst = state;
        }
    }

    return worst;
}


ngx_uint_t
ngx_http_claude_status_alive(ngx_claude_zone_sums_t *sums)
{
    return sums->processes[NGX_CLAUDE_PROCESS_STARTING]
           + sums->processes[NGX_CLAUDE_PROCESS_IDLE]
           + sums->processes[NGX_CLAUDE_PROCESS_BUSY]
           + sums->processes[NGX_CLAUDE_PROCESS_ASKED_FOR]
           + sums->processes[NGX_CLAUDE_PROCESS_EVICTED]
           + sums->processes[NGX_CLAUDE_PROCESS_ENDING];
}
