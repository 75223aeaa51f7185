/*
 * Several answers to one request (n), and the older endpoint, with the real CLI and the openai SDK:
 * what reaches the model, what comes back, and what is left when the client leaves.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { KEY, SLOW, startServer, waitFor } from './lib/server.mjs';
import { assistant, conversation, scripted, system, systemTexts, user } from './lib/upstream.mjs';

let server;
let client;

before(async () => {
    server = await startServer({ http: 'claude_max_concurrent 4; claude_max_processes 6;' });
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

const chat = (body) => client.chat.completions.create({ model: 'sonnet', ...body });
const complete = (body) => client.completions.create({ model: 'sonnet', ...body });

/* Nothing is asked upstream any more, and every slot is free. */
async function allFree() {
    await waitFor('upstream to be left alone', () => server.stub.stats().active === 0, 4000 * SLOW);
    await server.idle();
}

describe('n', { concurrency: 1 }, () => {
    const history = [system('s'), user('one'), assistant('two')];

    test('each is asked of the model by itself, with the same messages', async () => {
        const answer = await chat({ messages: [...history, user('three')], n: 3 });
        assert.deepEqual(answer.choices.map(({ index, message, finish_reason: why }) => [index, message.content, why]),
            [0, 1, 2].map((index) => [index, 'echo: three', 'stop']));
        assert.equal(server.stub.requests.length, 3);
        for (const request of server.stub.requests) {
            assert.deepEqual(conversation(request), [['user', 'one'], ['assistant', 'two'], ['user', 'three']]);
            assert.ok(systemTexts(request).includes('s'));
        }
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
        const single = await chat({ messages: [...history, user('three')] });
        assert.equal(answer.usage.completion_tokens, 3 * single.usage.completion_tokens);
    });

    test('streamed: by index, and one end', async () => {
        const texts = ['', '', ''];
        const ends = [];
        const order = [];
        let usage;
        /* none is answered before all are asked: a CLI may take seconds to start */
        const all = () => waitFor('all to be asked', () => server.stub.stats().active === 3, 20000 * SLOW);
        server.stub.script({ times: 3, until: all, deltas: ['a ', 'b ', 'c '], repeat: 5, gap_ms: 30 });
        const stream = await chat({ messages: [user('three')], n: 3, stream: true, stream_options: { include_usage: true } });
        for await (const chunk of stream) {
            usage = chunk.usage ?? usage;
            for (const { index, delta, finish_reason: why } of chunk.choices) {
                texts[index] += delta.content ?? '';
                order.push(index);
                if (why) ends.push([index, why]);
            }
        }
        assert.deepEqual(texts, Array(3).fill('a b c '.repeat(5)));
        assert.deepEqual(ends.sort(), [0, 1, 2].map((index) => [index, 'stop']));
        const turns = order.filter((index, i) => i && index !== order[i - 1]).length;
        assert.ok(turns > 5, `interleaved, not one after the other: ${order.join('')}`);
        assert.ok(usage.completion_tokens > 0);
    });

    test('more than may run at once: the others wait for their place', async () => {
        const answers = await Promise.all([1, 2].map(() => chat({ messages: [user('many')], n: 4 })));
        assert.deepEqual(answers.map(({ choices }) => choices.length), [4, 4]);
        assert.ok(answers.every(({ choices }) => choices.every(({ message }) => message.content === 'echo: many')));
        assert.equal(server.stub.requests.length, 8);
    });

    test('more than may ever run at once are refused', async () => {
        const { status, json } = await server.chat({ messages: [user('many')], n: 5 });
        assert.equal(status, 400);
        assert.equal(json.error.param, 'n');
        assert.equal(server.stub.requests.length, 0);
    });

    test('whichever answer the client goes on with, a process holds it', async () => {
        const first = await server.chat({ messages: [user(scripted({ text: 'same' }, 'q '))], n: 2 });
        await server.idle();
        const messages = [user(scripted({ text: 'same' }, 'q ')), assistant(first.json.choices[1].message.content), user('next')];
        const before = (await server.status()).rungs.live;
        assert.equal((await server.chat({ messages })).json.choices[0].message.content, 'echo: next');
        assert.equal((await server.status()).rungs.live, before + 1);
    });

    test('the session goes on from the first answer', async () => {
        const question = user(scripted({ text: 'one of two' }, 'q '));
        const first = await server.chat({ messages: [question], n: 2 });
        await server.idle();
        const next = await server.chat({ messages: [user('and')] }, { headers: { 'x-session-id': first.headers['x-session-id'] } });
        assert.equal(next.status, 200);
        assert.deepEqual(conversation(server.stub.requests.at(-1)).map(([role]) => role), ['user', 'assistant', 'user']);
    });

    test('a client that leaves ends them all', async () => {
        const question = user(scripted({ deltas: ['word '], repeat: 1000, gap_ms: 20 }));
        const stream = await chat({ messages: [question], n: 3, stream: true });
        const seen = new Set();
        for await (const chunk of stream) {
            for (const { index, delta } of chunk.choices) if (delta.content) seen.add(index);
            if (seen.size === 3) break;
        }
        stream.controller.abort();
        await allFree();
    });

    test('one that fails ends the others', async () => {
        server.stub.script({ status: 400, message: 'prompt is too long: 210000 tokens > 200000 maximum', times: 1 });
        const question = user(scripted({ deltas: ['word '], repeat: 1000, gap_ms: 20 }));
        await assert.rejects(chat({ messages: [question], n: 3 }), (error) => error.code === 'context_length_exceeded');
        await allFree();
    });
});

describe('completions', { concurrency: 1 }, () => {
    test('create', async () => {
        const answer = await complete({ prompt: 'Once upon a time' });
        assert.equal(answer.object, 'text_completion');
        assert.match(answer.id, /^cmpl-/);
        assert.deepEqual(answer.choices, [{ index: 0, text: 'echo: Once upon a time', logprobs: null, finish_reason: 'stop' }]);
        assert.ok(answer.usage.total_tokens > 0);
        const [request] = server.stub.requests;
        assert.deepEqual(conversation(request), [['user', 'Once upon a time']]);
        assert.ok(systemTexts(request).some((text) => /is a text that you complete/.test(text)));
        assert.deepEqual(request.body.tools ?? [], []);
    });

    test('a stream, of several prompts, with limits', async () => {
        const texts = ['', ''];
        const prompts = [scripted({ deltas: ['x ', 'y'] }, 'one '), scripted({ deltas: ['z'] }, 'two ')];
        for await (const { choices } of await complete({ prompt: prompts, stream: true, max_tokens: 77, stop: ['END'] })) {
            for (const { index, text } of choices) texts[index] += text;
        }
        assert.deepEqual(texts, ['x y', 'z']);
        for (const { body } of server.stub.requests) {
            assert.equal(body.max_tokens, 77);
            assert.deepEqual(body.stop_sequences, ['END']);
        }
    });

    test('a prompt again finds a process, and leaves nothing behind', async () => {
        await complete({ prompt: 'again' });
        await complete({ prompt: 'again' });
        await allFree();
        assert.deepEqual(conversation(server.stub.requests.at(-1)), [['user', 'again']]);
    });

    test('a suffix: BadRequestError that names it', async () => {
        await assert.rejects(complete({ prompt: 'a', suffix: 'z' }), (error) => error.status === 400 && error.param === 'suffix');
        assert.equal(server.stub.requests.length, 0);
    });
});
