/* The models that the CLI itself lists, beside the mapped names. */

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { SLOW, startServer, waitFor } from './lib/server.mjs';
import { only, user } from './lib/upstream.mjs';

let server;

before(async () => {
    server = await startServer({ http: 'claude_warm 0;', server: 'claude_model_map gpt-4o sonnet;' });
});
after(() => server?.end());

const list = async () => (await server.request('GET', '/v1/models')).json.data.map(({ id }) => id);

test('before a CLI has been asked: the aliases and the mapped names', async () => {
    assert.deepEqual(await list(), ['sonnet', 'opus', 'haiku', 'gpt-4o']);
    assert.equal((await server.chat({ model: 'fable', messages: [user('hi')] })).status, 404);
});

test('then what it lists, in all workers, each once, and not its default', async () => {
    await server.chat({ messages: [user('hi')] });
    for (let i = 0; i < 8; i++) {
        const names = await list();
        assert.deepEqual(names.slice(0, 3), ['sonnet', 'opus', 'haiku']);
        assert.ok(names.includes('claude-sonnet-5-5'), names.join());
        assert.ok(names.includes('fable') && names.includes('claude-fable-5-2'), names.join());
        assert.equal(names.at(-1), 'gpt-4o');
        assert.equal(new Set(names).size, names.length);
        assert.ok(!names.includes('default'));
    }
    assert.equal(server.stub.requests.length, 1, 'nothing is asked of the provider for it');
});

test('an alias of the CLI alone is a model like any other', async () => {
    assert.equal((await server.request('GET', '/v1/models/fable')).json.id, 'fable');
    server.stub.clear();
    const { json } = await server.chat({ model: 'fable', messages: [user('hi')] });
    assert.equal(json.choices[0].message.content, 'echo: hi');
    assert.equal(only(server.stub).body.model, 'claude-fable-5-2');
});

test('they outlive a reload', async () => {
    const old = server.workers();
    server.nginx.kill('SIGHUP');
    await waitFor('new workers', () => server.workers().every((pid) => !old.includes(pid)), 10000 * SLOW);
    assert.ok((await list()).includes('fable'));
});
