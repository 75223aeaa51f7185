
/*
 * Metrics.  See the header.
 */


#include "ngx_claude_metrics.h"


/*
 * From what nginx adds to a live process (milliseconds) over a cold start
 * (half a second) to a model that thinks for minutes.
 */

const ngx_msec_t  ngx_claude_bounds[NGX_CLAUDE_BUCKETS - 1] = {
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000,
    300000
};


/* by ngx_claude_fail_e */

static const char  *metrics_fails[] = {
    "internal", "queue_full", "queue_timeout", "cli_unavailable",
    "cli_not_logged_in", "cli_too_old", "cli_failed", "timeout", "rate_limit",
    "overloaded", "model_not_found", "request_refused", "request_too_large",
    "context_length", "budget", "session_expired", "session_busy",
    "session_model", "session_system"
};

/* a failure without a name is an error at compile time */
typedef char  metrics_fails_check[
    (sizeof(metrics_fails) / sizeof(metrics_fails[0])
     == NGX_CLAUDE_FAILS) ? 1 : -1];


void
ngx_claude_histogram_add(ngx_claude_histogram_t *histogram,
    ngx_msec_t msec)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_CLAUDE_BUCKETS - 1; i++) {
        if (msec <= ngx_claude_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&histogram->counts[i], 1);
    (void) ngx_atomic_fetch_add(&histogram->msecs, msec);
}


void
ngx_claude_metrics_failed(ngx_claude_counters_t *counters,
    ngx_claude_fail_e fail)
{
    ngx_claude_outcome_e  outcome;

    outcome = (fail == NGX_CLAUDE_FAIL_QUEUE_FULL
               || fail == NGX_CLAUDE_FAIL_QUEUE_TIMEOUT)
              ? NGX_CLAUDE_OUTCOME_REFUSED
              : NGX_CLAUDE_OUTCOME_FAILED;

    (void) ngx_atomic_fetch_add(&counters->outcomes[outcome], 1);
    (void) ngx_atomic_fetch_add(&counters->fails[fail], 1);
}


void
ngx_claude_metrics_parted(ngx_claude_counters_t *counters,
    ngx_claude_turn_t *turn, ngx_claude_account_t *account)
{
    if (turn->ttft != (ngx_msec_t) -1) {
        ngx_claude_histogram_add(&counters->ttft[turn->rung],
                                 turn->ttft);
    }

    if (turn->is_finished) {
        ngx_claude_histogram_add(&counters->duration,
                                 ngx_current_msec - turn->begun);
    }

    if (account) {
        (void) ngx_atomic_fetch_add(&account->turns, turn->is_finished);
    }
}


void
ngx_claude_metrics_usage(ngx_claude_account_t *account,
    ngx_claude_usage_t *usage)
{
    (void) ngx_atomic_fetch_add(&account->prompt, usage->input
                                + usage->cache_read + usage->cache_creation);
    (void) ngx_atomic_fetch_add(&account->cached, usage->cache_read);
    (void) ngx_atomic_fetch_add(&account->completion, usage->output);
    (void) ngx_atomic_fetch_add(&account->reasoning, usage->thinking);
}


void
ngx_claude_metrics_cost(ngx_claude_account_t *account,
    double before, double cost)
{
    /* figures out of a pipe: nothing that is no price of an answer */

    if (before < 0 || cost <= before || cost > 1e9 || cost - before > 1e6) {
        return;
    }

    /* of both, not of the difference: roundings must not add up */

    (void) ngx_atomic_fetch_add(&account->microdollars,
                                (ngx_atomic_int_t) (cost * 1e6 + 0.5)
                                - (ngx_atomic_int_t) (before * 1e6 + 0.5));
}


const char *
ngx_claude_fail_name(ngx_claude_fail_e fail)
{
    return metrics_fails[fail];
}


ngx_uint_t
ngx_claude_metrics_accounts(ngx_claude_counters_t *counters)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < counters->naccounts; i++) {
        n += (counters->accounts[i].used != 0);
    }

    return n;
}
