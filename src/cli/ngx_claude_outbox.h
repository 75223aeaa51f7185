
/*
 * The outbox of a CLI: what waits to be written to its stdin.  Pieces of
 * lines, of which those that are text of clients are escaped as the pipe
 * drains.  It knows neither what a line means nor whose pipe it is.
 */


#ifndef _NGX_CLAUDE_OUTBOX_H_INCLUDED_
#define _NGX_CLAUDE_OUTBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct ngx_claude_piece_s  ngx_claude_piece_t;


typedef struct {
    ngx_log_t             *log;
    ngx_pool_t            *pool;        /* memory of the pieces; NULL: none */
    ngx_claude_piece_t    *pieces;
    ngx_claude_piece_t   **last;
    u_char                *stage;       /* escaped, and not taken yet */
    u_char                *stage_pos;
    u_char                *stage_last;
    u_char                *room;        /* for what is short */
    u_char                *room_end;
    unsigned               deaf:1;      /* nobody will read it: what is put
                                           is dropped */
} ngx_claude_outbox_t;


void ngx_claude_outbox_init(ngx_claude_outbox_t *outbox, ngx_log_t *log);

/*
 * Text to be written.  put: text that lives until the outbox is empty; copy:
 * copied; escape: a JSON string with its quotes, made as the pipe drains, so
 * that a large one stalls nobody.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_outbox_put(ngx_claude_outbox_t *outbox, u_char *p,
    size_t len);
ngx_int_t ngx_claude_outbox_copy(ngx_claude_outbox_t *outbox, u_char *p,
    size_t len);
ngx_int_t ngx_claude_outbox_escape(ngx_claude_outbox_t *outbox, u_char *p,
    size_t len);

/* a literal */
#define ngx_claude_outbox_text(outbox, text)                                  \
    ngx_claude_outbox_put(outbox, (u_char *) text, sizeof(text) - 1)

/* whether all text was taken: nothing refers to a turn's strings */
#define ngx_claude_outbox_flushed(outbox)  ((outbox)->pieces == NULL)

/* whether, besides, all that was escaped is written */
#define ngx_claude_outbox_empty(outbox)                                       \
    ((outbox)->pieces == NULL && (outbox)->stage_pos == (outbox)->stage_last)

/*
 * Writes as much as the pipe takes.  NGX_OK: all of it; NGX_AGAIN: the pipe
 * is full; NGX_DECLINED: its reader has closed it, and
 * what waited is dropped; NGX_ERROR: no memory for the rest.
 */
ngx_int_t ngx_claude_outbox_write(ngx_claude_outbox_t *outbox,
    ngx_connection_t *c);

/* forgets what was not written yet */
void ngx_claude_outbox_drop(ngx_claude_outbox_t *outbox);


#endif /* _NGX_CLAUDE_OUTBOX_H_INCLUDED_ */
