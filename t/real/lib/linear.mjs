/*
 * Holds nginx to what a body may cost until its turn is made, and says how much it was: for
 * t/real/linear*.test.mjs. The shapes are those of t/lib/shapes.mjs; each is measured at n, 2n and
 * 4n bytes, through nginx with one worker. It fails when
 *
 *   - the CPU of a byte is above 0.1 µs, or above 3 times that of a plain text of the same size
 *     in the same run, whichever is more;
 *   - the memory at its peak is above 16 bytes for a byte of the body;
 *   - what means something does not become a turn, or the worker dies or does not end.
 *
 * It is CPU time of the worker, not the time that passes: other work on the machine is not in it,
 * but for cold caches, so that what is above a bound is measured up to twice more.
 *
 * A build with sanitizers is slower by a factor, and differently for each shape: its bound on CPU
 * is 20 times as high, on smaller bodies. Its memory has red zones and what was freed in it, and
 * means nothing.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { startMeasured } from '../../lib/measure.mjs';
import { plain, plainFront } from '../../lib/shapes.mjs';
import { SANITIZED } from './server.mjs';

const SIZES = SANITIZED ? [2.5e5, 1e6] : [1e6, 2e6, 4e6];
const HEAVY = SANITIZED ? [1e5] : [2.5e5, 1e6];
const CPU = 100 * (SANITIZED ? 20 : 1);                  /* ns a byte */
const TIMES_PLAIN = 3;
const MEMORY = SANITIZED ? Infinity : 16;                /* bytes a byte */
export const TRIES = 3;

let server;
const plainCpu = new Map();                              /* of a byte, by path and size */
const table = [];

async function once(shape, size) {
    const body = Buffer.from(shape.make(size));
    const measured = await server.measure(shape, body);
    return { ...measured, cpu: measured.cpu / body.length, memory: measured.memory / body.length };
}

/* The least of each, tried again while it is too much. */
async function least(shape, size, bound) {
    let best = await once(shape, size);
    for (let i = 1; i < TRIES && !best.runaway && (best.cpu > bound || best.memory > MEMORY); i++) {
        const next = await once(shape, size);
        best = { ...next, cpu: Math.min(best.cpu, next.cpu), memory: Math.min(best.memory, next.memory) };
    }
    return best;
}

/* The CPU that a byte may cost at this size. */
async function boundOf(shape, size) {
    const like = shape.proxied ? plainFront : plain;
    const key = `${like.name} ${size}`;
    if (!plainCpu.has(key)) plainCpu.set(key, (await least(like, size, 0)).cpu);
    return Math.max(CPU, TIMES_PLAIN * plainCpu.get(key));
}

function assertAnswer(shape, { status, text, runaway }) {
    assert.equal(runaway, undefined, `the worker was ended: ${runaway}`);
    const said = `${status} ${text.slice(text.indexOf('\r\n\r\n') + 4).slice(0, 200)}`;
    if (shape.proxied) assert.equal(status, 200, said);
    else if (shape.turn) assert.match(said, /^429 .*"queue_full"/, 'no turn was made');
    else assert.match(said, /^(?:429 .*"queue_full"|40[04] )/, 'neither a turn nor refused');
}

async function hold(shape) {
    const row = { name: shape.name, cells: [] };
    table.push(row);
    for (const size of shape.heavy ? HEAVY : SIZES) {
        const bound = await boundOf(shape, size);
        const spent = await least(shape, size, bound);
        row.cells.push(spent.runaway ?? `${spent.cpu.toFixed(1)} ns ${spent.memory.toFixed(1)} B`);
        row.status = spent.status;
        row.over = true;
        assertAnswer(shape, spent);
        assert.ok(spent.cpu <= bound, `${size} bytes: ${spent.cpu.toFixed(1)} ns of CPU a byte, ${bound.toFixed(1)} allowed`);
        assert.ok(spent.memory <= MEMORY, `${size} bytes: ${spent.memory.toFixed(1)} bytes of memory a byte, ${MEMORY} allowed`);
        row.over = false;
    }
}

function report() {
    for (const { name, status, cells, over } of table) {
        console.log(`# ${over ? '*' : ' '} ${name.padEnd(52)} ${status} ${cells.map((cell) => cell.padStart(18)).join('')}`);
    }
}

/* The suite of some shapes: a test for each. */
export function holdShapes(shapes) {
    describe('until the turn is made', { concurrency: 1 }, () => {
        before(async () => {
            server = await startMeasured({ http: 'claude_max_concurrent 8; claude_max_processes 8; claude_queue 0;' });
            await server.hold(8);
            for (const size of SIZES) await once(plain, size);            /* first use of everything */
        });
        after(async () => {
            report();
            await server?.end();
        });

        for (const shape of shapes) test(shape.name, () => hold(shape));
    });
}
