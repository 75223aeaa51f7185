
/*
 * A CLI process as this worker has it.  See the header for what the room
 * owns.
 *
 * Its pipes are nginx connections with both handlers set, but are read and
 * written with read() and write(): the recv and send of a connection are for
 * sockets.  Buffers for reading and escaping are one a worker, so an idle
 * process or a stream under way costs no buffer at all.
 */


#include "ngx_claude_process.h"
#include "ngx_claude_home.h"
#include "ngx_claude_rights.h"

#include <poll.h>
#include <sys/wait.h>


/* bytes of one read; a pipe holds as much */
#define PROCESS_READ_SIZE    65536

/* reads in a row before other events get their turn */
#define PROCESS_READS        4

/* stderr: bytes of a line that are logged, and of all that is of a turn */
#define PROCESS_ERR_LINE     512
#define PROCESS_ERR_LIMIT    16384

/* how much of a line is kept, for the log */
#define PROCESS_ERR_WORDS    512


static void process_started(ngx_claude_spawn_t *spawn,
    ngx_claude_spawned_t *child);
static void process_failed(ngx_claude_spawn_t *spawn, ngx_err_t err,
    const char *what);
static void process_detail(ngx_claude_process_t *process, ngx_err_t err,
    const char *what);
static void process_exited(ngx_claude_spawn_t *spawn, int status);
static ngx_claude_process_t *process_alloc(ngx_pool_t *pool,
    ngx_claude_profile_t *profile, size_t max_line,
    const ngx_claude_process_handlers_t *handlers, void *data);
static void process_write_handler(ngx_event_t *wev);
static ngx_int_t process_open(ngx_claude_process_t *process, ngx_fd_t *fds);
static ngx_int_t process_watch(ngx_claude_process_t *process);
static void process_unwatch(ngx_connection_t *c);
static void process_watch_handler(ngx_event_t *rev);
static void process_cut_lifeline(ngx_claude_process_t *process);
static ngx_connection_t *process_pipe(ngx_claude_process_t *process,
    ngx_fd_t fd);
static void process_close_pipe(ngx_connection_t **c);
static void process_dismiss(ngx_claude_process_t *process);
static void process_close(ngx_claude_process_t *process);
static ngx_int_t process_discard(ngx_claude_process_t *process,
    ngx_connection_t **c);
static void process_read_handler(ngx_event_t *rev);
static ngx_int_t process_read(ngx_claude_process_t *process);
static void process_err_handler(ngx_event_t *rev);
static void process_err_text(ngx_claude_process_t *process, u_char *p,
    size_t len);
static void process_err_flush(ngx_claude_process_t *process);
static void process_err_words(ngx_claude_process_t *process);
static void process_empty_handler(ngx_event_t *ev);
static void process_line(void *data, ngx_claude_cli_line_t *line);
static void process_broken(ngx_claude_process_t *process);
static void process_reason(ngx_claude_process_t *process, const char *fmt,
    ...);


ngx_claude_process_t *
ngx_claude_process_create(ngx_pool_t *pool, ngx_claude_profile_t *profile,
    const char *home, ngx_claude_record_ask_t *ask, ngx_uint_t ungated,
    size_t max_line, const ngx_claude_process_handlers_t *handlers, void *data,
    ngx_log_t *log)
{
    ngx_claude_home_t      place;
    ngx_claude_process_t  *process;

    process = process_alloc(pool, profile, max_line, handlers, data);

    if (process == NULL
        || ngx_claude_home(&place, pool, profile, home) != NGX_OK)
    {
        return NULL;
    }

    process->spawn.binary = profile->binary;
    process->spawn.directory = place.directory;
    process->spawn.config = place.config;
    process->spawn.key = place.key;
    process->spawn.made = place.made;
    process->spawn.temporary = place.temporary;
    process->spawn.argv = profile->argv;
    process->spawn.envp = place.envp;
    process->spawn.gate = profile->gate;
    process->spawn.ungated = ungated;

    if (ask) {
        process->spawn.argv = profile->session_argv;
        process->spawn.transcripts = place.transcripts;
        process->spawn.ask = *ask;
    }

    process->spawn.started = process_started;
    process->spawn.failed = process_failed;
    process->spawn.exited = process_exited;

    return (ngx_claude_spawner_spawn(&process->spawn, log) == NGX_OK)
           ? process : NULL;
}


ngx_claude_process_t *
ngx_claude_process_adopt(ngx_pool_t *pool, ngx_claude_profile_t *profile,
    size_t max_line, const ngx_claude_process_handlers_t *handlers,
    void *data, ngx_pid_t pid, uint64_t start, ngx_fd_t *fds)
{
    ngx_claude_process_t  *process;

    process = process_alloc(pool, profile, max_line, handlers, data);
    if (process == NULL) {
        ngx_claude_rights_close(fds, 4);
        return NULL;
    }

    process->pid = pid;
    process->start = start;
    process->running = 1;
    process->adopted = 1;
    process->told = 1;
    process->begun = 1;

    process->lifeline = fds[3];

    if (process_open(process, fds) == NGX_OK
        && process_watch(process) == NGX_OK)
    {
        return process;
    }

    process_close(process);
    process_close_pipe(&process->watch);

    return NULL;
}


/*
 * The exit of an adopted process is told to who started it.  Here its lifeline
 * tells: it breaks when the keeper has reaped the CLI, or was killed itself,
 * and it is about that CLI whatever process has its pid by now.
 */

static ngx_int_t
process_watch(ngx_claude_process_t *process)
{
    process->watch = process_pipe(process, process->lifeline);

    if (process->watch == NULL) {
        process->lifeline = (ngx_fd_t) -1;
        return NGX_ERROR;
    }

    process->watch->read->handler = process_watch_handler;

    return ngx_handle_read_event(process->watch->read, 0);
}


ngx_int_t
ngx_claude_process_release(ngx_claude_process_t *process,
    ngx_fd_t *fds)
{
    if (process->is_broken || process->ending || !process->running
        || process->in == NULL || process->out == NULL || process->err == NULL
        || !ngx_claude_outbox_empty(&process->outbox)
        || ngx_claude_cli_pending(process->reader))
    {
        return NGX_DECLINED;
    }

    /*
     * ngx_close_connection() would rely on close() for this, which does
     * nothing to a description that somebody else still holds.
     */

    process_unwatch(process->in);
    process_unwatch(process->out);
    process_unwatch(process->err);

    fds[0] = process->in->fd;
    fds[1] = process->out->fd;
    fds[2] = process->err->fd;
    fds[3] = process->lifeline;

    return NGX_OK;
}


void
ngx_claude_process_gone(ngx_claude_process_t *process)
{
    if (process->watch) {

        /* not told to end: another worker may have it now */

        process_unwatch(process->watch);
        process_close_pipe(&process->watch);
        process->lifeline = (ngx_fd_t) -1;

    } else {
        ngx_claude_spawner_forget(&process->spawn);
    }

    process->ending = 1;
    process->outbox.deaf = 1;
    process_close(process);
}


static ngx_claude_process_t *
process_alloc(ngx_pool_t *pool, ngx_claude_profile_t *profile,
    size_t max_line, const ngx_claude_process_handlers_t *handlers,
    void *data)
{
    ngx_claude_process_t  *process;

    process = ngx_pcalloc(pool, sizeof(ngx_claude_process_t));
    if (process == NULL) {
        return NULL;
    }

    process->spawn.data = process;

    process->reader = ngx_claude_cli_reader(pool, process_line, process);
    if (process->reader == NULL) {
        return NULL;
    }

    process->pool = pool;
    process->log = ngx_cycle->log;
    process->profile = profile;
    process->handlers = handlers;
    process->data = data;
    process->max_line = max_line;
    process->lifeline = (ngx_fd_t) -1;

    ngx_claude_outbox_init(&process->outbox, process->log);

    return process;
}


void
ngx_claude_process_flush(ngx_claude_process_t *process)
{
    ngx_connection_t  *c;

    c = process->in;

    if (c == NULL) {
        return;
    }

    switch (ngx_claude_outbox_write(&process->outbox, c)) {

    case NGX_OK:
        return;

    case NGX_DECLINED:

        /* the CLI has closed its stdin: its end comes by other ways */

        return;

    case NGX_AGAIN:

        if (c->write->ready) {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, process->log, 0,
                           "claude: process %P: the rest of its input is for "
                           "later", process->pid);

            ngx_post_event(c->write, &ngx_posted_next_events);
            return;
        }

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            process_reason(process, "its input cannot be watched");
            process_broken(process);
        }

        return;

    default:
        process_reason(process, "no memory for its input");
        process_broken(process);
    }
}


static void
process_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_claude_process_flush(c->data);
}


void
ngx_claude_process_begin(ngx_claude_process_t *process)
{
    process->err_total = 0;
    process->err_cut = 0;

    process->begun = 1;
    process->words.len = 0;
}


void
ngx_claude_process_pause(ngx_claude_process_t *process)
{
    process->paused = 1;
}


void
ngx_claude_process_resume(ngx_claude_process_t *process)
{
    if (!process->paused) {
        return;
    }

    process->paused = 0;

    /* edge-triggered: what came meanwhile is announced no second time */

    if (process->out && !process->reading) {
        ngx_post_event(process->out->read, &ngx_posted_events);
    }
}


void
ngx_claude_process_idle(ngx_claude_process_t *process,
    ngx_uint_t idle)
{
    if (process->out) {
        process->out->idle = idle;
    }
}


void
ngx_claude_process_end(ngx_claude_process_t *process)
{
    if (process->ending) {
        return;
    }

    process->ending = 1;
    process->outbox.deaf = 1;
    process_dismiss(process);
}


static void
process_started(ngx_claude_spawn_t *spawn,
    ngx_claude_spawned_t *child)
{
    ngx_claude_process_t *process = spawn->data;

    ngx_fd_t  fds[3];

    process->pid = child->pid;
    process->start = child->start;
    process->lifeline = child->lifeline;
    process->gate = child->gate;
    process->running = 1;

    fds[0] = child->in;
    fds[1] = child->out;
    fds[2] = child->err;

    if (process_open(process, fds) != NGX_OK && !process->ending) {
        process->unavailable = 1;
        process_reason(process, "worker_connections are not enough");
        process_broken(process);
        return;
    }

    if (process->ending) {
        process_dismiss(process);
        return;
    }

    process->handlers->started(process, child->record);
}


static void
process_failed(ngx_claude_spawn_t *spawn, ngx_err_t err, const char *what)
{
    ngx_claude_process_t *process = spawn->data;

    process->exited = 1;
    process->unavailable = 1;

    /* "lock", and no other step of a start, is about a session */

    process->locked = (what[0] == 'l');

    process_reason(process, "it could not be started");
    process_detail(process, err, what);
    process_broken(process);

    process->handlers->gone(process);
}


/* why it could not be started, with names that are the operator's */

static void
process_detail(ngx_claude_process_t *process, ngx_err_t err,
    const char *what)
{
    u_char              *p, *last;
    ngx_claude_spawn_t  *spawn;

    spawn = &process->spawn;

    p = ngx_pnalloc(process->pool,
                    sizeof("\"\" in \"\" with \"\":  failed")
                    + NGX_MAX_ERROR_STR
                    + ngx_strlen(spawn->binary) + ngx_strlen(spawn->directory)
                    + ngx_strlen(spawn->config) + ngx_strlen(what));
    if (p == NULL) {
        return;
    }

    process->detail.data = p;

    p = ngx_sprintf(p, "\"%s\" in \"%s\" with \"%s\": %s failed",
                    spawn->binary, spawn->directory, spawn->config, what);

    if (err) {
        last = p + NGX_MAX_ERROR_STR;
        p = ngx_log_errno(p, last, err);
    }

    process->detail.len = p - process->detail.data;
}


static void
process_exited(ngx_claude_spawn_t *spawn, int status)
{
    ngx_claude_process_t *process = spawn->data;

    ngx_uint_t  i;

    process->exited = 1;
    process->status = status;

    if (!process->ending && !process->is_broken) {

        /* the report may overtake the last of what it wrote */

        process->paused = 0;

        if (process->err) {
            process_err_handler(process->err->read);
        }

        /*
         * The CLI is gone: no more than what is left in the pipe will come,
         * and one read takes that.  More could only be of a child that the
         * CLI has left behind.
         */

        for (i = 0; i < PROCESS_READS; i++) {

            if (process->out == NULL || process->ending
                || process->is_broken)
            {
                break;
            }

            process->out->read->ready = 1;

            if (process_read(process) == NGX_AGAIN
                && process->drained)
            {
                break;
            }
        }
    }

    if (!process->ending && !process->is_broken) {

        if (process->adopted) {
            process_reason(process, "it exited");

        } else if (status == -1) {
            process_reason(process, "its spawner died");

        } else if (WIFSIGNALED(status)) {
            process_reason(process, "it was killed by signal %d",
                           WTERMSIG(status));
        } else {
            process_reason(process, "it exited with status %d",
                           WEXITSTATUS(status));
        }

        process_broken(process);
    }

    process_close(process);

    process->handlers->gone(process);
}


/* makes connections of stdin, stdout and stderr, which it takes over */

static ngx_int_t
process_open(ngx_claude_process_t *process, ngx_fd_t *fds)
{
    process->in = process_pipe(process, fds[0]);
    process->out = process_pipe(process, fds[1]);
    process->err = process_pipe(process, fds[2]);

    if (process->in == NULL || process->out == NULL || process->err == NULL) {
        return NGX_ERROR;
    }

    process->in->write->handler = process_write_handler;
    process->in->write->ready = 1;

    process->out->read->handler = process_read_handler;
    process->err->read->handler = process_err_handler;

    if (ngx_handle_read_event(process->out->read, 0) != NGX_OK
        || ngx_handle_read_event(process->err->read, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
process_unwatch(ngx_connection_t *c)
{
    if (!c->read->active && !c->write->active) {
        return;
    }

    if (ngx_del_conn) {
        (void) ngx_del_conn(c, 0);
        return;
    }

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
    }
}


/* an adopted process is no more; with what status only its parent knows */

static void
process_watch_handler(ngx_event_t *rev)
{
    struct pollfd          fds;
    ngx_connection_t      *c;
    ngx_claude_process_t  *process;

    c = rev->data;
    process = c->data;

    /* worker_shutdown_timeout calls this though nothing happened */

    fds.fd = c->fd;
    fds.events = 0;

    if (poll(&fds, 1, 0) != 1) {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) == NGX_OK) {
            return;
        }
    }

    process->lifeline = (ngx_fd_t) -1;
    process_close_pipe(&process->watch);
    process_exited(&process->spawn, 0);
}


/*
 * The keeper ends the CLI when nobody holds the lifeline, or when it is asked
 * to through a lifeline that has to stay, to tell when it has.
 */

static void
process_cut_lifeline(ngx_claude_process_t *process)
{
    if (process->lifeline == (ngx_fd_t) -1) {
        return;
    }

    if (process->watch == NULL) {
        (void) close(process->lifeline);

    } else if (ngx_claude_spawner_end(process->lifeline) == NGX_AGAIN) {

        /* full of records that a stopped keeper does not read */

        process_close_pipe(&process->watch);
    }

    process->lifeline = (ngx_fd_t) -1;
}


/* takes the descriptor over, also when it fails */

static ngx_connection_t *
process_pipe(ngx_claude_process_t *process, ngx_fd_t fd)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(fd, process->log);

    if (c == NULL) {
        (void) close(fd);
        return NULL;
    }

    c->data = process;
    c->read->log = process->log;
    c->write->log = process->log;
    c->read->handler = process_empty_handler;
    c->write->handler = process_empty_handler;

    return c;
}


static void
process_close_pipe(ngx_connection_t **c)
{
    if (*c) {
        ngx_close_connection(*c);
        *c = NULL;
    }
}


/*
 * Tells the process to end.  Its stdout and stderr are read on, and thrown
 * away, until it has: a CLI that gets SIGTERM and cannot write hangs, and may
 * go on calling the model.
 */

static void
process_dismiss(ngx_claude_process_t *process)
{
    process_err_flush(process);

    /*
     * In this order: at the end of its stdin a CLI that waits for results
     * gives up on them, and asks the model again.
     */

    process_cut_lifeline(process);
    process_close_pipe(&process->in);

    ngx_claude_outbox_drop(&process->outbox);

    if (process->paused) {
        ngx_claude_process_resume(process);
    }
}


/* all but what tells of its exit */

static void
process_close(ngx_claude_process_t *process)
{
    process_dismiss(process);

    process_close_pipe(&process->out);
    process_close_pipe(&process->err);
}


/* NGX_DONE: nothing can come any more */

static ngx_int_t
process_discard(ngx_claude_process_t *process, ngx_connection_t **c)
{
    static u_char  buf[PROCESS_READ_SIZE];

    ssize_t      n;
    ngx_uint_t   i;
    ngx_event_t *rev;

    rev = (*c)->read;

    for (i = 0; i < PROCESS_READS; i++) {

        n = read((*c)->fd, buf, PROCESS_READ_SIZE);

        if (n == -1 && ngx_errno == NGX_EAGAIN) {
            rev->ready = 0;

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                process_close_pipe(c);
            }

            return NGX_AGAIN;
        }

        if (n <= 0) {
            process_close_pipe(c);
            return NGX_DONE;
        }
    }

    ngx_post_event(rev, &ngx_posted_next_events);

    return NGX_AGAIN;
}


static void
process_read_handler(ngx_event_t *rev)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_connection_t      *c;
    ngx_claude_process_t  *process;

    c = rev->data;
    process = c->data;

    if (c->close) {

        /* ngx_close_idle_connections(): the worker shuts down */

        process_reason(process, "the worker shuts down");
        process_broken(process);
        return;
    }

    if (process->ending || process->is_broken) {
        (void) process_discard(process, &process->out);
        return;
    }

    for (i = 0, rc = NGX_OK; i < PROCESS_READS && rc == NGX_OK; i++) {

        if (process->paused || process->ending || process->is_broken) {
            break;
        }

        rc = process_read(process);

        /* after each read: what waits for the client is one read's */

        if (!process->ending && !process->is_broken) {
            process->handlers->quiet(process);
        }
    }

    if (process->ending || process->is_broken) {

        if (process->out) {
            (void) process_discard(process, &process->out);
        }

        return;
    }

    if (rc == NGX_OK && !process->paused) {
        ngx_post_event(rev, &ngx_posted_next_events);
    }

    if (process->out && ngx_handle_read_event(rev, 0) != NGX_OK) {
        process_reason(process, "its output cannot be watched");
        process_broken(process);
    }
}


/*
 * NGX_OK: there may be more; NGX_AGAIN: not now; NGX_DONE: no more, the pipe
 * is closed on one of the sides.
 */

static ngx_int_t
process_read(ngx_claude_process_t *process)
{
    static u_char  buf[PROCESS_READ_SIZE];

    ssize_t    n;
    ngx_int_t  rc;

    n = read(process->out->fd, buf, PROCESS_READ_SIZE);

    if (n == -1) {

        if (ngx_errno == NGX_EINTR) {
            return NGX_OK;
        }

        if (ngx_errno == NGX_EAGAIN) {
            process->out->read->ready = 0;
            process->drained = 1;
            return NGX_AGAIN;
        }

        n = 0;
    }

    if (n == 0) {

        /* the CLI exits, or has to: the report says with what status */

        process_close_pipe(&process->out);
        process_cut_lifeline(process);

        if (process->adopted && process->watch == NULL && !process->exited) {

            /* nobody will tell */

            process_reason(process, "it closed its stdout");
            process_broken(process);
        }

        return NGX_DONE;
    }

    process->drained = 0;
    process->reading = 1;
    rc = ngx_claude_cli_read(process->reader, buf, n);
    process->reading = 0;

    if (process->ending || process->is_broken) {
        return NGX_DONE;
    }

    if (rc != NGX_OK) {
        process_reason(process, "it wrote a line that is not JSON");
        process_broken(process);
        return NGX_DONE;
    }

    if (ngx_claude_cli_pending(process->reader) > process->max_line) {
        process_reason(process, "it wrote a line of more than %uz bytes, "
                       "see claude_max_line", process->max_line);
        process_broken(process);
        return NGX_DONE;
    }

    /* less than was asked for: the pipe is empty, more will be announced */

    if (n < PROCESS_READ_SIZE) {

        if (process->out) {
            process->out->read->ready = 0;
        }

        return NGX_AGAIN;
    }

    return NGX_OK;
}


static void
process_line(void *data, ngx_claude_cli_line_t *line)
{
    ngx_claude_process_t *process = data;

    /* the rest of what was read with the line that ended it */

    if (process->ending || process->is_broken) {
        return;
    }

    process->told = 1;
    process->handlers->line(process, line);
}


static void
process_err_handler(ngx_event_t *rev)
{
    u_char                 buf[4096];
    ssize_t                n;
    ngx_uint_t             i;
    ngx_connection_t      *c;
    ngx_claude_process_t  *process;

    c = rev->data;
    process = c->data;

    if (process->ending || process->is_broken) {
        (void) process_discard(process, &process->err);
        return;
    }

    for (i = 0; i < PROCESS_READS; i++) {

        n = read(c->fd, buf, sizeof(buf));

        if (n == -1 && ngx_errno == NGX_EAGAIN) {
            rev->ready = 0;

            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                process_close_pipe(&process->err);
            }

            return;
        }

        if (n <= 0) {
            process_err_flush(process);
            process_close_pipe(&process->err);
            return;
        }

        process_err_text(process, buf, n);
    }

    ngx_post_event(rev, &ngx_posted_next_events);
}


static void
process_err_text(ngx_claude_process_t *process, u_char *p, size_t len)
{
    u_char  *last;

    if (process->err_total + len > PROCESS_ERR_LIMIT) {

        if (!process->err_cut) {
            process->err_cut = 1;
            process_err_flush(process);

            ngx_log_error(NGX_LOG_WARN, process->log, 0,
                          "claude: process %P writes more than %d bytes to "
                          "stderr, the rest is dropped", process->pid,
                          PROCESS_ERR_LIMIT);
        }

        return;
    }

    process->err_total += len;

    if (process->err_line == NULL) {
        process->err_line = ngx_pnalloc(process->pool, PROCESS_ERR_LINE);
        if (process->err_line == NULL) {
            return;
        }
    }

    for (last = p + len; p < last; p++) {

        if (*p == LF) {
            process_err_flush(process);
            continue;
        }

        if (process->err_len < PROCESS_ERR_LINE) {

            /* no control characters: the log is read on terminals */

            process->err_line[process->err_len++] =
                                   (*p < 0x20 || *p == 0x7f) ? '.' : *p;
        }
    }
}


static void
process_err_flush(ngx_claude_process_t *process)
{
    if (process->err_len == 0) {
        return;
    }

    /*
     * Before its first line a CLI speaks of its own start, which is for the
     * operator; later there may be text of clients in what it says, which is
     * for debugging only.
     */

    if (process->told) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, process->log, 0,
                       "claude: process %P: %*s", process->pid,
                       process->err_len, process->err_line);
    } else {
        ngx_log_error(NGX_LOG_WARN, process->log, 0, "claude: process %P: %*s",
                      process->pid, process->err_len, process->err_line);
    }

    if (!process->begun) {
        process_err_words(process);
    }

    process->err_len = 0;
}


/* keeps the line: it may be why the process ends */

static void
process_err_words(ngx_claude_process_t *process)
{
    size_t  len;

    if (process->words.data == NULL) {
        process->words.data = ngx_pnalloc(process->pool, PROCESS_ERR_WORDS);
        if (process->words.data == NULL) {
            return;
        }
    }

    len = ngx_min(process->err_len, PROCESS_ERR_WORDS);

    ngx_memcpy(process->words.data, process->err_line, len);
    process->words.len = len;
}


static void
process_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "claude: pipe event");
}


static void
process_broken(ngx_claude_process_t *process)
{
    if (process->is_broken || process->ending) {
        return;
    }

    process->is_broken = 1;
    process->outbox.deaf = 1;
    process->handlers->broken(process);

    process_dismiss(process);
}


/* why the process is of no use any more; formats as ngx_sprintf() */

static void
process_reason(ngx_claude_process_t *process, const char *fmt, ...)
{
    u_char   buf[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    process->reason.data = ngx_pnalloc(process->pool, p - buf);

    if (process->reason.data) {
        process->reason.len = p - buf;
        ngx_memcpy(process->reason.data, buf, p - buf);
    }
}
