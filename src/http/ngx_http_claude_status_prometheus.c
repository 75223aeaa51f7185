
/*
 * Status as Prometheus has it, text format 0.0.4.
 */


#include "ngx_http_claude_status_prometheus.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_status_words.h"
#include "ngx_claude_version.h"


/* bytes of all but the lines of accounts, at most */
#define PROMETHEUS_LEN          32768

/* bytes of the lines of an account, at most, with its names escaped */
#define PROMETHEUS_ACCOUNT_LEN                                                \
    (6 * (128 + 2 * (NGX_CLAUDE_KEY_NAME + NGX_CLAUDE_MODEL_NAME)))


typedef u_char *(*prometheus_account_pt)(u_char *p, u_char *labels,
    size_t len, ngx_claude_account_t *account);


static u_char *prometheus_head(u_char *p, const char *name, const char *type,
    const char *help);
static u_char *prometheus_one(u_char *p, const char *name, const char *type,
    const char *help, ngx_atomic_uint_t value);
static u_char *prometheus_now(u_char *p, ngx_http_claude_main_conf_t *mcf);
static u_char *prometheus_turns(u_char *p, ngx_claude_counters_t *counters);
static u_char *prometheus_latency(u_char *p, ngx_claude_counters_t *counters);
static u_char *prometheus_histogram(u_char *p, const char *name,
    ngx_str_t *rung, ngx_claude_histogram_t *histogram);
static u_char *prometheus_seconds(u_char *p, ngx_msec_t msec);
static u_char *prometheus_processes(u_char *p,
    ngx_claude_counters_t *counters);
static u_char *prometheus_usage(u_char *p, ngx_claude_counters_t *counters,
    ngx_uint_t n, prometheus_account_pt line);
static u_char *prometheus_label(u_char *p, u_char *s, size_t len);
static u_char *prometheus_account_turns(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account);
static u_char *prometheus_account_tokens(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account);
static u_char *prometheus_account_cached(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account);
static u_char *prometheus_account_reasoning(u_char *p, u_char *labels,
    size_t len, ngx_claude_account_t *account);
static u_char *prometheus_account_cost(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account);


ngx_int_t
ngx_http_claude_status_prometheus(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                       *p;
    ngx_uint_t                    n;
    ngx_claude_counters_t        *counters;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    counters = mcf->zone->counters;
    n = ngx_claude_metrics_accounts(counters);

    p = ngx_pnalloc(r->pool, PROMETHEUS_LEN
                             + (n + 1) * PROMETHEUS_ACCOUNT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = prometheus_now(p, mcf);
    p = prometheus_turns(p, counters);
    p = prometheus_latency(p, counters);
    p = prometheus_processes(p, counters);

    p = prometheus_head(p, "claude_finished_turns_total", "counter",
                        "Turns that finished, by API key and model.");
    p = prometheus_usage(p, counters, n, prometheus_account_turns);

    p = prometheus_head(p, "claude_tokens_total", "counter",
                        "Tokens of all turns that the model began, by API "
                        "key, model and kind.");
    p = prometheus_usage(p, counters, n, prometheus_account_tokens);

    p = prometheus_head(p, "claude_cached_tokens_total", "counter",
                        "Those of the prompt tokens that came from the "
                        "provider's cache.");
    p = prometheus_usage(p, counters, n, prometheus_account_cached);

    p = prometheus_head(p, "claude_reasoning_tokens_total", "counter",
                        "Those of the completion tokens that were thinking.");
    p = prometheus_usage(p, counters, n, prometheus_account_reasoning);

    p = prometheus_head(p, "claude_cost_usd_total", "counter",
                        "Cost by the CLI's account, US dollars, by API key "
                        "and model.");
    p = prometheus_usage(p, counters, n, prometheus_account_cost);

    body->len = p - body->data;

    return NGX_OK;
}


static u_char *
prometheus_head(u_char *p, const char *name, const char *type,
    const char *help)
{
    return ngx_sprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                       type);
}


static u_char *
prometheus_one(u_char *p, const char *name, const char *type,
    const char *help, ngx_atomic_uint_t value)
{
    p = prometheus_head(p, name, type, help);

    return ngx_sprintf(p, "%s %uA\n", name, value);
}


/* versions, limits, and what there is at the moment */

static u_char *
prometheus_now(u_char *p, ngx_http_claude_main_conf_t *mcf)
{
    ngx_uint_t                    i, version;
    ngx_claude_zone_sums_t        sums;

    ngx_claude_zone_sums(mcf->zone, &sums);

    version = mcf->zone->counters->version;

    p = prometheus_head(p, "claude_info", "gauge",
                        "Versions of the module and of the CLI, 0.0.0 until "
                        "one has told it.");
    p = ngx_sprintf(p, "claude_info{module=\"" NGX_CLAUDE_VERSION
                    "\",cli=\"%ui.%ui.%ui\"} 1\n", version / 100000,
                    version / 1000 % 100, version % 1000);

    p = prometheus_one(p, "claude_start_time_seconds", "gauge",
                       "When the counters began, seconds since 1970.",
                       mcf->zone->counters->since);

    p = prometheus_head(p, "claude_limit", "gauge", "Limits that are set.");
    p = ngx_sprintf(p, "claude_limit{of=\"concurrent\"} %ui\n"
                    "claude_limit{of=\"queue\"} %ui\n"
                    "claude_limit{of=\"processes\"} %ui\n",
                    mcf->max_concurrent, mcf->queue, mcf->max_processes);

    p = prometheus_head(p, "claude_turns", "gauge", "Turns now, by state.");
    p = ngx_sprintf(p, "claude_turns{state=\"running\"} %ui\n"
                    "claude_turns{state=\"waiting\"} %ui\n",
                    sums.running, sums.waiting);

    p = prometheus_head(p, "claude_processes", "gauge",
                        "CLI processes now, by state.");

    for (i = NGX_CLAUDE_PROCESS_RESERVED;
         i < NGX_CLAUDE_PROCESS_STATES;
         i++)
    {
        p = ngx_sprintf(p, "claude_processes{state=\"%s\"} %ui\n",
                        ngx_http_claude_status_states[i],
                        sums.processes[i]);
    }

    return p;
}


static u_char *
prometheus_turns(u_char *p, ngx_claude_counters_t *counters)
{
    ngx_uint_t  i;

    p = prometheus_head(p, "claude_turns_total", "counter",
                        "Turns, by outcome.");

    for (i = 0; i < NGX_CLAUDE_OUTCOMES; i++) {
        p = ngx_sprintf(p, "claude_turns_total{outcome=\"%s\"} %uA\n",
                        ngx_http_claude_status_outcomes[i],
                        counters->outcomes[i]);
    }

    p = prometheus_head(p, "claude_failures_total", "counter",
                        "Turns that failed or were refused, by reason.");

    for (i = 0; i < NGX_CLAUDE_FAILS; i++) {
        p = ngx_sprintf(p, "claude_failures_total{reason=\"%s\"} %uA\n",
                        ngx_claude_fail_name(i), counters->fails[i]);
    }

    p = prometheus_head(p, "claude_turns_rung_total", "counter",
                        "Processes that turns got, by where they came from.");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        p = ngx_sprintf(p, "claude_turns_rung_total{rung=\"%V\"} %uA\n",
                        ngx_claude_rung_name(i), counters->rungs[i]);
    }

    return p;
}


static u_char *
prometheus_latency(u_char *p, ngx_claude_counters_t *counters)
{
    ngx_uint_t  i;

    p = prometheus_head(p, "claude_queue_wait_seconds", "histogram",
                        "From a complete request to its process, or to the "
                        "start of one.");
    p = prometheus_histogram(p, "claude_queue_wait_seconds", NULL,
                             &counters->wait);

    p = prometheus_head(p, "claude_time_to_first_token_seconds", "histogram",
                        "From a complete request to the model's first text "
                        "or thought, by rung.");

    for (i = NGX_CLAUDE_RUNG_LIVE; i < NGX_CLAUDE_RUNGS; i++) {
        p = prometheus_histogram(p, "claude_time_to_first_token_seconds",
                                 ngx_claude_rung_name(i),
                                 &counters->ttft[i]);
    }

    p = prometheus_head(p, "claude_turn_duration_seconds", "histogram",
                        "From a complete request to the end of its answer, "
                        "of finished turns.");

    return prometheus_histogram(p, "claude_turn_duration_seconds", NULL,
                                &counters->duration);
}


/* rung: its label, or NULL */

static u_char *
prometheus_histogram(u_char *p, const char *name, ngx_str_t *rung,
    ngx_claude_histogram_t *histogram)
{
    u_char              labels[64], *last;
    ngx_uint_t          i;
    ngx_atomic_uint_t   n, msecs;

    last = labels;

    if (rung) {
        last = ngx_snprintf(labels, sizeof(labels), "rung=\"%V\"", rung);
    }

    n = 0;
    msecs = histogram->msecs;

    for (i = 0; i < NGX_CLAUDE_BUCKETS; i++) {
        n += histogram->counts[i];

        p = ngx_sprintf(p, "%s_bucket{%*s%sle=\"", name,
                        (size_t) (last - labels), labels, rung ? "," : "");

        if (i < NGX_CLAUDE_BUCKETS - 1) {
            p = prometheus_seconds(p, ngx_claude_bounds[i]);

        } else {
            p = ngx_sprintf(p, "+Inf");
        }

        p = ngx_sprintf(p, "\"} %uA\n", n);
    }

    return ngx_sprintf(p, "%s_sum%s%*s%s %uA.%03uA\n"
                       "%s_count%s%*s%s %uA\n",
                       name, rung ? "{" : "", (size_t) (last - labels), labels,
                       rung ? "}" : "", msecs / 1000, msecs % 1000,
                       name, rung ? "{" : "", (size_t) (last - labels), labels,
                       rung ? "}" : "", n);
}


/* a bound is a label, and labels of one number have to look the same */

static u_char *
prometheus_seconds(u_char *p, ngx_msec_t msec)
{
    p = ngx_sprintf(p, "%M.%03M", msec / 1000, msec % 1000);

    while (p[-1] == '0') {
        p--;
    }

    return (p[-1] == '.') ? p - 1 : p;
}


static u_char *
prometheus_processes(u_char *p, ngx_claude_counters_t *counters)
{
    p = prometheus_one(p, "claude_processes_spawned_total", "counter",
                       "CLI processes started.", counters->spawned);
    p = prometheus_one(p, "claude_processes_died_total", "counter",
                       "CLI processes that ended unasked in a turn.",
                       counters->died);
    p = prometheus_one(p, "claude_processes_lost_total", "counter",
                       "CLI processes that died before their first turn.",
                       counters->lost);
    p = prometheus_one(p, "claude_processes_replaced_total", "counter",
                       "CLI processes that failed before the model had said "
                       "anything, so that the turn got another.",
                       counters->replaced);
    p = prometheus_one(p, "claude_processes_evicted_total", "counter",
                       "Idle CLI processes that gave way to others.",
                       counters->evicted);
    p = prometheus_one(p, "claude_processes_handed_total", "counter",
                       "Idle CLI processes that went to another worker.",
                       counters->handed);

    return prometheus_one(p, "claude_upstream_retries_total", "counter",
                          "Requests that the CLI tried again upstream.",
                          counters->retries);
}


/* lines of each account, and of what has found no row */

static u_char *
prometheus_usage(u_char *p, ngx_claude_counters_t *counters,
    ngx_uint_t n, prometheus_account_pt line)
{
    u_char                      labels[2 * (NGX_CLAUDE_KEY_NAME
                                            + NGX_CLAUDE_MODEL_NAME)
                                       + sizeof("key=\"\",model=\"\"")];
    u_char                *last;
    ngx_uint_t             i;
    ngx_claude_account_t  *account;

    for (i = 0; i < counters->naccounts && n; i++) {
        account = &counters->accounts[i];

        if (!account->used) {
            continue;
        }

        last = ngx_sprintf(labels, "key=\"");
        last = prometheus_label(last, account->key, account->key_len);
        last = ngx_sprintf(last, "\",model=\"");
        last = prometheus_label(last, account->model, account->model_len);
        *last++ = '"';

        p = line(p, labels, last - labels, account);
        n--;
    }

    /* "(other)" is the name of no API key and no model */

    last = ngx_sprintf(labels, "key=\"(other)\",model=\"(other)\"");

    return line(p, labels, last - labels, &counters->other);
}


static u_char *
prometheus_label(u_char *p, u_char *s, size_t len)
{
    while (len--) {

        if (*s == '"' || *s == '\\') {
            *p++ = '\\';
        }

        *p++ = *s++;
    }

    return p;
}


static u_char *
prometheus_account_turns(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account)
{
    return ngx_sprintf(p, "claude_finished_turns_total{%*s} %uA\n", len,
                       labels, account->turns);
}


static u_char *
prometheus_account_tokens(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account)
{
    return ngx_sprintf(p, "claude_tokens_total{%*s,kind=\"prompt\"} %uA\n"
                       "claude_tokens_total{%*s,kind=\"completion\"} %uA\n",
                       len, labels, account->prompt,
                       len, labels, account->completion);
}


static u_char *
prometheus_account_cached(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account)
{
    return ngx_sprintf(p, "claude_cached_tokens_total{%*s} %uA\n", len,
                       labels, account->cached);
}


static u_char *
prometheus_account_reasoning(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account)
{
    return ngx_sprintf(p, "claude_reasoning_tokens_total{%*s} %uA\n", len,
                       labels, account->reasoning);
}


static u_char *
prometheus_account_cost(u_char *p, u_char *labels, size_t len,
    ngx_claude_account_t *account)
{
    ngx_atomic_uint_t  microdollars;

    microdollars = account->microdollars;

    return ngx_sprintf(p, "claude_cost_usd_total{%*s} %uA.%06uA\n", len,
                       labels, microdollars / 1000000, microdollars % 1000000);
}
