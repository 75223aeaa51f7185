/*
 * The CLI alone, without nginx: what the code relies on of its protocol, fact by fact, as
 * docs/cli-protocol.md has them. Each process has an empty environment but for what stands here, a
 * HOME of its own and a stub of the Messages API on the loopback, whose requests are what the model
 * would have seen.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
    appendFileSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import readline from 'node:readline';
import { createStub } from '../stub/messages-api.mjs';
import { ROOT, SANITIZED, SLOW, endChild, isAlive, sleep, spawnTied, waitFor } from './lib/server.mjs';
import { scripted, spoken, systemTexts } from './lib/upstream.mjs';

const CLAUDE = process.env.TEST_CLAUDE_BINARY;
const PINNED = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).dependencies['@anthropic-ai/claude-code'];

/* As src/spawner/ngx_claude_profile.c has them for a chat. */
const ARGS = [
    '-p', '--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose',
    '--include-partial-messages', '--setting-sources', '', '--strict-mcp-config', '--disable-slash-commands',
    '--system-prompt', '-', '--settings', JSON.stringify({
        crossSessionInbound: 'refuse',
        enabledPlugins: {
            'cc-plugin-agents-md@builtin': false, 'cc-plugin-privacy@builtin': false,
            'cc-plugin-plugin-authoring@builtin': false,
        },
    }),
    '--permission-mode', 'dontAsk', '--tools', '', '--allowedTools', 'mcp__c0,mcp__c1',
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

/* The gate: what comes with it, and its directory, as src/spawner/ngx_claude_gate.c makes it. */
const GATE_ENV = { CLAUDE_CODE_SILENT_TURN_REMINDER: '0', CLAUDE_CODE_HOOKS_SAME_THREAD: '1' };

function writeGate(parent) {
    const dir = join(parent, 'gate');
    for (const [folder, name] of [['.claude-plugin', 'plugin.json'], ['hooks', 'hooks.json'], ['hooks', 'register.mjs']]) {
        mkdirSync(join(dir, folder), { recursive: true });
        copyFileSync(join(ROOT, 'src/spawner/gate', name), join(dir, folder, name));
    }
    return dir;
}

/* ---------------------------------------------------------------------------------------- */

class Cli {
    /*
     * args in place of --no-session-persistence; env: null takes an entry away; gate: true, or
     * what spoils its directory
     */
    constructor(stub, port, { args = ['--no-session-persistence'], env = {}, dir, gate } = {}) {
        this.stub = stub;
        this.own = dir === undefined;
        this.dir = dir ?? mkdtempSync(join(tmpdir(), 'cli-'));
        for (const name of ['home', 'cwd']) mkdirSync(join(this.dir, name), { recursive: true });
        const gated = [];
        if (gate) {
            gated.push('--plugin-dir', writeGate(this.dir));
            if (gate !== true) gate(gated[1]);
        }
        const all = {
            PATH: '/usr/bin:/bin', HOME: join(this.dir, 'home'),
            ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`, ANTHROPIC_API_KEY: 'dummy',
            ...ENV, ...(gate ? GATE_ENV : {}), ...env,
        };
        this.child = spawnTied(CLAUDE, [...ARGS, ...gated, ...args], {
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
        assert.deepEqual(spoken(use.stub.requests.at(-1)),
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
        assert.deepEqual(spoken(use.stub.requests.at(-1)).filter(([role]) => role === 'user').map(([, text]) => text),
            [`look at @${secret}`, '/help', '!id']);
        const open = await use.start({ env: { CLAUDE_CODE_DISABLE_FILE_MENTIONS: null } });
        use.stub.clear();
        await open.ask(`look at @${secret}`, { client_composed: undefined });
        assert.ok(JSON.stringify(use.stub.requests.map(({ body }) => body)).includes('heliotrope'));
        await open.ask(`look again at @${secret} please`, { client_composed: true });
        assert.equal(spoken(use.stub.requests.at(-1)).at(-1)[1], `look again at @${secret} please`);
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
        assert.deepEqual(spoken(use.stub.requests[0]),
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
        assert.deepEqual(spoken(use.stub.requests.at(-1)),
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
        assert.deepEqual(spoken(use.stub.requests[0]), [['user', 'two']]);
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
        for (const [status, code] of [[404, 'not_found'], [401, 'auth_failed'], [500, 'check_server_error']]) {
            use.stub.clear();
            use.stub.script([{ status, headers: { 'retry-after': '0' }, times: 100 }]);
            const refused = await cli.control({ subtype: 'set_model', model: 'claude-opus-4-7' });
            assert.equal(refused.subtype, 'error');
            assert.equal(refused.error_code, code);
        }
        use.stub.clear();
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
        assert.deepEqual(spoken(use.stub.requests.at(-1)), [['user', 'after']]);
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

    test('--fallback-model is asked when the model is overloaded, with the gate, too', async () => {
        const cli = await use.start({ args: ['--no-session-persistence', '--fallback-model', 'haiku'], gate: true });
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

/* What the driver sets at each turn of a CLI with the gate: see ngx_claude_cli_settings(). */
const gatedSettings = (cli, body) => cli.control({
    subtype: 'apply_flag_settings',
    settings: {
        effortLevel: null,
        env: { CLAUDE_CODE_EFFORT_LEVEL: 'unset', CLAUDE_CODE_EXTRA_BODY: JSON.stringify(body) },
    },
});
const MEDIUM = { output_config: { effort: 'medium' } };

/* What the gate has written, and between that "message_start", "api_retry" and "result". */
function story(lines) {
    return lines.map((line) => {
        if (line.subtype === 'ui_log') return line.text.split('\n')[0];
        if (line.event?.type === 'message_start' || line.type === 'result') return line.event?.type ?? line.type;
        return line.subtype === 'api_retry' && line.subtype;
    }).filter(Boolean);
}

describe('the gate', { skip: SKIP, concurrency: 1 }, () => {
    const use = useCli({ gate: true });
    const questions = () => use.stub.requests.map(({ body }) => body);
    const betas = () => use.stub.requests.at(-1).headers['anthropic-beta'].split(',').sort();

    /* Of all models, and of those from 5.5 on; for the effort the gate adds one. */
    const BETAS = [
        'claude-code-20250219', 'interleaved-thinking-2025-05-14', 'context-management-2025-06-27',
        'thinking-token-count-2026-05-13', 'thinking-display-updates-2026-08-18',
    ];
    const BETAS_55 = ['mid-conversation-tool-changes-2026-07-01', 'per-turn-control-2026-07-01'];
    const EFFORT_BETA = 'effort-2025-11-24';

    before(async () => {
        if (!SKIP) await gatedSettings(use.cli, MEDIUM);
    });

    test('`claude plugin validate` passes it, and reads its hooks', () => {
        const dir = join(use.cli.dir, 'gate');
        const validate = () => spawnSync(CLAUDE, ['plugin', 'validate', dir], {
            env: { PATH: '/usr/bin:/bin', HOME: join(use.cli.dir, 'home'), ...ENV }, encoding: 'utf8',
        });
        const passed = validate();
        assert.equal(passed.status, 0, passed.stdout);
        assert.match(passed.stdout, /register\.mjs hooks: .*http\.fetch/);
        const file = join(dir, 'hooks', 'register.mjs');        /* the CLI has read it */
        writeFileSync(file, readFileSync(file, 'utf8').replace("on('turn.start'", "on('turn.nonsense'"));
        const failed = validate();
        assert.equal(failed.status, 1);
        assert.match(failed.stdout, /"turn\.nonsense" is not an event/);
    });

    test('"gate 1" is a line before initialize is answered', () => {
        const { lines } = use.cli;
        const at = lines.findIndex(({ subtype }) => subtype === 'ui_log');
        const { uuid, session_id: session, ...line } = lines[at];
        assert.deepEqual(line, { type: 'system', subtype: 'ui_log', plugin: 'nginx-gate', text: 'gate 1' });
        assert.ok(uuid && session);
        assert.ok(at < lines.findIndex(({ type }) => type === 'control_response'));
    });

    test('a question is "call", "said" with the provider’s id, and the answer', async () => {
        const { cli } = use;
        await begin(cli);
        const { lines } = await cli.ask('one');
        assert.deepEqual(story(lines), ['call', 'said: 200', 'message_start', 'result']);
        const said = lines.find(({ text }) => text?.startsWith('said')).text;
        assert.match(said, /^said: 200\nrequest-id: req_stub\d+$/);
    });

    /* With a new version this fails where it adds something: then docs/cli-protocol.md changes, too. */
    test('to a first question the CLI adds this, and nothing else', async () => {
        const { cli } = use;
        const { model } = await begin(cli);
        await cli.ask('one');
        const [{ body, headers }] = use.stub.requests;
        assert.deepEqual(Object.keys(body), [
            'model', 'messages', 'system', 'tools', 'metadata', 'max_tokens', 'thinking', 'context_management',
            'output_config', 'stream',
        ]);
        const mark = { cache_control: { type: 'ephemeral' } };
        const { system: [billing, ...system], metadata, ...rest } = body;
        assert.deepEqual(rest, {
            model,
            messages: [{ role: 'user', content: [{ type: 'text', text: 'one', ...mark }] }],
            tools: [],
            max_tokens: 128000,
            thinking: { type: 'adaptive', display: 'updates' },
            context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
            output_config: { effort: 'medium' },
            stream: true,
        });
        assert.deepEqual(Object.keys(billing), ['type', 'text']);
        assert.match(billing.text, /^x-anthropic-billing-header: cc_version=[\d.]+\.[0-9a-f]{3}; cc_entrypoint=sdk-cli;$/);
        assert.deepEqual(system, [
            { type: 'text', text: 'You are a Claude agent, built on Anthropic\'s Claude Agent SDK.', ...mark },
            { type: 'text', text: 'You are a test.', ...mark },
        ]);
        assert.deepEqual(Object.keys(metadata), ['user_id']);
        const user = JSON.parse(metadata.user_id);
        assert.deepEqual(Object.keys(user).sort(), ['account_uuid', 'device_id', 'session_id']);
        assert.equal(user.account_uuid, '');

        const { 'x-claude-code-session-id': session, 'content-length': length, ...sent } = headers;
        assert.equal(session, user.session_id);
        for (const name of Object.keys(sent)) if (/^x-stainless-(?!retry|timeout)/.test(name)) sent[name] = '…';
        assert.deepEqual(sent, {
            accept: 'application/json', 'accept-encoding': 'gzip, deflate, br, zstd', connection: 'keep-alive',
            'content-type': 'application/json', host: `127.0.0.1:${use.port}`,
            'user-agent': `claude-cli/${PINNED} (external, sdk-cli)`, 'x-api-key': 'dummy', 'x-app': 'cli',
            'anthropic-version': '2023-06-01', 'anthropic-dangerous-direct-browser-access': 'true',
            'anthropic-beta': sent['anthropic-beta'],
            'x-stainless-retry-count': '0', 'x-stainless-timeout': '600', 'x-stainless-arch': '…',
            'x-stainless-lang': '…', 'x-stainless-os': '…', 'x-stainless-package-version': '…',
            'x-stainless-runtime': '…', 'x-stainless-runtime-version': '…',
        });
        assert.deepEqual(betas(), [...BETAS, ...BETAS_55, EFFORT_BETA].sort());
    });

    test('what goes between the messages is left out; a third cache mark moves to the newest', async () => {
        const { cli } = use;
        await begin(cli);
        await cli.replay('past', { type: 'text', text: 'answer' });
        await cli.control({ subtype: 'side_question', question: 'x?' });
        assert.equal(use.stub.requests.length, 0, 'what is replayed is no question');
        await cli.ask('one');
        await cli.ask('two');
        const { messages } = questions().at(-1);
        assert.deepEqual(messages.map(({ role }) => role), ['user', 'assistant', 'user', 'assistant', 'user']);
        assert.deepEqual(spoken(use.stub.requests.at(-1)),
            [['user', 'past'], ['assistant', 'answer'], ['user', 'one'], ['assistant', 'echo: one'], ['user', 'two']]);
        assert.equal(JSON.stringify(messages).match(/cache_control/g).length, 1);
        assert.ok(messages.at(-1).content.at(-1).cache_control);
    });

    test('an effort in the body is that member alone, with its beta where the model wants it', async () => {
        const { cli } = use;
        await begin(cli);
        for (const effort of ['low', 'max']) {
            await gatedSettings(cli, { output_config: { effort } });
            await cli.ask(effort);
            assert.deepEqual(questions().at(-1).output_config, { effort });
            assert.ok(!questions().at(-1).messages.some(({ role }) => role === 'system'), 'no line that says so');
        }
        const format = {
            type: 'json_schema',
            schema: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false },
        };
        for (const [model, config, thinking, more] of [
            ['claude-opus-4-6', { effort: 'low', format }, { type: 'adaptive', display: 'updates' }, [EFFORT_BETA]],
            ['claude-haiku-4-5', { format }, { type: 'enabled', budget_tokens: 31999, display: 'updates' }, []],
        ]) {
            await begin(cli, { model });
            await gatedSettings(cli, { output_config: { effort: 'low', format } });
            await cli.ask('x');
            assert.equal(questions().at(-1).model, model);
            assert.deepEqual(questions().at(-1).output_config, config, model);
            assert.deepEqual(questions().at(-1).thinking, thinking, model);
            assert.deepEqual(betas(), [...BETAS, ...more].sort(), model);
        }
        await gatedSettings(cli, MEDIUM);
    });

    test('an effort is that which the CLI would make of it for the model', async () => {
        const cli = use.cli;
        const bare = await use.start({ gate: false });
        const models = [
            'claude-opus-4-5', 'claude-opus-4-6', 'claude-sonnet-4-6', 'claude-opus-4-7', 'claude-opus-5', 'claude-opus-5-5',
            'claude-sonnet-4-5', 'claude-haiku-4-5',
        ];
        const asked = async (one, model, effort, settings) => {
            await begin(one, { model });
            await settings();
            const { result } = await one.ask(effort);
            assert.equal(result.is_error, false, `${model}, ${effort}: ${result.result}`);
            const { body } = use.stub.requests.at(-1);
            assert.equal(body.model, model);
            return body;
        };
        for (const model of models) {
            for (const effort of ['low', 'medium', 'high', 'xhigh', 'max']) {
                const own = await asked(bare, model, effort, () => bare.control({ subtype: 'apply_flag_settings', settings: { effortLevel: effort } }));
                const body = await asked(cli, model, effort, () => gatedSettings(cli, { output_config: { effort } }));
                assert.equal(body.output_config?.effort, own.output_config?.effort, `${model}, ${effort}`);
                const line = own.messages.findLast(({ output_config: config }) => config);
                assert.equal(line?.output_config.effort, model.endsWith('-5-5') ? own.output_config.effort : undefined, `${model}, ${effort}`);
            }
        }
        await gatedSettings(cli, MEDIUM);
        await bare.end();
    });

    test('a full model name costs no call; one that is none is the question’s 404', async () => {
        const { cli } = use;
        await begin(cli, { model: 'claude-opus-4-8' });
        assert.equal(use.stub.requests.length, 0);
        await cli.ask('one');
        await begin(cli, { model: 'claude-nonsense-9' });
        assert.equal(use.stub.requests.length, 0);
        const { result } = await cli.ask('two');
        assert.equal(result.api_error_status, 404);
    });

    test('what upstream refuses is asked again as without it, and its headers are told', async () => {
        const { cli } = use;
        await begin(cli);
        const headers = {
            'retry-after': '0', 'Anthropic-Ratelimit-Unified-Status': 'rejected',
            'anthropic-ratelimit-unified-5h-utilization': '1', 'x-other': 'x',
        };
        use.stub.script([429, 529].map((status) => ({ status, headers })));
        const { lines, result } = await cli.ask('question');
        assert.equal(result.is_error, false, result.result);
        assert.deepEqual(story(lines), [
            'call', 'said: 429', 'api_retry', 'call', 'said: 529', 'api_retry', 'call', 'said: 200', 'message_start', 'result',
        ]);
        assert.equal(use.stub.requests.length, 3);
        const [said, ...told] = lines.find(({ text }) => text?.startsWith('said')).text.split('\n');
        assert.equal(said, 'said: 429');
        assert.match(told.sort().join(' '), new RegExp('^anthropic-ratelimit-unified-5h-utilization: 1 '
            + 'anthropic-ratelimit-unified-status: rejected request-id: req_stub\\d+ retry-after: 0$'));
    });

    test('after a turn, a failed one, too, it is shut: a side question goes nowhere', async () => {
        const { cli } = use;
        for (const [script, failed] of [[{ text: 'fine' }, false], [{ status: 404, times: 100 }, true]]) {
            await begin(cli);
            use.stub.script([script]);
            const { result } = await cli.ask('question');
            assert.equal(result.is_error, failed);
            assert.notEqual(result.api_error, 'hook_denied');
            use.stub.clear();
            await cli.control({ subtype: 'side_question', question: 'x?' });
            assert.equal(use.stub.requests.length, 0);
        }
    });

    test('results of the client’s tools open it, once, when all are there', async () => {
        const { cli } = use;
        const tool = (name) => ({ name, description: '.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } });
        await begin(cli);
        cli.tools = { c0: [tool('zed')] };
        await cli.control({
            subtype: 'mcp_set_servers', servers: { c0: { type: 'sdk', name: 'c0', timeout: 86400000, disableAutoBackground: true } },
        });
        use.stub.script([{
            match: 'use both', times: 1, stop_reason: 'tool_use',
            tool_use: [{ id: 'toolu_a', name: 'zed', input: {} }, { id: 'toolu_b', name: 'zed', input: {} }],
        }]);
        const from = cli.lines.length;
        cli.put('use both');
        await waitFor('both calls', () => cli.calls.length === 2);
        cli.calls[0].answer('one');
        await cli.control({ subtype: 'side_question', question: 'x?' });
        assert.equal(use.stub.requests.length, 1);
        cli.calls[1].answer('two');
        await cli.line('the result', ({ type }) => type === 'result', from);
        const round = ['call', 'said: 200', 'message_start'];
        assert.deepEqual(story(cli.lines.slice(from)), [...round, ...round, 'result']);
        assert.equal(use.stub.requests.length, 2);
    });

    /* The CLI would ask again after each of these: see "the end of a turn". */
    const bad = { type: 'tool_use', id: 'toolu_2', name: 'zed', input: {}, input_json_deltas: ['{"a":', ' nonsense'] };
    for (const [what, script] of [
        ['max_tokens', { text: 'cut', stop_reason: 'max_tokens' }],
        ['an empty answer', { empty: true }],
        ['a break before the stream', { break_after: 0 }],
        ['a break in the stream', { text: 'half an answer', break_after: 4 }],
        ['a tool that is not there', { tool_use: [{ id: 'toolu_1', name: 'Nothing', input: {} }], stop_reason: 'tool_use' }],
        ['arguments that do not parse', { blocks: [bad], stop_reason: 'tool_use' }],
    ]) {
        test(`one call, and hook_denied in place of a second, after ${what}`, async () => {
            const { cli } = use;
            await begin(cli);
            use.stub.script([{ match: 'question', times: 1, ...script }]);
            const { lines, result } = await cli.ask('question');
            assert.equal(use.stub.requests.length, 1);
            const made = lines.findLast(({ type }) => type === 'assistant');
            for (const line of [made, result]) {
                assert.deepEqual([line.api_error, line.api_error_status], ['hook_denied', 403]);
            }
            assert.equal(made.message.model, '<synthetic>');
            assert.equal(result.is_error, true);
            const retries = lines.filter(({ subtype }) => subtype === 'api_retry');
            assert.deepEqual(retries.map(({ error_status: status }) => status), what.startsWith('a break') ? [null] : []);
            assert.equal(lines.filter(({ event }) => event?.type === 'message_delta').length, retries.length ? 0 : 1);
            await begin(cli);
            const next = await cli.ask('next');
            assert.equal(next.text, 'echo: next');
            assert.deepEqual(spoken(use.stub.requests[0]), [['user', 'next']]);
        });
    }

    test('a 403 of upstream is not hook_denied', async () => {
        const { cli } = use;
        await begin(cli);
        use.stub.script([{ status: 403, times: 100 }]);
        const { result } = await cli.ask('question');
        assert.equal(result.api_error_status, 403);
        assert.notEqual(result.api_error, 'hook_denied');
        use.stub.clear();
    });
});

/* All that an operator sees of it then is that the lines are missing: the question is answered. */
describe('a gate that is not loaded', { skip: SKIP, concurrency: 4 }, () => {
    const use = useCli();
    const file = (dir) => join(dir, 'hooks', 'register.mjs');
    const lean = '--no-session-persistence';

    for (const [what, options] of [
        ['its text is none of JavaScript', { gate: (dir) => appendFileSync(file(dir), '}}} nonsense(') }],
        ['its file is gone', { gate: (dir) => rmSync(file(dir)) }],
        ['--bare', { gate: true, args: [lean, '--bare'] }],
        ['disableAllHooks', { gate: true, args: [lean, '--settings', '{"disableAllHooks":true}'] }],
    ]) {
        test(`${what}: it says nothing, and stands before nothing`, async () => {
            const cli = await use.start(options);
            await cli.control({ subtype: 'set_model', model: 'claude-opus-4-6' });
            await gatedSettings(cli, { output_config: { effort: 'low' } });
            const { result } = await cli.ask(what);
            assert.equal(result.is_error, false, result.result);
            assert.deepEqual(cli.lines.filter(({ subtype }) => subtype === 'ui_log'), []);
            const [{ body, headers }] = use.stub.requests.filter(({ body: { stream, messages } }) =>
                stream && JSON.stringify(messages).includes(what));
            assert.equal(JSON.stringify(body).includes('# Environment'), what !== '--bare');
            assert.equal(body.output_config.effort, 'low');
            assert.ok(!headers['anthropic-beta'].includes('effort-'), 'why the gate adds it');
            await cli.end();
        });
    }
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
        assert.deepEqual(spoken(use.stub.requests.at(-1)).filter(([role]) => role === 'user').map(([, text]) => text),
            ['one', 'two', 'three']);
        assert.equal((await second.rewind(uuid)).response.rewound, true);
        await second.ask('four');
        assert.deepEqual(spoken(use.stub.requests.at(-1)), [['user', 'four']]);
    });
});
