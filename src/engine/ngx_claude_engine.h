
/*
 * The engine: takes turns, waits for their place among the turns of all
 * workers, brings a CLI process to the state a turn needs, asks, and tells
 * the asker what the model says.  It knows turns, processes and the zone, and
 * nothing of HTTP.
 */


#ifndef _NGX_CLAUDE_ENGINE_H_INCLUDED_
#define _NGX_CLAUDE_ENGINE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_limits.h"
#include "ngx_claude_turn.h"
#include "ngx_claude_zone.h"


/*
 * Once a worker, before its first turn; zone and limits live as long as the
 * cycle.
 */
void ngx_claude_engine_init(ngx_claude_zone_t *zone,
    const ngx_claude_limits_t *limits);

/* at the end of a worker: leaves no process, connection or row behind */
void ngx_claude_engine_exit(ngx_cycle_t *cycle);

/*
 * Begins a turn.  NGX_OK: the handlers will be called, from events; NGX_
 * DECLINED: it is refused at once, turn->fail and turn->reason say why.
 */
ngx_int_t ngx_claude_turn_start(ngx_claude_turn_t *turn);

/*
 * The asker leaves: no handler is called any more but paid(), if the turn is
 * owing; else nothing refers to the turn after the call.  The model is made
 * to stop.  Harmless on a turn that is over or never began.
 */
void ngx_claude_turn_abort(ngx_claude_turn_t *turn);

/* nothing refers to a turn that is over any more, nor is it told the costs */
void ngx_claude_turn_forgo(ngx_claude_turn_t *turn);

/*
 * The asker has enough, by a stop sequence of its own; only from inside
 * delta() of a text, and only of a turn that is stoppable.  surplus: so many
 * bytes, at the end of what it was told, are no part of the answer.  close()
 * and finished() are called before it returns, and settled() follows as ever.
 */
void ngx_claude_turn_stop(ngx_claude_turn_t *turn, size_t surplus);

/* back-pressure: no more handlers but for what was read, until resumed */
void ngx_claude_turn_pause(ngx_claude_turn_t *turn);
void ngx_claude_turn_resume(ngx_claude_turn_t *turn);


#endif /* _NGX_CLAUDE_ENGINE_H_INCLUDED_ */
