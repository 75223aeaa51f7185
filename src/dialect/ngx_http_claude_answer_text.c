
/*
 * The kept text of an answer.  See the header.
 */


#include "ngx_http_claude_answer_text.h"


/* bytes of the first buffer of a block */
#define TEXT_SIZE  4096


static ngx_int_t text_copy(ngx_pool_t *pool, ngx_str_t *s);


ngx_int_t
ngx_http_claude_answer_text_init(ngx_http_claude_answer_text_t *text,
    ngx_pool_t *pool, size_t max)
{
    text->pool = pool;
    text->length = 0;
    text->max = max;

    return ngx_array_init(&text->blocks, pool, 2,
                          sizeof(ngx_http_claude_answer_block_t));
}


ngx_int_t
ngx_http_claude_answer_text_open(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_t *block)
{
    ngx_http_claude_answer_block_t  *kept;

    kept = ngx_array_push(&text->blocks);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    kept->block = *block;
    ngx_http_claude_document_init(&kept->said, text->pool, TEXT_SIZE);

    if (text_copy(text->pool, &kept->block.text) != NGX_OK
        || text_copy(text->pool, &kept->block.id) != NGX_OK
        || text_copy(text->pool, &kept->block.name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_answer_text_add(ngx_http_claude_answer_text_t *text,
    u_char *p, size_t len)
{
    size_t                       before;
    ngx_http_claude_document_t  *said;

    if (text->length + len > text->max) {
        return NGX_DECLINED;
    }

    said = &ngx_http_claude_answer_text_last(text)->said;
    before = ngx_http_claude_document_length(said);

    ngx_claude_out_escape(&said->out, p, len);

    text->length += ngx_http_claude_document_length(said) - before;

    return said->out.failed ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_claude_answer_text_close(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_t *block)
{
    ngx_http_claude_answer_block_t  *kept;

    kept = ngx_http_claude_answer_text_last(text);
    kept->block.signature = block->signature;

    return text_copy(text->pool, &kept->block.signature);
}


ngx_http_claude_answer_block_t *
ngx_http_claude_answer_text_last(ngx_http_claude_answer_text_t *text)
{
    return (ngx_http_claude_answer_block_t *) text->blocks.elts
           + text->blocks.nelts - 1;
}


ngx_uint_t
ngx_http_claude_answer_text_says(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_e type)
{
    ngx_uint_t                       i;
    ngx_http_claude_answer_block_t  *kept;

    kept = text->blocks.elts;

    for (i = 0; i < text->blocks.nelts; i++) {
        if (kept[i].block.type == type
            && ngx_http_claude_document_length(&kept[i].said))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_claude_answer_text_list(ngx_http_claude_answer_text_t *text,
    ngx_http_claude_document_t *document,
    ngx_http_claude_answer_write_pt write)
{
    ngx_uint_t                       i;
    ngx_http_claude_answer_block_t  *kept;

    kept = text->blocks.elts;

    for (i = 0; i < text->blocks.nelts; i++) {

        if (i) {
            ngx_claude_out_literal(&document->out, ",");
        }

        write(document, &kept[i]);
    }
}


void
ngx_http_claude_answer_text_join(ngx_http_claude_answer_text_t *text,
    ngx_claude_block_e type, ngx_http_claude_document_t *document)
{
    ngx_uint_t                       i;
    ngx_http_claude_answer_block_t  *kept;

    kept = text->blocks.elts;

    for (i = 0; i < text->blocks.nelts; i++) {
        if (kept[i].block.type == type) {
            ngx_http_claude_document_add(document, &kept[i].said);
        }
    }
}


/* strings of a block that the turn tells live as long as the call */

static ngx_int_t
text_copy(ngx_pool_t *pool, ngx_str_t *s)
{
    if (s->len == 0) {
        return NGX_OK;
    }

    s->data = ngx_pstrdup(pool, s);

    return s->data ? NGX_OK : NGX_ERROR;
}
