
/*
 * The driver: the blocks of an answer.
 *
 * The lines of the stream say where a block begins, what is added to it, and
 * where it ends; the asker is told the same.  At most one block is open.  It
 * is the process's, and lasts from the one line to the other: what came in
 * pieces and is needed as a whole, a signature or what a link wants, is kept
 * here until then.
 */


#include "ngx_claude_driver_private.h"


/* what a delta adds to; others are told as they are */
typedef enum {
    DRIVER_DELTA_TEXT = 0,
    DRIVER_DELTA_THINKING,
    DRIVER_DELTA_INPUT,
    DRIVER_DELTA_SIGNATURE,
    DRIVER_DELTA_OTHER
} driver_delta_e;


static ngx_claude_block_e driver_block_type(ngx_str_t *word);
static driver_delta_e driver_delta(ngx_str_t *word);
static void driver_block_piece(ngx_claude_process_t *process,
    ngx_str_t *piece);
static ngx_uint_t driver_block_ready(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line, driver_delta_e delta);
static ngx_int_t driver_block_keep(ngx_claude_process_t *process,
    ngx_str_t *whole);
static void driver_one_line(ngx_str_t *json);


#define driver_is(s, text)                                                    \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_memcmp((s)->data, text, sizeof(text) - 1) == 0)


void
driver_block_start(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t           *text;
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t   block;

    driver_block_end(process);

    turn = process->turn;
    text = &line->string[NGX_CLAUDE_CLI_S_TEXT];

    ngx_memzero(&block, sizeof(ngx_claude_block_t));

    block.type = driver_block_type(&line->string[NGX_CLAUDE_CLI_S_BLOCK_TYPE]);

    switch (block.type) {

    case NGX_CLAUDE_TOOL_USE:

        /* an agent's tools are the CLI's own */

        if (!process->profile->agent) {
            driver_tool_use(process, line);
        }

        return;

    case NGX_CLAUDE_REDACTED:
        block.text = line->string[NGX_CLAUDE_CLI_S_DATA];
        break;

    case NGX_CLAUDE_OTHER:

        if (line->block.len == 0) {
            return;
        }

        driver_one_line(&line->block);

        block.text = line->block;
        block.id = line->string[NGX_CLAUDE_CLI_S_BLOCK_ID];
        block.name = line->string[NGX_CLAUDE_CLI_S_BLOCK_NAME];
        break;

    default:
        break;
    }

    driver_block_begin(process, line, &block);

    if (process->turn != turn || turn->is_finished) {
        return;
    }

    if (block.type == NGX_CLAUDE_THINKING
        && ngx_claude_text_add(&process->open.signature,
                          line->string[NGX_CLAUDE_CLI_S_SIGNATURE].data,
                          line->string[NGX_CLAUDE_CLI_S_SIGNATURE].len)
           != NGX_OK)
    {
        driver_no_memory(process);
        return;
    }

    if (text->len && (block.type == NGX_CLAUDE_TEXT
                      || block.type == NGX_CLAUDE_THINKING))
    {
        driver_token(turn);
        driver_block_piece(process, text);
    }
}


void
driver_block_begin(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line, ngx_claude_block_t *block)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    process->open.is_open = 1;
    process->open.index = line->number[NGX_CLAUDE_CLI_N_INDEX];
    process->open.block = *block;
    process->open.signature.pool = process->pool;
    process->open.signature.len = 0;

    ngx_claude_link_open(&process->answer, block->type);

    if (driver_block_keep(process, &block->text) != NGX_OK) {
        driver_no_memory(process);
        return;
    }

    turn->handlers->open(turn, &process->open.block);

    /* what the line says of it goes with the line; a call's is the call's */

    ngx_str_null(&process->open.block.text);

    if (block->type != NGX_CLAUDE_TOOL_USE) {
        ngx_str_null(&process->open.block.id);
        ngx_str_null(&process->open.block.name);
    }
}


/* a link wants what nobody else does: a block as the client sends it back */

static ngx_int_t
driver_block_keep(ngx_claude_process_t *process, ngx_str_t *whole)
{
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    ngx_memzero(&process->open.input, sizeof(ngx_claude_text_t));
    ngx_str_null(&process->open.whole);

    if (!turn->verbatim || whole->len == 0) {
        return NGX_OK;
    }

    process->open.input.pool = turn->pool;
    process->open.whole.data = ngx_pstrdup(turn->pool, whole);

    if (process->open.whole.data == NULL) {
        return NGX_ERROR;
    }

    process->open.whole.len = whole->len;

    return NGX_OK;
}


void
driver_block_delta(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t           *text, *signature;
    driver_delta_e       delta;
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t  *block;

    turn = process->turn;
    block = &process->open.block;
    text = &line->string[NGX_CLAUDE_CLI_S_TEXT];
    signature = &line->string[NGX_CLAUDE_CLI_S_SIGNATURE];
    delta = driver_delta(&line->string[NGX_CLAUDE_CLI_S_DELTA_TYPE]);

    if (text->len) {
        driver_token(turn);
    }

    if (!driver_block_ready(process, line, delta)) {
        return;
    }

    switch (delta) {

    case DRIVER_DELTA_TEXT:
        if (block->type != NGX_CLAUDE_TEXT) {
            break;
        }

        driver_block_piece(process, text);
        return;

    case DRIVER_DELTA_THINKING:
        if (block->type != NGX_CLAUDE_THINKING) {
            break;
        }

        driver_block_piece(process, text);
        return;

    case DRIVER_DELTA_INPUT:
        if (block->type != NGX_CLAUDE_TOOL_USE
            && block->type != NGX_CLAUDE_OTHER)
        {
            break;
        }

        driver_block_piece(process, text);
        return;

    case DRIVER_DELTA_SIGNATURE:
        if (block->type != NGX_CLAUDE_THINKING) {
            break;
        }

        if (ngx_claude_text_add(&process->open.signature, signature->data,
                                signature->len)
            != NGX_OK)
        {
            driver_no_memory(process);
        }

        return;

    default:
        break;
    }

    if (line->delta.len) {
        driver_one_line(&line->delta);

        turn->handlers->other(turn, block, line->delta.data,
                              line->delta.len);
    }
}


/*
 * Whether the delta has a block to go to.  Text and thinking that come without
 * a beginning have a block of their own; input is that of a tool that is not
 * told.
 */

static ngx_uint_t
driver_block_ready(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line, driver_delta_e delta)
{
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t   block;

    turn = process->turn;

    if (process->open.is_open) {

        if (process->open.index == line->number[NGX_CLAUDE_CLI_N_INDEX]) {
            return 1;
        }

        driver_block_end(process);
    }

    if (line->string[NGX_CLAUDE_CLI_S_TEXT].len == 0
        || (delta != DRIVER_DELTA_TEXT && delta != DRIVER_DELTA_THINKING))
    {
        return 0;
    }

    ngx_memzero(&block, sizeof(ngx_claude_block_t));

    block.type = (delta == DRIVER_DELTA_TEXT) ? NGX_CLAUDE_TEXT
                                              : NGX_CLAUDE_THINKING;

    driver_block_begin(process, line, &block);

    return process->turn == turn && !turn->is_finished;
}


/* a piece of what the open block is made of */

static void
driver_block_piece(ngx_claude_process_t *process, ngx_str_t *piece)
{
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t  *block;

    turn = process->turn;
    block = &process->open.block;

    if (piece->len == 0) {
        return;
    }

    switch (block->type) {

    case NGX_CLAUDE_TEXT:

        if (process->parted) {
            process->parted = 0;
            driver_agent_part(process);

            if (process->turn != turn || turn->is_finished) {
                return;
            }
        }

        process->texted = 1;
        driver_said(process, piece->data, piece->len);
        driver_block_text(process, piece->data, piece->len);
        return;

    case NGX_CLAUDE_TOOL_USE:

        if (driver_arguments(process, piece->data, piece->len) != NGX_OK) {
            driver_no_memory(process);
        }

        return;

    case NGX_CLAUDE_THINKING:
        ngx_claude_link_thought(&process->answer, piece->data, piece->len);
        break;

    default:

        if (process->open.whole.len
            && ngx_claude_text_add(&process->open.input, piece->data,
                                   piece->len)
               != NGX_OK)
        {
            driver_no_memory(process);
            return;
        }
    }

    turn->handlers->delta(turn, block, piece->data, piece->len);
}


void
driver_block_text(ngx_claude_process_t *process, u_char *p, size_t len)
{
    ngx_claude_link_add(&process->answer, p, len);

    process->turn->handlers->delta(process->turn, &process->open.block, p,
                                   len);
}


void
driver_block_stop(ngx_claude_process_t *process)
{
    if (process->open.is_open
        && process->open.block.type == NGX_CLAUDE_TOOL_USE
        && driver_call_end(process) != NGX_OK)
    {
        driver_no_memory(process);
        return;
    }

    driver_block_end(process);
}


void
driver_block_end(ngx_claude_process_t *process)
{
    ngx_str_t            input;
    ngx_claude_turn_t   *turn;
    ngx_claude_block_t   block;

    if (!process->open.is_open) {
        return;
    }

    turn = process->turn;

    process->open.is_open = 0;
    process->open.block.signature.data = process->open.signature.data;
    process->open.block.signature.len = process->open.signature.len;

    if (turn->verbatim) {
        block = process->open.block;
        block.text = process->open.whole;
        input.data = process->open.input.data;
        input.len = process->open.input.len;

        if (ngx_claude_link_close(&process->answer, &block, &input,
                                  process->log)
            != NGX_OK)
        {
            /* it is not known what the process holds */

            process->doubtful = 1;
        }
    }

    turn->handlers->close(turn, &process->open.block);
}


/* a CR between two tokens could end a line of what the asker writes */

static void
driver_one_line(ngx_str_t *json)
{
    u_char  *p, *last;

    last = json->data + json->len;

    for (p = json->data; (p = ngx_strlchr(p, last, CR)) != NULL; p++) {
        *p = ' ';
    }
}


static ngx_claude_block_e
driver_block_type(ngx_str_t *word)
{
    if (driver_is(word, "text")) {
        return NGX_CLAUDE_TEXT;
    }

    if (driver_is(word, "tool_use")) {
        return NGX_CLAUDE_TOOL_USE;
    }

    if (driver_is(word, "thinking")) {
        return NGX_CLAUDE_THINKING;
    }

    if (driver_is(word, "redacted_thinking")) {
        return NGX_CLAUDE_REDACTED;
    }

    return NGX_CLAUDE_OTHER;
}


static driver_delta_e
driver_delta(ngx_str_t *word)
{
    if (driver_is(word, "text_delta")) {
        return DRIVER_DELTA_TEXT;
    }

    if (driver_is(word, "input_json_delta")) {
        return DRIVER_DELTA_INPUT;
    }

    if (driver_is(word, "thinking_delta")) {
        return DRIVER_DELTA_THINKING;
    }

    if (driver_is(word, "signature_delta")) {
        return DRIVER_DELTA_SIGNATURE;
    }

    return DRIVER_DELTA_OTHER;
}
