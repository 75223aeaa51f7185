/*
 * What has a meaning is answered, however much it is: 100,000 messages, parts, calls, 10,000 tools,
 * through a stand-in for the CLI. What they cost nginx until the answer is linear, too. And what
 * waits for its turn is held as its turn, without all that the body said besides.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kilobytes, startMeasured } from '../lib/measure.mjs';
import { chat, whole } from '../lib/shapes.mjs';
import { TRIES } from './lib/linear.mjs';
import { ROOT, SANITIZED, SLOW, waitFor, withServer } from './lib/server.mjs';

/*
 * CPU (ns) and memory of a byte. A message of the user's that is replayed costs the CLI's answer to
 * it, some 15 µs, as short as it may be.
 */
const CPU = 600 * (SANITIZED ? 20 : 1);
const MEMORY = SANITIZED ? Infinity : 16;
const TIMES_MORE = 3;                                    /* twice as many take less than that */
const MANY = 100000 / (SANITIZED ? 10 : 1);

describe('until the answer', { concurrency: 1 }, () => {
    const rows = [];
    let answering;

    before(async () => {
        answering = await startMeasured({ http: 'claude_max_concurrent 1; claude_max_processes 2; claude_queue 0;' });
        for (const make of Object.values(whole)) await answering.measure({ path: '/v1/chat/completions' }, Buffer.from(make(20)));
    });
    after(async () => {
        for (const row of rows) console.log(`# ${row}`);
        await answering?.end();
    });

    async function answered(make, n) {
        const body = Buffer.from(make(n));
        const spent = await answering.measure({ path: '/v1/chat/completions' }, body);
        assert.equal(spent.runaway, undefined, `${n}: the worker was ended: ${spent.runaway}`);
        assert.equal(spent.status, 200, `${n}: ${spent.status} ${spent.text.slice(-300)}`);
        return { ...spent, length: body.length };
    }

    /* Both again while the ratio is too much: the first of a kind grows what later ones find. */
    for (const [name, make] of Object.entries(whole)) {
        test(`${name}: ${name === 'tools' ? MANY / 10 : MANY} of them are answered`, async () => {
            let ratio = Infinity;
            for (let i = 0; i < TRIES && ratio > TIMES_MORE; i++) {
                const half = await answered(make, MANY / 2);
                const all = await answered(make, MANY);
                ratio = all.cpu / half.cpu;
                rows.push(`${name.padEnd(54)} ${[half, all].map(({ cpu, memory, length }) => `${(cpu / length).toFixed(1)} ns ${(memory / length).toFixed(1)} B`.padStart(18)).join('')}`);
                assert.ok(all.cpu / all.length < CPU, `${(all.cpu / all.length).toFixed(1)} ns of CPU a byte, ${CPU} allowed`);
                assert.ok(all.memory / all.length < MEMORY, `${(all.memory / all.length).toFixed(1)} bytes a byte, ${MEMORY} allowed`);
            }
            assert.ok(ratio < TIMES_MORE, `twice as many take ${ratio.toFixed(2)} times the CPU`);
        });
    }
});

/* What is held back for a stop sequence is not looked through again for each byte that follows. */
test('an answer that is a stop sequence but for its end, again and again', async () => {
    const MEANT = 800000 / (SANITIZED ? 10 : 1);
    const writing = await startMeasured({ claude: join(ROOT, 't/bin/claude') });
    const space = (n) => ' '.repeat(n);
    await withServer(writing, async () => {
        for (const [delta, repeat, stop] of [
            [space(1000), MEANT / 1000, `${space(60000)}\t`],
            [`${space(1000)}\t${space(1001)}`, Math.floor(MEANT / 2002), `${space(1000)}\t${space(1000)}\n`],
        ]) {
            const content = `[[fake ${JSON.stringify({ deltas: [delta], repeat })}]]`;
            const body = Buffer.from(JSON.stringify({ model: 'sonnet', stop, messages: [{ role: 'user', content }] }));
            const spent = await writing.measure({ path: '/v1/chat/completions' }, body);
            assert.equal(spent.runaway, undefined, `the worker was ended: ${spent.runaway}`);
            assert.equal(spent.status, 200, spent.text.slice(-300));
            const cpu = spent.cpu / (delta.length * repeat + body.length);
            console.log(`# white space and a stop sequence of ${stop.length}: ${cpu.toFixed(1)} ns`);
            assert.ok(cpu < CPU, `${cpu.toFixed(1)} ns of CPU a byte of the answer, ${CPU} allowed`);
        }
    });
});

/* What a call's arguments have outgrown is given back without a look at all the others. */
test('an answer of many calls', async () => {
    const calls = 10000 / (SANITIZED ? 10 : 1);
    const dir = mkdtempSync(join(process.env.TEST_NGINX_SERVROOT || tmpdir(), 'calls-'));
    const script = join(dir, 'script.json');
    const tool_use = Array.from({ length: calls }, (_, i) => ({ id: `toolu_${i}`, name: 'look', input: { a: 'x'.repeat(1100) } }));
    const answer = JSON.stringify({ turn: { text: '', tool_use } });
    writeFileSync(script, answer);
    const calling = await startMeasured({ claude: join(ROOT, 't/bin/claude'), http: `claude_env FAKE_CLAUDE_FILE=${script};` });
    try {
        const body = Buffer.from(chat('"tools":[{"type":"function","function":{"name":"look"}}]'));
        const spent = await calling.measure({ path: '/v1/chat/completions' }, body);
        assert.equal(spent.runaway, undefined, `the worker was ended: ${spent.runaway}`);
        assert.equal(spent.text.match(/"id":"toolu_/g)?.length, calls, spent.text.slice(0, 300));
        const cpu = spent.cpu / answer.length;
        console.log(`# ${calls} calls: ${cpu.toFixed(1)} ns`);
        assert.ok(cpu < CPU / 5, `${cpu.toFixed(1)} ns of CPU a byte of the answer, ${CPU / 5} allowed`);
    } finally {
        await calling.end();
        rmSync(dir, { recursive: true });
    }
});

/* A body that waits for its turn is held as its turn: what it said besides is gone. */
test('twenty turns that wait: no more than 3 bytes of memory for a byte of their bodies', async () => {
    const WAITING = 20;
    const waiting = await startMeasured({ http: `claude_max_concurrent 1; claude_max_processes 1; claude_queue ${WAITING + 10} timeout=10m;` });
    await withServer(waiting, async () => {
        await waiting.hold();
        const body = Buffer.from(chat(`"metadata":[${'0,'.repeat(990000)}0]`));
        const before = kilobytes(waiting.pid, 'VmRSS');
        for (let i = 1; i <= WAITING; i++) {
            waiting.held.push(waiting.send('/v1/chat/completions', body));
            await waitFor(`${i} turns to wait`, async () => (await waiting.status()).turns.waiting === i, 20000 * SLOW);
        }
        const grown = (kilobytes(waiting.pid, 'VmRSS') - before) / WAITING / body.length;
        console.log(`# ${WAITING} turns that wait: ${grown.toFixed(2)} bytes of memory for a byte`);
        assert.ok(SANITIZED || grown < 3, `${grown.toFixed(2)} bytes for a byte`);
    });
});
