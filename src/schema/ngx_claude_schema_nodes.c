
/*
 * JSON schemas: nodes.  The client's tree as nodes of the room's own, words
 * and tables in place of looking for names, and the way back to text; what a
 * node costs, and what is said to the client of one that cannot be.
 */


#include "ngx_claude_schema_private.h"
#include "ngx_claude_table.h"


static ngx_int_t schema_import_node(schema_place_t *place,
    ngx_claude_json_t *json, schema_node_t **node);
static schema_word_e schema_word_of(ngx_str_t *name);
static int ngx_libc_cdecl schema_compare(const void *one, const void *two);
static ngx_int_t schema_compare_keys(ngx_str_t *one, ngx_str_t *two);


/* words from the shortest on: schema_word_of() stops at one that is longer */

static ngx_str_t  schema_known[] = {
    [SCHEMA_OTHER] = ngx_null_string,
    [SCHEMA_ID4] = ngx_string("id"),
    [SCHEMA_ID] = ngx_string("$id"),
    [SCHEMA_REF] = ngx_string("$ref"),
    [SCHEMA_TYPE] = ngx_string("type"),
    [SCHEMA_ENUM] = ngx_string("enum"),
    [SCHEMA_DEFS] = ngx_string("$defs"),
    [SCHEMA_ITEMS] = ngx_string("items"),
    [SCHEMA_CONST] = ngx_string("const"),
    [SCHEMA_ANY_OF] = ngx_string("anyOf"),
    [SCHEMA_ONE_OF] = ngx_string("oneOf"),
    [SCHEMA_ALL_OF] = ngx_string("allOf"),
    [SCHEMA_TITLE] = ngx_string("title"),
    [SCHEMA_FORMAT] = ngx_string("format"),
    [SCHEMA_SCHEMA] = ngx_string("$schema"),
    [SCHEMA_ANCHOR] = ngx_string("$anchor"),
    [SCHEMA_COMMENT] = ngx_string("$comment"),
    [SCHEMA_REQUIRED] = ngx_string("required"),
    [SCHEMA_MIN_ITEMS] = ngx_string("minItems"),
    [SCHEMA_PROPERTIES] = ngx_string("properties"),
    [SCHEMA_DEFINITIONS] = ngx_string("definitions"),
    [SCHEMA_PREFIX_ITEMS] = ngx_string("prefixItems"),
    [SCHEMA_DESCRIPTION] = ngx_string("description"),
    [SCHEMA_DISCRIMINATOR] = ngx_string("discriminator"),
    [SCHEMA_ADDITIONAL] = ngx_string("additionalProperties")
};

ngx_claude_table_check(schema_known, SCHEMA_NWORDS);


ngx_int_t
schema_import(schema_place_t *place, ngx_claude_json_t *json,
    schema_node_t **node)
{
    ngx_int_t                  rc;
    ngx_claude_schema_t       *schema;
    ngx_claude_schema_work_t  *work;

    schema = place->schema;
    work = schema->work;

    if (json == NULL) {
        *node = schema_new(place, NGX_CLAUDE_JSON_OBJECT);
        rc = *node ? NGX_OK : NGX_ERROR;

    } else {
        rc = schema_import_node(place, json, node);
    }

    work->brought += SCHEMA_WORK_EACH + SCHEMA_WORK_BYTE * schema->len
                     + SCHEMA_WORK_VALUE * schema->nvalues;

    return (rc == NGX_OK) ? schema_check(place) : rc;
}


static ngx_int_t
schema_import_node(schema_place_t *place, ngx_claude_json_t *json,
    schema_node_t **node)
{
    ngx_int_t             rc;
    ngx_str_t             name, value;
    schema_node_t        *one;
    ngx_claude_json_t    *child;
    ngx_claude_schema_t  *schema;

    schema = place->schema;

    if (schema->nvalues++ == SCHEMA_VALUES) {
        return schema_refuse(place, "is too large: it has more than 20,000 "
                             "values");
    }

    *node = schema_new(place, json->type);
    if (*node == NULL) {
        return NGX_ERROR;
    }

    name = ngx_claude_json_name(json);

    (*node)->name = name;
    schema->len += name.len ? name.len + sizeof("\"\":,") - 1 : 1;

    if (!schema_list(*node)) {

        /* null, false and true have no value */

        value = ngx_claude_json_value(json);

        (*node)->u.value = value;
        schema->len += value.len + sizeof("\"\"") - 1;

        return (schema->len <= SCHEMA_BYTES)
               ? NGX_OK : schema_refuse(place, "is too large: it has more "
                                        "than 1 MB");
    }

    schema->len += sizeof("{}") - 1;

    for (child = ngx_claude_json_first(json);
         child;
         child = ngx_claude_json_next(child))
    {
        rc = schema_import_node(place, child, &one);
        if (rc != NGX_OK) {
            return rc;
        }

        if (json->type == NGX_CLAUDE_JSON_OBJECT) {
            one->word = schema_word_of(&one->name);
        }

        schema_add(*node, one);
    }

    return NGX_OK;
}


static schema_word_e
schema_word_of(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 1; i < SCHEMA_NWORDS && schema_known[i].len <= name->len; i++) {
        if (ngx_claude_same(&schema_known[i], name)) {
            return i;
        }
    }

    return SCHEMA_OTHER;
}


schema_node_t *
schema_new(schema_place_t *place, ngx_claude_json_type_e type)
{
    schema_node_t  *node;

    schema_charge(place, SCHEMA_COST_NODE);

    node = ngx_pcalloc(place->schema->scratch, sizeof(schema_node_t));

    if (node) {
        node->type = type;
    }

    return node;
}


schema_node_t *
schema_string(schema_place_t *place, ngx_str_t *value)
{
    schema_node_t  *node;

    node = schema_new(place, NGX_CLAUDE_JSON_STRING);

    if (node) {
        node->u.value = *value;
    }

    return node;
}


schema_node_t *
schema_copy(schema_place_t *place, schema_node_t *node)
{
    schema_node_t  *copy;

    copy = schema_new(place, node->type);

    if (copy) {
        *copy = *node;
        copy->next = NULL;
    }

    return copy;
}


void
schema_add(schema_node_t *parent, schema_node_t *node)
{
    if (parent->u.list.last) {
        parent->u.list.last->next = node;

    } else {
        parent->u.list.first = node;
    }

    parent->u.list.last = node;
}


void
schema_add_word(schema_node_t *parent, schema_word_e word, schema_node_t *node)
{
    node->name = schema_known[word];
    node->word = word;

    schema_add(parent, node);
}


ngx_int_t
schema_keep(schema_place_t *place, schema_node_t *out, schema_node_t *member)
{
    schema_node_t  *node;

    node = schema_copy(place, member);
    if (node == NULL) {
        return NGX_ERROR;
    }

    schema_add(out, node);

    return NGX_OK;
}


schema_node_t *
schema_word(schema_node_t *object, schema_word_e word)
{
    schema_node_t  *node, *found;

    if (!schema_has(object, OBJECT)) {
        return NULL;
    }

    found = NULL;

    for (node = object->u.list.first; node; node = node->next) {
        if (node->word == word) {
            found = node;
        }
    }

    return found;
}


void
schema_members(schema_place_t *place, schema_node_t *object,
    schema_node_t **words)
{
    schema_node_t  *node;

    ngx_memzero(words, SCHEMA_NWORDS * sizeof(schema_node_t *));

    if (!schema_has(object, OBJECT)) {
        return;
    }

    for (node = object->u.list.first; node; node = node->next) {
        words[node->word] = node;
        schema_charge(place, SCHEMA_COST_LOOK);
    }

    words[SCHEMA_OTHER] = NULL;
}


ngx_int_t
schema_table(schema_place_t *place, schema_node_t *list, schema_table_e by,
    schema_table_t *table)
{
    ngx_uint_t       n;
    schema_node_t   *node;
    schema_entry_t  *entry;

    n = 0;

    for (node = schema_first(list); node; node = node->next) {
        n++;
    }

    schema_charge(place, n * SCHEMA_COST_NODE);

    table->n = 0;
    table->entry = ngx_palloc(place->schema->scratch,
                              ngx_max(n, 1) * sizeof(schema_entry_t));
    if (table->entry == NULL) {
        return NGX_ERROR;
    }

    for (node = schema_first(list); node; node = node->next) {

        if (by == SCHEMA_BY_VALUE && !schema_has(node, STRING)) {
            continue;
        }

        entry = &table->entry[table->n];
        entry->key = (by == SCHEMA_BY_VALUE) ? &node->u.value : &node->name;
        entry->node = node;
        entry->n = table->n++;
    }

    if (by != SCHEMA_BY_ORDER && table->n > 1) {

        /* libc's is a merge sort, or one that is never quadratic either */

        ngx_qsort(table->entry, (size_t) table->n, sizeof(schema_entry_t),
                  schema_compare);
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
schema_compare(const void *one, const void *two)
{
    ngx_int_t              rc;
    const schema_entry_t  *a = one, *b = two;

    rc = schema_compare_keys(a->key, b->key);

    if (rc == 0) {
        rc = (a->n < b->n) ? -1 : 1;
    }

    return (rc > 0) - (rc < 0);
}


/* orders keys; any order will do, so lengths come first */

static ngx_int_t
schema_compare_keys(ngx_str_t *one, ngx_str_t *two)
{
    if (one->len != two->len) {
        return (one->len < two->len) ? -1 : 1;
    }

    return ngx_memcmp(one->data, two->data, one->len);
}


schema_node_t *
schema_table_find(schema_table_t *table, ngx_str_t *key)
{
    ngx_uint_t  low, high, middle;

    /* low becomes the first entry that is greater than the key */

    low = 0;
    high = table->n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (schema_compare_keys(table->entry[middle].key, key) > 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return (low && ngx_claude_same(table->entry[low - 1].key, key))
           ? table->entry[low - 1].node : NULL;
}


size_t
schema_length(schema_node_t *node)
{
    size_t          len;
    schema_node_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
    case NGX_CLAUDE_JSON_TRUE:
        return 4;

    case NGX_CLAUDE_JSON_FALSE:
        return 5;

    case NGX_CLAUDE_JSON_NUMBER:
        return node->u.value.len;

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_json_escaped_len(node->u.value.data,
                                       node->u.value.len);
    }

    len = 2;

    for (child = node->u.list.first; child; child = child->next) {
        len += schema_length(child) + 1;

        if (schema_has(node, OBJECT)) {
            len += ngx_claude_json_escaped_len(child->name.data,
                                           child->name.len)
                   + 1;
        }
    }

    return len;
}


u_char *
schema_write(u_char *p, schema_node_t *node)
{
    schema_node_t  *child;

    switch (node->type) {

    case NGX_CLAUDE_JSON_NULL:
        return ngx_cpymem(p, "null", 4);

    case NGX_CLAUDE_JSON_FALSE:
        return ngx_cpymem(p, "false", 5);

    case NGX_CLAUDE_JSON_TRUE:
        return ngx_cpymem(p, "true", 4);

    case NGX_CLAUDE_JSON_NUMBER:
        return ngx_cpymem(p, node->u.value.data, node->u.value.len);

    case NGX_CLAUDE_JSON_STRING:
        return ngx_claude_json_escape(p, node->u.value.data,
                                      node->u.value.len);
    }

    *p++ = schema_has(node, OBJECT) ? '{' : '[';

    for (child = node->u.list.first; child; child = child->next) {

        if (schema_has(node, OBJECT)) {
            p = ngx_claude_json_escape(p, child->name.data,
                                       child->name.len);
            *p++ = ':';
        }

        p = schema_write(p, child);

        if (child->next) {
            *p++ = ',';
        }
    }

    *p++ = schema_has(node, OBJECT) ? '}' : ']';

    return p;
}


ngx_int_t
schema_put(schema_place_t *place, schema_node_t *node,
    ngx_claude_text_t *text)
{
    u_char     *p;
    size_t      len;
    ngx_int_t   rc;

    len = schema_length(node);
    schema_charge(place, len * SCHEMA_COST_BYTE);

    rc = schema_check(place);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_claude_text_room(text, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len = schema_write(p, node) - text->data;

    return NGX_OK;
}


/*
 * Sets the reason, "'#/properties/a/items' is ...": where, from the root on,
 * but of a place that is very deep or has very long names only as much as a
 * message can hold.
 */

ngx_int_t
schema_refuse(schema_place_t *place, const char *reason)
{
    u_char          *p, *start, *last;
    size_t           len, name;
    schema_place_t  *up;

    len = ngx_strlen(reason);

    start = ngx_pnalloc(place->schema->pool, SCHEMA_PLACE + sizeof("...")
                        + sizeof("'' ") + 1 + len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    last = start + SCHEMA_PLACE + sizeof("...") + 1;
    p = last;

    for (up = place; up; up = up->up) {

        name = ngx_min(up->name.len, SCHEMA_PLACE_NAME);

        if ((size_t) (p - start) < name + sizeof("'.../...")) {
            p -= 3;
            ngx_memcpy(p, "...", 3);
            break;
        }

        if (name < up->name.len) {
            p -= 3;
            ngx_memcpy(p, "...", 3);
        }

        /* an empty name may have no address */

        if (name) {
            p -= name;
            ngx_memcpy(p, up->name.data, name);
        }

        if (up->up) {
            *--p = '/';
        }
    }

    *--p = '\'';

    place->schema->reason.data = p;
    place->schema->reason.len = ngx_sprintf(last, "' %s", reason) - p;

    return NGX_DECLINED;
}


ngx_int_t
schema_check(schema_place_t *place)
{
    ngx_claude_schema_work_t  *work;

    work = place->schema->work;

    if (work->spent <= SCHEMA_WORK + work->brought) {
        return NGX_OK;
    }

    return schema_refuse(place, "makes the schemas of the request too large, "
                         "with all that is to be repeated in them");
}
