
/*
 * How long the turns of a worker's event loop are, for bench/hostile and
 * t/real/slices.test.mjs: a library to preload, which stands between nginx and
 * epoll_wait().  From its return to the next call is one turn, in CPU time of
 * the thread, so that other work on the machine is not in it.  In the file
 * that EVENTS names are the longest one and their number, as two uint64_t:
 * nanoseconds, and a count.  With EVENTS_TRACE the stacks of turns that are
 * longer than so many milliseconds are written to standard error.
 */


#define _GNU_SOURCE

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


typedef struct {
    uint64_t  longest;
    uint64_t  turns;
} events_t;


static events_t  *events;
static uint64_t   began;
static long       trace;             /* msec; 0: none */
static int        out;               /* nginx's standard error is its log */
static timer_t    timer;
static pid_t      timed;             /* whose timer it is */


static uint64_t
now(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);

    return (uint64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}


static void
stack(int signo)
{
    int    n;
    void  *frames[64];

    n = backtrace(frames, 64);
    backtrace_symbols_fd(frames, n, out);
    (void) !write(out, "\n", 1);
}


__attribute__((constructor))
static void
begin(void)
{
    int          fd;
    void        *frame;
    const char  *s;

    s = getenv("EVENTS");
    fd = s ? open(s, O_RDWR) : -1;

    if (fd == -1) {
        return;
    }

    events = mmap(NULL, sizeof(events_t), PROT_READ|PROT_WRITE, MAP_SHARED,
                  fd, 0);
    close(fd);

    if (events == MAP_FAILED) {
        abort();
    }

    s = getenv("EVENTS_TRACE");
    trace = s ? atol(s) : 0;

    if (trace) {
        signal(SIGPROF, stack);
        out = fcntl(2, F_DUPFD_CLOEXEC, 3);
        (void) backtrace(&frame, 1);             /* loads what it needs */
    }
}


static void
arm(long msec)
{
    struct sigevent    event = { 0 };
    struct itimerspec  time = { 0 };

    if (timed != getpid()) {
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGPROF;

        if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) != 0) {
            return;
        }

        timed = getpid();
    }

    time.it_value.tv_sec = msec / 1000;
    time.it_value.tv_nsec = msec % 1000 * 1000000;
    time.it_interval = time.it_value;

    timer_settime(timer, 0, &time, NULL);
}


int
epoll_wait(int epfd, struct epoll_event *list, int n, int timeout)
{
    int       rc;
    uint64_t  took;

    static int  (*wait_for)(int, struct epoll_event *, int, int);

    if (wait_for == NULL) {
        wait_for = (int (*)(int, struct epoll_event *, int, int))
                       dlsym(RTLD_NEXT, "epoll_wait");
    }

    if (events && began) {
        took = now() - began;
        events->turns++;

        if (took > events->longest) {
            events->longest = took;
        }
    }

    if (trace) {
        arm(0);
    }

    rc = wait_for(epfd, list, n, timeout);

    if (trace) {
        arm(trace);
    }

    began = events ? now() : 0;

    return rc;
}
