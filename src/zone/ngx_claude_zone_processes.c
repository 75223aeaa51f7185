
/*
 * The shared zone: rows of processes.
 *
 * A row is reserved for a turn or ahead of need, follows the state of its
 * process, and may change its worker.  The limit is one for all workers: when
 * it is reached, an idle process gives way, whichever worker's it is: the
 * longest idle one of the key that has most, counted as if the new one were
 * there already.  So a key that makes more and more of them takes its own.
 */


#include "ngx_claude_zone_private.h"


/* one that is ahead of need counts as those of a key with so many */
#define ZONE_UNOWNED  2


static ngx_int_t zone_process_row(ngx_claude_zone_shared_t *sh);
static void zone_process_state(ngx_claude_zone_process_t *process,
    ngx_claude_process_state_e state);
static ngx_int_t zone_process_reserve(ngx_claude_zone_t *zone, ngx_pid_t owner,
    const ngx_claude_hash_t *tenant, ngx_int_t *row);
static void zone_process_own(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process, const ngx_claude_hash_t *tenant);
static void zone_process_disown(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process);
static ngx_uint_t zone_process_given(ngx_claude_zone_process_t *process,
    ngx_pid_t giver, ngx_pid_t taker);
static ngx_uint_t zone_leaving(ngx_claude_zone_shared_t *sh);
static void zone_evict(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *tenant, ngx_claude_zone_wake_t *wake);
static void zone_want(ngx_claude_zone_shared_t *sh);
static ngx_uint_t zone_process_like(ngx_claude_zone_process_t *process,
    ngx_claude_zone_idle_t *what);


ngx_int_t
ngx_claude_zone_process_take(ngx_claude_zone_t *zone,
    ngx_int_t turn, ngx_int_t *process, ngx_claude_zone_wake_t *wake)
{
    ngx_int_t           rc;
    ngx_claude_hash_t  *tenant;

    tenant = &zone->sh->turns[turn].tenant;

    zone_lock(zone);

    if (zone->sh->needing == 0
        && zone_process_reserve(zone, ngx_pid, tenant, process) == NGX_OK)
    {
        rc = NGX_OK;

    } else {
        zone->sh->turns[turn].needs = 1;
        zone->sh->needing++;
        zone_evict(zone, tenant, wake);
        rc = NGX_AGAIN;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_spare(ngx_claude_zone_t *zone,
    ngx_int_t *process)
{
    ngx_int_t  rc;

    zone_lock(zone);

    rc = zone->sh->needing ? NGX_DECLINED
                           : zone_process_reserve(zone, ngx_pid, NULL,
                                                  process);

    if (rc != NGX_OK) {
        zone_want(zone->sh);
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_claim(ngx_claude_zone_t *zone,
    ngx_int_t row)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (process->state == NGX_CLAUDE_PROCESS_IDLE) {
        zone_process_state(process, NGX_CLAUDE_PROCESS_BUSY);
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_idle(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_idle_t *what)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];

    zone_lock(zone);

    if (zone->sh->needing > zone_leaving(zone->sh)) {
        zone_process_state(process, NGX_CLAUDE_PROCESS_EVICTED);
        zone->sh->counters.evicted++;
        rc = NGX_DECLINED;

    } else {
        process->tip = *what->tip;
        process->realm = *what->realm;
        process->first = *what->first;
        process->session = *what->session;
        process->nheld = what->nheld;
        zone_process_state(process, NGX_CLAUDE_PROCESS_IDLE);
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_uint_t
ngx_claude_zone_process_is_idle(ngx_claude_zone_t *zone,
    ngx_int_t row)
{
    return zone->sh->process[row].state == NGX_CLAUDE_PROCESS_IDLE;
}


ngx_int_t
ngx_claude_zone_process_ask(ngx_claude_zone_t *zone,
    ngx_claude_zone_idle_t *what, ngx_int_t *row,
    ngx_claude_zone_worker_t *worker)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_claude_zone_shared_t   *sh;
    ngx_claude_zone_process_t  *process, *found;

    sh = zone->sh;
    rc = NGX_DECLINED;
    found = NULL;

    zone_lock(zone);

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state == NGX_CLAUDE_PROCESS_IDLE
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
            zone_process_state(found, NGX_CLAUDE_PROCESS_ASKED_FOR);
            rc = NGX_OK;
            break;
        }
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_claude_zone_session_evict(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *session, ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                  i;
    ngx_claude_zone_shared_t   *sh;
    ngx_claude_zone_process_t  *process;

    sh = zone->sh;

    zone_lock(zone);

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state == NGX_CLAUDE_PROCESS_IDLE
            && wake->n < NGX_CLAUDE_ZONE_WAKE
            && ngx_claude_hash_same(&process->session, session))
        {
            zone_process_state(process, NGX_CLAUDE_PROCESS_EVICTED);
            zone_wake_add(sh, process->owner, wake);
        }
    }

    zone_unlock(zone);
}


ngx_int_t
ngx_claude_zone_process_unask(ngx_claude_zone_t *zone,
    ngx_int_t row, ngx_claude_zone_wake_t *wake)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_OK;

    zone_lock(zone);

    if (process->owner == ngx_pid && process->giver) {
        rc = NGX_DECLINED;

    } else if (process->state == NGX_CLAUDE_PROCESS_ASKED_FOR
               && process->taker == ngx_pid)
    {
        zone_process_state(process, NGX_CLAUDE_PROCESS_IDLE);

        /* a turn may have found none to evict meanwhile: look again */

        zone_evict(zone, NULL, wake);
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_give(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t taker)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (process->state == NGX_CLAUDE_PROCESS_ASKED_FOR
        && process->owner == ngx_pid && process->taker == taker)
    {
        /* giver first: if this worker dies here, the row is cleared */

        process->giver = ngx_pid;
        ngx_memory_barrier();

        process->owner = taker;
        zone_process_state(process, NGX_CLAUDE_PROCESS_BUSY);
        zone->sh->counters.handed++;
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_keep(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t taker)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (zone_process_given(process, ngx_pid, taker)) {
        process->owner = ngx_pid;
        ngx_memory_barrier();

        process->giver = 0;
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_process_took(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t giver)
{
    ngx_int_t                   rc;
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    rc = NGX_DECLINED;

    zone_lock(zone);

    if (zone_process_given(process, giver, ngx_pid)) {
        process->giver = 0;
        rc = NGX_OK;
    }

    zone_unlock(zone);

    return rc;
}


void
ngx_claude_zone_process_missed(ngx_claude_zone_t *zone,
    ngx_int_t row, ngx_pid_t giver, ngx_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    if (zone_process_given(&zone->sh->process[row], giver, ngx_pid)) {
        zone_process_clear(zone, row, wake);
    }

    zone_unlock(zone);
}


ngx_uint_t
ngx_claude_zone_process_evicted(ngx_claude_zone_t *zone,
    ngx_int_t row)
{
    return zone->sh->process[row].state == NGX_CLAUDE_PROCESS_EVICTED;
}


void
ngx_claude_zone_process_set(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_process_state_e state, ngx_pid_t pid, uint64_t start)
{
    ngx_claude_zone_process_t  *process;

    if (row == -1) {
        return;
    }

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
ngx_claude_zone_process_turn(ngx_claude_zone_t *zone, ngx_int_t row,
    const ngx_claude_hash_t *tenant, ngx_claude_rung_e rung)
{
    ngx_claude_zone_process_t  *process;

    process = &zone->sh->process[row];

    zone_lock(zone);

    process->turns++;
    process->rung = rung;

    /* one that was started for another key, and nothing came of it */

    if (!process->owned || !ngx_claude_hash_same(&process->tenant, tenant)) {
        zone_process_disown(zone->sh, process);
        zone_process_own(zone->sh, process, tenant);
    }

    zone_unlock(zone);
}


void
ngx_claude_zone_process_free(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_wake_t *wake)
{
    if (row == -1) {
        return;
    }

    zone_lock(zone);

    zone_process_clear(zone, row, wake);

    zone_unlock(zone);
}


ngx_uint_t
ngx_claude_zone_processes(ngx_claude_zone_t *zone, ngx_uint_t *at,
    ngx_claude_zone_process_t *rows, ngx_uint_t n)
{
    ngx_uint_t                 found;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    found = 0;

    zone_lock(zone);

    while (found < n && *at < sh->processes_high) {

        if (sh->process[*at].state != NGX_CLAUDE_PROCESS_FREE) {
            rows[found++] = sh->process[*at];
        }

        (*at)++;
    }

    zone_unlock(zone);

    return found;
}


static ngx_int_t
zone_process_row(ngx_claude_zone_shared_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < sh->processes_high; i++) {
        if (sh->process[i].state == NGX_CLAUDE_PROCESS_FREE) {
            return i;
        }
    }

    if (i == sh->nprocesses) {
        return -1;
    }

    sh->processes_high = i + 1;

    return i;
}


/* whether the row is on its way from giver to taker, and no other's by now */

static ngx_uint_t
zone_process_given(ngx_claude_zone_process_t *process, ngx_pid_t giver,
    ngx_pid_t taker)
{
    return process->state == NGX_CLAUDE_PROCESS_BUSY
           && process->giver == giver && process->owner == taker;
}


/* frees the row of a process, and gives the place to who waits for one */

void
zone_process_clear(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake)
{
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    if (sh->process[i].state == NGX_CLAUDE_PROCESS_FREE) {
        return;
    }

    zone_process_disown(sh, &sh->process[i]);

    sh->process[i].state = NGX_CLAUDE_PROCESS_FREE;
    sh->process[i].giver = 0;
    sh->processes--;

    while (sh->processes_high
           && sh->process[sh->processes_high - 1].state
              == NGX_CLAUDE_PROCESS_FREE)
    {
        sh->processes_high--;
    }

    zone_give(zone, wake);
}


static void
zone_process_state(ngx_claude_zone_process_t *process,
    ngx_claude_process_state_e state)
{
    process->changed = ngx_current_msec;
    process->state = state;
}


/*
 * Reserves a row, and writes its number where it is looked for after a crash.
 * NGX_DECLINED: the limit is reached, or the table is full; the number stays.
 */

static ngx_int_t
zone_process_reserve(ngx_claude_zone_t *zone, ngx_pid_t owner,
    const ngx_claude_hash_t *tenant, ngx_int_t *row)
{
    ngx_int_t                   i;
    ngx_claude_zone_process_t  *process;

    if (zone->sh->processes >= zone->max_processes) {
        return NGX_DECLINED;
    }

    i = zone_process_row(zone->sh);

    if (i == -1) {
        return NGX_DECLINED;
    }

    /* the row names its owner, who may not know of it: see zone_repair() */

    *row = i;
    ngx_memory_barrier();

    process = &zone->sh->process[i];

    ngx_memzero(process, sizeof(ngx_claude_zone_process_t));
    process->owner = owner;
    process->created = ngx_current_msec;
    zone_process_state(process, NGX_CLAUDE_PROCESS_RESERVED);

    zone->sh->processes++;

    if (tenant) {
        zone_process_own(zone->sh, process, tenant);
    }

    return NGX_OK;
}


/* all rows of a key know how many they are */

static void
zone_process_own(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process, const ngx_claude_hash_t *tenant)
{
    process->tenant = *tenant;
    process->owned = 1;

    zone_process_count(sh, process);
}


static void
zone_process_disown(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process)
{
    if (process->owned) {
        process->owned = 0;
        zone_process_count(sh, process);
    }
}


/* the number of processes that are about to leave their rows */

static ngx_uint_t
zone_leaving(ngx_claude_zone_shared_t *sh)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < sh->processes_high; i++) {
        n += (sh->process[i].state == NGX_CLAUDE_PROCESS_EVICTED
              || sh->process[i].state == NGX_CLAUDE_PROCESS_ENDING);
    }

    return n;
}


/*
 * Makes an idle process give way, if not enough do already.  tenant: key that
 * is to have one more, or NULL.
 */

static void
zone_evict(ngx_claude_zone_t *zone, const ngx_claude_hash_t *tenant,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                  i, n, most;
    ngx_claude_zone_shared_t   *sh;
    ngx_claude_zone_process_t  *process, *victim;

    sh = zone->sh;
    victim = NULL;
    most = 0;

    if (sh->needing <= zone_leaving(sh)) {
        return;
    }

    for (i = 0; i < sh->processes_high; i++) {
        process = &sh->process[i];

        if (process->state != NGX_CLAUDE_PROCESS_IDLE) {
            continue;
        }

        n = process->owned ? process->peers : ZONE_UNOWNED;

        if (tenant && process->owned
            && ngx_claude_hash_same(&process->tenant, tenant))
        {
            n++;
        }

        if (victim == NULL || n > most
            || (n == most
                && (ngx_msec_int_t) (process->changed - victim->changed) < 0))
        {
            victim = process;
            most = n;
        }
    }

    if (victim) {
        zone_process_state(victim, NGX_CLAUDE_PROCESS_EVICTED);
        sh->counters.evicted++;
        zone_wake_add(sh, victim->owner, wake);
    }
}


/* reserves rows for the turns that wait for one, in order of their shares */

void
zone_give(ngx_claude_zone_t *zone, ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                 i;
    ngx_claude_zone_turn_t    *turn, *first;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    while (sh->needing && wake->n < NGX_CLAUDE_ZONE_WAKE) {

        first = NULL;

        for (i = 0; i < sh->turns_high; i++) {
            turn = &sh->turns[i];

            if (turn->state == NGX_CLAUDE_TURN_RUNNING && turn->needs
                && (first == NULL || turn->share < first->share
                    || (turn->share == first->share
                        && turn->order < first->order)))
            {
                first = turn;
            }
        }

        if (first == NULL) {
            break;
        }

        if (zone_process_reserve(zone, first->owner, &first->tenant,
                                 &first->process)
            != NGX_OK)
        {
            return;
        }

        first->needs = 0;
        sh->needing--;
        zone_wake_add(sh, first->owner, wake);
    }

    /* no turn waits: wake the workers that want a row ahead of need */

    for (i = 0; sh->wanting && i < sh->nworkers; i++) {

        if (sh->workers[i].pid && sh->workers[i].wants
            && wake->n < NGX_CLAUDE_ZONE_WAKE)
        {
            sh->workers[i].wants = 0;
            sh->wanting--;
            zone_wake_add(sh, sh->workers[i].pid, wake);
        }
    }
}


/* has this worker woken when a row is free that no turn needs */

static void
zone_want(ngx_claude_zone_shared_t *sh)
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


static ngx_uint_t
zone_process_like(ngx_claude_zone_process_t *process,
    ngx_claude_zone_idle_t *what)
{
    return (what->realm == NULL
            || ngx_claude_hash_same(&process->realm, what->realm))
           && (what->tip == NULL
               || ngx_claude_hash_same(&process->tip, what->tip))
           && (what->first == NULL
               || ngx_claude_hash_same(&process->first, what->first))
           && (what->session == NULL
               || ngx_claude_hash_same(&process->session, what->session));
}
