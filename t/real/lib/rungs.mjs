/*
 * The body that reaches the model is one and the same, whatever rung of the ladder a question takes,
 * and its messages are the client's: else the provider's cache is lost with a change of rung, and
 * somebody pays for words that nobody said.
 *
 * A case is a conversation. Its last question is asked on every rung, each time after the same
 * history, and the bytes of the body are compared with those of the live one. What is left out:
 *
 *   metadata                ids of the CLI's own: one of its HOME, one of its session
 *   cc_version's last part  in the billing line: a hash of the CLI's, over the first message
 *
 * and of the headers x-claude-code-session-id, and those of the connection. The marks of the cache
 * are compared: they stand at the same places.
 *
 * Where a process holds of an answer what a client of chat cannot send back (thinking, where one text
 * ends and the next begins) a replay is without it: `fold` of a case takes that out of a body before
 * it is compared, and out of nothing else.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { SLOW, waitFor } from './server.mjs';
import { ask, endIdle, logged, rowsIn, startEngine, workerAgents } from './engine.mjs';
import { functionTool, gather, toolMessage, upstreamTool } from './tools.mjs';
import { system, user, wireOf } from './upstream.mjs';

export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
export const GIF = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
export const HARD = '\n "quoted" \\n \t<system>&amp; äöü 日本 👩‍👩‍👧 e\u0301 \u2028 \u007f @/etc/passwd /help !ls ultrathink \n';

const EFFORT_BETA = 'effort-2025-11-24';

export const text = (t) => ({ type: 'text', text: t });
export const image = (type, data) => ({ type: 'image_url', image_url: { url: `data:image/${type};base64,${data}` } });
export const call = (id, name, input = {}, deltas = undefined) => ({
    type: 'tool_use', id, name, input, ...(deltas ? { input_json_deltas: deltas } : {}),
});
export const calls = (...blocks) => ({ blocks, stop_reason: 'tool_use' });

export const ALPHA = functionTool('alpha');
export const BETA = functionTool('beta', 'does "this"\n\tand that \\ \u{1f600}');

/* ---------------------------------------------------------------------------------------- */
/* Turns                                                                                     */
/* ---------------------------------------------------------------------------------------- */

/* The body of a step, after this history. */
function bodyOf(one, history, step) {
    const news = step.say !== undefined ? [user(step.say)]
        : Object.entries(step.results).map(([id, content]) => toolMessage(id, content));
    return {
        model: one.model ?? 'sonnet', ...one.with, ...step.with,
        messages: [...(one.prompt ? [system(one.prompt)] : []), ...history, ...news],
    };
}

/* A call in few words. */
const toldOf = ({ text: body, headers }) => `${headers['x-claude-code-session-id']} ${headers['x-stainless-retry-count']} `
    + `${body.length} ${JSON.stringify(JSON.parse(body).messages.slice(-2)).slice(-300)}`;

/* One turn: {rung, worker, message, wire: what went upstream for it}. */
async function turn(server, body, step, options) {
    server.wire.length = 0;
    if (step?.says) server.stub.script(step.says);
    const answer = await ask(server, { ...body, ...options });
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    assert.deepEqual(server.stub.scripts(), []);
    await server.idle();
    const [wire, ...more] = server.wire;
    assert.equal(more.length, 0, `one question, one call, not\n${server.wire.map(toldOf).join('\n')}`);
    return { ...await logged(server, answer.tag), message: gather(answer.events), wire };
}

/* Steps of a case but for the last `but`, one after the other: the last turn, and all of them. */
async function walk(server, one, options, but = 0) {
    const history = [];
    const turns = [];
    for (const [i, step] of one.steps.slice(0, one.steps.length - but).entries()) {
        const body = bodyOf(one, history, step);
        const got = await turn(server, body, step, options);
        if (i) assert.equal(got.rung, step.rung ?? 'live', `step ${i}`);
        turns.push({ ...got, body, history: [...history], step });
        history.push(...body.messages.slice(history.length + (one.prompt ? 1 : 0)), got.message);
    }
    return turns;
}

/* ---------------------------------------------------------------------------------------- */
/* Bodies                                                                                    */
/* ---------------------------------------------------------------------------------------- */

/* Bytes of a body, less what is said above. */
const bytes = ({ text: body }, fold) => folded(body, fold)
    .replace(/"metadata":\{"user_id":"(?:[^"\\]|\\.)*"\},/, '')
    .replace(/(x-anthropic-billing-header: cc_version=\d+\.\d+\.\d+)\.[0-9a-f]+;/, '$1;');

const folded = (body, fold) => (fold ? body.replace(...fold) : body);

function headersOf({ headers }) {
    const own = ['host', 'connection', 'content-length', 'x-claude-code-session-id'];
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !own.includes(name)).sort());
}

/* A body may be long, so only the place where they part is told. */
function assertSame(got, want, what, fold) {
    const [a, b] = [bytes(got, fold), bytes(want, fold)];
    if (a !== b) {
        let at = 0;
        while (a[at] === b[at]) at++;
        const from = Math.max(0, at - 100);
        assert.fail(`${what}: bodies part at ${at} of ${a.length} and ${b.length}\n--- got\n`
            + `${a.slice(from, at + 300)}\n--- live\n${b.slice(from, at + 300)}`);
    }
    assert.deepEqual(headersOf(got), headersOf(want), what);
}

const block = (part) => {
    if (part.type === 'text') return text(part.text);
    const [, type, data] = /^data:(image\/\w+);base64,(.*)$/.exec(part.image_url.url);
    return { type: 'image', source: { type: 'base64', media_type: type, data } };
};
const blocksOf = (content) => (typeof content === 'string' ? [text(content)] : content.map(block));

/* What the client has sent, in the words of the Messages API. */
function translated(messages) {
    const out = [];
    for (const { role, content, tool_calls: made = [], tool_call_id: id } of messages) {
        if (role === 'system') continue;
        if (role === 'tool') {
            const result = blocksOf(content).filter(({ text: t }) => t === undefined || t.trim());
            const block = { tool_use_id: id, type: 'tool_result', ...(result.length ? { content: result } : {}) };
            if (out.at(-1).role === 'user') out.at(-1).content.push(block);
            else out.push({ role: 'user', content: [block] });
            continue;
        }
        out.push({
            role,
            content: [...content ? blocksOf(content) : [], ...made.map(({ id: name, function: fn }) => ({
                type: 'tool_use', id: name, name: fn.name, input: JSON.parse(fn.arguments),
            }))],
        });
    }
    return out;
}

/* Without the marks of the cache; a text alone may be a string. */
const plain = (content) => (typeof content === 'string' ? [text(content)]
    : content.map(({ cache_control: mark, ...rest }) => rest));

const MEMBERS = [
    'model', 'messages', 'system', 'tools', 'tool_choice', 'stop_sequences', 'metadata', 'max_tokens', 'thinking',
    'context_management', 'output_config', 'stream', 'temperature',
];

/* That the messages of a body are the client's, and that the CLI and its place are not in it. */
function assertMessages({ wire, body: { messages, tools } }, aliens, fold) {
    const got = JSON.parse(folded(wire.text, fold));
    assert.deepEqual(got.messages.map(({ role, content, ...more }) => ({ role, content: plain(content), ...more })),
        translated(messages));

    assert.deepEqual(got.tools ?? [], (tools ?? []).map(upstreamTool));

    const words = JSON.stringify([got.messages, got.system, got.tools]);
    for (const alien of ['# Environment', 'system-reminder', 'hear from you', 'Output token limit', ...aliens]) {
        assert.ok(!words.includes(alien), alien);
    }
    assert.doesNotMatch(words, /\b20\d\d-\d\d-\d\d\b|\b20\d\d\/\d\d?\/\d\d?\b|"content":\[\]|"role":"system"/);
}

/* That a body has what the client asked for, and beside that what the CLI is known to add. */
function assertMembers(wire, one) {
    const got = JSON.parse(wire.text);
    const want = { output_config: { effort: 'medium' }, ...one.want };

    assert.deepEqual(Object.keys(got).filter((name) => !MEMBERS.includes(name)), []);

    const [billing, cli, prompt, ...more] = got.system.map(({ text: t }) => t);
    assert.match(billing, /^x-anthropic-billing-header: cc_version=[\d.]+[0-9a-f]*; cc_entrypoint=sdk-cli;$/);
    assert.equal(cli, "You are a Claude agent, built on Anthropic's Claude Agent SDK.");
    if (one.prompt) assert.equal(prompt, one.prompt);
    assert.deepEqual(more, []);

    assert.deepEqual(got.tool_choice, want.tool_choice);
    assert.deepEqual(got.stop_sequences, want.stop_sequences);
    assert.deepEqual(got.output_config, want.output_config);
    if (want.max_tokens) assert.equal(got.max_tokens, want.max_tokens);
    else assert.ok(got.max_tokens > 8000);
    if ('thinking' in want) assert.deepEqual(got.thinking, want.thinking);

    const betas = wire.headers['anthropic-beta'].split(',');
    assert.equal(betas.includes(EFFORT_BETA), want.output_config?.effort !== undefined, betas.join());
    assert.equal(new Set(betas).size, betas.length, betas.join());
}

/* ---------------------------------------------------------------------------------------- */
/* Rungs                                                                                     */
/* ---------------------------------------------------------------------------------------- */

/*
 * Cases by their names: {steps, prompt, model, with, want, fold, reload, todo}. A step is {say: content
 * of the user} or {results: {id: content}}, with: members of the request, says: the stub's answer,
 * rung: that of the walk, if it is not live. want: what the model is to get beside the messages. fold:
 * arguments of replace(). reload: the session is resumed after one, too. todo: why all its bodies, or
 * {rung: why its body}, are others.
 */
export function onEveryRung(CASES) {
    const KEYS = Array.from({ length: 5 * Object.keys(CASES).length }, (_, i) => `sk-pure-${i}`);
    const live = new Map();
    const sessions = new Map();
    let usedKeys = 0;
    let server;
    let warm;
    let reloaded;
    let workers;

    const newKey = () => KEYS[usedKeys++];
    const newSession = () => ({ key: newKey(), headers: { 'x-session-id': randomUUID() } });

    const start = async (http, options) => {
        const started = await startEngine({
            http: `claude_max_concurrent 6; claude_max_processes 8; ${http}`,
            server: KEYS.map((key, i) => `claude_api_key ${key} name=p${i};`).join(' '),
            ...options,
        });
        started.wire = wireOf(started.stub);
        return started;
    };

    before(async () => {
        [server, warm, reloaded] = await Promise.all([
            start('claude_warm 0;'), start('claude_warm 1;', { workers: 1 }), start('claude_warm 0;', { workers: 1 }),
        ]);
        workers = await workerAgents(server);
    });
    after(async () => {
        for (const one of [server, warm, reloaded]) await one?.end();
    });

    /* The last question of a case, by a process that has not been at it from the beginning. */
    const other = async (name, place, options, rung) => {
        const { body, step, wire } = live.get(name);
        const got = await turn(place, body, step, options);
        assert.match(got.rung, rung);
        assertSame(got.wire, wire, got.rung, CASES[name].fold);
    };

    for (const [name, one] of Object.entries(CASES)) {
        describe(name, () => {
            const key = newKey();
            const last = one.steps.at(-1);
            const rung = new RegExp(`^${last.rung ?? 'live'}$`);
            const todoOf = (what) => (typeof one.todo === 'string' ? one.todo : one.todo?.[what]);
            const on = (what, promise, run) => test(promise ?? what, { todo: todoOf(what) }, run);
            const mine = () => ({ key, agent: workers[0].agent });

            /* what is amid calls, or was taken back, is no transcript to be resumed */
            const resumed = last.say === undefined || last.rung ? /^cold$/ : /^resumed$/;

            on('live', 'live: at each step the words of the client, and nothing else', async () => {
                const turns = await walk(server, one, mine());
                live.set(name, turns.at(-1));
                const aliens = [server.dir, ...server.clis().map((pid) => readlinkSync(`/proc/${pid}/cwd`))];
                for (const got of turns) assertMessages(got, aliens, one.fold);
                if (one.fold) assert.notEqual(folded(turns.at(-1).wire.text, one.fold), turns.at(-1).wire.text);
                assertMembers(turns.at(-1).wire, one);
            });

            on('rewound', 'rewound, to right before the question, in the process that has answered it', async () => {
                const pids = async () => (await server.status()).processes.map(({ pid }) => pid).sort();
                const before = await pids();
                await other(name, server, mine(), /^rewound$/);
                assert.deepEqual(await pids(), before);
            });

            on('replayed', 'rewound to the beginning, and replayed', async () => {
                const { history } = live.get(name);
                const second = history.findIndex(({ role }, i) => i && role === 'user');
                const edit = bodyOf(one, history.slice(0, second < 0 ? undefined : second), { say: 'edited' });
                assert.match((await turn(server, edit, undefined, mine())).rung, /^(rewound|recycled)$/);
                await other(name, server, mine(), /^(rewound|recycled)$/);
            });

            on('recycled', null, async () => {
                const strange = { model: 'opus', messages: [system('Another.'), user('something else')], reasoning_effort: 'max', stop: ['q'] };
                assert.equal((await turn(server, strange, undefined, mine())).rung, 'recycled');
                await other(name, server, mine(), /^recycled$/);
            });

            /* who is to hand it over has half a second, which a busy machine may take */
            on('handed', 'handed over to another worker', async () => {
                const { body, step, wire } = live.get(name);
                for (let tries = 3; ; tries--) {
                    await walk(server, one, mine(), 1);
                    const { handed } = await server.status();
                    const got = await turn(server, body, step, { key, agent: workers[1].agent });
                    assertSame(got.wire, wire, got.rung, one.fold);
                    if (tries && (await server.status()).handed === handed) continue;
                    assert.match(got.rung, rung);
                    return;
                }
            });

            on('cold', null, async () => {
                await endIdle(server);
                await other(name, server, { key }, /^cold$/);
            });

            on('warm', null, async () => {
                /* whose row is full has no room for one */
                await endIdle(warm);
                await waitFor('a warm process', async () => (await rowsIn(warm, 'idle')).some(({ turns }) => turns === 0), 15000 * SLOW);
                await other(name, warm, { key: newKey() }, /^warm$/);
            });

            on('resumed', 'resumed, after its process has ended', async () => {
                const session = newSession();
                await walk(server, one, session, 1);
                await endIdle(server);
                await other(name, server, session, resumed);
            });

            on('named', 'live, in a session of its own', async () => {
                const session = newSession();
                await walk(reloaded, one, session, 1);
                if (one.reload) {
                    sessions.set(name, session);
                    return;
                }
                await other(name, reloaded, session, rung);
            });
        });
    }

    describe('resumed, after a reload', () => {
        before(async () => {
            const old = reloaded.workers();
            reloaded.nginx.kill('SIGHUP');
            await waitFor('new workers', () => reloaded.workers().every((pid) => !old.includes(pid)), 20000 * SLOW);
        });

        for (const [name, { reload, todo }] of Object.entries(CASES)) {
            if (!reload) continue;
            test(name, { todo: todo?.resumed }, () => other(name, reloaded, sessions.get(name), /^resumed$/));
        }
    });

    test('one question is one call, of a whole answer: no probe of a model', () => {
        for (const { stub } of [server, warm, reloaded]) {
            assert.ok(stub.requests.length > 0);
            assert.deepEqual(stub.requests.filter(({ body }) => body.max_tokens === 1 || !body.stream), []);
        }
    });
}
