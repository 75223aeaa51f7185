
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
#include "ngx_claude_gate.h"
#include "ngx_claude_utf8.h"


/* longer than the longest answer of any model */
#define DRIVER_SAID_MAX  1048576


static void driver_restate_message(ngx_claude_message_t *message,
    ngx_claude_block_t *block, ngx_claude_role_e role, ngx_str_t *text);


void
driver_said(ngx_claude_seat_t *seat, u_char *p, size_t len)
{
    u_char             *data;
    size_t              size;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (seat->process->profile->agent
        || (turn->max_tokens == 0 && !turn->stoppable && !turn->session.named))
    {
        return;
    }

    if (seat->reply.said_size - seat->reply.said.len < len) {

        size = 2 * (seat->reply.said.len + len);
        data = (size <= 2 * DRIVER_SAID_MAX)
               ? ngx_alloc(size, seat->process->log) : NULL;

        if (data == NULL) {

            /* without a copy the answer is not put in again */

            driver_said_drop(seat);
            return;
        }

        if (seat->reply.said.len) {
            ngx_memcpy(data, seat->reply.said.data, seat->reply.said.len);
            ngx_free(seat->reply.said.data);
        }

        seat->reply.said.data = data;
        seat->reply.said_size = size;
    }

    ngx_memcpy(seat->reply.said.data + seat->reply.said.len, p, len);
    seat->reply.said.len += len;
}


void
driver_said_drop(ngx_claude_seat_t *seat)
{
    if (seat->reply.said_size) {
        ngx_free(seat->reply.said.data);
    }

    ngx_str_null(&seat->reply.said);
    seat->reply.said_size = 0;
}


/*
 * Marks the record "not resumable" before the client has an answer that the
 * transcript lacks: if the process does not get so far as to put it in again,
 * the session is not resumed.
 */

void
driver_restate_announce(ngx_claude_seat_t *seat)
{
    if (driver_restate_due(seat)) {
        driver_session_unrecord(seat);
    }
}


ngx_uint_t
driver_restate_due(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    return !seat->doubtful && !seat->process->is_broken
           && seat->holding.ncalls == 0
           && (turn->answer.stop == NGX_CLAUDE_STOP_LENGTH
               || turn->answer.stop == NGX_CLAUDE_STOP_SEQUENCE)
           && !ngx_claude_utf8_blank(&seat->reply.said);
}


/* the question is there again: now the answer */

ngx_int_t
driver_restate(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_str_t             *said;
    ngx_claude_link_t     *links, link;
    ngx_claude_block_t     block;
    ngx_claude_message_t   message;

    links = seat->turn->engine.links;
    said = &seat->reply.said;

    driver_restate_message(&message, &block, NGX_CLAUDE_ASSISTANT, said);

    ngx_claude_link_begin(&seat->reply.answer,
                          &links[seat->turn->messages.nelts], 0);
    ngx_claude_link_add(&seat->reply.answer, said->data, said->len);
    ngx_claude_link_end(&seat->reply.answer, &link);

    if (ngx_claude_cli_message(seat->outbox, seat->holding.nonce, &message,
                               ++seat->holding.lines, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_claude_holding_add(&seat->holding, &seat->held, &link, 0);
}


/*
 * A message that makes the CLI write the answer, and that no chain has.  What
 * a killed CLI may leave of it on disk the gate keeps from the model.
 */

ngx_int_t
driver_mark(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_claude_link_t     link;
    ngx_claude_block_t    block;
    ngx_claude_message_t  message;

    static ngx_str_t  text = ngx_string(".");
    static ngx_str_t  gated = ngx_string(NGX_CLAUDE_GATE_LEFT_OUT);

    driver_restate_message(&message, &block, NGX_CLAUDE_USER,
                           driver_gate_trusted(seat) ? &gated : &text);

    seat->holding.newest = ++seat->holding.lines;

    if (ngx_claude_cli_message(seat->outbox, seat->holding.nonce, &message,
                               seat->holding.newest, 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&link, sizeof(ngx_claude_link_t));

    return ngx_claude_holding_add(&seat->holding, &seat->held, &link,
                                  seat->holding.newest);
}


/* any request whose answer shows that what was written before it was read */

ngx_int_t
driver_sync(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    seat->due++;

    return ngx_claude_cli_get_version(seat->outbox,
                                      driver_id(seat, DRIVER_VERSION));
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
