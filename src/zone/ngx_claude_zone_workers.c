
/*
 * The shared zone: rows of workers, and what goes with them.
 *
 * A worker is known by its row, from when it has entered until it leaves.  A
 * pid is no proof: another worker, or any program, may have it again.  What
 * tells a worker is its mailbox, whose name is used once; whether that is
 * still open is for the callers to find out.
 */


#include "ngx_claude_zone_private.h"
#include "ngx_claude_proc.h"


static void zone_worker_clear(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake);
static void zone_worker_turns(ngx_claude_zone_t *zone, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake);
static void zone_worker_processes(ngx_claude_zone_t *zone, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake);


ngx_int_t
ngx_claude_zone_enter(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *self, ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                 i;
    ngx_claude_zone_shared_t  *sh;

    self->start = ngx_claude_proc_start(ngx_pid);
    self->wants = 0;
    sh = zone->sh;

    zone_lock(zone);

    for (i = 0; i < sh->nworkers; i++) {
        if (sh->workers[i].pid == ngx_pid) {
            zone_worker_clear(zone, i, wake);
        }
    }

    for (i = 0; i < sh->nworkers; i++) {

        if (sh->workers[i].pid == 0) {

            /* the pid last: a row that is half written is free */

            self->pid = 0;
            sh->workers[i] = *self;

            ngx_memory_barrier();
            sh->workers[i].pid = self->pid = ngx_pid;

            zone_unlock(zone);
            return NGX_OK;
        }
    }

    zone_unlock(zone);

    return NGX_DECLINED;
}


void
ngx_claude_zone_worker_free(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *worker, ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                 i;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    zone_lock(zone);

    for (i = 0; i < sh->nworkers; i++) {

        if (sh->workers[i].pid == worker->pid
            && ngx_memcmp(sh->workers[i].address, worker->address,
                          sizeof(worker->address))
               == 0)
        {
            zone_worker_clear(zone, i, wake);
            break;
        }
    }

    zone_unlock(zone);
}


ngx_int_t
ngx_claude_zone_worker(ngx_claude_zone_t *zone, ngx_uint_t *at,
    ngx_claude_zone_worker_t *worker)
{
    ngx_int_t                  rc;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    rc = NGX_DONE;

    zone_lock(zone);

    while (*at < sh->nworkers && rc == NGX_DONE) {

        if (sh->workers[*at].pid) {
            *worker = sh->workers[*at];
            rc = NGX_OK;
        }

        (*at)++;
    }

    zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_claude_zone_worker_next(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *worker)
{
    ngx_uint_t                 i, n, self;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    worker->pid = 0;

    zone_lock(zone);

    for (self = 0; self < sh->nworkers; self++) {
        if (sh->workers[self].pid == ngx_pid) {
            break;
        }
    }

    n = (self == sh->nworkers) ? 0 : sh->nworkers;

    for (i = 1; i < n; i++) {
        if (sh->workers[(self + i) % n].pid) {
            *worker = sh->workers[(self + i) % n];
            break;
        }
    }

    zone_unlock(zone);

    return worker->pid ? NGX_OK : NGX_DECLINED;
}


/*
 * The row goes last: who is killed in the midst of this leaves the rest to
 * the next one that finds the worker dead.
 */

static void
zone_worker_clear(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake)
{
    ngx_pid_t                  pid;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;
    pid = sh->workers[i].pid;

    if (sh->workers[i].wants) {
        sh->workers[i].wants = 0;
        sh->wanting--;
    }

    zone_worker_turns(zone, pid, wake);
    zone_worker_processes(zone, pid, wake);

    sh->workers[i].pid = 0;

    zone_grant(zone, wake);
}


static void
zone_worker_turns(ngx_claude_zone_t *zone, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                 i;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    /* going down, since the marks of the highest rows come along */

    for (i = sh->turns_high; i-- > 0; /* void */) {
        if (i < sh->turns_high && sh->turns[i].owner == pid) {
            zone_turn_free(zone, i, wake);
        }
    }
}


/*
 * Frees a worker's processes, and those that were on their way from it; those
 * that it has asked for are idle again.
 */

static void
zone_worker_processes(ngx_claude_zone_t *zone, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                  i;
    ngx_claude_zone_shared_t   *sh;
    ngx_claude_zone_process_t  *process;

    sh = zone->sh;

    for (i = sh->processes_high; i-- > 0; /* void */) {

        if (i >= sh->processes_high) {
            continue;
        }

        process = &sh->process[i];

        if (process->owner == pid || process->giver == pid) {
            zone_process_clear(zone, i, wake);

        } else if (process->state == NGX_CLAUDE_PROCESS_ASKED_FOR
                   && process->taker == pid)
        {
            process->state = NGX_CLAUDE_PROCESS_IDLE;
        }
    }
}
