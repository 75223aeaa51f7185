
/*
 * JSON schemas: allOf, whose parts are merged before the walk goes on with
 * them.  Those that do not make one schema are refused.
 */


#include "ngx_claude_schema_private.h"


/* parts that are being merged */
typedef struct {
    schema_node_t        *all;
    schema_node_t        *words[SCHEMA_NWORDS];  /* members of all, by word */
    unsigned              properties:1;  /* has children of its own */
    unsigned              required:1;
} schema_merge_t;


static ngx_int_t schema_merge(schema_place_t *place, schema_merge_t *merge,
    schema_node_t *one);
static ngx_int_t schema_merge_part(schema_place_t *place,
    schema_node_t **part);
static ngx_int_t schema_merge_member(schema_place_t *place,
    schema_merge_t *merge, schema_node_t *member);
static ngx_int_t schema_merge_properties(schema_place_t *place,
    schema_merge_t *merge, schema_node_t *member);
static ngx_int_t schema_merge_required(schema_place_t *place,
    schema_merge_t *merge, schema_node_t *member);
static ngx_int_t schema_merge_keep(schema_place_t *place,
    schema_merge_t *merge, schema_node_t *member);
static ngx_int_t schema_merge_own(schema_place_t *place, schema_node_t *node);
static ngx_int_t schema_merge_append(schema_place_t *place,
    schema_node_t *node, schema_node_t *child);
static ngx_int_t schema_merge_twice(schema_place_t *place,
    schema_merge_t *merge);


/*
 * Closed objects have no intersection, so the parts are made one schema
 * first.  A single part is how older generators wrote a description beside a
 * reference.
 */

ngx_int_t
schema_all_of(schema_place_t *place, schema_node_t *in, schema_node_t *list,
    schema_node_t **merged)
{
    ngx_int_t        rc;
    schema_node_t   *node, *part, *ref;
    schema_merge_t   merge;

    if (!schema_has(list, ARRAY) || list->u.list.first == NULL) {
        return schema_refuse(place, "has an 'allOf' that is not a list of "
                             "schemas");
    }

    ngx_memzero(&merge, sizeof(schema_merge_t));

    merge.all = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
    if (merge.all == NULL) {
        return NGX_ERROR;
    }

    for (node = in->u.list.first; node; node = node->next) {

        if (node->word != SCHEMA_ALL_OF
            && schema_merge_keep(place, &merge, node) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    part = list->u.list.first;
    ref = part->next ? NULL : schema_word(part, SCHEMA_REF);

    if (ref && merge.words[SCHEMA_PROPERTIES] == NULL
        && merge.words[SCHEMA_TYPE] == NULL)
    {
        if (schema_keep(place, merge.all, ref) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {

        for ( /* void */ ; part; part = part->next) {
            rc = schema_merge(place, &merge, part);
            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    *merged = merge.all;

    return merge.properties ? schema_merge_twice(place, &merge) : NGX_OK;
}


static ngx_int_t
schema_merge(schema_place_t *place, schema_merge_t *merge, schema_node_t *one)
{
    ngx_int_t       rc;
    schema_node_t  *member;

    rc = schema_merge_part(place, &one);
    if (rc != NGX_OK) {
        return rc;
    }

    for (member = one->u.list.first; member; member = member->next) {

        schema_charge(place, SCHEMA_COST_LOOK);

        rc = schema_merge_member(place, merge, member);
        if (rc != NGX_OK) {
            return rc;
        }

        rc = schema_check(place);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* the schema that a part is or refers to */

static ngx_int_t
schema_merge_part(schema_place_t *place, schema_node_t **part)
{
    ngx_int_t       rc;
    ngx_uint_t      n;
    schema_node_t  *ref, *words[SCHEMA_NWORDS];

    for (n = 0; n < SCHEMA_LEVELS; n++) {

        /* each part may look through one long schema: count that */

        schema_members(place, *part, words);

        rc = schema_check(place);
        if (rc != NGX_OK) {
            return rc;
        }

        ref = words[SCHEMA_REF];

        if (ref == NULL) {
            break;
        }

        rc = schema_has(ref, STRING)
             ? schema_find(place, &ref->u.value, part) : NGX_DECLINED;

        if (rc == NGX_DECLINED) {
            return schema_refuse(place, "refers to what is not in the schema "
                                 "itself");
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (!schema_has(*part, OBJECT) || n == SCHEMA_LEVELS) {
        return schema_refuse(place, "has an 'allOf' with a part that is not "
                             "a schema");
    }

    return NGX_OK;
}


static ngx_int_t
schema_merge_member(schema_place_t *place, schema_merge_t *merge,
    schema_node_t *member)
{
    schema_node_t  *node;

    switch (member->word) {

    case SCHEMA_DEFS:
    case SCHEMA_DEFINITIONS:
    case SCHEMA_ADDITIONAL:
        return NGX_OK;

    case SCHEMA_PROPERTIES:
        return schema_merge_properties(place, merge, member);

    case SCHEMA_REQUIRED:
        return schema_merge_required(place, merge, member);
    }

    node = merge->words[member->word];

    if (node == NULL || member->word == SCHEMA_OTHER) {
        return schema_merge_keep(place, merge, member);
    }

    switch (member->word) {

    case SCHEMA_TITLE:
    case SCHEMA_DESCRIPTION:
        return NGX_OK;

    case SCHEMA_TYPE:

        if (schema_has(node, STRING) && schema_has(member, STRING)
            && ngx_claude_same(&node->u.value, &member->u.value))
        {
            return NGX_OK;
        }

        return schema_refuse(place, "has an 'allOf' of different types");
    }

    if (schema_word_is_told(member)) {
        return schema_merge_keep(place, merge, member);
    }

    return schema_refuse(place, "has an 'allOf' whose parts do not make one "
                         "schema");
}


static ngx_int_t
schema_merge_properties(schema_place_t *place, schema_merge_t *merge,
    schema_node_t *member)
{
    schema_node_t  *node, *child;

    node = merge->words[SCHEMA_PROPERTIES];

    if (!schema_has(member, OBJECT) || (node && !schema_has(node, OBJECT))) {
        return schema_refuse(place, "has an 'allOf' with 'properties' that "
                             "are not an object");
    }

    if (node == NULL) {
        if (schema_merge_keep(place, merge, member) != NGX_OK) {
            return NGX_ERROR;
        }

        node = merge->words[SCHEMA_PROPERTIES];
        child = NULL;

    } else {
        child = member->u.list.first;
    }

    /* the list of children may grow, so it may not be the client's */

    if (!merge->properties && schema_merge_own(place, node) != NGX_OK) {
        return NGX_ERROR;
    }

    merge->properties = 1;

    return schema_merge_append(place, node, child);
}


static ngx_int_t
schema_merge_required(schema_place_t *place, schema_merge_t *merge,
    schema_node_t *member)
{
    schema_node_t  *node;

    node = merge->words[SCHEMA_REQUIRED];

    /* draft 3 has "required": true, beside the schema of a property */

    if (node == NULL || !schema_has(node, ARRAY)) {
        merge->required = 0;

        return schema_merge_keep(place, merge, member);
    }

    if (!merge->required && schema_merge_own(place, node) != NGX_OK) {
        return NGX_ERROR;
    }

    merge->required = 1;

    return schema_merge_append(place, node, schema_has(member, ARRAY)
                                            ? member->u.list.first : NULL);
}


/* adds a member that keeps the client's children */

static ngx_int_t
schema_merge_keep(schema_place_t *place, schema_merge_t *merge,
    schema_node_t *member)
{
    if (schema_keep(place, merge->all, member) != NGX_OK) {
        return NGX_ERROR;
    }

    merge->words[member->word] = merge->all->u.list.last;

    return NGX_OK;
}


/* copies the children, which are the client's till now */

static ngx_int_t
schema_merge_own(schema_place_t *place, schema_node_t *node)
{
    schema_node_t  *child;

    child = node->u.list.first;

    node->u.list.first = NULL;
    node->u.list.last = NULL;

    return schema_merge_append(place, node, child);
}


static ngx_int_t
schema_merge_append(schema_place_t *place, schema_node_t *node,
    schema_node_t *child)
{
    for ( /* void */ ; child; child = child->next) {

        if (schema_keep(place, node, child) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
schema_merge_twice(schema_place_t *place, schema_merge_t *merge)
{
    ngx_uint_t      i;
    schema_table_t  table;

    if (schema_table(place, merge->words[SCHEMA_PROPERTIES], SCHEMA_BY_NAME,
                     &table)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 1; i < table.n; i++) {

        if (ngx_claude_same(table.entry[i - 1].key, table.entry[i].key)) {
            return schema_refuse(place, "has an 'allOf' whose parts describe "
                                 "one property twice");
        }
    }

    return NGX_OK;
}
