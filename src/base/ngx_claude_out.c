
/*
 * The JSON writer.  See the header.
 */


#include "ngx_claude_out.h"
#include "ngx_claude_json.h"


/* a string is escaped in slices that surely fit the room there is */
#define OUT_SLICE   ((NGX_CLAUDE_OUT_ROOM - 2) / 6)

/* digits of a number, and its sign */
#define OUT_NUMBER  (NGX_INT64_LEN + 1)


/* a conversion of a format */
typedef struct {
    ngx_uint_t   width;
    ngx_uint_t   sign;
    u_char       letter;
} out_value_t;


/* an argument of a conversion: the two types have the size that it has */
#define out_integer(out, value, args, type, utype)                            \
    do {                                                                      \
        if ((value)->sign) {                                                  \
            out_signed(out, value, va_arg(args, type));                       \
                                                                              \
        } else {                                                              \
            out_number(out, (value)->width, va_arg(args, utype));             \
        }                                                                     \
    } while (0)


static ngx_uint_t out_room(ngx_claude_out_t *out, size_t least);
static ngx_uint_t out_room_escaped(ngx_claude_out_t *out, const u_char *p,
    size_t len);
static const char *out_parse(out_value_t *value, const char *fmt);
static void out_str(ngx_claude_out_t *out, ngx_str_t *s, u_char letter);
static void out_signed(ngx_claude_out_t *out, out_value_t *value, int64_t n);
static void out_number(ngx_claude_out_t *out, ngx_uint_t width, uint64_t n);


void
ngx_claude_out_write(ngx_claude_out_t *out, const void *p, size_t len)
{
    size_t         n;
    const u_char  *from;

    from = p;

    while (len) {

        if (!out_room(out, 1)) {
            return;
        }

        n = ngx_min(len, (size_t) (out->end - out->last));

        out->last = ngx_cpymem(out->last, from, n);
        from += n;
        len -= n;
    }
}


void
ngx_claude_out_string(ngx_claude_out_t *out, const u_char *p, size_t len)
{
    if (len == 0) {

        /* an empty string may have no address */

        ngx_claude_out_literal(out, "\"\"");
        return;
    }

    if (len <= OUT_SLICE) {

        if (out_room_escaped(out, p, len)) {
            out->last = ngx_claude_json_escape(out->last, p, len);
        }

        return;
    }

    ngx_claude_out_literal(out, "\"");
    ngx_claude_out_escape(out, p, len);
    ngx_claude_out_literal(out, "\"");
}


void
ngx_claude_out_escape(ngx_claude_out_t *out, const u_char *p, size_t len)
{
    size_t   n;
    u_char  *to, before;

    for ( /* void */ ; len; len -= n, p += n) {

        n = ngx_min(len, OUT_SLICE);

        if (n < len) {

            /* not in the midst of a character */

            while (n > 1 && (p[n] & 0xc0) == 0x80) {
                n--;
            }
        }

        if (!out_room_escaped(out, p, n)) {
            return;
        }

        /* each slice comes with quotes: the first goes, as does the last */

        to = out->last;
        before = to[-1];
        out->last = ngx_claude_json_escape(to - 1, p, n) - 1;
        to[-1] = before;
    }
}


void
ngx_claude_out(ngx_claude_out_t *out, const char *fmt, ...)
{
    va_list       args;
    const char   *p, *s;
    out_value_t   value;

    va_start(args, fmt);

    for ( ;; ) {

        for (p = fmt; *p && *p != '%'; p++) { /* void */ }

        ngx_claude_out_write(out, fmt, p - fmt);

        if (*p == '\0') {
            break;
        }

        fmt = out_parse(&value, p + 1);

        switch (value.letter) {

        case 'V':
        case 'J':
        case 'Q':
        case 'E':
            out_str(out, va_arg(args, ngx_str_t *), value.letter);
            break;

        case 's':
            s = va_arg(args, const char *);
            ngx_claude_out_write(out, s, ngx_strlen(s));
            break;

        case 'd':
        case 'P':
            out_integer(out, &value, args, int, unsigned int);
            break;

        case 'i':
            out_integer(out, &value, args, ngx_int_t, ngx_uint_t);
            break;

        case 'z':
            out_integer(out, &value, args, ssize_t, size_t);
            break;

        case 'A':
            out_integer(out, &value, args, ngx_atomic_int_t,
                        ngx_atomic_uint_t);
            break;

        case 'L':
            out_integer(out, &value, args, int64_t, uint64_t);
            break;

        case 'T':
            out_signed(out, &value, va_arg(args, time_t));
            break;

        case 'M':
            out_number(out, value.width, va_arg(args, ngx_msec_t));
            break;

        case '%':
            ngx_claude_out_literal(out, "%");
            break;
        }
    }

    va_end(args);
}


/* whether there is room now */

static ngx_uint_t
out_room(ngx_claude_out_t *out, size_t least)
{
    if ((size_t) (out->end - out->last) >= least) {
        return 1;
    }

    if (out->failed) {
        return 0;
    }

    out->room(out, least);

    return (size_t) (out->end - out->last) >= least;
}


/* the length is counted only where what is always enough is not there */

static ngx_uint_t
out_room_escaped(ngx_claude_out_t *out, const u_char *p, size_t len)
{
    if ((size_t) (out->end - out->last) >= ngx_claude_json_escaped_max(len)) {
        return 1;
    }

    return out_room(out, ngx_claude_json_escaped_len(p, len));
}


/* reads a conversion behind its percent sign; returns its end */

static const char *
out_parse(out_value_t *value, const char *fmt)
{
    value->width = 0;
    value->sign = 1;

    while (*fmt >= '0' && *fmt <= '9') {
        value->width = value->width * 10 + (*fmt++ - '0');
    }

    if (*fmt == 'u') {
        value->sign = 0;
        fmt++;
    }

    value->letter = (u_char) *fmt;

    return *fmt ? fmt + 1 : fmt;
}


static void
out_str(ngx_claude_out_t *out, ngx_str_t *s, u_char letter)
{
    ngx_claude_out_as_e  as;

    as = (letter == 'V') ? NGX_CLAUDE_OUT_PLAIN
                         : (letter == 'E') ? NGX_CLAUDE_OUT_INSIDE
                                           : NGX_CLAUDE_OUT_STRING;

    if (out->refer && out->refer(out, s, as)) {
        return;
    }

    if (letter == 'V') {
        ngx_claude_out_write(out, s->data, s->len);

    } else if (letter == 'E') {
        ngx_claude_out_escape(out, s->data, s->len);

    } else if (letter == 'Q' && s->len == 0) {
        ngx_claude_out_literal(out, "null");

    } else {
        ngx_claude_out_string(out, s->data, s->len);
    }
}


static void
out_signed(ngx_claude_out_t *out, out_value_t *value, int64_t n)
{
    if (n < 0) {
        ngx_claude_out_literal(out, "-");
        out_number(out, value->width, - (uint64_t) n);

    } else {
        out_number(out, value->width, n);
    }
}


static void
out_number(ngx_claude_out_t *out, ngx_uint_t width, uint64_t n)
{
    u_char  buf[OUT_NUMBER], *p, *last;

    last = buf + sizeof(buf);
    p = last;

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    while (p > buf && (ngx_uint_t) (last - p) < width) {
        *--p = '0';
    }

    ngx_claude_out_write(out, p, last - p);
}
