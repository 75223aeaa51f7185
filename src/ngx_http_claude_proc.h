
/*
 * What proc(5) tells of processes.  Async-signal-safe, as the spawner process
 * and the keepers need it.
 */


#ifndef _NGX_HTTP_CLAUDE_PROC_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_PROC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* clock ticks since boot at which it started; 0: there is none */
uint64_t ngx_http_claude_proc_start(ngx_pid_t pid);

/* what is resident of it, in bytes; 0: there is none */
uint64_t ngx_http_claude_proc_memory(ngx_pid_t pid);


#endif /* _NGX_HTTP_CLAUDE_PROC_H_INCLUDED_ */
