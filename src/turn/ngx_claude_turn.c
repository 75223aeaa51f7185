
/*
 * A turn: what is common to all dialects that build one.  See the header.
 */


#include "ngx_claude_turn.h"
#include "ngx_claude_memory.h"
#include "ngx_claude_table.h"


static ngx_str_t  turn_rungs[] = {
    [NGX_CLAUDE_RUNG_NONE]     = ngx_string("-"),
    [NGX_CLAUDE_RUNG_LIVE]     = ngx_string("live"),
    [NGX_CLAUDE_RUNG_REWOUND]  = ngx_string("rewound"),
    [NGX_CLAUDE_RUNG_RECYCLED] = ngx_string("recycled"),
    [NGX_CLAUDE_RUNG_WARM]     = ngx_string("warm"),
    [NGX_CLAUDE_RUNG_COLD]     = ngx_string("cold"),
    [NGX_CLAUDE_RUNG_RESUMED]  = ngx_string("resumed")
};

ngx_claude_table_check(turn_rungs, NGX_CLAUDE_RUNGS);


static ngx_str_t  turn_efforts[] = {
    [NGX_CLAUDE_EFFORT_DEFAULT] = ngx_null_string,
    [NGX_CLAUDE_EFFORT_LOW]     = ngx_string("low"),
    [NGX_CLAUDE_EFFORT_MEDIUM]  = ngx_string("medium"),
    [NGX_CLAUDE_EFFORT_HIGH]    = ngx_string("high"),
    [NGX_CLAUDE_EFFORT_XHIGH]   = ngx_string("xhigh"),
    [NGX_CLAUDE_EFFORT_MAX]     = ngx_string("max")
};

ngx_claude_table_check(turn_efforts, NGX_CLAUDE_EFFORTS);


ngx_str_t *
ngx_claude_rung_name(ngx_claude_rung_e rung)
{
    return &turn_rungs[rung];
}


ngx_str_t *
ngx_claude_effort_name(ngx_claude_effort_e effort)
{
    return &turn_efforts[effort];
}


ngx_int_t
ngx_claude_turn_init(ngx_claude_turn_t *turn, ngx_pool_t *pool,
    ngx_log_t *log)
{
    ngx_memzero(turn, sizeof(ngx_claude_turn_t));

    turn->pool = pool;
    turn->log = log;
    turn->engine.row = -1;
    turn->answer.ttft = (ngx_msec_t) -1;
    turn->answer.spent.cost = -1;

    if (ngx_array_init(&turn->messages, pool, 8,
                       sizeof(ngx_claude_message_t))
        != NGX_OK
        || ngx_array_init(&turn->tools, pool, 4, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_array_init(&turn->stops, pool, 4, sizeof(ngx_str_t));
}


void
ngx_claude_usage_add(ngx_claude_usage_t *sum,
    ngx_claude_usage_t *more)
{
    sum->input += more->input;
    sum->cache_read += more->cache_read;
    sum->cache_creation += more->cache_creation;
    sum->output += more->output;
    sum->thinking += more->thinking;
}


void
ngx_claude_spent_add(ngx_claude_spent_t *sum,
    ngx_claude_spent_t *spent)
{
    ngx_claude_usage_add(&sum->usage, &spent->usage);

    if (spent->cost >= 0) {
        sum->cost = ngx_max(sum->cost, 0) + spent->cost;
    }
}


ngx_claude_block_t *
ngx_claude_turn_add(ngx_claude_turn_t *turn,
    ngx_claude_role_e role, ngx_claude_block_e type)
{
    ngx_claude_block_t    *block;
    ngx_claude_message_t  *message;

    message = turn->messages.elts;

    if (turn->messages.nelts
        && message[turn->messages.nelts - 1].role == role)
    {
        message += turn->messages.nelts - 1;

    } else {
        message = ngx_claude_turn_push(&turn->messages);
        if (message == NULL) {
            return NULL;
        }

        ngx_memzero(message, sizeof(ngx_claude_message_t));
        message->role = role;

        if (ngx_array_init(&message->blocks, turn->pool, 1,
                           sizeof(ngx_claude_block_t))
            != NGX_OK)
        {
            return NULL;
        }
    }

    block = ngx_claude_turn_push(&message->blocks);
    if (block == NULL) {
        return NULL;
    }

    ngx_memzero(block, sizeof(ngx_claude_block_t));
    block->type = type;

    message->results |= (type == NGX_CLAUDE_TOOL_RESULT);
    message->thinks |= (type == NGX_CLAUDE_THINKING
                        || type == NGX_CLAUDE_REDACTED);

    return block;
}


void *
ngx_claude_turn_push(ngx_array_t *array)
{
    void    *p;
    size_t   size;

    size = array->nalloc * array->size;

    if (array->nelts == array->nalloc && size > array->pool->max) {

        p = ngx_claude_memory_grow(array->pool, array->elts, size, 2 * size);
        if (p == NULL) {
            return NULL;
        }

        array->elts = p;
        array->nalloc *= 2;
    }

    return ngx_array_push(array);
}


ngx_uint_t
ngx_claude_model_valid(const u_char *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > NGX_CLAUDE_MODEL_LEN) {
        return 0;
    }

    for (i = 0; i < len; i++) {

        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')
              || (p[i] >= '0' && p[i] <= '9')
              || (p[i] && strchr("-_.:@[]/", p[i]))))
        {
            return 0;
        }
    }

    return 1;
}
