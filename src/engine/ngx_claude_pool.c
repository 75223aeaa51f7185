
/*
 * The pool of this worker.  See the header.
 */


#include "ngx_claude_pool.h"
#include "ngx_claude_debt.h"
#include "ngx_claude_driver.h"


/*
 * A conversation of more messages than this, used less than so long ago
 * (msec), is likely to go on: to empty its process would cost its replay.
 */
#define POOL_SPARED_HELD   4
#define POOL_SPARED_TIME   60000

/* before a warm process is started, and when none can be, msec */
#define POOL_WARM_DELAY    300
#define POOL_WARM_BACKOFF  60000

/* a warm process that has lived for so long is well, msec */
#define POOL_PROOF         120000


static void pool_owner(ngx_claude_turn_t *turn);
static void pool_look(ngx_claude_profile_t *profile);
static ngx_claude_seat_t *pool_nearest(ngx_claude_turn_t *turn,
    ngx_claude_rung_e least, ngx_claude_plan_t *nearest);
static ngx_claude_seat_t *pool_take_starting(ngx_claude_turn_t *turn,
    ngx_claude_plan_t *plan);
static void pool_realm_of(ngx_claude_seat_t *seat, ngx_claude_hash_t *realm);
static ngx_uint_t pool_hinted(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn);
static ngx_uint_t pool_spared(ngx_claude_seat_t *seat);
static void pool_remove(ngx_claude_seat_t *seat);
static void pool_event(ngx_event_t *ev, ngx_event_handler_pt handler);
static void pool_warm_handler(ngx_event_t *ev);
static ngx_uint_t pool_warms(void);
static ngx_uint_t pool_warm_count(ngx_claude_profile_t *profile);
static void pool_proof(ngx_claude_seat_t *seat);
static void pool_proof_handler(ngx_event_t *ev);


static ngx_claude_zone_t          *pool_zone;
static const ngx_claude_limits_t  *pool;           /* NULL: not open */
static ngx_queue_t                 pool_idle;      /* the latest first */
static ngx_queue_t                 pool_starting;  /* the latest first; those
                                                      of turns as well */
static ngx_event_t                 pool_warm_event;
static ngx_event_t                 pool_proof_event;
static ngx_connection_t            pool_dummy;


void
ngx_claude_pool_init(ngx_claude_zone_t *zone,
    const ngx_claude_limits_t *limits)
{
    pool_zone = zone;
    pool = limits;

    ngx_queue_init(&pool_idle);
    ngx_queue_init(&pool_starting);

    pool_event(&pool_warm_event, pool_warm_handler);
    pool_event(&pool_proof_event, pool_proof_handler);

    if (limits->warm) {
        ngx_add_timer(&pool_warm_event, 1);
    }
}


void
ngx_claude_pool_exit(void)
{
    if (pool_warm_event.timer_set) {
        ngx_del_timer(&pool_warm_event);
    }

    if (pool_proof_event.timer_set) {
        ngx_del_timer(&pool_proof_event);
    }

    pool = NULL;
}


/* a timer that keeps no worker alive */

static void
pool_event(ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ngx_memzero(ev, sizeof(ngx_event_t));

    /* ngx_event_ident() of debug logs looks for a connection */

    pool_dummy.fd = (ngx_socket_t) -1;

    ev->handler = handler;
    ev->data = &pool_dummy;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;
}


ngx_claude_seat_t *
ngx_claude_pool_pick(ngx_claude_turn_t *turn, ngx_claude_rung_e least,
    ngx_claude_plan_t *plan)
{
    ngx_claude_seat_t  *best;

    if (least >= NGX_CLAUDE_RUNG_WARM) {
        pool_look(turn->profile);
        pool_owner(turn);
    }

    do {
        best = pool_nearest(turn, least, plan);

        if (best == NULL) {
            return (least >= NGX_CLAUDE_RUNG_WARM)
                   ? pool_take_starting(turn, plan) : NULL;
        }

        /* or it was evicted or asked for in this very moment */

    } while (ngx_claude_zone_process_claim(pool_zone, best->process_row)
             != NGX_OK);

    pool_remove(best);

    if (plan->rung == NGX_CLAUDE_RUNG_WARM) {
        ngx_claude_pool_warm();
    }

    return best;
}


/* an agent is kept warm for the key that has asked last */

static void
pool_owner(ngx_claude_turn_t *turn)
{
    ngx_claude_owner_t  *owner;

    owner = &turn->profile->owner;

    if (turn->profile->agent
        && (owner->home == NULL
            || !ngx_claude_hash_same(&owner->tenant, &turn->tenant)))
    {
        owner->home = turn->home;
        owner->tenant = turn->tenant;

        ngx_claude_pool_warm();
    }
}


/* ends what was started from a binary that has been replaced */

static void
pool_look(ngx_claude_profile_t *profile)
{
    ngx_queue_t        *q, *next;
    ngx_claude_seat_t  *seat;

    ngx_claude_profile_look(profile);

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = next)
    {
        next = ngx_queue_next(q);
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (seat->process->profile == profile
            && ngx_claude_holding_outdated(&seat->holding, profile)
            && ngx_claude_zone_process_is_idle(pool_zone, seat->process_row))
        {
            ngx_claude_driver_end(seat);
        }
    }
}


/*
 * The lower rung wins, then the longer beginning.  Of those to be emptied the
 * last in the queue is taken, idle for longest; one in the midst of a
 * conversation only if nothing is warm.
 */

static ngx_claude_seat_t *
pool_nearest(ngx_claude_turn_t *turn, ngx_claude_rung_e least,
    ngx_claude_plan_t *nearest)
{
    ngx_queue_t        *q;
    ngx_claude_plan_t   plan;
    ngx_claude_seat_t  *seat, *best;
    ngx_claude_rung_e   order, lowest;

    best = NULL;
    lowest = NGX_CLAUDE_RUNG_NONE;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        ngx_claude_plan_rate(&plan, &seat->holding, seat->held.elts,
                             seat->calls.elts, turn);

        if (plan.rung == NGX_CLAUDE_RUNG_NONE || plan.rung > least
            || !ngx_claude_pool_allows(seat, turn, &plan)
            || !ngx_claude_zone_process_is_idle(pool_zone, seat->process_row))
        {
            continue;
        }

        order = (plan.rung == NGX_CLAUDE_RUNG_RECYCLED && pool_spared(seat))
                ? NGX_CLAUDE_RUNG_COLD : plan.rung;

        if (best == NULL || order < lowest
            || (order == lowest
                && (plan.keep > nearest->keep
                    || (plan.rung == NGX_CLAUDE_RUNG_RECYCLED
                        && !pool_hinted(best, turn)))))
        {
            best = seat;
            lowest = order;
            nearest->rung = plan.rung;
            nearest->keep = plan.keep;
            nearest->fail = plan.fail;
        }
    }

    if (best) {
        nearest->nsteps = 0;
        ngx_claude_plan_steps(nearest, &best->holding, turn);
    }

    return best;
}


/*
 * A process that is starting is there sooner than a new one: the one that
 * began first, of those that no turn waits for.
 */

static ngx_claude_seat_t *
pool_take_starting(ngx_claude_turn_t *turn, ngx_claude_plan_t *plan)
{
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_last(&pool_starting);
         q != ngx_queue_sentinel(&pool_starting);
         q = ngx_queue_prev(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (seat->turn) {
            continue;
        }

        ngx_claude_plan(plan, &seat->holding, seat->held.elts,
                        seat->calls.elts, turn);

        if (plan->rung == NGX_CLAUDE_RUNG_WARM
            && ngx_claude_pool_allows(seat, turn, plan))
        {
            ngx_claude_pool_warm();
            return seat;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_claude_pool_allows(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn,
    const ngx_claude_plan_t *plan)
{
    return plan->rung != NGX_CLAUDE_RUNG_WARM
           || (seat->claimed
               && ngx_claude_hash_same(&seat->holding.tenant, &turn->tenant))
           || ngx_claude_debt_wait(&turn->tenant) == 0;
}


void
ngx_claude_pool_starts(ngx_claude_seat_t *seat)
{
    seat->nascent = 1;
    ngx_queue_insert_head(&pool_starting, &seat->parked);
}


void
ngx_claude_pool_ready(ngx_claude_seat_t *seat)
{
    if (seat->nascent) {
        seat->nascent = 0;
        ngx_queue_remove(&seat->parked);

        ngx_claude_pool_warm();
    }
}


void
ngx_claude_pool_put(ngx_claude_seat_t *seat)
{
    ngx_msec_t              timeout;
    ngx_claude_hash_t       realm;
    ngx_claude_held_t      *held;
    ngx_claude_zone_idle_t  what;

    held = seat->held.elts;

    what.nheld = seat->held.nelts;
    what.tip = what.nheld ? &held[what.nheld - 1].link : &seat->holding.root;
    what.first = what.nheld ? &held[0].link : &seat->holding.root;
    what.session = &seat->holding.session;
    what.realm = &realm;

    pool_realm_of(seat, &realm);

    if (pool == NULL || ngx_exiting || ngx_terminate
        || (seat->holding.used && seat->process->profile->single)
        || ngx_claude_zone_process_idle(pool_zone, seat->process_row, &what)
           != NGX_OK)
    {
        ngx_claude_driver_end(seat);
        return;
    }

    seat->pooled = 1;
    seat->idled = ngx_current_msec;
    ngx_queue_insert_head(&pool_idle, &seat->parked);

    ngx_claude_process_idle(seat->process, 1);

    /* a session is forgotten in time, also while a process holds it */

    timeout = (seat->holding.named_session
               && pool->session_ttl < pool->idle_timeout)
              ? pool->session_ttl : pool->idle_timeout;

    seat->timer.cancelable = 1;
    ngx_add_timer(&seat->timer, timeout);

    if (!seat->holding.used) {
        pool_proof(seat);
    }
}


static void
pool_realm_of(ngx_claude_seat_t *seat, ngx_claude_hash_t *realm)
{
    ngx_claude_holding_t  *holding;

    holding = &seat->holding;

    if (holding->used) {
        ngx_claude_pool_realm(seat->process->profile, &holding->tenant,
                              holding->named_session ? &holding->session
                                                     : NULL,
                              realm);
        return;
    }

    ngx_claude_pool_realm(seat->process->profile, NULL,
                          holding->owned ? &holding->tenant : NULL, realm);
}


ngx_claude_seat_t *
ngx_claude_pool_find(ngx_int_t row)
{
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (seat->process_row == row) {
            return seat;
        }
    }

    return NULL;
}


void
ngx_claude_pool_realm(ngx_claude_profile_t *profile,
    const ngx_claude_hash_t *tenant, const ngx_claude_hash_t *session,
    ngx_claude_hash_t *realm)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_claude_hash_add(&sha1, &profile->hash);

    if (tenant) {
        ngx_claude_hash_add(&sha1, tenant);
    }

    if (session) {
        ngx_claude_hash_add(&sha1, session);
    }

    ngx_claude_hash_final(realm, &sha1);
}


void
ngx_claude_pool_left(ngx_claude_seat_t *seat)
{
    ngx_claude_pool_ready(seat);

    if (seat->pooled) {
        pool_remove(seat);

        if (!seat->holding.used) {
            ngx_claude_pool_warm();
        }
    }
}


void
ngx_claude_pool_lost(ngx_claude_seat_t *seat, ngx_str_t *reason)
{
    ngx_uint_t             n, level;
    ngx_msec_t             wait;
    ngx_claude_process_t  *process;

    process = seat->process;

    n = ngx_claude_zone_start_died(pool_zone, &process->profile->hash, &wait);

    (void) ngx_atomic_fetch_add(&pool_zone->counters->lost, 1);

    level = (n == 1) ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, process->log, 0,
                  "claude: process %P of \"%s\" died before its first turn: "
                  "%V%s%V; the next one ahead of need is started in %M ms, "
                  "and later each time that it does again", process->pid,
                  process->profile->binary, reason,
                  process->words.len ? ": " : "", &process->words, wait);
}


void
ngx_claude_pool_proved(ngx_claude_profile_t *profile)
{
    ngx_uint_t  n;

    n = ngx_claude_zone_start_lived(pool_zone, &profile->hash);

    if (n == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "claude: a process of \"%s\" does what it should, after "
                  "%ui that died before their first turn", profile->binary, n);

    ngx_claude_pool_warm();
}


void
ngx_claude_pool_evict(void)
{
    ngx_queue_t        *q, *next;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = next)
    {
        next = ngx_queue_next(q);
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (ngx_claude_zone_process_evicted(pool_zone, seat->process_row)) {
            ngx_claude_driver_end(seat);
        }
    }
}


void
ngx_claude_pool_warm(void)
{
    if (pool == NULL || pool->warm == 0 || ngx_exiting
        || pool_warm_event.timer_set)
    {
        return;
    }

    ngx_add_timer(&pool_warm_event, POOL_WARM_DELAY);
}


/* whether the process last served what the client calls the same session */

static ngx_uint_t
pool_hinted(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    return !ngx_claude_hash_zero(&turn->session.hint)
           && ngx_claude_hash_same(&seat->holding.hint, &turn->session.hint);
}


/* whether the process is likely to be asked for what it holds */

static ngx_uint_t
pool_spared(ngx_claude_seat_t *seat)
{
    return seat->held.nelts > POOL_SPARED_HELD
           && ngx_current_msec - seat->idled < POOL_SPARED_TIME;
}


static void
pool_remove(ngx_claude_seat_t *seat)
{
    seat->pooled = 0;
    ngx_queue_remove(&seat->parked);

    ngx_claude_process_idle(seat->process, 0);

    if (seat->timer.timer_set) {
        ngx_del_timer(&seat->timer);
    }

    seat->timer.cancelable = 0;
}


static void
pool_warm_handler(ngx_event_t *ev)
{
    ngx_int_t                row;
    ngx_uint_t               i;
    ngx_msec_t               wait, least;
    ngx_claude_seat_t       *seat;
    ngx_claude_owner_t      *owner;
    ngx_claude_profile_t   **profile;
    ngx_claude_record_ask_t  ask;

    if (pool == NULL || ngx_exiting || pool_warms()) {
        return;
    }

    profile = pool->profiles->elts;
    least = 0;

    for (i = 0; i < pool->profiles->nelts; i++) {

        owner = profile[i]->agent ? &profile[i]->owner : NULL;

        if ((owner && owner->home == NULL)
            || pool_warm_count(profile[i]) >= pool->warm)
        {
            continue;
        }

        wait = ngx_claude_zone_start_wait(pool_zone, &profile[i]->hash);

        if (wait) {
            least = (least == 0) ? wait : ngx_min(least, wait);
            continue;
        }

        if (ngx_claude_zone_process_spare(pool_zone, &row) != NGX_OK) {

            /* engine_woken() when there may be one */

            return;
        }

        seat = ngx_claude_driver_spawn(profile[i], owner,
                         ngx_claude_record_ask_warm(profile[i],
                                   pool->session_ttl / 1000, &ask),
                                       0, pool->max_line, row,
                                       ngx_cycle->log);

        if (seat == NULL) {
            ngx_add_timer(ev, POOL_WARM_BACKOFF);
            return;
        }

        ngx_claude_pool_starts(seat);

        return;
    }

    if (least) {
        ngx_add_timer(ev, least);
    }
}


/* whether a warm process is starting: one at a time */

static ngx_uint_t
pool_warms(void)
{
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_head(&pool_starting);
         q != ngx_queue_sentinel(&pool_starting);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (seat->turn == NULL && !seat->claimed) {
            return 1;
        }
    }

    return 0;
}


/* those that start and that nobody waits for are as good as warm */

static ngx_uint_t
pool_warm_count(ngx_claude_profile_t *profile)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    n = 0;

    for (q = ngx_queue_head(&pool_starting);
         q != ngx_queue_sentinel(&pool_starting);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        n += (seat->process->profile == profile && seat->turn == NULL
              && !seat->holding.used);
    }

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        n += (seat->process->profile == profile && !seat->holding.used);
    }

    return n;
}


/* where others have died, a warm process is well once it has lived on */

static void
pool_proof(ngx_claude_seat_t *seat)
{
    if (!pool_proof_event.timer_set
        && ngx_claude_zone_start_dies(pool_zone,
                                      &seat->process->profile->hash))
    {
        ngx_add_timer(&pool_proof_event, POOL_PROOF);
    }
}


static void
pool_proof_handler(ngx_event_t *ev)
{
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        if (seat->holding.used) {
            continue;
        }

        if (ngx_current_msec - seat->idled >= POOL_PROOF) {
            ngx_claude_pool_proved(seat->process->profile);
        }

        pool_proof(seat);
    }
}
