
/*
 * Peers: who tells that a worker died, and frees what it held in the zone.
 *
 * The workers of a zone, of all generations, are a ring, in the order of
 * their rows: each watches the one that follows it.  To watch is to make
 * a pipe, to keep its reading end and to send the other one to the mailbox of
 * the watched, which keeps it and does nothing with it: the kernel closes it
 * when the worker dies, however it does, or when the mailbox dies with the
 * message in it.  The end of file is an event, needs neither /proc nor a pidfd
 * nor any right, and cannot be about another process that has the pid by now.
 *
 * Who sees it looks at all workers, not only at the one that it watched, and
 * then watches the one that follows now.  So:
 *
 * - One dies, a worker in service, one that shuts down, or one that waits in
 *   the queue only: the one before it in the ring frees what it held.
 * - Several die at once: where there are living and dead ones in a ring, a
 *   living one comes before a dead one, sees it, and finds the others too.
 * - One dies while somebody looks: either the look finds it dead, or the watch
 *   that follows the look finds it so, or that watch ends.
 * - All die: whoever starts next looks at all before it serves anybody.  If
 *   nobody starts any more (the master is dead as well, or waits for the last
 *   one), there is nobody to miss a place: the zone is memory of these
 *   processes, and goes with the last.
 * - It dies with the zone locked: the master, or who waits, unlocks it, see
 *   zone_lock(); the dirty mark has the sums made anew.
 * - It dies while it frees what another held: its watcher finds both.
 * - Its spawner dies, or both: that is no worker and holds nothing in the
 *   zone.  What a dead spawner's CLIs held is freed by their worker.
 * - A worker comes, and takes its place in the ring: it watches the next one,
 *   which lets go of the pipe that it held for the one before; that is an end
 *   of file, too, upon which that one looks, and finds the new one to watch.
 *   A worker that was alone and watched nobody begins when it is watched.
 * - A worker leaves in order: it frees what it holds itself.
 *
 * Spawners do see their worker die, and outlive it, but they must not touch
 * the zone: nobody would unlock it if one of them died in its turn.
 */


#include "ngx_claude_peers.h"
#include "ngx_claude_mailbox.h"


/*
 * Before a worker is watched again that let go of its pipe and lives, or could
 * not take it, msec; doubles each time.
 */
#define PEERS_DELAY      10
#define PEERS_DELAY_MAX  1000


static void peers_look(void);
static ngx_int_t peers_watch(ngx_claude_zone_worker_t *worker);
static void peers_later(void);
static void peers_unwatch(void);
static ngx_uint_t peers_same(ngx_claude_zone_worker_t *worker);
static void peers_read_handler(ngx_event_t *rev);
static void peers_empty_handler(ngx_event_t *ev);
static void peers_timer_handler(ngx_event_t *ev);


static ngx_claude_zone_t              *peers_zone;
static ngx_claude_zone_worker_t        peers_next;        /* the one watched
                                                             last */
static ngx_connection_t               *peers_connection;  /* NULL: nobody is
                                                             watched */
static ngx_fd_t                        peers_held = (ngx_fd_t) -1;
static ngx_event_t                     peers_timer;
static ngx_msec_t                      peers_delay;
static ngx_connection_t                peers_dummy;


void
ngx_claude_peers_init(ngx_claude_zone_t *zone)
{
    peers_zone = zone;
    peers_delay = PEERS_DELAY;

    ngx_memzero(&peers_next, sizeof(ngx_claude_zone_worker_t));
    ngx_memzero(&peers_timer, sizeof(ngx_event_t));

    /* ngx_event_ident() of debug logs looks for a connection */

    peers_dummy.fd = (ngx_socket_t) -1;

    peers_timer.handler = peers_timer_handler;
    peers_timer.data = &peers_dummy;
    peers_timer.log = ngx_cycle->log;
    peers_timer.cancelable = 1;

    peers_look();
}


void
ngx_claude_peers_exit(void)
{
    peers_unwatch();

    if (peers_timer.timer_set) {
        ngx_del_timer(&peers_timer);
    }

    if (peers_held != (ngx_fd_t) -1) {
        (void) close(peers_held);
        peers_held = (ngx_fd_t) -1;
    }

    peers_zone = NULL;
}


void
ngx_claude_peers_watched(ngx_fd_t fd)
{
    if (peers_zone == NULL) {
        (void) close(fd);
        return;
    }

    /* two workers watch this one: the newer one is right */

    if (peers_held != (ngx_fd_t) -1) {
        (void) close(peers_held);
    }

    peers_held = fd;

    if (peers_connection == NULL && !peers_timer.timer_set) {
        peers_look();
    }
}


/* frees what the dead have left, and watches who follows then */

static void
peers_look(void)
{
    ngx_int_t                 rc;
    ngx_uint_t                dead;
    ngx_claude_zone_worker_t  next;

    peers_unwatch();

    do {
        dead = ngx_claude_mailbox_sweep(peers_zone);

        if (ngx_claude_zone_worker_next(peers_zone, &next) != NGX_OK) {
            return;
        }

        if (dead || !peers_same(&next)) {
            peers_delay = PEERS_DELAY;
            peers_next = next;

        } else if (!peers_timer.timedout) {

            /* the worker that was watched till now is well: wait, not spin */

            peers_later();
            return;
        }

        peers_timer.timedout = 0;
        rc = peers_watch(&next);

        /* NGX_DECLINED: the worker has died since its row was read */

    } while (rc == NGX_DECLINED);

    if (rc != NGX_OK) {
        peers_later();
    }
}


/* watches a worker.  NGX_DECLINED: it is dead; NGX_BUSY, NGX_ERROR: not now */

static ngx_int_t
peers_watch(ngx_claude_zone_worker_t *worker)
{
    int                fd[2];
    ngx_int_t          rc;
    ngx_connection_t  *c;

    if (pipe2(fd, O_CLOEXEC|O_NONBLOCK) == -1) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "claude: pipe2() to watch worker %P failed",
                      worker->pid);
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd[0], ngx_cycle->log);

    if (c == NULL) {
        (void) close(fd[0]);
        (void) close(fd[1]);
        return NGX_ERROR;
    }

    c->read->handler = peers_read_handler;
    c->write->handler = peers_empty_handler;
    c->read->log = c->log;
    c->write->log = c->log;

    rc = NGX_ERROR;

    if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
        rc = ngx_claude_mailbox_watch(worker, fd[1]);
    }

    (void) close(fd[1]);

    if (rc != NGX_OK) {
        ngx_close_connection(c);
        return rc;
    }

    peers_connection = c;

    return NGX_OK;
}


static void
peers_later(void)
{
    ngx_add_timer(&peers_timer, peers_delay);

    peers_delay = ngx_min(2 * peers_delay, PEERS_DELAY_MAX);
}


static void
peers_unwatch(void)
{
    if (peers_connection) {
        ngx_close_connection(peers_connection);
        peers_connection = NULL;
    }
}


static ngx_uint_t
peers_same(ngx_claude_zone_worker_t *worker)
{
    return ngx_memcmp(worker->address, peers_next.address,
                      sizeof(worker->address))
           == 0;
}


static void
peers_read_handler(ngx_event_t *rev)
{
    u_char             c[1];
    ssize_t            n;
    ngx_connection_t  *watch;

    watch = rev->data;

    /* worker_shutdown_timeout calls this though nothing happened */

    n = read(watch->fd, c, 1);

    if (n == -1 && (ngx_errno == NGX_EAGAIN || ngx_errno == NGX_EINTR)) {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) == NGX_OK) {
            return;
        }
    }

    peers_look();
}


static void
peers_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "claude: peers event");
}


static void
peers_timer_handler(ngx_event_t *ev)
{
    /* set by ngx_event_expire_timers(): this one may watch the same again */

    peers_look();
}
