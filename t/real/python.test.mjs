/*
 * The openai SDK of PyPI against nginx, as an application would use it: answers, streams, tools,
 * errors as the right classes, async, and clients that leave. The examples that the seed of this
 * project had, and those of its documentation, run as they stand there but for address and key.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { KEY, ROOT, SLOW, endChild, spawnTied, startServer, waitFor } from './lib/server.mjs';
import { conversation, only, scripted } from './lib/upstream.mjs';

const PYTHON = process.env.TEST_PYTHON;
const HERE = join(ROOT, 't/real/python');
const ENDLESS = { deltas: ['tick '], repeat: 2000, gap_ms: 50 };

let server;
let asker;          /* the process that has the SDK, for all tests */
let answers;

before(async () => {
    server = await startServer();
    asker = start([join(HERE, 'ask.py')]);
    answers = createInterface({ input: asker.stdout })[Symbol.asyncIterator]();
});
after(async () => {
    if (asker) await endChild(asker);
    await server?.end();
});
beforeEach(() => server.stub.clear());

function start(args) {
    const child = spawnTied(PYTHON, args, {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: {
            PATH: process.env.PATH, HOME: server.dir, PYTHONDONTWRITEBYTECODE: '1',
            OPENAI_BASE_URL: `${server.url}/v1`, OPENAI_API_KEY: KEY,
        },
    });
    child.said = '';
    child.stderr.on('data', (data) => { child.said += data; });
    return child;
}

/* A program to its end: what it has printed. */
async function run(...args) {
    const child = start(args);
    let out = '';
    child.stdin.end();
    child.stdout.on('data', (data) => { out += data; });
    const status = await new Promise((resolve) => { child.once('close', resolve); });
    assert.equal(status, 0, child.said);
    return out;
}

/* A function of ask.py: what it returns. */
async function ask(name, options = {}, meanwhile = () => {}) {
    asker.stdin.write(`${JSON.stringify({ name, arguments: options })}\n`);
    await meanwhile();
    const { value, done } = await answers.next();
    assert.ok(!done, `ask.py has ended: ${asker.said}`);
    const { result, failed } = JSON.parse(value);
    assert.equal(failed, undefined);
    return result;
}

/* An example's text, with the address and the key of this server. */
const example = (text) => run('-c', text
    .replace(/http:\/\/(?:localhost|127\.0\.0\.1):8000/, server.url)
    .replace(/api_key="[^"]*"/, `api_key="${KEY}"`));

async function allFree() {
    await waitFor('the upstream request to be closed', () => server.stub.stats().active === 0, 10000 * SLOW);
    await server.idle(10000 * SLOW);
    assert.equal(only(server.stub).closed_early, true);
}

/* ---------------------------------------------------------------------------------------- */

describe('examples, as they stand', () => {
    for (const name of ['seed_whole.py', 'seed_stream.py']) {
        test(name, async () => {
            const text = readFileSync(join(HERE, name), 'utf8');
            assert.equal((await example(text)).trimEnd(), 'echo: Hello!');
            assert.deepEqual(conversation(only(server.stub)), [['user', 'Hello!']]);
        });
    }

    test('those of the documentation', async () => {
        const docs = join(ROOT, 'docs');
        const pages = ['README.md', ...(existsSync(docs) ? readdirSync(docs).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`) : [])];
        const found = pages.flatMap((page) => [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```python\n([^]*?)^```/gm)].map(([, text]) => text));
        assert.ok(found.length > 0);
        for (const text of found) assert.match(await example(text), /^echo: /, text);
    });
});

describe('answers', () => {
    test('create', async () => {
        const { answer, request, session } = await ask('whole', { text: 'hello' });
        assert.equal(answer.object, 'chat.completion');
        assert.equal(answer.choices[0].message.content, 'echo: hello');
        assert.equal(answer.choices[0].finish_reason, 'stop');
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
        assert.ok(request);
        assert.match(session, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    });

    test('a stream, with usage last', async () => {
        const chunks = await ask('streamed', { text: scripted({ deltas: ['a ', 'b ', 'c'], usage: { input_tokens: 5, output_tokens: 3 } }) });
        assert.equal(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''), 'a b c');
        assert.deepEqual(chunks.map(({ choices }) => choices[0]?.finish_reason).filter(Boolean), ['stop']);
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.deepEqual([chunks.at(-1).usage.prompt_tokens, chunks.at(-1).usage.completion_tokens], [5, 3]);
    });

    test('the stream() helper gathers the final completion', async () => {
        const { events, final } = await ask('helper', { text: 'gather me' });
        assert.equal(final.choices[0].message.content, 'echo: gather me');
        assert.ok(events.includes('content.delta') && events.includes('content.done'), events.join(' '));
    });

    test('a conversation, with the SDK\'s own messages in it', async () => {
        assert.deepEqual(await ask('conversation', { texts: ['one', 'two'] }), ['one', 'echo: one', 'two', 'echo: two']);
        assert.deepEqual(conversation(server.stub.requests.at(-1)), [['user', 'one'], ['assistant', 'echo: one'], ['user', 'two']]);
    });

    for (const stream of [false, true]) {
        test(`a tool in two rounds, its arguments parsed${stream ? ', streamed' : ''}`, async () => {
            const call = (id, name, age) => ({ id, name: 'look_up', input: { name, age } });
            server.stub.script([
                { tool_use: [call('toolu_1', 'Ada', 36)] },
                { text: 'Two more.', tool_use: [call('toolu_2', 'Bea', 1), call('toolu_3', 'Cleo', 2)] },
                { text: 'All known.' },
            ]);
            assert.deepEqual(await ask('tools', { text: 'Who?', stream }), {
                asked: [['toolu_1', 'Ada', 36], ['toolu_2', 'Bea', 1], ['toolu_3', 'Cleo', 2]], text: 'All known.',
            });
        });
    }

    test('parse, with a pydantic model', async () => {
        server.stub.script({ text: '{"name":"Ada","age":36}' });
        assert.deepEqual(await ask('parse', { text: 'Who?' }), { name: 'Ada', age: 36 });
    });

    test('n', async () => {
        const { texts, indices } = await ask('choices', { text: 'again', n: 3 });
        assert.deepEqual(texts, Array(3).fill('echo: again'));
        assert.deepEqual(indices, [0, 1, 2]);
    });

    test('completions', async () => assert.equal(await ask('completions', { prompt: 'older' }), 'echo: older'));

    test('models', async () => {
        const { listed, one } = await ask('models');
        for (const id of ['sonnet', 'opus', 'haiku', 'gpt-4', 'gpt-4o']) assert.ok(listed.includes(id), id);
        assert.equal(one, 'gpt-4o');
    });

    test('async: six at once, whole and streamed, each its own answer', async () => {
        const texts = Array.from({ length: 6 }, (_, i) => `I am ${i}`);
        assert.deepEqual(await ask('together', { texts }), texts.map((text) => `echo: ${text}`));
    });
});

describe('errors', () => {
    const rejects = async (options, want) => assert.deepEqual(await ask('error', options), { param: null, attempts: 1, ...want });

    test('a wrong key', () => rejects({ body: {}, key: 'sk-wrong', retries: 2 },
        { type: 'AuthenticationError', status: 401, code: 'invalid_api_key' }));

    test('an unknown model', () => rejects({ body: { model: 'gpt-nonesuch' }, retries: 2 },
        { type: 'NotFoundError', status: 404, code: 'model_not_found', param: 'model' }));

    test('a bad parameter', () => rejects({ body: { n: 9 }, retries: 2 },
        { type: 'BadRequestError', status: 400, code: null, param: 'n' }));

    test('a conversation that is too long, asked once', async () => {
        server.stub.script({ status: 400, message: 'prompt is too long: 210000 tokens > 200000 maximum', times: 100 });
        await rejects({ body: {}, retries: 2 }, { type: 'BadRequestError', status: 400, code: 'context_length_exceeded', param: 'messages' });
    });

    test('upstream’s rate limit', async () => {
        server.stub.script({ status: 429, headers: { 'retry-after': '30' }, times: 100 });
        await rejects({ body: {} }, { type: 'RateLimitError', status: 429, code: 'rate_limit_exceeded' });
    });

    test('upstream is overloaded, asked again as often as max_retries says', async () => {
        server.stub.script({ status: 529, times: 100 });
        await rejects({ body: {}, retries: 1 }, { type: 'InternalServerError', status: 503, code: 'overloaded', attempts: 2 });
    });

    test('an error amid a stream is raised', async () => {
        server.stub.script({ deltas: ['half '], gap_ms: 30, error_event: { type: 'overloaded_error', message: 'Overloaded' }, times: 100 });
        await rejects({ body: { stream: true } }, { type: 'APIError', status: null, code: 'overloaded' });
    });
});

describe('a client that leaves', () => {
    test('with what is left of its stream', async () => {
        assert.equal(await ask('leave', { text: scripted(ENDLESS) }), 'left');
        await allFree();
    });

    test('before there is an answer, by cancelling its task', async () => {
        assert.equal(await ask('cancel', { text: scripted({ hang: 'headers' }) }, async () => {
            await waitFor('the model to be asked', () => server.stub.requests.length === 1, 10000 * SLOW);
            asker.stdin.write('now\n');
        }), 'left');
        await allFree();
    });

    test('when its patience is over', async () => {
        assert.equal(await ask('timeout', { text: scripted({ hang: 'headers' }), seconds: 1.5 * SLOW }), 'timeout');
        await allFree();
    });
});
