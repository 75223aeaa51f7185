
/*
 * An index: strings that lie so many bytes apart, found by what they are.
 */


#ifndef _NGX_CLAUDE_INDEX_H_INCLUDED_
#define _NGX_CLAUDE_INDEX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Pointers to n strings, sorted; stride: bytes from one string to the next.
 * NULL: no memory.
 */
ngx_str_t **ngx_claude_index(ngx_pool_t *pool, ngx_str_t *first, ngx_uint_t n,
    size_t stride);

/* the string among n that is equal to s, or NULL */
ngx_str_t *ngx_claude_index_find(ngx_str_t **index, ngx_uint_t n,
    const ngx_str_t *s);


#endif /* _NGX_CLAUDE_INDEX_H_INCLUDED_ */
