/*
 * LangChain, unmodified, with its class for OpenAI's chat.
 */

import { before, test } from 'node:test';
import assert from 'node:assert/strict';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { ADA, WEATHER, calls, describeClient, last, results, sawFormat, sawTool, server } from '../real/lib/clients.mjs';

const CITY = z.object({ city: z.string() });
const PERSON = z.object({ name: z.string(), age: z.number().int() });

describeClient(() => {
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
        const weather = langchainTool(async () => '', { name: 'weather', description: WEATHER, schema: CITY });
        const bound = model.bindTools([weather]);
        const messages = [new HumanMessage('Weather?')];
        const asked = await bound.invoke(messages);
        assert.deepEqual(asked.tool_calls.map(({ id, name, args }) => [id, name, args]), [['toolu_1', 'weather', { city: 'Oslo' }]]);
        const answer = await bound.invoke([...messages, asked, new ToolMessage({ tool_call_id: 'toolu_1', content: 'rain' })]);
        assert.equal(answer.content, 'Rain.');
        assert.deepEqual(results(await last()), [['toolu_1', 'rain']]);
        await sawTool('weather', WEATHER, 'city');
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
});
