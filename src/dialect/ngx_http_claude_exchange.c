
/*
 * An exchange: from a request to its answers, and to the end of them.  See
 * the header.
 */


#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_body.h"
#include "ngx_http_claude_conf.h"
#include "ngx_claude_chain.h"
#include "ngx_claude_engine.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_response.h"
#include "ngx_http_claude_session.h"


/* bytes of the first buffer of a whole response */
#define EXCHANGE_DOCUMENT  4096

/* bytes of a question that are read or hashed at once: a millisecond or two */
#define EXCHANGE_SLICE     262144


static void exchange_body(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body);
static ngx_http_claude_exchange_t *exchange_create(ngx_http_claude_ctx_t *ctx);
static ngx_int_t exchange_init(ngx_http_claude_exchange_t *ex);
static ngx_int_t exchange_id(ngx_http_claude_exchange_t *ex);
static void exchange_request(ngx_http_claude_exchange_t *ex);
static ngx_int_t exchange_slice(ngx_http_claude_exchange_t *ex);
static void exchange_again(void *data);
static ngx_int_t exchange_allowed(ngx_http_claude_exchange_t *ex);
static ngx_int_t exchange_hash(ngx_http_claude_exchange_t *ex);
static ngx_int_t exchange_answers(ngx_http_claude_exchange_t *ex);
static ngx_int_t exchange_answer(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_answer_t *answer);
static ngx_int_t exchange_start(ngx_http_claude_exchange_t *ex);
static void exchange_abort(ngx_http_claude_exchange_t *ex);
static void exchange_terminate(void *data);
static void exchange_cleanup(void *data);
static ngx_uint_t exchange_left(ngx_http_claude_exchange_t *ex);
static void exchange_finalize(ngx_http_claude_exchange_t *ex, ngx_int_t rc);
static ngx_int_t exchange_whole(ngx_http_claude_exchange_t *ex);

static void exchange_started(ngx_claude_turn_t *turn);
static void exchange_open(ngx_claude_turn_t *turn, ngx_claude_block_t *block);
static void exchange_delta(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
    u_char *p, size_t len);
static void exchange_other(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
    u_char *p, size_t len);
static void exchange_close(ngx_claude_turn_t *turn,
    ngx_claude_block_t *block);
static void exchange_finished(ngx_claude_turn_t *turn);
static void exchange_flush(ngx_claude_turn_t *turn);
static void exchange_settled(ngx_claude_turn_t *turn);
static void exchange_failed(ngx_claude_turn_t *turn);
static void exchange_wrong(ngx_http_claude_exchange_t *ex);
static void exchange_paid(ngx_claude_turn_t *turn);

static ngx_int_t exchange_header(ngx_http_claude_stream_t *stream);
static void exchange_blocked(ngx_http_claude_stream_t *stream);
static void exchange_unblocked(ngx_http_claude_stream_t *stream);
static void exchange_beat(ngx_http_claude_stream_t *stream);


static const ngx_claude_turn_handlers_t  exchange_handlers = {
    exchange_started,
    exchange_open,
    exchange_delta,
    exchange_other,
    exchange_close,
    exchange_finished,
    exchange_flush,
    exchange_settled,
    exchange_failed,
    exchange_paid
};


ngx_int_t
ngx_http_claude_exchange(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect)
{
    ngx_http_claude_ctx_t  *ctx;

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);
    ctx->dialect = dialect;

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

    return ngx_http_claude_body_read(ctx, dialect->fields, exchange_body);
}


static void
exchange_body(ngx_http_claude_ctx_t *ctx, ngx_claude_json_t *body)
{
    ngx_http_request_t          *r;
    ngx_http_claude_exchange_t  *ex;

    r = ctx->request;

    if (ngx_http_get_module_ctx(r, ngx_http_claude_module) != ctx) {
        return;
    }

    if (body == NULL) {
        ngx_http_finalize_request(r, ctx->error.status);
        return;
    }

    ex = exchange_create(ctx);

    if (ex == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ex->body = body;

    exchange_request(ex);
}


/* NULL: no memory */

static ngx_http_claude_exchange_t *
exchange_create(ngx_http_claude_ctx_t *ctx)
{
    ngx_http_request_t          *r;
    ngx_http_cleanup_t          *end;
    ngx_pool_cleanup_t          *cln;
    ngx_http_claude_exchange_t  *ex;

    r = ctx->request;

    ex = ngx_pcalloc(r->pool, sizeof(ngx_http_claude_exchange_t));
    end = ngx_http_cleanup_add(r, 0);
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (ex == NULL || end == NULL || cln == NULL) {
        return NULL;
    }

    ex->ctx = ctx;
    ex->dialect = ctx->dialect;
    ctx->exchange = ex;

    if (exchange_init(ex) != NGX_OK) {
        return NULL;
    }

    end->handler = exchange_terminate;
    end->data = ex;
    cln->handler = exchange_cleanup;
    cln->data = ex;

    return ex;
}


static ngx_int_t
exchange_init(ngx_http_claude_exchange_t *ex)
{
    ngx_http_request_t          *r;
    ngx_http_claude_ctx_t       *ctx;
    ngx_claude_turn_t           *turn;
    ngx_http_claude_loc_conf_t  *lcf;

    ctx = ex->ctx;
    r = ctx->request;
    turn = &ex->turn;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_claude_turn_init(turn, ctx->memory, r->connection->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    turn->handlers = &exchange_handlers;
    turn->id = ctx->id;
    turn->profile = lcf->profile;
    turn->launch = &lcf->profile->hash;
    turn->timeout = lcf->timeout;
    turn->limit = lcf->turn_timeout;

    turn->home = NGX_HTTP_CLAUDE_ANYBODY;

    if (ctx->key) {
        turn->tenant = ctx->key->tenant;
        turn->tenant_name = ctx->key->name;
        turn->home = ctx->key->home;
    }

    ex->n = 1;
    ex->questions = 1;
    ex->created = ngx_time();

    ngx_http_claude_later_init(&ex->later, exchange_again, ex,
                               r->connection->log);

    ex->stream.request = r;
    ex->stream.heartbeat = lcf->heartbeat;
    ex->stream.data = ex;
    ex->stream.open = exchange_header;
    ex->stream.blocked = exchange_blocked;
    ex->stream.unblocked = exchange_unblocked;
    ex->stream.beat = exchange_beat;

    ex->own = ngx_pcalloc(r->pool, ngx_max(ex->dialect->size, 1));

    return ex->own ? exchange_id(ex) : NGX_ERROR;
}


static ngx_int_t
exchange_id(ngx_http_claude_exchange_t *ex)
{
    u_char     *p;
    ngx_str_t   unique;

    unique = ngx_http_claude_ctx_unique(ex->ctx);

    p = ngx_pnalloc(ex->turn.pool, ngx_strlen(ex->dialect->id) + unique.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ex->id.data = p;
    ex->id.len = ngx_sprintf(p, "%s%V", ex->dialect->id, &unique) - p;

    return NGX_OK;
}


/* the body becomes the question, in one slice or in several */

static void
exchange_request(ngx_http_claude_exchange_t *ex)
{
    ngx_int_t  rc;

    rc = exchange_slice(ex);

    if (rc == NGX_AGAIN) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ex->turn.log, 0,
                       "claude: request %V: the rest of the question is for "
                       "later", &ex->turn.id);

        ngx_http_claude_later(&ex->later);
        return;
    }

    ngx_http_claude_later_never(&ex->later);

    if (rc == NGX_OK) {
        rc = exchange_start(ex);
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(ex->ctx->request, rc);
    }
}


/* NGX_OK: the turns may start; NGX_AGAIN; or an HTTP status */

static ngx_int_t
exchange_slice(ngx_http_claude_exchange_t *ex)
{
    ngx_int_t  rc;

    if (ex->body) {
        ex->left = EXCHANGE_SLICE;
        rc = ex->dialect->request(ex, ex->body);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        /* a turn may wait for long, and needs the tree no more */

        ex->body = NULL;
        ngx_http_claude_body_free(ex->ctx);

        if (rc == NGX_OK) {
            rc = exchange_allowed(ex);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (exchange_answers(ex) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return exchange_hash(ex);
}


static void
exchange_again(void *data)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ex->ctx->request;
    c = r->connection;

    if (exchange_left(ex)) {
        return;
    }

    ngx_http_set_log_request(c->log, r);

    exchange_request(ex);

    ngx_http_run_posted_requests(c);
}


/* NGX_OK, or an HTTP status */

static ngx_int_t
exchange_allowed(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t                    n;
    ngx_http_claude_main_conf_t  *mcf;

    n = ex->n * ex->questions;

    mcf = ngx_http_get_module_main_conf(ex->ctx->request,
                                        ngx_http_claude_module);

    if (n <= mcf->max_concurrent) {
        return NGX_OK;
    }

    return ngx_http_claude_error(ex->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                 (ex->n > 1) ? "n" : "prompt",
                                 "The request asks for %ui answers at once, "
                                 "and this server gives at most %ui.", n,
                                 mcf->max_concurrent);
}


/*
 * The conversation is hashed once, and a slice at a time, for all answers to
 * the same question.
 */

static ngx_int_t
exchange_hash(ngx_http_claude_exchange_t *ex)
{
    ngx_int_t           rc;
    ngx_claude_turn_t  *turn, *before;

    before = NULL;

    for ( /* void */ ; ex->hashed < ex->nanswers; ex->hashed++) {

        turn = &ex->answers[ex->hashed].turn;

        if (ex->hashed) {
            before = &ex->answers[ex->hashed - 1].turn;
        }

        if (before && before->messages.elts == turn->messages.elts) {
            ngx_claude_chain_share(turn, before);
            continue;
        }

        rc = ngx_claude_chain_slice(turn, EXCHANGE_SLICE);

        if (rc != NGX_OK) {
            return (rc == NGX_AGAIN) ? NGX_AGAIN
                                     : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, turn->log, 0,
                       "claude: request %V: a conversation is hashed",
                       &turn->id);
    }

    return NGX_OK;
}


/* NGX_OK, or an HTTP status */

static ngx_int_t
exchange_start(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t          i;
    ngx_claude_turn_t  *turn;

    if (ex->streamed && ngx_http_claude_stream_init(&ex->stream) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_claude_bill_open(&ex->bill, ex->ctx, &ex->turn, ex->answers,
                              ex->nanswers);

    for (i = 0; i < ex->nanswers; i++) {
        turn = &ex->answers[i].turn;

        if (ngx_claude_turn_start(turn) != NGX_OK) {
            exchange_abort(ex);
            ngx_http_claude_stream_cancel(&ex->stream);
            ngx_http_claude_bill_release(&ex->bill);

            return ngx_http_claude_error_turn(ex->ctx, turn);
        }
    }

    return NGX_OK;
}


static ngx_int_t
exchange_answers(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t  i, n;

    n = ex->n * ex->questions;

    ex->answers = ngx_pcalloc(ex->turn.pool,
                              n * sizeof(ngx_http_claude_answer_t));
    if (ex->answers == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        ex->answers[i].index = i;

        if (exchange_answer(ex, &ex->answers[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ex->nanswers = n;
    ex->unfinished = n;
    ex->unsettled = n;

    return NGX_OK;
}


static ngx_int_t
exchange_answer(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_answer_t *answer)
{
    answer->exchange = ex;
    answer->dialect = ex->dialect;
    answer->ctx = ex->ctx;
    answer->out = &ex->stream.out;
    answer->streamed = ex->streamed;
    answer->thoughts = ex->thoughts;

    answer->turn = ex->turn;
    answer->turn.stoppable = (ex->stops.nelts != 0);
    answer->turn.data = answer;
    answer->turn.asker = (ex->n * ex->questions > 1) ? &ex->asker : NULL;

    if (answer->index) {

        /* the session goes on from the first one, as the client's list does */

        ngx_http_claude_session_other(&answer->turn, answer->index);
    }

    if (ngx_http_claude_answer_init(answer) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ex->forced) {
        ngx_http_claude_answer_forced(answer, &ex->forced_name);

    } else {

        if (ex->object) {
            ngx_http_claude_answer_object(answer);
        }

        if (ex->stops.nelts
            && ngx_http_claude_answer_stops(answer, &ex->stops) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ex->dialect->answer ? ex->dialect->answer(answer) : NGX_OK;
}


static void
exchange_abort(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t  i;

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_turn_abort(&ex->answers[i].turn);
    }

    ngx_http_claude_later_never(&ex->later);
}


/* the client left, or the response is complete; the log phase comes next */

static void
exchange_terminate(void *data)
{
    ngx_http_claude_exchange_t *ex = data;

    exchange_abort(ex);
    ngx_http_claude_stream_cancel(&ex->stream);
    ngx_http_claude_bill_block(&ex->bill);
}


/* the memory goes, so nothing may refer to the turns */

static void
exchange_cleanup(void *data)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_uint_t  i;

    ex->bill.waiting = 0;

    exchange_abort(ex);

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_turn_forgo(&ex->answers[i].turn);
    }
}


/*
 * Whether the request is in another location now: its client has left, and a
 * post_action runs.  What is left of the turn is of no use then.
 */

static ngx_uint_t
exchange_left(ngx_http_claude_exchange_t *ex)
{
    if (ngx_http_get_module_ctx(ex->ctx->request, ngx_http_claude_module)
        == ex->ctx
        && ex->ctx->exchange == ex)
    {
        return 0;
    }

    exchange_abort(ex);
    ngx_http_claude_stream_cancel(&ex->stream);

    return 1;
}


/* the last thing to do with a request: ex may be gone when it returns */

static void
exchange_finalize(ngx_http_claude_exchange_t *ex, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ex->ctx->request;
    c = r->connection;

    if (!ex->stream.opened) {
        ngx_http_claude_stream_cancel(&ex->stream);
    }

    ngx_http_claude_bill_release(&ex->bill);

    if (ngx_http_claude_bill_defer(&ex->bill, rc)) {
        return;
    }

    ngx_http_set_log_request(c->log, r);
    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


ngx_claude_usage_t *
ngx_http_claude_exchange_sum(ngx_http_claude_exchange_t *ex)
{
    ngx_uint_t           i;
    ngx_claude_usage_t  *usage;

    usage = &ex->turn.answer.usage;

    ngx_memzero(usage, sizeof(ngx_claude_usage_t));

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_usage_add(usage, &ex->answers[i].turn.answer.usage);
    }

    return usage;
}


static void
exchange_started(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_begin(turn->data);
}


static void
exchange_open(ngx_claude_turn_t *turn, ngx_claude_block_t *block)
{
    ngx_http_claude_answer_open(turn->data, block);
}


static void
exchange_delta(ngx_claude_turn_t *turn, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
    ngx_http_claude_answer_delta(turn->data, block, p, len);
}


static void
exchange_other(ngx_claude_turn_t *turn, ngx_claude_block_t *block, u_char *p,
    size_t len)
{
    ngx_http_claude_answer_other(turn->data, block, p, len);
}


static void
exchange_close(ngx_claude_turn_t *turn, ngx_claude_block_t *block)
{
    ngx_http_claude_answer_close(turn->data, block);
}


static void
exchange_finished(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_t *answer = turn->data;

    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;

    ngx_http_claude_answer_end(answer);

    ex->unfinished--;

    /* a whole one is sent when its cost is known: milliseconds, as a rule */

    if (!ex->streamed || ex->unfinished) {
        return;
    }

    if (ex->dialect->finish) {
        ex->dialect->finish(ex, &ex->stream.out);
    }

    ex->stream.complete = 1;

    /* the client has all: closing the connection takes nothing back */

    ex->ctx->request->read_event_handler = ngx_http_block_reading;
}


static void
exchange_flush(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_t *answer = turn->data;

    ngx_connection_t            *c;
    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;

    if (exchange_left(ex)) {
        return;
    }

    c = ex->ctx->request->connection;

    if (ex->stream.out.failed
        || ngx_http_claude_stream_flush(&ex->stream) == NGX_ERROR)
    {
        /* the request may outlive this: its error goes out, it lingers */

        exchange_abort(ex);

        exchange_finalize(ex, ex->stream.opened
                              ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    /* filters may have made subrequests of what was sent */

    ngx_http_run_posted_requests(c);
}


static void
exchange_settled(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_t *answer = turn->data;

    ngx_int_t                    rc;
    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;

    if (exchange_left(ex)) {
        return;
    }

    if (ex->stream.out.failed) {
        exchange_abort(ex);
        exchange_finalize(ex, NGX_ERROR);
        return;
    }

    if (--ex->unsettled) {

        /* its last words are not to wait for those of another */

        exchange_flush(turn);
        return;
    }

    rc = ex->streamed ? ngx_http_claude_stream_close(&ex->stream)
                      : exchange_whole(ex);

    exchange_finalize(ex, rc);
}


static ngx_int_t
exchange_whole(ngx_http_claude_exchange_t *ex)
{
    ngx_http_claude_document_t  document;

    ngx_http_claude_document_init(&document, ex->turn.pool,
                                  EXCHANGE_DOCUMENT);

    ex->dialect->whole(ex, &document);

    if (document.out.failed) {
        return NGX_ERROR;
    }

    ex->stream.opened = 1;

    return ngx_http_claude_response(ex->ctx->request, "application/json",
                                    &document);
}


/* a failed turn fails its request: fewer answers are not what was asked for */

static void
exchange_failed(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_t *answer = turn->data;

    ngx_int_t                    status;
    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;

    if (exchange_left(ex)) {
        return;
    }

    exchange_abort(ex);

    status = ngx_http_claude_error_turn(ex->ctx, turn);

    if (!ex->stream.opened) {
        exchange_finalize(ex, status);
        return;
    }

    exchange_wrong(ex);

    exchange_finalize(ex, ngx_http_claude_stream_close(&ex->stream));
}


/*
 * After the stream has begun an error goes out as data, and the body ends in
 * good order: a cut connection would be reported as another error.
 */

static void
exchange_wrong(ngx_http_claude_exchange_t *ex)
{
    ngx_claude_out_t  *out;

    out = &ex->stream.out;

    if (ex->dialect->failed) {
        ex->dialect->failed(ex, out);
        return;
    }

    ngx_claude_out_literal(out, "data: ");
    ex->dialect->error(out, &ex->ctx->error);
    ngx_claude_out_literal(out, "\n\n");
}


static void
exchange_paid(ngx_claude_turn_t *turn)
{
    ngx_http_claude_answer_t *answer = turn->data;

    ngx_http_claude_bill_paid(&answer->exchange->bill);
}


static ngx_int_t
exchange_header(ngx_http_claude_stream_t *stream)
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
exchange_blocked(ngx_http_claude_stream_t *stream)
{
    ngx_http_claude_exchange_t *ex = stream->data;

    ngx_uint_t  i;

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_turn_pause(&ex->answers[i].turn);
    }
}


static void
exchange_unblocked(ngx_http_claude_stream_t *stream)
{
    ngx_http_claude_exchange_t *ex = stream->data;

    ngx_uint_t  i;

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_turn_resume(&ex->answers[i].turn);
    }
}


/* clients and proxies in between see that the connection is alive */

static void
exchange_beat(ngx_http_claude_stream_t *stream)
{
    ngx_http_claude_exchange_t *ex = stream->data;

    if (ex->dialect->beat) {
        ex->dialect->beat(ex, &stream->out);

    } else {
        ngx_claude_out_literal(&stream->out, ": heartbeat\n\n");
    }
}
