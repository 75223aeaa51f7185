
/*
 * JSON schemas: references.  The client's point anywhere into its schema;
 * those made of them point into one $defs, where no definition stands inside
 * itself.
 */


#include "ngx_http_claude_schema_private.h"


static ngx_int_t schema_target(schema_place_t *place,
    ngx_http_claude_json_t *node, ngx_str_t *pointer, ngx_uint_t *target);
static ngx_int_t schema_target_name(schema_place_t *place,
    ngx_str_t *pointer, ngx_str_t *name);
static ngx_http_claude_json_t *schema_find_child(
    ngx_http_claude_json_t *node, u_char *p, size_t len);


/*
 * A reference becomes one into the common $defs, and what it refers to is
 * rewritten there, once for each level: a reference to what stands around it
 * goes to the next one, and to none after the last.
 */

ngx_int_t
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

ngx_http_claude_json_t *
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


ngx_http_claude_json_t *
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
