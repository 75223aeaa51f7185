
/*
 * The CLI's protocol, writing: the client's tools as an MCP server inside the
 * pipe.  The CLI asks for it in JSON-RPC, wrapped in control requests.
 * Source: docs/cli-protocol.md, "Tools of the client"; MCP 2025-11-25.
 *
 * What the model sees of the tools goes upstream another way (see
 * cli_extra_body): the CLI needs them only to route calls, so here they have
 * neither description nor schema.
 */


#include "ngx_claude_cli_private.h"
#include "ngx_claude_text.h"


/*
 * readOnlyHint: parallel calls are told at once, not one after the other;
 * maxResultSizeChars: a long result is not replaced by the name of a file
 */

#define CLI_TOOL                                                              \
    ",\"description\":\".\",\"inputSchema\":{\"type\":\"object\"},"           \
    "\"annotations\":{\"readOnlyHint\":true},"                                \
    "\"_meta\":{\"anthropic/maxResultSizeChars\":500000}}"


static ngx_claude_out_t *cli_rpc(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc);
static void cli_rpc_block(ngx_claude_out_t *out, ngx_claude_block_t *block);


/*
 * One server, or none.  The names alternate: a server that is removed and
 * added by the same name keeps its old tools.  Without the two settings the
 * CLI goes on without an answer after some minutes.
 */

ngx_int_t
ngx_claude_cli_servers(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_uint_t server)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);

    if (server == 0) {
        ngx_claude_out_literal(out, "{\"subtype\":\"mcp_set_servers\","
                               "\"servers\":{}}}\n");

    } else {
        server &= 1;

        ngx_claude_out(out, "{\"subtype\":\"mcp_set_servers\",\"servers\":"
                       "{\"c%ui\":{\"type\":\"sdk\",\"name\":\"c%ui\","
                       "\"timeout\":86400000,"
                       "\"disableAutoBackground\":true}}}}\n",
                       server, server);
    }

    return ngx_claude_outbox_end(outbox);
}


ngx_int_t
ngx_claude_cli_rpc_initialized(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc)
{
    ngx_claude_out_t  *out;

    out = cli_rpc(outbox, request_id, rpc);

    ngx_claude_out_literal(out, "{\"protocolVersion\":\"2025-11-25\","
                           "\"capabilities\":{\"tools\":{}},"
                           "\"serverInfo\":{\"name\":\"client\","
                           "\"version\":\"1\"}}}}}}\n");

    return ngx_claude_outbox_end(outbox);
}


/* the answer to a notification, which the CLI waits for as well */

ngx_int_t
ngx_claude_cli_rpc_empty(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc)
{
    ngx_claude_out_t  *out;

    out = cli_rpc(outbox, request_id, rpc);

    ngx_claude_out_literal(out, "{}}}}}\n");

    return ngx_claude_outbox_end(outbox);
}


ngx_int_t
ngx_claude_cli_rpc_tools(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_str_t *list)
{
    ngx_claude_out_t  *out;

    out = cli_rpc(outbox, request_id, rpc);

    ngx_claude_out(out, "%V}}}}\n", list);

    return ngx_claude_outbox_end(outbox);
}


ngx_int_t
ngx_claude_cli_rpc_result(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_claude_block_t *result)
{
    ngx_uint_t           i;
    ngx_claude_out_t    *out;
    ngx_claude_block_t  *block;

    out = cli_rpc(outbox, request_id, rpc);

    ngx_claude_out_literal(out, "{\"content\":[");

    block = result->content->elts;

    for (i = 0; i < result->content->nelts; i++) {

        if (i) {
            ngx_claude_out_literal(out, ",");
        }

        cli_rpc_block(out, &block[i]);
    }

    if (result->is_error) {
        ngx_claude_out_literal(out, "],\"isError\":true}}}}}\n");

    } else {
        ngx_claude_out_literal(out, "]}}}}}\n");
    }

    return ngx_claude_outbox_end(outbox);
}


ngx_int_t
ngx_claude_cli_tools(ngx_pool_t *pool, ngx_array_t *names,
    ngx_str_t *list)
{
    ngx_str_t          *name;
    ngx_uint_t          i;
    ngx_claude_out_t   *out;
    ngx_claude_text_t   text;

    name = names->elts;

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = pool;

    out = ngx_claude_text_begin(&text);

    ngx_claude_out_literal(out, "{\"tools\":[");

    for (i = 0; i < names->nelts; i++) {
        ngx_claude_out(out, "%s{\"name\":%J" CLI_TOOL, i ? "," : "",
                       &name[i]);
    }

    ngx_claude_out_literal(out, "]}");

    if (ngx_claude_text_end(&text) != NGX_OK) {
        return NGX_ERROR;
    }

    list->data = text.data;
    list->len = text.len;

    return NGX_OK;
}


/* begins a line, up to the value of "result" */

static ngx_claude_out_t *
cli_rpc(ngx_claude_outbox_t *outbox, ngx_str_t *request_id,
    ngx_int_t rpc)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_response(out, "success", request_id);
    ngx_claude_out(out, ",\"response\":{\"mcp_response\":"
                   "{\"jsonrpc\":\"2.0\",\"id\":%i,\"result\":", rpc);

    return out;
}


/* MCP has its own words for what a result is made of */

static void
cli_rpc_block(ngx_claude_out_t *out, ngx_claude_block_t *block)
{
    if (block->type == NGX_CLAUDE_TEXT) {
        ngx_claude_out(out, "{\"type\":\"text\",\"text\":%J}",
                       &block->text);

    } else {
        ngx_claude_out(out, "{\"type\":\"image\",\"mimeType\":%J,"
                       "\"data\":%J}", &block->media, &block->text);
    }
}
