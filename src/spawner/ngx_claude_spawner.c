
/*
 * Spawner, the worker's side: asks the spawner process to start CLIs and calls
 * back with its replies.
 *
 * It owns the spawner process, one a worker and started by the first request,
 * and the socket to it.  It must never block, and must never call a handler
 * from inside ngx_claude_spawner_spawn().
 *
 * The connection is not idle in nginx's sense: requests that still run in
 * a worker that shuts down may start CLIs, so it is closed at exit only.  It
 * has no timer and does not keep the worker from exiting.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_rights.h"
#include "ngx_claude_spawner.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_spawner_wire.h"
#include "ngx_claude_table.h"


/* ms after a spawner process that died without a reply; doubles each time */
#define NGX_CLAUDE_SPAWNER_DELAY     100
#define NGX_CLAUDE_SPAWNER_FAILURES  7


/* states of a spawn; a zeroed one is idle */
enum {
    ngx_claude_spawn_idle = 0,
    ngx_claude_spawn_waiting,     /* request not sent yet */
    ngx_claude_spawn_doomed,      /* failed() is to be called */
    ngx_claude_spawn_asked,
    ngx_claude_spawn_running
};


typedef struct {
    ngx_connection_t           *connection;   /* NULL: no spawner process */
    ngx_pid_t                   pid;
    char                       *name;         /* name in the log */
    ngx_msec_t                  started;      /* ngx_current_msec of the newest
                                                 try */
    ngx_uint_t                  failures;     /* failures in a row */
    ngx_uint_t                  replied;      /* unsigned  replied:1; */

    ngx_uint_t                  last_id;
    ngx_rbtree_t                spawns;       /* spawns that are not idle, by
                                                 id */
    ngx_rbtree_node_t           sentinel;
    ngx_queue_t                 waiting;
    ngx_queue_t                 doomed;
    ngx_event_t                 event;        /* posted while any are doomed */
} ngx_claude_spawner_t;


static void ngx_claude_spawner_init(void);
static size_t ngx_claude_spawner_size(ngx_claude_spawn_t *spawn,
    ngx_claude_spawner_request_t *request);
static u_char *ngx_claude_spawner_copy(u_char *p, const char *string);
static void ngx_claude_spawner_doom(ngx_claude_spawn_t *spawn, ngx_err_t err,
    ngx_uint_t stage);
static void ngx_claude_spawner_doomed_handler(ngx_event_t *ev);
static void ngx_claude_spawner_failed(ngx_claude_spawn_t *spawn, ngx_err_t err,
    const char *what);
static void ngx_claude_spawner_done(ngx_claude_spawn_t *spawn);
static ngx_claude_spawn_t *ngx_claude_spawner_find(uint64_t id);
static ngx_int_t ngx_claude_spawner_start(ngx_log_t *log);
static ngx_int_t ngx_claude_spawner_connect(ngx_socket_t *peer,
    ngx_log_t *log);
static ngx_pid_t ngx_claude_spawner_run(ngx_socket_t peer);
static void ngx_claude_spawner_limits(ngx_claude_spawner_limit_t *limits);
static ngx_int_t ngx_claude_spawner_limit(const char *text, const char *name,
    struct rlimit *limit);
static char *ngx_claude_spawner_name(void);
static void ngx_claude_spawner_slot(void);
static void ngx_claude_spawner_flush(void);
static ngx_int_t ngx_claude_spawner_send(ngx_claude_spawn_t *spawn,
    ngx_err_t *err);
static void ngx_claude_spawner_write_handler(ngx_event_t *wev);
static void ngx_claude_spawner_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_claude_spawner_recv(ngx_connection_t *c,
    ngx_claude_spawner_reply_t *reply, ngx_fd_t *fds);
static void ngx_claude_spawner_reply(ngx_claude_spawner_reply_t *reply,
    ngx_fd_t *fds);
static void ngx_claude_spawner_started(ngx_claude_spawn_t *spawn,
    ngx_claude_spawner_reply_t *reply, ngx_fd_t *fds);
static void ngx_claude_spawner_lost(void);
static void ngx_claude_spawner_close(void);


static const char  *ngx_claude_spawner_stages[] = {
    [NGX_CLAUDE_SPAWNER_REQUEST] = "request",
    [NGX_CLAUDE_SPAWNER_MEMORY] = "memory",
    [NGX_CLAUDE_SPAWNER_PIPE] = "pipe",
    [NGX_CLAUDE_SPAWNER_FORK] = "fork",
    [NGX_CLAUDE_SPAWNER_SETUP] = "setup",
    [NGX_CLAUDE_SPAWNER_CHDIR] = "chdir",
    [NGX_CLAUDE_SPAWNER_EXEC] = "exec",
    [NGX_CLAUDE_SPAWNER_DESCRIPTORS] = "descriptors",
    [NGX_CLAUDE_SPAWNER_KEEPER] = "keeper",
    [NGX_CLAUDE_SPAWNER_STATE] = "state",
    [NGX_CLAUDE_SPAWNER_RECORD] = "record",
    [NGX_CLAUDE_SPAWNER_LOCK] = "lock",
    [NGX_CLAUDE_SPAWNER_SPAWNER] = "spawner"
};

ngx_claude_table_check(ngx_claude_spawner_stages, NGX_CLAUDE_SPAWNER_STAGES);


/* the spawner of this worker */
static ngx_claude_spawner_t  spawner;


ngx_int_t
ngx_claude_spawner_spawn(ngx_claude_spawn_t *spawn, ngx_log_t *log)
{
    size_t                        size;
    ngx_claude_spawner_request_t  request;

    if ((ngx_process != NGX_PROCESS_WORKER
         && ngx_process != NGX_PROCESS_SINGLE)
        || spawn->state != ngx_claude_spawn_idle)
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "claude spawner: a CLI cannot be started here");
        return NGX_ERROR;
    }

    ngx_claude_spawner_init();

    spawn->node.key = ++spawner.last_id;
    ngx_rbtree_insert(&spawner.spawns, &spawn->node);

    spawn->state = ngx_claude_spawn_waiting;
    ngx_queue_insert_tail(&spawner.waiting, &spawn->queue);

    size = ngx_claude_spawner_size(spawn, &request);

    if (size > NGX_CLAUDE_SPAWNER_REQUEST_MAX
        || request.argc + request.envc > NGX_CLAUDE_SPAWNER_STRINGS_MAX)
    {
        ngx_claude_spawner_doom(spawn, E2BIG,
                                NGX_CLAUDE_SPAWNER_REQUEST);
        return NGX_OK;
    }

    if (spawner.connection == NULL
        && ngx_claude_spawner_start(log) != NGX_OK)
    {
        ngx_claude_spawner_doom(spawn, NGX_EAGAIN,
                                NGX_CLAUDE_SPAWNER_SPAWNER);
        return NGX_OK;
    }

    if (ngx_queue_head(&spawner.waiting) == &spawn->queue) {
        ngx_claude_spawner_flush();
    }

    return NGX_OK;
}


void
ngx_claude_spawner_forget(ngx_claude_spawn_t *spawn)
{
    if (spawn->state != ngx_claude_spawn_idle) {
        ngx_claude_spawner_done(spawn);
    }
}


/*
 * A sweep is one message, without a row in any table.  If the socket is full,
 * the next sweep will do.
 */

void
ngx_claude_spawner_sweep(const char *state, const char *transcripts,
    time_t ttl, ngx_log_t *log)
{
    u_char                             *p;
    size_t                              size;
    u_char                             *buf;
    ngx_claude_spawner_request_t        request;

    ngx_claude_spawner_init();

    if (spawner.connection == NULL
        && ngx_claude_spawner_start(log) != NGX_OK)
    {
        return;
    }

    ngx_memzero(&request, sizeof(ngx_claude_spawner_request_t));
    request.ask.ttl = (uint32_t) ttl;

    size = sizeof(ngx_claude_spawner_request_t)
           + ngx_strlen(state) + ngx_strlen(transcripts)
           + NGX_CLAUDE_SPAWNER_STRINGS;

    buf = ngx_alloc(size, log);
    if (buf == NULL) {
        return;
    }

    p = ngx_cpymem(buf, &request, sizeof(ngx_claude_spawner_request_t));
    p = ngx_claude_spawner_copy(p, "");
    p = ngx_claude_spawner_copy(p, state);
    p = ngx_claude_spawner_copy(p, transcripts);
    p = ngx_claude_spawner_copy(p, "");
    (void) ngx_claude_spawner_copy(p, "");

    if (send(spawner.connection->fd, buf, size, MSG_NOSIGNAL) == -1) {
        ngx_log_debug0(NGX_LOG_DEBUG_CORE, log, ngx_socket_errno,
                       "claude: sweep could not be asked for");
    }

    ngx_free(buf);
}


ngx_int_t
ngx_claude_spawner_record(ngx_fd_t lifeline,
    ngx_claude_record_t *record)
{
    /* less than PIPE_BUF: all of it or nothing */

    return (write(lifeline, record, sizeof(ngx_claude_record_t))
            == sizeof(ngx_claude_record_t)) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_claude_spawner_end(ngx_fd_t lifeline)
{
    /* anything that is no record */

    if (write(lifeline, "", 1) == 1) {
        return NGX_OK;
    }

    return (ngx_errno == NGX_EAGAIN) ? NGX_AGAIN : NGX_DECLINED;
}


void
ngx_claude_spawner_exit(ngx_cycle_t *cycle)
{
    if (spawner.event.handler == NULL) {
        return;
    }

    ngx_claude_spawner_close();

    if (spawner.event.posted) {
        ngx_delete_posted_event(&spawner.event);
    }

    /* spawns that the callers still hold are forgotten */

    while (spawner.spawns.root != &spawner.sentinel) {
        ngx_claude_spawner_done(
            ngx_rbtree_data(ngx_rbtree_min(spawner.spawns.root,
                                           &spawner.sentinel),
                            ngx_claude_spawn_t, node));
    }
}


static void
ngx_claude_spawner_init(void)
{
    if (spawner.event.handler) {
        return;
    }

    ngx_rbtree_init(&spawner.spawns, &spawner.sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&spawner.waiting);
    ngx_queue_init(&spawner.doomed);

    spawner.event.handler = ngx_claude_spawner_doomed_handler;
    spawner.event.log = ngx_cycle->log;
}


/* the bytes of a request; sets its counts */

static size_t
ngx_claude_spawner_size(ngx_claude_spawn_t *spawn,
    ngx_claude_spawner_request_t *request)
{
    size_t   size;
    char   **p;

    ngx_memzero(request, sizeof(ngx_claude_spawner_request_t));
    request->id = spawn->node.key;
    request->ask = spawn->ask;
    request->ungated = (uint32_t) spawn->ungated;
    request->home = (spawn->key ? NGX_CLAUDE_SPAWNER_KEY : 0)
                    | (spawn->made ? NGX_CLAUDE_SPAWNER_WORK : 0)
                    | (spawn->temporary ? NGX_CLAUDE_SPAWNER_TMP : 0);

    size = sizeof(ngx_claude_spawner_request_t)
           + ngx_strlen(spawn->binary) + 1
           + ngx_strlen(spawn->directory) + 1
           + (spawn->transcripts ? ngx_strlen(spawn->transcripts) : 0) + 1
           + (spawn->gate ? ngx_strlen(spawn->gate) : 0) + 1
           + ngx_strlen(spawn->config) + 1;

    for (p = spawn->argv; *p; p++) {
        size += ngx_strlen(*p) + 1;
        request->argc++;
    }

    for (p = spawn->envp; *p; p++) {
        size += ngx_strlen(*p) + 1;
        request->envc++;
    }

    return size;
}


static u_char *
ngx_claude_spawner_copy(u_char *p, const char *string)
{
    return ngx_cpymem(p, string, ngx_strlen(string) + 1);
}


/*
 * Calls failed() in the next round of the event loop, so that a caller that
 * tries again at once cannot keep the worker in this one.
 */

static void
ngx_claude_spawner_doom(ngx_claude_spawn_t *spawn, ngx_err_t err,
    ngx_uint_t stage)
{
    ngx_queue_remove(&spawn->queue);
    ngx_queue_insert_tail(&spawner.doomed, &spawn->queue);

    spawn->state = ngx_claude_spawn_doomed;
    spawn->error = err;
    spawn->what = ngx_claude_spawner_stages[stage];

    ngx_post_event(&spawner.event, &ngx_posted_next_events);
}


static void
ngx_claude_spawner_doomed_handler(ngx_event_t *ev)
{
    ngx_queue_t          doomed, *q;
    ngx_claude_spawn_t  *spawn;

    if (ngx_queue_empty(&spawner.doomed)) {
        return;
    }

    /* handlers may doom new ones, which is for the next round */

    ngx_queue_init(&doomed);
    ngx_queue_add(&doomed, &spawner.doomed);
    ngx_queue_init(&spawner.doomed);

    while (!ngx_queue_empty(&doomed)) {
        q = ngx_queue_head(&doomed);
        spawn = ngx_queue_data(q, ngx_claude_spawn_t, queue);

        ngx_claude_spawner_failed(spawn, spawn->error, spawn->what);
    }
}


static void
ngx_claude_spawner_failed(ngx_claude_spawn_t *spawn, ngx_err_t err,
    const char *what)
{
    ngx_claude_spawner_done(spawn);

    spawn->failed(spawn, err, what);
}


static void
ngx_claude_spawner_done(ngx_claude_spawn_t *spawn)
{
    if (spawn->state == ngx_claude_spawn_waiting
        || spawn->state == ngx_claude_spawn_doomed)
    {
        ngx_queue_remove(&spawn->queue);
    }

    ngx_rbtree_delete(&spawner.spawns, &spawn->node);

    spawn->state = ngx_claude_spawn_idle;
}


static ngx_claude_spawn_t *
ngx_claude_spawner_find(uint64_t id)
{
    ngx_rbtree_node_t  *node;

    node = spawner.spawns.root;

    while (node != &spawner.sentinel) {

        if (node->key == id) {
            return ngx_rbtree_data(node, ngx_claude_spawn_t, node);
        }

        node = (id < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* starts a spawner process; NGX_ERROR was logged; NGX_BUSY: too soon */

static ngx_int_t
ngx_claude_spawner_start(ngx_log_t *log)
{
    ngx_pid_t     pid;
    ngx_msec_t    delay;
    ngx_socket_t  peer;

    if (spawner.failures) {
        delay = (ngx_msec_t) NGX_CLAUDE_SPAWNER_DELAY
                << ngx_min(spawner.failures - 1,
                           NGX_CLAUDE_SPAWNER_FAILURES);

        if (ngx_current_msec - spawner.started < delay) {
            return NGX_BUSY;
        }
    }

    spawner.started = ngx_current_msec;
    spawner.replied = 0;

    if (ngx_claude_spawner_connect(&peer, log) != NGX_OK) {
        spawner.failures++;
        return NGX_ERROR;
    }

    pid = ngx_claude_spawner_run(peer);

    (void) ngx_close_socket(peer);

    if (pid == NGX_INVALID_PID) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "claude: the spawner process of this worker cannot be "
                      "started, so no CLI can; see the alert before this "
                      "line and the limits on processes and memory");

        ngx_claude_spawner_close();
        spawner.failures++;
        return NGX_ERROR;
    }

    spawner.pid = pid;

    return NGX_OK;
}


/* makes spawner.connection; the peer is the other end of its socket */

static ngx_int_t
ngx_claude_spawner_connect(ngx_socket_t *peer, ngx_log_t *log)
{
    int                size;
    ngx_socket_t       fd[2];
    ngx_connection_t  *c;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC|SOCK_NONBLOCK, 0, fd)
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_socket_errno,
                      "claude: socketpair() for the spawner process failed");
        return NGX_ERROR;
    }

    /* a few of the largest requests, as far as net.core.wmem_max allows */

    size = 2 * NGX_CLAUDE_SPAWNER_REQUEST_MAX;
    (void) setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(int));

    /* logs an alert if worker_connections are too few */

    c = ngx_get_connection(fd[0], ngx_cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(fd[0]);
        (void) ngx_close_socket(fd[1]);
        return NGX_ERROR;
    }

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    c->read->handler = ngx_claude_spawner_read_handler;
    c->read->log = c->log;

    c->write->handler = ngx_claude_spawner_write_handler;
    c->write->log = c->log;

    spawner.connection = c;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_claude_spawner_close();
        (void) ngx_close_socket(fd[1]);
        return NGX_ERROR;
    }

    *peer = fd[1];

    return NGX_OK;
}


static ngx_pid_t
ngx_claude_spawner_run(ngx_socket_t peer)
{
    sigset_t                          all, old;
    ngx_int_t                         slot;
    ngx_pid_t                         pid;
    ngx_claude_spawner_start_t        start;

    ngx_memzero(&start, sizeof(ngx_claude_spawner_start_t));

    if (ngx_claude_spawner_name() == NULL) {
        return NGX_INVALID_PID;
    }

    start.fd = peer;
    ngx_claude_spawner_limits(start.limits);

    ngx_claude_spawner_slot();
    slot = ngx_process_slot;

    /* signals wait for the child's own handlers: none may meet nginx's */

    sigfillset(&all);
    (void) sigprocmask(SIG_BLOCK, &all, &old);

    pid = ngx_spawn_process((ngx_cycle_t *) ngx_cycle,
                            ngx_claude_spawner_process, &start,
                            spawner.name, NGX_PROCESS_DETACHED);

    (void) sigprocmask(SIG_SETMASK, &old, NULL);

    ngx_process_slot = slot;

    return pid;
}


/*
 * A worker that exits unloads this module with the cycle's pool, and its
 * spawner process, which ends at the same time, is still logged by the signal
 * handler.  So the name must not be a literal of the module.  Never freed.
 */

static char *
ngx_claude_spawner_name(void)
{
    static const char  name[] = "claude spawner process";

    if (spawner.name == NULL) {
        spawner.name = ngx_alloc(sizeof(name), ngx_cycle->log);

        if (spawner.name) {
            ngx_memcpy(spawner.name, name, sizeof(name));
        }
    }

    return spawner.name;
}


/*
 * Limits that worker_rlimit_nofile and worker_rlimit_core changed in this
 * worker have their old values in the master.  If /proc hides it, they are not
 * known.
 */

static void
ngx_claude_spawner_limits(ngx_claude_spawner_limit_t *limits)
{
    u_char       path[sizeof("/proc//limits") + NGX_INT_T_LEN], buf[4096];
    ssize_t      n;
    ngx_fd_t     fd;
    const char  *text;

    limits[0].resource = RLIMIT_NOFILE;
    limits[1].resource = RLIMIT_CORE;

    if (ngx_process != NGX_PROCESS_WORKER) {
        return;
    }

    text = ngx_claude_cstr_print(path, sizeof(path), "/proc/%P/limits",
                                 ngx_parent);

    fd = open(text, O_RDONLY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return;
    }

    n = read(fd, buf, sizeof(buf) - 1);

    (void) close(fd);

    if (n <= 0) {
        return;
    }

    buf[n] = '\0';
    text = ngx_claude_cstr(buf);

    limits[0].known = (ngx_claude_spawner_limit(text, "Max open files",
                                                &limits[0].value)
                       == NGX_OK);

    limits[1].known = (ngx_claude_spawner_limit(text,
                                                "Max core file size",
                                                &limits[1].value)
                       == NGX_OK);
}


/* "Max open files   1024   524288   files" */

static ngx_int_t
ngx_claude_spawner_limit(const char *text, const char *name,
    struct rlimit *limit)
{
    rlim_t      *value;
    ngx_uint_t   i;
    const char  *p;

    p = ngx_strstr(text, name);

    if (p == NULL) {
        return NGX_ERROR;
    }

    p += ngx_strlen(name);

    for (i = 0; i < 2; i++) {
        value = i ? &limit->rlim_max : &limit->rlim_cur;

        while (*p == ' ') { p++; }

        if (ngx_strncmp(p, "unlimited", 9) == 0) {
            *value = RLIM_INFINITY;
            p += 9;
            continue;
        }

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        for (*value = 0; *p >= '0' && *p <= '9'; p++) {
            *value = *value * 10 + (*p - '0');
        }
    }

    return NGX_OK;
}


/*
 * Only the master frees slots in ngx_processes[], so a worker has to do it for
 * its own children.  Slots past ngx_last_process may be in use: the master
 * tells of its new workers by its own slot numbers (NGX_CMD_OPEN_CHANNEL), and
 * ngx_spawn_process() would overwrite such a channel.
 */

static void
ngx_claude_spawner_slot(void)
{
    ngx_int_t       i;
    ngx_process_t  *p;

    for (i = 0; i < ngx_last_process; i++) {
        p = &ngx_processes[i];

        if (p->proc == ngx_claude_spawner_process
            && p->exited
            && p->pid != -1
            && p->channel[0] == -1)
        {
            p->pid = -1;
        }

        if (p->pid == -1) {
            return;
        }
    }

    while (ngx_last_process < NGX_MAX_PROCESSES) {
        p = &ngx_processes[ngx_last_process];

        if (ngx_last_process == ngx_process_slot
            || p->pid == 0
            || p->pid == -1
            || p->channel[0] == -1)
        {
            return;
        }

        ngx_last_process++;
    }
}


static void
ngx_claude_spawner_flush(void)
{
    ngx_err_t            err;
    ngx_int_t            rc;
    ngx_queue_t         *q;
    ngx_connection_t    *c;
    ngx_claude_spawn_t  *spawn;

    c = spawner.connection;

    while (!ngx_queue_empty(&spawner.waiting)) {

        q = ngx_queue_head(&spawner.waiting);
        spawn = ngx_queue_data(q, ngx_claude_spawn_t, queue);

        rc = ngx_claude_spawner_send(spawn, &err);

        if (rc == NGX_OK) {
            ngx_queue_remove(q);
            spawn->state = ngx_claude_spawn_asked;
            continue;
        }

        if (rc == NGX_AGAIN) {
            c->write->ready = 0;

            if (ngx_handle_write_event(c->write, 0) == NGX_OK) {
                return;
            }

            break;
        }

        if (err == NGX_EPIPE || err == NGX_ECONNRESET || err == NGX_ENOTCONN) {
            break;
        }

        ngx_claude_spawner_doom(spawn, err,
                                err == E2BIG
                                ? NGX_CLAUDE_SPAWNER_REQUEST
                                : NGX_CLAUDE_SPAWNER_MEMORY);
    }

    if (ngx_queue_empty(&spawner.waiting)) {
        return;
    }

    /* the read handler will find the end of file and fail what waits */

    (void) shutdown(c->fd, SHUT_RDWR);
    ngx_post_event(c->read, &ngx_posted_next_events);
}


/* NGX_ERROR sets err; E2BIG: no request of this size is ever taken */

static ngx_int_t
ngx_claude_spawner_send(ngx_claude_spawn_t *spawn, ngx_err_t *err)
{
    char                               **s;
    size_t                               size;
    u_char                              *buf, *p;
    ssize_t                              n;
    ngx_claude_spawner_request_t         request;

    size = ngx_claude_spawner_size(spawn, &request);

    buf = ngx_alloc(size, ngx_cycle->log);
    if (buf == NULL) {
        *err = NGX_ENOMEM;
        return NGX_ERROR;
    }

    p = ngx_cpymem(buf, &request, sizeof(ngx_claude_spawner_request_t));
    p = ngx_claude_spawner_copy(p, spawn->binary);
    p = ngx_claude_spawner_copy(p, spawn->directory);
    p = ngx_claude_spawner_copy(p, spawn->transcripts
                                   ? spawn->transcripts : "");
    p = ngx_claude_spawner_copy(p, spawn->gate ? spawn->gate : "");
    p = ngx_claude_spawner_copy(p, spawn->config);

    for (s = spawn->argv; *s; s++) {
        p = ngx_claude_spawner_copy(p, *s);
    }

    for (s = spawn->envp; *s; s++) {
        p = ngx_claude_spawner_copy(p, *s);
    }

    do {
        n = send(spawner.connection->fd, buf, size, MSG_NOSIGNAL);
        *err = (n == -1) ? ngx_socket_errno : 0;

    } while (*err == NGX_EINTR);

    ngx_free(buf);

    if (n != -1) {
        return NGX_OK;
    }

    if (*err == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    if (*err == EMSGSIZE) {
        *err = E2BIG;
    }

    return NGX_ERROR;
}


static void
ngx_claude_spawner_write_handler(ngx_event_t *wev)
{
    if (spawner.connection == wev->data) {
        ngx_claude_spawner_flush();
    }
}


/* c->close is not obeyed, see above; c->error neither: exit will close it */

static void
ngx_claude_spawner_read_handler(ngx_event_t *rev)
{
    ngx_fd_t                          fds[NGX_CLAUDE_SPAWNER_FDS];
    ngx_int_t                         rc;
    ngx_connection_t                 *c;
    ngx_claude_spawner_reply_t        reply;

    c = rev->data;

    for ( ;; ) {
        rc = ngx_claude_spawner_recv(c, &reply, fds);

        if (rc == NGX_AGAIN) {
            rev->ready = 0;
            break;
        }

        if (rc != NGX_OK) {
            ngx_claude_spawner_lost();
            return;
        }

        spawner.replied = 1;
        spawner.failures = 0;

        ngx_claude_spawner_reply(&reply, fds);
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_claude_spawner_lost();
    }
}


/* fds are -1, or those that came; NGX_DONE: the spawner process has ended */

static ngx_int_t
ngx_claude_spawner_recv(ngx_connection_t *c,
    ngx_claude_spawner_reply_t *reply, ngx_fd_t *fds)
{
    ssize_t        n;
    struct iovec   iov;
    struct msghdr  msg;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(ngx_fd_t)
                                         * NGX_CLAUDE_SPAWNER_FDS)];
    } control;

    iov.iov_base = reply;
    iov.iov_len = sizeof(ngx_claude_spawner_reply_t);

    do {
        ngx_memzero(&msg, sizeof(struct msghdr));
        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);

        n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);

    } while (n == -1 && ngx_socket_errno == NGX_EINTR);

    if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    if (n == -1) {
        return NGX_DONE;
    }

    /* descriptors come all or none: a CLI without one of them is of no use */

    (void) ngx_claude_rights_take(&msg, fds, NGX_CLAUDE_SPAWNER_FDS,
                                  NULL);

    if (n != sizeof(ngx_claude_spawner_reply_t)) {
        ngx_claude_rights_close(fds, NGX_CLAUDE_SPAWNER_FDS);
        return NGX_DONE;
    }

    return NGX_OK;
}


static void
ngx_claude_spawner_reply(ngx_claude_spawner_reply_t *reply,
    ngx_fd_t *fds)
{
    ngx_uint_t           stage;
    ngx_claude_spawn_t  *spawn;

    spawn = ngx_claude_spawner_find(reply->id);

    if (spawn == NULL) {

        /* forgotten: this ends a CLI that has just started */

        ngx_claude_rights_close(fds, NGX_CLAUDE_SPAWNER_FDS);
        return;
    }

    if (reply->type == NGX_CLAUDE_SPAWNER_STARTED) {
        ngx_claude_spawner_started(spawn, reply, fds);
        return;
    }

    ngx_claude_rights_close(fds, NGX_CLAUDE_SPAWNER_FDS);

    switch (reply->type) {

    case NGX_CLAUDE_SPAWNER_EXITED:
        ngx_claude_spawner_done(spawn);
        spawn->exited(spawn, reply->code);
        break;

    default: /* NGX_CLAUDE_SPAWNER_FAILED */
        stage = ngx_min(reply->stage, NGX_CLAUDE_SPAWNER_SPAWNER);

        ngx_claude_spawner_failed(spawn, reply->code,
                                  ngx_claude_spawner_stages[stage]);
    }
}


static void
ngx_claude_spawner_started(ngx_claude_spawn_t *spawn,
    ngx_claude_spawner_reply_t *reply, ngx_fd_t *fds)
{
    ngx_claude_spawned_t  child;

    /* the kernel drops descriptors beyond the worker's RLIMIT_NOFILE */

    if (fds[0] == -1) {
        ngx_claude_spawner_failed(spawn, NGX_EMFILE,
            ngx_claude_spawner_stages
                [NGX_CLAUDE_SPAWNER_DESCRIPTORS]);
        return;
    }

    child.pid = reply->pid;
    child.start = reply->start;
    child.in = fds[0];
    child.out = fds[1];
    child.err = fds[2];
    child.lifeline = fds[3];
    child.record = reply->resumed ? &reply->record : NULL;
    child.gate = reply->gate;

    spawn->state = ngx_claude_spawn_running;

    spawn->started(spawn, &child);
}


/* the spawner process is gone: what it had to do has failed */

static void
ngx_claude_spawner_lost(void)
{
    ngx_uint_t           last;
    ngx_rbtree_node_t   *node;
    ngx_claude_spawn_t  *spawn;

    if (!spawner.replied) {
        spawner.failures++;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "claude: spawner process %P of this worker ended%s, and its "
                  "CLIs with it; the next start of a CLI starts another",
                  spawner.pid,
                  spawner.replied ? "" : " before it started any CLI");

    ngx_claude_spawner_close();

    /* handlers may start new ones, which have higher numbers */

    last = spawner.last_id;

    while (spawner.spawns.root != &spawner.sentinel) {

        node = ngx_rbtree_min(spawner.spawns.root, &spawner.sentinel);

        if (node->key > last) {
            break;
        }

        spawn = ngx_rbtree_data(node, ngx_claude_spawn_t, node);

        if (spawn->state == ngx_claude_spawn_running) {
            ngx_claude_spawner_done(spawn);
            spawn->exited(spawn, -1);

        } else {
            ngx_claude_spawner_failed(spawn, NGX_ECONNRESET,
                ngx_claude_spawner_stages
                    [NGX_CLAUDE_SPAWNER_SPAWNER]);
        }
    }
}


static void
ngx_claude_spawner_close(void)
{
    ngx_connection_t  *c;

    c = spawner.connection;

    if (c == NULL) {
        return;
    }

    spawner.connection = NULL;

    /* a child being forked may have a copy, which epoll would go on for */

    if ((ngx_event_flags & NGX_USE_EPOLL_EVENT) && c->read->active) {
        (void) ngx_del_conn(c, 0);
    }

    ngx_close_connection(c);
}
