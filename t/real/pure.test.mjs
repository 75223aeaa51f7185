/*
 * The same body on every rung of the ladder: texts, images, formats, limits, efforts, models. How it
 * is compared is in lib/rungs.mjs; conversations with calls are in pure-tools.test.mjs.
 */

import { GIF, HARD, PNG, image, onEveryRung, text } from './lib/rungs.mjs';

const SCHEMA = {
    type: 'object', properties: { age: { type: 'integer', minimum: 0 }, born: { type: 'string', format: 'date' } },
    required: ['age'],
};
const FORMAT = { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: SCHEMA } } };

/* What the model is to get of SCHEMA. */
const FORMATTED = {
    type: 'json_schema',
    schema: {
        type: 'object',
        properties: { age: { type: 'integer', description: '{"minimum":0}' }, born: { type: 'string', format: 'date' } },
        required: ['age'], additionalProperties: false,
    },
};

onEveryRung({
    'plain text': {
        reload: true,
        prompt: `You are terse.${HARD}.`,
        steps: [
            { say: 'one' },
            { say: HARD, says: { text: `answer${HARD}!` } },
            { say: [text('two'), text(HARD)] },
            { say: `three${HARD}` },
        ],
    },
    'without a prompt of the client': { steps: [{ say: 'one' }, { say: 'two' }] },
    'images': {
        steps: [
            { say: [text('what is it?'), image('png', PNG)], says: { text: 'a dot' } },
            { say: [image('gif', GIF), text('and this?'), image('png', PNG)], says: { text: 'two dots' } },
            { say: 'sure?' },
        ],
    },
    'an image in the question': {
        steps: [{ say: 'one' }, { say: 'look' }, { say: [text('here'), image('png', PNG)], says: { text: 'a dot' } }],
    },
    'structured output': {
        steps: [
            { say: 'one' },
            { say: 'two', with: FORMAT, says: { text: '{"age":7}' } },
            { say: 'three', with: { ...FORMAT, reasoning_effort: 'minimal' }, says: { text: '{"age":8}' } },
        ],
        want: { output_config: { effort: 'low', format: FORMATTED } },
    },
    'structured output, taken back': {
        steps: [{ say: 'one' }, { say: 'two', with: FORMAT, says: { text: '{"age":7}' } }, { say: 'three' }],
    },
    'stop sequences and limits': {
        steps: [
            { say: 'one', with: { stop: ['x'], max_tokens: 2000 } },
            { say: 'two' },
            { say: 'three', with: { stop: ['END', '"q"\\', 'ü\n'], max_tokens: 2077 } },
        ],
        want: { stop_sequences: ['END', '"q"\\', 'ü\n'], max_tokens: 2077 },
    },
    'stop sequences and limits, taken back': {
        steps: [{ say: 'one' }, { say: 'two', with: { stop: ['x'], max_tokens: 2000 } }, { say: 'three' }],
    },
    'an effort of its own': {
        steps: [
            { say: 'one', with: { reasoning_effort: 'low' } },
            { say: 'two', with: { reasoning_effort: 'max' } },
            { say: 'three', with: { reasoning_effort: 'high' } },
        ],
        want: { output_config: { effort: 'high' } },
    },
    'an effort that changes and is taken back': {
        reload: true,
        steps: [
            { say: 'one' },
            { say: 'two', with: { reasoning_effort: 'low' } },
            { say: 'three' },
            { say: 'four', with: { reasoning_effort: 'xhigh' } },
            { say: 'five', with: { reasoning_effort: 'minimal' } },
            { say: 'six' },
        ],
    },
    'a full name': { model: 'claude-sonnet-5-5', steps: [{ say: 'one' }, { say: 'two' }, { say: 'three' }] },
    'an older model': { model: 'claude-opus-4-5', steps: [{ say: 'one' }, { say: 'two' }, { say: 'three' }] },
    'an older model with an effort': {
        model: 'claude-opus-4-6',
        steps: [{ say: 'one' }, { say: 'two', with: { reasoning_effort: 'low' } }, { say: 'three', with: { reasoning_effort: 'high' } }],
        want: { output_config: { effort: 'high' } },
    },
    'a model without effort': {
        model: 'claude-haiku-4-5',
        steps: [{ say: 'one' }, { say: 'two', with: { reasoning_effort: 'high' } }, { say: 'three', with: { reasoning_effort: 'low' } }],
        want: { output_config: undefined },
    },
    'an answer that was cut off': {
        reload: true,
        steps: [
            { say: 'one' },
            { say: 'two', with: { max_tokens: 2000 }, says: { text: 'cut here', stop_reason: 'max_tokens' } },
            { say: 'three' },
        ],
    },
    'an answer with white space around': {
        steps: [{ say: 'one' }, { say: 'two', says: { deltas: ['\n ', ' answer', '\n\n'] } }, { say: 'three' }],
    },
    'thinking': {
        fold: [/\{"type":"thinking","thinking":"(?:[^"\\]|\\.)*","signature":"c2ln"\},/g, ''],
        steps: [
            { say: 'one' },
            { say: 'two', says: { blocks: [{ type: 'thinking', thinking: 'hm "x" ü', signature: 'c2ln' }, text('thought')] } },
            { say: 'three' },
        ],
    },
    'an answer of two texts': {
        fold: ['{"type":"text","text":"a "},{"type":"text","text":"b"}', '{"type":"text","text":"a b"}'],
        steps: [{ say: 'one' }, { say: 'two', says: { blocks: [text('a '), text('b')] } }, { say: 'three' }],
    },
});
