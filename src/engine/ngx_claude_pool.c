
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


static ngx_uint_t pool_session(ngx_claude_process_t *process,
    ngx_claude_turn_session_t *session);
static ngx_uint_t pool_shared(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn);
static ngx_uint_t pool_hinted(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn);
static ngx_uint_t pool_spared(ngx_claude_process_t *process);
static ngx_uint_t pool_outdated(ngx_claude_process_t *process);
static void pool_remove(ngx_claude_process_t *process);
static void pool_warm_handler(ngx_event_t *ev);
static ngx_uint_t pool_warm_count(ngx_claude_profile_t *profile);


static ngx_claude_pool_conf_t  *pool;
static ngx_queue_t              pool_idle;           /* the latest first */
static ngx_claude_process_t    *pool_starting;       /* the warm one */
static ngx_event_t              pool_warm_event;
static ngx_msec_t               pool_backoff;
static ngx_connection_t         pool_dummy;


void
ngx_claude_pool_init(ngx_claude_pool_conf_t *conf)
{
    pool = conf;
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

    if (conf->warm) {
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


ngx_claude_process_t *
ngx_claude_pool_pick(ngx_claude_turn_t *turn,
    ngx_claude_rung_e least, ngx_claude_rung_e *rung,
    ngx_uint_t *keep)
{
    ngx_uint_t             k;
    ngx_queue_t           *q;
    ngx_claude_rung_e      rate, order, lowest;
    ngx_claude_process_t  *process, *best;

    for ( ;; ) {
        best = NULL;
        lowest = NGX_CLAUDE_RUNG_NONE;
        *keep = 0;
        *rung = NGX_CLAUDE_RUNG_NONE;

        for (q = ngx_queue_head(&pool_idle);
             q != ngx_queue_sentinel(&pool_idle);
             q = ngx_queue_next(q))
        {
            process = ngx_queue_data(q, ngx_claude_process_t, idle);

            rate = ngx_claude_pool_rate(process, turn, &k);

            if (rate == NGX_CLAUDE_RUNG_NONE || rate > least
                || !ngx_claude_zone_process_is_idle(pool->zone,
                                                    process->row))
            {
                continue;
            }

            if (rate == NGX_CLAUDE_RUNG_WARM && pool_outdated(process)) {
                q = ngx_queue_prev(q);
                ngx_claude_driver_end(process);
                continue;
            }

            /*
             * The lower rung wins, then the longer beginning.  Of those to
             * be emptied the last in the queue is taken, idle for longest;
             * one in the midst of a conversation only if nothing is warm.
             */

            order = rate;

            if (rate == NGX_CLAUDE_RUNG_RECYCLED && pool_spared(process))
            {
                order = NGX_CLAUDE_RUNG_COLD;
            }

            if (best == NULL || order < lowest
                || (order == lowest
                    && (k > *keep
                        || (rate == NGX_CLAUDE_RUNG_RECYCLED
                            && !pool_hinted(best, turn)))))
            {
                best = process;
                lowest = order;
                *rung = rate;
                *keep = k;
            }
        }

        if (best == NULL) {
            break;
        }

        if (ngx_claude_zone_process_claim(pool->zone, best->row)
            == NGX_OK)
        {
            pool_remove(best);

            if (*rung == NGX_CLAUDE_RUNG_WARM) {
                ngx_claude_pool_warm();
            }

            return best;
        }

        /* evicted or asked for in this very moment: not idle any more */
    }

    /* one that is starting is still sooner there than another */

    if (least >= NGX_CLAUDE_RUNG_WARM && pool_starting
        && ngx_claude_pool_rate(pool_starting, turn, &k)
           == NGX_CLAUDE_RUNG_WARM)
    {
        best = pool_starting;
        pool_starting = NULL;
        *rung = NGX_CLAUDE_RUNG_WARM;

        ngx_claude_pool_warm();
    }

    return best;
}


void
ngx_claude_pool_ready(ngx_claude_process_t *process)
{
    if (process == pool_starting) {
        pool_starting = NULL;
        pool_backoff = 0;
        ngx_claude_pool_warm();
    }
}


void
ngx_claude_pool_put(ngx_claude_process_t *process)
{
    u_char                  kin[20];
    ngx_msec_t              timeout;
    ngx_claude_held_t      *held;
    ngx_claude_zone_idle_t  what;

    held = process->held.elts;

    what.held = process->held.nelts;
    what.tip = what.held ? held[what.held - 1].link.hash : process->root.hash;
    what.first = what.held ? held[0].link.hash : process->root.hash;
    what.session = process->session;
    what.kin = kin;

    ngx_claude_pool_kin(process->profile,
                        process->used ? process->tenant : NULL,
                        process->own ? process->session : NULL, kin);

    if (pool == NULL || ngx_exiting || ngx_terminate
        || (process->used && process->profile->single)
        || ngx_claude_zone_process_idle(pool->zone, process->row, &what)
           != NGX_OK)
    {
        ngx_claude_driver_end(process);
        return;
    }

    process->pooled = 1;
    process->idled = ngx_current_msec;
    ngx_queue_insert_head(&pool_idle, &process->idle);

    ngx_claude_process_idle(process, 1);

    /* a session is forgotten in time, also while a process holds it */

    timeout = (process->own && pool->session_ttl < pool->idle_timeout)
              ? pool->session_ttl : pool->idle_timeout;

    process->timer.cancelable = 1;
    ngx_add_timer(&process->timer, timeout);
}


ngx_claude_process_t *
ngx_claude_pool_find(ngx_int_t row)
{
    ngx_queue_t           *q;
    ngx_claude_process_t  *process;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        process = ngx_queue_data(q, ngx_claude_process_t, idle);

        if (process->row == row) {
            return process;
        }
    }

    return NULL;
}


void
ngx_claude_pool_kin(ngx_claude_profile_t *profile, u_char *tenant,
    u_char *session, u_char *kin)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_claude_hash_add(&sha1, &profile->hash);

    if (tenant) {
        ngx_sha1_update(&sha1, tenant, NGX_CLAUDE_TENANT_LEN);
    }

    if (session) {
        ngx_sha1_update(&sha1, session, NGX_CLAUDE_SESSION_LEN);
    }

    ngx_sha1_final(kin, &sha1);
}


void
ngx_claude_pool_left(ngx_claude_process_t *process)
{
    if (process == pool_starting) {
        pool_starting = NULL;

        /* a storm of dying processes is slowed down, not joined */

        pool_backoff = pool_backoff ? ngx_min(2 * pool_backoff,
                                              POOL_WARM_BACKOFF)
                                    : 1000;
        ngx_claude_pool_warm();
        return;
    }

    if (process->pooled) {
        pool_remove(process);

        if (!process->used) {
            ngx_claude_pool_warm();
        }
    }
}


void
ngx_claude_pool_evict(void)
{
    ngx_queue_t           *q, *next;
    ngx_claude_process_t  *process;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = next)
    {
        next = ngx_queue_next(q);
        process = ngx_queue_data(q, ngx_claude_process_t, idle);

        if (ngx_claude_zone_process_evicted(pool->zone, process->row)) {
            ngx_claude_driver_end(process);
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


/* how many messages of the turn the process holds, from the first on */

static ngx_uint_t
pool_shared(ngx_claude_process_t *process, ngx_claude_turn_t *turn)
{
    ngx_uint_t          n, last, middle;
    ngx_claude_held_t  *held;
    ngx_claude_link_t  *links;

    links = turn->links;
    held = process->held.elts;

    /* never the question itself */

    last = ngx_min(process->held.nelts, turn->messages.nelts - 1);
    n = 0;

    if (process->base) {

        /* of what was resumed only the last link is known, and is over all */

        if (last < process->base
            || !ngx_claude_link_same(&held[process->base - 1].link,
                                     &links[process->base]))
        {
            return 0;
        }

        n = process->base;

    } else if (!ngx_claude_link_same(&process->root, &links[0])) {
        return 0;
    }

    /* a link is over all before it: the same one means the same ones */

    while (n < last) {
        middle = n + (last - n) / 2;

        if (ngx_claude_link_same(&held[middle].link, &links[middle + 1]))
        {
            n = middle + 1;

        } else {
            last = middle;
        }
    }

    return n;
}


ngx_claude_rung_e
ngx_claude_pool_rate(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn, ngx_uint_t *keep)
{
    ngx_uint_t  shared;

    *keep = 0;

    if (process->profile != turn->profile
        || !pool_session(process, &turn->session))
    {
        return NGX_CLAUDE_RUNG_NONE;
    }

    if (turn->session.results) {

        /* they are of use to the process that waits for them alone */

        if (ngx_memcmp(process->tenant, turn->tenant,
                       NGX_CLAUDE_TENANT_LEN)
            != 0
            || !ngx_claude_driver_fits_calls(process, turn))
        {
            return NGX_CLAUDE_RUNG_NONE;
        }

        *keep = process->held.nelts;

        return NGX_CLAUDE_RUNG_LIVE;
    }

    if (!process->used) {

        /*
         * What an agent did before may be on disk, in a transcript that
         * only a process at its start can take up.
         */

        return (turn->profile->agent && turn->messages.nelts > 1)
               ? NGX_CLAUDE_RUNG_NONE : NGX_CLAUDE_RUNG_WARM;
    }

    if (ngx_memcmp(process->tenant, turn->tenant, NGX_CLAUDE_TENANT_LEN)
        != 0)
    {
        return NGX_CLAUDE_RUNG_NONE;
    }

    if (turn->session.continues) {

        /* without the results of its calls a question is taken back */

        *keep = ngx_claude_driver_cut(process, process->held.nelts);

        return process->pending ? NGX_CLAUDE_RUNG_REWOUND
                                : NGX_CLAUDE_RUNG_LIVE;
    }

    shared = pool_shared(process, turn);

    if (shared == turn->messages.nelts - 1
        && shared == process->held.nelts
        && (!process->pending || ngx_claude_driver_fits(process, turn)))
    {
        *keep = shared;
        return NGX_CLAUDE_RUNG_LIVE;
    }

    *keep = ngx_claude_driver_cut(process, shared);

    if (*keep && *keep >= process->base) {
        return NGX_CLAUDE_RUNG_REWOUND;
    }

    *keep = 0;

    return (process->base || process->profile->agent)
           ? NGX_CLAUDE_RUNG_NONE : NGX_CLAUDE_RUNG_RECYCLED;
}


/*
 * A session that a client has named has a process of its own; another one's
 * name is looked for when there is nothing but the name.
 */

static ngx_uint_t
pool_session(ngx_claude_process_t *process,
    ngx_claude_turn_session_t *session)
{
    ngx_uint_t  own;

    own = (session->kind == NGX_CLAUDE_SESSION_CHOSEN && session->owner);

    if (process->own != own) {
        return 0;
    }

    return (!own && !session->continues)
           || ngx_memcmp(process->session, session->hash,
                         sizeof(process->session))
              == 0;
}


/* whether the process last served what the client calls the same session */

static ngx_uint_t
pool_hinted(ngx_claude_process_t *process, ngx_claude_turn_t *turn)
{
    static u_char  none[NGX_CLAUDE_SESSION_LEN];

    return ngx_memcmp(turn->session.hint, none, sizeof(none)) != 0
           && ngx_memcmp(process->hint, turn->session.hint, sizeof(none))
              == 0;
}


/* whether the process is likely to be asked for what it holds */

static ngx_uint_t
pool_spared(ngx_claude_process_t *process)
{
    return process->held.nelts > POOL_SPARED_HELD
           && ngx_current_msec - process->idled < POOL_SPARED_TIME;
}


/*
 * Whether the binary was replaced since a warm process was started, as an
 * update does.  A process with a conversation keeps to what it began with.
 */

static ngx_uint_t
pool_outdated(ngx_claude_process_t *process)
{
    ngx_file_info_t  fi;

    if (ngx_file_info(process->profile->binary, &fi) == NGX_FILE_ERROR) {
        return 0;
    }

    if (process->mtime == 0) {
        process->inode = ngx_file_uniq(&fi);
        process->mtime = ngx_file_mtime(&fi);
        return 0;
    }

    return process->inode != ngx_file_uniq(&fi)
           || process->mtime != ngx_file_mtime(&fi);
}


static void
pool_remove(ngx_claude_process_t *process)
{
    process->pooled = 0;
    ngx_queue_remove(&process->idle);

    ngx_claude_process_idle(process, 0);

    if (process->timer.timer_set) {
        ngx_del_timer(&process->timer);
    }

    process->timer.cancelable = 0;
}


static void
pool_warm_handler(ngx_event_t *ev)
{
    ngx_int_t                      row;
    ngx_uint_t                     i;
    ngx_claude_profile_t         **profile;
    ngx_claude_record_ask_t        ask;

    if (pool == NULL || ngx_exiting || pool_starting) {
        return;
    }

    profile = pool->profiles->elts;

    for (i = 0; i < pool->profiles->nelts; i++) {

        if (pool_warm_count(profile[i]) >= pool->warm) {
            continue;
        }

        if (ngx_claude_zone_process_spare(pool->zone, &row) != NGX_OK) {

            /* engine_woken() when there may be one */

            return;
        }

        pool_starting = ngx_claude_driver_spawn(profile[i],
                         ngx_claude_record_ask_warm(profile[i],
                                   pool->session_ttl / 1000, &ask),
                                                pool->max_line, row,
                                                ngx_cycle->log);

        if (pool_starting) {
            (void) pool_outdated(pool_starting);

        } else {
            pool_backoff = POOL_WARM_BACKOFF;
            ngx_claude_pool_warm();
        }

        return;
    }
}


static ngx_uint_t
pool_warm_count(ngx_claude_profile_t *profile)
{
    ngx_uint_t             n;
    ngx_queue_t           *q;
    ngx_claude_process_t  *process;

    n = 0;

    for (q = ngx_queue_head(&pool_idle);
         q != ngx_queue_sentinel(&pool_idle);
         q = ngx_queue_next(q))
    {
        process = ngx_queue_data(q, ngx_claude_process_t, idle);

        n += (process->profile == profile && !process->used);
    }

    return n;
}
