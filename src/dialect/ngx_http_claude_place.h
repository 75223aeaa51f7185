
/*
 * Where in the body something stands, for its errors: messages[3].content[0].
 * It is kept in steps, and made a text only when there is an error.
 */


#ifndef _NGX_HTTP_CLAUDE_PLACE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_PLACE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"


#define NGX_HTTP_CLAUDE_PLACE_STEPS  8

/* bytes of a text */
#define NGX_HTTP_CLAUDE_PLACE_LEN    256


typedef struct {
    const char                *member;       /* name of an object's member;
                                                NULL: an item of an array */
    ngx_uint_t                 index;        /* number of the item, from 0 */
} ngx_http_claude_place_step_t;


typedef struct {
    ngx_http_claude_ctx_t         *ctx;
    ngx_uint_t                     n;        /* number of steps from the body
                                                to the place */
    unsigned                       dots:1;   /* the place is written as
                                                messages.3.content.0 */
    ngx_http_claude_place_step_t  steps[NGX_HTTP_CLAUDE_PLACE_STEPS];
} ngx_http_claude_place_t;


/* goes one step further; the caller puts n back */
void ngx_http_claude_place_in(ngx_http_claude_place_t *place,
    const char *member);
void ngx_http_claude_place_at(ngx_http_claude_place_t *place,
    ngx_uint_t index);

/* the place as a text; member: behind it, or NULL; cut to the size of buf */
const char *ngx_http_claude_place_text(ngx_http_claude_place_t *place,
    const char *member, u_char *buf, size_t size);

/*
 * Sets the error 400 "'messages[3].content[0].<member>' <message>." and
 * returns the status.  member may be NULL; message is a literal, or made of
 * what the client sent.
 */
ngx_int_t ngx_http_claude_place_error(ngx_http_claude_place_t *place,
    const char *member, const char *message);
ngx_int_t ngx_http_claude_place_refuse(ngx_http_claude_place_t *place,
    const char *member, ngx_str_t *message);


#endif /* _NGX_HTTP_CLAUDE_PLACE_H_INCLUDED_ */
