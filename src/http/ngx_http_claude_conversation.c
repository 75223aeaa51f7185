
/*
 * $claude_conversation.  See the header.
 *
 * The body is read once, as events that all dialects hear: there is no tree,
 * and what is hashed is written into the hash.  Of those that know the body as
 * theirs the first one counts; those of the address are before the others,
 * since the node in front knows no location of ours.
 */


#include "ngx_http_claude_conversation.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_hash.h"
#include "ngx_claude_json.h"
#include "ngx_claude_out.h"
#include "ngx_claude_utf8.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_dialect.h"


#define CONVERSATION_LEN   40

/* bytes of a body that are read, and of its texts that count */
#define CONVERSATION_READ  2097152
#define CONVERSATION_HASH  1048576

/* where the hash of a message goes on: the last word about its role counts */
#define FIRST_USER         0
#define FIRST_SYSTEM       1


typedef enum {
    FIRST_NAME_OTHER = 0,
    FIRST_NAME_LIST,
    FIRST_NAME_TEXT,
    FIRST_NAME_ROLE,
    FIRST_NAME_CONTENT
} first_name_e;

typedef enum {
    FIRST_ROLE_NONE = 0,
    FIRST_ROLE_USER,
    FIRST_ROLE_SYSTEM,
    FIRST_ROLE_OTHER
} first_role_e;


/* what a conversation begins with, while a body is read */
typedef struct {
    ngx_claude_out_t                  out;       /* a sink: into the hashes */
    u_char                            room[1 + NGX_CLAUDE_OUT_ROOM];
    const ngx_http_claude_opening_t  *opening;
    ngx_sha1_t                        sha1;      /* of all before the message
                                                    at hand */
    ngx_sha1_t                        as[2];     /* and with it */
    size_t                            left;      /* bytes that may count */
    ngx_uint_t                        depth;     /* of what is open */
    ngx_uint_t                        content;   /* depth that the content is
                                                    in; 0: in none */
    first_name_e                      name;      /* of the member at hand */
    first_role_e                      role;
    ngx_int_t                         rc;        /* what came of it, once it
                                                    is done */
    unsigned                          listed:1;  /* in the list of messages */
    unsigned                          comma:1;   /* one comes before the next
                                                    value */
    unsigned                          has_content:1;
    unsigned                          any:1;     /* something is hashed */
    unsigned                          done:1;    /* rc is set */
} first_t;


/* what dialects make of a body, the first one that knows it counts */
typedef struct {
    first_t                          *one;
    ngx_uint_t                        n;
} conversation_t;


static ngx_int_t conversation_hash(ngx_http_request_t *r, ngx_pool_t *pool,
    ngx_claude_hash_t *hash);
static ngx_uint_t conversation_speaks(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect);
static ngx_int_t conversation_dialects(ngx_http_request_t *r,
    ngx_pool_t *pool, conversation_t *conversation);
static ngx_int_t conversation_read(ngx_http_request_t *r,
    ngx_claude_json_reader_t *reader);
static ngx_int_t conversation_value(void *data, ngx_claude_json_type_e type,
    ngx_str_t *value);
static ngx_int_t conversation_open(void *data, ngx_claude_json_type_e type);
static ngx_int_t conversation_name(void *data, ngx_str_t *name);
static ngx_int_t conversation_close(void *data, ngx_claude_json_type_e type);
static ngx_int_t conversation_heard(conversation_t *conversation,
    first_t **known);

static ngx_int_t first_value(first_t *first, ngx_claude_json_type_e type,
    ngx_str_t *value);
static ngx_int_t first_open(first_t *first, ngx_claude_json_type_e type);
static ngx_int_t first_name(first_t *first, ngx_str_t *name);
static ngx_int_t first_close(first_t *first, ngx_claude_json_type_e type);
static ngx_int_t first_message(first_t *first);
static ngx_int_t first_done(first_t *first, ngx_int_t rc);
static void first_rest(first_t *first, ngx_claude_json_reader_t *reader,
    ngx_uint_t whole);
static void first_content(first_t *first);
static void first_content_end(first_t *first);
static ngx_int_t first_write(first_t *first, ngx_claude_json_type_e type,
    ngx_str_t *value);
static ngx_int_t first_string(first_t *first, ngx_str_t *s);
static void first_put(first_t *first, const void *p, size_t len);
static void first_room(ngx_claude_out_t *out, size_t least);


#define first_literal(first, text)  first_put(first, text, sizeof(text) - 1)


static const ngx_claude_json_events_t  conversation_events = {
    conversation_value,
    conversation_open,
    conversation_name,
    conversation_close
};


ngx_int_t
ngx_http_claude_conversation_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char             *p;
    ngx_int_t           rc;
    ngx_pool_t         *pool;
    ngx_claude_hash_t   hash;

    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    pool = ngx_create_pool(4096, r->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = conversation_hash(r, pool, &hash);

    ngx_destroy_pool(pool);

    if (rc == NGX_DECLINED) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, CONVERSATION_LEN);

    if (rc != NGX_OK || p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(p, hash.hash, sizeof(hash.hash));

    /* the body stays what it is */

    v->no_cacheable = 0;
    v->data = p;
    v->len = CONVERSATION_LEN;

    return NGX_OK;
}


static ngx_int_t
conversation_hash(ngx_http_request_t *r, ngx_pool_t *pool,
    ngx_claude_hash_t *hash)
{
    ngx_int_t                  rc;
    first_t                   *known;
    ngx_uint_t                 i;
    conversation_t             conversation;
    ngx_claude_json_reader_t  *reader;

    if (r->request_body == NULL || r->request_body->bufs == NULL
        || r->request_body->temp_file)
    {
        return NGX_DECLINED;
    }

    reader = ngx_claude_json_stream(pool, &conversation_events, &conversation);

    if (reader == NULL
        || conversation_dialects(r, pool, &conversation) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = conversation_read(r, reader);

    if (rc == NGX_OK) {

        /* all of it, and somebody has not had enough yet */

        (void) ngx_claude_json_end(reader);

        rc = ngx_claude_json_reason(reader)->len ? NGX_ERROR : NGX_OK;
    }

    if (rc == NGX_ERROR) {
        return NGX_DECLINED;
    }

    for (i = 0; i < conversation.n; i++) {
        first_rest(&conversation.one[i], reader, rc == NGX_OK);
    }

    (void) conversation_heard(&conversation, &known);

    if (known == NULL) {
        return NGX_DECLINED;
    }

    ngx_claude_hash_final(hash, &known->sha1);

    return NGX_OK;
}


static ngx_int_t
conversation_dialects(ngx_http_request_t *r, ngx_pool_t *pool,
    conversation_t *conversation)
{
    first_t                           *first;
    ngx_str_t                         *key;
    ngx_uint_t                         i, others;
    ngx_http_claude_main_conf_t       *mcf;
    const ngx_http_claude_dialect_t  **dialect;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    dialect = mcf->dialects.elts;

    conversation->n = 0;
    conversation->one = ngx_pcalloc(pool, ngx_max(mcf->dialects.nelts, 1)
                                          * sizeof(first_t));
    if (conversation->one == NULL) {
        return NGX_ERROR;
    }

    for (others = 0; others < 2; others++) {
        for (i = 0; i < mcf->dialects.nelts; i++) {

            if (dialect[i]->opening == NULL
                || conversation_speaks(r, dialect[i]) == others)
            {
                continue;
            }

            first = &conversation->one[conversation->n++];

            first->out.room = first_room;
            first->opening = dialect[i]->opening;
            first->left = CONVERSATION_HASH;

            ngx_sha1_init(&first->sha1);

            if (r->headers_in.authorization) {
                key = &r->headers_in.authorization->value;
                ngx_sha1_update(&first->sha1, key->data, key->len);
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
conversation_speaks(ngx_http_request_t *r,
    const ngx_http_claude_dialect_t *dialect)
{
    const ngx_str_t  *path;

    path = &dialect->path;

    return r->uri.len >= path->len
           && ngx_memcmp(r->uri.data + r->uri.len - path->len, path->data,
                         path->len)
              == 0;
}


/* NGX_OK; NGX_DONE; NGX_AGAIN: there is more; NGX_ERROR: it is no JSON */

static ngx_int_t
conversation_read(ngx_http_request_t *r, ngx_claude_json_reader_t *reader)
{
    size_t        n, left;
    u_char       *p;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    left = CONVERSATION_READ;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        /* a proxy that has sent it has moved pos, and start is not */

        if (b->start == NULL || b->last <= b->start) {
            continue;
        }

        for (p = b->start; p < b->last; p += n) {

            if (left == 0) {
                return NGX_AGAIN;
            }

            n = ngx_min(b->last - p, NGX_CLAUDE_JSON_SLICE);
            n = ngx_min(n, left);
            left -= n;

            rc = ngx_claude_json_read(reader, p, n);
            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
conversation_value(void *data, ngx_claude_json_type_e type, ngx_str_t *value)
{
    ngx_uint_t       i;
    conversation_t  *all = data;

    for (i = 0; i < all->n; i++) {
        if (!all->one[i].done) {
            (void) first_value(&all->one[i], type, value);
        }
    }

    return conversation_heard(all, NULL);
}


static ngx_int_t
conversation_open(void *data, ngx_claude_json_type_e type)
{
    ngx_uint_t       i;
    conversation_t  *all = data;

    for (i = 0; i < all->n; i++) {
        if (!all->one[i].done) {
            (void) first_open(&all->one[i], type);
        }
    }

    return conversation_heard(all, NULL);
}


static ngx_int_t
conversation_name(void *data, ngx_str_t *name)
{
    ngx_uint_t       i;
    conversation_t  *all = data;

    for (i = 0; i < all->n; i++) {
        if (!all->one[i].done) {
            (void) first_name(&all->one[i], name);
        }
    }

    return conversation_heard(all, NULL);
}


static ngx_int_t
conversation_close(void *data, ngx_claude_json_type_e type)
{
    ngx_uint_t       i;
    conversation_t  *all = data;

    for (i = 0; i < all->n; i++) {
        if (!all->one[i].done) {
            (void) first_close(&all->one[i], type);
        }
    }

    return conversation_heard(all, NULL);
}


/* NGX_DONE: it is known whose the body is, or that it is nobody's */

static ngx_int_t
conversation_heard(conversation_t *conversation, first_t **known)
{
    ngx_uint_t   i;
    first_t     *first;

    if (known) {
        *known = NULL;
    }

    for (i = 0; i < conversation->n; i++) {
        first = &conversation->one[i];

        if (!first->done) {
            return NGX_OK;
        }

        if (first->rc == NGX_OK) {

            if (known) {
                *known = first;
            }

            break;
        }
    }

    return NGX_DONE;
}


static ngx_int_t
first_value(first_t *first, ngx_claude_json_type_e type, ngx_str_t *value)
{
    first_name_e  name;

    if (first->content) {
        return first_write(first, type, value);
    }

    name = first->name;
    first->name = FIRST_NAME_OTHER;

    if (first->depth == 0 || name == FIRST_NAME_LIST
        || (first->listed && first->depth == 2))
    {
        return first_done(first, NGX_DECLINED);
    }

    if (name == FIRST_NAME_ROLE) {

        first->role = FIRST_ROLE_OTHER;

        if (type == NGX_CLAUDE_JSON_STRING) {

            if (ngx_claude_is(value, "user")) {
                first->role = FIRST_ROLE_USER;

            } else if (ngx_claude_is(value, "system")
                       || ngx_claude_is(value, "developer"))
            {
                first->role = FIRST_ROLE_SYSTEM;
            }
        }

        return NGX_OK;
    }

    if (name == FIRST_NAME_TEXT || name == FIRST_NAME_CONTENT) {

        first_content(first);

        if (first_write(first, type, value) != NGX_OK) {
            return NGX_DONE;
        }

        first_content_end(first);
    }

    return NGX_OK;
}


static ngx_int_t
first_open(first_t *first, ngx_claude_json_type_e type)
{
    first_name_e  name;

    name = first->name;
    first->name = FIRST_NAME_OTHER;

    if (first->depth == 0) {

        if (type != NGX_CLAUDE_JSON_OBJECT) {
            return first_done(first, NGX_DECLINED);
        }

    } else if (name == FIRST_NAME_LIST) {

        if (type != NGX_CLAUDE_JSON_ARRAY) {
            return first_done(first, NGX_DECLINED);
        }

        first->listed = 1;

    } else if (first->listed && first->depth == 2) {

        if (type != NGX_CLAUDE_JSON_OBJECT) {
            return first_done(first, NGX_DECLINED);
        }

        first->role = FIRST_ROLE_NONE;
        first->has_content = 0;

    } else if (name == FIRST_NAME_ROLE) {
        first->role = FIRST_ROLE_OTHER;

    } else if (name == FIRST_NAME_TEXT || name == FIRST_NAME_CONTENT) {
        first_content(first);
    }

    first->depth++;

    return first->content ? first_write(first, type, NULL) : NGX_OK;
}


static ngx_int_t
first_name(first_t *first, ngx_str_t *name)
{
    const ngx_http_claude_opening_t  *opening;

    if (first->content) {

        if (first->comma) {
            first_literal(first, ",");
        }

        if (first_string(first, name) != NGX_OK) {
            return NGX_DONE;
        }

        first_literal(first, ":");
        first->comma = 0;

        return NGX_OK;
    }

    opening = first->opening;
    first->name = FIRST_NAME_OTHER;

    if (first->listed && first->depth == 3) {

        if (ngx_claude_is(name, "role")) {
            first->name = FIRST_NAME_ROLE;

        } else if (ngx_claude_is(name, "content")) {
            first->name = FIRST_NAME_CONTENT;
        }

    } else if (first->depth == 1) {

        if (opening->unless && ngx_claude_is(name, opening->unless)) {
            return first_done(first, NGX_DECLINED);
        }

        if (opening->list && ngx_claude_is(name, opening->list)) {
            first->name = FIRST_NAME_LIST;

        } else if (opening->text && ngx_claude_is(name, opening->text)) {
            first->name = FIRST_NAME_TEXT;
        }
    }

    return NGX_OK;
}


static ngx_int_t
first_close(first_t *first, ngx_claude_json_type_e type)
{
    first->depth--;

    if (first->content) {

        if (type == NGX_CLAUDE_JSON_OBJECT) {
            first_literal(first, "}");

        } else {
            first_literal(first, "]");
        }

        first->comma = 1;

        if (first->depth == first->content) {
            first_content_end(first);
        }

        return NGX_OK;
    }

    if (!first->listed) {
        return NGX_OK;
    }

    /* without a word of the user it is no conversation */

    return (first->depth == 1) ? first_done(first, NGX_DECLINED)
           : (first->depth == 2) ? first_message(first) : NGX_OK;
}


/* later system messages come and go, those before the user stay */

static ngx_int_t
first_message(first_t *first)
{
    if (first->role == FIRST_ROLE_NONE || !first->has_content) {
        return first_done(first, NGX_DECLINED);
    }

    if (first->role == FIRST_ROLE_USER) {
        return first_done(first, NGX_OK);
    }

    if (first->role == FIRST_ROLE_SYSTEM) {
        first->sha1 = first->as[FIRST_SYSTEM];
    }

    return NGX_OK;
}


/* with what is hashed of the message at hand, if it counts */

static ngx_int_t
first_done(first_t *first, ngx_int_t rc)
{
    if (first->content) {
        first_room(&first->out, 0);
    }

    if (rc == NGX_OK && first->role != FIRST_ROLE_OTHER
        && (first->content || first->has_content))
    {
        first->sha1 = first->as[(first->role == FIRST_ROLE_SYSTEM)
                                ? FIRST_SYSTEM : FIRST_USER];
    }

    first->rc = rc;
    first->done = 1;

    return NGX_DONE;
}


/*
 * No more is read: whole: there is no more, and of messages no end was seen.
 * A string that has begun counts.
 */

static void
first_rest(first_t *first, ngx_claude_json_reader_t *reader, ngx_uint_t whole)
{
    ngx_str_t  text;

    if (first->done) {
        return;
    }

    text = ngx_claude_json_begun(reader);

    if (text.len && (first->name == FIRST_NAME_TEXT
                     || first->name == FIRST_NAME_CONTENT))
    {
        first_content(first);
    }

    if (!first->any || (whole && first->opening->text == NULL)) {
        (void) first_done(first, NGX_DECLINED);
        return;
    }

    if (first->content && text.len) {
        text.len = ngx_claude_utf8_whole(text.data,
                                         ngx_min(text.len, first->left));

        if (first->comma) {
            first_literal(first, ",");
        }

        first_literal(first, "\"");
        ngx_claude_out_escape(&first->out, text.data, text.len);
    }

    (void) first_done(first, NGX_OK);
}


/* the content of a message, or the text that stands for all of them */

static void
first_content(first_t *first)
{
    first->content = first->depth;
    first->comma = 0;
    first->any = 1;

    first->as[FIRST_USER] = first->sha1;
    first->as[FIRST_SYSTEM] = first->sha1;

    if (first->listed) {
        ngx_sha1_update(&first->as[FIRST_USER], "\0u", 2);
        ngx_sha1_update(&first->as[FIRST_SYSTEM], "\0s", 2);
    }

    first->out.last = first->room + 1;
    first->out.end = first->room + sizeof(first->room);
}


static void
first_content_end(first_t *first)
{
    first_room(&first->out, 0);

    first->content = 0;
    first->has_content = 1;
}


/* JSON without white space, as a tree is written; value: of no container */

static ngx_int_t
first_write(first_t *first, ngx_claude_json_type_e type, ngx_str_t *value)
{
    ngx_int_t  rc;

    rc = NGX_OK;

    if (first->comma) {
        first_literal(first, ",");
    }

    first->comma = 1;

    switch (type) {

    case NGX_CLAUDE_JSON_NULL:
        first_literal(first, "null");
        break;

    case NGX_CLAUDE_JSON_FALSE:
        first_literal(first, "false");
        break;

    case NGX_CLAUDE_JSON_TRUE:
        first_literal(first, "true");
        break;

    case NGX_CLAUDE_JSON_NUMBER:
        first_put(first, value->data, value->len);
        break;

    case NGX_CLAUDE_JSON_STRING:
        rc = first_string(first, value);
        break;

    case NGX_CLAUDE_JSON_ARRAY:
        first_literal(first, "[");
        first->comma = 0;
        break;

    case NGX_CLAUDE_JSON_OBJECT:
        first_literal(first, "{");
        first->comma = 0;
        break;
    }

    return (first->left || rc != NGX_OK) ? rc : first_done(first, NGX_OK);
}


static ngx_int_t
first_string(first_t *first, ngx_str_t *s)
{
    size_t  n;

    if (s->len < first->left) {
        first->left -= s->len;
        ngx_claude_out_string(&first->out, s->data, s->len);

        return NGX_OK;
    }

    n = ngx_claude_utf8_whole(s->data, first->left);

    first_literal(first, "\"");
    ngx_claude_out_escape(&first->out, s->data, n);

    return first_done(first, NGX_OK);
}


static void
first_put(first_t *first, const void *p, size_t len)
{
    first->left -= ngx_min(first->left, len);
    ngx_claude_out_write(&first->out, p, len);
}


/* the sink is emptied into the hashes */

static void
first_room(ngx_claude_out_t *out, size_t least)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;
    first_t     *first;

    first = (first_t *) out;

    p = first->room + 1;
    len = out->last ? out->last - p : 0;

    /* a text by itself is nobody's but the user's */

    for (i = FIRST_USER; len && i <= first->listed * FIRST_SYSTEM; i++) {
        ngx_sha1_update(&first->as[i], p, len);
    }

    out->last = p;
    out->end = first->room + sizeof(first->room);
}
