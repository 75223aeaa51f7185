
/*
 * UTF-8 as RFC 3629 has it.  See the header.
 */


#include "ngx_claude_utf8.h"


/* bytes of the character at p; 0: no valid one */

static size_t
utf8_length(const u_char *p, const u_char *last)
{
    size_t  n, i;
    u_char  low, high;

    if (*p < 0x80) {
        return 1;
    }

    /* bounds of the second byte: RFC 3629, the table of section 4 */

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        n = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        n = 3;

        if (*p == 0xe0) {
            low = 0xa0;

        } else if (*p == 0xed) {
            high = 0x9f;
        }

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        n = 4;

        if (*p == 0xf0) {
            low = 0x90;

        } else if (*p == 0xf4) {
            high = 0x8f;
        }

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


ngx_uint_t
ngx_claude_utf8_valid(const u_char *p, size_t len)
{
    size_t         n;
    uint64_t       word;
    const u_char  *last;

    last = p + len;

    while (p < last) {

        /* eight bytes of ASCII at a time */

        if (last - p >= 8) {
            ngx_memcpy(&word, p, 8);

            if ((word & 0x8080808080808080ULL) == 0) {
                p += 8;
                continue;
            }
        }

        n = utf8_length(p, last);

        if (n == 0) {
            return 0;
        }

        p += n;
    }

    return 1;
}


size_t
ngx_claude_utf8_whole(const u_char *p, size_t len)
{
    u_char  c;
    size_t  i;

    for (i = 1; i < 4 && i <= len; i++) {

        c = p[len - i];

        if (c < 0x80) {
            break;
        }

        if (c >= 0xc0) {
            return len - i;
        }
    }

    return len;
}


u_char *
ngx_claude_utf8_copy(u_char *to, const u_char *p, size_t len)
{
    size_t         n;
    const u_char  *last;

    for (last = p + len; p < last; p += n) {
        n = utf8_length(p, last);

        if (n) {
            to = ngx_cpymem(to, p, n);

        } else {
            to = ngx_cpymem(to, "\xef\xbf\xbd", 3);
            n = 1;
        }
    }

    return to;
}


void
ngx_claude_utf8_clean(u_char *p, size_t len)
{
    size_t   n;
    u_char  *last;

    for (last = p + len; p < last; p += n) {
        n = utf8_length(p, last);

        if (n == 0) {
            *p = '?';
            n = 1;
        }
    }
}


ngx_uint_t
ngx_claude_utf8_blank(ngx_str_t *text)
{
    u_char    *p, *last;
    uint32_t   ch;

    p = text->data;
    last = p + text->len;

    while (p < last) {

        if (*p < 0x80) {
            if (*p > ' ' || (*p < ' ' && (*p < '\t' || *p > '\r'))) {
                return 0;
            }

            p++;
            continue;
        }

        ch = ngx_utf8_decode(&p, last - p);

        if (!(ch == 0xa0 || ch == 0x1680 || (ch >= 0x2000 && ch <= 0x200a)
              || ch == 0x2028 || ch == 0x2029 || ch == 0x202f || ch == 0x205f
              || ch == 0x3000 || ch == 0xfeff))
        {
            return 0;
        }
    }

    return 1;
}
