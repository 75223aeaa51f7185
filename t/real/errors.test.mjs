/*
 * What goes wrong upstream, or with the login, has its status, type and code, tells clients
 * whether and when to come again, and leaves a line for the operator in nginx's error log. Never a
 * 200 with an apology in it. The table is DESIGN.md's.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { SLOW, startServer, withServer } from './lib/server.mjs';
import { assistant, user } from './lib/upstream.mjs';

const NOT_LOGGED_IN = {
    status: 503, type: 'server_error', code: 'cli_not_logged_in', retry: false, log: /not logged in/i,
};
const OVERLOADED = { status: 503, type: 'server_error', code: 'overloaded', log: /overloaded|out of reach/ };
const RATE_LIMIT = { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded', log: /limits the rate/ };
/* A wait that Retry-After cannot tell has to be in the words. */
const LONG_OR_UNKNOWN = /not known|unknown|\b[34]\d\d\d seconds|\bhour/;

const MODEL = {
    status: 404, type: 'invalid_request_error', code: 'model_not_found', param: 'model', retry: false,
    log: /does not know the model/,
};

function checkError(answer, want, how) {
    const { status, headers, json, text } = answer;
    assert.equal(status, want.status, `${how}: ${text}`);
    assert.match(headers['content-type'], /^application\/json/, how);
    assert.deepEqual(Object.keys(json), ['error'], how);
    assert.deepEqual(Object.keys(json.error).sort(), ['code', 'message', 'param', 'type'], how);
    assert.equal(json.error.type, want.type, how);
    assert.equal(json.error.code, want.code ?? null, how);
    assert.equal(json.error.param, want.param ?? null, how);
    assert.ok(json.error.message.length > 10, how);
    if (want.message) assert.match(json.error.message, want.message, how);
    if (want.retry !== 'either') {
        assert.equal(headers['x-should-retry'], want.retry === false ? 'false' : undefined, how);
    }
    if (want.after) {
        const seconds = Number(headers['retry-after']);
        assert.ok(seconds >= want.after[0] && seconds <= want.after[1], `${how}: Retry-After: ${headers['retry-after']}`);
    }
    assert.ok(headers['x-request-id'], how);
    return headers['x-request-id'];
}

/* The same question streamed and whole, at once: both get the error, and the log has a line for each. */
async function bothFail(server, want, body = {}) {
    const ask = { messages: [user('a'), assistant('b'), user('question')], ...body };
    const answers = await Promise.all([server.chat(ask), server.chat({ ...ask, stream: true })]);
    answers.forEach((answer, i) => {
        const how = i ? 'streamed' : 'whole';
        const id = checkError(answer, want, how);
        const lines = server.log().split('\n').filter((line) => line.includes(id));
        assert.ok(lines.length > 0, `${how}: no line of the log names request ${id}`);
        assert.ok(lines.some((line) => want.log.test(line)), `${how}: the log does not tell why:\n${lines.join('\n')}`);
    });
}

/* Each with servers of its own; two at a time, since the CLI's retries are mostly waiting. */
describe('an error', { concurrency: 2 }, () => {
    describe('upstream answers', { concurrency: 1 }, () => {
        let server;

        /* A stream's status waits for a heartbeat at most, and the CLI's retries for a slow machine. */
        before(async () => {
            server = await startServer({ server: 'claude_heartbeat 60s;' });
        });
        after(() => server?.end());
        beforeEach(() => server.stub.clear());

        const rows = [
            ['429 with retry-after 1', { status: 429, headers: { 'retry-after': '1' } }, { ...RATE_LIMIT, after: [1, 60] }],
            ['429 with retry-after 30', { status: 429, headers: { 'retry-after': '30' } }, { ...RATE_LIMIT, after: [30, 45] }],
            ['429 with retry-after 3600', { status: 429, headers: { 'retry-after': '3600' } },
                { ...RATE_LIMIT, after: [1, 60], retry: 'either', message: LONG_OR_UNKNOWN }],
            ['429 without retry-after', { status: 429 }, { ...RATE_LIMIT, after: [1, 60], message: LONG_OR_UNKNOWN }],
            ['529', { status: 529 }, OVERLOADED],
            ['500', { status: 500 }, OVERLOADED],
            ['404', { status: 404, message: 'model: claude-sonnet-5-5' }, MODEL],
            ['400', { status: 400, message: 'messages.0: some field is wrong' },
                { status: 400, type: 'invalid_request_error', retry: false, message: /some field is wrong/, log: /refused the request/ }],
            ['400 for a prompt that is too long', { status: 400, message: 'prompt is too long: 210000 tokens > 200000 maximum' },
                { status: 400, type: 'invalid_request_error', code: 'context_length_exceeded', param: 'messages', retry: false,
                    message: /(?=.*context_length_exceeded)(?=.*maximum context length)/, log: /too long/ }],
            ['413', { status: 413, message: 'Request exceeds the maximum size' },
                { status: 413, type: 'invalid_request_error', code: 'request_too_large', retry: false, log: /too large/ }],
        ];

        for (const [what, script, want] of rows) {
            test(`${what}: ${want.status} ${want.code ?? want.type}`, async () => {
                server.stub.script({ ...script, times: 1000 });
                await bothFail(server, want);
            });
        }

        test('an unknown full name of a model: 404 model_not_found', async () => {
            await bothFail(server, MODEL, { model: 'claude-nonesuch-9' });
            for (const { body } of server.stub.requests) assert.notEqual(body.max_tokens, 1, 'it is tried out at somebody’s expense');
        });

        test('a name that is neither Claude’s nor mapped never gets to the CLI', async () => {
            const answer = await server.chat({ model: 'gpt-nonesuch', messages: [user('x')] });
            checkError(answer, MODEL, 'whole');
            assert.equal(server.stub.requests.length, 0);
        });

        test('after all these the next request is answered', async () => {
            const answer = await server.chat({ messages: [user('hello')] });
            assert.equal(answer.json.choices[0].message.content, 'echo: hello');
            await server.idle();
            const { turns } = await server.status();
            assert.equal(turns.finished, 1);
            assert.equal(turns.failed, 2 * (rows.length + 1));
        });
    });

    /* Each alone: what it has learnt about the login, the module remembers for some seconds. */
    describe('the login', { concurrency: 1 }, () => {
        for (const model of ['sonnet', 'claude-sonnet-5-5']) {
            test(`upstream answers 401: 503 cli_not_logged_in, from memory the second time, ${model}`, async () => {
                const server = await startServer();
                await withServer(server, async () => {
                    server.stub.script({ status: 401, message: 'invalid x-api-key', times: 1000 });
                    await bothFail(server, NOT_LOGGED_IN, { model });

                    /* each of the two workers has its own memory, and a connection has one worker */
                    const calls = server.stub.stats().total;
                    checkError(await server.chat({ model, messages: [user('again')] }), NOT_LOGGED_IN, 'again');
                    checkError(await server.chat({ model, messages: [user('again')] }), NOT_LOGGED_IN, 'again');
                    assert.ok(server.stub.stats().total - calls <= 3);
                });
            });

            /* It may be about the question: nobody else's is refused for it. */
            test(`upstream answers 403: 503 cli_not_logged_in, and the next is asked, ${model}`, async () => {
                const server = await startServer();
                await withServer(server, async () => {
                    server.stub.script({ status: 403, message: 'not allowed to you', times: 1000 });
                    await bothFail(server, NOT_LOGGED_IN, { model });
                    server.stub.clear();
                    for (let i = 0; i < 4; i++) {
                        const answer = await server.chat({ model, messages: [user(`next ${i}`)] });
                        assert.equal(answer.status, 200, answer.text);
                    }
                });
            });
        }

        test('no login at all: the same, and nothing is asked', async () => {
            const server = await startServer({ env: { ANTHROPIC_API_KEY: null } });
            await withServer(server, async () => {
                await bothFail(server, NOT_LOGGED_IN);
                assert.equal(server.stub.requests.length, 0);
            });
        });

        /* The CLI tries such a name out, so it fails at another place. */
        test('no login at all, and the full name of a model', async () => {
            const server = await startServer({ env: { ANTHROPIC_API_KEY: null } });
            await withServer(server, async () => {
                await bothFail(server, NOT_LOGGED_IN, { model: 'claude-sonnet-5-5' });
            });
        });

        test('a login that comes back is found again', async () => {
            const server = await startServer();
            await withServer(server, async () => {
                server.stub.script({ status: 401, times: 1000 });
                assert.equal((await server.chat({ messages: [user('x')] })).status, 503);
                server.stub.clear();
                let answer;
                for (const until = Date.now() + 15000 * SLOW; Date.now() < until;) {
                    answer = await server.chat({ messages: [user('x')] });
                    if (answer.status === 200) break;
                    checkError(answer, NOT_LOGGED_IN, 'meanwhile');
                    await new Promise((resolve) => { setTimeout(resolve, 250); });
                }
                assert.equal(answer.status, 200);
            });
        });
    });

    describe('nobody listens upstream: 503 overloaded', { concurrency: 1 }, () => {
        let server;

        before(async () => {
            server = await startServer({ stubDown: true, server: 'claude_heartbeat 60s;' });
        });
        after(() => server?.end());

        test('for an alias', () => bothFail(server, OVERLOADED));
        test('for the full name of a model', () => bothFail(server, OVERLOADED, { model: 'claude-sonnet-5-5' }));
    });
});
