
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
typedef struct ngx_claude_process_s  ngx_claude_process_t;


/* length of a tenant: the SHA-1 of an API key, zeroes without keys */
#define NGX_CLAUDE_TENANT_LEN  20


typedef enum {
    NGX_CLAUDE_USER = 0,
    NGX_CLAUDE_ASSISTANT
} ngx_claude_role_e;


typedef enum {
    NGX_CLAUDE_TEXT = 0,
    NGX_CLAUDE_IMAGE,
    NGX_CLAUDE_DOCUMENT,
    NGX_CLAUDE_TOOL_USE,               /* the assistant's */
    NGX_CLAUDE_TOOL_RESULT             /* the user's */
} ngx_claude_block_e;


/*
 * A piece of a message, in the terms of the Messages API ("Content blocks").
 * All strings are UTF-8; what the dialect could not vouch for is not here.
 */
typedef struct {
    ngx_claude_block_e                   type;
    ngx_str_t                            text;      /* a text; the data of an
                                                       image or document; a
                                                       call's input, JSON */
    ngx_str_t                            media;     /* type of the data,
                                                       base64 unless it is
                                                       text/plain; empty: the
                                                       data is a URL */
    ngx_str_t                            name;      /* of a tool; title of a
                                                       document, or empty */
    ngx_str_t                            id;        /* of a call: its use and
                                                       its result */
    ngx_array_t                         *content;   /* of a result: of
                                                       block_t, texts and
                                                       images; may be empty */
} ngx_claude_block_t;


typedef struct {
    ngx_claude_role_e                    role;
    ngx_array_t                          blocks;    /* of block_t */
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
    NGX_CLAUDE_EFFORT_MAX
} ngx_claude_effort_e;


/* why a turn failed, in the terms of the engine; errors.c gives them HTTP's */
typedef enum {
    NGX_CLAUDE_FAIL_INTERNAL = 0,
    NGX_CLAUDE_FAIL_QUEUE_FULL,
    NGX_CLAUDE_FAIL_QUEUE_TIMEOUT,
    NGX_CLAUDE_FAIL_UNAVAILABLE,       /* no CLI could be started */
    NGX_CLAUDE_FAIL_NOT_LOGGED_IN,
    NGX_CLAUDE_FAIL_TOO_OLD,
    NGX_CLAUDE_FAIL_CLI,               /* died, or spoke nonsense */
    NGX_CLAUDE_FAIL_TIMEOUT,
    NGX_CLAUDE_FAIL_RATE_LIMIT,
    NGX_CLAUDE_FAIL_OVERLOADED,        /* upstream 5xx, unreachable */
    NGX_CLAUDE_FAIL_MODEL,
    NGX_CLAUDE_FAIL_REQUEST,           /* upstream 400 */
    NGX_CLAUDE_FAIL_TOO_LARGE,         /* upstream 413 */
    NGX_CLAUDE_FAIL_CONTEXT,
    NGX_CLAUDE_FAIL_BUDGET,
    NGX_CLAUDE_FAIL_SESSION_GONE,      /* no process holds it */
    NGX_CLAUDE_FAIL_SESSION_BUSY,      /* another tree of nginx does */
    NGX_CLAUDE_FAIL_SESSION_MODEL,     /* it goes on with another one */
    NGX_CLAUDE_FAIL_SESSION_SYSTEM,    /* the same of the system text */
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
    uint64_t                             thinking;  /* part of output */
} ngx_claude_usage_t;


/* what upstream bills for a turn: all calls of the model that came of it */
typedef struct {
    ngx_claude_usage_t                   usage;
    double                               cost;      /* US dollars; -1: not
                                                       known */
} ngx_claude_spent_t;


typedef enum {
    NGX_CLAUDE_SESSION_ISSUED = 0,     /* an answer's name: lasts while
                                          a process holds it */
    NGX_CLAUDE_SESSION_OWN             /* the client's: on disk, too */
} ngx_claude_session_e;


#define NGX_CLAUDE_SESSION_LEN  20

/* what a turn's session is to it */
typedef struct {
    ngx_claude_session_e                 kind;
    u_char                               hash[NGX_CLAUDE_SESSION_LEN];
                                                  /* of name and key */
    u_char                               hint[NGX_CLAUDE_SESSION_LEN];
                                                  /* of a name that is only
                                                       that, or zeroes */
    char                                 id[37];    /* OWN: the CLI's id */
    unsigned                             named:1;   /* by the client: turns
                                                       of it have an order */
    unsigned                             news:1;    /* only what is new */
    unsigned                             results:1; /* and that begins with
                                                       results of calls */
    unsigned                             system:1;  /* says its system text */
    unsigned                             held:1;    /* the session goes on
                                                       from this turn */
} ngx_claude_turn_session_t;


/*
 * What the engine tells the asker, from events of the CLI's pipes.  Exactly
 * one of failed() and settled() is the last call of a turn, unless the asker
 * calls ngx_claude_turn_abort() first.  The asker may destroy the turn
 * in a last call, and must not in another: unless it is owing then, when its
 * process has yet to say what was spent.  paid() follows, within seconds, or
 * the asker calls ngx_claude_turn_forgo() before it destroys the turn.
 */
typedef struct {
    /* the model's first sign of life; once, before any text */
    void  (*started)(ngx_claude_turn_t *turn);

    /* a piece of the answer, UTF-8, valid during the call */
    void  (*text)(ngx_claude_turn_t *turn, u_char *p, size_t len);

    /* the same of the model's thinking */
    void  (*thinking)(ngx_claude_turn_t *turn, u_char *p, size_t len);

    /*
     * The model calls a tool of the turn.  The arguments follow, in pieces of
     * a JSON text, before the next call and the end; text may be between.
     */
    void  (*call)(ngx_claude_turn_t *turn, ngx_str_t *id,
        ngx_str_t *name);
    void  (*arguments)(ngx_claude_turn_t *turn, u_char *p, size_t len);

    /* the answer is complete; stop and usage of the turn are set */
    void  (*finished)(ngx_claude_turn_t *turn);

    /* all lines that had arrived together were told: time to write */
    void  (*flush)(ngx_claude_turn_t *turn);

    /* after finished: the process is done as well, the cost is known */
    void  (*settled)(ngx_claude_turn_t *turn);

    /* instead: turn->fail, turn->reason and turn->retry_after say why */
    void  (*failed)(ngx_claude_turn_t *turn);

    /* of a turn that is over and was owing: turn->spent is complete */
    void  (*paid)(ngx_claude_turn_t *turn);
} ngx_claude_turn_handlers_t;


struct ngx_claude_turn_s {
    /* the question, set by the asker */

    const ngx_claude_turn_handlers_t  *handlers;
    void                                *data;
    ngx_pool_t                          *pool;
    ngx_log_t                           *log;

    ngx_str_t                            id;         /* of the request */
    ngx_claude_profile_t                *profile;
    const ngx_claude_hash_t             *launch;     /* the profile's hash */
    u_char                               tenant[NGX_CLAUDE_TENANT_LEN];
    ngx_str_t                            tenant_name; /* for the metrics */
    ngx_str_t                            model;      /* alias or full id */
    ngx_str_t                            system;     /* never empty */
    ngx_array_t                          messages;   /* roles alternate, the
                                                        user's at both ends */
    ngx_int_t                            max_tokens; /* 0: the model's */
    ngx_array_t                          stops;      /* of ngx_str_t */
    ngx_array_t                          tools;      /* names, of ngx_str_t */
    ngx_str_t                            tools_json; /* as the Messages API
                                                        has them, or empty */
    ngx_str_t                            tool_choice;   /* the same */
    ngx_str_t                            call_id;    /* by what the asker will
                                                        know a call, if not by
                                                        its own id; or empty */
    ngx_str_t                            temperature;   /* JSON number or "" */
    ngx_str_t                            top_p;
    ngx_msec_t                           timeout;    /* without any line */
    ngx_claude_effort_e                  effort;
    unsigned                             thoughtless:1; /* a forced choice of
                                                           a tool wants it */
    unsigned                             summarized:1;  /* thinking is to be
                                                           told in words */
    unsigned                             stoppable:1;   /* the asker may call
                                                           turn_stop() */
    ngx_str_t                            schema;     /* JSON, that the answer
                                                        has to satisfy, or "" */
    ngx_claude_turn_session_t            session;

    /* the answer, set by the engine */

    ngx_claude_usage_t                   usage;      /* the answer's */
    ngx_claude_spent_t                   spent;
    ngx_claude_stop_e                    stop;
    ngx_str_t                            refusal;    /* why, or empty */
    ngx_claude_fail_e                    fail;
    ngx_str_t                            reason;     /* for the client */
    ngx_str_t                            words;      /* the log, instead */
    time_t                               retry_after; /* seconds, 0: unknown */
    ngx_claude_rung_e                    rung;
    ngx_msec_t                           begun;      /* ngx_current_msec */
    ngx_msec_t                           ttft;       /* msec, -1: no token */

    /* the engine's own */

    ngx_claude_process_t                *process;
    ngx_claude_process_t                *payee;      /* has yet to say what
                                                   was spent */
    void                                *links;      /* of its chain */
    ngx_str_t                          **index;      /* of the tools, sorted;
                                                        NULL: not made yet */
    ngx_uint_t                           before;     /* messages that the
                                                        session had already */
    void                                *handover;   /* while it asks */
    ngx_uint_t                           asked;      /* other workers, for */
    ngx_queue_t                          waiting;    /* the engine's queue */
    ngx_event_t                          timer;      /* of the wait; then of
                                                        the payee */
    ngx_int_t                            ticket;     /* row in the zone, -1 */
    unsigned                             queued:1;   /* for its place */
    unsigned                             rowless:1;  /* for a process */
    unsigned                             retried:2;  /* in other processes */
    unsigned                             is_started:1;
    unsigned                             is_finished:1;
    unsigned                             over:1;
};


/*
 * Gets a turn ready: the asker then sets its question.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_turn_init(ngx_claude_turn_t *turn, ngx_pool_t *pool,
    ngx_log_t *log);

/* whether its process has yet to say what was spent */
#define ngx_claude_turn_owing(turn)  ((turn)->payee != NULL)

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
