
/*
 * The driver: the client's tools.
 *
 * To the CLI they are those of one MCP server, which is the module.  A call
 * of the model's is told to the client while it streams; the CLI asks the
 * server for its result and waits, and so does the process, like an idle one,
 * until a turn comes that goes on with just these results.  Any other turn
 * finds the calls called off (CLI-PROTOCOL.md, "Client tools").
 */


#include "ngx_claude_driver_private.h"
#include "ngx_claude_json.h"
#include "ngx_claude_utf8.h"


/* ids of the CLI's are 36 characters, of the model's 30; longer are odd */
#define DRIVER_CALL_ID     256

/* the arguments of a call, the first allocation of them */
#define DRIVER_INPUT       512

/*
 * What a live result may be so that it reaches the model as it is: the CLI
 * puts the name of a file in the place of very long ones, and words of its
 * own in that of blank ones.  Of an error it takes one text alone.
 */
#define DRIVER_RESULT_MAX  262144


static void driver_tools_hash(ngx_claude_turn_t *turn, u_char *hash);
static ngx_int_t driver_tools_list(ngx_claude_process_t *process);
static ngx_uint_t driver_rpc_is(ngx_claude_cli_line_t *line,
    const char *method);
static void driver_route(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line);
static ngx_claude_call_t *driver_call_add(ngx_claude_process_t *process,
    ngx_str_t *id);
static ngx_int_t driver_calls_init(ngx_claude_process_t *process);
static void driver_calls_free(void *data);
static void driver_input_free(ngx_claude_call_t *call);
static ngx_int_t driver_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from);
static ngx_uint_t driver_is_object(ngx_str_t *json);
static ngx_int_t driver_is_tool(ngx_claude_turn_t *turn, ngx_str_t *name);
static ngx_str_t **driver_index(ngx_pool_t *pool, ngx_str_t *first,
    ngx_uint_t n, size_t stride);
static ngx_str_t *driver_index_find(ngx_str_t **index, ngx_uint_t n,
    ngx_str_t *s);
static int ngx_libc_cdecl driver_index_compare(const void *one,
    const void *two);
static ngx_str_t **driver_index_results(ngx_claude_turn_t *turn);
static ngx_uint_t driver_result_fits(ngx_claude_block_t *block);


ngx_int_t
driver_tools(ngx_claude_process_t *process)
{
    u_char              hash[20];
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    driver_tools_hash(turn, hash);

    if (ngx_memcmp(hash, process->tools, sizeof(hash)) == 0) {
        return NGX_OK;
    }

    if (driver_tools_list(process) != NGX_OK) {
        return NGX_ERROR;
    }

    if (turn->tools.nelts) {
        process->server++;

        /* and its question for the list */

        process->expected++;
    }

    if (ngx_claude_cli_servers(process,
                               driver_id(process, DRIVER_SERVERS),
                               turn->tools.nelts ? process->server : 0)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->expected++;
    ngx_memcpy(process->tools, hash, sizeof(hash));

    return NGX_AGAIN;
}


/* zeroes for none */

static void
driver_tools_hash(ngx_claude_turn_t *turn, u_char *hash)
{
    ngx_str_t   *name;
    ngx_uint_t   i;
    ngx_sha1_t   sha1;

    ngx_memzero(hash, 20);

    if (turn->tools.nelts == 0) {
        return;
    }

    name = turn->tools.elts;

    ngx_sha1_init(&sha1);

    for (i = 0; i < turn->tools.nelts; i++) {
        ngx_sha1_update(&sha1, &name[i].len, sizeof(size_t));
        ngx_sha1_update(&sha1, name[i].data, name[i].len);
    }

    ngx_sha1_final(hash, &sha1);
}


/* the list outlives the turn: the CLI may ask for it when its asker is gone */

static ngx_int_t
driver_tools_list(ngx_claude_process_t *process)
{
    ngx_pool_t         *pool;
    ngx_claude_turn_t  *turn;

    turn = process->turn;

    if (process->tools_pool) {

        /* an idle process has nothing that waits to be written, so no list */

        ngx_destroy_pool(process->tools_pool);
        process->tools_pool = NULL;
    }

    ngx_str_null(&process->tools_list);

    if (turn->tools.nelts == 0) {
        return NGX_OK;
    }

    pool = ngx_create_pool(1024, process->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    process->tools_pool = pool;

    return ngx_claude_cli_tools(pool, &turn->tools,
                                &process->tools_list);
}


void
driver_rpc(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_int_t   rpc, rc;
    ngx_str_t  *id;

    id = &line->string[NGX_CLAUDE_CLI_S_REQUEST_ID];
    rpc = 0;

    if (line->number[NGX_CLAUDE_CLI_N_RPC_ID] > 0
        && line->number[NGX_CLAUDE_CLI_N_RPC_ID] < 1e15)
    {
        rpc = (ngx_int_t) line->number[NGX_CLAUDE_CLI_N_RPC_ID];
    }

    if (driver_rpc_is(line, "tools/call")) {
        driver_route(process, line);
        return;
    }

    if (driver_rpc_is(line, "initialize")) {
        rc = ngx_claude_cli_rpc_initialized(process, id, rpc);

    } else if (driver_rpc_is(line, "tools/list") && process->tools_list.len) {
        rc = ngx_claude_cli_rpc_tools(process, id, rpc,
                                      &process->tools_list);

        if (rc == NGX_OK && process->expected
            && (process->phase == DRIVER_PREPARING
                || process->phase == DRIVER_GREETING))
        {
            driver_expected(process);

            if (process->ending) {
                return;
            }
        }

    } else if (driver_rpc_is(line, "ping")
               || ngx_strnstr(
                      line->string[NGX_CLAUDE_CLI_S_RPC_METHOD].data,
                      "notifications/",
                      line->string[NGX_CLAUDE_CLI_S_RPC_METHOD].len))
    {
        rc = ngx_claude_cli_rpc_empty(process, id, rpc);

    } else {
        rc = ngx_claude_cli_refuse(process, id);
    }

    if (rc != NGX_OK) {
        process->doubtful = 1;
    }

    ngx_claude_process_flush(process);
}


static ngx_uint_t
driver_rpc_is(ngx_claude_cli_line_t *line, const char *method)
{
    ngx_str_t  *s;

    s = &line->string[NGX_CLAUDE_CLI_S_RPC_METHOD];

    return s->len == ngx_strlen(method)
           && ngx_memcmp(s->data, method, s->len) == 0;
}


/* the CLI asks for a result, by the id of the call that it has streamed */

static void
driver_route(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_str_t          *id;
    ngx_uint_t          i, n;
    ngx_claude_call_t  *call;

    id = &line->string[NGX_CLAUDE_CLI_S_RPC_TOOL];
    call = process->calls.elts;

    /* the CLI mostly asks in their order: the next one is looked at first */

    for (n = 0; n < process->calls.nelts; n++) {
        i = (process->routed + n) % process->calls.nelts;

        if (call[i].id.len == id->len
            && ngx_memcmp(call[i].id.data, id->data, id->len) == 0)
        {
            break;
        }
    }

    /* what nobody knows of stays without an answer, and ends with the turn */

    if (n == process->calls.nelts) {
        return;
    }

    process->routed += (call[i].request.len == 0);

    if (line->string[NGX_CLAUDE_CLI_S_REQUEST_ID].len > DRIVER_CALL_ID
        || driver_copy(process->calls_pool, &call[i].request,
                       &line->string[NGX_CLAUDE_CLI_S_REQUEST_ID])
           != NGX_OK)
    {
        process->doubtful = 1;
        return;
    }

    call[i].rpc = (ngx_int_t) line->number[NGX_CLAUDE_CLI_N_RPC_ID];

    if (process->phase == DRIVER_SETTLING && !process->cut
        && driver_calls_routed(process))
    {
        driver_wait(process);
    }
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
driver_call_add(ngx_claude_process_t *process, ngx_str_t *id)
{
    ngx_claude_call_t  *call;

    if (process->calls_pool == NULL && driver_calls_init(process) != NGX_OK) {
        return NULL;
    }

    call = ngx_array_push(&process->calls);
    if (call == NULL) {
        return NULL;
    }

    ngx_memzero(call, sizeof(ngx_claude_call_t));

    return (driver_copy(process->calls_pool, &call->id, id) == NGX_OK)
           ? call : NULL;
}


static ngx_int_t
driver_calls_init(ngx_claude_process_t *process)
{
    ngx_pool_t          *pool;
    ngx_pool_cleanup_t  *cln;

    pool = ngx_create_pool(1024, process->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(pool, 0);

    if (cln == NULL
        || ngx_array_init(&process->calls, pool, 2,
                          sizeof(ngx_claude_call_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->handler = driver_calls_free;
    cln->data = process;

    process->calls_pool = pool;

    return NGX_OK;
}


static void
driver_calls_free(void *data)
{
    ngx_uint_t             i;
    ngx_claude_call_t     *call;
    ngx_claude_process_t  *process = data;

    call = process->calls.elts;

    for (i = 0; i < process->calls.nelts; i++) {
        driver_input_free(&call[i]);
    }

    process->calls.nelts = 0;
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
ngx_claude_driver_waits(ngx_claude_process_t *process,
    ngx_str_t *id, ngx_str_t *request, ngx_int_t rpc)
{
    ngx_claude_call_t  *call;

    call = driver_call_add(process, id);

    if (call == NULL
        || driver_copy(process->calls_pool, &call->request, request)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->rpc = rpc;
    process->routed++;
    process->pending = 1;
    process->phase = DRIVER_WAITING;

    return NGX_OK;
}


ngx_int_t
driver_call(ngx_claude_process_t *process,
    ngx_claude_cli_line_t *line)
{
    ngx_int_t           rc;
    ngx_str_t          *id, *name;
    ngx_claude_call_t  *call;
    ngx_claude_turn_t  *turn;
    ngx_claude_block_t  block;

    turn = process->turn;
    id = &line->string[NGX_CLAUDE_CLI_S_BLOCK_ID];
    name = &line->string[NGX_CLAUDE_CLI_S_BLOCK_NAME];

    if (id->len == 0 || id->len > DRIVER_CALL_ID) {
        return NGX_DECLINED;
    }

    rc = driver_is_tool(turn, name);
    if (rc != NGX_OK) {
        return rc;
    }

    call = driver_call_add(process, id);

    if (call == NULL
        || driver_copy(process->calls_pool, &call->name, name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->calling = 1;

    ngx_memzero(&block, sizeof(ngx_claude_block_t));

    block.type = NGX_CLAUDE_TOOL_USE;
    block.id = turn->call_id.len ? turn->call_id : call->id;
    block.name = call->name;

    driver_block_begin(process, line, &block);

    return NGX_OK;
}


ngx_int_t
driver_arguments(ngx_claude_process_t *process, u_char *p, size_t len)
{
    u_char             *data;
    size_t              size;
    ngx_claude_call_t  *call;

    call = (ngx_claude_call_t *) process->calls.elts
           + process->calls.nelts - 1;

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

    process->turn->handlers->delta(process->turn, &process->open.block, p,
                                   len);

    return NGX_OK;
}


ngx_int_t
driver_call_end(ngx_claude_process_t *process)
{
    ngx_claude_call_t  *call;

    call = (ngx_claude_call_t *) process->calls.elts
           + process->calls.nelts - 1;

    if (call->input.len == 0
        && driver_arguments(process, (u_char *) "{}", 2) != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->calling = 0;

    return NGX_OK;
}


ngx_int_t
driver_calls_link(ngx_claude_process_t *process)
{
    ngx_int_t           rc;
    ngx_str_t          *id, *as;
    ngx_uint_t          i;
    ngx_claude_call_t  *call;

    call = process->calls.elts;
    as = &process->turn->call_id;

    for (i = 0; i < process->calls.nelts; i++) {

        if (!driver_is_object(&call[i].input)) {
            return NGX_DECLINED;
        }

        id = as->len ? as : &call[i].id;

        rc = ngx_claude_link_call(&process->answer, process->calls_pool,
                                  id, &call[i].name, &call[i].input);
        if (rc != NGX_OK) {
            return rc;
        }

        /* that was all that they were kept for */

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
driver_calls_routed(ngx_claude_process_t *process)
{
    return process->calls.nelts && process->routed == process->calls.nelts;
}


void
driver_calls_drop(ngx_claude_process_t *process)
{
    process->pending = 0;
    process->calling = 0;
    process->routed = 0;

    if (process->calls_pool) {
        ngx_destroy_pool(process->calls_pool);
        process->calls_pool = NULL;
    }

    process->calls.nelts = 0;
}


ngx_uint_t
ngx_claude_driver_fits(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn)
{
    u_char                 hash[20];
    ngx_uint_t             i;
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    message = (ngx_claude_message_t *) turn->messages.elts
              + turn->messages.nelts - 1;
    block = message->blocks.elts;

    /* more than the results would come too late for the model's next words */

    if (message->blocks.nelts != process->calls.nelts
        || process->knobs != driver_knobs(turn))
    {
        return 0;
    }

    driver_tools_hash(turn, hash);

    if (ngx_memcmp(hash, process->tools, sizeof(hash)) != 0) {
        return 0;
    }

    for (i = 0; i < message->blocks.nelts; i++) {
        if (!driver_result_fits(&block[i])) {
            return 0;
        }
    }

    return 1;
}


/* each call has one of them: so many are known to be there */

ngx_uint_t
ngx_claude_driver_fits_calls(ngx_claude_process_t *process,
    ngx_claude_turn_t *turn)
{
    ngx_uint_t                i;
    ngx_str_t               **index;
    ngx_claude_call_t        *call;

    if (!process->pending || turn->messages.nelts != 1
        || !ngx_claude_driver_fits(process, turn))
    {
        return 0;
    }

    index = driver_index_results(turn);
    if (index == NULL) {
        return 0;
    }

    call = process->calls.elts;

    for (i = 0; i < process->calls.nelts; i++) {
        if (driver_index_find(index, process->calls.nelts, &call[i].id)
            == NULL)
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
driver_results_order(ngx_claude_process_t *process)
{
    ngx_str_t            **index, *id;
    ngx_uint_t             i, n;
    ngx_claude_call_t     *call;
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    n = process->calls.nelts;
    call = process->calls.elts;

    index = driver_index_results(process->turn);
    block = ngx_palloc(process->turn->pool,
                       n * sizeof(ngx_claude_block_t));

    if (index == NULL || block == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        id = driver_index_find(index, n, &call[i].id);

        if (id == NULL) {
            return NGX_ERROR;
        }

        block[i] = *(ngx_claude_block_t *)
                       ((u_char *) id - offsetof(ngx_claude_block_t, id));
    }

    message = process->turn->messages.elts;
    ngx_memcpy(message->blocks.elts, block,
               n * sizeof(ngx_claude_block_t));

    return NGX_OK;
}


/* the ids of the results that are the turn's only message; NULL: no memory */

static ngx_str_t **
driver_index_results(ngx_claude_turn_t *turn)
{
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    message = turn->messages.elts;
    block = message->blocks.elts;

    return driver_index(turn->pool, &block->id, message->blocks.nelts,
                        sizeof(ngx_claude_block_t));
}


static ngx_int_t
driver_is_tool(ngx_claude_turn_t *turn, ngx_str_t *name)
{
    if (turn->tools.nelts == 0) {
        return NGX_DECLINED;
    }

    if (turn->index == NULL) {
        turn->index = driver_index(turn->pool, turn->tools.elts,
                                   turn->tools.nelts, sizeof(ngx_str_t));
        if (turn->index == NULL) {
            return NGX_ERROR;
        }
    }

    return driver_index_find(turn->index, turn->tools.nelts, name)
           ? NGX_OK : NGX_DECLINED;
}


/* pointers to strings that are so many bytes apart, sorted */

static ngx_str_t **
driver_index(ngx_pool_t *pool, ngx_str_t *first, ngx_uint_t n, size_t stride)
{
    ngx_uint_t    i;
    ngx_str_t   **index;

    index = ngx_palloc(pool, n * sizeof(ngx_str_t *));
    if (index == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        index[i] = (ngx_str_t *) ((u_char *) first + i * stride);
    }

    ngx_qsort(index, (size_t) n, sizeof(ngx_str_t *), driver_index_compare);

    return index;
}


static ngx_str_t *
driver_index_find(ngx_str_t **index, ngx_uint_t n, ngx_str_t *s)
{
    ngx_str_t  **found;

    found = bsearch(&s, index, (size_t) n, sizeof(ngx_str_t *),
                    driver_index_compare);

    return found ? *found : NULL;
}


static int ngx_libc_cdecl
driver_index_compare(const void *one, const void *two)
{
    ngx_str_t  *a = *(ngx_str_t **) one, *b = *(ngx_str_t **) two;

    if (a->len != b->len) {
        return (a->len < b->len) ? -1 : 1;
    }

    return ngx_memcmp(a->data, b->data, a->len);
}


static ngx_uint_t
driver_result_fits(ngx_claude_block_t *result)
{
    size_t               len;
    ngx_uint_t           i, words;
    ngx_claude_block_t  *block;

    if (result->type != NGX_CLAUDE_TOOL_RESULT
        || result->content == NULL
        || (result->is_error && result->content->nelts != 1))
    {
        return 0;
    }

    block = result->content->elts;
    words = 0;
    len = 0;

    for (i = 0; i < result->content->nelts; i++) {

        len += block[i].text.len;

        /* an image that is a URL has no place in MCP */

        if (block[i].type == NGX_CLAUDE_TEXT
            ? ngx_claude_utf8_blank(&block[i].text)
            : (block[i].type != NGX_CLAUDE_IMAGE
               || block[i].media.len == 0 || result->is_error))
        {
            return 0;
        }

        words++;
    }

    return words && len <= DRIVER_RESULT_MAX;
}


/*
 * The knobs, and then the results, which are the conversation's next message.
 * The knobs that stick to a whole question are as they were.
 */

ngx_int_t
driver_results(ngx_claude_process_t *process)
{
    ngx_claude_link_t  *links;
    ngx_claude_turn_t  *turn;

    turn = process->turn;
    links = turn->links;

    if (ngx_claude_cli_settings(process,
                                driver_id(process, DRIVER_SETTINGS), turn)
        != NGX_OK
        || driver_hold(process, &links[turn->messages.nelts], 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    process->expected++;
    process->pending = 0;
    process->answered = 0;
    process->begun = 1;
    process->unwanted = 0;
    process->phase = DRIVER_ANSWERING;

    ngx_claude_link_begin(&process->answer, &links[turn->messages.nelts],
                          turn->verbatim);

    driver_result_next(process);

    return process->doubtful ? NGX_ERROR : NGX_AGAIN;
}


/*
 * One at a time: the CLI puts them into the conversation in the order in
 * which it is done with them.
 */

void
driver_result_next(ngx_claude_process_t *process)
{
    ngx_claude_call_t     *call;
    ngx_claude_turn_t     *turn;
    ngx_claude_block_t    *result;
    ngx_claude_message_t  *message;

    turn = process->turn;

    if (turn == NULL) {
        return;
    }

    message = (ngx_claude_message_t *) turn->messages.elts
              + turn->messages.nelts - 1;
    result = (ngx_claude_block_t *) message->blocks.elts
             + process->answered;
    call = (ngx_claude_call_t *) process->calls.elts + process->answered;

    if (ngx_claude_cli_rpc_result(process, &call->request, call->rpc, result)
        != NGX_OK)
    {
        process->doubtful = 1;
    }

    if (++process->answered == process->calls.nelts) {
        process->phase = DRIVER_ASKED;
    }

    ngx_claude_process_flush(process);
}
