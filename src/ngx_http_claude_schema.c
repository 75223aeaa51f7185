
/*
 * JSON schemas for constrained output.  See the header.
 *
 * What the API takes was read from its documentation and from what public
 * SDKs send: the types, enum and const of scalars, anyOf, local references,
 * properties, required, closed objects, items, minItems of 0 and 1, and some
 * formats.
 */


#include "ngx_http_claude_schema.h"


/* how often a definition may stand inside itself */
#define SCHEMA_LEVELS    4

/*
 * Limits on the work, since references can make much of little: values of the
 * client's schema, nodes of the rewritten one (or 64 bytes of description),
 * and definitions.  Schemas that people write have hundreds.
 */
#define SCHEMA_VALUES    20000
#define SCHEMA_NODES     20000
#define SCHEMA_TARGETS   500
#define SCHEMA_DEPTH     300

/* that JSON has */
#define SCHEMA_TYPES     7


/* a rewriting's fourth result: nothing satisfies it, or it never ends */
#define SCHEMA_NEVER     NGX_DONE


typedef enum {
    SCHEMA_OPEN = 0,                    /* being rewritten */
    SCHEMA_READY,
    SCHEMA_IMPOSSIBLE
} schema_state_e;


typedef struct {
    ngx_http_claude_json_t   *node;     /* the client's */
    ngx_uint_t                level;    /* copies of it around */
    schema_state_e            state;
    ngx_str_t                 name;     /* in $defs */
} schema_target_t;


typedef struct schema_place_s  schema_place_t;

struct schema_place_s {
    ngx_http_claude_schema_t  *schema;
    schema_place_t            *up;
    ngx_str_t                  name;
    ngx_uint_t                 level;
    ngx_uint_t                 depth;
};


static ngx_uint_t schema_count(ngx_http_claude_json_t *node);
static ngx_int_t schema_spend(schema_place_t *place, ngx_uint_t nodes);
static ngx_int_t schema_walk(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t **out);
static ngx_int_t schema_step(schema_place_t *place, const char *name,
    ngx_str_t *more, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out);
static ngx_int_t schema_reference(schema_place_t *place,
    ngx_http_claude_json_t *ref, ngx_http_claude_json_t *in,
    ngx_http_claude_json_t **out);
static ngx_int_t schema_target(schema_place_t *place,
    ngx_http_claude_json_t *node, ngx_str_t *pointer, ngx_uint_t *target);
static ngx_int_t schema_target_name(schema_place_t *place,
    ngx_str_t *pointer, ngx_str_t *name);
static ngx_http_claude_json_t *schema_find(ngx_http_claude_schema_t *schema,
    ngx_str_t *pointer);
static ngx_http_claude_json_t *schema_find_child(
    ngx_http_claude_json_t *node, u_char *p, size_t len);
static ngx_http_claude_json_t *schema_named(ngx_http_claude_json_t *object,
    ngx_str_t *name);
static ngx_int_t schema_any_of(schema_place_t *place,
    ngx_http_claude_json_t *list, ngx_http_claude_json_t *out);
static ngx_int_t schema_all_of(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t *list,
    ngx_http_claude_json_t **out);
static ngx_int_t schema_merge(schema_place_t *place,
    ngx_http_claude_json_t *all, ngx_http_claude_json_t *one);
static ngx_int_t schema_merge_member(schema_place_t *place,
    ngx_http_claude_json_t *all, ngx_http_claude_json_t *member);
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
static ngx_int_t schema_words(schema_place_t *place,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t *out);
static ngx_uint_t schema_word_is_told(ngx_http_claude_json_t *member);
static ngx_uint_t schema_format(ngx_http_claude_json_t *node);
static ngx_uint_t schema_has_type(ngx_http_claude_json_t *value,
    ngx_str_t *type);
static ngx_int_t schema_tell(schema_place_t *place,
    ngx_http_claude_json_t *out, ngx_str_t *text);
static ngx_int_t schema_refuse(schema_place_t *place, const char *reason);
static ngx_http_claude_json_t *schema_copy(ngx_pool_t *pool,
    ngx_http_claude_json_t *node);
static ngx_int_t schema_put(schema_place_t *place,
    ngx_http_claude_json_t *out, const char *name,
    ngx_http_claude_json_type_e type, const char *value);
static ngx_int_t schema_keep(schema_place_t *place,
    ngx_http_claude_json_t *out, ngx_http_claude_json_t *member);


#define schema_is(s, literal)                                                 \
    ((s)->len == sizeof(literal) - 1                                          \
     && ngx_memcmp((s)->data, literal, sizeof(literal) - 1) == 0)

#define schema_same(a, b)                                                     \
    ((a)->len == (b)->len && ngx_memcmp((a)->data, (b)->data, (a)->len) == 0)

#define schema_member   ngx_http_claude_json_member
#define schema_new(p, type)                                                   \
    ngx_http_claude_schema_node((p)->schema->pool,                            \
                                NGX_HTTP_CLAUDE_JSON_ ## type, NULL)


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


static ngx_int_t
schema_spend(schema_place_t *place, ngx_uint_t nodes)
{
    place->schema->nodes += nodes;

    if (place->schema->nodes > SCHEMA_NODES) {
        return schema_refuse(place, "makes the schema too large");
    }

    return NGX_OK;
}


static ngx_int_t
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

static ngx_int_t
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


/*
 * A reference becomes one into the common $defs, and what it refers to is
 * rewritten there, once for each level: a reference to what stands around it
 * goes to the next one, and to none after the last.
 */

static ngx_int_t
schema_reference(schema_place_t *place, ngx_http_claude_json_t *ref,
    ngx_http_claude_json_t *in, ngx_http_claude_json_t **out)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_uint_t               n;
    schema_target_t         *target;
    ngx_http_claude_json_t  *node, *list, *about;

    if (ref->type != NGX_HTTP_CLAUDE_JSON_STRING) {
        return schema_refuse(place, "has a '$ref' that is not a string");
    }

    node = schema_find(place->schema, &ref->value);

    if (node == NULL) {
        return schema_refuse(place, "refers to what is not in the schema "
                             "itself");
    }

    rc = schema_target(place, node, &ref->value, &n);
    if (rc != NGX_OK) {
        return rc;
    }

    target = (schema_target_t *) place->schema->targets.elts + n;

    p = ngx_pnalloc(place->schema->pool,
                    sizeof("#/$defs/") - 1 + target->name.len);
    node = schema_new(place, STRING);
    *out = schema_new(place, OBJECT);

    if (p == NULL || node == NULL || *out == NULL) {
        return NGX_ERROR;
    }

    node->value.data = p;
    node->value.len = ngx_sprintf(p, "#/$defs/%V", &target->name) - p;
    ngx_http_claude_schema_add(*out, "$ref", node);

    /* nothing may stand beside a reference */

    about = schema_member(in, "description");

    if (about == NULL || about->type != NGX_HTTP_CLAUDE_JSON_STRING
        || about->value.len == 0)
    {
        return NGX_OK;
    }

    node = *out;
    list = schema_new(place, ARRAY);
    *out = schema_new(place, OBJECT);

    if (list == NULL || *out == NULL) {
        return NGX_ERROR;
    }

    ngx_http_claude_schema_add(list, NULL, node);
    ngx_http_claude_schema_add(*out, "anyOf", list);

    return schema_keep(place, *out, about);
}


static ngx_int_t
schema_target(schema_place_t *place, ngx_http_claude_json_t *node,
    ngx_str_t *pointer, ngx_uint_t *target)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, level;
    schema_place_t             inner;
    schema_target_t           *t;
    ngx_http_claude_json_t    *out;
    ngx_http_claude_schema_t  *schema;

    schema = place->schema;
    level = place->level;
    *target = 0;

again:

    t = schema->targets.elts;

    for (i = 0; i < schema->targets.nelts; i++) {

        if (t[i].node != node || t[i].level != level) {
            continue;
        }

        switch (t[i].state) {

        case SCHEMA_READY:
            *target = i;
            return NGX_OK;

        case SCHEMA_IMPOSSIBLE:
            return SCHEMA_NEVER;

        default: /* SCHEMA_OPEN */
            level++;
            goto again;
        }
    }

    if (level >= SCHEMA_LEVELS) {
        return SCHEMA_NEVER;
    }

    if (i >= SCHEMA_TARGETS) {
        return schema_refuse(place, "is one reference too many");
    }

    t = ngx_array_push(&schema->targets);
    if (t == NULL) {
        return NGX_ERROR;
    }

    t->node = node;
    t->level = level;
    t->state = SCHEMA_OPEN;

    rc = schema_target_name(place, pointer, &t->name);
    if (rc != NGX_OK) {
        return rc;
    }

    inner.schema = schema;
    inner.up = place;
    inner.name = t->name;
    inner.level = level;
    inner.depth = place->depth + 1;

    rc = schema_walk(&inner, node, &out);

    t = (schema_target_t *) schema->targets.elts + i;

    if (rc == SCHEMA_NEVER) {
        t->state = SCHEMA_IMPOSSIBLE;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    t->state = SCHEMA_READY;

    ngx_http_claude_schema_add(schema->defs, NULL, out);
    out->name = t->name;

    *target = i;

    return NGX_OK;
}


/* the last step of the pointer, as far as it is plain, and a number */

static ngx_int_t
schema_target_name(schema_place_t *place, ngx_str_t *pointer, ngx_str_t *name)
{
    u_char   *p, *s, *last;

    last = pointer->data + pointer->len;

    for (s = last; s > pointer->data && s[-1] != '/' && s[-1] != '#'; s--) {
        /* void */
    }

    name->data = ngx_pnalloc(place->schema->pool,
                             64 + 1 + NGX_INT_T_LEN);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    p = name->data;

    for ( /* void */ ; s < last && p < name->data + 64; s++) {
        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')
            || (*s >= '0' && *s <= '9') || *s == '_')
        {
            *p++ = *s;
        }
    }

    if (p == name->data) {
        p = ngx_cpymem(p, "root", 4);
    }

    /* its own number is that of the target, of which a root was the first */

    name->len = ngx_sprintf(p, "_%ui", place->schema->targets.nelts - 1)
                - name->data;

    return NGX_OK;
}


/* RFC 6901, as a fragment; NULL: nothing is there */

static ngx_http_claude_json_t *
schema_find(ngx_http_claude_schema_t *schema, ngx_str_t *pointer)
{
    u_char                  *p, *last, *step, *name, *q;
    ngx_http_claude_json_t  *node;

    p = pointer->data;
    last = p + pointer->len;

    if (p == last || *p++ != '#') {
        return NULL;
    }

    node = schema->root;

    name = ngx_pnalloc(schema->pool, pointer->len);
    if (name == NULL) {
        return NULL;
    }

    while (p < last && node) {

        if (*p++ != '/') {
            return NULL;
        }

        step = p;

        while (p < last && *p != '/') {
            p++;
        }

        q = name;
        ngx_unescape_uri(&q, &step, p - step, 0);
        node = schema_find_child(node, name, q - name);
    }

    return node;
}


/* p: a step of a pointer, which is decoded where it is */

static ngx_http_claude_json_t *
schema_find_child(ngx_http_claude_json_t *node, u_char *p, size_t len)
{
    size_t                   i;
    ngx_int_t                index;
    ngx_str_t                name;
    ngx_http_claude_json_t  *child;

    if (node->type == NGX_HTTP_CLAUDE_JSON_ARRAY) {

        index = ngx_atoi(p, len);

        for (child = node->first; child && index > 0; child = child->next) {
            index--;
        }

        return (index == 0) ? child : NULL;
    }

    name.data = p;
    name.len = 0;

    for (i = 0; i < len; i++) {

        p[name.len] = p[i];

        if (p[i] == '~' && i + 1 < len) {
            p[name.len] = (p[++i] == '1') ? '/' : '~';
        }

        name.len++;
    }

    return schema_named(node, &name);
}


static ngx_http_claude_json_t *
schema_named(ngx_http_claude_json_t *object, ngx_str_t *name)
{
    ngx_http_claude_json_t  *child, *found;

    found = NULL;

    for (child = object->first; child; child = child->next) {
        if (schema_same(&child->name, name)) {
            found = child;
        }
    }

    return found;
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


/*
 * Closed objects have no intersection, so the parts are made one schema
 * first.  A single part is how older generators wrote a description beside a
 * reference.
 */

static ngx_int_t
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


/* title and description, with all words in it that the API does not take */

static ngx_int_t
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

static ngx_uint_t
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


static ngx_uint_t
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

static ngx_int_t
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


/* "#/properties/a/items is ...": where, from the root on */

static ngx_int_t
schema_refuse(schema_place_t *place, const char *reason)
{
    u_char          *p, *start;
    size_t           len;
    schema_place_t  *up;

    len = 0;

    for (up = place; up; up = up->up) {
        len += up->name.len + 1;
    }

    start = ngx_pnalloc(place->schema->pool,
                        len + sizeof("''") + 1 + ngx_strlen(reason));
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start + 1 + len - 1;

    (void) ngx_sprintf(p, "' %s", reason);
    place->schema->reason.len = 1 + len - 1 + 2 + ngx_strlen(reason);

    for (up = place; up; up = up->up) {
        p -= up->name.len;
        ngx_memcpy(p, up->name.data, up->name.len);

        if (up->up) {
            *--p = '/';
        }
    }

    *start = '\'';
    place->schema->reason.data = start;

    return NGX_DECLINED;
}


/* a node that can have another parent; its children stay where they are */

static ngx_http_claude_json_t *
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


static ngx_int_t
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
