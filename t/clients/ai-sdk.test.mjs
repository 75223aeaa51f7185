/*
 * Vercel's AI SDK, unmodified, with its provider for APIs like OpenAI's.
 */

import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, stepCountIs, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';
import { ADA, WEATHER, calls, describeClient, last, results, sawFormat, sawTool, server } from '../real/lib/clients.mjs';

const CITY = z.object({ city: z.string() });
const PERSON = z.object({ name: z.string(), age: z.number().int() });

describeClient(() => {
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
            description: WEATHER, inputSchema: CITY, execute: async ({ city }) => `rain in ${city}`,
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
        await sawTool('weather', WEATHER, 'city');
    });

    test('toolChoice required', async () => {
        await server.stub.script({ text: '{"city":"Oslo"}' });
        const answer = streamText({
            model, prompt: 'Weather?', maxRetries: 0, toolChoice: 'required',
            tools: { weather: tool({ description: WEATHER, inputSchema: CITY }) },
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
});
