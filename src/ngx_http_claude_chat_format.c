
/*
 * response_format of a chat request.  See the header.
 */


#include "ngx_http_claude_chat_format.h"
#include "ngx_http_claude_chat_content.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_schema.h"


static ngx_int_t format_schema(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *format);
static ngx_int_t format_description(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *format, ngx_http_claude_json_t *schema);


#define FORMAT_SCHEMA   "response_format.json_schema"

#define format_field    ngx_http_claude_chat_field

#define format_error(chat, param, ...)                                        \
    ngx_http_claude_error((chat)->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,     \
                          __VA_ARGS__)

#define format_is(s, literal)                                                 \
    ((s)->len == sizeof(literal) - 1                                          \
     && ngx_memcmp((s)->data, literal, sizeof(literal) - 1) == 0)


ngx_int_t
ngx_http_claude_chat_format(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *body)
{
    ngx_http_claude_json_t  *format, *type;

    format = format_field(body, "response_format");

    if (format == NULL) {
        return NGX_OK;
    }

    type = NULL;

    if (format->type == NGX_HTTP_CLAUDE_JSON_OBJECT) {
        type = format_field(format, "type");
    }

    if (type == NULL || type->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return format_error(chat, "response_format", "'response_format' must "
                            "be an object with a \"type\".");
    }

    if (format_is(&type->value, "text")) {
        return NGX_OK;
    }

    if (format_is(&type->value, "json_schema")) {
        return format_schema(chat, format);
    }

    if (format_is(&type->value, "json_object")) {
        chat->object = 1;
        return NGX_OK;
    }

    return format_error(chat, "response_format.type", "'response_format.type' "
                        "must be one of text, json_object and json_schema.");
}


static ngx_int_t
format_schema(ngx_http_claude_chat_t *chat, ngx_http_claude_json_t *format)
{
    ngx_int_t                  rc;
    ngx_http_claude_json_t    *node, *out;
    ngx_http_claude_schema_t   schema;

    format = format_field(format, "json_schema");

    if (format == NULL || format->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return format_error(chat, FORMAT_SCHEMA, "'" FORMAT_SCHEMA "' must be "
                            "an object with a \"schema\".");
    }

    node = format_field(format, "schema");

    if (node == NULL || node->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return format_error(chat, FORMAT_SCHEMA ".schema",
                            "'" FORMAT_SCHEMA ".schema' must be an object.");
    }

    if (ngx_http_claude_schema_init(&schema, chat->turn.pool) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_claude_schema_rewrite(&schema, node, &out);

    if (rc == NGX_DECLINED) {
        return format_error(chat, FORMAT_SCHEMA ".schema",
                            "'" FORMAT_SCHEMA ".schema' cannot be done: %V.",
                            &schema.reason);
    }

    if (rc != NGX_OK
        || (rc = format_description(chat, format, out)) != NGX_OK
        || ngx_http_claude_schema_text(&schema, out, &chat->turn.schema)
           != NGX_OK)
    {
        return (rc == NGX_OK || rc == NGX_ERROR)
               ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    return NGX_OK;
}


/* the format's own description has no place but the schema's */

static ngx_int_t
format_description(ngx_http_claude_chat_t *chat,
    ngx_http_claude_json_t *format, ngx_http_claude_json_t *schema)
{
    ngx_http_claude_json_t  *node, *about;

    about = format_field(format, "description");

    if (about && about->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return format_error(chat, FORMAT_SCHEMA ".description",
                            "'" FORMAT_SCHEMA ".description' must be a "
                            "string.");
    }

    if (about == NULL || about->value.len == 0
        || ngx_http_claude_json_member(schema, "description")
        || ngx_http_claude_json_member(schema, "$ref"))
    {
        return NGX_OK;
    }

    node = ngx_http_claude_schema_node(chat->turn.pool,
                                       NGX_HTTP_CLAUDE_JSON_STRING, NULL);
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->value = about->value;
    ngx_http_claude_schema_add(schema, "description", node);

    return NGX_OK;
}
