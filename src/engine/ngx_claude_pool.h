
/*
 * The pool of this worker: idle processes with what they hold, and processes
 * started ahead of need.  It finds the one that is nearest to a turn, ends
 * those that have been idle for too long or have to give way, and keeps the
 * warm ones up in number, one start at a time.
 */


#ifndef _NGX_CLAUDE_POOL_H_INCLUDED_
#define _NGX_CLAUDE_POOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_limits.h"
#include "ngx_claude_seat.h"
#include "ngx_claude_turn.h"
#include "ngx_claude_zone.h"


/* once a worker; zone and limits live as long as the cycle */
void ngx_claude_pool_init(ngx_claude_zone_t *zone,
    const ngx_claude_limits_t *limits);

/* stops starting and ends what it has; at the end of a worker */
void ngx_claude_pool_exit(void);

/*
 * The process that is nearest to the turn, claimed for it, and the plan that
 * it was rated by.  least: the lowest rung that will do.  NULL: none.
 */
ngx_claude_seat_t *ngx_claude_pool_pick(ngx_claude_turn_t *turn,
    ngx_claude_rung_e least, ngx_claude_plan_t *plan);

/*
 * Whether a turn may have a process that was rated so: one that is nobody's
 * yet is not for a key that owes starts, see debt.h, unless it was started for
 * it.
 */
ngx_uint_t ngx_claude_pool_allows(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn, const ngx_claude_plan_t *plan);

/* the idle process of a row, or NULL */
ngx_claude_seat_t *ngx_claude_pool_find(ngx_int_t row);

/*
 * The realm of a process, a hash: turns of the same one may have it.  tenant:
 * the key's, NULL of a process that has not been used yet; session: one that a
 * client has named, or, of an unused one, the tenant that it was started for;
 * or NULL.
 */
void ngx_claude_pool_realm(ngx_claude_profile_t *profile,
    const ngx_claude_hash_t *tenant, const ngx_claude_hash_t *session,
    ngx_claude_hash_t *realm);

/*
 * A process starts, for a turn or ahead of need.  While it does, and no turn
 * waits for it, the next one that it is for may have it.
 */
void ngx_claude_pool_starts(ngx_claude_seat_t *seat);

/* a process has started: it is not the pool's any more, until it is put */
void ngx_claude_pool_ready(ngx_claude_seat_t *seat);

/*
 * A process died, and no turn was ever in it: those ahead of need are started
 * more and more slowly, in all workers, until one of the profile has proved
 * to be well.  reason: words for the log, without what it said itself.
 */
void ngx_claude_pool_lost(ngx_claude_seat_t *seat, ngx_str_t *reason);
void ngx_claude_pool_proved(ngx_claude_profile_t *profile);

/* takes a process that is idle; may end it at once */
void ngx_claude_pool_put(ngx_claude_seat_t *seat);

/* forgets a process that ends */
void ngx_claude_pool_left(ngx_claude_seat_t *seat);

/* ends the idle processes that others need the rows of */
void ngx_claude_pool_evict(void);

/* starts what is missing of warm processes, soon and off the turns' way */
void ngx_claude_pool_warm(void);


#endif /* _NGX_CLAUDE_POOL_H_INCLUDED_ */
