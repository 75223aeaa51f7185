
/*
 * Errors in OpenAI's shape, which are those of several dialects, and of the
 * addresses that no dialect has.  Source: OpenAI's API reference, "Error
 * codes".
 */


#ifndef _NGX_HTTP_CLAUDE_OPENAI_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_OPENAI_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_dialect.h"


#define NGX_HTTP_CLAUDE_OPENAI_ID  "x-request-id"


/* dialect of an address without one: no more than its errors */
extern const ngx_http_claude_dialect_t  ngx_http_claude_openai;


/* operations of a dialect */
void ngx_http_claude_openai_failure(ngx_http_claude_error_t *error);
void ngx_http_claude_openai_error(ngx_claude_out_t *out,
    ngx_http_claude_error_t *error);


#endif /* _NGX_HTTP_CLAUDE_OPENAI_H_INCLUDED_ */
