/*
 * reasoning_effort with the real CLI: how much the model is told to think, at every turn anew, and
 * that its thoughts are shown to those who ask for them.
 */

import { after, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { logged, startEngine } from './lib/engine.mjs';
import { calling, converse, functionTool, toolMessage } from './lib/tools.mjs';
import { scripted, user } from './lib/upstream.mjs';

let server;

before(async () => {
    server = await startEngine({ http: 'claude_warm 1;', workers: 1 });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

const upstream = () => server.stub.requests.at(-1).body;
const THINKS = scripted({ blocks: [{ type: 'thinking', thinking: 'let me "think" ü' }, { type: 'text', text: 'done' }] });

async function turn(body, options) {
    const answer = await converse(server, body, { logged, ...options });
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return answer;
}

test('each effort is the model\'s own word for it, and lasts for its turn alone', async () => {
    await turn({ messages: [user('hi')] });
    const own = upstream().output_config.effort;
    const want = { none: 'low', minimal: 'low', low: 'low', medium: 'medium', high: 'high', xhigh: 'xhigh', max: 'max' };
    for (const [effort, word] of Object.entries(want)) {
        await turn({ messages: [user('hi')], reasoning_effort: effort });
        assert.equal(upstream().output_config.effort, word);
        await turn({ messages: [user('hi')] });
        assert.equal(upstream().output_config.effort, own, `after ${effort}`);
    }
});

test('another effort is refused', async () => {
    const { status, error } = await converse(server, { messages: [user('hi')], reasoning_effort: 'huge' }, { streamed: false });
    assert.deepEqual([status, error.param], [400, 'reasoning_effort']);
});

for (const streamed of [true, false]) {
    test(`thoughts are shown to who asks for reasoning, ${streamed ? 'streamed' : 'whole'}`, async () => {
        const thoughts = async (body) => {
            const { events, message } = await turn({ messages: [user(THINKS)], ...body }, { streamed });
            assert.equal(message.content, 'done');
            return streamed ? events.flatMap(({ choices }) => choices.map(({ delta }) => delta.reasoning_content ?? '')).join('')
                : message.reasoning_content ?? '';
        };
        assert.equal(await thoughts({ reasoning_effort: 'high' }), 'let me "think" ü');
        assert.deepEqual(upstream().thinking, { type: 'adaptive', display: 'summarized' });
        assert.equal(await thoughts({ reasoning_effort: 'minimal' }), '');
        assert.equal(await thoughts({}), '');
        assert.notEqual(upstream().thinking.display, 'summarized');
    });
}

test('a model that thinks within a budget keeps it', async () => {
    await turn({ model: 'claude-sonnet-4-5', messages: [user('hi')], reasoning_effort: 'high' });
    assert.equal(upstream().thinking.type, 'enabled');
    assert.ok(upstream().thinking.budget_tokens > 0);
});

test('the effort of a turn with calls is that of the results, or they are replayed', async () => {
    const tools = [functionTool('alpha')];
    const messages = [user(calling([['toolu_1', 'alpha', { x: '1' }]]))];
    const one = await turn({ messages, tools, reasoning_effort: 'high' });
    const all = [...messages, one.message, toolMessage('toolu_1', 'r')];
    assert.notEqual((await turn({ messages: all, tools, reasoning_effort: 'low' })).rung, 'live');
    assert.equal(upstream().output_config.effort, 'low');
    const two = await turn({ messages, tools, reasoning_effort: 'high' });
    assert.equal((await turn({ messages: [...messages, two.message, toolMessage('toolu_1', 'r')], tools, reasoning_effort: 'high' })).rung, 'live');
    assert.equal(upstream().output_config.effort, 'high');
});

test('a limit that goes on thinking alone: length, empty, no error', async () => {
    const { message, finish } = await turn({
        messages: [user(scripted({ blocks: [{ type: 'thinking', thinking: 'long' }], stop_reason: 'max_tokens' }))],
        reasoning_effort: 'high', max_tokens: 2000,
    }, { streamed: false });
    assert.deepEqual([message.content, message.reasoning_content, finish], ['', 'long', 'length']);
});
