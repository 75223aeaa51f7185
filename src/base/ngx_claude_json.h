
/*
 * JSON on yajl: a streaming reader that builds a tree of what a client sent,
 * and the writing of escaped strings.
 *
 * The tree is compact and cannot be changed: a cell of 16 bytes for each value
 * and for each name, in the order of the text, so that the shortest values,
 * of two bytes, take eight times their length.  Members that nobody reads are
 * not in it.  The reader holds the tree, one partial token and a nesting depth
 * that is limited; it knows nothing of HTTP or of the OpenAI fields.
 */


#ifndef _NGX_CLAUDE_JSON_H_INCLUDED_
#define _NGX_CLAUDE_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* nesting that a body may have; JSON schemas rarely pass 20 */
#define NGX_CLAUDE_JSON_DEPTH        128

/* bytes that a call should be given: some of the event loop is for others */
#define NGX_CLAUDE_JSON_SLICE        65536

/* the longest number, in bytes */
#define NGX_CLAUDE_JSON_NUMBER_MAX   65536

/* members of an object that a table has, repeated ones too */
#define NGX_CLAUDE_JSON_MEMBERS      32768


typedef enum {
    NGX_CLAUDE_JSON_NULL = 0,
    NGX_CLAUDE_JSON_FALSE,
    NGX_CLAUDE_JSON_TRUE,
    NGX_CLAUDE_JSON_NUMBER,
    NGX_CLAUDE_JSON_STRING,
    NGX_CLAUDE_JSON_ARRAY,
    NGX_CLAUDE_JSON_OBJECT
} ngx_claude_json_type_e;


typedef struct ngx_claude_json_s         ngx_claude_json_t;
typedef struct ngx_claude_json_reader_s  ngx_claude_json_reader_t;
typedef struct ngx_claude_json_field_s   ngx_claude_json_field_t;

/*
 * A cell.  Only the type is for others to read; a member's name is in the
 * cell before its value's.
 */
struct ngx_claude_json_s {
    union {
        u_char                   *data;    /* bytes of a string or number */
        ngx_claude_json_t        *end;     /* first cell behind a container */
    } u;

    uint32_t                      len;     /* bytes of a string or number;
                                              members of an object that a
                                              table has */
    unsigned                      type:4;  /* json_type_e */
    unsigned                      last:1;  /* no sibling follows */
    unsigned                      named:1; /* a member of an object */
    unsigned                      bare:1;  /* a container without cells */
    unsigned                      holds:1; /* a container with a value, kept or
                                              not */
    unsigned                      blank:1; /* a string of white space alone */
};


/*
 * Reads a member of an object for the table's owner; name: its own; node: NULL
 * if there is none.  What it returns is between the two.
 */
typedef ngx_int_t (*ngx_claude_json_read_pt)(void *data, const char *name,
    ngx_claude_json_t *node);

/*
 * The members that a dialect reads, a table that a field without a name ends.
 * Of an object at the place the members in the table are kept, an array at the
 * place hands the table to its items.  Inside a field without a table nothing
 * is kept; that there was something can be asked for.
 */
struct ngx_claude_json_field_s {
    ngx_str_t                       name;
    const ngx_claude_json_field_t  *inside;
    ngx_claude_json_read_pt         read;  /* the owner's; NULL: it has none,
                                              and may ignore the member */
};

/* the table of a place where all is kept, for schemas and the like */
extern const ngx_claude_json_field_t  ngx_claude_json_all[];

/* the table of what is a list of texts or numbers: its items, and no more */
extern const ngx_claude_json_field_t  ngx_claude_json_items[];

/* the table of a member that is known, and ignored: nothing is kept */
extern const ngx_claude_json_field_t  ngx_claude_json_ignored[];


/*
 * What a text has, in its order, for who needs no tree.  NGX_OK; NGX_DONE:
 * nothing more is wanted.  Values are valid during the call.
 */
typedef struct {
    ngx_int_t  (*value)(void *data, ngx_claude_json_type_e type,
        ngx_str_t *value);
    ngx_int_t  (*open)(void *data, ngx_claude_json_type_e type);
    ngx_int_t  (*name)(void *data, ngx_str_t *name);
    ngx_int_t  (*close)(void *data, ngx_claude_json_type_e type);
} ngx_claude_json_events_t;


/*
 * A reader for one JSON text, that frees itself with the pool.  The strings
 * of the tree are allocated from the pool, its cells from another, which may
 * be destroyed before (and after) it, or the same.  NULL: no memory.
 */
ngx_claude_json_reader_t *ngx_claude_json_reader(ngx_pool_t *pool,
    ngx_pool_t *cells, const ngx_claude_json_field_t *fields);

/* one that makes no tree: ngx_claude_json_end() has none */
ngx_claude_json_reader_t *ngx_claude_json_stream(ngx_pool_t *pool,
    const ngx_claude_json_events_t *events, void *data);

/*
 * Reads the next bytes; they need not outlive the call.  NGX_DONE: an event
 * wants no more; NGX_ERROR: the text is refused and ngx_claude_json_reason()
 * says why.
 */
ngx_int_t ngx_claude_json_read(ngx_claude_json_reader_t *reader, u_char *p,
    size_t len);

/* the end of the text: the root, or NULL when it is refused */
ngx_claude_json_t *ngx_claude_json_end(ngx_claude_json_reader_t *reader);

/* the beginning of a string that has not ended yet, or an empty one */
ngx_str_t ngx_claude_json_begun(ngx_claude_json_reader_t *reader);

/* why a text was refused, for the client to read */
ngx_str_t *ngx_claude_json_reason(ngx_claude_json_reader_t *reader);

/* the first value in a container, NULL: it is empty, or no container */
ngx_claude_json_t *ngx_claude_json_first(ngx_claude_json_t *node);

/* the value behind it in its container, or NULL */
ngx_claude_json_t *ngx_claude_json_next(ngx_claude_json_t *node);

/* the name of a member; of what is none, an empty one without data */
ngx_str_t ngx_claude_json_name(ngx_claude_json_t *node);

/* a string decoded, a number as it was written; of others, an empty string */
ngx_str_t ngx_claude_json_value(ngx_claude_json_t *node);

/* a container that held something, kept or not */
#define ngx_claude_json_holds(node)                                           \
    ((node)->type >= NGX_CLAUDE_JSON_ARRAY && (node)->holds)

/* members of an object that a table has, which each search goes through */
#define ngx_claude_json_members(node)                                         \
    ((node)->type == NGX_CLAUDE_JSON_OBJECT ? (node)->len : 0)

/* a string of nothing but white space, see utf8.h: known from the reading */
#define ngx_claude_json_blank(node)  ((node)->blank)

/*
 * Whether the value is no longer than *left bytes as JSON, about: a quote, a
 * comma or a colon more or less.  *left is what is left of them then; the look
 * at it ends when nothing is.
 */
ngx_uint_t ngx_claude_json_within(ngx_claude_json_t *node, size_t *left);

/* a string that is equal to the text */
ngx_uint_t ngx_claude_json_is(ngx_claude_json_t *node, const char *text);

/* the last member of that name (RFC 8259 leaves duplicates to us), or NULL */
ngx_claude_json_t *ngx_claude_json_member(ngx_claude_json_t *object,
    const char *name);

/* a member by name whose value is not null, or NULL */
ngx_claude_json_t *ngx_claude_json_field(ngx_claude_json_t *object,
    const char *name);

/* NGX_OK: *value is the integer; NGX_DECLINED: not an integer in the range */
ngx_int_t ngx_claude_json_integer(ngx_claude_json_t *node, ngx_int_t min,
    ngx_int_t max, ngx_int_t *value);

/* NGX_OK: *value is the number; NGX_DECLINED: not a number in the range */
ngx_int_t ngx_claude_json_double(ngx_claude_json_t *node, double min,
    double max, double *value);

/*
 * Writes a string with its quotes, escaped, at p, in the length that it has
 * then, or in what is always enough; returns the end.  Invalid UTF-8 is the
 * caller's to avoid: what yajl read is valid.
 */
size_t ngx_claude_json_escaped_len(const u_char *s, size_t len);

#define ngx_claude_json_escaped_max(len)  (6 * (len) + 2)

u_char *ngx_claude_json_escape(u_char *p, const u_char *s, size_t len);


#endif /* _NGX_CLAUDE_JSON_H_INCLUDED_ */
