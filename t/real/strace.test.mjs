/*
 * Nothing by itself: what CLIs open, make and connect to, as strace sees it, is what the table in
 * docs/security.md, "What a CLI touches", names, and nothing else. A chat, a named session and an
 * agent that uses three tools of its own are traced from nginx's start to its end.
 */

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT, startServer } from './lib/server.mjs';
import { user } from './lib/upstream.mjs';

const CALLS = ['open', 'openat', 'creat', 'mkdir', 'mkdirat', 'rmdir', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat',
    'link', 'linkat', 'symlink', 'symlinkat', 'mknod', 'mknodat', 'truncate', 'execve', 'connect', 'bind', 'sendto',
    'fork', 'vfork', 'clone', 'clone3'];

function withoutStrace() {
    const tried = spawnSync('strace', ['-D', '-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'trace=openat', 'true'], { encoding: 'utf8' });
    if (tried.error) return 'there is no strace';
    return tried.status === 0 ? false : `strace may not trace here: ${tried.stderr.trim().split('\n')[0]}`;
}

const SKIP = process.env.TEST_SANITIZED ? 'the CLI is the same with a sanitized nginx' : withoutStrace();

/* ---------------------------------------------------------------------------------------- */
/* What strace has written                                                                   */
/* ---------------------------------------------------------------------------------------- */

/* [{pid, call, args, result, name}], name is of the descriptor that came; of calls that succeeded or are under way; those in two pieces are one. */
function readTrace(file) {
    const open = new Map();
    const calls = [];
    for (const line of readFileSync(file, 'utf8').split('\n')) {
        const [, pid, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
        if (!pid) continue;
        let text = rest;
        if (text.endsWith('<unfinished ...>')) {
            open.set(pid, text.slice(0, -'<unfinished ...>'.length).trimEnd());
            continue;
        }
        const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
        if (resumed) text = `${open.get(pid) ?? ''}${resumed[1]}`;
        const [, call, args, result, name] = /^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?/.exec(text) ?? [];
        if (call) calls.push({ pid: Number(pid), call, args, result: Number(result), name, pending: text.includes('EINPROGRESS') });
    }
    return calls;
}

/*
 * The absolute names in a call's arguments: each is relative to the descriptor before it, else to
 * the directory of the process. A name below /proc/self/fd is one of a descriptor, of those in fds.
 */
function paths(args, cwd, fds) {
    return [...args.matchAll(/(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"/g)].map(([, at, name]) => {
        const [, fd, rest] = /^\/proc\/self\/fd\/(\d+)(\/.*)?$/.exec(name) ?? [];
        return fd && fds.has(fd) ? resolve(`${fds.get(fd)}${rest ?? ''}`) : resolve(at ?? cwd, name);
    });
}

/* [{does, what}] of one call; does is a word of the table. */
function touches({ call, args, result, pending }, cwd, fds) {
    if (result < 0 && !pending) return [];
    const names = paths(args, cwd, fds);
    switch (call) {
    case 'open':
    case 'openat':
    case 'creat':
        if (/\bO_PATH\b/.test(args)) return [];
        return [{ does: call === 'creat' || /\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)\b/.test(args) ? 'writes' : 'reads', what: names[0] }];
    case 'execve':
        return [{ does: 'runs', what: names[0] }];
    case 'connect':
    case 'bind':
    case 'sendto': {
        const unix = /sa_family=AF_UNIX, sun_path=(@?"[^"]*")/.exec(args);
        const inet = /sin6?_port=htons\((\d+)\).*?(?:inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)")/.exec(args);
        const what = unix ? `unix:${unix[1].replaceAll('"', '')}` : inet ? `${inet[2] ?? inet[3]}:${inet[1]}` : null;
        return what ? [{ does: call === 'bind' ? 'binds' : 'connects', what }] : [];
    }
    case 'fork':
    case 'vfork':
    case 'clone':
    case 'clone3':
        return [];
    default:                                            /* names that are made, or go */
        return names.map((what) => ({ does: 'writes', what }));
    }
}

/* ---------------------------------------------------------------------------------------- */
/* The table                                                                                 */
/* ---------------------------------------------------------------------------------------- */

/* [{line, who: Set, does, patterns}], a row each; names are of the words that the text above the table explains. */
function readTable(words) {
    const text = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
    const section = text.slice(text.indexOf('## What a CLI touches')).split('\n## ')[0];
    const rows = section.split('\n').filter((line) => /^\| [a-z]/.test(line) && !line.startsWith('| who'));
    return rows.map((line) => {
        const [who, does, names] = line.split('|').slice(1).map((cell) => cell.trim());
        const patterns = [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => new RegExp(`^${
            name.replace(/[.+?^$()[\]{}\\]/g, '\\$&').replace(/\*\*|\*|[A-Z]+/g, (word) => ({
                '**': '.+', '*': '[^/]*', ...words,
            })[word] ?? word)}$`));
        return { line, who: new Set(who.split(', ')), does, patterns };
    });
}

/* ---------------------------------------------------------------------------------------- */

let server;
let calls;
const clis = new Map();                                 /* pid: what kind */

async function turn(kind, ask) {
    const known = new Set((await server.status()).processes.map(({ pid }) => pid));
    const answer = await ask();
    assert.equal(answer.status, 200, answer.text);
    clis.set((await server.status()).processes.find(({ pid }) => !known.has(pid)).pid, kind);
    return answer;
}

async function trace() {
    /* not in the checkout: a CLI looks for a repository in all directories above */
    delete process.env.TEST_NGINX_SERVROOT;
    process.env.KEEP = '1';
    server = await startServer({
        workers: 1,
        under: (dir) => ['strace', '-D', '-f', '-qq', '-y', '-s', '1000', '--seccomp-bpf', '-o', join(dir, 'trace'), '-e', `trace=${CALLS}`],
        http: 'claude_warm 0;',
        prepare: (dir) => {
            mkdirSync(join(dir, 'work'));
            writeFileSync(join(dir, 'work', 'note.txt'), 'a note\n');
        },
        server: `claude_working_directory work;
            location /agent/ { claude_openai; claude_tools Bash Read Write; claude_args --allowedTools Bash,Read,Write; }`,
    });
    await turn('chat', () => server.chat({ messages: [user('hi')], max_tokens: 100 }));
    await turn('session', () => server.chat({ messages: [user('hi')] }, { headers: { 'x-session-id': '0198a2b4-1111-4222-8333-00000000000a' } }));
    server.stub.script([{
        match: 'use them', times: 1, stop_reason: 'tool_use', tool_use: [
            { id: 'toolu_1', name: 'Read', input: { file_path: join(server.dir, 'work/note.txt') } },
            { id: 'toolu_2', name: 'Bash', input: { command: 'echo hi > made' } },
            { id: 'toolu_3', name: 'Write', input: { file_path: join(server.dir, 'work/new.txt'), content: 'x' } }],
    }]);
    const { text } = await turn('agent', () => server.request('POST', '/agent/chat/completions',
        { body: { model: 'sonnet', messages: [user('use them')] } }));
    assert.match(text, /a note/, 'it has used its tools');
    await server.idle();
    await server.end();
    calls = readTrace(join(server.dir, 'trace'));
}

before(SKIP ? () => {} : trace, { timeout: 120000 });
after(() => {
    delete process.env.KEEP;
    if (!server) return;
    rmSync(server.dir, { recursive: true, force: true });
});

/* What nginx would do without the module: its logs, its pid, the bodies of requests, what it loads. */
const isNginx = (what) => ['nginx.conf', 'nginx.pid', 'error.log', 'access.log', 'temp'].some((name) => what.startsWith(join(server.dir, name)))
    || [`127.0.0.1:${server.port}`, process.env.TEST_NGINX_BINARY, ...(process.env.TEST_NGINX_LOAD_MODULES ?? '').split(' ')].includes(what);

/* {`who does what`: {who, does, what}}, each once. */
function touched() {
    /* a child may be heard before its parent is told of it */
    const parents = new Map(calls.filter(({ call, result }) => /^(?:fork|vfork|clone3?)$/.test(call) && result > 0)
        .map(({ pid, result }) => [result, pid]));
    const whose = (pid) => clis.get(pid) ?? (parents.has(pid) ? whose(parents.get(pid)) : 'nginx');
    const fds = new Map();                              /* of each CLI */
    const found = new Map();
    const cwd = join(server.dir, 'work');
    for (const call of calls) {
        const who = whose(call.pid);
        if (!fds.has(who)) fds.set(who, new Map());
        if (call.name) fds.get(who).set(String(call.result), call.name);
        for (const { does, what } of touches(call, cwd, fds.get(who))) {
            if (who === 'nginx' && isNginx(what)) continue;
            found.set(`${who} ${does} ${what}`, { who, does, what });
        }
    }
    return [...found.values()];
}

test("is what docs/security.md's table says, and all of it", { skip: SKIP }, () => {
    const escape = (text) => text.replace(/[.+?^$()[\]{}\\*|]/g, '\\$&');
    const dir = escape(server.dir);
    const config = { chat: 'chat', session: 'keys/one', agent: 'keys/one', nginx: '(?:chat|keys/one)' };
    const tables = Object.fromEntries(Object.entries(config).map(([who, name]) => [who, readTable({
        STATE: `${dir}/claude-state`,
        CONFIG: `${dir}/claude-state/${name}`,
        DIRECTORY: `${dir}/work`,
        GATE: `${dir}/claude-gate-[0-9a-f]+`,
        BINARY: escape(process.env.TEST_CLAUDE_BINARY),
        PROVIDER: escape(`127.0.0.1:${server.stubPort}`),
        UID: String(process.getuid()),
        PID: '\\d+',
    })]));
    const unknown = [];
    const seen = new Set();
    for (const { who, does, what } of touched()) {
        const rows = tables[who].filter((row) => row.who.has(who) && row.does === does && row.patterns.some((pattern) => pattern.test(what)));
        for (const { line } of rows) seen.add(line);
        if (!rows.length) unknown.push(`${who} ${does} ${what}`);
    }
    assert.equal(unknown.sort().join('\n'), '', 'it is not in the table');
    assert.equal(tables.nginx.map(({ line }) => line).filter((line) => !seen.has(line)).join('\n'), '', 'the table has what nobody does');
});
