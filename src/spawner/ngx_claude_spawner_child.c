
/*
 * Spawner: what the processes below a worker have in common.  See the header.
 */


#include "ngx_claude_spawner_child.h"
#include "ngx_claude_cstr.h"

#include <sys/prctl.h>
#include <sys/syscall.h>


/* levels of directories that are open at once */
#define CHILD_DEPTH  64

/* the name of a directory that was deeper, with a number */
#define CHILD_MOVED  ".nginx-"


static ngx_uint_t child_empty(int top, int fd, ngx_uint_t depth);
static int child_open(int directory, const char *name);


void
ngx_claude_spawner_title(char *title, const char *name)
{
    /* ngx_setproctitle() is async-signal-safe but for its debug line */

    ngx_cycle->log->log_level = 0;

    ngx_setproctitle(title);

    (void) prctl(PR_SET_NAME, name, 0, 0, 0);
}


ngx_msec_t
ngx_claude_spawner_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


ngx_int_t
ngx_claude_spawner_kill_children(
    ngx_uint_t (*keep)(void *data, pid_t pid), void *data)
{
    int      fd;
    char     buf[1024];
    pid_t    pid;
    ssize_t  n, i;

    /* Linux 3.17, CONFIG_PROC_CHILDREN; who calls this has one thread */

    fd = open("/proc/thread-self/children", O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return NGX_ERROR;
    }

    pid = 0;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i++) {

            if (buf[i] >= '0' && buf[i] <= '9') {
                pid = pid * 10 + (buf[i] - '0');
                continue;
            }

            if (pid && (keep == NULL || !keep(data, pid))) {
                (void) kill(pid, SIGKILL);
            }

            pid = 0;
        }
    }

    (void) close(fd);

    return NGX_OK;
}


int
ngx_claude_spawner_directory(char *path)
{
    int    fd;
    char  *p;

    fd = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd != -1 || ngx_errno != NGX_ENOENT) {
        return fd;
    }

    for (p = path + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            (void) mkdir(path, 0700);
            *p = '/';
        }
    }

    (void) mkdir(path, 0700);

    return open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
}


ngx_uint_t
ngx_claude_spawner_same(int directory, const char *name, int fd)
{
    struct stat  a, b;

    return fstatat(directory, name, &a, AT_SYMLINK_NOFOLLOW) == 0
           && fstat(fd, &b) == 0
           && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}


ngx_int_t
ngx_claude_spawner_remove(int directory, const char *name)
{
    int         top;
    ngx_uint_t  moved;

    do {
        top = child_open(directory, name);

        if (top == -1) {
            return (ngx_errno == NGX_ENOENT
                    || unlinkat(directory, name, 0) == 0)
                   ? NGX_OK : NGX_ERROR;
        }

        moved = child_empty(top, top, 0);

        (void) close(top);

        if (unlinkat(directory, name, AT_REMOVEDIR) == 0) {
            return NGX_OK;
        }

    } while (moved);

    return NGX_ERROR;
}


/*
 * Removes all in a directory.  What is too deep moves to the top, for the next
 * time; returns how much did.
 */

static ngx_uint_t
child_empty(int top, int fd, ngx_uint_t depth)
{
    int                          below;
    long                         n, i;
    u_char                       buf[2048] __attribute__((aligned(8)));
    u_char                       name[sizeof(CHILD_MOVED) + NGX_INT_T_LEN];
    ngx_uint_t                   moved;
    ngx_claude_spawner_entry_t  *entry;

    static ngx_uint_t            number;

    moved = 0;

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);

            if (ngx_claude_spawner_is_dot(entry->name)
                || unlinkat(fd, entry->name, 0) == 0)
            {
                continue;
            }

            below = child_open(fd, entry->name);

            if (below == -1) {
                continue;
            }

            if (depth < CHILD_DEPTH) {
                moved += child_empty(top, below, depth + 1);
            }

            (void) close(below);

            if (unlinkat(fd, entry->name, AT_REMOVEDIR) == 0
                || depth < CHILD_DEPTH)
            {
                continue;
            }

            (void) ngx_sprintf(name, CHILD_MOVED "%ui%Z", ++number);

            moved += (renameat(fd, entry->name, top, ngx_claude_cstr(name))
                      == 0);
        }
    }

    return moved;
}


/*
 * Opens a directory that is to be emptied, which its owner may have closed to
 * himself: some tools write-protect what they have fetched.
 */

static int
child_open(int directory, const char *name)
{
    int          fd, path;
    u_char       proc[sizeof("/proc/self/fd/") + NGX_INT_T_LEN];
    struct stat  st;

    fd = openat(directory, name, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1 && ngx_errno == NGX_EACCES) {

        /* what is opened so is changed by way of /proc only */

        path = openat(directory, name,
                      O_PATH|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

        if (path == -1) {
            return -1;
        }

        (void) ngx_sprintf(proc, "/proc/self/fd/%d%Z", path);
        (void) chmod(ngx_claude_cstr(proc), 0700);
        (void) close(path);

        fd = openat(directory, name,
                    O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
    }

    if (fd != -1 && fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) {
        (void) fchmod(fd, 0700);
    }

    return fd;
}


ngx_uint_t
ngx_claude_spawner_is_dot(const char *name)
{
    return ngx_strcmp(name, ".") == 0 || ngx_strcmp(name, "..") == 0;
}
