/*
 * For suites about the client's tools: a client that calls them as OpenAI's do, and what reached
 * the model without what differs from call to call.
 */

import assert from 'node:assert/strict';
import { KEY } from './server.mjs';
import { scripted } from './upstream.mjs';

export const functionTool = (name, description = `what ${name} does`, parameters = {
    type: 'object', properties: { x: { type: 'string' } }, required: ['x'],
}) => ({ type: 'function', function: { name, description, parameters } });

/* What the API is to get of such a tool. */
export const upstreamTool = ({ function: { name, description, parameters } }) => ({
    name, description, input_schema: parameters,
});

/* The script of an answer that calls: calls are [id, name, input]. */
export const calling = (calls, more = {}) => scripted({
    tool_use: calls.map(([id, name, input = {}]) => ({ id, name, input })), ...more,
});

export const toolMessage = (id, content) => ({ role: 'tool', tool_call_id: id, content });

/* The message that a streaming client puts together of the deltas. */
export function gather(events) {
    const message = { role: 'assistant', content: null };
    for (const { choices } of events) {
        for (const { delta } of choices ?? []) {
            if (delta.content) message.content = (message.content ?? '') + delta.content;
            for (const { index, id, type, function: fn } of delta.tool_calls ?? []) {
                message.tool_calls ??= [];
                if (id !== undefined) {
                    assert.equal(index, message.tool_calls.length, 'the index is dense');
                    assert.equal(type, 'function');
                    assert.equal(fn.arguments, '');
                    message.tool_calls.push({ id, type, function: { name: fn.name, arguments: '' } });
                } else {
                    assert.equal(index, message.tool_calls.length - 1, 'pieces are of the last call');
                    message.tool_calls[index].function.arguments += fn.arguments;
                }
            }
        }
    }
    return message;
}

/*
 * One turn, streamed or whole: {status, error, message, finish, usage, rung, headers}. The rung is
 * that of the log, so the server has to be startEngine()'s.
 */
let tags = 0;

export async function converse(server, body, { key = KEY, streamed = true, logged, headers } = {}) {
    const tag = `tool${++tags}`;
    const answer = await server.chat({ ...body, stream: streamed }, { key, headers: { 'x-tag': tag, ...headers } });
    const out = { status: answer.status, error: answer.json?.error, headers: answer.headers };
    if (answer.status === 200 && streamed) {
        const { readStream } = await import('./server.mjs');
        const { events, error, done } = readStream(answer);
        Object.assign(out, { error, done, events });
        out.message = gather(events);
        out.finish = events.map(({ choices }) => choices?.[0]?.finish_reason).findLast(Boolean);
    } else if (answer.status === 200) {
        const [choice] = answer.json.choices;
        Object.assign(out, { message: choice.message, finish: choice.finish_reason, usage: answer.json.usage });
    }
    if (logged) out.rung = (await logged(server, tag)).rung;
    return out;
}

/* A body upstream without what the CLI may choose anew each time. */
export function essence({ body }) {
    const clean = (value) => JSON.parse(JSON.stringify(value, (name, v) => (name === 'cache_control' ? undefined : v)));
    const { metadata, system, ...rest } = body;
    return clean({
        ...rest,
        system: system.filter(({ text }) => !text.startsWith('x-anthropic-billing-header')),
        messages: body.messages.map(({ role, content }) => ({
            role,
            content: typeof content === 'string' ? [{ type: 'text', text: content }] : content,
        })),
    });
}
