// Sweeps and comparisons: all jobs or none, and numbers that can be computed again
// from the jobs' own records.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { removeFolder, startServer } from '../lib/server.mjs';
import { CORPUS, tiny, submit, finished, epochsOf } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const post = (body, headers = {}) => server.api('/sweeps', {
  method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body),
});
const get = async (path) => (await server.api(path)).json();
const jobCount = async () => (await get('/jobs?limit=200')).jobs.length;

// Half width of the 95 % interval for three values: t(2) = 4.302653.
const half3 = (values) => {
  const mean = values.reduce((a, b) => a + b) / 3;
  return 4.302652729911275 * Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 2 / 3);
};
const near = (a, b, what) => assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b)), `${what}: ${a} is not ${b}`);

test('a sweep: mean, interval and paired effect are those of its jobs’ records', async () => {
  const answer = await post({ name: 'ties', base: tiny({ train: { epochs: 4 } }), vary: { 'model.tie': ['tied', 'untied'], 'train.seed': [1, 2, 3] } });
  const created = await answer.json();
  assert.equal(answer.status, 201, JSON.stringify(created));
  assert.equal(answer.headers.get('location'), `sweeps/${created.id}`);
  assert.deepEqual(created.settings.map(({ setting }) => setting), [{ 'model.tie': 'tied' }, { 'model.tie': 'untied' }]);
  const ids = created.settings.map(({ jobs }) => jobs.map(({ id }) => id));
  for (const id of ids.flat()) assert.equal((await finished(server, id)).state, 'succeeded');

  const sweep = await get(`/sweeps/${created.id}?points=5`);
  assert.equal(sweep.states.succeeded, 6);
  assert.equal(sweep.epoch, 4);
  assert.deepEqual(sweep.epochs, [0, 1, 2, 3, 4]);
  const pointer = '/groups/never_used/mean_logp/none';
  const records = await Promise.all(ids.map((of) => Promise.all(of.map((id) => epochsOf(server, id)))));
  const last = records.map((of) => of.map((epochs) => epochs[4].groups.never_used.mean_logp.none));
  sweep.settings.forEach(({ series, curves }, s) => {
    near(series[pointer].value.mean, last[s].reduce((a, b) => a + b) / 3, 'mean');
    near(series[pointer].value.half, half3(last[s]), 'half');
    assert.equal(series[pointer].value.n, 3);
    records[s][0].forEach((_, epoch) => {
      near(curves[pointer].mean[epoch], records[s].reduce((sum, epochs) => sum + epochs[epoch].groups.never_used.mean_logp.none, 0) / 3, `curve ${epoch}`);
    });
  });
  assert.equal(sweep.settings[0].series[pointer].effect, null);
  const differences = last[1].map((value, i) => value - last[0][i]);
  near(sweep.settings[1].series[pointer].effect.mean, differences.reduce((a, b) => a + b) / 3, 'effect');
  near(sweep.settings[1].series[pointer].effect.half, half3(differences), 'half of the effect');

  assert.deepEqual((await get(`/jobs?sweep=${created.id}`)).jobs.map(({ id }) => id).reverse(), ids.flat());
  const job = await get(`/jobs/${ids[1][2]}`);
  assert.equal(job.sweep, created.id);
  assert.deepEqual(job.setting, { 'model.tie': 'untied', 'train.seed': 3 });
  assert.equal(job.spec.name, 'ties tie=untied seed=3');
  assert.equal((await get('/sweeps')).sweeps[0].id, created.id);
});

test('a sweep with one bad value stores nothing and names it', async () => {
  const n = await jobCount();
  const answer = await post({ base: tiny({ corpus: { id: 'no such text' } }), vary: { 'train.seed': [1, 2], 'groups.size': [20, 0] } });
  const problem = await answer.json();
  assert.equal(answer.status, 422);
  assert.deepEqual(problem.errors.map(({ pointer }) => pointer), ['/vary/groups.size']);
  const text = await (await post({ base: tiny({ corpus: { id: 'no such text' } }), vary: { 'train.seed': [1, 2] } })).json();
  assert.deepEqual(text.errors.map(({ pointer }) => pointer), ['/base/corpus/id']);
  assert.equal(await jobCount(), n);
});

const refused = async (body) => {
  const answer = await post(body);
  const problem = await answer.json();
  return [answer.status, ...(problem.errors ?? []).map(({ pointer }) => pointer)];
};

test('runs that contradict or equal each other are refused, with a pointer into what was posted', async () => {
  const n = await jobCount();
  assert.deepEqual(await refused({ base: tiny(), vary: { 'train.seed': [1, 2], train: [{ epochs: 2 }] } }), [422, '/vary/train']);
  assert.deepEqual(await refused({ base: tiny(), vary: { 'train.lr': [0.5, 0.5000] } }), [422, '/vary/train.lr']);
  const raw = await server.api('/sweeps', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"vary": {"train.lr": [1, 1.0]}}' });
  const problem = await raw.json();
  assert.equal(problem.errors?.[0].pointer, '/vary/train.lr', JSON.stringify(problem));
  assert.match(problem.errors[0].detail, /"train.lr":1} and {"train.lr":1.0}/);
  const { corpora } = await get('/corpora');
  const text = corpora.find(({ name }) => name === CORPUS);
  if (text.id !== text.name) assert.deepEqual(await refused({ base: tiny(), vary: { 'corpus.id': [text.id, text.name] } }), [422, '/vary/corpus.id']);
  assert.deepEqual(await refused({ base: tiny(), vary: { 'train..seed': [1] } }), [422, '/vary/train..seed']);
  assert.deepEqual(await refused({ base: tiny(), vary: { 'train.seed.x': [1] } }), [422, '/vary/train.seed.x']);
  const nan = await server.api('/sweeps', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"vary": {"train.lr": [0.1, NaN]}}' });
  assert.deepEqual((await nan.json()).errors.map(({ pointer }) => pointer), ['/vary/train.lr']);
  assert.equal(await jobCount(), n);
});

test('a comma in the name of a group: the sweep, the comparison and the curves can be read', async () => {
  const answer = await post({ base: tiny({ train: { epochs: 2 }, groups: { custom: [{ name: 'a,b', tokens: [1] }] } }), vary: { 'train.seed': [1, 2] } });
  const created = await answer.json();
  assert.equal(answer.status, 201, JSON.stringify(created));
  const ids = created.settings[0].jobs.map(({ id }) => id);
  for (const id of ids) await finished(server, id);
  const pointer = '/groups/a,b/mean_logp/none';
  const [first, second] = await Promise.all(ids.map(async (id) => (await epochsOf(server, id))[2].groups['a,b'].mean_logp.none));
  const sweep = await get(`/sweeps/${created.id}`);
  near(sweep.settings[0].series[pointer].value.mean, (first + second) / 2, 'mean');
  const named = await get(`/sweeps/${created.id}?series=/loss,/groups/a~2b/mean_logp/none`);
  assert.deepEqual(Object.keys(named.settings[0].series), ['/loss', pointer]);
  assert.equal((await get(`/compare?jobs=${ids}`)).series[pointer][1].at(-1), second);
  assert.deepEqual(Object.keys((await get(`/compare?jobs=${ids}&series=/groups/a~2b/sd`)).series), ['/groups/a,b/sd']);
  assert.equal((await get(`/jobs/${ids[0]}/epochs?points=3&series=/groups/a~2b/mean_logp/none`)).series[pointer].last.at(-1), first);
  assert.equal((await server.api(`/sweeps/${created.id}?series=/groups/a,b/sd`)).status, 422);
});

test('jobs that broke off do not hold the others back', async () => {
  const created = await (await post({
    base: tiny({ train: { optimizer: 'sgd', epochs: 6 } }), vary: { 'train.lr': [0.1, 1e30], 'train.seed': [1, 2] },
  })).json();
  for (const { id } of created.settings.flatMap(({ jobs }) => jobs)) await finished(server, id);
  const sweep = await get(`/sweeps/${created.id}`);
  assert.equal(sweep.epoch, 6);
  const [good, diverged] = sweep.settings;
  assert.deepEqual([good.states.succeeded, good.states.failed, diverged.states.succeeded, diverged.states.failed], [2, 0, 0, 2]);
  assert.equal(good.series['/loss'].value.n, 2);
  assert.deepEqual(diverged.series['/loss'].value, { n: 0, mean: null, sd: null, half: null });
  assert.deepEqual(diverged.series['/loss'].effect, { n: 0, mean: null, sd: null, half: null });
  assert.equal((await get(`/sweeps/${created.id}?epoch=0`)).settings[1].series['/loss'].value.n, 2);
});

test('what a preset prints as null can be varied, and numbers come back as they were posted', async () => {
  const preset = await get('/presets/gulliver');
  assert.equal(preset.data.inject, null);
  const created = await (await post({
    base: { ...preset, ...tiny({ train: { beta2: 0.9 } }), data: preset.data },
    vary: { 'data.inject.tokens': [5, 6], 'data.inject.doses': [[1]], 'train.lr': [0.1] },
  })).json();
  assert.deepEqual(created.settings?.map(({ setting }) => setting['data.inject.tokens']), [5, 6], JSON.stringify(created));
  const text = await (await server.api(`/sweeps/${created.id}`)).text();
  assert.ok(text.includes('"beta2":0.9,') || text.includes('"beta2":0.9}'), text.slice(0, 600));
  assert.ok(text.includes('"train.lr":[0.1]') && text.includes('"train.lr":0.1}'), text.slice(0, 600));
});

test('a sweep that fits no queue is told so, one that does not fit now is told to come again', async () => {
  const small = await startServer({ args: ['--max-queue', '3'] });
  const send = async (seeds) => {
    const answer = await small.api('/sweeps', {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ base: tiny({ train: { epochs: 100000 } }), vary: { 'train.seed': seeds } }),
    });
    return [answer.status, await answer.json()];
  };
  try {
    const [never, problem] = await send([1, 2, 3, 4]);
    assert.equal(never, 422);
    assert.match(problem.errors[0].detail, /^4 jobs never fit: .* 3 at most/);
    assert.equal((await send([1, 2]))[0], 201);
    const [later, { detail, limit }] = await send([1, 2]);
    assert.equal(later, 429);
    assert.match(detail, /^2 jobs do not fit, 1 would: 2 are not finished, the limit is 3/);
    assert.deepEqual([limit.name, limit.value, limit.present, limit.asked, limit.fits], ['max_queue', 3, 2, 2, 1]);
  } finally {
    await small.stop();
  }
});

test('the same key and body is the same sweep; cancelling ends what has not ended', async () => {
  const body = { base: tiny({ train: { epochs: 100000 } }), vary: { 'train.seed': [1, 2, 3] } };
  const first = await (await post(body, { 'Idempotency-Key': 'k' })).json();
  const again = await post(body, { 'Idempotency-Key': 'k' });
  assert.equal(again.status, 200);
  assert.equal((await again.json()).id, first.id);
  assert.equal((await post({ ...body, name: 'other' }, { 'Idempotency-Key': 'k' })).status, 422);
  const asJob = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'k' }, body: JSON.stringify(body) });
  assert.deepEqual((await asJob.json()).errors.map(({ pointer }) => pointer), ['/base', '/vary']);
  assert.equal((await server.api(`/sweeps/${first.id}/cancel`, { method: 'POST' })).status, 200);
  for (const { id } of first.settings[0].jobs) assert.equal((await finished(server, id)).state, 'cancelled');
  assert.equal((await get(`/sweeps/${first.id}`)).states.cancelled, 3);
  assert.equal((await server.api('/sweeps/00000000-0000-0000-0000-000000000000')).status, 404);
});

test('a sweep that came before is answered also when what it started from is gone', async () => {
  const source = await finished(server, (await submit(server, tiny({ train: { epochs: 1 } }))).id);
  const body = { base: tiny({ init_from: source.id, train: { epochs: 1 } }), vary: { 'train.seed': [1, 2] } };
  const first = await (await post(body, { 'Idempotency-Key': 'from' })).json();
  for (const { id } of first.settings[0].jobs) await finished(server, id);
  assert.equal((await server.api(`/jobs/${source.id}`, { method: 'DELETE' })).status, 204);
  const again = await post(body, { 'Idempotency-Key': 'from' });
  assert.deepEqual([again.status, again.headers.get('location'), (await again.json()).id], [200, `sweeps/${first.id}`, first.id]);
});

test('a sweep is gone with its last job', async () => {
  const sweep = await (await post({ base: tiny({ train: { epochs: 1 } }), vary: { 'train.seed': [1, 2] } })).json();
  const jobs = sweep.settings[0].jobs;
  for (const [i, { id }] of jobs.entries()) {
    await finished(server, id);
    assert.equal((await server.api(`/jobs/${id}`, { method: 'DELETE' })).status, 204);
    assert.equal((await server.api(`/sweeps/${sweep.id}`)).status, i + 1 < jobs.length ? 200 : 404);
  }
});

test('a thousand jobs in one request; one more is too many', async () => {
  const seeds = Array.from({ length: 1000 }, (_, i) => i);
  const answer = await post({ base: tiny({ train: { epochs: 1 } }), vary: { 'train.seed': seeds } });
  const sweep = await answer.json();
  assert.equal(answer.status, 201, JSON.stringify(sweep).slice(0, 300));
  assert.equal(sweep.settings[0].jobs.length, 1000);
  assert.equal((await server.api(`/sweeps/${sweep.id}/cancel`, { method: 'POST' })).status, 200);
  assert.equal((await post({ base: tiny(), vary: { 'train.seed': [...seeds, 1000] } })).status, 422);
});

test('compare: the fields that differ, and curves at the same epochs', async () => {
  const a = await submit(server, tiny({ train: { epochs: 6 } }));
  const b = await submit(server, tiny({ name: 'longer', model: { tie: 'untied' }, train: { epochs: 8 } }));
  for (const { id } of [a, b]) await finished(server, id);
  const compared = await get(`/compare?jobs=${a.id},${b.id}&series=/loss&points=9`);
  assert.deepEqual(compared.differs, [
    { field: '/model/tie', values: ['tied', 'untied'] },
    { field: '/train/epochs', values: [6, 8] },
  ]);
  const losses = await Promise.all([a, b].map(async ({ id }) => (await epochsOf(server, id)).map(({ loss }) => loss)));
  assert.deepEqual(compared.epochs, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(compared.series['/loss'], [[...losses[0], null, null], losses[1]]);
  assert.equal((await server.api('/compare')).status, 422);
  assert.equal((await server.api(`/compare?jobs=${a.id},none`)).status, 404);
  assert.equal((await server.api(`/compare?jobs=${a.id}&series=/nothing`)).status, 422);
});

// A spec that an older build stored, without a field and a section of today's.
test('compare: what the first job’s spec lacks is listed all the same', async () => {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-older-'));
  let older = await startServer({ dataDir: data });
  const post = async (spec) => (await finished(older, (await submit(older, spec)).id)).id;
  const a = await post(tiny({ train: { epochs: 1 } }));
  const b = await post(tiny({ train: { epochs: 1 }, loss: { z_loss: 0.5 } }));
  await older.stop();
  execFileSync('python3', ['-c', `import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE job_texts SET spec = json_remove(spec, '$.loss', '$.train.momentum') WHERE job = (SELECT seq FROM jobs WHERE id = ?)", (sys.argv[2],))
db.commit()`, path.join(data, 'tokenfate.db'), a]);
  older = await startServer({ dataDir: data });
  try {
    const { differs } = await (await older.api(`/compare?jobs=${a},${b}`)).json();
    assert.deepEqual(differs.map(({ field }) => field), ['/train/momentum', '/loss/class_weight', '/loss/logit_adjustment', '/loss/label_smoothing', '/loss/z_loss']);
    assert.deepEqual(differs.at(-1).values, [null, 0.5]);
  } finally {
    await older.stop();
    removeFolder(data);
  }
});
