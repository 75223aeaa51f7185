
/*
 * The dialect of chat completions, reading: tools, tool_choice,
 * parallel_tool_calls, and the older functions and function_call.  Source:
 * OpenAI's API reference, "Chat", "tools".
 */


#include "ngx_http_claude_chat_tools.h"
#include "ngx_http_claude_chat_common.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_params.h"
#include "ngx_http_claude_tools.h"


/* the tools of a body, while they are read */
typedef struct {
    ngx_http_claude_tools_t   tools;
    ngx_http_claude_place_t   place;
    const char               *name;          /* member that has them */
    ngx_claude_json_t        *next;          /* tool that is read next */
    ngx_uint_t                index;         /* its number */
} tools_reader_t;


static ngx_int_t tools_begin(ngx_http_claude_exchange_t *ex,
    tools_reader_t *reader, const char *name, ngx_claude_json_t *node);
static ngx_int_t tools_list(tools_reader_t *reader);
static ngx_int_t tools_tool(ngx_http_claude_tools_t *tools,
    ngx_claude_json_t *tool);
static ngx_int_t tools_choice(ngx_http_claude_tools_t *tools);
static ngx_int_t tools_choice_word(ngx_http_claude_tools_t *tools,
    ngx_claude_json_t *choice, const char *param);


#define tools_field  ngx_claude_json_field
#define tools_first  ngx_claude_json_first
#define tools_next   ngx_claude_json_next

#define tools_error(tools, member, message)                                   \
    ngx_http_claude_place_error((tools)->place, member, message)

#define tools_functions(ex)                                                   \
    (((ngx_http_claude_chat_t *) (ex)->own)->functions)


ngx_int_t
ngx_http_claude_chat_tools(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t                rc;
    tools_reader_t          *reader;
    ngx_http_claude_chat_t  *chat;

    chat = ex->own;
    reader = chat->tools;

    if (reader == NULL) {

        reader = ngx_pcalloc(ex->ctx->scratch, sizeof(tools_reader_t));
        if (reader == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        chat->tools = reader;

        rc = tools_begin(ex, reader, name, node);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = tools_list(reader);

    if (rc == NGX_OK) {
        rc = tools_choice(&reader->tools);
    }

    return (rc == NGX_OK) ? ngx_http_claude_tools_done(&reader->tools) : rc;
}


static ngx_int_t
tools_begin(ngx_http_claude_exchange_t *ex, tools_reader_t *reader,
    const char *name, ngx_claude_json_t *node)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *choice;

    if (node == NULL || (node->type == NGX_CLAUDE_JSON_ARRAY
                         && tools_first(node) == NULL))
    {
        name = "functions";
        node = tools_field(ex->body, name);

        tools_functions(ex) = (node && ngx_claude_json_holds(node));
    }

    reader->place.ctx = ex->ctx;

    choice = tools_field(ex->body, tools_functions(ex) ? "function_call"
                                                       : "tool_choice");

    rc = ngx_http_claude_tools_init(&reader->tools, ex, &reader->place, name,
                                    node, "parameters",
                                    choice
                                    && !ngx_claude_json_is(choice, "auto")
                                    && !ngx_claude_json_is(choice, "none"));

    if (rc == NGX_OK && node) {
        reader->name = name;
        reader->next = tools_first(node);
    }

    return rc;
}


static ngx_int_t
tools_list(tools_reader_t *reader)
{
    ngx_int_t                 rc;
    ngx_http_claude_tools_t  *tools;

    tools = &reader->tools;

    while (reader->next) {

        if (tools->ex->left == 0) {
            return NGX_AGAIN;
        }

        tools->place->n = 0;
        ngx_http_claude_place_in(tools->place, reader->name);
        ngx_http_claude_place_at(tools->place, reader->index);

        rc = tools_tool(tools, reader->next);
        if (rc != NGX_OK) {
            return rc;
        }

        reader->next = tools_next(reader->next);
        reader->index++;
    }

    return NGX_OK;
}


static ngx_int_t
tools_tool(ngx_http_claude_tools_t *tools, ngx_claude_json_t *tool)
{
    ngx_claude_json_t  *type;

    if (tool->type != NGX_CLAUDE_JSON_OBJECT) {
        return tools_error(tools, NULL, "must be an object");
    }

    if (tools_functions(tools->ex)) {
        return ngx_http_claude_tools_add(tools, tool);
    }

    type = tools_field(tool, "type");

    if (type == NULL || !ngx_claude_json_is(type, "function")) {
        return tools_error(tools, "type", "must be \"function\": no other "
                           "kind of tool is supported");
    }

    ngx_http_claude_place_in(tools->place, "function");

    tool = tools_field(tool, "function");

    if (tool == NULL || tool->type != NGX_CLAUDE_JSON_OBJECT) {
        return tools_error(tools, NULL, "must be an object");
    }

    return ngx_http_claude_tools_add(tools, tool);
}


/*
 * Which tool the model is to call.  Of the older function_call the values are
 * the same.
 */

static ngx_int_t
tools_choice(ngx_http_claude_tools_t *tools)
{
    ngx_int_t                    rc;
    ngx_uint_t                   parallel;
    const char                  *param;
    ngx_claude_json_t           *choice, *node;
    ngx_http_claude_exchange_t  *ex;

    ex = tools->ex;

    param = tools_functions(ex) ? "function_call" : "tool_choice";
    choice = tools_field(ex->body, param);

    node = tools_field(ex->body, "parallel_tool_calls");

    rc = ngx_http_claude_params_flag(ex, "parallel_tool_calls", node,
                                     &parallel);
    if (rc != NGX_OK) {
        return rc;
    }

    tools->single = tools_functions(ex) || (node && !parallel);

    if (choice == NULL) {
        return ngx_http_claude_tools_choose(tools, param,
                                            NGX_HTTP_CLAUDE_CHOICE_AUTO, NULL);
    }

    return tools_choice_word(tools, choice, param);
}


static ngx_int_t
tools_choice_word(ngx_http_claude_tools_t *tools, ngx_claude_json_t *choice,
    const char *param)
{
    ngx_int_t           rc;
    ngx_uint_t          functions;
    ngx_claude_json_t  *node;

    functions = tools_functions(tools->ex);

    if (ngx_claude_json_is(choice, "auto")) {
        return ngx_http_claude_tools_choose(tools, param,
                                            NGX_HTTP_CLAUDE_CHOICE_AUTO, NULL);
    }

    if (ngx_claude_json_is(choice, "none")) {
        return ngx_http_claude_tools_choose(tools, param,
                                            NGX_HTTP_CLAUDE_CHOICE_NONE, NULL);
    }

    rc = ngx_http_claude_tools_needed(tools, param);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_claude_json_is(choice, "required") && !functions) {
        return ngx_http_claude_tools_choose(tools, param,
                                            NGX_HTTP_CLAUDE_CHOICE_ANY, NULL);
    }

    if (choice->type == NGX_CLAUDE_JSON_OBJECT) {

        node = functions ? choice : tools_field(choice, "function");

        if (node && node->type == NGX_CLAUDE_JSON_OBJECT) {
            return ngx_http_claude_tools_choose(tools, param,
                                                NGX_HTTP_CLAUDE_CHOICE_NAMED,
                                                tools_field(node, "name"));
        }
    }

    return ngx_http_claude_error_400(tools->ex->ctx, param, "'%s' must be "
                                     "\"auto\", \"none\"%s or name a "
                                     "function.", param,
                                     functions ? "" : ", \"required\"");
}
