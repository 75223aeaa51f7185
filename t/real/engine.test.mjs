/*
 * The engine with the real CLI: which rung of the ladder a turn takes, that the model gets the
 * same conversation on every rung, and that nobody notices killed processes, full tables, other
 * workers and reloads. The stub shows what reached the model, the log of turns the rung.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { KEY, OTHER_KEY, SLOW, isAlive, sleep, waitFor, withServer } from './lib/server.mjs';
import { ask, endKilled, logged, random, rowsIn, startEngine, workerAgents } from './lib/engine.mjs';
import { functionTool, upstreamTool } from './lib/tools.mjs';
import { assistant, conversation, scripted, system, systemTexts, user } from './lib/upstream.mjs';

const DEFAULTS = 'claude_max_concurrent 6; claude_max_processes 6;';

/* A turn that has to succeed, with its rung. */
async function turn(server, body) {
    const answer = await ask(server, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    assert.ok(answer.done);
    return { ...answer, ...await logged(server, answer.tag) };
}

/* The idle, unused process of the pool, or none when claude_warm is 0. */
const warmIsThere = (server) => waitFor('a warm process',
    async () => (await rowsIn(server, 'idle')).some(({ turns }) => turns === 0), 15000 * SLOW);

/* A conversation that goes on by itself: say(text) asks, and keeps what was answered. */
function talk(server, options = {}) {
    const messages = [];
    return {
        messages,
        async say(text, more = {}) {
            const answer = await turn(server, { ...options, ...more, messages: [...messages, user(text)] });
            messages.push(user(text), assistant(answer.content));
            return answer;
        },
    };
}

const rungsOf = (answers) => answers.map(({ rung }) => rung);

/* What the model was asked about the question that holds this text. */
const askedAbout = (server, text) => server.stub.requests.filter((request) => {
    const [role, ...texts] = conversation(request).at(-1);
    return role === 'user' && texts.join('').includes(text);
});

/* ---------------------------------------------------------------------------------------- */

describe('rungs', () => {
    let server;
    let workers;

    before(async () => {
        server = await startEngine({ http: `${DEFAULTS} claude_warm 1;` });
        await warmIsThere(server);
        workers = await workerAgents(server);
    });
    after(() => server?.end());

    test('warm, live, live, edited, retried, another conversation', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        const said = [await one.say('a'), await one.say('b'), await one.say('c')];
        const edited = await turn(server, { agent, messages: [...one.messages.slice(0, 2), user('b, edited')] });
        const retried = await turn(server, { agent, messages: [...one.messages.slice(0, 2), user('b, edited')] });
        const fresh = await turn(server, { agent, messages: [user('something else')] });
        assert.deepEqual(rungsOf([...said, edited, retried, fresh]),
            ['warm', 'live', 'live', 'rewound', 'rewound', 'recycled']);
    });

    test('live right after the last byte of an answer, every time', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        const said = [];
        for (let i = 0; i < 10; i++) said.push(await one.say(`quick ${i}`));
        assert.deepEqual(rungsOf(said.slice(1)), Array(9).fill('live'));
    });

    test('an answer that the client has trimmed is the same answer', async () => {
        const { agent } = workers[0];
        const script = scripted({ deltas: ['\n ', ' spaced', ' out ', '\n\n'] });
        const one = await turn(server, { agent, messages: [user(script)] });
        assert.equal(one.content, '\n  spaced out \n\n');
        const next = await turn(server, { agent, messages: [user(script), assistant('spaced out'), user('go on')] });
        assert.equal(next.rung, 'live');
    });

    test('white space at the ends of a message of the user counts', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('code:');
        const messages = [user('code:\n\n    '), one.messages[1], user('spaces?')];
        await turn(server, { agent, messages });
        assert.deepEqual(conversation(askedAbout(server, 'spaces?')[0])[0], ['user', 'code:\n\n    ']);
    });

    test('another key never gets a used process', async () => {
        await warmIsThere(server);
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('my secret');
        const pids = (await server.status()).processes.filter(({ turns }) => turns > 0).map(({ pid }) => pid);
        const other = await turn(server, { agent, key: OTHER_KEY, messages: [...one.messages, user('which?')] });
        assert.match(other.rung, /^(warm|cold)$/);
        const rows = (await server.status()).processes.filter(({ turns }) => turns > 0);
        assert.equal(rows.filter(({ pid }) => !pids.includes(pid)).length, 1, 'a process of its own');
        assert.match((await one.say('still there?')).rung, /^live$/);
    });

    test('another model and another system prompt do not go on live', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('x');
        const messages = [...one.messages, user('y')];
        const opus = await turn(server, { agent, model: 'opus', messages });
        const prompted = await turn(server, { agent, messages: [system('Be brief.'), ...messages] });
        assert.deepEqual(rungsOf([opus, prompted]), ['recycled', 'recycled']);
    });

    test('two requests for one conversation at once: both right, one live', async () => {
        for (let round = 0; round < 5; round++) {
            const one = talk(server);
            await one.say(`at once, round ${round}`);
            const both = await Promise.all(['left', 'right'].map((side) => turn(server, {
                messages: [...one.messages, user(`${side} ${round}`)],
            })));
            both.forEach(({ content }, i) => assert.equal(content, `echo: ${['left', 'right'][i]} ${round}`));
            assert.equal(both.filter(({ rung }) => rung === 'live').length, 1, String(rungsOf(both)));
            for (const side of ['left', 'right']) {
                const asked = askedAbout(server, `${side} ${round}`);
                assert.equal(asked.length, 1);
                assert.deepEqual(conversation(asked[0]), [
                    ...one.messages.map(({ role, content }) => [role, content]), ['user', `${side} ${round}`],
                ]);
            }
        }
    });

    test('a question that its client left at once is never answered to the next one', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('the beginning');
        for (let i = 0; i < 24; i++) {
            const question = [...one.messages, user(`the same question ${i}`)];
            /* the process is live: from 0 ms on, the CLI may still have it in its queue */
            await ask(server, { agent: false, messages: question, leave: i % 8 });
            const answer = await turn(server, { agent, messages: question, max_tokens: 2000 + i });
            assert.equal(answer.content, `echo: the same question ${i}`);
            assert.ok(askedAbout(server, `the same question ${i}`)
                .some(({ body }) => body.max_tokens === 2000 + i), `question ${i} reached the model as it was asked`);
        }
    });

    test('an idle process that was killed is not missed', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('before');
        const before = (await rowsIn(server, 'idle')).filter(({ turns }) => turns > 0);
        before.forEach(({ pid }) => process.kill(pid, 'SIGKILL'));
        const next = await one.say('after');
        assert.notEqual(next.rung, 'live');
        assert.equal(next.content, 'echo: after');
        await waitFor('the dead to leave their rows', async () => {
            const pids = (await server.status()).processes.map(({ pid }) => pid);
            return before.every(({ pid }) => !pids.includes(pid));
        }, 10000 * SLOW);
    });

    test('a live process that is killed before its first word is replaced, unnoticed', async () => {
        const { agent } = workers[0];
        const one = talk(server, { agent });
        await one.say('first');
        const question = `slow${scripted({ delay_ms: 2000, text: 'there' })}`;
        const answer = one.say(question);
        await waitFor('the question upstream', () => askedAbout(server, 'slow').length === 1);
        const [busy] = await rowsIn(server, 'busy');
        process.kill(busy.pid, 'SIGKILL');
        assert.equal((await answer).content, 'there');
        assert.deepEqual(askedAbout(server, 'slow').map((request) => conversation(request)),
            Array(2).fill([['user', 'first'], ['assistant', 'echo: first'], ['user', question]]));
    });

    test('a process that is killed after its first word is an error, not an end', async () => {
        let heard = false;
        const asking = ask(server, {
            messages: [user(`half ${scripted({ deltas: ['word '], repeat: 500, gap_ms: 20 })}`)],
            heard: () => { heard = true; },
        });
        await waitFor('the first word', () => heard, 10000 * SLOW);
        const [busy] = await rowsIn(server, 'busy');
        process.kill(busy.pid, 'SIGKILL');
        const answer = await asking;
        assert.equal(answer.error?.code, 'cli_failed');
        assert.ok(!answer.done && !answer.finish);
    });

    test('an edited message on another worker: its process comes, and is cut', async () => {
        const one = talk(server);
        for (const text of ['u1', 'u2', 'u3']) await one.say(`${text} moved`, { agent: workers[0].agent });
        const before = (await server.status()).handed;
        const edited = await turn(server, {
            agent: workers[1].agent, messages: [...one.messages.slice(0, 4), user('u3 moved and edited')],
        });
        assert.deepEqual([edited.rung, edited.worker], ['rewound', workers[1].pid]);
        assert.equal((await server.status()).handed, before + 1);
        assert.deepEqual(conversation(askedAbout(server, 'u3 moved and edited')[0]).map(([, text]) => text),
            ['u1 moved', 'echo: u1 moved', 'u2 moved', 'echo: u2 moved', 'u3 moved and edited']);
    });

    test('workers hand the process on: live on each side', async () => {
        const one = talk(server);
        await one.say('zero', { agent: workers[0].agent });
        const before = (await server.status()).handed;
        const said = [];
        for (let i = 1; i <= 8; i++) said.push(await one.say(`on ${i}`, { agent: workers[i % 2].agent }));
        assert.deepEqual(said.map(({ worker }) => worker), [1, 0, 1, 0, 1, 0, 1, 0].map((i) => workers[i].pid));
        assert.deepEqual(rungsOf(said), Array(8).fill('live'));
        assert.ok((await server.status()).handed >= before + 8);
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('a worker goes', () => {
    let server;

    before(async () => {
        server = await startEngine({ http: `${DEFAULTS} claude_warm 0;` });
    });
    after(() => server && endKilled(server));

    test('without claude_warm the first is cold', async () => {
        assert.equal((await turn(server, { messages: [user('hi')] })).rung, 'cold');
    });

    /* Started by the first worker, live on the second. */
    async function movedConversation() {
        const [a, b] = await workerAgents(server);
        const one = talk(server, { key: OTHER_KEY });
        await one.say('begun', { agent: a.agent });
        assert.equal((await one.say('moved', { agent: b.agent })).rung, 'live');
        const row = (await rowsIn(server, 'idle')).find(({ worker, turns }) => worker === b.pid && turns >= 2);
        assert.ok(row, JSON.stringify(await server.status()));
        return { a, b, one, row };
    }

    test('a process that another worker took over outlives the worker that started it', async () => {
        const { a, b, one, row } = await movedConversation();
        const streaming = one.say(scripted({ deltas: ['tick '], repeat: 40, gap_ms: 20 }), { agent: b.agent });
        await waitFor('the stream to run', async () => (await rowsIn(server, 'busy')).length === 1);
        process.kill(a.pid, 'SIGKILL');
        assert.equal((await streaming).content, 'tick '.repeat(40));
        await waitFor('the new worker', () => server.workers().length === 2 && !server.workers().includes(a.pid));
        await sleep(300);
        const next = await one.say('still here?', { agent: b.agent });
        assert.equal(next.rung, 'live');
        assert.ok(isAlive(row.pid));
        await waitFor('the killed worker to be forgotten', async () => (await server.status()).processes
            .every(({ worker }) => worker !== a.pid), 10000 * SLOW);
    });

    test('the processes of a killed worker are gone within 2 s, its turns are free', async () => {
        const [a, b] = await workerAgents(server);
        const one = talk(server, { agent: a.agent });
        await one.say('idle one');
        const lost = ask(server, { agent: a.agent, messages: [user(scripted({ delay_ms: 60000 }))] }).catch((e) => e);
        await waitFor('a busy process', async () => (await rowsIn(server, 'busy')).length === 1);
        const pids = (await server.status()).processes.filter(({ worker }) => worker === a.pid).map(({ pid }) => pid);
        assert.ok(pids.length > 0);
        process.kill(a.pid, 'SIGKILL');
        assert.ok(await lost instanceof Error);
        await waitFor('its processes to end', () => !pids.some(isAlive), 5000 * SLOW);
        await server.idle();
        assert.equal((await turn(server, { agent: b.agent, messages: [user('and now?')] })).content, 'echo: and now?');
    });

    test('reload: idle ones end at once, a stream finishes, in a process from another worker too', async () => {
        const { b, one, row } = await movedConversation();
        const idle = (await rowsIn(server, 'idle')).map(({ pid }) => pid).filter((pid) => pid !== row.pid);
        const streaming = one.say(scripted({ deltas: ['tock '], repeat: 75, gap_ms: 60 }), { agent: b.agent });
        await waitFor('the stream to run', async () => (await rowsIn(server, 'busy')).length === 1);
        const workers = server.workers();
        server.nginx.kill('SIGHUP');
        await waitFor('new workers', () => server.workers().some((pid) => !workers.includes(pid)));
        await waitFor('idle ones to end', () => !idle.some(isAlive), 10000 * SLOW);
        assert.ok(isAlive(row.pid), 'the busy one is alive');
        assert.equal((await streaming).content, 'tock '.repeat(75));
        await waitFor('the old workers and the process to end',
            () => !server.workers().some((pid) => workers.includes(pid)) && !isAlive(row.pid), 10000 * SLOW);
        assert.equal((await one.say('after the reload')).content, 'echo: after the reload');
        assert.ok((await server.status()).processes.every(({ worker }) => !workers.includes(worker)));
    });
});

/* ---------------------------------------------------------------------------------------- */

describe('limits', () => {
    const KEYS = [KEY, OTHER_KEY, 'sk-engine-three'];

    test('two processes for three keys: the longest idle gives way, all are answered', async () => {
        const server = await startEngine({
            http: 'claude_max_concurrent 2; claude_max_processes 2; claude_warm 1;', server: `claude_api_key ${KEYS[2]} name=three;`,
        });
        await withServer(server, async () => {
            let most = 0;
            const watch = setInterval(() => {
                server.status().then(({ processes }) => { most = Math.max(most, processes.length); }, () => {});
            }, 40);
            const talks = KEYS.map((key) => talk(server, { key }));
            for (let i = 0; i < 3; i++) {
                const said = await Promise.all(talks.map((one, k) => one.say(`question ${k} ${i}`)));
                said.forEach(({ content }, k) => assert.equal(content, `echo: question ${k} ${i}`));
            }
            clearInterval(watch);
            const { evicted } = await server.status();
            assert.ok(evicted >= 2, `evicted: ${evicted}`);
            assert.ok(most <= 2, `processes at once: ${most}`);
        });
    });

    test('one turn at a time: the waiting ones are served in order of arrival, over both workers', async () => {
        const server = await startEngine({ http: 'claude_max_concurrent 1; claude_warm 1; claude_max_processes 4;' });
        await withServer(server, async () => {
            const workers = await workerAgents(server);
            let go;
            const full = new Promise((resolve) => { go = resolve; });
            server.stub.script({ match: 'hold', times: 1, until: () => full });
            const first = ask(server, { messages: [user('hold')] });
            await waitFor('the first to run', async () => (await server.status()).turns.running === 1);
            const asking = [];
            for (let i = 0; i < 5; i++) {
                asking.push(ask(server, { messages: [user(`place ${i}`)] }));
                await waitFor('the next to wait', async () => (await server.status()).turns.waiting === i + 1, 10000 * SLOW);
            }
            go();
            const answers = await Promise.all([first, ...asking]);
            assert.deepEqual(answers.map(({ status }) => status), Array(6).fill(200));
            assert.deepEqual(server.stub.requests.map((request) => conversation(request)[0][1].slice(0, 7)),
                ['hold', 'place 0', 'place 1', 'place 2', 'place 3', 'place 4']);
            workers.forEach(({ agent }) => agent.destroy());
        });
    });

    test('one that leaves the queue leaves no trace', async () => {
        const server = await startEngine({ http: 'claude_max_concurrent 1; claude_warm 1; claude_max_processes 4;' });
        await withServer(server, async () => {
            let go;
            const left = new Promise((resolve) => { go = resolve; });
            server.stub.script({ match: 'hold', times: 1, until: () => left });
            const first = ask(server, { messages: [user('hold')] });
            await waitFor('the first to run', async () => (await server.status()).turns.running === 1);
            const leaving = [0, 1, 2].map(() => ask(server, { messages: [user('gone')], leave: 1500 * SLOW }));
            await waitFor('three to wait', async () => (await server.status()).turns.waiting === 3, 10000 * SLOW);
            await Promise.all(leaving);
            await waitFor('nobody to wait', async () => (await server.status()).turns.waiting === 0, 10000 * SLOW);
            go();
            assert.equal((await first).status, 200);
            await turn(server, { messages: [user('last')] });
            assert.equal(server.stub.requests.length, 2);
        });
    });

    test('claude_idle_timeout ends the idle, and the warm one is replaced', async () => {
        const server = await startEngine({ http: 'claude_idle_timeout 1500ms; claude_warm 1; claude_max_concurrent 4; claude_max_processes 4;' });
        await withServer(server, async () => {
            await warmIsThere(server);
            const one = await turn(server, { messages: [user('hi')] });
            assert.equal(one.rung, 'warm');
            const used = (await server.status()).processes.find(({ turns }) => turns === 1).pid;
            await warmIsThere(server);
            const warm = (await server.status()).processes.find(({ turns }) => turns === 0).pid;
            await waitFor('the used one to end', () => !isAlive(used), 10000 * SLOW);
            await waitFor('the warm one to end', () => !isAlive(warm), 10000 * SLOW);
            await warmIsThere(server);
        });
    });

    test('a full table does not keep the warm one away for ever', async () => {
        const server = await startEngine({ http: 'claude_idle_timeout 3s; claude_warm 1; claude_max_concurrent 2; claude_max_processes 2;' });
        await withServer(server, async () => {
            await warmIsThere(server);
            const asking = [0, 1].map((i) => turn(server, { messages: [user(`${i} ${scripted({ delay_ms: 1500 })}`)] }));
            await Promise.all(asking);
            await waitFor('the used ones to end', async () => !(await server.status()).processes
                .some(({ turns }) => turns > 0), 15000 * SLOW);
            await warmIsThere(server);
        });
    });
});

/* ---------------------------------------------------------------------------------------- */

/*
 * Conversations at random, several at a time, over both workers, each turn on a new connection.
 * SEED=n tells another story, TURNS=n a longer one.
 */
describe('exactness', () => {
    const SEED = Number(process.env.SEED ?? 20260101);
    const TURNS = Number(process.env.TURNS ?? 160);
    const ACTORS = 4;
    const KEYS = [KEY, OTHER_KEY, 'sk-engine-three'];
    const FRESH = Array.from({ length: 12 }, (_, i) => `sk-engine-fresh-${i}`);
    const SYSTEMS = [null, 'You are terse.', 'Du bist höflich. 日本語 🏳️‍🌈\n\n  Zeile\t"x" \\ @/etc/hostname'];
    const MODELS = ['sonnet', 'opus', 'haiku'];
    const TOOLS = [null, null, ['alpha'], ['alpha', 'Bash'], ['gamma', 'Read', 'alpha']]
        .map((names) => names?.map((name) => functionTool(name)));
    const WORDS = ['alpha', 'größer', '日本', '👩‍👩‍👧', '"quoted"', '\\n', '/help', '@/etc/passwd', '<b>&amp;', 'e\u0301', '\u2028',
        '{"a":1}', '!ls', '# x', '$HOME', '%n', '\t', '\n\n', 'ultrathink'];
    const AROUND = ['', ' ', '\n', '  \n\n', '\t'];

    const rng = random(SEED);
    const seen = [];                    /* turns that were answered: what was asked, and what came */
    let server;
    let serial = 0;
    let continuedSessions = 0;
    let continued = [];                 /* newest messages of requests that no client sent */

    before(async () => {
        const keys = [KEYS[2], ...FRESH].map((key, i) => `claude_api_key ${key} name=k${i};`).join(' ');
        server = await startEngine({
            http: `claude_max_concurrent ${ACTORS}; claude_max_processes 7; claude_warm 1;`, server: keys,
        });
    });
    after(() => server?.end());

    const words = (n) => Array.from({ length: 1 + rng.below(n) }, () => rng.of(WORDS)).join(' ');
    const newTalk = () => ({
        key: rng.of(KEYS), model: rng.of(MODELS), system: rng.of(SYSTEMS), tools: rng.of(TOOLS), messages: [], said: new Map(),
        named: rng.chance(0.3),
    });

    /*
     * A named talk sends its session, and of what that holds already nothing, if it can: the answer
     * before has come, cut off or not, and nothing was changed since. One message alone would go on with it, so a
     * beginning has a new name.
     */
    function naming(one, move) {
        if (!one.named) return { news: false };
        if (!one.messages.length || !one.session) Object.assign(one, { session: randomUUID(), held: false });
        const news = one.held && move === 'next' && rng.chance(0.6);
        return { news, headers: { 'x-session-id': one.session } };
    }

    /* What the user does before the next question. */
    const MOVES = {
        next() {},
        retry(one) { one.messages.splice(-2); return one.lastQuestion; },
        edit(one) { one.messages.splice(2 * rng.below(one.messages.length / 2 + 1)); },
        deletePairs(one) { one.messages.splice(one.messages.length - 2 * (1 + rng.below(2))); },
        dropFirst(one) { one.messages.splice(0, 2); },
        rewrite(one) {
            const at = one.messages.findLastIndex(({ role }) => role === 'assistant');
            one.messages[at] = assistant(`rewritten by the client ${++serial}`);
        },
        model(one) { one.model = rng.of(MODELS); },
        system(one) { one.system = rng.of(SYSTEMS); },
        tools(one) { one.tools = rng.of(TOOLS); },
        again(one) { one.messages.length = 0; },
    };
    const MOVE_WEIGHTS = {
        next: 50, retry: 10, edit: 10, deletePairs: 6, dropFirst: 3, rewrite: 4, model: 5, system: 5, tools: 6, again: 4,
    };
    const ENDS = { end: 76, max_tokens: 5, refusal: 3, empty: 3, error: 2, leaveEarly: 5, leave: 6 };

    function question(end) {
        const text = `${rng.of(AROUND)}t${++serial}t ${words(5)}`;
        const answer = `${rng.of(AROUND)}answer ${serial} ${words(6)}${rng.of(AROUND)}`;
        const script = {
            end: { deltas: Array.from(answer.matchAll(/[^]{1,9}/gu), ([part]) => part) },
            max_tokens: { text: answer.trim(), stop_reason: 'max_tokens' },
            refusal: { text: answer.trim(), stop_reason: 'refusal' },
            empty: { empty: true },
            error: { status: 500 },
            leaveEarly: { delay_ms: 400, text: answer },
            leave: { deltas: ['word '], repeat: 100, gap_ms: 10 },
        }[end];
        return `${text}${end === 'end' && rng.chance(0.3) ? '' : scripted(script)}`;
    }

    async function step(one) {
        const move = one.messages.length ? rng.weighted(MOVE_WEIGHTS) : 'next';
        const end = rng.weighted(ENDS);
        const text = MOVES[move](one) ?? question(end);
        const asked = [...one.messages, user(text)];
        const body = {
            key: one.key, model: one.model,
            messages: one.system === null ? asked : [system(one.system), ...asked],
            ...(one.tools ? { tools: one.tools } : {}),
            ...(rng.chance(0.15) ? { max_tokens: 1000 + rng.below(5) } : {}),
            ...(rng.chance(0.1) ? { stop: ['STOP', `S${rng.below(9)}`] } : {}),
        };
        const leave = { leaveEarly: 30 + rng.below(150), leave: 'first' }[end];
        const { news, headers } = naming(one, move);
        const options = { headers, leave: text === one.lastQuestion ? undefined : leave };
        let answer = await ask(server, { ...body, ...options, ...(news ? { messages: [user(text)] } : {}) });
        if (news && answer.status === 410) {
            /* its process is gone, and of its system text only the sum is on disk: as told, the whole history */
            answer = await ask(server, { ...body, ...options });
        }
        if (!news) one.held = false;
        one.lastQuestion = undefined;
        if (answer.left) {
            /* while that turn is under way a whole history is answered beside the session */
            one.session = undefined;
            return;
        }
        if (answer.status !== 200) {
            assert.match(text, /"status":500/, `${answer.status}: ${JSON.stringify(answer.error)}`);
            return;
        }
        assert.equal(answer.error, undefined, JSON.stringify(answer.error));
        assert.ok(answer.done, 'the stream has its end');
        seen.push({ one, body, asked, answer, text, said: new Map(one.said) });
        if (!answer.content.trim()) {
            one.held = false;
            return;
        }
        if (!text.includes('[[stub')) assert.equal(answer.content, `echo: ${text}`);
        const echoed = rng.of([answer.content, answer.content, answer.content.trim(), answer.content.trimEnd()]);
        one.said.set(echoed, answer.content);
        one.messages.push(user(text), assistant(echoed));
        one.lastQuestion = text;
        one.held = answer.finish !== 'content_filter';      /* a refused turn is not of the session */
        if (news) continuedSessions += 1;
    }

    async function actor(talks, turns) {
        while (turns.left > 0) {
            turns.left -= 1;
            const one = talks.splice(rng.below(talks.length), 1)[0];
            await step(one);
            if (rng.chance(0.08) && talks.length < 12) {
                talks.push({ ...one, session: undefined, held: false, messages: [...one.messages], said: new Map(one.said) });
            } else if (rng.chance(0.05)) {
                talks.push(newTalk());
            }
            talks.push(one);
        }
    }

    const tagOf = (text) => /t\d+t/.exec(text)?.[0];
    const newestText = (request) => conversation(request).at(-1).slice(1).join('');

    test(`${TURNS} turns at random reach the model as the clients have them (seed ${SEED})`, async () => {
        const talks = Array.from({ length: 8 }, newTalk);
        const turns = { left: TURNS };
        await Promise.all(Array.from({ length: ACTORS }, () => actor(talks, turns)));
        await server.idle();

        const by = new Map();
        for (const request of server.stub.requests) {
            const tag = tagOf(newestText(request));
            by.set(tag, [...by.get(tag) ?? [], request]);
        }
        continued = (by.get(undefined) ?? []).map((request) => conversation(request));
        const faults = [];
        for (const { body, asked, said, answer, text } of seen) {
            const how = `${answer.tag} (${JSON.stringify(text).slice(0, 60)})`;
            const requests = (by.get(tagOf(text)) ?? []).filter((request) => request.body.model.includes(body.model)
                && request.body.messages.length === asked.length);
            const fitting = requests.filter((request) => {
                const got = conversation(request);
                return asked.every(({ role, content }, i) => got[i].length === 2 && got[i][0] === role
                    /* around what the model said white space does not count: a process may hold another echo of it */
                    && (got[i][1] === content || (role === 'assistant'
                        && [content, said.get(content)].some((text) => got[i][1].trim() === text?.trim()))));
            });
            if (fitting.length === 0) {
                const got = (by.get(tagOf(text)) ?? []).map((request) => [request.body.model, ...conversation(request)]);
                faults.push(`${how}: no such conversation upstream; asked ${JSON.stringify([body.model, ...asked])}, got `
                    + `${JSON.stringify(got)}, ${(await logged(server, answer.tag)).rung}`);
                continue;
            }
            const systems = fitting.map((request) => systemTexts(request).at(-1));
            if (body.messages[0].role === 'system' && !systems.includes(body.messages[0].content)) {
                faults.push(`${how}: system prompts ${JSON.stringify(systems)}`);
            }
            if (!fitting.some((request) => JSON.stringify(request.body.stop_sequences) === JSON.stringify(body.stop)
                && (body.max_tokens === undefined ? request.body.max_tokens > 10000
                    : request.body.max_tokens === body.max_tokens))) {
                faults.push(`${how}: limits ${JSON.stringify(fitting.map(({ body: got }) => [got.max_tokens, got.stop_sequences]))}`
                    + ` for ${JSON.stringify([body.max_tokens, body.stop])}`);
            }
            const tools = (body.tools ?? []).map(upstreamTool);
            if (!fitting.some(({ body: got }) => JSON.stringify(got.tools ?? []) === JSON.stringify(tools))) {
                faults.push(`${how}: tools ${JSON.stringify(fitting.map(({ body: got }) => got.tools))}`);
            }
            /* asked more than once, it is not known which request was whose */
            if (fitting.length === 1) seen.find((turn) => turn.answer === answer).request = fitting[0];
        }
        assert.deepEqual(faults, []);
        const { rungs, handed, turns: { finished, failed, aborted } } = await server.status();
        console.log(JSON.stringify({ seen: seen.length, continuedSessions, finished, failed, aborted, rungs, handed }));
        assert.ok(continuedSessions > 0);
        for (const rung of ['live', 'rewound', 'recycled']) assert.ok(rungs[rung] > 0, rung);
        assert.ok(handed > 0);
    });

    /*
     * After max_tokens the CLI goes on by itself, and may be quicker than the interrupt: seen with up
     * to half of such turns when the end of the answer comes in one piece. Once, never three times.
     */
    test('what the CLI asks by itself after a cut answer is stopped with the first request', (t) => {
        const own = (messages) => messages.filter(([role, text]) => role === 'user' && text.startsWith('Output token limit')).length;
        t.diagnostic(`continuations: ${continued.length}`);
        for (const messages of continued) assert.equal(own(messages), 1, JSON.stringify(messages.at(-1)));
    });

    /* All that is not an id, a cache mark or the CLI's hash of its own. lib/rungs.mjs compares bytes. */
    function comparable(request) {
        const { metadata, messages, system: prompt, ...rest } = request.body;
        const bare = ({ cache_control: mark, ...block }) => block;
        const blocks = (content) => (typeof content === 'string' ? [{ type: 'text', text: content }] : content.map(bare));
        const told = messages.map(({ content, ...message }) => ({
            ...message,
            content: blocks(content).map(({ text, ...block }) => ({
                ...block,
                text: message.role === 'assistant' ? text.trim() : text,
            })),
        }));
        return {
            ...rest,
            system: prompt.map(bare).map(({ text, ...block }) => ({
                ...block, text: text.replace(/cc_version=[^;]*/, 'cc_version'),
            })),
            messages: told,
            beta: request.headers['anthropic-beta'],
        };
    }

    test('the whole request is that of a fresh process given the same conversation', async () => {
        const picked = [];
        for (const turn of seen) {
            if (!turn.request) continue;
            turn.rung = (await logged(server, turn.answer.tag)).rung;
        }
        const wanted = ['live', 'rewound', 'recycled', 'live', 'rewound', 'recycled', 'live', 'rewound', 'recycled'];
        for (const rung of wanted) {
            const from = seen.filter((turn) => turn.rung === rung && turn.asked.length > 4 && !picked.includes(turn));
            if (from.length) picked.push(rng.of(from));
        }
        assert.ok(picked.length >= 6);
        for (const [i, { body, request, rung, answer }] of picked.entries()) {
            await server.idle();
            const already = server.stub.requests.length;
            const fresh = await turn(server, { ...body, key: FRESH[i] });
            assert.match(fresh.rung, /^(warm|cold)$/);
            assert.deepEqual(comparable(request), comparable(server.stub.requests[already]), `${rung}, ${answer.tag}`);
        }
    });
});
