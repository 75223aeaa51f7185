
/*
 * The variables: $claude_key_name, $claude_model and so on.
 */


#ifndef _NGX_HTTP_CLAUDE_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_VARIABLES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* all of them, up to an empty name */
extern const ngx_http_variable_t  ngx_http_claude_variables[];


/* adds them, at preconfiguration */
ngx_int_t ngx_http_claude_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_CLAUDE_VARIABLES_H_INCLUDED_ */
