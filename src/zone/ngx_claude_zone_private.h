
/*
 * The zone, private: what its files share, the one about the zone itself and
 * those about workers, turns, processes, models and gates.  All functions here
 * but the first are called with the lock held.
 */


#ifndef _NGX_CLAUDE_ZONE_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_ZONE_PRIVATE_H_INCLUDED_


#include "ngx_claude_zone.h"


/* names short for the files and long for the linker */
#define zone_lock           ngx_claude_zone_lock
#define zone_unlock         ngx_claude_zone_unlock
#define zone_wake_add       ngx_claude_zone_wake_add
#define zone_turn_free      ngx_claude_zone_turn_free
#define zone_turn_count     ngx_claude_zone_turn_count
#define zone_turn_hold      ngx_claude_zone_turn_hold
#define zone_grant          ngx_claude_zone_turns_grant
#define zone_process_clear  ngx_claude_zone_process_clear
#define zone_process_count  ngx_claude_zone_process_count
#define zone_give           ngx_claude_zone_give


/* whether another turn has the session of one, and its client is served */
#define ZONE_HELD_NOT       0
#define ZONE_HELD           1
#define ZONE_HELD_ANSWERED  2


typedef struct {
    ngx_claude_hash_t                profile;
    time_t                           since;      /* 0: there are none */
    size_t                           len;
    u_char                           names[NGX_CLAUDE_ZONE_MODELS];
} zone_models_t;


typedef struct {
    ngx_claude_hash_t                profile;
    ngx_uint_t                       state;
} zone_gate_t;


typedef struct {
    ngx_claude_hash_t                profile;
    ngx_uint_t                       died;       /* in a row */
    ngx_msec_t                       until;      /* ngx_current_msec before
                                                    which none is started ahead
                                                    of need */
} zone_start_t;


struct ngx_claude_zone_shared_s {
    ngx_uint_t                  dirty;           /* boolean: a holder of the
                                                    lock has begun */

    ngx_uint_t                  running;         /* turns, granted ones as
                                                    well */
    ngx_uint_t                  waiting;
    ngx_uint_t                  needing;         /* turns that wait for a row
                                                    of a process */
    ngx_uint_t                  wanting;         /* workers that want a row to
                                                    spare */
    ngx_uint_t                  processes;       /* rows that are not free */
    uint64_t                    order;           /* number of the next
                                                    arrival */
    uint64_t                    share;           /* the latest that was
                                                    granted */

    ngx_uint_t                  nworkers;
    ngx_uint_t                  nturns;
    ngx_uint_t                  nprocesses;

    ngx_uint_t                  turns_high; /* rows from here on are free */
    ngx_uint_t                  processes_high;

    ngx_claude_zone_worker_t   *workers;
    ngx_claude_zone_turn_t     *turns;
    ngx_claude_zone_process_t  *process;

    ngx_claude_counters_t       counters;

    zone_models_t               models[NGX_CLAUDE_ZONE_PROFILES];

    zone_gate_t                 gates[NGX_CLAUDE_ZONE_GATES];
    ngx_uint_t                  ngates;          /* rows that were ever
                                                    taken */

    zone_start_t                starts[NGX_CLAUDE_ZONE_GATES];
    ngx_uint_t                  nstarts;
};


/* whether a session goes on with the turn */

static ngx_inline ngx_uint_t
zone_turn_has(ngx_claude_zone_turn_t *turn)
{
    return turn->state >= NGX_CLAUDE_TURN_GRANTED && turn->named
           && turn->owns_session;
}


/* of two others that are named */

static ngx_inline ngx_uint_t
zone_turn_shares(ngx_claude_zone_turn_t *a, ngx_claude_zone_turn_t *b)
{
    return a != b && a->named && a->state != NGX_CLAUDE_TURN_FREE
           && ngx_claude_hash_same(&a->session, &b->session);
}


/* in zone.c */

void zone_lock(ngx_claude_zone_t *zone);
void zone_unlock(ngx_claude_zone_t *zone);

/* the worker is to be woken; the list has room, which the caller sees to */
void zone_wake_add(ngx_claude_zone_shared_t *sh, ngx_pid_t pid,
    ngx_claude_zone_wake_t *wake);

/* counts anew: the places of the key of a turn, the rows of a process's */
void zone_turn_count(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);
void zone_process_count(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_process_t *process);

/* tells the other turns of a turn's session whether it has that */
void zone_turn_hold(ngx_claude_zone_shared_t *sh,
    ngx_claude_zone_turn_t *turn);

/* in zone_turns.c */

/* frees the row of a turn, with what it waited for, or was given */
void zone_turn_free(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake);

/* lets waiting turns run, as far as the limit allows */
void zone_grant(ngx_claude_zone_t *zone, ngx_claude_zone_wake_t *wake);

/* in zone_processes.c */

/* frees the row of a process, and gives the place to who waits for one */
void zone_process_clear(ngx_claude_zone_t *zone, ngx_uint_t i,
    ngx_claude_zone_wake_t *wake);

/* reserves rows for the turns that wait for one, as far as there are any */
void zone_give(ngx_claude_zone_t *zone, ngx_claude_zone_wake_t *wake);


#endif /* _NGX_CLAUDE_ZONE_PRIVATE_H_INCLUDED_ */
