
/*
 * The gate: a plugin of the CLI's, which this module carries in itself.
 *
 * A CLI is an agent: it asks the model again by itself, and puts words of its
 * own between the client's.  With the gate a question has one call upstream
 * and nothing but the client's messages goes along; what it does and says is
 * in docs/cli-protocol.md, "The gate".
 *
 * The master writes it where nobody but the master's user can write, and each
 * keeper looks at it before its CLI starts: what a client or a model could
 * have changed would run in every CLI.
 */


#ifndef _NGX_CLAUDE_GATE_H_INCLUDED_
#define _NGX_CLAUDE_GATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the plugin's name, as in plugin.json: its lines have it */
#define NGX_CLAUDE_GATE_NAME  "nginx-gate"

/* a text that it keeps from the model, and that nobody else writes */
#define NGX_CLAUDE_GATE_LEFT_OUT                                             \
    "[left out: 8f4f0a3c-6f1b-4a51-9a0e-2f5e8f1d7c40]"


/* what is known of the gate in the processes of a launch profile */
typedef enum {
    NGX_CLAUDE_GATE_NONE = 0,      /* not loaded: agents, claude_gate_path
                                      off */
    NGX_CLAUDE_GATE_UNKNOWN,       /* no process has shown it yet */
    NGX_CLAUDE_GATE_WORKS,         /* a call upstream went through it */
    NGX_CLAUDE_GATE_FILES,         /* its files are not as they were written */
    NGX_CLAUDE_GATE_VERSION,       /* the CLI is too old for it */
    NGX_CLAUDE_GATE_SILENT,        /* the CLI did not load it: --bare,
                                      --safe-mode, hooks are off */
    NGX_CLAUDE_GATE_PASSED,        /* the CLI asked the model without it:
                                      managed settings, another provider */
    NGX_CLAUDE_GATE_SHUT,          /* it let no question through: it does not
                                      know this CLI, which starts without it */
    NGX_CLAUDE_GATE_STATES
} ngx_claude_gate_e;


/* the name of a state, in status; what an operator can do, for the log */
const char *ngx_claude_gate_name(ngx_claude_gate_e state);
const char *ngx_claude_gate_words(ngx_claude_gate_e state);

/*
 * The directory of the plugin's text below the one that is given, with a
 * digest of the text in its name, so that binaries of two versions do not
 * share one.  A C string of the pool; NULL: no memory.
 */
char *ngx_claude_gate_path(ngx_pool_t *pool, ngx_str_t *parent);

/*
 * Writes the plugin, for the master: nothing if it is there.  Where the master
 * is root nobody else may be able to rename, remove or write anything on its
 * path.  NGX_ERROR: the log says why, at level warn, and no check succeeds any
 * more: CLIs start without it.
 */
ngx_int_t ngx_claude_gate_write(char *path, ngx_log_t *log);

/*
 * Whether all of the plugin is there as this nginx's master has written it.
 * Async-signal-safe.  NGX_ERROR: errno says why, ESTALE: it is not what was
 * written.
 */
ngx_int_t ngx_claude_gate_check(const char *path);


#endif /* _NGX_CLAUDE_GATE_H_INCLUDED_ */
