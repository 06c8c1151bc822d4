// GET /jobs/{id}/indicators against a recomputation from the model that the API
// serves, read here from its safetensors file.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { CORPUS, finished, submit, tiny } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const get = async (route) => {
  const answer = await server.api(route);
  return { status: answer.status, body: await answer.json() };
};
const near = (value, expected, what) => assert.ok(Math.abs(value - expected) < 1e-6 * Math.max(1e-3, Math.abs(expected)), `${what}: ${value}, expected ${expected}`);

async function tensors(id, epoch) {
  const file = Buffer.from(await (await server.api(`/jobs/${id}/checkpoint?epoch=${epoch}`)).arrayBuffer());
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length));
  return (name) => {
    if (!header[name]) return null;
    const [from, to] = header[name].data_offsets;
    const [n, C] = header[name].shape;
    const numbers = new Float32Array(file.buffer.slice(file.byteOffset + 8 + length + from, file.byteOffset + 8 + length + to));
    return Array.from({ length: n }, (_, i) => numbers.subarray(i * C, (i + 1) * C));
  };
}

const norm = (row) => Math.hypot(...row);
const sum = (rows) => rows.reduce((total, row) => total.map((x, c) => x + row[c]), new Array(rows[0].length).fill(0));
const cosine = (a, b) => a.reduce((total, x, c) => total + x * b[c], 0) / norm(a) / norm(b);
const cloud = (rows) => {
  const S = norm(sum(rows.map((row) => Array.from(row, (x) => x / norm(row)))));
  return {
    tokens: rows.length,
    row_norm: rows.reduce((total, row) => total + norm(row), 0) / rows.length,
    mean_norm: norm(sum(rows)) / rows.length,
    mean_cosine: (S * S - rows.length) / rows.length / (rows.length - 1),
  };
};

// Share of pairs in which the unused token scores lower than the used one.
function area(unused, used) {
  const sorted = Float64Array.from(unused).sort();
  const below = (x, orEqual) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < x || (orEqual && sorted[middle] === x)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return used.reduce((total, x) => total + (below(x, false) + below(x, true)) / 2, 0) / used.length / sorted.length;
}

for (const tie of ['tied', 'untied']) {
  test(`${tie}: as recomputed from the model's file`, async () => {
    const { id } = await submit(server, tiny({ model: { tie }, train: { epochs: 40, lr: 0.01, snapshots: [0] } }));
    const job = await finished(server, id);
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
    const { ranks } = (await get(`/corpora/${CORPUS}/frequencies?limit=100000`)).body;
    const count = new Map(ranks.map((token) => [token.id, token.count]));
    const aucs = [];
    for (const epoch of [0, 40]) {
      const { status, body } = await get(`/jobs/${id}/indicators?epoch=${epoch}`);
      assert.equal(status, 200, JSON.stringify(body));
      const tensor = await tensors(id, epoch);
      const input = tensor('transformer.wte.weight');
      const output = tensor('lm_head.weight') ?? input;
      assert.equal(body.tied, tie === 'tied');
      const ids = output.map((_, i) => i);
      const used = ids.filter((i) => count.get(i) > 0);
      const unused = ids.filter((i) => !count.get(i));
      const reference = unused.filter((_, n) => n % 2 === 0);
      const heldOut = unused.filter((_, n) => n % 2 === 1);
      assert.deepEqual([body.reference_tokens, body.held_out_tokens], [reference.length, heldOut.length]);
      const direction = sum(reference.map((i) => output[i]));
      const distance = output.map((row) => 1 - cosine(Array.from(row), direction));
      const from = (which, list) => list.map((i) => which[i]);
      near(body.distance.auc, area(from(distance, heldOut), from(distance, used)), 'distance auc');
      const once = used.filter((i) => count.get(i) === 1);
      near(body.distance.by_count[0].auc, area(from(distance, heldOut), from(distance, once)), 'auc of tokens that occur once');
      const norms = input.map(norm);
      near(body.input_norm.auc, area(from(norms, heldOut), from(norms, used)), 'norm auc');
      for (const [name, list] of [['all', ids], ['used', used], ['unused', unused]]) {
        for (const [key, value] of Object.entries(cloud(from(output, list)))) near(body.rows[name][key], value, `${name} ${key} at ${epoch}`);
      }
      near(body.cosine_of_means, cosine(sum(from(output, used)), sum(from(output, unused))), 'cosine of means');
      const nearest = [...used].sort((a, b) => distance[a] - distance[b])[0];
      assert.deepEqual([body.nearest.length, body.nearest[0].id, body.nearest[0].count], [20, nearest, count.get(nearest)]);
      assert.ok(body.nearest[0].text.length > 0);
      aucs.push([body.distance.auc, body.distance.by_count.at(-1).auc]);
    }
    assert.ok(Math.abs(aucs[0][0] - 0.5) < 0.03, `untrained rows tell nothing: ${aucs[0]}`);
    assert.ok(aucs[1][1] > 0.85, `the most frequent tokens stand apart from unused ones: ${aucs[1]}`);
  });
}

// With a pruned vocabulary the model numbers the used tokens; answers name the tokenizer's.
test('a pruned vocabulary with a held-out part: the nearest tokens by their own ids', { skip: CORPUS !== 'gulliver' && 'no text to hold out' }, async () => {
  const spec = tiny({ corpus: { vocabulary: 'used', variant: 'body' }, data: { holdout: 5 }, train: { epochs: 40, lr: 0.01 } });
  const { id } = await submit(server, spec);
  const job = await finished(server, id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  const { body } = await get(`/jobs/${id}/indicators`);
  const { ids, counts } = (await get(`/jobs/${id}/spectrum?epoch=40`)).body;
  const tensor = await tensors(id, 40);
  const output = tensor('lm_head.weight') ?? tensor('transformer.wte.weight');
  assert.equal(output.length, ids.length);
  const unused = ids.map((_, i) => i).filter((i) => counts[i] === 0);
  const direction = sum(unused.filter((_, n) => n % 2 === 0).map((i) => output[i]));
  const nearest = ids.map((_, i) => i).filter((i) => counts[i] > 0)
    .map((i) => [1 - cosine(Array.from(output[i]), direction), i]).sort(([a], [b]) => a - b).slice(0, 20).map(([, i]) => i);
  assert.deepEqual(body.nearest.slice(0, 5).map((token) => [token.id, token.count]), nearest.slice(0, 5).map((i) => [ids[i], counts[i]]));
  assert.ok(nearest.some((i) => ids[i] !== i), 'the two numberings differ');
  const { ranks } = (await get(`/corpora/${job.corpus.sha256}/frequencies?variant=body&limit=100000`)).body;
  const text = new Map(ranks.map((token) => [token.id, token.text]));
  for (const token of body.nearest) assert.equal(token.text, text.get(token.id), `${token.id}`);
});

test('a job that starts from another one has no untrained level', async () => {
  const source = await finished(server, (await submit(server, tiny())).id);
  const { id } = await submit(server, tiny({ init_from: source.id }));
  await finished(server, id);
  const level = async (job) => Object.values((await get(`/jobs/${job}/indicators`)).body.rows).map((row) => row.mean_norm_untrained);
  assert.ok((await level(source.id)).every((value) => value > 0));
  assert.deepEqual(await level(id), [null, null, null]);
});

test('what is not there is named', async () => {
  const { id } = await submit(server, tiny());
  await finished(server, id);
  assert.equal((await get(`/jobs/${id}/indicators`)).status, 200);
  const missing = await get(`/jobs/${id}/indicators?epoch=3`);
  assert.deepEqual([missing.status, /no model of epoch 3/.test(missing.body.detail)], [404, true]);
  assert.equal((await get(`/jobs/${id}/indicators?epoch=9`)).status, 422);
});
