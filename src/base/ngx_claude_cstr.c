
/*
 * C strings.  See the header.
 */


#include "ngx_claude_cstr.h"


const char *
ngx_claude_cstr_print(u_char *buf, size_t size, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + size - 1, fmt, args);
    va_end(args);

    *p = '\0';

    return ngx_claude_cstr(buf);
}
