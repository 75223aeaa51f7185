
/*
 * The dialect of chat completions, and of the older completions: a body to a
 * turn for each answer that it asks for, and the events of the turns to
 * OpenAI's objects, streamed or whole.  It knows HTTP and JSON shapes, and
 * nothing of processes.  Source: OpenAI's API reference, "Chat" and
 * "Completions".
 */


#ifndef _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_
#define _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_claude_ctx.h"
#include "ngx_http_claude_document.h"
#include "ngx_claude_json.h"
#include "ngx_claude_schema.h"
#include "ngx_http_claude_stream.h"
#include "ngx_claude_text.h"
#include "ngx_claude_turn.h"


/* a call of a tool in a whole response */
typedef struct {
    ngx_str_t                  id;
    ngx_str_t                  name;
    ngx_http_claude_document_t  arguments;  /* escaped */
} ngx_http_claude_chat_call_t;


/* a stop sequence that the provider does not take */
typedef struct {
    ngx_str_t                  text;
    uint32_t                  *border;         /* of so many bytes of it: the
                                                  longest beginning that they
                                                  end with, but for all */
    ngx_uint_t                 matched;        /* bytes of it, so far */
} ngx_http_claude_chat_stop_t;


/* of an answer that is to be one JSON object: what is around it is left out */
typedef struct {
    ngx_str_t                  held;           /* before the object */
    ngx_uint_t                 depth;
    unsigned                   begun:1;
    unsigned                   done:1;
    unsigned                   in_string:1;
    unsigned                   escaped:1;
    unsigned                   plain:1;        /* there is none: as it is */
} ngx_http_claude_chat_object_t;


typedef struct ngx_http_claude_chat_s  ngx_http_claude_chat_t;


/* one of the answers to a request: a turn, and what came of it */
typedef struct {
    ngx_http_claude_chat_t    *chat;
    ngx_uint_t                 index;
    ngx_claude_turn_t          turn;
    ngx_str_t                  prefix;         /* of its chunks */
    ngx_str_t                  prompt;         /* that text is to go before
                                                  the answer's, or empty */
    ngx_http_claude_chat_object_t  object;
    ngx_array_t                stops;          /* of chat_stop_t */
    ngx_uint_t                 ncalls;

    /* a forced call of any tool: name and arguments as JSON */
    ngx_claude_text_t          forced_json;    /* so far */

    /* whole */
    ngx_http_claude_document_t  text;          /* escaped */
    ngx_http_claude_document_t  thoughts;
    ngx_array_t                calls;          /* of chat_call_t */
} ngx_http_claude_chat_choice_t;


struct ngx_http_claude_chat_s {
    ngx_http_claude_ctx_t     *ctx;
    ngx_claude_turn_t          turn;           /* the question: each choice
                                             has one like it */
    ngx_str_t                  model;          /* as the client wrote it */
    ngx_str_t                  id;             /* chatcmpl-... */
    time_t                     created;

    ngx_int_t                  n;              /* answers to a prompt */
    ngx_http_claude_chat_choice_t  *choices;
    ngx_uint_t                 nchoices;
    ngx_uint_t                 unfinished;     /* of them */
    ngx_uint_t                 unsettled;
    ngx_http_claude_chat_t    *earlier;        /* whose turns began before, in
                                                  another location */

    /* the request is kept until it is known what was spent, see chat_bill.c */
    unsigned                   held:1;
    unsigned                   waiting:1;      /* for nothing else */
    unsigned                   blocked:1;      /* it was terminated */
    unsigned                   deferred:1;     /* to be finalized with rc */
    ngx_int_t                  rc;

    unsigned                   streamed:1;
    unsigned                   include_usage:1;
    unsigned                   reasoning:1;    /* thinking is shown */
    unsigned                   functions:1;    /* the older kind of tools */
    unsigned                   single:1;       /* no parallel calls */
    unsigned                   object:1;       /* json_object */
    ngx_array_t                stops;          /* of chat_stop_t */

    /* the older endpoint, completions */
    unsigned                   completions:1;
    unsigned                   echo:1;
    ngx_array_t                prompts;        /* of ngx_str_t */

    /* a forced call that the model cannot be made to do: its answer is the
       arguments, or name and arguments as JSON */
    unsigned                   forced:1;
    ngx_str_t                  forced_name;    /* empty: any tool */

    ngx_claude_schema_work_t  schemas;         /* what all of them cost */

    /* streamed; of a whole one only the marks of failure and opening */
    ngx_http_claude_stream_t   stream;
    ngx_str_t                  prefix;         /* of every chunk */
};


/* answers to one request, of all its prompts */
#define NGX_HTTP_CLAUDE_CHAT_CHOICES  8


/* the content handlers of .../chat/completions and of .../completions */
ngx_int_t ngx_http_claude_chat_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_claude_completions_handler(ngx_http_request_t *r);

/* in chat_request.c: what is read of a body, for its reader */
extern const ngx_claude_json_field_t  ngx_http_claude_chat_fields[];
extern const ngx_claude_json_field_t
    ngx_http_claude_completions_fields[];

/*
 * In chat_request.c and completions.c: reads a request: sets model, messages
 * or prompts, and knobs of the turn.  NGX_OK, or an HTTP status with the
 * error set.
 */
ngx_int_t ngx_http_claude_chat_request(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);
ngx_int_t ngx_http_claude_completions_request(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);

/*
 * In chat_request.c: the fields that both have.  The same returns; body is an
 * object.
 */
ngx_int_t ngx_http_claude_chat_request_knobs(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body);

/* the system text of a request that has none of its own */
ngx_int_t ngx_http_claude_chat_request_system(ngx_http_claude_chat_t *chat);

/* adds words of ours behind the system text, which is there */
ngx_int_t ngx_http_claude_chat_request_words(ngx_http_claude_chat_t *chat,
    ngx_str_t *words);

/* in chat_choice.c: the answers, between the turn and both kinds of output */

/* makes chat->n of them for each prompt.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_choices(ngx_http_claude_chat_t *chat);

/* text of the model's, through all that may be in its way */
void ngx_http_claude_chat_choice_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);

/* the end of its text, and all that was held back */
void ngx_http_claude_chat_choice_end(ngx_http_claude_chat_choice_t *choice);

/* why the answer ended, a literal */
const char *ngx_http_claude_chat_choice_finish(
    ngx_http_claude_chat_choice_t *choice);

/* adds up the usage of all choices, in chat->turn */
void ngx_http_claude_chat_choices_sum(ngx_http_claude_chat_t *chat);

/* in chat_bill.c: what was spent, and that the log line waits for it */

/*
 * What the log is to say of all turns of the request, in chat->turn; and why
 * they ended, one after the other.  For ctx->total and ctx->ends.
 */
ngx_claude_turn_t *ngx_http_claude_chat_total(void *data);
ngx_int_t ngx_http_claude_chat_ends(void *data, ngx_str_t *ends);

/* the request is not freed before the release; the turns are about to begin */
void ngx_http_claude_chat_hold(ngx_http_claude_chat_t *chat);

/* the request is about to be finalized: it may go, or waits for the bill */
void ngx_http_claude_chat_release(ngx_http_claude_chat_t *chat);

/*
 * Whether it is not to be finalized yet: it is when the bill is known.  The
 * line of a mirror's request is written as it is finalized.
 */
ngx_uint_t ngx_http_claude_chat_defer(ngx_http_claude_chat_t *chat,
    ngx_int_t rc);

/* the same of one that nginx is about to terminate */
void ngx_http_claude_chat_block(ngx_http_claude_chat_t *chat);

/* a turn has its bill: chat may be gone when it returns */
void ngx_http_claude_chat_paid(ngx_http_claude_chat_t *chat);

/* in chat_forced.c: a call in disguise, see tools_emulate() */

/* a piece of the answer */
void ngx_http_claude_chat_forced_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);

/* its end */
void ngx_http_claude_chat_forced_end(ngx_http_claude_chat_choice_t *choice);

/*
 * The two kinds of output, chosen by chat->streamed: what comes of an answer,
 * piece by piece, valid during the call.  No memory: chat->stream.out.failed.
 */
void ngx_http_claude_chat_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);
void ngx_http_claude_chat_thought(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);
void ngx_http_claude_chat_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name);
void ngx_http_claude_chat_arguments(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);

/* in chat_chunks.c: events of a stream, written and not yet flushed */

/* before the first.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_chunks(ngx_http_claude_chat_t *chat);

void ngx_http_claude_chat_chunk_begin(ngx_http_claude_chat_choice_t *choice);
void ngx_http_claude_chat_chunk_text(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);
void ngx_http_claude_chat_chunk_thought(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);
void ngx_http_claude_chat_chunk_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name);
void ngx_http_claude_chat_chunk_arguments(
    ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);

/* the end of an answer; of the last one, and of an error, the end of all */
void ngx_http_claude_chat_chunk_end(ngx_http_claude_chat_choice_t *choice);
void ngx_http_claude_chat_chunks_end(ngx_http_claude_chat_t *chat);
void ngx_http_claude_chat_chunks_error(ngx_http_claude_chat_t *chat);

/* in chat_whole.c: the response of one piece */

/* what an answer says, escaped and kept.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_keep(ngx_http_claude_chat_choice_t *choice,
    ngx_http_claude_document_t *text, u_char *p, size_t len);
ngx_int_t ngx_http_claude_chat_keep_call(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *id, ngx_str_t *name);
ngx_int_t ngx_http_claude_chat_keep_arguments(
    ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len);

/* sends it; returns what to finalize the request with */
ngx_int_t ngx_http_claude_chat_whole(ngx_http_claude_chat_t *chat);

/* the usage object */
void ngx_http_claude_chat_usage(ngx_claude_out_t *out,
    ngx_claude_usage_t *usage);

/*
 * In chat_object.c: the part of a piece of text that is the object's, or, with
 * no text, what was held back and turned out to be all that there is.  NGX_
 * ERROR: no memory.
 */
ngx_int_t ngx_http_claude_chat_object(ngx_http_claude_chat_choice_t *choice,
    u_char **p, size_t *len);

/*
 * In chat_stops.c: looks for the stop sequences of the choice in a piece of
 * text.  What goes out is *held, from before, then *keep bytes of the piece.
 * Returns 0, or, if one was found, the length of what is no part of the
 * answer any more, of this piece and of those before.
 */
size_t ngx_http_claude_chat_stops(ngx_http_claude_chat_choice_t *choice,
    u_char *p, size_t len, ngx_str_t *held, size_t *keep);

/* adds one to those of the request.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_stops_add(ngx_http_claude_chat_t *chat,
    ngx_str_t *text);

/* takes over those of the request.  NGX_ERROR: no memory */
ngx_int_t ngx_http_claude_chat_stops_init(
    ngx_http_claude_chat_choice_t *choice);

/* what was held back at the end of the text */
void ngx_http_claude_chat_stops_end(ngx_http_claude_chat_choice_t *choice,
    ngx_str_t *held);


#endif /* _NGX_HTTP_CLAUDE_CHAT_H_INCLUDED_ */
