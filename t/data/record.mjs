#!/usr/bin/env node
/*
 * Records what the real CLI says to some lines, with the stub of the Messages API in place of the
 * model: an empty environment, a private HOME, the loopback alone.
 *
 *   node t/data/record.mjs            the cases below, all of them
 *   node t/data/record.mjs usage      those
 *
 * Each is written to t/data/NAME.in.jsonl and NAME.out.jsonl; t/001-recordings.t plays it to the
 * stand-ins, which have to be told there what the model does. The CLI is the one of node_modules/.
 *
 * A line is sent when what came before has been answered: a control request by its response, a
 * question by its result.
 */

import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createStub } from '../stub/messages-api.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = join(HERE, '../../node_modules/@anthropic-ai');
const CLAUDE = readdirSync(PACKAGES).filter((name) => name === `claude-code-linux-${process.arch}`)
    .map((name) => join(PACKAGES, name, 'claude'))[0];

const LEAN = [
    '-p', '--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose', '--include-partial-messages',
    '--setting-sources', '', '--strict-mcp-config', '--disable-slash-commands', '--system-prompt', '-',
];
const CHAT = [...LEAN, '--permission-mode', 'dontAsk', '--tools', '', '--no-session-persistence'];
const AGENT = [...LEAN, '--permission-mode', 'dontAsk', '--tools', 'Read,Task', '--allowedTools', 'Read,Task', '--no-session-persistence'];

/* The module's plugin, where record() puts it: "GATE" becomes a path. */
const GATED = [...CHAT, '--plugin-dir', 'GATE'];
const GATE_ENV = { CLAUDE_CODE_SILENT_TURN_REMINDER: '0', CLAUDE_CODE_EFFORT_LEVEL: 'unset', CLAUDE_CODE_HOOKS_SAME_THREAD: '1' };
const GATE_FILES = { 'plugin.json': '.claude-plugin', 'hooks.json': 'hooks', 'register.mjs': 'hooks' };
const limited = { status: 429, headers: { 'retry-after': '1' } };

let requests = 0;
let questions = 0;

const control = (subtype, more = {}) => ({ type: 'control_request', request_id: `r${++requests}`, request: { subtype, ...more } });
const user = (content) => ({
    type: 'user', message: { role: 'user', content }, parent_tool_use_id: null, session_id: '',
    uuid: `00000000-0000-4000-8000-${String(++questions).padStart(12, '0')}`, client_composed: true,
});
const begin = () => control('initialize', { systemPrompt: ['SYS'] });

/* With a client's server of two tools, which record() answers. */
const serve = () => control('initialize', {
    systemPrompt: ['SYS'], sdkMcpServers: ['client'],
    sdkMcpServerManifests: { client: {
        initializeResult: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'client', version: '1' } },
        toolsListResult: { tools: ['get_weather', 'zed'].map((name) => ({ name, inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } })) },
    } },
});
const result = ({ request_id, request: { message } }) => ({
    type: 'control_response',
    response: { subtype: 'success', request_id, response: { mcp_response: { jsonrpc: '2.0', id: message.id, result: { content: [{ type: 'text', text: 'warm' }] } } } },
});
const call = (id, name, input) => ({ id, name, input });

const CASES = {
    'usage': { script: [{ text: 'ok' }], lines: () => [begin(), user('hi'), control('get_usage')] },
    'refusal-explained': {
        script: [
            { text: 'I can', stop_reason: 'refusal', stop_details: { type: 'refusal', category: 'cyber', explanation: 'Not this.' } },
            { text: 'no' },
        ],
        lines: () => [begin(), user('hi')],
    },
    'redacted-thinking': {
        script: [{ blocks: [{ type: 'redacted_thinking', data: 'abcd' }, { type: 'text', text: 'ok' }] }],
        lines: () => [begin(), user('hi')],
    },
    'agent-tools': {
        args: AGENT,
        script: [
            { text: 'Let me see.', tool_use: [{ id: 'toolu_1', name: 'Read', input: { file_path: 'in.txt' } }] },
            { text: 'done' },
        ],
        lines: () => [begin(), user('read it')],
    },
    'agent-subagent': {
        args: AGENT,
        script: [
            { tool_use: [{ id: 'toolu_1', name: 'Task', input: { description: 'look', prompt: 'look around', subagent_type: 'general-purpose', run_in_background: false } }] },
            { text: 'what the other one says' },
            { text: 'done' },
        ],
        lines: () => [begin(), user('ask another')],
    },
    'agent-max-turns': {
        args: [...AGENT, '--max-turns', '1'],
        script: [{ tool_use: [{ id: 'toolu_1', name: 'Read', input: { file_path: 'in.txt' } }] }],
        lines: () => [begin(), user('read it')],
    },
    'gate-plain': { script: [{ text: 'one' }, { text: 'two' }], lines: () => [begin(), user('hi'), user('more')] },
    'gate-max-tokens': { script: [{ text: 'half', stop_reason: 'max_tokens', times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-empty': { script: [{ empty: true, times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-dropped': { script: [{ text: 'a b c', break_after: 3, times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-dropped-early': { script: [{ text: 'a b c', break_after: 0, times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-tool-unknown': { script: [{ tool_use: [{ id: 'toolu_1', name: 'nope', input: { a: 1 } }], times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-tools': {
        args: [...GATED, '--allowedTools', 'mcp__client'],
        script: [{ tool_use: [call('toolu_1', 'get_weather', { city: 'Oslo' }), call('toolu_2', 'zed', {})] }, { text: 'sunny' }],
        lines: () => [serve(), user('hi')],
    },
    'gate-tools-beside': {
        args: [...GATED, '--allowedTools', 'mcp__client'],
        script: [{ tool_use: [call('toolu_1', 'get_weather', { city: 'Oslo' }), call('toolu_2', 'nope', { a: 1 })] }, { text: 'sunny' }],
        lines: () => [serve(), user('hi')],
    },
    'gate-tools-denied': {
        args: GATED, script: [{ tool_use: [call('toolu_1', 'get_weather', { city: 'Oslo' })] }, { text: 'sunny' }], lines: () => [serve(), user('hi')],
    },
    'gate-refusal-explained': {
        script: [{ text: 'I can', stop_reason: 'refusal', stop_details: { type: 'refusal', category: 'cyber', explanation: 'Not this.' }, times: 4 }],
        lines: () => [begin(), user('hi')],
    },
    'gate-429': { script: [{ ...limited, times: 4 }], lines: () => [begin(), user('hi')] },
    'gate-429-retried': {
        env: { CLAUDE_CODE_MAX_RETRIES: '2' }, script: [limited, limited, { text: 'ok' }], lines: () => [begin(), user('hi')],
    },
    'gate-401': { script: [{ status: 401, times: 9 }], lines: () => [begin(), user('hi')] },
    'gate-529': { script: [{ status: 529, times: 9 }], lines: () => [begin(), user('hi')] },
    'gate-model-unknown': {
        script: [{ status: 404, times: 9 }],
        lines: () => [begin(), control('set_model', { model: 'claude-nonsense-9' }), user('hi')],
    },
};

for (const [name, of] of Object.entries(CASES)) {
    if (name.startsWith('gate-')) Object.assign(of, { args: of.args ?? GATED, env: { ...GATE_ENV, ...of.env } });
}

/* A name that is no alias is tried out. */
const CHECKS = { 'not-found': 404, login: 401, rejected: 400, overloaded: 529 };

for (const [name, status] of Object.entries(CHECKS)) {
    CASES[`set-model-${name}`] = {
        script: [{ status, times: 20 }],
        lines: () => [begin(), control('set_model', { model: 'claude-sonnet-4-5' })],
    };
}

/* What differs from machine to machine. */
function shorten(text, { dir, port, pid }) {
    return text.replaceAll(dir, '/home/cli').replaceAll(dir.replace(/\W/g, '-'), '-home-cli').replaceAll(`127.0.0.1:${port}`, '127.0.0.1:8000').replaceAll(`"pid":${pid}`, '"pid":1')
        .replace(/("agents":\[)(.*?)(\],"output_style")/, (all, head, list, tail) => head
            + list.replace(/("description":")((?:[^"\\]|\\.){0,40})(?:[^"\\]|\\.)*"/g, '$1$2"') + tail);
}

/* Whether it has answered the line. */
const answers = (line, said) => (line.type === 'control_request'
    ? said.type === 'control_response' && said.response.request_id === line.request_id
    : said.type === 'command_lifecycle' && said.command_uuid === line.uuid && /^(?:completed|cancelled)$/.test(said.state));

async function record(name, { args = CHAT, env = {}, script, lines }) {
    const dir = mkdtempSync(join(tmpdir(), 'record-'));
    const stub = createStub();
    const port = await stub.listen();
    for (const sub of ['home', 'cwd']) mkdirSync(join(dir, sub));
    writeFileSync(join(dir, 'cwd/in.txt'), 'a word\n');
    for (const [file, sub] of Object.entries(GATE_FILES)) {
        mkdirSync(join(dir, 'gate', sub), { recursive: true });
        copyFileSync(join(HERE, '../../src/spawner/gate', file), join(dir, 'gate', sub, file));
    }
    stub.script(script);
    requests = 0;
    questions = 0;

    const child = spawn(CLAUDE, args.map((arg) => (arg === 'GATE' ? join(dir, 'gate') : arg)), {
        cwd: join(dir, 'cwd'),
        stdio: ['pipe', 'pipe', 'inherit'],
        env: {
            PATH: '/usr/bin:/bin', HOME: join(dir, 'home'), ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`, ANTHROPIC_API_KEY: 'dummy',
            DISABLE_TELEMETRY: '1', DISABLE_AUTOUPDATER: '1', CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
            CLAUDE_AGENT_SDK_MCP_NO_PREFIX: '1', CLAUDE_CODE_MAX_RETRIES: '0', ...env,
        },
    });
    const out = [];
    const heard = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const sent = lines();
    const killer = setTimeout(() => child.kill('SIGKILL'), 60000);
    try {
        for (const line of [...sent]) {
            child.stdin.write(`${JSON.stringify(line)}\n`);
            for (;;) {
                const { value, done } = await heard.next();
                if (done) throw new Error(`${name}: the CLI has ended before it has answered\n${out.join('\n')}`);
                out.push(value);
                const said = JSON.parse(value);
                if (said.type === 'control_request' && said.request.message?.method === 'tools/call') {
                    sent.push(result(said));
                    child.stdin.write(`${JSON.stringify(sent.at(-1))}\n`);
                }
                if (answers(line, said)) break;
            }
        }
        child.stdin.end();
        for await (const value of heard) out.push(value);
    } finally {
        clearTimeout(killer);
        child.kill('SIGKILL');
        await stub.close();
        rmSync(dir, { recursive: true, force: true });
    }
    const save = (what, list) => writeFileSync(join(HERE, `${name}.${what}.jsonl`), list.map((text) => `${text}\n`).join(''));
    save('in', sent.map((line) => JSON.stringify(line)));
    save('out', out.map((text) => shorten(text, { dir, port, pid: child.pid })));
    console.log(`${name}: ${sent.length} lines, ${out.length} answers`);
}

const named = process.argv.slice(2);

for (const name of named.length ? named : Object.keys(CASES)) await record(name, CASES[name]);
