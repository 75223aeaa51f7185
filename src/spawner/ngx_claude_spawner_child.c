
/*
 * Spawner: what the processes below a worker have in common.  See the header.
 */


#include "ngx_claude_spawner_child.h"

#include <sys/prctl.h>
#include <sys/syscall.h>


/* levels of directories that are removed */
#define CHILD_DEPTH  64


static void child_remove(int directory, const char *name, ngx_uint_t depth);


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


void
ngx_claude_spawner_remove(int directory, const char *name)
{
    child_remove(directory, name, 0);
}


static void
child_remove(int directory, const char *name, ngx_uint_t depth)
{
    int                          fd;
    long                         n, i;
    u_char                       buf[2048] __attribute__((aligned(8)));
    ngx_claude_spawner_entry_t  *entry;

    if (depth == CHILD_DEPTH) {
        return;
    }

    fd = openat(directory, name, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);

            if (!ngx_claude_spawner_is_dot(entry->name)
                && unlinkat(fd, entry->name, 0) == -1)
            {
                child_remove(fd, entry->name, depth + 1);
            }
        }
    }

    (void) close(fd);
    (void) unlinkat(directory, name, AT_REMOVEDIR);
}


ngx_uint_t
ngx_claude_spawner_is_dot(const char *name)
{
    return ngx_strcmp(name, ".") == 0 || ngx_strcmp(name, "..") == 0;
}
