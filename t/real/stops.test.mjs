/*
 * Stop sequences of only white space, which the provider refuses: the module looks for them in
 * what the model writes, wherever its pieces are cut.
 */

import { after, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from './lib/server.mjs';
import { scripted, user } from './lib/upstream.mjs';

let server;

before(async () => {
    server = await startServer({ workers: 1 });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

const CASES = [
    ['one\n\ntwo', ['\n\n'], 'one'],
    ['one\ntwo\n three', ['\n\n'], 'one\ntwo\n three'],
    ['a\n\n\nb', ['\n\n'], 'a'],
    ['a \n \n\tb', [' \n\t', '\n \n\n'], 'a \n \n\tb'.slice(0, 3)],
    ['a\n \n \nb', ['\n \n\t', '\t'], 'a\n \n \nb'],
    ['text \t', [' \t\n'], 'text \t'],
    ['x\n\n', ['\n\n', '\n\n\n'], 'x'],
    ['stop END here\n\n', ['\n\n', 'END'], 'stop END here'],
];

for (const [text, stop, want] of CASES) {
    for (const size of [1, 2, 3, 100]) {
        test(`${JSON.stringify(text)} to ${JSON.stringify(stop)} in pieces of ${size}`, async () => {
            const deltas = Array.from({ length: Math.ceil(text.length / size) }, (_, i) => text.slice(i * size, (i + 1) * size));
            const body = { messages: [user(scripted({ deltas }))], stop };
            const stream = await server.stream(body);
            assert.deepEqual([stream.content, stream.finish, stream.done], [want, 'stop', true]);
            const whole = (await server.chat(body)).json.choices[0];
            assert.deepEqual([whole.message.content, whole.finish_reason], [want, 'stop']);
            const given = stop.filter((one) => one.trim());
            assert.deepEqual(server.stub.requests[0].body.stop_sequences, given.length ? given : undefined);
        });
    }
}

test('the model is interrupted there, and the conversation goes on', async () => {
    const question = user(scripted({ deltas: ['one', '\n\n', 'two '], repeat: 200, gap_ms: 20 }));
    const answer = await server.stream({ messages: [question], stop: '\n\n' });
    assert.equal(answer.content, 'one');
    await server.idle();
    assert.ok(server.stub.requests.at(-1).closed_early, 'long before its end');
    const next = await server.stream({ messages: [question, { role: 'assistant', content: 'one' }, user('and now?')] });
    assert.equal(next.content, 'echo: and now?');
});

test('five of them are too many', async () => {
    const { status, json } = await server.chat({ messages: [user('hi')], stop: ['\n', '\t', ' ', '\n\n', 'x'] });
    assert.deepEqual([status, json.error.param], [400, 'stop']);
});
