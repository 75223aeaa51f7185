
/*
 * A stand-in for the Claude CLI that is as light as can be: for measuring the
 * server in front of it, also with thousands of processes.  It speaks the
 * persistent mode, as t/bin/claude does, and the one-shot mode of
 * "claude -p prompt".  It keeps no conversation.  With --plugin-dir it says
 * what the module's plugin says of each call.  That its lines have what the
 * module reads of the real one's, t/001-recordings.t sees to.
 *
 * How it answers stands in the question:
 *
 *     [[bench n=500 gap=2000 pad=16 at=0]]
 *
 * n deltas, gap microseconds apart (0: as fast as the pipe takes them, many
 * lines a write), pad bytes of text in each besides the stamp; the first one
 * at that moment of CLOCK_MONOTONIC, in microseconds.  Each delta's text has
 * the moment of its write, "@123456789;", and the first also that of
 * message_start, "#123456000;".  With stamp=0 the text is the pad alone.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define VERSION   "2.1.330"
#define SESSION   "746dabf7-5ff4-413f-aa30-19dd1378a61e"
#define TAIL      ",\"session_id\":\"" SESSION "\",\"parent_tool_use_id\":null," \
                  "\"uuid\":\"a661918f-fe13-4e1a-9108-eb8357fc64b0\","          \
                  "\"api_message_id\":\"msg_1\"}\n"
#define OUT_SIZE  65536
#define LINE_MAX_ 1536
#define MODEL     "claude-sonnet-5-5"
#define COST      0.0001      /* of a turn, in dollars */


typedef struct {
    int64_t   n;              /* deltas */
    int64_t   gap;            /* microseconds */
    int64_t   pad;
    int64_t   at;
    int64_t   stamp;          /* 0: texts have none */
    int64_t   sent;
    int64_t   due;            /* of the next delta */
    int64_t   started;        /* stamp of message_start, 0: not yet */
    int       running;
    char      uuid[40];
} turn_t;


static turn_t   turn;

static char    *in;           /* what came and is not a whole line yet */
static size_t   in_len, in_size;
static int      in_eof;

static char    *waiting;      /* user lines that came during a turn */
static size_t   waiting_len;

static char     out[OUT_SIZE];
static size_t   out_pos, out_len;
static double   cost;
static int      gated;        /* with the module's plugin */
static unsigned calls;
static char     pad[LINE_MAX_ / 2];


static int64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static void *
grow(void *p, size_t size)
{
    p = realloc(p, size);

    if (p == NULL) {
        exit(70);
    }

    return p;
}


/* writes what the pipe takes now */

static void
flush(void)
{
    ssize_t  n;

    while (out_pos < out_len) {
        n = write(1, out + out_pos, out_len - out_pos);

        if (n > 0) {
            out_pos += n;
            continue;
        }

        if (errno == EINTR) {
            continue;
        }

        if (errno == EAGAIN) {
            return;
        }

        exit(0);
    }

    out_pos = out_len = 0;
}


/* for answers: waits until there is room, which they are too few to matter */

static char *
room(size_t size)
{
    struct pollfd  pfd;

    if (out_pos == out_len) {
        out_pos = out_len = 0;
    }

    while (OUT_SIZE - out_len < size) {

        if (out_pos) {
            memmove(out, out + out_pos, out_len - out_pos);
            out_len -= out_pos;
            out_pos = 0;
            continue;
        }

        pfd.fd = 1;
        pfd.events = POLLOUT;
        (void) poll(&pfd, 1, -1);
        flush();
    }

    return out + out_len;
}


static void
say(const char *fmt, ...)
{
    int      n;
    va_list  args;

    char  *p = room(LINE_MAX_);

    va_start(args, fmt);
    n = vsnprintf(p, LINE_MAX_, fmt, args);
    va_end(args);

    out_len += (n < LINE_MAX_) ? n : LINE_MAX_ - 1;
}


/*
 * The value of a string member, by its first place in the line.  A quote in a
 * string is escaped, so that "name":" is nothing that text can hold.
 */

static void
member(const char *line, const char *name, char *to, size_t size)
{
    char         key[64];
    size_t       len;
    const char  *p;

    (void) snprintf(key, sizeof(key), "\"%s\":\"", name);

    p = strstr(line, key);
    len = 0;

    if (p) {
        p += strlen(key);
        len = strcspn(p, "\"\\");
        len = (len < size) ? len : size - 1;
        memcpy(to, p, len);
    }

    to[len] = '\0';
}


static int64_t
word(const char *s, const char *name, int64_t otherwise)
{
    char         key[32];
    const char  *p;

    (void) snprintf(key, sizeof(key), " %s=", name);

    p = strstr(s, key);

    return p ? strtoll(p + strlen(key), NULL, 10) : otherwise;
}


/* a line of the plugin's; text: JSON, without its quotes */

static void
gate(const char *text)
{
    if (gated) {
        say("{\"type\":\"system\",\"subtype\":\"ui_log\",\"plugin\":"
            "\"nginx-gate\",\"text\":\"%s\",\"uuid\":"
            "\"0a3c2a43-2b2e-4d55-a2f4-a4e1c6b5a0f7\",\"session_id\":\""
            SESSION "\"}\n", text);
    }
}


static void
lifecycle(const char *state)
{
    say("{\"type\":\"command_lifecycle\",\"command_uuid\":\"%s\",\"state\":"
        "\"%s\",\"uuid\":\"11850447-03ee-4d6a-be2b-cd41b9a56be1\","
        "\"session_id\":\"" SESSION "\"}\n", turn.uuid, state);
}


/* stop: JSON; terminal: a word, or NULL when the model was not asked */

static void
result(const char *subtype, const char *stop, const char *terminal)
{
    int        error;
    char       usage[256];
    long long  sent;

    error = (strcmp(subtype, "success") != 0);
    sent = turn.sent;
    usage[0] = '\0';

    if (terminal) {
        (void) snprintf(usage, sizeof(usage), "\"" MODEL "\":{"
                        "\"inputTokens\":10,\"outputTokens\":%lld,"
                        "\"cacheReadInputTokens\":0,"
                        "\"cacheCreationInputTokens\":0,"
                        "\"costUSD\":%.6f,\"thinkingTokens\":0}", sent, COST);
    }

    say("{\"duration_api_ms\":1,\"stop_reason\":%s,\"session_id\":\"" SESSION
        "\",\"total_cost_usd\":%.6f,\"usage\":{\"input_tokens\":%d,"
        "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
        "\"output_tokens\":%lld,\"output_tokens_details\":{"
        "\"thinking_tokens\":0}},\"type\":\"result\",\"subtype\":\"%s\","
        "\"is_error\":%s,\"num_turns\":%d,%s%s%s%s%s\"user_message_uuid\":"
        "\"%s\",\"uuid\":\"6b6631d7-544e-4a2d-a626-2fa96db2210e\","
        "\"model_usage_since_last_result\":{%s}}\n",
        stop, cost, (terminal && !error) ? 10 : 0, error ? 0 : sent, subtype,
        error ? "true" : "false", terminal ? error ? 2 : 1 : 0,
        terminal ? "\"terminal_reason\":\"" : "", terminal ? terminal : "",
        terminal ? "\"," : "",
        (terminal && !error) ? "\"api_error_status\":null," : "",
        error ? "" : "\"result\":\"\",", turn.uuid, usage);
}


static void
assistant(void)
{
    say("{\"type\":\"assistant\",\"message\":{\"id\":\"msg_1\",\"type\":"
        "\"message\",\"role\":\"assistant\",\"model\":\"" MODEL "\","
        "\"content\":[{\"type\":\"text\",\"text\":\"...\"}],"
        "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
        "\"input_tokens\":10,\"output_tokens\":1}},"
        "\"parent_tool_use_id\":null,\"session_id\":\"" SESSION "\","
        "\"request_id\":\"req_1\",\"user_message_uuid\":\"%s\"}\n", turn.uuid);
}


/* what a message ends with; stop: JSON, more: of its delta, and its usage */

static void
message_end(const char *stop, const char *more, const char *usage)
{
    say("{\"type\":\"stream_event\",\"event\":{\"type\":"
        "\"content_block_stop\",\"index\":0}" TAIL);
    say("{\"type\":\"stream_event\",\"event\":{\"type\":\"message_delta\","
        "\"delta\":{\"stop_reason\":%s,\"stop_sequence\":null%s},"
        "\"usage\":{\"output_tokens\":%lld%s}}" TAIL, stop, more,
        (long long) turn.sent, usage);
    say("{\"type\":\"stream_event\",\"event\":{\"type\":\"message_stop\"}"
        TAIL);
}


static void
turn_end(void)
{
    cost += COST;

    assistant();
    message_end("\"end_turn\"", "", "");
    result("success", "\"end_turn\"", "completed");
    lifecycle("completed");

    turn.running = 0;
}


static void
turn_interrupted(void)
{
    if (turn.started) {
        cost += COST;
        assistant();
    }

    say("{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[{"
        "\"type\":\"text\",\"text\":\"[Request interrupted by user]\"}]},"
        "\"session_id\":\"" SESSION "\",\"parent_tool_use_id\":null}\n");

    if (turn.started) {
        message_end("null", ",\"stop_details\":null",
                    ",\"input_tokens\":10,\"cache_creation_input_tokens\":0,"
                    "\"cache_read_input_tokens\":0,"
                    "\"output_tokens_details\":{\"thinking_tokens\":0}");
    }

    result("error_during_execution", "null", "aborted_streaming");
    lifecycle("cancelled");

    turn.running = 0;
}


static void
turn_begin(const char *line)
{
    const char  *script;

    member(line, "uuid", turn.uuid, sizeof(turn.uuid));

    lifecycle("queued");
    lifecycle("started");
    say("{\"type\":\"system\",\"subtype\":\"init\",\"cwd\":\"/\","
        "\"session_id\":\"" SESSION "\",\"tools\":[],\"mcp_servers\":[],"
        "\"model\":\"" MODEL "\",\"permissionMode\":\"dontAsk\","
        "\"claude_code_version\":\"" VERSION "\"}\n");

    turn.sent = 0;

    if (strstr(line, "\"shouldQuery\":false")) {
        result("success", "null", NULL);
        lifecycle("completed");
        return;
    }

    say("{\"type\":\"system\",\"subtype\":\"status\",\"status\":"
        "\"requesting\",\"session_id\":\"" SESSION "\"}\n");

    gate("call");

    /* the last one: a client sends its history, too */

    for (script = line; /* void */ ; line = script + 1) {
        line = strstr(line, "[[bench ");

        if (line == NULL) {
            break;
        }

        script = line;
    }

    turn.n = word(script, "n", 3);
    turn.gap = word(script, "gap", 0);
    turn.pad = word(script, "pad", 4);
    turn.at = word(script, "at", 0);
    turn.stamp = word(script, "stamp", 1);
    turn.started = 0;
    turn.running = 1;

    if (turn.pad > (int64_t) sizeof(pad) - 1) {
        turn.pad = sizeof(pad) - 1;
    }

    turn.due = now() + turn.gap;

    if (turn.at) {
        turn.due = turn.at;
    }
}


/* the next line that is due */

static void
turn_step(int64_t stamp)
{
    char  mark[64], said[64];

    if (turn.started == 0) {
        (void) snprintf(said, sizeof(said), "said: 200\\nrequest-id: req_%d_%u",
                        (int) getpid(), ++calls);
        gate(said);
        say("{\"type\":\"stream_event\",\"event\":{\"type\":\"message_start\","
            "\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
            "\"assistant\",\"model\":\"" MODEL "\",\"content\":[],"
            "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
            "\"input_tokens\":10,\"output_tokens\":1}}},"
            "\"user_message_uuid\":\"%s\"" TAIL, turn.uuid);
        say("{\"type\":\"stream_event\",\"event\":{\"type\":"
            "\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
            "\"text\",\"text\":\"\"}}" TAIL);

        turn.started = now();
        turn.due += turn.gap;
        return;
    }

    if (turn.sent == turn.n) {
        turn_end();
        return;
    }

    mark[0] = '\0';

    if (turn.stamp) {
        (void) snprintf(mark, sizeof(mark), "@%lld;", (long long) stamp);

        if (turn.sent == 0) {
            (void) snprintf(mark, sizeof(mark), "#%lld;@%lld;",
                            (long long) turn.started, (long long) stamp);
        }
    }

    turn.sent++;
    turn.due += turn.gap;

    say("{\"type\":\"stream_event\",\"event\":{\"type\":"
        "\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"text_delta\",\"text\":\"%s%.*s\"}}" TAIL,
        mark, (int) turn.pad, pad);
}


/* all lines that are due, each in a write of its own when there is a pace */

static void
turn_run(void)
{
    int64_t  t;

    while (turn.running) {
        t = now();

        if (turn.due > t) {
            flush();
            return;
        }

        if (OUT_SIZE - out_len < 4 * LINE_MAX_) {
            flush();

            if (OUT_SIZE - out_len < 4 * LINE_MAX_) {
                return;                     /* the pipe is full */
            }
        }

        turn_step(t);

        if (turn.gap || turn.sent <= 1) {
            flush();
        }
    }

    flush();
}


static void
answer(const char *line, const char *response)
{
    char  id[80];

    member(line, "request_id", id, sizeof(id));

    say("{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\","
        "\"request_id\":\"%s\"%s%s}}\n", id, response ? ",\"response\":" : "",
        response ? response : "");
}


static void
control(const char *line)
{
    char   id[80], subtype[64], uuid[64], body[256];

    member(line, "subtype", subtype, sizeof(subtype));

    if (strcmp(subtype, "initialize") == 0) {
        gate("gate 1");
        answer(line, "{\"commands\":[],\"agents\":[],\"output_style\":"
               "\"default\",\"models\":[{\"value\":\"sonnet\",\"resolvedModel\":\""
               MODEL "\"}],\"account\":{},"
               "\"claude_code_version\":\"" VERSION "\"}");

    } else if (strcmp(subtype, "get_binary_version") == 0) {
        answer(line, "{\"version\":\"" VERSION "\"}");

    } else if (strcmp(subtype, "set_model") == 0) {
        answer(line, "{\"model\":\"" MODEL "\"}");

    } else if (strcmp(subtype, "apply_flag_settings") == 0) {
        answer(line, NULL);

    } else if (strcmp(subtype, "interrupt") == 0) {
        answer(line, "{\"still_queued\":[]}");

        if (turn.running) {
            turn_interrupted();
        }

    } else if (strcmp(subtype, "rewind_conversation") == 0) {

        if (turn.running) {
            answer(line, "{\"rewound\":false,\"prefillText\":null,"
                   "\"precedingAssistantUuid\":null,\"error\":"
                   "\"turn running\",\"reason\":\"turn_running\"}");
        } else {
            member(line, "target_message_uuid", uuid, sizeof(uuid));
            (void) snprintf(body, sizeof(body),
                            "{\"rewound\":true,\"targetMessageUuid\":\"%s\","
                            "\"prefillText\":\"\","
                            "\"precedingAssistantUuid\":null}", uuid);
            answer(line, body);
        }

    } else if (strcmp(subtype, "mcp_set_servers") == 0) {
        answer(line, "{\"added\":[],\"removed\":[],\"errors\":{}}");

        /* of what a client offers the list is asked for, and not kept */

        if (!strstr(line, "\"servers\":{}")) {
            say("{\"type\":\"control_request\",\"request_id\":\"list\","
                "\"request\":{\"subtype\":\"mcp_message\",\"server_name\":"
                "\"c1\",\"message\":{\"method\":\"tools/list\",\"jsonrpc\":"
                "\"2.0\",\"id\":1}}}\n");
        }

    } else {
        member(line, "request_id", id, sizeof(id));
        say("{\"type\":\"control_response\",\"response\":{\"subtype\":"
            "\"error\",\"request_id\":\"%s\",\"error\":\"Unsupported control "
            "request subtype: %s\",\"error_code\":\"unsupported_request\"}}\n",
            id, subtype);
    }

    if (!turn.running || turn.gap) {
        flush();
    }
}


/* line: without its line feed, with a zero in its place */

static void
take(char *line, size_t len)
{
    char  type[32];

    member(line, "type", type, sizeof(type));

    if (strcmp(type, "control_request") == 0) {
        control(line);

    } else if (strcmp(type, "user") == 0) {

        if (turn.running) {
            waiting = grow(waiting, waiting_len + len + 1);
            memcpy(waiting + waiting_len, line, len + 1);
            waiting_len += len + 1;
            return;
        }

        turn_begin(line);
        turn_run();

    } else if (strcmp(type, "assistant") == 0) {
        member(line, "uuid", turn.uuid, sizeof(turn.uuid));
        lifecycle("completed");
        flush();

    } else if (len && strcmp(type, "control_response") != 0) {
        (void) !write(2, "not a line\n", 11);
        exit(1);
    }
}


static void
take_waiting(void)
{
    size_t  len;

    while (!turn.running && waiting_len) {
        char  *line = waiting;

        len = strlen(line) + 1;
        turn_begin(line);
        memmove(waiting, waiting + len, waiting_len - len);
        waiting_len -= len;
        turn_run();
    }
}


static void
receive(void)
{
    char     *line, *end;
    ssize_t   n;

    if (in_size - in_len < 4096) {
        in_size = 2 * in_size + 8192;
        in = grow(in, in_size);
    }

    n = read(0, in + in_len, in_size - in_len);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        in_eof = 1;
        return;
    }

    /* a long line is looked through once */

    end = memchr(in + in_len, '\n', n);
    in_len += n;

    for (line = in; end; end = memchr(line, '\n', in + in_len - line)) {
        *end = '\0';
        take(line, end - line);
        line = end + 1;
    }

    in_len -= line - in;
    memmove(in, line, in_len);

    if (in_len == 0 && in_size > 65536) {
        free(in);                               /* thousands of us may idle */
        in = NULL;
        in_size = 0;
    }
}


static void
serve(void)
{
    int              n;
    int64_t          wait;
    struct pollfd    pfd[2];
    struct timespec  ts;

    for ( ;; ) {
        take_waiting();

        if (in_eof && !turn.running && out_pos == out_len) {
            return;
        }

        pfd[0].fd = in_eof ? -1 : 0;
        pfd[0].events = POLLIN;
        pfd[1].fd = (out_pos < out_len) ? 1 : -1;
        pfd[1].events = POLLOUT;

        wait = -1;

        if (turn.running && out_pos == out_len) {
            wait = turn.due - now();
            wait = (wait > 0) ? wait : 0;
        }

        ts.tv_sec = wait / 1000000;
        ts.tv_nsec = wait % 1000000 * 1000;

        n = ppoll(pfd, 2, (wait >= 0) ? &ts : NULL, NULL);

        if (n > 0 && pfd[1].revents) {
            flush();
        }

        if (n > 0 && pfd[0].revents) {
            receive();
        }

        turn_run();
    }
}


int
main(int argc, char **argv)
{
    int  i, persistent;

    persistent = 0;
    memset(pad, 'x', sizeof(pad) - 1);

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--version") == 0) {
            (void) puts(VERSION " (Claude Code)");
            return 0;
        }

        if (strcmp(argv[i], "--input-format") == 0) {
            persistent = 1;
        }

        if (strcmp(argv[i], "--plugin-dir") == 0) {
            gated = 1;
        }
    }

    (void) fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    (void) fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);

    if (!persistent) {

        /* the prompt is among the arguments; any with a script in it */

        for (i = 1; i < argc && !strstr(argv[i], "[[bench "); i++) { }

        in_eof = 1;
        turn_begin(i < argc ? argv[i] : "");
        turn_run();
    }

    serve();

    return 0;
}
