/*
 * OpenCode, unmodified, with the configuration of README: it works on files with its own tools,
 * and what it sent is held against what reached the model.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { KEY, SLOW, startServer, waitFor } from './lib/server.mjs';
import { startOpenCode } from './lib/opencode.mjs';
import { essence, upstreamTool } from './lib/tools.mjs';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const WAIT = 60000 * SLOW;

const TITLE = 'Heliotrope copied';

const text = (value) => ({ type: 'text', text: value });
const call = (id, name, input) => ({ type: 'tool_use', id, name, input });
const result = (id, ...content) => ({ type: 'tool_result', tool_use_id: id, content });
const calls = (...list) => ({ tool_use: list.map(({ id, name, input }) => ({ id, name, input })) });

/* Chats have tools, titles and summaries have none. */
const isChat = ({ tools }) => Boolean(tools?.length);

const lastLine = ({ stdout }) => stdout.trimEnd().split('\n').at(-1);

let server;
let client;

before(async () => {
    server = await startServer({
        http: `client_body_in_file_only on;
               log_format opencode '$claude_process $status $http_x_session_id';
               access_log opencode.log opencode;`,
    });
    client = await startOpenCode(`${server.url}/v1`);
    client.write('in.txt', 'The secret word is heliotrope.\n');
    client.write('dot.png', Buffer.from(PNG, 'base64'));
});
after(async () => {
    await client?.end();
    await server?.end();
});

/* The bodies that OpenCode has sent, and the log's fields about them, in no certain order. */
function sent() {
    const dir = join(server.dir, 'temp', 'client_body');
    return readdirSync(dir).map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')));
}

const logged = () => readFileSync(join(server.dir, 'opencode.log'), 'utf8').split('\n').filter(Boolean)
    .map((line) => line.split(' '));

/* One `opencode run`: {status, stdout, stderr}, its log, and what reached the model. */
async function run(script, key, ...args) {
    const already = logged().length;
    server.stub.clear();
    server.stub.script(script);
    const answer = await client.run(key, ...args);
    const requests = server.stub.requests.map(essence);
    await waitFor('the log', () => logged().length >= already + Math.max(1, requests.length));
    return {
        ...answer,
        log: logged().slice(already),
        chats: requests.filter(isChat),
        others: requests.filter((body) => !isChat(body)),
    };
}

/* ---------------------------------------------------------------------------------------- */

describe('a task: read a file, write another', () => {
    let done;
    let read;
    let write;

    /* OpenCode does not wait for the title. It is to come in the midst, and to be there in the end. */
    const hasRead = () => server.stub.requests.some(({ body }) => JSON.stringify(body?.messages ?? '').includes('"tool_result"'));

    before(async () => {
        read = call('toolu_read', 'read', { filePath: client.path('in.txt') });
        write = call('toolu_write', 'write', { filePath: client.path('out.txt'), content: 'heliotrope\n' });
        done = await run([
            { match: 'Generate a title', text: TITLE, until: () => waitFor('the file to be read', hasRead, WAIT) },
            { match: 'Copy the word', text: 'I read it first.', ...calls(read) },
            { match: 'heliotrope', ...calls(write) },
            { match: 'Wrote file', text: 'The word is copied.', until: () => waitFor('the title', () => client.remembers(TITLE), WAIT) },
        ], KEY, 'Copy the word in in.txt to out.txt.');
    });

    test('it ends well, with the answer', () => {
        assert.equal(done.status, 0, done.stderr);
        assert.match(done.stdout, /^I read it first\.$/m);
        assert.equal(lastLine(done), 'The word is copied.');
        assert.match(done.stderr, /Read in\.txt[^]*Write out\.txt/);
    });

    test('the file is written', () => assert.equal(client.read('out.txt'), 'heliotrope\n'));

    test('the model has the calls as its own, and as their results what the tools said', () => {
        assert.equal(done.chats.length, 3);
        const [asked, ...steps] = done.chats.at(-1).messages;
        const { content: [{ content: [seen] }] } = steps[1];
        assert.match(asked.content[0].text, /Copy the word in in\.txt to out\.txt\./);
        assert.match(seen.text, /The secret word is heliotrope\./);
        assert.deepEqual(steps, [
            { role: 'assistant', content: [text('I read it first.'), read] },
            { role: 'user', content: [result('toolu_read', seen)] },
            { role: 'assistant', content: [write] },
            { role: 'user', content: [result('toolu_write', text('Wrote file successfully.'))] },
        ]);
    });

    test('the model has its tools: names, order, schemas, descriptions of thousands of letters', () => {
        const bodies = sent().filter(isChat);
        assert.equal(bodies.length, 3);
        const tools = bodies[0].tools.map(({ type, function: { name, description, parameters } }) => ({ type, function: { name, description, parameters } }));
        for (const name of ['bash', 'edit', 'glob', 'grep', 'read', 'write']) {
            assert.ok(tools.some((tool) => tool.function.name === name), name);
        }
        assert.ok(tools.some((tool) => tool.function.description.length > 4096), 'one is longer than the CLI lets an MCP tool\'s be');
        for (const { tools: got } of done.chats) assert.deepEqual(got, tools.map(upstreamTool));
    });

    test('the model has its system prompt, and nothing of another in place of it', () => {
        const [{ content }] = sent().find(isChat).messages;
        for (const { system: blocks } of done.chats) assert.deepEqual(blocks.at(-1), text(content));
    });

    test('the process that waits takes the results', () => {
        const rungs = done.log.map(([rung]) => rung);
        assert.equal(rungs.filter((rung) => rung === 'live').length, 2, rungs.join(' '));
        assert.deepEqual(done.log.map(([, status]) => status), ['200', '200', '200', '200']);
    });

    test('the title comes in between, in the same session, and stays by itself', () => {
        assert.equal(new Set(done.log.map(([, , session]) => session)).size, 1);
        assert.match(done.log[0][2], /^ses_/);
        assert.equal(done.others.length, 1);
        const [{ messages }] = done.others;
        assert.deepEqual(messages.map(({ role }) => role), ['user']);
        assert.match(messages[0].content[0].text, /Generate a title/);
        assert.ok(done.chats.every((chat) => !JSON.stringify(chat).includes('Generate a title')));
        assert.ok(client.remembers(TITLE), 'OpenCode has taken it');
    });

    test('nothing but nginx was asked for anything', () => assert.deepEqual(client.asked(), []));
});

describe('the session goes on', () => {
    let done;
    let edit;
    let bash;

    before(async () => {
        edit = call('toolu_edit', 'edit', { filePath: client.path('out.txt'), oldString: 'heliotrope', newString: 'mauve' });
        bash = call('toolu_bash', 'bash', { command: 'sort -r in.txt', description: 'Sorts the file' });
        done = await run([
            { match: 'Make it mauve', thinking: 'I wonder about mauve.', ...calls(edit, bash) },
            { match: 'applied', text: 'A look at the picture.', ...calls(call('toolu_png', 'read', { filePath: client.path('dot.png') })) },
            { match: 'media', text: 'Now it is mauve.' },
        ], KEY, '--continue', '--variant', 'high', '--thinking', 'Make it mauve.');
    });

    test('it ends well, and the file is edited', () => {
        assert.equal(done.status, 0, done.stderr);
        assert.equal(lastLine(done), 'Now it is mauve.');
        assert.equal(client.read('out.txt'), 'mauve\n');
    });

    test('two calls at once have their own results, after all that went before', () => {
        const { messages } = done.chats[1];
        assert.equal(messages.length, 9);
        assert.deepEqual(messages[5], { role: 'assistant', content: [text('The word is copied.')] });
        assert.match(messages[6].content[0].text, /Make it mauve\./);
        assert.deepEqual(messages[7].content.slice(1), [edit, bash]);
        const { content: [edited, sorted] } = messages[8];
        assert.equal(edited.tool_use_id, 'toolu_edit');
        assert.match(edited.content[0].text, /applied/);
        assert.deepEqual(sorted, result('toolu_bash', text('The secret word is heliotrope.\n')));
    });

    test('it has the effort that it asks for, and shows what the model thinks', () => {
        assert.ok(done.chats.every(({ output_config: { effort } }) => effort === 'high'));
        assert.match(done.stdout, /Thinking: I wonder about mauve\./);
        const [{ type, thinking, signature }] = done.chats[1].messages[7].content;
        assert.deepEqual([type, thinking], ['thinking', 'I wonder about mauve.']);
        assert.ok(signature, 'as the model\'s own, in the turn that it is of');
    });

    test('in the same process', () => assert.deepEqual(done.log.slice(0, 2), [0, 1].map(() => ['live', '200', done.log[0][2]])));

    test('a picture that it reads is a picture for the model', () => {
        const pictures = done.chats.at(-1).messages.at(-1).content.filter(({ type }) => type === 'image');
        assert.deepEqual(pictures.map(({ source }) => source), [{ type: 'base64', media_type: 'image/png', data: PNG }]);
    });
});

describe('errors', () => {
    test('a conversation that is too long is made shorter, and goes on', async () => {
        const done = await run([
            { match: 'Make it red', status: 400, message: 'prompt is too long: 250000 tokens > 200000 maximum' },
            { match: 'conversation so far', text: '## Objective\n- a red word' },
            { text: 'It is shorter now.', times: 2 },
        ], KEY, '--continue', 'Make it red.');
        assert.equal(lastLine(done), 'It is shorter now.');
        assert.deepEqual(done.log[0].slice(0, 2), ['live', '400']);
        const { messages } = done.chats.at(-1);
        assert.deepEqual(messages.find(({ role }) => role === 'assistant').content, [text('## Objective\n- a red word')]);
    });

    test('a wrong key is told, and not tried again', async () => {
        const done = await run([], 'sk-wrong', 'Hello?');
        assert.equal(done.status, 1);
        assert.match(done.stderr, /Error: Incorrect API key provided/);
        assert.ok(done.log.length <= 2, 'one chat, one title');
        assert.ok(done.log.every(([, status]) => status === '401'));
    });
});
