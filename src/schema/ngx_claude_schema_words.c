
/*
 * JSON schemas: words.  What the API does not take becomes part of the
 * description, for the model to read.
 */


#include "ngx_claude_schema_private.h"


static ngx_int_t schema_told(schema_place_t *place, schema_node_t *in,
    ngx_str_t *text);


/* title and description, with all words in it that the API does not take */

ngx_int_t
schema_words(schema_place_t *place, schema_node_t *in, schema_node_t *out)
{
    ngx_int_t       rc;
    ngx_str_t       text;
    schema_node_t  *node, *about;

    about = NULL;

    for (node = schema_first(in); node; node = node->next) {

        if (!schema_has(node, STRING)) {
            continue;
        }

        if (node->word == SCHEMA_TITLE) {
            if (schema_keep(place, out, node) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (node->word == SCHEMA_DESCRIPTION) {
            about = node;
        }
    }

    node = about ? schema_word(out, SCHEMA_DESCRIPTION) : NULL;

    if (node) {

        /* the client's description goes before what was told already */

        text = node->u.value;
        node->u.value = about->u.value;

        if (schema_tell(place, out, &text) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (about && schema_keep(place, out, about) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = schema_told(place, in, &text);

    if (rc != NGX_OK || text.len == 0) {
        return rc;
    }

    return schema_tell(place, out, &text);
}


/* words that are told, as one JSON object; empty: there is none */

static ngx_int_t
schema_told(schema_place_t *place, schema_node_t *in, ngx_str_t *text)
{
    u_char         *p;
    size_t          len;
    ngx_int_t       rc;
    schema_node_t  *node;

    ngx_str_null(text);
    len = 0;

    for (node = schema_first(in); node; node = node->next) {

        if (schema_word_is_told(node)) {
            len += sizeof(":,") - 1 + schema_length(node)
                   + ngx_claude_json_escaped_len(node->name.data,
                                             node->name.len);
        }
    }

    if (len == 0) {
        return NGX_OK;
    }

    schema_charge(place, len * SCHEMA_COST_BYTE);

    rc = schema_check(place);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_pnalloc(place->schema->scratch, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    for (node = schema_first(in); node; node = node->next) {

        if (schema_word_is_told(node)) {
            *p++ = ',';
            p = ngx_claude_json_escape(p, node->name.data,
                                       node->name.len);
            *p++ = ':';
            p = schema_write(p, node);
        }
    }

    *p++ = '}';
    text->data[0] = '{';
    text->len = p - text->data;

    return NGX_OK;
}


/*
 * Words that mean something, and have no place of their own in what the API
 * takes.
 */

ngx_uint_t
schema_word_is_told(schema_node_t *member)
{
    switch (member->word) {

    case SCHEMA_OTHER:
    case SCHEMA_PREFIX_ITEMS:
        return 1;

    case SCHEMA_FORMAT:
        return !schema_format(member);

    case SCHEMA_MIN_ITEMS:
        return schema_min_items(member) == -1;

    case SCHEMA_ITEMS:

        /* the list of a tuple's items */

        return schema_has(member, ARRAY);
    }

    return 0;
}


ngx_int_t
schema_min_items(schema_node_t *node)
{
    char    buf[64];
    double  number;

    if (!schema_has(node, NUMBER) || node->u.value.len >= sizeof(buf)) {
        return -1;
    }

    ngx_cpystrn((u_char *) buf, node->u.value.data, node->u.value.len + 1);

    /* 1.0 and 1e0 are the number 1 as well */

    number = strtod(buf, NULL);

    return (number == 0) ? 0 : (number == 1) ? 1 : -1;
}


ngx_uint_t
schema_format(schema_node_t *node)
{
    ngx_uint_t  i;

    static ngx_str_t  formats[] = {
        ngx_string("date-time"), ngx_string("time"), ngx_string("date"),
        ngx_string("duration"), ngx_string("email"), ngx_string("hostname"),
        ngx_string("uri"), ngx_string("ipv4"), ngx_string("ipv6"),
        ngx_string("uuid"), ngx_null_string
    };

    if (!schema_has(node, STRING)) {
        return 0;
    }

    for (i = 0; formats[i].len; i++) {
        if (ngx_claude_same(&formats[i], &node->u.value)) {
            return 1;
        }
    }

    return 0;
}


/* adds a paragraph to the description */

ngx_int_t
schema_tell(schema_place_t *place, schema_node_t *out, ngx_str_t *text)
{
    u_char         *p;
    size_t          len;
    schema_node_t  *node;

    node = schema_word(out, SCHEMA_DESCRIPTION);

    if (node == NULL) {
        node = schema_string(place, text);
        if (node == NULL) {
            return NGX_ERROR;
        }

        schema_add_word(out, SCHEMA_DESCRIPTION, node);

        return NGX_OK;
    }

    len = node->u.value.len + 2 + text->len;
    schema_charge(place, len * SCHEMA_COST_BYTE);

    p = ngx_pnalloc(place->schema->scratch, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(p, "%V\n\n%V", &node->u.value, text);

    node->u.value.data = p;
    node->u.value.len = len;

    return NGX_OK;
}
