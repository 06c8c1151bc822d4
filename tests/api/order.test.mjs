// The order that users ask for: jobs that wait for others to end, limits of a sweep, and what is
// done to many jobs at once.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tiny, submit, finished } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

const NOBODY = '00000000-0000-4000-8000-000000000000';

const as = (token) => ({
  api: (route, init = {}) => service.api(route, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});

let service, server; // the server as its administrator sees it
before(async () => {
  service = await startServer({ args: ['--auth', 'on'] });
  server = as(/token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(service.log())[1]);
});
after(async () => { await service.stop(); });

const askAs = async (who, method, route, body) => {
  const answer = await who.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text && JSON.parse(text) };
};
const ask = (...request) => askAs(server, ...request);
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request[0]} ${request[1]}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const job = (id) => ok('GET', `/jobs/${id}`);
const pointers = ({ status, body }) => [status, ...(body.errors ?? []).map(({ pointer, detail }) => `${pointer}: ${detail}`)];
const queue = (verb) => ok('POST', `/queue/${verb}`);
const reached = async (id, state) => {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const now = await ok('GET', `/jobs/${id}?wait=2`);
    if (now.state === state) return now;
  }
  throw new Error(`job ${id} is not ${state}: ${JSON.stringify(await job(id))}`);
};

test('a job runs after those it names, and shows which they are', async () => {
  await queue('drain');
  const first = await submit(server, tiny({ name: 'first' }));
  const second = await submit(server, { ...tiny({ name: 'second' }), after: [{ job: first.id }] });
  assert.equal(second.state, 'queued');
  assert.equal(second.waits.message, `job ${first.id} is queued`);
  assert.deepEqual(second.after, [{ job: first.id, state: 'succeeded', name: 'first', job_state: 'queued' }]);
  assert.deepEqual(second.awaited_by, []);
  assert.deepEqual((await job(first.id)).awaited_by, [{ job: second.id, state: 'succeeded', name: 'second', job_state: 'queued' }]);
  assert.equal('after' in second.spec, false, 'the spec can be posted again, on its own');
  // A sweep's jobs wait too, and again for the second.
  const sweep = await ok('POST', '/sweeps', { base: { ...tiny({}), after: [{ job: second.id, state: 'any' }] }, vary: { 'train.seed': [1, 2] } });
  await queue('resume');
  const ends = await Promise.all([first.id, second.id, ...sweep.settings[0].jobs.map(({ id }) => id)].map((id) => finished(server, id)));
  assert.deepEqual(ends.map(({ state }) => state), ends.map(() => 'succeeded'));
  for (const [before, later] of [[0, 1], [1, 2], [1, 3]]) assert.ok(ends[later].started_at >= ends[before].finished_at, `${before} before ${later}`);
  assert.equal(ends[1].waits, null);
});

test('one that fails holds what waits for it; a retry that succeeds lets it go', async () => {
  const first = await submit(server, tiny({ train: { epochs: 100000 } }));
  const second = await submit(server, { ...tiny(), after: [{ job: first.id }] });
  const either = await submit(server, { ...tiny(), after: [{ job: first.id, state: 'any' }] });
  await reached(first.id, 'running');
  assert.equal((await job(second.id)).waits.message, `job ${first.id} is running`);
  await ok('POST', `/jobs/${first.id}/cancel`);
  await finished(server, first.id);
  assert.equal((await finished(server, either.id)).state, 'succeeded');
  const held = await job(second.id);
  assert.deepEqual([held.state, held.waits.message], ['held', `job ${first.id} was cancelled`]);
  const { history } = await ok('GET', `/jobs/${second.id}/history`);
  assert.deepEqual([history.at(-1).action, history.at(-1).actor, history.at(-1).detail], ['hold', null, held.waits.message]);
  const release = await ask('POST', `/jobs/${second.id}/release`);
  assert.equal(release.status, 409);
  assert.match(release.body.detail, new RegExp(`job ${first.id} was cancelled`));
  const gone = await ask('DELETE', `/jobs/${first.id}`);
  assert.equal(gone.status, 409);
  assert.match(gone.body.detail, new RegExp(`job ${second.id} waits for it to succeed`));
  // One that is to wait for it from now on is held at once, and goes on when it need not wait.
  const late = await submit(server, { ...tiny(), after: [{ job: first.id }] });
  assert.equal(late.state, 'held');
  await ok('PATCH', `/jobs/${late.id}`, { after: [] });
  assert.equal((await finished(server, late.id)).state, 'succeeded');

  await ok('POST', `/jobs/${first.id}/retry`);
  assert.equal((await job(second.id)).state, 'queued');
  await ok('POST', `/jobs/${first.id}/cancel`);
  await reached(first.id, 'cancelled');
  assert.equal((await reached(second.id, 'held')).waits.message, `job ${first.id} was cancelled`);
  await ok('PATCH', `/jobs/${second.id}`, { after: [{ job: first.id, state: 'any' }] });
  assert.equal((await finished(server, second.id)).state, 'succeeded');
  assert.equal((await ask('DELETE', `/jobs/${first.id}`)).status, 204);
  assert.deepEqual((await job(second.id)).after, []);
});

test('what cannot be waited for is refused by name', async () => {
  await queue('drain');
  const one = await submit(server, tiny());
  const two = await submit(server, { ...tiny(), after: [{ job: one.id }] });
  const wrong = (list) => ask('POST', '/jobs', { ...tiny(), after: list }).then(pointers);
  assert.deepEqual(await wrong([{ job: one.id }, { job: NOBODY }]), [422, `/after/1/job: there is no job ${NOBODY}`]);
  assert.deepEqual(await wrong([{ job: one.id }, { job: one.id, state: 'any' }]), [422, `/after/1/job: job ${one.id} stands there twice`]);
  assert.deepEqual(await wrong([{ job: one.id, state: 'failed' }]), [422, '/after/0/state: "failed" is neither "succeeded" nor "any"']);
  assert.deepEqual(await wrong([{ job: 7, since: 1 }]), [422, '/after/0/since: no such field; there are job and state', '/after/0/job: 7 is not a job\'s id']);
  assert.deepEqual(await wrong(one.id), [422, '/after: must be a list of {"job": id, "state": "succeeded"}']);
  assert.deepEqual(await wrong(Array.from({ length: 101 }, () => ({ job: one.id }))), [422, '/after: 101 jobs; a job waits for at most 100']);
  const both = await ask('POST', '/jobs', { ...tiny({ groups: { size: 0 } }), after: [{ job: NOBODY }] });
  assert.deepEqual(both.body.errors.map(({ pointer }) => pointer), ['/groups/size', '/after/0/job']);
  const sweep = await ask('POST', '/sweeps', { base: { ...tiny(), after: [{ job: NOBODY }] }, vary: { 'train.seed': [1] } });
  assert.deepEqual(pointers(sweep), [422, `/base/after/0/job: there is no job ${NOBODY}`]);

  const patch = (id, list) => ask('PATCH', `/jobs/${id}`, { after: list }).then(pointers);
  assert.deepEqual(await patch(one.id, [{ job: one.id }]), [422, `/after/0/job: job ${one.id} cannot wait for itself`]);
  assert.deepEqual(await patch(one.id, [{ job: two.id }]), [422, `/after/0/job: job ${two.id} waits for this one: neither would ever start`]);
  assert.deepEqual((await patch(one.id, 'x')), [422, '/after: must be a list of {"job": id, "state": "succeeded"}']);
  await queue('resume');
  await finished(server, one.id);
  await finished(server, two.id);
  assert.equal((await ask('PATCH', `/jobs/${one.id}`, { after: [] })).status, 409);
});

test('max_running of a sweep: given, changed, taken away, and refused by name', async () => {
  await queue('drain');
  const sweep = await ok('POST', '/sweeps', { base: tiny(), vary: { 'train.seed': [1, 2, 3] }, max_running: 1 });
  assert.equal(sweep.max_running, 1);
  const patch = (body) => ask('PATCH', `/sweeps/${sweep.id}`, body);
  assert.equal((await patch({ max_running: 2 })).body.max_running, 2);
  assert.equal((await ok('GET', `/sweeps/${sweep.id}`)).max_running, 2);
  assert.equal((await patch({ max_running: null })).body.max_running, null);
  assert.equal((await patch({ max_running: 1 })).status, 200);
  for (const bad of [0, 1001, 1.5, '2', true]) assert.deepEqual(pointers(await patch({ max_running: bad })), [422, `/max_running: ${JSON.stringify(bad)} is neither null nor an integer from 1 to 1000`]);
  assert.deepEqual(pointers(await patch({ name: 'x' })), [422, '/name: only max_running of a sweep can change']);
  assert.deepEqual(pointers(await patch({})), [422, '/max_running: is missing: there is nothing else to change']);
  assert.equal((await ask('PATCH', `/sweeps/${NOBODY}`, { max_running: 1 })).status, 404);
  const posted = await ask('POST', '/sweeps', { base: tiny(), vary: { 'train.seed': [1] }, max_running: 0 });
  assert.deepEqual(pointers(posted), [422, '/max_running: 0 is neither null nor an integer from 1 to 1000']);
  await queue('resume');
  for (const { id } of sweep.settings[0].jobs) assert.equal((await finished(server, id)).state, 'succeeded');
});

const bulk = (body) => ask('POST', '/jobs/bulk', body);
const states = async (ids) => (await Promise.all(ids.map(job))).map(({ state }) => state);

test('one action for all jobs that match: all, none, or without the unfit', async () => {
  await queue('drain');
  const ids = [];
  for (const seed of [1, 2, 3]) ids.push((await submit(server, tiny({ name: `many ${seed}`, tags: ['many'], train: { seed } }))).id);
  const all = { tag: 'many' };
  const [a, b, c] = ids;
  const look = await bulk({ filter: all, action: 'cancel', dry_run: true });
  assert.deepEqual(look.body, { action: 'cancel', dry_run: true, matched: 3, done: 3, unfit: 0, jobs: [c, b, a], refused: [] });
  assert.deepEqual(await states(ids), ['queued', 'queued', 'queued']);

  await ok('POST', `/jobs/${b}/hold`);
  const refused = await bulk({ filter: all, action: 'hold' });
  assert.equal(refused.status, 409);
  assert.equal(refused.body.detail, `job ${b} is held and cannot be held; nothing was done: 1 of 3 jobs are unfit`);
  assert.deepEqual(await states(ids), ['queued', 'held', 'queued']);
  const { body: told } = await bulk({ filter: all, action: 'hold', dry_run: true });
  assert.deepEqual([told.done, told.unfit, told.refused], [2, 1, [{ job: b, code: 'conflict', detail: `job ${b} is held and cannot be held` }]]);
  const { body: skipped } = await bulk({ filter: all, action: 'hold', unfit: 'skip' });
  assert.deepEqual([skipped.done, skipped.unfit, skipped.jobs], [2, 1, [c, a]]);
  assert.deepEqual(await states(ids), ['held', 'held', 'held']);
  const { history } = await ok('GET', `/jobs/${a}/history`);
  assert.deepEqual(history.map(({ action, actor }) => [action, actor]), [['submit', 'admin'], ['hold', 'admin']]);

  // The listing's filters, together.
  const matched = async (filter) => (await bulk({ filter, action: 'release', dry_run: true, unfit: 'skip' })).body.matched;
  assert.equal(await matched({ ...all, state: 'held,running' }), 3);
  assert.equal(await matched({ ...all, state: 'queued' }), 0);
  assert.equal(await matched({ ...all, q: 'MANY 2' }), 1);
  assert.equal(await matched({ ...all, user: 'nobody' }), 0);
  assert.equal(await matched({ ids: [a, b], q: 'many 1' }), 1);
  assert.equal(await matched({ sweep: NOBODY }), 0);

  const change = (more) => bulk({ filter: all, ...more }).then(({ status, body }) => [status, body.done]);
  assert.deepEqual(await change({ action: 'priority', priority: 3 }), [200, 3]);
  assert.deepEqual(await change({ action: 'tag', add: ['late', ' late too '], remove: ['none'] }), [200, 3]);
  const changed = await job(a);
  assert.deepEqual([changed.priority, changed.tags, changed.spec.tags, changed.spec.resources.priority], [3, ['many', 'late', 'late too'], ['many', 'late', 'late too'], 3]);
  assert.deepEqual(await change({ action: 'release' }), [200, 3]);
  assert.deepEqual(await change({ action: 'cancel' }), [200, 3]);
  assert.deepEqual(await change({ action: 'retry' }), [200, 3]);
  assert.deepEqual(await states(ids), ['queued', 'queued', 'queued']);
  await queue('resume');
  for (const id of ids) assert.equal((await finished(server, id)).state, 'succeeded');
  const one = await ask('POST', '/jobs/bulk', { filter: { ids: [a, NOBODY] }, action: 'delete' });
  assert.deepEqual([one.status, one.body.detail], [404, `there is no job ${NOBODY}; nothing was done: 1 of 2 jobs are unfit`]);
  const folder = `${service.dataDir}/jobs`;
  assert.ok(fs.readdirSync(folder).includes(a));
  // A job starts from the model of a: it stays, and the files of the others come back.
  await ok('POST', '/queue/drain');
  const user = await submit(server, { ...tiny(), init_from: a });
  assert.equal((await bulk({ filter: all, action: 'delete' })).status, 409);
  assert.deepEqual(ids.map((id) => fs.readdirSync(folder).includes(id)), [true, true, true]);
  assert.equal((await ask('GET', `/jobs/${b}/checkpoint/config.json`)).status, 200);
  await ok('POST', `/jobs/${user.id}/cancel`);
  await queue('resume');
  assert.deepEqual(await change({ action: 'delete' }), [200, 3]);
  assert.deepEqual(fs.readdirSync(folder).filter((name) => ids.some((id) => name.includes(id))), []);
  assert.equal((await ask('GET', `/jobs/${a}`)).status, 404);
  assert.equal((await bulk({ filter: all, action: 'delete' })).body.matched, 0);
});

test('a bulk request that says too little or too much is refused by name', async () => {
  const wrong = async (body) => pointers(await bulk(body));
  assert.deepEqual(await wrong({ action: 'cancel' }), [422, '/filter: must be an object with state, user, tag, sweep, q or ids: nothing is done to all jobs by mistake']);
  assert.deepEqual((await wrong({ filter: {}, action: 'cancel' }))[0], 422);
  const filter = { tag: 'x' };
  const said = async (body) => (await wrong(body)).slice(1).map((text) => text.split(':')[0]);
  assert.deepEqual(await said({ filter: { tag: '', state: 'quick', when: 1, ids: [3], q: 7 }, action: 'explode', unfit: 'maybe', dry_run: 1, priority: 1, x: 2 }), [
    '/x', '/action', '/filter/when', '/filter/tag', '/filter/q', '/filter/state', '/filter/ids/0', '/unfit', '/dry_run']);
  assert.deepEqual(await said({ filter, action: 'cancel', priority: 1, from: 'start', add: ['x'] }), ['/from', '/add', '/priority']);
  assert.deepEqual(await said({ filter, action: 'priority' }), ['/priority']);
  assert.deepEqual(await wrong({ filter, action: 'priority', priority: 101 }), [422, '/priority: 101 is outside -100 to 100']);
  assert.deepEqual(await said({ filter, action: 'tag' }), ['/add']);
  assert.deepEqual(await said({ filter, action: 'tag', add: ['ok', 'a\nb'], remove: [7] }), ['/add/1', '/remove/0']);
  assert.deepEqual(await said({ filter, action: 'tag', add: ['x'], remove: [' x'] }), ['/remove']);
  assert.deepEqual(await said({ filter, action: 'retry', from: 'end' }), ['/from']);
  assert.deepEqual(await said({ filter: { ids: [] }, action: 'hold' }), ['/filter/ids']);
  assert.equal((await bulk([])).status, 400);
});

test('a bulk action changes one\'s own jobs, and those of all for an administrator', async () => {
  await queue('drain');
  await ok('POST', '/users', { name: 'ada' });
  const ada = as((await ok('POST', '/users/ada/tokens', {})).token);
  const hers = await submit(ada, tiny({ tags: ['both'] }));
  const mine = await submit(server, tiny({ tags: ['both'] }));
  const body = { filter: { tag: 'both' }, action: 'cancel' };
  const refused = await askAs(ada, 'POST', '/jobs/bulk', body);
  assert.deepEqual([refused.status, refused.body.detail], [403, 'this belongs to admin, and ada is not an administrator; nothing was done: 1 of 2 jobs are unfit']);
  const { body: some } = await askAs(ada, 'POST', '/jobs/bulk', { ...body, unfit: 'skip' });
  assert.deepEqual([some.done, some.jobs, some.refused[0].job, some.refused[0].code], [1, [hers.id], mine.id, 'forbidden']);
  assert.deepEqual(await states([hers.id, mine.id]), ['cancelled', 'queued']);
  assert.equal((await bulk({ filter: { tag: 'both' }, action: 'retry', unfit: 'skip' })).body.done, 1);
  assert.deepEqual(await states([hers.id, mine.id]), ['queued', 'queued']);
  assert.equal((await bulk(body)).body.done, 2);
  await queue('resume');
});
