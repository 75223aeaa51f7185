
/*
 * The chain of a conversation.  See the header.
 */


#include "ngx_claude_chain.h"
#include "ngx_claude_json_text.h"


/* tags before each message and block, which else could run into each other */
#define CHAIN_USER       "\0u"
#define CHAIN_ASSISTANT  "\0a"
#define CHAIN_TEXT       "\0t"
#define CHAIN_CALL       "\0c"
#define CHAIN_BLOCKS     "\0b"


static void chain_root(ngx_claude_turn_t *turn, ngx_claude_link_t *root);
static ngx_int_t chain_messages(ngx_claude_turn_t *turn,
    ngx_claude_link_t *links);
static ngx_int_t chain_assistant(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_claude_message_t *message);
static ngx_int_t chain_blocks(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_array_t *blocks);
static ngx_int_t chain_other(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_str_t *json, ngx_str_t *input);
static void chain_block(ngx_claude_link_text_t *text, ngx_uint_t type);
static void chain_blocks_end(ngx_sha1_t *sha1, ngx_claude_link_text_t *text);
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

    links = turn->engine.links;

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

        } else if (chain_assistant(&sha1, turn->log, &message[i]) != NGX_OK
                   || (turn->verbatim
                       && chain_blocks(&sha1, turn->log, &message[i].blocks)
                          != NGX_OK))
        {
            return NGX_ERROR;
        }

        ngx_claude_hash_final(&links[i + 1], &sha1);
    }

    return NGX_OK;
}


void
ngx_claude_link_begin(ngx_claude_link_text_t *text,
    ngx_claude_link_t *before, ngx_uint_t verbatim)
{
    ngx_memzero(text, sizeof(ngx_claude_link_text_t));
    text->verbatim = verbatim;

    ngx_sha1_init(&text->all);
    ngx_claude_hash_add(&text->all, before);
    ngx_sha1_update(&text->all, CHAIN_ASSISTANT, 2);

    text->trimmed = text->all;
}


void
ngx_claude_link_add(ngx_claude_link_text_t *text, u_char *p,
    size_t len)
{
    size_t  n;

    if (text->parted && len) {
        text->parted = 0;

        if (text->ntexts++) {
            ngx_sha1_update(&text->trimmed, CHAIN_TEXT, 2);
            text->all = text->trimmed;
            text->begun = 0;
        }
    }

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
ngx_claude_link_open(ngx_claude_link_text_t *text, ngx_claude_block_e type)
{
    if (!text->verbatim) {
        return;
    }

    switch (type) {

    case NGX_CLAUDE_TEXT:
        text->parted = 1;
        break;

    case NGX_CLAUDE_TOOL_USE:
        text->ncalls++;
        break;

    default:
        ngx_sha1_init(&text->block);
    }
}


void
ngx_claude_link_thought(ngx_claude_link_text_t *text, u_char *p, size_t len)
{
    if (text->verbatim) {
        ngx_sha1_update(&text->block, p, len);
    }
}


ngx_int_t
ngx_claude_link_close(ngx_claude_link_text_t *text,
    ngx_claude_block_t *block, ngx_str_t *input, ngx_log_t *log)
{
    if (!text->verbatim) {
        return NGX_OK;
    }

    switch (block->type) {

    case NGX_CLAUDE_THINKING:
        chain_block(text, block->type);
        chain_string(&text->blocks, &block->signature);
        return NGX_OK;

    case NGX_CLAUDE_REDACTED:
        ngx_sha1_update(&text->block, block->text.data, block->text.len);
        break;

    case NGX_CLAUDE_OTHER:
        if (chain_other(&text->block, log, &block->text, input) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    default:
        return NGX_OK;
    }

    chain_block(text, block->type);

    return NGX_OK;
}


void
ngx_claude_link_end(ngx_claude_link_text_t *text,
    ngx_claude_link_t *link)
{
    chain_blocks_end(&text->trimmed, text);
    ngx_claude_hash_final(link, &text->trimmed);
}


static void
chain_root(ngx_claude_turn_t *turn, ngx_claude_link_t *root)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_claude_hash_add(&sha1, &turn->tenant);
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


/* the rest of an answer, as it would have been told */

static ngx_int_t
chain_blocks(ngx_sha1_t *sha1, ngx_log_t *log, ngx_array_t *blocks)
{
    ngx_str_t                none;
    ngx_uint_t               i;
    ngx_claude_block_t      *block;
    ngx_claude_link_text_t   text;

    ngx_memzero(&text, sizeof(ngx_claude_link_text_t));
    ngx_str_null(&none);

    text.verbatim = 1;
    block = blocks->elts;

    for (i = 0; i < blocks->nelts; i++) {

        if (block[i].type == NGX_CLAUDE_TEXT) {
            text.ntexts += (block[i].text.len != 0);
            continue;
        }

        ngx_claude_link_open(&text, block[i].type);

        if (block[i].type == NGX_CLAUDE_THINKING) {
            ngx_claude_link_thought(&text, block[i].text.data,
                                    block[i].text.len);
        }

        if (ngx_claude_link_close(&text, &block[i], &none, log) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    chain_blocks_end(sha1, &text);

    return NGX_OK;
}


/* where a block stood, and the hash of what it holds, of which none is long */

static void
chain_block(ngx_claude_link_text_t *text, ngx_uint_t type)
{
    uint32_t           at[3];
    ngx_claude_hash_t  hash;

    at[0] = (uint32_t) type;
    at[1] = text->ntexts;
    at[2] = text->ncalls;

    if (text->nblocks++ == 0) {
        ngx_sha1_init(&text->blocks);
    }

    ngx_claude_hash_final(&hash, &text->block);

    ngx_sha1_update(&text->blocks, at, sizeof(at));
    ngx_claude_hash_add(&text->blocks, &hash);
}


static void
chain_blocks_end(ngx_sha1_t *sha1, ngx_claude_link_text_t *text)
{
    ngx_claude_hash_t  hash;

    if (text->nblocks == 0) {
        return;
    }

    ngx_claude_hash_final(&hash, &text->blocks);

    ngx_sha1_update(sha1, CHAIN_BLOCKS, 2);
    ngx_claude_hash_add(sha1, &hash);
}


/*
 * A block that we do not know, by its value.  Of an answer its input comes in
 * pieces, behind the block in which it is empty: of two members with one name
 * the last one counts.
 */

static ngx_int_t
chain_other(ngx_sha1_t *sha1, ngx_log_t *log, ngx_str_t *json,
    ngx_str_t *input)
{
    u_char      *p;
    ngx_int_t    rc;
    ngx_str_t    whole, canonical;
    ngx_pool_t  *scratch;

    scratch = ngx_create_pool(4096, log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    whole = *json;

    if (json->len && input->len) {
        p = ngx_pnalloc(scratch, json->len + input->len
                                 + sizeof(",\"input\":"));
        if (p == NULL) {
            ngx_destroy_pool(scratch);
            return NGX_ERROR;
        }

        whole.data = p;

        p = ngx_cpymem(p, json->data, json->len - 1);
        p = ngx_cpymem(p, ",\"input\":", sizeof(",\"input\":") - 1);
        p = ngx_cpymem(p, input->data, input->len);
        *p++ = '}';

        whole.len = p - whole.data;
    }

    rc = ngx_claude_json_canonical(scratch, &whole, &canonical);

    if (rc != NGX_ERROR) {
        ngx_sha1_update(sha1, canonical.data, canonical.len);
    }

    ngx_destroy_pool(scratch);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
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
        kind[1] = (block[i].content != NULL) | (block[i].is_error << 1);

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
