
/*
 * A dialect: what JSON goes in and comes out under one address.  It is a
 * table of operations over an exchange, which is the same for all of them
 * (src/dialect/), and its errors, which this folder writes where no exchange
 * has come of a request: 401, 404, 405, 413.  So it is found by the address,
 * before there is a body.
 *
 * A new one is a folder in src/dialect/, that folder in config, and a line in
 * ngx_http_claude_module.c; t/dialect/echo/ is an example that has no more
 * than it needs, t/dialect/slices/ has the rest of the table.
 */


#ifndef _NGX_HTTP_CLAUDE_DIALECT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_DIALECT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_claude_json.h"
#include "ngx_claude_out.h"
#include "ngx_claude_turn.h"
#include "ngx_http_claude_document.h"


typedef struct ngx_http_claude_dialect_s   ngx_http_claude_dialect_t;
typedef struct ngx_http_claude_exchange_s  ngx_http_claude_exchange_t;
typedef struct ngx_http_claude_answer_s    ngx_http_claude_answer_t;


/* an error; strings live as long as the request */
typedef struct {
    ngx_uint_t                    status;       /* HTTP's; 0: there is none */
    ngx_uint_t                    fail;         /* fail_e of a turn; FAILS: it
                                                   is of no turn */
    ngx_str_t                     type;
    ngx_str_t                     code;         /* empty: none */
    ngx_str_t                     param;        /* member of the body that is
                                                   wrong; empty: none */
    ngx_str_t                     message;
    ngx_str_t                     id;           /* id of the request */
    time_t                        retry_after;  /* seconds, 0: not said */
    unsigned                      final:1;      /* a retry cannot help */
} ngx_http_claude_error_t;


/*
 * What a conversation begins with, for its hash, in the body: a list of
 * messages with role and content, up to the first one of the user; or else a
 * member by itself.
 */
typedef struct {
    const char                   *list;         /* member, or NULL */
    const char                   *text;         /* the same */
    const char                   *unless;       /* with this member a body is
                                                   another dialect's; NULL */
} ngx_http_claude_opening_t;


/*
 * Operations write to a sink that marks its failures, so that none of them
 * returns any; after a failure open, close and end are not called.  All of
 * them but error, request and whole may be left out: behind the colon stands
 * what is done then, and without one nothing is.  Texts and fields may not.  A
 * table of errors alone has no more than request_id, failure and error.
 */
struct ngx_http_claude_dialect_s {
    ngx_str_t                       path;       /* end of its addresses, with
                                                   a slash in front */
    const char                     *request_id; /* header of its responses */

    /* fills in an error's type, and what else is to be another */
    void                          (*failure)(ngx_http_claude_error_t *error);

    /* the body of an error page */
    void                          (*error)(ngx_claude_out_t *out,
        ngx_http_claude_error_t *error);

    const char                     *id;         /* beginning of its answers'
                                                   ids */
    size_t                          size;       /* bytes of exchange->own */
    const char                     *members;    /* what a body has at least,
                                                   in words, for who sends no
                                                   object */
    const ngx_claude_json_field_t  *fields;     /* members of the body, with
                                                   their readers */

    /* a stream's events repeat what was said, so that it is kept */
    unsigned                        keeps:1;

    /*
     * Reads a body, which is there until it is read: sets the question in the
     * exchange.  NGX_OK; NGX_AGAIN: a slice is done, and it is called again
     * at the next turn of the event loop, with the same body; or an HTTP
     * status with the error set.  ngx_http_claude_params_request() is one
     * that leaves all to the readers of the fields.
     */
    ngx_int_t                     (*request)(ngx_http_claude_exchange_t *ex,
        ngx_claude_json_t *body);

    /* gets an answer ready.  NGX_OK, or NGX_ERROR: no memory */
    ngx_int_t                     (*answer)(ngx_http_claude_answer_t *answer);

    /*
     * Streamed: begin (open (delta | other)* close)* end for each answer, see
     * turn.h; finish after the last.  id and name of a block are valid to the
     * end, the pieces during the call.
     */
    void                          (*begin)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out);
    void                          (*open)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out, ngx_claude_block_t *block);
    void                          (*delta)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out, ngx_claude_block_t *block, ngx_str_t *piece);
    void                          (*other)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out, ngx_claude_block_t *block, ngx_str_t *piece);
    void                          (*close)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out, ngx_claude_block_t *block);
    void                          (*end)(ngx_http_claude_answer_t *answer,
        ngx_claude_out_t *out);
    void                          (*finish)(ngx_http_claude_exchange_t *ex,
        ngx_claude_out_t *out);

    /* ends a stream that fails: the error as an event without a name */
    void                          (*failed)(ngx_http_claude_exchange_t *ex,
        ngx_claude_out_t *out);

    /* the model is silent: a comment */
    void                          (*beat)(ngx_http_claude_exchange_t *ex,
        ngx_claude_out_t *out);

    /* whole: the blocks of all answers are kept, escaped */
    void                          (*whole)(ngx_http_claude_exchange_t *ex,
        ngx_http_claude_document_t *document);

    /* why an answer ended, a literal, for the log: in the provider's words */
    const char                   *(*reason)(ngx_http_claude_answer_t *answer);

    /* for $claude_conversation */
    const ngx_http_claude_opening_t  *opening;
};


/*
 * Adds one to a configuration, at preconfiguration; another module may do so,
 * too.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_claude_dialect_add(ngx_conf_t *cf,
    const ngx_http_claude_dialect_t *dialect);

/* the dialect that is spoken under the address of a request, or NULL */
const ngx_http_claude_dialect_t *ngx_http_claude_dialect(
    ngx_http_request_t *r);

/*
 * Whether an address ends with that name.  Under a location with a prefix
 * nothing may be between the two; it may cover some of the name: "location
 * /v1/chat/".
 */
ngx_uint_t ngx_http_claude_address_is(ngx_http_request_t *r, ngx_str_t *name);

/*
 * Up to where an address is the location's: the slash before the endpoint is
 * not beyond.  All of it where the location has no prefix, and where
 * "rewrite ... break" has put another address in the place of the client's.
 */
u_char *ngx_http_claude_address_under(ngx_http_request_t *r);


#endif /* _NGX_HTTP_CLAUDE_DIALECT_H_INCLUDED_ */
