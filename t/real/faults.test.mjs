/*
 * Faults of the machine with the real CLI: no room for the transcripts of sessions, and a
 * new binary in the midst of their turns.
 */

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SLOW, isAlive, waitFor } from './lib/server.mjs';
import { ask, endIdle, logged, startEngine } from './lib/engine.mjs';
import { conversation, scripted, user } from './lib/upstream.mjs';

const HTTP = 'claude_warm 0; claude_max_concurrent 4; claude_max_processes 6;';

async function turn(server, session, content) {
    const answer = await ask(server, { messages: [user(content)], headers: session ? { 'x-session-id': session } : {} });
    return { ...answer, ...await logged(server, answer.tag) };
}

const asked = (server) => conversation(server.stub.requests.at(-1)).map(([, ...texts]) => texts.join(''));

/* A state path of its own size; false where that is not allowed. */
function smallState(state) {
    mkdirSync(state, { mode: 0o700 });
    return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'none', state]).status === 0;
}

function fill(file) {
    const block = Buffer.alloc(4096, 'x');
    writeFileSync(file, '');
    try {
        for (;;) appendFileSync(file, block);
    } catch (error) {
        assert.equal(error.code, 'ENOSPC');
    }
}

test('a full disk: all is answered, and no session is resumed with a hole in it', async (t) => {
    let mounted = false;
    let state;
    const server = await startEngine({
        http: HTTP,
        prepare: (dir) => {
            state = join(dir, 'claude-state');
            mounted = smallState(state);
        },
    });
    if (!mounted) {
        await server.end();
        t.skip('no file system may be mounted here');
        return;
    }
    try {
        const [id, begun] = [randomUUID(), randomUUID()];
        const ok = async (session, content, rung) => {
            const answer = await turn(server, session, content);
            assert.equal(answer.status, 200, JSON.stringify(answer.error));
            assert.equal(answer.content, `echo: ${content}`);
            if (rung) assert.equal(answer.rung, rung);
        };
        await ok(id, 'a', 'cold');
        await endIdle(server);
        await ok(id, 'b', 'resumed');
        assert.deepEqual(asked(server), ['a', 'echo: a', 'b']);

        fill(join(state, 'full'));
        await ok(null, 'plain');
        await ok(id, 'c', 'live');
        assert.deepEqual(asked(server), ['a', 'echo: a', 'b', 'echo: b', 'c']);
        await ok(begun, 'x', 'cold');
        await ok(begun, 'y', 'live');

        /* what may have a hole is forgotten as a whole, also when there is room again */
        rmSync(join(state, 'full'));
        await ok(id, 'd', 'live');
        assert.deepEqual(asked(server), ['a', 'echo: a', 'b', 'echo: b', 'c', 'echo: c', 'd']);
        await endIdle(server);
        await ok(id, 'e', 'cold');
        assert.deepEqual(asked(server), ['e']);
        await ok(begun, 'z', 'cold');
        assert.deepEqual(asked(server), ['z']);

        /* and is a session like any other from then on */
        await endIdle(server);
        await ok(id, 'f', 'resumed');
        assert.deepEqual(asked(server), ['e', 'echo: e', 'f']);

        const { turns } = await server.status();
        assert.equal(turns.running, 0);
        assert.equal(turns.failed, 0);
    } finally {
        /* its directory goes at the end, so the file system has to go before */
        for (const pid of server.clis()) process.kill(pid, 'SIGTERM');
        await waitFor('the CLIs to end', () => server.clis().length === 0);
        spawnSync('umount', ['-l', state]);
        await server.end();
    }
});

const pidIn = (file) => {
    try {
        return Number(readFileSync(file, 'utf8'));
    } catch {
        return 0;
    }
};

/* The same server once more, as a daemon: nginx obeys no USR2 where its parent still waits for it. */
async function asDaemon(server) {
    const gone = once(server.nginx, 'exit');
    server.nginx.kill('SIGQUIT');
    await gone;
    const conf = join(server.dir, 'nginx.conf');
    writeFileSync(conf, readFileSync(conf, 'utf8').replace('daemon off;', 'daemon on;'));
    const { status } = spawnSync(process.env.TEST_NGINX_BINARY ?? 'nginx',
        ['-e', join(server.dir, 'error.log'), '-p', `${server.dir}/`, '-c', conf], { stdio: 'ignore' });
    assert.equal(status, 0);
    return waitFor('its pid', () => pidIn(join(server.dir, 'nginx.pid')));
}

test('a new binary: a stream finishes in the old tree, named sessions go on in the new one', async () => {
    const server = await startEngine({ http: HTTP });
    const masters = new Set();
    try {
        const old = await asDaemon(server);
        masters.add(old);
        const [id, busy] = [randomUUID(), randomUUID()];
        assert.equal((await turn(server, id, 'a')).content, 'echo: a');
        const slow = turn(server, busy, scripted({ deltas: ['tick '], repeat: 25, gap_ms: 100 }));
        slow.catch(() => {}); /* asked for below: where something fails before, that is what is told */
        await waitFor('the stream at the model', () => asked(server).at(-1).includes('tick'));

        process.kill(old, 'SIGUSR2');
        const now = await waitFor('a new master', () => {
            const pid = pidIn(join(server.dir, 'nginx.pid'));
            return pid && pid !== old && isAlive(pid) && pid;
        }, 10000 * SLOW);
        masters.add(now);
        process.kill(old, 'SIGWINCH');

        const next = await turn(server, id, 'b');
        assert.equal(next.content, 'echo: b', JSON.stringify(next.error));
        assert.deepEqual(asked(server), ['a', 'echo: a', 'b']);
        process.kill(old, 'SIGQUIT');

        const { content, done } = await slow;
        assert.equal(content, 'tick '.repeat(25));
        assert.equal(done, true);
        await waitFor('the old tree to end', () => !isAlive(old), 10000 * SLOW);
        assert.equal((await turn(server, busy, 'after')).content, 'echo: after');
        assert.deepEqual(asked(server).slice(1), ['tick '.repeat(25), 'after']);
        assert.equal((await turn(server, id, 'c')).content, 'echo: c');
        assert.equal(asked(server).length, 5);
    } finally {
        for (const pid of masters) if (isAlive(pid)) process.kill(pid, 'SIGTERM');
        await waitFor('all of nginx to end', () => ![...masters].some(isAlive), 10000 * SLOW);
        await server.end();
    }
});
