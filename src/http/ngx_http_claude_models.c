
/*
 * Models.  See the header.
 */


#include "ngx_http_claude_models.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_error.h"
#include "ngx_claude_profile.h"
#include "ngx_http_claude_response.h"


/* bytes of the response's first buffer */
#define MODELS_SIZE     1024

/* the first model of this family that the CLI's aliases stand for */
#define MODELS_CREATED  1709251200


static ngx_uint_t models_version(ngx_str_t *model);
static ngx_uint_t models_claude(ngx_str_t *name);
static ngx_uint_t models_alias(ngx_str_t *name);
static ngx_uint_t models_is_default(ngx_str_t *name);
static ngx_uint_t models_listed(ngx_http_request_t *r, ngx_str_t *name);
static size_t models_list(ngx_http_request_t *r, u_char *buf);
static ngx_int_t models_name(ngx_array_t *names, ngx_str_t *name);
static ngx_int_t models_names(ngx_http_request_t *r, ngx_array_t *names);
static void models_entries(ngx_claude_out_t *out, ngx_array_t *names);
static void models_entry(ngx_claude_out_t *out, ngx_str_t *name);


/* names that the CLI resolves by itself, to the latest of the kind */

static ngx_str_t  models_aliases[] = {
    ngx_string("sonnet"),
    ngx_string("opus"),
    ngx_string("haiku"),
    ngx_null_string
};


const ngx_http_claude_model_t  ngx_http_claude_model_map[] = {
    { ngx_string("gpt-4"), ngx_string("opus") },
    { ngx_string("gpt-4o"), ngx_string("sonnet") },
    { ngx_string("gpt-4o-mini"), ngx_string("haiku") },
    { ngx_string("gpt-4-turbo"), ngx_string("sonnet") },
    { ngx_string("gpt-3.5-turbo"), ngx_string("haiku") },
    { ngx_null_string, ngx_null_string }
};


char *
ngx_http_claude_models_map(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_int_t                 rc;
    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_http_claude_model_t  *model;

    rc = ngx_http_claude_conf_off(cf, &lcf->models,
                                  sizeof(ngx_http_claude_model_t));

    if (rc != NGX_DECLINED) {
        return (rc == NGX_OK) ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts != 3) {
        return "needs two names of models, or \"off\"";
    }

    if (value[1].len == 0 || value[2].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a model's name is empty, write "
                           "\"claude_model_map gpt-4o sonnet;\"");
        return NGX_CONF_ERROR;
    }

    if (!models_claude(&value[2])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no Claude model: write an alias "
                           "(sonnet, opus, haiku, ...) or a full name "
                           "(claude-...)", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (lcf->models == NGX_CONF_UNSET_PTR) {
        lcf->models = ngx_array_create(cf->pool, 8,
                                       sizeof(ngx_http_claude_model_t));
        if (lcf->models == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    model = lcf->models->elts;

    for (i = 0; i < lcf->models->nelts; i++) {
        if (model[i].from.len == value[1].len
            && ngx_memcmp(model[i].from.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the model \"%V\" is mapped twice", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    model = ngx_array_push(lcf->models);
    if (model == NULL) {
        return NGX_CONF_ERROR;
    }

    model->from = value[1];
    model->to = value[2];

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_claude_models_default(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *lcf)
{
    ngx_http_claude_model_t        *model;
    const ngx_http_claude_model_t  *entry;

    lcf->models = ngx_array_create(cf->pool, 8,
                                   sizeof(ngx_http_claude_model_t));
    if (lcf->models == NULL) {
        return NGX_ERROR;
    }

    for (entry = ngx_http_claude_model_map; entry->from.len; entry++) {

        model = ngx_array_push(lcf->models);
        if (model == NULL) {
            return NGX_ERROR;
        }

        *model = *entry;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_models_find(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *model)
{
    ngx_str_t                   *other;
    ngx_uint_t                   i;
    ngx_http_claude_model_t     *entry;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);
    entry = lcf->models->elts;
    other = NULL;

    for (i = 0; i < lcf->models->nelts; i++) {

        if (entry[i].from.len == name->len
            && ngx_memcmp(entry[i].from.data, name->data, name->len) == 0)
        {
            *model = entry[i].to;
            return NGX_OK;
        }

        if (models_is_default(&entry[i].from)) {
            other = &entry[i].to;
        }
    }

    if (models_claude(name) || models_listed(r, name)) {
        *model = *name;
        return NGX_OK;
    }

    if (other) {
        *model = *other;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_claude_models_handler(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                    rc;
    ngx_str_t                    model;
    ngx_array_t                  names;
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_document_t   document;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_claude_module);

    if (id->len) {

        if (ngx_http_claude_models_find(r, id, &model) != NGX_OK) {
            ctx->error.final = 1;
            return ngx_http_claude_error(ctx, NGX_HTTP_NOT_FOUND,
                                         "model_not_found", "model",
                                         "The model '%V' does not exist.", id);
        }

    } else if (models_names(r, &names) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_claude_document_init(&document, r->pool, MODELS_SIZE);

    if (id->len) {
        models_entry(&document.out, id);

    } else {
        models_entries(&document.out, &names);
    }

    return ngx_http_claude_response(r, "application/json", &document);
}


static void
models_entries(ngx_claude_out_t *out, ngx_array_t *names)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = names->elts;

    ngx_claude_out_literal(out, "{\"object\":\"list\",\"data\":[");

    for (i = 0; i < names->nelts; i++) {

        if (i) {
            ngx_claude_out_literal(out, ",");
        }

        models_entry(out, &name[i]);
    }

    ngx_claude_out_literal(out, "]}");
}


/*
 * Claude's names pass: its aliases (with a mark like [1m] behind) and all
 * that begins with claude-.  Anything but the characters of a name would only
 * be refused later.
 */

static ngx_uint_t
models_claude(ngx_str_t *name)
{
    return ngx_claude_model_valid(name->data, name->len)
           && ((ngx_claude_begins(name, "claude-")
                && name->len > sizeof("claude-") - 1)
               || models_alias(name));
}


static ngx_uint_t
models_alias(ngx_str_t *name)
{
    ngx_str_t  *alias;

    for (alias = models_aliases; alias->len; alias++) {

        if (name->len >= alias->len
            && ngx_memcmp(name->data, alias->data, alias->len) == 0
            && (name->len == alias->len || name->data[alias->len] == '['))
        {
            return 1;
        }
    }

    return 0;
}


/* the CLI's list may have aliases that we do not know of */

static ngx_uint_t
models_listed(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char  *p, *last, *end, buf[NGX_CLAUDE_ZONE_MODELS];

    last = buf + models_list(r, buf);

    for (p = buf; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);

        if ((size_t) (end - p) == name->len
            && ngx_memcmp(p, name->data, name->len) == 0)
        {
            return !models_is_default(name);
        }
    }

    return 0;
}


/* the CLI's list of models, if a CLI has been asked */

static size_t
models_list(ngx_http_request_t *r, u_char *buf)
{
    ngx_http_claude_loc_conf_t   *lcf;
    ngx_http_claude_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_claude_module);
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    return ngx_claude_zone_models(mcf->zone, &lcf->profile->hash, buf);
}


static ngx_uint_t
models_is_default(ngx_str_t *name)
{
    return ngx_claude_is(name, "default");
}


/* the aliases, what the CLI lists beside them, and the mapped names */

static ngx_int_t
models_names(ngx_http_request_t *r, ngx_array_t *names)
{
    u_char                      *p, *last, *end;
    ngx_str_t                    name, *alias;
    ngx_uint_t                   i;
    ngx_http_claude_model_t     *model;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    p = ngx_pnalloc(r->pool, NGX_CLAUDE_ZONE_MODELS);

    if (p == NULL
        || ngx_array_init(names, r->pool, 16, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (alias = models_aliases; alias->len; alias++) {
        if (models_name(names, alias) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    last = p + models_list(r, p);

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);

        name.data = p;
        name.len = end - p;

        if (models_name(names, &name) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    model = lcf->models->elts;

    for (i = 0; i < lcf->models->nelts; i++) {
        if (!models_claude(&model[i].from)
            && models_name(names, &model[i].from) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* each once; "default" means something else in a map, and to the CLI */

static ngx_int_t
models_name(ngx_array_t *names, ngx_str_t *name)
{
    ngx_str_t   *s;
    ngx_uint_t   i;

    if (models_is_default(name)) {
        return NGX_OK;
    }

    s = names->elts;

    for (i = 0; i < names->nelts; i++) {
        if (s[i].len == name->len
            && ngx_memcmp(s[i].data, name->data, name->len) == 0)
        {
            return NGX_OK;
        }
    }

    s = ngx_array_push(names);
    if (s == NULL) {
        return NGX_ERROR;
    }

    *s = *name;

    return NGX_OK;
}


static void
models_entry(ngx_claude_out_t *out, ngx_str_t *name)
{
    ngx_claude_out(out, "{\"id\":%J,\"object\":\"model\",\"created\":%d,"
                   "\"owned_by\":\"anthropic\"}", name, MODELS_CREATED);
}


/*
 * Haiku can be told not to think, as could all before 5.5; of the others the
 * aliases name the newest.
 */

ngx_uint_t
ngx_http_claude_models_force(ngx_str_t *model)
{
    ngx_uint_t  version;

    if (ngx_strlcasestrn(model->data, model->data + model->len,
                         (u_char *) "haiku", 4))
    {
        return 1;
    }

    version = models_version(model);

    return version && version < 505;
}


/* the models before 4.6 think within a budget, and say what they think */

ngx_uint_t
ngx_http_claude_models_adaptive(ngx_str_t *model)
{
    ngx_uint_t  version;

    version = models_version(model);

    return version == 0 || version >= 406;
}


/*
 * "claude-opus-4-6" gives 406, "claude-3-7-sonnet-20250219" 307, an alias 0,
 * as does a family whose numbers count otherwise.
 */

static ngx_uint_t
models_version(ngx_str_t *model)
{
    u_char      *p, *last;
    ngx_uint_t   i, n, part[2];

    static ngx_str_t  families[] = {
        ngx_string("claude-opus-"),
        ngx_string("claude-sonnet-"),
        ngx_string("claude-haiku-"),
        ngx_string("claude-"),
        ngx_null_string
    };

    last = model->data + model->len;

    for (i = 0; families[i].len; i++) {

        p = model->data + families[i].len;

        if (model->len > families[i].len && *p >= '0' && *p <= '9'
            && ngx_strncmp(model->data, families[i].data, families[i].len)
               == 0)
        {
            break;
        }
    }

    if (families[i].len == 0) {
        return 0;
    }

    part[0] = 0;
    part[1] = 0;

    /* a number of more than two digits is a date */

    for (i = 0; i < 2 && p < last && *p >= '0' && *p <= '9'; i++) {

        for (n = 0; p + n < last && p[n] >= '0' && p[n] <= '9'; n++) {
            /* void */
        }

        if (n > 2) {
            break;
        }

        part[i] = (n == 2) ? (p[0] - '0') * 10 + (p[1] - '0') : p[0] - '0';
        p += n;

        if (p < last && *p == '-') {
            p++;
        }
    }

    return part[0] * 100 + part[1];
}
