
/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond
 * U+10FFFF.  yajl lets some of these pass.
 */


#ifndef _NGX_CLAUDE_UTF8_H_INCLUDED_
#define _NGX_CLAUDE_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* whether all bytes together are valid UTF-8 */
ngx_uint_t ngx_claude_utf8_valid(const u_char *p, size_t len);

/*
 * The length without a character at the end that may go on behind it; of
 * valid UTF-8 a whole one may be left out as well.
 */
size_t ngx_claude_utf8_whole(const u_char *p, size_t len);

/*
 * Copies with U+FFFD for every byte that is not valid; to has room for three
 * times the length.  Returns the end.
 */
u_char *ngx_claude_utf8_copy(u_char *to, const u_char *p, size_t len);

/* puts a question mark in the place of every byte that is not valid */
void ngx_claude_utf8_clean(u_char *p, size_t len);


/*
 * Whether valid UTF-8 is nothing but white space, as ECMAScript's trim() has
 * it, which the CLI judges by.
 */
ngx_uint_t ngx_claude_utf8_blank(ngx_str_t *text);


#endif /* _NGX_CLAUDE_UTF8_H_INCLUDED_ */
