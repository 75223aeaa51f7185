
/*
 * The pool of this worker.  See the header.
 */


#include "ngx_claude_pool.h"
#include "ngx_claude_driver.h"


/*
 * A conversation of more messages than this, used less than so long ago
 * (msec), is likely to go on: to empty its process would cost its replay.
 */
#define POOL_SPARED_HELD   4
#define POOL_SPARED_TIME   60000

/* before a warm process is started, and when starts keep failing, msec */
#define POOL_WARM_DELAY    300
#define POOL_WARM_BACKOFF  60000


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
static void pool_warm_handler(ngx_event_t *ev);
static ngx_uint_t pool_warm_count(ngx_claude_profile_t *profile);


static ngx_claude_zone_t          *pool_zone;
static const ngx_claude_limits_t  *pool;           /* NULL: not open */
static ngx_queue_t                 pool_idle;      /* the latest first */
static ngx_claude_seat_t          *pool_starting;  /* the warm one */
static ngx_event_t                 pool_warm_event;
static ngx_msec_t                  pool_backoff;
static ngx_connection_t            pool_dummy;


void
ngx_claude_pool_init(ngx_claude_zone_t *zone,
    const ngx_claude_limits_t *limits)
{
    pool_zone = zone;
    pool = limits;
    pool_starting = NULL;
    pool_backoff = 0;

    ngx_queue_init(&pool_idle);

    ngx_memzero(&pool_warm_event, sizeof(ngx_event_t));

    /* ngx_event_ident() of debug logs looks for a connection */

    pool_dummy.fd = (ngx_socket_t) -1;

    pool_warm_event.handler = pool_warm_handler;
    pool_warm_event.data = &pool_dummy;
    pool_warm_event.log = ngx_cycle->log;
    pool_warm_event.cancelable = 1;

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

    pool = NULL;
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


/* a process that is starting is there sooner than a new one */

static ngx_claude_seat_t *
pool_take_starting(ngx_claude_turn_t *turn, ngx_claude_plan_t *plan)
{
    ngx_claude_seat_t  *seat;

    seat = pool_starting;

    if (seat == NULL) {
        return NULL;
    }

    ngx_claude_plan(plan, &seat->holding, seat->held.elts, seat->calls.elts,
                    turn);

    if (plan->rung != NGX_CLAUDE_RUNG_WARM) {
        return NULL;
    }

    pool_starting = NULL;

    ngx_claude_pool_warm();

    return seat;
}


void
ngx_claude_pool_ready(ngx_claude_seat_t *seat)
{
    if (seat == pool_starting) {
        pool_starting = NULL;
        pool_backoff = 0;
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
    if (seat == pool_starting) {
        pool_starting = NULL;

        /* a storm of dying processes is slowed down, not joined */

        pool_backoff = pool_backoff ? ngx_min(2 * pool_backoff,
                                              POOL_WARM_BACKOFF)
                                    : 1000;
        ngx_claude_pool_warm();
        return;
    }

    if (seat->pooled) {
        pool_remove(seat);

        if (!seat->holding.used) {
            ngx_claude_pool_warm();
        }
    }
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

    ngx_add_timer(&pool_warm_event, ngx_max(pool_backoff, POOL_WARM_DELAY));
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
    ngx_claude_owner_t      *owner;
    ngx_claude_profile_t   **profile;
    ngx_claude_record_ask_t  ask;

    if (pool == NULL || ngx_exiting || pool_starting) {
        return;
    }

    profile = pool->profiles->elts;

    for (i = 0; i < pool->profiles->nelts; i++) {

        owner = profile[i]->agent ? &profile[i]->owner : NULL;

        if ((owner && owner->home == NULL)
            || pool_warm_count(profile[i]) >= pool->warm)
        {
            continue;
        }

        if (ngx_claude_zone_process_spare(pool_zone, &row) != NGX_OK) {

            /* engine_woken() when there may be one */

            return;
        }

        pool_starting = ngx_claude_driver_spawn(profile[i], owner,
                         ngx_claude_record_ask_warm(profile[i],
                                   pool->session_ttl / 1000, &ask),
                                                0, pool->max_line, row,
                                                ngx_cycle->log);

        if (pool_starting == NULL) {
            pool_backoff = POOL_WARM_BACKOFF;
            ngx_claude_pool_warm();
        }

        return;
    }
}


static ngx_uint_t
pool_warm_count(ngx_claude_profile_t *profile)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_claude_seat_t  *seat;

    n = 0;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        seat = ngx_queue_data(q, ngx_claude_seat_t, parked);

        n += (seat->process->profile == profile && !seat->holding.used);
    }

    return n;
}
