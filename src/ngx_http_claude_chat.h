
/*
 * The dialect of chat completions: a body to a turn, and a turn's events to
 * OpenAI's objects, streamed or whole.  It knows HTTP and JSON shapes, and
 * nothing of processes.  Source: OpenAI's API reference, "Chat".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_json.h"
#include "ngx_http_claude_stream.h"
#include "ngx_http_claude_turn.h"


/* text as JSON, escaped, in buffers of growing size, for a whole response */
typedef struct {
    ngx_chain_t               *first;
    ngx_chain_t              **last;
    size_t                     length;
} ngx_http_claude_chat_text_t;


/* a call of a tool in a whole response */
typedef struct {
    ngx_str_t                  id;
    ngx_str_t                  name;
    ngx_http_claude_chat_text_t  arguments;
} ngx_http_claude_chat_call_t;


/* a stop sequence that the provider does not take */
typedef struct {
    ngx_str_t                  text;
    ngx_uint_t                 matched;        /* bytes of it, so far */
} ngx_http_claude_chat_stop_t;


/* of an answer that is to be one JSON object: what is around it is left out */
typedef struct {
    ngx_str_t                  held;           /* before the object */
    ngx_uint_t                 depth;
    unsigned                   wanted:1;
    unsigned                   begun:1;
    unsigned                   done:1;
    unsigned                   in_string:1;
    unsigned                   escaped:1;
    unsigned                   plain:1;        /* there is none: as it is */
} ngx_http_claude_chat_object_t;


typedef struct {
    ngx_http_claude_ctx_t     *ctx;
    ngx_http_claude_turn_t     turn;
    ngx_str_t                  model;          /* as the client wrote it */
    ngx_str_t                  id;             /* chatcmpl-... */
    time_t                     created;

    unsigned                   streamed:1;
    unsigned                   include_usage:1;
    ngx_http_claude_chat_object_t  object;     /* json_object */
    ngx_array_t                stops;          /* of chat_stop_t */
    unsigned                   reasoning:1;    /* thinking is shown */
    unsigned                   functions:1;    /* the older kind of tools */
    unsigned                   single:1;       /* no parallel calls */

    /* a forced call that the model cannot be made to do: its answer is the
       arguments, or name and arguments as JSON */
    unsigned                   forced:1;
    ngx_str_t                  forced_name;    /* empty: any tool */
    ngx_str_t                  forced_json;    /* so far */
    size_t                     forced_size;
    ngx_uint_t                 ncalls;

    /* streamed */
    ngx_http_claude_stream_t   stream;
    ngx_str_t                  prefix;         /* of every chunk */

    /* whole */
    ngx_http_claude_chat_text_t  text;
    ngx_http_claude_chat_text_t  thoughts;
    ngx_array_t                calls;          /* of chat_call_t */
} ngx_http_claude_chat_t;


/* the content handler of .../chat/completions */
ngx_int_t ngx_http_claude_chat_handler(ngx_http_request_t *r);

/*
 * Reads a request: sets model, messages and knobs of the turn.  NGX_OK, or an
 * HTTP status with the error set.
 */
ngx_int_t ngx_http_claude_chat_request(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body);

/* in chat_whole.c: the response of one piece */

/* keeps text, escaped.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_keep(ngx_http_claude_chat_t *chat,
    ngx_http_claude_chat_text_t *text, u_char *p, size_t len);

/* sends it; returns what to finalize the request with */
ngx_int_t ngx_http_claude_chat_whole(ngx_http_claude_chat_t *chat);

/* in chat.c, for both kinds: why the answer ended, a literal */
const char *ngx_http_claude_chat_finish(ngx_http_claude_chat_t *chat);

#define NGX_HTTP_CLAUDE_CHAT_USAGE_LEN                                                        \
    (sizeof("{\"prompt_tokens\":,\"completion_tokens\":,\"total_tokens\":,"   \
            "\"prompt_tokens_details\":{\"cached_tokens\":,"                  \
            "\"audio_tokens\":0},\"completion_tokens_details\":"              \
            "{\"reasoning_tokens\":,\"audio_tokens\":0,"                      \
            "\"accepted_prediction_tokens\":0,"                               \
            "\"rejected_prediction_tokens\":0}}") + 5 * NGX_INT64_LEN)

/* the usage object; the room at p is of that length */
u_char *ngx_http_claude_chat_usage(u_char *p, ngx_http_claude_usage_t *usage);

/*
 * In chat_object.c: the part of a piece of text that is the object's, or, with
 * no text, what was held back and turned out to be all that there is.  NGX_
 * ERROR: no memory.
 */
ngx_int_t ngx_http_claude_chat_object(ngx_http_claude_chat_t *chat,
    u_char **p, size_t *len);

/*
 * In chat_stops.c: looks for the stop sequences of the chat in a piece of
 * text.  What goes out is *held, from before, then *keep bytes of the piece.
 * Returns whether one was found: the answer ends there.
 */
ngx_uint_t ngx_http_claude_chat_stops(ngx_http_claude_chat_t *chat,
    u_char *p, size_t len, ngx_str_t *held, size_t *keep);

/* adds one, not empty.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_stops_add(ngx_http_claude_chat_t *chat,
    ngx_str_t *text);

/* what was held back at the end of the text */
void ngx_http_claude_chat_stops_end(ngx_http_claude_chat_t *chat,
    ngx_str_t *held);


#endif /* _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_ */
