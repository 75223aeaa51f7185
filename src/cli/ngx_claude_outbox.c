
/*
 * The outbox of a CLI.  See the header for what it is.
 *
 * A large message stalls nobody and is never held twice: its text is escaped
 * as the pipe drains.  A message may be a hundred thousand texts of one
 * letter, so what is short is no piece of its own: it is copied, escaped,
 * behind what was before it.
 */


#include "ngx_claude_outbox.h"
#include "ngx_claude_json.h"


/* bytes that are escaped and written at once */
#define OUTBOX_STAGE_SIZE   65536

/* room in which at least one whole character fits escaped, with its quotes */
#define OUTBOX_STAGE_LEAST  32

/* bytes that are written before others are served */
#define OUTBOX_SLICE        524288

/* bytes up to which a value is copied: a piece takes as much */
#define OUTBOX_SHORT        64

/* room for what is copied; with a piece it fills a block of the pool */
#define OUTBOX_POOL_SIZE    4096
#define OUTBOX_ROOM_SIZE    3840


struct ngx_claude_piece_s {
    ngx_claude_piece_t         *next;
    u_char                     *pos;
    u_char                     *last;
    ngx_claude_outbox_more_pt   more;      /* writes it; NULL: it is there */
    void                       *data;
    unsigned                    escape:1;
    unsigned                    opened:1;  /* the first quote is out, or there
                                               is none */
    unsigned                    inside:1;  /* there is none at the end */
    unsigned                    foreign:1; /* the text is somebody else's */
};


static void outbox_room(ngx_claude_out_t *out, size_t least);
static ngx_uint_t outbox_refer(ngx_claude_out_t *out, ngx_str_t *s,
    ngx_claude_out_as_e as);
static ngx_claude_piece_t *outbox_piece(ngx_claude_outbox_t *outbox,
    u_char *p, size_t len);
static void outbox_close(ngx_claude_outbox_t *outbox);
static ngx_claude_piece_t *outbox_last(ngx_claude_outbox_t *outbox);
static ngx_int_t outbox_pool(ngx_claude_outbox_t *outbox);
static void outbox_unfold(ngx_claude_outbox_t *outbox);
static size_t outbox_stage(ngx_claude_outbox_t *outbox, u_char *buf,
    size_t size);
static u_char *outbox_escape_slice(ngx_claude_piece_t *piece, u_char *p,
    size_t room);
static ngx_int_t outbox_keep(ngx_claude_outbox_t *outbox, u_char *p,
    size_t len);


void
ngx_claude_outbox_init(ngx_claude_outbox_t *outbox, ngx_log_t *log)
{
    ngx_memzero(outbox, sizeof(ngx_claude_outbox_t));

    outbox->out.room = outbox_room;
    outbox->out.refer = outbox_refer;
    outbox->log = log;
    outbox->last = &outbox->pieces;
}


ngx_claude_out_t *
ngx_claude_outbox_begin(ngx_claude_outbox_t *outbox)
{
    ngx_claude_piece_t  *piece;

    piece = outbox_last(outbox);

    outbox->mark = outbox->last;
    outbox->mark_end = piece ? piece->last : NULL;
    outbox->out.failed = 0;

    return &outbox->out;
}


ngx_int_t
ngx_claude_outbox_end(ngx_claude_outbox_t *outbox)
{
    ngx_claude_piece_t  *piece;

    outbox_close(outbox);

    if (!outbox->out.failed) {
        return NGX_OK;
    }

    *outbox->mark = NULL;
    outbox->last = outbox->mark;

    piece = outbox_last(outbox);

    if (piece) {
        piece->last = outbox->mark_end;
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_claude_outbox_write(ngx_claude_outbox_t *outbox, ngx_connection_t *c)
{
    static u_char  stage[1 + OUTBOX_STAGE_SIZE];

    u_char   *p;
    size_t    len, left;
    ssize_t   n;

    left = OUTBOX_SLICE;

    while (!ngx_claude_outbox_empty(outbox)) {

        if (outbox->stage_pos < outbox->stage_last) {
            p = outbox->stage_pos;
            len = outbox->stage_last - p;

        } else {
            p = stage + 1;
            len = outbox_stage(outbox, p, OUTBOX_STAGE_SIZE);

            if (outbox->broken) {
                return NGX_ERROR;
            }

            if (len == 0) {
                continue;
            }
        }

        n = write(c->fd, p, len);

        if (n == -1) {

            if (ngx_errno != NGX_EINTR && ngx_errno != NGX_EAGAIN) {
                ngx_claude_outbox_drop(outbox);
                return NGX_DECLINED;
            }

            if (ngx_errno == NGX_EAGAIN) {
                c->write->ready = 0;
            }

            n = 0;
        }

        if (p == outbox->stage_pos) {
            outbox->stage_pos += n;

        } else if ((size_t) n < len
                   && outbox_keep(outbox, p + n, len - n) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!c->write->ready) {
            return NGX_AGAIN;
        }

        left -= ngx_min(left, (size_t) n);

        if (left == 0 && !ngx_claude_outbox_empty(outbox)) {
            return NGX_AGAIN;
        }
    }

    ngx_claude_outbox_drop(outbox);

    return NGX_OK;
}


ngx_int_t
ngx_claude_outbox_own(ngx_claude_outbox_t *outbox)
{
    u_char              *p;
    size_t               len;
    ngx_claude_piece_t  *piece;

    for (piece = outbox->pieces; piece; piece = piece->next) {

        if (piece->more) {
            return NGX_ERROR;
        }

        if (!piece->foreign) {
            continue;
        }

        len = piece->last - piece->pos;

        p = ngx_pnalloc(outbox->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        piece->last = ngx_cpymem(p, piece->pos, len);
        piece->pos = p;
        piece->foreign = 0;
    }

    return NGX_OK;
}


size_t
ngx_claude_outbox_left(ngx_claude_outbox_t *outbox)
{
    size_t               left;
    ngx_claude_piece_t  *piece;

    left = outbox->stage_last - outbox->stage_pos;

    for (piece = outbox->pieces; piece; piece = piece->next) {
        left += piece->last - piece->pos;
    }

    return left;
}


/* goes on with the last piece, if that ends where there is room */

static void
outbox_room(ngx_claude_out_t *out, size_t least)
{
    size_t                size;
    ngx_claude_piece_t   *piece;
    ngx_claude_outbox_t  *outbox;

    outbox = (ngx_claude_outbox_t *) out;

    outbox_close(outbox);

    if (outbox->deaf) {
        return;
    }

    if (outbox_pool(outbox) != NGX_OK) {
        out->failed = 1;
        return;
    }

    if ((size_t) (outbox->room_end - outbox->room) < least) {

        /* a byte stays before what is written, as the writer wants */

        size = ngx_max(OUTBOX_ROOM_SIZE, least + 1);

        outbox->room = ngx_pnalloc(outbox->pool, size);

        if (outbox->room == NULL) {
            outbox->room_end = NULL;
            out->failed = 1;
            return;
        }

        outbox->room_end = outbox->room + size;
        outbox->room++;
    }

    piece = outbox_last(outbox);

    if ((piece == NULL || piece->escape || piece->last != outbox->room)
        && outbox_piece(outbox, outbox->room, 0) == NULL)
    {
        out->failed = 1;
        return;
    }

    out->last = outbox->room;
    out->end = outbox->room_end;
}


static ngx_uint_t
outbox_refer(ngx_claude_out_t *out, ngx_str_t *s, ngx_claude_out_as_e as)
{
    ngx_claude_piece_t   *piece;
    ngx_claude_outbox_t  *outbox;

    outbox = (ngx_claude_outbox_t *) out;

    if (s->len <= OUTBOX_SHORT) {
        return 0;
    }

    outbox_close(outbox);

    if (outbox->deaf || out->failed) {
        return 1;
    }

    piece = (outbox_pool(outbox) == NGX_OK)
            ? outbox_piece(outbox, s->data, s->len) : NULL;

    if (piece == NULL) {
        out->failed = 1;
        return 1;
    }

    piece->foreign = 1;
    piece->escape = (as != NGX_CLAUDE_OUT_PLAIN);
    piece->inside = (as == NGX_CLAUDE_OUT_INSIDE);
    piece->opened = piece->inside;

    return 1;
}


/* NULL: no memory */

static ngx_claude_piece_t *
outbox_piece(ngx_claude_outbox_t *outbox, u_char *p, size_t len)
{
    ngx_claude_piece_t  *piece;

    piece = ngx_pcalloc(outbox->pool, sizeof(ngx_claude_piece_t));
    if (piece == NULL) {
        return NULL;
    }

    piece->pos = p;
    piece->last = p + len;

    *outbox->last = piece;
    outbox->last = &piece->next;

    return piece;
}


void
ngx_claude_outbox_more(ngx_claude_out_t *out, ngx_claude_outbox_more_pt write,
    void *data, size_t size)
{
    void                 *p;
    ngx_claude_piece_t   *piece;
    ngx_claude_outbox_t  *outbox;

    outbox = (ngx_claude_outbox_t *) out;

    outbox_close(outbox);

    if (outbox->deaf || out->failed) {
        return;
    }

    p = (outbox_pool(outbox) == NGX_OK) ? ngx_palloc(outbox->pool, size)
                                        : NULL;
    piece = p ? outbox_piece(outbox, NULL, 0) : NULL;

    if (piece == NULL) {
        out->failed = 1;
        return;
    }

    piece->more = write;
    ngx_memcpy(p, data, size);
    piece->data = p;
}


/* what the first piece writes takes its place, before what is left of it */

static void
outbox_unfold(ngx_claude_outbox_t *outbox)
{
    ngx_int_t             rc;
    ngx_claude_piece_t   *piece, *rest, **last;

    piece = outbox->pieces;
    rest = piece->next;
    last = outbox->last;

    outbox->pieces = NULL;
    outbox->last = &outbox->pieces;
    outbox->out.failed = 0;

    rc = piece->more(&outbox->out, piece->data);

    outbox_close(outbox);

    if (outbox->out.failed) {
        outbox->broken = 1;
        return;
    }

    if (rc == NGX_AGAIN) {
        *outbox->last = piece;
        outbox->last = &piece->next;
    }

    *outbox->last = rest;

    if (rest) {
        outbox->last = last;
    }
}


/* the writer tells its end to nobody: the last piece ends where that is */

static void
outbox_close(ngx_claude_outbox_t *outbox)
{
    if (outbox->out.end == NULL) {
        return;
    }

    outbox_last(outbox)->last = outbox->out.last;
    outbox->room = outbox->out.last;

    outbox->out.last = NULL;
    outbox->out.end = NULL;
}


/* the piece that was queued last, or NULL when none waits */

static ngx_claude_piece_t *
outbox_last(ngx_claude_outbox_t *outbox)
{
    if (outbox->pieces == NULL) {
        return NULL;
    }

    return (ngx_claude_piece_t *)
               ((u_char *) outbox->last
                - offsetof(ngx_claude_piece_t, next));
}


static ngx_int_t
outbox_pool(ngx_claude_outbox_t *outbox)
{
    if (outbox->pool == NULL) {
        outbox->pool = ngx_create_pool(OUTBOX_POOL_SIZE, outbox->log);
    }

    return outbox->pool ? NGX_OK : NGX_ERROR;
}


/*
 * Fills the buffer from the queue and returns how much came together.  The
 * byte before the buffer must be writable.
 */

static size_t
outbox_stage(ngx_claude_outbox_t *outbox, u_char *buf, size_t size)
{
    u_char              *p, *last;
    size_t               len;
    ngx_claude_piece_t  *piece;

    p = buf;
    last = buf + size;

    while (outbox->pieces && last - p >= OUTBOX_STAGE_LEAST) {
        piece = outbox->pieces;

        if (piece->more) {
            outbox_unfold(outbox);

            if (outbox->broken) {
                break;
            }

            continue;
        }

        if (piece->escape) {
            p = outbox_escape_slice(piece, p, last - p);

        } else {
            len = ngx_min(last - p, piece->last - piece->pos);
            p = ngx_cpymem(p, piece->pos, len);
            piece->pos += len;
        }

        if (piece->pos == piece->last) {
            outbox->pieces = piece->next;
        }
    }

    if (outbox->pieces == NULL) {
        outbox->last = &outbox->pieces;
    }

    return p - buf;
}


/*
 * Escapes as much of a string as surely fits.  yajl escapes whole strings, so
 * the quotes around a slice are taken off again, but for the very first and
 * the very last.
 */

static u_char *
outbox_escape_slice(ngx_claude_piece_t *piece, u_char *p, size_t room)
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

    return (piece->pos == piece->last && !piece->inside) ? p : p - 1;
}


/* keeps what the pipe did not take until it does */

static ngx_int_t
outbox_keep(ngx_claude_outbox_t *outbox, u_char *p, size_t len)
{
    if (outbox->stage == NULL) {
        outbox->stage = ngx_palloc(outbox->pool, OUTBOX_STAGE_SIZE);
        if (outbox->stage == NULL) {
            return NGX_ERROR;
        }
    }

    outbox->stage_pos = outbox->stage;
    outbox->stage_last = ngx_cpymem(outbox->stage, p, len);

    return NGX_OK;
}


void
ngx_claude_outbox_drop(ngx_claude_outbox_t *outbox)
{
    outbox->pieces = NULL;
    outbox->last = &outbox->pieces;
    outbox->stage = NULL;
    outbox->stage_pos = NULL;
    outbox->stage_last = NULL;
    outbox->room = NULL;
    outbox->room_end = NULL;

    if (outbox->pool) {
        ngx_destroy_pool(outbox->pool);
        outbox->pool = NULL;
    }
}
