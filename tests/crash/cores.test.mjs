// Two jobs at once on two cores: server and trainers are killed, and settings change in between.
// Each job must end with the bits that it has alone. KILLS sets how many kills.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { availableParallelism } from 'node:os';
import { small, submit, finished, reached, epochsOf, bits } from '../lib/experiments.mjs';
import { startServer, removeFolder } from '../lib/server.mjs';
import { childrenOf } from '../lib/processes.mjs';

const CORES = availableParallelism();
const KILLS = Number(process.env.KILLS ?? 6);
const recordsOf = async (server, id) => bits(await epochsOf(server, id));

test(`${KILLS} kills while two jobs run at once: each with the bits that it has alone`, { skip: CORES < 2 && 'one core', timeout: 60_000 * (KILLS + 4) }, async () => {
  const args = ['--threads', String(CORES), '--job-threads', '1', '--slots', '2', '--checkpoint-seconds', '1'];
  let server = await startServer({ args });
  const seeded = (seed) => small({ train: { epochs: 600, seed }, resources: { max_attempts: 100 } });
  const alone = [];
  for (const seed of [1, 2]) alone.push(await recordsOf(server, (await finished(server, (await submit(server, seeded(seed))).id)).id));
  const jobs = [await submit(server, seeded(1)), await submit(server, seeded(2))];
  for (const { id } of jobs) await reached(server, id, 1);
  const { devices: [both] } = await (await server.api('/devices')).json();
  assert.deepEqual([both.slots, both.cores, both.jobs.map(({ id }) => id).sort(), both.jobs.map(({ threads }) => threads)], [2, CORES, jobs.map(({ id }) => id).sort(), [1, 1]]);
  assert.ok(both.jobs.every(({ reserved_bytes: bytes }) => bytes > 0));
  const places = childrenOf(server).map((pid) => /Cpus_allowed_list:\s+(\S+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  assert.equal(new Set(places).size, 2, `disjoint cores: ${places}`);
  const changed = { 1: ['--slots', '1'], 3: ['--job-threads', String(CORES)], 5: [] }; // nothing to jobs that have begun
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 200 + 400 * Math.random()));
    if (kill % 2) {
      await server.kill('SIGKILL');
      server = await startServer({ args: [...args, ...changed[kill % 6]], dataDir: server.dataDir });
    } else {
      for (const pid of childrenOf(server).slice(0, 1 + (kill & 2) / 2)) process.kill(pid, 'SIGKILL');
    }
  }
  for (const [i, { id }] of jobs.entries()) {
    assert.equal((await finished(server, id)).state, 'succeeded');
    assert.deepEqual(await recordsOf(server, id), alone[i]);
  }
  await server.stop();
  removeFolder(server.dataDir);
});
