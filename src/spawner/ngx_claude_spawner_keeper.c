
/*
 * Spawner, private: the keeper, one small process between the spawner process
 * and each CLI.  It forks the CLI, watches its lifeline, ends it, reaps it and
 * reports.  As the subreaper of this one CLI it gets whatever the CLI started,
 * in whatever session or group, and kills that, and never another CLI's.
 *
 * It holds the write end of the CLI's standard input as long as it lives, so
 * that the CLI never reads an end of file: there it would finish what it is
 * at, which is one more call upstream where it waits for a client's tool.
 *
 * Like the spawner process it must call async-signal-safe functions only,
 * write no log, and leave by _exit().  Signals come through the signalfd.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_gate.h"
#include "ngx_claude_proc.h"
#include "ngx_claude_spawner_child.h"
#include "ngx_claude_spawner_wire.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>


/* ms to SIGKILL: what a killed worker leaves is gone within 2 seconds */
#define NGX_CLAUDE_KEEPER_GRACE     1500

/* ms between looks for children that escaped the one before; doubles */
#define NGX_CLAUDE_KEEPER_LOOK      50
#define NGX_CLAUDE_KEEPER_LOOK_MAX  5000


typedef struct {
    uint32_t                    stage;
    int32_t                     err;
} ngx_claude_keeper_error_t;


typedef struct {
    ngx_claude_keeper_t        *keeper;
    pid_t                       cli;        /* 0: reaped */
    int                         exec;       /* pipe that a successful exec
                                               closes */
    ngx_msec_t                  deadline;   /* 0: none; msec, by the monotonic
                                               clock */
    ngx_msec_t                  look;       /* ms until the next look */
    ngx_err_t                   gate;       /* why it is left out, or 0 */
    ngx_claude_keeper_session_t  session;
    unsigned                    started:1;
    unsigned                    terminating:1;
} ngx_claude_keeper_ctx_t;


static void ngx_claude_keeper_start(ngx_claude_keeper_ctx_t *ctx);
static ngx_err_t ngx_claude_keeper_gate(ngx_claude_keeper_t *keeper);
static void ngx_claude_keeper_cli(ngx_claude_keeper_t *keeper, pid_t parent,
    int error);
static void ngx_claude_keeper_limits(ngx_claude_spawner_limit_t *limits);
static void ngx_claude_keeper_wait(ngx_claude_keeper_ctx_t *ctx);
static int ngx_claude_keeper_timeout(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_exec(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_signals(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_terminate(ngx_claude_keeper_ctx_t *ctx);
static ngx_int_t ngx_claude_keeper_reap(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_reap_cli(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_records(ngx_claude_keeper_ctx_t *ctx);
static void ngx_claude_keeper_report(ngx_claude_keeper_t *keeper,
    ngx_claude_spawner_reply_t *reply);


void
ngx_claude_keeper_process(ngx_claude_keeper_t *keeper)
{
    ngx_claude_keeper_ctx_t  ctx;

    ngx_memzero(&ctx, sizeof(ngx_claude_keeper_ctx_t));

    ctx.keeper = keeper;
    ctx.exec = -1;
    ctx.look = NGX_CLAUDE_KEEPER_LOOK;

    ngx_claude_spawner_title("claude keeper process", "claude-keeper");

    (void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

    /* a killed spawner process takes its CLIs along, with the same grace */

    (void) prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);

    if (getppid() != keeper->parent) {
        _exit(0);
    }

    ngx_claude_keeper_start(&ctx);

    while (ngx_claude_keeper_reap(&ctx) == NGX_AGAIN) {
        ngx_claude_keeper_wait(&ctx);
    }

    _exit(0);
}


static void
ngx_claude_keeper_start(ngx_claude_keeper_ctx_t *ctx)
{
    int                               error[2];
    pid_t                             parent;
    ngx_uint_t                        i;
    ngx_claude_keeper_t              *keeper;
    ngx_claude_spawner_reply_t        reply;

    keeper = ctx->keeper;

    ngx_memzero(&reply, sizeof(ngx_claude_spawner_reply_t));
    reply.type = NGX_CLAUDE_SPAWNER_FAILED;

    if (ngx_claude_keeper_home(keeper) != NGX_OK) {
        reply.stage = NGX_CLAUDE_SPAWNER_STATE;
        reply.code = ngx_errno;
        ngx_claude_keeper_report(keeper, &reply);
        _exit(0);
    }

    if (ngx_claude_keeper_session_open(keeper, &ctx->session,
                                       &reply.stage)
        != NGX_OK)
    {
        reply.code = ngx_errno;
        ngx_claude_keeper_report(keeper, &reply);
        _exit(0);
    }

    if (pipe2(error, O_CLOEXEC|O_NONBLOCK) == -1) {
        reply.stage = NGX_CLAUDE_SPAWNER_PIPE;
        reply.code = ngx_errno;
        ngx_claude_keeper_report(keeper, &reply);
        _exit(0);
    }

    ctx->gate = ngx_claude_keeper_gate(keeper);

    parent = getpid();
    ctx->cli = ngx_claude_spawner_fork();

    if (ctx->cli == -1) {
        reply.stage = NGX_CLAUDE_SPAWNER_FORK;
        reply.code = ngx_errno;
        ngx_claude_keeper_report(keeper, &reply);
        _exit(0);
    }

    if (ctx->cli == 0) {
        ngx_claude_keeper_cli(keeper, parent, error[1]);
    }

    /* both sides make the group, so that it exists whoever comes first */

    (void) setpgid(ctx->cli, ctx->cli);

    (void) close(error[1]);
    ctx->exec = error[0];

    for (i = 0; i < 3; i++) {
        (void) close(keeper->stdio[i]);
    }
}


/*
 * Looks at the gate, and takes it out of the arguments if it is not as the
 * master wrote it, or not to be there.  Returns 0, or errno; ECANCELED: it was
 * not to be there.
 */

static ngx_err_t
ngx_claude_keeper_gate(ngx_claude_keeper_t *keeper)
{
    char       **arg;
    ngx_err_t    err;

    if (keeper->gate[0] == '\0') {
        return 0;
    }

    if (keeper->ungated) {
        err = ECANCELED;

    } else if (ngx_claude_gate_check(keeper->gate) != NGX_OK) {
        err = ngx_errno;

    } else {
        return 0;
    }

    for (arg = keeper->argv; arg[0] && arg[1]; arg++) {

        if (ngx_strcmp(arg[1], keeper->gate) != 0) {
            continue;
        }

        do {
            arg[0] = arg[2];
        } while (*arg++);

        break;
    }

    return err;
}


/* the forked CLI up to its exec */

static void
ngx_claude_keeper_cli(ngx_claude_keeper_t *keeper, pid_t parent,
    int error)
{
    int                        i;
    sigset_t                   set;
    ngx_claude_keeper_error_t  e;

    e.stage = NGX_CLAUDE_SPAWNER_SETUP;

    (void) setpgid(0, 0);

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    if (getppid() != parent) {
        _exit(127);
    }

    ngx_claude_keeper_limits(keeper->limits);

    /* the ends are above 2, so none overwrites another */

    for (i = 0; i < 3; i++) {
        if (dup2(keeper->stdio[i], i) == -1) {
            goto failed;
        }
    }

    if (chdir(keeper->directory) == -1) {
        e.stage = NGX_CLAUDE_SPAWNER_CHDIR;
        goto failed;
    }

    /* dispositions are the default ones since the spawner process began */

    sigemptyset(&set);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);

    e.stage = NGX_CLAUDE_SPAWNER_EXEC;

    (void) execve(keeper->binary, keeper->argv, keeper->envp);

failed:

    e.err = ngx_errno;

    while (write(error, &e, sizeof(ngx_claude_keeper_error_t)) == -1
           && ngx_errno == NGX_EINTR)
    {
        /* void */
    }

    _exit(127);
}


/*
 * The master's limits, as far as they can be restored: a hard limit that
 * worker_rlimit_* lowered cannot be raised again without privileges.
 */

static void
ngx_claude_keeper_limits(ngx_claude_spawner_limit_t *limits)
{
    ngx_uint_t     i;
    struct rlimit  now, limit;

    for (i = 0; i < NGX_CLAUDE_SPAWNER_LIMITS; i++) {

        if (!limits[i].known) {
            continue;
        }

        limit = limits[i].value;

        if (setrlimit(limits[i].resource, &limit) == 0
            || getrlimit(limits[i].resource, &now) == -1)
        {
            continue;
        }

        limit.rlim_cur = ngx_min(limit.rlim_cur, now.rlim_max);
        limit.rlim_max = ngx_min(limit.rlim_max, now.rlim_max);

        (void) setrlimit(limits[i].resource, &limit);
    }
}


static void
ngx_claude_keeper_wait(ngx_claude_keeper_ctx_t *ctx)
{
    struct pollfd  fds[3];

    fds[0].fd = ctx->keeper->signals;
    fds[0].events = POLLIN;

    fds[1].fd = ctx->exec;
    fds[1].events = POLLIN;

    /* the end of file shows as POLLHUP, which needs no asking */

    fds[2].fd = ctx->terminating ? -1 : ctx->keeper->lifeline;
    fds[2].events = POLLIN;

    if (poll(fds, 3, ngx_claude_keeper_timeout(ctx)) == -1) {
        fds[0].revents = fds[1].revents = fds[2].revents = 0;
    }

    if (fds[1].revents) {
        ngx_claude_keeper_exec(ctx);
    }

    if (fds[0].revents) {
        ngx_claude_keeper_signals(ctx);
    }

    if ((fds[2].revents & POLLIN)
        ? ngx_claude_keeper_session_read(ctx->keeper, &ctx->session)
          == NGX_DONE
        : fds[2].revents != 0)
    {
        ngx_claude_keeper_terminate(ctx);
    }

    if (ctx->cli && ctx->deadline
        && (ngx_msec_int_t) (ctx->deadline - ngx_claude_spawner_now())
           <= 0)
    {
        ctx->deadline = 0;
        (void) kill(-ctx->cli, SIGKILL);
    }
}


static int
ngx_claude_keeper_timeout(ngx_claude_keeper_ctx_t *ctx)
{
    int             look;
    ngx_msec_int_t  left;

    if (ctx->cli == 0) {
        look = (int) ctx->look;
        ctx->look = ngx_min(ctx->look * 2, NGX_CLAUDE_KEEPER_LOOK_MAX);
        return look;
    }

    if (ctx->deadline == 0) {
        return -1;
    }

    left = (ngx_msec_int_t) (ctx->deadline - ngx_claude_spawner_now());

    return (int) ngx_max(left, 0);
}


/* end of file: the CLI runs, or died before the exec; else an error came */

static void
ngx_claude_keeper_exec(ngx_claude_keeper_ctx_t *ctx)
{
    ssize_t                           n;
    ngx_claude_keeper_error_t         e;
    ngx_claude_spawner_reply_t        reply;

    n = read(ctx->exec, &e, sizeof(ngx_claude_keeper_error_t));

    if (n == -1 && (ngx_errno == NGX_EAGAIN || ngx_errno == NGX_EINTR)) {
        return;
    }

    (void) close(ctx->exec);
    ctx->exec = -1;

    ngx_memzero(&reply, sizeof(ngx_claude_spawner_reply_t));

    if (n == sizeof(ngx_claude_keeper_error_t)) {
        reply.type = NGX_CLAUDE_SPAWNER_FAILED;
        reply.stage = e.stage;
        reply.code = e.err;

    } else {
        reply.type = NGX_CLAUDE_SPAWNER_STARTED;
        reply.pid = ctx->cli;
        reply.start = ngx_claude_proc_start(ctx->cli);
        reply.resumed = ctx->session.resumed;
        reply.gate = ctx->gate;
        reply.record = ctx->session.record;

        ctx->started = 1;
    }

    ngx_claude_keeper_report(ctx->keeper, &reply);
}


static void
ngx_claude_keeper_signals(ngx_claude_keeper_ctx_t *ctx)
{
    struct signalfd_siginfo  si;

    while (read(ctx->keeper->signals, &si, sizeof(struct signalfd_siginfo))
           == sizeof(struct signalfd_siginfo))
    {
        if (si.ssi_signo != SIGCHLD) {
            ngx_claude_keeper_terminate(ctx);
        }
    }
}


static void
ngx_claude_keeper_terminate(ngx_claude_keeper_ctx_t *ctx)
{
    if (ctx->cli == 0 || ctx->terminating) {
        return;
    }

    ngx_claude_keeper_session_ending(&ctx->session);

    ctx->terminating = 1;
    ctx->deadline = ngx_claude_spawner_now()
                    + NGX_CLAUDE_KEEPER_GRACE;

    if (ctx->deadline == 0) {
        ctx->deadline = 1;
    }

    (void) kill(-ctx->cli, SIGTERM);

    /* a stopped CLI would not see the SIGTERM */

    (void) kill(-ctx->cli, SIGCONT);
}


/*
 * Reaps all that have ended: the CLI, and orphans of its descendants.  NGX_OK:
 * nothing is left; NGX_AGAIN: something runs.
 *
 * Out of reach: descendants of another user (a setuid program), which the
 * keeper waits for; those outside the group if the kernel has no list of
 * children; and all but the CLI itself if the keeper and the spawner process
 * are both killed at the same time.
 */

static ngx_int_t
ngx_claude_keeper_reap(ngx_claude_keeper_ctx_t *ctx)
{
    siginfo_t  si;

    for ( ;; ) {
        si.si_pid = 0;

        if (waitid(P_ALL, 0, &si, WEXITED|WNOHANG|WNOWAIT) == -1) {

            if (ngx_errno == NGX_EINTR) {
                continue;
            }

            /* ECHILD: no children */

            return NGX_OK;
        }

        if (si.si_pid == 0) {
            break;
        }

        if (si.si_pid == ctx->cli) {
            ngx_claude_keeper_reap_cli(ctx);
            continue;
        }

        (void) waitpid(si.si_pid, NULL, WNOHANG);
    }

    if (ctx->cli) {
        return NGX_AGAIN;
    }

    /* children of those that die become ours: the next look kills them */

    if (ngx_claude_spawner_kill_children(NULL, NULL) != NGX_OK) {
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static void
ngx_claude_keeper_reap_cli(ngx_claude_keeper_ctx_t *ctx)
{
    int                               status;
    ngx_claude_spawner_reply_t        reply;

    if (ctx->exec != -1) {
        ngx_claude_keeper_exec(ctx);
    }

    /* the CLI is not reaped yet, so its number is no other group's */

    (void) kill(-ctx->cli, SIGKILL);

    status = 0;
    (void) waitpid(ctx->cli, &status, WNOHANG);

    /* records before the report: who waits for that finds all in order */

    ngx_claude_keeper_records(ctx);
    ngx_claude_keeper_session_ended(&ctx->session);

    /* a worker that has adopted the CLI sees this end break */

    (void) close(ctx->keeper->lifeline);
    ctx->keeper->lifeline = -1;

    ctx->cli = 0;
    ctx->deadline = 0;
    ctx->terminating = 1;

    if (!ctx->started) {
        return;
    }

    ngx_memzero(&reply, sizeof(ngx_claude_spawner_reply_t));

    reply.type = NGX_CLAUDE_SPAWNER_EXITED;
    reply.code = status;

    ngx_claude_keeper_report(ctx->keeper, &reply);
}


/* records that the worker wrote while the CLI was ending */

static void
ngx_claude_keeper_records(ngx_claude_keeper_ctx_t *ctx)
{
    struct pollfd  fds;

    fds.fd = ctx->keeper->lifeline;
    fds.events = POLLIN;

    /* an end of file is POLLHUP alone */

    while (poll(&fds, 1, 0) == 1 && (fds.revents & POLLIN)) {
        (void) ngx_claude_keeper_session_read(ctx->keeper, &ctx->session);
    }
}


/* writes without blocking: three replies at most, the pipe holds a hundred */

static void
ngx_claude_keeper_report(ngx_claude_keeper_t *keeper,
    ngx_claude_spawner_reply_t *reply)
{
    reply->id = keeper->id;

    while (write(keeper->report, reply,
                 sizeof(ngx_claude_spawner_reply_t))
           == -1
           && ngx_errno == NGX_EINTR)
    {
        /* void */
    }
}
