
/*
 * The reader of what the CLI writes.  The lines are the same however the
 * bytes are cut, and their strings lie in the reader's own buffer, or are
 * empty.
 */


#include "fuzz.h"

#include "ngx_claude_cli.c"


#define CLI_RUNS  4


typedef struct {
    ngx_claude_cli_reader_t  *reader;
    ngx_pool_t               *pool;
    ngx_array_t               lines;           /* of their contents, as text */
    size_t                    read;            /* bytes of earlier calls */
    size_t                    ended;           /* no later than the last line */
} cli_seen_t;


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


/* a value as it stood in the line: an object */

static size_t
cli_raw_len(ngx_str_t *raw)
{
    if (raw->len) {
        fuzz_check(raw->len >= 2);
        fuzz_check(raw->data[0] == '{' && raw->data[raw->len - 1] == '}');
        fuzz_check(memchr(raw->data, '\n', raw->len) == NULL);
        fuzz_check(fuzz_utf8(raw->data, raw->len));
    }

    return raw->len + 24;
}


static u_char *
cli_string(u_char *p, ngx_str_t *s)
{
    p = ngx_sprintf(p, "%uz:", s->len);

    return ngx_cpymem(p, s->len ? s->data : (u_char *) "", s->len);
}


static void
cli_seen(void *data, ngx_claude_cli_line_t *line)
{
    cli_seen_t *seen = data;

    u_char      *p;
    size_t       len;
    ngx_str_t   *s, *text;
    ngx_uint_t   i;

    seen->ended = seen->read;

    fuzz_check(line->kind <= NGX_CLAUDE_CLI_CONTROL_RESPONSE);

    len = 8;

    for (i = 0; i < NGX_CLAUDE_CLI_STRINGS; i++) {
        s = &line->string[i];

        if (s->len) {
            fuzz_check(s->data >= cli_parser.text);
            fuzz_check(s->data + s->len
                       <= cli_parser.text + cli_parser.text_len);
            fuzz_check(cli_parser.text_len <= cli_parser.text_size);
            fuzz_check(fuzz_utf8(s->data, s->len));
        }

        if (i < NGX_CLAUDE_CLI_S_TEXT) {
            fuzz_check(s->len <= CLI_STRING_LIMIT);
        }

        fuzz_touch(s);
        len += s->len + 24;
    }

    /* what the words mean, for any words */

    fuzz_check(ngx_claude_cli_error(
                   &line->string[NGX_CLAUDE_CLI_S_ERROR])
               <= NGX_CLAUDE_FAIL_BUDGET);
    fuzz_check(ngx_claude_cli_result_error(line)
               <= NGX_CLAUDE_FAIL_BUDGET);
    fuzz_check(ngx_claude_cli_model_error(
                   &line->string[NGX_CLAUDE_CLI_S_RESPONSE_ERROR],
                   &line->string[NGX_CLAUDE_CLI_S_RESPONSE_CODE])
               <= NGX_CLAUDE_FAIL_BUDGET);
    fuzz_check(ngx_claude_cli_stop(
                   &line->string[NGX_CLAUDE_CLI_S_STOP_REASON])
               <= NGX_CLAUDE_STOP_TOOL);
    (void) ngx_claude_cli_version(
               &line->string[NGX_CLAUDE_CLI_S_VERSION]);

    len += NGX_CLAUDE_CLI_NUMBERS * sizeof(double) + 64;
    len += cli_raw_len(&line->block) + cli_raw_len(&line->delta);

    text = ngx_array_push(&seen->lines);
    fuzz_check(text != NULL);

    text->data = ngx_pnalloc(seen->pool, len);
    p = text->data;

    *p++ = line->kind;
    *p++ = line->is_error;

    for (i = 0; i < NGX_CLAUDE_CLI_STRINGS; i++) {
        p = cli_string(p, &line->string[i]);
    }

    p = cli_string(p, &line->block);
    p = cli_string(p, &line->delta);

    p = ngx_cpymem(p, line->number, sizeof(line->number));

    text->len = p - text->data;
}


static ngx_int_t
cli_run(cli_seen_t *seen, fuzz_input_t *in, size_t max)
{
    size_t      n;
    u_char     *piece;
    ngx_int_t   rc;
    ngx_str_t   rest;

    seen->read = 0;
    seen->ended = 0;
    seen->pool = fuzz_pool();
    seen->reader = ngx_claude_cli_reader(seen->pool, cli_seen, seen);

    fuzz_check(seen->reader != NULL);
    fuzz_check(ngx_array_init(&seen->lines, seen->pool, 8, sizeof(ngx_str_t))
               == NGX_OK);

    rest.data = (u_char *) in->p;
    rest.len = in->last - in->p;
    rc = NGX_OK;

    while (rest.len && rc == NGX_OK) {
        n = max ? fuzz_size(in, max, rest.len) : rest.len;

        piece = malloc(n);
        fuzz_check(piece != NULL);
        ngx_memcpy(piece, rest.data, n);

        rc = ngx_claude_cli_read(seen->reader, piece, n);

        free(piece);

        rest.data += n;
        rest.len -= n;
        seen->read += n;

        if (rc == NGX_OK) {
            fuzz_check(ngx_claude_cli_pending(seen->reader)
                       <= (size_t) (in->last - in->p));
        }
    }

    return rc;
}


/* what has begun counts, or claude_max_line would bound nothing */

static ngx_uint_t
cli_bounded(cli_seen_t *seen, fuzz_input_t *in)
{
    u_char         ch;
    const u_char  *p;

    if (seen->read - seen->ended < 64) {
        return 1;
    }

    for (p = in->last - 64; p < in->last; p++) {
        ch = *p;

        if (ch == ' ' || (ch >= '\t' && ch <= '\r') || ch == '}') {
            return 1;
        }
    }

    return ngx_claude_cli_pending(seen->reader) >= 64;
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    ngx_int_t     rc[CLI_RUNS];
    ngx_str_t    *a, *b;
    cli_seen_t    seen[CLI_RUNS];
    ngx_uint_t    i, n;
    fuzz_input_t  in;

    static const size_t  sizes[CLI_RUNS] = { 0, 1, 64, 4096 };

    fuzz_input(&in, p, len);

    for (i = 0; i < CLI_RUNS; i++) {
        rc[i] = cli_run(&seen[i], &in, sizes[i]);
    }

    for (i = 1; i < CLI_RUNS; i++) {
        fuzz_check(rc[i] == rc[0]);
        fuzz_check(rc[i] != NGX_OK || cli_bounded(&seen[i], &in));
        fuzz_check(seen[i].lines.nelts == seen[0].lines.nelts);

        a = seen[0].lines.elts;
        b = seen[i].lines.elts;

        for (n = 0; n < seen[0].lines.nelts; n++) {
            fuzz_check(fuzz_same(&a[n], &b[n]));
        }
    }

    for (i = 0; i < CLI_RUNS; i++) {
        ngx_destroy_pool(seen[i].pool);
    }

    return 0;
}
