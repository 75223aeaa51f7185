/*
 * conf/examples/claude-in-a-box, as it stands there, around the real CLI: all that works without it
 * works in it, and what happens in a box stays there. What it keeps from an agent is in
 * levels.test.mjs.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KEY, OTHER_KEY, SLOW, isAlive, waitFor } from './lib/server.mjs';
import { NO_BOX, USER, ownHome, writeBox } from './lib/box.mjs';
import { ask, endKilled, logged, rowsIn, startEngine } from './lib/engine.mjs';
import { assistant, conversation, only, scripted, user } from './lib/upstream.mjs';

const DEFAULTS = 'claude_warm 0; claude_max_concurrent 4; claude_max_processes 8;';

describe('a CLI in a box', { skip: NO_BOX }, () => {
    let server;
    let short;                                          /* sockets of the sandbox lie below it */

    before(async () => {
        short = mkdtempSync(join(tmpdir(), 'box-'));
        chmodSync(short, 0o755);
        const state = join(short, 'state');
        server = await startEngine({
            workers: 1, user: USER, http: `${DEFAULTS} claude_state_path ${state};`,
            env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
            claude: writeBox,
            server: `claude_sandbox external;
                location /chat/ { claude_openai; claude_working_directory cwd; }
                location /agent/ { claude_openai; claude_tools Read Write Bash; claude_args --allowedTools Read,Write,Bash; }
                location /both/ { claude_openai; claude_tools Bash; claude_args --allowedTools Bash; claude_sandbox on; }`,
            prepare: (dir) => {                         /* the one that chats have else is every nginx's, of whatever user */
                mkdirSync(join(dir, 'cwd'));
                ownHome(dir);
            },
        });
    });
    after(async () => {
        if (server) await endKilled(server);
        if (short) rmSync(short, { recursive: true, force: true });
    });

    async function turn(messages, more = {}) {
        const answer = await ask(server, { messages, path: '/chat/', ...more });
        assert.equal(answer.status, 200, `${JSON.stringify(answer.error)}\n${server.log().slice(-2000)}`);
        return { ...answer, ...await logged(server, answer.tag) };
    }

    function commandOf(pid) {
        try {
            return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        } catch {
            return '';                                  /* it has ended */
        }
    }

    /* The process of our number is bubblewrap; those below it, as this side has them. */
    const below = (pid) => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((one) => {
        try {
            return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${one}/stat`, 'latin1'))[1]) === pid;
        } catch {
            return false;                               /* it has ended */
        }
    }).flatMap((one) => [one, ...below(one)]);
    const idle = async () => (await rowsIn(server, 'idle')).map(({ pid }) => pid);

    /* The model runs a command, and then says what it was told. */
    function command(word, text, then = {}) {
        server.stub.script([{
            match: word, times: 1, stop_reason: 'tool_use',
            tool_use: [{ id: `toolu_${word}`, name: 'Bash', input: { command: text } }],
        }, { match: '', times: 1, text: 'Done.', ...then }]);
        return word;
    }
    const told = () => JSON.stringify(server.stub.requests.flatMap(({ body }) => body.messages).flatMap(({ content }) => content)
        .findLast(({ type }) => type === 'tool_result').content);

    test('is a chat with its gate', async () => {
        server.stub.clear();
        const first = await turn([user('a')]);
        assert.equal(first.content, 'echo: a');
        assert.deepEqual(conversation(only(server.stub)), [['user', 'a']], 'nothing but the client has said');
        const second = await turn([user('a'), assistant('echo: a'), user('b')]);
        assert.equal(second.rung, 'live');
        assert.equal((await turn([user('c')])).rung, 'recycled');
    });

    test('stops when its client goes, and goes on', async () => {
        const known = await idle();
        await turn([user(scripted({ deltas: Array(2000).fill('x '), gap_ms: 20 }))], { leave: 'first' });
        await server.idle(10000 * SLOW);
        assert.deepEqual(await idle(), known);
        assert.notEqual((await turn([user('after that')])).rung, 'cold');
    });

    test('goes on with a session when it is gone', async () => {
        const session = { 'x-session-id': randomUUID() };
        await turn([user('a')], { headers: session });
        await waitFor('the session to be idle', async () => (await rowsIn(server, 'busy')).length === 0);
        const pids = await idle();
        for (const pid of pids) process.kill(-pid, 'SIGTERM');
        await waitFor('all of them to end', () => pids.every((pid) => !isAlive(pid)), 10000 * SLOW);
        await waitFor('their rows to go', async () => (await idle()).length === 0);
        const again = await turn([user('b')], { headers: session });
        assert.equal(again.rung, 'resumed');
        assert.deepEqual(conversation(server.stub.requests.at(-1)).map(([role, ...texts]) => [role, texts.join('')]),
            [['user', 'a'], ['assistant', 'echo: a'], ['user', 'b']]);
    });

    test('is an agent that sees itself alone', async () => {
        const { content } = await turn([user(command('look', "cd /proc && echo [0-9]* && pwd -P && ls -d ~ /root /home; touch /x /usr/x; echo y > $TMPDIR/y && echo it writes"))], { path: '/agent/' });
        assert.equal(content, 'Done.');
        const text = told();
        assert.match(text, /^"1( \d+){2,4}\\n\/proc/, 'bubblewrap, the CLI, the shell');
        assert.match(text, /cannot access '\/root'/);
        assert.match(text, /touch: cannot touch '\/x': Read-only/);
        assert.match(text, /it writes/);
    });

    test('has room for the sandbox of the CLI', async () => {
        const text = 'env | grep API_KEY; cat /proc/[0-9]*/environ | grep -c API_KEY; echo x > own && echo it writes; '
            + `exec 3<>/dev/tcp/127.0.0.1/${server.port} && echo it connects`;
        await turn([user(command('both', text))], { path: '/both/' });
        assert.match(told(), /it writes/);
        assert.doesNotMatch(told(), /=dummy|it connects/);
    });

    test('is killed by its agent, and no other', async () => {
        const other = await turn([user('of two')], { key: OTHER_KEY, path: '/agent/' });
        const known = await idle();
        const answer = await server.request('POST', '/agent/chat/completions', {
            body: { model: 'sonnet', messages: [user(command('killall', 'kill -9 -1; sleep 60'))] },
        });
        assert.equal(answer.status, 502, answer.text);
        server.stub.script([]);
        assert.deepEqual(known.filter((pid) => !isAlive(pid)), []);
        assert.equal((await turn([user('of two'), assistant(other.content), user('on')], { key: OTHER_KEY, path: '/agent/' })).rung, 'live');
    });

    test('ends with its worker, and all in it', async () => {
        const running = turn([user(command('long', 'setsid sleep 600 & sleep 600'))], { path: '/agent/' }).catch(() => {});
        const inside = await waitFor('the command in its box', async () => {
            const [row] = await rowsIn(server, 'busy');
            const all = row ? below(row.pid) : [];
            return all.filter((pid) => commandOf(pid).startsWith('sleep\0')).length === 2 && all;
        }, 10000 * SLOW);
        for (const pid of server.workers()) process.kill(pid, 'SIGKILL');
        await waitFor('nothing of it to be left', () => inside.every((pid) => !isAlive(pid)), 5000 * SLOW);
        await running;
    });
});
