// Who may do what: on an address that is not loopback authentication is on; the
// first start makes the admin's token, the page gets a cookie for it.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { tiny } from '../lib/experiments.mjs';

let server, token;
before(async () => {
  server = await startServer({ args: ['--auth', 'on'] });
  token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())?.[1];
});
after(async () => { await server.stop(); });
const bearer = (value) => ({ headers: { Authorization: `Bearer ${value}` } });

test('the first start prints the token of admin once', () => assert.match(token ?? '', /^[A-Za-z0-9_-]{40,}$/));

test('without a token 401 with WWW-Authenticate, with a wrong one too', async () => {
  for (const init of [{}, bearer('0'.repeat(64)), { headers: { Authorization: 'Basic YTpi' } }, { headers: { Cookie: 'session=abc' } }]) {
    const answer = await server.api('/jobs', init);
    assert.equal(answer.status, 401);
    assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
    await answer.arrayBuffer();
  }
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${server.url}/`)).status, 200);
});

test('with it the admin is known and jobs are theirs', async () => {
  const who = await (await server.api('/whoami', bearer(token))).json();
  assert.equal(who.name, 'admin');
  const made = await server.api('/jobs', { method: 'POST', body: JSON.stringify(tiny()),
    headers: { 'Content-Type': 'application/json', ...bearer(token).headers } });
  assert.equal(made.status, 201);
  assert.equal((await made.json()).user, 'admin');
});

test('the page posts the token once and has an HttpOnly, SameSite=Strict cookie from then on', async () => {
  const login = (value) => server.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token: value }) });
  assert.equal((await login('wrong')).status, 401);
  const answer = await login(token);
  assert.ok(answer.ok);
  const cookie = answer.headers.get('set-cookie');
  assert.match(cookie, /HttpOnly/i);
  assert.match(cookie, /SameSite=Strict/i);
  const session = { Cookie: cookie.split(';')[0] };
  assert.equal((await server.api('/jobs', { headers: session })).status, 200);
  const write = (headers) => server.api('/jobs', { method: 'POST', body: JSON.stringify(tiny()), headers: { 'Content-Type': 'application/json', ...session, ...headers } });
  assert.equal((await write({ Origin: 'http://evil.example' })).status, 403);
  assert.equal((await write({ Origin: server.url })).status, 201);
  assert.ok((await server.api('/session', { method: 'DELETE', headers: { ...session, Origin: server.url } })).ok);
  assert.equal((await server.api('/jobs', { headers: session })).status, 401);
});

test('the token is stored hashed only', async () => {
  const { readFileSync, readdirSync } = await import('node:fs');
  for (const file of readdirSync(server.dataDir).filter((name) => name.startsWith('tokenfate.db'))) {
    assert.equal(readFileSync(`${server.dataDir}/${file}`).includes(token), false, file);
  }
});
