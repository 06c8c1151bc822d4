// The limits of a user: what is refused and with which numbers, what waits, and that others go on.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { finished, tiny } from '../lib/experiments.mjs';

const data = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-limits-'));
const args = ['--auth', 'on', '--user-queued', '3'];
let server, tokens;

const ask = async (who, method, route, body) => {
  const answer = await server.api(route, {
    method,
    headers: { Authorization: `Bearer ${tokens[who]}`, ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text ? JSON.parse(text) : null };
};
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request.slice(0, 3)}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const as = (who) => ({ api: (route, init = {}) => server.api(route, { ...init, headers: { ...init.headers, Authorization: `Bearer ${tokens[who]}` } }) });
const limits = async (who) => (await ok(who, 'GET', '/whoami')).limits;
const set = (who, change) => ok('admin', 'PATCH', `/users/${who}`, { limits: change });
const submit = async (who, change) => (await ok(who, 'POST', '/jobs', tiny(change))).id;
const jobs = async (who) => (await ok('admin', 'GET', `/jobs?user=${who}&limit=200`)).jobs;
const long = { train: { epochs: 1000000 } };
const waiting = async (id, words, seconds = 60) => {
  let job;
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
    job = await ok('admin', 'GET', `/jobs/${id}`);
    if (job.state === 'queued' && words.test(job.waits?.message ?? '')) return job;
  }
  throw new Error(`job ${id} does not wait for ${words}: ${JSON.stringify(job)}`);
};
const clear = async (who) => {
  for (const { id, state } of await jobs(who)) {
    if (['queued', 'held', 'running'].includes(state)) await ok(who, 'POST', `/jobs/${id}/cancel`);
    await finished(as(who), id);
    await ok(who, 'DELETE', `/jobs/${id}`);
  }
};

before(async () => {
  server = await startServer({ args, dataDir: data });
  tokens = { admin: /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1] };
  for (const name of ['ada', 'bob']) {
    await ok('admin', 'POST', '/users', { name });
    tokens[name] = (await ok('admin', 'POST', `/users/${name}/tokens`, {})).token;
  }
});
after(async () => { await server.stop(); removeFolder(data); });

test('queued: one user is refused with the numbers, others are not; a sweep fits whole or not at all', { timeout: 120_000 }, async () => {
  await ok('admin', 'POST', '/queue/drain');
  const first = await submit('ada');
  await submit('ada');
  const sweep = { base: tiny(), vary: { 'train.seed': [1, 2, 3] } };
  const none = await ask('ada', 'POST', '/sweeps', sweep);
  assert.deepEqual([none.status, none.body.code], [429, 'too_many']);
  const { change, ...numbers } = none.body.limit;
  assert.deepEqual(numbers, { name: 'queued', value: 3, present: 2, asked: 3, fits: 1 });
  assert.match(change, /administrator: PATCH \/users\/ada, or the setting user_queued/);
  assert.match(none.body.detail, /queued of ada is 3; present: 2, asked for: 3; 1 of the 3 jobs would fit.*administrator/);
  assert.deepEqual([(await jobs('ada')).length, (await ok('ada', 'GET', '/sweeps')).sweeps.length], [2, 0]);
  const third = await submit('ada');
  assert.equal((await ask('ada', 'POST', '/jobs', tiny())).status, 429);
  await ok('bob', 'POST', '/sweeps', sweep);
  // What comes back into the queue counts too.
  await ok('ada', 'POST', `/jobs/${first}/cancel`);
  await submit('ada');
  assert.equal((await ask('ada', 'POST', `/jobs/${first}/retry`)).body.limit?.name, 'queued');
  assert.equal((await ok('ada', 'GET', `/jobs/${first}`)).state, 'cancelled');
  // The same key and body is the same job, whatever the limit.
  const keyed = async () => server.api('/jobs', {
    method: 'POST', headers: { Authorization: `Bearer ${tokens.ada}`, 'Content-Type': 'application/json', 'Idempotency-Key': 'one' }, body: JSON.stringify(tiny()),
  });
  await ok('ada', 'POST', `/jobs/${third}/cancel`);
  assert.deepEqual([(await keyed()).status, (await keyed()).status], [201, 200]);
  await set('ada', { queued: 6 });
  // Twelve at once: the database decides, so three are stored whatever the order.
  const crowd = await Promise.all([...Array(12).keys()].map(() => ask('ada', 'POST', '/jobs', tiny())));
  assert.deepEqual([201, 429].map((wanted) => crowd.filter(({ status }) => status === wanted).length), [3, 9]);
  assert.deepEqual(await limits('ada').then(({ queued }) => queued), { limit: 6, own: true, present: 6 });
  assert.deepEqual((await limits('bob')).queued, { limit: 3, own: false, present: 3 });
});

test('a user\'s own limits outlive the server, null goes back to the site\'s, and only administrators set them', { timeout: 120_000 }, async () => {
  await server.stop();
  server = await startServer({ args, dataDir: data });
  assert.equal((await limits('ada')).queued.limit, 6);
  assert.equal((await ok('admin', 'GET', '/users/ada')).limits.queued.present, 6);
  assert.equal((await ask('ada', 'PATCH', '/users/ada', { limits: { queued: 100 } })).status, 403);
  for (const [change, pointer] of [[{ queue: 1 }, '/limits/queue'], [{ queued: -1 }, '/limits/queued'], [{ running: 'two' }, '/limits/running'], [[], '/limits']])
    assert.deepEqual(await ask('admin', 'PATCH', '/users/ada', { limits: change }).then(({ status, body }) => [status, body.errors[0].pointer]), [422, pointer]);
  assert.deepEqual((await set('ada', { queued: null, running: 0 })).limits.queued, { limit: 3, own: false, present: 6 });
  assert.equal((await ok('admin', 'GET', '/history?kind=user&object=ada')).history[0].detail, 'queued as the site\'s; running 0');
  const command = (...words) => spawnSync(BINARY, ['user', 'limits', ...words, '--data', data], { encoding: 'utf8' });
  assert.match(command('ada', 'device_hours=9', 'running=site').stdout, /^queued +3 site +6\nrunning +no limit site +0\n[^]*^device_hours +9 own +0\n/m);
  assert.equal((await limits('ada')).device_hours.limit, 9);
  for (const [word, says] of [['queue=1', /LIMIT=VALUE/], ['queued=-1', /neither an integer/], ['queued', /LIMIT=VALUE/]]) {
    const { status, stderr } = command('ada', word);
    assert.deepEqual([status, says.test(stderr)], [1, true], stderr);
  }
  assert.match(command('nobody', 'queued=1').stderr, /no user "nobody"/);
  await set('ada', { device_hours: null });
  for (const who of ['ada', 'bob']) await clear(who);
  await ok('admin', 'POST', '/queue/resume');
});

test('running and largest_bytes: jobs wait with the reason, other users and smaller jobs do not', { timeout: 120_000 }, async () => {
  await set('ada', { running: 1 });
  const runs = await submit('ada', long);
  const waits = await submit('ada');
  await waiting(waits, /jobs of ada that run: 1, the limit of the user \(running\) is 1/);
  await ok('ada', 'POST', `/jobs/${runs}/cancel`);
  assert.equal((await finished(as('ada'), waits)).state, 'succeeded');
  await set('ada', { running: null });
  const { memory_bytes: bytes } = await ok('ada', 'GET', `/jobs/${waits}`);
  await ok('admin', 'POST', '/queue/drain');
  const large = await submit('ada', { model: { d_model: 32 } });
  const small = await submit('ada');
  await set('ada', { largest_bytes: bytes });
  await ok('admin', 'POST', '/queue/resume');
  assert.equal((await finished(as('ada'), small)).state, 'succeeded');
  await waiting(large, /it needs \d+ bytes of memory, the limit of its user \(largest_bytes\) is \d+/);
  const { status, body } = await ask('ada', 'POST', '/jobs', tiny({ model: { d_model: 32 } }));
  assert.deepEqual([status, body.limit.name, body.limit.value, body.limit.fits], [409, 'largest_bytes', bytes, 0]);
  assert.ok(body.limit.asked > bytes);
  await set('ada', { largest_bytes: null });
  assert.equal((await finished(as('ada'), large)).state, 'succeeded');
  await clear('ada');
});

test('stored_bytes: records, files and texts count until they are deleted; at the limit nothing starts or comes', { timeout: 120_000 }, async () => {
  const stored = async () => (await limits('ada')).stored_bytes.present;
  assert.equal(await stored(), 0);
  const id = await submit('ada', { train: { snapshots: [2, 4] } });
  await finished(as('ada'), id);
  let after = await stored();
  const walk = (folder) => fs.readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => sum + (entry.isDirectory() ? walk(path.join(folder, entry.name)) : fs.statSync(path.join(folder, entry.name)).size), 0);
  const onDisk = walk(path.join(data, 'jobs', id));
  assert.ok(after > onDisk && after < onDisk + 9 * 20000, `${after} of ${onDisk} in files`);
  const text = 'word '.repeat(2000);
  const upload = (name, bytes) => server.api(`/corpora?name=${name}`, { method: 'POST', headers: { Authorization: `Bearer ${tokens.ada}`, 'Content-Type': 'text/plain' }, body: bytes });
  assert.equal((await upload('words', text)).status, 201);
  assert.equal(await stored(), after + text.length);
  await server.stop();
  server = await startServer({ args, dataDir: data });
  const whole = () => fs.statSync(path.join(data, 'jobs', id, 'log')).size;
  for (const end = Date.now() + 20_000; Date.now() < end && await stored() === after + text.length; await new Promise((resolve) => setTimeout(resolve, 50)));
  const measured = await stored(); // anew: the log's last line came after the first time
  assert.ok(measured > after + text.length && measured < after + text.length + whole(), `${measured}`);
  after = measured - text.length;

  await ok('admin', 'POST', '/queue/drain');
  const queued = await submit('ada');
  await set('ada', { stored_bytes: after + text.length });
  const { status, body } = await ask('ada', 'POST', '/jobs', tiny());
  assert.deepEqual([status, body.code, body.limit.name, body.limit.present], [409, 'conflict', 'stored_bytes', after + text.length]);
  assert.ok(body.limit.asked > 9000, `${body.limit.asked}`);
  assert.equal((await upload('more', `${text}s`)).status, 409);
  await ok('admin', 'POST', '/queue/resume');
  await waiting(queued, /ada stores \d+ bytes, the limit of the user \(stored_bytes\) is \d+/);
  await ok('bob', 'GET', `/jobs/${await submit('bob')}`);
  await ok('ada', 'DELETE', '/corpora/words');
  await ok('ada', 'DELETE', `/jobs/${id}`);
  assert.equal(await stored(), 0);
  await set('ada', { stored_bytes: null });
  assert.equal((await finished(as('ada'), queued)).state, 'succeeded');
});
