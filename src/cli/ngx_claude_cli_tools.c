
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
#include "ngx_claude_json.h"


/*
 * readOnlyHint: parallel calls are told at once, not one after the other;
 * maxResultSizeChars: a long result is not replaced by the name of a file
 */

#define CLI_TOOL                                                              \
    ",\"description\":\".\",\"inputSchema\":{\"type\":\"object\"},"            \
    "\"annotations\":{\"readOnlyHint\":true},"                                \
    "\"_meta\":{\"anthropic/maxResultSizeChars\":500000}}"


static ngx_int_t cli_rpc(ngx_claude_outbox_t *outbox, ngx_str_t *request_id,
    ngx_int_t rpc);
static ngx_int_t cli_rpc_block(ngx_claude_outbox_t *outbox,
    ngx_claude_block_t *block);


/*
 * One server, or none.  The names alternate: a server that is removed and
 * added by the same name keeps its old tools.  Without the two settings the
 * CLI goes on without an answer after some minutes.
 */

ngx_int_t
ngx_claude_cli_servers(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_uint_t server)
{
    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    if (server == 0) {
        put("{\"subtype\":\"mcp_set_servers\",\"servers\":{}}}\n");

    } else if (server & 1) {
        put("{\"subtype\":\"mcp_set_servers\",\"servers\":{\"c1\":{"
            "\"type\":\"sdk\",\"name\":\"c1\",\"timeout\":86400000,"
            "\"disableAutoBackground\":true}}}}\n");

    } else {
        put("{\"subtype\":\"mcp_set_servers\",\"servers\":{\"c0\":{"
            "\"type\":\"sdk\",\"name\":\"c0\",\"timeout\":86400000,"
            "\"disableAutoBackground\":true}}}}\n");
    }

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_rpc_initialized(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc)
{
    if (cli_rpc(outbox, request_id, rpc) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},"
        "\"serverInfo\":{\"name\":\"client\",\"version\":\"1\"}}}}}}\n");

    return NGX_OK;
}


/* the answer to a notification, which the CLI waits for as well */

ngx_int_t
ngx_claude_cli_rpc_empty(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc)
{
    if (cli_rpc(outbox, request_id, rpc) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{}}}}}\n");

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_rpc_tools(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_str_t *list)
{
    if (cli_rpc(outbox, request_id, rpc) != NGX_OK
        || ngx_claude_outbox_put(outbox, list->data, list->len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    put("}}}}\n");

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_rpc_result(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id, ngx_int_t rpc, ngx_claude_block_t *result)
{
    ngx_uint_t           i;
    ngx_claude_block_t  *block;

    if (cli_rpc(outbox, request_id, rpc) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"content\":[");

    block = result->content->elts;

    for (i = 0; i < result->content->nelts; i++) {

        if (i) {
            put(",");
        }

        if (cli_rpc_block(outbox, &block[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (result->is_error) {
        put("],\"isError\":true}}}}}\n");

    } else {
        put("]}}}}}\n");
    }

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_tools(ngx_pool_t *pool, ngx_array_t *names,
    ngx_str_t *list)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = names->elts;
    len = sizeof("{\"tools\":[]}");

    for (i = 0; i < names->nelts; i++) {
        len += sizeof(",{\"name\":" CLI_TOOL)
               + ngx_claude_json_escaped_len(name[i].data, name[i].len);
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    list->data = p;

    p = ngx_cpymem(p, "{\"tools\":[", sizeof("{\"tools\":[") - 1);

    for (i = 0; i < names->nelts; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, "{\"name\":", sizeof("{\"name\":") - 1);
        p = ngx_claude_json_escape(p, name[i].data, name[i].len);
        p = ngx_cpymem(p, CLI_TOOL, sizeof(CLI_TOOL) - 1);
    }

    p = ngx_cpymem(p, "]}", 2);

    list->len = p - list->data;

    return NGX_OK;
}


/* up to the value of "result" */

static ngx_int_t
cli_rpc(ngx_claude_outbox_t *outbox, ngx_str_t *request_id,
    ngx_int_t rpc)
{
    u_char  buf[NGX_INT_T_LEN], *p;

    if (ngx_claude_cli_response(outbox, "success", request_id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    put(",\"response\":{\"mcp_response\":{\"jsonrpc\":\"2.0\",\"id\":");

    p = ngx_sprintf(buf, "%i", rpc);

    if (ngx_claude_outbox_copy(outbox, buf, p - buf) != NGX_OK) {
        return NGX_ERROR;
    }

    put(",\"result\":");

    return NGX_OK;
}


/* MCP has its own words for what a result is made of */

static ngx_int_t
cli_rpc_block(ngx_claude_outbox_t *outbox,
    ngx_claude_block_t *block)
{
    if (block->type == NGX_CLAUDE_TEXT) {
        put("{\"type\":\"text\",\"text\":");
        escape(&block->text);

    } else {
        put("{\"type\":\"image\",\"mimeType\":");
        escape(&block->media);
        put(",\"data\":");
        escape(&block->text);
    }

    put("}");

    return NGX_OK;
}
