
/*
 * Processes, as proc(5) tells of them, which is nothing where it is not
 * mounted, or hides those of others (hidepid).  Async-signal-safe, as the
 * spawner process and the keepers need it.
 */


#ifndef _NGX_CLAUDE_PROC_H_INCLUDED_
#define _NGX_CLAUDE_PROC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* clock ticks since boot at which it started; 0: there is none */
uint64_t ngx_claude_proc_start(ngx_pid_t pid);

/*
 * Whether a process that had started then (0: it is not known when) is no
 * more.  One that is dead and was not waited for counts as gone; where /proc
 * does not tell, one that has its pid by now does not.
 */
ngx_uint_t ngx_claude_proc_gone(ngx_pid_t pid, uint64_t start);

/*
 * Memory that is resident of a process that started then, in bytes; 0: there
 * is no such process, or another one has its pid.
 */
uint64_t ngx_claude_proc_memory(ngx_pid_t pid, uint64_t start);


#endif /* _NGX_CLAUDE_PROC_H_INCLUDED_ */
