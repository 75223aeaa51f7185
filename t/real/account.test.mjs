/*
 * Whatever a request was, access_log, status and metrics say what upstream has billed for it, to
 * the token: the stub keeps an account of the usage that it has sent, and each test compares what
 * came to all four. The stub's numbers are at random, so that none stands for another.
 */

import { after, afterEach, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import { join } from 'node:path';
import { KEY, OTHER_KEY, SLOW, freePort, startServer, waitFor } from './lib/server.mjs';
import { endKilled } from './lib/engine.mjs';
import { functionTool, gather, toolMessage } from './lib/tools.mjs';
import { assistant, scripted, user } from './lib/upstream.mjs';

const FIELDS = ['tag', 'key', 'model', 'prompt', 'cached', 'completion', 'reasoning', 'cost', 'finish', 'error', 'status',
    'process', 'ttft'];
const VARIABLES = '$http_x_tag|$claude_key_name|$claude_model|$claude_prompt_tokens|$claude_cached_tokens'
    + '|$claude_completion_tokens|$claude_reasoning_tokens|$claude_cost_usd|$claude_finish_reason|$claude_error|$status'
    + '|$claude_process|$claude_ttft';
const TOKENS = ['prompt', 'cached', 'completion', 'reasoning'];

/* What a model is called upstream. */
const MODELS = { sonnet: 'claude-sonnet-5-5', opus: 'claude-opus-5-5', haiku: 'claude-haiku-5-5' };

const usage = () => ({
    input_tokens: randomInt(10, 900),
    cache_read_input_tokens: randomInt(1, 900),
    cache_creation_input_tokens: randomInt(1, 900),
    output_tokens: randomInt(20, 900),
    output_tokens_details: { thinking_tokens: randomInt(1, 20) },
});

let marks = 0;

/* A question that the stub answers so. */
const question = (script, text = `question ${++marks} `) => user(scripted({ usage: usage(), ...script }, text));

const startAccounts = ({ http: more = '', server = '', ...options } = {}) => startServer({
    ...options,
    http: `log_format spent '${VARIABLES}'; claude_warm 0; claude_max_processes 12; ${more}`,
    server: `access_log spent.log spent; ${server}`,
    status: 'access_log off;',
});

function linesOf(server) {
    const file = join(server.dir, 'spent.log');
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => {
        const values = line.split('|');
        assert.equal(values.length, FIELDS.length, line);
        return Object.fromEntries(values.map((value, i) => [FIELDS[i], value]));
    });
}

const none = () => Object.fromEntries(TOKENS.map((name) => [name, 0]));
const number = (value) => (value === '-' ? 0 : Number(value));

function sum(rows) {
    const out = none();
    for (const row of rows) for (const name of TOKENS) out[name] += number(row[name]);
    return out;
}

const minus = (a, b) => Object.fromEntries(TOKENS.map((name) => [name, a[name] - b[name]]));
const tokensOf = (row) => Object.fromEntries(TOKENS.map((name) => [name, row[name]]));

/* Rows {key, model, tokens…, cost} of the status, and the same of the metrics. */
async function statusRows(server) {
    return (await server.status()).usage.map((row) => ({
        key: row.key, model: row.model, cost: row.cost_usd, ...Object.fromEntries(TOKENS.map((name) => [name, row[`${name}_tokens`]])),
    }));
}

async function metricsRows(server) {
    const { text } = await server.request('GET', '/claude-status?format=prometheus');
    const rows = {};
    const line = /^claude_(tokens|cached_tokens|reasoning_tokens|cost_usd)_total\{key="(.*?)",model="(.*?)"(?:,kind="(.*?)")?\} (\S+)$/gm;
    for (const [, name, key, model, kind, value] of text.matchAll(line)) {
        const row = rows[`${key} ${model}`] ??= { key, model, ...none(), cost: 0 };
        row[kind ?? name.replace('_tokens', '').replace('_usd', '')] = Number(value);
    }
    return Object.values(rows);
}

const costOf = (rows) => rows.reduce((total, { cost }) => total + number(cost), 0);

/*
 * Runs something that makes so many requests; then all four accounts have to agree. Resolves to
 * their lines of the log.
 */
async function accounted(server, requests, run, account = () => server.stub.account()) {
    const seen = linesOf(server).length;
    const stub = server.stub.account();
    const status = await statusRows(server);
    await run();
    await server.idle();
    await waitFor('upstream to be left alone', () => server.stub.stats().active === 0, 5000 * SLOW);
    await waitFor(`${requests} lines of the log`, () => linesOf(server).length >= seen + requests, 8000 * SLOW);
    const lines = linesOf(server).slice(seen);
    assert.equal(lines.length, requests, JSON.stringify(lines));

    const billed = account();
    const expected = minus(billed, stub);
    const rows = await statusRows(server);
    assert.deepEqual(sum(lines), expected, `the log, ${JSON.stringify(lines)}`);
    assert.deepEqual(minus(sum(rows), sum(status)), expected, 'the status');
    const metrics = await metricsRows(server);
    assert.deepEqual(sum(metrics), sum(rows), 'the metrics');

    for (const [name, id] of Object.entries(MODELS)) {
        const of = (all) => all.filter(({ model }) => model === name);
        assert.deepEqual(minus(sum(of(rows)), sum(of(status))),
            minus(billed.models[id] ?? none(), stub.models[id] ?? none()), `the status of ${name}`);
        assert.deepEqual(sum(of(lines)), minus(billed.models[id] ?? none(), stub.models[id] ?? none()), `the log of ${name}`);
    }
    for (const key of ['one', 'two']) {
        const of = (all) => all.filter((row) => row.key === key);
        assert.deepEqual(sum(of(lines)), minus(sum(of(rows)), sum(of(status))), `log and status of ${key}`);
    }

    const cost = costOf(rows) - costOf(status);
    assert.ok(Math.abs(costOf(metrics) - costOf(rows)) < 1e-9, 'the cost in status and metrics');
    const calls = billed.calls - stub.calls;
    assert.ok(Math.abs(costOf(lines) - cost) < 1e-6 * (lines.length + calls + 1), /* roundings of both */
        `the cost in the log, ${costOf(lines)}, and in the status, ${cost}: ${JSON.stringify(lines)}`);
    return lines;
}

/* What one call costs by the CLI's prices, in US dollars. */
const PRICES = { sonnet: [2, 10], opus: [4, 20], haiku: [0.1, 0.5] };

/* Those that a test which fails has left open. */
const clients = new Set();

afterEach(() => {
    for (const req of clients) req.destroy();
    clients.clear();
});

/* A request that its client may leave: until(text) resolves when that has come. */
function open(server, body, { key = KEY, path = '/v1/chat/completions' } = {}) {
    const text = JSON.stringify({ model: 'sonnet', ...body });
    const req = http.request(server.url + path, {
        method: 'POST',
        agent: false,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    });
    const out = { text: '', leave: () => req.destroy() };
    clients.add(req);
    req.on('error', () => {});
    req.on('response', (res) => {
        res.on('error', () => {});
        res.on('data', (data) => { out.text += data; });
    });
    req.end(text);
    out.until = (part) => waitFor(`${part} in the answer`, () => out.text.includes(part), 10000 * SLOW);
    return out;
}

/* The script is taken away when the CLI has stopped asking: what it asks after that gets an answer with a usage of its own. */
async function cleared(server) {
    await server.idle();
    server.stub.clear();
}

/* Both accounts, as they are now. */
const accounts = async (server) => ({ stub: server.stub.account(), status: sum(await statusRows(server)) });

/* Until the module has been told the tokens of so many calls. */
async function told(server, calls, since) {
    await waitFor('the call upstream', () => server.stub.account().calls >= since.stub.calls + calls, 8000 * SLOW);
    const { prompt } = minus(server.stub.account(), since.stub);
    await waitFor('the status to have it', async () =>
        minus((await accounts(server)).status, since.status).prompt === prompt, 8000 * SLOW);
}

const BOTH = [['whole', false], ['streamed', true]];

describe('chat', { concurrency: 1 }, () => {
    let server;
    before(async () => {
        server = await startAccounts({ server: 'location /slow/ { claude_openai; claude_timeout 3s; }' });
    });
    after(() => server && endKilled(server));

    for (const [how, stream] of BOTH) {
        const ends = (stop) => (line) => assert.equal(line.finish, stop, JSON.stringify(line));

        test(`an answer, ${how}; of two keys and three models`, async () => {
            const lines = await accounted(server, 6, async () => {
                for (const key of [KEY, OTHER_KEY]) {
                    for (const model of Object.keys(MODELS)) {
                        const { status } = await server.chat({ model, messages: [question({ text: 'x' })], stream }, { key });
                        assert.equal(status, 200);
                    }
                }
            });
            lines.forEach(ends('stop'));
            assert.deepEqual(new Set(lines.map(({ key, model }) => `${key} ${model}`)).size, 6);
            for (const line of lines) assert.ok(Number(line.cost) > 0 && line.ttft !== '-', JSON.stringify(line));
        });

        test(`the cost is that of the tokens, ${how}`, async () => {
            for (const [model, [input, output]] of Object.entries(PRICES)) {
                const u = usage();
                const [line] = await accounted(server, 1, () => server.chat({ model, messages: [question({ text: 'x', usage: u })], stream }));
                const price = (u.input_tokens * input + u.cache_read_input_tokens * input / 10
                    + u.cache_creation_input_tokens * input * 1.25 + u.output_tokens * output) / 1e6;
                assert.ok(Number(line.cost) > price / 3 && Number(line.cost) < price * 3, `${model}: ${line.cost} and not ${price}`);
            }
        });

        test(`three answers to one question, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.chat({ messages: [question({ text: 'x' })], n: 3, stream }));
            assert.equal(line.finish, 'stop, stop, stop');
            assert.ok(Number(line.cost) > 0);
        });

        test(`two prompts, each completed twice, ${how}`, async () => {
            const prompt = [question({ text: 'x' }).content, question({ text: 'y' }).content];
            const [line] = await accounted(server, 1, () => server.request('POST', '/v1/completions',
                { body: { model: 'sonnet', prompt, n: 2, stream } }));
            assert.equal(line.finish, 'stop, stop, stop, stop');
        });

        test(`left before the model has begun, ${how}: nothing was billed`, async () => {
            const [line] = await accounted(server, 1, async () => {
                const client = open(server, { messages: [question({ hang: 'headers' })], stream });
                await waitFor('the call upstream', () => server.stub.stats().active === 1);
                client.leave();
            });
            assert.deepEqual(tokensOf(line), { prompt: '0', cached: '0', completion: '0', reasoning: '0' });
            assert.equal(line.finish, '-');
        });

        test(`left before the first token, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                const since = await accounts(server);
                const client = open(server, { messages: [question({ hang: true })], stream });
                await told(server, 1, since);
                client.leave();
            });
            assert.ok(Number(line.prompt) > 0 && line.completion === '1', JSON.stringify(line));
            assert.ok(Number(line.cost) > 0, `${JSON.stringify(line)}: the line waits for the cost`);
            assert.equal(line.ttft, '-');
        });

        test(`left in the midst of two answers, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                const since = await accounts(server);
                const client = open(server, { messages: [question({ deltas: ['word '], repeat: 1000, gap_ms: 20 })], n: 2, stream });
                await told(server, 2, since);
                if (stream) await client.until('word');
                client.leave();
            });
            assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });

        test(`the answer breaks off, ${how}: the client gets an error, the log the tokens`, async () => {
            const [line] = await accounted(server, 1, async () => {
                server.stub.script([
                    { times: 1, usage: usage(), deltas: ['one ', 'two ', 'three '], gap_ms: 60, break_after: 4 },
                    { hang: 'headers' },
                ]);
                const answer = await server.chat({ messages: [user(`broken ${++marks}`)], stream });
                assert.match(answer.text, /overloaded.*broke off|broke off.*overloaded/);
                await cleared(server);
            });
            assert.ok(Number(line.prompt) > 0, JSON.stringify(line));
            assert.equal(line.error, 'overloaded');
        });

        test(`an error in the midst of the answer, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                server.stub.script([
                    { times: 1, usage: usage(), deltas: ['one ', 'two '], gap_ms: 40, error_event: { type: 'overloaded_error', message: 'Overloaded' } },
                    { status: 529 },
                ]);
                await server.chat({ messages: [user(`error ${++marks}`)], stream });
                await cleared(server);
            });
            assert.ok(Number(line.prompt) > 0, JSON.stringify(line));
            assert.equal(line.error, 'overloaded');
        });

        test(`the CLI is killed in the midst of the answer, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                const since = await accounts(server);
                const client = open(server, { messages: [question({ deltas: ['word '], repeat: 1000, gap_ms: 20 })], stream });
                await told(server, 1, since);
                if (stream) await client.until('word');
                const busy = (await server.status()).processes.filter(({ state }) => state === 'busy');
                assert.equal(busy.length, 1);
                process.kill(busy[0].pid, 'SIGKILL');
                await client.until('cli_failed');
                client.leave();
            });
            assert.ok(Number(line.prompt) > 0, JSON.stringify(line));
            assert.equal(line.error, 'cli_failed');
        });

        test(`the CLI says nothing for too long, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.request('POST', '/slow/chat/completions',
                { body: { model: 'sonnet', messages: [question({ hang: true })], stream } }));
            assert.ok(Number(line.prompt) > 0 && Number(line.cost) > 0, JSON.stringify(line));
            assert.equal(line.error, 'timeout');
        });

        test(`max_tokens, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                server.stub.script([{ times: 1, usage: usage(), text: 'cut', stop_reason: 'max_tokens' }, { hang: 'headers' }]);
                await server.chat({ messages: [user(`max ${++marks}`)], max_tokens: 5, stream });
                await cleared(server);
            });
            ends('length')(line);
            assert.ok(Number(line.cost) > 0);
        });

        test(`a stop sequence that is ours to find, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.chat({
                messages: [question({ deltas: ['one', '\n', '\n', 'two '], repeat: 100, gap_ms: 20 })], stop: '\n\n', stream,
            }));
            ends('stop')(line);
            assert.ok(Number(line.cost) > 0);
        });

        test(`a refusal, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.chat({
                messages: [question({ text: 'no', stop_reason: 'refusal' })], stream,
            }));
            ends('content_filter')(line);
        });

        test(`an empty answer, ${how}`, async () => {
            await accounted(server, 1, async () => {
                server.stub.script([{ times: 1, usage: usage(), empty: true }, { hang: 'headers' }]);
                await server.chat({ messages: [user(`empty ${++marks}`)], stream });
                await cleared(server);
            });
        });

        for (const status of [400, 429, 500]) {
            test(`upstream answers ${status}, ${how}: nothing was spent`, async () => {
                const [line] = await accounted(server, 1, async () => {
                    server.stub.script({ status, message: 'no', times: 9 });
                    await server.chat({ messages: [user(`refused ${++marks}`)], stream });
                    await cleared(server);
                });
                assert.deepEqual(tokensOf(line), { prompt: '0', cached: '0', completion: '0', reasoning: '0' });
                assert.ok(number(line.cost) === 0);
            });
        }

        test(`a retry by the CLI, ${how}`, async () => {
            await accounted(server, 1, async () => {
                server.stub.script([{ times: 1, status: 529 }, { usage: usage(), text: 'after all' }]);
                await server.chat({ messages: [user(`again ${++marks}`)], stream });
                await cleared(server);
            });
        });

        test(`a request that is refused here, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.chat({ messages: [], stream }));
            assert.deepEqual([line.prompt, line.cost], ['-', '-']);
        });
    }

    test('left with the last event', async () => {
        const [line] = await accounted(server, 1, async () => {
            const client = open(server, { messages: [question({ text: 'x' })], stream: true });
            await client.until('[DONE]');
            client.leave();
        });
        assert.equal(line.finish, 'stop');
        assert.ok(Number(line.cost) > 0);
    });

    test('many at once', async () => {
        const bodies = Array.from({ length: 24 }, (_, i) => ({
            model: Object.keys(MODELS)[i % 3], stream: i % 2 === 0, n: 1 + (i % 3 === 0), messages: [question({ text: 'x' })],
        }));
        await accounted(server, bodies.length, () => Promise.all(bodies.map(
            (body, i) => server.chat(body, { key: i % 5 ? KEY : OTHER_KEY }))));
    });
});

describe('calls of the client\'s tools', { concurrency: 1 }, () => {
    let server;
    before(async () => { server = await startAccounts(); });
    after(() => server?.end());

    const tools = [functionTool('look'), functionTool('find')];
    const calls = (n = 1) => question({
        text: 'let me see', tool_use: Array.from({ length: n }, (_, i) => ({ id: `toolu_${++marks}`, name: i ? 'find' : 'look', input: { x: 'y' } })),
    });

    async function call(ask, stream, more = {}) {
        const answer = await server.chat({ messages: [ask], tools, stream, ...more });
        assert.equal(answer.status, 200, answer.text);
        if (!stream) return answer.json.choices[0].message;
        return gather(answer.text.split('\n\n').filter((s) => s.startsWith('data: {')).map((s) => JSON.parse(s.slice(6))));
    }

    for (const [how, stream] of BOTH) {
        test(`the client does not go on, ${how}: counted all the same`, async () => {
            const [line] = await accounted(server, 1, () => call(calls(), stream));
            assert.equal(line.finish, 'tool_calls');
            assert.ok(Number(line.cost) > 0, `the cost is in its own line: ${JSON.stringify(line)}`);
        });

        test(`it goes on with the results, ${how}: each request has its own`, async () => {
            const lines = await accounted(server, 2, async () => {
                const ask = calls(2);
                const message = await call(ask, stream);
                server.stub.script({ times: 1, usage: usage(), text: 'so it is' });
                const answer = await server.chat({
                    messages: [ask, message, ...message.tool_calls.map(({ id }) => toolMessage(id, 'found'))], tools, stream,
                });
                assert.equal(answer.status, 200);
            });
            assert.deepEqual(lines.map(({ finish, process }) => [finish, process])[1], ['stop', 'live']);
            for (const line of lines) assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });

        test(`a round after the other, ${how}`, async () => {
            const lines = await accounted(server, 4, async () => {
                const messages = [calls()];
                messages.push(await call(messages[0], stream));
                for (let i = 0; i < 3; i++) {
                    messages.push(toolMessage(messages.at(-1).tool_calls[0].id, `found ${i}`));
                    server.stub.script(i < 2 ? { times: 1, usage: usage(), tool_use: [{ id: `toolu_${++marks}`, name: 'look', input: { x: 'z' } }] }
                        : { times: 1, usage: usage(), text: 'done' });
                    const answer = await server.chat({ messages, tools, stream });
                    assert.equal(answer.status, 200);
                    const message = stream
                        ? gather(answer.text.split('\n\n').filter((s) => s.startsWith('data: {')).map((s) => JSON.parse(s.slice(6))))
                        : answer.json.choices[0].message;
                    messages.push(message);
                }
            });
            assert.deepEqual(lines.map(({ finish }) => finish), ['tool_calls', 'tool_calls', 'tool_calls', 'stop']);
            for (const line of lines) assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });

        test(`it goes on by another way, ${how}: not twice`, async () => {
            await accounted(server, 2, async () => {
                const ask = calls();
                const message = await call(ask, stream);
                const answer = await server.chat({
                    messages: [ask, message, toolMessage(message.tool_calls[0].id, 'found'), question({ text: 'ok' })], tools, stream,
                });
                assert.equal(answer.status, 200);
            });
        });

        test(`another question calls the calls off, ${how}`, async () => {
            const lines = await accounted(server, 2, async () => {
                await call(calls(), stream);
                const answer = await server.chat({ messages: [question({ text: 'ok' })], stream });
                assert.equal(answer.status, 200);
            });
            for (const line of lines) assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });

        test(`two answers that call, ${how}`, async () => {
            const [line] = await accounted(server, 1, () => server.chat({ messages: [calls()], tools, n: 2, stream }));
            assert.equal(line.finish, 'tool_calls, tool_calls');
            assert.ok(Number(line.cost) > 0);
        });
    }

    test('left when the call has come', async () => {
        await accounted(server, 1, async () => {
            const client = open(server, { messages: [calls()], tools, stream: true });
            await client.until('tool_calls');
            client.leave();
        });
    });

    /* A CLI that is ended while it waits may begin another call, which nobody is told of: README. */
    test('the worker is reloaded while the CLI waits', async () => {
        let billed;
        await accounted(server, 1, async () => {
            await call(calls(), true);
            billed = server.stub.account();
            const old = server.workers();
            server.nginx.kill('SIGHUP');
            await waitFor('new workers', () => server.workers().every((pid) => !old.includes(pid)), 10000 * SLOW);
        }, () => billed);
    });
});

describe('sessions and budgets', { concurrency: 1 }, () => {
    let server;
    before(async () => {
        server = await startAccounts({
            server: 'location /poor/ { claude_openai; claude_max_budget_usd 0.000001; }',
        });
    });
    after(() => server?.end());

    for (const [how, stream] of BOTH) {
        test(`a named session, over a restart of its process, ${how}`, async () => {
            const headers = { 'x-session-id': randomUUID() };
            const lines = await accounted(server, 4, async () => {
                for (let i = 0; i < 4; i++) {
                    if (i === 2) {
                        server.nginx.kill('SIGHUP');
                        await server.idle();
                        await waitFor('the CLIs to end', () => server.clis().length === 0, 8000 * SLOW);
                    }
                    const answer = await server.chat({ messages: [question({ text: 'x' })], stream }, { headers, fresh: i === 2 });
                    assert.equal(answer.status, 200, answer.text);
                    await server.idle();
                }
            });
            assert.equal(lines[2].process, 'resumed');
            for (const line of lines) assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });

        test(`a session whose turn is cut off and put in again, ${how}`, async () => {
            const headers = { 'x-session-id': randomUUID() };
            await accounted(server, 2, async () => {
                server.stub.script([{ times: 1, usage: usage(), text: 'cut', stop_reason: 'max_tokens' }, { hang: 'headers' }]);
                await server.chat({ messages: [user(`max ${++marks}`)], max_tokens: 5, stream }, { headers });
                await cleared(server);
                await server.idle();
                const answer = await server.chat({ messages: [question({ text: 'x' })], stream }, { headers });
                assert.equal(answer.status, 200, answer.text);
            });
        });

        test(`the budget, ${how}`, async () => {
            await accounted(server, 2, async () => {
                const body = { model: 'sonnet', messages: [question({ text: 'x' })], stream };
                for (let i = 0; i < 2; i++) await server.request('POST', '/poor/chat/completions', { body });
            });
        });
    }
});

describe('agents', { concurrency: 1 }, () => {
    let server;
    before(async () => {
        server = await startAccounts({
            server: 'claude_tools Bash Agent; claude_args --allowedTools Bash Agent; claude_working_directory work;',
            prepare: (dir) => mkdirSync(join(dir, 'work')),
        });
    });
    after(() => server?.end());

    for (const [how, stream] of BOTH) {
        test(`the CLI uses its tools, ${how}: the sum of all calls`, async () => {
            const [line] = await accounted(server, 1, async () => {
                server.stub.script([
                    { times: 1, usage: usage(), text: 'look', tool_use: [{ id: `toolu_${++marks}`, name: 'Bash', input: { command: 'true' } }] },
                    { times: 1, usage: usage(), tool_use: [{ id: `toolu_${++marks}`, name: 'Bash', input: { command: 'true' } }] },
                    { times: 1, usage: usage(), text: 'done' },
                ]);
                const answer = await server.chat({ messages: [user(`agent ${++marks}`)], stream });
                assert.equal(answer.status, 200, answer.text);
            });
            assert.equal(line.finish, 'stop');
            assert.ok(Number(line.cost) > 0);
        });

        test(`an agent of the agent's, ${how}`, async () => {
            const { calls } = server.stub.account();
            let prompt;
            const [line] = await accounted(server, 1, async () => {
                server.stub.script([
                    { times: 1, usage: usage(), tool_use: [{ id: `toolu_${++marks}`, name: 'Agent', input: { description: 'look', prompt: 'look around', subagent_type: 'general-purpose', run_in_background: false } }] },
                    { times: 1, usage: usage(), text: 'the other agent\'s words' },
                    { times: 1, usage: usage(), text: 'done' },
                ]);
                const answer = await server.chat({ messages: [user(`agents ${++marks}`)], stream });
                assert.equal(answer.status, 200, answer.text);
                if (!stream) {
                    prompt = answer.json.usage.prompt_tokens;
                }
            });
            assert.equal(server.stub.account().calls - calls, 3, 'the model was called by both agents');
            if (!stream) assert.equal(prompt, Number(line.prompt), 'the client is told the same');
            assert.ok(Number(line.cost) > 0);
        });

        test(`the client leaves while a tool runs, ${how}`, async () => {
            const [line] = await accounted(server, 1, async () => {
                const since = await accounts(server);
                server.stub.script({ times: 1, usage: usage(), text: 'wait', tool_use: [{ id: `toolu_${++marks}`, name: 'Bash', input: { command: 'sleep 20' } }] });
                const client = open(server, { messages: [user(`sleeper ${++marks}`)], stream });
                await told(server, 1, since);
                await waitFor('the end of the call upstream', () => server.stub.stats().active === 0);
                const { completion } = minus(server.stub.account(), since.stub);
                await waitFor('the status to have the answer', async () =>
                    minus((await accounts(server)).status, since.status).completion === completion, 8000 * SLOW);
                client.leave();
            });
            assert.ok(Number(line.cost) > 0, JSON.stringify(line));
        });
    }
});

describe('HTTP/2', { concurrency: 1 }, () => {
    let server;
    let session;
    before(async () => {
        const port = await freePort();
        server = await startAccounts({
            http: `server { listen 127.0.0.1:${port} http2; claude_api_key ${KEY} name=one; access_log spent.log spent;
                location /v1/ { claude_openai; } }`,
        });
        session = http2.connect(`http://127.0.0.1:${port}`);
        session.on('error', () => {});
    });
    after(() => {
        session?.destroy();
        return server?.end();
    });

    function stream(body) {
        const req = session.request({
            ':method': 'POST', ':path': '/v1/chat/completions', authorization: `Bearer ${KEY}`, 'content-type': 'application/json',
        });
        const out = { text: '', req };
        req.on('error', () => {});
        req.on('data', (data) => { out.text += data; });
        req.end(JSON.stringify({ model: 'sonnet', stream: true, ...body }));
        return out;
    }

    test('a stream that its client resets, and the connection goes on', async () => {
        const [line] = await accounted(server, 1, async () => {
            const one = stream({ messages: [question({ deltas: ['word '], repeat: 1000, gap_ms: 20 })] });
            await waitFor('a word', () => one.text.includes('word'), 8000 * SLOW);
            one.req.close(http2.constants.NGHTTP2_CANCEL);
        });
        assert.ok(Number(line.prompt) > 0 && Number(line.cost) > 0, JSON.stringify(line));
        await accounted(server, 1, async () => {
            const two = stream({ messages: [question({ text: 'x' })] });
            await waitFor('the end', () => two.text.includes('[DONE]'), 8000 * SLOW);
        });
    });

    test('the connection goes with two streams', async () => {
        await accounted(server, 2, async () => {
            const both = [1, 2].map(() => stream({ messages: [question({ deltas: ['word '], repeat: 1000, gap_ms: 20 })] }));
            await waitFor('a word of both', () => both.every(({ text }) => text.includes('word')), 8000 * SLOW);
            session.destroy();
        });
    });
});
