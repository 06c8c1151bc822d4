// What goes by itself: announced first, then training states, models and jobs in this order, never
// what is protected. And jobs that wait because the disk is full.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { finished, reached, submit, tiny } from '../lib/experiments.mjs';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';

const data = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
let server;
const start = async (...args) => { server = await startServer({ args, dataDir: data }); };
const restart = async (...args) => {
  await server.stop();
  await start(...args);
};
const ok = async (method, route, body) => {
  const answer = await server.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  assert.ok(answer.status < 300, `${method} ${route}: ${answer.status} ${await answer.clone().text()}`);
  return answer.status === 204 ? null : answer.json();
};
const get = (route) => ok('GET', route);
const until = async (holds, what) => {
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) if (await holds()) return;
  throw new Error(what);
};
const status = async (route) => (await server.api(route)).status;
const listed = async () => (await get('/retention')).retention.map(({ job, part }) => `${names[job]} ${part}`);
const names = {};
const job = async (name, change = {}) => {
  const { id } = await submit(server, tiny({ name, train: { snapshots: [4] }, ...change }));
  names[id] = name;
  return id;
};
const held = async (name) => {
  const id = await job(name, { train: { epochs: 100_000 } });
  await reached(server, id, 30);
  await ok('POST', `/jobs/${id}/hold`);
  await until(async () => (await get(`/jobs/${id}`)).state === 'held', `${name} is not held`);
  return id;
};

before(() => start());
after(async () => {
  await server.stop();
  removeFolder(data);
});

test('what is to go is announced, goes in order, and what is protected stays', { timeout: 180_000 }, async () => {
  const stopped = await held('stopped');
  await ok('POST', `/jobs/${stopped}/cancel`);
  const [old, pinned, source] = [await job('old'), await job('pinned'), await job('source')];
  for (const id of [old, pinned, source]) assert.equal((await finished(server, id)).state, 'succeeded');
  const child = await job('child', { init_from: source });
  await finished(server, child);
  const unfinished = await held('unfinished');
  assert.equal((await ok('PATCH', `/jobs/${pinned}`, { pinned: true })).pinned, true);
  const refused = await server.api(`/jobs/${pinned}`, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"pinned": 1}' });
  assert.equal((await refused.json()).errors[0].pointer, '/pinned');

  const off = await get('/retention');
  assert.deepEqual([off.retention, off.settings], [[], { keep_state_days: 0, keep_model_days: 0, keep_job_days: 0, keep_bytes: 0, notice_days: 7 }]);
  assert.match(spawnSync(BINARY, ['retention', '--data', data]).stdout.toString(), /Nothing is to go/);

  await restart('--keep-bytes', '1');
  await until(async () => (await listed()).length === 6, 'nothing is announced');
  const { retention, stored_bytes: stored } = await get('/retention');
  assert.deepEqual(await listed(), ['stopped state', 'old models', 'child models', 'stopped job', 'old job', 'child job']);
  for (const { announced_at: announced, due_at: due, bytes } of retention) {
    assert.ok(Date.parse(due) - Date.parse(announced) >= 7 * 86_400_000, `${announced} to ${due}`);
    assert.ok(bytes > 0);
  }
  assert.ok(stored > retention.reduce((sum, { bytes }) => sum + bytes, 0));
  const told = spawnSync(BINARY, ['retention', '--data', data]).stdout.toString();
  assert.equal(told.trim().split('\n').length, retention.length);
  assert.match(told, new RegExp(`state +${stopped}  stopped`));
  assert.equal((await get(`/retention?job=${old}`)).retention.length, 2);
  const page = await get('/retention?limit=4');
  assert.deepEqual([...page.retention, ...(await get(`/retention?cursor=${page.next}`)).retention], retention);
  await ok('PATCH', `/jobs/${old}`, { pinned: true });
  assert.ok(!(await listed()).some((name) => name.startsWith('old')), 'a pin works at once');
  await ok('PATCH', `/jobs/${old}`, { pinned: false });
  for (const id of [stopped, old, child]) assert.ok(fs.existsSync(path.join(data, 'jobs', id)), 'nothing goes before its time');

  // With this much the states and models go, and the jobs stay.
  const rest = stored - retention.filter(({ part }) => part !== 'job').reduce((sum, { bytes }) => sum + bytes, 0);
  await restart('--keep-bytes', String(rest + 1), '--notice-days', '0');
  await until(async () => (await status(`/jobs/${old}/checkpoint`)) === 404, 'the models have not gone');
  await until(async () => (await listed()).length === 0, 'more is to go');
  for (const id of [stopped, old, child]) assert.equal(await status(`/jobs/${id}`), 200);
  for (const id of [pinned, source]) assert.equal(await status(`/jobs/${id}/checkpoint`), 200);
  assert.ok(fs.existsSync(path.join(data, 'jobs', unfinished, 'checkpoint')));
  assert.deepEqual(fs.readdirSync(path.join(data, 'jobs', stopped)).filter((name) => name.startsWith('checkpoint')), []);
  assert.deepEqual(fs.readdirSync(path.join(data, 'jobs')).filter((name) => name.startsWith('.')), []);
  const { history } = await get(`/jobs/${old}/history`);
  assert.match(history.at(-1).detail, /^models, \d+ bytes$/);
  assert.deepEqual([history.at(-1).action, history.at(-1).actor], ['retention', null]);

  // A retry without its training state comes to the same records.
  await ok('POST', `/jobs/${stopped}/retry`);
  await reached(server, stopped, 40);
  await ok('POST', `/jobs/${stopped}/cancel`);
  const again = await finished(server, stopped);
  assert.deepEqual([again.state, again.error], ['cancelled', null]);

  await restart('--keep-bytes', '1', '--notice-days', '0');
  await until(async () => (await status(`/jobs/${old}`)) === 404 && (await status(`/jobs/${child}`)) === 404, 'the jobs have not gone');
  await until(async () => !fs.existsSync(path.join(data, 'jobs', child)), 'the files have not gone');
  assert.equal(await status(`/jobs/${pinned}/checkpoint`), 200);
  assert.ok(fs.existsSync(path.join(data, 'jobs', unfinished, 'checkpoint')));
});

test('too little room on the disk: nothing starts, what runs goes on', { timeout: 120_000, skip: spawnSync('fallocate', ['--version']).error && 'no fallocate' }, async () => {
  const filler = path.join(data, 'filler');
  const { bavail, bsize } = fs.statfsSync ? fs.statfsSync(data) : {};
  const free = bavail ? bavail * bsize : 1024 * Number(spawnSync('df', ['--output=avail', data]).stdout.toString().split('\n')[1]);
  await restart('--disk-reserve', String(free - (512 << 20)));
  const running = await job('runs', { train: { epochs: 1_000_000 } });
  await reached(server, running, 10);
  assert.equal(spawnSync('fallocate', ['-l', '1G', filler]).status, 0);
  const waiting = await job('waits');
  await ok('POST', `/jobs/${running}/hold`);
  await until(async () => (await get(`/jobs/${running}`)).state === 'held', 'a checkpoint could not be written');
  assert.ok(fs.existsSync(path.join(data, 'jobs', running, 'checkpoint')));
  await until(async () => /disk/.test(JSON.stringify((await get(`/jobs/${waiting}`)).waits)), 'no reason is told');
  assert.equal((await get(`/jobs/${waiting}`)).state, 'queued');
  fs.rmSync(filler);
  assert.equal((await finished(server, waiting)).state, 'succeeded');
  await ok('POST', `/jobs/${running}/cancel`);
});
