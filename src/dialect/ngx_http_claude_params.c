
/*
 * Members of a body that all dialects have.  See the header.
 */


#include "ngx_http_claude_params.h"
#include "ngx_claude_cstr.h"
#include "ngx_claude_utf8.h"
#include "ngx_http_claude_conf.h"
#include "ngx_http_claude_error.h"
#include "ngx_http_claude_models.h"
#include "ngx_http_claude_session.h"


#define PARAMS_STOPS    4
#define PARAMS_STOP     65536

/* what it costs to join a text to others, besides its bytes, see spend() */
#define PARAMS_JOIN     8

/* and each member that a search goes by */
#define PARAMS_SEARCH   2
#define PARAMS_TOKENS   10000000


static ngx_int_t params_default_model(ngx_http_claude_exchange_t *ex);
static ngx_int_t params_stop_add(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node);
static ngx_int_t params_sampling(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node, ngx_uint_t max,
    ngx_str_t *value);
static ngx_int_t params_text(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node, ngx_array_t *texts);
static ngx_int_t params_default_system(ngx_http_claude_exchange_t *ex);
static ngx_int_t params_join(ngx_http_claude_exchange_t *ex,
    ngx_array_t *texts);
static ngx_int_t params_join_room(ngx_http_claude_exchange_t *ex,
    ngx_array_t *texts);


#define params_error(ex, param, ...)                                          \
    ngx_http_claude_error_400((ex)->ctx, param, __VA_ARGS__)


ngx_int_t
ngx_http_claude_params(ngx_http_claude_exchange_t *ex)
{
    ngx_int_t                       rc;
    const char                     *name;
    const ngx_claude_json_field_t  *field;

    if (ex->body->type != NGX_CLAUDE_JSON_OBJECT) {
        return params_error(ex, NULL, "The request body must be an object "
                            "with %s.", ex->dialect->members);
    }

    if (ex->field == NULL) {
        ex->field = ex->dialect->fields;
    }

    for ( /* void */ ; ex->field->name.len; ex->field++) {

        field = ex->field;

        if (field->read == NULL) {
            continue;
        }

        if (ex->left == 0) {
            return NGX_AGAIN;
        }

        /* names in tables are literals */

        name = ngx_claude_cstr(field->name.data);

        ngx_http_claude_exchange_spend(ex, PARAMS_SEARCH
                                       * ngx_claude_json_members(ex->body));

        rc = field->read(ex, name, ngx_claude_json_field(ex->body, name));
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_request(ngx_http_claude_exchange_t *ex,
    ngx_claude_json_t *body)
{
    ngx_int_t           rc;
    ngx_claude_turn_t  *turn;

    rc = ngx_http_claude_params(ex);
    if (rc != NGX_OK) {
        return rc;
    }

    turn = &ex->turn;

    if (turn->system.len == 0) {
        rc = ngx_http_claude_params_system(ex, NULL);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (turn->messages.nelts == 0) {
        return params_error(ex, NULL, "The request has no message.");
    }

    if (ngx_claude_hash_zero(&turn->session.hash)) {
        rc = ngx_http_claude_session(ex->ctx, turn, turn->messages.nelts > 1);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ex->n > 1 && turn->session.continues) {

        /* only the session's process holds what came before */

        return params_error(ex, "n", "With 'n' the whole conversation must "
                            "be sent, not only what is new.");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_model(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_http_claude_ctx_t  *ctx;

    ctx = ex->ctx;

    if (node == NULL) {
        if (params_default_model(ex) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else if (node->type != NGX_CLAUDE_JSON_STRING) {
        return params_error(ex, name, "'%s' must be a string.", name);

    } else {
        ex->model = ngx_claude_json_value(node);
    }

    if (ngx_http_claude_models_find(ctx->request, &ex->model, &ex->turn.model)
        != NGX_OK)
    {
        ctx->error.final = 1;
        return ngx_http_claude_error(ctx, NGX_HTTP_NOT_FOUND,
                   "model_not_found", name, "The model '%V' does not exist "
                   "or you do not have access to it.", &ex->model);
    }

    ctx->model = ex->turn.model;

    return NGX_OK;
}


static ngx_int_t
params_default_model(ngx_http_claude_exchange_t *ex)
{
    ngx_http_request_t          *r;
    ngx_http_claude_loc_conf_t  *lcf;

    r = ex->ctx->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_http_complex_value(r, lcf->default_model, &ex->model) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ex->model.len == 0) {
        ngx_str_set(&ex->model, "sonnet");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_stream(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t   rc;
    ngx_uint_t  streamed;

    rc = ngx_http_claude_params_flag(ex, name, node, &streamed);

    if (rc == NGX_OK) {
        ex->streamed = streamed;
    }

    return rc;
}


ngx_int_t
ngx_http_claude_params_flag(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node, ngx_uint_t *value)
{
    if (node && node->type != NGX_CLAUDE_JSON_TRUE
        && node->type != NGX_CLAUDE_JSON_FALSE)
    {
        return params_error(ex, name, "'%s' must be a boolean.", name);
    }

    *value = (node && node->type == NGX_CLAUDE_JSON_TRUE);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_max_tokens(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node
        && ngx_claude_json_integer(node, 1, PARAMS_TOKENS,
                                   &ex->turn.max_tokens)
           != NGX_OK)
    {
        return params_error(ex, name, "'%s' must be an integer of at least 1.",
                            name);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_n(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    if (node
        && ngx_claude_json_integer(node, 1, NGX_HTTP_CLAUDE_ANSWERS, &ex->n)
           != NGX_OK)
    {
        return params_error(ex, name, "'%s' must be an integer from 1 to %d.",
                            name, NGX_HTTP_CLAUDE_ANSWERS);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_stop(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t  rc;

    if (node == NULL) {
        return NGX_OK;
    }

    if (node->type != NGX_CLAUDE_JSON_ARRAY) {
        return params_stop_add(ex, name, node);
    }

    for (node = ngx_claude_json_first(node);
         node;
         node = ngx_claude_json_next(node))
    {
        rc = params_stop_add(ex, name, node);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
params_stop_add(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node)
{
    ngx_str_t  *stop, value;

    value = ngx_claude_json_value(node);

    if (node->type != NGX_CLAUDE_JSON_STRING || value.len == 0
        || ex->turn.stops.nelts + ex->stops.nelts == PARAMS_STOPS)
    {
        return params_error(ex, name, "'%s' must be a string or an array of "
                            "up to %d strings.", name, PARAMS_STOPS);
    }

    if (value.len > PARAMS_STOP) {
        return params_error(ex, name, "'%s' is too long: a sequence may have "
                            "up to %d bytes.", name, PARAMS_STOP);
    }

    /* the provider takes no blank ones */

    if (ngx_claude_json_blank(node)) {
        return (ngx_http_claude_stops_add(&ex->stops, ex->turn.pool, &value)
                == NGX_OK)
               ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    stop = ngx_array_push(&ex->turn.stops);
    if (stop == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *stop = value;

    return NGX_OK;
}


/*
 * A number from 0 to max, of which the models take what is up to 1.  value:
 * where it goes if the location passes sampling on.
 */

static ngx_int_t
params_sampling(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node, ngx_uint_t max, ngx_str_t *value)
{
    double                       number;
    ngx_http_claude_loc_conf_t  *lcf;

    if (node == NULL) {
        return NGX_OK;
    }

    if (ngx_claude_json_double(node, 0, max, &number) != NGX_OK) {
        return params_error(ex, name, "'%s' must be a number from 0 to %ui.",
                            name, max);
    }

    lcf = ngx_http_get_module_loc_conf(ex->ctx->request,
                                       ngx_http_claude_module);

    if (!lcf->sampling) {
        return NGX_OK;
    }

    if (number > 1) {
        return params_error(ex, name, "The models take a '%s' from 0 to 1.",
                            name);
    }

    *value = ngx_claude_json_value(node);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_temperature(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    return params_sampling(ex, name, node, 2, &ex->turn.temperature);
}


ngx_int_t
ngx_http_claude_params_top_p(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    return params_sampling(ex, name, node, 1, &ex->turn.top_p);
}


/*
 * Asking for effort asks for reasoning, and shows it.  Not every model can
 * stop thinking, so "none" is "low" and not shown.
 */

ngx_int_t
ngx_http_claude_params_effort(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_uint_t  i;

    static struct {
        const char                *name;
        ngx_claude_effort_e        effort;
        ngx_uint_t                 thoughts;
    } efforts[] = {
        { "none",    NGX_CLAUDE_EFFORT_LOW,    0 },
        { "minimal", NGX_CLAUDE_EFFORT_LOW,    0 },
        { "low",     NGX_CLAUDE_EFFORT_LOW,    1 },
        { "medium",  NGX_CLAUDE_EFFORT_MEDIUM, 1 },
        { "high",    NGX_CLAUDE_EFFORT_HIGH,   1 },
        { "xhigh",   NGX_CLAUDE_EFFORT_XHIGH,  1 },
        { "max",     NGX_CLAUDE_EFFORT_MAX,    1 },
        { NULL, 0, 0 }
    };

    if (node == NULL) {
        return NGX_OK;
    }

    for (i = 0; efforts[i].name; i++) {
        if (ngx_claude_json_is(node, efforts[i].name)) {
            break;
        }
    }

    if (efforts[i].name == NULL) {
        return params_error(ex, name, "'%s' must be one of none, minimal, "
                            "low, medium, high, xhigh and max.", name);
    }

    ex->turn.effort = efforts[i].effort;
    ex->thoughts = efforts[i].thoughts;
    ex->turn.summarized = ex->thoughts
                          && ngx_http_claude_models_adaptive(&ex->turn.model);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_none(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t  n;

    if (node == NULL || node->type == NGX_CLAUDE_JSON_FALSE
        || (node->type >= NGX_CLAUDE_JSON_ARRAY
            && !ngx_claude_json_holds(node))
        || ngx_claude_json_integer(node, 0, 0, &n) == NGX_OK)
    {
        return NGX_OK;
    }

    return params_error(ex, name, "'%s' is not supported.", name);
}


ngx_int_t
ngx_http_claude_params_other(void *data, const char *name,
    ngx_claude_json_t *node)
{
    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_user(void *data, const char *name,
    ngx_claude_json_t *node)
{
    ngx_http_claude_exchange_t *ex = data;

    ngx_int_t            rc;
    ngx_str_t           *text;
    ngx_uint_t           i;
    ngx_array_t          texts;
    ngx_claude_block_t  *block;

    if (ngx_array_init(&texts, ex->ctx->scratch, 2, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_claude_params_texts(ex, name, node, NGX_MAX_INT_T_VALUE,
                                      &texts);
    if (rc != NGX_OK) {
        return rc;
    }

    text = texts.elts;

    for (i = 0; i < texts.nelts; i++) {
        block = ngx_claude_turn_add(&ex->turn, NGX_CLAUDE_USER,
                                    NGX_CLAUDE_TEXT);
        if (block == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        block->text = text[i];
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_texts(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node, ngx_uint_t max, ngx_array_t *texts)
{
    ngx_int_t  rc;

    if (node == NULL) {
        return params_error(ex, name, "'%s' is missing: it must be a string "
                            "or an array of strings.", name);
    }

    if (node->type == NGX_CLAUDE_JSON_STRING) {
        return params_text(ex, name, node, texts);
    }

    node = (node->type == NGX_CLAUDE_JSON_ARRAY)
           ? ngx_claude_json_first(node) : NULL;

    if (node == NULL) {
        return params_error(ex, name, "'%s' must be a string or an array of "
                            "strings.", name);
    }

    for ( /* void */ ;
         node && texts->nelts <= max;
         node = ngx_claude_json_next(node))
    {
        rc = params_text(ex, name, node, texts);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
params_text(ngx_http_claude_exchange_t *ex, const char *name,
    ngx_claude_json_t *node, ngx_array_t *texts)
{
    ngx_str_t  *text;

    if (node->type != NGX_CLAUDE_JSON_STRING) {

        /* numbers are tokens, of a tokenizer that is not the model's */

        return params_error(ex, name, "'%s' must be a string or an array of "
                            "strings; tokens are not supported.", name);
    }

    if (ngx_claude_json_blank(node)) {
        return params_error(ex, name, "'%s' is blank: it must have some text.",
                            name);
    }

    text = ngx_array_push(texts);
    if (text == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *text = ngx_claude_json_value(node);

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_schema(ngx_http_claude_exchange_t *ex,
    const char *name, ngx_claude_json_t *node, ngx_str_t *description)
{
    ngx_int_t            rc;
    ngx_claude_text_t    text;
    ngx_claude_schema_t  schema;

    if (ngx_claude_schema_init(&schema, &ex->schemas, ex->turn.log)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&text, sizeof(ngx_claude_text_t));
    text.pool = ex->ctx->scratch;

    rc = ngx_claude_schema_rewrite(&schema, node, description, &text);

    if (rc == NGX_DECLINED) {
        rc = params_error(ex, name, "'%s' cannot be done: %V.", name,
                          &schema.reason);

    } else if (rc != NGX_OK
               || ngx_claude_schema_defs(&schema, &text) != NGX_OK
               || ngx_claude_text_copy(&text, ex->turn.pool, &ex->turn.schema)
                  != NGX_OK)
    {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_claude_schema_done(&schema);

    return rc;
}


ngx_int_t
ngx_http_claude_params_system(ngx_http_claude_exchange_t *ex,
    ngx_array_t *texts)
{
    ngx_int_t   rc;
    ngx_str_t  *words;

    /* the model is told of an object in the system text, and nowhere else */

    static ngx_str_t  object = ngx_string("Answer with one JSON object and "
                                          "nothing else: no text before or "
                                          "after it, no code fence.");

    if (texts && texts->nelts) {

        if (ex->object && ex->join.text.data == NULL) {
            words = ngx_array_push(texts);
            if (words == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

            *words = object;
        }

        ex->turn.session.system = 1;
        rc = params_join(ex, texts);

        if (rc == NGX_OK) {
            ex->turn.system = ex->join.text;
        }

        return (rc == NGX_ERROR) ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    if (params_default_system(ex) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ex->object ? ngx_http_claude_params_words(ex, &object) : NGX_OK;
}


static ngx_int_t
params_default_system(ngx_http_claude_exchange_t *ex)
{
    ngx_http_request_t          *r;
    ngx_http_claude_loc_conf_t  *lcf;

    r = ex->ctx->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_claude_module);

    if (ngx_http_complex_value(r, lcf->system_prompt, &ex->turn.system)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the CLI takes no empty one, and would say that it is Claude Code */

    if (ngx_claude_utf8_blank(&ex->turn.system)) {
        ngx_str_set(&ex->turn.system, "You are a helpful assistant.");
    }

    return NGX_OK;
}


/* a blank line between two.  NGX_AGAIN: the slice has nothing left */

static ngx_int_t
params_join(ngx_http_claude_exchange_t *ex, ngx_array_t *texts)
{
    size_t                   n;
    ngx_str_t               *text;
    ngx_http_claude_join_t  *join;

    join = &ex->join;
    text = texts->elts;

    if (texts->nelts == 1) {
        join->text = text[0];
        return NGX_OK;
    }

    if (join->text.data == NULL && params_join_room(ex, texts) != NGX_OK) {
        return NGX_ERROR;
    }

    while (join->n < texts->nelts) {

        if (ex->left == 0) {
            return NGX_AGAIN;
        }

        if (join->n && join->offset == 0) {
            ngx_memcpy(join->text.data + join->text.len, "\n\n", 2);
            join->text.len += 2;
        }

        n = ngx_min(text[join->n].len - join->offset, ex->left);

        ngx_memcpy(join->text.data + join->text.len,
                   text[join->n].data + join->offset, n);

        join->text.len += n;
        join->offset += n;

        ngx_http_claude_exchange_spend(ex, PARAMS_JOIN + n);

        if (join->offset == text[join->n].len) {
            join->offset = 0;
            join->n++;
        }
    }

    return NGX_OK;
}


static ngx_int_t
params_join_room(ngx_http_claude_exchange_t *ex, ngx_array_t *texts)
{
    size_t       len;
    ngx_str_t   *text;
    ngx_uint_t   i;

    text = texts->elts;
    len = 0;

    for (i = 0; i < texts->nelts; i++) {
        len += text[i].len + 2;
    }

    ex->join.text.data = ngx_pnalloc(ex->turn.pool, len);

    return ex->join.text.data ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_claude_params_words(ngx_http_claude_exchange_t *ex, ngx_str_t *words)
{
    u_char     *p;
    ngx_str_t  *system;

    system = &ex->turn.system;

    if (system->len == 0 && params_default_system(ex) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_pnalloc(ex->turn.pool, system->len + 2 + words->len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    system->len = ngx_sprintf(p, "%V\n\n%V", system, words) - p;
    system->data = p;

    return NGX_OK;
}


ngx_int_t
ngx_http_claude_params_conversation(ngx_http_claude_exchange_t *ex,
    const char *name)
{
    ngx_uint_t             n;
    ngx_claude_message_t  *message;

    message = ex->turn.messages.elts;
    n = ex->turn.messages.nelts;

    if (n == 0) {
        return params_error(ex, name, "'%s' must have a message of the user.",
                            name);
    }

    if (message[0].role != NGX_CLAUDE_USER) {
        return params_error(ex, name, "The first message after the system's "
                            "must be the user's.");
    }

    if (message[n - 1].role != NGX_CLAUDE_USER) {
        return params_error(ex, name, "The last message must be the user's: "
                            "the models do not continue a message of their "
                            "own.");
    }

    return ngx_http_claude_session(ex->ctx, &ex->turn, n > 1);
}
