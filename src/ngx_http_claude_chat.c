
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
static void chat_said(ngx_http_claude_chat_t *chat, u_char *p, size_t len);
static void chat_content(ngx_http_claude_chat_t *chat, u_char *p, size_t len);
static void chat_thinking(ngx_http_claude_turn_t *turn, u_char *p, size_t len);
static void chat_call(ngx_http_claude_turn_t *turn, ngx_str_t *id,
    ngx_str_t *name);
static void chat_arguments(ngx_http_claude_turn_t *turn, u_char *p,
    size_t len);
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

static void chat_forced_text(ngx_http_claude_chat_t *chat, u_char *p,
    size_t len);
static ngx_int_t chat_forced(ngx_http_claude_chat_t *chat);
static void chat_forced_call(ngx_http_claude_chat_t *chat, ngx_str_t *name);


static const ngx_http_claude_turn_handlers_t  chat_handlers = {
    chat_started,
    chat_text,
    chat_thinking,
    chat_call,
    chat_arguments,
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

    if (ngx_array_init(&chat->calls, r->pool, 2,
                       sizeof(ngx_http_claude_chat_call_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    chat->created = ngx_time();
    chat->text.last = &chat->text.first;
    chat->thoughts.last = &chat->thoughts.first;

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

    size_t      keep;
    ngx_str_t   held;
    ngx_uint_t  stopped;

    if (chat->forced) {
        chat_forced_text(chat, p, len);
        return;
    }

    if (chat->stops.nelts == 0) {
        chat_said(chat, p, len);
        return;
    }

    stopped = ngx_http_claude_chat_stops(chat, p, len, &held, &keep);

    chat_said(chat, held.data, held.len);
    chat_said(chat, p, keep);

    if (stopped) {
        chat->stops.nelts = 0;
        ngx_http_claude_turn_stop(turn);
    }
}


static void
chat_said(ngx_http_claude_chat_t *chat, u_char *p, size_t len)
{
    if (len && chat->object.wanted
        && ngx_http_claude_chat_object(chat, &p, &len) != NGX_OK)
    {
        chat->stream.failed = 1;
        return;
    }

    if (len) {
        chat_content(chat, p, len);
    }
}


static void
chat_content(ngx_http_claude_chat_t *chat, u_char *p, size_t len)
{
    if (!chat->streamed) {

        if (ngx_http_claude_chat_keep(chat, &chat->text, p, len) != NGX_OK) {
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


/* shown only to clients that ask for reasoning */

static void
chat_thinking(ngx_http_claude_turn_t *turn, u_char *p, size_t len)
{
    ngx_http_claude_chat_t *chat = turn->data;

    if (!chat->reasoning) {
        return;
    }

    if (!chat->streamed) {

        if (ngx_http_claude_chat_keep(chat, &chat->thoughts, p, len)
            != NGX_OK)
        {
            chat->stream.failed = 1;
        }

        return;
    }

    chat_chunk_open(chat);
    chat_write(chat, "{\"reasoning_content\":");
    ngx_http_claude_stream_escape(&chat->stream, p, len);
    chat_write(chat, "}");
    chat_chunk_close(chat, NULL);
}


/* the first delta of a call has everything but the arguments */

static void
chat_call(ngx_http_claude_turn_t *turn, ngx_str_t *id, ngx_str_t *name)
{
    u_char                       buf[NGX_INT_T_LEN], *p;
    ngx_http_claude_chat_t      *chat = turn->data;
    ngx_http_claude_chat_call_t *call;

    if (!chat->streamed) {

        call = ngx_array_push(&chat->calls);

        if (call == NULL
            || (call->id.data = ngx_pstrdup(turn->pool, id)) == NULL
            || (call->name.data = ngx_pstrdup(turn->pool, name)) == NULL)
        {
            chat->stream.failed = 1;
            return;
        }

        call->id.len = id->len;
        call->name.len = name->len;

        /* set when the array has its final place: it may still move */

        ngx_memzero(&call->arguments, sizeof(ngx_http_claude_chat_text_t));
        chat->ncalls++;
        return;
    }

    chat_chunk_open(chat);

    if (chat->functions) {
        chat_write(chat, "{\"function_call\":{\"name\":");
        ngx_http_claude_stream_escape(&chat->stream, name->data, name->len);
        chat_write(chat, ",\"arguments\":\"\"}}");

    } else {
        chat_write(chat, "{\"tool_calls\":[{\"index\":");
        p = ngx_sprintf(buf, "%ui", chat->ncalls);
        ngx_http_claude_stream_write(&chat->stream, buf, p - buf);
        chat_write(chat, ",\"id\":");
        ngx_http_claude_stream_escape(&chat->stream, id->data, id->len);
        chat_write(chat, ",\"type\":\"function\",\"function\":{\"name\":");
        ngx_http_claude_stream_escape(&chat->stream, name->data, name->len);
        chat_write(chat, ",\"arguments\":\"\"}}]}");
    }

    chat_chunk_close(chat, NULL);
    chat->ncalls++;
}


static void
chat_arguments(ngx_http_claude_turn_t *turn, u_char *p, size_t len)
{
    u_char                       buf[NGX_INT_T_LEN], *last;
    ngx_http_claude_chat_t      *chat = turn->data;
    ngx_http_claude_chat_call_t *call;

    if (chat->stream.failed) {
        return;
    }

    if (!chat->streamed) {

        call = (ngx_http_claude_chat_call_t *) chat->calls.elts
               + chat->calls.nelts - 1;

        if (call->arguments.first == NULL) {
            call->arguments.last = &call->arguments.first;
        }

        if (ngx_http_claude_chat_keep(chat, &call->arguments, p, len) != NGX_OK) {
            chat->stream.failed = 1;
        }

        return;
    }

    chat_chunk_open(chat);

    if (chat->functions) {
        chat_write(chat, "{\"function_call\":{\"arguments\":");
        ngx_http_claude_stream_escape(&chat->stream, p, len);
        chat_write(chat, "}}");

    } else {
        chat_write(chat, "{\"tool_calls\":[{\"index\":");
        last = ngx_sprintf(buf, "%ui", chat->ncalls - 1);
        ngx_http_claude_stream_write(&chat->stream, buf, last - buf);
        chat_write(chat, ",\"function\":{\"arguments\":");
        ngx_http_claude_stream_escape(&chat->stream, p, len);
        chat_write(chat, "}}]}");
    }

    chat_chunk_close(chat, NULL);
}


/* the answer is a call in disguise, see tools_emulate() */

static void
chat_forced_text(ngx_http_claude_chat_t *chat, u_char *p, size_t len)
{
    u_char  *data;
    size_t   size;

    if (chat->forced_name.len) {

        if (chat->ncalls == 0) {
            chat_forced_call(chat, &chat->forced_name);
        }

        chat_arguments(&chat->turn, p, len);
        return;
    }

    /* its name may come last: it is told when it is complete */

    if (chat->forced_size - chat->forced_json.len < len) {

        size = 2 * (chat->forced_json.len + len);

        data = ngx_pnalloc(chat->turn.pool, size);
        if (data == NULL) {
            chat->stream.failed = 1;
            return;
        }

        if (chat->forced_json.data) {
            ngx_memcpy(data, chat->forced_json.data, chat->forced_json.len);
            ngx_pfree(chat->turn.pool, chat->forced_json.data);
        }

        chat->forced_json.data = data;
        chat->forced_size = size;
    }

    ngx_memcpy(chat->forced_json.data + chat->forced_json.len, p, len);
    chat->forced_json.len += len;
}


/* the end of a call that any tool could have been */

static ngx_int_t
chat_forced(ngx_http_claude_chat_t *chat)
{
    ngx_str_t                text;
    ngx_http_claude_json_t  *call, *name, *arguments;

    if (chat->forced_json.len == 0) {
        return NGX_OK;
    }

    call = ngx_http_claude_json_parse(chat->turn.pool, &chat->forced_json);

    if (call == NULL
        || (name = ngx_http_claude_json_member(call, "name")) == NULL
        || (arguments = ngx_http_claude_json_member(call, "arguments")) == NULL
        || ngx_http_claude_json_text(chat->turn.pool, arguments, &text)
           != NGX_OK)
    {
        /* cut off by a limit: half a call is of no use to anybody */

        return NGX_DECLINED;
    }

    chat_forced_call(chat, &name->value);
    chat_arguments(&chat->turn, text.data, text.len);

    return NGX_OK;
}


static void
chat_forced_call(ngx_http_claude_chat_t *chat, ngx_str_t *name)
{
    u_char     buf[sizeof("toolu_") + CHAT_ID_LEN], *p;
    ngx_str_t  id;

    p = ngx_cpymem(buf, "toolu_", sizeof("toolu_") - 1);
    p = ngx_cpymem(p, chat->id.data + sizeof("chatcmpl-") - 1,
                   chat->id.len - (sizeof("chatcmpl-") - 1));

    id.data = buf;
    id.len = p - buf;

    chat_call(&chat->turn, &id, name);
}


static void
chat_finished(ngx_http_claude_turn_t *turn)
{
    ngx_http_claude_chat_t *chat = turn->data;

    u_char     *p;
    size_t      len;
    ngx_str_t   held;

    if (chat->forced) {
        (void) chat_forced(chat);
    }

    if (chat->stops.nelts) {
        ngx_http_claude_chat_stops_end(chat, &held);
        chat_said(chat, held.data, held.len);
    }

    if (chat->object.wanted) {

        /* all that there is, if it has no object in it */

        len = 0;

        if (ngx_http_claude_chat_object(chat, &p, &len) == NGX_OK && len) {
            chat_content(chat, p, len);
        }
    }

    if (turn->stop == NGX_HTTP_CLAUDE_STOP_REFUSAL && turn->refusal.len == 0) {
        ngx_str_set(&turn->refusal, "The model refused to answer.");
    }

    /* a whole one waits the few milliseconds until its cost is known */

    if (!chat->streamed) {
        return;
    }

    if (turn->refusal.len) {
        chat_chunk_open(chat);
        chat_write(chat, "{\"refusal\":");
        ngx_http_claude_stream_escape(&chat->stream, turn->refusal.data,
                                      turn->refusal.len);
        chat_write(chat, "}");
        chat_chunk_close(chat, NULL);
    }

    chat_chunk_open(chat);
    chat_write(chat, "{}");
    chat_chunk_close(chat, ngx_http_claude_chat_finish(chat));

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
        rc = ngx_http_claude_chat_whole(chat);
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
    u_char  buf[NGX_HTTP_CLAUDE_CHAT_USAGE_LEN], *p;

    ngx_http_claude_stream_write(&chat->stream, chat->prefix.data,
                                 chat->prefix.len);
    chat_write(chat, "\"choices\":[],\"usage\":");

    p = ngx_http_claude_chat_usage(buf, &chat->turn.usage);
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


const char *
ngx_http_claude_chat_finish(ngx_http_claude_chat_t *chat)
{
    ngx_http_claude_turn_t  *turn;

    turn = &chat->turn;

    if (chat->ncalls && turn->stop <= NGX_HTTP_CLAUDE_STOP_SEQUENCE) {

        /* a forced call, which the model knows nothing of */

        return chat->functions ? "function_call" : "tool_calls";
    }

    switch (turn->stop) {

    case NGX_HTTP_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_HTTP_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_HTTP_CLAUDE_STOP_TOOL:
        return chat->functions ? "function_call" : "tool_calls";

    default:
        return "stop";
    }
}


u_char *
ngx_http_claude_chat_usage(u_char *p, ngx_http_claude_usage_t *usage)
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
