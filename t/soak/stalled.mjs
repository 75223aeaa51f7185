#!/usr/bin/env node
/*
 * Soak: 2,000 streams at once whose clients read nothing, of every kind: chats, several answers,
 * several prompts, HTTP/2 without a window, behind a heartbeat. The worker's memory stays below the
 * bound that docs/operations.md names, and when the clients read, all of it is there. Not for CI:
 * t/115-backpressure.t and t/116-stalled.t have some of each.
 *
 *   t/soak/stalled.mjs [--streams 2000] [--seconds 20]
 *
 * It takes the stand-in bench/cli.c, and needs a C compiler, nginx and
 * build/ngx_http_claude_module.so; NGINX and MODULE name others.
 */

import { readFileSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { parseArgs } from 'node:util';
import { prepare } from './env.mjs';

const { values: options } = parseArgs({
    options: { streams: { type: 'string', default: '2000' }, seconds: { type: 'string', default: '20' } },
});
const STREAMS = Number(options.streams);
const SECONDS = Number(options.seconds);                    /* how long they stand still */
const DELTAS = 600;
const PAD = 700;
const LATER = 8000;                                         /* ms until those behind a heartbeat hear anything */

const servroot = prepare({ name: 'stalled' });

const { KEY, ROOT, freePort, sleep, startServer, waitFor } = await import('../real/lib/server.mjs');
const { compileStandIn } = await import('../lib/measure.mjs');

/* KB a stream: the last number of that sentence. */
const BOUND = Number(/takes at most (\d+) KB/.exec(readFileSync(`${ROOT}/docs/operations.md`, 'utf8').replace(/\s+/g, ' '))?.[1]);
if (!BOUND) throw new Error('docs/operations.md names no bound');

const h2Port = await freePort();
const server = await startServer({
    workers: 1,
    connections: 6 * STREAMS + 100,
    zone: '16m',
    main: `worker_rlimit_nofile ${6 * STREAMS + 200};`,
    listen: 'sndbuf=64k',
    claude: (dir) => compileStandIn(dir),
    http: `claude_warm 0; claude_max_concurrent ${STREAMS + 8}; claude_max_processes ${STREAMS + 8}; claude_heartbeat 2s;
        claude_timeout 1h; send_timeout 1h; keepalive_timeout 1h;`,
    server: `listen 127.0.0.1:${h2Port} http2 sndbuf=64k; http2_max_concurrent_streams 128;`,
});

const worker = Number(server.workers()[0]);
const rss = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${worker}/status`, 'latin1'))[1]);
const spent = () => Number(readFileSync(`/proc/${worker}/schedstat`, 'latin1').split(' ')[0]);

const question = (at = 0) => `[[bench n=${DELTAS} gap=0 pad=${PAD} stamp=0${at ? ` at=${at}` : ''}]]`;
const later = () => question(Number(process.hrtime.bigint() / 1000n) + LATER * 1000);
const chat = (text, more) => ['/v1/chat/completions', { model: 'sonnet', stream: true, messages: [{ role: 'user', content: text }], ...more }];

/* {texts: bytes that have come, done} of a stream, once it is read. */
function reader() {
    let rest = '';
    const got = { text: 0, done: false };
    return {
        got,
        take(data) {
            rest += data;
            const lines = rest.split('\n');
            rest = lines.pop();
            for (const line of lines) {
                if (line === 'data: [DONE]') got.done = true;
                else if (line.startsWith('data: ')) {
                    const [choice] = JSON.parse(line.slice(6)).choices;
                    got.text += (choice?.delta?.content ?? choice?.text ?? '').length;
                }
            }
        },
    };
}

/* Both ways give {n: answers, read: resolves to what came when it was read to its end}. */
function overHttp1(n, [path, body]) {
    const text = JSON.stringify(body);
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`POST ${path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer ${KEY}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    return {
        n,
        read: () => new Promise((resolve) => {
            const { take, got } = reader();
            socket.setEncoding('latin1').on('data', take).on('close', () => resolve(got));
        }),
    };
}

const sessions = [];

function overHttp2(n, [path, body]) {
    if (overHttp2.streams++ % 100 === 0) {
        sessions.push(http2.connect(`http://127.0.0.1:${h2Port}`, { settings: { initialWindowSize: 0 } }));
    }
    const session = sessions.at(-1);
    const stream = session.request({ ':method': 'POST', ':path': path, authorization: `Bearer ${KEY}` });
    stream.on('error', () => {});
    stream.end(JSON.stringify(body));
    return {
        n,
        read: () => new Promise((resolve) => {
            const { take, got } = reader();
            stream.setEncoding('latin1').on('data', take).on('close', () => resolve(got));
        }),
        session,
    };
}
overHttp2.streams = 0;

const kinds = {
    chat: () => overHttp1(1, chat(question())),
    'two answers': () => overHttp1(2, chat(question(), { n: 2 })),
    'two prompts': () => overHttp1(2, ['/v1/completions', { model: 'sonnet', stream: true, prompt: [question(), question()] }]),
    'HTTP/2': () => overHttp2(1, chat(question())),
    'behind a heartbeat': () => overHttp2(1, chat(later())),
};

let failures = 0;
const check = (name, good) => {
    console.log(`${good ? 'ok' : 'not ok'} - ${name}`);
    failures += !good;
};

/* first use of everything */
await overHttp1(1, chat(question())).read();
await server.idle();
const before = rss();

const open = [];
let answers = 0;
const names = Object.keys(kinds);
for (let i = 0; answers < STREAMS; i++) {
    const name = names[i % names.length];
    const one = kinds[name]();
    answers += one.n;
    open.push({ name, ...one });
    if (i % 20 === 19) await sleep(100);                    /* starts take their time */
}

const turns = async () => (await server.status()).turns;
await waitFor('all to have their places', async () => (await turns()).running === answers, 120000);
await sleep(LATER);

/* the worker does nothing any more but beat */
await waitFor('all to stand still', async () => {
    const since = spent();
    await sleep(1000);
    return spent() - since < 50e6;
}, 120000);

let most = 0;
const until = Date.now() + SECONDS * 1000;
while (Date.now() < until) {
    most = Math.max(most, rss());
    await sleep(500);
}
const each = (most - before) / answers;
console.log(`# ${answers} streams in ${open.length} requests: ${each.toFixed(1)} KB each, ${most} KB in all`);
check(`each takes at most ${BOUND} KB`, each <= BOUND);
check('all are there', (await turns()).running === answers);

/* they read: all has been kept */
for (const session of sessions) {
    session.settings({ initialWindowSize: 1 << 24 });
    session.setLocalWindowSize(1 << 30);
}
let whole = 0;
for (let i = 0; i < open.length; i += 100) {
    const some = open.slice(i, i + 100);
    const got = await Promise.all(some.map(({ read }) => read()));
    got.forEach(({ text, done }, k) => {
        if (done && text === some[k].n * DELTAS * PAD) whole++;
        else console.log(`# ${some[k].name}: ${text} bytes, ${done ? 'an end' : 'no end'}`);
    });
}
check(`${whole} of ${open.length} are whole`, whole === open.length);
for (const session of sessions) session.close();
await server.idle(30000);
check('and no more memory was taken', (rss() - before) / answers <= BOUND);
await server.end();
rmSync(servroot, { recursive: true, force: true });
process.exit(failures ? 1 : 0);
