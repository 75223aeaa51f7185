
/*
 * What a process holds: whose it is, what it was set to, and the conversation
 * that it has, message by message.  The holding is one value of a fixed size:
 * it goes through the socket of a hand-over as it is, and is most of a
 * session's record.
 *
 * The room is pure: no pipe, no zone, no clock.
 */


#ifndef _NGX_CLAUDE_HOLDING_H_INCLUDED_
#define _NGX_CLAUDE_HOLDING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_chain.h"
#include "ngx_claude_cli.h"
#include "ngx_claude_turn.h"


typedef struct {
    /* whose it is */
    u_char               profile[20];    /* hash of its launch */
    u_char               tenant[NGX_CLAUDE_TENANT_LEN];
                                         /* its key, once it is used */
    u_char               session[NGX_CLAUDE_SESSION_LEN];
                                         /* hash of the session that its
                                            conversation is of, or zeroes */
    u_char               hint[NGX_CLAUDE_SESSION_LEN];
                                         /* hash of a name that is no session,
                                            of its last turn, or zeroes */

    /* what it was set to */
    ngx_claude_link_t    root;           /* of its chain; zeroes: unknown */
    u_char               model[20];      /* SHA-1 of the name */
    u_char               system[20];     /* SHA-1 of the system text */
    u_char               tools[20];      /* SHA-1 of their names, or zeroes */
    uint64_t             knobs;          /* settings of its last question */

    /* what it was started as */
    uint64_t             inode;          /* of its binary; both 0: not known */
    int64_t              mtime;          /* of its binary, seconds */
    u_char               nonce[NGX_CLAUDE_NONCE_LEN];

    /* what it has */
    uint32_t             nheld;          /* messages */
    uint32_t             ncalls;         /* of tools, without their results */
    uint32_t             base;           /* messages that were resumed: no
                                            cut before them */
    uint32_t             lines;          /* uuids given out */
    uint32_t             newest;         /* line of the user, its number */
    uint32_t             requests;       /* control requests' ids given out */
    uint32_t             server;         /* number of its server of tools */

    unsigned             used:1;         /* it has a tenant */
    unsigned             own:1;          /* a client has named its session: it
                                            is for nothing else */
    unsigned             recorded:1;     /* it writes a transcript */
    unsigned             waiting:1;      /* for the results of its calls */
} ngx_claude_holding_t;


/* a message that the CLI holds */
typedef struct {
    ngx_claude_link_t    link;
    uint32_t             line:31;        /* number of the user's line; 0: no
                                            cut just before it */
    uint32_t             own:1;          /* the model's answer, in this CLI */
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


#endif /* _NGX_CLAUDE_HOLDING_H_INCLUDED_ */
