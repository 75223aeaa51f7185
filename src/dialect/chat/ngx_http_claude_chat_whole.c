
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

/* what one call of whole_print() may print, but for strings of any length */
#define WHOLE_PRINT_SIZE 512


/* the response while it is put together */
typedef struct {
    ngx_http_claude_chat_t  *chat;
    ngx_chain_t             *out;
    ngx_chain_t            **last;
    off_t                    length;
    ngx_uint_t               failed;       /* no memory */
} whole_t;


static void whole_choice(whole_t *whole,
    ngx_http_claude_chat_choice_t *choice);
static void whole_message(whole_t *whole,
    ngx_http_claude_chat_choice_t *choice);
static void whole_calls(whole_t *whole, ngx_http_claude_chat_choice_t *choice);
static void whole_print(whole_t *whole, const char *fmt, ...);
static void whole_string(whole_t *whole, ngx_str_t *s);
static void whole_text(whole_t *whole, ngx_http_claude_chat_text_t *text);
static ngx_buf_t *whole_buf(whole_t *whole, size_t size);
static ngx_int_t whole_send(whole_t *whole);


ngx_int_t
ngx_http_claude_chat_keep(ngx_http_claude_chat_choice_t *choice,
    ngx_http_claude_chat_text_t *text, u_char *p, size_t len)
{
    size_t                        max, size;
    u_char                       *last, before;
    ngx_buf_t                    *b;
    ngx_chain_t                  *cl;
    ngx_http_claude_chat_t       *chat;
    ngx_http_claude_main_conf_t  *mcf;

    chat = choice->chat;
    mcf = ngx_http_get_module_main_conf(chat->ctx->request,
                                        ngx_http_claude_module);

    if (text->length + len > mcf->max_line) {
        ngx_log_error(NGX_LOG_ERR, chat->turn.log, 0,
                      "claude: an answer that is not streamed has more than "
                      "%uz bytes, see claude_max_line, request %V",
                      mcf->max_line, &chat->ctx->id);

        (void) ngx_http_claude_error(chat->ctx,
                       NGX_HTTP_INTERNAL_SERVER_ERROR, "internal_error", NULL,
                       "The answer is too long.");
        return NGX_ERROR;
    }

    max = ngx_claude_json_escaped_max(len);
    b = text->first ? ((ngx_chain_t *) ((u_char *) text->last
                                        - offsetof(ngx_chain_t, next)))->buf
                    : NULL;

    if (b == NULL || (size_t) (b->end - b->last) < max) {

        size = ngx_max(WHOLE_BUF_SIZE, max + 1);
        size = ngx_max(size, ngx_min(text->length, 16 * WHOLE_BUF_SIZE));

        b = ngx_create_temp_buf(chat->turn.pool, size);
        cl = ngx_alloc_chain_link(chat->turn.pool);

        if (b == NULL || cl == NULL) {
            return NGX_ERROR;
        }

        /* room for the quote that yajl puts first */

        b->pos++;
        b->last++;

        cl->buf = b;
        cl->next = NULL;
        *text->last = cl;
        text->last = &cl->next;
    }

    before = b->last[-1];
    last = ngx_claude_json_escape(b->last - 1, p, len) - 1;
    b->last[-1] = before;

    text->length += last - b->last;
    b->last = last;

    return NGX_OK;
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

    /* set when the array has its final place: it may still move */

    ngx_memzero(&call->arguments, sizeof(ngx_http_claude_chat_text_t));

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_keep_arguments(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len)
{
    ngx_http_claude_chat_call_t  *call;

    call = (ngx_http_claude_chat_call_t *) choice->calls.elts
           + choice->calls.nelts - 1;

    if (call->arguments.first == NULL) {
        call->arguments.last = &call->arguments.first;
    }

    return ngx_http_claude_chat_keep(choice, &call->arguments, p, len);
}


ngx_int_t
ngx_http_claude_chat_whole(ngx_http_claude_chat_t *chat)
{
    ngx_buf_t   *b;
    ngx_uint_t   i;
    whole_t      whole;

    ngx_memzero(&whole, sizeof(whole_t));

    whole.chat = chat;
    whole.last = &whole.out;

    whole_print(&whole, "{\"id\":\"%V\",\"object\":\"%s\",\"created\":%T,"
                "\"model\":", &chat->id,
                chat->completions ? "text_completion" : "chat.completion",
                chat->created);
    whole_string(&whole, &chat->model);
    whole_print(&whole, ",\"choices\":[");

    for (i = 0; i < chat->nchoices; i++) {

        if (i) {
            whole_print(&whole, ",");
        }

        whole_choice(&whole, &chat->choices[i]);
    }

    whole_print(&whole, "],\"usage\":");

    ngx_http_claude_chat_choices_sum(chat);

    b = whole_buf(&whole, NGX_HTTP_CLAUDE_CHAT_USAGE_LEN);

    if (b) {
        b->last = ngx_http_claude_chat_usage(b->last, &chat->turn.usage);
        whole.length += b->last - b->pos;
    }

    whole_print(&whole, ",\"system_fingerprint\":\"fp_claude\"}\n");

    return whole.failed ? NGX_ERROR : whole_send(&whole);
}


static void
whole_choice(whole_t *whole, ngx_http_claude_chat_choice_t *choice)
{
    whole_print(whole, "{\"index\":%ui,", choice->index);

    if (whole->chat->completions) {
        whole_print(whole, "\"text\":\"");
        whole_text(whole, &choice->text);
        whole_print(whole, "\"");

    } else {
        whole_print(whole, "\"message\":");
        whole_message(whole, choice);
    }

    whole_print(whole, ",\"logprobs\":null,\"finish_reason\":\"%s\"}",
                ngx_http_claude_chat_choice_finish(choice));
}


static void
whole_message(whole_t *whole, ngx_http_claude_chat_choice_t *choice)
{
    whole_print(whole, "{\"role\":\"assistant\",\"content\":");

    if (choice->text.length || choice->ncalls == 0) {
        whole_print(whole, "\"");
        whole_text(whole, &choice->text);
        whole_print(whole, "\"");

    } else {
        whole_print(whole, "null");
    }

    if (choice->thoughts.length) {
        whole_print(whole, ",\"reasoning_content\":\"");
        whole_text(whole, &choice->thoughts);
        whole_print(whole, "\"");
    }

    if (choice->ncalls) {
        whole_calls(whole, choice);
    }

    if (choice->turn.refusal.len) {
        whole_print(whole, ",\"refusal\":");
        whole_string(whole, &choice->turn.refusal);
        whole_print(whole, ",\"annotations\":[]}");

    } else {
        whole_print(whole, ",\"refusal\":null,\"annotations\":[]}");
    }
}


static void
whole_calls(whole_t *whole, ngx_http_claude_chat_choice_t *choice)
{
    ngx_uint_t                    i;
    ngx_http_claude_chat_call_t  *call;

    call = choice->calls.elts;

    if (whole->chat->functions) {
        whole_print(whole, ",\"function_call\":{\"name\":");
        whole_string(whole, &call[0].name);
        whole_print(whole, ",\"arguments\":\"");
        whole_text(whole, &call[0].arguments);
        whole_print(whole, "\"}");
        return;
    }

    for (i = 0; i < choice->calls.nelts; i++) {
        whole_print(whole, i ? ",{\"id\":" : ",\"tool_calls\":[{\"id\":");
        whole_string(whole, &call[i].id);
        whole_print(whole, ",\"type\":\"function\",\"function\":{\"name\":");
        whole_string(whole, &call[i].name);
        whole_print(whole, ",\"arguments\":\"");
        whole_text(whole, &call[i].arguments);
        whole_print(whole, "\"}}");
    }

    whole_print(whole, "]");
}


static void
whole_print(whole_t *whole, const char *fmt, ...)
{
    va_list     args;
    ngx_buf_t  *b;

    b = whole_buf(whole, WHOLE_PRINT_SIZE);

    if (b) {
        va_start(args, fmt);
        b->last = ngx_vslprintf(b->last, b->end, fmt, args);
        va_end(args);

        whole->length += b->last - b->pos;
    }
}


static void
whole_string(whole_t *whole, ngx_str_t *s)
{
    ngx_buf_t  *b;

    b = whole_buf(whole, ngx_claude_json_escaped_max(s->len));

    if (b) {
        b->last = ngx_claude_json_escape(b->last, s->data, s->len);
        whole->length += b->last - b->pos;
    }
}


/* what was kept */

static void
whole_text(whole_t *whole, ngx_http_claude_chat_text_t *text)
{
    if (text->first) {
        *whole->last = text->first;
        whole->last = text->last;
        whole->length += text->length;
    }
}


/* a new buffer at the end of the response, NULL: no memory */

static ngx_buf_t *
whole_buf(whole_t *whole, size_t size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_create_temp_buf(whole->chat->turn.pool, size);
    cl = ngx_alloc_chain_link(whole->chat->turn.pool);

    if (b == NULL || cl == NULL) {
        whole->failed = 1;
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;
    *whole->last = cl;
    whole->last = &cl->next;

    return b;
}


static ngx_int_t
whole_send(whole_t *whole)
{
    ngx_int_t                rc;
    ngx_chain_t             *last;
    ngx_http_request_t      *r;
    ngx_http_claude_chat_t  *chat;

    chat = whole->chat;
    r = chat->ctx->request;

    last = (ngx_chain_t *) ((u_char *) whole->last
                            - offsetof(ngx_chain_t, next));

    last->buf->last_buf = (r == r->main);
    last->buf->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = whole->length;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    if (ngx_http_claude_response_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    chat->stream.opened = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, whole->out);
}
