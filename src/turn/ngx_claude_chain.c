
/*
 * The chain of a conversation.  See the header.
 */


#include "ngx_claude_chain.h"
#include "ngx_claude_json.h"


/* tags before each message and block, which else could run into each other */
#define CHAIN_USER       "\0u"
#define CHAIN_ASSISTANT  "\0a"
#define CHAIN_TEXT       "\0t"
#define CHAIN_CALL       "\0c"


static void chain_root(ngx_claude_turn_t *turn, ngx_claude_link_t *root);
static ngx_int_t chain_messages(ngx_claude_turn_t *turn,
    ngx_claude_link_t *links);
static ngx_int_t chain_assistant(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_claude_message_t *message);
static ngx_int_t chain_calls(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_claude_block_t *block, ngx_uint_t n);
static void chain_user(ngx_sha1_t *sha1, ngx_array_t *blocks);
static ngx_int_t chain_call(ngx_sha1_t *sha1, ngx_pool_t *pool, ngx_str_t *id,
    ngx_str_t *name, ngx_str_t *input);
static void chain_string(ngx_sha1_t *sha1, ngx_str_t *s);
static size_t chain_trimmed(u_char *p, size_t len);


#define chain_space(ch)                                                       \
    ((ch) == ' ' || ((ch) >= '\t' && (ch) <= '\r'))


ngx_claude_link_t *
ngx_claude_chain(ngx_claude_turn_t *turn)
{
    ngx_claude_link_t  *links;

    links = ngx_palloc(turn->pool, (turn->messages.nelts + 1)
                                   * sizeof(ngx_claude_link_t));
    if (links == NULL) {
        return NULL;
    }

    chain_root(turn, &links[0]);

    if (chain_messages(turn, links) != NGX_OK) {
        return NULL;
    }

    return links;
}


ngx_int_t
ngx_claude_chain_follow(ngx_claude_turn_t *turn,
    ngx_claude_link_t *before)
{
    ngx_claude_link_t  *links;

    links = turn->links;

    if (before) {
        links[0] = *before;

    } else {
        chain_root(turn, &links[0]);
    }

    return chain_messages(turn, links);
}


/* makes links[1] and those behind it; links[0] is there */

static ngx_int_t
chain_messages(ngx_claude_turn_t *turn, ngx_claude_link_t *links)
{
    ngx_uint_t                    i;
    ngx_sha1_t                    sha1;
    ngx_claude_message_t         *message;

    message = turn->messages.elts;

    for (i = 0; i < turn->messages.nelts; i++) {

        ngx_sha1_init(&sha1);
        ngx_claude_hash_add(&sha1, &links[i]);

        if (message[i].role == NGX_CLAUDE_USER) {
            chain_user(&sha1, &message[i].blocks);

        } else if (chain_assistant(&sha1, turn->log, &message[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_claude_hash_final(&links[i + 1], &sha1);
    }

    return NGX_OK;
}


void
ngx_claude_link_begin(ngx_claude_link_text_t *text,
    ngx_claude_link_t *before)
{
    ngx_sha1_init(&text->all);
    ngx_claude_hash_add(&text->all, before);
    ngx_sha1_update(&text->all, CHAIN_ASSISTANT, 2);

    text->trimmed = text->all;
    text->begun = 0;
}


void
ngx_claude_link_add(ngx_claude_link_text_t *text, u_char *p,
    size_t len)
{
    size_t  n;

    if (!text->begun) {

        while (len && chain_space(*p)) {
            p++;
            len--;
        }

        if (len == 0) {
            return;
        }

        text->begun = 1;
    }

    n = chain_trimmed(p, len);

    if (n) {
        ngx_sha1_update(&text->all, p, n);
        text->trimmed = text->all;
    }

    ngx_sha1_update(&text->all, p + n, len - n);
}


ngx_int_t
ngx_claude_link_call(ngx_claude_link_text_t *text,
    ngx_pool_t *pool, ngx_str_t *id, ngx_str_t *name, ngx_str_t *input)
{
    return chain_call(&text->trimmed, pool, id, name, input);
}


void
ngx_claude_link_end(ngx_claude_link_text_t *text,
    ngx_claude_link_t *link)
{
    ngx_claude_hash_final(link, &text->trimmed);
}


static void
chain_root(ngx_claude_turn_t *turn, ngx_claude_link_t *root)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, turn->tenant, NGX_CLAUDE_TENANT_LEN);
    ngx_claude_hash_add(&sha1, turn->launch);

    chain_string(&sha1, &turn->model);
    chain_string(&sha1, &turn->system);

    ngx_claude_hash_final(root, &sha1);
}


/*
 * The model's text, and then its calls.  The text comes back trimmed from many
 * a client, and nobody sends along where between texts a call was.
 */

static ngx_int_t
chain_assistant(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_claude_message_t *message)
{
    u_char              *p;
    size_t               len;
    ngx_uint_t           i, n;
    ngx_claude_block_t  *block;

    ngx_sha1_update(sha1, CHAIN_ASSISTANT, 2);

    block = message->blocks.elts;
    n = 0;

    for (i = 0; i < message->blocks.nelts; i++) {

        if (block[i].type != NGX_CLAUDE_TEXT) {
            continue;
        }

        if (n++) {
            ngx_sha1_update(sha1, CHAIN_TEXT, 2);
        }

        p = block[i].text.data;
        len = block[i].text.len;

        while (len && chain_space(*p)) {
            p++;
            len--;
        }

        ngx_sha1_update(sha1, p, chain_trimmed(p, len));
    }

    for (i = 0; i < message->blocks.nelts; i++) {

        if (block[i].type == NGX_CLAUDE_TOOL_USE) {
            return chain_calls(sha1, log, &block[i],
                               message->blocks.nelts - i);
        }
    }

    return NGX_OK;
}


/* canonical arguments are in a pool of their own, which is gone at once */

static ngx_int_t
chain_calls(ngx_sha1_t *sha1, ngx_log_t *log, ngx_claude_block_t *block,
    ngx_uint_t n)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    ngx_pool_t  *scratch;

    scratch = ngx_create_pool(1024, log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; i < n && rc != NGX_ERROR; i++) {

        if (block[i].type != NGX_CLAUDE_TOOL_USE) {
            continue;
        }

        rc = chain_call(sha1, scratch, &block[i].id, &block[i].name,
                        &block[i].text);

        ngx_reset_pool(scratch);
    }

    ngx_destroy_pool(scratch);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static void
chain_user(ngx_sha1_t *sha1, ngx_array_t *blocks)
{
    u_char               kind[2];
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    ngx_sha1_update(sha1, CHAIN_USER, 2);
    ngx_sha1_update(sha1, &blocks->nelts, sizeof(ngx_uint_t));

    block = blocks->elts;

    for (i = 0; i < blocks->nelts; i++) {

        kind[0] = (u_char) block[i].type;
        kind[1] = (block[i].content != NULL);

        ngx_sha1_update(sha1, kind, sizeof(kind));

        chain_string(sha1, &block[i].text);
        chain_string(sha1, &block[i].media);
        chain_string(sha1, &block[i].name);
        chain_string(sha1, &block[i].id);

        /* a result holds texts and images, which hold nothing */

        if (block[i].content) {
            chain_user(sha1, block[i].content);
        }
    }
}


/*
 * Calls are the same when their arguments are the same values.  NGX_DECLINED:
 * they are no JSON.
 */

static ngx_int_t
chain_call(ngx_sha1_t *sha1, ngx_pool_t *pool, ngx_str_t *id,
    ngx_str_t *name, ngx_str_t *input)
{
    ngx_int_t  rc;
    ngx_str_t  canonical;

    rc = ngx_claude_json_canonical(pool, input, &canonical);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_sha1_update(sha1, CHAIN_CALL, 2);

    chain_string(sha1, id);
    chain_string(sha1, name);
    chain_string(sha1, &canonical);

    return rc;
}


static void
chain_string(ngx_sha1_t *sha1, ngx_str_t *s)
{
    ngx_sha1_update(sha1, &s->len, sizeof(size_t));
    ngx_sha1_update(sha1, s->data, s->len);
}


/* the length without the white space at the end */

static size_t
chain_trimmed(u_char *p, size_t len)
{
    while (len && chain_space(p[len - 1])) {
        len--;
    }

    return len;
}
