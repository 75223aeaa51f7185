
/*
 * Images and files of a message, as blocks that the model takes.  What
 * upstream would refuse is refused here by the name of its place: another
 * kind of data than it says, broken base64, too much of it.  Nothing is ever
 * fetched: a URL is handed on.
 *
 * Source: the Messages API, "Vision" and "PDF support".
 */


#ifndef _NGX_HTTP_CLAUDE_MEDIA_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_MEDIA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_turn.h"
#include "ngx_http_claude_place.h"


/* what of a file is done */
typedef enum {
    NGX_HTTP_CLAUDE_FILE_NEW = 0,
    NGX_HTTP_CLAUDE_FILE_CHECK,              /* whether it is base64 */
    NGX_HTTP_CLAUDE_FILE_DECODE              /* a text, which is to be UTF-8 */
} ngx_http_claude_file_e;


/* images and files of one body */
typedef struct {
    ngx_http_claude_place_t   *place;
    ngx_pool_t                *pool;         /* memory of the turn */
    size_t                    *left;         /* bytes that the slice has left,
                                                see exchange.h */
    size_t                     attached;     /* bytes of base64 so far */

    /* the file that is read, in slices */
    ngx_http_claude_file_e     stage;
    size_t                     offset;       /* bytes of base64 that are
                                                checked, then decoded */
    ngx_str_t                  text;         /* what is decoded */
    size_t                     valid;        /* bytes of it that are UTF-8 */
    unsigned                   blank:1;
} ngx_http_claude_media_t;


/*
 * Fill in a zeroed block; member: of the place, for errors.  NGX_OK; or
 * NGX_AGAIN: the slice has nothing left, the same again; or an HTTP status
 * with the error set.
 */

/* an image: a data URL, or one of https */
ngx_int_t ngx_http_claude_media_image_url(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *url, ngx_claude_block_t *block);

/* an image of a type, lower case, in base64 */
ngx_int_t ngx_http_claude_media_image(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *type, ngx_str_t *base64,
    ngx_claude_block_t *block);

/* a PDF or a text: a data URL; and of a type, in base64 */
ngx_int_t ngx_http_claude_media_file_url(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *url, ngx_claude_block_t *block);
ngx_int_t ngx_http_claude_media_file(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *type, ngx_str_t *base64,
    ngx_claude_block_t *block);


#endif /* _NGX_HTTP_CLAUDE_MEDIA_H_INCLUDED_ */
