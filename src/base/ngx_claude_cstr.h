
/*
 * C strings.  The compiler keeps u_char * and const char * apart and knows no
 * more of it; so bytes are u_char * here, with their length beside them and
 * nothing behind them, C strings are const char *, and these are the two ways
 * from one to the other.  t/007-formats.t finds every third one.
 *
 * Bytes that are compared with a C string, or with other bytes, are compared
 * here as well, so that nobody forgets their length.
 */


#ifndef _NGX_CLAUDE_CSTR_H_INCLUDED_
#define _NGX_CLAUDE_CSTR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Bytes that have a NUL at their end; a comment says who has put it there.
 * Arguments of directives are such: ngx_conf_read_token() ends each with one.
 */

#if (NGX_CLAUDE_FORMATS)

const char *ngx_claude_cstr(const void *bytes);

#else

#define ngx_claude_cstr(bytes)  ((const char *) (bytes))

#endif


/* prints like ngx_snprintf(), cuts what does not fit, and ends with a NUL */
const char *ngx_claude_cstr_print(u_char *buf, size_t size, const char *fmt,
    ...);


/* bytes that are exactly this text, a literal or a word of a table */

static ngx_inline ngx_uint_t
ngx_claude_is(const ngx_str_t *s, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return s->len == len && (len == 0 || ngx_memcmp(s->data, text, len) == 0);
}


/* bytes that begin with this text, or are no more than it */

static ngx_inline ngx_uint_t
ngx_claude_begins(const ngx_str_t *s, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return s->len >= len && (len == 0 || ngx_memcmp(s->data, text, len) == 0);
}


/* two strings of the same bytes; empty ones need no data */

static ngx_inline ngx_uint_t
ngx_claude_same(const ngx_str_t *a, const ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


#endif /* _NGX_CLAUDE_CSTR_H_INCLUDED_ */
