
/*
 * The driver: the client's tools.
 *
 * To the CLI they are those of one MCP server, which is the module.  A call
 * of the model's is told to the client while it streams; the CLI asks the
 * server for its result and waits, and so does the process, like an idle one,
 * until a turn comes that goes on with just these results.  Any other turn
 * finds the calls called off (docs/cli-protocol.md, "Tools of the client").
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_index.h"


/* ids of the CLI's are 36 characters, of the model's 30; longer are odd */
#define DRIVER_CALL_ID     256

/* the arguments of a call, the first allocation of them */
#define DRIVER_INPUT       512


static ngx_int_t driver_tools_list(ngx_claude_seat_t *seat);
static ngx_claude_heard_e driver_route(ngx_claude_seat_t *seat,
    ngx_claude_cli_line_t *line);
static ngx_claude_call_t *driver_call_add(ngx_claude_seat_t *seat,
    ngx_str_t *id);
static ngx_int_t driver_calls_init(ngx_claude_seat_t *seat);
static void driver_calls_free(void *data);
static void driver_input_free(ngx_claude_call_t *call);
static ngx_int_t driver_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from);
static ngx_uint_t driver_is_object(ngx_str_t *json);
static ngx_int_t driver_is_tool(ngx_claude_turn_t *turn, ngx_str_t *name);


/* the tools of the turn; all that the CLI may ask of them is due */

ngx_int_t
driver_servers(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (driver_tools_list(seat) != NGX_OK) {
        return NGX_ERROR;
    }

    if (turn->tools.nelts) {
        seat->holding.server++;

        /* and its question for the list */

        seat->due++;
    }

    if (ngx_claude_cli_servers(seat->outbox, driver_id(seat, DRIVER_SERVERS),
                               turn->tools.nelts ? seat->holding.server : 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->due++;
    seat->holding.tools = turn->engine.toolset;

    return NGX_OK;
}


/* the list outlives the turn: the CLI may ask for it when its asker is gone */

static ngx_int_t
driver_tools_list(ngx_claude_seat_t *seat)
{
    ngx_pool_t         *pool;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;

    if (seat->tools_pool) {

        /* an idle process has nothing that waits to be written, so no list */

        ngx_destroy_pool(seat->tools_pool);
        seat->tools_pool = NULL;
    }

    ngx_str_null(&seat->tools_list);

    if (turn->tools.nelts == 0) {
        return NGX_OK;
    }

    pool = ngx_create_pool(1024, seat->process->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    seat->tools_pool = pool;

    return ngx_claude_cli_tools(pool, &turn->tools,
                                &seat->tools_list);
}


ngx_claude_heard_e
driver_rpc(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_int_t           rpc, rc;
    ngx_str_t          *id, *method;
    ngx_claude_heard_e  heard;

    id = &line->string[NGX_CLAUDE_CLI_S_REQUEST_ID];
    method = &line->string[NGX_CLAUDE_CLI_S_RPC_METHOD];
    heard = NGX_CLAUDE_HEARD;
    rpc = 0;

    if (line->number[NGX_CLAUDE_CLI_N_RPC_ID] > 0
        && line->number[NGX_CLAUDE_CLI_N_RPC_ID] < 1e15)
    {
        rpc = (ngx_int_t) line->number[NGX_CLAUDE_CLI_N_RPC_ID];
    }

    if (ngx_claude_is(method, "tools/call")) {
        return driver_route(seat, line);
    }

    if (ngx_claude_is(method, "initialize")) {
        rc = ngx_claude_cli_rpc_initialized(seat->outbox, id, rpc);

    } else if (ngx_claude_is(method, "tools/list") && seat->tools_list.len) {
        rc = ngx_claude_cli_rpc_tools(seat->outbox, id, rpc,
                                      &seat->tools_list);

        if (rc == NGX_OK && seat->due
            && (seat->state == NGX_CLAUDE_SEAT_STARTING
                || ngx_claude_seat_at(seat, NGX_CLAUDE_STEP_SETTINGS)))
        {
            heard = NGX_CLAUDE_ANSWERED;
        }

    } else if (ngx_claude_is(method, "ping")
               || ngx_strnstr(method->data, "notifications/", method->len))
    {
        rc = ngx_claude_cli_rpc_empty(seat->outbox, id, rpc);

    } else {
        rc = ngx_claude_cli_refuse(seat->outbox, id);
    }

    if (rc != NGX_OK) {
        seat->doubtful = 1;
    }

    return heard;
}


/* the CLI asks for a result, by the id of the call that it has streamed */

static ngx_claude_heard_e
driver_route(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line)
{
    ngx_str_t          *id;
    ngx_uint_t          i, n;
    ngx_claude_call_t  *call;

    id = &line->string[NGX_CLAUDE_CLI_S_RPC_TOOL];
    call = seat->calls.elts;

    /* the CLI mostly asks in their order: the next one is looked at first */

    for (n = 0; n < seat->calls.nelts; n++) {
        i = (seat->routed + n) % seat->calls.nelts;

        if (call[i].id.len == id->len
            && ngx_memcmp(call[i].id.data, id->data, id->len) == 0)
        {
            break;
        }
    }

    /* calls that nobody knows of get no answer, and end with the turn */

    if (n == seat->calls.nelts) {
        return NGX_CLAUDE_HEARD;
    }

    seat->routed += (call[i].request.len == 0);

    if (line->string[NGX_CLAUDE_CLI_S_REQUEST_ID].len > DRIVER_CALL_ID
        || driver_copy(seat->calls_pool, &call[i].request,
                       &line->string[NGX_CLAUDE_CLI_S_REQUEST_ID])
           != NGX_OK)
    {
        seat->doubtful = 1;
        return NGX_CLAUDE_HEARD;
    }

    call[i].rpc = (ngx_int_t) line->number[NGX_CLAUDE_CLI_N_RPC_ID];

    return (seat->state == NGX_CLAUDE_SEAT_SETTLING
            && seat->reply.end == NGX_CLAUDE_END_KEEP
            && driver_calls_routed(seat))
           ? NGX_CLAUDE_WAITS : NGX_CLAUDE_HEARD;
}


static ngx_int_t
driver_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    to->data = ngx_pstrdup(pool, from);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    to->len = from->len;

    return NGX_OK;
}


static ngx_claude_call_t *
driver_call_add(ngx_claude_seat_t *seat, ngx_str_t *id)
{
    ngx_claude_call_t  *call;

    if (seat->calls_pool == NULL && driver_calls_init(seat) != NGX_OK) {
        return NULL;
    }

    call = ngx_array_push(&seat->calls);
    if (call == NULL) {
        return NULL;
    }

    ngx_memzero(call, sizeof(ngx_claude_call_t));
    seat->holding.ncalls = seat->calls.nelts;

    return (driver_copy(seat->calls_pool, &call->id, id) == NGX_OK)
           ? call : NULL;
}


static ngx_int_t
driver_calls_init(ngx_claude_seat_t *seat)
{
    ngx_pool_t          *pool;
    ngx_pool_cleanup_t  *cln;

    pool = ngx_create_pool(1024, seat->process->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(pool, 0);

    if (cln == NULL
        || ngx_array_init(&seat->calls, pool, 2,
                          sizeof(ngx_claude_call_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->handler = driver_calls_free;
    cln->data = seat;

    seat->calls_pool = pool;

    return NGX_OK;
}


static void
driver_calls_free(void *data)
{
    ngx_uint_t          i;
    ngx_claude_call_t  *call;
    ngx_claude_seat_t  *seat = data;

    call = seat->calls.elts;

    for (i = 0; i < seat->calls.nelts; i++) {
        driver_input_free(&call[i]);
    }

    seat->calls.nelts = 0;
}


static void
driver_input_free(ngx_claude_call_t *call)
{
    if (call->input.data) {
        ngx_free(call->input.data);
    }

    ngx_str_null(&call->input);
    call->size = 0;
}


ngx_int_t
ngx_claude_driver_waits(ngx_claude_seat_t *seat,
    ngx_str_t *id, ngx_str_t *request, ngx_int_t rpc)
{
    ngx_claude_call_t  *call;

    call = driver_call_add(seat, id);

    if (call == NULL
        || driver_copy(seat->calls_pool, &call->request, request)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->rpc = rpc;
    seat->routed++;
    seat->holding.waiting = 1;

    return NGX_OK;
}


ngx_int_t
driver_call(ngx_claude_seat_t *seat, ngx_claude_cli_line_t *line,
    ngx_claude_block_t *block)
{
    ngx_int_t           rc;
    ngx_str_t          *id, *name;
    ngx_claude_call_t  *call;
    ngx_claude_turn_t  *turn;

    turn = seat->turn;
    id = &line->string[NGX_CLAUDE_CLI_S_BLOCK_ID];
    name = &line->string[NGX_CLAUDE_CLI_S_BLOCK_NAME];

    if (id->len == 0 || id->len > DRIVER_CALL_ID) {
        return NGX_DECLINED;
    }

    rc = driver_is_tool(turn, name);
    if (rc != NGX_OK) {
        return rc;
    }

    call = driver_call_add(seat, id);

    if (call == NULL
        || driver_copy(seat->calls_pool, &call->name, name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->reply.calling = 1;

    block->id = turn->call_id.len ? turn->call_id : call->id;
    block->name = call->name;

    return NGX_OK;
}


ngx_int_t
driver_arguments(ngx_claude_seat_t *seat, u_char *p, size_t len)
{
    u_char             *data;
    size_t              size;
    ngx_claude_call_t  *call;

    call = (ngx_claude_call_t *) seat->calls.elts
           + seat->calls.nelts - 1;

    if (call->size - call->input.len < len) {

        size = ngx_max(DRIVER_INPUT, 2 * (call->input.len + len));

        /* not of the pool, which looks for what is freed among all of it */

        data = realloc(call->input.data, size);
        if (data == NULL) {
            return NGX_ERROR;
        }

        call->input.data = data;
        call->size = size;
    }

    ngx_memcpy(call->input.data + call->input.len, p, len);
    call->input.len += len;

    seat->turn->handlers->delta(seat->turn, &seat->open.block, p, len);

    return NGX_OK;
}


ngx_int_t
driver_call_end(ngx_claude_seat_t *seat)
{
    ngx_claude_call_t  *call;

    call = (ngx_claude_call_t *) seat->calls.elts
           + seat->calls.nelts - 1;

    if (call->input.len == 0
        && driver_arguments(seat, (u_char *) "{}", 2) != NGX_OK)
    {
        return NGX_ERROR;
    }

    seat->reply.calling = 0;

    return NGX_OK;
}


ngx_int_t
driver_calls_link(ngx_claude_seat_t *seat)
{
    ngx_int_t           rc;
    ngx_str_t          *id, *as;
    ngx_uint_t          i;
    ngx_claude_call_t  *call;

    call = seat->calls.elts;
    as = &seat->turn->call_id;

    for (i = 0; i < seat->calls.nelts; i++) {

        if (!driver_is_object(&call[i].input)) {
            return NGX_DECLINED;
        }

        id = as->len ? as : &call[i].id;

        rc = ngx_claude_link_call(&seat->reply.answer, seat->calls_pool,
                                  id, &call[i].name, &call[i].input);
        if (rc != NGX_OK) {
            return rc;
        }

        /* arguments are kept for the link alone */

        driver_input_free(&call[i]);
    }

    return NGX_OK;
}


static ngx_uint_t
driver_is_object(ngx_str_t *json)
{
    size_t  i;

    for (i = 0; i < json->len; i++) {
        if (json->data[i] > ' ') {
            return json->data[i] == '{';
        }
    }

    return 0;
}


ngx_uint_t
driver_calls_routed(ngx_claude_seat_t *seat)
{
    return seat->calls.nelts && seat->routed == seat->calls.nelts;
}


void
driver_calls_drop(ngx_claude_seat_t *seat)
{
    seat->holding.waiting = 0;
    seat->reply.calling = 0;
    seat->routed = 0;

    if (seat->calls_pool) {
        ngx_destroy_pool(seat->calls_pool);
        seat->calls_pool = NULL;
    }

    seat->calls.nelts = 0;
    seat->holding.ncalls = 0;
}


ngx_int_t
driver_results_order(ngx_claude_seat_t *seat)
{
    ngx_str_t            **index, *id;
    ngx_uint_t             i, n, moved;
    ngx_claude_call_t     *call;
    ngx_claude_block_t    *block, *result;
    ngx_claude_message_t  *message;

    n = seat->calls.nelts;
    moved = 0;
    message = seat->turn->messages.elts;
    call = seat->calls.elts;

    index = seat->turn->engine.results;
    block = ngx_palloc(seat->turn->pool,
                       n * sizeof(ngx_claude_block_t));

    if (index == NULL || block == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        id = ngx_claude_index_find(index, n, &call[i].id);

        if (id == NULL) {
            return NGX_ERROR;
        }

        result = (ngx_claude_block_t *)
                     ((u_char *) id - offsetof(ngx_claude_block_t, id));

        moved |= (result != (ngx_claude_block_t *) message->blocks.elts + i);
        block[i] = *result;
    }

    if (moved) {
        ngx_memcpy(message->blocks.elts, block,
                   n * sizeof(ngx_claude_block_t));

        ngx_claude_chain_changed(seat->turn);
    }

    return NGX_OK;
}


static ngx_int_t
driver_is_tool(ngx_claude_turn_t *turn, ngx_str_t *name)
{
    if (turn->tools.nelts == 0) {
        return NGX_DECLINED;
    }

    if (turn->engine.index == NULL) {
        turn->engine.index = ngx_claude_index(turn->pool, turn->tools.elts,
                                              turn->tools.nelts,
                                              sizeof(ngx_str_t));
        if (turn->engine.index == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_claude_index_find(turn->engine.index, turn->tools.nelts, name)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * The results of the calls are the conversation's next message.  Each of them
 * is written when the CLI has taken the one before: it puts them into the
 * conversation in the order in which it is done with them.
 */

ngx_int_t
driver_results(ngx_claude_seat_t *seat, ngx_uint_t arg)
{
    ngx_uint_t          n;
    ngx_claude_link_t  *links;

    n = seat->turn->messages.nelts;
    links = seat->turn->engine.links;

    seat->holding.waiting = 0;
    seat->answered = 0;
    seat->reply.begun = 1;

    ngx_claude_link_begin(&seat->reply.answer, &links[n],
                          seat->turn->verbatim);

    return ngx_claude_holding_add(&seat->holding, &seat->held, &links[n], 0);
}


ngx_int_t
driver_return(ngx_claude_seat_t *seat)
{
    ngx_claude_call_t     *call;
    ngx_claude_turn_t     *turn;
    ngx_claude_block_t    *result;
    ngx_claude_message_t  *message;

    turn = seat->turn;

    message = (ngx_claude_message_t *) turn->messages.elts
              + turn->messages.nelts - 1;
    result = (ngx_claude_block_t *) message->blocks.elts + seat->answered;
    call = (ngx_claude_call_t *) seat->calls.elts + seat->answered;

    seat->answered++;

    return ngx_claude_cli_rpc_result(seat->outbox, &call->request, call->rpc,
                                     result);
}
