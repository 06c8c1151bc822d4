// train.record_every: fewer records, each with the bits of a run that keeps all, at every door of
// the API, after a kill too; and what the records will take is told before.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { bits, csvOf, events, finished, reached, small, submit, tiny } from '../lib/experiments.mjs';
import { childrenOf } from '../lib/processes.mjs';
import { startServer } from '../lib/server.mjs';
import { recordBytes } from '../../web/record_bytes.js';

const EPOCHS = 105; // the last record is nearer to the one before than others
const spec = (every, change = {}) => small({ train: { epochs: EPOCHS, steps_per_epoch: 2, snapshots: [15], record_every: every }, eval: { windows: 2, every: 10 }, ...change });
const grid = (every, epochs = EPOCHS) => [...Array(epochs + 1).keys()].filter((epoch) => epoch % every === 0 || epoch === epochs);

let server, all, some; // the same run with all records and with every tenth
const get = async (route) => {
  const answer = await server.api(route);
  const body = await answer.json();
  assert.equal(answer.status, 200, `${route}: ${JSON.stringify(body)}`);
  return body;
};
const records = async (id) => {
  const found = [];
  for (let from = 0; from !== null;) {
    const { epochs, next } = await get(`/jobs/${id}/epochs?from=${from}&limit=4`);
    assert.ok(epochs.length <= 4 && (next === null || epochs.length === 4));
    found.push(...epochs);
    from = next;
  }
  return found;
};

before(async () => {
  server = await startServer();
  [all, some] = await Promise.all([1, 10].map(async (every) => finished(server, (await submit(server, spec(every))).id)));
  for (const job of [all, some]) assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
});
after(async () => { await server.stop(); });

test('records of every tenth epoch and the last have the bits of a run with all, and so has the model', { timeout: 120_000 }, async () => {
  const wanted = (await records(all.id)).filter(({ epoch }) => grid(10).includes(epoch));
  const got = await records(some.id);
  assert.deepEqual(got.map(({ epoch }) => epoch), grid(10));
  assert.deepEqual(bits(got), bits(wanted));
  assert.ok(got.every(({ epoch, eval: { loss } }) => (loss !== null) === (epoch % 10 === 0 || epoch === EPOCHS)));
  // A snapshot falls between two records.
  for (const epoch of [15, EPOCHS]) {
    const [one, other] = await Promise.all([all, some].map(async ({ id }) => Buffer.from(await (await server.api(`/jobs/${id}/checkpoint?epoch=${epoch}`)).arrayBuffer())));
    assert.ok(one.length > 10000 && one.equals(other), `model of epoch ${epoch}`);
    assert.deepEqual((await get(`/jobs/${some.id}/spectrum?epoch=${epoch}`)).logp, (await get(`/jobs/${all.id}/spectrum?epoch=${epoch}`)).logp);
  }
  assert.deepEqual([some.epoch, some.summary.epoch, some.summary.loss], [EPOCHS, EPOCHS, all.summary.loss]);
});

test('pages, CSV, buckets and histories of tokens have the epochs that have records', { timeout: 60_000 }, async () => {
  const page = await get(`/jobs/${some.id}/epochs?from=11&to=59&limit=3`);
  assert.deepEqual([page.epochs.map(({ epoch }) => epoch), page.next], [[20, 30, 40], 41]);
  assert.deepEqual(await get(`/jobs/${some.id}/epochs?from=101&to=104`), { epochs: [], next: null });
  const rows = [];
  for (let next = `/jobs/${some.id}/epochs?limit=5`; next;) {
    const csv = await csvOf(server, next);
    rows.push(...csv.rows);
    next = csv.next;
  }
  assert.deepEqual(rows.map(([epoch]) => epoch), grid(10));
  const { series } = await get(`/jobs/${some.id}/epochs?points=1000&series=/loss`);
  assert.deepEqual(series['/loss'].epoch, grid(10));
  assert.ok(series['/loss'].last.every(Number.isFinite));
  const { tokens } = await get(`/jobs/${some.id}/tokens`);
  const history = await get(`/jobs/${some.id}/tokens?token=${tokens[0].id}&from=5`);
  assert.deepEqual(history.epochs, grid(10).slice(1));
  const whole = await get(`/jobs/${all.id}/tokens?token=${tokens[0].id}`);
  assert.deepEqual(history.logp, history.epochs.map((epoch) => whole.logp[epoch]));
  const csv = await csvOf(server, `/jobs/${some.id}/tokens?token=${tokens[0].id}&limit=2&from=1`);
  assert.deepEqual(csv.rows.map(([epoch]) => epoch), [10, 20]);
  assert.deepEqual((await csvOf(server, csv.next)).rows.map(([epoch]) => epoch), [30, 40]);
});

test('comparisons and sweeps stand at epochs that all jobs have; theory and findings read them', { timeout: 120_000 }, async () => {
  const { epochs, series } = await get(`/compare?jobs=${all.id},${some.id}&points=50&series=/loss`);
  assert.deepEqual(epochs, grid(10));
  const [one, other] = series['/loss'];
  assert.deepEqual(one, other);
  assert.ok(one.every(Number.isFinite));
  const answer = await server.api('/sweeps', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ base: tiny({ train: { epochs: 25 } }), vary: { 'train.record_every': [4, 6], 'train.lr': [0.001, 0.002] } }),
  });
  assert.equal((await answer.json()).errors[0].pointer, '/vary/train.record_every', 'the same run twice');
  const created = await (await server.api('/sweeps', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ base: tiny({ train: { epochs: 25, record_every: 4 } }), vary: { 'train.seed': [1, 2] } }),
  })).json();
  for (const { id } of created.settings[0].jobs) await finished(server, id);
  const sweep = await get(`/sweeps/${created.id}?points=100`);
  assert.deepEqual([sweep.epoch, sweep.epochs], [25, grid(4, 25)]);
  assert.equal(sweep.settings[0].series['/loss'].value.n, 2);
  assert.equal((await get(`/sweeps/${created.id}?epoch=11`)).epoch, 8);

  const theory = await get(`/jobs/${some.id}/theory?points=4`);
  const whole = await get(`/jobs/${all.id}/theory?points=1000`);
  for (const curve of theory.curves) {
    assert.deepEqual(curve.epochs, [0, 30, 60, 90, EPOCHS]);
    const twin = whole.curves.find(({ id, group }) => id === curve.id && group === curve.group);
    assert.deepEqual(curve.measured, curve.epochs.map((epoch) => twin.measured[twin.epochs.indexOf(epoch)]));
  }
  const { findings, epoch } = await get(`/jobs/${some.id}/findings`);
  assert.deepEqual([epoch, findings.length], [EPOCHS, 7]);
  const value = (list, wanted) => list.flatMap(({ numbers }) => numbers).find(({ id }) => id === wanted).value;
  const { findings: of_all } = await get(`/jobs/${all.id}/findings`);
  for (const id of ['level', 'mass_first']) assert.equal(value(findings, id), value(of_all, id), id);
  assert.ok(Number.isFinite(value(findings, 'stability')) && value(findings, 'stability') !== value(of_all, 'stability'));
});

test('a field that leaves out evaluations is refused', async () => {
  for (const [change, status] of [[{ record_every: 3 }, 422], [{ record_every: 0 }, 422], [{ record_every: 1.5 }, 422]]) {
    const answer = await server.api('/jobs', {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(spec(10, { train: { epochs: 20, ...change } })),
    });
    assert.deepEqual([answer.status, (await answer.json()).errors?.[0].pointer], [status, '/train/record_every']);
  }
});

test('kill -9 of the trainer and of the server: the same records and bits; the stream has each once', { timeout: 240_000 }, async () => {
  const change = { train: { epochs: 600, record_every: 7 } };
  const data = fs.mkdtempSync('/tmp/tokenfate-record-every-');
  const args = ['--checkpoint-seconds', '1'];
  let other = await startServer({ args, dataDir: data });
  const { id } = await submit(other, small(change));
  await reached(other, id, 35);
  const [pid] = childrenOf(other);
  process.kill(pid, 'SIGKILL');
  // A stop between two records goes on from its checkpoint, not from an older one.
  await reached(other, id, 210);
  await other.api(`/jobs/${id}/hold`, { method: 'POST' });
  let held;
  do held = await (await other.api(`/jobs/${id}?wait=5`)).json(); while (held.state === 'running');
  assert.ok(held.state === 'held' && held.epoch < 600, `${held.state} at ${held.epoch}`);
  await other.api(`/jobs/${id}/release`, { method: 'POST' });
  await reached(other, id, held.epoch + 7);
  const starts = [...(await (await other.api(`/jobs/${id}/log`)).text()).matchAll(/ started at epoch (\d+) on/g)].map(([, epoch]) => Number(epoch));
  assert.equal(starts.at(-1), grid(7, 600).find((epoch) => epoch > held.epoch));
  await other.kill();
  other = await startServer({ args, dataDir: data });
  const stream = events(other, '?after=0', (seen) => seen.some(({ event, data: job }) => event === 'job' && job.id === id && job.state === 'succeeded'), { seconds: 200 });
  const job = await finished(other, id);
  assert.ok(job.attempt >= 2, 'the trainer was killed');
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  const seen = (await stream).filter(({ event }) => event === 'epoch').flatMap(({ data: { records: rows } }) => rows.map(({ epoch }) => epoch));
  assert.deepEqual(seen, grid(7, 600));
  const stored = [];
  for (let from = 0; from !== null;) {
    const { epochs, next } = await (await other.api(`/jobs/${id}/epochs?from=${from}`)).json();
    stored.push(...epochs);
    from = next;
  }
  const undisturbed = await finished(server, (await submit(server, small(change))).id);
  assert.deepEqual(bits(stored), bits((await get(`/jobs/${undisturbed.id}/epochs`)).epochs));
  await other.stop();
  fs.rmSync(data, { recursive: true, force: true });
});

test('record_bytes, told at the submission, is within a fifth of what the database grows by', { timeout: 240_000 }, async () => {
  for (const { spec: printed, record_bytes: told } of [all, some]) assert.equal(recordBytes(printed), told, 'the form tells the same');
  for (const change of [{ train: { epochs: 500 } }, { train: { epochs: 900, record_every: 3 }, groups: { size: 100 } }]) {
    const data = fs.mkdtempSync('/tmp/tokenfate-record-bytes-');
    const size = () => fs.statSync(path.join(data, 'tokenfate.db')).size; // a server that stops empties its log
    await (await startServer({ dataDir: data })).stop();
    const empty = size();
    const other = await startServer({ dataDir: data });
    const job = await submit(other, tiny(change));
    await finished(other, job.id);
    await other.stop();
    const grown = size() - empty;
    assert.ok(Math.abs(job.record_bytes / grown - 1) < 0.2, `${job.record_bytes} told, ${grown} grown`);
    fs.rmSync(data, { recursive: true, force: true });
  }
});
