
/*
 * The client's tools in a chat request: what is offered, and what is wanted
 * called.  See the header.
 */


#include "ngx_http_claude_chat_tools.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_models.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_schema.h"
#include "ngx_claude_text.h"


/* what the Messages API takes: ^[a-zA-Z0-9_-]{1,128}$ */
#define TOOLS_NAME   128

#define TOOLS_PARAM  (sizeof("functions[].parameters") + NGX_INT_T_LEN + 32)


/* all of them while they are read */
typedef struct {
    ngx_http_claude_chat_t  *chat;
    ngx_claude_json_t       *list;
    const char              *name;          /* "tools" or "functions" */
    ngx_pool_t              *scratch;       /* until the turn has them */
    ngx_claude_text_t        json;          /* as the Messages API has them */
    ngx_claude_text_t        about;         /* a description with our words */
    ngx_rbtree_t             names;
    ngx_rbtree_node_t        sentinel;
} tools_t;


/* one tool while it is read */
typedef struct {
    tools_t                 *all;
    ngx_http_claude_chat_t  *chat;
    const char              *list;          /* "tools" or "functions" */
    const char              *inside;        /* ".function", or nothing */
    ngx_uint_t               n;
    ngx_claude_json_t       *function;
    ngx_str_t                name;
    ngx_str_t                description;
    ngx_claude_json_t       *parameters;    /* NULL: none, or {} */
    unsigned                 strict:1;
} tools_tool_t;


static ngx_int_t tools_read(tools_t *tools, ngx_claude_json_t *body);
static ngx_int_t tools_list(tools_t *tools);
static ngx_int_t tools_tool(tools_tool_t *tool, ngx_claude_json_t *node);
static ngx_int_t tools_name(tools_tool_t *tool);
static ngx_int_t tools_name_is_new(tools_tool_t *tool);
static ngx_int_t tools_schema(tools_tool_t *tool);
static ngx_int_t tools_json(tools_tool_t *tool);
static ngx_int_t tools_schema_strict(tools_tool_t *tool);
static ngx_int_t tools_schema_copy(tools_tool_t *tool);
static ngx_int_t tools_describe(tools_tool_t *tool);
static ngx_int_t tools_describe_word(ngx_claude_text_t *about,
    ngx_claude_json_t *word);
static ngx_uint_t tools_combines(ngx_claude_json_t *word);
static ngx_int_t tools_error(tools_tool_t *tool, const char *field,
    const char *literal);
static ngx_int_t tools_refuse(tools_tool_t *tool, const char *field,
    ngx_str_t *message);
static ngx_int_t tools_choice(tools_t *tools, ngx_claude_json_t *body);
static ngx_int_t tools_choice_word(tools_t *tools, ngx_claude_json_t *choice,
    const char *param);
static ngx_int_t tools_choice_named(tools_t *tools, ngx_claude_json_t *name,
    const char *param);
static ngx_int_t tools_force(tools_t *tools, ngx_str_t *name,
    const char *param);
static ngx_int_t tools_emulate(tools_t *tools, ngx_str_t *name,
    const char *param);
static ngx_int_t tools_emulate_any(tools_t *tools, const char *param,
    ngx_claude_schema_t *schema, ngx_claude_text_t *text);
static ngx_int_t tools_emulate_one(tools_t *tools, ngx_str_t *only,
    const char *param, ngx_claude_schema_t *schema, ngx_claude_text_t *text);
static ngx_int_t tools_arguments(tools_t *tools, ngx_claude_json_t *node,
    ngx_str_t *name, const char *param, ngx_claude_schema_t *schema,
    ngx_claude_text_t *text);


#define tools_field  ngx_http_claude_chat_field
#define tools_first  ngx_claude_json_first
#define tools_next   ngx_claude_json_next
#define tools_value  ngx_claude_json_value

#define tools_put    ngx_claude_text_literal

#define tools_set_choice(chat, json)                                          \
    ngx_str_set(&(chat)->turn.tool_choice, json)


ngx_int_t
ngx_http_claude_chat_tools(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    tools_t     tools;
    ngx_int_t   rc;

    ngx_memzero(&tools, sizeof(tools_t));

    tools.chat = chat;
    tools.name = "tools";
    tools.list = tools_field(body, "tools");

    if (tools.list == NULL || (tools.list->type == NGX_CLAUDE_JSON_ARRAY
                               && tools_first(tools.list) == NULL))
    {
        tools.name = "functions";
        tools.list = tools_field(body, "functions");

        chat->functions = (tools.list
                           && ngx_claude_json_holds(tools.list));
    }

    if (tools.list && ngx_claude_json_holds(tools.list)
        && chat->turn.profile->agent)
    {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     tools.name, "'%s' cannot be offered "
                                     "here: the model has the tools of the "
                                     "server.", tools.name);
    }

    tools.scratch = ngx_create_pool(4096, chat->turn.log);
    if (tools.scratch == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = tools_read(&tools, body);

    ngx_destroy_pool(tools.scratch);

    return rc;
}


static ngx_int_t
tools_read(tools_t *tools, ngx_claude_json_t *body)
{
    ngx_int_t           rc;
    ngx_claude_turn_t  *turn;

    turn = &tools->chat->turn;

    tools->json.pool = tools->scratch;
    tools->about.pool = tools->scratch;
    ngx_rbtree_init(&tools->names, &tools->sentinel,
                    ngx_str_rbtree_insert_value);

    if (tools->list) {
        rc = tools_list(tools);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = tools_choice(tools, body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (turn->tools.nelts
        && ngx_claude_text_copy(&tools->json, turn->pool,
                                &turn->tools_json)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
tools_list(tools_t *tools)
{
    ngx_int_t                rc;
    ngx_str_t               *s;
    ngx_uint_t               n;
    tools_tool_t             tool;
    ngx_http_claude_chat_t  *chat;
    ngx_claude_json_t       *node;

    chat = tools->chat;

    if (tools->list->type != NGX_CLAUDE_JSON_ARRAY) {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     tools->name, "'%s' must be an array.",
                                     tools->name);
    }

    n = 0;

    for (node = tools_first(tools->list); node; node = tools_next(node)) {
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    if (ngx_array_init(&chat->turn.tools, chat->turn.pool, n,
                       sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    n = 0;

    for (node = tools_first(tools->list); node; node = tools_next(node)) {

        ngx_memzero(&tool, sizeof(tools_tool_t));
        tool.all = tools;
        tool.chat = chat;
        tool.list = tools->name;
        tool.inside = chat->functions ? "" : ".function";
        tool.n = n++;

        rc = tools_tool(&tool, node);
        if (rc != NGX_OK) {
            return rc;
        }

        s = ngx_array_push(&chat->turn.tools);
        if (s == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *s = tool.name;
    }

    return (tools_put(&tools->json, "]") == NGX_OK)
           ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
tools_tool(tools_tool_t *tool, ngx_claude_json_t *node)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *type;

    if (node->type != NGX_CLAUDE_JSON_OBJECT) {
        tool->inside = "";
        return tools_error(tool, "", "must be an object");
    }

    tool->function = node;

    if (!tool->chat->functions) {

        type = tools_field(node, "type");

        if (type == NULL || !ngx_claude_json_is(type, "function")) {
            tool->inside = "";
            return tools_error(tool, ".type", "must be \"function\": no other "
                               "kind of tool is supported");
        }

        tool->function = tools_field(node, "function");

        if (tool->function == NULL
            || tool->function->type != NGX_CLAUDE_JSON_OBJECT)
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
        if (node->type != NGX_CLAUDE_JSON_STRING) {
            return tools_error(tool, ".description", "must be a string");
        }

        tool->description = tools_value(node);
    }

    node = tools_field(tool->function, "strict");

    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return tools_error(tool, ".strict", "must be a boolean");
    }

    tool->strict = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    rc = tools_schema(tool);

    return (rc == NGX_OK) ? tools_json(tool) : rc;
}


static ngx_int_t
tools_name(tools_tool_t *tool)
{
    u_char              ch;
    size_t              i;
    ngx_str_t           name;
    ngx_claude_json_t  *node;

    node = tools_field(tool->function, "name");

    ngx_str_null(&name);

    if (node && node->type == NGX_CLAUDE_JSON_STRING) {
        name = tools_value(node);
    }

    if (name.len == 0 || name.len > TOOLS_NAME) {
        return tools_error(tool, ".name", "must be a string of 1 to 128 "
                           "characters");
    }

    for (i = 0; i < name.len; i++) {
        ch = name.data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-'))
        {
            return tools_error(tool, ".name", "may only have letters, digits, "
                               "underscores and dashes");
        }
    }

    tool->name = name;

    return tools_name_is_new(tool);
}


static ngx_int_t
tools_name_is_new(tools_tool_t *tool)
{
    uint32_t         hash;
    ngx_str_node_t  *node;

    hash = ngx_crc32_long(tool->name.data, tool->name.len);

    if (ngx_str_rbtree_lookup(&tool->all->names, &tool->name, hash)) {
        return tools_error(tool, ".name", "is the name of another tool, too");
    }

    node = ngx_palloc(tool->all->scratch, sizeof(ngx_str_node_t));
    if (node == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    node->node.key = hash;
    node->str = tool->name;
    ngx_rbtree_insert(&tool->all->names, &node->node);

    return NGX_OK;
}


static ngx_int_t
tools_schema(tools_tool_t *tool)
{
    ngx_claude_json_t  *schema, *type;

    schema = tools_field(tool->function, "parameters");

    if (schema == NULL
        || (schema->type == NGX_CLAUDE_JSON_OBJECT
            && tools_first(schema) == NULL))
    {
        tool->strict = 0;
        return NGX_OK;
    }

    if (schema->type != NGX_CLAUDE_JSON_OBJECT) {
        return tools_error(tool, ".parameters", "must be an object, a JSON "
                           "schema");
    }

    type = tools_field(schema, "type");

    if (type && !ngx_claude_json_is(type, "object")) {
        return tools_error(tool, ".parameters", "must have the type "
                           "\"object\"");
    }

    tool->parameters = schema;

    return NGX_OK;
}


/* adds the tool as the Messages API has it */

static ngx_int_t
tools_json(tools_tool_t *tool)
{
    u_char             *p;
    size_t              len;
    ngx_int_t           rc;
    ngx_claude_text_t  *json;

    if (tool->parameters && !tool->strict && tools_describe(tool) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    json = &tool->all->json;
    len = sizeof(",{\"name\":\"\",\"description\":,\"input_schema\":")
          + tool->name.len;

    if (tool->description.len) {
        len += ngx_claude_json_escaped_len(tool->description.data,
                                       tool->description.len);
    }

    p = ngx_claude_text_room(json, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(p, "%s{\"name\":\"%V\"", tool->n ? "," : "[",
                    &tool->name);

    if (tool->description.len) {
        p = ngx_cpymem(p, ",\"description\":",
                       sizeof(",\"description\":") - 1);
        p = ngx_claude_json_escape(p, tool->description.data,
                                   tool->description.len);
    }

    p = ngx_cpymem(p, ",\"input_schema\":", sizeof(",\"input_schema\":") - 1);
    json->len = p - json->data;

    if (tool->parameters == NULL) {
        rc = tools_put(json, "{\"type\":\"object\",\"properties\":{}}");

    } else if (tool->strict) {
        rc = tools_schema_strict(tool);

    } else {
        rc = tools_schema_copy(tool);
    }

    if (rc == NGX_OK && tool->strict) {
        rc = tools_put(json, ",\"strict\":true");
    }

    if (rc == NGX_OK) {
        rc = tools_put(json, "}");
    }

    return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
}


/* the provider constrains the model to it, and takes fewer words for that */

static ngx_int_t
tools_schema_strict(tools_tool_t *tool)
{
    ngx_int_t                  rc;
    ngx_claude_schema_t        schema;

    if (ngx_claude_schema_init(&schema, &tool->chat->schemas,
                               tool->chat->turn.log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_claude_schema_rewrite(&schema, tool->parameters, NULL,
                                   &tool->all->json);

    if (rc == NGX_OK) {
        rc = ngx_claude_schema_defs(&schema, &tool->all->json);

    } else if (rc == NGX_DECLINED) {
        rc = tools_refuse(tool, ".parameters", &schema.reason);
    }

    ngx_claude_schema_done(&schema);

    return rc;
}


/*
 * As the client wrote it, but for what the Messages API refuses: no type, and
 * a choice between schemas on top, which the model is told in words.
 */

static ngx_int_t
tools_schema_copy(tools_tool_t *tool)
{
    u_char             *p;
    ngx_str_t           name;
    ngx_claude_text_t  *json;
    ngx_claude_json_t  *schema, *word;

    schema = tool->parameters;
    json = &tool->all->json;

    p = ngx_claude_text_room(json, ngx_claude_json_text_len(schema)
                                   + sizeof("\"type\":\"object\","));
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p++ = '{';

    if (tools_field(schema, "type") == NULL) {
        p = ngx_cpymem(p, "\"type\":\"object\",",
                       sizeof("\"type\":\"object\",") - 1);
    }

    for (word = tools_first(schema); word; word = tools_next(word)) {

        if (tools_combines(word)) {
            continue;
        }

        name = ngx_claude_json_name(word);

        p = ngx_claude_json_escape(p, name.data, name.len);
        *p++ = ':';
        p = ngx_claude_json_write(p, word);
        *p++ = ',';
    }

    if (p[-1] == ',') {
        p--;
    }

    *p++ = '}';
    json->len = p - json->data;

    return NGX_OK;
}


/*
 * The words on top that the model is told are said behind the description,
 * the last of each.
 */

static ngx_int_t
tools_describe(tools_tool_t *tool)
{
    ngx_claude_json_t  *word, *any, *one, *all;
    ngx_claude_text_t  *about;

    about = &tool->all->about;
    about->len = 0;

    any = ngx_claude_json_member(tool->parameters, "anyOf");
    one = ngx_claude_json_member(tool->parameters, "oneOf");
    all = ngx_claude_json_member(tool->parameters, "allOf");

    if (any == NULL && one == NULL && all == NULL) {
        return NGX_OK;
    }

    if (ngx_claude_text_add(about, tool->description.data,
                            tool->description.len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (word = tools_first(tool->parameters); word; word = tools_next(word)) {

        if ((word == any || word == one || word == all)
            && tools_describe_word(about, word) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    tool->description.data = about->data;
    tool->description.len = about->len;

    return NGX_OK;
}


static ngx_int_t
tools_describe_word(ngx_claude_text_t *about,
    ngx_claude_json_t *word)
{
    u_char     *p;
    ngx_str_t   name;

    static ngx_str_t  lead = ngx_string("The arguments also match, as JSON "
                                        "Schema's ");

    name = ngx_claude_json_name(word);

    p = ngx_claude_text_room(about,
            sizeof("\n\n: ") + lead.len + name.len
            + ngx_claude_json_text_len(word));
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "%s%V%V: ", about->len ? "\n\n" : "", &lead,
                    &name);

    about->len = ngx_claude_json_write(p, word) - about->data;

    return NGX_OK;
}


static ngx_uint_t
tools_combines(ngx_claude_json_t *word)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    static ngx_str_t  words[] = {
        ngx_string("anyOf"),
        ngx_string("oneOf"),
        ngx_string("allOf"),
        ngx_null_string
    };

    name = ngx_claude_json_name(word);

    for (i = 0; words[i].len; i++) {
        if (name.len == words[i].len
            && ngx_memcmp(name.data, words[i].data, words[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
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

    param = ngx_claude_cstr_print(buf, sizeof(buf), "%s[%ui]%s%s",
                                  tool->list, tool->n, tool->inside,
                                  field);

    return ngx_http_claude_error(tool->chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                 param, "'%s' %V.", param, message);
}


/*
 * Which tool the model is to call.  Nothing to say is auto; of the older
 * function_call the values are the same.
 */

static ngx_int_t
tools_choice(tools_t *tools, ngx_claude_json_t *body)
{
    ngx_int_t                rc;
    const char              *param;
    ngx_http_claude_chat_t  *chat;
    ngx_claude_json_t       *choice, *parallel;

    chat = tools->chat;

    if (chat->functions) {
        param = "function_call";
        choice = tools_field(body, "function_call");

    } else {
        param = "tool_choice";
        choice = tools_field(body, "tool_choice");
    }

    parallel = tools_field(body, "parallel_tool_calls");

    if (parallel && parallel->type != NGX_CLAUDE_JSON_TRUE
        && parallel->type != NGX_CLAUDE_JSON_FALSE)
    {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     "parallel_tool_calls",
                                     "'parallel_tool_calls' must be a "
                                     "boolean.");
    }

    chat->single = chat->functions
                   || (parallel
                       && parallel->type == NGX_CLAUDE_JSON_FALSE);

    if (choice) {
        rc = tools_choice_word(tools, choice, param);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (chat->turn.tools.nelts && chat->single
        && chat->turn.tool_choice.len == 0)
    {
        tools_set_choice(chat, "{\"type\":\"auto\","
                               "\"disable_parallel_tool_use\":true}");
    }

    return NGX_OK;
}


static ngx_int_t
tools_choice_word(tools_t *tools, ngx_claude_json_t *choice,
    const char *param)
{
    ngx_http_claude_chat_t  *chat;
    ngx_claude_json_t       *node;

    chat = tools->chat;

    if (ngx_claude_json_is(choice, "auto")) {
        return NGX_OK;
    }

    if (ngx_claude_json_is(choice, "none")) {

        if (chat->turn.tools.nelts) {
            tools_set_choice(chat, "{\"type\":\"none\"}");
        }

        return NGX_OK;
    }

    if (chat->turn.tools.nelts == 0) {
        return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                     param, "'%s' needs tools to choose "
                                     "from.", param);
    }

    if (ngx_claude_json_is(choice, "required") && !chat->functions) {
        return tools_force(tools, NULL, param);
    }

    if (choice->type == NGX_CLAUDE_JSON_OBJECT) {

        node = chat->functions ? choice : tools_field(choice, "function");

        if (node && node->type == NGX_CLAUDE_JSON_OBJECT) {
            return tools_choice_named(tools, tools_field(node, "name"),
                                      param);
        }
    }

    return ngx_http_claude_error(chat->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,
                                 "'%s' must be \"auto\", \"none\"%s or name a "
                                 "function.", param,
                                 chat->functions ? "" : ", \"required\"");
}


static ngx_int_t
tools_choice_named(tools_t *tools, ngx_claude_json_t *name,
    const char *param)
{
    uint32_t         hash;
    ngx_str_t        value;
    ngx_str_node_t  *node;

    ngx_str_null(&value);

    if (name && name->type == NGX_CLAUDE_JSON_STRING) {
        value = tools_value(name);
    }

    if (value.len && value.len <= TOOLS_NAME) {
        hash = ngx_crc32_long(value.data, value.len);
        node = ngx_str_rbtree_lookup(&tools->names, &value, hash);

        if (node) {
            return tools_force(tools, &node->str, param);
        }
    }

    return ngx_http_claude_error(tools->chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                 param, "'%s' names no function that is "
                                 "offered.", param);
}


/* name: of the one to be called, or NULL for any */

static ngx_int_t
tools_force(tools_t *tools, ngx_str_t *name, const char *param)
{
    u_char                  *p;
    ngx_str_t               *choice;
    const char              *single;
    ngx_http_claude_chat_t  *chat;

    chat = tools->chat;

    if (!ngx_http_claude_models_force(&chat->turn.model)) {

        if (name == NULL && chat->turn.tools.nelts == 1) {
            name = chat->turn.tools.elts;
        }

        return tools_emulate(tools, name, param);
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

    if (name) {
        p = ngx_sprintf(p, "{\"type\":\"tool\",\"name\":\"%V\"%s}", name,
                        single);
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
tools_emulate(tools_t *tools, ngx_str_t *name, const char *param)
{
    ngx_int_t                  rc;
    ngx_http_claude_chat_t    *chat;
    ngx_claude_text_t          text;
    ngx_claude_schema_t        schema;

    chat = tools->chat;

    if (ngx_claude_schema_init(&schema, &chat->schemas, chat->turn.log)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = tools->scratch;

    rc = name ? tools_emulate_one(tools, name, param, &schema, &text)
              : tools_emulate_any(tools, param, &schema, &text);

    if (rc == NGX_OK
        && (ngx_claude_schema_defs(&schema, &text) != NGX_OK
            || ngx_claude_text_copy(&text, chat->turn.pool,
                                    &chat->turn.schema)
               != NGX_OK))
    {
        rc = NGX_ERROR;
    }

    ngx_claude_schema_done(&schema);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    chat->forced = 1;
    tools_set_choice(chat, "{\"type\":\"none\"}");

    if (name) {
        chat->forced_name = *name;
    }

    return NGX_OK;
}


/* {"name":<its name>,"arguments":<its schema>}, both required, of any tool */

static ngx_int_t
tools_emulate_any(tools_t *tools, const char *param,
    ngx_claude_schema_t *schema, ngx_claude_text_t *text)
{
    ngx_int_t           rc;
    ngx_str_t          *name;
    ngx_claude_json_t  *node;

    name = tools->chat->turn.tools.elts;

    if (tools_put(text, "{\"anyOf\":[") != NGX_OK) {
        return NGX_ERROR;
    }

    for (node = tools_first(tools->list); node; node = tools_next(node)) {

        if (tools_put(text, "{\"type\":\"object\",\"properties\":{\"name\":{"
                      "\"type\":\"string\",\"const\":\"")
               != NGX_OK
            || ngx_claude_text_add(text, name->data, name->len) != NGX_OK
            || tools_put(text, "\"},\"arguments\":") != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = tools_arguments(tools, node, name, param, schema, text);
        if (rc != NGX_OK) {
            return rc;
        }

        if (tools_put(text, "},\"required\":[\"name\",\"arguments\"],"
                      "\"additionalProperties\":false},")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        name++;
    }

    text->len--;

    return tools_put(text, "]}");
}


/* the arguments alone */

static ngx_int_t
tools_emulate_one(tools_t *tools, ngx_str_t *only, const char *param,
    ngx_claude_schema_t *schema, ngx_claude_text_t *text)
{
    ngx_str_t          *name;
    ngx_claude_json_t  *node;

    name = tools->chat->turn.tools.elts;

    /* it is one of them, and its name is that of no other */

    for (node = tools_first(tools->list); node; node = tools_next(node)) {

        if (name->len == only->len
            && ngx_memcmp(name->data, only->data, only->len) == 0)
        {
            break;
        }

        name++;
    }

    return tools_arguments(tools, node, only, param, schema, text);
}


static ngx_int_t
tools_arguments(tools_t *tools, ngx_claude_json_t *node, ngx_str_t *name,
    const char *param, ngx_claude_schema_t *schema,
    ngx_claude_text_t *text)
{
    ngx_int_t  rc;

    if (!tools->chat->functions) {
        node = tools_field(node, "function");
    }

    rc = ngx_claude_schema_rewrite(schema,
                                   tools_field(node, "parameters"), NULL,
                                   text);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_claude_error(tools->chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
               param, "'%s' cannot be had of this model: the parameters of "
               "'%V' cannot be enforced, %V.", param, name, &schema->reason);
}
