
/*
 * The calls and results of a conversation.  See the header.
 */


#include "ngx_http_claude_calls.h"
#include "ngx_claude_chain.h"
#include "ngx_claude_json_text.h"
#include "ngx_claude_utf8.h"

#include <ngx_sha1.h>


/* longer ids than this are rewritten, too */
#define CALLS_ID      128

#define CALLS_ID_NEW  (sizeof("toolu_") - 1 + 24)


/* the end of a list of calls */
#define CALLS_NONE    ((ngx_uint_t) -1)

/* bytes of arguments that are read at once, and written anew */
#define CALLS_SHORT   NGX_CLAUDE_CHAIN_CANONICAL

/* what a byte of them costs then, and when it is only read, see spend() */
#define CALLS_JSON    8
#define CALLS_READ    2

/* what it costs to find a place for a call in a table */
#define CALLS_KEY     128


/* a call that has or needs a result */
typedef struct {
    ngx_str_t    client;        /* id as the client has it, or none */
    ngx_str_t    id;            /* id as the model has it */
    ngx_str_t    name;
    ngx_uint_t   like[2];       /* next call of its id, of its name */
    ngx_uint_t   answered;
} calls_call_t;


/* the open calls that an id, or a name, could mean */
typedef struct {
    ngx_str_node_t  sn;
    ngx_uint_t      first;      /* call that may have no result yet, or NONE */
    ngx_uint_t      last;
} calls_key_t;


/* an id of a client's that was rewritten */
typedef struct {
    ngx_str_node_t  sn;
    ngx_uint_t      n;          /* how often so far */
} calls_again_t;


static ngx_int_t calls_input_short(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *input);
static ngx_int_t calls_input_check(ngx_http_claude_calls_t *calls,
    ngx_str_t *text);
static ngx_int_t calls_input_line(ngx_http_claude_calls_t *calls,
    ngx_str_t *text, ngx_str_t *input);
static ngx_int_t calls_input_wrap(ngx_http_claude_calls_t *calls,
    ngx_str_t *text, ngx_str_t *input);
static ngx_int_t calls_id(ngx_http_claude_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static ngx_int_t calls_id_add(ngx_http_claude_calls_t *calls,
    ngx_str_t *id);
static ngx_uint_t calls_id_valid(ngx_str_t *id);
static ngx_int_t calls_id_new(ngx_http_claude_calls_t *calls,
    ngx_str_t *client, ngx_str_t *id);
static calls_again_t *calls_id_again(ngx_http_claude_calls_t *calls,
    ngx_str_t *client);
static ngx_str_node_t *calls_id_seen(ngx_http_claude_calls_t *calls,
    ngx_str_t *id);
static ngx_int_t calls_result_block(ngx_http_claude_calls_t *calls,
    ngx_uint_t n, ngx_claude_block_t **block);
static ngx_int_t calls_orphan(ngx_http_claude_calls_t *calls,
    ngx_str_t *id, ngx_claude_block_t **block);
static ngx_int_t calls_find(ngx_http_claude_calls_t *calls,
    ngx_str_t *s, ngx_uint_t by, ngx_uint_t *n);
static ngx_int_t calls_keys(ngx_http_claude_calls_t *calls,
    ngx_uint_t by);
static void calls_close(ngx_http_claude_calls_t *calls);


#define calls_spend(calls, size)                                              \
    (*(calls)->slice -= ngx_min(*(calls)->slice, (size_t) (size)))

#define calls_error(calls, place, by, message)                                \
    ngx_http_claude_place_error(place, (calls)->members[by], message)


ngx_int_t
ngx_http_claude_calls_init(ngx_http_claude_calls_t *calls,
    ngx_http_claude_place_t *place, ngx_claude_turn_t *turn,
    ngx_pool_t *scratch)
{
    ngx_memzero(calls, sizeof(ngx_http_claude_calls_t));

    calls->place = place;
    calls->turn = turn;
    calls->scratch = scratch;

    ngx_rbtree_init(&calls->ids, &calls->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&calls->again, &calls->sentinel,
                    ngx_str_rbtree_insert_value);

    return ngx_array_init(&calls->open, scratch, 4, sizeof(calls_call_t));
}


void
ngx_http_claude_calls_begin(ngx_http_claude_calls_t *calls)
{
    calls_close(calls);
}


ngx_int_t
ngx_http_claude_calls_name(ngx_http_claude_calls_t *calls,
    const char *member, ngx_claude_json_t *node, ngx_str_t *name)
{
    ngx_str_null(name);

    if (node && node->type == NGX_CLAUDE_JSON_STRING) {
        *name = ngx_claude_json_value(node);
    }

    if (name->len > CALLS_ID || !calls_id_valid(name)) {
        return ngx_http_claude_place_error(calls->place, member, "must be a "
                                           "string of letters, digits, "
                                           "underscores and dashes");
    }

    return NGX_OK;
}


ngx_claude_block_t *
ngx_http_claude_calls_use(ngx_http_claude_calls_t *calls, ngx_str_t *id,
    ngx_str_t *name)
{
    calls_call_t        *call;
    ngx_claude_block_t  *block;

    call = ngx_array_push(&calls->open);
    block = ngx_claude_turn_add(calls->turn, NGX_CLAUDE_ASSISTANT,
                                NGX_CLAUDE_TOOL_USE);

    if (call == NULL || block == NULL) {
        return NULL;
    }

    ngx_memzero(call, sizeof(calls_call_t));

    if (id) {
        call->client = *id;
    }

    call->name = *name;

    if (calls_id(calls, id, &call->id) != NGX_OK) {
        return NULL;
    }

    block->name = *name;
    block->id = call->id;
    calls->left++;

    calls_spend(calls, CALLS_KEY + (id ? id->len : 0));

    return block;
}


/*
 * The Messages API has an object where OpenAI has a string.  What is no
 * object was the model's mistake once, and stays readable.
 */

ngx_int_t
ngx_http_claude_calls_input(ngx_http_claude_calls_t *calls, ngx_str_t *text,
    ngx_str_t *input)
{
    ngx_int_t                 rc;
    ngx_http_claude_input_t  *in;

    if (text->len == 0) {
        ngx_str_set(input, "{}");
        return NGX_OK;
    }

    if (text->len <= CALLS_SHORT) {
        calls_spend(calls, CALLS_JSON * text->len);

        return calls_input_short(calls->turn->pool, text, input);
    }

    in = &calls->input;
    rc = NGX_OK;

    switch (in->stage) {

    case NGX_HTTP_CLAUDE_INPUT_NEW:
        in->reader = ngx_claude_json_reader(calls->scratch, calls->scratch,
                                            NULL);
        if (in->reader == NULL) {
            return NGX_ERROR;
        }

        in->stage = NGX_HTTP_CLAUDE_INPUT_CHECK;
        in->offset = 0;

        /* fall through */

    case NGX_HTTP_CLAUDE_INPUT_CHECK:
        rc = calls_input_check(calls, text);
        break;

    default:
        break;
    }

    if (rc == NGX_OK) {
        rc = (in->stage == NGX_HTTP_CLAUDE_INPUT_LINE)
             ? calls_input_line(calls, text, input)
             : calls_input_wrap(calls, text, input);
    }

    if (rc == NGX_OK) {
        in->stage = NGX_HTTP_CLAUDE_INPUT_NEW;
    }

    return rc;
}


static ngx_int_t
calls_input_short(ngx_pool_t *pool, ngx_str_t *text, ngx_str_t *input)
{
    ngx_int_t           rc;
    ngx_pool_t         *scratch;
    ngx_claude_text_t   object;
    ngx_claude_json_t  *node;

    scratch = ngx_create_pool(4096, pool->log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    node = ngx_claude_json_parse(scratch, text);

    if (node && node->type == NGX_CLAUDE_JSON_OBJECT) {

        /* in one line, which a line of the CLI's has to be */

        rc = ngx_claude_json_text(pool, node, input);

    } else {
        rc = ngx_claude_text_init(&object, pool, sizeof("{\"arguments\":}")
                     + ngx_claude_json_escaped_len(text->data, text->len));

        if (rc == NGX_OK) {
            ngx_claude_out(ngx_claude_text_begin(&object),
                           "{\"arguments\":%J}", text);

            rc = ngx_claude_text_end(&object);

            input->data = object.data;
            input->len = object.len;
        }
    }

    ngx_destroy_pool(scratch);

    return rc;
}


/* sets the next stage: nothing of the value is kept */

static ngx_int_t
calls_input_check(ngx_http_claude_calls_t *calls, ngx_str_t *text)
{
    size_t                    n;
    ngx_int_t                 rc;
    ngx_claude_json_t        *node;
    ngx_http_claude_input_t  *in;

    in = &calls->input;
    rc = NGX_OK;

    while (rc == NGX_OK && in->offset < text->len) {

        if (*calls->slice == 0) {
            return NGX_AGAIN;
        }

        n = ngx_min(text->len - in->offset, NGX_CLAUDE_JSON_SLICE);
        rc = ngx_claude_json_read(in->reader, text->data + in->offset, n);

        in->offset += n;
        calls_spend(calls, CALLS_READ * n);
    }

    node = (rc == NGX_OK) ? ngx_claude_json_end(in->reader) : NULL;

    in->offset = 0;
    in->stage = (node && node->type == NGX_CLAUDE_JSON_OBJECT)
                ? NGX_HTTP_CLAUDE_INPUT_LINE : NGX_HTTP_CLAUDE_INPUT_WRAP;

    if (in->stage == NGX_HTTP_CLAUDE_INPUT_LINE) {
        return NGX_OK;
    }

    ngx_memzero(&in->text, sizeof(ngx_claude_text_t));
    in->text.pool = calls->turn->pool;

    return ngx_claude_text_literal(&in->text, "{\"arguments\":\"");
}


/* outside of strings a line feed is white space, and inside there is none */

static ngx_int_t
calls_input_line(ngx_http_claude_calls_t *calls, ngx_str_t *text,
    ngx_str_t *input)
{
    size_t                    n;
    u_char                   *p, *last;
    ngx_http_claude_input_t  *in;

    in = &calls->input;

    while (in->offset < text->len) {

        if (*calls->slice == 0) {
            return NGX_AGAIN;
        }

        n = ngx_min(text->len - in->offset, *calls->slice);
        p = text->data + in->offset;

        for (last = p + n; p < last; p++) {
            if (*p == LF || *p == CR) {
                *p = ' ';
            }
        }

        in->offset += n;
        calls_spend(calls, n);
    }

    *input = *text;

    return NGX_OK;
}


static ngx_int_t
calls_input_wrap(ngx_http_claude_calls_t *calls, ngx_str_t *text,
    ngx_str_t *input)
{
    size_t                    n;
    u_char                   *p;
    ngx_http_claude_input_t  *in;

    in = &calls->input;

    while (in->offset < text->len) {

        if (*calls->slice == 0) {
            return NGX_AGAIN;
        }

        n = text->len - in->offset;
        p = text->data + in->offset;

        if (n > NGX_CLAUDE_JSON_SLICE) {
            n = ngx_claude_utf8_whole(p, NGX_CLAUDE_JSON_SLICE);
        }

        ngx_claude_out_escape(ngx_claude_text_begin(&in->text), p, n);

        if (ngx_claude_text_end(&in->text) != NGX_OK) {
            return NGX_ERROR;
        }

        in->offset += n;
        calls_spend(calls, n);
    }

    if (ngx_claude_text_literal(&in->text, "\"}") != NGX_OK) {
        return NGX_ERROR;
    }

    input->data = in->text.data;
    input->len = in->text.len;

    return NGX_OK;
}


/* the id for the model: the client's if it can be, and one id only once */

static ngx_int_t
calls_id(ngx_http_claude_calls_t *calls, ngx_str_t *client,
    ngx_str_t *id)
{
    if (client == NULL) {

        if (ngx_http_claude_calls_next(calls, id) != NGX_OK) {
            return NGX_ERROR;
        }

        calls->nameless++;

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
calls_id_add(ngx_http_claude_calls_t *calls, ngx_str_t *id)
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
ngx_http_claude_calls_next(ngx_http_claude_calls_t *calls,
    ngx_str_t *id)
{
    u_char  *p;

    p = ngx_pnalloc(calls->turn->pool,
                    sizeof("toolu_fn") + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = ngx_sprintf(p, "toolu_fn%ui", calls->nameless) - p;

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
 * A new id for a call, made of the client's id and of how often that has come
 * already: a conversation that is sent again gets the same ids, so that it is
 * found again.
 */

static ngx_int_t
calls_id_new(ngx_http_claude_calls_t *calls, ngx_str_t *client,
    ngx_str_t *id)
{
    u_char             *p;
    ngx_sha1_t          sha1;
    calls_again_t      *again;
    ngx_claude_hash_t   hash;

    again = calls_id_again(calls, client);
    p = ngx_pnalloc(calls->turn->pool, CALLS_ID_NEW);

    if (again == NULL || p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = CALLS_ID_NEW;

    for ( ;; ) {

        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, client->data, client->len);
        ngx_sha1_update(&sha1, &again->n, sizeof(ngx_uint_t));
        ngx_claude_hash_final(&hash, &sha1);

        again->n++;

        p = ngx_cpymem(id->data, "toolu_", sizeof("toolu_") - 1);
        (void) ngx_hex_dump(p, hash.hash, 12);

        if (calls_id_seen(calls, id) == NULL) {
            return NGX_OK;
        }
    }
}


/* the count of an id; NULL: no memory */

static calls_again_t *
calls_id_again(ngx_http_claude_calls_t *calls, ngx_str_t *client)
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
calls_id_seen(ngx_http_claude_calls_t *calls, ngx_str_t *id)
{
    return ngx_str_rbtree_lookup(&calls->ids, id,
                                 ngx_crc32_long(id->data, id->len));
}


ngx_int_t
ngx_http_claude_calls_result(ngx_http_claude_calls_t *calls, ngx_str_t *s,
    ngx_uint_t by, ngx_claude_block_t **block)
{
    ngx_int_t      rc;
    ngx_uint_t     n;
    calls_call_t  *call;

    if (by == NGX_HTTP_CLAUDE_CALLS_ID
        && calls->turn->messages.nelts == calls->orphans)
    {
        return calls_orphan(calls, s, block);
    }

    n = 0;

    rc = calls_find(calls, s, by, &n);
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


/* a result that begins the conversation: the model knows its own ids */

static ngx_int_t
calls_orphan(ngx_http_claude_calls_t *calls, ngx_str_t *id,
    ngx_claude_block_t **block)
{
    if (calls->orphans == 0) {
        calls->orphans = 1;
        calls->orphan = *calls->place;
    }

    if (calls_id_seen(calls, id)) {
        return calls_error(calls, calls->place, NGX_HTTP_CLAUDE_CALLS_ID,
                           "has a result already");
    }

    if (calls_id_add(calls, id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *block = ngx_claude_turn_add(calls->turn, NGX_CLAUDE_USER,
                                 NGX_CLAUDE_TOOL_RESULT);
    if (*block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (*block)->id = *id;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_calls_session(ngx_http_claude_calls_t *calls)
{
    ngx_claude_turn_session_t  *session;

    session = &calls->turn->session;

    if (calls->orphans && !session->continues) {
        return calls_error(calls, &calls->orphan, NGX_HTTP_CLAUDE_CALLS_ID,
                           "is of no call in the assistant's message before");
    }

    session->results = (calls->orphans != 0);

    return NGX_OK;
}


static ngx_int_t
calls_find(ngx_http_claude_calls_t *calls, ngx_str_t *s,
    ngx_uint_t by, ngx_uint_t *n)
{
    ngx_int_t      rc;
    calls_key_t   *key;
    calls_call_t  *call;

    rc = calls_keys(calls, by);
    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    key = (calls_key_t *) ngx_str_rbtree_lookup(&calls->keys[by], s,
                                     ngx_crc32_long(s->data, s->len));

    call = calls->open.elts;

    /* results may name some calls in one way and some in the other */

    while (key && key->first != CALLS_NONE && call[key->first].answered) {
        key->first = call[key->first].like[by];
    }

    if (key && key->first != CALLS_NONE) {
        *n = key->first;
        return NGX_OK;
    }

    return calls_error(calls, calls->place, by,
               key ? "has a result already"
                   : "is of no call in the assistant's message before");
}


/* the table of the open calls, by their ids or by their names */

static ngx_int_t
calls_keys(ngx_http_claude_calls_t *calls, ngx_uint_t by)
{
    uint32_t       hash;
    ngx_str_t     *s;
    ngx_uint_t     i;
    calls_key_t   *key;
    calls_call_t  *call;

    if (calls->keyed[by] == 0) {
        ngx_rbtree_init(&calls->keys[by], &calls->sentinel,
                        ngx_str_rbtree_insert_value);
    }

    call = calls->open.elts;

    while (calls->keyed[by] < calls->open.nelts) {

        if (*calls->slice == 0) {
            return NGX_AGAIN;
        }

        i = calls->keyed[by]++;

        s = (by == NGX_HTTP_CLAUDE_CALLS_NAME) ? &call[i].name
                                               : &call[i].client;
        hash = ngx_crc32_long(s->data, s->len);

        key = (calls_key_t *) ngx_str_rbtree_lookup(&calls->keys[by], s,
                                                    hash);
        if (key) {
            call[key->last].like[by] = i;

        } else {
            key = ngx_palloc(calls->scratch, sizeof(calls_key_t));
            if (key == NULL) {
                return NGX_ERROR;
            }

            key->sn.str = *s;
            key->sn.node.key = hash;
            key->first = i;

            ngx_rbtree_insert(&calls->keys[by], &key->sn.node);
        }

        key->last = i;
        call[i].like[by] = CALLS_NONE;

        calls_spend(calls, CALLS_KEY + s->len);
    }

    return NGX_OK;
}


/* forgets the calls of the message before */

static void
calls_close(ngx_http_claude_calls_t *calls)
{
    calls->open.nelts = 0;
    calls->keyed[0] = 0;
    calls->keyed[1] = 0;
}


/* the blocks of all results, in the order of the calls, with the first one */

static ngx_int_t
calls_result_block(ngx_http_claude_calls_t *calls, ngx_uint_t n,
    ngx_claude_block_t **block)
{
    ngx_uint_t             i;
    calls_call_t          *call;
    ngx_claude_turn_t     *turn;
    ngx_claude_message_t  *message;

    turn = calls->turn;

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
ngx_http_claude_calls_done(ngx_http_claude_calls_t *calls, ngx_uint_t *n,
    ngx_str_t *id)
{
    ngx_uint_t     i;
    calls_call_t  *call;

    if (calls->left == 0) {
        calls_close(calls);
        return NGX_OK;
    }

    call = calls->open.elts;

    for (i = 0; call[i].answered; i++) { /* void */ }

    *n = i;
    *id = call[i].client;

    return NGX_DECLINED;
}
