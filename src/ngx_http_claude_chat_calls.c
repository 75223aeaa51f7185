
/*
 * The calls and results of a conversation.  See ngx_http_claude_chat_tools.h.
 *
 * What the CLI would repair silently is refused: a call without its result, a
 * result without its call, a second result.
 */


#include "ngx_http_claude_chat_tools.h"
#include "ngx_http_claude_cstr.h"
#include "ngx_http_claude_error.h"

#include <ngx_sha1.h>


/* longer ids than this are rewritten, too */
#define CALLS_ID      128

#define CALLS_ID_NEW  (sizeof("toolu_") - 1 + 24)

#define CALLS_PARAM   (sizeof("messages[].tool_calls[].function.arguments")   \
                       + 2 * NGX_INT_T_LEN)


/* a call that has or needs a result */
typedef struct {
    ngx_str_t    client;        /* its id as the client has it, or none */
    ngx_str_t    id;            /* as the model has it */
    ngx_str_t    name;
    ngx_uint_t   answered;
} calls_call_t;


static ngx_int_t calls_open(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_json_t *function, ngx_str_t *client, const char *field);
static ngx_int_t calls_input(ngx_pool_t *pool, ngx_str_t *arguments,
    ngx_str_t *input);
static ngx_int_t calls_id(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static ngx_int_t calls_id_add(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id);
static ngx_uint_t calls_id_valid(ngx_str_t *id);
static ngx_int_t calls_id_new(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static ngx_str_node_t *calls_id_seen(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id);
static ngx_int_t calls_result_block(ngx_http_claude_chat_calls_t *calls,
    ngx_uint_t n, ngx_http_claude_block_t **block);
static ngx_int_t calls_orphan(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id, ngx_http_claude_block_t **block);
static ngx_int_t calls_find(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *name, ngx_uint_t function, ngx_uint_t *n);


#define calls_field  ngx_http_claude_chat_field

#define calls_print(buf, ...)                                                 \
    ngx_http_claude_cstr_print(buf, CALLS_PARAM, __VA_ARGS__)


ngx_int_t
ngx_http_claude_chat_calls_init(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_chat_place_t *place)
{
    ngx_memzero(calls, sizeof(ngx_http_claude_chat_calls_t));

    calls->place = place;

    ngx_rbtree_init(&calls->ids, &calls->sentinel,
                    ngx_str_rbtree_insert_value);

    return ngx_array_init(&calls->open, place->chat->turn.pool, 4,
                          sizeof(calls_call_t));
}


ngx_int_t
ngx_http_claude_chat_calls(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_json_t *message)
{
    u_char                         buf[CALLS_PARAM];
    ngx_int_t                      rc;
    ngx_uint_t                     n;
    const char                    *field;
    ngx_http_claude_json_t        *list, *call, *id;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    place->part = -1;

    calls->message = place->message;
    calls->open.nelts = 0;

    list = calls_field(message, "tool_calls");
    call = calls_field(message, "function_call");

    if (list && list->type != NGX_HTTP_CLAUDE_JSON_ARRAY) {
        return ngx_http_claude_chat_place_error(place, ".tool_calls",
                                                "must be an array");
    }

    if (list == NULL || list->first == NULL) {

        if (call == NULL) {
            return NGX_OK;
        }

        return calls_open(calls, call, NULL, ".function_call");
    }

    n = 0;

    for (call = list->first; call; call = call->next) {

        if (call->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
            field = calls_print(buf, ".tool_calls[%ui]", n);

            return ngx_http_claude_chat_place_error(place, field,
                                                    "must be an object");
        }

        id = calls_field(call, "id");

        if (id == NULL || id->type != NGX_HTTP_CLAUDE_JSON_STRING
            || id->value.len == 0)
        {
            field = calls_print(buf, ".tool_calls[%ui].id", n);

            return ngx_http_claude_chat_place_error(place, field,
                                                    "must be a string");
        }

        field = calls_print(buf, ".tool_calls[%ui].function", n);

        rc = calls_open(calls, calls_field(call, "function"), &id->value,
                        field);
        if (rc != NGX_OK) {
            return rc;
        }

        n++;
    }

    return NGX_OK;
}


/* client: its id, NULL for a function_call, which has none */

static ngx_int_t
calls_open(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_json_t *function, ngx_str_t *client, const char *field)
{
    u_char                         where[CALLS_PARAM];
    ngx_str_t                      empty;
    calls_call_t                  *call;
    ngx_http_claude_json_t        *name, *arguments;
    ngx_http_claude_turn_t        *turn;
    ngx_http_claude_block_t       *block;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    turn = &place->chat->turn;

    if (function == NULL || function->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return ngx_http_claude_chat_place_error(place, field,
                                   "must be an object with \"name\" and "
                                   "\"arguments\"");
    }

    name = calls_field(function, "name");

    if (name == NULL || name->type != NGX_HTTP_CLAUDE_JSON_STRING
        || name->value.len > CALLS_ID || !calls_id_valid(&name->value))
    {
        return ngx_http_claude_chat_place_error(place,
                                   calls_print(where, "%s.name", field),
                                   "must be a string of letters, digits, "
                                   "underscores and dashes");
    }

    arguments = calls_field(function, "arguments");

    if (arguments && arguments->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place,
                                   calls_print(where, "%s.arguments", field),
                                   "must be a string, of JSON");
    }

    call = ngx_array_push(&calls->open);
    block = ngx_http_claude_turn_add(turn, NGX_HTTP_CLAUDE_ASSISTANT,
                                     NGX_HTTP_CLAUDE_TOOL_USE);

    if (call == NULL || block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(call, sizeof(calls_call_t));

    if (client) {
        call->client = *client;
    }

    call->name = name->value;

    ngx_str_null(&empty);

    if (calls_id(calls, client, &call->id) != NGX_OK
        || calls_input(turn->pool, arguments ? &arguments->value : &empty,
                       &block->text)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    block->name = name->value;
    block->id = call->id;
    calls->left++;

    return NGX_OK;
}


/*
 * The Messages API has an object where OpenAI has a string.  What is no
 * object was the model's mistake once, and stays readable.
 */

static ngx_int_t
calls_input(ngx_pool_t *pool, ngx_str_t *arguments, ngx_str_t *input)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_pool_t              *scratch;
    ngx_http_claude_json_t  *node;

    if (arguments->len == 0) {
        ngx_str_set(input, "{}");
        return NGX_OK;
    }

    scratch = ngx_create_pool(4096, pool->log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    node = ngx_http_claude_json_parse(scratch, arguments);

    if (node && node->type == NGX_HTTP_CLAUDE_JSON_OBJECT) {

        /* in one line, which a line of the CLI's has to be */

        rc = ngx_http_claude_json_text(pool, node, input);

    } else {
        p = ngx_pnalloc(pool, sizeof("{\"arguments\":}")
                        + ngx_http_claude_json_escaped_max(arguments->len));
        rc = p ? NGX_OK : NGX_ERROR;

        if (p) {
            input->data = p;
            p = ngx_cpymem(p, "{\"arguments\":",
                           sizeof("{\"arguments\":") - 1);
            p = ngx_http_claude_json_escape(p, arguments->data,
                                            arguments->len);
            *p++ = '}';
            input->len = p - input->data;
        }
    }

    ngx_destroy_pool(scratch);

    return rc;
}


/* the id for the model: the client's if it can be, and one id only once */

static ngx_int_t
calls_id(ngx_http_claude_chat_calls_t *calls, ngx_str_t *client,
    ngx_str_t *id)
{
    if (client == NULL) {

        if (ngx_http_claude_chat_calls_next(calls, id) != NGX_OK) {
            return NGX_ERROR;
        }

        calls->functions++;

    } else if (client->len <= CALLS_ID && calls_id_valid(client)
               && calls_id_seen(calls, client) == NULL)
    {
        *id = *client;

    } else if (calls_id_new(calls, client, id) != NGX_OK) {
        return NGX_ERROR;
    }

    return calls_id_add(calls, id);
}


static ngx_int_t
calls_id_add(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id)
{
    ngx_str_node_t  *node;

    node = ngx_palloc(calls->place->chat->turn.pool, sizeof(ngx_str_node_t));
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->str = *id;
    node->node.key = ngx_crc32_long(id->data, id->len);
    ngx_rbtree_insert(&calls->ids, &node->node);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls_next(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id)
{
    u_char  *p;

    p = ngx_pnalloc(calls->place->chat->turn.pool,
                    sizeof("toolu_fn") + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = ngx_sprintf(p, "toolu_fn%ui", calls->functions) - p;

    return NGX_OK;
}


/* ^[a-zA-Z0-9_-]+$ */

static ngx_uint_t
calls_id_valid(ngx_str_t *id)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < id->len; i++) {
        ch = id->data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-'))
        {
            return 0;
        }
    }

    return id->len != 0;
}


/*
 * The same for the same conversation, so that it is found again: made of the
 * client's id and of how often that has come already.
 */

static ngx_int_t
calls_id_new(ngx_http_claude_chat_calls_t *calls, ngx_str_t *client,
    ngx_str_t *id)
{
    u_char      *p, hash[20];
    ngx_uint_t   n;
    ngx_sha1_t   sha1;

    p = ngx_pnalloc(calls->place->chat->turn.pool, CALLS_ID_NEW);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = CALLS_ID_NEW;

    for (n = 0; /* void */; n++) {

        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, client->data, client->len);
        ngx_sha1_update(&sha1, &n, sizeof(ngx_uint_t));
        ngx_sha1_final(hash, &sha1);

        p = ngx_cpymem(id->data, "toolu_", sizeof("toolu_") - 1);
        (void) ngx_hex_dump(p, hash, 12);

        if (calls_id_seen(calls, id) == NULL) {
            return NGX_OK;
        }
    }
}


static ngx_str_node_t *
calls_id_seen(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id)
{
    return ngx_str_rbtree_lookup(&calls->ids, id,
                                 ngx_crc32_long(id->data, id->len));
}


ngx_int_t
ngx_http_claude_chat_call_result(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_json_t *message, ngx_uint_t function)
{
    ngx_int_t                      rc;
    ngx_uint_t                     n;
    ngx_array_t                   *content;
    calls_call_t                  *call;
    ngx_http_claude_json_t        *node;
    ngx_http_claude_block_t       *block;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    place->part = -1;

    block = NULL;
    node = function ? calls_field(message, "name")
                    : calls_field(message, "tool_call_id");

    if (node == NULL || node->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place,
                                   function ? ".name" : ".tool_call_id",
                                   "is missing: it must be a string");
    }

    if (!function && place->chat->turn.messages.nelts == calls->orphans) {

        rc = calls_orphan(calls, &node->value, &block);
        if (rc != NGX_OK) {
            return rc;
        }

    } else {

        rc = calls_find(calls, &node->value, function, &n);
        if (rc != NGX_OK) {
            return rc;
        }

        if (calls_result_block(calls, n, &block) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        call = (calls_call_t *) calls->open.elts + n;
        call->answered = 1;
        calls->left--;
    }

    content = ngx_array_create(place->chat->turn.pool, 1,
                               sizeof(ngx_http_claude_block_t));
    if (content == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    block->content = content;

    node = calls_field(message, "content");

    return node ? ngx_http_claude_chat_content(place, node, content) : NGX_OK;
}


/* what begins the conversation: the model knows its own ids */

static ngx_int_t
calls_orphan(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id,
    ngx_http_claude_block_t **block)
{
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;

    if (calls->orphans == 0) {
        calls->orphans = 1;
        calls->orphan = place->message;
    }

    if (calls_id_seen(calls, id)) {
        return ngx_http_claude_chat_place_error(place, ".tool_call_id",
                                                "has a result already");
    }

    if (calls_id_add(calls, id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *block = ngx_http_claude_turn_add(&place->chat->turn, NGX_HTTP_CLAUDE_USER,
                                      NGX_HTTP_CLAUDE_TOOL_RESULT);
    if (*block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (*block)->id = *id;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls_session(ngx_http_claude_chat_calls_t *calls)
{
    ngx_http_claude_chat_place_t    *place;
    ngx_http_claude_turn_session_t  *session;

    place = calls->place;
    session = &place->chat->turn.session;

    if (calls->orphans && !session->news) {
        place->message = calls->orphan;
        place->part = -1;

        return ngx_http_claude_chat_place_error(place, ".tool_call_id",
                   "is of no call in the assistant's message before");
    }

    session->results = (calls->orphans != 0);

    return NGX_OK;
}


static ngx_int_t
calls_find(ngx_http_claude_chat_calls_t *calls, ngx_str_t *name,
    ngx_uint_t function, ngx_uint_t *n)
{
    ngx_str_t     *s;
    ngx_uint_t     i, seen;
    calls_call_t  *call;

    call = calls->open.elts;
    seen = 0;
    *n = 0;

    for (i = 0; i < calls->open.nelts; i++) {

        s = function ? &call[i].name : &call[i].client;

        if (s->len != name->len
            || ngx_memcmp(s->data, name->data, name->len) != 0)
        {
            continue;
        }

        if (!call[i].answered) {
            *n = i;
            return NGX_OK;
        }

        seen = 1;
    }

    return ngx_http_claude_chat_place_error(calls->place,
               function ? ".name" : ".tool_call_id",
               seen ? "has a result already"
                    : "is of no call in the assistant's message before");
}


/* the blocks of all results, in the order of the calls, with the first one */

static ngx_int_t
calls_result_block(ngx_http_claude_chat_calls_t *calls, ngx_uint_t n,
    ngx_http_claude_block_t **block)
{
    ngx_uint_t                  i;
    calls_call_t               *call;
    ngx_http_claude_turn_t     *turn;
    ngx_http_claude_message_t  *message;

    turn = &calls->place->chat->turn;

    if (calls->left == calls->open.nelts) {

        call = calls->open.elts;

        for (i = 0; i < calls->open.nelts; i++) {

            *block = ngx_http_claude_turn_add(turn, NGX_HTTP_CLAUDE_USER,
                                              NGX_HTTP_CLAUDE_TOOL_RESULT);
            if (*block == NULL) {
                return NGX_ERROR;
            }

            (*block)->id = call[i].id;
        }
    }

    message = (ngx_http_claude_message_t *) turn->messages.elts
              + turn->messages.nelts - 1;

    *block = (ngx_http_claude_block_t *) message->blocks.elts + n;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls_done(ngx_http_claude_chat_calls_t *calls)
{
    u_char         buf[CALLS_PARAM];
    ngx_uint_t     i;
    const char    *param;
    calls_call_t  *call;

    if (calls->left == 0) {
        calls->open.nelts = 0;
        return NGX_OK;
    }

    call = calls->open.elts;

    for (i = 0; call[i].answered; i++) { /* void */ }

    param = calls_print(buf, "messages[%ui].tool_calls[%ui]", calls->message,
                        i);

    return ngx_http_claude_error(calls->place->chat->ctx,
               NGX_HTTP_BAD_REQUEST, NULL, param, "'%s' has no "
               "result: a message of role \"tool\" with the tool_call_id '%V' "
               "must follow.", param, &call[i].client);
}
