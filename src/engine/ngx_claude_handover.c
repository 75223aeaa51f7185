
/*
 * Hand-over.  See the header.
 */


#include "ngx_claude_handover.h"
#include "ngx_claude_driver.h"
#include "ngx_claude_mailbox.h"
#include "ngx_claude_pool.h"
#include "ngx_claude_rights.h"
#include "ngx_claude_version.h"


/*
 * How long an owner may take, msec, and a little more when it has begun: about
 * what a new process would take instead.
 */
#define HANDOVER_WAIT   500
#define HANDOVER_MORE   20

/* messages of a conversation that may go along; longer ones are replayed */
#define HANDOVER_HELD   4096

#define HANDOVER_FDS    4

/* calls whose results it waits for, likewise, and the length of their ids */
#define HANDOVER_CALLS  64
#define HANDOVER_ID     63


/* first through the socket; then the held messages, then the calls */
typedef struct {
    u_char                        version[16];   /* layouts may differ */
    size_t                        size;
    ngx_pid_t                     pid;
    uint64_t                      start;
    ngx_claude_holding_t          holding;
    ngx_claude_bill_t             bill;      /* the account is in the zone */
} handover_head_t;


typedef struct {
    u_char                        id[HANDOVER_ID + 1];
    u_char                        request[HANDOVER_ID + 1];
    ngx_int_t                     rpc;
} handover_call_t;


typedef struct {
    ngx_claude_turn_t            *turn;
    ngx_connection_t             *connection;
    ngx_int_t                     row;
    ngx_pid_t                     giver;
    ngx_uint_t                    more;
} handover_t;


static void handover_read_handler(ngx_event_t *rev);
static void handover_empty_handler(ngx_event_t *ev);
static void handover_timeout(handover_t *handover);
static void handover_done(handover_t *handover, ngx_claude_seat_t *seat);
static ngx_claude_seat_t *handover_last(handover_t *handover);
static ngx_int_t handover_unask(handover_t *handover);
static void handover_missed(handover_t *handover);
static ngx_int_t handover_receive(handover_t *handover,
    ngx_claude_seat_t **seat);
static ngx_claude_seat_t *handover_adopt(handover_t *handover,
    handover_head_t *head, size_t len, ngx_fd_t *fds);
static ngx_claude_profile_t *handover_profile(handover_head_t *head,
    size_t len);
static ngx_uint_t handover_calls_fit(ngx_claude_seat_t *seat);
static ngx_int_t handover_calls(ngx_claude_seat_t *seat,
    handover_call_t *from, ngx_uint_t n);
static ngx_int_t handover_send(ngx_socket_t s, ngx_claude_seat_t *seat,
    ngx_fd_t *fds);


static ngx_claude_handover_conf_t  *handover_conf;


void
ngx_claude_handover_init(ngx_claude_handover_conf_t *conf)
{
    handover_conf = conf;
}


ngx_int_t
ngx_claude_handover_ask(ngx_claude_turn_t *turn,
    ngx_claude_zone_idle_t *what)
{
    int                       on;
    ngx_int_t                 rc, row;
    ngx_socket_t              s[2];
    handover_t               *handover, asked;
    ngx_connection_t         *c;
    ngx_claude_zone_worker_t  worker;

    if (ngx_claude_zone_process_ask(handover_conf->zone, what, &row,
                                    &worker)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    on = 1;
    handover = ngx_pcalloc(turn->pool, sizeof(handover_t));

    if (handover == NULL
        || socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, s)
           == -1)
    {
        goto failed;
    }

    c = NULL;

    if (setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(int)) == 0) {
        c = ngx_get_connection(s[0], ngx_cycle->log);
    }

    if (c == NULL) {
        (void) close(s[0]);
        (void) close(s[1]);
        goto failed;
    }

    handover->turn = turn;
    handover->connection = c;
    handover->row = row;
    handover->giver = worker.pid;

    c->data = handover;
    c->read->handler = handover_read_handler;
    c->write->handler = handover_empty_handler;
    c->read->log = c->log;
    c->write->log = c->log;

    rc = NGX_ERROR;

    if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
        rc = ngx_claude_mailbox_ask(&worker, row, s[1]);
    }

    (void) close(s[1]);

    if (rc != NGX_OK) {
        ngx_close_connection(c);
        goto failed;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                   "claude: worker %P is asked for its process in row %i",
                   worker.pid, row);

    ngx_add_timer(c->read, HANDOVER_WAIT);

    turn->engine.handover = handover;

    return NGX_OK;

failed:

    asked.row = row;
    (void) handover_unask(&asked);

    return NGX_DECLINED;
}


void
ngx_claude_handover_cancel(ngx_claude_turn_t *turn)
{
    handover_t         *handover;
    ngx_claude_seat_t  *seat;

    handover = turn->engine.handover;

    if (handover == NULL) {
        return;
    }

    turn->engine.handover = NULL;

    if (handover_unask(handover) == NGX_DECLINED) {
        seat = handover_last(handover);

        if (seat) {
            handover_conf->stray(seat);
        }
    }

    ngx_close_connection(handover->connection);
}


void
ngx_claude_handover_give(ngx_int_t row, ngx_pid_t taker, ngx_socket_t s)
{
    ngx_fd_t            fds[HANDOVER_FDS];
    ngx_claude_seat_t  *seat;

    seat = ngx_claude_pool_find(row);

    /* closing the socket is the answer "no" */

    if (seat && !seat->holding.used) {
        ngx_claude_profile_look(seat->process->profile);

        if (ngx_claude_holding_outdated(&seat->holding,
                                        seat->process->profile))
        {
            ngx_claude_driver_end(seat);
            seat = NULL;
        }
    }

    if (seat == NULL || seat->held.nelts > HANDOVER_HELD
        || !handover_calls_fit(seat)
        || ngx_claude_zone_process_give(handover_conf->zone, row, taker)
           != NGX_OK)
    {
        (void) close(s);
        return;
    }

    if (ngx_claude_process_release(seat->process, fds) == NGX_OK
        && handover_send(s, seat, fds) == NGX_OK)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, seat->process->log, 0,
                       "claude: process %P goes to worker %P",
                       seat->process->pid, taker);

        ngx_claude_driver_give(seat);

    } else {
        if (ngx_claude_zone_process_keep(handover_conf->zone, row, taker)
            != NGX_OK)
        {
            seat->process_row = -1;
        }

        ngx_claude_driver_end(seat);
    }

    (void) close(s);
}


static void
handover_read_handler(ngx_event_t *rev)
{
    handover_t         *handover;
    ngx_connection_t   *c;
    ngx_claude_seat_t  *seat;

    c = rev->data;
    handover = c->data;

    if (rev->timedout) {
        rev->timedout = 0;
        handover_timeout(handover);
        return;
    }

    if (handover_receive(handover, &seat) == NGX_AGAIN) {

        if (ngx_handle_read_event(rev, 0) != NGX_OK) {
            handover_timeout(handover);
        }

        return;
    }

    /*
     * The owner said no: the row is as it was, if it is still there.  Or it
     * died when it had given the row, and not yet the process.
     */

    if (seat == NULL && handover_unask(handover) == NGX_DECLINED) {
        handover_missed(handover);
    }

    handover_done(handover, seat);
}


static void
handover_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "claude: hand-over event");
}


static void
handover_timeout(handover_t *handover)
{
    ngx_claude_seat_t  *seat;

    seat = NULL;

    if (handover_unask(handover) == NGX_DECLINED
        && handover_receive(handover, &seat) == NGX_AGAIN)
    {
        /* the row is ours already, so the process is about to come */

        if (handover->more++ < 5) {
            ngx_add_timer(handover->connection->read, HANDOVER_MORE);
            return;
        }

        seat = handover_last(handover);
    }

    handover_done(handover, seat);
}


/*
 * Takes what came so far and nothing after it: the owner's sendmsg() fails
 * from now on, so that the owner keeps the row and ends the process.
 */

static ngx_claude_seat_t *
handover_last(handover_t *handover)
{
    ngx_claude_seat_t  *seat;

    (void) shutdown(handover->connection->fd, SHUT_RD);

    (void) handover_receive(handover, &seat);

    return seat;
}


/* NGX_DECLINED: too late, the row is this worker's */

static ngx_int_t
handover_unask(handover_t *handover)
{
    ngx_int_t               rc;
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;

    rc = ngx_claude_zone_process_unask(handover_conf->zone,
                                       handover->row, &wake);

    ngx_claude_mailbox_wake(handover_conf->zone, &wake);

    return rc;
}


/* the row was given, and nothing will come that could be in it */

static void
handover_missed(handover_t *handover)
{
    ngx_claude_zone_wake_t  wake;

    wake.n = 0;

    ngx_claude_zone_process_missed(handover_conf->zone, handover->row,
                                   handover->giver, &wake);
    ngx_claude_mailbox_wake(handover_conf->zone, &wake);
}


static void
handover_done(handover_t *handover, ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = handover->turn;
    turn->engine.handover = NULL;

    if (seat) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                       "claude: process %P came from worker %P",
                       seat->process->pid, handover->giver);
    } else {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                       "claude: no process came from worker %P",
                       handover->giver);
    }

    ngx_close_connection(handover->connection);

    handover_conf->handed(turn, seat);
}


/* NGX_OK: *process, or NULL where the owner said no; NGX_AGAIN: not yet */

static ngx_int_t
handover_receive(handover_t *handover, ngx_claude_seat_t **seat)
{
    static u_char  buf[sizeof(handover_head_t)
                       + HANDOVER_HELD * sizeof(ngx_claude_held_t)
                       + HANDOVER_CALLS * sizeof(handover_call_t)];

    ssize_t        n;
    ngx_fd_t       fds[HANDOVER_FDS];
    ngx_int_t      rc;
    struct ucred   cred;
    struct iovec   iov;
    struct msghdr  msg;
    union {
        struct cmsghdr  cm;
        char            space[ngx_claude_rights_space(HANDOVER_FDS)];
    } control;

    *seat = NULL;

    iov.iov_base = buf;
    iov.iov_len = sizeof(buf);

    ngx_memzero(&msg, sizeof(struct msghdr));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    do {
        n = recvmsg(handover->connection->fd, &msg, MSG_CMSG_CLOEXEC);

    } while (n == -1 && ngx_errno == NGX_EINTR);

    if (n == -1 && ngx_errno == NGX_EAGAIN) {
        handover->connection->read->ready = 0;
        return NGX_AGAIN;
    }

    if (n <= 0) {
        return NGX_OK;
    }

    rc = ngx_claude_rights_take(&msg, fds, HANDOVER_FDS, &cred);

    /*
     * A stranger cannot have the other end of the socket, unless it had the
     * name of the owner's mailbox; it would be a process of its own making
     * that it sends.
     */

    if (rc != NGX_OK || (msg.msg_flags & MSG_TRUNC)
        || cred.uid != geteuid() || cred.pid != handover->giver
        || ngx_claude_zone_process_took(handover_conf->zone,
                                        handover->row, handover->giver)
           != NGX_OK)
    {
        ngx_claude_rights_close(fds, HANDOVER_FDS);
        handover_missed(handover);
        return NGX_OK;
    }

    *seat = handover_adopt(handover, (handover_head_t *) buf, n, fds);

    return NGX_OK;
}


/* NULL: the descriptors are closed, which ends the process */

static ngx_claude_seat_t *
handover_adopt(handover_t *handover, handover_head_t *head, size_t len,
    ngx_fd_t *fds)
{
    ngx_claude_held_t     *held;
    ngx_claude_seat_t     *seat;
    ngx_claude_profile_t  *profile;

    profile = handover_profile(head, len);

    if (profile == NULL) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "claude: a process of another version or configuration "
                      "is not taken over");

        ngx_claude_rights_close(fds, HANDOVER_FDS);
        ngx_claude_driver_free_row(handover->row);

        return NULL;
    }

    seat = ngx_claude_driver_adopt(profile, handover_conf->max_line,
                                   handover->row, head->pid, head->start,
                                   fds);
    if (seat == NULL) {
        return NULL;
    }

    held = (ngx_claude_held_t *) (head + 1);

    if (ngx_claude_driver_holds(seat, &head->holding, held, &head->bill)
        != NGX_OK
        || handover_calls(seat,
                          (handover_call_t *) (held + head->holding.nheld),
                          head->holding.ncalls)
           != NGX_OK)
    {
        ngx_claude_driver_end(seat);
        return NULL;
    }

    return seat;
}


/* the profile of what came, of the length; NULL: it is not understood here */

static ngx_claude_profile_t *
handover_profile(handover_head_t *head, size_t len)
{
    ngx_uint_t              i;
    ngx_claude_profile_t  **profile;
    ngx_claude_holding_t   *holding;

    holding = &head->holding;

    if (len < sizeof(handover_head_t)
        || ngx_strncmp(head->version, NGX_CLAUDE_VERSION,
                       sizeof(head->version))
           != 0
        || head->size != sizeof(handover_head_t)
        || holding->nheld > HANDOVER_HELD || holding->ncalls > HANDOVER_CALLS
        || len - sizeof(handover_head_t)
           != holding->nheld * sizeof(ngx_claude_held_t)
              + holding->ncalls * sizeof(handover_call_t))
    {
        return NULL;
    }

    profile = handover_conf->profiles->elts;

    for (i = 0; i < handover_conf->profiles->nelts; i++) {
        if (ngx_claude_hash_same(&profile[i]->hash, &holding->profile)) {
            return profile[i];
        }
    }

    return NULL;
}


/* ids that fit are those of every CLI and model that we know */

static ngx_uint_t
handover_calls_fit(ngx_claude_seat_t *seat)
{
    ngx_uint_t          i;
    ngx_claude_call_t  *call;

    call = seat->calls.elts;

    for (i = 0; i < seat->calls.nelts; i++) {
        if (call[i].id.len > HANDOVER_ID || call[i].request.len > HANDOVER_ID)
        {
            return 0;
        }
    }

    return seat->calls.nelts <= HANDOVER_CALLS;
}


static ngx_int_t
handover_calls(ngx_claude_seat_t *seat, handover_call_t *from,
    ngx_uint_t n)
{
    ngx_str_t   id, request;
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        id.data = from[i].id;
        id.len = strnlen((char *) from[i].id, HANDOVER_ID);
        request.data = from[i].request;
        request.len = strnlen((char *) from[i].request, HANDOVER_ID);

        if (ngx_claude_driver_waits(seat, &id, &request, from[i].rpc)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
handover_send(ngx_socket_t s, ngx_claude_seat_t *seat,
    ngx_fd_t *fds)
{
    static handover_call_t  calls[HANDOVER_CALLS];

    ssize_t                 n;
    ngx_uint_t              i;
    struct iovec            iov[3];
    struct msghdr           msg;
    struct cmsghdr         *cmsg;
    handover_head_t         head;
    ngx_claude_call_t      *call;
    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(HANDOVER_FDS * sizeof(ngx_fd_t))];
    } control;

    ngx_memzero(&head, sizeof(handover_head_t));

    ngx_cpystrn(head.version, (u_char *) NGX_CLAUDE_VERSION,
                sizeof(head.version));
    head.size = sizeof(handover_head_t);
    head.pid = seat->process->pid;
    head.start = seat->process->start;
    head.holding = seat->holding;
    head.bill = seat->bill;

    ngx_memzero(calls, sizeof(calls));
    call = seat->calls.elts;

    for (i = 0; i < seat->calls.nelts; i++) {
        ngx_memcpy(calls[i].id, call[i].id.data, call[i].id.len);
        ngx_memcpy(calls[i].request, call[i].request.data,
                   call[i].request.len);
        calls[i].rpc = call[i].rpc;
    }

    iov[0].iov_base = &head;
    iov[0].iov_len = sizeof(handover_head_t);
    iov[1].iov_base = seat->held.elts;
    iov[1].iov_len = seat->held.nelts * sizeof(ngx_claude_held_t);
    iov[2].iov_base = calls;
    iov[2].iov_len = seat->calls.nelts * sizeof(handover_call_t);

    ngx_memzero(&msg, sizeof(struct msghdr));
    ngx_memzero(&control, sizeof(control));
    msg.msg_iov = iov;
    msg.msg_iovlen = 3;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_len = CMSG_LEN(HANDOVER_FDS * sizeof(ngx_fd_t));
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    ngx_memcpy(CMSG_DATA(cmsg), fds, HANDOVER_FDS * sizeof(ngx_fd_t));

    do {
        n = sendmsg(s, &msg, MSG_DONTWAIT|MSG_NOSIGNAL);

    } while (n == -1 && ngx_errno == NGX_EINTR);

    if (n == -1) {
        ngx_log_error(NGX_LOG_NOTICE, seat->process->log, ngx_errno,
                      "claude: process %P could not be handed over",
                      seat->process->pid);
        return NGX_ERROR;
    }

    return NGX_OK;
}
