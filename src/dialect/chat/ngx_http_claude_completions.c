
/*
 * The dialect of completions, the endpoint before chat completions, which
 * editors still use: one text, or several, that the model goes on with.
 * Source: OpenAI's API reference, "Completions".
 *
 * The models know conversations only.  A prompt is the user's message, and
 * what to do with it is said in the system text.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_content.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_session.h"
#include "ngx_claude_utf8.h"


static ngx_int_t completions_prompts(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *node);
static ngx_int_t completions_prompt(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *node);
static ngx_int_t completions_echo(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t completions_unsupported(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t completions_system(ngx_http_claude_chat_t *chat);


#define completions_error(chat, param, ...)                                   \
    ngx_http_claude_error((chat)->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,     \
                          __VA_ARGS__)


ngx_int_t
ngx_http_claude_completions_request(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    ngx_int_t  rc;

    if (body->type != NGX_CLAUDE_JSON_OBJECT) {
        return completions_error(chat, NULL, "The request body must be an "
                                 "object with \"model\" and \"prompt\".");
    }

    if ((rc = ngx_http_claude_chat_request_knobs(chat, body)) != NGX_OK
        || (rc = completions_unsupported(chat, body)) != NGX_OK
        || (rc = completions_echo(chat, body)) != NGX_OK
        || (rc = completions_prompts(chat,
                             ngx_http_claude_chat_field(body, "prompt")))
           != NGX_OK
        || (rc = completions_system(chat)) != NGX_OK)
    {
        return rc;
    }

    /* there is nothing to go on with: each prompt is all of it */

    return ngx_http_claude_session(chat->ctx, &chat->turn, 1);
}


static ngx_int_t
completions_prompts(ngx_http_claude_chat_t *chat, ngx_claude_json_t *node)
{
    ngx_int_t  rc;

    if (node == NULL) {
        return completions_error(chat, "prompt", "'prompt' is missing: it "
                                 "must be a string or an array of strings.");
    }

    if (ngx_array_init(&chat->prompts, chat->turn.pool, 1, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (node->type == NGX_CLAUDE_JSON_STRING) {
        return completions_prompt(chat, node);
    }

    node = (node->type == NGX_CLAUDE_JSON_ARRAY)
           ? ngx_claude_json_first(node) : NULL;

    if (node == NULL) {
        return completions_error(chat, "prompt", "'prompt' must be a string "
                                 "or an array of strings.");
    }

    for ( /* void */ ; node; node = ngx_claude_json_next(node)) {

        rc = completions_prompt(chat, node);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
completions_prompt(ngx_http_claude_chat_t *chat, ngx_claude_json_t *node)
{
    ngx_str_t  *prompt, text;

    if (node->type != NGX_CLAUDE_JSON_STRING) {

        /* numbers are tokens, of a tokenizer that is not the model's */

        return completions_error(chat, "prompt", "'prompt' must be a string "
                                 "or an array of strings; tokens are not "
                                 "supported.");
    }

    text = ngx_claude_json_value(node);

    if (ngx_claude_utf8_blank(&text)) {
        return completions_error(chat, "prompt", "'prompt' is blank: it must "
                                 "have some text.");
    }

    if ((chat->prompts.nelts + 1) * chat->n > NGX_HTTP_CLAUDE_CHAT_CHOICES) {
        return completions_error(chat, "prompt", "'prompt' and 'n' ask for "
                                 "more than %d answers.",
                                 NGX_HTTP_CLAUDE_CHAT_CHOICES);
    }

    prompt = ngx_array_push(&chat->prompts);
    if (prompt == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *prompt = text;

    return NGX_OK;
}


static ngx_int_t
completions_echo(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_claude_json_t  *node;

    node = ngx_http_claude_chat_field(body, "echo");

    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return completions_error(chat, "echo", "'echo' must be a boolean.");
    }

    chat->echo = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    return NGX_OK;
}


/* what would change the answer's meaning, and cannot be done */

static ngx_int_t
completions_unsupported(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    ngx_int_t           n;
    ngx_claude_json_t  *node;

    node = ngx_http_claude_chat_field(body, "suffix");

    if (node && !ngx_claude_json_is(node, ""))
    {
        return completions_error(chat, "suffix", "'suffix' is not supported: "
                                 "the models write at the end of a text.");
    }

    /* a 0 asks for the probability of the token that was taken */

    node = ngx_http_claude_chat_field(body, "logprobs");

    if (node && node->type != NGX_CLAUDE_JSON_FALSE) {
        return completions_error(chat, "logprobs",
                                 "'logprobs' is not supported.");
    }

    node = ngx_http_claude_chat_field(body, "logit_bias");

    if (node && (node->type != NGX_CLAUDE_JSON_OBJECT
                 || ngx_claude_json_holds(node)))
    {
        return completions_error(chat, "logit_bias",
                                 "'logit_bias' is not supported.");
    }

    /* the best of several is told by their probabilities */

    node = ngx_http_claude_chat_field(body, "best_of");

    if (node && ngx_claude_json_integer(node, chat->n, chat->n, &n)
                != NGX_OK)
    {
        return completions_error(chat, "best_of", "'best_of' is not "
                                 "supported, unless it is 'n'.");
    }

    return NGX_OK;
}


static ngx_int_t
completions_system(ngx_http_claude_chat_t *chat)
{
    ngx_int_t  rc;

    static ngx_str_t  words = ngx_string("The user's message is a text that "
        "you complete. If it is a question or an instruction, write the "
        "answer; else go on exactly where it ends. Write the completion and "
        "nothing else: do not repeat the text, do not comment on it.");

    rc = ngx_http_claude_chat_request_system(chat);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_claude_chat_request_words(chat, &words);
}
