
/*
 * The body of chat completions: what members it has, and how they are read
 * into the question.
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_REQUEST_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_http_claude_exchange.h"


/*
 * The members of a body, in the order in which they are read: of several that
 * are wrong the first is told.
 */
extern const ngx_claude_json_field_t  ngx_http_claude_chat_fields[];

/* inside of stream_options */
extern const ngx_claude_json_field_t  ngx_http_claude_chat_options[];

/* members that this body and that of the older completions begin with */

#define NGX_HTTP_CLAUDE_CHAT_COMMON                                           \
    { ngx_string("model"), NULL, ngx_http_claude_params_model },              \
    { ngx_string("stream"), NULL, ngx_http_claude_params_stream },            \
    { ngx_string("stream_options"), ngx_http_claude_chat_options,             \
      ngx_http_claude_chat_stream_options },                                  \
    { ngx_string("max_tokens"), NULL, ngx_http_claude_params_max_tokens },    \
    { ngx_string("max_completion_tokens"), NULL,                              \
      ngx_http_claude_params_max_tokens },                                    \
    { ngx_string("n"), NULL, ngx_http_claude_params_n },                      \
    { ngx_string("stop"), ngx_claude_json_items,                              \
      ngx_http_claude_params_stop },                                          \
    { ngx_string("temperature"), NULL, ngx_http_claude_params_temperature },  \
    { ngx_string("top_p"), NULL, ngx_http_claude_params_top_p }


/* reads that member.  NGX_OK, or an HTTP status with the error set */
ngx_int_t ngx_http_claude_chat_stream_options(void *data, const char *name,
    ngx_claude_json_t *node);


#endif /* _NGX_HTTP_CLAUDE_CHAT_REQUEST_H_INCLUDED_ */
