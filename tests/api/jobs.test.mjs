// jobs over HTTP, against the real binary: the life of a job from POST to
// DELETE, what the API says about it on the way, and what two users at once see.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { startServer } from '../lib/server.mjs';
import { tiny, bits, events, finished, reached, submit, epochsOf, csvOf } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const post = (path, body, headers = {}) => server.api(path, {
  method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body ?? {}),
});

test('a job runs from POST to succeeded and tells all that API.md lists', async () => {
  const created = await post('/jobs', tiny({ name: 'first', tags: ['a', 'b'] }));
  assert.equal(created.status, 201);
  const body = await created.json();
  assert.equal(created.headers.get('location'), `jobs/${body.id}`);
  assert.match(created.headers.get('x-request-id'), /\S/);
  const job = await finished(server, body.id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  for (const field of ['id', 'name', 'notes', 'tags', 'user', 'state', 'priority', 'attempt', 'submitted_at', 'started_at',
    'finished_at', 'epoch', 'epochs', 'eta_seconds', 'device', 'memory_bytes', 'error', 'waits', 'provenance', 'spec',
    'summary', 'links']) assert.ok(field in job, `${field} is missing`);
  assert.equal(job.epoch, job.epochs);
  assert.match(job.submitted_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  assert.ok(job.submitted_at <= job.started_at && job.started_at <= job.finished_at);
  assert.match(job.spec.corpus.id, /^[0-9a-f]{64}$|^gulliver-synthetic$/);
  assert.equal(job.provenance.precision, 'fp32');
  const records = await epochsOf(server, job.id);
  assert.deepEqual(records.map((record) => record.epoch), [...Array(job.epochs + 1).keys()]);
  assert.equal(job.summary.loss, records.at(-1).loss);
  for (const [name, link] of Object.entries(job.links)) assert.match(link, /^\.\.\/(jobs\/|events)/, name);
  assert.deepEqual(Object.keys(job.links).sort(), ['batch', 'checkpoint', 'epochs', 'events', 'findings', 'history', 'indicators', 'log', 'probe', 'self',
    'spectrum', 'theory', 'tokens']);
});

test('the resolved spec of a job can be posted again unchanged and gives the same bits', async () => {
  const first = await finished(server, (await submit(server, tiny({ name: 'again' }))).id);
  const second = await finished(server, (await submit(server, first.spec)).id);
  assert.deepEqual(second.spec, first.spec);
  const strip = (records) => records.map(({ job, tokens_per_second, ...rest }) => rest);
  assert.deepEqual(strip(await epochsOf(server, second.id)), strip(await epochsOf(server, first.id)));
});

// On a processor without the instructions bf16 is computed in float and rounded.
test('precision: what is asked for is what it is computed in, and auto says what it came to', async () => {
  const run = async (precision) => finished(server, (await submit(server, tiny({ name: precision, train: { precision } }))).id);
  const same = (a, b) => assert.deepEqual(bits(a), bits(b));
  const jobs = [];
  for (const precision of ['fp32', 'bf16', 'fp32', 'auto', 'bf16']) jobs.push(await run(precision));
  for (const job of jobs) assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  const came = jobs.map(({ provenance }) => provenance.precision);
  const cpus = /^(avx512_bf16|amx),/.test(jobs[0].provenance.isa) ? 'bf16' : 'fp32';
  assert.deepEqual(came, ['fp32', 'bf16', 'fp32', cpus, 'bf16']);
  const records = await Promise.all(jobs.map(({ id }) => epochsOf(server, id)));
  same(records[0], records[2]);
  same(records[1], records[4]);
  same(records[3], records[cpus === 'bf16' ? 1 : 0]);
  const [fp32, bf16] = [records[0].at(-1), records[1].at(-1)];
  assert.notEqual(fp32.loss, bf16.loss);
  assert.ok(Math.abs(fp32.loss - bf16.loss) < 0.02, `${fp32.loss} and ${bf16.loss}`);
  assert.notEqual(jobs[0].memory_bytes, jobs[1].memory_bytes);
  const auto = await submit(server, tiny({ name: 'what it may need', train: { precision: 'auto' } }));
  assert.equal(auto.memory_bytes, Math.max(jobs[0].memory_bytes, jobs[1].memory_bytes), 'before it is known');
  const settled = await finished(server, auto.id);
  assert.equal(settled.memory_bytes, jobs[cpus === 'bf16' ? 1 : 0].memory_bytes, 'afterwards');
});

test('another seed gives other numbers', async () => {
  const run = async (seed) => epochsOf(server, (await finished(server, (await submit(server, tiny({ train: { seed } }))).id)).id);
  const [a, b] = [await run(5), await run(6)];
  assert.notEqual(a.at(-1).loss, b.at(-1).loss);
});

test('Idempotency-Key: same body same job, other body 422', async () => {
  const key = { 'Idempotency-Key': randomUUID() };
  const first = await post('/jobs', tiny({ name: 'once' }), key);
  const again = await post('/jobs', tiny({ name: 'once' }), key);
  const other = await post('/jobs', tiny({ name: 'twice' }), key);
  assert.deepEqual([first.status, again.status, other.status], [201, 200, 422]);
  const [a, b] = [await first.json(), await again.json()];
  assert.equal(a.id, b.id);
  assert.equal(other.headers.get('content-type'), 'application/problem+json');
  await finished(server, a.id);
});

test('Idempotency-Key: what came before is answered also when what it started from is gone', async () => {
  const key = { 'Idempotency-Key': randomUUID() };
  const source = await finished(server, (await submit(server, tiny({ train: { epochs: 1 } }))).id);
  const spec = tiny({ init_from: source.id, train: { epochs: 1 } });
  const first = await (await post('/jobs', spec, key)).json();
  await finished(server, first.id);
  assert.equal((await server.api(`/jobs/${source.id}`, { method: 'DELETE' })).status, 204);
  const again = await post('/jobs', spec, key);
  assert.deepEqual([again.status, again.headers.get('location'), (await again.json()).id], [200, `jobs/${first.id}`, first.id]);
  assert.equal((await post('/jobs', spec)).status, 422);
});

test('a job’s events say the same as the job', async () => {
  const blocker = await submit(server, tiny({ name: 'blocker', train: { epochs: 100000 } }));
  const job = await submit(server, tiny({ name: 'told', tags: ['x'] }));
  const [queued] = await events(server, `?after=0&jobs=${job.id}`, (seen) => seen.length > 0);
  await post(`/jobs/${blocker.id}/cancel`);
  const pick = ({ id, name, tags, user, state, priority, attempt, cancel_requested, submitted_at, started_at, finished_at, epoch, epochs, device, error, sweep }) => (
    { id, name, tags, user, state, priority, attempt, cancel_requested, submitted_at, started_at, finished_at, epoch, epochs, device, error, sweep });
  assert.deepEqual(pick(queued.data), pick(job));
  assert.deepEqual([job.epoch, job.cancel_requested, job.started_at], [null, false, null]);
  const told = await finished(server, job.id);
  const seen = await events(server, `?after=0&jobs=${job.id}`, (all) => all.some(({ data }) => data.state === 'succeeded'));
  assert.deepEqual(pick(seen.findLast(({ event }) => event === 'job').data), pick(told));
});

test('twenty clients with one key at the same moment make one job', async () => {
  const key = { 'Idempotency-Key': randomUUID() };
  const answers = await Promise.all(Array.from({ length: 20 }, () => post('/jobs', tiny({ name: 'race' }), key)));
  const ids = new Set(await Promise.all(answers.map(async (answer) => (await answer.json()).id)));
  assert.equal(ids.size, 1);
  assert.equal(answers.filter((answer) => answer.status === 201).length, 1);
  await finished(server, [...ids][0]);
});

test('hold, release, patch, cancel, retry, delete, and 409 where the state does not allow it', async () => {
  // A long job keeps the only device busy, so that the one under test stays queued.
  const blocker = await submit(server, tiny({ name: 'blocker', train: { epochs: 100000 } }));
  const job = await submit(server, tiny({ name: 'subject' }));
  const act = async (verb) => { const answer = await post(`/jobs/${job.id}/${verb}`); return [answer.status, await answer.json()]; };
  const state = async (verb) => { const [status, body] = await act(verb); return `${status} ${body.state ?? body.detail}`; };
  assert.equal(await state('hold'), '200 held');
  assert.match(await state('hold'), /^409 .*held/);
  assert.match(await state('retry'), /^409 .*held/);
  assert.match(await state('retry?from=start'), /^409 .*held/);
  assert.match(await state('retry?from=nowhere'), /^422 from: "nowhere" is neither checkpoint nor start/);
  assert.equal(await state('release'), '200 queued');
  const patched = await server.api(`/jobs/${job.id}`, {
    method: 'PATCH', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'renamed', notes: 'a note', tags: ['x'], priority: 7 }),
  });
  const renamed = await patched.json();
  assert.deepEqual([patched.status, renamed.name, renamed.notes, renamed.tags, renamed.priority], [200, 'renamed', 'a note', ['x'], 7]);
  assert.equal((await server.api(`/jobs/${job.id}`, { method: 'DELETE' })).status, 409);
  assert.equal(await state('cancel'), '200 cancelled');
  assert.match(await state('release'), /^409 .*cancelled/);
  assert.equal(await state('retry'), '200 queued');
  assert.ok([200, 202].includes((await post(`/jobs/${blocker.id}/cancel`)).status));
  assert.equal((await finished(server, blocker.id)).state, 'cancelled');
  assert.equal((await finished(server, job.id)).state, 'succeeded');
  assert.match(await state('cancel'), /^409 .*succeeded/);
  assert.equal((await server.api(`/jobs/${job.id}`, { method: 'DELETE' })).status, 204);
  assert.equal((await server.api(`/jobs/${job.id}`)).status, 404);
});

test('a deleted job is gone everywhere with its answer, and a stream replays its deletion alone', async () => {
  const { id } = await finished(server, (await submit(server, tiny({ name: 'gone', tags: ['to-be-gone'] }))).id);
  const folder = `${server.dataDir}/jobs/${id}`;
  assert.ok(fs.existsSync(folder));
  assert.equal((await server.api(`/jobs/${id}`, { method: 'DELETE' })).status, 204);
  for (const path of ['', '/epochs', '/tokens', '/log']) assert.equal((await server.api(`/jobs/${id}${path}`)).status, 404, path);
  assert.equal((await server.api(`/jobs/${id}`, { method: 'DELETE' })).status, 404);
  assert.deepEqual((await (await server.api('/jobs?tag=to-be-gone')).json()).jobs, []);
  const replayed = await events(server, `?after=0&jobs=${id}`, (seen) => seen.some(({ data }) => data.state === 'deleted'));
  assert.deepEqual(replayed.map(({ event, data }) => [event, data.state]), [['job', 'deleted']]);
  assert.ok(!fs.existsSync(folder));
});

test('a retry from the start shows nothing of the attempt before', async () => {
  const job = await submit(server, tiny({ name: 'anew', train: { epochs: 100000, snapshots: [1] } }));
  const models = () => Promise.all([
    ['GET', 'checkpoint?epoch=1'], ['GET', 'checkpoint/config.json'], ['GET', 'indicators?epoch=1'], ['GET', 'spectrum?epoch=1'],
    ['POST', 'probe', { text: 'My father', epoch: 1 }],
  ].map(async ([method, route, body]) => {
    const answer = await (method === 'POST' ? post(`/jobs/${job.id}/${route}`, body) : server.api(`/jobs/${job.id}/${route}`));
    await answer.arrayBuffer();
    return answer.status;
  }));
  await reached(server, job.id, 20);
  assert.deepEqual(await models(), [200, 200, 200, 200, 200]);
  await post(`/jobs/${job.id}/cancel`);
  assert.equal((await finished(server, job.id)).state, 'cancelled');
  const blocker = await submit(server, tiny({ name: 'blocker', train: { epochs: 100000 }, resources: { priority: 10 } }));
  await reached(server, blocker.id, 1);
  assert.equal((await (await post(`/jobs/${job.id}/retry?from=start`)).json()).epoch, null);
  assert.deepEqual(await epochsOf(server, job.id), []);
  assert.deepEqual(await models(), [404, 404, 404, 404, 404]);
  const replayed = await events(server, `?after=0&jobs=${job.id}`, (seen) => seen.at(-1)?.data.state === 'queued' && seen.length > 1);
  assert.ok(replayed.every(({ event }) => event === 'job'));
  await post(`/jobs/${job.id}/cancel`);
  await post(`/jobs/${blocker.id}/cancel`);
  await finished(server, blocker.id);
});

test('a higher priority runs first', async () => {
  const blocker = await submit(server, tiny({ name: 'blocker', train: { epochs: 100000 } }));
  const low = await submit(server, tiny({ name: 'low' }));
  const high = await submit(server, tiny({ name: 'high', resources: { priority: 10 } }));
  await post(`/jobs/${blocker.id}/cancel`);
  const [first, second] = [await finished(server, high.id), await finished(server, low.id)];
  assert.ok(first.started_at < second.started_at);
});

test('list: newest first, filters, cursor, ETag', async () => {
  const tag = `t${Date.now()}`;
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push((await submit(server, tiny({ name: `listed ${i}`, tags: [tag] }))).id);
  for (const id of ids) await finished(server, id);
  const seen = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await (await server.api(`/jobs?tag=${tag}&limit=2${cursor && `&cursor=${cursor}`}`)).json();
    seen.push(...page.jobs.map((job) => job.id));
    cursor = page.next;
  }
  assert.deepEqual(seen, ids.reverse());
  assert.equal((await (await server.api(`/jobs?tag=${tag}&q=%22listed%203%22`)).json()).jobs.length, 1);
  assert.equal((await (await server.api(`/jobs?tag=${tag}&state=failed`)).json()).jobs.length, 0);
  const first = await server.api(`/jobs?tag=${tag}`);
  const etag = first.headers.get('etag');
  await first.arrayBuffer();
  assert.equal((await server.api(`/jobs?tag=${tag}`, { headers: { 'If-None-Match': etag } })).status, 304);
});

test('a search finds what a person takes for the same, and a job by its short id', async () => {
  const { id } = await submit(server, tiny({ name: 'Über Brobdingnag', notes: 'cafe\u0301', tags: ['Größe'] }));
  const found = async (q) => (await (await server.api(`/jobs?q=${encodeURIComponent(q)}`)).json()).jobs.map((job) => job.id);
  for (const q of ['über', 'uber', 'ÜBER BROB', 'u\u0308ber', 'café', 'CAFE', 'grösse', 'GROSSE', ' uber ']) assert.deepEqual(await found(q), [id], q);
  for (const q of [id.slice(0, 8), id.slice(0, 8).toUpperCase(), id]) assert.deepEqual(await found(q), [id], q);
  assert.deepEqual(await found(id.slice(9, 13)), [], 'only the beginning of an id');
  assert.deepEqual(await found('"café grösse"'), [], 'fields stay apart');
  const bad = await server.api('/jobs?q=a%ff');
  assert.deepEqual([bad.status, (await bad.json()).errors], [422, [{ pointer: 'q', detail: 'byte 2 begins no UTF-8' }]]);
});

test('a search compares fields of the job and of its spec', async () => {
  const a = await finished(server, (await submit(server, tiny({ name: 'query a', tags: ['q 1'], train: { lr: 0.01, seed: 7 }, model: { tie: 'untied' } }))).id);
  const b = await finished(server, (await submit(server, tiny({ name: 'query b', tags: ['q2'], train: { lr: 0.001 }, model: { head_bias: true } }))).id);
  const found = async (q) => (await (await server.api(`/jobs?q=${encodeURIComponent(q)}`)).json()).jobs
    .map((job) => job.name).filter((name) => name.startsWith('query')).sort().join(' ');
  const both = 'query a query b';
  for (const [q, wanted] of [
    ['query', both], ['query a', 'query a'], ['"query a"', 'query a'], ['query -a', 'query b'], ['-"query a" query', 'query b'],
    ['lr=0.01', 'query a'], ['lr:1e-2', 'query a'], ['lr<0.01', 'query b'], ['lr<=0.01', both], ['train.lr>0.001', 'query a'], ['lr>=0.001 lr<0.005', 'query b'],
    ['lr:0.01,0.001', both], ['lr!=0.01', 'query b'], ['lr!=0.01,0.001', ''], ['-lr:0.01', 'query b'], ['-lr<0.01', 'query a'],
    ['tie:untied', 'query a'], ['tie:tied,untied', both], ['head_bias:true', 'query b'], ['head_bias:false', 'query a'], ['seed:7', 'query a'],
    ['tag:q2', 'query b'], ['tag:"q 1"', 'query a'], ['tag:"q 1",q2', both], ['-tag:q2', 'query a'], ['name:"UERY B"', 'query b'],
    [`id:${a.id.slice(0, 9)}`, 'query a'], [`${b.id.slice(0, 9)} query`, 'query b'], ['state:succeeded', both], ['state:running,queued', ''], ['-state:failed', both],
    ['user:me', both], ['user:nobody', ''], ['-user:nobody', both], ['device:cpu', both], ['priority:0', both], ['attempt=1', both],
    ['loss>0 query', both], ['loss<0', ''], [`corpus.id:${a.spec.corpus.id}`, both], ['init_from:x', ''], ['  ', both],
  ]) assert.equal(await found(q), wanted, q);
  for (const [q, detail] of [
    ['colour:blue', 'there is no field "colour"'], ['lr<small', 'this is compared with a number: "small"'], ['loss:low', 'this is compared with a number: "low"'], ['user<b', 'this is compared with a number: "b"'], ['weight<1', 'there is no field "weight"'],
    ['state:ended', 'there is no state "ended"'], ['name:"half', 'a quote is not closed: "half'], ['x '.repeat(33), 'it has more than 32 terms'],
  ]) {
    const answer = await server.api(`/jobs?q=${encodeURIComponent(q)}`);
    assert.deepEqual([answer.status, (await answer.json()).errors], [422, [{ pointer: 'q', detail }]], q);
  }
});

test('names are trimmed; what reorders a line or cannot be seen is refused, wherever a name is given', async () => {
  const ask = async (method, route, body) => {
    const answer = await server.api(route, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    const { errors, ...rest } = await answer.json();
    return { status: answer.status, pointers: errors?.map(({ pointer }) => pointer), ...rest };
  };
  const custom = [{ name: 'articles', tokens: [' the'] }];
  const { id } = await submit(server, tiny({ name: ' padded\u00a0', tags: [' one', 'two '], groups: { custom } }));
  const { name, tags, spec } = await (await server.api(`/jobs/${id}`)).json();
  assert.deepEqual([name, tags, spec.name, spec.tags], ['padded', ['one', 'two'], 'padded', ['one', 'two']]);
  const bad = { name: 'a\u202eb', tags: ['fine', '\u200b', 'twice', 'twice '], groups: { custom: [{ name: 'the\u2066', tokens: [' the'] }] } };
  const wanted = ['/name', '/tags/1', '/tags/3', '/groups/custom/0/name'];
  const refused = await ask('POST', '/jobs', tiny(bad));
  assert.deepEqual([refused.status, refused.pointers], [422, wanted]);
  const many = await ask('POST', '/sweeps', { name: 'fine', base: tiny({ tags: ['\u200b'] }), vary: { 'train.seed': [1, 2] } });
  assert.deepEqual([many.status, [...new Set(many.pointers)]], [422, ['/base/tags/0']]);
  const hidden = await ask('POST', '/sweeps', { name: '\u2067', base: tiny(), vary: { 'train.seed': [1, 2] } });
  assert.deepEqual([hidden.status, hidden.pointers], [422, ['/name']]);
  const patched = await ask('PATCH', `/jobs/${id}`, { name: '\u3164', tags: ['x\u200f'] });
  assert.deepEqual([patched.status, patched.pointers], [422, ['/name', '/tags/0']]);
  assert.equal((await ask('PATCH', `/jobs/${id}`, { name: ' again ' })).name, 'again');
  const sweep = await ask('POST', '/sweeps', { name: ' padded ', base: tiny({ train: { epochs: 1 } }), vary: { 'train.seed': [1, 2] } });
  assert.equal(sweep.name, 'padded');
});

test('?wait answers when the state changes', async () => {
  const blocker = await submit(server, tiny({ name: 'blocker', train: { epochs: 100000 } }));
  const job = await submit(server, tiny({ name: 'waited for' }));
  const started = Date.now();
  const waiting = server.api(`/jobs/${job.id}?wait=30`);
  setTimeout(() => post(`/jobs/${job.id}/hold`), 300);
  assert.equal((await (await waiting).json()).state, 'held');
  assert.ok(Date.now() - started < 10000);
  await post(`/jobs/${job.id}/cancel`);
  await post(`/jobs/${blocker.id}/cancel`);
  await finished(server, blocker.id);
});

test('epochs: range, CSV and buckets say the same as the records', async () => {
  const job = await finished(server, (await submit(server, tiny({ name: 'epochs' }))).id);
  const all = await epochsOf(server, job.id);
  const part = (await (await server.api(`/jobs/${job.id}/epochs?from=3&to=5`)).json()).epochs;
  assert.deepEqual(part, all.slice(3, 6));
  const csv = await (await server.api(`/jobs/${job.id}/epochs`, { headers: { Accept: 'text/csv' } })).text();
  const [header, ...rows] = csv.trim().split(/\r?\n/).map((line) => line.split(','));
  assert.equal(rows.length, all.length);
  for (const [accept, type] of [['application/json, text/csv', 'json'], ['text/csv;q=0, */*', 'json'], ['text/csv;q=0.5, application/json;q=0.4', 'csv']]) {
    const answer = await server.api(`/jobs/${job.id}/epochs`, { headers: { Accept: accept } });
    assert.ok(answer.headers.get('content-type').includes(type), accept);
    await answer.arrayBuffer();
  }
  const column = header.indexOf('loss');
  rows.forEach((row, epoch) => assert.equal(Number(row[column]), all[epoch].loss));
  const series = encodeURIComponent('/groups/never_used/mean_logp/none');
  const buckets = await (await server.api(`/jobs/${job.id}/epochs?points=4&series=/loss,${series}`)).json();
  const text = JSON.stringify(buckets);
  assert.ok(text.includes('min') && text.includes('max') && text.includes('last'), text.slice(0, 300));
  assert.equal((await server.api(`/jobs/${job.id}/epochs?points=4&series=/nonsense`)).status, 422);
  const mixed = await server.api(`/jobs/${job.id}/epochs?points=4&format=csv&limit=3`);
  assert.deepEqual((await mixed.json()).errors.map(({ pointer }) => pointer), ['format', 'limit']);
  assert.equal((await server.api(`/jobs/${job.id}/epochs?points=4&format=json`)).status, 200);
});

test('a checkpoint has a tag, is sent again only if it changed, and goes on where a download broke off', async () => {
  const job = await finished(server, (await submit(server, tiny({ name: 'parts' }))).id);
  const route = `/jobs/${job.id}/checkpoint`;
  const get = async (headers, method = 'GET') => {
    const answer = await server.api(route, { method, headers });
    return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
  };
  const whole = await get({});
  const tag = whole.headers.get('etag');
  assert.match(tag, /^"[^"]+"$/);
  assert.equal(whole.headers.get('accept-ranges'), 'bytes');
  const size = whole.bytes.length;
  assert.equal((await get({ 'If-None-Match': `"x", ${tag}` })).status, 304);
  for (const [range, from, to] of [['bytes=100-199', 100, 200], [`bytes=${size - 10}-`, size - 10, size], ['bytes=-5', size - 5, size]]) {
    const part = await get({ Range: range, 'If-Range': tag });
    assert.deepEqual([part.status, part.headers.get('content-range')], [206, `bytes ${from}-${to - 1}/${size}`], range);
    assert.ok(part.bytes.equals(whole.bytes.subarray(from, to)), range);
    assert.match(part.headers.get('content-disposition'), /safetensors/);
  }
  const old = await get({ Range: 'bytes=100-199', 'If-Range': '"another"' });
  assert.deepEqual([old.status, old.bytes.length], [200, size]);
  const beyond = await get({ Range: `bytes=${size}-` });
  assert.deepEqual([beyond.status, beyond.headers.get('content-range'), JSON.parse(beyond.bytes).code], [416, `bytes */${size}`, 'range']);
  const head = await get({ Range: 'bytes=0-1' }, 'HEAD');
  assert.deepEqual([head.status, head.headers.get('content-length'), head.bytes.length], [200, String(size), 0]);

  const file = path.join(server.dataDir, 'download');
  fs.writeFileSync(file, whole.bytes.subarray(0, 1000));
  const curl = spawnSync('curl', ['-sS', '-f', '-C', '-', '-o', file, `${server.url}/api/v1${route}`], { encoding: 'utf8' });
  assert.deepEqual([curl.status, curl.stderr], [0, '']);
  assert.ok(fs.readFileSync(file).equals(whole.bytes));

  // Answers that are made, not read, have tags too.
  for (const made of ['batch', 'findings', 'theory', 'indicators', 'spectrum', 'checkpoint/config.json', 'log']) {
    const answer = await server.api(`/jobs/${job.id}/${made}`);
    await answer.arrayBuffer();
    assert.ok(answer.headers.get('etag'), made);
    assert.equal((await server.api(`/jobs/${job.id}/${made}`, { headers: { 'If-None-Match': answer.headers.get('etag') } })).status, 304, made);
  }
});

test('checkpoint, its config, batch, log and tokens of a finished job', async () => {
  const job = await finished(server, (await submit(server, tiny({ name: 'files', train: { snapshots: [0, 4] } }))).id);
  for (const epoch of [0, 4, job.epochs]) {
    const answer = await server.api(`/jobs/${job.id}/checkpoint?epoch=${epoch}`);
    assert.equal(answer.status, 200);
    const bytes = Buffer.from(await answer.arrayBuffer());
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString());
    assert.deepEqual(header['transformer.wte.weight'].shape, [50257, job.spec.model.d_model]);
  }
  assert.equal((await server.api(`/jobs/${job.id}/checkpoint?epoch=3`)).status, 404);
  const config = await (await server.api(`/jobs/${job.id}/checkpoint/config.json`)).json();
  assert.equal(config.n_embd, job.spec.model.d_model);
  const batch = await (await server.api(`/jobs/${job.id}/batch?epoch=2`)).json();
  assert.equal(batch.inputs.length, job.spec.train.batch_size);
  assert.equal(batch.targets[0].length, job.spec.model.seq_len);
  assert.deepEqual(batch.inputs[0].slice(1), batch.targets[0].slice(0, -1));
  assert.equal((await server.api(`/jobs/${job.id}/log`)).status, 200);
  const { tokens } = await (await server.api(`/jobs/${job.id}/tokens`)).json();
  assert.equal(tokens.length, 3 * job.spec.groups.size);
  const records = await epochsOf(server, job.id);
  const never = tokens.filter((token) => token.group === 'never_used');
  const mean = never.reduce((sum, token) => sum + token.last, 0) / never.length;
  assert.ok(Math.abs(mean - records.at(-1).groups.never_used.mean_logp.none) < 1e-4);
  assert.ok(never.every((token) => token.count === 0));
});

test('histories of tokens as CSV: one, a group, all, and what they are as JSON', async () => {
  const custom = [{ name: 'a, "b"', tokens: [' the', ' of'] }];
  const { id } = await finished(server, (await submit(server, tiny({ name: 'histories', train: { epochs: 5 }, groups: { custom } }))).id);
  const { tokens } = await (await server.api(`/jobs/${id}/tokens`)).json();
  const history = async (token) => (await server.api(`/jobs/${id}/tokens?token=${token}`)).json();
  const all = await csvOf(server, `/jobs/${id}/tokens`);
  const once = [...new Set(tokens.map((token) => token.id))];
  assert.ok(once.length < tokens.length, 'a custom group shares tokens');
  assert.deepEqual(all.header, ['epoch', ...once.map(String)]);
  assert.deepEqual(all.rows.map(([epoch]) => epoch), [0, 1, 2, 3, 4, 5]);
  for (const [i, token] of once.entries()) assert.deepEqual(all.rows.map((row) => row[i + 1]), (await history(token)).logp, `token ${token}`);
  assert.equal(all.next, undefined);

  const one = await csvOf(server, `/jobs/${id}/tokens?token=${once[0]}&from=2&to=4`);
  assert.deepEqual(one.header, ['epoch', 'logp']);
  assert.deepEqual(one.rows, [2, 3, 4].map((epoch) => [epoch, all.rows[epoch][1]]));
  const part = await (await server.api(`/jobs/${id}/tokens?token=${once[0]}&from=2&to=4`)).json();
  assert.deepEqual(part.epochs.map((epoch, i) => [epoch, part.logp[i]]), one.rows);

  for (const name of ['never_used', 'a, "b"']) {
    const group = await csvOf(server, `/jobs/${id}/tokens?group=${encodeURIComponent(name)}`);
    const ids = tokens.filter((token) => token.group === name).map((token) => token.id);
    assert.deepEqual(group.header, ['epoch', ...ids.map(String)]);
    assert.deepEqual(group.rows[5].slice(1), ids.map((token) => all.rows[5][once.indexOf(token) + 1]));
    const rows = [];
    for (let path = `/jobs/${id}/tokens?group=${encodeURIComponent(name)}&limit=4`, pages = 1; path; pages++) {
      const page = await csvOf(server, path);
      rows.push(...page.rows);
      path = page.next;
      assert.equal(path === undefined, pages === 2, 'six epochs in two pages');
    }
    assert.deepEqual(rows, group.rows);
    const listed = await (await server.api(`/jobs/${id}/tokens?group=${encodeURIComponent(name)}`)).json();
    assert.deepEqual(listed.tokens, tokens.filter((token) => token.group === name));
  }
  const first = await csvOf(server, `/jobs/${id}/tokens?token=${once[0]}&limit=4`);
  const rest = await csvOf(server, first.next);
  assert.deepEqual(rest.header, ['epoch', 'logp'], 'the next page is of the same token');
  assert.deepEqual([...first.rows, ...rest.rows].map((row) => row[1]), all.rows.map((row) => row[1]));
  const refused = await server.api(`/jobs/${id}/tokens?group=rare&format=xml&from=x`);
  assert.equal(refused.status, 422);
  const { errors } = await refused.json();
  assert.deepEqual(errors.map(({ pointer }) => pointer), ['group', 'from', 'format']);
  assert.match(errors[0].detail, /"rare"/);
});

test('jobs that are cancelled and deleted twice while the worker takes them leave no error in the log', async () => {
  const own = await startServer();
  const post = (path) => own.api(path, { method: 'POST' });
  const remove = async (id) => (await own.api(`/jobs/${id}`, { method: 'DELETE' })).status;
  const one = async () => {
    const { id } = await submit(own, tiny({ corpus: { id: 'gulliver-synthetic' }, train: { epochs: 1 } }));
    for (let found = []; !found.includes(204);) {
      [, ...found] = await Promise.all([post(`/jobs/${id}/cancel`), remove(id), remove(id)]);
      for (const status of found) assert.ok([204, 404, 409].includes(status), `${status}`);
    }
  };
  try {
    for (let i = 0; i < 15; i++) await Promise.all(Array.from({ length: 8 }, one));
    assert.deepEqual((await (await own.api('/jobs')).json()).jobs, []);
    assert.deepEqual(own.log().split('\n').filter((line) => / (error|warning) /.test(line) && !/whoever has an account/.test(line)), []);
  } finally { await own.stop(); }
});
