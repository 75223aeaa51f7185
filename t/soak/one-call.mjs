#!/usr/bin/env node
/*
 * Soak: one question, one call of the model. Hundreds of turns of each kind after which a CLI would
 * go on by itself, and of each circumstance that might let it, over four workers with the real CLI
 * and the stub of the Messages API. The stub counts what it was asked: one request a question, one
 * more a round of the client's tools, besides the CLI's own repeats of what upstream refused; and
 * no process may have ended by it. Not for CI, which does a few of each (t/real/gate.test.mjs).
 *
 *   t/soak/one-call.mjs [--turns 200] [--parallel 4] [--busy] [--off] [--only name]
 *
 * --busy loads both cores beside it; --off takes the gate away, to see what that costs. It needs
 * nginx, build/ngx_http_claude_module.so and npm's packages; NGINX, MODULE and CLAUDE name others.
 */

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT, prepare } from './env.mjs';

const { values: options } = parseArgs({
    options: {
        turns: { type: 'string', default: '200' },
        parallel: { type: 'string', default: '4' },
        busy: { type: 'boolean', default: false },
        off: { type: 'boolean', default: false },
        only: { type: 'string' },
    },
});
const TURNS = Number(options.turns);
const PARALLEL = Number(options.parallel);

function findCli() {
    const found = [process.env.CLAUDE, ...['x64', 'x64-musl', 'arm64', 'arm64-musl'].map((kind) => join(ROOT,
        `node_modules/@anthropic-ai/claude-code-linux-${kind}/claude`))].find((file) => file
        && spawnSync(file, ['--version']).status === 0);
    if (!found) throw new Error('no Claude CLI: run npm ci, or set CLAUDE');
    return found;
}

const servroot = prepare({ name: 'one-call', claude: findCli() });

const { endChild, spawnTied } = await import('../real/lib/server.mjs');
const { KINDS, lateCalls, startCalls, turnsOf } = await import('../real/lib/calls.mjs');

const burners = options.busy
    ? [1, 2].map(() => spawnTied('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })) : [];

const server = await startCalls({ workers: 4, gate: !options.off });
let bad = 0;

try {
    for (const kind of KINDS) {
        if (options.only && kind.name !== options.only) continue;
        const found = await turnsOf(server, kind, { turns: TURNS, parallel: PARALLEL });
        const fine = found.wrong === 0 && found.ended === 0 && found.calls === found.want;
        bad += !fine;
        console.log(`${fine ? 'ok  ' : 'BAD '} ${kind.name.padEnd(44)} ${TURNS} turns  ${found.calls} calls of ${found.want}`
            + `  ${found.wrong} wrong  ${found.ended} processes ended${found.first ? `  ${found.first}` : ''}`);
    }
    const { cli, processes, profiles } = await server.status();
    const late = await lateCalls(server);
    bad += late.length;
    for (const line of late) console.log(`BAD  too late, ${line}`);
    console.log(`CLI ${cli}, gate ${profiles.map(({ gate }) => gate)}, ${processes.length} processes,`
        + ` ${options.busy ? 'busy' : 'idle'}: ${bad ? `${bad} kinds BAD` : 'all kinds as they should be'}`);
} finally {
    for (const burner of burners) await endChild(burner);
    await server.end().catch((error) => {
        bad++;
        console.log(error.message);
    });
    rmSync(servroot, { recursive: true, force: true });
}
process.exit(bad ? 1 : 0);
