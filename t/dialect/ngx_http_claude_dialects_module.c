
/*
 * A module that adds the dialects of the tests to ngx_http_claude_module's,
 * and is loaded after it.  In src/ a line for each in ngx_http_claude_module.c
 * does what this file does.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_echo.h"
#include "ngx_http_claude_slices.h"


static ngx_int_t ngx_http_claude_dialects_preconfiguration(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_claude_dialects_module_ctx = {
    ngx_http_claude_dialects_preconfiguration,
                                           /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_claude_dialects_module = {
    NGX_MODULE_V1,
    &ngx_http_claude_dialects_module_ctx,  /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* what nginx's configure writes for a dynamic module */

extern ngx_module_t  *ngx_modules[];
extern char          *ngx_module_names[];
extern char          *ngx_module_order[];

ngx_module_t  *ngx_modules[] = { &ngx_http_claude_dialects_module, NULL };
char          *ngx_module_names[] = {
    "ngx_http_claude_dialects_module", NULL
};
char          *ngx_module_order[] = { NULL };


static ngx_int_t
ngx_http_claude_dialects_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_claude_dialect_add(cf, &ngx_http_claude_echo) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_claude_dialect_add(cf, &ngx_http_claude_slices);
}
