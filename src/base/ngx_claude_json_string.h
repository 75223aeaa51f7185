
/*
 * A JSON string that comes in pieces, decoded as they come: yajl would scan it
 * from its beginning at each of them.  Words of refusals are yajl's.
 */


#ifndef _NGX_CLAUDE_JSON_STRING_H_INCLUDED_
#define _NGX_CLAUDE_JSON_STRING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_CLAUDE_JSON_PLAIN = 0,
    NGX_CLAUDE_JSON_ESCAPE,            /* after a backslash */
    NGX_CLAUDE_JSON_HEX                /* within the four of \uXXXX */
} ngx_claude_json_string_e;


typedef struct {
    ngx_pool_t                *pool;
    ngx_str_t                  text;     /* what came so far, decoded */
    size_t                     size;     /* bytes allocated for it */
    size_t                     checked;  /* bytes that are valid UTF-8 */
    const char                *reason;   /* why it was refused */
    uint32_t                   code;     /* digits of \uXXXX so far */
    uint32_t                   high;     /* surrogate that waits for the other
                                            half; 0: none */
    ngx_uint_t                 digits;   /* how many have come */
    ngx_claude_json_string_e   state;
    unsigned                   blank:1;  /* white space alone so far */
} ngx_claude_json_string_t;


/* at the first byte behind the opening quote; text is of the pool */
void ngx_claude_json_string_begin(ngx_claude_json_string_t *string,
    ngx_pool_t *pool);

/*
 * Reads on from *p, which it moves.  NGX_OK: *p is behind the closing quote;
 * NGX_AGAIN: there is more to come; NGX_DECLINED: reason says why it is no
 * string; NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_json_string_read(ngx_claude_json_string_t *string,
    u_char **p, u_char *last);


#endif /* _NGX_CLAUDE_JSON_STRING_H_INCLUDED_ */
