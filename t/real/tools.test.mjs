/*
 * The client's tools with the real CLI: what the model sees of them, what the client gets of a
 * call, and how the results go on, in the process that waits for them or in any other.
 */

import { after, before, beforeEach, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { OTHER_KEY, SLOW, isAlive, sleep, waitFor } from './lib/server.mjs';
import { endKilled, logged, rowsIn, startEngine, workerAgents } from './lib/engine.mjs';
import { calling, converse, essence, functionTool, toolMessage, upstreamTool } from './lib/tools.mjs';
import { scripted, system, user } from './lib/upstream.mjs';

const ALPHA = functionTool('alpha');
const BETA = functionTool('beta');
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const last = (server) => server.stub.requests.at(-1);
const turn = async (server, body, options) => {
    const answer = await converse(server, body, { logged, ...options });
    assert.equal(answer.status, 200, JSON.stringify(answer.error));
    assert.equal(answer.error, undefined, JSON.stringify(answer.error));
    return answer;
};

/* What a fresh process of another key sends upstream for the same request. */
const replayed = async (server, body) => {
    await turn(server, body, { key: OTHER_KEY });
    return essence(last(server));
};

describe('tools', () => {
    let server;

    before(async () => {
        server = await startEngine({ http: 'claude_max_concurrent 6; claude_max_processes 6; claude_warm 1;', workers: 1 });
    });
    after(() => server?.end());
    beforeEach(() => server.stub.clear());

    test('the model gets the array as it is: order, long descriptions, schemas', async () => {
        const tools = [
            functionTool('zeta', 'd'.repeat(4628)),
            functionTool('Bash', 'runs "things"\n\ttwice \\ \u{1f600}', {
                type: 'object',
                properties: { command: { type: 'string', minLength: 1 }, n: { type: 'integer', minimum: 0, default: 3 } },
                required: ['command'], additionalProperties: false, $schema: 'http://json-schema.org/draft-07/schema#',
            }),
            functionTool('alpha'),
        ];
        await turn(server, { messages: [user('hi')], tools });
        assert.deepEqual(last(server).body.tools, tools.map(upstreamTool));
        assert.equal(last(server).body.tool_choice, undefined);
    });

    test('no parameters, no description, no type: a schema that the API takes', async () => {
        const tools = [{ name: 'bare' }, { name: 'empty', parameters: {} }, { name: 'untyped', parameters: { properties: { a: {} } } }]
            .map((fn) => ({ type: 'function', function: fn }));
        await turn(server, { messages: [user('hi')], tools });
        assert.deepEqual(last(server).body.tools, [
            { name: 'bare', input_schema: { type: 'object', properties: {} } },
            { name: 'empty', input_schema: { type: 'object', properties: {} } },
            { name: 'untyped', input_schema: { type: 'object', properties: { a: {} } } },
        ]);
    });

    test('a choice between schemas on top becomes words', async () => {
        await turn(server, {
            messages: [user('hi')],
            tools: [functionTool('pick', 'Picks.', { type: 'object', properties: { a: {}, b: {} }, anyOf: [{ required: ['a'] }, { required: ['b'] }] })],
        });
        const [tool] = last(server).body.tools;
        assert.deepEqual(tool.input_schema, { type: 'object', properties: { a: {}, b: {} } });
        assert.match(tool.description, /^Picks\.\n\n.*anyOf: \[\{"required":\["a"\]\},\{"required":\["b"\]\}\]$/);
    });

    test('strict reaches the model', async () => {
        const tool = functionTool('s', 'd', {
            type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false,
        });
        tool.function.strict = true;
        await turn(server, { messages: [user('hi')], tools: [tool] });
        assert.deepEqual(last(server).body.tools, [{ ...upstreamTool(tool), strict: true }]);
    });

    test('128 tools with schemas of a kilobyte', async () => {
        const tools = Array.from({ length: 128 }, (_, i) => functionTool(`tool_${i}`, `number ${i}`, {
            type: 'object', properties: { value: { type: 'string', description: 'x'.repeat(1000) } },
        }));
        const answer = await turn(server, { messages: [user(`go ${calling([['toolu_k', 'tool_127', { value: 'v' }]])}`)], tools });
        assert.deepEqual(last(server).body.tools, tools.map(upstreamTool));
        assert.deepEqual(answer.message.tool_calls.map(({ function: { name } }) => name), ['tool_127']);
    });

    for (const name of ['Bash', 'Read', 'Agent', 'Task', 'ToolSearch', 'WebSearch', 'mcp__x__y', 'Skill']) {
        test(`a tool called ${name} is the client's, live too`, async () => {
            const tools = [functionTool(name), BETA];
            const messages = [system('s'), user(`use it ${calling([['toolu_n', name, { x: '1' }]])}`)];
            const one = await turn(server, { messages, tools });
            assert.deepEqual(one.message.tool_calls.map(({ id, function: fn }) => [id, fn.name, fn.arguments]), [['toolu_n', name, '{"x":"1"}']]);
            const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_n', 'found')], tools });
            assert.deepEqual([two.rung, two.finish, server.stub.requests.length], ['live', 'stop', 2]);
            assert.deepEqual(last(server).body.tools, tools.map(upstreamTool));
            assert.deepEqual(essence(last(server)).system.map(({ text }) => text).slice(-1), ['s']);
        });
    }

    test('streamed: text, then the call, its arguments in the pieces they came in', async () => {
        const { message, finish, events } = await turn(server, {
            messages: [user(scripted({
                blocks: [
                    { type: 'text', text: 'Let me see.' },
                    { type: 'tool_use', id: 'toolu_p', name: 'alpha', input: { x: 'Oslo' }, input_json_deltas: ['{"x": ', '"Os', 'lo"}'] },
                ],
                stop_reason: 'tool_use',
            }))],
            tools: [ALPHA], stream_options: { include_usage: true },
        });
        assert.equal(finish, 'tool_calls');
        assert.deepEqual(message, {
            role: 'assistant', content: 'Let me see.',
            tool_calls: [{ id: 'toolu_p', type: 'function', function: { name: 'alpha', arguments: '{"x": "Oslo"}' } }],
        });
        const pieces = events.flatMap(({ choices }) => choices.flatMap(({ delta }) => delta.tool_calls ?? []))
            .filter(({ id }) => !id).map(({ function: fn }) => fn.arguments);
        assert.deepEqual(pieces, ['{"x": ', '"Os', 'lo"}']);
        assert.ok(events.at(-1).usage.completion_tokens > 0);
    });

    test('a call without arguments gives {}', async () => {
        const script = scripted({
            blocks: [{ type: 'tool_use', id: 'toolu_e', name: 'alpha', input: {}, input_json_deltas: [] }], stop_reason: 'tool_use',
        });
        for (const streamed of [true, false]) {
            const { message } = await turn(server, { messages: [user(script)], tools: [ALPHA] }, { streamed });
            assert.equal(message.tool_calls[0].function.arguments, '{}');
        }
    });

    test('whole: content is null without text, calls are complete', async () => {
        const { message, finish, usage } = await turn(server, {
            messages: [user(calling([['toolu_1', 'alpha', { x: '"q"' }], ['toolu_2', 'beta', { x: 'é' }]]))], tools: [ALPHA, BETA],
        }, { streamed: false });
        assert.equal(finish, 'tool_calls');
        assert.deepEqual(message, {
            role: 'assistant', content: null, refusal: null, annotations: [],
            tool_calls: [['toolu_1', 'alpha', '{"x":"\\"q\\""}'], ['toolu_2', 'beta', '{"x":"é"}']]
                .map(([id, name, args]) => ({ id, type: 'function', function: { name, arguments: args } })),
        });
        assert.ok(usage.completion_tokens > 0);
    });

    for (const n of [1, 3, 12]) {
        test(`${n} calls at once, five rounds: live, and upstream the same as replayed`, async () => {
            const tools = [ALPHA, BETA];
            const messages = [system('You use tools.'), user(`round 0 of ${n}`)];
            for (let round = 0; round < 5; round++) {
                const calls = Array.from({ length: n }, (_, i) => [`toolu_${n}_${round}_${i}`, i % 2 ? 'beta' : 'alpha', { x: `${round} ${i}` }]);
                server.stub.script({ deltas: [`looking ${round}`], tool_use: calls.map(([id, name, input]) => ({ id, name, input })) });
                const one = await turn(server, { messages, tools });
                assert.equal(one.finish, 'tool_calls');
                if (round) assert.equal(one.rung, 'live', `round ${round}`);
                messages.push(one.message, ...calls.map(([id], i) => toolMessage(id, `result ${round} ${i}`)));
            }
            const end = await turn(server, { messages, tools });
            assert.deepEqual([end.rung, end.finish], ['live', 'stop']);
            assert.equal(server.stub.requests.length, 6);
            const live = essence(last(server));
            assert.deepEqual(live.messages.at(-1).content.map(({ tool_use_id: id, content }) => [id, content]),
                Array.from({ length: n }, (_, i) => [`toolu_${n}_4_${i}`, [{ type: 'text', text: `result 4 ${i}` }]]));
            assert.deepEqual(live, await replayed(server, { messages, tools }));
            const more = await turn(server, { messages: [...messages, end.message, user('thanks')], tools });
            assert.equal(more.rung, 'live');
        });
    }

    /* the assistant's message as various clients send it back */
    const ECHOES = {
        'content null': (m) => ({ ...m, content: null }),
        'content empty': (m) => ({ ...m, content: '' }),
        'no content': ({ content, ...m }) => m,
        'arguments in other words': (m) => ({
            ...m,
            tool_calls: m.tool_calls.map((c) => ({ ...c, function: { ...c.function, arguments: '{ "b" : 1.0, "a":\n"x"}' } })),
        }),
        'with reasoning_content and other fields': (m) => ({ ...m, reasoning_content: 'hm', refusal: null, annotations: [], audio: null }),
    };

    for (const [what, echo] of Object.entries(ECHOES)) {
        test(`${what}: the same call, live`, async () => {
            const messages = [user(`${what} ${calling([['toolu_echo', 'alpha', { a: 'x', b: 1 }]])}`)];
            const one = await turn(server, { messages, tools: [ALPHA] });
            const two = await turn(server, { messages: [...messages, echo(one.message), toolMessage('toolu_echo', 'r')], tools: [ALPHA] });
            assert.equal(two.rung, 'live');
        });
    }

    const RESULTS = {
        'a string': ['plain', 'live'],
        'white space around': ['\n  x \n', 'live'],
        'Chinese only': ['你好', 'live'],
        'parts': [[{ type: 'text', text: 'one' }, { type: 'text', text: 'two' }], 'live'],
        'an image': [[{ type: 'text', text: 'pic' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }], 'live'],
        'an image alone': [[{ type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }], 'live'],
        'an error in words': ['Error: ENOENT: no such file', 'live'],
        'what looks like a file and a command': ['@/etc/passwd /help !ls <system-reminder>x</system-reminder>', 'live'],
        '200 KB': ['y'.repeat(200000), 'live'],
        'empty': ['', 'rewound'],
        'white space only': [' \n', 'rewound'],
        'null': [null, 'rewound'],
        '1 MB': ['z'.repeat(1000000), 'rewound'],
    };

    for (const [what, [content, rung]] of Object.entries(RESULTS)) {
        test(`a result: ${what}`, async () => {
            const messages = [user(`first ${what}`), { role: 'assistant', content: 'yes' }, user(`${what} ${calling([['toolu_r', 'alpha', { x: '1' }]])}`)];
            const one = await turn(server, { messages, tools: [ALPHA] });
            server.stub.clear();
            server.stub.script({ text: 'done' });
            const all = [...messages, one.message, toolMessage('toolu_r', content)];
            const two = await turn(server, { messages: all, tools: [ALPHA] });
            assert.equal(server.stub.requests.length, 1);
            const got = essence(last(server));
            assert.equal(two.rung, rung);
            assert.equal(two.message.content, 'done');
            const texts = content === null ? [] : typeof content === 'string' ? [{ type: 'text', text: content }] : content;
            const want = texts.filter(({ text }) => text === undefined || text.trim()).map((part) => (part.type === 'text' ? part
                : { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } }));
            assert.deepEqual(got.messages.at(-1).content[0].content ?? [], want);
            server.stub.script({ text: 'done' });
            assert.deepEqual(got, await replayed(server, { messages: all, tools: [ALPHA] }));
        });
    }

    test('results out of order reach the model in the order of the calls', async () => {
        const messages = [user(calling([['toolu_a', 'alpha', {}], ['toolu_b', 'beta', {}], ['toolu_c', 'beta', { x: '2' }]]))];
        const one = await turn(server, { messages, tools: [ALPHA, BETA] });
        const two = await turn(server, {
            messages: [...messages, one.message, toolMessage('toolu_c', 'C'), toolMessage('toolu_a', 'A'), toolMessage('toolu_b', 'B')],
            tools: [ALPHA, BETA],
        });
        assert.equal(two.rung, 'live');
        assert.deepEqual(essence(last(server)).messages.at(-1).content.map(({ tool_use_id: id, content }) => [id, content[0].text]),
            [['toolu_a', 'A'], ['toolu_b', 'B'], ['toolu_c', 'C']]);
    });

    test('results and a question behind them are replayed, in one message', async () => {
        const messages = [user(calling([['toolu_q', 'alpha', {}]]))];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_q', 'r'), user('and now?')], tools: [ALPHA] });
        assert.notEqual(two.rung, 'live');
        assert.deepEqual(essence(last(server)).messages.at(-1).content.map(({ type, text }) => text ?? type), ['tool_result', 'and now?']);
    });

    test('an edited call is replayed as the client has it', async () => {
        const messages = [user(calling([['toolu_ed', 'alpha', { x: '1' }]]))];
        const one = await turn(server, { messages, tools: [ALPHA] });
        one.message.tool_calls[0].function.arguments = '{"x":"2"}';
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_ed', 'r')], tools: [ALPHA] });
        assert.notEqual(two.rung, 'live');
        assert.deepEqual(essence(last(server)).messages[1].content, [{ type: 'tool_use', id: 'toolu_ed', name: 'alpha', input: { x: '2' } }]);
    });

    test('another question in the midst of calls: they are called off', async () => {
        const messages = [user(`a ${calling([['toolu_off', 'alpha', {}]])}`)];
        const one = await turn(server, { messages, tools: [ALPHA] });
        server.stub.clear();
        const other = await turn(server, { messages: [user('never mind')], tools: [ALPHA] });
        assert.equal(other.message.content, 'echo: never mind');
        assert.deepEqual(essence(last(server)).messages, [{ role: 'user', content: [{ type: 'text', text: 'never mind' }] }]);
        const back = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_off', 'late')], tools: [ALPHA] });
        assert.equal(back.finish, 'stop');
        assert.equal(server.stub.requests.length, 2);
        assert.deepEqual(essence(last(server)).messages.map(({ role, content }) => [role, content[0].type]),
            [['user', 'text'], ['assistant', 'tool_use'], ['user', 'tool_result']]);
    });

    test('every knob holds for the turn that goes on', async () => {
        const messages = [user(calling([['toolu_kn', 'alpha', {}]]))];
        const knobs = [{ stop: ['A'] }, { stop: ['B', 'C'] }, { tool_choice: 'none' }, {}];
        for (const [i, knob] of knobs.entries()) {
            const answer = await turn(server, { messages, tools: [ALPHA], ...knob });
            if (i) assert.equal(answer.rung, 'live', JSON.stringify(knob));
            const { body } = last(server);
            assert.deepEqual(body.stop_sequences, knob.stop);
            assert.deepEqual(body.tool_choice, knob.tool_choice ? { type: 'none' } : undefined);
            const id = i ? `toolu_kn${i}` : 'toolu_kn';
            messages.push({ role: 'assistant', content: null, tool_calls: [{ id, type: 'function', function: { name: 'alpha', arguments: '{}' } }] }, toolMessage(id, 'r'));
            server.stub.script({ tool_use: [{ id: `toolu_kn${i + 1}`, name: 'alpha', input: {} }] });
        }
    });

    test('a limit that changes in the midst is not left to chance: replayed', async () => {
        const messages = [user(calling([['toolu_mx', 'alpha', {}]]))];
        const one = await turn(server, { messages, tools: [ALPHA], max_tokens: 3000 });
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_mx', 'r')], tools: [ALPHA], max_tokens: 4000 });
        assert.notEqual(two.rung, 'live');
        assert.equal(last(server).body.max_tokens, 4000);
    });

    test('tools that change between requests', async () => {
        const messages = [user('first')];
        const sets = [[ALPHA], [ALPHA, BETA], [BETA], [], [functionTool('alpha', 'another')], [ALPHA]];
        for (const [i, tools] of sets.entries()) {
            const answer = await turn(server, { messages, ...(tools.length ? { tools } : {}) });
            assert.deepEqual(last(server).body.tools ?? [], tools.map(upstreamTool));
            messages.push({ role: 'assistant', content: answer.message.content }, user(`next ${i}`));
            if (tools.length) {
                const { function: { name } } = tools.at(-1);
                const asked = [...messages, user(calling([[`toolu_ch${i}`, name, {}]]))];
                const called = await turn(server, { messages: asked, tools });
                assert.equal(called.message.tool_calls[0].function.name, name);
            }
        }
    });

    test('tool_choice: auto, none, parallel_tool_calls', async () => {
        const ask = (more) => turn(server, { messages: [user('hi')], tools: [ALPHA], ...more });
        await ask({ tool_choice: 'auto' });
        assert.equal(last(server).body.tool_choice, undefined);
        await ask({ tool_choice: 'none' });
        assert.deepEqual(last(server).body.tool_choice, { type: 'none' });
        await ask({ parallel_tool_calls: false });
        assert.deepEqual(last(server).body.tool_choice, { type: 'auto', disable_parallel_tool_use: true });
        await ask({ parallel_tool_calls: true });
        assert.equal(last(server).body.tool_choice, undefined);
    });

    test('tool_choice is forced upstream where the model takes it, without thinking', async () => {
        const ask = (more) => turn(server, {
            model: 'claude-haiku-4-5', messages: [user(calling([['toolu_f', 'alpha', { x: '1' }]]))], tools: [ALPHA, BETA], ...more,
        });
        const one = await ask({ tool_choice: 'required' });
        assert.deepEqual(last(server).body.tool_choice, { type: 'any' });
        assert.equal(last(server).body.thinking, undefined);
        assert.equal(one.finish, 'tool_calls');
        await ask({ tool_choice: { type: 'function', function: { name: 'beta' } }, parallel_tool_calls: false });
        assert.deepEqual(last(server).body.tool_choice, { type: 'tool', name: 'beta', disable_parallel_tool_use: true });
        await turn(server, { model: 'claude-sonnet-4-6', messages: [user('hi')], tools: [ALPHA] });
        assert.notEqual(last(server).body.thinking, undefined, 'it thinks again');
    });

    for (const streamed of [true, false]) {
        test(`a named function of a model that always thinks, ${streamed ? 'streamed' : 'whole'}`, async () => {
            const messages = [user(scripted({ deltas: ['{"x":', ' "7"}'] }))];
            const one = await turn(server, {
                messages, tools: [ALPHA, BETA], tool_choice: { type: 'function', function: { name: 'alpha' } },
            }, { streamed });
            const { body } = last(server);
            assert.deepEqual(body.tool_choice, { type: 'none' });
            assert.equal(body.output_config.format.type, 'json_schema');
            assert.deepEqual(body.output_config.format.schema.properties, { x: { type: 'string' } });
            assert.equal(one.finish, 'tool_calls');
            assert.deepEqual(one.message.tool_calls.map(({ function: fn }) => fn), [{ name: 'alpha', arguments: '{"x": "7"}' }]);
            assert.equal(one.message.content ?? null, null);
            const two = await turn(server, {
                messages: [...messages, one.message, toolMessage(one.message.tool_calls[0].id, 'r')], tools: [ALPHA, BETA],
            });
            assert.equal(two.finish, 'stop');
            assert.deepEqual(essence(last(server)).messages[1].content.map(({ type, name, input }) => [type, name, input]), [['tool_use', 'alpha', { x: '7' }]]);
        });

        test(`required of a model that always thinks, ${streamed ? 'streamed' : 'whole'}`, async () => {
            const { message, finish } = await turn(server, {
                messages: [user(scripted({ deltas: ['{"arguments":{"x":"', '9"},"na', 'me":"beta"}'] }))], tools: [ALPHA, BETA], tool_choice: 'required',
            }, { streamed });
            const { format: { schema } } = last(server).body.output_config;
            assert.deepEqual(schema.anyOf.map(({ properties }) => properties.name.const), ['alpha', 'beta']);
            assert.equal(finish, 'tool_calls');
            assert.deepEqual(message.tool_calls.map(({ function: fn }) => fn), [{ name: 'beta', arguments: '{"x":"9"}' }]);
        });
    }

    test('ids that the API would not take, and repeated ones, are rewritten; the client sees its own', async () => {
        const call = (id, x) => ({ id, type: 'function', function: { name: 'alpha', arguments: JSON.stringify({ x }) } });
        const messages = [
            user('a'), { role: 'assistant', content: null, tool_calls: [call('functions.alpha:0', '1'), call('call_0', '2')] },
            toolMessage('call_0', 'two'), toolMessage('functions.alpha:0', 'one'),
            { role: 'assistant', content: 'more', tool_calls: [call('call_0', '3'), call('call_0', '4')] },
            toolMessage('call_0', 'three'), toolMessage('call_0', 'four'),
        ];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const got = essence(last(server)).messages;
        const uses = got.flatMap(({ content }) => content.filter(({ type }) => type === 'tool_use'));
        const results = got.flatMap(({ content }) => content.filter(({ type }) => type === 'tool_result'));
        assert.ok(uses.every(({ id }) => /^[a-zA-Z0-9_-]+$/.test(id)));
        assert.equal(new Set(uses.map(({ id }) => id)).size, 4);
        assert.equal(uses[1].id, 'call_0');
        assert.deepEqual(results.map(({ tool_use_id: id }) => id), uses.map(({ id }) => id));
        assert.deepEqual(results.map(({ content }) => content[0].text), ['one', 'two', 'three', 'four']);
        const next = await turn(server, { messages: [...messages, one.message, user('on')], tools: [ALPHA] });
        assert.equal(next.rung, 'live');
    });

    test('arguments that are no object stay readable', async () => {
        await turn(server, {
            messages: [
                user('a'), { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'alpha', arguments: '{"x": tru' } }] },
                toolMessage('c1', 'bad arguments'),
            ],
            tools: [ALPHA],
        });
        assert.deepEqual(essence(last(server)).messages[1].content[0].input, { arguments: '{"x": tru' });
    });

    test('functions, the older kind: one call, live', async () => {
        const functions = [ALPHA.function];
        for (const streamed of [true, false]) {
            const messages = [user(`old ${streamed} ${calling([['toolu_old', 'alpha', { x: '1' }]])}`)];
            const answer = await server.chat({ messages, functions, stream: streamed });
            let called;
            if (streamed) {
                const events = answer.text.split('\n\n').filter((f) => f.startsWith('data: {')).map((f) => JSON.parse(f.slice(6)));
                const deltas = events.flatMap(({ choices }) => choices.map(({ delta }) => delta.function_call)).filter(Boolean);
                assert.deepEqual(deltas[0], { name: 'alpha', arguments: '' });
                called = { name: 'alpha', arguments: deltas.slice(1).map((d) => d.arguments).join('') };
                assert.equal(events.at(-1).choices[0].finish_reason, 'function_call');
            } else {
                called = answer.json.choices[0].message.function_call;
                assert.equal(answer.json.choices[0].finish_reason, 'function_call');
            }
            assert.deepEqual(called, { name: 'alpha', arguments: '{"x":"1"}' });
            assert.deepEqual(last(server).body.tool_choice, { type: 'auto', disable_parallel_tool_use: true });
            const two = await turn(server, {
                messages: [...messages, { role: 'assistant', content: null, function_call: called }, { role: 'function', name: 'alpha', content: 'r' }], functions,
            });
            assert.deepEqual([two.rung, two.finish], ['live', 'stop']);
        }
    });

    test('a tool that was not offered, after one that was: the client gets the one, the model no answer', async () => {
        const one = await turn(server, { messages: [user(calling([['toolu_ok', 'alpha', {}], ['toolu_no', 'rm_rf', {}]]))], tools: [ALPHA] });
        assert.deepEqual(one.message.tool_calls.map(({ id }) => id), ['toolu_ok']);
        assert.equal(one.finish, 'tool_calls');
        await server.idle();
        assert.ok(server.stub.requests.length <= 2, `upstream calls: ${server.stub.requests.length}`);
    });

    test('arguments that do not parse: the client gets them, the model is not asked on and on', async () => {
        const one = await turn(server, {
            messages: [user(scripted({
                blocks: [{ type: 'tool_use', id: 'toolu_bad', name: 'alpha', input: {}, input_json_deltas: ['{"x": tru', 'e, "y": [1,'] }], stop_reason: 'tool_use',
            }))],
            tools: [ALPHA],
        });
        assert.equal(one.message.tool_calls[0].function.arguments, '{"x": true, "y": [1,');
        assert.equal(one.finish, 'tool_calls');
        await server.idle();
        assert.ok(server.stub.requests.length <= 2, `upstream calls: ${server.stub.requests.length}`);
    });

    test('a limit in the midst of a call is length', async () => {
        const one = await turn(server, {
            messages: [user(scripted({ tool_use: [{ id: 'toolu_cut', name: 'alpha', input: { x: '1' } }], stop_reason: 'max_tokens' }))], tools: [ALPHA],
        });
        assert.equal(one.finish, 'length');
        await server.idle();
    });

    test('an upstream failure after the results has its status, and the next try goes on', async () => {
        const messages = [user(calling([['toolu_529', 'alpha', {}]]))];
        const one = await turn(server, { messages, tools: [ALPHA] });
        server.stub.script({ status: 529, times: 3 });
        const all = [...messages, one.message, toolMessage('toolu_529', 'r')];
        const two = await converse(server, { messages: all, tools: [ALPHA] });
        assert.deepEqual([two.status, two.error.code], [503, 'overloaded']);
        server.stub.clear();
        const three = await turn(server, { messages: all, tools: [ALPHA] });
        assert.equal(three.finish, 'stop');
        assert.deepEqual(essence(last(server)).messages.map(({ role }) => role), ['user', 'assistant', 'user']);
    });

    const REFUSED = [
        ['tools', { tools: {} }, 'tools'],
        ['a tool of another type', { tools: [{ type: 'web_search' }] }, 'tools[0].type'],
        ['a name with a dot', { tools: [ALPHA, functionTool('a.b')] }, 'tools[1].function.name'],
        ['a name twice', { tools: [ALPHA, ALPHA] }, 'tools[1].function.name'],
        ['a long name', { tools: [functionTool('n'.repeat(129))] }, 'tools[0].function.name'],
        ['parameters of another type', { tools: [functionTool('a', 'd', { type: 'string' })] }, 'tools[0].function.parameters'],
        ['tool_choice without tools', { tool_choice: 'required' }, 'tool_choice'],
        ['tool_choice of no tool', { tools: [ALPHA], tool_choice: { type: 'function', function: { name: 'nope' } } }, 'tool_choice'],
        ['tool_choice of no kind', { tools: [ALPHA], tool_choice: 'sometimes' }, 'tool_choice'],
        ['parallel_tool_calls', { tools: [ALPHA], parallel_tool_calls: 1 }, 'parallel_tool_calls'],
        ['a call without its result', { messages: [user('a'), { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'a', arguments: '{}' } }] }, user('b')] }, 'messages[1].tool_calls[0]'],
        ['a last call without its result', { messages: [user('a'), { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'a', arguments: '{}' } }] }] }, 'messages[1].tool_calls[0]'],
        ['a result without its call', { messages: [user('a'), toolMessage('c9', 'r')] }, 'messages[1].tool_call_id'],
        ['a second result', { messages: [user('a'), { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'a', arguments: '{}' } }] }, toolMessage('c1', 'r'), toolMessage('c1', 'r')] }, 'messages[3].tool_call_id'],
        ['a call without an id', { messages: [user('a'), { role: 'assistant', tool_calls: [{ function: { name: 'a' } }] }] }, 'messages[1].tool_calls[0].id'],
    ];

    for (const [what, body, param] of REFUSED) {
        test(`refused: ${what}`, async () => {
            const { status, error } = await converse(server, { messages: [user('hi')], ...body }, { streamed: false });
            assert.deepEqual([status, error.type, error.param], [400, 'invalid_request_error', param], JSON.stringify(error));
            assert.equal(server.stub.requests.length, 0);
        });
    }
});

describe('processes that wait for results', () => {
    let server;

    before(async () => {
        server = await startEngine({ http: 'claude_max_concurrent 4; claude_max_processes 4; claude_warm 0; claude_idle_timeout 4s;' });
    });
    after(() => server && endKilled(server));
    beforeEach(() => server.stub.clear());

    /* On a connection to one worker. */
    async function on(agent, body) {
        const was = server.agent;
        server.agent = agent;
        try {
            return await turn(server, body);
        } finally {
            server.agent = was;
        }
    }

    test('another worker takes it over, live', async () => {
        const [a, b] = await workerAgents(server);
        const messages = [user(`moving ${calling([['toolu_m1', 'alpha', { x: '1' }], ['toolu_m2', 'alpha', { x: '2' }]])}`)];
        const one = await on(a.agent, { messages, tools: [ALPHA] });
        const all = [...messages, one.message, toolMessage('toolu_m1', 'r1'), toolMessage('toolu_m2', 'r2')];
        server.stub.script({ tool_use: [{ id: 'toolu_m3', name: 'alpha', input: {} }] });
        const two = await on(b.agent, { messages: all, tools: [ALPHA] });
        assert.deepEqual([two.rung, two.finish], ['live', 'tool_calls']);
        const three = await on(a.agent, { messages: [...all, two.message, toolMessage('toolu_m3', 'r3')], tools: [ALPHA] });
        assert.deepEqual([three.rung, three.finish, server.stub.requests.length], ['live', 'stop', 3]);
    });

    test('it holds no place, counts as idle, and a killed one is replayed', async () => {
        const messages = [user(`killed ${calling([['toolu_x', 'alpha', {}]])}`)];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const { turns } = await server.status();
        assert.equal(turns.running, 0);
        const rows = await rowsIn(server, 'idle');
        for (const { pid } of rows) process.kill(pid, 'SIGKILL');
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_x', 'r')], tools: [ALPHA] });
        assert.equal(two.finish, 'stop');
        assert.deepEqual(essence(last(server)).messages.at(-1).content[0].tool_use_id, 'toolu_x');
    });

    test('it gives way when others need its row', async () => {
        const messages = [user(`evicted ${calling([['toolu_v', 'alpha', {}]])}`)];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const others = await Promise.all(Array.from({ length: 4 }, (_, i) => turn(server, {
            messages: [user(`crowd ${i} ${scripted({ delay_ms: 400, text: 'x' })}`)],
        }, { key: OTHER_KEY })));
        assert.ok(others.every(({ finish }) => finish === 'stop'));
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_v', 'r')], tools: [ALPHA] });
        assert.equal(two.finish, 'stop');
    });

    test('after claude_idle_timeout it ends, and the results are replayed', async () => {
        const messages = [user(`late ${calling([['toolu_l', 'alpha', {}]])}`)];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const pids = (await rowsIn(server, 'idle')).map(({ pid }) => pid);
        await waitFor('them to end', () => !pids.some(isAlive), 8000 * SLOW);
        const two = await turn(server, { messages: [...messages, one.message, toolMessage('toolu_l', 'r')], tools: [ALPHA] });
        assert.deepEqual([two.rung, two.finish], ['cold', 'stop']);
    });

    test('a client that leaves in the midst of the results costs nothing but them', async () => {
        const messages = [user(`leaves ${calling([['toolu_g', 'alpha', {}]])}`)];
        const one = await turn(server, { messages, tools: [ALPHA] });
        const all = [...messages, one.message, toolMessage('toolu_g', 'r')];
        server.stub.script({ deltas: ['word '], repeat: 200, gap_ms: 20 });
        const abort = new AbortController();
        const gone = server.chat({ messages: all, tools: [ALPHA], stream: true }, { signal: abort.signal }).catch((e) => e);
        await waitFor('the model to be asked', () => server.stub.requests.length === 2);
        await sleep(100);
        abort.abort();
        assert.ok(await gone instanceof Error);
        await server.idle();
        server.stub.clear();
        const two = await turn(server, { messages: all, tools: [ALPHA] });
        assert.equal(two.finish, 'stop');
        assert.deepEqual(essence(last(server)).messages.map(({ role }) => role), ['user', 'assistant', 'user']);
    });
});
