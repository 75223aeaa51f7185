
/*
 * Spawner: starts CLI processes for one worker and tells how they ended.
 *
 * This header is all that other rooms use.  The room owns the spawner process
 * of the worker and the socket to it; a started CLI's pipes belong to the
 * caller.  It knows nothing of HTTP, of the zone, or of the CLI's protocol,
 * and never waits: every answer comes later, from an event.
 */


#ifndef _NGX_CLAUDE_SPAWNER_H_INCLUDED_
#define _NGX_CLAUDE_SPAWNER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_claude_record.h"


typedef struct ngx_claude_spawn_s  ngx_claude_spawn_t;


/*
 * A started CLI.  The four descriptors are non-blocking and close-on-exec,
 * and belong to the callee of started(), which closes them.
 *
 * Once every copy of the lifeline is closed, the CLI and what it started get
 * SIGTERM, and SIGKILL 1.5 seconds later; the kernel closes it for a worker
 * that was killed.  The other way round it breaks (POLLERR) once the CLI has
 * been reaped.  Nothing is written to it but by the functions of this room.
 */

typedef struct {
    ngx_pid_t             pid;             /* pid, and process group */
    uint64_t              start;           /* clock ticks since boot, field 22
                                              of /proc/<pid>/stat: tells
                                              a reused pid; 0: unknown */
    ngx_fd_t              in;              /* write end of its stdin */
    ngx_fd_t              out;             /* read end of its stdout */
    ngx_fd_t              err;             /* read end of its stderr */
    ngx_fd_t              lifeline;        /* write end */

    ngx_claude_record_t  *record;          /* record of a session that was
                                              resumed, valid during the call;
                                              or NULL */
    ngx_err_t             gate;            /* why it was started without the
                                              gate, ECANCELED: as asked;
                                              0: with it, or none was
                                              asked for */
} ngx_claude_spawned_t;


/*
 * A CLI to be started.  The caller allocates it zeroed, sets the upper part,
 * and keeps all of it, strings included, until failed() or exited() was called
 * or ngx_claude_spawner_forget().  The handlers may free it, and may call
 * any function of this room.
 */

struct ngx_claude_spawn_s {
    char                      *binary;     /* absolute path, no PATH search */
    char                      *directory;  /* working directory of the CLI */
    char                     **argv;       /* NULL-terminated */
    char                     **envp;       /* NULL-terminated, the CLI's whole
                                              environment */
    void                      *data;       /* the caller's */

    /*
     * The gate, or NULL: the directory after "--plugin-dir" in argv, which is
     * left out, with that, if it is not as the master wrote it.
     */
    char                      *gate;
    ngx_uint_t                 ungated;       /* starts without it */

    /*
     * The home: the CLI's own directory, and the working directory, if that is
     * below the state path, are made before it starts.
     */
    char                      *config;
    ngx_uint_t                 key;           /* it is one key's */
    ngx_uint_t                 made;          /* so is the working
                                                 directory */
    ngx_uint_t                 temporary;     /* and one for temporary
                                                 files */

    /*
     * A session: the directory of transcripts, and what is asked of the
     * record there.  The last two arguments are then overwritten with
     * "--session-id" or "--resume" and the CLI's session id.
     */
    char                          *transcripts;
    ngx_claude_record_ask_t        ask;

    /* exec succeeded */
    void                     (*started)(ngx_claude_spawn_t *spawn,
                                        ngx_claude_spawned_t *child);

    /*
     * nothing runs; what: "request" (the strings are too long), "memory",
     * "pipe", "fork", "setup", "chdir", "exec", "descriptors" (no room for
     * them in this worker), "keeper" or "spawner" (it died), "state" (a
     * directory of its home cannot be made), "record" (of
     * the session, cannot be opened), "lock" (EAGAIN: another process holds
     * the session and does not let go of it)
     */
    void                     (*failed)(ngx_claude_spawn_t *spawn,
                                       ngx_err_t err, const char *what);

    /*
     * once, and only after started(): the wait status of the CLI, or -1 if it
     * was lost with the process that waited for it; then the CLI may need
     * another 1.5 seconds to end
     */
    void                     (*exited)(ngx_claude_spawn_t *spawn,
                                       int status);

    /* private */

    ngx_rbtree_node_t          node;       /* key: id of the request */
    ngx_queue_t                queue;      /* in waiting or doomed */
    ngx_uint_t                 state;
    ngx_err_t                  error;      /* why, while doomed */
    const char                *what;
};


/*
 * Starts a CLI.  NGX_OK: either started() or failed() will be called from
 * an event, never from inside this call.  NGX_ERROR: this is no worker, or
 * the spawn is under way already; no handler will be called.
 */
ngx_int_t ngx_claude_spawner_spawn(ngx_claude_spawn_t *spawn, ngx_log_t *log);

/*
 * The caller loses interest, whatever the state, also inside a handler: no
 * handler is called any more, and the memory may be freed.  A CLI that had not
 * been reported by started() is ended; one that had been runs on as long as
 * its lifeline does.
 */
void ngx_claude_spawner_forget(ngx_claude_spawn_t *spawn);

/*
 * Deletes what sessions, and keys that are no more, have left below the state
 * path for more than ttl seconds, and sessions in the directory of
 * transcripts, in a process of its own.  Nothing is told of it.
 */
void ngx_claude_spawner_sweep(const char *state, const char *transcripts,
    time_t ttl, ngx_log_t *log);

/*
 * Has the record of a session written, by the other end of the lifeline.
 * Never waits: NGX_ERROR if the pipe is full or broken.
 */
ngx_int_t ngx_claude_spawner_record(ngx_fd_t lifeline,
    ngx_claude_record_t *record);

/*
 * Does what closing every copy of the lifeline does, without closing it, for
 * a caller that waits for it to break.  NGX_AGAIN: the pipe is full, so that
 * only closing it will do; NGX_DECLINED: it is broken.
 */
ngx_int_t ngx_claude_spawner_end(ngx_fd_t lifeline);

/*
 * To be called from the module's exit_process: closes the socket and calls no
 * handler.  The spawner process lives until its last CLI has ended.
 */
void ngx_claude_spawner_exit(ngx_cycle_t *cycle);


#endif /* _NGX_CLAUDE_SPAWNER_H_INCLUDED_ */
