
/*
 * The driver, private: what its two files share, the one that takes a process
 * from phase to phase and the one that hears what the model says and decides
 * how the turn ends.
 */


#ifndef _NGX_HTTP_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_


#include "ngx_http_claude_driver.h"


/* names short for the two files and long for the linker */
#define driver_retry         ngx_http_claude_driver_retry
#define driver_event         ngx_http_claude_driver_event
#define driver_result        ngx_http_claude_driver_result
#define driver_fail          ngx_http_claude_driver_fail
#define driver_finish        ngx_http_claude_driver_finish
#define driver_send          ngx_http_claude_driver_send
#define driver_idle          ngx_http_claude_driver_idle
#define driver_settled       ngx_http_claude_driver_settled
#define driver_interrupt     ngx_http_claude_driver_interrupt
#define driver_hold          ngx_http_claude_driver_hold
#define driver_detach        ngx_http_claude_driver_detach
#define driver_leave         ngx_http_claude_driver_leave
#define driver_zone          ngx_http_claude_driver_zone
#define driver_hooks         ngx_http_claude_driver_hooks

typedef enum {
    DRIVER_GREETING = 0,        /* started, the first answers are due */
    DRIVER_IDLE,
    DRIVER_PREPARING,           /* answers to control requests are due */
    DRIVER_REPLAYING,           /* the result of a message of the history */
    DRIVER_ASKED,
    DRIVER_SETTLING,            /* the turn is decided, its result is due */
    DRIVER_REWINDING            /* the question is being taken back */
} ngx_http_claude_driver_phase_e;


extern ngx_http_claude_zone_t                *driver_zone;
extern const ngx_http_claude_driver_hooks_t  *driver_hooks;


/* in driver.c: the process goes on, or lets its turn go */

void driver_send(ngx_http_claude_process_t *process);
void driver_interrupt(ngx_http_claude_process_t *process);
void driver_settled(ngx_http_claude_process_t *process);
void driver_idle(ngx_http_claude_process_t *process);
ngx_int_t driver_hold(ngx_http_claude_process_t *process,
    ngx_http_claude_link_t *link, ngx_uint_t line);
ngx_http_claude_turn_t *driver_detach(
    ngx_http_claude_process_t *process);
void driver_leave(ngx_http_claude_turn_t *turn);

/* in driver_answer.c: lines about the turn, and its end */

void driver_retry(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
void driver_event(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
void driver_result(ngx_http_claude_process_t *process,
    ngx_http_claude_cli_line_t *line);
void driver_fail(ngx_http_claude_process_t *process,
    ngx_http_claude_fail_e fail, ngx_str_t *reason, const char *detail);
void driver_finish(ngx_http_claude_turn_t *turn);


#endif /* _NGX_HTTP_CLAUDE_DRIVER_PRIVATE_H_INCLUDED_ */
