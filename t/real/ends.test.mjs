/*
 * A process that waits for results of the client's tools and ends asks the model nothing more,
 * however it ends: at an end of file the CLI would answer its own call, with "interrupted", and ask
 * the model what it makes of that. Nobody would hear it, and somebody would pay for it.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { OTHER_KEY, SLOW, isAlive, waitFor } from './lib/server.mjs';
import { ask, endKilled, startEngine } from './lib/engine.mjs';
import { calling, functionTool } from './lib/tools.mjs';
import { user } from './lib/upstream.mjs';

const ALPHA = functionTool('alpha');

const start = (http) => startEngine({ workers: 1, http: `claude_warm 0; ${http}` });

/* A process that waits for the result of a call: {id: of the call; worker, keeper, cli: pids}. */
let questions = 0;

async function waiting(server) {
    const oneWorker = () => waitFor('one worker', () => {
        const pids = server.workers();
        return pids.length === 1 && pids;
    }, 20000 * SLOW);
    await oneWorker();
    const id = `toolu_${++questions}_`;
    const { status, error, finish } = await ask(server, {
        messages: [user(`question ${calling([[id, 'alpha', { x: '1' }]])}`)], tools: [ALPHA],
    });
    assert.deepEqual([status, error, finish], [200, undefined, 'tool_calls']);
    const [{ pid: cli }] = await waitFor('its row alone', async () => {
        const { processes } = await server.status();
        return processes.length === 1 && processes[0].state === 'idle' && processes;
    }, 20000 * SLOW);
    const keeper = Number(/^PPid:\s(\d+)$/m.exec(readFileSync(`/proc/${cli}/status`, 'utf8'))[1]);
    assert.equal(readFileSync(`/proc/${keeper}/comm`, 'utf8').trim(), 'claude-keeper');

    /* the one of before may have been about to end */
    const [worker] = await oneWorker();
    return { id, worker, keeper, cli };
}

/* The calls of the model for its question, when the process has ended and what it has sent is read. */
async function callsOf(server, { id, cli }) {
    await waitFor('the process to end', () => !isAlive(cli), 20000 * SLOW);
    await fetch(`http://127.0.0.1:${server.stubPort}/_account`);
    await waitFor('upstream to be left alone', () => server.stub.stats().active === 0, 10000 * SLOW);
    return server.stub.requests.map(({ body }) => body.messages).filter((messages) => JSON.stringify(messages).includes(id));
}

async function endsQuietly(server, end) {
    const one = await waiting(server);
    await end(one);
    const calls = await callsOf(server, one);
    assert.equal(calls.length, 1, `it has asked once more: ${JSON.stringify(calls.at(-1).at(-1))}`);
}

describe('one that waits for results asks nothing more when it ends', { concurrency: 3 }, () => {
    describe('by signals', { concurrency: 1 }, () => {
        let server;
        before(async () => { server = await start('claude_max_concurrent 2; claude_max_processes 4;'); });
        after(() => server && endKilled(server));

        const kill = (who, signal) => (all) => process.kill(all[who], signal);

        for (const [name, end] of Object.entries({
            'a reload': () => server.nginx.kill('SIGHUP'),
            'QUIT of its worker': kill('worker', 'SIGQUIT'),
            'TERM of its worker': kill('worker', 'SIGTERM'),
            'KILL of its worker': kill('worker', 'SIGKILL'),
            'TERM of its keeper': kill('keeper', 'SIGTERM'),
            'KILL of its keeper': kill('keeper', 'SIGKILL'),
            'TERM': kill('cli', 'SIGTERM'),
        })) {
            test(name, () => endsQuietly(server, end));
        }
    });

    test('claude_idle_timeout', async () => {
        const server = await start('claude_max_concurrent 2; claude_max_processes 4; claude_idle_timeout 2s;');
        try {
            await endsQuietly(server, () => {});
        } finally {
            await server.end();
        }
    });

    test('it gives way to another', async () => {
        const server = await start('claude_max_concurrent 1; claude_max_processes 1;');
        try {
            await endsQuietly(server, async () => {
                const { status, content } = await ask(server, { key: OTHER_KEY, messages: [user('another')] });
                assert.deepEqual([status, content], [200, 'echo: another']);
            });
        } finally {
            await server.end();
        }
    });

    for (const signal of ['SIGQUIT', 'SIGTERM']) {
        test(`${signal} of nginx`, async () => {
            const server = await start('claude_max_concurrent 2; claude_max_processes 4;');
            try {
                await endsQuietly(server, () => server.nginx.kill(signal));
            } finally {
                await server.end();
            }
        });
    }
});
