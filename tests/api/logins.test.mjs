// Refused credentials are logged and slowed, valid ones never; --log-format json makes
// one object a line.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { finished, submit, tiny } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

let server, admin;
before(async () => {
  server = await startServer({ args: ['--auth', 'on', '--log-format', 'json'] });
  admin = /token: (tf_[0-9a-f]{64})/.exec(server.log())[1];
});
after(async () => { await server.stop(); });

const lines = (at = server) => at.log().split('\n').filter((line) => line && !line.startsWith('user admin was made')).map((line) => JSON.parse(line));
const refusals = (account) => lines().filter(({ fields }) => fields.kind === 'token' && fields.account === account);
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const ask = async (headers, method = 'GET', route = '/whoami', body = undefined) => {
  const answer = await server.api(route, { method, headers: { ...headers, ...(body && { 'Content-Type': 'application/json' }) }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, retry: answer.headers.get('retry-after'), body: text && JSON.parse(text) };
};
const login = (token) => ask({}, 'POST', '/session', { token });

test('wrong tokens are answered 429 after ten, right ones of the same address are not', async () => {
  const user = await ask(bearer(admin), 'POST', '/users', { name: 'ada' });
  assert.equal(user.status, 201);
  const { token } = (await ask(bearer(admin), 'POST', '/users/ada/tokens', {})).body;
  const statuses = [];
  for (let i = 0; i < 25; i++) statuses.push((i % 2 ? await login(`tf_${i}`) : await ask(bearer(`tf_${i}`))).status);
  assert.deepEqual(statuses.slice(0, 10), Array(10).fill(401));
  assert.ok(statuses.slice(10).filter((status) => status === 429).length > 12, `${statuses}`);
  let paused = await ask(bearer('tf_wrong'));
  for (let tries = 0; paused.status !== 429 && tries < 3; tries++) paused = await ask(bearer('tf_wrong'));
  assert.equal(paused.status, 429);
  assert.ok(Number(paused.retry) >= 1 && Number(paused.retry) <= 60, paused.retry);
  assert.match(paused.body.detail, new RegExp(`in ${paused.retry} s`));
  assert.deepEqual([(await ask(bearer(token))).status, (await ask(bearer(admin))).status, (await login(token)).status], [200, 200, 200]);

  const logged = refusals(null);
  assert.ok(logged.length >= 10 && logged.length < 15, `${logged.length} lines of 26`);
  assert.equal(logged[0].level, 'warning');
  assert.equal(logged[0].fields.address, '127.0.0.1');
  assert.match(logged[0].message, /^refused a token from 127\.0\.0\.1 \(request [0-9a-f]+\)$/);
  assert.equal(server.log().includes('tf_24'), false);

  // A disabled user's token counts for that user.
  assert.equal((await ask(bearer(admin), 'PATCH', '/users/ada', { disabled: true })).status, 200);
  assert.equal((await ask(bearer(token))).status, 401);
  assert.deepEqual(refusals('ada').map(({ message }) => message.replace(/ \(.*/, '')), ['refused a token of ada from 127.0.0.1']);

  // A page with an old cookie has to find its login.
  for (let i = 0; i < 15; i++) assert.equal((await ask({ Cookie: `tokenfate_session=${i}` })).status, 401);
  assert.equal((await ask({})).status, 401, 'no credential is none that is refused');

  await new Promise((resolve) => { setTimeout(resolve, 1000 * Number(paused.retry) + 50); });
  assert.equal((await ask(bearer('tf_later'))).status, 401);
  assert.match(refusals(null).at(-1).message, /; \d+ more since the last line/);
  assert.equal((await ask(bearer('tf_later'))).status, 429);
});

test('every line of the log is one object with time, level, message and fields', async () => {
  const open = await startServer({ args: ['--log-format', 'json'] });
  try {
    const { id } = await finished(open, (await submit(open, tiny({ name: 'a "quoted" name' }))).id);
    const all = lines(open);
    for (const line of all) {
      assert.deepEqual(Object.keys(line), ['time', 'level', 'message', 'fields']);
      assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      assert.ok(['debug', 'info', 'warning', 'error'].includes(line.level));
    }
    const end = all.find(({ fields }) => fields.job === id && fields.state === 'succeeded');
    assert.match(end.message, /^job .* succeeded at epoch 8$/);
  } finally { await open.stop(); }
});
