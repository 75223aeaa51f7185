
/*
 * Hashes: SHA-1 sums that tell conversations, profiles, keys and sessions
 * apart.  They are compared and kept, and travel between processes of one
 * binary as they are; nothing is ever read from one.
 */


#ifndef _NGX_CLAUDE_HASH_H_INCLUDED_
#define _NGX_CLAUDE_HASH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>


typedef struct {
    u_char  hash[20];
} ngx_claude_hash_t;


/* rows, records and messages hold hashes without a byte in between */

_Static_assert(sizeof(ngx_claude_hash_t) == 20, "a hash is SHA-1's 20 bytes");


static ngx_inline ngx_uint_t
ngx_claude_hash_same(const ngx_claude_hash_t *a, const ngx_claude_hash_t *b)
{
    return ngx_memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}


/* the hash of nothing: no key, no session */

static ngx_inline ngx_uint_t
ngx_claude_hash_zero(const ngx_claude_hash_t *hash)
{
    static const ngx_claude_hash_t  zero;

    return ngx_claude_hash_same(hash, &zero);
}


/* adds a hash to what is hashed */

static ngx_inline void
ngx_claude_hash_add(ngx_sha1_t *sha1, const ngx_claude_hash_t *hash)
{
    ngx_sha1_update(sha1, hash->hash, sizeof(hash->hash));
}


/* ends a sum */

static ngx_inline void
ngx_claude_hash_final(ngx_claude_hash_t *hash, ngx_sha1_t *sha1)
{
    ngx_sha1_final(hash->hash, sha1);
}


#endif /* _NGX_CLAUDE_HASH_H_INCLUDED_ */
