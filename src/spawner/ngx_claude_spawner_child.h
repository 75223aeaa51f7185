
/*
 * Spawner, private: what the processes below a worker have in common, the
 * spawner process, the keepers and the one that sweeps.  Each is forked from a
 * worker that may have threads, so all of this is async-signal-safe.
 */


#ifndef _NGX_CLAUDE_SPAWNER_CHILD_H_INCLUDED_
#define _NGX_CLAUDE_SPAWNER_CHILD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* an entry of a directory, as getdents64() has it */
typedef struct {
    uint64_t         ino;
    int64_t          off;
    unsigned short   reclen;
    unsigned char    type;
    char             name[];
} ngx_claude_spawner_entry_t;


/* "nginx: <title>" for ps, name for comm; writes no log line */
void ngx_claude_spawner_title(char *title, const char *name);

/* msec, by the monotonic clock */
ngx_msec_t ngx_claude_spawner_now(void);

/*
 * Sends SIGKILL to the children of the calling process, but for those that
 * keep() returns 1 for.  Only children, which cannot be reaped meanwhile, so
 * that no pid is a stranger's.  NGX_ERROR: the kernel does not list them.
 */
ngx_int_t ngx_claude_spawner_kill_children(
    ngx_uint_t (*keep)(void *data, pid_t pid), void *data);

/*
 * Opens a directory, and makes it, and those above it, as the CLI would, with
 * mode 700.  The path is written to meanwhile.  -1: errno is set.
 */
int ngx_claude_spawner_directory(char *path);

/* whether what is open has that name still; follows no link */
ngx_uint_t ngx_claude_spawner_same(int directory, const char *name, int fd);

/*
 * Removes a directory and all in it, however deep; links are not followed.
 * NGX_ERROR: something is still there.
 */
ngx_int_t ngx_claude_spawner_remove(int directory, const char *name);

/* whether an entry is "." or ".." */
ngx_uint_t ngx_claude_spawner_is_dot(const char *name);


#endif /* _NGX_CLAUDE_SPAWNER_CHILD_H_INCLUDED_ */
