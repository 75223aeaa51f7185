
/*
 * JSON schemas, private: what its files share, the one that walks through a
 * schema and those about nodes, references, merging and words.  Where nothing
 * else is said, functions return NGX_OK, NGX_ERROR, NGX_DECLINED for what has
 * been refused, or SCHEMA_NEVER.
 */


#ifndef _NGX_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_


#include "ngx_claude_cstr.h"
#include "ngx_claude_schema.h"


/* names short for the files and long for the linker */
#define schema_import        ngx_claude_schema_import
#define schema_new           ngx_claude_schema_new
#define schema_string        ngx_claude_schema_string
#define schema_copy          ngx_claude_schema_copy
#define schema_add           ngx_claude_schema_add
#define schema_add_word      ngx_claude_schema_add_word
#define schema_keep          ngx_claude_schema_keep
#define schema_word          ngx_claude_schema_word
#define schema_members       ngx_claude_schema_members
#define schema_table         ngx_claude_schema_table
#define schema_table_find    ngx_claude_schema_table_find
#define schema_length        ngx_claude_schema_length
#define schema_write         ngx_claude_schema_write
#define schema_put           ngx_claude_schema_put
#define schema_refuse        ngx_claude_schema_refuse
#define schema_check         ngx_claude_schema_check
#define schema_reference     ngx_claude_schema_reference
#define schema_root          ngx_claude_schema_root
#define schema_find          ngx_claude_schema_find
#define schema_all_of        ngx_claude_schema_all_of
#define schema_words         ngx_claude_schema_words
#define schema_word_is_told  ngx_claude_schema_word_is_told
#define schema_min_items     ngx_claude_schema_min_items
#define schema_format        ngx_claude_schema_format
#define schema_tell          ngx_claude_schema_tell


/* times that a definition may stand inside itself */
#define SCHEMA_LEVELS      4

/* values of a client's schema, and references; people write hundreds */
#define SCHEMA_VALUES      20000
#define SCHEMA_BYTES       1048576
#define SCHEMA_REFERENCES  500
#define SCHEMA_DEPTH       300

/*
 * The limit of what a request's schemas cost: a part that is free, about
 * 40,000 nodes, and what each brings.  A schema that nothing multiplies does
 * not cost more than that, so these are limits on references, allOf and lists
 * of types, which can make much of little.
 */
#define SCHEMA_WORK        1000000
#define SCHEMA_WORK_BYTE   8           /* brought by a byte of a schema */
#define SCHEMA_WORK_VALUE  48          /* brought by a value */
#define SCHEMA_WORK_EACH   1024        /* brought by a schema */

/* the cost of a node, a step of the walk, a look, and a byte written */
#define SCHEMA_COST_NODE   24
#define SCHEMA_COST_STEP   16
#define SCHEMA_COST_LOOK   4
#define SCHEMA_COST_BYTE   1

/* a place that is told to clients, and a name in it */
#define SCHEMA_PLACE       512
#define SCHEMA_PLACE_NAME  128


/* a rewriting's fourth result: nothing satisfies it, or it never ends */
#define SCHEMA_NEVER       NGX_DONE


/* words that have a meaning here, by length */
typedef enum {
    SCHEMA_OTHER = 0,
    SCHEMA_ID4,
    SCHEMA_ID,
    SCHEMA_REF,
    SCHEMA_TYPE,
    SCHEMA_ENUM,
    SCHEMA_DEFS,
    SCHEMA_ITEMS,
    SCHEMA_CONST,
    SCHEMA_ANY_OF,
    SCHEMA_ONE_OF,
    SCHEMA_ALL_OF,
    SCHEMA_TITLE,
    SCHEMA_FORMAT,
    SCHEMA_SCHEMA,
    SCHEMA_ANCHOR,
    SCHEMA_COMMENT,
    SCHEMA_REQUIRED,
    SCHEMA_MIN_ITEMS,
    SCHEMA_PROPERTIES,
    SCHEMA_DEFINITIONS,
    SCHEMA_PREFIX_ITEMS,
    SCHEMA_DESCRIPTION,
    SCHEMA_DISCRIMINATOR,
    SCHEMA_ADDITIONAL,
    SCHEMA_NWORDS
} schema_word_e;


/*
 * A value of a schema, the client's or the rewritten one, whose children are
 * linked.  Small, since there are many: a value or children, never both.
 */
typedef ngx_claude_schema_node_t  schema_node_t;

struct ngx_claude_schema_node_s {
    schema_node_t                *next;
    ngx_str_t                     name;      /* empty unless a member */

    union {
        ngx_str_t                 value;     /* string, number */

        struct {
            schema_node_t        *first;
            schema_node_t        *last;
        } list;                              /* array, object */
    } u;

    unsigned                      type:8;    /* ngx_claude_json_type_e */
    unsigned                      word:8;    /* schema_word_e: the name */
};


/* children, sorted by name or by value, or in their order */
typedef struct {
    ngx_str_t                    *key;
    schema_node_t                *node;
    ngx_uint_t                    n;
} schema_entry_t;

typedef struct {
    schema_entry_t               *entry;
    ngx_uint_t                    n;
} schema_table_t;

typedef enum {
    SCHEMA_BY_NAME = 0,
    SCHEMA_BY_VALUE,                         /* strings alone */
    SCHEMA_BY_ORDER
} schema_table_e;


typedef struct schema_place_s  schema_place_t;

struct schema_place_s {
    ngx_claude_schema_t          *schema;
    schema_place_t               *up;
    ngx_str_t                     name;
    ngx_uint_t                    level;
    ngx_uint_t                    depth;
};


#define schema_has(node, t)  ((node)->type == NGX_CLAUDE_JSON_ ## t)

#define schema_list(node)  ((node)->type >= NGX_CLAUDE_JSON_ARRAY)

/* the first child of any node; NULL: it has none */
#define schema_first(node)  (schema_list(node) ? (node)->u.list.first : NULL)

#define schema_charge(place, cost)  (place)->schema->work->spent += (cost)


/* in schema_nodes.c */

/*
 * A client's schema as nodes; NULL is an empty object.  Strings stay where
 * they are.  This alone knows how the client's tree is made.
 */
ngx_int_t schema_import(schema_place_t *place, ngx_claude_json_t *json,
    schema_node_t **node);

/* an empty node, or a string.  NULL: no memory */
schema_node_t *schema_new(schema_place_t *place, ngx_claude_json_type_e type);
schema_node_t *schema_string(schema_place_t *place, ngx_str_t *value);

/* a node that can have another parent, with the same children */
schema_node_t *schema_copy(schema_place_t *place, schema_node_t *node);

/* the node itself becomes the last child, so it must have no parent */
void schema_add(schema_node_t *parent, schema_node_t *node);
void schema_add_word(schema_node_t *parent, schema_word_e word,
    schema_node_t *node);

/* adds a copy of a member, with its name.  NGX_OK or NGX_ERROR */
ngx_int_t schema_keep(schema_place_t *place, schema_node_t *out,
    schema_node_t *member);

/* the last member that is this word; NULL: there is none */
schema_node_t *schema_word(schema_node_t *object, schema_word_e word);

/* the last member of each word, in an array of SCHEMA_NWORDS */
void schema_members(schema_place_t *place, schema_node_t *object,
    schema_node_t **words);

/* NGX_OK or NGX_ERROR */
ngx_int_t schema_table(schema_place_t *place, schema_node_t *list,
    schema_table_e by, schema_table_t *table);

/* the last of that key; NULL: there is none */
schema_node_t *schema_table_find(schema_table_t *table, ngx_str_t *key);

/* bytes of a node as JSON; writes it at p, and returns the end */
size_t schema_length(schema_node_t *node);
u_char *schema_write(u_char *p, schema_node_t *node);

/* adds a node to a text, which costs what is written */
ngx_int_t schema_put(schema_place_t *place, schema_node_t *node,
    ngx_claude_text_t *text);

/* says why not, and where.  NGX_DECLINED or NGX_ERROR */
ngx_int_t schema_refuse(schema_place_t *place, const char *reason);

/* refuses when more was spent than the request's schemas may cost */
ngx_int_t schema_check(schema_place_t *place);

/* in schema_refs.c */

/* rewrites the schema that stands at a place */
typedef ngx_int_t (*schema_rewrite_pt)(schema_place_t *place,
    schema_node_t *in, schema_node_t **out);

/*
 * A schema with a $ref, and what is said about it there; what the reference
 * is of gets rewritten, if it has not been.
 */
ngx_int_t schema_reference(schema_place_t *place, schema_node_t *ref,
    schema_node_t *about, schema_rewrite_pt rewrite, schema_node_t **out);

/* says that a node is the root, which a reference may stand in */
ngx_int_t schema_root(schema_place_t *place, schema_node_t *node);

/*
 * The node of the client's schema that a pointer names; NGX_DECLINED without a
 * refusal: nothing is there.
 */
ngx_int_t schema_find(schema_place_t *place, ngx_str_t *pointer,
    schema_node_t **node);

/* in schema_merge.c */

/* merges a schema and its allOf, the list, into one that is to be rewritten */
ngx_int_t schema_all_of(schema_place_t *place, schema_node_t *in,
    schema_node_t *list, schema_node_t **merged);

/* in schema_words.c */

/* title and description, with all words in it that the API does not take */
ngx_int_t schema_words(schema_place_t *place, schema_node_t *in,
    schema_node_t *out);

/* whether a member goes into the description */
ngx_uint_t schema_word_is_told(schema_node_t *member);

/* the only minItems that the API takes, 0 and 1; -1: it is another */
ngx_int_t schema_min_items(schema_node_t *node);

/* whether a format, of strings, is one that the API takes */
ngx_uint_t schema_format(schema_node_t *node);

/* adds a paragraph to the description.  NGX_OK or NGX_ERROR */
ngx_int_t schema_tell(schema_place_t *place, schema_node_t *out,
    ngx_str_t *text);


#endif /* _NGX_CLAUDE_SCHEMA_PRIVATE_H_INCLUDED_ */
