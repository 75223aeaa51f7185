
/*
 * Launch profiles: what a CLI is started with.  Binary, directory, arguments
 * and environment are fixed when the configuration is read, so no client text
 * can get into them; two locations with equal profiles share processes.
 */


#ifndef _NGX_CLAUDE_PROFILE_H_INCLUDED_
#define _NGX_CLAUDE_PROFILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_turn.h"


/* the CLI shortens the name of a directory of transcripts that is longer */
#define NGX_CLAUDE_PROFILE_PROJECTS  200


/* whose a process is from its start on */
typedef struct {
    const char         *home;      /* name of its directories, the
                                      configuration's; NULL: nobody's */
    ngx_claude_hash_t   tenant;
} ngx_claude_owner_t;


struct ngx_claude_profile_s {
    char            *binary;       /* absolute, links resolved */
    char            *directory;    /* working directory; of agents that have
                                      none but their key's, the empty one */
    char            *real;         /* the same, links resolved */
    char            *state;        /* claude_state_path, links resolved */
    char            *own;          /* what the CLI has without a home: where
                                      a login is that it keeps in a file */
    char           **argv;         /* NULL-terminated, argv[0] included */
    char           **envp;         /* NULL-terminated */

    char           **session_argv; /* argv of a process with a transcript; the
                                      last two are the spawner's to set */
    char            *transcripts;  /* where those of the working directory
                                      are by default, and were before there
                                      were homes */
    char            *gate;         /* directory of the gate; NULL: none */
    ngx_claude_effort_e  effort;   /* of questions that name none, as the
                                      environment has it */

    ngx_claude_hash_t  hash;       /* hash of all above */

    unsigned         single:1;     /* a process serves one turn: the CLI counts
                                      a budget over its whole life */

    unsigned         agent:1;      /* the CLI has tools of its own */

    unsigned         homely:1;     /* a key's own working directory */

    unsigned         sandbox:1;    /* the CLI's own, for its commands */

    /* a failure that another start would only repeat, per worker */
    ngx_msec_t       failed_until; /* ngx_current_msec */
    ngx_claude_fail_e  failed;

    /* the key that an agent of this worker's was of last, or the only one */
    ngx_claude_owner_t  owner;
    ngx_uint_t          owners;    /* keys that may use it */

    /* the binary, as this worker has seen it last; zeroes: not yet */
    uint64_t         inode;
    int64_t          mtime;        /* seconds */
};


/* what holds the commands of an agent back */
#define NGX_CLAUDE_SANDBOX_OFF       0
#define NGX_CLAUDE_SANDBOX_ON        1     /* the CLI's own sandbox */
#define NGX_CLAUDE_SANDBOX_EXTERNAL  2     /* the binary, which puts the CLI
                                              into a box */


/* a launch as the configuration has it, all strings NUL-terminated */
typedef struct {
    ngx_str_t        binary;       /* path as written, or empty: claude on
                                      PATH */
    ngx_str_t        directory;
    ngx_str_t        state;        /* the state path, links resolved */
    ngx_array_t     *env;          /* ngx_str_t, "NAME=value", or NULL */
    ngx_array_t     *args;         /* ngx_str_t, or NULL */
    ngx_str_t        fallback_model;
    ngx_str_t        max_budget;   /* US dollars */
    ngx_str_t        tools;        /* "", "default", or a list with commas */
    ngx_str_t        permission_mode;
    ngx_str_t        mcp_config;   /* a file, or empty */
    char            *gate;         /* directory of the gate, for chats; NULL:
                                      none */
    unsigned         shared:1;     /* the directory is the operator's, for all
                                      keys */
    unsigned         sandbox:2;    /* what an agent's commands run in */
} ngx_claude_launch_t;


/*
 * Makes the profile of a launch, for workers that run as the user: HOME is
 * that user's, and the whole path of the binary and the directory is checked
 * for that user.  NULL: the log says what is wrong and what to write.  Runs
 * when the configuration is read; allocates from the pool.
 */
ngx_claude_profile_t *ngx_claude_profile_create(ngx_pool_t *pool,
    ngx_claude_launch_t *launch, uid_t uid, gid_t gid, ngx_log_t *log);

/*
 * Writes the name of the directory that the CLI keeps transcripts in, below
 * its own: one for each working directory, with a dash for what is no letter
 * or digit of each UTF-16 unit of its path, all links resolved (2.1.330).
 * Returns the end; there are two bytes for each of the path.
 */
u_char *ngx_claude_profile_projects(u_char *p, const char *path);

/*
 * Looks at the binary, which an update may have replaced.  One that is not
 * there at the moment is as it was.
 */
void ngx_claude_profile_look(ngx_claude_profile_t *profile);


#endif /* _NGX_CLAUDE_PROFILE_H_INCLUDED_ */
