// Users and their tokens: what an administrator may do and what others may not.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { events, tiny } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

let server, admin;
before(async () => {
  server = await startServer({ args: ['--auth', 'on'] });
  admin = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
});
after(async () => { await server.stop(); });

const ask = async (token, method, route, body, at = server) => {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }) };
  const answer = await at.api(route, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, location: answer.headers.get('location'), body: text ? JSON.parse(text) : null };
};
const users = async () => (await ask(admin, 'GET', '/users')).body.users;
const made = async (name, fields = {}) => {
  const answer = await ask(admin, 'POST', '/users', { name, ...fields });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer;
};
const issued = async (name, label) => {
  const answer = await ask(admin, 'POST', `/users/${name}/tokens`, label ? { label } : {});
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return { ...answer.body, location: answer.location };
};
const whoami = async (token) => ask(token, 'GET', '/whoami');

// What answers say is what openapi.json promises: every field, no other.
const fits = (value, schema, openapi) => {
  const { required, properties } = openapi.components.schemas[schema];
  assert.deepEqual(Object.keys(value).sort(), Object.keys(properties).sort());
  assert.deepEqual([...required].sort(), Object.keys(properties).sort());
};

test('an administrator makes users and tokens; a token is shown once', async () => {
  const openapi = await (await server.api('/openapi.json')).json();
  const ben = await made('ben');
  assert.equal(ben.location, 'users/ben');
  fits(ben.body, 'Person', openapi);
  assert.deepEqual({ ...ben.body, created_at: '', limits: {} }, { name: 'ben', admin: false, disabled: false, share: 1, uid: null, created_at: '', limits: {}, tokens: [] });
  const token = await issued('ben', 'laptop');
  assert.match(token.token, /^tf_[0-9a-f]{64}$/);
  assert.deepEqual((await whoami(token.token)).body, { name: 'ben', admin: false, auth: true, limits: ben.body.limits });

  const shown = await ask(admin, 'GET', new URL(token.location, 'http://x/users/ben/tokens').pathname);
  assert.deepEqual(shown.body, { id: token.id, label: 'laptop', created_at: token.created_at, expires_at: null });
  fits(shown.body, 'Token', openapi);
  const [first, second] = await users();
  assert.deepEqual([first.name, first.admin, first.tokens.length, second.name], ['admin', true, 1, 'ben']);
  assert.deepEqual(second.tokens, [shown.body]);
  assert.ok(Date.now() - Date.parse(second.created_at) < 60000 && !JSON.stringify(await users()).includes(token.token));
});

test('everybody else is refused with the reason', async () => {
  await made('carl');
  const { token, id } = await issued('carl');
  const calls = [['GET', '/users'], ['POST', '/users', { name: 'x', admin: true }], ['GET', '/users/carl'],
    ['PATCH', '/users/carl', { admin: true }], ['POST', '/users/admin/tokens', {}], ['GET', '/users/admin/tokens'],
    ['GET', `/users/ben/tokens/${id}`], ['DELETE', `/users/ben/tokens/${id}`], ['POST', `/users/ben/tokens/${id}/rotate`],
    ['GET', '/users/nobody/tokens']];
  for (const [method, route, body] of calls) {
    const answer = await ask(token, method, route, body);
    assert.equal(answer.status, 403, `${method} ${route}`);
    assert.match(answer.body.detail, /carl is not/);
    assert.equal((await ask(null, method, route, body)).status, 401);
  }
  assert.deepEqual((await users()).find((user) => user.name === 'carl').tokens.map((one) => one.id), [id]);
});

const login = async (token) => server.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ token }) });
const pageOf = async (token) => {
  const Cookie = (await login(token)).headers.get('set-cookie').split(';')[0];
  return async () => (await server.api('/whoami', { headers: { Cookie } })).status;
};

test('users list, issue, rotate and revoke their own tokens', async () => {
  const openapi = await (await server.api('/openapi.json')).json();
  await made('olga');
  const { token, id } = await issued('olga', 'first');
  const own = (method, route, body, by = token) => ask(by, method, `/users/olga/tokens${route}`, body);
  const second = await own('POST', '', { label: 'second' });
  assert.equal(second.status, 201);
  fits(second.body, 'NewToken', openapi);
  assert.equal((await whoami(second.body.token)).body.name, 'olga');
  assert.deepEqual((await own('GET', '')).body.tokens.map(({ label }) => label), ['first', 'second']);

  const page = await pageOf(token);
  const rotated = await own('POST', `/${id}/rotate`);
  assert.equal(rotated.status, 201);
  fits(rotated.body, 'NewToken', openapi);
  assert.deepEqual([rotated.body.label, rotated.body.expires_at], ['first', null]);
  assert.equal(new URL(rotated.location, `http://x/api/v1/users/olga/tokens/${id}/rotate`).pathname, `/api/v1/users/olga/tokens/${rotated.body.id}`);
  const left = async (one, by) => Date.parse((await own('GET', `/${one}`, undefined, by)).body.expires_at) - Date.now();
  assert.ok(await left(id) > 30_000 && await left(id) <= 60_000, 'the old one ends within a minute');
  assert.deepEqual([(await whoami(token)).status, (await whoami(rotated.body.token)).status, await page()], [200, 200, 200]);
  const again = await own('POST', `/${id}/rotate`); // the answer was lost
  assert.deepEqual([again.status, again.body.expires_at], [201, null]);
  assert.equal((await own('DELETE', `/${id}`)).status, 204);
  assert.deepEqual([(await whoami(token)).status, await page()], [401, 401]);
  assert.equal((await own('POST', `/${id}/rotate`, undefined, rotated.body.token)).status, 404);
  assert.equal((await own('DELETE', `/${rotated.body.id}`, undefined, rotated.body.token)).status, 204);
});

test('a token ends when it was told to, and its cookies with it', async () => {
  await made('pia');
  const issue = (body) => ask(admin, 'POST', '/users/pia/tokens', body);
  const brief = (await issue({ expires_in: 2 })).body;
  const until = new Date(Date.now() + 3600_000).toISOString();
  const timed = (await issue({ expires_at: until })).body;
  assert.equal(Date.parse(timed.expires_at), Date.parse(until));
  const offset = (await issue({ expires_at: until.replace('Z', '+01:00') })).status;
  assert.equal(offset, 422, 'that was now');
  const [page, timedPage] = [await pageOf(brief.token), await pageOf(timed.token)];
  assert.deepEqual([(await whoami(brief.token)).status, await page()], [200, 200]);
  const next = (await ask(timed.token, 'POST', `/users/pia/tokens/${timed.id}/rotate`)).body;
  const life = Date.parse(next.expires_at) - Date.parse(next.created_at);
  assert.ok(Math.abs(life - 3600_000) < 20_000, `the same length of life: ${life} ms`);
  const ends = Date.parse(brief.expires_at);
  await new Promise((resolve) => { setTimeout(resolve, ends - Date.now() + 50); });
  assert.deepEqual([(await whoami(brief.token)).status, await page(), await timedPage()], [401, 401, 200]);
  assert.equal((await login(brief.token)).status, 401);
  assert.deepEqual((await ask(next.token, 'GET', '/users/pia/tokens')).body.tokens.map(({ id }) => id).sort(), [next.id, timed.id].sort());
  const wrong = [[{ expires_in: 0 }, '/expires_in'], [{ expires_in: '7' }, '/expires_in'], [{ expires_in: 1.5 }, '/expires_in'],
    [{ expires_in: 316224001 }, '/expires_in'], [{ expires_at: 7 }, '/expires_at'], [{ expires_at: '2999-01-01T00:00:00Z' }, '/expires_at'],
    [{ expires_at: '2026-06-31T00:00:00Z' }, '/expires_at'], [{ expires_at: '2026-01-01' }, '/expires_at'],
    [{ expires_in: 5, expires_at: until }, '/expires_in']];
  for (const [body, pointer] of wrong) {
    const { status, body: { errors } } = await issue(body);
    assert.deepEqual([status, errors.map((error) => error.pointer)], [422, [pointer]], JSON.stringify(body));
  }
});

test('one user has a hundred tokens at most', async () => {
  await made('quin');
  const { token } = await issued('quin');
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(token, 'POST', '/users/quin/tokens', {})));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [...Array(99).fill(201), 409]);
  assert.match(answers.find(({ status }) => status === 409).body.detail, /quin has 100 tokens/);
});

test('a revoked token is refused at once, and so is the cookie it was exchanged for', async () => {
  await made('dora');
  const one = await issued('dora', 'one');
  const two = await issued('dora', 'two');
  const cookie = async (token) => (await server.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token }) })).headers.get('set-cookie').split(';')[0];
  const cookies = [await cookie(one.token), await cookie(two.token)];
  const page = async (Cookie) => (await server.api('/whoami', { headers: { Cookie } })).status;
  assert.deepEqual([await page(cookies[0]), await page(cookies[1])], [200, 200]);
  assert.equal((await ask(admin, 'DELETE', `/users/ben/tokens/${one.id}`)).status, 404, 'of another user');
  assert.equal((await ask(admin, 'DELETE', `/users/dora/tokens/${one.id}`)).status, 204);
  assert.deepEqual([(await whoami(one.token)).status, (await whoami(two.token)).status], [401, 200]);
  assert.deepEqual([await page(cookies[0]), await page(cookies[1])], [401, 200]);
  assert.equal((await ask(admin, 'DELETE', `/users/dora/tokens/${one.id}`)).status, 404);
  assert.equal((await ask(admin, 'GET', `/users/dora/tokens/${one.id}`)).status, 404);
});

// Opens an event stream; `ended` resolves when the server has ended it.
const opened = async (headers) => {
  const answer = await server.api('/events', { headers, signal: AbortSignal.timeout(20_000) });
  assert.equal(answer.status, 200);
  const reader = answer.body.getReader();
  await reader.read();
  return { ended: (async () => { while (!(await reader.read()).done); })() };
};

test('the event streams of a revoked token and of its cookies end, those of others go on', async () => {
  await made('ina');
  const [one, two] = [await issued('ina', 'one'), await issued('ina', 'two')];
  const session = await server.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token: one.token }) });
  const bearer = ({ token }) => ({ Authorization: `Bearer ${token}` });
  const byToken = await opened(bearer(one));
  const byCookie = await opened({ Cookie: session.headers.get('set-cookie').split(';')[0] });
  const other = await opened(bearer(two));
  assert.equal((await ask(admin, 'DELETE', `/users/ina/tokens/${one.id}`)).status, 204);
  await Promise.all([byToken.ended, byCookie.ended]);
  assert.equal(await Promise.race([other.ended, new Promise((resolve) => setTimeout(resolve, 3000, 'open'))]), 'open');
  assert.equal((await ask(admin, 'PATCH', '/users/ina', { disabled: true })).status, 200);
  await other.ended;
});

test('a disabled user is refused, gets no token, and comes back', async () => {
  await made('eve');
  const { token } = await issued('eve');
  const off = await ask(admin, 'PATCH', '/users/eve', { disabled: true });
  assert.deepEqual([off.status, off.body.disabled, off.body.admin], [200, true, false]);
  assert.equal((await whoami(token)).status, 401);
  const refused = await ask(admin, 'POST', '/users/eve/tokens', {});
  assert.equal(refused.status, 409);
  assert.match(refused.body.detail, /eve is disabled/);
  assert.equal((await ask(admin, 'PATCH', '/users/eve', { disabled: false })).status, 200);
  assert.equal((await whoami(token)).status, 200);
});

test('the queued jobs of a disabled user are held with the reason, and released with the user', async () => {
  await made('hal');
  const { token } = await issued('hal');
  const submitted = async (by, fields) => (await ask(by, 'POST', '/jobs', tiny(fields))).body.id;
  const show = async (id) => (await ask(admin, 'GET', `/jobs/${id}`)).body;
  const long = await submitted(admin, { train: { epochs: 1_000_000 } }); // holds the device
  const [queued, held] = [await submitted(token), await submitted(token)];
  assert.equal((await ask(token, 'POST', `/jobs/${held}/hold`)).status, 200);
  assert.equal((await ask(admin, 'PATCH', '/users/hal', { disabled: true })).status, 200);
  const [one, two] = [await show(queued), await show(held)];
  assert.deepEqual([one.state, one.waits.code, two.state, two.waits.code], ['held', 'user_disabled', 'held', 'held']);
  assert.equal((await ask(admin, 'PATCH', '/users/hal', { disabled: false })).status, 200);
  assert.deepEqual([(await show(queued)).state, (await show(held)).state], ['queued', 'held']);
  const seen = await events(server, `?after=0&jobs=${queued}`, (list) => list.length > 2, { headers: { Authorization: `Bearer ${token}` } });
  assert.deepEqual(seen.slice(0, 3).map(({ data }) => data.state), ['queued', 'held', 'queued']);
  assert.equal((await ask(admin, 'POST', `/jobs/${long}/cancel`)).status, 200);
  assert.equal((await ask(admin, 'GET', `/jobs/${queued}?wait=60`)).status, 200);
  for (let state; state !== 'succeeded';) ({ state } = (await ask(admin, 'GET', `/jobs/${queued}?wait=30`)).body);
});

test('the running job of a disabled user stops with a checkpoint, and goes on with the user', { timeout: 120_000 }, async () => {
  await made('gil');
  const { token } = await issued('gil');
  const show = async (id) => (await ask(admin, 'GET', `/jobs/${id}?wait=5`)).body;
  const reaches = async (id, state) => { for (;;) { const job = await show(id); if (job.state === state) return job; } };
  const submitted = async () => (await ask(token, 'POST', '/jobs', tiny({ train: { epochs: 1_000_000 } }))).body.id;
  const disable = async (disabled) => assert.equal((await ask(admin, 'PATCH', '/users/gil', { disabled })).status, 200);
  const id = await submitted();
  await reaches(id, 'running');
  await disable(true);
  const held = await reaches(id, 'held');
  assert.deepEqual([held.waits.message, held.attempt, held.hold_requested], ['its user is disabled', 1, false]);
  await disable(false);
  await reaches(id, 'running');
  // Back before the job has stopped: it goes on, whichever comes first.
  await disable(true);
  await disable(false);
  await reaches(id, 'running');
  // A hold that the user has asked for is the user's: enabling does not end it.
  assert.equal((await ask(token, 'POST', `/jobs/${id}/hold`)).status, 200);
  await disable(true);
  await reaches(id, 'held');
  await disable(false);
  assert.equal((await show(id)).state, 'held');
  const { history: all } = (await ask(admin, 'GET', `/jobs/${id}/history`)).body;
  const first = all.find(({ action }) => action === 'hold');
  assert.deepEqual([first.actor, first.from, first.detail], ['admin', 'running', 'user_disabled']);
  assert.equal((await ask(admin, 'POST', `/jobs/${id}/cancel`)).status, 200);
});

const history = async (query = '', by = admin) => (await ask(by, 'GET', `/history?limit=1000${query}`)).body.history;
const told = ({ actor, action, from, to, detail }) => [actor, action, from, to, detail];

test('what happens to a job is told with its actor, in its history and its events', async () => {
  const openapi = await (await server.api('/openapi.json')).json();
  await made('ida');
  const { token } = await issued('ida');
  const long = (await ask(admin, 'POST', '/jobs', tiny({ train: { epochs: 1_000_000 } }))).body.id; // holds the device
  const { id } = (await ask(token, 'POST', '/jobs', tiny({ name: 'mine' }))).body;
  await ask(admin, 'POST', `/jobs/${id}/hold`);
  assert.equal((await ask(token, 'PATCH', `/jobs/${id}`, { name: 'ours', priority: 5 })).status, 200);
  assert.equal((await ask(token, 'PATCH', `/jobs/${id}`, { name: 'ours' })).status, 200);
  await ask(token, 'POST', `/jobs/${id}/release`);
  await ask(admin, 'PATCH', '/users/ida', { disabled: true });
  await ask(admin, 'PATCH', '/users/ida', { disabled: false });
  await ask(token, 'POST', `/jobs/${id}/cancel`);
  await ask(token, 'POST', `/jobs/${id}/retry`);
  await ask(admin, 'POST', `/jobs/${long}/cancel`);
  for (let state; state !== 'succeeded';) ({ state } = (await ask(token, 'GET', `/jobs/${id}?wait=30`)).body);

  const { history: all, next } = (await ask(token, 'GET', `/jobs/${id}/history`)).body;
  for (const one of all) fits(one, 'Change', openapi);
  const reason = 'user_disabled';
  assert.deepEqual(all.map(told), [
    ['ida', 'submit', null, 'queued', null],
    ['admin', 'hold', 'queued', 'held', null],
    ['ida', 'change', null, null, 'name "mine" to "ours"; priority 0 to 5'],
    ['ida', 'release', 'held', 'queued', null],
    ['admin', 'hold', 'queued', 'held', reason],
    ['admin', 'release', 'held', 'queued', null],
    ['ida', 'cancel', 'queued', 'cancelled', null],
    ['ida', 'restart', 'cancelled', 'queued', null],
    [null, 'start', 'queued', 'running', 'cpu'],
    [null, 'end', 'running', 'succeeded', null],
  ]);
  assert.equal(next, null);
  assert.deepEqual(all.map(({ time }) => time), all.map(({ time }) => time).sort());
  const pages = [];
  for (let cursor = ''; cursor != null;) {
    const { body } = await ask(token, 'GET', `/jobs/${id}/history?limit=3${cursor && `&cursor=${cursor}`}`);
    pages.push(...body.history);
    cursor = body.next;
  }
  assert.deepEqual(pages, all);
  const seen = await events(server, `?after=0&jobs=${id}`, (list) => list.at(-1)?.data.state === 'succeeded', { headers: { Authorization: `Bearer ${token}` } });
  const done = seen.filter(({ event, data }) => event === 'job' && data.action).map(({ data }) => [data.actor, data.action, data.state]);
  assert.deepEqual(done.filter(([, action]) => action !== 'change'), all.filter(({ action }) => action !== 'change').map(({ actor, action, to }) => [actor, action, to]));

  const stopped = (await ask(token, 'GET', `/jobs/${long}/history`)).body.history.slice(-2);
  assert.deepEqual(stopped.map(told), [['admin', 'cancel', 'running', 'running', null], [null, 'end', 'running', 'cancelled', null]]);
  assert.equal((await ask(token, 'DELETE', `/jobs/${id}`)).status, 204);
  assert.equal((await ask(token, 'GET', `/jobs/${id}/history`)).status, 404);
  const after = await history(`&kind=job&object=${id}`);
  for (const one of after) fits(one, 'ChangeOfAny', openapi);
  assert.deepEqual(after.map(told), [['ida', 'delete', 'succeeded', null, null], ...all.map(told).reverse()]);
});

test('who changed users and texts is told to administrators', async () => {
  await made('jan', { admin: true });
  const { token, id } = await issued('jan', 'laptop');
  const next = (await ask(token, 'POST', `/users/jan/tokens/${id}/rotate`)).body;
  await ask(next.token, 'DELETE', `/users/jan/tokens/${id}`);
  await ask(admin, 'PATCH', '/users/jan', { admin: false, disabled: true });
  await ask(admin, 'PATCH', '/users/jan', { disabled: false });
  await ask(admin, 'PATCH', '/users/jan', { disabled: false }); // nothing
  assert.deepEqual((await history('&object=jan')).map(told).reverse(), [
    ['admin', 'create', null, 'admin', null], ['admin', 'token_issue', null, null, `${id} laptop`],
    ['jan', 'token_rotate', null, null, `${id} ${next.id}`], ['jan', 'token_revoke', null, null, id],
    ['admin', 'role', 'admin', 'user', null], ['admin', 'disable', 'active', 'disabled', null],
    ['admin', 'enable', 'disabled', 'active', null],
  ]);
  const upload = async (text, query, by = next.token) => {
    const answer = await server.api(`/corpora?name=notes${query}`, { method: 'POST', headers: { Authorization: `Bearer ${by}`, 'Content-Type': 'text/plain' }, body: text });
    assert.ok(answer.ok, await answer.clone().text());
    return (await answer.json()).id;
  };
  const one = await upload('one text', '');
  const two = await upload('another text', '&replace=true');
  assert.equal((await ask(admin, 'DELETE', '/corpora/notes')).status, 204);
  assert.deepEqual((await history('&kind=text&actor=jan')).map(told), [['jan', 'replace', one, two, 'notes'], ['jan', 'upload', null, one, 'notes']]);
  assert.deepEqual((await history(`&object=${two}`)).map(told)[0], ['admin', 'delete', two, null, 'notes']);
  const own = await history('&kind=user&actor=');
  assert.deepEqual(own.map(told), [[null, 'token_issue', null, null, own[0].detail], [null, 'create', null, 'admin', null]]);
  assert.equal((await ask(next.token, 'GET', '/history')).status, 403);
  assert.deepEqual((await ask(admin, 'GET', '/history?kind=all')).body.errors.map(({ pointer }) => pointer), ['kind']);
});

test('the last administrator stays', async () => {
  for (const fields of [{ disabled: true }, { admin: false }]) {
    const answer = await ask(admin, 'PATCH', '/users/admin', fields);
    assert.equal(answer.status, 409);
    assert.match(answer.body.detail, /last administrator/);
  }
  await made('fay', { admin: true });
  const { token } = await issued('fay');
  assert.deepEqual((await ask(token, 'PATCH', '/users/admin', { admin: false })).body.admin, false);
  assert.equal((await ask(admin, 'GET', '/users')).status, 403);
  assert.equal((await ask(token, 'PATCH', '/users/fay', { admin: false })).status, 409);
  assert.equal((await ask(token, 'PATCH', '/users/admin', { admin: true })).status, 200);
});

test('what is wrong with a request is said of every field, with its value', async () => {
  const wrong = async (method, route, body, status, pointers, words) => {
    const answer = await ask(admin, method, route, body);
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.deepEqual((answer.body.errors ?? []).map((error) => error.pointer).sort(), pointers);
    assert.match(answer.body.errors?.map((error) => error.detail).join(' ') ?? answer.body.detail, words);
  };
  await wrong('POST', '/users', { name: 'admin' }, 409, [], /admin/);
  await wrong('POST', '/users', { admin: true }, 422, ['/name'], /missing/);
  await wrong('POST', '/users', { name: 'a b', admin: 'yes', root: 1 }, 422, ['/admin', '/name', '/root'], /"yes".*|"a b"/);
  await wrong('POST', '/users', { name: '..' }, 422, ['/name'], /"\.\."/);
  await wrong('POST', '/users', { name: '' }, 422, ['/name'], /0 bytes/);
  await wrong('POST', '/users', { name: 'n'.repeat(65) }, 422, ['/name'], /n{65}.*64/);
  await wrong('POST', '/users', { name: 'x'.repeat(5000) }, 422, ['/name'], /5000/);
  await wrong('POST', '/users', { name: 7 }, 422, ['/name'], /7.*string/);
  await wrong('POST', '/users', [], 400, [], /object/);
  await wrong('PATCH', '/users/admin', { name: 'root', disabled: 0 }, 422, ['/disabled', '/name'], /root.*0|0.*root/);
  await wrong('PATCH', '/users/nobody', { disabled: true }, 404, [], /nobody/);
  await wrong('POST', '/users/nobody/tokens', {}, 404, [], /nobody/);
  await wrong('POST', '/users/admin/tokens', { label: 'l'.repeat(65), days: 3 }, 422, ['/days', '/label'], /l{65}/);
  await wrong('POST', '/users/admin/tokens', { label: '\u001b[2J' }, 422, ['/label'], /control/);
  await wrong('GET', '/users/nobody', undefined, 404, [], /nobody/);
});

test('local and admin are made by the server alone', async () => {
  for (const name of ['local', 'Local', 'LOCAL', 'admin', 'Admin', 'ADMIN']) {
    const answer = await ask(admin, 'POST', '/users', { name, admin: true });
    assert.deepEqual([answer.status, answer.body.detail.includes(`"${name}" is reserved`)], [409, true], JSON.stringify(answer.body));
  }
  assert.deepEqual((await users()).filter(({ name }) => /^(local|admin)$/i.test(name)).map(({ name }) => name), ['admin']);
  const open = await startServer();
  try {
    assert.equal((await ask(null, 'POST', '/users', { name: 'admin' }, open)).status, 409);
  } finally { await open.stop(); }
});

test('without authentication whoever reaches the server is an administrator', async () => {
  const open = await startServer();
  try {
    assert.equal((await ask(null, 'POST', '/users', { name: 'ada', admin: true }, open)).status, 201);
    assert.match((await ask(null, 'POST', '/users/ada/tokens', {}, open)).body.token, /^tf_/);
    assert.equal((await ask(null, 'PATCH', '/users/ada', { disabled: true }, open)).status, 409);
  } finally { await open.stop(); }
});
