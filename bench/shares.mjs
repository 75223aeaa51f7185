/*
 * Shares, a table of bench/hostile: how long key B waits for its first token while key A keeps so
 * many requests open, beside an idle server in the same run. A's answers take a turn each, a second
 * more or less, and as one ends the next is asked. With n a request of A's is for n answers. The
 * last row is no load but a storm: A opens requests and resets them after 5 ms, 20 a second.
 *
 * B's bound is A's longest turn, since the next place that is free is B's; the storm's, one CLI a second.
 */

import http from 'node:http';
import http2 from 'node:http2';
import { rmSync } from 'node:fs';

const PLACES = 8;
const TURN = 1000;                      /* ms that an answer of A's takes, give or take a half */
const LONGEST = TURN * 3 / 2;
const SLACK = 250;                      /* ms that a busy machine may take besides */
const STORM_LASTS = 15000;              /* ms */
const PAIRS = 20;                       /* B's requests in a row of the table */
const STORM = 50;                       /* ms between two requests of the storm */
const KEYS = ['sk-shares-a', 'sk-shares-b'];

/* [A's requests, answers in each] */
const ROWS = [[0, 1], [10, 1], [60, 1], [200, 1], [10, 8], [60, 8]];

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const question = (text, with_ = {}) => JSON.stringify({ model: 'sonnet', stream: true, messages: [{ role: 'user', content: text }], ...with_ });
const quick = question('[[bench n=1]]');

/* The stand-in waits so often, before and behind its delta: found out first. */
let gaps = 1;
const slow = (n, ms = TURN * (0.5 + Math.random())) => question(`[[bench n=1 gap=${Math.round(ms * 1000 / gaps)}]]`, n > 1 ? { n } : {});

/* The status, and the time to the first delta with a text, ms; ends with the answer, or by leave(). */
function ask(port, key, body) {
    const began = performance.now();
    let req;
    const done = new Promise((resolve) => {
        const out = { status: 0, first: Infinity };
        req = http.request({ port, method: 'POST', path: '/v1/chat/completions', agent: false, headers: {
            authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body),
        } });
        req.on('error', () => resolve(out));
        req.on('response', (res) => {
            out.status = res.statusCode;
            res.on('data', (data) => {
                if (out.first === Infinity && data.includes('"content":"')) out.first = performance.now() - began;
            });
            res.on('error', () => resolve(out));
            res.on('end', () => resolve(out));
        });
        req.end(body);
    });
    return { done, leave: () => req.destroy() };
}

/* So many requests of A's at any time, until end() */
function flood(port, requests, n) {
    const open = new Set();
    let over = false;
    let refused = 0;
    const next = async () => {
        while (!over) {
            const one = ask(port, KEYS[0], slow(n));
            open.add(one);
            const { status } = await one.done;
            open.delete(one);
            if (!over && status !== 200) {
                refused++;
                await sleep(TURN / 2);
            }
        }
    };
    const all = Array.from({ length: requests }, next);
    return {
        refused: () => refused,
        async end() {
            over = true;
            for (const one of open) one.leave();
            await Promise.all(all);
        },
    };
}

function storm(port) {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    let count = 0;
    session.on('error', () => {});
    const timer = setInterval(() => {
        const req = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', authorization: `Bearer ${KEYS[0]}`, 'content-type': 'application/json' });
        req.on('error', () => {});
        req.end(slow(1));
        count++;
        setTimeout(() => req.close(http2.constants.NGHTTP2_CANCEL), 5);
    }, STORM);
    return {
        count: () => count,
        end() {
            clearInterval(timer);
            session.destroy();
        },
    };
}

const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

/* B's requests one after the other, at moments that A's turns do not set; for so many ms at least */
async function waits(port, least = 0) {
    const until = performance.now() + least;
    const times = [];
    while (times.length < PAIRS || performance.now() < until) {
        await sleep(20 + Math.random() * TURN / 4);
        const { status, first } = await ask(port, KEYS[1], quick).done;
        times.push(status === 200 ? first : Infinity);
    }
    return times;
}

function print(name, times, idle, more) {
    const mid = median(times);
    const worst = Math.max(...times);
    const over = worst > LONGEST + SLACK;
    console.log(`${over ? '*' : ' '} ${name.padEnd(38)} ${mid.toFixed(1).padStart(9)} ${worst.toFixed(1).padStart(9)} ${(mid / idle).toFixed(1).padStart(8)} ${(worst / LONGEST).toFixed(2).padStart(9)}  ${more}`);
    return over ? 1 : 0;
}

export async function shares({ prepare, claude }) {
    const servroot = prepare({ name: 'shares', claude });
    const { freePort, startServer, waitFor } = await import('../t/real/lib/server.mjs');
    const port2 = await freePort();
    const keys = KEYS.map((key, i) => `claude_api_key ${key} name=${'ab'[i]};`).join(' ');
    const server = await startServer({
        http: `claude_max_concurrent ${PLACES}; claude_queue 1000 timeout=60s; access_log off;
               server { listen 127.0.0.1:${port2} http2; ${keys} location /v1/ { claude_openai; } }`,
        server: keys,
    });
    const { port } = server;
    let failed = 0;

    const idle = () => waitFor('no turn', async () => {
        const { turns } = await server.status();
        return turns.running === 0 && turns.waiting === 0;
    }, 60000);

    try {
        await waits(port);                                              /* first use of everything */
        const asked = performance.now();
        await ask(port, KEYS[1], slow(1, TURN / 4)).done;
        gaps = Math.max(1, Math.round((performance.now() - asked) / (TURN / 4)));

        console.log(`\nshares: key B's first token while key A has requests open, ${PLACES} places, ${TURN / 2} to ${TURN * 3 / 2} ms an answer of A's`);
        console.log(`  ${''.padEnd(38)}    median   longest    times  longest,`);
        console.log(`  ${''.padEnd(38)}        ms        ms     idle  A's turn`);

        let alone;
        for (const [requests, n] of ROWS) {
            const a = flood(port, requests, n);
            const want = Math.min(requests * n, PLACES);
            await waitFor('the places to be taken', async () => (await server.status()).turns.running >= want, 60000);
            const times = await waits(port);
            alone ??= median(times);
            const name = requests ? `${requests} requests${n > 1 ? ` for ${n} answers each` : ''}` : 'idle';
            failed += print(name, times, alone, a.refused() ? `${a.refused()} of A's refused` : '');
            await a.end();
            await idle();
        }

        const before = (await server.status()).spawned;
        const began = performance.now();
        const a = storm(port2);
        const times = await waits(port, STORM_LASTS);
        const seconds = (performance.now() - began) / 1000;
        a.end();
        const { spawned } = await server.status();
        failed += print(`${(a.count() / seconds).toFixed(0)} a second, opened and reset`, times, alone, `${((spawned - before) / seconds).toFixed(2)} CLIs started a second`);
        failed += spawned - before > seconds;
        await idle();
    } finally {
        await server.end();
        rmSync(servroot, { recursive: true, force: true });
    }
    return failed;
}
