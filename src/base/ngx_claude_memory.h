
/*
 * What nginx's pools do not do by themselves: a long allocation grows where it
 * is, and a large pool goes piece by piece.
 */


#ifndef _NGX_CLAUDE_MEMORY_H_INCLUDED_
#define _NGX_CLAUDE_MEMORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * An allocation of the pool with its first bytes kept, which becomes as large
 * as said; what it was is gone.  NULL: no memory, and all is as before.
 */
void *ngx_claude_memory_grow(ngx_pool_t *pool, void *data, size_t used,
    size_t size);

/*
 * Runs the clean-ups of a pool that nobody needs any more; it then goes by
 * calls of ngx_claude_memory_free().
 */
void ngx_claude_memory_close(ngx_pool_t *pool);

/*
 * Frees about so many bytes of such a pool.  NGX_OK: it is gone; NGX_AGAIN:
 * there is more of it.
 */
ngx_int_t ngx_claude_memory_free(ngx_pool_t *pool, size_t size);


#endif /* _NGX_CLAUDE_MEMORY_H_INCLUDED_ */
