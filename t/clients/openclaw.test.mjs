/*
 * OpenClaw, unmodified, with the configuration of docs/clients.md: it works on files with its own
 * tools, and what it sent is held against what reached the model. It has a home and an environment
 * of its own, and nothing to reach but the loopback.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KEY, ROOT, SLOW, spawnTied, startServer } from '../real/lib/server.mjs';
import { calls, results } from '../real/lib/clients.mjs';
import { upstreamTool } from '../real/lib/tools.mjs';

const OPENCLAW = process.env.TEST_OPENCLAW;
const MODULES = join(OPENCLAW, 'node_modules');
const NODE = readdirSync(MODULES).filter((name) => /^node-linux-/.test(name)).map((name) => join(MODULES, name, 'bin/node'))[0];

let server;
let dir;

/* The one of the page, with another address. */
function pageConfig(baseUrl) {
    const [, text] = /```json\n(\{\s*"models": \{[^]*?)```/.exec(readFileSync(join(ROOT, 'docs/clients.md'), 'utf8'));
    const config = JSON.parse(text);
    config.models.providers.claude.baseUrl = baseUrl;
    return config;
}

before(async () => {
    server = await startServer({ http: 'client_body_in_file_only on;' });
    dir = mkdtempSync(join(tmpdir(), 'openclaw-'));
    for (const name of ['home', 'project']) mkdirSync(join(dir, name));
    writeFileSync(join(dir, 'openclaw.json'), JSON.stringify(pageConfig(`${server.url}/v1`)));
    writeFileSync(join(dir, 'project', 'in.txt'), 'The secret word is heliotrope.\n');
});
after(async () => {
    await server?.end();
    if (dir) rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => server.stub.clear());

/* One turn of its agent: {exit, said, and the members of what it prints}. */
async function exec(key, message) {
    const child = spawnTied(NODE, [
        join(MODULES, 'openclaw/openclaw.mjs'), 'agent', 'exec', '--config', join(dir, 'openclaw.json'), '--cwd', join(dir, 'project'),
        '--model', 'claude/sonnet', '--json', '--timeout', String(120 * SLOW), message,
    ], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
            PATH: process.env.PATH, HOME: join(dir, 'home'), CLAUDE_GATEWAY_KEY: key,
            HTTP_PROXY: 'http://127.0.0.1:9', HTTPS_PROXY: 'http://127.0.0.1:9', NO_PROXY: '127.0.0.1',
        },
    });
    let out = '';
    let said = '';
    child.stdout.on('data', (data) => { out += data; });
    child.stderr.on('data', (data) => { said += data; });
    const status = await new Promise((resolve) => { child.once('close', resolve); });
    return { ...JSON.parse(out || '{}'), exit: status, said };
}

const chats = () => server.stub.requests.map(({ body }) => body).filter(({ tools }) => tools?.length);

/* The bodies that it has sent. */
function sent() {
    const temp = join(server.dir, 'temp', 'client_body');
    return readdirSync(temp).sort().map((name) => JSON.parse(readFileSync(join(temp, name), 'utf8')));
}

/* ---------------------------------------------------------------------------------------- */

describe('a task: read a file, write another', () => {
    let done;
    let bodies;

    test('it ends well, and the file is written', async () => {
        server.stub.script([
            { text: 'I read it first.', ...calls(['toolu_read', 'read', { path: 'in.txt' }]) },
            { ...calls(['toolu_write', 'write', { path: 'out.txt', content: 'heliotrope\n' }]) },
            { text: 'The word is copied.' },
        ]);
        done = await exec(KEY, 'Copy the word in in.txt to the other file.');
        bodies = chats();
        assert.equal(done.exit, 0, done.said);
        assert.equal(done.final, 'The word is copied.');
        assert.deepEqual(done.toolSummary.tools.sort(), ['read', 'write']);
        assert.equal(readFileSync(join(dir, 'project', 'out.txt'), 'utf8'), 'heliotrope\n');
    });

    test('the model has the calls as its own, and what the tools said as their results', () => {
        assert.equal(bodies.length, 3);
        const found = results(bodies.at(-1));
        assert.deepEqual(found.map(([id]) => id), ['tooluread', 'tooluwrite'], 'it writes the ids in its own way');
        assert.match(found[0][1], /The secret word is heliotrope\./);
        assert.match(found[1][1], /out\.txt/);
    });

    test('the model has its tools: names, order, schemas', () => {
        const [{ tools }] = sent();
        assert.ok(tools.length > 5);
        for (const body of bodies) assert.deepEqual(body.tools.map(({ cache_control: mark, ...tool }) => tool), tools.map(upstreamTool));
    });
});

test('a wrong key is told', async () => {
    const done = await exec('sk-wrong', 'Hello?');
    assert.notEqual(done.exit, 0);
    assert.match(`${done.said}${JSON.stringify(done)}`, /[Aa]uth|API key|401/);
    assert.equal(server.stub.requests.length, 0);
});
