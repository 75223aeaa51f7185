
/*
 * JSON schemas for constrained output.  See the header.
 *
 * What the API takes was read from its documentation and from what public
 * SDKs send: the types, enum and const of scalars, anyOf, local references,
 * properties, required, closed objects, items, minItems of 0 and 1, and some
 * formats.
 */


#include "ngx_claude_schema_private.h"


/* types that JSON has */
#define SCHEMA_TYPES     7


static ngx_int_t schema_rewrite(schema_place_t *place, ngx_claude_json_t *json,
    schema_node_t **out);
static ngx_int_t schema_about(schema_place_t *place, schema_node_t *out,
    ngx_str_t *about);
static ngx_int_t schema_walk(schema_place_t *place, schema_node_t *in,
    schema_node_t **out);
static ngx_int_t schema_step(schema_place_t *place, const char *name,
    ngx_str_t *more, schema_node_t *in, schema_node_t **out);
static ngx_int_t schema_any_of(schema_place_t *place, schema_node_t *list,
    schema_node_t *out);
static ngx_int_t schema_types(schema_place_t *place, schema_node_t **words,
    schema_node_t *out);
static ngx_uint_t schema_types_valid(schema_node_t *list);
static ngx_int_t schema_type(schema_place_t *place, schema_node_t **words,
    ngx_str_t *type, schema_node_t *out);
static ngx_int_t schema_object(schema_place_t *place, schema_node_t **words,
    schema_node_t *out);
static ngx_int_t schema_properties(schema_place_t *place,
    schema_node_t **words, schema_node_t *out);
static ngx_int_t schema_array(schema_place_t *place, schema_node_t **words,
    schema_node_t *out);
static ngx_int_t schema_values(schema_place_t *place, schema_node_t **words,
    ngx_str_t *type, schema_node_t *out);
static ngx_int_t schema_enum(schema_place_t *place, schema_node_t *list,
    ngx_str_t *type, schema_node_t *out);
static ngx_int_t schema_enum_typed(schema_place_t *place, schema_node_t *list,
    ngx_str_t *type);
static ngx_int_t schema_anything(schema_place_t *place, schema_node_t *out);
static schema_node_t *schema_scalars(schema_place_t *place);
static ngx_uint_t schema_has_type(schema_node_t *value, ngx_str_t *type);
static ngx_int_t schema_put_type(schema_place_t *place, schema_node_t *out,
    const char *type);


ngx_int_t
ngx_claude_schema_init(ngx_claude_schema_t *schema,
    ngx_claude_schema_work_t *work, ngx_log_t *log)
{
    ngx_memzero(schema, sizeof(ngx_claude_schema_t));

    schema->work = work;

    schema->pool = ngx_create_pool(4096, log);
    if (schema->pool == NULL) {
        return NGX_ERROR;
    }

    schema->defs.pool = schema->pool;

    return NGX_OK;
}


ngx_int_t
ngx_claude_schema_rewrite(ngx_claude_schema_t *schema,
    ngx_claude_json_t *json, ngx_str_t *about,
    ngx_claude_text_t *text)
{
    ngx_int_t        rc;
    schema_node_t   *out;
    schema_place_t   place;

    ngx_memzero(&place, sizeof(schema_place_t));

    place.schema = schema;
    ngx_str_set(&place.name, "#");

    schema->nvalues = 0;
    schema->len = 0;
    schema->anything = NULL;
    ngx_str_null(&schema->step);
    ngx_rbtree_init(&schema->marks, &schema->sentinel,
                    ngx_rbtree_insert_value);

    /* nodes are many times as large as the text, and not needed for long */

    schema->scratch = ngx_create_pool(4096, schema->pool->log);
    if (schema->scratch == NULL) {
        return NGX_ERROR;
    }

    rc = schema_rewrite(&place, json, &out);

    if (rc == SCHEMA_NEVER) {
        rc = schema_refuse(&place, "has no value that satisfies it and ends");
    }

    if (rc == NGX_OK && about) {
        rc = schema_about(&place, out, about);
    }

    if (rc == NGX_OK) {
        rc = schema_put(&place, out, text);
    }

    ngx_destroy_pool(schema->scratch);

    return rc;
}


static ngx_int_t
schema_rewrite(schema_place_t *place, ngx_claude_json_t *json,
    schema_node_t **out)
{
    ngx_int_t       rc;
    ngx_uint_t      n;
    schema_node_t  *root, *ref;

    rc = schema_import(place, json, &root);
    if (rc != NGX_OK) {
        return rc;
    }

    place->schema->root = root;

    /* a root that only refers to a definition is that definition */

    for (n = 0; n < SCHEMA_LEVELS; n++) {
        ref = schema_word(root, SCHEMA_REF);

        if (ref == NULL || !schema_has(ref, STRING)) {
            break;
        }

        rc = schema_find(place, &ref->u.value, &root);

        if (rc == NGX_DECLINED) {
            return schema_refuse(place, "refers to what is not in the schema "
                                 "itself");
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (schema_root(place, root) != NGX_OK) {
        return NGX_ERROR;
    }

    return schema_walk(place, root, out);
}


static ngx_int_t
schema_about(schema_place_t *place, schema_node_t *out, ngx_str_t *about)
{
    schema_node_t  *node;

    if (schema_word(out, SCHEMA_DESCRIPTION) || schema_word(out, SCHEMA_REF)) {
        return NGX_OK;
    }

    node = schema_string(place, about);
    if (node == NULL) {
        return NGX_ERROR;
    }

    schema_add_word(out, SCHEMA_DESCRIPTION, node);

    return NGX_OK;
}


ngx_int_t
ngx_claude_schema_defs(ngx_claude_schema_t *schema,
    ngx_claude_text_t *text)
{
    ngx_str_t  defs;

    if (schema->defs.len == 0) {
        return NGX_OK;
    }

    /* the object's closing brace goes, and comes again below */

    text->len--;

    defs.data = schema->defs.data;
    defs.len = schema->defs.len;

    ngx_claude_out(ngx_claude_text_begin(text), "%s\"$defs\":{%V}}",
                   (text->data[text->len - 1] == '{') ? "" : ",", &defs);

    return ngx_claude_text_end(text);
}


void
ngx_claude_schema_done(ngx_claude_schema_t *schema)
{
    if (schema->pool) {
        ngx_destroy_pool(schema->pool);
        schema->pool = NULL;
    }
}


/* rewrites what stands at the place */

static ngx_int_t
schema_walk(schema_place_t *place, schema_node_t *in, schema_node_t **out)
{
    ngx_int_t       rc;
    schema_node_t  *list, *merged, *words[SCHEMA_NWORDS];

    schema_charge(place, SCHEMA_COST_STEP);

    if (place->depth > SCHEMA_DEPTH) {
        return schema_refuse(place, "is nested too deeply");
    }

    if (schema_has(in, FALSE)) {
        return SCHEMA_NEVER;
    }

    if (!schema_has(in, OBJECT) && !schema_has(in, TRUE)) {
        return schema_refuse(place, "is not a schema");
    }

    schema_members(place, in, words);

    rc = schema_check(place);
    if (rc != NGX_OK) {
        return rc;
    }

    if (words[SCHEMA_REF]) {
        return schema_reference(place, words[SCHEMA_REF],
                                words[SCHEMA_DESCRIPTION], schema_walk, out);
    }

    if (words[SCHEMA_ALL_OF]) {
        rc = schema_all_of(place, in, words[SCHEMA_ALL_OF], &merged);

        return (rc == NGX_OK)
               ? schema_step(place, "allOf", NULL, merged, out) : rc;
    }

    *out = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
    if (*out == NULL) {
        return NGX_ERROR;
    }

    list = words[SCHEMA_ANY_OF] ? words[SCHEMA_ANY_OF] : words[SCHEMA_ONE_OF];

    if (words[SCHEMA_PROPERTIES] || words[SCHEMA_ITEMS] || words[SCHEMA_ENUM]
        || words[SCHEMA_CONST])
    {
        /* anyOf is a condition on what these describe: the model is told */
        list = NULL;
    }

    rc = list ? schema_any_of(place, list, *out)
              : schema_types(place, words, *out);

    if (rc != NGX_OK) {
        return rc;
    }

    return schema_words(place, in, *out);
}


/* the schema at a member: "properties" and its name, or "items" and none */

static ngx_int_t
schema_step(schema_place_t *place, const char *name, ngx_str_t *more,
    schema_node_t *in, schema_node_t **out)
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
schema_any_of(schema_place_t *place, schema_node_t *list, schema_node_t *out)
{
    ngx_int_t       rc;
    schema_node_t  *any, *in, *one;

    if (!schema_has(list, ARRAY) || list->u.list.first == NULL) {
        return schema_refuse(place, "has an 'anyOf' or 'oneOf' that is not a "
                             "list of schemas");
    }

    any = schema_new(place, NGX_CLAUDE_JSON_ARRAY);
    if (any == NULL) {
        return NGX_ERROR;
    }

    for (in = list->u.list.first; in; in = in->next) {
        rc = schema_step(place, "anyOf", NULL, in, &one);

        if (rc == SCHEMA_NEVER) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        schema_add(any, one);
    }

    if (any->u.list.first == NULL) {
        return SCHEMA_NEVER;
    }

    schema_add_word(out, SCHEMA_ANY_OF, any);

    return NGX_OK;
}


/*
 * A schema by its type, or by words of one type alone; several types are
 * alternatives.
 */

static ngx_int_t
schema_types(schema_place_t *place, schema_node_t **words, schema_node_t *out)
{
    ngx_int_t       rc;
    ngx_str_t       type;
    schema_node_t  *node, *any, *one;

    node = words[SCHEMA_TYPE];

    if (node && schema_has(node, ARRAY) && node->u.list.first
        && node->u.list.first->next == NULL)
    {
        node = node->u.list.first;
    }

    if (node == NULL || schema_has(node, STRING)) {

        ngx_str_null(&type);

        if (node) {
            type = node->u.value;

        } else if (words[SCHEMA_PROPERTIES]) {
            ngx_str_set(&type, "object");

        } else if (words[SCHEMA_ITEMS] || words[SCHEMA_PREFIX_ITEMS]) {
            ngx_str_set(&type, "array");
        }

        return schema_type(place, words, &type, out);
    }

    if (!schema_types_valid(node)) {
        return schema_refuse(place, "has a 'type' that is not a string or a "
                             "list of strings");
    }

    any = schema_new(place, NGX_CLAUDE_JSON_ARRAY);
    if (any == NULL) {
        return NGX_ERROR;
    }

    for (node = node->u.list.first; node; node = node->next) {

        one = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
        if (one == NULL) {
            return NGX_ERROR;
        }

        rc = schema_type(place, words, &node->u.value, one);

        if (rc == NGX_OK) {
            schema_add(any, one);

        } else if (rc != SCHEMA_NEVER) {
            return rc;
        }
    }

    if (any->u.list.first == NULL) {
        return SCHEMA_NEVER;
    }

    schema_add_word(out, SCHEMA_ANY_OF, any);

    return NGX_OK;
}


/* whether the list has strings alone, and no more than there are types */

static ngx_uint_t
schema_types_valid(schema_node_t *list)
{
    ngx_uint_t      n;
    schema_node_t  *node;

    if (!schema_has(list, ARRAY)) {
        return 0;
    }

    n = 0;

    for (node = list->u.list.first; node; node = node->next) {

        if (++n > SCHEMA_TYPES || !schema_has(node, STRING)) {
            return 0;
        }
    }

    return n != 0;
}


static ngx_int_t
schema_type(schema_place_t *place, schema_node_t **words, ngx_str_t *type,
    schema_node_t *out)
{
    ngx_int_t       rc;
    schema_node_t  *node;

    if (type->len) {

        if (!ngx_claude_is(type, "object")
            && !ngx_claude_is(type, "array")
            && !ngx_claude_is(type, "string")
            && !ngx_claude_is(type, "integer")
            && !ngx_claude_is(type, "number")
            && !ngx_claude_is(type, "boolean")
            && !ngx_claude_is(type, "null"))
        {
            return schema_refuse(place, "has a 'type' that JSON has not");
        }

        node = schema_string(place, type);
        if (node == NULL) {
            return NGX_ERROR;
        }

        schema_add_word(out, SCHEMA_TYPE, node);
    }

    rc = schema_values(place, words, type, out);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    if (type->len == 0) {
        return schema_anything(place, out);
    }

    if (ngx_claude_is(type, "object")) {
        return schema_object(place, words, out);
    }

    if (ngx_claude_is(type, "array")) {
        return schema_array(place, words, out);
    }

    if (ngx_claude_is(type, "string")) {
        node = words[SCHEMA_FORMAT];

        if (node && schema_format(node)) {
            return schema_keep(place, out, node);
        }
    }

    return NGX_OK;
}


static ngx_int_t
schema_object(schema_place_t *place, schema_node_t **words,
    schema_node_t *out)
{
    ngx_int_t       rc;
    schema_node_t  *more, *properties, *node;

    properties = words[SCHEMA_PROPERTIES];
    more = words[SCHEMA_ADDITIONAL];

    if (properties && !schema_has(properties, OBJECT)) {
        return schema_refuse(place, "has 'properties' that are not an object");
    }

    if (properties == NULL || properties->u.list.first == NULL) {

        if ((more == NULL && properties == NULL)
            || (more && !schema_has(more, FALSE)))
        {
            return schema_refuse(place, "is an object with members of any "
                                 "name, which constrained output does not "
                                 "have: it must name its properties");
        }
    }

    rc = schema_properties(place, words, out);
    if (rc != NGX_OK) {
        return rc;
    }

    node = schema_new(place, NGX_CLAUDE_JSON_FALSE);
    if (node == NULL) {
        return NGX_ERROR;
    }

    schema_add_word(out, SCHEMA_ADDITIONAL, node);

    return NGX_OK;
}


/* rewrites each property, and lists the required ones */

static ngx_int_t
schema_properties(schema_place_t *place, schema_node_t **words,
    schema_node_t *out)
{
    ngx_int_t        rc;
    schema_node_t   *all, *names, *node, *needed, *one;
    schema_table_t   required;

    all = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
    names = schema_new(place, NGX_CLAUDE_JSON_ARRAY);

    if (all == NULL || names == NULL) {
        return NGX_ERROR;
    }

    required.n = 0;

    if (words[SCHEMA_REQUIRED]
        && schema_table(place, words[SCHEMA_REQUIRED], SCHEMA_BY_VALUE,
                        &required)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    node = words[SCHEMA_PROPERTIES];

    for (node = node ? node->u.list.first : NULL; node; node = node->next) {

        needed = schema_table_find(&required, &node->name);

        rc = schema_step(place, "properties", &node->name, node, &one);

        if (rc == SCHEMA_NEVER && needed == NULL) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        one->name = node->name;
        schema_add(all, one);

        if (needed && schema_keep(place, names, needed) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    schema_add_word(out, SCHEMA_PROPERTIES, all);

    if (names->u.list.first) {
        schema_add_word(out, SCHEMA_REQUIRED, names);
    }

    return NGX_OK;
}


static ngx_int_t
schema_array(schema_place_t *place, schema_node_t **words, schema_node_t *out)
{
    ngx_int_t       rc, n;
    ngx_str_t       number;
    schema_node_t  *items, *node, *one;

    static ngx_str_t  empty = ngx_string("This array must be empty.");

    items = words[SCHEMA_PREFIX_ITEMS] ? words[SCHEMA_PREFIX_ITEMS]
                                       : words[SCHEMA_ITEMS];

    if (items == NULL || schema_has(items, ARRAY)) {

        /* a tuple: each item is one of its kinds, and the model is told */

        one = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
        if (one == NULL) {
            return NGX_ERROR;
        }

        rc = items ? schema_any_of(place, items, one)
                   : schema_anything(place, one);

    } else {
        rc = schema_step(place, "items", NULL, items, &one);
    }

    if (rc == SCHEMA_NEVER) {

        /* SCHEMA_NEVER: no item can be, so the array is to be empty */

        one = schema_new(place, NGX_CLAUDE_JSON_OBJECT);

        if (one == NULL || schema_put_type(place, one, "null") != NGX_OK) {
            return NGX_ERROR;
        }

        rc = schema_tell(place, out, &empty);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    schema_add_word(out, SCHEMA_ITEMS, one);

    n = words[SCHEMA_MIN_ITEMS] ? schema_min_items(words[SCHEMA_MIN_ITEMS])
                                : -1;

    if (n == -1) {
        return NGX_OK;
    }

    node = schema_new(place, NGX_CLAUDE_JSON_NUMBER);
    if (node == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&number, "0");

    if (n) {
        ngx_str_set(&number, "1");
    }

    node->u.value = number;
    schema_add_word(out, SCHEMA_MIN_ITEMS, node);

    return NGX_OK;
}


/* enum and const, of scalars only; NGX_AGAIN: there is none */

static ngx_int_t
schema_values(schema_place_t *place, schema_node_t **words, ngx_str_t *type,
    schema_node_t *out)
{
    schema_node_t  *value;

    value = words[SCHEMA_CONST];

    if (value) {

        if (schema_first(value)) {
            return schema_refuse(place, "has a 'const' that is not a scalar");
        }

        if (type->len && !schema_has_type(value, type)) {
            return SCHEMA_NEVER;
        }

        return schema_keep(place, out, value);
    }

    return words[SCHEMA_ENUM]
           ? schema_enum(place, words[SCHEMA_ENUM], type, out) : NGX_AGAIN;
}


static ngx_int_t
schema_enum(schema_place_t *place, schema_node_t *list, ngx_str_t *type,
    schema_node_t *out)
{
    ngx_uint_t      n, left;
    schema_node_t  *node, *value;

    if (!schema_has(list, ARRAY) || list->u.list.first == NULL) {
        return schema_refuse(place, "has an 'enum' that is not a list of "
                             "values");
    }

    n = 0;
    left = 0;

    for (value = list->u.list.first; value; value = value->next) {

        if (schema_list(value)) {
            return schema_refuse(place, "has an 'enum' with a value that is "
                                 "not a scalar");
        }

        n++;
        left += (type->len == 0 || schema_has_type(value, type));
    }

    schema_charge(place, n * SCHEMA_COST_LOOK);

    if (left == 0) {
        return SCHEMA_NEVER;
    }

    node = schema_copy(place, list);
    if (node == NULL) {
        return NGX_ERROR;
    }

    if (left != n && schema_enum_typed(place, node, type) != NGX_OK) {
        return NGX_ERROR;
    }

    schema_add_word(out, SCHEMA_ENUM, node);

    return schema_check(place);
}


/* keeps the values of that type; the list is no other's */

static ngx_int_t
schema_enum_typed(schema_place_t *place, schema_node_t *list, ngx_str_t *type)
{
    schema_node_t  *value;

    value = list->u.list.first;

    list->u.list.first = NULL;
    list->u.list.last = NULL;

    for ( /* void */ ; value; value = value->next) {

        if (schema_has_type(value, type)
            && schema_keep(place, list, value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
schema_has_type(schema_node_t *value, ngx_str_t *type)
{
    switch (value->type) {

    case NGX_CLAUDE_JSON_NULL:
        return ngx_claude_is(type, "null");

    case NGX_CLAUDE_JSON_FALSE:
    case NGX_CLAUDE_JSON_TRUE:
        return ngx_claude_is(type, "boolean");

    case NGX_CLAUDE_JSON_NUMBER:
        return ngx_claude_is(type, "number") || ngx_claude_is(type, "integer");

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_is(type, "string");

    default:
        return 0;
    }
}


/* the API wants a type: what allows anything is content with a scalar */

static ngx_int_t
schema_anything(schema_place_t *place, schema_node_t *out)
{
    schema_node_t        *any;
    ngx_claude_schema_t  *schema;

    schema = place->schema;

    if (schema->anything == NULL) {
        schema->anything = schema_scalars(place);
    }

    any = schema->anything ? schema_copy(place, schema->anything) : NULL;
    if (any == NULL) {
        return NGX_ERROR;
    }

    schema_add_word(out, SCHEMA_ANY_OF, any);

    return NGX_OK;
}


/* made once a schema: others have the same children */

static schema_node_t *
schema_scalars(schema_place_t *place)
{
    ngx_uint_t      i;
    schema_node_t  *any, *one;

    static const char  *types[] = { "string", "number", "boolean", "null" };

    any = schema_new(place, NGX_CLAUDE_JSON_ARRAY);
    if (any == NULL) {
        return NULL;
    }

    for (i = 0; i < 4; i++) {
        one = schema_new(place, NGX_CLAUDE_JSON_OBJECT);

        if (one == NULL || schema_put_type(place, one, types[i]) != NGX_OK) {
            return NULL;
        }

        schema_add(any, one);
    }

    return any;
}


static ngx_int_t
schema_put_type(schema_place_t *place, schema_node_t *out, const char *type)
{
    ngx_str_t       value;
    schema_node_t  *node;

    value.data = (u_char *) type;
    value.len = ngx_strlen(type);

    node = schema_string(place, &value);
    if (node == NULL) {
        return NGX_ERROR;
    }

    schema_add_word(out, SCHEMA_TYPE, node);

    return NGX_OK;
}
