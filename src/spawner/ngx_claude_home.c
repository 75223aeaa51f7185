
/*
 * Homes.  See the header.
 */


#include "ngx_claude_home.h"
#include "ngx_claude_cstr.h"

#include <dirent.h>


/* a name of digits begins so, and no other */
#define HOME_HASHED  "key-"

/* levels of directories that change hands */
#define HOME_DEPTH  64

/*
 * bytes of a directory for temporary files in which the sockets of the CLI's
 * sandbox have room: "/claude-http-" with 16 digits and ".sock", of 107 in all
 */
#define HOME_SOCKETS  73

/* the variable for where the CLI keeps its login, if not in its own */
#define HOME_LOGIN  "CLAUDE_SECURESTORAGE_CONFIG_DIR"

/* "names." and eight digits, in a directory */
#define HOME_NAMES  sizeof("/" NGX_CLAUDE_HOME_NAMES "00000000"               \
                           NGX_CLAUDE_HOME_NEW)


static ngx_uint_t home_is_name(ngx_str_t *key);
static char *home_path(ngx_pool_t *pool, const char *state, const char *below,
    const char *name);
static char **home_env(ngx_pool_t *pool, ngx_claude_home_t *home,
    ngx_claude_profile_t *profile);
static ngx_uint_t home_is(const char *entry, const char *name);
static char *home_entry(ngx_pool_t *pool, const char *name, const char *dir,
    const char *below);
static ngx_uint_t home_has_parent(char *path);
static ngx_int_t home_check_inside(const char *path, ngx_log_t *log);
static ngx_uint_t home_is_ours(const char *name);
static ngx_int_t home_give(int fd, uid_t from, uid_t uid, gid_t gid,
    ngx_uint_t depth);
static ngx_int_t home_check_parent(char *path, ngx_log_t *log);
static int ngx_libc_cdecl home_compare(const void *one, const void *two);
static ngx_int_t home_write(ngx_fd_t fd, ngx_array_t *names, ngx_log_t *log);


char *
ngx_claude_home_name(ngx_pool_t *pool, ngx_str_t *key,
    const ngx_claude_hash_t *tenant)
{
    u_char             *name, *p;
    ngx_sha1_t          sha1;
    ngx_claude_hash_t   hash;

    name = ngx_pnalloc(pool, NGX_CLAUDE_HOME_NAME);
    if (name == NULL) {
        return NULL;
    }

    if (home_is_name(key)) {
        p = ngx_cpymem(name, key->data, key->len);
        *p = '\0';

        return (char *) ngx_claude_cstr(name);
    }

    /* a sum of the tenant, which stands for the secret, and not that itself */

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, "home", sizeof("home"));
    ngx_claude_hash_add(&sha1, tenant);
    ngx_claude_hash_final(&hash, &sha1);

    p = ngx_cpymem(name, HOME_HASHED, sizeof(HOME_HASHED) - 1);
    p = ngx_hex_dump(p, hash.hash, sizeof(hash.hash));
    *p = '\0';

    return (char *) ngx_claude_cstr(name);
}


/* letters, digits and what else a path's component may have everywhere */

static ngx_uint_t
home_is_name(ngx_str_t *key)
{
    u_char      c;
    ngx_uint_t  i;

    if (key->len == 0 || key->len >= NGX_CLAUDE_HOME_NAME
        || ngx_claude_begins(key, HOME_HASHED))
    {
        return 0;
    }

    for (i = 0; i < key->len; i++) {
        c = key->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_'
              || (i && (c == '-' || c == '.'))))
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_claude_home(ngx_claude_home_t *home, ngx_pool_t *pool,
    ngx_claude_profile_t *profile, const char *name)
{
    u_char  *p;

    ngx_memzero(home, sizeof(ngx_claude_home_t));

    home->key = (name != NULL);
    home->directory = profile->directory;

    home->config = home_path(pool, profile->state,
                             name ? NGX_CLAUDE_HOME_KEYS
                                  : NGX_CLAUDE_HOME_CHAT, name);
    if (home->config == NULL) {
        return NGX_ERROR;
    }

    if (name && profile->homely) {
        home->made = 1;
        home->directory = home_path(pool, profile->state,
                                    NGX_CLAUDE_HOME_WORK, name);
        if (home->directory == NULL) {
            return NGX_ERROR;
        }
    }

    home->transcripts = ngx_pnalloc(pool, ngx_strlen(home->config)
                                          + sizeof("/projects/")
                                          + 2 * (ngx_strlen(profile->real)
                                             + ngx_strlen(home->directory)));
    if (home->transcripts == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf((u_char *) home->transcripts, "%s/projects/",
                    home->config);
    p = ngx_claude_profile_projects(p, home->made ? home->directory
                                               : profile->real);
    *p = '\0';

    home->envp = home_env(pool, home, profile);

    return home->envp ? NGX_OK : NGX_ERROR;
}


/* name: NULL for none */

static char *
home_path(ngx_pool_t *pool, const char *state, const char *below,
    const char *name)
{
    u_char  *path;

    path = ngx_pnalloc(pool, ngx_strlen(state) + ngx_strlen(below)
                             + (name ? ngx_strlen(name) : 0) + 2);
    if (path == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(path, "%s%s%s%s%Z", state, below, name ? "/" : "",
                       name ? name : "");

    return (char *) ngx_claude_cstr(path);
}


/*
 * The environment of the profile, with the CLI's own directory.  A login that
 * the CLI keeps in a file, and renews there, is one for all homes: two copies
 * of it would spend its refresh token twice.  Temporary files are the home's,
 * too: the CLI's place for them is named after the user alone, and whoever is
 * first may make it.
 */

static char **
home_env(ngx_pool_t *pool, ngx_claude_home_t *home,
    ngx_claude_profile_t *profile)
{
    char        **envp, **e;
    ngx_uint_t    n, login, temporary;

    login = 1;
    temporary = 1;

    for (n = 0; profile->envp[n]; n++) {
        if (home_is(profile->envp[n], "TMPDIR")) {
            temporary = 0;
        }

        if (home_is(profile->envp[n], HOME_LOGIN)) {
            login = 0;
        }
    }

    envp = ngx_palloc(pool, (n + 4) * sizeof(char *));
    if (envp == NULL) {
        return NULL;
    }

    e = envp;

    for (n = 0; profile->envp[n]; n++) {
        if (!home_is(profile->envp[n], "CLAUDE_CONFIG_DIR")) {
            *e++ = profile->envp[n];
        }
    }

    *e = home_entry(pool, "CLAUDE_CONFIG_DIR=", home->config, "");
    if (*e++ == NULL) {
        return NULL;
    }

    if (login) {
        *e = home_entry(pool, HOME_LOGIN "=", profile->own, "");
        if (*e++ == NULL) {
            return NULL;
        }
    }

    home->temporary = temporary;

    if (temporary) {
        *e = home_entry(pool, "TMPDIR=", home->config, NGX_CLAUDE_HOME_TMP);
        if (*e++ == NULL) {
            return NULL;
        }
    }

    *e = NULL;

    return envp;
}


/* whether an entry of an environment is that of a variable */

static ngx_uint_t
home_is(const char *entry, const char *name)
{
    size_t  len;

    len = ngx_strlen(name);

    return ngx_strncmp(entry, name, len) == 0 && entry[len] == '=';
}


static char *
home_entry(ngx_pool_t *pool, const char *name, const char *dir,
    const char *below)
{
    u_char  *entry;

    entry = ngx_pnalloc(pool, ngx_strlen(name) + ngx_strlen(dir)
                              + ngx_strlen(below) + 1);
    if (entry == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(entry, "%s%s%s%Z", name, dir, below);

    return (char *) ngx_claude_cstr(entry);
}


ngx_int_t
ngx_claude_home_fits(ngx_claude_profile_t *profile, const char *name,
    ngx_log_t *log)
{
    size_t      len;
    ngx_uint_t  n;

    len = ngx_strlen(profile->state) + ngx_strlen(name);

    if (profile->homely
        && len + sizeof(NGX_CLAUDE_HOME_WORK "/") - 1
           > NGX_CLAUDE_PROFILE_PROJECTS)
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_state_path: the path \"%s\" is too long for the "
                      "working directory of agents beneath it, which has "
                      "%d characters at most", profile->state,
                      NGX_CLAUDE_PROFILE_PROJECTS);
        return NGX_ERROR;
    }

    len += sizeof(NGX_CLAUDE_HOME_KEYS "/" NGX_CLAUDE_HOME_TMP) - 1;

    if (!profile->sandbox || len <= HOME_SOCKETS) {
        return NGX_OK;
    }

    for (n = 0; profile->envp[n]; n++) {
        if (home_is(profile->envp[n], "TMPDIR")) {
            return NGX_OK;
        }
    }

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "claude_sandbox: its sockets would be in \"%s"
                  NGX_CLAUDE_HOME_KEYS "/%s" NGX_CLAUDE_HOME_TMP "\", whose "
                  "%uz characters are more than %d: write a shorter "
                  "claude_state_path", profile->state, name, len,
                  HOME_SOCKETS);
    return NGX_ERROR;
}


ngx_int_t
ngx_claude_home_check(ngx_str_t *state, uid_t uid, ngx_log_t *log)
{
    char         *path;
    struct stat   st;

    /* the path of a directive, which ends with a NUL */

    path = (char *) ngx_claude_cstr(state->data);

    if (geteuid() == 0 && uid != 0
        && home_check_parent(path, log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lstat(path, &st) == -1) {

        if (ngx_errno == NGX_ENOENT && home_has_parent(path)) {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be made: write "
                      "another path", path);
        return NGX_ERROR;
    }

    if (!S_ISDIR(st.st_mode)) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_state_path: \"%s\" is not a directory: remove "
                      "it or write another path", path);
        return NGX_ERROR;
    }

    if (st.st_mode & 077) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_state_path: \"%s\" is open to others than its "
                      "owner, and what clients say is to be kept there: "
                      "change its mode to 700", path);
        return NGX_ERROR;
    }

    if (st.st_uid == uid) {
        return NGX_OK;
    }

    if (geteuid() != 0) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_state_path: \"%s\" does not belong to the "
                      "user that nginx runs as: write another path", path);
        return NGX_ERROR;
    }

    return home_check_inside(path, log);
}


/* what is in it is given to the workers' user too, so it has to be ours */

static ngx_int_t
home_check_inside(const char *path, ngx_log_t *log)
{
    DIR            *dir;
    ngx_int_t       rc;
    struct dirent  *entry;

    dir = opendir(path);

    if (dir == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be read", path);
        return NGX_ERROR;
    }

    rc = NGX_OK;

    while ((entry = readdir(dir)) != NULL) {

        if (!home_is_ours(ngx_claude_cstr(entry->d_name))) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "claude_state_path: \"%s\" has \"%s\" in it, which "
                          "is none of nginx's, and would be given to the "
                          "workers' user: write another path", path,
                          ngx_claude_cstr(entry->d_name));
            rc = NGX_ERROR;
            break;
        }
    }

    (void) closedir(dir);

    return rc;
}


static ngx_uint_t
home_is_ours(const char *name)
{
    const char **ours;

    static const char  *names[] = {
        ".", "..", "lost+found", NGX_CLAUDE_HOME_CHAT, NGX_CLAUDE_HOME_KEYS,
        NGX_CLAUDE_HOME_WORK, NULL
    };

    for (ours = names; *ours; ours++) {
        if (ngx_strcmp(name, *ours + (**ours == '/')) == 0) {
            return 1;
        }
    }

    return ngx_strncmp(name, NGX_CLAUDE_HOME_NAMES,
                       sizeof(NGX_CLAUDE_HOME_NAMES) - 1)
           == 0;
}


/* whether the directory above can be written to; errno says why not */

static ngx_uint_t
home_has_parent(char *path)
{
    int   rc;
    char *slash;

    slash = strrchr(path, '/');

    if (slash == NULL || slash == path) {
        return access("/", W_OK|X_OK) == 0;
    }

    *slash = '\0';
    rc = access(path, W_OK|X_OK);
    *slash = '/';

    return rc == 0;
}


ngx_int_t
ngx_claude_home_make(const char *state, uid_t uid, gid_t gid, ngx_log_t *log)
{
    int          fd;
    ngx_int_t    rc;
    struct stat  st;

    rc = NGX_ERROR;

    if (mkdir(state, 0700) == -1 && ngx_errno != NGX_EEXIST) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be made", state);
        return NGX_ERROR;
    }

    fd = open(state, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);

    if (fd != -1 && fstat(fd, &st) == 0) {
        rc = (st.st_uid == uid) ? NGX_OK
                                : home_give(fd, st.st_uid, uid, gid, 0);
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be given to the "
                      "workers' user", state);
    }

    if (fd != -1) {
        (void) close(fd);
    }

    return rc;
}


/*
 * Gives a directory, and what is in it of the same owner, to another one.  The
 * owner may change it meanwhile: what is given is what was looked at, no link
 * is followed, and a file with several names may lie elsewhere, too.
 */

static ngx_int_t
home_give(int fd, uid_t from, uid_t uid, gid_t gid, ngx_uint_t depth)
{
    int             one, below;
    DIR            *dir;
    ngx_int_t       rc, given;
    struct stat     st;
    struct dirent  *entry;

    rc = NGX_OK;

    below = openat(fd, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dir = (below == -1) ? NULL : fdopendir(below);

    if (dir == NULL) {

        if (below != -1) {
            (void) close(below);
        }

        return NGX_ERROR;
    }

    while (depth < HOME_DEPTH && (entry = readdir(dir)) != NULL) {

        if (ngx_strcmp(ngx_claude_cstr(entry->d_name), ".") == 0
            || ngx_strcmp(ngx_claude_cstr(entry->d_name), "..") == 0)
        {
            continue;
        }

        one = openat(fd, entry->d_name, O_PATH|O_NOFOLLOW|O_CLOEXEC);

        if (one == -1) {
            continue;
        }

        if (fstat(one, &st) == 0 && st.st_uid == from) {

            if (S_ISDIR(st.st_mode)) {
                given = home_give(one, from, uid, gid, depth + 1);

            } else if (st.st_nlink == 1
                       && fchownat(one, "", uid, gid, AT_EMPTY_PATH) == -1)
            {
                given = NGX_ERROR;

            } else {
                given = NGX_OK;
            }

            if (given != NGX_OK) {
                rc = NGX_ERROR;
            }
        }

        (void) close(one);
    }

    (void) closedir(dir);

    return (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == -1) ? NGX_ERROR : rc;
}


/*
 * nginx makes the directory, and gives it to the workers' user, as root: who
 * can put another one in its place would be given that.
 */

static ngx_int_t
home_check_parent(char *path, ngx_log_t *log)
{
    char         *slash;
    ngx_int_t     rc;
    ngx_err_t     err;
    struct stat   st;

    slash = strrchr(path, '/');

    if (slash == NULL || slash == path) {
        return NGX_OK;
    }

    *slash = '\0';

    rc = stat(path, &st);
    err = ngx_errno;

    if (rc == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, err,
                      "claude_state_path: \"%s\" cannot be found", path);
        rc = NGX_ERROR;

    } else if (st.st_uid != 0
               || ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
    {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_state_path: \"%s\", where it is to be, belongs "
                      "to another user than root or can be written by "
                      "others: write another path", path);
        rc = NGX_ERROR;

    } else {
        rc = NGX_OK;
    }

    *slash = '/';

    return rc;
}


void
ngx_claude_home_names(const char *state, ngx_array_t *names,
    const ngx_str_t *nginx, ngx_log_t *log)
{
    char       *path, *temporary;
    u_char     *p;
    uint32_t    sum;
    ngx_fd_t    fd;
    ngx_int_t   rc;

    if (names->nelts > 1) {
        ngx_qsort(names->elts, names->nelts, sizeof(char *), home_compare);
    }

    p = ngx_alloc(2 * (ngx_strlen(state) + HOME_NAMES), log);
    if (p == NULL) {
        return;
    }

    sum = ngx_crc32_long(nginx->data, nginx->len);

    path = (char *) ngx_claude_cstr(p);
    p = ngx_sprintf(p, "%s/" NGX_CLAUDE_HOME_NAMES "%08xD%Z", state, sum);

    temporary = (char *) ngx_claude_cstr(p);
    (void) ngx_sprintf(p, "%s" NGX_CLAUDE_HOME_NEW "%Z", path);

    fd = open(temporary, O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW|O_CLOEXEC, 0600);

    rc = NGX_ERROR;

    if (fd != NGX_INVALID_FILE) {
        rc = home_write(fd, names, log);
        (void) close(fd);
    }

    if (rc != NGX_OK || rename(temporary, path) == -1) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "claude_state_path: \"%s\" cannot be written, what "
                      "former keys have left there stays", path);
        (void) unlink(temporary);

        /* the one before does not know new keys: an empty one is no list */

        fd = open(path, O_WRONLY|O_TRUNC|O_NOFOLLOW|O_CLOEXEC);

        if (fd != NGX_INVALID_FILE) {
            (void) close(fd);
        }
    }

    ngx_free(path);
}


static int ngx_libc_cdecl
home_compare(const void *one, const void *two)
{
    return strcmp(*(char *const *) one, *(char *const *) two);
}


/* a name a line, with a newline before the first */

static ngx_int_t
home_write(ngx_fd_t fd, ngx_array_t *names, ngx_log_t *log)
{
    char        **name;
    size_t        len;
    u_char       *buf, *p;
    ssize_t       n;
    ngx_uint_t    i;

    name = names->elts;

    buf = ngx_alloc(1 + names->nelts * NGX_CLAUDE_HOME_NAME, log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = buf;
    *p++ = '\n';

    for (i = 0; i < names->nelts; i++) {

        /* keys of several locations */

        if (i && ngx_strcmp(name[i], name[i - 1]) == 0) {
            continue;
        }

        p = ngx_cpymem(p, name[i], ngx_strlen(name[i]));
        *p++ = '\n';
    }

    len = p - buf;
    n = write(fd, buf, len);

    ngx_free(buf);

    return (n == (ssize_t) len) ? NGX_OK : NGX_ERROR;
}
