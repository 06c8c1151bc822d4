// server_texts: a job on a text of 200 MB that nobody has read, and a second one, in the
// milliseconds of a client; and the memory of the server meanwhile:
//
//   node tests/bench/server_texts.mjs OUT.json [MEGABYTES]
//
// The text is the real one where it is there, in another order of lines for each copy. The peer of
// each figure is the same request on a text that is read already. Nothing here passes or fails.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { commit } from './commit.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';
import { GULLIVER, finished, reached, tiny } from '../lib/experiments.mjs';

const [out = 'bench-server-texts.json', megabytes = '200'] = process.argv.slice(2);
const GOALS = { post_ms: 50, second_start_ms: 1000 };
const POSTS = 20;

const lines = GULLIVER ? fs.readFileSync(GULLIVER, 'utf8').split('\n')
  : Array.from({ length: 10_000 }, (_, i) => `line ${i} of ${i % 97} words, ${i * i % 9973} in all`);

function makeText() {
  const parts = [];
  for (let bytes = 0, copy = 1; bytes < Number(megabytes) * 1e6; copy++) {
    const part = Buffer.from(lines.map((_, i) => lines[(i * 7 + copy * 131) % lines.length]).join('\n') + `\ncopy ${copy}\n`);
    parts.push(part);
    bytes += part.length;
  }
  return Buffer.concat(parts);
}

const anonymous = ({ pid }) => Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

async function post(server, id, seed) {
  const began = performance.now();
  const answer = await server.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(tiny({ corpus: { id }, train: { epochs: 2, seed } })) });
  const job = await answer.json();
  if (answer.status !== 201) throw new Error(`POST: ${answer.status} ${JSON.stringify(job)}`);
  return { job, ms: performance.now() - began };
}

async function measure() {
  const dataDir = fs.mkdtempSync(path.join(tmpdir(), 'tokenfate-bench-'));
  const server = await startServer({ dataDir });
  try {
    await post(server, 'gulliver-synthetic', 1).then(({ job }) => finished(server, job.id));
    const before = anonymous(server);
    const body = makeText();
    const raw = { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body };
    await server.api('/corpora?name=large', raw);
    const first = await post(server, 'large', 1);
    const waited = first.job.waits?.code === 'reading';
    const began = performance.now();
    let most = anonymous(server);
    for (;;) {
      most = Math.max(most, anonymous(server));
      const job = await (await server.api(`/jobs/${first.job.id}`)).json();
      if (job.groups) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const readMs = performance.now() - began;
    await finished(server, first.job.id);
    const posted = performance.now();
    const second = await post(server, 'large', 2);
    await reached(server, second.job.id, 0); // its first record is stored
    const startMs = performance.now() - posted;
    const known = [];
    for (let i = 0; i < POSTS; i++) known.push((await post(server, 'gulliver-synthetic', i + 2)).ms);
    most = Math.max(most, anonymous(server));
    return { bytes: body.length, waited, post_ms: first.ms, post_on_a_read_text_ms: known.sort((a, b) => a - b)[POSTS >> 1],
      read_ms: readMs, second_post_ms: second.ms, second_start_ms: startMs, memory_before: before, memory_most: most };
  } finally {
    await server.stop();
    removeFolder(dataDir);
  }
}

const result = await measure();
fs.writeFileSync(out, `${JSON.stringify({ commit: commit(), goals: GOALS, ...result }, null, 2)}\n`);
const ms = (value) => `${value.toFixed(1)} ms`;
const mb = (value) => `${(value / 1e6).toFixed(1)} MB`;
console.log(`A text of ${mb(result.bytes)} that nobody has read (waited: ${result.waited}):`);
console.log(`  POST of the first job ${ms(result.post_ms)} (goal ${GOALS.post_ms} ms), on a text that is read ${ms(result.post_on_a_read_text_ms)}`);
console.log(`  read within ${ms(result.read_ms)}; the second job: POST ${ms(result.second_post_ms)}, first record after ${ms(result.second_start_ms)} (goal ${GOALS.second_start_ms} ms)`);
console.log(`  memory of the server: ${mb(result.memory_before)} before, ${mb(result.memory_most)} at most`);
