/*
 * The table "Levels of isolation" of docs/security.md, line by line: an agent of one key tries to
 * read, list, search, write, kill and message what another key has, with all the tools that the level
 * leaves it. What the table says can be reached is tried just so, that it tells the truth there, too.
 *
 * Where bubblewrap, or a user namespace for this user, is not to be had, the levels that need it are
 * skipped.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KEY, OTHER_KEY, ROOT, isAlive, waitFor } from './lib/server.mjs';
import { NO_BOX, USER, give, ownHome, writeBox } from './lib/box.mjs';
import { logged, startEngine } from './lib/engine.mjs';
import { user } from './lib/upstream.mjs';

const DEFAULTS = 'claude_warm 0; claude_max_concurrent 4; claude_max_processes 12;';
const LOGIN = 'login-of-this-server';

const FILES = 'Read Grep Glob Edit Write NotebookEdit Agent';
const ALLOWED = `claude_args --allowedTools ${FILES.replaceAll(' ', ',')},Bash,SendMessage,ListAgents,EnterWorktree,WebFetch`;

const NAMED = `claude_tools ${FILES} Bash;`;

/* ---------------------------------------------------------------------------------------- */
/* The table                                                                                 */
/* ---------------------------------------------------------------------------------------- */

/* Lines of the page's table: {what: [level 1, level 2, …]}, true for what can be reached. */
function readTable() {
    const text = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
    const [, table] = /\n## Levels of isolation\n[^]*?\n(\|[^]*?)\n\n/.exec(text) ?? [];
    assert.ok(table, 'docs/security.md has the table');
    return Object.fromEntries(table.split('\n').slice(2).map((line) => {
        const [what, ...cells] = line.split('|').slice(1, -1).map((cell) => cell.trim());
        return [what, cells.map((cell) => {
            assert.match(cell, /^(no|yes)\b/, `${what}: ${cell}`);
            return cell.startsWith('yes');
        })];
    }));
}

const TABLE = readTable();

/*
 * Ways to what a line of the table names: [tool, input, reached]. reached is what a result has in it
 * that got there, or asks the system. w: where all is; see World.
 */
const WAYS = {
    "another key's transcripts": (w) => [
        ['Read', { file_path: w.transcript }, /words of two/],
        ['Read', { file_path: `../two/../../keys/two/projects/${w.transcript.split('/').slice(-2).join('/')}` }, /words of two/],
        ['Read', { file_path: join(w.work, 'link-to-keys', 'two', w.transcript.split('/keys/two/')[1]) }, /words of two/],
        ['Read', { file_path: `/proc/self/root${w.transcript}` }, /words of two/],
        ['Grep', { pattern: 'words.of.t', path: w.state, output_mode: 'content' }, /words of two/],
        ['Grep', { pattern: 'words.of.t', path: join(w.work, 'link-to-keys'), output_mode: 'content' }, /words of two/],
        ['Glob', { pattern: '**/*.jsonl', path: join(w.state, 'keys') }, /keys\/two\/.*jsonl/],
        ['Glob', { pattern: `${w.state}/keys/**/*.jsonl` }, /keys\/two\/.*jsonl/],
        ['Write', { file_path: join(w.state, 'keys/two/settings.json'), content: '{}' }, () => existsSync(join(w.state, 'keys/two/settings.json'))],
        ['Agent', { description: 'x', prompt: 'go below', subagent_type: 'general-purpose' }, /words of two/,
            { name: 'Read', input: { file_path: w.transcript } }],
        ['Bash', { command: `sh -c 'cat ${w.state}/ke*/two/projects/*/*.jsonl'` }, /words of two/],
        ['Bash', { command: `cat ${w.transcript}; ls -a ${w.state}/keys/two` }, /words of two|\.claude\.json/],
        ['Bash', { command: `grep -rsh 'words.of.t' ${w.state} /proc/[0-9]*/root${w.state}/keys` }, /words of two/],
    ],
    "another key's working directory": (w) => [
        ['Read', { file_path: join(w.state, 'work/two/file.txt') }, /file of two/],
        ['Read', { file_path: '../two/file.txt' }, /file of two/],
        ['Read', { file_path: join(w.work, 'link-to-two/file.txt') }, /file of two/],
        ['Read', { file_path: `/proc/${w.victim}/cwd/file.txt` }, /file of two/],
        ['Grep', { pattern: 'file of', path: join(w.state, 'work'), output_mode: 'content' }, /file of two/],
        ['Glob', { pattern: '*', path: join(w.state, 'work/two') }, /file\.txt/],
        ['Read', { file_path: '/proc/self/cwd/../two/file.txt' }, /file of two/],
        ['Grep', { pattern: 'file of', glob: '../two/*', output_mode: 'content' }, /file of two/],
        ['Grep', { pattern: 'file of', path: '..', glob: '{one,two}/*.txt', output_mode: 'content' }, /file of two/],
        ['Glob', { pattern: '../two/*' }, /two\/file\.txt/],
        ['Glob', { pattern: `{x,${w.state}/work/*/*}` }, /two\/file\.txt/],
        ['Edit', { file_path: join(w.state, 'work/two/file.txt'), old_string: 'of two', new_string: 'of one' }, () => edited(w)],
        ['NotebookEdit', { notebook_path: join(w.state, 'work/two/book.ipynb'), new_source: 'of one', cell_id: 'a', cell_type: 'code', edit_mode: 'replace' }, () => edited(w)],
        ['Write', { file_path: join(w.state, 'work/two/written.txt'), content: 'x' }, () => existsSync(join(w.state, 'work/two/written.txt'))],
        ['Write', { file_path: join(w.work, 'link-to-two/linked.txt'), content: 'x' }, () => existsSync(join(w.state, 'work/two/linked.txt'))],
        ['EnterWorktree', { path: join(w.state, 'work/two') }, /entered|switched/i],
        ['Bash', { command: 'cat ../two/file.txt' }, /file of two/],
        ['Bash', { command: `cat /proc/${w.victim}/cwd/file.txt` }, /file of two/],
        ['Bash', { command: `echo x > ${w.state}/work/two/commanded.txt` }, () => existsSync(join(w.state, 'work/two/commanded.txt'))],
    ],
    "another key's processes": (w) => [
        ['Bash', { command: `test -d /proc/${w.victim} && tr '\\0' ' ' < /proc/${w.victim}/cmdline` }, /stream-json/],
        ['Bash', { command: `kill -0 ${w.victim} && echo it may` }, /it may/],
        ['Bash', { command: `: < /proc/${w.victim}/mem && echo it opens` }, /it opens/],
        ['Bash', { command: `: > /proc/${w.victim}/fd/0 && echo it writes` }, /it writes/],
    ],
    "another key's environment": (w) => [
        ['Read', { file_path: `/proc/${w.victim}/environ` }, /keys\/two/],
        ['Read', { file_path: join(w.work, `link-to-proc/${w.victim}/environ`) }, /keys\/two/],
        ['Bash', { command: `tr '\\0' '\\n' < /proc/${w.victim}/environ` }, /keys\/two/],
        ['Bash', { command: "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep CONFIG_DIR" }, /keys\/two/],
    ],
    "another key's session, by `SendMessage`": (w) => [
        ['ListAgents', {}, /Peer sessions|reachable: /],
        ['SendMessage', { to: `uds:/tmp/cc-socks/${w.victim}.sock`, summary: 'x', message: 'words of an attacker' }, () => w.attacked()],
        ['Bash', { command: `ls /tmp/cc-socks/${w.victim}.sock` }, /^"\/tmp/],
    ],
    'the login, in the environment': () => [
        ['Read', { file_path: '/proc/self/environ' }, new RegExp(LOGIN)],
        ['Bash', { command: 'env; cat /proc/[0-9]*/environ' }, new RegExp(LOGIN)],
    ],
    'the login, in a file': (w) => [
        ['Read', { file_path: join(w.home, '.claude/.credentials.json') }, /login in a file/],
        ['Grep', { pattern: 'login in', path: w.home, output_mode: 'content' }, /login in a file/],
        ['Bash', { command: `sh -c 'cat ${w.home}/.cl*/.cred*'` }, /login in a file/],
    ],
    'other files of the workers\' user': (w) => [
        ['Read', { file_path: join(w.home, 'other.txt') }, /file of the user/],
        ['Write', { file_path: join(w.home, 'written.txt'), content: 'x' }, () => existsSync(join(w.home, 'written.txt'))],
        ['Bash', { command: `cat ${w.home}/other.txt` }, /file of the user/],
    ],
    'addresses of the server, this one\'s too': (w) => [
        ['WebFetch', { url: `http://127.0.0.1:${w.port}/health`, prompt: 'x' }, /"?status"?/],
        ['Bash', { command: `exec 3<>/dev/tcp/127.0.0.1/${w.port} && echo it connects` }, /it connects/],
    ],
};

/* ---------------------------------------------------------------------------------------- */

let tags = 0;

const NOTEBOOK = JSON.stringify({
    cells: [{ cell_type: 'code', id: 'a', source: 'cell of two', metadata: {}, outputs: [], execution_count: null }],
    metadata: { language_info: { name: 'python' } }, nbformat: 4, nbformat_minor: 5,
});

const edited = ({ state }) => ['file.txt', 'book.ipynb'].some((name) => readFileSync(join(state, 'work/two', name), 'utf8').includes('of one'));

/* A server, and in it a key that has words, files and a process; agent: what its location has. */
async function startWorld(agent) {
    const short = mkdtempSync('/var/tmp/lv-');        /* sockets of the sandbox lie below it; boxes have a /tmp of their own */
    chmodSync(short, 0o755);
    const state = join(short, 'state');
    const server = await startEngine({
        workers: 1,
        user: USER,
        env: { ANTHROPIC_API_KEY: LOGIN, PATH: '/usr/local/bin:/usr/bin:/bin' },
        http: `${DEFAULTS} claude_state_path ${state};`,
        server: `include agent.conf; location /victim/ { claude_openai; ${NAMED} ${ALLOWED}; }
            location /bypass/ { claude_openai; claude_tools Read; claude_permission_mode bypassPermissions; }`,
        prepare: (dir) => {
            mkdirSync(join(dir, 'home/.claude'));
            writeFileSync(join(dir, 'home/.claude/.credentials.json'), '{"x":"login in a file"}');
            writeFileSync(join(dir, 'home/other.txt'), 'file of the user\n');
            ownHome(dir);
            writeFileSync(join(dir, 'agent.conf'), `location /agent/ { claude_openai; ${agent(dir, state)}; }`);
        },
    });

    const end = async () => {
        await server.end();
        rmSync(short, { recursive: true, force: true });
    };
    return { server, end, fill: () => fillWorld(server, state) };
}

/* The other key's things, and what this one could have put there itself. */
async function fillWorld(server, state) {
    /* the other key: a named session of an agent, whose process waits for more */
    const victim = await turn(server, 'words of two', { path: '/victim/', key: OTHER_KEY });
    const projects = join(state, 'keys/two/projects');
    const file = await waitFor('its transcript', () => existsSync(projects)
        && readdirSync(projects, { recursive: true }).find((name) => name.endsWith('.jsonl')));
    put(join(state, 'work/two/file.txt'), 'file of two\n');
    put(join(state, 'work/two/book.ipynb'), NOTEBOOK);

    /* this one's directory is there once it has a process; what it could have put there itself */
    const session = randomUUID();
    await turn(server, 'hello', { path: '/agent/', session });
    const work = join(state, 'work/one');
    put(join(work, 'file.txt'), 'file of one\n');
    for (const [name, target] of [['keys', join(state, 'keys')], ['two', join(state, 'work/two')], ['proc', '/proc']]) {
        symlinkSync(target, join(work, `link-to-${name}`));
    }
    return {
        server, session, state, work, victim: victim.pid, home: join(server.dir, 'home'), port: server.port,
        transcript: join(projects, file),
        attacked: () => server.stub.requests.some(({ body: { messages } }) => (
            JSON.stringify(messages[0]).includes('words of two') && JSON.stringify(messages).includes('words of an attacker'))),
    };
}

function put(path, text) {
    writeFileSync(path, text);
    give(path);
}

async function turn(server, text, { path, key = KEY, session = randomUUID() } = {}) {
    const tag = `level${++tags}`;
    const known = new Set((await server.status()).processes.map(({ pid }) => pid));
    const answer = await server.request('POST', `${path}chat/completions`, {
        key, headers: { 'x-tag': tag, 'x-session-id': session }, body: { model: 'sonnet', messages: [user(text)] },
    });
    assert.equal(answer.status, 200, answer.text + server.log());
    await logged(server, tag);
    return { pid: (await server.status()).processes.find(({ pid }) => !known.has(pid))?.pid };
}

/* The model uses a tool, or an agent below does. What it was told of it. One session: one process. */
async function use({ server, session, path = '/agent/' }, [name, input, , below], at = { path, session }) {
    const word = `use-${++tags}`;
    const id = `toolu_${tags}`;
    server.stub.clear();
    server.stub.script([
        { match: word, times: 1, tool_use: [{ id, name, input }], stop_reason: 'tool_use' },
        ...(below ? [{ match: 'go below', times: 1, tool_use: [{ id: `${id}b`, ...below }], stop_reason: 'tool_use' }] : []),
    ]);
    await turn(server, word, at);
    const told = server.stub.requests.flatMap(({ body }) => body.messages).flatMap(({ content }) => content)
        .filter((block) => block.type === 'tool_result' && block.tool_use_id.startsWith(id));
    assert.ok(told.length > 0, `${name} has no result`);
    return told.map(({ content }) => JSON.stringify(content)).join('\n');
}

/* All lines of the table at one level; each says how it was reached, or that no way leads there. */
function hold(level, agent) {
    const column = level - 1;

    describe(`level ${level}`, { skip: level > 2 && NO_BOX }, () => {
        let world;

        let end;

        before(async () => {
            const started = await startWorld(agent);
            ({ end } = started);
            world = await started.fill();
        });
        after(() => end?.());

        test('the agent works in its own directory', async () => {
            assert.match(await use(world, ['Read', { file_path: join(world.work, 'file.txt') }]), /file of one/);
            const bash = await use(world, ['Bash', { command: 'echo x > own.txt && cat file.txt' }]);
            if (level === 1) assert.match(bash, /No such tool available/);
            else assert.match(bash, /^"file of one/);
        });

        for (const [what, cells] of Object.entries(TABLE)) {
            test(`${what}: ${cells[column] ? 'yes' : 'no'}`, async () => {
                assert.ok(WAYS[what], 'the suite knows a way');
                const reached = [];
                for (const way of WAYS[what](world)) {
                    const told = await use(world, way);
                    const [name, input, got] = way;
                    if (typeof got === 'function' ? got() : got.test(told)) reached.push(`${name} ${JSON.stringify(input)}: ${told.slice(0, 200)}`);
                }
                if (cells[column]) assert.ok(reached.length > 0, 'the page says that it can be reached');
                else assert.deepEqual(reached, []);
            });
        }

        if (level === 2) test('so is one with all permissions, but for what is denied by name', async () => {
            const read = (path) => use(world, ['Read', { file_path: path }], { path: '/bypass/' });
            assert.match(await read(join(world.state, 'work/two/file.txt')), /file of two/);
            assert.match(await read(world.transcript), /denied by your permission settings/);
            assert.match(await read(join(world.home, '.claude/.credentials.json')), /denied by your permission settings/);
        });

        test('the other key has lost nothing', async () => {
            assert.ok(isAlive(world.victim));
            assert.equal(readFileSync(join(world.state, 'work/two/file.txt'), 'utf8'), 'file of two\n');
        });
    });
}

test('the table and the suite have the same lines', () => {
    assert.deepEqual(Object.keys(TABLE), Object.keys(WAYS));
});

hold(1, () => `claude_tools default; ${ALLOWED}`);

hold(2, () => `${NAMED} ${ALLOWED}`);

hold(3, () => `${NAMED} ${ALLOWED}; claude_sandbox on`);

/* The recipe, as it stands there; the CLI is the one of the tests. */
hold(4, (dir, state) => {
    const box = writeBox(dir, process.env.TEST_CLAUDE_BINARY, dirname(state));
    return `${NAMED} ${ALLOWED}; claude_binary ${box}; claude_sandbox external`;
});

/*
 * Nor what is around the working directory: that may be a directory in a repository, a worktree of
 * which would have all of it.
 */
describe('a working directory in a repository', () => {
    const below = { name: 'Read', input: { file_path: 'outside.txt' } };
    const agent = { description: 'x', prompt: 'go below', subagent_type: 'general-purpose', isolation: 'worktree' };
    let world;
    let repository;

    before(async () => {
        const server = await startEngine({
            workers: 1,
            user: USER,
            http: `${DEFAULTS} claude_working_directory repository/here;`,
            server: `location /agent/ { claude_openai; claude_tools default; ${ALLOWED}; }
                location /worktrees/ { claude_openai; claude_tools Read Agent EnterWorktree; ${ALLOWED}; }`,
            prepare: (dir) => {
                repository = join(dir, 'repository');
                makeRepository(repository);
                ownHome(dir);
            },
        });
        world = { server, session: randomUUID() };
    });
    after(() => world?.server.end());

    test('an agent below has none outside of it', async () => {
        const told = await use(world, ['Agent', agent, , below]);
        assert.match(told, /WorktreeCreate hook failed/);
        assert.doesNotMatch(told, /file of the repository/);
        assert.ok(!existsSync(join(repository, '.claude')));
    });

    test('but where the operator names the tool for it', async () => {
        assert.match(await use({ ...world, session: randomUUID(), path: '/worktrees/' }, ['Agent', agent, , below]), /file of the repository/);
    });
});

function makeRepository(dir) {
    const git = (...args) => execFileSync('git', ['-C', dir, '-c', 'user.name=x', '-c', 'user.email=x', ...args]);
    mkdirSync(join(dir, 'here'), { recursive: true });
    put(join(dir, 'outside.txt'), 'file of the repository\n');
    git('init', '-q');
    git('add', 'outside.txt');
    git('commit', '-qm', 'x');
    for (const name of ['.', ...readdirSync(dir, { recursive: true })]) give(join(dir, name));
}
