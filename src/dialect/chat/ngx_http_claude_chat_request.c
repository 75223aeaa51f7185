
/*
 * The dialect of chat completions, reading: a request's body to a turn.
 *
 * What is not known is ignored.  What is known and cannot be honoured is
 * refused by name, when to leave it out would change the answer's meaning;
 * what is but a hint is accepted.  What the CLI would repair silently (blank
 * texts, a conversation that does not begin and end with the user) is refused
 * here, since the model would answer something that nobody asked.
 */


#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_chat_content.h"
#include "ngx_http_claude_chat_tools.h"
#include "ngx_http_claude_chat_format.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_models.h"
#include "ngx_http_claude_session.h"
#include "ngx_claude_utf8.h"


#define REQUEST_STOPS    4
#define REQUEST_TOKENS   10000000


typedef ngx_http_claude_chat_place_t  request_place_t;


static ngx_int_t request_model(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_messages(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_message(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message);
static ngx_int_t request_content(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *content);
static ngx_uint_t request_calls(ngx_claude_json_t *message);
static ngx_uint_t request_empty(ngx_claude_json_t *content);
static ngx_int_t request_text(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_str_t *text);
static ngx_int_t request_part(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *part);
static ngx_int_t request_system(request_place_t *place);
static ngx_int_t request_system_join(request_place_t *place,
    ngx_str_t *system);
static ngx_int_t request_object(ngx_http_claude_chat_t *chat);
static ngx_int_t request_conversation(ngx_http_claude_chat_t *chat);
static ngx_int_t request_stream(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_limits(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_stop(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_stop_add(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *node);
static ngx_int_t request_sampling(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_effort(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
static ngx_int_t request_unsupported(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);


#define request_place_error  ngx_http_claude_chat_place_error
#define request_field        ngx_http_claude_chat_field
#define request_blank        ngx_claude_utf8_blank
#define request_is           ngx_claude_json_is
#define request_value        ngx_claude_json_value
#define request_first        ngx_claude_json_first
#define request_next         ngx_claude_json_next

#define request_error(chat, param, ...)                                       \
    ngx_http_claude_error((chat)->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,     \
                          __VA_ARGS__)


/*
 * What is read of a body.  A member that is missing here is never seen, so
 * that whoever reads one more adds it; t/fuzz compares with trees of all.
 */

static const ngx_claude_json_field_t  request_name[] = {
    { ngx_string("name"), NULL },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_call[] = {
    { ngx_string("name"), NULL },
    { ngx_string("arguments"), NULL },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_tool_call[] = {
    { ngx_string("id"), NULL },
    { ngx_string("function"), request_call },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_url[] = {
    { ngx_string("url"), NULL },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_file[] = {
    { ngx_string("file_data"), NULL },
    { ngx_string("file_id"), NULL },
    { ngx_string("filename"), NULL },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_parts[] = {
    { ngx_string("type"), NULL },
    { ngx_string("text"), NULL },
    { ngx_string("refusal"), NULL },
    { ngx_string("image_url"), request_url },
    { ngx_string("file"), request_file },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_message_fields[] = {
    { ngx_string("role"), NULL },
    { ngx_string("content"), request_parts },
    { ngx_string("name"), NULL },
    { ngx_string("tool_calls"), request_tool_call },
    { ngx_string("tool_call_id"), NULL },
    { ngx_string("function_call"), request_call },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_function[] = {
    { ngx_string("name"), NULL },
    { ngx_string("description"), NULL },
    { ngx_string("parameters"), ngx_claude_json_all },
    { ngx_string("strict"), NULL },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_tool[] = {
    { ngx_string("type"), NULL },
    { ngx_string("function"), request_function },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_choice[] = {
    { ngx_string("function"), request_name },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_json_schema[] = {
    { ngx_string("description"), NULL },
    { ngx_string("schema"), ngx_claude_json_all },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_format[] = {
    { ngx_string("type"), NULL },
    { ngx_string("json_schema"), request_json_schema },
    { ngx_null_string, NULL }
};

static const ngx_claude_json_field_t  request_options[] = {
    { ngx_string("include_usage"), NULL },
    { ngx_null_string, NULL }
};


/* of what is a list, the items, and nothing inside of them */

static const ngx_claude_json_field_t  request_items[] = {
    { ngx_null_string, NULL }
};


/* those of ngx_http_claude_chat_request_knobs() */

#define REQUEST_KNOBS                                                         \
    { ngx_string("model"), NULL },                                            \
    { ngx_string("stream"), NULL },                                           \
    { ngx_string("stream_options"), request_options },                        \
    { ngx_string("max_tokens"), NULL },                                       \
    { ngx_string("max_completion_tokens"), NULL },                            \
    { ngx_string("n"), NULL },                                                \
    { ngx_string("stop"), request_items },                                    \
    { ngx_string("temperature"), NULL },                                      \
    { ngx_string("top_p"), NULL },                                            \
    { ngx_string("logprobs"), NULL },                                         \
    { ngx_string("logit_bias"), NULL }


const ngx_claude_json_field_t  ngx_http_claude_chat_fields[] = {
    { ngx_string("messages"), request_message_fields },
    { ngx_string("tools"), request_tool },
    { ngx_string("tool_choice"), request_choice },
    { ngx_string("parallel_tool_calls"), NULL },
    { ngx_string("functions"), request_function },
    { ngx_string("function_call"), request_name },
    { ngx_string("response_format"), request_format },
    { ngx_string("reasoning_effort"), NULL },
    { ngx_string("modalities"), request_items },
    { ngx_string("top_logprobs"), NULL },
    { ngx_string("audio"), NULL },
    { ngx_string("web_search_options"), NULL },
    REQUEST_KNOBS,
    { ngx_null_string, NULL }
};


const ngx_claude_json_field_t  ngx_http_claude_completions_fields[] = {
    { ngx_string("prompt"), request_items },
    { ngx_string("echo"), NULL },
    { ngx_string("suffix"), NULL },
    { ngx_string("best_of"), NULL },
    REQUEST_KNOBS,
    { ngx_null_string, NULL }
};


ngx_int_t
ngx_http_claude_chat_request(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    ngx_int_t  rc;

    if (body->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_error(chat, NULL, "The request body must be an object "
                             "with \"model\" and \"messages\".");
    }

    if ((rc = ngx_http_claude_chat_request_knobs(chat, body)) != NGX_OK
        || (rc = request_unsupported(chat, body)) != NGX_OK
        || (rc = ngx_http_claude_chat_format(chat, body)) != NGX_OK
        || (rc = request_effort(chat, body)) != NGX_OK
        || (rc = ngx_http_claude_chat_tools(chat, body)) != NGX_OK
        || (rc = request_messages(chat, body)) != NGX_OK)
    {
        return rc;
    }

    if (chat->n > 1 && chat->turn.session.continues) {

        /* one process holds what came before */

        return request_error(chat, "n", "With 'n' the whole conversation must "
                             "be sent, not only what is new.");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_request_knobs(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    ngx_int_t  rc;

    if ((rc = request_model(chat, body)) != NGX_OK
        || (rc = request_stream(chat, body)) != NGX_OK
        || (rc = request_limits(chat, body)) != NGX_OK
        || (rc = request_stop(chat, body)) != NGX_OK
        || (rc = request_sampling(chat, body)) != NGX_OK)
    {
        return rc;
    }

    return NGX_OK;
}


static ngx_int_t
request_model(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_str_t                    model;
    ngx_http_request_t          *r;
    ngx_http_claude_ctx_t       *ctx;
    ngx_claude_json_t           *node;
    ngx_http_claude_loc_conf_t  *lcf;

    ctx = chat->ctx;
    r = ctx->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);
    node = request_field(body, "model");

    if (node == NULL) {
        if (ngx_http_complex_value(r, lcf->default_model, &chat->model)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (chat->model.len == 0) {
            ngx_str_set(&chat->model, "sonnet");
        }

    } else if (node->type != NGX_CLAUDE_JSON_STRING) {
        return request_error(chat, "model", "'model' must be a string.");

    } else {
        chat->model = request_value(node);
    }

    if (ngx_http_claude_models_find(r, &chat->model, &model) != NGX_OK) {
        ctx->error.final = 1;
        return ngx_http_claude_error(ctx, NGX_HTTP_NOT_FOUND,
                   "model_not_found", "model", "The model '%V' does not exist "
                   "or you do not have access to it.", &chat->model);
    }

    chat->turn.model = model;
    ctx->model = model;

    return NGX_OK;
}


static ngx_int_t
request_messages(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_int_t                      rc;
    request_place_t                place;
    ngx_claude_json_t             *messages, *message;
    ngx_http_claude_chat_calls_t   calls;

    messages = request_field(body, "messages");

    if (messages == NULL) {
        return request_error(chat, "messages",
                             "'messages' is missing: it must be an array with "
                             "at least one message.");
    }

    if (messages->type != NGX_CLAUDE_JSON_ARRAY
        || request_first(messages) == NULL)
    {
        return request_error(chat, "messages",
                             "'messages' must be an array with at least one "
                             "message.");
    }

    ngx_memzero(&place, sizeof(request_place_t));
    place.chat = chat;

    if (ngx_array_init(&place.system, chat->ctx->scratch, 2, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_http_claude_chat_calls_init(&calls, &place) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (message = request_first(messages);
         message;
         message = request_next(message))
    {
        place.part = -1;

        rc = request_message(&calls, message);
        if (rc != NGX_OK) {
            return rc;
        }

        place.message++;
    }

    rc = ngx_http_claude_chat_calls_done(&calls);
    if (rc != NGX_OK) {
        return rc;
    }

    if (chat->functions
        && ngx_http_claude_chat_calls_next(&calls, &chat->turn.call_id)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = request_system(&place);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = request_conversation(chat);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_claude_chat_calls_session(&calls);
}


static ngx_int_t
request_message(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message)
{
    ngx_int_t           rc;
    request_place_t    *place;
    ngx_claude_json_t  *role, *content;

    place = calls->place;

    if (message->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_place_error(place, "", "must be an object with "
                                   "\"role\" and \"content\"");
    }

    role = request_field(message, "role");
    content = request_field(message, "content");

    if (role == NULL || role->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".role", "is missing: it must be "
                                   "a string");
    }

    if (request_is(role, "tool") || request_is(role, "function")) {
        return ngx_http_claude_chat_call_result(calls, message,
                                               request_is(role, "function"));
    }

    if (request_is(role, "system") || request_is(role, "developer")) {
        return request_content(place, 1, NGX_CLAUDE_USER, content);
    }

    rc = ngx_http_claude_chat_calls_done(calls);
    if (rc != NGX_OK) {
        return rc;
    }

    if (request_is(role, "user")) {
        return request_content(place, 0, NGX_CLAUDE_USER, content);
    }

    if (!request_is(role, "assistant")) {
        return request_place_error(place, ".role", "must be one of system, "
                                   "developer, user, assistant, tool and "
                                   "function");
    }

    /* one that calls may have nothing to say */

    if (!request_calls(message) || !request_empty(content)) {
        rc = request_content(place, 0, NGX_CLAUDE_ASSISTANT, content);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_claude_chat_calls(calls, message);
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
    ngx_str_t  text;

    if (content == NULL) {
        return 1;
    }

    text = request_value(content);

    return (content->type == NGX_CLAUDE_JSON_STRING
            && request_blank(&text))
           || (content->type == NGX_CLAUDE_JSON_ARRAY
               && request_first(content) == NULL);
}


static ngx_int_t
request_content(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *content)
{
    ngx_int_t           rc;
    ngx_str_t           text;
    ngx_claude_json_t  *part;

    if (content == NULL) {
        return request_place_error(place, ".content", "is missing");
    }

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        text = request_value(content);
        return request_text(place, system, role, &text);
    }

    if (content->type != NGX_CLAUDE_JSON_ARRAY
        || request_first(content) == NULL)
    {
        return request_place_error(place, ".content", "must be a string or "
                                   "an array of parts");
    }

    place->part = 0;

    for (part = request_first(content); part; part = request_next(part)) {

        rc = request_part(place, system, role, part);
        if (rc != NGX_OK) {
            return rc;
        }

        place->part++;
    }

    return NGX_OK;
}


static ngx_int_t
request_part(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_claude_json_t *part)
{
    ngx_int_t            rc;
    ngx_str_t            value;
    ngx_claude_json_t   *type, *text;
    ngx_claude_block_t  *block, one;

    if (part->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_place_error(place, "", "must be an object");
    }

    type = request_field(part, "type");

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".type", "is missing: it must be "
                                   "a string");
    }

    if (!system && role == NGX_CLAUDE_USER) {

        ngx_memzero(&one, sizeof(ngx_claude_block_t));

        rc = ngx_http_claude_chat_part(place, part, &one);

        if (rc == NGX_OK) {
            block = ngx_claude_turn_add(&place->chat->turn, role,
                                        one.type);
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

    } else if (request_is(type, "refusal")
               && role == NGX_CLAUDE_ASSISTANT)
    {
        /* what the model said when it refused is what it said */

        text = request_field(part, "refusal");

    } else {
        return request_place_error(place, ".type", "names a kind of content "
                                   "that is not supported here");
    }

    if (text == NULL || text->type != NGX_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".text", "must be a string");
    }

    value = request_value(text);

    return request_text(place, system, role, &value);
}


static ngx_int_t
request_text(request_place_t *place, ngx_uint_t system,
    ngx_claude_role_e role, ngx_str_t *text)
{
    ngx_str_t           *one;
    ngx_claude_block_t  *block;

    if (!system) {

        if (request_blank(text)) {
            return request_place_error(place, (place->part == -1) ? ".content"
                                                                  : ".text",
                                       "is blank: it must have some text");
        }

        block = ngx_claude_turn_add(&place->chat->turn, role,
                                    NGX_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->text = *text;

        return NGX_OK;
    }

    if (request_blank(text)) {
        return NGX_OK;
    }

    one = ngx_array_push(&place->system);
    if (one == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *one = *text;

    return NGX_OK;
}


static ngx_int_t
request_system(request_place_t *place)
{
    ngx_int_t  rc;

    if (place->system.nelts) {

        if (request_system_join(place, &place->chat->turn.system) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        place->chat->turn.session.system = 1;

    } else {
        rc = ngx_http_claude_chat_request_system(place->chat);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return request_object(place->chat);
}


/* the texts of all system messages, with a blank line between two */

static ngx_int_t
request_system_join(request_place_t *place, ngx_str_t *system)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *text;
    ngx_uint_t   i;

    text = place->system.elts;

    if (place->system.nelts == 1) {
        *system = text[0];
        return NGX_OK;
    }

    len = 0;

    for (i = 0; i < place->system.nelts; i++) {
        len += text[i].len + 2;
    }

    p = ngx_pnalloc(place->chat->turn.pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    system->data = p;

    for (i = 0; i < place->system.nelts; i++) {

        if (i) {
            p = ngx_cpymem(p, "\n\n", 2);
        }

        p = ngx_cpymem(p, text[i].data, text[i].len);
    }

    system->len = p - system->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_request_system(ngx_http_claude_chat_t *chat)
{
    ngx_http_request_t          *r;
    ngx_http_claude_loc_conf_t  *lcf;

    r = chat->ctx->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_http_complex_value(r, lcf->system_prompt, &chat->turn.system)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the CLI takes no empty one, and would say that it is Claude Code */

    if (request_blank(&chat->turn.system)) {
        ngx_str_set(&chat->turn.system, "You are a helpful assistant.");
    }

    return NGX_OK;
}


/* the model is told of json_object in the system text, and nowhere else */

static ngx_int_t
request_object(ngx_http_claude_chat_t *chat)
{
    static ngx_str_t  words = ngx_string("Answer with one JSON object and "
                                         "nothing else: no text before or "
                                         "after it, no code fence.");

    return chat->object ? ngx_http_claude_chat_request_words(chat, &words)
                        : NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_request_words(ngx_http_claude_chat_t *chat,
    ngx_str_t *words)
{
    u_char     *p;
    ngx_str_t  *system;

    system = &chat->turn.system;

    p = ngx_pnalloc(chat->turn.pool, system->len + 2 + words->len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    system->len = ngx_sprintf(p, "%V\n\n%V", system, words) - p;
    system->data = p;

    return NGX_OK;
}


static ngx_int_t
request_conversation(ngx_http_claude_chat_t *chat)
{
    ngx_uint_t             n;
    ngx_claude_message_t  *message;

    message = chat->turn.messages.elts;
    n = chat->turn.messages.nelts;

    if (n == 0) {
        return request_error(chat, "messages", "'messages' must have a "
                             "message of the user.");
    }

    if (message[0].role != NGX_CLAUDE_USER) {
        return request_error(chat, "messages", "The first message after the "
                             "system's must be the user's.");
    }

    if (message[n - 1].role != NGX_CLAUDE_USER) {
        return request_error(chat, "messages", "The last message must be the "
                             "user's: the models do not continue a message "
                             "of their own.");
    }

    return ngx_http_claude_session(chat->ctx, &chat->turn, n > 1);
}


static ngx_int_t
request_stream(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_claude_json_t  *node, *options;

    node = request_field(body, "stream");

    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return request_error(chat, "stream", "'stream' must be a boolean.");
    }

    chat->streamed = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    options = request_field(body, "stream_options");

    if (options == NULL) {
        return NGX_OK;
    }

    if (options->type != NGX_CLAUDE_JSON_OBJECT) {
        return request_error(chat, "stream_options",
                             "'stream_options' must be an object.");
    }

    node = request_field(options, "include_usage");

    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return request_error(chat, "stream_options.include_usage",
                             "'stream_options.include_usage' must be a "
                             "boolean.");
    }

    chat->include_usage = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    return NGX_OK;
}


static ngx_int_t
request_limits(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_uint_t          i;
    ngx_claude_json_t  *node;

    /* of the two the newer name wins */

    static const char  *names[] = { "max_tokens", "max_completion_tokens" };

    for (i = 0; i < 2; i++) {
        node = request_field(body, names[i]);

        if (node
            && ngx_claude_json_integer(node, 1, REQUEST_TOKENS,
                                       &chat->turn.max_tokens)
               != NGX_OK)
        {
            return request_error(chat, names[i], "'%s' must be an integer of "
                                 "at least 1.", names[i]);
        }
    }

    node = request_field(body, "n");

    if (node
        && ngx_claude_json_integer(node, 1, NGX_HTTP_CLAUDE_CHAT_CHOICES,
                                   &chat->n)
           != NGX_OK)
    {
        return request_error(chat, "n", "'n' must be an integer from 1 to %d.",
                             NGX_HTTP_CLAUDE_CHAT_CHOICES);
    }

    return NGX_OK;
}


static ngx_int_t
request_stop(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *node;

    node = request_field(body, "stop");

    if (node == NULL) {
        return NGX_OK;
    }

    if (node->type != NGX_CLAUDE_JSON_ARRAY) {
        return request_stop_add(chat, node);
    }

    for (node = request_first(node); node; node = request_next(node)) {

        rc = request_stop_add(chat, node);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
request_stop_add(ngx_http_claude_chat_t *chat, ngx_claude_json_t *node)
{
    ngx_str_t  *stop, value;

    value = request_value(node);

    if (node->type != NGX_CLAUDE_JSON_STRING || value.len == 0
        || chat->turn.stops.nelts + chat->stops.nelts == REQUEST_STOPS)
    {
        return request_error(chat, "stop", "'stop' must be a string or an "
                             "array of up to 4 strings.");
    }

    /* the provider takes no blank ones */

    if (request_blank(&value)) {
        return (ngx_http_claude_chat_stops_add(chat, &value) == NGX_OK)
               ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    stop = ngx_array_push(&chat->turn.stops);
    if (stop == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *stop = value;

    return NGX_OK;
}


static ngx_int_t
request_sampling(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    double                       value;
    ngx_claude_json_t           *node;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(chat->ctx->request,
                                       ngx_http_claude_module);

    node = request_field(body, "temperature");

    if (node) {
        if (ngx_claude_json_double(node, 0, 2, &value) != NGX_OK) {
            return request_error(chat, "temperature",
                                 "'temperature' must be a number from 0 "
                                 "to 2.");
        }

        if (lcf->sampling) {

            if (value > 1) {
                return request_error(chat, "temperature",
                                     "The models take a 'temperature' from "
                                     "0 to 1.");
            }

            chat->turn.temperature = request_value(node);
        }
    }

    node = request_field(body, "top_p");

    if (node) {
        if (ngx_claude_json_double(node, 0, 1, &value) != NGX_OK) {
            return request_error(chat, "top_p",
                                 "'top_p' must be a number from 0 to 1.");
        }

        if (lcf->sampling) {
            chat->turn.top_p = request_value(node);
        }
    }

    return NGX_OK;
}


/*
 * Who asks for effort asks for reasoning, and gets to see it.  The models
 * cannot all be kept from thinking, so none of it is as little as there is.
 */

static ngx_int_t
request_effort(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_uint_t          i;
    ngx_claude_json_t  *node;

    static struct {
        const char                *name;
        ngx_claude_effort_e        effort;
        ngx_uint_t                 reasoning;
    } efforts[] = {
        { "none",    NGX_CLAUDE_EFFORT_LOW,    0 },
        { "minimal", NGX_CLAUDE_EFFORT_LOW,    0 },
        { "low",     NGX_CLAUDE_EFFORT_LOW,    1 },
        { "medium",  NGX_CLAUDE_EFFORT_MEDIUM, 1 },
        { "high",    NGX_CLAUDE_EFFORT_HIGH,   1 },
        { "xhigh",   NGX_CLAUDE_EFFORT_XHIGH,  1 },
        { "max",     NGX_CLAUDE_EFFORT_MAX,    1 },
        { NULL, 0, 0 }
    };

    node = request_field(body, "reasoning_effort");

    if (node == NULL) {
        return NGX_OK;
    }

    for (i = 0; efforts[i].name; i++) {
        if (request_is(node, efforts[i].name)) {
            break;
        }
    }

    if (efforts[i].name == NULL) {
        return request_error(chat, "reasoning_effort",
                             "'reasoning_effort' must be one of none, "
                             "minimal, low, medium, high, xhigh and max.");
    }

    chat->turn.effort = efforts[i].effort;
    chat->reasoning = efforts[i].reasoning;
    chat->turn.summarized = chat->reasoning
                  && ngx_http_claude_models_adaptive(&chat->turn.model);

    return NGX_OK;
}


/* what would change the answer's meaning, and cannot be done */

static ngx_int_t
request_unsupported(ngx_http_claude_chat_t *chat, ngx_claude_json_t *body)
{
    ngx_int_t           n;
    ngx_uint_t          i;
    ngx_claude_json_t  *node;

    /* neutral when they are empty, false or 0 */

    static const char  *names[] = {
        "logprobs", "top_logprobs", "logit_bias",
        "audio", "web_search_options", NULL
    };

    for (i = 0; names[i]; i++) {
        node = request_field(body, names[i]);

        if (node && node->type != NGX_CLAUDE_JSON_FALSE
            && (ngx_claude_json_holds(node)
                || (node->type != NGX_CLAUDE_JSON_ARRAY
                    && node->type != NGX_CLAUDE_JSON_OBJECT))
            && ngx_claude_json_integer(node, 0, 0, &n) != NGX_OK)
        {
            return request_error(chat, names[i],
                                 "'%s' is not supported.", names[i]);
        }
    }

    node = request_field(body, "modalities");

    if (node) {

        if (node->type != NGX_CLAUDE_JSON_ARRAY) {
            return request_error(chat, "modalities",
                                 "'modalities' must be an array.");
        }

        for (node = request_first(node); node; node = request_next(node)) {
            if (!request_is(node, "text")) {
                return request_error(chat, "modalities", "The only modality "
                                     "that is supported is \"text\".");
            }
        }
    }

    return NGX_OK;
}
