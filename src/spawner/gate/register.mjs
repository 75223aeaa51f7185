/*
 * The gate: one call upstream a question, one more a round of the client's tools, and nothing
 * between the client's messages but what the client has said.  The CLI loads it as the hooks of a
 * plugin; what the module relies on of that is in docs/cli-protocol.md, "The gate".
 *
 * It opens for a question, and for the results of the calls of a message once all are there, and
 * shuts behind the call that goes through.  It writes what the driver looks for: "gate 1" before
 * the CLI is initialized, "call" before each call, and what the provider says beside its answer.
 *
 * The CLI reads this file before it runs it, and leaves all of it out without a word if it does
 * not like it: $ is spelled $.noun.event(...), event names are literals that it knows, a handler of
 * .catch stands in place.  `claude plugin validate` tells.
 */

const TOLD = /^(request-id|retry-after|anthropic-ratelimit-unified-[a-z0-9_-]+)$/;
const BETA = 'effort-2025-11-24';

/* The answer to the CLI's own question whether a model exists, for which nobody is to pay. */
const PROBED = {
    status: 200,
    headers: { 'content-type': 'application/json' },
    text: JSON.stringify({
        id: 'msg_0', type: 'message', role: 'assistant', model: '-', content: [],
        stop_reason: 'max_tokens', stop_sequence: null,
        usage: { input_tokens: 0, output_tokens: 0 },
    }),
};

/* One token, not streamed: a client's question always is. */
function isProbe({ body }) {
    if (!/"max_tokens":1\b/.test(body) || body.includes('"stream":true')) return false;
    const { max_tokens: tokens, stream } = JSON.parse(body);
    return tokens === 1 && !stream;
}

/*
 * An effort that comes as a member of the body has no beta with it, which models before 5.5 want.
 * The CLI leaves the effort out for models that know none: so where it is, the beta belongs.
 */
function withBeta(e) {
    const { headers, body } = e.init;
    const betas = headers?.['anthropic-beta'];
    if (!betas || betas.includes(BETA) || !/"output_config":\{[^{}]*"effort":/.test(body)) return e;
    const init = { ...e.init, headers: { ...headers, 'anthropic-beta': `${betas},${BETA}` } };
    return { ...e, init };
}

/* Nor is it made one that the model knows, as the CLI does with an effort of its own. */
const FEWER = [
    [/^claude-opus-4-5\b/, { xhigh: 'high', max: 'high' }],
    [/^claude-(opus|sonnet)-4-6\b/, { xhigh: 'high' }],
];

function lowerEffort(body) {
    const { model, output_config: config } = body;
    const fewer = FEWER.find(([pattern]) => pattern.test(model))?.[1];
    if (fewer && config && Object.hasOwn(fewer, config.effort)) config.effort = fewer[config.effort];
}

const mayBeTooHigh = (body) => /^\{"model":"claude-(?:opus|sonnet)-4-[56]\b/.test(body) && /"effort":"(?:xhigh|max)"/.test(body);

/*
 * Of an image that it stores or scales the CLI tells the model where it lies and how large it was.
 * An image of a message has that in a note of the CLI's own behind it, which cannot be left out: its
 * text becomes this one, which does not go upstream. An image of a result has it right behind it; a
 * place is the CLI's if it is the session's.
 */
const LEFT_OUT = '[left out: 8f4f0a3c-6f1b-4a51-9a0e-2f5e8f1d7c40]';
const RESUMED = 'No response requested.';
const IMAGE = /^\[Image(: | source: )[^\n]*\]$/;

const isNote = ({ type, text }) => type === 'text' && (text === LEFT_OUT || text === `${LEFT_OUT}\n`);

function isPlace(blocks, i, session) {
    const [image, { type, text }] = [blocks[i - 1], blocks[i]];
    return type === 'text' && image?.type === 'image' && session
        && IMAGE.test(text) && text.includes(`/${session}/tool-results/`);
}

function sessionOf({ body }) {
    try {
        return JSON.parse(JSON.parse(body).metadata.user_id).session_id;
    } catch {
        return '';
    }
}

/* A text before a note was given the end of a line. The mark of the cache is on the last block. */
function withoutNote(blocks) {
    const kept = [];
    for (const [i, block] of blocks.entries()) {
        if (isNote(block)) continue;
        const next = blocks[i + 1];
        kept.push(block.type === 'text' && next && isNote(next) && block.text.endsWith('\n')
            ? { ...block, text: block.text.slice(0, -1) } : block);
    }
    const { cache_control: mark } = blocks.at(-1);
    if (mark && kept.length) kept[kept.length - 1] = { ...kept.at(-1), cache_control: mark };
    return kept;
}

/*
 * A message that is nothing else is the driver's, which a killed CLI did not come to take back; one
 * that takes the conversation up puts words of its own behind it.
 */
function withoutNotes(body) {
    const messages = [];
    let resumed = false;     /* the next message, if it is such words */

    for (const message of body.messages) {
        const { role, content } = message;
        const blocks = Array.isArray(content) ? content : [{ type: 'text', text: content }];
        if (resumed && role === 'assistant' && blocks.every(({ text }) => text === RESUMED)) {
            resumed = false;
            continue;
        }
        const noted = role === 'user' && blocks.some(isNote);
        resumed = noted && blocks.every(isNote);
        if (resumed) continue;
        messages.push(noted ? { ...message, content: withoutNote(blocks) } : message);
    }
    body.messages = messages;
}

/* Most bodies are as they are to be, and are not read for that. */
function withChanges(e) {
    const text = e.init.body;
    if (!text.includes(LEFT_OUT) && !mayBeTooHigh(text)) return e;
    const body = JSON.parse(text);
    withoutNotes(body);
    lowerEffort(body);
    return { ...e, init: { ...e.init, body: JSON.stringify(body) } };
}

/* A status, and a line for each header that tells something. */
function said({ status, headers }) {
    const told = Object.entries(headers ?? {}).filter(([name]) => TOLD.test(name));
    return [`said: ${status}`, ...told.map(([name, value]) => `${name}: ${value}`)].join('\n');
}

export function register(on) {
    let open = false;        /* the next call is one that was asked for */
    let question = 0;
    let turn;                /* the CLI's name of the question, once it has begun with it */
    let waiting = 0;         /* calls of the client's tools without a result */
    let session;             /* the CLI's name of the conversation */
    let spoiled = false;     /* one of them the CLI answers itself: its arguments do not parse */

    on('session.start', async ($, e, next) => {
        $.ui.log('gate 1');
        return next(e);
    }).catch(($, e, next) => next(e));

    on('prompt.submit', async ($, e, next) => {
        if (e.origin?.kind === 'sdk') {
            question++;
            turn = undefined;
            open = true;
            waiting = 0;
            spoiled = false;
        }
        return next(e);
    }).catch(($, e, next) => next(e));

    on('turn.start', async ($, e, next) => {
        if (e.agentId === undefined) turn = e.turnId;
        return next(e);
    }).catch(($, e, next) => next(e));

    /* open after a turn that upstream has refused: what comes now nobody has asked for */
    on('turn.complete', async ($, e, next) => {
        if (e.agentId === undefined && e.turnId === turn) open = false;
        return next(e);
    }).catch(($, e, next) => next(e));

    /* null leaves it out: the directory, the date, reminders */
    on('prompt.attachment', async () => ({ text: null })).catch(() => ({ text: null }));

    on('session.append', { door: 'note' }, async ($, e, next) => {
        const { origin, message } = e;
        const blocks = message?.content;
        if (origin?.kind !== 'engine' || !message.isMeta || !Array.isArray(blocks) || blocks.length === 0
            || !blocks.every(({ text }) => IMAGE.test(text))) return next(e);
        return next({ ...e, message: { ...message, content: [{ type: 'text', text: LEFT_OUT }] } });
    }).catch(($, e, next) => next(e));

    on('tool.call', async ($, e, next) => {
        const mine = question;
        open = false;
        waiting++;
        spoiled ||= '__unparsedToolInput' in e;
        const result = await next(e);
        if (mine === question && --waiting === 0) open = !spoiled;
        if (!Array.isArray(result?.result)) return result;
        const kept = result.result.filter((block, i, all) => !isPlace(all, i, session));
        return kept.length === result.result.length ? result : { ...result, result: kept };
    }).catch(($, e, next) => next(e));

    on('http.fetch', async ($, e, next) => {
        if (!/\/v1\/messages(\?|$)/.test(e.url)) return next(e);
        if (isProbe(e.init)) return { value: PROBED };
        if (!open) return { deny: 'the question has had its call' };

        const changed = withBeta(withChanges(e));
        const mine = question;
        const again = () => { open ||= mine === question; };

        open = false;
        if (session === undefined) session = sessionOf(e.init);
        $.ui.log('call');
        const answer = await next(changed).catch((error) => {
            again();
            throw error;
        });
        if (!answer.value?.ok) again();
        if (answer.value) $.ui.log(said(answer.value));
        return answer;
    }).catch(($, e, next) => (next.called ? next(e) : { deny: 'the gate failed' }));
}
