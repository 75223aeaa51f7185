
/*
 * The shared zone.  See the header for what it holds and what it must never
 * do: link rows, wait, or make a system call while the lock is held.
 */


#include "ngx_http_claude_zone.h"


#define ZONE_MODELS_AGE  3600                  /* seconds */


typedef struct {
    u_char                           profile[20];
    time_t                           since;      /* 0: there are none */
    size_t                           len;
    u_char                           names[NGX_HTTP_CLAUDE_ZONE_MODELS];
} zone_models_t;


struct ngx_http_claude_zone_shared_s {
    ngx_uint_t                       dirty;      /* a holder has begun */

    ngx_uint_t                       running;    /* granted ones as well */
    ngx_uint_t                       waiting;
    ngx_uint_t                       needing;    /* a row for a process */
    ngx_uint_t                       wanting;    /* workers: one to spare */
    ngx_uint_t                       processes;  /* rows that are not free */
    uint64_t                         order;      /* of the next arrival */

    ngx_uint_t                       nworkers;
    ngx_uint_t                       nturns;
    ngx_uint_t                       nprocesses;

    ngx_uint_t                       turns_high; /* no row in use from here */
    ngx_uint_t                       processes_high;

    ngx_http_claude_zone_worker_t   *workers;
    ngx_http_claude_zone_turn_t     *turns;
    ngx_http_claude_zone_process_t  *process;

    ngx_http_claude_counters_t       counters;

    zone_models_t                    models[NGX_HTTP_CLAUDE_ZONE_PROFILES];
};


/* shares of the zone: 1/16 workers, 1/4 turns, 1/4 processes, 1/16 accounts;
 * the rest is the slab allocator's, for what later grows there */

#define zone_share(size, part, type)  ((size) / (part) / sizeof(type))


static void zone_lock(ngx_http_claude_zone_t *zone);
static void zone_unlock(ngx_http_claude_zone_t *zone);
static void zone_repair(ngx_http_claude_zone_shared_t *sh);
static ngx_int_t zone_turn_row(ngx_http_claude_zone_shared_t *sh);
static ngx_int_t zone_process_row(ngx_http_claude_zone_shared_t *sh);
static void zone_turn_free(ngx_http_claude_zone_t *zone, ngx_uint_t i,
    ngx_http_claude_zone_wake_t *wake);
static void zone_turn_unneed(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_turn_t *turn, ngx_http_claude_zone_wake_t *wake);
static void zone_process_clear(ngx_http_claude_zone_t *zone, ngx_uint_t i,
    ngx_http_claude_zone_wake_t *wake);
static void zone_process_state(ngx_http_claude_zone_process_t *process,
    ngx_http_claude_process_state_e state);
static ngx_int_t zone_process_reserve(ngx_http_claude_zone_t *zone,
    ngx_pid_t owner);
static ngx_uint_t zone_leaving(ngx_http_claude_zone_shared_t *sh);
static void zone_evict(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);
static void zone_give(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);
static void zone_want(ngx_http_claude_zone_shared_t *sh);
static ngx_http_claude_zone_turn_t *zone_turn_next(
    ngx_http_claude_zone_shared_t *sh);
static ngx_uint_t zone_turn_may(ngx_http_claude_zone_shared_t *sh,
    ngx_http_claude_zone_turn_t *turn);
static ngx_http_claude_zone_turn_t *zone_turn_holder(
    ngx_http_claude_zone_shared_t *sh,
    ngx_http_claude_zone_turn_t *turn);
static ngx_uint_t zone_process_like(ngx_http_claude_zone_process_t *process,
    ngx_http_claude_zone_idle_t *what);
static void zone_grant(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);
static void zone_wake_add(ngx_http_claude_zone_shared_t *sh, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake);
static void zone_worker_free(ngx_http_claude_zone_t *zone, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake);
static zone_models_t *zone_models(ngx_http_claude_zone_shared_t *sh,
    u_char *profile);
static ngx_http_claude_account_t *zone_account(
    ngx_http_claude_counters_t *counters, uint32_t hash, ngx_str_t *key,
    ngx_str_t *model, ngx_uint_t make);


ngx_uint_t
ngx_http_claude_zone_turn_rows(size_t size)
{
    return zone_share(size, 4, ngx_http_claude_zone_turn_t);
}


ngx_uint_t
ngx_http_claude_zone_process_rows(size_t size)
{
    return zone_share(size, 4, ngx_http_claude_zone_process_t);
}


ngx_int_t
ngx_http_claude_zone_init(ngx_http_claude_zone_t *zone,
    ngx_shm_zone_t *shm_zone, ngx_http_claude_zone_t *old)
{
    size_t                          size;
    ngx_slab_pool_t                *shpool;
    ngx_http_claude_counters_t     *counters;
    ngx_http_claude_zone_shared_t  *sh;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    size = shm_zone->shm.size;

    zone->shpool = shpool;

    if (old) {
        /* a reload with the same size: the rows live on */
        zone->sh = old->sh;
        zone->counters = &zone->sh->counters;
        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        zone->sh = shpool->data;
        zone->counters = &zone->sh->counters;
        return NGX_OK;
    }

    shpool->log_nomem = 0;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_http_claude_zone_shared_t));
    if (sh == NULL) {
        goto small;
    }

    sh->nworkers = zone_share(size, 16, ngx_http_claude_zone_worker_t);
    sh->nturns = ngx_http_claude_zone_turn_rows(size);
    sh->nprocesses = ngx_http_claude_zone_process_rows(size);

    sh->workers = ngx_slab_calloc(shpool, sh->nworkers
                                  * sizeof(ngx_http_claude_zone_worker_t));
    sh->turns = ngx_slab_calloc(shpool, sh->nturns
                                * sizeof(ngx_http_claude_zone_turn_t));
    sh->process = ngx_slab_calloc(shpool, sh->nprocesses
                                  * sizeof(ngx_http_claude_zone_process_t));

    counters = &sh->counters;
    counters->since = ngx_time();
    counters->naccounts = zone_share(size, 16, ngx_http_claude_account_t);
    counters->accounts = ngx_slab_calloc(shpool, counters->naccounts
                                         * sizeof(ngx_http_claude_account_t));

    if (sh->workers == NULL || sh->turns == NULL || sh->process == NULL
        || counters->accounts == NULL)
    {
        goto small;
    }

    shpool->data = sh;
    zone->sh = sh;
    zone->counters = &sh->counters;

    return NGX_OK;

small:

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "claude_zone \"%V\" is too small", &shm_zone->shm.name);
    return NGX_ERROR;
}


ngx_int_t
ngx_http_claude_zone_enter(ngx_http_claude_zone_t *zone, u_char *address,
    size_t len, ngx_log_t *log)
{
    uint64_t                        start;
    ngx_uint_t                      i;
    ngx_http_claude_zone_worker_t  *worker;
    ngx_http_claude_zone_shared_t  *sh;

    start = ngx_http_claude_zone_start_time(ngx_pid);
    sh = zone->sh;

    zone_lock(zone);

    for (i = 0; i < sh->nworkers; i++) {
        worker = &sh->workers[i];

        if (worker->pid == 0 || worker->pid == ngx_pid) {
            worker->start = start;
            worker->address_len = len;
            worker->wants = 0;
            ngx_memcpy(worker->address, address, len);
            worker->pid = ngx_pid;

            zone_unlock(zone);
            return NGX_OK;
        }
    }

    zone_unlock(zone);

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "claude_zone \"%V\" has no room for one more worker: "
                  "make it larger", &zone->shm_zone->shm.name);

    return NGX_ERROR;
}


void
ngx_http_claude_zone_sweep(ngx_http_claude_zone_t *zone, ngx_uint_t self,
    ngx_http_claude_zone_wake_t *wake)
{
    uint64_t                        start;
    ngx_pid_t                       pid;
    ngx_uint_t                      i;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    for (i = 0; i < sh->nworkers; i++) {

        /* an unlocked look: a row that changes is somebody else's work */

        pid = sh->workers[i].pid;
        start = sh->workers[i].start;

        if (pid == 0) {
            continue;
        }

        if (pid == ngx_pid
            ? !self
            : ngx_http_claude_zone_start_time(pid) == start)
        {
            continue;
        }

        zone_lock(zone);

        if (sh->workers[i].pid == pid && sh->workers[i].start == start) {
            zone_worker_free(zone, pid, wake);
        }

        zone_unlock(zone);
    }
}


ngx_int_t
ngx_http_claude_zone_turn_enter(ngx_http_claude_zone_t *zone,
    ngx_http_claude_turn_session_t *session, ngx_int_t *row)
{
    ngx_int_t                       rc, i;
    ngx_http_claude_zone_turn_t    *turn;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;
    rc = NGX_ERROR;
    *row = -1;

    zone_lock(zone);

    i = zone_turn_row(sh);

    if (i != -1) {
        turn = &sh->turns[i];
        turn->owner = ngx_pid;
        turn->process = -1;
        turn->needs = 0;
        turn->order = sh->order++;
        turn->named = session->named;
        turn->news = session->news;
        turn->held = 0;
        turn->answered = 0;

        if (turn->named) {
            ngx_memcpy(turn->session, session->hash, sizeof(turn->session));
        }

        if (sh->running < zone->max_running
            && (zone_turn_may(sh, turn)
                || (!turn->news && sh->waiting >= zone->max_waiting))
            && (sh->waiting == 0 || zone_turn_next(sh) == NULL))
        {
            turn->state = NGX_HTTP_CLAUDE_TURN_RUNNING;
            turn->held = (zone_turn_holder(sh, turn) == NULL);
            session->held = turn->held;
            sh->running++;
            *row = i;
            rc = NGX_OK;

        } else if (sh->waiting < zone->max_waiting) {
            turn->state = NGX_HTTP_CLAUDE_TURN_WAITING;
            sh->waiting++;
            *row = i;
            rc = NGX_AGAIN;

        } else {
            rc = NGX_BUSY;
        }
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_http_claude_zone_turn_answered(ngx_http_claude_zone_t *zone, ngx_int_t row)
{
    zone_lock(zone);

    zone->sh->turns[row].answered = 1;

    zone_unlock(zone);
}


ngx_int_t
ngx_http_claude_zone_turn_granted(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_turn_session_t *session)
{
    ngx_int_t                     rc;
    ngx_http_claude_zone_turn_t  *turn;

    turn = &zone->sh->turns[row];
    rc = NGX_AGAIN;

    zone_lock(zone);

    if (turn->state == NGX_HTTP_CLAUDE_TURN_GRANTED) {
        turn->state = NGX_HTTP_CLAUDE_TURN_RUNNING;
        session->held = turn->held;
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_http_claude_zone_turn_leave(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_turn_free(zone, row, wake);
    zone_grant(zone, wake);

    zone_unlock(zone);
}


void
ngx_http_claude_zone_grant(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_grant(zone, wake);
    zone_give(zone, wake);

    zone_unlock(zone);
}


ngx_uint_t
ngx_http_claude_zone_models_known(ngx_http_claude_zone_t *zone,
    u_char *profile)
{
    ngx_uint_t      known;
    zone_models_t  *models;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);
    known = models && ngx_time() - models->since < ZONE_MODELS_AGE;

    zone_unlock(zone);

    return known;
}


void
ngx_http_claude_zone_models_set(ngx_http_claude_zone_t *zone, u_char *profile,
    ngx_str_t *names)
{
    ngx_uint_t      i;
    zone_models_t  *models, *all;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);

    if (models == NULL) {
        all = zone->sh->models;
        models = all;

        for (i = 1; i < NGX_HTTP_CLAUDE_ZONE_PROFILES; i++) {
            if (all[i].since < models->since) {
                models = &all[i];
            }
        }

        ngx_memcpy(models->profile, profile, sizeof(models->profile));
    }

    models->since = ngx_time();
    models->len = ngx_min(names->len, sizeof(models->names));

    if (models->len) {
        ngx_memcpy(models->names, names->data, models->len);
    }

    zone_unlock(zone);
}


size_t
ngx_http_claude_zone_models(ngx_http_claude_zone_t *zone, u_char *profile,
    u_char buf[NGX_HTTP_CLAUDE_ZONE_MODELS])
{
    size_t          len;
    zone_models_t  *models;

    len = 0;

    zone_lock(zone);

    models = zone_models(zone->sh, profile);

    if (models) {
        len = ngx_min(models->len, sizeof(models->names));
        ngx_memcpy(buf, models->names, len);
    }

    zone_unlock(zone);

    return len;
}


static zone_models_t *
zone_models(ngx_http_claude_zone_shared_t *sh, u_char *profile)
{
    ngx_uint_t      i;
    zone_models_t  *models;

    models = sh->models;

    for (i = 0; i < NGX_HTTP_CLAUDE_ZONE_PROFILES; i++) {
        if (models[i].since
            && ngx_memcmp(models[i].profile, profile,
                          sizeof(models[i].profile))
               == 0)
        {
            return &models[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_claude_zone_waiting(ngx_http_claude_zone_t *zone)
{
    return zone->sh->waiting;
}


ngx_int_t
ngx_http_claude_zone_process_take(ngx_http_claude_zone_t *zone,
    ngx_int_t turn, ngx_int_t *process, ngx_http_claude_zone_wake_t *wake)
{
    ngx_int_t  rc;

    zone_lock(zone);

    if (zone->sh->needing == 0) {
        *process = zone_process_reserve(zone, ngx_pid);

    } else {
        *process = -1;
    }

    if (*process != -1) {
        rc = NGX_OK;

    } else {
        zone->sh->turns[turn].needs = 1;
        zone->sh->needing++;
        zone_evict(zone, wake);
        rc = NGX_AGAIN;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_http_claude_zone_process_taken(ngx_http_claude_zone_t *zone,
    ngx_int_t turn, ngx_int_t *process)
{
    zone_lock(zone);

    *process = zone->sh->turns[turn].process;
    zone->sh->turns[turn].process = -1;

    zone_unlock(zone);

    return (*process == -1) ? NGX_AGAIN : NGX_OK;
}


void
ngx_http_claude_zone_process_untake(ngx_http_claude_zone_t *zone,
    ngx_int_t turn, ngx_http_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_turn_unneed(zone, &zone->sh->turns[turn], wake);

    zone_unlock(zone);
}


ngx_int_t
ngx_http_claude_zone_process_spare(ngx_http_claude_zone_t *zone,
    ngx_int_t *process)
{
    zone_lock(zone);

    *process = zone->sh->needing ? -1 : zone_process_reserve(zone, ngx_pid);

    if (*process == -1) {
        zone_want(zone->sh);
    }

    zone_unlock(zone);

    return (*process == -1) ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_http_claude_zone_process_claim(ngx_http_claude_zone_t *zone,
    ngx_int_t row)
{
    ngx_int_t                        rc;
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (process->state == NGX_HTTP_CLAUDE_PROCESS_IDLE) {
        zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_BUSY);
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_http_claude_zone_process_idle(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_zone_idle_t *what)
{
    ngx_int_t                        rc;
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];

    zone_lock(zone);

    if (zone->sh->needing > zone_leaving(zone->sh)) {
        zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_EVICTED);
        zone->sh->counters.evicted++;
        rc = NGX_DECLINED;

    } else {
        ngx_memcpy(process->tip, what->tip, sizeof(process->tip));
        ngx_memcpy(process->kin, what->kin, sizeof(process->kin));
        ngx_memcpy(process->first, what->first, sizeof(process->first));
        ngx_memcpy(process->session, what->session, sizeof(process->session));
        process->held = what->held;
        zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_IDLE);
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_uint_t
ngx_http_claude_zone_process_is_idle(ngx_http_claude_zone_t *zone,
    ngx_int_t row)
{
    return zone->sh->process[row].state == NGX_HTTP_CLAUDE_PROCESS_IDLE;
}


ngx_int_t
ngx_http_claude_zone_process_ask(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_idle_t *what, ngx_int_t *row,
    ngx_http_claude_zone_worker_t *worker)
{
    ngx_int_t                        rc;
    ngx_uint_t                       i;
    ngx_http_claude_zone_shared_t   *sh;
    ngx_http_claude_zone_process_t  *process, *found;

    sh = zone->sh;
    rc = NGX_DECLINED;
    found = NULL;

    zone_lock(zone);

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state == NGX_HTTP_CLAUDE_PROCESS_IDLE
            && process->owner != ngx_pid
            && zone_process_like(process, what)
            && (found == NULL
                || (ngx_msec_int_t) (process->changed - found->changed) > 0))
        {
            found = process;
        }
    }

    for (i = 0; found && i < sh->nworkers; i++) {

        if (sh->workers[i].pid == found->owner) {
            *worker = sh->workers[i];
            *row = found - sh->process;

            found->taker = ngx_pid;
            zone_process_state(found, NGX_HTTP_CLAUDE_PROCESS_ASKED_FOR);
            rc = NGX_OK;
            break;
        }
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_http_claude_zone_session_evict(ngx_http_claude_zone_t *zone,
    u_char *session, ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t                       i;
    ngx_http_claude_zone_shared_t   *sh;
    ngx_http_claude_zone_process_t  *process;

    sh = zone->sh;

    zone_lock(zone);

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state == NGX_HTTP_CLAUDE_PROCESS_IDLE
            && wake->n < NGX_HTTP_CLAUDE_ZONE_WAKE
            && ngx_memcmp(process->session, session,
                          sizeof(process->session))
               == 0)
        {
            zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_EVICTED);
            zone_wake_add(sh, process->owner, wake);
        }
    }

    zone_unlock(zone);
}


ngx_int_t
ngx_http_claude_zone_process_unask(ngx_http_claude_zone_t *zone,
    ngx_int_t row, ngx_http_claude_zone_wake_t *wake)
{
    ngx_int_t                        rc;
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_OK;

    zone_lock(zone);

    if (process->owner == ngx_pid) {
        rc = NGX_DECLINED;

    } else if (process->state == NGX_HTTP_CLAUDE_PROCESS_ASKED_FOR
               && process->taker == ngx_pid)
    {
        zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_IDLE);

        /* meanwhile somebody may have looked for one to give way */

        zone_evict(zone, wake);
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_http_claude_zone_process_give(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t taker)
{
    ngx_int_t                        rc;
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (process->state == NGX_HTTP_CLAUDE_PROCESS_ASKED_FOR
        && process->owner == ngx_pid && process->taker == taker)
    {
        process->owner = taker;
        zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_BUSY);
        zone->sh->counters.handed++;
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_http_claude_zone_process_keep(ngx_http_claude_zone_t *zone, ngx_int_t row)
{
    zone_lock(zone);

    zone->sh->process[row].owner = ngx_pid;

    zone_unlock(zone);
}


ngx_uint_t
ngx_http_claude_zone_process_evicted(ngx_http_claude_zone_t *zone,
    ngx_int_t row)
{
    return zone->sh->process[row].state == NGX_HTTP_CLAUDE_PROCESS_EVICTED;
}


void
ngx_http_claude_zone_process_set(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_process_state_e state, ngx_pid_t pid, uint64_t start)
{
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];

    zone_lock(zone);

    if (pid) {
        process->pid = pid;
        process->start = start;
    }

    zone_process_state(process, state);

    zone_unlock(zone);
}


void
ngx_http_claude_zone_process_turn(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_rung_e rung)
{
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];

    zone_lock(zone);

    process->turns++;
    process->rung = rung;

    zone_unlock(zone);
}


void
ngx_http_claude_zone_process_free(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_process_clear(zone, row, wake);

    zone_unlock(zone);
}


ngx_http_claude_account_t *
ngx_http_claude_zone_account(ngx_http_claude_zone_t *zone, ngx_str_t *key,
    ngx_str_t *model)
{
    uint32_t                    hash;
    ngx_str_t                   k, m;
    ngx_http_claude_account_t  *account;

    /* without API keys there is no name, and no address of one */

    k.data = key->len ? key->data : (u_char *) "";
    k.len = ngx_min(key->len, NGX_HTTP_CLAUDE_KEY_NAME);
    m.data = model->data;
    m.len = ngx_min(model->len, NGX_HTTP_CLAUDE_MODEL_NAME);

    ngx_crc32_init(hash);
    ngx_crc32_update(&hash, k.data, k.len);
    ngx_crc32_update(&hash, (u_char *) "", 1);
    ngx_crc32_update(&hash, m.data, m.len);
    ngx_crc32_final(hash);

    /* rows never change or go, so what is there is found without the lock */

    account = zone_account(zone->counters, hash, &k, &m, 0);

    if (account == NULL) {
        zone_lock(zone);

        account = zone_account(zone->counters, hash, &k, &m, 1);

        zone_unlock(zone);
    }

    return account ? account : &zone->counters->other;
}


void
ngx_http_claude_zone_sums(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_sums_t *sums)
{
    ngx_uint_t                      i;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    ngx_memzero(sums, sizeof(ngx_http_claude_zone_sums_t));

    zone_lock(zone);

    sums->running = sh->running;
    sums->waiting = sh->waiting;

    for (i = 0; i < sh->processes_high; i++) {
        sums->processes[sh->process[i].state]++;
    }

    zone_unlock(zone);

    sums->processes[NGX_HTTP_CLAUDE_PROCESS_FREE] = 0;
}


ngx_uint_t
ngx_http_claude_zone_processes(ngx_http_claude_zone_t *zone, ngx_uint_t *at,
    ngx_http_claude_zone_process_t *rows, ngx_uint_t n)
{
    ngx_uint_t                      found;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;
    found = 0;

    zone_lock(zone);

    while (found < n && *at < sh->processes_high) {

        if (sh->process[*at].state != NGX_HTTP_CLAUDE_PROCESS_FREE) {
            rows[found++] = sh->process[*at];
        }

        (*at)++;
    }

    zone_unlock(zone);

    return found;
}


uint64_t
ngx_http_claude_zone_start_time(ngx_pid_t pid)
{
    u_char      path[sizeof("/proc//stat") + NGX_INT64_LEN], buf[1024];
    u_char     *p, *last;
    ssize_t     n;
    ngx_fd_t    fd;
    uint64_t    start;
    ngx_uint_t  field;

    *ngx_sprintf(path, "/proc/%P/stat", pid) = '\0';

    fd = ngx_open_file(path, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return 0;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    (void) ngx_close_file(fd);

    if (n <= 0) {
        return 0;
    }

    /* proc(5): field 2 is the name in parentheses and may hold anything */

    last = buf + n;

    for (p = last; p > buf && p[-1] != ')'; p--) { /* void */ }

    for (field = 2; p < last && field < 22; p++) {
        if (*p == ' ') {
            field++;
        }
    }

    for (start = 0; p < last && *p >= '0' && *p <= '9'; p++) {
        start = start * 10 + (*p - '0');
    }

    return start;
}


static void
zone_lock(ngx_http_claude_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if (zone->sh->dirty) {
        zone_repair(zone->sh);
    }

    zone->sh->dirty = 1;
    ngx_memory_barrier();
}


static void
zone_unlock(ngx_http_claude_zone_t *zone)
{
    ngx_memory_barrier();
    zone->sh->dirty = 0;

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* the last holder was killed in the midst: the rows are the truth */

static void
zone_repair(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    sh->running = 0;
    sh->waiting = 0;
    sh->needing = 0;
    sh->wanting = 0;
    sh->processes = 0;
    sh->turns_high = 0;
    sh->processes_high = 0;

    for (i = 0; i < sh->nturns; i++) {
        switch (sh->turns[i].state) {

        case NGX_HTTP_CLAUDE_TURN_FREE:
            continue;

        case NGX_HTTP_CLAUDE_TURN_WAITING:
            sh->waiting++;
            break;

        default:
            sh->running++;
        }

        sh->needing += (sh->turns[i].needs != 0);
        sh->turns_high = i + 1;
    }

    for (i = 0; i < sh->nworkers; i++) {
        sh->wanting += (sh->workers[i].pid && sh->workers[i].wants);
    }

    for (i = 0; i < sh->nprocesses; i++) {
        if (sh->process[i].state != NGX_HTTP_CLAUDE_PROCESS_FREE) {
            sh->processes++;
            sh->processes_high = i + 1;
        }
    }
}


static ngx_int_t
zone_turn_row(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < sh->turns_high; i++) {
        if (sh->turns[i].state == NGX_HTTP_CLAUDE_TURN_FREE) {
            return i;
        }
    }

    if (i == sh->nturns) {
        return -1;
    }

    sh->turns_high = i + 1;

    return i;
}


static ngx_int_t
zone_process_row(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < sh->processes_high; i++) {
        if (sh->process[i].state == NGX_HTTP_CLAUDE_PROCESS_FREE) {
            return i;
        }
    }

    if (i == sh->nprocesses) {
        return -1;
    }

    sh->processes_high = i + 1;

    return i;
}


static void
zone_turn_free(ngx_http_claude_zone_t *zone, ngx_uint_t i,
    ngx_http_claude_zone_wake_t *wake)
{
    ngx_http_claude_zone_turn_t    *turn;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;
    turn = &sh->turns[i];

    if (turn->state == NGX_HTTP_CLAUDE_TURN_FREE) {
        return;
    }

    if (turn->state == NGX_HTTP_CLAUDE_TURN_WAITING) {
        sh->waiting--;

    } else {
        sh->running--;
    }

    turn->state = NGX_HTTP_CLAUDE_TURN_FREE;
    zone_turn_unneed(zone, turn, wake);

    while (sh->turns_high
           && sh->turns[sh->turns_high - 1].state
              == NGX_HTTP_CLAUDE_TURN_FREE)
    {
        sh->turns_high--;
    }
}


/* a turn lets go of the row that it waited for, or was given */

static void
zone_turn_unneed(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_turn_t *turn, ngx_http_claude_zone_wake_t *wake)
{
    ngx_int_t  row;

    if (turn->needs) {
        turn->needs = 0;
        zone->sh->needing--;
    }

    row = turn->process;
    turn->process = -1;

    if (row != -1) {
        zone_process_clear(zone, row, wake);
    }
}


/* frees the row of a process, and gives the place to who waits for one */

static void
zone_process_clear(ngx_http_claude_zone_t *zone, ngx_uint_t i,
    ngx_http_claude_zone_wake_t *wake)
{
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    if (sh->process[i].state == NGX_HTTP_CLAUDE_PROCESS_FREE) {
        return;
    }

    sh->process[i].state = NGX_HTTP_CLAUDE_PROCESS_FREE;
    sh->processes--;

    while (sh->processes_high
           && sh->process[sh->processes_high - 1].state
              == NGX_HTTP_CLAUDE_PROCESS_FREE)
    {
        sh->processes_high--;
    }

    zone_give(zone, wake);
}


static void
zone_process_state(ngx_http_claude_zone_process_t *process,
    ngx_http_claude_process_state_e state)
{
    process->changed = ngx_current_msec;
    process->state = state;
}


/* -1: the limit is reached, or the table is full */

static ngx_int_t
zone_process_reserve(ngx_http_claude_zone_t *zone, ngx_pid_t owner)
{
    ngx_int_t                        i;
    ngx_http_claude_zone_process_t  *process;

    if (zone->sh->processes >= zone->max_processes) {
        return -1;
    }

    i = zone_process_row(zone->sh);

    if (i == -1) {
        return -1;
    }

    process = &zone->sh->process[i];

    ngx_memzero(process, sizeof(ngx_http_claude_zone_process_t));
    process->owner = owner;
    process->created = ngx_current_msec;
    zone_process_state(process, NGX_HTTP_CLAUDE_PROCESS_RESERVED);

    zone->sh->processes++;

    return i;
}


/* processes that are about to leave their rows */

static ngx_uint_t
zone_leaving(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < sh->processes_high; i++) {
        n += (sh->process[i].state == NGX_HTTP_CLAUDE_PROCESS_EVICTED
              || sh->process[i].state == NGX_HTTP_CLAUDE_PROCESS_ENDING);
    }

    return n;
}


/* makes the longest idle process give way, if not enough do already */

static void
zone_evict(ngx_http_claude_zone_t *zone, ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t                       i;
    ngx_http_claude_zone_shared_t   *sh;
    ngx_http_claude_zone_process_t  *process, *victim;

    sh = zone->sh;
    victim = NULL;

    if (sh->needing <= zone_leaving(sh)) {
        return;
    }

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state == NGX_HTTP_CLAUDE_PROCESS_IDLE
            && (victim == NULL
                || (ngx_msec_int_t) (process->changed - victim->changed) < 0))
        {
            victim = process;
        }
    }

    if (victim) {
        zone_process_state(victim, NGX_HTTP_CLAUDE_PROCESS_EVICTED);
        sh->counters.evicted++;
        zone_wake_add(sh, victim->owner, wake);
    }
}


/* reserves rows for the turns that wait for one, in order of arrival */

static void
zone_give(ngx_http_claude_zone_t *zone, ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t                      i;
    ngx_http_claude_zone_turn_t    *turn, *first;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    while (sh->needing && wake->n < NGX_HTTP_CLAUDE_ZONE_WAKE) {

        first = NULL;

        for (i = 0; i < sh->turns_high; i++) {
            turn = &sh->turns[i];

            if (turn->state == NGX_HTTP_CLAUDE_TURN_RUNNING && turn->needs
                && (first == NULL || turn->order < first->order))
            {
                first = turn;
            }
        }

        if (first == NULL) {
            break;
        }

        first->process = zone_process_reserve(zone, first->owner);

        if (first->process == -1) {
            return;
        }

        first->needs = 0;
        sh->needing--;
        zone_wake_add(sh, first->owner, wake);
    }

    /* what nobody needs may go to those who would have one to spare */

    for (i = 0; sh->wanting && i < sh->nworkers; i++) {

        if (sh->workers[i].pid && sh->workers[i].wants
            && wake->n < NGX_HTTP_CLAUDE_ZONE_WAKE)
        {
            sh->workers[i].wants = 0;
            sh->wanting--;
            zone_wake_add(sh, sh->workers[i].pid, wake);
        }
    }
}


/* this worker is to be woken when a row is free and nobody needs it */

static void
zone_want(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < sh->nworkers; i++) {

        if (sh->workers[i].pid == ngx_pid) {
            sh->wanting += !sh->workers[i].wants;
            sh->workers[i].wants = 1;
            return;
        }
    }
}


/* the first in order of those that wait and may run; NULL: none */

static ngx_http_claude_zone_turn_t *
zone_turn_next(ngx_http_claude_zone_shared_t *sh)
{
    ngx_uint_t                    i;
    ngx_http_claude_zone_turn_t  *turn, *first;

    first = NULL;

    for (i = 0; i < sh->turns_high; i++) {
        turn = &sh->turns[i];

        if (turn->state == NGX_HTTP_CLAUDE_TURN_WAITING
            && (first == NULL || turn->order < first->order)
            && zone_turn_may(sh, turn))
        {
            first = turn;
        }
    }

    return first;
}


/* as far as its session is concerned */

static ngx_uint_t
zone_turn_may(ngx_http_claude_zone_shared_t *sh,
    ngx_http_claude_zone_turn_t *turn)
{
    ngx_http_claude_zone_turn_t  *holder;

    holder = zone_turn_holder(sh, turn);

    return holder == NULL || (!turn->news && !holder->answered);
}


/* the other turn that goes on with the session, or NULL */

static ngx_http_claude_zone_turn_t *
zone_turn_holder(ngx_http_claude_zone_shared_t *sh,
    ngx_http_claude_zone_turn_t *turn)
{
    ngx_uint_t                    i;
    ngx_http_claude_zone_turn_t  *other;

    for (i = 0; turn->named && i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (other != turn
            && other->state >= NGX_HTTP_CLAUDE_TURN_GRANTED && other->held
            && other->named
            && ngx_memcmp(other->session, turn->session,
                          sizeof(turn->session))
               == 0)
        {
            return other;
        }
    }

    return NULL;
}


static ngx_uint_t
zone_process_like(ngx_http_claude_zone_process_t *process,
    ngx_http_claude_zone_idle_t *what)
{
    return (what->kin == NULL
            || ngx_memcmp(process->kin, what->kin, sizeof(process->kin)) == 0)
           && (what->tip == NULL
               || ngx_memcmp(process->tip, what->tip, sizeof(process->tip))
                  == 0)
           && (what->first == NULL
               || ngx_memcmp(process->first, what->first,
                             sizeof(process->first))
                  == 0)
           && (what->session == NULL
               || ngx_memcmp(process->session, what->session,
                             sizeof(process->session))
                  == 0);
}


/* lets waiting turns run, in order of arrival, as far as the limit allows */

static void
zone_grant(ngx_http_claude_zone_t *zone, ngx_http_claude_zone_wake_t *wake)
{
    ngx_http_claude_zone_turn_t    *first;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    while (sh->waiting && sh->running < zone->max_running
           && wake->n < NGX_HTTP_CLAUDE_ZONE_WAKE)
    {
        first = zone_turn_next(sh);

        if (first == NULL) {
            return;
        }

        first->state = NGX_HTTP_CLAUDE_TURN_GRANTED;
        first->held = (zone_turn_holder(sh, first) == NULL);
        sh->waiting--;
        sh->running++;
        zone_wake_add(sh, first->owner, wake);
    }
}


static void
zone_wake_add(ngx_http_claude_zone_shared_t *sh, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t  i;

    for (i = 0; i < wake->n; i++) {
        if (wake->worker[i].pid == pid) {
            return;
        }
    }

    for (i = 0; i < sh->nworkers; i++) {
        if (sh->workers[i].pid == pid) {
            wake->worker[wake->n++] = sh->workers[i];
            return;
        }
    }
}


static void
zone_worker_free(ngx_http_claude_zone_t *zone, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t                      i;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    /* going down, since the marks of the highest rows come along */

    for (i = sh->turns_high; i-- > 0; /* void */) {
        if (i < sh->turns_high && sh->turns[i].owner == pid) {
            zone_turn_free(zone, i, wake);
        }
    }

    for (i = 0; i < sh->processes_high; i++) {
        if (sh->process[i].state == NGX_HTTP_CLAUDE_PROCESS_ASKED_FOR
            && sh->process[i].taker == pid)
        {
            sh->process[i].state = NGX_HTTP_CLAUDE_PROCESS_IDLE;
        }
    }

    for (i = sh->processes_high; i-- > 0; /* void */) {
        if (i < sh->processes_high && sh->process[i].owner == pid) {
            zone_process_clear(zone, i, wake);
        }
    }

    for (i = 0; i < sh->nworkers; i++) {
        if (sh->workers[i].pid == pid) {
            sh->wanting -= (sh->workers[i].wants != 0);
            sh->workers[i].wants = 0;
            sh->workers[i].pid = 0;
        }
    }

    zone_grant(zone, wake);
}


/*
 * The row of these names, by open addressing.  make: the lock is held, and a
 * free row may be taken.  NULL: there is none.
 */

static ngx_http_claude_account_t *
zone_account(ngx_http_claude_counters_t *counters, uint32_t hash,
    ngx_str_t *key, ngx_str_t *model, ngx_uint_t make)
{
    ngx_uint_t                  i;
    ngx_http_claude_account_t  *account;

    for (i = 0; i < counters->naccounts; i++) {
        account = &counters->accounts[(hash + i) % counters->naccounts];

        if (account->used) {

            if (account->hash == hash && account->key_len == key->len
                && account->model_len == model->len
                && ngx_memcmp(account->key, key->data, key->len) == 0
                && ngx_memcmp(account->model, model->data, model->len) == 0)
            {
                return account;
            }

            continue;
        }

        if (!make) {
            return NULL;
        }

        account->hash = hash;
        account->key_len = key->len;
        account->model_len = model->len;
        ngx_memcpy(account->key, key->data, key->len);
        ngx_memcpy(account->model, model->data, model->len);

        /* others may look at it from here on */

        ngx_memory_barrier();
        account->used = 1;

        return account;
    }

    return NULL;
}
