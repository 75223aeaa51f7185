
/*
 * response_format of a chat request.  See the header.
 */


#include "ngx_http_claude_chat_format.h"
#include "ngx_http_claude_chat_content.h"
#include "ngx_http_claude_error.h"
#include "ngx_claude_schema.h"
#include "ngx_claude_text.h"


static ngx_int_t format_schema(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *format);
static ngx_int_t format_rewrite(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *node, ngx_claude_json_t *about);


#define FORMAT_SCHEMA   "response_format.json_schema"

#define format_field    ngx_http_claude_chat_field

#define format_error(chat, param, ...)                                        \
    ngx_http_claude_error((chat)->ctx, NGX_HTTP_BAD_REQUEST, NULL, param,     \
                          __VA_ARGS__)


ngx_int_t
ngx_http_claude_chat_format(ngx_http_claude_chat_t *chat,
    ngx_claude_json_t *body)
{
    ngx_claude_json_t  *format, *type;

    format = format_field(body, "response_format");

    if (format == NULL) {
        return NGX_OK;
    }

    type = NULL;

    if (format->type == NGX_CLAUDE_JSON_OBJECT) {
        type = format_field(format, "type");
    }

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return format_error(chat, "response_format", "'response_format' must "
                            "be an object with a \"type\".");
    }

    if (ngx_claude_json_is(type, "text")) {
        return NGX_OK;
    }

    if (ngx_claude_json_is(type, "json_schema")) {
        return format_schema(chat, format);
    }

    if (ngx_claude_json_is(type, "json_object")) {
        chat->object = 1;
        return NGX_OK;
    }

    return format_error(chat, "response_format.type", "'response_format.type' "
                        "must be one of text, json_object and json_schema.");
}


static ngx_int_t
format_schema(ngx_http_claude_chat_t *chat, ngx_claude_json_t *format)
{
    ngx_claude_json_t  *node, *about;

    format = format_field(format, "json_schema");

    if (format == NULL || format->type != NGX_CLAUDE_JSON_OBJECT) {
        return format_error(chat, FORMAT_SCHEMA, "'" FORMAT_SCHEMA "' must be "
                            "an object with a \"schema\".");
    }

    node = format_field(format, "schema");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_OBJECT) {
        return format_error(chat, FORMAT_SCHEMA ".schema",
                            "'" FORMAT_SCHEMA ".schema' must be an object.");
    }

    about = format_field(format, "description");

    if (about && about->type != NGX_CLAUDE_JSON_STRING) {
        return format_error(chat, FORMAT_SCHEMA ".description",
                            "'" FORMAT_SCHEMA ".description' must be a "
                            "string.");
    }

    return format_rewrite(chat, node, about);
}


/* the format's own description has no place but the schema's */

static ngx_int_t
format_rewrite(ngx_http_claude_chat_t *chat, ngx_claude_json_t *node,
    ngx_claude_json_t *about)
{
    ngx_int_t                  rc;
    ngx_str_t                  description;
    ngx_pool_t                *scratch;
    ngx_claude_text_t          text;
    ngx_claude_schema_t        schema;

    if (ngx_claude_schema_init(&schema, &chat->schemas, chat->turn.log)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    scratch = ngx_create_pool(1024, chat->turn.log);
    if (scratch == NULL) {
        ngx_claude_schema_done(&schema);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = scratch;

    ngx_str_null(&description);

    if (about) {
        description = ngx_claude_json_value(about);
    }

    rc = ngx_claude_schema_rewrite(&schema, node,
                             description.len ? &description : NULL,
                             &text);

    if (rc == NGX_DECLINED) {
        rc = format_error(chat, FORMAT_SCHEMA ".schema",
                          "'" FORMAT_SCHEMA ".schema' cannot be done: %V.",
                          &schema.reason);

    } else if (rc != NGX_OK
               || ngx_claude_schema_defs(&schema, &text) != NGX_OK
               || ngx_claude_text_copy(&text, chat->turn.pool,
                                       &chat->turn.schema)
                  != NGX_OK)
    {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_destroy_pool(scratch);
    ngx_claude_schema_done(&schema);

    return rc;
}
