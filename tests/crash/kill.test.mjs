// Killed in the middle: server and trainer, with SIGKILL and SIGTERM, at chosen
// and at random epochs. The job must end with the bits of an undisturbed run, with
// no epoch missing or doubled in REST and in an event stream that reconnects.
// KILLS sets how many random kills follow the chosen ones.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { startServer } from '../lib/server.mjs';
import { small, submit, finished, reached, epochsOf, bits, events } from '../lib/experiments.mjs';

const KILLS = Number(process.env.KILLS ?? 6);
const args = ['--checkpoint-seconds', '1'];
const over = (id) => (seen) => seen.some((event) => event.event === 'job' && event.data.id === id && event.data.state === 'succeeded');

let undisturbed;
async function reference() {
  if (undisturbed) return undisturbed;
  const server = await startServer({ args });
  undisturbed = bits(await epochsOf(server, (await finished(server, (await submit(server, small())).id)).id));
  await server.stop();
  return undisturbed;
}

const trainers = (pid) => fs.readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).map(Number).filter((child) => {
  try {
    return fs.readFileSync(`/proc/${child}/stat`, 'utf8').split(') ')[1].split(' ')[1] === String(pid)
      && fs.readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('tokenfate-trainer');
  } catch { return false; }
});

test('an undisturbed run, for comparison', { timeout: 300_000 }, async () => { assert.equal((await reference()).length, 501); });

test('kill -9 of the server at epoch 250: same bits, nothing missing or doubled, for REST and a reconnecting stream', { timeout: 300_000 }, async () => {
  let server = await startServer({ args });
  const job = await submit(server, small());
  const before = events(server, `?after=0&jobs=${job.id}`, over(job.id), { partial: true });
  await reached(server, job.id, 250);
  const children = trainers(server.pid);
  assert.equal(children.length, 1);
  await server.kill('SIGKILL');
  const seen = await before;
  assert.ok(seen.length > 0 && !over(job.id)(seen));
  for (let i = 0; i < 50 && fs.existsSync(`/proc/${children[0]}`); i++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(!fs.existsSync(`/proc/${children[0]}`), 'the trainer outlived its server');

  server = await startServer({ args, dataDir: server.dataDir });
  const rest = await events(server, `?jobs=${job.id}`, over(job.id), { headers: { 'Last-Event-ID': seen.at(-1).id } });
  const streamed = [...seen, ...rest].filter((event) => event.event === 'epoch').flatMap((event) => event.data.records);
  assert.deepEqual(streamed.map((record) => record.epoch), [...Array(501).keys()]);
  const stored = await epochsOf(server, job.id);
  assert.deepEqual(bits(stored), await reference());
  assert.deepEqual(bits(streamed), bits(stored));
  assert.equal((await finished(server, job.id)).attempt, 1, 'a killed server counts against nobody');
  await server.stop();
});

test('kill -9 of the server in a chain of jobs: none is lost, stuck or early', { timeout: 300_000 }, async () => {
  let server = await startServer({ args });
  const next = (after, more) => submit(server, { ...small({ train: { epochs: 60 } }), after, ...more });
  const one = await next([]);
  const two = await next([{ job: one.id }]);
  const three = await next([{ job: two.id, state: 'any' }, { job: one.id }]);
  const broken = await next([{ job: one.id }]);
  const held = await next([{ job: broken.id }]);
  await server.api(`/jobs/${broken.id}/cancel`, { method: 'POST' });
  for (const { id } of [one, two]) {
    await reached(server, id, 15);
    await server.kill('SIGKILL');
    server = await startServer({ args, dataDir: server.dataDir });
  }
  const ends = [];
  for (const { id } of [one, two, three]) ends.push(await finished(server, id));
  assert.deepEqual(ends.map(({ state, epoch }) => [state, epoch]), ends.map(() => ['succeeded', 60]));
  assert.ok(ends[1].started_at >= ends[0].finished_at && ends[2].started_at >= ends[1].finished_at);
  const waits = await (await server.api(`/jobs/${held.id}`)).json();
  assert.deepEqual([waits.state, waits.waits], ['held', { code: 'after', message: `job ${broken.id} was cancelled` }]);
  await server.api(`/jobs/${broken.id}/retry`, { method: 'POST' });
  assert.equal((await finished(server, held.id)).state, 'succeeded');
  await server.stop();
});

test('kill -9 of the trainer at epoch 250: same bits, and the server never stops answering', { timeout: 300_000 }, async () => {
  const server = await startServer({ args });
  const job = await submit(server, small());
  await reached(server, job.id, 250);
  let answered = 0, failures = 0, watching = true;
  const watch = (async () => {
    while (watching) {
      try { (await fetch(`${server.url}/healthz`)).ok ? answered++ : failures++; } catch { failures++; }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  process.kill(trainers(server.pid)[0], 'SIGKILL');
  const done = await finished(server, job.id);
  watching = false;
  await watch;
  assert.equal(done.state, 'succeeded', JSON.stringify(done.error));
  assert.equal(failures, 0);
  assert.ok(answered > 50, String(answered));
  assert.deepEqual(bits(await epochsOf(server, job.id)), await reference());
  await server.stop();
});

// A job that ends at epoch 250 with a checkpoint behind it, by end(server, job).
async function broken(server, end) {
  const job = await submit(server, small({ resources: { max_attempts: 1 } }));
  const checkpoint = `${server.dataDir}/jobs/${job.id}/checkpoint`;
  for (let at = 0; at < 250 || !fs.existsSync(checkpoint); at = (await reached(server, job.id, at + 1)).epoch);
  await end(server, job);
  return finished(server, job.id);
}
const ends = {
  failed: async (server) => process.kill(trainers(server.pid)[0], 'SIGKILL'),
  cancelled: (server, { id }) => server.api(`/jobs/${id}/cancel`, { method: 'POST' }),
};
for (const [state, end] of Object.entries(ends)) {
  test(`a retry of a ${state} job goes on from its last checkpoint: records stay, same bits`, { timeout: 300_000 }, async () => {
    const server = await startServer({ args });
    const ended = await broken(server, end);
    assert.equal(ended.state, state);
    const queued = await (await server.api(`/jobs/${ended.id}/retry`, { method: 'POST' })).json();
    assert.deepEqual([queued.epoch, queued.started_at, queued.error], [ended.epoch, ended.started_at, null]);
    const done = await finished(server, ended.id);
    assert.equal(done.state, 'succeeded', JSON.stringify(done.error));
    assert.deepEqual(bits(await epochsOf(server, ended.id)), await reference());
    const log = await (await server.api(`/jobs/${ended.id}/log`)).text();
    const [, updates] = /attempt 2[^]*continuing from the checkpoint after (\d+) updates/.exec(log);
    assert.ok(Number(updates) > 0 && Number(updates) <= ended.epoch + 1, log);
    await server.stop();
  });
}

test('SIGTERM: the job checkpoints, goes back to queued and resumes at the next start', { timeout: 300_000 }, async () => {
  let server = await startServer({ args });
  const job = await submit(server, small());
  await reached(server, job.id, 200);
  const { code } = await server.kill('SIGTERM');
  assert.equal(code, 0);
  server = await startServer({ args, dataDir: server.dataDir });
  const done = await finished(server, job.id);
  assert.equal(done.state, 'succeeded', JSON.stringify(done.error));
  assert.deepEqual(bits(await epochsOf(server, job.id)), await reference());
  await server.stop();
});

test('clients that leave while they wait or listen do not keep the server from ending', async () => {
  const server = await startServer({ args });
  const job = await submit(server, small({ train: { epochs: 100000 } }));
  await reached(server, job.id, 1);
  const abort = new AbortController();
  const left = ['/jobs/' + job.id + '?wait=60', '/events', '/jobs/' + job.id + '?wait=60'].map((path) => server.api(path, { signal: abort.signal })
    .then((answer) => answer.text()).catch((error) => error.name));
  await new Promise((resolve) => setTimeout(resolve, 500));
  abort.abort();
  assert.deepEqual(await Promise.all(left), ['AbortError', 'AbortError', 'AbortError']);
  const asked = Date.now();
  const { code } = await server.kill('SIGTERM');
  assert.equal(code, 0);
  assert.ok(Date.now() - asked < 25_000, `took ${Date.now() - asked} ms`);
  await server.stop();
});

test(`${KILLS} kills of server or trainer at random moments: same bits`, { timeout: 120_000 * (KILLS + 2) }, async () => {
  let server = await startServer({ args });
  let job = await submit(server, small({ resources: { max_attempts: 100 } }));
  for (let kill = 0; kill < KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 300 + 1700 * Math.random()));
    if (Math.random() < 0.5) {
      for (const pid of trainers(server.pid)) process.kill(pid, 'SIGKILL');
    } else {
      await server.kill(Math.random() < 0.7 ? 'SIGKILL' : 'SIGTERM');
      server = await startServer({ args, dataDir: server.dataDir });
    }
    const now = await (await server.api(`/jobs/${job.id}`)).json();
    if (now.state === 'succeeded' && kill < KILLS - 1) {
      assert.deepEqual(bits(await epochsOf(server, job.id)), await reference(), `after kill ${kill}`);
      job = await submit(server, small({ resources: { max_attempts: 100 } }));
    }
  }
  const done = await finished(server, job.id);
  assert.equal(done.state, 'succeeded', JSON.stringify(done.error));
  assert.deepEqual(bits(await epochsOf(server, job.id)), await reference());
  await server.stop();
});
