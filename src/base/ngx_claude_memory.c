
/*
 * Memory of pools.  See the header.
 */


#include "ngx_claude_memory.h"

#include <malloc.h>


/* bytes whose return takes as long as a call of free() besides */
#define MEMORY_FREE  512


void *
ngx_claude_memory_grow(ngx_pool_t *pool, void *data, size_t used, size_t size)
{
    void              *p;
    ngx_pool_large_t  *large;

    /* an allocation of a pool that is a large one is malloc()'s */

    for (large = pool->large; large; large = large->next) {

        if (large->alloc != data) {
            continue;
        }

        p = realloc(data, size);

        if (p) {
            large->alloc = p;
        }

        return p;
    }

    p = ngx_pnalloc(pool, size);

    if (p) {
        ngx_memcpy(p, data, used);
    }

    return p;
}


void
ngx_claude_memory_close(ngx_pool_t *pool)
{
    ngx_pool_t          *block, *newest;
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }

    pool->cleanup = NULL;

    /*
     * The newest block goes first: what is free at the end of the heap goes to
     * the system, and all at once when the last one before it is free.
     */

    newest = NULL;

    while ((block = pool->d.next)) {
        pool->d.next = block->d.next;
        block->d.next = newest;
        newest = block;
    }

    pool->d.next = newest;
}


/* what is large is told in the blocks: those go last, the pool among them */

ngx_int_t
ngx_claude_memory_free(ngx_pool_t *pool, size_t size)
{
    size_t       n;
    ngx_pool_t  *block;

    while (pool->large) {

        if (pool->large->alloc) {
            n = MEMORY_FREE + malloc_usable_size(pool->large->alloc);

            ngx_free(pool->large->alloc);
            pool->large->alloc = NULL;

            size -= ngx_min(size, n);
        }

        pool->large = pool->large->next;

        if (size == 0) {
            return NGX_AGAIN;
        }
    }

    while ((block = pool->d.next)) {
        n = MEMORY_FREE + (block->d.end - (u_char *) block);

        pool->d.next = block->d.next;
        ngx_free(block);

        size -= ngx_min(size, n);

        if (size == 0) {
            return NGX_AGAIN;
        }
    }

    ngx_free(pool);

    return NGX_OK;
}
