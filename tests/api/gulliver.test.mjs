// The study's main experiment on the real text, end to end: the numbers that
// SCIENCE section 4's expectations and section 3's closed forms predict, and the same job
// posted twice giving the same bits.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { startServer } from '../lib/server.mjs';
import { CORPUS, SANITIZED, bits, epochsOf, finished, submit } from '../lib/experiments.mjs';

const skip = CORPUS !== 'gulliver' ? 'the text is not here' : SANITIZED ? 'too slow under a sanitizer' : false;
const preset = () => {
  const spec = JSON.parse(fs.readFileSync('config/presets/gulliver.json', 'utf8'));
  return { ...spec, train: { ...spec.train, precision: 'fp32' } };
};
let server;
before(async () => { if (!skip) server = await startServer(); });
after(async () => { await server?.stop(); });

test('gulliver, 500 epochs, twice', { skip, timeout: 900_000 }, async (t) => {
  const posted = [await submit(server, preset()), await submit(server, preset())];
  const jobs = [];
  for (const { id } of posted) jobs.push(await finished(server, id, 600));
  for (const job of jobs) assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  const [records, again] = [await epochsOf(server, jobs[0].id), await epochsOf(server, jobs[1].id)];
  const { groups } = records[500];
  const level = -Math.log(50257) - (0.02 * Math.sqrt(128)) ** 2 / 2;

  await t.test('epoch 0: all groups within 0.03 of -ln V - s^2/2', () => {
    for (const [name, group] of Object.entries(records[0].groups)) {
      assert.ok(Math.abs(group.mean_logp.none - level) < 0.03, `${name} ${group.mean_logp.none} against ${level}`);
    }
    assert.ok(Math.abs(jobs[0].theory.untrained - level) < 1e-6);
  });
  await t.test('epoch 500: never_used < least_common - 0.5, least_common < -12', () => {
    const [least, never] = [groups.least_common.mean_logp.none, groups.never_used.mean_logp.none];
    assert.ok(never < least - 0.5, `never ${never}, least ${least}`);
    assert.ok(least < -12, `least ${least}`);
  });
  await t.test('epoch 500: ln_mean_p of most_common within 0.15 of its mean ln(c/N)', () => {
    const expected = jobs[0].theory.groups.most_common.context_free;
    assert.ok(Math.abs(groups.most_common.ln_mean_p - expected) < 0.15, `${groups.most_common.ln_mean_p} against ${expected}`);
  });
  await t.test('epoch 500: loss < 6.9', () => assert.ok(records[500].loss < 6.9, `loss ${records[500].loss}`));
  await t.test('posted twice: identical to the last bit', () => assert.deepEqual(bits(again), bits(records)));
  await t.test('every mask says how many tokens survived it', () => {
    for (const record of records) {
      for (const [name, group] of Object.entries(record.groups)) {
        assert.equal(group.n.none, 100 * 8 * 64, name);
        for (const mask of ['columns', 'windows', 'positions']) {
          assert.ok(group.n[mask] <= group.n.none);
          assert.equal(group.n[mask] === 0, group.mean_logp[mask] === null, `${name} ${mask} at ${record.epoch}`);
        }
      }
    }
    assert.equal(records[9].groups.never_used.tokens_kept.columns, 100);
    assert.ok(records[9].groups.most_common.tokens_kept.columns < 60);
  });
});
