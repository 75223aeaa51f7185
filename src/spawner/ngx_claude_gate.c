
/*
 * The gate's files.  See the header.
 */


#include "ngx_claude_gate.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_gate_text.h"
#include "ngx_claude_hash.h"
#include "ngx_claude_table.h"



/* digits of the text's digest in the name of the directory */
#define GATE_DIGITS  16

/* bytes of the files that are compared at once */
#define GATE_PIECE   1024


typedef struct {
    const char  *name;                     /* below the plugin's directory */
    const char  *text;
} gate_file_t;


static ngx_int_t gate_directory(const char *path, ngx_log_t *log);
static ngx_int_t gate_safe(char *path, ngx_log_t *log);
static ngx_int_t gate_file(const char *path, const gate_file_t *file,
    ngx_log_t *log);
static ngx_int_t gate_same(const char *path, const gate_file_t *file);
static ngx_int_t gate_same_text(ngx_fd_t fd, const char *text);
static const char *gate_print(u_char *buf, const char *path,
    const char *name);


/*
 * The files' owner, and whether they could not be written, so that whatever is
 * there is another's: the master's, in whose forks both are as in itself.
 */

static uid_t       gate_owner;
static ngx_uint_t  gate_void;


static const gate_file_t  gate_files[] = {
    { "/.claude-plugin/plugin.json", NGX_CLAUDE_GATE_PLUGIN },
    { "/hooks/hooks.json", NGX_CLAUDE_GATE_HOOKS },
    { "/hooks/register.mjs", NGX_CLAUDE_GATE_REGISTER },
    { NULL, NULL }
};


static const char  *gate_directories[] = {
    "",
    "/.claude-plugin",
    "/hooks",
    NULL
};


static const struct {
    const char  *name;
    const char  *words;
} gate_states[] = {
    [NGX_CLAUDE_GATE_NONE] = {
        "off", "it is not loaded"
    },
    [NGX_CLAUDE_GATE_UNKNOWN] = {
        "unknown", "no CLI has shown it yet"
    },
    [NGX_CLAUDE_GATE_WORKS] = {
        "works", "it works"
    },
    [NGX_CLAUDE_GATE_FILES] = {
        "files", "its files are missing or are not what nginx wrote, see "
                 "claude_gate_path"
    },
    [NGX_CLAUDE_GATE_VERSION] = {
        "version", "the CLI is too old for it, 2.1.328 or later is needed"
    },
    [NGX_CLAUDE_GATE_SILENT] = {
        "silent", "the CLI did not load it: see claude_args and claude_env "
                  "for what turns plugins or hooks off"
    },
    [NGX_CLAUDE_GATE_PASSED] = {
        "passed", "the CLI asks the model without it: managed settings of "
                  "this machine, or another provider, keep plugins from it"
    },
    [NGX_CLAUDE_GATE_SHUT] = {
        "shut", "it let no question through, since it does not know this CLI, "
                "which is started without it until nginx is reloaded"
    }
};

ngx_claude_table_check(gate_states, NGX_CLAUDE_GATE_STATES);


const char *
ngx_claude_gate_name(ngx_claude_gate_e state)
{
    return gate_states[state].name;
}


const char *
ngx_claude_gate_words(ngx_claude_gate_e state)
{
    return gate_states[state].words;
}


char *
ngx_claude_gate_path(ngx_pool_t *pool, ngx_str_t *parent)
{
    char               *real, *path;
    u_char             *p;
    size_t              len;
    ngx_sha1_t          sha1;
    ngx_claude_hash_t   hash;
    const gate_file_t  *file;

    ngx_sha1_init(&sha1);

    for (file = gate_files; file->name; file++) {
        ngx_sha1_update(&sha1, file->text, ngx_strlen(file->text) + 1);
    }

    ngx_claude_hash_final(&hash, &sha1);

    gate_owner = geteuid();

    /* links are resolved once, by the master: none is followed later */

    real = realpath(ngx_claude_cstr(parent->data), NULL);

    len = real ? ngx_strlen(real) : parent->len;

    path = ngx_pnalloc(pool, len + sizeof("/claude-gate-") + GATE_DIGITS);

    if (path) {
        p = ngx_cpymem(path, real ? (u_char *) real : parent->data, len);
        p = ngx_cpymem(p, "/claude-gate-", sizeof("/claude-gate-") - 1);
        p = ngx_hex_dump(p, hash.hash, GATE_DIGITS / 2);
        *p = '\0';
    }

    free(real);

    return path;
}


ngx_int_t
ngx_claude_gate_write(char *path, ngx_log_t *log)
{
    u_char              buf[NGX_MAX_PATH];
    const char        **directory;
    const gate_file_t  *file;

    gate_void = 1;

    if (gate_owner == 0 && gate_safe(path, log) != NGX_OK) {
        return NGX_ERROR;
    }

    for (directory = gate_directories; *directory; directory++) {
        if (gate_directory(gate_print(buf, path, *directory), log) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (file = gate_files; file->name; file++) {
        if (gate_same(path, file) != NGX_OK
            && gate_file(path, file, log) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    gate_void = 0;

    return NGX_OK;
}


ngx_int_t
ngx_claude_gate_check(const char *path)
{
    const gate_file_t  *file;

    if (gate_void) {
        ngx_set_errno(ESTALE);
        return NGX_ERROR;
    }

    for (file = gate_files; file->name; file++) {
        if (gate_same(path, file) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Whether nobody but root can put anything else at the path: each directory on
 * it is root's, and others may not write to it, or not to what is root's.
 */

static ngx_int_t
gate_safe(char *path, ngx_log_t *log)
{
    char         *p, save;
    ngx_err_t     err;
    ngx_uint_t    safe;
    struct stat   st;

    for (p = path + 1; *p; p++) {

        if (*p != '/' && p != path + 1) {
            continue;
        }

        save = *p;

        ngx_set_errno(0);

        if (p == path + 1) {
            safe = (stat("/", &st) == 0);

        } else {
            *p = '\0';
            safe = (lstat(path, &st) == 0);
        }

        err = ngx_errno;

        safe = safe && S_ISDIR(st.st_mode) && st.st_uid == 0
               && (!(st.st_mode & (S_IWGRP|S_IWOTH))
                   || (st.st_mode & S_ISVTX));

        if (!safe) {
            ngx_log_error(NGX_LOG_WARN, log, err,
                          "claude_gate_path: \"%s\" is not a directory that "
                          "root alone can write to, so the gate is not "
                          "written there: write another path",
                          (p == path + 1) ? "/" : path);
        }

        *p = save;

        if (!safe) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* makes a directory, which the workers' user may read */

static ngx_int_t
gate_directory(const char *path, ngx_log_t *log)
{
    struct stat  st;

    if (mkdir(path, 0755) == 0) {

        /* whatever the umask */

        if (chmod(path, 0755) == 0) {
            return NGX_OK;
        }

    } else if (ngx_errno == NGX_EEXIST && lstat(path, &st) == 0) {

        if (S_ISDIR(st.st_mode) && st.st_uid == gate_owner
            && !(st.st_mode & (S_IWGRP|S_IWOTH)))
        {
            return NGX_OK;
        }

        ngx_set_errno(NGX_EEXIST);
    }

    ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                  "claude_gate_path: \"%s\" cannot be made, CLIs run without "
                  "the gate", path);

    return NGX_ERROR;
}


/* writes a file beside the one of that name, and puts it in its place */

static ngx_int_t
gate_file(const char *path, const gate_file_t *file, ngx_log_t *log)
{
    u_char       buf[NGX_MAX_PATH], tmp[NGX_MAX_PATH];
    size_t       len;
    ngx_fd_t     fd;
    ngx_uint_t   written;
    const char  *name, *beside;

    name = gate_print(buf, path, file->name);
    beside = ngx_claude_cstr_print(tmp, sizeof(tmp), "%s.%P", name, ngx_pid);

    (void) ngx_delete_file(beside);

    fd = open(beside, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0644);

    if (fd != NGX_INVALID_FILE) {
        len = ngx_strlen(file->text);

        written = write(fd, file->text, len) == (ssize_t) len
                  && fchmod(fd, 0644) == 0;

        if (ngx_close_file(fd) != NGX_FILE_ERROR && written
            && ngx_rename_file(beside, name) != NGX_FILE_ERROR)
        {
            return NGX_OK;
        }
    }

    ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                  "claude_gate_path: \"%s\" cannot be written, CLIs run "
                  "without the gate", name);

    (void) ngx_delete_file(beside);

    return NGX_ERROR;
}


/* NGX_ERROR: errno says why */

static ngx_int_t
gate_same(const char *path, const gate_file_t *file)
{
    u_char       buf[NGX_MAX_PATH];
    ngx_fd_t     fd;
    ngx_int_t    rc;
    struct stat  st;

    fd = open(gate_print(buf, path, file->name),
              O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_NONBLOCK);

    if (fd == -1) {
        return NGX_ERROR;
    }

    rc = (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
          && st.st_uid == gate_owner
          && !(st.st_mode & (S_IWGRP|S_IWOTH)))
         ? gate_same_text(fd, file->text) : NGX_ERROR;

    (void) close(fd);

    ngx_set_errno(ESTALE);

    return rc;
}


static ngx_int_t
gate_same_text(ngx_fd_t fd, const char *text)
{
    u_char   piece[GATE_PIECE];
    ssize_t  n;

    for ( ;; ) {
        n = read(fd, piece, sizeof(piece));

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {
            return (n == 0 && *text == '\0') ? NGX_OK : NGX_ERROR;
        }

        if (ngx_strlen(text) < (size_t) n || ngx_memcmp(piece, text, n) != 0) {
            return NGX_ERROR;
        }

        text += n;
    }
}


/* the path of a part of the plugin; a path that is too long opens nothing */

static const char *
gate_print(u_char *buf, const char *path, const char *name)
{
    return ngx_claude_cstr_print(buf, NGX_MAX_PATH, "%s%s", path, name);
}
