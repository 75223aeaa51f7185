
/*
 * The shared zone: its memory, its lock, the accounts and the sums.  See the
 * header for what it holds and what it must never do: link rows, wait, or
 * make a system call while the lock is held.
 *
 * A worker may be killed while it has the lock.  The master unlocks it as it
 * reaps the worker, but only zones of its newest configuration, and only as
 * long as there is a master; so who waits for the lock looks whether its
 * holder still lives.  The dirty mark tells the next holder to make the sums
 * anew from the rows, which are the truth.
 */


#include "ngx_claude_zone_private.h"
#include "ngx_claude_proc.h"


/* shares of the zone: 1/16 workers, 1/4 turns, 1/4 processes, 1/16 accounts;
 * the rest is the slab allocator's, for what later grows there */

#define zone_share(size, part, type)  ((size) / (part) / sizeof(type))


/* looks at a lock between two yields, and yields between looks at its holder;
 * a section takes microseconds */

#define ZONE_LOCK_SPIN   256
#define ZONE_LOCK_YIELD  64


/* places of a key that is not counted yet */
#define ZONE_UNCOUNTED   ((ngx_uint_t) -1)


static void zone_repair(ngx_claude_zone_shared_t *sh);
static ngx_uint_t zone_process_peer(ngx_claude_zone_process_t *process,
    ngx_claude_zone_process_t *other);
static void zone_repair_turn(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);
static void zone_unlock_dead(ngx_claude_zone_t *zone);
static ngx_claude_account_t *zone_account(ngx_claude_counters_t *counters,
    uint32_t hash, ngx_str_t *key, ngx_str_t *model, ngx_uint_t make);


ngx_uint_t
ngx_claude_zone_turn_rows(size_t size)
{
    return zone_share(size, 4, ngx_claude_zone_turn_t);
}


ngx_uint_t
ngx_claude_zone_process_rows(size_t size)
{
    return zone_share(size, 4, ngx_claude_zone_process_t);
}


ngx_int_t
ngx_claude_zone_init(ngx_claude_zone_t *zone,
    ngx_shm_zone_t *shm_zone, ngx_claude_zone_t *old)
{
    size_t                     size;
    ngx_slab_pool_t           *shpool;
    ngx_claude_counters_t     *counters;
    ngx_claude_zone_shared_t  *sh;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    size = shm_zone->shm.size;

    zone->shpool = shpool;

    if (old) {
        /* a reload, and the same size: the rows live on */
        zone->sh = old->sh;
        zone->counters = &zone->sh->counters;

        /* what was wrong with the gate, or a start, may be right now */

        zone_lock(zone);
        zone->sh->ngates = 0;
        zone->sh->nstarts = 0;
        zone_unlock(zone);

        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        zone->sh = shpool->data;
        zone->counters = &zone->sh->counters;
        return NGX_OK;
    }

    shpool->log_nomem = 0;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_claude_zone_shared_t));
    if (sh == NULL) {
        goto small;
    }

    sh->nworkers = zone_share(size, 16, ngx_claude_zone_worker_t);
    sh->nturns = ngx_claude_zone_turn_rows(size);
    sh->nprocesses = ngx_claude_zone_process_rows(size);

    sh->workers = ngx_slab_calloc(shpool, sh->nworkers
                                  * sizeof(ngx_claude_zone_worker_t));
    sh->turns = ngx_slab_calloc(shpool, sh->nturns
                                * sizeof(ngx_claude_zone_turn_t));
    sh->process = ngx_slab_calloc(shpool, sh->nprocesses
                                  * sizeof(ngx_claude_zone_process_t));

    counters = &sh->counters;
    counters->since = ngx_time();
    counters->naccounts = zone_share(size, 16, ngx_claude_account_t);
    counters->accounts = ngx_slab_calloc(shpool, counters->naccounts
                                         * sizeof(ngx_claude_account_t));

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


ngx_claude_account_t *
ngx_claude_zone_account(ngx_claude_zone_t *zone, ngx_str_t *key,
    ngx_str_t *model)
{
    uint32_t               hash;
    ngx_str_t              k, m;
    ngx_claude_account_t  *account;

    /* without API keys there is no name, and no address of one */

    k.data = key->len ? key->data : (u_char *) "";
    k.len = ngx_min(key->len, NGX_CLAUDE_KEY_NAME);
    m.data = model->data;
    m.len = ngx_min(model->len, NGX_CLAUDE_MODEL_NAME);

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
ngx_claude_zone_sums(ngx_claude_zone_t *zone,
    ngx_claude_zone_sums_t *sums)
{
    ngx_uint_t                 i;
    ngx_claude_zone_shared_t  *sh;

    sh = zone->sh;

    ngx_memzero(sums, sizeof(ngx_claude_zone_sums_t));

    zone_lock(zone);

    sums->running = sh->running;
    sums->waiting = sh->waiting;

    for (i = 0; i < sh->processes_high; i++) {
        sums->processes[sh->process[i].state]++;
    }

    zone_unlock(zone);

    sums->processes[NGX_CLAUDE_PROCESS_FREE] = 0;
}


void
zone_lock(ngx_claude_zone_t *zone)
{
    ngx_uint_t  n;

    for (n = 1; !ngx_shmtx_trylock(&zone->shpool->mutex); n++) {

        if (ngx_ncpu > 1 && n % ZONE_LOCK_SPIN) {
            ngx_cpu_pause();
            continue;
        }

        if (n % (ZONE_LOCK_SPIN * ZONE_LOCK_YIELD) == 0) {
            zone_unlock_dead(zone);
        }

        ngx_sched_yield();
    }

    if (zone->sh->dirty) {
        zone_repair(zone->sh);
    }

    zone->sh->dirty = 1;
    ngx_memory_barrier();
}


void
zone_unlock(ngx_claude_zone_t *zone)
{
    ngx_memory_barrier();
    zone->sh->dirty = 0;

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* the lock was held for longer than any section: frees it of a dead holder */

static void
zone_unlock_dead(ngx_claude_zone_t *zone)
{
    uint64_t                   start;
    ngx_pid_t                  pid;
    ngx_uint_t                 i;
    ngx_claude_zone_shared_t  *sh;

    pid = (ngx_pid_t) *zone->shpool->mutex.lock;
    start = 0;
    sh = zone->sh;

    for (i = 0; i < sh->nworkers; i++) {
        if (sh->workers[i].pid == pid) {
            start = sh->workers[i].start;
        }
    }

    if (pid && ngx_claude_proc_gone(pid, start)
        && ngx_shmtx_force_unlock(&zone->shpool->mutex, pid))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "claude: worker %P died with the zone \"%V\" locked",
                      pid, &zone->shm_zone->shm.name);
        return;
    }

    /* the holder lives and waits for the CPU, which this one gives up */

    ngx_msleep(1);
}


/* all turns of a key know how many of them have a place */

void
zone_turn_count(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn)
{
    ngx_uint_t               i, n;
    ngx_claude_zone_turn_t  *other;

    n = 0;

    for (i = 0; i < sh->turns_high; i++) {
        other = &sh->turns[i];

        n += (other->state >= NGX_CLAUDE_TURN_GRANTED
              && ngx_claude_hash_same(&other->tenant, &turn->tenant));
    }

    for (i = 0; i < sh->turns_high; i++) {
        other = &sh->turns[i];

        if (other->state != NGX_CLAUDE_TURN_FREE
            && ngx_claude_hash_same(&other->tenant, &turn->tenant))
        {
            other->places = n;
        }
    }
}


/* all rows of a key know how many they are */

void
zone_process_count(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process)
{
    ngx_uint_t                  i, n;
    ngx_claude_zone_process_t  *other;

    n = 0;

    for (i = 0; i < sh->processes_high; i++) {
        n += zone_process_peer(&sh->process[i], process);
    }

    for (i = 0; i < sh->processes_high; i++) {
        other = &sh->process[i];

        if (zone_process_peer(other, process)) {
            other->peers = n;
        }
    }
}


/* whether a row is one of the other's key */

static ngx_uint_t
zone_process_peer(ngx_claude_zone_process_t *process,
    ngx_claude_zone_process_t *other)
{
    return process->state != NGX_CLAUDE_PROCESS_FREE && process->owned
           && ngx_claude_hash_same(&process->tenant, &other->tenant);
}


/*
 * All turns of a session know whether another one has it, so that none has to
 * look for that whenever a place is free: all would look through all.
 */

void
zone_turn_hold(ngx_claude_zone_shared_t *sh, ngx_claude_zone_turn_t *turn)
{
    ngx_uint_t  i, held;

    if (!turn->named || !turn->owns_session) {
        return;
    }

    held = !zone_turn_has(turn) ? ZONE_HELD_NOT
           : turn->answered ? ZONE_HELD_ANSWERED : ZONE_HELD;

    for (i = 0; i < sh->turns_high; i++) {
        if (zone_turn_shares(&sh->turns[i], turn)) {
            sh->turns[i].held = held;
        }
    }
}


/* makes the sums anew: the last holder was killed, the rows are the truth */

static void
zone_repair(ngx_claude_zone_shared_t *sh)
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
        if (sh->turns[i].state != NGX_CLAUDE_TURN_FREE) {
            zone_repair_turn(sh, &sh->turns[i]);
            sh->turns_high = i + 1;
        }
    }

    for (i = 0; i < sh->turns_high; i++) {
        sh->turns[i].held = 0;
        sh->turns[i].places = ZONE_UNCOUNTED;
    }

    for (i = 0; i < sh->turns_high; i++) {
        if (sh->turns[i].state == NGX_CLAUDE_TURN_FREE) {
            continue;
        }

        if (sh->turns[i].places == ZONE_UNCOUNTED) {
            zone_turn_count(sh, &sh->turns[i]);
        }

        zone_turn_hold(sh, &sh->turns[i]);
    }

    for (i = 0; i < sh->nworkers; i++) {
        sh->wanting += (sh->workers[i].pid && sh->workers[i].wants);
    }

    for (i = 0; i < sh->nprocesses; i++) {
        if (sh->process[i].state != NGX_CLAUDE_PROCESS_FREE) {
            sh->processes++;
            sh->processes_high = i + 1;
        }
    }

    for (i = 0; i < sh->processes_high; i++) {
        zone_process_count(sh, &sh->process[i]);
    }
}


/* counts a turn; a row it was to get is its own by now, or still needed */

static void
zone_repair_turn(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn)
{
    if (turn->state == NGX_CLAUDE_TURN_WAITING) {
        sh->waiting++;

    } else if (turn->state != NGX_CLAUDE_TURN_REFUSED) {
        sh->running++;
    }

    if (turn->process != -1) {

        if (sh->process[turn->process].state == NGX_CLAUDE_PROCESS_FREE) {
            turn->process = -1;
            turn->needs = 1;

        } else {
            turn->needs = 0;
        }
    }

    sh->needing += (turn->needs != 0);
}


void
zone_wake_add(ngx_claude_zone_shared_t *sh, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake)
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


/*
 * The row of these names, by open addressing.  make: the lock is held, and a
 * free row may be taken.  NULL: there is none.
 */

static ngx_claude_account_t *
zone_account(ngx_claude_counters_t *counters, uint32_t hash,
    ngx_str_t *key, ngx_str_t *model, ngx_uint_t make)
{
    ngx_uint_t             i;
    ngx_claude_account_t  *account;

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

        /* from here on others read the row, without the lock */

        ngx_memory_barrier();
        account->used = 1;

        return account;
    }

    return NULL;
}
