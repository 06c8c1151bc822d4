// Speed of the tokenizer on English text, on one core, beside js-tiktoken on the
// same text in the same run. The text is Gulliver's Travels, or, where it is not
// in the corpus path, this project's own prose repeated. Prints one line each and
// fails below 10 MB/s: node tests/bench/bpe_bench.mjs

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bpeCli, findGulliver, published } from '../lib/bpe_tools.mjs';

const LEAST_MB_PER_SECOND = 10;
const PUBLISHED_PASSES = 3;

function ownProse() {
  const files = readdirSync('lab').filter((name) => name.endsWith('.h'));
  return files.map((name) => readFileSync(join('lab', name), 'utf8')).join('\n').repeat(30);
}

const folder = mkdtempSync(join(tmpdir(), 'tokenfate-bench-'));
try {
  let path = findGulliver();
  if (!path) {
    path = join(folder, 'prose.txt');
    writeFileSync(path, ownProse());
  }
  const { bytes, tokens, seconds, open_seconds } = JSON.parse(bpeCli(['time', 'gpt2', path]));
  const rate = bytes / 1e6 / seconds;
  console.log(`tokenizer    ${rate.toFixed(1)} MB/s, ${tokens} tokens of ${bytes} bytes in ${(1e3 * seconds).toFixed(1)} ms, opened in ${(1e3 * open_seconds).toFixed(1)} ms`);

  const text = readFileSync(path, 'utf8');
  const encode = await published();
  let best = Infinity;
  let count = 0;
  for (let pass = 0; pass < PUBLISHED_PASSES; pass++) {
    const start = performance.now();
    count = encode(text).length;
    best = Math.min(best, (performance.now() - start) / 1e3);
  }
  console.log(`js-tiktoken  ${(bytes / 1e6 / best).toFixed(1)} MB/s, ${count} tokens in ${(1e3 * best).toFixed(1)} ms`);
  console.log(`ratio        ${(best / seconds).toFixed(1)}`);
  if (count !== tokens) throw new Error(`${tokens} tokens here, ${count} from js-tiktoken`);
  if (rate < LEAST_MB_PER_SECOND) throw new Error(`${rate.toFixed(1)} MB/s is below ${LEAST_MB_PER_SECOND}`);
} finally {
  rmSync(folder, { recursive: true });
}
