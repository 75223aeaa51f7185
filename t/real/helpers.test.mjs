/*
 * The helpers of the openai npm SDK, unmodified: what they make of the answers, and what reached the
 * model; with an nginx of the suites, and with what `./build.sh demo` serves.
 */

import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { ADA, WEATHER, calls, describeClient, last, requests, results, sawFormat, sawTool, server } from './lib/clients.mjs';
import { functionTool, upstreamTool } from './lib/tools.mjs';
import { user } from './lib/upstream.mjs';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const CITY = z.object({ city: z.string() });
const PERSON = z.object({ name: z.string(), age: z.number().int() });

describeClient(() => {
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
            tools: [zodFunction({ name: 'weather', description: WEATHER, parameters: CITY })],
        });
        assert.deepEqual(message.tool_calls.map(({ function: fn }) => fn.parsed_arguments), [{ city: 'Oslo' }]);
        assert.equal((await last()).tools[0].strict, true);
        await sawTool('weather', WEATHER, 'city');
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
                        name: 'weather', description: WEATHER, parse: JSON.parse,
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
            await sawTool('weather', WEATHER, 'city');
        });
    }
});
