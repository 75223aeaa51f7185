
/*
 * The driver: what a process knows of its session.  It takes over what the
 * transcript of a session holds when that was resumed, has its record written
 * before a question and once the process is in order again, and makes a turn
 * that brings only what is new follow what was said before.
 */


#include "ngx_claude_driver_private.h"

#include <ngx_sha1.h>


/* links that a record can vouch for; longer conversations begin anew */
#define DRIVER_RECORD_HELD  1000000


static void driver_sum(ngx_str_t *s, u_char *sum);
static ngx_uint_t driver_session_bare(ngx_claude_process_t *process,
    ngx_uint_t n);
static void driver_record_write(ngx_claude_process_t *process,
    ngx_claude_record_t *record);


/*
 * The session of a turn becomes the process's: one that a client has named at
 * once, since it is for nothing else, another one when the turn has gone well.
 */

void
driver_session_begin(ngx_claude_process_t *process)
{
    ngx_claude_turn_session_t  *session;

    session = &process->turn->session;

    process->own = (session->kind == NGX_CLAUDE_SESSION_CHOSEN
                    && session->owner);

    ngx_memcpy(process->hint, session->hint, sizeof(process->hint));
    ngx_memzero(process->naming, sizeof(process->naming));

    if (session->owner || !session->named) {
        ngx_memcpy(process->naming, session->hash, sizeof(process->naming));
    }

    if (process->own) {
        ngx_memcpy(process->session, session->hash, sizeof(process->session));

    } else if (ngx_memcmp(process->session, process->naming,
                          sizeof(process->session))
               != 0)
    {
        ngx_memzero(process->session, sizeof(process->session));
    }
}


/*
 * Whether the turn may go on with the conversation: it asks for no other
 * model and says no other system text.
 */

ngx_claude_fail_e
driver_session_check(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn)
{
    u_char  sum[20];

    driver_sum(&turn->model, sum);

    if (ngx_memcmp(process->model, sum, sizeof(sum)) != 0) {
        return NGX_CLAUDE_FAIL_SESSION_MODEL;
    }

    driver_sum(&turn->system, sum);

    if (turn->session.system
        && ngx_memcmp(process->system, sum, sizeof(sum)) != 0)
    {
        return NGX_CLAUDE_FAIL_SESSION_SYSTEM;
    }

    return NGX_CLAUDE_FAIL_INTERNAL;
}


/* the process has been given the model and the system text of the turn */

void
driver_session_model(ngx_claude_process_t *process)
{
    driver_sum(&process->turn->model, process->model);
    driver_sum(&process->turn->system, process->system);
}


/*
 * The links of the turn: from its root, or from what the process holds and
 * keeps.
 */

ngx_int_t
driver_session_follow(ngx_claude_process_t *process, ngx_uint_t keep)
{
    ngx_uint_t          before;
    ngx_claude_held_t  *held;
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    held = process->held.elts;
    before = turn->session.continues ? keep : 0;

    if (before == 0 && turn->before == 0) {
        return NGX_OK;
    }

    turn->before = before;

    if (turn->session.results && driver_results_order(process) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_claude_chain_follow(turn,
                                   before ? &held[before - 1].link
                                          : NULL);
}


/*
 * Whether no answer is one of the CLI's own: a resumed one takes up model and
 * system text from the last of these.
 */

static ngx_uint_t
driver_session_bare(ngx_claude_process_t *process, ngx_uint_t n)
{
    ngx_uint_t          i;
    ngx_claude_held_t  *held;

    held = process->held.elts;

    for (i = 0; i < n; i++) {
        if (held[i].own) {
            return 0;
        }
    }

    return n && process->base == 0;
}


/* takes over what a resumed process holds.  NGX_ERROR: no memory */

ngx_int_t
driver_session_resumed(ngx_claude_process_t *process,
    ngx_claude_record_t *record)
{
    ngx_claude_held_t  *held;

    if (record->held > DRIVER_RECORD_HELD || record->held % 2) {
        return NGX_ERROR;
    }

    process->stated = record->cost;
    process->cost = record->cost;
    process->charged = record->cost;
    process->bare = (record->bare != 0);

    if (record->held == 0) {
        return NGX_OK;
    }

    held = ngx_array_push_n(&process->held, record->held);
    if (held == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(held, record->held * sizeof(ngx_claude_held_t));
    ngx_memcpy(held[record->held - 1].link.hash, record->tip,
               NGX_CLAUDE_LINK_LEN);

    ngx_memcpy(process->model, record->model, sizeof(process->model));
    ngx_memcpy(process->system, record->system, sizeof(process->system));
    process->base = record->held;

    return NGX_OK;
}


/*
 * What the process holds is in the transcript, but for a question that is
 * about to be asked: the line, or 0.
 */

void
driver_session_record(ngx_claude_process_t *process, ngx_uint_t line)
{
    u_char                    *p;
    ngx_uint_t                 n;
    ngx_claude_held_t         *held;
    ngx_claude_record_t        record;

    if (!process->recorded) {
        return;
    }

    ngx_memzero(&record, sizeof(ngx_claude_record_t));

    held = process->held.elts;
    n = process->held.nelts - (line != 0);

    ngx_memcpy(record.magic, NGX_CLAUDE_RECORD_MAGIC,
               sizeof(record.magic));
    ngx_memcpy(record.model, process->model, sizeof(record.model));
    ngx_memcpy(record.system, process->system, sizeof(record.system));
    record.held = n;
    record.bare = driver_session_bare(process, n);
    record.cost = process->cost;

    if (n) {
        ngx_memcpy(record.tip, held[n - 1].link.hash, sizeof(record.tip));
    }

    if (line) {
        p = ngx_claude_cli_uuid((u_char *) record.pending, process, line);
        *p = '\0';

    } else if (n && !process->own) {

        /* nobody can name it: it is known by what it holds */

        p = ngx_hex_dump((u_char *) record.name, record.tip,
                         sizeof(record.tip));
        *p = '\0';
    }

    driver_record_write(process, &record);
}


/*
 * What is in the transcript is about to become something else, or lacks what
 * the client has: until the next record the session is not resumed.
 */

void
driver_session_unrecord(ngx_claude_process_t *process)
{
    ngx_claude_record_t  record;

    if (!process->recorded) {
        return;
    }

    ngx_memzero(&record, sizeof(ngx_claude_record_t));

    ngx_memcpy(record.magic, NGX_CLAUDE_RECORD_MAGIC,
               sizeof(record.magic));
    record.bare = 1;
    record.cost = process->cost;

    driver_record_write(process, &record);
}


/* a process that is idle or gone lets the next turn of its session run */

void
driver_session_leave(ngx_claude_process_t *process)
{
    ngx_int_t  ticket;

    ticket = process->ticket;
    process->ticket = -1;

    if (ticket != -1) {
        driver_hooks->leave(ticket);
    }
}


static void
driver_sum(ngx_str_t *s, u_char *sum)
{
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, s->data, s->len);
    ngx_sha1_final(sum, &sha1);
}


static void
driver_record_write(ngx_claude_process_t *process,
    ngx_claude_record_t *record)
{
    if (process->lifeline != (ngx_fd_t) -1
        && ngx_claude_spawner_record(process->lifeline, record)
           == NGX_OK)
    {
        return;
    }

    if (!process->ending && !process->is_broken) {
        ngx_log_error(NGX_LOG_WARN, process->log, ngx_errno,
                      "claude: the record of the session of process %P could "
                      "not be written", process->pid);
        process->doubtful = 1;
    }
}
