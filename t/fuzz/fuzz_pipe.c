
/*
 * What the CLI is told, through a pipe that takes what it likes: one JSON
 * object a line, and in it the client's text to the byte.  And its stderr on
 * the way to the log.
 *
 * The input: texts, with a NUL between them; the first is the system prompt,
 * the second a stop sequence, the last what the CLI wrote to stderr.
 */


#include "fuzz.h"

#include "ngx_claude_process.c"

#include <fcntl.h>


#define PIPE_TEXTS  64


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static int        pipe_fd[2] = { -1, -1 };
static u_char    *pipe_out;
static size_t     pipe_len;
static size_t     pipe_size;


/* once a run of the fuzzer; it is empty at the end of each input */

static void
pipe_make(void)
{
    if (pipe_fd[0] != -1) {
        return;
    }

    fuzz_check(pipe(pipe_fd) == 0);
    fuzz_check(fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK) == 0);
    fuzz_check(fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK) == 0);
    fuzz_check(fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096) != -1);
}


static void
pipe_drain(ngx_claude_process_t *process, fuzz_input_t *in)
{
    size_t   n;
    ssize_t  got;

    ngx_claude_process_flush(process);

    for ( ;; ) {
        n = fuzz_size(in, 8192, 8192);

        if (pipe_size - pipe_len < n) {
            pipe_size = 2 * (pipe_len + n);
            pipe_out = realloc(pipe_out, pipe_size);
            fuzz_check(pipe_out != NULL);
        }

        got = read(pipe_fd[0], pipe_out + pipe_len, n);

        if (got > 0) {
            pipe_len += got;
            process->in->write->ready = 1;
            ngx_claude_process_flush(process);
            continue;
        }

        if (ngx_claude_outbox_flushed(&process->outbox)) {
            break;
        }

        fuzz_check(got == -1 && errno == EAGAIN);
        fuzz_check(process->in->write->ready);
    }
}


/* the next line; what is not one is a failure */

static fuzz_tree_t *
pipe_line(ngx_pool_t *pool, size_t *pos)
{
    u_char                  *p, *end;
    fuzz_tree_t  *node;

    fuzz_check(*pos < pipe_len);

    p = pipe_out + *pos;
    end = memchr(p, '\n', pipe_len - *pos);

    fuzz_check(end != NULL);

    node = fuzz_json(pool, p, end - p);
    fuzz_check(node->type == NGX_CLAUDE_JSON_OBJECT);

    *pos += end - p + 1;

    return node;
}


static void
pipe_check_settings(ngx_pool_t *pool, size_t *pos, ngx_str_t *stop)
{
    fuzz_tree_t  *node;

    node = pipe_line(pool, pos);
    node = fuzz_member(node, "request", NGX_CLAUDE_JSON_OBJECT);
    node = fuzz_member(node, "settings", NGX_CLAUDE_JSON_OBJECT);
    node = fuzz_member(node, "env", NGX_CLAUDE_JSON_OBJECT);
    node = fuzz_member(node, "CLAUDE_CODE_EXTRA_BODY",
                       NGX_CLAUDE_JSON_STRING);

    /* JSON in a string of JSON */

    node = fuzz_json(pool, node->value.data, node->value.len);
    node = fuzz_member(node, "stop_sequences", NGX_CLAUDE_JSON_ARRAY);

    fuzz_check(node->first != NULL && fuzz_same(&node->first->value, stop));
}


static void
pipe_check_message(ngx_pool_t *pool, size_t *pos,
    ngx_claude_message_t *message)
{
    ngx_uint_t           i;
    fuzz_tree_t   *node, *content, *uuid;
    ngx_claude_block_t  *block;

    block = message->blocks.elts;
    node = pipe_line(pool, pos);

    if (message->role == NGX_CLAUDE_USER) {
        (void) fuzz_member(node, "client_composed",
                           NGX_CLAUDE_JSON_TRUE);
    }

    uuid = fuzz_member(node, "uuid", NGX_CLAUDE_JSON_STRING);
    fuzz_check(uuid->value.len == NGX_CLAUDE_UUID_LEN);

    node = fuzz_member(node, "message", NGX_CLAUDE_JSON_OBJECT);
    content = fuzz_tree_member(node, "content");

    fuzz_check(content != NULL);

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        fuzz_check(message->blocks.nelts == 1);
        fuzz_check(fuzz_same(&content->value, &block[0].text));
        return;
    }

    for (i = 0, node = content->first; node; node = node->next, i++) {
        fuzz_check(i < message->blocks.nelts);

        content = fuzz_member(node, "text", NGX_CLAUDE_JSON_STRING);
        fuzz_check(fuzz_same(&content->value, &block[i].text));
    }

    fuzz_check(i == message->blocks.nelts);
}


static void
pipe_stderr(ngx_claude_process_t *process, fuzz_input_t *in,
    ngx_str_t text)
{
    size_t  n;

    while (text.len) {
        n = fuzz_size(in, 4096, text.len);
        process_err_text(process, text.data, n);

        text.data += n;
        text.len -= n;
    }

    process_err_flush(process);
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    size_t                 pos;
    ngx_str_t              text[PIPE_TEXTS], model;
    ngx_uint_t             i, n, times;
    ngx_pool_t            *pool;
    fuzz_input_t           in;
    fuzz_request_t        *fake;
    ngx_claude_turn_t     *turn;
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;
    ngx_claude_outbox_t   *outbox;
    ngx_claude_process_t  *process;

    static u_char  nonce[NGX_CLAUDE_NONCE_LEN] = "123456789";

    pipe_make();
    pipe_len = 0;

    pool = fuzz_pool();
    fake = fuzz_request(pool);
    turn = &fake->ex.turn;

    fuzz_input(&in, p, len);

    for (n = 0; n < PIPE_TEXTS && in.p < in.last; n++) {
        text[n] = fuzz_copy(pool, fuzz_until(&in, '\0'), 1);
    }

    if (n < 4) {
        goto done;
    }

    process = ngx_pcalloc(pool, sizeof(ngx_claude_process_t));
    process->pool = pool;
    process->log = ngx_cycle->log;
    ngx_claude_outbox_init(&process->outbox, process->log);
    process->lifeline = -1;
    outbox = &process->outbox;
    process->in = &fake->connection;
    process->in->fd = pipe_fd[1];
    process->in->write->ready = 1;

    turn->system = text[0];
    *(ngx_str_t *) ngx_array_push(&turn->stops) = text[1];
    ngx_str_set(&model, "sonnet");

    for (i = 2; i < n - 1; i++) {
        block = ngx_claude_turn_add(turn,
                    fuzz_number(&in, 3) ? NGX_CLAUDE_USER
                                        : NGX_CLAUDE_ASSISTANT,
                    NGX_CLAUDE_TEXT);
        fuzz_check(block != NULL);
        block->text = text[i];
    }

    message = turn->messages.elts;
    times = 1 + fuzz_number(&in, 8);

    fuzz_check(ngx_claude_cli_set_model(outbox, 3, &model, &turn->system)
               == NGX_OK);
    fuzz_check(ngx_claude_cli_settings(outbox, 4, turn, 1) == NGX_OK);

    for (i = 0; i < turn->messages.nelts * times; i++) {
        fuzz_check(ngx_claude_cli_message(outbox, nonce,
                       &message[i % turn->messages.nelts], i, 1)
                   == NGX_OK);

        if (fuzz_number(&in, 8) == 0) {
            ngx_claude_process_flush(process);
        }
    }

    pipe_drain(process, &in);

    pos = 0;
    fuzz_check(fuzz_same(&fuzz_member(fuzz_member(pipe_line(pool, &pos),
                             "request", NGX_CLAUDE_JSON_OBJECT),
                         "system_prompt", NGX_CLAUDE_JSON_STRING)->value,
                         &turn->system));
    pipe_check_settings(pool, &pos, &text[1]);

    for (i = 0; i < turn->messages.nelts * times; i++) {
        pipe_check_message(pool, &pos, &message[i % turn->messages.nelts]);
    }

    fuzz_check(pos == pipe_len);

    pipe_stderr(process, &in, text[n - 1]);

done:

    ngx_destroy_pool(pool);

    return 0;
}
