
/*
 * Spawner, private: the spawner process, one a worker.
 *
 * It takes requests from its worker, makes the pipes, forks a keeper for each
 * CLI, and passes the keepers' replies on.  It owns the table of keepers, and
 * the worker's ends of the pipes until they are sent.  It outlives its worker
 * until the last keeper has ended.
 *
 * It is forked from a worker that may have threads: it must call
 * async-signal-safe functions only, take memory from mmap(), write no log,
 * and leave by _exit().  It must never block but in poll().
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_spawner_child.h"
#include "ngx_claude_spawner_wire.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>


#define NGX_CLAUDE_SPAWNER_SOCKET        3
#define NGX_CLAUDE_SPAWNER_ROWS          64

/* ms to wait after the kernel had no memory for a reply */
#define NGX_CLAUDE_SPAWNER_RETRY         50

/* descriptors that are closed one by one where there is no close_range() */
#define NGX_CLAUDE_SPAWNER_FILES         (1024 * 1024)


/* a keeper, or a request that failed before it had one */
typedef struct {
    pid_t                               keeper;     /* 0: none or reaped */
    int                                 report;     /* -1: closed */
    int                                 fds[NGX_CLAUDE_SPAWNER_FDS];
                                                /* -1: handed over */
    unsigned                            pending:1;  /* reply is to be sent */
    unsigned                            told:1;     /* the end was told */
    unsigned                            started:1;
    ngx_claude_spawner_reply_t          reply;
} ngx_claude_spawner_row_t;


typedef struct {
    pid_t                               pid;
    int                                 fd;         /* -1: no worker */
    int                                 signals;
    pid_t                               sweeper;    /* 0: none */

    /*
     * A free row is always kept while requests are read.  The poll set is the
     * socket, the signals, and one for each row; both tables grow together.
     */

    ngx_claude_spawner_row_t           *rows;
    struct pollfd                      *polls;
    ngx_uint_t                          nrows;
    ngx_uint_t                          size;

    char                               *buffer;     /* room for one request */
    char                              **strings;

    ngx_claude_spawner_limit_t         *limits;

    unsigned                            blocked:1;  /* wait for POLLOUT */
    unsigned                            retry:1;    /* wait a little */
    unsigned                            terminating:1;
} ngx_claude_spawner_ctx_t;


static void ngx_claude_spawner_process_init(ngx_claude_spawner_ctx_t *ctx,
    ngx_cycle_t *cycle, ngx_claude_spawner_start_t *start);
static void ngx_claude_spawner_drop_files(int fd);
static void ngx_claude_spawner_drop_signals(void);
static void ngx_claude_spawner_drop_zones(ngx_cycle_t *cycle);
static void ngx_claude_spawner_drop_scheduling(void);
static void ngx_claude_spawner_memory(ngx_claude_spawner_ctx_t *ctx);
static ngx_int_t ngx_claude_spawner_grow(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_wait(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_read_signals(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_reap(ngx_claude_spawner_ctx_t *ctx);
static ngx_uint_t ngx_claude_spawner_known(void *data, pid_t pid);
static void ngx_claude_spawner_read_requests(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_request(ngx_claude_spawner_ctx_t *ctx,
    size_t size);
static void ngx_claude_spawner_sweep_sessions(ngx_claude_spawner_ctx_t *ctx,
    size_t size);
static void ngx_claude_spawner_close_rows(ngx_claude_spawner_ctx_t *ctx);
static ngx_int_t ngx_claude_spawner_parse(ngx_claude_spawner_ctx_t *ctx,
    size_t size, ngx_claude_keeper_t *keeper);
static ngx_int_t ngx_claude_spawner_pipes(ngx_claude_spawner_row_t *row,
    ngx_claude_keeper_t *keeper);
static ngx_int_t ngx_claude_spawner_pipe(int *r, int *w, ngx_uint_t small);
static void ngx_claude_spawner_keep(ngx_claude_spawner_ctx_t *ctx,
    ngx_claude_keeper_t *keeper);
static void ngx_claude_spawner_fail(ngx_claude_spawner_row_t *row,
    ngx_uint_t stage, ngx_err_t err);
static void ngx_claude_spawner_read_report(ngx_claude_spawner_row_t *row);
static void ngx_claude_spawner_lost(ngx_claude_spawner_row_t *row);
static void ngx_claude_spawner_send(ngx_claude_spawner_ctx_t *ctx);
static ngx_int_t ngx_claude_spawner_send_reply(ngx_claude_spawner_ctx_t *ctx,
    ngx_claude_spawner_row_t *row);
static void ngx_claude_spawner_sweep(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_worker_gone(ngx_claude_spawner_ctx_t *ctx);
static void ngx_claude_spawner_close_fds(int *fds, ngx_uint_t n);


void
ngx_claude_spawner_process(ngx_cycle_t *cycle, void *data)
{
    ngx_claude_spawner_ctx_t  ctx;

    ngx_claude_spawner_process_init(&ctx, cycle, data);

    while (ctx.fd != -1 || ctx.nrows) {
        ngx_claude_spawner_wait(&ctx);
        ngx_claude_spawner_send(&ctx);
        ngx_claude_spawner_sweep(&ctx);

        if (ctx.terminating && ctx.nrows == 0) {
            break;
        }
    }

    _exit(0);
}


/* signals are blocked since before the fork, so none meets nginx's handlers */

static void
ngx_claude_spawner_process_init(ngx_claude_spawner_ctx_t *ctx,
    ngx_cycle_t *cycle, ngx_claude_spawner_start_t *start)
{
    mode_t    mask;
    sigset_t  set;

    ngx_memzero(ctx, sizeof(ngx_claude_spawner_ctx_t));

    ctx->pid = getpid();
    ctx->limits = start->limits;

    ngx_claude_spawner_drop_signals();
    ngx_claude_spawner_title("claude spawner process", "claude-spawner");
    ngx_claude_spawner_drop_files(start->fd);

    ctx->fd = NGX_CLAUDE_SPAWNER_SOCKET;

    ngx_claude_spawner_drop_zones(cycle);
    ngx_claude_spawner_drop_scheduling();

    (void) setsid();

    if (chdir("/") == -1) {
        /* void: each CLI has a directory of its own */
    }

    /* a umask of 0 is ngx_daemon()'s, which a CLI's files should not have */

    mask = umask(022);

    if (mask) {
        (void) umask(mask);
    }

    /* the orphans of a keeper that was killed */

    (void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);

    ctx->signals = signalfd(-1, &set, SFD_CLOEXEC|SFD_NONBLOCK);

    if (ctx->signals == -1) {
        _exit(1);
    }

    ngx_claude_spawner_memory(ctx);
}


/* 0, 1 and 2 become /dev/null, 3 the socket, and nothing else stays open */

static void
ngx_claude_spawner_drop_files(int fd)
{
    int            n, null;
    struct rlimit  limit;

    fd = fcntl(fd, F_DUPFD_CLOEXEC, NGX_CLAUDE_SPAWNER_SOCKET + 1);
    null = open("/dev/null", O_RDWR|O_CLOEXEC);

    if (fd == -1
        || null == -1
        || dup2(null, 0) == -1
        || dup2(null, 1) == -1
        || dup2(null, 2) == -1
        || dup3(fd, NGX_CLAUDE_SPAWNER_SOCKET, O_CLOEXEC) == -1)
    {
        _exit(1);
    }

    n = NGX_CLAUDE_SPAWNER_SOCKET + 1;

#ifdef SYS_close_range

    if (syscall(SYS_close_range, n, ~0U, 0) == 0) {
        return;
    }

#endif

    /* no close_range(): before Linux 5.9 */

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1
        || limit.rlim_max > NGX_CLAUDE_SPAWNER_FILES)
    {
        limit.rlim_max = NGX_CLAUDE_SPAWNER_FILES;
    }

    for ( /* void */ ; n < (int) limit.rlim_max; n++) {
        (void) close(n);
    }
}


/* resets handlers, for ignored signals survive an exec; all stay blocked */

static void
ngx_claude_spawner_drop_signals(void)
{
    int               signo;
    sigset_t          set;
    struct sigaction  sa;

    ngx_memzero(&sa, sizeof(struct sigaction));
    sa.sa_handler = SIG_DFL;

    for (signo = 1; signo < NSIG; signo++) {
        (void) sigaction(signo, &sa, NULL);
    }

    sigfillset(&set);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);
}


/* unmaps zones: an old configuration's are freed though its CLIs still run */

static void
ngx_claude_spawner_drop_zones(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;

    part = &cycle->shared_memory.part;
    zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            zone = part->elts;
            i = 0;
        }

        if (zone[i].shm.addr) {
            (void) munmap(zone[i].shm.addr, zone[i].shm.size);
        }
    }
}


/*
 * Undoes worker_cpu_affinity and worker_priority; a niceness above 0 stays
 * where the worker's user may not lower it (RLIMIT_NICE).
 */

static void
ngx_claude_spawner_drop_scheduling(void)
{
    cpu_set_t  cpus;

    /* the kernel intersects it with what the cpuset allows */

    memset(&cpus, 0xff, sizeof(cpu_set_t));
    (void) sched_setaffinity(0, sizeof(cpu_set_t), &cpus);

    (void) setpriority(PRIO_PROCESS, 0, 0);
}


static void
ngx_claude_spawner_memory(ngx_claude_spawner_ctx_t *ctx)
{
    char    *p;
    size_t   size, strings;

    /* a zero byte after the longest request, and two NULL pointers */

    size = ngx_align(NGX_CLAUDE_SPAWNER_REQUEST_MAX + 1,
                     sizeof(char *));
    strings = (NGX_CLAUDE_SPAWNER_STRINGS_MAX + 2) * sizeof(char *);

    p = mmap(NULL, size + strings, PROT_READ|PROT_WRITE,
             MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || ngx_claude_spawner_grow(ctx) != NGX_OK) {
        _exit(1);
    }

    ctx->buffer = p;
    ctx->strings = (char **) (p + size);
}


static ngx_int_t
ngx_claude_spawner_grow(ngx_claude_spawner_ctx_t *ctx)
{
    void        *rows, *polls;
    ngx_uint_t   n;

    n = ctx->size ? ctx->size * 2 : NGX_CLAUDE_SPAWNER_ROWS;

    rows = mmap(NULL, n * sizeof(ngx_claude_spawner_row_t),
                PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (rows == MAP_FAILED) {
        return NGX_ERROR;
    }

    polls = mmap(NULL, (n + 2) * sizeof(struct pollfd),
                 PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (polls == MAP_FAILED) {
        (void) munmap(rows, n * sizeof(ngx_claude_spawner_row_t));
        return NGX_ERROR;
    }

    if (ctx->size) {
        ngx_memcpy(rows, ctx->rows,
                   ctx->nrows * sizeof(ngx_claude_spawner_row_t));
        ngx_memcpy(polls, ctx->polls, (ctx->size + 2) * sizeof(struct pollfd));

        (void) munmap(ctx->rows,
                      ctx->size * sizeof(ngx_claude_spawner_row_t));
        (void) munmap(ctx->polls, (ctx->size + 2) * sizeof(struct pollfd));
    }

    ctx->rows = rows;
    ctx->polls = polls;
    ctx->size = n;

    return NGX_OK;
}


static void
ngx_claude_spawner_wait(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t                 i, n;
    struct pollfd             *polls;
    ngx_claude_spawner_row_t  *row;

    polls = ctx->polls;
    row = ctx->rows;

    /* requests are not read while a reply waits, or without a free row */

    polls[0].fd = ctx->retry ? -1 : ctx->fd;
    polls[0].events = ctx->blocked ? POLLOUT
                                   : (ctx->nrows < ctx->size ? POLLIN : 0);

    polls[1].fd = ctx->signals;
    polls[1].events = POLLIN;

    n = ctx->nrows;

    for (i = 0; i < n; i++) {
        polls[i + 2].fd = row[i].pending ? -1 : row[i].report;
        polls[i + 2].events = POLLIN;
    }

    if (poll(polls, n + 2, ctx->retry ? NGX_CLAUDE_SPAWNER_RETRY : -1)
        == -1)
    {
        return;
    }

    ctx->retry = 0;

    if (polls[0].revents & POLLOUT) {
        ctx->blocked = 0;
    }

    for (i = 0; i < n; i++) {
        if (polls[i + 2].revents) {
            ngx_claude_spawner_read_report(&row[i]);
        }
    }

    if (polls[1].revents) {
        ngx_claude_spawner_read_signals(ctx);
    }

    if (polls[0].revents & (POLLHUP|POLLERR|POLLNVAL)) {
        ngx_claude_spawner_worker_gone(ctx);

    } else if (polls[0].revents & POLLIN) {
        ngx_claude_spawner_read_requests(ctx);
    }
}


static void
ngx_claude_spawner_read_signals(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t                i;
    struct signalfd_siginfo   si;

    while (read(ctx->signals, &si, sizeof(struct signalfd_siginfo))
           == sizeof(struct signalfd_siginfo))
    {
        if (si.ssi_signo == SIGCHLD) {
            ngx_claude_spawner_reap(ctx);
            continue;
        }

        ctx->terminating = 1;

        for (i = 0; i < ctx->nrows; i++) {
            if (ctx->rows[i].keeper) {
                (void) kill(ctx->rows[i].keeper, SIGTERM);
            }
        }
    }
}


/*
 * A keeper that was killed leaves its CLI, killed by the kernel, and the CLI's
 * children, which become ours.  So does each of them that dies.
 */

static void
ngx_claude_spawner_reap(ngx_claude_spawner_ctx_t *ctx)
{
    int         status;
    pid_t       pid;
    ngx_uint_t  i, orphans;

    orphans = 0;

    for ( ;; ) {
        pid = waitpid(-1, &status, WNOHANG);

        if (pid <= 0) {
            break;
        }

        if (pid == ctx->sweeper) {
            ctx->sweeper = 0;
            continue;
        }

        for (i = 0; i < ctx->nrows && ctx->rows[i].keeper != pid; i++) {
            /* void */
        }

        if (i == ctx->nrows) {
            orphans = 1;
            continue;
        }

        ctx->rows[i].keeper = 0;

        if (WIFSIGNALED(status)) {
            orphans = 1;
        }
    }

    if (orphans) {
        (void) ngx_claude_spawner_kill_children(
                                    ngx_claude_spawner_known, ctx);
    }
}


static ngx_uint_t
ngx_claude_spawner_known(void *data, pid_t pid)
{
    ngx_claude_spawner_ctx_t  *ctx = data;

    ngx_uint_t  i;

    if (ctx->sweeper == pid) {
        return 1;
    }

    for (i = 0; i < ctx->nrows; i++) {
        if (ctx->rows[i].keeper == pid) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_claude_spawner_read_requests(ngx_claude_spawner_ctx_t *ctx)
{
    ssize_t        n;
    struct iovec   iov;
    struct msghdr  msg;

    while (ctx->nrows < ctx->size && !ctx->blocked && !ctx->retry) {

        iov.iov_base = ctx->buffer;
        iov.iov_len = NGX_CLAUDE_SPAWNER_REQUEST_MAX;

        ngx_memzero(&msg, sizeof(struct msghdr));
        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;

        n = recvmsg(ctx->fd, &msg, 0);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1 && ngx_errno == NGX_EAGAIN) {
            return;
        }

        if (n <= 0) {
            ngx_claude_spawner_worker_gone(ctx);
            return;
        }

        if ((size_t) n < sizeof(ngx_claude_spawner_request_t)) {
            continue;
        }

        ngx_claude_spawner_request(ctx, n);

        /* an answer that is at hand goes out before the next fork */

        ngx_claude_spawner_send(ctx);
    }
}


static void
ngx_claude_spawner_request(ngx_claude_spawner_ctx_t *ctx,
    size_t size)
{
    pid_t                      pid;
    ngx_uint_t                 i;
    ngx_claude_keeper_t        keeper;
    ngx_claude_spawner_row_t  *row;

    if (((ngx_claude_spawner_request_t *) ctx->buffer)->argc == 0) {
        ngx_claude_spawner_sweep_sessions(ctx, size);
        return;
    }

    row = &ctx->rows[ctx->nrows++];

    ngx_memzero(row, sizeof(ngx_claude_spawner_row_t));
    row->report = -1;

    for (i = 0; i < NGX_CLAUDE_SPAWNER_FDS; i++) {
        row->fds[i] = -1;
    }

    row->reply.id = ((ngx_claude_spawner_request_t *) ctx->buffer)->id;

    if (ctx->terminating) {
        ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_SPAWNER,
                                ESHUTDOWN);
        return;
    }

    if (ctx->nrows == ctx->size) {
        if (ngx_claude_spawner_grow(ctx) != NGX_OK) {
            ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_MEMORY,
                                    NGX_ENOMEM);
            return;
        }

        row = &ctx->rows[ctx->nrows - 1];
    }

    keeper.id = row->reply.id;
    keeper.parent = ctx->pid;
    keeper.signals = ctx->signals;
    keeper.limits = ctx->limits;

    if (ngx_claude_spawner_parse(ctx, size, &keeper) != NGX_OK) {
        ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_REQUEST,
                                NGX_EINVAL);
        return;
    }

    if (ngx_claude_spawner_pipes(row, &keeper) != NGX_OK) {
        ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_PIPE,
                                ngx_errno);
        return;
    }

    pid = ngx_claude_spawner_fork();

    if (pid == 0) {
        ngx_claude_spawner_keep(ctx, &keeper);
    }

    if (pid == -1) {
        ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_FORK,
                                ngx_errno);
    } else {
        row->keeper = pid;
    }

    ngx_claude_spawner_close_fds(keeper.stdio, 3);
    ngx_claude_spawner_close_fds(&keeper.input, 1);
    ngx_claude_spawner_close_fds(&keeper.lifeline, 1);
    ngx_claude_spawner_close_fds(&keeper.report, 1);
}


/* sweeper: its end is waited for with that of the orphans */

static void
ngx_claude_spawner_sweep_sessions(ngx_claude_spawner_ctx_t *ctx,
    size_t size)
{
    ngx_claude_keeper_t            sweep;
    ngx_claude_spawner_request_t  *request;

    request = (ngx_claude_spawner_request_t *) ctx->buffer;

    if (ctx->sweeper || ctx->terminating
        || ngx_claude_spawner_parse(ctx, size, &sweep) != NGX_OK)
    {
        return;
    }

    ctx->sweeper = ngx_claude_spawner_fork();

    if (ctx->sweeper == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

        if (getppid() != ctx->pid) {
            _exit(0);
        }

        ngx_claude_spawner_close_rows(ctx);
        ngx_claude_keeper_sweep_process(sweep.directory, sweep.transcripts,
                                        request->ask.ttl);
    }

    if (ctx->sweeper == -1) {
        ctx->sweeper = 0;
    }
}


/* strings stay in the buffer: the keeper has a copy of it */

static ngx_int_t
ngx_claude_spawner_parse(ngx_claude_spawner_ctx_t *ctx, size_t size,
    ngx_claude_keeper_t *keeper)
{
    char                          *p, *last, **string;
    char                         **places[NGX_CLAUDE_SPAWNER_STRINGS];
    uint32_t                       i, n;
    ngx_claude_spawner_request_t  *request;

    request = (ngx_claude_spawner_request_t *) ctx->buffer;

    if (request->argc > NGX_CLAUDE_SPAWNER_STRINGS_MAX
        || request->envc > NGX_CLAUDE_SPAWNER_STRINGS_MAX
                           - request->argc)
    {
        return NGX_ERROR;
    }

    p = ctx->buffer + sizeof(ngx_claude_spawner_request_t);
    last = ctx->buffer + size;
    string = ctx->strings;

    places[0] = &keeper->binary;
    places[1] = &keeper->directory;
    places[2] = &keeper->transcripts;
    places[3] = &keeper->gate;
    places[4] = &keeper->config;

    keeper->ungated = request->ungated;
    keeper->home = request->home;
    keeper->ask = request->ask;
    keeper->argc = request->argc;
    keeper->argv = string;
    keeper->envp = string + request->argc + 1;

    n = request->argc + request->envc + NGX_CLAUDE_SPAWNER_STRINGS;

    *last = '\0';

    for (i = 0; i < n; i++) {

        if (p >= last) {
            return NGX_ERROR;
        }

        if (i < NGX_CLAUDE_SPAWNER_STRINGS) {
            *places[i] = p;

        } else {
            if (i == request->argc + NGX_CLAUDE_SPAWNER_STRINGS) {
                *string++ = NULL;
            }

            *string++ = p;
        }

        p += ngx_strlen(p) + 1;
    }

    if (request->envc == 0) {
        *string++ = NULL;
    }

    *string = NULL;

    return NGX_OK;
}


/* NGX_ERROR: errno is set, and nothing is left open */

static ngx_int_t
ngx_claude_spawner_pipes(ngx_claude_spawner_row_t *row,
    ngx_claude_keeper_t *keeper)
{
    int         *fds;
    ngx_err_t    err;
    ngx_uint_t   i;

    keeper->stdio[0] = keeper->stdio[1] = keeper->stdio[2] = -1;
    keeper->input = keeper->lifeline = keeper->report = -1;

    fds = row->fds;

    if (ngx_claude_spawner_pipe(&keeper->stdio[0], &fds[0], 0) == NGX_OK
        && ngx_claude_spawner_pipe(&fds[1], &keeper->stdio[1], 0)
           == NGX_OK
        && ngx_claude_spawner_pipe(&fds[2], &keeper->stdio[2], 0)
           == NGX_OK
        && ngx_claude_spawner_pipe(&keeper->lifeline, &fds[3], 1)
           == NGX_OK
        && ngx_claude_spawner_pipe(&row->report, &keeper->report, 1)
           == NGX_OK
        && (keeper->input = fcntl(fds[0], F_DUPFD_CLOEXEC, 0)) != -1)
    {
        for (i = 0; i < NGX_CLAUDE_SPAWNER_FDS; i++) {
            if (ngx_nonblocking(fds[i]) == -1) {
                break;
            }
        }

        if (i == NGX_CLAUDE_SPAWNER_FDS
            && ngx_nonblocking(row->report) != -1)
        {
            return NGX_OK;
        }
    }

    err = ngx_errno;

    ngx_claude_spawner_close_fds(keeper->stdio, 3);
    ngx_claude_spawner_close_fds(&keeper->input, 1);
    ngx_claude_spawner_close_fds(&keeper->lifeline, 1);
    ngx_claude_spawner_close_fds(&keeper->report, 1);
    ngx_claude_spawner_close_fds(fds, NGX_CLAUDE_SPAWNER_FDS);
    ngx_claude_spawner_close_fds(&row->report, 1);

    ngx_set_errno(err);

    return NGX_ERROR;
}


/* a small pipe spares the user's share, fs.pipe-user-pages-soft */

static ngx_int_t
ngx_claude_spawner_pipe(int *r, int *w, ngx_uint_t small)
{
    int  fd[2];

    if (pipe2(fd, O_CLOEXEC) == -1) {
        return NGX_ERROR;
    }

    if (small) {
        (void) fcntl(fd[0], F_SETPIPE_SZ, 4096);
    }

    *r = fd[0];
    *w = fd[1];

    return NGX_OK;
}


/* the forked keeper, in which other keepers' lifelines must not live on */

static void
ngx_claude_spawner_keep(ngx_claude_spawner_ctx_t *ctx,
    ngx_claude_keeper_t *keeper)
{
    ngx_claude_spawner_close_rows(ctx);

    ngx_claude_keeper_process(keeper);
}


static void
ngx_claude_spawner_close_rows(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t  i;

    for (i = 0; i < ctx->nrows; i++) {
        ngx_claude_spawner_close_fds(ctx->rows[i].fds,
                                     NGX_CLAUDE_SPAWNER_FDS);
        ngx_claude_spawner_close_fds(&ctx->rows[i].report, 1);
    }

    ngx_claude_spawner_close_fds(&ctx->fd, 1);
}


static void
ngx_claude_spawner_fail(ngx_claude_spawner_row_t *row,
    ngx_uint_t stage, ngx_err_t err)
{
    ngx_claude_spawner_close_fds(row->fds, NGX_CLAUDE_SPAWNER_FDS);
    ngx_claude_spawner_close_fds(&row->report, 1);

    row->reply.type = NGX_CLAUDE_SPAWNER_FAILED;
    row->reply.stage = stage;
    row->reply.code = err;

    row->pending = 1;
    row->told = 1;
}


static void
ngx_claude_spawner_read_report(ngx_claude_spawner_row_t *row)
{
    ssize_t                           n;
    ngx_claude_spawner_reply_t        reply;

    n = read(row->report, &reply, sizeof(ngx_claude_spawner_reply_t));

    if (n == -1 && (ngx_errno == NGX_EAGAIN || ngx_errno == NGX_EINTR)) {
        return;
    }

    if (n != sizeof(ngx_claude_spawner_reply_t)) {
        ngx_claude_spawner_lost(row);
        return;
    }

    row->reply = reply;
    row->pending = 1;

    if (reply.type == NGX_CLAUDE_SPAWNER_STARTED) {
        row->started = 1;
        return;
    }

    row->told = 1;

    ngx_claude_spawner_close_fds(row->fds, NGX_CLAUDE_SPAWNER_FDS);
}


/* the keeper's end; one without a report was killed */

static void
ngx_claude_spawner_lost(ngx_claude_spawner_row_t *row)
{
    if (row->told) {
        ngx_claude_spawner_close_fds(&row->report, 1);
        return;
    }

    ngx_claude_spawner_fail(row, NGX_CLAUDE_SPAWNER_KEEPER, ESRCH);

    if (row->started) {
        row->reply.type = NGX_CLAUDE_SPAWNER_EXITED;
        row->reply.code = -1;
    }
}


static void
ngx_claude_spawner_send(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t                 i;
    ngx_claude_spawner_row_t  *row;

    for (i = 0; i < ctx->nrows && !ctx->blocked && !ctx->retry; i++) {

        row = &ctx->rows[i];

        if (!row->pending) {
            continue;
        }

        if (ctx->fd != -1
            && ngx_claude_spawner_send_reply(ctx, row) != NGX_OK)
        {
            return;
        }

        /* no worker: this ends a CLI that nobody knows of */

        ngx_claude_spawner_close_fds(row->fds,
                                     NGX_CLAUDE_SPAWNER_FDS);
        row->pending = 0;
    }
}


/* sends a reply.  NGX_OK: it needs not be sent again */

static ngx_int_t
ngx_claude_spawner_send_reply(ngx_claude_spawner_ctx_t *ctx,
    ngx_claude_spawner_row_t *row)
{
    ngx_err_t        err;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(row->fds))];
    } control;

    iov.iov_base = &row->reply;
    iov.iov_len = sizeof(ngx_claude_spawner_reply_t);

    ngx_memzero(&msg, sizeof(struct msghdr));
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (row->reply.type == NGX_CLAUDE_SPAWNER_STARTED) {
        ngx_memzero(&control, sizeof(control));
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(row->fds));
        ngx_memcpy(CMSG_DATA(cmsg), row->fds, sizeof(row->fds));
    }

    while (sendmsg(ctx->fd, &msg, MSG_NOSIGNAL) == -1) {

        err = ngx_errno;

        if (err == NGX_EINTR) {
            continue;
        }

        if (err == NGX_EAGAIN) {
            ctx->blocked = 1;
            return NGX_AGAIN;
        }

        if (err == NGX_ENOMEM || err == ENOBUFS || err == ETOOMANYREFS) {
            ctx->retry = 1;
            return NGX_AGAIN;
        }

        ngx_claude_spawner_worker_gone(ctx);
        break;
    }

    return NGX_OK;
}


/* drops rows: no reply, no report, no keeper is left */

static void
ngx_claude_spawner_sweep(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t                 i;
    ngx_claude_spawner_row_t  *row;

    for (i = 0; i < ctx->nrows; /* void */ ) {

        row = &ctx->rows[i];

        if (row->pending || row->report != -1 || row->keeper) {
            i++;
            continue;
        }

        *row = ctx->rows[--ctx->nrows];
    }
}


/* the worker is gone: CLIs whose lifelines somebody holds go on, others end */

static void
ngx_claude_spawner_worker_gone(ngx_claude_spawner_ctx_t *ctx)
{
    ngx_uint_t  i;

    ngx_claude_spawner_close_fds(&ctx->fd, 1);

    ctx->blocked = 0;
    ctx->retry = 0;

    for (i = 0; i < ctx->nrows; i++) {
        ngx_claude_spawner_close_fds(ctx->rows[i].fds,
                                     NGX_CLAUDE_SPAWNER_FDS);
        ctx->rows[i].pending = 0;
    }
}


static void
ngx_claude_spawner_close_fds(int *fds, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (fds[i] != -1) {
            (void) close(fds[i]);
            fds[i] = -1;
        }
    }
}
