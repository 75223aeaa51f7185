
/*
 * A CLI process as this worker has it: its pipes as nginx connections, the
 * lines waiting to be written to it, the reading of what it writes, and its
 * end.  It owns descriptors and memory of the process; what a line means and
 * when one is due is the engine's, which it calls through handlers.
 */


#ifndef _NGX_CLAUDE_PROCESS_H_INCLUDED_
#define _NGX_CLAUDE_PROCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_chain.h"
#include "ngx_claude_cli.h"
#include "ngx_claude_metrics.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_spawner.h"
#include "ngx_claude_text.h"


typedef struct {
    /* it runs, lines may be put; record: of its session, if it goes on */
    void  (*started)(ngx_claude_process_t *process,
        ngx_claude_record_t *record);

    /* it wrote a line */
    void  (*line)(ngx_claude_process_t *process,
        ngx_claude_cli_line_t *line);

    /* all that had arrived was read */
    void  (*quiet)(ngx_claude_process_t *process);

    /*
     * It cannot be talked to any more: it never started, exited, or spoke
     * nonsense; process->reason and process->unavailable say which.  Not
     * called after ngx_claude_process_end().
     */
    void  (*broken)(ngx_claude_process_t *process);

    /* the last call: it is gone from the system, the memory goes next */
    void  (*gone)(ngx_claude_process_t *process);
} ngx_claude_process_handlers_t;


typedef struct ngx_claude_piece_s  ngx_claude_piece_t;


/* a call of a client's tool, of which the CLI waits for the result */
typedef struct {
    ngx_str_t                                 id;
    ngx_str_t                                 name;
    ngx_str_t                                 input;    /* JSON text, so far */
    size_t                                    size;     /* allocated for it */
    ngx_str_t                                 request;  /* control request's
                                                           id; empty: not yet
                                                           asked for */
    ngx_int_t                                 rpc;      /* JSON-RPC's id */
} ngx_claude_call_t;


/* the block of an answer that is open, see driver_block.c */
typedef struct {
    ngx_claude_block_t                        block;
    double                                    index;    /* its number in the
                                                           message */
    ngx_claude_text_t                         signature; /* pieces so far */
    ngx_str_t                                 whole;    /* block as it began,
                                                           for the link of a
                                                           verbatim turn; in
                                                           the turn's pool */
    ngx_claude_text_t                         input;    /* pieces of its input,
                                                           the same */
    unsigned                                  is_open:1;
} ngx_claude_open_t;


/* a message that the CLI holds */
typedef struct {
    ngx_claude_link_t                         link;
    ngx_uint_t                                line;     /* the user's: its
                                                           number; 0: not to
                                                           be cut here */
    ngx_uint_t                                own;      /* the model's answer,
                                                           in this CLI */
} ngx_claude_held_t;


struct ngx_claude_process_s {
    ngx_pool_t                               *pool;
    ngx_log_t                                *log;
    const ngx_claude_process_handlers_t *handlers;
    ngx_claude_profile_t                     *profile;

    /* the engine's */
    ngx_queue_t                               queue;    /* of all */
    ngx_queue_t                               idle;     /* of the pool */
    ngx_claude_turn_t                        *turn;
    ngx_event_t                               timer;
    ngx_int_t                                 row;      /* in the zone, -1 */
    ngx_uint_t                                phase;
    ngx_uint_t                                expected; /* answers due */
    ngx_uint_t                                requests; /* ids given out */
    ngx_msec_t                                idled;    /* when, last */

    u_char                                    tenant[
                                                  NGX_CLAUDE_TENANT_LEN];
    ino_t                                     inode;    /* of its binary, */
    time_t                                    mtime;    /* at the start */
    ngx_claude_link_t                         root;     /* model, system... */
    ngx_array_t                               held;     /* of held_t */
    ngx_uint_t                                lines;    /* uuids given out */
    ngx_uint_t                                newest;   /* line of the user */
    ngx_uint_t                                target;   /* of the rewind */
    ngx_claude_link_text_t                    answer;
    ngx_claude_open_t                         open;
    ngx_str_t                                 said;     /* its text, if it may
                                                           be needed */
    size_t                                    said_size;
    ngx_claude_fail_e                         error;    /* as it announced */

    /* what was spent, see driver_bill.c; costs in US dollars, of its life */
    ngx_claude_turn_t                        *payer;    /* for what it says
                                                      next, or NULL */
    ngx_claude_account_t                     *account;  /* the last payer's;
                                                      NULL: none yet */
    ngx_claude_usage_t                        call;     /* the last call's, as
                                                      far as told */
    ngx_claude_usage_t                        counted;  /* since the result
                                                      before */
    double                                    stated;   /* at that result */
    double                                    cost;     /* in an account */
    double                                    charged;  /* to turns */

    u_char                                    tools[20];  /* hash of their
                                                             names */
    ngx_str_t                                 tools_list; /* for the CLI */
    ngx_pool_t                               *tools_pool; /* of that */
    ngx_uint_t                                server;   /* of tools, number */
    ngx_array_t                               calls;    /* of call_t */
    ngx_pool_t                               *calls_pool; /* NULL: none */
    ngx_uint_t                                routed;   /* calls that the CLI
                                                           has asked for */
    ngx_uint_t                                answered; /* calls */
    ngx_uint_t                                keep;     /* messages, when the
                                                           calls are off */
    uint64_t                                  knobs;    /* of the question */

    /* the session that its conversation is of */
    u_char                                    session[
                                                 NGX_CLAUDE_SESSION_LEN];
    u_char                                    hint[
                                                 NGX_CLAUDE_SESSION_LEN];
    u_char                                    model[20]; /* SHA-1 */
    ngx_str_t                                 model_id; /* full id, as the CLI
                                                           said; empty: not
                                                           known */
    u_char                                    model_name[
                                                 NGX_CLAUDE_CLI_MODEL_LEN];
    u_char                                    system[20];
    ngx_uint_t                                base;     /* held messages that
                                                           were resumed: no
                                                           cut before them */
    ngx_int_t                                 ticket;   /* of a turn, until
                                                           the session is in
                                                           order; or -1 */
    u_char                                    naming[
                                                 NGX_CLAUDE_SESSION_LEN];
                                                     /* once it is well */
    unsigned                                  parted:1; /* text comes after
                                                           tools */
    unsigned                                  own:1;    /* a client named it:
                                                           for nothing else */
    unsigned                                  recorded:1; /* a transcript */
    unsigned                                  locked:1; /* by another one */
    unsigned                                  unprepared:1; /* once it runs */

    unsigned                                  used:1;   /* has a tenant */
    unsigned                                  pooled:1; /* idle */
    unsigned                                  cut:1;    /* take the question
                                                           back */
    unsigned                                  begun:1;  /* the CLI is at it */
    unsigned                                  billed:1; /* the payer: account
                                                           is its own */
    unsigned                                  asking:1; /* for its payer, what
                                                           calls cost */
    unsigned                                  open_call:1; /* has no end yet */
    unsigned                                  broken_call:1; /* one never got
                                                                it */
    unsigned                                  unwanted:1; /* interrupt it as
                                                             soon as it is */
    unsigned                                  resulted:1; /* the CLI is done */
    unsigned                                  doubtful:1; /* end it */
    unsigned                                  loginless:1; /* its login is
                                                              what failed */
    unsigned                                  tool:1;   /* was called that
                                                           is not the
                                                           client's */
    unsigned                                  pending:1; /* waits for results
                                                            of calls */
    unsigned                                  calling:1; /* in the midst of
                                                            the last call */
    unsigned                                  texted:1; /* the answer began */
    unsigned                                  bare:1;   /* resumed so */
    unsigned                                  restating:1; /* what was taken
                                                              back goes in */

    /* what became of it */
    ngx_pid_t                                 pid;
    uint64_t                                  start;
    ngx_str_t                                 reason;
    ngx_str_t                                 detail;   /* the log's, of it */
    int                                       status;   /* wait status */
    unsigned                                  unavailable:1; /* no start */

    /* the room's own */
    ngx_claude_spawn_t                        spawn;
    ngx_connection_t                         *in;
    ngx_connection_t                         *out;
    ngx_connection_t                         *err;
    ngx_connection_t                         *watch;    /* if adopted: of the
                                                           lifeline */
    ngx_fd_t                                  lifeline;
    ngx_claude_cli_reader_t                  *reader;
    size_t                                    max_line;
    u_char                                    nonce[11];

    ngx_pool_t                               *pieces_pool;
    ngx_claude_piece_t                       *pieces;
    ngx_claude_piece_t                      **last_piece;
    u_char                                   *stage;
    u_char                                   *stage_pos;
    u_char                                   *stage_last;
    u_char                                   *room;     /* for what is short */
    u_char                                   *room_end;

    u_char                                   *err_line;
    size_t                                    err_len;
    size_t                                    err_total;

    unsigned                                  adopted:1;
    unsigned                                  running:1;
    unsigned                                  exited:1;
    unsigned                                  told:1;      /* client text */
    unsigned                                  paused:1;
    unsigned                                  reading:1;   /* in a handler */
    unsigned                                  drained:1;   /* pipe is empty */
    unsigned                                  ending:1;
    unsigned                                  is_broken:1;
    unsigned                                  err_cut:1;
};


/*
 * Begins a process; started() or broken() comes later, never from inside the
 * call.  ask: for its session on disk, or NULL.  NULL: no memory, or no
 * spawner (logged).
 */
ngx_claude_process_t *ngx_claude_process_create(ngx_claude_profile_t *profile,
    ngx_claude_record_ask_t *ask, size_t max_line,
    const ngx_claude_process_handlers_t *handlers, ngx_log_t *log);

/*
 * Queues text for the CLI's stdin.  put: text that lives until the queue is
 * empty; copy: copied; escape: a JSON string with its quotes, made as the pipe
 * drains, so that a large one stalls nobody.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_claude_process_put(ngx_claude_process_t *process, u_char *p,
    size_t len);
ngx_int_t ngx_claude_process_copy(ngx_claude_process_t *process, u_char *p,
    size_t len);
ngx_int_t ngx_claude_process_escape(ngx_claude_process_t *process, u_char *p,
    size_t len);

/* a literal */
#define ngx_claude_process_text(process, text)                                \
    ngx_claude_process_put(process, (u_char *) text, sizeof(text) - 1)

/*
 * A process that another worker started and hands over: takes the descriptors
 * (in, out, err, lifeline), also when it fails.  NULL: no memory, no free
 * connection, or the process is no more.
 */
ngx_claude_process_t *ngx_claude_process_adopt(ngx_claude_profile_t *profile,
    size_t max_line, const ngx_claude_process_handlers_t *handlers,
    ngx_pid_t pid, uint64_t start, ngx_fd_t *fds);

/*
 * The other side: stops all events of an idle process, so that its four
 * descriptors can be sent.  NGX_DECLINED: it is in no state for that.
 * Then ngx_claude_process_gone() lets go of it without ending it, or
 * ngx_claude_process_end() ends it.
 */
ngx_int_t ngx_claude_process_release(ngx_claude_process_t *process,
    ngx_fd_t *fds);
void ngx_claude_process_gone(ngx_claude_process_t *process);

/* writes what is queued, as far as the pipe takes it; the rest by events */
void ngx_claude_process_flush(ngx_claude_process_t *process);

/* the queue is empty: nothing refers to a turn's strings */
#define ngx_claude_process_flushed(process)                                   \
    ((process)->pieces == NULL)

/* back-pressure: stops and resumes the reading of stdout */
void ngx_claude_process_pause(ngx_claude_process_t *process);
void ngx_claude_process_resume(ngx_claude_process_t *process);

/*
 * idle: a graceful shutdown of the worker breaks it at once, and what it
 * writes is nobody's turn.
 */
void ngx_claude_process_idle(ngx_claude_process_t *process, ngx_uint_t idle);

/*
 * Ends it: pipes and lifeline are closed, upon which the spawner sends TERM
 * and, if need be, KILL.  No handler is called any more but gone().
 */
void ngx_claude_process_end(ngx_claude_process_t *process);


#endif /* _NGX_CLAUDE_PROCESS_H_INCLUDED_ */
