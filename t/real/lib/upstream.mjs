/*
 * What reached the model, in the client's terms. Whether the CLI sends a text as a string or as a
 * block with a cache mark is its business.
 */

import assert from 'node:assert/strict';

const textsOf = (content) => (typeof content === 'string' ? [content] : content.map((block) => {
    assert.equal(block.type, 'text', `a block that nobody sent: ${JSON.stringify(block).slice(0, 200)}`);
    return block.text;
}));

/* [role, text, …] a message, of whatever role: with the gate all of them are the client's. */
export function conversation(request) {
    return request.body.messages.map(({ role, content }) => [role, ...textsOf(content)]);
}

/*
 * The same of a CLI without the gate: an agent, or one that no nginx has started. It puts messages of
 * role "system" between the others, its "# Environment" for one.
 */
export function spoken(request) {
    return conversation(request).filter(([role]) => role !== 'system');
}

/* The blocks of the system prompt that are not the CLI's own billing line. */
export function systemTexts(request) {
    return textsOf(request.body.system ?? []).filter((text) => !text.startsWith('x-anthropic-billing-header'));
}

/* The only request that there was. */
export function only(stub) {
    assert.equal(stub.requests.length, 1, `upstream calls: ${stub.requests.length}`);
    return stub.requests[0];
}

/*
 * What the stub gets from now on, as it comes over the wire: [{text, headers}]. The stub itself
 * keeps what it has read of it, where an order of members or a number may have another look.
 */
export function wireOf(stub) {
    const calls = [];
    stub.server.prependListener('request', (req) => {
        if (!req.url.startsWith('/v1/messages')) return;
        const chunks = [];
        req.on('data', (chunk) => chunks.push(chunk));
        req.on('end', () => calls.push({ headers: req.headers, text: Buffer.concat(chunks).toString('utf8') }));
    });
    return calls;
}

/* A script for the stub, inside the text of the user. */
export const scripted = (script, text = '') => `${text}[[stub ${JSON.stringify(script)}]]`;

export const user = (content) => ({ role: 'user', content });
export const assistant = (content) => ({ role: 'assistant', content });
export const system = (content) => ({ role: 'system', content });
