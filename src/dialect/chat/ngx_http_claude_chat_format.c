
/*
 * The dialect of chat completions, reading: response_format.
 */


#include "ngx_http_claude_chat_format.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_params.h"


#define FORMAT_SCHEMA   "response_format.json_schema"

#define format_field    ngx_claude_json_field

#define format_error(ex, param, ...)                                          \
    ngx_http_claude_error_400((ex)->ctx, param, __VA_ARGS__)


static ngx_int_t format_schema(ngx_http_claude_exchange_t *ex,
    ngx_claude_json_t *format);


ngx_int_t
ngx_http_claude_chat_format(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_claude_json_t  *type;

    if (node == NULL) {
        return NGX_OK;
    }

    type = NULL;

    if (node->type == NGX_CLAUDE_JSON_OBJECT) {
        type = format_field(node, "type");
    }

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return format_error(ex, name, "'%s' must be an object with a "
                            "\"type\".", name);
    }

    if (ngx_claude_json_is(type, "text")) {
        return NGX_OK;
    }

    if (ngx_claude_json_is(type, "json_schema")) {
        return format_schema(ex, format_field(node, "json_schema"));
    }

    if (ngx_claude_json_is(type, "json_object")) {
        ex->object = 1;
        return NGX_OK;
    }

    return format_error(ex, "response_format.type", "'response_format.type' "
                        "must be one of text, json_object and json_schema.");
}


static ngx_int_t
format_schema(ngx_http_claude_exchange_t *ex, ngx_claude_json_t *format)
{
    ngx_str_t           description;
    ngx_claude_json_t  *schema, *about;

    if (format == NULL || format->type != NGX_CLAUDE_JSON_OBJECT) {
        return format_error(ex, FORMAT_SCHEMA, "'" FORMAT_SCHEMA "' must be "
                            "an object with a \"schema\".");
    }

    schema = format_field(format, "schema");

    if (schema == NULL || schema->type != NGX_CLAUDE_JSON_OBJECT) {
        return format_error(ex, FORMAT_SCHEMA ".schema",
                            "'" FORMAT_SCHEMA ".schema' must be an object.");
    }

    about = format_field(format, "description");

    if (about && about->type != NGX_CLAUDE_JSON_STRING) {
        return format_error(ex, FORMAT_SCHEMA ".description",
                            "'" FORMAT_SCHEMA ".description' must be a "
                            "string.");
    }

    ngx_str_null(&description);

    if (about) {
        description = ngx_claude_json_value(about);
    }

    return ngx_http_claude_params_schema(ex, FORMAT_SCHEMA ".schema", schema,
                                         description.len ? &description
                                                         : NULL);
}
