
/*
 * CLI protocol, private: the beginnings of lines, for the files of this room.
 */


#ifndef _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_


#include "ngx_claude_cli.h"


/* a control request, up to the value of "request" */
void ngx_claude_cli_control(ngx_claude_out_t *out, ngx_uint_t id);

/* an answer to one, with its first members; request_id is copied */
void ngx_claude_cli_response(ngx_claude_out_t *out, const char *subtype,
    ngx_str_t *request_id);


#endif /* _NGX_CLAUDE_CLI_PRIVATE_H_INCLUDED_ */
