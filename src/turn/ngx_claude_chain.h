
/*
 * The chain of a conversation: one hash for each message, over all up to and
 * with it, so that two conversations share a beginning just as far as their
 * chains are equal.
 *
 * The first link is over what must be the same before any message is: API
 * key, launch profile, model and system prompt.  White space around what the
 * model said does not count, since clients trim what they send back, nor does
 * how the arguments of a call are written.
 */


#ifndef _NGX_CLAUDE_CHAIN_H_INCLUDED_
#define _NGX_CLAUDE_CHAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_hash.h"
#include "ngx_claude_turn.h"


#define NGX_CLAUDE_LINK_LEN  sizeof(ngx_claude_link_t)


typedef ngx_claude_hash_t  ngx_claude_link_t;


/* the hash of an answer while its text comes in pieces */
typedef struct {
    ngx_sha1_t   all;        /* from the first byte that is no space */
    ngx_sha1_t   trimmed;    /* up to the last such byte */
    unsigned     begun:1;
} ngx_claude_link_text_t;


/*
 * The links of a turn, from its pool: the root and one for each message, so
 * links[n] is over the first n messages.  NULL: no memory.
 */
ngx_claude_link_t *ngx_claude_chain(ngx_claude_turn_t *turn);

/*
 * Makes the links of a turn that brings only what is new: they follow the
 * link of all that was said before.  NULL: from the root again.  NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_claude_chain_follow(ngx_claude_turn_t *turn,
    ngx_claude_link_t *before);

/* the link of an answer that follows the link before */
void ngx_claude_link_begin(ngx_claude_link_text_t *text,
    ngx_claude_link_t *before);
void ngx_claude_link_add(ngx_claude_link_text_t *text, u_char *p, size_t len);

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
