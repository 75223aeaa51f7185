/*
 * For t/005-docs.t: goes into "nginx -t" by LD_PRELOAD, and writes what the
 * module's tables say as JSON, when nginx ends, to the file that TABLES names.
 *
 * The module is found by its symbols, whether it was loaded or linked in. Its
 * defaults are those of a configuration without directives, made and merged by
 * its own functions.
 */

#define _GNU_SOURCE
#include <dlfcn.h>

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_variables.h"


typedef struct {
    ngx_http_claude_main_conf_t  *mcf;
    ngx_http_claude_loc_conf_t   *lcf;
} tables_conf_t;


static char  *tables_path;
static FILE  *out;
static int    fields;


static void *
find(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}


/* one of the module's, that this relies on */

static void *
need(const char *name)
{
    void  *p = find(name);

    if (p == NULL) {
        fprintf(stderr, "tables: the module has no %s\n", name);
        _exit(1);
    }

    return p;
}


static void
put_string(const void *data, size_t len)
{
    const unsigned char  *p = data;

    putc('"', out);

    for ( /* void */ ; len; len--, p++) {
        if (*p == '"' || *p == '\\' || *p < ' ') {
            fprintf(out, "\\u%04x", *p);

        } else {
            putc(*p, out);
        }
    }

    putc('"', out);
}


/* a number with its unit, as one writes it in nginx.conf */

static void
put_time(unsigned long msec)
{
    if (msec % 3600000 == 0) {
        fprintf(out, "%luh", msec / 3600000);

    } else if (msec % 60000 == 0) {
        fprintf(out, "%lum", msec / 60000);

    } else if (msec % 1000 == 0) {
        fprintf(out, "%lus", msec / 1000);

    } else {
        fprintf(out, "%lums", msec);
    }
}


static void
put_size(size_t size)
{
    if (size % 1048576 == 0) {
        fprintf(out, "%zum", size / 1048576);

    } else if (size % 1024 == 0) {
        fprintf(out, "%zuk", size / 1024);

    } else {
        fprintf(out, "%zu", size);
    }
}


/* words with white space need quotes in nginx.conf */

static void
put_word(ngx_str_t *s)
{
    if (memchr(s->data, ' ', s->len)) {
        fprintf(out, "\\\"%.*s\\\"", (int) s->len, s->data);

    } else {
        fprintf(out, "%.*s", (int) s->len, s->data);
    }
}


/* of handlers of our own: what they have set; 0: nothing */

static int
put_own_default(const char *name, tables_conf_t *conf)
{
    size_t                    i;
    ngx_http_claude_model_t  *model;

    if (strcmp(name, "claude_queue") == 0) {
        fprintf(out, "\"%lu timeout=", (unsigned long) conf->mcf->queue);
        put_time(conf->mcf->queue_timeout);
        putc('"', out);

    } else if (strcmp(name, "claude_permission_mode") == 0) {
        put_string(conf->lcf->permission_mode.data,
                   conf->lcf->permission_mode.len);

    } else if (strcmp(name, "claude_tools") == 0) {
        if (conf->lcf->tools.len) {
            put_string(conf->lcf->tools.data, conf->lcf->tools.len);
        } else {
            put_string("none", 4);
        }

    } else if (strcmp(name, "claude_sandbox") == 0) {
        if (conf->lcf->sandbox == NGX_CLAUDE_SANDBOX_OFF) {
            put_string("off", 3);
        } else {
            put_string("?", 1);
        }

    } else if (strcmp(name, "claude_model_map") == 0) {
        model = conf->lcf->models->elts;
        putc('"', out);

        for (i = 0; i < conf->lcf->models->nelts; i++) {
            fprintf(out, "%s%.*s %.*s", i ? ", " : "",
                    (int) model[i].from.len, model[i].from.data,
                    (int) model[i].to.len, model[i].to.data);
        }

        putc('"', out);

    } else {
        return 0;
    }

    return 1;
}


static void
put_default(ngx_command_t *cmd, tables_conf_t *conf)
{
    char                       *p;
    ngx_str_t                  *s;
    ngx_conf_enum_t            *e;
    ngx_http_complex_value_t  **cv;

    p = (cmd->conf == NGX_HTTP_MAIN_CONF_OFFSET) ? (char *) conf->mcf
                                                 : (char *) conf->lcf;
    p += cmd->offset;

    if (put_own_default((char *) cmd->name.data, conf)) {
        return;
    }

    if ((void *) cmd->set == find("ngx_conf_set_num_slot")) {
        fprintf(out, "\"%ld\"", (long) *(ngx_int_t *) p);

    } else if ((void *) cmd->set == find("ngx_conf_set_flag_slot")) {
        fprintf(out, "\"%s\"", *(ngx_flag_t *) p ? "on" : "off");

    } else if ((void *) cmd->set == find("ngx_conf_set_enum_slot")) {
        for (e = cmd->post; e->name.len && e->value != *(ngx_uint_t *) p; e++) {
            /* void */
        }

        fprintf(out, "\"%s\"", (char *) e->name.data);

    } else if ((void *) cmd->set == find("ngx_conf_set_msec_slot")) {
        putc('"', out);
        put_time(*(ngx_msec_t *) p);
        putc('"', out);

    } else if ((void *) cmd->set == find("ngx_conf_set_sec_slot")) {
        putc('"', out);
        put_time(*(time_t *) p * 1000);
        putc('"', out);

    } else if ((void *) cmd->set == find("ngx_conf_set_size_slot")) {
        putc('"', out);
        put_size(*(size_t *) p);
        putc('"', out);

    } else if ((void *) cmd->set == find("ngx_http_set_complex_value_slot")
               || (void *) cmd->set == find("ngx_http_claude_conf_prompt"))
    {
        cv = (ngx_http_complex_value_t **) p;
        putc('"', out);
        put_word(&(*cv)->value);
        putc('"', out);

    } else {
        s = (ngx_str_t *) p;

        if ((void *) cmd->set == find("ngx_conf_set_str_slot") && s->len) {
            put_string(s->data, s->len);

        } else {
            fprintf(out, "null");
        }
    }
}


/* how many arguments a directive takes, 99 for any number */

static void
put_arguments(ngx_uint_t type)
{
    int         least, most, i;

    static const ngx_uint_t  take[] = {
        NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_CONF_TAKE3,
        NGX_CONF_TAKE4, NGX_CONF_TAKE5, NGX_CONF_TAKE6, NGX_CONF_TAKE7
    };

    least = most = -1;

    for (i = 0; i < 8; i++) {
        if (type & take[i]) {
            least = (least == -1) ? i : least;
            most = i;
        }
    }

    if (type & NGX_CONF_FLAG) {
        least = most = 1;

    } else if (type & NGX_CONF_ANY) {
        least = 0, most = 99;

    } else if (type & NGX_CONF_1MORE) {
        least = 1, most = 99;

    } else if (type & NGX_CONF_2MORE) {
        least = 2, most = 99;
    }

    fprintf(out, "\"least\":%d,\"most\":%d", least, most);
}


static void
put_directives(ngx_module_t *module, tables_conf_t *conf)
{
    int             n;
    ngx_command_t  *cmd;

    for (cmd = module->commands; cmd->name.len; cmd++) {
        fprintf(out, "%s{\"name\":\"%s\",\"contexts\":[",
                cmd == module->commands ? "" : ",\n", cmd->name.data);

        n = 0;

        if (cmd->type & NGX_HTTP_MAIN_CONF) {
            fprintf(out, "%s\"http\"", n++ ? "," : "");
        }

        if (cmd->type & NGX_HTTP_SRV_CONF) {
            fprintf(out, "%s\"server\"", n++ ? "," : "");
        }

        if (cmd->type & NGX_HTTP_LOC_CONF) {
            fprintf(out, "%s\"location\"", n++ ? "," : "");
        }

        if (cmd->type & NGX_HTTP_LIF_CONF) {
            fprintf(out, "%s\"if in location\"", n++ ? "," : "");
        }

        fprintf(out, "],");
        put_arguments(cmd->type);
        fprintf(out, ",\"default\":");
        put_default(cmd, conf);
        putc('}', out);
    }
}


/* what a server without a directive of ours has */

static void
merged(ngx_module_t *module, tables_conf_t *conf)
{
    void                *loc[1024], *prev;
    ngx_conf_t           cf;
    ngx_module_t        *core = find("ngx_http_core_module");
    ngx_http_module_t   *ctx = module->ctx;
    ngx_http_conf_ctx_t  http;

    /* nginx's own were on the stack of main() */

    static ngx_log_t     log;
    static ngx_cycle_t   cycle;

    memset(&cf, 0, sizeof(ngx_conf_t));
    memset(&http, 0, sizeof(ngx_http_conf_ctx_t));
    memset(loc, 0, sizeof(loc));

    cf.log = cycle.log = &log;
    cf.pool = cf.temp_pool = cycle.pool = ngx_create_pool(65536, &log);
    cf.cycle = &cycle;
    cf.ctx = &http;
    http.main_conf = http.srv_conf = http.loc_conf = loc;
    loc[core->ctx_index] = calloc(1, 65536);

    conf->mcf = ctx->create_main_conf(&cf);
    ctx->init_main_conf(&cf, conf->mcf);

    prev = ctx->create_loc_conf(&cf);
    conf->lcf = ctx->create_loc_conf(&cf);
    ctx->merge_loc_conf(&cf, prev, conf->lcf);
}


/*
 * The members of a body that a dialect reads, "stream_options.include_usage",
 * or those that it has in its table as ignored.
 */

static void
put_fields(const ngx_claude_json_field_t *field, const char *before,
    int ignored)
{
    char                            path[256];
    const ngx_claude_json_field_t  *mark = find("ngx_claude_json_ignored");

    for ( /* void */ ; field->name.len; field++) {
        snprintf(path, sizeof(path), "%s%s%.*s", before, *before ? "." : "",
                 (int) field->name.len, field->name.data);

        if ((mark && field->inside == mark) == ignored) {
            fprintf(out, "%s\"%s\"", fields++ ? ",\n" : "", path);
        }

        if (field->inside) {
            put_fields(field->inside, path, ignored);
        }
    }
}


static void __attribute__((constructor))
tables_begin(void)
{
    tables_path = getenv("TABLES");
    tables_path = tables_path ? strdup(tables_path) : NULL;
}


static void __attribute__((destructor))
tables_end(void)
{
    int                               i;
    ngx_module_t                     *module = find("ngx_http_claude_module");
    tables_conf_t                     conf;
    const ngx_http_variable_t        *v;
    const ngx_http_claude_failure_t  *fail;

    /* whatever else has the library, a shell around nginx for instance */

    if (tables_path == NULL || module == NULL) {
        return;
    }

    out = fopen(tables_path, "w");
    if (out == NULL) {
        return;
    }

    merged(module, &conf);

    fprintf(out, "{\"directives\":[");
    put_directives(module, &conf);

    fprintf(out, "],\n\"variables\":[");
    v = need("ngx_http_claude_variables");

    for (i = 0; v[i].name.len; i++) {
        fprintf(out, "%s\"%s\"", i ? "," : "", v[i].name.data);
    }

    fprintf(out, "],\n\"fails\":[");
    fail = need("ngx_http_claude_failures");

    for (i = 0; i < NGX_CLAUDE_FAILS; i++) {
        fprintf(out, "%s{\"status\":%lu,\"final\":%u,\"code\":", i ? "," : "",
                (unsigned long) fail[i].status, fail[i].final);

        if (fail[i].code) {
            put_string(fail[i].code, strlen(fail[i].code));

        } else {
            fprintf(out, "null");
        }

        putc('}', out);
    }

    fprintf(out, "],\n\"chat\":[");
    fields = 0;
    put_fields(need("ngx_http_claude_chat_fields"), "", 0);

    fprintf(out, "],\n\"chat_ignored\":[");
    fields = 0;
    put_fields(need("ngx_http_claude_chat_fields"), "", 1);

    fprintf(out, "],\n\"completions\":[");
    fields = 0;
    put_fields(need("ngx_http_claude_completions_fields"), "", 0);

    fprintf(out, "]}\n");
    fclose(out);
}
