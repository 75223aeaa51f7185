
/*
 * The dialect of chat completions: a turn's events to OpenAI's objects.  See
 * the header.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_body.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_engine.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_response.h"


#define CHAT_ID_LEN     24

/* the answer kept for a response of one piece: buffers of 4 KB and more */
#define CHAT_BUF_SIZE   4096

#define chat_write(chat, text)                                                \
    ngx_http_claude_stream_write(&(chat)->stream, (u_char *) text,            \
                                 sizeof(text) - 1)


static void chat_body(ngx_http_claude_ctx_t *ctx,
    ngx_http_claude_json_t *body);
static ngx_int_t chat_init(ngx_http_claude_chat_t *chat);
static ngx_int_t chat_prefix(ngx_http_claude_chat_t *chat);
static void chat_cleanup(void *data);
static void chat_finalize(ngx_http_claude_chat_t *chat, ngx_int_t rc);

static void chat_started(ngx_http_claude_turn_t *turn);
static void chat_text(ngx_http_claude_turn_t *turn, u_char *p, size_t len);
static void chat_thinking(ngx_http_claude_turn_t *turn, u_char *p, size_t len);
static void chat_finished(ngx_http_claude_turn_t *turn);
static void chat_flush(ngx_http_claude_turn_t *turn);
static void chat_settled(ngx_http_claude_turn_t *turn);
static void chat_failed(ngx_http_claude_turn_t *turn);

static ngx_int_t chat_open(ngx_http_claude_stream_t *stream);
static void chat_blocked(ngx_http_claude_stream_t *stream);
static void chat_unblocked(ngx_http_claude_stream_t *stream);
static void chat_chunk_open(ngx_http_claude_chat_t *chat);
static void chat_chunk_close(ngx_http_claude_chat_t *chat,
    const char *finish);
static void chat_chunk_usage(ngx_http_claude_chat_t *chat);
static void chat_stream_error(ngx_http_claude_chat_t *chat);

static ngx_int_t chat_keep(ngx_http_claude_chat_t *chat, u_char *p,
    size_t len);
static ngx_int_t chat_whole(ngx_http_claude_chat_t *chat);
static const char *chat_finish(ngx_http_claude_turn_t *turn);
static u_char *chat_usage(u_char *p, ngx_http_claude_usage_t *usage);


#define CHAT_USAGE_LEN                                                        \
    (sizeof("{\"prompt_tokens\":,\"completion_tokens\":,\"total_tokens\":,"   \
            "\"prompt_tokens_details\":{\"cached_tokens\":,"                  \
            "\"audio_tokens\":0},\"completion_tokens_details\":"              \
            "{\"reasoning_tokens\":,\"audio_tokens\":0,"                      \
            "\"accepted_prediction_tokens\":0,"                               \
            "\"rejected_prediction_tokens\":0}}") + 5 * NGX_INT64_LEN)


static const ngx_http_claude_turn_handlers_t  chat_handlers = {
    chat_started,
    chat_text,
    chat_thinking,
    chat_finished,
    chat_flush,
    chat_settled,
    chat_failed
};


ngx_int_t
ngx_http_claude_chat_handler(ngx_http_request_t *r)
{
    ngx_http_claude_ctx_t  *ctx;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    return ngx_http_claude_body_read(ctx, chat_body);
}


static void
chat_body(ngx_http_claude_ctx_t *ctx, ngx_http_claude_json_t *body)
{
    ngx_int_t                rc;
    ngx_http_request_t      *r;
    ngx_pool_cleanup_t      *cln;
    ngx_http_claude_chat_t  *chat;

    r = ctx->request;

    if (body == NULL) {
        ngx_http_finalize_request(r, ctx->error.status);
        return;
    }

    chat = ngx_pcalloc(r->pool, sizeof(ngx_http_claude_chat_t));
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (chat == NULL || cln == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    chat->ctx = ctx;
    ctx->dialect = chat;

    if (chat_init(chat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    cln->handler = chat_cleanup;
    cln->data = chat;

    rc = ngx_http_claude_chat_request(chat, body);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (chat->streamed
        && (chat_prefix(chat) != NGX_OK
            || ngx_http_claude_stream_init(&chat->stream) != NGX_OK))
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ctx->turn = &chat->turn;

    if (ngx_http_claude_turn_start(&chat->turn) != NGX_OK) {
        ngx_http_claude_stream_cancel(&chat->stream);
        ngx_http_finalize_request(r, ngx_http_claude_error_turn(ctx,
                                                             &chat->turn));
    }
}


static ngx_int_t
chat_init(ngx_http_claude_chat_t *chat)
{
    u_char                      *p;
    ngx_http_request_t          *r;
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_turn_t      *turn;
    ngx_http_claude_loc_conf_t  *lcf;

    ctx = chat->ctx;
    r = ctx->request;
    turn = &chat->turn;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_http_claude_turn_init(turn, r->pool, r->connection->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    turn->handlers = &chat_handlers;
    turn->data = chat;
    turn->id = ctx->id;
    turn->profile = lcf->profile;
    turn->timeout = lcf->timeout;

    if (ctx->key) {
        ngx_memcpy(turn->tenant, ctx->key->hash, NGX_HTTP_CLAUDE_TENANT_LEN);
        turn->tenant_name = ctx->key->name;
    }

    chat->created = ngx_time();
    chat->last = &chat->text;

    /* x-request-id is unique, so part of it is good for this, too */

    p = ngx_pnalloc(r->pool, sizeof("chatcmpl-") - 1 + CHAT_ID_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    chat->id.data = p;
    p = ngx_cpymem(p, "chatcmpl-", sizeof("chatcmpl-") - 1);
    p = ngx_cpymem(p, ctx->id.data + sizeof("req_") - 1,
                   ngx_min(CHAT_ID_LEN, ctx->id.len - (sizeof("req_") - 1)));
    chat->id.len = p - chat->id.data;

    chat->stream.request = r;
    chat->stream.heartbeat = lcf->heartbeat;
    chat->stream.data = chat;
    chat->stream.open = chat_open;
    chat->stream.blocked = chat_blocked;
    chat->stream.unblocked = chat_unblocked;

    return NGX_OK;
}


/* what all chunks of a stream begin with */

static ngx_int_t
chat_prefix(ngx_http_claude_chat_t *chat)
{
    u_char  *p;

    p = ngx_pnalloc(chat->turn.pool,
                    sizeof("data: {\"id\":\"\",\"object\":"
                           "\"chat.completion.chunk\",\"created\":,"
                           "\"model\":,\"system_fingerprint\":"
                           "\"fp_claude\",")
                    + chat->id.len + NGX_TIME_T_LEN
                    + ngx_http_claude_json_escaped_max(chat->model.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    chat->prefix.data = p;

    p = ngx_sprintf(p, "data: {\"id\":\"%V\",\"object\":"
                    "\"chat.completion.chunk\",\"created\":%T,\"model\":",
                    &chat->id, chat->created);
    p = ngx_http_claude_json_escape(p, chat->model.data, chat->model.len);
    p = ngx_cpymem(p, ",\"system_fingerprint\":\"fp_claude\",",
                   sizeof(",\"system_fingerprint\":\"fp_claude\",") - 1);

    chat->prefix.len = p - chat->prefix.data;

    return NGX_OK;
}


/* the client left, or the response is complete */

static void
chat_cleanup(void *data)
{
    ngx_http_claude_chat_t  *chat = data;

    ngx_http_claude_turn_abort(&chat->turn);
}


/* the last thing to do with a request: chat may be gone when it returns */

static void
chat_finalize(ngx_http_claude_chat_t *chat, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = chat->ctx->request;
    c = r->connection;

    if (!chat->stream.opened) {
        ngx_http_claude_stream_cancel(&chat->stream);
    }

    ngx_http_set_log_request(c->log, r);
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
chat_started(ngx_http_claude_turn_t *turn)
{
    ngx_http_claude_chat_t *chat = turn->data;

    if (!chat->streamed) {
        return;
    }

    chat_chunk_open(chat);
    chat_write(chat, "{\"role\":\"assistant\",\"content\":\"\","
                     "\"refusal\":null}");
    chat_chunk_close(chat, NULL);
}


static void
chat_text(ngx_http_claude_turn_t *turn, u_char *p, size_t len)
{
    ngx_http_claude_chat_t *chat = turn->data;

    if (!chat->streamed) {

        if (chat_keep(chat, p, len) != NGX_OK) {
            chat->stream.failed = 1;
        }

        return;
    }

    chat_chunk_open(chat);
    chat_write(chat, "{\"content\":");
    ngx_http_claude_stream_escape(&chat->stream, p, len);
    chat_write(chat, "}");
    chat_chunk_close(chat, NULL);
}


/* shown only to clients that ask for reasoning, which is not there yet */

static void
chat_thinking(ngx_http_claude_turn_t *turn, u_char *p, size_t len)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                   "claude: %uz bytes of thinking", len);
}


static void
chat_finished(ngx_http_claude_turn_t *turn)
{
    ngx_http_claude_chat_t *chat = turn->data;

    /* a whole one waits the few milliseconds until its cost is known */

    if (!chat->streamed) {
        return;
    }

    chat_chunk_open(chat);
    chat_write(chat, "{}");
    chat_chunk_close(chat, chat_finish(turn));

    if (chat->include_usage) {
        chat_chunk_usage(chat);
    }

    chat_write(chat, "data: [DONE]\n\n");
}


static void
chat_flush(ngx_http_claude_turn_t *turn)
{
    ngx_http_claude_chat_t *chat = turn->data;

    if (chat->stream.failed
        || ngx_http_claude_stream_flush(&chat->stream) == NGX_ERROR)
    {
        /* the request may outlive this: its error goes out, it lingers */

        ngx_http_claude_turn_abort(turn);

        chat_finalize(chat, chat->stream.opened
                            ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


static void
chat_settled(ngx_http_claude_turn_t *turn)
{
    ngx_int_t                rc;
    ngx_http_claude_chat_t  *chat = turn->data;

    if (chat->stream.failed) {
        rc = NGX_ERROR;

    } else if (chat->streamed) {
        rc = ngx_http_claude_stream_close(&chat->stream);

    } else {
        rc = chat_whole(chat);
    }

    chat_finalize(chat, rc);
}


static void
chat_failed(ngx_http_claude_turn_t *turn)
{
    ngx_int_t                status;
    ngx_http_claude_chat_t  *chat = turn->data;

    status = ngx_http_claude_error_turn(chat->ctx, turn);

    if (!chat->stream.opened) {
        chat_finalize(chat, status);
        return;
    }

    chat_stream_error(chat);

    chat_finalize(chat, ngx_http_claude_stream_close(&chat->stream));
}


static ngx_int_t
chat_open(ngx_http_claude_stream_t *stream)
{
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = stream->request;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type,
                "text/event-stream; charset=utf-8");
    r->headers_out.content_type_len = sizeof("text/event-stream") - 1;

    if (ngx_http_claude_response_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&value, "no-cache");

    if (ngx_http_claude_header(r, "Cache-Control", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    /* another nginx in front must not collect what is to arrive at once */

    ngx_str_set(&value, "no");

    if (ngx_http_claude_header(r, "X-Accel-Buffering", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_send_header(r);
}


static void
chat_blocked(ngx_http_claude_stream_t *stream)
{
    ngx_http_claude_chat_t  *chat = stream->data;

    ngx_http_claude_turn_pause(&chat->turn);
}


static void
chat_unblocked(ngx_http_claude_stream_t *stream)
{
    ngx_http_claude_chat_t  *chat = stream->data;

    ngx_http_claude_turn_resume(&chat->turn);
}


static void
chat_chunk_open(ngx_http_claude_chat_t *chat)
{
    ngx_http_claude_stream_write(&chat->stream, chat->prefix.data,
                                 chat->prefix.len);
    chat_write(chat, "\"choices\":[{\"index\":0,\"delta\":");
}


/* finish: a literal, or NULL before the end */

static void
chat_chunk_close(ngx_http_claude_chat_t *chat, const char *finish)
{
    chat_write(chat, ",\"logprobs\":null,\"finish_reason\":");

    if (finish) {
        chat_write(chat, "\"");
        ngx_http_claude_stream_write(&chat->stream, (u_char *) finish,
                                     ngx_strlen(finish));
        chat_write(chat, "\"");

    } else {
        chat_write(chat, "null");
    }

    if (chat->include_usage) {
        chat_write(chat, "}],\"usage\":null}\n\n");

    } else {
        chat_write(chat, "}]}\n\n");
    }
}


static void
chat_chunk_usage(ngx_http_claude_chat_t *chat)
{
    u_char  buf[CHAT_USAGE_LEN], *p;

    ngx_http_claude_stream_write(&chat->stream, chat->prefix.data,
                                 chat->prefix.len);
    chat_write(chat, "\"choices\":[],\"usage\":");

    p = chat_usage(buf, &chat->turn.usage);
    ngx_http_claude_stream_write(&chat->stream, buf, p - buf);

    chat_write(chat, "}\n\n");
}


/*
 * After the stream has begun an error goes out as data, and the body ends in
 * good order: a cut connection would be reported as another error.
 */

static void
chat_stream_error(ngx_http_claude_chat_t *chat)
{
    ngx_str_t  json;

    json = ngx_http_claude_error_json(chat->ctx->request, &chat->ctx->error);

    chat_write(chat, "data: ");
    ngx_http_claude_stream_write(&chat->stream, json.data, json.len);
    chat_write(chat, "\n\n");
}


/* keeps text, escaped, for the response of one piece */

static ngx_int_t
chat_keep(ngx_http_claude_chat_t *chat, u_char *p, size_t len)
{
    size_t                        max, size;
    u_char                       *last, before;
    ngx_buf_t                    *b;
    ngx_chain_t                  *cl;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(chat->ctx->request,
                                        ngx_http_claude_module);

    if (chat->length + len > mcf->max_line) {
        ngx_log_error(NGX_LOG_ERR, chat->turn.log, 0,
                      "claude: an answer that is not streamed has more than "
                      "%uz bytes, see claude_max_line, request %V",
                      mcf->max_line, &chat->ctx->id);

        (void) ngx_http_claude_error(chat->ctx,
                       NGX_HTTP_INTERNAL_SERVER_ERROR, "internal_error", NULL,
                       "The answer is too long for one piece; ask for a "
                       "stream.");
        return NGX_ERROR;
    }

    max = ngx_http_claude_json_escaped_max(len);
    b = chat->text ? ((ngx_chain_t *) ((u_char *) chat->last
                                       - offsetof(ngx_chain_t, next)))->buf
                   : NULL;

    if (b == NULL || (size_t) (b->end - b->last) < max) {

        size = ngx_max(CHAT_BUF_SIZE, max + 1);
        size = ngx_max(size, ngx_min(chat->length, 16 * CHAT_BUF_SIZE));

        b = ngx_create_temp_buf(chat->turn.pool, size);
        cl = ngx_alloc_chain_link(chat->turn.pool);

        if (b == NULL || cl == NULL) {
            return NGX_ERROR;
        }

        /* room for the quote that yajl puts first */

        b->pos++;
        b->last++;

        cl->buf = b;
        cl->next = NULL;
        *chat->last = cl;
        chat->last = &cl->next;
    }

    before = b->last[-1];
    last = ngx_http_claude_json_escape(b->last - 1, p, len) - 1;
    b->last[-1] = before;

    chat->length += last - b->last;
    b->last = last;

    return NGX_OK;
}


/* the response of one piece */

static ngx_int_t
chat_whole(ngx_http_claude_chat_t *chat)
{
    off_t                length;
    ngx_buf_t           *head, *tail;
    ngx_int_t            rc;
    ngx_chain_t         *first, *last;
    ngx_http_request_t  *r;

    r = chat->ctx->request;

    head = ngx_create_temp_buf(r->pool, 512 + chat->id.len
                + ngx_http_claude_json_escaped_max(chat->model.len));
    tail = ngx_create_temp_buf(r->pool, 256 + CHAT_USAGE_LEN);
    first = ngx_alloc_chain_link(r->pool);
    last = ngx_alloc_chain_link(r->pool);

    if (head == NULL || tail == NULL || first == NULL || last == NULL) {
        return NGX_ERROR;
    }

    head->last = ngx_sprintf(head->last, "{\"id\":\"%V\",\"object\":"
                             "\"chat.completion\",\"created\":%T,\"model\":",
                             &chat->id, chat->created);
    head->last = ngx_http_claude_json_escape(head->last, chat->model.data,
                                             chat->model.len);
    head->last = ngx_sprintf(head->last, ",\"choices\":[{\"index\":0,"
                             "\"message\":{\"role\":\"assistant\","
                             "\"content\":\"");

    tail->last = ngx_sprintf(tail->last, "\",\"refusal\":null,"
                             "\"annotations\":[]},\"logprobs\":null,"
                             "\"finish_reason\":\"%s\"}],\"usage\":",
                             chat_finish(&chat->turn));
    tail->last = chat_usage(tail->last, &chat->turn.usage);
    tail->last = ngx_sprintf(tail->last,
                             ",\"system_fingerprint\":\"fp_claude\"}\n");

    length = (head->last - head->pos) + chat->length
             + (tail->last - tail->pos);

    tail->last_buf = 1;
    tail->last_in_chain = 1;

    first->buf = head;
    first->next = chat->text ? chat->text : last;
    *chat->last = last;
    last->buf = tail;
    last->next = NULL;

    if (chat->text == last) {
        chat->text = NULL;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = length;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (ngx_http_claude_response_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    chat->stream.opened = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, first);
}


static const char *
chat_finish(ngx_http_claude_turn_t *turn)
{
    switch (turn->stop) {

    case NGX_HTTP_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_HTTP_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_HTTP_CLAUDE_STOP_TOOL:
        return "tool_calls";

    default:
        return "stop";
    }
}


static u_char *
chat_usage(u_char *p, ngx_http_claude_usage_t *usage)
{
    uint64_t  prompt;

    /* what the provider bills as input, read from and written to caches */

    prompt = usage->input + usage->cache_read + usage->cache_creation;

    return ngx_sprintf(p, "{\"prompt_tokens\":%uL,\"completion_tokens\":%uL,"
                       "\"total_tokens\":%uL,\"prompt_tokens_details\":"
                       "{\"cached_tokens\":%uL,\"audio_tokens\":0},"
                       "\"completion_tokens_details\":{"
                       "\"reasoning_tokens\":%uL,\"audio_tokens\":0,"
                       "\"accepted_prediction_tokens\":0,"
                       "\"rejected_prediction_tokens\":0}}",
                       prompt, usage->output, prompt + usage->output,
                       usage->cache_read, usage->thinking);
}
