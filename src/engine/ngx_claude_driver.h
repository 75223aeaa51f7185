
/*
 * The driver: takes one process through one turn.  It greets a new process,
 * brings a used one to the beginning that it shares with the turn, replays
 * what is missing, asks, tells the asker what the model says, and leaves the
 * process with a conversation that it is sure of, or ends it.
 *
 * It says "this process is idle" and "this turn needs another process" to the
 * engine, and knows nothing of queues and of other processes.
 */


#ifndef _NGX_CLAUDE_DRIVER_H_INCLUDED_
#define _NGX_CLAUDE_DRIVER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_seat.h"
#include "ngx_claude_turn.h"
#include "ngx_claude_zone.h"


/*
 * How often a turn may lose its process before the model has said anything.
 * The last time it gets a new one, so that a question which kills the CLI
 * does not empty the pool.
 */
#define NGX_CLAUDE_DRIVER_RETRIES  2


/* the driver's calls into the engine */
typedef struct {
    /* it has started, and goes on with the turn that has waited for that */
    void  (*started)(ngx_claude_seat_t *seat);

    /* no turn any more, and a known conversation: it may be used again */
    void  (*idle)(ngx_claude_seat_t *seat);

    /* it has answered a turn, the first one */
    void  (*proved)(ngx_claude_seat_t *seat);

    /* it died, and no turn was ever in it; reason: words for the log */
    void  (*lost)(ngx_claude_seat_t *seat, ngx_str_t *reason);

    /* the process is being ended: the pool forgets it */
    void  (*ended)(ngx_claude_seat_t *seat);

    /* the process has the turn no more */
    void  (*parted)(ngx_claude_turn_t *turn);

    /* a row of the zone is free again */
    void  (*free_row)(ngx_int_t row);

    /* the process failed the turn before the model was asked anything */
    void  (*again)(ngx_claude_turn_t *turn);

    /* the turn's place among the running ones is free */
    void  (*release)(ngx_int_t row);
} ngx_claude_driver_hooks_t;


void ngx_claude_driver_init(ngx_claude_zone_t *zone,
    const ngx_claude_driver_hooks_t *hooks);

/* at the end of a worker: ends all processes without a word */
void ngx_claude_driver_exit(void);

/*
 * A new process in the row of the zone, greeted but without a turn.  owner:
 * whose home it has, or NULL; ask: for a session on disk, or NULL; ungated:
 * without the gate of its profile.  NULL: no memory or no spawner; the row is
 * freed.
 */
ngx_claude_seat_t *ngx_claude_driver_spawn(ngx_claude_profile_t *profile,
    const ngx_claude_owner_t *owner, ngx_claude_record_ask_t *ask,
    ngx_uint_t ungated, size_t max_line, ngx_int_t row, ngx_log_t *log);

/*
 * Begins a turn in a process that has none.  plan: what the process was rated
 * by; NULL: it was started for the turn.  A process that starts is planned for
 * once it has, and gets nothing of the turn before that.  NGX_ERROR: no
 * memory, the process is ended and the turn has none.
 */
ngx_int_t ngx_claude_driver_begin(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn, const ngx_claude_plan_t *plan);

/*
 * An idle process that comes from another worker, whose row is this worker's
 * already; the caller says then what it holds, and for what calls it waits.
 * Takes the descriptors over.  NULL: it could not be had, the row is freed.
 */
ngx_claude_seat_t *ngx_claude_driver_adopt(ngx_claude_profile_t *profile,
    size_t max_line, ngx_int_t row, ngx_pid_t pid, uint64_t start,
    ngx_fd_t *fds);

/* sets what such a process holds, and its bill.  NGX_ERROR: no memory */
ngx_int_t ngx_claude_driver_holds(ngx_claude_seat_t *seat,
    ngx_claude_holding_t *holding, ngx_claude_held_t *held,
    ngx_claude_bill_t *bill);

/*
 * An adopted process waits for the result of a call, which the CLI has asked
 * for.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_driver_waits(ngx_claude_seat_t *seat, ngx_str_t *id,
    ngx_str_t *request, ngx_int_t rpc);

/* an idle process went to another worker: it is forgotten here */
void ngx_claude_driver_give(ngx_claude_seat_t *seat);

/* a row whose process never came */
void ngx_claude_driver_free_row(ngx_int_t row);

/* the asker has heard enough, see ngx_claude_turn_stop() */
void ngx_claude_driver_turn_cut(ngx_claude_seat_t *seat, size_t surplus);

/*
 * The asker of the turn takes no more for now, and takes more again: what the
 * process writes stays in its pipe meanwhile, and no clock of it runs.
 */
void ngx_claude_driver_pause(ngx_claude_seat_t *seat);
void ngx_claude_driver_resume(ngx_claude_seat_t *seat);

/* the turn has lasted too long: it fails, whatever it is at */
void ngx_claude_driver_overdue(ngx_claude_seat_t *seat);

/* the asker of the turn is gone: the model stops, the process goes on */
void ngx_claude_driver_abandon(ngx_claude_seat_t *seat);

/* a turn that is owing will not hear of it */
void ngx_claude_driver_forgo(ngx_claude_turn_t *turn);

/* ends a process, in any state; a turn in it loses it without a word */
void ngx_claude_driver_end(ngx_claude_seat_t *seat);

/* sets or renews the time that the process may be silent */
void ngx_claude_driver_rearm(ngx_claude_seat_t *seat);

/* logs a failure of a turn in words for an operator */
void ngx_claude_driver_log(ngx_claude_turn_t *turn, ngx_pid_t pid);


#endif /* _NGX_CLAUDE_DRIVER_H_INCLUDED_ */
