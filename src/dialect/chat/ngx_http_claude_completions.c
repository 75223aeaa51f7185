
/*
 * The dialect of completions, the endpoint before chat completions, which
 * editors still use: one text, or several, that the model goes on with.
 * Source: OpenAI's API reference, "Completions".
 *
 * The models know conversations only.  A prompt is the user's message, and
 * what to do with it is said in the system text.
 */


#include "ngx_http_claude_completions.h"
#include "ngx_http_claude_chat_chunks.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_chat_request.h"
#include "ngx_http_claude_chat_whole.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_openai.h"
#include "ngx_http_claude_params.h"
#include "ngx_http_claude_session.h"


/* bytes of a prompt that is repeated before its answer */
#define COMPLETIONS_ECHO  1048576


static ngx_int_t completions_request(ngx_http_claude_exchange_t *ex,
    ngx_claude_json_t *body);
static ngx_int_t completions_suffix(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_logprobs(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_bias(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_best_of(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_echo(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_prompts(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t completions_answer(ngx_http_claude_answer_t *answer);
static void completions_delta(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out, ngx_claude_block_t *block, ngx_str_t *piece);
static void completions_end(ngx_http_claude_answer_t *answer,
    ngx_claude_out_t *out);
static void completions_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document);
static void completions_choice(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document);


#define completions_error(ex, param, ...)                                     \
    ngx_http_claude_error_400((ex)->ctx, param, __VA_ARGS__)


const ngx_claude_json_field_t  ngx_http_claude_completions_fields[] = {

    NGX_HTTP_CLAUDE_CHAT_COMMON,

    { ngx_string("suffix"), NULL, completions_suffix },
    { ngx_string("logprobs"), NULL, completions_logprobs },
    { ngx_string("logit_bias"), NULL, completions_bias },
    { ngx_string("best_of"), NULL, completions_best_of },
    { ngx_string("echo"), NULL, completions_echo },
    { ngx_string("prompt"), ngx_claude_json_items, completions_prompts },

    { ngx_null_string, NULL, NULL }
};


/* a body with messages is a chat's, whatever else is in it */

static const ngx_http_claude_opening_t  completions_opening = {
    NULL, "prompt", "messages"
};


const ngx_http_claude_dialect_t  ngx_http_claude_completions = {
    .path = ngx_string("/completions"),
    .request_id = NGX_HTTP_CLAUDE_OPENAI_ID,
    .failure = ngx_http_claude_openai_failure,
    .error = ngx_http_claude_openai_error,

    .id = "cmpl-",
    .size = sizeof(ngx_http_claude_chat_t),
    .members = "\"model\" and \"prompt\"",
    .fields = ngx_http_claude_completions_fields,
    .request = completions_request,
    .answer = completions_answer,

    .delta = completions_delta,
    .end = completions_end,
    .finish = ngx_http_claude_chat_finish,
    .whole = completions_whole,
    .reason = ngx_http_claude_chat_reason,

    .opening = &completions_opening
};


static ngx_int_t
completions_request(ngx_http_claude_exchange_t *ex, ngx_claude_json_t *body)
{
    ngx_int_t  rc;

    static ngx_str_t  words = ngx_string("The user's message is a text that "
        "you complete. If it is a question or an instruction, write the "
        "answer; else go on exactly where it ends. Write the completion and "
        "nothing else: do not repeat the text, do not comment on it.");

    if ((rc = ngx_http_claude_params(ex)) != NGX_OK
        || (rc = ngx_http_claude_params_words(ex, &words)) != NGX_OK)
    {
        return rc;
    }

    /* a prompt is a whole conversation: there is none to go on with */

    return ngx_http_claude_session(ex->ctx, &ex->turn, 1);
}


static ngx_int_t
completions_suffix(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node == NULL || ngx_claude_json_is(node, "")) {
        return NGX_OK;
    }

    return completions_error(ex, name, "'%s' is not supported: the models "
                             "write at the end of a text.", name);
}


/* a 0 asks for the probability of the token that was taken */

static ngx_int_t
completions_logprobs(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node == NULL || node->type == NGX_CLAUDE_JSON_FALSE) {
        return NGX_OK;
    }

    return completions_error(ex, name, "'%s' is not supported.", name);
}


static ngx_int_t
completions_bias(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node == NULL
        || (node->type == NGX_CLAUDE_JSON_OBJECT
            && !ngx_claude_json_holds(node)))
    {
        return NGX_OK;
    }

    return completions_error(ex, name, "'%s' is not supported.", name);
}


/* the best of several is told by their probabilities */

static ngx_int_t
completions_best_of(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t  n;

    if (node == NULL
        || ngx_claude_json_integer(node, ex->n, ex->n, &n) == NGX_OK)
    {
        return NGX_OK;
    }

    return completions_error(ex, name, "'%s' is not supported, unless it is "
                             "'n'.", name);
}


static ngx_int_t
completions_echo(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t                rc;
    ngx_uint_t               echo;
    ngx_http_claude_chat_t  *chat;

    rc = ngx_http_claude_params_flag(ex, name, node, &echo);

    chat = ex->own;
    chat->echo = (rc == NGX_OK && echo);

    return rc;
}


static ngx_int_t
completions_prompts(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t                rc;
    ngx_str_t               *prompt;
    ngx_uint_t               i, max;
    ngx_http_claude_chat_t  *chat;

    chat = ex->own;
    max = NGX_HTTP_CLAUDE_ANSWERS / ex->n;

    if (ngx_array_init(&chat->prompts, ex->turn.pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_claude_params_texts(ex, name, node, max, &chat->prompts);
    if (rc != NGX_OK) {
        return rc;
    }

    prompt = chat->prompts.elts;

    for (i = 0; chat->echo && i < chat->prompts.nelts; i++) {

        if (prompt[i].len > COMPLETIONS_ECHO) {
            return completions_error(ex, "echo", "'echo' is not supported for "
                                     "a prompt of more than 1 MB.");
        }
    }

    if (chat->prompts.nelts > max) {
        return completions_error(ex, name, "'%s' and 'n' ask for more than %d "
                                 "answers.", name, NGX_HTTP_CLAUDE_ANSWERS);
    }

    ex->questions = chat->prompts.nelts;

    return NGX_OK;
}


/* the question of a prompt is one message of the user's */

static ngx_int_t
completions_answer(ngx_http_claude_answer_t *answer)
{
    ngx_str_t                   *prompt;
    ngx_claude_block_t          *block;
    ngx_http_claude_chat_t      *chat;
    ngx_http_claude_exchange_t  *ex;

    ex = answer->exchange;
    chat = ex->own;
    prompt = (ngx_str_t *) chat->prompts.elts + answer->index / ex->n;

    if (answer->index % ex->n) {

        /* one of several answers to the prompt of the one before */

        answer->turn.messages = answer[-1].turn.messages;

    } else {

        if (ngx_array_init(&answer->turn.messages, ex->turn.pool, 1,
                           sizeof(ngx_claude_message_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        block = ngx_claude_turn_add(&answer->turn, NGX_CLAUDE_USER,
                                    NGX_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_ERROR;
        }

        block->text = *prompt;
    }

    if (chat->echo) {
        answer->before = *prompt;
    }

    return ngx_http_claude_chat_prefix(answer, "text_completion", "text");
}


static void
completions_delta(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block, ngx_str_t *piece)
{
    if (block->type != NGX_CLAUDE_TEXT) {
        return;
    }

    ngx_http_claude_chat_chunk_open(answer, out);
    ngx_claude_out_string(out, piece->data, piece->len);
    ngx_http_claude_chat_chunk_close(answer, out, NULL);
}


static void
completions_end(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    ngx_http_claude_chat_chunk_open(answer, out);
    ngx_claude_out_literal(out, "\"\"");
    ngx_http_claude_chat_chunk_close(answer, out,
                                     ngx_http_claude_chat_reason(answer));
}


static void
completions_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document)
{
    ngx_http_claude_chat_choices(ex, document, "text_completion",
                                 completions_choice);
}


static void
completions_choice(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document)
{
    ngx_http_claude_chat_text(answer, document, "\"text\":",
                              NGX_CLAUDE_TEXT);
}
