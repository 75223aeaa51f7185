/*
 * Clients from npm, unmodified: the openai SDK's helpers, Vercel's AI SDK and LangChain. What each
 * makes of the answers, and what reached the model; with an nginx of the suites, and with what
 * `./build.sh demo` serves.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, stepCountIs, streamObject, streamText, tool } from 'ai';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { startDemo } from './lib/demo.mjs';
import { KEY, startServer } from './lib/server.mjs';
import { functionTool, upstreamTool } from './lib/tools.mjs';
import { user } from './lib/upstream.mjs';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const CITY = z.object({ city: z.string() });
const PERSON = z.object({ name: z.string(), age: z.number().int() });
const ADA = { name: 'Ada', age: 36 };

let server;         /* the one of the moment: {address, key, stub, end()} */

const calls = (...list) => ({ tool_use: list.map(([id, name, input]) => ({ id, name, input })) });

const requests = async () => (await server.stub.requests).map(({ body }) => body);
const last = async () => (await requests()).at(-1);

/* The results that the model was given, as [id, text]. */
const results = (body) => body.messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content))
    .filter(({ type }) => type === 'tool_result')
    .map(({ tool_use_id: id, content }) => [id, typeof content === 'string' ? content : content.map(({ text }) => text).join('')]);

/* The tool has the client's name, description and a schema with its field, and nothing beside it. */
async function sawTool(name, description, field) {
    const { tools } = await last();
    assert.deepEqual(tools.map((t) => [t.name, t.description]), [[name, description]]);
    assert.deepEqual(Object.keys(tools[0].input_schema.properties), [field]);
    assert.deepEqual(tools[0].input_schema.required, [field]);
}

/* The schema went as the API's own constrained output, not as words or a tool. */
async function sawFormat() {
    const { output_config: { format }, tools } = await last();
    assert.equal(format.type, 'json_schema');
    assert.deepEqual(Object.keys(format.schema.properties), ['name', 'age']);
    assert.equal(format.schema.additionalProperties, false);
    assert.ok(!tools?.length);
}

/* ---------------------------------------------------------------------------------------- */

const SERVERS = {
    'nginx of the suites': async () => {
        const own = await startServer();
        return Object.assign(own, { address: `${own.url}/v1`, key: KEY });
    },
    './build.sh demo': startDemo,
};

for (const [name, start] of Object.entries(SERVERS)) {
    describe(name, () => {
        before(async () => { server = await start(); }, { timeout: 160000 });
        after(() => server?.end());
        beforeEach(() => server.stub.clear());

        describe('openai', openai);
        describe('AI SDK', aiSdk);
        describe('LangChain', langchain);
    });
}

function openai() {
    let chat;

    before(() => { chat = new OpenAI({ baseURL: server.address, apiKey: server.key, maxRetries: 0 }).chat.completions; });

    test('create, with tools and an image', async () => {
        const weather = functionTool('weather');
        await server.stub.script(calls(['toolu_1', 'weather', { x: 'Oslo' }]));
        const { choices: [{ message, finish_reason: finish }] } = await chat.create({
            model: 'sonnet', tools: [weather],
            messages: [user([{ type: 'text', text: 'Where?' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }])],
        });
        assert.equal(finish, 'tool_calls');
        assert.deepEqual(message.tool_calls, [{ id: 'toolu_1', type: 'function', function: { name: 'weather', arguments: '{"x":"Oslo"}' } }]);
        const { tools, messages } = await last();
        assert.deepEqual(tools, [upstreamTool(weather)]);
        const images = messages.flatMap(({ content }) => content).filter(({ type }) => type === 'image');
        assert.deepEqual(images.map(({ source }) => source), [{ type: 'base64', media_type: 'image/png', data: PNG }]);
    });

    test('stream gathers text and calls', async () => {
        await server.stub.script({ text: 'Let me see.', ...calls(['toolu_1', 'weather', { x: 'Oslo' }], ['toolu_2', 'weather', { x: 'Bergen' }]) });
        const final = await chat.stream({ model: 'sonnet', messages: [user('Where?')], tools: [functionTool('weather')] })
            .finalChatCompletion();
        const [{ message, finish_reason: finish }] = final.choices;
        assert.equal(finish, 'tool_calls');
        assert.equal(message.content, 'Let me see.');
        assert.deepEqual(message.tool_calls.map(({ id, function: fn }) => [id, fn.name, fn.arguments]),
            [['toolu_1', 'weather', '{"x":"Oslo"}'], ['toolu_2', 'weather', '{"x":"Bergen"}']]);
    });

    test('parse, with a zod schema', async () => {
        await server.stub.script({ text: JSON.stringify(ADA) });
        const { choices: [{ message }] } = await chat.parse({
            model: 'sonnet', messages: [user('Who?')], response_format: zodResponseFormat(PERSON, 'person'),
        });
        assert.deepEqual(message.parsed, ADA);
        await sawFormat();
    });

    test('parse, with a zod function: strict, its arguments parsed', async () => {
        await server.stub.script(calls(['toolu_1', 'weather', { city: 'Oslo' }]));
        const { choices: [{ message }] } = await chat.parse({
            model: 'sonnet', messages: [user('Weather?')],
            tools: [zodFunction({ name: 'weather', description: 'Weather of a city.', parameters: CITY })],
        });
        assert.deepEqual(message.tool_calls.map(({ function: fn }) => fn.parsed_arguments), [{ city: 'Oslo' }]);
        assert.equal((await last()).tools[0].strict, true);
        await sawTool('weather', 'Weather of a city.', 'city');
    });

    for (const stream of [false, true]) {
        test(`runTools over three rounds${stream ? ', streamed' : ''}`, async () => {
            const asked = [];
            const cities = ['Oslo', 'Bergen', 'Bodø'];
            await server.stub.script(cities.map((city, i) => calls([`toolu_${i}`, 'weather', { city }])));
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
            assert.equal((await requests()).length, 4);
            assert.deepEqual(results(await last()), cities.map((city, i) => [`toolu_${i}`, `rain in ${city}`]));
            await sawTool('weather', 'Weather of a city.', 'city');
        });
    }
}

function aiSdk() {
    let model;

    before(() => {
        model = createOpenAICompatible({
            name: 'nginx', baseURL: server.address, apiKey: server.key, supportsStructuredOutputs: true, includeUsage: true,
        })('sonnet');
    });

    test('streamText', async () => {
        await server.stub.script({ text: 'Good morning to you.' });
        const answer = streamText({ model, prompt: 'hello', maxRetries: 0 });
        let text = '';
        for await (const piece of answer.textStream) text += piece;
        assert.equal(text, 'Good morning to you.');
        assert.equal(await answer.finishReason, 'stop');
        assert.ok((await answer.usage).outputTokens > 0);
    });

    test('tools in several steps', async () => {
        await server.stub.script([
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
        assert.deepEqual(results(await last()), [
            ['toolu_1', 'rain in Oslo'], ['toolu_2', 'rain in Bergen'], ['toolu_3', 'rain in Bodø'],
        ]);
        await sawTool('weather', 'Weather of a city.', 'city');
    });

    test('toolChoice required', async () => {
        await server.stub.script({ text: '{"city":"Oslo"}' });
        const answer = streamText({
            model, prompt: 'Weather?', maxRetries: 0, toolChoice: 'required',
            tools: { weather: tool({ description: 'Weather of a city.', inputSchema: CITY }) },
        });
        await answer.consumeStream();
        assert.equal(await answer.finishReason, 'tool-calls');
        assert.deepEqual((await answer.toolCalls).map(({ toolName, input }) => [toolName, input]), [['weather', { city: 'Oslo' }]]);
    });

    test('streamObject, piece by piece', async () => {
        await server.stub.script({ deltas: ['{"name":', '"Ada"', ',"age":', '36}'], gap_ms: 30 });
        const answer = streamObject({ model, schema: PERSON, prompt: 'Who?', maxRetries: 0 });
        const partial = [];
        for await (const object of answer.partialObjectStream) partial.push(object);
        assert.ok(partial.length > 1, JSON.stringify(partial));
        assert.deepEqual(await answer.object, ADA);
        await sawFormat();
    });

    test('generateObject', async () => {
        await server.stub.script({ text: JSON.stringify(ADA) });
        const { object } = await generateObject({ model, schema: PERSON, prompt: 'Who?', maxRetries: 0 });
        assert.deepEqual(object, ADA);
        await sawFormat();
    });
}

function langchain() {
    let model;

    before(() => {
        model = new ChatOpenAI({
            model: 'sonnet', apiKey: server.key, maxRetries: 0, configuration: { baseURL: server.address },
        });
    });

    test('streaming', async () => {
        await server.stub.script({ text: 'Good morning to you.' });
        const pieces = [];
        for await (const { content } of await model.stream('hello')) pieces.push(content);
        assert.equal(pieces.join(''), 'Good morning to you.');
    });

    test('bindTools, and the result as a ToolMessage', async () => {
        await server.stub.script([calls(['toolu_1', 'weather', { city: 'Oslo' }]), { text: 'Rain.' }]);
        const weather = langchainTool(async () => '', { name: 'weather', description: 'Weather of a city.', schema: CITY });
        const bound = model.bindTools([weather]);
        const messages = [new HumanMessage('Weather?')];
        const asked = await bound.invoke(messages);
        assert.deepEqual(asked.tool_calls.map(({ id, name, args }) => [id, name, args]), [['toolu_1', 'weather', { city: 'Oslo' }]]);
        const answer = await bound.invoke([...messages, asked, new ToolMessage({ tool_call_id: 'toolu_1', content: 'rain' })]);
        assert.equal(answer.content, 'Rain.');
        assert.deepEqual(results(await last()), [['toolu_1', 'rain']]);
        await sawTool('weather', 'Weather of a city.', 'city');
    });

    test('withStructuredOutput', async () => {
        await server.stub.script({ text: JSON.stringify(ADA) });
        const answer = await model.withStructuredOutput(PERSON, { name: 'person', method: 'jsonSchema' }).invoke('Who?');
        assert.deepEqual(answer, ADA);
        await sawFormat();
    });

    for (const method of ['functionCalling', 'jsonMode']) {
        test(`withStructuredOutput, by ${method}`, async () => {
            await server.stub.script({ text: JSON.stringify(ADA) });
            assert.deepEqual(await model.withStructuredOutput(PERSON, { name: 'person', method }).invoke('Who, as JSON?'), ADA);
        });
    }
}
