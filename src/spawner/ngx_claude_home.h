
/*
 * Homes: the directories that a CLI has for itself, below the state path.
 *
 *     chat/          what the CLIs of chats keep, which is nobody's
 *     keys/<name>/   what the CLIs of a key's agents and named sessions keep:
 *                    their state, transcripts and the records of sessions
 *     work/<name>/   the working directory of a key's agents
 *     names.<sum>    the names of the keys of one nginx's configuration
 *
 * None is inside another, so that an agent's tools, which are confined to the
 * working directory, have nothing else within reach.  The state path is made
 * by the master; all below it by the keepers, as the workers' user.
 */


#ifndef _NGX_CLAUDE_HOME_H_INCLUDED_
#define _NGX_CLAUDE_HOME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_hash.h"
#include "ngx_claude_profile.h"


/* below the state path */
#define NGX_CLAUDE_HOME_CHAT   "/chat"
#define NGX_CLAUDE_HOME_KEYS   "/keys"
#define NGX_CLAUDE_HOME_WORK   "/work"
#define NGX_CLAUDE_HOME_NAMES  "names."

/* at the end of the name of one that is being written */
#define NGX_CLAUDE_HOME_NEW    ".new"

/* below a home: temporary files */
#define NGX_CLAUDE_HOME_TMP    "/tmp"

/* bytes of the longest name, with its zero */
#define NGX_CLAUDE_HOME_NAME   65


typedef struct {
    char    *config;        /* the CLI's own directory, CLAUDE_CONFIG_DIR */
    char    *directory;     /* the working directory */
    char    *transcripts;   /* directory of the transcripts, below config */
    char   **envp;          /* NULL-terminated */
    unsigned made:1;        /* the working directory is below the state path,
                               and made with the home */
    unsigned temporary:1;   /* so is one for temporary files */
    unsigned key:1;         /* it is one key's */
} ngx_claude_home_t;


/*
 * The name of a key's directories, a C string of the pool: that of the key if
 * it can be a file's, else digits of the tenant's hash.  NULL: no memory.
 */
char *ngx_claude_home_name(ngx_pool_t *pool, ngx_str_t *key,
    const ngx_claude_hash_t *tenant);

/*
 * The home of a process of the profile; name: of the key that it is for, NULL
 * for a chat's.  Strings are the profile's, or of the pool.  NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_claude_home(ngx_claude_home_t *home, ngx_pool_t *pool,
    ngx_claude_profile_t *profile, const char *name);

/*
 * Whether the directories of a key's agents of the profile, below the state
 * path, have paths that are short enough for the CLI.  NGX_ERROR: the log says
 * so.
 */
ngx_int_t ngx_claude_home_fits(ngx_claude_profile_t *profile, const char *name,
    ngx_log_t *log);

/*
 * Looks at the state path, for the master and nginx -t: nobody but the
 * workers' user may read it, and where nginx is root nobody else may put
 * something in its place.  One that is not there yet is made later.
 * NGX_ERROR: the log says what is wrong.
 */
ngx_int_t ngx_claude_home_check(ngx_str_t *state, uid_t uid, ngx_log_t *log);

/*
 * Makes the state path, for the master; where it was another user's, that the
 * workers ran as before, gives all of it to the one that they run as now.
 * NGX_ERROR: the log says why not.
 */
ngx_int_t ngx_claude_home_make(const char *state, uid_t uid, gid_t gid,
    ngx_log_t *log);

/*
 * Writes the names of the configuration's keys, char *, sorted here, for the
 * sweep: homes that no nginx has the key of are removed in time.  nginx: what
 * tells this one from others with the same state path, the path of its pid
 * file.  A worker calls it before it has any event; a failure is logged, and
 * nothing is removed then.
 */
void ngx_claude_home_names(const char *state, ngx_array_t *names,
    const ngx_str_t *nginx, ngx_log_t *log);


#endif /* _NGX_CLAUDE_HOME_H_INCLUDED_ */
