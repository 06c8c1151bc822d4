// GET /queue and what jobs tell of their turn: who runs, who waits, in which order, why and when;
// and the same of a job that is not submitted (dry_run).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { small, submit, finished, reached } from '../lib/experiments.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';

let server, admin, ada, bob;

const as = (token) => ({
  api: (route, init = {}) => server.api(route, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
const ask = async (who, method, route, body) => {
  const answer = await who.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: answer.status === 204 ? null : await answer.json() };
};
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request[1]} ${request[2]}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const queue = (query = '') => ok(ada, 'GET', `/queue${query}`);
// The table is at most a second old, and the reasons are those of the last pass.
const settled = async (holds) => {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const now = await queue();
    if (holds(now)) return now;
  }
  throw new Error(JSON.stringify(await queue()));
};
const ids = ({ jobs }) => jobs.map(({ id }) => id);
const time = (text) => Date.parse(text) / 1000;
const inOrder = ({ earliest, likely, latest }) => assert.ok(time(earliest) <= time(likely) && time(likely) <= time(latest));
const long = (change) => small({ train: { epochs: 100_000 }, ...change });
const drop = async (...list) => { for (const { id } of list) await ok(admin, 'POST', `/jobs/${id}/cancel`); };

before(async () => {
  server = await startServer({ args: ['--auth', 'on', '--max-queue', '8'] });
  admin = as(/token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1]);
  for (const name of ['ada', 'bob']) await ok(admin, 'POST', '/users', { name });
  [ada, bob] = await Promise.all(['ada', 'bob'].map(async (name) => as((await ok(admin, 'POST', `/users/${name}/tokens`, {})).token)));
});
after(async () => { await server.stop(); });

test('the queue tells who runs, who waits, in which order, why and when', { timeout: 120_000 }, async () => {
  const runs = await submit(ada, long());
  await reached(admin, runs.id, 20);
  const [second, urgent, first] = [
    await submit(ada, small({ train: { epochs: 300 } })),
    await submit(bob, small({ train: { epochs: 300 } })),
    await submit(ada, small({ train: { epochs: 200 }, resources: { priority: 5 } })),
  ];
  await ok(admin, 'PATCH', `/jobs/${urgent.id}`, { urgent: true });
  const order = [runs, urgent, first, second].map(({ id }) => id);
  const now = await settled((one) => one.jobs.length === 4 && ids(one).every((id, i) => id === order[i]) &&
    one.jobs.slice(1).every(({ waits }) => waits) && one.jobs[0].expected_end);
  assert.deepEqual([now.running, now.waiting, now.next, now.state], [1, 3, null, 'open']);
  assert.deepEqual(now.jobs.map(({ state }) => state), ['running', 'queued', 'queued', 'queued']);
  assert.deepEqual(now.jobs.map(({ place }) => place), [null, 1, 2, 3]);
  assert.deepEqual(now.jobs.map(({ user }) => user), ['ada', 'bob', 'ada', 'ada']);
  assert.deepEqual(now.jobs.map(({ urgent: by }) => by), [null, 'admin', null, null]);
  assert.deepEqual(now.jobs.map(({ waits }) => waits?.code ?? null), [null, 'busy', 'share', 'order']);
  assert.deepEqual([now.jobs[0].device, now.jobs[0].kind, now.jobs[0].expected_start], ['cpu', 'cpu', null]);
  for (const [i, job] of now.jobs.entries()) {
    inOrder(job.expected_end);
    if (!i) continue;
    inOrder(job.expected_start);
    assert.ok(time(job.expected_start.likely) < time(job.expected_end.likely));
    assert.ok(time(job.expected_start.likely) >= time(now.jobs[i - 1].expected_start?.likely ?? job.expected_start.likely));
  }
  // Two jobs of one shape take times as their lengths; one job at a time.
  const took = ({ expected_start: start, expected_end: end }) => time(end.likely) - time(start.likely);
  assert.ok(took(now.jobs[2]) < took(now.jobs[3]));
  assert.ok(time(now.jobs[3].expected_start.likely) >= time(now.jobs[2].expected_end.likely) - 1);

  const shown = await ok(bob, 'GET', `/jobs/${second.id}`);
  assert.equal(shown.place, 3);
  inOrder(shown.expected_start);
  inOrder(shown.expected_end);
  const running = await ok(bob, 'GET', `/jobs/${runs.id}`);
  assert.deepEqual([running.place, running.expected_start], [null, null]);
  inOrder(running.expected_end);

  assert.deepEqual(ids(await queue('?user=bob')), [urgent.id]);
  const pages = [];
  for (let cursor = ''; cursor != null;) {
    const page = await queue(`?limit=3${cursor && `&cursor=${cursor}`}`);
    pages.push(...ids(page));
    cursor = page.next;
  }
  assert.deepEqual(pages, order);
  for (const [query, name] of [['limit=0', 'limit'], ['limit=1001', 'limit'], ['cursor=x', 'cursor'], ['users=ada', 'users']]) {
    const { status, body } = await ask(ada, 'GET', `/queue?${query}`);
    assert.deepEqual([status, body.errors[0].pointer], [422, name]);
  }

  // Nobody knows when a closed queue opens.
  await ok(admin, 'POST', '/queue/drain');
  const closed = await settled(({ jobs }) => jobs.slice(1).every(({ waits }) => waits?.code === 'queue_closed'));
  assert.deepEqual(closed.jobs.map((job) => [job.place, job.expected_start]), Array(4).fill([null, null]));
  assert.ok(closed.jobs[0].expected_end && !closed.jobs[1].expected_end);
  await ok(admin, 'POST', '/queue/resume');

  await drop(runs);
  const ended = await finished(admin, urgent.id);
  assert.deepEqual([ended.waits, ended.place, ended.expected_start, ended.expected_end], [null, null, null, null]);
  assert.ok(ended.finished_at <= (await finished(admin, first.id)).finished_at, 'the order that was told');
  assert.equal((await finished(admin, second.id)).state, 'succeeded');
});

test('a dry run stores nothing and tells what the job would need', { timeout: 120_000 }, async () => {
  const count = async () => (await ok(ada, 'GET', '/jobs')).jobs.length;
  const before = await count();
  const dry = (who, spec, query = 'dry_run=true') => ask(who, 'POST', `/jobs?${query}`, spec);
  const idle = await dry(ada, small({ train: { epochs: 40 } }));
  assert.equal(idle.status, 200);
  assert.equal(idle.body.place, 1);
  assert.ok(time(idle.body.expected_start.likely) < Date.now() / 1000 + 5);
  assert.ok(idle.body.device_seconds > 0 && idle.body.memory_bytes > 0);
  const { user, ...limits } = idle.body.limits;
  assert.deepEqual(limits, { unfinished_jobs: 0, max_queue: 8, max_seconds: null });
  assert.deepEqual([user.queued.present, user.queued.limit], [0, 2000]);
  const twice = await dry(ada, small({ train: { epochs: 81 } }));
  assert.equal(twice.body.record_bytes, 2 * idle.body.record_bytes, 'a record more at the begin');
  assert.equal(await count(), before);
  assert.equal((await ok(admin, 'GET', '/history?kind=job')).history.filter(({ action }) => action === 'submit').length, before);

  const job = await submit(ada, small({ train: { epochs: 40 } }));
  assert.equal(job.memory_bytes, idle.body.memory_bytes);
  await finished(admin, job.id);

  // Behind what runs and waits, but before jobs of those who have had more.
  const runs = await submit(ada, long());
  await reached(admin, runs.id, 5);
  const waits = [await submit(ada, small()), await submit(ada, small())];
  await settled(({ waiting }) => waiting === 2);
  const [hers, his] = [(await dry(ada, small())).body, (await dry(bob, small())).body];
  assert.deepEqual([hers.place, his.place], [3, 1]);
  assert.ok(time(his.expected_start.likely) < time(hers.expected_start.likely));
  await drop(runs, ...waits);
  for (const { id } of [runs, ...waits]) await finished(admin, id);

  // The errors of the submission.
  for (const spec of [{ train: { epochs: 0 } }, { corpus: { id: 'nowhere' } }, { resources: { device: 'tpu' } }]) {
    const [real, tried] = [await ask(ada, 'POST', '/jobs', spec), await dry(ada, spec)];
    assert.equal(tried.status, 422);
    assert.deepEqual(tried.body.errors, real.body.errors);
  }
  assert.deepEqual((await dry(ada, small(), 'dry_run=yes')).body.errors[0].pointer, 'dry_run');
  const held = [];
  await ok(admin, 'POST', '/queue/drain');
  for (let i = 0; i < 8; i++) held.push(await submit(ada, small()));
  const [full, tried] = [await ask(ada, 'POST', '/jobs', small()), await dry(ada, small())];
  assert.deepEqual([tried.status, tried.body.detail], [429, full.body.detail]);
  await drop(...held);
  await ok(admin, 'POST', '/queue/resume');
});

test('what an earlier version has queued is counted at the start, so that its times can be told', { timeout: 120_000 }, async () => {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
  const python = (...words) => execFileSync('python3', ['-c', `import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for row in db.execute(sys.argv[2]): print(row)
db.commit()`, path.join(dataDir, 'tokenfate.db'), ...words], { encoding: 'utf8' });
  try {
    const first = await startServer({ dataDir });
    await ok(first, 'POST', '/queue/drain');
    for (const epochs of [10, 20]) await submit(first, small({ train: { epochs }, model: { d_model: 8 * epochs, n_heads: 2 } }));
    await first.stop();
    const work = python('SELECT job, shape, cost FROM job_work ORDER BY job');
    assert.equal(work.trim().split('\n').length, 2);
    python('DELETE FROM job_work');
    const second = await startServer({ dataDir });
    await second.stop();
    assert.match(second.log(), /the work of 2 jobs of an earlier version was counted/);
    assert.equal(python('SELECT job, shape, cost FROM job_work ORDER BY job'), work);
  } finally {
    removeFolder(dataDir);
  }
});
