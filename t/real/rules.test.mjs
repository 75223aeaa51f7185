/*
 * DESIGN.md's rules, on the processes of the real CLI: what an outsider sees of them in /proc while
 * they work for two keys. The stand-in's are in t/175-rules.t, which also sees the signal mask: the
 * real CLI sets one of its own.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { KEY, OTHER_KEY, SANITIZED, SLOW, isAlive, waitFor } from './lib/server.mjs';
import { ask, endKilled, rowsIn, startEngine } from './lib/engine.mjs';
import { assistant, scripted, system, user } from './lib/upstream.mjs';

const SECRET = 'words-of-a-client';
const NGINX_SECRET = 'hunter2';
const GONE_WITHIN = SANITIZED ? 10000 : 3000;           /* 2 s by the design */

/* Without that privilege a hard limit that the worker has lowered cannot be put back. */
const MAY_RAISE = spawnSync('sh', ['-c', 'ulimit -n 900 && ulimit -n 950'], { stdio: 'ignore' }).status === 0;

const proc = (pid, file) => readFileSync(`/proc/${pid}/${file}`, 'latin1');

function descriptors(pid) {
    const found = new Map();
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        try {
            found.set(Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`));
        } catch {
            /* closed meanwhile */
        }
    }
    return found;
}

/* The inodes of the sockets that listen on a port, as proc(5) has them in net/tcp. */
function listening(port) {
    const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    return readFileSync('/proc/net/tcp', 'utf8').split('\n').map((line) => line.trim().split(/\s+/))
        .filter(([, address, , state]) => address === local && state === '0A')
        .map((fields) => `socket:[${fields[9]}]`);
}

/* What a client says, wherever it can say something; the model goes on for long. */
const request = (n, key) => ({
    key,
    messages: [
        system(`${SECRET}-system-${n}`), user(`${SECRET}-past-${n}`), assistant(`${SECRET}-answer-${n}`),
        user(scripted({ deltas: Array.from({ length: 200 }, (_, i) => `piece ${i} `), gap_ms: 100 }, `${SECRET}-${n} `)),
    ],
    tools: [{ type: 'function', function: { name: `words-tool-${n}`, description: `${SECRET}-tool`, parameters: { type: 'object' } } }],
    stop: [`${SECRET}-stop`],
    user: `${SECRET}-user`,
    headers: { 'x-session-id': n % 2 ? `${SECRET}-session-${n}` : randomUUID(), 'x-request-id': `${SECRET}-id-${n}` },
});

describe('processes at work for two keys', () => {
    let server;
    let streams;
    let clis;

    before(async () => {
        server = await startEngine({
            env: { NAMED: 'value' },
            main: `worker_priority 5; worker_rlimit_nofile 1000; env SECRET_OF_NGINX=${NGINX_SECRET};`,
            http: 'claude_warm 1; claude_max_concurrent 8; claude_max_processes 12;',
        });
        streams = [0, 1, 2, 3].map((n) => ask(server, request(n, n < 2 ? KEY : OTHER_KEY))
            .catch((error) => ({ error })));
        await waitFor('four turns that answer', async () => {
            const { processes } = await server.status();
            return processes.filter(({ state }) => state === 'busy').length === 4;
        }, 20000 * SLOW);
        clis = server.clis().filter((pid) => !/keeper|spawner/.test(proc(pid, 'comm')));
        assert.ok(clis.length >= 4, String(clis));
    });
    after(() => endKilled(server));

    test('rule 1: no client text in the arguments of any process', () => {
        const every = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)
            .filter((pid) => pid !== process.pid);
        for (const pid of every) {
            let text = '';
            try {
                text = proc(pid, 'cmdline');
            } catch {
                /* gone meanwhile */
            }
            assert.ok(!text.includes(SECRET) && !text.includes('words-tool'), `process ${pid}: ${text}`);
        }
        for (const pid of clis) assert.ok(proc(pid, 'cmdline').length < 8192);
    });

    test('rule 3: three pipes of its own, and nothing that nginx has open', () => {
        const nginx = [server.nginx.pid, ...server.workers()];
        const theirs = new Set(nginx.flatMap((pid) => [...descriptors(pid).values()])
            .filter((name) => /^(socket|pipe):|\.log$/.test(name)));
        const listeners = listening(server.port);
        assert.ok(listeners.length >= 1);
        const seen = new Map();
        for (const pid of clis) {
            const fds = descriptors(pid);
            for (const fd of [0, 1, 2]) {
                assert.match(fds.get(fd), /^pipe:/);
                assert.ok(!seen.has(fds.get(fd)), 'a pipe of two CLIs');
                seen.set(fds.get(fd), pid);
            }
            const own = [0, 1, 2].map((fd) => fds.get(fd));          /* the CLI duplicates them */
            for (const [fd, name] of fds) {
                assert.ok(own.includes(name) || !theirs.has(name), `${name} is nginx's, and descriptor ${fd} of ${pid}`);
                assert.ok(!listeners.includes(name), `${name} listens for nginx`);
            }
            assert.doesNotMatch(proc(pid, 'maps'), /\/dev\/zero/, 'the shared zone is mapped');
        }
    });

    test('rule 3: the environment that is named, and nothing of nginx, a key or a client', () => {
        const named = ['HOME', 'PATH', 'NAMED', 'TMPDIR', 'ANTHROPIC_BASE_URL', 'ANTHROPIC_API_KEY'];
        for (const pid of clis) {
            const text = proc(pid, 'environ');
            const names = text.split('\0').filter(Boolean).map((entry) => entry.split('=')[0]);
            assert.deepEqual(names.filter((name) => !named.includes(name)
                && !/^(CLAUDE_CODE|DISABLE|ENABLE|MAX_MCP|CLAUDE)_/.test(name)), []);
            assert.match(text, /(^|\0)NAMED=value\0/);
            for (const word of [SECRET, NGINX_SECRET, KEY, OTHER_KEY]) assert.ok(!text.includes(word), word);
        }
    });

    test('rule 3: no priority or limit of the worker', () => {
        const limit = (pid) => /^Max open files\s+(\S+)/m.exec(proc(pid, 'limits'))[1];
        for (const pid of clis) {
            const nice = Number(/\) (.*)/s.exec(proc(pid, 'stat'))[1].split(' ')[16]);
            if (process.getuid() === 0) assert.equal(nice, 0);
            if (MAY_RAISE) assert.equal(limit(pid), limit(server.nginx.pid));
        }
    });

    test('rule 5: a killed worker takes its CLIs along, and no other', async () => {
        const parents = new Map();
        for (const { pid, worker } of await rowsIn(server, 'busy')) parents.set(pid, worker);
        const victim = [...parents.values()][0];
        const its = [...parents].filter(([, owner]) => owner === victim).map(([pid]) => pid);
        process.kill(victim, 'SIGKILL');
        await waitFor('its CLIs to be gone', () => its.every((pid) => !isAlive(pid)), GONE_WITHIN);
        for (const [pid, owner] of parents) if (owner !== victim) assert.ok(isAlive(pid), `${pid} of ${owner}`);
    });

    test('rule 5: the end of nginx ends all', async () => {
        const gone = once(server.nginx, 'exit');
        server.nginx.kill('SIGTERM');
        await gone;
        await waitFor('all CLIs to be gone', () => clis.every((pid) => !isAlive(pid)), GONE_WITHIN);
        await Promise.all(streams);
    });
});
