
/*
 * Places of turns in the shared zone: what each of them costs where many keys
 * have many that wait.
 */


#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "ngx_claude_zone_private.h"


#define KEYS    1000
#define PLACES  4
#define TURNS   16
#define SIZE    (16 * 1024 * 1024)


static ngx_claude_zone_t  zone;
static ngx_shm_zone_t     shm;


static void
open_zone(void)
{
    ngx_slab_pool_t  *sp;

    shm.shm.size = SIZE;
    shm.shm.log = ngx_cycle->log;
    shm.shm.addr = ngx_memalign(ngx_pagesize, SIZE, ngx_cycle->log);

    unit_needs(shm.shm.addr != NULL, "memory");
    ngx_memzero(shm.shm.addr, SIZE);

    sp = (ngx_slab_pool_t *) shm.shm.addr;
    sp->end = shm.shm.addr + SIZE;
    sp->min_shift = 3;
    sp->addr = shm.shm.addr;

    unit_needs(ngx_shmtx_create(&sp->mutex, &sp->lock, NULL) == NGX_OK,
               "a lock");
    ngx_slab_init(sp);

    ngx_memzero(&zone, sizeof(ngx_claude_zone_t));

    unit_needs(ngx_claude_zone_init(&zone, &shm, NULL) == NGX_OK, "a zone");
}


static void
close_zone(void)
{
    ngx_free(shm.shm.addr);
}


static void
hash(ngx_claude_hash_t *h, ngx_uint_t n)
{
    ngx_memzero(h, sizeof(ngx_claude_hash_t));
    ngx_memcpy(h->hash, &n, sizeof(ngx_uint_t));
    h->hash[19] = 1;
}


static ngx_int_t
enter(ngx_uint_t key, ngx_uint_t session, ngx_int_t *row)
{
    ngx_claude_hash_t          tenant;
    ngx_claude_zone_wake_t     wake;
    ngx_claude_turn_session_t  s;

    ngx_memzero(&s, sizeof(ngx_claude_turn_session_t));
    wake.n = 0;
    hash(&tenant, key);

    if (session) {
        s.named = 1;
        s.continues = 1;
        hash(&s.hash, session);
    }

    return ngx_claude_zone_turn_enter(&zone, &tenant, &s, row, &wake);
}


static void
leave(ngx_int_t row)
{
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;
    ngx_claude_zone_turn_leave(&zone, row, &wake);
}


/* usec of CPU since the last call */

static double
spent(void)
{
    double                  was;
    struct timespec         now;

    static double           last;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);

    was = last;
    last = now.tv_sec * 1e6 + now.tv_nsec / 1e3;

    return last - was;
}


/* usec of a turn that comes and goes while n of many keys wait */

static double
cost_of_keys(ngx_uint_t n)
{
    double      usec;
    ngx_int_t   row;
    ngx_uint_t  i;

    open_zone();

    zone.max_running = PLACES;
    zone.max_waiting = n + 1;

    for (i = 0; i < PLACES + n; i++) {
        unit_needs(enter(i % KEYS, 0, &row)
                   == (i < PLACES ? NGX_OK : NGX_AGAIN), "a turn that waits");
    }

    (void) spent();

    for (i = 0; i < TURNS; i++) {
        unit_needs(enter(KEYS + i, 0, &row) == NGX_AGAIN, "one more");
        leave(row);
    }

    usec = spent() / TURNS;

    close_zone();

    return usec;
}


/*
 * The same with a place that is free, and of no use to those that wait: all of
 * them go on with one session, whose turn has the last row, so that whoever
 * looks for it sees all the others first.
 */

static double
cost_of_session(ngx_uint_t n)
{
    double      usec;
    ngx_int_t   row, place, *rows;
    ngx_uint_t  i;

    open_zone();

    zone.max_running = 3;
    zone.max_waiting = 2 * n;

    rows = ngx_alloc(n * sizeof(ngx_int_t), ngx_cycle->log);
    unit_needs(rows != NULL, "memory");

    unit_needs(enter(1, 1, &place) == NGX_OK, "a session");

    for (i = 0; i < n; i++) {
        unit_needs(enter(1, 1, &rows[i]) == NGX_AGAIN, "a turn that waits");
    }

    unit_needs(enter(2, 2, &row) == NGX_OK, "the other session");

    for (i = 0; i < n; i++) {
        leave(rows[i]);
    }

    for (i = 0; i < n; i++) {
        unit_needs(enter(2, 2, &row) == NGX_AGAIN, "a turn that waits");
    }

    (void) spent();

    for (i = 0; i < TURNS; i++) {
        unit_needs(enter(3 + i, 0, &row) == NGX_OK, "a turn that may run");
        leave(row);
    }

    usec = spent() / TURNS;

    ngx_free(rows);
    close_zone();

    return usec;
}


/* whether eight times as many cost no more than eight times as much, or so */

static void
linear(double (*cost)(ngx_uint_t n), const char *name)
{
    double  few, many;

    few = cost(1000);
    many = cost(8000);

    if (many > 24 * few) {
        fprintf(stderr, "# 1,000: %.1f us, 8,000: %.1f us\n", few, many);
    }

    unit_ok(many <= 24 * few, name);
}


static ngx_int_t
granted(ngx_int_t row)
{
    ngx_claude_turn_session_t  session;

    return ngx_claude_zone_turn_granted(&zone, row, &session);
}


/* what a worker that dies with the lock leaves is found out anew */

static void
repaired(void)
{
    ngx_int_t   first, same, other;
    ngx_uint_t  i;

    open_zone();

    zone.max_running = 2;
    zone.max_waiting = 10;

    unit_needs(enter(1, 1, &first) == NGX_OK
               && enter(1, 1, &same) == NGX_AGAIN
               && enter(2, 2, &other) == NGX_OK, "turns");

    for (i = 0; i < 2; i++) {
        zone.sh->turns[same].held = i;
        zone.sh->turns[same].places = 7;
        zone.sh->dirty = 1;
        ngx_claude_zone_turn_answered(&zone, other);

        unit_ok(zone.sh->turns[same].held == 1, "a session is held as before");
        unit_ok(zone.sh->turns[same].places == 1, "a key has its places");
    }

    leave(other);
    unit_ok(granted(same) == NGX_AGAIN, "a free place is not for it");

    leave(first);
    unit_ok(granted(same) == NGX_OK, "the session is");

    close_zone();
}


void
unit_tests(ngx_pool_t *pool, ngx_str_t *dir)
{
    repaired();

    linear(cost_of_keys, "turns of 1,000 keys that wait");
    linear(cost_of_session, "turns of one session that wait for it");
}
