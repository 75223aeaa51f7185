/*
 * Agent mode with the real CLI: its own tools are used between the model's messages, the client
 * gets the model's text and nothing else, and the conversation goes on with all that was done,
 * live or from its transcript.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KEY, OTHER_KEY, SLOW, waitFor } from './lib/server.mjs';
import { ask, endIdle, logged, rowsIn, startEngine, workerAgents } from './lib/engine.mjs';
import { assistant, user } from './lib/upstream.mjs';

const DEFAULTS = 'claude_warm 0; claude_max_concurrent 4; claude_max_processes 6;';

async function turn(server, messages, more = {}) {
    const answer = await ask(server, { messages, ...more });
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return { ...answer, ...await logged(server, answer.tag) };
}

/*
 * What the model was last asked: 'role type' of each block, with the text of results. An agent has no
 * gate, so there are messages of the CLI's own, of role "system", which are no concern of this suite.
 */
function blocks(server) {
    return server.stub.requests.at(-1).body.messages.filter(({ role }) => role !== 'system')
        .flatMap(({ role, content }) => (typeof content === 'string' ? [{ type: 'text', text: content }] : content)
            .map((block) => `${role} ${block.type}${block.type === 'tool_result' ? ` ${JSON.stringify(block.content)}` : ''}`));
}

/* The model calls a tool, and says something before and, when it has the result, after. */
function use(server, id, name, input, before = 'Let me look.', after = 'Done.') {
    server.stub.script([
        { match: id, times: 1, text: before, tool_use: [{ id: `toolu_${id}`, name, input }], stop_reason: 'tool_use' },
        { match: '', times: 1, text: after },
    ]);
    return id;
}

describe('agent mode', () => {
    let server;
    let workers;

    before(async () => {
        server = await startEngine({
            http: DEFAULTS,
            server: 'claude_tools Bash Read; claude_args --allowedTools Bash Read; claude_working_directory work;',
            prepare: (dir) => {
                mkdirSync(join(dir, 'work'));
                writeFileSync(join(dir, 'work/note.txt'), 'the word is quince\n');
            },
        });
        await waitFor('both workers', () => server.workers().length === 2);
        workers = await workerAgents(server);
    });
    after(() => server?.end());

    test('the CLI runs a tool, the client gets the text of both messages', async () => {
        server.stub.clear();
        const question = use(server, 'q1', 'Bash', { command: 'cat note.txt' });
        const answer = await turn(server, [user(question)]);
        assert.equal(answer.content, 'Let me look.\n\nDone.');
        assert.equal(answer.finish, 'stop');
        assert.deepEqual(blocks(server), ['user text', 'assistant text', 'assistant tool_use',
            'user tool_result "the word is quince"']);
        assert.doesNotMatch(JSON.stringify(answer.events), /quince|note\.txt|toolu_/, 'progress leaks');
        assert.ok(answer.events.every(({ choices }) => choices.every(({ delta }) => !delta.tool_calls)));
    });

    test('the usage is the sum over the messages', async () => {
        server.stub.clear();
        server.stub.script([{
            match: 'q2', times: 1, tool_use: [{ id: 'toolu_q2', name: 'Bash', input: { command: 'true' } }],
            stop_reason: 'tool_use', usage: { input_tokens: 100, output_tokens: 10, cache_read_input_tokens: 7 },
        }, {
            match: '', times: 1, text: 'x', usage: { input_tokens: 200, output_tokens: 5, cache_read_input_tokens: 3 },
        }]);
        const answer = await server.chat({ messages: [user('q2')] });
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.choices[0].message.content, 'x');
        assert.equal(answer.json.choices[0].finish_reason, 'stop');
        const { usage } = answer.json;
        assert.equal(usage.prompt_tokens, 310);
        assert.equal(usage.completion_tokens, 15);
        assert.equal(usage.prompt_tokens_details.cached_tokens, 10);
    });

    test('the next turn goes on live, with call and result, on any worker', async () => {
        server.stub.clear();
        const question = use(server, 'q3', 'Read', { file_path: join(server.dir, 'work/note.txt') });
        const first = await turn(server, [user(question)], { agent: workers[0].agent });
        const next = await turn(server, [user(question), assistant(first.content), user('and then?')],
            { agent: workers[1].agent });
        assert.equal(next.rung, 'live');
        const sent = blocks(server);
        assert.equal(sent.length, 6);
        assert.match(sent[3], /^user tool_result .*quince/);
        assert.deepEqual(sent.slice(4), ['assistant text', 'user text']);
    });

    test('and from its transcript when the process is gone', async () => {
        server.stub.clear();
        const question = use(server, 'q4', 'Bash', { command: 'cat note.txt' });
        const first = await turn(server, [user(question)]);
        await endIdle(server);
        const messages = [user(question), assistant(first.content), user('and then?')];
        const next = await turn(server, messages);
        assert.equal(next.rung, 'resumed');
        assert.match(blocks(server)[3], /^user tool_result .*quince/);
        await endIdle(server);
        const again = await turn(server, [...messages, assistant(next.content), user('more?')]);
        assert.equal(again.rung, 'resumed');
        assert.match(blocks(server)[3], /^user tool_result .*quince/);
        assert.equal(blocks(server).length, 8);
    });

    test('a history that no transcript has is replayed as text, in a process of its own', async () => {
        const answer = await turn(server, [user('a'), assistant('b'), user('c')]);
        assert.equal(answer.rung, 'cold');
        assert.deepEqual(blocks(server), ['user text', 'assistant text', 'user text']);
    });

    test('a process that had tools is not emptied for another conversation', async () => {
        await endIdle(server);
        await turn(server, [user('one')]);
        const other = await turn(server, [user('two')]);
        assert.equal(other.rung, 'cold');
        assert.deepEqual(blocks(server), ['user text']);
    });

    test('two conversations with the same beginning do not take each other\'s place', async () => {
        server.stub.clear();
        const both = [];
        for (const word of ['left', 'right']) {
            server.stub.script([{ match: 'same', times: 1, text: word }]);
            both.push(await turn(server, [user('same')]));
        }
        await endIdle(server);
        for (const [i, word] of ['left', 'right'].entries()) {
            assert.equal(both[i].content, word);
            const next = await turn(server, [user('same'), assistant(word), user(`after ${word}`)]);
            assert.equal(next.rung, 'resumed');
        }
    });

    test("with a session of the client's own, only new messages", async () => {
        server.stub.clear();
        const headers = { 'x-session-id': randomUUID() };
        await turn(server, [user(use(server, 'q5', 'Bash', { command: 'cat note.txt' }))], { headers });
        assert.equal((await turn(server, [user('next')], { headers })).rung, 'live');
        await endIdle(server);
        assert.equal((await turn(server, [user('last')], { headers })).rung, 'resumed');
        const sent = blocks(server);
        assert.match(sent[3], /quince/);
        assert.equal(sent.length, 8);
    });

    test('another key has no part in it', async () => {
        server.stub.clear();
        const question = use(server, 'q6', 'Bash', { command: 'cat note.txt' });
        const first = await turn(server, [user(question)]);
        await endIdle(server);
        const other = await turn(server, [user(question), assistant(first.content), user('which word?')], { key: OTHER_KEY });
        assert.equal(other.rung, 'cold');
        assert.deepEqual(blocks(server), ['user text', 'assistant text', 'user text']);
    });

    test('a client that leaves stops the tool', async () => {
        server.stub.clear();
        const mark = `mark-${process.pid}`;
        server.stub.script([{
            match: 'q7', times: 1, text: 'Wait.', stop_reason: 'tool_use',
            tool_use: [{ id: 'toolu_q7', name: 'Bash', input: { command: `touch ${mark}; sleep 60; touch ${mark}.late` } }],
        }]);
        const left = ask(server, { messages: [user('q7')], leave: 8000 });
        await waitFor('the tool to run', () => existsSync(join(server.dir, 'work', mark)));
        await left;
        await server.idle(15000 * SLOW);
        await waitFor('the tool to end', async () => server.clis().length === (await server.status()).processes.length);
        assert.ok(!existsSync(join(server.dir, 'work', `${mark}.late`)));
    });

    test('an upstream failure in the midst is an error, and the turn is taken back', async () => {
        server.stub.clear();
        const headers = { 'x-session-id': randomUUID() };
        await turn(server, [user('before')], { headers });
        server.stub.script([
            { match: 'q8', times: 1, text: 'Let me see.', tool_use: [{ id: 'toolu_q8', name: 'Bash', input: { command: 'true' } }], stop_reason: 'tool_use' },
            { match: '', times: 3, status: 400, message: 'no' },
        ]);
        const failed = await ask(server, { messages: [user('q8')], headers });
        assert.ok(failed.error);
        server.stub.clear();
        await turn(server, [user('after it')], { headers });
        assert.deepEqual(blocks(server), ['user text', 'assistant text', 'user text']);
    });

    test('--max-turns ends it with finish_reason length', async (t) => {
        const limited = await startEngine({
            http: DEFAULTS,
            server: 'claude_tools Bash; claude_args --allowedTools Bash --max-turns 2;',
        });
        t.after(() => limited.end());
        const call = (id) => ({ match: 'q9', times: 1, text: `step ${id}`, stop_reason: 'tool_use',
            tool_use: [{ id: `toolu_${id}`, name: 'Bash', input: { command: 'true' } }] });
        limited.stub.script([call(1), { ...call(2), match: '' }, { ...call(3), match: '' }]);
        const answer = await turn(limited, [user('q9')]);
        assert.equal(answer.finish, 'length');
        assert.match(answer.content, /^step 1\n\nstep 2/);
    });

    test('a tool that needs permission is refused without it, and the model goes on', async (t) => {
        const strict = await startEngine({ http: DEFAULTS, server: 'claude_tools Bash;' });
        t.after(() => strict.end());
        strict.stub.script([{ match: 'q10', times: 1, tool_use: [{ id: 'toolu_q10', name: 'Bash', input: { command: 'touch never' } }], stop_reason: 'tool_use' },
            { match: '', times: 1, text: 'I may not.' }]);
        const answer = await turn(strict, [user('q10')]);
        assert.equal(answer.content, 'I may not.');
        assert.match(blocks(strict).at(-1), /tool_result/);
    });

    test('a warm process serves the first message of a conversation of its own key', async (t) => {
        const warm = await startEngine({
            workers: 1, http: 'claude_warm 1; claude_max_concurrent 2; claude_max_processes 6;', server: 'claude_tools Read;',
        });
        t.after(() => warm.end());
        const fresh = async () => (await rowsIn(warm, 'idle')).filter(({ turns }) => turns === 0);
        assert.equal((await turn(warm, [user('before')])).rung, 'cold', 'whose it would be is not known yet');
        await waitFor('a warm process', async () => (await fresh()).length > 0, 15000 * SLOW);
        assert.equal((await turn(warm, [user('of another')], { key: OTHER_KEY })).rung, 'cold');
        assert.equal((await fresh()).length, 1, 'it is there still');
        const first = await turn(warm, [user('a')]);
        assert.equal(first.rung, 'warm');
        await endIdle(warm);
        assert.equal((await turn(warm, [user('a'), assistant(first.content), user('b')])).rung, 'resumed');
    });

    test('the agent of an only key is warm from the start', async (t) => {
        const warm = await startEngine({
            workers: 1, http: 'claude_warm 1; claude_max_concurrent 2;',
            server: `location /only/ { claude_openai; claude_tools Read; claude_api_key ${KEY} name=one; }`,
        });
        t.after(() => warm.end());
        await waitFor('a warm agent and a warm chat', async () => (await rowsIn(warm, 'idle')).length === 2, 15000 * SLOW);
        assert.equal((await turn(warm, [user('a')], { path: '/only/' })).rung, 'warm');
    });

    test('the servers of claude_mcp_config are there, and no others', async (t) => {
        const mcp = await startEngine({
            http: DEFAULTS,
            server: 'claude_mcp_config mcp.json; claude_args --allowedTools mcp__one__say;',
            prepare: (dir) => {
                writeFileSync(join(dir, 'mcp.mjs'), `
                    import readline from 'node:readline';
                    const say = (o) => console.log(JSON.stringify({ jsonrpc: '2.0', ...o }));
                    readline.createInterface({ input: process.stdin }).on('line', (line) => {
                        const { id, method, params } = JSON.parse(line);
                        if (method === 'initialize') say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'one', version: '1' } } });
                        else if (method === 'tools/list') say({ id, result: { tools: [{ name: 'say', description: 'Says it.', inputSchema: { type: 'object', properties: {} } }] } });
                        else if (method === 'tools/call') say({ id, result: { content: [{ type: 'text', text: 'said by the server' }] } });
                        else if (id !== undefined) say({ id, error: { code: -32601, message: 'no' } });
                    });`);
                writeFileSync(join(dir, 'mcp.json'), JSON.stringify({ mcpServers: { one: { command: process.execPath, args: [join(dir, 'mcp.mjs')] } } }));
            },
        });
        t.after(() => mcp.end());
        mcp.stub.script([{ match: 'q11', times: 1, tool_use: [{ id: 'toolu_q11', name: 'mcp__one__say', input: {} }], stop_reason: 'tool_use' },
            { match: '', times: 1, text: 'heard' }]);
        const answer = await turn(mcp, [user('q11')]);
        assert.equal(answer.content, 'heard');
        assert.match(blocks(mcp).at(-1), /said by the server/);
        assert.deepEqual(mcp.stub.requests.at(-1).body.tools.map(({ name }) => name), ['mcp__one__say']);
    });
});
