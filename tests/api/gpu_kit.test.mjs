// The checks for a real GPU (tests/gpu/check.py) as a program: that they run from the
// folder they travel in, say why there is no device, go on after a failure, count, and
// continue where they were. The device is the made-up machine (tests/cards).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SANITIZED } from '../lib/experiments.mjs';
import { removeFolder } from '../lib/server.mjs';

const build = path.resolve(process.env.TOKENFATE_BUILD ?? 'build');
const cards = path.join(build, 'tests', 'cards');
const skip = SANITIZED && 'the kit is not built with sanitizers';
let folder, kit;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-kit-'));
  kit = path.join(folder, 'kit');
  if (!skip) fs.cpSync(path.join(build, 'gpu-kit'), kit, { recursive: true });
});
after(() => removeFolder(folder));

const use = (library) => fs.copyFileSync(library, path.join(kit, 'libtokenfate-cuda.so'));
const only = (...names) => names.flatMap((name) => ['--only', name]);
function check(args, env = {}) {
  const out = path.join(folder, 'out');
  const { status, stdout, stderr } = spawnSync('python3', [path.join(kit, 'check.py'), '--quick', '--out', out, ...args], {
    encoding: 'utf8', env: { ...process.env, LD_LIBRARY_PATH: cards, CARDS: '1', ...env }, timeout: 300_000,
  });
  const file = path.join(out, 'check.jsonl');
  const lines = fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split('\n').filter(Boolean).map((line) => JSON.parse(line)) : [];
  return { status, stdout, stderr, lines, last: stdout.trim().split('\n').pop() };
}

test('without a backend: no device, with the reason, and no failure', { skip }, () => {
  fs.rmSync(path.join(kit, 'libtokenfate-cuda.so'), { force: true });
  const { status, stdout, stderr } = check([]);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, 'no device: this build has no CUDA backend\n0 passed, 0 failed, 0 skipped\n');
});

test('without a card: the reason of the backend itself', { skip }, () => {
  use(path.join(cards, 'libtokenfate-cuda.so'));
  const { status, stdout } = check([], { CARDS: '0' });
  assert.equal(status, 0);
  assert.match(stdout, /^no device: cudaGetDeviceCount: .+\n0 passed/);
});

test('a device that the backend cannot use is no missing device', { skip }, () => {
  fs.writeFileSync(path.join(kit, 'libtokenfate-cuda.so'), 'not a library, needs libcublasLt.so.13');
  for (const script of ['check.py', 'bench.py']) {
    const run = (cards_there) => spawnSync('python3', [path.join(kit, script), '--out', path.join(folder, 'none')], {
      encoding: 'utf8', env: { ...process.env, LD_LIBRARY_PATH: cards, CARDS: String(cards_there) },
    });
    const there = run(1), none = run(0);
    assert.equal(there.status, 1);
    assert.match(there.stdout, /^a device is there, but .*libtokenfate-cuda\.so/, there.stderr);
    assert.equal(none.status, 0);
    assert.match(none.stdout, /^no device: .*libtokenfate-cuda\.so/, none.stderr);
  }
  use(path.join(cards, 'libtokenfate-cuda.so'));
});

// What a function of a script answers, with the kit's folder as it is.
const python = (text) => {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', text], { encoding: 'utf8', cwd: kit });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
};

test('the golden curve binds while perturbed runs are near, and is reported afterwards', { skip }, () => {
  const words = (first, later) => python(`
import check, json
expected = {"envelope": [0, 0.005, 0.01, 0.02, 0.04], "mean_logp": {"rare": [-1, -2, -3, -4, -5]}}
off = [0, 0, ${first}, 0, ${later}]
records = {e: {"groups": {"rare": {"mean_logp": {"none": -1 - e + off[e]}}}} for e in range(5)}
try:
    print(json.dumps(check.golden_words(expected, records)))
except check.Failed as reason:
    print(json.dumps("failed: " + str(reason)))`);
  assert.equal(words(0.015, 0.2), '0.0150 up to epoch 2, to which it is judged; within 0.02 up to 3, 0.2000 up to 4, 0.2000 up to 4; at most 5.00 times as far as three perturbed runs of the cpu, at epoch 4');
  assert.equal(words(0.021, 0), "failed: epoch 2, rare: 0.0210 from the cpu's curve, allowed 0.02");
  assert.match(words('float("nan")', 0), /^failed: epoch 2/);
});

test('a floor is told of the cards whose rates are known', { skip }, () => {
  const fraction = (card) => python(`import bench, json; bench.CARD = "${card}"; print(json.dumps(bench.beside_card(790e12, 6.0e12, 4)))`).floor_fraction;
  assert.equal(fraction('NVIDIA H200').toFixed(4), (6.0 / 4.3 / 4).toFixed(4));
  assert.equal(fraction('NVIDIA H100 80GB HBM3'), 0.5);
  assert.equal(fraction('NVIDIA H200 MIG 1g.18gb'), undefined);
});

test('a profiler that cannot work is skipped with its reason; a program that fails below it is not', { skip }, () => {
  const tools = path.join(folder, 'profiler'), out = path.join(folder, 'profile');
  fs.mkdirSync(tools);
  fs.writeFileSync(path.join(tools, 'ncu'), '#!/bin/sh\necho "$SAYS"\nexit "$ENDS"\n', { mode: 0o755 });
  const says = (text, status) => {
    const { stdout, stderr } = spawnSync('python3', [path.join(kit, 'bench.py'), '--tiny', '--only', 'gulliver by kernel', '--out', out], {
      encoding: 'utf8', env: { ...process.env, LD_LIBRARY_PATH: cards, CARDS: '1', PATH: `${tools}:/usr/bin:/bin`, SAYS: text, ENDS: String(status) },
    });
    const [line] = fs.readFileSync(path.join(out, 'bench.jsonl'), 'utf8').trim().split('\n').map((one) => JSON.parse(one));
    assert.equal(line?.name, 'gulliver by kernel', stdout + stderr);
    return `${line.result}: ${line.reason}`;
  };
  assert.match(says('ncu: error while loading shared libraries', 127), /^skipped: ncu does not work here: .*shared libraries/);
  assert.match(says('==PROF== Connected to process 7\n==ERROR== ERR_NVGPUCTRPERM - no permission', 1), /^skipped: .*ERR_NVGPUCTRPERM/);
  assert.match(says('==PROF== Connected to process 7\n==ERROR== ERR_NVGPUCTRPERM - no permission', 0), /^skipped: .*ERR_NVGPUCTRPERM/);
  assert.match(says('==PROF== Connected to process 7\n==ERROR== The application returned an error code (1).', 1), /^failed: Failed: status 1/);
  assert.match(says('==PROF== Connected to process 7', 0), /^failed: Failed: the profiler named no kernel/);
});

test('checks run, each with its result on disk; a second call leaves out what is done', { skip }, () => {
  const names = only('devices', 'memory beside', 'operation cast', 'gradient small fp32', 'memcheck cast');
  const first = check(names, { PATH: '/usr/bin:/bin' });
  assert.equal(first.status, 0, first.stdout + first.stderr);
  assert.deepEqual(first.lines.map(({ name, result }) => `${name}: ${result}`).sort(), [
    'devices: passed', 'gradient small fp32: passed', 'memcheck cast: skipped', 'memory beside a job: passed', 'operation cast bf16: passed', 'operation cast fp32: passed',
  ]);
  assert.deepEqual(first.lines.slice(0, 2).map(({ name }) => name), ['devices', 'memory beside a job'], 'alone, before the others');
  assert.equal(first.last, '5 passed, 0 failed, 1 skipped');
  const again = check([...names, ...only('operation gather fp32'), '--resume'], { PATH: '/usr/bin:/bin' });
  // What was skipped is tried again, what passed is not.
  assert.deepEqual(again.lines.slice(first.lines.length).map(({ name }) => name).sort(), ['memcheck cast', 'operation gather fp32']);
  assert.equal(again.last, '6 passed, 0 failed, 1 skipped');
});

test('a trainer that lives across jobs, and products over many positions', { skip }, () => {
  const { status, lines, stdout, stderr } = check(only('many shapes', 'long products'));
  assert.deepEqual([status, lines.map(({ result }) => result)], [0, ['passed', 'passed', 'passed']], stdout + stderr);
  const said = (name) => lines.find((line) => line.name === name).detail;
  assert.match(said('many shapes in one trainer'), /^60 jobs, the last one's loss \d/);
  assert.equal(said('long products bf16'), '4 products over 8648 to 16385 positions, every number exact');
});

test('a check that fails ends only itself, and the status tells', { skip }, () => {
  const driver = path.join(folder, 'driver');
  fs.mkdirSync(driver);
  for (const file of ['libcuda.so.1', 'libcublasLt.so.99']) fs.copyFileSync(path.join(cards, file), path.join(driver, file));
  const { status, lines, last, stdout } = check([...only('devices', 'operation gather fp32'), '--jobs', '1'], { LD_LIBRARY_PATH: driver });
  assert.deepEqual(lines.map(({ result }) => result), ['failed', 'passed'], stdout);
  assert.match(lines[0].detail, /not known: driver, temperature, utilisation/);
  assert.deepEqual([status, last], [1, '1 passed, 1 failed, 0 skipped']);
});

test('what the time did not suffice for is done by the next call', { skip }, () => {
  const names = only('operation cast fp32', 'operation gather fp32');
  const late = check([...names, '--seconds', '1']);
  assert.deepEqual(late.lines.map(({ result }) => result), ['skipped', 'skipped']);
  const next = check([...names, '--resume']);
  assert.equal(next.last, '2 passed, 0 failed, 0 skipped', next.stdout);
});

test('a sanitizer passes with nothing found, fails with whatever it found, and is skipped where it does not work', { skip }, () => {
  const tools = path.join(folder, 'tools');
  fs.mkdirSync(tools);
  fs.writeFileSync(path.join(tools, 'compute-sanitizer'), '#!/bin/sh\necho "$SAYS"\necho "$PROGRAM_SAYS" >&2\nexit "$ENDS"\n', { mode: 0o755 });
  const says = (tool, text, status = 0) => {
    const { lines } = check(only(`${tool} cast`), { PATH: `${tools}:/usr/bin:/bin`, SAYS: `========= ${text}`, PROGRAM_SAYS: 'words', ENDS: String(status) });
    assert.equal(lines.length, 1);
    return `${lines[0].result}: ${lines[0].detail}`;
  };
  assert.equal(says('memcheck', 'ERROR SUMMARY: 0 errors'), 'passed: ERROR SUMMARY: 0 errors');
  assert.equal(says('racecheck', 'RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)'), 'passed: RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)');
  assert.match(says('memcheck', 'ERROR SUMMARY: 10 errors'), /^failed: .*10 errors/);
  assert.match(says('racecheck', 'RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)'), /^failed: .*1 warning/);
  assert.match(says('racecheck', 'nothing of the kind'), /^failed: /);
  assert.match(says('memcheck', 'Error: Device not supported', 1), /^skipped: compute-sanitizer does not work here/);
  assert.match(says('memcheck', 'Error: out of luck', 1), /^failed: status 1/);
});

test('a call continues where there is nothing yet, and after a line that broke off', { skip }, () => {
  const name = 'operation cast fp32', out = path.join(folder, 'continued', 'deeper'), args = [...only(name), '--out', out, '--resume'];
  assert.equal(check(args).last, '1 passed, 0 failed, 0 skipped');
  const file = path.join(out, 'check.jsonl'), line = fs.readFileSync(file, 'utf8');
  fs.writeFileSync(file, line.slice(0, 30));
  const { status, last, stderr } = check(args);
  assert.deepEqual([status, last], [0, '1 passed, 0 failed, 0 skipped'], stderr);
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n').map((text) => JSON.parse(text));
  assert.deepEqual(lines.map((one) => `${one.name}: ${one.result}`), [`${name}: passed`]);
});
