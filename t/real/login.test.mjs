/*
 * A login in a file, which the CLI renews: its refresh token may be used once, so it is one file for
 * all keys, each of which has a directory of its own for all else. The provider's two addresses are
 * stood in for behind a proxy on the loopback, which is all that a CLI is told of the network; their
 * certificate is of an authority that only this suite knows.
 */

import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { KEY, OTHER_KEY } from './lib/server.mjs';
import { startEngine } from './lib/engine.mjs';
import { user } from './lib/upstream.mjs';

/* The CLI renews what has less than five minutes left. */
const RENEWED_BEFORE = 300;
const LONG = RENEWED_BEFORE + 3600;

const SCOPES = ['user:inference', 'user:profile', 'user:sessions:claude_code'];

/* ---------------------------------------------------------------------------------------- */

function certificate(dir) {
    const openssl = (...args) => {
        const { status, stderr, error } = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' });
        assert.equal(status, 0, stderr ?? `${error}`);
    };
    writeFileSync(join(dir, 'names'), 'subjectAltName=DNS:*.anthropic.com,DNS:*.claude.com\n');
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=an authority', '-keyout', 'ca.key', '-out', 'ca.pem');
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=the provider', '-keyout', 'key.pem', '-out', 'request.pem');
    openssl('x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names',
        '-out', 'cert.pem');
    return { key: readFileSync(join(dir, 'key.pem')), cert: readFileSync(join(dir, 'cert.pem')) };
}

/*
 * The provider: tokens are renewed by the newest refresh token alone, and messages answered, by the
 * stub, to the newest access token alone.
 */
class Provider {
    constructor() {
        this.issued = 0;                            /* tokens so far: at-0 and rt-0 are in the file */
        this.refused = 0;                           /* refresh tokens that were used before */
        this.asked = [];                            /* access tokens, one a question */
    }

    /* Resolves to the environment of a CLI that is to meet it. */
    async listen(dir) {
        this.tls = https.createServer(certificate(dir), (req, res) => this.serve(req, res));
        await once(this.tls.listen(0, '127.0.0.1'), 'listening');
        this.proxy = http.createServer((req, res) => res.writeHead(403).end());
        this.proxy.on('connect', (req, socket) => {
            const inner = net.connect(this.tls.address().port, '127.0.0.1', () => {
                socket.write('HTTP/1.1 200 OK\r\n\r\n');
                inner.pipe(socket);
                socket.pipe(inner);
            });
            inner.on('error', () => socket.destroy());
            socket.on('error', () => inner.destroy());
        });
        await once(this.proxy.listen(0, '127.0.0.1'), 'listening');
        return { HTTPS_PROXY: `http://127.0.0.1:${this.proxy.address().port}`, NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') };
    }

    async serve(req, res) {
        const chunks = [];
        for await (const chunk of req) chunks.push(chunk);
        const body = Buffer.concat(chunks);
        const answer = (status, json) => {
            res.writeHead(status, { 'content-type': 'application/json' });
            res.end(JSON.stringify(json));
        };

        if (req.url === '/v1/oauth/token') return this.renew(JSON.parse(body), answer);
        if (!req.url.startsWith('/v1/messages')) return answer(404, {});

        this.asked.push(req.headers.authorization.replace('Bearer ', ''));
        if (this.asked.at(-1) !== `at-${this.issued}`) {
            return answer(401, { type: 'error', error: { type: 'authentication_error', message: 'OAuth token has expired.' } });
        }
        const inner = http.request({
            host: '127.0.0.1', port: this.stubPort, method: req.method, path: req.url, headers: { ...req.headers, 'x-api-key': 'dummy' },
        }, (from) => {
            res.writeHead(from.statusCode, from.headers);
            from.pipe(res);
        });
        return inner.end(body);
    }

    renew({ refresh_token: token, scope }, answer) {
        if (token !== `rt-${this.issued}`) {
            this.refused++;
            return answer(400, { error: 'invalid_grant', error_description: 'Refresh token not found or invalid' });
        }
        this.issued++;
        return answer(200, {
            token_type: 'Bearer', access_token: `at-${this.issued}`, refresh_token: `rt-${this.issued}`, expires_in: LONG, scope,
        });
    }

    close() {
        for (const server of [this.proxy, this.tls]) {
            server?.closeAllConnections();
            server?.close();
        }
    }
}

/* What the file has for a CLI that has logged in; seconds: what the access token has left. */
const loginFile = (seconds, issued) => JSON.stringify({
    claudeAiOauth: {
        accessToken: `at-${issued}`, refreshToken: `rt-${issued}`, expiresAt: Date.now() + seconds * 1000, scopes: SCOPES,
        subscriptionType: 'max', rateLimitTier: 'default',
    },
});

/* ---------------------------------------------------------------------------------------- */

/* Agents of two keys, and a chat: three homes. */
const PLACES = [['/agent/', KEY], ['/agent/', OTHER_KEY], ['/v1/', KEY]];

for (const [where, env, place] of [
    ['in HOME', {}, 'home/.claude'],
    ["in the operator's CLAUDE_CONFIG_DIR", { CLAUDE_CONFIG_DIR: 'DIR/config' }, 'config'],
    ['in a directory of its own', { CLAUDE_SECURESTORAGE_CONFIG_DIR: 'DIR/login' }, 'login'],
]) {
    describe(`a login ${where}`, () => {
        const provider = new Provider();
        let server;
        let file;

        before(async () => {
            server = await startEngine({
                env: { ANTHROPIC_API_KEY: null, ANTHROPIC_BASE_URL: null },
                http: 'claude_warm 0; claude_max_concurrent 6; claude_max_processes 6; include login.conf;',
                server: 'location /agent/ { claude_openai; claude_tools Read; }',
                prepare: async (dir) => {
                    mkdirSync(join(dir, place), { recursive: true });
                    file = join(dir, place, '.credentials.json');
                    writeFileSync(file, loginFile(LONG, 0), { mode: 0o600 });
                    const all = { ...env, ...await provider.listen(dir) };
                    writeFileSync(join(dir, 'login.conf'), Object.entries(all)
                        .map(([name, value]) => `claude_env "${name}=${value.replace('DIR', dir)}";\n`).join(''));
                },
            });
            provider.stubPort = server.stubPort;
        });
        after(async () => {
            await server?.end();
            provider.close();
        });

        const conversations = PLACES.map(() => []);

        /* One more message in each of the conversations. */
        async function askAll(text, together) {
            const one = async ([path, key], i) => {
                conversations[i].push(user(text));
                const answer = await server.request('POST', `${path}chat/completions`, { key, body: { model: 'sonnet', messages: conversations[i] } });
                assert.equal(answer.status, 200, `${path} ${key}: ${answer.text}`);
                conversations[i].push(answer.json.choices[0].message);
            };
            if (together) await Promise.all(PLACES.map(one));
            else for (const [i, place] of PLACES.entries()) await one(place, i);
        }

        /* The file as if its time were over; those who have read it look again. */
        const expire = () => writeFileSync(file, loginFile(RENEWED_BEFORE - 10, provider.issued));

        test('reaches all keys', async () => {
            await askAll('first', true);
            assert.deepEqual([...new Set(provider.asked)], ['at-0']);
        });

        for (const [i, together] of [true, false].entries()) {
            test(`is renewed once for all, ${together ? 'asked at once' : 'one after the other'}`, async () => {
                expire();
                provider.asked = [];
                await askAll(`again ${together}`, together);
                assert.deepEqual([provider.issued, provider.refused], [i + 1, 0]);
                assert.deepEqual([...new Set(provider.asked)], [`at-${i + 1}`]);
                assert.equal(JSON.parse(readFileSync(file, 'utf8')).claudeAiOauth.refreshToken, `rt-${i + 1}`);
            });
        }

        test('is nowhere else', () => {
            const state = join(server.dir, 'claude-state');
            for (const home of ['keys/one', 'keys/two', 'chat']) {
                assert.ok(existsSync(join(state, home, '.claude.json')), home);
                assert.ok(!existsSync(join(state, home, '.credentials.json')), home);
            }
        });
    });
}
