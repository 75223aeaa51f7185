#!/usr/bin/env node
/*
 * Soak: one worker starts thousands of CLI processes, one a turn, and the last start is as good as
 * the first: the same time, no descriptor more, no process left, nothing alarming in the log. (A
 * worker that forked its CLIs by itself would run out of nginx's process table after 1,024.)
 * Not for CI.
 *
 *   t/soak/spawns.mjs [--turns 5001] [--parallel 4]
 *
 * It takes the stand-in t/bin/claude, and needs nginx and build/ngx_http_claude_module.so; NGINX
 * and MODULE name others.
 */

import { readdirSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { prepare } from './env.mjs';

const { values: options } = parseArgs({
    options: { turns: { type: 'string', default: '5001' }, parallel: { type: 'string', default: '4' } },
});
const TURNS = Number(options.turns);
const PARALLEL = Number(options.parallel);
const WINDOW = Math.min(500, Math.floor(TURNS / 3));        /* turns whose times are compared */

const servroot = prepare({ name: 'spawns' });

const { KEY, startServer, waitFor } = await import('../real/lib/server.mjs');

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

/* claude_max_budget_usd: a process serves one turn, since the CLI counts over its whole life */
const server = await startServer({
    workers: 1,
    http: 'claude_warm 0; claude_max_concurrent 16; claude_max_budget_usd 100;',
});

const status = async () => (await fetch(`http://127.0.0.1:${server.port}/claude-status`, {
    headers: { authorization: `Bearer ${KEY}` },
})).json();

const none = () => waitFor('the last processes to end', async () => (await status()).processes.length === 0, 10000);

const worker = () => Number(server.workers()[0]);
const descriptors = () => readdirSync(`/proc/${worker()}/fd`).length;

const times = [];
let wrong = 0;
let next = 0;

async function client() {
    while (next < TURNS) {
        const n = next++;
        const begun = performance.now();
        const answer = await fetch(`http://127.0.0.1:${server.port}/v1/chat/completions`, {
            method: 'POST',
            headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
            body: JSON.stringify({ model: 'sonnet', messages: [{ role: 'user', content: `turn ${n}` }] }),
        });
        const { choices } = await answer.json();
        if (choices?.[0].message.content !== `echo: turn ${n}`) wrong++;
        times[n] = performance.now() - begun;
    }
}

let failures = 0;
const check = (name, good) => {
    console.log(`${good ? 'ok' : 'not ok'} - ${name}`);
    failures += !good;
};

try {
    await client.call(null, next = TURNS - 1);              /* one, to start the spawner */
    await none();
    const pid = worker();
    const before = descriptors();

    next = 0;
    await Promise.all(Array.from({ length: PARALLEL }, client));
    await none();

    const first = median(times.slice(0, WINDOW));
    const last = median(times.slice(-WINDOW));
    const { spawned, died } = await status();

    check(`${TURNS} turns, each in a process of its own (${spawned} started, ${died} died)`, wrong === 0
        && spawned === TURNS + 1);
    check(`the last ${WINDOW} took as long as the first: ${last.toFixed(1)} ms and ${first.toFixed(1)} ms at the median`,
        last < 1.5 * first);
    check(`one worker all the time`, worker() === pid);
    check(`no descriptor but for clients: ${before} before, ${descriptors()} after`, descriptors() <= before + 2 * PARALLEL);
    check('nothing alarming in the log', !/\[(alert|crit|emerg)\]/.test(server.log()));
} finally {
    await server.end();
    rmSync(servroot, { recursive: true, force: true });
}
process.exit(failures ? 1 : 0);
