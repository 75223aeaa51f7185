/*
 * Bodies that are made to cost: for each a name and a function that makes one of about so many
 * bytes. The suites t/real/linear*.test.mjs hold nginx to a bound with them, bench/hostile prints
 * what they cost.
 *
 *   name     what is many, long or the same in it
 *   make     (bytes) -> the body, valid JSON, never longer than about that
 *   path     where it goes, /v1/chat/completions unless said
 *   headers  besides the usual ones
 *   turn     it means something, so it must become a turn; without, a 400 is right as well
 *   front    a front nginx that needs but $claude_conversation is measured with it, too
 *   upload   bytes a write, for a body that arrives in pieces
 *   heavy    slow to be made here: smaller ones will do
 */

export const plainText = 'The quick brown fox jumps over the lazy dog. ';

const j = JSON.stringify;

export const chat = (rest, messages = '{"role":"user","content":"hi"}') => `{"model":"sonnet","messages":[${messages}]${rest ? `,${rest}` : ''}}`;

const user = (content) => `{"role":"user","content":${j(content)}}`;
const assistant = (content) => `{"role":"assistant","content":${j(content)}}`;
const call = (id, name = 'look', args = '{}') => `{"id":${j(id)},"type":"function","function":{"name":${j(name)},"arguments":${j(args)}}}`;
const calls = (list) => `{"role":"assistant","content":null,"tool_calls":[${list}]}`;
const result = (id, content = '"r"') => `{"role":"tool","tool_call_id":${j(id)},"content":${content}}`;
const tool = (name, rest = '') => `{"type":"function","function":{"name":${j(name)}${rest}}}`;
const LOOK = `"tools":[${tool('look', ',"parameters":{"type":"object","properties":{}}')}]`;
const OBJECT = '"type":"object","additionalProperties":false';

/* As many of one(i) as bytes hold, with a comma between. */
function many(bytes, one) {
    if (typeof one === 'string') return Array(Math.max(1, Math.floor(bytes / (one.length + 1)))).fill(one).join(',');
    const list = [];
    for (let i = 0, size = 0; size < bytes; i++) {
        list.push(one(i));
        size += list[i].length + 1;
    }
    return list.join(',');
}

/* How many go into so many bytes, when each takes about size(i). */
const count = (bytes, size) => Math.max(1, Math.floor(bytes / size));

const list = (n, one) => Array.from({ length: n }, (_, i) => one(i));

const long = (bytes, text = plainText) => text.repeat(Math.ceil(bytes / text.length)).slice(0, bytes);

/* ---------------------------------------------------------------------------------------- */
/* Names that a table may take for one                                                       */
/* ---------------------------------------------------------------------------------------- */

const CRC = Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
});

function crc32(bytes) {
    let c = 0xffffffff;
    for (const byte of bytes) c = CRC[(c ^ byte) & 255] ^ (c >>> 8);
    return (c ^ 0xffffffff) >>> 0;
}

/*
 * Names of 52 letters with one CRC-32. Each letter is "a" or "c", one bit apart, and the sum is
 * linear in these bits: of 52 at least 20 are free.
 */
function crcNames() {
    const LEN = 52;
    const base = Buffer.alloc(LEN, 'a');
    const zero = crc32(base);
    const rows = list(LEN, (i) => {
        const one = Buffer.from(base);
        one[i] ^= 2;
        return { sum: crc32(one) ^ zero, flips: 1n << BigInt(i) };
    });
    const free = [];
    const pivots = [];
    for (const row of rows) {
        for (const pivot of pivots) {
            if ((row.sum ^ pivot.sum) >>> 0 < row.sum >>> 0) {
                row.sum = (row.sum ^ pivot.sum) >>> 0;
                row.flips ^= pivot.flips;
            }
        }
        if (row.sum >>> 0) {
            pivots.push({ sum: row.sum >>> 0, flips: row.flips });
            pivots.sort((a, b) => b.sum - a.sum);
        } else {
            free.push(row.flips);
        }
    }
    return (n) => {
        let flips = 0n;
        for (let k = 0; n >> k; k++) if ((n >> k) & 1) flips ^= free[k];
        const name = Buffer.from(base);
        for (let i = 0; i < LEN; i++) if ((flips >> BigInt(i)) & 1n) name[i] ^= 2;
        return name.toString();
    };
}

/* "Aa" and "BB" are one to a sum that is multiplied by 31, ngx_hash(). */
function hash31Names() {
    return (n) => list(17, (k) => ((n >> k) & 1 ? 'BB' : 'Aa')).join('');
}

/*
 * To MurmurHash2: two words whose mixture differs in the highest bit alone; a second one of them
 * takes the difference back. Of letters there are none, so these are letters of more bytes.
 */
function murmurNames() {
    const M = 0x5bd1e995;
    const mix = (k) => {
        const t = Math.imul(k, M);
        return Math.imul(t ^ (t >>> 24), M) >>> 0;
    };
    const one = Buffer.from([0, 0, 0x80, 0x20]);
    const other = Buffer.alloc(4);
    for (let i = 0; i < 1 << 16; i++) {
        one[0] = 0x41 + (i & 31);
        one[1] = 0xc2 + ((i >> 5) & 31);
        one[2] = 0x80 + (i >> 10);
        other.writeUInt32LE((one.readUInt32LE() + 0x4d8cde80) % 2 ** 32);
        const words = [one, other].map((word) => word.toString());
        if (((mix(one.readUInt32LE()) ^ mix(other.readUInt32LE())) >>> 0) === 0x80000000
            && words.every((word) => !/[\ufffd\x00-\x1f"\\]/.test(word))) {
            return (n) => list(16, (k) => words[(n >> k) & 1].repeat(2)).join('');
        }
    }
    throw new Error('no two words of one MurmurHash2');
}

const NAMES = { 'one CRC-32': crcNames(), 'one ngx_hash': hash31Names(), 'one MurmurHash2': murmurNames() };

/* ---------------------------------------------------------------------------------------- */
/* Conversations                                                                             */
/* ---------------------------------------------------------------------------------------- */

/* One question, so many calls in one message, their results, in the order that is asked for. */
function oneRound(n, id, { args = () => '{}', order = (i) => i, content = '"r"' } = {}) {
    return chat(LOOK, [user('q'), calls(list(n, (i) => call(id(i), 'look', args(i))).join(',')),
        ...list(n, (i) => result(id(order(i)), content))].join(','));
}

function rounds(n, id) {
    return chat(LOOK, [...list(n, (i) => [user('q'), calls(call(id(i))), result(id(i))].join(',')), user('q')].join(','));
}

const functionCall = (name, args = '{}') => `{"role":"assistant","content":null,"function_call":{"name":${j(name)},"arguments":${j(args)}}}`;

const messages = [
    { name: 'plain text', turn: true, front: true, make: (b) => chat('', user(long(b))) },
    { name: 'plain text, system', turn: true, front: true, make: (b) => chat('', `{"role":"system","content":${j(long(b))}},${user('hi')}`) },
    { name: 'plain text, in the past', turn: true, make: (b) => chat('', [user(long(b / 2)), assistant(long(b / 2)), user('hi')].join(',')) },
    { name: 'plain text, n 8', turn: true, make: (b) => chat('"n":8', user(long(b))) },
    { name: 'user and assistant in turns', turn: true, front: true, make: (b) => chat('', `${many(b, `${user('x')},${assistant('y')}`)},${user('q')}`) },
    { name: 'user in a row', turn: true, front: true, make: (b) => chat('', many(b, user('x'))) },
    { name: 'assistant in a row', make: (b) => chat('', [user('x'), many(b, assistant('y')), user('q')].join(',')) },
    { name: 'system of one letter', turn: true, front: true, make: (b) => chat('', `${many(b, '{"role":"system","content":"s"}')},${user('q')}`) },
    { name: 'developer of one letter', turn: true, make: (b) => chat('', `${many(b, '{"role":"developer","content":"s"}')},${user('q')}`) },
    { name: 'system and user in turns', turn: true, make: (b) => chat('', many(b, `{"role":"system","content":"s"},${user('x')}`)) },
    { name: 'assistant with nothing', make: (b) => chat('', [user('x'), many(b, assistant('')), user('q')].join(',')) },
    { name: 'messages that are nothing', make: (b) => chat('', many(b, '{}')) },
    { name: 'messages, members unknown', make: (b) => chat('', many(b, '{"role":"user","content":"x","name":"n","a":1,"b":null,"c":[]}')) },
    ...['user', 'system', 'assistant'].map((role) => ({
        name: `text parts, ${role}`,
        turn: true,
        front: role !== 'assistant',
        make: (b) => chat('', [user('x'), `{"role":${j(role)},"content":[${many(b, '{"type":"text","text":"p"}')}]}`, user('q')].slice(role === 'assistant' ? 0 : 1).join(',')),
    })),
    { name: 'text parts, tool result', turn: true, make: (b) => oneRound(1, () => 'call_1', { content: `[${many(b, '{"type":"text","text":"p"}')}]` }) },
    { name: 'text parts that are blank', make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"text","text":" "}')}]}`) },
    { name: 'refusal parts', make: (b) => chat('', [user('x'), `{"role":"assistant","content":[${many(b, '{"type":"refusal","refusal":"no"}')}]}`, user('q')].join(',')) },
    { name: 'images', turn: true, make: (b) => chat('', `{"role":"user","content":[${many(b, `{"type":"image_url","image_url":{"url":"${PNG}"}}`)}]}`) },
    { name: 'images by URL', turn: true, make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}')}]}`) },
    { name: 'one image', make: (b) => chat('', `{"role":"user","content":[{"type":"image_url","image_url":{"url":"${PNG}${'A'.repeat(Math.floor(b / 4) * 4)}"}}]}`) },
    { name: 'text files', turn: true, make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,aGVsbG8gd29ybGQK"}}')}]}`) },
    { name: 'one text file', turn: true, make: (b) => chat('', `{"role":"user","content":[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,${Buffer.from(long(b * 0.74)).toString('base64')}"}}]}`) },
];

const PNG = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const conversations = [
    { name: 'calls, one id, no results', make: (b) => chat(LOOK, [user('q'), calls(many(b, call('call_1')))].join(',')) },
    { name: 'calls, one id', make: (b) => oneRound(count(b, 132), () => 'call_1') },
    { name: 'calls, one id, a message each', turn: true, make: (b) => rounds(count(b, 220), () => 'call_1') },
    { name: 'calls', turn: true, front: true, make: (b) => oneRound(count(b, 144), (i) => `call_${i}`) },
    { name: 'calls, results in reverse', turn: true, make: (b) => { const n = count(b, 144); return oneRound(n, (i) => `call_${i}`, { order: (i) => n - 1 - i }); } },
    { name: 'calls, a message each', turn: true, make: (b) => rounds(count(b, 228), (i) => `call_${i}`) },
    { name: 'calls, without ids', make: (b) => oneRound(count(b, 126), () => '') },
    { name: 'calls, results twice', make: (b) => { const n = count(b, 144); return oneRound(n, (i) => `call_${i}`, { order: (i) => i >> 1 }); } },
    { name: 'results without calls', make: (b) => chat(LOOK, [user('q'), many(b, result('call_1'))].join(',')) },
    { name: 'results without calls, ids', make: (b) => chat(LOOK, many(b, (i) => result(`call_${i}`))) },
    { name: 'calls, ids of 100 KB', make: (b) => oneRound(count(b, 2e5 + 150), (i) => `${i}_${'x'.repeat(1e5)}`) },
    { name: 'calls, ids of 200 that begin alike', make: (b) => oneRound(count(b, 520), (i) => `${'x'.repeat(192)}${i}`) },
    { name: 'calls, ids to be rewritten', make: (b) => oneRound(count(b, 150), (i) => `call ${i}.`) },
    ...Object.entries(NAMES).map(([name, id]) => ({
        name: `calls, ids of ${name}`, make: (b) => oneRound(Math.min(65536, count(b, 124 + 2 * id(0).length)), id),
    })),
    { name: 'function calls', turn: true, make: (b) => chat('"functions":[{"name":"look"}]', `${many(b, [user('q'), functionCall('look'), '{"role":"function","name":"look","content":"r"}'].join(','))},${user('q')}`) },
    { name: 'function calls, names', turn: true, make: (b) => chat('"functions":[{"name":"look"}]', `${many(b, (i) => [user('q'), functionCall(`look${i}`), `{"role":"function","name":"look${i}","content":"r"}`].join(','))},${user('q')}`) },
    { name: 'function results alone', make: (b) => chat('', many(b, '{"role":"function","name":"look","content":"r"}')) },
    ...Object.entries({
        'zeros': (b) => `{"a":[${many(b, '0')}]}`,
        'empty arrays': (b) => `{"a":[${many(b, '[]')}]}`,
        'one member': (b) => `{${many(b / 1.3, '"a":1')}}`,
        'members': (b) => `{${many(b / 1.3, (i) => `"${i}":1`)}}`,
        'members that begin alike': (b) => `{${many(b / 1.01, (i) => `"${'x'.repeat(250)}${i}":1`)}}`,
        'strings': (b) => `{"a":[${many(b / 2, '"b"')}]}`,
        'a text': (b) => `{"a":"${long(b)}"}`,
        'escapes': (b) => `{"a":"${'\\u0041'.repeat(b / 12)}"}`,
        'white space': (b) => `{"a":1${' '.repeat(b)}}`,
        'depth 100': (b) => `{"a":[${many(b, `${'['.repeat(100)}0${']'.repeat(100)}`)}]}`,
        'a number': (b) => `{"a":${'9'.repeat(b)}}`,
        'numbers': (b) => `{"a":[${many(b, '1.5e300')}]}`,
    }).map(([name, args]) => ({ name: `arguments, ${name}`, turn: name !== 'one member', make: (b) => oneRound(1, () => 'call_1', { args: () => args(b) }) })),
    { name: 'arguments, too deep', make: (b) => oneRound(1, () => 'call_1', { args: () => `{"a":${'['.repeat(b / 2)}${']'.repeat(b / 2)}}` }) },
    { name: 'arguments, no JSON', make: (b) => oneRound(1, () => 'call_1', { args: () => 'x'.repeat(b) }) },
    { name: 'arguments, no JSON at the end', make: (b) => oneRound(1, () => 'call_1', { args: () => `{"a":[${many(b, '0')}` }) },
    { name: 'arguments, a bit in each call', turn: true, make: (b) => oneRound(count(b, 190), (i) => `call_${i}`, { args: (i) => `{"path":"a","n":${i},"x":[1,2]}` }) },
];

/* ---------------------------------------------------------------------------------------- */
/* Members, values, tokens                                                                   */
/* ---------------------------------------------------------------------------------------- */

const metadata = (name, value, more) => ({ name: `metadata, ${name}`, turn: true, front: true, make: (b) => chat(`"metadata":${value(b)}`), ...more });

const values = [
    metadata('zeros', (b) => `[${many(b, '0')}]`),
    metadata('empty arrays', (b) => `[${many(b, '[]')}]`),
    metadata('empty objects', (b) => `[${many(b, '{}')}]`),
    metadata('empty strings', (b) => `[${many(b, '""')}]`),
    metadata('true', (b) => `[${many(b, 'true')}]`),
    metadata('one member', (b) => `{${many(b, '"a":0')}}`),
    metadata('one member without a name', (b) => `{${many(b, '"":0')}}`),
    metadata('members', (b) => `{${many(b, (i) => `"${i}":0`)}}`),
    metadata('members of long names', (b) => `{${many(b, (i) => `"${'n'.repeat(1000)}${i}":0`)}}`),
    metadata('a member of a long name', (b) => `{"${'n'.repeat(b)}":0}`),
    metadata('arrays, depth 100', (b) => `[${many(b, `${'['.repeat(100)}${']'.repeat(100)}`)}]`),
    metadata('objects, depth 100', (b) => `[${many(b, `${'{"":'.repeat(100)}0${'}'.repeat(100)}`)}]`),
    { ...metadata('a number', (b) => '9'.repeat(b)), turn: false },
    metadata('numbers', (b) => `[${many(b, '-1.5e300')}]`),
    metadata('escapes', (b) => `"${'\\u0041'.repeat(b / 6)}"`),
    metadata('names of escapes', (b) => `{${many(b, '"\\u0061\\u0062":0')}}`),
    ...Object.entries(NAMES).map(([name, id]) => metadata(`members of ${name}`, (b) => `{${many(Math.min(b, 65536 * (id(0).length + 5)), (i) => `"${id(i)}":0`)}}`)),
    { name: 'nested too deeply', make: (b) => chat(`"metadata":${'['.repeat(b)}`) },
    { name: 'no JSON at the end', make: (b) => chat(`"metadata":[${many(b, '0')}`) },
];

const strings = Object.entries({
    '\\u0041': '\\u0041', '\\u0001': '\\u0001', '\\u20ac': '\\u20ac', 'surrogate pairs': '\\ud83d\\ude00', '\\n': '\\n', '\\/': '\\/', '\\\\': '\\\\',
    'quotes': '\\"', 'UTF-8 of four': '\u{1f600}', 'UTF-8 of two': 'é', 'DEL': '\x7f', '\\u0000': '\\u0000', 'half surrogates': '\\ude00',
}).map(([name, unit]) => ({
    name: `text of ${name}`,
    turn: !['\\u0000', 'half surrogates'].includes(name),
    front: unit.startsWith('\\u0'),
    make: (b) => chat('', `{"role":"user","content":"x${unit.repeat(Math.floor(b / Buffer.byteLength(unit)))}"}`),
}));

const space = [
    { name: 'white space in front', turn: true, front: true, make: (b) => ' '.repeat(b) + chat('') },
    { name: 'white space at the end', turn: true, make: (b) => chat('') + '\n'.repeat(b) },
    { name: 'white space between', turn: true, make: (b) => chat(`"metadata":[${many(b, `0${' '.repeat(1000)}`)}]`) },
    { name: 'white space in a text', make: (b) => chat('', `{"role":"user","content":"${' '.repeat(b)}"}`) },
    { name: 'white space around a text', turn: true, make: (b) => chat('', [user('q'), `{"role":"assistant","content":"${' '.repeat(b / 2)}x${' '.repeat(b / 2)}"}`, user('q')].join(',')) },
    { name: 'white space of \\t, assistant', turn: true, make: (b) => chat('', [user('q'), `{"role":"assistant","content":"x${'\\t'.repeat(b / 2)}x"}`, user('q')].join(',')) },
];

/* name: [what is repeated, where] */
const REPEATED = {
    'model': ['"model":"sonnet"', (m) => chat(m)],
    'messages': [`"messages":[${user('x')}]`, (m) => chat(m)],
    'tools': ['"tools":[]', (m) => chat(m)],
    'stop': ['"stop":["x"]', (m) => chat(m)],
    'n': ['"n":1', (m) => chat(m)],
    'response_format': ['"response_format":{"type":"text"}', (m) => chat(m)],
    'stream_options': ['"include_usage":true', (m) => chat(`"stream":true,"stream_options":{${m}}`)],
    'role': ['"role":"user"', (m) => chat('', `{"content":"x",${m}}`)],
    'content': ['"content":"x"', (m) => chat('', `{"role":"user",${m}}`)],
    'tool_calls': ['"tool_calls":[]', (m) => chat('', [user('q'), `{"role":"assistant","content":"a",${m}}`, user('q')].join(','))],
    'tool_call_id': ['"tool_call_id":"a"', (m) => chat(LOOK, [user('q'), calls(call('a')), `{"role":"tool","content":"r",${m}}`].join(','))],
    'text': ['"text":"x"', (m) => chat('', `{"role":"user","content":[{"type":"text",${m}}]}`)],
    'type of a part': ['"type":"text"', (m) => chat('', `{"role":"user","content":[{"text":"x",${m}}]}`)],
    'url': ['"url":"https://example.com/"', (m) => chat('', `{"role":"user","content":[{"type":"image_url","image_url":{${m}}}]}`)],
    'id of a call': ['"id":"a"', (m) => chat(LOOK, [user('q'), calls(`{"type":"function","function":{"name":"look","arguments":"{}"},${m}}`), result('a')].join(','))],
    'arguments': ['"arguments":"{}"', (m) => chat(LOOK, [user('q'), calls(`{"id":"a","type":"function","function":{"name":"look",${m}}}`), result('a')].join(','))],
    'function': [tool('look').slice('{"type":"function",'.length, -1), (m) => chat(`"tools":[{"type":"function",${m}}]`)],
    'name of a tool': ['"name":"look"', (m) => chat(`"tools":[{"type":"function","function":{${m}}}]`)],
    'parameters': ['"parameters":{"type":"object"}', (m) => chat(`"tools":[{"type":"function","function":{"name":"look",${m}}}]`)],
    'json_schema': [`"json_schema":{"name":"s","schema":{${OBJECT},"properties":{}}}`, (m) => chat(`"response_format":{"type":"json_schema",${m}}`)],
};

const repeated = [
    ...Object.entries(REPEATED).map(([name, [member, where]]) => ({ name: `member ${name} repeated`, make: (b) => where(many(b, member)) })),
    ...Object.entries({ 'the body': (m) => chat(m), 'a message': (m) => chat('', `{"role":"user","content":"x",${m}}`), 'a part': (m) => chat('', `{"role":"user","content":[{"type":"text","text":"x",${m}}]}`) })
        .map(([name, where]) => ({ name: `unknown members of ${name}`, turn: true, front: true, make: (b) => where(many(b, (i) => `"x${i}":1`)) })),
    { name: 'unknown member of the body repeated', turn: true, make: (b) => chat(many(b, '"x":1')) },
    { name: 'unknown values in the body', turn: true, front: true, make: (b) => chat(many(b, '"x":{"a":[0,1,{}],"b":null}')) },
];

const fields = [
    { name: 'stop, many', make: (b) => chat(`"stop":[${many(b, '"x"')}]`) },
    { name: 'stop, four long', make: (b) => chat(`"stop":[${list(4, () => j(long(b / 4))).join(',')}]`) },
    { name: 'stop, four of control characters', make: (b) => chat(`"stop":[${list(4, () => `"x${'\\u0001'.repeat(b / 24)}"`).join(',')}]`) },
    { name: 'stop, one of a letter', make: (b) => chat(`"stop":"${'a'.repeat(b)}"`) },
    { name: 'logit_bias', make: (b) => chat(`"logit_bias":{${many(b, (i) => `"${i}":0`)}}`) },
    { name: 'modalities', make: (b) => chat(`"modalities":[${many(b, '"text"')}]`) },
    { name: 'max_tokens of digits', make: (b) => chat(`"max_tokens":${'9'.repeat(b)}`) },
    { name: 'temperature of zeros', make: (b) => chat(`"temperature":0.${'0'.repeat(b)}`) },
    { name: 'the name of a model', make: (b) => `{"model":"${long(b, 'claude-')}","messages":[${user('hi')}]}` },
    { name: 'user', turn: true, make: (b) => chat(`"user":"${long(b)}"`) },
    { name: 'a role that is unknown', make: (b) => chat('', `{"role":"${long(b)}","content":"x"}`) },
    { name: 'prompt', path: '/v1/completions', turn: true, front: true, make: (b) => `{"model":"sonnet","prompt":${j(long(b))}}` },
    { name: 'prompts', path: '/v1/completions', front: true, make: (b) => `{"model":"sonnet","prompt":[${many(b, '"p"')}]}` },
    { name: 'prompts, eight', path: '/v1/completions', turn: true, make: (b) => `{"model":"sonnet","prompt":[${list(8, () => j(long(b / 8))).join(',')}]}` },
    { name: 'prompt of numbers', path: '/v1/completions', make: (b) => `{"model":"sonnet","prompt":[${many(b, '1')}]}` },
    { name: 'prompt, n 8, echo', path: '/v1/completions', make: (b) => `{"model":"sonnet","n":8,"echo":true,"prompt":${j(long(b))}}` },
];

/* ---------------------------------------------------------------------------------------- */
/* Tools and schemas                                                                         */
/* ---------------------------------------------------------------------------------------- */

/* As many as are taken, all together of about so many bytes. */
const TOOLS_MAX = 10000;
const someTools = (b, rest = '') => {
    const n = Math.min(TOOLS_MAX, count(b, 100 + rest.length));
    const about = long(Math.max(1, Math.floor(b / n) - 70 - rest.length));
    return list(n, (i) => tool(`t${i}`, `,"description":${j(about)}${rest}`)).join(',');
};

const tools = [
    { name: 'tools', turn: true, make: (b) => chat(`"tools":[${someTools(b)}]`) },
    { name: 'tools, too many', make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`))}]`) },
    { name: 'tools with parameters', turn: true, make: (b) => chat(`"tools":[${someTools(b, ',"parameters":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')}]`) },
    { name: 'tools, strict', make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`, `,"strict":true,"parameters":{${OBJECT},"properties":{"a":{"type":"string"}},"required":["a"]}`))}]`) },
    { name: 'tools of one name', make: (b) => chat(`"tools":[${many(b, tool('look'))}]`) },
    ...Object.entries(NAMES).map(([name, id]) => ({ name: `tools, names of ${name}`, make: (b) => chat(`"tools":[${many(Math.min(b, 65536 * (id(0).length + 50)), (i) => tool(id(i)))}]`) })),
    { name: 'functions', turn: true, make: (b) => { const n = Math.min(TOOLS_MAX, count(b, 100)); return chat(`"functions":[${list(n, (i) => `{"name":"t${i}","description":${j(long(b / n - 50))}}`).join(',')}]`); } },
    { name: 'tools, any required', make: (b) => chat(`"tool_choice":"required","tools":[${many(b, (i) => tool(`t${i}`, `,"parameters":{${OBJECT},"properties":{"a":{"type":"string"}},"required":["a"]}`))}]`) },
    { name: 'tools, the last one named', make: (b) => { const n = count(b, 53); return chat(`"tool_choice":{"type":"function","function":{"name":"t${n - 1}"}},"tools":[${list(n, (i) => tool(`t${i}`)).join(',')}]`); } },
    { name: 'tools, a description', make: (b) => chat(`"tools":[${tool('look', `,"description":${j(long(b))},"parameters":{"type":"object","properties":{}}`)}]`) },
    { name: 'tools that are nothing', make: (b) => chat(`"tools":[${many(b, '{}')}]`) },
];

const property = (i, rest = '"type":"string"') => `"p${i}":{${rest}}`;

/* n parts that are one reference, to what is long to look through; fewer values than a schema may have. */
const allOfRefs = (n, defs) => `${OBJECT},"properties":{"a":{"type":"string","allOf":[${list(n, () => '{"$ref":"#/$defs/0"}').join(',')}]}},"required":["a"],"$defs":{${defs}}`;
const longRef = (i, n) => `"${i}":{"$ref":"#/$defs/${i + 1}",${list(n, () => '"$id":1').join(',')}}`;

/* The inside of a schema, without its braces. */
const SCHEMAS = {
    'properties, all required': (b) => { const n = count(b, 34); return `${OBJECT},"properties":{${list(n, (i) => property(i)).join(',')}},"required":[${list(n, (i) => `"p${i}"`).join(',')}]`; },
    'required in reverse': (b) => { const n = count(b, 34); return `${OBJECT},"properties":{${list(n, (i) => property(i)).join(',')}},"required":[${list(n, (i) => `"p${n - 1 - i}"`).join(',')}]`; },
    'required, without properties': (b) => `${OBJECT},"properties":{},"required":[${many(b, (i) => `"p${i}"`)}]`,
    'required, one name': (b) => `${OBJECT},"properties":{"a":{"type":"string"}},"required":[${many(b, '"a"')}]`,
    'properties of one name': (b) => `${OBJECT},"properties":{${many(b, '"a":{"type":"string"}')}},"required":["a"]`,
    'enum': (b) => `${OBJECT},"properties":{"a":{"type":"string","enum":[${many(b, (i) => `"v${i}"`)}]}},"required":["a"]`,
    'enum of one value': (b) => `${OBJECT},"properties":{"a":{"enum":[${many(b, '0')}]}},"required":["a"]`,
    'anyOf repeated': (b) => `${OBJECT},"properties":{},${many(b, '"anyOf":1')}`,
    'anyOf repeated, of lists': (b) => `${OBJECT},"properties":{},${many(b, '"anyOf":[{"type":"object"}]')}`,
    'anyOf on top': (b) => `"anyOf":[${many(b, (i) => `{${OBJECT},"properties":{${property(i)}},"required":["p${i}"]}`)}]`,
    'oneOf on top': (b) => `"oneOf":[${many(b, (i) => `{${OBJECT},"properties":{${property(i)}},"required":["p${i}"]}`)}]`,
    'allOf on top': (b) => `"allOf":[${many(b, (i) => `{"type":"object","properties":{${property(i)}},"required":["p${i}"]}`)}]`,
    'allOf on top, one name': (b) => `"allOf":[${many(b, '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')}]`,
    'allOf, each the same long chain': (b) => { const n = Math.min(4500, count(b, 38)); return allOfRefs(n, `${longRef(0, n)},${longRef(1, n)},"2":{"title":"x"}`); },
    'allOf, each the same deep pointer': (b) => allOfRefs(Math.min(9000, count(b, 20)), `"0":{"$ref":"#/$defs/z${'/a'.repeat(110)}"},"z":${'{"a":'.repeat(110)}{"title":"x"}${'}'.repeat(110)}`),
    'anyOf of anyOf': (b) => `${OBJECT},"properties":{"a":{"anyOf":[${many(b, '{"anyOf":[{"type":"string"},{"type":"null"}]}')}]}},"required":["a"]`,
    'chain of $ref': (b) => { const n = count(b, 36); return `${OBJECT},"properties":{"a":{"$ref":"#/$defs/d0"}},"required":["a"],"$defs":{${list(n, (i) => `"d${i}":{"$ref":"#/$defs/d${i + 1}"}`).join(',')},"d${n}":{"type":"string"}}`; },
    '$ref to one': (b) => { const n = count(b, 40); return `${OBJECT},"properties":{${list(n, (i) => property(i, '"$ref":"#/$defs/d"')).join(',')}},"required":[${list(n, (i) => `"p${i}"`).join(',')}],"$defs":{"d":{"type":"string"}}`; },
    '$ref to the last of many': (b) => { const n = count(b / 2, 38); return `${OBJECT},"properties":{${list(n, (i) => property(i, `"$ref":"#/$defs/d${n - 1}"`)).join(',')}},"required":[],"$defs":{${list(n, (i) => `"d${i}":{"type":"string"}`).join(',')}}`; },
    '$ref twice, and again': (b) => `${OBJECT},"properties":{"a":{"$ref":"#/$defs/d0"}},"required":["a"],"$defs":{${list(count(b, 140), (i) => `"d${i}":{${OBJECT},"properties":{"x":{"$ref":"#/$defs/d${i + 1}"},"y":{"$ref":"#/$defs/d${i + 1}"}},"required":["x","y"]}`).join(',')}}`,
    '$ref in a circle': (b) => { const n = count(b, 100); return `${OBJECT},"properties":{"a":{"$ref":"#/$defs/d0"}},"required":["a"],"$defs":{${list(n, (i) => `"d${i}":{${OBJECT},"properties":{"n":{"$ref":"#/$defs/d${(i + 1) % n}"}},"required":["n"]}`).join(',')}}`; },
    '$ref, long': (b) => `${OBJECT},"properties":{"a":{"$ref":"#/$defs/${'x'.repeat(b)}"}},"required":["a"]`,
    '$ref on top, chain': (b) => { const n = count(b, 36); return `"$ref":"#/$defs/d0","$defs":{${list(n, (i) => `"d${i}":{"$ref":"#/$defs/d${i + 1}"}`).join(',')},"d${n}":{${OBJECT},"properties":{}}}`; },
    '$defs that nobody needs': (b) => `${OBJECT},"properties":{},"$defs":{${many(b, (i) => `"d${i}":{"type":"string"}`)}}`,
    'objects, depth 20': (b) => `${OBJECT},"properties":{${many(b, (i) => `"p${i}":${`{${OBJECT},"required":["a"],"properties":{"a":`.repeat(20)}{"type":"string"}${'}}'.repeat(20)}`)}},"required":[]`,
    'types': (b) => `${OBJECT},"properties":{"a":{"type":[${many(b, '"string"')}]}},"required":["a"]`,
    'prefixItems': (b) => `${OBJECT},"properties":{"a":{"type":"array","items":{"type":"string"},"prefixItems":[${many(b, '{"type":"string"}')}]}},"required":["a"]`,
    'words of no schema': (b) => `${OBJECT},"properties":{},${many(b, (i) => `"x-${i}":{"a":[1,2]}`)}`,
    'words that must go': (b) => `${OBJECT},"properties":{${many(b, (i) => property(i, '"type":"string","minLength":1,"maxLength":9,"pattern":"^a","format":"x"'))}},"required":[]`,
    'words that must go, one name': (b) => `${OBJECT},"properties":{"a":{"type":"string",${many(b, '"minLength":1')}}},"required":["a"]`,
    'maps': (b) => `"type":"object","properties":{${many(b, (i) => property(i, '"type":"object","additionalProperties":{"type":"integer"}'))}}`,
    'a description': (b) => `${OBJECT},"description":${j(long(b))},"properties":{}`,
    'a pattern': (b) => `${OBJECT},"properties":{"a":{"type":"string","pattern":"${'a'.repeat(b)}"}},"required":["a"]`,
    'titles': (b) => `${OBJECT},"properties":{${many(b, (i) => property(i, '"title":"t","type":"string","default":"d","examples":[1,2,3]'))}},"required":[]`,
};

/* Where a schema may stand. */
const PLACES = {
    'tool': (s) => `"tools":[${tool('look', `,"parameters":{${s}}`)}]`,
    'tool, strict': (s) => `"tools":[${tool('look', `,"strict":true,"parameters":{${s}}`)}]`,
    'tool, named': (s) => `"tool_choice":{"type":"function","function":{"name":"look"}},"tools":[${tool('look', `,"parameters":{${s}}`)}]`,
    'tool, required': (s) => `"tool_choice":"required","tools":[${tool('look', `,"parameters":{${s}}`)},${tool('other', ',"parameters":{"type":"object","properties":{}}')}]`,
    'format, strict': (s) => `"response_format":{"type":"json_schema","json_schema":{"name":"s","strict":true,"schema":{${s}}}}`,
    'format': (s) => `"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{${s}}}}`,
};

const schemas = Object.entries(SCHEMAS).flatMap(([name, schema]) => Object.entries(PLACES)
    .map(([place, where]) => ({ name: `${place}: ${name}`, heavy: true, make: (b) => chat(where(schema(b))) })));

const manySchemas = [
    { name: 'strict tools with a $ref each', heavy: true, make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`, `,"strict":true,"parameters":{${OBJECT},"properties":{"a":{"$ref":"#/$defs/d"}},"required":["a"],"$defs":{"d":{"type":"string"}}}`))}]`) },
    { name: 'strict tools with anyOf each', heavy: true, make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`, `,"strict":true,"parameters":{${OBJECT},"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["a"]}`))}]`) },
    { name: 'tools with anyOf on top each', heavy: true, make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`, `,"parameters":{"anyOf":[{"type":"object"},{"type":"object"}]}`))}]`) },
];

/* ---------------------------------------------------------------------------------------- */
/* The ways of a body                                                                        */
/* ---------------------------------------------------------------------------------------- */

const UUID = 'c0ffee00-0000-4000-8000-00000000beef';

const ways = ['plain text', 'metadata, zeros', 'text of \\u0041', 'user and assistant in turns', 'metadata, a number'].flatMap((name) => {
    const { make, turn } = [...messages, ...values, ...strings].find((shape) => shape.name === name);
    return [
        { name: `${name}, in slices`, make, turn, path: '/memory/chat/completions', upload: 2048 },
        { name: `${name}, in a file`, make, turn, path: '/file/chat/completions' },
        { name: `${name}, in memory`, make, turn, path: '/memory/chat/completions' },
    ];
}).concat([
    { name: 'a session of its own, whole', turn: true, headers: { 'x-session-id': UUID }, make: (b) => chat('', `${many(b, `${user('x')},${assistant('y')}`)},${user('q')}`) },
    { name: 'a session of its own, news', turn: true, headers: { 'x-session-id': UUID }, make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"text","text":"p"}')}]}`) },
    { name: 'a session that is a hint', turn: true, headers: { 'x-session-id': 's'.repeat(4000) }, make: (b) => chat('', user(long(b))) },
]);

export const shapes = [
    ...messages, ...conversations, ...values, ...strings, ...space, ...repeated, ...fields, ...tools, ...manySchemas, ...ways, ...schemas,
].map((shape) => ({ path: '/v1/chat/completions', headers: {}, ...shape }));

/* What they cost is measured beside this one. */
export const plain = shapes[0];

/* The same bodies at a front nginx. */
export const fronts = shapes.filter(({ front }) => front).map((shape) => ({
    ...shape, name: `front: ${shape.name}`, path: shape.path.replace('/v1/', '/front/'), turn: false, proxied: true,
}));
export const plainFront = fronts[0];

/*
 * What has to be answered, by number: messages, parts, calls, tools, and what they cost the server
 * until the answer.
 */
export const whole = {
    'messages of one user': (n) => chat('', list(n, () => user('x')).join(',')),
    'messages in turns': (n) => chat('', [...list(n / 2, () => `${user('x')},${assistant('y')}`), user('q')].join(',')),
    'text parts': (n) => chat('', `{"role":"user","content":[${list(n, () => '{"type":"text","text":"p"}').join(',')}]}`),
    'text parts, assistant': (n) => chat('', [user('x'), `{"role":"assistant","content":[${list(n, () => '{"type":"text","text":"p"}').join(',')}]}`, user('q')].join(',')),
    'system messages': (n) => chat('', [...list(n, () => '{"role":"system","content":"s"}'), user('q')].join(',')),
    'calls in one message': (n) => oneRound(n, (i) => `call_${i}`),
    'calls, results in reverse': (n) => oneRound(n, (i) => `call_${i}`, { order: (i) => n - 1 - i }),
    'calls, a message each': (n) => rounds(n, (i) => `call_${i}`),
    'tools': (n) => chat(`"tools":[${list(n / 10, (i) => tool(`t${i}`, ',"description":"d","parameters":{"type":"object","properties":{"a":{"type":"string"}}}')).join(',')}]`),
};

/* ---------------------------------------------------------------------------------------- */
/* As large as a body may be                                                                 */
/* ---------------------------------------------------------------------------------------- */

const base64 = (bytes) => 'QUJD'.repeat(Math.floor(bytes / 4));
const image = (data) => `{"type":"image_url","image_url":{"url":"data:image/png;base64,${data}"}}`;
const file = (type, data) => `{"role":"user","content":[{"type":"file","file":{"filename":"a","file_data":"data:${type};base64,${data}"}}]}`;
const aCall = (args) => [user('q'), calls(call('call_1', 'look', args)), result('call_1'), user('q')].join(',');

/*
 * For the longest event: one of each kind that a string, a list or a tree can be, and where it can
 * stand. Those with a turn are answered; bytes are those of a whole body.
 *
 *   no       status that comes instead
 *   key      without: the request has none
 */
const bulk = [
    { name: 'user, one text', make: (b) => chat('', user(long(b))) },
    { name: 'user, one text of \\u00e9', make: (b) => chat('', `{"role":"user","content":"${'\\u00e9'.repeat(b / 6)}"}`) },
    { name: 'user, one text of \\n', make: (b) => chat('', user('\n'.repeat(b / 2) + 'x')) },
    { name: 'user, one text of \\ud83d\\ude00', make: (b) => chat('', `{"role":"user","content":"${'\\ud83d\\ude00'.repeat(b / 12)}"}`) },
    { name: 'user, one text of letters of 3 bytes', make: (b) => chat('', user('\u3042'.repeat(b / 3))) },
    { name: 'user, one text of spaces, and x', make: (b) => chat('', user(`${' '.repeat(b)}x`)) },
    { name: 'user, one text of wide spaces', no: 400, make: (b) => chat('', user('\u3000'.repeat(b / 3))) },
    { name: 'user, one text that is no UTF-8 at its end', no: 400, make: (b) => Buffer.from(`${chat('', user(`${long(b)}#`)).slice(0, -4)}\xff"}]}`, 'latin1') },
    { name: 'assistant, one text', make: (b) => chat('', [user('q'), assistant(long(b)), user('q')].join(',')) },
    { name: 'assistant, spaces around x', make: (b) => chat('', [user('q'), assistant(`${' '.repeat(b / 2)}x${' '.repeat(b / 2)}`), user('q')].join(',')) },
    { name: 'system, one text', make: (b) => chat('', `{"role":"system","content":${j(long(b))}},${user('q')}`) },
    { name: 'system, eight texts', make: (b) => chat('', `${list(8, () => `{"role":"system","content":${j(long(b / 8))}}`).join(',')},${user('q')}`) },
    { name: 'tool result, one text', make: (b) => oneRound(1, () => 'call_1', { content: j(long(b)) }) },
    { name: 'tool result, text parts', make: (b) => oneRound(1, () => 'call_1', { content: `[${many(b, '{"type":"text","text":"p"}')}]` }) },
    { name: 'arguments, one string', make: (b) => chat(LOOK, aCall(`{"a":${j(long(b))}}`)) },
    { name: 'arguments, zeros', make: (b) => chat(LOOK, aCall(`{"a":[${many(b, '0')}]}`)) },
    { name: 'arguments, members', make: (b) => chat(LOOK, aCall(`{${many(b / 1.3, (i) => `"${i}":1`)}}`)) },
    { name: 'arguments, no JSON', make: (b) => chat(LOOK, aCall(long(b))) },
    { name: 'arguments of 200 KB, zeros', make: (b) => oneRound(count(b, 2e5 + 144), (i) => `call_${i}`, { args: () => `{"a":[${many(2e5, '0')}]}` }) },
    { name: 'images of 5 MB', make: (b) => chat('', `{"role":"user","content":[${list(Math.max(1, Math.floor(b / 5.3e6)), () => image(`iVBORw0KGgoA${base64(Math.min(b, 5.2e6))}`)).join(',')}]}`) },
    { name: 'an image that is too large', no: 400, make: (b) => chat('', `{"role":"user","content":[${image(`iVBORw0KGgoA${base64(Math.max(b, 5.4e6))}`)}]}`) },
    { name: 'a PDF', make: (b) => chat('', file('application/pdf', `JVBERi0x${base64(b)}`)) },
    { name: 'a text file', make: (b) => chat('', file('text/plain', base64(b))) },
    { name: 'a text file of letters of 3 bytes', make: (b) => chat('', file('text/plain', '44GC'.repeat(b / 4))) },
    { name: 'a text file of spaces', no: 400, make: (b) => chat('', file('text/plain', 'ICAg'.repeat(b / 4))) },
    { name: 'messages of user and assistant', make: (b) => chat('', `${many(b, `${user('x')},${assistant('y')}`)},${user('q')}`) },
    { name: 'messages of user', make: (b) => chat('', many(b, user('x'))) },
    { name: 'messages of system', make: (b) => chat('', `${many(b, '{"role":"system","content":"s"}')},${user('q')}`) },
    { name: 'text parts', make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"text","text":"p"}')}]}`) },
    { name: 'text parts, assistant', make: (b) => chat('', [user('x'), `{"role":"assistant","content":[${many(b, '{"type":"text","text":"p"}')}]}`, user('q')].join(',')) },
    { name: 'images by URL', make: (b) => chat('', `{"role":"user","content":[${many(b, '{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}')}]}`) },
    { name: 'calls in one message', make: (b) => oneRound(count(b, 144), (i) => `call_${i}`) },
    { name: 'calls in one message, one id', make: (b) => oneRound(count(b, 132), () => 'call_1') },
    { name: 'calls, a message each', make: (b) => rounds(count(b, 228), (i) => `call_${i}`) },
    { name: 'tools', make: (b) => chat(`"tools":[${someTools(b)}]`) },
    { name: 'tools with parameters', make: (b) => chat(`"tools":[${someTools(b, ',"parameters":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')}]`) },
    { name: 'tools, strict', make: (b) => chat(`"tools":[${someTools(b, `,"strict":true,"parameters":{${OBJECT},"properties":{"a":{"type":"string"}},"required":["a"]}`)}]`) },
    { name: 'tools, required', make: (b) => chat(`"tool_choice":"required","tools":[${someTools(b, `,"parameters":{${OBJECT},"properties":{"a":{"type":"string"}},"required":["a"]}`)}]`) },
    { name: 'tools, too many', no: 400, make: (b) => chat(`"tools":[${many(b, (i) => tool(`t${i}`))}]`) },
    { name: 'tools of 1 MB, a description', make: (b) => chat(`"tools":[${list(Math.max(1, Math.floor(b / 1.04e6)), (i) => tool(`t${i}`, `,"description":${j(long(Math.min(b, 1.04e6)))}`)).join(',')}]`) },
    { name: 'tools of 1 MB, properties', make: (b) => chat(`"tools":[${list(Math.max(1, Math.floor(b / 0.9e6)), (i) => tool(`t${i}`, `,"parameters":{"type":"object","properties":{${many(Math.min(b, 0.9e6), (k) => `"p${k}":{}`)}}}`)).join(',')}]`) },
    { name: 'tools of 1 MB, zeros', make: (b) => chat(`"tools":[${list(Math.max(1, Math.floor(b / 0.6e6)), (i) => tool(`t${i}`, `,"parameters":{"type":"object","x":[${many(Math.min(b, 0.6e6), '0')}]}`)).join(',')}]`) },
    { name: 'tools of 1 MB, strict, one string', make: (b) => chat(`"tools":[${list(Math.max(1, Math.floor(b / 1.04e6)), (i) => tool(`t${i}`, `,"strict":true,"parameters":{${OBJECT},"properties":{},"description":${j(long(Math.min(b, 1.04e6)))}}`)).join(',')}]`) },
    { name: 'tools, strict, 5,000 properties', make: (b) => chat(`"tools":[${list(Math.max(1, Math.floor(b / 1.6e5)), (i) => tool(`t${i}`, `,"strict":true,"parameters":{${OBJECT},"properties":{${list(Math.min(5000, b / 32), (k) => `"p${k}":{"type":"string"}`).join(',')}},"required":[]}`)).join(',')}]`) },
    { name: 'tool, zeros', no: 400, make: (b) => chat(`"tools":[${tool('look', `,"parameters":{"type":"object","x":[${many(Math.max(b, 2e6), '0')}]}`)}]`) },
    { name: 'tool, strict, one string', no: 400, make: (b) => chat(`"tools":[${tool('look', `,"strict":true,"parameters":{${OBJECT},"properties":{},"description":${j(long(Math.max(b, 2e6)))}}`)}]`) },
    { name: 'format, enum', make: (b) => chat(`"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{${OBJECT},"properties":{"a":{"type":"string","enum":[${list(1e4, (i) => j(long(Math.min(b, 1e6) / 1e4 - 10, `v${i} `))).join(',')}]}},"required":["a"]}}}`) },
    { name: 'format, one string', no: 400, make: (b) => chat(`"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{${OBJECT},"description":${j(long(Math.max(b, 2e6)))},"properties":{}}}}`) },
    { name: 'the name of a model', no: 404, make: (b) => `{"model":"${long(b, 'claude-')}","messages":[${user('hi')}]}` },
    { name: 'a role that is unknown', no: 400, make: (b) => chat('', `{"role":"${long(b)}","content":"x"}`) },
    { name: 'a member too often', no: 400, make: (b) => chat(many(Math.max(b, 1e6), '"n":1')) },
    { name: 'members of one name in messages', make: (b) => chat('', [user('q'), ...list(Math.max(1, Math.floor(b / 4.2e5)), () => `{"role":"user","content":"x",${many(Math.min(b, 4.2e5), '"role":"user"')}}`)].join(',')) },
    { name: 'id of a call', no: 400, make: (b) => chat(LOOK, [user('q'), calls(call('x'.repeat(b)))].join(',')) },
    { name: 'stop, four', no: 400, make: (b) => chat(`"stop":[${list(4, () => j(long(b / 4))).join(',')}]`) },
    { name: 'prompt', path: '/v1/completions', make: (b) => `{"model":"sonnet","prompt":${j(long(b))}}` },
    { name: 'prompts, eight', path: '/v1/completions', make: (b) => `{"model":"sonnet","prompt":[${list(8, () => j(long(b / 8))).join(',')}]}` },
    { name: 'unknown, one string', make: (b) => chat(`"x":${j(long(b))}`) },
    { name: 'unknown, zeros', make: (b) => chat(`"x":[${many(b, '0')}]`) },
    { name: 'unknown, depth 100', make: (b) => chat(`"x":[${many(b, `${'['.repeat(100)}${']'.repeat(100)}`)}]`) },
    { name: 'unknown, numbers', make: (b) => chat(`"x":[${many(b, '-12345.678e-90')}]`) },
    { name: 'unknown, members of one name', make: (b) => chat(many(b, '"x":1')) },
    { name: 'unknown, long names', make: (b) => chat(many(b, (i) => `"${i}${'n'.repeat(1e5)}":1`)) },
    { name: 'unknown, one name', make: (b) => chat(`"${'n'.repeat(b)}":1`) },
    { name: 'white space', make: (b) => chat(`"x":${' '.repeat(b)}1`) },
    { name: 'no JSON', no: 400, make: (b) => `[${many(b, '0')}}` },
];

const eight = (shape) => ({ ...shape, name: `n 8: ${shape.name}`, make: (b) => shape.make(b).replace('{"model"', '{"n":8,"model"') });
const named = (name) => bulk.find((shape) => shape.name === name);

export const large = [
    ...bulk,
    ...['user, one text', 'assistant, one text', 'arguments, one string', 'messages of user and assistant', 'calls in one message',
        'text parts', 'tools with parameters', 'tools of 1 MB, a description'].map((name) => eight(named(name))),
    ...['user, one text', 'user, one text of \\u00e9', 'messages of user and assistant', 'unknown, zeros'].map((name) => ({
        ...named(name), name: `in memory: ${name}`, path: '/memory/chat/completions',
    })),
    ...['user, one text', 'unknown, zeros'].map((name) => ({ ...named(name), name: `no key: ${name}`, no: 401, key: false })),
    ...['user, one text', 'system, one text', 'messages of system', 'text parts', 'unknown, zeros', 'unknown, one string', 'no JSON'].map(named).concat([
        { name: 'zeros before the messages', make: (b) => `{"x":[${many(b, '0')}],"messages":[${user('hi')}]}` },
        { name: 'content before its role', make: (b) => `{"messages":[{"content":[${many(b, '0')}],"role":"user"}]}` },
    ]).map((shape) => ({
        ...shape, name: `$claude_conversation: ${shape.name}`, path: '/front/chat/completions', no: undefined, key: false,
    })),
].map((shape) => ({ path: '/v1/chat/completions', headers: {}, ...shape }));
