
/*
 * A text that grows while it is written: room for the next piece is asked
 * for, and what is written twice is copied no more often than a logarithm of
 * its length.  It is a sink of the JSON writer, and knows nothing of what it
 * holds.
 */


#ifndef _NGX_CLAUDE_TEXT_H_INCLUDED_
#define _NGX_CLAUDE_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_out.h"


/* a text; zeroed but for the pool, an empty one */
typedef struct {
    ngx_claude_out_t   out;           /* between begin and end */
    ngx_pool_t        *pool;
    u_char            *data;
    size_t             len;
    size_t             size;
} ngx_claude_text_t;


/*
 * An empty text, with room for just so many bytes: if it needs no more, it is
 * in one place from the start.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_claude_text_init(ngx_claude_text_t *text, ngx_pool_t *pool,
    size_t size);

/*
 * The end of the text, with room for len bytes more; the caller adds to
 * text->len what it wrote there.  NULL: no memory.
 */
u_char *ngx_claude_text_room(ngx_claude_text_t *text, size_t len);

/* adds bytes.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_claude_text_add(ngx_claude_text_t *text, const void *data,
    size_t len);

#define ngx_claude_text_literal(text, literal)                                \
    ngx_claude_text_add(text, literal, sizeof(literal) - 1)

/*
 * JSON is written behind the text, between the two, to what begin returns; the
 * text has it at the end.  NGX_ERROR: no memory, and the text is as it was.
 */
ngx_claude_out_t *ngx_claude_text_begin(ngx_claude_text_t *text);
ngx_int_t ngx_claude_text_end(ngx_claude_text_t *text);

/* copies the text, without room to spare, into a pool.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_claude_text_copy(ngx_claude_text_t *text, ngx_pool_t *pool,
    ngx_str_t *copy);


#endif /* _NGX_CLAUDE_TEXT_H_INCLUDED_ */
