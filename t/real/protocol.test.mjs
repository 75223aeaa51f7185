/*
 * The CLI alone, without nginx: what the code relies on of its protocol, fact by fact, as
 * docs/cli-protocol.md has them. Each process has an empty environment but for what stands here, a
 * HOME of its own and a stub of the Messages API on the loopback, whose requests are what the model
 * would have seen.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import readline from 'node:readline';
import { createStub } from '../stub/messages-api.mjs';
import { ROOT, SANITIZED, SLOW, endChild, isAlive, sleep, spawnTied, waitFor } from './lib/server.mjs';
import { conversation, scripted, systemTexts } from './lib/upstream.mjs';

const CLAUDE = process.env.TEST_CLAUDE_BINARY;
const PINNED = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).dependencies['@anthropic-ai/claude-code'];

/* As src/spawner/ngx_claude_profile.c has them for a chat. */
const ARGS = [
    '-p', '--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose',
    '--include-partial-messages', '--setting-sources', '', '--strict-mcp-config', '--disable-slash-commands',
    '--system-prompt', '-', '--permission-mode', 'dontAsk', '--tools', '', '--allowedTools', 'mcp__c0,mcp__c1',
];
const ENV = {
    CLAUDE_AGENT_SDK_MCP_NO_PREFIX: '1', ENABLE_TOOL_SEARCH: 'false', CLAUDE_CODE_DISABLE_FILE_MENTIONS: '1',
    CLAUDE_CODE_DISABLE_ULTRATHINK: '1', CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS: '1', CLAUDE_CODE_DISABLE_CLAUDE_MDS: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1', DISABLE_TELEMETRY: '1', DISABLE_COMPACT: '1',
    MAX_MCP_OUTPUT_TOKENS: '100000000', CLAUDE_CODE_DISABLE_REFUSAL_RETRY: '1',
    CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK: '1', CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK: '1',
    CLAUDE_CODE_MAX_RETRIES: '2', CLAUDE_CODE_HARBOR_KITE: '0', CLAUDE_CODE_DISABLE_BACKGROUND_TASKS: '1',
    CLAUDE_CODE_DISABLE_CRON: '1', CLAUDE_CODE_DISABLE_WORKFLOWS: '1',
};

/* ---------------------------------------------------------------------------------------- */

class Cli {
    /* args in place of --no-session-persistence; env: null takes an entry away */
    constructor(stub, port, { args = ['--no-session-persistence'], env = {}, dir } = {}) {
        this.stub = stub;
        this.own = dir === undefined;
        this.dir = dir ?? mkdtempSync(join(tmpdir(), 'cli-'));
        for (const name of ['home', 'cwd']) mkdirSync(join(this.dir, name), { recursive: true });
        const all = {
            PATH: '/usr/bin:/bin', HOME: join(this.dir, 'home'),
            ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`, ANTHROPIC_API_KEY: 'dummy', ...ENV, ...env,
        };
        this.child = spawnTied(CLAUDE, [...ARGS, ...args], {
            cwd: join(this.dir, 'cwd'), stdio: ['pipe', 'pipe', 'ignore'],
            env: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)),
        });
        this.child.stdin.on('error', () => {});         /* it has ended */
        this.gone = once(this.child, 'exit');
        this.lines = [];
        this.calls = [];                                /* of tools, that nobody has answered */
        this.ids = 0;
        this.newest = undefined;
        readline.createInterface({ input: this.child.stdout }).on('line', (text) => this.read(JSON.parse(text)));
    }

    read(line) {
        this.lines.push(line);
        if (line.type !== 'control_request') return;
        const { server_name: server, message } = line.request;
        const answer = (result) => this.answer(line, { jsonrpc: '2.0', id: message.id ?? 0, result });
        switch (message.method) {
        case 'initialize':
            answer({ protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'x', version: '1' } });
            break;
        case 'tools/list':
            answer({ tools: this.tools[server] ?? [] });
            break;
        case 'tools/call':
            this.calls.push({ ...message.params, answer: (text) => answer({ content: [{ type: 'text', text }] }) });
            break;
        default:
            answer({});
        }
    }

    answer({ request_id }, message) {
        this.send({
            type: 'control_response', response: { subtype: 'success', request_id, response: { mcp_response: message } },
        });
    }

    send(line) {
        this.child.stdin.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`);
    }

    /* The first line from an index on that satisfies check. */
    line(what, check, from = 0) {
        return waitFor(what, () => {
            const found = this.lines.slice(from).find(check);
            if (!found && this.child.exitCode !== null) throw new Error(`the CLI ended before ${what}`);
            return found;
        }, 20000 * SLOW);
    }

    async control(request) {
        const id = `r${++this.ids}`;
        this.send({ type: 'control_request', request_id: id, request });
        const { response } = await this.line(`the answer to ${request.subtype}`,
            (line) => line.type === 'control_response' && line.response.request_id === id);
        return response;
    }

    /* A line of the user; its uuid. */
    put(content, { uuid = randomUUID(), ...more } = {}) {
        this.send({
            type: 'user', message: { role: 'user', content }, parent_tool_use_id: null, session_id: '', uuid,
            client_composed: true, ...more,
        });
        this.newest = uuid;
        return uuid;
    }

    putAnswer(content) {
        this.send({
            type: 'assistant', message: { role: 'assistant', content: [].concat(content) }, parent_tool_use_id: null,
            session_id: '', uuid: randomUUID(),
        });
    }

    /* What it says from a line of the user to its result: {uuid, lines, result, text}. */
    async ask(content, more) {
        const from = this.lines.length;
        const uuid = this.put(content, more);
        const result = await this.line('a result', ({ type }) => type === 'result', from);
        const lines = this.lines.slice(from);
        const text = events(lines).map(({ delta }) => delta?.text ?? '').join('');
        return { uuid, lines, result, text };
    }

    /* A past pair. */
    async replay(question, answer) {
        const { uuid, result } = await this.ask(question, { shouldQuery: false });
        this.putAnswer(answer);
        return { uuid, result };
    }

    rewind(target, seen = this.newest) {
        return this.control({
            subtype: 'rewind_conversation', target_message_uuid: target, last_seen_user_message_uuid: seen,
        });
    }

    /* Its exit status, once nobody writes to it any more. */
    async close() {
        this.child.stdin.end();
        const [code] = await this.gone;
        return code;
    }

    async end() {
        await endChild(this.child);
        if (this.own) rmSync(this.dir, { recursive: true, force: true });
    }
}

const events = (lines) => lines.filter(({ type }) => type === 'stream_event').map(({ event }) => event);

const SKIP = SANITIZED && 'no nginx runs here: once is enough';

/* A stub, and a CLI that is initialized, for the tests of one describe(), one after another. */
function useCli(options) {
    const use = {
        async start(more = {}) {
            const cli = new Cli(use.stub, use.port, { ...options, ...more });
            use.all.push(cli);
            assert.equal((await cli.control({ subtype: 'initialize' })).subtype, 'success');
            return cli;
        },
        all: [],
    };
    before(async () => {
        if (SKIP) return;
        use.stub = createStub();
        use.port = await use.stub.listen();
        use.cli = await use.start();
    });
    after(async () => {
        for (const cli of use.all) await cli.end();
        await use.stub?.close();
    });
    return use;
}

/* Empty, with a model and a system text, as the engine begins a conversation. */
async function begin(cli, { model = 'sonnet', system = 'You are a test.' } = {}) {
    if (cli.first) assert.equal((await cli.rewind(cli.first)).response.rewound, true);
    cli.first = undefined;
    cli.stub.clear();
    const answer = await cli.control({ subtype: 'set_model', model, system_prompt: system });
    assert.equal(answer.subtype, 'success', answer.error);
    const put = cli.put;
    cli.put = function first(...args) {                 /* what the next one cuts back to */
        cli.put = put;
        cli.first = put.apply(cli, args);
        return cli.first;
    };
    return answer.response;
}

/* ---------------------------------------------------------------------------------------- */

describe('lines', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli();

    test('get_binary_version tells the version, and so does the line "init" of every turn', async () => {
        const { cli } = use;
        const { response } = await cli.control({ subtype: 'get_binary_version' });
        assert.equal(response.version, PINNED);
        await begin(cli);
        for (const text of ['one', 'two']) {
            const { lines } = await cli.ask(text);
            const init = lines.find(({ type, subtype }) => type === 'system' && subtype === 'init');
            assert.equal(init.claude_code_version, PINNED);
            assert.deepEqual(init.tools, []);
        }
    });

    test('an answer is the events of the API, its message again, and a result', async () => {
        const { cli } = use;
        await begin(cli);
        const { uuid, lines, result, text } = await cli.ask(scripted({ deltas: ['one ', 'two'] }));
        assert.equal(text, 'one two');
        const kinds = events(lines).map(({ type }) => type);
        assert.equal(kinds[0], 'message_start');
        assert.deepEqual(kinds.slice(-2), ['message_delta', 'message_stop']);
        const whole = lines.find(({ type }) => type === 'assistant');
        assert.deepEqual(whole.message.content, [{ type: 'text', text: 'one two' }]);
        assert.equal(events(lines).at(-2).delta.stop_reason, 'end_turn');
        assert.equal(result.subtype, 'success');
        assert.equal(result.is_error, false);
        assert.equal(result.num_turns, 1);
        assert.equal(lines.filter(({ parent_tool_use_id: id }) => id).length, 0);
        const begun = lines.find(({ event }) => event?.type === 'message_start');
        for (const line of [begun, whole, result]) assert.equal(line.user_message_uuid, uuid, 'whose answer it is');
    });

    test('total_cost_usd goes on over the process, model_usage_since_last_result begins anew', async () => {
        const { cli } = use;
        await begin(cli);
        const usage = { input_tokens: 7, output_tokens: 3 };
        const first = await cli.ask(scripted({ text: 'one', usage }));
        const second = await cli.ask(scripted({ text: 'two', usage }));
        assert.ok(second.result.total_cost_usd > first.result.total_cost_usd);
        const since = Object.values(second.result.model_usage_since_last_result);
        assert.equal(since.reduce((sum, { inputTokens }) => sum + inputTokens, 0), 7);
        assert.equal(since.reduce((sum, { outputTokens }) => sum + outputTokens, 0), 3);
        const { response } = await cli.control({ subtype: 'get_usage', skip_behaviors: true, detached: true });
        assert.ok(Math.abs(response.session.total_cost_usd - second.result.total_cost_usd) < 1e-9);
    });

    test('a subtype that it does not know is an error, not an end', async () => {
        const answer = await use.cli.control({ subtype: 'nonsense' });
        assert.equal(answer.subtype, 'error');
        assert.equal(answer.error_code, 'unsupported_request');
    });

    test('a uuid that was used is not heard again, not even after a rewind', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.ask('one');
        const { uuid } = await cli.ask('two');
        assert.equal((await cli.rewind(uuid)).response.rewound, true);
        cli.put('again', { uuid });
        await cli.ask('three');
        assert.deepEqual(conversation(use.stub.requests.at(-1)),
            [['user', 'one'], ['assistant', 'echo: one'], ['user', 'three']]);
    });

    test('a place to cut at is known by the first 24 characters of its uuid', async () => {
        const { cli } = use;
        await begin(cli);
        const { uuid } = await cli.ask('one');
        const near = `${uuid.slice(0, 24)}${'0'.repeat(12)}`;
        const { response } = await cli.rewind(near, near);
        assert.equal(response.rewound, true);
        assert.equal(response.targetMessageUuid, uuid);
        cli.first = undefined;
    });

    test('with client_composed @path and /command are text; without it a file is read', async () => {
        const { cli } = use;
        const secret = join(cli.dir, 'cwd', 'secret.txt');
        writeFileSync(secret, 'heliotrope');
        await begin(cli);
        for (const text of [`look at @${secret}`, '/help', '!id']) await cli.ask(text);
        const all = JSON.stringify(use.stub.requests.map(({ body }) => body));
        assert.ok(!all.includes('heliotrope'));
        assert.deepEqual(conversation(use.stub.requests.at(-1)).filter(([role]) => role === 'user').map(([, text]) => text),
            [`look at @${secret}`, '/help', '!id']);
        const open = await use.start({ env: { CLAUDE_CODE_DISABLE_FILE_MENTIONS: null } });
        use.stub.clear();
        await open.ask(`look at @${secret}`, { client_composed: undefined });
        assert.ok(JSON.stringify(use.stub.requests.map(({ body }) => body)).includes('heliotrope'));
        await open.ask(`look again at @${secret} please`, { client_composed: true });
        assert.equal(conversation(use.stub.requests.at(-1)).at(-1)[1], `look again at @${secret} please`);
        await open.end();
    });

    test('an image with a uuid goes upstream alone', async () => {
        const { cli } = use;
        await begin(cli);
        const data = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
        await cli.ask([{ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }, { type: 'text', text: 'what' }]);
        const { content } = use.stub.requests.at(-1).body.messages.find(({ role }) => role === 'user');
        assert.deepEqual(content.map(({ type }) => type), ['image', 'text']);
    });

    test('a blank question is answered without the model', async () => {
        const { cli } = use;
        await begin(cli);
        const { lines, result } = await cli.ask(' ');
        assert.equal(result.subtype, 'success');
        assert.equal(events(lines).length, 0);
        assert.equal(use.stub.requests.length, 0);
    });
});

describe('the conversation', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli();

    test('past messages are taken with their roles, without a call of the model', async () => {
        const { cli } = use;
        await begin(cli);
        const { result } = await cli.replay('q1', { type: 'text', text: 'a1' });
        assert.equal(result.num_turns, 0);
        assert.equal(result.is_error, false);
        await cli.replay('q2', { type: 'text', text: 'a2' });
        assert.equal(use.stub.requests.length, 0);
        await cli.ask('q3');
        assert.deepEqual(conversation(use.stub.requests[0]),
            [['user', 'q1'], ['assistant', 'a1'], ['user', 'q2'], ['assistant', 'a2'], ['user', 'q3']]);
    });

    test('past calls and results, too', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.replay('q1', { type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 1 } });
        await cli.replay([{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'seen' }], { type: 'text', text: 'a1' });
        await cli.ask('q2');
        const [, call, result] = use.stub.requests[0].body.messages.filter(({ role }) => role !== 'system');
        assert.deepEqual([call.content[0].type, call.content[0].id, call.content[0].input], ['tool_use', 'toolu_1', { at: 1 }]);
        assert.deepEqual([result.content[0].type, result.content[0].tool_use_id], ['tool_result', 'toolu_1']);
    });

    test('a rewind cuts before a line of the user, without a trace', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.ask('one');
        const { uuid } = await cli.ask('two');
        await cli.ask('three');
        const { response } = await cli.rewind(uuid);
        assert.equal(response.rewound, true);
        await cli.ask('other');
        assert.deepEqual(conversation(use.stub.requests.at(-1)),
            [['user', 'one'], ['assistant', 'echo: one'], ['user', 'other']]);
    });

    test('the newest line of the user has to be named, also one that only was replayed', async () => {
        const { cli } = use;
        await begin(cli);
        const { uuid } = await cli.ask('one');
        await cli.replay('two', { type: 'text', text: 'a2' });
        assert.equal((await cli.rewind(uuid, uuid)).response.rewound, false);
        assert.equal((await cli.rewind(uuid)).response.rewound, true);
        cli.first = undefined;
    });

    test('a replayed result of a tool is no place to cut at', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.replay('q1', { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} });
        const { uuid } = await cli.replay([{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'seen' }],
            { type: 'text', text: 'a1' });
        const { response } = await cli.rewind(uuid);
        assert.equal(response.rewound, false);
        assert.equal(response.reason, 'target_splits_tool_call');
    });

    test('set_model sets model and system text while the conversation is empty', async () => {
        const { cli } = use;
        const resolved = await begin(cli, { model: 'haiku', system: 'Be short.' });
        await cli.ask('one');
        assert.equal(use.stub.requests[0].body.model, resolved.model);
        assert.ok(systemTexts(use.stub.requests[0]).includes('Be short.'));
        assert.ok(!systemTexts(use.stub.requests[0]).includes('-'), 'that of the command line is gone');
        await begin(cli, { model: 'sonnet', system: 'Be long.' });
        await cli.ask('two');
        assert.notEqual(use.stub.requests[0].body.model, resolved.model);
        assert.ok(systemTexts(use.stub.requests[0]).includes('Be long.'));
        assert.deepEqual(conversation(use.stub.requests[0]), [['user', 'two']]);
    });

    test('another model in a conversation that is not empty leaves a text in it', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.ask('one');
        await cli.control({ subtype: 'set_model', model: 'haiku' });
        await cli.ask('two');
        assert.ok(JSON.stringify(use.stub.requests.at(-1).body.messages).includes('/model'));
    });

    test('an alias costs no call; a full id without one costs one of one token', async () => {
        const { cli } = use;
        await begin(cli);
        assert.equal(use.stub.requests.length, 0);
        const { response: { models } } = await cli.control({ subtype: 'list_models' });
        assert.ok(models.some(({ value }) => value === 'sonnet'));
        assert.ok(models.every(({ resolvedModel }) => /^claude-/.test(resolvedModel)));
        await cli.control({ subtype: 'set_model', model: 'claude-opus-4-8' });
        assert.deepEqual(use.stub.requests.map(({ body }) => [body.model, body.max_tokens]), [['claude-opus-4-8', 1]]);
        const refused = await cli.control({ subtype: 'set_model', model: 'claude-nonsense-9' });
        assert.equal(refused.subtype, 'error');
        assert.equal(refused.error_code, 'not_found');
    });
});

describe('settings', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli();
    const set = (env, more) => use.cli.control({ subtype: 'apply_flag_settings', settings: { env, ...more } });
    const sent = () => use.stub.requests.at(-1).body;

    test('a limit of tokens, stop sequences and sampling hold until they are taken back', async () => {
        const { cli } = use;
        await begin(cli, { model: 'claude-sonnet-4-6' });
        const body = { stop_sequences: ['END'], temperature: 0.5 };
        await set({
            CLAUDE_CODE_MAX_OUTPUT_TOKENS: '77', CLAUDE_CODE_EXTRA_BODY: JSON.stringify({ stop_sequences: ['END'] }),
        });
        for (const text of ['one', 'two']) {
            await cli.ask(text);
            assert.equal(sent().max_tokens, 77);
            assert.deepEqual(sent().stop_sequences, body.stop_sequences);
        }
        await set({ CLAUDE_CODE_MAX_OUTPUT_TOKENS: '', CLAUDE_CODE_EXTRA_BODY: '' });
        await cli.ask('three');
        assert.notEqual(sent().max_tokens, 77);
        assert.equal(sent().stop_sequences, undefined);
    });

    test('the effort is the API’s own word; null takes it back, another word changes nothing', async () => {
        const { cli } = use;
        await begin(cli);
        const effort = async () => { await cli.ask('x'); return sent().output_config?.effort; };
        const usual = await effort();
        for (const word of ['low', 'high', 'max']) {
            await set({}, { effortLevel: word });
            assert.equal(await effort(), word);
        }
        assert.equal((await set({}, { effortLevel: 'bogus' })).subtype, 'success');
        assert.equal(await effort(), 'max');
        await set({}, { effortLevel: null });
        assert.equal(await effort(), usual);
    });

    test('CLAUDE_CODE_DISABLE_THINKING takes thinking away', async () => {
        const { cli } = use;
        await begin(cli, { model: 'haiku' });
        await cli.ask('one');
        assert.ok(sent().thinking);
        await set({ CLAUDE_CODE_DISABLE_THINKING: '1' });
        await cli.ask('two');
        assert.equal(sent().thinking, undefined);
        assert.equal(sent().context_management, undefined);
        await set({ CLAUDE_CODE_DISABLE_THINKING: '' });
    });

    test('output_config.format is merged beside the effort', async () => {
        const { cli } = use;
        await begin(cli);
        const format = {
            type: 'json_schema',
            schema: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false },
        };
        await set({ CLAUDE_CODE_EXTRA_BODY: JSON.stringify({ output_config: { format } }) }, { effortLevel: 'low' });
        const calls = use.stub.requests.length;
        await cli.ask(scripted({ text: '{"a":"b"}' }));
        assert.deepEqual(sent().output_config, { format, effort: 'low' });
        assert.equal(use.stub.requests.length, calls + 1);
        await set({ CLAUDE_CODE_EXTRA_BODY: '' }, { effortLevel: null });
    });
});

describe('tools of the client', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli();
    const tool = (name) => ({
        name, description: '.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true },
        _meta: { 'anthropic/maxResultSizeChars': 500000 },
    });
    const server = (name) => ({
        subtype: 'mcp_set_servers',
        servers: name ? { [name]: { type: 'sdk', name, timeout: 86400000, disableAutoBackground: true } } : {},
    });
    const asked = () => (use.stub.requests.at(-1).body.tools ?? []).map(({ name }) => name);

    /* What the model gets, beside what calls are routed by. */
    const array = [
        { name: 'zed', description: 'z'.repeat(5000), input_schema: { type: 'object', properties: { n: { type: 'number' } } } },
        { name: 'Bash', description: 'not the CLI’s', input_schema: { type: 'object' } },
    ];

    before(async () => {
        if (SKIP) return;
        use.cli.tools = { c0: [tool('zed'), tool('Bash')], c1: [tool('other')] };
        await begin(use.cli);
    });

    test('mcp_set_servers adds a server, whose list is asked; EXTRA_BODY.tools puts the array up as it is', async () => {
        const { cli } = use;
        assert.deepEqual((await cli.control(server('c0'))).response.added, ['c0']);
        await cli.control({
            subtype: 'apply_flag_settings', settings: { env: { CLAUDE_CODE_EXTRA_BODY: JSON.stringify({ tools: array }) } },
        });
        await cli.ask('one');
        assert.deepEqual(use.stub.requests.at(-1).body.tools.map(({ cache_control: mark, ...rest }) => rest), array);
    });

    test('two calls come together, by the ids of the stream, wait, and go on with their results', async () => {
        const { cli } = use;
        cli.calls = [];
        const from = cli.lines.length;
        use.stub.script([{
            match: 'use both', times: 1, stop_reason: 'tool_use',
            tool_use: [{ id: 'toolu_a', name: 'zed', input: { n: 1 } }, { id: 'toolu_b', name: 'Bash', input: {} }],
        }]);
        cli.put('use both');
        await waitFor('both calls', () => cli.calls.length === 2);
        assert.deepEqual(cli.calls.map(({ name, _meta: meta }) => [name, meta['claudecode/toolUseId']]),
            [['zed', 'toolu_a'], ['Bash', 'toolu_b']]);
        assert.deepEqual(cli.calls[0].arguments, { n: 1 });
        const calls = use.stub.requests.length;
        await sleep(1000);
        assert.equal(use.stub.requests.length, calls, 'it waits');
        assert.ok(!cli.lines.slice(from).some(({ type }) => type === 'result'));
        cli.calls[1].answer('second');
        cli.calls[0].answer('x'.repeat(200000));
        await cli.line('the result', ({ type }) => type === 'result', from);
        assert.equal(cli.lines.slice(from).filter(({ type }) => type === 'user').length, 2, 'it tells that it has them');
        const { content } = use.stub.requests.at(-1).body.messages.filter(({ role }) => role === 'user').at(-1);
        assert.deepEqual(content.map(({ tool_use_id: id }) => id).sort(), ['toolu_a', 'toolu_b']);
        assert.ok(JSON.stringify(content).includes('x'.repeat(200000)), 'of a large one nothing is left out');
    });

    test('EXTRA_BODY holds for the call that follows, MAX_OUTPUT_TOKENS does not', async () => {
        const { cli } = use;
        cli.calls = [];
        use.stub.script([{ match: 'use one', times: 1, stop_reason: 'tool_use', tool_use: [{ id: 'toolu_c', name: 'zed', input: {} }] }]);
        const from = cli.lines.length;
        cli.put('use one');
        await waitFor('the call', () => cli.calls.length === 1);
        await cli.control({
            subtype: 'apply_flag_settings',
            settings: {
                env: {
                    CLAUDE_CODE_MAX_OUTPUT_TOKENS: '55',
                    CLAUDE_CODE_EXTRA_BODY: JSON.stringify({ tools: array, stop_sequences: ['END'] }),
                },
            },
        });
        cli.calls[0].answer('done');
        await cli.line('the result', ({ type }) => type === 'result', from);
        const { body } = use.stub.requests.at(-1);
        assert.deepEqual(body.stop_sequences, ['END']);
        assert.notEqual(body.max_tokens, 55);
        await cli.control({
            subtype: 'apply_flag_settings',
            settings: { env: { CLAUDE_CODE_MAX_OUTPUT_TOKENS: '', CLAUDE_CODE_EXTRA_BODY: '' } },
        });
    });

    test('the same name again keeps the old tools, another name has its own alone', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.control(server('c0'));
        await cli.ask('one');
        assert.deepEqual(asked().sort(), ['Bash', 'zed']);
        cli.tools.c0 = [tool('new')];
        await cli.control(server());
        await cli.control(server('c0'));
        await cli.ask('two');
        assert.ok(asked().includes('zed'), 'the old ones: it is why two names take turns');
        await cli.control(server('c1'));
        await cli.ask('three');
        assert.deepEqual(asked(), ['other']);
        await cli.control(server());
        await cli.ask('four');
        assert.deepEqual(asked(), []);
    });
});

describe('the end of a turn', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli();

    test('interrupt ends the turn and what was asked upstream; the conversation keeps a note, which a rewind takes away', async () => {
        const { cli } = use;
        await begin(cli);
        const from = cli.lines.length;
        const uuid = cli.put(scripted({ text: 'word '.repeat(200), gap_ms: 20 }));
        await cli.line('a delta', ({ event }) => event?.type === 'content_block_delta', from);
        assert.equal((await cli.control({ subtype: 'interrupt' })).subtype, 'success');
        await cli.line('the result', ({ type }) => type === 'result', from);
        await waitFor('the end upstream', () => use.stub.stats().active === 0);
        assert.equal((await cli.rewind(uuid)).response.rewound, true);
        cli.first = undefined;
        await cli.ask('after');
        assert.deepEqual(conversation(use.stub.requests.at(-1)), [['user', 'after']]);
    });

    test('an error of upstream is a result that says success, and a message that no model wrote', async () => {
        const { cli } = use;
        cli.first = cli.newest;
        for (const [status, word] of [[401, 'authentication_failed'], [404, 'model_not_found'], [429, 'rate_limit'], [529, 'server_error']]) {
            await begin(cli);
            use.stub.script([{ status, headers: { 'retry-after': '0' }, times: 100 }]);
            const { lines, result } = await cli.ask(`status ${status}`);
            assert.equal(result.is_error, true);
            assert.equal(result.subtype, 'success');
            assert.equal(result.api_error_status, status);
            const said = lines.find(({ type }) => type === 'assistant');
            assert.equal(said.error, word, `${status}`);
            assert.equal(said.message.model, '<synthetic>');
            assert.equal(events(lines).length, 0);
            use.stub.clear();
        }
    });

    test('it tries again as often as CLAUDE_CODE_MAX_RETRIES says, and tells each time', async () => {
        const { cli } = use;
        await begin(cli);
        use.stub.script([{ status: 529, headers: { 'retry-after': '0' }, times: 100 }]);
        const { lines } = await cli.ask('busy');
        assert.equal(use.stub.requests.length, 3);
        const retries = lines.filter(({ subtype }) => subtype === 'api_retry');
        assert.equal(retries.length, 2);
        assert.ok(retries.every(({ error_status: status, retry_delay_ms: ms }) => status === 529 && ms >= 0));
        use.stub.clear();
    });

    /* Unless it is interrupted, which is why it is. */
    for (const [what, script, calls] of [
        ['after max_tokens', { text: 'cut', stop_reason: 'max_tokens' }, 2],
        ['after an empty answer', { empty: true }, 2],
        ['after a stream that broke off', { text: 'half an answer', break_after: 4 }, 2],
        ['after a tool that is not there', { tool_use: [{ id: 'toolu_1', name: 'Nothing', input: {} }], stop_reason: 'tool_use' }, 2],
        ['after a refusal, with the two variables: not', { text: 'no', stop_reason: 'refusal' }, 1],
    ]) {
        test(`it goes on by itself ${what}`, async () => {
            const { cli } = use;
            await begin(cli);
            use.stub.script([{ match: 'question', times: 1, ...script }]);
            await cli.ask('question');
            assert.equal(use.stub.requests.length, calls);
            if (what === 'after max_tokens') assert.match(JSON.stringify(use.stub.requests[1].body.messages), /Output token limit hit/);
            use.stub.clear();
        });
    }

    test('--fallback-model is asked when the model is overloaded', async () => {
        const cli = await use.start({ args: ['--no-session-persistence', '--fallback-model', 'haiku'] });
        await cli.control({ subtype: 'set_model', model: 'sonnet' });
        use.stub.clear();
        use.stub.script([{ status: 529, headers: { 'retry-after': '0' }, times: 3 }]);
        const { result } = await cli.ask('busy');
        assert.equal(result.is_error, false);
        assert.match(use.stub.requests.at(-1).body.model, /haiku/);
        use.stub.clear();
        await cli.end();
    });
});

describe('the end of a process', { skip: SKIP, concurrency: 3 }, () => {
    const use = useCli();

    test('at end of file it exits with 0', async () => {
        const cli = await use.start();
        assert.equal(await cli.close(), 0);
    });

    test('a line that is not JSON: it exits with 1', async () => {
        const cli = await use.start();
        cli.send('this is not JSON');
        assert.deepEqual(await cli.gone, [1, null]);
    });

    test('end of file in the midst of a turn does not end it; TERM does', async () => {
        const cli = await use.start();
        cli.put(scripted({ text: 'word '.repeat(500), gap_ms: 20 }));
        await cli.line('a delta', ({ event }) => event?.type === 'content_block_delta');
        cli.child.stdin.end();
        await sleep(1000);
        assert.ok(isAlive(cli.child.pid));
        const since = performance.now();
        cli.child.kill('SIGTERM');
        await cli.gone;
        assert.ok(performance.now() - since < 1500 * SLOW);
    });

    test('--no-session-persistence leaves no transcript', async () => {
        const cli = await use.start();
        await cli.ask('heliotrope');
        await cli.close();
        const projects = join(cli.dir, 'home', '.claude', 'projects');
        const files = existsSync(projects) ? readdirSync(projects, { recursive: true }) : [];
        assert.deepEqual(files.filter((name) => name.endsWith('.jsonl')), []);
    });

    test('--session-id writes one where the code looks for it, --resume goes on from it, its uuids are places to cut at', async () => {
        const id = randomUUID();
        const first = await use.start({ args: ['--session-id', id] });
        const { uuid } = await first.ask('one');
        const last = await first.ask('two');
        assert.equal(await first.close(), 0);
        const place = join(first.dir, 'cwd').replace(/[^A-Za-z0-9]/g, '-');
        assert.ok(existsSync(join(first.dir, 'home', '.claude', 'projects', place, `${id}.jsonl`)));
        const second = await use.start({ args: ['--resume', id], dir: first.dir });
        const { result } = await second.ask('three');
        assert.ok(result.total_cost_usd > last.result.total_cost_usd, 'the cost goes on from there');
        assert.deepEqual(conversation(use.stub.requests.at(-1)).filter(([role]) => role === 'user').map(([, text]) => text),
            ['one', 'two', 'three']);
        assert.equal((await second.rewind(uuid)).response.rewound, true);
        await second.ask('four');
        assert.deepEqual(conversation(use.stub.requests.at(-1)), [['user', 'four']]);
    });
});
