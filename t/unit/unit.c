
/*
 * What the unit tests share.  See the header.
 */


#include "unit.h"

#include <stdio.h>


static char *unit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static int  unit_n, unit_failed;


static ngx_command_t  unit_commands[] = {

    { ngx_string("unit_tests"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      unit_directive,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  unit_ctx = {
    ngx_string("unit"),
    NULL,
    NULL
};


ngx_module_t  unit_module = {
    NGX_MODULE_V1,
    &unit_ctx,                             /* module context */
    unit_commands,                         /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* what a dynamic module has besides */

ngx_module_t  *ngx_modules[] = { &unit_module, NULL };
char          *ngx_module_names[] = { "unit_module", NULL };
char          *ngx_module_order[] = { NULL };


static char *
unit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    unit_tests(cf->pool, &value[1]);

    printf("1..%d\n", unit_n);
    fflush(stdout);

    _exit(unit_failed != 0);
}


void
unit_test(const char *file, int line, ngx_uint_t ok, const char *name)
{
    printf("%sok %d - %s\n", ok ? "" : "not ", ++unit_n, name);

    if (!ok) {
        unit_failed++;
        printf("#   at %s line %d\n", file, line);
    }

    fflush(stdout);
}


void
unit_same(ngx_str_t *got, ngx_str_t *want, const char *name)
{
    ngx_int_t   more, due;
    ngx_str_t   a, b, one, two;
    ngx_uint_t  n;

    a = *got;
    b = *want;
    n = 0;

    do {
        more = unit_line(&a, &one);
        due = unit_line(&b, &two);
        n++;

        if (more != due || one.len != two.len
            || (one.len && ngx_memcmp(one.data, two.data, one.len) != 0))
        {
            unit_test(__FILE__, __LINE__, 0, name);

            printf("#   line %d\n#   got  %.*s\n#   want %.*s\n", (int) n,
                   (int) one.len, one.data, (int) two.len, two.data);
            return;
        }

    } while (more == NGX_OK);

    unit_test(__FILE__, __LINE__, 1, name);
}


void
unit_needs(ngx_uint_t ok, const char *what)
{
    if (!ok) {
        printf("Bail out!  %s\n", what);
        fflush(stdout);

        _exit(2);
    }
}


ngx_str_t
unit_file(ngx_pool_t *pool, ngx_str_t *dir, const char *name)
{
    FILE       *file;
    u_char     *path;
    ngx_str_t   text;

    path = ngx_pnalloc(pool, dir->len + ngx_strlen(name) + 2);
    unit_needs(path != NULL, "memory");

    (void) ngx_sprintf(path, "%V/%s%Z", dir, name);

    file = fopen((char *) path, "r");
    unit_needs(file != NULL, name);

    text.data = ngx_pnalloc(pool, 65536);
    unit_needs(text.data != NULL, "memory");

    text.len = fread(text.data, 1, 65536, file);
    unit_needs(text.len < 65536, "a file of less than 64k");

    fclose(file);

    return text;
}


ngx_int_t
unit_line(ngx_str_t *text, ngx_str_t *line)
{
    u_char  *end;

    ngx_str_null(line);

    if (text->len == 0) {
        return NGX_DONE;
    }

    end = memchr(text->data, LF, text->len);

    line->data = text->data;
    line->len = end ? (size_t) (end - text->data) : text->len;

    text->data += line->len + (end != NULL);
    text->len -= line->len + (end != NULL);

    return NGX_OK;
}
