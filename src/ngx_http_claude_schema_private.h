
/*
 * JSON schemas, private: what its files share, the one that walks through a
 * schema and those about references, merging and words.  Where nothing else is
 * said, functions return NGX_OK, NGX_ERROR, NGX_DECLINED for what has been
 * refused, or SCHEMA_NEVER.
 */


#ifndef _NGX_HTTP_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_


#include "ngx_http_claude_schema.h"


/* names short for the files and long for the linker */
#define schema_spend         ngx_http_claude_schema_spend
#define schema_walk          ngx_http_claude_schema_walk
#define schema_step          ngx_http_claude_schema_step
#define schema_copy          ngx_http_claude_schema_copy
#define schema_keep          ngx_http_claude_schema_keep
#define schema_reference     ngx_http_claude_schema_reference
#define schema_find          ngx_http_claude_schema_find
#define schema_named         ngx_http_claude_schema_named
#define schema_all_of        ngx_http_claude_schema_all_of
#define schema_words         ngx_http_claude_schema_words
#define schema_word_is_told  ngx_http_claude_schema_word_is_told
#define schema_format        ngx_http_claude_schema_format
#define schema_tell          ngx_http_claude_schema_tell
#define schema_refuse        ngx_http_claude_schema_refuse


/* how often a definition may stand inside itself */
#define SCHEMA_LEVELS    4

/*
 * Limits on the work, since references can make much of little: values of the
 * client's schema, nodes of the rewritten one (or 64 bytes of description),
 * and definitions.  Schemas that people write have hundreds.
 */
#define SCHEMA_VALUES    20000
#define SCHEMA_NODES     20000
#define SCHEMA_TARGETS   500
#define SCHEMA_DEPTH     300


/* a rewriting's fourth result: nothing satisfies it, or it never ends */
#define SCHEMA_NEVER     NGX_DONE


typedef enum {
    SCHEMA_OPEN = 0,                    /* being rewritten */
    SCHEMA_READY,
    SCHEMA_IMPOSSIBLE
} schema_state_e;


typedef struct {
    ngx_http_claude_json_t   *node;     /* the client's */
    ngx_uint_t                level;    /* copies of it around */
    schema_state_e            state;
    ngx_str_t                 name;     /* in $defs */
} schema_target_t;


typedef struct schema_place_s  schema_place_t;

struct schema_place_s {
    ngx_http_claude_schema_t  *schema;
    schema_place_t            *up;
    ngx_str_t                  name;
    ngx_uint_t                 level;
    ngx_uint_t                 depth;
};


#define schema_is(s, literal)                                                 \
    ((s)->len == sizeof(literal) - 1                                          \
     && ngx_memcmp((s)->data, literal, sizeof(literal) - 1) == 0)

#define schema_same(a, b)                                                     \
    ((a)->len == (b)->len && ngx_memcmp((a)->data, (b)->data, (a)->len) == 0)

#define schema_member   ngx_http_claude_json_member
#define schema_new(p, type)                                                   \
    ngx_http_claude_schema_node((p)->schema->pool,                            \
                                NGX_HTTP_CLAUDE_JSON_ ## type, NULL)


/* in schema.c */

/* so many nodes more; refuses when there are too many */
ngx_int_t schema_spend(schema_place_t *place, ngx_uint_t nodes);

/* rewrites what stands at the place */
ngx_int_t schema_walk(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out);

/* the schema at a member: "properties" and its name, or "items" and none */
ngx_int_t schema_step(schema_place_t *place, const char *name,
    ngx_str_t *more, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out);

/* a node that can have another parent; NULL: no memory */
ngx_http_claude_json_t *schema_copy(ngx_pool_t *pool,
    ngx_http_claude_json_t *node);

/* adds a copy of a member, with its name.  NGX_OK or NGX_ERROR */
ngx_int_t schema_keep(schema_place_t *place, ngx_http_claude_json_t *out,
    ngx_http_claude_json_t *member);

/* in schema_refs.c */

/* a schema with a $ref */
ngx_int_t schema_reference(schema_place_t *place,
    ngx_http_claude_json_t *ref, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out);

/* what a pointer points to in the client's schema; NULL: nothing is there */
ngx_http_claude_json_t *schema_find(ngx_http_claude_schema_t *schema,
    ngx_str_t *pointer);

/* the last member of that name; NULL: there is none */
ngx_http_claude_json_t *schema_named(ngx_http_claude_json_t *object,
    ngx_str_t *name);

/* in schema_merge.c */

/* a schema with an allOf, the list */
ngx_int_t schema_all_of(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *list, ngx_http_claude_json_t **out);

/* in schema_words.c */

/* title and description, with all words in it that the API does not take */
ngx_int_t schema_words(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *out);

/* whether a word belongs into the description */
ngx_uint_t schema_word_is_told(ngx_http_claude_json_t *member);

/* whether the API takes this format of strings */
ngx_uint_t schema_format(ngx_http_claude_json_t *node);

/* adds a paragraph to the description.  NGX_OK or NGX_ERROR */
ngx_int_t schema_tell(schema_place_t *place, ngx_http_claude_json_t *out,
    ngx_str_t *text);

/* says why not, and where.  NGX_DECLINED or NGX_ERROR */
ngx_int_t schema_refuse(schema_place_t *place, const char *reason);


#endif /* _NGX_HTTP_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_ */
