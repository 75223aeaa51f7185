/*
 * The gate with the real CLI: one call of the model a question, whatever the answer was, on any of
 * four workers; and each way in which a CLI can be without it: the turn is answered, the log says
 * it once, the status says why. t/soak/one-call.mjs does hundreds of each kind.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startServer, waitFor } from './lib/server.mjs';
import { KINDS, lateCalls, startCalls, turnsOf } from './lib/calls.mjs';
import { endIdle } from './lib/engine.mjs';
import { scripted, user } from './lib/upstream.mjs';

const TURNS = 6;

describe('one call a question', { concurrency: 1 }, () => {
    let server;
    before(async () => { server = await startCalls({ workers: 4 }); });
    after(() => server?.end());

    for (const kind of KINDS) {
        test(kind.name, async () => {
            const { calls, want, wrong, first, ended } = await turnsOf(server, kind, { turns: TURNS, parallel: 3 });
            assert.equal(wrong, 0, first);
            assert.equal(calls, want, 'calls');
            assert.equal(ended, 0, 'processes ended');
        });
    }

    test('no call came when its turn was over', async () => {
        assert.deepEqual(await lateCalls(server), []);
    });

    test('and the gate is said to work', async () => {
        const { profiles } = await server.status();
        assert.deepEqual(profiles.map(({ gate }) => gate), ['works']);
        assert.equal((await server.request('GET', '/health')).json.gate, 'works');
        assert.doesNotMatch(server.log(), /\[error\].*gate/);
    });
});

/* ---------------------------------------------------------------------------------------- */

const gateOf = (server) => {
    const [name] = readdirSync(server.dir).filter((file) => file.startsWith('claude-gate-'));
    return join(server.dir, name);
};
const REGISTER = 'hooks/register.mjs';

/* nginx is there, a first CLI is not: warm 0. It listens before the master writes the gate, and has workers only then. */
async function startWithout(http = '', options = {}) {
    const server = await startServer({ workers: 2, listen: 'reuseport', ...options, http: `claude_warm 0; ${http}` });
    await waitFor('its workers', () => server.workers().length > 0);
    return server;
}

/*
 * Two turns, an answer that is cut, and a round trip in the same conversation: all are answered. The log has
 * one line about it, which matches; status and health have the state.
 */
async function without(server, state, words) {
    const messages = [user(scripted({ text: 'half', stop_reason: 'max_tokens' }, 'one '))];
    const cut = await server.chat({ messages });
    assert.equal(cut.json.choices?.[0].finish_reason, 'length', cut.text);
    for (const fresh of [true, true]) {
        const answer = await server.chat({ messages: [user('hello')] }, { fresh });
        assert.equal(answer.json.choices?.[0].message.content, 'echo: hello', answer.text);
    }
    await server.idle();
    const lines = server.log().split('\n').filter((line) => /\[error\]/.test(line));
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0], /runs without the gate/);
    assert.match(lines[0], words);
    const { profiles } = await server.status();
    assert.equal(profiles[0].gate, state);
    assert.match(profiles[0].gate_words, words);
    assert.equal((await server.request('GET', '/health')).json.gate, state);
}

/* The first turn after a reload, of a new process, has all that the gate is for. */
async function again(server, old) {
    await waitFor('the new workers', () => server.workers().length === 2 && !server.workers().some((pid) => old.includes(pid)));
    await endIdle(server);
    const { status, json } = await server.chat({ messages: [user('again')] }, { fresh: true });
    assert.deepEqual([status, json.choices?.[0].message.content], [200, 'echo: again']);
    assert.deepEqual(server.stub.requests.at(-1).body.messages.map(({ role }) => role), ['user']);
    assert.equal((await server.status()).profiles[0].gate, 'works');
}

/* Another plugin, before ours, which lets no call through: then ours does not say one. */
function denies(dir, claude) {
    const plugin = join(dir, 'denies');
    for (const [file, text] of Object.entries({
        '.claude-plugin/plugin.json': '{"name":"denies","version":"1.0.0"}',
        'hooks/hooks.json': '{"modules":["./register.mjs"]}',
        'hooks/register.mjs': `export function register(on) {
            on('http.fetch', async ($, e, next) => (e.url.includes('/v1/messages') ? { deny: 'no' } : next(e))).catch(() => ({ deny: 'no' }));
        }`,
    })) {
        mkdirSync(join(plugin, file, '..'), { recursive: true });
        writeFileSync(join(plugin, file), text);
    }
    const file = join(dir, 'wrapped');
    writeFileSync(file, `#!/bin/sh\ncase "$*" in\n*--plugin-dir*) exec ${claude} --plugin-dir ${plugin} "$@";;\n*) exec ${claude} "$@";;\nesac\n`);
    chmodSync(file, 0o755);
    return file;
}

describe('without it', { concurrency: 3 }, () => {
    const ways = {
        'its directory is gone': [(dir) => rmSync(dir, { recursive: true }), 'files', /missing/],
        'its module is gone': [(dir) => rmSync(join(dir, REGISTER)), 'files', /missing/],
        'its module does not parse': [(dir) => appendFileSync(join(dir, REGISTER), ')'), 'files', /not what nginx wrote/],
        'others may write to it': [(dir) => chmodSync(join(dir, REGISTER), 0o666), 'files', /not what nginx wrote/],
    };
    for (const [name, [spoil, state, words]] of Object.entries(ways)) {
        test(name, async () => {
            const server = await startWithout();
            try {
                spoil(gateOf(server));
                await without(server, state, words);
                const old = server.workers();
                server.nginx.kill('SIGHUP');
                const whole = () => statSync(join(gateOf(server), REGISTER)).mode === 0o100644;
                await waitFor('a reload to write it again', () => { try { return whole(); } catch { return false; } });
                await again(server, old);
            } finally {
                await server.end();
            }
        });
    }

    const launches = {
        '--bare': 'claude_args --bare;',
        '--safe-mode': 'claude_args --safe-mode;',
        'hooks are off': 'claude_args --settings \'{"disableAllHooks":true}\';',
        'CLAUDE_CODE_SIMPLE': 'claude_env CLAUDE_CODE_SIMPLE=1;',
    };
    for (const [name, http] of Object.entries(launches)) {
        test(name, async () => {
            const server = await startWithout(http);
            try {
                await without(server, 'silent', /did not load it/);
            } finally {
                await server.end();
            }
        });
    }

    test('it lets no question through', async () => {
        const server = await startWithout('', { claude: denies });
        try {
            await without(server, 'shut', /let no question through/);
            const status = await server.status();
            assert.equal(status.replaced, 1);
            await endIdle(server);
            assert.equal((await server.chat({ messages: [user('hello')] }, { fresh: true })).status, 200);
            assert.equal((await server.status()).replaced, 1, 'at once by a process without it');
        } finally {
            await server.end();
        }
    });

    test('claude_gate_path off: nothing is said', async () => {
        const server = await startWithout('claude_gate_path off;');
        try {
            assert.equal((await server.chat({ messages: [user('hello')] })).json.choices[0].message.content, 'echo: hello');
            const { profiles } = await server.status();
            assert.equal(profiles[0].gate, 'off');
            assert.doesNotMatch(server.log(), /gate/);
            assert.equal(readdirSync(server.dir).filter((file) => file.startsWith('claude-gate-')).length, 0);
        } finally {
            await server.end();
        }
    });

    /* /etc with managed settings in it, in a mount namespace that is the CLI's alone */
    const overlay = (dir) => `mount -t tmpfs none ${dir} && mkdir ${dir}/up ${dir}/work && mkdir ${dir}/up/claude-code`
        + ` && echo '{"env":{"FOO":"1"}}' > ${dir}/up/claude-code/managed-settings.json`
        + ` && mount -t overlay overlay -o lowerdir=/etc,upperdir=${dir}/up,workdir=${dir}/work /etc`;
    const may = () => spawnSync('unshare', ['-m', 'sh', '-c', `mkdir -p /tmp/overlay-probe && ${overlay('/tmp/overlay-probe')}`]).status === 0;

    test('managed settings', { skip: !may() && 'no mount namespaces here' }, async () => {
        const server = await startWithout('', {
            claude: (dir, claude) => {
                mkdirSync(join(dir, 'etc'));
                const file = join(dir, 'wrapped');
                writeFileSync(file, `#!/bin/sh\nexec unshare -m sh -c '${overlay(join(dir, 'etc')).replaceAll("'", "'\\''")} && exec "$@"' sh ${claude} "$@"\n`);
                chmodSync(file, 0o755);
                return file;
            },
        });
        try {
            await without(server, 'passed', /managed settings/);
        } finally {
            await server.end();
        }
    });
});

/* What the environment says wins over what a question says, but for this variable. */
describe('CLAUDE_CODE_EFFORT_LEVEL of claude_env', { concurrency: 2 }, () => {
    for (const [name, http] of [['with the gate', ''], ['without', 'claude_gate_path off;']]) {
        test(`${name}: of questions that name no effort`, async () => {
            const server = await startWithout(http, { env: { CLAUDE_CODE_EFFORT_LEVEL: 'high' } });
            try {
                for (const effort of [undefined, 'low', undefined, 'max']) {
                    const { status, text } = await server.chat({ messages: [user('hello')], reasoning_effort: effort });
                    assert.equal(status, 200, text);
                    assert.equal(server.stub.requests.at(-1).body.output_config.effort, effort ?? 'high');
                }
            } finally {
                await server.end();
            }
        });
    }
});
