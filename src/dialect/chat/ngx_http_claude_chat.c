
/*
 * The dialect of chat completions: its table.  See the header.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_chunks.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_chat_request.h"
#include "ngx_http_claude_chat_whole.h"
#include "ngx_http_claude_conversation.h"
#include "ngx_http_claude_openai.h"
#include "ngx_http_claude_params.h"


static ngx_int_t chat_first(ngx_http_claude_first_t *first,
    ngx_claude_json_t *body);


static const ngx_claude_json_field_t  chat_opening_message[] = {
    { ngx_string("role"), NULL, NULL },
    { ngx_string("content"), ngx_claude_json_all, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  chat_opening[] = {
    { ngx_string("messages"), chat_opening_message, NULL },
    { ngx_null_string, NULL, NULL }
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

    .opening = chat_opening,
    .first = chat_first
};


/* later system messages come and go, those before the user stay */

static ngx_int_t
chat_first(ngx_http_claude_first_t *first, ngx_claude_json_t *body)
{
    ngx_uint_t          user;
    ngx_claude_json_t  *list, *message, *role, *content;

    list = ngx_claude_json_member(body, "messages");

    if (list == NULL || list->type != NGX_CLAUDE_JSON_ARRAY) {
        return NGX_DECLINED;
    }

    for (message = ngx_claude_json_first(list);
         message;
         message = ngx_claude_json_next(message))
    {
        role = ngx_claude_json_member(message, "role");
        content = ngx_claude_json_member(message, "content");

        if (role == NULL || content == NULL) {
            return NGX_DECLINED;
        }

        user = ngx_claude_json_is(role, "user");

        if (!user && !ngx_claude_json_is(role, "system")
            && !ngx_claude_json_is(role, "developer"))
        {
            continue;
        }

        ngx_sha1_update(&first->sha1, user ? "\0u" : "\0s", 2);

        if (ngx_http_claude_conversation_add(first, content) != NGX_OK) {
            return NGX_ERROR;
        }

        if (user) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
