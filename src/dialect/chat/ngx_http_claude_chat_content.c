
/*
 * Images and files of a message.  See the header.
 *
 * Base64 is checked where it stands, in one pass over a table, and goes to
 * the CLI by reference; only texts are decoded, since the model takes them as
 * text.
 */


#include "ngx_http_claude_chat_content.h"
#include "ngx_claude_cstr.h"
#include "ngx_http_claude_error.h"
#include "ngx_claude_utf8.h"


/* what the Messages API takes: base64 of an image, of a whole request */
#define CONTENT_IMAGE     (5 * 1024 * 1024)
#define CONTENT_REQUEST   (32 * 1024 * 1024)

/* base64 that is decoded to know a kind of data: 12 bytes */
#define CONTENT_HEAD      16

#define CONTENT_URL       8192


typedef struct {
    ngx_str_t                 media;        /* lower case, no parameters */
    ngx_str_t                 base64;
} content_data_t;


static ngx_int_t content_result_part(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_array_t *blocks);
static ngx_int_t content_result_text(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *text, ngx_array_t *blocks);
static ngx_int_t content_result_add(ngx_array_t *blocks,
    ngx_claude_block_t *one);
static ngx_int_t content_image(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block);
static ngx_int_t content_image_data(ngx_http_claude_chat_place_t *place,
    ngx_str_t *url, ngx_claude_block_t *block);
static ngx_int_t content_file(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block);
static ngx_int_t content_file_text(ngx_http_claude_chat_place_t *place,
    ngx_str_t *base64, ngx_claude_block_t *block);
static ngx_uint_t content_is_text(ngx_str_t *media);
static ngx_int_t content_data_url(ngx_pool_t *pool, ngx_str_t *url,
    content_data_t *data);
static ngx_uint_t content_is_url(ngx_str_t *url);
static ngx_uint_t content_is_base64(ngx_str_t *s);
static const char *content_image_type(ngx_str_t *base64);
static ngx_int_t content_attach(ngx_http_claude_chat_place_t *place,
    const char *field, size_t len);


#define content_field   ngx_http_claude_chat_field
#define content_value   ngx_claude_json_value

#define content_is(s, literal)                                                \
    ((s)->len == sizeof(literal) - 1                                          \
     && ngx_memcmp((s)->data, literal, sizeof(literal) - 1) == 0)


ngx_int_t
ngx_http_claude_chat_part(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block)
{
    ngx_claude_json_t  *type;

    type = content_field(part, "type");

    if (ngx_claude_json_is(type, "image_url")) {
        return content_image(place, part, block);
    }

    if (ngx_claude_json_is(type, "file")) {
        return content_file(place, part, block);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_claude_chat_content(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *content, ngx_array_t *blocks)
{
    ngx_int_t           rc;
    ngx_claude_json_t  *part;

    if (content->type == NGX_CLAUDE_JSON_STRING) {
        place->part = 0;
        rc = content_result_text(place, content, blocks);
        place->part = -1;

        return rc;
    }

    if (content->type != NGX_CLAUDE_JSON_ARRAY) {
        place->part = -1;
        return ngx_http_claude_chat_place_error(place, ".content", "must be a "
                                            "string or an array of parts");
    }

    place->part = 0;

    for (part = ngx_claude_json_first(content);
         part;
         part = ngx_claude_json_next(part))
    {
        rc = content_result_part(place, part, blocks);
        if (rc != NGX_OK) {
            return rc;
        }

        place->part++;
    }

    place->part = -1;

    return NGX_OK;
}


static ngx_int_t
content_result_part(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_array_t *blocks)
{
    ngx_int_t                 rc;
    ngx_claude_json_t        *type;
    ngx_claude_block_t        one;

    if (part->type != NGX_CLAUDE_JSON_OBJECT) {
        return ngx_http_claude_chat_place_error(place, "",
                                                "must be an object");
    }

    type = content_field(part, "type");

    if (type == NULL || type->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place, ".type",
                                        "is missing: it must be a string");
    }

    ngx_memzero(&one, sizeof(ngx_claude_block_t));

    rc = ngx_http_claude_chat_part(place, part, &one);

    if (rc == NGX_OK) {
        return content_result_add(blocks, &one);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (!ngx_claude_json_is(type, "text")) {
        return ngx_http_claude_chat_place_error(place, ".type",
                                        "must be one of "
                                        NGX_HTTP_CLAUDE_CHAT_PARTS);
    }

    return content_result_text(place, content_field(part, "text"), blocks);
}


static ngx_int_t
content_result_text(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *text, ngx_array_t *blocks)
{
    ngx_claude_block_t  one;

    if (text == NULL || text->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place, ".text",
                                                "must be a string");
    }

    ngx_memzero(&one, sizeof(ngx_claude_block_t));

    one.text = content_value(text);

    return ngx_claude_utf8_blank(&one.text)
           ? NGX_OK : content_result_add(blocks, &one);
}


static ngx_int_t
content_result_add(ngx_array_t *blocks, ngx_claude_block_t *one)
{
    ngx_claude_block_t  *block;

    block = ngx_array_push(blocks);
    if (block == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *block = *one;

    return NGX_OK;
}


static ngx_int_t
content_image(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block)
{
    ngx_str_t           url;
    ngx_claude_json_t  *node;

    block->type = NGX_CLAUDE_IMAGE;

    node = content_field(part, "image_url");

    if (node && node->type == NGX_CLAUDE_JSON_OBJECT) {
        node = content_field(node, "url");

    } else {
        return ngx_http_claude_chat_place_error(place, ".image_url",
                                    "must be an object with a \"url\"");
    }

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                                                "must be a string");
    }

    url = content_value(node);

    if (url.len >= 5
        && ngx_strncasecmp(url.data, (u_char *) "data:", 5) == 0)
    {
        return content_image_data(place, &url, block);
    }

    if (!content_is_url(&url)) {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                               "must be a data URL, or a URL of https without "
                               "white space and of at most 8192 bytes");
    }

    block->text = url;

    return NGX_OK;
}


static ngx_int_t
content_image_data(ngx_http_claude_chat_place_t *place, ngx_str_t *url,
    ngx_claude_block_t *block)
{
    ngx_int_t        rc;
    const char      *type;
    content_data_t   data;

    rc = content_data_url(place->chat->turn.pool, url, &data);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                               "must look like \"data:image/png;base64,...\"");
    }

    if (content_is(&data.media, "image/jpg")) {
        ngx_str_set(&data.media, "image/jpeg");
    }

    if (!content_is(&data.media, "image/png")
        && !content_is(&data.media, "image/jpeg")
        && !content_is(&data.media, "image/gif")
        && !content_is(&data.media, "image/webp"))
    {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                               "has a type that the models do not take: it "
                               "must be one of image/png, image/jpeg, "
                               "image/gif and image/webp");
    }

    if (data.base64.len > CONTENT_IMAGE) {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                               "is too large: the models take images of up to "
                               "5 MB in base64");
    }

    if (!content_is_base64(&data.base64)) {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                                                "is not valid base64");
    }

    type = content_image_type(&data.base64);

    if (type == NULL
        || data.media.len != ngx_strlen(type)
        || ngx_memcmp(data.media.data, type, data.media.len) != 0)
    {
        return ngx_http_claude_chat_place_error(place, ".image_url.url",
                               type ? "holds an image of another type than it "
                                      "says"
                                    : "does not hold an image of the type "
                                      "that it says");
    }

    block->media = data.media;
    block->text = data.base64;

    return content_attach(place, ".image_url.url", data.base64.len);
}


static ngx_int_t
content_file(ngx_http_claude_chat_place_t *place,
    ngx_claude_json_t *part, ngx_claude_block_t *block)
{
    ngx_int_t           rc;
    ngx_str_t           value;
    content_data_t      data;
    ngx_claude_json_t  *file, *node;

    block->type = NGX_CLAUDE_DOCUMENT;

    file = content_field(part, "file");

    if (file == NULL || file->type != NGX_CLAUDE_JSON_OBJECT) {
        return ngx_http_claude_chat_place_error(place, ".file",
                               "must be an object with \"file_data\"");
    }

    if (content_field(file, "file_id")) {
        return ngx_http_claude_chat_place_error(place, ".file.file_id",
                               "is not supported, since no files are kept "
                               "here: send \"file_data\"");
    }

    node = content_field(file, "filename");

    if (node && node->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place, ".file.filename",
                                                "must be a string");
    }

    if (node) {
        value = content_value(node);

        if (!ngx_claude_utf8_blank(&value)) {
            block->name = value;
        }
    }

    node = content_field(file, "file_data");

    if (node == NULL || node->type != NGX_CLAUDE_JSON_STRING) {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                                                "must be a string");
    }

    value = content_value(node);

    rc = content_data_url(place->chat->turn.pool, &value, &data);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                      "must look like \"data:application/pdf;base64,...\"");
    }

    rc = content_attach(place, ".file.file_data", data.base64.len);
    if (rc != NGX_OK) {
        return rc;
    }

    if (!content_is_base64(&data.base64)) {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                                                "is not valid base64");
    }

    if (content_is_text(&data.media)) {
        return content_file_text(place, &data.base64, block);
    }

    if (!content_is(&data.media, "application/pdf")) {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                               "has a type that the models do not take: it "
                               "must be application/pdf or a text");
    }

    /* %PDF- */

    if (data.base64.len < 8
        || ngx_memcmp(data.base64.data, "JVBERi", 6) != 0
        || ngx_strchr("0123", data.base64.data[6]) == NULL)
    {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                               "does not hold a PDF, as it says");
    }

    block->media = data.media;
    block->text = data.base64;

    return NGX_OK;
}


/* the model takes a text as text, so it is decoded, and is to be UTF-8 */

static ngx_int_t
content_file_text(ngx_http_claude_chat_place_t *place, ngx_str_t *base64,
    ngx_claude_block_t *block)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(place->chat->turn.pool,
                            ngx_base64_decoded_length(base64->len));
    if (text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_decode_base64(&text, base64) != NGX_OK
        || memchr(text.data, '\0', text.len) != NULL
        || !ngx_claude_utf8_valid(text.data, text.len))
    {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                                                "is not a text in UTF-8");
    }

    if (ngx_claude_utf8_blank(&text)) {
        return ngx_http_claude_chat_place_error(place, ".file.file_data",
                                                "is blank");
    }

    block->text = text;
    ngx_str_set(&block->media, "text/plain");

    return NGX_OK;
}


static ngx_uint_t
content_is_text(ngx_str_t *media)
{
    return (media->len > 5 && ngx_memcmp(media->data, "text/", 5) == 0)
           || content_is(media, "application/json")
           || content_is(media, "application/xml")
           || content_is(media, "application/yaml");
}


/* data:TYPE[;PARAMETER];base64,DATA (RFC 2397); NGX_DECLINED: it is not */

static ngx_int_t
content_data_url(ngx_pool_t *pool, ngx_str_t *url, content_data_t *data)
{
    u_char  *p, *comma, *last;
    size_t   len;

    p = url->data + sizeof("data:") - 1;

    if (url->len < sizeof("data:") - 1
        || ngx_strncasecmp(url->data, (u_char *) "data:", 5) != 0)
    {
        return NGX_DECLINED;
    }

    /* what stands before the data is short */

    last = url->data + ngx_min(url->len, 256);
    comma = ngx_strlchr(p, last, ',');

    if (comma == NULL || comma - p < (ssize_t) sizeof(";base64") - 1
        || ngx_strncasecmp(comma - (sizeof(";base64") - 1),
                           (u_char *) ";base64", sizeof(";base64") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    data->base64.data = comma + 1;
    data->base64.len = url->data + url->len - (comma + 1);

    last = ngx_strlchr(p, comma, ';');
    len = last - p;

    data->media.data = ngx_pnalloc(pool, len + 1);
    if (data->media.data == NULL) {
        return NGX_ERROR;
    }

    ngx_strlow(data->media.data, p, len);
    data->media.len = len;

    return NGX_OK;
}


static ngx_uint_t
content_is_url(ngx_str_t *url)
{
    size_t  i;

    /* the provider, who fetches it, takes no other scheme */

    if (url->len <= sizeof("https://") - 1 || url->len > CONTENT_URL
        || ngx_strncasecmp(url->data, (u_char *) "https://",
                           sizeof("https://") - 1)
           != 0
        || url->data[sizeof("https://") - 1] == '/')
    {
        return 0;
    }

    for (i = sizeof("https://") - 1; i < url->len; i++) {
        if (url->data[i] <= ' ' || url->data[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/*
 * Whole groups of four, padding only at the end.  One pass without a branch
 * for each byte: the text may be megabytes.
 */

static ngx_uint_t
content_is_base64(ngx_str_t *s)
{
    u_char       bad, *p, *last;
    ngx_uint_t   i;

    static u_char  wrong[256];

    if (!wrong[0]) {
        for (i = 0; i < 256; i++) {
            wrong[i] = !((i >= 'A' && i <= 'Z') || (i >= 'a' && i <= 'z')
                         || (i >= '0' && i <= '9') || i == '+' || i == '/');
        }
    }

    if (s->len == 0 || s->len % 4) {
        return 0;
    }

    last = s->data + s->len;

    if (last[-1] == '=') {
        last -= (last[-2] == '=') ? 2 : 1;
    }

    bad = 0;

    for (p = s->data; p < last; p++) {
        bad |= wrong[*p];
    }

    return !bad;
}


/* by its first bytes; NULL: none that the models take */

static const char *
content_image_type(ngx_str_t *base64)
{
    u_char     buf[CONTENT_HEAD];
    ngx_str_t  head, text;

    text.data = base64->data;
    text.len = ngx_min(base64->len, CONTENT_HEAD);
    head.data = buf;

    if (ngx_decode_base64(&head, &text) != NGX_OK) {
        return NULL;
    }

    if (head.len >= 8 && ngx_memcmp(buf, "\x89PNG\r\n\x1a\n", 8) == 0) {
        return "image/png";
    }

    if (head.len >= 3 && ngx_memcmp(buf, "\xff\xd8\xff", 3) == 0) {
        return "image/jpeg";
    }

    if (head.len >= 6 && (ngx_memcmp(buf, "GIF87a", 6) == 0
                          || ngx_memcmp(buf, "GIF89a", 6) == 0))
    {
        return "image/gif";
    }

    if (head.len >= 12 && ngx_memcmp(buf, "RIFF", 4) == 0
        && ngx_memcmp(buf + 8, "WEBP", 4) == 0)
    {
        return "image/webp";
    }

    return NULL;
}


static ngx_int_t
content_attach(ngx_http_claude_chat_place_t *place, const char *field,
    size_t len)
{
    place->attached += len;

    if (place->attached > CONTENT_REQUEST) {
        return ngx_http_claude_chat_place_error(place, field, "is too large: "
                               "the models take 32 MB in a request");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_chat_place_error(ngx_http_claude_chat_place_t *place,
    const char *field, const char *message)
{
    u_char       buf[sizeof("messages[].content[]") + 2 * NGX_INT_T_LEN + 64];
    const char  *param;

    if (place->part == -1) {
        param = ngx_claude_cstr_print(buf, sizeof(buf),
                                      "messages[%ui]%s",
                                      place->message, field);

    } else {
        param = ngx_claude_cstr_print(buf, sizeof(buf),
                                      "messages[%ui].content[%i]%s",
                                      place->message, place->part, field);
    }

    return ngx_http_claude_error(place->chat->ctx, NGX_HTTP_BAD_REQUEST, NULL,
                                 param, "'%s' %s.", param, message);
}


ngx_claude_json_t *
ngx_http_claude_chat_field(ngx_claude_json_t *body, const char *name)
{
    ngx_claude_json_t  *node;

    node = ngx_claude_json_member(body, name);

    return (node && node->type != NGX_CLAUDE_JSON_NULL) ? node : NULL;
}
