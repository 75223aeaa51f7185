
/*
 * What the programs of the benchmarks that ask have in common: the clock, the
 * CPU time of a server, a connection to it.
 */


#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


/* of a process, microseconds, in steps of 10 ms */
typedef struct {
    int64_t  all;
    int64_t  kernel;
} cpu_t;


static void
fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            strerror(errno));
    exit(1);
}


/* microseconds */

static int64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* pid: 0 for none, whose time is 0 */

static cpu_t
cpu(long pid)
{
    char        path[64], buf[1024], *p;
    FILE       *f;
    cpu_t       t;
    size_t      len;
    long long   user, sys;

    t.all = t.kernel = 0;

    if (pid == 0) {
        return t;
    }

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    f = fopen(path, "r");

    if (f == NULL) {
        fail(path);
    }

    len = fread(buf, 1, sizeof(buf) - 1, f);
    buf[len] = '\0';
    fclose(f);

    p = strrchr(buf, ')');

    if (p == NULL
        || sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld",
                  &user, &sys)
           != 2)
    {
        fail("stat");
    }

    t.kernel = sys * (1000000 / sysconf(_SC_CLK_TCK));
    t.all = user * (1000000 / sysconf(_SC_CLK_TCK)) + t.kernel;

    return t;
}


/* a connection to the loopback */

static int
dial(int port)
{
    int                 fd, one;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    one = 1;
    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (fd == -1 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) != 0) {
        fail("connect");
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    return fd;
}
