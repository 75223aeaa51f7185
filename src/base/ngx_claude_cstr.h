
/*
 * C strings.  The compiler keeps u_char * and const char * apart and knows no
 * more of it; so bytes are u_char * here, with their length beside them and
 * nothing behind them, C strings are const char *, and these are the two ways
 * from one to the other.  t/007-formats.t finds every third one.
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


/* as ngx_snprintf(), always with a NUL in the end; what does not fit is cut */
const char *ngx_claude_cstr_print(u_char *buf, size_t size, const char *fmt,
    ...);


#endif /* _NGX_CLAUDE_CSTR_H_INCLUDED_ */
