
/*
 * Messages while they are read, and the parts of their content.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_http_claude_calls.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_media.h"
#include "ngx_http_claude_place.h"


/* the messages of a body while they are read */
typedef struct {
    ngx_http_claude_exchange_t  *ex;
    ngx_http_claude_place_t      place;      /* place of the message, or of
                                                its part */
    ngx_http_claude_media_t      media;
    ngx_http_claude_calls_t      calls;
    ngx_claude_json_t           *next;       /* message that is read next */
    ngx_claude_json_t           *part;       /* part or call of it that is;
                                                NULL: none yet */
    ngx_uint_t                   index;      /* number of the part or call */
    ngx_uint_t                   stage;      /* what of the message is read:
                                                its content, then calls */
    ngx_claude_block_t          *call;       /* call that is read; NULL: none
                                                has begun */
    ngx_array_t                 *blocks;     /* block_t of the result that is
                                                read */
    ngx_uint_t                   message;    /* number of the message, from
                                                0 */
    ngx_uint_t                   caller;     /* number of the one that called
                                                last */
    ngx_array_t                  system;     /* texts of system messages,
                                                ngx_str_t */
    unsigned                     listed:1;   /* all messages are read */
} ngx_http_claude_chat_reader_t;


/* what a message, a part or a call costs besides its bytes, see spend() */
#define ngx_http_claude_chat_cost(node)                                       \
    (128 + 16 * ngx_claude_json_members(node))


/*
 * Both of them return NGX_AGAIN when the slice has nothing left: they are
 * called again with the same node.
 */

/*
 * Reads an image_url or file part, whose type is known to be a string, into a
 * zeroed block.  NGX_OK, NGX_DECLINED: it is another kind of part, or an HTTP
 * status with the error set.
 */
ngx_int_t ngx_http_claude_chat_part(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_claude_block_t *block);

/*
 * Reads the content of a tool's result, a string or an array of text,
 * image_url and file parts, into an array of block_t.  Blank texts are left
 * out: the Messages API takes none.  NGX_OK, or an HTTP status with the error
 * set.
 */
ngx_int_t ngx_http_claude_chat_content(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *content, ngx_array_t *blocks);


#endif /* _NGX_HTTP_CLAUDE_CHAT_CONTENT_H_INCLUDED_ */
