
/*
 * The dialect of chat completions: its table.  See the header.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_chunks.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_chat_request.h"
#include "ngx_http_claude_chat_whole.h"
#include "ngx_http_claude_openai.h"
#include "ngx_http_claude_params.h"


/* later system messages come and go, those before the user stay */

static const ngx_http_claude_opening_t  chat_opening = {
    "messages", NULL, NULL
};


const ngx_http_claude_dialect_t  ngx_http_claude_chat = {
    .path = ngx_string("/chat/completions"),
    .request_id = NGX_HTTP_CLAUDE_OPENAI_ID,
    .failure = ngx_http_claude_openai_failure,
    .error = ngx_http_claude_openai_error,

    .id = "chatcmpl-",
    .size = sizeof(ngx_http_claude_chat_t),
    .members = "\"model\" and \"messages\"",
    .fields = ngx_http_claude_chat_fields,
    .request = ngx_http_claude_params_request,
    .answer = ngx_http_claude_chat_answer,

    .begin = ngx_http_claude_chat_begin,
    .open = ngx_http_claude_chat_open,
    .delta = ngx_http_claude_chat_delta,
    .end = ngx_http_claude_chat_end,
    .finish = ngx_http_claude_chat_finish,
    .whole = ngx_http_claude_chat_whole,
    .reason = ngx_http_claude_chat_reason,

    .opening = &chat_opening
};
