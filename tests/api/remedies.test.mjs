// Remedies through the API: each setting does what SCIENCE section 6 defines, a
// printed spec can be posted again, presets are accepted, bad settings named.
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

test('every preset is accepted as it is, and what is printed can be posted again', { skip }, async () => {
  const { presets } = await (await server.api('/presets')).json();
  for (const { name } of presets) {
    const preset = await (await server.api(`/presets/${name}`)).json();
    assert.equal(preset.name, name);
    const { status, body } = await post(preset);
    assert.equal(status, 201, `${name}: ${JSON.stringify(body)}`);
    const again = await post(body.spec);
    assert.equal(again.status, 201, `${name} again: ${JSON.stringify(again.body)}`);
    assert.deepEqual(again.body.spec, body.spec);
    // What they train to is no question of this test.
    for (const { id } of [body, again.body]) await server.api(`/jobs/${id}/cancel`, { method: 'POST' });
  }
});

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
});
