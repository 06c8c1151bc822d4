// GET /jobs/{id}/theory against the formulas of docs/SCIENCE.md section 3,
// recomputed here from the token counts of the text and the stored epochs.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { startServer } from '../lib/server.mjs';
import { CORPUS, epochsOf, finished, submit, tiny } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const near = (value, expected, what) => assert.ok(Math.abs(value - expected) < 1e-9 * Math.max(1, Math.abs(expected)), `${what}: ${value}, expected ${expected}`);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const get = async (route) => {
  const answer = await server.api(route);
  return { status: answer.status, body: await answer.json() };
};
const run = async (change) => {
  const { id } = await submit(server, tiny(change));
  const job = await finished(server, id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  return job;
};

test('levels of model, groups and classes follow from the counts', async () => {
  const job = await run({ train: { epochs: 2 } });
  const { body: theory } = await get(`/jobs/${job.id}/theory`);
  const { body: corpus } = await get(`/corpora/${CORPUS}/frequencies?limit=100000`);
  const { body: { tokens } } = await get(`/jobs/${job.id}/tokens`);
  const level = Object.fromEntries(theory.levels.map(({ id, value }) => [id, value]));
  const { d_model: d, init_std: std, logit_scale: s } = job.spec.model;
  const [V, N] = [corpus.vocabulary, corpus.tokens];
  near(level.logit_std, s * std * Math.sqrt(d), 'logit_std');
  near(level.untrained, -Math.log(V) - (s * std) ** 2 * d / 2, 'untrained');
  near(level.break_even_count, N * Math.exp(level.untrained), 'break_even_count');
  let [entropy, below] = [0, 0];
  for (const [count, types] of corpus.counts_of_counts) {
    entropy -= types * count / N * Math.log(count / N);
    if (Math.log(count / N) < level.untrained) below += types;
  }
  near(level.entropy, entropy, 'entropy');
  near(level.types_below, below / corpus.types, 'types_below');
  assert.equal(level.gradient_sum, 0);

  assert.deepEqual(Object.keys(theory.groups), ['most_common', 'least_common', 'never_used']);
  for (const [name, group] of Object.entries(theory.groups)) {
    const counts = tokens.filter((token) => token.group === name).map(({ count }) => count);
    assert.equal(group.tokens, counts.length);
    near(group.mass, counts.reduce((sum, count) => sum + count / N, 0), `${name} mass`);
    if (name === 'never_used') {
      assert.deepEqual([group.context_free, group.optimum], [null, null]);
    } else {
      near(group.context_free, mean(counts.map((count) => Math.log(count / N))), name);
      near(group.optimum, group.context_free, `${name} optimum`);
    }
  }

  const edges = [0, 1, 2, 4, 10, 30, 100, 1000];
  theory.classes.forEach((found, i) => {
    const inside = corpus.counts_of_counts.filter(([count]) => count >= edges[i] && count < (edges[i + 1] ?? Infinity));
    const types = i ? inside.reduce((sum, [, n]) => sum + n, 0) : V - corpus.types;
    assert.deepEqual([found.from, found.types], [edges[i], types]);
    if (i) near(found.context_free, inside.reduce((sum, [count, n]) => sum + n * Math.log(count / N), 0) / types, `class ${edges[i]}`);
    else assert.equal(found.context_free, null);
  });
  for (const { id, form, source } of [...theory.levels, ...theory.curves]) assert.match(source, /^derived: .|[A-Z].* (19|20)\d\d/, `${id} of form ${form}`);
  assert.match(theory.curves[0].source, /Kingma & Ba 2015/);
  assert.deepEqual(theory.curves.map(({ id }) => id), ['adam_logit'], 'a tied model has no input rows of its own');
});

test('untied: input rows of tokens that never occur decay as the closed form says', async () => {
  const job = await run({ model: { tie: 'untied' }, train: { epochs: 30, steps_per_epoch: 2, lr: 0.01, weight_decay: 0.5 } });
  const records = await epochsOf(server, job.id);
  const { body: theory } = await get(`/jobs/${job.id}/theory`);
  assert.equal(theory.epoch, 30);
  assert.deepEqual(theory.curves.map(({ id, group, quantity }) => [id, group, quantity]),
    [['input_decay', 'never_used', 'input_norm'], ['adam_logit', 'never_used', 'mean_logit']]);
  const [curve] = theory.curves;
  assert.deepEqual(curve.epochs, records.map(({ epoch }) => epoch));
  assert.deepEqual(curve.measured, records.map(({ groups }) => groups.never_used.input_norm));
  curve.predicted.forEach((value, epoch) => near(value, curve.measured[0] * (1 - 0.01 * 0.5) ** (2 * epoch), `epoch ${epoch}`));
  curve.predicted.forEach((value, epoch) => assert.ok(Math.abs(value - curve.measured[epoch]) < 1e-5 * value, `measured at ${epoch}`));
  assert.ok(curve.measured[30] < 0.8 * curve.measured[0]);

  const { body: thin } = await get(`/jobs/${job.id}/theory?points=7`);
  assert.deepEqual(thin.curves[0].epochs, [0, 5, 10, 15, 20, 25, 30]);
  assert.deepEqual(thin.curves[0].predicted, thin.curves[0].epochs.map((epoch) => curve.predicted[epoch]));
});

// Form 3.5 assumes that the signs of mean h keep: in a model of the preset's size they do.
test('Adam: the logit of tokens that are never a target falls by lr |mean h|_1 an update', { timeout: 600_000 }, async () => {
  const preset = JSON.parse(fs.readFileSync('config/presets/gulliver.json', 'utf8'));
  const job = await run({ ...preset, corpus: { ...preset.corpus, id: CORPUS }, train: { ...preset.train, epochs: 33, precision: 'fp32' }, groups: { size: 100 } });
  const records = await epochsOf(server, job.id);
  const { body: theory } = await get(`/jobs/${job.id}/theory`);
  const curve = theory.curves.find(({ id }) => id === 'adam_logit');
  assert.deepEqual([curve.group, curve.quantity], ['never_used', 'mean_logit']);
  let expected = records[0].groups.never_used.mean_logit;
  records.forEach(({ epoch, h_l1 }, i) => {
    if (epoch <= 30) near(curve.predicted[i], expected, `epoch ${epoch}`);
    else assert.equal(curve.predicted[i], null);
    expected -= job.spec.train.lr * h_l1;
  });
  const [fell, form] = [curve.measured, curve.predicted].map((values) => values[0] - values[20]);
  assert.ok(form > 1 && Math.abs(fell - form) < 0.05 * form, `fell ${fell}, closed form ${form}`);
});

test('SGD: the fall of tokens that are never a target is that of the closed form', async () => {
  const job = await run({ train: { epochs: 60, steps_per_epoch: 1, lr: 0.5, optimizer: 'sgd', weight_decay: 0 }, model: { tie: 'untied' } });
  const records = await epochsOf(server, job.id);
  const { body: theory } = await get(`/jobs/${job.id}/theory`);
  assert.deepEqual(theory.curves.map(({ id }) => id), ['input_decay', 'sgd_logp']);
  const curve = theory.curves[1];
  let pull = 0;
  records.forEach(({ epoch, h_norm }, i) => {
    near(curve.predicted[i], -Math.log(Math.exp(-curve.measured[0]) + pull), `epoch ${epoch}`);
    pull += 0.5 * h_norm ** 2;
  });
  assert.ok(curve.predicted[60] < curve.predicted[0] - 1e-4);
});

test('SGD: no curve where more than the form says moves a logit', async () => {
  const plain = { train: { epochs: 2, optimizer: 'sgd', weight_decay: 0 } };
  const others = [
    { train: { weight_decay: 0.1 } }, { train: { grad_clip: 1 } }, { train: { optimizer: 'momentum' } }, { model: { head_bias: true } },
    ...['class_weight', 'logit_adjustment', 'label_smoothing', 'z_loss'].map((name) => ({ loss: { [name]: 0.1 } })),
  ];
  for (const change of [{}, ...others]) {
    const job = await run({ ...plain, ...change, train: { ...plain.train, ...change.train } });
    const { body } = await get(`/jobs/${job.id}/theory`);
    assert.equal(body.curves.some(({ id }) => id === 'sgd_logp'), !Object.keys(change).length, JSON.stringify(change));
  }
});

// The gradient turns where p = eps / V.
test('Adam: with label smoothing the curve ends where the gradient turns', async () => {
  const job = await run({ train: { epochs: 20, lr: 0.03 }, loss: { label_smoothing: 0.5 } });
  const records = await epochsOf(server, job.id);
  const { body } = await get(`/jobs/${job.id}/theory`);
  const curve = body.curves.find(({ id }) => id === 'adam_logit');
  const floor = Math.log(0.5 / 50257);
  const turned = records.findIndex(({ groups }) => groups.never_used.mean_logp.none <= floor);
  assert.ok(turned > 1 && turned < 20, `turned at ${turned}`);
  curve.predicted.forEach((value, epoch) => assert.equal(value === null, epoch > turned, `epoch ${epoch}`));
  const weighted = await run({ loss: { class_weight: 0.5 } });
  assert.deepEqual((await get(`/jobs/${weighted.id}/theory`)).body.curves, [], 'the sign would be that of a weighted mean of h');
});

// Inserted tokens have a count of 0 in the text, and are fed and targets all the same.
test('tokens that are inserted or held out: curves for what training never shows', async (t) => {
  const shown = async (change) => {
    const job = await run({ model: { tie: 'untied' }, ...change });
    const { body } = await get(`/jobs/${job.id}/theory`);
    return { curves: body.curves.map(({ id, group }) => `${id} ${group}`), groups: body.groups };
  };
  const doses = await shown({ data: { inject: { tokens: 3, doses: [0, 1, 4], epochs: null } }, train: { epochs: 20, batch_size: 8 } });
  assert.deepEqual(doses.curves, ['input_decay never_used', 'input_decay dose_0', 'adam_logit never_used', 'adam_logit dose_0']);
  const sgd = await shown({ data: { inject: { tokens: 3, doses: [4], epochs: null } }, train: { epochs: 20, batch_size: 8, optimizer: 'sgd', weight_decay: 0 } });
  assert.deepEqual(sgd.curves, ['input_decay never_used', 'sgd_logp never_used']);
  if (CORPUS === 'gulliver-synthetic') return t.skip('the synthetic text holds nothing out');
  // Of a pruned vocabulary only the held-out part has the tokens that are never used.
  const heldOut = await shown({ corpus: { variant: 'body', vocabulary: 'used' }, data: { holdout: 4 } });
  assert.ok(heldOut.groups.never_used.tokens > 0);
  assert.deepEqual(heldOut.curves, ['input_decay never_used', 'adam_logit never_used']);
});

test('a job that starts from another model has no untrained level', async () => {
  const source = await run({});
  const job = await run({ init_from: source.id });
  const { body } = await get(`/jobs/${job.id}/theory`);
  const level = Object.fromEntries(body.levels.map(({ id, value }) => [id, value]));
  for (const id of ['untrained', 'logit_std', 'break_even_count', 'types_below']) assert.equal(level[id], null, id);
  assert.ok(level.entropy > 5);
  for (const at of [...body.clusters, ...Object.values(body.groups)]) assert.equal(at.untrained, null);
  assert.equal(body.clusters[0].break_even_count, null);
  assert.ok(body.groups.most_common.optimum < -2, 'its optimum is that of any other job');
});

test('under z-loss the output gradient has a sum that no form fixes', async () => {
  const { body } = await get(`/jobs/${(await run({ loss: { z_loss: 1e-4 } })).id}/theory`);
  assert.equal(body.levels.find(({ id }) => id === 'gradient_sum').value, null);
});

test('an optimum only where targets follow the counts', async (t) => {
  const optima = async (change) => {
    const { body } = await get(`/jobs/${(await run({ train: { epochs: 20, batch_size: 8 }, ...change })).id}/theory`);
    return [body.groups.most_common.optimum, body.classes.at(-1).optimum, body.groups.most_common.context_free];
  };
  const plain = await optima({});
  near(plain[0], plain[2], 'plain');
  const inserted = await optima({ data: { inject: { tokens: 3, doses: [4], epochs: null } } });
  assert.deepEqual(inserted, [null, null, plain[2]]);
  if (CORPUS === 'gulliver-synthetic') return t.skip('a synthetic text is not oversampled');
  assert.deepEqual(await optima({ data: { oversample: { group: 'least_common', factor: 10 } } }), [null, null, plain[2]]);
});

test('what cannot be asked for is named', async () => {
  const { id } = await submit(server, tiny());
  const bad = await get(`/jobs/${id}/theory?points=1`);
  assert.deepEqual([bad.status, bad.body.errors[0].pointer], [422, 'points']);
  assert.equal((await get('/jobs/00000000-0000-4000-8000-000000000000/theory')).status, 404);
});
