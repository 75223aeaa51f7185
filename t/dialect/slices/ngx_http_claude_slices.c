
/*
 * What is in a dialect's table beside that which each of them needs.
 *
 *     {"say":["hi","there"],"n":2,"think":"low","stream":true}
 *
 * Each text of "say" is read in a slice of its own; with "forever" there is no
 * end of slices.
 */


#include "ngx_http_claude_slices.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_params.h"
#include "ngx_http_claude_place.h"


typedef struct {
    ngx_claude_json_t  *next;              /* text of "say" */
    ngx_uint_t          n;                 /* slices that were read */
    ngx_uint_t          events;            /* that were written */
    ngx_uint_t          forever;
} slices_t;


static ngx_int_t
slices_forever(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    slices_t  *slices = ex->own;

    return ngx_http_claude_params_flag(ex, name, node, &slices->forever);
}


static const ngx_claude_json_field_t  slices_fields[] = {
    { ngx_string("model"), NULL, ngx_http_claude_params_model },
    { ngx_string("stream"), NULL, ngx_http_claude_params_stream },
    { ngx_string("n"), NULL, ngx_http_claude_params_n },
    { ngx_string("think"), NULL, ngx_http_claude_params_effort },
    { ngx_string("forever"), NULL, slices_forever },
    { ngx_string("say"), ngx_claude_json_items, NULL },
    { ngx_null_string, NULL, NULL }
};


static ngx_int_t
slices_request(ngx_http_claude_exchange_t *ex, ngx_claude_json_t *body)
{
    slices_t  *slices = ex->own;

    ngx_int_t                 rc;
    ngx_claude_json_t        *say;
    ngx_claude_block_t       *block;
    ngx_http_claude_place_t   place;

    ngx_memzero(&place, sizeof(ngx_http_claude_place_t));
    place.ctx = ex->ctx;
    place.dots = 1;
    ngx_http_claude_place_in(&place, "say");

    if (slices->n == 0) {
        rc = ngx_http_claude_params(ex);
        if (rc != NGX_OK) {
            return rc;
        }

        say = ngx_claude_json_field(body, "say");
        slices->next = say ? ngx_claude_json_first(say) : NULL;

        if (slices->next == NULL) {
            return ngx_http_claude_place_error(&place, NULL, "is to be an "
                                               "array of texts");
        }
    }

    if (slices->forever) {
        slices->n++;
        return NGX_AGAIN;
    }

    if (slices->next) {
        ngx_http_claude_place_at(&place, slices->n++);

        if (slices->next->type != NGX_CLAUDE_JSON_STRING) {
            return ngx_http_claude_place_error(&place, NULL, "is no text");
        }

        block = ngx_claude_turn_add(&ex->turn, NGX_CLAUDE_USER,
                                    NGX_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->text = ngx_claude_json_value(slices->next);
        slices->next = ngx_claude_json_next(slices->next);

        return NGX_AGAIN;
    }

    rc = ngx_http_claude_params_system(ex, NULL);

    return (rc == NGX_OK) ? ngx_http_claude_params_conversation(ex, "say")
                          : rc;
}


static ngx_uint_t
slices_event(ngx_http_claude_exchange_t *ex)
{
    slices_t  *slices = ex->own;

    return slices->events++;
}


static void
slices_begin(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    ngx_http_claude_event(out, "begin", "\"event\":%ui,\"id\":%J,\"model\":%J",
                          slices_event(answer->exchange),
                          &answer->exchange->id, &answer->exchange->model);
}


static void
slices_open(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    ngx_http_claude_event(out, "open", "\"event\":%ui",
                          slices_event(answer->exchange));
}


static void
slices_delta(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block, ngx_str_t *piece)
{
    ngx_http_claude_event(out, "delta", "\"event\":%ui",
                          slices_event(answer->exchange));
}


/* an event with a document in it is written in pieces */

static void
slices_close(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out,
    ngx_claude_block_t *block)
{
    ngx_http_claude_answer_block_t  *kept;

    kept = ngx_http_claude_answer_text_last(&answer->text);

    ngx_claude_out(out, "event: close\ndata: {\"event\":%ui,\"all\":\"",
                   slices_event(answer->exchange));
    ngx_http_claude_document_write(&kept->said, out);
    ngx_claude_out_literal(out, "\"}\n\n");
}


static const char *
slices_reason(ngx_http_claude_answer_t *answer)
{
    return "end";
}


static void
slices_end(ngx_http_claude_answer_t *answer, ngx_claude_out_t *out)
{
    ngx_http_claude_event(out, "end", "\"event\":%ui",
                          slices_event(answer->exchange));
}


static void
slices_finish(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_http_claude_event(out, "finish", "\"event\":%ui,\"tokens\":%uL",
                          slices_event(ex),
                          ngx_http_claude_exchange_sum(ex)->output);
}


static void
slices_whole(ngx_http_claude_exchange_t *ex,
    ngx_http_claude_document_t *document)
{
    ngx_claude_out(&document->out, "{\"id\":%J}", &ex->id);
}


/* a provider that is overloaded has a status of its own */

static void
slices_failure(ngx_http_claude_error_t *error)
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
slices_error(ngx_claude_out_t *out, ngx_http_claude_error_t *error)
{
    ngx_claude_out(out, "{\"wrong\":{\"type\":%J,\"status\":%ui,\"where\":%Q,"
                   "\"what\":%J},\"id\":%J}", &error->type, error->status,
                   &error->param, &error->message, &error->id);
}


static void
slices_failed(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_claude_out_literal(out, "event: wrong\ndata: ");
    slices_error(out, &ex->ctx->error);
    ngx_claude_out_literal(out, "\n\n");
}


static void
slices_beat(ngx_http_claude_exchange_t *ex, ngx_claude_out_t *out)
{
    ngx_claude_out_literal(out, "event: beat\ndata: {}\n\n");
}


const ngx_http_claude_dialect_t  ngx_http_claude_slices = {
    .path = ngx_string("/slices"),
    .request_id = "slices-id",
    .failure = slices_failure,
    .error = slices_error,
    .id = "slices_",
    .size = sizeof(slices_t),
    .members = "\"say\"",
    .fields = slices_fields,
    .keeps = 1,
    .request = slices_request,
    .begin = slices_begin,
    .open = slices_open,
    .delta = slices_delta,
    .close = slices_close,
    .end = slices_end,
    .finish = slices_finish,
    .failed = slices_failed,
    .beat = slices_beat,
    .whole = slices_whole,
    .reason = slices_reason
};
