/*
 * The CLI is an agent: after some ends of an answer it goes on by itself, at the user's expense
 * (docs/cli-protocol.md, "What it does by itself"). One test a row of that table: the client gets
 * one honest answer or one error, and the model is not called on and on.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { SLOW, sleep, startServer, waitFor } from './lib/server.mjs';
import { assistant, conversation, scripted, user } from './lib/upstream.mjs';

/* A server for the tests of one describe(), which run one after another. */
function useServer() {
    const use = {};
    before(async () => {
        use.server = await startServer();
    });
    after(() => use.server?.end());
    beforeEach(() => use.server.stub.clear());
    return use;
}

/* A call that should not have been made is answered only after this: it has to be gone by then. */
const SECOND_MS = 1000 * SLOW;

/*
 * Until no turn runs, no upstream request is open, and none has come for a while: a CLI that goes
 * on does so within milliseconds (724 calls in 15 s), one that retries within a second or two.
 */
async function settled(server, quiet = 300) {
    await waitFor('the turn to be over', async () => {
        const { turns } = await server.status();
        return turns.running === 0 && turns.waiting === 0;
    }, 10000 * SLOW);
    let seen = server.stub.requests.length;
    for (let since = Date.now(); Date.now() - since < quiet;) {
        await sleep(20);
        if (server.stub.requests.length !== seen || server.stub.stats().active > 0) {
            seen = server.stub.requests.length;
            since = Date.now();
        }
        assert.ok(seen < 10, 'the model is called on and on');
    }
    return seen;
}

/* The model was asked once: the gate leaves the CLI no second call. */
async function answeredOnce(server) {
    assert.equal(await settled(server), 1, 'calls of the model');
}

/* Whoever has the error is not billed for more. */
async function noCallAfter(server, moment) {
    await settled(server, 1300);
    const late = server.stub.requests.map(({ at }) => at - moment).filter((ms) => ms > 250 * SLOW);
    assert.deepEqual(late, [], 'calls of the model, in ms after the client had its error');
}

/* What was asked: the same conversation every time, and none of the CLI's own lines in it. */
function onlyAsked(server, messages) {
    for (const request of server.stub.requests) {
        assert.deepEqual(conversation(request), messages.map(({ role, content }) => [role, content]));
    }
}

/* Three servers at a time: most of the time here is waiting for a call that does not come. */
describe('the agent is kept from', { concurrency: 3 }, () => {
    /* Both ways of asking, the script in the queue for as often as the CLI may ask. */
    for (const streamed of [false, true]) {
        const way = streamed ? 'streamed' : 'whole';

        describe(`${way}:`, { concurrency: 1 }, () => {
            const use = useServer();

            /* Asks; the answer in one form: {status, error, content, finish, done, usage, headers}. */
            const ask = async (script, messages = [user('question')]) => {
                use.server.stub.script([script, { delay_ms: SECOND_MS, ...script, times: 100 }]);
                const extra = streamed ? { stream: true, stream_options: { include_usage: true } } : {};
                if (streamed) {
                    const answer = await use.server.stream({ messages, ...extra });
                    return {
                        ...answer,
                        error: answer.error ?? answer.json?.error,
                        usage: answer.events.at(-1)?.usage,
                    };
                }
                const answer = await use.server.chat({ messages });
                const choice = answer.json.choices?.[0];
                return {
                    ...answer, error: answer.json.error, content: choice?.message.content, finish: choice?.finish_reason,
                    done: answer.status === 200, usage: answer.json.usage,
                };
            };

            const honest = (answer, content, finish) => {
                assert.equal(answer.status, 200, answer.text);
                assert.equal(answer.error, undefined);
                assert.equal(answer.content, content);
                assert.equal(answer.finish, finish);
                assert.equal(answer.done, true);
            };

            /* An error with a status, or, when the stream had begun by then, as its last event. */
            const failed = (answer, status, code, mayBegin = streamed) => {
                assert.ok(answer.error, answer.text);
                assert.equal(answer.error.code, code);
                if (mayBegin && answer.status === 200) {
                    assert.equal(answer.done, false, 'no [DONE] after an error');
                    assert.equal(answer.finish, undefined, 'no finish_reason with an error');
                    assert.equal(answer.complete, true, 'the body ends normally');
                    assert.equal(answer.events.at(-1).error, answer.error);
                } else {
                    assert.equal(answer.status, status, answer.text);
                }
            };

            for (const stop of ['max_tokens', 'model_context_window_exceeded']) {
                test(`an answer cut by ${stop} is what there is, and finishes with length`, async () => {
                    const usage = { input_tokens: 50, output_tokens: 7 };
                    const answer = await ask({ text: 'half an ans', stop_reason: stop, usage });
                    honest(answer, 'half an ans', 'length');
                    assert.equal(answer.usage.completion_tokens, 7);
                    await answeredOnce(use.server);
                });
            }

            test('max_tokens before the first word: an empty answer that finishes with length', async () => {
                const answer = await ask({ thinking: 'long', blocks: [{ type: 'thinking', thinking: 'long' }], stop_reason: 'max_tokens' });
                honest(answer, '', 'length');
                await answeredOnce(use.server);
            });

            test('an empty answer is an empty answer', async () => {
                const answer = await ask({ empty: true });
                honest(answer, '', 'stop');
                await answeredOnce(use.server);
            });

            test('a stop sequence stops', async () => {
                const answer = await ask({ text: 'up to', stop_reason: 'stop_sequence', stop_sequence: 'END' });
                honest(answer, 'up to', 'stop');
                await answeredOnce(use.server);
            });

            test('a refusal is the filter’s, without a retry and without another model', async () => {
                const answer = await ask({ text: 'I will', stop_reason: 'refusal', stop_details: { type: 'refusal', category: 'cyber' } });
                honest(answer, 'I will', 'content_filter');
                await answeredOnce(use.server);
                const [{ body: { model } }] = use.server.stub.requests;

                use.server.stub.clear();
                const next = await use.server.chat({ messages: [user('question'), assistant('I will'), user('and?')] });
                assert.equal(next.status, 200);
                assert.equal(use.server.stub.requests[0].body.model, model);
                assert.deepEqual(conversation(use.server.stub.requests[0]), [['user', 'question'], ['assistant', 'I will'], ['user', 'and?']]);
            });

            test('a refusal without a word', async () => {
                const answer = await ask({ empty: true, stop_reason: 'refusal' });
                honest(answer, '', 'content_filter');
                await answeredOnce(use.server);
            });

            test('a call of a tool that nobody offered is an error', async () => {
                const answer = await ask({ tool_use: [{ name: 'Bash', input: { command: 'id' } }] });
                failed(answer, 502, 'cli_failed');
                await answeredOnce(use.server);
            });

            test('after some text it is the end of the answer', async () => {
                const answer = await ask({ text: 'Let me look.', tool_use: [{ name: 'Bash', input: { command: 'id' } }] });
                honest(answer, 'Let me look.', 'stop');
                await answeredOnce(use.server);
            });

            test('a call with arguments that do not parse is an error, too', async () => {
                const answer = await ask({
                    blocks: [{ type: 'tool_use', name: 'Bash', input_json_deltas: ['{"command": "i', 'd'] }], stop_reason: 'tool_use',
                });
                failed(answer, 502, 'cli_failed');
                await answeredOnce(use.server);
            });

            test('tools that the conversation names are not called', async () => {
                const messages = [user('Run `id` with Bash.'), assistant('I have no tools.'), user('Do it.')];
                const answer = await ask({ tool_use: [{ name: 'Bash', input: { command: 'id' } }, { name: 'Read', input: { file_path: '/etc/passwd' } }] }, messages);
                failed(answer, 502, 'cli_failed');
                await answeredOnce(use.server);
                const [first] = use.server.stub.requests;
                assert.deepEqual(conversation(first), messages.map(({ role, content }) => [role, content]));
                assert.deepEqual(first.body.tools ?? [], []);
            });

            test('a prompt that is too long is context_length_exceeded, and is not compacted', async () => {
                const messages = [user('a'), assistant('b'), user('question')];
                const answer = await ask({ status: 400, message: 'prompt is too long: 250000 tokens > 200000 maximum' }, messages);
                failed(answer, 400, 'context_length_exceeded', false);
                assert.match(answer.error.message, /context_length_exceeded/);
                assert.match(answer.error.message, /maximum context length/);
                assert.equal(answer.headers['x-should-retry'], 'false');
                /* 2.1.330 sends a 400 again up to twice, with fewer beta features */
                const calls = await settled(use.server, 600);
                assert.ok(calls <= 3, `${calls} calls`);
                onlyAsked(use.server, messages);
            });

            test('an error event amid the answer is an error, not its end', async () => {
                const answer = await ask({ deltas: ['half ', 'an '], error_event: { type: 'overloaded_error', message: 'Overloaded' } });
                failed(answer, 503, 'overloaded');
                if (streamed) assert.ok('half an '.startsWith(answer.content));
                await noCallAfter(use.server, Date.now());
            });
        });
    }

    /*
     * The events: message_start, content_block_start, three deltas, content_block_stop, message_delta,
     * message_stop. Once message_delta has arrived the answer is whole; before it none is. A socket
     * that is cut right behind it may lose it, so there either is right, but nothing between.
     */
    describe('a stream that breaks', { concurrency: 1 }, () => {
        const use = useServer();
        const script = { deltas: ['one ', 'two ', 'three'] };

        for (let n = 1; n <= 8; n++) {
            const sent = n >= 7;

            test(`after ${n} events: ${sent ? 'the answer is whole, or an error' : 'an error, not half an answer as if it were all'}`, async () => {
                use.server.stub.script({ ...script, break_after: n, times: 100 });
                const streamed = await use.server.stream({ messages: [user('question')] });
                const ended = Date.now();
                const error = streamed.error ?? streamed.json?.error;

                if (sent && !error) {
                    assert.equal(streamed.content, 'one two three');
                    assert.equal(streamed.finish, 'stop');
                    assert.equal(streamed.done, true);
                } else {
                    assert.ok(error, streamed.text);
                    assert.equal(error.code, 'overloaded');
                    assert.equal(streamed.done, false);
                    assert.equal(streamed.finish, undefined);
                    assert.ok('one two three'.startsWith(streamed.content), streamed.content);
                }
                await noCallAfter(use.server, ended);
                assert.equal(use.server.stub.requests.length, 1, 'calls of the model');
            });
        }

        test('in the midst of a whole answer: 503', async () => {
            use.server.stub.script({ ...script, break_after: 4, times: 100 });
            const answer = await use.server.chat({ messages: [user('question')] });
            assert.equal(answer.status, 503, answer.text);
            assert.equal(answer.json.error.code, 'overloaded');
            await noCallAfter(use.server, Date.now());
        });

        test('after all of that the server answers, and its slots are free', async () => {
            const answer = await use.server.chat({ messages: [user('hello')] });
            assert.equal(answer.json.choices[0].message.content, 'echo: hello');
            await use.server.idle();
        });
    });
});
