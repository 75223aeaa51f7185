
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


/* bytes whose hash takes as long as what there is of each message and block */
#define CHAIN_MESSAGE  256
#define CHAIN_BLOCK    64

/* the same of reading a byte of arguments, and writing it in another order */
#define CHAIN_JSON     8


/* what of an assistant's message is hashed, one after the other */
typedef enum {
    CHAIN_PASS_TEXTS = 0,
    CHAIN_PASS_CALLS,
    CHAIN_PASS_OTHERS
} chain_pass_e;


/* a place in a list of blocks */
typedef struct {
    ngx_uint_t               block;
    ngx_uint_t               part;           /* what of the block comes next */
} chain_at_t;


typedef struct {
    ngx_claude_hash_t       *digests;        /* of the messages */
    ngx_claude_hash_t        system;         /* of the system text */
    ngx_claude_hash_t        tools;          /* of the tools, as JSON */
    ngx_claude_hash_t        names;          /* of their names */
    ngx_uint_t               message;        /* the one that is at hand */
    chain_pass_e             pass;
    chain_at_t               at[2];          /* in a message, in a result */
    size_t                   offset;         /* bytes that are hashed of the
                                                string at hand */
    size_t                   left;           /* bytes left of the slice */
    ngx_sha1_t               sha1;           /* system text, user's message */
    ngx_claude_link_text_t   text;           /* assistant's: texts, calls */
    ngx_claude_link_text_t   others;         /* and the rest of it */
    unsigned                 tooled:1;       /* hashes of tools are there */
    unsigned                 rooted:1;       /* links[0] is */
    unsigned                 begun:1;        /* the message is */
} chain_t;


static chain_t *chain_create(ngx_claude_turn_t *turn);
static ngx_int_t chain_whole(chain_t *chain, ngx_str_t *s,
    ngx_claude_hash_t *hash);
static ngx_int_t chain_messages(ngx_claude_turn_t *turn, chain_t *chain);
static void chain_sum(const ngx_str_t *s, ngx_claude_hash_t *sum);
static void chain_names(const ngx_array_t *names, ngx_claude_hash_t *sum);
static void chain_link(ngx_claude_link_t *link,
    const ngx_claude_link_t *before, const ngx_claude_hash_t *digest);
static void chain_root(ngx_claude_turn_t *turn,
    const ngx_claude_hash_t *system, ngx_claude_link_t *root);
static ngx_int_t chain_user(chain_t *chain, ngx_array_t *blocks,
    ngx_uint_t level);
static ngx_int_t chain_user_block(chain_t *chain, ngx_claude_block_t *block,
    ngx_uint_t level);
static ngx_int_t chain_assistant(chain_t *chain, ngx_claude_turn_t *turn,
    ngx_array_t *blocks);
static ngx_int_t chain_assistant_block(chain_t *chain, ngx_log_t *log,
    ngx_claude_block_t *block);
static ngx_int_t chain_text(chain_t *chain, ngx_str_t *s);
static ngx_int_t chain_use(chain_t *chain, ngx_log_t *log,
    ngx_claude_block_t *block);
static ngx_int_t chain_rest(chain_t *chain, ngx_log_t *log,
    ngx_claude_block_t *block);
static ngx_int_t chain_bytes(chain_t *chain, ngx_sha1_t *sha1, ngx_str_t *s);
static ngx_int_t chain_string_slice(chain_t *chain, ngx_sha1_t *sha1,
    ngx_str_t *s);
static void chain_spend(chain_t *chain, size_t size);
static ngx_int_t chain_other(ngx_sha1_t *sha1, ngx_log_t *log,
    ngx_str_t *json, ngx_str_t *input);
static void chain_block(ngx_claude_link_text_t *text, ngx_uint_t type);
static void chain_blocks_end(ngx_sha1_t *sha1, ngx_claude_link_text_t *text);
static void chain_call(ngx_sha1_t *sha1, ngx_str_t *id, ngx_str_t *name);
static ngx_int_t chain_value(ngx_pool_t *pool, ngx_str_t *json,
    ngx_str_t *value);
static void chain_string(ngx_sha1_t *sha1, ngx_str_t *s);
static size_t chain_trimmed(u_char *p, size_t len);


#define chain_space(ch)                                                       \
    ((ch) == ' ' || ((ch) >= '\t' && (ch) <= '\r'))


ngx_claude_link_t *
ngx_claude_chain(ngx_claude_turn_t *turn)
{
    return (ngx_claude_chain_slice(turn, NGX_MAX_SIZE_T_VALUE) == NGX_OK)
           ? turn->engine.links : NULL;
}


ngx_int_t
ngx_claude_chain_slice(ngx_claude_turn_t *turn, size_t size)
{
    chain_t            *chain;
    ngx_int_t           rc;
    ngx_claude_link_t  *links;

    if (turn->engine.chain == NULL) {
        turn->engine.chain = chain_create(turn);
        turn->engine.links = ngx_palloc(turn->pool,
                                        (turn->messages.nelts + 1)
                                        * sizeof(ngx_claude_link_t));
    }

    chain = turn->engine.chain;
    links = turn->engine.links;

    if (chain == NULL || links == NULL) {
        return NGX_ERROR;
    }

    chain->left = size;

    if (!chain->tooled) {
        rc = chain_whole(chain, &turn->tools_json, &chain->tools);
        if (rc != NGX_OK) {
            return rc;
        }

        chain_names(&turn->tools, &chain->names);
        chain_spend(chain, CHAIN_BLOCK * turn->tools.nelts);
        chain->tooled = 1;
    }

    if (!chain->rooted) {
        rc = chain_whole(chain, &turn->system, &chain->system);
        if (rc != NGX_OK) {
            return rc;
        }

        chain_root(turn, &chain->system, &links[0]);
        chain->rooted = 1;
    }

    return chain_messages(turn, chain);
}


/* the hash of one string */

static ngx_int_t
chain_whole(chain_t *chain, ngx_str_t *s, ngx_claude_hash_t *hash)
{
    ngx_int_t  rc;

    if (chain->left == 0) {
        return NGX_AGAIN;
    }

    if (chain->offset == 0) {
        ngx_sha1_init(&chain->sha1);
    }

    rc = chain_bytes(chain, &chain->sha1, s);

    if (rc == NGX_OK) {
        ngx_claude_hash_final(hash, &chain->sha1);
    }

    return rc;
}


static chain_t *
chain_create(ngx_claude_turn_t *turn)
{
    chain_t  *chain;

    chain = ngx_pcalloc(turn->pool, sizeof(chain_t));
    if (chain == NULL) {
        return NULL;
    }

    chain->digests = ngx_palloc(turn->pool,
                                ngx_max(turn->messages.nelts, 1)
                                * sizeof(ngx_claude_hash_t));

    return chain->digests ? chain : NULL;
}


/* digests, and with each the link behind it */

static ngx_int_t
chain_messages(ngx_claude_turn_t *turn, chain_t *chain)
{
    ngx_int_t              rc;
    ngx_uint_t             n;
    ngx_claude_link_t     *links;
    ngx_claude_message_t  *message;

    links = turn->engine.links;

    while (chain->message < turn->messages.nelts) {

        if (chain->left == 0) {
            return NGX_AGAIN;
        }

        n = chain->message;
        message = (ngx_claude_message_t *) turn->messages.elts + n;

        if (message->role == NGX_CLAUDE_USER) {

            if (!chain->begun) {
                ngx_sha1_init(&chain->sha1);
            }

            rc = chain_user(chain, &message->blocks, 0);

        } else {
            rc = chain_assistant(chain, turn, &message->blocks);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_claude_hash_final(&chain->digests[n],
                              (message->role == NGX_CLAUDE_USER)
                              ? &chain->sha1 : &chain->text.trimmed);

        chain_link(&links[n + 1], &links[n], &chain->digests[n]);
        chain_spend(chain, CHAIN_MESSAGE);

        ngx_memzero(chain->at, sizeof(chain->at));

        chain->message++;
        chain->begun = 0;
        chain->pass = CHAIN_PASS_TEXTS;
    }

    return NGX_OK;
}


void
ngx_claude_chain_changed(ngx_claude_turn_t *turn)
{
    chain_t  *chain;

    chain = turn->engine.chain;

    if (chain) {
        chain->message = 0;
    }
}


void
ngx_claude_chain_share(ngx_claude_turn_t *turn, ngx_claude_turn_t *from)
{
    turn->engine.chain = from->engine.chain;
    turn->engine.links = from->engine.links;
}


void
ngx_claude_chain_system(const ngx_claude_turn_t *turn, ngx_claude_hash_t *sum)
{
    chain_t  *chain;

    chain = turn->engine.chain;

    if (chain) {
        *sum = chain->system;

    } else {
        chain_sum(&turn->system, sum);
    }
}


void
ngx_claude_chain_tools(const ngx_claude_turn_t *turn, ngx_claude_hash_t *sum)
{
    chain_t  *chain;

    chain = turn->engine.chain;

    if (chain) {
        *sum = chain->tools;

    } else {
        chain_sum(&turn->tools_json, sum);
    }
}


void
ngx_claude_chain_names(const ngx_claude_turn_t *turn, ngx_claude_hash_t *sum)
{
    chain_t  *chain;

    chain = turn->engine.chain;

    if (chain) {
        *sum = chain->names;

    } else {
        chain_names(&turn->tools, sum);
    }
}


static void
chain_sum(const ngx_str_t *s, ngx_claude_hash_t *sum)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, s->data, s->len);
    ngx_claude_hash_final(sum, &sha1);
}


/* there are no more than thousands */

static void
chain_names(const ngx_array_t *names, ngx_claude_hash_t *sum)
{
    ngx_str_t   *name;
    ngx_uint_t   i;
    ngx_sha1_t   sha1;

    name = names->elts;

    ngx_sha1_init(&sha1);

    for (i = 0; i < names->nelts; i++) {
        ngx_sha1_update(&sha1, &name[i].len, sizeof(size_t));
        ngx_sha1_update(&sha1, name[i].data, name[i].len);
    }

    ngx_claude_hash_final(sum, &sha1);
}


ngx_int_t
ngx_claude_chain_follow(ngx_claude_turn_t *turn,
    ngx_claude_link_t *before)
{
    chain_t            *chain;
    ngx_uint_t          i;
    ngx_claude_link_t  *links;

    if (ngx_claude_chain(turn) == NULL) {
        return NGX_ERROR;
    }

    chain = turn->engine.chain;
    links = turn->engine.links;

    if (before) {
        links[0] = *before;

    } else {
        chain_root(turn, &chain->system, &links[0]);
    }

    for (i = 0; i < turn->messages.nelts; i++) {
        chain_link(&links[i + 1], &links[i], &chain->digests[i]);
    }

    return NGX_OK;
}


static void
chain_link(ngx_claude_link_t *link, const ngx_claude_link_t *before,
    const ngx_claude_hash_t *digest)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_claude_hash_add(&sha1, before);
    ngx_claude_hash_add(&sha1, digest);
    ngx_claude_hash_final(link, &sha1);
}


void
ngx_claude_link_begin(ngx_claude_link_text_t *text,
    ngx_claude_link_t *before, ngx_uint_t verbatim)
{
    ngx_memzero(text, sizeof(ngx_claude_link_text_t));

    text->before = *before;
    text->verbatim = verbatim;

    ngx_sha1_init(&text->all);
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
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = chain_value(pool, input, &value);

    if (rc != NGX_ERROR) {
        chain_call(&text->trimmed, id, name);
        chain_string(&text->trimmed, &value);
    }

    return rc;
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
    ngx_claude_hash_t  digest;

    chain_blocks_end(&text->trimmed, text);
    ngx_claude_hash_final(&digest, &text->trimmed);

    chain_link(link, &text->before, &digest);
}


static void
chain_root(ngx_claude_turn_t *turn, const ngx_claude_hash_t *system,
    ngx_claude_link_t *root)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_claude_hash_add(&sha1, &turn->tenant);
    ngx_claude_hash_add(&sha1, turn->launch);

    chain_string(&sha1, &turn->model);
    ngx_claude_hash_add(&sha1, system);

    ngx_claude_hash_final(root, &sha1);
}


/* a list of the user's blocks; level: 0, or 1 for what a result holds */

static ngx_int_t
chain_user(chain_t *chain, ngx_array_t *blocks, ngx_uint_t level)
{
    ngx_int_t            rc;
    chain_at_t          *at;
    ngx_claude_block_t  *block;

    at = &chain->at[level];

    if (at->block == 0 && at->part == 0) {
        ngx_sha1_update(&chain->sha1, CHAIN_USER, 2);
        ngx_sha1_update(&chain->sha1, &blocks->nelts, sizeof(ngx_uint_t));

        chain->begun = 1;
        at->part = 1;
    }

    block = blocks->elts;

    while (at->block < blocks->nelts) {

        rc = chain_user_block(chain, &block[at->block], level);
        if (rc != NGX_OK) {
            return rc;
        }

        at->block++;
        at->part = 1;
    }

    return NGX_OK;
}


static ngx_int_t
chain_user_block(chain_t *chain, ngx_claude_block_t *block, ngx_uint_t level)
{
    u_char       kind[2];
    ngx_int_t    rc;
    ngx_str_t   *s;
    chain_at_t  *at;

    at = &chain->at[level];

    if (chain->left == 0) {
        return NGX_AGAIN;
    }

    if (at->part == 1) {
        kind[0] = (u_char) block->type;
        kind[1] = (block->content != NULL) | (block->is_error << 1);

        ngx_sha1_update(&chain->sha1, kind, sizeof(kind));
        chain_spend(chain, CHAIN_BLOCK);

        at->part = 2;
    }

    for ( /* void */ ; at->part < 6; at->part++) {

        switch (at->part) {

        case 2:
            s = &block->text;
            break;

        case 3:
            s = &block->media;
            break;

        case 4:
            s = &block->name;
            break;

        default:
            s = &block->id;
            break;
        }

        rc = chain_string_slice(chain, &chain->sha1, s);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    /* a result holds texts and images, which hold nothing */

    if (block->content && level == 0) {
        rc = chain_user(chain, block->content, 1);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_memzero(&chain->at[1], sizeof(chain_at_t));
    }

    return NGX_OK;
}


/*
 * The model's text, and then its calls.  The text comes back trimmed from many
 * a client, and nobody sends along where between texts a call was.  The rest
 * of an answer counts as it would have been told.
 */

static ngx_int_t
chain_assistant(chain_t *chain, ngx_claude_turn_t *turn, ngx_array_t *blocks)
{
    ngx_int_t            rc;
    ngx_uint_t           last;
    chain_at_t          *at;
    ngx_claude_block_t  *block;

    static ngx_claude_link_t  none;

    if (!chain->begun) {
        ngx_claude_link_begin(&chain->text, &none, 1);
        ngx_memzero(&chain->others, sizeof(ngx_claude_link_text_t));

        chain->others.verbatim = 1;
        chain->begun = 1;
    }

    at = chain->at;
    block = blocks->elts;
    last = turn->verbatim ? CHAIN_PASS_OTHERS : CHAIN_PASS_CALLS;

    for ( /* void */ ; chain->pass <= last; chain->pass++) {

        while (at->block < blocks->nelts) {

            if (chain->left == 0) {
                return NGX_AGAIN;
            }

            rc = chain_assistant_block(chain, turn->log, &block[at->block]);
            if (rc != NGX_OK) {
                return rc;
            }

            at->block++;
            at->part = 0;
        }

        at->block = 0;
    }

    chain_blocks_end(&chain->text.trimmed, &chain->others);

    return NGX_OK;
}


static ngx_int_t
chain_assistant_block(chain_t *chain, ngx_log_t *log,
    ngx_claude_block_t *block)
{
    if (chain->at->part == 0) {
        chain_spend(chain, CHAIN_BLOCK);
    }

    switch (chain->pass) {

    case CHAIN_PASS_TEXTS:
        return (block->type == NGX_CLAUDE_TEXT)
               ? chain_text(chain, &block->text) : NGX_OK;

    case CHAIN_PASS_CALLS:
        return (block->type == NGX_CLAUDE_TOOL_USE)
               ? chain_use(chain, log, block) : NGX_OK;

    default:                                /* CHAIN_PASS_OTHERS */
        return chain_rest(chain, log, block);
    }
}


/* as pieces of an answer */

static ngx_int_t
chain_text(chain_t *chain, ngx_str_t *s)
{
    size_t  n;

    if (chain->at->part == 0) {
        ngx_claude_link_open(&chain->text, NGX_CLAUDE_TEXT);
        chain->at->part = 1;
    }

    n = ngx_min(s->len - chain->offset, chain->left);

    if (n) {
        ngx_claude_link_add(&chain->text, s->data + chain->offset, n);
    }

    chain_spend(chain, n);
    chain->offset += n;

    if (chain->offset < s->len) {
        return NGX_AGAIN;
    }

    chain->offset = 0;

    return NGX_OK;
}


/* canonical arguments are in a pool of their own, which is gone at once */

static ngx_int_t
chain_use(chain_t *chain, ngx_log_t *log, ngx_claude_block_t *block)
{
    ngx_int_t    rc;
    ngx_pool_t  *scratch;
    ngx_sha1_t  *sha1;

    sha1 = &chain->text.trimmed;

    if (block->text.len > NGX_CLAUDE_CHAIN_CANONICAL) {

        if (chain->at->part == 0) {
            chain_call(sha1, &block->id, &block->name);
            chain->at->part = 1;
        }

        return chain_string_slice(chain, sha1, &block->text);
    }

    scratch = ngx_create_pool(1024, log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_claude_link_call(&chain->text, scratch, &block->id, &block->name,
                              &block->text);

    ngx_destroy_pool(scratch);

    chain_spend(chain, CHAIN_JSON * block->text.len);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/* thinking, redacted thinking, others; and where texts and calls are */

static ngx_int_t
chain_rest(chain_t *chain, ngx_log_t *log, ngx_claude_block_t *block)
{
    ngx_int_t                rc;
    ngx_str_t                none;
    chain_at_t              *at;
    ngx_claude_link_text_t  *text;

    at = chain->at;
    text = &chain->others;

    if (block->type == NGX_CLAUDE_TEXT) {
        text->ntexts += (block->text.len != 0);
        return NGX_OK;
    }

    if (at->part == 0) {
        ngx_claude_link_open(text, block->type);
        at->part = 1;
    }

    ngx_str_null(&none);

    if (block->type == NGX_CLAUDE_OTHER
        && block->text.len <= NGX_CLAUDE_CHAIN_CANONICAL)
    {
        chain_spend(chain, CHAIN_JSON * block->text.len);

        return ngx_claude_link_close(text, block, &none, log);
    }

    if (block->type != NGX_CLAUDE_THINKING
        && block->type != NGX_CLAUDE_REDACTED
        && block->type != NGX_CLAUDE_OTHER)
    {
        return NGX_OK;
    }

    if (at->part == 1) {
        rc = chain_bytes(chain, &text->block, &block->text);
        if (rc != NGX_OK) {
            return rc;
        }

        chain_block(text, block->type);
        at->part = 2;
    }

    return (block->type == NGX_CLAUDE_THINKING)
           ? chain_string_slice(chain, &text->blocks, &block->signature)
           : NGX_OK;
}


/* as much of a string as the slice has room for */

static ngx_int_t
chain_bytes(chain_t *chain, ngx_sha1_t *sha1, ngx_str_t *s)
{
    size_t  n;

    n = ngx_min(s->len - chain->offset, chain->left);

    if (n) {
        ngx_sha1_update(sha1, s->data + chain->offset, n);
    }

    chain_spend(chain, n);
    chain->offset += n;

    if (chain->offset < s->len) {
        return NGX_AGAIN;
    }

    chain->offset = 0;

    return NGX_OK;
}


static ngx_int_t
chain_string_slice(chain_t *chain, ngx_sha1_t *sha1, ngx_str_t *s)
{
    /* without room for a byte it would begin a second time */

    if (chain->left == 0) {
        return NGX_AGAIN;
    }

    if (chain->offset == 0) {
        ngx_sha1_update(sha1, &s->len, sizeof(size_t));
    }

    return chain_bytes(chain, sha1, s);
}


static void
chain_spend(chain_t *chain, size_t size)
{
    chain->left -= ngx_min(chain->left, size);
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

    rc = chain_value(scratch, &whole, &canonical);

    if (rc != NGX_ERROR) {
        ngx_sha1_update(sha1, canonical.data, canonical.len);
    }

    ngx_destroy_pool(scratch);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static void
chain_call(ngx_sha1_t *sha1, ngx_str_t *id, ngx_str_t *name)
{
    ngx_sha1_update(sha1, CHAIN_CALL, 2);

    chain_string(sha1, id);
    chain_string(sha1, name);
}


/*
 * Calls are the same when their arguments are the same values.  NGX_DECLINED:
 * they are no JSON.
 */

static ngx_int_t
chain_value(ngx_pool_t *pool, ngx_str_t *json, ngx_str_t *value)
{
    ngx_int_t    rc;
    ngx_pool_t  *scratch;

    if (json->len <= NGX_CLAUDE_CHAIN_CANONICAL) {
        return ngx_claude_json_canonical(pool, json, value);
    }

    scratch = ngx_create_pool(4096, pool->log);
    if (scratch == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_claude_json_parse(scratch, json) ? NGX_OK : NGX_DECLINED;

    ngx_destroy_pool(scratch);

    *value = *json;

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
