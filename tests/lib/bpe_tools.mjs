// bpe_tools: what the tokenizer's comparison and its benchmark share: the helper
// program bpe_cli, js-tiktoken's encoders, and the search for Gulliver's text.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tiktoken } from 'js-tiktoken/lite';

const BUILD = process.env.TOKENFATE_BUILD ?? 'build';
export const SHARE = process.env.TOKENFATE_SHARE ?? join(BUILD, 'share');

/** Standard output of bpe_cli; throws with its complaint when it fails. */
export function bpeCli(args, { input, share = SHARE } = {}) {
  const done = spawnSync(join(BUILD, 'tests', 'bpe_cli'), args, {
    input,
    env: { ...process.env, TOKENFATE_SHARE: share },
    maxBuffer: 1 << 30,
  });
  if (done.error) throw done.error;
  if (done.status !== 0) throw new Error(`bpe_cli ${args.join(' ')}: ${done.stderr}`);
  return done.stdout;
}

/** Ids of many texts (strings or buffers), one program for all of them. */
export function encodeAll(texts, { name = 'gpt2', share } = {}) {
  const frames = [];
  for (const text of texts) {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    frames.push(length, bytes);
  }
  const out = bpeCli(['encode', name], { input: Buffer.concat(frames), share });
  const streams = [];
  for (let at = 0; at < out.length; ) {
    const end = at + 4 + 4 * out.readUInt32LE(at);
    streams.push(new Int32Array(out.buffer.slice(out.byteOffset + at + 4, out.byteOffset + end)));
    at = end;
  }
  return streams;
}

/** js-tiktoken's encoder, special tokens being plain text. */
export async function published(name = 'gpt2') {
  const { default: ranks } = await import(`js-tiktoken/ranks/${name}`);
  const tiktoken = new Tiktoken(ranks);
  return (text) => tiktoken.encode(text, [], []);
}

/** Path of Gulliver's text, or undefined. */
export function findGulliver() {
  const folders = process.env.TOKENFATE_CORPUS_PATH ?? 'corpora';
  return folders
    .split(':')
    .map((folder) => join(folder, 'pg829.txt'))
    .find((path) => existsSync(path));
}
