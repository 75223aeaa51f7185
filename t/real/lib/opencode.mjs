/*
 * OpenCode as somebody has it who put README's configuration into a project: a home, a project and
 * an environment of its own, and nothing to reach but the loopback.
 */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, SLOW, endChild, spawnTied } from './server.mjs';

const OPENCODE = process.env.TEST_OPENCODE_BINARY;

/* The one of README or a page of docs/, with another address. */
function readmeConfig(baseURL) {
    const pages = ['README.md', ...readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
    const readme = pages.map((name) => readFileSync(join(ROOT, name), 'utf8')).join('\n');
    const [, text] = /```json\n(\{\s*"\$schema": "https:\/\/opencode\.ai\/[^]*?)```/.exec(readme);
    const config = JSON.parse(text);
    config.provider.claude.options.baseURL = baseURL;
    return config;
}

/* A proxy that lets nothing through, and remembers what was asked of it. */
async function startProxy() {
    const asked = [];
    const server = http.createServer((req, res) => {
        asked.push(req.url);
        res.writeHead(403).end();
    });
    server.on('connect', ({ url }, socket) => {
        asked.push(url);
        socket.on('error', () => {});
        socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return { asked, server, url: `http://127.0.0.1:${server.address().port}` };
}

class OpenCode {
    constructor(proxy) {
        this.proxy = proxy;
        /* not in the checkout: OpenCode looks for rules and a repository in all directories above */
        this.dir = mkdtempSync(join(tmpdir(), 'opencode-'));
        this.project = join(this.dir, 'project');
        for (const name of ['home', 'tmp', 'project']) mkdirSync(join(this.dir, name));
    }

    path(name) {
        return join(this.project, name);
    }

    read(name) {
        return readFileSync(this.path(name), 'utf8');
    }

    write(name, content) {
        writeFileSync(this.path(name), content);
        return this.path(name);
    }

    /* Whether a word is in its database or in what is to be written there. */
    remembers(word) {
        const dir = join(this.dir, 'home', '.local', 'share', 'opencode');
        return readdirSync(dir).filter((name) => name.startsWith('opencode.db'))
            .some((name) => readFileSync(join(dir, name)).includes(word));
    }

    /* What else it reached for; nothing, as it is set up here. */
    asked() {
        return this.proxy.asked;
    }

    /* Runs `opencode run`: {status, stdout, stderr}. */
    async run(key, ...args) {
        const child = spawnTied(OPENCODE, ['run', '--model', 'claude/sonnet', ...args], {
            cwd: this.project,
            stdio: ['ignore', 'pipe', 'pipe'],
            env: {
                PATH: process.env.PATH,
                HOME: join(this.dir, 'home'),
                TMPDIR: join(this.dir, 'tmp'),
                LANG: 'C.UTF-8',
                CLAUDE_GATEWAY_KEY: key,
                OPENCODE_DISABLE_AUTOUPDATE: '1',
                OPENCODE_DISABLE_MODELS_FETCH: '1',
                npm_config_offline: 'true',
                HTTP_PROXY: this.proxy.url,
                HTTPS_PROXY: this.proxy.url,
                NO_PROXY: '127.0.0.1',
            },
        });
        const out = { stdout: '', stderr: '' };
        for (const name of ['stdout', 'stderr']) child[name].on('data', (data) => { out[name] += data; });
        const timer = setTimeout(() => endChild(child, 1000), 100000 * SLOW);
        const [status] = await once(child, 'close');
        clearTimeout(timer);
        for (const name of ['stdout', 'stderr']) out[name] = out[name].replace(/\x1b\[[0-9;]*m/g, '');
        return { status, ...out };
    }

    async end() {
        this.proxy.server.closeAllConnections();
        await new Promise((resolve) => { this.proxy.server.close(resolve); });
        rmSync(this.dir, { recursive: true, force: true });
    }
}

export async function startOpenCode(baseURL) {
    const client = new OpenCode(await startProxy());
    client.write('opencode.json', JSON.stringify(readmeConfig(baseURL)));
    return client;
}
