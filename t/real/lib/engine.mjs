/*
 * For suites about the engine: which rung a turn took and which worker served it, connections to
 * a worker of one's choice, and conversations at random that can be told again.
 */

import http from 'node:http';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KEY, SLOW, isAlive, readStream, startServer, waitFor } from './server.mjs';

/*
 * As startServer(), with a log of turns. With reuseport new connections are spread over the
 * workers; without it one of them takes nearly all.
 */
export function startEngine({ http: more = '', server = '', ...options } = {}) {
    return startServer({
        listen: 'reuseport',
        ...options,
        http: `log_format turns '$http_x_tag $claude_process $pid $status $claude_error'; ${more}`,
        server: `access_log turns.log turns; add_header X-Worker $pid always; ${server}`,
    });
}

/* server.end() where a test has killed workers: that nginx says so is no failure. */
export async function endKilled(server) {
    try {
        await server.end();
    } catch (error) {
        const lines = error.message.split('\n').slice(1);
        if (!lines.length || !lines.every((line) => line.endsWith('exited on signal 9'))) throw error;
        rmSync(server.dir, { recursive: true, force: true });
    }
}

/* The line of the log about a request: {rung, worker, status, error}. */
export function logged(server, tag) {
    return waitFor(`a line of the log about ${tag}`, () => {
        const line = readFileSync(join(server.dir, 'turns.log'), 'utf8').split('\n')
            .findLast((text) => text.startsWith(`${tag} `));
        if (!line) return null;
        const [, rung, worker, status, ...error] = line.split(' ');
        return { rung, worker: Number(worker), status: Number(status), error: error.join(' ') };
    });
}

let tags = 0;

/*
 * One streamed turn. Options: messages, model and so on of the body; key; path; agent (a new connection
 * when there is none); leave: the client goes away at the first text, with the last event, or after so many ms;
 * heard: called at the first text.
 * Resolves to {tag, status, content, finish, done, error, worker, sent, first, left}.
 */
export function ask(server, { key = KEY, agent = false, tag = `q${++tags}`, leave, heard, headers, path = '/v1/', ...body }) {
    const text = JSON.stringify({ model: 'sonnet', stream: true, ...body });
    const out = { tag, status: 0, content: '', sent: performance.now(), first: undefined, left: false };
    return new Promise((resolve, reject) => {
        const req = http.request(`${server.url}${path}chat/completions`, {
            method: 'POST',
            agent,
            headers: {
                authorization: `Bearer ${key}`,
                'content-type': 'application/json',
                'content-length': Buffer.byteLength(text),
                'x-tag': tag,
                ...headers,
            },
        });
        const go = () => {
            out.left = true;
            req.destroy();
            resolve(out);
        };
        if (typeof leave === 'number') setTimeout(go, leave);
        req.on('error', (error) => (out.left ? resolve(out) : reject(error)));
        req.on('response', (res) => {
            const chunks = [];
            out.status = res.statusCode;
            out.worker = Number(res.headers['x-worker']);
            res.on('error', (error) => (out.left ? resolve(out) : reject(error)));
            res.on('data', (data) => {
                chunks.push(data);
                if (out.first === undefined && /"content":"[^"]/.test(data.toString('utf8'))) {
                    out.first = performance.now();
                    heard?.();
                    if (leave === 'first') go();
                }
                if (leave === 'done' && data.includes('[DONE]')) go();
            });
            res.on('end', () => {
                const all = Buffer.concat(chunks).toString('utf8');
                if (out.status === 200) Object.assign(out, readStream({ status: 200, text: all }));
                else out.error = JSON.parse(all).error;
                resolve(out);
            });
        });
        req.end(text);
    });
}

/* One kept connection to each worker: [{pid, agent}]. */
export async function workerAgents(server) {
    const found = new Map();
    const workers = await waitFor('both workers', () => {
        const pids = server.workers();
        return pids.length >= 2 && pids;
    });
    await waitFor('a connection to each worker', async () => {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const pid = await new Promise((resolve, reject) => {
            http.get(`${server.url}/health`, { agent }, (res) => {
                res.resume();
                res.on('end', () => resolve(Number(res.headers['x-worker'])));
            }).on('error', reject);
        });
        if (found.has(pid) || !workers.includes(pid)) agent.destroy();
        else found.set(pid, agent);
        return found.size === workers.length;
    }, 10000 * SLOW);
    return [...found].map(([pid, agent]) => ({ pid, agent }));
}

/* The row of /claude-status that has a state, when there is just one. */
export async function rowsIn(server, state) {
    return (await server.status()).processes.filter((row) => row.state === state);
}

/* Ends all idle processes, as claude_idle_timeout does, without waiting for it. */
export async function endIdle(server) {
    await server.idle();
    const rows = await rowsIn(server, 'idle');
    for (const { pid } of rows) process.kill(pid, 'SIGTERM');
    await waitFor('idle processes to end', () => rows.every(({ pid }) => !isAlive(pid)));
    await waitFor('their rows to go', async () => {
        const { processes } = await server.status();
        return !processes.some(({ pid }) => rows.some((row) => row.pid === pid));
    });
}

/* The same numbers every time: mulberry32. */
export function random(seed) {
    let a = seed >>> 0;
    const next = () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), a | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const below = (n) => Math.floor(next() * n);
    return {
        below,
        chance: (p) => next() < p,
        of: (list) => list[below(list.length)],
        /* {name: weight} */
        weighted(weights) {
            let left = next() * Object.values(weights).reduce((a, b) => a + b);
            return Object.keys(weights).find((name) => (left -= weights[name]) < 0);
        },
    };
}
