#!/usr/bin/env node
/*
 * Soak: thousands of turns of many conversations over two workers, with clients that leave and
 * processes that are killed. Some turns call a tool and go on with its result; with --real some
 * conversations are sessions that send only what is new. No answer may be another's, and in the end
 * nothing may be left over: no process, no descriptor, no slot, no memory. Not for CI.
 *
 *   t/soak/turns.mjs [--turns 10000] [--conversations 200] [--keys 5] [--parallel 8]
 *                    [--real] [--seed 1]
 *
 * --real takes the pinned CLI and the stub of the Messages API instead of t/bin/claude. It needs
 * nginx, build/ngx_http_claude_module.so and, with --real, npm's packages; NGINX, MODULE and CLAUDE
 * name others.
 */

import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, prepare } from './env.mjs';

const { values: options } = parseArgs({
    options: {
        turns: { type: 'string', default: '10000' },
        conversations: { type: 'string', default: '200' },
        keys: { type: 'string', default: '5' },
        parallel: { type: 'string', default: '8' },
        seed: { type: 'string', default: '1' },
        real: { type: 'boolean', default: false },
    },
});
const TURNS = Number(options.turns);
const PARALLEL = Number(options.parallel);
const KILL_EVERY = options.real ? 20 : 25;              /* turns, about */
const IDLE_TIMEOUT = 3000;
/* What a worker may have grown by: its allocator keeps what the turns in flight once needed. */
const MAY_GROW_KB = 4096;

function findCli() {
    if (!options.real) return join(ROOT, 't/bin/claude');
    const found = [process.env.CLAUDE, ...['x64', 'x64-musl', 'arm64', 'arm64-musl'].map((kind) => join(ROOT,
        `node_modules/@anthropic-ai/claude-code-linux-${kind}/claude`))].find((file) => file
        && spawnSync(file, ['--version']).status === 0);
    if (!found) throw new Error('no Claude CLI: run npm ci, or set CLAUDE');
    return found;
}

const servroot = prepare({ name: 'soak', claude: findCli() });

const { isAlive, sleep, waitFor } = await import('../real/lib/server.mjs');
const { ask, random, startEngine } = await import('../real/lib/engine.mjs');

const rng = random(Number(options.seed));
const KEYS = Array.from({ length: Number(options.keys) }, (_, i) => `sk-soak-${i}`);

/* ---------------------------------------------------------------------------------------- */
/* What a worker holds                                                                       */
/* ---------------------------------------------------------------------------------------- */

function descriptors(pid) {
    const sums = {};
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        let to;
        try {
            to = readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
            continue;
        }
        const kind = to.replace(/[:[].*/, '');
        sums[kind] = (sums[kind] ?? 0) + 1;
    }
    return sums;
}

function rss(pid) {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

async function holdings(server) {
    await waitFor('nothing to run', async () => {
        const { turns, processes } = await server.status();
        return turns.running === 0 && turns.waiting === 0 && processes.length === 0;
    }, 20000);
    server.agent.destroy();
    await sleep(300);
    return server.workers().map((pid) => {
        const fds = descriptors(pid);
        return { pid, fds: sum(fds), kinds: fds, rss: rss(pid) };
    });
}

/* ---------------------------------------------------------------------------------------- */
/* The turns                                                                                 */
/* ---------------------------------------------------------------------------------------- */

const counts = {
    answered: 0, called: 0, sessions: 0, left: 0, killed: 0, broken: 0, refused: 0, mixed: 0, wrong: 0,
};
const faults = [];

function fault(kind, text) {
    counts[kind] += 1;
    if (faults.length < 20) faults.push(`${kind}: ${text}`);
}

/* What both the stub and the stand-in understand: a script at the end of the question. */
const scripted = (script) => `[[${options.real ? 'stub' : 'fake'} ${JSON.stringify(script)}]]`;

const TOOLS = [{
    type: 'function',
    function: { name: 'look', description: 'Looks.', parameters: { type: 'object', properties: { tag: { type: 'string' } } } },
}];

/* What is left ends with an answer, and no call is without its result. */
function cut(one, length) {
    one.messages.length = Math.max(length, 0);
    while (one.messages.length && (one.messages.at(-1).role !== 'assistant' || one.messages.at(-1).tool_calls)) {
        one.messages.pop();
    }
}

/* The arguments of the one call of an answer, put together of its deltas. */
const argumentsOf = ({ events }) => (events ?? []).flatMap(({ choices }) => choices?.[0]?.delta?.tool_calls ?? [])
    .map((call) => call.function.arguments).join('');

/* Whatever names another turn's tag. */
function mixed(tag, said) {
    const others = (said.match(/tag-\d+-\d+-/g) ?? []).filter((found) => found !== tag);
    if (others.length) fault('mixed', `${tag} got ${others[0]}`);
}

/* Its process was killed under it, or anything else that is a fault. */
function failed(tag, answer) {
    if (answer.error?.code === 'cli_failed') counts.broken += 1;
    else fault('refused', `${tag}: ${answer.status} ${JSON.stringify(answer.error ?? answer.failure)}`);
}

/* A question that ends in a call of a tool, and its result, in the process that waits or another. */
async function toolTurn(server, one, n) {
    const tag = `tag-${n}-${one.id}-`;
    const id = `toolu_${n}`;
    const text = `${tag} ${scripted({ tool_use: [{ id, name: 'look', input: { tag } }] })}`;
    const messages = [...one.messages, { role: 'user', content: text }];
    const asked = await ask(server, { key: one.key, messages, tools: TOOLS, tag })
        .catch((error) => ({ status: 0, failure: error.message }));
    if (asked.status !== 200 || !asked.done) {
        failed(tag, asked);
        return;
    }
    const input = argumentsOf(asked);
    mixed(tag, input);
    if (asked.finish !== 'tool_calls' || input !== JSON.stringify({ tag })) {
        fault('wrong', `${tag}: ${asked.finish} ${input}`);
        return;
    }
    counts.called += 1;
    messages.push({ role: 'assistant', content: null, tool_calls: [{ id, type: 'function', function: { name: 'look', arguments: input } }] });
    messages.push({ role: 'tool', tool_call_id: id, content: `found ${tag}` });
    const answer = await ask(server, { key: one.key, messages, tools: TOOLS, tag: `${tag}result` })
        .catch((error) => ({ status: 0, failure: error.message }));
    if (answer.status !== 200 || !answer.done) {
        failed(tag, answer);
        return;
    }
    mixed(tag, answer.content);
    if (!answer.content) fault('wrong', `${tag}: nothing is said of the result`);
    counts.answered += 1;
    one.messages = [...messages, { role: 'assistant', content: answer.content }];
}

/* A session sends only what is new; it may wait for a turn that was left before. */
async function sessionTurn(server, one, n) {
    const tag = `tag-${n}-${one.id}-`;
    const text = `${tag} says ${one.id}`;
    const leave = rng.chance(0.1) ? 'first' : undefined;
    const answer = await ask(server, {
        key: one.key, messages: [{ role: 'user', content: text }], tag, leave, headers: { 'x-session-id': one.session },
    }).catch((error) => ({ left: false, status: 0, failure: error.message }));
    if (answer.left) {
        counts.left += 1;
    } else if (answer.status === 200 && answer.done) {
        mixed(tag, answer.content);
        if (answer.content !== `echo: ${text}`) fault('wrong', `${tag}: ${JSON.stringify(answer.content).slice(0, 120)}`);
        counts.answered += 1;
        counts.sessions += 1;
    } else {
        failed(tag, answer);
    }
}

/*
 * Every question has a tag that is in no other, and the answer is the echo of the question: an
 * answer with another tag is another's. A slow one is for those that leave and for kills.
 */
async function turn(server, one, n) {
    if (one.session) {
        await sessionTurn(server, one, n);
        return;
    }
    if (rng.chance(0.12)) {
        if (one.messages.length > 16) one.messages.length = 0;
        await toolTurn(server, one, n);
        return;
    }
    const tag = `tag-${n}-${one.id}-`;
    const kind = rng.weighted({ next: 70, retry: 8, edit: 8, again: 6, long: 8 });
    if (kind === 'retry') cut(one, one.messages.length - 2);
    if (kind === 'edit') cut(one, 2 * rng.below(one.messages.length / 2 + 1));
    if (kind === 'again' || one.messages.length > 16) one.messages.length = 0;
    const slow = rng.chance(0.12);
    let text = kind === 'long' ? `${tag}${'lorem ipsum äöü '.repeat(100 + rng.below(2000))}${tag}` : `${tag} says ${one.id}`;
    const want = slow ? `slow ${tag} `.repeat(20) : null;
    if (slow) text += scripted({ deltas: [`slow ${tag} `], repeat: 20, gap_ms: 5 });
    const messages = [...one.messages, { role: 'user', content: text }];
    const leave = rng.weighted({ stay: 85, soon: 8, first: 7 });
    const answer = await ask(server, {
        key: one.key, messages, tag,
        leave: { stay: undefined, soon: rng.below(rng.chance(0.5) ? 6 : 60), first: 'first' }[leave],
    }).catch((error) => ({ left: false, status: 0, failure: error.message }));

    if (answer.left) {
        counts.left += 1;
        return;
    }
    const said = answer.content ?? '';
    mixed(tag, said);
    if (answer.status === 200 && answer.done) {
        if (said !== (want ?? `echo: ${text}`)) {
            fault('wrong', `${tag}: ${JSON.stringify(said).slice(0, 120)} of ${JSON.stringify(text).slice(0, 80)}`);
        }
        counts.answered += 1;
        one.messages.push({ role: 'user', content: text }, { role: 'assistant', content: said });
    } else {
        failed(tag, answer);
    }
}

async function actor(server, talks, left) {
    while (left.n > 0) {
        left.n -= 1;
        const one = talks.splice(rng.below(talks.length), 1)[0];
        await turn(server, one, left.n);
        talks.push(one);
    }
}

/* Kills one of the CLIs now and then. */
async function killer(server, left) {
    let next = left.n - KILL_EVERY;
    while (left.n > 0) {
        await sleep(20);
        if (left.n > next) continue;
        next = left.n - 1 - rng.below(2 * KILL_EVERY);
        const { processes } = await server.status().catch(() => ({ processes: [] }));
        const alive = processes.filter(({ pid, state }) => pid > 0 && state !== 'ending');
        if (alive.length) {
            try {
                process.kill(rng.of(alive).pid, 'SIGKILL');
                counts.killed += 1;
            } catch { /* gone by itself */ }
        }
    }
}

async function progress(server, left, since) {
    while (left.n > 0) {
        for (let i = 0; i < 50 && left.n > 0; i++) await sleep(200);
        const spent = ((performance.now() - since) / 1000).toFixed(0);
        console.log(`${spent} s: ${left.n} turns left, ${JSON.stringify(counts)}, RSS `
            + server.workers().map((pid) => `${rss(pid)} kB`).join(' '));
    }
}

async function run(server, turns) {
    const left = { n: turns };
    const talks = Array.from({ length: Number(options.conversations) }, (_, id) => ({
        id, key: KEYS[id % KEYS.length], messages: [], session: options.real && id % 8 === 0 ? randomUUID() : undefined,
    }));
    const since = performance.now();
    await Promise.all([
        ...Array.from({ length: PARALLEL }, () => actor(server, talks, left)),
        killer(server, left), progress(server, left, since),
    ]);
}

/* ---------------------------------------------------------------------------------------- */

async function main() {
    const server = await startEngine({
        http: `claude_warm 0; claude_idle_timeout ${IDLE_TIMEOUT}ms; claude_max_concurrent ${PARALLEL};
               claude_max_processes ${options.real ? PARALLEL + 4 : 2 * PARALLEL};`,
        server: KEYS.map((key, i) => `claude_api_key ${key} name=k${i};`).join(' '),
    });
    const problems = [];
    try {
        /* first use of everything, then what is held when nothing runs */
        await run(server, Math.min(Math.ceil(TURNS / 10), 300));
        const before = await holdings(server);
        for (const name of Object.keys(counts)) counts[name] = 0;
        await run(server, TURNS);
        const after = await holdings(server);

        const status = await server.status();
        console.log(JSON.stringify({ counts, rungs: status.rungs, spawned: status.spawned, died: status.died,
            evicted: status.evicted, handed: status.handed, turns: status.turns }));
        for (const [i, { pid, fds, kinds, rss: kb }] of after.entries()) {
            const then = before[i];
            console.log(`worker ${pid}: descriptors ${then.fds} -> ${fds} ${JSON.stringify(kinds)}, RSS ${then.rss} -> ${kb} kB`);
            if (pid !== then.pid) problems.push(`worker ${then.pid} was replaced by ${pid}`);
            if (fds > then.fds) problems.push(`worker ${pid} has more descriptors: ${JSON.stringify(then.kinds)} -> ${JSON.stringify(kinds)}`);
            if (kb > then.rss + MAY_GROW_KB) problems.push(`worker ${pid} has grown: ${then.rss} -> ${kb} kB`);
        }
        const left = server.clis().filter(isAlive);
        const spawners = left.filter((pid) => !readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('-p'));
        if (left.length > spawners.length) problems.push(`CLIs left: ${left.length - spawners.length}`);
    } finally {
        await server.end().catch((error) => problems.push(error.message));
        rmSync(servroot, { recursive: true, force: true });
    }
    problems.push(...faults);
    for (const problem of problems) console.log(`FAILED: ${problem}`);
    console.log(problems.length ? 'not clean' : 'clean');
    process.exitCode = problems.length ? 1 : 0;
}

await main();
