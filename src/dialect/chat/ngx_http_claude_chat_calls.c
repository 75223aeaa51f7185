
/*
 * The dialect of chat completions, reading: the calls of an assistant's
 * message, and the messages that are results.  Source: OpenAI's API
 * reference, "Chat", "tools".
 */


#include "ngx_http_claude_chat_calls.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_error.h"


#define CALLS_TOO_LONG  "is too long: it may have up to 65536 bytes"


static ngx_int_t calls_list(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *list);
static ngx_int_t calls_call(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *call);
static ngx_int_t calls_function(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *function, ngx_str_t *client);


#define calls_field  ngx_claude_json_field
#define calls_value  ngx_claude_json_value

#define calls_error(reader, member, message)                                  \
    ngx_http_claude_place_error(&(reader)->place, member, message)


ngx_int_t
ngx_http_claude_chat_calls_init(ngx_http_claude_chat_reader_t *reader)
{
    ngx_http_claude_exchange_t  *ex;

    ex = reader->ex;

    if (ngx_http_claude_calls_init(&reader->calls, &reader->place, &ex->turn,
                                   ex->ctx->scratch)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    reader->calls.slice = &ex->left;
    reader->calls.members[NGX_HTTP_CLAUDE_CALLS_ID] = "tool_call_id";
    reader->calls.members[NGX_HTTP_CLAUDE_CALLS_NAME] = "name";

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message)
{
    ngx_claude_json_t  *list, *call;

    if (reader->stage == 0) {
        reader->stage = 1;
        reader->caller = reader->message;
        ngx_http_claude_calls_begin(&reader->calls);
    }

    list = calls_field(message, "tool_calls");
    call = calls_field(message, "function_call");

    if (list && list->type != NGX_CLAUDE_JSON_ARRAY) {
        return calls_error(reader, "tool_calls", "must be an array");
    }

    if (list && ngx_claude_json_first(list)) {
        return calls_list(reader, list);
    }

    if (call == NULL) {
        return NGX_OK;
    }

    ngx_http_claude_place_in(&reader->place, "function_call");

    return calls_function(reader, call, NULL);
}


static ngx_int_t
calls_list(ngx_http_claude_chat_reader_t *reader, ngx_claude_json_t *list)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    ngx_http_claude_place_in(&reader->place, "tool_calls");

    if (reader->part == NULL) {
        reader->part = ngx_claude_json_first(list);
        reader->index = 0;
    }

    n = reader->place.n;

    while (reader->part) {

        if (reader->ex->left == 0) {
            return NGX_AGAIN;
        }

        reader->place.n = n;
        ngx_http_claude_place_at(&reader->place, reader->index);

        rc = calls_call(reader, reader->part);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_claude_exchange_spend(reader->ex,
                                 ngx_http_claude_chat_cost(reader->part));

        reader->part = ngx_claude_json_next(reader->part);
        reader->index++;
    }

    return NGX_OK;
}


static ngx_int_t
calls_call(ngx_http_claude_chat_reader_t *reader, ngx_claude_json_t *call)
{
    ngx_str_t           client;
    ngx_claude_json_t  *id;

    if (call->type != NGX_CLAUDE_JSON_OBJECT) {
        return calls_error(reader, NULL, "must be an object");
    }

    id = calls_field(call, "id");

    if (id == NULL || id->type != NGX_CLAUDE_JSON_STRING
        || ngx_claude_json_is(id, ""))
    {
        return calls_error(reader, "id", "must be a string");
    }

    client = calls_value(id);

    if (client.len > NGX_HTTP_CLAUDE_CALLS_LONGEST) {
        return calls_error(reader, "id", CALLS_TOO_LONG);
    }

    ngx_http_claude_place_in(&reader->place, "function");

    return calls_function(reader, calls_field(call, "function"), &client);
}


/* client: its id, NULL for a function_call, which has none */

static ngx_int_t
calls_function(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *function, ngx_str_t *client)
{
    ngx_int_t           rc;
    ngx_str_t           name, arguments;
    ngx_claude_json_t  *node;

    if (function == NULL || function->type != NGX_CLAUDE_JSON_OBJECT) {
        return calls_error(reader, NULL, "must be an object with \"name\" and "
                           "\"arguments\"");
    }

    rc = ngx_http_claude_calls_name(&reader->calls, "name",
                                    calls_field(function, "name"), &name);
    if (rc != NGX_OK) {
        return rc;
    }

    node = calls_field(function, "arguments");

    if (node && node->type != NGX_CLAUDE_JSON_STRING) {
        return calls_error(reader, "arguments", "must be a string, of JSON");
    }

    ngx_str_null(&arguments);

    if (node) {
        arguments = calls_value(node);
    }

    if (reader->call == NULL) {
        reader->call = ngx_http_claude_calls_use(&reader->calls, client,
                                                 &name);
        if (reader->call == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_claude_calls_input(&reader->calls, &arguments,
                                     &reader->call->text);
    if (rc == NGX_OK) {
        reader->call = NULL;
    }

    return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
}


ngx_int_t
ngx_http_claude_chat_result(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message, ngx_uint_t function)
{
    ngx_int_t            rc;
    ngx_str_t            s;
    ngx_uint_t           by;
    const char          *member;
    ngx_claude_json_t   *node;
    ngx_claude_block_t  *block;

    by = function ? NGX_HTTP_CLAUDE_CALLS_NAME : NGX_HTTP_CLAUDE_CALLS_ID;
    member = reader->calls.members[by];
    node = calls_field(message, member);

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return calls_error(reader, member, "is missing: it must be a string");
    }

    s = calls_value(node);

    if (s.len > NGX_HTTP_CLAUDE_CALLS_LONGEST) {
        return calls_error(reader, member, CALLS_TOO_LONG);
    }

    if (reader->stage == 0) {
        rc = ngx_http_claude_calls_result(&reader->calls, &s, by, &block);
        if (rc != NGX_OK) {
            return rc;
        }

        reader->stage = 1;
        reader->blocks = ngx_array_create(reader->ex->turn.pool, 1,
                                          sizeof(ngx_claude_block_t));
        if (reader->blocks == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->content = reader->blocks;
    }

    node = calls_field(message, "content");

    return node ? ngx_http_claude_chat_content(reader, node, reader->blocks)
                : NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls_done(ngx_http_claude_chat_reader_t *reader)
{
    u_char                    buf[NGX_HTTP_CLAUDE_PLACE_LEN];
    ngx_str_t                 id;
    ngx_uint_t                n;
    const char               *param;
    ngx_http_claude_place_t  *place;

    if (ngx_http_claude_calls_done(&reader->calls, &n, &id) == NGX_OK) {
        return NGX_OK;
    }

    place = &reader->place;

    place->n = 0;
    ngx_http_claude_place_in(place, "messages");
    ngx_http_claude_place_at(place, reader->caller);
    ngx_http_claude_place_in(place, "tool_calls");
    ngx_http_claude_place_at(place, n);

    param = ngx_http_claude_place_text(place, NULL, buf, sizeof(buf));

    return ngx_http_claude_error_400(place->ctx, param, "'%s' has no result: "
               "a message of role \"tool\" with the tool_call_id '%V' must "
               "follow.", param, &id);
}
