
/*
 * The client's tools.  See the header.
 */


#include "ngx_http_claude_tools.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_json_text.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_schema.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_models.h"


/* bytes of a name: ^[a-zA-Z0-9_-]{1,128}$ in the Messages API */
#define TOOLS_NAME   128

/* the most tools: OpenAI takes 128, and no model can do with so many */
#define TOOLS_MAX    10000

/* bytes of a description, and of a schema: a quarter of what models take */
#define TOOLS_BYTES  1048576

/* what a tool costs, and each byte of it, see spend() */
#define TOOLS_TOOL   256
#define TOOLS_BYTE   4


/* a tool while it is read, or the one that is to be called */
typedef struct {
    ngx_http_claude_tools_t  *all;
    ngx_claude_json_t        *object;
    ngx_str_t                 name;
    ngx_str_t                 description;
    ngx_claude_json_t        *schema;        /* NULL: none, or {} */
    unsigned                  strict:1;
} tools_tool_t;


static void tools_get(ngx_http_claude_tools_t *tools, ngx_uint_t n,
    tools_tool_t *tool);
static ngx_int_t tools_read(tools_tool_t *tool);
static ngx_int_t tools_name(tools_tool_t *tool);
static ngx_int_t tools_name_is_new(tools_tool_t *tool);
static ngx_int_t tools_schema(tools_tool_t *tool);
static ngx_int_t tools_json(tools_tool_t *tool);
static ngx_int_t tools_schema_strict(tools_tool_t *tool);
static void tools_schema_copy(tools_tool_t *tool, ngx_claude_out_t *out);
static ngx_int_t tools_describe(tools_tool_t *tool);
static ngx_uint_t tools_combines(ngx_claude_json_t *word);
static ngx_int_t tools_choose_named(ngx_http_claude_tools_t *tools,
    const char *param, ngx_claude_json_t *name);
static ngx_int_t tools_force(ngx_http_claude_tools_t *tools,
    tools_tool_t *tool, const char *param);
static ngx_int_t tools_emulate(ngx_http_claude_tools_t *tools,
    tools_tool_t *tool, const char *param);
static ngx_claude_schema_t *tools_any(ngx_http_claude_tools_t *tools);
static void tools_any_done(void *data);
static ngx_int_t tools_emulate_any(ngx_http_claude_tools_t *tools,
    const char *param);
static ngx_int_t tools_arguments(tools_tool_t *tool, const char *param,
    ngx_claude_schema_t *schema, ngx_claude_text_t *text);


#define tools_field  ngx_claude_json_field
#define tools_first  ngx_claude_json_first
#define tools_next   ngx_claude_json_next
#define tools_value  ngx_claude_json_value

#define tools_put    ngx_claude_text_literal

#define TOOLS_LONG   "is too large: it may have up to 1 MB"

#define tools_set_choice(tools, json)                                         \
    ngx_str_set(&(tools)->ex->turn.tool_choice, json)

#define tools_error(tool, member, message)                                    \
    ngx_http_claude_place_error((tool)->all->place, member, message)


/* words that the Messages API refuses on top of a schema: the model is told */

static const char  *tools_words[] = { "anyOf", "oneOf", "allOf" };

#define TOOLS_WORDS  (sizeof(tools_words) / sizeof(tools_words[0]))


ngx_int_t
ngx_http_claude_tools_init(ngx_http_claude_tools_t *tools,
    ngx_http_claude_exchange_t *ex, ngx_http_claude_place_t *place,
    const char *name, ngx_claude_json_t *list, const char *schema,
    ngx_uint_t chosen)
{
    ngx_uint_t          n;
    ngx_claude_json_t  *node;

    ngx_memzero(tools, sizeof(ngx_http_claude_tools_t));

    tools->ex = ex;
    tools->place = place;
    tools->schema = schema;
    tools->scratch = ex->ctx->scratch;
    tools->json.pool = ex->turn.pool;
    tools->text.pool = tools->scratch;
    tools->about.pool = tools->scratch;

    ngx_rbtree_init(&tools->names, &tools->sentinel,
                    ngx_str_rbtree_insert_value);

    if (list == NULL) {
        return NGX_OK;
    }

    if (ngx_claude_json_holds(list) && ex->turn.profile->agent) {
        return ngx_http_claude_error_400(ex->ctx, name, "'%s' cannot be "
                                         "offered here: the model has the "
                                         "tools of the server.", name);
    }

    if (list->type != NGX_CLAUDE_JSON_ARRAY) {
        return ngx_http_claude_error_400(ex->ctx, name,
                                         "'%s' must be an array.", name);
    }

    n = 0;

    for (node = tools_first(list); node; node = tools_next(node)) {
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    if (n > TOOLS_MAX) {
        return ngx_http_claude_error_400(ex->ctx, name, "'%s' has more than "
                                         "%d tools.", name, TOOLS_MAX);
    }

    if (ngx_array_init(&ex->turn.tools, ex->turn.pool, n, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (chosen
        && ngx_array_init(&tools->objects, tools->scratch, n,
                          sizeof(ngx_claude_json_t *))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    tools->chosen = chosen;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_tools_add(ngx_http_claude_tools_t *tools,
    ngx_claude_json_t *object)
{
    ngx_int_t            rc;
    ngx_str_t           *name;
    tools_tool_t         tool;
    ngx_claude_json_t  **entry;

    /* room for all was made when their number was read */

    name = ngx_array_push(&tools->ex->turn.tools);
    if (name == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (tools->chosen) {
        entry = ngx_array_push(&tools->objects);
        if (entry == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *entry = object;
    }

    ngx_memzero(&tool, sizeof(tools_tool_t));

    tool.all = tools;
    tool.object = object;

    rc = tools_read(&tool);

    *name = tool.name;

    ngx_http_claude_exchange_spend(tools->ex,
                                   TOOLS_TOOL + tool.description.len);

    return (rc == NGX_OK) ? tools_json(&tool) : rc;
}


/* gets of a tool that was read what a choice needs to know */

static void
tools_get(ngx_http_claude_tools_t *tools, ngx_uint_t n, tools_tool_t *tool)
{
    ngx_str_t           *name;
    ngx_claude_json_t  **object;

    name = tools->ex->turn.tools.elts;
    object = tools->objects.elts;

    ngx_memzero(tool, sizeof(tools_tool_t));

    tool->all = tools;
    tool->object = object[n];
    tool->name = name[n];
}


static ngx_int_t
tools_read(tools_tool_t *tool)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *node;

    rc = tools_name(tool);
    if (rc != NGX_OK) {
        return rc;
    }

    node = tools_field(tool->object, "description");

    if (node) {
        if (node->type != NGX_CLAUDE_JSON_STRING) {
            return tools_error(tool, "description", "must be a string");
        }

        tool->description = tools_value(node);

        if (tool->description.len > TOOLS_BYTES) {
            return tools_error(tool, "description", TOOLS_LONG);
        }
    }

    node = tools_field(tool->object, "strict");

    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return tools_error(tool, "strict", "must be a boolean");
    }

    tool->strict = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    return tools_schema(tool);
}


static ngx_int_t
tools_name(tools_tool_t *tool)
{
    u_char              ch;
    size_t              i;
    ngx_str_t           name;
    ngx_claude_json_t  *node;

    node = tools_field(tool->object, "name");

    ngx_str_null(&name);

    if (node && node->type == NGX_CLAUDE_JSON_STRING) {
        name = tools_value(node);
    }

    if (name.len == 0 || name.len > TOOLS_NAME) {
        return tools_error(tool, "name", "must be a string of 1 to 128 "
                           "characters");
    }

    for (i = 0; i < name.len; i++) {
        ch = name.data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-'))
        {
            return tools_error(tool, "name", "may only have letters, digits, "
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
        return tools_error(tool, "name", "is the name of another tool, too");
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
    size_t              left;
    const char         *member;
    ngx_claude_json_t  *schema, *type;

    member = tool->all->schema;
    schema = tools_field(tool->object, member);

    if (schema == NULL
        || (schema->type == NGX_CLAUDE_JSON_OBJECT
            && tools_first(schema) == NULL))
    {
        tool->strict = 0;
        return NGX_OK;
    }

    if (schema->type != NGX_CLAUDE_JSON_OBJECT) {
        return tools_error(tool, member, "must be an object, a JSON schema");
    }

    left = TOOLS_BYTES;

    if (!ngx_claude_json_within(schema, &left)) {
        return tools_error(tool, member, TOOLS_LONG);
    }

    ngx_http_claude_exchange_spend(tool->all->ex,
                                   TOOLS_BYTE * (TOOLS_BYTES - left));

    type = tools_field(schema, "type");

    if (type && !ngx_claude_json_is(type, "object")) {
        return tools_error(tool, member, "must have the type \"object\"");
    }

    tool->schema = schema;

    return NGX_OK;
}


/* adds the tool as the Messages API has it */

static ngx_int_t
tools_json(tools_tool_t *tool)
{
    ngx_int_t           rc;
    ngx_claude_out_t   *out;
    ngx_claude_text_t  *json;

    if (tool->schema && !tool->strict && tools_describe(tool) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    json = &tool->all->json;
    out = ngx_claude_text_begin(json);

    ngx_claude_out(out, "%s{\"name\":\"%V\"", json->len ? "," : "[",
                   &tool->name);

    if (tool->description.len) {
        ngx_claude_out(out, ",\"description\":%J", &tool->description);
    }

    ngx_claude_out_literal(out, ",\"input_schema\":");

    if (tool->schema == NULL) {
        ngx_claude_out_literal(out, "{\"type\":\"object\",\"properties\":{}}");

    } else if (!tool->strict) {
        tools_schema_copy(tool, out);
    }

    rc = ngx_claude_text_end(json);

    if (rc == NGX_OK && tool->schema && tool->strict) {
        rc = tools_schema_strict(tool);
    }

    if (rc == NGX_OK) {
        rc = tool->strict ? tools_put(json, ",\"strict\":true}")
                          : tools_put(json, "}");
    }

    return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
}


/* the provider constrains the model to it, and takes fewer words for that */

static ngx_int_t
tools_schema_strict(tools_tool_t *tool)
{
    ngx_int_t                    rc;
    ngx_claude_schema_t          schema;
    ngx_http_claude_exchange_t  *ex;

    ex = tool->all->ex;

    if (ngx_claude_schema_init(&schema, &ex->schemas, ex->turn.log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_claude_schema_rewrite(&schema, tool->schema, NULL,
                                   &tool->all->json);

    if (rc == NGX_OK) {
        rc = ngx_claude_schema_defs(&schema, &tool->all->json);

    } else if (rc == NGX_DECLINED) {
        rc = ngx_http_claude_place_refuse(tool->all->place,
                                          tool->all->schema, &schema.reason);
    }

    ngx_claude_schema_done(&schema);

    return rc;
}


/*
 * As the client wrote it, but for what the Messages API refuses: no type, and
 * a choice between schemas on top, which the model is told in words.
 */

static void
tools_schema_copy(tools_tool_t *tool, ngx_claude_out_t *out)
{
    ngx_str_t           name;
    const char         *comma;
    ngx_claude_json_t  *word;

    comma = "";
    ngx_claude_out_literal(out, "{");

    if (tools_field(tool->schema, "type") == NULL) {
        ngx_claude_out_literal(out, "\"type\":\"object\"");
        comma = ",";
    }

    for (word = tools_first(tool->schema); word; word = tools_next(word)) {

        if (tools_combines(word) < TOOLS_WORDS) {
            continue;
        }

        name = ngx_claude_json_name(word);

        ngx_claude_out(out, "%s%J:", comma, &name);
        ngx_claude_json_text_out(out, word);
        comma = ",";
    }

    ngx_claude_out_literal(out, "}");
}


/*
 * The words on top that the model is told are said behind the description,
 * the last of each.
 */

static ngx_int_t
tools_describe(tools_tool_t *tool)
{
    ngx_str_t           name;
    ngx_uint_t          i;
    const char         *space;
    ngx_claude_out_t   *out;
    ngx_claude_json_t  *word, *last[TOOLS_WORDS];
    ngx_claude_text_t  *about;

    about = &tool->all->about;
    about->len = 0;

    for (i = 0; i < TOOLS_WORDS; i++) {
        last[i] = NULL;
    }

    for (word = tools_first(tool->schema); word; word = tools_next(word)) {

        i = tools_combines(word);

        if (i < TOOLS_WORDS) {
            last[i] = word;
        }
    }

    space = NULL;
    out = ngx_claude_text_begin(about);

    for (word = tools_first(tool->schema); word; word = tools_next(word)) {

        i = tools_combines(word);

        if (i == TOOLS_WORDS || word != last[i]) {
            continue;
        }

        if (space == NULL) {
            ngx_claude_out(out, "%V", &tool->description);
            space = tool->description.len ? "\n\n" : "";
        }

        name = ngx_claude_json_name(word);

        ngx_claude_out(out, "%sThe arguments also match, as JSON Schema's "
                       "%V: ", space, &name);
        ngx_claude_json_text_out(out, word);
        space = "\n\n";
    }

    if (ngx_claude_text_end(about) != NGX_OK) {
        return NGX_ERROR;
    }

    if (about->len) {
        tool->description.data = about->data;
        tool->description.len = about->len;
    }

    return NGX_OK;
}


/* which of the words a member is, TOOLS_WORDS if it is none */

static ngx_uint_t
tools_combines(ngx_claude_json_t *word)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    name = ngx_claude_json_name(word);

    for (i = 0; i < TOOLS_WORDS; i++) {
        if (ngx_claude_is(&name, tools_words[i])) {
            break;
        }
    }

    return i;
}


/* nothing to say is auto */

ngx_int_t
ngx_http_claude_tools_choose(ngx_http_claude_tools_t *tools,
    const char *param, ngx_http_claude_choice_e choice,
    ngx_claude_json_t *name)
{
    if (choice >= NGX_HTTP_CLAUDE_CHOICE_ANY
        && tools->ex->turn.tools.nelts == 0)
    {
        return ngx_http_claude_tools_needed(tools, param);
    }

    switch (choice) {

    case NGX_HTTP_CLAUDE_CHOICE_ANY:
        return tools_force(tools, NULL, param);

    case NGX_HTTP_CLAUDE_CHOICE_NAMED:
        return tools_choose_named(tools, param, name);

    case NGX_HTTP_CLAUDE_CHOICE_NONE:

        if (tools->ex->turn.tools.nelts) {
            tools_set_choice(tools, "{\"type\":\"none\"}");
        }

        return NGX_OK;

    default:                                /* CHOICE_AUTO */

        if (tools->ex->turn.tools.nelts && tools->single) {
            tools_set_choice(tools, "{\"type\":\"auto\","
                                    "\"disable_parallel_tool_use\":true}");
        }

        return NGX_OK;
    }
}


ngx_int_t
ngx_http_claude_tools_needed(ngx_http_claude_tools_t *tools,
    const char *param)
{
    if (tools->ex->turn.tools.nelts) {
        return NGX_OK;
    }

    return ngx_http_claude_error_400(tools->ex->ctx, param,
                                     "'%s' needs tools to choose from.",
                                     param);
}


static ngx_int_t
tools_choose_named(ngx_http_claude_tools_t *tools, const char *param,
    ngx_claude_json_t *name)
{
    ngx_str_t     *names, value;
    ngx_uint_t     i;
    tools_tool_t   tool;

    ngx_str_null(&value);

    if (name && name->type == NGX_CLAUDE_JSON_STRING) {
        value = tools_value(name);
    }

    /* once a request: that is less than to keep where each one is */

    names = tools->ex->turn.tools.elts;

    for (i = 0; i < tools->ex->turn.tools.nelts; i++) {

        if (ngx_claude_same(&names[i], &value)) {
            tools_get(tools, i, &tool);

            return tools_force(tools, &tool, param);
        }
    }

    return ngx_http_claude_error_400(tools->ex->ctx, param, "'%s' names no "
                                     "function that is offered.", param);
}


/* tool: the one to be called, or NULL for any */

static ngx_int_t
tools_force(ngx_http_claude_tools_t *tools, tools_tool_t *tool,
    const char *param)
{
    u_char             *p;
    ngx_str_t          *choice;
    const char         *single;
    tools_tool_t        only;
    ngx_claude_turn_t  *turn;

    turn = &tools->ex->turn;

    if (!ngx_http_claude_models_force(&turn->model)) {

        if (tool == NULL && tools->ex->turn.tools.nelts == 1) {
            tools_get(tools, 0, &only);
            tool = &only;
        }

        return tools_emulate(tools, tool, param);
    }

    /* the models that take it do so only when they do not think */

    turn->thoughtless = 1;

    single = tools->single ? ",\"disable_parallel_tool_use\":true" : "";
    choice = &turn->tool_choice;

    p = ngx_pnalloc(turn->pool,
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
tools_emulate(ngx_http_claude_tools_t *tools, tools_tool_t *tool,
    const char *param)
{
    ngx_int_t                    rc;
    ngx_http_claude_exchange_t  *ex;

    ex = tools->ex;

    if (tools->any == NULL) {
        tools->any = tools_any(tools);

        if (tools->any == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    rc = tool ? tools_arguments(tool, param, tools->any, &tools->text)
              : tools_emulate_any(tools, param);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_OK
        && (ngx_claude_schema_defs(tools->any, &tools->text) != NGX_OK
            || ngx_claude_text_copy(&tools->text, ex->turn.pool,
                                    &ex->turn.schema)
               != NGX_OK))
    {
        rc = NGX_ERROR;
    }

    ngx_claude_schema_done(tools->any);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    ex->forced = 1;
    tools_set_choice(tools, "{\"type\":\"none\"}");

    if (tool) {
        ex->forced_name = tool->name;
    }

    return NGX_OK;
}


/* schemas that go with the reading, should it end before they are done with */

static ngx_claude_schema_t *
tools_any(ngx_http_claude_tools_t *tools)
{
    ngx_pool_cleanup_t   *cln;
    ngx_claude_schema_t  *schema;

    cln = ngx_pool_cleanup_add(tools->scratch, sizeof(ngx_claude_schema_t));
    if (cln == NULL) {
        return NULL;
    }

    schema = cln->data;

    if (ngx_claude_schema_init(schema, &tools->ex->schemas,
                               tools->ex->turn.log)
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = tools_any_done;

    return schema;
}


static void
tools_any_done(void *data)
{
    ngx_claude_schema_done(data);
}


/* {"name":<its name>,"arguments":<its schema>}, both required, of any tool */

static ngx_int_t
tools_emulate_any(ngx_http_claude_tools_t *tools, const char *param)
{
    ngx_int_t          rc;
    tools_tool_t       tool;
    ngx_claude_out_t  *out;

    while (tools->n < tools->ex->turn.tools.nelts) {

        if (tools->ex->left == 0) {
            return NGX_AGAIN;
        }

        tools_get(tools, tools->n, &tool);

        out = ngx_claude_text_begin(&tools->text);

        ngx_claude_out(out, "%s{\"type\":\"object\",\"properties\":{"
                       "\"name\":{\"type\":\"string\",\"const\":\"%V\"},"
                       "\"arguments\":", tools->n ? "," : "{\"anyOf\":[",
                       &tool.name);

        if (ngx_claude_text_end(&tools->text) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = tools_arguments(&tool, param, tools->any, &tools->text);
        if (rc != NGX_OK) {
            return rc;
        }

        if (tools_put(&tools->text, "},\"required\":[\"name\",\"arguments\"],"
                      "\"additionalProperties\":false}")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        tools->n++;
    }

    return tools_put(&tools->text, "]}");
}


static ngx_int_t
tools_arguments(tools_tool_t *tool, const char *param,
    ngx_claude_schema_t *schema, ngx_claude_text_t *text)
{
    ngx_int_t  rc;

    rc = ngx_claude_schema_rewrite(schema,
                                   tools_field(tool->object,
                                               tool->all->schema),
                                   NULL, text);

    ngx_http_claude_exchange_spend(tool->all->ex, TOOLS_BYTE * schema->len);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_claude_error_400(tool->all->ex->ctx, param, "'%s' cannot "
               "be had of this model: the parameters of '%V' cannot be "
               "enforced, %V.", param, &tool->name, &schema->reason);
}


ngx_int_t
ngx_http_claude_tools_done(ngx_http_claude_tools_t *tools)
{
    ngx_claude_turn_t  *turn;

    if (tools->ex->turn.tools.nelts == 0) {
        return NGX_OK;
    }

    turn = &tools->ex->turn;

    if (tools_put(&tools->json, "]") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    turn->tools_json.data = tools->json.data;
    turn->tools_json.len = tools->json.len;

    return NGX_OK;
}
