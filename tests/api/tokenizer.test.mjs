// The token streams of lab/bpe against js-tiktoken's: all of Gulliver, random
// Unicode text, and every place where two ideas of white space could differ.
// PCRE2 and Node know different versions of Unicode, so random text is drawn
// from the code points assigned in PCRE2's; that both put each of those into the
// same class is a test of its own.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bpeCli, encodeAll, findGulliver, published } from '../lib/bpe_tools.mjs';

const STRINGS = 2500;
const SEED = Number(process.env.TOKENFATE_SEED ?? 829);

// What each tokenizer must say: js-tiktoken's ids, or the bytes themselves.
const TOKENIZERS = [
  { name: 'gpt2', encode: await published('gpt2'), tokens: 158350, types: 10273 },
  { name: 'cl100k_base', encode: await published('cl100k_base') },
  { name: 'bytes', encode: (text) => Buffer.from(text) },
];

/** Runs [from, to, class] of code points, as PCRE2 classes them. */
const classes = bpeCli(['classes'])
  .toString()
  .trim()
  .split('\n')
  .map((line) => line.split(' '))
  .map(([from, to, name]) => ({ from: Number(from), to: Number(to), name }));

function assertSame(texts, { name, encode } = TOKENIZERS[0]) {
  const streams = encodeAll(texts, { name });
  assert.equal(streams.length, texts.length);
  texts.forEach((text, i) => {
    const expected = Int32Array.from(encode(text));
    const at = expected.findIndex((id, k) => id !== streams[i][k]);
    assert.ok(
      at < 0 && expected.length === streams[i].length,
      `text ${i}, ${JSON.stringify(text.slice(0, 200))}: token ${at} of ${expected.length} ` +
        `is ${expected[at]}, here ${streams[i][at]} of ${streams[i].length}`,
    );
  });
}

/** Mulberry32: a seeded stream of integers below a bound. */
function dice(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % bound;
  };
}

/** Texts that put all kinds of characters beside each other. */
function randomTexts(count, seed) {
  const below = dice(seed);
  const pick = (list) => list[below(list.length)];
  const assigned = classes.filter(({ name }) => name !== '-');
  const early = assigned.filter(({ to }) => to < 0x800);
  const from = (runs) => {
    const run = pick(runs);
    return String.fromCodePoint(run.from + below(run.to - run.from + 1));
  };
  const anything = () => from(assigned);
  const common = [...'etaoin shrdlu.,\'"!?-0123456789\n\r\t '];
  const space = [...' \t\n\v\f\r\u0085\u00a0\u1680\u180e\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff'];
  const words = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", '’s', '<|endoftext|>', ' Lilliput', 'Gulliver'];
  const ascii = () => String.fromCharCode(below(128));
  const near = () => from(early);
  const emoji = () => String.fromCodePoint(0x1f300 + below(0x200)) + pick(['', '\u200d', '\ufe0f', '\u{1f3fd}']);
  const run = () => pick([anything(), pick(common), pick(space)]).repeat(1 + below(12));
  const kinds = [() => pick(common), () => pick(space), () => pick(words), ascii, near, emoji, run, anything, anything];
  return Array.from({ length: count }, () => {
    const allowed = Array.from({ length: 1 + below(kinds.length) }, () => pick(kinds));
    return Array.from({ length: 1 + below(60) }, () => pick(allowed)()).join('');
  });
}

test("letters and numbers: PCRE2 and Node agree on every code point assigned in PCRE2's Unicode", () => {
  let compared = 0;
  for (const { from, to, name } of classes) {
    for (let c = from; name !== '-' && c <= to; c++, compared++) {
      const text = String.fromCodePoint(c);
      const other = /\p{L}/u.test(text) ? 'L' : /\p{N}/u.test(text) ? 'N' : 'O';
      assert.equal(name, other, `U+${c.toString(16)}`);
    }
  }
  assert.ok(compared > 280000, `only ${compared} code points`);
});

const gulliver = findGulliver();

for (const tokenizer of TOKENIZERS)
  test(`${tokenizer.name}, Gulliver: raw, lf and body`, { skip: gulliver ? false : 'pg829.txt is not in the corpus path' }, () => {
    const raw = readFileSync(gulliver, 'utf8');
    const lf = raw.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
    const lines = lf.split('\n');
    const start = lines.findIndex((line) => line.startsWith('*** START OF'));
    const end = lines.findIndex((line) => line.startsWith('*** END OF'));
    const body = `${lines.slice(start + 1, end).join('\n')}\n`;
    assertSame([raw, lf, body], tokenizer);
    if (!tokenizer.tokens) return;
    const [ids] = encodeAll([raw], tokenizer);
    assert.equal(ids.length, tokenizer.tokens);
    assert.equal(new Set(ids).size, tokenizer.types);
  });

test('source code and prose of this project', () => {
  const files = ['lab', 'config', 'tests/api'].flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(folder, entry.name), 'utf8').slice(0, 20000)),
  );
  assert.ok(files.length > 10);
  assertSame(files);
});

for (const tokenizer of TOKENIZERS)
  test(`${tokenizer.name}: ${STRINGS} random Unicode strings (seed ${SEED})`, () => {
    assertSame(randomTexts(STRINGS, SEED), tokenizer);
  });

for (const tokenizer of TOKENIZERS) test(`${tokenizer.name}, white space: each candidate before, after and between letters, digits, signs and spaces`, () => {
  const candidates = [0x1c, 0x1f, 0x85, 0xa0, 0x1680, 0x180e, 0x2007, 0x200b, 0x2028, 0x2029, 0x2060, 0x3000, 0xfeff];
  const sides = ['', 'a', '1', '!', ' ', '\n', '  ', '\u0085', '\u180e', '\ufeff'];
  const texts = candidates.flatMap((c) =>
    sides.flatMap((left) => sides.map((right) => left + String.fromCodePoint(c) + right)),
  );
  assertSame(texts, tokenizer);
});

test('contractions of any case, digits by three, signs with their line ends: where cl100k_base cuts unlike gpt2', () => {
  const tails = ["'s", "'S", "'LL", "'lL", "'Ll", "'VE", "'d", "'D", "'ſ", "'K", '’s'];
  const texts = tails.flatMap((tail) => ['', 'a', 'A', '1', '!', ' ', '\n'].flatMap((side) => [`${side}${tail}`, `${side}${tail}x`, `${tail}${tail}`]));
  texts.push('1234567', '12 3456', '٣٤٥٦٧', '!!\n\n  x', '?\r\n\r\n', ' \n \n x', '(abc)', '\tabc', '_abc');
  for (const tokenizer of TOKENIZERS) assertSame(texts, tokenizer);
});

test('special tokens in a text are plain text', () => {
  for (const tokenizer of TOKENIZERS) {
    const [ids] = encodeAll(['<|endoftext|>'], tokenizer);
    assert.ok(ids.length > 1 && !ids.includes(50256) && !ids.includes(100257));
    assertSame(['<|endoftext|>', 'a<|endoftext|>b <|endoftext|>\n', '<|fim_prefix|>'], tokenizer);
  }
});

test('long pieces merge in the same order', () => {
  const below = dice(7);
  const word = (alphabet, n) => Array.from({ length: n }, () => alphabet[below(alphabet.length)]).join('');
  for (const tokenizer of TOKENIZERS)
    assertSame(['a'.repeat(1500), 'é'.repeat(700), '!'.repeat(1300), ' '.repeat(1000), word('ab', 900), word('etaoins', 900)], tokenizer);
});

test('malformed UTF-8 is refused with the offset of the byte', () => {
  const broken = Buffer.concat([Buffer.from('Brobdingnag é '), Buffer.from([0xff]), Buffer.from(' x')]);
  assert.throws(() => encodeAll([broken]), /byte 15 \(0xff\) is not UTF-8/);
});

