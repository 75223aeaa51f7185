/*
 * Blocks that no client of ours can send yet, with the real CLI: what t/unit/messages.jsonl has,
 * which t/009-waist.t writes with the module's own writer, reaches the model as it stands; and what
 * the model says of that kind comes out as the lines that t/unit/answer.jsonl has.
 */

import { after, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import readline from 'node:readline';
import { ask, logged, startEngine } from './lib/engine.mjs';
import { KEY, ROOT } from './lib/server.mjs';
import { assistant, scripted, user } from './lib/upstream.mjs';

const MODEL = 'opus';

let server;
let cli;

before(async () => {
    server = await startEngine({ http: 'claude_warm 0;', workers: 1 });
    const { status } = await server.request('POST', '/v1/chat/completions', { key: KEY, body: { model: 'sonnet', messages: [user('hi')] } });
    assert.equal(status, 200);
    cli = launch((await server.status()).processes[0].pid);
    await cli.ask({ subtype: 'initialize', systemPrompt: ['x'] });
    cli.id = (await cli.ask({ subtype: 'set_model', model: MODEL, system_prompt: 'x' })).model;
    await cli.ask({ subtype: 'apply_flag_settings', settings: { effortLevel: '', env: { CLAUDE_CODE_EFFORT_LEVEL: 'unset' } } });
});
after(async () => {
    await cli?.end();
    await server?.end();
});
beforeEach(() => server.stub.clear());

/* What a process was started with, by us once more: so we write and read its lines. */
function launch(pid) {
    const read = (file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').slice(0, -1);
    const env = Object.fromEntries(read('environ').map((entry) => /^([^=]*)=(.*)$/s.exec(entry).slice(1)));
    const child = spawn(readlinkSync(`/proc/${pid}/exe`), read('cmdline').slice(1),
        { env, cwd: readlinkSync(`/proc/${pid}/cwd`), stdio: ['pipe', 'pipe', 'ignore'] });
    const ended = once(child, 'exit');
    const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let requests = 0;

    const until = async (last) => {
        const seen = [];
        for (;;) {
            const { value, done } = await lines.next();
            assert.ok(!done, 'the CLI ended');
            seen.push(JSON.parse(value));
            if (last(seen.at(-1))) return seen;
        }
    };
    const write = (text) => child.stdin.write(`${text}\n`);

    return {
        write,
        result: () => until(({ type }) => type === 'result'),
        ask: async (request) => {
            const id = `r${++requests}`;
            write(JSON.stringify({ type: 'control_request', request_id: id, request }));
            const seen = await until(({ type, response }) => type === 'control_response' && response.request_id === id);
            assert.equal(seen.at(-1).response.subtype, 'success', JSON.stringify(seen.at(-1)));
            return seen.at(-1).response.response;
        },
        end: async () => {
            child.kill('SIGKILL');
            await ended;
        },
    };
}

/* The blocks of the API, without what the CLI marks for its cache. */
const plain = (content) => (typeof content === 'string' ? [{ type: 'text', text: content }]
    : content.map(({ cache_control, ...block }) => block));

test('what the module writes of a conversation is what the model gets', async () => {
    const lines = readFileSync(join(ROOT, 't/unit/messages.jsonl'), 'utf8').split('\n')
        .filter((line) => /^\{"type":"(user|assistant)"/.test(line)).slice(0, 4);
    const want = lines.map((line) => JSON.parse(line).message);
    assert.equal(want[1].model, cli.id, 'the model of t/unit/messages.jsonl is not that of the CLI');

    for (const line of lines) {
        cli.write(line.replace('"uuid":"*"', `"uuid":"${randomUUID()}"`));
        if (line.startsWith('{"type":"user"')) await cli.result();
    }
    cli.write(JSON.stringify({
        type: 'user', message: { role: 'user', content: 'go on' }, parent_tool_use_id: null, session_id: '', uuid: randomUUID(), client_composed: true,
    }));
    const seen = await cli.result();
    assert.equal(seen.at(-1).is_error, false, JSON.stringify(seen.at(-1)).slice(0, 500));

    const got = server.stub.requests.at(-1).body.messages;
    assert.deepEqual(got.map(({ role }) => role), [...want.map(({ role }) => role), 'user']);
    for (const [i, { content }] of want.entries()) {
        assert.deepEqual(plain(got[i].content), plain(content), `message ${i}`);
    }
});

/* The events of t/unit/answer.jsonl about blocks, and a script for them. */
function everyKind() {
    const events = readFileSync(join(ROOT, 't/unit/answer.jsonl'), 'utf8').split('\n').filter(Boolean)
        .map((line) => JSON.parse(line).event).filter(({ type }) => type.startsWith('content_block'));
    const starts = events.filter(({ type }) => type === 'content_block_start').map(({ content_block: block }) => block);
    const blocks = starts.map((block, index) => {
        const deltas = events.filter((event) => event.type === 'content_block_delta' && event.index === index)
            .map(({ delta }) => delta);
        return { ...block, raw_deltas: deltas };
    });
    return { events, script: { blocks } };
}

test('blocks and deltas of every kind come through', async () => {
    const { events, script } = everyKind();
    cli.write(JSON.stringify({
        type: 'user', message: { role: 'user', content: scripted(script) }, parent_tool_use_id: null, session_id: '', uuid: randomUUID(), client_composed: true,
    }));
    const seen = await cli.result();
    const got = seen.filter(({ type }) => type === 'stream_event').map(({ event }) => event)
        .filter(({ type }) => type.startsWith('content_block'));
    assert.deepEqual(got, events);
});

test('to a client of chat they are a text, and the conversation goes on where it was', async () => {
    const question = user(scripted(everyKind().script));
    const first = await ask(server, { messages: [question] });
    assert.deepEqual([first.status, first.content, first.finish], [200, ' Look here. So: yes', 'stop']);
    const next = await ask(server, { messages: [question, assistant(first.content), user('go on')] });
    assert.equal(next.status, 200);
    assert.equal((await logged(server, next.tag)).rung, 'live');
});
