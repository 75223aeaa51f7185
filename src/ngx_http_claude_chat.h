
/*
 * The dialect of chat completions: a body to a turn, and a turn's events to
 * OpenAI's objects, streamed or whole.  It knows HTTP and JSON shapes, and
 * nothing of processes.  Source: OpenAI's API reference, "Chat".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_json.h"
#include "ngx_http_claude_stream.h"
#include "ngx_http_claude_turn.h"


typedef struct {
    ngx_http_claude_ctx_t     *ctx;
    ngx_http_claude_turn_t     turn;
    ngx_str_t                  model;          /* as the client wrote it */
    ngx_str_t                  id;             /* chatcmpl-... */
    time_t                     created;

    unsigned                   streamed:1;
    unsigned                   include_usage:1;

    /* streamed */
    ngx_http_claude_stream_t   stream;
    ngx_str_t                  prefix;         /* of every chunk */

    /* whole: the text as JSON, in buffers of growing size */
    ngx_chain_t               *text;
    ngx_chain_t              **last;
    size_t                     length;         /* of the text so far */
} ngx_http_claude_chat_t;


/* the content handler of .../chat/completions */
ngx_int_t ngx_http_claude_chat_handler(ngx_http_request_t *r);

/*
 * Reads a request: sets model, messages and knobs of the turn.  NGX_OK, or an
 * HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_request(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);


#endif /* _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_ */
