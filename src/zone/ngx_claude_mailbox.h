
/*
 * The mailbox of a worker: a datagram socket that other workers, of this
 * generation of the configuration or another, use to wake it, to ask it for a
 * process, and to watch it.
 *
 * It is an abstract socket with a random name that is used once, so it leaves
 * no file behind and is inherited by nobody.  Whoever looks for the name finds
 * it, and any user of the machine may send to it: a message counts only if it
 * begins with the worker's secret, which is in the zone.  The kernel itself
 * drops what does not begin so, descriptors and all, before it takes any room.
 * Who sent it may be gone from the zone by now: the last wake-up of a worker
 * is of what its end gives back.
 *
 * It is open as long as its worker lives: that is how others can tell.
 */


#ifndef _NGX_CLAUDE_MAILBOX_H_INCLUDED_
#define _NGX_CLAUDE_MAILBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_zone.h"


typedef struct {
    /* turns of this worker may be granted, or processes evicted */
    void  (*woken)(void);

    /* another worker asks for a process; the socket is the handler's */
    void  (*asked)(ngx_int_t row, ngx_pid_t from, ngx_socket_t s);

    /* another worker watches this one: to be open until this one ends */
    void  (*watched)(ngx_fd_t fd);
} ngx_claude_mailbox_handlers_t;


/*
 * Opens the mailbox and enters the worker in the zone; the handlers are
 * called from events.  NGX_ERROR: logged.
 */
ngx_int_t ngx_claude_mailbox_open(ngx_cycle_t *cycle, ngx_claude_zone_t *zone,
    const ngx_claude_mailbox_handlers_t *handlers);

/* frees what this worker has in the zone, and closes */
void ngx_claude_mailbox_close(void);

/*
 * Wakes the workers of the list, and, when some of them are found dead, frees
 * what they held and wakes those who get it.
 */
void ngx_claude_mailbox_wake(ngx_claude_zone_t *zone,
    ngx_claude_zone_wake_t *wake);

/*
 * Looks for workers that are no more and frees what they held.  Returns how
 * many there were.
 */
ngx_uint_t ngx_claude_mailbox_sweep(ngx_claude_zone_t *zone);

/*
 * Asks a worker for the process of a row, to be sent through the socket, or to
 * keep a descriptor for as long as it lives.  NGX_DECLINED: it is no more;
 * NGX_BUSY: it does not take it now.
 */
ngx_int_t ngx_claude_mailbox_ask(ngx_claude_zone_worker_t *worker,
    ngx_int_t row, ngx_socket_t s);
ngx_int_t ngx_claude_mailbox_watch(ngx_claude_zone_worker_t *worker,
    ngx_fd_t fd);


#endif /* _NGX_CLAUDE_MAILBOX_H_INCLUDED_ */
