
/*
 * API keys.  See the header.
 */


#include "ngx_http_claude_auth.h"
#include "ngx_http_claude_conf_lines.h"
#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_error.h"
#include "ngx_claude_home.h"
#include "ngx_claude_utf8.h"


static ngx_int_t auth_add(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *lcf,
    ngx_str_t *key, ngx_str_t *name);
static void auth_identity(ngx_http_claude_key_t *key);
static ngx_uint_t auth_is_name(ngx_str_t *name);
static void auth_hash(ngx_claude_hash_t *hash, ngx_str_t *key);
static ngx_int_t auth_file_line(ngx_conf_t *cf, void *conf, ngx_str_t *file,
    ngx_uint_t n, ngx_str_t *line);
static ngx_int_t auth_bearer(ngx_http_request_t *r, ngx_str_t *key);


char *
ngx_http_claude_auth_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    ngx_str_t  *value, name;

    value = cf->args->elts;
    ngx_str_null(&name);

    if (cf->args->nelts == 3) {

        if (value[2].len <= 5 || ngx_strncmp(value[2].data, "name=", 5) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", write \"name=...\"",
                               &value[2]);
            return NGX_CONF_ERROR;
        }

        name.data = value[2].data + 5;
        name.len = value[2].len - 5;
    }

    return (auth_add(cf, lcf, &value[1], &name) == NGX_OK) ? NGX_CONF_OK
                                                           : NGX_CONF_ERROR;
}


char *
ngx_http_claude_auth_key_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_claude_conf_lines(cf, conf, auth_file_line);
}


ngx_http_claude_key_t *
ngx_http_claude_auth_find(ngx_http_request_t *r, ngx_array_t *keys)
{
    u_char                  diff;
    ngx_str_t               bearer;
    ngx_uint_t              i, j;
    ngx_claude_hash_t       hash;
    ngx_http_claude_key_t  *key, *found;

    if (keys == NULL || auth_bearer(r, &bearer) != NGX_OK) {
        return NULL;
    }

    auth_hash(&hash, &bearer);

    key = keys->elts;
    found = NULL;

    /* all bytes of all keys: the time must not tell how much was right */

    for (i = 0; i < keys->nelts; i++) {

        for (j = 0, diff = 0; j < sizeof(hash.hash); j++) {
            diff |= hash.hash[j] ^ key[i].hash.hash[j];
        }

        if (diff == 0) {
            found = &key[i];
        }
    }

    return found;
}


ngx_int_t
ngx_http_claude_auth(ngx_http_request_t *r)
{
    ngx_str_t                    bearer;
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    ctx = ngx_http_claude_ctx_make(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!lcf->auth) {
        return NGX_OK;
    }

    ctx->key = ngx_http_claude_auth_find(r, lcf->keys);

    if (ctx->key) {
        return NGX_OK;
    }

    ctx->error.final = 1;

    if (auth_bearer(r, &bearer) != NGX_OK) {
        return ngx_http_claude_error(ctx, NGX_HTTP_UNAUTHORIZED,
                   "invalid_api_key", NULL,
                   "You didn't provide an API key. Send it in an "
                   "Authorization header: \"Authorization: Bearer KEY\".");
    }

    return ngx_http_claude_error(ctx, NGX_HTTP_UNAUTHORIZED,
                                 "invalid_api_key", NULL,
                                 "Incorrect API key provided.");
}


ngx_int_t
ngx_http_claude_auth_access(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_claude_ctx_t       *ctx;
    ngx_http_claude_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (!lcf->guarded || !lcf->auth) {
        return NGX_DECLINED;
    }

    rc = ngx_http_claude_auth(r);

    if (rc == NGX_HTTP_UNAUTHORIZED) {
        ctx = ngx_http_claude_ctx(r);

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "claude: %V, request %V", &ctx->error.message, &ctx->id);
    }

    return rc;
}


static ngx_int_t
auth_add(ngx_conf_t *cf, ngx_http_claude_loc_conf_t *lcf, ngx_str_t *key,
    ngx_str_t *name)
{
    u_char                 *p;
    ngx_uint_t              i;
    ngx_claude_hash_t       hash;
    ngx_http_claude_key_t  *k;

    if (key->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "the API key is empty");
        return NGX_ERROR;
    }

    if (!auth_is_name(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the name of an API key is %d bytes of UTF-8 at "
                           "most, without control characters, and does not "
                           "begin with \"(\"", NGX_CLAUDE_KEY_NAME);
        return NGX_ERROR;
    }

    if (lcf->keys == NGX_CONF_UNSET_PTR) {
        lcf->keys = ngx_array_create(cf->pool, 4,
                                     sizeof(ngx_http_claude_key_t));
        if (lcf->keys == NULL) {
            return NGX_ERROR;
        }
    }

    auth_hash(&hash, key);
    k = lcf->keys->elts;

    for (i = 0; i < lcf->keys->nelts; i++) {
        if (ngx_claude_hash_same(&k[i].hash, &hash)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the API key \"%V\" is there twice",
                               &k[i].name);
            return NGX_ERROR;
        }
    }

    k = ngx_array_push(lcf->keys);
    if (k == NULL) {
        return NGX_ERROR;
    }

    k->hash = hash;
    k->name = *name;

    ngx_explicit_memzero(key->data, key->len);

    auth_identity(k);

    k->home = ngx_claude_home_name(cf->pool, name, &k->tenant);
    if (k->home == NULL) {
        return NGX_ERROR;
    }

    if (name->len == 0) {
        p = ngx_pnalloc(cf->pool, sizeof("key") + NGX_INT_T_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        k->name.data = p;
        k->name.len = ngx_sprintf(p, "key%ui", lcf->keys->nelts) - p;
    }

    return NGX_OK;
}


/*
 * Secrets of one name are one key, so that it can be changed.  A name's sum is
 * none that a secret could have.
 */

static void
auth_identity(ngx_http_claude_key_t *key)
{
    ngx_sha1_t  sha1;

    if (key->name.len == 0) {
        key->tenant = key->hash;
        return;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, "name", sizeof("name"));
    ngx_sha1_update(&sha1, key->name.data, key->name.len);
    ngx_claude_hash_final(&key->tenant, &sha1);
}


/* names go into logs, JSON and labels, where "(other)" is nobody's */

static ngx_uint_t
auth_is_name(ngx_str_t *name)
{
    ngx_uint_t  i;

    if (name->len > NGX_CLAUDE_KEY_NAME
        || !ngx_claude_utf8_valid(name->data, name->len))
    {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        if (name->data[i] < 0x20 || name->data[i] == 0x7f
            || (i == 0 && name->data[i] == '('))
        {
            return 0;
        }
    }

    return 1;
}


static void
auth_hash(ngx_claude_hash_t *hash, ngx_str_t *key)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_claude_hash_final(hash, &sha1);
}


/* name:key */

static ngx_int_t
auth_file_line(ngx_conf_t *cf, void *conf, ngx_str_t *file, ngx_uint_t n,
    ngx_str_t *line)
{
    ngx_http_claude_loc_conf_t *lcf = conf;

    u_char     *p, *last, *colon;
    ngx_str_t   key, name;

    p = line->data;
    last = p + line->len;

    colon = ngx_strlchr(p, last, ':');

    if (colon == NULL || colon == p || colon + 1 == last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V:%ui is not \"name:key\"", file, n);
        return NGX_ERROR;
    }

    name.len = colon - p;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(name.data, p, name.len);

    key.data = colon + 1;
    key.len = last - key.data;

    return auth_add(cf, lcf, &key, &name);
}


static ngx_int_t
auth_bearer(ngx_http_request_t *r, ngx_str_t *key)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    if (r->headers_in.authorization == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < sizeof("Bearer ") - 1
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = value->data + sizeof("Bearer ") - 1;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    key->data = p;
    key->len = last - p;

    return key->len ? NGX_OK : NGX_DECLINED;
}
