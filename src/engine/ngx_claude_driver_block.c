
/*
 * The driver: the blocks of an answer.
 *
 * The lines of the stream say where a block begins, what is added to it, and
 * where it ends; the asker is told the same.  At most one block is open.  It
 * is the seat's, and lasts from the one line to the other: what came in
 * pieces and is needed as a whole, a signature or what a link wants, is kept
 * here until then.
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_utf8.h"


/* parts of a block that a delta adds to; others are told as they are */
typedef enum {
    DRIVER_DELTA_TEXT = 0,
    DRIVER_DELTA_THINKING,
    DRIVER_DELTA_INPUT,
    DRIVER_DELTA_SIGNATURE,
    DRIVER_DELTA_OTHER
} driver_delta_e;


static ngx_claude_block_e driver_block_type(ngx_str_t *word);
static driver_delta_e driver_delta(ngx_str_t *word);
static void driver_block_text(ngx_claude_seat_t *seat, u_char *p, size_t len);
static ngx_uint_t driver_deaf(ngx_claude_seat_t *seat,
    ngx_claude_turn_t *turn);
static ngx_claude_heard_e driver_block_piece(ngx_claude_seat_t *seat,
    ngx_str_t *piece);
static ngx_claude_heard_e driver_block_ready(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line, driver_delta_e delta);
static ngx_claude_heard_e driver_block_call(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line, ngx_claude_block_t *block);
static ngx_claude_heard_e driver_block_begin(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line, ngx_claude_block_t *block);
static ngx_int_t driver_block_keep(ngx_claude_seat_t *seat, ngx_str_t *whole);
static ngx_uint_t driver_one_line(ngx_str_t *json);


ngx_claude_heard_e
driver_block_start(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t           *text;
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t   block;
    ngx_claude_heard_e   heard;

    turn = seat->turn;

    driver_block_end(seat);

    if (driver_deaf(seat, turn)) {
        return NGX_CLAUDE_HEARD;
    }

    text = &line->string[NGX_CLAUDE_CLI_S_TEXT];

    ngx_memzero(&block, sizeof(ngx_claude_block_t));

    block.type = driver_block_type(&line->string[NGX_CLAUDE_CLI_S_BLOCK_TYPE]);

    switch (block.type) {

    case NGX_CLAUDE_TOOL_USE:

        /* an agent's tools are the CLI's own */

        if (seat->process->profile->agent) {
            return NGX_CLAUDE_HEARD;
        }

        driver_token(turn);

        return driver_block_call(seat, line, &block);

    case NGX_CLAUDE_REDACTED:
        block.text = line->string[NGX_CLAUDE_CLI_S_DATA];
        break;

    case NGX_CLAUDE_OTHER:

        if (!driver_one_line(&line->block)) {
            return NGX_CLAUDE_HEARD;
        }

        block.text = line->block;
        block.id = line->string[NGX_CLAUDE_CLI_S_BLOCK_ID];
        block.name = line->string[NGX_CLAUDE_CLI_S_BLOCK_NAME];
        break;

    default:
        break;
    }

    heard = driver_block_begin(seat, line, &block);

    if (heard != NGX_CLAUDE_HEARD || driver_deaf(seat, turn)) {
        return heard;
    }

    if (block.type == NGX_CLAUDE_THINKING
        && ngx_claude_text_add(&seat->open.signature,
                               line->string[NGX_CLAUDE_CLI_S_SIGNATURE].data,
                               line->string[NGX_CLAUDE_CLI_S_SIGNATURE].len)
           != NGX_OK)
    {
        return driver_no_memory(seat);
    }

    if (text->len && (block.type == NGX_CLAUDE_TEXT
                      || block.type == NGX_CLAUDE_THINKING))
    {
        driver_token(turn);
        return driver_block_piece(seat, text);
    }

    return NGX_CLAUDE_HEARD;
}


/* the model calls a tool, of the turn or not */

static ngx_claude_heard_e
driver_block_call(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line,
    ngx_claude_block_t *block)
{
    switch (driver_call(seat, line, block)) {

    case NGX_OK:
        return driver_block_begin(seat, line, block);

    case NGX_DECLINED:
        return driver_foreign_tool(seat);

    default:
        return driver_no_memory(seat);
    }
}


static ngx_claude_heard_e
driver_block_begin(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line,
    ngx_claude_block_t *block)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    seat->open.is_open = 1;
    seat->open.index = line->number[NGX_CLAUDE_CLI_N_INDEX];
    seat->open.block = *block;
    seat->open.signature.pool = seat->pool;
    seat->open.signature.len = 0;

    ngx_claude_link_open(&seat->reply.answer, block->type);

    if (driver_block_keep(seat, &block->text) != NGX_OK) {
        return driver_no_memory(seat);
    }

    turn->handlers->open(turn, &seat->open.block);

    /* strings of the line go with the line; those of a call are the call's */

    ngx_str_null(&seat->open.block.text);

    if (block->type != NGX_CLAUDE_TOOL_USE) {
        ngx_str_null(&seat->open.block.id);
        ngx_str_null(&seat->open.block.name);
    }

    return NGX_CLAUDE_HEARD;
}


/* whether the asker has left, or has heard enough, inside of a handler */

static ngx_uint_t
driver_deaf(ngx_claude_seat_t *seat, ngx_claude_turn_t *turn)
{
    return seat->turn != turn || turn->answer.is_finished;
}


/* a link wants what nobody else does: a block as the client sends it back */

static ngx_int_t
driver_block_keep(ngx_claude_seat_t *seat, ngx_str_t *whole)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    ngx_memzero(&seat->open.input, sizeof(ngx_claude_text_t));
    ngx_str_null(&seat->open.whole);

    if (!turn->verbatim || whole->len == 0) {
        return NGX_OK;
    }

    seat->open.input.pool = turn->pool;
    seat->open.whole.data = ngx_pstrdup(turn->pool, whole);

    if (seat->open.whole.data == NULL) {
        return NGX_ERROR;
    }

    seat->open.whole.len = whole->len;

    return NGX_OK;
}


ngx_claude_heard_e
driver_block_delta(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t           *text, *signature;
    driver_delta_e       delta;
    ngx_claude_turn_t   *turn;
    ngx_claude_heard_e   heard;
    ngx_claude_block_t  *block;

    turn = seat->turn;
    block = &seat->open.block;
    text = &line->string[NGX_CLAUDE_CLI_S_TEXT];
    signature = &line->string[NGX_CLAUDE_CLI_S_SIGNATURE];
    delta = driver_delta(&line->string[NGX_CLAUDE_CLI_S_DELTA_TYPE]);

    if (text->len) {
        driver_token(turn);
    }

    heard = driver_block_ready(seat, line, delta);

    if (heard != NGX_CLAUDE_HEARD || driver_deaf(seat, turn)
        || !seat->open.is_open)
    {
        return heard;
    }

    switch (delta) {

    case DRIVER_DELTA_TEXT:
        if (block->type != NGX_CLAUDE_TEXT) {
            break;
        }

        return driver_block_piece(seat, text);

    case DRIVER_DELTA_THINKING:
        if (block->type != NGX_CLAUDE_THINKING) {
            break;
        }

        return driver_block_piece(seat, text);

    case DRIVER_DELTA_INPUT:
        if (block->type != NGX_CLAUDE_TOOL_USE
            && block->type != NGX_CLAUDE_OTHER)
        {
            break;
        }

        return driver_block_piece(seat, text);

    case DRIVER_DELTA_SIGNATURE:
        if (block->type != NGX_CLAUDE_THINKING) {
            break;
        }

        return (ngx_claude_text_add(&seat->open.signature, signature->data,
                                    signature->len)
                == NGX_OK)
               ? NGX_CLAUDE_HEARD : driver_no_memory(seat);

    default:
        break;
    }

    if (driver_one_line(&line->delta)) {
        turn->handlers->other(turn, block, line->delta.data, line->delta.len);
    }

    return NGX_CLAUDE_HEARD;
}


/*
 * Opens, if need be, the block that the delta goes to.  Text and thinking that
 * come without a beginning have a block of their own; input is that of a tool
 * that is not told.
 */

static ngx_claude_heard_e
driver_block_ready(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line,
    driver_delta_e delta)
{
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t   block;

    turn = seat->turn;

    if (seat->open.is_open) {

        if (seat->open.index == line->number[NGX_CLAUDE_CLI_N_INDEX]) {
            return NGX_CLAUDE_HEARD;
        }

        driver_block_end(seat);

        if (driver_deaf(seat, turn)) {
            return NGX_CLAUDE_HEARD;
        }
    }

    if (line->string[NGX_CLAUDE_CLI_S_TEXT].len == 0
        || (delta != DRIVER_DELTA_TEXT && delta != DRIVER_DELTA_THINKING))
    {
        return NGX_CLAUDE_HEARD;
    }

    ngx_memzero(&block, sizeof(ngx_claude_block_t));

    block.type = (delta == DRIVER_DELTA_TEXT) ? NGX_CLAUDE_TEXT
                                              : NGX_CLAUDE_THINKING;

    return driver_block_begin(seat, line, &block);
}


/* a piece of what the open block is made of */

static ngx_claude_heard_e
driver_block_piece(ngx_claude_seat_t *seat, ngx_str_t *piece)
{
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t  *block;

    static u_char  part[] = "\n\n";

    turn = seat->turn;
    block = &seat->open.block;

    if (piece->len == 0) {
        return NGX_CLAUDE_HEARD;
    }

    switch (block->type) {

    case NGX_CLAUDE_TEXT:

        if (seat->reply.parted) {

            /* text of an agent's follows the text of a message before */

            seat->reply.parted = 0;
            driver_block_text(seat, part, 2);

            if (driver_deaf(seat, turn)) {
                return NGX_CLAUDE_HEARD;
            }
        }

        seat->reply.texted = 1;
        driver_said(seat, piece->data, piece->len);
        driver_block_text(seat, piece->data, piece->len);

        return NGX_CLAUDE_HEARD;

    case NGX_CLAUDE_TOOL_USE:

        return (driver_arguments(seat, piece->data, piece->len) == NGX_OK)
               ? NGX_CLAUDE_HEARD : driver_no_memory(seat);

    case NGX_CLAUDE_THINKING:
        ngx_claude_link_thought(&seat->reply.answer, piece->data, piece->len);
        break;

    default:

        if (seat->open.whole.len
            && ngx_claude_text_add(&seat->open.input, piece->data, piece->len)
               != NGX_OK)
        {
            return driver_no_memory(seat);
        }
    }

    turn->handlers->delta(turn, block, piece->data, piece->len);

    return NGX_CLAUDE_HEARD;
}


static void
driver_block_text(ngx_claude_seat_t *seat, u_char *p, size_t len)
{
    ngx_claude_link_add(&seat->reply.answer, p, len);

    seat->turn->handlers->delta(seat->turn, &seat->open.block, p, len);
}


ngx_claude_heard_e
driver_block_stop(ngx_claude_seat_t *seat)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (seat->open.is_open && seat->open.block.type == NGX_CLAUDE_TOOL_USE) {

        if (driver_call_end(seat) != NGX_OK) {
            return driver_no_memory(seat);
        }

        if (driver_deaf(seat, turn)) {
            return NGX_CLAUDE_HEARD;
        }
    }

    driver_block_end(seat);

    return NGX_CLAUDE_HEARD;
}


void
driver_block_end(ngx_claude_seat_t *seat)
{
    ngx_str_t           input;
    ngx_claude_turn_t  *turn;
    ngx_claude_block_t  block;

    if (!seat->open.is_open) {
        return;
    }

    turn = seat->turn;

    seat->open.is_open = 0;
    seat->open.block.signature.data = seat->open.signature.data;
    seat->open.block.signature.len = seat->open.signature.len;

    if (turn->verbatim) {
        block = seat->open.block;
        block.text = seat->open.whole;
        input.data = seat->open.input.data;
        input.len = seat->open.input.len;

        if (ngx_claude_link_close(&seat->reply.answer, &block, &input,
                                  seat->process->log)
            != NGX_OK)
        {
            /* the link of what the process holds is not known */

            seat->doubtful = 1;
        }
    }

    turn->handlers->close(turn, &seat->open.block);
}


/*
 * Whether there is something that can be told as it came: half a surrogate
 * pair as bytes passes yajl, and is no UTF-8.  A CR between two tokens could
 * end a line of what the asker writes.
 */

static ngx_uint_t
driver_one_line(ngx_str_t *json)
{
    u_char  *p, *last;

    if (json->len == 0 || !ngx_claude_utf8_valid(json->data, json->len)) {
        return 0;
    }

    last = json->data + json->len;

    for (p = json->data; (p = ngx_strlchr(p, last, CR)) != NULL; p++) {
        *p = ' ';
    }

    return 1;
}


static ngx_claude_block_e
driver_block_type(ngx_str_t *word)
{
    if (ngx_claude_is(word, "text")) {
        return NGX_CLAUDE_TEXT;
    }

    if (ngx_claude_is(word, "tool_use")) {
        return NGX_CLAUDE_TOOL_USE;
    }

    if (ngx_claude_is(word, "thinking")) {
        return NGX_CLAUDE_THINKING;
    }

    if (ngx_claude_is(word, "redacted_thinking")) {
        return NGX_CLAUDE_REDACTED;
    }

    return NGX_CLAUDE_OTHER;
}


static driver_delta_e
driver_delta(ngx_str_t *word)
{
    if (ngx_claude_is(word, "text_delta")) {
        return DRIVER_DELTA_TEXT;
    }

    if (ngx_claude_is(word, "input_json_delta")) {
        return DRIVER_DELTA_INPUT;
    }

    if (ngx_claude_is(word, "thinking_delta")) {
        return DRIVER_DELTA_THINKING;
    }

    if (ngx_claude_is(word, "signature_delta")) {
        return DRIVER_DELTA_SIGNATURE;
    }

    return DRIVER_DELTA_OTHER;
}
