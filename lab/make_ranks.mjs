// make_ranks: `node lab/make_ranks.mjs NAME OUT` turns js-tiktoken's rank table
// NAME (gpt2, cl100k_base) into the file that lab/bpe.h describes; `bytes` is a
// table of its own: every byte is a token and nothing is merged. make runs it
// once. The pattern is the published one, with \s and \S written out as
// ECMAScript's white space, because PCRE2's \s is another set (U+0085, U+180E,
// U+FEFF). OUT is written under another name, then renamed: it is never half written.

import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const MAGIC = "TFBPE1\n\0";

// ECMA-262, WhiteSpace and LineTerminator.
const SPACE =
  "\\x{09}-\\x{0d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}";

/** The pattern with \s and \S replaced, inside and outside of [...]. */
function writeOutSpace(pattern) {
  let inClass = false;
  return pattern.replace(/\\.|[[\]]/gs, (part) => {
    if (part === "[") inClass = true;
    if (part === "]") inClass = false;
    if (part === "\\s") return inClass ? SPACE : `[${SPACE}]`;
    if (part === "\\S") {
      if (inClass) throw new Error(`\\S inside a class cannot be written out: ${pattern}`);
      return `[^${SPACE}]`;
    }
    return part;
  });
}

/** Tokens by id, as buffers: lines "! FIRST_ID base64 base64 ...". */
function readRanks(text) {
  const tokens = [];
  for (const line of text.split("\n").filter(Boolean)) {
    const [, first, ...encoded] = line.split(" ");
    encoded.forEach((word, i) => {
      tokens[Number(first) + i] = Buffer.from(word, "base64");
    });
  }
  const gap = tokens.findIndex((token) => token === undefined);
  if (gap >= 0) throw new Error(`no token has rank ${gap}`);
  return tokens;
}

/** FNV-1a, 32 bits. */
function checksum(buffer) {
  let hash = 0x811c9dc5;
  for (const byte of buffer) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const words = (...numbers) => Buffer.from(Uint32Array.from(numbers).buffer);

// Pieces are runs of any characters. Their length has no effect, as nothing is merged.
const BYTES = {
  pat_str: "(?s:.{1,64})",
  special_tokens: {},
  bpe_ranks: `! 0 ${Array.from({ length: 256 }, (_, byte) => Buffer.of(byte).toString("base64")).join(" ")}`,
};

function makeTable({ pat_str, special_tokens, bpe_ranks }) {
  const tokens = readRanks(bpe_ranks);
  const ranks = tokens.length;
  for (const [text, id] of Object.entries(special_tokens)) tokens[id] = Buffer.from(text);
  const pattern = Buffer.from(writeOutSpace(pat_str));
  const offsets = [0];
  const bytes = Array.from(tokens, (token) => token ?? Buffer.alloc(0));
  for (const token of bytes) offsets.push(offsets.at(-1) + token.length);
  const body = Buffer.concat([
    words(ranks, tokens.length, pattern.length),
    pattern,
    Buffer.alloc(-pattern.length & 3),
    words(...offsets),
    ...bytes,
  ]);
  return Buffer.concat([Buffer.from(MAGIC), words(checksum(body)), body]);
}

const [name, out] = process.argv.slice(2);
if (!/^[a-z0-9_]+$/.test(name ?? "") || !out) {
  console.error("usage: node lab/make_ranks.mjs NAME OUT");
  process.exit(2);
}
const source = name === "bytes" ? BYTES : (await import(`js-tiktoken/ranks/${name}`)).default;
mkdirSync(dirname(out), { recursive: true });
writeFileSync(`${out}.part`, makeTable(source));
renameSync(`${out}.part`, out);
