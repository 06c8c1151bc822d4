// GET /jobs/{id}/findings against an independent recomputation from the CSV of the
// epochs (tests/lib/recompute_findings.mjs), for the main experiment and its two
// controls in fewer epochs, and for what each remedy of the reading may do:
// several seeds, an untied model, the published selections, a job without epochs.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { BINARY, startServer } from '../lib/server.mjs';
import { CORPUS, SANITIZED, epochsOf, finished, submit, tiny } from '../lib/experiments.mjs';
import { differences, fetchRun, recompute } from '../lib/recompute_findings.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (route) => {
  const answer = await server.api(route);
  return { status: answer.status, body: await answer.json() };
};
const run = async (spec) => {
  const { id } = await submit(server, spec);
  const job = await finished(server, id, 600);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  return job;
};
const verdicts = (answer) => Object.fromEntries(answer.findings.map(({ id, verdict }) => [id, verdict]));
const compare = async (ids) => {
  const { status, body } = await get(`/jobs/${ids[0]}/findings?with=${ids.slice(1).join(',')}`);
  assert.equal(status, 200, JSON.stringify(body));
  const expected = recompute(await Promise.all(ids.map((id) => fetchRun(server.api, id))));
  assert.deepEqual(differences(body, expected), []);
  assert.equal(body.findings.length, 7);
  for (const finding of body.findings) {
    assert.equal(finding.cause === null, finding.verdict === 'supported', finding.id);
    assert.match(finding.measured, ids.length > 1 ? /^Over \d+ seeds: / : /^In this run: /);
  }
  return body;
};

const EPOCHS = SANITIZED ? 12 : 60;
for (const preset of ['gulliver', 'synthetic-control', 'shuffled-control']) {
  test(`${preset}, ${EPOCHS} epochs`, { timeout: 900_000 }, async () => {
    const spec = JSON.parse(fs.readFileSync(`config/presets/${preset}.json`, 'utf8'));
    if (spec.corpus.id === 'gulliver') spec.corpus.id = CORPUS;
    Object.assign(spec.train, { epochs: EPOCHS, precision: 'fp32' });
    const job = await run(spec), answer = await compare([job.id]);
    const found = verdicts(answer);
    assert.equal(found.vocabulary, 'supported');
    assert.equal(found.untrained, 'supported');
    if (SANITIZED) return;
    assert.equal(found.embeddings, 'supported');
    const number = (claim, id) => answer.findings.find((finding) => finding.id === claim).numbers.find((one) => one.id === id);
    assert.equal(number('rare', 'never_change').verdict, 'supported');
    // An advantage needs context: independent draws have none beyond chance.
    if (preset === 'synthetic-control') {
      assert.equal(number('batch', 'advantage').verdict, 'not supported');
      await endsAtTheCounts(job.id);
    }
  });
}

// Form 3.8: independent draws end at ln(c/N), without a Jensen gap. Common tokens are
// there after 60 epochs; they began five nats below.
async function endsAtTheCounts(id) {
  const { body: theory } = await get(`/jobs/${id}/theory`), records = (await epochsOf(server, id)).slice(-10);
  const average = (value) => records.reduce((sum, record) => sum + value(record), 0) / records.length;
  const near = (value, expected, what) => assert.ok(Math.abs(value - expected) < 0.15, `${what}: ${value}, expected ${expected}`);
  const common = ({ groups }) => groups.most_common;
  near(average((record) => common(record).mean_logp.none), theory.groups.most_common.context_free, 'most_common');
  for (const at of [6, 7]) near(average(({ logp_by_count: classes }) => classes[at]), theory.classes[at].optimum, `from ${theory.classes[at].from} occurrences`);
  const gap = average((record) => common(record).ln_mean_p - common(record).mean_logp.none);
  assert.ok(gap < 0.002, `Jensen gap ${gap}`);
  assert.ok(common((await epochsOf(server, id))[0]).mean_logp.none < theory.groups.most_common.context_free - 4);
}

test('several seeds: mean and interval; a run that does not belong is named', async () => {
  const jobs = [];
  for (const seed of [1, 2, 3]) jobs.push(await run(tiny({ train: { epochs: 20, seed } })));
  const ids = jobs.map(({ id }) => id);
  const answer = await compare(ids);
  assert.deepEqual(answer.runs, ids.map((job, i) => ({ job, seed: i + 1 })));
  assert.ok(answer.findings[0].numbers[0].sd < 1e-12, 'the text is the same');
  assert.ok(answer.findings[1].numbers[0].half > 0);

  const other = await run(tiny({ train: { epochs: 20, seed: 4, lr: 0.01 } }));
  const shorter = await run(tiny({ train: { epochs: 10, seed: 5 } }));
  for (const [id, said] of [[other.id, /differs in \/train\/lr/], [shorter.id, /differs in \/train\/epochs/], [ids[0], /is named twice/], [`${ids[1]},${ids[1]}`, new RegExp(`${ids[1]} is named twice`)]]) {
    const { status, body } = await get(`/jobs/${ids[0]}/findings?with=${id}`);
    assert.deepEqual([status, body.errors[0].pointer], [422, 'with']);
    assert.match(body.errors[0].detail, said);
  }
  assert.equal((await get(`/jobs/${ids[0]}/findings?with=00000000-0000-4000-8000-000000000000`)).status, 404);
});

test('runs of the same draws are not two; what runs share is said', async () => {
  const all = await run(tiny({ train: { seed: 1 } }));
  const named = await run(tiny({ train: { seed: 2, seed_weights: 5, seed_data: 6, seed_groups: 7 } }));
  const same = await run(tiny({ train: { seed: 3, seed_weights: 5, seed_data: 6, seed_groups: 7 } }));
  const { status, body } = await get(`/jobs/${all.id}/findings?with=${named.id},${same.id}`);
  assert.deepEqual([status, body.errors[0].pointer], [422, 'with']);
  assert.equal(body.errors[0].detail, `job ${same.id} has the same seeds as job ${named.id}: weights 5, data 6, groups 7`);
  const weights = await run(tiny({ train: { seed: 1, seed_weights: 2 } }));
  const { body: shared } = await get(`/jobs/${all.id}/findings?with=${weights.id}`);
  assert.equal(shared.runs.length, 2);
  for (const { measured } of shared.findings) assert.match(measured, /^Over 2 seeds, with shared batches and groups: /);
});

test('a sweep: its seeds of the same setting are judged together', async () => {
  const answer = await server.api('/sweeps', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ base: tiny({ train: { epochs: 6 } }), vary: { 'train.lr': [0.001, 0.01], 'train.seed': [1, 2] } }),
  });
  assert.equal(answer.status, 201);
  const jobs = [];
  for (const { id } of (await answer.json()).settings.flatMap((setting) => setting.jobs)) jobs.push(await finished(server, id));
  const { body } = await get(`/jobs/${jobs[3].id}/findings`);
  assert.deepEqual(body.runs, [{ job: jobs[3].id, seed: 2 }, { job: jobs[2].id, seed: 1 }]);
  const expected = recompute(await Promise.all([jobs[3].id, jobs[2].id].map((id) => fetchRun(server.api, id))));
  assert.deepEqual(differences(body, expected), []);
  const { body: alone } = await get(`/jobs/${jobs[3].id}/findings?with=`);
  assert.equal(alone.runs.length, 1);
});

test('untied: rows that are never fed are not updated', async () => {
  const job = await run(tiny({ model: { tie: 'untied' }, train: { epochs: 30, lr: 0.01, weight_decay: 0.1 } }));
  const found = (await compare([job.id])).findings.find(({ id }) => id === 'embeddings');
  assert.equal(found.verdict, 'not supported');
  assert.match(found.cause, /weight decay alone/);
});

test('output rows that decay alone moves are not updated; under L2 of Adam nobody can tell', async () => {
  const embeddings = async (train) => (await compare([(await run(tiny({ train: { epochs: 30, weight_decay: 0.5, ...train } }))).id])).findings.find(({ id }) => id === 'embeddings');
  // With an eps this large no gradient moves anything.
  const still = await embeddings({ eps: 1 });
  assert.equal(still.verdict, 'not supported');
  assert.ok(still.numbers.find(({ id }) => id === 'output_shift').value > 0.01);
  assert.equal((await embeddings({})).verdict, 'supported');
  assert.equal((await embeddings({ optimizer: 'adam' })).verdict, 'not testable here');
});

test('closed forms are those of the loss that a job minimises', async () => {
  const closed = (answer) => Object.fromEntries(answer.findings.flatMap(({ numbers }) => numbers).map((number) => [number.id, number]));
  const plain = closed(await compare([(await run(tiny())).id]));
  assert.deepEqual([plain.mass.form, plain.probability.form], ['3.2', '3.2']);
  const losses = { class_weight: 0.5, logit_adjustment: 0.7, label_smoothing: 0.1 };
  for (const [name, value] of Object.entries(losses)) {
    const found = closed(await compare([(await run(tiny({ loss: { [name]: value } }))).id]));
    assert.equal(found.mass.form, '3.7', name);
    assert.equal(found.loss.closed_form, null, name);
    for (const id of ['probability', 'mass', 'rare_change']) assert.ok(Math.abs(found[id].closed_form - plain[id].closed_form) > 1e-3, `${name} ${id}`);
  }
  const all = closed(await compare([(await run(tiny({ loss: { ...losses, z_loss: 1e-3 } }))).id]));
  assert.ok(all.probability.closed_form < plain.probability.closed_form);
  const unlike = [{ inject: { tokens: 3, doses: [0, 2], epochs: null } }];
  if (CORPUS !== 'gulliver-synthetic') unlike.push({ oversample: { group: 'least_common', factor: 10 } });
  for (const data of unlike) {
    const found = closed(await compare([(await run(tiny({ data, train: { epochs: 20, batch_size: 4 } }))).id]));
    for (const id of ['probability', 'loss', 'rare_change', 'rare_exposure', 'mass']) assert.equal(found[id].closed_form, null, id);
  }
});

test('a job that starts from another model has no untrained level', async () => {
  const source = await run(tiny()), job = await run(tiny({ init_from: source.id }));
  const answer = await compare([job.id]);
  const found = Object.fromEntries(answer.findings.map((finding) => [finding.id, finding]));
  for (const id of ['untrained', 'common']) assert.match(found[id].cause, /starts from another model/);
  assert.equal(found.untrained.verdict, 'not testable here');
  assert.ok(found.untrained.numbers.every(({ value }) => value === null));
  assert.equal(found.common.numbers.find(({ id }) => id === 'distance').value, null);
});

test('published selections: groups that do not hold what they are called', async () => {
  for (const [selection, claim] of [['published-2025', 'common'], ['published-2026', 'embeddings']]) {
    const job = await run(tiny({ groups: { selection, mask: 'positions' }, train: { epochs: 5 } }));
    const found = (await compare([job.id])).findings.find(({ id }) => id === claim);
    assert.equal(found.verdict, 'not testable here', selection);
    assert.match(found.cause, /does not hold/);
  }
});

test('a job without records has nothing to judge', async () => {
  const long = await submit(server, tiny({ train: { epochs: 1_000_000 } }));
  const queued = await submit(server, tiny());
  const { status, body } = await get(`/jobs/${queued.id}/findings`);
  assert.equal(status, 409);
  assert.match(body.detail, /is queued and has no records yet/);
  for (const { id } of [long, queued]) await server.api(`/jobs/${id}/cancel`, { method: 'POST' });
  await finished(server, long.id);
});

test('tokenfate run and tokenfate show end with the claims', async () => {
  const job = await run(tiny({ train: { epochs: 20 } }));
  const { body } = await get(`/jobs/${job.id}/findings`);
  const shown = execFileSync(BINARY, ['show', job.id, '--data', server.dataDir], { encoding: 'utf8' });
  const ran = execFileSync(BINARY, ['run', '-'], { encoding: 'utf8', input: JSON.stringify({ ...job.spec, corpus: { ...job.spec.corpus, id: CORPUS } }), stdio: ['pipe', 'pipe', 'ignore'] });
  for (const text of [shown, ran]) {
    const flat = text.replace(/\s+/g, ' ');
    for (const { claim, verdict, measured, cause } of body.findings) {
      for (const part of [`- ${claim}`, `${verdict}: ${measured}`, cause ?? '']) assert.ok(flat.includes(part), `"${part}" in\n${text}`);
    }
  }
});

test('numbers that no column holds are printed in exponent form', async () => {
  const job = await run(tiny({ model: { logit_scale: 1.5e25 }, train: { epochs: 2 } }));
  const { body } = await get(`/jobs/${job.id}/findings`);
  const shown = execFileSync(BINARY, ['show', job.id, '--data', server.dataDir], { encoding: 'utf8' });
  const { stdout, stderr } = spawnSync(BINARY, ['run', '-'], { encoding: 'utf8', input: JSON.stringify({ ...job.spec, corpus: { ...job.spec.corpus, id: CORPUS } }) });
  for (const text of [JSON.stringify(body.findings.map(({ measured, cause }) => [measured, cause])), shown.replace(job.id, ''), stdout, stderr]) {
    assert.match(text, /-\d\.\d+e\+\d\d/);
    assert.doesNotMatch(text, /\d{8}/, text);
  }
});
