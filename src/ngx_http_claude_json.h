
/*
 * JSON on yajl: a streaming reader that builds a tree of what a client sent,
 * and the writing of escaped strings.
 *
 * The tree lives in the pool given at creation.  The reader never holds more
 * than the tree, one partial token, and a nesting depth and value count that
 * are limited; it knows nothing of HTTP or of the OpenAI fields.
 */


#ifndef _NGX_HTTP_CLAUDE_JSON_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* nesting that a body may have; JSON schemas rarely pass 20 */
#define NGX_HTTP_CLAUDE_JSON_DEPTH   128

/* values that one body may hold, 64 bytes of memory each */
#define NGX_HTTP_CLAUDE_JSON_VALUES  1000000

/* the smallest slice worth one turn of the event loop, in bytes */
#define NGX_HTTP_CLAUDE_JSON_SLICE   65536


typedef enum {
    NGX_HTTP_CLAUDE_JSON_NULL = 0,
    NGX_HTTP_CLAUDE_JSON_FALSE,
    NGX_HTTP_CLAUDE_JSON_TRUE,
    NGX_HTTP_CLAUDE_JSON_NUMBER,
    NGX_HTTP_CLAUDE_JSON_STRING,
    NGX_HTTP_CLAUDE_JSON_ARRAY,
    NGX_HTTP_CLAUDE_JSON_OBJECT
} ngx_http_claude_json_type_e;


typedef struct ngx_http_claude_json_s         ngx_http_claude_json_t;
typedef struct ngx_http_claude_json_reader_s  ngx_http_claude_json_reader_t;

struct ngx_http_claude_json_s {
    ngx_http_claude_json_t       *next;    /* the next sibling */
    ngx_http_claude_json_t       *first;   /* children, in written order */
    ngx_http_claude_json_t       *last;
    ngx_str_t                     name;    /* as a member of an object */
    ngx_str_t                     value;   /* a string decoded, a number as
                                              it was written */
    ngx_http_claude_json_type_e   type;
};


/*
 * A reader for one JSON text.  NULL when memory is out.  Nodes and strings
 * are allocated from the pool, which also frees the reader.
 */
ngx_http_claude_json_reader_t *ngx_http_claude_json_reader(ngx_pool_t *pool);

/*
 * Reads the next bytes; they need not outlive the call.  NGX_ERROR: the text
 * is refused and ngx_http_claude_json_reason() says why.
 */
ngx_int_t ngx_http_claude_json_read(ngx_http_claude_json_reader_t *reader,
    u_char *p, size_t len);

/* the end of the text: the root, or NULL when it is refused */
ngx_http_claude_json_t *ngx_http_claude_json_end(
    ngx_http_claude_json_reader_t *reader);

/* why a text was refused, for the client to read */
ngx_str_t *ngx_http_claude_json_reason(ngx_http_claude_json_reader_t *reader);

/*
 * How many bytes the next call should be given.  yajl scans a token that is
 * split between calls from its start again, so slices grow with the token at
 * hand: the work stays within twice the length of the text.
 */
size_t ngx_http_claude_json_slice(ngx_http_claude_json_reader_t *reader);

/* the last member of that name (RFC 8259 leaves duplicates to us), or NULL */
ngx_http_claude_json_t *ngx_http_claude_json_member(
    ngx_http_claude_json_t *object, const char *name);

/* NGX_OK: *value is the integer; NGX_DECLINED: not an integer in the range */
ngx_int_t ngx_http_claude_json_integer(ngx_http_claude_json_t *node,
    ngx_int_t min, ngx_int_t max, ngx_int_t *value);

/* NGX_OK: *value is the number; NGX_DECLINED: not a number in the range */
ngx_int_t ngx_http_claude_json_double(ngx_http_claude_json_t *node,
    double min, double max, double *value);

/*
 * Writes a string with its quotes, escaped, at p.  The room at p must be
 * ngx_http_claude_json_escaped_max(len); returns the end.  Invalid UTF-8 is
 * the caller's to avoid: what yajl read is valid.
 */
#define ngx_http_claude_json_escaped_max(len)  (6 * (len) + 2)

u_char *ngx_http_claude_json_escape(u_char *p, const u_char *s, size_t len);

/* what that writes, to the byte: for texts of any length, which are scanned */
size_t ngx_http_claude_json_escaped(const u_char *s, size_t len);


/*
 * Writes a tree as JSON, without white space.  Strings that yajl read are
 * valid UTF-8, numbers stay as they were written.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_json_text(ngx_pool_t *pool,
    ngx_http_claude_json_t *node, ngx_str_t *text);

/* the same, where the room at p is known to be enough; returns the end */
size_t ngx_http_claude_json_text_max(ngx_http_claude_json_t *node);
u_char *ngx_http_claude_json_write(u_char *p, ngx_http_claude_json_t *node);

/*
 * One text for all that mean the same: members sorted, the last of each name,
 * numbers by their value.  NGX_DECLINED: it is no JSON, *canonical is the
 * text itself; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_json_canonical(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *canonical);

/* a whole text, read at once: the root, or NULL when it is no JSON */
ngx_http_claude_json_t *ngx_http_claude_json_parse(ngx_pool_t *pool,
    ngx_str_t *text);


#endif /* _NGX_HTTP_CLAUDE_JSON_H_INCLUDED_ */
