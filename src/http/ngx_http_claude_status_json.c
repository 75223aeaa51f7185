
/*
 * Status as JSON.
 */


#include "ngx_http_claude_status_json.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_status_words.h"
#include "ngx_claude_proc.h"
#include "ngx_claude_version.h"


/* rows copied out of the zone at once, to keep the lock short */
#define JSON_ROWS         32


static void json_gates(ngx_claude_out_t *out,
    ngx_http_claude_main_conf_t *mcf);
static void json_counters(ngx_claude_out_t *out,
    ngx_claude_counters_t *counters, ngx_claude_zone_sums_t *sums);
static void json_totals(ngx_claude_out_t *out,
    ngx_claude_counters_t *counters);
static void json_latency(ngx_claude_out_t *out,
    ngx_claude_counters_t *counters);
static void json_histogram(ngx_claude_out_t *out,
    ngx_claude_histogram_t *histogram);
static void json_usage(ngx_claude_out_t *out,
    ngx_claude_counters_t *counters, ngx_uint_t n);
static void json_account(ngx_claude_out_t *out,
    ngx_claude_account_t *account);
static void json_processes(ngx_claude_out_t *out, ngx_claude_zone_t *zone,
    ngx_uint_t rows);
static void json_process(ngx_claude_out_t *out,
    ngx_claude_zone_process_t *process);
static ngx_msec_t json_seconds(ngx_msec_t then);


void
ngx_http_claude_status_json(ngx_http_request_t *r, ngx_claude_out_t *out)
{
    ngx_uint_t                    rows;
    ngx_claude_counters_t        *counters;
    ngx_claude_zone_sums_t        sums;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    counters = mcf->zone->counters;

    ngx_claude_zone_sums(mcf->zone, &sums);

    /* a few may come while the rows are read, and are left out */

    rows = sums.processes[NGX_CLAUDE_PROCESS_RESERVED]
           + ngx_http_claude_status_alive(&sums) + JSON_ROWS;

    ngx_claude_out(out, "{\"module\":\"" NGX_CLAUDE_VERSION "\",\"cli\":");
    ngx_http_claude_status_version(out, counters->version);

    ngx_claude_out(out, ",\"time\":%T,\"since\":%T,"
                   "\"limits\":{\"concurrent\":%ui,\"queue\":%ui,"
                   "\"processes\":%ui}", ngx_time(), counters->since,
                   mcf->max_concurrent, mcf->queue, mcf->max_processes);

    json_gates(out, mcf);
    json_counters(out, counters, &sums);
    json_totals(out, counters);
    json_latency(out, counters);
    json_usage(out, counters, ngx_claude_metrics_accounts(counters));
    json_processes(out, mcf->zone, rows);

    ngx_claude_out(out, "}\n");
}


/* launch profiles in the order of the configuration */

static void
json_gates(ngx_claude_out_t *out, ngx_http_claude_main_conf_t *mcf)
{
    ngx_uint_t              i;
    ngx_claude_gate_e       state;
    ngx_claude_profile_t  **profile;

    profile = mcf->profiles.elts;

    ngx_claude_out_literal(out, ",\"profiles\":[");

    for (i = 0; i < mcf->profiles.nelts; i++) {
        state = ngx_http_claude_status_gate(mcf->zone, profile[i]);

        ngx_claude_out(out, "%s{\"binary\":", i ? "," : "");
        ngx_claude_out_string(out, (u_char *) profile[i]->binary,
                              ngx_strlen(profile[i]->binary));
        ngx_claude_out(out, ",\"agent\":%s,\"gate\":\"%s\","
                       "\"gate_words\":\"%s\"}",
                       profile[i]->agent ? "true" : "false",
                       ngx_claude_gate_name(state),
                       ngx_claude_gate_words(state));
    }

    ngx_claude_out_literal(out, "]");
}


static void
json_counters(ngx_claude_out_t *out, ngx_claude_counters_t *counters,
    ngx_claude_zone_sums_t *sums)
{
    ngx_uint_t  i;

    ngx_claude_out(out, ",\"turns\":{\"running\":%ui,\"waiting\":%ui",
                   sums->running, sums->waiting);

    for (i = 0; i < NGX_CLAUDE_OUTCOMES; i++) {
        ngx_claude_out(out, ",\"%s\":%uA",
                       ngx_http_claude_status_outcomes[i],
                       counters->outcomes[i]);
    }

    ngx_claude_out(out, "},\"failures\":{");

    for (i = 0; i < NGX_CLAUDE_FAILS; i++) {
        ngx_claude_out(out, "%s\"%s\":%uA", i ? "," : "",
                       ngx_claude_fail_name(i), counters->fails[i]);
    }

    ngx_claude_out(out, "},\"rungs\":{");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        ngx_claude_out(out, "%s\"%V\":%uA",
                       (i > NGX_CLAUDE_RUNG_LIVE) ? "," : "",
                       ngx_claude_rung_name(i), counters->rungs[i]);
    }

    ngx_claude_out(out, "},\"spawned\":%uA,\"died\":%uA,\"lost\":%uA,"
                   "\"replaced\":%uA,\"evicted\":%uA,\"handed\":%uA,"
                   "\"retries\":%uA", counters->spawned,
                   counters->died, counters->lost, counters->replaced,
                   counters->evicted, counters->handed, counters->retries);
}


/* sums over all accounts */

static void
json_totals(ngx_claude_out_t *out, ngx_claude_counters_t *counters)
{
    uint64_t               prompt, cached, completion, reasoning;
    uint64_t               microdollars;
    ngx_uint_t             i;
    ngx_claude_account_t  *account;

    account = &counters->other;

    prompt = account->prompt;
    cached = account->cached;
    completion = account->completion;
    reasoning = account->reasoning;
    microdollars = account->microdollars;

    for (i = 0; i < counters->naccounts; i++) {
        account = &counters->accounts[i];

        prompt += account->prompt;
        cached += account->cached;
        completion += account->completion;
        reasoning += account->reasoning;
        microdollars += account->microdollars;
    }

    ngx_claude_out(out, ",\"tokens\":{\"prompt\":%uL,\"cached\":%uL,"
                   "\"completion\":%uL,\"reasoning\":%uL},"
                   "\"cost_usd\":%uL.%06uL",
                   prompt, cached, completion, reasoning,
                   microdollars / 1000000, microdollars % 1000000);
}


static void
json_latency(ngx_claude_out_t *out, ngx_claude_counters_t *counters)
{
    ngx_uint_t  i;

    /* counts of each bucket alone; the last has no bound */

    ngx_claude_out(out, ",\"latency\":{\"bounds\":[");

    for (i = 0; i < NGX_CLAUDE_BUCKETS - 1; i++) {
        ngx_claude_out(out, "%s%M.%03M", i ? "," : "",
                       ngx_claude_bounds[i] / 1000,
                       ngx_claude_bounds[i] % 1000);
    }

    ngx_claude_out(out, "],\"wait\":");
    json_histogram(out, &counters->wait);

    ngx_claude_out(out, ",\"duration\":");
    json_histogram(out, &counters->duration);

    ngx_claude_out(out, ",\"ttft\":{");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        ngx_claude_out(out, "%s\"%V\":",
                       (i > NGX_CLAUDE_RUNG_LIVE) ? "," : "",
                       ngx_claude_rung_name(i));
        json_histogram(out, &counters->ttft[i]);
    }

    ngx_claude_out(out, "}}");
}


static void
json_histogram(ngx_claude_out_t *out, ngx_claude_histogram_t *histogram)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  msecs;

    msecs = histogram->msecs;

    ngx_claude_out(out, "{\"sum\":%uA.%03uA,\"counts\":[", msecs / 1000,
                   msecs % 1000);

    for (i = 0; i < NGX_CLAUDE_BUCKETS; i++) {
        ngx_claude_out(out, "%s%uA", i ? "," : "", histogram->counts[i]);
    }

    ngx_claude_out(out, "]}");
}


/* the first n accounts, and what has found no row */

static void
json_usage(ngx_claude_out_t *out, ngx_claude_counters_t *counters,
    ngx_uint_t n)
{
    ngx_uint_t             i;
    ngx_claude_account_t  *account;

    ngx_claude_out(out, ",\"usage\":[");

    for (i = 0; i < counters->naccounts && n; i++) {
        account = &counters->accounts[i];

        if (account->used) {
            ngx_claude_out_literal(out, "{\"key\":");
            ngx_claude_out_string(out, account->key, account->key_len);
            ngx_claude_out_literal(out, ",\"model\":");
            ngx_claude_out_string(out, account->model, account->model_len);
            json_account(out, account);
            ngx_claude_out_literal(out, ",");
            n--;
        }
    }

    ngx_claude_out(out, "{\"key\":null,\"model\":null");
    json_account(out, &counters->other);

    ngx_claude_out(out, "]");
}


static void
json_account(ngx_claude_out_t *out, ngx_claude_account_t *account)
{
    ngx_atomic_uint_t  microdollars;

    microdollars = account->microdollars;

    ngx_claude_out(out, ",\"turns\":%uA,\"prompt_tokens\":%uA,"
                   "\"cached_tokens\":%uA,\"completion_tokens\":%uA,"
                   "\"reasoning_tokens\":%uA,"
                   "\"cost_usd\":%uA.%06uA}", account->turns,
                   account->prompt, account->cached, account->completion,
                   account->reasoning,
                   microdollars / 1000000, microdollars % 1000000);
}


/* rows: at most */

static void
json_processes(ngx_claude_out_t *out, ngx_claude_zone_t *zone,
    ngx_uint_t rows)
{
    const char                 *comma;
    ngx_uint_t                  i, n, at;
    ngx_claude_zone_process_t   process[JSON_ROWS];

    ngx_claude_out(out, ",\"processes\":[");

    comma = "";
    at = 0;

    while (rows) {
        n = ngx_claude_zone_processes(zone, &at, process,
                                      ngx_min(rows, JSON_ROWS));
        if (n == 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            ngx_claude_out(out, "%s", comma);
            json_process(out, &process[i]);
            comma = ",";
        }

        rows -= n;
    }

    ngx_claude_out(out, "]");
}


static void
json_process(ngx_claude_out_t *out, ngx_claude_zone_process_t *process)
{
    ngx_claude_out(out, "{\"pid\":%P,\"worker\":%P,\"state\":\"%s\","
                   "\"rung\":\"%V\",\"turns\":%ui,\"age\":%M,"
                   "\"since\":%M,\"memory\":%uL}",
                   process->pid, process->owner,
                   ngx_http_claude_status_states[process->state],
                   ngx_claude_rung_name(process->rung),
                   process->turns, json_seconds(process->created),
                   json_seconds(process->changed),
                   ngx_claude_proc_memory(process->pid, process->start));
}


/* seconds since then; another worker's time may be a little ahead */

static ngx_msec_t
json_seconds(ngx_msec_t then)
{
    ngx_msec_int_t  passed;

    passed = (ngx_msec_int_t) (ngx_current_msec - then);

    return (passed > 0) ? passed / 1000 : 0;
}
