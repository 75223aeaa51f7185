
/*
 * The driver: what a process knows of its session.  It takes over what the
 * transcript of a session holds when that was resumed, has its record written
 * before a question and once the process is in order again, and makes a turn
 * that brings only what is new follow what was said before.
 */


#include "ngx_claude_driver_private.h"


static void driver_record_write(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record);


/*
 * The session of a turn becomes the process's: one that a client has named at
 * once, since it is for nothing else, another one when the turn has gone well.
 */

void
driver_session_begin(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_session_t  *session;

    session = &seat->turn->session;

    seat->holding.named_session = (session->kind == NGX_CLAUDE_SESSION_CHOSEN
                                   && session->owner);

    seat->holding.hint = session->hint;
    ngx_memzero(&seat->naming, sizeof(ngx_claude_hash_t));

    if (session->owner || !session->named) {
        seat->naming = session->hash;
    }

    if (seat->holding.named_session) {
        seat->holding.session = session->hash;

    } else if (!ngx_claude_hash_same(&seat->holding.session, &seat->naming)) {
        ngx_memzero(&seat->holding.session, sizeof(ngx_claude_hash_t));
    }
}


/*
 * The links of the turn: from its root, or from what the process holds and
 * keeps.
 */

ngx_int_t
driver_session_follow(ngx_claude_seat_t *seat, ngx_uint_t keep)
{
    ngx_uint_t          before;
    ngx_claude_held_t  *held;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    held = seat->held.elts;
    before = turn->session.continues ? keep : 0;

    if (before == 0 && turn->engine.before == 0) {
        return NGX_OK;
    }

    turn->engine.before = before;

    if (turn->session.results && driver_results_order(seat) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_claude_chain_follow(turn,
                                   before ? &held[before - 1].link
                                          : NULL);
}


/* takes over what a resumed process holds.  NGX_ERROR: no memory */

ngx_int_t
driver_session_resumed(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record)
{
    if (ngx_claude_holding_resume(&seat->holding, &seat->held,
                                  &record->holding, &record->tip)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->bill.stated = record->cost;
    seat->bill.cost = record->cost;
    seat->bill.charged = record->cost;
    seat->bare = (record->bare != 0);

    return NGX_OK;
}


/*
 * Records that the transcript has what the process holds, but for a question
 * that is about to be asked.  line: that question's, or 0.
 */

void
driver_session_record(ngx_claude_seat_t *seat, ngx_uint_t line)
{
    u_char              *p;
    ngx_uint_t           n;
    ngx_claude_held_t   *held;
    ngx_claude_record_t  record;

    if (!seat->holding.recorded) {
        return;
    }

    ngx_memzero(&record, sizeof(ngx_claude_record_t));

    held = seat->held.elts;
    n = seat->held.nelts - (line != 0);

    ngx_claude_holding_record(&record.holding, &seat->holding, n);
    record.bare = ngx_claude_holding_bare(&seat->holding, held, n);

    if (n) {
        record.tip = held[n - 1].link;
    }

    if (line) {
        p = ngx_claude_cli_uuid((u_char *) record.pending,
                                seat->holding.nonce, line);
        *p = '\0';

    } else if (n && !seat->holding.named_session) {

        /* a session that nobody can name is known by what it holds */

        p = ngx_hex_dump((u_char *) record.name, record.tip.hash,
                         sizeof(record.tip.hash));
        *p = '\0';
    }

    driver_record_write(seat, &record);
}


/*
 * Marks the record "not resumable" before the transcript is changed, or while
 * it lacks the client's last answer.
 */

void
driver_session_unrecord(ngx_claude_seat_t *seat)
{
    ngx_claude_record_t  record;

    if (!seat->holding.recorded) {
        return;
    }

    ngx_memzero(&record, sizeof(ngx_claude_record_t));

    record.bare = 1;

    driver_record_write(seat, &record);
}


/* the steps of a plan that are about the record */

ngx_int_t
driver_unrecord(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    driver_session_unrecord(seat);

    return NGX_OK;
}


ngx_int_t
driver_record(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    driver_session_record(seat, seat->holding.newest);

    return NGX_OK;
}


/* a process that is idle or gone lets the next turn of its session run */

void
driver_session_leave(ngx_claude_seat_t *seat)
{
    ngx_int_t  row;

    row = seat->turn_row;
    seat->turn_row = -1;

    if (row != -1) {
        driver_hooks->release(row);
    }
}


/* adds what all records say, and has it written */

static void
driver_record_write(ngx_claude_seat_t *seat,
    ngx_claude_record_t *record)
{
    ngx_memcpy(record->magic, NGX_CLAUDE_RECORD_MAGIC,
               sizeof(record->magic));
    record->cost = seat->bill.cost;

    if (seat->process->lifeline != (ngx_fd_t) -1
        && ngx_claude_spawner_record(seat->process->lifeline, record)
           == NGX_OK)
    {
        return;
    }

    if (!seat->process->ending && !seat->process->is_broken) {
        ngx_log_error(NGX_LOG_WARN, seat->process->log, ngx_errno,
                      "claude: the record of the session of process %P could "
                      "not be written", seat->process->pid);
        seat->doubtful = 1;
    }
}
