
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

/* bytes of a document's first buffer */
#define STATUS_HEALTH_SIZE      256
#define STATUS_SIZE             4096


static ngx_int_t status_prepare(ngx_http_request_t *r, ngx_uint_t key);


ngx_int_t
ngx_http_claude_health_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_claude_out_t             *out;
    ngx_claude_zone_sums_t        sums;
    ngx_http_claude_document_t    document;
    ngx_http_claude_main_conf_t  *mcf;

    rc = status_prepare(r, 0);
    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);

    ngx_claude_zone_sums(mcf->zone, &sums);

    ngx_http_claude_document_init(&document, r->pool, STATUS_HEALTH_SIZE);
    out = &document.out;

    ngx_claude_out(out, "{\"status\":\"ok\",\"module\":\""
                   NGX_CLAUDE_VERSION "\",\"cli\":");
    ngx_http_claude_status_version(out, mcf->zone->counters->version);
    ngx_claude_out(out, ",\"gate\":\"%s\",\"processes\":%ui,\"turns\":%ui,"
                   "\"waiting\":%ui}\n",
                   ngx_claude_gate_name(ngx_http_claude_status_gates(mcf)),
                   ngx_http_claude_status_alive(&sums), sums.running,
                   sums.waiting);

    return ngx_http_claude_response(r, "application/json", &document);
}


ngx_int_t
ngx_http_claude_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_str_t                   body, format;
    ngx_http_claude_document_t  document;

    rc = status_prepare(r, 1);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_claude_document_init(&document, r->pool, STATUS_SIZE);

    if (ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
        && ngx_claude_is(&format, "prometheus"))
    {
        if (ngx_http_claude_status_prometheus(r, &body) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_claude_document_text(&document, &body);

        return ngx_http_claude_response(r, STATUS_TYPE_PROMETHEUS, &document);
    }

    ngx_http_claude_status_json(r, &document.out);

    return ngx_http_claude_response(r, "application/json", &document);
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
