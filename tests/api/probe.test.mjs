// The probe: a stored model, asked again in a process of its own, says what the
// training recorded.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { tiny, submit, finished } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (path) => (await server.api(path)).json();
const ask = (id, body) => server.api(`/jobs/${id}/probe`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});

for (const [name, model] of [['tied', {}], ['untied, scaled', { tie: 'untied', logit_scale: 'inv_sqrt_d', head_bias: true }]]) {
  test(`log p after every prefix of a batch averages to the record (${name})`, async () => {
    const job = await submit(server, tiny({ model, train: { epochs: 6, batch_size: 1, precision: 'fp32' }, groups: { size: 5 } }));
    assert.equal((await finished(server, job.id)).state, 'succeeded');
    const { inputs: [window] } = await get(`/jobs/${job.id}/batch?epoch=6`);
    const { tokens } = await get(`/jobs/${job.id}/tokens`);
    const named = tokens.map(({ id }) => id);
    const sums = new Array(named.length).fill(0);
    for (let n = 1; n <= window.length; n++) {
      const answer = await ask(job.id, { ids: window.slice(0, n), tokens: named, top: 3 });
      const probe = await answer.json();
      assert.equal(answer.status, 200, JSON.stringify(probe));
      assert.deepEqual(probe.ids, window.slice(0, n));
      probe.tokens.forEach(({ id, logp }, i) => { assert.equal(id, named[i]); sums[i] += logp / window.length; });
      assert.deepEqual(probe.top.map(({ rank }) => rank), [1, 2, 3]);
      assert.ok(probe.top[0].logp >= probe.top[1].logp && probe.top[1].logp >= probe.top[2].logp);
    }
    tokens.forEach(({ id, last }, i) => assert.ok(Math.abs(last - sums[i]) < 2e-5, `token ${id}: ${sums[i]}, recorded ${last}`));
  });
}

test('a text is tokenised; named tokens have a rank; what is wrong is named', async () => {
  const job = await submit(server, tiny({ train: { epochs: 2, snapshots: [1] } }));
  await finished(server, job.id);
  const probe = await (await ask(job.id, { text: 'My father had', tokens: [' Yahoo'.slice(0, 2), 5], top: 2, epoch: 1 })).json();
  assert.equal(probe.epoch, 1);
  assert.equal(probe.ids.length, 3);
  assert.equal(probe.tokens.length, 2);
  assert.ok(probe.tokens.every(({ rank, logp }) => rank >= 1 && rank <= 50257 && logp < 0));
  const pointers = async (body) => (await (await ask(job.id, body)).json()).errors?.map(({ pointer }) => pointer);
  assert.deepEqual(await pointers({}), ['/text']);
  assert.deepEqual(await pointers({ text: '' }), ['/text']);
  assert.deepEqual(await pointers({ text: 'a', ids: [1] }), ['/ids']);
  assert.deepEqual(await pointers({ ids: [50257] }), ['/ids/0']);
  assert.deepEqual(await pointers({ text: 'one two three four five six seven eight nine' }), ['/text']);
  assert.deepEqual(await pointers({ text: 'a', tokens: ['two words', 50257, true], top: -1, extra: 1 }),
    ['/extra', '/tokens/0', '/tokens/1', '/tokens/2', '/top']);
  assert.equal((await ask(job.id, { text: 'a', epoch: 0 })).status, 404);
  assert.equal((await ask('00000000-0000-0000-0000-000000000000', { text: 'a' })).status, 404);
});
