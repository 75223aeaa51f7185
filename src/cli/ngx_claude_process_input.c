
/*
 * What waits to be written to a CLI's stdin: pieces of lines, of which those
 * that are text of clients are escaped as the pipe drains, so that a large
 * message stalls nobody and is never held twice.
 *
 * A message may be a hundred thousand texts of one letter, so what is short
 * is no piece of its own: it is copied, escaped, behind what was before it.
 */


#include "ngx_claude_process_private.h"
#include "ngx_claude_json.h"


/* what is escaped and written at once */
#define PROCESS_STAGE_SIZE   65536

/* room in which at least one whole character fits escaped, with its quotes */
#define PROCESS_STAGE_LEAST  32

/* what is not longer is copied: a piece takes as much */
#define PROCESS_SHORT        64

/* room for what is copied; with a piece it fills a block of the pool */
#define PROCESS_POOL_SIZE    4096
#define PROCESS_ROOM_SIZE    3840


struct ngx_claude_piece_s {
    ngx_claude_piece_t  *next;
    u_char              *pos;
    u_char              *last;
    unsigned             escape:1;
    unsigned             opened:1;         /* its first quote is out */
};


static ngx_int_t process_piece(ngx_claude_process_t *process, u_char *p,
    size_t len, ngx_uint_t escape);
static ngx_int_t process_short(ngx_claude_process_t *process, u_char *p,
    size_t len, ngx_uint_t escape);
static ngx_claude_piece_t *process_last(ngx_claude_process_t *process);
static ngx_uint_t process_deaf(ngx_claude_process_t *process);
static ngx_int_t process_pool(ngx_claude_process_t *process);
static size_t process_stage(ngx_claude_process_t *process, u_char *buf,
    size_t size);
static u_char *process_escape_slice(ngx_claude_piece_t *piece, u_char *p,
    size_t room);
static ngx_int_t process_keep(ngx_claude_process_t *process, u_char *p,
    size_t len);


ngx_int_t
ngx_claude_process_put(ngx_claude_process_t *process, u_char *p,
    size_t len)
{
    return (len <= PROCESS_SHORT) ? process_short(process, p, len, 0)
                                  : process_piece(process, p, len, 0);
}


ngx_int_t
ngx_claude_process_copy(ngx_claude_process_t *process, u_char *p,
    size_t len)
{
    u_char  *s;

    if (len <= PROCESS_SHORT) {
        return process_short(process, p, len, 0);
    }

    if (process_deaf(process)) {
        return NGX_OK;
    }

    if (process_pool(process) != NGX_OK) {
        return NGX_ERROR;
    }

    s = ngx_pnalloc(process->pieces_pool, len);
    if (s == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s, p, len);

    return process_piece(process, s, len, 0);
}


ngx_int_t
ngx_claude_process_escape(ngx_claude_process_t *process, u_char *p,
    size_t len)
{
    return (len <= PROCESS_SHORT) ? process_short(process, p, len, 1)
                                  : process_piece(process, p, len, 1);
}


void
ngx_claude_process_flush(ngx_claude_process_t *process)
{
    static u_char  stage[1 + PROCESS_STAGE_SIZE];

    u_char            *p;
    size_t             len;
    ssize_t            n;
    ngx_connection_t  *c;

    c = process->in;

    if (c == NULL) {
        return;
    }

    while (process->pieces || process->stage_pos < process->stage_last) {

        if (process->stage_pos < process->stage_last) {
            p = process->stage_pos;
            len = process->stage_last - p;

        } else {
            p = stage + 1;
            len = process_stage(process, p, PROCESS_STAGE_SIZE);
        }

        n = write(c->fd, p, len);

        if (n == -1) {

            if (ngx_errno != NGX_EINTR && ngx_errno != NGX_EAGAIN) {

                /* it has closed its stdin: its end comes by other ways */

                process_drop_pieces(process);
                return;
            }

            if (ngx_errno == NGX_EAGAIN) {
                c->write->ready = 0;
            }

            n = 0;
        }

        if (p == process->stage_pos) {
            process->stage_pos += n;

        } else if ((size_t) n < len
                   && process_keep(process, p + n, len - n) != NGX_OK)
        {
            process_reason(process, "no memory for its input");
            process_broken(process);
            return;
        }

        if (!c->write->ready) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                process_reason(process, "its input cannot be watched");
                process_broken(process);
            }

            return;
        }
    }

    process_drop_pieces(process);
}


static ngx_int_t
process_piece(ngx_claude_process_t *process, u_char *p, size_t len,
    ngx_uint_t escape)
{
    ngx_claude_piece_t  *piece;

    if (process_deaf(process)) {
        return NGX_OK;
    }

    if (process_pool(process) != NGX_OK) {
        return NGX_ERROR;
    }

    piece = ngx_palloc(process->pieces_pool, sizeof(ngx_claude_piece_t));
    if (piece == NULL) {
        return NGX_ERROR;
    }

    piece->pos = p;
    piece->last = p + len;
    piece->escape = escape;
    piece->opened = 0;
    piece->next = NULL;

    *process->last_piece = piece;
    process->last_piece = &piece->next;

    return NGX_OK;
}


/* goes on with the last piece, if that ends where there is room */

static ngx_int_t
process_short(ngx_claude_process_t *process, u_char *p, size_t len,
    ngx_uint_t escape)
{
    size_t               max;
    u_char              *last;
    ngx_claude_piece_t  *piece;

    if (process_deaf(process)) {
        return NGX_OK;
    }

    if (process_pool(process) != NGX_OK) {
        return NGX_ERROR;
    }

    max = escape ? ngx_claude_json_escaped_max(len) : len;

    if (max == 0) {
        return NGX_OK;
    }

    if ((size_t) (process->room_end - process->room) < max) {

        process->room = ngx_pnalloc(process->pieces_pool, PROCESS_ROOM_SIZE);

        if (process->room == NULL) {
            process->room_end = NULL;
            return NGX_ERROR;
        }

        process->room_end = process->room + PROCESS_ROOM_SIZE;
    }

    piece = process_last(process);

    if (piece == NULL || piece->escape || piece->last != process->room) {

        if (process_piece(process, process->room, 0, 0) != NGX_OK) {
            return NGX_ERROR;
        }

        piece = process_last(process);
    }

    last = escape ? ngx_claude_json_escape(process->room, p, len)
                  : ngx_cpymem(process->room, p, len);

    piece->last = last;
    process->room = last;

    return NGX_OK;
}


/* the piece that was queued last, or NULL when none waits */

static ngx_claude_piece_t *
process_last(ngx_claude_process_t *process)
{
    if (process->pieces == NULL) {
        return NULL;
    }

    return (ngx_claude_piece_t *)
               ((u_char *) process->last_piece
                - offsetof(ngx_claude_piece_t, next));
}


/* nobody will read it */

static ngx_uint_t
process_deaf(ngx_claude_process_t *process)
{
    return process->ending || process->is_broken;
}


static ngx_int_t
process_pool(ngx_claude_process_t *process)
{
    if (process->pieces_pool == NULL) {
        process->pieces_pool = ngx_create_pool(PROCESS_POOL_SIZE,
                                               process->log);
    }

    return process->pieces_pool ? NGX_OK : NGX_ERROR;
}


void
process_write_handler(ngx_event_t *wev)
{
    ngx_connection_t      *c;
    ngx_claude_process_t  *process;

    c = wev->data;
    process = c->data;

    ngx_claude_process_flush(process);
}


/*
 * Fills the buffer from the queue and returns how much came together.  The
 * byte before the buffer must be writable.
 */

static size_t
process_stage(ngx_claude_process_t *process, u_char *buf, size_t size)
{
    u_char              *p, *last;
    size_t               len;
    ngx_claude_piece_t  *piece;

    p = buf;
    last = buf + size;

    while (process->pieces && last - p >= PROCESS_STAGE_LEAST) {
        piece = process->pieces;

        if (piece->escape) {
            p = process_escape_slice(piece, p, last - p);

        } else {
            len = ngx_min(last - p, piece->last - piece->pos);
            p = ngx_cpymem(p, piece->pos, len);
            piece->pos += len;
        }

        if (piece->pos == piece->last) {
            process->pieces = piece->next;
        }
    }

    if (process->pieces == NULL) {
        process->last_piece = &process->pieces;
    }

    return p - buf;
}


/*
 * Escapes as much of a string as surely fits.  yajl escapes whole strings, so
 * the quotes around a slice are taken off again, but for the very first and
 * the very last.
 */

static u_char *
process_escape_slice(ngx_claude_piece_t *piece, u_char *p, size_t room)
{
    u_char  *s, before;
    size_t   len;

    s = piece->pos;
    len = (room - 2) / 6;

    if (len >= (size_t) (piece->last - s)) {
        len = piece->last - s;

    } else {

        /* not in the midst of a character */

        while (len > 1 && (s[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    if (!piece->opened) {
        piece->opened = 1;
        p = ngx_claude_json_escape(p, s, len);

    } else {
        before = p[-1];
        s = ngx_claude_json_escape(p - 1, s, len);
        p[-1] = before;
        p = s;
    }

    piece->pos += len;

    return (piece->pos == piece->last) ? p : p - 1;
}


/* keeps what the pipe did not take until it does */

static ngx_int_t
process_keep(ngx_claude_process_t *process, u_char *p, size_t len)
{
    if (process->stage == NULL) {
        process->stage = ngx_palloc(process->pieces_pool, PROCESS_STAGE_SIZE);
        if (process->stage == NULL) {
            return NGX_ERROR;
        }
    }

    process->stage_pos = process->stage;
    process->stage_last = ngx_cpymem(process->stage, p, len);

    return NGX_OK;
}


void
process_drop_pieces(ngx_claude_process_t *process)
{
    process->pieces = NULL;
    process->last_piece = &process->pieces;
    process->stage = NULL;
    process->stage_pos = NULL;
    process->stage_last = NULL;
    process->room = NULL;
    process->room_end = NULL;

    if (process->pieces_pool) {
        ngx_destroy_pool(process->pieces_pool);
        process->pieces_pool = NULL;
    }
}
