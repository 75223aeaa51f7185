
/*
 * The mailbox of a worker.  See the header.
 */


#include "ngx_claude_mailbox.h"
#include "ngx_claude_proc.h"
#include "ngx_claude_rights.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <stddef.h>
#include <uuid/uuid.h>


/* messages in a row before other events get their turn */
#define MAILBOX_READS   32

/* instructions for each four bytes of a secret */
#define MAILBOX_FILTER  (NGX_CLAUDE_SECRET_LEN / 4 * 2 + 2)


typedef enum {
    MAILBOX_WAKE = 1,
    MAILBOX_ASK,                       /* for a process; brings a socket */
    MAILBOX_WATCH                      /* brings the end of a pipe */
} mailbox_kind_e;


/* a message; as a structure, since all workers run one binary */
typedef struct {
    u_char                             secret[NGX_CLAUDE_SECRET_LEN];
    ngx_uint_t                         kind;
    ngx_int_t                          row;
} mailbox_message_t;


static ngx_int_t mailbox_enter(ngx_claude_zone_t *zone, ngx_log_t *log);
static ngx_int_t mailbox_bind(ngx_socket_t s, ngx_claude_zone_worker_t *self);
static void mailbox_filter(ngx_socket_t s, u_char *secret, ngx_log_t *log);
static void mailbox_read_handler(ngx_event_t *rev);
static void mailbox_self_handler(ngx_event_t *ev);
static void mailbox_empty_handler(ngx_event_t *ev);
static ngx_uint_t mailbox_wake_list(ngx_claude_zone_wake_t *wake,
    ngx_claude_zone_worker_t *dead);
static void mailbox_wake_all(ngx_claude_zone_t *zone);
static ngx_int_t mailbox_wake_worker(ngx_claude_zone_worker_t *worker);
static ngx_uint_t mailbox_dead(ngx_claude_zone_worker_t *worker,
    ngx_socket_t s);
static ngx_int_t mailbox_send(ngx_claude_zone_worker_t *worker,
    mailbox_kind_e kind, ngx_int_t row, ngx_fd_t fd);
static void mailbox_address(ngx_claude_zone_worker_t *worker,
    struct sockaddr_un *sa, socklen_t *len);
static ngx_int_t mailbox_read(ngx_connection_t *c);
static ngx_int_t mailbox_receive(ngx_connection_t *c,
    mailbox_message_t *message, ngx_fd_t *fd, struct ucred *cred);


static ngx_connection_t                     *mailbox;
static ngx_claude_zone_t                    *mailbox_zone;
static ngx_claude_zone_worker_t              mailbox_own;
static ngx_event_t                           mailbox_self;
static const ngx_claude_mailbox_handlers_t  *mailbox_handlers;


ngx_int_t
ngx_claude_mailbox_open(ngx_cycle_t *cycle, ngx_claude_zone_t *zone,
    const ngx_claude_mailbox_handlers_t *handlers)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1 || mailbox_bind(s, &mailbox_own) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_socket_errno,
                      "claude: the mailbox of this worker cannot be opened");
        goto failed;
    }

    mailbox_filter(s, mailbox_own.secret, cycle->log);

    c = ngx_get_connection(s, cycle->log);
    if (c == NULL) {
        goto failed;
    }

    c->read->handler = mailbox_read_handler;
    c->write->handler = mailbox_empty_handler;
    c->read->log = cycle->log;
    c->write->log = cycle->log;

    mailbox = c;
    mailbox_zone = zone;
    mailbox_handlers = handlers;
    mailbox_self.handler = mailbox_self_handler;
    mailbox_self.log = cycle->log;

    if (ngx_handle_read_event(c->read, 0) == NGX_OK
        && mailbox_enter(zone, cycle->log) == NGX_OK)
    {
        return NGX_OK;
    }

    ngx_close_connection(c);
    mailbox = NULL;

    return NGX_ERROR;

failed:

    if (s != (ngx_socket_t) -1) {
        (void) ngx_close_socket(s);
    }

    return NGX_ERROR;
}


void
ngx_claude_mailbox_close(void)
{
    ngx_claude_zone_wake_t  wake;

    if (mailbox == NULL) {
        return;
    }

    wake.n = 0;

    ngx_claude_zone_worker_free(mailbox_zone, &mailbox_own, &wake);
    ngx_claude_mailbox_wake(mailbox_zone, &wake);

    if (mailbox_self.posted) {
        ngx_delete_posted_event(&mailbox_self);
    }

    ngx_close_connection(mailbox);
    mailbox = NULL;
}


/* enters the zone; if dead workers have all the rows, frees those first */

static ngx_int_t
mailbox_enter(ngx_claude_zone_t *zone, ngx_log_t *log)
{
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;

    if (ngx_claude_zone_enter(zone, &mailbox_own, &wake) == NGX_OK) {
        ngx_claude_mailbox_wake(zone, &wake);
        return NGX_OK;
    }

    if (ngx_claude_mailbox_sweep(zone)
        && ngx_claude_zone_enter(zone, &mailbox_own, &wake) == NGX_OK)
    {
        /* the sweep was without a row of this worker's: wake all once more */

        mailbox_wake_all(zone);
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "claude_zone \"%V\" has no room for one more worker: "
                  "make it larger", &zone->shm_zone->shm.name);

    return NGX_ERROR;
}


/* gives the socket a name and a secret, and asks the kernel who sends */

static ngx_int_t
mailbox_bind(ngx_socket_t s, ngx_claude_zone_worker_t *self)
{
    int                 on;
    u_char              hex[2 * sizeof(uuid_t)];
    uuid_t              name;
    socklen_t           len;
    struct sockaddr_un  sa;

    uuid_generate_random(name);
    (void) ngx_hex_dump(hex, name, sizeof(uuid_t));

    self->address[0] = '\0';
    ngx_memcpy(self->address + 1, hex, NGX_CLAUDE_MAILBOX_LEN - 1);

    uuid_generate_random(self->secret);

    on = 1;
    mailbox_address(self, &sa, &len);

    return (setsockopt(s, SOL_SOCKET, SO_PASSCRED, &on, sizeof(int)) == 0
            && bind(s, (struct sockaddr *) &sa, len) == 0)
           ? NGX_OK : NGX_ERROR;
}


/*
 * Messages without the secret are dropped as they are sent, so that a flood of
 * them costs this worker nothing.  Where there is no such filter, the reader
 * finds them out.
 */

static void
mailbox_filter(ngx_socket_t s, u_char *secret, ngx_log_t *log)
{
    uint32_t            word;
    ngx_uint_t          i, n;
    struct sock_fprog   prog;
    struct sock_filter  code[MAILBOX_FILTER], *p;

    p = code;
    n = NGX_CLAUDE_SECRET_LEN / 4;

    for (i = 0; i < n; i++) {
        ngx_memcpy(&word, secret + 4 * i, sizeof(uint32_t));

        *p++ = (struct sock_filter) BPF_STMT(BPF_LD|BPF_W|BPF_ABS, 4 * i);
        *p++ = (struct sock_filter) BPF_JUMP(BPF_JMP|BPF_JEQ|BPF_K,
                                             ntohl(word), 0,
                                             2 * (n - i - 1) + 1);
    }

    *p++ = (struct sock_filter) BPF_STMT(BPF_RET|BPF_K, 0xffffffff);
    *p++ = (struct sock_filter) BPF_STMT(BPF_RET|BPF_K, 0);

    prog.len = MAILBOX_FILTER;
    prog.filter = code;

    if (setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog))
        == -1)
    {
        ngx_log_error(NGX_LOG_INFO, log, ngx_socket_errno,
                      "claude: messages of others to the mailbox are read, "
                      "and not filtered");
    }
}


void
ngx_claude_mailbox_wake(ngx_claude_zone_t *zone,
    ngx_claude_zone_wake_t *wake)
{
    ngx_uint_t                i, ndead, full;
    ngx_claude_zone_worker_t  dead[NGX_CLAUDE_ZONE_WAKE];

    /* each round frees a dead worker's row or grants a turn */

    while (wake->n) {
        full = (wake->n == NGX_CLAUDE_ZONE_WAKE);
        ndead = mailbox_wake_list(wake, dead);

        wake->n = 0;

        for (i = 0; i < ndead; i++) {
            ngx_claude_zone_worker_free(zone, &dead[i], wake);
        }

        if (ndead) {
            mailbox_wake_all(zone);
        }

        if (full || wake->n == NGX_CLAUDE_ZONE_WAKE) {
            ngx_claude_zone_grant(zone, wake);
        }
    }
}


/* wakes the workers of a list; returns how many are dead */

static ngx_uint_t
mailbox_wake_list(ngx_claude_zone_wake_t *wake,
    ngx_claude_zone_worker_t *dead)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < wake->n; i++) {
        if (mailbox_wake_worker(&wake->worker[i]) == NGX_DECLINED) {
            dead[n++] = wake->worker[i];
        }
    }

    return n;
}


/*
 * Wakes every worker: a dead one may have granted turns, or evicted processes,
 * and not told those whose they are.
 */

static void
mailbox_wake_all(ngx_claude_zone_t *zone)
{
    ngx_uint_t                at;
    ngx_claude_zone_worker_t  worker;

    at = 0;

    while (ngx_claude_zone_worker(zone, &at, &worker) == NGX_OK) {
        (void) mailbox_wake_worker(&worker);
    }
}


static ngx_int_t
mailbox_wake_worker(ngx_claude_zone_worker_t *worker)
{
    if (worker->pid == ngx_pid) {

        if (mailbox_self.handler) {
            ngx_post_event(&mailbox_self, &ngx_posted_events);
        }

        return NGX_OK;
    }

    /*
     * A mailbox that is full will be read after this moment, and its worker
     * then looks for all that it was granted: nothing is lost.
     */

    return mailbox_send(worker, MAILBOX_WAKE, -1, (ngx_fd_t) -1);
}


ngx_uint_t
ngx_claude_mailbox_sweep(ngx_claude_zone_t *zone)
{
    ngx_uint_t                at, n;
    ngx_socket_t              s;
    ngx_claude_zone_wake_t    wake;
    ngx_claude_zone_worker_t  worker;

    at = 0;
    n = 0;

    s = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    while (ngx_claude_zone_worker(zone, &at, &worker) == NGX_OK) {

        if (worker.pid == ngx_pid || !mailbox_dead(&worker, s)) {
            continue;
        }

        wake.n = 0;
        n++;

        ngx_claude_zone_worker_free(zone, &worker, &wake);
        ngx_claude_mailbox_wake(zone, &wake);
    }

    if (s != (ngx_socket_t) -1) {
        (void) ngx_close_socket(s);
    }

    if (n) {
        mailbox_wake_all(zone);
    }

    return n;
}


/*
 * Whether a worker is dead, by its mailbox first: that needs no /proc, and no
 * other process can have it by chance, as it can a pid.  s: a socket to
 * connect, which sends nothing; -1: none is to be had.
 */

static ngx_uint_t
mailbox_dead(ngx_claude_zone_worker_t *worker, ngx_socket_t s)
{
    socklen_t           len;
    struct sockaddr_un  sa;

    mailbox_address(worker, &sa, &len);

    if (s != (ngx_socket_t) -1
        && connect(s, (struct sockaddr *) &sa, len) == -1
        && ngx_socket_errno == NGX_ECONNREFUSED)
    {
        return 1;
    }

    return ngx_claude_proc_gone(worker->pid, worker->start);
}


ngx_int_t
ngx_claude_mailbox_ask(ngx_claude_zone_worker_t *worker,
    ngx_int_t row, ngx_socket_t s)
{
    return mailbox_send(worker, MAILBOX_ASK, row, s);
}


ngx_int_t
ngx_claude_mailbox_watch(ngx_claude_zone_worker_t *worker,
    ngx_fd_t fd)
{
    return mailbox_send(worker, MAILBOX_WATCH, -1, fd);
}


/*
 * fd: a descriptor to be sent along, or -1.  NGX_DECLINED: nobody listens
 * there any more; NGX_BUSY: the mailbox is full.
 */

static ngx_int_t
mailbox_send(ngx_claude_zone_worker_t *worker, mailbox_kind_e kind,
    ngx_int_t row, ngx_fd_t fd)
{
    struct iovec        iov;
    struct msghdr       msg;
    struct cmsghdr     *cmsg;
    mailbox_message_t   message;
    struct sockaddr_un  sa;
    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(ngx_fd_t))];
    } control;

    if (mailbox == NULL) {
        return NGX_BUSY;
    }

    /* the receiver's: a stranger who has its name now learns nothing */

    ngx_memcpy(message.secret, worker->secret, sizeof(message.secret));
    message.kind = kind;
    message.row = row;

    iov.iov_base = &message;
    iov.iov_len = sizeof(mailbox_message_t);

    ngx_memzero(&msg, sizeof(struct msghdr));
    mailbox_address(worker, &sa, &msg.msg_namelen);
    msg.msg_name = &sa;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (fd != (ngx_fd_t) -1) {
        ngx_memzero(&control, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_len = CMSG_LEN(sizeof(ngx_fd_t));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        ngx_memcpy(CMSG_DATA(cmsg), &fd, sizeof(ngx_fd_t));
    }

    if (sendmsg(mailbox->fd, &msg, MSG_DONTWAIT|MSG_NOSIGNAL) == -1) {
        return (ngx_socket_errno == NGX_ECONNREFUSED) ? NGX_DECLINED
                                                      : NGX_BUSY;
    }

    return NGX_OK;
}


static void
mailbox_address(ngx_claude_zone_worker_t *worker,
    struct sockaddr_un *sa, socklen_t *len)
{
    ngx_memzero(sa, sizeof(struct sockaddr_un));

    sa->sun_family = AF_UNIX;
    ngx_memcpy(sa->sun_path, worker->address, sizeof(worker->address));

    *len = offsetof(struct sockaddr_un, sun_path) + sizeof(worker->address);
}


static void
mailbox_read_handler(ngx_event_t *rev)
{
    ngx_int_t          rc;
    ngx_uint_t         i, woken;
    ngx_connection_t  *c;

    c = rev->data;
    rc = NGX_OK;
    woken = 0;

    for (i = 0; i < MAILBOX_READS && rc != NGX_AGAIN; i++) {
        rc = mailbox_read(c);
        woken |= (rc == NGX_OK);
    }

    if (rc != NGX_AGAIN) {
        ngx_post_event(rev, &ngx_posted_next_events);

    } else {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, rev->log, 0,
                          "claude: the mailbox cannot be watched, waiting "
                          "turns of this worker may time out");
        }
    }

    if (woken) {
        mailbox_handlers->woken();
    }
}


/* NGX_OK: a message; NGX_DECLINED: it does not count; NGX_AGAIN: none */

static ngx_int_t
mailbox_read(ngx_connection_t *c)
{
    ngx_fd_t           fd;
    ngx_int_t          rc;
    struct ucred       cred;
    mailbox_message_t  message;

    rc = mailbox_receive(c, &message, &fd, &cred);

    if (rc != NGX_OK) {
        return rc;
    }

    switch (message.kind) {

    case MAILBOX_ASK:

        /* a reload may have changed the user, and a process stays with its */

        if (cred.uid != geteuid()) {
            ngx_claude_rights_close(&fd, 1);
            return NGX_DECLINED;
        }

        if (fd != (ngx_fd_t) -1) {
            mailbox_handlers->asked(message.row, cred.pid, fd);
        }

        return NGX_OK;

    case MAILBOX_WATCH:
        if (fd != (ngx_fd_t) -1) {
            mailbox_handlers->watched(fd);
        }

        return NGX_OK;

    default:
        ngx_claude_rights_close(&fd, 1);
        return NGX_OK;
    }
}


/* a wake-up without a descriptor has fd -1, as has a message that lost it */

static ngx_int_t
mailbox_receive(ngx_connection_t *c, mailbox_message_t *message, ngx_fd_t *fd,
    struct ucred *cred)
{
    ssize_t        n;
    struct iovec   iov;
    struct msghdr  msg;
    union {
        struct cmsghdr  cm;
        char            space[ngx_claude_rights_space(1)];
    } control;

    iov.iov_base = message;
    iov.iov_len = sizeof(mailbox_message_t);

    ngx_memzero(&msg, sizeof(struct msghdr));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    n = recvmsg(c->fd, &msg, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);

    if (n == -1) {
        return (ngx_socket_errno == NGX_EINTR) ? NGX_DECLINED : NGX_AGAIN;
    }

    (void) ngx_claude_rights_take(&msg, fd, 1, cred);

    if (n == sizeof(mailbox_message_t) && !(msg.msg_flags & MSG_TRUNC)
        && ngx_memcmp(message->secret, mailbox_own.secret,
                      sizeof(message->secret))
           == 0)
    {
        return NGX_OK;
    }

    ngx_claude_rights_close(fd, 1);

    return NGX_DECLINED;
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
