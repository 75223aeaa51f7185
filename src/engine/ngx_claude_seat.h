
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
#include "ngx_claude_plan.h"
#include "ngx_claude_process.h"
#include "ngx_claude_text.h"
#include "ngx_claude_turn.h"


/* in the order of a turn */
typedef enum {
    NGX_CLAUDE_SEAT_STARTING = 0,   /* the first answers are due */
    NGX_CLAUDE_SEAT_IDLE,           /* perhaps in the midst of calls: then
                                       holding.waiting is set */
    NGX_CLAUDE_SEAT_RUNNING,        /* steps of the plan up to the question */
    NGX_CLAUDE_SEAT_RETURNING,      /* the results of calls go in, one by
                                       one */
    NGX_CLAUDE_SEAT_ASKED,          /* the model's answer is due */
    NGX_CLAUDE_SEAT_SETTLING,       /* the turn is decided, the CLI's result is
                                       due */
    NGX_CLAUDE_SEAT_MENDING,        /* steps of the plan after the turn */
    NGX_CLAUDE_SEAT_ENDING,         /* the process is being ended */
    NGX_CLAUDE_SEAT_STATES
} ngx_claude_seat_state_e;


/*
 * The outcome of a line.  Who hears or writes lines says it, and never moves
 * the seat: that is the dispatcher's, in driver.c and driver_step.c.
 */
typedef enum {
    NGX_CLAUDE_HEARD = 0,           /* nothing to do */
    NGX_CLAUDE_ANSWERED,            /* an answer that was due has come */
    NGX_CLAUDE_BEGUN,               /* the CLI is at the question */
    NGX_CLAUDE_TAKEN,               /* the result of a call was taken */
    NGX_CLAUDE_UNWANTED,            /* the CLI asks the model once more */
    NGX_CLAUDE_FINISHED,            /* the model's stop decides the turn */
    NGX_CLAUDE_CUT,                 /* the answer is what was said: the rest
                                       is not wanted */
    NGX_CLAUDE_WAITS,               /* for the results of calls */
    NGX_CLAUDE_COMPLETE,            /* the answer is there, and the CLI done */
    NGX_CLAUDE_OVER,                /* the CLI's result */
    NGX_CLAUDE_FAILED               /* seat->failure says why */
} ngx_claude_heard_e;


typedef struct {
    ngx_claude_fail_e        fail;
    ngx_str_t               *reason;         /* the CLI's words, valid while
                                                its line is; or NULL */
    const char              *detail;         /* words of ours, or NULL */
} ngx_claude_failure_t;


/* the block of an answer that is open, see driver_block.c */
typedef struct {
    ngx_claude_block_t       block;
    double                   index;          /* number of the block in its
                                                message */
    ngx_claude_text_t        signature;      /* pieces so far */
    ngx_str_t                whole;          /* block as it began, for the link
                                                of a verbatim turn; in the
                                                turn's pool */
    ngx_claude_text_t        input;          /* pieces of its input, the
                                                same */
    unsigned                 is_open:1;
} ngx_claude_open_t;


/* the answer of one turn: zeroed when the turn begins */
typedef struct {
    ngx_claude_link_text_t   answer;         /* link of the answer, so far */
    ngx_str_t                said;           /* text, if it may be needed */
    size_t                   said_size;      /* bytes allocated for it */
    ngx_claude_fail_e        error;          /* as the CLI announced it;
                                                INTERNAL: none */
    ngx_claude_end_e         end;            /* fate of question and
                                                answer */
    size_t                   unread;         /* bytes of the input that waited
                                                when that was last looked
                                                at */
    unsigned                 begun:1;        /* the CLI is at the question */
    unsigned                 texted:1;       /* the answer began */
    unsigned                 parted:1;       /* text comes after tools */
    unsigned                 calling:1;      /* in the midst of the last
                                                call */
    unsigned                 foreign_tool:1; /* a tool was called that is not
                                                the client's */
    unsigned                 resulted:1;     /* the CLI is done */
    unsigned                 called:1;       /* a call went by the gate */
    unsigned                 answered:1;     /* by the provider, with 2xx: the
                                                gate has shut */
    unsigned                 ungated:1;      /* failed for want of the gate, or
                                                by it: another process may
                                                try */
    unsigned                 unwanted:1;     /* the question is to be
                                                interrupted once it is begun */
} ngx_claude_reply_t;


/* expenses, see driver_bill.c; costs are US dollars, of a process's life */
typedef struct {
    ngx_claude_account_t    *account;        /* the last payer's; NULL: none
                                                yet */
    ngx_claude_usage_t       call;           /* the last call's, as told */
    ngx_claude_usage_t       counted;        /* since the result before */
    double                   stated;         /* at that result */
    double                   cost;           /* in an account */
    double                   charged;        /* to turns */
    unsigned                 open_call:1;    /* a call has no end yet */
    unsigned                 broken_call:1;  /* a call never got its end */
} ngx_claude_bill_t;


struct ngx_claude_seat_s {
    ngx_pool_t              *pool;           /* memory of seat and process */
    ngx_claude_process_t    *process;
    ngx_claude_outbox_t     *outbox;         /* the process's */
    ngx_claude_turn_t       *turn;           /* or NULL */

    ngx_claude_holding_t     holding;
    ngx_array_t              held;           /* held_t */
    ngx_array_t              calls;          /* call_t */
    ngx_pool_t              *calls_pool;     /* NULL: none */
    ngx_uint_t               routed;         /* calls that the CLI has asked
                                                for */
    ngx_uint_t               answered;       /* calls */
    ngx_pool_t              *tools_pool;     /* memory of the list */
    ngx_str_t                tools_list;     /* for the CLI */

    ngx_claude_seat_state_e  state;          /* written by
                                                ngx_claude_seat_state() */
    ngx_claude_plan_t        plan;
    ngx_uint_t               at;             /* step of the plan that is under
                                                way */
    ngx_uint_t               due;            /* answers of the CLI's */
    ngx_uint_t               target;         /* line of the last rewind */
    ngx_claude_reply_t       reply;
    ngx_claude_open_t        open;
    ngx_claude_failure_t     failure;

    ngx_claude_bill_t        bill;
    ngx_claude_turn_t       *payer;          /* for what it says next, or
                                                NULL */

    ngx_int_t                process_row;    /* row of the process in the zone,
                                                or -1 */
    ngx_int_t                turn_row;       /* row of a turn that was
                                                answered, but holds its
                                                session until the seat is
                                                idle; -1: none */
    ngx_claude_hash_t        naming;         /* session of the conversation,
                                                once the turn went well */

    ngx_event_t              timer;
    ngx_queue_t              queue;          /* among all seats */
    ngx_queue_t              parked;         /* among the idle ones */
    ngx_msec_t               idled;          /* when, last; or its start */


    unsigned                 pooled:1;       /* parked */
    unsigned                 nascent:1;      /* likewise, among those that
                                                start */
    unsigned                 claimed:1;      /* the holding's tenant is set */
    unsigned                 fresh:1;        /* it has never answered */
    unsigned                 wasted:1;       /* nor waited for by the client
                                                of a turn of it: a debt */
    unsigned                 unprepared:1;   /* the holding is known once
                                                it runs */
    unsigned                 bare:1;         /* resumed, without an answer of
                                                the CLI's own */
    unsigned                 doubtful:1;     /* to be ended */
    unsigned                 loginless:1;    /* the login is what failed */
    unsigned                 billed:1;       /* the account is the payer's */
    unsigned                 asking:1;       /* for its payer, what calls
                                                cost */
};


/* the log of what a seat does: its turn's, while it has one */
#define ngx_claude_seat_log(seat)                                             \
    ((seat)->turn ? (seat)->turn->log : (seat)->process->log)

/* the one writer of the state */
void ngx_claude_seat_state(ngx_claude_seat_t *seat,
    ngx_claude_seat_state_e state);

/* whether the step is under way, and what it waits for has not come */
ngx_uint_t ngx_claude_seat_at(ngx_claude_seat_t *seat, ngx_claude_step_e step);

/* the wait of the step that is under way */
ngx_claude_wait_e ngx_claude_seat_waits(ngx_claude_seat_t *seat);

/* notes a failure; for who hears lines, to be returned */
ngx_claude_heard_e ngx_claude_seat_failed(ngx_claude_seat_t *seat,
    ngx_claude_fail_e fail, ngx_str_t *reason, const char *detail);


#endif /* _NGX_CLAUDE_SEAT_H_INCLUDED_ */
