// Signals to the real programs: interrupts stop a trainer without a server once, with a checkpoint,
// however many come; the trainers of a server and of `tokenfate run` end by their protocol alone.
// unit/gpu_signals has the other kinds of signals, with handlers.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { BINARY, startServer } from '../lib/server.mjs';
import { small, submit, finished, reached, epochsOf, bits } from '../lib/experiments.mjs';

const trainer = path.join(path.dirname(BINARY), 'tokenfate-trainer');
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-signals-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

// Signals come AFTER_MS after the first line; the run takes ten times that or longer.
const AFTER_MS = 5;
const epochsFor = (isa) => ({ plain: 30, avx2: 60 })[isa] ?? 120;
const envOf = (isa) => ({ ...process.env, TOKENFATE_ISA: isa });
const isas = ['plain', 'avx2', 'avx512', 'avx512_bf16', 'amx']
  .filter((isa) => JSON.parse(spawnSync(trainer, ['--devices'], { env: envOf(isa), encoding: 'utf8' }).stdout.split('\n')[0]).available);
const words = 'the quick brown fox jumps over the lazy dogs while a mild vixen zigzags'.split(' ');
fs.writeFileSync(path.join(folder, 'words.txt'), Array.from({ length: 3000 }, (_, i) => words[Math.floor(i * i / 7) % words.length]).join(' '));
const specOf = (isa, precision) => ({
  corpus: { id: 'words.txt', tokenizer: 'bytes' },
  model: { d_model: 64, n_layers: 1, n_heads: 2, seq_len: 32 },
  train: { epochs: epochsFor(isa), batch_size: 8, precision },
  groups: { size: 10 },
});

const KINDS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGWINCH', 'SIGPROF'];

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a trainer without a server; at(pid) is called while it computes. */
async function train(isa, precision, { args = [], at } = {}) {
  const child = spawn(trainer, ['--corpus_path', folder, '--threads', '2', '--checkpoint_seconds', '3600', ...args], {
    env: envOf(isa), stdio: ['pipe', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (complaint += text));
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
  child.stdin.end(JSON.stringify(specOf(isa, precision)));
  const records = [], types = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line);
    if (said.type) types.push(said.type);
    else records.push(said);
    if (said.type === 'started' && at) setTimeout(at, AFTER_MS, child.pid);
  }
  return { ...await ended, complaint, records, types };
}

/** Signals by the thousand a second until stop(), which returns how many. */
function storm(pid, kinds) {
  let sent = 0;
  const timer = setInterval(() => {
    try {
      for (let i = 0; i < 2; i++) for (const kind of kinds) sent += process.kill(pid, kind) ? 1 : 0;
    } catch { clearInterval(timer); /* it has ended */ }
  }, 1);
  return () => (clearInterval(timer), sent);
}

/** A run that signals stop, and its continuation, are one run without them. */
async function stopsOnce(isa, precision, dir, at) {
  const calm = await train(isa, precision);
  assert.equal(calm.types.at(-1), 'done', calm.complaint);
  const args = ['--dir', path.join(folder, dir)];
  fs.mkdirSync(args[1]);
  const first = await train(isa, precision, { args, at });
  assert.deepEqual([first.code, first.signal], [0, null], first.complaint);
  assert.deepEqual(first.types, ['started', 'checkpointed', 'stopped']);
  const rest = await train(isa, precision, { args: [...args, '--resume'] });
  assert.equal(rest.code, 0, rest.complaint);
  assert.equal(rest.records[0].epoch, first.records.at(-1).epoch + 1);
  assert.deepEqual(bits([...first.records, ...rest.records]), bits(calm.records));
}

for (const isa of isas) for (const precision of ['fp32', 'bf16']) {
  test(`${isa}, ${precision}: the second SIGTERM, a millisecond later, does not end the trainer`, { timeout: 120_000 }, async () => {
    const twice = async (pid) => {
      process.kill(pid, 'SIGTERM');
      await sleep(1);
      process.kill(pid, 'SIGTERM');
    };
    await stopsOnce(isa, precision, `twice-${isa}-${precision}`, (pid) => twice(pid).catch(() => {})); // it may have ended
  });
}

test('thousands of interrupts a second: one stop with a checkpoint', { timeout: 120_000 }, async () => {
  let stop;
  await stopsOnce('', 'fp32', 'storm', (pid) => { stop = storm(pid, KINDS); });
  assert.ok(stop() > 0);
});

const trainersOf = (parent) => fs.readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).map(Number).filter((pid) => {
  try {
    return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[1] === String(parent)
      && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--serve');
  } catch { return false; }
});

// A job on the CPU, long enough for a storm; what `tokenfate run` computes undisturbed.
const job = small({ train: { epochs: 150 }, resources: { device: 'cpu' } });
let calm;

/** Records of `tokenfate run`; storms(pid) is called with its trainer after the first record. */
async function run(storms) {
  const file = path.join(folder, 'spec.json');
  fs.writeFileSync(file, JSON.stringify(job));
  const child = spawn(BINARY, ['run', file, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', pid;
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => {
    if (!storms || pid || !text.includes('epoch')) return;
    [pid] = trainersOf(child.pid);
    storms(pid);
  });
  assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  return bits(out.trim().split('\n').map((line) => JSON.parse(line)).filter((record) => record.loss !== undefined));
}

test('`tokenfate run` undisturbed, for comparison', { timeout: 120_000 }, async () => {
  calm = await run();
  assert.equal(calm.length, 151);
});

test('its trainer ends by its protocol alone', { timeout: 120_000 }, async () => {
  let stop;
  const disturbed = await run((pid) => { stop = storm(pid, KINDS); });
  assert.ok(stop() > 100);
  assert.deepEqual(disturbed, calm);
});

test("a server's trainer ends by its protocol alone", { timeout: 120_000 }, async () => {
  const server = await startServer();
  const { id } = await submit(server, job);
  await reached(server, id, 10);
  const [pid] = trainersOf(server.pid);
  const stop = storm(pid, KINDS);
  const done = await finished(server, id);
  await sleep(100); // and between jobs
  assert.ok(stop() > 100);
  assert.deepEqual([done.state, done.attempt], ['succeeded', 1]);
  assert.deepEqual(bits(await epochsOf(server, id)), calm);
  assert.deepEqual(trainersOf(server.pid), [pid]);
  await server.stop();
});
