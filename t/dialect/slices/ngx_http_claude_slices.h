
/*
 * A dialect of the tests that has what one may leave out.
 */


#ifndef _NGX_HTTP_CLAUDE_SLICES_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SLICES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_claude_dialect.h"


extern const ngx_http_claude_dialect_t  ngx_http_claude_slices;


#endif /* _NGX_HTTP_CLAUDE_SLICES_H_INCLUDED_ */
