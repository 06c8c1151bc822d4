// What users have had: the sums of the ledger are those of the jobs, whatever happened to them, and
// outlive them.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { small, submit, finished, reached, tiny } from '../lib/experiments.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';

const data = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
const args = ['--auth', 'on', '--slice-seconds', '1'];
let server, admin, ada, bob;

const as = (token) => ({
  api: (route, init = {}) => server.api(route, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
const ask = async (who, method, route, body) => {
  const answer = await who.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json().catch(() => null) };
};
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request[1]} ${request[2]}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const held = async (id) => {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const job = await ok(admin, 'GET', `/jobs/${id}?wait=5`);
    if (job.state === 'held') return;
  }
  throw new Error(`job ${id} is not held`);
};
const ms = (seconds) => Math.round(1000 * seconds);
const sum = (values) => values.reduce((a, b) => a + b, 0);

before(async () => {
  server = await startServer({ args, dataDir: data });
  admin = as(/token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1]);
  for (const name of ['ada', 'bob']) await ok(admin, 'POST', '/users', { name });
  [ada, bob] = await Promise.all(['ada', 'bob'].map(async (name) => as((await ok(admin, 'POST', `/users/${name}/tokens`, {})).token)));
});
after(async () => {
  await server.stop();
  removeFolder(data);
});

test('the sums are those of the jobs: slices, hold, cancel, retry, restart, deletion', { timeout: 300_000 }, async () => {
  const [one, two, cancelled] = [await submit(ada, small({ train: { epochs: 4000 } })), await submit(bob, small({ train: { epochs: 4000 } })), await submit(ada, small({ train: { epochs: 5000 } }))];
  await reached(admin, one.id, 50);
  await ok(ada, 'POST', `/jobs/${one.id}/hold`);
  await held(one.id);
  await ok(ada, 'POST', `/jobs/${one.id}/release`);
  await reached(admin, cancelled.id, 20);
  await ok(ada, 'POST', `/jobs/${cancelled.id}/cancel`);
  assert.equal((await finished(admin, cancelled.id)).state, 'cancelled');
  await ok(ada, 'POST', `/jobs/${cancelled.id}/retry`);
  await reached(admin, cancelled.id, 40);
  await ok(ada, 'POST', `/jobs/${cancelled.id}/cancel`);
  await finished(admin, cancelled.id);
  await ok(ada, 'POST', `/jobs/${cancelled.id}/retry?from=start`);
  await reached(admin, cancelled.id, 10);
  await ok(ada, 'POST', `/jobs/${cancelled.id}/cancel`);
  const jobs = await Promise.all([one, two, cancelled].map(({ id }) => finished(admin, id)));
  assert.ok(sum(jobs.map(({ slices }) => slices)) > 0, 'a job was sliced');

  const { usage, total, next } = await ok(bob, 'GET', '/usage?by=job');
  assert.equal(next, null);
  assert.equal(usage.length, jobs.length);
  for (const job of jobs) {
    const row = usage.find(({ job: id }) => id === job.id);
    assert.equal(ms(row.device_seconds), ms(job.device_seconds), job.name);
    assert.deepEqual([row.name, row.user, row.state], [job.name, job.user, job.state]);
    assert.deepEqual(row.devices, [{ device: 'cpu', kind: 'cpu', device_seconds: row.device_seconds }]);
    assert.ok(row.stored_bytes > 10_000, `${row.stored_bytes} bytes`);
  }
  const ends = ({ succeeded, failed, cancelled: stopped }) => [succeeded, failed, stopped];
  assert.deepEqual(ends(usage.find(({ job }) => job === cancelled.id)), [0, 0, 3]);
  assert.deepEqual(usage.map(({ device_seconds: had }) => had), usage.map(({ device_seconds: had }) => had).sort((a, b) => b - a));
  const whole = sum(jobs.map(({ device_seconds: had }) => ms(had)));
  assert.equal(ms(total.device_seconds), whole);
  assert.deepEqual([total.jobs, ...ends(total)], [3, 2, 0, 3]);

  for (const by of ['user', 'day']) {
    const sums = await ok(bob, 'GET', `/usage?by=${by}`);
    assert.equal(sum(sums.usage.map(({ device_seconds: had }) => ms(had))), whole, by);
    assert.deepEqual(sums.total, total);
  }
  const ofAda = await ok(ada, 'GET', '/usage?user=ada');
  assert.equal(ms(ofAda.total.device_seconds), ms(jobs[0].device_seconds) + ms(jobs[2].device_seconds));
  assert.deepEqual(ofAda.usage.map(({ user }) => user), ['ada']);

  assert.equal((await ask(ada, 'DELETE', `/jobs/${cancelled.id}`)).status, 204);
  const later = await ok(bob, 'GET', '/usage?by=job&limit=10');
  assert.equal(ms(later.total.device_seconds), whole);
  assert.ok(later.total.stored_bytes < total.stored_bytes);
  const gone = later.usage.find(({ job }) => job === cancelled.id);
  assert.deepEqual([gone.name, gone.state, gone.user, gone.stored_bytes], [null, null, 'ada', 0]);
});

test('as CSV, in pages, by days', { timeout: 60_000 }, async () => {
  const { usage } = await ok(ada, 'GET', '/usage?by=job');
  const rows = [];
  for (let route = '/usage?by=job&limit=1&format=csv'; route;) {
    const answer = await ada.api(route);
    assert.match(answer.headers.get('content-type'), /^text\/csv/);
    const [head, ...lines] = (await answer.text()).trimEnd().split('\r\n');
    assert.equal(head, 'job,name,user,state,device_seconds,jobs,succeeded,failed,cancelled,stored_bytes,cpu');
    rows.push(...lines);
    const [, link] = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '') ?? [];
    route = link && `/usage${link}`;
  }
  assert.deepEqual(rows, usage.map((row) => [row.job, `"${row.name ?? ''}"`, row.user, row.state ?? '', row.device_seconds, row.jobs,
    row.succeeded, row.failed, row.cancelled, row.stored_bytes, row.device_seconds].join(',')));
  const page = await ok(ada, 'GET', '/usage?by=job&limit=2');
  assert.deepEqual(page.usage, usage.slice(0, 2));
  assert.deepEqual((await ok(ada, 'GET', `/usage?by=job&cursor=${page.next}`)).usage, usage.slice(2));

  const { since, until, usage: days } = await ok(ada, 'GET', '/usage?by=day');
  assert.equal(Date.parse(until) - Date.parse(since), 29 * 86_400_000);
  assert.ok(days.every(({ day }) => /^\d{4}-\d\d-\d\d$/.test(day) && day >= since && day <= until));
  assert.ok(days.at(-1).stored_bytes === null || days.at(-1).stored_bytes >= 0);
  const before1990 = await ok(ada, 'GET', '/usage?since=1980-01-01&until=1990-02-28');
  assert.equal(before1990.total.device_seconds, 0);
  assert.deepEqual(before1990.usage.map(({ user, jobs }) => [user, jobs]), [['ada', 0], ['bob', 0]], 'what they store stays in sight');
  for (const [query, name] of [['by=week', 'by'], ['since=2026-02-30', 'since'], ['until=yesterday', 'until'], ['since=2026-01-02&until=2026-01-01', 'since'], ['limit=0', 'limit'], ['format=xml', 'format']]) {
    const { status, body } = await ask(ada, 'GET', `/usage?${query}`);
    assert.deepEqual([status, body.errors[0].pointer], [422, name], query);
  }
});

test('kill -9 loses what was had since the last charge, no more', { timeout: 180_000 }, async () => {
  const before = (await ok(ada, 'GET', '/usage')).total;
  const { id } = await submit(ada, tiny({ train: { epochs: 1_000_000 } }));
  let job;
  do {
    await new Promise((resolve) => setTimeout(resolve, 200));
    job = await ok(ada, 'GET', `/jobs/${id}`);
  } while (!job.device_seconds);
  const began = Date.parse(job.started_at);
  const elapsed = (Date.now() - began) / 1000;
  await server.kill();
  server = await startServer({ args, dataDir: data });
  await ok(ada, 'POST', `/jobs/${id}/cancel`);
  job = await finished(admin, id);
  const { total } = await ok(ada, 'GET', '/usage');
  assert.equal(ms(total.device_seconds), ms(before.device_seconds) + ms(job.device_seconds));
  assert.ok(job.device_seconds > 0 && job.device_seconds > elapsed - 60, `${job.device_seconds} s of ${elapsed}`);
});
