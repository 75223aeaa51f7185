
/*
 * Work that goes on at the next turn of the event loop, so that others are
 * served in between.  However much of it there is, a turn is no longer than
 * some milliseconds for it: what is left has the turn after that.  A worker
 * that is to end waits for timers, and not for what is posted: there is a
 * timer as long as something is to be done.
 */


#ifndef _NGX_HTTP_CLAUDE_LATER_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_LATER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct {
    ngx_event_t    event;      /* the timer */
    ngx_queue_t    queue;
    void         (*handler)(void *data);
    void          *data;
    unsigned       due:1;      /* is in the queue */
} ngx_http_claude_later_t;


/* zeroed before; handler and data are set once */
void ngx_http_claude_later_init(ngx_http_claude_later_t *later,
    void (*handler)(void *data), void *data, ngx_log_t *log);

/* the handler is called once, at the next turn or soon after */
void ngx_http_claude_later(ngx_http_claude_later_t *later);

/* the handler is not called any more, also if it is due */
void ngx_http_claude_later_never(ngx_http_claude_later_t *later);


#endif /* _NGX_HTTP_CLAUDE_LATER_H_INCLUDED_ */
