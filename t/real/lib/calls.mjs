/*
 * How often the model is called for a question: kinds of turns after which a CLI goes on by itself,
 * and circumstances that might let it. For the suite of the gate and for its soak.
 */

import { randomUUID } from 'node:crypto';
import { SLOW, sleep, startServer } from './server.mjs';
import { assistant, scripted, user, wireOf } from './upstream.mjs';
import { functionTool, toolMessage } from './tools.mjs';
import { ask, endIdle } from './engine.mjs';

const PROCESSES = 16;

export async function startCalls({ workers, gate = true, http = '' }) {
    const server = await startServer({
        workers,
        listen: 'reuseport',
        http: `claude_warm 0; claude_max_concurrent 8; claude_max_processes ${PROCESSES}; ${gate ? '' : 'claude_gate_path off;'} ${http}`,
    });
    server.wire = wireOf(server.stub);
    server.told = [];        /* of each kind so far: {name, from, to, calls} */
    return server;
}

const TOOLS = ['look', 'seek'].map((name) => functionTool(name));
const SCHEMA = {
    type: 'json_schema',
    json_schema: { name: 's', strict: true, schema: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false } },
};

let marks = 0;
const question = (script, text = `question ${++marks} `) => user(scripted(script, text));
const called = (...names) => ({ tool_use: names.map((name) => ({ id: `toolu_${randomUUID().replaceAll('-', '')}`, name, input: { x: 'y' } })) });

/* One answer to a conversation: {status, message, finish, error}; each of its own connection, so of any worker. */
async function turn(server, { session, ...body }) {
    const { status, json } = await server.request('POST', '/v1/chat/completions',
        { body: { model: 'sonnet', ...body }, fresh: true, headers: session ? { 'x-session-id': session } : {} });
    const choice = json?.choices?.[0];
    return { status, message: choice?.message, finish: choice?.finish_reason, error: json?.error?.code };
}

const one = (body, finish) => async (server) => {
    const answer = await turn(server, typeof body === 'function' ? body() : body);
    return answer.status === 200 && answer.finish === finish ? null : JSON.stringify(answer);
};
const refused = (body, status) => async (server) => {
    const answer = await turn(server, body());
    return answer.status === status ? null : JSON.stringify(answer);
};

/* A conversation of so many rounds of tools and then an answer; each result after a wait. */
const rounds = (n, { names = ['look'], wait = 0 } = {}) => async (server) => {
    const messages = [question(called(...names))];
    for (let i = 0; i < n; i++) {
        const { message, finish, ...rest } = await turn(server, { messages, tools: TOOLS });
        if (finish !== 'tool_calls') return `round ${i}: ${JSON.stringify({ finish, ...rest })}`;
        await sleep(wait);
        const script = i + 1 < n ? called(...names) : { text: 'found' };
        const results = message.tool_calls.map(({ id }, j) => toolMessage(id, j ? 'r' : scripted(script, 'result ')));
        messages.push(message, ...results);
    }
    const { status, finish, message } = await turn(server, { messages, tools: TOOLS });
    return finish === 'stop' ? null : JSON.stringify({ status, finish, message });
};

const past = () => [1, 2, 3].flatMap((i) => [user(`past ${i} ${++marks}`), assistant(`answer ${i}`)]);

/*
 * name; run(server): null, or what was wrong; calls: of the model for it, with those in which the CLI
 * itself repeats what upstream has refused.
 */
export const KINDS = [
    { name: 'an answer', calls: 1, run: one(() => ({ messages: [question({ text: 'x' })] }), 'stop') },
    ...['max_tokens', 'model_context_window_exceeded'].map((stop) => ({
        name: `stops at ${stop}`, calls: 1,
        run: one(() => ({ messages: [question({ text: 'half an ans', stop_reason: stop })] }), 'length'),
    })),
    { name: 'max_tokens 1', calls: 1, run: one(() => ({ messages: [question({ text: 'x', stop_reason: 'max_tokens' })], max_tokens: 1 }), 'length') },
    { name: 'an empty answer', calls: 1, run: one(() => ({ messages: [question({ empty: true })] }), 'stop') },
    { name: 'breaks before it begins', calls: 1, run: refused(() => ({ messages: [question({ break_after: 0 })] }), 503) },
    { name: 'breaks after message_start', calls: 1, run: refused(() => ({ messages: [question({ text: 'x', break_after: 1 })] }), 503) },
    { name: 'breaks in the midst', calls: 1, run: refused(() => ({ messages: [question({ text: 'one two three', break_after: 4 })] }), 503) },
    { name: 'an error in the stream', calls: 1, run: refused(() => ({ messages: [question({ text: 'x', error_event: {} })] }), 503) },
    { name: 'a refusal', calls: 1, run: one(() => ({ messages: [question({ text: 'no', stop_reason: 'refusal' })] }), 'content_filter') },
    { name: 'pause_turn', calls: 1, run: one(() => ({ messages: [question({ text: 'x', stop_reason: 'pause_turn' })] }), 'length') },
    { name: 'a tool that does not exist', calls: 1, run: refused(() => ({ messages: [question(called('nonesuch'))], tools: TOOLS }), 502) },
    { name: 'a tool where none was offered', calls: 1, run: refused(() => ({ messages: [question(called('look'))] }), 502) },
    { name: 'a client\'s tool beside an unknown one', calls: 1, run: one(() => ({ messages: [question(called('look', 'nonesuch'))], tools: TOOLS }), 'tool_calls') },
    {
        name: 'arguments that do not parse', calls: 1,
        run: one(() => ({ tools: TOOLS, messages: [question({ blocks: [{ type: 'tool_use', id: `toolu_${++marks}`, name: 'look', input: {}, input_json_deltas: ['{"a": nonsense'] }], stop_reason: 'tool_use' })] }), 'tool_calls'),
    },
    { name: 'max_tokens within a call', calls: 1, run: one(() => ({ tools: TOOLS, messages: [question({ ...called('look'), stop_reason: 'max_tokens' })] }), 'length') },
    { name: 'a round of tools', calls: 2, run: rounds(1) },
    { name: 'two calls at once', calls: 2, run: rounds(1, { names: ['look', 'seek'] }) },
    { name: 'results that come late', calls: 2, run: rounds(1, { wait: 400 }) },
    { name: 'seven rounds without a word', calls: 8, run: rounds(7) },
    {
        name: 'calls, and the client does not go on', calls: 2,
        run: async (server) => {
            const first = question(called('look'));
            const called_ = await turn(server, { messages: [first], tools: TOOLS });
            if (called_.finish !== 'tool_calls') return JSON.stringify(called_);
            return one({ messages: [question({ text: 'x' })], tools: TOOLS }, 'stop')(server);
        },
    },
    { name: 'other tools each time', calls: 1, run: one(() => ({ messages: [question({ text: 'x' })], tools: TOOLS.slice(0, 1 + (++marks % 2)) }), 'stop') },
    { name: 'a history that is replayed', calls: 1, run: one(() => ({ messages: [...past(), question({ text: 'half', stop_reason: 'max_tokens' })] }), 'length') },
    {
        name: 'goes on, and is edited', calls: 3,
        run: async (server) => {
            const first = question({ text: 'one' });
            for (const messages of [[first], [first, assistant('one'), question({ text: 'two' })], [first, assistant('one'), question({ empty: true })]]) {
                const wrong = await one({ messages }, 'stop')(server);
                if (wrong) return wrong;
            }
            return null;
        },
    },
    {
        name: 'goes on after max_tokens', calls: 2,
        run: async (server) => {
            const first = question({ text: 'half', stop_reason: 'max_tokens' });
            return await one({ messages: [first] }, 'length')(server)
                ?? one({ messages: [first, assistant('half'), question({ text: 'x' })] }, 'stop')(server);
        },
    },
    { name: 'a full name of a model', calls: 1, run: one(() => ({ model: marks++ % 2 ? 'claude-opus-4-6' : 'claude-sonnet-5-5', messages: [question({ text: 'x' })] }), 'stop') },
    { name: 'an unknown full name', calls: 2, run: refused(() => ({ model: 'claude-nonesuch-9', messages: [question({ text: 'x' })] }), 404) },
    { name: 'structured output', calls: 1, run: one(() => ({ response_format: SCHEMA, messages: [question({ text: '{"a":"b"}' })] }), 'stop') },
    { name: 'thinking alone, up to the limit', calls: 1, run: one(() => ({ reasoning_effort: 'high', messages: [question({ blocks: [{ type: 'thinking', thinking: 'hm' }], stop_reason: 'max_tokens' })] }), 'length') },
    { name: 'a stop sequence that is ours to find', calls: 1, run: one(() => ({ stop: '\n\n', messages: [question({ deltas: ['one', '\n', '\n', 'two '], repeat: 20, gap_ms: 2 })] }), 'stop') },
    {
        name: 'the client leaves', calls: 1,
        run: async (server) => {
            const { left, status } = await ask(server, { messages: [question({ deltas: ['word '], repeat: 400, gap_ms: 5 })], leave: 'first' });
            return left || status === 200 ? null : `status ${status}`;
        },
    },
    ...[
        [404, 404, 2], [408, 400, 3], [409, 400, 3], [413, 413, 1], [429, 429, 3], [500, 503, 3], [529, 503, 3],
    ].map(([status, answer, calls]) => ({
        name: `upstream answers ${status}`, calls, run: refused(() => ({ messages: [question({ status, message: 'no', headers: { 'retry-after': '0' } })] }), answer),
    })),
    /* the third is not sent any more by a process that has sent it for two questions: each has its own */
    ...[400, 422].map((status) => ({
        name: `upstream answers ${status}`, calls: 3, run: refused(() => ({ session: randomUUID(), messages: [question({ status, message: 'no' })] }), 400),
    })),
    { name: 'the prompt is too long', calls: 1, run: refused(() => ({ messages: [question({ status: 400, message: 'prompt is too long: 300000 tokens > 200000 maximum' })] }), 400) },
];

/* The newest question of a call: those of one kind follow each other. */
const markOf = ({ text }) => Number([...text.matchAll(/question (\d+) /g)].at(-1)?.[1]);
const callsOf = ({ wire }, { from, to }) => wire.map(markOf).filter((mark) => mark > from && mark <= to).length;

/*
 * So many turns of a kind, a few at a time. {calls, want, wrong, first, ended}: the calls that the model
 * got for them, and how many they are to be; turns that went wrong, and how the first did; processes that
 * have ended.
 */
export async function turnsOf(server, kind, { turns, parallel }) {
    const gone = ({ spawned, evicted, processes }) => spawned - evicted - processes.length;
    const ended = gone(await server.status());
    const told = { name: kind.name, from: marks };
    let left = turns;
    let wrong = 0;
    let first;

    await Promise.all(Array.from({ length: parallel }, async () => {
        while (left-- > 0) {
            const what = await kind.run(server);
            if (!what) continue;
            wrong++;
            first ??= what;
        }
    }));
    await server.idle(20000 * SLOW);
    told.to = marks;
    told.calls = callsOf(server, told);
    server.told.push(told);
    return { calls: told.calls, want: kind.calls * turns, wrong, first, ended: gone(await server.status()) - ended };
}

/*
 * What the model was asked once the turns were over that asked, and what nobody has asked: a line each.
 * Ends the processes: what is left has nothing more to say.
 */
export async function lateCalls(server) {
    await endIdle(server);
    const late = server.told.map((told) => [told.name, callsOf(server, told) - told.calls]);
    const odd = server.wire.filter((call) => Number.isNaN(markOf(call))).length;
    return [...late, ['no question', odd]].filter(([, calls]) => calls).map(([name, calls]) => `${calls} calls of: ${name}`);
}
