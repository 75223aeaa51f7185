
/*
 * JSON schemas, rewritten to what the Messages API takes for constrained
 * output ("Structured outputs", "JSON Schema limitations"): every object is
 * closed, words that the API does not know become part of the description,
 * references point into one $defs, and recursion is unrolled a few levels,
 * since the API has none.  The rewritten schema never allows what the
 * client's forbids, but for the words that moved into descriptions, which the
 * model is only told.
 *
 * It knows JSON and nothing of requests, but for what all schemas of one may
 * cost together: references, allOf and lists of types can make much of
 * little.  The client's tree is only read; the room's own nodes are gone when
 * a schema is written.
 */


#ifndef _NGX_CLAUDE_SCHEMA_H_INCLUDED_
#define _NGX_CLAUDE_SCHEMA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_json.h"
#include "ngx_claude_text.h"


/*
 * The cost of a request's schemas, zeroed at first: each brings as much as its
 * own bytes are worth, and there is a part that is free.
 */
typedef struct {
    size_t                     brought;
    size_t                     spent;
} ngx_claude_schema_work_t;


typedef struct ngx_claude_schema_node_s  ngx_claude_schema_node_t;


/* schemas that share one $defs */
typedef struct {
    ngx_str_t                  reason;       /* why one cannot be, for
                                                clients: "... at #/items";
                                                until it is done with */

    /* the rest is the room's own */
    ngx_claude_schema_work_t  *work;
    ngx_pool_t                *pool;         /* reason and defs */
    ngx_pool_t                *scratch; /* the one at hand */
    ngx_claude_text_t          defs;         /* members of $defs, written */
    ngx_uint_t                 ntargets;          /* definitions named so
                                                     far */
    ngx_uint_t                 nreferences;       /* definitions begun */

    /* while a schema is rewritten */
    ngx_claude_schema_node_t  *root;
    ngx_uint_t                 nvalues;
    size_t                     len;          /* bytes as JSON, about */
    ngx_rbtree_t               marks;        /* nodes' marks, by address */
    ngx_rbtree_node_t          sentinel;
    ngx_str_t                  step;         /* room to decode a step */
    ngx_claude_schema_node_t  *anything;
} ngx_claude_schema_t;


/* NGX_ERROR: no memory, and nothing to be done with */
ngx_int_t ngx_claude_schema_init(ngx_claude_schema_t *schema,
    ngx_claude_schema_work_t *work, ngx_log_t *log);

/*
 * Adds a client's schema, rewritten, to a text; NULL is {}.  Its references
 * are looked up in itself.  about: the description, if it is to have one and
 * has none, or NULL.  NGX_OK; NGX_DECLINED: it cannot be, schema->reason says
 * why; NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_schema_rewrite(ngx_claude_schema_t *schema,
    ngx_claude_json_t *json, ngx_str_t *about, ngx_claude_text_t *text);

/*
 * After the last one: puts what the references need, as $defs, into the object
 * that the text ends with.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_claude_schema_defs(ngx_claude_schema_t *schema,
    ngx_claude_text_t *text);

/* frees all that is the room's, also after an error */
void ngx_claude_schema_done(ngx_claude_schema_t *schema);


#endif /* _NGX_CLAUDE_SCHEMA_H_INCLUDED_ */
