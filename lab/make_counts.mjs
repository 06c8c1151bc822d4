// Makes lab/gulliver_counts.inc: how often each GPT-2 token occurs in Gulliver's
// Travels (Project Gutenberg eBook 829, variant lf: without byte order mark,
// CRLF turned into LF), counted with js-tiktoken, independently of lab/bpe.
// Run it from the root, after `make deps`:
//   node lab/make_counts.mjs corpora/pg829.txt > lab/gulliver_counts.inc
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Tiktoken } from "js-tiktoken/lite";
import gpt2 from "js-tiktoken/ranks/gpt2";

const COLUMNS = 100;

const path = process.argv[2];
if (!path) {
  console.error("usage: node lab/make_counts.mjs TEXT > lab/gulliver_counts.inc");
  process.exit(2);
}
const bytes = readFileSync(path);
const text = bytes.toString("utf8").replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");

const counts = new Map();
for (const id of new Tiktoken(gpt2).encode(text, [], []))
  counts.set(id, (counts.get(id) ?? 0) + 1);

const pairs = [];
let next = 0;
for (const [id, count] of [...counts].sort((a, b) => a[0] - b[0])) {
  pairs.push(`{${id - next},${count}}`);
  next = id + 1;
}

console.log(`/* gulliver_counts: GPT-2 tokens of Gulliver's Travels (Project Gutenberg eBook
 * 829, variant lf) with their counts: ${pairs.length} types. Each pair is the number of ids
 * that do not occur before this one, and the count. Made by lab/make_counts.mjs
 * from the text with SHA-256
 * ${createHash("sha256").update(bytes).digest("hex")}. */`);
let line = "";
for (const pair of pairs) {
  if (line.length + pair.length + 1 > COLUMNS) {
    console.log(line);
    line = "";
  }
  line += `${pair},`;
}
console.log(line);
