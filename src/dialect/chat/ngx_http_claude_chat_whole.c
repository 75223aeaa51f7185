
/*
 * The dialect of chat completions: the response of one piece.  What the model
 * says is kept escaped, in buffers that become the response, so that nothing
 * is copied twice and nothing is ever moved.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_response.h"


/* what is kept of an answer: buffers of 4 KB and more */
#define WHOLE_BUF_SIZE   4096


static void whole_choice(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice);
static void whole_message(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice);
static void whole_calls(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice);
static void whole_text(ngx_http_claude_document_t *whole, const char *name,
    ngx_http_claude_document_t *text);


ngx_int_t
ngx_http_claude_chat_keep(ngx_http_claude_chat_choice_t *choice,
    ngx_http_claude_document_t *text, u_char *p, size_t len)
{
    ngx_http_claude_chat_t       *chat;
    ngx_http_claude_main_conf_t  *mcf;

    chat = choice->chat;
    mcf = ngx_http_get_module_main_conf(chat->ctx->request,
                                        ngx_http_claude_module);

    if (ngx_http_claude_document_length(text) + len > mcf->max_line) {
        ngx_log_error(NGX_LOG_ERR, chat->turn.log, 0,
                      "claude: an answer that is not streamed has more than "
                      "%uz bytes, see claude_max_line, request %V",
                      mcf->max_line, &chat->ctx->id);

        (void) ngx_http_claude_error(chat->ctx,
                       NGX_HTTP_INTERNAL_SERVER_ERROR, "internal_error", NULL,
                       "The answer is too long.");
        return NGX_ERROR;
    }

    ngx_claude_out_escape(&text->out, p, len);

    return text->out.failed ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_keep_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name)
{
    ngx_pool_t                   *pool;
    ngx_http_claude_chat_call_t  *call;

    pool = choice->turn.pool;
    call = ngx_array_push(&choice->calls);

    if (call == NULL
        || (call->id.data = ngx_pstrdup(pool, id)) == NULL
        || (call->name.data = ngx_pstrdup(pool, name)) == NULL)
    {
        return NGX_ERROR;
    }

    call->id.len = id->len;
    call->name.len = name->len;

    ngx_http_claude_document_init(&call->arguments, pool, WHOLE_BUF_SIZE);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_keep_arguments(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    ngx_http_claude_chat_call_t  *call;

    call = (ngx_http_claude_chat_call_t *) choice->calls.elts
           + choice->calls.nelts - 1;

    return ngx_http_claude_chat_keep(choice, &call->arguments, p, len);
}


ngx_int_t
ngx_http_claude_chat_whole(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t                   i;
    ngx_claude_out_t            *out;
    ngx_http_claude_document_t   whole;

    ngx_http_claude_document_init(&whole, chat->turn.pool, WHOLE_BUF_SIZE);
    out = &whole.out;

    ngx_claude_out(out, "{\"id\":\"%V\",\"object\":\"%s\",\"created\":%T,"
                   "\"model\":%J,\"choices\":[", &chat->id,
                   chat->completions ? "text_completion" : "chat.completion",
                   chat->created, &chat->model);

    for (i = 0; i < chat->nchoices; i++) {

        if (i) {
            ngx_claude_out_literal(out, ",");
        }

        whole_choice(&whole, &chat->choices[i]);
    }

    ngx_claude_out_literal(out, "],\"usage\":");

    ngx_http_claude_chat_choices_sum(chat);
    ngx_http_claude_chat_usage(out, &chat->turn.usage);

    ngx_claude_out_literal(out, ",\"system_fingerprint\":\"fp_claude\"}\n");

    if (out->failed) {
        return NGX_ERROR;
    }

    chat->stream.opened = 1;

    return ngx_http_claude_response(chat->ctx->request, "application/json",
                                    &whole);
}


static void
whole_choice(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice)
{
    ngx_claude_out(&whole->out, "{\"index\":%ui,", choice->index);

    if (choice->chat->completions) {
        whole_text(whole, "\"text\":", &choice->text);

    } else {
        ngx_claude_out_literal(&whole->out, "\"message\":");
        whole_message(whole, choice);
    }

    ngx_claude_out(&whole->out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}",
                   ngx_http_claude_chat_choice_finish(choice));
}


static void
whole_message(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice)
{
    ngx_claude_out_t  *out;

    out = &whole->out;

    ngx_claude_out_literal(out, "{\"role\":\"assistant\",");

    if (ngx_http_claude_document_length(&choice->text) || choice->ncalls == 0)
    {
        whole_text(whole, "\"content\":", &choice->text);

    } else {
        ngx_claude_out_literal(out, "\"content\":null");
    }

    if (ngx_http_claude_document_length(&choice->thoughts)) {
        whole_text(whole, ",\"reasoning_content\":", &choice->thoughts);
    }

    if (choice->ncalls) {
        whole_calls(whole, choice);
    }

    ngx_claude_out(out, ",\"refusal\":%Q,\"annotations\":[]}",
                   &choice->turn.refusal);
}


static void
whole_calls(ngx_http_claude_document_t *whole,
    ngx_http_claude_chat_choice_t *choice)
{
    ngx_uint_t                    i;
    ngx_http_claude_chat_call_t  *call;

    call = choice->calls.elts;

    if (choice->chat->functions) {
        ngx_claude_out(&whole->out, ",\"function_call\":{\"name\":%J,",
                       &call[0].name);
        whole_text(whole, "\"arguments\":", &call[0].arguments);
        ngx_claude_out_literal(&whole->out, "}");
        return;
    }

    for (i = 0; i < choice->calls.nelts; i++) {
        ngx_claude_out(&whole->out, "%s{\"id\":%J,\"type\":\"function\","
                       "\"function\":{\"name\":%J,",
                       i ? "," : ",\"tool_calls\":[", &call[i].id,
                       &call[i].name);
        whole_text(whole, "\"arguments\":", &call[i].arguments);
        ngx_claude_out_literal(&whole->out, "}}");
    }

    ngx_claude_out_literal(&whole->out, "]");
}


/* what was kept, behind its name */

static void
whole_text(ngx_http_claude_document_t *whole, const char *name,
    ngx_http_claude_document_t *text)
{
    ngx_claude_out(&whole->out, "%s\"", name);
    ngx_http_claude_document_add(whole, text);
    ngx_claude_out_literal(&whole->out, "\"");
}
