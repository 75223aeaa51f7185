
/*
 * The calls and results of a conversation.  See ngx_http_claude_chat_tools.h.
 *
 * What the CLI would repair silently is refused: a call without its result, a
 * result without its call, a second result.
 */


#include "ngx_http_claude_chat_tools.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_error.h"

#include <ngx_sha1.h>


/* longer ids than this are rewritten, too */
#define CALLS_ID      128

#define CALLS_ID_NEW  (sizeof("toolu_") - 1 + 24)

#define CALLS_PARAM   (sizeof("messages[].tool_calls[].function.arguments")   \
                       + 2 * NGX_INT_T_LEN)


/* the end of a list of calls */
#define CALLS_NONE    ((ngx_uint_t) -1)


/* a call that has or needs a result */
typedef struct {
    ngx_str_t    client;        /* its id as the client has it, or none */
    ngx_str_t    id;            /* as the model has it */
    ngx_str_t    name;
    ngx_uint_t   like[2];       /* the next one of its id, of its name */
    ngx_uint_t   answered;
} calls_call_t;


/* the open calls that an id, or a name, could mean */
typedef struct {
    ngx_str_node_t  sn;
    ngx_uint_t      first;      /* that may have no result yet, or NONE */
    ngx_uint_t      last;
} calls_key_t;


/* an id of a client's that was rewritten */
typedef struct {
    ngx_str_node_t  sn;
    ngx_uint_t      n;          /* how often so far */
} calls_again_t;


static ngx_int_t calls_open(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *function, ngx_str_t *client, const char *field);
static ngx_int_t calls_input(ngx_pool_t *pool, ngx_str_t *arguments,
    ngx_str_t *input);
static ngx_int_t calls_id(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static ngx_int_t calls_id_add(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id);
static ngx_uint_t calls_id_valid(ngx_str_t *id);
static ngx_int_t calls_id_new(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static calls_again_t *calls_id_again(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *client);
static ngx_str_node_t *calls_id_seen(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id);
static ngx_int_t calls_result_id(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id, ngx_uint_t function, ngx_claude_block_t **block);
static ngx_int_t calls_result_block(ngx_http_claude_chat_calls_t *calls,
    ngx_uint_t n, ngx_claude_block_t **block);
static ngx_int_t calls_orphan(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *id, ngx_claude_block_t **block);
static ngx_int_t calls_find(ngx_http_claude_chat_calls_t *calls,
    ngx_str_t *name, ngx_uint_t function, ngx_uint_t *n);
static ngx_int_t calls_keys(ngx_http_claude_chat_calls_t *calls,
    ngx_uint_t function);
static void calls_close(ngx_http_claude_chat_calls_t *calls);


#define calls_field  ngx_http_claude_chat_field
#define calls_value  ngx_claude_json_value

#define calls_print(buf, ...)                                                 \
    ngx_claude_cstr_print(buf, CALLS_PARAM, __VA_ARGS__)


ngx_int_t
ngx_http_claude_chat_calls_init(ngx_http_claude_chat_calls_t *calls,
    ngx_http_claude_chat_place_t *place)
{
    ngx_memzero(calls, sizeof(ngx_http_claude_chat_calls_t));

    calls->place = place;

    ngx_rbtree_init(&calls->ids, &calls->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&calls->again, &calls->sentinel,
                    ngx_str_rbtree_insert_value);

    calls->scratch = place->chat->ctx->scratch;

    return ngx_array_init(&calls->open, calls->scratch, 4,
                          sizeof(calls_call_t));
}


ngx_int_t
ngx_http_claude_chat_calls(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message)
{
    u_char                         buf[CALLS_PARAM];
    ngx_int_t                      rc;
    ngx_str_t                      client;
    ngx_uint_t                     n;
    const char                    *field;
    ngx_claude_json_t             *list, *call, *id;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    place->part = -1;

    calls->message = place->message;
    calls_close(calls);

    list = calls_field(message, "tool_calls");
    call = calls_field(message, "function_call");

    if (list && list->type != NGX_CLAUDE_JSON_ARRAY) {
        return ngx_http_claude_chat_place_error(place, ".tool_calls",
                                                "must be an array");
    }

    if (list == NULL || ngx_claude_json_first(list) == NULL) {

        if (call == NULL) {
            return NGX_OK;
        }

        return calls_open(calls, call, NULL, ".function_call");
    }

    n = 0;

    for (call = ngx_claude_json_first(list);
         call;
         call = ngx_claude_json_next(call))
    {

        if (call->type != NGX_CLAUDE_JSON_OBJECT) {
            field = calls_print(buf, ".tool_calls[%ui]", n);

            return ngx_http_claude_chat_place_error(place, field,
                                                    "must be an object");
        }

        id = calls_field(call, "id");

        if (id == NULL || id->type != NGX_CLAUDE_JSON_STRING
            || ngx_claude_json_is(id, ""))
        {
            field = calls_print(buf, ".tool_calls[%ui].id", n);

            return ngx_http_claude_chat_place_error(place, field,
                                                    "must be a string");
        }

        field = calls_print(buf, ".tool_calls[%ui].function", n);

        client = calls_value(id);

        rc = calls_open(calls, calls_field(call, "function"), &client,
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
    ngx_claude_json_t *function, ngx_str_t *client, const char *field)
{
    u_char                         where[CALLS_PARAM];
    ngx_str_t                      value;
    calls_call_t                  *call;
    ngx_claude_json_t             *name, *arguments;
    ngx_claude_turn_t             *turn;
    ngx_claude_block_t            *block;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    turn = &place->chat->turn;

    if (function == NULL || function->type != NGX_CLAUDE_JSON_OBJECT) {
        return ngx_http_claude_chat_place_error(place, field,
                                   "must be an object with \"name\" and "
                                   "\"arguments\"");
    }

    name = calls_field(function, "name");

    if (name) {
        value = calls_value(name);
    }

    if (name == NULL || name->type != NGX_CLAUDE_JSON_STRING
        || value.len > CALLS_ID || !calls_id_valid(&value))
    {
        return ngx_http_claude_chat_place_error(place,
                                   calls_print(where, "%s.name", field),
                                   "must be a string of letters, digits, "
                                   "underscores and dashes");
    }

    arguments = calls_field(function, "arguments");

    if (arguments && arguments->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place,
                                   calls_print(where, "%s.arguments", field),
                                   "must be a string, of JSON");
    }

    call = ngx_array_push(&calls->open);
    block = ngx_claude_turn_add(turn, NGX_CLAUDE_ASSISTANT,
                                NGX_CLAUDE_TOOL_USE);

    if (call == NULL || block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(call, sizeof(calls_call_t));

    if (client) {
        call->client = *client;
    }

    call->name = value;
    block->name = value;

    ngx_str_null(&value);

    if (arguments) {
        value = calls_value(arguments);
    }

    if (calls_id(calls, client, &call->id) != NGX_OK
        || calls_input(turn->pool, &value, &block->text) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

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
    u_char             *p;
    ngx_int_t           rc;
    ngx_pool_t         *scratch;
    ngx_claude_json_t  *node;

    if (arguments->len == 0) {
        ngx_str_set(input, "{}");
        return NGX_OK;
    }

    scratch = ngx_create_pool(4096, pool->log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    node = ngx_claude_json_parse(scratch, arguments);

    if (node && node->type == NGX_CLAUDE_JSON_OBJECT) {

        /* in one line, which a line of the CLI's has to be */

        rc = ngx_claude_json_text(pool, node, input);

    } else {
        p = ngx_pnalloc(pool, sizeof("{\"arguments\":}")
                        + ngx_claude_json_escaped_len(arguments->data,
                                                      arguments->len));
        rc = p ? NGX_OK : NGX_ERROR;

        if (p) {
            input->data = p;
            p = ngx_cpymem(p, "{\"arguments\":",
                           sizeof("{\"arguments\":") - 1);
            p = ngx_claude_json_escape(p, arguments->data,
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

    node = ngx_palloc(calls->scratch, sizeof(ngx_str_node_t));
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
    u_char         *p, hash[20];
    ngx_sha1_t      sha1;
    calls_again_t  *again;

    again = calls_id_again(calls, client);
    p = ngx_pnalloc(calls->place->chat->turn.pool, CALLS_ID_NEW);

    if (again == NULL || p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = CALLS_ID_NEW;

    for ( ;; ) {

        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, client->data, client->len);
        ngx_sha1_update(&sha1, &again->n, sizeof(ngx_uint_t));
        ngx_sha1_final(hash, &sha1);

        again->n++;

        p = ngx_cpymem(id->data, "toolu_", sizeof("toolu_") - 1);
        (void) ngx_hex_dump(p, hash, 12);

        if (calls_id_seen(calls, id) == NULL) {
            return NGX_OK;
        }
    }
}


/* the count of an id; NULL: no memory */

static calls_again_t *
calls_id_again(ngx_http_claude_chat_calls_t *calls, ngx_str_t *client)
{
    uint32_t        hash;
    calls_again_t  *again;

    hash = ngx_crc32_long(client->data, client->len);

    again = (calls_again_t *) ngx_str_rbtree_lookup(&calls->again, client,
                                                    hash);
    if (again) {
        return again;
    }

    again = ngx_pcalloc(calls->scratch, sizeof(calls_again_t));

    if (again) {
        again->sn.str = *client;
        again->sn.node.key = hash;
        ngx_rbtree_insert(&calls->again, &again->sn.node);
    }

    return again;
}


static ngx_str_node_t *
calls_id_seen(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id)
{
    return ngx_str_rbtree_lookup(&calls->ids, id,
                                 ngx_crc32_long(id->data, id->len));
}


ngx_int_t
ngx_http_claude_chat_call_result(ngx_http_claude_chat_calls_t *calls,
    ngx_claude_json_t *message, ngx_uint_t function)
{
    ngx_int_t                      rc;
    ngx_str_t                      id;
    ngx_array_t                   *content;
    ngx_claude_json_t             *node;
    ngx_claude_block_t            *block;
    ngx_http_claude_chat_place_t  *place;

    place = calls->place;
    place->part = -1;

    node = function ? calls_field(message, "name")
                    : calls_field(message, "tool_call_id");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place,
                                   function ? ".name" : ".tool_call_id",
                                   "is missing: it must be a string");
    }

    id = calls_value(node);
    block = NULL;

    rc = calls_result_id(calls, &id, function, &block);
    if (rc != NGX_OK) {
        return rc;
    }

    content = ngx_array_create(place->chat->turn.pool, 1,
                               sizeof(ngx_claude_block_t));
    if (content == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    block->content = content;

    node = calls_field(message, "content");

    return node ? ngx_http_claude_chat_content(place, node, content) : NGX_OK;
}


/* the block of a result; an HTTP status, if there is no such call */

static ngx_int_t
calls_result_id(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id,
    ngx_uint_t function, ngx_claude_block_t **block)
{
    ngx_int_t      rc;
    ngx_uint_t     n;
    calls_call_t  *call;

    if (!function
        && calls->place->chat->turn.messages.nelts == calls->orphans)
    {
        return calls_orphan(calls, id, block);
    }

    n = 0;

    rc = calls_find(calls, id, function, &n);
    if (rc != NGX_OK) {
        return rc;
    }

    if (calls_result_block(calls, n, block) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call = (calls_call_t *) calls->open.elts + n;
    call->answered = 1;
    calls->left--;

    return NGX_OK;
}


/* what begins the conversation: the model knows its own ids */

static ngx_int_t
calls_orphan(ngx_http_claude_chat_calls_t *calls, ngx_str_t *id,
    ngx_claude_block_t **block)
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

    *block = ngx_claude_turn_add(&place->chat->turn, NGX_CLAUDE_USER,
                                      NGX_CLAUDE_TOOL_RESULT);
    if (*block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (*block)->id = *id;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_calls_session(ngx_http_claude_chat_calls_t *calls)
{
    ngx_http_claude_chat_place_t  *place;
    ngx_claude_turn_session_t     *session;

    place = calls->place;
    session = &place->chat->turn.session;

    if (calls->orphans && !session->continues) {
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
    calls_key_t   *key;
    calls_call_t  *call;

    if (!calls->keyed[function] && calls_keys(calls, function) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    key = (calls_key_t *) ngx_str_rbtree_lookup(&calls->keys[function], name,
                                     ngx_crc32_long(name->data, name->len));

    call = calls->open.elts;

    /* results may name some calls in one way and some in the other */

    while (key && key->first != CALLS_NONE && call[key->first].answered) {
        key->first = call[key->first].like[function];
    }

    if (key && key->first != CALLS_NONE) {
        *n = key->first;
        return NGX_OK;
    }

    return ngx_http_claude_chat_place_error(calls->place,
               function ? ".name" : ".tool_call_id",
               key ? "has a result already"
                   : "is of no call in the assistant's message before");
}


/* makes the table of the open calls, by their ids or by their names */

static ngx_int_t
calls_keys(ngx_http_claude_chat_calls_t *calls, ngx_uint_t function)
{
    uint32_t       hash;
    ngx_str_t     *s;
    ngx_uint_t     i;
    calls_key_t   *key;
    calls_call_t  *call;

    ngx_rbtree_init(&calls->keys[function], &calls->sentinel,
                    ngx_str_rbtree_insert_value);

    calls->keyed[function] = 1;
    call = calls->open.elts;

    for (i = 0; i < calls->open.nelts; i++) {

        s = function ? &call[i].name : &call[i].client;
        hash = ngx_crc32_long(s->data, s->len);

        key = (calls_key_t *) ngx_str_rbtree_lookup(&calls->keys[function], s,
                                                    hash);
        if (key) {
            call[key->last].like[function] = i;

        } else {
            key = ngx_palloc(calls->scratch, sizeof(calls_key_t));
            if (key == NULL) {
                return NGX_ERROR;
            }

            key->sn.str = *s;
            key->sn.node.key = hash;
            key->first = i;

            ngx_rbtree_insert(&calls->keys[function], &key->sn.node);
        }

        key->last = i;
        call[i].like[function] = CALLS_NONE;
    }

    return NGX_OK;
}


/* what was called before is over */

static void
calls_close(ngx_http_claude_chat_calls_t *calls)
{
    calls->open.nelts = 0;
    calls->keyed[0] = 0;
    calls->keyed[1] = 0;
}


/* the blocks of all results, in the order of the calls, with the first one */

static ngx_int_t
calls_result_block(ngx_http_claude_chat_calls_t *calls, ngx_uint_t n,
    ngx_claude_block_t **block)
{
    ngx_uint_t             i;
    calls_call_t          *call;
    ngx_claude_turn_t     *turn;
    ngx_claude_message_t  *message;

    turn = &calls->place->chat->turn;

    if (calls->left == calls->open.nelts) {

        call = calls->open.elts;

        for (i = 0; i < calls->open.nelts; i++) {

            *block = ngx_claude_turn_add(turn, NGX_CLAUDE_USER,
                                              NGX_CLAUDE_TOOL_RESULT);
            if (*block == NULL) {
                return NGX_ERROR;
            }

            (*block)->id = call[i].id;
        }
    }

    message = (ngx_claude_message_t *) turn->messages.elts
              + turn->messages.nelts - 1;

    *block = (ngx_claude_block_t *) message->blocks.elts + n;

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
        calls_close(calls);
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
