
/*
 * What the unit tests share.  A test is a module of nginx's that is loaded
 * behind the one under test and calls its functions: no process, no request,
 * no event loop.  It says TAP on stdout and ends nginx.  See t/lib/Unit.pm.
 */


#ifndef _UNIT_H_INCLUDED_
#define _UNIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* each unit_*.c has it; dir: the absolute path of t/unit */
void unit_tests(ngx_pool_t *pool, ngx_str_t *dir);

#define unit_ok(condition, name)                                              \
    unit_test(__FILE__, __LINE__, (condition) ? 1 : 0, name)

void unit_test(const char *file, int line, ngx_uint_t ok, const char *name);

/* two texts of lines; the first lines that differ are shown */
void unit_same(ngx_str_t *got, ngx_str_t *want, const char *name);

/* the end of the test when something that it needs is missing */
void unit_needs(ngx_uint_t ok, const char *what);

/* a file of t/unit */
ngx_str_t unit_file(ngx_pool_t *pool, ngx_str_t *dir, const char *name);

/* the next line of a text, without its end; NGX_DONE: there is none */
ngx_int_t unit_line(ngx_str_t *text, ngx_str_t *line);


#endif /* _UNIT_H_INCLUDED_ */
