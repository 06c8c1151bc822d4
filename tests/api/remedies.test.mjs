// Remedies through the API: each setting does what SCIENCE section 6 defines, a
// printed spec can be posted again, bad settings are named.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { CORPUS, epochsOf, finished, submit, tiny } from '../lib/experiments.mjs';

const skip = CORPUS !== 'gulliver' ? 'the text is not here' : false;
let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const post = async (spec) => {
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec) });
  return { status: answer.status, body: await answer.json() };
};
const run = async (change) => {
  const job = await finished(server, (await submit(server, tiny(change))).id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  return { job, records: await epochsOf(server, job.id) };
};
const batch = async (id, epoch) => (await server.api(`/jobs/${id}/batch?epoch=${epoch}`)).json();
const tokensOf = async (id) => (await (await server.api(`/jobs/${id}/tokens`)).json()).tokens;

test('inserted tokens are targets exactly as often as their dose says', { skip }, async () => {
  const { job, records } = await run({
    train: { epochs: 40, batch_size: 4 }, data: { inject: { tokens: 6, doses: [0, 1, 4], epochs: [5, 30] } },
  });
  const doses = job.groups.map((group) => group.name).filter((name) => name.startsWith('dose_'));
  assert.deepEqual(doses, ['dose_0', 'dose_1', 'dose_4']);
  for (const dose of [0, 1, 4]) {
    assert.equal(records[5].groups[`dose_${dose}`].exposure, 0, 'nothing before its epochs');
    assert.equal(records[30].groups[`dose_${dose}`].exposure, dose, 'all of it after them');
  }
  assert.equal(records[40].groups.never_used.exposure, 0);
  const inserted = new Map((await tokensOf(job.id)).filter(({ group }) => group.startsWith('dose_')).map(({ id, group }) => [id, Number(group.slice(5))]));
  assert.equal(inserted.size, 18);
  const times = new Map();
  for (let epoch = 0; epoch < 40; epoch++) {
    const { inputs, targets } = await batch(job.id, epoch);
    targets.forEach((row, b) => row.forEach((target, t) => {
      if (t + 1 < row.length) assert.equal(inputs[b][t + 1], target, 'a target is the next input');
      if (inserted.has(target)) times.set(target, (times.get(target) ?? 0) + 1);
    }));
  }
  for (const [id, dose] of inserted) assert.equal(times.get(id) ?? 0, dose, `token ${id}`);
});

test('held-out text: the counts are of the rest', { skip }, async () => {
  const whole = await submit(server, tiny({ corpus: { variant: 'body' } }));
  const { job } = await run({ corpus: { variant: 'body' }, data: { holdout: 4 } });
  const { tokens, held_out: heldOut } = job.corpus;
  assert.equal(tokens + heldOut, whole.corpus.tokens);
  assert.equal(whole.corpus.held_out, 0);
  assert.equal(heldOut % 1024, 0);
  assert.equal(heldOut / 1024, Math.floor(whole.corpus.tokens / 4096));
});

test('oversampled windows expose the group more often', { skip }, async () => {
  const change = { train: { epochs: 60, batch_size: 4 } };
  const plain = await run(change);
  const more = await run({ ...change, data: { oversample: { group: 'least_common', factor: 1000 } } });
  const exposure = ({ records }) => records[60].groups.least_common.exposure;
  assert.ok(exposure(more) > 5 * exposure(plain) && exposure(more) > 1, `${exposure(more)} against ${exposure(plain)}`);
});

test('pruned vocabulary: the used types and nothing else, shown under the ids they always had', { skip }, async () => {
  const change = { train: { epochs: 3, snapshots: [0] } };
  const all = await run(change);
  const { job, records } = await run({ ...change, corpus: { vocabulary: 'used' } });
  assert.equal(job.corpus.vocabulary, all.job.corpus.types);
  assert.equal(job.corpus.types, all.job.corpus.types);
  for (const epoch of [0, 2]) assert.deepEqual(await batch(job.id, epoch), await batch(all.job.id, epoch));
  const of = (tokens, wanted) => tokens.filter(({ group }) => group === wanted).map(({ id, text, count }) => ({ id, text, count }));
  const [tokens, before] = [await tokensOf(job.id), await tokensOf(all.job.id)];
  for (const group of ['most_common', 'least_common']) assert.equal(of(tokens, group).length, 20);
  assert.deepEqual(of(tokens, 'most_common'), of(before, 'most_common'));
  assert.deepEqual(of(tokens, 'never_used'), []);
  for (const { groups: { never_used: empty }, loss } of records) {
    assert.ok(Number.isFinite(loss));
    assert.equal(empty.n.none, 0);
    assert.equal(empty.tokens_kept.columns, 0);
    for (const value of [...Object.values(empty.mean_logp), empty.sd, empty.mass, empty.exposure, ...empty.quantiles]) assert.equal(value, null);
  }
  const level = -Math.log(job.corpus.types);
  assert.ok(Math.abs(records[0].groups.most_common.mean_logp.none - level) < 0.05, `${records[0].groups.most_common.mean_logp.none} against ${level}`);
  const config = await (await server.api(`/jobs/${job.id}/checkpoint/config.json`)).json();
  assert.equal(config.vocab_size, job.corpus.types);
  assert.equal(config.tokenfate_vocabulary.length, config.vocab_size);
  assert.ok(config.tokenfate_vocabulary.every((id, i, ids) => i === 0 || id > ids[i - 1]));
  const known = new Set(config.tokenfate_vocabulary);
  for (const { id } of tokens) assert.ok(known.has(id), `token ${id}`);
  const probe = async (body) => {
    const answer = await server.api(`/jobs/${job.id}/probe`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  };
  const { status, body } = await probe({ text: ' the of', tokens: [' the'], top: 1000 });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual(body.ids, [262, 286]);
  assert.ok(body.top.every(({ id }) => known.has(id)));
  assert.equal(body.tokens[0].id, 262);
  const never = of(before, 'never_used')[0].id;
  assert.equal((await probe({ ids: [never] })).body.errors[0].pointer, '/ids/0');
});

test('a job starts from the model of another, which is kept as long as it is needed', { skip }, async () => {
  const change = { corpus: { variant: 'lf' }, train: { epochs: 6, snapshots: [0] } };
  const source = await run(change);
  const checkpoint = async (id, epoch) => Buffer.from(await (await server.api(`/jobs/${id}/checkpoint?epoch=${epoch}`)).arrayBuffer());
  const from = { ...change, init_from: source.job.id, corpus: { variant: 'raw' } };
  const { job, records } = await run(from);
  assert.equal(job.spec.init_from, source.job.id);
  assert.equal(job.theory.untrained, null, 'it never was untrained');
  assert.ok((await checkpoint(job.id, 0)).equals(await checkpoint(source.job.id, 6)), 'the same weights');
  assert.ok(!(await checkpoint(job.id, 6)).equals(await checkpoint(job.id, 0)), 'and it goes on from there');
  assert.equal(records[0].groups.never_used.output_shift, 0, 'shifts are measured from where it started');
  const again = await run(from);
  assert.deepEqual(again.records.map((record) => record.loss), records.map((record) => record.loss));

  const refused = async (spec, pointers) => {
    const { status, body } = await post({ ...tiny(from), ...spec });
    assert.equal(status, 422, JSON.stringify(body));
    assert.deepEqual(body.errors.map((error) => error.pointer), pointers, JSON.stringify(body));
  };
  await refused({ init_from: '00000000-0000-4000-8000-000000000000' }, ['/init_from']);
  await refused({ model: { ...tiny().model, d_model: 32, tie: 'untied' } }, ['/model/d_model', '/model/tie']);
  await refused({ model: { ...tiny().model, seq_len: 16, n_layers: 2 } }, ['/model/n_layers', '/model/seq_len']);
  await refused({ corpus: { id: CORPUS, tokenizer: 'cl100k_base' } }, ['/corpus/tokenizer']);
  await refused({ corpus: { id: CORPUS, vocabulary: 'used' } }, ['/corpus/vocabulary']);

  const waiting = await submit(server, tiny({ ...from, train: { epochs: 100000 } }));
  await refused({ init_from: waiting.id }, ['/init_from']);
  const remove = () => server.api(`/jobs/${source.job.id}`, { method: 'DELETE' });
  const conflict = await remove();
  assert.equal(conflict.status, 409);
  assert.match((await conflict.json()).detail, new RegExp(`job ${waiting.id} starts from its model`));
  await server.api(`/jobs/${waiting.id}/cancel`, { method: 'POST' });
  await finished(server, waiting.id);
  assert.ok((await remove()).ok);
  await refused({}, ['/init_from']);
  await server.api(`/jobs/${waiting.id}/retry`, { method: 'POST' });
  const lost = await finished(server, waiting.id);
  assert.equal(lost.state, 'failed');
  assert.match(lost.error.message, /the model of job .* is gone/);
});

test('a setting that cannot be is refused by the name of its field', { skip }, async () => {
  const cases = [
    [{ data: { inject: { tokens: 1000, doses: [1000] } } }, '/data/inject/tokens'],
    [{ corpus: { tokenizer: 'gpt2' }, groups: { size: 5000 }, data: { inject: { tokens: 1000, doses: [1] } } }, '/data/inject/tokens'],
    [{ data: { oversample: { group: 'never_used', factor: 2 } } }, '/data/oversample/group'],
    [{ data: { holdout: 10 } }, '/data/holdout'],
    [{ corpus: { id: 'gulliver-synthetic', variant: 'body' }, data: { holdout: 10 } }, '/data/holdout'],
    [{ corpus: { variant: 'body' }, data: { holdout: 1000 } }, '/data/holdout'],
    [{ loss: { class_weight: 'NaN' } }, '/loss/class_weight'],
    [{ model: { head: 'adaptive', cutoffs: [200, 100], tie: 'untied' } }, '/model/cutoffs/1'],
    [{ init_from: 'yesterday' }, '/init_from'],
  ];
  for (const [change, pointer] of cases) {
    const { status, body } = await post({ ...tiny(), ...change });
    assert.equal(status, 422, JSON.stringify(change));
    assert.deepEqual(body.errors.map((error) => error.pointer), [pointer], JSON.stringify(body));
  }
  // As Python prints it, which is no JSON.
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"loss": {"class_weight": NaN}}' });
  assert.equal(answer.status, 422);
  assert.equal((await answer.json()).errors[0].pointer, '/loss/class_weight');
});
