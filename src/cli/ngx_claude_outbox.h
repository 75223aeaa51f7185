
/*
 * The outbox of a CLI: what waits to be written to its stdin.  A sink of the
 * JSON writer that refers to long texts, and escapes them as the pipe drains.
 * It knows neither what a line means nor whose pipe it is.
 */


#ifndef _NGX_CLAUDE_OUTBOX_H_INCLUDED_
#define _NGX_CLAUDE_OUTBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_out.h"


typedef struct ngx_claude_piece_s  ngx_claude_piece_t;

/* writes the next part of what is long.  NGX_OK: the last; NGX_AGAIN */
typedef ngx_int_t (*ngx_claude_outbox_more_pt)(ngx_claude_out_t *out,
    void *data);


typedef struct {
    ngx_claude_out_t       out;         /* a line is written to it */
    ngx_log_t             *log;
    ngx_pool_t            *pool;        /* memory of the pieces; NULL: none */
    ngx_claude_piece_t    *pieces;
    ngx_claude_piece_t   **last;
    u_char                *stage;       /* escaped, and not taken yet */
    u_char                *stage_pos;
    u_char                *stage_last;
    u_char                *room;        /* for what is copied */
    u_char                *room_end;
    ngx_claude_piece_t   **mark;        /* where the line began, */
    u_char                *mark_end;    /* and the piece before it ended */
    unsigned               deaf:1;      /* nobody will read it: what is put
                                           is dropped */
    unsigned               broken:1;    /* no memory for what is written as it
                                           drains */
} ngx_claude_outbox_t;


void ngx_claude_outbox_init(ngx_claude_outbox_t *outbox, ngx_log_t *log);

/*
 * A line is written between the two, to what begin returns; no other is begun,
 * and nothing written to the pipe, before its end.  A value of a format (%J,
 * %V) has to live until the outbox is empty: a long one is referred to, and
 * one of clients escaped as the pipe drains, so that a large one stalls
 * nobody.  All else is copied.  NGX_ERROR: no memory, and nothing of the line
 * is in the outbox.
 */
ngx_claude_out_t *ngx_claude_outbox_begin(ngx_claude_outbox_t *outbox);
ngx_int_t ngx_claude_outbox_end(ngx_claude_outbox_t *outbox);

/*
 * What is many stands in the line as one: write() is called for it as the pipe
 * drains, with a copy of the data.  out: what begin has returned.
 */
void ngx_claude_outbox_more(ngx_claude_out_t *out,
    ngx_claude_outbox_more_pt write, void *data, size_t size);

/* whether all text was taken: nothing refers to a turn's strings */
#define ngx_claude_outbox_flushed(outbox)  ((outbox)->pieces == NULL)

/* whether, besides, all that was escaped is written */
#define ngx_claude_outbox_empty(outbox)                                       \
    ((outbox)->pieces == NULL && (outbox)->stage_pos == (outbox)->stage_last)

/*
 * Writes as much as the pipe takes, or what a turn of the event loop has time
 * for.  NGX_OK: all of it; NGX_AGAIN: the pipe is full, or is still ready;
 * NGX_DECLINED: its reader has closed it, and what waited is dropped;
 * NGX_ERROR: no memory for the rest.
 */
ngx_int_t ngx_claude_outbox_write(ngx_claude_outbox_t *outbox,
    ngx_connection_t *c);

/*
 * Copies what is referred to and was not taken yet, so that its owner may go:
 * the CLI gets the whole of a line that it has a part of.  NGX_ERROR: no
 * memory, or it is many things that are written as the pipe drains, and some
 * of it is still referred to.
 */
ngx_int_t ngx_claude_outbox_own(ngx_claude_outbox_t *outbox);

/* the bytes that wait, before they are escaped */
size_t ngx_claude_outbox_left(ngx_claude_outbox_t *outbox);

/* forgets what was not written yet */
void ngx_claude_outbox_drop(ngx_claude_outbox_t *outbox);


#endif /* _NGX_CLAUDE_OUTBOX_H_INCLUDED_ */
