
/*
 * The driver: answers that the CLI does not keep.
 *
 * After some ends (a limit, a stop sequence of the asker's own) the CLI would
 * ask the model again, so it is interrupted and the question is taken back.
 * The client has the answer all the same, and goes on from it: question and
 * answer are put into the conversation as a history is, before the process
 * is done with the turn.
 *
 * For that the text is kept of turns that may end so: those with a limit or a
 * stop sequence, and those of a session, which is only here.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_utf8.h"


/* longer than the longest answer of any model */
#define DRIVER_SAID_MAX  1048576


static ngx_uint_t driver_restate_due(ngx_claude_process_t *process);
static void driver_restate_begin(ngx_claude_process_t *process,
    ngx_uint_t keep);
static ngx_int_t driver_restate_answer(ngx_claude_process_t *process);
static ngx_int_t driver_restate_mark(ngx_claude_process_t *process);
static void driver_restate_message(ngx_claude_message_t *message,
    ngx_claude_block_t *block, ngx_claude_role_e role, ngx_str_t *text);


void
driver_said(ngx_claude_process_t *process, u_char *p, size_t len)
{
    u_char             *data;
    size_t              size;
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (process->profile->agent
        || (turn->max_tokens == 0 && !turn->stoppable && !turn->session.named))
    {
        return;
    }

    if (process->said_size - process->said.len < len) {

        size = 2 * (process->said.len + len);
        data = (size <= 2 * DRIVER_SAID_MAX) ? ngx_alloc(size, process->log)
                                             : NULL;

        if (data == NULL) {

            /* it is only not kept */

            driver_said_drop(process);
            return;
        }

        if (process->said.len) {
            ngx_memcpy(data, process->said.data, process->said.len);
            ngx_free(process->said.data);
        }

        process->said.data = data;
        process->said_size = size;
    }

    ngx_memcpy(process->said.data + process->said.len, p, len);
    process->said.len += len;
}


void
driver_said_drop(ngx_claude_process_t *process)
{
    if (process->said_size) {
        ngx_free(process->said.data);
    }

    ngx_str_null(&process->said);
    process->said_size = 0;
}


/* whether the process goes on with its turn, which the client has ended */

ngx_uint_t
driver_restate(ngx_claude_process_t *process)
{
    ngx_uint_t  keep;

    if (!process->cut || !process->turn || !process->turn->is_finished
        || !driver_restate_due(process))
    {
        return 0;
    }

    keep = ngx_claude_driver_cut(process, process->held.nelts - 1);

    if (keep < process->turn->before) {

        /* results of calls that only the process knew: it cannot go on */

        process->doubtful = 1;
        return 0;
    }

    driver_restate_begin(process, keep);

    return 1;
}


/*
 * Until it is put in again the transcript lacks what the client is about to
 * have: if the process does not get so far, the session is not resumed.
 */

void
driver_restate_announce(ngx_claude_process_t *process)
{
    if (driver_restate_due(process)) {
        driver_session_unrecord(process);
    }
}


static ngx_uint_t
driver_restate_due(ngx_claude_process_t *process)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    return !process->doubtful && !process->is_broken
           && process->calls.nelts == 0
           && (turn->stop == NGX_CLAUDE_STOP_LENGTH
               || turn->stop == NGX_CLAUDE_STOP_SEQUENCE)
           && !ngx_claude_utf8_blank(&process->said);
}


static void
driver_restate_begin(ngx_claude_process_t *process, ngx_uint_t keep)
{
    process->cut = 0;
    process->restating = 1;
    process->phase = DRIVER_REWINDING;

    if (driver_rewind(process, keep) != NGX_OK) {
        process->doubtful = 1;
        process->restating = 0;
        driver_settled(process);
        return;
    }

    ngx_claude_driver_rearm(process);
    ngx_claude_process_flush(process);
}


/*
 * The question is there again: now the answer, and a sign that it has come.
 * Into a transcript the CLI writes it with the next message only, so there is
 * one, which is taken back.
 */

void
driver_restate_next(ngx_claude_process_t *process)
{
    ngx_int_t           rc;
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (process->held.nelts - turn->before == turn->messages.nelts) {

        rc = driver_restate_answer(process);

        if (rc == NGX_OK && process->recorded) {
            process->phase = DRIVER_REPLAYING;
            rc = driver_restate_mark(process);

        } else if (rc == NGX_OK) {
            process->restating = 0;
            process->phase = DRIVER_REWINDING;
            process->expected++;

            rc = ngx_claude_cli_get_version(process,
                                  driver_id(process, DRIVER_VERSION));
        }

    } else {
        process->restating = 0;
        process->phase = DRIVER_REWINDING;

        rc = driver_rewind(process, process->held.nelts - 1);
    }

    if (rc != NGX_OK) {
        process->doubtful = 1;
        driver_settled(process);
        return;
    }

    ngx_claude_driver_rearm(process);
    ngx_claude_process_flush(process);
}


static ngx_int_t
driver_restate_answer(ngx_claude_process_t *process)
{
    ngx_str_t            *said;
    ngx_claude_link_t    *links, link;
    ngx_claude_block_t    block;
    ngx_claude_message_t  message;

    links = process->turn->links;
    said = &process->said;

    driver_restate_message(&message, &block, NGX_CLAUDE_ASSISTANT, said);

    ngx_claude_link_begin(&process->answer,
                          &links[process->turn->messages.nelts], 0);
    ngx_claude_link_add(&process->answer, said->data, said->len);
    ngx_claude_link_end(&process->answer, &link);

    if (ngx_claude_cli_message(process, &message, ++process->lines, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return driver_hold(process, &link, 0);
}


static ngx_int_t
driver_restate_mark(ngx_claude_process_t *process)
{
    ngx_claude_link_t     link;
    ngx_claude_block_t    block;
    ngx_claude_message_t  message;

    static ngx_str_t  text = ngx_string(".");

    driver_restate_message(&message, &block, NGX_CLAUDE_USER, &text);

    process->newest = ++process->lines;

    if (ngx_claude_cli_message(process, &message, process->newest, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* no conversation has it */

    ngx_memzero(&link, sizeof(ngx_claude_link_t));

    return driver_hold(process, &link, process->newest);
}


static void
driver_restate_message(ngx_claude_message_t *message,
    ngx_claude_block_t *block, ngx_claude_role_e role,
    ngx_str_t *text)
{
    ngx_memzero(block, sizeof(ngx_claude_block_t));
    ngx_memzero(message, sizeof(ngx_claude_message_t));

    block->type = NGX_CLAUDE_TEXT;
    block->text = *text;

    message->role = role;
    message->blocks.elts = block;
    message->blocks.nelts = 1;
}
