// The service proves a card before it uses it (server/queue/slot_proof.c), on the made-up machine
// (tests/cards/cards.h) with one seeded fault at a time. A trainer in between makes the proof short:
// the machine computes on the processor.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { removeFolder, startServer } from '../lib/server.mjs';
import { bits, epochsOf, finished, reached, submit, tiny } from '../lib/experiments.mjs';

const build = path.resolve(process.env.TOKENFATE_BUILD ?? 'build');
const cards = path.join(build, 'tests', 'cards');
const PATIENCE_MS = 60_000;
let folder, trainer, said, fault;

// `fault` and `pause` are files, so that they change while a server runs.
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-proofs-'));
  trainer = path.join(folder, 'trainer');
  said = path.join(folder, 'said');
  fault = path.join(folder, 'fault');
  fs.writeFileSync(trainer, `#!/bin/sh
case "$1" in
--qualify)
  echo "$3" >> '${said}'
  while [ -e '${folder}/pause' ]; do sleep 0.05; done
  CARDS_FAULT=$(cat '${fault}') exec '${cards}/tokenfate-trainer' "$@" --only "$(cat '${folder}/only')" --seconds $(cat '${folder}/seconds');;
esac
CARDS_FAULT=$CARDS_LATER exec '${cards}/tokenfate-trainer' "$@"
`, { mode: 0o755 });
});
after(() => removeFolder(folder));

const data = (name) => path.join(folder, name);
const start = (name, env = {}, ...args) => {
  fs.writeFileSync(said, '');
  return startServer({
    args, dataDir: data(name), env: { LD_LIBRARY_PATH: cards, TOKENFATE_TRAINER: trainer, CARDS: '1', ...env },
  });
};
const seed = (what, only = 'operation add') => {
  fs.writeFileSync(path.join(folder, 'only'), only);
  fs.writeFileSync(fault, what);
  fs.writeFileSync(path.join(folder, 'seconds'), what === 'hang' ? '1' : '60');
};
const proofsMade = () => fs.readFileSync(said, 'utf8').split('\n').length - 1;
const on = (device, epochs = 2) => tiny({
  corpus: { id: 'gulliver-synthetic', vocabulary: 'used' }, model: { d_model: 4, n_layers: 1, n_heads: 1, seq_len: 2 },
  train: { epochs, batch_size: 1, precision: 'auto' }, groups: { size: 2 }, resources: { device },
});
const card = async (server) => (await (await server.api('/devices')).json()).devices.find(({ id }) => id === 'cuda:0');
const job = async (server, id) => (await server.api(`/jobs/${id}`)).json();
async function until(what, look) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`);
}
const children = ({ pid }) => fs.readdirSync(`/proc/${pid}/task`)
  .flatMap((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number));
const settled = (server) => until('a verdict', async () => {
  const one = await card(server);
  return ['passed', 'failed', 'could_not_try'].includes(one.proof?.state) && one;
});

test('a clean card proves itself, while jobs for it wait and others run; then it is used, also after a restart', async () => {
  seed('');
  fs.writeFileSync(path.join(folder, 'pause'), '');
  let server = await start('clean');
  try {
    const running = await until('it begins', async () => {
      const one = await card(server);
      return one.proof.state === 'running' && one;
    });
    assert.deepEqual([running.available, running.reason], [false, 'it is being compared with the reference']);
    const [waits, runs] = [await submit(server, on('auto')), await submit(server, on('cpu'))];
    assert.equal((await finished(server, runs.id)).device, 'cpu');
    await until('it waits', async () => (await job(server, waits.id)).waits?.code === 'proving');
    assert.equal((await job(server, waits.id)).waits.message, 'cuda:0 is not used: it is being compared with the reference');
    fs.rmSync(path.join(folder, 'pause'));
    const done = await finished(server, waits.id);
    assert.deepEqual([done.state, done.device], ['succeeded', 'cuda:0'], JSON.stringify(done.error));
    const { proof, available } = await card(server);
    assert.match(proof.id, /^[0-9a-f]{16}$/);
    assert.equal(done.provenance.proof, proof.id);
    assert.equal((await job(server, runs.id)).provenance.proof, null, 'a processor has none');
    assert.deepEqual([available, proof.state, proof.reason], [true, 'passed', null]);
    assert.equal(proof.checks, 4);
    assert.ok(proof.seconds > 0 && proof.worst.error < proof.worst.bound && /^operation a/.test(proof.worst.check), JSON.stringify(proof));
    assert.match(proof.library, /^sm_90, cuBLASLt/);
    const told = spawnSync(path.join(build, 'tokenfate'), ['devices', '--data', data('clean')], { encoding: 'utf8' });
    assert.match(told.stdout, /^cuda:0: .*\n  idle\n  proof passed, .*, 4 checks in [\d.]+ s\n  nearest to its bound: operation a/m, told.stderr);
    const refused = await server.api('/devices/cpu/qualify', { method: 'POST' });
    assert.deepEqual([refused.status, (await refused.json()).detail], [409, 'cpu has nothing to prove']);
    assert.equal((await server.api('/devices/cuda:7/qualify', { method: 'POST' })).status, 404);
  } finally {
    fs.rmSync(path.join(folder, 'pause'), { force: true });
    await server.stop();
  }
  server = await start('clean');
  try {
    assert.equal((await card(server)).proof.state, 'passed');
    assert.equal(proofsMade(), 0, 'a verdict holds as long as the identity does');
    seed('operation');
    assert.equal((await server.api('/devices/cuda:0/qualify', { method: 'POST' })).status, 204);
    const failed = await until('another verdict', async () => {
      const one = await card(server);
      return one.proof.state === 'failed' && one;
    });
    assert.match(failed.reason, /^it does not compute what the reference computes: operation add: /);
  } finally {
    await server.stop();
  }
});

// The demo itself would take minutes here: it ends with the line that names its device.
test('`make demo` waits for the proof of a GPU, and says in two lines on what it trains', async () => {
  seed('');
  fs.writeFileSync(path.join(folder, 'pause'), '');
  const server = await start('data');
  const offline = path.join(folder, 'offline.cjs');
  fs.writeFileSync(offline, "const own = fetch; globalThis.fetch = (url, init) => (String(url).startsWith('http://127.') ? own(url, init) : Promise.reject(new Error('offline')));");
  const demo = spawn(process.execPath, [path.resolve('config/demo.mjs'), 'start', build], {
    cwd: folder, stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: `--require ${offline}`, TOKENFATE_CORPUS_PATH: folder, EPOCHS: '1' },
  });
  let text = '';
  demo.stdout.setEncoding('utf8').on('data', (more) => { text += more; });
  try {
    await until('it waits', () => /^cuda:0, processor as a GPU: comparing it with the reference$/m.test(text));
    assert.doesNotMatch(text, /^Job/m);
    fs.rmSync(path.join(folder, 'pause'));
    await until('it says on what', () => /reference\nTraining on cuda:0, processor as a GPU: 4 checks hold\n/.test(text));
  } finally {
    demo.kill('SIGKILL');
    fs.rmSync(path.join(folder, 'pause'), { force: true });
    await server.stop();
  }
});

test('a card that fails is named, not used, and nothing is lost', async () => {
  for (const [what, reason] of [['operation', /operation add: add, case/], ['crash', /operation add: the process was killed by signal 6/],
    ['hang', /operation add: no result within 1 s/], ['device', /operation add: .*cudaErrorIllegalAddress/]]) {
    seed(what);
    const server = await start(`broken-${what}`);
    try {
      const [auto, cuda] = [await submit(server, on('auto')), await submit(server, on('cuda'))];
      const failed = await settled(server);
      assert.deepEqual([failed.proof.state, failed.available], ['failed', false], what);
      assert.match(failed.proof.reason, reason);
      const done = await finished(server, auto.id);
      assert.deepEqual([done.state, done.device], ['succeeded', 'cpu'], what);
      const waiting = await until('it says why', async () => {
        const one = await job(server, cuda.id);
        return /does not compute what the reference computes/.test(one.waits?.message) && one;
      });
      assert.deepEqual([waiting.state, waiting.attempt], ['queued', 1]);
    } finally {
      await server.stop();
    }
  }
});

test('after a trainer was lost the card proves itself again, before the job goes on', async () => {
  seed('');
  const server = await start('lost');
  try {
    await settled(server);
    const { id } = await submit(server, on('cuda', 20));
    await reached(server, id, 1);
    const pids = children(server).filter((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('cuda:0'));
    assert.equal(pids.length, 1, pids.join());
    process.kill(pids[0], 'SIGKILL');
    const done = await finished(server, id);
    assert.deepEqual([done.state, done.device, done.attempt], ['succeeded', 'cuda:0', 2], JSON.stringify(done.error));
    assert.equal(proofsMade(), 2);
    assert.equal((await card(server)).proof.state, 'passed');
  } finally {
    await server.stop();
  }
});

const asked = (server, id, what) => server.api(`/jobs/${id}/${what}`, { method: 'POST' });
const stateIs = (server, id, ...states) => until(`${states.join(' or ')}`, async () => {
  const one = await job(server, id);
  return states.includes(one.state) && one;
});

test('a card that computes a first batch wrongly: the job goes back, others wait, the card is proved; then the same bits', async () => {
  seed('');
  const server = await start('wrong-once', { CARDS_LATER: fault });
  const pause = path.join(folder, 'pause');
  try {
    await settled(server);
    const undisturbed = await submit(server, on('cuda', 24));
    const { id } = await submit(server, on('cuda', 24));
    await finished(server, undisturbed.id);
    assert.match(await (await server.api(`/jobs/${undisturbed.id}/log`)).text(),
      /the first batch agrees with the CPU \(1 windows, 1\d gradients; nearest to its bound: .*, [\d.e-]+ of 0\.05\) after [\d.]+ s/);
    // It goes on from a checkpoint: its weights count then.
    await reached(server, id, 3);
    assert.equal((await asked(server, id, 'hold')).status, 200);
    const held = await stateIs(server, id, 'held', 'succeeded');
    assert.ok(held.state === 'held' && held.epoch < 24, 'held in the middle');
    seed('gradient');
    fs.writeFileSync(pause, '');
    await asked(server, id, 'release');
    await until('another proof', () => proofsMade() === 2);
    const [behind, onCpu] = [await submit(server, on('cuda')), await submit(server, on('cpu'))];
    assert.equal((await finished(server, onCpu.id)).device, 'cpu');
    for (const waiting of [id, behind.id])
      await until('it waits for the proof', async () => (await job(server, waiting)).waits?.message === 'cuda:0 is not used: it is being compared with the reference');
    const back = await job(server, id);
    assert.deepEqual([back.state, back.attempt, back.epoch], ['queued', 1, held.epoch]);
    seed('');
    fs.rmSync(pause);
    const done = await finished(server, id);
    assert.deepEqual([done.state, done.attempt, done.device], ['succeeded', 1, 'cuda:0'], JSON.stringify(done.error));
    assert.deepEqual(bits(await epochsOf(server, id)), bits(await epochsOf(server, undisturbed.id)));
    assert.equal((await finished(server, behind.id)).state, 'succeeded');
  } finally {
    fs.rmSync(pause, { force: true });
    await server.stop();
  }
});

test('a card that passes its proof and is wrong again fails the job, which can be retried; each fault is named', async () => {
  seed('');
  const server = await start('wrong-twice', { CARDS_LATER: fault });
  try {
    await settled(server);
    const expected = await submit(server, on('cuda'));
    await finished(server, expected.id);
    let id;
    const fails = async (what, named) => {
      seed(what);
      ({ id } = await submit(server, on('cuda')));
      const failed = await finished(server, id);
      assert.deepEqual([failed.state, failed.attempt, failed.epoch ?? -1, failed.error?.code], ['failed', 1, -1, 'device_wrong'],
        `${what}: ${JSON.stringify(failed)}`);
      assert.match(failed.error.message, named);
    };
    await fails('attention', /^cuda:0: the first batch is not what the CPU computes: .*: relative error [\d.e+]+, at most 0\.0\d+ is rounding$/);
    await until('two more proofs', () => proofsMade() === 3);
    seed('');
    assert.equal((await finished(server, (await submit(server, on('cuda'))).id)).state, 'succeeded', 'then its fault is forgotten');
    await fails('gradient', /the gradient of transformer\.(h\.0\.)?ln_[12f]\.weight: relative error 1, at most 0\.0\d+ is rounding$/);
    await fails('tail', /^cuda:0: the device does not compute as it did: the gradient of a weight: a sum of 11528 ones is 11520/);
    // It passes every proof and fails every job: the others are spared.
    const one = await until('it is not used', async () => (await card(server)).proof.state === 'failed' && card(server));
    assert.equal(one.reason, 'it does not compute what the reference computes: it passes its proofs, but the first batches of 2 jobs are not what the CPU computes');
    assert.equal((await finished(server, (await submit(server, on('auto'))).id)).device, 'cpu');
    assert.equal((await server.api('/devices/cuda:0/qualify', { method: 'POST' })).status, 204);
    seed('');
    assert.equal((await asked(server, id, 'retry')).status, 200);
    assert.equal((await finished(server, id)).state, 'succeeded');
    assert.deepEqual(bits(await epochsOf(server, id)), bits(await epochsOf(server, expected.id)));
  } finally {
    await server.stop();
  }
});

test('a wrong product is named; the card is proved again, and the job that meets it twice fails', async () => {
  seed('');
  const server = await start('product', { CARDS_LATER: fault });
  try {
    await settled(server);
    seed('product');
    const { id } = await submit(server, on('cuda'));
    const failed = await until('it has failed', async () => { const one = await job(server, id); return one.state === 'failed' && one; });
    assert.deepEqual([failed.attempt, failed.error.code], [1, 'device_wrong']);
    assert.match(failed.error.message, /a wrong product of \d+ x \d+ x \d+, algorithm \d+, k in \d parts?: error [\d.e+-]+, bound/);
    await until('it is proved again', () => proofsMade() === 3);
  } finally {
    await server.stop();
  }
});

test('a card whose driver refuses recordings passes without graphs, and is used', async () => {
  seed('', 'replay small');
  const server = await start('without', { CARDS_REFUSES: '4' });
  try {
    const one = await settled(server);
    assert.deepEqual([one.proof.state, one.available], ['passed', true]);
    assert.match(one.proof.reason, /^without graphs: cudaStreamEndCapture: /);
    assert.match(server.log(), /device cuda:0 is proved and used, without graphs: cudaStreamEndCapture: .*: 2 checks in/);
    const told = spawnSync(path.join(build, 'tokenfate'), ['devices', '--data', data('without')], { encoding: 'utf8' });
    assert.match(told.stdout, /\n  proof passed, without graphs, .*, 2 checks in [\d.]+ s\n  without graphs: cudaStreamEndCapture/, told.stderr);
    const done = await finished(server, (await submit(server, on('cuda'))).id);
    assert.deepEqual([done.state, done.device], ['succeeded', 'cuda:0'], JSON.stringify(done.error));
    assert.match(server.log(), /device cuda:0: without graphs: cudaStreamEndCapture/);
  } finally {
    await server.stop();
  }
});

test('a full card could not be tried: no failure, and jobs run elsewhere', async () => {
  seed('memory');
  const server = await start('full');
  try {
    const one = await settled(server);
    assert.deepEqual([one.proof.state, one.available], ['could_not_try', false]);
    assert.match(one.reason, /^it could not be compared with the reference yet: open: .*bytes wanted/);
    const { id } = await submit(server, on('auto'));
    assert.equal((await finished(server, id)).device, 'cpu');
  } finally {
    await server.stop();
  }
});

test('the setting cuda: off leaves the card alone, force uses it without a proof', async () => {
  seed('operation');
  const off = await start('off', {}, '--cuda', 'off');
  try {
    const one = await card(off);
    assert.deepEqual([one.available, one.reason, one.proof], [false, 'the setting cuda is off', null]);
    assert.equal((await off.api('/devices/cuda:0/qualify', { method: 'POST' })).status, 409);
  } finally {
    await off.stop();
  }
  const force = await start('force', {}, '--cuda', 'force');
  try {
    const one = await card(force);
    assert.deepEqual([one.available, one.proof], [true, null]);
    assert.equal((await finished(force, (await submit(force, on('auto'))).id)).device, 'cuda:0');
    assert.equal(proofsMade(), 0);
  } finally {
    await force.stop();
  }
});
