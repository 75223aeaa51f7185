#!/usr/bin/env node
/*
 * A loopback stand-in for Anthropic's Messages API: plain Node 18+, no package.
 *
 * The real Claude CLI is pointed here with ANTHROPIC_BASE_URL, so a test can assert on the
 * strongest thing there is, the request that reached the model; `./build.sh demo` runs without
 * an account, and the benchmarks without a model. It
 *
 *   - refuses, with the API's own status and wording, what the API would refuse. A permissive
 *     stub passes bodies that fail in production. The rules come from public sources (SDK
 *     code, error reports, documentation pages); where a rule depends on the model, the table
 *     in modelTraits() decides;
 *   - answers what a script says, or echoes the user's text;
 *   - remembers what it got (GET /_requests);
 *   - keeps an account (GET /_account) of what it would bill: of each call the usage that it has
 *     sent last, whoever has read it.
 *
 * It never contacts another host, never reads or writes a file, never checks whether a key is
 * a real one (only that there is one), and never runs a model.
 *
 *   node messages-api.mjs [--port N] [--host 127.0.0.1] [--demo] [--no-record] [--die-with-parent]
 *
 * prints `listening <port>` when it is ready and ends on SIGTERM or SIGINT.
 *
 * What the next answer is, first match wins:
 *   1. POST /_script with a script or an array of scripts (DELETE /_script forgets them);
 *   2. the last `[[stub {json}]]` in the text of the newest user message;
 *   3. `echo: <that text>`, or what demo.mjs makes of it with --demo.
 *
 * Script fields, all optional:
 *   match, times                          queue only: a substring of the newest user text; uses
 *   status, error_type, message, headers  an HTTP error (status >= 400) instead of an answer
 *   text | deltas, repeat                 the text block; `text` is cut at spaces, `deltas` is not
 *   thinking, tool_use:[{id,name,input}]  blocks before and after the text
 *   blocks:[…]                            the blocks themselves, in order; each may have `deltas`
 *                                         (text, thinking), `input_json_deltas` (tool_use), `repeat`,
 *                                         or `raw_deltas`: the deltas themselves
 *   empty                                 no block at all
 *   stop_reason, stop_sequence, stop_details, usage, model, ping
 *   delay_ms, first_ms, gap_ms            before the headers; before message_start; between deltas
 *   break_after: n                        cut the connection after n events
 *   error_event: {type, message}          an `error` event after the last delta, then the end
 *   hang: true | "headers"                nothing after message_start | after the headers
 *   until: function                       in the same process only: what it returns is waited for
 *                                         before the headers
 *
 * Mind what the CLI does with an answer (2.1.330): a 400 is sent again twice, silently, with fewer
 * beta features, and a 429, 5xx or break as its retry settings say: give such a script `times`.
 * A failed turn stays in its conversation, so the next user message holds the old marker too.
 */

import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { demoScript } from './demo.mjs';
import { resolveRef } from './instance.mjs';

const MAX_BODY = 32 * 1024 * 1024;

/* What GET /_requests may hold: a long run must not grow without end, nor a few huge bodies. */
const KEEP_REQUESTS = 1000;
const KEEP_BYTES = 256 * 1024 * 1024;

/* Events are gathered to this size when nothing asks for a pause between them. */
const WRITE_SIZE = 16 * 1024;

const DEMO_GAP_MS = 8;

/* ---------------------------------------------------------------------------------------- */
/* Errors                                                                                    */
/* ---------------------------------------------------------------------------------------- */

const ERROR_TYPES = {
    400: 'invalid_request_error',
    401: 'authentication_error',
    402: 'billing_error',
    403: 'permission_error',
    404: 'not_found_error',
    413: 'request_too_large',
    429: 'rate_limit_error',
    500: 'api_error',
    504: 'timeout_error',
    529: 'overloaded_error',
};

const STATUS_OF_TYPE = Object.fromEntries(
    Object.entries(ERROR_TYPES).map(([status, type]) => [type, Number(status)]));

class ApiError extends Error {
    constructor(status, message, type = errorType(status), headers = {}) {
        super(message);
        this.status = status;
        this.type = type;
        this.headers = headers;
    }
}

/* Thrown to unwind an answer whose client has gone, or whose connection the script has cut. */
class Gone extends Error {}

function errorType(status) {
    return ERROR_TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
}

function errorBody(type, message, requestId) {
    return { type: 'error', error: { type, message }, request_id: requestId };
}

/* Refuses the request: `path` is the field in the API's notation, "messages.1.content". */
function refuse(path, message) {
    throw new ApiError(400, path === '' ? message : `${path}: ${message}`);
}

/* ---------------------------------------------------------------------------------------- */
/* Small checks, worded as the API words them                                                */
/* ---------------------------------------------------------------------------------------- */

const isObject = (v) => v !== null && typeof v === 'object' && !Array.isArray(v);
const given = (v) => v !== undefined && v !== null;

function oneOf(values) {
    const quoted = values.map((v) => `'${v}'`);
    const last = quoted.pop();
    return quoted.length ? `${quoted.join(', ')} or ${last}` : last;
}

function needString(value, path) {
    if (value === undefined) refuse(path, 'Field required');
    if (typeof value !== 'string') refuse(path, 'Input should be a valid string');
}

function needObject(value, path) {
    if (value === undefined) refuse(path, 'Field required');
    if (!isObject(value)) refuse(path, 'Input should be a valid dictionary');
}

function needArray(value, path) {
    if (value === undefined) refuse(path, 'Field required');
    if (!Array.isArray(value)) refuse(path, 'Input should be a valid list');
}

function needPattern(value, pattern, path) {
    needString(value, path);
    if (!pattern.test(value)) refuse(path, `String should match pattern '${pattern.source}'`);
}

function needRange(value, low, high, path) {
    if (typeof value !== 'number') refuse(path, 'Input should be a valid number');
    if (value < low) refuse(path, `Input should be greater than or equal to ${low}`);
    if (value > high) refuse(path, `Input should be less than or equal to ${high}`);
}

function needInteger(value, low, path) {
    if (value === undefined) refuse(path, 'Field required');
    if (!Number.isInteger(value)) refuse(path, 'Input should be a valid integer');
    needRange(value, low, Infinity, path);
}

function needChoice(value, choices, path) {
    if (value === undefined) refuse(path, 'Field required');
    if (!choices.includes(value)) refuse(path, `Input should be ${oneOf(choices)}`);
}

function needTag(value, tags, path) {
    if (value === undefined) refuse(path, "Unable to extract tag using discriminator 'type'");
    if (tags.includes(value)) return;
    const list = tags.map((t) => `'${t}'`).join(', ');
    refuse(path, `Input tag '${value}' found using 'type' does not match any of the expected tags: ${list}`);
}

function needKnownKeys(object, known, prefix) {
    for (const key of Object.keys(object)) {
        if (!known.has(key)) refuse(prefix + key, 'Extra inputs are not permitted');
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Models                                                                                    */
/* ---------------------------------------------------------------------------------------- */

const NEW_ID = /^claude-(opus|sonnet|haiku|fable|mythos)-(\d+)(?:-(\d{1,2})(?=$|[-@[]))?(?=$|[-@[])/;
const OLD_ID = /^claude-(\d)(?:-(\d))?-(opus|sonnet|haiku)(?=$|-)/;

/* The family, and the version as 406 for 4.6; null for what no Claude model is called. */
function parseModel(id) {
    let m = NEW_ID.exec(id);
    if (m) return { family: m[1], version: Number(m[2]) * 100 + Number(m[3] ?? 0) };
    m = OLD_ID.exec(id);
    if (m) return { family: m[3], version: Number(m[1]) * 100 + Number(m[2] ?? 0) };
    return null;
}

function modelTraits(id) {
    const model = parseModel(id);
    if (model === null) throw new ApiError(404, `model: ${id}`);
    const { family, version } = model;
    const frontier = family === 'fable' || family === 'mythos';
    const alwaysThinks = frontier || (version >= 505 && family !== 'haiku');
    return {
        id,
        alwaysThinks,
        thinksByDefault: version >= 500,
        betweenTools: family === 'sonnet' && version >= 505,
        budget: version < 407,
        adaptive: version >= 406,
        prefill: version < 406,
        sampling: version < 407,
        bothSamplers: version < 401,
        systemRole: version >= 408,
        efforts: version >= 407 ? EFFORTS
            : version === 406 ? ['low', 'medium', 'high', 'max']
                : version === 405 && family === 'opus' ? ['low', 'medium', 'high'] : [],
        maxOutput: version >= 406 ? 128000 : version === 405 ? 64000 : Infinity,
    };
}

/* ---------------------------------------------------------------------------------------- */
/* The request                                                                               */
/* ---------------------------------------------------------------------------------------- */

/* The API refuses fields that it does not know; the later lines are those behind beta headers. */
const TOP_FIELDS = new Set([
    'model', 'messages', 'max_tokens', 'system', 'stream', 'stop_sequences', 'metadata',
    'temperature', 'top_p', 'top_k', 'tools', 'tool_choice', 'thinking', 'output_config',
    'service_tier', 'cache_control', 'container', 'inference_geo',
    'context_management', 'mcp_servers', 'output_format', 'speed', 'fallbacks', 'betas',
    'compaction', 'diagnostics', 'user_profile_id', 'task_budget', 'timing', 'fallback_credit',
    'fallback_credit_token', 'program_use_case_ids',
]);

const MESSAGE_FIELDS = new Set(['role', 'content', 'output_config', 'clear_at', 'timing']);

const EFFORTS = ['low', 'medium', 'high', 'xhigh', 'max'];

function checkHeaders(headers) {
    const key = headers['x-api-key'];
    const bearer = /^bearer\s+\S/i.test(headers.authorization ?? '');
    if (!key && !bearer) throw new ApiError(401, 'x-api-key header is required');
    if (!headers['anthropic-version']) refuse('anthropic-version', 'header is required');
}

function checkRequest(body, { counting = false } = {}) {
    if (!isObject(body)) refuse('', 'The request body is not a JSON object');
    needString(body.model, 'model');
    if (body.model === '') refuse('model', 'String should have at least 1 character');
    needKnownKeys(body, TOP_FIELDS, '');
    const traits = modelTraits(body.model);
    if (!counting) checkMaxTokens(body.max_tokens, traits);
    checkSystem(body.system);
    checkTools(body.tools);
    checkMessages(body.messages, traits);
    checkStops(body.stop_sequences);
    checkThinking(body, traits);
    checkToolChoice(body, traits);
    checkSampling(body, traits);
    checkOutputConfig(body.output_config, traits);
    checkContextManagement(body, traits);
    checkMisc(body);
    checkCacheControl(body);
}

function checkMaxTokens(value, traits) {
    needInteger(value, 1, 'max_tokens');
    if (value > traits.maxOutput) {
        refuse('max_tokens', `${value} > ${traits.maxOutput}, which is the maximum allowed number `
            + `of output tokens for ${traits.id}`);
    }
}

function checkSystem(system) {
    if (!given(system) || typeof system === 'string') return;
    needArray(system, 'system');
    system.forEach((block, i) => {
        needObject(block, `system.${i}`);
        needTag(block.type, ['text'], `system.${i}`);
        checkText(block.text, `system.${i}.text.text`, 'system');
    });
}

function checkStops(stops) {
    if (!given(stops)) return;
    needArray(stops, 'stop_sequences');
    stops.forEach((stop, i) => {
        needString(stop, `stop_sequences.${i}`);
        if (stop.trim() === '') refuse('stop_sequences', 'each stop sequence must contain non-whitespace');
    });
}

function checkMisc(body) {
    if (given(body.stream) && typeof body.stream !== 'boolean') {
        refuse('stream', 'Input should be a valid boolean');
    }
    if (!given(body.metadata)) return;
    needObject(body.metadata, 'metadata');
    needKnownKeys(body.metadata, new Set(['user_id']), 'metadata.');
    if (given(body.metadata.user_id)) needString(body.metadata.user_id, 'metadata.user_id');
}

/* At most four cache breakpoints; the CLI places its own, so ours would be the fifth. */
function checkCacheControl(body) {
    const marks = (blocks) => (Array.isArray(blocks) ? blocks : [])
        .reduce((n, b) => n + (given(b?.cache_control) ? 1 : 0) + marks(b?.content), 0);
    const found = marks(body.system) + marks(body.tools) + marks(body.messages)
        + (given(body.cache_control) ? 1 : 0);
    if (found > 4) refuse('', `A maximum of 4 blocks with cache_control may be provided. Found ${found}.`);
}

/* ---------------------------------------------------------------------------------------- */
/* Messages                                                                                  */
/* ---------------------------------------------------------------------------------------- */

const ID_PATTERN = /^[a-zA-Z0-9_-]+$/;
const NAME_PATTERN = /^[a-zA-Z0-9_-]{1,128}$/;

function checkMessages(messages, traits) {
    needArray(messages, 'messages');
    if (messages.length === 0) refuse('messages', 'at least one message is required');
    messages.forEach((message, i) => checkMessage(message, i, messages, traits));
    if (messages[0].role !== 'user') {
        refuse('messages', 'first message must use the "user" role');
    }
    checkToolPairs(messages);
    checkLast(messages, traits);
}

function checkMessage(message, i, messages, traits) {
    const path = `messages.${i}`;
    needObject(message, path);
    needKnownKeys(message, MESSAGE_FIELDS, `${path}.`);
    if (message.role === 'system') {
        checkSystemMessage(message, path, messages[i - 1], traits);
        return;
    }
    needChoice(message.role, ['user', 'assistant'], `${path}.role`);
    checkContent(message, path, i === messages.length - 1);
}

/*
 * From 4.8 on a message may have the role "system", after a user message only. The CLI sends
 * its "# Environment" section so, and statements that have an output_config and no content.
 */
function checkSystemMessage(message, path, previous, traits) {
    if (!traits.systemRole) refuse('', "role 'system' is not supported on this model");
    if (previous?.role !== 'user' && previous?.role !== 'system') {
        refuse(path, "role 'system' must follow a 'user' message");
    }
    if (typeof message.content === 'string') {
        checkText(message.content, `${path}.content`);
        return;
    }
    needArray(message.content, `${path}.content`);
    message.content.forEach((block, j) => {
        const at = `${path}.content.${j}`;
        needObject(block, at);
        needTag(block.type, ['text', 'tool_addition', 'tool_removal'], at);
        if (block.type === 'text') checkText(block.text, `${at}.text.text`);
        else needObject(block.tool, `${at}.${block.type}.tool`);
    });
}

function checkContent(message, path, isLast) {
    const { role, content } = message;
    if (content === undefined) refuse(`${path}.content`, 'Field required');
    const empty = content === '' || (Array.isArray(content) && content.length === 0);
    if (empty) {
        if (role === 'assistant' && isLast) return;
        refuse(path, role === 'user' ? 'user messages must have non-empty content'
            : 'all messages must have non-empty content except for the optional final assistant message');
    }
    if (typeof content === 'string') {
        checkText(content, `${path}.content`);
        return;
    }
    if (!Array.isArray(content)) refuse(`${path}.content`, 'Input should be a valid list');
    content.forEach((block, j) => checkBlock(block, `${path}.content.${j}`, role));
}

function checkText(text, path, place = 'messages') {
    needString(text, path);
    if (text === '') refuse(place, 'text content blocks must be non-empty');
    if (text.trim() === '') refuse(place, 'text content blocks must contain non-whitespace text');
}

/* Block types that are only passed on: nothing here produces them, so their shape is not checked. */
const OPAQUE_BLOCKS = [
    'search_result', 'server_tool_use', 'web_search_tool_result', 'web_fetch_tool_result',
    'code_execution_tool_result', 'bash_code_execution_tool_result',
    'text_editor_code_execution_tool_result', 'tool_search_tool_result', 'advisor_tool_result',
    'mcp_tool_use', 'mcp_tool_result', 'container_upload', 'compaction', 'tool_reference',
    'mid_conv_system', 'fallback',
];

const BLOCK_CHECKS = {
    text: (block, path) => checkText(block.text, `${path}.text.text`),
    image: (block, path) => checkImage(block.source, `${path}.image.source`),
    document: (block, path) => checkDocument(block.source, `${path}.document.source`),
    thinking: (block, path) => {
        needString(block.thinking, `${path}.thinking.thinking`);
        needString(block.signature, `${path}.thinking.signature`);
    },
    redacted_thinking: (block, path) => needString(block.data, `${path}.redacted_thinking.data`),
    tool_use: (block, path) => {
        needPattern(block.id, ID_PATTERN, `${path}.tool_use.id`);
        needPattern(block.name, NAME_PATTERN, `${path}.tool_use.name`);
        needObject(block.input, `${path}.tool_use.input`);
    },
    tool_result: (block, path) => checkToolResult(block, `${path}.tool_result`),
};

const BLOCK_ROLE = {
    image: 'user', tool_result: 'user',
    tool_use: 'assistant', thinking: 'assistant', redacted_thinking: 'assistant',
};

function checkBlock(block, path, role) {
    needObject(block, path);
    needTag(block.type, [...Object.keys(BLOCK_CHECKS), ...OPAQUE_BLOCKS], path);
    const only = BLOCK_ROLE[block.type];
    if (only && only !== role) {
        refuse(path, `\`${block.type}\` blocks can only be in \`${only}\` messages`);
    }
    BLOCK_CHECKS[block.type]?.(block, path);
}

function checkToolResult(block, path) {
    needPattern(block.tool_use_id, ID_PATTERN, `${path}.tool_use_id`);
    const { content } = block;
    if (block.is_error === true && (!given(content) || content.length === 0)) {
        refuse(path, 'content cannot be empty if `is_error` is true');
    }
    if (!given(content) || typeof content === 'string') return;
    needArray(content, `${path}.content`);
    const types = ['text', 'image', 'document', 'search_result', 'tool_reference'];
    content.forEach((inner, k) => {
        const at = `${path}.content.${k}`;
        needObject(inner, at);
        needTag(inner.type, types, at);
        BLOCK_CHECKS[inner.type]?.(inner, at);
    });
}

/* Every call is answered in the next message, before anything else there, once, and nothing else is. */
function checkToolPairs(messages) {
    const seen = new Set();
    let open = [];
    let openAt = 0;
    messages.forEach((message, i) => {
        if (message.role === 'system') return;
        const blocks = Array.isArray(message.content) ? message.content : [];
        checkResults(blocks, i, open, openAt);
        open = collectCalls(blocks, i, seen);
        openAt = i;
    });
    if (open.length > 0) refuseUnanswered(open, openAt);
}

function checkResults(blocks, i, open, openAt) {
    const left = new Set(open);
    let leading = true;
    blocks.forEach((block, j) => {
        if (block.type !== 'tool_result') {
            leading = false;
            return;
        }
        const id = block.tool_use_id;
        if (!open.includes(id)) refuseOrphan(id, `messages.${i}.content.${j}`);
        if (!left.delete(id)) {
            refuse(`messages.${i}.content.${j}`, 'each tool_use must have a single result. '
                + `Found multiple \`tool_result\` blocks with id: ${id}`);
        }
        if (!leading) refuseUnanswered([id], openAt);
    });
    if (left.size > 0) refuseUnanswered([...left], openAt);
}

function collectCalls(blocks, i, seen) {
    const calls = [];
    blocks.forEach((block, j) => {
        if (block.type !== 'tool_use') return;
        if (seen.has(block.id)) refuse(`messages.${i}.content.${j}`, '`tool_use` ids must be unique');
        seen.add(block.id);
        calls.push(block.id);
    });
    return calls;
}

function refuseOrphan(id, path) {
    refuse(path, `unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${id}. Each \`tool_result\` `
        + 'block must have a corresponding `tool_use` block in the previous message.');
}

function refuseUnanswered(ids, i) {
    refuse(`messages.${i}`, '`tool_use` ids were found without `tool_result` blocks immediately after: '
        + `${ids.join(', ')}. Each \`tool_use\` block must have a corresponding \`tool_result\` block `
        + 'in the next message.');
}

function checkLast(messages, traits) {
    const last = messages.filter((m) => m.role !== 'system').pop();
    if (last.role !== 'assistant') return;
    if (!traits.prefill) {
        refuse('', 'This model does not support assistant message prefill. '
            + 'The conversation must end with a user message.');
    }
    const tail = typeof last.content === 'string' ? last.content : last.content.at(-1)?.text;
    if (typeof tail === 'string' && tail !== tail.trimEnd()) {
        refuse('messages', 'final assistant content cannot end with trailing whitespace');
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Images and documents                                                                      */
/* ---------------------------------------------------------------------------------------- */

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'];

function checkImage(source, path) {
    needObject(source, path);
    needTag(source.type, ['base64', 'url', 'file'], path);
    if (source.type === 'url') checkUrl(source.url, `${path}.url.url`);
    if (source.type !== 'base64') return;
    needChoice(source.media_type, IMAGE_TYPES, `${path}.base64.media_type`);
    const found = imageType(decodeBase64(source.data, `${path}.base64`));
    if (found === null) refuse(`${path}.base64.data`, 'Could not process image');
    if (found !== source.media_type) {
        refuse(`${path}.base64.data`, `The image was specified using the ${source.media_type} media type, `
            + `but the image appears to be a ${found} image`);
    }
}

function checkDocument(source, path) {
    needObject(source, path);
    needTag(source.type, ['base64', 'text', 'url', 'content', 'file'], path);
    if (source.type === 'url') checkUrl(source.url, `${path}.url.url`);
    if (source.type === 'text') {
        needChoice(source.media_type, ['text/plain'], `${path}.text.media_type`);
        needString(source.data, `${path}.text.data`);
        if (source.data.trim() === '') refuse(`${path}.text.data`, 'text documents must be non-empty');
    }
    if (source.type !== 'base64') return;
    needChoice(source.media_type, ['application/pdf'], `${path}.base64.media_type`);
    const bytes = decodeBase64(source.data, `${path}.base64`);
    if (bytes.toString('latin1', 0, 5) !== '%PDF-') {
        refuse(`${path}.base64.data`, 'The PDF specified was not valid.');
    }
}

function checkUrl(url, path) {
    needString(url, path);
    if (!/^https:\/\/[^\s/]/.test(url)) refuse(path, 'Only HTTPS URLs are supported.');
}

/* Buffer.from takes anything, so the alphabet is checked first. */
function decodeBase64(data, path) {
    needString(data, `${path}.data`);
    if (data === '' || data.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) {
        refuse(path, 'invalid base64 data');
    }
    return Buffer.from(data, 'base64');
}

function imageType(bytes) {
    const head = bytes.toString('latin1', 0, 12);
    if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
    if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
    if (/^GIF8[79]a/.test(head)) return 'image/gif';
    if (head.startsWith('RIFF') && head.slice(8) === 'WEBP') return 'image/webp';
    return null;
}

/* ---------------------------------------------------------------------------------------- */
/* Tools                                                                                     */
/* ---------------------------------------------------------------------------------------- */

const PROPERTY_PATTERN = /^[a-zA-Z0-9_.-]{1,64}$/;

function checkTools(tools) {
    if (!given(tools)) return;
    needArray(tools, 'tools');
    const names = new Set();
    tools.forEach((tool, i) => {
        needObject(tool, `tools.${i}`);
        checkTool(tool, i);
        if (names.has(tool.name)) refuse('tools', 'Tool names must be unique.');
        names.add(tool.name);
    });
}

/* A tool with another type than "custom" is one of Anthropic's own, which has no schema. */
function checkTool(tool, i) {
    if (given(tool.type) && tool.type !== 'custom') return;
    const path = `tools.${i}.custom`;
    needPattern(tool.name, NAME_PATTERN, `${path}.name`);
    if (given(tool.description)) needString(tool.description, `${path}.description`);
    checkInputSchema(tool.input_schema, `${path}.input_schema`);
    if (tool.strict === true) checkOutputSchema(tool.input_schema, path);
}

function checkInputSchema(schema, path) {
    needObject(schema, path);
    if (schema.type === undefined) refuse(`${path}.type`, 'Field required');
    if (schema.type !== 'object') refuse(`${path}.type`, "Input should be 'object'");
    if (['oneOf', 'allOf', 'anyOf'].some((word) => word in schema)) {
        refuse(path, 'input_schema does not support oneOf, allOf, or anyOf at the top level');
    }
    if (!given(schema.properties)) return;
    needObject(schema.properties, `${path}.properties`);
    if (!Object.keys(schema.properties).every((key) => PROPERTY_PATTERN.test(key))) {
        refuse(`${path}.properties`, `Property keys should match pattern '${PROPERTY_PATTERN.source}'`);
    }
}

function checkToolChoice(body, traits) {
    const choice = body.tool_choice;
    if (!given(choice)) return;
    needObject(choice, 'tool_choice');
    needTag(choice.type, ['auto', 'any', 'tool', 'none'], 'tool_choice');
    if (!body.tools?.length) refuse('tool_choice', 'tool_choice may only be specified while providing tools');
    if (choice.type === 'tool') {
        needString(choice.name, 'tool_choice.tool.name');
        if (!body.tools.some((tool) => tool.name === choice.name)) {
            refuse('tool_choice', `Tool '${choice.name}' not found in provided tools`);
        }
    }
    const forced = choice.type === 'any' || choice.type === 'tool';
    if (forced && (thinks(body) || traits.alwaysThinks)) {
        refuse('', 'Thinking may not be enabled when tool_choice forces tool use.');
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Thinking and sampling                                                                     */
/* ---------------------------------------------------------------------------------------- */

const thinks = (body) => given(body.thinking) && body.thinking.type !== 'disabled';

function checkThinking(body, traits) {
    const { thinking } = body;
    if (!given(thinking)) return;
    needObject(thinking, 'thinking');
    const tags = ['enabled', 'disabled', 'adaptive'];
    needTag(thinking.type, traits.betweenTools ? [...tags, 'between_tools'] : tags, 'thinking');
    if (thinking.type === 'enabled') checkBudget(thinking.budget_tokens, body.max_tokens, traits);
    if (thinking.type === 'disabled' && traits.alwaysThinks) refuseThinking('disabled');
    if (thinking.type === 'adaptive' && !traits.adaptive) {
        refuse('', 'adaptive thinking is not supported on this model');
    }
}

function checkBudget(budget, maxTokens, traits) {
    if (!traits.budget) refuseThinking('enabled');
    needInteger(budget, 1024, 'thinking.enabled.budget_tokens');
    if (budget >= maxTokens) {
        refuse('', '`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our '
            + 'documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking'
            + '#max-tokens-and-context-window-size');
    }
}

function refuseThinking(type) {
    refuse('', `"thinking.type.${type}" is not supported for this model. Use "thinking.type.adaptive" `
        + 'and "output_config.effort" to control thinking behavior.');
}

function checkSampling(body, traits) {
    const { temperature, top_p: topP, top_k: topK } = body;
    if (given(temperature)) needRange(temperature, 0, 1, 'temperature');
    if (given(topP)) needRange(topP, 0, 1, 'top_p');
    if (given(topK)) needInteger(topK, 0, 'top_k');
    if (!traits.sampling) checkNoSampling(temperature, topP, topK);
    if (given(temperature) && given(topP) && !traits.bothSamplers) {
        refuse('', '`temperature` and `top_p` cannot both be specified for this model. Please use only one.');
    }
    if (thinks(body)) checkSamplingWhileThinking(temperature, topP, topK);
}

/* The default value is taken for compatibility, any other is not. */
function checkNoSampling(temperature, topP, topK) {
    if (given(temperature) && temperature !== 1) refuse('', '`temperature` is deprecated for this model.');
    if (given(topP) && topP < 0.99) refuse('', '`top_p` is deprecated for this model.');
    if (given(topK)) refuse('', '`top_k` is deprecated for this model.');
}

function checkSamplingWhileThinking(temperature, topP, topK) {
    if (given(temperature) && temperature !== 1) {
        refuse('', '`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.');
    }
    if (given(topP) && topP < 0.95) {
        refuse('', '`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode.');
    }
    if (given(topK)) refuse('', '`top_k` must be unset when thinking is enabled or in adaptive mode.');
}

function checkContextManagement(body, traits) {
    const edits = body.context_management?.edits ?? [];
    const clears = Array.isArray(edits) && edits.some((edit) => edit?.type === 'clear_thinking_20251015');
    const thinking = given(body.thinking) ? thinks(body) : traits.thinksByDefault;
    if (clears && !thinking) {
        refuse('', '`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive');
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Structured output                                                                         */
/* ---------------------------------------------------------------------------------------- */

const SCHEMA_TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'];

/* Everything else (minimum, maxLength, oneOf, not, patternProperties, …) is refused. */
const SCHEMA_WORDS = new Set([
    'type', 'enum', 'const', 'default', 'description', 'title', 'anyOf', 'allOf', '$ref', '$defs',
    'definitions', 'properties', 'required', 'additionalProperties', 'items', 'minItems', 'format',
    'pattern', '$schema', '$id', '$comment', 'examples', 'deprecated', 'readOnly', 'writeOnly',
]);

const SCHEMA_FORMATS = new Set([
    'date-time', 'time', 'date', 'duration', 'email', 'hostname', 'uri', 'ipv4', 'ipv6', 'uuid',
]);

function checkOutputConfig(config, traits) {
    if (!given(config)) return;
    needObject(config, 'output_config');
    if (given(config.effort)) checkEffort(config.effort, traits);
    if (!given(config.format)) return;
    needObject(config.format, 'output_config.format');
    needChoice(config.format.type, ['json_schema'], 'output_config.format.type');
    needObject(config.format.schema, 'output_config.format.schema');
    checkOutputSchema(config.format.schema, 'output_config.format.schema');
}

function checkEffort(effort, { efforts }) {
    needChoice(effort, EFFORTS, 'output_config.effort');
    if (!efforts.length) refuse('', 'This model does not support the effort parameter.');
    if (!efforts.includes(effort)) {
        refuse('', `This model does not support effort level '${effort}'. Supported levels: ${[...efforts].sort().join(', ')}.`);
    }
}

function checkOutputSchema(schema, path) {
    walkSchema(schema, { root: schema, path, refs: [], done: new Set() });
}

function walkSchema(schema, ctx) {
    if (!isObject(schema)) refuse(ctx.path, 'Schema should be an object');
    if (given(schema.$ref)) {
        followRef(schema.$ref, ctx);
        return;
    }
    checkSchemaType(schema, ctx);
    checkSchemaWords(schema, ctx);
    if ([schema.type].flat().includes('object') && schema.additionalProperties !== false) {
        refuse(ctx.path, "For 'object' type, 'additionalProperties' must be explicitly set to false");
    }
    subschemas(schema).forEach((sub) => walkSchema(sub, ctx));
}

function subschemas(schema) {
    const maps = [schema.properties, schema.$defs, schema.definitions].filter(given);
    const lists = [schema.anyOf, schema.allOf].filter(given);
    return [
        ...maps.flatMap((map) => Object.values(map)),
        ...lists.flatMap((list) => list),
        ...(given(schema.items) ? [schema.items] : []),
    ];
}

function checkSchemaType(schema, ctx) {
    const types = [schema.type].flat().filter(given);
    const unknown = types.find((type) => !SCHEMA_TYPES.includes(type));
    if (unknown !== undefined) refuse(ctx.path, `Schema type '${unknown}' is not supported`);
    const typed = types.length > 0 || ['anyOf', 'allOf', 'enum', 'const'].some((word) => word in schema);
    if (!typed) refuse(ctx.path, 'Schema type is required');
}

function checkSchemaWords(schema, ctx) {
    const bad = Object.keys(schema).filter((word) => !SCHEMA_WORDS.has(word)).sort();
    if (given(schema.minItems) && schema.minItems > 1) {
        refuse(ctx.path, "For 'array' type, 'minItems' values other than 0 or 1 are not supported");
    }
    if (given(schema.format) && !SCHEMA_FORMATS.has(schema.format)) {
        refuse(ctx.path, `String format '${schema.format}' is not supported`);
    }
    if (bad.length === 0) return;
    const verb = bad.length === 1 ? `property '${bad[0]}' is` : `properties ${bad.join(', ')} are`;
    refuse(ctx.path, `For '${[schema.type].flat()[0] ?? 'any'}' type, ${verb} not supported`);
}

/* A reference that leads back to itself is recursion, which constrained decoding has not. */
function followRef(ref, ctx) {
    if (ctx.refs.includes(ref)) refuse(ctx.path, `Circular reference detected in schema definitions: ${ref}`);
    if (ctx.done.has(ref)) return;
    const target = resolveRef(ref, ctx.root);
    if (target === undefined) refuse(ctx.path, `Reference '${ref}' could not be resolved`);
    walkSchema(target, { ...ctx, refs: [...ctx.refs, ref] });
    ctx.done.add(ref);
}

/* ---------------------------------------------------------------------------------------- */
/* Reading the conversation                                                                  */
/* ---------------------------------------------------------------------------------------- */

const REMINDER = /^\s*<system-reminder>[\s\S]*<\/system-reminder>\s*$/;

/*
 * The newest user text. The CLI's own <system-reminder> blocks do not count as the user's;
 * a message that has tool results and no text speaks through these.
 */
function newestUserText(body) {
    const message = body.messages.filter((m) => m.role === 'user').pop();
    if (message === undefined) return '';
    if (typeof message.content === 'string') return message.content;
    const own = texts(message.content).filter((text) => !REMINDER.test(text));
    if (own.length > 0) return own.join('\n');
    return message.content.filter((b) => b.type === 'tool_result').map(resultText).join('\n');
}

const texts = (blocks) => blocks.filter((b) => b.type === 'text').map((b) => b.text);

function resultText(block) {
    if (typeof block.content === 'string') return block.content;
    return texts(block.content ?? []).join('\n');
}

/*
 * The last `[[stub {json}]]`, as {script, rest}. The JSON may hold "]]" itself, so every end
 * is tried. One that never parses is the test's mistake and has to be loud.
 */
function readMarker(text) {
    const start = text.lastIndexOf('[[stub ');
    if (start < 0) return null;
    const from = start + '[[stub '.length;
    for (let end = text.indexOf(']]', from); end >= 0; end = text.indexOf(']]', end + 1)) {
        const script = parseJson(text.slice(from, end));
        if (isObject(script)) {
            return { script, rest: (text.slice(0, start) + text.slice(end + 2)).trim() };
        }
    }
    throw new ApiError(400, 'stub: the [[stub …]] marker does not hold a JSON object');
}

function parseJson(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Planning an answer                                                                        */
/* ---------------------------------------------------------------------------------------- */

const newId = (prefix) => `${prefix}_stub${randomBytes(9).toString('hex')}`;

const words = (text) => text.match(/\s*\S+|\s+$/g) ?? [];

/* About what a tokenizer would say; only there to be plausible and not zero. */
const estimate = (characters) => Math.max(1, Math.ceil(characters / 4));

/* The blocks of an answer as the script spells them, in order. */
function scriptBlocks(script, fallback) {
    if (script.empty) return [];
    if (script.blocks) return script.blocks;
    const blocks = [];
    if (given(script.thinking)) blocks.push({ type: 'thinking', thinking: script.thinking });
    if (given(script.deltas) || given(script.text)) {
        blocks.push({ type: 'text', text: script.text, deltas: script.deltas, repeat: script.repeat });
    } else if (!script.tool_use) {
        blocks.push({ type: 'text', text: fallback, repeat: script.repeat });
    }
    for (const call of script.tool_use ?? []) blocks.push({ ...call, type: 'tool_use' });
    return blocks;
}

/* One block as {start, deltas, repeat, tail, whole}: the stream's view, and the JSON answer's. */
function planBlock(block) {
    if (block.raw_deltas) return planRaw(block);
    return (PLANS[block.type] ?? planOpaque)(block);
}

const PLANS = { text: planText, thinking: planThinking, tool_use: planToolUse };

const wholeText = (deltas, repeat) => deltas.join('').repeat(repeat);

function planText(block) {
    const deltas = block.deltas ?? words(block.text ?? '');
    const repeat = block.repeat ?? 1;
    return {
        start: { type: 'text', text: '' },
        deltas: deltas.map((text) => ({ type: 'text_delta', text })),
        repeat,
        tail: [],
        whole: () => ({ type: 'text', text: wholeText(deltas, repeat) }),
        size: deltas.join('').length * repeat,
    };
}

function planThinking(block) {
    const deltas = block.deltas ?? words(block.thinking ?? '');
    const repeat = block.repeat ?? 1;
    const signature = block.signature ?? Buffer.from(newId('signature')).toString('base64');
    return {
        start: { type: 'thinking', thinking: '', signature: '' },
        deltas: deltas.map((thinking) => ({ type: 'thinking_delta', thinking })),
        repeat,
        tail: [{ type: 'signature_delta', signature }],
        whole: () => ({ type: 'thinking', thinking: wholeText(deltas, repeat), signature }),
        size: deltas.join('').length * repeat,
    };
}

/* The API opens the arguments with an empty delta, and sends no more for a call without any. */
function planToolUse(block) {
    const { id = newId('toolu'), name } = block;
    const json = block.input_json_deltas ?? ['', ...pieces(JSON.stringify(block.input ?? {}))];
    return {
        start: { type: 'tool_use', id, name, input: {} },
        deltas: json.map((partial) => ({ type: 'input_json_delta', partial_json: partial })),
        repeat: 1,
        tail: [],
        whole: () => ({ type: 'tool_use', id, name, input: block.input ?? parseJson(json.join('')) ?? {} }),
        size: json.join('').length,
    };
}

function planOpaque(block) {
    return { start: block, deltas: [], repeat: 1, tail: [], whole: () => block, size: 0 };
}

function planRaw({ raw_deltas: deltas, ...start }) {
    return { start, deltas, repeat: 1, tail: [], whole: () => start, size: 0 };
}

function pieces(json) {
    if (json === '{}') return [];
    const chars = Array.from(json);
    const out = [];
    for (let i = 0; i < chars.length; i += 16) out.push(chars.slice(i, i + 16).join(''));
    return out;
}

/* Everything about an answer that does not depend on whether it is streamed. */
function planAnswer(script, body, rawLength, fallback) {
    const blocks = scriptBlocks(script, fallback);
    const plans = blocks.map(planBlock);
    const sum = (kind) => plans.reduce((n, p) => n + (!kind || p.start.type === kind ? p.size : 0), 0);
    const usage = {
        input_tokens: estimate(rawLength),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: estimate(sum()),
        output_tokens_details: { thinking_tokens: sum('thinking') ? estimate(sum('thinking')) : 0 },
        ...script.usage,
    };
    return {
        plans,
        usage,
        id: newId('msg'),
        model: script.model ?? body.model.replace(/\[.*$/, ''),
        stop: {
            stop_reason: script.stop_reason ?? defaultStop(blocks),
            stop_sequence: script.stop_sequence ?? null,
            ...(script.stop_details === undefined ? {} : { stop_details: script.stop_details }),
        },
    };
}

const defaultStop = (blocks) => (blocks.some((b) => b.type === 'tool_use') ? 'tool_use' : 'end_turn');

function messageObject(answer, content, stop, usage) {
    return {
        id: answer.id,
        type: 'message',
        role: 'assistant',
        model: answer.model,
        content,
        ...stop,
        usage: { service_tier: 'standard', ...usage },
    };
}

/* The usage of message_start: all of the input, and next to nothing of the output yet. */
function startUsage(usage) {
    const { output_tokens_details: details, ...rest } = usage;
    return { ...rest, output_tokens: Math.min(1, usage.output_tokens) };
}

/* ---------------------------------------------------------------------------------------- */
/* Sending an answer                                                                         */
/* ---------------------------------------------------------------------------------------- */

/* Waits, unless the client goes first. */
function sleep(ms, signal) {
    if (!ms) return undefined;
    return new Promise((resolve, reject) => {
        const gone = () => {
            clearTimeout(timer);
            reject(new Gone());
        };
        const timer = setTimeout(() => {
            signal.removeEventListener('abort', gone);
            resolve();
        }, ms);
        if (signal.aborted) gone();
        else signal.addEventListener('abort', gone, { once: true });
    });
}

/* Never returns while the client stays. */
function forever(signal) {
    return new Promise((_, reject) => {
        const gone = () => reject(new Gone());
        if (signal.aborted) gone();
        else signal.addEventListener('abort', gone, { once: true });
    });
}

const frame = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;

/*
 * Server-sent events with back-pressure. emit() gathers, and returns a promise only when there
 * is something to wait for: 200,000 deltas must not cost 200,000 turns of the event loop. Usage
 * that an event tells is billed when the event goes out.
 */
class EventStream {
    constructor(res, { signal, cut, bill }, breakAfter = Infinity) {
        this.res = res;
        this.signal = signal;
        this.disconnect = cut;
        this.bill = bill;
        this.usage = null;
        this.left = breakAfter;
        this.buffer = '';
    }

    billed() {
        if (this.usage) this.bill(this.usage);
        this.usage = null;
    }

    emit(text, usage) {
        this.buffer += text;
        if (usage) this.usage = usage;
        this.left -= 1;
        if (this.left === 0) return this.cut();
        return this.buffer.length >= WRITE_SIZE ? this.flush() : undefined;
    }

    flush() {
        if (this.signal.aborted) throw new Gone();
        if (this.buffer === '') return undefined;
        const text = this.buffer;
        this.buffer = '';
        this.billed();
        return this.res.write(text) ? undefined : this.drained();
    }

    drained() {
        return new Promise((resolve, reject) => {
            const settle = () => {
                this.res.off('drain', settle);
                this.signal.removeEventListener('abort', settle);
                if (this.signal.aborted) reject(new Gone());
                else resolve();
            };
            this.res.on('drain', settle);
            this.signal.addEventListener('abort', settle, { once: true });
        });
    }

    async pause(ms) {
        await this.flush();
        await sleep(ms, this.signal);
    }

    /* What was promised goes out first; then the connection is cut with the body unfinished. */
    async cut() {
        this.billed();
        if (this.buffer === '') await new Promise((resolve) => setImmediate(resolve));
        else await new Promise((resolve) => this.res.write(this.buffer, resolve));
        this.disconnect();
        throw new Gone();
    }

    end() {
        if (this.signal.aborted) throw new Gone();
        this.billed();
        this.res.end(this.buffer);
        this.buffer = '';
    }
}

async function streamAnswer(res, answer, script, ctx) {
    const { signal, requestId, gap } = ctx;
    const out = new EventStream(res, ctx, script.break_after ?? Infinity);
    res.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        'request-id': requestId,
    });
    if (script.hang === 'headers' || script.first_ms || script.break_after === 0) res.flushHeaders();
    if (script.break_after === 0) await out.cut();
    if (script.hang === 'headers') await forever(signal);
    await sleep(script.first_ms, signal);

    const begun = startUsage(answer.usage);
    const message = messageObject(answer, [], { stop_reason: null, stop_sequence: null }, begun);
    await out.emit(frame({ type: 'message_start', message }), begun);
    if (script.ping) await out.emit(frame({ type: 'ping' }));
    if (script.hang) {
        await out.flush();
        await forever(signal);
    }
    await streamBlocks(out, answer.plans, gap, Boolean(script.error_event));
    if (script.error_event) {
        const { type = 'overloaded_error', message: text = 'Overloaded' } = script.error_event;
        await out.emit(frame(errorBody(type, text, requestId)));
    } else {
        await out.emit(frame({ type: 'message_delta', delta: answer.stop, usage: answer.usage }), answer.usage);
        await out.emit(frame({ type: 'message_stop' }));
    }
    out.end();
}

/* With an error to come the last block stays open, as when a real stream fails. */
async function streamBlocks(out, plans, gap, failing) {
    for (let index = 0; index < plans.length; index++) {
        const plan = plans[index];
        await out.emit(frame({ type: 'content_block_start', index, content_block: plan.start }));
        await streamDeltas(out, plan.deltas, plan.repeat, index, gap);
        await streamDeltas(out, plan.tail, 1, index, 0);
        if (failing && index === plans.length - 1) return;
        await out.emit(frame({ type: 'content_block_stop', index }));
    }
}

async function streamDeltas(out, deltas, repeat, index, gap) {
    const frames = deltas.map((delta) => frame({ type: 'content_block_delta', index, delta }));
    for (let round = 0; round < repeat; round++) {
        for (const text of frames) {
            const wait = out.emit(text);
            if (wait) await wait;
            if (gap) await out.pause(gap);
        }
    }
}

async function wholeAnswer(res, answer, script, { signal, requestId, cut, bill }) {
    if (given(script.break_after)) {
        cut();
        throw new Gone();
    }
    if (script.hang) await forever(signal);
    if (script.error_event) {
        const { type = 'overloaded_error', message = 'Overloaded' } = script.error_event;
        throw new ApiError(STATUS_OF_TYPE[type] ?? 500, message, type);
    }
    await sleep(script.first_ms, signal);
    const content = answer.plans.map((plan) => plan.whole());
    bill(answer.usage);
    sendJson(res, 200, messageObject(answer, content, answer.stop, answer.usage), { 'request-id': requestId });
}

function sendJson(res, status, value, headers = {}) {
    const text = JSON.stringify(value);
    res.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        ...headers,
    });
    res.end(text);
}

function sendError(res, error, requestId) {
    if (res.headersSent || res.destroyed) return;
    sendJson(res, error.status, errorBody(error.type, error.message, requestId), {
        'request-id': requestId,
        ...error.headers,
    });
}

/* ---------------------------------------------------------------------------------------- */
/* Scripts and records                                                                       */
/* ---------------------------------------------------------------------------------------- */

class ScriptQueue {
    constructor() {
        this.scripts = [];
    }

    add(value) {
        const list = Array.isArray(value) ? value : [value];
        if (!list.every(isObject)) throw new ApiError(400, 'stub: a script is a JSON object');
        for (const script of list) this.scripts.push({ script, left: script.times ?? 1 });
        return this.scripts.length;
    }

    /* The first that fits; one without `match` fits everything. */
    take(text) {
        const at = this.scripts.findIndex(({ script }) => !given(script.match) || text.includes(script.match));
        if (at < 0) return null;
        const entry = this.scripts[at];
        entry.left -= 1;
        if (entry.left <= 0) this.scripts.splice(at, 1);
        return entry.script;
    }

    clear() {
        this.scripts = [];
    }
}

/* What came in, the newest last, within KEEP_REQUESTS and KEEP_BYTES. */
/* Sums by the API's terms: {calls, prompt, cached, completion, reasoning}, of all and of each model. */
class Account {
    constructor() {
        this.all = Account.row();
        this.models = {};
        this.probes = Account.row();
    }

    static row() {
        return { calls: 0, prompt: 0, cached: 0, completion: 0, reasoning: 0 };
    }

    /*
     * For one call a function that takes its usage, each time it was told. What the CLI asks to
     * try a model out, one token and not streamed, is kept apart.
     */
    call(body) {
        const probe = body.stream !== true && body.max_tokens === 1;
        const rows = probe ? [this.probes] : [this.all, this.models[body.model] ??= Account.row()];
        let had = Account.row();
        return (usage) => {
            const has = {
                calls: 1,
                prompt: usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
                cached: usage.cache_read_input_tokens,
                completion: usage.output_tokens,
                reasoning: usage.output_tokens_details?.thinking_tokens ?? 0,
            };
            for (const row of rows) for (const key of Object.keys(row)) row[key] += has[key] - had[key];
            had = has;
        };
    }

    copy() {
        return structuredClone({ ...this.all, models: this.models, probes: this.probes });
    }
}

class Recorder {
    constructor(enabled) {
        this.enabled = enabled;
        this.account = new Account();
        this.requests = [];
        this.bytes = 0;
        this.total = 0;
        this.active = 0;
        this.closedEarly = 0;
    }

    begin(req) {
        this.total += 1;
        this.active += 1;
        const record = {
            n: this.total,
            at: Date.now(),
            method: req.method,
            path: req.url,
            headers: req.headers,
            body: null,
            raw_length: 0,
            status: null,
            closed_early: false,
        };
        if (this.enabled) this.requests.push(record);
        return record;
    }

    body(record, value, length) {
        record.raw_length = length;
        if (!this.enabled) return;
        record.body = value;
        this.bytes += length;
        while (this.requests.length > KEEP_REQUESTS || (this.bytes > KEEP_BYTES && this.requests.length > 1)) {
            this.bytes -= this.requests.shift().raw_length;
        }
    }

    end(record, complete) {
        this.active -= 1;
        if (complete) return;
        record.closed_early = true;
        this.closedEarly += 1;
    }

    clear() {
        this.requests.length = 0;
        this.bytes = 0;
    }

    stats() {
        return { total: this.total, active: this.active, closed_early: this.closedEarly };
    }
}

/* ---------------------------------------------------------------------------------------- */
/* The server                                                                                */
/* ---------------------------------------------------------------------------------------- */

/*
 * The whole body, or an ApiError. A body that is too large is read to its end and thrown away:
 * closing at once would reset the connection before the client has seen the 413.
 */
function readBody(req, limit) {
    return new Promise((resolve, reject) => {
        const chunks = [];
        let size = 0;
        req.on('data', (chunk) => {
            size += chunk.length;
            if (size <= limit) chunks.push(chunk);
            else chunks.length = 0;
        });
        req.on('end', () => {
            if (size <= limit) resolve(Buffer.concat(chunks));
            else reject(Object.assign(new ApiError(413, 'Request exceeds the maximum size'), { size }));
        });
        req.on('error', () => reject(new Gone()));
        req.on('close', () => reject(new Gone()));
    });
}

class Stub {
    constructor({ demo = false, record = true, maxBody = MAX_BODY } = {}) {
        this.demo = demo;
        this.maxBody = maxBody;
        this.scripts = new ScriptQueue();
        this.recorder = new Recorder(record);
        this.served = 0;
        this.server = http.createServer({ noDelay: true, keepAliveTimeout: 120000 }, (req, res) => {
            this.serve(req, res);
        });
    }

    async serve(req, res) {
        this.served += 1;
        const requestId = `req_stub${String(this.served).padStart(6, '0')}`;
        try {
            await this.route(req, res, requestId);
        } catch (error) {
            this.fail(res, error, requestId);
        }
    }

    fail(res, error, requestId) {
        if (error instanceof Gone) return;
        if (error instanceof ApiError) {
            sendError(res, error, requestId);
            return;
        }
        console.error('messages-api stub:', error);
        sendError(res, new ApiError(500, `stub: ${error.message}`), requestId);
        if (!res.writableEnded) res.destroy();
    }

    async route(req, res, requestId) {
        const path = req.url.split('?', 1)[0];
        const handler = ROUTES[path];
        if (handler === undefined) {
            req.resume();
            throw new ApiError(404, 'Not Found');
        }
        if (handler[req.method] === undefined) {
            req.resume();
            throw new ApiError(405, 'Method Not Allowed', 'invalid_request_error',
                { allow: Object.keys(handler).join(', ') });
        }
        await this[handler[req.method]](req, res, requestId);
    }

    /* --- the Messages API --- */

    async messages(req, res, requestId) {
        const record = this.recorder.begin(req);
        const gone = new AbortController();
        let cutByScript = false;
        const cut = () => {
            cutByScript = true;
            res.socket?.destroy();
        };
        res.on('close', () => {
            this.recorder.end(record, res.writableFinished || cutByScript);
            gone.abort();
        });
        try {
            const raw = await readBody(req, this.maxBody);
            const body = this.parse(record, raw, req.headers);
            await this.answer(res, body, raw.length, { requestId, signal: gone.signal, cut, record });
        } catch (error) {
            if (error instanceof ApiError && !res.headersSent) record.status = error.status;
            if (error.size !== undefined) record.raw_length = error.size;
            throw error;
        }
    }

    /* Recorded before it is judged: what was refused is what a test wants to see. */
    parse(record, raw, headers) {
        const text = raw.toString('utf8');
        const body = parseJson(text);
        this.recorder.body(record, body === undefined ? text : body, raw.length);
        checkHeaders(headers);
        if (body === undefined) refuse('', 'The request body is not valid JSON');
        checkRequest(body);
        return body;
    }

    async answer(res, body, rawLength, ctx) {
        const { script, text } = this.choose(body);
        await sleep(script.delay_ms, ctx.signal);
        await script.until?.();
        if (script.status >= 400) throw scriptedError(script);
        const answer = planAnswer(script, body, rawLength, text);
        const gap = script.gap_ms ?? (this.demo ? DEMO_GAP_MS : 0);
        ctx.record.status = 200;
        ctx.bill = this.recorder.account.call(body);
        if (body.stream === true) await streamAnswer(res, answer, script, { ...ctx, gap });
        else await wholeAnswer(res, answer, script, ctx);
    }

    /* The script of this answer, and the text for one that brings none. */
    choose(body) {
        const said = newestUserText(body);
        const queued = this.scripts.take(said);
        const marker = queued ? null : readMarker(said);
        const text = marker?.rest ?? said;
        if (!this.demo) return { script: queued ?? marker?.script ?? {}, text: `echo: ${text}` };
        const script = demoScript(body, text);
        return { script: queued ?? marker?.script ?? script, text: script.text };
    }

    async countTokens(req, res, requestId) {
        const raw = await readBody(req, this.maxBody);
        const body = parseJson(raw.toString('utf8'));
        if (body === undefined) refuse('', 'The request body is not valid JSON');
        checkHeaders(req.headers);
        checkRequest(body, { counting: true });
        sendJson(res, 200, { input_tokens: estimate(raw.length) }, { 'request-id': requestId });
    }

    alive(req, res) {
        req.resume();
        res.writeHead(200, { 'content-length': 0 });
        res.end();
    }

    /* --- the stub's own --- */

    async addScripts(req, res) {
        const value = parseJson((await readBody(req, this.maxBody)).toString('utf8'));
        if (value === undefined) throw new ApiError(400, 'stub: the script is not JSON');
        sendJson(res, 200, { queued: this.scripts.add(value) });
    }

    listScripts(req, res) {
        req.resume();
        sendJson(res, 200, this.scripts.scripts);
    }

    clearScripts(req, res) {
        req.resume();
        this.scripts.clear();
        sendJson(res, 200, { queued: 0 });
    }

    listRequests(req, res) {
        req.resume();
        const { requests } = this.recorder;
        const last = new URL(req.url, 'http://stub').searchParams.has('last');
        sendJson(res, 200, last ? requests.slice(-1) : requests);
    }

    clearRequests(req, res) {
        req.resume();
        this.recorder.clear();
        sendJson(res, 200, []);
    }

    account(req, res) {
        req.resume();
        sendJson(res, 200, this.recorder.account.copy());
    }

    stats(req, res) {
        req.resume();
        sendJson(res, 200, this.recorder.stats());
    }
}

const ROUTES = {
    '/': { HEAD: 'alive' },
    '/v1/messages': { POST: 'messages' },
    '/v1/messages/count_tokens': { POST: 'countTokens' },
    '/_script': { POST: 'addScripts', GET: 'listScripts', DELETE: 'clearScripts' },
    '/_requests': { GET: 'listRequests', DELETE: 'clearRequests' },
    '/_account': { GET: 'account' },
    '/_stats': { GET: 'stats' },
};

function scriptedError(script) {
    const type = script.error_type ?? errorType(script.status);
    return new ApiError(script.status, script.message ?? `stub: scripted ${type}`, type, script.headers);
}

/**
 * For a test that runs in Node: options {demo, record, maxBody}. Returns the http server;
 * listen(port, host), which resolves to the port; close(); `requests`, the live array behind
 * GET /_requests; script(script | [scripts]), clear(), stats() and account().
 */
export function createStub(options = {}) {
    const stub = new Stub(options);
    const { server, scripts, recorder } = stub;
    return {
        server,
        requests: recorder.requests,
        script: (value) => scripts.add(value),
        scripts: () => scripts.scripts,
        clear: () => {
            scripts.clear();
            recorder.clear();
        },
        stats: () => recorder.stats(),
        account: () => recorder.account.copy(),
        listen: (port = 0, host = '127.0.0.1') => new Promise((resolve, reject) => {
            server.once('error', reject);
            server.listen(port, host, () => {
                server.off('error', reject);
                resolve(server.address().port);
            });
        }),
        close: () => new Promise((resolve) => {
            server.close(() => resolve());
            server.closeAllConnections();
        }),
    };
}

/* ---------------------------------------------------------------------------------------- */
/* The command                                                                               */
/* ---------------------------------------------------------------------------------------- */

function parseArguments(argv) {
    const options = { port: 0, host: '127.0.0.1', demo: false, record: true, dieWithParent: false };
    for (let i = 0; i < argv.length; i++) {
        switch (argv[i]) {
        case '--port': options.port = Number(argv[++i]); break;
        case '--host': options.host = argv[++i]; break;
        case '--demo': options.demo = true; break;
        case '--no-record': options.record = false; break;
        case '--die-with-parent': options.dieWithParent = true; break;
        default: throw new Error(`unknown argument: ${argv[i]}`);
        }
    }
    if (!Number.isInteger(options.port) || options.port < 0 || options.port > 65535 || !options.host) {
        throw new Error('--port takes a number from 0 to 65535, --host an address');
    }
    return options;
}

async function main() {
    const options = parseArguments(process.argv.slice(2));
    const stub = createStub(options);
    const end = () => stub.close().then(() => process.exit(0));
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
    if (options.dieWithParent) {
        process.stdin.resume();
        process.stdin.once('end', end);
        process.stdin.once('error', end);
    }
    const port = await stub.listen(options.port, options.host);
    process.stdout.write(`listening ${port}\n`);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
    main().catch((error) => {
        process.stderr.write(`messages-api.mjs: ${error.message}\n`);
        process.exit(1);
    });
}
