
/*
 * A chat request: either a turn that the CLI takes as it is, or an error that
 * a client can read.  A first line that begins with # is not of the body: it
 * has flags (1 sampling, 2 the older endpoint), a space, and the X-Session-Id.
 */


#include "fuzz.h"


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static void
chat_session_header(fuzz_request_t *fake, ngx_str_t value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&fake->request.headers_in.headers);
    fuzz_check(h != NULL);

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    ngx_str_set(&h->key, "X-Session-Id");
    h->lowcase_key = (u_char *) "x-session-id";
    h->hash = 1;
    h->value = fuzz_copy(fake->pool, value, 0);
}


/* a UUID, which is all that may go into the answer's header */

static void
chat_session(ngx_str_t *session)
{
    size_t  i;
    u_char  ch;

    fuzz_check(session->len == 36);

    for (i = 0; i < 36; i++) {
        ch = session->data[i] | 0x20;

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            fuzz_check(session->data[i] == '-');

        } else {
            fuzz_check((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f'));
        }
    }
}


static void
chat_text(ngx_str_t *s)
{
    fuzz_check(s->len != 0);
    fuzz_check(fuzz_utf8(s->data, s->len));
    fuzz_check(memchr(s->data, '\0', s->len) == NULL);
}


static void
chat_turn(ngx_http_claude_chat_t *chat)
{
    size_t                      spaces;
    ngx_str_t                  *s;
    ngx_uint_t                  i, j;
    ngx_http_claude_turn_t     *turn;
    ngx_http_claude_block_t    *block;
    ngx_http_claude_message_t  *message;

    turn = &chat->turn;
    message = turn->messages.elts;

    fuzz_check(turn->messages.nelts % 2 == 1);

    for (i = 0; i < turn->messages.nelts; i++) {

        fuzz_check(message[i].role == ((i % 2) ? NGX_HTTP_CLAUDE_ASSISTANT
                                               : NGX_HTTP_CLAUDE_USER));
        fuzz_check(message[i].blocks.nelts != 0);

        block = message[i].blocks.elts;

        for (j = 0; j < message[i].blocks.nelts; j++) {
            s = &block[j].text;
            chat_text(s);

            if (block[j].type != NGX_HTTP_CLAUDE_TEXT) {
                continue;
            }

            for (spaces = 0; spaces < s->len; spaces++) {
                if (!strchr(" \t\r\n\v\f", s->data[spaces])) {
                    break;
                }
            }

            fuzz_check(spaces < s->len);
        }
    }

    chat_text(&turn->system);
    chat_text(&turn->model);
    chat_text(&chat->model);

    fuzz_check(turn->max_tokens >= 0 && turn->max_tokens <= 10000000);
    fuzz_check(turn->stops.nelts <= 4);

    s = turn->stops.elts;

    for (i = 0; i < turn->stops.nelts; i++) {
        chat_text(&s[i]);
    }

    fuzz_check(turn->temperature.len < 64 && turn->top_p.len < 64);

    chat_session(&chat->ctx->session);
}


static void
chat_prompts(ngx_http_claude_chat_t *chat)
{
    ngx_str_t   *s;
    ngx_uint_t   i;

    fuzz_check(chat->prompts.nelts >= 1);
    fuzz_check(chat->n >= 1 && chat->prompts.nelts * chat->n <= 8);

    s = chat->prompts.elts;

    for (i = 0; i < chat->prompts.nelts; i++) {
        chat_text(&s[i]);
    }

    chat_text(&chat->turn.system);
    chat_text(&chat->model);
    chat_session(&chat->ctx->session);

    fuzz_check(ngx_http_claude_chat_choices(chat) == NGX_OK);

    for (i = 0; i < chat->nchoices; i++) {
        fuzz_check(chat->choices[i].turn.messages.nelts == 1);
    }
}


static void
chat_error(fuzz_request_t *fake, ngx_int_t rc)
{
    ngx_str_t                 json;
    ngx_http_claude_json_t   *node, *type, *param;
    ngx_http_claude_error_t  *error;

    error = &fake->ctx.error;

    fuzz_check(rc == 400 || rc == 404 || rc == 410);
    fuzz_check(error->status == (ngx_uint_t) rc);
    fuzz_check(error->type.len != 0);
    fuzz_check(error->message.len != 0);
    fuzz_check(error->message.len <= 1024);
    fuzz_check(fuzz_utf8(error->message.data, error->message.len));
    fuzz_check(fuzz_utf8(error->param.data, error->param.len));

    json = ngx_http_claude_error_json(&fake->request, error);
    fuzz_check(json.len != 0);

    node = fuzz_json(fake->pool, json.data, json.len);
    node = fuzz_member(node, "error", NGX_HTTP_CLAUDE_JSON_OBJECT);

    type = fuzz_member(node, "type", NGX_HTTP_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&type->value, &error->type));

    param = ngx_http_claude_json_member(node, "param");
    fuzz_check(param != NULL && fuzz_same(&param->value, &error->param));

    node = fuzz_member(node, "message", NGX_HTTP_CLAUDE_JSON_STRING);
    fuzz_check(fuzz_same(&node->value, &error->message));
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    ngx_int_t                       rc;
    ngx_str_t                       line, text;
    ngx_pool_t                     *pool;
    fuzz_input_t                    in;
    fuzz_request_t                 *fake;
    ngx_http_claude_json_t         *body;
    ngx_http_claude_json_reader_t  *reader;

    pool = fuzz_pool();
    fake = fuzz_request(pool);
    fuzz_input(&in, p, len);

    if (len && *p == '#') {
        line = fuzz_until(&in, '\n');
        fake->lcf.sampling = line.len > 1 && (line.data[1] & 1);
        fake->chat.completions = line.len > 1 && (line.data[1] & 2);

        if (line.len > 3) {
            line.data += 3;
            line.len -= 3;
            chat_session_header(fake, line);
        }
    }

    text = fuzz_rest(&in);
    reader = ngx_http_claude_json_reader(pool);

    if (ngx_http_claude_json_read(reader, text.data, text.len) == NGX_OK
        && (body = ngx_http_claude_json_end(reader)) != NULL)
    {
        rc = fake->chat.completions
             ? ngx_http_claude_completions_request(&fake->chat, body)
             : ngx_http_claude_chat_request(&fake->chat, body);

        if (rc == NGX_OK && fake->chat.completions) {
            chat_prompts(&fake->chat);

        } else if (rc == NGX_OK) {
            chat_turn(&fake->chat);

        } else {
            chat_error(fake, rc);
        }
    }

    ngx_destroy_pool(pool);

    return 0;
}
