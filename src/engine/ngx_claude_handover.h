
/*
 * Hand-over: an idle process goes from the worker that has it to the worker
 * that needs it, with its descriptors and all that is known of it.
 *
 * The taker marks the row in the zone and writes to the owner's mailbox,
 * sending one end of a socket pair along; the owner makes the row the
 * taker's and sends the process through that socket.  Nobody waits longer
 * than a fraction of a second, and whatever fails, fails into replay.
 */


#ifndef _NGX_CLAUDE_HANDOVER_H_INCLUDED_
#define _NGX_CLAUDE_HANDOVER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_seat.h"
#include "ngx_claude_turn.h"
#include "ngx_claude_zone.h"


typedef struct {
    ngx_claude_zone_t           *zone;
    ngx_array_t                 *profiles;       /* profile_t * */
    size_t                       max_line;

    /* the process that the turn asked for, idle, or NULL */
    void                       (*handed)(ngx_claude_turn_t *turn,
                                         ngx_claude_seat_t *seat);

    /* a process came for a turn that is no more: to the pool with it */
    void                       (*stray)(ngx_claude_seat_t *seat);
} ngx_claude_handover_conf_t;


void ngx_claude_handover_init(ngx_claude_handover_conf_t *conf);

/*
 * Asks other workers for an idle process like that.  NGX_OK: handed() will be
 * called, from an event; NGX_DECLINED: there is none.
 */
ngx_int_t ngx_claude_handover_ask(ngx_claude_turn_t *turn,
    ngx_claude_zone_idle_t *what);

/* the turn is no more, or needs it no more */
void ngx_claude_handover_cancel(ngx_claude_turn_t *turn);

/* the mailbox's handler: another worker asks for the process of the row */
void ngx_claude_handover_give(ngx_int_t row, ngx_pid_t taker, ngx_socket_t s);


#endif /* _NGX_CLAUDE_HANDOVER_H_INCLUDED_ */
