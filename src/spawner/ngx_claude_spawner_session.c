
/*
 * Spawner, private: what a session has on disk.  The keeper of a CLI opens,
 * locks and writes the record that lies beside the transcript, so that no
 * worker ever waits for a disk or for another tree of nginx, and a process
 * started for it alone deletes what is too old.
 *
 * The lock is flock()'s, on the record's file: it holds between any processes
 * of the machine and ends with the keeper, however that ends.  What has no
 * record is never touched: it belongs to people who use the CLI themselves.
 *
 * As the rest of the spawner it must call async-signal-safe functions only,
 * and system calls.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_spawner_child.h"
#include "ngx_claude_spawner_wire.h"

#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>


/* ms that another process may take to let go of a session */
#define KEEPER_LOCK_WAIT     5000

/* records that were replaced between open() and flock() */
#define KEEPER_LOCK_TRIES    100

#define KEEPER_NAME          256

/* bytes that a disk has to have free for a transcript to be trusted */
#define KEEPER_ROOM          (1024 * 1024)

#define KEEPER_TRANSCRIPT    ".jsonl"


/* directories that the CLI has beside its transcripts, by session */
static const char  *keeper_places[] = {
    "../../session-env/",
    "../../file-history/",
    "../../tasks/",
    NULL
};


static ngx_int_t keeper_lock_old(ngx_claude_keeper_session_t *session);
static ngx_int_t keeper_lock(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session, uint32_t *stage);
static ngx_int_t keeper_lock_wait(ngx_claude_keeper_t *keeper, int fd,
    ngx_msec_t deadline);
static void keeper_lock_helper(pid_t parent, int fd);
static ngx_int_t keeper_read(int fd, ngx_claude_record_t *record);
static ngx_int_t keeper_read_other(int fd, ngx_claude_record_t *record);
static void keeper_record(ngx_claude_keeper_session_t *session,
    ngx_claude_record_t *record);
static void keeper_write(ngx_claude_keeper_session_t *session);
static ngx_uint_t keeper_full(int fd);
static ngx_uint_t keeper_alive(int directory, ngx_claude_record_t *record,
    time_t ttl);
static void keeper_forget(int directory, ngx_claude_record_t *record);
static void keeper_sweep_record(int directory, const char *name, time_t ttl);
static char *keeper_name(char *buf, const char *dir, const char *name,
    const char *suffix);


ngx_int_t
ngx_claude_keeper_session_open(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session, uint32_t *stage)
{
    ngx_claude_record_t           record;
    ngx_claude_record_ask_t *ask;

    ngx_memzero(session, sizeof(ngx_claude_keeper_session_t));
    session->directory = -1;
    session->fd = -1;

    if (keeper->transcripts[0] == '\0') {
        return NGX_OK;
    }

    ask = &keeper->ask;
    *stage = NGX_CLAUDE_SPAWNER_RECORD;

    if (keeper->argc < 3
        || ask->session[NGX_CLAUDE_RECORD_UUID - 1] != '\0'
        || ask->name[NGX_CLAUDE_RECORD_NAME - 1] != '\0')
    {
        ngx_set_errno(NGX_EINVAL);
        return NGX_ERROR;
    }

    session->directory = ngx_claude_spawner_directory(keeper->transcripts);

    if (session->directory == -1) {
        return NGX_ERROR;
    }

    ngx_memcpy(session->name, ask->name, NGX_CLAUDE_RECORD_NAME);

    if (ask->name[0] == '\0' || keeper_lock_old(session) != NGX_OK) {

        ngx_memcpy(session->name, ask->session, NGX_CLAUDE_RECORD_UUID);

        if (keeper_lock(keeper, session, stage) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    keeper->argv[keeper->argc - 2] = "--session-id";
    keeper->argv[keeper->argc - 1] = ask->session;

    if (keeper_read(session->fd, &record) == NGX_OK) {

        if (ask->mode != NGX_CLAUDE_RECORD_FRESH
            && ngx_claude_holding_resumable(&record.holding)
            && keeper_alive(session->directory, &record, ask->ttl)
            && (ask->mode == NGX_CLAUDE_RECORD_CONTINUE
                || (!record.bare
                    && ngx_claude_hash_same(&record.tip, &ask->tip))))
        {
            session->record = record;
            session->resumed = 1;

            keeper->argv[keeper->argc - 2] = "--resume";
            keeper->argv[keeper->argc - 1] = session->record.session;

            return NGX_OK;
        }

        keeper_forget(session->directory, &record);

    } else if (keeper_read_other(session->fd, &record) == NGX_OK) {
        keeper_forget(session->directory, &record);
    }

    /* no magic: not resumed before the worker says what the CLI holds */

    ngx_memcpy(session->record.session, ask->session,
               NGX_CLAUDE_RECORD_UUID);

    /* a transcript of that name that has no record would be in its way */

    keeper_forget(session->directory, &session->record);
    keeper_write(session);

    return NGX_OK;
}


/*
 * A conversation that is known by what it holds.  Where another process has
 * it, or it is not there, a new one does as well.
 */

static ngx_int_t
keeper_lock_old(ngx_claude_keeper_session_t *session)
{
    char  name[KEEPER_NAME];

    keeper_name(name, "", session->name, NGX_CLAUDE_RECORD_SUFFIX);

    session->fd = openat(session->directory, name,
                         O_RDWR|O_NOFOLLOW|O_CLOEXEC);

    if (session->fd == -1) {
        return NGX_DECLINED;
    }

    if (flock(session->fd, LOCK_EX|LOCK_NB) == 0
        && ngx_claude_spawner_same(session->directory, name, session->fd))
    {
        return NGX_OK;
    }

    (void) close(session->fd);
    session->fd = -1;

    return NGX_DECLINED;
}


static ngx_int_t
keeper_lock(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session, uint32_t *stage)
{
    char        name[KEEPER_NAME];
    ngx_uint_t  i;
    ngx_msec_t  deadline;

    keeper_name(name, "", session->name, NGX_CLAUDE_RECORD_SUFFIX);
    deadline = ngx_claude_spawner_now() + KEEPER_LOCK_WAIT;

    for (i = 0; i < KEEPER_LOCK_TRIES; i++) {

        session->fd = openat(session->directory, name,
                             O_RDWR|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0600);

        if (session->fd == -1) {
            return NGX_ERROR;
        }

        if (flock(session->fd, LOCK_EX|LOCK_NB) == -1
            && keeper_lock_wait(keeper, session->fd, deadline) != NGX_OK)
        {
            *stage = NGX_CLAUDE_SPAWNER_LOCK;
            ngx_set_errno(NGX_EAGAIN);
            return NGX_ERROR;
        }

        /* deleted or replaced by who had the lock before: a lock of nothing */

        if (ngx_claude_spawner_same(session->directory, name, session->fd)) {
            return NGX_OK;
        }

        (void) close(session->fd);
    }

    *stage = NGX_CLAUDE_SPAWNER_LOCK;
    ngx_set_errno(NGX_EAGAIN);

    return NGX_ERROR;
}


/*
 * flock() knows no timeout and poll() no locks, so a helper waits for the
 * lock, which belongs to the description that both have.
 */

static ngx_int_t
keeper_lock_wait(ngx_claude_keeper_t *keeper, int fd,
    ngx_msec_t deadline)
{
    int                      status;
    pid_t                    pid, parent;
    ngx_uint_t               unwanted;
    ngx_msec_int_t           left;
    struct pollfd            fds[2];
    struct signalfd_siginfo  si;

    parent = getpid();
    pid = ngx_claude_spawner_fork();

    if (pid == -1) {
        return NGX_ERROR;
    }

    if (pid == 0) {
        keeper_lock_helper(parent, fd);
    }

    fds[0].fd = keeper->signals;
    fds[0].events = POLLIN;
    fds[1].fd = keeper->lifeline;
    fds[1].events = 0;

    unwanted = 0;

    for ( ;; ) {
        left = (ngx_msec_int_t) (deadline - ngx_claude_spawner_now());

        if (left <= 0 || unwanted) {
            break;
        }

        if (poll(fds, 2, (int) left) == -1) {
            continue;
        }

        while (read(keeper->signals, &si, sizeof(struct signalfd_siginfo))
               == sizeof(struct signalfd_siginfo))
        {
            unwanted |= (si.ssi_signo != SIGCHLD);
        }

        if (waitpid(pid, &status, WNOHANG) == pid) {
            return (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                   ? NGX_OK : NGX_ERROR;
        }

        unwanted |= (fds[1].revents != 0);
    }

    (void) kill(pid, SIGKILL);
    (void) waitpid(pid, &status, 0);

    if (unwanted) {
        _exit(0);
    }

    return NGX_ERROR;
}


static void
keeper_lock_helper(pid_t parent, int fd)
{
    sigset_t  set;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

    if (getppid() != parent) {
        _exit(1);
    }

    sigemptyset(&set);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);

    while (flock(fd, LOCK_EX) == -1) {
        if (ngx_errno != NGX_EINTR) {
            _exit(1);
        }
    }

    _exit(0);
}


static ngx_int_t
keeper_read(int fd, ngx_claude_record_t *record)
{
    if (pread(fd, record, sizeof(ngx_claude_record_t), 0)
        != sizeof(ngx_claude_record_t)
        || ngx_memcmp(record->magic, NGX_CLAUDE_RECORD_MAGIC,
                      sizeof(record->magic))
           != 0
        || record->session[NGX_CLAUDE_RECORD_UUID - 1] != '\0'
        || strchr(record->session, '/'))
    {
        return NGX_ERROR;
    }

    record->pending[NGX_CLAUDE_RECORD_UUID - 1] = '\0';

    return NGX_OK;
}


/*
 * Of a record of another layout, or one that is void, the session's id: what
 * its transcript is called, which is to go with it.
 */

static ngx_int_t
keeper_read_other(int fd, ngx_claude_record_t *record)
{
    size_t      n;
    ngx_uint_t  i;

    static const off_t  places[] = {
        offsetof(ngx_claude_record_t, session),
        88                                 /* nginx-2 */
    };

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {

        ngx_memzero(record, sizeof(ngx_claude_record_t));

        if (pread(fd, record->session, NGX_CLAUDE_RECORD_UUID, places[i])
            != NGX_CLAUDE_RECORD_UUID)
        {
            continue;
        }

        n = strspn(record->session, "0123456789abcdef-");

        if (n == NGX_CLAUDE_RECORD_UUID - 1 && record->session[n] == '\0') {
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static void
keeper_write(ngx_claude_keeper_session_t *session)
{
    ssize_t              n;
    ngx_claude_record_t  record;

    /* a transcript that has lost a message has lost it for ever */

    if (keeper_full(session->fd)) {
        session->torn = 1;
    }

    record = session->record;

    if (session->torn) {

        /* void, but for the transcript's name */

        ngx_memzero(record.magic, sizeof(record.magic));
    }

    n = pwrite(session->fd, &record, sizeof(ngx_claude_record_t), 0);

    /* a record that cannot be written is emptied: not resumed, and no worse */

    if (n != sizeof(ngx_claude_record_t)
        && ftruncate(session->fd, 0) == -1)
    {
        return;
    }
}


/*
 * The CLI does not say that it could not write its transcript, while a record
 * that is there already can be written over on a full disk.
 */

static ngx_uint_t
keeper_full(int fd)
{
    struct statfs  st;

    return fstatfs(fd, &st) == 0
           && st.f_bavail < KEEPER_ROOM / (ngx_uint_t) st.f_bsize + 1
           && st.f_blocks != 0;
}


/* whether a record's transcript is there and not too old */

static ngx_uint_t
keeper_alive(int directory, ngx_claude_record_t *record, time_t ttl)
{
    char             name[KEEPER_NAME];
    struct stat      st;
    struct timespec  now;

    keeper_name(name, "", record->session, KEEPER_TRANSCRIPT);

    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
        return 0;
    }

    (void) clock_gettime(CLOCK_REALTIME, &now);

    return st.st_mtim.tv_sec + ttl >= now.tv_sec;
}


/* deletes the transcript and what the CLI keeps with it */

static void
keeper_forget(int directory, ngx_claude_record_t *record)
{
    char         name[KEEPER_NAME];
    ngx_uint_t   i;

    /* a session id has its 36 characters: nothing else is deleted */

    if (ngx_strlen(record->session) != NGX_CLAUDE_RECORD_UUID - 1) {
        return;
    }

    keeper_name(name, "", record->session, KEEPER_TRANSCRIPT);
    (void) unlinkat(directory, name, 0);

    (void) ngx_claude_spawner_remove(directory, record->session);

    for (i = 0; keeper_places[i]; i++) {
        keeper_name(name, keeper_places[i], record->session, "");
        (void) ngx_claude_spawner_remove(directory, name);
    }
}


ngx_int_t
ngx_claude_keeper_session_read(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session)
{
    ssize_t              n;
    ngx_claude_record_t  record;

    /* each was written by one write(), so none comes in pieces */

    n = read(keeper->lifeline, &record, sizeof(ngx_claude_record_t));

    if (n == -1) {
        return NGX_AGAIN;
    }

    if (n != sizeof(ngx_claude_record_t)) {
        return NGX_DONE;
    }

    if (session->fd != -1) {
        keeper_record(session, &record);
    }

    return NGX_OK;
}


static void
keeper_record(ngx_claude_keeper_session_t *session,
    ngx_claude_record_t *record)
{
    char  from[KEEPER_NAME], to[KEEPER_NAME];

    /* a worker does not know the id: the keeper's stays */

    ngx_memcpy(record->session, session->record.session,
               sizeof(record->session));
    session->record = *record;

    keeper_write(session);

    if (record->name[0] == '\0'
        || record->name[NGX_CLAUDE_RECORD_NAME - 1] != '\0'
        || ngx_strcmp(record->name, session->name) == 0)
    {
        return;
    }

    /*
     * The name may be taken by another record of the same conversation: then
     * this one keeps the name that it had, and both are swept in the end.
     */

    keeper_name(from, "", session->name, NGX_CLAUDE_RECORD_SUFFIX);
    keeper_name(to, "", record->name, NGX_CLAUDE_RECORD_SUFFIX);

    if (linkat(session->directory, from, session->directory, to, 0) == 0) {
        (void) unlinkat(session->directory, from, 0);
        ngx_memcpy(session->name, record->name, NGX_CLAUDE_RECORD_NAME);
    }
}


void
ngx_claude_keeper_session_ending(
    ngx_claude_keeper_session_t *session)
{
    char         name[KEEPER_NAME];
    struct stat  st;

    if (session->fd == -1) {
        return;
    }

    keeper_name(name, "", session->record.session, KEEPER_TRANSCRIPT);

    if (fstatat(session->directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        session->mtime = st.st_mtim;
        session->dated = 1;
    }
}


/* the CLI's last lines to the transcript are no new use of the session */

void
ngx_claude_keeper_session_ended(
    ngx_claude_keeper_session_t *session)
{
    char             name[KEEPER_NAME];
    struct stat      st;
    struct timespec  times[2];

    if (session->fd == -1) {
        return;
    }

    keeper_name(name, "", session->record.session, KEEPER_TRANSCRIPT);

    if (fstatat(session->directory, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {

        /* no transcript: nothing was ever said */

        keeper_forget(session->directory, &session->record);
        keeper_name(name, "", session->name, NGX_CLAUDE_RECORD_SUFFIX);
        (void) unlinkat(session->directory, name, 0);

    } else if (session->dated) {
        times[0] = st.st_atim;
        times[1] = session->mtime;
        (void) utimensat(session->directory, name, times, 0);
    }

    (void) close(session->fd);
    (void) close(session->directory);

    session->fd = -1;
}


void
ngx_claude_keeper_sweep(int transcripts, time_t ttl)
{
    long                        n, i;
    size_t                      len;
    u_char                      buf[4096] __attribute__((aligned(8)));
    ngx_claude_spawner_entry_t *entry;

    while ((n = syscall(SYS_getdents64, transcripts, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);
            len = ngx_strlen(entry->name);

            if (len > sizeof(NGX_CLAUDE_RECORD_SUFFIX) - 1
                && ngx_strcmp(entry->name + len
                              - (sizeof(NGX_CLAUDE_RECORD_SUFFIX) - 1),
                              NGX_CLAUDE_RECORD_SUFFIX)
                   == 0)
            {
                keeper_sweep_record(transcripts, entry->name, ttl);
            }
        }
    }
}


static void
keeper_sweep_record(int directory, const char *name, time_t ttl)
{
    int                  fd;
    ngx_claude_record_t  record;

    fd = openat(directory, name, O_RDWR|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    /* a session whose lock is held is in use */

    if (flock(fd, LOCK_EX|LOCK_NB) == 0
        && ngx_claude_spawner_same(directory, name, fd))
    {
        if (keeper_read(fd, &record) != NGX_OK
            && keeper_read_other(fd, &record) != NGX_OK)
        {
            (void) unlinkat(directory, name, 0);

        } else if (!keeper_alive(directory, &record, ttl)) {
            keeper_forget(directory, &record);
            (void) unlinkat(directory, name, 0);
        }
    }

    (void) close(fd);
}


/* cuts what is too long: the names are UUIDs and digits */

static char *
keeper_name(char *buf, const char *dir, const char *name, const char *suffix)
{
    u_char  *p, *last;

    p = (u_char *) buf;
    last = p + KEEPER_NAME;

    for ( /* void */ ; *dir && p < last - 1; dir++) { *p++ = *dir; }
    for ( /* void */ ; *name && p < last - 1; name++) { *p++ = *name; }
    for ( /* void */ ; *suffix && p < last - 1; suffix++) { *p++ = *suffix; }

    *p = '\0';

    return buf;
}
