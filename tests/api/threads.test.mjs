// Where the trainer's threads may run: with one for every processor each is bound to
// its own, with fewer, or where the environment has its own wish, none is.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

const trainer = path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tokenfate-trainer');
const spec = JSON.parse(fs.readFileSync('config/presets/gulliver.json', 'utf8'));

/** Processors of a list such as 0-3,7, as it stands in /proc. */
const expand = (list) => list.split(',').flatMap((part) => {
  const [first, last = first] = part.split('-').map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
});
const allowed = (status) => expand(/Cpus_allowed_list:\s+(\S+)/.exec(fs.readFileSync(status, 'utf8'))[1]);
const here = allowed('/proc/self/status');
const neutral = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(OMP|GOMP)_/.test(name)));

/** The processors that each thread of a trainer may run on, after its first record. */
async function threadsOf(args, env = {}) {
  const child = spawn(trainer, args, { env: { ...neutral, ...env }, stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    child.stdin.end(JSON.stringify(spec));
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line);
      assert.notEqual(said.type, 'failed', line);
      if (said.epoch !== 1) continue;
      return fs.readdirSync(`/proc/${child.pid}/task`).map((id) => allowed(`/proc/${child.pid}/task/${id}/status`));
    }
    throw new Error('the trainer ended without a record');
  } finally {
    child.kill('SIGKILL');
  }
}

test('as many as processors: each has its own', async () => {
  const bound = here.map((processor) => [processor]);
  assert.deepEqual((await threadsOf([])).sort((a, b) => a[0] - b[0]), bound);
  assert.deepEqual((await threadsOf(['--threads', String(here.length)])).sort((a, b) => a[0] - b[0]), bound);
});

test('fewer: they run where the system wants them', async () => {
  assert.deepEqual(await threadsOf(['--threads', String(Math.max(1, here.length - 1))]), Array.from({ length: Math.max(1, here.length - 1) }, () => here));
});

test('on named cores: one thread for each of them, bound to it', async () => {
  const last = String(here.at(-1));
  assert.deepEqual(await threadsOf(['--cores', last]), [[here.at(-1)]]);
  const all = (await threadsOf(['--cores', here.join(','), '--threads', String(here.length)])).sort((a, b) => a[0] - b[0]);
  assert.deepEqual(all, here.map((processor) => [processor]));
  const refused = spawnSync(trainer, ['--cores', '3-1'], { encoding: 'utf8' });
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /--cores: 3-1 is no list of cores/);
});

test('a wish in the environment is left alone', async () => {
  for (const threads of await threadsOf([], { OMP_PROC_BIND: 'false' })) assert.deepEqual(threads, here);
});
