// The recorded session of session.py, the same 170 steps in the same order, by the official gRPC
// client for Node: another encoder, another HTTP/2 stack and gzipped requests get the same answers.
//
//   npm ci --ignore-scripts --omit=peer
//   node session.mjs HOST PORT < data.json
//
// data.json is what session_data.py prints. What the steps answered goes to stdout in the form of
// transcript.json; a step that failed has the name of its gRPC code.
import { readFileSync } from 'node:fs';
import {
    ConnectError, ConnectErrorCode, Direction, Distance, FieldType, Fusion, NullValue, QdrantClient,
    QuantizationType, RecommendStrategy, TokenizerType, UpdateStatus, toDenseVector,
} from '@qdrant/js-client-grpc';

const [host, port] = process.argv.slice(2);
const client = new QdrantClient({ host, port: Number(port), timeout: 30_000, checkCompatibility: false });
const collections = client.api('collections');
const points = client.api('points');
const data = JSON.parse(readFileSync(0, 'utf8'));
const A = 'rs_studies', OTHER = 'rs_other', V2 = 'rs_studies_v2', NONE = 'rs_none', LIVE = 'rs_live';
const D = 16, N = 300;
const q = data.query;

// Requests: a oneof is {case, value}, 64-bit integers are bigints.
const is = (kind, value) => ({ case: kind, value });
const mapped = (object, f) => Object.fromEntries(Object.entries(object).map(([k, v]) => [k, f(v)]));
const value = (v) => {
    if (v === null) return { kind: is('nullValue', NullValue.NULL_VALUE) };
    if (Array.isArray(v)) return { kind: is('listValue', { values: v.map(value) }) };
    if (typeof v === 'object') return { kind: is('structValue', { fields: payload(v) }) };
    if (typeof v === 'string') return { kind: is('stringValue', v) };
    if (typeof v === 'boolean') return { kind: is('boolValue', v) };
    return { kind: Number.isInteger(v) ? is('integerValue', BigInt(v)) : is('doubleValue', v) };
};
const payload = (object) => mapped(object, value);
const uid = (i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const id = (v) => ({ pointIdOptions: typeof v === 'number' ? is('num', BigInt(v)) : is('uuid', v) });
const dense = (v) => ({ vector: is('dense', { data: v }) });
const named = (vectors) => ({ vectorsOptions: is('vectors', { vectors: mapped(vectors, dense) }) });
const point = (i, vectors, p = {}) => ({ id: id(i), vectors: named(vectors), payload: payload(p) });
const both = (i) => ({ image: data.image[i], text: data.text[i] });
const all = Array.from({ length: N }, (_, i) => point(i % 2 ? uid(i) : i, both(i), data.payload[i]));
const params = (size, distance) => ({ size: BigInt(size), distance });
const map = { image: params(D, Distance.Cosine), text: params(D, Distance.Cosine) };
const vectorsConfig = { config: is('paramsMap', { map }) };

const condition = (kind, v) => ({ conditionOneOf: is(kind, v) });
const field = (key, test) => condition('field', { key, ...test });
const match = (key, kind, v) => field(key, { match: { matchValue: is(kind, v) } });
const eq = (key, v) => {
    if (typeof v === 'number') return match(key, 'integer', BigInt(v));
    return match(key, typeof v === 'boolean' ? 'boolean' : 'keyword', v);
};
const range = (key, r) => field(key, { range: r });
const must = (...conditions) => ({ must: conditions });
const time = (day) => ({ seconds: BigInt(Date.parse(day) / 1000) });

const ids = (...list) => ({ pointsSelectorOneOf: is('points', { ids: list.map(id) }) });
const matching = (filter) => ({ pointsSelectorOneOf: is('filter', filter) });
const yes = { selectorOptions: is('enable', true) }, no = { selectorOptions: is('enable', false) };
const include = (...fields) => ({ selectorOptions: is('include', { fields }) });
const exclude = (...fields) => ({ selectorOptions: is('exclude', { fields }) });
const only = (...names) => ({ selectorOptions: is('include', { names }) });

const input = (v) => ({ variant: Array.isArray(v) ? is('dense', { data: v }) : is('id', id(v)) });
const ask = (kind, v) => ({ variant: is(kind, v) });
const nearest = (v) => ask('nearest', input(v));
const recommend = (positive, negative, strategy) =>
    ask('recommend', { positive: positive.map(input), negative: negative.map(input), strategy });
const prefetch = (v, using, limit, filter) => ({ query: nearest(v), using, limit: BigInt(limit), filter });
const image = (v, limit, more) => ({ query: nearest(v), using: 'image', limit: BigInt(limit), ...more });

// Answers, in the form of the transcript.
const plain = ({ kind }) => {
    switch (kind.case) {
        case 'nullValue': return null;
        case 'listValue': return kind.value.values.map(plain);
        case 'structValue': return mapped(kind.value.fields, plain);
        case 'integerValue': return Number(kind.value);
        default: return kind.value;
    }
};
const plainID = ({ pointIdOptions: { case: kind, value } }) => (kind === 'num' ? Number(value) : value);
const numbers = (output) => toDenseVector(output).data;
const vector = ({ vectorsOptions: { case: kind, value } }) =>
    kind === 'vector' ? numbers(value) : mapped(value.vectors, numbers);
const record = (p) => ({
    id: plainID(p.id),
    ...(Object.keys(p.payload).length && { payload: mapped(p.payload, plain) }),
    ...(p.vectors && { vector: vector(p.vectors) }),
});
const hit = (p) => ({ ...record(p), score: p.score });
const status = (result) => UpdateStatus[result.status].toLowerCase();

// Steps.
const steps = [];
const step = async (name, f, kind = 'value') => {
    let out;
    try {
        out = { ok: await f() };
    } catch (e) {
        if (!(e instanceof ConnectError)) throw e;
        out = { error: ConnectErrorCode[e.code].replace(/\B[A-Z]/g, '_$&').toUpperCase() };
    }
    steps.push({ step: name, kind, ...out });
};
const change = (name, method, request) => step(name, async () => (await collections[method](request)).result);
const create = (name, request) => change(name, 'create', request);
const drop = (collectionName) => collections.delete({ collectionName });
const update = (name, method, request) =>
    step(name, async () => status((await points[method]({ collectionName: A, wait: true, ...request })).result));
const upsert = (name, list, more) => update(name, 'upsert', { points: list, ...more });
const query = async (request) =>
    (await points.query({ collectionName: A, withPayload: yes, ...request })).result.map(hit);
const hits = (name, request) => step(name, () => query(request), 'hits');
const recs = (name, list, more) => step(name, async () => (await points.get(
    { collectionName: A, ids: list.map(id), withPayload: yes, ...more })).result.map(record), 'recs');
const count = (name, filter, collectionName = A) => step(name, async () =>
    Number((await points.count({ collectionName, filter, exact: true })).result.count));
const scroll = (request) => points.scroll({ collectionName: A, withPayload: no, ...request });
const idsOf = (result) => result.map((p) => plainID(p.id));

for (const n of [A, OTHER, V2]) await drop(n);

// collections and aliases
await create('create', { collectionName: A, vectorsConfig });
await create('create again', { collectionName: A, vectorsConfig });
const exists = async (collectionName) => (await collections.collectionExists({ collectionName })).result.exists;
await step('exists', () => exists(A));
await step('exists not', () => exists(NONE));
await step('info of none', () => collections.get({ collectionName: NONE }));
await step('names', async () =>
    (await collections.list({})).collections.map((c) => c.name).filter((n) => n.startsWith('rs_')).sort());
await create('create single unnamed dot', {
    collectionName: OTHER, vectorsConfig: { config: is('params', params(4, Distance.Dot)) },
});
await step('params', async () => {
    const { result } = await collections.get({ collectionName: A });
    return mapped(result.config.params.vectorsConfig.config.value.map, (v) => [Number(v.size), Distance[v.distance]]);
});
for (const [fieldName, type, kind, index] of [
    ['tenant', 'Keyword', 'keywordIndexParams', { isTenant: true }], ['n', 'Integer'], ['label.effusion', 'Float'],
    ['taken', 'Datetime'], ['ok', 'Bool'], ['finding', 'Keyword'],
    ['text', 'Text', 'textIndexParams', { tokenizer: TokenizerType.Word, lowercase: true }],
]) {
    const fieldIndexParams = kind && { indexParams: is(kind, index) };
    await update(`index ${fieldName}`, 'createFieldIndex',
        { fieldName, fieldType: FieldType[`FieldType${type}`], fieldIndexParams });
}

// writes
for (let k = 0; k < N; k += 100) await upsert(`upsert ${k}`, all.slice(k, k + 100));
await upsert('upsert wrong width', [point(9999, { image: [1, 1, 1] })]);
await upsert('upsert unknown vector', [point(9998, { nope: Array(D).fill(1) })]);
await upsert('upsert to none', all.slice(0, 1), { collectionName: NONE });
await upsert('upsert one vector only', [point(5000, { text: data.text[0] }, { tenant: 't9' })]);
await count('count');
const older = (rev) => ({ updateFilter: must(range('rev', { lt: rev })) });
const rev = { withPayload: include('rev', 'n') };
await upsert('conditional upsert, older rev refused', [point(2, both(3), { ...data.payload[2], rev: 0 })], older(0));
await recs('after refused', [2], rev);
await upsert('conditional upsert, newer rev taken', [point(2, both(2), { ...data.payload[2], rev: 2 })], older(2));
await recs('after taken', [2], rev);
await upsert('conditional upsert of an absent point',
    [point(6000, { image: data.image[1] }, { tenant: 't9', rev: 1 })], older(1));
await recs('absent point is there', [6000]);

// reads
await recs('retrieve', [0, uid(1), 4, 777777], { withVectors: only('image') });
await recs('retrieve include', [4], { withPayload: include('label.effusion', 'finding') });
await recs('retrieve exclude', [4], { withPayload: exclude('label', 'text', 'priors', 'taken') });
for (const [i, v] of q.entries()) await hits(`nearest image ${i}`, image(v, 7));
await hits('nearest text', image(q[0], 5, { using: 'text', withPayload: include('finding') }));
await hits('nearest with vectors', image(q[1], 3, { withVectors: only('text') }));
await hits('offset', image(q[0], 5, { offset: 5n }));
await hits('score threshold', image(q[0], 50, { scoreThreshold: 0.35 }));
await hits('limit zero', image(q[0], 0));
await hits('exact', image(q[2], 5, { params: { exact: true } }));
await hits('no vector name', image(q[0], 3, { using: undefined }));
await hits('unknown vector name', image(q[0], 3, { using: 'nope' }));
await hits('wrong width query', image([1, 2], 3));
await hits('zero query', image(Array(D).fill(0), 2, { filter: must(eq('n', 8)) }));
await hits('by id', image(8, 4));
await hits('by uuid', image(uid(9), 4));
await hits('by missing id', image(424242, 4));
for (const [name, strategy] of Object.entries({
    average_vector: RecommendStrategy.AverageVector,
    best_score: RecommendStrategy.BestScore,
    sum_scores: RecommendStrategy.SumScores,
})) {
    await hits(`recommend ${name}`, { query: recommend([8, uid(9)], [10], strategy), using: 'image', limit: 5n });
}
await hits('recommend mixed vector', { query: recommend([8, q[3]], []), using: 'image', limit: 5n });
const two = [prefetch(q[0], 'image', 20), prefetch(q[1], 'text', 20)];
await hits('rrf', { prefetch: two, query: ask('fusion', Fusion.RRF), limit: 6n });
await hits('dbsf', { prefetch: two, query: ask('fusion', Fusion.DBSF), limit: 6n });
await hits('prefetch rescored',
    image(q[1], 5, { prefetch: [prefetch(q[0], 'image', 30, must(eq('tenant', 't1')))], using: 'text' }));
await step('batch', async () => {
    const queryPoints = q.slice(0, 3).map((v, i) => image(v, 2, { filter: must(eq('tenant', `t${i}`)) }));
    return (await points.queryBatch({ collectionName: A, queryPoints })).result.map((r) => r.result.map(hit));
});
await step('groups', async () => {
    const request = image(q[0], 3, { collectionName: A, groupBy: 'finding', groupSize: 2n, withPayload: yes });
    return (await points.queryGroups(request)).result.groups.map((g) => [g.id.kind.value, g.hits.map(hit)]);
});
await step('order by', async () =>
    (await query({ query: ask('orderBy', { key: 'n', direction: Direction.Desc }), limit: 4n })).map((h) => h.id));

// filters: count and the ids of a scroll
const filters = {
    'match': must(eq('finding', 'edema')),
    'match any': must(match('finding', 'keywords', { strings: ['edema', 'nodule'] })),
    'match except': must(match('finding', 'exceptKeywords', { strings: ['edema'] })),
    'match int': must(eq('n', 17)),
    'match bool': must(eq('ok', true)),
    'array member': must(eq('views', 'lateral')),
    'text': must(match('text', 'text', 'number nodule')),
    'range': must(range('n', { gte: 10, lt: 20 })),
    'range nested': must(range('label.effusion', { gt: 0.9 })),
    'range float': must(range('score', { lte: 0.1 })),
    'datetime': must(field('taken', { datetimeRange: { gte: time('2024-03-01'), lt: time('2024-03-08') } })),
    'has id': must(condition('hasId', { hasId: [0, 2, uid(3), 999999].map(id) })),
    'is empty': must(condition('isEmpty', { key: 'tags' })),
    'is null': must(condition('isNull', { key: 'note' })),
    'values count': must(field('views', { valuesCount: { gte: 2n } })),
    'nested': must(condition('nested', { key: 'priors', filter: must(range('days', { lt: 40 }), eq('same', false)) })),
    'array path': must(range('priors[].days', { gt: 300 })),
    'should': { should: [eq('finding', 'edema'), eq('n', 3)] },
    'must not': { mustNot: [eq('tenant', 't0')] },
    'min should': {
        minShould: { conditions: [eq('finding', 'edema'), eq('ok', true), eq('tenant', 't1')], minCount: 2n },
    },
    'deep': {
        must: [condition('filter', { should: [eq('tenant', 't1'), eq('tenant', 't2')] }), range('n', { lt: 50 })],
        mustNot: [condition('filter', must(eq('finding', 'nodule'), eq('tenant', 't1')))],
    },
    'empty filter': {},
    'has vector': must(condition('hasVector', { hasVector: 'image' })),
};
for (const [name, filter] of Object.entries(filters)) {
    await count(`count ${name}`, filter);
    await step(`scroll ${name}`, async () => idsOf((await scroll({ filter, limit: 15 })).result));
    await hits(`query ${name}`, image(q[4], 4, { filter }));
}
await step('scroll all pages', async () => {
    const pages = [];
    let offset;
    do {
        const { result, nextPageOffset } = await scroll({ limit: 40, offset });
        pages.push(idsOf(result));
        offset = nextPageOffset;
    } while (offset && pages.length < 10);
    return pages;
});
await step('scroll ordered', async () => {
    const orderBy = { key: 'n', direction: Direction.Desc, startFrom: { value: is('integer', 250n) } };
    return idsOf((await scroll({ limit: 6, orderBy })).result);
});

// payload and vectors changed, points deleted
const set = (name, selector, p, more) =>
    update(name, 'setPayload', { payload: payload(p), pointsSelector: selector, ...more });
await set('set payload', ids(4), { label: { effusion: 0.99 }, new: 1 });
await recs('after set', [4]);
await set('set payload at key', ids(6), { edema: 0.5 }, { key: 'label' });
await recs('after set at key', [6], { withPayload: include('label') });
await update('overwrite payload', 'overwritePayload', { payload: payload({ only: true }), pointsSelector: ids(8) });
await recs('after overwrite', [8]);
await update('delete payload keys', 'deletePayload', { keys: ['text', 'label.edema'], pointsSelector: ids(10) });
await recs('after delete keys', [10]);
await update('clear payload', 'clearPayload', { points: ids(12) });
await recs('after clear', [12]);
await set('set payload by filter', matching(must(eq('finding', 'nodule'), range('n', { lt: 20 }))), { flag: true });
await count('count flag', must(eq('flag', true)));
await update('update vectors', 'updateVectors', { points: [{ id: id(14), vectors: named({ image: q[5] }) }] });
await hits('after update vectors', image(q[5], 2));
await update('delete vectors', 'deleteVectors', { vectors: { names: ['image'] }, pointsSelector: ids(16) });
await count('count has image', filters['has vector']);
await update('delete ids', 'delete', { points: ids(18, uid(19), 123456) });
await count('count after delete');
await update('delete by filter', 'delete', { points: matching(must(eq('tenant', 't2'))) });
await count('count after filter');
await hits('nearest after deletes', image(q[0], 5));
await step('batch ops', async () => {
    const operations = [
        is('upsert', { points: [point(7000, { image: q[6] }, { b: 1 })] }),
        is('setPayload', { payload: payload({ b: 2 }), pointsSelector: ids(7000) }),
        is('deletePoints', { points: ids(0) }),
    ].map((operation) => ({ operation }));
    return (await points.updateBatch({ collectionName: A, operations, wait: true })).result.map(status);
});
await recs('after batch ops', [0, 7000]);

// aliases and the second collection
const actions = (...list) => ({ actions: list.map((action) => ({ action })) });
const alias = (collectionName, aliasName) => is('createAlias', { collectionName, aliasName });
await create('create v2', {
    collectionName: V2, vectorsConfig, onDiskPayload: true,
    quantizationConfig: { quantization: is('scalar', { type: QuantizationType.Int8, alwaysRam: true }) },
});
await change('alias', 'updateAliases', actions(alias(A, LIVE)));
await count('query by alias', undefined, LIVE);
await change('switch alias', 'updateAliases', actions(is('deleteAlias', { aliasName: LIVE }), alias(V2, LIVE)));
await count('count by switched alias', undefined, LIVE);
await step('aliases', async () => (await collections.listAliases({})).aliases
    .map((a) => [a.aliasName, a.collectionName]).filter(([name]) => name.startsWith('rs_')).sort());
await change('alias of none', 'updateAliases', actions(alias(NONE, 'rs_x')));
const dot = { collectionName: OTHER };
const unnamed = (i) => ({ id: id(i), vectors: { vectorsOptions: is('vector', dense([i, 1, 0, -i])) } });
await upsert('dot upsert', [0, 1, 2, 3, 4].map(unnamed), dot);
await hits('dot query', { query: nearest([1, 0, 0, 0]), limit: 3n, ...dot });
await recs('dot vectors kept', [3], { withVectors: yes, ...dot });
await change('delete collection', 'delete', dot);
await change('delete collection again', 'delete', dot);
await count('points of deleted', undefined, OTHER);
for (const n of [A, V2]) await drop(n);

console.log(JSON.stringify(steps));
