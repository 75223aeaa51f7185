
/*
 * Spawner, private: what its three kinds of process say to each other.
 *
 * worker -> spawner process   a request, one message on a SEQPACKET socket
 * keeper -> spawner process   replies about its one CLI, through a pipe
 * spawner process -> worker   the same replies; "started" carries descriptors
 *
 * All of them run the same binary, so structures travel as they are.
 */


#ifndef _NGX_CLAUDE_SPAWNER_WIRE_H_INCLUDED_
#define _NGX_CLAUDE_SPAWNER_WIRE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <sys/resource.h>

#include "ngx_claude_record.h"


/* a whole request; a default socket buffer takes 212,960 bytes */
#define NGX_CLAUDE_SPAWNER_REQUEST_MAX  (192 * 1024)

/* arguments and variables of one request together */
#define NGX_CLAUDE_SPAWNER_STRINGS_MAX  4096

/* descriptors in "started": stdin, stdout, stderr, lifeline */
#define NGX_CLAUDE_SPAWNER_FDS          4

#define NGX_CLAUDE_SPAWNER_LIMITS       2


/* stages at which a start can fail; the worker has the names */
typedef enum {
    NGX_CLAUDE_SPAWNER_REQUEST = 0,
    NGX_CLAUDE_SPAWNER_MEMORY,
    NGX_CLAUDE_SPAWNER_PIPE,
    NGX_CLAUDE_SPAWNER_FORK,
    NGX_CLAUDE_SPAWNER_SETUP,
    NGX_CLAUDE_SPAWNER_CHDIR,
    NGX_CLAUDE_SPAWNER_EXEC,
    NGX_CLAUDE_SPAWNER_DESCRIPTORS,
    NGX_CLAUDE_SPAWNER_KEEPER,
    NGX_CLAUDE_SPAWNER_STATE,
    NGX_CLAUDE_SPAWNER_RECORD,
    NGX_CLAUDE_SPAWNER_LOCK,
    NGX_CLAUDE_SPAWNER_SPAWNER,
    NGX_CLAUDE_SPAWNER_STAGES
} ngx_claude_spawner_stage_e;


typedef enum {
    NGX_CLAUDE_SPAWNER_STARTED = 1,
    NGX_CLAUDE_SPAWNER_FAILED,
    NGX_CLAUDE_SPAWNER_EXITED
} ngx_claude_spawner_reply_e;


/*
 * Followed by zero-terminated strings: binary, directory, directory of
 * transcripts or "", gate or "", the CLI's own directory, argc arguments,
 * envc variables.  Without an argument it asks for a sweep, and for no reply:
 * of the homes below the state path, which is the directory, and of the
 * directory of transcripts.
 */

#define NGX_CLAUDE_SPAWNER_STRINGS  5

/* what is made of a home, beside the CLI's own directory; bits */
#define NGX_CLAUDE_SPAWNER_KEY      1   /* it is a key's, and locked */
#define NGX_CLAUDE_SPAWNER_WORK     2   /* the working directory */
#define NGX_CLAUDE_SPAWNER_TMP      4   /* one for temporary files */

typedef struct {
    uint64_t                       id;
    uint32_t                       argc;
    uint32_t                       envc;
    uint32_t                       ungated;   /* boolean: without the gate */
    uint32_t                       home;      /* what is made of it */
    ngx_claude_record_ask_t        ask;
} ngx_claude_spawner_request_t;


typedef struct {
    uint64_t                       id;
    uint64_t                       start;     /* started */
    int32_t                        pid;       /* started */
    uint32_t                       type;
    uint32_t                       stage;     /* failed */
    int32_t                        code;      /* failed: errno; exited: wait
                                                 status */
    uint32_t                       resumed;   /* started: the record is it */
    int32_t                        gate;      /* started: errno, why it is
                                                 without its gate; or 0 */
    ngx_claude_record_t            record;
} ngx_claude_spawner_reply_t;


/* pipes take such a write whole: a reply, and a record alone */

_Static_assert(sizeof(ngx_claude_spawner_reply_t) <= PIPE_BUF,
               "a reply is too long for a pipe");


/* a limit that the worker changed for itself */
typedef struct {
    int             resource;
    unsigned        known:1;   /* 0: the CLI keeps the worker's */
    struct rlimit   value;
} ngx_claude_spawner_limit_t;


/* the worker's to its spawner process, at the fork */
typedef struct {
    int                                fd;
    ngx_claude_spawner_limit_t         limits[NGX_CLAUDE_SPAWNER_LIMITS];
} ngx_claude_spawner_start_t;


/* the spawner process's to a keeper, at the fork */
typedef struct {
    uint64_t                           id;
    pid_t                              parent;     /* the spawner process */
    int                                signals;    /* a signalfd */
    int                                stdio[3];   /* the CLI's ends */
    int                                input;      /* write end of stdin, never
                                                      written to */
    int                                lifeline;   /* read end */
    int                                report;     /* write end */
    char                              *binary;
    char                              *directory;
    char                             **argv;
    char                             **envp;
    char                              *gate;       /* "": none */
    ngx_uint_t                         ungated;    /* it is left out */
    char                              *config;     /* the CLI's own
                                                      directory */
    ngx_uint_t                         home;       /* what is made of it */
    ngx_claude_spawner_limit_t        *limits;

    /* a session, if transcripts is not "" */
    char                              *transcripts;
    ngx_uint_t                         argc;
    ngx_claude_record_ask_t            ask;
} ngx_claude_keeper_t;


/* the session of a keeper: its record, open and locked */
typedef struct {
    char                              *transcripts;
    int                                directory;  /* open; -1: no session */
    int                                fd;
    char                               name[NGX_CLAUDE_RECORD_NAME];
    ngx_claude_record_t                record;
    ngx_uint_t                         resumed;
    struct timespec                    mtime;      /* mtime of the
                                                      transcript */
    unsigned                           dated:1;    /* mtime is set */
    unsigned                           torn:1;     /* may have a hole */
} ngx_claude_keeper_session_t;


/*
 * fork() takes locks that another thread of the worker may have held when the
 * spawner process was forked; _Fork() is the async-signal-safe one.
 */

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 34)
#define NGX_CLAUDE_HAVE__FORK  1
#endif
#endif

#if (NGX_CLAUDE_HAVE__FORK)
#define ngx_claude_spawner_fork  _Fork
#else
#define ngx_claude_spawner_fork  fork
#endif


/* an ngx_spawn_proc_pt, data is ngx_claude_spawner_start_t; _exit()s */
void ngx_claude_spawner_process(ngx_cycle_t *cycle, void *data);

/* the life of a forked keeper; _exit()s */
void ngx_claude_keeper_process(ngx_claude_keeper_t *keeper);

/*
 * Makes what the CLI has of directories of its own, and keeps a key's from
 * being removed as long as the calling process lives.  NGX_ERROR: errno is
 * set.
 */
ngx_int_t ngx_claude_keeper_home(ngx_claude_keeper_t *keeper);

/*
 * Opens the record of a session and waits for its lock, for seconds at most,
 * decides whether the session is resumed or begins, and sets the last two
 * arguments accordingly.  NGX_OK; NGX_ERROR, with *stage and errno; does not
 * return when nobody wants the CLI any more.
 */
ngx_int_t ngx_claude_keeper_session_open(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session, uint32_t *stage);

/*
 * Takes what was written to the lifeline: a record, or less, with which the
 * worker asks for the end of the CLI: NGX_DONE.
 */
ngx_int_t ngx_claude_keeper_session_read(ngx_claude_keeper_t *keeper,
    ngx_claude_keeper_session_t *session);

/* the CLI is about to end, and has ended: its last words are no new use */
void ngx_claude_keeper_session_ending(ngx_claude_keeper_session_t *session);
void ngx_claude_keeper_session_ended(ngx_claude_keeper_session_t *session);

/* deletes what sessions have left for too long in an open directory */
void ngx_claude_keeper_sweep(int transcripts, time_t ttl);

/*
 * A process that deletes what is too old, in the homes below the state path,
 * and in the directory of transcripts; _exit()s.  Either may be "".
 */
void ngx_claude_keeper_sweep_process(char *state, char *transcripts,
    time_t ttl);


#endif /* _NGX_CLAUDE_SPAWNER_WIRE_H_INCLUDED_ */
