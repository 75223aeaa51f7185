
/*
 * The shared zone.  See the header for what it holds and what it must never
 * do: link rows, wait, or make a system call while the lock is held.
 */


#include "ngx_http_claude_zone.h"


struct ngx_http_claude_zone_shared_s {
    ngx_uint_t                       dirty;      /* a holder has begun */

    ngx_uint_t                       running;    /* granted ones as well */
    ngx_uint_t                       waiting;
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
};


/* shares of the zone: 1/16 workers, 1/4 turns, 1/4 processes; the rest is
 * the slab allocator's, for what later grows there */

#define zone_share(size, part, type)  ((size) / (part) / sizeof(type))


static void zone_lock(ngx_http_claude_zone_t *zone);
static void zone_unlock(ngx_http_claude_zone_t *zone);
static void zone_repair(ngx_http_claude_zone_shared_t *sh);
static ngx_int_t zone_turn_row(ngx_http_claude_zone_shared_t *sh);
static ngx_int_t zone_process_row(ngx_http_claude_zone_shared_t *sh);
static void zone_turn_free(ngx_http_claude_zone_shared_t *sh, ngx_uint_t i);
static void zone_process_clear(ngx_http_claude_zone_shared_t *sh,
    ngx_uint_t i);
static ngx_int_t zone_run(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_turn_t *turn, ngx_http_claude_turn_state_e state);
static void zone_grant(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);
static void zone_wake_add(ngx_http_claude_zone_shared_t *sh, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake);
static void zone_worker_free(ngx_http_claude_zone_t *zone, ngx_pid_t pid,
    ngx_http_claude_zone_wake_t *wake);


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

    if (sh->workers == NULL || sh->turns == NULL || sh->process == NULL) {
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
ngx_http_claude_zone_turn_enter(ngx_http_claude_zone_t *zone, ngx_int_t *row,
    ngx_int_t *process)
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
        turn->order = sh->order++;

        if (sh->waiting == 0
            && zone_run(zone, turn, NGX_HTTP_CLAUDE_TURN_RUNNING) == NGX_OK)
        {
            *process = turn->process;
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


ngx_int_t
ngx_http_claude_zone_turn_granted(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_int_t *process)
{
    ngx_int_t                     rc;
    ngx_http_claude_zone_turn_t  *turn;

    turn = &zone->sh->turns[row];
    rc = NGX_AGAIN;

    zone_lock(zone);

    if (turn->state == NGX_HTTP_CLAUDE_TURN_GRANTED) {
        turn->state = NGX_HTTP_CLAUDE_TURN_RUNNING;
        *process = turn->process;
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

    zone_turn_free(zone->sh, row);
    zone_grant(zone, wake);

    zone_unlock(zone);
}


void
ngx_http_claude_zone_grant(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake)
{
    zone_lock(zone);

    zone_grant(zone, wake);

    zone_unlock(zone);
}


ngx_uint_t
ngx_http_claude_zone_waiting(ngx_http_claude_zone_t *zone)
{
    return zone->sh->waiting;
}


void
ngx_http_claude_zone_process_set(ngx_http_claude_zone_t *zone, ngx_int_t row,
    ngx_http_claude_process_state_e state, ngx_pid_t pid, uint64_t start)
{
    time_t                           now;
    ngx_http_claude_zone_process_t  *process;

    process = &zone->sh->process[row];
    now = ngx_time();

    zone_lock(zone);

    if (pid) {
        process->pid = pid;
        process->start = start;
    }

    process->since = now;
    process->state = state;

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

    zone_process_clear(zone->sh, row);
    zone_grant(zone, wake);

    zone_unlock(zone);
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

        sh->turns_high = i + 1;
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
zone_turn_free(ngx_http_claude_zone_shared_t *sh, ngx_uint_t i)
{
    ngx_http_claude_zone_turn_t  *turn;

    turn = &sh->turns[i];

    switch (turn->state) {

    case NGX_HTTP_CLAUDE_TURN_FREE:
        return;

    case NGX_HTTP_CLAUDE_TURN_WAITING:
        sh->waiting--;
        break;

    case NGX_HTTP_CLAUDE_TURN_GRANTED:

        /* its worker never learned of the process row */

        zone_process_clear(sh, turn->process);
        sh->running--;
        break;

    case NGX_HTTP_CLAUDE_TURN_RUNNING:
        sh->running--;
        break;
    }

    turn->state = NGX_HTTP_CLAUDE_TURN_FREE;

    while (sh->turns_high
           && sh->turns[sh->turns_high - 1].state
              == NGX_HTTP_CLAUDE_TURN_FREE)
    {
        sh->turns_high--;
    }
}


static void
zone_process_clear(ngx_http_claude_zone_shared_t *sh, ngx_uint_t i)
{
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
}


/* lets a turn run, with a process row, if the limits allow it */

static ngx_int_t
zone_run(ngx_http_claude_zone_t *zone, ngx_http_claude_zone_turn_t *turn,
    ngx_http_claude_turn_state_e state)
{
    ngx_int_t                        i;
    ngx_http_claude_zone_shared_t   *sh;
    ngx_http_claude_zone_process_t  *process;

    sh = zone->sh;

    if (sh->running >= zone->max_running
        || sh->processes >= zone->max_processes)
    {
        return NGX_AGAIN;
    }

    i = zone_process_row(sh);

    if (i == -1) {
        return NGX_AGAIN;
    }

    process = &sh->process[i];

    ngx_memzero(process, sizeof(ngx_http_claude_zone_process_t));
    process->owner = turn->owner;
    process->since = ngx_time();
    process->created = process->since;
    process->state = NGX_HTTP_CLAUDE_PROCESS_RESERVED;
    sh->processes++;

    turn->process = i;
    turn->state = state;
    sh->running++;

    return NGX_OK;
}


/* lets waiting turns run, in order of arrival, as far as the limits allow */

static void
zone_grant(ngx_http_claude_zone_t *zone, ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t                      i;
    ngx_http_claude_zone_turn_t    *turn, *first;
    ngx_http_claude_zone_shared_t  *sh;

    sh = zone->sh;

    while (sh->waiting && wake->n < NGX_HTTP_CLAUDE_ZONE_WAKE) {
        first = NULL;

        for (i = 0; i < sh->turns_high; i++) {
            turn = &sh->turns[i];

            if (turn->state == NGX_HTTP_CLAUDE_TURN_WAITING
                && (first == NULL || turn->order < first->order))
            {
                first = turn;
            }
        }

        if (first == NULL
            || zone_run(zone, first, NGX_HTTP_CLAUDE_TURN_GRANTED) != NGX_OK)
        {
            return;
        }

        sh->waiting--;
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
            zone_turn_free(sh, i);
        }
    }

    for (i = sh->processes_high; i-- > 0; /* void */) {
        if (i < sh->processes_high && sh->process[i].owner == pid) {
            zone_process_clear(sh, i);
        }
    }

    for (i = 0; i < sh->nworkers; i++) {
        if (sh->workers[i].pid == pid) {
            sh->workers[i].pid = 0;
        }
    }

    zone_grant(zone, wake);
}
