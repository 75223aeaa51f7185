
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


struct ngx_claude_profile_s {
    char            *binary;       /* absolute, links resolved */
    char            *directory;
    char           **argv;         /* NULL-terminated, argv[0] included */
    char           **envp;         /* NULL-terminated */

    char           **session_argv; /* argv of a process with a transcript; the
                                      last two are the spawner's to set */
    char            *transcripts;  /* the CLI's directory of transcripts */
    char            *gate;         /* directory of the gate; NULL: none */
    ngx_claude_effort_e  effort;   /* of questions that name none, as the
                                      environment has it */

    ngx_claude_hash_t  hash;       /* hash of all above */

    unsigned         single:1;     /* a process serves one turn: the CLI counts
                                      a budget over its whole life */

    unsigned         agent:1;      /* the CLI has tools of its own */

    /* a failure that another start would only repeat, per worker */
    ngx_msec_t       failed_until; /* ngx_current_msec */
    ngx_claude_fail_e  failed;

    /* the binary, as this worker has seen it last; zeroes: not yet */
    uint64_t         inode;
    int64_t          mtime;        /* seconds */
};


/* a launch as the configuration has it, all strings NUL-terminated */
typedef struct {
    ngx_str_t        binary;       /* path as written, or empty: claude on
                                      PATH */
    ngx_str_t        directory;
    ngx_array_t     *env;          /* ngx_str_t, "NAME=value", or NULL */
    ngx_array_t     *args;         /* ngx_str_t, or NULL */
    ngx_str_t        fallback_model;
    ngx_str_t        max_budget;   /* US dollars */
    ngx_str_t        tools;        /* "", "default", or a list with commas */
    ngx_str_t        permission_mode;
    ngx_str_t        mcp_config;   /* a file, or empty */
    char            *gate;         /* directory of the gate, for chats; NULL:
                                      none */
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
 * Looks at the binary, which an update may have replaced.  One that is not
 * there at the moment is as it was.
 */
void ngx_claude_profile_look(ngx_claude_profile_t *profile);


#endif /* _NGX_CLAUDE_PROFILE_H_INCLUDED_ */
