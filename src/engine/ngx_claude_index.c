
/*
 * An index of strings.  See the header.
 */


#include "ngx_claude_index.h"


static int ngx_libc_cdecl index_compare(const void *one, const void *two);


ngx_str_t **
ngx_claude_index(ngx_pool_t *pool, ngx_str_t *first, ngx_uint_t n,
    size_t stride)
{
    ngx_uint_t    i;
    ngx_str_t   **index;

    index = ngx_palloc(pool, n * sizeof(ngx_str_t *));
    if (index == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        index[i] = (ngx_str_t *) ((u_char *) first + i * stride);
    }

    ngx_qsort(index, (size_t) n, sizeof(ngx_str_t *), index_compare);

    return index;
}


ngx_str_t *
ngx_claude_index_find(ngx_str_t **index, ngx_uint_t n, const ngx_str_t *s)
{
    ngx_str_t  **found;

    found = bsearch(&s, index, (size_t) n, sizeof(ngx_str_t *),
                    index_compare);

    return found ? *found : NULL;
}


static int ngx_libc_cdecl
index_compare(const void *one, const void *two)
{
    ngx_str_t  *a = *(ngx_str_t **) one, *b = *(ngx_str_t **) two;

    if (a->len != b->len) {
        return (a->len < b->len) ? -1 : 1;
    }

    return ngx_memcmp(a->data, b->data, a->len);
}
