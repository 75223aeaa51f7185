
/*
 * Small texts from outside: versions, key files, Authorization headers.  The
 * input's first byte says which.
 */


#include "fuzz.h"

#include "ngx_http_claude_auth.c"


int LLVMFuzzerTestOneInput(const uint8_t *p, size_t len);


static ngx_uint_t
words_number(u_char **p, u_char *last)
{
    ngx_uint_t  n;

    for (n = 0; *p < last && **p >= '0' && **p <= '9'; (*p)++) {
        n = ngx_min(n * 10 + (**p - '0'), 100000);
    }

    return n;
}


/* of two versions with parts of up to 999 the later one is the greater */

static void
words_version(ngx_str_t text)
{
    u_char      *p, *last;
    ngx_uint_t   version, part[3], i;

    version = ngx_claude_cli_version(&text);

    p = text.data;
    last = p + text.len;

    for (i = 0; i < 3; i++) {
        part[i] = words_number(&p, last);

        if (i < 2 && (p == last || *p++ != '.')) {
            fuzz_check(version == 0 || part[i] > 999);
            return;
        }
    }

    if (part[0] < 100 && part[1] < 100 && part[2] < 1000) {
        fuzz_check(version == (part[0] * 100 + part[1]) * 1000 + part[2]);
    }

    /* an old one never passes for a new one */

    if (part[0] < 2 || (part[0] == 2 && part[1] == 0)
        || (part[0] == 2 && part[1] == 1 && part[2] < 260))
    {
        fuzz_check(version < NGX_CLAUDE_CLI_OLDEST);
    }
}


static void
words_keys(ngx_pool_t *pool, fuzz_input_t *in)
{
    ngx_log_t                    log;
    ngx_str_t                    line, file;
    ngx_uint_t                   n, before;
    ngx_conf_t                   cf;
    ngx_http_claude_key_t       *key;
    ngx_http_claude_loc_conf_t   lcf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    ngx_memzero(&lcf, sizeof(ngx_http_claude_loc_conf_t));

    cf.pool = pool;
    cf.temp_pool = pool;

    /* an operator's own file: what is in it may stand in the log */

    log = *ngx_cycle->log;
    log.log_level = 0;
    cf.log = &log;
    lcf.keys = NGX_CONF_UNSET_PTR;
    ngx_str_set(&file, "keys");

    for (n = 1; in->p < in->last && n < 100; n++) {
        line = fuzz_copy(pool, fuzz_until(in, '\n'), 0);
        before = (lcf.keys == NGX_CONF_UNSET_PTR) ? 0 : lcf.keys->nelts;

        if (auth_file_line(&cf, &lcf, &file, n, &line) != NGX_OK) {
            break;
        }

        if (lcf.keys != NGX_CONF_UNSET_PTR && lcf.keys->nelts > before) {
            key = lcf.keys->elts;
            fuzz_check(key[before].name.len != 0);
            fuzz_touch(&key[before].name);
        }
    }
}


static void
words_bearer(ngx_pool_t *pool, ngx_str_t text)
{
    ngx_str_t         key;
    ngx_table_elt_t   h;
    fuzz_request_t   *fake;

    fake = fuzz_request(pool);

    ngx_memzero(&h, sizeof(ngx_table_elt_t));
    h.value = text;

    fake->request.headers_in.authorization = &h;

    if (auth_bearer(&fake->request, &key) == NGX_OK) {
        fuzz_check(key.len != 0 && key.data[0] != ' ');
        fuzz_check(key.data >= text.data
                   && key.data + key.len == text.data + text.len);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    u_char         what;
    ngx_pool_t    *pool;
    fuzz_input_t   in;

    if (len == 0) {
        return 0;
    }

    pool = fuzz_pool();
    fuzz_input(&in, p, len);

    what = *in.p++;

    switch (what) {

    case 'v':
        words_version(fuzz_copy(pool, fuzz_rest(&in), 0));
        break;

    case 'k':
        words_keys(pool, &in);
        break;

    default:
        words_bearer(pool, fuzz_copy(pool, fuzz_rest(&in), 0));
    }

    ngx_destroy_pool(pool);

    return 0;
}
