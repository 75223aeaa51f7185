
/*
 * The dialect of chat completions: the response of one piece.
 */


#include "ngx_http_claude_chat_whole.h"
#include "ngx_http_claude_chat_common.h"


static void whole_choice(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document);
static void whole_calls(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document);
static void whole_call(ngx_http_claude_answer_block_t *call,
    ngx_http_claude_document_t *document);


void
ngx_http_claude_chat_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document)
{
    ngx_http_claude_chat_choices(ex, document, "chat.completion",
                                 whole_choice);
}


void
ngx_http_claude_chat_choices(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document, const char *object,
    ngx_http_claude_chat_choice_pt choice)
{
    ngx_uint_t         i;
    ngx_claude_out_t  *out;

    out = &document->out;

    ngx_claude_out(out, "{\"id\":\"%V\",\"object\":\"%s\",\"created\":%T,"
                   "\"model\":%J,\"choices\":[", &ex->id, object,
                   ex->created, &ex->model);

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_out(out, "%s{\"index\":%ui,", i ? "," : "", i);

        choice(&ex->answers[i], document);

        ngx_claude_out(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}",
                       ngx_http_claude_chat_reason(&ex->answers[i]));
    }

    ngx_claude_out_literal(out, "],\"usage\":");
    ngx_http_claude_chat_usage(ex, out);
    ngx_claude_out_literal(out, ",\"system_fingerprint\":\"fp_claude\"}\n");
}


static void
whole_choice(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document)
{
    ngx_claude_out_t  *out;

    out = &document->out;

    ngx_claude_out_literal(out, "\"message\":{\"role\":\"assistant\",");

    if (answer->ncalls == 0
        || ngx_http_claude_answer_text_says(&answer->text, NGX_CLAUDE_TEXT))
    {
        ngx_http_claude_chat_text(answer, document, "\"content\":",
                                  NGX_CLAUDE_TEXT);

    } else {
        ngx_claude_out_literal(out, "\"content\":null");
    }

    if (ngx_http_claude_answer_text_says(&answer->text, NGX_CLAUDE_THINKING)) {
        ngx_http_claude_chat_text(answer, document,
                                  ",\"reasoning_content\":",
                                  NGX_CLAUDE_THINKING);
    }

    if (answer->ncalls) {
        whole_calls(answer, document);
    }

    ngx_claude_out(out, ",\"refusal\":%Q,\"annotations\":[]}",
                   &answer->turn.answer.refusal);
}


static void
whole_calls(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document)
{
    ngx_uint_t                       i, n;
    ngx_claude_out_t                *out;
    ngx_http_claude_chat_t          *chat;
    ngx_http_claude_answer_block_t  *block;

    out = &document->out;
    chat = answer->exchange->own;
    block = answer->text.blocks.elts;

    for (i = 0, n = 0; i < answer->text.blocks.nelts; i++) {

        if (block[i].block.type != NGX_CLAUDE_TOOL_USE) {
            continue;
        }

        if (chat->functions) {

            /* the first one is all that it has a place for */

            ngx_claude_out_literal(out, ",\"function_call\":");
            whole_call(&block[i], document);

            return;
        }

        ngx_claude_out(out, "%s{\"id\":%J,\"type\":\"function\","
                       "\"function\":", n++ ? "," : ",\"tool_calls\":[",
                       &block[i].block.id);
        whole_call(&block[i], document);
        ngx_claude_out_literal(out, "}");
    }

    ngx_claude_out_literal(out, "]");
}


static void
whole_call(ngx_http_claude_answer_block_t *call,
    ngx_http_claude_document_t *document)
{
    ngx_claude_out(&document->out, "{\"name\":%J,\"arguments\":\"",
                   &call->block.name);
    ngx_http_claude_document_add(document, &call->said);
    ngx_claude_out_literal(&document->out, "\"}");
}


void
ngx_http_claude_chat_text(ngx_http_claude_answer_t *answer,
    ngx_http_claude_document_t *document, const char *name,
    ngx_claude_block_e type)
{
    ngx_claude_out(&document->out, "%s\"", name);
    ngx_http_claude_answer_text_join(&answer->text, type, document);
    ngx_claude_out_literal(&document->out, "\"");
}
