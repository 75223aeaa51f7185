
/*
 * Parts of a message that are not text: images and files, as blocks that the
 * model takes.  What upstream would refuse is refused here by the name of the
 * part: another kind of data than it says, broken base64, too much of it.
 * Nothing is ever fetched: a URL is handed on.
 *
 * Sources: OpenAI's API reference, "Chat", "Content parts"; the Messages API,
 * "Vision" and "PDF support".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_chat.h"


/* where in the body a message stands, for errors: messages[3].content[0] */
typedef struct {
    ngx_http_claude_chat_t   *chat;
    ngx_uint_t                message;
    ngx_int_t                 part;         /* -1: the content itself */
    ngx_array_t               system;       /* of ngx_str_t, the texts of
                                               system messages */
    size_t                    attached;     /* bytes of images and files */
} ngx_http_claude_chat_place_t;


/* what ngx_http_claude_chat_part() makes of a part */
#define NGX_HTTP_CLAUDE_CHAT_PARTS  "text, image_url and file"


/*
 * Sets the error 400 "'messages[3].content[0]<field>' <message>." and returns
 * the status.
 */
ngx_int_t ngx_http_claude_chat_place_error(ngx_http_claude_chat_place_t *place,
    const char *field, const char *message);

/*
 * Reads an image_url or file part, whose type is known to be a string, into a
 * zeroed block.  NGX_OK, NGX_DECLINED: it is another kind of part, or an HTTP
 * status with the error set.
 */
ngx_int_t ngx_http_claude_chat_part(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block);

/*
 * Reads the content of a tool's result, a string or an array of text,
 * image_url and file parts, into an array of block_t.  Blank texts are left
 * out: the Messages API takes none.  NGX_OK, or an HTTP status with the error
 * set.
 */
ngx_int_t ngx_http_claude_chat_content(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *content, ngx_array_t *blocks);

/* a member of an object, null being the same as none; NULL: there is none */
ngx_claude_json_t *ngx_http_claude_chat_field(ngx_claude_json_t *object,
    const char *name);


#endif /* _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_ */
