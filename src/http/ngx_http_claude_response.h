
/*
 * Responses of one piece, and the headers that all of ours carry.
 */


#ifndef _NGX_HTTP_CLAUDE_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_RESPONSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_document.h"


/*
 * For what a handler sends itself, whatever an error_page makes its status:
 * adds the request's id and, if the request has one, X-Session-Id.
 */
ngx_int_t ngx_http_claude_response_headers(ngx_http_request_t *r);

/*
 * Sends a document with status 200; returns what a content handler returns.
 * type: a literal.
 */
ngx_int_t ngx_http_claude_response(ngx_http_request_t *r, const char *type,
    ngx_http_claude_document_t *document);


#endif /* _NGX_HTTP_CLAUDE_RESPONSE_H_INCLUDED_ */
