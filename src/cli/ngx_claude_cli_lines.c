
/*
 * The CLI's protocol, writing: one function a line that the CLI takes.  Text
 * of clients goes in by reference and is escaped as the pipe drains.
 */


#include "ngx_claude_cli_private.h"
#include "ngx_claude_profile.h"
#include "ngx_claude_text.h"


/* in the place of the CLI's own, whose display is "updates" */
#define CLI_THINKING                                                          \
    ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}"

#define CLI_FORMAT                                                            \
    "\"format\":{\"type\":\"json_schema\",\"schema\":%V}"


/* bytes of the extra body beside tools and schema, mostly */
#define CLI_BODY_SIZE  512


static ngx_claude_effort_e cli_effort(ngx_claude_turn_t *turn);
static ngx_int_t cli_ask(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    const char *request);
static void cli_extra_body(ngx_claude_out_t *out, ngx_claude_turn_t *turn,
    ngx_uint_t gated);
static void cli_output_config(ngx_claude_out_t *json, ngx_claude_turn_t *turn,
    ngx_uint_t gated);


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


/* request: the rest of the line */

static ngx_int_t
cli_ask(ngx_claude_outbox_t *outbox, ngx_uint_t id,
    const char *request)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);
    ngx_claude_out_write(out, request, ngx_strlen(request));

    return ngx_claude_outbox_end(outbox);
}


ngx_int_t
ngx_claude_cli_set_model(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_str_t *model, ngx_str_t *system)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);
    ngx_claude_out(out, "{\"subtype\":\"set_model\",\"model\":%J,"
                   "\"system_prompt\":%J}}\n", model, system);

    return ngx_claude_outbox_end(outbox);
}


/*
 * All knobs, at every turn: what was set once stays set in the CLI until
 * something else is.  An empty value takes a knob back.
 *
 * An effort of the CLI's own making puts a line into the conversation, one
 * more at each change; one in the body does not, but is without the beta that
 * some models want, which the gate adds.
 */

ngx_int_t
ngx_claude_cli_settings(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, ngx_claude_turn_t *turn, ngx_uint_t gated)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);
    ngx_claude_out(out, "{\"subtype\":\"apply_flag_settings\",\"settings\":"
                   "{\"effortLevel\":%Q,\"env\":"
                   "{\"CLAUDE_CODE_EFFORT_LEVEL\":\"%s\","
                   "\"CLAUDE_CODE_MAX_OUTPUT_TOKENS\":\"",
                   ngx_claude_effort_name(gated ? NGX_CLAUDE_EFFORT_DEFAULT
                                                : cli_effort(turn)),
                   gated ? "unset" : "");

    if (turn->max_tokens) {
        ngx_claude_out(out, "%i", turn->max_tokens);
    }

    ngx_claude_out(out, "\",\"CLAUDE_CODE_DISABLE_THINKING\":\"%s\","
                   "\"CLAUDE_CODE_EXTRA_BODY\":",
                   turn->thoughtless ? "1" : "");

    cli_extra_body(out, turn, gated);
    ngx_claude_out_literal(out, "}}}}\n");

    return ngx_claude_outbox_end(outbox);
}


/* the asker's, else the operator's */

static ngx_claude_effort_e
cli_effort(ngx_claude_turn_t *turn)
{
    return (turn->effort == NGX_CLAUDE_EFFORT_DEFAULT) ? turn->profile->effort
                                                       : turn->effort;
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
    u_char             uuid[NGX_CLAUDE_UUID_LEN];
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);

    ngx_claude_out_literal(out, "{\"subtype\":\"rewind_conversation\","
                           "\"target_message_uuid\":\"");
    ngx_claude_cli_uuid(uuid, nonce, target);
    ngx_claude_out_write(out, uuid, sizeof(uuid));

    ngx_claude_out_literal(out, "\",\"last_seen_user_message_uuid\":\"");
    ngx_claude_cli_uuid(uuid, nonce, newest);
    ngx_claude_out_write(out, uuid, sizeof(uuid));

    ngx_claude_out_literal(out, "\"}}\n");

    return ngx_claude_outbox_end(outbox);
}


/* a rewind to the newest line of the user, by its uuid */

ngx_int_t
ngx_claude_cli_rewind_line(ngx_claude_outbox_t *outbox,
    ngx_uint_t id, const char *uuid)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_control(out, id);
    ngx_claude_out(out, "{\"subtype\":\"rewind_conversation\","
                   "\"target_message_uuid\":\"%s\","
                   "\"last_seen_user_message_uuid\":\"%s\"}}\n", uuid, uuid);

    return ngx_claude_outbox_end(outbox);
}


/* the CLI asks for something that we never offered */

ngx_int_t
ngx_claude_cli_refuse(ngx_claude_outbox_t *outbox,
    ngx_str_t *request_id)
{
    ngx_claude_out_t  *out;

    out = ngx_claude_outbox_begin(outbox);

    ngx_claude_cli_response(out, "error", request_id);
    ngx_claude_out_literal(out, ",\"error\":\"not supported\"}}\n");

    return ngx_claude_outbox_end(outbox);
}


void
ngx_claude_cli_control(ngx_claude_out_t *out, ngx_uint_t id)
{
    ngx_claude_out(out, "{\"type\":\"control_request\","
                   "\"request_id\":\"%ui\",\"request\":", id);
}


void
ngx_claude_cli_response(ngx_claude_out_t *out, const char *subtype,
    ngx_str_t *request_id)
{
    ngx_claude_out(out, "{\"type\":\"control_response\","
                   "\"response\":{\"subtype\":\"%s\",\"request_id\":",
                   subtype);

    /* no %J: the id is valid during the call only */

    ngx_claude_out_string(out, request_id->data, request_id->len);
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

static void
cli_extra_body(ngx_claude_out_t *out, ngx_claude_turn_t *turn,
    ngx_uint_t gated)
{
    size_t              before;
    ngx_str_t          *stop;
    ngx_uint_t          i;
    ngx_claude_out_t   *json;
    ngx_claude_text_t   body;

    stop = turn->stops.elts;

    if (turn->stops.nelts == 0 && turn->temperature.len == 0
        && turn->top_p.len == 0 && turn->tools_json.len == 0
        && turn->schema.len == 0 && !turn->summarized && !gated)
    {
        ngx_claude_out_literal(out, "\"\"");
        return;
    }

    if (ngx_claude_text_init(&body, turn->pool,
                             turn->schema.len + CLI_BODY_SIZE)
        != NGX_OK)
    {
        out->failed = 1;
        return;
    }

    json = ngx_claude_text_begin(&body);

    for (i = 0; i < turn->stops.nelts; i++) {
        ngx_claude_out(json, "%s%J", i ? "," : ",\"stop_sequences\":[",
                       &stop[i]);
    }

    if (turn->stops.nelts) {
        ngx_claude_out_literal(json, "]");
    }

    if (turn->temperature.len) {
        ngx_claude_out(json, ",\"temperature\":%V", &turn->temperature);
    }

    if (turn->top_p.len) {
        ngx_claude_out(json, ",\"top_p\":%V", &turn->top_p);
    }

    if (turn->tools_json.len) {
        ngx_claude_out_literal(json, ",\"tools\":");
    }

    before = body.out.last - body.data;

    if (turn->tool_choice.len) {
        ngx_claude_out(json, ",\"tool_choice\":%V", &turn->tool_choice);
    }

    cli_output_config(json, turn, gated);

    if (turn->summarized && !turn->thoughtless) {
        ngx_claude_out_literal(json, CLI_THINKING);
    }

    ngx_claude_out_literal(json, "}");

    if (ngx_claude_text_end(&body) != NGX_OK) {
        out->failed = 1;
        return;
    }

    body.data[0] = '{';

    ngx_claude_out_literal(out, "\"");
    ngx_claude_out_escape(out, body.data, before);

    if (turn->tools_json.len) {
        ngx_claude_out(out, "%E", &turn->tools_json);
    }

    ngx_claude_out_escape(out, body.data + before, body.len - before);
    ngx_claude_out_literal(out, "\"");
}


/*
 * The CLI merges this object with its own, and takes the effort out again for
 * a model that knows none.  Effort stands before format: so the gate sees it.
 */

static void
cli_output_config(ngx_claude_out_t *json, ngx_claude_turn_t *turn,
    ngx_uint_t gated)
{
    ngx_claude_effort_e  effort;

    if (!gated && turn->schema.len == 0) {
        return;
    }

    ngx_claude_out_literal(json, ",\"output_config\":{");

    if (gated) {
        effort = cli_effort(turn);

        if (effort == NGX_CLAUDE_EFFORT_DEFAULT) {
            effort = NGX_CLAUDE_EFFORT_MEDIUM;
        }

        ngx_claude_out(json, "\"effort\":\"%V\"%s",
                       ngx_claude_effort_name(effort),
                       turn->schema.len ? "," : "");
    }

    if (turn->schema.len) {
        ngx_claude_out(json, CLI_FORMAT, &turn->schema);
    }

    ngx_claude_out_literal(json, "}");
}
