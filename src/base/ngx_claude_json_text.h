
/*
 * JSON trees back to text: as they are, and in the one form that all texts of
 * the same meaning have.
 */


#ifndef _NGX_CLAUDE_JSON_TEXT_H_INCLUDED_
#define _NGX_CLAUDE_JSON_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_json.h"
#include "ngx_claude_out.h"


/*
 * A tree as JSON, without white space.  Strings that yajl read are valid
 * UTF-8, numbers stay as they were written.
 */
void ngx_claude_json_text_out(ngx_claude_out_t *out, ngx_claude_json_t *node);

/* A tree as JSON text of a pool.  NGX_OK, or NGX_ERROR without memory */
ngx_int_t ngx_claude_json_text(ngx_pool_t *pool, ngx_claude_json_t *node,
    ngx_str_t *text);

/* length of that text, in bytes */
size_t ngx_claude_json_text_len(ngx_claude_json_t *node);

/*
 * One text for all that mean the same: members sorted, the last of each name,
 * numbers by their value.  NGX_DECLINED: it is no JSON, *canonical is the
 * text itself; NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_json_canonical(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *canonical);

/* a whole text, read at once: the root, or NULL when it is no JSON */
ngx_claude_json_t *ngx_claude_json_parse(ngx_pool_t *pool, ngx_str_t *text);


#endif /* _NGX_CLAUDE_JSON_TEXT_H_INCLUDED_ */
