
/*
 * A turn: one question to the model with everything it depends on, and what
 * comes back.  It is the contract between the dialects, which make turns of
 * HTTP bodies, and the engine, which has them answered; it knows neither
 * HTTP nor processes.
 *
 * A turn and all its strings live in the pool of the request that asked.
 */


#ifndef _NGX_CLAUDE_TURN_H_INCLUDED_
#define _NGX_CLAUDE_TURN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_hash.h"


typedef struct ngx_claude_turn_s     ngx_claude_turn_t;
typedef struct ngx_claude_profile_s  ngx_claude_profile_t;
typedef struct ngx_claude_seat_s     ngx_claude_seat_t;


/* bytes of the longest name of a model */
#define NGX_CLAUDE_MODEL_LEN   128


typedef enum {
    NGX_CLAUDE_USER = 0,
    NGX_CLAUDE_ASSISTANT
} ngx_claude_role_e;


/* kinds of blocks; links have their numbers in them: new ones go last */
typedef enum {
    NGX_CLAUDE_TEXT = 0,
    NGX_CLAUDE_IMAGE,
    NGX_CLAUDE_DOCUMENT,
    NGX_CLAUDE_TOOL_USE,               /* the assistant's */
    NGX_CLAUDE_TOOL_RESULT,            /* the user's */
    NGX_CLAUDE_THINKING,               /* the assistant's */
    NGX_CLAUDE_REDACTED,               /* thinking that only the provider can
                                          read; the assistant's */
    NGX_CLAUDE_OTHER                   /* any other: whole, JSON as it came */
} ngx_claude_block_e;


/*
 * A piece of a message, in the terms of the Messages API ("Content blocks"),
 * of a conversation or of an answer.  All strings are UTF-8, and what is JSON
 * is one line; what the dialect could not vouch for is not here.
 */
typedef struct {
    ngx_claude_block_e                   type;
    ngx_str_t                            text;      /* words of a text or of
                                                       thinking; data of an
                                                       image, a document, or
                                                       redacted thinking;
                                                       input of a call, JSON;
                                                       all of another block,
                                                       a JSON object */
    ngx_str_t                            media;     /* media type of the data,
                                                       base64 unless it is
                                                       text/plain; empty: the
                                                       data is a URL */
    ngx_str_t                            name;      /* name of a tool; title
                                                       of a document, or
                                                       empty */
    ngx_str_t                            id;        /* id of a call, in its
                                                       use and its result */
    ngx_str_t                            signature; /* signature of thinking,
                                                       which the provider
                                                       wants back; or empty */
    ngx_array_t                         *content;   /* blocks of a result, of
                                                       block_t; may be empty */
    unsigned                             is_error:1; /* the tool has failed:
                                                        the CLI keeps only
                                                        texts of the result */
} ngx_claude_block_t;


typedef struct {
    ngx_claude_role_e                    role;
    ngx_array_t                          blocks;    /* block_t */
    ngx_str_t                            model;     /* the engine's own: full
                                                       id of the model that
                                                       reads its thinking;
                                                       empty: the CLI leaves
                                                       that out */
} ngx_claude_message_t;


typedef enum {
    NGX_CLAUDE_STOP_END = 0,
    NGX_CLAUDE_STOP_SEQUENCE,
    NGX_CLAUDE_STOP_LENGTH,
    NGX_CLAUDE_STOP_REFUSAL,
    NGX_CLAUDE_STOP_TOOL
} ngx_claude_stop_e;


/* how much the model is to think about its answer */
typedef enum {
    NGX_CLAUDE_EFFORT_DEFAULT = 0,     /* the model's own */
    NGX_CLAUDE_EFFORT_LOW,
    NGX_CLAUDE_EFFORT_MEDIUM,
    NGX_CLAUDE_EFFORT_HIGH,
    NGX_CLAUDE_EFFORT_XHIGH,
    NGX_CLAUDE_EFFORT_MAX,
    NGX_CLAUDE_EFFORTS
} ngx_claude_effort_e;


/* why a turn failed; error.c gives each its HTTP status */
typedef enum {
    NGX_CLAUDE_FAIL_INTERNAL = 0,
    NGX_CLAUDE_FAIL_QUEUE_FULL,
    NGX_CLAUDE_FAIL_QUEUE_TIMEOUT,
    NGX_CLAUDE_FAIL_UNAVAILABLE,       /* no CLI could be started */
    NGX_CLAUDE_FAIL_NOT_LOGGED_IN,
    NGX_CLAUDE_FAIL_TOO_OLD,
    NGX_CLAUDE_FAIL_CLI,               /* died, or spoke nonsense */
    NGX_CLAUDE_FAIL_TIMEOUT,           /* no line for too long */
    NGX_CLAUDE_FAIL_TURN_TIMEOUT,      /* too long as a whole */
    NGX_CLAUDE_FAIL_RATE_LIMIT,
    NGX_CLAUDE_FAIL_OVERLOADED,        /* upstream 5xx, unreachable */
    NGX_CLAUDE_FAIL_MODEL,
    NGX_CLAUDE_FAIL_REQUEST,           /* upstream 400 */
    NGX_CLAUDE_FAIL_TOO_LARGE,         /* upstream 413 */
    NGX_CLAUDE_FAIL_CONTEXT,
    NGX_CLAUDE_FAIL_BUDGET,
    NGX_CLAUDE_FAIL_SESSION_GONE,      /* no process holds the session */
    NGX_CLAUDE_FAIL_SESSION_BUSY,      /* another nginx holds it */
    NGX_CLAUDE_FAIL_SESSION_MODEL,     /* the session has another model */
    NGX_CLAUDE_FAIL_SESSION_SYSTEM,    /* session has another system text */
    NGX_CLAUDE_FAILS
} ngx_claude_fail_e;


/* where the process of a turn came from, fastest first */
typedef enum {
    NGX_CLAUDE_RUNG_NONE = 0,
    NGX_CLAUDE_RUNG_LIVE,
    NGX_CLAUDE_RUNG_REWOUND,
    NGX_CLAUDE_RUNG_RECYCLED,
    NGX_CLAUDE_RUNG_WARM,
    NGX_CLAUDE_RUNG_COLD,
    NGX_CLAUDE_RUNG_RESUMED,
    NGX_CLAUDE_RUNGS
} ngx_claude_rung_e;


typedef struct {
    uint64_t                             input;
    uint64_t                             cache_read;
    uint64_t                             cache_creation;
    uint64_t                             output;
    uint64_t                             thinking;  /* counted in output */
} ngx_claude_usage_t;


/* usage and costs of a turn: all calls of the model that came of it */
typedef struct {
    ngx_claude_usage_t                   usage;
    double                               cost;      /* US dollars; -1:
                                                       unknown */
} ngx_claude_spent_t;


typedef enum {
    NGX_CLAUDE_SESSION_ISSUED = 0,     /* an answer's name: lasts while
                                          a process holds it */
    NGX_CLAUDE_SESSION_CHOSEN          /* the client's: on disk, too */
} ngx_claude_session_e;


/* the session of a turn */
typedef struct {
    ngx_claude_session_e                 kind;
    ngx_claude_hash_t                    hash;      /* SHA-1 of the session's
                                                       name and the API key */
    ngx_claude_hash_t                    hint;      /* SHA-1 of a name that is
                                                       no UUID and the key: a
                                                       process that has it is
                                                       preferred; zeroes:
                                                       none */
    char                                 id[37];    /* CHOSEN: the CLI's id, a
                                                       UUID and a NUL */
    unsigned                             named:1;   /* the client named it:
                                                       its turns are one after
                                                       the other */
    unsigned                             continues:1; /* the turn has only new
                                                       messages */
    unsigned                             results:1; /* new messages begin with
                                                       results of calls */
    unsigned                             system:1;  /* the request has a
                                                       system text */
    unsigned                             owner:1;   /* the session goes on
                                                       from this turn */
} ngx_claude_turn_session_t;


/*
 * Events of a turn, which the engine tells the asker as the CLI's pipes bring
 * them:
 *
 *     started (open (delta | other)* close)* finished settled
 *
 * and a flush whenever all lines that had arrived together were told.  failed
 * may come in the place of any of them.  Exactly one of failed() and settled()
 * is the last call of a turn, unless the asker calls ngx_claude_turn_abort()
 * first, which it may in any call.  The asker may destroy the turn in a last
 * call, and must not in another: unless it is owing then, when its process
 * has yet to say what was spent.  paid() follows, within seconds, or the asker
 * calls ngx_claude_turn_forgo() before it destroys the turn.
 *
 * Blocks are those of the provider's stream, one after the other, with the
 * same bounds; of an agent's answer they are those of all its messages.  The
 * tools that a CLI has of its own are not told.  The block that is open is the
 * engine's and the same from open() to close(); what it refers to lives as
 * the table says:
 *
 *     type         at open()               delta()           at close()
 *     TEXT                                 pieces of it
 *     THINKING                             pieces of it      signature: the
 *                                                            call
 *     REDACTED     text: the call
 *     TOOL_USE     id, name: finished()    pieces of input
 *     OTHER        text, id, name: the     pieces of input
 *                  call
 *
 * A call has input always, if only "{}".  OTHER is what we do not know, such
 * as server_tool_use: text is the content_block of the stream, whose input
 * comes in pieces as a call's does.
 *
 * A block that is open when the answer ends is closed before finished();
 * before failed() it is not.
 */
typedef struct {
    /* the model's first sign of life; once, before any block; usage is set */
    void  (*started)(ngx_claude_turn_t *turn);

    /* a block begins */
    void  (*open)(ngx_claude_turn_t *turn, ngx_claude_block_t *block);

    /* a piece of it, UTF-8, valid during the call; never empty */
    void  (*delta)(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
        u_char *p, size_t len);

    /*
     * A delta of another kind than what the block is made of, whole, JSON as
     * it came, valid during the call: {"type":"citations_delta",...}.
     */
    void  (*other)(ngx_claude_turn_t *turn, ngx_claude_block_t *block,
        u_char *p, size_t len);

    /* a block is complete */
    void  (*close)(ngx_claude_turn_t *turn, ngx_claude_block_t *block);

    /* the answer is complete: stop, stop_reason, stop_sequence and usage */
    void  (*finished)(ngx_claude_turn_t *turn);

    /* all lines that had arrived together were told: time to write */
    void  (*flush)(ngx_claude_turn_t *turn);

    /* after finished: the process is done as well, the cost is known */
    void  (*settled)(ngx_claude_turn_t *turn);

    /* instead: fail, reason, error_type and retry_after say why */
    void  (*failed)(ngx_claude_turn_t *turn);

    /* a turn that is over and was owing: turn->spent is complete */
    void  (*paid)(ngx_claude_turn_t *turn);

    /* whether its asker is being answered by another turn: it waits longer */
    ngx_uint_t  (*served)(ngx_claude_turn_t *turn);
} ngx_claude_turn_handlers_t;


/* the answer of a turn, set by the engine */
typedef struct {
    ngx_claude_usage_t                   usage;      /* tokens of the answer */
    ngx_claude_spent_t                   spent;
    ngx_claude_stop_e                    stop;
    ngx_str_t                            stop_reason; /* the provider's word
                                                         for the stop; empty:
                                                         the stop is not its */
    ngx_str_t                            stop_sequence; /* the sequence that
                                                           the provider met,
                                                           or empty */
    ngx_str_t                            refusal;    /* why the model refused,
                                                        or empty */
    ngx_claude_fail_e                    fail;
    ngx_str_t                            error_type; /* the provider's type of
                                                        the error, such as
                                                        overloaded_error; or
                                                        empty */
    ngx_str_t                            reason;     /* words for the client */
    ngx_str_t                            words;      /* words for the log
                                                        alone, or empty */
    time_t                               retry_after; /* seconds; 0: unknown */
    ngx_str_t                            upstream_id; /* the provider's id of
                                                         its last call */
    ngx_claude_rung_e                    rung;
    ngx_msec_t                           begun;      /* start of the turn,
                                                        ngx_current_msec */
    ngx_msec_t                           ttft;       /* msec from there to the
                                                        first token; -1: none
                                                        yet */
    unsigned                             is_finished:1; /* finished() was
                                                           called */
} ngx_claude_turn_answer_t;


/* the engine's part of a turn, which nobody else looks at */
typedef struct {
    ngx_claude_seat_t                   *seat;       /* seat of the process at
                                                        it, or NULL */
    ngx_claude_seat_t                   *payee;      /* seat of the process
                                                        that has yet to say
                                                        what was spent, or
                                                        NULL */
    void                                *links;      /* links of its chain */
    ngx_claude_hash_t                    toolset;    /* SHA-1 of the tools'
                                                        names, or zeroes */
    ngx_str_t                          **index;      /* names of the tools,
                                                        sorted; NULL: not made
                                                        yet */
    ngx_str_t                          **results;    /* ids of results that
                                                        came alone, sorted */
    ngx_uint_t                           before;     /* number of messages
                                                        that the session had
                                                        already */
    void                                *handover;   /* question to another
                                                        worker, or NULL */
    ngx_uint_t                           asked;      /* number of workers that
                                                        were asked */
    ngx_queue_t                          waiting;    /* place in the queue */
    ngx_event_t                          timer;      /* end of the wait, for a
                                                        place, then for the
                                                        payee */
    ngx_event_t                          limit;      /* end of the turn,
                                                        whatever it is at */
    ngx_int_t                            row;        /* row of the turn in the
                                                        zone; -1: none */
    unsigned                             paused:1;   /* its client reads
                                                        nothing: nor is its
                                                        process, whichever,
                                                        read */
    unsigned                             queued:1;   /* waits for its place */
    unsigned                             rowless:1;  /* waits for a process */
    unsigned                             retried:2;  /* times that it went to
                                                        another process */
    unsigned                             ungated:1;  /* a gate did not let it
                                                        through */
    unsigned                             is_started:1; /* started() was
                                                          called */
    unsigned                             over:1;     /* the last call is made,
                                                        or due no more */
} ngx_claude_turn_engine_t;


/* the question is set by the asker */
struct ngx_claude_turn_s {
    const ngx_claude_turn_handlers_t  *handlers;
    void                                *data;
    ngx_pool_t                          *pool;
    ngx_log_t                           *log;

    ngx_str_t                            id;         /* id of the request */
    ngx_claude_profile_t                *profile;    /* how its CLI is started,
                                                        the location's */
    const ngx_claude_hash_t             *launch;     /* hash of the profile */
    ngx_claude_hash_t                    tenant;     /* identity of the API
                                                        key; zeroes: no keys */
    const char                          *home;       /* name of the tenant's
                                                        directories, the
                                                        configuration's */
    ngx_str_t                            tenant_name; /* label in metrics */
    ngx_str_t                            model;      /* alias or full id */
    ngx_str_t                            system;     /* system text, never
                                                        empty */
    ngx_array_t                          messages;   /* message_t; roles
                                                        alternate, the user's
                                                        at both ends */
    ngx_int_t                            max_tokens; /* tokens; 0: as many as
                                                        the model has */
    ngx_array_t                          stops;      /* stop sequences,
                                                        ngx_str_t */
    ngx_array_t                          tools;      /* names of tools,
                                                        ngx_str_t */
    ngx_str_t                            tools_json; /* array of tools as the
                                                        Messages API has them,
                                                        or empty */
    ngx_str_t                            tool_choice;   /* object of that API
                                                           for the choice, or
                                                           empty */
    ngx_str_t                            call_id;    /* id that the asker will
                                                        know a call by, in the
                                                        place of the model's;
                                                        or empty */
    ngx_str_t                            temperature;   /* JSON number, or
                                                           empty */
    ngx_str_t                            top_p;         /* JSON number, or
                                                           empty */
    ngx_msec_t                           limit;      /* msec from its place to
                                                        its end */
    ngx_msec_t                           timeout;    /* msec without any line,
                                                        after which it fails */
    ngx_claude_effort_e                  effort;
    unsigned                             thoughtless:1; /* no thinking: with a
                                                           forced tool it is
                                                           refused */
    unsigned                             summarized:1;  /* thinking is told in
                                                           words */
    unsigned                             stoppable:1;   /* the asker may call
                                                           turn_stop() */
    unsigned                             verbatim:1;    /* the client sends an
                                                           answer back block by
                                                           block, thinking
                                                           too: see chain.h */
    ngx_str_t                            schema;     /* JSON schema that the
                                                        answer must satisfy,
                                                        or empty */
    ngx_claude_turn_session_t            session;

    ngx_claude_turn_answer_t             answer;
    ngx_claude_turn_engine_t             engine;
};


/*
 * Gets a turn ready: the asker then sets its question.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_turn_init(ngx_claude_turn_t *turn, ngx_pool_t *pool,
    ngx_log_t *log);

/* whether its process has yet to say what was spent */
#define ngx_claude_turn_owing(turn)  ((turn)->engine.payee != NULL)

/* the name of a rung as the logs have it, "-" for none */
ngx_str_t *ngx_claude_rung_name(ngx_claude_rung_e rung);

/* the name of an effort as requests have it, NUL-terminated; "" for none */
ngx_str_t *ngx_claude_effort_name(ngx_claude_effort_e effort);

/*
 * Whether bytes may be a model's name: 1 to MODEL_LEN letters, digits and
 * what else stands in them.
 */
ngx_uint_t ngx_claude_model_valid(const u_char *p, size_t len);

/* adds tokens to a sum */
void ngx_claude_usage_add(ngx_claude_usage_t *sum, ngx_claude_usage_t *more);

/* adds what was spent; a cost that is not known is none beside one that is */
void ngx_claude_spent_add(ngx_claude_spent_t *sum, ngx_claude_spent_t *spent);

/*
 * Adds a block to the conversation, zeroed but for its type, for the caller
 * to fill in.  The blocks of neighbours with one role go into one message, as
 * the Messages API would have it: the CLI would join them with a newline that
 * no client wrote.  NULL: no memory.
 */
ngx_claude_block_t *ngx_claude_turn_add(ngx_claude_turn_t *turn,
    ngx_claude_role_e role, ngx_claude_block_e type);

/*
 * ngx_array_push() for arrays that a client may make long: that leaves in the
 * pool what the array has outgrown, as much again as it has; here it grows
 * where it is, or is given back.
 */
void *ngx_claude_turn_push(ngx_array_t *array);


#endif /* _NGX_CLAUDE_TURN_H_INCLUDED_ */
