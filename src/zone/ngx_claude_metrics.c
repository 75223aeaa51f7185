
/*
 * Metrics.  See the header.
 */


#include "ngx_claude_metrics.h"
#include "ngx_claude_table.h"


/*
 * From what nginx adds to a live process (milliseconds) over a cold start
 * (half a second) to a model that thinks for minutes.
 */

const ngx_msec_t  ngx_claude_bounds[NGX_CLAUDE_BUCKETS - 1] = {
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000,
    300000
};


static const char  *metrics_fails[] = {
    [NGX_CLAUDE_FAIL_INTERNAL] = "internal",
    [NGX_CLAUDE_FAIL_QUEUE_FULL] = "queue_full",
    [NGX_CLAUDE_FAIL_QUEUE_TIMEOUT] = "queue_timeout",
    [NGX_CLAUDE_FAIL_UNAVAILABLE] = "cli_unavailable",
    [NGX_CLAUDE_FAIL_NOT_LOGGED_IN] = "cli_not_logged_in",
    [NGX_CLAUDE_FAIL_TOO_OLD] = "cli_too_old",
    [NGX_CLAUDE_FAIL_CLI] = "cli_failed",
    [NGX_CLAUDE_FAIL_TIMEOUT] = "timeout",
    [NGX_CLAUDE_FAIL_TURN_TIMEOUT] = "turn_timeout",
    [NGX_CLAUDE_FAIL_RATE_LIMIT] = "rate_limit",
    [NGX_CLAUDE_FAIL_OVERLOADED] = "overloaded",
    [NGX_CLAUDE_FAIL_MODEL] = "model_not_found",
    [NGX_CLAUDE_FAIL_REQUEST] = "request_refused",
    [NGX_CLAUDE_FAIL_TOO_LARGE] = "request_too_large",
    [NGX_CLAUDE_FAIL_CONTEXT] = "context_length",
    [NGX_CLAUDE_FAIL_BUDGET] = "budget",
    [NGX_CLAUDE_FAIL_SESSION_GONE] = "session_expired",
    [NGX_CLAUDE_FAIL_SESSION_BUSY] = "session_busy",
    [NGX_CLAUDE_FAIL_SESSION_MODEL] = "session_model",
    [NGX_CLAUDE_FAIL_SESSION_SYSTEM] = "session_system"
};

ngx_claude_table_check(metrics_fails, NGX_CLAUDE_FAILS);


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
    if (turn->answer.ttft != (ngx_msec_t) -1) {
        ngx_claude_histogram_add(&counters->ttft[turn->answer.rung],
                                 turn->answer.ttft);
    }

    if (turn->answer.is_finished) {
        ngx_claude_histogram_add(&counters->duration,
                                 ngx_current_msec - turn->answer.begun);
    }

    if (account) {
        (void) ngx_atomic_fetch_add(&account->turns, turn->answer.is_finished);
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

    /* each sum is rounded, not the difference: roundings must not add up */

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
