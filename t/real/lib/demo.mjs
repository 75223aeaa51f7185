/*
 * `./build.sh demo`, as somebody who has just cloned this meets it: address and key are taken from
 * what it prints. It runs in a copy of the checkout with the module that is already built, so that
 * neither build/demo/ nor another demo is disturbed.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, SLOW, endChild, findProcesses, freePort, spawnTied, waitFor } from './server.mjs';

function copyCheckout() {
    const dir = mkdtempSync(join(tmpdir(), 'claude-demo-'));
    for (const name of readdirSync(ROOT)) {
        if (['.git', 'build', 'node_modules'].includes(name)) continue;
        cpSync(join(ROOT, name), join(dir, name), { recursive: true, preserveTimestamps: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
    mkdirSync(join(dir, 'build'));
    mkdirSync(join(dir, 'home'));
    for (const name of ['module', 'ngx_http_claude_module.so']) {
        if (existsSync(join(ROOT, 'build', name))) {
            /* cp keeps the links and times that make goes by */
            spawnSync('cp', ['-a', join(ROOT, 'build', name), join(dir, 'build', name)]);
        }
    }
    return dir;
}

/* Its stub, in another process: what startServer()'s has, to be waited for. */
class DemoStub {
    constructor(base) {
        this.base = base;
    }

    async fetch(method, path, value) {
        const res = await fetch(this.base + path, { method, body: value && JSON.stringify(value) });
        return res.json();
    }

    script(value) {
        return this.fetch('POST', '/_script', value);
    }

    async clear() {
        await this.fetch('DELETE', '/_script');
        await this.fetch('DELETE', '/_requests');
    }

    get requests() {
        return this.fetch('GET', '/_requests');
    }
}

class Demo {
    constructor(port) {
        this.dir = copyCheckout();
        this.said = '';
        this.child = spawnTied(join(this.dir, 'build.sh'), ['demo'], {
            cwd: this.dir,
            stdio: ['ignore', 'pipe', 'pipe'],
            env: { PATH: process.env.PATH, HOME: join(this.dir, 'home'), LANG: 'C.UTF-8', PORT: String(port) },
        });
        for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (data) => { this.said += data; });
    }

    async ready() {
        await waitFor('the demo to say how to use it', () => {
            if (this.child.exitCode !== null) throw new Error('the demo ended');
            return /^ *curl .*\n/m.test(this.said);
        }, 150000).catch((error) => { throw new Error(`${error.message}\n${this.said}`); });
        this.address = /^ *address +(\S+)$/m.exec(this.said)?.[1];
        this.key = /^ *API key +(\S+)$/m.exec(this.said)?.[1];
        this.stub = new DemoStub(/ANTHROPIC_BASE_URL=(http:\/\/127\.0\.0\.1:\d+)/.exec(this.file('nginx.conf'))[1]);
    }

    /* A file that the demo has written. */
    file(name) {
        return readFileSync(join(this.dir, 'build', 'demo', name), 'utf8');
    }

    /* Everything of the demo has the copy's path in its environment or its arguments. */
    processes() {
        return findProcesses((pid) => {
            try {
                return ['environ', 'cmdline'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(this.dir));
            } catch {
                return false;
            }
        });
    }

    /* Ends it by its pid, after which nothing may be left. */
    async end() {
        await endChild(this.child, 20000);
        await waitFor(`all of the demo to be gone: ${this.processes()}`, () => this.processes().length === 0, 5000 * SLOW);
        rmSync(this.dir, { recursive: true, force: true });
    }
}

export async function startDemo() {
    const demo = new Demo(await freePort());
    try {
        await demo.ready();
    } catch (error) {
        await demo.end();
        throw error;
    }
    return demo;
}
