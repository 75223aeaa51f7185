/*
 * response_format json_object, and what a refusal looks like, with the real CLI.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from './lib/server.mjs';
import { scripted, system, systemTexts, user } from './lib/upstream.mjs';

let server;

before(async () => {
    server = await startServer({ workers: 1 });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

/* The answer to a script, streamed and whole, which are to be the same. */
async function both(script, more = {}) {
    const body = { messages: [user(scripted(script))], ...more };
    const stream = await server.stream(body);
    assert.equal(stream.error, undefined, JSON.stringify(stream.error));
    const whole = (await server.chat(body)).json;
    const { message, finish_reason: finish } = whole.choices[0];
    assert.equal(stream.content, message.content);
    assert.equal(stream.finish, finish);
    const refusal = stream.events.flatMap(({ choices }) => choices.map(({ delta }) => delta.refusal ?? '')).join('');
    assert.equal(refusal, message.refusal ?? '');
    return { content: message.content, finish, refusal: message.refusal };
}

describe('json_object', () => {
    const format = { response_format: { type: 'json_object' } };
    const OBJECT = '{"a":"} \\" {","b":[{"c":[]}]}';
    const ANSWERS = {
        'alone': [OBJECT, OBJECT],
        'in a code fence': [`\`\`\`json\n${OBJECT}\n\`\`\``, OBJECT],
        'with words around': [`Here it is: ${OBJECT} as {you} wanted.`, OBJECT],
        'of many lines': ['{\n  "a": 1\n}\n', '{\n  "a": 1\n}'],
        'cut off': ['{"a": [1, 2', '{"a": [1, 2'],
        'none at all': ['I would rather not.', 'I would rather not.'],
        'none in a long text': ['word '.repeat(2000), 'word '.repeat(2000)],
    };

    for (const [what, [said, want]] of Object.entries(ANSWERS)) {
        test(`an object ${what}`, async () => {
            const { content, finish } = await both({ deltas: Array.from(said.matchAll(/[^]{1,7}/g), ([part]) => part) }, format);
            assert.equal(content, want);
            assert.equal(finish, 'stop');
        });
    }

    test('the model is told so, behind the system text', async () => {
        await server.chat({ messages: [system('Be brief.'), user('json please')], ...format });
        const told = systemTexts(server.stub.requests.at(-1)).at(-1);
        assert.match(told, /^Be brief\.\n\nAnswer with one JSON object and nothing else/);
        await server.chat({ messages: [system('Be brief.'), user('no json')] });
        assert.equal(systemTexts(server.stub.requests.at(-1)).at(-1), 'Be brief.');
    });
});

describe('a refusal', () => {
    test('has the provider\'s words', async () => {
        const { content, finish, refusal } = await both({
            text: 'I', stop_reason: 'refusal', stop_details: { type: 'refusal', category: 'cyber', explanation: 'Not "that".' },
        });
        assert.deepEqual([content, finish, refusal], ['I', 'content_filter', 'Not "that".']);
    });

    test('without words has some', async () => {
        const { content, finish, refusal } = await both({ empty: true, stop_reason: 'refusal' });
        assert.deepEqual([content, finish, refusal], ['', 'content_filter', 'The model refused to answer.']);
    });

    test('is null where there was none', async () => {
        assert.equal((await both({ text: 'yes' })).refusal, null);
    });
});
