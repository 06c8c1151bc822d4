// Sweeps and comparisons: all jobs or none, and numbers that can be computed again
// from the jobs' own records.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { tiny, submit, finished, epochsOf } from '../lib/experiments.mjs';

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
  assert.equal(answer.headers.get('location'), `/api/v1/sweeps/${created.id}`);
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

test('the same key and body is the same sweep; cancelling ends what has not ended', async () => {
  const body = { base: tiny({ train: { epochs: 100000 } }), vary: { 'train.seed': [1, 2, 3] } };
  const first = await (await post(body, { 'Idempotency-Key': 'k' })).json();
  const again = await post(body, { 'Idempotency-Key': 'k' });
  assert.equal(again.status, 200);
  assert.equal((await again.json()).id, first.id);
  assert.equal((await post({ ...body, name: 'other' }, { 'Idempotency-Key': 'k' })).status, 422);
  assert.equal((await server.api(`/sweeps/${first.id}/cancel`, { method: 'POST' })).status, 200);
  for (const { id } of first.settings[0].jobs) assert.equal((await finished(server, id)).state, 'cancelled');
  assert.equal((await get(`/sweeps/${first.id}`)).states.cancelled, 3);
  assert.equal((await server.api('/sweeps/00000000-0000-0000-0000-000000000000')).status, 404);
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
