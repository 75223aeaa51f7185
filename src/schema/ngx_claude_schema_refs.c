
/*
 * JSON schemas: references.  The client's point anywhere into its schema;
 * those made of them point into one $defs, where no definition stands inside
 * itself.
 */


#include "ngx_claude_schema_private.h"


typedef enum {
    SCHEMA_OPEN = 0,                    /* being rewritten */
    SCHEMA_READY,
    SCHEMA_IMPOSSIBLE
} schema_state_e;


/* a definition of ours */
typedef struct {
    schema_state_e            state;
    ngx_str_t                 name;     /* name in $defs */
    ngx_str_t                 pointer;
} schema_target_t;


/* marks: what is known of a client's node, by its address */
typedef struct {
    ngx_rbtree_node_t         node;
    schema_target_t          *level[SCHEMA_LEVELS];  /* copies of it around */
    schema_table_t            children;
    unsigned                  tabled:1;
} schema_mark_t;


static schema_mark_t *schema_mark(schema_place_t *place, schema_node_t *node);
static ngx_int_t schema_target(schema_place_t *place, schema_node_t *node,
    ngx_str_t *pointer, schema_rewrite_pt rewrite, schema_target_t **target);
static ngx_int_t schema_define(schema_place_t *place, schema_node_t *node,
    schema_rewrite_pt rewrite, schema_target_t *target, ngx_uint_t level);
static ngx_int_t schema_target_name(schema_place_t *place, ngx_str_t *pointer,
    schema_target_t *target);
static ngx_int_t schema_find_child(schema_place_t *place, schema_node_t **node,
    u_char *p, size_t len);


/*
 * A reference becomes one into the common $defs, and what it refers to is
 * rewritten there, once for each level: a reference to what stands around it
 * goes to the next one, and to none after the last.
 */

ngx_int_t
schema_reference(schema_place_t *place, schema_node_t *ref,
    schema_node_t *about, schema_rewrite_pt rewrite, schema_node_t **out)
{
    ngx_int_t         rc;
    schema_node_t    *node, *list;
    schema_target_t  *target;

    if (!schema_has(ref, STRING)) {
        return schema_refuse(place, "has a '$ref' that is not a string");
    }

    rc = schema_find(place, &ref->u.value, &node);

    if (rc == NGX_DECLINED) {
        return schema_refuse(place, "refers to what is not in the schema "
                             "itself");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = schema_target(place, node, &ref->u.value, rewrite, &target);
    if (rc != NGX_OK) {
        return rc;
    }

    node = schema_string(place, &target->pointer);
    *out = schema_new(place, NGX_CLAUDE_JSON_OBJECT);

    if (node == NULL || *out == NULL) {
        return NGX_ERROR;
    }

    schema_add_word(*out, SCHEMA_REF, node);

    /* nothing may stand beside a reference */

    if (about == NULL || !schema_has(about, STRING) || about->u.value.len == 0)
    {
        return NGX_OK;
    }

    node = *out;
    list = schema_new(place, NGX_CLAUDE_JSON_ARRAY);
    *out = schema_new(place, NGX_CLAUDE_JSON_OBJECT);

    if (list == NULL || *out == NULL) {
        return NGX_ERROR;
    }

    schema_add(list, node);
    schema_add_word(*out, SCHEMA_ANY_OF, list);

    return schema_keep(place, *out, about);
}


ngx_int_t
schema_root(schema_place_t *place, schema_node_t *node)
{
    schema_mark_t  *mark;

    mark = schema_mark(place, node);
    if (mark == NULL) {
        return NGX_ERROR;
    }

    /* a root takes a number, and no name that anybody could refer to */

    mark->level[0] = ngx_pcalloc(place->schema->scratch,
                                 sizeof(schema_target_t));
    place->schema->ntargets++;

    return mark->level[0] ? NGX_OK : NGX_ERROR;
}


static schema_mark_t *
schema_mark(schema_place_t *place, schema_node_t *node)
{
    ngx_rbtree_t       *marks;
    schema_mark_t      *mark;
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *at;

    marks = &place->schema->marks;
    key = (ngx_rbtree_key_t) (uintptr_t) node;

    for (at = marks->root;
         at != marks->sentinel;
         at = (key < at->key) ? at->left : at->right)
    {
        if (at->key == key) {
            return (schema_mark_t *) at;
        }
    }

    mark = ngx_pcalloc(place->schema->scratch, sizeof(schema_mark_t));

    if (mark) {
        schema_charge(place, 2 * SCHEMA_COST_NODE);

        mark->node.key = key;
        ngx_rbtree_insert(marks, &mark->node);
    }

    return mark;
}


static ngx_int_t
schema_target(schema_place_t *place, schema_node_t *node, ngx_str_t *pointer,
    schema_rewrite_pt rewrite, schema_target_t **target)
{
    ngx_int_t             rc;
    ngx_uint_t            level;
    schema_mark_t        *mark;
    schema_target_t      *t;
    ngx_claude_schema_t  *schema;

    schema = place->schema;

    mark = schema_mark(place, node);
    if (mark == NULL) {
        return NGX_ERROR;
    }

    level = place->level;

    while (level < SCHEMA_LEVELS && mark->level[level]
           && mark->level[level]->state == SCHEMA_OPEN)
    {
        level++;
    }

    if (level >= SCHEMA_LEVELS) {
        return SCHEMA_NEVER;
    }

    *target = mark->level[level];

    if (*target) {
        return ((*target)->state == SCHEMA_READY) ? NGX_OK : SCHEMA_NEVER;
    }

    if (schema->nreferences++ == SCHEMA_REFERENCES) {
        return schema_refuse(place, "is one reference too many");
    }

    t = ngx_pcalloc(schema->scratch, sizeof(schema_target_t));
    if (t == NULL) {
        return NGX_ERROR;
    }

    mark->level[level] = t;
    *target = t;

    rc = schema_target_name(place, pointer, t);

    return (rc == NGX_OK) ? schema_define(place, node, rewrite, t, level) : rc;
}


static ngx_int_t
schema_define(schema_place_t *place, schema_node_t *node,
    schema_rewrite_pt rewrite, schema_target_t *target, ngx_uint_t level)
{
    ngx_int_t           rc;
    schema_node_t      *out;
    schema_place_t      inner;
    ngx_claude_text_t  *defs;

    inner.schema = place->schema;
    inner.up = place;
    inner.name = target->name;
    inner.level = level;
    inner.depth = place->depth + 1;

    rc = rewrite(&inner, node, &out);

    if (rc == SCHEMA_NEVER) {
        target->state = SCHEMA_IMPOSSIBLE;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    target->state = SCHEMA_READY;

    /* the name needs no escapes: letters, digits, underscores */

    defs = &place->schema->defs;

    ngx_claude_out(ngx_claude_text_begin(defs), "%s\"%V\":",
                   defs->len ? "," : "", &target->name);

    if (ngx_claude_text_end(defs) != NGX_OK) {
        return NGX_ERROR;
    }

    return schema_put(place, out, defs);
}


/* names a definition: the pointer's last plain letters, and a number */

static ngx_int_t
schema_target_name(schema_place_t *place, ngx_str_t *pointer,
    schema_target_t *target)
{
    u_char  *p, *s, *last, *name;

    last = pointer->data + pointer->len;

    for (s = last; s > pointer->data && s[-1] != '/' && s[-1] != '#'; s--) {
        /* void */
    }

    p = ngx_pnalloc(place->schema->scratch, sizeof("#/$defs/") - 1
                    + 64 + 1 + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    target->pointer.data = p;

    p = ngx_cpymem(p, "#/$defs/", sizeof("#/$defs/") - 1);
    name = p;

    for ( /* void */ ; s < last && p < name + 64; s++) {
        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')
            || (*s >= '0' && *s <= '9') || *s == '_')
        {
            *p++ = *s;
        }
    }

    if (p == name) {
        p = ngx_cpymem(p, "root", 4);
    }

    /* numbers keep names apart; the first was a root's */

    p = ngx_sprintf(p, "_%ui", place->schema->ntargets++);

    target->name.data = name;
    target->name.len = p - name;
    target->pointer.len = p - target->pointer.data;

    return NGX_OK;
}


/* follows a JSON pointer in a URI's fragment (RFC 6901, section 6) */

ngx_int_t
schema_find(schema_place_t *place, ngx_str_t *pointer, schema_node_t **node)
{
    u_char               *p, *last, *step, *q;
    ngx_int_t             rc;
    ngx_claude_schema_t  *schema;

    schema = place->schema;

    p = pointer->data;
    last = p + pointer->len;

    if (p == last || *p++ != '#') {
        return NGX_DECLINED;
    }

    schema_charge(place, pointer->len * SCHEMA_COST_BYTE);

    if (schema->step.len < pointer->len) {
        schema->step.len = ngx_max(pointer->len, 2 * schema->step.len);
        schema->step.data = ngx_pnalloc(schema->scratch, schema->step.len);

        if (schema->step.data == NULL) {
            return NGX_ERROR;
        }
    }

    *node = schema->root;

    while (p < last) {

        if (*p++ != '/') {
            return NGX_DECLINED;
        }

        step = p;

        while (p < last && *p != '/') {
            p++;
        }

        q = schema->step.data;
        ngx_unescape_uri(&q, &step, p - step, 0);

        rc = schema_find_child(place, node, schema->step.data,
                               q - schema->step.data);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* goes one step; p: the step, whose escapes are decoded in place */

static ngx_int_t
schema_find_child(schema_place_t *place, schema_node_t **node, u_char *p,
    size_t len)
{
    size_t          i;
    ngx_int_t       index;
    ngx_str_t       name;
    schema_mark_t  *mark;

    /* a step of two bytes looks into two tables */

    schema_charge(place, SCHEMA_COST_STEP);

    mark = schema_mark(place, *node);
    if (mark == NULL) {
        return NGX_ERROR;
    }

    if (!mark->tabled) {
        if (schema_table(place, *node,
                         schema_has(*node, ARRAY) ? SCHEMA_BY_ORDER
                                                  : SCHEMA_BY_NAME,
                         &mark->children)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        mark->tabled = 1;
    }

    if (schema_has(*node, ARRAY)) {

        index = ngx_atoi(p, len);

        if (index < 0 || (ngx_uint_t) index >= mark->children.n) {
            return NGX_DECLINED;
        }

        *node = mark->children.entry[index].node;

        return NGX_OK;
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

    *node = schema_table_find(&mark->children, &name);

    return *node ? NGX_OK : NGX_DECLINED;
}
