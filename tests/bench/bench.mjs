// bench: training steps of this engine beside PyTorch and beside what the machine
// could do at best, one table on standard output and everything as JSON:
//
//   node tests/bench/bench.mjs OUT.json [SHAPE...]
//
// Shapes share one protocol: every contender does one step that is not timed, then
// steps go round and round, one contender after the other; a figure is the median.
// Our steps include the statistics, PyTorch's have none. Each instruction set runs on
// the smallest shape, the best one on all. Nothing here passes or fails.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { commit } from './commit.mjs';
import { Contender, median } from './contender.mjs';
import { printReport } from './report.mjs';
import { stepFloor } from './step_floor.mjs';

const BUILD = process.env.TOKENFATE_BUILD ?? 'build';
const THREADS = availableParallelism();
const ISAS = ['plain', 'avx2', 'avx512', 'avx512_bf16', 'amx'];
const RSS_EPOCHS = 30;

const isPreset = (name) => existsSync(join('config/presets', `${name}.json`));
const preset = (name) => JSON.parse(readFileSync(join('config/presets', `${name}.json`), 'utf8'));
function resized(name, model, train) {
  const spec = preset(name);
  return { ...spec, model: { ...spec.model, ...model }, train: { ...spec.train, ...train } };
}

// rounds of `command` after the first; `together`: contenders stay open side by side.
const SHAPES = [
  { name: 'gulliver', words: 'd 128, L 4, T 64, B 8', spec: preset('gulliver'), rounds: 7, isas: true, command: 'pair' },
  { name: 'gulliver-128', words: 'd 128, L 4, T 128, B 8', spec: resized('gulliver', { seq_len: 128 }, {}), rounds: 5, command: 'pair' },
  {
    name: 'small', words: 'd 768, L 12, T 64, B 4', rounds: 5, command: 'pair',
    spec: resized('gulliver', { d_model: 768, n_layers: 12, n_heads: 12 }, { batch_size: 4 }),
  },
  {
    name: 'gulliver-study', words: 'd 768, L 12, T 256, B 16, untied', spec: preset('gulliver-study'),
    rounds: 2, peerRounds: 1, peers: ['bf16'], alone: true, command: 'step',
  },
];

const machineFloor = () => JSON.parse(execFileSync(join(BUILD, 'tests/floor_bench'), [String(THREADS)], { encoding: 'utf8' }));

/** The better rate of each kind. */
function better(a, b) {
  if (!a) return b;
  const flops = Object.fromEntries(Object.keys(b.flops).map((k) => [k, Math.max(a.flops[k], b.flops[k])]));
  return { ...b, flops, read: Math.max(a.read, b.read), update: Math.max(a.update, b.update) };
}

function ours(isa, precision) {
  return new Contender({
    name: 'tokenfate', isa, precision,
    command: join(BUILD, 'tests/step_bench'), args: [String(THREADS), precision],
    // The trainer's own settings: threads of a sleeping contender must not spin.
    env: { TOKENFATE_ISA: isa, GOMP_SPINCOUNT: '20000', OMP_PROC_BIND: 'true' },
  });
}

function peer(precision) {
  return new Contender({
    name: 'PyTorch', precision, command: '/usr/bin/python3', args: ['tests/bench/torch_step.py', String(THREADS), precision],
    // OpenBLAS takes the kernels it thinks best, whatever the environment prescribes; malloc keeps
    // what is freed. By default it gives large buffers back to the system and takes them anew every
    // step, and where a page fault is dear, as in a virtual machine, that is most of PyTorch's time.
    env: { OPENBLAS_CORETYPE: undefined, OPENBLAS_L2_SIZE: undefined, MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: '100000000000', MALLOC_TOP_PAD_: '1000000000' },
  });
}

/** What opens here, as {isa, precision}, instruction sets in ISAS' order; the others with the reason. */
async function findEngines() {
  const found = [];
  const refused = {};
  const tiny = resized('gulliver', { d_model: 8, n_layers: 1, n_heads: 1, seq_len: 1 }, { batch_size: 1 });
  for (const isa of ISAS)
    for (const precision of ['fp32', 'bf16']) {
      const contender = ours(isa, precision);
      try {
        const { isa: opened } = await contender.open(tiny);
        if (!opened.startsWith(`${isa},`)) throw new Error(`it opens as ${opened}`);
        found.push({ isa, precision });
      } catch (error) {
        refused[`${isa} ${precision}`] = error.message;
      }
      await contender.close();
    }
  return { found, refused };
}

function contendersOf(shape, engines) {
  const best = engines.at(-1).isa;
  return [
    ...engines.filter(({ isa }) => shape.isas || isa === best).map(({ isa, precision }) => ours(isa, precision)),
    ...(shape.peers ?? ['fp32', 'bf16']).map(peer),
  ];
}

const isOurs = (contender) => contender.name === 'tokenfate';
const commandFor = (shape, contender) => (isOurs(contender) ? shape.command : 'step');
const roundsFor = (shape, contender) => (isOurs(contender) ? shape.rounds : (shape.peerRounds ?? shape.rounds));

async function openAll(shape, contenders) {
  for (const contender of contenders) await contender.open(shape.spec);
}

async function runTogether(shape, contenders) {
  try {
    await openAll(shape, contenders);
    for (let round = 0; round < shape.rounds; round++)
      for (const contender of contenders)
        if (round < roundsFor(shape, contender)) await contender.step(commandFor(shape, contender));
  } finally {
    for (const contender of contenders) if (contender.child) await contender.close();
  }
}

async function runShape(shape, engines) {
  const contenders = contendersOf(shape, engines);
  const groups = shape.alone ? contenders.map((c) => [c]) : [contenders];
  for (const group of groups) await runTogether(shape, group);
  return contenders;
}

/** One row: a contender on a shape. */
function rowOf(shape, contender, machine, best) {
  const { isa, precision } = contender.about;
  const times = contender.answers.map((a) => a.ms);
  const ms = median(times);
  const floor = stepFloor(shape.spec, machine, isa ?? best, precision);
  const { train } = shape.spec;
  const row = {
    shape: shape.name, words: shape.words, engine: contender.name, device: contender.ready.device, precision, isa: isa ?? null,
    steps: times.length, ms, least: Math.min(...times), most: Math.max(...times),
    tokens_per_second: (1e3 * floor.tokens) / ms, floor_ms: floor.milliseconds, flops: floor.flops,
    bytes: contender.ready.bytes ?? null,
    // Of a preset as it is: a record before every epoch and one after the last, a step each.
    run_steps: isPreset(shape.name) ? train.epochs * train.steps_per_epoch + 1 : null,
  };
  if (!isOurs(contender)) return row;
  const operations = {};
  for (const op of Object.keys(contender.answers[0].operations)) operations[op] = median(contender.answers.map((a) => a.operations[op]));
  const pairs = contender.answers.filter((a) => a.unobserved_ms);
  const statistics = pairs.length ? median(pairs.map((a) => a.ms / a.unobserved_ms)) - 1 : null;
  return { ...row, operations, statistics };
}

/** Largest resident set and rate of the trainer itself on the gulliver preset. */
async function trainerMemory() {
  const spec = resized('gulliver', {}, { epochs: RSS_EPOCHS });
  const child = spawn(join(BUILD, 'tokenfate-trainer'), ['--corpus-path', process.env.TOKENFATE_CORPUS_PATH ?? 'corpora'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  let kilobytes = 0;
  child.stderr.on('data', (data) => (complaint = String(data).trim()));
  child.stdin.end(JSON.stringify(spec));
  const look = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      kilobytes = Math.max(kilobytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
    } catch { /* it has just ended */ }
  }, 20);
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearInterval(look);
  return code === 0 ? { epochs: RSS_EPOCHS, bytes: 1024 * kilobytes } : { failed: complaint };
}

async function main(out, wanted) {
  const names = SHAPES.map((shape) => shape.name);
  for (const name of wanted) if (!names.includes(name)) throw new Error(`${name}: no such shape; there are ${names.join(', ')}`);
  const started = new Date();
  const load = [loadavg()[0]];
  const { found, refused } = await findEngines();
  if (!found.length) throw new Error(`the engine does not start: ${Object.values(refused)[0]}`);
  const best = found.at(-1).isa;
  let machine = machineFloor();
  const measured = [];
  for (const shape of SHAPES) {
    if (wanted.length && !wanted.includes(shape.name)) continue;
    process.stderr.write(`bench: ${shape.name} (${shape.words})\n`);
    measured.push({ shape, contenders: await runShape(shape, found) });
    machine = better(machine, machineFloor());
  }
  const memory = await trainerMemory();
  load.push(loadavg()[0]);
  const rows = measured.flatMap(({ shape, contenders }) => contenders.map((c) => rowOf(shape, c, machine, best)));
  const report = {
    date: started.toISOString(), seconds: (Date.now() - started) / 1e3, processor: cpus()[0].model.trim(),
    threads: THREADS, commit: commit(), load, best, refused, machine, memory, rows,
  };
  writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
  printReport(report);
}

const [out, ...wanted] = process.argv.slice(2);
if (!out) throw new Error('usage: bench.mjs OUT.json [SHAPE...]');
await main(out, wanted);
