/*
 * What a request costs a worker of nginx: CPU from /proc/PID/schedstat, memory from VmHWM. For
 * bodies that are made to cost, so nothing here waits for one without an end: a worker that has
 * spent too much is killed, by its pid, and nginx starts another.
 *
 * There is a place for a turn, or more, and turns that never end have them. So the answer to a body
 * that became a turn is a 429, at once, and what was spent until then is what it costs to read it.
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
    chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync,
    writeSync,
} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
    confHead, endChild, freePort, isAlive, isListening, ROOT, SANITIZED, SLOW, spawnTied, TEMP_PATHS, waitFor,
} from '../real/lib/server.mjs';

const NGINX = process.env.TEST_NGINX_BINARY ?? 'nginx';
const KEY = 'sk-measure';

/* When a worker is killed: a multiple of what a body may cost, and some for small ones. */
const CPU_LIMIT = (bytes) => (bytes * 1000 + 2e9) * (SANITIZED ? 10 : 1);
const MEMORY_LIMIT = (bytes) => bytes * 64 + (SANITIZED ? 2e9 : 256e6);
const WALL_LIMIT = 120000 * SLOW;

/* All of a worker's memory, as a net under the one above: it is looked at now and then only. */
const ADDRESS_SPACE = 2e9;

/*
 * What is freed goes back at once, so that the next request is seen to take it again; glibc would
 * keep blocks of up to 32 MB after the first of them.
 */
const MALLOC = { MALLOC_MMAP_THRESHOLD_: '131072', MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_TOP_PAD_: '0' };

const kilobytes = (pid, what) => Number(new RegExp(`^${what}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024;

function titleOf(pid) {
    try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/[\0 ]+$/, '');
    } catch {
        return '';
    }
}

/* Nanoseconds on a CPU. */
const cpuOf = (pid) => Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]);

export const compileStandIn = (dir) => {
    const claude = join(dir, 'claude');
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', claude, join(ROOT, 'bench/cli.c')]);
    return claude;
};

/* The library that watches the turns of the event loop, see events.c. */
const compileEvents = (dir) => {
    const library = join(dir, 'events.so');
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-shared', '-fPIC', '-o', library, join(ROOT, 't/lib/events.c')]);
    writeFileSync(join(dir, 'events'), Buffer.alloc(16));
    return { LD_PRELOAD: library, EVENTS: join(dir, 'events'), EVENTS_TRACE: process.env.EVENTS_TRACE };
};

function writeConf(dir, port, options) {
    writeFileSync(join(dir, 'nginx.conf'), `
${confHead(1, 'warn')}
events { worker_connections 512; }
http {
    claude_zone claude:4m;
    claude_binary "${options.claude}";
    claude_working_directory work;
    claude_env HOME=${dir}/home;
    claude_warm 0;
    claude_timeout 1h;
${options.http ?? ''}
${TEMP_PATHS}
    access_log off;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_timeout 10m;
    large_client_header_buffers 4 16k;
    upstream nodes { hash $claude_conversation consistent; server 127.0.0.1:${options.nodePort}; }
    server {
        listen 127.0.0.1:${port};
        claude_api_key ${KEY} name=one;
        location /v1/ { claude_openai; }
        location /file/ { claude_openai; client_body_buffer_size 8k; }
        location /memory/ { claude_openai; client_body_buffer_size 64m; }
        location /front/ { proxy_pass http://nodes; client_body_buffer_size 64m; }
        location = /health { claude_health; }
        location = /status { claude_status; }
    }
}
`);
}

/* Takes what a front nginx sends on, and says so. */
async function startNode() {
    const node = http.createServer((req, res) => {
        req.resume();
        req.on('end', () => res.end('ok'));
    });
    node.listen(0, '127.0.0.1');
    await once(node, 'listening');
    return node;
}

class Measured {
    constructor(dir, port, node) {
        Object.assign(this, { dir, port, node, killed: 0, held: [] });
    }

    /* Not those that shut down: their title says so. */
    workers() {
        const { pid } = this.nginx;
        return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean)
            .filter((one) => isAlive(one) && titleOf(one) === 'nginx: worker process');
    }

    /* A request on a connection of its own. {status, text, done: resolves at its end} */
    send(path, body, { headers = {}, key = true, upload = 0, onEnd } = {}) {
        const socket = net.connect(this.port, '127.0.0.1');
        const lines = Object.entries({
            host: 'localhost', connection: 'close', ...(key && { authorization: `Bearer ${KEY}` }), 'content-type': 'application/json',
            'content-length': body.length, ...headers,
        }).map(([name, value]) => `${name}: ${value}\r\n`).join('');
        const chunks = [];
        socket.setNoDelay(true);
        socket.on('data', (data) => chunks.push(data));
        socket.write(`POST ${path} HTTP/1.1\r\n${lines}\r\n`);
        this.write(socket, body, upload);
        const done = new Promise((resolve) => {
            socket.on('error', () => {});
            socket.on('close', () => {
                const text = Buffer.concat(chunks).toString('utf8');
                onEnd?.();
                resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text });
            });
        });
        return { socket, done };
    }

    /* All at once, or in pieces that nginx reads one by one. */
    async write(socket, body, upload) {
        if (!upload) {
            socket.write(body);
            return;
        }
        for (let at = 0; at < body.length && !socket.destroyed; at += upload) {
            if (!socket.write(body.subarray(at, at + upload))) {
                await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => {});
            }
            if (at % (32 * upload) === 0) await new Promise((resolve) => { setImmediate(resolve); });
        }
    }

    get(path) {
        return new Promise((resolve, reject) => {
            http.get({ port: this.port, path, agent: false, headers: { authorization: `Bearer ${KEY}` } }, (res) => {
                const chunks = [];
                res.on('data', (data) => chunks.push(data));
                res.on('end', () => resolve({ status: res.statusCode, text: Buffer.concat(chunks).toString() }));
            }).on('error', reject);
        });
    }

    async status() {
        return JSON.parse((await this.get('/status')).text);
    }

    /* As many turns as there are places, which never end, in a worker that is then replaced by a new one. */
    async hold(places = 1) {
        this.held.push(this.send('/v1/chat/completions', Buffer.from(
            `{"model":"sonnet","n":${places},"stream":true,"messages":[{"role":"user","content":"[[bench gap=36000000000]]"}]}`)));
        await waitFor('turns to take the places', async () => (await this.status()).turns.running === places, 20000 * SLOW);
        await this.renew();
    }

    /* A new worker in the place of the present one, which may have turns still. */
    async renew() {
        const before = this.workers();
        this.nginx.kill('SIGHUP');
        await waitFor('a new worker', () => this.workers().some((pid) => !before.includes(pid)), 20000 * SLOW);
        await waitFor('the old worker to let go', () => this.workers().length === 1 && !before.includes(this.workers()[0]), 20000 * SLOW);
        await this.take();
    }

    /* The worker that there is, as it is before its first body. */
    async take() {
        await waitFor('a worker', () => this.workers().length === 1, 20000 * SLOW);
        this.pid = Number(this.workers()[0]);
        await waitFor('the new worker to answer', async () => {
            const spent = cpuOf(this.pid);
            await this.get('/health');
            return cpuOf(this.pid) > spent;
        }, 20000 * SLOW);
        this.fresh = kilobytes(this.pid, 'VmRSS');
    }

    /*
     * One body: {status, cpu (ns), memory (bytes), runaway}. The CPU has everything from the first
     * byte until the connection is closed, when the pool of the request is gone.
     */
    async measure(shape, body) {
        const length = body.length;

        /* A worker that kept more than this of what it had would hide what is used. */
        if (kilobytes(this.pid, 'VmRSS') > this.fresh + length) await this.renew();

        const { pid } = this;
        writeFileSync(`/proc/${pid}/clear_refs`, '5');
        const rss = kilobytes(pid, 'VmRSS');
        const spent = cpuOf(pid);
        const { socket, done } = this.send(shape.path, body, shape);
        const over = this.watch(pid, spent, length, socket);
        const answer = await done;
        const runaway = over() || (isAlive(pid) ? '' : 'the worker has died');

        if (runaway) {
            await waitFor('nginx to start another worker', () => this.workers().some((one) => Number(one) !== pid), 20000 * SLOW);
            await this.take();
            return { status: 0, cpu: NaN, memory: NaN, runaway };
        }
        return {
            status: answer.status, text: answer.text, cpu: cpuOf(pid) - spent, memory: kilobytes(pid, 'VmHWM') - rss,
        };
    }

    /* Kills the worker when it has spent too much; returns what ends that, and tells why it was. */
    watch(pid, spent, length, socket) {
        const began = Date.now();
        let why = '';
        const timer = setInterval(() => {
            if (!isAlive(pid)) return;
            const cpu = cpuOf(pid) - spent;
            const memory = kilobytes(pid, 'VmRSS');
            if (cpu > CPU_LIMIT(length)) why = `over ${(cpu / 1e9).toFixed(1)} s of CPU`;
            else if (memory > MEMORY_LIMIT(length)) why = `over ${Math.round(memory / 1e6)} MB`;
            else if (Date.now() - began > WALL_LIMIT) why = `no answer in ${WALL_LIMIT / 1000} s`;
            else return;
            clearInterval(timer);
            this.killed++;
            process.kill(pid, 'SIGKILL');
            socket.destroy();
        }, 20);
        return () => {
            clearInterval(timer);
            return why;
        };
    }

    /*
     * One body: {status, text, longest, turns}, the longest turn of the event loop in ns of CPU and how
     * many there were, until the worker is idle again. Needs the option events.
     */
    async events(shape, body) {
        const fd = openSync(join(this.dir, 'events'), 'r+');
        const cells = Buffer.alloc(16);
        try {
            writeSync(fd, cells, 0, 16, 0);
            const { status, text } = await this.send(shape.path, body, shape).done;
            for (let before = -1, spent = 0; before !== spent; before = spent, spent = cpuOf(this.pid)) {
                await new Promise((resolve) => { setTimeout(resolve, 20); });
            }
            readSync(fd, cells, 0, 16, 0);
            return { status, text, longest: Number(cells.readBigUInt64LE(0)), turns: Number(cells.readBigUInt64LE(8)) };
        } finally {
            closeSync(fd);
        }
    }

    async end() {
        for (const { socket } of this.held) socket.destroy();

        /* Gracefully: told to be fast, a master kills workers that take more than a second. */
        const gone = once(this.nginx, 'exit');
        const late = setTimeout(() => endChild(this.nginx), 30000 * SLOW);
        this.nginx.kill('SIGQUIT');
        await gone;
        clearTimeout(late);
        this.node.closeAllConnections();
        this.node.close();
        const log = readFileSync(join(this.dir, 'error.log'), 'utf8').split('\n')
            .filter((line) => /\[(alert|crit|emerg)\]/.test(line))
            .filter((line) => !(this.killed && /worker process \d+ exited on signal 9/.test(line)));
        if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
        if (log.length) throw new Error(`nginx logged:\n${log.slice(0, 20).join('\n')}`);
    }
}

/* options: http (directives), claude (the stand-in), events: its turns of the event loop are watched */
export async function startMeasured(options = {}) {
    const dir = mkdtempSync(join(process.env.TEST_NGINX_SERVROOT || tmpdir(), 'measure-'));
    chmodSync(dir, 0o755);
    for (const name of ['home', 'temp', 'work']) mkdirSync(join(dir, name), { mode: 0o700 });

    const node = await startNode();
    const port = await freePort();
    writeConf(dir, port, { claude: options.claude ?? compileStandIn(dir), nodePort: node.address().port, ...options });

    const server = new Measured(dir, port, node);
    const limit = SANITIZED ? '' : `ulimit -v ${ADDRESS_SPACE / 1000};`;
    server.nginx = spawnTied('sh', ['-c', `${limit} exec "$@"`, 'sh', NGINX, '-e', join(dir, 'error.log'), '-p', `${dir}/`, '-c', join(dir, 'nginx.conf')], {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: Object.fromEntries(Object.entries({
            ...(options.events ? compileEvents(dir) : MALLOC), PATH: process.env.PATH, ASAN_OPTIONS: process.env.ASAN_OPTIONS, UBSAN_OPTIONS: process.env.UBSAN_OPTIONS, LSAN_OPTIONS: process.env.LSAN_OPTIONS,
        }).filter(([, value]) => value)),
    });
    try {
        await waitFor('nginx to listen', () => {
            if (server.nginx.exitCode !== null) throw new Error('nginx does not start');
            return isListening(port);
        }, 10000 * SLOW);
    } catch (error) {
        await endChild(server.nginx);
        node.close();
        const log = join(dir, 'error.log');
        throw new Error(`${error.message}\n${existsSync(log) ? readFileSync(log, 'utf8') : ''}`);
    }
    await server.take();
    return server;
}

export { cpuOf, kilobytes };
