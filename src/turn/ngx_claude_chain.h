
/*
 * The chain of a conversation: one hash for each message, over all up to and
 * with it, so that two conversations share a beginning just as far as their
 * chains are equal.
 *
 * A link is the hash of the one before and of its own message's digest.  What
 * a message holds is hashed once, however often a turn is begun, and a slice
 * at a time: a conversation may have 32 MB.
 *
 * The first link is over what must be the same before any message is: API
 * key, launch profile, model and system prompt.  White space around what the
 * model said does not count, since clients trim what they send back, nor does
 * how the arguments of a call are written, unless they are very long.
 *
 * What an answer comes back as depends on the client, so the same answer has
 * one of two links.  A turn that is not verbatim is of a client that sends
 * back text and calls: the texts of the answer count as one, and thinking,
 * redacted thinking and other blocks of the assistant's count neither in the
 * answer nor in a history.  A turn that is verbatim is of a client that sends
 * back all blocks: each text counts by itself, and those other blocks count
 * with what they hold (JSON by its value) and where they stood.  An answer of
 * one text and calls has the same link both ways.  So a client that leaves
 * thinking out, though its turns are verbatim, has another history than the
 * process, which is then taken back to where they part.
 *
 * All blocks of the user's count always, each in full.
 */


#ifndef _NGX_CLAUDE_CHAIN_H_INCLUDED_
#define _NGX_CLAUDE_CHAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_hash.h"
#include "ngx_claude_turn.h"


typedef ngx_claude_hash_t  ngx_claude_link_t;


/* arguments up to so many bytes count by their value, longer ones as they are
   written: to read them takes many times as long as to hash them */
#define NGX_CLAUDE_CHAIN_CANONICAL  131072


/* the hash of an answer while its blocks come in pieces */
typedef struct {
    ngx_claude_link_t  before;
    ngx_sha1_t   all;        /* text since its first byte that is no
                                white space */
    ngx_sha1_t   trimmed;    /* text up to its last such byte */
    ngx_sha1_t   block;      /* block that is open and no text or call */
    ngx_sha1_t   blocks;     /* blocks that were closed, and no text or
                                call */
    uint32_t     ntexts;     /* number of texts that had a byte */
    uint32_t     ncalls;
    uint32_t     nblocks;    /* number of those blocks */
    unsigned     begun:1;    /* the text has more than white space */
    unsigned     parted:1;   /* the next byte is a text's first */
    unsigned     verbatim:1;
} ngx_claude_link_text_t;


/*
 * Makes the links of a turn, in its pool: the root and one for each message,
 * so links[n] is over the first n messages.  Each call goes on for about as
 * much as so many bytes take.  NGX_OK: turn->engine.links are there;
 * NGX_AGAIN: it is to be called again; NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_chain_slice(ngx_claude_turn_t *turn, size_t size);

/* all of them at once, or what is left.  NULL: no memory */
ngx_claude_link_t *ngx_claude_chain(ngx_claude_turn_t *turn);

/* the messages are others now, or in another order: follow() hashes them */
void ngx_claude_chain_changed(ngx_claude_turn_t *turn);

/* a turn of the same question, system text and messages, has the same ones */
void ngx_claude_chain_share(ngx_claude_turn_t *turn, ngx_claude_turn_t *from);

/*
 * Hashes of what else may be long: the system text, the tools, and their names
 * alone.  chain_slice() has them, else they are made.
 */
void ngx_claude_chain_system(const ngx_claude_turn_t *turn,
    ngx_claude_hash_t *sum);
void ngx_claude_chain_tools(const ngx_claude_turn_t *turn,
    ngx_claude_hash_t *sum);
void ngx_claude_chain_names(const ngx_claude_turn_t *turn,
    ngx_claude_hash_t *sum);

/*
 * Makes the links of a turn that brings only what is new: they follow the
 * link of all that was said before.  NULL: from the root again.  NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_claude_chain_follow(ngx_claude_turn_t *turn,
    ngx_claude_link_t *before);

/* the link of an answer that follows the link before; verbatim: as the turn */
void ngx_claude_link_begin(ngx_claude_link_text_t *text,
    ngx_claude_link_t *before, ngx_uint_t verbatim);

/* a piece of the answer's text */
void ngx_claude_link_add(ngx_claude_link_text_t *text, u_char *p, size_t len);

/*
 * Blocks, which the link of a verbatim turn needs besides: where each begins,
 * a piece of thinking, and the end of a block that is thinking, redacted or
 * another one; input: of another one, what came in pieces, JSON or empty.
 * They do nothing for other turns.  NGX_ERROR: no memory.
 */
void ngx_claude_link_open(ngx_claude_link_text_t *text,
    ngx_claude_block_e type);
void ngx_claude_link_thought(ngx_claude_link_text_t *text, u_char *p,
    size_t len);
ngx_int_t ngx_claude_link_close(ngx_claude_link_text_t *text,
    ngx_claude_block_t *block, ngx_str_t *input, ngx_log_t *log);

/*
 * A call of the answer, behind all of its text; the pool keeps some of it.
 * NGX_DECLINED: the input is no JSON; NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_link_call(ngx_claude_link_text_t *text, ngx_pool_t *pool,
    ngx_str_t *id, ngx_str_t *name, ngx_str_t *input);

void ngx_claude_link_end(ngx_claude_link_text_t *text,
    ngx_claude_link_t *link);

#define ngx_claude_link_same(a, b)  ngx_claude_hash_same(a, b)


#endif /* _NGX_CLAUDE_CHAIN_H_INCLUDED_ */
