
/*
 * Processes, as proc(5) tells of them.  See the header.
 */


#include "ngx_claude_proc.h"
#include "ngx_claude_cstr.h"


/* numbers of fields in /proc/pid/stat */
#define PROC_STATE   3
#define PROC_START   22

/* bytes: stat has 52 fields, all numbers but a name of 15 bytes */
#define PROC_SIZE    2048


static u_char *proc_read(ngx_pid_t pid, const char *file, u_char *buf);
static u_char *proc_field(u_char *buf, u_char *last, ngx_uint_t n);
static uint64_t proc_number(u_char *p, u_char *last);


uint64_t
ngx_claude_proc_start(ngx_pid_t pid)
{
    u_char  buf[PROC_SIZE], *last;

    last = proc_read(pid, "stat", buf);

    return proc_number(proc_field(buf, last, PROC_START), last);
}


ngx_uint_t
ngx_claude_proc_gone(ngx_pid_t pid, uint64_t start)
{
    u_char    buf[PROC_SIZE], *p, *last;
    uint64_t  now;

    if (kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
        return 1;
    }

    last = proc_read(pid, "stat", buf);
    p = proc_field(buf, last, PROC_STATE);

    if (p < last && (*p == 'Z' || *p == 'X')) {
        return 1;
    }

    now = proc_number(proc_field(buf, last, PROC_START), last);

    return start && now && now != start;
}


uint64_t
ngx_claude_proc_memory(ngx_pid_t pid, uint64_t start)
{
    u_char  buf[PROC_SIZE], *p, *last;

    if (start == 0 || ngx_claude_proc_start(pid) != start) {
        return 0;
    }

    last = proc_read(pid, "statm", buf);

    for (p = buf; p < last && *p != ' '; p++) { /* void */ }

    return (p < last) ? proc_number(p + 1, last) * ngx_pagesize : 0;
}


/* reads a file of /proc/pid; returns the end, which is buf if there is none */

static u_char *
proc_read(ngx_pid_t pid, const char *file, u_char *buf)
{
    u_char       path[sizeof("/proc//statm") + NGX_INT64_LEN];
    ssize_t      n;
    ngx_fd_t     fd;
    const char  *name;

    name = ngx_claude_cstr_print(path, sizeof(path), "/proc/%P/%s", pid,
                                 file);

    fd = open(name, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return buf;
    }

    n = read(fd, buf, PROC_SIZE);
    (void) close(fd);

    return (n > 0) ? buf + n : buf;
}


/* field 2 of stat is the name in parentheses and may hold anything */

static u_char *
proc_field(u_char *buf, u_char *last, ngx_uint_t n)
{
    u_char      *p;
    ngx_uint_t   field;

    for (p = last; p > buf && p[-1] != ')'; p--) { /* void */ }

    for (field = 2; p < last && field < n; p++) {
        if (*p == ' ') {
            field++;
        }
    }

    return p;
}


static uint64_t
proc_number(u_char *p, u_char *last)
{
    uint64_t  value;

    for (value = 0; p < last && *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
    }

    return value;
}
