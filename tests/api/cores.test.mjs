// The cores of the CPU are shared by jobs. A job keeps the threads that it started with, because
// their number takes part in its bits, whatever the settings and the load are later.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { small, submit, finished, reached, epochsOf, bits } from '../lib/experiments.mjs';
import { startServer, removeFolder } from '../lib/server.mjs';

const CORES = availableParallelism();
const spec = (threads, change = {}) => small({ train: { epochs: 300 }, resources: { threads }, ...change });
const recordsOf = async (server, id) => bits(await epochsOf(server, id));
const run = async (server, body) => finished(server, (await submit(server, body)).id);

test('threads stay with their job when the settings change, and so do its bits', { skip: CORES < 2 && 'one core', timeout: 300_000 }, async () => {
  let server = await startServer({ args: ['--job-threads', '1'] });
  const [one, two] = [await run(server, spec(0)), await run(server, spec(2))];
  assert.deepEqual([one, two].map(({ provenance }) => provenance.threads), [1, 2]);
  const [single, double] = [await recordsOf(server, one.id), await recordsOf(server, two.id)];
  assert.notDeepEqual(single, double, 'if their number did not matter, nothing would be tested here');
  const cut = await submit(server, spec(0));
  await reached(server, cut.id, 100);
  await server.kill('SIGTERM');
  server = await startServer({ args: ['--job-threads', '2'], dataDir: server.dataDir });
  const resumed = await finished(server, cut.id);
  assert.equal(resumed.provenance.threads, 1);
  assert.ok(resumed.stop_start_seconds > 0, 'it was cut');
  assert.deepEqual(await recordsOf(server, cut.id), single);
  assert.equal((await run(server, spec(0))).provenance.threads, 2);
  const refused = await server.api('/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec(CORES + 1)),
  });
  assert.equal(refused.status, 422);
  const { errors } = await refused.json();
  assert.deepEqual(errors, [{ pointer: '/resources/threads', detail: `${CORES + 1} threads are wanted, jobs have ${CORES} cores here` }]);
  // With fewer cores than it began with, a job waits.
  const wide = await submit(server, spec(2));
  await reached(server, wide.id, 100);
  await server.kill('SIGTERM');
  server = await startServer({ args: ['--threads', '1'], dataDir: server.dataDir });
  let waits;
  for (const end = Date.now() + 60_000; Date.now() < end && !waits; await new Promise((resolve) => setTimeout(resolve, 50))) ({ waits } = await (await server.api(`/jobs/${wide.id}`)).json());
  assert.match(waits.message, /it started with 2 threads, here there are 1/);
  await server.kill('SIGTERM');
  server = await startServer({ dataDir: server.dataDir });
  await finished(server, wide.id);
  assert.deepEqual(await recordsOf(server, wide.id), double);
  await server.stop();
  removeFolder(server.dataDir);
});
