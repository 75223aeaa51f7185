/*
 * No peers, and nothing unasked: what the launch profile takes from the real CLI. A process offers
 * nothing to others and takes nothing from them, reads no file of the server that nobody named, and
 * does nothing once its answer is there. Each test is about an effect; where one is an absence, a
 * second process with that switch overridden, by claude_env or claude_args, shows what it would be.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
    existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync,
} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import readline from 'node:readline';
import { KEY, OTHER_KEY, SLOW, isAlive, waitFor } from './lib/server.mjs';
import { logged, startEngine } from './lib/engine.mjs';
import { assistant, conversation, spoken, user } from './lib/upstream.mjs';

const DEFAULTS = 'claude_warm 0; claude_max_concurrent 8; claude_max_processes 16;';

/* Everything that an operator could allow an agent; what is not offered stays out all the same. */
const ALLOWED = 'claude_args --allowedTools Bash,Agent,Read,CronCreate,Monitor,ScheduleWakeup,Workflow,ListAgents,'
    + 'SendMessage,PushNotification,RemoteTrigger,TaskStop;';

const AGENT = `location /agent/ { claude_openai; claude_tools default; ${ALLOWED} }`;
const NAMED = `location /named/ { claude_openai; claude_tools Bash Read; ${ALLOWED} }`;

let tags = 0;

/* A turn at a location: what was said, on which rung, in which process. */
async function turn(server, messages, { path = '/v1/', key = KEY, headers, ...body } = {}) {
    const tag = `lock${++tags}`;
    const known = new Set((await server.status()).processes.map(({ pid }) => pid));
    const answer = await server.request('POST', `${path}chat/completions`, {
        key, headers: { 'x-tag': tag, ...headers }, body: { model: 'sonnet', messages, ...body },
    });
    assert.equal(answer.status, 200, answer.text);
    const { rung } = await logged(server, tag);
    const started = (await server.status()).processes.find(({ pid }) => !known.has(pid));
    return { content: answer.json.choices[0].message.content, rung, pid: started?.pid };
}

/* The model uses a tool, and then says that it is done. Resolves to what it was told of the tool. */
async function use(server, name, input, options) {
    const word = `use-${name}-${++tags}`;
    server.stub.clear();
    server.stub.script([
        { match: word, times: 1, tool_use: [{ id: `toolu_${tags}`, name, input }], stop_reason: 'tool_use' },
    ]);
    await turn(server, [user(word)], options);
    const told = server.stub.requests.map(({ body }) => body.messages.filter(({ role }) => role === 'user').at(-1).content)
        .flat().find((block) => block.tool_use_id === `toolu_${tags}` || block.tool_use_id?.startsWith('toolu_'));
    return JSON.stringify(told.content);
}

const offered = ({ body }) => new Map((body.tools ?? []).map((tool) => [tool.name, Object.keys(tool.input_schema.properties ?? {})]));

const said = (server) => JSON.stringify(server.stub.requests.map(({ body }) => body));

/* The Unix sockets that listen, of all processes: inode to path, as proc(5) has them. */
function unixListeners() {
    return new Map(readFileSync('/proc/net/unix', 'utf8').split('\n').map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === '00010000').map((fields) => [`socket:[${fields[6]}]`, fields[7] ?? '']));
}

/* The sockets of a process that somebody could connect to. */
function listens(pid) {
    const unix = unixListeners();
    const tcp = ['tcp', 'tcp6'].flatMap((file) => readFileSync(`/proc/net/${file}`, 'utf8').split('\n'))
        .map((line) => line.trim().split(/\s+/)).filter((fields) => fields[3] === '0A').map((fields) => `socket:[${fields[9]}]`);
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
            return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
        } catch {
            return [];                                  /* closed meanwhile */
        }
    }).filter((name) => unix.has(name) || tcp.includes(name)).map((name) => unix.get(name) ?? name);
}

/* The CLIs' own directories, and a directory of theirs in all of them. */
const homes = ({ dir }) => ['chat', 'keys/one', 'keys/two'].map((home) => join(dir, 'claude-state', home));
const inHomes = (server, name) => homes(server).map((home) => join(home, name)).filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path).map((file) => join(path, file)));

/* Files under a directory whose content has a word. */
function filesWith(dir, word) {
    return readdirSync(dir, { recursive: true }).filter((name) => {
        try {
            return statSync(join(dir, name)).isFile() && readFileSync(join(dir, name)).includes(word);
        } catch {
            return false;                               /* renamed meanwhile */
        }
    });
}

function put(dir, file, text, mode = 0o644) {
    const path = join(dir, file);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
}

/* What a line of a shell has left in a file of marks. */
const marks = (file) => (existsSync(file) ? [...new Set(readFileSync(file, 'utf8').trim().split('\n'))] : []);

/* ---------------------------------------------------------------------------------------- */

describe('messages of other sessions', () => {
    let server;
    let run;
    const its = new Map();

    before(async () => {
        run = mkdtempSync(join(tmpdir(), 'run-'));
        server = await startEngine({
            env: { XDG_RUNTIME_DIR: run },
            http: DEFAULTS,
            server: `${AGENT} ${NAMED} location /mcp/ { claude_openai; claude_mcp_config mcp.json; }`,
            prepare: (dir) => put(dir, 'mcp.json', '{"mcpServers":{}}'),
        });
        its.set('chat', await turn(server, [user('chat')]));
        its.set('chat of another key', await turn(server, [user('secret of two')], { key: OTHER_KEY }));
        its.set('session', await turn(server, [user('session')], { headers: { 'x-session-id': randomUUID() } }));
        its.set('tools default', await turn(server, [user('agent')], { path: '/agent/' }));
        its.set('named tools', await turn(server, [user('named')], { path: '/named/' }));
        its.set('MCP servers', await turn(server, [user('mcp')], { path: '/mcp/' }));
    });
    after(async () => {
        await server?.end();
        rmSync(run, { recursive: true, force: true });
    });

    test('no process of any profile listens, or says where', () => {
        for (const [profile, { pid }] of its) {
            assert.ok(isAlive(pid), profile);
            assert.deepEqual(listens(pid), [], profile);
            for (const dir of ['/tmp/cc-socks', `/tmp/cc-socks-${process.getuid()}`, join(run, 'cc-socks')]) {
                assert.ok(!existsSync(join(dir, `${pid}.sock`)), `${profile}: a socket in ${dir}`);
            }
        }
        const sessions = inHomes(server, 'sessions');
        assert.ok(sessions.length >= its.size, `${sessions}`);
        assert.deepEqual(sessions.filter((name) => name.endsWith('.key')), []);
        assert.deepEqual(sessions.filter((name) => readFileSync(name).includes('messagingSocketPath')), []);
    });

    test("one key's agent can neither list nor message another key's process", async () => {
        const victim = its.get('chat of another key');
        for (const [name, input] of [
            ['ListAgents', {}],
            ['SendMessage', { to: `uds:${join(run, 'cc-socks', `${victim.pid}.sock`)}`, summary: 'a word to you', message: 'attacker words' }],
        ]) {
            for (const path of ['/agent/', '/named/']) {
                assert.match(await use(server, name, input, { path }), /No such tool available/, `${name} at ${path}`);
                assert.ok(!offered(server.stub.requests[0]).has(name), `${name} is offered at ${path}`);
                assert.doesNotMatch(said(server), /secret of two/);
            }
        }
        server.stub.clear();
        const next = await turn(server, [user('secret of two'), assistant(victim.content), user('and?')], { key: OTHER_KEY });
        assert.equal(next.rung, 'live');
        assert.deepEqual(server.stub.requests.map((request) => conversation(request).length), [3]);
    });
});

/* The socket is there again: what remains is that nothing is taken from it. */
describe('messages of other sessions, the socket opened by the operator', () => {
    let server;
    let run;
    const LISTED = `location /listed/ { claude_openai; claude_tools ListAgents SendMessage; ${ALLOWED} }`;

    before(async () => {
        run = mkdtempSync(join(tmpdir(), 'run-'));
        server = await startEngine({
            env: { XDG_RUNTIME_DIR: run, CLAUDE_CODE_HARBOR_KITE: '1' },
            http: DEFAULTS,
            server: `${AGENT} ${NAMED} ${LISTED}`,
        });
    });
    after(async () => {
        await server?.end();
        rmSync(run, { recursive: true, force: true });
    });

    /* As any process of the same user could: with the key that lies in HOME. */
    async function post(pid) {
        const key = await waitFor('its key', () => inHomes(server, 'sessions').find((name) => basename(name).startsWith(`${pid}.`) && name.endsWith('.key')));
        const { peerToken } = JSON.parse(readFileSync(key, 'utf8'));
        const socket = net.connect(join(run, 'cc-socks', `${pid}.sock`));
        await once(socket, 'connect');
        const closed = once(socket, 'close');
        socket.resume();
        socket.end([{ type: 'auth', token: peerToken }, { type: 'user', message: { role: 'user', content: 'attacker words' } }]
            .map((line) => `${JSON.stringify(line)}\n`).join(''));
        await closed;
    }

    test('a message to an idle process of a chat is refused', async () => {
        const first = await turn(server, [user('secret')], { key: OTHER_KEY });
        assert.equal(listens(first.pid).length, 1, 'the socket is there');
        server.stub.clear();
        await post(first.pid);
        const next = await turn(server, [user('secret'), assistant(first.content), user('and?')], { key: OTHER_KEY });
        assert.equal(next.rung, 'live');
        assert.deepEqual(server.stub.requests.map((request) => conversation(request).length), [3]);
        assert.doesNotMatch(said(server), /attacker words/);
    });

    for (const path of ['/agent/', '/named/']) {
        test(`an agent has no socket even then: ${path}`, async () => {
            const { pid } = await turn(server, [user(`secret at ${path}`)], { path, key: OTHER_KEY });
            assert.deepEqual(listens(pid), []);
        });
    }

    test("nor does another key's agent reach it that was given the tools", async () => {
        const victim = await turn(server, [user('secret of two')], { key: OTHER_KEY });
        assert.match(await use(server, 'ListAgents', {}, { path: '/listed/' }), /No reachable agents/, 'its home has no other');
        const sent = await use(server, 'SendMessage',
            { to: `uds:${join(run, 'cc-socks', `${victim.pid}.sock`)}`, summary: 'a word to you', message: 'attacker words' }, { path: '/listed/' });
        assert.match(sent, /success/);
        server.stub.clear();
        const next = await turn(server, [user('secret of two'), assistant(victim.content), user('and?')], { key: OTHER_KEY });
        assert.equal(next.rung, 'live');
        assert.deepEqual(server.stub.requests.map((request) => conversation(request).length), [3]);
        assert.doesNotMatch(said(server), /attacker words/);
    });

    test('claude_tools default has no such tools even then', async () => {
        server.stub.clear();
        await turn(server, [user('tools?')], { path: '/agent/' });
        const tools = offered(server.stub.requests[0]);
        assert.ok(tools.has('Read'), [...tools.keys()].join(' '));
        for (const name of ['ListAgents', 'SendMessage']) assert.ok(!tools.has(name), name);
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('after the answer', () => {
    let server;

    before(async () => {
        server = await startEngine({
            http: DEFAULTS,
            server: `${AGENT} ${NAMED}
                location /asked/ { claude_openai; claude_tools Bash TaskStop CronCreate Workflow Monitor ScheduleWakeup ListAgents; ${ALLOWED} }`,
        });
    });
    after(() => server?.end());

    const NOT_OFFERED = ['Bash', 'WebFetch', 'CronCreate', 'CronDelete', 'CronList', 'ListAgents', 'Monitor', 'PushNotification', 'RemoteTrigger',
        'ScheduleWakeup', 'SendMessage', 'SetGoal', 'Workflow'];

    test('claude_tools default offers nothing that acts later', async () => {
        server.stub.clear();
        await turn(server, [user('tools?')], { path: '/agent/' });
        const tools = offered(server.stub.requests[0]);
        for (const name of ['Agent', 'Edit', 'Glob', 'Grep', 'Read', 'Write']) assert.ok(tools.has(name), `${name} is missing`);
        for (const name of NOT_OFFERED) assert.ok(!tools.has(name), `${name} is offered`);
        assert.ok(!tools.get('Agent').includes('run_in_background'));
    });

    for (const [name, input] of [
        ['CronCreate', { cron: '* * * * *', prompt: 'by the clock', recurring: true }],
        ['ScheduleWakeup', { delaySeconds: 60, reason: 'x', prompt: 'by the clock' }],
        ['Monitor', { command: 'echo event', description: 'x', timeout_ms: 5000 }],
        ['Workflow', { script: "export const meta = {name: 'x', description: 'y'}\nreturn await agent('hi')" }],
        ['PushNotification', { message: 'x', status: 'proactive' }],
    ]) {
        test(`a model that calls ${name} is told that there is none`, async () => {
            assert.match(await use(server, name, input, { path: '/agent/' }), /No such tool available/);
            assert.equal(server.stub.requests.length, 2);
        });
    }

    for (const [path, words] of [['/agent/', /No such tool available/], ['/named/', /unexpected parameter `run_in_background`/]]) {
        test(`no command goes on behind the answer: ${path}`, async () => {
            const mark = join(server.dir, `mark${path.replaceAll('/', '-')}`);
            const told = await use(server, 'Bash', { command: `touch ${mark}`, run_in_background: true }, { path });
            assert.match(told, words);
            assert.equal(server.stub.requests.length, 2);
            assert.ok(!existsSync(mark), 'and it does not run');
        });
    }

    test('an agent below is done before the answer', async () => {
        const told = await use(server, 'Agent', { description: 'do it', prompt: 'a job for below', subagent_type: 'general-purpose' },
            { path: '/agent/' });
        assert.match(told, /a job for below/, 'its answer, an echo, is the result');
        assert.deepEqual(server.stub.requests.map(({ body }) => /a job for below/.test(JSON.stringify(body.messages[0]))), [false, true, false]);
    });

    test('who names such tools has them', async () => {
        server.stub.clear();
        await turn(server, [user('tools?')], { path: '/asked/' });
        const tools = offered(server.stub.requests[0]);
        assert.deepEqual([...tools.keys()].sort(), ['Bash', 'CronCreate', 'ListAgents', 'Monitor', 'ScheduleWakeup', 'TaskStop', 'Workflow']);
        assert.ok(tools.get('Bash').includes('run_in_background'));
    });
});

/* A file of jobs in the working directory is enough, whoever has put it there: a chat runs them, too. */
describe('jobs by the clock', () => {
    const due = (dir) => {
        put(dir, 'work/.claude/scheduled_tasks.json', JSON.stringify({ tasks: [{
            id: 'fe17d0ab', cron: '* * * * *', prompt: 'by the clock', createdAt: Date.now() - 86400000, recurring: true,
            createdInProject: join(dir, 'work'), createdUnderSignIn: 'none', maxAgeMs: 2592000000,
        }] }));
    };
    const start = (env) => startEngine({
        env, http: DEFAULTS, prepare: due,
        server: `claude_working_directory work; ${AGENT} ${NAMED}`,
    });
    const asked = ({ body }) => JSON.stringify(body.messages).includes('by the clock');

    test('are not taken from the working directory', async (t) => {
        const [locked, open] = [await start({}), await start({ CLAUDE_CODE_DISABLE_CRON: '' })];
        t.after(() => Promise.all([locked.end(), open.end()]));
        for (const path of ['/v1/', '/agent/', '/named/']) await turn(locked, [user('hi')], { path });

        /* of an agent: in a chat the gate would not let it ask */
        await turn(open, [user('hi')], { path: '/agent/', key: OTHER_KEY });
        await waitFor('a process that may to run its job', () => open.stub.requests.some(asked), 60000 * SLOW);
        assert.deepEqual(locked.stub.requests.map(({ body }) => body.messages.filter(({ role }) => role === 'user').length), [1, 1, 1]);
        assert.ok(!locked.stub.requests.some(asked));
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('what lies about on the server', () => {
    let server;
    let ran;

    before(async () => {
        server = await startEngine({
            http: DEFAULTS,
            server: `claude_working_directory work/here; ${AGENT} ${NAMED}
                location /sources/ { claude_openai; claude_args --setting-sources user,project,local; }`,
            prepare: (dir) => {
                ran = join(dir, 'ran');
                for (const where of ['', 'work', 'work/here', 'work/here/.claude', 'home', 'home/.claude', 'home/.claude/rules']) {
                    for (const name of ['CLAUDE.md', 'CLAUDE.local.md', 'AGENTS.md']) put(dir, join(where, name), 'canary-of-a-file\n');
                }
                const settings = {
                    env: { ANTHROPIC_CUSTOM_HEADERS: 'x-canary: 1' },
                    hooks: Object.fromEntries(['SessionStart', 'UserPromptSubmit', 'PreToolUse', 'Stop']
                        .map((event) => [event, [{ hooks: [{ type: 'command', command: `echo ${event} >> ${ran}` }] }]])),
                };
                const servers = { mcpServers: { evil: { command: '/bin/sh', args: ['-c', `echo mcp >> ${ran}`] } } };
                put(dir, 'home/.claude/settings.json', JSON.stringify(settings));
                put(dir, 'work/here/.claude/settings.json', JSON.stringify({ ...settings, enableAllProjectMcpServers: true }));
                put(dir, 'work/here/.claude/settings.local.json', JSON.stringify(settings));
                put(dir, 'work/here/.mcp.json', JSON.stringify(servers));
                put(dir, 'home/.claude.json', JSON.stringify({
                    ...servers,
                    projects: { [join(dir, 'work/here')]: { ...servers, hasTrustDialogAccepted: true, enabledMcpjsonServers: ['evil'] } },
                }));
                put(dir, 'work/here/note.txt', 'a note\n');
            },
        });
    });
    after(() => server?.end());

    test('is not run, and does not reach the model', async () => {
        server.stub.clear();
        await turn(server, [user('chat')]);
        await turn(server, [user('session')], { headers: { 'x-session-id': randomUUID() } });
        for (const path of ['/agent/', '/named/']) {
            server.stub.script([{
                match: `read at ${path}`, times: 1, stop_reason: 'tool_use',
                tool_use: [{ id: 'toolu_note', name: 'Read', input: { file_path: join(server.dir, 'work/here/note.txt') } }],
            }]);
            await turn(server, [user(`read at ${path}`)], { path });
        }
        assert.match(said(server), /a note/);
        assert.doesNotMatch(said(server), /canary/);
        assert.ok(server.stub.requests.every(({ headers }) => !('x-canary' in headers)));
        assert.deepEqual(marks(ran), []);
    });

    test('not even its CLAUDE.md where settings are let in', async () => {
        server.stub.clear();
        await turn(server, [user('hi')], { path: '/sources/' });
        assert.ok(marks(ran).includes('SessionStart'), 'its hooks run');
        assert.ok(!marks(ran).includes('mcp'), 'its MCP servers do not');
        assert.doesNotMatch(said(server), /canary/);
    });

    test('no word of a chat is on disk; a named session has its transcript', async () => {
        const word = 'words-that-stay-in-memory';
        await turn(server, [user(word)]);
        for (const dir of ['home', 'work', 'claude-state']) assert.deepEqual(filesWith(join(server.dir, dir), word), [], dir);
        await turn(server, [user(word)], { headers: { 'x-session-id': randomUUID() } });
        const [file, ...more] = await waitFor('its transcript', () => {
            const found = filesWith(join(server.dir, 'claude-state'), word);
            return found.length > 0 && found;
        });
        assert.match(file, /^keys\/one\/projects\/.*\.jsonl$/);
        assert.deepEqual(more, []);
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('other programs and addresses', () => {
    /* What else it would reach for goes here and no further. */
    async function startProxy(t) {
        const asked = [];
        const proxy = http.createServer((req, res) => {
            asked.push(req.url);
            res.writeHead(403).end();
        });
        proxy.on('connect', ({ url }, socket) => {
            asked.push(url);
            socket.on('error', () => {});
            socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        });
        await once(proxy.listen(0, '127.0.0.1'), 'listening');
        t.after(() => {
            proxy.closeAllConnections();
            return new Promise((resolve) => { proxy.close(resolve); });
        });
        return { asked, url: `http://127.0.0.1:${proxy.address().port}` };
    }

    async function start(t, env) {
        const proxy = await startProxy(t);
        const server = await startEngine({
            env: {
                DISABLE_TELEMETRY: null, DISABLE_AUTOUPDATER: null, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: null,
                HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url, NO_PROXY: '127.0.0.1', ...env,
            },
            http: DEFAULTS,
            server: `${AGENT} ${NAMED}`,
        });
        t.after(() => server.end());
        return { ...proxy, server };
    }

    test('nobody but the provider is asked', async (t) => {
        const locked = await start(t, {});
        const open = await start(t, { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '' });
        for (const path of ['/v1/', '/agent/', '/named/']) await turn(locked.server, [user('hi')], { path });
        await turn(open.server, [user('hi')]);
        await waitFor('a process that may to ask others', () => open.asked.length > 0, 30000 * SLOW);
        assert.deepEqual(locked.asked, []);
        assert.equal(locked.server.stub.requests.length, 3);
    });

    /* Page faults of children that were waited for, as proc(5) counts them; a limit of tokens costs a line of settings. */
    const children = (pid) => Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ')[8]);

    test('a chat starts no other program', async (t) => {
        const { server } = await start(t, {});
        const { pid } = await turn(server, [user('hi')], { max_tokens: 100 });
        await turn(server, [user('hi')], { max_tokens: 200 });
        assert.equal(children(pid), 0);
    });

    test("but the operator's PATH is the operator's", async (t) => {
        const bin = mkdtempSync(join(process.env.TEST_NGINX_SERVROOT || tmpdir(), 'bin-'));
        t.after(() => rmSync(bin, { recursive: true, force: true }));
        for (const name of ['git', 'rg', 'sh', 'node']) put(bin, name, `#!/bin/sh\necho ${name} >> ${bin}/ran\nexit 1\n`, 0o755);
        const { server } = await start(t, { PATH: bin });
        const { pid } = await turn(server, [user('hi')], { max_tokens: 100 });
        assert.deepEqual(marks(join(bin, 'ran')), ['git'], 'and git is all that it looks for');
        assert.ok(children(pid) > 0);
    });

    test('a binary that is a script finds what it needs', async (t) => {
        const { server } = await start(t, {});
        const { pid } = await turn(server, [user('hi')]);
        const wrapper = put(server.dir, 'wrapper', `#!/usr/bin/env sh\nexec ${readlinkSync(`/proc/${pid}/exe`)} "$@"\n`, 0o755);
        const wrapped = await startEngine({ http: DEFAULTS, server: `claude_binary ${wrapper};` });
        t.after(() => wrapped.end());
        assert.equal((await turn(wrapped, [user('hi')])).content, 'echo: hi');
    });
});

/* ---------------------------------------------------------------------------------------- */

/* What a process was started with, by us once more: so we see the lines that nginx sees. */
async function relaunch(pid) {
    const read = (file) => readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').slice(0, -1);
    const env = Object.fromEntries(read('environ').map((entry) => /^([^=]*)=(.*)$/s.exec(entry).slice(1)));
    const args = read('cmdline').slice(1);
    const name = args.indexOf('--session-id') + 1;
    if (name > 0) args[name] = randomUUID();
    const child = spawn(readlinkSync(`/proc/${pid}/exe`), args,
        { env, cwd: readlinkSync(`/proc/${pid}/cwd`), stdio: ['pipe', 'pipe', 'ignore'] });
    const ended = once(child, 'exit');
    for (const line of [
        { type: 'control_request', request_id: 'r1', request: { subtype: 'initialize', systemPrompt: ['x'] } },
        { type: 'user', message: { role: 'user', content: 'hi' }, parent_tool_use_id: null, session_id: '', uuid: randomUUID(), client_composed: true },
    ]) child.stdin.write(`${JSON.stringify(line)}\n`);
    let found;
    for await (const text of readline.createInterface({ input: child.stdout })) {
        const line = JSON.parse(text);
        if (line.type === 'system' && line.subtype === 'init') found = line;
        if (found) break;
    }
    child.kill('SIGKILL');
    await ended;
    assert.ok(found, 'it ended without a word');
    return found;
}

describe("the CLI's own plugins", () => {
    test('are off in a chat, and there for an agent', async (t) => {
        const server = await startEngine({ http: DEFAULTS, server: AGENT });
        t.after(() => server.end());
        const chat = await relaunch((await turn(server, [user('hi')])).pid);
        assert.deepEqual(chat.plugins.map(({ name }) => name), ['nginx-gate']);
        assert.deepEqual(chat.tools, []);
        const agent = await relaunch((await turn(server, [user('hi')], { path: '/agent/' })).pid);
        assert.ok(agent.plugins.length > 0);
    });
});
