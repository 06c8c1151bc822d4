// Every preset through the API on the real text: accepted as it is, printed so that it can
// be posted again, and trained, at a width of 32 and for a few epochs, to records that show
// what the preset is for.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { CORPUS, epochsOf, finished, SANITIZED } from '../lib/experiments.mjs';

const EPOCHS = 10;
const CLAIMS = 7;
const skip = CORPUS !== 'gulliver' ? 'the text is not here' : false;
let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (route) => (await server.api(route)).json();
const post = async (spec) => {
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec) });
  return { status: answer.status, body: await answer.json() };
};
const presets = async () => (await get('/presets')).presets.map(({ name }) => name);

const small = (preset) => ({
  ...preset,
  model: { ...preset.model, d_model: 32, n_layers: 1, n_heads: 2, seq_len: 64 },
  train: { ...preset.train, epochs: EPOCHS, batch_size: 8 },
  data: { ...preset.data, inject: preset.data.inject && { ...preset.data.inject, epochs: [0, EPOCHS] } },
});

const near = (value, wanted, margin, what) => assert.ok(Math.abs(value - wanted) <= margin, `${what}: ${value} is not ${wanted}`);
const objectiveDiffers = ({ first, last }) => {
  assert.notEqual(first.objective, first.loss);
  assert.notEqual(last.objective, last.loss);
};
const moved = (run) => run.last.groups.never_used.output_shift;
const groupNames = ({ job }) => job.groups.map(({ name }) => name);

// What a preset must show, given its run and the runs of all others by name.
const SHOWS = {
  'gulliver-class-weight': objectiveDiffers,
  'gulliver-logit-adjustment': objectiveDiffers,
  'gulliver-label-smoothing': (run) => {
    objectiveDiffers(run);
    near(run.first.objective, run.first.loss, 0.1, 'smoothing before training');
  },
  'gulliver-z-loss': (run) => {
    near(run.first.objective - run.first.loss, 1e-4 * run.first.log_z ** 2, 2e-4, 'c times log Z squared');
    assert.ok(run.last.groups.never_used.grad.zloss > 0);
  },
  'gulliver-inject': (run) => {
    for (const name of groupNames(run).filter((group) => group.startsWith('dose_')))
      assert.equal(run.last.groups[name].exposure, Number(name.slice(5)), name);
  },
  'gulliver-oversample': (run, all) => {
    const { group } = run.job.spec.data.oversample;
    assert.ok(run.last.groups[group].exposure > 2 * all.gulliver.last.groups[group].exposure, 'its tokens come more often');
  },
  'gulliver-holdout': ({ last }) => near(last.holdout.loss, last.loss, 2, 'loss on held-out text'),
  'gulliver-used': ({ first, last }) => {
    near(first.loss, Math.log(last.tokens_by_exposure.reduce((all, n) => all + n, 0)), 0.1, 'ln of the number of used types');
    assert.equal(first.groups.never_used.mean_logp.none, null);
  },
  'gulliver-adaptive': ({ first }) => assert.ok(first.groups.never_used.mean_logp.none < first.groups.most_common.mean_logp.none - 4, 'clusters start apart'),
  'gulliver-untied': ({ first }) => assert.ok(first.groups.never_used.input_norm > 0),
  'gulliver-sgd': (run, all) => assert.ok(moved(run) < moved(all.gulliver) / 10, 'what is hardly predicted is hardly pushed'),
  'gulliver-momentum': (run, all) => assert.ok(moved(run) < moved(all.gulliver) / 10, 'no division by the size of the gradient'),
  'gulliver-adam': (run, all) => assert.notEqual(moved(run), moved(all.gulliver)),
  'gulliver-spare-embeddings': (run, all) => assert.ok(run.last.groups.never_used.output_norm > all.gulliver.last.groups.never_used.output_norm, 'no decay'),
  'gulliver-logit-scale': (run, all) => near(run.first.groups.never_used.sd / all.gulliver.first.groups.never_used.sd, 1 / Math.sqrt(32), 0.01, 'spread of the logits'),
  'gulliver-beta2': (run, all) => assert.notEqual(moved(run), moved(all.gulliver)),
  'gulliver-bytes': ({ first }) => near(first.loss, Math.log(256), 0.2, 'ln 256'),
  'gulliver-cl100k': ({ first }) => near(first.loss, Math.log(100277), 0.2, 'ln 100277'),
  'gulliver-study': ({ first }) => near(first.loss, Math.log(50257), 0.01, 'ln 50257'),
  'gulliver-published-2025': ({ first }) => assert.equal(first.groups.most_common.n.none, first.groups.never_used.n.none),
  'gulliver-published-2026': ({ last }) => assert.ok(last.groups.never_used.exposure > 0, 'its never-used tokens are used'),
  'synthetic-control': ({ last }) => near(last.groups.most_common.ln_mean_p - last.groups.most_common.mean_logp.none, 0, 0.05, 'no Jensen gap'),
  'shuffled-control': ({ job }) => assert.equal(job.spec.corpus.shuffled, true),
  gulliver: ({ first, last }) => assert.ok(last.loss < first.loss),
};

test('every preset is accepted as it is, and what is printed can be posted again', { skip }, async () => {
  for (const name of await presets()) {
    const preset = await get(`/presets/${name}`);
    assert.equal(preset.name, name);
    const { status, body } = await post(preset);
    assert.equal(status, 201, `${name}: ${JSON.stringify(body)}`);
    const again = await post(body.spec);
    assert.equal(again.status, 201, `${name} again: ${JSON.stringify(again.body)}`);
    assert.deepEqual(again.body.spec, body.spec);
    for (const { id } of [body, again.body]) await server.api(`/jobs/${id}/cancel`, { method: 'POST' });
  }
});

test('every preset trains, and its records show what it is for', { skip: skip || (SANITIZED && 'too long under sanitizers') }, async (t) => {
  const runs = {};
  const names = await presets();
  assert.deepEqual(Object.keys(SHOWS).sort(), [...names].sort(), 'a preset without a check, or a check without its preset');
  for (const name of names) {
    const { status, body } = await post(small(await get(`/presets/${name}`)));
    assert.equal(status, 201, `${name}: ${JSON.stringify(body)}`);
    runs[name] = body.id;
  }
  for (const name of names) {
    const job = await finished(server, runs[name]);
    assert.equal(job.state, 'succeeded', `${name}: ${JSON.stringify(job.error)}`);
    const records = await epochsOf(server, job.id);
    assert.equal(records.length, EPOCHS + 1, name);
    runs[name] = { job, records, first: records[0], last: records[EPOCHS] };
  }
  for (const name of names) {
    await t.test(name, async () => {
      const { findings } = await get(`/jobs/${runs[name].job.id}/findings`);
      assert.equal(findings.length, CLAIMS);
      SHOWS[name](runs[name], runs);
    });
  }
});
