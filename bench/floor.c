
/*
 * The floor: the least that a relay between CLIs and HTTP clients can do.
 * For each connection it starts the stand-in CLI, writes it the question, and
 * then: epoll, one read of the pipe, yajl, one write to the socket.  No
 * configuration, no filters, no limits, no timers, no conversation, nothing
 * of HTTP but a head.  What a server costs over this is its own.
 *
 *     floor PORT CLI
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <yajl/yajl_parse.h>


#define READ_SIZE     65536
#define REQUEST_SIZE  2048


typedef struct {
    int          client;
    int          pipe;                 /* the CLI's stdout, -1: not yet */
    int          text;                 /* the next string is a delta's */
    int          over;
    yajl_handle  yajl;
    size_t       len;
    char         request[REQUEST_SIZE];
} relay_t;


static const char   *cli;
static int           ep;
static char          out[4 * READ_SIZE];
static size_t        out_len;

static const char    head[] = "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream\r\nConnection: close\r\n\r\n";
static const char    open_[] = "data: {\"id\":\"chatcmpl-0123456789abcdef0123"
    "4567\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"sonnet\",\"system_fingerprint\":\"fp_claude\",\"choices\":[{"
    "\"index\":0,\"delta\":{\"content\":\"";
static const char    close_[] = "\"},\"logprobs\":null,\"finish_reason\":null}]"
    "}\n\n";
static const char    done[] = "data: [DONE]\n\n";


static void
fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}


static void
add(const char *p, size_t len)
{
    memcpy(out + out_len, p, len);
    out_len += len;
}


static int
on_key(void *ctx, const unsigned char *s, size_t len)
{
    relay_t  *r = ctx;

    r->text = (len == 4 && memcmp(s, "text", 4) == 0);

    return 1;
}


static int
on_string(void *ctx, const unsigned char *s, size_t len)
{
    relay_t  *r = ctx;

    if (r->text && len) {
        add(open_, sizeof(open_) - 1);
        add((const char *) s, len);
        add(close_, sizeof(close_) - 1);

    } else if (len == 12 && memcmp(s, "message_stop", 12) == 0) {
        add(done, sizeof(done) - 1);
        r->over = 1;
    }

    r->text = 0;

    return 1;
}


static const yajl_callbacks  callbacks = {
    .yajl_string = on_string,
    .yajl_map_key = on_key
};


static void
watch(int fd, relay_t *r)
{
    struct epoll_event  ev;

    ev.events = EPOLLIN|EPOLLET;
    ev.data.ptr = r;

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
        fail("epoll_ctl");
    }
}


static void
start(relay_t *r)
{
    int          in[2], to[2], len;
    char         line[512];
    const char  *script, *last;

    script = strstr(r->request, "[[bench ");
    last = script ? strstr(script, "]]") : NULL;

    if (last == NULL || pipe2(in, O_CLOEXEC) != 0 || pipe2(to, O_CLOEXEC) != 0) {
        fail("a question");
    }

    if (vfork() == 0) {
        dup2(in[0], 0);
        dup2(to[1], 1);
        execl(cli, "claude", "-p", "--input-format", "stream-json", NULL);
        _exit(127);
    }

    close(in[0]);
    close(to[1]);

    len = snprintf(line, sizeof(line), "{\"type\":\"user\",\"message\":{"
                   "\"role\":\"user\",\"content\":\"%.*s]]\"},\"uuid\":\"u\"}"
                   "\n", (int) (last - script), script);

    if (write(in[1], line, len) != len) {
        fail("write");
    }

    /* it answers, and ends as there is nothing more to read */

    close(in[1]);

    r->pipe = to[0];
    r->yajl = yajl_alloc(&callbacks, NULL, r);
    yajl_config(r->yajl, yajl_allow_multiple_values, 1);
    add(head, sizeof(head) - 1);
    watch(r->pipe, r);
}


static void
end(relay_t *r)
{
    close(r->client);

    if (r->pipe != -1) {
        close(r->pipe);
        yajl_free(r->yajl);
    }

    free(r);
}


static void
ask(relay_t *r)
{
    ssize_t  n;

    n = read(r->client, r->request + r->len, REQUEST_SIZE - 1 - r->len);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        end(r);
        return;
    }

    r->len += n;
    r->request[r->len] = '\0';

    if (strstr(r->request, "]]")) {
        start(r);
    }
}


static void
relay(relay_t *r)
{
    static unsigned char  buf[READ_SIZE];

    char     *p;
    ssize_t   n;

    do {
        n = read(r->pipe, buf, READ_SIZE);

        if (n <= 0) {

            if (n == 0 || errno != EAGAIN) {
                end(r);
            }

            return;
        }

        if (yajl_parse(r->yajl, buf, n) != yajl_status_ok) {
            fail("not JSON");
        }

        for (p = out; out_len; /* void */ ) {
            ssize_t  sent = write(r->client, p, out_len);

            if (sent > 0) {
                p += sent;
                out_len -= sent;

            } else if (errno != EAGAIN) {
                out_len = 0;
            }
        }

        if (r->over) {
            end(r);
            return;
        }

    } while (n == READ_SIZE);
}


int
main(int argc, char **argv)
{
    int                 i, n, fd, one, listener;
    relay_t            *r;
    struct sockaddr_in  sin;
    struct epoll_event  events[512];

    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT CLI\n");
        return 2;
    }

    cli = argv[2];
    one = 1;
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(atoi(argv[1]));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    listener = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ep = epoll_create1(EPOLL_CLOEXEC);

    if (bind(listener, (struct sockaddr *) &sin, sizeof(sin)) != 0
        || listen(listener, 4096) != 0)
    {
        fail("listen");
    }

    watch(listener, NULL);

    for ( ;; ) {
        n = epoll_wait(ep, events, 512, -1);

        for (i = 0; i < n; i++) {
            r = events[i].data.ptr;

            if (r) {
                if (r->pipe == -1) {
                    ask(r);
                } else {
                    relay(r);
                }

                continue;
            }

            while ((fd = accept4(listener, NULL, NULL,
                                 SOCK_CLOEXEC|SOCK_NONBLOCK))
                   != -1)
            {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

                r = calloc(1, sizeof(relay_t));

                if (r == NULL) {
                    fail("calloc");
                }

                r->client = fd;
                r->pipe = -1;
                watch(fd, r);
            }
        }
    }
}
