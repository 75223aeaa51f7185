
/*
 * The mailbox of a worker.  See the header.
 */


#include "ngx_http_claude_mailbox.h"

#include <stddef.h>


static void mailbox_read_handler(ngx_event_t *rev);
static void mailbox_self_handler(ngx_event_t *ev);
static void mailbox_empty_handler(ngx_event_t *ev);
static ngx_int_t mailbox_send(ngx_http_claude_zone_worker_t *worker);


static ngx_connection_t            *mailbox;
static ngx_event_t                  mailbox_self;
static ngx_http_claude_mailbox_pt   mailbox_handler;


ngx_int_t
ngx_http_claude_mailbox_open(ngx_cycle_t *cycle, ngx_http_claude_zone_t *zone,
    ngx_http_claude_mailbox_pt handler)
{
    size_t              len;
    socklen_t           size;
    ngx_socket_t        s;
    struct sockaddr_un  sa;

    s = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_socket_errno,
                      "claude: " ngx_socket_n " for the mailbox failed");
        return NGX_ERROR;
    }

    /* unix(7): binding the bare family gets an abstract name of five digits */

    ngx_memzero(&sa, sizeof(struct sockaddr_un));
    sa.sun_family = AF_UNIX;
    size = sizeof(struct sockaddr_un);

    if (bind(s, (struct sockaddr *) &sa, sizeof(sa_family_t)) == -1
        || getsockname(s, (struct sockaddr *) &sa, &size) == -1)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_socket_errno,
                      "claude: bind() of the mailbox failed");
        goto failed;
    }

    len = size - offsetof(struct sockaddr_un, sun_path);

    if (len > NGX_HTTP_CLAUDE_MAILBOX_LEN) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "claude: unexpected name of the mailbox");
        goto failed;
    }

    if (ngx_http_claude_zone_enter(zone, (u_char *) sa.sun_path, len,
                                   cycle->log)
        != NGX_OK)
    {
        goto failed;
    }

    mailbox = ngx_get_connection(s, cycle->log);
    if (mailbox == NULL) {
        goto failed;
    }

    mailbox->read->handler = mailbox_read_handler;
    mailbox->write->handler = mailbox_empty_handler;
    mailbox->read->log = cycle->log;
    mailbox->write->log = cycle->log;

    mailbox_handler = handler;
    mailbox_self.handler = mailbox_self_handler;
    mailbox_self.log = cycle->log;

    if (ngx_handle_read_event(mailbox->read, 0) != NGX_OK) {
        ngx_http_claude_mailbox_close();
        return NGX_ERROR;
    }

    return NGX_OK;

failed:

    (void) ngx_close_socket(s);

    return NGX_ERROR;
}


void
ngx_http_claude_mailbox_close(void)
{
    if (mailbox) {
        ngx_close_connection(mailbox);
        mailbox = NULL;
    }
}


void
ngx_http_claude_mailbox_wake(ngx_http_claude_zone_t *zone,
    ngx_http_claude_zone_wake_t *wake)
{
    ngx_uint_t  i, dead, full;

    do {
        dead = 0;
        full = (wake->n == NGX_HTTP_CLAUDE_ZONE_WAKE);

        for (i = 0; i < wake->n; i++) {

            if (wake->worker[i].pid == ngx_pid) {

                if (mailbox_self.handler) {
                    ngx_post_event(&mailbox_self, &ngx_posted_events);
                }

            } else if (mailbox_send(&wake->worker[i]) != NGX_OK) {
                dead = 1;
            }
        }

        wake->n = 0;

        /* each round frees at least one dead worker's row or grants a turn */

        if (dead) {
            ngx_http_claude_zone_sweep(zone, 0, wake);

        } else if (full) {
            ngx_http_claude_zone_grant(zone, wake);
        }

    } while (wake->n);
}


/* NGX_DECLINED: nobody listens there any more */

static ngx_int_t
mailbox_send(ngx_http_claude_zone_worker_t *worker)
{
    socklen_t           size;
    struct sockaddr_un  sa;

    if (mailbox == NULL) {
        return NGX_OK;
    }

    ngx_memzero(&sa, sizeof(struct sockaddr_un));
    sa.sun_family = AF_UNIX;
    ngx_memcpy(sa.sun_path, worker->address, worker->address_len);
    size = offsetof(struct sockaddr_un, sun_path) + worker->address_len;

    /*
     * A mailbox that is full (EAGAIN) will be read after this moment, and its
     * worker then looks for all that it was granted: nothing is lost.
     */

    if (sendto(mailbox->fd, "w", 1, MSG_DONTWAIT|MSG_NOSIGNAL,
               (struct sockaddr *) &sa, size)
        == -1
        && ngx_socket_errno == NGX_ECONNREFUSED)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
mailbox_read_handler(ngx_event_t *rev)
{
    u_char             buf[16];
    ssize_t            n;
    ngx_connection_t  *c;

    c = rev->data;

    do {
        n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

    } while (n >= 0 || ngx_socket_errno == NGX_EINTR);

    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, rev->log, 0,
                      "claude: the mailbox cannot be watched, waiting turns "
                      "of this worker may time out");
    }

    mailbox_handler();
}


static void
mailbox_self_handler(ngx_event_t *ev)
{
    mailbox_handler();
}


static void
mailbox_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "claude: mailbox event");
}
