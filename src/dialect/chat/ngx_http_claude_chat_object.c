
/*
 * An answer that is to be one JSON object (response_format json_object): the
 * model was told so, and mostly does it, but it may put a code fence or a
 * word around.  What is told the client is the text from the first brace to
 * the one that closes it.  Where no brace comes for a while there is none,
 * and the text stays as it is.
 */


#include "ngx_http_claude_chat.h"


/* text before the first brace that is held back, bytes */
#define OBJECT_HELD  4096


static ngx_int_t object_begin(ngx_http_claude_chat_choice_t *choice,
    u_char **p, size_t *len);
static size_t object_end(ngx_http_claude_chat_object_t *object, u_char *p,
    size_t len);


ngx_int_t
ngx_http_claude_chat_object(ngx_http_claude_chat_choice_t *choice, u_char **p,
    size_t *len)
{
    ngx_http_claude_chat_object_t  *object;

    object = &choice->object;

    if (*len == 0) {

        if (!object->begun && !object->plain) {
            object->plain = 1;
            *p = object->held.data;
            *len = object->held.len;
        }

        return NGX_OK;
    }

    if (object->plain) {
        return NGX_OK;
    }

    if (!object->begun) {

        if (object_begin(choice, p, len) != NGX_OK) {
            return NGX_ERROR;
        }

        if (*len == 0 || object->plain) {
            return NGX_OK;
        }
    }

    *len = object->done ? 0 : object_end(object, *p, *len);

    return NGX_OK;
}


/* *len is 0 while it has not begun */

static ngx_int_t
object_begin(ngx_http_claude_chat_choice_t *choice, u_char **p, size_t *len)
{
    u_char                         *brace;
    ngx_http_claude_chat_object_t  *object;

    object = &choice->object;
    brace = ngx_strlchr(*p, *p + *len, '{');

    if (brace) {
        object->begun = 1;
        *len -= brace - *p;
        *p = brace;

        return NGX_OK;
    }

    if (object->held.data == NULL) {
        object->held.data = ngx_pnalloc(choice->turn.pool, OBJECT_HELD);
        if (object->held.data == NULL) {
            return NGX_ERROR;
        }
    }

    if (object->held.len + *len <= OBJECT_HELD) {
        ngx_memcpy(object->held.data + object->held.len, *p, *len);
        object->held.len += *len;
        *len = 0;

        return NGX_OK;
    }

    /* too much for a word before an object */

    brace = ngx_pnalloc(choice->turn.pool, object->held.len + *len);
    if (brace == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(brace, object->held.data, object->held.len);
    ngx_memcpy(brace + object->held.len, *p, *len);

    *p = brace;
    *len += object->held.len;
    object->plain = 1;

    return NGX_OK;
}


/* how many bytes are still the object's */

static size_t
object_end(ngx_http_claude_chat_object_t *object, u_char *p, size_t len)
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
