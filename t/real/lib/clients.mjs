/*
 * For suites about clients that are not ours: each runs against an nginx of the suites and against
 * what `./build.sh demo` serves, and what reached the model is looked at.
 */

import { after, before, beforeEach, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startDemo } from './demo.mjs';
import { KEY, startServer } from './server.mjs';

export const WEATHER = 'Weather of a city.';
export const ADA = { name: 'Ada', age: 36 };

/* The server of the moment: {address, key, stub, end()}. */
export let server;

export const calls = (...list) => ({ tool_use: list.map(([id, name, input]) => ({ id, name, input })) });

export const requests = async () => (await server.stub.requests).map(({ body }) => body);
export const last = async () => (await requests()).at(-1);

/* The results that the model was given, as [id, text]. */
export const results = (body) => body.messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content))
    .filter(({ type }) => type === 'tool_result')
    .map(({ tool_use_id: id, content }) => [id, typeof content === 'string' ? content : content.map(({ text }) => text).join('')]);

/* The tool has the client's name, description and a schema with its field, and nothing beside it. */
export async function sawTool(name, description, field) {
    const { tools } = await last();
    assert.deepEqual(tools.map((t) => [t.name, t.description]), [[name, description]]);
    assert.deepEqual(Object.keys(tools[0].input_schema.properties), [field]);
    assert.deepEqual(tools[0].input_schema.required, [field]);
}

/* The schema went as the API's own constrained output, not as words or a tool. */
export async function sawFormat() {
    const { output_config: { format }, tools } = await last();
    assert.equal(format.type, 'json_schema');
    assert.deepEqual(Object.keys(format.schema.properties), ['name', 'age']);
    assert.equal(format.schema.additionalProperties, false);
    assert.ok(!tools?.length);
}

const SERVERS = {
    'nginx of the suites': async () => {
        const own = await startServer();
        return Object.assign(own, { address: `${own.url}/v1`, key: KEY });
    },
    './build.sh demo': startDemo,
};

export function describeClient(tests) {
    for (const [name, start] of Object.entries(SERVERS)) {
        describe(name, () => {
            before(async () => { server = await start(); }, { timeout: 160000 });
            after(() => server?.end());
            beforeEach(() => server.stub.clear());
            tests();
        });
    }
}
