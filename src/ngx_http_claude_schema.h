
/*
 * JSON schemas, rewritten to what the Messages API takes for constrained
 * output ("Structured outputs", "JSON Schema limitations"): every object is
 * closed, words that the API does not know become part of the description,
 * references point into one $defs, and recursion is unrolled a few levels,
 * since the API has none.  The rewritten schema never allows what the
 * client's forbids, but for the words that moved into descriptions, which the
 * model is only told.
 *
 * It knows JSON and nothing of requests.  Trees live in the pool; the
 * client's is not changed, and its nodes are shared.
 */


#ifndef _NGX_HTTP_CLAUDE_SCHEMA_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SCHEMA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_json.h"


typedef struct {
    ngx_pool_t               *pool;
    ngx_str_t                 reason;    /* why one cannot be, for clients:
                                            "... at #/properties/a" */

    /* the room's own */
    ngx_http_claude_json_t   *root;
    ngx_array_t               targets;   /* of references */
    ngx_http_claude_json_t   *defs;
    ngx_uint_t                nodes;
} ngx_http_claude_schema_t;


/* gets ready for one or more schemas that share a $defs.  NGX_ERROR: memory */
ngx_int_t ngx_http_claude_schema_init(ngx_http_claude_schema_t *schema,
    ngx_pool_t *pool);

/*
 * Rewrites a client's schema, whose references are looked up in itself.
 * NGX_OK: *out is a new object without $defs, to be put anywhere into one
 * whole; NGX_DECLINED: it cannot be, schema->reason says why; NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_http_claude_schema_rewrite(ngx_http_claude_schema_t *schema,
    ngx_http_claude_json_t *root, ngx_http_claude_json_t **out);

/*
 * Adds to the whole what its references need, and writes it.  NGX_OK or NGX_
 * ERROR.
 */
ngx_int_t ngx_http_claude_schema_text(ngx_http_claude_schema_t *schema,
    ngx_http_claude_json_t *whole, ngx_str_t *text);

/* new nodes, for a whole of several schemas: {"anyOf":[one,two]}.  NULL: no
 * memory.  add: the node itself becomes a child, so it must have no parent */
ngx_http_claude_json_t *ngx_http_claude_schema_node(ngx_pool_t *pool,
    ngx_http_claude_json_type_e type, const char *value);
void ngx_http_claude_schema_add(ngx_http_claude_json_t *parent,
    const char *name, ngx_http_claude_json_t *node);


#endif /* _NGX_HTTP_CLAUDE_SCHEMA_H_INCLUDED_ */
