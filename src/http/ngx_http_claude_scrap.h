
/*
 * Pools that may be hundreds of megabytes: they are given back a slice at a
 * time, since the system takes a tenth of a second for so much.
 */


#ifndef _NGX_HTTP_CLAUDE_SCRAP_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_SCRAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* in the place of ngx_destroy_pool(); nothing of it is to be used any more */
void ngx_http_claude_scrap(ngx_pool_t *pool);


#endif /* _NGX_HTTP_CLAUDE_SCRAP_H_INCLUDED_ */
