
/*
 * The shared zone: the only thing that workers have in common.
 *
 * It holds tables of workers, of turns (running and waiting), of processes and
 * of accounts, and counters.  Rows are found by scanning, never linked, so a
 * worker killed in the midst of a change leaves at worst one half-written
 * row; sums over rows are kept beside them and made anew by the next holder
 * of the lock when it finds the dirty mark.  No section spans a system call.
 * The zone knows nothing of pipes, requests or configuration: the limits are
 * handed in.
 */


#ifndef _NGX_CLAUDE_ZONE_H_INCLUDED_
#define _NGX_CLAUDE_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_metrics.h"
#include "ngx_claude_turn.h"


/* abstract address of a worker's mailbox: a NUL and digits nobody guesses */
#define NGX_CLAUDE_MAILBOX_LEN  24

/* bytes that a message begins with: known to who can read the zone */
#define NGX_CLAUDE_SECRET_LEN   16


typedef enum {
    NGX_CLAUDE_TURN_FREE = 0,
    NGX_CLAUDE_TURN_REFUSED,           /* gave way: the worker is to be told */
    NGX_CLAUDE_TURN_WAITING,
    NGX_CLAUDE_TURN_GRANTED,           /* the worker is to be told */
    NGX_CLAUDE_TURN_RUNNING
} ngx_claude_turn_state_e;


typedef enum {
    NGX_CLAUDE_PROCESS_FREE = 0,
    NGX_CLAUDE_PROCESS_RESERVED,       /* kept for a turn, nothing runs */
    NGX_CLAUDE_PROCESS_STARTING,
    NGX_CLAUDE_PROCESS_IDLE,
    NGX_CLAUDE_PROCESS_BUSY,
    NGX_CLAUDE_PROCESS_ASKED_FOR,      /* idle, another worker wants it */
    NGX_CLAUDE_PROCESS_EVICTED,        /* idle, its worker is to end it */
    NGX_CLAUDE_PROCESS_ENDING,
    NGX_CLAUDE_PROCESS_STATES
} ngx_claude_process_state_e;


typedef struct {
    ngx_pid_t                        pid;        /* 0: the row is free */
    uint64_t                         start;      /* clock ticks since boot; 0:
                                                    /proc does not tell */
    ngx_uint_t                       wants;      /* boolean: a row to spare */
    u_char                           address[NGX_CLAUDE_MAILBOX_LEN];
    u_char                           secret[NGX_CLAUDE_SECRET_LEN];
} ngx_claude_zone_worker_t;


typedef struct {
    ngx_claude_turn_state_e          state;
    ngx_pid_t                        owner;      /* worker */
    uint64_t                         order;      /* number of its arrival */
    uint64_t                         share;      /* its time among the keys,
                                                    see zone_turns.c */
    ngx_claude_hash_t                tenant;     /* API key */
    uint8_t                          held;       /* who has its session, see
                                                    zone_turns.c */
    ngx_uint_t                       places;     /* that turns of its key
                                                    have */
    ngx_int_t                        process;    /* row reserved for it, -1 */
    ngx_uint_t                       needs;      /* boolean: waits for a row */

    ngx_claude_hash_t                session;
    uint8_t                          named;      /* boolean: session is set */
    uint8_t                          continues;  /* boolean: must follow the
                                                    session */
    uint8_t                          owns_session; /* boolean: the session goes
                                                      on with this turn */
    uint8_t                          answered;   /* boolean: client served, its
                                                    process not done */
} ngx_claude_zone_turn_t;


typedef struct {
    ngx_claude_process_state_e  state;
    ngx_pid_t                   owner;           /* worker */
    ngx_pid_t                   pid;             /* 0: not started yet */
    uint64_t                    start;
    ngx_pid_t                   taker;           /* worker that asks for the
                                                    process */
    ngx_pid_t                   giver;           /* worker that had it, until
                                                    the taker has; or 0 */
    ngx_claude_hash_t           tenant;          /* API key, if it is owned */
    ngx_uint_t                  owned;           /* boolean: a key's, and not
                                                    ahead of need */
    ngx_uint_t                  peers;           /* owned rows of its key, this
                                                    one included */
    ngx_claude_hash_t           tip;             /* link of all that it
                                                    holds */
    ngx_claude_hash_t           realm;           /* profile and key */
    ngx_claude_hash_t           first;           /* link of the first
                                                    message */
    ngx_claude_hash_t           session;         /* zeroes: none */
    ngx_uint_t                  nheld;           /* messages */
    ngx_msec_t                  changed;         /* ngx_current_msec of the
                                                    newest change of state */
    ngx_msec_t                  created;
    ngx_uint_t                  turns;
    ngx_claude_rung_e           rung;
} ngx_claude_zone_process_t;


/* an idle process, or one that is looked for: there NULL matches anything */
typedef struct {
    const ngx_claude_hash_t         *realm;
    const ngx_claude_hash_t         *tip;
    const ngx_claude_hash_t         *first;
    const ngx_claude_hash_t         *session;
    ngx_uint_t                       nheld;      /* messages */
} ngx_claude_zone_idle_t;


typedef struct ngx_claude_zone_shared_s  ngx_claude_zone_shared_t;

typedef struct {
    ngx_shm_zone_t                  *shm_zone;
    ngx_slab_pool_t                 *shpool;
    ngx_claude_zone_shared_t        *sh;
    ngx_claude_counters_t           *counters;

    /* limits of this configuration, over all workers */
    ngx_uint_t                       max_running;
    ngx_uint_t                       max_waiting;
    ngx_uint_t                       max_processes;
} ngx_claude_zone_t;


typedef struct {
    ngx_uint_t                       running;
    ngx_uint_t                       waiting;
    ngx_uint_t                       processes[NGX_CLAUDE_PROCESS_STATES];
} ngx_claude_zone_sums_t;


#define NGX_CLAUDE_ZONE_WAKE  32

/* workers to be woken, since turns of theirs were granted; starts with n 0 */
typedef struct {
    ngx_uint_t                       n;
    ngx_claude_zone_worker_t         worker[NGX_CLAUDE_ZONE_WAKE];
} ngx_claude_zone_wake_t;


/* profiles whose models are remembered; the oldest gives way */
#define NGX_CLAUDE_ZONE_PROFILES  8

/* profiles whose gate, or deaths, are remembered; the oldest gives way */
#define NGX_CLAUDE_ZONE_GATES     64

/* the longest list of models */
#define NGX_CLAUDE_ZONE_MODELS    2048


/* rows that a zone of so many bytes has, for checking a configuration */
ngx_uint_t ngx_claude_zone_turn_rows(size_t size);
ngx_uint_t ngx_claude_zone_process_rows(size_t size);

/*
 * Finds or makes the tables in the shared memory; old: the zone of the
 * configuration before, if it was of the same size, or NULL.
 */
ngx_int_t ngx_claude_zone_init(ngx_claude_zone_t *zone,
    ngx_shm_zone_t *shm_zone, ngx_claude_zone_t *old);

/*
 * Enters this worker, whose mailbox is in self; sets the rest of it.  What an
 * earlier worker with the same pid has left is freed.  NGX_DECLINED: no row is
 * free.
 */
ngx_int_t ngx_claude_zone_enter(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *self, ngx_claude_zone_wake_t *wake);

/*
 * Frees all that a worker holds, which is no more or about to leave, and its
 * row; nothing if the row is another one's by now.
 */
void ngx_claude_zone_worker_free(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *worker, ngx_claude_zone_wake_t *wake);

/*
 * Copies the next row of a worker, from *at on, and moves *at.  NGX_DONE:
 * there is no more.
 */
ngx_int_t ngx_claude_zone_worker(ngx_claude_zone_t *zone, ngx_uint_t *at,
    ngx_claude_zone_worker_t *worker);

/*
 * The worker that follows this one in the order of rows, and the first one
 * after the last.  NGX_DECLINED: this one is alone, or has no row.
 */
ngx_int_t ngx_claude_zone_worker_next(ngx_claude_zone_t *zone,
    ngx_claude_zone_worker_t *worker);

/*
 * A turn asks for its place.  NGX_OK: it runs; NGX_AGAIN: it waits its turn;
 * NGX_BUSY: the queue is full; NGX_ERROR: the table is.  *row names it from
 * now on.  A place is granted to the key that has the fewest, in turn over
 * those that have as many; in a full queue the last turn of the key that waits
 * for most gives way.
 *
 * Of the turns of one session that was named only one at a time goes on with
 * it, which is told by session->owner: one that brings only what is new waits
 * for that, one with a whole history does without, unless the turn before is
 * over for its client and only its process is not done yet.
 */
ngx_int_t ngx_claude_zone_turn_enter(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *tenant, ngx_claude_turn_session_t *session,
    ngx_int_t *row, ngx_claude_zone_wake_t *wake);

/* the client of a running turn has all that it will get */
void ngx_claude_zone_turn_answered(ngx_claude_zone_t *zone, ngx_int_t row);

/*
 * NGX_OK: the waiting turn was granted and runs now; NGX_AGAIN: not yet;
 * NGX_BUSY: it had to give way in a full queue.
 */
ngx_int_t ngx_claude_zone_turn_granted(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_turn_session_t *session);

/* the turn is over, in whatever state; the next in order are granted */
void ngx_claude_zone_turn_leave(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_wake_t *wake);

/*
 * Grants what can be granted: for a caller whose wake list came back full,
 * after it has woken those.
 */
void ngx_claude_zone_grant(ngx_claude_zone_t *zone,
    ngx_claude_zone_wake_t *wake);

/*
 * The models that the CLI lists, by launch profile: names, each with a LF.
 * They are known for an hour, since a login or a release may change them.
 */
ngx_uint_t ngx_claude_zone_models_known(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile);
void ngx_claude_zone_models_set(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_str_t *names);

/* copies them, however old; returns their length, 0 if there are none */
size_t ngx_claude_zone_models(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, u_char buf[NGX_CLAUDE_ZONE_MODELS]);

/*
 * What is known of the gate in processes of a launch profile, of
 * ngx_claude_gate_e; 0: nothing.  The second sets it, and returns what was
 * known before.
 */
ngx_uint_t ngx_claude_zone_gate(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile);
ngx_uint_t ngx_claude_zone_gate_set(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_uint_t state);

/*
 * Processes of a launch profile that die before their first turn.  The first
 * counts a death: returns how many there were in a row, and sets the time in
 * msec that none is started ahead of need.  The second returns what is left of
 * that; 0: the caller may start one, and the other workers then wait.  The
 * third returns the number; the fourth, too, and forgets it.
 */
ngx_uint_t ngx_claude_zone_start_died(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile, ngx_msec_t *wait);
ngx_msec_t ngx_claude_zone_start_wait(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile);
ngx_uint_t ngx_claude_zone_start_dies(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile);
ngx_uint_t ngx_claude_zone_start_lived(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *profile);

/* the number of turns that wait; no lock is taken */
ngx_uint_t ngx_claude_zone_waiting(ngx_claude_zone_t *zone);

/*
 * A running turn asks for the row of a new process.  NGX_OK: *process is
 * reserved; NGX_AGAIN: an idle process gives way to it, the longest idle one
 * of the key that has most, wait to be woken and ask with
 * ngx_claude_zone_process_taken().
 */
ngx_int_t ngx_claude_zone_process_take(ngx_claude_zone_t *zone, ngx_int_t turn,
    ngx_int_t *process, ngx_claude_zone_wake_t *wake);
ngx_int_t ngx_claude_zone_process_taken(ngx_claude_zone_t *zone,
    ngx_int_t turn, ngx_int_t *process);

/* the turn has found a process elsewhere: it asks no more */
void ngx_claude_zone_process_untake(ngx_claude_zone_t *zone, ngx_int_t turn,
    ngx_claude_zone_wake_t *wake);

/*
 * A row for a process ahead of need.  NGX_DECLINED: there is none to spare,
 * the worker will be woken when there may be.
 */
ngx_int_t ngx_claude_zone_process_spare(ngx_claude_zone_t *zone,
    ngx_int_t *process);

/* an idle process gets a turn.  NGX_DECLINED: it is to be ended instead */
ngx_int_t ngx_claude_zone_process_claim(ngx_claude_zone_t *zone,
    ngx_int_t row);

/*
 * A process is idle.  what: link of the conversation that it holds (tip) and
 * of its beginning (first), whom it may serve (realm), and its session.
 * NGX_DECLINED: a turn waits for its row, it is to be ended.
 */
ngx_int_t ngx_claude_zone_process_idle(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_idle_t *what);

/* whether the row is that of an idle process; no lock is taken */
ngx_uint_t ngx_claude_zone_process_is_idle(ngx_claude_zone_t *zone,
    ngx_int_t row);

/*
 * Asks for an idle process of another worker that is like that, the one that
 * was used last: NGX_OK, *row and the *worker to be told; NGX_DECLINED: there
 * is none.
 */
ngx_int_t ngx_claude_zone_process_ask(ngx_claude_zone_t *zone,
    ngx_claude_zone_idle_t *what, ngx_int_t *row,
    ngx_claude_zone_worker_t *worker);

/* idle processes of a session, of any worker, are to be ended */
void ngx_claude_zone_session_evict(ngx_claude_zone_t *zone,
    const ngx_claude_hash_t *session, ngx_claude_zone_wake_t *wake);

/* asks no more.  NGX_DECLINED: too late, it has been given */
ngx_int_t ngx_claude_zone_process_unask(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_wake_t *wake);

/* makes the row the taker's, if it is the taker who asks for it */
ngx_int_t ngx_claude_zone_process_give(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t taker);

/*
 * Takes a row back that could not be given after all.  NGX_DECLINED: the
 * taker has died meanwhile, and the row with it.
 */
ngx_int_t ngx_claude_zone_process_keep(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t taker);

/*
 * The taker has the process.  NGX_DECLINED: the row is no more, since the
 * giver has died meanwhile.
 */
ngx_int_t ngx_claude_zone_process_took(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t giver);

/* the taker got the row, and will not get the process */
void ngx_claude_zone_process_missed(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_pid_t giver, ngx_claude_zone_wake_t *wake);

/* whether an idle process is to be ended; no lock is taken */
ngx_uint_t ngx_claude_zone_process_evicted(ngx_claude_zone_t *zone,
    ngx_int_t row);

/*
 * Keeps a process row up to date; pid 0 keeps the pid that is there.  Row -1
 * is one that was lost, here as in what follows.
 */
void ngx_claude_zone_process_set(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_process_state_e state, ngx_pid_t pid, uint64_t start);

/* the process of the row began a turn of the key on that rung: it is its */
void ngx_claude_zone_process_turn(ngx_claude_zone_t *zone, ngx_int_t row,
    const ngx_claude_hash_t *tenant, ngx_claude_rung_e rung);

/* the process is gone; a turn that waited for a row gets it */
void ngx_claude_zone_process_free(ngx_claude_zone_t *zone, ngx_int_t row,
    ngx_claude_zone_wake_t *wake);

/*
 * Where what a key uses of a model is added up; the row for all that find no
 * room if the table is full.  Names that are longer than a row's are cut.
 */
ngx_claude_account_t *ngx_claude_zone_account(ngx_claude_zone_t *zone,
    ngx_str_t *key, ngx_str_t *model);

void ngx_claude_zone_sums(ngx_claude_zone_t *zone,
    ngx_claude_zone_sums_t *sums);

/*
 * Copies up to n rows of processes that are not free, from row *at on, and
 * moves *at; returns how many.  0: no more.
 */
ngx_uint_t ngx_claude_zone_processes(ngx_claude_zone_t *zone, ngx_uint_t *at,
    ngx_claude_zone_process_t *rows, ngx_uint_t n);


#endif /* _NGX_CLAUDE_ZONE_H_INCLUDED_ */
