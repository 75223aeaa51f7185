
/*
 * JSON on its way out: one writer, and a sink behind it that has the memory,
 * a stream's buffers, a document's, a growing text or the outbox of a CLI.
 * What goes wrong is marked, and asked for once, by the owner of the sink.
 */


#ifndef _NGX_CLAUDE_OUT_H_INCLUDED_
#define _NGX_CLAUDE_OUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_claude_out_s  ngx_claude_out_t;

/* how a value is written */
typedef enum {
    NGX_CLAUDE_OUT_PLAIN = 0,
    NGX_CLAUDE_OUT_STRING,
    NGX_CLAUDE_OUT_INSIDE        /* of a string: without the quotes */
} ngx_claude_out_as_e;

/*
 * The first member of a sink.  room() gives at least so many bytes, of up to
 * NGX_CLAUDE_OUT_ROOM, from last to end, and takes as written what is before
 * last.  The byte before last belongs to the sink, too: the writer may change
 * it, and puts it back.  A sink that has no more room leaves both as they
 * are; one without memory says so in failed.
 *
 * refer() is of a sink that need not copy: it takes a value of %J, %Q (as a
 * string), %V (as it is) or %E (what is in the string), which then has to live
 * as long as the sink says, and returns 1; or 0, and the value is copied.
 * NULL: all are.
 */
struct ngx_claude_out_s {
    u_char      *last;         /* where the next byte goes */
    u_char      *end;
    void       (*room)(ngx_claude_out_t *out, size_t least);
    ngx_uint_t (*refer)(ngx_claude_out_t *out, ngx_str_t *s,
                        ngx_claude_out_as_e as);
    unsigned     failed:1;
};

#define NGX_CLAUDE_OUT_ROOM  4000


/* bytes, as they are */
void ngx_claude_out_write(ngx_claude_out_t *out, const void *p, size_t len);

#define ngx_claude_out_literal(out, text)                                     \
    ngx_claude_out_write(out, text, sizeof(text) - 1)

/* UTF-8 as a JSON string, and as what stands between the quotes of one */
void ngx_claude_out_string(ngx_claude_out_t *out, const u_char *p,
    size_t len);
void ngx_claude_out_escape(ngx_claude_out_t *out, const u_char *p,
    size_t len);

/*
 * A text with values in it: %s, %V, %d, %i, %z, %A, %L, %T, %M and %P of
 * nginx's formats, with u and a width of zeroes (%06uL); %J, an ngx_str_t * as
 * a JSON string; %Q, the same, but null if it is empty; %E, the same, but
 * without the quotes; and %%.
 */
void ngx_claude_out(ngx_claude_out_t *out, const char *fmt, ...);


#endif /* _NGX_CLAUDE_OUT_H_INCLUDED_ */
