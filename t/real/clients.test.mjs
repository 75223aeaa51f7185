/*
 * Clients from npm, unmodified: the openai SDK's helpers, Vercel's AI SDK and LangChain. What each
 * makes of the answers, and what reached the model.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, stepCountIs, streamText, tool } from 'ai';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { KEY, startServer } from './lib/server.mjs';
import { functionTool, upstreamTool } from './lib/tools.mjs';
import { user } from './lib/upstream.mjs';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const CITY = z.object({ city: z.string() });
const PERSON = z.object({ name: z.string(), age: z.number().int() });
const ADA = { name: 'Ada', age: 36 };

let server;

before(async () => { server = await startServer(); });
after(() => server?.end());
beforeEach(() => server.stub.clear());

const last = () => server.stub.requests.at(-1).body;
const calls = (...list) => ({ tool_use: list.map(([id, name, input]) => ({ id, name, input })) });

/* The results that the model was given, as [id, text]. */
const results = (body) => body.messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content))
    .filter(({ type }) => type === 'tool_result')
    .map(({ tool_use_id: id, content }) => [id, typeof content === 'string' ? content : content.map(({ text }) => text).join('')]);

/* The tool has the client's name, description and a schema with its field, and nothing beside it. */
function sawTool(name, description, field) {
    const { tools } = last();
    assert.deepEqual(tools.map((t) => [t.name, t.description]), [[name, description]]);
    assert.deepEqual(Object.keys(tools[0].input_schema.properties), [field]);
    assert.deepEqual(tools[0].input_schema.required, [field]);
}

/* The schema went as the API's own constrained output, not as words or a tool. */
function sawFormat() {
    const { format } = last().output_config;
    assert.equal(format.type, 'json_schema');
    assert.deepEqual(Object.keys(format.schema.properties), ['name', 'age']);
    assert.equal(format.schema.additionalProperties, false);
    assert.ok(!last().tools?.length);
}

/* ---------------------------------------------------------------------------------------- */

describe('openai', () => {
    let chat;

    before(() => { chat = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, maxRetries: 0 }).chat.completions; });

    test('create, with tools and an image', async () => {
        const weather = functionTool('weather');
        server.stub.script(calls(['toolu_1', 'weather', { x: 'Oslo' }]));
        const { choices: [{ message, finish_reason: finish }] } = await chat.create({
            model: 'sonnet', tools: [weather],
            messages: [user([{ type: 'text', text: 'Where?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }])],
        });
        assert.equal(finish, 'tool_calls');
        assert.deepEqual(message.tool_calls, [{ id: 'toolu_1', type: 'function', function: { name: 'weather', arguments: '{"x":"Oslo"}' } }]);
        assert.deepEqual(last().tools, [upstreamTool(weather)]);
        const images = last().messages.flatMap(({ content }) => content).filter(({ type }) => type === 'image');
        assert.deepEqual(images.map(({ source }) => source), [{ type: 'base64', media_type: 'image/png', data: PNG }]);
    });

    test('stream gathers text and calls', async () => {
        server.stub.script({ text: 'Let me see.', ...calls(['toolu_1', 'weather', { x: 'Oslo' }], ['toolu_2', 'weather', { x: 'Bergen' }]) });
        const final = await chat.stream({ model: 'sonnet', messages: [user('Where?')], tools: [functionTool('weather')] })
            .finalChatCompletion();
        const [{ message, finish_reason: finish }] = final.choices;
        assert.equal(finish, 'tool_calls');
        assert.equal(message.content, 'Let me see.');
        assert.deepEqual(message.tool_calls.map(({ id, function: fn }) => [id, fn.name, fn.arguments]),
            [['toolu_1', 'weather', '{"x":"Oslo"}'], ['toolu_2', 'weather', '{"x":"Bergen"}']]);
    });

    test('parse, with a zod schema', async () => {
        server.stub.script({ text: JSON.stringify(ADA) });
        const { choices: [{ message }] } = await chat.parse({
            model: 'sonnet', messages: [user('Who?')], response_format: zodResponseFormat(PERSON, 'person'),
        });
        assert.deepEqual(message.parsed, ADA);
        sawFormat();
    });

    for (const stream of [false, true]) {
        test(`runTools over three rounds${stream ? ', streamed' : ''}`, async () => {
            const asked = [];
            const cities = ['Oslo', 'Bergen', 'Bodø'];
            server.stub.script(cities.map((city, i) => calls([`toolu_${i}`, 'weather', { city }])));
            const runner = chat.runTools({
                model: 'sonnet', stream, messages: [user('Weather?')],
                tools: [{
                    type: 'function',
                    function: {
                        name: 'weather', description: 'Weather of a city.', parse: JSON.parse,
                        parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
                        function: ({ city }) => { asked.push(city); return `rain in ${city}`; },
                    },
                }],
            });
            const content = await runner.finalContent();
            assert.ok(content);
            assert.deepEqual(asked, cities);
            assert.equal(server.stub.requests.length, 4);
            assert.deepEqual(results(last()), cities.map((city, i) => [`toolu_${i}`, `rain in ${city}`]));
            sawTool('weather', 'Weather of a city.', 'city');
        });
    }
});

describe('AI SDK', () => {
    let model;

    before(() => {
        model = createOpenAICompatible({
            name: 'nginx', baseURL: `${server.url}/v1`, apiKey: KEY, supportsStructuredOutputs: true, includeUsage: true,
        })('sonnet');
    });

    test('streamText', async () => {
        const answer = streamText({ model, prompt: 'hello', maxRetries: 0 });
        let text = '';
        for await (const piece of answer.textStream) text += piece;
        assert.equal(text, 'echo: hello');
        assert.equal(await answer.finishReason, 'stop');
        assert.ok((await answer.usage).outputTokens > 0);
    });

    test('tools in several steps', async () => {
        server.stub.script([
            calls(['toolu_1', 'weather', { city: 'Oslo' }]),
            calls(['toolu_2', 'weather', { city: 'Bergen' }], ['toolu_3', 'weather', { city: 'Bodø' }]),
            { text: 'Rain.' },
        ]);
        const weather = tool({
            description: 'Weather of a city.', inputSchema: CITY, execute: async ({ city }) => `rain in ${city}`,
        });
        const answer = streamText({
            model, prompt: 'Weather?', maxRetries: 0, tools: { weather }, stopWhen: stepCountIs(5),
        });
        await answer.consumeStream();
        assert.equal(await answer.text, 'Rain.');
        const steps = await answer.steps;
        assert.deepEqual(steps.map(({ finishReason }) => finishReason), ['tool-calls', 'tool-calls', 'stop']);
        assert.deepEqual(results(last()), [
            ['toolu_1', 'rain in Oslo'], ['toolu_2', 'rain in Bergen'], ['toolu_3', 'rain in Bodø'],
        ]);
        sawTool('weather', 'Weather of a city.', 'city');
    });

    test('generateObject', async () => {
        server.stub.script({ text: JSON.stringify(ADA) });
        const { object } = await generateObject({ model, schema: PERSON, prompt: 'Who?', maxRetries: 0 });
        assert.deepEqual(object, ADA);
        sawFormat();
    });
});

describe('LangChain', () => {
    let model;

    before(() => {
        model = new ChatOpenAI({
            model: 'sonnet', apiKey: KEY, maxRetries: 0, configuration: { baseURL: `${server.url}/v1` },
        });
    });

    test('streaming', async () => {
        const pieces = [];
        for await (const { content } of await model.stream('hello')) pieces.push(content);
        assert.equal(pieces.join(''), 'echo: hello');
    });

    test('bindTools, and the result as a ToolMessage', async () => {
        server.stub.script([calls(['toolu_1', 'weather', { city: 'Oslo' }]), { text: 'Rain.' }]);
        const weather = langchainTool(async () => '', { name: 'weather', description: 'Weather of a city.', schema: CITY });
        const bound = model.bindTools([weather]);
        const messages = [new HumanMessage('Weather?')];
        const asked = await bound.invoke(messages);
        assert.deepEqual(asked.tool_calls.map(({ id, name, args }) => [id, name, args]), [['toolu_1', 'weather', { city: 'Oslo' }]]);
        const answer = await bound.invoke([...messages, asked, new ToolMessage({ tool_call_id: 'toolu_1', content: 'rain' })]);
        assert.equal(answer.content, 'Rain.');
        assert.deepEqual(results(last()), [['toolu_1', 'rain']]);
        sawTool('weather', 'Weather of a city.', 'city');
    });

    test('withStructuredOutput', async () => {
        server.stub.script({ text: JSON.stringify(ADA) });
        const answer = await model.withStructuredOutput(PERSON, { name: 'person', method: 'jsonSchema' }).invoke('Who?');
        assert.deepEqual(answer, ADA);
        sawFormat();
    });
});
