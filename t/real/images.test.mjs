/*
 * Images that the CLI stores or scales, with the real CLI: it has a note for the model then, where the
 * image lies and how large it was. What reaches the model is the client's texts and its images, in
 * messages and in results of calls, on every rung; and a client's text that looks like such a note.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { crc32, deflateSync } from 'node:zlib';
import { ask, endIdle, logged, random, rowsIn, startEngine } from './lib/engine.mjs';
import { waitFor } from './lib/server.mjs';
import { functionTool, gather, toolMessage } from './lib/tools.mjs';
import { assistant, user } from './lib/upstream.mjs';

const DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/* A PNG of so many pixels, the same every time. */
function png(width, height, noise) {
    const chunk = (type, data) => {
        const body = Buffer.concat([Buffer.from(type), data]);
        const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
        length.writeUInt32BE(data.length);
        sum.writeUInt32BE(crc32(body));
        return Buffer.concat([length, body, sum]);
    };
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 2], 8);
    const line = width * 3 + 1;
    const { below } = random(1);
    const pixels = Buffer.alloc(line * height, 0x55);
    for (let i = 0; noise && i < pixels.length; i++) pixels[i] = below(256);
    for (let i = 0; i < pixels.length; i += line) pixels[i] = 0;     /* no filter */
    return Buffer.concat([
        Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
        chunk('IHDR', head), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0)),
    ]).toString('base64');
}

/* Larger results are replayed: see docs/api-chat.md. */
const LIVE_MAX = 256 * 1024;

const KINDS = { 'small': DOT, 'of 4000 pixels': png(4000, 1000), 'of a megabyte': png(600, 600, true) };

const text = (t) => ({ type: 'text', text: t });
const image = (data) => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } });
const ALPHA = functionTool('alpha');
const tools = [ALPHA];

let server;

before(async () => {
    server = await startEngine({ workers: 1, http: 'claude_warm 0; claude_max_concurrent 4; claude_max_processes 4;' });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

/* Texts as they are, an image in one word. */
const words = (content) => (typeof content === 'string' ? [content] : content.map((block) => {
    switch (block.type) {
    case 'text': return block.text;
    case 'image': return IMAGE;
    case 'tool_use': return ['call', block.id];
    case 'tool_result': return ['result', block.tool_use_id, ...words(block.content)];
    default: return block;
    }
}));
const IMAGE = { an: 'image' };

/* One turn, on a rung: its message, and what the model was asked. */
async function turn(messages, rung, { session, says, ...more } = {}) {
    const before = server.stub.requests.length;
    if (says) server.stub.script(says);
    const answer = await ask(server, { messages, headers: session ? { 'x-session-id': session } : {}, ...more });
    assert.deepEqual([answer.status, answer.error], [200, undefined]);
    assert.equal((await logged(server, answer.tag)).rung, rung);
    await server.idle();
    assert.equal(server.stub.requests.length, before + 1);
    const asked = server.stub.requests.at(-1).body.messages;
    return { message: gather(answer.events), asked: asked.map(({ role, content }) => [role, ...words(content)]), body: asked };
}

const another = () => turn([user('something else')], 'recycled', { model: 'opus' });

/*
 * A message with these parts, whatever becomes of it: the model is always asked the same. parts:
 * of a client, want: words of it.
 */
async function inMessage(parts, want) {
    const [first, next] = [user([text('look'), ...parts]), user('on')];
    const once = [['user', 'look', ...want]];
    const twice = [...once, ['assistant', 'seen'], ['user', 'on']];
    const says = { text: 'seen' };
    const all = [first, assistant('seen'), next];

    await endIdle(server);
    assert.deepEqual((await turn([first], 'cold', { says })).asked, once);
    const live = await turn(all, 'live');
    assert.deepEqual(live.asked, twice);
    assert.deepEqual((await turn(all, 'rewound')).asked, twice);
    await another();
    const replayed = await turn(all, 'recycled');
    assert.deepEqual(replayed.asked, twice);
    assert.deepEqual(replayed.body, live.body);

    const session = randomUUID();
    await endIdle(server);
    assert.deepEqual((await turn([first], 'cold', { session, says })).asked, once);
    const named = await turn([next], 'live', { session });
    assert.deepEqual(named.asked, twice);
    assert.deepEqual(named.body, live.body);
    await endIdle(server);
    const more = [...twice, ['assistant', 'echo: on'], ['user', 'more']];
    assert.deepEqual((await turn([user('more')], 'resumed', { session })).asked, more);
    assert.deepEqual((await turn([user('still')], 'live', { session })).asked, [...more, ['assistant', 'echo: more'], ['user', 'still']]);
    await wholeInSession(all, live.body, more);
    return live.body[0].content.find(({ type }) => type === 'image').source.data;
}

/* A whole history, in a session of its own. */
async function wholeInSession(messages, body, more, options = {}) {
    const session = randomUUID();
    await endIdle(server);
    assert.deepEqual((await turn(messages, 'cold', { session, ...options })).body, body);
    await endIdle(server);
    assert.deepEqual((await turn([user('more')], 'resumed', { session, ...options })).asked, more);
}

/* The same of a result of a call. */
async function inResult(parts, want) {
    const question = user('call');
    const result = toolMessage('toolu_1', parts);
    const called = { tool_use: [{ id: 'toolu_1', name: 'alpha', input: { x: '1' } }] };
    const once = [['user', 'call'], ['assistant', ['call', 'toolu_1']], ['user', ['result', 'toolu_1', ...want]]];
    const twice = [...once, ['assistant', 'seen'], ['user', 'on']];
    const more = [...twice, ['assistant', 'echo: on'], ['user', 'more']];
    const says = { text: 'seen' };

    await endIdle(server);
    const { message } = await turn([question], 'cold', { says: called, tools });
    const all = [question, message, result];
    const live = await turn(all, 'live', { says, tools });
    assert.deepEqual(live.asked, once);
    const whole = [...all, assistant('seen'), user('on')];
    assert.deepEqual((await turn(whole, 'live', { tools })).asked, twice);
    assert.deepEqual((await turn(whole, 'rewound', { tools })).asked, twice);
    await another();
    const replayed = await turn(whole, 'recycled', { tools });
    assert.deepEqual(replayed.asked, twice);
    assert.deepEqual((await turn(all, 'recycled', { says, tools })).asked, once);

    for (const given of [all, [result]]) {
        const session = randomUUID();
        await endIdle(server);
        await turn([question], 'cold', { session, says: called, tools });
        const named = await turn(given, 'live', { session, says, tools });
        assert.deepEqual(named.asked, once);
        assert.deepEqual(named.body, live.body);
        assert.deepEqual((await turn([user('on')], 'live', { session, tools })).asked, twice);
        await endIdle(server);
        assert.deepEqual((await turn([user('more')], 'resumed', { session, tools })).asked, more);
    }
    await wholeInSession(whole, replayed.body, more, { tools });
    return [live, replayed].map(({ body }) => body[2].content[0].content.filter(({ type }) => type === 'image')
        .map(({ source }) => source.data));
}

for (const [name, data] of Object.entries(KINDS)) {
    describe(`an image, ${name}`, () => {
        test('at the end of a message: scaled if it is large', async () => {
            const sent = await inMessage([image(data)], [IMAGE]);
            assert.equal(sent === data, name === 'small');
        });
        if (data.length > LIVE_MAX) return;
        test('two in a message, before lines', () => inMessage([image(data), image(data), text('what is it?\n\n')],
            [IMAGE, IMAGE, 'what is it?\n\n']));
        test('before another message of the user', async () => {
            await endIdle(server);
            const history = [user([text('look'), image(data)]), user('what is it?'), user([image(data)]), user('and this?\n')];
            const want = [['user', 'look', IMAGE, 'what is it?', IMAGE, 'and this?\n']];
            assert.deepEqual((await turn(history, 'cold')).asked, want);
        });
        test('in a question whose CLI is killed behind a cut answer', async () => {
            const session = randomUUID();
            const question = user([text('look'), image(data), text('what is it?')]);
            await endIdle(server);
            await turn([user('one')], 'cold', { session });
            await turn([question], 'live', { session, says: { text: 'cut here', stop_reason: 'max_tokens' }, max_tokens: 2000 });
            const [{ pid }] = await rowsIn(server, 'idle');
            process.kill(pid, 'SIGKILL');
            await waitFor('its row to go', async () => (await server.status()).processes.length === 0);
            assert.deepEqual((await turn([user('on')], 'resumed', { session })).asked, [
                ['user', 'one'], ['assistant', 'echo: one'], ['user', 'look', IMAGE, 'what is it?'], ['assistant', 'cut here'], ['user', 'on'],
            ]);
        });
        test('in a result: scaled where the CLI takes it, not where it is replayed', async () => {
            const [[live], [replayed]] = await inResult([text('a picture'), image(data)], ['a picture', IMAGE]);
            assert.equal(replayed, data);
            assert.equal(live === data, name === 'small');
        });
    });
}

/* As the CLI writes them, behind an image and elsewhere; one with the place of another session. */
const NOTES = [
    '[Image: source: /a/b.png]',
    '[Image: original 4000x1000, displayed at 2000x500. Multiply coordinates by 2.00 to map to original image.]',
    '[Image source: /a/b.png]',
    `[Image: source: /root/.claude/projects/-a/${randomUUID()}/tool-results/b.png]`,
    '[left out]',
    'No response requested.',
];

describe("a client's own text that looks like a note", () => {
    const [dot, large] = [image(DOT), image(KINDS['of 4000 pixels'])];
    const behind = NOTES.flatMap((note) => [dot, text(note)]);
    const want = NOTES.flatMap((note) => [IMAGE, note]);

    test('behind an image, in a message', () => inMessage([...behind, large, text(NOTES[1])], [...want, IMAGE, NOTES[1]]));
    test('behind an image, in a result', () => inResult([...behind, large, text(NOTES[1])], [...want, IMAGE, NOTES[1]]));
    test('messages of their own', async () => {
        const notes = NOTES.flatMap((note) => [assistant(note), user(note)]);
        const want = notes.map(({ role, content }) => [role, content]);
        const session = randomUUID();
        const on = [assistant('echo: on'), user('on')];
        for (const options of [{}, { session }]) {
            await endIdle(server);
            const history = [user([large]), ...notes, ...on];
            assert.deepEqual((await turn(history, 'cold', options)).asked, [['user', IMAGE], ...want, ['assistant', 'echo: on'], ['user', 'on']]);
        }
        await endIdle(server);
        const words = 'No response requested.';
        const more = [['user', IMAGE], ...want, ['assistant', 'echo: on'], ['user', 'on'], ['assistant', 'echo: on']];
        for (const rung of ['resumed', 'live', 'live']) {
            more.push(['user', words]);
            assert.deepEqual((await turn([user(words)], rung, { session, says: { text: words } })).asked, more);
            more.push(['assistant', words]);
        }
    });
});

test("in a result of a session, with a schema that looks like the CLI's name of another one", async () => {
    const session = randomUUID();
    const other = JSON.stringify({ session_id: '00000000-0000-4000-8000-000000000000' });
    const property = { type: 'string', description: other, enum: [other] };
    const schema = { type: 'object', properties: { metadata: property }, required: ['metadata'], additionalProperties: false };
    const response_format = { type: 'json_schema', json_schema: { name: 's', strict: true, schema } };
    const called = (id) => ({ tool_use: [{ id, name: 'alpha', input: { x: '1' } }] });
    const result = (id) => toolMessage(id, [text('a picture'), image(KINDS['of 4000 pixels'])]);
    const round = (said, id) => [['user', said], ['assistant', ['call', id]], ['user', ['result', id, 'a picture', IMAGE]]];
    const says = { text: JSON.stringify({ metadata: other }) };

    await endIdle(server);
    const question = await turn([user('call')], 'cold', { session, tools, response_format, says: called('toolu_1') });
    assert.deepEqual(question.asked, [['user', 'call']]);
    const first = await turn([result('toolu_1')], 'live', { session, tools, response_format, says });
    assert.deepEqual(first.asked, round('call', 'toolu_1'));
    const on = [...first.asked, ['assistant', says.text]];
    const second = await turn([user('call again')], 'live', { session, tools, says: called('toolu_2') });
    assert.deepEqual(second.asked, [...on, ['user', 'call again']]);
    assert.deepEqual((await turn([result('toolu_2')], 'live', { session, tools })).asked, [...on, ...round('call again', 'toolu_2')]);
});
