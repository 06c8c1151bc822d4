// config.json of an exported model: the ids that begin and end a text are the tokenizer's.
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
