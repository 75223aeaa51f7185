#!/usr/bin/env node
/*
 * Soak: mixed load over two workers, and every second something goes wrong: a CLI is killed, stopped
 * for a while, told to end; it dies, speaks nonsense, floods stderr, never ends its line in the midst
 * of an answer; upstream fails; a client sends rubbish, leaves, or stops reading; nginx is reloaded.
 * The turn that is hit gets its error, every other its own answer; in the end nothing is left over:
 * no process, no descriptor, no slot, no memory, nothing alarming in the log. Not for CI.
 *
 *   t/soak/mixed.mjs [--minutes 30] [--parallel 8] [--no-reload] [--seed 1]
 *
 * It takes the stand-in t/bin/claude, and needs nginx and build/ngx_http_claude_module.so; NGINX
 * and MODULE name others.
 */

import http from 'node:http';
import { readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { prepare } from './env.mjs';

const { values: options } = parseArgs({
    options: {
        minutes: { type: 'string', default: '30' },
        parallel: { type: 'string', default: '8' },
        seed: { type: 'string', default: '1' },
        'no-reload': { type: 'boolean', default: false },
    },
});
const MINUTES = Number(options.minutes);
const PARALLEL = Number(options.parallel);
const TALKS = 10 * PARALLEL;
const FAULT_EVERY = 1000;
const RELOAD_EVERY = options['no-reload'] ? Infinity : 60;      /* faults */
const MAX_LINE = 2_000_000;
const MAY_GROW_KB = 4096;           /* a worker's allocator keeps what the turns in flight once needed */

const servroot = prepare({ name: 'mixed' });

const { isAlive, readStream, sleep, startServer, waitFor } = await import('../real/lib/server.mjs');
const { random } = await import('../real/lib/engine.mjs');

const rng = random(Number(options.seed));
const KEYS = ['sk-soak-0', 'sk-soak-1', 'sk-soak-2'];
const counts = { turns: 0, answered: 0, left: 0, stalled: 0, hit: 0, faults: 0, reloads: 0, mixed: 0, wrong: 0, refused: 0 };
const problems = [];

function problem(kind, text) {
    counts[kind] += 1;
    if (problems.length < 20) problems.push(`${kind}: ${text}`);
}

/* ---------------------------------------------------------------------------------------- */
/* A turn                                                                                    */
/* ---------------------------------------------------------------------------------------- */

/* leave: after so many ms; stall: so many ms without reading, from the first byte on. */
function chat(server, { key, messages, stream = true, leave, stall, raw }) {
    const text = raw ?? JSON.stringify({ model: 'sonnet', stream, messages });
    const out = { status: 0, content: '', done: false, left: false };
    return new Promise((settle) => {
        const req = http.request(`${server.url}/v1/chat/completions`, {
            method: 'POST',
            agent: false,
            headers: {
                authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text),
            },
        });
        const failed = (error) => settle(Object.assign(out, { failure: out.left ? undefined : error.message }));
        if (leave !== undefined) {
            setTimeout(() => {
                out.left = true;
                req.destroy();
                settle(out);
            }, leave);
        }
        req.on('error', failed);
        req.on('response', (res) => {
            const chunks = [];
            out.status = res.statusCode;
            res.on('error', failed);
            res.on('data', (data) => chunks.push(data));
            if (stall) {
                res.pause();
                setTimeout(() => res.resume(), stall);
            }
            res.on('end', () => {
                const all = Buffer.concat(chunks).toString('utf8');
                try {
                    if (out.status === 200 && stream) {
                        Object.assign(out, readStream({ status: 200, text: all }));
                    } else {
                        const json = JSON.parse(all);
                        out.error = json.error;
                        out.content = json.choices?.[0].message.content ?? '';
                        out.done = out.status === 200;
                    }
                } catch (error) {
                    out.failure = `${error.message}: ${all.slice(0, 100)}`;
                }
                settle(out);
            });
        });
        req.end(text);
    });
}

const fake = (script) => ` [[fake ${JSON.stringify(script)}]]`;

let tags = 0;
const newTag = () => `tag-${++tags}-`;

/* Said to nobody else: a tag in an answer is that of its own question. */
function check(tag, answer, want) {
    const others = (answer.content.match(/tag-\d+-/g) ?? []).filter((found) => found !== tag);
    if (others.length) problem('mixed', `${tag} got ${others[0]}`);
    if (answer.done && answer.content !== want) {
        problem('wrong', `${tag} got ${JSON.stringify(answer.content).slice(0, 120)}`);
    }
}

async function turn(server, one) {
    const tag = newTag();
    const kind = rng.weighted({ short: 60, whole: 12, long: 8, slow: 12, stall: 3, leave: 5 });
    if (one.messages.length > 12 || rng.chance(0.1)) one.messages.length = 0;       /* a new conversation */
    else if (one.messages.length && rng.chance(0.1)) one.messages.splice(-2);       /* asked again */
    let text = `${tag} says ${one.id}`;
    let want = null;
    if (kind === 'long') text = `${tag}${'lorem ipsum äöü '.repeat(100 + rng.below(2000))}${tag}`;
    if (kind === 'slow' || kind === 'leave') {
        text += fake({ deltas: [`slow ${tag} `], repeat: 30, gap_ms: 20 });
        want = `slow ${tag} `.repeat(30);
    } else if (kind === 'stall') {
        text += fake({ deltas: [`${'x'.repeat(1000)}${tag}`], repeat: 1500 });
        want = `${'x'.repeat(1000)}${tag}`.repeat(1500);
    }
    const messages = [...one.messages, { role: 'user', content: text }];
    counts.turns += 1;
    const answer = await chat(server, {
        key: one.key, messages, stream: kind !== 'whole',
        leave: kind === 'leave' ? rng.below(500) : undefined, stall: kind === 'stall' ? 500 + rng.below(1500) : undefined,
    });
    if (answer.left) {
        counts.left += 1;
        return;
    }
    check(tag, answer, want ?? `echo: ${text}`);
    if (answer.done) {
        counts.answered += 1;
        counts.stalled += kind === 'stall';
        if (kind !== 'stall') {
            one.messages.push({ role: 'user', content: text }, { role: 'assistant', content: answer.content });
        }
    } else if (answer.error?.code === 'cli_failed' || answer.error?.code === 'timeout') {
        counts.hit += 1;                        /* its process was killed or stopped under it */
        hits += 1;
    } else {
        problem('refused', `${tag}: ${answer.status} ${JSON.stringify(answer.error ?? answer.failure)}`);
    }
}

/* ---------------------------------------------------------------------------------------- */
/* Faults                                                                                    */
/* ---------------------------------------------------------------------------------------- */

/* What a turn is told to do, and the code of its error; none: it is answered. */
const SCRIPTS = [
    [{ die_after_deltas: 2, deltas: ['a '], repeat: 5 }, 'cli_failed'],
    [{ die_before: 3 }, 'cli_failed'],
    [{ garbage_after_deltas: 2, deltas: ['a '], repeat: 5 }, 'cli_failed'],
    [{ half_line: true, exit_code: 0, deltas: ['a '] }, 'cli_failed'],
    [{ no_newline_bytes: 2 * MAX_LINE }, 'cli_failed'],
    [{ huge_line: 2 * MAX_LINE }, 'cli_failed'],
    [{ fork_child_holds_pipe: true, die_after_deltas: 1, deltas: ['a ', 'b '] }, 'cli_failed'],
    [{ error: { status: 529 } }, 'overloaded'],
    [{ error: { status: 429 } }, 'rate_limit_exceeded'],
    [{ drop_after_deltas: 1, deltas: ['a ', 'b '] }, 'overloaded'],
    [{ api_retry: 3, text: 'late' }, null, 'late'],
    [{ stderr_bytes: 100_000, text: 'loud' }, null, 'loud'],
    [{ text: 'cut', stop_reason: 'max_tokens' }, null, 'cut'],
];

/* Turns that a fault may have hit: no more errors of CLIs than these are explained. */
let struck = 0;
let hits = 0;

async function scripted(server) {
    const [script, code, want] = rng.of(SCRIPTS);
    const tag = newTag();
    const answer = await chat(server, { key: rng.of(KEYS), messages: [{ role: 'user', content: tag + fake(script) }] });
    const got = answer.error?.code ?? (answer.done ? null : answer.failure);
    if (got !== code || (code === null && answer.content !== want)) {
        /* the process may have been killed under it as well */
        if (got === 'cli_failed' && struck > 0) hits += 1;
        else problem('wrong', `${JSON.stringify(script)}: ${got} ${JSON.stringify(answer.content).slice(0, 60)}`);
    }
}

async function strike(server, signal) {
    const { processes } = await server.status().catch(() => ({ processes: [] }));
    const alive = processes.filter(({ pid, state }) => pid > 0 && state !== 'ending');
    if (!alive.length) return;
    const { pid } = rng.of(alive);
    struck += 1;
    try {
        process.kill(pid, signal);
        if (signal === 'SIGSTOP') {
            await sleep(800);
            process.kill(pid, 'SIGCONT');
        }
    } catch { /* gone by itself */ }
}

async function rubbish(server) {
    const key = rng.of(KEYS);
    const [raw, status, with_] = rng.of([
        ['{"messages":', 400, key], ['[]', 400, key], ['{"model":"sonnet","messages":[]}', 400, key],
        [JSON.stringify({ model: 'sonnet', messages: [{ role: 'user', content: 'x' }] }), 401, 'sk-nobody'],
        [`{"a":"${'x'.repeat(2_000_000)}"}`, 413, key],
        [`${'['.repeat(10_000)}`, 400, key],
    ]);
    const answer = await chat(server, { key: with_, raw, stream: false });
    /* a client that is sent 413 while it writes may see the connection break instead */
    if (answer.status !== status && !(status === 413 && answer.failure)) {
        problem('wrong', `rubbish ${raw.slice(0, 30)}: ${answer.status} ${answer.failure}`);
    }
}

const FAULTS = {
    scripted: [45, scripted],
    kill: [15, (server) => strike(server, 'SIGKILL')],
    term: [10, (server) => strike(server, 'SIGTERM')],
    stop: [10, (server) => strike(server, 'SIGSTOP')],
    rubbish: [12, rubbish],
    gone: [8, (server) => chat(server, { key: rng.of(KEYS), messages: [{ role: 'user', content: `x${fake({ hang_after_deltas: 1, ignore_interrupt: true })}` }], leave: 300 })],
};
const WEIGHTS = Object.fromEntries(Object.entries(FAULTS).map(([name, [weight]]) => [name, weight]));

async function faults(server, until) {
    const under = new Set();
    for (let n = 1; performance.now() < until; n++) {
        await sleep(FAULT_EVERY);
        counts.faults += 1;
        if (n % RELOAD_EVERY === 0) {
            counts.reloads += 1;
            server.nginx.kill('SIGHUP');
            continue;
        }
        const fault = FAULTS[rng.weighted(WEIGHTS)][1](server);
        under.add(fault);
        fault.finally(() => under.delete(fault));
    }
    await Promise.all(under);
}

/* ---------------------------------------------------------------------------------------- */
/* What is held                                                                              */
/* ---------------------------------------------------------------------------------------- */

const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

function descriptors(pid) {
    const kinds = {};
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        try {
            const kind = readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/[:[].*/, '');
            kinds[kind] = (kinds[kind] ?? 0) + 1;
        } catch { /* the one of this listing */ }
    }
    return kinds;
}

async function holdings(server) {
    await waitFor('nothing to run', async () => {
        const { turns, processes } = await server.status();
        return turns.running === 0 && turns.waiting === 0 && processes.length === 0;
    }, 30000);
    server.agent.destroy();
    server.agent = new http.Agent({ keepAlive: true });
    await waitFor('old workers to end', () => server.workers().length === 2, 20000);
    await sleep(500);
    return server.workers().map((pid) => ({ pid, rss: rss(pid), kinds: descriptors(pid) }));
}

async function load(server, seconds, withFaults) {
    const until = performance.now() + seconds * 1000;
    const talks = Array.from({ length: TALKS }, (_, id) => ({ id, key: KEYS[id % KEYS.length], messages: [] }));
    const actor = async () => {
        while (performance.now() < until) {
            const [one] = talks.splice(rng.below(talks.length), 1);
            await turn(server, one);
            talks.push(one);
        }
    };
    const progress = async () => {
        while (performance.now() < until) {
            await sleep(Math.min(30000, Math.max(until - performance.now(), 0)));
            console.log(`${Math.round((until - performance.now()) / 1000)} s left: ${JSON.stringify(counts)}, RSS `
                + server.workers().filter(isAlive).map((pid) => `${rss(pid)} kB`).join(' '));
        }
    };
    await Promise.all([...Array.from({ length: PARALLEL }, actor), progress(), withFaults && faults(server, until)]);
}

async function main() {
    const server = await startServer({
        listen: 'reuseport',
        http: `claude_warm 0; claude_idle_timeout 3s; claude_max_concurrent ${PARALLEL + 4}; claude_timeout 10s;
               claude_max_processes ${3 * PARALLEL}; claude_max_line ${MAX_LINE};
               access_log off;`,
        server: `client_max_body_size 1m; ${KEYS.map((key, i) => `claude_api_key ${key} name=k${i};`).join(' ')}`,
    });
    try {
        /* first use of everything, then what is held when nothing runs */
        await load(server, 10, false);
        const before = await holdings(server);
        await load(server, MINUTES * 60, true);
        const after = await holdings(server);

        const status = await server.status();
        console.log(JSON.stringify({ counts, struck, rungs: status.rungs, spawned: status.spawned, died: status.died,
            evicted: status.evicted, handed: status.handed, turns: status.turns }));
        for (const [i, { pid, rss: kb, kinds }] of after.entries()) {
            const then = before[i];
            console.log(`worker ${pid}: descriptors ${JSON.stringify(then.kinds)} -> ${JSON.stringify(kinds)}, RSS ${then.rss} -> ${kb} kB`);
            if (!counts.reloads && pid !== then.pid) problems.push(`worker ${then.pid} was replaced by ${pid}`);
            for (const [kind, n] of Object.entries(kinds)) {
                if (n > (then.kinds[kind] ?? 0)) problems.push(`worker ${pid} has more descriptors: ${kind}`);
            }
            if (kb > Math.max(...before.map((one) => one.rss)) + MAY_GROW_KB) {
                problems.push(`worker ${pid} has grown: ${then.rss} -> ${kb} kB`);
            }
        }
        if (hits > struck) problems.push(`${hits} turns lost their CLI, ${struck} were struck`);
        const left = server.clis().filter((pid) => isAlive(pid)
            && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('stream-json'));
        if (left.length) problems.push(`CLIs left: ${left.length}`);
    } finally {
        await server.end().catch((error) => problems.push(error.message));
        rmSync(servroot, { recursive: true, force: true });
    }
    for (const text of problems) console.log(`FAILED: ${text}`);
    console.log(problems.length ? 'not clean' : 'clean');
    process.exitCode = problems.length ? 1 : 0;
}

await main();
