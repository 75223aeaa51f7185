
/*
 * Files of lines that directives name.  See the header.
 */


#include "ngx_http_claude_conf_lines.h"
#include "ngx_claude_cstr.h"


/* keys and environments are a few lines, not a file of something else */
#define CONF_LINES_LIMIT  1048576


static ngx_int_t conf_lines_read(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);


char *
ngx_http_claude_conf_lines(ngx_conf_t *cf, void *conf,
    ngx_http_claude_conf_line_pt handler)
{
    u_char      *p, *last, *end;
    ngx_str_t   *value, file, text, line;
    ngx_uint_t   n;

    value = cf->args->elts;
    file = value[1];

    if (conf_lines_read(cf, &file, &text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    last = text.data + text.len;

    for (p = text.data, n = 1; p < last; p = end + 1, n++) {

        end = ngx_strlchr(p, last, LF);
        if (end == NULL) {
            end = last;
        }

        line.data = p;
        line.len = end - p;

        while (line.len && line.data[0] == ' ') {
            line.data++;
            line.len--;
        }

        while (line.len && (line.data[line.len - 1] == CR
                            || line.data[line.len - 1] == ' '))
        {
            line.len--;
        }

        if (line.len == 0 || line.data[0] == '#') {
            continue;
        }

        if (handler(cf, conf, &file, n, &line) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    ngx_explicit_memzero(text.data, text.len);

    return NGX_CONF_OK;
}


/* the whole file, into the temporary pool */

static ngx_int_t
conf_lines_read(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    ssize_t     n;
    ngx_int_t   rc;
    ngx_file_t  file;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));
    file.name = *name;
    file.log = cf->log;

    /* ngx_conf_full_name() ends it with a NUL */

    file.fd = ngx_open_file(ngx_claude_cstr(name->data), NGX_FILE_RDONLY,
                            NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%V\" cannot be opened", name);
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_fd_info(file.fd, &file.info) == NGX_FILE_ERROR
        || !ngx_is_file(&file.info)
        || ngx_file_size(&file.info) > CONF_LINES_LIMIT)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a file of at most 1m", name);
        goto done;
    }

    text->data = ngx_pnalloc(cf->temp_pool, ngx_file_size(&file.info) + 1);
    if (text->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, text->data, ngx_file_size(&file.info), 0);
    if (n == NGX_ERROR) {
        goto done;
    }

    text->len = n;
    rc = NGX_OK;

done:

    (void) ngx_close_file(file.fd);

    return rc;
}
