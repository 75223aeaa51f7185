
/*
 * The dialect of chat completions, reading: parts of a message that are not
 * text, and the content of a tool's result.  Source: OpenAI's API reference,
 * "Chat", "Content parts".
 */


#include "ngx_http_claude_chat_content.h"


/* kinds that are read, for errors */
#define CONTENT_PARTS  "text, image_url and file"


static ngx_int_t content_result_part(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_array_t *blocks);
static ngx_int_t content_result_text(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *text, ngx_array_t *blocks);
static ngx_int_t content_result_add(ngx_array_t *blocks,
    ngx_claude_block_t *one);
static ngx_int_t content_image(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_claude_block_t *block);
static ngx_int_t content_file(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_claude_block_t *block);


#define content_field  ngx_claude_json_field
#define content_value  ngx_claude_json_value

#define content_error(reader, member, message)                                \
    ngx_http_claude_place_error(&(reader)->place, member, message)


ngx_int_t
ngx_http_claude_chat_part(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_claude_block_t *block)
{
    ngx_claude_json_t  *type;

    type = content_field(part, "type");

    if (ngx_claude_json_is(type, "image_url")) {
        return content_image(reader, part, block);
    }

    if (ngx_claude_json_is(type, "file")) {
        return content_file(reader, part, block);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_claude_chat_content(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *content, ngx_array_t *blocks)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        return content_result_text(reader, content, blocks);
    }

    if (content->type != NGX_CLAUDE_JSON_ARRAY) {
        return content_error(reader, "content", "must be a string or an array "
                             "of parts");
    }

    ngx_http_claude_place_in(&reader->place, "content");

    if (reader->part == NULL) {
        reader->part = ngx_claude_json_first(content);
        reader->index = 0;
    }

    n = reader->place.n;

    while (reader->part) {

        if (reader->ex->left == 0) {
            return NGX_AGAIN;
        }

        reader->place.n = n;
        ngx_http_claude_place_at(&reader->place, reader->index);

        rc = content_result_part(reader, reader->part, blocks);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_claude_exchange_spend(reader->ex,
                                 ngx_http_claude_chat_cost(reader->part));

        reader->part = ngx_claude_json_next(reader->part);
        reader->index++;
    }

    return NGX_OK;
}


static ngx_int_t
content_result_part(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *part, ngx_array_t *blocks)
{
    ngx_int_t            rc;
    ngx_claude_json_t   *type;
    ngx_claude_block_t   one;

    if (part->type != NGX_CLAUDE_JSON_OBJECT) {
        return content_error(reader, NULL, "must be an object");
    }

    type = content_field(part, "type");

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return content_error(reader, "type", "is missing: it must be a "
                             "string");
    }

    ngx_memzero(&one, sizeof(ngx_claude_block_t));

    rc = ngx_http_claude_chat_part(reader, part, &one);

    if (rc == NGX_OK) {
        return content_result_add(blocks, &one);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (!ngx_claude_json_is(type, "text")) {
        return content_error(reader, "type", "must be one of " CONTENT_PARTS);
    }

    return content_result_text(reader, content_field(part, "text"), blocks);
}


static ngx_int_t
content_result_text(ngx_http_claude_chat_reader_t *reader,
    ngx_claude_json_t *text, ngx_array_t *blocks)
{
    ngx_claude_block_t  one;

    if (text == NULL || text->type != NGX_CLAUDE_JSON_STRING) {
        return content_error(reader, "text", "must be a string");
    }

    ngx_memzero(&one, sizeof(ngx_claude_block_t));

    one.text = content_value(text);

    return ngx_claude_json_blank(text)
           ? NGX_OK : content_result_add(blocks, &one);
}


static ngx_int_t
content_result_add(ngx_array_t *blocks, ngx_claude_block_t *one)
{
    ngx_claude_block_t  *block;

    block = ngx_claude_turn_push(blocks);
    if (block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *block = *one;

    return NGX_OK;
}


static ngx_int_t
content_image(ngx_http_claude_chat_reader_t *reader, ngx_claude_json_t *part,
    ngx_claude_block_t *block)
{
    ngx_str_t           url;
    ngx_claude_json_t  *node;

    node = content_field(part, "image_url");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_OBJECT) {
        return content_error(reader, "image_url", "must be an object with a "
                             "\"url\"");
    }

    node = content_field(node, "url");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return content_error(reader, "image_url.url", "must be a string");
    }

    url = content_value(node);

    return ngx_http_claude_media_image_url(&reader->media, "image_url.url",
                                           &url, block);
}


static ngx_int_t
content_file(ngx_http_claude_chat_reader_t *reader, ngx_claude_json_t *part,
    ngx_claude_block_t *block)
{
    ngx_str_t           value;
    ngx_claude_json_t  *file, *node;

    file = content_field(part, "file");

    if (file == NULL || file->type != NGX_CLAUDE_JSON_OBJECT) {
        return content_error(reader, "file", "must be an object with "
                             "\"file_data\"");
    }

    if (content_field(file, "file_id")) {
        return content_error(reader, "file.file_id", "is not supported, since "
                             "no files are kept here: send \"file_data\"");
    }

    node = content_field(file, "filename");

    if (node && node->type != NGX_CLAUDE_JSON_STRING) {
        return content_error(reader, "file.filename", "must be a string");
    }

    if (node && !ngx_claude_json_blank(node)) {
        block->name = content_value(node);
    }

    node = content_field(file, "file_data");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return content_error(reader, "file.file_data", "must be a string");
    }

    value = content_value(node);

    return ngx_http_claude_media_file_url(&reader->media, "file.file_data",
                                          &value, block);
}
