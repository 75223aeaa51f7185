
/*
 * The dialect of chat completions: an answer as server-sent events, a chunk
 * for each piece.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_error.h"


#define chunk_write(chat, text)                                               \
    ngx_claude_out_literal(&(chat)->stream.out, text)

#define CHUNK_PREFIX                                                          \
    "data: {\"id\":\"%V\",\"object\":\"%s\",\"created\":%T,\"model\":"

#define CHUNK_FINGERPRINT  ",\"system_fingerprint\":\"fp_claude\","


static ngx_int_t chunk_prefix(ngx_http_claude_chat_t *chat);
static ngx_int_t chunk_prefix_choice(ngx_http_claude_chat_choice_t *choice);
static void chunk_number(ngx_http_claude_chat_t *chat, ngx_uint_t n);
static void chunk_string(ngx_http_claude_chat_t *chat, ngx_str_t *s);
static void chunk_open(ngx_http_claude_chat_choice_t *choice);
static void chunk_close(ngx_http_claude_chat_choice_t *choice,
    const char *finish);
static void chunk_usage(ngx_http_claude_chat_t *chat);


ngx_int_t
ngx_http_claude_chat_chunks(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t  i;

    if (chunk_prefix(chat) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < chat->nchoices; i++) {
        if (chunk_prefix_choice(&chat->choices[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_claude_stream_init(&chat->stream);
}


/* what all chunks of a stream begin with */

static ngx_int_t
chunk_prefix(ngx_http_claude_chat_t *chat)
{
    u_char      *p;
    const char  *object;

    object = chat->completions ? "text_completion" : "chat.completion.chunk";

    p = ngx_pnalloc(chat->turn.pool,
                    sizeof(CHUNK_PREFIX CHUNK_FINGERPRINT)
                    + ngx_strlen(object) + chat->id.len + NGX_TIME_T_LEN
                    + ngx_claude_json_escaped_max(chat->model.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    chat->prefix.data = p;

    p = ngx_sprintf(p, CHUNK_PREFIX, &chat->id, object, chat->created);
    p = ngx_claude_json_escape(p, chat->model.data, chat->model.len);
    p = ngx_cpymem(p, CHUNK_FINGERPRINT, sizeof(CHUNK_FINGERPRINT) - 1);

    chat->prefix.len = p - chat->prefix.data;

    return NGX_OK;
}


/* and those of an answer: in one piece, since each delta has it */

static ngx_int_t
chunk_prefix_choice(ngx_http_claude_chat_choice_t *choice)
{
    u_char                  *p;
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    p = ngx_pnalloc(chat->turn.pool,
                    chat->prefix.len + NGX_INT_T_LEN
                    + sizeof("\"choices\":[{\"index\":,\"delta\":"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    choice->prefix.data = p;

    p = ngx_sprintf(p, "%V\"choices\":[{\"index\":%ui,\"%s\":", &chat->prefix,
                    choice->index, chat->completions ? "text" : "delta");

    choice->prefix.len = p - choice->prefix.data;

    return NGX_OK;
}


void
ngx_http_claude_chat_chunk_begin(ngx_http_claude_chat_choice_t *choice)
{
    if (choice->chat->completions) {
        return;
    }

    chunk_open(choice);
    chunk_write(choice->chat, "{\"role\":\"assistant\",\"content\":\"\","
                              "\"refusal\":null}");
    chunk_close(choice, NULL);
}


void
ngx_http_claude_chat_chunk_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    chunk_open(choice);

    if (chat->completions) {
        ngx_claude_out_string(&chat->stream.out, p, len);

    } else {
        chunk_write(chat, "{\"content\":");
        ngx_claude_out_string(&chat->stream.out, p, len);
        chunk_write(chat, "}");
    }

    chunk_close(choice, NULL);
}


void
ngx_http_claude_chat_chunk_thought(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    chunk_open(choice);
    chunk_write(choice->chat, "{\"reasoning_content\":");
    ngx_claude_out_string(&choice->chat->stream.out, p, len);
    chunk_write(choice->chat, "}");
    chunk_close(choice, NULL);
}


/* the first delta of a call has everything but the arguments */

void
ngx_http_claude_chat_chunk_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    chunk_open(choice);

    if (chat->functions) {
        chunk_write(chat, "{\"function_call\":{\"name\":");
        chunk_string(chat, name);
        chunk_write(chat, ",\"arguments\":\"\"}}");

    } else {
        chunk_write(chat, "{\"tool_calls\":[{\"index\":");
        chunk_number(chat, choice->ncalls);
        chunk_write(chat, ",\"id\":");
        chunk_string(chat, id);
        chunk_write(chat, ",\"type\":\"function\",\"function\":{\"name\":");
        chunk_string(chat, name);
        chunk_write(chat, ",\"arguments\":\"\"}}]}");
    }

    chunk_close(choice, NULL);
}


void
ngx_http_claude_chat_chunk_arguments(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    chunk_open(choice);

    if (chat->functions) {
        chunk_write(chat, "{\"function_call\":{\"arguments\":");
        ngx_claude_out_string(&chat->stream.out, p, len);
        chunk_write(chat, "}}");

    } else {
        chunk_write(chat, "{\"tool_calls\":[{\"index\":");
        chunk_number(chat, choice->ncalls - 1);
        chunk_write(chat, ",\"function\":{\"arguments\":");
        ngx_claude_out_string(&chat->stream.out, p, len);
        chunk_write(chat, "}}]}");
    }

    chunk_close(choice, NULL);
}


void
ngx_http_claude_chat_chunk_end(ngx_http_claude_chat_choice_t *choice)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    if (choice->turn.refusal.len && !chat->completions) {
        chunk_open(choice);
        chunk_write(chat, "{\"refusal\":");
        chunk_string(chat, &choice->turn.refusal);
        chunk_write(chat, "}");
        chunk_close(choice, NULL);
    }

    chunk_open(choice);

    if (chat->completions) {
        chunk_write(chat, "\"\"");

    } else {
        chunk_write(chat, "{}");
    }

    chunk_close(choice, ngx_http_claude_chat_choice_finish(choice));
}


void
ngx_http_claude_chat_chunks_end(ngx_http_claude_chat_t *chat)
{
    if (chat->include_usage) {
        chunk_usage(chat);
    }

    chunk_write(chat, "data: [DONE]\n\n");
}


/*
 * After the stream has begun an error goes out as data, and the body ends in
 * good order: a cut connection would be reported as another error.
 */

void
ngx_http_claude_chat_chunks_error(ngx_http_claude_chat_t *chat)
{
    chunk_write(chat, "data: ");
    ngx_http_claude_error_json(&chat->stream.out, &chat->ctx->error);
    chunk_write(chat, "\n\n");
}


static void
chunk_number(ngx_http_claude_chat_t *chat, ngx_uint_t n)
{
    u_char  buf[NGX_INT_T_LEN], *p;

    p = ngx_sprintf(buf, "%ui", n);

    ngx_claude_out_write(&chat->stream.out, buf, p - buf);
}


static void
chunk_string(ngx_http_claude_chat_t *chat, ngx_str_t *s)
{
    ngx_claude_out_string(&chat->stream.out, s->data, s->len);
}


static void
chunk_open(ngx_http_claude_chat_choice_t *choice)
{
    ngx_claude_out_write(&choice->chat->stream.out, choice->prefix.data,
                                 choice->prefix.len);
}


/* finish: a literal, or NULL before the end */

static void
chunk_close(ngx_http_claude_chat_choice_t *choice, const char *finish)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    if (finish == NULL) {

        if (chat->include_usage) {
            chunk_write(chat, ",\"logprobs\":null,\"finish_reason\":null}],"
                              "\"usage\":null}\n\n");
        } else {
            chunk_write(chat, ",\"logprobs\":null,\"finish_reason\":null}]}"
                              "\n\n");
        }

        return;
    }

    chunk_write(chat, ",\"logprobs\":null,\"finish_reason\":\"");
    ngx_claude_out_write(&chat->stream.out, (u_char *) finish,
                                 ngx_strlen(finish));

    if (chat->include_usage) {
        chunk_write(chat, "\"}],\"usage\":null}\n\n");

    } else {
        chunk_write(chat, "\"}]}\n\n");
    }
}


static void
chunk_usage(ngx_http_claude_chat_t *chat)
{
    ngx_claude_out_write(&chat->stream.out, chat->prefix.data,
                         chat->prefix.len);
    chunk_write(chat, "\"choices\":[],\"usage\":");

    ngx_http_claude_chat_choices_sum(chat);
    ngx_http_claude_chat_usage(&chat->stream.out, &chat->turn.usage);

    chunk_write(chat, "}\n\n");
}


void
ngx_http_claude_chat_usage(ngx_claude_out_t *out, ngx_claude_usage_t *usage)
{
    uint64_t  prompt;

    /* what the provider bills as input, read from and written to caches */

    prompt = usage->input + usage->cache_read + usage->cache_creation;

    ngx_claude_out(out, "{\"prompt_tokens\":%uL,\"completion_tokens\":%uL,"
                   "\"total_tokens\":%uL,\"prompt_tokens_details\":"
                   "{\"cached_tokens\":%uL,\"audio_tokens\":0},"
                   "\"completion_tokens_details\":{"
                   "\"reasoning_tokens\":%uL,\"audio_tokens\":0,"
                   "\"accepted_prediction_tokens\":0,"
                   "\"rejected_prediction_tokens\":0}}",
                   prompt, usage->output, prompt + usage->output,
                   usage->cache_read, usage->thinking);
}
