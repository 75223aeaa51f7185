
/*
 * The CLI's protocol, writing: one function a line that the CLI takes.  Text
 * of clients goes in by reference and is escaped as the pipe drains.
 */


#include "ngx_claude_cli_private.h"
#include "ngx_claude_json.h"


/* in the place of the CLI's own, whose display is "updates" */
#define CLI_THINKING                                                          \
    ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}"

/* the CLI merges this object, so its own output_config.effort stays */
#define CLI_FORMAT                                                            \
    ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":"


/* by ngx_claude_effort_e */

static ngx_str_t  cli_efforts[] = {
    ngx_string("null"),
    ngx_string("\"low\""),
    ngx_string("\"medium\""),
    ngx_string("\"high\""),
    ngx_string("\"xhigh\""),
    ngx_string("\"max\"")
};


static ngx_int_t cli_ask(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    const char *request);
static ngx_int_t cli_extra_body(ngx_claude_outbox_t *outbox,
    ngx_claude_turn_t *turn);
static u_char *cli_copy(u_char *p, const char *text);


ngx_int_t
ngx_claude_cli_initialize(ngx_claude_outbox_t *outbox,
    ngx_uint_t id)
{
    return cli_ask(outbox, id, "{\"subtype\":\"initialize\"}}\n");
}


ngx_int_t
ngx_claude_cli_get_version(ngx_claude_outbox_t *outbox,
    ngx_uint_t id)
{
    return cli_ask(outbox, id, "{\"subtype\":\"get_binary_version\"}}\n");
}


ngx_int_t
ngx_claude_cli_list_models(ngx_claude_outbox_t *outbox,
    ngx_uint_t id)
{
    return cli_ask(outbox, id, "{\"subtype\":\"list_models\"}}\n");
}


/* without a look at all transcripts on disk, and not in the way of turns */

ngx_int_t
ngx_claude_cli_get_usage(ngx_claude_outbox_t *outbox,
    ngx_uint_t id)
{
    return cli_ask(outbox, id, "{\"subtype\":\"get_usage\","
                   "\"skip_behaviors\":true,\"detached\":true}}\n");
}


/* request: a literal, the rest of the line */

static ngx_int_t
cli_ask(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    const char *request)
{
    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_claude_outbox_put(outbox, (u_char *) request,
                                  ngx_strlen(request));
}


ngx_int_t
ngx_claude_cli_set_model(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_str_t *model, ngx_str_t *system)
{
    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"subtype\":\"set_model\",\"model\":");
    escape(model);
    put(",\"system_prompt\":");
    escape(system);
    put("}}\n");

    return NGX_OK;
}


/*
 * All knobs, at every turn: what was set once stays set in the CLI until
 * something else is.  An empty value takes a knob back.
 */

ngx_int_t
ngx_claude_cli_settings(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_claude_turn_t *turn)
{
    u_char  buf[NGX_INT_T_LEN], *p;

    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"subtype\":\"apply_flag_settings\",\"settings\":"
        "{\"effortLevel\":");

    if (ngx_claude_outbox_put(outbox,
                               cli_efforts[turn->effort].data,
                               cli_efforts[turn->effort].len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    put(",\"env\":{\"CLAUDE_CODE_MAX_OUTPUT_TOKENS\":\"");

    if (turn->max_tokens) {
        p = ngx_sprintf(buf, "%i", turn->max_tokens);

        if (ngx_claude_outbox_copy(outbox, buf, p - buf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (turn->thoughtless) {
        put("\",\"CLAUDE_CODE_DISABLE_THINKING\":\"1");

    } else {
        put("\",\"CLAUDE_CODE_DISABLE_THINKING\":\"");
    }

    put("\",\"CLAUDE_CODE_EXTRA_BODY\":");

    if (cli_extra_body(outbox, turn) != NGX_OK) {
        return NGX_ERROR;
    }

    put("}}}}\n");

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_interrupt(ngx_claude_outbox_t *outbox,
    ngx_uint_t id)
{
    return cli_ask(outbox, id, "{\"subtype\":\"interrupt\"}}\n");
}


/* cuts the conversation just before the user's line `target` */

ngx_int_t
ngx_claude_cli_rewind(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    u_char *nonce, ngx_uint_t target, ngx_uint_t newest)
{
    u_char  uuid[NGX_CLAUDE_UUID_LEN];

    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"subtype\":\"rewind_conversation\",\"target_message_uuid\":\"");

    ngx_claude_cli_uuid(uuid, nonce, target);

    if (ngx_claude_outbox_copy(outbox, uuid, sizeof(uuid)) != NGX_OK) {
        return NGX_ERROR;
    }

    put("\",\"last_seen_user_message_uuid\":\"");

    ngx_claude_cli_uuid(uuid, nonce, newest);

    if (ngx_claude_outbox_copy(outbox, uuid, sizeof(uuid)) != NGX_OK) {
        return NGX_ERROR;
    }

    put("\"}}\n");

    return NGX_OK;
}


/* the same by the uuid of a line that is the newest one of the user */

ngx_int_t
ngx_claude_cli_rewind_line(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, const char *uuid)
{
    size_t   len;
    u_char  *p;

    p = (u_char *) uuid;
    len = ngx_strlen(uuid);

    if (ngx_claude_cli_control(outbox, id) != NGX_OK) {
        return NGX_ERROR;
    }

    put("{\"subtype\":\"rewind_conversation\",\"target_message_uuid\":\"");

    if (ngx_claude_outbox_copy(outbox, p, len) != NGX_OK) {
        return NGX_ERROR;
    }

    put("\",\"last_seen_user_message_uuid\":\"");

    if (ngx_claude_outbox_copy(outbox, p, len) != NGX_OK) {
        return NGX_ERROR;
    }

    put("\"}}\n");

    return NGX_OK;
}


/* the CLI asks for something that we never offered */

ngx_int_t
ngx_claude_cli_refuse(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id)
{
    if (ngx_claude_cli_response(outbox, "error", request_id) != NGX_OK) {
        return NGX_ERROR;
    }

    put(",\"error\":\"not supported\"}}\n");

    return NGX_OK;
}


ngx_int_t
ngx_claude_cli_control(ngx_claude_outbox_t *outbox, ngx_uint_t id)
{
    u_char  buf[NGX_INT_T_LEN], *p;

    put("{\"type\":\"control_request\",\"request_id\":\"");

    p = ngx_sprintf(buf, "%ui", id);

    if (ngx_claude_outbox_copy(outbox, buf, p - buf) != NGX_OK) {
        return NGX_ERROR;
    }

    put("\",\"request\":");

    return NGX_OK;
}


/* the beginning of an answer to a control request, with its first members */

ngx_int_t
ngx_claude_cli_response(ngx_claude_outbox_t *outbox,
    const char *subtype, ngx_str_t *request_id)
{
    size_t     max;
    u_char    *buf, *p;
    ngx_int_t  rc;

    put("{\"type\":\"control_response\",\"response\":{\"subtype\":\"");

    if (ngx_claude_outbox_put(outbox, (u_char *) subtype,
                               ngx_strlen(subtype))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    put("\",\"request_id\":");

    /* the id is valid during the call only */

    max = ngx_claude_json_escaped_max(request_id->len);

    buf = ngx_alloc(max, outbox->log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = ngx_claude_json_escape(buf, request_id->data, request_id->len);
    rc = ngx_claude_outbox_copy(outbox, buf, p - buf);

    ngx_free(buf);

    return rc;
}


u_char *
ngx_claude_cli_uuid(u_char *p, u_char *nonce, ngx_uint_t n)
{
    /*
     * A version 4, variant 1 UUID.  The number comes first: the CLI takes
     * two lines for one when the first 24 characters of their uuids match.
     */

    return ngx_sprintf(p, "%08xD-%02xd%02xd-4%02xd%xd-8%xd%02xd-"
                       "%02xd%02xd%02xd%02xd%02xd%02xd",
                       (uint32_t) n, nonce[0], nonce[1], nonce[2],
                       nonce[3] & 0xf, nonce[3] >> 4, nonce[4], nonce[5],
                       nonce[6], nonce[7], nonce[8], nonce[9], nonce[10]);
}


/*
 * What is merged into the upstream body: a short list of fields, each written
 * here, since the CLI would let this replace anything at all.  It is a string
 * that holds JSON: tools and schemas came as trees, so it costs no more than
 * they did.
 */

static ngx_int_t
cli_extra_body(ngx_claude_outbox_t *outbox,
    ngx_claude_turn_t *turn)
{
    u_char      *json, *p;
    size_t       len;
    ngx_str_t   *stop;
    ngx_uint_t   i;

    stop = turn->stops.elts;

    if (turn->stops.nelts == 0 && turn->temperature.len == 0
        && turn->top_p.len == 0 && turn->tools_json.len == 0
        && turn->schema.len == 0 && !turn->summarized)
    {
        put("\"\"");
        return NGX_OK;
    }

    len = sizeof("{\"stop_sequences\":[],\"temperature\":,\"top_p\":,"
                 "\"tools\":,\"tool_choice\":}")
          + turn->temperature.len + turn->top_p.len
          + turn->tools_json.len + turn->tool_choice.len
          + sizeof(CLI_FORMAT "}}") + turn->schema.len
          + sizeof(CLI_THINKING);

    for (i = 0; i < turn->stops.nelts; i++) {
        len += ngx_claude_json_escaped_len(stop[i].data, stop[i].len)
               + 1;
    }

    json = ngx_palloc(turn->pool, len);
    if (json == NULL) {
        return NGX_ERROR;
    }

    p = json;

    if (turn->stops.nelts) {
        p = cli_copy(p, ",\"stop_sequences\":");

        for (i = 0; i < turn->stops.nelts; i++) {
            *p++ = i ? ',' : '[';
            p = ngx_claude_json_escape(p, stop[i].data, stop[i].len);
        }

        *p++ = ']';
    }

    if (turn->temperature.len) {
        p = cli_copy(p, ",\"temperature\":");
        p = ngx_cpymem(p, turn->temperature.data, turn->temperature.len);
    }

    if (turn->top_p.len) {
        p = cli_copy(p, ",\"top_p\":");
        p = ngx_cpymem(p, turn->top_p.data, turn->top_p.len);
    }

    if (turn->tools_json.len) {
        p = cli_copy(p, ",\"tools\":");
        p = ngx_cpymem(p, turn->tools_json.data, turn->tools_json.len);
    }

    if (turn->tool_choice.len) {
        p = cli_copy(p, ",\"tool_choice\":");
        p = ngx_cpymem(p, turn->tool_choice.data, turn->tool_choice.len);
    }

    if (turn->schema.len) {
        p = cli_copy(p, CLI_FORMAT);
        p = ngx_cpymem(p, turn->schema.data, turn->schema.len);
        p = cli_copy(p, "}}");
    }

    if (turn->summarized && !turn->thoughtless) {
        p = cli_copy(p, CLI_THINKING);
    }

    *p++ = '}';
    json[0] = '{';

    return ngx_claude_outbox_escape(outbox, json, p - json);
}


static u_char *
cli_copy(u_char *p, const char *text)
{
    return ngx_cpymem(p, text, ngx_strlen(text));
}
