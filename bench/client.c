
/*
 * The measuring side of the benchmarks: reads answers of bench/cli.c, finds
 * the stamps in them, and says when they arrived.  One thread, epoll.
 *
 *     client pipe CLI [option=value ...]        a bare pipe, no server
 *     client http PORT [option=value ...]       streams of a server
 *
 *     streams=1 turns=1 n=100 gap=2000 pad=16   as bench/cli.c has them
 *     lead=0      milliseconds before the first delta, the same moment for
 *                 all streams but for a share of the gap each
 *     pid=0       of a server: its CPU time is taken as well
 *     raw=FILE    each latency in microseconds, a line each, appended
 *
 * Prints name=value lines.
 */


#define _GNU_SOURCE

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "measure.h"

#define READ_SIZE  262144
#define KEEP       64                  /* a stamp may be cut by a read */


typedef struct {
    int        fd;
    int        out;                    /* where a question goes */
    int        over;
    int64_t    first;                  /* arrival of the first byte */
    int64_t   *late;                   /* of each delta, microseconds */
    long       got;
    long       all;                    /* over turns */
    char       tail[KEEP];
    size_t     tail_len;
} stream_t;


static long      streams = 1, turns = 1, n = 100, gap = 2000, pad = 16;
static long      lead, pid;
static char     *raw;

static stream_t *stream;
static int64_t  *firsts;
static long      nfirsts;


/* resident memory of a process, bytes */

static long
rss(long of)
{
    char   path[64];
    FILE  *f;
    long   pages;

    pages = 0;
    snprintf(path, sizeof(path), "/proc/%ld/statm", of);
    f = of ? fopen(path, "r") : NULL;

    if (f) {
        if (fscanf(f, "%*d %ld", &pages) != 1) {
            pages = 0;
        }

        fclose(f);
    }

    return pages * sysconf(_SC_PAGESIZE);
}


static int64_t
number(const char **p)
{
    int64_t  value;

    for (value = 0; **p >= '0' && **p <= '9'; (*p)++) {
        value = value * 10 + (**p - '0');
    }

    return value;
}


/* stamps in what arrived at that moment; what is cut is kept */

static void
look(stream_t *s, char *buf, size_t len, int64_t at, const char *sign,
    const char *end)
{
    char        *text, *last;
    const char  *p, *q;
    int64_t      value;

    /* the kept bytes stand right before buf */

    text = buf - s->tail_len;
    memcpy(text, s->tail, s->tail_len);
    last = buf + len;
    *last = '\0';

    if (s->first == 0 && memmem(text, last - text, sign, strlen(sign))) {
        s->first = at;
    }

    s->tail_len = 0;

    for (p = text; p < last; p++) {

        if (*p != '@' && *p != '#') {
            continue;
        }

        q = p + 1;
        value = number(&q);

        if (q == last) {
            s->tail_len = last - p;
            break;
        }

        if (*q != ';' || value == 0) {
            continue;
        }

        if (*p == '#') {
            firsts[nfirsts++] = s->first - value;

        } else if (s->got < n) {
            s->late[s->all++] = at - value;
            s->got++;
        }

        p = q;
    }

    if (s->tail_len == 0) {
        s->tail_len = (size_t) (last - text) < strlen(end)
                      ? (size_t) (last - text) : strlen(end) - 1;
    }

    if (s->tail_len > KEEP) {
        s->tail_len = KEEP;
    }

    memmove(s->tail, last - s->tail_len, s->tail_len);

    if (memmem(text, last - text, end, strlen(end))) {
        s->over = 1;
    }
}


static void
put(int fd, const char *p, size_t len)
{
    ssize_t  done;

    while (len) {
        done = write(fd, p, len);

        if (done <= 0) {
            fail("write");
        }

        p += done;
        len -= done;
    }
}


static void
script(char *to, size_t size, int64_t at)
{
    snprintf(to, size, "Go. [[bench n=%ld gap=%ld pad=%ld at=%lld]]", n, gap,
             pad, (long long) at);
}


/* starts the stand-in in its persistent mode */

static pid_t
start_cli(const char *cli, stream_t *s)
{
    int    in[2], out[2];
    pid_t  child;

    if (pipe(in) != 0 || pipe(out) != 0) {
        fail("pipe");
    }

    child = fork();

    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl(cli, "claude", "-p", "--input-format", "stream-json", NULL);
        _exit(127);
    }

    close(in[0]);
    close(out[1]);
    s->out = in[1];
    s->fd = out[0];

    return child;
}


static void
ask_pipe(stream_t *s, int64_t at)
{
    int   len;
    char  text[128], buf[512];

    script(text, sizeof(text), at);

    len = snprintf(buf, sizeof(buf), "{\"type\":\"user\",\"message\":{"
                   "\"role\":\"user\",\"content\":\"%s\"},\"uuid\":\"u\"}\n",
                   text);
    put(s->out, buf, len);
}


static void
ask_http(stream_t *s, int port, int64_t at)
{
    int   len, body;
    char  text[128], json[512], buf[1024];

    s->fd = dial(port);

    script(text, sizeof(text), at);

    body = snprintf(json, sizeof(json), "{\"model\":\"sonnet\",\"stream\":"
                    "true,\"messages\":[{\"role\":\"user\",\"content\":"
                    "\"%s\"}]}", text);
    len = snprintf(buf, sizeof(buf), "POST /v1/chat/completions HTTP/1.1\r\n"
                   "Host: bench\r\nContent-Type: application/json\r\n"
                   "Content-Length: %d\r\n\r\n%s", body, json);
    put(s->fd, buf, len);
}


static int
compare(const void *a, const void *b)
{
    int64_t  x = *(const int64_t *) a, y = *(const int64_t *) b;

    return (x > y) - (x < y);
}


static int64_t
quantile(int64_t *sorted, long count, double q)
{
    long  i;

    if (count == 0) {
        return -1;
    }

    i = (long) (q * count);

    return sorted[i < count ? i : count - 1];
}


static void
report(cpu_t used, int64_t took, long memory)
{
    long      i, j, count, whole;
    FILE     *f;
    int64_t  *all, worst, p99;

    for (i = 0, count = 0; i < streams; i++) {
        count += stream[i].all;
    }

    all = malloc((count + 1) * sizeof(int64_t));
    count = 0;
    worst = 0;
    whole = 0;

    for (i = 0; i < streams; i++) {
        memcpy(all + count, stream[i].late, stream[i].all * sizeof(int64_t));
        count += stream[i].all;
        whole += (stream[i].all == n * turns);

        qsort(stream[i].late, stream[i].all, sizeof(int64_t), compare);
        p99 = quantile(stream[i].late, stream[i].all, 0.99);
        worst = (p99 > worst) ? p99 : worst;
    }

    if (raw) {
        f = fopen(raw, "a");

        if (f == NULL) {
            fail(raw);
        }

        for (j = 0; j < count; j++) {
            fprintf(f, "delta %lld\n", (long long) all[j]);
        }

        for (j = 0; j < nfirsts; j++) {
            fprintf(f, "first %lld\n", (long long) firsts[j]);
        }

        fclose(f);
    }

    qsort(all, count, sizeof(int64_t), compare);
    qsort(firsts, nfirsts, sizeof(int64_t), compare);

    printf("deltas=%ld\nwhole=%ld\nmedian=%lld\np99=%lld\nmax=%lld\n"
           "worst_stream_p99=%lld\nfirst_median=%lld\nfirst_p99=%lld\n"
           "cpu=%lld\nkernel=%lld\ntook=%lld\nmemory=%ld\n",
           count, whole, (long long) quantile(all, count, 0.5),
           (long long) quantile(all, count, 0.99),
           (long long) quantile(all, count, 1), (long long) worst,
           (long long) quantile(firsts, nfirsts, 0.5),
           (long long) quantile(firsts, nfirsts, 0.99), (long long) used.all,
           (long long) used.kernel, (long long) took, memory);
}


/* reads all streams to the end of one turn */

static void
run(const char *sign, const char *end, int64_t at, cpu_t *used,
    int64_t *began, long *memory)
{
    static char  buf[KEEP + READ_SIZE + 1];

    int                 ep, i, ready;
    long                left;
    ssize_t             len;
    int64_t             t;
    stream_t           *s;
    struct epoll_event  ev, events[256];

    ep = epoll_create1(EPOLL_CLOEXEC);

    for (i = 0; i < streams; i++) {
        ev.events = EPOLLIN;
        ev.data.ptr = &stream[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, stream[i].fd, &ev);
    }

    *began = 0;

    for (left = streams; left; /* void */ ) {
        ready = epoll_wait(ep, events, 256, 30000);

        if (ready == 0) {
            fprintf(stderr, "client: nothing came for 30 s, %ld of %ld "
                    "streams are not over\n", left, streams);
            exit(1);
        }

        if (*began == 0 && (at == 0 || now() >= at)) {
            *began = now();
            *used = cpu(pid);
        }

        for (i = 0; i < ready; i++) {
            s = events[i].data.ptr;

            len = read(s->fd, buf + KEEP, READ_SIZE);
            t = now();

            if (len <= 0) {
                fprintf(stderr, "client: a stream ended early, at %ld of %ld "
                        "deltas: %.*s\n", s->got, n, (int) s->tail_len,
                        s->tail);
                exit(1);
            }

            look(s, buf + KEEP, len, t, sign, end);

            if (s->over) {
                if (left == streams) {
                    *memory = rss(pid);         /* all were open */
                }

                epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, NULL);
                left--;
            }
        }
    }

    close(ep);
}


static void
measure(const char *where, int http)
{
    long     i, turn, memory, before;
    pid_t    child;
    cpu_t    used, from, to;
    int64_t  at, took, began;

    child = 0;
    used.all = used.kernel = 0;
    took = 0;
    memory = 0;
    before = rss(pid);

    if (!http) {
        streams = 1;
        child = start_cli(where, &stream[0]);
    }

    for (turn = 0; turn < turns; turn++) {
        at = lead ? now() + lead * 1000 : 0;

        for (i = 0; i < streams; i++) {
            stream[i].got = 0;
            stream[i].first = 0;
            stream[i].over = 0;
            stream[i].tail_len = 0;

            if (http) {
                ask_http(&stream[i], atoi(where),
                         at ? at + i * gap / streams : 0);
            } else {
                ask_pipe(&stream[i], at);
            }
        }

        if (http) {
            run("data: {", "data: [DONE]", at, &from, &began, &memory);
        } else {
            run("message_start", "\"type\":\"result\"", at, &from, &began,
                &memory);
        }

        to = cpu(pid);
        used.all += to.all - from.all;
        used.kernel += to.kernel - from.kernel;
        took += now() - began;

        for (i = 0; http && i < streams; i++) {
            close(stream[i].fd);
        }
    }

    if (child) {
        close(stream[0].out);
        waitpid(child, NULL, 0);
    }

    report(used, took, memory - before);
}


int
main(int argc, char **argv)
{
    int     i, j;
    char   *value;
    size_t  len;

    static const struct { const char *name; long *value; } options[] = {
        { "streams", &streams }, { "turns", &turns }, { "n", &n },
        { "gap", &gap }, { "pad", &pad }, { "lead", &lead }, { "pid", &pid }
    };

    if (argc < 3) {
        fprintf(stderr, "usage: client pipe|http CLI|PORT "
                        "[option=value ...]\n");
        return 2;
    }

    for (i = 3; i < argc; i++) {
        value = strchr(argv[i], '=');
        len = value ? (size_t) (value - argv[i]) : 0;

        if (len == 3 && memcmp(argv[i], "raw", 3) == 0) {
            raw = value + 1;
        }

        for (j = 0; j < (int) (sizeof(options) / sizeof(options[0])); j++) {
            if (len == strlen(options[j].name)
                && memcmp(argv[i], options[j].name, len) == 0)
            {
                *options[j].value = atol(value + 1);
            }
        }
    }

    signal(SIGPIPE, SIG_IGN);

    stream = calloc(streams, sizeof(stream_t));
    firsts = calloc(streams * turns + 1, sizeof(int64_t));

    for (i = 0; i < streams; i++) {
        stream[i].late = calloc(n * turns + 1, sizeof(int64_t));
    }

    measure(argv[2], strcmp(argv[1], "http") == 0);

    return 0;
}
