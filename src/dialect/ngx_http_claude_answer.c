
/*
 * An answer, between its turn and the dialect.  See the header.
 */


#include "ngx_http_claude_answer.h"
#include "ngx_claude_engine.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"


/* "toolu_", the unique part of the request's id, "_" and the index */
#define ANSWER_ID_LEN  (sizeof("toolu__") + 24 + NGX_INT_T_LEN)


static ngx_uint_t answer_hides(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block);
static void answer_text(ngx_http_claude_answer_t *answer, u_char *p,
    size_t len);
static ngx_int_t answer_sink(ngx_http_claude_filter_t *filter, u_char *p,
    size_t len);
static ngx_int_t answer_sink_end(ngx_http_claude_filter_t *filter);
static ngx_int_t answer_forced_call(ngx_http_claude_filter_forced_t *forced,
    ngx_str_t *name);
static void answer_out_open(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block);
static void answer_out(ngx_http_claude_answer_t *answer, u_char *p,
    size_t len);
static void answer_out_close(ngx_http_claude_answer_t *answer);
static void answer_kept(ngx_http_claude_answer_t *answer, ngx_int_t rc);


#define answer_of(member, pointer)                                            \
    ((ngx_http_claude_answer_t *) ((u_char *) (pointer)                       \
         - offsetof(ngx_http_claude_answer_t, member)))


ngx_int_t
ngx_http_claude_answer_init(ngx_http_claude_answer_t *answer)
{
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(answer->ctx->request,
                                        ngx_http_claude_module);

    answer->sink.delta = answer_sink;
    answer->sink.end = answer_sink_end;
    answer->keeps = (!answer->streamed || answer->dialect->keeps);

    return ngx_http_claude_answer_text_init(&answer->text, answer->turn.pool,
                                            mcf->max_line);
}


ngx_int_t
ngx_http_claude_answer_stops(ngx_http_claude_answer_t *answer,
    ngx_array_t *stops)
{
    if (ngx_http_claude_filter_stops(&answer->stops, answer->filter
                                                     ? answer->filter
                                                     : &answer->sink,
                                     answer->turn.pool, stops)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    answer->filter = &answer->stops.filter;

    return NGX_OK;
}


void
ngx_http_claude_answer_object(ngx_http_claude_answer_t *answer)
{
    ngx_http_claude_filter_object(&answer->object, answer->filter
                                                   ? answer->filter
                                                   : &answer->sink,
                                  answer->turn.pool);

    answer->filter = &answer->object.filter;
}


void
ngx_http_claude_answer_forced(ngx_http_claude_answer_t *answer,
    ngx_str_t *name)
{
    ngx_http_claude_filter_forced(&answer->forced, &answer->sink,
                                  answer->turn.pool, name);

    answer->forced.call = answer_forced_call;
    answer->filter = &answer->forced.filter;
}


void
ngx_http_claude_answer_begin(ngx_http_claude_answer_t *answer)
{
    if (answer->streamed && answer->dialect->begin) {
        answer->dialect->begin(answer, answer->out);
    }

    if (answer->before.len) {
        (void) answer_sink(&answer->sink, answer->before.data,
                           answer->before.len);
    }
}


void
ngx_http_claude_answer_open(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block)
{
    if (answer_hides(answer, block)
        || (block->type == NGX_CLAUDE_TEXT && answer->filter))
    {
        return;
    }

    /* a block that a filter or the dialect has begun ends here */

    answer_out_close(answer);
    answer_out_open(answer, block);
}


void
ngx_http_claude_answer_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block, u_char *p, size_t len)
{
    if (block->type == NGX_CLAUDE_TEXT && answer->filter) {
        answer_text(answer, p, len);

    } else if (!answer_hides(answer, block)) {
        answer_out(answer, p, len);
    }
}


void
ngx_http_claude_answer_other(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block, u_char *p, size_t len)
{
    ngx_str_t  piece;

    if (answer->block == block && answer->streamed && answer->dialect->other) {
        piece.data = p;
        piece.len = len;

        answer->dialect->other(answer, answer->out, block, &piece);
    }
}


void
ngx_http_claude_answer_close(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block)
{
    if (answer->block == block) {
        answer_out_close(answer);
    }
}


/* the model's last word: all that was held back */

void
ngx_http_claude_answer_end(ngx_http_claude_answer_t *answer)
{
    ngx_claude_turn_t  *turn;

    turn = &answer->turn;

    if (answer->filter && answer->filter->end(answer->filter) != NGX_OK) {
        answer->out->failed = 1;
    }

    answer_out_close(answer);

    if (turn->answer.stop == NGX_CLAUDE_STOP_REFUSAL
        && turn->answer.refusal.len == 0)
    {
        ngx_str_set(&turn->answer.refusal, "The model refused to answer.");
    }

    if (answer->streamed && answer->dialect->end && !answer->out->failed) {
        answer->dialect->end(answer, answer->out);
    }
}


ngx_claude_stop_e
ngx_http_claude_answer_stop(ngx_http_claude_answer_t *answer)
{
    ngx_claude_stop_e  stop;

    stop = answer->turn.answer.stop;

    return (answer->ncalls && stop <= NGX_CLAUDE_STOP_SEQUENCE)
           ? NGX_CLAUDE_STOP_TOOL : stop;
}


/* without a dialect's: the provider's, of the Messages API, "stop_reason" */

const char *
ngx_http_claude_answer_reason(ngx_http_claude_answer_t *answer)
{
    static const char  *reasons[] = {
        [NGX_CLAUDE_STOP_END] = "end_turn",
        [NGX_CLAUDE_STOP_SEQUENCE] = "stop_sequence",
        [NGX_CLAUDE_STOP_LENGTH] = "max_tokens",
        [NGX_CLAUDE_STOP_REFUSAL] = "refusal",
        [NGX_CLAUDE_STOP_TOOL] = "tool_use"
    };

    return answer->dialect->reason
           ? answer->dialect->reason(answer)
           : reasons[ngx_http_claude_answer_stop(answer)];
}


/* thinking is for clients that ask for it */

static ngx_uint_t
answer_hides(ngx_http_claude_answer_t *answer, ngx_claude_block_t *block)
{
    return !answer->thoughts && (block->type == NGX_CLAUDE_THINKING
                                 || block->type == NGX_CLAUDE_REDACTED);
}


/* a piece of text on its way through the filters */

static void
answer_text(ngx_http_claude_answer_t *answer, u_char *p, size_t len)
{
    switch (answer->filter->delta(answer->filter, p, len)) {

    case NGX_OK:
        break;

    case NGX_DONE:
        ngx_claude_turn_stop(&answer->turn, answer->stops.surplus);
        break;

    default:
        answer->out->failed = 1;
    }
}


/* behind the last filter: a text, or the arguments of a forced call */

static ngx_int_t
answer_sink(ngx_http_claude_filter_t *filter, u_char *p, size_t len)
{
    ngx_http_claude_answer_t  *answer;

    answer = answer_of(sink, filter);

    if (answer->block != &answer->filtered) {
        answer_out_close(answer);

        ngx_memzero(&answer->filtered, sizeof(ngx_claude_block_t));
        answer->filtered.type = NGX_CLAUDE_TEXT;

        answer_out_open(answer, &answer->filtered);
    }

    answer_out(answer, p, len);

    return NGX_OK;
}


static ngx_int_t
answer_sink_end(ngx_http_claude_filter_t *filter)
{
    return NGX_OK;
}


/* each answer's call has an id of its own */

static ngx_int_t
answer_forced_call(ngx_http_claude_filter_forced_t *forced, ngx_str_t *name)
{
    u_char                    *p;
    ngx_str_t                  unique;
    ngx_claude_block_t        *block;
    ngx_http_claude_answer_t  *answer;

    answer = answer_of(forced, forced);
    block = &answer->filtered;

    p = ngx_pnalloc(answer->turn.pool, ANSWER_ID_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    answer_out_close(answer);

    ngx_memzero(block, sizeof(ngx_claude_block_t));
    block->type = NGX_CLAUDE_TOOL_USE;
    block->name = *name;
    block->id.data = p;

    unique = ngx_http_claude_ctx_unique(answer->ctx);

    p = ngx_sprintf(p, "toolu_%V", &unique);

    if (answer->index) {
        p = ngx_sprintf(p, "_%ui", answer->index);
    }

    block->id.len = p - block->id.data;

    answer_out_open(answer, block);

    return NGX_OK;
}


static void
answer_out_open(ngx_http_claude_answer_t *answer, ngx_claude_block_t *block)
{
    if (answer->out->failed) {
        return;
    }

    answer->block = block;

    if (answer->keeps) {
        answer_kept(answer, ngx_http_claude_answer_text_open(&answer->text,
                                                             block));
    }

    if (answer->streamed && answer->dialect->open) {
        answer->dialect->open(answer, answer->out, block);
    }

    answer->ncalls += (block->type == NGX_CLAUDE_TOOL_USE);
}


static void
answer_out(ngx_http_claude_answer_t *answer, u_char *p, size_t len)
{
    ngx_str_t  piece;

    if (answer->out->failed || answer->block == NULL) {
        return;
    }

    if (answer->keeps) {
        answer_kept(answer, ngx_http_claude_answer_text_add(&answer->text, p,
                                                            len));
    }

    if (answer->streamed && answer->dialect->delta) {
        piece.data = p;
        piece.len = len;

        answer->dialect->delta(answer, answer->out, answer->block, &piece);
    }
}


/* the block that is open, if there is one; what is kept of it may be half */

static void
answer_out_close(ngx_http_claude_answer_t *answer)
{
    ngx_claude_block_t  *block;

    block = answer->block;

    if (block == NULL) {
        return;
    }

    if (answer->keeps && !answer->out->failed) {
        answer_kept(answer, ngx_http_claude_answer_text_close(&answer->text,
                                                              block));
    }

    if (answer->streamed && answer->dialect->close && !answer->out->failed) {
        answer->dialect->close(answer, answer->out, block);
    }

    answer->block = NULL;
}


/* whether there was memory for what is to be kept, and few enough of it */

static void
answer_kept(ngx_http_claude_answer_t *answer, ngx_int_t rc)
{
    ngx_http_claude_ctx_t  *ctx;

    if (rc == NGX_OK) {
        return;
    }

    answer->out->failed = 1;

    if (rc != NGX_DECLINED) {
        return;
    }

    ctx = answer->ctx;

    ngx_log_error(NGX_LOG_ERR, answer->turn.log, 0,
                  "claude: an answer that is not streamed has more than "
                  "%uz bytes, see claude_max_line, request %V",
                  answer->text.max, &ctx->id);

    (void) ngx_http_claude_error(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                 "internal_error", NULL,
                                 "The answer is too long.");
}
