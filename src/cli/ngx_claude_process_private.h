
/*
 * A process, private: what its two files share, the one about its life and
 * its output, and the one about its input.
 */


#ifndef _NGX_CLAUDE_PROCESS_PRIVATE_H_INCLUDED_
#define _NGX_CLAUDE_PROCESS_PRIVATE_H_INCLUDED_


#include "ngx_claude_process.h"


/* names short for the two files and long for the linker */
#define process_broken         ngx_claude_process_broken
#define process_reason         ngx_claude_process_reason
#define process_drop_pieces    ngx_claude_process_drop_pieces
#define process_write_handler  ngx_claude_process_write_handler


/* why it is of no use any more, then to say so; formats as ngx_sprintf() */
void process_reason(ngx_claude_process_t *process, const char *fmt, ...);
void process_broken(ngx_claude_process_t *process);

/* in process_input.c: forgets what was not written yet */
void process_drop_pieces(ngx_claude_process_t *process);
void process_write_handler(ngx_event_t *wev);


#endif /* _NGX_CLAUDE_PROCESS_PRIVATE_H_INCLUDED_ */
