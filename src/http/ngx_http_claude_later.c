
/*
 * The next turn of the event loop.  See the header.
 */


#include "ngx_http_claude_later.h"


/* msec; what is posted comes long before */
#define LATER_TIMER  60000


static void later_event(ngx_event_t *ev);


void
ngx_http_claude_later_init(ngx_http_claude_later_t *later,
    void (*handler)(void *data), void *data, ngx_log_t *log)
{
    later->handler = handler;
    later->data = data;
    later->event.handler = later_event;
    later->event.data = later;
    later->event.log = log;
}


void
ngx_http_claude_later(ngx_http_claude_later_t *later)
{
    ngx_post_event(&later->event, &ngx_posted_next_events);

    if (!later->event.timer_set) {
        ngx_add_timer(&later->event, LATER_TIMER);
    }
}


void
ngx_http_claude_later_never(ngx_http_claude_later_t *later)
{
    if (later->event.posted) {
        ngx_delete_posted_event(&later->event);
    }

    if (later->event.timer_set) {
        ngx_del_timer(&later->event);
    }
}


static void
later_event(ngx_event_t *ev)
{
    ngx_http_claude_later_t *later = ev->data;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_add_timer(ev, LATER_TIMER);

        return;
    }

    later->handler(later->data);
}
