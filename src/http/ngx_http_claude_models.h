
/*
 * Models: what a client may call one, and the two endpoints that list them.
 */


#ifndef _NGX_HTTP_CLAUDE_MODELS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_MODELS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_conf.h"


/* the map that is there without a directive, up to an empty name */
extern const ngx_http_claude_model_t  ngx_http_claude_model_map[];


/* handler of the directive claude_model_map */
char *ngx_http_claude_models_map(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* a location gets that map.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_models_default(ngx_conf_t *cf,
    ngx_http_claude_loc_conf_t *lcf);

/*
 * The CLI's name of the model that a client asks for: NGX_OK; NGX_DECLINED:
 * nobody knows it.
 */
ngx_int_t ngx_http_claude_models_find(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *model);

/* the content handler of .../models and .../models/<id>; id may be empty */
ngx_int_t ngx_http_claude_models_handler(ngx_http_request_t *r, ngx_str_t *id);

/*
 * Whether the model, as the CLI is told it, can be made to call a tool: one
 * that always thinks cannot (docs/cli-protocol.md, "What the API refuses").
 */
ngx_uint_t ngx_http_claude_models_force(ngx_str_t *model);

/* whether it decides by itself how much to think; the same source */
ngx_uint_t ngx_http_claude_models_adaptive(ngx_str_t *model);


#endif /* _NGX_HTTP_CLAUDE_MODELS_H_INCLUDED_ */
