
/*
 * Debts.  See the header.
 *
 * A debt is a time, when it is paid: each start for nothing moves that on, and
 * it comes nearer by itself.  So the rate is held whatever the key's turns are
 * spread over, and nothing has to be counted down.
 */


#include "ngx_claude_debt.h"


/* starts for nothing over all workers that a key is not held to */
#define DEBT_FREE  4

/* what each is, msec, over all workers, and what a key waits for at most */
#define DEBT_START  4000
#define DEBT_WAIT   10000


typedef struct {
    ngx_queue_t        queue;
    ngx_claude_hash_t  tenant;
    ngx_msec_t         paid;               /* ngx_current_msec */
} debt_t;


static debt_t *debt_find(const ngx_claude_hash_t *tenant);


static ngx_queue_t  debts;
static ngx_msec_t   debt_start;
static ngx_msec_t   debt_free;


void
ngx_claude_debt_init(ngx_uint_t workers)
{
    ngx_queue_init(&debts);

    workers = ngx_max(workers, 1);

    debt_start = DEBT_START * workers;
    debt_free = debt_start * ngx_max(DEBT_FREE / workers, 1);
}


void
ngx_claude_debt_exit(void)
{
    debt_t  *debt;

    while (!ngx_queue_empty(&debts)) {
        debt = ngx_queue_data(ngx_queue_head(&debts), debt_t, queue);

        ngx_queue_remove(&debt->queue);
        ngx_free(debt);
    }
}


ngx_msec_t
ngx_claude_debt_wait(const ngx_claude_hash_t *tenant)
{
    debt_t      *debt;
    ngx_msec_t   left;

    debt = debt_find(tenant);

    if (debt == NULL) {
        return 0;
    }

    left = debt->paid - ngx_current_msec;

    return (left > debt_free) ? left - debt_free : 0;
}


void
ngx_claude_debt_add(const ngx_claude_hash_t *tenant)
{
    debt_t      *debt;
    ngx_msec_t   most;

    debt = debt_find(tenant);

    if (debt == NULL) {
        debt = ngx_alloc(sizeof(debt_t), ngx_cycle->log);
        if (debt == NULL) {
            return;
        }

        debt->tenant = *tenant;
        debt->paid = ngx_current_msec;
        ngx_queue_insert_head(&debts, &debt->queue);
    }

    most = ngx_current_msec + debt_free + DEBT_WAIT;
    debt->paid += debt_start;

    if ((ngx_msec_int_t) (debt->paid - most) > 0) {
        debt->paid = most;
    }
}


void
ngx_claude_debt_return(const ngx_claude_hash_t *tenant)
{
    debt_t  *debt;

    debt = debt_find(tenant);

    if (debt) {
        debt->paid -= debt_start;
    }
}


ngx_uint_t
ngx_claude_debt_due(const ngx_claude_hash_t *tenant)
{
    debt_t  *debt;

    debt = debt_find(tenant);

    return debt && debt->paid - ngx_current_msec > debt_free - debt_start;
}


/* drops on its way what is paid */

static debt_t *
debt_find(const ngx_claude_hash_t *tenant)
{
    debt_t       *debt, *found;
    ngx_queue_t  *q, *next;

    found = NULL;

    for (q = ngx_queue_head(&debts); q != ngx_queue_sentinel(&debts); q = next)
    {
        next = ngx_queue_next(q);
        debt = ngx_queue_data(q, debt_t, queue);

        if ((ngx_msec_int_t) (debt->paid - ngx_current_msec) <= 0) {
            ngx_queue_remove(q);
            ngx_free(debt);

        } else if (ngx_claude_hash_same(&debt->tenant, tenant)) {
            found = debt;
        }
    }

    return found;
}
