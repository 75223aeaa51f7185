
/*
 * Metrics: what is counted in the shared zone, and how.
 *
 * Counters, histograms and the accounts of API keys and models are only ever
 * added to, with atomic operations and no lock; nothing here decides anything.
 * A reader may see a turn in one of them and not yet in the next.
 */


#ifndef _NGX_CLAUDE_METRICS_H_INCLUDED_
#define _NGX_CLAUDE_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_turn.h"


/* outcomes of turns */
typedef enum {
    NGX_CLAUDE_OUTCOME_FINISHED = 0,
    NGX_CLAUDE_OUTCOME_FAILED,
    NGX_CLAUDE_OUTCOME_ABORTED,        /* the client left */
    NGX_CLAUDE_OUTCOME_REFUSED,        /* the queue was full, or too slow */
    NGX_CLAUDE_OUTCOMES
} ngx_claude_outcome_e;


/* buckets of a histogram of times; the last one has no upper bound */
#define NGX_CLAUDE_BUCKETS  15

typedef struct {
    ngx_atomic_t                     counts[NGX_CLAUDE_BUCKETS];
    ngx_atomic_t                     msecs;      /* sum of all times, msec */
} ngx_claude_histogram_t;


/* the longest names of accounts, in bytes */
#define NGX_CLAUDE_KEY_NAME    64
#define NGX_CLAUDE_MODEL_NAME  128

/*
 * The usage of a model by an API key.  A row that has a name keeps it; the
 * turns that find no row are in one that has none.
 */
typedef struct {
    ngx_atomic_t                     used;       /* the names are there */
    uint32_t                         hash;
    uint8_t                          key_len;
    uint8_t                          model_len;
    u_char                           key[NGX_CLAUDE_KEY_NAME];
    u_char                           model[NGX_CLAUDE_MODEL_NAME];

    ngx_atomic_t                     turns;      /* finished ones */
    ngx_atomic_t                     prompt;     /* tokens, cached ones too */
    ngx_atomic_t                     cached;     /* tokens read from caches */
    ngx_atomic_t                     completion; /* tokens */
    ngx_atomic_t                     reasoning;  /* part of these */
    ngx_atomic_t                     microdollars;
} ngx_claude_account_t;


typedef struct {
    ngx_atomic_t                     outcomes[NGX_CLAUDE_OUTCOMES];
    ngx_atomic_t                     rungs[NGX_CLAUDE_RUNGS];
    ngx_atomic_t                     fails[NGX_CLAUDE_FAILS];

    ngx_atomic_t                     spawned;    /* processes started */
    ngx_atomic_t                     died;       /* processes that ended
                                                    unasked */
    ngx_atomic_t                     lost;       /* processes that died before
                                                    their first turn */
    ngx_atomic_t                     replaced;   /* processes that died in a
                                                    turn, which got another */
    ngx_atomic_t                     evicted;    /* idle processes that gave
                                                    way */
    ngx_atomic_t                     handed;     /* processes handed to another
                                                    worker */
    ngx_atomic_t                     retries;    /* the CLI's own, upstream */

    ngx_claude_histogram_t           ttft[NGX_CLAUDE_RUNGS];
    ngx_claude_histogram_t           wait;       /* from a whole request to its
                                                    process */
    ngx_claude_histogram_t           duration;   /* from a whole request to
                                                    the end, of finished
                                                    turns */

    /* set, not added to */
    ngx_atomic_t                     version;    /* version of the CLI:
                                                    2.1.187 is 201187 */
    time_t                           since;      /* seconds since 1970, when
                                                    all was 0 */
    ngx_uint_t                       naccounts;  /* rows, used or not */
    ngx_claude_account_t            *accounts;
    ngx_claude_account_t             other;      /* turns that found no row */
} ngx_claude_counters_t;


/* upper bounds of all buckets but the last, msec, going up */
extern const ngx_msec_t
    ngx_claude_bounds[NGX_CLAUDE_BUCKETS - 1];


void ngx_claude_histogram_add(ngx_claude_histogram_t *histogram,
    ngx_msec_t msec);

/* a turn failed, or was refused by the queue */
void ngx_claude_metrics_failed(ngx_claude_counters_t *counters,
    ngx_claude_fail_e fail);

/*
 * A turn and its process part: adds what the turn has shown until now.
 * account: where it is counted, NULL if the model has not begun.
 */
void ngx_claude_metrics_parted(ngx_claude_counters_t *counters,
    ngx_claude_turn_t *turn, ngx_claude_account_t *account);

/* the number of rows of accounts that are used */
ngx_uint_t ngx_claude_metrics_accounts(ngx_claude_counters_t *counters);

/* adds tokens to an account */
void ngx_claude_metrics_usage(ngx_claude_account_t *account,
    ngx_claude_usage_t *usage);

/*
 * Adds to an account what a process has spent: the sums of its life before and
 * after, in US dollars.
 */
void ngx_claude_metrics_cost(ngx_claude_account_t *account, double before,
    double cost);

/* a failure's name as the metrics have it */
const char *ngx_claude_fail_name(ngx_claude_fail_e fail);


#endif /* _NGX_CLAUDE_METRICS_H_INCLUDED_ */
