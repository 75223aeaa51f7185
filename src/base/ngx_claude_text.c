
/*
 * A text that grows while it is written.  See the header.
 */


#include "ngx_claude_text.h"


#define TEXT_SIZE  1024


u_char *
ngx_claude_text_room(ngx_claude_text_t *text, size_t len)
{
    u_char  *p;
    size_t   size;

    if (text->size - text->len >= len) {
        return text->data + text->len;
    }

    size = ngx_max(2 * text->size, text->len + len);
    size = ngx_max(size, TEXT_SIZE);

    p = ngx_pnalloc(text->pool, size);
    if (p == NULL) {
        return NULL;
    }

    if (text->data) {
        ngx_memcpy(p, text->data, text->len);

        /* a small text stays in the pool: half a page, in all */

        (void) ngx_pfree(text->pool, text->data);
    }

    text->data = p;
    text->size = size;

    return p + text->len;
}


ngx_int_t
ngx_claude_text_add(ngx_claude_text_t *text, const void *data,
    size_t len)
{
    u_char  *p;

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_claude_text_room(text, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, data, len);
    text->len += len;

    return NGX_OK;
}


ngx_int_t
ngx_claude_text_copy(ngx_claude_text_t *text, ngx_pool_t *pool,
    ngx_str_t *copy)
{
    copy->data = ngx_pnalloc(pool, ngx_max(text->len, 1));
    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy->data, text->data, text->len);
    copy->len = text->len;

    return NGX_OK;
}
