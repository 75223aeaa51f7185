/*
 * What reached the model, in the client's terms. The CLI sends texts as strings or as blocks with
 * cache marks, and adds messages of role "system" (its "# Environment"): both are its business.
 */

import assert from 'node:assert/strict';

const textsOf = (content) => (typeof content === 'string' ? [content] : content.map((block) => {
    assert.equal(block.type, 'text', `a block that nobody sent: ${JSON.stringify(block).slice(0, 200)}`);
    return block.text;
}));

/* [role, text, …] a message. */
export function conversation(request) {
    return request.body.messages.filter(({ role }) => role !== 'system')
        .map(({ role, content }) => [role, ...textsOf(content)]);
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

/* A script for the stub, inside the text of the user. */
export const scripted = (script, text = '') => `${text}[[stub ${JSON.stringify(script)}]]`;

export const user = (content) => ({ role: 'user', content });
export const assistant = (content) => ({ role: 'assistant', content });
export const system = (content) => ({ role: 'system', content });
