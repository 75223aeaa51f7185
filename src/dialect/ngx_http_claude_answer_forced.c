
/*
 * A forced call that the model cannot be made to do (tools_emulate() says
 * when): its answer is the arguments, or name and arguments as JSON, and the
 * client gets it as the call.
 */


#include "ngx_http_claude_filter.h"
#include "ngx_claude_json_text.h"


static ngx_int_t forced_delta(ngx_http_claude_filter_t *filter, u_char *p,
    size_t len);
static ngx_int_t forced_end(ngx_http_claude_filter_t *filter);
static ngx_int_t forced_any(ngx_http_claude_filter_forced_t *forced);


void
ngx_http_claude_filter_forced(ngx_http_claude_filter_forced_t *forced,
    ngx_http_claude_filter_t *next, ngx_pool_t *pool, ngx_str_t *name)
{
    forced->filter.next = next;
    forced->filter.pool = pool;
    forced->filter.delta = forced_delta;
    forced->filter.end = forced_end;
    forced->name = *name;
    forced->json.pool = pool;
}


static ngx_int_t
forced_delta(ngx_http_claude_filter_t *filter, u_char *p, size_t len)
{
    ngx_http_claude_filter_forced_t  *forced;

    forced = (ngx_http_claude_filter_forced_t *) filter;

    if (forced->name.len == 0) {

        /* no name yet, and it may come last: the call is told at its end */

        return ngx_claude_text_add(&forced->json, p, len);
    }

    if (!forced->called) {
        forced->called = 1;

        if (forced->call(forced, &forced->name) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return filter->next->delta(filter->next, p, len);
}


static ngx_int_t
forced_end(ngx_http_claude_filter_t *filter)
{
    ngx_http_claude_filter_forced_t  *forced;

    forced = (ngx_http_claude_filter_forced_t *) filter;

    if (forced->json.len && forced_any(forced) != NGX_OK) {
        return NGX_ERROR;
    }

    return filter->next->end(filter->next);
}


/* a call that any tool could have been */

static ngx_int_t
forced_any(ngx_http_claude_filter_forced_t *forced)
{
    ngx_str_t                  text, tool, json;
    ngx_claude_json_t         *call, *name, *arguments;
    ngx_http_claude_filter_t  *next;

    next = forced->filter.next;

    json.data = forced->json.data;
    json.len = forced->json.len;
    call = ngx_claude_json_parse(forced->filter.pool, &json);

    if (call == NULL
        || (name = ngx_claude_json_member(call, "name")) == NULL
        || (arguments = ngx_claude_json_member(call, "arguments")) == NULL
        || ngx_claude_json_text(forced->filter.pool, arguments, &text)
           != NGX_OK)
    {
        /* cut off by a limit: half a call is of no use to anybody */

        return NGX_OK;
    }

    tool = ngx_claude_json_value(name);

    if (forced->call(forced, &tool) != NGX_OK) {
        return NGX_ERROR;
    }

    return next->delta(next, text.data, text.len);
}
