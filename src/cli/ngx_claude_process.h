
/*
 * A CLI process as this worker has it: its pipes as nginx connections, the
 * reading of what it writes, and its end.  It owns the descriptors; what a
 * line means, what the CLI holds and when a line is due is its owner's, the
 * engine, which it calls through handlers.
 */


#ifndef _NGX_CLAUDE_PROCESS_H_INCLUDED_
#define _NGX_CLAUDE_PROCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_cli.h"
#include "ngx_claude_outbox.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_spawner.h"


typedef struct ngx_claude_process_s  ngx_claude_process_t;


typedef struct {
    /* the CLI runs; record: its session's, if that goes on */
    void  (*started)(ngx_claude_process_t *process,
        ngx_claude_record_t *record);

    /* a line was read */
    void  (*line)(ngx_claude_process_t *process,
        ngx_claude_cli_line_t *line);

    /* all that had arrived was read */
    void  (*quiet)(ngx_claude_process_t *process);

    /*
     * The process cannot be talked to any more: it never started, exited, or
     * spoke nonsense; process->reason and process->unavailable say which.
     * Not called after ngx_claude_process_end().
     */
    void  (*broken)(ngx_claude_process_t *process);

    /* the last call: it is gone from the system, the memory goes next */
    void  (*gone)(ngx_claude_process_t *process);
} ngx_claude_process_handlers_t;


struct ngx_claude_process_s {
    ngx_pool_t                               *pool;     /* the owner's */
    ngx_log_t                                *log;
    const ngx_claude_process_handlers_t      *handlers;
    void                                     *data;     /* the owner's */
    ngx_claude_profile_t                     *profile;

    /* fate */
    ngx_pid_t                                 pid;
    uint64_t                                  start;    /* clock ticks since
                                                           boot */
    ngx_str_t                                 reason;
    ngx_str_t                                 detail;   /* reason in full, for
                                                           the log */
    ngx_str_t                                 words;    /* its last line of
                                                           stderr, as long as
                                                           no turn has begun */
    int                                       status;   /* wait status */
    ngx_err_t                                 gate;     /* why it was started
                                                           without its gate;
                                                           0: with it */
    unsigned                                  unavailable:1; /* no start */
    unsigned                                  locked:1; /* another process has
                                                           its session */

    ngx_claude_outbox_t                       outbox;

    /* the room's own */
    ngx_claude_spawn_t                        spawn;
    ngx_connection_t                         *in;
    ngx_connection_t                         *out;
    ngx_connection_t                         *err;
    ngx_connection_t                         *watch;    /* on the lifeline, if
                                                           adopted */
    ngx_fd_t                                  lifeline;
    ngx_claude_cli_reader_t                  *reader;
    size_t                                    max_line; /* bytes */

    u_char                                   *err_line;
    size_t                                    err_len;
    size_t                                    err_total;

    unsigned                                  adopted:1;
    unsigned                                  running:1;
    unsigned                                  exited:1;
    unsigned                                  told:1;   /* client text */
    unsigned                                  begun:1;  /* a turn */
    unsigned                                  paused:1;
    unsigned                                  reading:1; /* in a handler */
    unsigned                                  drained:1; /* pipe is empty */
    unsigned                                  ending:1;
    unsigned                                  is_broken:1;
    unsigned                                  err_cut:1;
};


/*
 * Begins a process in a pool, which the caller destroys when it is gone;
 * started() or broken() comes later, never from inside the call.  home: of the
 * key that it is for, or NULL, see ngx_claude_home(); ask: for its session on
 * disk, or NULL; ungated: without the gate of its profile.  NULL: no memory,
 * or no spawner (logged).
 */
ngx_claude_process_t *ngx_claude_process_create(ngx_pool_t *pool,
    ngx_claude_profile_t *profile, const char *home,
    ngx_claude_record_ask_t *ask,
    ngx_uint_t ungated, size_t max_line,
    const ngx_claude_process_handlers_t *handlers, void *data,
    ngx_log_t *log);

/*
 * A process that another worker started and hands over: takes the descriptors
 * (in, out, err, lifeline), also when it fails.  NULL: no memory, no free
 * connection, or the process is no more.
 */
ngx_claude_process_t *ngx_claude_process_adopt(ngx_pool_t *pool,
    ngx_claude_profile_t *profile, size_t max_line,
    const ngx_claude_process_handlers_t *handlers, void *data, ngx_pid_t pid,
    uint64_t start, ngx_fd_t *fds);

/*
 * The other side: stops all events of an idle process, so that its four
 * descriptors can be sent.  NGX_DECLINED: it is in no state for that.
 * Then ngx_claude_process_gone() lets go of it without ending it, or
 * ngx_claude_process_end() ends it.
 */
ngx_int_t ngx_claude_process_release(ngx_claude_process_t *process,
    ngx_fd_t *fds);
void ngx_claude_process_gone(ngx_claude_process_t *process);

/* writes what is in its outbox, as far as the pipe takes it, then by events */
void ngx_claude_process_flush(ngx_claude_process_t *process);

/* a new turn: its stderr may be as long as any */
void ngx_claude_process_begin(ngx_claude_process_t *process);

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
