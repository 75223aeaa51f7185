/*
 * The same body on every rung of the ladder: calls of the client's tools, and their results. How it
 * is compared is in lib/rungs.mjs.
 */

import { functionTool } from './lib/tools.mjs';
import { ALPHA, BETA, HARD, PNG, call, calls, image, onEveryRung, text } from './lib/rungs.mjs';


onEveryRung({
    'results of calls at once': {
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one' },
            {
                say: 'call',
                says: calls(text('I look.'), call('toolu_1', 'alpha', { x: '1' }), call('toolu_2', 'beta', { x: HARD }), call('toolu_3', 'alpha')),
            },
            {
                results: { toolu_1: `found${HARD}!`, toolu_2: [text('a picture'), image('png', PNG)], toolu_3: 'Error: ENOENT: no such file' },
                says: calls(call('toolu_4', 'beta', { x: '4' }), call('toolu_5', 'beta', { x: '5' })),
            },
            { results: { toolu_4: [image('png', PNG)], toolu_5: [text('one'), text('two')] }, says: { text: 'done' } },
        ],
    },
    'a question after calls and results': {
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: '1' }), call('toolu_2', 'beta', { x: '2' })) },
            { results: { toolu_1: 'first', toolu_2: [text('a picture'), image('png', PNG)] }, says: { text: 'a dot' } },
            { say: 'thanks' },
        ],
    },
    'arguments in other words': {
        reload: true,
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            {
                say: 'call',
                says: calls(call('toolu_1', 'alpha', {}, ['{ "x" :\n1.0, "y":{"b":[1e2,', ' 0.10],"a":"\\u00e4\\/"}', ',"10":1,"9":2}']), call('toolu_2', 'alpha', {}, [])),
            },
            { results: { toolu_1: 'r', toolu_2: 'r' } },
            { say: 'on' },
        ],
    },
    'an escape in the text of an argument': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: 'not \\u0041' })) },
            { results: { toolu_1: 'r' }, rung: 'rewound' },
            { say: 'on' },
        ],
    },
    '200 KB': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: '1' })) },
            { results: { toolu_1: `${HARD}${'y'.repeat(200000)}` } },
            { say: 'thanks' },
        ],
    },
    '200 KB are the question': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: '1' })) },
            { results: { toolu_1: `${HARD}${'y'.repeat(200000)}` } },
        ],
    },
    'results without a word': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: '1' }), call('toolu_2', 'alpha', { x: '2' })) },
            { results: { toolu_1: '', toolu_2: 'not empty' }, rung: 'rewound' },
            { say: 'thanks' },
        ],
    },
    'a result without a word is the question': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'call', says: calls(call('toolu_1', 'alpha', { x: '1' })) },
            { results: { toolu_1: '' }, rung: 'rewound' },
        ],
    },
    '25 rounds in silence': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'go', says: calls(call('toolu_0', 'alpha', { x: '0' })) },
            ...Array.from({ length: 24 }, (_, i) => ({
                results: { [`toolu_${i}`]: `result ${i}` }, says: calls(call(`toolu_${i + 1}`, 'alpha', { x: `${i + 1}` })),
            })),
            { results: { toolu_24: 'result 24' } },
        ],
    },
    'a question after 25 rounds in silence': {
        reload: true,
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'go', says: calls(call('toolu_0', 'alpha', { x: '0' })) },
            ...Array.from({ length: 24 }, (_, i) => ({
                results: { [`toolu_${i}`]: `result ${i}` }, says: calls(call(`toolu_${i + 1}`, 'alpha', { x: `${i + 1}` })),
            })),
            { results: { toolu_24: 'result 24' } },
            { say: 'thanks' },
        ],
    },
    'tools that change': {
        steps: [
            { say: 'one', with: { tools: [ALPHA] } },
            { say: 'two', with: { tools: [BETA, ALPHA] }, says: calls(call('toolu_1', 'beta', { x: '1' })) },
            { results: { toolu_1: 'r' }, with: { tools: [BETA, ALPHA] } },
            { say: 'three' },
            { say: 'four', with: { tools: [functionTool('alpha', 'another'), functionTool('Bash')] } },
        ],
    },
    'tools that are gone': {
        steps: [
            { say: 'one', with: { tools: [ALPHA] }, says: calls(call('toolu_1', 'alpha', { x: '1' })) },
            { results: { toolu_1: 'r' }, with: { tools: [ALPHA] } },
            { say: 'two', with: { tools: [ALPHA] } },
            { say: 'three' },
        ],
    },
    'tools that may not be called, nor at once': {
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one', with: { tool_choice: 'none' } },
            { say: 'two' },
            { say: 'three', with: { parallel_tool_calls: false } },
        ],
        want: { tool_choice: { type: 'auto', disable_parallel_tool_use: true } },
    },
    'a forced tool': {
        model: 'claude-haiku-4-5',
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one' },
            { say: 'two' },
            { say: 'three', with: { tool_choice: { type: 'function', function: { name: 'beta' } } }, says: calls(call('toolu_1', 'beta', { x: '1' })) },
        ],
        want: { tool_choice: { type: 'tool', name: 'beta' }, thinking: undefined, output_config: undefined },
    },
    'a tool that was forced': {
        model: 'claude-haiku-4-5',
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one' },
            { say: 'two', with: { tool_choice: 'required' }, says: calls(call('toolu_1', 'beta', { x: '1' })) },
            { results: { toolu_1: 'r' }, rung: 'rewound' },
            { say: 'three' },
        ],
        want: { output_config: undefined },
    },
    'a forced tool of a model that always thinks': {
        with: { tools: [ALPHA, BETA] },
        steps: [
            { say: 'one' },
            { say: 'two' },
            { say: 'three', with: { tool_choice: { type: 'function', function: { name: 'alpha' } } }, says: { deltas: ['{"x":', ' "7"}'] } },
        ],
        want: {
            tool_choice: { type: 'none' },
            output_config: {
                effort: 'medium',
                format: { type: 'json_schema', schema: { ...ALPHA.function.parameters, additionalProperties: false } },
            },
        },
    },
    'a tool that nobody has offered': {
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'two', says: calls(text('I look.'), call('toolu_no', 'rm_rf')) },
            { say: 'three', rung: 'rewound' },
        ],
    },
    'thinking, then a call': {
        fold: ['{"type":"thinking","thinking":"hm","signature":"c2ln"},', ''],
        with: { tools: [ALPHA] },
        steps: [
            { say: 'one' },
            { say: 'two', says: calls({ type: 'thinking', thinking: 'hm', signature: 'c2ln' }, call('toolu_1', 'alpha', { x: '1' })) },
            { results: { toolu_1: 'r' } },
        ],
    },
});
