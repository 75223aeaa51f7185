
/*
 * The dialect of the tests.  See the header.
 *
 *     {"say":["hi","there"],"n":2,"until":" ","stream":true}
 *
 * Each text of "say" is read in a slice of its own; with "forever" there is no
 * end of slices.
 */


#include "ngx_http_claude_echo.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_params.h"
#include "ngx_http_claude_place.h"


typedef struct {
    ngx_claude_json_t  *next;              /* text of "say" */
    ngx_uint_t          n;                 /* texts that were read */
    ngx_uint_t          events;            /* that were written */
    ngx_uint_t          forever;
} echo_t;


static const char  *echo_types[] = {
    [NGX_CLAUDE_TEXT] = "text",
    [NGX_CLAUDE_TOOL_USE] = "call",
    [NGX_CLAUDE_THINKING] = "thought",
    [NGX_CLAUDE_OTHER] = "other"
};


static const ngx_claude_json_field_t  echo_items[] = {
    { ngx_null_string, NULL, NULL }
};


static ngx_int_t
echo_forever(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    echo_t  *echo = ex->own;

    return ngx_http_claude_params_flag(ex, name, node, &echo->forever);
}


static const ngx_claude_json_field_t  echo_fields[] = {
    { ngx_string("model"), NULL, ngx_http_claude_params_model },
    { ngx_string("stream"), NULL, ngx_http_claude_params_stream },
    { ngx_string("n"), NULL, ngx_http_claude_params_n },
    { ngx_string("until"), echo_items, ngx_http_claude_params_stop },
    { ngx_string("think"), NULL, ngx_http_claude_params_effort },
    { ngx_string("forever"), NULL, echo_forever },
    { ngx_string("say"), echo_items, NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_int_t
echo_request(ngx_http_claude_exchange_t *ex, ngx_claude_json_t *body)
{
    echo_t  *echo = ex->own;

    ngx_int_t                 rc;
    ngx_claude_json_t        *say;
    ngx_claude_block_t       *block;
    ngx_http_claude_place_t   place;

    ngx_memzero(&place, sizeof(ngx_http_claude_place_t));
    place.ctx = ex->ctx;
    place.dots = 1;
    ngx_http_claude_place_in(&place, "say");

    if (echo->n == 0) {
        rc = ngx_http_claude_params(ex, echo_fields);
        if (rc != NGX_OK) {
            return rc;
        }

        say = ngx_claude_json_field(body, "say");
        echo->next = say ? ngx_claude_json_first(say) : NULL;

        if (echo->next == NULL) {
            return ngx_http_claude_place_error(&place, NULL, "is to be an "
                                               "array of texts");
        }
    }

    if (echo->forever) {
        echo->n++;
        return NGX_AGAIN;
    }

    if (echo->next) {
        ngx_http_claude_place_at(&place, echo->n++);

        if (echo->next->type != NGX_CLAUDE_JSON_STRING) {
            return ngx_http_claude_place_error(&place, NULL, "is no text");
        }

        block = ngx_claude_turn_add(&ex->turn, NGX_CLAUDE_USER,
                                    NGX_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->text = ngx_claude_json_value(echo->next);
        echo->next = ngx_claude_json_next(echo->next);

        return NGX_AGAIN;
    }

    rc = ngx_http_claude_params_system(ex, NULL);

    return (rc == NGX_OK) ? ngx_http_claude_params_conversation(ex, "say")
                          : rc;
}


static void
echo_event(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    const char *event)
{
    echo_t  *echo = answer->exchange->own;

    ngx_claude_out(out, "event: %s\ndata: {\"event\":%ui,\"answer\":%ui",
                   event, echo->events++, answer->index);
}


static void
echo_begin(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    echo_event(answer, out, "begin");
    ngx_claude_out(out, ",\"id\":%J,\"model\":%J}\n\n", &answer->exchange->id,
                   &answer->exchange->model);
}


static void
echo_open(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    echo_event(answer, out, "open");
    ngx_claude_out(out, ",\"type\":\"%s\",\"name\":%Q}\n\n",
                   echo_types[block->type], &block->name);
}


static void
echo_delta(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block, u_char *p, size_t len)
{
    echo_event(answer, out, "delta");
    ngx_claude_out_literal(out, ",\"said\":");
    ngx_claude_out_string(out, p, len);
    ngx_claude_out_literal(out, "}\n\n");
}


static void
echo_block(ngx_claude_out_t *out, ngx_http_claude_answer_block_t *kept)
{
    ngx_claude_out(out, "\"type\":\"%s\",\"all\":\"",
                   echo_types[kept->block.type]);
    ngx_http_claude_document_write(&kept->said, out);
    ngx_claude_out_literal(out, "\"}");
}


static void
echo_close(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    echo_event(answer, out, "close");
    ngx_claude_out_literal(out, ",");
    echo_block(out, ngx_http_claude_answer_text_last(&answer->text));
    ngx_claude_out_literal(out, "\n\n");
}


static const char *
echo_reason(ngx_http_claude_answer_t *answer)
{
    return (answer->turn.answer.stop == NGX_CLAUDE_STOP_SEQUENCE) ? "until"
                                                                  : "end";
}


static void
echo_end(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    echo_event(answer, out, "end");
    ngx_claude_out(out, ",\"why\":\"%s\"}\n\n", echo_reason(answer));
}


static void
echo_finish(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_http_claude_exchange_sum(ex);
    ngx_claude_out(out, "event: finish\ndata: {\"tokens\":%uL}\n\n",
                   ex->turn.answer.usage.output);
}


static void
echo_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document)
{
    ngx_uint_t                       i, j;
    ngx_claude_out_t                *out;
    ngx_http_claude_answer_t        *answer;
    ngx_http_claude_answer_block_t  *kept;

    out = &document->out;

    ngx_claude_out(out, "{\"id\":%J,\"answers\":[", &ex->id);

    for (i = 0; i < ex->nanswers; i++) {
        answer = &ex->answers[i];
        kept = answer->text.blocks.elts;

        ngx_claude_out(out, "%s{\"why\":\"%s\",\"blocks\":[", i ? "," : "",
                       echo_reason(answer));

        for (j = 0; j < answer->text.blocks.nelts; j++) {
            ngx_claude_out(out, "%s{", j ? "," : "");
            echo_block(out, &kept[j]);
        }

        ngx_claude_out_literal(out, "]}");
    }

    ngx_http_claude_exchange_sum(ex);
    ngx_claude_out(out, "],\"tokens\":%uL}", ex->turn.answer.usage.output);
}


/* a provider that is overloaded has a status of its own */

static void
echo_failure(ngx_http_claude_error_t *error)
{
    if (error->fail == NGX_CLAUDE_FAIL_OVERLOADED) {
        error->status = 529;
    }

    if (error->fail == NGX_CLAUDE_FAILS) {
        ngx_str_set(&error->type, "refused");

    } else {
        ngx_str_set(&error->type, "failed");
    }
}


static void
echo_error(ngx_claude_out_t *out, ngx_http_claude_error_t *error)
{
    ngx_claude_out(out, "{\"wrong\":{\"type\":%J,\"status\":%ui,\"where\":%Q,"
                   "\"what\":%J},\"id\":%J}", &error->type, error->status,
                   &error->param, &error->message, &error->id);
}


static void
echo_failed(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_claude_out_literal(out, "event: wrong\ndata: ");
    echo_error(out, &ex->ctx->error);
    ngx_claude_out_literal(out, "\n\n");
}


static void
echo_beat(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_claude_out_literal(out, "event: beat\ndata: {}\n\n");
}


const ngx_http_claude_dialect_t  ngx_http_claude_echo = {
    .path = ngx_string("/echo"),
    .request_id = "echo-id",
    .failure = echo_failure,
    .error = echo_error,
    .id = "echo_",
    .size = sizeof(echo_t),
    .fields = echo_fields,
    .keeps = 1,
    .request = echo_request,
    .begin = echo_begin,
    .open = echo_open,
    .delta = echo_delta,
    .close = echo_close,
    .end = echo_end,
    .finish = echo_finish,
    .failed = echo_failed,
    .beat = echo_beat,
    .whole = echo_whole,
    .reason = echo_reason
};
