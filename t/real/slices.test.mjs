/*
 * No event of a worker is long, whatever the shape of a body of 32 MB: the CPU time of the longest
 * turn of its event loop, from the first byte until the answer is there and the memory of the
 * request is gone. Measured by t/lib/events.c, so that other work on the machine is not in it, but
 * for cold caches; so the least of some tries counts. All shapes and sizes: bench/hostile.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { startMeasured } from '../lib/measure.mjs';
import { large } from '../lib/shapes.mjs';
import { SANITIZED } from './lib/server.mjs';

const BYTES = (SANITIZED ? 4e6 : 32e6) - 1000;
const LONGEST = 50 * (SANITIZED ? 10 : 1);               /* ms */
const TRIES = 3;

const NAMES = [
    'user, one text', 'user, one text of letters of 3 bytes', 'system, eight texts', 'arguments, zeros', 'a text file',
    'messages of user', 'text parts, assistant', 'calls in one message, one id', 'tools with parameters', 'n 8: user, one text',
    'n 8: calls in one message', '$claude_conversation: text parts', '$claude_conversation: content before its role',
];

describe('the longest turn of the event loop', { concurrency: 1 }, () => {
    const rows = [];
    let server;

    before(async () => { server = await startMeasured({ events: true, http: 'claude_max_concurrent 8; claude_max_processes 8;' }); });
    after(async () => {
        for (const row of rows) console.log(`# ${row}`);
        await server?.end();
    });

    for (const name of NAMES) {
        test(name, async () => {
            const shape = large.find((one) => one.name === name);
            const body = Buffer.from(shape.make(BYTES));
            let longest = Infinity;
            for (let i = 0; i < TRIES && longest > LONGEST; i++) {
                const told = await server.events(shape, body);
                assert.equal(told.status, shape.no ?? 200, told.text.slice(-300));
                longest = Math.min(longest, told.longest / 1e6);
            }
            rows.push(`${name.padEnd(50)} ${longest.toFixed(1).padStart(8)} ms`);
            assert.ok(longest <= LONGEST, `${longest.toFixed(1)} ms, ${LONGEST} allowed`);
        });
    }
});
