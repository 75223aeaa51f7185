
/*
 * A JSON string that comes in pieces.  See the header.
 */


#include "ngx_claude_json_string.h"
#include "ngx_claude_memory.h"
#include "ngx_claude_utf8.h"


/* bytes of the first allocation */
#define STRING_SIZE  16384


static ngx_int_t string_plain(ngx_claude_json_string_t *string, u_char **p,
    u_char *last);
static ngx_int_t string_escape(ngx_claude_json_string_t *string, u_char c);
static ngx_int_t string_hex(ngx_claude_json_string_t *string, u_char c);
static ngx_int_t string_code(ngx_claude_json_string_t *string);
static ngx_int_t string_half(ngx_claude_json_string_t *string);
static ngx_int_t string_put(ngx_claude_json_string_t *string, u_char *p,
    size_t len);
static ngx_int_t string_check(ngx_claude_json_string_t *string,
    ngx_uint_t whole);
static ngx_int_t string_refuse(ngx_claude_json_string_t *string,
    const char *reason);


/* what stands for half a surrogate */
static u_char  string_replacement[] = { 0xef, 0xbf, 0xbd };


void
ngx_claude_json_string_begin(ngx_claude_json_string_t *string,
    ngx_pool_t *pool)
{
    ngx_memzero(string, sizeof(ngx_claude_json_string_t));
    string->pool = pool;
    string->blank = 1;
}


ngx_int_t
ngx_claude_json_string_read(ngx_claude_json_string_t *string, u_char **p,
    u_char *last)
{
    ngx_int_t  rc;

    while (*p < last) {

        switch (string->state) {

        case NGX_CLAUDE_JSON_ESCAPE:
            rc = string_escape(string, *(*p)++);
            break;

        case NGX_CLAUDE_JSON_HEX:
            rc = string_hex(string, *(*p)++);
            break;

        default:
            rc = string_plain(string, p, last);
            break;
        }

        if (rc == NGX_DONE) {
            return string_check(string, 1);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = string_check(string, 0);

    return (rc == NGX_OK) ? NGX_AGAIN : rc;
}


/* all up to what is not plain.  NGX_DONE: that is the end */

static ngx_int_t
string_plain(ngx_claude_json_string_t *string, u_char **p, u_char *last)
{
    u_char  *begin;

    begin = *p;

    while (*p < last && **p != '"' && **p != '\\' && **p >= 0x20) {
        (*p)++;
    }

    if (*p > begin
        && (string_half(string) != NGX_OK
            || string_put(string, begin, *p - begin) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (*p == last) {
        return NGX_OK;
    }

    switch (*(*p)++) {

    case '"':
        return (string_half(string) == NGX_OK) ? NGX_DONE : NGX_ERROR;

    case '\\':
        string->state = NGX_CLAUDE_JSON_ESCAPE;
        return NGX_OK;

    default:
        return string_refuse(string,
                      "lexical error: invalid character inside string.");
    }
}


static ngx_int_t
string_escape(ngx_claude_json_string_t *string, u_char c)
{
    string->state = NGX_CLAUDE_JSON_PLAIN;

    switch (c) {

    case 'u':
        string->state = NGX_CLAUDE_JSON_HEX;
        string->code = 0;
        string->digits = 0;
        return NGX_OK;

    case 'b':
        c = '\b';
        break;

    case 'f':
        c = '\f';
        break;

    case 'n':
        c = '\n';
        break;

    case 'r':
        c = '\r';
        break;

    case 't':
        c = '\t';
        break;

    case '"':
    case '\\':
    case '/':
        break;

    default:
        return string_refuse(string, "lexical error: inside a string, '\\' "
                             "occurs before a character which it may not.");
    }

    return (string_half(string) == NGX_OK) ? string_put(string, &c, 1)
                                           : NGX_ERROR;
}


static ngx_int_t
string_hex(ngx_claude_json_string_t *string, u_char c)
{
    ngx_uint_t  digit;

    if (c >= '0' && c <= '9') {
        digit = c - '0';

    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = (c | 0x20) - 'a' + 10;

    } else {
        return string_refuse(string, "lexical error: invalid (non-hex) "
                             "character occurs after '\\u' inside string.");
    }

    string->code = string->code << 4 | digit;

    if (++string->digits < 4) {
        return NGX_OK;
    }

    string->state = NGX_CLAUDE_JSON_PLAIN;

    return string_code(string);
}


/* a code of UTF-16: half of a surrogate waits for the other one */

static ngx_int_t
string_code(ngx_claude_json_string_t *string)
{
    size_t    n;
    u_char    utf8[4];
    uint32_t  code;

    code = string->code;

    if (string->high && code >= 0xdc00 && code <= 0xdfff) {
        code = 0x10000 + ((string->high - 0xd800) << 10) + (code - 0xdc00);
        string->high = 0;

    } else if (string_half(string) != NGX_OK) {
        return NGX_ERROR;
    }

    if (code >= 0xd800 && code <= 0xdbff) {
        string->high = code;
        return NGX_OK;
    }

    if (code >= 0xdc00 && code <= 0xdfff) {
        return string_put(string, string_replacement, 3);
    }

    if (code == 0) {
        return string_refuse(string, "a string holds a NUL character");
    }

    if (code < 0x80) {
        utf8[0] = (u_char) code;
        n = 1;

    } else if (code < 0x800) {
        utf8[0] = (u_char) (0xc0 | code >> 6);
        n = 2;

    } else if (code < 0x10000) {
        utf8[0] = (u_char) (0xe0 | code >> 12);
        utf8[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        n = 3;

    } else {
        utf8[0] = (u_char) (0xf0 | code >> 18);
        utf8[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
        utf8[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
        n = 4;
    }

    if (n > 1) {
        utf8[n - 1] = (u_char) (0x80 | (code & 0x3f));
    }

    return string_put(string, utf8, n);
}


/* the other half has not come */

static ngx_int_t
string_half(ngx_claude_json_string_t *string)
{
    if (string->high == 0) {
        return NGX_OK;
    }

    string->high = 0;

    return string_put(string, string_replacement, 3);
}


/*
 * A long string is never copied: its memory grows where it is, or the system
 * moves the pages.
 */

static ngx_int_t
string_put(ngx_claude_json_string_t *string, u_char *p, size_t len)
{
    u_char  *data;
    size_t   size;

    if (string->size - string->text.len < len) {

        size = ngx_max(STRING_SIZE, 2 * (string->text.len + len));

        data = string->size
               ? ngx_claude_memory_grow(string->pool, string->text.data,
                                        string->text.len, size)
               : ngx_pnalloc(string->pool, size);

        if (data == NULL) {
            return NGX_ERROR;
        }

        string->text.data = data;
        string->size = size;
    }

    ngx_memcpy(string->text.data + string->text.len, p, len);
    string->text.len += len;

    return NGX_OK;
}


/* whole: no character of it is to come any more */

static ngx_int_t
string_check(ngx_claude_json_string_t *string, ngx_uint_t whole)
{
    ngx_str_t  text;

    text.data = string->text.data + string->checked;
    text.len = string->text.len - string->checked;

    if (text.len == 0) {
        return NGX_OK;
    }

    if (!whole) {
        text.len = ngx_claude_utf8_whole(text.data, text.len);
    }

    if (!ngx_claude_utf8_valid(text.data, text.len)) {
        return string_refuse(string, "a string is not valid UTF-8");
    }

    if (string->blank && !ngx_claude_utf8_blank(&text)) {
        string->blank = 0;
    }

    string->checked += text.len;

    return NGX_OK;
}


static ngx_int_t
string_refuse(ngx_claude_json_string_t *string, const char *reason)
{
    string->reason = reason;

    return NGX_DECLINED;
}
