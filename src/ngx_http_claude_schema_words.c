
/*
 * JSON schemas: words.  What the API does not take becomes part of the
 * description, for the model to read; what cannot be is said to the client.
 */


#include "ngx_http_claude_schema_private.h"


/* of what a client is told: the reason follows, and all of it is to fit */
#define SCHEMA_PLACE  512


/* title and description, with all words in it that the API does not take */

ngx_int_t
schema_words(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_str_t                text;
    ngx_http_claude_json_t  *node, *told, *about;

    told = schema_new(place, OBJECT);
    if (told == NULL) {
        return NGX_ERROR;
    }

    about = NULL;

    for (node = in->first; node; node = node->next) {

        if (schema_is(&node->name, "title")
            && node->type == NGX_HTTP_CLAUDE_JSON_STRING)
        {
            if (schema_keep(place, out, node) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (schema_is(&node->name, "description")
                   && node->type == NGX_HTTP_CLAUDE_JSON_STRING)
        {
            about = node;

        } else if (schema_word_is_told(node)
                   && schema_keep(place, told, node) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    node = schema_member(out, "description");

    if (about && node) {

        /* what was told first is told last */

        text = node->value;
        node->value = about->value;

        if (schema_tell(place, out, &text) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (about && schema_keep(place, out, about) != NGX_OK) {
        return NGX_ERROR;
    }

    if (told->first == NULL) {
        return NGX_OK;
    }

    if (ngx_http_claude_json_text(place->schema->pool, told, &text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = schema_spend(place, text.len / 64);
    if (rc != NGX_OK) {
        return rc;
    }

    return schema_tell(place, out, &text);
}


/* words that mean something and that are not rewritten in their own place */

ngx_uint_t
schema_word_is_told(ngx_http_claude_json_t *member)
{
    ngx_int_t    n;
    ngx_uint_t   i;

    static ngx_str_t  known[] = {
        ngx_string("$ref"), ngx_string("$defs"), ngx_string("definitions"),
        ngx_string("$schema"), ngx_string("$id"), ngx_string("id"),
        ngx_string("$anchor"), ngx_string("$comment"), ngx_string("type"),
        ngx_string("enum"), ngx_string("const"), ngx_string("properties"),
        ngx_string("required"), ngx_string("additionalProperties"),
        ngx_string("items"), ngx_string("anyOf"), ngx_string("oneOf"),
        ngx_string("allOf"), ngx_string("title"), ngx_string("description"),
        ngx_string("discriminator"),
        ngx_null_string
    };

    if (schema_is(&member->name, "format")) {
        return !schema_format(member);
    }

    if (schema_is(&member->name, "minItems")) {
        return ngx_http_claude_json_integer(member, 0, 1, &n) != NGX_OK;
    }

    for (i = 0; known[i].len; i++) {
        if (schema_same(&known[i], &member->name)) {

            /* but for the list of a tuple's items */

            return schema_is(&member->name, "items")
                   && member->type == NGX_HTTP_CLAUDE_JSON_ARRAY;
        }
    }

    return 1;
}


ngx_uint_t
schema_format(ngx_http_claude_json_t *node)
{
    ngx_uint_t  i;

    static ngx_str_t  formats[] = {
        ngx_string("date-time"), ngx_string("time"), ngx_string("date"),
        ngx_string("duration"), ngx_string("email"), ngx_string("hostname"),
        ngx_string("uri"), ngx_string("ipv4"), ngx_string("ipv6"),
        ngx_string("uuid"), ngx_null_string
    };

    for (i = 0; formats[i].len; i++) {
        if (schema_same(&formats[i], &node->value)) {
            return 1;
        }
    }

    return 0;
}


/* adds a paragraph to the description */

ngx_int_t
schema_tell(schema_place_t *place, ngx_http_claude_json_t *out,
    ngx_str_t *text)
{
    u_char                  *p;
    ngx_http_claude_json_t  *node;

    node = schema_member(out, "description");

    if (node == NULL) {
        node = schema_new(place, STRING);
        if (node == NULL) {
            return NGX_ERROR;
        }

        node->value = *text;
        ngx_http_claude_schema_add(out, "description", node);

        return NGX_OK;
    }

    p = ngx_pnalloc(place->schema->pool, node->value.len + 2 + text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    node->value.len = ngx_sprintf(p, "%V\n\n%V", &node->value, text) - p;
    node->value.data = p;

    return NGX_OK;
}


/*
 * "'#/properties/a/items' is ...": where, from the root on, as far as there is
 * room beside the reason.  It has the names that the client chose and no NUL
 * at its end, as every ngx_str_t.
 */

ngx_int_t
schema_refuse(schema_place_t *place, const char *reason)
{
    u_char          *p, *start;
    size_t           len, said;
    schema_place_t  *up, *top;

    len = 0;
    said = ngx_strlen(reason);

    for (top = place; top; top = top->up) {

        if (len + top->name.len > SCHEMA_PLACE) {
            break;
        }

        len += top->name.len + 1;
    }

    start = ngx_pnalloc(place->schema->pool,
                        len + said + sizeof("'...' ") - 1);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(start, "'...", top ? 4 : 1);

    /* a slash stands before each name but the root's, "#" */

    len -= top ? 0 : 1;

    place->schema->reason.data = start;
    place->schema->reason.len = ngx_sprintf(p + len, "' %s", reason) - start;

    for (p += len, up = place; up != top; up = up->up) {

        /* an empty one may have no address */

        if (up->name.len) {
            p -= up->name.len;
            ngx_memcpy(p, up->name.data, up->name.len);
        }

        if (up->up) {
            *--p = '/';
        }
    }

    return NGX_DECLINED;
}
