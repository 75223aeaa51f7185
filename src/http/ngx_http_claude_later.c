
/*
 * The next turn of the event loop.  See the header.
 */


#include "ngx_http_claude_later.h"


/* msec; what is posted comes long before */
#define LATER_TIMER  60000

/* what a turn of the event loop has for all that is due, usec */
#define LATER_TURN   5000


static void later_post(void);
static void later_turn(ngx_event_t *ev);
static void later_event(ngx_event_t *ev);
static uint64_t later_now(void);


static ngx_queue_t  later_due;
static ngx_event_t  later_posted;


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
    if (later_posted.handler == NULL) {
        ngx_queue_init(&later_due);
        later_posted.handler = later_turn;
    }

    if (!later->due) {
        later->due = 1;
        ngx_queue_insert_tail(&later_due, &later->queue);
    }

    later_post();

    if (!later->event.timer_set) {
        ngx_add_timer(&later->event, LATER_TIMER);
    }
}


void
ngx_http_claude_later_never(ngx_http_claude_later_t *later)
{
    if (later->due) {
        later->due = 0;
        ngx_queue_remove(&later->queue);
    }

    if (later->event.timer_set) {
        ngx_del_timer(&later->event);
    }
}


static void
later_post(void)
{
    later_posted.log = ngx_cycle->log;

    ngx_post_event(&later_posted, &ngx_posted_next_events);
}


/*
 * All that is due, in order, and not what becomes due meanwhile: events that
 * have come are first.
 */

static void
later_turn(ngx_event_t *ev)
{
    uint64_t                  end;
    ngx_queue_t               now;
    ngx_http_claude_later_t  *later;

    if (ngx_queue_empty(&later_due)) {
        return;
    }

    end = later_now() + LATER_TURN;

    ngx_queue_init(&now);
    ngx_queue_add(&now, &later_due);
    ngx_queue_init(&later_due);

    do {
        later = ngx_queue_data(ngx_queue_head(&now), ngx_http_claude_later_t,
                               queue);

        ngx_queue_remove(&later->queue);
        later->due = 0;

        later->handler(later->data);

    } while (!ngx_queue_empty(&now) && later_now() < end);

    if (!ngx_queue_empty(&now)) {

        /* before those that have had theirs */

        if (!ngx_queue_empty(&later_due)) {
            ngx_queue_add(&now, &later_due);
        }

        ngx_queue_init(&later_due);
        ngx_queue_add(&later_due, &now);
    }

    if (!ngx_queue_empty(&later_due)) {
        later_post();
    }
}


static void
later_event(ngx_event_t *ev)
{
    ev->timedout = 0;
    ngx_add_timer(ev, LATER_TIMER);
}


/* usec of no particular beginning */

static uint64_t
later_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (uint64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
