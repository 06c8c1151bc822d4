// Three users, one device, slices of a second: nobody keeps the others out, and every job ends with
// the bits of an undisturbed run, however often it gave way, was held, paused or out of time.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { small, submit, finished, reached, epochsOf, bits } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

let server, admin, ada, bob, eve, undisturbed;

const as = (token) => ({
  api: (route, init = {}) => server.api(route, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
const ask = async (who, method, route, body) => {
  const answer = await who.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
};
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request[1]} ${request[2]}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const job = (id) => ok(admin, 'GET', `/jobs/${id}`);
const until = async (id, holds, seconds = 60) => {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const now = await job(id);
    if (holds(now)) return now;
  }
  throw new Error(`job ${id} is ${JSON.stringify(await job(id))}`);
};
const spec = (change) => small({ train: { epochs: 500 }, ...change });
const same = async (id) => assert.deepEqual(bits(await epochsOf(admin, id)), undisturbed);

before(async () => {
  server = await startServer({ args: ['--auth', 'on', '--slice-seconds', '1', '--default-seconds', '4000', '--max-seconds', '5000'] });
  admin = as(/token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1]);
  for (const name of ['ada', 'bob', 'eve']) await ok(admin, 'POST', '/users', { name });
  [ada, bob, eve] = await Promise.all(['ada', 'bob', 'eve'].map(async (name) => as((await ok(admin, 'POST', `/users/${name}/tokens`, {})).token)));
  undisturbed = bits(await epochsOf(admin, (await finished(admin, (await submit(admin, spec())).id)).id));
});
after(async () => { await server.stop(); });

test('users take turns on one device, and no job loses a bit or an attempt', { timeout: 300_000 }, async () => {
  const first = await submit(ada, spec({ resources: { priority: 100 } }));
  const second = await submit(ada, spec({ resources: { priority: 100 } }));
  const others = [await submit(bob, spec()), await submit(eve, spec())];
  const [one, two, three, four] = await Promise.all([first, second, ...others].map(({ id }) => finished(admin, id)));
  for (const ended of [one, two, three, four]) {
    assert.equal(ended.state, 'succeeded', JSON.stringify(ended.error));
    assert.equal(ended.attempt, 1);
    await same(ended.id);
  }
  // A priority orders ada's own jobs only.
  assert.ok(three.started_at < two.started_at && four.started_at < two.started_at, 'others before her second job');
  assert.ok(one.slices >= 1, `${one.slices} slices`);
  assert.ok(one.stop_start_seconds > 0 && one.stop_start_seconds < one.device_seconds);
  const { history } = await ok(admin, 'GET', `/jobs/${one.id}/history`);
  const sliced = history.filter(({ action, detail }) => action === 'requeue' && detail === 'sliced');
  assert.equal(sliced.length, one.slices);
  const { accounts, slice_seconds: slice } = await ok(bob, 'GET', '/queue');
  assert.equal(slice, 1);
  const had = Object.fromEntries(accounts.map(({ user, used_seconds: used }) => [user, used]));
  assert.ok(Math.abs(had.bob - three.device_seconds) < 0.1, `${had.bob} and ${three.device_seconds}`);
  assert.ok(Math.abs(had.ada - one.device_seconds - two.device_seconds) < 0.1);
});

test('a running job is held with a checkpoint and goes on with the same bits', { timeout: 120_000 }, async () => {
  const { id } = await submit(ada, spec());
  await reached(admin, id, 100);
  assert.equal((await ask(bob, 'POST', `/jobs/${id}/hold`)).status, 403);
  assert.equal((await ok(ada, 'POST', `/jobs/${id}/hold`)).hold_requested, true);
  const held = await until(id, ({ state }) => state === 'held');
  assert.ok(held.epoch < held.epochs && !held.hold_requested);
  await ok(ada, 'POST', `/jobs/${id}/release`);
  assert.equal((await finished(admin, id)).attempt, 1);
  await same(id);
});

test('max_seconds: out of time is held, more time goes on', { timeout: 120_000 }, async () => {
  const { id, max_seconds: given } = await submit(ada, spec());
  assert.equal(given, 4000, 'the default of the site');
  const most = await ask(ada, 'PATCH', `/jobs/${id}`, { max_seconds: 5001 });
  assert.deepEqual([most.status, most.body.errors[0].pointer], [422, '/max_seconds']);
  const asked = await ask(ada, 'POST', '/jobs', spec({ resources: { max_seconds: 5001 } }));
  assert.deepEqual([asked.status, asked.body.errors[0].pointer], [422, '/resources/max_seconds']);
  await reached(admin, id, 20);
  assert.equal((await ask(bob, 'PATCH', `/jobs/${id}`, { max_seconds: 1 })).status, 403);
  assert.equal((await ok(ada, 'PATCH', `/jobs/${id}`, { max_seconds: 1 })).max_seconds, 1);
  const over = await until(id, ({ state }) => state === 'held');
  assert.deepEqual([over.waits.code, over.error, over.attempt], ['time_limit', null, 1]);
  assert.ok(over.device_seconds >= 1, `${over.device_seconds}`);
  const refused = await ask(ada, 'POST', `/jobs/${id}/release`);
  assert.equal(refused.status, 409);
  assert.match(refused.body.detail, /used up its max_seconds/);
  await ok(ada, 'PATCH', `/jobs/${id}`, { max_seconds: 1000 });
  await ok(ada, 'POST', `/jobs/${id}/release`);
  assert.equal((await finished(admin, id)).state, 'succeeded');
  await same(id);
});

test('drain, pause and urgent are for administrators', { timeout: 120_000 }, async () => {
  for (const route of ['drain', 'pause', 'resume']) assert.equal((await ask(ada, 'POST', `/queue/${route}`)).status, 403);
  const running = await submit(ada, spec());
  await reached(admin, running.id, 50);
  assert.equal((await ok(admin, 'POST', '/queue/pause')).state, 'paused');
  const paused = await until(running.id, ({ state, waits }) => state === 'queued' && waits);
  assert.deepEqual(paused.waits, { code: 'queue_closed', message: 'the queue is paused (admin)' });
  const [mine, hers] = [await submit(bob, spec()), await submit(eve, spec())];
  assert.equal((await ask(eve, 'PATCH', `/jobs/${hers.id}`, { urgent: true })).status, 403);
  assert.equal((await ok(admin, 'PATCH', `/jobs/${hers.id}`, { urgent: true })).urgent, 'admin');
  assert.equal((await ok(admin, 'POST', '/queue/drain')).state, 'draining');
  assert.equal((await job(hers.id)).state, 'queued');
  assert.deepEqual((({ state, actor }) => ({ state, actor }))(await ok(admin, 'POST', '/queue/resume')), { state: 'open', actor: 'admin' });
  const ended = await Promise.all([running, mine, hers].map(({ id }) => finished(admin, id)));
  assert.ok(ended[2].finished_at < ended[0].finished_at && ended[2].finished_at < ended[1].finished_at, 'urgent is first');
  assert.equal(ended[2].slices, 0);
  for (const { id } of ended) await same(id);
  const { history } = await ok(admin, 'GET', '/history?kind=queue');
  assert.deepEqual(history.map(({ action }) => action), ['resume', 'drain', 'pause']);
});

test('a user has a share, and it is checked', async () => {
  assert.equal((await ok(admin, 'PATCH', '/users/eve', { share: 2.5 })).share, 2.5);
  for (const share of [0, -1, 101, '2', null]) assert.equal((await ask(admin, 'PATCH', '/users/eve', { share })).status, 422);
  assert.equal((await ask(eve, 'PATCH', '/users/eve', { share: 100 })).status, 403);
});
