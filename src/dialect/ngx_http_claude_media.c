
/*
 * Images and files of a message.  See the header.
 *
 * Base64 is checked where it stands, in one pass over a table, and goes to
 * the CLI by reference; only texts are decoded, since the model takes them as
 * text.
 */


#include "ngx_http_claude_media.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_utf8.h"


/* bytes of base64 in an image, and in a request (Messages API) */
#define MEDIA_IMAGE     (5 * 1024 * 1024)
#define MEDIA_REQUEST   (32 * 1024 * 1024)

/* base64 that is decoded to know a kind of data: 12 bytes */
#define MEDIA_HEAD      16

#define MEDIA_URL       8192

/* base64 that is checked or decoded at once: whole groups of four */
#define MEDIA_SLICE     65536


typedef struct {
    ngx_str_t   media;                       /* lower case, no parameters */
    ngx_str_t   base64;
} media_data_t;


static ngx_int_t media_pdf(ngx_http_claude_media_t *media, const char *member,
    ngx_str_t *type, ngx_str_t *base64, ngx_claude_block_t *block);
static ngx_int_t media_text(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *base64, ngx_claude_block_t *block);
static ngx_int_t media_decode(ngx_http_claude_media_t *media,
    ngx_str_t *base64);
static ngx_uint_t media_is_text(ngx_str_t *media);
static ngx_int_t media_data_url(ngx_pool_t *pool, ngx_str_t *url,
    media_data_t *data);
static ngx_uint_t media_is_url(ngx_str_t *url);
static ngx_int_t media_check(ngx_http_claude_media_t *media, ngx_str_t *s);
static const char *media_image_type(ngx_str_t *base64);
static ngx_int_t media_attach(ngx_http_claude_media_t *media,
    const char *member, size_t len);


#define media_spend(media, size)                                              \
    (*(media)->left -= ngx_min(*(media)->left, (size_t) (size)))

#define media_error(media, member, message)                                   \
    ngx_http_claude_place_error((media)->place, member, message)


ngx_int_t
ngx_http_claude_media_image_url(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *url, ngx_claude_block_t *block)
{
    ngx_int_t     rc;
    media_data_t  data;

    if (url->len < 5
        || ngx_strncasecmp(url->data, (u_char *) "data:", 5) != 0)
    {
        if (!media_is_url(url)) {
            return media_error(media, member, "must be a data URL, or a URL "
                               "of https without white space and of at most "
                               "8192 bytes");
        }

        block->type = NGX_CLAUDE_IMAGE;
        block->text = *url;

        return NGX_OK;
    }

    rc = media_data_url(media->pool, url, &data);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return media_error(media, member,
                           "must look like \"data:image/png;base64,...\"");
    }

    return ngx_http_claude_media_image(media, member, &data.media,
                                       &data.base64, block);
}


ngx_int_t
ngx_http_claude_media_image(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *type, ngx_str_t *base64,
    ngx_claude_block_t *block)
{
    ngx_int_t    rc;
    const char  *is;

    block->type = NGX_CLAUDE_IMAGE;
    block->media = *type;
    block->text = *base64;

    if (ngx_claude_is(type, "image/jpg")) {
        ngx_str_set(&block->media, "image/jpeg");
    }

    if (!ngx_claude_is(&block->media, "image/png")
        && !ngx_claude_is(&block->media, "image/jpeg")
        && !ngx_claude_is(&block->media, "image/gif")
        && !ngx_claude_is(&block->media, "image/webp"))
    {
        return media_error(media, member, "has a type that the models do not "
                           "take: it must be one of image/png, image/jpeg, "
                           "image/gif and image/webp");
    }

    if (base64->len > MEDIA_IMAGE) {
        return media_error(media, member, "is too large: the models take "
                           "images of up to 5 MB in base64");
    }

    if (media->stage == NGX_HTTP_CLAUDE_FILE_NEW) {
        media->stage = NGX_HTTP_CLAUDE_FILE_CHECK;
        media->offset = 0;
    }

    rc = media_check(media, base64);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    media->stage = NGX_HTTP_CLAUDE_FILE_NEW;

    if (rc != NGX_OK) {
        return media_error(media, member, "is not valid base64");
    }

    is = media_image_type(base64);

    if (is == NULL) {
        return media_error(media, member, "does not hold an image of the type "
                           "that it says");
    }

    if (!ngx_claude_is(&block->media, is)) {
        return media_error(media, member, "holds an image of another type "
                           "than it says");
    }

    return media_attach(media, member, base64->len);
}


ngx_int_t
ngx_http_claude_media_file_url(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *url, ngx_claude_block_t *block)
{
    ngx_int_t     rc;
    media_data_t  data;

    rc = media_data_url(media->pool, url, &data);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK) {
        return media_error(media, member, "must look like "
                           "\"data:application/pdf;base64,...\"");
    }

    return ngx_http_claude_media_file(media, member, &data.media,
                                      &data.base64, block);
}


ngx_int_t
ngx_http_claude_media_file(ngx_http_claude_media_t *media,
    const char *member, ngx_str_t *type, ngx_str_t *base64,
    ngx_claude_block_t *block)
{
    ngx_int_t  rc;

    block->type = NGX_CLAUDE_DOCUMENT;

    if (media->stage == NGX_HTTP_CLAUDE_FILE_NEW) {

        rc = media_attach(media, member, base64->len);
        if (rc != NGX_OK) {
            return rc;
        }

        media->stage = NGX_HTTP_CLAUDE_FILE_CHECK;
        media->offset = 0;
    }

    if (media->stage == NGX_HTTP_CLAUDE_FILE_CHECK) {

        rc = media_check(media, base64);

        if (rc == NGX_DECLINED) {
            return media_error(media, member, "is not valid base64");
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = media_is_text(type) ? media_text(media, member, base64, block)
                             : media_pdf(media, member, type, base64, block);

    if (rc != NGX_AGAIN) {
        media->stage = NGX_HTTP_CLAUDE_FILE_NEW;
    }

    return rc;
}


/* %PDF- */

static ngx_int_t
media_pdf(ngx_http_claude_media_t *media, const char *member, ngx_str_t *type,
    ngx_str_t *base64, ngx_claude_block_t *block)
{
    if (!ngx_claude_is(type, "application/pdf")) {
        return media_error(media, member, "has a type that the models do not "
                           "take: it must be application/pdf or a text");
    }

    if (base64->len < 8
        || ngx_memcmp(base64->data, "JVBERi", 6) != 0
        || ngx_strchr("0123", base64->data[6]) == NULL)
    {
        return media_error(media, member, "does not hold a PDF, as it says");
    }

    block->media = *type;
    block->text = *base64;

    return NGX_OK;
}


/* the model takes a text as text, so it is decoded, and is to be UTF-8 */

static ngx_int_t
media_text(ngx_http_claude_media_t *media, const char *member,
    ngx_str_t *base64, ngx_claude_block_t *block)
{
    ngx_int_t  rc;

    if (media->stage != NGX_HTTP_CLAUDE_FILE_DECODE) {

        media->text.data = ngx_pnalloc(media->pool,
                                       ngx_base64_decoded_length(base64->len));
        if (media->text.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        media->stage = NGX_HTTP_CLAUDE_FILE_DECODE;
        media->text.len = 0;
        media->offset = 0;
        media->valid = 0;
        media->blank = 1;
    }

    rc = media_decode(media, base64);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return media_error(media, member, "is not a text in UTF-8");
    }

    if (media->blank) {
        return media_error(media, member, "is blank");
    }

    block->text = media->text;
    ngx_str_set(&block->media, "text/plain");

    return NGX_OK;
}


/* NGX_DECLINED: it is no text, or has a NUL in it */

static ngx_int_t
media_decode(ngx_http_claude_media_t *media, ngx_str_t *base64)
{
    ngx_str_t  from, to;

    while (media->offset < base64->len) {

        if (*media->left == 0) {
            return NGX_AGAIN;
        }

        /* padding is at the end alone */

        from.data = base64->data + media->offset;
        from.len = ngx_min(base64->len - media->offset, MEDIA_SLICE);
        to.data = media->text.data + media->text.len;

        if (ngx_decode_base64(&to, &from) != NGX_OK
            || memchr(to.data, '\0', to.len) != NULL)
        {
            return NGX_DECLINED;
        }

        media->offset += from.len;
        media->text.len += to.len;
        media_spend(media, 2 * from.len);

        to.data = media->text.data + media->valid;
        to.len = media->text.len - media->valid;

        if (media->offset < base64->len) {
            to.len = ngx_claude_utf8_whole(to.data, to.len);
        }

        if (!ngx_claude_utf8_valid(to.data, to.len)) {
            return NGX_DECLINED;
        }

        media->blank = media->blank && ngx_claude_utf8_blank(&to);
        media->valid += to.len;
    }

    return NGX_OK;
}


static ngx_uint_t
media_is_text(ngx_str_t *media)
{
    return (media->len > 5 && ngx_claude_begins(media, "text/"))
           || ngx_claude_is(media, "application/json")
           || ngx_claude_is(media, "application/xml")
           || ngx_claude_is(media, "application/yaml");
}


/* data:TYPE[;PARAMETER];base64,DATA (RFC 2397); NGX_DECLINED: it is not */

static ngx_int_t
media_data_url(ngx_pool_t *pool, ngx_str_t *url, media_data_t *data)
{
    u_char  *p, *comma, *last;
    size_t   len;

    p = url->data + sizeof("data:") - 1;

    if (url->len < sizeof("data:") - 1
        || ngx_strncasecmp(url->data, (u_char *) "data:", 5) != 0)
    {
        return NGX_DECLINED;
    }

    /* the head is short, the data may be megabytes */

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
media_is_url(ngx_str_t *url)
{
    size_t  i;

    /* the provider, who fetches it, takes no other scheme */

    if (url->len <= sizeof("https://") - 1 || url->len > MEDIA_URL
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
 * Whole groups of four, padding only at the end: NGX_OK or NGX_DECLINED.  One
 * pass without a branch for each byte: the text may be megabytes.
 */

static ngx_int_t
media_check(ngx_http_claude_media_t *media, ngx_str_t *s)
{
    size_t       n;
    u_char       bad, *p, *last, *end;
    ngx_uint_t   i;

    static u_char  wrong[256];

    if (!wrong[0]) {
        for (i = 0; i < 256; i++) {
            wrong[i] = !((i >= 'A' && i <= 'Z') || (i >= 'a' && i <= 'z')
                         || (i >= '0' && i <= '9') || i == '+' || i == '/');
        }
    }

    if (s->len == 0 || s->len % 4) {
        return NGX_DECLINED;
    }

    end = s->data + s->len;

    if (end[-1] == '=') {
        end -= (end[-2] == '=') ? 2 : 1;
    }

    for (p = s->data + media->offset; p < end; /* void */) {

        if (*media->left == 0) {
            media->offset = p - s->data;
            return NGX_AGAIN;
        }

        n = ngx_min(end - p, MEDIA_SLICE);
        bad = 0;

        for (last = p + n; p < last; p++) {
            bad |= wrong[*p];
        }

        if (bad) {
            return NGX_DECLINED;
        }

        media_spend(media, n / 4);
    }

    return NGX_OK;
}


/* by its first bytes; NULL: none that the models take */

static const char *
media_image_type(ngx_str_t *base64)
{
    u_char     buf[MEDIA_HEAD];
    ngx_str_t  head, text;

    text.data = base64->data;
    text.len = ngx_min(base64->len, MEDIA_HEAD);
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
media_attach(ngx_http_claude_media_t *media, const char *member, size_t len)
{
    media->attached += len;

    if (media->attached > MEDIA_REQUEST) {
        return media_error(media, member, "is too large: the models take 32 "
                           "MB in a request");
    }

    return NGX_OK;
}
