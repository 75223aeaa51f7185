
/*
 * Spawner, private: the homes of CLIs on disk.  The keeper of a CLI makes its
 * directories, and a process started for it alone removes those of keys that
 * no nginx has any more.
 *
 * A key's home is locked, shared, by each keeper of its CLIs, so that nothing
 * is removed below one that runs.  As the rest of the spawner it must call
 * async-signal-safe functions only, and system calls.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_claude_home.h"
#include "ngx_claude_spawner_child.h"
#include "ngx_claude_spawner_wire.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>


/* homes that were removed between open() and flock() */
#define HOME_TRIES    100

/* in the home of a key that has gone: when it was first seen */
#define HOME_REMOVED  "nginx-removed"

/* bytes of the longest path of a home */
#define HOME_PATH     4096


/* the names of the keys of one nginx */
typedef struct home_names_s  home_names_t;

struct home_names_s {
    u_char         *data;          /* lines, sorted; the first is empty */
    size_t          len;           /* bytes */
    home_names_t   *next;
};


static ngx_int_t home_lock(char *path);
static char *home_path(char *buf, const char *dir, const char *name);
static void home_sweep(char *state, time_t ttl);
static void home_sweep_key(int keys, int work, const char *name,
    home_names_t *names, time_t ttl);
static void home_sweep_projects(int home, time_t ttl);
static ngx_uint_t home_gone(int home, time_t ttl);
static home_names_t *home_names(int state);
static home_names_t *home_names_read(int state, const char *name);
static ngx_uint_t home_named(home_names_t *names, const char *name);
static int home_compare(const u_char *line, const u_char *last,
    const char *name);


ngx_int_t
ngx_claude_keeper_home(ngx_claude_keeper_t *keeper)
{
    int   fd;
    char  path[HOME_PATH];

    if (keeper->home & NGX_CLAUDE_SPAWNER_KEY) {

        if (home_lock(keeper->config) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        fd = ngx_claude_spawner_directory(keeper->config);

        if (fd != -1) {
            (void) close(fd);

        } else if (ngx_errno != NGX_ENOSPC && ngx_errno != EDQUOT) {
            return NGX_ERROR;
        }

        /* a chat needs no room on a disk */
    }

    if (keeper->home & NGX_CLAUDE_SPAWNER_WORK) {

        fd = ngx_claude_spawner_directory(keeper->directory);
        if (fd == -1) {
            return NGX_ERROR;
        }

        (void) close(fd);
    }

    if ((keeper->home & NGX_CLAUDE_SPAWNER_TMP)
        && home_path(path, keeper->config, NGX_CLAUDE_HOME_TMP))
    {
        (void) mkdir(path, 0700);
    }

    return NGX_OK;
}


/* the lock is its description's, which stays open */

static ngx_int_t
home_lock(char *path)
{
    int         fd;
    ngx_uint_t  i;

    for (i = 0; i < HOME_TRIES; i++) {

        fd = ngx_claude_spawner_directory(path);

        if (fd == -1) {
            return NGX_ERROR;
        }

        while (flock(fd, LOCK_SH) == -1) {
            if (ngx_errno != NGX_EINTR) {
                return NGX_ERROR;
            }
        }

        /* it may have been removed by who had the lock before */

        if (ngx_claude_spawner_same(AT_FDCWD, path, fd)) {
            (void) unlinkat(fd, HOME_REMOVED, 0);
            return NGX_OK;
        }

        (void) close(fd);
    }

    ngx_set_errno(NGX_EAGAIN);

    return NGX_ERROR;
}


/* NULL: it is too long */

static char *
home_path(char *buf, const char *dir, const char *name)
{
    size_t  len;

    len = ngx_strlen(dir);

    if (len + ngx_strlen(name) >= HOME_PATH) {
        return NULL;
    }

    ngx_memcpy(buf, dir, len);
    ngx_memcpy(buf + len, name, ngx_strlen(name) + 1);

    return buf;
}


void
ngx_claude_keeper_sweep_process(char *state, char *transcripts, time_t ttl)
{
    int  fd;

    ngx_claude_spawner_title("claude sweep process", "claude-sweep");

    if (*state) {
        home_sweep(state, ttl);
    }

    if (*transcripts) {
        fd = open(transcripts, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

        if (fd != -1) {
            ngx_claude_keeper_sweep(fd, ttl);
        }
    }

    _exit(0);
}


static void
home_sweep(char *state, time_t ttl)
{
    int                          fd, keys, work;
    long                         n, i;
    u_char                       buf[4096] __attribute__((aligned(8)));
    home_names_t                *names;
    ngx_claude_spawner_entry_t  *entry;

    fd = open(state, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    names = home_names(fd);

    keys = openat(fd, &NGX_CLAUDE_HOME_KEYS[1],
                  O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
    work = openat(fd, &NGX_CLAUDE_HOME_WORK[1],
                  O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (keys == -1) {
        return;
    }

    while ((n = syscall(SYS_getdents64, keys, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);

            if (!ngx_claude_spawner_is_dot(entry->name)) {
                home_sweep_key(keys, work, entry->name, names, ttl);
            }
        }
    }
}


static void
home_sweep_key(int keys, int work, const char *name, home_names_t *names,
    time_t ttl)
{
    int  fd;

    fd = openat(keys, name, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    home_sweep_projects(fd, ttl);

    /* without any list nothing is known to have gone */

    if (names == NULL || home_named(names, name)) {
        (void) unlinkat(fd, HOME_REMOVED, 0);

    } else if (home_gone(fd, ttl)
               && flock(fd, LOCK_EX|LOCK_NB) == 0
               && ngx_claude_spawner_same(keys, name, fd))
    {
        /* the home goes last: without it nobody looks for the other one */

        if (work == -1 || ngx_claude_spawner_remove(work, name) == NGX_OK) {
            (void) ngx_claude_spawner_remove(keys, name);
        }
    }

    (void) close(fd);
}


static void
home_sweep_projects(int home, time_t ttl)
{
    int                          fd, transcripts;
    long                         n, i;
    u_char                       buf[4096] __attribute__((aligned(8)));
    ngx_claude_spawner_entry_t  *entry;

    fd = openat(home, "projects", O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return;
    }

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);

            if (ngx_claude_spawner_is_dot(entry->name)) {
                continue;
            }

            transcripts = openat(fd, entry->name,
                                 O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

            if (transcripts != -1) {
                ngx_claude_keeper_sweep(transcripts, ttl);
                (void) close(transcripts);
            }
        }
    }

    (void) close(fd);
}


/*
 * Whether the key has been gone for long enough.  Since when is not known to
 * anybody, so the first look leaves a mark.
 */

static ngx_uint_t
home_gone(int home, time_t ttl)
{
    int              fd;
    struct stat      st;
    struct timespec  now;

    if (fstatat(home, HOME_REMOVED, &st, AT_SYMLINK_NOFOLLOW) == -1) {

        fd = openat(home, HOME_REMOVED,
                    O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

        if (fd != -1) {
            (void) close(fd);
        }

        return 0;
    }

    (void) clock_gettime(CLOCK_REALTIME, &now);

    return st.st_mtim.tv_sec + ttl <= now.tv_sec;
}


/*
 * The lists of all nginx that have this state path.  NULL: there is none, or
 * one cannot be read, so that it is not known whose keys have gone.
 */

static home_names_t *
home_names(int state)
{
    long                         n, i;
    u_char                       buf[4096] __attribute__((aligned(8)));
    size_t                       len;
    home_names_t                *names, *list;
    ngx_claude_spawner_entry_t  *entry;

    list = NULL;

    while ((n = syscall(SYS_getdents64, state, buf, sizeof(buf))) > 0) {

        for (i = 0; i < n; i += entry->reclen) {
            entry = (ngx_claude_spawner_entry_t *) (buf + i);

            if (ngx_strncmp(entry->name, NGX_CLAUDE_HOME_NAMES,
                            sizeof(NGX_CLAUDE_HOME_NAMES) - 1)
                != 0)
            {
                continue;
            }

            /* a new one that is not in its place yet may still change */

            len = ngx_strlen(entry->name);

            if (len >= sizeof(NGX_CLAUDE_HOME_NEW)
                && ngx_strcmp(entry->name + len
                              - (sizeof(NGX_CLAUDE_HOME_NEW) - 1),
                              NGX_CLAUDE_HOME_NEW)
                   == 0)
            {
                continue;
            }

            names = home_names_read(state, entry->name);

            if (names == NULL) {
                return NULL;
            }

            names->next = list;
            list = names;
        }
    }

    return list;
}


/* memory is the process's, which ends soon */

static home_names_t *
home_names_read(int state, const char *name)
{
    int            fd;
    struct stat    st;
    home_names_t  *names;

    fd = openat(state, name, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);

    if (fd == -1) {
        return NULL;
    }

    names = mmap(NULL, sizeof(home_names_t), PROT_READ|PROT_WRITE,
                 MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (names == MAP_FAILED || fstat(fd, &st) == -1 || st.st_size == 0) {
        (void) close(fd);
        return NULL;
    }

    names->len = st.st_size;
    names->data = mmap(NULL, names->len, PROT_READ, MAP_PRIVATE, fd, 0);

    (void) close(fd);

    return (names->data == MAP_FAILED) ? NULL : names;
}


static ngx_uint_t
home_named(home_names_t *names, const char *name)
{
    int      rc;
    u_char  *low, *high, *line;

    for ( /* void */ ; names; names = names->next) {

        low = names->data;
        high = names->data + names->len;

        while (low < high) {

            /* the line in whose bytes the middle is */

            line = low + (high - low) / 2;

            while (line > low && line[-1] != '\n') {
                line--;
            }

            rc = home_compare(line, high, name);

            if (rc == 0) {
                return 1;
            }

            if (rc > 0) {
                high = line;
                continue;
            }

            while (line < high && *line != '\n') {
                line++;
            }

            low = line + 1;
        }
    }

    return 0;
}


/* as strcmp() of a line, which ends with a newline or at last */

static int
home_compare(const u_char *line, const u_char *last, const char *name)
{
    u_char  c;

    for ( ;; line++, name++) {
        c = (line < last && *line != '\n') ? *line : '\0';

        if (c != (u_char) *name || c == '\0') {
            return (int) c - (int) (u_char) *name;
        }
    }
}
