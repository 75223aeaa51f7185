
/*
 * The mailbox of a worker: a datagram socket that other workers, of this
 * generation of the configuration or another, use to wake it.
 *
 * It is an abstract socket whose name the kernel chose, so it is known by the
 * shared zone only, leaves no file behind, and is inherited by nobody.
 * Whoever else finds it can make a worker look for granted turns in vain, and
 * nothing more: the kernel says who sent a message, and a process is given
 * only to the worker that the zone names.
 */


#ifndef _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_claude_zone.h"


typedef struct {
    /* there may be granted turns, or evicted processes, of this worker */
    void  (*woken)(void);

    /* another worker asks for a process; the socket is the handler's */
    void  (*asked)(ngx_int_t row, ngx_pid_t from, ngx_socket_t s);
} ngx_http_claude_mailbox_handlers_t;


/*
 * Opens the mailbox and enters the worker in the zone; the handlers are
 * called from events.  NGX_ERROR: logged.
 */
ngx_int_t ngx_http_claude_mailbox_open(ngx_cycle_t *cycle,
    ngx_http_claude_zone_t *zone,
    const ngx_http_claude_mailbox_handlers_t *handlers);

void ngx_http_claude_mailbox_close(void);

/*
 * Wakes the workers of the list, and, when some of them are found dead, frees
 * what they held and wakes those who get it.
 */
void ngx_http_claude_mailbox_wake(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake);


/* asks a worker for the process of a row, to be sent through the socket */
ngx_int_t ngx_http_claude_mailbox_ask(ngx_http_claude_zone_worker_t *worker,
    ngx_int_t row, ngx_socket_t s);


#endif /* _NGX_HTTP_CLAUDE_MAILBOX_H_INCLUDED_ */
