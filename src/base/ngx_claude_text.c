
/*
 * A text that grows while it is written.  See the header.
 */


#include "ngx_claude_text.h"
#include "ngx_claude_memory.h"


#define TEXT_SIZE  1024


static ngx_int_t text_grow(ngx_claude_text_t *text, size_t size);
static void text_room(ngx_claude_out_t *out, size_t least);


ngx_int_t
ngx_claude_text_init(ngx_claude_text_t *text, ngx_pool_t *pool, size_t size)
{
    ngx_memzero(text, sizeof(ngx_claude_text_t));
    text->pool = pool;

    return text_grow(text, size);
}


u_char *
ngx_claude_text_room(ngx_claude_text_t *text, size_t len)
{
    size_t  size;

    if (text->size - text->len < len) {

        size = ngx_max(2 * text->size, text->len + len);

        if (text_grow(text, ngx_max(size, TEXT_SIZE)) != NGX_OK) {
            return NULL;
        }
    }

    return text->data + text->len;
}


static ngx_int_t
text_grow(ngx_claude_text_t *text, size_t size)
{
    u_char  *p;

    /* a byte stays before the text, as the JSON writer wants */

    p = text->data ? ngx_claude_memory_grow(text->pool, text->data - 1,
                                            text->len + 1, size + 1)
                   : ngx_pnalloc(text->pool, size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p + 1;
    text->size = size;

    return NGX_OK;
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


ngx_claude_out_t *
ngx_claude_text_begin(ngx_claude_text_t *text)
{
    text->out.room = text_room;
    text->out.failed = 0;

    if (text->data) {
        text->out.last = text->data + text->len;
        text->out.end = text->data + text->size;
    }

    return &text->out;
}


ngx_int_t
ngx_claude_text_end(ngx_claude_text_t *text)
{
    if (text->out.failed) {
        return NGX_ERROR;
    }

    text->len = text->out.last - text->data;

    return NGX_OK;
}


/* what is written so far is kept when the text moves */

static void
text_room(ngx_claude_out_t *out, size_t least)
{
    u_char             *p;
    size_t              len;
    ngx_claude_text_t  *text;

    text = (ngx_claude_text_t *) out;

    len = text->len;
    text->len = out->last - text->data;

    p = ngx_claude_text_room(text, least);

    if (p) {
        out->last = p;
        out->end = text->data + text->size;

    } else {
        out->failed = 1;
    }

    text->len = len;
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
