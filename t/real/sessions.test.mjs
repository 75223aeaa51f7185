/*
 * Sessions with the real CLI: what X-Session-Id continues and for how long, what reaches the model
 * then, and what of it lies on disk. The names of the client's own are UUIDs; a name that an answer
 * gave lasts while a process holds the conversation.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KEY, OTHER_KEY, SLOW, endChild, sleep, spawnTied, waitFor, withServer } from './lib/server.mjs';
import { ask, endIdle, endKilled, logged, rowsIn, startEngine, workerAgents } from './lib/engine.mjs';
import { calling, functionTool, gather, toolMessage } from './lib/tools.mjs';
import { assistant, conversation, scripted, system, systemTexts, user } from './lib/upstream.mjs';

const NGINX = process.env.TEST_NGINX_BINARY ?? 'nginx';

/* A turn that has to succeed, with its rung and the session of the answer. */
async function turn(server, session, content, more = {}) {
    const messages = Array.isArray(content) ? content : [user(content)];
    const answer = await ask(server, {
        messages, ...more, headers: { ...(session ? { 'x-session-id': session } : {}), ...more.headers },
    });
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return { ...answer, ...await logged(server, answer.tag) };
}

/* What the model was last asked, without the CLI's own entries. */
const asked = (server) => conversation(server.stub.requests.at(-1)).map(([role, ...texts]) => [role, texts.join('')]);
const lastSystem = (server) => systemTexts(server.stub.requests.at(-1)).at(-1);

/* Pairs as `said` puts them: said('a', 'b') is a and its echo, and the question b. */
const said = (...texts) => texts.flatMap((text, i) => (
    i + 1 < texts.length ? [['user', text], ['assistant', `echo: ${text}`]] : [['user', text]]));

/* The files that sessions have left: transcripts and records. */
function onDisk(server) {
    const keys = join(server.dir, 'claude-state/keys');
    const inside = (dir) => (existsSync(dir) ? readdirSync(dir).map((name) => join(dir, name)) : []);
    return inside(keys).flatMap((key) => inside(join(key, 'projects'))).flatMap(inside);
}
const transcripts = (server) => onDisk(server).filter((name) => name.endsWith('.jsonl'));
const records = (server) => onDisk(server).filter((name) => name.endsWith('.nginx'));

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const DEFAULTS = 'claude_warm 0; claude_max_concurrent 6; claude_max_processes 8;';

/* ---------------------------------------------------------------------------------------- */

describe("a client's own UUID", () => {
    let server;
    let workers;

    before(async () => {
        server = await startEngine({ http: DEFAULTS });
        await waitFor('both workers', () => server.workers().length === 2);
        workers = await workerAgents(server);
    });
    after(() => server?.end());

    test('begins with the first message and goes on with only new ones', async () => {
        const id = randomUUID();
        const first = await turn(server, id, 'a');
        assert.deepEqual(asked(server), said('a'));
        const second = await turn(server, id, 'b');
        assert.deepEqual(asked(server), said('a', 'b'));
        const third = await turn(server, id, 'c');
        assert.deepEqual(asked(server), said('a', 'b', 'c'));
        assert.deepEqual([first, second, third].map(({ rung }) => rung), ['cold', 'live', 'live']);
    });

    test('whatever worker it lands on', async () => {
        const id = randomUUID();
        const rungs = [];
        const { handed } = await server.status();
        for (let i = 0; i < 6; i++) {
            const { agent } = workers[i % 2];
            rungs.push((await turn(server, id, `m${i}`, { agent })).rung);
        }
        assert.deepEqual(asked(server), said('m0', 'm1', 'm2', 'm3', 'm4', 'm5'));

        /* handed over each time; a busy machine may take too long for one, which is resumed then */
        const missed = rungs.slice(1).filter((rung) => rung !== 'live');
        assert.ok(missed.length < 3 && missed.every((rung) => rung === 'resumed'), rungs.join());
        assert.ok((await server.status()).handed - handed >= 5 - missed.length);
    });

    test('after its process has ended by --resume, and live again then', async () => {
        const id = randomUUID();
        await turn(server, id, 'a', { messages: [system('Be brief.'), user('a')] });
        await endIdle(server);
        const resumed = await turn(server, id, 'b');
        assert.equal(resumed.rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));
        assert.equal(lastSystem(server), 'Be brief.');
        assert.equal((await turn(server, id, 'c')).rung, 'live');
        await endIdle(server);
        assert.equal((await turn(server, id, 'd')).rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b', 'c', 'd'));
    });

    test('a whole history wins, and the session goes on from it', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        await turn(server, id, [user('x'), assistant('y'), user('z')]);
        const history = [['user', 'x'], ['assistant', 'y'], ['user', 'z']];
        assert.deepEqual(asked(server), history);
        await turn(server, id, 'more');
        const more = [...history, ['assistant', 'echo: z'], ['user', 'more']];
        assert.deepEqual(asked(server), more);
        await endIdle(server);
        assert.equal((await turn(server, id, 'still')).rung, 'resumed');
        assert.deepEqual(asked(server), [...more, ['assistant', 'echo: more'], ['user', 'still']]);
    });

    test('a whole history that the transcript holds is resumed, another one begins anew', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        await endIdle(server);
        const same = await turn(server, id, [user('a'), assistant('echo: a'), user('b')]);
        assert.equal(same.rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));
        await endIdle(server);
        const other = await turn(server, id, [user('a'), assistant('edited'), user('b')]);
        assert.equal(other.rung, 'cold');
        assert.deepEqual(asked(server), [['user', 'a'], ['assistant', 'edited'], ['user', 'b']]);
        await turn(server, id, 'c');
        assert.deepEqual(asked(server).at(-1), ['user', 'c']);
        assert.equal(asked(server).length, 5);
    });

    test('after a resume an earlier message can be edited', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        await endIdle(server);
        await turn(server, id, 'b');
        await turn(server, id, [user('a, edited'), assistant('other'), user('b')]);
        assert.deepEqual(asked(server), [['user', 'a, edited'], ['assistant', 'other'], ['user', 'b']]);
        await turn(server, id, 'c');
        assert.equal(asked(server).length, 5);
    });

    test('two requests at once: one after the other, both in the conversation', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        const both = await Promise.all([turn(server, id, 'left'), turn(server, id, 'right')]);
        assert.deepEqual(both.map(({ rung }) => rung), ['live', 'live']);
        const all = asked(server);
        assert.equal(all.length, 5);
        assert.deepEqual([all[2][1], all[4][1]].sort(), ['left', 'right']);
        assert.deepEqual(all[3], ['assistant', `echo: ${all[2][1]}`]);
    });

    test('the first two at once: one begins the session, the other one follows', async () => {
        const id = randomUUID();
        await Promise.all([turn(server, id, 'one', { agent: workers[0].agent }),
            turn(server, id, 'two', { agent: workers[1].agent })]);
        assert.equal(asked(server).length, 3);
    });

    test('a whole history does not wait for a turn of the session, nor disturb it', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        const slow = turn(server, id, scripted({ deltas: ['slow'], first_ms: 4000 }));
        await waitFor('the slow turn', async () => (await server.status()).turns.running === 1);
        const whole = await turn(server, id, [user('p'), assistant('q'), user('r')]);
        assert.deepEqual(asked(server), [['user', 'p'], ['assistant', 'q'], ['user', 'r']]);
        assert.equal((await server.status()).turns.running, 1, 'the slow one still runs');
        assert.equal(whole.content, 'echo: r');
        await slow;
        await turn(server, id, 'b');
        assert.equal(asked(server)[0][1], 'a');
        assert.equal(asked(server).length, 5);
    });

    test('names of different keys never meet', async () => {
        const id = randomUUID();
        await turn(server, id, 'mine');
        const other = await turn(server, id, 'yours', { key: OTHER_KEY });
        assert.equal(other.rung, 'cold');
        assert.deepEqual(asked(server), said('yours'));
        await turn(server, id, 'mine again');
        assert.deepEqual(asked(server), said('mine', 'mine again'));
        const ids = transcripts(server).map((name) => /([-0-9a-f]{36})\.jsonl$/.exec(name)[1]);
        assert.ok(!ids.includes(id));
        assert.ok(ids.every((text) => /^.{14}5/.test(text)), String(ids));
    });

    test('a turn that its client left is not in the conversation', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        await ask(server, {
            messages: [user(scripted({ deltas: ['never', ' more'], gap_ms: 3000 }))], leave: 'first',
            headers: { 'x-session-id': id },
        });
        const next = await turn(server, id, 'b');
        assert.equal(next.rung, 'live');
        assert.deepEqual(asked(server), said('a', 'b'));
    });

    test('nor one whose process was killed in its midst', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        await waitFor('nobody to be busy', async () => (await rowsIn(server, 'busy')).length === 0);
        let heard = false;
        const killed = ask(server, {
            messages: [user(scripted({ deltas: ['never', ' more'], gap_ms: 5000 }))],
            headers: { 'x-session-id': id },
            heard: () => { heard = true; },
        });
        const [row] = await waitFor('it to run', async () => {
            const rows = heard && await rowsIn(server, 'busy');
            return rows.length && rows;
        });
        process.kill(row.pid, 'SIGKILL');
        const answer = await killed;
        assert.equal(answer.error.code, 'cli_failed');
        const next = await turn(server, id, 'b');
        assert.equal(next.rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));
    });

    for (const [how, script, more] of [
        ['a limit', { text: 'cut here', stop_reason: 'max_tokens' }, { max_tokens: 20 }],
        ['a limit of the model', { text: 'cut here', stop_reason: 'max_tokens' }, {}],
        ['a stop of white space', { deltas: ['cut ', 'here\n', '\nand ', 'on'], gap_ms: 20 }, { stop: ['\n\n'] }],
    ]) {
        test(`an answer that was cut off by ${how} is in the session, live and resumed`, async () => {
            const question = scripted(script, 'q ');
            const want = [['user', 'a'], ['assistant', 'echo: a'], ['user', question], ['assistant', 'cut here'], ['user', 'on']];
            for (const ended of [false, true]) {
                const id = randomUUID();
                await turn(server, id, 'a');
                assert.equal((await turn(server, id, question, more)).content, 'cut here');
                if (ended) await endIdle(server);
                assert.equal((await turn(server, id, 'on')).rung, ended ? 'resumed' : 'live');
                assert.deepEqual(asked(server), want);
                await turn(server, id, [user('a'), assistant('echo: a'), user('edited')]);
                assert.deepEqual(asked(server), [...want.slice(0, 2), ['user', 'edited']]);
            }
        });
    }

    test('a CLI that is killed right behind a cut answer has nothing else in its session', async () => {
        const cut = { text: 'cut here', stop_reason: 'max_tokens' };
        const whole = [user('one'), assistant('echo: one'), user('two'), assistant('cut here'), user('three')];
        const want = whole.map(({ role, content }) => [role, content]);
        for (const next of [whole, whole, whole, [user('three')]]) {
            await endIdle(server);
            const id = randomUUID();
            await turn(server, id, 'one');
            await server.idle();
            const [{ pid }, ...others] = await rowsIn(server, 'idle');
            assert.deepEqual(others, []);
            server.stub.script(cut);
            assert.equal((await turn(server, id, whole.slice(0, 3), { max_tokens: 2000 })).content, 'cut here');
            await server.idle();
            process.kill(pid, 'SIGKILL');
            await waitFor('its row to go', async () => (await server.status()).processes.length === 0);
            assert.equal((await turn(server, id, next)).rung, 'resumed');
            assert.deepEqual(conversation(server.stub.requests.at(-1)), want);
            assert.equal((await turn(server, id, 'four')).rung, 'live');
            assert.deepEqual(conversation(server.stub.requests.at(-1)), [...want, ['assistant', 'echo: three'], ['user', 'four']]);
        }
    });

    test('a client that closes with the end of a cut answer in hand takes nothing back', async () => {
        const question = scripted({ text: 'cut here', stop_reason: 'max_tokens' }, 'q ');
        const whole = [user('a'), assistant('echo: a'), user(question), assistant('cut here'), user('on')];
        for (const next of [[user('on')], whole]) {
            const id = randomUUID();
            await turn(server, id, 'a');
            const headers = { 'x-session-id': id };
            const { left } = await ask(server, { messages: [user(question)], max_tokens: 20, leave: 'done', headers });
            assert.ok(left);
            assert.equal((await turn(server, id, next)).rung, 'live');
            assert.deepEqual(asked(server), whole.map(({ role, content }) => [role, content]));
            assert.equal((await turn(server, id, 'still')).rung, 'live');
            assert.equal(asked(server).length, whole.length + 2);
        }
    });

    test('an image is still in the session when it is resumed', async () => {
        const id = randomUUID();
        const parts = [{ type: 'text', text: 'look' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }];
        await turn(server, id, [user(parts)]);
        await endIdle(server);
        assert.equal((await turn(server, id, 'on')).rung, 'resumed');
        const images = server.stub.requests.at(-1).body.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []))
            .filter(({ type }) => type === 'image').map(({ source }) => [source.type, source.media_type, source.data]);
        assert.deepEqual(images, [['base64', 'image/png', PNG]]);
    });

    test('a session of nothing but cut answers ends with its process: 410, and the whole history goes on', async () => {
        const question = scripted({ text: 'cut here', stop_reason: 'max_tokens' }, 'q ');
        const kind = system('Be kind.');
        const id = randomUUID();
        await turn(server, id, question, { messages: [kind, user(question)] });
        await endIdle(server);
        const alone = await ask(server, { messages: [user('on')], headers: { 'x-session-id': id } });
        assert.deepEqual([alone.status, alone.error.code], [410, 'session_expired']);
        const history = [kind, user(question), assistant('cut here'), user('on')];
        assert.equal((await turn(server, id, history, { model: 'haiku' })).rung, 'cold');
        assert.deepEqual(asked(server), [['user', question], ['assistant', 'cut here'], ['user', 'on']]);
        await endIdle(server);
        assert.equal((await turn(server, id, 'still', { model: 'haiku' })).rung, 'resumed');
        assert.equal(lastSystem(server), 'Be kind.');
        assert.match(server.stub.requests.at(-1).body.model, /haiku/);
        assert.equal(asked(server).length, 5);
    });

    test('an answer that was refused is not', async () => {
        const id = randomUUID();
        await turn(server, id, 'a');
        assert.equal((await turn(server, id, scripted({ text: 'no', stop_reason: 'refusal' }))).finish, 'content_filter');
        await turn(server, id, 'b');
        assert.deepEqual(asked(server), said('a', 'b'));
    });

    test('the model that a whole history changed to is kept when it is resumed', async () => {
        const id = randomUUID();
        await turn(server, id, 'a', { messages: [system('Be brief.'), user('a')] });
        const [, ...rest] = said('a', 'b');
        const history = [system('Be kind.'), user('a'), ...rest.map(([role, content]) => ({ role, content }))];
        await turn(server, id, history, { model: 'haiku' });
        await endIdle(server);
        assert.equal((await turn(server, id, 'c', { model: 'haiku' })).rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b', 'c'));
        assert.match(server.stub.requests.at(-1).body.model, /haiku/);
        assert.equal(lastSystem(server), 'Be kind.');
    });

    test('another model or system text needs the whole history', async () => {
        const id = randomUUID();
        await turn(server, id, [system('Be brief.'), user('a')]);
        for (const resumed of [false, true]) {
            if (resumed) await endIdle(server);
            const model = await ask(server, { model: 'opus', messages: [user('b')], headers: { 'x-session-id': id } });
            assert.equal(model.status, 400);
            assert.equal(model.error.param, 'model');
            assert.equal(model.error.code, 'session_model');
            const text = await ask(server, {
                messages: [system('Be long.'), user('b')], headers: { 'x-session-id': id },
            });
            assert.equal(text.status, 400);
            assert.equal(text.error.code, 'session_system');
        }
        await turn(server, id, [system('Be brief.'), user('b')]);
        assert.deepEqual(asked(server), said('a', 'b'));
        const whole = [system('Be long.'), user('a'), assistant('echo: a'), user('b')];
        await turn(server, id, whole, { model: 'opus' });
        assert.equal(lastSystem(server), 'Be long.');
        await turn(server, id, 'c', { model: 'opus' });
        assert.deepEqual(asked(server), said('a', 'b', 'c'));
    });

    test('its process is for nothing else', async () => {
        const id = randomUUID();
        const before = (await server.status()).processes.map((one) => one.pid);
        await turn(server, id, 'a');
        const [{ pid }] = (await server.status()).processes.filter((one) => !before.includes(one.pid) && one.turns === 1);
        await turn(server, undefined, 'somebody else');
        await turn(server, undefined, [user('a'), assistant('echo: a'), user('without a name')]);
        const row = (await server.status()).processes.find((one) => one.pid === pid);
        assert.equal(row?.turns, 1);
    });

    test('transcript and record are readable by nobody else', async () => {
        const files = onDisk(server);
        assert.ok(files.length >= 2);
        for (const name of files) assert.equal(statSync(name).mode & 0o077, 0, name);
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('a name that an answer gave', () => {
    let server;
    let workers;

    before(async () => {
        server = await startEngine({ http: DEFAULTS, server: 'add_header X-Rung $claude_process;' });
        await waitFor('both workers', () => server.workers().length === 2);
        workers = await workerAgents(server);
    });
    after(() => server?.end());

    /* The session id is in the head of the answer. */
    async function named(content, options = {}) {
        const answer = await server.chat({ messages: [user(content)] }, options);
        assert.equal(answer.status, 200, answer.text);
        return answer.headers['x-session-id'];
    }

    test('goes on with only new messages, on any worker', async () => {
        const id = await named('a');
        for (const [i, { agent }] of [...workers, ...workers].entries()) {
            assert.equal((await turn(server, id, `m${i}`, { agent })).rung, 'live');
        }
        assert.deepEqual(asked(server), said('a', 'm0', 'm1', 'm2', 'm3'));
    });

    test('and with a whole history, which keeps the name', async () => {
        const id = await named('a');
        await turn(server, id, [user('a'), assistant('echo: a'), user('b')]);
        await turn(server, id, 'c');
        assert.deepEqual(asked(server), said('a', 'b', 'c'));
    });

    test('is gone with its process: 410', async () => {
        const id = await named('a');
        await endIdle(server);
        const answer = await server.chat({ messages: [user('b')] }, { headers: { 'x-session-id': id } });
        assert.equal(answer.status, 410);
        assert.equal(answer.json.error.code, 'session_expired');
        assert.equal(answer.json.error.type, 'invalid_request_error');
        assert.equal(answer.headers['x-should-retry'], 'false');
        await turn(server, id, [user('a'), assistant('echo: a'), user('b')]);
        assert.deepEqual(asked(server), said('a', 'b'));
    });

    test('is gone when the process serves another conversation', async () => {
        await endIdle(server);
        const id = await named('a', { headers: {} });
        await turn(server, undefined, 'something else', {});
        const rows = await rowsIn(server, 'idle');
        const answer = await server.chat({ messages: [user('b')] }, { headers: { 'x-session-id': id } });
        assert.equal(answer.status, rows.length > 1 ? 200 : 410);
    });

    test('another key knows nothing of it', async () => {
        const id = await named('a secret');
        const other = await turn(server, id, 'what was it?', { key: OTHER_KEY });
        assert.deepEqual(asked(server), said('what was it?'));
        assert.equal(other.status, 200);
    });

    test('two at once follow each other', async () => {
        const id = await named('a');
        await Promise.all(workers.map(({ agent }, i) => turn(server, id, `at once ${i}`, { agent })));
        assert.equal(asked(server).length, 5);
    });

    test('nothing of it is on disk', () => {
        const own = onDisk(server);
        assert.equal(own.filter((name) => !/[0-9a-f-]{14}5[0-9a-f]{3}-/.test(name)).length, 0, String(own));
    });

    test('a name that is no UUID is neither continued nor kept', async () => {
        const one = await server.chat({ messages: [user('a')] }, { headers: { 'x-session-id': 'ses_0123' } });
        assert.notEqual(one.headers['x-session-id'], 'ses_0123');
        await turn(server, 'ses_0123', 'b');
        assert.deepEqual(asked(server), said('b'));
    });
});

/* ---------------------------------------------------------------------------------------- */

/* Ends with its test, a worker that was killed or not. */
describe('results of calls that come alone', () => {
    let server;
    let workers;
    const tools = ['alpha', 'beta'].map((name) => functionTool(name));
    const two = user(`go ${calling([['toolu_1', 'alpha', { x: '1' }], ['toolu_2', 'beta', { x: '2' }]])}`);
    const results = [toolMessage('toolu_1', 'one'), toolMessage('toolu_2', 'two')];

    before(async () => {
        server = await startEngine({ http: DEFAULTS });
        await waitFor('both workers', () => server.workers().length === 2);
        workers = await workerAgents(server);
    });
    after(() => server?.end());

    const say = (id, messages, options) => ask(server, { messages, tools, headers: id ? { 'x-session-id': id } : {}, ...options });

    async function call(id, options) {
        const answer = await say(id, [two], options);
        assert.equal(answer.finish, 'tool_calls');
        return answer;
    }

    /* What reached the model of the calls and their results, in order. */
    const seen = () => server.stub.requests.at(-1).body.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []))
        .filter(({ type }) => type === 'tool_use' || type === 'tool_result')
        .map(({ type, id, tool_use_id: of, content }) => [type, id ?? of, ...(content ? [content[0]?.text ?? content] : [])]);
    const want = [
        ['tool_use', 'toolu_1'], ['tool_use', 'toolu_2'],
        ['tool_result', 'toolu_1', 'one'], ['tool_result', 'toolu_2', 'two'],
    ];

    for (const [how, given] of [['in order', results], ['out of order', [...results].reverse()]]) {
        test(`go on in the process that waits, ${how}`, async () => {
            const id = randomUUID();
            await call(id);
            const answer = await say(id, given);
            assert.equal(answer.status, 200, JSON.stringify(answer.error));
            assert.equal((await logged(server, answer.tag)).rung, 'live');
            assert.deepEqual(seen(), want);
            const next = await say(id, [user('and now')]);
            assert.equal((await logged(server, next.tag)).rung, 'live');
            assert.deepEqual(seen(), want);
        });
    }

    test('whatever worker they land on', async () => {
        const id = randomUUID();
        await call(id, { agent: workers[0].agent });
        const answer = await say(id, results, { agent: workers[1].agent });
        assert.equal(answer.status, 200, JSON.stringify(answer.error));
        assert.equal((await logged(server, answer.tag)).rung, 'live');
        assert.deepEqual(seen(), want);
    });

    test('the whole history finds the process then', async () => {
        const id = randomUUID();
        const first = await call(id);
        const { content } = await say(id, [...results].reverse());
        const answer = await say(id, [two, { role: 'assistant', content: null, tool_calls: gather(first.events).tool_calls }, ...results,
            assistant(content), user('on')]);
        assert.equal((await logged(server, answer.tag)).rung, 'live');
    });

    for (const [what, messages] of [
        ['one is missing', results.slice(1)],
        ['one is of another call', [results[0], toolMessage('toolu_9', 'x')]],
        ['something is said beside them', [...results, user('and')]],
    ]) {
        test(`${what}: 410, and the process goes on waiting`, async () => {
            const id = randomUUID();
            await call(id);
            const answer = await say(id, messages);
            assert.deepEqual([answer.status, answer.error.code], [410, 'session_expired']);
            assert.equal((await say(id, results)).status, 200);
            assert.deepEqual(seen(), want);
        });
    }

    test('their process is gone: 410', async () => {
        const id = randomUUID();
        await call(id);
        for (const pid of server.clis()) process.kill(pid, 'SIGKILL');
        await waitFor('no process', () => server.clis().length === 0, 5000 * SLOW);
        const answer = await say(id, results);
        assert.deepEqual([answer.status, answer.error.code], [410, 'session_expired']);
    });

    test('twice the same, or without a session: 400 that says which', async () => {
        const twice = await say(randomUUID(), [results[0], results[0]]);
        assert.deepEqual([twice.status, twice.error.param], [400, 'messages[1].tool_call_id']);
        const none = await say(null, results);
        assert.deepEqual([none.status, none.error.param], [400, 'messages[0].tool_call_id']);
        const whole = await say(randomUUID(), [...results, assistant('a'), user('b')]);
        assert.deepEqual([whole.status, whole.error.param], [400, 'messages[0].tool_call_id']);
    });

    test("another key's session: 410", async () => {
        const first = await ask(server, { messages: [two], tools });
        assert.equal(first.finish, 'tool_calls');
        const answer = await say(randomUUID(), results, { key: OTHER_KEY });
        assert.equal(answer.status, 410);
    });
});

async function started(t, options) {
    const server = await startEngine(options);
    t.after(() => endKilled(server));
    return server;
}

describe('over reload, restart and time', () => {
    test('a session outlives reload and restart, an issued name the reload of its process does not', async (t) => {
        const server = await started(t, { http: DEFAULTS });
        const id = randomUUID();
        await turn(server, id, 'a');
        const old = server.workers();
        server.nginx.kill('SIGHUP');
        await waitFor('new workers', () => server.workers().every((pid) => !old.includes(pid)), 10000 * SLOW);
        assert.equal((await turn(server, id, 'b')).rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));

        await endChild(server.nginx);
        server.nginx = spawnTied(NGINX, ['-e', join(server.dir, 'error.log'), '-p', `${server.dir}/`,
            '-c', join(server.dir, 'nginx.conf')], { stdio: ['ignore', 'inherit', 'inherit'], env: process.env });
        await waitFor('nginx again', () => server.request('GET', '/health').then(() => true, () => false), 10000 * SLOW);
        assert.equal((await turn(server, id, 'c')).rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b', 'c'));
    });

    test('a reload in the midst of a turn: the next one waits for it and goes on', async (t) => {
        const server = await started(t, { http: DEFAULTS });
        const id = randomUUID();
        await turn(server, id, 'a');
        const slow = turn(server, id, scripted({ deltas: ['slow'], first_ms: 4000 }));
        await waitFor('the slow turn', async () => (await server.status()).turns.running === 1);
        const old = server.workers();
        server.nginx.kill('SIGHUP');
        await waitFor('new workers', () => server.workers().some((pid) => !old.includes(pid)), 10000 * SLOW);
        await waitFor('one that answers', () => server.request('GET', '/health', { headers: { connection: 'close' } })
            .then(({ headers }) => !old.includes(Number(headers['x-worker']))), 10000 * SLOW);
        const next = await turn(server, id, 'b');
        assert.equal((await slow).content, 'slow');
        assert.equal(next.rung, 'resumed');
        assert.equal(asked(server).length, 5);
        assert.equal(asked(server)[3][1], 'slow');
    });

    test('a killed worker takes no session along', async (t) => {
        const server = await started(t, { http: DEFAULTS });
        await waitFor('both workers', () => server.workers().length === 2);
        const workers = await workerAgents(server);
        const id = randomUUID();
        await turn(server, id, 'a', { agent: workers[0].agent });
        process.kill(workers[0].pid, 'SIGKILL');
        const next = await turn(server, id, 'b', { agent: workers[1].agent });
        assert.equal(next.rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));
    });

    test('after claude_session_ttl it is forgotten, its files are deleted', async (t) => {
        const server = await started(t, { http: `${DEFAULTS} claude_session_ttl 2s;` });
        const id = randomUUID();
        await turn(server, id, 'a');
        assert.equal(transcripts(server).length, 1);
        await waitFor('its process to end', async () => (await server.status()).processes.length === 0, 10000 * SLOW);
        await waitFor('its files to go', () => onDisk(server).length === 0, 10000 * SLOW);
        assert.equal((await turn(server, id, 'b')).rung, 'cold');
        assert.deepEqual(asked(server), said('b'));
    });

    test('a transcript that is too old is not resumed though it is still there', async (t) => {
        const server = await started(t, { http: `${DEFAULTS} claude_session_ttl 1h;` });
        const id = randomUUID();
        await turn(server, id, 'a');
        await endIdle(server);
        const [file] = transcripts(server);
        const past = Date.now() / 1000 - 7200;
        utimesSync(file, past, past);
        assert.equal((await turn(server, id, 'b')).rung, 'cold');
        assert.deepEqual(asked(server), said('b'));
    });

    /* A turn in each of n new sessions, whose processes have ended; text: the CLI's own id, in the record's bytes. */
    async function recorded(server, n) {
        const sessions = [];
        for (let i = 0; i < n; i++) {
            const before = onDisk(server);
            const id = randomUUID();
            await turn(server, id, 'a');
            const [file, transcript] = ['.nginx', '.jsonl'].map((end) => onDisk(server)
                .find((name) => name.endsWith(end) && !before.includes(name)));
            sessions.push({ id, file, text: /([-0-9a-f]{36})\.jsonl$/.exec(transcript)[1] });
        }
        await endIdle(server);
        return sessions.map((one) => ({ ...one, bytes: readFileSync(one.file) }));
    }

    test('a record of another layout is none, though its transcript is there', async (t) => {
        const server = await started(t, { http: DEFAULTS });

        /* as "nginx-2" had it: magic, messages, cost, model, system text, bare, tip, and the texts */
        const old = (text, size) => {
            const bytes = Buffer.alloc(size);
            bytes.write('nginx-2');
            bytes.writeBigUInt64LE(2n, 8);
            bytes.write(text, 88);
            return bytes;
        };
        const others = [
            ({ text }) => old(text, 208), ({ text }) => old(text, 4096),
            ({ bytes }) => Buffer.concat([Buffer.from('nginx-2\0'), bytes.subarray(8)]),
            ({ bytes }) => bytes.subarray(0, bytes.length - 1),
        ];
        const sessions = await recorded(server, others.length);
        for (const [i, { id, file, ...own }] of sessions.entries()) {
            writeFileSync(file, others[i](own));
            assert.equal((await turn(server, id, 'b')).rung, 'cold', `layout ${i}`);
            assert.deepEqual(asked(server), said('b'));
        }
        await endIdle(server);
        assert.equal((await turn(server, sessions[0].id, 'c')).rung, 'resumed');
        assert.deepEqual(asked(server), said('b', 'c'));
    });

    test('a record of another layout goes in time, and its transcript with it', async (t) => {
        const server = await started(t, { http: `${DEFAULTS} claude_session_ttl 5s;` });
        const [old, cut, own] = await recorded(server, 3);
        const transcript = ({ text }) => onDisk(server).find((name) => name.endsWith(`${text}.jsonl`));
        const all = [old, cut, own].map(transcript);
        const bytes = Buffer.alloc(208);
        bytes.write('nginx-2');
        bytes.write(old.text, 88);
        writeFileSync(old.file, bytes);
        writeFileSync(cut.file, cut.bytes.subarray(0, 60));
        await waitFor('all to go', () => [...all, old.file, cut.file, own.file].every((name) => !existsSync(name)), 20000 * SLOW);
    });

    test('a record has neither the key nor the name of a session, and none that is forged gives it away', async (t) => {
        const server = await started(t, { http: DEFAULTS });
        const sha1 = (text) => createHash('sha1').update(text).digest();
        const [{ id, file, bytes, text }, ...rest] = await recorded(server, 4);
        assert.equal(bytes.indexOf(sha1(KEY)), -1);
        assert.equal(bytes.indexOf(id), -1);

        /* all that the process held is forged, but for model, system text and two messages; places: ngx_claude_record.h */
        const [HOLDING, SIZE, TENANT, MODEL, SYSTEM, MESSAGES] = [56, 376, 20, 100, 252, 340];
        assert.equal(bytes.indexOf(text), 8);
        const holding = bytes.subarray(HOLDING, HOLDING + SIZE);
        const forged = Buffer.alloc(holding.length, 0xff);
        for (const place of [MODEL, SYSTEM]) holding.copy(forged, place, place, place + 20);
        sha1(OTHER_KEY).copy(forged, TENANT);
        forged.writeUInt32LE(2, MESSAGES);
        assert.equal(holding.readUInt32LE(MESSAGES), 2);
        forged.copy(holding);
        writeFileSync(file, bytes);

        assert.equal((await turn(server, id, 'b')).rung, 'resumed');
        assert.deepEqual(asked(server), said('a', 'b'));
        assert.equal((await turn(server, id, 'yours', { key: OTHER_KEY })).rung, 'cold');
        assert.deepEqual(asked(server), said('yours'));
        assert.equal((await turn(server, id, 'c')).rung, 'live');
        assert.deepEqual(asked(server), said('a', 'b', 'c'));

        /* so many messages nobody has recorded: it begins anew */
        for (const [i, n] of [0xffffffff, 0xfffffffe, 3].entries()) {
            rest[i].bytes.writeUInt32LE(n, HOLDING + MESSAGES);
            writeFileSync(rest[i].file, rest[i].bytes);
            assert.equal((await turn(server, rest[i].id, 'more')).rung, 'cold');
            assert.deepEqual(asked(server), said('more'));
        }
    });

    test('the end of its process is no use of a session', async (t) => {
        const server = await started(t, { http: DEFAULTS });

        /* on a busy machine the CLI may be told of its end before who dates its transcript is: then once more */
        for (let again = 3; ; again -= 1) {
            await turn(server, randomUUID(), 'a');
            const [file] = transcripts(server).sort((x, y) => statSync(y).mtimeMs - statSync(x).mtimeMs);
            await sleep(500);
            const before = statSync(file);
            server.nginx.kill('SIGHUP');
            await waitFor('its last words', () => statSync(file).size > before.size, 10000 * SLOW);
            const dated = waitFor('the time of its last turn', () => statSync(file).mtimeMs === before.mtimeMs, 5000 * SLOW);
            if (again === 1) await dated;
            else if (await dated.catch(() => false) === false) continue;
            break;
        }
    });

    test("people's own transcripts in that place are left alone", async (t) => {
        const server = await started(t, { http: `${DEFAULTS} claude_session_ttl 1s;` });
        await turn(server, randomUUID(), 'a');
        const [file] = transcripts(server);
        const mine = join(file, '..', `${randomUUID()}.jsonl`);
        writeFileSync(mine, '{}\n');
        utimesSync(mine, 1, 1);
        await waitFor('the session to go', () => !existsSync(file), 10000 * SLOW);
        assert.ok(existsSync(mine));
        assert.equal(readFileSync(mine, 'utf8'), '{}\n');
        assert.equal(records(server).length, 0);
    });

    test('two trees of nginx: what one holds the other one waits for, and gets', async (t) => {
        /* the transcripts' place follows from the state path and from the directory that the CLI runs in */
        const directory = mkdtempSync(join(process.env.TEST_NGINX_SERVROOT || tmpdir(), 'work-'));
        const http = `${DEFAULTS} claude_working_directory "${directory}"; claude_state_path "${directory}-state";`;
        const server = await started(t, { http });
        const second = await startEngine({ http });
        await withServer(second, async () => {
            const id = randomUUID();
            await turn(server, id, 'a');
            const busy = await ask(second, { messages: [user('b')], headers: { 'x-session-id': id } });
            assert.equal(busy.status, 409);
            assert.equal(busy.error.code, 'session_busy');
            const waiting = turn(second, id, 'c');
            await sleep(500);
            await endIdle(server);
            assert.equal((await waiting).rung, 'resumed');
            assert.deepEqual(asked(second), said('a', 'c'));
        });
    });
});
