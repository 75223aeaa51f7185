
/*
 * The CLI's protocol, reading: yajl's events are matched against the paths of
 * the few fields that matter and end up in one flat struct a line.
 *
 * A worker has one parser: yajl gets whole lines only, so that between two
 * calls nothing is left in it, and thousands of processes share one handle
 * and one buffer for the strings of the line at hand.  A delta costs no
 * allocation, and a process that is silent holds nothing.  What is not known
 * is skipped: the CLI says more with every release.
 */


#include "ngx_claude_cli.h"
#include "ngx_claude_gate.h"
#include "ngx_claude_utf8.h"

#include <yajl/yajl_parse.h>


/* the CLI's own nesting is under ten; tool schemas and inputs may be deep */
#define CLI_DEPTH         256

/* a buffer that one long line needed is not kept for the next */
#define CLI_TEXT_KEEP     65536

/* diagnostic strings are cut here; the text of a delta is not */
#define CLI_STRING_LIMIT  2048

#define CLI_NODE_ROOT      0
#define CLI_NODE_NONE     -1

/* use of a field's value */
#define CLI_VALUE_NONE     0
#define CLI_VALUE_STRING   1
#define CLI_VALUE_NUMBER   2
#define CLI_VALUE_ERROR    3                   /* is_error */
#define CLI_VALUE_REWOUND  4                   /* rewound */
#define CLI_VALUE_MODEL    5                   /* name of a model */
#define CLI_VALUE_SUM      6                   /* a number, of several */


typedef struct {
    int8_t                            parent;
    uint8_t                           value;
    uint8_t                           slot;
    ngx_str_t                         name;
} cli_node_t;


struct ngx_claude_cli_reader_s {
    ngx_claude_cli_line_pt            handler;
    void                             *data;

    u_char                           *partial;   /* a line without its end */
    size_t                            partial_size;
    size_t                            partial_len;
};


enum {
    N_ROOT = 0, N_EVENT, N_DELTA, N_BLOCK, N_EMESSAGE, N_EMUSAGE, N_EUSAGE,
    N_EMDETAILS, N_EDETAILS, N_MESSAGE, N_REQUEST, N_RPC, N_PARAMS, N_META,
    N_RESPONSE, N_RESPONSE2, N_MODELS, N_MODEL, N_DETAILS, N_SESSION, N_SINCE,
    N_USED, N_LEAVES
};

#define branch(parent, name)                                                  \
    { parent, CLI_VALUE_NONE, 0, ngx_string(name) }

#define string(parent, name, slot)                                            \
    { parent, CLI_VALUE_STRING, NGX_CLAUDE_CLI_S_ ## slot,                    \
      ngx_string(name) }

#define number(parent, name, slot)                                            \
    { parent, CLI_VALUE_NUMBER, NGX_CLAUDE_CLI_N_ ## slot,                    \
      ngx_string(name) }

#define sum(parent, name, slot)                                               \
    { parent, CLI_VALUE_SUM, NGX_CLAUDE_CLI_N_ ## slot,                       \
      ngx_string(name) }


/* the branches stand in the order of the enum above */

static const cli_node_t  cli_nodes[] = {
    branch(CLI_NODE_NONE, ""),
    branch(N_ROOT, "event"),
    branch(N_EVENT, "delta"),
    branch(N_EVENT, "content_block"),
    branch(N_EVENT, "message"),
    branch(N_EMESSAGE, "usage"),
    branch(N_EVENT, "usage"),
    branch(N_EMUSAGE, "output_tokens_details"),
    branch(N_EUSAGE, "output_tokens_details"),
    branch(N_ROOT, "message"),
    branch(N_ROOT, "request"),
    branch(N_REQUEST, "message"),
    branch(N_RPC, "params"),
    branch(N_PARAMS, "_meta"),
    branch(N_ROOT, "response"),
    branch(N_RESPONSE, "response"),
    branch(N_RESPONSE2, "models"),
    branch(CLI_NODE_NONE, ""),                 /* model of the array */
    branch(N_DELTA, "stop_details"),
    branch(N_RESPONSE2, "session"),
    branch(N_ROOT, "model_usage_since_last_result"),
    branch(CLI_NODE_NONE, ""),                 /* model, by any name */

    string(N_ROOT, "type", TYPE),
    string(N_ROOT, "subtype", SUBTYPE),
    string(N_ROOT, "parent_tool_use_id", PARENT),
    string(N_ROOT, "user_message_uuid", QUESTION),
    string(N_ROOT, "request_id", REQUEST_ID),
    string(N_ROOT, "error", ERROR),
    string(N_ROOT, "claude_code_version", VERSION),
    string(N_ROOT, "terminal_reason", TERMINAL),
    string(N_ROOT, "result", RESULT),
    string(N_ROOT, "api_error_type", ERROR_TYPE),
    string(N_ROOT, "api_error", API_ERROR),
    string(N_ROOT, "plugin", PLUGIN),
    string(N_ROOT, "text", PLUGIN_TEXT),
    number(N_ROOT, "api_error_status", STATUS),
    number(N_ROOT, "num_turns", TURNS),
    number(N_ROOT, "total_cost_usd", COST),
    number(N_ROOT, "error_status", RETRY_STATUS),
    number(N_ROOT, "retry_delay_ms", RETRY_DELAY),
    { N_ROOT, CLI_VALUE_ERROR, 0, ngx_string("is_error") },

    string(N_EVENT, "type", EVENT_TYPE),
    number(N_EVENT, "index", INDEX),
    string(N_DELTA, "type", DELTA_TYPE),
    string(N_DELTA, "text", TEXT),
    string(N_DELTA, "thinking", TEXT),
    string(N_DELTA, "partial_json", TEXT),
    string(N_DELTA, "signature", SIGNATURE),
    string(N_DELTA, "stop_reason", STOP_REASON),
    string(N_DELTA, "stop_sequence", STOP_SEQUENCE),
    string(N_DETAILS, "explanation", EXPLANATION),
    string(N_BLOCK, "type", BLOCK_TYPE),
    string(N_BLOCK, "id", BLOCK_ID),
    string(N_BLOCK, "name", BLOCK_NAME),
    string(N_BLOCK, "text", TEXT),
    string(N_BLOCK, "thinking", TEXT),
    string(N_BLOCK, "signature", SIGNATURE),
    string(N_BLOCK, "data", DATA),

    number(N_EMUSAGE, "input_tokens", INPUT),
    number(N_EMUSAGE, "cache_read_input_tokens", CACHE_READ),
    number(N_EMUSAGE, "cache_creation_input_tokens", CACHE_CREATION),
    number(N_EMUSAGE, "output_tokens", OUTPUT),
    number(N_EMDETAILS, "thinking_tokens", THINKING),

    number(N_EUSAGE, "input_tokens", INPUT),
    number(N_EUSAGE, "cache_read_input_tokens", CACHE_READ),
    number(N_EUSAGE, "cache_creation_input_tokens", CACHE_CREATION),
    number(N_EUSAGE, "output_tokens", OUTPUT),
    number(N_EDETAILS, "thinking_tokens", THINKING),

    sum(N_USED, "inputTokens", SINCE_INPUT),
    sum(N_USED, "cacheReadInputTokens", SINCE_CACHE_READ),
    sum(N_USED, "cacheCreationInputTokens", SINCE_CACHE_CREATION),
    sum(N_USED, "outputTokens", SINCE_OUTPUT),
    sum(N_USED, "thinkingTokens", SINCE_THINKING),
    sum(N_USED, "costUSD", SINCE_COST),

    string(N_MESSAGE, "model", MODEL),

    string(N_REQUEST, "subtype", REQUEST_SUBTYPE),
    string(N_RPC, "method", RPC_METHOD),
    number(N_RPC, "id", RPC_ID),
    string(N_META, "claudecode/toolUseId", RPC_TOOL),

    string(N_RESPONSE, "request_id", RESPONSE_ID),
    string(N_RESPONSE, "subtype", RESPONSE_SUBTYPE),
    string(N_RESPONSE, "error", RESPONSE_ERROR),
    string(N_RESPONSE, "error_code", RESPONSE_CODE),
    string(N_RESPONSE2, "version", BINARY_VERSION),
    string(N_RESPONSE2, "model", RESPONSE_MODEL),
    number(N_SESSION, "total_cost_usd", COST_ASKED),
    string(N_RESPONSE2, "targetMessageUuid", TARGET),
    { N_RESPONSE2, CLI_VALUE_REWOUND, 0, ngx_string("rewound") },
    { N_MODEL, CLI_VALUE_MODEL, 0, ngx_string("value") },
    { N_MODEL, CLI_VALUE_MODEL, 0, ngx_string("resolvedModel") },
};

#define CLI_NODES    (int) (sizeof(cli_nodes) / sizeof(cli_nodes[0]))
#define CLI_BUCKETS  128

/*
 * Most keys of a line are none that matter: their bucket is empty.  Those of a
 * delta's line that matter are the first in theirs.
 */
#define cli_bucket(parent, name, len)                                         \
    (((parent) * 5 + (len) * 48 + ((len) ? (name)[0] : 0))                    \
     & (CLI_BUCKETS - 1))


/* the worker's, for the reader whose lines are being read */
typedef struct {
    yajl_handle                       yajl;
    ngx_claude_cli_reader_t          *reader;

    ngx_claude_cli_line_t             line;
    u_char                           *start;     /* start of the line */
    size_t                            opened;    /* bytes of the line up to a
                                                    value that is kept as it
                                                    is */
    u_char                           *text;      /* strings of the line */
    size_t                            text_size;
    size_t                            text_len;

    u_char                            models[NGX_CLAUDE_CLI_MODELS];

    ngx_uint_t                        depth;
    int8_t                            node[CLI_DEPTH];
    int8_t                            member;    /* node of the last key */

    /* nodes by their hash: the first, and the next with the same; 0: none */
    uint8_t                           first[CLI_BUCKETS];
    uint8_t                           next[CLI_NODES];

    unsigned                          large:1;   /* yajl's buffer has grown
                                                    past CLI_TEXT_KEEP */
} cli_parser_t;


static ngx_int_t cli_parser_init(cli_parser_t *parser);
static ngx_int_t cli_parse(ngx_claude_cli_reader_t *reader, u_char *p,
    size_t len);
static void cli_parser_end(cli_parser_t *parser);
static ngx_int_t cli_partial(ngx_claude_cli_reader_t *reader, u_char *p,
    size_t len);
static void cli_reset(cli_parser_t *parser);
static void cli_kind(ngx_claude_cli_line_t *line);
static int cli_open(cli_parser_t *parser);
static void cli_raw(cli_parser_t *parser, ngx_str_t *raw);
static void cli_model(cli_parser_t *parser, const u_char *s, size_t len);
static size_t cli_cut(const u_char *s, size_t len);
static void cli_cleanup(void *data);

static int cli_on_boolean(void *ctx, int value);
static int cli_on_number(void *ctx, const char *s, size_t len);
static int cli_on_string(void *ctx, const unsigned char *s, size_t len);
static int cli_on_start_map(void *ctx);
static int cli_on_map_key(void *ctx, const unsigned char *s, size_t len);
static int cli_on_end(void *ctx);
static int cli_on_start_array(void *ctx);


static yajl_callbacks  cli_callbacks = {
    NULL,                                  /* null is like not there */
    cli_on_boolean,
    NULL,
    NULL,
    cli_on_number,
    cli_on_string,
    cli_on_start_map,
    cli_on_map_key,
    cli_on_end,
    cli_on_start_array,
    cli_on_end
};


static cli_parser_t           cli_parser;
static ngx_claude_cli_line_t  cli_empty;         /* before anything is read */


ngx_claude_cli_reader_t *
ngx_claude_cli_reader(ngx_pool_t *pool,
    ngx_claude_cli_line_pt handler, void *data)
{
    ngx_pool_cleanup_t       *cln;
    ngx_claude_cli_reader_t  *reader;

    reader = ngx_pcalloc(pool, sizeof(ngx_claude_cli_reader_t));
    if (reader == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    reader->handler = handler;
    reader->data = data;

    cln->handler = cli_cleanup;
    cln->data = reader;

    return reader;
}


/*
 * yajl gets whole lines only: it scans a token that is split between calls
 * from its start again, which for long ones would take quadratic time.
 */

ngx_int_t
ngx_claude_cli_read(ngx_claude_cli_reader_t *reader, u_char *p,
    size_t len)
{
    u_char  *last, *end;

    last = p + len;

    if (reader->partial_len) {

        end = ngx_strlchr(p, last, LF);

        if (end == NULL) {
            return cli_partial(reader, p, len);
        }

        end++;

        if (cli_partial(reader, p, end - p) != NGX_OK
            || cli_parse(reader, reader->partial, reader->partial_len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        p = end;

        ngx_free(reader->partial);
        reader->partial = NULL;
        reader->partial_size = 0;
        reader->partial_len = 0;
    }

    /* line by line: what spans two of them is wrong however it is cut */

    while ((end = ngx_strlchr(p, last, LF)) != NULL) {

        end++;

        if (cli_parse(reader, p, end - p) != NGX_OK) {
            return NGX_ERROR;
        }

        p = end;
    }

    return cli_partial(reader, p, last - p);
}


size_t
ngx_claude_cli_pending(ngx_claude_cli_reader_t *reader)
{
    return reader->partial_len;
}


ngx_uint_t
ngx_claude_cli_version(ngx_str_t *version)
{
    u_char      *p, *last;
    ngx_uint_t   part, n, value;

    value = 0;
    part = 0;
    n = 0;

    last = version->data + version->len;

    for (p = version->data; p < last; p++) {

        if (*p >= '0' && *p <= '9') {
            n = ngx_min(n * 10 + (*p - '0'), 999);
            continue;
        }

        if (*p != '.' || part == 2) {
            break;
        }

        /* two digits for the second part, three for the third */

        value = part ? (value + ngx_min(n, 99)) * 1000 : n * 100;
        n = 0;
        part++;
    }

    return (part == 2) ? value + n : 0;
}


static ngx_int_t
cli_parser_init(cli_parser_t *parser)
{
    int                i;
    ngx_uint_t         n, bucket;
    const cli_node_t  *node;

    parser->yajl = yajl_alloc(&cli_callbacks, NULL, parser);
    if (parser->yajl == NULL) {
        return NGX_ERROR;
    }

    /* lines are so many JSON texts, one after the other */

    (void) yajl_config(parser->yajl, yajl_allow_multiple_values, 1);

    ngx_memzero(parser->first, sizeof(parser->first));

    for (i = 1; i < CLI_NODES; i++) {
        node = &cli_nodes[i];
        bucket = cli_bucket(node->parent, node->name.data, node->name.len);

        parser->next[i] = parser->first[bucket];
        parser->first[bucket] = i;
    }

    for (n = 0; n < NGX_CLAUDE_CLI_NUMBERS; n++) {
        cli_empty.number[n] = -1;
    }

    parser->depth = 0;
    cli_reset(parser);

    return NGX_OK;
}


/* a whole line; a handler must not have those of another process read */

static ngx_int_t
cli_parse(ngx_claude_cli_reader_t *reader, u_char *p, size_t len)
{
    cli_parser_t  *parser;

    parser = &cli_parser;

    if (parser->yajl == NULL && cli_parser_init(parser) != NGX_OK) {
        return NGX_ERROR;
    }

    parser->reader = reader;
    parser->start = p;

    if (yajl_parse(parser->yajl, p, len) != yajl_status_ok
        || parser->depth)
    {
        /* not JSON, or a line that ends too early: forget what is in it */

        cli_parser_end(parser);
        return NGX_ERROR;
    }

    if (parser->large) {
        cli_parser_end(parser);
    }

    return NGX_OK;
}


static void
cli_parser_end(cli_parser_t *parser)
{
    yajl_free(parser->yajl);

    parser->yajl = NULL;
    parser->large = 0;
}


static ngx_int_t
cli_partial(ngx_claude_cli_reader_t *reader, u_char *p, size_t len)
{
    u_char  *partial;
    size_t   size;

    if (len == 0) {
        return NGX_OK;
    }

    if (reader->partial_size - reader->partial_len < len) {

        size = ngx_max(2 * reader->partial_size, reader->partial_len + len);

        /* moves pages, where a copy would need a long line's memory twice */

        partial = realloc(reader->partial, size);
        if (partial == NULL) {
            ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, ngx_errno,
                          "realloc(%uz) failed", size);
            return NGX_ERROR;
        }

        reader->partial = partial;
        reader->partial_size = size;
    }

    ngx_memcpy(reader->partial + reader->partial_len, p, len);
    reader->partial_len += len;

    return NGX_OK;
}


static void
cli_reset(cli_parser_t *parser)
{
    parser->line = cli_empty;
    parser->text_len = 0;

    if (parser->text_size > CLI_TEXT_KEEP) {
        ngx_free(parser->text);
        parser->text = NULL;
        parser->text_size = 0;
    }
}


#define cli_is(line, slot, text)                                              \
    ((line)->string[NGX_CLAUDE_CLI_S_ ## slot].len == sizeof(text) - 1        \
     && ngx_memcmp((line)->string[NGX_CLAUDE_CLI_S_ ## slot].data,            \
                   text, sizeof(text) - 1)                                    \
        == 0)


static void
cli_kind(ngx_claude_cli_line_t *line)
{
    line->kind = NGX_CLAUDE_CLI_OTHER;

    if (cli_is(line, TYPE, "stream_event")) {

        if (cli_is(line, EVENT_TYPE, "content_block_delta")) {
            line->kind = NGX_CLAUDE_CLI_BLOCK_DELTA;

        } else if (cli_is(line, EVENT_TYPE, "content_block_start")) {
            line->kind = NGX_CLAUDE_CLI_BLOCK_START;

        } else if (cli_is(line, EVENT_TYPE, "content_block_stop")) {
            line->kind = NGX_CLAUDE_CLI_BLOCK_STOP;

        } else if (cli_is(line, EVENT_TYPE, "message_start")) {
            line->kind = NGX_CLAUDE_CLI_MESSAGE_START;

        } else if (cli_is(line, EVENT_TYPE, "message_delta")) {
            line->kind = NGX_CLAUDE_CLI_MESSAGE_DELTA;

        } else if (cli_is(line, EVENT_TYPE, "message_stop")) {
            line->kind = NGX_CLAUDE_CLI_MESSAGE_STOP;
        }

    } else if (cli_is(line, TYPE, "result")) {
        line->kind = NGX_CLAUDE_CLI_RESULT;

    } else if (cli_is(line, TYPE, "control_response")) {
        line->kind = NGX_CLAUDE_CLI_CONTROL_RESPONSE;

    } else if (cli_is(line, TYPE, "control_request")) {
        line->kind = NGX_CLAUDE_CLI_CONTROL_REQUEST;

    } else if (cli_is(line, TYPE, "assistant")) {
        line->kind = NGX_CLAUDE_CLI_ASSISTANT;

    } else if (cli_is(line, TYPE, "user")) {
        line->kind = NGX_CLAUDE_CLI_USER;

    } else if (cli_is(line, TYPE, "system")) {

        if (cli_is(line, SUBTYPE, "init")) {
            line->kind = NGX_CLAUDE_CLI_INIT;

        } else if (cli_is(line, SUBTYPE, "api_retry")) {
            line->kind = NGX_CLAUDE_CLI_API_RETRY;

        } else if (cli_is(line, SUBTYPE, "ui_log")
                   && cli_is(line, PLUGIN, NGX_CLAUDE_GATE_NAME))
        {
            line->kind = NGX_CLAUDE_CLI_SAYS_GATE;
        }
    }
}


static int
cli_open(cli_parser_t *parser)
{
    if (parser->depth == CLI_DEPTH) {
        return 0;
    }

    parser->node[parser->depth] = parser->depth ? parser->member
                                                : CLI_NODE_ROOT;
    parser->depth++;

    return 1;
}


/* a value that has just ended, as it stands in the line */

static void
cli_raw(cli_parser_t *parser, ngx_str_t *raw)
{
    raw->data = parser->start + parser->opened;
    raw->len = yajl_get_bytes_consumed(parser->yajl) - parser->opened;
}


static void
cli_model(cli_parser_t *parser, const u_char *s, size_t len)
{
    u_char     *p;
    ngx_str_t  *models;

    models = &parser->line.models;

    if (!ngx_claude_model_valid(s, len)
        || sizeof(parser->models) - models->len < len + 1)
    {
        return;
    }

    models->data = parser->models;

    p = ngx_cpymem(models->data + models->len, s, len);
    *p++ = LF;

    models->len = p - models->data;
}


/* the length of a diagnostic string, not cut in the midst of a character */

static size_t
cli_cut(const u_char *s, size_t len)
{
    if (len <= CLI_STRING_LIMIT) {
        return len;
    }

    for (len = CLI_STRING_LIMIT; len && (s[len] & 0xc0) == 0x80; len--) {
        /* void */
    }

    return len;
}


static void
cli_cleanup(void *data)
{
    ngx_claude_cli_reader_t  *reader = data;

    if (reader->partial) {
        ngx_free(reader->partial);
    }
}


static int
cli_on_boolean(void *ctx, int value)
{
    cli_parser_t  *parser = ctx;

    if (parser->depth == 0) {
        return 0;
    }

    if (parser->member <= 0) {
        return 1;
    }

    switch (cli_nodes[parser->member].value) {

    case CLI_VALUE_ERROR:
        parser->line.is_error = value;
        break;

    case CLI_VALUE_REWOUND:
        parser->line.rewound = value;
        break;
    }

    return 1;
}


static int
cli_on_number(void *ctx, const char *s, size_t len)
{
    cli_parser_t *parser = ctx;

    size_t             i;
    char               buf[64];
    double             number, *value;
    uint64_t           n;
    const cli_node_t  *node;

    if (parser->depth == 0) {
        return 0;
    }

    if (parser->member <= 0) {
        return 1;
    }

    node = &cli_nodes[parser->member];

    if ((node->value == CLI_VALUE_NUMBER || node->value == CLI_VALUE_SUM)
        && len < sizeof(buf))
    {
        /* nearly all are short and have nothing but digits */

        for (n = 0, i = 0; i < len && i < 15; i++) {

            if (s[i] < '0' || s[i] > '9') {
                break;
            }

            n = n * 10 + (s[i] - '0');
        }

        if (i == len) {
            number = (double) n;

        } else {
            ngx_cpystrn((u_char *) buf, (u_char *) s, len + 1);
            number = strtod(buf, NULL);
        }

        value = &parser->line.number[node->slot];

        if (node->value == CLI_VALUE_SUM && *value > 0) {
            number += *value;
        }

        *value = number;
    }

    return 1;
}


static int
cli_on_string(void *ctx, const unsigned char *s, size_t len)
{
    cli_parser_t *parser = ctx;

    u_char            *text;
    size_t             size;
    ngx_str_t         *string;
    ngx_uint_t         i;
    const cli_node_t  *node;

    parser->large |= (len > CLI_TEXT_KEEP);

    if (parser->depth == 0) {
        return 0;
    }

    if (parser->member <= 0) {
        return 1;
    }

    node = &cli_nodes[parser->member];

    if (node->value == CLI_VALUE_MODEL) {
        cli_model(parser, s, len);
        return 1;
    }

    if (node->value != CLI_VALUE_STRING) {
        return 1;
    }

    string = &parser->line.string[node->slot];

    if (node->slot < NGX_CLAUDE_CLI_S_TEXT) {
        len = cli_cut(s, len);
    }

    if (len == 0) {
        ngx_str_null(string);
        return 1;
    }

    if (parser->text_size - parser->text_len < 3 * len) {
        size = ngx_max(1024, 2 * parser->text_len + 3 * len);

        text = ngx_alloc(size, ngx_cycle->log);
        if (text == NULL) {
            return 0;
        }

        if (parser->text) {

            for (i = 0; i < NGX_CLAUDE_CLI_STRINGS; i++) {
                if (parser->line.string[i].data) {
                    parser->line.string[i].data =
                        text + (parser->line.string[i].data - parser->text);
                }
            }

            ngx_memcpy(text, parser->text, parser->text_len);
            ngx_free(parser->text);
        }

        parser->text = text;
        parser->text_size = size;
    }

    string->data = parser->text + parser->text_len;

    if (ngx_claude_utf8_valid(s, len)) {
        string->len = ngx_cpymem(string->data, s, len) - string->data;

    } else {

        /* half of a surrogate pair, which JSON can write */

        string->len = ngx_claude_utf8_copy(string->data, s, len)
                      - string->data;

        /* each of its bytes may have become three */

        if (node->slot < NGX_CLAUDE_CLI_S_TEXT) {
            string->len = cli_cut(string->data, string->len);
        }
    }

    parser->text_len += string->len;

    return 1;
}


static int
cli_on_start_map(void *ctx)
{
    cli_parser_t  *parser = ctx;

    if (parser->depth && parser->node[parser->depth - 1] == N_MODELS) {
        parser->member = N_MODEL;

    } else if (parser->member == N_MODELS) {
        parser->member = CLI_NODE_NONE;

    } else if (parser->member == N_BLOCK || parser->member == N_DELTA) {
        parser->opened = yajl_get_bytes_consumed(parser->yajl) - 1;
    }

    if (!cli_open(parser)) {
        return 0;
    }

    parser->member = CLI_NODE_NONE;

    return 1;
}


static int
cli_on_map_key(void *ctx, const unsigned char *s, size_t len)
{
    cli_parser_t *parser = ctx;

    int               i;
    int8_t            parent;

    parser->large |= (len > CLI_TEXT_KEEP);

    parent = parser->node[parser->depth - 1];
    parser->member = CLI_NODE_NONE;

    if (parent == CLI_NODE_NONE) {
        return 1;
    }

    if (parent == N_SINCE) {
        parser->member = N_USED;
        return 1;
    }

    for (i = parser->first[cli_bucket(parent, s, len)];
         i;
         i = parser->next[i])
    {
        if (cli_nodes[i].parent == parent
            && cli_nodes[i].name.len == len
            && ngx_memcmp(cli_nodes[i].name.data, s, len) == 0)
        {
            parser->member = i;
            break;
        }
    }

    return 1;
}


static int
cli_on_start_array(void *ctx)
{
    cli_parser_t  *parser = ctx;

    /* a line is an object; of what stands in arrays one matters */

    if (parser->depth == 0) {
        return 0;
    }

    if (parser->member != N_MODELS) {
        parser->member = CLI_NODE_NONE;
    }

    if (!cli_open(parser)) {
        return 0;
    }

    parser->member = CLI_NODE_NONE;

    return 1;
}


static int
cli_on_end(void *ctx)
{
    cli_parser_t  *parser = ctx;

    parser->depth--;
    parser->member = CLI_NODE_NONE;

    if (parser->depth) {

        switch (parser->node[parser->depth]) {

        case N_BLOCK:
            cli_raw(parser, &parser->line.block);
            break;

        case N_DELTA:
            cli_raw(parser, &parser->line.delta);
            break;
        }

        return 1;
    }

    cli_kind(&parser->line);
    parser->reader->handler(parser->reader->data, &parser->line);
    cli_reset(parser);

    return 1;
}
