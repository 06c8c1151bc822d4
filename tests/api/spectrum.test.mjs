// The frequency spectrum: classes cover the vocabulary, and the snapshot of the
// last epoch averages to the record's classes.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { tiny, submit, finished, epochsOf, csvOf } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (path) => (await server.api(path)).json();

for (const vocabulary of ['all', 'used']) {
  test(`classes and snapshot agree with the records (vocabulary ${vocabulary})`, async () => {
    const job = await submit(server, tiny({ corpus: { vocabulary }, train: { epochs: 6, snapshots: [3] } }));
    assert.equal((await finished(server, job.id)).state, 'succeeded');
    const records = await epochsOf(server, job.id);
    const spectrum = await get(`/jobs/${job.id}/spectrum?points=7`);
    assert.deepEqual(spectrum.epochs, [0, 1, 2, 3, 4, 5, 6]);
    assert.deepEqual(spectrum.classes.map(({ from }) => from), [0, 1, 2, 4, 10, 30, 100, 1000]);
    for (const [kind, key] of [['by_count', 'count'], ['by_exposure', 'exposure']]) {
      records.forEach((record, e) => {
        assert.deepEqual(spectrum[kind].logp.map((of) => of[e]), record[`logp_by_${key}`]);
        assert.equal(spectrum[kind].tokens.reduce((sum, of) => sum + of[e], 0), job.corpus.vocabulary);
      });
    }
    const { ids, counts, logp } = await get(`/jobs/${job.id}/spectrum?epoch=3`);
    assert.equal(ids.length, job.corpus.vocabulary);
    assert.equal(counts.reduce((a, b) => a + b), job.corpus.tokens);
    if (vocabulary === 'used') assert.ok(counts.every((count) => count > 0) && ids.at(-1) > ids.length);
    spectrum.classes.forEach(({ from, to }, c) => {
      const of = logp.filter((_, v) => counts[v] >= from && (to === null || counts[v] <= to));
      assert.equal(of.length, spectrum.by_count.tokens[c][3]);
      if (of.length) assert.ok(Math.abs(of.reduce((a, b) => a + b) / of.length - spectrum.by_count.logp[c][3]) < 1e-5, `class ${from}`);
    });
    assert.equal((await server.api(`/jobs/${job.id}/spectrum?epoch=2`)).status, 404);
    assert.equal((await server.api(`/jobs/${job.id}/spectrum?epoch=99`)).status, 422);
  });
}

test('the spectrum as CSV says what it says as JSON', async () => {
  const job = await submit(server, tiny({ train: { epochs: 6, snapshots: [3] } }));
  await finished(server, job.id);
  const { epochs, by_count: count, by_exposure: exposure } = await get(`/jobs/${job.id}/spectrum?points=4`);
  const { header, rows } = await csvOf(server, `/jobs/${job.id}/spectrum?points=4`);
  const columns = { logp_by_count: count.logp, tokens_by_count: count.tokens, logp_by_exposure: exposure.logp, tokens_by_exposure: exposure.tokens };
  assert.deepEqual(header, ['epoch', ...Object.keys(columns).flatMap((name) => [0, 1, 2, 3, 4, 5, 6, 7].map((c) => `${name}.${c}`))], 'named as in the records');
  assert.deepEqual(rows, epochs.map((epoch, e) => [epoch, ...Object.values(columns).flatMap((classes) => classes.map((of) => of[e]))]));
  assert.ok(rows.some((row) => row.includes(null)), 'a class without tokens has no log p');

  const { ids, counts, logp } = await get(`/jobs/${job.id}/spectrum?epoch=3`);
  const snapshot = await csvOf(server, `/jobs/${job.id}/spectrum?epoch=3`);
  assert.deepEqual(snapshot.header, ['id', 'count', 'logp']);
  assert.deepEqual(snapshot.rows, ids.map((id, v) => [id, counts[v], logp[v]]));

  const asked = await server.api(`/jobs/${job.id}/spectrum?format=json`, { headers: { Accept: 'text/csv' } });
  assert.deepEqual([asked.headers.get('content-type'), asked.headers.get('vary')], ['application/json', 'Accept'], 'format goes before Accept');
  const refused = await server.api(`/jobs/${job.id}/spectrum?format=xml`);
  assert.deepEqual([refused.status, (await refused.json()).errors[0].pointer], [422, 'format']);
});
