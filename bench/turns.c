
/*
 * The asking side of bench/turns: clients that keep their connection and
 * their conversation, and ask for the next short answer as soon as they have
 * the last.  One thread, epoll.
 *
 *     turns PORT [option=value ...]
 *
 *     clients=16   at once, each with conversations of its own
 *     turns=20000  in all
 *     talk=10      turns of a conversation, then the client begins another
 *     deltas=3     of each answer
 *     gap=0        microseconds between them
 *     pid=0        of the server: its CPU time is taken
 *
 * Prints name=value lines.  A turn is wrong if its answer is not whole.
 */


#define _GNU_SOURCE

#include <signal.h>
#include <sys/epoll.h>

#include "measure.h"


#define TALK_MAX     64
#define DELTAS_MAX   200
#define BODY_SIZE    (TALK_MAX * (256 + DELTAS_MAX * 4))
#define ANSWER_SIZE  65536
#define PAD          "xxxx"              /* what bench/cli.c pads with */


typedef struct {
    int       fd;
    long      id;
    long      talk;                      /* of its conversations */
    long      turn;                      /* of the conversation */
    int64_t   asked;
    size_t    len;
    char      answer[ANSWER_SIZE + 1];
} client_t;


static long      port, clients = 16, turns = 20000, talk = 10, deltas = 3, gap;
static long      pid;
static long      asked, answered, wrong;
static int64_t  *took;


/* the conversation so far, and a question more */

static void
ask(client_t *c)
{
    static char  body[BODY_SIZE], request[BODY_SIZE + 256];

    char  *p, *last;
    long   i, n;
    int    len;

    if (c->turn == talk) {
        c->turn = 0;
        c->talk++;
    }

    p = body;
    last = body + sizeof(body);

    p += snprintf(p, last - p, "{\"model\":\"sonnet\",\"stream\":true,"
                  "\"messages\":[");

    for (i = 0; i <= c->turn; i++) {

        p += snprintf(p, last - p, "%s{\"role\":\"user\",\"content\":\"Client "
                      "%ld, talk %ld, turn %ld. [[bench n=%ld gap=%ld pad=4 "
                      "stamp=0]]\"}", i ? "," : "", c->id, c->talk, i, deltas,
                      gap);

        if (i < c->turn) {
            p += snprintf(p, last - p,
                          ",{\"role\":\"assistant\",\"content\":\"");

            for (n = 0; n < deltas; n++) {
                p += snprintf(p, last - p, PAD);
            }

            p += snprintf(p, last - p, "\"}");
        }
    }

    p += snprintf(p, last - p, "]}");

    len = snprintf(request, sizeof(request), "POST /v1/chat/completions "
                   "HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json"
                   "\r\nContent-Length: %ld\r\n\r\n%s", (long) (p - body),
                   body);

    c->asked = now();
    c->turn++;
    c->len = 0;
    asked++;

    if (write(c->fd, request, len) != len) {
        fail("write");
    }
}


static long
count(const char *p, const char *what)
{
    long  n;

    for (n = 0; (p = strstr(p, what)) != NULL; p++, n++) { }

    return n;
}


/* 1: the answer is there to its end */

static int
hear(client_t *c)
{
    ssize_t  n;

    n = read(c->fd, c->answer + c->len, ANSWER_SIZE - c->len);

    if (n <= 0) {
        fprintf(stderr, "turns: a connection was closed after %zu bytes\n",
                c->len);
        exit(1);
    }

    c->len += n;
    c->answer[c->len] = '\0';

    if (c->len < 5 || memcmp(c->answer + c->len - 5, "0\r\n\r\n", 5) != 0) {
        return 0;
    }

    wrong += (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0
              || count(c->answer, "{\"content\":\"" PAD "\"}") != deltas
              || strstr(c->answer, "data: [DONE]") == NULL);

    took[answered++] = now() - c->asked;

    return 1;
}


static int
compare(const void *a, const void *b)
{
    int64_t  x = *(const int64_t *) a, y = *(const int64_t *) b;

    return (x > y) - (x < y);
}


int
main(int argc, char **argv)
{
    int                 i, j, ep, ready;
    char               *value;
    size_t              len;
    int64_t             used, began;
    client_t           *client, *c;
    struct epoll_event  ev, events[256];

    static const struct { const char *name; long *value; } options[] = {
        { "clients", &clients }, { "turns", &turns }, { "talk", &talk },
        { "deltas", &deltas }, { "gap", &gap }, { "pid", &pid }
    };

    if (argc < 2) {
        fprintf(stderr, "usage: turns PORT [option=value ...]\n");
        return 2;
    }

    port = atol(argv[1]);

    for (i = 2; i < argc; i++) {
        value = strchr(argv[i], '=');
        len = value ? (size_t) (value - argv[i]) : 0;

        for (j = 0; j < (int) (sizeof(options) / sizeof(options[0])); j++) {
            if (len == strlen(options[j].name)
                && memcmp(argv[i], options[j].name, len) == 0)
            {
                *options[j].value = atol(value + 1);
            }
        }
    }

    if (talk > TALK_MAX || deltas > DELTAS_MAX) {
        fprintf(stderr, "turns: talk=%d and deltas=%d at most\n", TALK_MAX,
                DELTAS_MAX);
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);

    client = calloc(clients, sizeof(client_t));
    took = calloc(turns + clients, sizeof(int64_t));
    ep = epoll_create1(EPOLL_CLOEXEC);

    if (client == NULL || took == NULL || ep == -1) {
        fail("start");
    }

    used = cpu(pid).all;
    began = now();

    for (i = 0; i < clients; i++) {
        client[i].id = i;
        client[i].fd = dial(port);

        ev.events = EPOLLIN;
        ev.data.ptr = &client[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, client[i].fd, &ev);

        ask(&client[i]);
    }

    while (answered < asked) {
        ready = epoll_wait(ep, events, 256, 30000);

        if (ready == 0) {
            fprintf(stderr, "turns: nothing came for 30 s, %ld of %ld turns "
                    "are over\n", answered, asked);
            return 1;
        }

        for (i = 0; i < ready; i++) {
            c = events[i].data.ptr;

            if (hear(c) && asked < turns) {
                ask(c);
            }
        }
    }

    used = cpu(pid).all - used;
    began = now() - began;

    qsort(took, answered, sizeof(int64_t), compare);

    printf("turns=%ld\nwrong=%ld\ncpu=%lld\ntook=%lld\nmedian=%lld\n"
           "p99=%lld\n", answered, wrong, (long long) used, (long long) began,
           (long long) took[answered / 2],
           (long long) took[answered * 99 / 100]);

    return wrong != 0;
}
