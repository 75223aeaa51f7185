
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
#include "ngx_http_claude_utf8.h"


#define REQUEST_STOPS    4
#define REQUEST_TOKENS   10000000


typedef ngx_http_claude_chat_place_t  request_place_t;


static ngx_int_t request_model(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_messages(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_message(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_json_t *message);
static ngx_int_t request_content(request_place_t *place, ngx_uint_t system,
    ngx_http_claude_role_e role, ngx_http_claude_json_t *content);
static ngx_uint_t request_calls(ngx_http_claude_json_t *message);
static ngx_uint_t request_empty(ngx_http_claude_json_t *content);
static ngx_int_t request_text(request_place_t *place, ngx_uint_t system,
    ngx_http_claude_role_e role, ngx_str_t *text);
static ngx_int_t request_part(request_place_t *place, ngx_uint_t system,
    ngx_http_claude_role_e role, ngx_http_claude_json_t *part);
static ngx_int_t request_system(request_place_t *place);
static ngx_int_t request_object(ngx_http_claude_chat_t *chat);
static ngx_int_t request_conversation(ngx_http_claude_chat_t *chat);
static ngx_int_t request_stream(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_limits(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_stop(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_str_t *request_stop_own(ngx_http_claude_chat_t *chat);
static ngx_int_t request_sampling(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_effort(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_int_t request_unsupported(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);
static ngx_uint_t request_is(ngx_http_claude_json_t *node, const char *text);


#define request_place_error  ngx_http_claude_chat_place_error
#define request_field        ngx_http_claude_chat_field
#define request_blank        ngx_http_claude_utf8_blank

#define request_error(chat, param, ...)                                       \
    ngx_http_claude_error((chat)->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,     \
                          __VA_ARGS__)


ngx_int_t
ngx_http_claude_chat_request(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body)
{
    ngx_int_t  rc;

    if (body->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
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

    if (chat->n > 1 && chat->turn.session.news) {

        /* one process holds what came before */

        return request_error(chat, "n", "With 'n' the whole conversation must "
                             "be sent, not only what is new.");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_request_knobs(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body)
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
request_model(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_str_t                    model;
    ngx_http_request_t          *r;
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_json_t      *node;
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

    } else if (node->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return request_error(chat, "model", "'model' must be a string.");

    } else {
        chat->model = node->value;
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
request_messages(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_int_t                      rc;
    request_place_t                place;
    ngx_http_claude_json_t        *messages, *message;
    ngx_http_claude_chat_calls_t   calls;

    messages = request_field(body, "messages");

    if (messages == NULL) {
        return request_error(chat, "messages",
                             "'messages' is missing: it must be an array with "
                             "at least one message.");
    }

    if (messages->type != NGX_HTTP_CLAUDE_JSON_ARRAY
        || messages->first == NULL)
    {
        return request_error(chat, "messages",
                             "'messages' must be an array with at least one "
                             "message.");
    }

    ngx_memzero(&place, sizeof(request_place_t));
    place.chat = chat;

    if (ngx_http_claude_chat_calls_init(&calls, &place) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (message = messages->first; message; message = message->next) {
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
    ngx_http_claude_json_t *message)
{
    ngx_int_t                rc;
    request_place_t         *place;
    ngx_http_claude_json_t  *role, *content;

    place = calls->place;

    if (message->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return request_place_error(place, "", "must be an object with "
                                   "\"role\" and \"content\"");
    }

    role = request_field(message, "role");
    content = request_field(message, "content");

    if (role == NULL || role->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".role", "is missing: it must be "
                                   "a string");
    }

    if (request_is(role, "tool") || request_is(role, "function")) {
        return ngx_http_claude_chat_call_result(calls, message,
                                               request_is(role, "function"));
    }

    if (request_is(role, "system") || request_is(role, "developer")) {
        return request_content(place, 1, NGX_HTTP_CLAUDE_USER, content);
    }

    rc = ngx_http_claude_chat_calls_done(calls);
    if (rc != NGX_OK) {
        return rc;
    }

    if (request_is(role, "user")) {
        return request_content(place, 0, NGX_HTTP_CLAUDE_USER, content);
    }

    if (!request_is(role, "assistant")) {
        return request_place_error(place, ".role", "must be one of system, "
                                   "developer, user, assistant, tool and "
                                   "function");
    }

    /* one that calls may have nothing to say */

    if (!request_calls(message) || !request_empty(content)) {
        rc = request_content(place, 0, NGX_HTTP_CLAUDE_ASSISTANT, content);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_claude_chat_calls(calls, message);
}


static ngx_uint_t
request_calls(ngx_http_claude_json_t *message)
{
    ngx_http_claude_json_t  *node;

    node = request_field(message, "tool_calls");

    return (node && node->first) || request_field(message, "function_call");
}


static ngx_uint_t
request_empty(ngx_http_claude_json_t *content)
{
    return content == NULL
           || (content->type == NGX_HTTP_CLAUDE_JSON_STRING
               && request_blank(&content->value))
           || (content->type == NGX_HTTP_CLAUDE_JSON_ARRAY
               && content->first == NULL);
}


static ngx_int_t
request_content(request_place_t *place, ngx_uint_t system,
    ngx_http_claude_role_e role, ngx_http_claude_json_t *content)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *part;

    if (content == NULL) {
        return request_place_error(place, ".content", "is missing");
    }

    if (content->type == NGX_HTTP_CLAUDE_JSON_STRING) {
        return request_text(place, system, role, &content->value);
    }

    if (content->type != NGX_HTTP_CLAUDE_JSON_ARRAY || content->first == NULL)
    {
        return request_place_error(place, ".content", "must be a string or "
                                   "an array of parts");
    }

    place->part = 0;

    for (part = content->first; part; part = part->next) {

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
    ngx_http_claude_role_e role, ngx_http_claude_json_t *part)
{
    ngx_int_t                 rc;
    ngx_http_claude_json_t   *type, *text;
    ngx_http_claude_block_t  *block, one;

    if (part->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return request_place_error(place, "", "must be an object");
    }

    type = request_field(part, "type");

    if (type == NULL || type->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".type", "is missing: it must be "
                                   "a string");
    }

    if (!system && role == NGX_HTTP_CLAUDE_USER) {

        ngx_memzero(&one, sizeof(ngx_http_claude_block_t));

        rc = ngx_http_claude_chat_part(place, part, &one);

        if (rc == NGX_OK) {
            block = ngx_http_claude_turn_add(&place->chat->turn, role,
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
               && role == NGX_HTTP_CLAUDE_ASSISTANT)
    {
        /* what the model said when it refused is what it said */

        text = request_field(part, "refusal");

    } else {
        return request_place_error(place, ".type", "names a kind of content "
                                   "that is not supported here");
    }

    if (text == NULL || text->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return request_place_error(place, ".text", "must be a string");
    }

    return request_text(place, system, role, &text->value);
}


static ngx_int_t
request_text(request_place_t *place, ngx_uint_t system,
    ngx_http_claude_role_e role, ngx_str_t *text)
{
    u_char                   *p;
    size_t                    len;
    ngx_str_t                *all;
    ngx_http_claude_block_t  *block;

    if (!system) {

        if (request_blank(text)) {
            return request_place_error(place, (place->part == -1) ? ".content"
                                                                  : ".text",
                                       "is blank: it must have some text");
        }

        block = ngx_http_claude_turn_add(&place->chat->turn, role,
                                         NGX_HTTP_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->text = *text;

        return NGX_OK;
    }

    if (request_blank(text)) {
        return NGX_OK;
    }

    all = &place->system;

    if (all->len == 0) {
        *all = *text;
        return NGX_OK;
    }

    len = all->len + 2 + text->len;

    p = ngx_pnalloc(place->chat->turn.pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(p, all->data, all->len);
    ngx_memcpy(p + all->len, "\n\n", 2);
    ngx_memcpy(p + all->len + 2, text->data, text->len);

    all->data = p;
    all->len = len;

    return NGX_OK;
}


static ngx_int_t
request_system(request_place_t *place)
{
    ngx_int_t  rc;

    if (place->system.len) {
        place->chat->turn.system = place->system;
        place->chat->turn.session.system = 1;

    } else {
        rc = ngx_http_claude_chat_request_system(place->chat);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return request_object(place->chat);
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
    ngx_uint_t                  n;
    ngx_http_claude_message_t  *message;

    message = chat->turn.messages.elts;
    n = chat->turn.messages.nelts;

    if (n == 0) {
        return request_error(chat, "messages", "'messages' must have a "
                             "message of the user.");
    }

    if (message[0].role != NGX_HTTP_CLAUDE_USER) {
        return request_error(chat, "messages", "The first message after the "
                             "system's must be the user's.");
    }

    if (message[n - 1].role != NGX_HTTP_CLAUDE_USER) {
        return request_error(chat, "messages", "The last message must be the "
                             "user's: the models do not continue a message "
                             "of their own.");
    }

    return ngx_http_claude_session(chat->ctx, &chat->turn, n > 1);
}


static ngx_int_t
request_stream(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_http_claude_json_t  *node, *options;

    node = request_field(body, "stream");

    if (node && node->type != NGX_HTTP_CLAUDE_JSON_TRUE
        && node->type != NGX_HTTP_CLAUDE_JSON_FALSE)
    {
        return request_error(chat, "stream", "'stream' must be a boolean.");
    }

    chat->streamed = (node && node->type == NGX_HTTP_CLAUDE_JSON_TRUE);

    options = request_field(body, "stream_options");

    if (options == NULL) {
        return NGX_OK;
    }

    if (options->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return request_error(chat, "stream_options",
                             "'stream_options' must be an object.");
    }

    node = request_field(options, "include_usage");

    if (node && node->type != NGX_HTTP_CLAUDE_JSON_TRUE
        && node->type != NGX_HTTP_CLAUDE_JSON_FALSE)
    {
        return request_error(chat, "stream_options.include_usage",
                             "'stream_options.include_usage' must be a "
                             "boolean.");
    }

    chat->include_usage = (node && node->type == NGX_HTTP_CLAUDE_JSON_TRUE);

    return NGX_OK;
}


static ngx_int_t
request_limits(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_uint_t               i;
    ngx_http_claude_json_t  *node;

    /* of the two the newer name wins */

    static const char  *names[] = { "max_tokens", "max_completion_tokens" };

    for (i = 0; i < 2; i++) {
        node = request_field(body, names[i]);

        if (node
            && ngx_http_claude_json_integer(node, 1, REQUEST_TOKENS,
                                            &chat->turn.max_tokens)
               != NGX_OK)
        {
            return request_error(chat, names[i], "'%s' must be an integer of "
                                 "at least 1.", names[i]);
        }
    }

    node = request_field(body, "n");

    if (node
        && ngx_http_claude_json_integer(node, 1, NGX_HTTP_CLAUDE_CHAT_CHOICES,
                                        &chat->n)
           != NGX_OK)
    {
        return request_error(chat, "n", "'n' must be an integer from 1 to %d.",
                             NGX_HTTP_CLAUDE_CHAT_CHOICES);
    }

    return NGX_OK;
}


static ngx_int_t
request_stop(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_str_t               *stop;
    ngx_http_claude_json_t  *node, one;

    node = request_field(body, "stop");

    if (node == NULL) {
        return NGX_OK;
    }

    if (node->type == NGX_HTTP_CLAUDE_JSON_STRING) {
        one = *node;
        one.next = NULL;
        node = &one;

    } else if (node->type == NGX_HTTP_CLAUDE_JSON_ARRAY) {
        node = node->first;

    } else {
        return request_error(chat, "stop", "'stop' must be a string or an "
                             "array of up to 4 strings.");
    }

    for ( /* void */ ; node; node = node->next) {

        if (node->type != NGX_HTTP_CLAUDE_JSON_STRING
            || node->value.len == 0
            || chat->turn.stops.nelts + chat->stops.nelts == REQUEST_STOPS)
        {
            return request_error(chat, "stop", "'stop' must be a string or an "
                                 "array of up to 4 strings.");
        }

        if (request_blank(&node->value)) {

            /* the provider takes none of these */

            stop = request_stop_own(chat);

        } else {
            stop = ngx_array_push(&chat->turn.stops);
        }

        if (stop == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *stop = node->value;
    }

    return NGX_OK;
}


static ngx_str_t *
request_stop_own(ngx_http_claude_chat_t *chat)
{
    if (chat->stops.elts == NULL
        && ngx_array_init(&chat->stops, chat->turn.pool, 2, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    return ngx_array_push(&chat->stops);
}


static ngx_int_t
request_sampling(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    double                       value;
    ngx_http_claude_json_t      *node;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(chat->ctx->request,
                                       ngx_http_claude_module);

    node = request_field(body, "temperature");

    if (node) {
        if (ngx_http_claude_json_double(node, 0, 2, &value) != NGX_OK) {
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

            chat->turn.temperature = node->value;
        }
    }

    node = request_field(body, "top_p");

    if (node) {
        if (ngx_http_claude_json_double(node, 0, 1, &value) != NGX_OK) {
            return request_error(chat, "top_p",
                                 "'top_p' must be a number from 0 to 1.");
        }

        if (lcf->sampling) {
            chat->turn.top_p = node->value;
        }
    }

    return NGX_OK;
}


/*
 * Who asks for effort asks for reasoning, and gets to see it.  The models
 * cannot all be kept from thinking, so none of it is as little as there is.
 */

static ngx_int_t
request_effort(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_uint_t               i;
    ngx_http_claude_json_t  *node;

    static struct {
        const char                *name;
        ngx_http_claude_effort_e   effort;
        ngx_uint_t                 reasoning;
    } efforts[] = {
        { "none",    NGX_HTTP_CLAUDE_EFFORT_LOW,    0 },
        { "minimal", NGX_HTTP_CLAUDE_EFFORT_LOW,    0 },
        { "low",     NGX_HTTP_CLAUDE_EFFORT_LOW,    1 },
        { "medium",  NGX_HTTP_CLAUDE_EFFORT_MEDIUM, 1 },
        { "high",    NGX_HTTP_CLAUDE_EFFORT_HIGH,   1 },
        { "xhigh",   NGX_HTTP_CLAUDE_EFFORT_XHIGH,  1 },
        { "max",     NGX_HTTP_CLAUDE_EFFORT_MAX,    1 },
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
request_unsupported(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body)
{
    ngx_int_t                n;
    ngx_uint_t               i;
    ngx_http_claude_json_t  *node;

    /* neutral when they are empty, false or 0 */

    static const char  *names[] = {
        "logprobs", "top_logprobs", "logit_bias",
        "audio", "web_search_options", NULL
    };

    for (i = 0; names[i]; i++) {
        node = request_field(body, names[i]);

        if (node && node->type != NGX_HTTP_CLAUDE_JSON_FALSE
            && (node->first
                || (node->type != NGX_HTTP_CLAUDE_JSON_ARRAY
                    && node->type != NGX_HTTP_CLAUDE_JSON_OBJECT))
            && ngx_http_claude_json_integer(node, 0, 0, &n) != NGX_OK)
        {
            return request_error(chat, names[i],
                                 "'%s' is not supported.", names[i]);
        }
    }

    node = request_field(body, "modalities");

    if (node) {

        if (node->type != NGX_HTTP_CLAUDE_JSON_ARRAY) {
            return request_error(chat, "modalities",
                                 "'modalities' must be an array.");
        }

        for (node = node->first; node; node = node->next) {
            if (!request_is(node, "text")) {
                return request_error(chat, "modalities", "The only modality "
                                     "that is supported is \"text\".");
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
request_is(ngx_http_claude_json_t *node, const char *text)
{
    return node->type == NGX_HTTP_CLAUDE_JSON_STRING
           && node->value.len == ngx_strlen(text)
           && ngx_memcmp(node->value.data, text, node->value.len) == 0;
}
