
/*
 * The smallest dialect, to begin a new one with: the user says texts, and the
 * model's answers come back block by block.
 *
 *     {"say":["hi","there"],"n":2,"until":" ","think":"low","stream":true}
 */


#include "ngx_http_claude_echo.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_params.h"


static const ngx_claude_json_field_t  echo_fields[] = {
    { ngx_string("model"), NULL, ngx_http_claude_params_model },
    { ngx_string("stream"), NULL, ngx_http_claude_params_stream },
    { ngx_string("n"), NULL, ngx_http_claude_params_n },
    { ngx_string("until"), ngx_claude_json_items,
      ngx_http_claude_params_stop },
    { ngx_string("think"), NULL, ngx_http_claude_params_effort },
    { ngx_string("say"), ngx_claude_json_items, ngx_http_claude_params_user },
    { ngx_null_string, NULL, NULL }
};


static const char  *echo_types[] = {
    [NGX_CLAUDE_TEXT] = "text",
    [NGX_CLAUDE_TOOL_USE] = "call",
    [NGX_CLAUDE_THINKING] = "thought",
    [NGX_CLAUDE_REDACTED] = "thought",
    [NGX_CLAUDE_OTHER] = "other"
};


static void
echo_open(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    ngx_http_claude_event(out, "open", "\"answer\":%ui,\"type\":\"%s\","
                          "\"name\":%Q", answer->index,
                          echo_types[block->type], &block->name);
}


static void
echo_delta(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block, ngx_str_t *piece)
{
    ngx_http_claude_event(out, "delta", "\"answer\":%ui,\"said\":%J",
                          answer->index, piece);
}


static void
echo_close(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    ngx_http_claude_event(out, "close", "\"answer\":%ui", answer->index);
}


static void
echo_end(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    ngx_http_claude_event(out, "end", "\"answer\":%ui,\"why\":\"%s\"",
                          answer->index,
                          ngx_http_claude_answer_reason(answer));
}


static void
echo_block(ngx_http_claude_document_t *document,
    ngx_http_claude_answer_block_t *kept)
{
    ngx_claude_out(&document->out, "{\"type\":\"%s\",\"name\":%Q,\"all\":\"",
                   echo_types[kept->block.type], &kept->block.name);
    ngx_http_claude_document_add(document, &kept->said);
    ngx_claude_out_literal(&document->out, "\"}");
}


static void
echo_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document)
{
    ngx_uint_t  i;

    ngx_claude_out(&document->out, "{\"id\":%J,\"answers\":[", &ex->id);

    for (i = 0; i < ex->nanswers; i++) {
        ngx_claude_out(&document->out, "%s{\"why\":\"%s\",\"blocks\":[",
                       i ? "," : "",
                       ngx_http_claude_answer_reason(&ex->answers[i]));
        ngx_http_claude_answer_text_list(&ex->answers[i].text, document,
                                         echo_block);
        ngx_claude_out_literal(&document->out, "]}");
    }

    ngx_claude_out(&document->out, "],\"tokens\":%uL}",
                   ngx_http_claude_exchange_sum(ex)->output);
}


static void
echo_error(ngx_claude_out_t *out, ngx_http_claude_error_t *error)
{
    ngx_claude_out(out, "{\"wrong\":{\"status\":%ui,\"where\":%Q,"
                   "\"what\":%J},\"id\":%J}", error->status, &error->param,
                   &error->message, &error->id);
}


const ngx_http_claude_dialect_t  ngx_http_claude_echo = {
    .path = ngx_string("/echo"),
    .request_id = "echo-id",
    .error = echo_error,
    .id = "echo_",
    .members = "\"say\"",
    .fields = echo_fields,
    .request = ngx_http_claude_params_request,
    .open = echo_open,
    .delta = echo_delta,
    .close = echo_close,
    .end = echo_end,
    .whole = echo_whole
};
