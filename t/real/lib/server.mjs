/*
 * nginx with the module, the real CLI and a stub of the Messages API, each in its own place:
 * a directory that is removed in the end, free loopback ports, a CLI whose environment comes
 * from claude_env alone. What the suites share is here; what they promise is in them.
 *
 * end() stops everything by pid, and fails when nginx logged an [alert], [crit] or [emerg], or
 * words of a client or of the model, or when a CLI is left.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
    chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync,
    writeFileSync,
} from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStub } from '../../stub/messages-api.mjs';

const NGINX = process.env.TEST_NGINX_BINARY ?? 'nginx';
const CLAUDE = needEnv('TEST_CLAUDE_BINARY');
const MODULE = process.env.TEST_NGINX_LOAD_MODULES ?? '';

export const ROOT = needEnv('TEST_ROOT');
export const SANITIZED = Boolean(process.env.TEST_SANITIZED);

/* Times of a build with sanitizers, and of a machine that does something else too. */
export const SLOW = SANITIZED ? 4 : 1;

export const KEY = 'sk-real-suite-one';
export const OTHER_KEY = 'sk-real-suite-two';

function needEnv(name) {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set: run ./build.sh test t/real/x.test.mjs`);
    return value;
}

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/* Polls until check() gives something true; the error names what was waited for. */
export async function waitFor(what, check, ms = 10000) {
    const until = Date.now() + ms;
    for (;;) {
        const value = await check();
        if (value) return value;
        if (Date.now() > until) throw new Error(`waited ${ms} ms in vain for ${what}`);
        await sleep(15);
    }
}

/* What nginx -V says, so that a suite can tell whether a module is there. */
export function nginxHas(option) {
    const { stderr } = spawnSync(NGINX, ['-V'], { encoding: 'utf8' });
    return stderr.includes(option);
}

/* ---------------------------------------------------------------------------------------- */
/* Ports and processes                                                                       */
/* ---------------------------------------------------------------------------------------- */

function portIsFree(port) {
    return new Promise((resolve) => {
        const probe = net.createServer();
        probe.once('error', () => resolve(false));
        probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
}

/* Whether somebody listens, asked as a client does: a probe that binds would be in the way. */
export function isListening(port) {
    return new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.once('error', () => resolve(false));
        socket.once('connect', () => {
            socket.destroy();
            resolve(true);
        });
    });
}

const taken = new Set();

/*
 * Of the ten that the runner names, below those of outgoing connections, and the one that was
 * given back longest ago; else any.
 */
export async function freePort() {
    const first = Number(process.env.TEST_NGINX_PORT ?? 0);
    for (let i = 0; first && i < 10; i++) {
        const port = first + (freePort.next++ % 10);
        if (taken.has(port) || !(await portIsFree(port))) continue;
        taken.add(port);
        return port;
    }
    const probe = net.createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    probe.close();
    await once(probe, 'close');
    return port;
}
freePort.next = 0;

/* Nothing may be left when the runner ends this process, or something kills it. */
const children = new Set();
const TIED = spawnSync('setpriv', ['--pdeathsig', 'TERM', 'true']).status === 0;

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
    process.on(signal, () => {
        for (const child of children) child.kill('SIGTERM');
        process.exit(1);
    });
}
process.on('exit', () => {
    for (const child of children) child.kill('SIGTERM');
});

/* A child that ends with this process. */
export function spawnTied(command, args, options) {
    const child = TIED ? spawn('setpriv', ['--pdeathsig', 'TERM', command, ...args], options)
        : spawn(command, args, options);
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
}

/* Ends a child of ours, by force when asking does not help. */
export async function endChild(child, ms = 10000) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    await gone;
    clearTimeout(timer);
}

function readProc(pid, file) {
    try {
        return readFileSync(`/proc/${pid}/${file}`, 'latin1');
    } catch {
        return '';
    }
}

/* Live processes that satisfy a test of (pid); zombies have neither environment nor exe. */
export function findProcesses(test) {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter(test);
}

export const hasEnvironment = (entry) => (pid) => readProc(pid, 'environ').split('\0').includes(entry);

export const isAlive = (pid) => {
    const state = /\)\s(\S)/.exec(readProc(pid, 'stat'))?.[1];
    return state !== undefined && state !== 'Z' && state !== 'X';
};

export function exeOf(pid) {
    try {
        return readlinkSync(`/proc/${pid}/exe`);
    } catch {
        return '';
    }
}

/* ---------------------------------------------------------------------------------------- */
/* nginx.conf                                                                                */
/* ---------------------------------------------------------------------------------------- */

/* Away from any account and network; the suites add to it or take away. */
function cliEnvironment(dir, stubPort, env) {
    const all = {
        HOME: join(dir, 'home'),
        ANTHROPIC_BASE_URL: `http://127.0.0.1:${stubPort}`,
        ANTHROPIC_API_KEY: 'dummy',
        DISABLE_TELEMETRY: '1',
        DISABLE_AUTOUPDATER: '1',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        ...env,
    };
    return Object.entries(all).filter(([, value]) => value !== null)
        .map(([name, value]) => `    claude_env "${name}=${value}";`).join('\n');
}

/* The head of a configuration, up to its events, and what its http begins with. */
export function confHead(workers, level, user = 'root root') {
    const load = MODULE ? MODULE.split(/\s+/).map((path) => `load_module "${path}";`).join('\n') : '';
    return `
${load}
daemon off;
master_process on;
worker_processes ${workers};
${process.getuid() === 0 ? `user ${user};` : ''}
pid nginx.pid;
error_log error.log ${level};
`;
}

export const TEMP_PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `    ${name}_temp_path temp/${name};`).join('\n');

function writeConf(dir, port, stubPort, options) {
    writeFileSync(join(dir, 'nginx.conf'), `
${confHead(options.workers ?? 2, 'info', options.user)}
${options.main ?? ''}
events { worker_connections ${options.connections ?? 512}; }
http {
    claude_zone claude:${options.zone ?? '4m'};
    claude_binary "${options.claude?.(dir, CLAUDE) ?? CLAUDE}";
${cliEnvironment(dir, stubPort, options.env)}
${TEMP_PATHS}
    access_log access.log;
    client_max_body_size 32m;
    ${options.http ?? ''}
    server {
        listen 127.0.0.1:${port} ${options.listen ?? ''};
        claude_api_key ${KEY} name=one;
        claude_api_key ${OTHER_KEY} name=two;
        ${options.server ?? ''}
        location /v1/ { claude_openai; }
        location = /health { claude_health; }
        location = /claude-status { claude_status; ${options.status ?? ''} }
    }
}
`);
}

/* The lines of an error log, those at debug aside, with words of the suites' clients or of the stub: see t/lib/Silence.pm. */
export const told = (log) => log.split('\n')
    .filter((line) => /\[\[(?:fake|stub)\b|\becho: /.test(line) && !/^\S+ \S+ \[debug\]/.test(line));

/* ---------------------------------------------------------------------------------------- */
/* The server                                                                                */
/* ---------------------------------------------------------------------------------------- */

class Server {
    constructor(dir, port, stub) {
        this.dir = dir;
        this.port = port;
        this.stub = stub;
        this.url = `http://127.0.0.1:${port}`;
        this.agent = new http.Agent({ keepAlive: true });
    }

    log() {
        const file = join(this.dir, 'error.log');
        return existsSync(file) ? readFileSync(file, 'utf8') : '';
    }

    /* The CLIs of this server: nobody else has this HOME. */
    clis() {
        return findProcesses(hasEnvironment(`HOME=${join(this.dir, 'home')}`));
    }

    /* The workers' pids; the master is our child. */
    workers() {
        const { pid } = this.nginx;
        return readProc(pid, `task/${pid}/children`).split(' ').filter(Boolean).map(Number);
    }

    /*
     * One request; the answer as {status, headers, text, json, sent, chunks: [{at, text}]}. fresh: on a
     * connection of its own, since a worker that ends closes what it has kept.
     */
    request(method, path, { body, headers = {}, key = KEY, signal, fresh } = {}) {
        const text = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
            ? body : JSON.stringify(body);
        return new Promise((resolve, reject) => {
            const req = http.request(this.url + path, {
                method,
                agent: fresh ? false : this.agent,
                signal,
                headers: {
                    ...(key ? { authorization: `Bearer ${key}` } : {}),
                    ...(text === undefined ? {} : {
                        'content-type': 'application/json',
                        'content-length': Buffer.byteLength(text),
                    }),
                    ...headers,
                },
            }, (res) => collect(res).then(resolve, reject));
            req.on('error', (error) => {
                /* a kept connection whose worker was killed meanwhile; a question may have been heard */
                if (req.reusedSocket && method === 'GET') resolve(this.request(method, path, { body, headers, key, signal }));
                else reject(error);
            });
            req.end(text);
        });
    }

    chat(body, options) {
        return this.request('POST', '/v1/chat/completions', { body: { model: 'sonnet', ...body }, ...options });
    }

    /* A streamed chat, its events read: {…, events, done, error, content, finish}. */
    async stream(body, options) {
        const answer = await this.chat({ ...body, stream: true }, options);
        return { ...answer, ...readStream(answer) };
    }

    async status() {
        return (await this.request('GET', '/claude-status')).json;
    }

    /* Every slot free: nothing runs, and no CLI is at work for anybody; idle ones may wait. */
    idle(ms = 5000 * SLOW) {
        return waitFor('no turn running', async () => {
            const { turns, processes } = await this.status();
            return turns.running === 0 && turns.waiting === 0
                && processes.every(({ state }) => state !== 'busy' && state !== 'ending');
        }, ms);
    }

    async end() {
        this.agent.destroy();
        await endChild(this.nginx);
        taken.delete(this.port);
        await this.stub.close();
        const bad = this.log().split('\n').filter((line) => /\[(alert|crit|emerg)\]/.test(line));
        await waitFor('all CLIs to end with nginx', () => this.clis().length === 0, 5000 * SLOW);
        bad.push(...told(this.log()));
        if (bad.length) throw new Error(`nginx logged:\n${bad.join('\n')}`);
        if (!process.env.KEEP) rmSync(this.dir, { recursive: true, force: true });
    }
}

function collect(res) {
    const chunks = [];
    return new Promise((resolve, reject) => {
        res.on('data', (data) => chunks.push({ at: performance.now(), data }));
        res.on('error', reject);
        res.on('end', () => {
            const text = Buffer.concat(chunks.map(({ data }) => data)).toString('utf8');
            let json;
            try {
                json = JSON.parse(text);
            } catch {
                json = undefined;
            }
            resolve({ status: res.statusCode, headers: res.headers, text, json, chunks, complete: res.complete });
        });
    });
}

/* The events of a stream; what is no event and no comment is a failure. */
export function readStream({ status, text }) {
    const out = { events: [], done: false, error: undefined, content: '', finish: undefined };
    if (status !== 200) return out;
    if (!text.endsWith('\n\n')) throw new Error(`the stream ends in the midst of an event: ${text.slice(-80)}`);
    for (const frame of text.split('\n\n').slice(0, -1)) {
        if (frame.startsWith(':')) continue;
        if (out.done || !frame.startsWith('data: ')) throw new Error(`not an event: ${frame.slice(0, 200)}`);
        if (frame === 'data: [DONE]') {
            out.done = true;
            continue;
        }
        const event = JSON.parse(frame.slice('data: '.length));
        out.events.push(event);
        if (event.error) out.error = event.error;
        out.content += event.choices?.[0]?.delta?.content ?? '';
        out.finish = event.choices?.[0]?.finish_reason ?? out.finish;
    }
    return out;
}

/*
 * Starts stub and nginx. Options: env (of the CLI; null takes an entry away), server, http and main
 * (directives), listen (after the address), stubDown (nothing listens there), under (a command to
 * start nginx by, whose process becomes nginx), connections and zone (their numbers), user (where we
 * are root: the workers' user and group, in place of root's).
 */
export async function startServer(options = {}) {
    const dir = mkdtempSync(join(process.env.TEST_NGINX_SERVROOT || tmpdir(), 'real-'));
    chmodSync(dir, 0o755);
    for (const name of ['home', 'temp']) mkdirSync(join(dir, name), { mode: 0o700 });

    const stub = createStub();
    const stubPort = await stub.listen();
    if (options.stubDown) await stub.close();

    const port = await freePort();
    await options.prepare?.(dir);
    writeConf(dir, port, stubPort, options);

    const server = new Server(dir, port, stub);
    server.stubPort = stubPort;
    const command = [...(options.under?.(dir) ?? []), NGINX,
        '-e', join(dir, 'error.log'), '-p', `${dir}/`, '-c', join(dir, 'nginx.conf')];
    server.nginx = spawnTied(command[0], command.slice(1), {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: nginxEnvironment(),
    });
    try {
        await waitFor('nginx to listen', async () => {
            if (server.nginx.exitCode !== null) throw new Error('nginx does not start');
            return isListening(port);
        }, 10000 * SLOW);
    } catch (error) {
        await endChild(server.nginx);
        await stub.close();
        throw new Error(`${error.message}\n${server.log()}`);
    }
    return server;
}

/*
 * A server of one test, which ends with it. What end() finds, an alarming line of the log perhaps,
 * is told besides what the test has failed with, not in its place.
 */
export async function withServer(server, use) {
    let failed;
    try {
        return await use();
    } catch (error) {
        failed = error;
        throw error;
    } finally {
        await server.end().catch((error) => {
            if (!failed) throw error;
            failed.message += `\nand in the end: ${error.message}`;
        });
    }
}

/* The sanitizers' settings are for nginx; a CLI of ours never sees them, nor anything else. */
function nginxEnvironment() {
    const names = ['PATH', 'LANG', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS'];
    return Object.fromEntries(names.filter((name) => process.env[name]).map((name) => [name, process.env[name]]));
}
