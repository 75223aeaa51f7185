
/*
 * The mailbox of a worker: a datagram socket that other workers, of this
 * generation of the configuration or another, use to wake it.
 *
 * It is an abstract socket whose name the kernel chose, so it is known by the
 * shared zone only, leaves no file behind, and is inherited by nobody.
 * Whoever else finds it can make a worker look for granted turns in vain, and
 * nothing more.
 */


#ifndef _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_claude_zone.h"


typedef void (*ngx_http_claude_mailbox_pt)(void);


/*
 * Opens the mailbox and enters the worker in the zone; the handler is called
 * from events when there may be granted turns.  NGX_ERROR: logged.
 */
ngx_int_t ngx_http_claude_mailbox_open(ngx_cycle_t *cycle,
    ngx_http_claude_zone_t *zone, ngx_http_claude_mailbox_pt handler);

void ngx_http_claude_mailbox_close(void);

/*
 * Wakes the workers of the list, and, when some of them are found dead, frees
 * what they held and wakes those who get it.
 */
void ngx_http_claude_mailbox_wake(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);


#endif /* _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_ */
