/*
 * Streaming is streaming on every transport: HTTP/1.1 chunked, TLS, HTTP/2 over TLS. A delta
 * leaves nginx as soon as it is there, and lines that arrived together leave in one write.
 */

import { after, before, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { KEY, SLOW, freePort, nginxHas, readStream, sleep, startServer, waitFor } from './lib/server.mjs';
import { scripted, user } from './lib/upstream.mjs';

const TLS = nginxHas('--with-http_ssl_module');
const H2 = TLS && nginxHas('--with-http_v2_module');
const WITHOUT_TLS = TLS ? false : 'this nginx is built without http_ssl_module';
const WITHOUT_H2 = H2 ? false : 'this nginx is built without http_v2_module';

const GAP = 50;
const WORDS = Array.from({ length: 30 }, (_, i) => `w${i} `);

let server;
let tlsPort;
let ca;

function makeCertificate(dir) {
    const made = spawnSync('openssl', [
        'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
        '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost',
        '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'),
    ], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr ?? 'no openssl');
    ca = readFileSync(join(dir, 'cert.pem'));
}

before(async () => {
    let directives = '';
    if (TLS) {
        tlsPort = await freePort();
        directives = `listen 127.0.0.1:${tlsPort} ssl ${H2 ? 'http2' : ''};
            ssl_certificate cert.pem;
            ssl_certificate_key key.pem;`;
    }
    server = await startServer({ server: directives, prepare: (dir) => TLS && makeCertificate(dir) });
});
after(() => server?.end());
beforeEach(() => server.stub.clear());

const question = (script) => JSON.stringify({ model: 'sonnet', stream: true, messages: [user(scripted(script))] });
const headers = (body) => ({
    authorization: `Bearer ${KEY}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body),
});

/* Each way gives {status, headers, text, reads: [{at, data}]}. */
function overTls(body) {
    return new Promise((resolve, reject) => {
        const req = https.request({
            host: '127.0.0.1', port: tlsPort, ca, method: 'POST', path: '/v1/chat/completions', headers: headers(body),
        }, (res) => {
            const reads = [];
            res.on('data', (data) => reads.push({ at: performance.now(), data }));
            res.on('end', () => resolve({
                status: res.statusCode, headers: res.headers, reads, text: Buffer.concat(reads.map(({ data }) => data)).toString(),
                version: res.httpVersion,
            }));
            res.on('error', reject);
        });
        req.on('error', reject);
        req.end(body);
    });
}

async function withH2(use) {
    const session = http2.connect(`https://127.0.0.1:${tlsPort}`, { ca });
    try {
        await new Promise((resolve, reject) => session.once('connect', resolve).once('error', reject));
        assert.equal(session.alpnProtocol, 'h2');
        return await use(session);
    } finally {
        session.destroy();
    }
}

function overH2(session, body) {
    return new Promise((resolve, reject) => {
        const { 'content-length': length, ...rest } = headers(body);
        const req = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', ...rest });
        const reads = [];
        let got;
        req.on('response', (value) => { got = value; });
        req.on('data', (data) => reads.push({ at: performance.now(), data }));
        req.on('end', () => resolve({
            status: got[':status'], headers: got, reads, text: Buffer.concat(reads.map(({ data }) => data)).toString(),
        }));
        req.on('error', reject);
        req.end(body);
    });
}

/* The bytes of the connection itself; one chunk is what nginx's filters were given at once. */
function overSocket(body, onData = () => {}) {
    return new Promise((resolve, reject) => {
        const socket = net.connect(server.port, '127.0.0.1');
        const reads = [];
        socket.on('data', (data) => {
            reads.push({ at: performance.now(), data });
            Promise.resolve(onData(data)).catch(reject);
        });
        socket.on('error', reject);
        socket.on('end', () => resolve(readResponse(reads)));
        const lines = Object.entries({ ...headers(body), host: 'localhost', connection: 'close' }).map(([k, v]) => `${k}: ${v}\r\n`);
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    });
}

function readResponse(reads) {
    const raw = Buffer.concat(reads.map(({ data }) => data)).toString('latin1');
    const at = raw.indexOf('\r\n\r\n');
    const head = raw.slice(0, at);
    const chunks = [];
    for (let pos = at + 4; ;) {
        const eol = raw.indexOf('\r\n', pos);
        const size = Number.parseInt(raw.slice(pos, eol), 16);
        if (size === 0) break;
        chunks.push(raw.slice(eol + 2, eol + 2 + size));
        assert.equal(raw.slice(eol + 2 + size, eol + 4 + size), '\r\n');
        pos = eol + 4 + size;
    }
    return { status: Number(head.split(' ')[1]), head, chunks, reads, text: Buffer.from(chunks.join(''), 'latin1').toString('utf8') };
}

/*
 * The words arrived one by one, at the stub's pace: in about as many reads as there are words,
 * over about the time that the stub took. A busy machine may join a few.
 */
function arrivedOneByOne({ status, text, reads }) {
    assert.equal(status, 200, text);
    const read = readStream({ status, text });
    assert.equal(read.content, WORDS.join(''));
    assert.equal(read.done, true);
    const withWords = reads.filter(({ data }) => /"content":"w/.test(data.toString()));
    assert.ok(withWords.length >= WORDS.length * 0.5, `${WORDS.length} words in ${withWords.length} reads`);
    const took = withWords.at(-1).at - withWords[0].at;
    assert.ok(took >= GAP * (WORDS.length - 1) * 0.5, `all of them within ${took} ms`);
    assert.ok(took <= GAP * (WORDS.length - 1) + 3000 * SLOW, `the last came after ${took} ms`);
}

const slow = () => question({ deltas: WORDS, gap_ms: GAP });

/* ---------------------------------------------------------------------------------------- */

test('HTTP/1.1: each delta is a chunk of its own, at once', async () => {
    const answer = await overSocket(slow());
    assert.match(answer.head, /^transfer-encoding: chunked$/im);
    assert.match(answer.head, /^content-type: text\/event-stream; charset=utf-8$/im);
    assert.match(answer.head, /^cache-control: no-cache$/im);
    assert.match(answer.head, /^x-accel-buffering: no$/im);
    assert.doesNotMatch(answer.head, /^content-length:/im);
    arrivedOneByOne(answer);
    for (const chunk of answer.chunks) assert.ok(chunk.endsWith('\n\n'), 'a chunk holds whole events');
});

test('the head and the role come before the first word', async () => {
    const answer = await overSocket(question({ deltas: ['late'], gap_ms: 600, first_ms: 0, thinking: 'a b c' }));
    const first = answer.reads.find(({ data }) => /"role":"assistant"/.test(data.toString())).at;
    const word = answer.reads.find(({ data }) => /"content":"late"/.test(data.toString())).at;
    assert.ok(word - first > 500, `only ${word - first} ms before`);
});

test('TLS over HTTP/1.1', { skip: WITHOUT_TLS }, async () => {
    const answer = await overTls(slow());
    assert.equal(answer.version, '1.1');
    assert.match(answer.headers['content-type'], /^text\/event-stream/);
    arrivedOneByOne(answer);
});

test('HTTP/2 over TLS', { skip: WITHOUT_H2 }, async () => {
    const answer = await withH2((session) => overH2(session, slow()));
    assert.match(answer.headers['content-type'], /^text\/event-stream/);
    arrivedOneByOne(answer);
});

test('three streams share one HTTP/2 connection', { skip: WITHOUT_H2 }, async () => {
    const told = ['alpha ', 'beta ', 'gamma '];
    /* none is answered before all are asked */
    const until = () => waitFor('three requests', () => server.stub.requests.length === told.length, 20000 * SLOW);
    server.stub.clear();
    server.stub.script(told.map((word) => ({ match: `say ${word}`, deltas: [word], repeat: 8, gap_ms: GAP, until })));
    const answers = await withH2((session) => Promise.all(told.map((word) => overH2(session,
        JSON.stringify({ model: 'sonnet', stream: true, messages: [user(`say ${word}`)] })))));
    answers.forEach((answer, i) => {
        const read = readStream(answer);
        assert.equal(read.content, told[i].repeat(8));
        assert.equal(read.done, true);
    });
});

test('a whole answer and an error over HTTP/2', { skip: WITHOUT_H2 }, async () => {
    await withH2(async (session) => {
        const whole = await overH2(session, JSON.stringify({ model: 'sonnet', messages: [user('hello')] }));
        assert.equal(JSON.parse(whole.text).choices[0].message.content, 'echo: hello');
        const wrong = await overH2(session, JSON.stringify({ model: 'gpt-nonesuch', messages: [user('hello')] }));
        assert.equal(wrong.status, 404);
        assert.equal(JSON.parse(wrong.text).error.code, 'model_not_found');
    });
});

test('a stream that is closed over HTTP/2 ends its turn, and the connection lives', { skip: WITHOUT_H2 }, async () => {
    await withH2(async (session) => {
        const { 'content-length': length, ...rest } = headers('');
        const req = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', ...rest });
        req.end(question({ deltas: ['tick '], repeat: 2000, gap_ms: 50 }));
        await new Promise((resolve, reject) => req.once('data', resolve).once('error', reject));
        req.on('error', () => {});
        req.close(http2.constants.NGHTTP2_CANCEL);
        await waitFor('upstream to be left', () => server.stub.requests[0].closed_early, 10000 * SLOW);
        await server.idle();
        const next = await overH2(session, JSON.stringify({ model: 'sonnet', messages: [user('hello')] }));
        assert.equal(next.status, 200);
    });
});

/*
 * So that they surely arrive together, the workers stand still from the first word until the model
 * has said the last: then 40 lines of the CLI wait in its pipe. One write a line would be 40.
 */
test('lines that arrived together leave in one write', async () => {
    const count = 40;
    const body = question({ deltas: ['word '], repeat: count, gap_ms: 10 });
    const workers = server.workers();
    assert.equal(workers.length, 2);
    let stopped = false;
    const answer = await overSocket(body, async (data) => {
        if (stopped || !data.includes('"content":"word')) return;
        stopped = true;
        for (const pid of workers) process.kill(pid, 'SIGSTOP');
        try {
            await waitFor('the model to end', () => server.stub.stats().active === 0, 10000 * SLOW);
            await sleep(1000 * SLOW);
        } finally {
            for (const pid of workers) process.kill(pid, 'SIGCONT');
        }
    });
    const read = readStream(answer);
    assert.equal(read.content, 'word '.repeat(count));
    assert.equal(read.done, true);
    assert.equal(read.events.filter(({ choices }) => choices[0].delta.content).length, count, 'and each keeps its own event');
    const words = answer.chunks.map((chunk) => chunk.split('"content":"word').length - 1);
    assert.ok(Math.max(...words) >= count / 2, `words in each write: ${words.join(' ')}`);
});

test('a long answer is whole on every transport', async () => {
    const script = { deltas: ['äöü "x" \\ \n'], repeat: 4000 };
    const want = script.deltas[0].repeat(script.repeat);
    const same = ({ status, text }) => {
        const read = readStream({ status, text });
        assert.ok(read.content === want, `${read.content.length} characters of ${want.length}`);
        assert.equal(read.done, true);
    };
    same(await overSocket(question(script)));
    if (TLS) same(await overTls(question(script)));
    if (H2) same(await withH2((session) => overH2(session, question(script))));
});
