
/*
 * JSON schemas: allOf, whose parts are merged before the walk goes on with
 * them.  Those that do not make one schema are refused.
 */


#include "ngx_http_claude_schema_private.h"


static ngx_int_t schema_merge(schema_place_t *place,
    ngx_http_claude_json_t *all, ngx_http_claude_json_t *one);
static ngx_int_t schema_merge_member(schema_place_t *place,
    ngx_http_claude_json_t *all, ngx_http_claude_json_t *member);


/*
 * Closed objects have no intersection, so the parts are made one schema
 * first.  A single part is how older generators wrote a description beside a
 * reference.
 */

ngx_int_t
schema_all_of(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *list, ngx_http_claude_json_t **out)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *all, *node, *part;

    if (list->type != NGX_HTTP_CLAUDE_JSON_ARRAY || list->first == NULL) {
        return schema_refuse(place, "has an 'allOf' that is not a list of "
                             "schemas");
    }

    all = schema_new(place, OBJECT);
    if (all == NULL) {
        return NGX_ERROR;
    }

    for (node = in->first; node; node = node->next) {

        if (!schema_is(&node->name, "allOf")
            && schema_keep(place, all, node) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    part = list->first;

    if (part->next == NULL && schema_member(part, "$ref")
        && !schema_member(all, "properties") && !schema_member(all, "type"))
    {
        if (schema_keep(place, all, schema_member(part, "$ref")) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {

        for ( /* void */ ; part; part = part->next) {
            rc = schema_merge(place, all, part);
            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    return schema_step(place, "allOf", NULL, all, out);
}


static ngx_int_t
schema_merge(schema_place_t *place, ngx_http_claude_json_t *all,
    ngx_http_claude_json_t *one)
{
    ngx_int_t                rc;
    ngx_uint_t               n;
    ngx_http_claude_json_t  *member, *ref;

    for (n = 0; n < SCHEMA_LEVELS; n++) {
        ref = schema_member(one, "$ref");

        if (ref == NULL) {
            break;
        }

        one = schema_find(place->schema, &ref->value);

        if (one == NULL) {
            return schema_refuse(place, "refers to what is not in the schema "
                                 "itself");
        }
    }

    if (one->type != NGX_HTTP_CLAUDE_JSON_OBJECT || n == SCHEMA_LEVELS) {
        return schema_refuse(place, "has an 'allOf' with a part that is not "
                             "a schema");
    }

    for (member = one->first; member; member = member->next) {

        rc = schema_spend(place, 1);
        if (rc != NGX_OK) {
            return rc;
        }

        rc = schema_merge_member(place, all, member);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
schema_merge_member(schema_place_t *place, ngx_http_claude_json_t *all,
    ngx_http_claude_json_t *member)
{
    ngx_http_claude_json_t  *node, *child, *list;

    node = schema_named(all, &member->name);

    if (schema_is(&member->name, "$defs")
        || schema_is(&member->name, "definitions")
        || schema_is(&member->name, "additionalProperties"))
    {
        return NGX_OK;
    }

    if (node == NULL) {

        if (member->type != NGX_HTTP_CLAUDE_JSON_OBJECT
            && member->type != NGX_HTTP_CLAUDE_JSON_ARRAY)
        {
            return schema_keep(place, all, member);
        }

        /* its list of children may grow, so it is not the client's */

        node = (member->type == NGX_HTTP_CLAUDE_JSON_OBJECT)
               ? schema_new(place, OBJECT) : schema_new(place, ARRAY);
        if (node == NULL) {
            return NGX_ERROR;
        }

        node->name = member->name;
        ngx_http_claude_schema_add(all, NULL, node);

    } else if (schema_is(&member->name, "title")
               || schema_is(&member->name, "description"))
    {
        return NGX_OK;

    } else if (schema_is(&member->name, "type")) {

        if (node->type == NGX_HTTP_CLAUDE_JSON_STRING
            && member->type == NGX_HTTP_CLAUDE_JSON_STRING
            && schema_same(&node->value, &member->value))
        {
            return NGX_OK;
        }

        return schema_refuse(place, "has an 'allOf' of different types");

    } else if (!schema_is(&member->name, "properties")
               && !schema_is(&member->name, "required"))
    {
        if (schema_word_is_told(member)) {
            return schema_keep(place, all, member);
        }

        return schema_refuse(place, "has an 'allOf' whose parts do not make "
                             "one schema");
    }

    /* a list's children have no names, that an object's members need */

    if (member->first && node->type != member->type) {
        return schema_refuse(place, "has an 'allOf' whose parts do not make "
                             "one schema");
    }

    for (child = member->first; child; child = child->next) {

        if (node->type == NGX_HTTP_CLAUDE_JSON_OBJECT
            && schema_named(node, &child->name))
        {
            return schema_refuse(place, "has an 'allOf' whose parts describe "
                                 "one property twice");
        }

        list = schema_copy(place->schema->pool, child);
        if (list == NULL) {
            return NGX_ERROR;
        }

        ngx_http_claude_schema_add(node, NULL, list);
    }

    return NGX_OK;
}
