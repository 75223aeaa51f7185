
/*
 * The dialect of chat completions, reading: a request's body to a question.
 *
 * What is not known is ignored.  What is known and cannot be honoured is
 * refused by name, when to leave it out would change the answer's meaning;
 * what is but a hint is accepted.  What the CLI would repair silently (blank
 * texts, a conversation that does not begin and end with the user) is refused
 * here, since the model would answer something that nobody asked.
 */


#include "ngx_http_claude_chat_request.h"
#include "ngx_http_claude_chat_calls.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_chat_format.h"
#include "ngx_http_claude_chat_tools.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_params.h"


static ngx_int_t request_modalities(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_int_t request_messages(void *data, const char *name,
    ngx_claude_json_t *node);
static ngx_http_claude_chat_reader_t *request_reader(
    ngx_http_claude_exchange_t *ex, ngx_claude_json_t *list);
static ngx_int_t request_list(ngx_http_claude_chat_reader_t *reader);
static ngx_int_t request_message(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message);
static ngx_uint_t request_calls(ngx_claude_json_t *message);
static ngx_uint_t request_empty(ngx_claude_json_t *content);
static ngx_int_t request_content(ngx_http_claude_chat_reader_t *reader,
    ngx_uint_t system, ngx_claude_role_e role, ngx_claude_json_t *content);
static ngx_int_t request_parts(ngx_http_claude_chat_reader_t *reader,
    ngx_uint_t system, ngx_claude_role_e role, ngx_claude_json_t *content);
static ngx_int_t request_part(ngx_http_claude_chat_reader_t *reader,
    ngx_uint_t system, ngx_claude_role_e role, ngx_claude_json_t *part);
static ngx_int_t request_text(ngx_http_claude_chat_reader_t *reader,
    ngx_uint_t system, ngx_claude_role_e role, ngx_claude_json_t *text,
    const char *member);


#define request_field  ngx_claude_json_field
#define request_blank  ngx_claude_json_blank
#define request_is     ngx_claude_json_is
#define request_value  ngx_claude_json_value
#define request_first  ngx_claude_json_first
#define request_next   ngx_claude_json_next

#define request_place_error(reader, member, message)                          \
    ngx_http_claude_place_error(&(reader)->place, member, message)

#define request_error(ex, param, ...)                                         \
    ngx_http_claude_error_400((ex)->ctx, param, __VA_ARGS__)


/*
 * Members of a body that are read.  One that is missing here is never seen, so
 * that whoever reads one more adds it; t/fuzz compares with trees of all.
 */

static const ngx_claude_json_field_t  request_name[] = {
    { ngx_string("name"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_call_fields[] = {
    { ngx_string("name"), NULL, NULL },
    { ngx_string("arguments"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_tool_call[] = {
    { ngx_string("id"), NULL, NULL },
    { ngx_string("function"), request_call_fields, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_url[] = {
    { ngx_string("url"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_file[] = {
    { ngx_string("file_data"), NULL, NULL },
    { ngx_string("file_id"), NULL, NULL },
    { ngx_string("filename"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_part_fields[] = {
    { ngx_string("type"), NULL, NULL },
    { ngx_string("text"), NULL, NULL },
    { ngx_string("refusal"), NULL, NULL },
    { ngx_string("image_url"), request_url, NULL },
    { ngx_string("file"), request_file, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_message_fields[] = {
    { ngx_string("role"), NULL, NULL },
    { ngx_string("content"), request_part_fields, NULL },
    { ngx_string("name"), NULL, NULL },
    { ngx_string("tool_calls"), request_tool_call, NULL },
    { ngx_string("tool_call_id"), NULL, NULL },
    { ngx_string("function_call"), request_call_fields, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_function[] = {
    { ngx_string("name"), NULL, NULL },
    { ngx_string("description"), NULL, NULL },
    { ngx_string("parameters"), ngx_claude_json_all, NULL },
    { ngx_string("strict"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_tool[] = {
    { ngx_string("type"), NULL, NULL },
    { ngx_string("function"), request_function, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_choice[] = {
    { ngx_string("function"), request_name, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_json_schema[] = {
    { ngx_string("description"), NULL, NULL },
    { ngx_string("schema"), ngx_claude_json_all, NULL },
    { ngx_null_string, NULL, NULL }
};

static const ngx_claude_json_field_t  request_format[] = {
    { ngx_string("type"), NULL, NULL },
    { ngx_string("json_schema"), request_json_schema, NULL },
    { ngx_null_string, NULL, NULL }
};

const ngx_claude_json_field_t  ngx_http_claude_chat_options[] = {
    { ngx_string("include_usage"), NULL, NULL },
    { ngx_null_string, NULL, NULL }
};


const ngx_claude_json_field_t  ngx_http_claude_chat_fields[] = {

    NGX_HTTP_CLAUDE_CHAT_COMMON,

    { ngx_string("logprobs"), NULL, ngx_http_claude_params_none },
    { ngx_string("top_logprobs"), NULL, ngx_http_claude_params_none },
    { ngx_string("logit_bias"), NULL, ngx_http_claude_params_none },
    { ngx_string("audio"), NULL, ngx_http_claude_params_none },
    { ngx_string("web_search_options"), NULL, ngx_http_claude_params_none },
    { ngx_string("modalities"), ngx_claude_json_items, request_modalities },
    { ngx_string("response_format"), request_format,
      ngx_http_claude_chat_format },
    { ngx_string("reasoning_effort"), NULL, ngx_http_claude_params_effort },

    { ngx_string("tools"), request_tool, ngx_http_claude_chat_tools },
    { ngx_string("functions"), request_function,
      ngx_http_claude_params_other },
    { ngx_string("tool_choice"), request_choice,
      ngx_http_claude_params_other },
    { ngx_string("function_call"), request_name,
      ngx_http_claude_params_other },
    { ngx_string("parallel_tool_calls"), NULL, ngx_http_claude_params_other },

    { ngx_string("messages"), request_message_fields, request_messages },

    { ngx_string("verbosity"), ngx_claude_json_ignored, NULL },
    { ngx_string("seed"), ngx_claude_json_ignored, NULL },
    { ngx_string("user"), ngx_claude_json_ignored, NULL },
    { ngx_string("frequency_penalty"), ngx_claude_json_ignored, NULL },
    { ngx_string("presence_penalty"), ngx_claude_json_ignored, NULL },
    { ngx_string("metadata"), ngx_claude_json_ignored, NULL },
    { ngx_string("store"), ngx_claude_json_ignored, NULL },
    { ngx_string("service_tier"), ngx_claude_json_ignored, NULL },
    { ngx_string("prediction"), ngx_claude_json_ignored, NULL },

    { ngx_null_string, NULL, NULL }
};


ngx_int_t
ngx_http_claude_chat_stream_options(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t                rc;
    ngx_uint_t               usage;
    ngx_http_claude_chat_t  *chat;

    if (node == NULL) {
        return NGX_OK;
    }

    if (node->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_error(ex, name, "'%s' must be an object.", name);
    }

    rc = ngx_http_claude_params_flag(ex, "stream_options.include_usage",
                                     request_field(node, "include_usage"),
                                     &usage);

    chat = ex->own;
    chat->include_usage = (rc == NGX_OK && usage);

    return rc;
}


static ngx_int_t
request_modalities(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node == NULL) {
        return NGX_OK;
    }

    if (node->type != NGX_CLAUDE_JSON_ARRAY) {
        return request_error(ex, name, "'%s' must be an array.", name);
    }

    for (node = request_first(node); node; node = request_next(node)) {
        if (!request_is(node, "text")) {
            return request_error(ex, name, "The only modality that is "
                                 "supported is \"text\".");
        }
    }

    return NGX_OK;
}


static ngx_int_t
request_messages(void *data, const char *name, ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t                       rc;
    ngx_http_claude_chat_t         *chat;
    ngx_http_claude_chat_reader_t  *reader;

    if (node == NULL) {
        return request_error(ex, name, "'%s' is missing: it must be an array "
                             "with at least one message.", name);
    }

    if (node->type != NGX_CLAUDE_JSON_ARRAY || request_first(node) == NULL) {
        return request_error(ex, name, "'%s' must be an array with at least "
                             "one message.", name);
    }

    chat = ex->own;

    if (chat->reader == NULL) {
        chat->reader = request_reader(ex, node);
    }

    reader = chat->reader;

    if (reader == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!reader->listed) {
        rc = request_list(reader);
        if (rc != NGX_OK) {
            return rc;
        }

        reader->listed = 1;

        if (chat->functions
            && ngx_http_claude_calls_next(&reader->calls, &ex->turn.call_id)
               != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = ngx_http_claude_params_system(ex, &reader->system);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_claude_params_conversation(ex, name);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_claude_calls_session(&reader->calls);
}


/* NULL: no memory */

static ngx_http_claude_chat_reader_t *
request_reader(ngx_http_claude_exchange_t *ex, ngx_claude_json_t *list)
{
    ngx_http_claude_chat_reader_t  *reader;

    reader = ngx_pcalloc(ex->ctx->scratch,
                         sizeof(ngx_http_claude_chat_reader_t));
    if (reader == NULL) {
        return NULL;
    }

    reader->ex = ex;
    reader->next = request_first(list);
    reader->place.ctx = ex->ctx;
    reader->media.place = &reader->place;
    reader->media.pool = ex->turn.pool;
    reader->media.left = &ex->left;

    if (ngx_array_init(&reader->system, ex->ctx->scratch, 2, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_http_claude_chat_calls_init(reader) != NGX_OK)
    {
        return NULL;
    }

    return reader;
}


static ngx_int_t
request_list(ngx_http_claude_chat_reader_t *reader)
{
    ngx_int_t  rc;

    while (reader->next) {

        if (reader->ex->left == 0) {
            return NGX_AGAIN;
        }

        reader->place.n = 0;
        ngx_http_claude_place_in(&reader->place, "messages");
        ngx_http_claude_place_at(&reader->place, reader->message);

        rc = request_message(reader, reader->next);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_claude_exchange_spend(reader->ex,
                                 ngx_http_claude_chat_cost(reader->next));

        reader->next = request_next(reader->next);
        reader->message++;
        reader->stage = 0;
    }

    return ngx_http_claude_chat_calls_done(reader);
}


static ngx_int_t
request_message(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *message)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *role, *content;

    if (message->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_place_error(reader, NULL, "must be an object with "
                                   "\"role\" and \"content\"");
    }

    role = request_field(message, "role");
    content = request_field(message, "content");

    if (role == NULL || role->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(reader, "role", "is missing: it must be "
                                   "a string");
    }

    if (request_is(role, "tool") || request_is(role, "function")) {
        return ngx_http_claude_chat_result(reader, message,
                                           request_is(role, "function"));
    }

    if (request_is(role, "system") || request_is(role, "developer")) {
        return request_content(reader, 1, NGX_CLAUDE_USER, content);
    }

    rc = (reader->stage == 0) ? ngx_http_claude_chat_calls_done(reader)
                              : NGX_OK;
    if (rc != NGX_OK) {
        return rc;
    }

    if (request_is(role, "user")) {
        return request_content(reader, 0, NGX_CLAUDE_USER, content);
    }

    if (!request_is(role, "assistant")) {
        return request_place_error(reader, "role", "must be one of system, "
                                   "developer, user, assistant, tool and "
                                   "function");
    }

    /* a message that calls may have nothing to say */

    if (reader->stage == 0
        && (!request_calls(message) || !request_empty(content)))
    {
        rc = request_content(reader, 0, NGX_CLAUDE_ASSISTANT, content);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_claude_chat_calls(reader, message);
}


static ngx_uint_t
request_calls(ngx_claude_json_t *message)
{
    ngx_claude_json_t  *node;

    node = request_field(message, "tool_calls");

    return (node && ngx_claude_json_holds(node))
           || request_field(message, "function_call");
}


static ngx_uint_t
request_empty(ngx_claude_json_t *content)
{
    if (content == NULL) {
        return 1;
    }

    return (content->type == NGX_CLAUDE_JSON_STRING
            && request_blank(content))
           || (content->type == NGX_CLAUDE_JSON_ARRAY
               && request_first(content) == NULL);
}


static ngx_int_t
request_content(ngx_http_claude_chat_reader_t *reader, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *content)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    if (content == NULL) {
        return request_place_error(reader, "content", "is missing");
    }

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        return request_text(reader, system, role, content, "content");
    }

    if (content->type != NGX_CLAUDE_JSON_ARRAY
        || request_first(content) == NULL)
    {
        return request_place_error(reader, "content", "must be a string or "
                                   "an array of parts");
    }

    n = reader->place.n;

    rc = request_parts(reader, system, role, content);

    reader->place.n = n;

    return rc;
}


static ngx_int_t
request_parts(ngx_http_claude_chat_reader_t *reader, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *content)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    ngx_http_claude_place_in(&reader->place, "content");

    if (reader->part == NULL) {
        reader->part = request_first(content);
        reader->index = 0;
    }

    n = reader->place.n;

    while (reader->part) {

        if (reader->ex->left == 0) {
            return NGX_AGAIN;
        }

        reader->place.n = n;
        ngx_http_claude_place_at(&reader->place, reader->index);

        rc = request_part(reader, system, role, reader->part);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_claude_exchange_spend(reader->ex,
                                 ngx_http_claude_chat_cost(reader->part));

        reader->part = request_next(reader->part);
        reader->index++;
    }

    return NGX_OK;
}


static ngx_int_t
request_part(ngx_http_claude_chat_reader_t *reader, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *part)
{
    ngx_int_t            rc;
    ngx_claude_json_t   *type, *text;
    ngx_claude_block_t  *block, one;

    if (part->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_place_error(reader, NULL, "must be an object");
    }

    type = request_field(part, "type");

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(reader, "type", "is missing: it must be "
                                   "a string");
    }

    if (!system && role == NGX_CLAUDE_USER) {

        ngx_memzero(&one, sizeof(ngx_claude_block_t));

        rc = ngx_http_claude_chat_part(reader, part, &one);

        if (rc == NGX_OK) {
            block = ngx_claude_turn_add(&reader->ex->turn, role, one.type);
            if (block == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            *block = one;
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (request_is(type, "text")) {
        text = request_field(part, "text");

    } else if (request_is(type, "refusal") && role == NGX_CLAUDE_ASSISTANT) {

        /* a refusal is what the model said */

        text = request_field(part, "refusal");

    } else {
        return request_place_error(reader, "type", "names a kind of content "
                                   "that is not supported here");
    }

    if (text == NULL || text->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(reader, "text", "must be a string");
    }

    return request_text(reader, system, role, text, "text");
}


/* member: of the place, for errors */

static ngx_int_t
request_text(ngx_http_claude_chat_reader_t *reader, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *text, const char *member)
{
    ngx_str_t           *one;
    ngx_claude_block_t  *block;

    if (system) {

        if (request_blank(text)) {
            return NGX_OK;
        }

        one = ngx_array_push(&reader->system);
        if (one == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *one = request_value(text);

        return NGX_OK;
    }

    if (request_blank(text)) {
        return request_place_error(reader, member, "is blank: it must have "
                                   "some text");
    }

    block = ngx_claude_turn_add(&reader->ex->turn, role, NGX_CLAUDE_TEXT);
    if (block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    block->text = request_value(text);

    return NGX_OK;
}
