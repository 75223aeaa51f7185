
/*
 * The dialect of chat completions: an answer as server-sent events, a chunk
 * for each piece.
 */


#include "ngx_http_claude_chat_chunks.h"
#include "ngx_claude_text.h"
#include "ngx_http_claude_chat_common.h"


#define CHUNK_PREFIX                                                          \
    "data: {\"id\":\"%V\",\"object\":\"%s\",\"created\":%T,"                  \
    "\"model\":%J,\"system_fingerprint\":\"fp_claude\","

/* bytes of it, mostly */
#define CHUNK_PREFIX_SIZE  256


#define chunk_open   ngx_http_claude_chat_chunk_open
#define chunk_close  ngx_http_claude_chat_chunk_close


static ngx_int_t chunk_prefix(ngx_http_claude_exchange_t *ex,
    const char *object);
static void chunk_arguments(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_str_t *piece);


ngx_int_t
ngx_http_claude_chat_answer(ngx_http_claude_answer_t *answer)
{
    return ngx_http_claude_chat_prefix(answer, "chat.completion.chunk",
                                       "delta");
}


/* the beginning of an answer's chunks is one piece: each delta has it */

ngx_int_t
ngx_http_claude_chat_prefix(ngx_http_claude_answer_t *answer,
    const char *object, const char *member)
{
    u_char                      *p;
    ngx_str_t                   *prefix;
    ngx_http_claude_chat_t      *chat;
    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;
    chat = ex->own;

    if (!answer->streamed) {
        return NGX_OK;
    }

    if (chat->prefix.len == 0 && chunk_prefix(ex, object) != NGX_OK) {
        return NGX_ERROR;
    }

    prefix = ngx_palloc(ex->turn.pool, sizeof(ngx_str_t));
    p = ngx_pnalloc(ex->turn.pool,
                    chat->prefix.len + NGX_INT_T_LEN + ngx_strlen(member)
                    + sizeof("\"choices\":[{\"index\":,\"\":"));

    if (prefix == NULL || p == NULL) {
        return NGX_ERROR;
    }

    prefix->data = p;
    prefix->len = ngx_sprintf(p, "%V\"choices\":[{\"index\":%ui,\"%s\":",
                              &chat->prefix, answer->index, member)
                  - p;

    answer->own = prefix;

    return NGX_OK;
}


/* makes the beginning of all chunks of a stream */

static ngx_int_t
chunk_prefix(ngx_http_claude_exchange_t *ex, const char *object)
{
    ngx_claude_text_t        text;
    ngx_http_claude_chat_t  *chat;

    chat = ex->own;

    if (ngx_claude_text_init(&text, ex->turn.pool, CHUNK_PREFIX_SIZE)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_claude_out(ngx_claude_text_begin(&text), CHUNK_PREFIX, &ex->id, object,
                   ex->created, &ex->model);

    if (ngx_claude_text_end(&text) != NGX_OK) {
        return NGX_ERROR;
    }

    chat->prefix.data = text.data;
    chat->prefix.len = text.len;

    return NGX_OK;
}


void
ngx_http_claude_chat_begin(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out)
{
    chunk_open(answer, out);
    ngx_claude_out_literal(out, "{\"role\":\"assistant\",\"content\":\"\","
                                "\"refusal\":null}");
    chunk_close(answer, out, NULL);
}


/* the first delta of a call has everything but the arguments */

void
ngx_http_claude_chat_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    ngx_http_claude_chat_t  *chat;

    if (block->type != NGX_CLAUDE_TOOL_USE) {
        return;
    }

    chat = answer->exchange->own;

    chunk_open(answer, out);

    if (chat->functions) {
        ngx_claude_out(out, "{\"function_call\":{\"name\":%J,"
                       "\"arguments\":\"\"}}", &block->name);

    } else {
        ngx_claude_out(out, "{\"tool_calls\":[{\"index\":%ui,\"id\":%J,"
                       "\"type\":\"function\",\"function\":{\"name\":%J,"
                       "\"arguments\":\"\"}}]}", answer->ncalls,
                       &block->id, &block->name);
    }

    chunk_close(answer, out, NULL);
}


void
ngx_http_claude_chat_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block, ngx_str_t *piece)
{
    switch (block->type) {

    case NGX_CLAUDE_TEXT:
        chunk_open(answer, out);
        ngx_claude_out(out, "{\"content\":%J}", piece);
        break;

    case NGX_CLAUDE_THINKING:
        chunk_open(answer, out);
        ngx_claude_out(out, "{\"reasoning_content\":%J}", piece);
        break;

    case NGX_CLAUDE_TOOL_USE:
        chunk_open(answer, out);
        chunk_arguments(answer, out, piece);
        break;

    default:
        return;
    }

    chunk_close(answer, out, NULL);
}


static void
chunk_arguments(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_str_t *piece)
{
    ngx_http_claude_chat_t  *chat;

    chat = answer->exchange->own;

    if (chat->functions) {
        ngx_claude_out(out, "{\"function_call\":{\"arguments\":%J}}", piece);

    } else {
        ngx_claude_out(out, "{\"tool_calls\":[{\"index\":%ui,"
                       "\"function\":{\"arguments\":%J}}]}",
                       answer->ncalls - 1, piece);
    }
}


void
ngx_http_claude_chat_end(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out)
{
    if (answer->turn.answer.refusal.len) {
        chunk_open(answer, out);
        ngx_claude_out(out, "{\"refusal\":%J}", &answer->turn.answer.refusal);
        chunk_close(answer, out, NULL);
    }

    chunk_open(answer, out);
    ngx_claude_out_literal(out, "{}");
    chunk_close(answer, out, ngx_http_claude_chat_reason(answer));
}


void
ngx_http_claude_chat_finish(ngx_http_claude_exchange_t *ex,
    ngx_claude_out_t *out)
{
    ngx_http_claude_chat_t  *chat;

    chat = ex->own;

    if (chat->include_usage) {
        ngx_claude_out(out, "%V\"choices\":[],\"usage\":", &chat->prefix);
        ngx_http_claude_chat_usage(ex, out);
        ngx_claude_out_literal(out, "}\n\n");
    }

    ngx_claude_out_literal(out, "data: [DONE]\n\n");
}


void
ngx_http_claude_chat_chunk_open(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out)
{
    ngx_str_t  *prefix;

    prefix = answer->own;

    ngx_claude_out_write(out, prefix->data, prefix->len);
}


/* reason: a literal, or NULL before the end */

void
ngx_http_claude_chat_chunk_close(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, const char *reason)
{
    ngx_http_claude_chat_t  *chat;

    chat = answer->exchange->own;

    if (reason) {
        ngx_claude_out(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}]",
                       reason);

    } else {
        ngx_claude_out_literal(out, ",\"logprobs\":null,"
                                    "\"finish_reason\":null}]");
    }

    if (chat->include_usage) {
        ngx_claude_out_literal(out, ",\"usage\":null}\n\n");

    } else {
        ngx_claude_out_literal(out, "}\n\n");
    }
}
