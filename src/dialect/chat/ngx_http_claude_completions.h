
/*
 * The dialect of completions, the endpoint before chat completions.
 */


#ifndef _NGX_HTTP_CLAUDE_COMPLETIONS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_COMPLETIONS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_http_claude_dialect.h"


extern const ngx_http_claude_dialect_t  ngx_http_claude_completions;

/* the members of a body, in the order in which they are read */
extern const ngx_claude_json_field_t  ngx_http_claude_completions_fields[];


#endif /* _NGX_HTTP_CLAUDE_COMPLETIONS_H_INCLUDED_ */
