
/*
 * The client's tools in a chat request: what is offered, and what is wanted
 * called.  See the header.
 */


#include "ngx_http_claude_chat_tools.h"
#include "ngx_http_claude_cstr.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_models.h"
#include "ngx_http_claude_profile.h"
#include "ngx_http_claude_schema.h"


/* what the Messages API takes: ^[a-zA-Z0-9_-]{1,128}$ */
#define TOOLS_NAME   128

#define TOOLS_PARAM  (sizeof("functions[].parameters") + NGX_INT_T_LEN + 32)


/* one tool while it is read */
typedef struct {
    ngx_http_claude_chat_t  *chat;
    const char              *list;          /* "tools" or "functions" */
    const char              *inside;        /* ".function", or nothing */
    ngx_uint_t               n;
    ngx_http_claude_json_t  *function;
    ngx_str_t                name;
    ngx_str_t                description;
    ngx_str_t                schema;        /* as JSON */
    unsigned                 strict:1;
} tools_tool_t;


static ngx_int_t tools_list(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *list, const char *name, ngx_array_t *tools);
static ngx_int_t tools_tool(tools_tool_t *tool, ngx_http_claude_json_t *node);
static ngx_int_t tools_name(tools_tool_t *tool);
static ngx_int_t tools_schema(tools_tool_t *tool);
static ngx_int_t tools_schema_strict(tools_tool_t *tool,
    ngx_http_claude_json_t *schema);
static ngx_int_t tools_schema_copy(tools_tool_t *tool,
    ngx_http_claude_json_t *schema);
static ngx_int_t tools_describe(tools_tool_t *tool,
    ngx_http_claude_json_t *word);
static ngx_uint_t tools_combines(ngx_http_claude_json_t *word);
static ngx_int_t tools_error(tools_tool_t *tool, const char *field,
    const char *literal);
static ngx_int_t tools_refuse(tools_tool_t *tool, const char *field,
    ngx_str_t *message);
static ngx_int_t tools_json(ngx_http_claude_chat_t *chat, ngx_array_t *tools);
static ngx_int_t tools_choice(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body, ngx_array_t *tools);
static ngx_int_t tools_choice_word(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *choice, const char *param, ngx_array_t *tools);
static ngx_int_t tools_choice_named(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *name, const char *param, ngx_array_t *tools);
static ngx_int_t tools_force(ngx_http_claude_chat_t *chat,
    tools_tool_t *tool, const char *param, ngx_array_t *tools);
static ngx_int_t tools_emulate(ngx_http_claude_chat_t *chat,
    tools_tool_t *tool, const char *param, ngx_array_t *tools);
static ngx_http_claude_json_t *tools_call_schema(ngx_pool_t *pool,
    ngx_str_t *name, ngx_http_claude_json_t *arguments);
static ngx_uint_t tools_is(ngx_http_claude_json_t *node, const char *text);


#define tools_field  ngx_http_claude_chat_field

#define tools_set_choice(chat, json)                                          \
    ngx_str_set(&(chat)->turn.tool_choice, json)


ngx_int_t
ngx_http_claude_chat_tools(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body)
{
    ngx_int_t                rc;
    const char              *name;
    ngx_array_t              tools;
    ngx_http_claude_json_t  *list;

    if (ngx_array_init(&tools, chat->turn.pool, 8, sizeof(tools_tool_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    name = "tools";
    list = tools_field(body, "tools");

    if (list == NULL || (list->type == NGX_HTTP_CLAUDE_JSON_ARRAY
                         && list->first == NULL))
    {
        name = "functions";
        list = tools_field(body, "functions");

        chat->functions = (list && list->first);
    }

    if (list && list->first && chat->turn.profile->agent) {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     name, "'%s' cannot be offered here: the "
                                     "model has the tools of the server.",
                                     name);
    }

    if (list) {
        rc = tools_list(chat, list, name, &tools);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = tools_choice(chat, body, &tools);
    if (rc != NGX_OK) {
        return rc;
    }

    return tools.nelts ? tools_json(chat, &tools) : NGX_OK;
}


static ngx_int_t
tools_list(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *list,
    const char *name, ngx_array_t *tools)
{
    ngx_int_t                rc;
    ngx_str_t               *s;
    ngx_uint_t               n;
    tools_tool_t            *tool;
    ngx_http_claude_json_t  *node;

    if (list->type != NGX_HTTP_CLAUDE_JSON_ARRAY) {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     name, "'%s' must be an array.", name);
    }

    n = 0;

    for (node = list->first; node; node = node->next) {

        tool = ngx_array_push(tools);
        if (tool == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memzero(tool, sizeof(tools_tool_t));
        tool->chat = chat;
        tool->list = name;
        tool->inside = chat->functions ? "" : ".function";
        tool->n = n++;

        rc = tools_tool(tool, node);
        if (rc != NGX_OK) {
            return rc;
        }

        s = ngx_array_push(&chat->turn.tools);
        if (s == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *s = tool->name;
    }

    return NGX_OK;
}


static ngx_int_t
tools_tool(tools_tool_t *tool, ngx_http_claude_json_t *node)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *type;

    if (node->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        tool->inside = "";
        return tools_error(tool, "", "must be an object");
    }

    tool->function = node;

    if (!tool->chat->functions) {

        type = tools_field(node, "type");

        if (type == NULL || !tools_is(type, "function")) {
            tool->inside = "";
            return tools_error(tool, ".type", "must be \"function\": no other "
                               "kind of tool is supported");
        }

        tool->function = tools_field(node, "function");

        if (tool->function == NULL
            || tool->function->type != NGX_HTTP_CLAUDE_JSON_OBJECT)
        {
            return tools_error(tool, "", "must be an object");
        }
    }

    rc = tools_name(tool);
    if (rc != NGX_OK) {
        return rc;
    }

    node = tools_field(tool->function, "description");

    if (node) {
        if (node->type != NGX_HTTP_CLAUDE_JSON_STRING) {
            return tools_error(tool, ".description", "must be a string");
        }

        tool->description = node->value;
    }

    node = tools_field(tool->function, "strict");

    if (node && node->type != NGX_HTTP_CLAUDE_JSON_TRUE
        && node->type != NGX_HTTP_CLAUDE_JSON_FALSE)
    {
        return tools_error(tool, ".strict", "must be a boolean");
    }

    tool->strict = (node && node->type == NGX_HTTP_CLAUDE_JSON_TRUE);

    return tools_schema(tool);
}


static ngx_int_t
tools_name(tools_tool_t *tool)
{
    u_char                   ch;
    size_t                   i;
    ngx_str_t               *name;
    ngx_uint_t               n;
    ngx_http_claude_json_t  *node;

    node = tools_field(tool->function, "name");

    if (node == NULL || node->type != NGX_HTTP_CLAUDE_JSON_STRING
        || node->value.len == 0 || node->value.len > TOOLS_NAME)
    {
        return tools_error(tool, ".name", "must be a string of 1 to 128 "
                           "characters");
    }

    for (i = 0; i < node->value.len; i++) {
        ch = node->value.data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-'))
        {
            return tools_error(tool, ".name", "may only have letters, digits, "
                               "underscores and dashes");
        }
    }

    tool->name = node->value;
    name = tool->chat->turn.tools.elts;

    for (n = 0; n < tool->chat->turn.tools.nelts; n++) {
        if (name[n].len == tool->name.len
            && ngx_memcmp(name[n].data, tool->name.data, tool->name.len) == 0)
        {
            return tools_error(tool, ".name", "is the name of another tool, "
                               "too");
        }
    }

    return NGX_OK;
}


static ngx_int_t
tools_schema(tools_tool_t *tool)
{
    ngx_http_claude_json_t  *schema, *type;

    schema = tools_field(tool->function, "parameters");

    if (schema == NULL
        || (schema->type == NGX_HTTP_CLAUDE_JSON_OBJECT
            && schema->first == NULL))
    {
        ngx_str_set(&tool->schema,
                    "{\"type\":\"object\",\"properties\":{}}");

        tool->strict = 0;
        return NGX_OK;
    }

    if (schema->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return tools_error(tool, ".parameters", "must be an object, a JSON "
                           "schema");
    }

    type = tools_field(schema, "type");

    if (type && !tools_is(type, "object")) {
        return tools_error(tool, ".parameters", "must have the type "
                           "\"object\"");
    }

    return tool->strict ? tools_schema_strict(tool, schema)
                        : tools_schema_copy(tool, schema);
}


/* the provider constrains the model to it, and takes fewer words for that */

static ngx_int_t
tools_schema_strict(tools_tool_t *tool, ngx_http_claude_json_t *parameters)
{
    ngx_int_t                  rc;
    ngx_http_claude_json_t    *out;
    ngx_http_claude_schema_t   schema;

    if (ngx_http_claude_schema_init(&schema, tool->chat->turn.pool) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_claude_schema_rewrite(&schema, parameters, &out);

    if (rc == NGX_DECLINED) {
        return tools_refuse(tool, ".parameters", &schema.reason);
    }

    if (rc != NGX_OK
        || ngx_http_claude_schema_text(&schema, out, &tool->schema) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


/*
 * As the client wrote it, but for what the Messages API refuses: no type, and
 * a choice between schemas on top, which the model is told in words.
 */

static ngx_int_t
tools_schema_copy(tools_tool_t *tool, ngx_http_claude_json_t *schema)
{
    u_char                  *p;
    ngx_http_claude_json_t  *word;

    p = ngx_pnalloc(tool->chat->turn.pool,
                    ngx_http_claude_json_text_max(schema)
                    + sizeof("\"type\":\"object\","));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    tool->schema.data = p;
    *p++ = '{';

    if (tools_field(schema, "type") == NULL) {
        p = ngx_cpymem(p, "\"type\":\"object\",",
                       sizeof("\"type\":\"object\",") - 1);
    }

    for (word = schema->first; word; word = word->next) {

        if (tools_combines(word)) {

            if (tools_describe(tool, word) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            continue;
        }

        p = ngx_http_claude_json_escape(p, word->name.data, word->name.len);
        *p++ = ':';
        p = ngx_http_claude_json_write(p, word);
        *p++ = ',';
    }

    if (p[-1] == ',') {
        p--;
    }

    *p++ = '}';
    tool->schema.len = p - tool->schema.data;

    return NGX_OK;
}


static ngx_uint_t
tools_combines(ngx_http_claude_json_t *word)
{
    ngx_uint_t  i;

    static ngx_str_t  words[] = {
        ngx_string("anyOf"),
        ngx_string("oneOf"),
        ngx_string("allOf"),
        ngx_null_string
    };

    for (i = 0; words[i].len; i++) {
        if (word->name.len == words[i].len
            && ngx_memcmp(word->name.data, words[i].data, words[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
tools_describe(tools_tool_t *tool, ngx_http_claude_json_t *word)
{
    u_char     *p;
    ngx_str_t   text, *all;

    static ngx_str_t  lead = ngx_string("The arguments also match, as JSON "
                                        "Schema's ");

    if (ngx_http_claude_json_text(tool->chat->turn.pool, word, &text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    all = &tool->description;

    p = ngx_pnalloc(tool->chat->turn.pool, all->len + lead.len
                    + word->name.len + text.len + sizeof("\n\n: "));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(p, "%V%s%V%V: %V", all, all->len ? "\n\n" : "",
                           &lead, &word->name, &text)
               - p;
    text.data = p;

    *all = text;

    return NGX_OK;
}


static ngx_int_t
tools_error(tools_tool_t *tool, const char *field, const char *literal)
{
    ngx_str_t  message;

    message.data = (u_char *) literal;
    message.len = ngx_strlen(literal);

    return tools_refuse(tool, field, &message);
}


/* message: made of what the client sent, and so without a NUL at its end */

static ngx_int_t
tools_refuse(tools_tool_t *tool, const char *field, ngx_str_t *message)
{
    u_char       buf[TOOLS_PARAM];
    const char  *param;

    param = ngx_http_claude_cstr_print(buf, sizeof(buf), "%s[%ui]%s%s",
                                       tool->list, tool->n, tool->inside,
                                       field);

    return ngx_http_claude_error(tool->chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                 param, "'%s' %V.", param, message);
}


/* the array as the Messages API has it */

static ngx_int_t
tools_json(ngx_http_claude_chat_t *chat, ngx_array_t *tools)
{
    u_char        *p;
    size_t         len;
    ngx_uint_t     i;
    tools_tool_t  *tool;

    tool = tools->elts;
    len = sizeof("[]");

    for (i = 0; i < tools->nelts; i++) {
        len += sizeof(",{\"name\":,\"description\":,\"input_schema\":,"
                      "\"strict\":true}")
               + ngx_http_claude_json_escaped_max(tool[i].name.len)
               + ngx_http_claude_json_escaped_max(tool[i].description.len)
               + tool[i].schema.len;
    }

    p = ngx_pnalloc(chat->turn.pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    chat->turn.tools_json.data = p;

    for (i = 0; i < tools->nelts; i++) {
        p = ngx_sprintf(p, "%s{\"name\":\"%V\"", i ? "," : "[",
                        &tool[i].name);

        if (tool[i].description.len) {
            p = ngx_cpymem(p, ",\"description\":",
                           sizeof(",\"description\":") - 1);
            p = ngx_http_claude_json_escape(p, tool[i].description.data,
                                            tool[i].description.len);
        }

        p = ngx_sprintf(p, ",\"input_schema\":%V%s}", &tool[i].schema,
                        tool[i].strict ? ",\"strict\":true" : "");
    }

    *p++ = ']';
    chat->turn.tools_json.len = p - chat->turn.tools_json.data;

    return NGX_OK;
}


/*
 * Which tool the model is to call.  Nothing to say is auto; of the older
 * function_call the values are the same.
 */

static ngx_int_t
tools_choice(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *body,
    ngx_array_t *tools)
{
    ngx_int_t                rc;
    const char              *param;
    ngx_http_claude_json_t  *choice, *parallel;

    if (chat->functions) {
        param = "function_call";
        choice = tools_field(body, "function_call");

    } else {
        param = "tool_choice";
        choice = tools_field(body, "tool_choice");
    }

    parallel = tools_field(body, "parallel_tool_calls");

    if (parallel && parallel->type != NGX_HTTP_CLAUDE_JSON_TRUE
        && parallel->type != NGX_HTTP_CLAUDE_JSON_FALSE)
    {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     "parallel_tool_calls",
                                     "'parallel_tool_calls' must be a "
                                     "boolean.");
    }

    chat->single = chat->functions
                   || (parallel
                       && parallel->type == NGX_HTTP_CLAUDE_JSON_FALSE);

    if (choice) {
        rc = tools_choice_word(chat, choice, param, tools);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (tools->nelts && chat->single && chat->turn.tool_choice.len == 0) {
        tools_set_choice(chat, "{\"type\":\"auto\","
                               "\"disable_parallel_tool_use\":true}");
    }

    return NGX_OK;
}


static ngx_int_t
tools_choice_word(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *choice, const char *param, ngx_array_t *tools)
{
    ngx_http_claude_json_t  *node;

    if (tools_is(choice, "auto")) {
        return NGX_OK;
    }

    if (tools_is(choice, "none")) {

        if (tools->nelts) {
            tools_set_choice(chat, "{\"type\":\"none\"}");
        }

        return NGX_OK;
    }

    if (tools->nelts == 0) {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     param, "'%s' needs tools to choose "
                                     "from.", param);
    }

    if (tools_is(choice, "required") && !chat->functions) {
        return tools_force(chat, NULL, param, tools);
    }

    if (choice->type == NGX_HTTP_CLAUDE_JSON_OBJECT) {

        node = chat->functions ? choice : tools_field(choice, "function");

        if (node && node->type == NGX_HTTP_CLAUDE_JSON_OBJECT) {
            return tools_choice_named(chat, tools_field(node, "name"), param,
                                      tools);
        }
    }

    return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,
                                 "'%s' must be \"auto\", \"none\"%s or name a "
                                 "function.", param,
                                 chat->functions ? "" : ", \"required\"");
}


static ngx_int_t
tools_choice_named(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *name,
    const char *param, ngx_array_t *tools)
{
    ngx_uint_t     i;
    tools_tool_t  *tool;

    tool = tools->elts;

    if (name && name->type == NGX_HTTP_CLAUDE_JSON_STRING) {

        for (i = 0; i < tools->nelts; i++) {
            if (tool[i].name.len == name->value.len
                && ngx_memcmp(tool[i].name.data, name->value.data,
                              name->value.len)
                   == 0)
            {
                return tools_force(chat, &tool[i], param, tools);
            }
        }
    }

    return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,
                                 "'%s' names no function that is offered.",
                                 param);
}


/* tool: the one to be called, or NULL for any */

static ngx_int_t
tools_force(ngx_http_claude_chat_t *chat, tools_tool_t *tool,
    const char *param, ngx_array_t *tools)
{
    u_char      *p;
    ngx_str_t   *choice;
    const char  *single;

    if (!ngx_http_claude_models_force(&chat->turn.model)) {

        if (tool == NULL && tools->nelts == 1) {
            tool = tools->elts;
        }

        return tools_emulate(chat, tool, param, tools);
    }

    /* the models that take it do so only when they do not think */

    chat->turn.thoughtless = 1;

    single = chat->single ? ",\"disable_parallel_tool_use\":true" : "";
    choice = &chat->turn.tool_choice;

    p = ngx_pnalloc(chat->turn.pool,
                    sizeof("{\"type\":\"tool\",\"name\":\"\","
                           "\"disable_parallel_tool_use\":true}")
                    + TOOLS_NAME);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    choice->data = p;

    if (tool) {
        p = ngx_sprintf(p, "{\"type\":\"tool\",\"name\":\"%V\"%s}",
                        &tool->name, single);
    } else {
        p = ngx_sprintf(p, "{\"type\":\"any\"%s}", single);
    }

    choice->len = p - choice->data;

    return NGX_OK;
}


/*
 * Models that always think take no forced choice.  They can be made to write
 * the arguments as a constrained text, which the client gets as the call.
 */

static ngx_int_t
tools_emulate(ngx_http_claude_chat_t *chat, tools_tool_t *tool,
    const char *param, ngx_array_t *tools)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    tools_tool_t              *all;
    ngx_http_claude_json_t    *whole, *any, *one, *parameters, none;
    ngx_http_claude_schema_t   schema;

    if (ngx_http_claude_schema_init(&schema, chat->turn.pool) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&none, sizeof(ngx_http_claude_json_t));
    none.type = NGX_HTTP_CLAUDE_JSON_OBJECT;

    whole = NULL;
    any = NULL;

    if (tool == NULL) {
        whole = ngx_http_claude_schema_node(chat->turn.pool,
                                            NGX_HTTP_CLAUDE_JSON_OBJECT, NULL);
        any = ngx_http_claude_schema_node(chat->turn.pool,
                                          NGX_HTTP_CLAUDE_JSON_ARRAY, NULL);

        if (whole == NULL || any == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_claude_schema_add(whole, "anyOf", any);
    }

    all = tools->elts;

    for (i = 0; i < tools->nelts; i++) {

        if (tool && tool != &all[i]) {
            continue;
        }

        parameters = tools_field(all[i].function, "parameters");

        rc = ngx_http_claude_schema_rewrite(&schema,
                                            parameters ? parameters : &none,
                                            &one);
        if (rc == NGX_DECLINED) {
            return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST,
                       NULL, param, "'%s' cannot be had of this model: the "
                       "parameters of '%V' cannot be enforced, %V.", param,
                       &all[i].name, &schema.reason);
        }

        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (any == NULL) {
            whole = one;
            chat->forced_name = tool->name;
            continue;
        }

        one = tools_call_schema(chat->turn.pool, &all[i].name, one);
        if (one == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_claude_schema_add(any, NULL, one);
    }

    if (ngx_http_claude_schema_text(&schema, whole, &chat->turn.schema)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    chat->forced = 1;
    tools_set_choice(chat, "{\"type\":\"none\"}");

    return NGX_OK;
}


/* {"name":<the name>,"arguments":<the schema>}, both required */

static ngx_http_claude_json_t *
tools_call_schema(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_claude_json_t *arguments)
{
    ngx_str_t                head;
    ngx_http_claude_json_t  *call, *properties;

    head.data = ngx_pnalloc(pool,
                            sizeof("{\"type\":\"object\",\"properties\":{"
                                   "\"name\":{\"type\":\"string\",\"const\":"
                                   "\"\"}},\"required\":[\"name\","
                                   "\"arguments\"],"
                                   "\"additionalProperties\":false}")
                            + name->len);
    if (head.data == NULL) {
        return NULL;
    }

    head.len = ngx_sprintf(head.data, "{\"type\":\"object\",\"properties\":{"
                           "\"name\":{\"type\":\"string\",\"const\":\"%V\"}},"
                           "\"required\":[\"name\",\"arguments\"],"
                           "\"additionalProperties\":false}", name)
               - head.data;

    call = ngx_http_claude_json_parse(pool, &head);
    if (call == NULL) {
        return NULL;
    }

    properties = ngx_http_claude_json_member(call, "properties");
    ngx_http_claude_schema_add(properties, "arguments", arguments);

    return call;
}


static ngx_uint_t
tools_is(ngx_http_claude_json_t *node, const char *text)
{
    return node->type == NGX_HTTP_CLAUDE_JSON_STRING
           && node->value.len == ngx_strlen(text)
           && ngx_memcmp(node->value.data, text, node->value.len) == 0;
}
