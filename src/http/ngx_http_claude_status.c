
/*
 * Health and status.  See the header.
 */


#include "ngx_http_claude_status.h"
#include "ngx_http_claude_auth.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_response.h"
#include "ngx_http_claude_status_json.h"
#include "ngx_http_claude_status_prometheus.h"
#include "ngx_http_claude_status_words.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_version.h"


#define STATUS_TYPE_PROMETHEUS  "text/plain; version=0.0.4; charset=utf-8"


static ngx_int_t status_prepare(ngx_http_request_t *r, ngx_uint_t key);


ngx_int_t
ngx_http_claude_health_handler(ngx_http_request_t *r)
{
    u_char                       *p;
    ngx_int_t                     rc;
    ngx_str_t                     body;
    ngx_uint_t                    version;
    ngx_claude_zone_sums_t        sums;
    ngx_http_claude_main_conf_t  *mcf;

    rc = status_prepare(r, 0);
    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);

    ngx_claude_zone_sums(mcf->zone, &sums);
    version = mcf->zone->counters->version;

    p = ngx_pnalloc(r->pool, 256);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = p;

    p = ngx_sprintf(p, "{\"status\":\"ok\",\"module\":\""
                    NGX_CLAUDE_VERSION "\",\"cli\":");
    p = ngx_http_claude_status_version(p, version);
    p = ngx_sprintf(p, ",\"processes\":%ui,\"turns\":%ui,\"waiting\":%ui}\n",
                    ngx_http_claude_status_alive(&sums), sums.running,
                    sums.waiting);

    body.len = p - body.data;

    return ngx_http_claude_response(r, "application/json", &body);
}


ngx_int_t
ngx_http_claude_status_handler(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ngx_str_t   body, format;
    ngx_uint_t  prometheus;

    rc = status_prepare(r, 1);
    if (rc != NGX_OK) {
        return rc;
    }

    prometheus = ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
                 && ngx_claude_is(&format, "prometheus");

    rc = prometheus ? ngx_http_claude_status_prometheus(r, &body)
                    : ngx_http_claude_status_json(r, &body);

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_claude_response(r, prometheus ? STATUS_TYPE_PROMETHEUS
                                                  : "application/json",
                                    &body);
}


/* key: one is needed */

static ngx_int_t
status_prepare(ngx_http_request_t *r, ngx_uint_t key)
{
    ngx_int_t               rc;
    ngx_http_claude_ctx_t  *ctx;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ctx = ngx_http_claude_ctx_make(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (key) {
        rc = ngx_http_claude_auth(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_discard_request_body(r);
}
