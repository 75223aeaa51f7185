/*
 * What the stub says with --demo, over HTTP and under the API's own rules: `node --test t/stub/`.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createStub } from './messages-api.mjs';
import { hintsOf, instanceOf } from './instance.mjs';

let stub;
let base;

before(async () => {
    stub = createStub({ demo: true });
    base = `http://127.0.0.1:${await stub.listen()}`;
});
after(() => stub.close());
beforeEach(() => stub.clear());

const user = (content) => ({ role: 'user', content });
const assistant = (content) => ({ role: 'assistant', content });

async function post(messages, more = {}) {
    const res = await fetch(`${base}/v1/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-api-key': 'dummy', 'anthropic-version': '2023-06-01' },
        body: JSON.stringify({ model: 'claude-sonnet-5-5', max_tokens: 1000, messages: [messages].flat(), ...more }),
    });
    const answer = await res.json();
    assert.equal(res.status, 200, answer.error?.message);
    return answer;
}

const ask = async (...args) => (await post(...args)).content;

const text = async (...args) => (await ask(...args)).filter(({ type }) => type === 'text').map((block) => block.text).join('');
const called = async (...args) => (await ask(...args)).filter(({ type }) => type === 'tool_use').map(({ name, input }) => [name, input]);

const tool = (name, properties = {}, required = Object.keys(properties)) => ({
    name, description: `what ${name} does`, input_schema: { type: 'object', properties, required },
});
const string = { type: 'string' };

/* ---------------------------------------------------------------------------------------- */

test('it says that it is no model, repeats the user and counts the messages', async () => {
    const said = await text([user('a'), assistant('b'), user('the question')]);
    assert.match(said, /no model was asked/);
    assert.match(said, /“the question”/);
    assert.match(said, /3 messages/);
});

test('a script comes first', async () => {
    stub.script({ text: 'scripted' });
    assert.equal(await text(user('weather'), { tools: [tool('weather')] }), 'scripted');
});

test('stop sequences and max_tokens end it', async () => {
    const end = async (more) => {
        const { content, stop_reason: reason, stop_sequence: stop } = await post(user('x'), more);
        return [content[0].text, reason, stop];
    };
    assert.deepEqual(await end({ max_tokens: 3 }), ['Hello! This ', 'max_tokens', null]);
    assert.deepEqual(await end({ stop_sequences: ['stub', ' is'] }), ['Hello! This', 'stop_sequence', ' is']);
    assert.equal((await end({ stop_sequences: ['nowhere'] }))[1], 'end_turn');
});

describe('tools', () => {
    const tools = [tool('get_time', { zone: string }), tool('get_weather', { city: string, unit: { enum: ['C', 'F'] } }, ['city'])];

    test('one is called that the text names, with words of the text, and it says so', async () => {
        const blocks = await ask(user('What is the weather in New York?'), { tools });
        assert.match(blocks[0].text, /I call get_weather.*no model was asked/);
        assert.deepEqual([blocks[1].name, blocks[1].input], ['get_weather', { city: 'New York' }]);
    });

    test('none is called that is not named', async () => {
        assert.deepEqual(await called(user('Hello! What can you get me?'), { tools }), []);
    });

    test('none is called at a guess that may do harm', async () => {
        const risky = [
            tool('bash', { command: string }), tool('write', { filePath: string, content: string }), tool('task', { prompt: string, kind: string }),
            tool('deleteFile', { path: string }), tool('webfetch', { url: string }), tool('python', { code: string }),
        ];
        assert.deepEqual(await called(user('bash write task deleteFile webfetch python ./x.sh'), { tools: risky }), []);
    });

    test('its results are repeated, and nothing more is called', async () => {
        const blocks = await ask([
            user('Weather?'), assistant([{ type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: { city: 'Oslo' } }]),
            user([{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'The weather is rain.' }] }]),
        ], { tools });
        assert.deepEqual(blocks.map(({ type }) => type), ['text']);
        assert.match(blocks[0].text, /“The weather is rain\.”.*no model was asked/);
    });

    test('what the client forces is called', async () => {
        const force = (choice) => called(user('Weather in Oslo?'), { tools, tool_choice: choice, model: 'claude-haiku-4-5' });
        assert.deepEqual(await force({ type: 'tool', name: 'get_time' }), [['get_time', { zone: 'Oslo' }]]);
        assert.deepEqual(await force({ type: 'any' }), [['get_weather', { city: 'Oslo' }]]);
        assert.deepEqual(await force({ type: 'none' }), []);
    });
});

describe('structured output', () => {
    const instance = (schema, said = 'x') => text(user(said), { output_config: { format: { type: 'json_schema', schema } } }).then(JSON.parse);
    const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false });

    test('an instance of the schema, with what the text offers', async () => {
        assert.deepEqual(await instance(object({
            name: string, age: { type: 'integer' }, tags: { type: 'array', items: { enum: ['a', 'b'] } }, sure: { type: 'boolean' },
        }), 'My friend Ada is 36.'), { name: 'Ada', age: 36, tags: ['a'], sure: true });
    });

    test('references, choices and formats', async () => {
        assert.deepEqual(await instance({
            ...object({ a: { $ref: '#/$defs/d' }, b: { anyOf: [{ type: 'null' }, { type: 'number' }] }, c: { type: 'string', format: 'date' } }),
            $defs: { d: object({ e: { const: 'f' } }) },
        }), { a: { e: 'f' }, b: 1, c: '2001-02-03' });
    });

    test('a tool that is named comes first, then its results are taken in', async () => {
        const more = { tools: [tool('weather', { city: string })], output_config: { format: { type: 'json_schema', schema: object({ a: string }) } } };
        assert.deepEqual(await called(user('weather in Oslo'), more), [['weather', { city: 'Oslo' }]]);
        const told = await text([
            user('weather in Oslo'), assistant([{ type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Oslo' } }]),
            user([{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'rain' }]),
        ], more);
        assert.deepEqual(JSON.parse(told), { a: 'demo' });
    });

    test('json_object, as the module tells the model of it', async () => {
        const said = await text(user('json?'), { system: [{ type: 'text', text: 'Answer with one JSON object and nothing else.' }] });
        assert.equal(JSON.parse(said).you_wrote, 'json?');
    });
});

test('instances keep to limits, told in the description or not', () => {
    const cases = [
        [{ type: 'integer', minimum: 5 }, 5],
        [{ type: 'integer', description: 'How many.\n\n{"minimum":5}' }, 5],
        [{ type: 'number', exclusiveMaximum: 1 }, 0.5],
        [{ type: 'integer', exclusiveMinimum: 1 }, 2],
        [{ type: 'integer', multipleOf: 10 }, 10],
        [{ type: 'string', minLength: 6 }, 'demo..'],
        [{ type: 'string', maxLength: 2 }, 'de'],
        [{ type: 'array', items: { type: 'integer' }, minItems: 2 }, [1, 1]],
        [{ type: ['null', 'string'] }, 'demo'],
        [{ type: 'null' }, null],
        [{ type: 'object' }, {}],
        [{ allOf: [{ properties: { a: { default: 3 } } }, { properties: { b: { examples: [4] } } }] }, { a: 3, b: 4 }],
    ];
    for (const [schema, want] of cases) assert.deepEqual(instanceOf(schema), want, JSON.stringify(schema));
});

test('a schema without an end has one here', () => {
    const schema = { type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] };
    assert.match(JSON.stringify(instanceOf(schema)), /^(\{"next":){10,}null}+$/);
});

test('what a text offers', () => {
    const all = (said) => {
        const hints = hintsOf(said);
        return [1, 2, 3].map(() => hints.string()).filter((hint) => hint !== undefined);
    };
    assert.deepEqual(all('Say “hello there” to `bob`.'), ['hello there', 'bob']);
    assert.deepEqual(all('Read src/main.c, then ./build.'), ['src/main.c', './build']);
    assert.deepEqual(all('The capital of France. In winter'), ['France']);
    const { number } = hintsOf('Add -2 and 3.5 of v1.2');
    assert.deepEqual([number(), number(), number()], [-2, 3.5, undefined]);
});
