/*
 * The stub's own tests: `node --test t/stub/`. Everything runs against a stub in this process
 * on a free loopback port, over real HTTP; one test starts the command itself.
 */

import { test, before, after, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createStub } from './messages-api.mjs';

const MODEL = 'claude-sonnet-5-5';
const OLD = 'claude-sonnet-4-5';
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const PDF = Buffer.from('%PDF-1.4\n').toString('base64');
const KEY = { 'x-api-key': 'dummy', 'anthropic-version': '2023-06-01' };

let stub;
let base;

before(async () => {
    stub = createStub();
    base = `http://127.0.0.1:${await stub.listen()}`;
});
after(() => stub.close());
beforeEach(() => stub.clear());

const user = (content) => ({ role: 'user', content });
const assistant = (content) => ({ role: 'assistant', content });
const body = (extra = {}) => ({ model: MODEL, max_tokens: 100, messages: [user('hi there')], ...extra });

function post(value, { headers = KEY, path = '/v1/messages', url = base, signal } = {}) {
    return fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof value === 'string' ? value : JSON.stringify(value),
        signal,
    });
}

const ask = async (extra) => (await post(body(extra))).json();

/* The events of a stream, each checked to carry its own type in both lines. */
function parseEvents(text) {
    return text.split('\n\n').filter(Boolean).map((frame) => {
        const [event, data] = frame.split('\n');
        const value = JSON.parse(data.replace(/^data: /, ''));
        assert.equal(event, `event: ${value.type}`);
        return value;
    });
}

async function stream(extra, url) {
    const answer = await post(body({ stream: true, ...extra }), { url });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^text\/event-stream/);
    return parseEvents(await answer.text());
}

const types = (events) => events.map((event) => event.type);
const textOf = (events) => events.map((event) => event.delta?.text ?? '').join('');

async function refused(extra, pattern, status = 400, type = 'invalid_request_error') {
    const answer = await post({ ...body(), ...extra });
    const value = await answer.json();
    assert.equal(answer.status, status, JSON.stringify(value));
    assert.equal(value.type, 'error');
    assert.equal(value.error.type, type);
    assert.match(value.error.message, pattern);
    assert.equal(value.request_id, answer.headers.get('request-id'));
}

async function accepted(extra) {
    const answer = await post({ ...body(), ...extra });
    assert.equal(answer.status, 200, await answer.text());
}

/* Raw, because fetch hides a cut connection's bytes. */
function rawPost(value) {
    return new Promise((resolve) => {
        const req = http.request(`${base}/v1/messages`, { method: 'POST', headers: KEY }, (res) => {
            let text = '';
            const finish = (complete) => resolve({ status: res.statusCode, text, complete });
            res.on('data', (chunk) => { text += chunk; });
            res.on('end', () => finish(true));
            res.on('error', () => finish(false));
        });
        req.on('error', () => resolve({ status: null, text: '', complete: false }));
        req.end(JSON.stringify(value));
    });
}

async function until(condition) {
    for (let i = 0; i < 200 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(condition());
}

/* --- answers --- */

test('echoes the newest user text, streamed word by word', async () => {
    const events = await stream();
    assert.deepEqual(types(events), ['message_start', 'content_block_start', 'content_block_delta',
        'content_block_delta', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']);
    assert.equal(textOf(events), 'echo: hi there');
    assert.equal(events[0].message.model, MODEL);
    assert.equal(events[0].message.stop_reason, null);
    assert.ok(events[0].message.usage.input_tokens > 0);
    assert.equal(events.at(-2).delta.stop_reason, 'end_turn');
});

test('answers JSON without stream, and takes the query string of the CLI', async () => {
    const answer = await post(body(), { path: '/v1/messages?beta=true' });
    const value = await answer.json();
    assert.deepEqual(value.content, [{ type: 'text', text: 'echo: hi there' }]);
    assert.equal(value.type, 'message');
    assert.equal(value.stop_reason, 'end_turn');
});

test('a stream and a JSON answer say the same, white space and all', async () => {
    const text = '  leading,\n\nlines \t and trailing \n';
    stub.script({ text, times: 2 });
    assert.equal(textOf(await stream()), text);
    assert.equal((await ask()).content[0].text, text);
});

test('echo: reminders of the CLI are not the user, tool results speak when there is no text', async () => {
    const reminded = await ask({ messages: [user([{ type: 'text', text: '<system-reminder>x</system-reminder>' },
        { type: 'text', text: 'me' }])] });
    assert.equal(reminded.content[0].text, 'echo: me');
    const result = await ask({ messages: [user('q'), assistant([{ type: 'tool_use', id: 'a', name: 'f', input: {} }]),
        user([{ type: 'tool_result', tool_use_id: 'a', content: 'forty-two' }])] });
    assert.equal(result.content[0].text, 'echo: forty-two');
});

test('the marker in the newest user message scripts the answer; the last one wins', async () => {
    const marked = (text) => ({ messages: [user('[[stub {"text":"old"}]]'), assistant('ok'), user(text)] });
    assert.equal((await ask(marked('plain'))).content[0].text, 'echo: plain');
    assert.equal((await ask(marked('[[stub {"text":"one"}]] [[stub {"text":"two"}]]'))).content[0].text, 'two');
    assert.equal((await ask(marked('a [[stub {"usage":{}}]]'))).content[0].text, 'echo: a');
    const nested = await ask(marked('[[stub {"tool_use":[{"name":"f","input":{"a":[[1]]}}]}]]'));
    assert.deepEqual(nested.content[0].input, { a: [[1]] });
    await refused(marked('[[stub {oops]]'), /marker does not hold/);
});

test('the queue: order, match, times, clearing, and it goes before a marker', async () => {
    const added = await post([{ text: 'first' }, { text: 'twice', times: 2 }, { text: 'm', match: 'needle' }],
        { path: '/_script' });
    assert.deepEqual(await added.json(), { queued: 3 });
    const say = async (text) => (await ask({ messages: [user(text)] })).content[0].text;
    assert.equal(await say('[[stub {"text":"marker"}]]'), 'first');
    assert.equal(await say('x'), 'twice');
    assert.equal(await say('x'), 'twice');
    assert.equal(await say('x'), 'echo: x');
    assert.equal(await say('a needle'), 'm');
    stub.script({ text: 'gone' });
    await fetch(`${base}/_script`, { method: 'DELETE' });
    assert.equal(await say('x'), 'echo: x');
});

test('thinking, text and tool calls, streamed as the API streams them', async () => {
    stub.script({ thinking: 'let me', text: 'ok', tool_use: [{ id: 'toolu_1', name: 'f', input: { city: 'Zürich 🏔' } },
        { name: 'g' }] });
    const events = await stream();
    const starts = events.filter((e) => e.type === 'content_block_start').map((e) => e.content_block.type);
    assert.deepEqual(starts, ['thinking', 'text', 'tool_use', 'tool_use']);
    assert.ok(events.some((e) => e.delta?.type === 'signature_delta' && e.delta.signature));
    const json = (index) => events.filter((e) => e.index === index && e.delta).map((e) => e.delta.partial_json);
    assert.equal(json(2)[0], '');
    assert.deepEqual(JSON.parse(json(2).join('')), { city: 'Zürich 🏔' });
    assert.deepEqual(json(3), ['']);
    assert.equal(events.at(-2).delta.stop_reason, 'tool_use');
});

test('explicit blocks, deltas kept as they are, usage, stop fields, model', async () => {
    stub.script({
        blocks: [{ type: 'text', deltas: ['a b', ''] }, { type: 'tool_use', id: 'x', name: 'f', input_json_deltas: ['{"a"', ':1}'] }],
        usage: { input_tokens: 5, cache_read_input_tokens: 7, output_tokens: 11, output_tokens_details: { thinking_tokens: 3 } },
        stop_reason: 'stop_sequence', stop_sequence: 'END', model: 'claude-other', times: 2,
    });
    const events = await stream();
    assert.deepEqual(events.filter((e) => e.delta?.type === 'text_delta').map((e) => e.delta.text), ['a b', '']);
    const start = events[0].message;
    assert.equal(start.model, 'claude-other');
    assert.deepEqual([start.usage.input_tokens, start.usage.cache_read_input_tokens, start.usage.output_tokens], [5, 7, 1]);
    const end = events.at(-2);
    assert.deepEqual(end.delta, { stop_reason: 'stop_sequence', stop_sequence: 'END' });
    assert.equal(end.usage.output_tokens, 11);
    assert.deepEqual(end.usage.output_tokens_details, { thinking_tokens: 3 });
    assert.deepEqual((await ask()).content[1].input, { a: 1 });
});

test('empty and refusal', async () => {
    stub.script([{ empty: true }, { text: 'no', stop_reason: 'refusal', stop_details: { type: 'refusal' } }]);
    assert.deepEqual(types(await stream()), ['message_start', 'message_delta', 'message_stop']);
    assert.deepEqual((await stream()).at(-2).delta,
        { stop_reason: 'refusal', stop_sequence: null, stop_details: { type: 'refusal' } });
});

test('scripted HTTP errors have the type, the message and the headers', async () => {
    stub.script([{ status: 429, message: 'slow', headers: { 'retry-after': '7' } }, { status: 529 },
        { status: 418, error_type: 'teapot' }]);
    const answer = await post(body({ stream: true }));
    assert.equal(answer.status, 429);
    assert.equal(answer.headers.get('retry-after'), '7');
    assert.deepEqual((await answer.json()).error, { type: 'rate_limit_error', message: 'slow' });
    await refused({}, /scripted/, 529, 'overloaded_error');
    await refused({}, /scripted/, 418, 'teapot');
});

test('break_after cuts the connection after exactly that many events', async () => {
    for (const count of [0, 1, 3]) {
        stub.script({ text: 'one two three', break_after: count });
        const got = await rawPost(body({ stream: true }));
        assert.equal(got.complete, false);
        assert.equal(parseEvents(got.text).length, count);
    }
    assert.equal(stub.stats().closed_early, 0);
});

test('error_event ends a stream that has begun', async () => {
    stub.script({ text: 'some text', error_event: { type: 'overloaded_error', message: 'Overloaded' } });
    const events = await stream();
    assert.deepEqual(types(events).slice(-2), ['content_block_delta', 'error']);
    assert.deepEqual(events.at(-1).error, { type: 'overloaded_error', message: 'Overloaded' });
});

test('hang: message_start or the headers alone, until the client goes; it is recorded', async () => {
    for (const hang of [true, 'headers']) {
        stub.script({ hang });
        const abort = new AbortController();
        const answer = await post(body({ stream: true }), { signal: abort.signal });
        if (hang === true) {
            const { value } = await answer.body.getReader().read();
            assert.deepEqual(types(parseEvents(Buffer.from(value).toString())), ['message_start']);
        }
        assert.equal(stub.stats().active, 1);
        abort.abort();
        await until(() => stub.stats().active === 0);
        assert.equal(stub.requests.at(-1).closed_early, true);
        assert.equal(stub.requests.at(-1).status, 200);
    }
});

test('delays: before the headers, before the first event, between deltas', async () => {
    stub.script({ text: 'a b c', delay_ms: 40, first_ms: 40, gap_ms: 20 });
    const begun = Date.now();
    const answer = await post(body({ stream: true }));
    const headers = Date.now() - begun;
    await answer.text();
    assert.ok(headers >= 39, `headers after ${headers} ms`);
    assert.ok(Date.now() - begun >= 135);
});

test('200,000 deltas: a client that does not read stops the stub, one that does gets them all', async () => {
    stub.script({ deltas: ['0123456789'], repeat: 200000 });
    const req = http.request(`${base}/v1/messages`, { method: 'POST', headers: KEY, agent: false });
    const connected = once(stub.server, 'connection');
    req.end(JSON.stringify(body({ stream: true })));
    const [[socket], [res]] = await Promise.all([connected, once(req, 'response')]);
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.ok(socket.bytesWritten < 15e6, `${socket.bytesWritten} bytes written`);
    let size = 0;
    let tail = '';
    for await (const chunk of res) {
        size += chunk.length;
        tail = (tail + chunk.toString()).slice(-200);
    }
    assert.ok(size > 200000 * 120, `${size} bytes read`);
    assert.match(tail, /event: message_stop/);
});

/* --- endpoints --- */

test('the other endpoints, and what is none', async () => {
    assert.equal((await fetch(base, { method: 'HEAD' })).status, 200);
    const counted = await post({ model: MODEL, messages: [user('x')] }, { path: '/v1/messages/count_tokens?beta=true' });
    assert.ok((await counted.json()).input_tokens > 0);
    const missing = await post({}, { path: '/v1/nothing' });
    assert.equal(missing.status, 404);
    assert.equal((await missing.json()).error.type, 'not_found_error');
    assert.equal((await fetch(`${base}/v1/messages`)).status, 405);
    assert.equal((await post('{', { path: '/_script' })).status, 400);
});

test('requests are recorded, refused ones too, and can be forgotten', async () => {
    const { total } = stub.stats();
    await ask();
    await post('{nonsense');
    const all = await (await fetch(`${base}/_requests`)).json();
    assert.equal(all.length, 2);
    assert.deepEqual([all[0].status, all[0].path, all[0].body.model], [200, '/v1/messages', MODEL]);
    assert.deepEqual([all[1].status, all[1].body, all[1].raw_length], [400, '{nonsense', 9]);
    const last = await (await fetch(`${base}/_requests?last=1`)).json();
    assert.deepEqual(last, [all[1]]);
    assert.deepEqual(await (await fetch(`${base}/_stats`)).json(), { total: total + 2, active: 0, closed_early: stub.stats().closed_early });
    await fetch(`${base}/_requests`, { method: 'DELETE' });
    assert.deepEqual(await (await fetch(`${base}/_requests`)).json(), []);
});

test('the account has what was sent, of each call the last usage', async () => {
    const one = createStub();
    const url = `http://127.0.0.1:${await one.listen()}`;
    const usage = { input_tokens: 10, cache_read_input_tokens: 20, cache_creation_input_tokens: 30, output_tokens: 40, output_tokens_details: { thinking_tokens: 5 } };
    const send = async (script, extra = { stream: true }) => {
        one.script({ usage, ...script });
        await (await post(body(extra), { url })).text().catch(() => {});
    };
    await send({ text: 'x' });
    await send({ text: 'x' }, {});
    await send({ text: 'one two three', break_after: 3 });
    await send({ break_after: 0 });
    await send({ status: 500 });
    await send({ text: 'x' }, { max_tokens: 1 });
    const row = { calls: 3, prompt: 180, cached: 60, completion: 81, reasoning: 10 };
    assert.deepEqual(one.account(), { ...row, models: { [MODEL]: row }, probes: { calls: 1, prompt: 60, cached: 20, completion: 40, reasoning: 5 } });
    assert.deepEqual(await (await fetch(`${url}/_account`)).json(), one.account());
    await one.close();
});

test('the record is bounded, and can be off', async () => {
    for (let i = 0; i < 1010; i += 10) await Promise.all(Array.from({ length: 10 }, () => ask()));
    assert.equal(stub.requests.length, 1000);
    const silent = createStub({ record: false });
    const url = `http://127.0.0.1:${await silent.listen()}`;
    await post(body(), { url });
    assert.equal(silent.requests.length, 0);
    assert.equal(silent.stats().total, 1);
    await silent.close();
});

test('a client that goes during the upload counts as closed early', async () => {
    const closed = stub.stats().closed_early;
    const req = http.request(`${base}/v1/messages`, { method: 'POST', headers: { ...KEY, 'content-length': 1000 } });
    req.on('error', () => {});
    req.write('{');
    await until(() => stub.stats().active === 1);
    req.destroy();
    await until(() => stub.stats().closed_early === closed + 1);
});

test('authentication, the version header, JSON, size', async () => {
    const status = async (headers) => (await post(body(), { headers })).status;
    assert.equal(await status({ 'anthropic-version': 'x' }), 401);
    assert.equal(await status({ 'anthropic-version': 'x', authorization: 'Bearer t' }), 200);
    assert.equal(await status({ 'x-api-key': 'k' }), 400);
    const small = createStub({ maxBody: 1000 });
    const url = `http://127.0.0.1:${await small.listen()}`;
    const large = await post(body({ system: 'x'.repeat(300000) }), { url });
    assert.equal(large.status, 413);
    assert.equal((await large.json()).error.type, 'request_too_large');
    assert.ok(small.requests.at(-1).raw_length > 300000);
    await small.close();
});

test('the command: one line, SIGTERM, --die-with-parent, bad arguments', async () => {
    const file = new URL('messages-api.mjs', import.meta.url).pathname;
    const run = (...args) => spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const [terminated, orphaned, wrong] = [run(), run('--die-with-parent'), run('--bogus')];
    const exits = [terminated, orphaned, wrong].map((child) => once(child, 'exit'));
    const lines = await Promise.all([terminated, orphaned].map((child) => once(child.stdout, 'data')));
    for (const [line] of lines) assert.match(String(line), /^listening \d+\n$/);
    terminated.kill('SIGTERM');
    orphaned.stdin.end();
    assert.deepEqual(await Promise.all(exits), [[0, null], [0, null], [1, null]]);
});

/* --- what the API refuses --- */

test('top-level fields', async () => {
    await refused({ model: undefined }, /^model: Field required/);
    await refused({ max_tokens: undefined }, /^max_tokens: Field required/);
    await refused({ max_tokens: 0 }, /^max_tokens: Input should be greater than or equal to 1/);
    await refused({ max_tokens: 999999 }, /^max_tokens: 999999 > 128000, which is the maximum/);
    await refused({ model: 'gpt-4o' }, /^model: gpt-4o/, 404, 'not_found_error');
    await refused({ presence_penalty: 1 }, /^presence_penalty: Extra inputs are not permitted/);
    await refused({ stop_sequences: [' \n'] }, /^stop_sequences: each stop sequence must contain non-whitespace/);
    await refused({ system: [{ type: 'text', text: '' }] }, /^system: text content blocks must be non-empty/);
    await refused({ stream: 'yes' }, /^stream: Input should be a valid boolean/);
    const marks = Array.from({ length: 5 }, () => ({ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }));
    await refused({ messages: [user(marks)] }, /maximum of 4 blocks with cache_control may be provided. Found 5/);
});

test('messages: shape, roles and text', async () => {
    await refused({ messages: [] }, /^messages: at least one message/);
    await refused({ messages: [assistant('x'), user('y')] }, /first message must use the "user" role/);
    await refused({ messages: [{ role: 'tool', content: 'x' }] }, /^messages.0.role: Input should be 'user' or 'assistant'/);
    await refused({ messages: [{ role: 'user', content: 'x', name: 'bob' }] }, /^messages.0.name: Extra inputs/);
    await refused({ messages: [{ role: 'user' }] }, /^messages.0.content: Field required/);
    await refused({ messages: [user('')] }, /^messages.0: user messages must have non-empty content/);
    await refused({ messages: [user('a'), assistant([]), user('b')] }, /^messages.1: all messages must have non-empty/);
    await refused({ messages: [user([{ type: 'text', text: '' }])] }, /text content blocks must be non-empty/);
    await refused({ messages: [user([{ type: 'text', text: ' \n' }])] }, /must contain non-whitespace text/);
    await refused({ messages: [user([{ type: 'input_text', text: 'x' }])] }, /^messages.0.content.0: Input tag 'input_text'/);
    await refused({ messages: [user([{ type: 'text' }])] }, /^messages.0.content.0.text.text: Field required/);
    await refused({ messages: [user([{ type: 'thinking', thinking: 'x', signature: 'y' }])] }, /can only be in `assistant`/);
});

test('messages: the last one, and the system role, by model', async () => {
    const ending = (text) => [user('a'), assistant(text)];
    await refused({ messages: ending('b') }, /does not support assistant message prefill/);
    await refused({ model: OLD, messages: ending('b ') }, /cannot end with trailing whitespace/);
    await accepted({ model: OLD, messages: ending('b') });
    const system = { role: 'system', content: [{ type: 'text', text: '# Environment' }] };
    await accepted({ messages: [user('a'), system] });
    await accepted({ messages: [user('a'), { role: 'system', content: [], output_config: { effort: 'low' } }, assistant('b'), user('c')] });
    await refused({ messages: [user('a'), assistant('b'), system, user('c')] }, /^messages.2: role 'system' must follow/);
    await refused({ messages: [user('a'), assistant('b'), user('c'), assistant('d'), system] }, /must follow a 'user'/);
    await refused({ model: OLD, messages: [user('a'), system] }, /role 'system' is not supported on this model/);
});

test('tool calls and their results', async () => {
    const call = (id, name = 'f') => ({ type: 'tool_use', id, name, input: {} });
    const result = (id, content = 'ok') => ({ type: 'tool_result', tool_use_id: id, content });
    const history = (calls, results) => ({ messages: [user('q'), assistant(calls), user(results)] });
    await accepted(history([call('a'), call('b')], [result('b'), result('a'), { type: 'text', text: 'and' }]));
    await refused(history([call('a'), call('b')], [result('a')]), /^messages.1: `tool_use` ids were found without .*: b\./);
    await refused(history([call('a')], 'no'), /^messages.1: `tool_use` ids were found without/);
    await refused(history([call('a')], [{ type: 'text', text: 'x' }, result('a')]), /^messages.1: `tool_use` ids were found/);
    await refused(history([call('a')], [result('a'), result('a')]), /^messages.2.content.1: each tool_use must have a single result/);
    await refused(history([call('a')], [result('a'), result('z')]), /^messages.2.content.1: unexpected `tool_use_id`.*: z\./);
    await refused({ messages: [user([result('a')])] }, /^messages.0.content.0: unexpected `tool_use_id`/);
    await refused(history([call('a'), call('a')], [result('a')]), /^messages.1.content.1: `tool_use` ids must be unique/);
    await refused(history([call('a b')], [result('a b')]), /^messages.1.content.0.tool_use.id: String should match pattern/);
    await refused(history([call('a', 'x.y')], [result('a')]), /^messages.1.content.0.tool_use.name: String should match/);
    await refused(history([{ ...call('a'), input: '{}' }], [result('a')]), /tool_use.input: Input should be a valid dictionary/);
    await refused(history([call('a')], [{ ...result('a', ''), is_error: true }]), /content cannot be empty if `is_error` is true/);
    await refused(history([call('a')], [result('a', [{ type: 'text', text: '' }])]), /text content blocks must be non-empty/);
});

test('images and documents', async () => {
    const block = (type, source) => ({ messages: [user([{ type, source }])] });
    const image = (media, data) => block('image', { type: 'base64', media_type: media, data });
    await accepted(image('image/png', PNG));
    await accepted(block('image', { type: 'url', url: 'https://example.com/a.png' }));
    await refused(block('image', { type: 'url', url: 'http://example.com/a.png' }), /image.source.url.url: Only HTTPS/);
    await refused(image('image/bmp', PNG), /^messages.0.content.0.image.source.base64.media_type: Input should be 'image\/jpeg'/);
    await refused(image('image/jpeg', PNG), /specified using the image\/jpeg media type, but .* image\/png image/);
    await refused(image('image/png', 'data:image/png;base64,xx'), /image.source.base64: invalid base64 data/);
    await refused(image('image/png', 'QUJD'), /Could not process image/);
    await accepted(block('document', { type: 'base64', media_type: 'application/pdf', data: PDF }));
    await accepted(block('document', { type: 'text', media_type: 'text/plain', data: 'x' }));
    await refused(block('document', { type: 'base64', media_type: 'application/pdf', data: 'QUJD' }), /PDF specified was not valid/);
    await refused(block('document', { type: 'base64', media_type: 'text/csv', data: 'QUJD' }), /document.source.base64.media_type/);
});

test('tools and tool_choice', async () => {
    const schema = { type: 'object', properties: { a: { type: 'integer', minimum: 1 } } };
    const tool = (extra = {}) => ({ name: 'f', input_schema: schema, ...extra });
    const old = { model: OLD };
    await accepted({ tools: [tool(), { type: 'web_search_20250305', name: 'web_search' }], tool_choice: { type: 'auto' } });
    await refused({ tools: [tool({ name: 'a.b' })] }, /^tools.0.custom.name: String should match pattern '\^\[a-zA-Z0-9_-\]\{1,128\}\$'/);
    await refused({ tools: [tool(), tool()] }, /^tools: Tool names must be unique/);
    await refused({ tools: [tool({ input_schema: {} })] }, /^tools.0.custom.input_schema.type: Field required/);
    await refused({ tools: [tool({ input_schema: { type: 'array' } })] }, /Input should be 'object'/);
    await refused({ tools: [tool({ input_schema: { ...schema, anyOf: [] } })] }, /does not support oneOf, allOf, or anyOf/);
    await refused({ tools: [tool({ input_schema: { type: 'object', properties: { 'a b': {} } } })] }, /Property keys should match/);
    await refused({ tools: [tool({ strict: true })] }, /^tools.0.custom: /);
    await refused({ tool_choice: { type: 'auto' } }, /may only be specified while providing tools/);
    await refused({ ...old, tools: [tool()], tool_choice: { type: 'tool', name: 'g' } }, /Tool 'g' not found/);
    await accepted({ ...old, tools: [tool()], tool_choice: { type: 'any' } });
    await refused({ tools: [tool()], tool_choice: { type: 'any' } }, /when tool_choice forces tool use/);
    await refused({ ...old, max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: 2000 }, tools: [tool()],
        tool_choice: { type: 'tool', name: 'f' } }, /when tool_choice forces tool use/);
});

test('thinking and sampling, by model', async () => {
    const enabled = (budget) => ({ model: OLD, max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: budget } });
    await accepted(enabled(1024));
    await refused(enabled(1000), /^thinking.enabled.budget_tokens: Input should be greater than or equal to 1024/);
    await refused(enabled(4000), /`max_tokens` must be greater than `thinking.budget_tokens`/);
    await refused({ ...enabled(2000), model: MODEL }, /"thinking.type.enabled" is not supported/);
    for (const model of [MODEL, 'claude-opus-5-5', 'claude-fable-5-1']) {
        await refused({ model, thinking: { type: 'disabled' } }, /"thinking.type.disabled" is not supported/);
        await accepted({ model, thinking: { type: 'adaptive' } });
    }
    await accepted({ model: OLD, thinking: { type: 'disabled' } });
    await refused({ model: OLD, thinking: { type: 'adaptive' } }, /adaptive thinking is not supported/);
    await refused({ thinking: { type: 'on' } }, /^thinking: Input tag 'on'/);
    await refused({ temperature: 1.5 }, /^temperature: Input should be less than or equal to 1/);
    await refused({ temperature: 0.5 }, /`temperature` is deprecated for this model/);
    await refused({ top_p: 0.5 }, /`top_p` is deprecated for this model/);
    await accepted({ temperature: 1 });
    await accepted({ model: OLD, temperature: 0.5 });
    await refused({ model: OLD, temperature: 0.5, top_p: 0.5 }, /cannot both be specified for this model/);
    await refused({ ...enabled(1024), temperature: 0.5 }, /may only be set to 1 when thinking is enabled/);
    await refused({ model: OLD, context_management: { edits: [{ type: 'clear_thinking_20251015' }] } }, /requires `thinking`/);
});

test('structured output schemas', async () => {
    const format = (schema) => ({ output_config: { effort: 'low', format: { type: 'json_schema', schema } } });
    const object = (properties, extra = {}) => ({ type: 'object', properties, additionalProperties: false, ...extra });
    const path = /^output_config.format.schema: /;
    await accepted(format(object({ a: { type: ['string', 'null'], format: 'date' }, b: { $ref: '#/$defs/B' }, c: { $ref: '#/$defs/B' } },
        { required: ['a'], $defs: { B: { type: 'array', items: { enum: [1, 2] }, minItems: 1 } } })));
    await refused(format({ type: 'object', properties: {} }), /'additionalProperties' must be explicitly set to false/);
    for (const [type, word] of [['integer', 'minimum'], ['number', 'multipleOf'], ['string', 'maxLength'], ['array', 'maxItems']]) {
        const message = new RegExp(`${path.source}For '${type}' type, property '${word}' is not supported`);
        await refused(format(object({ a: { type, [word]: 1 } })), message);
    }
    await refused(format(object({ a: { type: 'array', items: object({}, { additionalProperties: true }) } })), path);
    await refused(format(object({ a: { oneOf: [{ type: 'string' }] } })), path);
    await refused(format(object({ a: { type: 'array', minItems: 2 } })), /'minItems' values other than 0 or 1/);
    await refused(format(object({ a: { type: 'string', format: 'phone' } })), /String format 'phone' is not supported/);
    await refused(format(object({ n: { $ref: '#/$defs/N' } }, { $defs: { N: object({ n: { $ref: '#/$defs/N' } }) } })), /Circular reference/);
    await refused(format(object({ a: { $ref: 'https://example.com/x' } })), /could not be resolved/);
    await refused({ output_config: { format: { type: 'json_object' } } }, /^output_config.format.type/);
});

test('efforts', async () => {
    const all = ['low', 'medium', 'high', 'xhigh', 'max'];
    await refused({ output_config: { effort: 'huge' } }, /^output_config.effort: Input should be 'low'/);
    await refused({ model: OLD, output_config: { effort: 'low' } }, /does not support the effort parameter/);
    for (const [models, unknown] of [
        [['claude-opus-4-5'], ['xhigh', 'max']],
        [['claude-opus-4-6', 'claude-sonnet-4-6'], ['xhigh']],
        [['claude-opus-4-7', 'claude-sonnet-5-5', 'claude-haiku-5-5'], []],
    ]) {
        for (const model of models) {
            for (const effort of all.filter((one) => !unknown.includes(one))) await accepted({ model, output_config: { effort } });
            for (const effort of unknown) {
                await refused({ model, output_config: { effort } }, new RegExp(`^This model does not support effort level '${effort}'. Supported levels: high, low`));
            }
        }
    }
});
