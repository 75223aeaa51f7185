/*
 * `./build.sh demo`: what it prints is true, and a client gets something to see of its stub, with
 * tools and structured output too. helpers.test.mjs has a client with scripts.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, tool } from 'ai';
import { HumanMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { startDemo } from './lib/demo.mjs';
import { startOpenCode } from './lib/opencode.mjs';
import { endChild, waitFor } from './lib/server.mjs';
import { assistant, conversation, system, systemTexts, user } from './lib/upstream.mjs';

let demo;

before(async () => { demo = await startDemo(); }, { timeout: 160000 });
after(() => demo?.end());

const client = () => new OpenAI({ baseURL: demo.address, apiKey: demo.key, maxRetries: 0 });

test('it says where it is, what the key is, and that no account is used', () => {
    assert.match(demo.address, /^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    assert.match(demo.key, /^sk-/);
    assert.match(demo.said, /no account is used/i);
    assert.match(demo.said, /stub/i);
});

test('the openai SDK streams an answer', async () => {
    const stream = await client().chat.completions.create({
        model: 'gpt-4o', stream: true, messages: [user('Say hello in five words.')],
    });
    let text = '';
    let chunks = 0;
    for await (const chunk of stream) {
        text += chunk.choices[0].delta.content ?? '';
        chunks += 1;
    }
    assert.match(text, /Hello! This is the stub/);
    assert.match(text, /“Say hello in five words\.”/);
    assert.ok(chunks > 10, `${chunks} chunks`);
});

test('a three-message conversation reaches the model: those messages, in order, and the system prompt', async () => {
    await client().chat.completions.create({
        model: 'sonnet',
        messages: [system('You are terse.'), user('My name is Ada.'), assistant('Hello, Ada.'), user('What is my name?')],
    });
    const last = (await demo.stub.requests).at(-1);
    assert.deepEqual(conversation(last), [
        ['user', 'My name is Ada.'], ['assistant', 'Hello, Ada.'], ['user', 'What is my name?'],
    ]);
    assert.equal(systemTexts(last).at(-1), 'You are terse.');
});

test('the curl line that it prints works', () => {
    const line = /^ *(curl .*)$/m.exec(demo.said)[1];
    const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', timeout: 30000 });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^data: \{/);
    assert.match(stdout, /data: \[DONE\]\n\n$/);
});

describe('without a script', () => {
    const QUESTION = 'What is the weather in Oslo?';
    const WEATHER = z.object({ city: z.string(), unit: z.enum(['C', 'F']).optional() });
    const weather = ({ city }) => `rain in ${city}`;
    const REVIEW = z.object({
        title: z.string().min(3), stars: z.number().int().min(2).max(5), verdict: z.enum(['good', 'bad']),
        author: z.object({ name: z.string(), born: z.string().date().nullable() }), tags: z.array(z.string()).min(1),
    });
    const aiModel = () => createOpenAICompatible({
        name: 'demo', baseURL: demo.address, apiKey: demo.key, supportsStructuredOutputs: true,
    })('sonnet');
    const langchain = () => new ChatOpenAI({ model: 'sonnet', apiKey: demo.key, maxRetries: 0, configuration: { baseURL: demo.address } });

    test('openai: runTools calls the tool that the question names, and ends', async () => {
        const runner = client().chat.completions.runTools({
            model: 'sonnet', messages: [user(QUESTION)],
            tools: [{
                type: 'function',
                function: {
                    name: 'get_weather', description: 'Weather of a city.', parse: JSON.parse, function: weather,
                    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
                },
            }],
        });
        assert.match(await runner.finalContent(), /“rain in Oslo”.*no model was asked/);
    });

    for (const choice of ['required', { type: 'function', function: { name: 'get_weather' } }]) {
        test(`openai: a call that is forced, ${JSON.stringify(choice)}`, async () => {
            const { choices: [{ message }] } = await client().chat.completions.create({
                model: 'sonnet', messages: [user('Say something of Oslo.')], tool_choice: choice,
                tools: [{
                    type: 'function',
                    function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } },
                }],
            });
            assert.deepEqual(message.tool_calls.map(({ function: fn }) => [fn.name, JSON.parse(fn.arguments)]), [['get_weather', { city: 'Oslo' }]]);
        });
    }

    test('openai: parse gives what the zod schema asks for, limits included', async () => {
        const { choices: [{ message }] } = await client().chat.completions.parse({
            model: 'sonnet', messages: [user('A review of 4 stars by Ada.')], response_format: zodResponseFormat(REVIEW, 'review'),
        });
        assert.equal(message.parsed.stars, 4);
        assert.equal(message.parsed.title, 'Ada');
    });

    test('openai: json_object', async () => {
        const { choices: [{ message }] } = await client().chat.completions.create({
            model: 'sonnet', messages: [user('Anything, as JSON.')], response_format: { type: 'json_object' },
        });
        assert.equal(JSON.parse(message.content).you_wrote, 'Anything, as JSON.');
    });

    test('AI SDK: tools, generateObject', async () => {
        const { text, steps } = await generateText({
            model: aiModel(), prompt: QUESTION, maxRetries: 0, stopWhen: stepCountIs(5),
            tools: { get_weather: tool({ description: 'Weather of a city.', inputSchema: WEATHER, execute: weather }) },
        });
        assert.match(text, /“rain in Oslo”/);
        assert.equal(steps.length, 2);
        const { object } = await generateObject({ model: aiModel(), schema: REVIEW, prompt: 'A review.', maxRetries: 0 });
        assert.equal(object.verdict, 'good');
    });

    test('LangChain: bindTools, withStructuredOutput', async () => {
        const bound = langchain().bindTools([langchainTool(weather, { name: 'get_weather', description: 'Weather of a city.', schema: WEATHER })]);
        const { tool_calls: calls } = await bound.invoke([new HumanMessage(QUESTION)]);
        assert.deepEqual(calls.map(({ name, args }) => [name, args]), [['get_weather', { city: 'Oslo' }]]);
        const review = await langchain().withStructuredOutput(REVIEW, { name: 'review', method: 'jsonSchema' }).invoke('A review.');
        assert.equal(review.stars, 2);
    });
});

describe('OpenCode', () => {
    let opencode;

    before(async () => {
        opencode = await startOpenCode(demo.address);
        opencode.write('in.txt', 'The secret word is heliotrope.\n');
        await demo.stub.clear();
    });
    after(() => opencode?.end());

    test('without a script: reads the file that it is asked to read', async () => {
        const { status, stdout, stderr } = await opencode.run(demo.key, '--title', 'Reading', 'Read the file in.txt please.');
        assert.equal(status, 0, stderr);
        assert.match(stdout, /I call read/);
        assert.match(stderr, /Read in\.txt/);
        assert.match(stdout, /Your tool has answered: “[^”]*The secret word is heliotrope/);
    });

    test('reads one file and writes another, in the process that waits', async () => {
        const done = demo.file('logs/access.log').length;
        await demo.stub.script([
            { match: 'Copy the word', tool_use: [{ name: 'read', input: { filePath: opencode.path('in.txt') } }] },
            { match: 'heliotrope', tool_use: [{ name: 'write', input: { filePath: opencode.path('out.txt'), content: 'heliotrope\n' } }] },
            { match: 'Wrote file', text: 'The word is copied.' },
        ]);
        const { status, stdout, stderr } = await opencode.run(demo.key, '--title', 'Copying', 'Copy the word in in.txt to out.txt.');
        assert.equal(status, 0, stderr);
        assert.match(stdout, /The word is copied\.\n$/);
        assert.equal(opencode.read('out.txt'), 'heliotrope\n');
        const rungs = await waitFor('three lines in the log', () => {
            const found = Array.from(demo.file('logs/access.log').slice(done).matchAll(/ process=(\S+)/g), ([, rung]) => rung);
            return found.length >= 3 && found;
        });
        assert.deepEqual(rungs.slice(1), ['live', 'live']);
    });
});

test('ended by its pid it leaves nothing running', async () => {
    assert.ok(demo.processes().length >= 3, 'nginx and the stub do run');
    await endChild(demo.child, 20000);
    await demo.end();
    assert.doesNotMatch(demo.said, /\[(alert|crit|emerg)\]/);
});
