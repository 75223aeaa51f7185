
/*
 * Places in a body.  See the header.
 */


#include "ngx_http_claude_place.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_error.h"


void
ngx_http_claude_place_in(ngx_http_claude_place_t *place, const char *member)
{
    if (place->n < NGX_HTTP_CLAUDE_PLACE_STEPS) {
        place->steps[place->n++].member = member;
    }
}


void
ngx_http_claude_place_at(ngx_http_claude_place_t *place, ngx_uint_t index)
{
    if (place->n < NGX_HTTP_CLAUDE_PLACE_STEPS) {
        place->steps[place->n].member = NULL;
        place->steps[place->n++].index = index;
    }
}


const char *
ngx_http_claude_place_text(ngx_http_claude_place_t *place, const char *member,
    u_char *buf, size_t size)
{
    u_char                        *p, *last;
    ngx_uint_t                     i;
    ngx_http_claude_place_step_t  *step;

    p = buf;
    last = buf + size - 1;

    for (i = 0; i < place->n; i++) {
        step = &place->steps[i];

        if (step->member) {
            p = ngx_slprintf(p, last, "%s%s", i ? "." : "", step->member);

        } else {
            p = ngx_slprintf(p, last, place->dots ? ".%ui" : "[%ui]",
                             step->index);
        }
    }

    if (member) {
        p = ngx_slprintf(p, last, "%s%s", place->n ? "." : "", member);
    }

    *p = '\0';

    /* a NUL was put at the end above */

    return ngx_claude_cstr(buf);
}


ngx_int_t
ngx_http_claude_place_error(ngx_http_claude_place_t *place,
    const char *member, const char *message)
{
    ngx_str_t  text;

    text.data = (u_char *) message;
    text.len = ngx_strlen(message);

    return ngx_http_claude_place_refuse(place, member, &text);
}


ngx_int_t
ngx_http_claude_place_refuse(ngx_http_claude_place_t *place,
    const char *member, ngx_str_t *message)
{
    u_char       buf[NGX_HTTP_CLAUDE_PLACE_LEN];
    const char  *param;

    param = ngx_http_claude_place_text(place, member, buf, sizeof(buf));

    return ngx_http_claude_error_400(place->ctx, param, "'%s' %V.", param,
                                     message);
}
