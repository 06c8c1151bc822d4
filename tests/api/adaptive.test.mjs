// The adaptive head through the API: the preset trains on the real text, the closed
// forms of its clusters are where it starts, and the probe says what the records say.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { startServer } from '../lib/server.mjs';
import { CORPUS, SANITIZED, tiny, submit, finished, epochsOf } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (path) => (await server.api(path)).json();
const post = async (path, body) => server.api(path, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});
const head = { head: 'adaptive', cutoffs: [50, 500], tie: 'untied' };

test('the preset trains: levels of its clusters at the start, less loss at the end', { skip: SANITIZED && 'too slow under a sanitizer' }, async () => {
  const preset = JSON.parse(fs.readFileSync('config/presets/gulliver-adaptive.json', 'utf8'));
  const spec = { ...preset, corpus: { ...preset.corpus, id: CORPUS }, train: { ...preset.train, epochs: 30, precision: 'fp32' } };
  const { id } = await submit(server, spec);
  const job = await finished(server, id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  assert.equal(job.theory.untrained, null, 'no level is every cluster\'s');
  const records = await epochsOf(server, id), theory = await get(`/jobs/${id}/theory`);
  const [{ groups: start }, { groups: end }] = [records[0], records[30]];
  const square = (0.02 * Math.sqrt(128)) ** 2, first = -Math.log(2002) - square / 2;
  const levels = [
    first, first - Math.log(8000) - square * 0.02 ** 2 * 32 / 2, first - Math.log(40257) - square * 0.02 ** 2 * 8 / 2,
  ];
  assert.deepEqual(theory.clusters.map(({ first_rank: rank, tokens, outputs, width }) => [rank, tokens, outputs, width]),
    [[0, 2000, 2002, 128], [2000, 8000, 8000, 32], [10000, 40257, 40257, 8]]);
  theory.clusters.forEach(({ untrained, break_even_count: count }, k) => {
    assert.ok(Math.abs(untrained - levels[k]) < 1e-9, `cluster ${k}`);
    assert.ok(Math.abs(Math.log(count / job.corpus.tokens) - untrained) < 1e-9);
  });
  assert.equal(theory.levels.find((level) => level.id === 'break_even_count').value, null);
  // The tokens of a cluster share the row of one entry: off together by no more than s_z.
  for (const [name, { untrained }] of Object.entries(theory.groups)) {
    assert.ok(Math.abs(start[name].mean_logp.none - untrained) < Math.sqrt(square), `${name}: ${start[name].mean_logp.none}, ${untrained}`);
  }
  assert.ok(Math.abs(theory.groups.most_common.untrained - levels[0]) < 1e-9);
  assert.ok(Math.abs(theory.groups.never_used.untrained - levels[2]) < 1e-9);
  assert.deepEqual(theory.curves.map(({ id: curve, group }) => [curve, group]), [['input_decay', 'never_used']]);
  assert.ok(records[30].loss < records[0].loss - 1, `loss ${records[0].loss}, ${records[30].loss}`);
  for (const group of Object.values(end)) {
    for (const value of [group.ln_mean_p, group.mean_logit, group.output_shift, group.input_shift, group.grad.softmax, group.cos_minus_h]) {
      assert.ok(Number.isFinite(value), JSON.stringify(group));
    }
  }
  for (const { output_shift: shift } of Object.values(start)) assert.equal(shift, 0);
  assert.ok(end.never_used.exposure === 0 && end.never_used.output_shift > 0);
  const indicators = await server.api(`/jobs/${id}/indicators`);
  assert.equal(indicators.status, 409);
});

test('the probe averages to the record; the spectrum covers every token', async () => {
  const job = await submit(server, tiny({ model: head, train: { epochs: 6, batch_size: 1, precision: 'fp32' }, groups: { size: 5 } }));
  assert.equal((await finished(server, job.id)).state, 'succeeded');
  const { inputs: [window] } = await get(`/jobs/${job.id}/batch?epoch=6`);
  const { tokens } = await get(`/jobs/${job.id}/tokens`);
  const named = tokens.map(({ id }) => id), sums = new Array(named.length).fill(0);
  for (let n = 1; n <= window.length; n++) {
    const probe = await (await post(`/jobs/${job.id}/probe`, { ids: window.slice(0, n), tokens: named, top: 100 })).json();
    probe.tokens.forEach(({ logp }, i) => { sums[i] += logp / window.length; });
    const top = probe.top.reduce((sum, { logp }) => sum + Math.exp(logp), 0);
    assert.ok(top > 0.5 && top < 1, `100 tokens have ${top}`);
  }
  tokens.forEach(({ id, last }, i) => assert.ok(Math.abs(last - sums[i]) < 2e-5, `token ${id}: ${sums[i]}, recorded ${last}`));
  const { ids, logp } = await get(`/jobs/${job.id}/spectrum?epoch=6`);
  tokens.forEach(({ id, last }) => assert.ok(Math.abs(logp[ids.indexOf(id)] - last) < 2e-5, `token ${id}`));
  // A mean of logarithms is no more than the logarithm of the mean: the sum stays below one.
  const mass = logp.reduce((sum, value) => sum + Math.exp(value), 0);
  assert.ok(mass > 0.5 && mass <= 1 + 1e-6, `mass ${mass}`);
});

test('evaluated windows are measured by cluster; another job goes on from its model', async () => {
  const spec = tiny({ model: head, train: { epochs: 4, precision: 'fp32' }, eval: { windows: 4, every: 2 } });
  const job = await submit(server, spec);
  assert.equal((await finished(server, job.id)).state, 'succeeded');
  const records = await epochsOf(server, job.id);
  for (const record of [records[0], records[4]]) {
    for (const [name, group] of Object.entries(record.groups)) {
      // Other windows, the same tokens and clusters: untrained models hardly tell them apart.
      if (record.epoch === 0) assert.ok(Math.abs(group.eval.mean_logp - group.mean_logp.none) < 0.1, name);
      assert.ok(group.eval.mean_logp <= group.eval.ln_mean_p + 1e-6, name);
    }
  }
  const next = await submit(server, { ...spec, init_from: job.id });
  assert.equal((await finished(server, next.id)).state, 'succeeded');
  const [went] = await epochsOf(server, next.id);
  assert.ok(Math.abs(went.eval.loss - records[4].eval.loss) < 1e-6, 'it starts where the other ended');
  const answer = await post('/jobs', { ...spec, init_from: job.id, model: { ...spec.model, cutoffs: [50, 501] } });
  assert.equal(answer.status, 422);
  assert.deepEqual((await answer.json()).errors.map(({ pointer }) => pointer), ['/model/cutoffs']);
});

test('cutoffs that cannot be are named', async () => {
  for (const [cutoffs, tie, pointer] of [[[], 'untied', '/model/cutoffs'], [[50, 50257], 'untied', '/model/cutoffs/1'], [[500, 50], 'untied', '/model/cutoffs/1'], [[50], 'tied', '/model/tie']]) {
    const answer = await post('/jobs', tiny({ model: { head: 'adaptive', cutoffs, tie } }));
    assert.equal(answer.status, 422);
    assert.deepEqual((await answer.json()).errors.map((error) => error.pointer), [pointer], JSON.stringify(cutoffs));
  }
});
