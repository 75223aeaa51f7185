/*
 * The status page: asks claude_status every two seconds and draws what it says. All text goes into
 * the page as text, never as HTML: names of keys and models come from elsewhere. What is drawn over
 * time is what this tab has seen; the server keeps sums, no history.
 */

'use strict';

const EVERY = 2000;                     /* msec between two questions */
const SEEN = 5 * 60 * 1000;             /* msec that the timeline goes back */
const RUNGS = ['live', 'rewound', 'recycled', 'warm', 'cold', 'resumed'];
const STORED = 'claude-status-key';     /* in this tab's session storage */

const source = document.querySelector('meta[name="claude-status"]').content;
const seen = [];                        /* { at, running, waiting } */
let timer = 0;


/* the document */

const $ = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
    const e = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) e.setAttribute(key, value);
    e.append(...children);
    return e;
}

function shape(name, attributes, text) {
    const e = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    if (text !== undefined) e.textContent = text;
    return e;
}

/* a bar; its width is set through the object model, which the policy allows */
function meter(share, name) {
    const bar = element('span', name ? { class: name } : {});
    bar.style.width = `${Math.min(100, 100 * share)}%`;
    return element('div', { class: 'meter' }, bar);
}

function cell(text, name) {
    return element('td', name ? { class: name } : {}, text);
}


/* numbers for people */

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

const count = (n) => (n < 100000 ? whole : short).format(n);
const usd = (n) => (n !== 0 && n < 0.01 ? `$${n.toFixed(4)}` : `$${n.toFixed(2)}`);
const percent = (share) => `${Math.round(100 * share)} %`;

function span(seconds) {
    if (seconds < 60) return `${Math.round(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
    return `${Math.floor(seconds / 86400)} d`;
}

function seconds(s) {
    if (s === Infinity) return '> 5 min';
    if (s < 1) return `${Math.round(1000 * s)} ms`;
    if (s < 60) return `${Number(s.toPrecision(2))} s`;
    return `${Math.round(s / 60)} min`;
}

function bytes(n) {
    return n < 1048576 ? `${Math.round(n / 1024)} KB` : `${Math.round(n / 1048576)} MB`;
}


/* histograms: { sum, counts }, one count a bucket */

const total = (counts) => counts.reduce((sum, n) => sum + n, 0);

function together(histograms) {
    return {
        sum: histograms.reduce((sum, h) => sum + h.sum, 0),
        counts: histograms[0].counts.map((_, i) => histograms.reduce((sum, h) => sum + h.counts[i], 0)),
    };
}

/* within how many seconds that share was, evenly spread inside a bucket */
function within(histogram, bounds, share) {
    const want = share * total(histogram.counts);
    let below = 0;

    for (const [i, n] of histogram.counts.entries()) {
        if (below + n >= want && n > 0) {
            if (i === bounds.length) return Infinity;
            const from = i ? bounds[i - 1] : 0;
            return from + (bounds[i] - from) * (want - below) / n;
        }
        below += n;
    }
    return 0;
}


/* the parts of the page */

function figure(id, value, of) {
    $(id).replaceChildren(count(value), element('small', {}, ` of ${count(of)}`));
    $(`${id}-meter`).replaceChildren(...meter(of ? value / of : 0, value >= of ? 'full' : '').children);
}

function drawTiles(status) {
    const alive = status.processes.length;
    const ends = ['failed', 'aborted', 'refused'];

    figure('running', status.turns.running, status.limits.concurrent);
    figure('waiting', status.turns.waiting, status.limits.queue);
    figure('alive', alive, status.limits.processes);

    $('finished').textContent = count(status.turns.finished);
    $('outcomes').textContent = ends.map((end) => `${count(status.turns[end])} ${end}`).join(' · ');
    $('tokens').textContent = short.format(status.tokens.prompt + status.tokens.completion);
    $('cached').textContent = `${short.format(status.tokens.completion)} out · `
        + `${percent(status.tokens.prompt ? status.tokens.cached / status.tokens.prompt : 0)} of input cached`;
    $('cost').textContent = usd(status.cost_usd);
    $('cost-turn').textContent = status.turns.finished
        ? `${usd(status.cost_usd / status.turns.finished)} a turn` : 'by the CLI\'s account';

    $('versions').textContent = `module ${status.module} · CLI ${status.cli ?? 'not started yet'} · `
        + `counting for ${span(status.time - status.since)}`;
}

function legend(id, names) {
    $(id).replaceChildren(...names.map(([name, text]) => element('li', { class: name }, text)));
}

/* a step that leaves up to four lines on the chart */
function step(most) {
    for (let s = 1; ; s *= 10) {
        for (const n of [s, 2 * s, 5 * s]) if (most <= 4 * n) return n;
    }
}

function frame(svg) {
    const width = svg.clientWidth || 600;
    const height = svg.clientHeight || 150;

    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.replaceChildren();
    return { width, height, left: 34, right: width - 4, top: 8, bottom: height - 20 };
}

function grid(svg, box, most) {
    const by = step(most);
    const high = Math.max(by, Math.ceil(most / by) * by);
    const y = (n) => box.bottom - (box.bottom - box.top) * n / high;

    for (let n = 0; n <= high; n += by) {
        svg.append(shape('line', { class: 'grid', x1: box.left, x2: box.right, y1: y(n), y2: y(n) }),
            shape('text', { x: box.left - 8, y: y(n) + 4, 'text-anchor': 'end' }, count(n)));
    }
    return y;
}

function drawTimeline() {
    const svg = $('timeline');
    const box = frame(svg);
    const now = seen.at(-1).at;
    const minutes = Math.min(SEEN, Math.max(60000, now - seen[0].at)) / 60000;
    const x = (at) => box.right - (box.right - box.left) * (now - at) / (minutes * 60000);
    const y = grid(svg, box, Math.max(1, ...seen.map((s) => Math.max(s.running, s.waiting))));

    for (let ago = Math.floor(minutes); ago >= 0; ago--) {
        svg.append(shape('text', {
            x: x(now - ago * 60000), y: box.bottom + 16,
            'text-anchor': ago === minutes ? 'start' : ago ? 'middle' : 'end',
        }, ago ? `${ago} min ago` : 'now'));
    }

    for (const name of ['waiting', 'running']) {
        const points = seen.map((s) => `${x(s.at).toFixed(1)} ${y(s[name]).toFixed(1)}`);

        svg.append(
            shape('path', { class: `area ${name}`, d: `M${x(seen[0].at)} ${box.bottom}L${points.join('L')}L${x(now)} ${box.bottom}Z` }),
            shape('path', { class: `line ${name}`, d: `M${points.join('L')}` }));
    }
}

function drawTimes(status) {
    const svg = $('ttft');
    const box = frame(svg);
    const bounds = status.latency.bounds;
    const rungs = RUNGS.filter((rung) => total(status.latency.ttft[rung].counts));
    const all = together(RUNGS.map((rung) => status.latency.ttft[rung]));
    const y = grid(svg, box, Math.max(1, ...all.counts));
    const wide = (box.right - box.left) / all.counts.length;

    for (const [i] of all.counts.entries()) {
        let below = 0;

        for (const rung of rungs) {
            const n = status.latency.ttft[rung].counts[i];
            if (!n) continue;
            const bar = shape('rect', {
                class: rung, rx: 2, x: box.left + i * wide + 2, width: wide - 4,
                y: y(below + n), height: Math.max(1, y(below) - y(below + n) - 1),
            });
            bar.append(shape('title', {}, `${count(n)} ${rung}, ${i < bounds.length
                ? `up to ${seconds(bounds[i])}` : 'longer'}`));
            svg.append(bar);
            below += n;
        }

        if (i < bounds.length && i % 2) {
            svg.append(shape('text', { x: box.left + (i + 1) * wide, y: box.bottom + 16, 'text-anchor': 'middle' },
                seconds(bounds[i])));
        }
    }

    if (!rungs.length) {
        svg.append(shape('text', { class: 'none', x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2, 'text-anchor': 'middle' },
            'no turn yet'));
    }

    legend('ttft-legend', rungs.map((rung) => [rung, rung]));

    $('times').replaceChildren(...[
        ['first token', all],
        ['wait for a process', status.latency.wait],
        ['whole turn', status.latency.duration],
    ].map(([name, histogram]) => {
        const n = total(histogram.counts);
        return element('tr', {}, cell(name), cell(count(n)), ...(n
            ? [cell(seconds(histogram.sum / n)), cell(seconds(within(histogram, bounds, 0.5))),
                cell(seconds(within(histogram, bounds, 0.95)))]
            : [cell('–'), cell('–'), cell('–')]));
    }));
}

function drawBars(id, rows, none) {
    const most = Math.max(1, ...rows.map(([, n]) => n));

    $(id).replaceChildren(...(rows.length ? rows.flatMap(([text, n, name]) => [
        element('span', {}, text), meter(n / most, name), element('span', { class: 'n' }, count(n)),
    ]) : [element('p', { class: 'none' }, none)]));
}

function drawCounts(status) {
    drawBars('rungs', RUNGS.map((rung) => [rung, status.rungs[rung], rung]));
    drawBars('failures', Object.entries(status.failures).filter(([, n]) => n).sort((a, b) => b[1] - a[1])
        .map(([reason, n]) => [reason.replaceAll('_', ' '), n, 'failure']), 'none');

    $('facts').replaceChildren(...[
        ['started', status.spawned], ['died in a turn', status.died], ['replaced', status.replaced],
        ['gave way', status.evicted], ['handed over', status.handed], ['retries upstream', status.retries],
    ].map(([text, n]) => element('div', {}, element('dt', {}, text), element('dd', {}, count(n)))));
}

function drawUsage(status) {
    const rows = status.usage.filter((row) => row.key !== null || row.prompt_tokens)
        .sort((a, b) => b.cost_usd - a.cost_usd || b.turns - a.turns);

    $('usage').replaceChildren(...(rows.length ? rows.map((row) => element('tr', {},
        cell(row.key === null ? element('em', {}, 'all others') : row.key || element('em', {}, 'no key')),
        cell(row.model ?? ''), cell(count(row.turns), 'n'), cell(count(row.prompt_tokens), 'n'),
        cell(count(row.cached_tokens), 'n'), cell(count(row.completion_tokens), 'n'), cell(usd(row.cost_usd), 'n'),
        element('td', { class: 'share' }, meter(status.cost_usd ? row.cost_usd / status.cost_usd : 0))))
        : [element('tr', {}, element('td', { class: 'none', colspan: 8 }, 'nobody has used anything yet'))]));
}

function drawProcesses(status) {
    const order = ['busy', 'starting', 'reserved', 'wanted', 'idle', 'evicted', 'ending'];
    const rows = [...status.processes].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || a.pid - b.pid);

    $('states').replaceChildren(...order.map((state) => [state, rows.filter((process) => process.state === state).length])
        .filter(([, n]) => n).map(([state, n]) => element('span', { class: `state ${state}` }, `${count(n)} ${state}`)));

    $('processes').replaceChildren(...(rows.length ? rows.map((process) => element('tr', {},
        cell(process.pid ? String(process.pid) : '–'), element('td', {}, element('span', { class: `state ${process.state}` }, process.state)),
        cell(span(process.since), 'n'), cell(process.rung === '-' ? '–' : process.rung), cell(count(process.turns), 'n'),
        cell(span(process.age), 'n'), cell(process.memory ? bytes(process.memory) : '–', 'n'), cell(String(process.worker))))
        : [element('tr', {}, element('td', { class: 'none', colspan: 8 }, 'no process'))]));
}

function draw(status) {
    seen.push({ at: Date.now(), running: status.turns.running, waiting: status.turns.waiting });
    while (seen[0].at < Date.now() - SEEN) seen.shift();

    $('main').hidden = false;
    drawTiles(status);
    drawTimeline();
    drawTimes(status);
    drawCounts(status);
    drawUsage(status);
    drawProcesses(status);
}


/* asking */

function say(state, text) {
    $('link').dataset.state = state;
    $('link').textContent = text;
}

function askForKey(wrong) {
    sessionStorage.removeItem(STORED);
    $('forget').hidden = true;
    $('main').hidden = true;
    $('key').hidden = false;
    $('wrong').hidden = !wrong;
    $('secret').value = '';
    $('secret').focus();
    say('wait', 'waiting for a key');
}

async function ask() {
    const key = sessionStorage.getItem(STORED);

    clearTimeout(timer);

    try {
        const answer = await fetch(source, {
            cache: 'no-store',
            headers: key ? { authorization: `Bearer ${key}` } : {},
            signal: AbortSignal.timeout(10000),
        });

        if (answer.status === 401) {
            askForKey(key !== null);
            return;
        }

        if (!answer.ok) throw new Error(`status ${answer.status}`);

        const status = await answer.json();

        $('key').hidden = true;
        $('forget').hidden = key === null;
        draw(status);
        say('good', `live, ${new Date().toLocaleTimeString()}`);

    } catch (error) {
        say('bad', error.name === 'TypeError' ? 'nginx does not answer' : `no status: ${error.message}`);
    }

    if (!document.hidden) timer = setTimeout(ask, EVERY);
}


$('key').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(STORED, $('secret').value.trim());
    ask();
});

$('forget').addEventListener('click', () => {
    clearTimeout(timer);
    askForKey(false);
});

document.addEventListener('visibilitychange', () => {
    if (!document.hidden && $('key').hidden) ask();
});

legend('timeline-legend', [['running', 'running'], ['waiting', 'waiting']]);
ask();
