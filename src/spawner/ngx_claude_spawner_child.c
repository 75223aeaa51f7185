
/*
 * Spawner: what the processes below a worker have in common.  See the header.
 */


#include "ngx_claude_spawner_child.h"

#include <sys/prctl.h>


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
