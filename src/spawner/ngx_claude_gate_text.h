
/*
 * The gate's files, made by scripts/gate.sh of src/spawner/gate/.
 */


#ifndef _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_
#define _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_


#define NGX_CLAUDE_GATE_PLUGIN \
    "{\"name\":\"nginx-gate\",\"version\":\"1.0.0\"}\n"

#define NGX_CLAUDE_GATE_HOOKS \
    "{\"modules\":[\"./register.mjs\"]}\n"

#define NGX_CLAUDE_GATE_REGISTER \
    "/*\n" \
    " * The gate: one call upstream a question, one more a round of the client's tools, and nothing\n" \
    " * between the client's messages but what the client has said.  The CLI loads it as the hooks of a\n" \
    " * plugin; what the module relies on of that is in docs/cli-protocol.md, \"The gate\".\n" \
    " *\n" \
    " * It opens for a question, and for the results of the calls of a message once all are there, and\n" \
    " * shuts behind the call that goes through.  It writes what the driver looks for: \"gate 1\" before\n" \
    " * the CLI is initialized, \"call\" before each call, and what the provider says beside its answer.\n" \
    " *\n" \
    " * The CLI reads this file before it runs it, and leaves all of it out without a word if it does\n" \
    " * not like it: $ is spelled $.noun.event(...), event names are literals that it knows, a handler of\n" \
    " * .catch stands in place.  `claude plugin validate` tells.\n" \
    " */\n" \
    "\n" \
    "const TOLD = /^(request-id|retry-after|anthropic-ratelimit-unified-[a-z0-9_-]+)$/;\n" \
    "const BETA = 'effort-2025-11-24';\n" \
    "\n" \
    "/* The answer to the CLI's own question whether a model exists, for which nobody is to pay. */\n" \
    "const PROBED = {\n" \
    "    status: 200,\n" \
    "    headers: { 'content-type': 'application/json' },\n" \
    "    text: JSON.stringify({\n" \
    "        id: 'msg_0', type: 'message', role: 'assistant', model: '-', content: [],\n" \
    "        stop_reason: 'max_tokens', stop_sequence: null,\n" \
    "        usage: { input_tokens: 0, output_tokens: 0 },\n" \
    "    }),\n" \
    "};\n" \
    "\n" \
    "/* One token, not streamed: a client's question always is. */\n" \
    "function isProbe({ body }) {\n" \
    "    if (!/\"max_tokens\":1\\b/.test(body) || body.includes('\"stream\":true')) return false;\n" \
    "    const { max_tokens: tokens, stream } = JSON.parse(body);\n" \
    "    return tokens === 1 && !stream;\n" \
    "}\n" \
    "\n" \
    "/*\n" \
    " * An effort that comes as a member of the body has no beta with it, which models before 5.5 want.\n" \
    " * The CLI leaves the effort out for models that know none: so where it is, the beta belongs.\n" \
    " */\n" \
    "function withBeta(e) {\n" \
    "    const { headers, body } = e.init;\n" \
    "    const betas = headers?.['anthropic-beta'];\n" \
    "    if (!betas || betas.includes(BETA) || !/\"output_config\":\\{[^{}]*\"effort\":/.test(body)) return e;\n" \
    "    const init = { ...e.init, headers: { ...headers, 'anthropic-beta': `${betas},${BETA}` } };\n" \
    "    return { ...e, init };\n" \
    "}\n" \
    "\n" \
    "/* Nor is it made one that the model knows, as the CLI does with an effort of its own. */\n" \
    "const FEWER = [\n" \
    "    [/^claude-opus-4-5\\b/, { xhigh: 'high', max: 'high' }],\n" \
    "    [/^claude-(opus|sonnet)-4-6\\b/, { xhigh: 'high' }],\n" \
    "];\n" \
    "\n" \
    "function lowerEffort(body) {\n" \
    "    const { model, output_config: config } = body;\n" \
    "    const fewer = FEWER.find(([pattern]) => pattern.test(model))?.[1];\n" \
    "    if (fewer && config && Object.hasOwn(fewer, config.effort)) config.effort = fewer[config.effort];\n" \
    "}\n" \
    "\n" \
    "const mayBeTooHigh = (body) => /^\\{\"model\":\"claude-(?:opus|sonnet)-4-[56]\\b/.test(body) && /\"effort\":\"(?:xhigh|max)\"/.test(body);\n" \
    "\n" \
    "/*\n" \
    " * Of an image that it stores or scales the CLI tells the model where it lies and how large it was.\n" \
    " * An image of a message has that in a note of the CLI's own behind it, which cannot be left out: its\n" \
    " * text becomes this one, which does not go upstream. An image of a result has it right behind it; a\n" \
    " * place is the CLI's if it is the session's.\n" \
    " */\n" \
    "const LEFT_OUT = '[left out: 8f4f0a3c-6f1b-4a51-9a0e-2f5e8f1d7c40]';\n" \
    "const RESUMED = 'No response requested.';\n" \
    "const IMAGE = /^\\[Image(: | source: )[^\\n]*\\]$/;\n" \
    "\n" \
    "const isNote = ({ type, text }) => type === 'text' && (text === LEFT_OUT || text === `${LEFT_OUT}\\n`);\n" \
    "\n" \
    "function isPlace(blocks, i, session) {\n" \
    "    const [image, { type, text }] = [blocks[i - 1], blocks[i]];\n" \
    "    return type === 'text' && image?.type === 'image' && session\n" \
    "        && IMAGE.test(text) && text.includes(`/${session}/tool-results/`);\n" \
    "}\n" \
    "\n" \
    "function sessionOf({ body }) {\n" \
    "    try {\n" \
    "        return JSON.parse(JSON.parse(body).metadata.user_id).session_id;\n" \
    "    } catch {\n" \
    "        return '';\n" \
    "    }\n" \
    "}\n" \
    "\n" \
    "/* A text before a note was given the end of a line. The mark of the cache is on the last block. */\n" \
    "function withoutNote(blocks) {\n" \
    "    const kept = [];\n" \
    "    for (const [i, block] of blocks.entries()) {\n" \
    "        if (isNote(block)) continue;\n" \
    "        const next = blocks[i + 1];\n" \
    "        kept.push(block.type === 'text' && next && isNote(next) && block.text.endsWith('\\n')\n" \
    "            ? { ...block, text: block.text.slice(0, -1) } : block);\n" \
    "    }\n" \
    "    const { cache_control: mark } = blocks.at(-1);\n" \
    "    if (mark && kept.length) kept[kept.length - 1] = { ...kept.at(-1), cache_control: mark };\n" \
    "    return kept;\n" \
    "}\n" \
    "\n" \
    "/*\n" \
    " * A message that is nothing else is the driver's, which a killed CLI did not come to take back; one\n" \
    " * that takes the conversation up puts words of its own behind it.\n" \
    " */\n" \
    "function withoutNotes(body) {\n" \
    "    const messages = [];\n" \
    "    let resumed = false;     /* the next message, if it is such words */\n" \
    "\n" \
    "    for (const message of body.messages) {\n" \
    "        const { role, content } = message;\n" \
    "        const blocks = Array.isArray(content) ? content : [{ type: 'text', text: content }];\n" \
    "        if (resumed && role === 'assistant' && blocks.every(({ text }) => text === RESUMED)) {\n" \
    "            resumed = false;\n" \
    "            continue;\n" \
    "        }\n" \
    "        const noted = role === 'user' && blocks.some(isNote);\n" \
    "        resumed = noted && blocks.every(isNote);\n" \
    "        if (resumed) continue;\n" \
    "        messages.push(noted ? { ...message, content: withoutNote(blocks) } : message);\n" \
    "    }\n" \
    "    body.messages = messages;\n" \
    "}\n" \
    "\n" \
    "/* Most bodies are as they are to be, and are not read for that. */\n" \
    "function withChanges(e) {\n" \
    "    const text = e.init.body;\n" \
    "    if (!text.includes(LEFT_OUT) && !mayBeTooHigh(text)) return e;\n" \
    "    const body = JSON.parse(text);\n" \
    "    withoutNotes(body);\n" \
    "    lowerEffort(body);\n" \
    "    return { ...e, init: { ...e.init, body: JSON.stringify(body) } };\n" \
    "}\n" \
    "\n" \
    "/* A status, and a line for each header that tells something. */\n" \
    "function said({ status, headers }) {\n" \
    "    const told = Object.entries(headers ?? {}).filter(([name]) => TOLD.test(name));\n" \
    "    return [`said: ${status}`, ...told.map(([name, value]) => `${name}: ${value}`)].join('\\n');\n" \
    "}\n" \
    "\n" \
    "export function register(on) {\n" \
    "    let open = false;        /* the next call is one that was asked for */\n" \
    "    let question = 0;\n" \
    "    let turn;                /* the CLI's name of the question, once it has begun with it */\n" \
    "    let waiting = 0;         /* calls of the client's tools without a result */\n" \
    "    let session;             /* the CLI's name of the conversation */\n" \
    "    let spoiled = false;     /* one of them the CLI answers itself: its arguments do not parse */\n" \
    "\n" \
    "    on('session.start', async ($, e, next) => {\n" \
    "        $.ui.log('gate 1');\n" \
    "        return next(e);\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    on('prompt.submit', async ($, e, next) => {\n" \
    "        if (e.origin?.kind === 'sdk') {\n" \
    "            question++;\n" \
    "            turn = undefined;\n" \
    "            open = true;\n" \
    "            waiting = 0;\n" \
    "            spoiled = false;\n" \
    "        }\n" \
    "        return next(e);\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    on('turn.start', async ($, e, next) => {\n" \
    "        if (e.agentId === undefined) turn = e.turnId;\n" \
    "        return next(e);\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    /* open after a turn that upstream has refused: what comes now nobody has asked for */\n" \
    "    on('turn.complete', async ($, e, next) => {\n" \
    "        if (e.agentId === undefined && e.turnId === turn) open = false;\n" \
    "        return next(e);\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    /* null leaves it out: the directory, the date, reminders */\n" \
    "    on('prompt.attachment', async () => ({ text: null })).catch(() => ({ text: null }));\n" \
    "\n" \
    "    on('session.append', { door: 'note' }, async ($, e, next) => {\n" \
    "        const { origin, message } = e;\n" \
    "        const blocks = message?.content;\n" \
    "        if (origin?.kind !== 'engine' || !message.isMeta || !Array.isArray(blocks) || blocks.length === 0\n" \
    "            || !blocks.every(({ text }) => IMAGE.test(text))) return next(e);\n" \
    "        return next({ ...e, message: { ...message, content: [{ type: 'text', text: LEFT_OUT }] } });\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    on('tool.call', async ($, e, next) => {\n" \
    "        const mine = question;\n" \
    "        open = false;\n" \
    "        waiting++;\n" \
    "        spoiled ||= '__unparsedToolInput' in e;\n" \
    "        const result = await next(e);\n" \
    "        if (mine === question && --waiting === 0) open = !spoiled;\n" \
    "        if (!Array.isArray(result?.result)) return result;\n" \
    "        const kept = result.result.filter((block, i, all) => !isPlace(all, i, session));\n" \
    "        return kept.length === result.result.length ? result : { ...result, result: kept };\n" \
    "    }).catch(($, e, next) => next(e));\n" \
    "\n" \
    "    on('http.fetch', async ($, e, next) => {\n" \
    "        if (!/\\/v1\\/messages(\\?|$)/.test(e.url)) return next(e);\n" \
    "        if (isProbe(e.init)) return { value: PROBED };\n" \
    "        if (!open) return { deny: 'the question has had its call' };\n" \
    "\n" \
    "        const changed = withBeta(withChanges(e));\n" \
    "        const mine = question;\n" \
    "        const again = () => { open ||= mine === question; };\n" \
    "\n" \
    "        open = false;\n" \
    "        if (session === undefined) session = sessionOf(e.init);\n" \
    "        $.ui.log('call');\n" \
    "        const answer = await next(changed).catch((error) => {\n" \
    "            again();\n" \
    "            throw error;\n" \
    "        });\n" \
    "        if (!answer.value?.ok) again();\n" \
    "        if (answer.value) $.ui.log(said(answer.value));\n" \
    "        return answer;\n" \
    "    }).catch(($, e, next) => (next.called ? next(e) : { deny: 'the gate failed' }));\n" \
    "}\n"


#endif /* _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_ */
