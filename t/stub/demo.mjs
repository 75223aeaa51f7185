/*
 * What the stub answers with --demo, where no script says otherwise: enough for somebody to try
 * tools and structured output without an account, and never without saying that no model was
 * asked.
 *
 *   - Constrained output is an instance of its schema.
 *   - A tool is called when the client forces it, or when the user's text names it and a made-up
 *     call can do no harm: clients run what they are told to, and a coding agent's tools can do
 *     much.
 *   - The results of tools are repeated.
 *   - Stop sequences and max_tokens end it.
 */

import { hintsOf, instanceOf } from './instance.mjs';

const WHO = 'the stub that comes with ngx_http_claude_module';

/* Words in the names of tools that say nothing of what they are about. */
const COMMON = new Set(['get', 'set', 'the', 'tool', 'fetch', 'current', 'use', 'call', 'for', 'and', 'with', 'from', 'data']);

/* What changes something, runs something or goes elsewhere is nothing to be called at a guess. */
const RISKY = new RegExp([
    'bash', 'shell', 'exec', 'command', 'run', 'eval', 'script', 'code', 'sql', 'write', 'edit', 'patch', 'save', 'create',
    'update', 'delete', 'remove', 'move', 'send', 'post', 'pay', 'buy', 'kill', 'deploy', 'install', 'fetch', 'http', 'url', 'web',
].join('|'), 'i');

/* What the words of a request answer: a script for the stub. said: the newest text of the user. */
export function demoScript(body, said) {
    const text = unquoted(said);
    const results = lastResults(body);
    const tool = results.length ? undefined : chosenTool(body, text);
    if (tool) return callScript(tool, text);
    const format = body.output_config?.format;
    if (format) return limited(jsonText(instanceOf(format.schema, hintsOf(text))), body);
    if (asksForObject(body)) return limited(jsonText({ note: `This is ${WHO}, not a model.`, you_wrote: said }), body);
    return limited(results.length ? resultsText(results) : helloText(said, body), body);
}

/* With spaces, at which the stub cuts it into deltas. */
const jsonText = (value) => JSON.stringify(value, null, 2);

/* The text up to the first stop sequence, and no longer than max_tokens of four letters. */
function limited(text, { stop_sequences: stops = [], max_tokens: most }) {
    const ends = stops.map((stop) => [text.indexOf(stop), stop]).filter(([at]) => at >= 0).sort(([a], [b]) => a - b);
    const [end, stop] = ends[0] ?? [text.length];
    if (end > most * 4) return { text: text.slice(0, most * 4), stop_reason: 'max_tokens' };
    return stop === undefined ? { text } : { text: text.slice(0, end), stop_reason: 'stop_sequence', stop_sequence: stop };
}

/* OpenCode puts all of a message in quotes. */
const unquoted = (text) => /^\s*"([^"]*)"\s*$/.exec(text)?.[1] ?? text;

/* ---------------------------------------------------------------------------------------- */

const messagesOf = (body) => body.messages.filter(({ role }) => role !== 'system');

function helloText(said, body) {
    const count = messagesOf(body).length;
    return `Hello! This is ${WHO}: the whole way from your client through nginx and the Claude CLI works, but no model `
        + `was asked and nothing was spent. You wrote: “${said}”. The conversation has ${count} `
        + `${count === 1 ? 'message' : 'messages'} so far.`;
}

/* What the module tells the model of response_format json_object. */
function asksForObject({ system }) {
    const blocks = typeof system === 'string' ? [{ text: system }] : system ?? [];
    return blocks.some(({ text }) => text.includes('Answer with one JSON object'));
}

/* ---------------------------------------------------------------------------------------- */

/* The texts of the results that the newest message brings. */
function lastResults(body) {
    const { role, content } = messagesOf(body).at(-1);
    if (role !== 'user' || typeof content === 'string') return [];
    return content.filter(({ type }) => type === 'tool_result').map(({ content: inner }) => (
        typeof inner === 'string' ? inner : (inner ?? []).map(({ type, text }) => text ?? `(${type})`).join('\n')));
}

const resultsText = (results) => `${results.map((text) => `Your tool has answered: “${text}”.`).join(' ')} `
    + `That is all that I can say of it: this is ${WHO}, no model was asked.`;

function callScript({ name, input_schema: schema }, text) {
    return {
        text: `I call ${name}, with arguments taken from your words: this is ${WHO}, no model was asked.`,
        tool_use: [{ name, input: instanceOf(schema, hintsOf(text)) }],
    };
}

function chosenTool({ tools, tool_choice: choice }, text) {
    const own = (tools ?? []).filter(({ input_schema: schema }) => schema);
    if (choice?.type === 'none') return undefined;
    if (choice?.type === 'tool') return own.find(({ name }) => name === choice.name);
    const named = own.find((tool) => isNamed(tool, text) && isHarmless(tool));
    return choice?.type === 'any' ? named ?? own[0] : named;
}

function isNamed({ name }, text) {
    const parts = name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase().split(/[^a-z\d]+/);
    const telling = parts.filter((part) => part.length > 2 && !COMMON.has(part));
    const words = new Set(text.toLowerCase().split(/[^\p{L}\d_]+/u));
    return words.has(name.toLowerCase()) || telling.some((part) => words.has(part));
}

/* One text that is made up may be wrong; several together may mean anything. */
function isHarmless({ name, input_schema: { properties = {}, required = [] } }) {
    const free = required.filter((key) => properties[key]?.type === 'string' && !properties[key].enum);
    return free.length < 2 && ![name, ...required].some((word) => RISKY.test(word));
}
