/*
 * `./build.sh demo`, as somebody who has just cloned this meets it: address and key are taken from
 * what it prints. It runs in a copy of the checkout with the module that is already built, so that
 * neither build/demo/ nor another demo is disturbed.
 */

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { ROOT, endChild, findProcesses, freePort, spawnTied, waitFor } from './lib/server.mjs';
import { assistant, conversation, system, systemTexts, user } from './lib/upstream.mjs';

let dir;
let demo;
let said = '';
let address;
let key;

/* Everything of the demo has the copy's path in its environment or its arguments. */
const left = () => findProcesses((pid) => {
    try {
        return ['environ', 'cmdline'].some((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(dir));
    } catch {
        return false;
    }
});

function copyCheckout() {
    dir = mkdtempSync(join(tmpdir(), 'claude-demo-'));
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
}

before(async () => {
    copyCheckout();
    const port = await freePort();
    demo = spawnTied(join(dir, 'build.sh'), ['demo'], {
        cwd: dir,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH: process.env.PATH, HOME: join(dir, 'home'), LANG: 'C.UTF-8', PORT: String(port) },
    });
    for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (data) => { said += data; });
    await waitFor('the demo to say how to use it', () => {
        if (demo.exitCode !== null) throw new Error(`the demo ended:\n${said}`);
        return /^ *curl /m.test(said);
    }, 150000).catch((error) => { throw new Error(`${error.message}\n${said}`); });
    address = /^ *address +(\S+)$/m.exec(said)?.[1];
    key = /^ *API key +(\S+)$/m.exec(said)?.[1];
    assert.equal(address, `http://127.0.0.1:${port}/v1`);
    assert.match(key, /^sk-/);
}, { timeout: 160000 });

after(async () => {
    if (demo) await endChild(demo, 20000);
    if (dir) rmSync(dir, { recursive: true, force: true });
});

const client = () => new OpenAI({ baseURL: address, apiKey: key, maxRetries: 0 });

/* The stub's address is in the configuration that the demo has written. */
async function upstream() {
    const conf = readFileSync(join(dir, 'build', 'demo', 'nginx.conf'), 'utf8');
    const base = /ANTHROPIC_BASE_URL=(http:\/\/127\.0\.0\.1:\d+)/.exec(conf)[1];
    return (await fetch(`${base}/_requests?last`)).json();
}

test('it says that no account is used', () => {
    assert.match(said, /no account is used/i);
    assert.match(said, /stub/i);
});

test('the openai SDK streams an answer', async () => {
    const stream = await client().chat.completions.create({
        model: 'gpt-4o', stream: true, messages: [user('Say hello in five words.')],
    });
    let text = '';
    let chunks = 0;
    for await (const chunk of stream) {
        text += chunk.choices[0].delta.content ?? '';
        chunks += 1;
    }
    assert.match(text, /Hello! This is the stub/);
    assert.match(text, /“Say hello in five words\.”/);
    assert.ok(chunks > 10, `${chunks} chunks`);
});

test('a three-message conversation reaches the model: those messages, in order, and the system prompt', async () => {
    await client().chat.completions.create({
        model: 'sonnet',
        messages: [system('You are terse.'), user('My name is Ada.'), assistant('Hello, Ada.'), user('What is my name?')],
    });
    const [last] = await upstream();
    assert.deepEqual(conversation(last), [
        ['user', 'My name is Ada.'], ['assistant', 'Hello, Ada.'], ['user', 'What is my name?'],
    ]);
    assert.equal(systemTexts(last).at(-1), 'You are terse.');
});

test('the curl line that it prints works', () => {
    const line = /^ *(curl .*)$/m.exec(said)[1];
    const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', timeout: 30000 });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^data: \{/);
    assert.match(stdout, /data: \[DONE\]\n\n$/);
});

test('ended by its pid it leaves nothing running', async () => {
    assert.ok(left().length >= 3, 'nginx and the stub do run');
    await endChild(demo, 20000);
    await waitFor(`all of it to be gone: ${left()}`, () => left().length === 0, 5000);
    assert.doesNotMatch(said, /\[(alert|crit|emerg)\]/);
});
