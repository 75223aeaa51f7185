/*
 * Values that satisfy a JSON schema, for the stub's demo: what somebody without wit would write who
 * is held to one. Where a schema leaves a choice, words and numbers come from a text. A pattern is
 * beyond it.
 */

const isObject = (v) => v !== null && typeof v === 'object' && !Array.isArray(v);

/* Deeper than this only what recurses without an end gets. */
const DEPTH = 32;

const FORMATS = {
    'date-time': '2001-02-03T04:05:06Z',
    date: '2001-02-03',
    time: '04:05:06Z',
    duration: 'P1D',
    email: 'demo@example.com',
    hostname: 'example.com',
    uri: 'https://example.com/',
    ipv4: '192.0.2.1',
    ipv6: '2001:db8::1',
    uuid: '00000000-0000-4000-8000-000000000000',
};

/* What a JSON pointer of the document's own leads to, or undefined. */
export function resolveRef(ref, root) {
    if (typeof ref !== 'string' || !/^#(\/|$)/.test(ref)) return undefined;
    const steps = ref.split('/').slice(1).map((s) => s.replace(/~1/g, '/').replace(/~0/g, '~'));
    return steps.reduce((node, step) => node?.[step], root);
}

/* {string(), number()}: what a text offers for the next place, or undefined. */
export function hintsOf(text) {
    const strings = [...quotedIn(text), ...pathsIn(text), ...namesIn(text)];
    const numbers = Array.from(text.matchAll(/(?<![\w.-])-?\d+(?:\.\d+)?(?!\w|\.\d)/g), ([number]) => Number(number));
    return { string: () => strings.shift(), number: () => numbers.shift() };
}

const quotedIn = (text) => Array.from(text.matchAll(/“([^”]+)”|"([^"]+)"|`([^`]+)`/g), (m) => m[1] ?? m[2] ?? m[3]);

const pathsIn = (text) => text.split(/[\s“”"`]+/).map((word) => word.replace(/[.,;:!?)]+$/, ''))
    .filter((word) => /^\S*\w\.[a-z]\w*$|^\.{0,2}\/.|^https?:/i.test(word));

/* Words with a capital that does not come from where they stand. */
function namesIn(text) {
    const capital = String.raw`\p{Lu}[\p{L}\p{M}’-]*\p{L}`;
    return Array.from(text.matchAll(new RegExp(`(?<=[\\p{L}\\d,;:] )${capital}(?: ${capital})*`, 'gu')), ([name]) => name);
}

/* The module has moved the words that the API does not enforce into the description, as JSON. */
function withWhatIsTold(schema) {
    try {
        const told = JSON.parse(schema.description.split('\n\n').at(-1));
        return isObject(told) ? { ...told, ...schema } : schema;
    } catch {
        return schema;
    }
}

/* hints as hintsOf() gives them. */
export function instanceOf(schema, hints = hintsOf(''), root = schema, depth = 0) {
    if (!isObject(schema) || depth > DEPTH) return null;
    const next = (inner) => instanceOf(inner, hints, root, depth + 1);
    if (schema.$ref !== undefined) return next(resolveRef(schema.$ref, root));
    const known = withWhatIsTold(schema);
    const fixed = ['const', 'default'].find((word) => word in known);
    if (fixed) return known[fixed];
    const listed = known.enum ?? known.examples;
    if (Array.isArray(listed) && listed.length) return listed[0];
    const choices = known.anyOf ?? known.oneOf;
    if (choices) return next(choices.find((choice) => choice?.type !== 'null') ?? choices[0]);
    if (known.allOf) return Object.assign(known.properties ? objectOf(known, next) : {}, ...known.allOf.map(next));
    return ofType(known, hints, next);
}

function ofType(schema, hints, next) {
    const types = [schema.type ?? (schema.properties ? 'object' : 'string')].flat();
    switch (types.find((type) => type !== 'null')) {
    case 'object': return objectOf(schema, next);
    case 'array': return Array.from({ length: schema.minItems ?? 1 }, () => next(schema.items ?? {}));
    case 'integer': return numberOf(schema, Math.ceil(hints.number() ?? 1), 1);
    case 'number': return numberOf(schema, hints.number() ?? 1, 0);
    case 'boolean': return true;
    case 'string': return stringOf(schema, hints);
    default: return null;
    }
}

/* What is required; all of it where nothing is. */
function objectOf(schema, next) {
    const properties = schema.properties ?? {};
    const names = schema.required?.length ? schema.required : Object.keys(properties);
    return Object.fromEntries(names.map((name) => [name, next(properties[name] ?? {})]));
}

/* The wanted number, or the one next to it that is allowed; step is that of an open end. */
function numberOf(schema, wanted, step) {
    const low = schema.minimum ?? schema.exclusiveMinimum + (step || 0.5);
    const high = schema.maximum ?? schema.exclusiveMaximum - (step || 0.5);
    let value = wanted;
    if (value > high) value = high;
    if (value < low) value = low;
    return schema.multipleOf ? Math.ceil(value / schema.multipleOf) * schema.multipleOf : value;
}

function stringOf(schema, hints) {
    if (schema.format in FORMATS) return FORMATS[schema.format];
    return (hints.string() ?? 'demo').slice(0, schema.maxLength ?? Infinity).padEnd(schema.minLength ?? 0, '.');
}
