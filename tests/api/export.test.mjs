// An exported model: the ids in config.json that begin and end a text are the tokenizer's, and the
// tensors have the shapes that GPT-2 has by that configuration.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { startServer } from '../lib/server.mjs';
import { finished, submit, tiny } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

// The id of <|endoftext|> in a tokenizer's file (lab/bpe.h), null if it has none.
function endOfText(tokenizer) {
  const file = fs.readFileSync(path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'share/tokenizers', `${tokenizer}.bpe`));
  const [vocab, pattern] = [file.readUInt32LE(16), file.readUInt32LE(20)];
  const offsets = 24 + 4 * Math.ceil(pattern / 4);
  const bytes = offsets + 4 * (vocab + 1);
  const at = (id) => bytes + file.readUInt32LE(offsets + 4 * id);
  for (let id = vocab - 1; id >= 0; id--)
    if (file.subarray(at(id), at(id + 1)).equals(Buffer.from('<|endoftext|>'))) return id;
  return null;
}

test('the tokenizers have the ids that are published', () => {
  assert.deepEqual(['gpt2', 'cl100k_base', 'bytes'].map(endOfText), [50256, 100257, null]);
});

const TEXT = Buffer.from('A voyage to Lilliput, a voyage to Brobdingnag, and one to Laputa. '.repeat(400));
for (const tokenizer of ['gpt2', 'cl100k_base', 'bytes']) {
  for (const vocabulary of ['all', 'used']) {
    test(`an exported model of ${tokenizer}, vocabulary ${vocabulary}`, async () => {
      const sent = await server.api('/corpora?name=voyages', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: TEXT });
      assert.ok(sent.ok, await sent.text());
      const { id } = await submit(server, tiny({ corpus: { id: 'voyages', tokenizer, vocabulary }, groups: { size: 3 }, train: { epochs: 1 } }));
      const job = await finished(server, id);
      assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
      const config = await (await server.api(`/jobs/${id}/checkpoint/config.json`)).json();
      const end = vocabulary === 'all' ? endOfText(tokenizer) : null; // no text holds the special token
      assert.deepEqual([config.bos_token_id, config.eos_token_id], [end, end], JSON.stringify(config).slice(0, 300));
    });
  }
}

// Shapes of transformers' GPT2LMHeadModel; its Conv1D keeps weights as [in, out].
function gpt2Shapes({ vocab_size: V, n_positions: T, n_embd: C, n_layer: layers }) {
  const layer = { 'ln_1.weight': [C], 'ln_1.bias': [C], 'attn.c_attn.weight': [C, 3 * C], 'attn.c_attn.bias': [3 * C],
    'attn.c_proj.weight': [C, C], 'attn.c_proj.bias': [C], 'ln_2.weight': [C], 'ln_2.bias': [C],
    'mlp.c_fc.weight': [C, 4 * C], 'mlp.c_fc.bias': [4 * C], 'mlp.c_proj.weight': [4 * C, C], 'mlp.c_proj.bias': [C] };
  const all = { 'transformer.wte.weight': [V, C], 'transformer.wpe.weight': [T, C],
    'transformer.ln_f.weight': [C], 'transformer.ln_f.bias': [C], 'lm_head.weight': [V, C] };
  for (let i = 0; i < layers; i++)
    for (const [name, shape] of Object.entries(layer)) all[`transformer.h.${i}.${name}`] = shape;
  return all;
}

for (const [d_model, seq_len] of [[1, 1], [1, 8], [16, 1], [16, 8]]) {
  test(`the tensors of a model of d_model ${d_model}, seq_len ${seq_len}`, async () => {
    const { id } = await submit(server, tiny({
      model: { d_model, seq_len, n_heads: 1, tie: 'untied' }, groups: { size: 3 }, train: { epochs: 1 },
    }));
    const job = await finished(server, id);
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
    const config = await (await server.api(`/jobs/${id}/checkpoint/config.json`)).json();
    const file = Buffer.from(await (await server.api(`/jobs/${id}/checkpoint?epoch=1`)).arrayBuffer());
    const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))));
    delete header.__metadata__;
    assert.deepEqual(Object.fromEntries(Object.entries(header).map(([name, { shape }]) => [name, shape])), gpt2Shapes(config));
  });
}
