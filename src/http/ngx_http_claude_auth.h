
/*
 * API keys: reading them from the configuration and finding out whose key a
 * request carries.  Keys themselves are forgotten once read; what remains are
 * their SHA-1 sums and their identities, the tenants of the engine: a key's is
 * its name, else its sum.
 */


#ifndef _NGX_HTTP_CLAUDE_AUTH_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_AUTH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_conf.h"


/* handlers of the directives claude_api_key and claude_api_key_file */
char *ngx_http_claude_auth_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_claude_auth_key_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * The key of a request, from its Authorization header.  NULL: none, or none
 * of these.  Takes the same time for any wrong key of a length.
 */
ngx_http_claude_key_t *ngx_http_claude_auth_find(ngx_http_request_t *r,
    ngx_array_t *keys);

/*
 * Settles who asks, whatever `satisfy` let through: NGX_OK, with ctx->key
 * set, or NGX_HTTP_UNAUTHORIZED with the error set, or an error status.
 */
ngx_int_t ngx_http_claude_auth(ngx_http_request_t *r);

/* the handler of the access phase */
ngx_int_t ngx_http_claude_auth_access(ngx_http_request_t *r);


#endif /* _NGX_HTTP_CLAUDE_AUTH_H_INCLUDED_ */
