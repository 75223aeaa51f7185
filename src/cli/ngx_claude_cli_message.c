
/*
 * The CLI's protocol, writing: messages of a conversation with their blocks.
 * Text of clients goes in by reference and is escaped as the pipe drains.
 */


#include "ngx_claude_cli_private.h"


/* blocks that are written at once */
#define CLI_BLOCKS  64


/* blocks that are written as the pipe drains */
typedef struct {
    ngx_array_t  *blocks;
    ngx_uint_t    n;                         /* the next one */
} cli_blocks_t;


static void cli_blocks(ngx_claude_out_t *out, ngx_array_t *blocks);
static ngx_int_t cli_blocks_more(ngx_claude_out_t *out, void *data);
static void cli_block(ngx_claude_out_t *out, ngx_claude_block_t *block);
static void cli_source(ngx_claude_out_t *out, ngx_claude_block_t *block);
static void cli_tool_result(ngx_claude_out_t *out,
    ngx_claude_block_t *block);
static void cli_tool_error(ngx_claude_out_t *out, ngx_claude_block_t *block);


/*
 * A message of the conversation.  query: the model is to answer it; without,
 * it is appended to what the CLI holds.  client_composed keeps the CLI from
 * reading files that the text names and from obeying commands in it.  A model
 * is named where there is thinking: else the CLI does not send it.
 */

ngx_int_t
ngx_claude_cli_message(ngx_claude_outbox_t *outbox, u_char *nonce,
    ngx_claude_message_t *message, ngx_uint_t n, ngx_uint_t query)
{
    u_char               uuid[NGX_CLAUDE_UUID_LEN];
    ngx_claude_out_t    *out;
    ngx_claude_block_t  *block;

    out = ngx_claude_outbox_begin(outbox);

    block = message->blocks.elts;

    if (message->role == NGX_CLAUDE_USER) {
        ngx_claude_out_literal(out, "{\"type\":\"user\",\"message\":"
                               "{\"role\":\"user\",\"content\":");

    } else {
        ngx_claude_out_literal(out, "{\"type\":\"assistant\",\"message\":{");

        if (message->model.len && message->thinks) {
            ngx_claude_out(out, "\"model\":%J,", &message->model);
        }

        ngx_claude_out_literal(out, "\"role\":\"assistant\",\"content\":");
    }

    if (message->role == NGX_CLAUDE_USER && message->blocks.nelts == 1
        && block->type == NGX_CLAUDE_TEXT)
    {
        ngx_claude_out(out, "%J", &block->text);

    } else {
        cli_blocks(out, &message->blocks);
    }

    ngx_claude_out_literal(out, "},\"parent_tool_use_id\":null,"
                           "\"session_id\":\"\",\"uuid\":\"");
    ngx_claude_cli_uuid(uuid, nonce, n);
    ngx_claude_out_write(out, uuid, sizeof(uuid));

    if (message->role == NGX_CLAUDE_ASSISTANT) {
        ngx_claude_out_literal(out, "\"}\n");

    } else if (query) {
        ngx_claude_out_literal(out, "\",\"client_composed\":true}\n");

    } else {
        ngx_claude_out_literal(out, "\",\"client_composed\":true,"
                               "\"shouldQuery\":false}\n");
    }

    return ngx_claude_outbox_end(outbox);
}


static void
cli_blocks(ngx_claude_out_t *out, ngx_array_t *blocks)
{
    cli_blocks_t  more;

    more.blocks = blocks;
    more.n = 0;

    ngx_claude_out_literal(out, "[");

    if (blocks->nelts > CLI_BLOCKS) {
        ngx_claude_outbox_more(out, cli_blocks_more, &more,
                               sizeof(cli_blocks_t));
    } else {
        (void) cli_blocks_more(out, &more);
    }

    ngx_claude_out_literal(out, "]");
}


static ngx_int_t
cli_blocks_more(ngx_claude_out_t *out, void *data)
{
    cli_blocks_t *more = data;

    ngx_uint_t           last;
    ngx_claude_block_t  *block;

    block = more->blocks->elts;
    last = ngx_min(more->n + CLI_BLOCKS, more->blocks->nelts);

    while (more->n < last) {

        if (more->n) {
            ngx_claude_out_literal(out, ",");
        }

        cli_block(out, &block[more->n++]);
    }

    return (more->n < more->blocks->nelts) ? NGX_AGAIN : NGX_OK;
}


static void
cli_block(ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    switch (block->type) {

    case NGX_CLAUDE_TEXT:
        ngx_claude_out(out, "{\"type\":\"text\",\"text\":%J}",
                       &block->text);
        break;

    case NGX_CLAUDE_IMAGE:
        ngx_claude_out_literal(out, "{\"type\":\"image\",\"source\":");
        cli_source(out, block);
        ngx_claude_out_literal(out, "}");
        break;

    case NGX_CLAUDE_DOCUMENT:
        ngx_claude_out_literal(out, "{\"type\":\"document\",\"source\":");
        cli_source(out, block);

        if (block->name.len) {
            ngx_claude_out(out, ",\"title\":%J", &block->name);
        }

        ngx_claude_out_literal(out, "}");
        break;

    case NGX_CLAUDE_TOOL_USE:
        ngx_claude_out(out, "{\"type\":\"tool_use\",\"id\":%J,\"name\":%J,"
                       "\"input\":%V}", &block->id, &block->name,
                       &block->text);
        break;

    case NGX_CLAUDE_TOOL_RESULT:

        if (block->is_error) {
            cli_tool_error(out, block);

        } else {
            cli_tool_result(out, block);
        }

        break;

    case NGX_CLAUDE_THINKING:
        ngx_claude_out(out, "{\"type\":\"thinking\",\"thinking\":%J,"
                       "\"signature\":%J}", &block->text, &block->signature);
        break;

    case NGX_CLAUDE_REDACTED:
        ngx_claude_out(out, "{\"type\":\"redacted_thinking\",\"data\":%J}",
                       &block->text);
        break;

    case NGX_CLAUDE_OTHER:
        ngx_claude_out(out, "%V", &block->text);
        break;
    }
}


static void
cli_source(ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    if (block->media.len == 0) {
        ngx_claude_out_literal(out, "{\"type\":\"url\",\"url\":");

    } else if (block->media.len == sizeof("text/plain") - 1
               && ngx_memcmp(block->media.data, "text/plain",
                             sizeof("text/plain") - 1)
                  == 0)
    {
        ngx_claude_out_literal(out, "{\"type\":\"text\","
                               "\"media_type\":\"text/plain\",\"data\":");

    } else {
        ngx_claude_out(out, "{\"type\":\"base64\",\"media_type\":%J,"
                       "\"data\":", &block->media);
    }

    ngx_claude_out(out, "%J}", &block->text);
}


/* the members in the order that the CLI itself writes them in, live */

static void
cli_tool_result(ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    ngx_claude_out(out, "{\"tool_use_id\":%J,\"type\":\"tool_result\"",
                   &block->id);

    if (block->content && block->content->nelts) {
        ngx_claude_out_literal(out, ",\"content\":");
        cli_blocks(out, block->content);
    }

    ngx_claude_out_literal(out, "}");
}


/* the result of a tool that failed, whose words are no array when live */

static void
cli_tool_error(ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    ngx_claude_block_t  *inner;

    ngx_claude_out_literal(out, "{\"type\":\"tool_result\"");

    if (block->content && block->content->nelts) {
        ngx_claude_out_literal(out, ",\"content\":");

        inner = block->content->elts;

        if (block->content->nelts == 1 && inner->type == NGX_CLAUDE_TEXT) {
            ngx_claude_out(out, "%J", &inner->text);

        } else {
            cli_blocks(out, block->content);
        }
    }

    ngx_claude_out(out, ",\"is_error\":true,\"tool_use_id\":%J}",
                   &block->id);
}
