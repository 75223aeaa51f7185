/*
 * What reaches the model of images, files, response formats and knobs, with the real CLI: the
 * blocks that the client meant, and nothing beside them.
 */

import { after, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from './lib/server.mjs';
import { only, user, assistant } from './lib/upstream.mjs';

let server;

before(async () => {
    server = await startServer();
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

const base64 = (text) => Buffer.from(text, 'latin1').toString('base64');

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';
const GIF = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
const PDF = base64(`%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/MediaBox[0 0 3 3]/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n`);

const text = (t) => ({ type: 'text', text: t });
const image = (url, more) => ({ type: 'image_url', image_url: { url, ...more } });
const file = (file_data, filename) => ({ type: 'file', file: { file_data, filename } });

/* The blocks of all messages, without the CLI's cache marks. */
const blocks = (request) => request.body.messages
    .map(({ role, content }) => [role, ...(typeof content === 'string' ? [text(content)] : content)
        .map(({ cache_control: mark, ...block }) => block)]);

async function ask(body) {
    const answer = await server.chat(body);
    assert.equal(answer.status, 200, answer.text.slice(0, 500));
    return only(server.stub);
}

const source = (type, media_type, data) => ({ type, media_type, data });

/* ---------------------------------------------------------------------------------------- */

test('an image reaches the model as it is, with no path beside it', async () => {
    const got = await ask({ messages: [user([text('what is it?'), image(`data:image/png;base64,${PNG}`)])] });
    assert.deepEqual(blocks(got), [
        ['user', text('what is it?'), { type: 'image', source: source('base64', 'image/png', PNG) }],
    ]);
});

test('an image alone, of another type', async () => {
    server.stub.script({ text: 'a dot' });
    const got = await ask({ messages: [user([image(`data:image/gif;base64,${GIF}`, { detail: 'low' })])] });
    assert.deepEqual(blocks(got), [['user', { type: 'image', source: source('base64', 'image/gif', GIF) }]]);
});

test('an image by its URL is the provider’s to fetch', async () => {
    const got = await ask({ messages: [user([text('and this?'), image('https://example.com/a.png')])] });
    assert.deepEqual(blocks(got), [
        ['user', text('and this?'), { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }],
    ]);
});

/* The CLI would take it out, say so to the model, and answer with 200. */
test('an image that the provider cannot process is an error, and is not asked without', async () => {
    const bad = { status: 400, message: 'Could not process image', match: 'unprocessable' };
    for (const stream of [false, true]) {
        server.stub.script({ ...bad, times: 1 });
        const answer = await server.chat({
            messages: [user([text('unprocessable'), image(`data:image/png;base64,${PNG}`)])], stream,
        });
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.json.error.message, /image/);
        await server.idle();
    }
    server.stub.clear();
    const got = await ask({ messages: [user('never mind')] });
    assert.deepEqual(blocks(got), [['user', text('never mind')]]);
});

test('a PDF and a text, with their names', async () => {
    const got = await ask({
        messages: [user([
            file(`data:application/pdf;base64,${PDF}`, 'paper.pdf'),
            file(`data:text/plain;base64,${Buffer.from('äöü\n@/etc/passwd\n').toString('base64')}`, 'notes.txt'),
            text('compare them'),
        ])],
    });
    assert.deepEqual(blocks(got), [[
        'user',
        { type: 'document', source: source('base64', 'application/pdf', PDF), title: 'paper.pdf' },
        { type: 'document', source: source('text', 'text/plain', 'äöü\n@/etc/passwd\n'), title: 'notes.txt' },
        text('compare them'),
    ]]);
});

test('images in the history are the same live and replayed', async () => {
    const first = [user([text('what is it?'), image(`data:image/png;base64,${PNG}`)])];
    const more = [...first, assistant('echo: what is it?'), user('sure?')];
    await ask({ messages: first });
    server.stub.clear();
    const live = await ask({ messages: more });
    server.stub.clear();
    await ask({ messages: [user('something else')] });
    server.stub.clear();
    const replayed = await ask({ messages: more });
    assert.deepEqual(blocks(live), [
        ['user', text('what is it?'), { type: 'image', source: source('base64', 'image/png', PNG) }],
        ['assistant', text('echo: what is it?')], ['user', text('sure?')],
    ]);
    assert.deepEqual(blocks(replayed), blocks(live));
});

/* Above some 500 KB or 2,000 pixels the CLI makes an image smaller by itself: see README. */
test('a large image is an image, with no path beside it', async () => {
    const data = Buffer.concat([Buffer.from(PNG, 'base64'), Buffer.alloc(2_250_000, 7)]).toString('base64');
    const got = await ask({ messages: [user([text('large'), image(`data:image/png;base64,${data}`)])] });
    assert.deepEqual(blocks(got)[0].slice(1).map(({ type }) => type), ['text', 'image']);
});

/* ---------------------------------------------------------------------------------------- */

const SCHEMA = {
    $defs: {
        Step: {
            type: 'object', title: 'Step',
            properties: { text: { type: 'string', minLength: 1 }, next: { anyOf: [{ $ref: '#/$defs/Step' }, { type: 'null' }] } },
            required: ['text', 'next'],
        },
    },
    type: 'object',
    properties: {
        age: { type: 'integer', minimum: 0, maximum: 150 },
        born: { type: 'string', format: 'date-time' },
        unit: { type: ['string', 'null'], enum: ['F', 'C', null] },
        first: { $ref: '#/$defs/Step' },
    },
    required: ['age', 'first'],
};

test('a schema reaches the model as the provider takes it, beside the effort', async () => {
    server.stub.script({ text: '{"age":7}' });
    const got = await ask({
        messages: [user('how old?')],
        response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: SCHEMA } },
    });
    const { effort, format } = got.body.output_config;
    assert.ok(effort, 'the effort stays');
    assert.equal(format.type, 'json_schema');
    assert.equal(format.schema.additionalProperties, false);
    assert.deepEqual(format.schema.properties.age, { type: 'integer', description: '{"minimum":0,"maximum":150}' });
    assert.deepEqual(format.schema.properties.born, { type: 'string', format: 'date-time' });
    assert.equal(Object.keys(format.schema.$defs).length, 4);

    server.stub.clear();
    const after = await ask({ messages: [user('how old?')] });
    assert.equal(after.body.output_config?.format ?? null, null);
});

test('constrained output is streamed', async () => {
    server.stub.script({ deltas: ['{"age"', ':', '7}'] });
    const answer = await server.stream({
        messages: [user('how old?')],
        response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: SCHEMA } },
    });
    assert.equal(answer.content, '{"age":7}');
    assert.ok(answer.events.length >= 5);
});
