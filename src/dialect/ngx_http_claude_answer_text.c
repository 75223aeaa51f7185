
/*
 * What is kept of an answer: its blocks, each escaped, in buffers that become
 * the response, so that nothing is copied twice and nothing is ever moved.
 */


#include "ngx_http_claude_answer.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"


/* bytes of the first buffer of a block */
#define TEXT_SIZE  4096


static ngx_http_claude_answer_block_t *text_last(
    ngx_http_claude_answer_t *answer);
static ngx_int_t text_copy(ngx_pool_t *pool, ngx_str_t *s);
static ngx_int_t text_too_long(ngx_http_claude_answer_t *answer, size_t max);


ngx_int_t
ngx_http_claude_answer_keep_open(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block)
{
    ngx_pool_t                      *pool;
    ngx_http_claude_answer_block_t  *kept;

    pool = answer->turn.pool;

    kept = ngx_array_push(&answer->blocks);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    kept->block = *block;
    ngx_http_claude_document_init(&kept->said, pool, TEXT_SIZE);

    if (text_copy(pool, &kept->block.text) != NGX_OK
        || text_copy(pool, &kept->block.id) != NGX_OK
        || text_copy(pool, &kept->block.name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_answer_keep(ngx_http_claude_answer_t *answer, u_char *p,
    size_t len)
{
    size_t                           length;
    ngx_http_claude_main_conf_t     *mcf;
    ngx_http_claude_answer_block_t  *kept;

    kept = text_last(answer);
    mcf = ngx_http_get_module_main_conf(answer->ctx->request,
                                        ngx_http_claude_module);

    if (answer->kept + len > mcf->max_line) {
        return text_too_long(answer, mcf->max_line);
    }

    length = ngx_http_claude_document_length(&kept->said);

    ngx_claude_out_escape(&kept->said.out, p, len);

    answer->kept += ngx_http_claude_document_length(&kept->said) - length;

    return kept->said.out.failed ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_claude_answer_keep_close(ngx_http_claude_answer_t *answer,
    ngx_claude_block_t *block)
{
    ngx_http_claude_answer_block_t  *kept;

    kept = text_last(answer);
    kept->block.signature = block->signature;

    return text_copy(answer->turn.pool, &kept->block.signature);
}


ngx_uint_t
ngx_http_claude_answer_says(ngx_http_claude_answer_t *answer,
    ngx_claude_block_e type)
{
    ngx_uint_t                       i;
    ngx_http_claude_answer_block_t  *kept;

    kept = answer->blocks.elts;

    for (i = 0; i < answer->blocks.nelts; i++) {
        if (kept[i].block.type == type
            && ngx_http_claude_document_length(&kept[i].said))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_claude_answer_text(ngx_http_claude_answer_t *answer,
    ngx_claude_block_e type, ngx_http_claude_document_t *document)
{
    ngx_uint_t                       i;
    ngx_http_claude_answer_block_t  *kept;

    kept = answer->blocks.elts;

    for (i = 0; i < answer->blocks.nelts; i++) {
        if (kept[i].block.type == type) {
            ngx_http_claude_document_add(document, &kept[i].said);
        }
    }
}


static ngx_http_claude_answer_block_t *
text_last(ngx_http_claude_answer_t *answer)
{
    return (ngx_http_claude_answer_block_t *) answer->blocks.elts
           + answer->blocks.nelts - 1;
}


/* strings of a block that is told live as long as the call */

static ngx_int_t
text_copy(ngx_pool_t *pool, ngx_str_t *s)
{
    if (s->len == 0) {
        return NGX_OK;
    }

    s->data = ngx_pstrdup(pool, s);

    return s->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
text_too_long(ngx_http_claude_answer_t *answer, size_t max)
{
    ngx_http_claude_ctx_t  *ctx;

    ctx = answer->ctx;

    ngx_log_error(NGX_LOG_ERR, answer->turn.log, 0,
                  "claude: an answer that is not streamed has more than "
                  "%uz bytes, see claude_max_line, request %V", max, &ctx->id);

    (void) ngx_http_claude_error(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                 "internal_error", NULL,
                                 "The answer is too long.");
    return NGX_ERROR;
}
