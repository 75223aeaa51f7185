#!/usr/bin/env node
/*
 * Soak: fifty keys, of which ten attack the other forty in every way at once: floods, requests for
 * eight answers, resets, readers that stall, bodies of 8 to 32 MB that are made to cost, sessions
 * with the names of others, bad JSON, a new conversation each time, agents. The forty chat, a turn
 * every few seconds, with markers of their own. None may lose a turn, and no marker may be where it
 * does not belong: in an answer to another key, in a file that has another key's, in a log, in a
 * status. And the time to their first token, of a hundred requests the fifth longest, is at most
 * twice what it was before the ten came: they come in the last three quarters. Not for CI.
 *
 *   t/soak/apart.mjs [--minutes 20] [--real] [--seed 1] [--only flood,resets]
 *
 * A model takes half a second to its first token here. The ten are in a process of their own, with
 * less of the machine's time than the others, so that what is measured is nginx and not this.
 * --real takes the pinned CLI and the stub of the Messages API instead of t/bin/claude; NGINX,
 * MODULE and CLAUDE name others.
 */

import { fork, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { ROOT, prepare } from './env.mjs';

const WAYS = ['flood', 'choices', 'resets', 'stalls', 'bodies', 'sessions', 'rubbish', 'talks', 'agents'];

const { values: options } = parseArgs({
    options: {
        minutes: { type: 'string', default: '20' },
        real: { type: 'boolean', default: false },
        seed: { type: 'string', default: '1' },
        only: { type: 'string', default: WAYS.join() },
        attack: { type: 'string' },                             /* for the process of the ten */
    },
});
const REAL = options.real;
const QUIET = 40;
const ATTACK = 10;
const PLACES = REAL ? 16 : 32;
const PROCESSES = REAL ? 60 : 128;
const PAUSE = REAL ? 12000 : 4000;      /* ms between two turns of a key */
const FIRST = 500;                      /* ms that the model takes to its first token */
const TURN_TIMEOUT = 10;                /* s */
const TIMES = 2;

const quietKey = (i) => `sk-apart-quiet-${i}`;
const attackKey = (i) => `sk-apart-attack-${i}`;

/* The name of a key's session, which the ten know of the forty */
const sessionOf = (i) => createHash('sha1').update(`${options.seed}-${i}`).digest('hex')
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-8$4-$5');

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const random = (n) => Math.floor(Math.random() * n);
const of = (list) => list[random(list.length)];

/* mk-q7-… is of quiet key 7, mk-a3-… of attacking key 3 */
const MARKER = /mk-[qa]\d+-\d+/g;
let made = 0;
const marker = (who) => `mk-${who}-${++made}`;
const owner = (found) => found.split('-')[1];

const script = (fields) => ` [[${REAL ? 'stub' : 'fake'} ${JSON.stringify(fields)}]]`;
/* the stub waits before message_start, and so does the stand-in */
const answer = (text, more = {}) => script({ text, [REAL ? 'first_ms' : 'delay_ms']: FIRST, ...more });

/* ---------------------------------------------------------------------------------------- */
/* A request                                                                                 */
/* ---------------------------------------------------------------------------------------- */

/*
 * {status, first: ms to the first text, content, done, error, headers}; leave: after so many ms;
 * stall: reads nothing after its first bytes, and leaves after so many ms.
 */
function chat(port, { key, messages, body, path = '/v1/chat/completions', headers = {}, leave, stall, ...with_ }) {
    const text = body ?? JSON.stringify({ model: 'sonnet', stream: true, messages, ...with_ });
    const began = performance.now();
    const out = { status: 0, first: Infinity, content: '', done: false };
    return new Promise((resolve) => {
        const req = http.request({ port, path, method: 'POST', agent: false, headers: {
            authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers,
        } });
        const end = (failure) => {
            clearTimeout(timer);
            resolve(Object.assign(out, failure && { failure }));
        };
        const timer = leave === undefined ? undefined : setTimeout(() => {
            req.destroy();
            end('left');
        }, leave);
        req.on('error', (error) => end(error.message));
        req.on('response', (res) => {
            const chunks = [];
            out.status = res.statusCode;
            out.headers = res.headers;
            res.on('error', (error) => end(error.message));
            res.on('data', (data) => {
                chunks.push(data);
                if (out.first === Infinity && data.includes('"content":"')) out.first = performance.now() - began;
                if (stall) {
                    res.pause();
                    setTimeout(() => {
                        req.destroy();
                        end('left');
                    }, stall);
                }
            });
            res.on('end', () => {
                out.text = Buffer.concat(chunks).toString('utf8');
                for (const line of out.text.split('\n')) {
                    if (!line.startsWith('data: {')) continue;
                    const event = JSON.parse(line.slice(6));
                    out.error ??= event.error;
                    out.content += event.choices?.[0]?.delta?.content ?? '';
                }
                out.done = out.status === 200 && out.text.endsWith('data: [DONE]\n\n');
                end();
            });
        });
        req.end(text);
    });
}

/* Markers in what a key was told that are not its own */
const foreign = (who, text = '') => (text.match(MARKER) ?? []).filter((found) => owner(found) !== who);

/* ---------------------------------------------------------------------------------------- */
/* The ten, in a process of their own                                                        */
/* ---------------------------------------------------------------------------------------- */

/* Makes bodies, which takes longer than a client may stand still: {shape, size} in, bytes out. */
const MAKER = `
const { parentPort, workerData } = require('node:worker_threads');
import(workerData.shapes).then(({ shapes }) => {
    const fit = shapes.filter(({ heavy, proxied }) => !heavy && !proxied);
    parentPort.on('message', ({ at, size }) => {
        const shape = fit[at % fit.length];
        parentPort.postMessage({ name: shape.name, body: Buffer.from(shape.make(size)), headers: shape.headers ?? {}, path: shape.path ?? '/v1/chat/completions' });
    });
});
`;

async function attackers() {
    const { port, port2 } = JSON.parse(options.attack);
    const counts = {};
    const found = [];
    let over = false;
    const count = (what, n = 1) => { counts[what] = (counts[what] ?? 0) + n; };
    const ways = new Set(options.only.split(','));

    const told = (i, way, got) => {
        count(`${way} ${got.status || got.failure}`);
        for (const one of foreign(`a${i}`, got.text)) {
            if (found.length < 20) found.push(`key a${i}, ${way}: ${one}`);
        }
    };
    const says = (i, more) => {
        const mine = marker(`a${i}`);
        return [{ role: 'user', content: `${mine}${answer(`${mine} `, more)}` }];
    };

    const loops = {
        /* eight at any time, each of half a second to two and a half: a place that is free is another's, none is taken back */
        flood: (i) => Array.from({ length: 8 }, async () => {
            while (!over) {
                const got = await chat(port, { key: attackKey(i), messages: says(i, { deltas: ['x '], repeat: 1 + random(20), gap_ms: 100 }) });
                told(i, 'flood', got);
                if (got.status !== 200) await sleep(500);
            }
        }),

        choices: async (i) => {
            while (!over) {
                told(i, 'choices', await chat(port, { key: attackKey(i), messages: says(i), n: 8 }));
                await sleep(1000);
            }
        },

        /* two a second each, so twenty; each other one for a session, or a process, of its own */
        resets: async (i) => {
            const session = http2.connect(`http://127.0.0.1:${port2}`);
            session.on('error', () => {});
            for (let n = 0; !over; n++) {
                const req = session.request({
                    ':method': 'POST', ':path': n % 8 === 1 && !REAL ? '/agent/chat/completions' : '/v1/chat/completions', authorization: `Bearer ${attackKey(i)}`,
                    'content-type': 'application/json', ...(n % 4 === 3 ? { 'x-session-id': sessionOf(`reset-${i}-${n}`) } : {}),
                });
                req.on('error', () => {});
                req.end(JSON.stringify({ model: of(['sonnet', 'opus', 'haiku']), stream: true, ...(n % 8 === 5 ? { n: 8 } : {}),
                    messages: [{ role: 'system', content: `system ${n}` }, ...says(i)] }));
                await sleep(n % 5 ? 5 : 600);
                req.close(http2.constants.NGHTTP2_CANCEL);
                count('resets');
                await sleep(500);
            }
            session.destroy();
        },

        stalls: async (i) => {
            while (!over) {
                told(i, 'stalls', await chat(port, { key: attackKey(i), stall: 3000,
                    messages: says(i, { deltas: ['y'.repeat(10000)], repeat: 500 }) }));
                await sleep(2000 * ATTACK / 4);
            }
        },

        /* one after the other over all of the ten: what they cost is of the machine, too */
        bodies: async (i) => {
            if (i) return;
            const maker = new Worker(MAKER, { eval: true, workerData: { shapes: join(ROOT, 't/lib/shapes.mjs') } });
            for (let n = 0; !over; n++) {
                maker.postMessage({ at: random(1e6), size: 8e6 + random(24e6) });
                const { name, body, path, headers } = await new Promise((resolve) => { maker.once('message', resolve); });
                const got = await chat(port, { key: attackKey(n % ATTACK), body, path, headers, leave: 15000 });
                told(n % ATTACK, 'bodies', got);
                if (process.env.DEBUG) console.log(`body of ${body.length}, ${name}: ${got.status || got.failure}`);
                await sleep(2000);
            }
            await maker.terminate();
        },

        sessions: async (i) => {
            while (!over) {
                told(i, 'sessions', await chat(port, { key: attackKey(i), messages: says(i), headers: { 'x-session-id': sessionOf(random(QUIET)) }, leave: 10000 }));
                await sleep(5000);
            }
        },

        rubbish: async (i) => {
            while (!over) {
                told(i, 'rubbish', await chat(port, { key: attackKey(i), body: of([
                    '{"messages":', '[]', '{"model":"sonnet","messages":[]}', '['.repeat(10000), 'null', '{"model":"sonnet","messages":[{"role":"user","content":"\\ud800"}]}',
                    `{"model":"${marker(`a${i}`)}","messages":[{"role":"user","content":"x"}]}`, `{"messages":[{"role":"${marker(`a${i}`)}"}]}`, '\0'.repeat(1000),
                ]) }));
                await sleep(200);
            }
        },

        talks: async (i) => {
            while (!over) {
                const history = Array.from({ length: random(20) }, (_, n) => [
                    { role: 'user', content: `${marker(`a${i}`)} ${n}` }, { role: 'assistant', content: 'yes' }]).flat();
                told(i, 'talks', await chat(port, { key: attackKey(i), messages: [{ role: 'system', content: `s ${random(1e9)}` }, ...history, ...says(i)] }));
                await sleep(1000);
            }
        },

        agents: async (i) => {
            while (!over && i < 2) {
                told(i, 'agents', await chat(port, { key: attackKey(i), path: '/agent/chat/completions', messages: says(i), leave: 10000 }));
                await sleep(5000);
            }
        },
    };

    process.once('message', () => { over = true; });
    await Promise.all(Array.from({ length: ATTACK }, (_, i) => WAYS.filter((way) => ways.has(way)).map((way) => loops[way](i))).flat(2));
    process.send({ counts, found }, () => process.exit());
}

/* ---------------------------------------------------------------------------------------- */
/* The forty                                                                                 */
/* ---------------------------------------------------------------------------------------- */

const problems = [];
function problem(text) {
    if (problems.length < 40) problems.push(text);
}

/* Each goes on with its conversation, or its session; some begin anew now and then. */
async function quiet(port, i, until, times) {
    const key = quietKey(i);
    const who = `q${i}`;
    const named = i % 4 === 0;
    let messages = [];
    await sleep(Math.random() * PAUSE);
    while (performance.now() < until) {
        const mine = marker(who);
        const content = `${mine} is mine${answer(`${mine} it is`)}`;
        if (!named && messages.length >= 10) messages = [];
        const got = await chat(port, { key, messages: named ? [{ role: 'user', content }] : [...messages, { role: 'user', content }],
            headers: named ? { 'x-session-id': sessionOf(i) } : {} });
        times.push(got.first);
        if (!got.done) problem(`key ${who} lost a turn: ${got.status} ${JSON.stringify(got.error ?? got.failure ?? got.text?.slice(0, 200))}`);
        else if (got.content.trim() !== `${mine} it is`) problem(`key ${who} got ${JSON.stringify(got.content.slice(0, 100))}`);
        for (const one of foreign(who, got.text)) problem(`key ${who} got ${one}`);
        messages.push({ role: 'user', content }, { role: 'assistant', content: got.content });
        await sleep(PAUSE / 2 + Math.random() * PAUSE);
    }
}

async function phase(server, name, seconds, times) {
    const began = performance.now();
    const spawned = (await server.status()).spawned;
    const until = began + seconds * 1000;
    const watch = (async () => {
        while (performance.now() < until) {
            await sleep(Math.min(15000, Math.max(100, until - performance.now())));
            const { turns, processes, failures } = await server.status();
            const states = {};
            for (const { state } of processes) states[state] = (states[state] ?? 0) + 1;
            console.log(`  ${name}, ${Math.max(0, Math.round((until - performance.now()) / 1000))} s left: ${times.length} turns, running ${turns.running}, waiting ${turns.waiting}, processes ${JSON.stringify(states)}`
                + (process.env.DEBUG ? ` ${JSON.stringify(failures)}` : ''));
            await looks(server);
        }
    })();
    await Promise.all([...Array.from({ length: QUIET }, (_, i) => quiet(server.port, i, until, times)), watch]);
    return { spawned: (await server.status()).spawned - spawned, seconds: (performance.now() - began) / 1000 };
}

/* ---------------------------------------------------------------------------------------- */
/* Where no marker belongs                                                                   */
/* ---------------------------------------------------------------------------------------- */

async function looks(server) {
    for (const path of ['/claude-status', '/claude-status?format=prometheus', '/health']) {
        const { text } = await server.request('GET', path, { key: quietKey(1) });
        for (const one of text.match(MARKER) ?? []) problem(`${path} has ${one}`);
    }
}

function* files(dir) {
    for (const name of readdirSync(dir)) {
        const file = join(dir, name);
        const stat = lstatSync(file, { throwIfNoEntry: false });
        if (stat?.isDirectory()) yield* files(file);
        else if (stat?.isFile()) yield file;
    }
}

/* A file may have markers of one key: a transcript of its session. Logs may have none. */
function searched(dir) {
    let n = 0;
    for (const file of files(dir)) {
        const text = readFileSync(file, 'latin1');
        const markers = text.match(MARKER) ?? [];
        const name = file.slice(dir.length);
        n++;
        if (/\.log$/.test(name) && markers.length) {
            problem(`${name} has ${markers[0]}: ${text.slice(Math.max(0, text.indexOf(markers[0]) - 200)).slice(0, 300)}`);
        }
        const owners = new Set(markers.map(owner));
        if (owners.size > 1) problem(`${name} has markers of ${[...owners].join(', ')}`);
    }
    return n;
}

/* ---------------------------------------------------------------------------------------- */

function findCli() {
    if (!REAL) return join(ROOT, 't/bin/claude');
    const found = [process.env.CLAUDE, ...['x64', 'x64-musl', 'arm64', 'arm64-musl'].map((kind) => join(ROOT,
        `node_modules/@anthropic-ai/claude-code-linux-${kind}/claude`))].find((file) => file
        && spawnSync(file, ['--version']).status === 0);
    if (!found) throw new Error('no Claude CLI: run npm ci, or set CLAUDE');
    return found;
}

const share = (times, part) => [...times].sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * part))];

function print(name, times, { spawned, seconds }) {
    console.log(`${name.padEnd(8)} ${String(times.length).padStart(6)} turns of the forty, first token: half in ${share(times, 0.5).toFixed(0)} ms, 95 % in ${share(times, 0.95).toFixed(0)} ms, `
        + `the longest ${Math.max(...times).toFixed(0)} ms; ${(spawned / seconds).toFixed(2)} CLIs started a second`);
}

async function main() {
    const servroot = prepare({ name: 'apart', claude: findCli() });
    const { freePort, startServer } = await import('../real/lib/server.mjs');
    const port2 = await freePort();
    const keys = [...Array.from({ length: QUIET }, (_, i) => `claude_api_key ${quietKey(i)} name=q${i};`),
        ...Array.from({ length: ATTACK }, (_, i) => `claude_api_key ${attackKey(i)} name=a${i};`)].join(' ');
    const agents = `location /agent/ { claude_openai; claude_tools Read; }`;
    const server = await startServer({
        main: 'worker_rlimit_nofile 8192;',
        http: `claude_max_concurrent ${PLACES}; claude_max_processes ${PROCESSES}; claude_queue 300 timeout=60s; claude_turn_timeout ${TURN_TIMEOUT}s;
               claude_idle_timeout 60s;
               log_format turns '$msec $claude_key_name $status $claude_process $claude_ttft $request_time';
               server { listen 127.0.0.1:${port2} http2; client_max_body_size 64m; ${keys} location /v1/ { claude_openai; } ${agents} }`,
        server: `client_max_body_size 64m; ${keys} ${agents} access_log turns.log turns;`,
    });
    const seconds = Number(options.minutes) * 60;
    const before = [];
    const after = [];
    let ten;

    try {
        const first = [];
        await phase(server, 'first', REAL ? 90 : Math.min(20, seconds / 9), first);     /* first use of everything: forty starts */
        const quietly = await phase(server, 'quiet', seconds / 4, before);

        ten = fork(process.argv[1], [...process.argv.slice(2), '--attack', JSON.stringify({ port: server.port, port2 })], { stdio: 'inherit' });
        os.setPriority(ten.pid, 10);
        const attacked = await phase(server, 'attack', seconds * 3 / 4, after);
        const told = new Promise((resolve) => { ten.once('message', resolve); });
        ten.send('enough');
        const { counts, found } = await told;
        ten = undefined;
        for (const one of found) problem(one);
        await looks(server);

        console.log(`the ten: ${JSON.stringify(counts)}`);
        print('quiet', before, quietly);
        print('attack', after, attacked);
        const times = share(after, 0.95) / share(before, 0.95);
        console.log(`95 %: ${times.toFixed(2)} times`);
        if (!(times <= TIMES)) problem(`the forty wait ${times.toFixed(2)} times as long for their first token`);
        console.log(`${searched(server.dir)} files were searched`);
        if (!existsSync(join(server.dir, 'error.log'))) problem('no error.log');
    } finally {
        ten?.kill();
        await server.end().catch((error) => problem(error.message));
        if (!process.env.KEEP) rmSync(servroot, { recursive: true, force: true });
        else console.log(servroot);
    }
    for (const text of problems) console.log(`FAILED: ${text}`);
    console.log(problems.length ? 'not clean' : 'clean');
    process.exitCode = problems.length ? 1 : 0;
}

await (options.attack ? attackers() : main());
