
/*
 * The mailbox of a worker.  See the header.
 */


#include "ngx_http_claude_mailbox.h"

#include <stddef.h>


static void mailbox_read_handler(ngx_event_t *rev);
static void mailbox_self_handler(ngx_event_t *ev);
static void mailbox_empty_handler(ngx_event_t *ev);
static ngx_int_t mailbox_send(ngx_http_claude_zone_worker_t *worker,
    void *data, size_t len, ngx_socket_t s);
static ngx_int_t mailbox_read(ngx_event_t *rev);


static ngx_connection_t                          *mailbox;
static ngx_event_t                                mailbox_self;
static const ngx_http_claude_mailbox_handlers_t  *mailbox_handlers;


ngx_int_t
ngx_http_claude_mailbox_open(ngx_cycle_t *cycle, ngx_http_claude_zone_t *zone,
    const ngx_http_claude_mailbox_handlers_t *handlers)
{
    int                 on;
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

    on = 1;

    if (setsockopt(s, SOL_SOCKET, SO_PASSCRED, &on, sizeof(int)) == -1
        || bind(s, (struct sockaddr *) &sa, sizeof(sa_family_t)) == -1
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

    mailbox_handlers = handlers;
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

            } else if (mailbox_send(&wake->worker[i], "w", 1,
                                    (ngx_socket_t) -1)
                       == NGX_DECLINED)
            {
                dead = 1;
            }

            /*
             * A mailbox that is full will be read after this moment, and its
             * worker then looks for all that it was granted: nothing is lost.
             */
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


ngx_int_t
ngx_http_claude_mailbox_ask(ngx_http_claude_zone_worker_t *worker,
    ngx_int_t row, ngx_socket_t s)
{
    return mailbox_send(worker, &row, sizeof(ngx_int_t), s);
}


/*
 * s: a socket to be sent along, or -1.  NGX_DECLINED: nobody listens there
 * any more; NGX_BUSY: the mailbox is full.
 */

static ngx_int_t
mailbox_send(ngx_http_claude_zone_worker_t *worker, void *data, size_t len,
    ngx_socket_t s)
{
    struct iovec        iov;
    struct msghdr       msg;
    struct cmsghdr     *cmsg;
    struct sockaddr_un  sa;
    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(ngx_socket_t))];
    } control;

    if (mailbox == NULL) {
        return NGX_BUSY;
    }

    ngx_memzero(&sa, sizeof(struct sockaddr_un));
    sa.sun_family = AF_UNIX;
    ngx_memcpy(sa.sun_path, worker->address, worker->address_len);

    iov.iov_base = data;
    iov.iov_len = len;

    ngx_memzero(&msg, sizeof(struct msghdr));
    msg.msg_name = &sa;
    msg.msg_namelen = offsetof(struct sockaddr_un, sun_path)
                      + worker->address_len;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (s != (ngx_socket_t) -1) {
        ngx_memzero(&control, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_len = CMSG_LEN(sizeof(ngx_socket_t));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        ngx_memcpy(CMSG_DATA(cmsg), &s, sizeof(ngx_socket_t));
    }

    if (sendmsg(mailbox->fd, &msg, MSG_DONTWAIT|MSG_NOSIGNAL) == -1) {
        return (ngx_socket_errno == NGX_ECONNREFUSED) ? NGX_DECLINED
                                                      : NGX_BUSY;
    }

    return NGX_OK;
}


static void
mailbox_read_handler(ngx_event_t *rev)
{
    while (mailbox_read(rev) == NGX_OK) { /* void */ }

    rev->ready = 0;

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, rev->log, 0,
                      "claude: the mailbox cannot be watched, waiting turns "
                      "of this worker may time out");
    }

    mailbox_handlers->woken();
}


static ngx_int_t
mailbox_read(ngx_event_t *rev)
{
    ssize_t            n;
    ngx_int_t          row;
    ngx_socket_t       s;
    struct iovec       iov;
    struct ucred       cred;
    struct msghdr      msg;
    struct cmsghdr    *cmsg;
    ngx_connection_t  *c;
    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(struct ucred))
                              + CMSG_SPACE(sizeof(ngx_socket_t))];
    } control;

    c = rev->data;

    iov.iov_base = &row;
    iov.iov_len = sizeof(ngx_int_t);

    ngx_memzero(&msg, sizeof(struct msghdr));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    n = recvmsg(c->fd, &msg, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);

    if (n == -1) {
        return (ngx_socket_errno == NGX_EINTR) ? NGX_OK : NGX_AGAIN;
    }

    s = (ngx_socket_t) -1;
    ngx_memzero(&cred, sizeof(struct ucred));

    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {

        if (cmsg->cmsg_level != SOL_SOCKET) {
            continue;
        }

        if (cmsg->cmsg_type == SCM_CREDENTIALS) {
            ngx_memcpy(&cred, CMSG_DATA(cmsg), sizeof(struct ucred));

        } else if (cmsg->cmsg_type == SCM_RIGHTS) {
            ngx_memcpy(&s, CMSG_DATA(cmsg), sizeof(ngx_socket_t));
        }
    }

    if (s == (ngx_socket_t) -1) {
        return NGX_OK;
    }

    if (n == sizeof(ngx_int_t) && cred.uid == geteuid()) {
        mailbox_handlers->asked(row, cred.pid, s);

    } else {
        (void) close(s);
    }

    return NGX_OK;
}


static void
mailbox_self_handler(ngx_event_t *ev)
{
    mailbox_handlers->woken();
}


static void
mailbox_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "claude: mailbox event");
}
