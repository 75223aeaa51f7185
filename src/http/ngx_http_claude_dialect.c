
/*
 * Which dialect an address is of.  See the header.
 */


#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_conf.h"


ngx_int_t
ngx_http_claude_dialect_add(ngx_conf_t *cf,
    const ngx_http_claude_dialect_t *dialect)
{
    ngx_uint_t                         i;
    ngx_http_claude_main_conf_t       *mcf;
    const ngx_http_claude_dialect_t  **known;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_claude_module);

    if (ngx_array_push(&mcf->dialects) == NULL) {
        return NGX_ERROR;
    }

    /* the longest first: one may be the end of another */

    known = mcf->dialects.elts;

    for (i = mcf->dialects.nelts - 1; i; i--) {

        if (known[i - 1]->path.len >= dialect->path.len) {
            break;
        }

        known[i] = known[i - 1];
    }

    known[i] = dialect;

    return NGX_OK;
}


const ngx_http_claude_dialect_t *
ngx_http_claude_dialect(ngx_http_request_t *r)
{
    ngx_uint_t                         i;
    ngx_str_t                          path;
    ngx_http_claude_loc_conf_t        *lcf;
    ngx_http_claude_main_conf_t       *mcf;
    const ngx_http_claude_dialect_t  **known;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (!lcf->openai) {
        return NULL;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    known = mcf->dialects.elts;

    for (i = 0; i < mcf->dialects.nelts; i++) {
        path = known[i]->path;

        if (ngx_http_claude_address_is(r, &path)) {
            return known[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_claude_address_is(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char  *p;

    if (r->uri.len < name->len) {
        return 0;
    }

    p = r->uri.data + r->uri.len - name->len;

    return ngx_memcmp(p, name->data, name->len) == 0
           && p < ngx_http_claude_address_under(r);
}


u_char *
ngx_http_claude_address_under(ngx_http_request_t *r)
{
    u_char                      *p, *last;
    ngx_str_t                   *prefix;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    prefix = &lcf->prefix;
    last = r->uri.data + r->uri.len;

    if (prefix->len == 0 || !r->valid_location || r->uri.len < prefix->len
        || ngx_memcmp(r->uri.data, prefix->data, prefix->len) != 0)
    {
        return last;
    }

    p = r->uri.data + prefix->len;

    while (p < last && *p == '/') {
        p++;
    }

    return p;
}
