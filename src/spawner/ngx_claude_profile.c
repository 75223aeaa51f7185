
/*
 * Launch profiles.  See the header.
 */


#include "ngx_claude_profile.h"
#include "ngx_claude_cstr.h"

#include <grp.h>
#include <pwd.h>
#include <ngx_sha1.h>


#define PROFILE_PATH                                                          \
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* PATH for a CLI that has nothing to start: see profile_path() */
#define PROFILE_NO_PATH  "PATH=/nonexistent"

#define PROFILE_GROUPS  256

/* bytes read of the CLI's file of settings, which has a login early */
#define PROFILE_CONSOLE  (1024 * 1024)

/* the permission mode in which nothing is asked for */
#define PROFILE_BYPASS  "bypassPermissions"

/* kinds of a checked path's end */
#define PROFILE_EXECUTE    0
#define PROFILE_DIRECTORY  1
#define PROFILE_READ       2

/* strings of ngx_claude_launch_t end with a NUL */
#define profile_cstr(s)  ((char *) ngx_claude_cstr((s).data))


/*
 * Messages of other sessions never reach this one, though it had a socket; and
 * the CLI's own plugins, which a chat has no use for, are off.
 */

#define PROFILE_REFUSE  "\"crossSessionInbound\":\"refuse\""

#define PROFILE_SETTINGS_CHAT                                                 \
    "{" PROFILE_REFUSE ",\"enabledPlugins\":{"                                \
    "\"cc-plugin-agents-md@builtin\":false,"                                  \
    "\"cc-plugin-privacy@builtin\":false,"                                    \
    "\"cc-plugin-plugin-authoring@builtin\":false}}"

/*
 * An agent may ask for one below that works in a worktree of the repository
 * that its directory is in, and so reads and writes what is outside of that.
 * A hook that fails is all that keeps the CLI from making one.
 */

#define PROFILE_NO_WORKTREE                                                   \
    "\"hooks\":{\"WorktreeCreate\":[{\"hooks\":"                              \
    "[{\"type\":\"command\",\"command\":\"exit 1\"}]}]}"

/*
 * Tools that reach other sessions, act after the answer or address somebody
 * else, of those that "--tools default" offers in 2.1.260 to 2.1.330, or may
 * offer to some accounts, and that no variable takes away.  CLIs ignore names
 * that they do not know.
 */

#define PROFILE_DENIED                                                        \
    "ListAgents,Monitor,PushNotification,ReadNotifications,RemoteTrigger,"    \
    "ScheduleWakeup,SendMessage,SetGoal"

/* tools that one switch may take away, with the NULL behind them */
#define PROFILE_LOCK_TOOLS  5


typedef struct {
    const char      *entry;
    const char      *tools[PROFILE_LOCK_TOOLS];  /* tools that need it open */
} profile_lock_t;


typedef struct {
    uid_t            uid;
    gid_t            groups[PROFILE_GROUPS];
    int              ngroups;
    char            *name;
    char            *home;
} profile_user_t;


static ngx_int_t profile_user(ngx_pool_t *pool, profile_user_t *user,
    uid_t uid, gid_t gid, ngx_log_t *log);
static char *profile_binary(ngx_pool_t *pool, ngx_str_t *name,
    profile_user_t *user, ngx_log_t *log);
static char *profile_find(ngx_pool_t *pool, ngx_log_t *log);
static ngx_int_t profile_check(char *path, profile_user_t *user,
    ngx_uint_t kind, const char *directive, ngx_log_t *log);
static ngx_uint_t profile_may(struct stat *st, profile_user_t *user,
    mode_t bit);
static ngx_int_t profile_places(ngx_pool_t *pool,
    ngx_claude_profile_t *profile, ngx_log_t *log);
static char *profile_own(ngx_pool_t *pool, ngx_claude_profile_t *profile);
static char **profile_args(ngx_pool_t *pool, ngx_claude_launch_t *launch,
    const char *own, const char *login, ngx_uint_t record);
static ngx_int_t profile_args_tools(ngx_pool_t *pool, ngx_array_t *args,
    ngx_claude_launch_t *launch, const char *own, const char *login);
static char *profile_settings(ngx_pool_t *pool, ngx_claude_launch_t *launch,
    const char *own, const char *login);
static u_char *profile_deny(u_char *p, const char *dir, const char *below,
    ngx_uint_t edit);
static ngx_uint_t profile_bypasses(ngx_claude_launch_t *launch);
static void profile_console(ngx_claude_profile_t *profile, ngx_log_t *log);
static u_char *profile_sandbox(u_char *p, const char *state, const char *own,
    const char *login);
static u_char *profile_quoted(u_char *p, const char *path);
static ngx_int_t profile_sandboxed(ngx_claude_profile_t *profile,
    ngx_log_t *log);
static ngx_uint_t profile_unbound(ngx_claude_launch_t *launch);
static ngx_int_t profile_arg(ngx_array_t *args, const char *value);
static ngx_int_t profile_option(ngx_array_t *args, const char *name,
    const char *value);
static ngx_uint_t profile_agent(ngx_claude_launch_t *launch);
static char **profile_env(ngx_pool_t *pool, ngx_claude_launch_t *launch,
    char *path, profile_user_t *user);
static ngx_int_t profile_env_list(ngx_array_t *env, const char **entries);
static ngx_int_t profile_env_locks(ngx_array_t *env, ngx_str_t *tools);
static ngx_uint_t profile_names(ngx_str_t *tools, const char *const *names);
static char *profile_path(char *binary, ngx_claude_launch_t *launch);
static char *profile_env_get(char **envp, const char *name);
static void profile_effort(ngx_claude_profile_t *profile,
    ngx_log_t *log);
static ngx_int_t profile_env_set(ngx_array_t *env, char *entry);
static void profile_hash(ngx_claude_profile_t *profile);
static char *profile_copy(ngx_pool_t *pool, ngx_str_t *s);


/*
 * The lean flags of docs/cli-protocol.md: nothing of the CLI's own tools,
 * skills, settings, servers or prompts.  The real prompt comes with set_model.
 */

static const char  *profile_flags[] = {
    "-p",
    "--input-format", "stream-json",
    "--output-format", "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--setting-sources", "",
    "--strict-mcp-config",
    "--disable-slash-commands",
    "--system-prompt", "-",
    NULL
};


static const char  *profile_environment[] = {
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX=1",
    "ENABLE_TOOL_SEARCH=false",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS=1",
    "CLAUDE_CODE_DISABLE_ULTRATHINK=1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS=1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS=1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
    "DISABLE_AUTOUPDATER=1",
    "DISABLE_COMPACT=1",
    "MAX_MCP_OUTPUT_TOKENS=100000000",

    /* a refused, empty or broken answer is the client's to know, at once */

    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY=1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK=1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1",
    "CLAUDE_CODE_MAX_RETRIES=2",
    NULL
};


/* variables that are a login, or say that another provider has it */

static const char  *profile_logins[] = {
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    NULL
};


/*
 * Variables for a chat: no reminder to the model between the messages of the
 * client; and the gate runs in the CLI's own thread, since beside it a turn
 * would end after its result.
 */

static const char  *profile_environment_chat[] = {
    "CLAUDE_CODE_SILENT_TURN_REMINDER=0",
    "CLAUDE_CODE_HOOKS_SAME_THREAD=1",
    NULL
};


/*
 * Locks that keep a CLI from acting but for the questions it is asked: a
 * socket for other sessions; commands and agents that go on after the answer;
 * jobs by the clock, which even a CLI without tools takes from a file in its
 * working directory; workflows.  Each is open where the operator names a tool
 * that is nothing without it (2.1.330; wake-ups are jobs by the clock).
 */

static const profile_lock_t  profile_locks[] = {

    { "CLAUDE_CODE_HARBOR_KITE=0",
      { "ListAgents", NULL } },

    { "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS=1",
      { "TaskOutput", "TaskStop", "BashOutput", "KillShell", NULL } },

    { "CLAUDE_CODE_DISABLE_CRON=1",
      { "CronCreate", "CronDelete", "CronList", "ScheduleWakeup", NULL } },

    { "CLAUDE_CODE_DISABLE_WORKFLOWS=1",
      { "Workflow", NULL } },

    { NULL, { NULL } }
};


ngx_claude_profile_t *
ngx_claude_profile_create(ngx_pool_t *pool,
    ngx_claude_launch_t *launch, uid_t uid, gid_t gid, ngx_log_t *log)
{
    char                  *login;
    profile_user_t         user;
    ngx_claude_profile_t  *profile;

    profile = ngx_pcalloc(pool, sizeof(ngx_claude_profile_t));
    if (profile == NULL) {
        return NULL;
    }

    if (profile_user(pool, &user, uid, gid, log) != NGX_OK) {
        return NULL;
    }

    profile->binary = profile_binary(pool, &launch->binary, &user, log);
    if (profile->binary == NULL) {
        return NULL;
    }

    profile->directory = profile_copy(pool, &launch->directory);
    if (profile->directory == NULL
        || profile_check(profile->directory, &user, PROFILE_DIRECTORY,
                         "claude_working_directory", log)
           != NGX_OK)
    {
        return NULL;
    }

    profile->agent = profile_agent(launch);
    profile->homely = profile->agent && !launch->shared;

    profile->state = profile_copy(pool, &launch->state);
    if (profile->state == NULL) {
        return NULL;
    }

    if (!profile->agent && launch->gate) {
        profile->gate = launch->gate;
    }

    if (launch->mcp_config.len
        && profile_check(profile_cstr(launch->mcp_config), &user,
                         PROFILE_READ, "claude_mcp_config", log)
           != NGX_OK)
    {
        return NULL;
    }

    profile->envp = profile_env(pool, launch,
                                profile_path(profile->binary, launch), &user);

    if (profile->envp == NULL || profile_places(pool, profile, log) != NGX_OK)
    {
        return NULL;
    }

    login = profile_env_get(profile->envp, "CLAUDE_SECURESTORAGE_CONFIG_DIR");

    if (login == NULL || *login == '\0') {
        login = profile->own;
    }

    profile->argv = profile_args(pool, launch, profile->own, login, 0);
    profile->session_argv = profile_args(pool, launch, profile->own, login, 1);

    if (profile->argv == NULL || profile->session_argv == NULL) {
        return NULL;
    }

    profile_effort(profile, log);

    profile_console(profile, log);

    profile->sandbox = profile->agent
                       && launch->sandbox == NGX_CLAUDE_SANDBOX_ON;

    if (profile->sandbox && profile_sandboxed(profile, log) != NGX_OK) {
        return NULL;
    }

    if (profile_unbound(launch)) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "claude_tools: an agent that runs commands, or has all "
                      "permissions, can read what the CLIs of all keys have, "
                      "on disk and in their environment, see \"Levels of "
                      "isolation\" in docs/security.md");
    }

    profile->single = (launch->max_budget.len != 0);
    profile_hash(profile);

    return profile;
}


/*
 * What the environment says would win over each question, which has its effort
 * set by name.  So it stands for those that name none.
 */

static void
profile_effort(ngx_claude_profile_t *profile, ngx_log_t *log)
{
    char                 *value;
    ngx_str_t            *name;
    ngx_claude_effort_e   effort;

    value = profile_env_get(profile->envp, "CLAUDE_CODE_EFFORT_LEVEL");

    /* words of the CLI's for the model's own effort, which holds without */

    if (value == NULL || strcasecmp(value, "auto") == 0
        || strcasecmp(value, "unset") == 0)
    {
        return;
    }

    for (effort = NGX_CLAUDE_EFFORT_DEFAULT; effort < NGX_CLAUDE_EFFORTS;
         effort++)
    {
        name = ngx_claude_effort_name(effort);

        if (name->len == ngx_strlen(value)
            && ngx_strncasecmp(name->data, (u_char *) value, name->len) == 0)
        {
            profile->effort = effort;
            return;
        }
    }

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "claude: \"%s\" in CLAUDE_CODE_EFFORT_LEVEL of claude_env "
                  "is none of low, medium, high, xhigh and max, and is not "
                  "used", value);
}


void
ngx_claude_profile_look(ngx_claude_profile_t *profile)
{
    ngx_file_info_t  fi;

    if (ngx_file_info(profile->binary, &fi) == NGX_FILE_ERROR) {
        return;
    }

    profile->inode = ngx_file_uniq(&fi);
    profile->mtime = ngx_file_mtime(&fi);
}


static ngx_int_t
profile_user(ngx_pool_t *pool, profile_user_t *user, uid_t uid, gid_t gid,
    ngx_log_t *log)
{
    ngx_str_t       s;
    struct passwd  *pw;

    user->uid = uid;
    user->ngroups = 0;
    user->home = "/";
    user->name = "?";

    ngx_set_errno(0);
    pw = getpwuid(uid);

    if (pw == NULL) {
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "claude: the workers' user %d has no entry in the "
                      "password database, HOME of the CLI is \"/\"",
                      (int) uid);

        user->groups[user->ngroups++] = gid;
        return NGX_OK;
    }

    s.data = (u_char *) pw->pw_name;
    s.len = ngx_strlen(pw->pw_name);
    user->name = profile_copy(pool, &s);

    s.data = (u_char *) pw->pw_dir;
    s.len = ngx_strlen(pw->pw_dir);
    user->home = profile_copy(pool, &s);

    if (user->name == NULL || user->home == NULL) {
        return NGX_ERROR;
    }

    user->ngroups = PROFILE_GROUPS;

    if (getgrouplist(user->name, gid, user->groups, &user->ngroups) == -1) {
        user->ngroups = PROFILE_GROUPS;
    }

    return NGX_OK;
}


static char *
profile_binary(ngx_pool_t *pool, ngx_str_t *name, profile_user_t *user,
    ngx_log_t *log)
{
    char       *path, *real;
    ngx_str_t   s;

    path = name->len ? profile_copy(pool, name) : profile_find(pool, log);

    if (path == NULL) {
        return NULL;
    }

    /* npm installs a link; the directories behind it matter as well */

    real = realpath(path, NULL);

    if (real == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_binary \"%s\" cannot be found: install the "
                      "Claude CLI or write its path", path);
        return NULL;
    }

    s.data = (u_char *) real;
    s.len = ngx_strlen(real);
    path = profile_copy(pool, &s);

    free(real);

    if (path == NULL
        || profile_check(path, user, PROFILE_EXECUTE, "claude_binary", log)
           != NGX_OK)
    {
        return NULL;
    }

    return path;
}


static char *
profile_find(ngx_pool_t *pool, ngx_log_t *log)
{
    u_char       path[NGX_MAX_PATH];
    size_t       len;
    ngx_str_t    s;
    const char  *p, *colon, *file;

    for (p = PROFILE_PATH; *p; p = *colon ? colon + 1 : colon) {
        colon = strchrnul(p, ':');
        len = colon - p;

        file = ngx_claude_cstr_print(path, sizeof(path), "%*s/claude",
                                     len, p);

        if (access(file, F_OK) == 0) {
            s.data = path;
            s.len = ngx_strlen(file);

            return profile_copy(pool, &s);
        }
    }

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "there is no \"claude\" in " PROFILE_PATH ": install the "
                  "Claude CLI (npm install -g @anthropic-ai/claude-code) or "
                  "write \"claude_binary /path/to/claude;\"");
    return NULL;
}


/*
 * Whether the workers' user can get to the file through all its directories,
 * and may execute it (search it, if it is a directory).  The file is never
 * run here: this is the master, and may be root.
 */

static ngx_int_t
profile_check(char *path, profile_user_t *user, ngx_uint_t kind,
    const char *directive, ngx_log_t *log)
{
    char         *p, save;
    mode_t        bit;
    ngx_uint_t    last;
    struct stat   st;

    p = path;

    do {
        p = strchrnul(p + 1, '/');
        last = (*p == '\0');

        save = *p;
        *p = '\0';

        if (stat(path, &st) == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                          "%s: \"%s\" cannot be found", directive, path);
            goto failed;
        }

        if (last && kind == PROFILE_DIRECTORY && !S_ISDIR(st.st_mode)) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "%s: \"%s\" is not a directory, write one that "
                          "exists", directive, path);
            goto failed;
        }

        if (last && kind != PROFILE_DIRECTORY && !S_ISREG(st.st_mode)) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "%s: \"%s\" is not a file, write the path of %s",
                          directive, path,
                          (kind == PROFILE_EXECUTE) ? "the claude executable"
                                                    : "one");
            goto failed;
        }

        bit = (last && kind == PROFILE_READ) ? S_IROTH : S_IXOTH;

        if (!profile_may(&st, user, bit)) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "%s: \"%s\" is not %s for user \"%s\", whom the "
                          "workers run as (see the \"user\" directive): "
                          "change its mode or write another path",
                          directive, path,
                          (bit == S_IROTH) ? "readable"
                          : (last && kind == PROFILE_EXECUTE) ? "executable"
                                                              : "searchable",
                          user->name);
            goto failed;
        }

        *p = save;

    } while (!last);

    return NGX_OK;

failed:

    *p = save;

    return NGX_ERROR;
}


/* bit: a permission, as for others */

static ngx_uint_t
profile_may(struct stat *st, profile_user_t *user, mode_t bit)
{
    int  i;

    if (user->uid == 0) {
        return S_ISDIR(st->st_mode) || bit == S_IROTH
               || (st->st_mode & 0111);
    }

    if (st->st_uid == user->uid) {
        return (st->st_mode & (bit << 6)) != 0;
    }

    for (i = 0; i < user->ngroups; i++) {
        if (st->st_gid == user->groups[i]) {
            return (st->st_mode & (bit << 3)) != 0;
        }
    }

    return (st->st_mode & bit) != 0;
}


/* what the CLI has of a directory of its own, without a home */

static ngx_int_t
profile_places(ngx_pool_t *pool, ngx_claude_profile_t *profile, ngx_log_t *log)
{
    char       *real;
    u_char     *p, *start;
    ngx_str_t   s;

    real = realpath(profile->directory, NULL);
    if (real == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "claude_working_directory: \"%s\" cannot be found",
                      profile->directory);
        return NGX_ERROR;
    }

    s.data = (u_char *) real;
    s.len = ngx_strlen(real);
    profile->real = profile_copy(pool, &s);

    free(real);

    profile->own = profile_own(pool, profile);

    if (profile->real == NULL || profile->own == NULL) {
        return NGX_ERROR;
    }

    profile->transcripts = ngx_pnalloc(pool, ngx_strlen(profile->own)
                                             + sizeof("/projects/")
                                             + 2 * s.len);
    if (profile->transcripts == NULL) {
        return NGX_ERROR;
    }

    start = ngx_sprintf((u_char *) profile->transcripts, "%s/projects/",
                        profile->own);
    p = ngx_claude_profile_projects(start, profile->real);
    *p = '\0';

    if (p - start > NGX_CLAUDE_PROFILE_PROJECTS) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "claude_working_directory: the path \"%s\" has more "
                      "than %d characters, for which the CLI has another name "
                      "of its own", profile->directory,
                      NGX_CLAUDE_PROFILE_PROJECTS);
        return NGX_ERROR;
    }

    return NGX_OK;
}


u_char *
ngx_claude_profile_projects(u_char *p, const char *path)
{
    u_char  c;

    for ( /* void */ ; *path; path++) {
        c = (u_char) *path;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9'))
        {
            *p++ = c;

        } else if (c < 0x80 || c >= 0xc0) {
            *p++ = '-';

            if (c >= 0xf0) {
                *p++ = '-';
            }
        }
    }

    return p;
}


/*
 * A login of the Console's is in a file that the CLI has in each directory of
 * its own and nowhere else, so no home has it.
 */

static void
profile_console(ngx_claude_profile_t *profile, ngx_log_t *log)
{
    u_char       *buf;
    size_t        n;
    ssize_t       len;
    ngx_fd_t      fd;
    const char   *home, **name;

    static const char  key[] = "\"primaryApiKey\"";

    for (name = profile_logins; *name; name++) {
        if (profile_env_get(profile->envp, *name)) {
            return;
        }
    }

    buf = ngx_alloc(NGX_MAX_PATH + PROFILE_CONSOLE, log);
    if (buf == NULL) {
        return;
    }

    home = profile_env_get(profile->envp, "CLAUDE_CONFIG_DIR");

    if (home == NULL || *home == '\0') {
        home = profile_env_get(profile->envp, "HOME");
    }

    fd = ngx_open_file(ngx_claude_cstr_print(buf, NGX_MAX_PATH,
                                             "%s/.claude.json", home),
                       NGX_FILE_RDONLY|O_NONBLOCK, NGX_FILE_OPEN, 0);

    len = (fd == NGX_INVALID_FILE)
          ? 0 : ngx_read_fd(fd, buf + NGX_MAX_PATH, PROFILE_CONSOLE);

    for (n = 0; len > 0 && n + sizeof(key) - 1 <= (size_t) len; n++) {
        if (ngx_memcmp(buf + NGX_MAX_PATH + n, key, sizeof(key) - 1) == 0) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "claude: the login in \"%s\" is one of the Console "
                          "that no CLI of nginx can take from there: write "
                          "its key, or the token of \"claude setup-token\", "
                          "into claude_env_file",
                          ngx_claude_cstr(buf));
            break;
        }
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    ngx_free(buf);
}


/* the directory that the CLI would take for its own */

static char *
profile_own(ngx_pool_t *pool, ngx_claude_profile_t *profile)
{
    char    *config, *home;
    u_char  *p;

    config = profile_env_get(profile->envp, "CLAUDE_CONFIG_DIR");

    if (config && *config) {
        return config;
    }

    home = profile_env_get(profile->envp, "HOME");

    p = ngx_pnalloc(pool, ngx_strlen(home) + sizeof("/.claude"));
    if (p == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(p, "%s/.claude%Z", home);

    return (char *) ngx_claude_cstr(p);
}


/* record: with a transcript; the spawner puts its id at the end */

static char **
profile_args(ngx_pool_t *pool, ngx_claude_launch_t *launch, const char *own,
    const char *login, ngx_uint_t record)
{
    ngx_int_t      rc;
    ngx_str_t     *extra;
    ngx_uint_t     i;
    ngx_array_t    args;

    if (ngx_array_init(&args, pool, 32, sizeof(char *)) != NGX_OK
        || profile_arg(&args, "claude") != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; profile_flags[i]; i++) {
        if (profile_arg(&args, profile_flags[i]) != NGX_OK) {
            return NULL;
        }
    }

    if (profile_args_tools(pool, &args, launch, own, login) != NGX_OK) {
        return NULL;
    }

    if (!profile_agent(launch) && launch->gate
        && profile_option(&args, "--plugin-dir", launch->gate) != NGX_OK)
    {
        return NULL;
    }

    if (launch->fallback_model.len
        && profile_option(&args, "--fallback-model",
                          profile_cstr(launch->fallback_model))
           != NGX_OK)
    {
        return NULL;
    }

    if (launch->max_budget.len
        && profile_option(&args, "--max-budget-usd",
                          profile_cstr(launch->max_budget))
           != NGX_OK)
    {
        return NULL;
    }

    if (launch->args) {
        extra = launch->args->elts;

        for (i = 0; i < launch->args->nelts; i++) {
            if (profile_arg(&args, profile_cstr(extra[i])) != NGX_OK) {
                return NULL;
            }
        }
    }

    rc = record ? profile_option(&args, "--session-id", "")
                : profile_arg(&args, "--no-session-persistence");

    if (rc != NGX_OK || profile_arg(&args, NULL) != NGX_OK) {
        return NULL;
    }

    return args.elts;
}


/* arguments for what the model may have done, and others may say to it */

static ngx_int_t
profile_args_tools(ngx_pool_t *pool, ngx_array_t *args,
    ngx_claude_launch_t *launch, const char *own, const char *login)
{
    const char  *settings;

    settings = profile_agent(launch) ? profile_settings(pool, launch, own,
                                                        login)
                                     : PROFILE_SETTINGS_CHAT;

    if (settings == NULL
        || profile_option(args, "--settings", settings) != NGX_OK
        || profile_option(args, "--permission-mode",
                          profile_cstr(launch->permission_mode))
           != NGX_OK
        || profile_option(args, "--tools", profile_cstr(launch->tools))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!profile_agent(launch)) {

        /* the client's tools: see ngx_claude_cli_servers() */

        return profile_option(args, "--allowedTools", "mcp__c0,mcp__c1");
    }

    if (launch->mcp_config.len
        && profile_option(args, "--mcp-config",
                          profile_cstr(launch->mcp_config))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * The tools for files stay in the working directory.  The CLI exits where
     * it is to have all permissions as well.
     */

    if (!profile_bypasses(launch)
        && profile_arg(args, "--restricted") != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_claude_is(&launch->tools, "default")) {
        return profile_option(args, "--disallowedTools", PROFILE_DENIED);
    }

    return NGX_OK;
}


/*
 * An agent's settings.  What is other keys', and the login, is denied by name
 * of the tree: whatever else a directive may open stays closed there.  Paths
 * have no links in them, which 2.1.260 would not follow.
 */

static char *
profile_settings(ngx_pool_t *pool, ngx_claude_launch_t *launch,
    const char *own, const char *login)
{
    char        *real, *store;
    u_char      *settings, *p;
    const char  *state;

    static const char  *worktrees[] = { "EnterWorktree", NULL };

    state = profile_cstr(launch->state);

    real = realpath(own, NULL);
    own = real ? real : own;

    store = realpath(login, NULL);
    login = store ? store : login;

    settings = ngx_pnalloc(pool, 2048 + 10 * launch->state.len
                                 + 6 * ngx_strlen(own)
                                 + 6 * ngx_strlen(login));
    if (settings) {
        p = ngx_sprintf(settings, "{" PROFILE_REFUSE ",\"permissions\":"
                                  "{\"deny\":[");

        /* the sandbox would not let commands write to their own TMPDIR */

        p = profile_deny(p, state, "/keys/**",
                         launch->sandbox != NGX_CLAUDE_SANDBOX_ON);
        p = profile_deny(p, state, "/chat/**", 1);
        p = profile_deny(p, state, "/names.*", 1);

        if (launch->shared) {

            /* it may be one above the state path, or have a link there */

            p = profile_deny(p, state, "/work/**", 1);
        }

        p = profile_deny(p, own, "/projects/**", 1);
        p = profile_deny(p, login, "/.credentials.json", 1);

        /* in the place of the last comma */

        p = ngx_sprintf(p - 1, "]}");

        if (!profile_names(&launch->tools, worktrees)) {
            p = ngx_sprintf(p, "," PROFILE_NO_WORKTREE);
        }

        if (launch->sandbox == NGX_CLAUDE_SANDBOX_ON) {
            p = profile_sandbox(p, state, own, login);
        }

        (void) ngx_sprintf(p, "}%Z");
    }

    free(real);
    free(store);

    return settings ? (char *) ngx_claude_cstr(settings) : NULL;
}


/*
 * The rules of one tree.  A path from the root has a slash more: without that
 * a rule denies nothing, silently.  It is a pattern, in which a backslash
 * escapes nothing, so that any character stands for an odd one.  "Edit" is for
 * 2.1.260, where "Read" does not cover it.
 */

static u_char *
profile_deny(u_char *p, const char *dir, const char *below, ngx_uint_t edit)
{
    u_char       ch, last;
    const char  **tool, *c;

    static const char  *tools[] = { "Read", "Edit", NULL };

    for (tool = tools; *tool && (edit || tool == tools); tool++) {
        p = ngx_sprintf(p, "\"%s(/", *tool);

        for (c = dir, last = '/'; *c; c++) {
            ch = (u_char) *c;

            if (ch >= 0x80) {
                ch = '*';

            } else if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
                         || (ch >= '0' && ch <= '9') || ch == '_' || ch == '/'
                         || ch == '.' || ch == '-'))
            {
                ch = '?';
            }

            /* "**" would be any directories */

            if (ch != '*' || last != '*') {
                *p++ = ch;
            }

            last = ch;
        }

        p = ngx_sprintf(p, "%s)\",", below);
    }

    return p;
}


/*
 * Commands see no home and no login, of the working directories their own, and
 * no network.  The CLI does not start where it has no sandbox.
 */

static u_char *
profile_sandbox(u_char *p, const char *state, const char *own,
    const char *login)
{
    const char  **name;

    p = ngx_sprintf(p, ",\"sandbox\":{\"enabled\":true,"
                       "\"failIfUnavailable\":true,"
                       "\"allowUnsandboxedCommands\":false,"
                       "\"filesystem\":{\"denyRead\":[\"");

    p = profile_quoted(p, state);
    p = ngx_sprintf(p, "\",\"");
    p = profile_quoted(p, own);
    p = ngx_sprintf(p, "\",\"");
    p = profile_quoted(p, login);
    p = ngx_sprintf(p, "\"],\"allowRead\":[\".\"]},"
                       "\"credentials\":{\"envVars\":[");

    for (name = profile_logins; *name; name++) {
        p = ngx_sprintf(p, "{\"name\":\"%s\",\"mode\":\"deny\"},", *name);
    }

    return ngx_sprintf(p - 1, "]}}");
}


/* a path in a JSON string; control characters are no directive's */

static u_char *
profile_quoted(u_char *p, const char *path)
{
    for ( /* void */ ; *path; path++) {
        if (*path == '"' || *path == '\\') {
            *p++ = '\\';
        }

        *p++ = (u_char) *path;
    }

    return p;
}


/*
 * Whether the programs that the CLI's sandbox is made of are where the CLI
 * looks for them.
 */

static ngx_int_t
profile_sandboxed(ngx_claude_profile_t *profile, ngx_log_t *log)
{
    size_t         len;
    u_char         path[NGX_MAX_PATH];
    ngx_uint_t     i;
    const char    *dir, *colon;

    static const char  *programs[] = { "bwrap", "socat", NULL };

    for (i = 0; programs[i]; i++) {

        for (dir = profile_env_get(profile->envp, "PATH"); dir && *dir;
             dir = *colon ? colon + 1 : colon)
        {
            colon = strchrnul(dir, ':');
            len = colon - dir;

            if (access(ngx_claude_cstr_print(path, sizeof(path), "%*s/%s", len,
                                             dir, programs[i]), X_OK)
                == 0)
            {
                break;
            }
        }

        if (dir == NULL || *dir == '\0') {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "claude_sandbox: there is no \"%s\" in PATH of the "
                          "CLI: install bubblewrap and socat, or write "
                          "\"claude_sandbox off;\"", programs[i]);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* whether an agent can do what the workers' user can */

static ngx_uint_t
profile_unbound(ngx_claude_launch_t *launch)
{
    static const char  *commands[] = { "Bash", NULL };

    if (!profile_agent(launch)
        || launch->sandbox == NGX_CLAUDE_SANDBOX_EXTERNAL)
    {
        return 0;
    }

    return profile_bypasses(launch)
           || (launch->sandbox == NGX_CLAUDE_SANDBOX_OFF
               && profile_names(&launch->tools, commands));
}


/* whether nothing that a tool does is asked for, by whatever word */

static ngx_uint_t
profile_bypasses(ngx_claude_launch_t *launch)
{
    ngx_str_t   *arg;
    ngx_uint_t   i;

    if (ngx_claude_is(&launch->permission_mode, PROFILE_BYPASS)) {
        return 1;
    }

    if (launch->args == NULL) {
        return 0;
    }

    arg = launch->args->elts;

    for (i = 0; i < launch->args->nelts; i++) {
        if (ngx_claude_is(&arg[i], PROFILE_BYPASS)
            || ngx_claude_is(&arg[i], "--permission-mode=" PROFILE_BYPASS)
            || ngx_claude_is(&arg[i], "--dangerously-skip-permissions"))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
profile_arg(ngx_array_t *args, const char *value)
{
    const char  **arg;

    arg = ngx_array_push(args);
    if (arg == NULL) {
        return NGX_ERROR;
    }

    *arg = value;

    return NGX_OK;
}


static ngx_int_t
profile_option(ngx_array_t *args, const char *name, const char *value)
{
    if (profile_arg(args, name) != NGX_OK) {
        return NGX_ERROR;
    }

    return profile_arg(args, value);
}


/* whether the CLI has tools of its own */

static ngx_uint_t
profile_agent(ngx_claude_launch_t *launch)
{
    return launch->tools.len || launch->mcp_config.len;
}


static char **
profile_env(ngx_pool_t *pool, ngx_claude_launch_t *launch, char *path,
    profile_user_t *user)
{
    char         *home, **last;
    size_t        len;
    ngx_str_t    *entry;
    ngx_uint_t    i;
    ngx_array_t   env;

    if (ngx_array_init(&env, pool, 32, sizeof(char *)) != NGX_OK) {
        return NULL;
    }

    len = sizeof("HOME=") + ngx_strlen(user->home);

    home = ngx_pnalloc(pool, len);
    if (home == NULL) {
        return NULL;
    }

    (void) ngx_sprintf((u_char *) home, "HOME=%s%Z", user->home);

    if (profile_env_set(&env, path) != NGX_OK
        || profile_env_set(&env, home) != NGX_OK
        || profile_env_locks(&env, &launch->tools) != NGX_OK)
    {
        return NULL;
    }

    if (profile_env_list(&env, profile_environment) != NGX_OK
        || (!profile_agent(launch)
            && profile_env_list(&env, profile_environment_chat) != NGX_OK))
    {
        return NULL;
    }

    if (launch->env) {
        entry = launch->env->elts;

        for (i = 0; i < launch->env->nelts; i++) {
            if (profile_env_set(&env, profile_cstr(entry[i])) != NGX_OK) {
                return NULL;
            }
        }
    }

    last = ngx_array_push(&env);
    if (last == NULL) {
        return NULL;
    }

    *last = NULL;

    return env.elts;
}


static ngx_int_t
profile_env_list(ngx_array_t *env, const char **entries)
{
    for ( /* void */ ; *entries; entries++) {
        if (profile_env_set(env, (char *) *entries) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
profile_env_locks(ngx_array_t *env, ngx_str_t *tools)
{
    ngx_uint_t  i;

    for (i = 0; profile_locks[i].entry; i++) {
        if (!profile_names(tools, profile_locks[i].tools)
            && profile_env_set(env, (char *) profile_locks[i].entry)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* whether the list of tools has one of the names */

static ngx_uint_t
profile_names(ngx_str_t *tools, const char *const *names)
{
    size_t       len;
    const char  *p;
    ngx_uint_t   i;

    /* an argument of a directive, or one of the profile's own */

    for (p = ngx_claude_cstr(tools->data); *p; p += len) {
        p += strspn(p, ", ");
        len = strcspn(p, ", ");

        for (i = 0; names[i]; i++) {
            if (len == ngx_strlen(names[i])
                && ngx_strncmp(p, names[i], len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Without tools there is no program that the CLI has to find, and at its start
 * and at each line of settings it would run git in the working directory.  The
 * binary may be a script, as npm's is without its postinstall: whatever runs
 * that has to be found.
 */

static char *
profile_path(char *binary, ngx_claude_launch_t *launch)
{
    u_char    magic[2];
    ssize_t   n;
    ngx_fd_t  fd;

    if (profile_agent(launch)) {
        return "PATH=" PROFILE_PATH;
    }

    fd = ngx_open_file(binary, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return PROFILE_NO_PATH;
    }

    n = ngx_read_fd(fd, magic, sizeof(magic));
    (void) ngx_close_file(fd);

    return (n == sizeof(magic) && magic[0] == '#' && magic[1] == '!')
           ? "PATH=" PROFILE_PATH : PROFILE_NO_PATH;
}


/* the value of a variable; NULL: there is none */

static char *
profile_env_get(char **envp, const char *name)
{
    size_t  len;

    len = ngx_strlen(name);

    for ( /* void */ ; *envp; envp++) {
        if (ngx_strncmp(*envp, name, len) == 0 && (*envp)[len] == '=') {
            return *envp + len + 1;
        }
    }

    return NULL;
}


/* sets an entry, in the place of one of the same name */

static ngx_int_t
profile_env_set(ngx_array_t *env, char *entry)
{
    char        **e, *eq;
    size_t        len;
    ngx_uint_t    i;

    eq = strchr(entry, '=');
    len = eq ? (size_t) (eq - entry) + 1 : ngx_strlen(entry);

    e = env->elts;

    for (i = 0; i < env->nelts; i++) {
        if (ngx_strncmp(e[i], entry, len) == 0) {
            e[i] = entry;
            return NGX_OK;
        }
    }

    e = ngx_array_push(env);
    if (e == NULL) {
        return NGX_ERROR;
    }

    *e = entry;

    return NGX_OK;
}


static void
profile_hash(ngx_claude_profile_t *profile)
{
    char        **s;
    ngx_sha1_t    sha1;

    ngx_sha1_init(&sha1);

    /* the terminating zeroes keep neighbours apart */

    ngx_sha1_update(&sha1, profile->binary, ngx_strlen(profile->binary) + 1);
    ngx_sha1_update(&sha1, profile->directory,
                    ngx_strlen(profile->directory) + 1);
    ngx_sha1_update(&sha1, profile->state, ngx_strlen(profile->state) + 1);
    ngx_sha1_update(&sha1, profile->homely ? "homely" : "shared",
                    sizeof("shared"));

    for (s = profile->argv; *s; s++) {
        ngx_sha1_update(&sha1, *s, ngx_strlen(*s) + 1);
    }

    ngx_sha1_update(&sha1, "", 1);

    for (s = profile->envp; *s; s++) {
        ngx_sha1_update(&sha1, *s, ngx_strlen(*s) + 1);
    }

    ngx_claude_hash_final(&profile->hash, &sha1);
}


static char *
profile_copy(ngx_pool_t *pool, ngx_str_t *s)
{
    u_char  *p;

    p = ngx_pnalloc(pool, s->len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, s->data, s->len);
    p[s->len] = '\0';

    return (char *) ngx_claude_cstr(p);
}
