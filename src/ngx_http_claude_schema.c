
/*
 * JSON schemas for constrained output.  See the header.
 *
 * What the API takes was read from its documentation and from what public
 * SDKs send: the types, enum and const of scalars, anyOf, local references,
 * properties, required, closed objects, items, minItems of 0 and 1, and some
 * formats.
 */


#include "ngx_http_claude_schema_private.h"


/* that JSON has */
#define SCHEMA_TYPES     7


static ngx_uint_t schema_count(ngx_http_claude_json_t *node);
static ngx_int_t schema_any_of(schema_place_t *place,
    ngx_http_claude_json_t *list, ngx_http_claude_json_t *out);
static ngx_int_t schema_types(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t *out);
static ngx_int_t schema_type(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_str_t *type,
    ngx_http_claude_json_t *out);
static ngx_int_t schema_object(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t *out);
static ngx_int_t schema_array(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t *out);
static ngx_int_t schema_values(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_str_t *type,
    ngx_http_claude_json_t *out);
static ngx_int_t schema_anything(schema_place_t *place,
    ngx_http_claude_json_t *out);
static ngx_uint_t schema_has_type(ngx_http_claude_json_t *value,
    ngx_str_t *type);
static ngx_int_t schema_put(schema_place_t *place,
    ngx_http_claude_json_t *out, const char *name,
    ngx_http_claude_json_type_e type, const char *value);


ngx_int_t
ngx_http_claude_schema_init(ngx_http_claude_schema_t *schema,
    ngx_pool_t *pool)
{
    ngx_memzero(schema, sizeof(ngx_http_claude_schema_t));

    schema->pool = pool;

    schema->defs = ngx_http_claude_schema_node(pool,
                                               NGX_HTTP_CLAUDE_JSON_OBJECT,
                                               NULL);
    if (schema->defs == NULL) {
        return NGX_ERROR;
    }

    return ngx_array_init(&schema->targets, pool, 8, sizeof(schema_target_t));
}


ngx_int_t
ngx_http_claude_schema_rewrite(ngx_http_claude_schema_t *schema,
    ngx_http_claude_json_t *root, ngx_http_claude_json_t **out)
{
    ngx_int_t                rc;
    ngx_uint_t               n, self;
    schema_place_t           place;
    schema_target_t         *target;
    ngx_http_claude_json_t  *ref;

    ngx_memzero(&place, sizeof(schema_place_t));

    place.schema = schema;
    ngx_str_set(&place.name, "#");

    schema->root = root;

    if (schema_count(root) > SCHEMA_VALUES) {
        return schema_refuse(&place, "is too large");
    }

    /* a root that only refers to a definition is that definition */

    for (n = 0; n < SCHEMA_LEVELS; n++) {
        ref = schema_member(root, "$ref");

        if (ref == NULL || ref->type != NGX_HTTP_CLAUDE_JSON_STRING) {
            break;
        }

        root = schema_find(schema, &ref->value);

        if (root == NULL) {
            return schema_refuse(&place, "refers to what is not in the "
                                 "schema itself");
        }
    }

    target = ngx_array_push(&schema->targets);
    if (target == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(target, sizeof(schema_target_t));
    target->node = root;
    self = schema->targets.nelts - 1;

    rc = schema_walk(&place, root, out);

    /* nobody can refer to it by a name */

    target = schema->targets.elts;
    target[self].node = NULL;

    if (rc == SCHEMA_NEVER) {
        return schema_refuse(&place, "has no value that satisfies it and "
                             "ends");
    }

    return rc;
}


ngx_int_t
ngx_http_claude_schema_text(ngx_http_claude_schema_t *schema,
    ngx_http_claude_json_t *whole, ngx_str_t *text)
{
    if (schema->defs->first) {
        ngx_http_claude_schema_add(whole, "$defs", schema->defs);
    }

    return ngx_http_claude_json_text(schema->pool, whole, text);
}


ngx_http_claude_json_t *
ngx_http_claude_schema_node(ngx_pool_t *pool,
    ngx_http_claude_json_type_e type, const char *value)
{
    ngx_http_claude_json_t  *node;

    node = ngx_pcalloc(pool, sizeof(ngx_http_claude_json_t));

    if (node) {
        node->type = type;

        if (value) {
            node->value.data = (u_char *) value;
            node->value.len = ngx_strlen(value);
        }
    }

    return node;
}


void
ngx_http_claude_schema_add(ngx_http_claude_json_t *parent, const char *name,
    ngx_http_claude_json_t *node)
{
    if (name) {
        node->name.data = (u_char *) name;
        node->name.len = ngx_strlen(name);
    }

    if (parent->last) {
        parent->last->next = node;

    } else {
        parent->first = node;
    }

    parent->last = node;
}


static ngx_uint_t
schema_count(ngx_http_claude_json_t *node)
{
    ngx_uint_t               n;
    ngx_http_claude_json_t  *child;

    n = 1;

    for (child = node->first; child; child = child->next) {
        n += schema_count(child);
    }

    return n;
}


ngx_int_t
schema_spend(schema_place_t *place, ngx_uint_t nodes)
{
    place->schema->nodes += nodes;

    if (place->schema->nodes > SCHEMA_NODES) {
        return schema_refuse(place, "makes the schema too large");
    }

    return NGX_OK;
}


ngx_int_t
schema_walk(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *node, *list;

    rc = schema_spend(place, 1);
    if (rc != NGX_OK) {
        return rc;
    }

    if (place->depth > SCHEMA_DEPTH) {
        return schema_refuse(place, "is nested too deeply");
    }

    if (in->type == NGX_HTTP_CLAUDE_JSON_FALSE) {
        return SCHEMA_NEVER;
    }

    if (in->type != NGX_HTTP_CLAUDE_JSON_OBJECT
        && in->type != NGX_HTTP_CLAUDE_JSON_TRUE)
    {
        return schema_refuse(place, "is not a schema");
    }

    node = schema_member(in, "$ref");

    if (node) {
        return schema_reference(place, node, in, out);
    }

    list = schema_member(in, "allOf");

    if (list) {
        return schema_all_of(place, in, list, out);
    }

    *out = schema_new(place, OBJECT);
    if (*out == NULL) {
        return NGX_ERROR;
    }

    list = schema_member(in, "anyOf");

    if (list == NULL) {
        list = schema_member(in, "oneOf");
    }

    if (list && (schema_member(in, "properties") || schema_member(in, "items")
                 || schema_member(in, "enum") || schema_member(in, "const")))
    {
        /* conditions on what is described anyway: the model is told */
        list = NULL;
    }

    rc = list ? schema_any_of(place, list, *out)
              : schema_types(place, in, *out);

    if (rc != NGX_OK) {
        return rc;
    }

    return schema_words(place, in, *out);
}


/* the schema at a member: "properties" and its name, or "items" and none */

ngx_int_t
schema_step(schema_place_t *place, const char *name, ngx_str_t *more,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t **out)
{
    schema_place_t  step, inner;

    step.schema = place->schema;
    step.up = place;
    step.name.data = (u_char *) name;
    step.name.len = ngx_strlen(name);
    step.level = place->level;
    step.depth = place->depth + 1;

    if (more == NULL) {
        return schema_walk(&step, in, out);
    }

    inner = step;
    inner.up = &step;
    inner.name = *more;

    return schema_walk(&inner, in, out);
}


/* branches that nothing satisfies are left out, while there is another */

static ngx_int_t
schema_any_of(schema_place_t *place, ngx_http_claude_json_t *list,
    ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *any, *in, *one;

    if (list->type != NGX_HTTP_CLAUDE_JSON_ARRAY || list->first == NULL) {
        return schema_refuse(place, "has an 'anyOf' or 'oneOf' that is not a "
                             "list of schemas");
    }

    any = schema_new(place, ARRAY);
    if (any == NULL) {
        return NGX_ERROR;
    }

    for (in = list->first; in; in = in->next) {
        rc = schema_step(place, "anyOf", NULL, in, &one);

        if (rc == SCHEMA_NEVER) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_http_claude_schema_add(any, NULL, one);
    }

    if (any->first == NULL) {
        return SCHEMA_NEVER;
    }

    ngx_http_claude_schema_add(out, "anyOf", any);

    return NGX_OK;
}


/* by its type, or by what only one type has; several are alternatives */

static ngx_int_t
schema_types(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_str_t                type;
    ngx_http_claude_json_t  *node, *any, *one;

    node = schema_member(in, "type");

    if (node && node->type == NGX_HTTP_CLAUDE_JSON_ARRAY && node->first
        && node->first->next == NULL)
    {
        node = node->first;
    }

    if (node == NULL || node->type == NGX_HTTP_CLAUDE_JSON_STRING) {

        ngx_str_null(&type);

        if (node) {
            type = node->value;

        } else if (schema_member(in, "properties")) {
            ngx_str_set(&type, "object");

        } else if (schema_member(in, "items")
                   || schema_member(in, "prefixItems"))
        {
            ngx_str_set(&type, "array");
        }

        return schema_type(place, in, &type, out);
    }

    if (node->type != NGX_HTTP_CLAUDE_JSON_ARRAY || node->first == NULL
        || schema_count(node) > 1 + SCHEMA_TYPES)
    {
        return schema_refuse(place, "has a 'type' that is not a string or a "
                             "list of strings");
    }

    any = schema_new(place, ARRAY);
    if (any == NULL) {
        return NGX_ERROR;
    }

    for (node = node->first; node; node = node->next) {

        if (node->type != NGX_HTTP_CLAUDE_JSON_STRING) {
            return schema_refuse(place, "has a 'type' that is not a string or "
                                 "a list of strings");
        }

        one = schema_new(place, OBJECT);
        if (one == NULL) {
            return NGX_ERROR;
        }

        rc = schema_type(place, in, &node->value, one);

        if (rc == NGX_OK) {
            ngx_http_claude_schema_add(any, NULL, one);

        } else if (rc != SCHEMA_NEVER) {
            return rc;
        }
    }

    if (any->first == NULL) {
        return SCHEMA_NEVER;
    }

    ngx_http_claude_schema_add(out, "anyOf", any);

    return NGX_OK;
}


static ngx_int_t
schema_type(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_str_t *type, ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *node;

    if (type->len) {

        if (!schema_is(type, "object") && !schema_is(type, "array")
            && !schema_is(type, "string") && !schema_is(type, "integer")
            && !schema_is(type, "number") && !schema_is(type, "boolean")
            && !schema_is(type, "null"))
        {
            return schema_refuse(place, "has a 'type' that JSON has not");
        }

        node = schema_new(place, STRING);
        if (node == NULL) {
            return NGX_ERROR;
        }

        node->value = *type;
        ngx_http_claude_schema_add(out, "type", node);
    }

    rc = schema_values(place, in, type, out);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (type->len == 0) {
        return schema_anything(place, out);
    }

    if (schema_is(type, "object")) {
        return schema_object(place, in, out);
    }

    if (schema_is(type, "array")) {
        return schema_array(place, in, out);
    }

    if (schema_is(type, "string")) {
        node = schema_member(in, "format");

        if (node && schema_format(node)) {
            return schema_keep(place, out, node);
        }
    }

    return NGX_OK;
}


static ngx_int_t
schema_object(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_uint_t               needed;
    ngx_http_claude_json_t  *more, *properties, *required, *names, *node,
                            *name, *all, *one;

    properties = schema_member(in, "properties");
    required = schema_member(in, "required");
    more = schema_member(in, "additionalProperties");

    if (properties && properties->type != NGX_HTTP_CLAUDE_JSON_OBJECT) {
        return schema_refuse(place, "has 'properties' that are not an object");
    }

    if (properties == NULL || properties->first == NULL) {

        if ((more == NULL && properties == NULL)
            || (more && more->type != NGX_HTTP_CLAUDE_JSON_FALSE))
        {
            return schema_refuse(place, "is an object with members of any "
                                 "name, which constrained output does not "
                                 "have: it must name its properties");
        }
    }

    all = schema_new(place, OBJECT);
    names = schema_new(place, ARRAY);

    if (all == NULL || names == NULL) {
        return NGX_ERROR;
    }

    for (node = properties ? properties->first : NULL;
         node;
         node = node->next)
    {
        needed = 0;

        for (name = required ? required->first : NULL;
             name;
             name = name->next)
        {
            if (name->type == NGX_HTTP_CLAUDE_JSON_STRING
                && schema_same(&name->value, &node->name))
            {
                needed = 1;
            }
        }

        rc = schema_step(place, "properties", &node->name, node, &one);

        if (rc == SCHEMA_NEVER && !needed) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        one->name = node->name;
        ngx_http_claude_schema_add(all, NULL, one);

        if (needed) {
            name = schema_new(place, STRING);
            if (name == NULL) {
                return NGX_ERROR;
            }

            name->value = node->name;
            ngx_http_claude_schema_add(names, NULL, name);
        }
    }

    ngx_http_claude_schema_add(out, "properties", all);

    if (names->first) {
        ngx_http_claude_schema_add(out, "required", names);
    }

    return schema_put(place, out, "additionalProperties",
                      NGX_HTTP_CLAUDE_JSON_FALSE, NULL);
}


static ngx_int_t
schema_array(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t *out)
{
    ngx_int_t                rc, n;
    ngx_http_claude_json_t  *items, *node, *one;

    static ngx_str_t  empty = ngx_string("This array must be empty.");

    items = schema_member(in, "prefixItems");

    if (items == NULL) {
        items = schema_member(in, "items");
    }

    if (items == NULL) {
        one = schema_new(place, OBJECT);

        rc = (one == NULL) ? NGX_ERROR : schema_anything(place, one);

    } else if (items->type == NGX_HTTP_CLAUDE_JSON_ARRAY) {

        /* a tuple: each item is one of its kinds, and the model is told */

        one = schema_new(place, OBJECT);

        rc = (one == NULL) ? NGX_ERROR : schema_any_of(place, items, one);

    } else {
        rc = schema_step(place, "items", NULL, items, &one);
    }

    if (rc == SCHEMA_NEVER) {

        /* no item can be, so the array is to be empty */

        one = schema_new(place, OBJECT);

        if (one == NULL
            || schema_put(place, one, "type", NGX_HTTP_CLAUDE_JSON_STRING,
                          "null")
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        rc = schema_tell(place, out, &empty);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_claude_schema_add(out, "items", one);

    node = schema_member(in, "minItems");

    if (node && ngx_http_claude_json_integer(node, 0, 1, &n) == NGX_OK) {
        return schema_put(place, out, "minItems", NGX_HTTP_CLAUDE_JSON_NUMBER,
                          n ? "1" : "0");
    }

    return NGX_OK;
}


/* enum and const, of scalars only; NGX_AGAIN: there is none */

static ngx_int_t
schema_values(schema_place_t *place, ngx_http_claude_json_t *in,
    ngx_str_t *type, ngx_http_claude_json_t *out)
{
    ngx_int_t                rc;
    ngx_http_claude_json_t  *list, *node, *value;

    value = schema_member(in, "const");

    if (value) {

        if (value->first) {
            return schema_refuse(place, "has a 'const' that is not a scalar");
        }

        if (type->len && !schema_has_type(value, type)) {
            return SCHEMA_NEVER;
        }

        return schema_keep(place, out, value);
    }

    list = schema_member(in, "enum");

    if (list == NULL) {
        return NGX_AGAIN;
    }

    if (list->type != NGX_HTTP_CLAUDE_JSON_ARRAY || list->first == NULL) {
        return schema_refuse(place, "has an 'enum' that is not a list of "
                             "values");
    }

    rc = schema_spend(place, schema_count(list));
    if (rc != NGX_OK) {
        return rc;
    }

    node = schema_new(place, ARRAY);
    if (node == NULL) {
        return NGX_ERROR;
    }

    for (value = list->first; value; value = value->next) {

        if (value->type == NGX_HTTP_CLAUDE_JSON_ARRAY
            || value->type == NGX_HTTP_CLAUDE_JSON_OBJECT)
        {
            return schema_refuse(place, "has an 'enum' with a value that is "
                                 "not a scalar");
        }

        if (type->len && !schema_has_type(value, type)) {
            continue;
        }

        if (schema_keep(place, node, value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (node->first == NULL) {
        return SCHEMA_NEVER;
    }

    ngx_http_claude_schema_add(out, "enum", node);

    return NGX_OK;
}


static ngx_uint_t
schema_has_type(ngx_http_claude_json_t *value, ngx_str_t *type)
{
    switch (value->type) {

    case NGX_HTTP_CLAUDE_JSON_NULL:
        return schema_is(type, "null");

    case NGX_HTTP_CLAUDE_JSON_FALSE:
    case NGX_HTTP_CLAUDE_JSON_TRUE:
        return schema_is(type, "boolean");

    case NGX_HTTP_CLAUDE_JSON_NUMBER:
        return schema_is(type, "number") || schema_is(type, "integer");

    case NGX_HTTP_CLAUDE_JSON_STRING:
        return schema_is(type, "string");

    default:
        return 0;
    }
}


/* the API wants a type: what allows anything is content with a scalar */

static ngx_int_t
schema_anything(schema_place_t *place, ngx_http_claude_json_t *out)
{
    ngx_uint_t               i;
    ngx_http_claude_json_t  *any, *one;

    static const char  *types[] = { "string", "number", "boolean", "null" };

    any = schema_new(place, ARRAY);
    if (any == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 4; i++) {
        one = schema_new(place, OBJECT);

        if (one == NULL
            || schema_put(place, one, "type", NGX_HTTP_CLAUDE_JSON_STRING,
                          types[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_claude_schema_add(any, NULL, one);
    }

    ngx_http_claude_schema_add(out, "anyOf", any);

    return NGX_OK;
}


/* a node that can have another parent; its children stay where they are */

ngx_http_claude_json_t *
schema_copy(ngx_pool_t *pool, ngx_http_claude_json_t *node)
{
    ngx_http_claude_json_t  *copy;

    copy = ngx_palloc(pool, sizeof(ngx_http_claude_json_t));

    if (copy) {
        *copy = *node;
        copy->next = NULL;
    }

    return copy;
}


static ngx_int_t
schema_put(schema_place_t *place, ngx_http_claude_json_t *out,
    const char *name, ngx_http_claude_json_type_e type, const char *value)
{
    ngx_http_claude_json_t  *node;

    node = ngx_http_claude_schema_node(place->schema->pool, type, value);
    if (node == NULL) {
        return NGX_ERROR;
    }

    ngx_http_claude_schema_add(out, name, node);

    return NGX_OK;
}


ngx_int_t
schema_keep(schema_place_t *place, ngx_http_claude_json_t *out,
    ngx_http_claude_json_t *member)
{
    ngx_http_claude_json_t  *node;

    node = schema_copy(place->schema->pool, member);
    if (node == NULL) {
        return NGX_ERROR;
    }

    ngx_http_claude_schema_add(out, NULL, node);

    return NGX_OK;
}
