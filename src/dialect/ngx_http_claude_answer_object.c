
/*
 * An answer that is to be one JSON object (response_format json_object): the
 * model was told so, and mostly does it, but it may put a code fence or a
 * word around.  What is told the client is the text from the first brace to
 * the one that closes it.  Where no brace comes for a while there is none,
 * and the text stays as it is.
 */


#include "ngx_http_claude_filter.h"


/* text before the first brace that is held back, bytes */
#define OBJECT_HELD  4096


static ngx_int_t object_delta(ngx_http_claude_filter_t *filter, u_char *p,
    size_t len);
static ngx_int_t object_end(ngx_http_claude_filter_t *filter);
static ngx_int_t object_search(ngx_http_claude_filter_object_t *object,
    u_char *p, size_t len);
static ngx_int_t object_inside(ngx_http_claude_filter_object_t *object,
    u_char *p, size_t len);
static ngx_int_t object_pass(ngx_http_claude_filter_object_t *object,
    u_char *p, size_t len);
static size_t object_close(ngx_http_claude_filter_object_t *object,
    u_char *p, size_t len);


void
ngx_http_claude_filter_object(ngx_http_claude_filter_object_t *object,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool)
{
    object->filter.next = next;
    object->filter.pool = pool;
    object->filter.delta = object_delta;
    object->filter.end = object_end;
}


static ngx_int_t
object_delta(ngx_http_claude_filter_t *filter, u_char *p, size_t len)
{
    ngx_http_claude_filter_object_t  *object;

    object = (ngx_http_claude_filter_object_t *) filter;

    if (object->plain) {
        return object_pass(object, p, len);
    }

    return object->begun ? object_inside(object, p, len)
                         : object_search(object, p, len);
}


/* all that there is, if it has no object in it */

static ngx_int_t
object_end(ngx_http_claude_filter_t *filter)
{
    ngx_http_claude_filter_object_t  *object;

    object = (ngx_http_claude_filter_object_t *) filter;

    if (!object->begun && !object->plain) {
        object->plain = 1;

        if (object_pass(object, object->held.data, object->held.len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return filter->next->end(filter->next);
}


/* the object has not begun yet */

static ngx_int_t
object_search(ngx_http_claude_filter_object_t *object, u_char *p, size_t len)
{
    u_char  *brace;

    brace = ngx_strlchr(p, p + len, '{');

    if (brace) {
        object->begun = 1;

        return object_inside(object, brace, p + len - brace);
    }

    if (object->held.data == NULL) {
        object->held.data = ngx_pnalloc(object->filter.pool, OBJECT_HELD);
        if (object->held.data == NULL) {
            return NGX_ERROR;
        }
    }

    if (object->held.len + len <= OBJECT_HELD) {
        ngx_memcpy(object->held.data + object->held.len, p, len);
        object->held.len += len;

        return NGX_OK;
    }

    /* too much for a word before an object */

    object->plain = 1;

    if (object_pass(object, object->held.data, object->held.len) != NGX_OK) {
        return NGX_ERROR;
    }

    return object_pass(object, p, len);
}


static ngx_int_t
object_inside(ngx_http_claude_filter_object_t *object, u_char *p, size_t len)
{
    return object->done ? NGX_OK
                        : object_pass(object, p, object_close(object, p, len));
}


static ngx_int_t
object_pass(ngx_http_claude_filter_object_t *object, u_char *p, size_t len)
{
    ngx_http_claude_filter_t  *next;

    next = object->filter.next;

    return len ? next->delta(next, p, len) : NGX_OK;
}


/* how many bytes are still the object's */

static size_t
object_close(ngx_http_claude_filter_object_t *object, u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (object->in_string) {

            if (object->escaped) {
                object->escaped = 0;

            } else if (p[i] == '\\') {
                object->escaped = 1;

            } else if (p[i] == '"') {
                object->in_string = 0;
            }

            continue;
        }

        switch (p[i]) {

        case '"':
            object->in_string = 1;
            break;

        case '{':
        case '[':
            object->depth++;
            break;

        case '}':
        case ']':

            if (--object->depth == 0) {
                object->done = 1;
                return i + 1;
            }

            break;
        }
    }

    return len;
}
