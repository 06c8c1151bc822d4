// A machine with two GPUs, made up (tests/cards/cards.h): the real trainer on the
// cuda backend, executed on the processor; driver and NVML are stand-ins. One job a
// card, at the same time; a job that names a card waits for it; what other programs
// use counts; NVML's numbers go to the right card however CUDA counts them.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { removeFolder, startServer } from '../lib/server.mjs';
import { finished, reached, submit, tiny, epochsOf, bits } from '../lib/experiments.mjs';

const cards = path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tests', 'cards');
const PATIENCE_MS = 60_000;
const MIB = 1024 * 1024;
let folder, state, server;

const start = (env = {}) => startServer({
  args: ['--cuda', 'force'],
  env: {
    LD_LIBRARY_PATH: cards, TOKENFATE_TRAINER: path.join(cards, 'tokenfate-trainer'),
    CARDS: '2', CARDS_STATE: state, ...env,
  },
});
// A line a card: MiB in use, percent busy, degrees.
const set = (...lines) => {
  fs.writeFileSync(`${state}.new`, lines.join('\n'));
  fs.renameSync(`${state}.new`, state);
};
before(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-cards-'));
  state = path.join(folder, 'state');
  set('100 0 40', '200 17 51');
  server = await start();
});
after(async () => {
  await server?.stop();
  removeFolder(folder);
});

const on = (device, epochs) => tiny({
  corpus: { id: 'gulliver-synthetic' }, model: { d_model: 4, n_layers: 1, n_heads: 1, seq_len: 2 },
  train: { epochs, batch_size: 1, precision: 'auto' }, groups: { size: 2 }, resources: { device },
});
const devices = async (from = server) => (await (await from.api('/devices')).json()).devices;
const device = async (id, from = server) => (await devices(from)).find((one) => one.id === id);
const jobNow = async (id) => (await server.api(`/jobs/${id}`)).json();
async function until(what, look) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s: ${JSON.stringify(await devices())}`);
}

test('each card with its own instruments', async () => {
  const card = await until('the watch speaks', async () => {
    const one = await device('cuda:1');
    return one.temperature_celsius !== null && one;
  });
  assert.deepEqual([card.available, card.kind, card.utilisation_percent, card.temperature_celsius, card.driver],
    [true, 'cuda', 17, 51, '580.99.01']);
  assert.equal(card.memory_bytes - card.free_bytes, 200 * MIB);
  set('100 0 40', '200 93 77');
  await until('a change is seen', async () => (await device('cuda:1')).temperature_celsius === 77);
  const cpu = await device('cpu');
  assert.deepEqual([cpu.utilisation_percent, cpu.temperature_celsius, cpu.driver], [null, null, null]);
});

test('a device that is not here is refused, the field is named', async () => {
  const spec = on('cuda:7', 3);
  spec.corpus.id = 'no-such-text';
  const answer = await server.api('/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec),
  });
  const problem = await answer.json();
  assert.equal(answer.status, 422);
  const field = problem.errors.find(({ pointer }) => pointer === '/resources/device');
  assert.equal(field?.detail, 'there is no device cuda:7 here, there is cpu, cuda:0, cuda:1');
  assert.ok(problem.errors.some(({ pointer }) => pointer === '/corpus/id'), 'the other bad field, too');
});

test('a card that cannot be used: the reason in the answer and in the log', async () => {
  const without = await start({ CARDS: '0' });
  try {
    const card = await device('cuda:0', without);
    assert.equal(card.available, false);
    assert.match(card.reason, /^cudaGetDeviceCount: cudaErrorNoDevice/);
    assert.ok(without.log().includes(`info device cuda:0 is not available: ${card.reason}\n`), without.log());
  } finally {
    await without.stop();
  }
});

test('a driver that is too old: the one that is there, and the one that is needed', async () => {
  const old = await start({ CARDS_DRIVER: '550.54.14', CARDS_CUDA: '12040' });
  try {
    const card = await device('cuda:0', old);
    assert.deepEqual([card.available, card.driver, card.reason],
      [false, '550.54.14', 'the NVIDIA driver is for CUDA 12.4, this build needs 13.0: driver 580.65.06 or newer']);
  } finally {
    await old.stop();
  }
});

test('a driver that refuses to record steps: the job is done without, and the device says so', async () => {
  const NO_GRAPH = '5';
  const plain = await start({ CARDS: '1', CARDS_REFUSES: NO_GRAPH });
  try {
    const { id } = await submit(plain, on('cuda:0', 4)), twin = await submit(server, on('cuda:0', 4));
    const [job, recorded] = [await finished(plain, id), await finished(server, twin.id)];
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
    const losses = async (from, one) => (await reached(from, one, 4)).loss;
    assert.equal(await losses(plain, id), await losses(server, recorded.id), 'the same bits');
    const words = 'without graphs: cudaGraphInstantiate: cudaErrorMemoryAllocation (out of memory)';
    const card = await until('the device says so', async () => {
      const one = await device('cuda:0', plain);
      return one.reason && one;
    });
    assert.deepEqual([card.available, card.reason], [true, words]);
    assert.ok(plain.log().includes(`warning device cuda:0: ${words}\n`), plain.log());
  } finally {
    await plain.stop();
  }
});

// The made-up machine with cuBLASLt elsewhere than where the linker looks.
const machine = () => {
  const here = fs.mkdtempSync(path.join(folder, 'machine-'));
  for (const file of ['libcuda.so.1', 'libnvidia-ml.so.1', 'libtokenfate-cuda.so', 'tokenfate-trainer']) {
    fs.copyFileSync(path.join(cards, file), path.join(here, file));
  }
  return { LD_LIBRARY_PATH: here, TOKENFATE_TRAINER: path.join(here, 'tokenfate-trainer'), HOME: here };
};
const put = (...parts) => {
  const to = path.join(...parts);
  fs.mkdirSync(to, { recursive: true });
  fs.copyFileSync(path.join(cards, 'libcublasLt.so.99'), path.join(to, 'libcublasLt.so.99'));
  return to;
};
const PIP = ['lib', 'python3.11', 'site-packages', 'nvidia', 'cu13', 'lib'];
const seen = (env) => {
  const { stdout, stderr } = spawnSync(env.TOKENFATE_TRAINER, ['--device', 'cuda:0', '--devices'],
    { encoding: 'utf8', env: { ...process.env, CARDS: '1', ...env } });
  const card = stdout.trim().split('\n').map((line) => JSON.parse(line)).find(({ id }) => id === 'cuda:0');
  return { card, stderr };
};

test('cuBLASLt is found where CUDA and pip put it, and loaded under its own name', () => {
  const env = machine();
  assert.match(seen(env).card.reason, /^libcublasLt\.so\.99 is not where the linker looks, .* the setting cublaslt names its folder$/);
  put(env.HOME, '.local', ...PIP);
  assert.equal(seen(env).card.available, true, 'for one user');
  const [other, cuda] = [machine(), machine()];
  put(other.HOME, 'venv', ...PIP);
  put(cuda.HOME, 'toolkit', 'lib64');
  assert.equal(seen({ ...other, VIRTUAL_ENV: path.join(other.HOME, 'venv') }).card.available, true, 'of a virtual environment');
  assert.equal(seen({ ...cuda, CUDA_HOME: path.join(cuda.HOME, 'toolkit') }).card.available, true, 'of the toolkit');
});

test('the setting cublaslt names the folder or the file, and nothing else is tried', async () => {
  const env = machine(), aside = put(env.HOME, 'aside');
  assert.equal(seen({ ...env, TOKENFATE_CUBLASLT: aside }).card.available, true);
  assert.equal(seen({ ...env, TOKENFATE_CUBLASLT: path.join(aside, 'libcublasLt.so.99') }).card.available, true);
  put(env.HOME, '.local', ...PIP);
  assert.match(seen({ ...env, TOKENFATE_CUBLASLT: '/nowhere' }).card.reason, /^cublaslt: \/nowhere: /);
  const without = machine();
  const set = await startServer({ args: ['--cuda', 'force', '--cublaslt', put(without.HOME, 'aside')], env: { CARDS: '1', ...without } });
  try {
    assert.equal((await device('cuda:0', set)).available, true);
  } finally {
    await set.stop();
  }
});

test('variables that change the bits of products are unset, with a line in the log', () => {
  const set = {
    CUBLASLT_HEURISTICS_LUT_FILE: '/tmp/lut', CUBLAS_EMULATE_SINGLE_PRECISION: '1', CUBLAS_EMULATION_STRATEGY: 'eager',
    NVIDIA_TF32_OVERRIDE: '1', CUBLAS_EMULATE_DOUBLE_PRECISION: '1', CUBLAS_FP32_EMULATED_BF16X9_MATH: '1',
    CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT: '20',
  };
  const env = { TOKENFATE_TRAINER: path.join(cards, 'tokenfate-trainer'), LD_LIBRARY_PATH: cards };
  const { card, stderr } = seen({ ...env, ...set });
  for (const [name, value] of Object.entries(set)) assert.ok(stderr.includes(` warning ${name}=${value} is ignored: `), stderr);
  assert.equal(card.available, true);
  assert.ok(!stderr.includes('cuBLASLt sees'), stderr);
});

test('two jobs at the same time on two cards, a third waits for the one it names', async () => {
  const [one, two] = [await submit(server, on('cuda', 60)), await submit(server, on('cuda', 60))];
  // A cold card is warmed up for a job first; which runs where is settled by its first records.
  for (const { id } of [one, two]) await reached(server, id, 1);
  const both = await until('both run', async () => {
    const busy = (await devices()).filter(({ jobs }) => jobs.length);
    return busy.length === 2 && busy;
  });
  assert.deepEqual(both.map(({ id }) => id), ['cuda:0', 'cuda:1']);
  assert.deepEqual(both.map(({ jobs }) => jobs[0].id).sort(), [one.id, two.id].sort());
  await server.api(`/jobs/${both[0].jobs[0].id}/cancel`, { method: 'POST' });
  await finished(server, both[0].jobs[0].id);
  const third = await submit(server, on('cuda:1', 3));
  await until('it says what it waits for', async () => (await jobNow(third.id)).waits?.message === 'cuda:1 is busy');
  assert.deepEqual((await device('cuda:0')).jobs, [], 'the other card is idle meanwhile');
  const second = await finished(server, both[1].jobs[0].id);
  assert.equal(second.state, 'succeeded', JSON.stringify(second.error));
  const done = await finished(server, third.id);
  assert.deepEqual([done.state, done.device], ['succeeded', 'cuda:1'], JSON.stringify(done.error));
  assert.equal(done.provenance.precision, 'bf16', 'what auto comes to on a GPU');
  assert.ok(Date.parse(done.started_at) >= Date.parse(second.finished_at), `${done.started_at} before ${second.finished_at}`);
});

test('two jobs at once on one card, where a setting allows it: the same bits as alone', async () => {
  const shared = await start({ CARDS: '1', TOKENFATE_CUDA_SLOTS: '2' });
  try {
    const run = on('cuda:0', 40);
    const alone = await submit(shared, run);
    await finished(shared, alone.id);
    const three = [await submit(shared, run), await submit(shared, run), await submit(shared, run)];
    const both = await until('both run', async () => {
      const card = await device('cuda:0', shared);
      return card.jobs.length === 2 && card;
    });
    assert.deepEqual([both.slots, both.cores, both.jobs.map(({ threads }) => threads)], [2, null, [null, null]]);
    await until('the third waits', async () => (await (await shared.api(`/jobs/${three[2].id}`)).json()).waits?.message === 'cuda:0 is busy');
    for (const { id } of three) {
      const job = await finished(shared, id);
      assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
      assert.deepEqual(bits(await epochsOf(shared, id)), bits(await epochsOf(shared, alone.id)));
    }
  } finally {
    await shared.stop();
  }
});

test('what other programs use of a card counts, and no longer when they end', async () => {
  set('4095 100 80', '4095 100 80');
  const full = await start({ TOKENFATE_IDLE_SECONDS: '1' });
  try {
    await until('the card is full', async () => (await device('cuda:0', full)).free_bytes === MIB);
    const { id } = await submit(full, on('cuda:0', 2));
    const waiting = await until('it waits', async () => {
      const job = await (await full.api(`/jobs/${id}`)).json();
      return job.waits && job;
    });
    assert.equal(waiting.waits.code, 'memory_foreign');
    assert.match(waiting.waits.message, /^it needs .* GB and cuda 1\.07 GB beside it, cuda:0 has 0\.00 GB free$/);
    set('100 0 40', '100 0 40');
    const job = await finished(full, id);
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  } finally {
    await full.stop();
  }
});

test('CUDA_VISIBLE_DEVICES leaves cards out and reorders them', async () => {
  set('100 1 41', '200 2 42', '300 3 43');
  const reordered = await start({ CARDS: '3', CUDA_VISIBLE_DEVICES: '2,0' });
  try {
    await until('the watch speaks', async () => (await device('cuda:1', reordered)).temperature_celsius);
    const seen = (await devices(reordered)).map((one) => [one.id, one.temperature_celsius]);
    assert.deepEqual(seen, [['cpu', null], ['cuda:0', 43], ['cuda:1', 41]]);
    const { id } = await submit(reordered, on('cuda:1', 2));
    const job = await finished(reordered, id);
    assert.deepEqual([job.state, job.device], ['succeeded', 'cuda:1'], JSON.stringify(job.error));
    assert.equal((await reached(reordered, id, 2)).epoch, 2);
  } finally {
    await reordered.stop();
  }
});
