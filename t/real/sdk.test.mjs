/*
 * The openai npm SDK against nginx, as an application would use it: answers, streams, errors as
 * the right classes, retries only where they help, and an abort that reaches the model.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI, {
    APIConnectionTimeoutError, APIUserAbortError, AuthenticationError, BadRequestError, InternalServerError,
    NotFoundError, RateLimitError,
} from 'openai';
import { KEY, SLOW, isAlive, startServer, waitFor } from './lib/server.mjs';
import { assistant, conversation, only, scripted, system, user } from './lib/upstream.mjs';

let server;
let client;

before(async () => {
    server = await startServer();
    client = makeClient();
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

/* Its attempts are counted: one call of create() may be several requests. */
function makeClient(options = {}) {
    const counted = { attempts: 0 };
    const made = new OpenAI({
        baseURL: `${server.url}/v1`,
        apiKey: KEY,
        maxRetries: 0,
        fetch: (...args) => {
            counted.attempts += 1;
            return fetch(...args);
        },
        ...options,
    });
    return Object.assign(made, { counted });
}

const create = (body, options, from = client) => from.chat.completions.create({ model: 'sonnet', ...body }, options);

/* Every CLI is idle or gone, every slot free, and upstream is left alone. */
async function allFree(pids) {
    await waitFor('the upstream request to be closed', () => server.stub.stats().active === 0, 10000 * SLOW);
    await waitFor('the CLI to be idle or gone', async () => {
        const { turns, processes } = await server.status();
        const idle = new Set(processes.filter(({ state }) => state === 'idle').map(({ pid }) => pid));
        return turns.running === 0 && turns.waiting === 0 && pids.every((pid) => idle.has(pid) || !isAlive(pid));
    }, 10000 * SLOW);
}

/* ---------------------------------------------------------------------------------------- */

describe('answers', () => {
    test('create', async () => {
        const answer = await create({ messages: [system('s'), user('hello')] });
        assert.equal(answer.object, 'chat.completion');
        assert.match(answer.id, /^chatcmpl-/);
        assert.equal(answer.model, 'sonnet');
        assert.equal(answer.choices.length, 1);
        assert.equal(answer.choices[0].index, 0);
        assert.deepEqual(answer.choices[0].message, { role: 'assistant', content: 'echo: hello', refusal: null, annotations: [] });
        assert.equal(answer.choices[0].finish_reason, 'stop');
        assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
        assert.ok(Math.abs(answer.created - Date.now() / 1000) < 60);
        assert.ok(answer._request_id);
    });

    test('a stream’s chunks arrive while the model still talks', async () => {
        const deltas = Array.from({ length: 24 }, (_, i) => `word${i} `);
        const stream = await create({ messages: [user(scripted({ deltas, gap_ms: 60 }))], stream: true });
        const at = [];
        const chunks = [];
        for await (const chunk of stream) {
            chunks.push(chunk);
            if (chunk.choices[0].delta.content) at.push(performance.now());
        }
        assert.equal(chunks.map(({ choices }) => choices[0].delta.content ?? '').join(''), deltas.join(''));
        assert.ok(at.at(-1) - at[0] > 500, `the first chunk came ${at.at(-1) - at[0]} ms before the last`);
        assert.equal(chunks[0].choices[0].delta.role, 'assistant');
        assert.ok(chunks.slice(1).every(({ choices }) => choices[0].delta.role === undefined));
        assert.equal(new Set(chunks.map(({ id, created, model }) => `${id} ${created} ${model}`)).size, 1);
        assert.ok(chunks.every(({ object }) => object === 'chat.completion.chunk'));
        assert.deepEqual(chunks.map(({ choices }) => choices[0].finish_reason).filter(Boolean), ['stop']);
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    });

    test('usage of a stream comes last, with no choices, and only when it is asked for', async () => {
        const usage = { input_tokens: 5, cache_read_input_tokens: 20, output_tokens: 3 };
        const messages = [user(scripted({ text: 'x', usage }))];
        const chunks = [];
        for await (const chunk of await create({ messages, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.equal(chunks.at(-1).usage.prompt_tokens, 25);
        assert.equal(chunks.at(-1).usage.completion_tokens, 3);
        assert.ok(chunks.slice(0, -1).every((chunk) => !chunk.usage));
        for await (const chunk of await create({ messages, stream: true })) assert.ok(!chunk.usage);
    });

    test('the stream() helper gathers the final completion', async () => {
        const runner = client.chat.completions.stream({ model: 'sonnet', messages: [user('gather me')] });
        let seen = '';
        runner.on('content', (delta) => { seen += delta; });
        const final = await runner.finalChatCompletion();
        assert.equal(final.choices[0].message.content, 'echo: gather me');
        assert.equal(final.choices[0].message.role, 'assistant');
        assert.equal(final.choices[0].finish_reason, 'stop');
        assert.equal(seen, 'echo: gather me');
    });

    test('a conversation of several turns, as an application keeps it', async () => {
        const messages = [system('be brief')];
        for (const text of ['one', 'two', 'three']) {
            messages.push(user(text));
            server.stub.clear();
            const { choices: [{ message }] } = await create({ messages });
            assert.equal(message.content, `echo: ${text}`);
            messages.push(message);
        }
        assert.deepEqual(conversation(only(server.stub)), [
            ['user', 'one'], ['assistant', 'echo: one'], ['user', 'two'], ['assistant', 'echo: two'], ['user', 'three'],
        ]);
    });

    test('ten at once: every answer belongs to its question', async () => {
        const ask = async (i) => {
            const messages = [user(`I am ${i}`), assistant(`you are ${i}`), user(`who am I, number ${i}?`)];
            if (i % 2) return (await create({ messages })).choices[0].message.content;
            let text = '';
            for await (const chunk of await create({ messages, stream: true })) text += chunk.choices[0].delta.content ?? '';
            return text;
        };
        const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => ask(i)));
        assert.deepEqual(answers, answers.map((_, i) => `echo: who am I, number ${i}?`));
        const told = server.stub.requests.map(conversation).map((turns) => turns.flat().join('|')).sort();
        assert.deepEqual(told, answers.map((_, i) => `user|I am ${i}|assistant|you are ${i}|user|who am I, number ${i}?`).sort());
    });

    test('a session is named in the answer', async () => {
        const { response } = await create({ messages: [user('x')] }).withResponse();
        assert.match(response.headers.get('x-session-id'), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    });
});

describe('models', () => {
    test('list', async () => {
        const ids = [];
        for await (const model of client.models.list()) {
            assert.equal(model.object, 'model');
            ids.push(model.id);
        }
        for (const id of ['sonnet', 'opus', 'haiku', 'gpt-4', 'gpt-4o', 'gpt-4o-mini']) assert.ok(ids.includes(id), id);
        assert.equal(new Set(ids).size, ids.length);
    });

    test('retrieve', async () => {
        for (const id of ['sonnet', 'gpt-4o', 'claude-sonnet-5-5']) {
            assert.equal((await client.models.retrieve(id)).id, id);
        }
        await assert.rejects(client.models.retrieve('gpt-nonesuch'), (error) => error instanceof NotFoundError && error.code === 'model_not_found');
    });
});

describe('errors', () => {
    /* The error, how often it was asked for, and that asking again was right or not. */
    async function rejects(type, want, body, options = {}) {
        const from = makeClient({ maxRetries: 2, ...options });
        const error = await create({ messages: [user('question')], ...body }, {}, from).then(() => null, (e) => e);
        assert.ok(error instanceof type, `${error?.constructor.name}: ${error?.message}`);
        assert.equal(error.status, want.status);
        assert.equal(error.code, want.code ?? null);
        if (want.param) assert.equal(error.param, want.param);
        assert.ok(error.requestID);
        assert.equal(from.counted.attempts, want.attempts ?? 1, 'attempts');
        return error;
    }

    test('a wrong key: AuthenticationError', async () => {
        await rejects(AuthenticationError, { status: 401, code: 'invalid_api_key' }, {}, { apiKey: 'sk-wrong' });
        assert.equal(server.stub.requests.length, 0);
    });

    test('an unknown model: NotFoundError, asked once', async () => {
        await rejects(NotFoundError, { status: 404, code: 'model_not_found', param: 'model' }, { model: 'gpt-nonesuch' });
        assert.equal(server.stub.requests.length, 0);
    });

    test('a bad parameter: BadRequestError that names it', async () => {
        await rejects(BadRequestError, { status: 400, param: 'n' }, { n: 9 });
        await rejects(BadRequestError, { status: 400, param: 'logprobs' }, { logprobs: true });
        await rejects(BadRequestError, { status: 400, param: 'messages[0].content' }, { messages: [user('')] });
        assert.equal(server.stub.requests.length, 0);
    });

    test('a conversation that is too long: BadRequestError context_length_exceeded, asked once', async () => {
        server.stub.script({ status: 400, message: 'prompt is too long: 210000 tokens > 200000 maximum', times: 100 });
        const error = await rejects(BadRequestError, { status: 400, code: 'context_length_exceeded' });
        assert.match(error.message, /maximum context length/);
    });

    test('upstream’s rate limit: RateLimitError', async () => {
        server.stub.script({ status: 429, headers: { 'retry-after': '30' }, times: 100 });
        const error = await rejects(RateLimitError, { status: 429, code: 'rate_limit_exceeded' }, {}, { maxRetries: 0 });
        assert.ok(Number(error.headers.get('retry-after')) <= 60);
    });

    test('upstream is overloaded: InternalServerError, and asked again as often as maxRetries says', async () => {
        server.stub.script({ status: 529, times: 100 });
        await rejects(InternalServerError, { status: 503, code: 'overloaded', attempts: 2 }, {}, { maxRetries: 1 });
    });

    test('a retry that helps', async () => {
        const from = makeClient({ maxRetries: 1 });
        server.stub.script({ status: 500, times: 3 });
        const answer = await create({ messages: [user('question')] }, {}, from);
        assert.equal(answer.choices[0].message.content, 'echo: question');
        assert.ok(from.counted.attempts <= 2);
    });

    test('an error amid a stream is thrown, after what had come', async () => {
        const script = { deltas: ['half ', 'an '], gap_ms: 30, error_event: { type: 'overloaded_error', message: 'Overloaded' } };
        server.stub.script({ ...script, times: 100 });
        let text = '';
        await assert.rejects(async () => {
            for await (const chunk of await create({ messages: [user('question')], stream: true })) {
                text += chunk.choices[0]?.delta.content ?? '';
                assert.ok(!chunk.choices[0]?.finish_reason);
            }
        }, (error) => error instanceof OpenAI.APIError && error.code === 'overloaded');
        assert.ok('half an '.startsWith(text), text);
    });
});

describe('a client that leaves', () => {
    const endless = { deltas: ['tick '], repeat: 2000, gap_ms: 50 };

    test('abort amid a stream: upstream closed, CLI idle or gone, slot free', async () => {
        const controller = new AbortController();
        const stream = await create({ messages: [user(scripted(endless))], stream: true }, { signal: controller.signal });
        let chunks = 0;
        let pids = [];
        const consume = async () => {
            for await (const chunk of stream) {
                chunks += chunk.choices[0].delta.content ? 1 : 0;
                if (chunks === 3) {
                    const { processes } = await server.status();
                    pids = processes.filter(({ state }) => state === 'busy').map(({ pid }) => pid);
                    controller.abort();
                }
            }
        };
        await consume().catch((error) => assert.ok(error instanceof APIUserAbortError, error));
        assert.equal(pids.length, 1, 'one CLI is at work');
        await allFree(pids);
        assert.equal(only(server.stub).closed_early, true);
        const { turns } = await server.status();
        assert.ok(turns.aborted >= 1);
    });

    test('breaking out of the loop does the same', async () => {
        for await (const chunk of await create({ messages: [user(scripted(endless))], stream: true })) {
            if (chunk.choices[0].delta.content) break;
        }
        await allFree(server.clis());
        assert.equal(only(server.stub).closed_early, true);
    });

    test('a timeout of the client, before the model says a word', async () => {
        for (const stream of [false, true]) {
            server.stub.clear();
            const from = makeClient({ timeout: 1500 * SLOW });
            await assert.rejects(create({ messages: [user(scripted({ hang: 'headers' }))], stream }, {}, from), APIConnectionTimeoutError);
            await allFree(server.clis());
            assert.equal(only(server.stub).closed_early, true);
        }
    });

    test('before the CLI has even started', async () => {
        const controller = new AbortController();
        const asked = create({ messages: [user('never mind')] }, { signal: controller.signal });
        await waitFor('a turn to run', async () => (await server.status()).turns.running === 1);
        controller.abort();
        await assert.rejects(asked, APIUserAbortError);
        await allFree(server.clis());
    });

    test('ten that leave at once leave ten free slots', async () => {
        const controllers = Array.from({ length: 10 }, () => new AbortController());
        const asked = controllers.map(({ signal }) => create({ messages: [user(scripted(endless))], stream: true }, { signal }));
        const streams = await Promise.all(asked);
        assert.equal((await server.status()).turns.running, 10);
        controllers.forEach((controller) => controller.abort());
        await Promise.all(streams.map(async (stream) => {
            try {
                for await (const chunk of stream) assert.ok(chunk);
            } catch (error) {
                assert.ok(error instanceof APIUserAbortError, error);
            }
        }));
        await allFree(server.clis());
        const answer = await create({ messages: [user('still there?')] });
        assert.equal(answer.choices[0].message.content, 'echo: still there?');
    });
});
