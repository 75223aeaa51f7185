
/*
 * The dialect of chat completions: its table.  See the header.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_openai.h"


const ngx_http_claude_dialect_t  ngx_http_claude_chat = {
    .path = ngx_string("/chat/completions"),
    .request_id = NGX_HTTP_CLAUDE_OPENAI_ID,
    .failure = ngx_http_claude_openai_failure,
    .error = ngx_http_claude_openai_error,

    .id = "chatcmpl-",
    .size = sizeof(ngx_http_claude_chat_t),
    .fields = ngx_http_claude_chat_fields,
    .request = ngx_http_claude_chat_request,
    .answer = ngx_http_claude_chat_answer,

    .begin = ngx_http_claude_chat_begin,
    .open = ngx_http_claude_chat_open,
    .delta = ngx_http_claude_chat_delta,
    .end = ngx_http_claude_chat_end,
    .finish = ngx_http_claude_chat_finish,
    .failed = ngx_http_claude_chat_failed,
    .whole = ngx_http_claude_chat_whole,
    .reason = ngx_http_claude_chat_reason
};


const char *
ngx_http_claude_chat_reason(ngx_http_claude_answer_t *answer)
{
    const char              *calls;
    ngx_http_claude_chat_t  *chat;

    chat = answer->exchange->own;
    calls = chat->functions ? "function_call" : "tool_calls";

    /* of a forced call the model knows nothing */

    if (answer->ncalls && answer->turn.stop <= NGX_CLAUDE_STOP_SEQUENCE) {
        return calls;
    }

    switch (answer->turn.stop) {

    case NGX_CLAUDE_STOP_LENGTH:
        return "length";

    case NGX_CLAUDE_STOP_REFUSAL:
        return "content_filter";

    case NGX_CLAUDE_STOP_TOOL:
        return calls;

    default:
        return "stop";
    }
}
