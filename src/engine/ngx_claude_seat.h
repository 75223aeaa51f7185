
/*
 * A seat: the engine's side of a process.  The process has the pipes; the
 * seat has the turn that sits in it, what the process holds, and where it
 * stands in its work.
 */


#ifndef _NGX_CLAUDE_SEAT_H_INCLUDED_
#define _NGX_CLAUDE_SEAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_holding.h"
#include "ngx_claude_metrics.h"
#include "ngx_claude_process.h"
#include "ngx_claude_turn.h"


typedef enum {
    DRIVER_GREETING = 0,        /* started, the first answers are due */
    DRIVER_IDLE,
    DRIVER_WAITING,             /* idle, in the midst of calls of tools */
    DRIVER_CLEARING,            /* the calls are off: their end is due */
    DRIVER_PREPARING,           /* answers to control requests are due */
    DRIVER_REPLAYING,           /* the result of a message of the history */
    DRIVER_ANSWERING,           /* the results of calls go in, one by one */
    DRIVER_ASKED,
    DRIVER_SETTLING,            /* the turn is decided, its result is due */
    DRIVER_REWINDING            /* the question is being taken back; with a
                                   turn: and put in again, as history */
} ngx_claude_seat_state_e;


/* the answer of one turn: zeroed when the turn begins */
typedef struct {
    ngx_claude_link_text_t   answer;         /* its link, as far as told */
    ngx_str_t                said;           /* text, if it may be needed */
    size_t                   said_size;      /* bytes allocated for it */
    ngx_claude_fail_e        error;          /* as the CLI announced it;
                                                INTERNAL: none */
    unsigned                 begun:1;        /* the CLI is at the question */
    unsigned                 texted:1;       /* the answer began */
    unsigned                 parted:1;       /* text comes after tools */
    unsigned                 calling:1;      /* in the midst of the last
                                                call */
    unsigned                 foreign_tool:1; /* a tool was called that is not
                                                the client's */
    unsigned                 resulted:1;     /* the CLI is done */
    unsigned                 unwanted:1;     /* the question is to be
                                                interrupted once it is begun */
    unsigned                 cut:1;          /* the question is taken back */
    unsigned                 restating:1;    /* what was taken back goes in */
} ngx_claude_reply_t;


/* what was spent, see driver_bill.c; costs in US dollars, of its life */
typedef struct {
    ngx_claude_account_t    *account;        /* the last payer's; NULL: none
                                                yet */
    ngx_claude_usage_t       call;           /* the last call's, as told */
    ngx_claude_usage_t       counted;        /* since the result before */
    double                   stated;         /* at that result */
    double                   cost;           /* in an account */
    double                   charged;        /* to turns */
    unsigned                 open_call:1;    /* a call has no end yet */
    unsigned                 broken_call:1;  /* one never got its end */
} ngx_claude_bill_t;


struct ngx_claude_seat_s {
    ngx_pool_t              *pool;           /* of seat and process */
    ngx_claude_process_t    *process;
    ngx_claude_outbox_t     *outbox;         /* of the process */
    ngx_claude_turn_t       *turn;           /* or NULL */

    ngx_claude_holding_t     holding;
    ngx_array_t              held;           /* of held_t */
    ngx_array_t              calls;          /* of call_t */
    ngx_pool_t              *calls_pool;     /* NULL: none */
    ngx_uint_t               routed;         /* calls that the CLI has asked
                                                for */
    ngx_uint_t               answered;       /* calls */
    ngx_pool_t              *tools_pool;     /* of the list */
    ngx_str_t                tools_list;     /* for the CLI */

    ngx_uint_t               state;
    ngx_uint_t               due;            /* answers of the CLI's */
    ngx_uint_t               target;         /* line of the rewind */
    ngx_uint_t               keep;           /* messages, when the calls are
                                                off */
    ngx_claude_reply_t       reply;

    ngx_claude_bill_t        bill;
    ngx_claude_turn_t       *payer;          /* for what it says next, or
                                                NULL */

    ngx_int_t                row;            /* of the process in the zone,
                                                or -1 */
    ngx_int_t                ticket;         /* row of a turn that was
                                                answered, but holds its
                                                session until the seat is
                                                idle; -1: none */
    u_char                   naming[NGX_CLAUDE_SESSION_LEN];
                                             /* session of the conversation,
                                                once the turn went well */

    ngx_event_t              timer;
    ngx_queue_t              queue;          /* of all seats */
    ngx_queue_t              parked;         /* of the idle ones */
    ngx_msec_t               idled;          /* when, last */

    unsigned                 pooled:1;       /* parked */
    unsigned                 unprepared:1;   /* what it holds is known once
                                                it runs */
    unsigned                 bare:1;         /* resumed, without an answer of
                                                the CLI's own */
    unsigned                 doubtful:1;     /* to be ended */
    unsigned                 loginless:1;    /* its login is what failed */
    unsigned                 billed:1;       /* the account is the payer's */
    unsigned                 asking:1;       /* for its payer, what calls
                                                cost */
};


#endif /* _NGX_CLAUDE_SEAT_H_INCLUDED_ */
