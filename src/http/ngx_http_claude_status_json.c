
/*
 * Status as JSON.
 */


#include "ngx_http_claude_status_json.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_status_words.h"
#include "ngx_claude_json.h"
#include "ngx_claude_proc.h"
#include "ngx_claude_version.h"


/* rows copied out of the zone at once, to keep the lock short */
#define JSON_ROWS         32

/* bytes of all but the rows of processes and accounts, at most */
#define JSON_LEN          8192

/* bytes of a process, and of an account, at most */
#define JSON_PROCESS_LEN  320
#define JSON_ACCOUNT_LEN                                                      \
    (320 + ngx_claude_json_escaped_max(NGX_CLAUDE_KEY_NAME)                   \
     + ngx_claude_json_escaped_max(NGX_CLAUDE_MODEL_NAME))


static u_char *json_counters(u_char *p, ngx_claude_counters_t *counters,
    ngx_claude_zone_sums_t *sums);
static u_char *json_totals(u_char *p, ngx_claude_counters_t *counters);
static u_char *json_latency(u_char *p, ngx_claude_counters_t *counters);
static u_char *json_histogram(u_char *p, ngx_claude_histogram_t *histogram);
static u_char *json_usage(u_char *p, ngx_claude_counters_t *counters,
    ngx_uint_t n);
static u_char *json_account(u_char *p, ngx_claude_account_t *account);
static u_char *json_processes(u_char *p, ngx_claude_zone_t *zone,
    ngx_uint_t rows);
static u_char *json_process(u_char *p, ngx_claude_zone_process_t *process);
static ngx_msec_t json_seconds(ngx_msec_t then);


ngx_int_t
ngx_http_claude_status_json(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                       *p;
    ngx_uint_t                    rows, accounts;
    ngx_claude_counters_t        *counters;
    ngx_claude_zone_sums_t        sums;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    counters = mcf->zone->counters;

    ngx_claude_zone_sums(mcf->zone, &sums);

    /* a few may come while the rows are read, and are left out */

    rows = sums.processes[NGX_CLAUDE_PROCESS_RESERVED]
           + ngx_http_claude_status_alive(&sums) + JSON_ROWS;
    accounts = ngx_claude_metrics_accounts(counters);

    p = ngx_pnalloc(r->pool, JSON_LEN + rows * JSON_PROCESS_LEN
                             + (accounts + 1) * JSON_ACCOUNT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "{\"module\":\"" NGX_CLAUDE_VERSION "\","
                    "\"cli\":");
    p = ngx_http_claude_status_version(p, counters->version);

    p = ngx_sprintf(p, ",\"time\":%T,\"since\":%T,"
                    "\"limits\":{\"concurrent\":%ui,\"queue\":%ui,"
                    "\"processes\":%ui}", ngx_time(), counters->since,
                    mcf->max_concurrent, mcf->queue, mcf->max_processes);

    p = json_counters(p, counters, &sums);
    p = json_totals(p, counters);
    p = json_latency(p, counters);
    p = json_usage(p, counters, accounts);
    p = json_processes(p, mcf->zone, rows);

    p = ngx_sprintf(p, "}\n");

    body->len = p - body->data;

    return NGX_OK;
}


static u_char *
json_counters(u_char *p, ngx_claude_counters_t *counters,
    ngx_claude_zone_sums_t *sums)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, ",\"turns\":{\"running\":%ui,\"waiting\":%ui",
                    sums->running, sums->waiting);

    for (i = 0; i < NGX_CLAUDE_OUTCOMES; i++) {
        p = ngx_sprintf(p, ",\"%s\":%uA",
                        ngx_http_claude_status_outcomes[i],
                        counters->outcomes[i]);
    }

    p = ngx_sprintf(p, "},\"failures\":{");

    for (i = 0; i < NGX_CLAUDE_FAILS; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%uA", i ? "," : "",
                        ngx_claude_fail_name(i), counters->fails[i]);
    }

    p = ngx_sprintf(p, "},\"rungs\":{");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        p = ngx_sprintf(p, "%s\"%V\":%uA",
                        (i > NGX_CLAUDE_RUNG_LIVE) ? "," : "",
                        ngx_claude_rung_name(i), counters->rungs[i]);
    }

    return ngx_sprintf(p, "},\"spawned\":%uA,\"died\":%uA,"
                       "\"replaced\":%uA,\"evicted\":%uA,\"handed\":%uA,"
                       "\"retries\":%uA", counters->spawned,
                       counters->died, counters->replaced, counters->evicted,
                       counters->handed, counters->retries);
}


/* sums over all accounts */

static u_char *
json_totals(u_char *p, ngx_claude_counters_t *counters)
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

    return ngx_sprintf(p, ",\"tokens\":{\"prompt\":%uL,\"cached\":%uL,"
                       "\"completion\":%uL,\"reasoning\":%uL},"
                       "\"cost_usd\":%uL.%06uL",
                       prompt, cached, completion, reasoning,
                       microdollars / 1000000, microdollars % 1000000);
}


static u_char *
json_latency(u_char *p, ngx_claude_counters_t *counters)
{
    ngx_uint_t  i;

    /* counts of each bucket alone; the last has no bound */

    p = ngx_sprintf(p, ",\"latency\":{\"bounds\":[");

    for (i = 0; i < NGX_CLAUDE_BUCKETS - 1; i++) {
        p = ngx_sprintf(p, "%s%M.%03M", i ? "," : "",
                        ngx_claude_bounds[i] / 1000,
                        ngx_claude_bounds[i] % 1000);
    }

    p = ngx_sprintf(p, "],\"wait\":");
    p = json_histogram(p, &counters->wait);

    p = ngx_sprintf(p, ",\"duration\":");
    p = json_histogram(p, &counters->duration);

    p = ngx_sprintf(p, ",\"ttft\":{");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        p = ngx_sprintf(p, "%s\"%V\":",
                        (i > NGX_CLAUDE_RUNG_LIVE) ? "," : "",
                        ngx_claude_rung_name(i));
        p = json_histogram(p, &counters->ttft[i]);
    }

    return ngx_sprintf(p, "}}");
}


static u_char *
json_histogram(u_char *p, ngx_claude_histogram_t *histogram)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  msecs;

    msecs = histogram->msecs;

    p = ngx_sprintf(p, "{\"sum\":%uA.%03uA,\"counts\":[", msecs / 1000,
                    msecs % 1000);

    for (i = 0; i < NGX_CLAUDE_BUCKETS; i++) {
        p = ngx_sprintf(p, "%s%uA", i ? "," : "", histogram->counts[i]);
    }

    return ngx_sprintf(p, "]}");
}


/* the first n accounts, and what has found no row */

static u_char *
json_usage(u_char *p, ngx_claude_counters_t *counters, ngx_uint_t n)
{
    ngx_uint_t             i;
    ngx_claude_account_t  *account;

    p = ngx_sprintf(p, ",\"usage\":[");

    for (i = 0; i < counters->naccounts && n; i++) {
        account = &counters->accounts[i];

        if (account->used) {
            p = ngx_sprintf(p, "{\"key\":");
            p = ngx_claude_json_escape(p, account->key,
                                       account->key_len);
            p = ngx_sprintf(p, ",\"model\":");
            p = ngx_claude_json_escape(p, account->model,
                                       account->model_len);
            p = json_account(p, account);
            *p++ = ',';
            n--;
        }
    }

    p = ngx_sprintf(p, "{\"key\":null,\"model\":null");
    p = json_account(p, &counters->other);

    return ngx_sprintf(p, "]");
}


static u_char *
json_account(u_char *p, ngx_claude_account_t *account)
{
    ngx_atomic_uint_t  microdollars;

    microdollars = account->microdollars;

    return ngx_sprintf(p, ",\"turns\":%uA,\"prompt_tokens\":%uA,"
                       "\"cached_tokens\":%uA,\"completion_tokens\":%uA,"
                       "\"reasoning_tokens\":%uA,"
                       "\"cost_usd\":%uA.%06uA}", account->turns,
                       account->prompt, account->cached, account->completion,
                       account->reasoning,
                       microdollars / 1000000, microdollars % 1000000);
}


/* rows: how many there is room for */

static u_char *
json_processes(u_char *p, ngx_claude_zone_t *zone, ngx_uint_t rows)
{
    ngx_uint_t                 i, n, at;
    ngx_claude_zone_process_t  process[JSON_ROWS];

    p = ngx_sprintf(p, ",\"processes\":[");

    at = 0;

    while (rows) {
        n = ngx_claude_zone_processes(zone, &at, process,
                                      ngx_min(rows, JSON_ROWS));
        if (n == 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            p = json_process(p, &process[i]);
            *p++ = ',';
        }

        rows -= n;
    }

    if (p[-1] == ',') {
        p--;
    }

    return ngx_sprintf(p, "]");
}


static u_char *
json_process(u_char *p, ngx_claude_zone_process_t *process)
{
    return ngx_sprintf(p, "{\"pid\":%P,\"worker\":%P,\"state\":\"%s\","
                       "\"rung\":\"%V\",\"turns\":%ui,\"age\":%M,"
                       "\"since\":%M,\"memory\":%uL}",
                       process->pid, process->owner,
                       ngx_http_claude_status_states[process->state],
                       ngx_claude_rung_name(process->rung),
                       process->turns, json_seconds(process->created),
                       json_seconds(process->changed),
                       ngx_claude_proc_memory(process->pid,
                                              process->start));
}


/* seconds since then; another worker's time may be a little ahead */

static ngx_msec_t
json_seconds(ngx_msec_t then)
{
    ngx_msec_int_t  passed;

    passed = (ngx_msec_int_t) (ngx_current_msec - then);

    return (passed > 0) ? passed / 1000 : 0;
}

