
/*
 * The CLI's protocol, writing: messages of a conversation with their blocks.
 * Text of clients goes in by reference and is escaped as the pipe drains.
 */


#include "ngx_claude_cli_private.h"


static ngx_uint_t cli_thinks(ngx_claude_message_t *message);
static ngx_int_t cli_blocks(ngx_claude_process_t *process,
    ngx_array_t *blocks);
static ngx_int_t cli_block(ngx_claude_process_t *process,
    ngx_claude_block_t *block);
static ngx_int_t cli_source(ngx_claude_process_t *process,
    ngx_claude_block_t *block);
static ngx_int_t cli_tool_result(ngx_claude_process_t *process,
    ngx_claude_block_t *block);
static ngx_int_t cli_tool_error(ngx_claude_process_t *process,
    ngx_claude_block_t *block);


/*
 * A message of the conversation.  query: the model is to answer it; without,
 * it is appended to what the CLI holds.  client_composed keeps the CLI from
 * reading files that the text names and from obeying commands in it.  A model
 * is named where there is thinking: else the CLI does not send it.
 */

ngx_int_t
ngx_claude_cli_message(ngx_claude_process_t *process,
    ngx_claude_message_t *message, ngx_uint_t n, ngx_uint_t query)
{
    u_char               uuid[NGX_CLAUDE_UUID_LEN];
    ngx_claude_block_t  *block;

    block = message->blocks.elts;

    if (message->role == NGX_CLAUDE_USER) {
        put("{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":");
    } else {
        put("{\"type\":\"assistant\",\"message\":{");

        if (message->model.len && cli_thinks(message)) {
            put("\"model\":");
            escape(&message->model);
            put(",");
        }

        put("\"role\":\"assistant\",\"content\":");
    }

    if (message->role == NGX_CLAUDE_USER && message->blocks.nelts == 1
        && block->type == NGX_CLAUDE_TEXT)
    {
        escape(&block->text);

    } else if (cli_blocks(process, &message->blocks) != NGX_OK) {
        return NGX_ERROR;
    }

    put("},\"parent_tool_use_id\":null,\"session_id\":\"\",\"uuid\":\"");

    ngx_claude_cli_uuid(uuid, process, n);

    if (ngx_claude_process_copy(process, uuid, sizeof(uuid)) != NGX_OK) {
        return NGX_ERROR;
    }

    if (message->role == NGX_CLAUDE_ASSISTANT) {
        put("\"}\n");

    } else if (query) {
        put("\",\"client_composed\":true}\n");

    } else {
        put("\",\"client_composed\":true,\"shouldQuery\":false}\n");
    }

    return NGX_OK;
}


static ngx_uint_t
cli_thinks(ngx_claude_message_t *message)
{
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    block = message->blocks.elts;

    for (i = 0; i < message->blocks.nelts; i++) {

        if (block[i].type == NGX_CLAUDE_THINKING
            || block[i].type == NGX_CLAUDE_REDACTED)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
cli_blocks(ngx_claude_process_t *process, ngx_array_t *blocks)
{
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    block = blocks->elts;

    put("[");

    for (i = 0; i < blocks->nelts; i++) {

        if (i) {
            put(",");
        }

        if (cli_block(process, &block[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    put("]");

    return NGX_OK;
}


static ngx_int_t
cli_block(ngx_claude_process_t *process, ngx_claude_block_t *block)
{
    switch (block->type) {

    case NGX_CLAUDE_TEXT:
        put("{\"type\":\"text\",\"text\":");
        escape(&block->text);
        break;

    case NGX_CLAUDE_IMAGE:
        put("{\"type\":\"image\",\"source\":");

        if (cli_source(process, block) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    case NGX_CLAUDE_DOCUMENT:
        put("{\"type\":\"document\",\"source\":");

        if (cli_source(process, block) != NGX_OK) {
            return NGX_ERROR;
        }

        if (block->name.len) {
            put(",\"title\":");
            escape(&block->name);
        }

        break;

    case NGX_CLAUDE_TOOL_USE:
        put("{\"type\":\"tool_use\",\"id\":");
        escape(&block->id);
        put(",\"name\":");
        escape(&block->name);
        put(",\"input\":");
        raw(&block->text);
        break;

    case NGX_CLAUDE_TOOL_RESULT:
        return block->is_error ? cli_tool_error(process, block)
                               : cli_tool_result(process, block);

    case NGX_CLAUDE_THINKING:
        put("{\"type\":\"thinking\",\"thinking\":");
        escape(&block->text);
        put(",\"signature\":");
        escape(&block->signature);
        break;

    case NGX_CLAUDE_REDACTED:
        put("{\"type\":\"redacted_thinking\",\"data\":");
        escape(&block->text);
        break;

    case NGX_CLAUDE_OTHER:
        raw(&block->text);
        return NGX_OK;
    }

    put("}");

    return NGX_OK;
}


static ngx_int_t
cli_source(ngx_claude_process_t *process, ngx_claude_block_t *block)
{
    if (block->media.len == 0) {
        put("{\"type\":\"url\",\"url\":");

    } else if (block->media.len == sizeof("text/plain") - 1
               && ngx_memcmp(block->media.data, "text/plain",
                             sizeof("text/plain") - 1)
                  == 0)
    {
        put("{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":");

    } else {
        put("{\"type\":\"base64\",\"media_type\":");
        escape(&block->media);
        put(",\"data\":");
    }

    escape(&block->text);
    put("}");

    return NGX_OK;
}


/* the members in the order that the CLI itself writes them in, live */

static ngx_int_t
cli_tool_result(ngx_claude_process_t *process,
    ngx_claude_block_t *block)
{
    put("{\"tool_use_id\":");
    escape(&block->id);
    put(",\"type\":\"tool_result\"");

    if (block->content && block->content->nelts) {
        put(",\"content\":");

        if (cli_blocks(process, block->content) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    put("}");

    return NGX_OK;
}


/* the same of a tool that failed, whose words are no array when live */

static ngx_int_t
cli_tool_error(ngx_claude_process_t *process,
    ngx_claude_block_t *block)
{
    ngx_claude_block_t  *inner;

    put("{\"type\":\"tool_result\"");

    if (block->content && block->content->nelts) {
        put(",\"content\":");

        inner = block->content->elts;

        if (block->content->nelts == 1 && inner->type == NGX_CLAUDE_TEXT) {
            escape(&inner->text);

        } else if (cli_blocks(process, block->content) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    put(",\"is_error\":true,\"tool_use_id\":");
    escape(&block->id);
    put("}");

    return NGX_OK;
}
