
/*
 * The calls and results of a conversation while it is read.
 *
 * Each call gets its result in the order of the calls, whatever order they
 * came in; ids that the Messages API would not take are rewritten, the same
 * way in call and result, and the client never sees that.  What the CLI would
 * repair silently is refused: a call without its result, a result without its
 * call, a second result.
 *
 * Source: the Messages API, "Tool use".
 */


#ifndef _NGX_HTTP_CLAUDE_CALLS_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CALLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_json.h"
#include "ngx_claude_text.h"
#include "ngx_claude_turn.h"
#include "ngx_http_claude_place.h"


/* ways in which a result tells its call */
#define NGX_HTTP_CLAUDE_CALLS_ID    0
#define NGX_HTTP_CLAUDE_CALLS_NAME  1

/* bytes that an id or a name may have which the client tells a call by */
#define NGX_HTTP_CLAUDE_CALLS_LONGEST  65536


/* what comes of the arguments that are read */
typedef enum {
    NGX_HTTP_CLAUDE_INPUT_NEW = 0,
    NGX_HTTP_CLAUDE_INPUT_CHECK,             /* whether they are an object */
    NGX_HTTP_CLAUDE_INPUT_LINE,              /* one, in one line */
    NGX_HTTP_CLAUDE_INPUT_WRAP               /* none: a text in one */
} ngx_http_claude_input_e;


/* long arguments, while they are read in slices */
typedef struct {
    ngx_http_claude_input_e    stage;
    ngx_claude_json_reader_t  *reader;
    ngx_claude_text_t          text;
    size_t                     offset;       /* bytes that are read */
} ngx_http_claude_input_t;


typedef struct {
    ngx_http_claude_place_t  *place;
    ngx_claude_turn_t        *turn;
    const char               *members[2];    /* names of a result's members
                                                that tell its call */

    size_t                   *slice;         /* what it has left, see
                                                exchange.h */
    ngx_pool_t               *scratch;       /* memory of all tables here */
    ngx_http_claude_input_t   input;
    ngx_rbtree_t              ids;           /* ids that the model knows */
    ngx_rbtree_t              again;         /* ids that were rewritten */
    ngx_rbtree_node_t         sentinel;
    ngx_uint_t                nameless;      /* number of calls without id */

    /* calls of the last message of the assistant */
    ngx_array_t               open;
    ngx_rbtree_t              keys[2];       /* calls by ids, by names */
    ngx_uint_t                keyed[2];      /* number of calls in keys */
    ngx_uint_t                left;          /* number without a result */

    /* results with no call before them: the session's, perhaps */
    ngx_uint_t                orphans;
    ngx_http_claude_place_t   orphan;        /* place of the first one */
} ngx_http_claude_calls_t;


/* before the first message.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_calls_init(ngx_http_claude_calls_t *calls,
    ngx_http_claude_place_t *place, ngx_claude_turn_t *turn,
    ngx_pool_t *scratch);

/* a message of the assistant begins: earlier calls are over */
void ngx_http_claude_calls_begin(ngx_http_claude_calls_t *calls);

/*
 * The name of a tool; member: of the place.  NGX_OK, or an HTTP status with
 * the error set.
 */
ngx_int_t ngx_http_claude_calls_name(ngx_http_claude_calls_t *calls,
    const char *member, ngx_claude_json_t *node, ngx_str_t *name);

/*
 * Adds a call; id: the client's, NULL for one that has none.  The caller sets
 * the block's text.  NULL: no memory.
 */
ngx_claude_block_t *ngx_http_claude_calls_use(ngx_http_claude_calls_t *calls,
    ngx_str_t *id, ngx_str_t *name);

/*
 * The input of a call out of a text, JSON as the model wrote it once.  A long
 * one stays as it is, but for its line feeds, which become spaces where they
 * stand.  NGX_OK; NGX_AGAIN: the slice has nothing left, the same again;
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_calls_input(ngx_http_claude_calls_t *calls,
    ngx_str_t *text, ngx_str_t *input);

/*
 * The block for the result of a call; by: what s is.  NGX_OK; NGX_AGAIN: the
 * slice has nothing left, the same again; or an HTTP status with the error
 * set.
 */
ngx_int_t ngx_http_claude_calls_result(ngx_http_claude_calls_t *calls,
    ngx_str_t *s, ngx_uint_t by, ngx_claude_block_t **block);

/*
 * Before any other message, and after the last: no call may be without its
 * result.  NGX_OK; NGX_DECLINED: one is, the *n-th of its message, which the
 * client calls *id.
 */
ngx_int_t ngx_http_claude_calls_done(ngx_http_claude_calls_t *calls,
    ngx_uint_t *n, ngx_str_t *id);

/*
 * After the session is known: results that begin the conversation are those
 * of its calls, or of none.  NGX_OK, or an HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_calls_session(ngx_http_claude_calls_t *calls);

/*
 * By what the next call will be known that has no id for the client.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_calls_next(ngx_http_claude_calls_t *calls,
    ngx_str_t *id);


#endif /* _NGX_HTTP_CLAUDE_CALLS_H_INCLUDED_ */
