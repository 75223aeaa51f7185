
/*
 * The dialect of chat completions: from a request to its answers, and to the
 * end of them.  See the header.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_body.h"
#include "ngx_http_claude_conf.h"
#include "ngx_claude_engine.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_response.h"


#define CHAT_ID_LEN     24


static ngx_int_t chat_read(ngx_http_request_t *r,
    const ngx_claude_json_field_t *fields, ngx_http_claude_body_pt handler);
static void chat_body(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body);
static void chat_completions_body(ngx_http_claude_ctx_t *ctx,
    ngx_claude_json_t *body);
static void chat_answer(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body,
    ngx_uint_t completions);
static ngx_int_t chat_init(ngx_http_claude_chat_t *chat);
static ngx_int_t chat_id(ngx_http_claude_chat_t *chat);
static ngx_int_t chat_start(ngx_http_claude_chat_t *chat);
static void chat_abort(ngx_http_claude_chat_t *chat);
static void chat_terminate(void *data);
static void chat_cleanup(void *data);
static ngx_uint_t chat_left(ngx_http_claude_chat_t *chat);
static void chat_finalize(ngx_http_claude_chat_t *chat, ngx_int_t rc);

static void chat_started(ngx_claude_turn_t *turn);
static void chat_block(ngx_claude_turn_t *turn, ngx_claude_block_t *block);
static void chat_delta(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
    u_char *p, size_t len);
static void chat_other(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
    u_char *p, size_t len);
static void chat_close(ngx_claude_turn_t *turn, ngx_claude_block_t *block);
static void chat_finished(ngx_claude_turn_t *turn);
static void chat_flush(ngx_claude_turn_t *turn);
static void chat_settled(ngx_claude_turn_t *turn);
static void chat_failed(ngx_claude_turn_t *turn);
static void chat_paid(ngx_claude_turn_t *turn);

static ngx_int_t chat_open(ngx_http_claude_stream_t *stream);
static void chat_blocked(ngx_http_claude_stream_t *stream);
static void chat_unblocked(ngx_http_claude_stream_t *stream);
static void chat_beat(ngx_http_claude_stream_t *stream);


static const ngx_claude_turn_handlers_t  chat_handlers = {
    chat_started,
    chat_block,
    chat_delta,
    chat_other,
    chat_close,
    chat_finished,
    chat_flush,
    chat_settled,
    chat_failed,
    chat_paid
};


ngx_int_t
ngx_http_claude_chat_handler(ngx_http_request_t *r)
{
    return chat_read(r, ngx_http_claude_chat_fields, chat_body);
}


ngx_int_t
ngx_http_claude_completions_handler(ngx_http_request_t *r)
{
    return chat_read(r, ngx_http_claude_completions_fields,
                     chat_completions_body);
}


static ngx_int_t
chat_read(ngx_http_request_t *r, const ngx_claude_json_field_t *fields,
    ngx_http_claude_body_pt handler)
{
    ngx_http_claude_ctx_t  *ctx;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (r->request_body && r->request_body_no_buffering) {

        /* the location before has sent it on as it came */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "claude: the request body was not kept, see "
                      "proxy_request_buffering, request %V", &ctx->id);

        return ngx_http_claude_error(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                     "internal_error", NULL,
                                     "The server has not kept the request "
                                     "body.");
    }

    return ngx_http_claude_body_read(ctx, fields, handler);
}


static void
chat_body(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body)
{
    chat_answer(ctx, body, 0);
}


static void
chat_completions_body(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body)
{
    chat_answer(ctx, body, 1);
}


static void
chat_answer(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body,
    ngx_uint_t completions)
{
    ngx_int_t                rc;
    ngx_http_request_t      *r;
    ngx_http_cleanup_t      *end;
    ngx_pool_cleanup_t      *cln;
    ngx_http_claude_chat_t  *chat;

    r = ctx->request;

    if (ngx_http_get_module_ctx(r, ngx_http_claude_module) != ctx) {
        return;
    }

    if (body == NULL) {
        ngx_http_finalize_request(r, ctx->error.status);
        return;
    }

    chat = ngx_pcalloc(r->pool, sizeof(ngx_http_claude_chat_t));
    end = ngx_http_cleanup_add(r, 0);
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (chat == NULL || end == NULL || cln == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    chat->ctx = ctx;
    chat->completions = completions;
    ctx->dialect = chat;

    if (chat_init(chat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    end->handler = chat_terminate;
    end->data = chat;
    cln->handler = chat_cleanup;
    cln->data = chat;

    rc = completions ? ngx_http_claude_completions_request(chat, body)
                     : ngx_http_claude_chat_request(chat, body);

    /* a turn may wait for long, and needs the tree no more */

    ngx_http_claude_body_free(ctx);

    if (rc == NGX_OK) {
        rc = chat_start(chat);
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
chat_init(ngx_http_claude_chat_t *chat)
{
    ngx_http_request_t          *r;
    ngx_http_claude_ctx_t       *ctx;
    ngx_claude_turn_t           *turn;
    ngx_http_claude_loc_conf_t  *lcf;

    ctx = chat->ctx;
    r = ctx->request;
    turn = &chat->turn;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_claude_turn_init(turn, r->pool, r->connection->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    turn->handlers = &chat_handlers;
    turn->id = ctx->id;
    turn->profile = lcf->profile;
    turn->timeout = lcf->timeout;

    if (ctx->key) {
        ngx_memcpy(turn->tenant, ctx->key->hash, NGX_CLAUDE_TENANT_LEN);
        turn->tenant_name = ctx->key->name;
    }

    chat->n = 1;
    chat->created = ngx_time();

    chat->stream.request = r;
    chat->stream.heartbeat = lcf->heartbeat;
    chat->stream.data = chat;
    chat->stream.open = chat_open;
    chat->stream.blocked = chat_blocked;
    chat->stream.unblocked = chat_unblocked;
    chat->stream.beat = chat_beat;

    return chat_id(chat);
}


/* x-request-id is unique, so part of it is good for this, too */

static ngx_int_t
chat_id(ngx_http_claude_chat_t *chat)
{
    u_char     *p;
    ngx_str_t  *id;

    p = ngx_pnalloc(chat->turn.pool, sizeof("chatcmpl-") - 1 + CHAT_ID_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id = &chat->ctx->id;
    chat->id.data = p;

    if (chat->completions) {
        p = ngx_cpymem(p, "cmpl-", sizeof("cmpl-") - 1);

    } else {
        p = ngx_cpymem(p, "chatcmpl-", sizeof("chatcmpl-") - 1);
    }

    p = ngx_cpymem(p, id->data + sizeof("req_") - 1,
                   ngx_min(CHAT_ID_LEN, id->len - (sizeof("req_") - 1)));

    chat->id.len = p - chat->id.data;

    return NGX_OK;
}


/* NGX_OK, or an HTTP status */

static ngx_int_t
chat_start(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t                      i;
    ngx_claude_turn_t              *turn;
    ngx_http_claude_chat_choice_t  *choice;

    if (ngx_http_claude_chat_choices(chat) != NGX_OK
        || (chat->streamed && ngx_http_claude_chat_chunks(chat) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    choice = chat->choices;

    chat->earlier = chat->ctx->spender;
    chat->ctx->spender = chat;
    chat->ctx->total = ngx_http_claude_chat_total;
    chat->ctx->ends = ngx_http_claude_chat_ends;

    ngx_http_claude_chat_hold(chat);

    for (i = 0; i < chat->nchoices; i++) {
        turn = &choice[i].turn;

        if (ngx_claude_turn_start(turn) != NGX_OK) {
            chat_abort(chat);
            ngx_http_claude_stream_cancel(&chat->stream);
            ngx_http_claude_chat_release(chat);

            return ngx_http_claude_error_turn(chat->ctx, turn);
        }
    }

    return NGX_OK;
}


static void
chat_abort(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t  i;

    for (i = 0; i < chat->nchoices; i++) {
        ngx_claude_turn_abort(&chat->choices[i].turn);
    }
}


/* the client left, or the response is complete; the log phase comes next */

static void
chat_terminate(void *data)
{
    ngx_http_claude_chat_t  *chat = data;

    chat_abort(chat);
    ngx_http_claude_stream_cancel(&chat->stream);
    ngx_http_claude_chat_block(chat);
}


/* the memory goes, so nothing may refer to the turns */

static void
chat_cleanup(void *data)
{
    ngx_uint_t               i;
    ngx_http_claude_chat_t  *chat = data;

    chat->waiting = 0;

    chat_abort(chat);

    for (i = 0; i < chat->nchoices; i++) {
        ngx_claude_turn_forgo(&chat->choices[i].turn);
    }
}


/*
 * Whether the request is in another location now: its client has left, and a
 * post_action runs.  What is left of the turn is of no use then.
 */

static ngx_uint_t
chat_left(ngx_http_claude_chat_t *chat)
{
    if (ngx_http_get_module_ctx(chat->ctx->request, ngx_http_claude_module)
        == chat->ctx
        && chat->ctx->dialect == chat)
    {
        return 0;
    }

    chat_abort(chat);
    ngx_http_claude_stream_cancel(&chat->stream);

    return 1;
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

    ngx_http_claude_chat_release(chat);

    if (ngx_http_claude_chat_defer(chat, rc)) {
        return;
    }

    ngx_http_set_log_request(c->log, r);
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
chat_started(ngx_claude_turn_t *turn)
{
    ngx_http_claude_chat_choice_t *choice = turn->data;

    if (choice->chat->streamed) {
        ngx_http_claude_chat_chunk_begin(choice);
    }

    if (choice->prompt.len) {
        ngx_http_claude_chat_text(choice, choice->prompt.data,
                                  choice->prompt.len);
    }
}


/* to a client of this dialect an answer is one text, thoughts and calls */

static void
chat_block(ngx_claude_turn_t *turn, ngx_claude_block_t *block)
{
    if (block->type == NGX_CLAUDE_TOOL_USE) {
        ngx_http_claude_chat_call(turn->data, &block->id, &block->name);
    }
}


static void
chat_delta(ngx_claude_turn_t *turn, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
    ngx_http_claude_chat_choice_t *choice = turn->data;

    switch (block->type) {

    case NGX_CLAUDE_TEXT:
        ngx_http_claude_chat_choice_text(choice, p, len);
        return;

    case NGX_CLAUDE_TOOL_USE:
        ngx_http_claude_chat_arguments(choice, p, len);
        return;

    case NGX_CLAUDE_THINKING:

        /* shown only to clients that ask for reasoning */

        if (choice->chat->reasoning) {
            ngx_http_claude_chat_thought(choice, p, len);
        }

        return;

    default:
        return;
    }
}


static void
chat_other(ngx_claude_turn_t *turn, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
}


static void
chat_close(ngx_claude_turn_t *turn, ngx_claude_block_t *block)
{
}


static void
chat_finished(ngx_claude_turn_t *turn)
{
    ngx_http_claude_chat_t        *chat;
    ngx_http_claude_chat_choice_t *choice = turn->data;

    chat = choice->chat;

    ngx_http_claude_chat_choice_end(choice);

    chat->unfinished--;

    /* a whole one is sent when its cost is known: milliseconds, as a rule */

    if (!chat->streamed) {
        return;
    }

    ngx_http_claude_chat_chunk_end(choice);

    if (chat->unfinished == 0) {
        ngx_http_claude_chat_chunks_end(chat);
        chat->stream.complete = 1;

        /* it has all of it: closing the connection takes nothing back */

        chat->ctx->request->read_event_handler = ngx_http_block_reading;
    }
}


static void
chat_flush(ngx_claude_turn_t *turn)
{
    ngx_connection_t              *c;
    ngx_http_claude_chat_t        *chat;
    ngx_http_claude_chat_choice_t *choice = turn->data;

    chat = choice->chat;

    if (chat_left(chat)) {
        return;
    }

    c = chat->ctx->request->connection;

    if (chat->stream.out.failed
        || ngx_http_claude_stream_flush(&chat->stream) == NGX_ERROR)
    {
        /* the request may outlive this: its error goes out, it lingers */

        chat_abort(chat);

        chat_finalize(chat, chat->stream.opened
                            ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    /* filters may have made subrequests of what was sent */

    ngx_http_run_posted_requests(c);
}


static void
chat_settled(ngx_claude_turn_t *turn)
{
    ngx_int_t                      rc;
    ngx_http_claude_chat_t        *chat;
    ngx_http_claude_chat_choice_t *choice = turn->data;

    chat = choice->chat;

    if (chat_left(chat)) {
        return;
    }

    if (chat->stream.out.failed) {
        chat_abort(chat);
        chat_finalize(chat, NGX_ERROR);
        return;
    }

    if (--chat->unsettled) {
        return;
    }

    rc = chat->streamed ? ngx_http_claude_stream_close(&chat->stream)
                        : ngx_http_claude_chat_whole(chat);

    chat_finalize(chat, rc);
}


/* one answer of several is not what the client asked for */

static void
chat_failed(ngx_claude_turn_t *turn)
{
    ngx_int_t                      status;
    ngx_http_claude_chat_t        *chat;
    ngx_http_claude_chat_choice_t *choice = turn->data;

    chat = choice->chat;

    if (chat_left(chat)) {
        return;
    }

    chat_abort(chat);

    status = ngx_http_claude_error_turn(chat->ctx, turn);

    if (!chat->stream.opened) {
        chat_finalize(chat, status);
        return;
    }

    ngx_http_claude_chat_chunks_error(chat);

    chat_finalize(chat, ngx_http_claude_stream_close(&chat->stream));
}


static void
chat_paid(ngx_claude_turn_t *turn)
{
    ngx_http_claude_chat_choice_t *choice = turn->data;

    ngx_http_claude_chat_paid(choice->chat);
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
    ngx_uint_t               i;
    ngx_http_claude_chat_t  *chat = stream->data;

    for (i = 0; i < chat->nchoices; i++) {
        ngx_claude_turn_pause(&chat->choices[i].turn);
    }
}


static void
chat_unblocked(ngx_http_claude_stream_t *stream)
{
    ngx_uint_t               i;
    ngx_http_claude_chat_t  *chat = stream->data;

    for (i = 0; i < chat->nchoices; i++) {
        ngx_claude_turn_resume(&chat->choices[i].turn);
    }
}


static void
chat_beat(ngx_http_claude_stream_t *stream)
{
    ngx_claude_out_literal(&stream->out, ": heartbeat\n\n");
}
