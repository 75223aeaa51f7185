
/*
 * Configuration: the handlers of directives that need more than a slot.
 */


#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_conf_lines.h"
#include "ngx_claude_cstr.h"


/* for what a level above says, that it is not inherited */
#define CONF_OFF  "off"


static ngx_int_t conf_env_line(ngx_conf_t *cf, void *conf, ngx_str_t *file,
    ngx_uint_t n, ngx_str_t *line);
static char *conf_path(ngx_conf_t *cf, ngx_str_t *path, ngx_uint_t from_conf,
    char *empty);
static ngx_uint_t conf_env_name(u_char *p, size_t len);
static ngx_int_t conf_env_add(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *lcf,
    u_char *p, size_t len);


char *
ngx_http_claude_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_main_conf_t *mcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (mcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    p = (u_char *) ngx_strlchr(value[1].data, value[1].data + value[1].len,
                               ':');

    if (p == NULL || p == value[1].data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone \"%V\", write \"claude:10m\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data;
    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR || size < (ssize_t) (32 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size of zone \"%V\", write at least %uzk",
                           &value[1], 32 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    mcf->zone = ngx_pcalloc(cf->pool, sizeof(ngx_claude_zone_t));
    if (mcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->shm_zone = ngx_shared_memory_add(cf, &name, size,
                                          &ngx_http_claude_module);
    if (mcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->cycle = cf->cycle;
    mcf->shm_zone->data = mcf;

    return NGX_CONF_OK;
}


char *
ngx_http_claude_conf_queue(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_main_conf_t *mcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value, s;

    if (mcf->queue != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n > 1000000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of waiting turns \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    mcf->queue = n;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    s.data = value[2].data + 8;
    s.len = value[2].len - 8;

    if (value[2].len <= 8 || !ngx_claude_begins(&value[2], "timeout=")
        || (n = ngx_parse_time(&s, 0)) == NGX_ERROR || n == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", write \"timeout=30s\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    mcf->queue_timeout = n;

    return NGX_CONF_OK;
}


/* a name: letters, digits and underscores, no digit first */

static ngx_uint_t
conf_env_name(u_char *p, size_t len)
{
    size_t  i;

    if (len == 0 || (p[0] >= '0' && p[0] <= '9')) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')
              || (p[i] >= '0' && p[i] <= '9') || p[i] == '_'))
        {
            return 0;
        }
    }

    return 1;
}


/* entry: NAME=value, or NAME for what nginx itself was started with */

static ngx_int_t
conf_env_add(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *lcf,
    u_char *p, size_t len)
{
    char        *inherited;
    u_char      *eq, *s;
    size_t       name, size;
    ngx_str_t   *entry;
    const char  *known;

    eq = ngx_strlchr(p, p + len, '=');
    name = eq ? (size_t) (eq - p) : len;

    if (!conf_env_name(p, name)) {
        return NGX_DECLINED;
    }

    if (lcf->env == NGX_CONF_UNSET_PTR) {
        lcf->env = ngx_array_create(cf->pool, 8, sizeof(ngx_str_t));
        if (lcf->env == NULL) {
            return NGX_ERROR;
        }
    }

    size = len + 1;

    s = ngx_pnalloc(cf->pool, size);
    if (s == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(s, p, size);

    if (eq == NULL) {
        known = ngx_claude_cstr(s);
        inherited = getenv(known);

        if (inherited == NULL) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "nginx has no \"%s\" in its environment for "
                               "the CLI", known);
            return NGX_OK;
        }

        size = len + 1 + ngx_strlen(inherited) + 1;

        s = ngx_pnalloc(cf->pool, size);
        if (s == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf(s, "%*s=%s%Z", len, p, inherited);
    }

    entry = ngx_array_push(lcf->env);
    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->data = s;
    entry->len = ngx_strlen(ngx_claude_cstr(s));

    return NGX_OK;
}


char *
ngx_http_claude_conf_env(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_int_t   rc;
    ngx_str_t  *value;
    ngx_uint_t  i;

    rc = ngx_http_claude_conf_off(cf, &lcf->env, sizeof(ngx_str_t));

    if (rc != NGX_DECLINED) {
        return (rc == NGX_OK) ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rc = conf_env_add(cf, conf, value[i].data, value[i].len);

        if (rc == NGX_DECLINED) {

            /* the argument may be a secret: it is not shown */

            return "has an invalid name of a variable, write NAME or "
                   "NAME=value";
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* NAME=value a line, # for comments; read by the master, maybe as root */

char *
ngx_http_claude_conf_env_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_claude_conf_lines(cf, conf, conf_env_line);
}


static ngx_int_t
conf_env_line(ngx_conf_t *cf, void *conf, ngx_str_t *file, ngx_uint_t n,
    ngx_str_t *line)
{
    ngx_int_t  rc;

    rc = conf_env_add(cf, conf, line->data, line->len);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V:%ui is not NAME=value", file, n);
    }

    return rc;
}


char *
ngx_http_claude_conf_args(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value, *arg;
    ngx_uint_t   i;

    if (lcf->args != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    rc = ngx_http_claude_conf_off(cf, &lcf->args, sizeof(ngx_str_t));

    if (rc != NGX_DECLINED) {
        return (rc == NGX_OK) ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    lcf->args = ngx_array_create(cf->pool, cf->args->nelts,
                                 sizeof(ngx_str_t));
    if (lcf->args == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        arg = ngx_array_push(lcf->args);
        if (arg == NULL) {
            return NGX_CONF_ERROR;
        }

        *arg = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_claude_conf_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_main_conf_t *mcf = conf;

    size_t     *len;
    char       *error;

    error = conf_path(cf, &mcf->state_path, 0,
                      "must be the path of a directory");

    len = &mcf->state_path.len;

    /* "/a/b/" is "/a/b", whose parent is looked at */

    while (error == NGX_CONF_OK && *len > 1
           && mcf->state_path.data[*len - 1] == '/')
    {
        mcf->state_path.data[--*len] = '\0';
    }

    return error;
}


char *
ngx_http_claude_conf_directory(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    return conf_path(cf, &lcf->directory, 0,
                     "must be the path of a directory");
}


char *
ngx_http_claude_conf_budget(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    char       *end;
    double      budget;
    ngx_str_t  *value;

    if (lcf->max_budget.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_claude_is(&value[1], CONF_OFF)) {
        ngx_str_set(&lcf->max_budget, "");
        return NGX_CONF_OK;
    }

    budget = strtod(ngx_claude_cstr(value[1].data), &end);

    if (value[1].len == 0 || *end != '\0' || !(budget > 0 && budget < 1e9)) {
        return "must be a number of US dollars, such as 0.50";
    }

    lcf->max_budget = value[1];

    return NGX_CONF_OK;
}


/*
 * none, default, or names: as the CLI takes them, with commas between.  The
 * CLI wants "" for none.
 */

char *
ngx_http_claude_conf_tools(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    u_char      *p;
    size_t       len;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (lcf->tools.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    len = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0 || value[i].data[0] == '-') {
            return "must be none, default or names of the CLI's tools";
        }

        if (cf->args->nelts > 2
            && (ngx_claude_is(&value[i], "none")
                || ngx_claude_is(&value[i], "default")))
        {
            return "takes no names beside \"none\" or \"default\"";
        }

        len += value[i].len + 1;
    }

    if (ngx_claude_is(&value[1], "none")) {
        ngx_str_set(&lcf->tools, "");
        return NGX_CONF_OK;
    }

    lcf->tools.data = ngx_pnalloc(cf->pool, len);
    if (lcf->tools.data == NULL) {
        return NGX_CONF_ERROR;
    }

    p = lcf->tools.data;

    for (i = 1; i < cf->args->nelts; i++) {
        p = ngx_cpymem(p, value[i].data, value[i].len);
        *p++ = ',';
    }

    *--p = '\0';
    lcf->tools.len = len - 1;

    return NGX_CONF_OK;
}


/* the modes of "claude --help" in 2.1.330 */

char *
ngx_http_claude_conf_permission(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    static const char  *modes[] = {
        "acceptEdits", "auto", "bypassPermissions", "manual", "dontAsk",
        "plan", NULL
    };

    if (lcf->permission_mode.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; modes[i]; i++) {
        if (ngx_claude_is(&value[1], modes[i])) {
            lcf->permission_mode = value[1];
            return NGX_CONF_OK;
        }
    }

    return "must be acceptEdits, auto, bypassPermissions, manual, dontAsk or "
           "plan";
}


/* a path alone: the profile checks whether the workers' user can read it */

char *
ngx_http_claude_conf_mcp(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    return conf_path(cf, &lcf->mcp_config, 1, "must be the path of a file");
}


char *
ngx_http_claude_conf_fallback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->fallback_model.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_claude_is(&value[1], CONF_OFF)) {
        ngx_str_set(&lcf->fallback_model, "");

    } else {
        lcf->fallback_model = value[1];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_claude_conf_prompt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (!ngx_claude_is(&value[1], CONF_OFF)) {
        return ngx_http_set_complex_value_slot(cf, cmd, conf);
    }

    if (lcf->system_prompt != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lcf->system_prompt = ngx_http_claude_conf_constant(cf,
                                                NGX_HTTP_CLAUDE_CONF_PROMPT);

    return lcf->system_prompt ? NGX_CONF_OK : NGX_CONF_ERROR;
}


ngx_int_t
ngx_http_claude_conf_off(ngx_conf_t *cf, ngx_array_t **list, size_t size)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (cf->args->nelts != 2 || !ngx_claude_is(&value[1], CONF_OFF)) {
        return NGX_DECLINED;
    }

    if (*list != NGX_CONF_UNSET_PTR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"off\" stands before all else of its kind");
        return NGX_ERROR;
    }

    *list = ngx_array_create(cf->pool, 1, size);

    return *list ? NGX_OK : NGX_ERROR;
}


ngx_http_complex_value_t *
ngx_http_claude_conf_constant(ngx_conf_t *cf, const char *text)
{
    ngx_http_complex_value_t  *cv;

    cv = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));

    if (cv) {
        cv->value.data = (u_char *) text;
        cv->value.len = ngx_strlen(text);
    }

    return cv;
}


/*
 * path: from nginx's prefix, or with from_conf from the configuration's;
 * empty: "off", which takes back what a level above says
 */

static char *
conf_path(ngx_conf_t *cf, ngx_str_t *path, ngx_uint_t from_conf, char *empty)
{
    ngx_str_t  *value;

    if (path->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return empty;
    }

    if (ngx_claude_is(&value[1], CONF_OFF)) {
        ngx_str_set(path, "");
        return NGX_CONF_OK;
    }

    *path = value[1];

    if (ngx_conf_full_name(cf->cycle, path, from_conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
