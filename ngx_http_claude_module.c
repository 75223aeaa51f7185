
/*
 * ngx_http_claude_module: the Claude CLI as an OpenAI-compatible API.
 *
 * This file is the table of contents: the directives, the configuration and
 * its checks, and the hooks into nginx.  What happens to a request is in
 * src/, whose folders and rooms docs/development.md lists.
 */


#include "ngx_http_claude_conf.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_engine.h"
#include "ngx_claude_gate.h"
#include "ngx_claude_home.h"
#include "ngx_http_claude_auth.h"
#include "ngx_http_claude_chat.h"
#include "ngx_http_claude_completions.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_dialect.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_exchange.h"
#include "ngx_http_claude_models.h"
#include "ngx_http_claude_status.h"
#include "ngx_http_claude_variables.h"

#include <pwd.h>


/* endpoints of a location */
#define CLAUDE_OPENAI  1
#define CLAUDE_HEALTH  2
#define CLAUDE_STATUS  3

/* connections that a process takes: three pipes, and one that tells of its
 * end when another worker started it; and a worker, with its listen sockets */
#define CLAUDE_PROCESS_CONNECTIONS  4
#define CLAUDE_WORKER_CONNECTIONS   8


static ngx_int_t ngx_http_claude_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_claude_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_claude_default_directory(ngx_conf_t *cf,
    ngx_http_claude_main_conf_t *mcf);
static void *ngx_http_claude_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_claude_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_claude_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_claude_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_claude_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_claude_state_path(ngx_conf_t *cf,
    ngx_http_claude_main_conf_t *mcf);
static ngx_int_t ngx_http_claude_owners(ngx_http_claude_main_conf_t *mcf,
    ngx_http_claude_loc_conf_t *lcf, ngx_log_t *log);
static ngx_int_t ngx_http_claude_profiles(ngx_cycle_t *cycle,
    ngx_http_claude_main_conf_t *mcf, ngx_log_t *log);
static void ngx_http_claude_workers_user(ngx_cycle_t *cycle, uid_t *uid,
    gid_t *gid);
static void ngx_http_claude_check_connections(ngx_cycle_t *cycle,
    ngx_http_claude_main_conf_t *mcf, ngx_log_t *log);
static ngx_int_t ngx_http_claude_gate(ngx_cycle_t *cycle,
    ngx_http_claude_main_conf_t *mcf, ngx_log_t *log);
static ngx_int_t ngx_http_claude_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_claude_init_process(ngx_cycle_t *cycle);
static void ngx_http_claude_exit_process(ngx_cycle_t *cycle);

static ngx_int_t ngx_http_claude_openai_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_claude_model_id(ngx_http_request_t *r,
    ngx_str_t *id);

static char *ngx_http_claude_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_http_claude_inherit(ngx_conf_t *cf,
    ngx_http_claude_loc_conf_t *prev, ngx_http_claude_loc_conf_t *conf);
static ngx_http_handler_pt ngx_http_claude_handler(
    ngx_http_claude_loc_conf_t *lcf);


static ngx_conf_num_bounds_t  ngx_http_claude_positive = {
    ngx_conf_check_num_bounds, 1, 1000000
};


static ngx_conf_enum_t  ngx_http_claude_sandboxes[] = {
    { ngx_string("off"), NGX_CLAUDE_SANDBOX_OFF },
    { ngx_string("on"), NGX_CLAUDE_SANDBOX_ON },
    { ngx_string("external"), NGX_CLAUDE_SANDBOX_EXTERNAL },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_claude_commands[] = {

    { ngx_string("claude_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_max_concurrent"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, max_concurrent),
      &ngx_http_claude_positive },

    { ngx_string("claude_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_claude_conf_queue,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_max_processes"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, max_processes),
      &ngx_http_claude_positive },

    { ngx_string("claude_warm"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, warm),
      NULL },

    { ngx_string("claude_idle_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, idle_timeout),
      NULL },

    { ngx_string("claude_session_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, session_ttl),
      NULL },

    { ngx_string("claude_max_line"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, max_line),
      NULL },

    { ngx_string("claude_state_path"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_state,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_gate_path"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_claude_main_conf_t, gate),
      NULL },

    { ngx_string("claude_openai"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_claude_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      CLAUDE_OPENAI,
      NULL },

    { ngx_string("claude_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_claude_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      CLAUDE_HEALTH,
      NULL },

    { ngx_string("claude_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_claude_endpoint,
      NGX_HTTP_LOC_CONF_OFFSET,
      CLAUDE_STATUS,
      NULL },

    { ngx_string("claude_api_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_claude_auth_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_api_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_auth_key_file,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, auth),
      NULL },

    { ngx_string("claude_binary"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, binary),
      NULL },

    { ngx_string("claude_env"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_claude_conf_env,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_env_file"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_env_file,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_args"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_claude_conf_args,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_tools"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_claude_conf_tools,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_permission_mode"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_permission,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_mcp_config"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_mcp,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_sandbox"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, sandbox),
      ngx_http_claude_sandboxes },

    { ngx_string("claude_working_directory"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_directory,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, directory),
      NULL },

    { ngx_string("claude_default_model"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, default_model),
      NULL },

    { ngx_string("claude_fallback_model"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_fallback,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, fallback_model),
      NULL },

    { ngx_string("claude_model_map"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_claude_models_map,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("claude_system_prompt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_prompt,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, system_prompt),
      NULL },

    { ngx_string("claude_max_budget_usd"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_claude_conf_budget,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, max_budget),
      NULL },

    { ngx_string("claude_turn_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, turn_timeout),
      NULL },

    { ngx_string("claude_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, timeout),
      NULL },

    { ngx_string("claude_heartbeat"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, heartbeat),
      NULL },

    { ngx_string("claude_sampling"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_claude_loc_conf_t, sampling),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_claude_module_ctx = {
    ngx_http_claude_preconfiguration,      /* preconfiguration */
    ngx_http_claude_postconfiguration,     /* postconfiguration */

    ngx_http_claude_create_main_conf,      /* create main configuration */
    ngx_http_claude_init_main_conf,        /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_claude_create_loc_conf,       /* create location configuration */
    ngx_http_claude_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_claude_module = {
    NGX_MODULE_V1,
    &ngx_http_claude_module_ctx,           /* module context */
    ngx_http_claude_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_claude_init_module,           /* init module */
    ngx_http_claude_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_claude_exit_process,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* the dialects of claude_openai, each under an address of its own */

static const ngx_http_claude_dialect_t  *ngx_http_claude_dialects[] = {
    &ngx_http_claude_chat,
    &ngx_http_claude_completions,
    NULL
};


static ngx_int_t
ngx_http_claude_openai_handler(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_str_t                         id;
    ngx_http_claude_ctx_t            *ctx;
    const ngx_http_claude_dialect_t  *dialect;

    static ngx_str_t  models = ngx_string("/models");

    rc = ngx_http_claude_auth(r);
    if (rc != NGX_OK) {
        return rc;
    }

    dialect = ngx_http_claude_dialect(r);

    if (dialect) {
        return ngx_http_claude_exchange(r, dialect);
    }

    ngx_str_null(&id);

    if (ngx_http_claude_address_is(r, &models)
        || ngx_http_claude_model_id(r, &id))
    {
        return ngx_http_claude_models_handler(r, &id);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    return ngx_http_claude_error(ctx, NGX_HTTP_NOT_FOUND, "unknown_url", NULL,
                                 "Unknown request URL: %V %V.",
                                 &r->method_name, &r->uri);
}


/*
 * Whether the address is that of a model.  An id may have slashes; of several
 * names the last is nearest to it.
 */

static ngx_uint_t
ngx_http_claude_model_id(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char      *p, *last;
    ngx_uint_t   i;

    static ngx_str_t  models = ngx_string("/models/");

    last = r->uri.data + r->uri.len;

    for (i = ngx_http_claude_address_under(r) - r->uri.data; i; i--) {
        p = r->uri.data + i - 1;

        if ((size_t) (last - p) > models.len
            && ngx_memcmp(p, models.data, models.len) == 0)
        {
            id->data = p + models.len;
            id->len = last - id->data;

            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_claude_preconfiguration(ngx_conf_t *cf)
{
    const ngx_http_claude_dialect_t  **dialect;

    for (dialect = ngx_http_claude_dialects; *dialect; dialect++) {
        if (ngx_http_claude_dialect_add(cf, *dialect) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_claude_variables_add(cf);
}


static ngx_int_t
ngx_http_claude_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt          *h;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_claude_module);

    if (mcf->locations.nelts && mcf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_openai, claude_health and claude_status need a "
                      "zone: write \"claude_zone claude:10m;\" in the http "
                      "block");
        return NGX_ERROR;
    }

    if (mcf->zone == NULL) {
        return NGX_OK;
    }

    if (ngx_http_claude_default_directory(cf, mcf) != NGX_OK
        || ngx_http_claude_state_path(cf, mcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_claude_auth_access;

    ngx_http_claude_error_init();

    return NGX_OK;
}


/*
 * The empty private directory that CLIs run in: beside nginx's own temporary
 * ones, and made by the same means, so that it belongs to the workers' user.
 */

static ngx_int_t
ngx_http_claude_default_directory(ngx_conf_t *cf,
    ngx_http_claude_main_conf_t *mcf)
{
    u_char                       *p;
    ngx_str_t                     beside, name;
    ngx_uint_t                    i;
    ngx_http_claude_loc_conf_t  **lcf;

    lcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {
        if (lcf[i]->openai && lcf[i]->directory.len == 0) {
            break;
        }
    }

    if (i == mcf->locations.nelts) {
        return NGX_OK;
    }

    ngx_str_set(&beside, NGX_HTTP_CLIENT_TEMP_PATH);

    for (p = beside.data + beside.len; p > beside.data && p[-1] != '/'; p--) {
        /* void */
    }

    name.len = p - beside.data + sizeof("claude") - 1;
    name.data = ngx_pnalloc(cf->pool, name.len + 1);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(name.data, beside.data, p - beside.data);
    ngx_memcpy(p, "claude", sizeof("claude"));

    mcf->directory = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (mcf->directory == NULL) {
        return NGX_ERROR;
    }

    mcf->directory->name = name;

    if (ngx_conf_full_name(cf->cycle, &mcf->directory->name, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_add_path(cf, &mcf->directory);
}


/*
 * The state path, whose links are resolved: the CLI names transcripts after
 * where an agent's working directory really is.
 */

static ngx_int_t
ngx_http_claude_state_path(ngx_conf_t *cf, ngx_http_claude_main_conf_t *mcf)
{
    char                         *real;
    u_char                       *p;
    ngx_str_t                    *name, base;
    ngx_uint_t                    i;
    ngx_http_claude_loc_conf_t  **lcf;

    lcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts && !lcf[i]->openai; i++) {
        /* void */
    }

    if (i == mcf->locations.nelts) {
        return NGX_OK;
    }

    name = &mcf->state;

    if (name->len == 0) {
        ngx_str_set(name, "claude-state");

        if (ngx_conf_full_name(cf->cycle, name, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (base.len = 0; name->data[name->len - base.len - 1] != '/'; base.len++)
    {
        /* the path is a full one */
    }

    base.data = name->data + name->len - base.len;

    if (ngx_claude_is(&base, "") || ngx_claude_is(&base, ".")
        || ngx_claude_is(&base, ".."))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_state_path: \"%s\" does not end with the name "
                      "of a directory: write another path",
                      ngx_claude_cstr(name->data));
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, name->len - base.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(p, name->data, name->len - base.len + 1);

    real = realpath(ngx_claude_cstr(p), NULL);

    if (real == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be found: make it, "
                      "or write another path", ngx_claude_cstr(p));
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, ngx_strlen(real) + base.len + 2);

    if (p) {
        name->len = ngx_sprintf(p, "%s/%V%Z", real[1] ? real : "", &base)
                    - p - 1;
        name->data = p;
    }

    free(real);

    return p ? NGX_OK : NGX_ERROR;
}


static void *
ngx_http_claude_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_claude_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->locations, cf->pool, 4,
                       sizeof(ngx_http_claude_loc_conf_t *))
        != NGX_OK
        || ngx_array_init(&mcf->profiles, cf->pool, 4,
                          sizeof(ngx_claude_profile_t *))
           != NGX_OK
        || ngx_array_init(&mcf->homes, cf->pool, 4, sizeof(char *)) != NGX_OK
        || ngx_array_init(&mcf->dialects, cf->pool, 4,
                          sizeof(ngx_http_claude_dialect_t *))
           != NGX_OK)
    {
        return NULL;
    }

    mcf->max_concurrent = NGX_CONF_UNSET_UINT;
    mcf->queue = NGX_CONF_UNSET_UINT;
    mcf->queue_timeout = NGX_CONF_UNSET_MSEC;
    mcf->max_processes = NGX_CONF_UNSET_UINT;
    mcf->warm = NGX_CONF_UNSET_UINT;
    mcf->idle_timeout = NGX_CONF_UNSET_MSEC;
    mcf->session_ttl = NGX_CONF_UNSET;
    mcf->max_line = NGX_CONF_UNSET_SIZE;

    return mcf;
}


static char *
ngx_http_claude_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_claude_main_conf_t *mcf = conf;

    size_t  size;

    ngx_conf_init_uint_value(mcf->max_concurrent, 10);
    ngx_conf_init_uint_value(mcf->queue, 100);
    ngx_conf_init_msec_value(mcf->queue_timeout, 30000);
    ngx_conf_init_uint_value(mcf->max_processes, 2 * mcf->max_concurrent);
    ngx_conf_init_uint_value(mcf->warm, 1);
    ngx_conf_init_msec_value(mcf->idle_timeout, 600000);
    ngx_conf_init_value(mcf->session_ttl, 1800);
    ngx_conf_init_size_value(mcf->max_line, 16 * 1024 * 1024);

    if (mcf->zone == NULL) {
        return NGX_CONF_OK;
    }

    if (mcf->session_ttl < 1 || mcf->session_ttl > 10 * 365 * 86400) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_session_ttl must be from 1 second to ten years");
        return NGX_CONF_ERROR;
    }

    if (mcf->max_processes < mcf->max_concurrent) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_max_processes %ui is less than "
                      "claude_max_concurrent %ui: each turn needs a process",
                      mcf->max_processes, mcf->max_concurrent);
        return NGX_CONF_ERROR;
    }

    size = mcf->shm_zone->shm.size;

    if (mcf->max_concurrent + mcf->queue > ngx_claude_zone_turn_rows(size)
        || mcf->max_processes > ngx_claude_zone_process_rows(size))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_zone \"%V\" has room for %ui turns and %ui "
                      "processes, which is less than claude_max_concurrent, "
                      "claude_queue and claude_max_processes allow: make it "
                      "larger", &mcf->shm_zone->shm.name,
                      ngx_claude_zone_turn_rows(size),
                      ngx_claude_zone_process_rows(size));
        return NGX_CONF_ERROR;
    }

    mcf->shm_zone->init = ngx_http_claude_init_zone;

    mcf->zone->shm_zone = mcf->shm_zone;
    mcf->zone->max_running = mcf->max_concurrent;
    mcf->zone->max_waiting = mcf->queue;
    mcf->zone->max_processes = mcf->max_processes;

    mcf->limits.queue_timeout = mcf->queue_timeout;
    mcf->limits.idle_timeout = mcf->idle_timeout;
    mcf->limits.session_ttl = (ngx_msec_t) mcf->session_ttl * 1000;
    mcf->limits.max_line = mcf->max_line;
    mcf->limits.profiles = &mcf->profiles;
    mcf->limits.homes = &mcf->homes;

    return NGX_CONF_OK;
}


static void *
ngx_http_claude_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_claude_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     lcf->openai = 0;
     *     lcf->guarded = 0;
     *     lcf->endpoint = 0;
     *     lcf->prefix = { 0, NULL };
     *     lcf->around = NULL;
     *     lcf->binary = { 0, NULL };
     *     lcf->directory = { 0, NULL };
     *     lcf->fallback_model = { 0, NULL };
     *     lcf->max_budget = { 0, NULL };
     *     lcf->tools = { 0, NULL };
     *     lcf->permission_mode = { 0, NULL };
     *     lcf->mcp_config = { 0, NULL };
     *     lcf->profile = NULL;
     */

    lcf->auth = NGX_CONF_UNSET;
    lcf->keys = NGX_CONF_UNSET_PTR;
    lcf->env = NGX_CONF_UNSET_PTR;
    lcf->args = NGX_CONF_UNSET_PTR;
    lcf->models = NGX_CONF_UNSET_PTR;
    lcf->default_model = NGX_CONF_UNSET_PTR;
    lcf->system_prompt = NGX_CONF_UNSET_PTR;
    lcf->timeout = NGX_CONF_UNSET_MSEC;
    lcf->turn_timeout = NGX_CONF_UNSET_MSEC;
    lcf->heartbeat = NGX_CONF_UNSET_MSEC;
    lcf->sampling = NGX_CONF_UNSET;
    lcf->sandbox = NGX_CONF_UNSET_UINT;

    return lcf;
}


static char *
ngx_http_claude_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_claude_loc_conf_t *prev = parent;
    ngx_http_claude_loc_conf_t *conf = child;

    ngx_http_claude_loc_conf_t   **location;
    ngx_http_claude_main_conf_t   *mcf;

    ngx_conf_merge_value(conf->auth, prev->auth, 1);
    ngx_conf_merge_ptr_value(conf->keys, prev->keys, NULL);
    ngx_conf_merge_str_value(conf->binary, prev->binary, "");
    ngx_conf_merge_ptr_value(conf->env, prev->env, NULL);
    ngx_conf_merge_ptr_value(conf->args, prev->args, NULL);
    ngx_conf_merge_str_value(conf->directory, prev->directory, "");
    ngx_conf_merge_str_value(conf->fallback_model, prev->fallback_model, "");
    ngx_conf_merge_str_value(conf->max_budget, prev->max_budget, "");
    ngx_conf_merge_str_value(conf->tools, prev->tools, "");
    ngx_conf_merge_str_value(conf->permission_mode, prev->permission_mode,
                             "dontAsk");
    ngx_conf_merge_str_value(conf->mcp_config, prev->mcp_config, "");
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 600000);
    ngx_conf_merge_msec_value(conf->turn_timeout, prev->turn_timeout,
                              3600000);
    ngx_conf_merge_msec_value(conf->heartbeat, prev->heartbeat, 15000);
    ngx_conf_merge_value(conf->sampling, prev->sampling, 0);
    ngx_conf_merge_uint_value(conf->sandbox, prev->sandbox,
                              NGX_CLAUDE_SANDBOX_OFF);

    if (prev->models == NGX_CONF_UNSET_PTR
        && conf->models == NGX_CONF_UNSET_PTR
        && ngx_http_claude_models_default(cf, prev) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->models, prev->models, NULL);

    if (prev->default_model == NGX_CONF_UNSET_PTR) {
        prev->default_model = ngx_http_claude_conf_constant(cf, "sonnet");
    }

    if (prev->system_prompt == NGX_CONF_UNSET_PTR) {
        prev->system_prompt =
            ngx_http_claude_conf_constant(cf, NGX_HTTP_CLAUDE_CONF_PROMPT);
    }

    if (prev->default_model == NULL || prev->system_prompt == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->default_model, prev->default_model, NULL);
    ngx_conf_merge_ptr_value(conf->system_prompt, prev->system_prompt, NULL);

    if (conf->heartbeat == 0 || conf->timeout == 0
        || conf->turn_timeout == 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "claude_heartbeat, claude_timeout and "
                      "claude_turn_timeout must be more than 0");
        return NGX_CONF_ERROR;
    }

    ngx_http_claude_inherit(cf, prev, conf);

    if (!conf->endpoint) {
        return NGX_CONF_OK;
    }

    if (conf->guarded && conf->auth && conf->keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "%s has no API key: write \"claude_api_key KEY "
                      "name=NAME;\" or \"claude_api_key_file PATH;\", or, if "
                      "everyone may use it, \"claude_auth off;\"",
                      conf->openai ? "claude_openai" : "claude_status");
        return NGX_CONF_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_claude_module);

    location = ngx_array_push(&mcf->locations);
    if (location == NULL) {
        return NGX_CONF_ERROR;
    }

    *location = conf;

    return NGX_CONF_OK;
}


/*
 * Runs after the whole configuration was read, under nginx -t as well, and
 * before anything of it takes effect: the place for checks that need `user`,
 * which may stand anywhere.
 */

static ngx_int_t
ngx_http_claude_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_cycle_t                  *cycle;
    ngx_claude_zone_t            *zone, *old;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = shm_zone->data;
    old = data ? ((ngx_http_claude_main_conf_t *) data)->zone : NULL;
    zone = mcf->zone;
    cycle = mcf->cycle;

    if (ngx_http_claude_gate(cycle, mcf, shm_zone->shm.log) != NGX_OK
        || ngx_http_claude_profiles(cycle, mcf, shm_zone->shm.log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_claude_check_connections(cycle, mcf, shm_zone->shm.log);

    return ngx_claude_zone_init(zone, shm_zone, old);
}


/* a launch profile for each location, one for those with equal ones */

static ngx_int_t
ngx_http_claude_profiles(ngx_cycle_t *cycle, ngx_http_claude_main_conf_t *mcf,
    ngx_log_t *log)
{
    uid_t                         uid;
    gid_t                         gid;
    ngx_uint_t                    i, j;
    ngx_core_conf_t              *ccf;
    ngx_claude_launch_t           launch;
    ngx_claude_profile_t         *profile, **known;
    ngx_http_claude_loc_conf_t  **lcf;

    ngx_http_claude_workers_user(cycle, &uid, &gid);

    if (mcf->state.len) {
        ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                               ngx_core_module);

        mcf->limits.state = ngx_claude_cstr(mcf->state.data);
        mcf->limits.nginx = ccf->pid;

        if (ngx_claude_home_check(&mcf->state, uid, log) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    lcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {

        if (!lcf[i]->openai) {
            continue;
        }

        if (lcf[i]->around) {
            lcf[i]->profile = lcf[i]->around->profile;
            continue;
        }

        ngx_memzero(&launch, sizeof(ngx_claude_launch_t));

        launch.binary = lcf[i]->binary;
        launch.directory = lcf[i]->directory.len ? lcf[i]->directory
                                                 : mcf->directory->name;
        launch.shared = (lcf[i]->directory.len != 0);
        launch.state = mcf->state;
        launch.env = lcf[i]->env;
        launch.args = lcf[i]->args;
        launch.fallback_model = lcf[i]->fallback_model;
        launch.max_budget = lcf[i]->max_budget;
        launch.tools = lcf[i]->tools;
        launch.permission_mode = lcf[i]->permission_mode;
        launch.mcp_config = lcf[i]->mcp_config;
        launch.sandbox = lcf[i]->sandbox;
        launch.gate = mcf->gate_directory;

        profile = ngx_claude_profile_create(cycle->pool, &launch, uid,
                                            gid, log);
        if (profile == NULL) {
            return NGX_ERROR;
        }

        known = mcf->profiles.elts;

        for (j = 0; j < mcf->profiles.nelts; j++) {
            if (ngx_claude_hash_same(&known[j]->hash, &profile->hash)) {
                profile = known[j];
                break;
            }
        }

        if (j == mcf->profiles.nelts) {
            known = ngx_array_push(&mcf->profiles);
            if (known == NULL) {
                return NGX_ERROR;
            }

            *known = profile;
        }

        lcf[i]->profile = profile;

        if (ngx_http_claude_owners(mcf, lcf[i], log) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    known = mcf->profiles.elts;

    for (j = 0; j < mcf->profiles.nelts; j++) {
        if (known[j]->owners > 1) {
            known[j]->owner.home = NULL;
        }
    }

    return NGX_OK;
}


/*
 * The homes of a location's keys.  An agent that is one key's alone is kept
 * warm for that from the start.
 */

static ngx_int_t
ngx_http_claude_owners(ngx_http_claude_main_conf_t *mcf,
    ngx_http_claude_loc_conf_t *lcf, ngx_log_t *log)
{
    char                   **home;
    ngx_uint_t               i, n;
    ngx_claude_hash_t       *tenant;
    ngx_claude_owner_t      *owner;
    ngx_http_claude_key_t   *key;

    static ngx_claude_hash_t  nobody;

    n = (lcf->auth && lcf->keys) ? lcf->keys->nelts : 1;
    key = (lcf->auth && lcf->keys) ? lcf->keys->elts : NULL;

    owner = &lcf->profile->owner;

    for (i = 0; i < n; i++) {

        home = ngx_array_push(&mcf->homes);
        if (home == NULL) {
            return NGX_ERROR;
        }

        *home = key ? key[i].home : NGX_HTTP_CLAUDE_ANYBODY;
        tenant = key ? &key[i].tenant : &nobody;

        if (ngx_claude_home_fits(lcf->profile, *home, log) != NGX_OK) {
            return NGX_ERROR;
        }

        if (owner->home == NULL
            || !ngx_claude_hash_same(&owner->tenant, tenant))
        {
            owner->home = *home;
            owner->tenant = *tenant;
            lcf->profile->owners++;
        }
    }

    return NGX_OK;
}


static void
ngx_http_claude_workers_user(ngx_cycle_t *cycle, uid_t *uid, gid_t *gid)
{
    struct passwd    *pw;
    ngx_core_conf_t  *ccf;

    *uid = geteuid();
    *gid = getegid();

    if (*uid != 0) {
        return;
    }

    /* core's init_conf has put the default user in, if there was none */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    pw = getpwuid(ccf->user);

    *uid = ccf->user;
    *gid = (ccf->group != (ngx_gid_t) NGX_CONF_UNSET_UINT)
           ? ccf->group : (pw ? pw->pw_gid : 0);
}


/* limits of nginx that are less than what the turns may take: a warning */

static void
ngx_http_claude_check_connections(ngx_cycle_t *cycle,
    ngx_http_claude_main_conf_t *mcf, ngx_log_t *log)
{
    ngx_uint_t         need, files;
    struct rlimit      rlmt;
    ngx_core_conf_t   *ccf;
    ngx_event_conf_t  *ecf;

    /* a worker alone may get all turns and processes, and those who wait */

    need = CLAUDE_PROCESS_CONNECTIONS * mcf->max_processes
           + mcf->max_concurrent + mcf->queue + CLAUDE_WORKER_CONNECTIONS;

    ecf = ngx_event_get_conf(cycle->conf_ctx, ngx_event_core_module);

    if (ecf->connections < need) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "claude: %ui worker_connections are less than the %ui "
                      "that %ui processes, %ui concurrent and %ui waiting "
                      "turns may need in one worker", ecf->connections, need,
                      mcf->max_processes, mcf->max_concurrent, mcf->queue);
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (ccf->rlimit_nofile != NGX_CONF_UNSET) {
        files = ccf->rlimit_nofile;

    } else if (getrlimit(RLIMIT_NOFILE, &rlmt) == 0) {
        files = rlmt.rlim_cur;

    } else {
        return;
    }

    /* and the lifeline of each process */

    need += mcf->max_processes;

    if (files < need) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "claude: %ui open files are less than the %ui that "
                      "the turns may need in one worker, see "
                      "worker_rlimit_nofile", files, need);
    }
}


/*
 * Where the gate is, or is to be: beside nginx's pid file, to whose directory
 * the master has to be able to write, and nobody else.
 */

static ngx_int_t
ngx_http_claude_gate(ngx_cycle_t *cycle, ngx_http_claude_main_conf_t *mcf,
    ngx_log_t *log)
{
    u_char           *p;
    ngx_str_t         parent;
    ngx_core_conf_t  *ccf;

    if (ngx_claude_is(&mcf->gate, "off")) {
        return NGX_OK;
    }

    parent = mcf->gate;

    if (parent.len == 0) {
        ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                               ngx_core_module);

        for (p = ccf->pid.data + ccf->pid.len; p[-1] != '/'; p--) {
            /* the path is a full one */
        }

        parent.len = p - ccf->pid.data;
        parent.data = ngx_pstrdup(cycle->pool, &ccf->pid);
        if (parent.data == NULL) {
            return NGX_ERROR;
        }

        /* without its last slash, unless it is the only one */

        parent.len -= (parent.len > 1);
        parent.data[parent.len] = '\0';

    } else if (ngx_conf_full_name(cycle, &parent, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    mcf->gate_directory = ngx_claude_gate_path(cycle->pool, &parent);

    return mcf->gate_directory ? NGX_OK : NGX_ERROR;
}


/* the master, or the one process, before there is a worker */

static ngx_int_t
ngx_http_claude_init_module(ngx_cycle_t *cycle)
{
    uid_t                         uid;
    gid_t                         gid;
    ngx_http_claude_main_conf_t  *mcf;

    if (ngx_test_config) {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_claude_module);

    if (mcf == NULL || mcf->zone == NULL) {
        return NGX_OK;
    }

    ngx_http_claude_workers_user(cycle, &uid, &gid);

    /* an error here would end an nginx that reloads: turns will tell */

    if (mcf->limits.state) {
        (void) ngx_claude_home_make(mcf->limits.state, uid, gid, cycle->log);
    }

    if (mcf->gate_directory) {

        /* CLIs go on without it, each of them checks it */

        (void) ngx_claude_gate_write(mcf->gate_directory, cycle->log);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_claude_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                    workers;
    ngx_core_conf_t              *ccf;
    ngx_http_claude_main_conf_t  *mcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_claude_module);

    if (mcf == NULL || mcf->zone == NULL) {
        return NGX_OK;
    }

    /* the share of this worker; workers of a generation count from 0 */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    workers = ngx_max(ccf->worker_processes, 1);

    mcf->limits.warm = mcf->warm / workers
                       + (ngx_worker < mcf->warm % workers);

    ngx_claude_engine_init(mcf->zone, &mcf->limits);

    return NGX_OK;
}


static void
ngx_http_claude_exit_process(ngx_cycle_t *cycle)
{
    ngx_claude_engine_exit(cycle);
}


static char *
ngx_http_claude_endpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (lcf->endpoint) {
        return "conflicts with another claude endpoint of this location";
    }

    lcf->endpoint = cmd->offset;
    lcf->openai = (cmd->offset == CLAUDE_OPENAI);
    lcf->guarded = (cmd->offset != CLAUDE_HEALTH);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = ngx_http_claude_handler(lcf);

    if (!clcf->exact_match && !clcf->named
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
        )
    {
        lcf->prefix = clcf->name;
    }

    return NGX_CONF_OK;
}


/*
 * The blocks of "if" and limit_except are locations of their own, with a
 * configuration of their own and without a handler: "if" leaves the one of
 * the location around it in charge, limit_except does not.  A block that
 * names another handler is not ours.
 */

static void
ngx_http_claude_inherit(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *prev,
    ngx_http_claude_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname || !prev->endpoint || clcf->handler) {
        return;
    }

    conf->openai = prev->openai;
    conf->guarded = prev->guarded;
    conf->endpoint = prev->endpoint;
    conf->prefix = prev->prefix;
    conf->around = prev;

    if (clcf->lmt_excpt) {
        clcf->handler = ngx_http_claude_handler(conf);
    }
}


static ngx_http_handler_pt
ngx_http_claude_handler(ngx_http_claude_loc_conf_t *lcf)
{
    switch (lcf->endpoint) {

    case CLAUDE_OPENAI:
        return ngx_http_claude_openai_handler;

    case CLAUDE_HEALTH:
        return ngx_http_claude_health_handler;

    default: /* CLAUDE_STATUS */
        return ngx_http_claude_status_handler;
    }
}
