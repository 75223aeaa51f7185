
/*
 * The holding of a process: whose it is, what it was set to, and the
 * conversation that it has, message by message.  It is one value of a fixed
 * size: it goes through the socket of a hand-over as it is, and into a
 * session's record, but for what is nobody else's to read.
 *
 * The room is pure: no pipe, no zone, no clock.
 */


#ifndef _NGX_CLAUDE_HOLDING_H_INCLUDED_
#define _NGX_CLAUDE_HOLDING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_chain.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_turn.h"


/* random bytes of a process, which the uuids of its lines are made of */
#define NGX_CLAUDE_NONCE_LEN  11


/* a record has it on disk: when it changes, so must the record's magic */
typedef struct {
    /* profile, key and session that the process is for */
    ngx_claude_hash_t    profile;        /* hash of its launch */
    ngx_claude_hash_t    tenant;         /* identity of the key that it is
                                            of, if it is used or owned */
    ngx_claude_hash_t    session;        /* hash of the session that its
                                            conversation is of, or zeroes */
    ngx_claude_hash_t    hint;           /* hash of a name that is no session,
                                            of its last turn, or zeroes */

    /* settings that it was given last */
    ngx_claude_link_t    root;           /* root of its chain; zeroes:
                                            unknown */
    ngx_claude_hash_t    model;          /* SHA-1 of the name */
    u_char               model_id[NGX_CLAUDE_MODEL_LEN];
                                         /* full id, as the CLI has said */
    uint32_t             model_id_len;   /* bytes; 0: not known */
    ngx_claude_hash_t    system;         /* SHA-1 of the system text */
    ngx_claude_hash_t    tools;          /* SHA-1 of their names, or zeroes */
    uint64_t             knobs;          /* tokens, effort and thinking that it
                                            was set to */
    uint64_t             settings;       /* sum of the others; 0: none */

    /* properties of its start */
    uint64_t             inode;          /* inode of its binary; with mtime
                                            0: not known */
    int64_t              mtime;          /* time of its binary, seconds */
    u_char               nonce[NGX_CLAUDE_NONCE_LEN];

    /* numbers */
    uint32_t             nheld;          /* messages */
    uint32_t             ncalls;         /* calls without their results */
    uint32_t             base;           /* messages that were resumed: no
                                            cut before them */
    uint32_t             lines;          /* uuids given out */
    uint32_t             newest;         /* line of the user, its number */
    uint32_t             requests;       /* control requests' ids given out */
    uint32_t             server;         /* number of its server of tools */

    unsigned             used:1;         /* by the tenant */
    unsigned             owned:1;        /* started with the tenant's
                                            directories: it is for nobody
                                            else */
    unsigned             named_session:1; /* a client has named its session:
                                             it is for nothing else */
    unsigned             recorded:1;     /* a transcript is written */
    unsigned             waiting:1;      /* for the results of its calls */
    unsigned             greeted:1;      /* it is initialized, its version
                                            known */
    unsigned             gated:1;        /* has shown the gate: one call a
                                            question */
    unsigned             proved:1;       /* a call went by the gate */
    unsigned             set:1;          /* it was sent settings */
    unsigned             by_gate:1;      /* its effort was set so that it goes
                                            by the gate */
} ngx_claude_holding_t;


/* a message that the CLI holds */
typedef struct {
    ngx_claude_link_t    link;
    uint32_t             line:30;        /* number of the user's line; 0: it is
                                            none */
    uint32_t             results:1;      /* of calls, from which it cannot be
                                            cut off */
    uint32_t             by_cli:1;       /* the model's answer, in this CLI */
} ngx_claude_held_t;


/* a call of a client's tool, of which the CLI waits for the result */
typedef struct {
    ngx_str_t            id;
    ngx_str_t            name;
    ngx_str_t            input;          /* JSON text, so far */
    size_t               size;           /* bytes allocated for the input */
    ngx_str_t            request;        /* control request's id; empty: it
                                            was not asked for yet */
    ngx_int_t            rpc;            /* JSON-RPC's id */
} ngx_claude_call_t;


/*
 * A message more, at the end; held: of held_t.  line: its number if it was a
 * line of the user's, else 0; results: the line begins with results of calls;
 * answer: it is the model's, in this CLI.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_holding_add(ngx_claude_holding_t *holding,
    ngx_array_t *held, ngx_claude_link_t *link, ngx_uint_t line);
ngx_int_t ngx_claude_holding_results(ngx_claude_holding_t *holding,
    ngx_array_t *held, ngx_claude_link_t *link, ngx_uint_t line);
ngx_int_t ngx_claude_holding_answer(ngx_claude_holding_t *holding,
    ngx_array_t *held, ngx_claude_link_t *link);

/*
 * How many of its first n messages a process can be cut to: a cut is just
 * before a line of the user that is no result of a call.
 */
ngx_uint_t ngx_claude_holding_cut(const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, ngx_uint_t n);

/* cuts to so many messages; returns the line that the cut is just before */
ngx_uint_t ngx_claude_holding_rewind(ngx_claude_holding_t *holding,
    ngx_array_t *held, ngx_uint_t keep);

/* whether no answer among the first n messages is the CLI's own */
ngx_uint_t ngx_claude_holding_bare(const ngx_claude_holding_t *holding,
    const ngx_claude_held_t *held, ngx_uint_t n);

/* SHA-1 of a text, as holding->model and ->system have it */
void ngx_claude_holding_sum(const ngx_str_t *s, ngx_claude_hash_t *sum);

/*
 * What goes to disk of a holding, cut to its first n messages: all but whose
 * it is, the root, which is made of that, the nonce, and the sum of the
 * settings, which tells the nonce to who knows the settings.  An agent's tools
 * may read the disk.
 */
void ngx_claude_holding_record(ngx_claude_holding_t *recorded,
    const ngx_claude_holding_t *holding, ngx_uint_t n);

/*
 * Whether a record can vouch for as many messages as it says; a conversation
 * of more begins anew.
 */
ngx_uint_t ngx_claude_holding_resumable(const ngx_claude_holding_t *recorded);

/*
 * What a new process takes over of a record, and puts into held: how many
 * messages it has resumed, the last of them with the link tip, and their model
 * and system text.  An agent's tools may have written the record, so that all
 * else is as the process began: none makes it another key's, or says what it
 * was set to.  NGX_ERROR: it is not resumable, or no memory.
 */
ngx_int_t ngx_claude_holding_resume(ngx_claude_holding_t *holding,
    ngx_array_t *held, const ngx_claude_holding_t *recorded,
    const ngx_claude_link_t *tip);

/* the knobs of a turn that the CLI does not turn while it waits for results */
uint64_t ngx_claude_holding_knobs(const ngx_claude_turn_t *turn);

/*
 * The sum of a turn's other settings, all that is merged into the upstream
 * body: stops, sampling, tools and their choice, schema, thinking in words.
 * 0: there are none.  Knobs and sum together stand for the whole line that
 * ngx_claude_cli_settings() writes: when they are equal, so are the lines.
 *
 * SHA-1 would be a quarter of what a turn costs whose tools are 20 KB of JSON.
 * The sum is begun with the nonce of the process, which no client knows, so
 * that none can make up settings of the same sum.
 */
uint64_t ngx_claude_holding_settings(const ngx_claude_holding_t *holding,
    const ngx_claude_turn_t *turn);

/*
 * Whether a process that is nobody's yet was started from another binary than
 * the one that ngx_claude_profile_look() saw last.
 */
ngx_uint_t ngx_claude_holding_outdated(const ngx_claude_holding_t *holding,
    const ngx_claude_profile_t *profile);


#endif /* _NGX_CLAUDE_HOLDING_H_INCLUDED_ */
