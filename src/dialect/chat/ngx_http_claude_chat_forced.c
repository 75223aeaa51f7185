
/*
 * A forced call that the model cannot be made to do (tools_emulate() says
 * when): its answer is the arguments, or name and arguments as JSON, and the
 * client gets it as the call.
 */


#include "ngx_http_claude_chat.h"


#define FORCED_ID_LEN  (sizeof("toolu__") + 24 + NGX_INT_T_LEN)


static void forced_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *name);


void
ngx_http_claude_chat_forced_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    ngx_http_claude_chat_t  *chat;

    chat = choice->chat;

    if (chat->forced_name.len) {

        if (choice->ncalls == 0) {
            forced_call(choice, &chat->forced_name);
        }

        ngx_http_claude_chat_arguments(choice, p, len);
        return;
    }

    /* its name may come last: it is told when it is complete */

    if (ngx_claude_text_add(&choice->forced_json, p, len) != NGX_OK) {
        chat->stream.out.failed = 1;
    }
}


/* of a call that any tool could have been */

void
ngx_http_claude_chat_forced_end(ngx_http_claude_chat_choice_t *choice)
{
    ngx_str_t           text, tool, json;
    ngx_pool_t         *pool;
    ngx_claude_json_t  *call, *name, *arguments;

    if (choice->forced_json.len == 0) {
        return;
    }

    pool = choice->turn.pool;
    json.data = choice->forced_json.data;
    json.len = choice->forced_json.len;
    call = ngx_claude_json_parse(pool, &json);

    if (call == NULL
        || (name = ngx_claude_json_member(call, "name")) == NULL
        || (arguments = ngx_claude_json_member(call, "arguments")) == NULL
        || ngx_claude_json_text(pool, arguments, &text) != NGX_OK)
    {
        /* cut off by a limit: half a call is of no use to anybody */

        return;
    }

    tool = ngx_claude_json_value(name);

    forced_call(choice, &tool);
    ngx_http_claude_chat_arguments(choice, text.data, text.len);
}


/* each answer's call has an id of its own */

static void
forced_call(ngx_http_claude_chat_choice_t *choice, ngx_str_t *name)
{
    u_char     buf[FORCED_ID_LEN], *p;
    ngx_str_t  id, *chat;

    chat = &choice->chat->id;

    p = ngx_cpymem(buf, "toolu_", sizeof("toolu_") - 1);
    p = ngx_cpymem(p, chat->data + sizeof("chatcmpl-") - 1,
                   chat->len - (sizeof("chatcmpl-") - 1));

    if (choice->index) {
        p = ngx_sprintf(p, "_%ui", choice->index);
    }

    id.data = buf;
    id.len = p - buf;

    ngx_http_claude_chat_call(choice, &id, name);
}
