
/*
 * Files of lines that directives name: API keys, variables of an environment.
 * Read by the master, maybe as root; they may hold secrets, so nothing of a
 * line is logged here, and nothing of the file is kept.
 */


#ifndef _NGX_HTTP_CLAUDE_CONF_LINES_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CONF_LINES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* line: without the blanks around it; n: its number, from 1 */
typedef ngx_int_t (*ngx_http_claude_conf_line_pt)(ngx_conf_t *cf, void *conf,
    ngx_str_t *file, ngx_uint_t n, ngx_str_t *line);

/*
 * Handler of a directive that names a small file, relative to the
 * configuration: gives its lines to a handler of their own, which logs what
 * is wrong with them, but those that are blank or begin with #.  What was read
 * is gone afterwards.
 */
char *ngx_http_claude_conf_lines(ngx_conf_t *cf, void *conf,
    ngx_http_claude_conf_line_pt handler);


#endif /* _NGX_HTTP_CLAUDE_CONF_LINES_H_INCLUDED_ */
