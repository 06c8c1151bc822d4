// The Unix socket: who asks is told by the kernel. Logins of several accounts, which users they
// become, and the one-time link for a browser.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { removeFolder, startServer } from '../lib/server.mjs';

const ROOT = process.getuid() === 0 && spawnSync('setpriv', ['--version']).status === 0;
const asOthers = ROOT ? {} : { skip: 'only root can ask as another account' };
const GROUP = fs.readFileSync('/etc/group', 'utf8').split('\n').map((line) => line.split(':')).find(([, , gid]) => Number(gid) > 0);
const has = (uid) => fs.readFileSync('/etc/passwd', 'utf8').split('\n').some((line) => line.split(':')[2] === String(uid));
// Accounts without a name on this machine, so that theirs are known: uid23001 and so on.
const [ADA, BEN, CARL, DORA, EVE] = [23001, 23002, 23003, 23004, 23005];
for (const uid of [ADA, BEN, CARL, DORA, EVE]) assert.ok(!has(uid));

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-socket-'));
fs.chmodSync(folder, 0o755); // others reach the socket
const SOCKET = path.join(folder, 'socket');
const start = (...args) => startServer({ args: ['--socket', SOCKET, '--admin-group', GROUP[0], ...args] });
let server, admin;
before(async () => {
  server = await start();
  admin = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
});
after(async () => {
  await server.stop();
  assert.ok(!fs.existsSync(SOCKET), 'the socket goes with its server');
  removeFolder(folder);
});

const request = (route, { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
  const asked = http.request({ socketPath: SOCKET, path: `/api/v1${route}`, method, headers: { Host: 'localhost', ...headers } }, (answer) => {
    let text = '';
    answer.setEncoding('utf8').on('data', (more) => (text += more)).on('end', () => resolve({ status: answer.statusCode, body: text && JSON.parse(text) }));
  });
  asked.on('error', reject);
  asked.end(body);
});
// The same, as another account.
const as = (uid, route, { method = 'POST', groups = '', token } = {}) => {
  const words = ['--reuid', uid, '--regid', uid, groups ? `--groups=${groups}` : '--clear-groups', 'curl', '-sS', '-X', method,
    '-w', '\n%{http_code}', '--unix-socket', SOCKET, ...(token ? ['-H', `Authorization: Bearer ${token}`] : []), `http://localhost/api/v1${route}`];
  const { stdout, stderr } = spawnSync('setpriv', words.map(String), { encoding: 'utf8' });
  const lines = stdout.split('\n');
  const status = Number(lines.pop());
  assert.ok(status, stderr);
  const text = lines.join('\n');
  return { status, body: text ? JSON.parse(text) : null };
};
const over = async (method, route, { token = admin, body } = {}) => {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }) };
  const answer = await server.api(route, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, cookie: answer.headers.get('set-cookie')?.split(';')[0], body: text ? JSON.parse(text) : null };
};
const who = ({ name, admin, auth }) => ({ name, admin, auth });
const whoami = async (token) => who((await over('GET', '/whoami', { token })).body);

test('with a socket authentication is on, and who asks there is nobody yet', async () => {
  assert.equal(fs.statSync(SOCKET).mode & 0o7777, 0o666);
  assert.equal((await request('/version')).status, 200);
  assert.equal((await request('/jobs')).status, 401);
  assert.deepEqual(who((await request('/whoami', { headers: { Authorization: `Bearer ${admin}` } })).body), { name: 'admin', admin: true, auth: true });
});

test('over TCP nobody logs in without a token', async () => {
  const { status, body } = await over('POST', '/login', { token: null });
  assert.deepEqual([status, body.code], [403, 'forbidden']);
  assert.match(body.detail, /Unix socket/);
});

test('an account becomes a user, and the same one each time', asOthers, async () => {
  const first = as(ADA, '/login');
  assert.equal(first.status, 201, JSON.stringify(first.body));
  assert.deepEqual([first.body.name, first.body.admin, first.body.url], [`uid${ADA}`, false, server.url]);
  assert.deepEqual(await whoami(first.body.token), { name: `uid${ADA}`, admin: false, auth: true });
  assert.equal(as(ADA, '/whoami', { method: 'GET', token: first.body.token }).body.name, `uid${ADA}`);
  const second = as(ADA, '/login');
  assert.equal(second.body.name, `uid${ADA}`);
  const { body: { tokens, uid } } = await over('GET', `/users/uid${ADA}`);
  assert.deepEqual([tokens.map(({ label }) => label), uid], [['login', 'login'], ADA]);
  const old = tokens.find(({ id }) => id === first.body.id);
  assert.ok(Date.parse(old.expires_at) - Date.now() <= 60_000, 'the token before ends within a minute');
  assert.equal(tokens.find(({ id }) => id === second.body.id).expires_at, null);
});

test('root and members of admin_group become administrators, once', asOthers, async () => {
  assert.deepEqual([as(0, '/login').body.admin, as(BEN, '/login', { groups: GROUP[2] }).body.admin], [true, true]);
  assert.equal((await over('PATCH', `/users/uid${BEN}`, { body: { admin: false } })).status, 200);
  assert.equal(as(BEN, '/login', { groups: GROUP[2] }).body.admin, false, 'who was demoted is not raised again');
  assert.equal(as(CARL, '/login', { groups: '23099' }).body.admin, false);
});

test('accounts of the system and of services stay outside', asOthers, () => {
  for (const uid of [1, 33, 999, 61184, 65534]) {
    const { status, body } = as(uid, '/login');
    assert.deepEqual([status, body.code], [403, 'forbidden']);
    assert.match(body.detail, new RegExp(`uid ${uid} `));
  }
});

test('a name that is bound is not taken over by another uid', asOthers, async () => {
  assert.equal((await over('POST', '/users', { body: { name: `uid${DORA}` } })).status, 201);
  assert.equal((await over('PATCH', `/users/uid${DORA}`, { body: { uid: 424242 } })).status, 200);
  const refused = as(DORA, '/login');
  assert.deepEqual([refused.status, refused.body.code], [409, 'conflict']);
  assert.match(refused.body.detail, /bound to uid 424242, and you are uid 23004/);
  const taken = await over('PATCH', `/users/uid${DORA}`, { body: { uid: ADA } });
  assert.equal(taken.status, 409);
  assert.match(taken.body.detail, new RegExp(`uid ${ADA} is uid${ADA} already`));
  assert.equal((await over('PATCH', `/users/uid${DORA}`, { body: { uid: null } })).body.uid, null);
  assert.equal(as(DORA, '/login').status, 201);
  for (const uid of [-1, 1.5, '7', 4294967295]) {
    const bad = await over('PATCH', `/users/uid${DORA}`, { body: { uid } });
    assert.deepEqual([bad.status, bad.body.errors[0].pointer], [422, '/uid']);
  }
});

test('an administrator\'s name is for accounts that may be one', asOthers, async () => {
  assert.equal((await over('POST', '/users', { body: { name: `uid${EVE}`, admin: true } })).status, 201);
  const refused = as(EVE, '/login');
  assert.equal(refused.status, 403);
  assert.match(refused.body.detail, /is an administrator, and your account may not be one/);
  assert.equal(as(EVE, '/login', { groups: GROUP[2] }).status, 201);
});

test('a disabled user does not log in', asOthers, async () => {
  const { token } = as(CARL, '/login').body;
  assert.equal((await over('PATCH', `/users/uid${CARL}`, { body: { disabled: true } })).status, 200);
  assert.equal((await over('GET', '/whoami', { token })).status, 401);
  const refused = as(CARL, '/login');
  assert.equal(refused.status, 409);
  assert.match(refused.body.detail, /is disabled/);
  assert.equal((await over('PATCH', `/users/uid${CARL}`, { body: { disabled: false } })).status, 200);
  assert.equal(as(CARL, '/login').status, 201);
});

test('a link lets one browser in, once', async () => {
  const link = async (token = admin) => (await over('POST', '/login/link', { token })).body;
  const open = (code) => over('POST', '/session', { token: null, body: { link: code } });
  const { code, expires_in } = await link();
  assert.deepEqual([code.length, expires_in], [64, 60]);
  const opened = await open(code);
  assert.deepEqual([opened.status, opened.body.name], [200, 'admin']);
  const page = await server.api('/whoami', { headers: { Cookie: opened.cookie } });
  assert.equal((await page.json()).name, 'admin');
  const again = await open(code);
  assert.equal(again.status, 401);
  assert.match(again.body.detail, /was used/);
  const [first, second] = [await link(), await link()];
  assert.deepEqual([(await open(first.code)).status, (await open(second.code)).status], [401, 200]);
  // Who has no token of a user makes no link.
  assert.equal((await over('POST', '/login/link', { token: null })).status, 401);
  const secret = fs.readFileSync(path.join(server.dataDir, 'secret'), 'utf8').trim();
  assert.equal((await over('POST', '/login/link', { token: secret })).status, 403);
  // A link whose token was revoked lets nobody in.
  const made = (await over('POST', '/users/admin/tokens', { body: {} })).body;
  const late = await link(made.token);
  assert.equal((await over('DELETE', `/users/admin/tokens/${made.id}`)).status, 204);
  assert.equal((await open(late.code)).status, 401);
  assert.equal((await over('POST', '/session', { body: { link: 5 } })).body.errors[0].pointer, '/link');
});

test('connections on the socket count by account', asOthers, async () => {
  const small = path.join(folder, 'small');
  const other = await startServer({ args: ['--socket', small, '--address-connections', '3'] });
  const held = [];
  try {
    const connect = () => new Promise((resolve) => {
      const socket = net.connect(small, () => resolve(socket));
      socket.on('error', () => {});
      held.push(socket);
    });
    for (let i = 0; i < 3; i++) await connect();
    const fourth = await connect();
    const text = await new Promise((resolve) => { let all = ''; fourth.setEncoding('utf8').on('data', (more) => (all += more)).on('close', () => resolve(all)); });
    assert.match(text, /^HTTP\/1.1 429 [^]*of your account are open/);
    const words = ['--reuid', '23001', '--regid', '23001', '--clear-groups', 'curl', '-sS', '--unix-socket', small, 'http://localhost/healthz'];
    assert.equal(spawnSync('setpriv', words, { encoding: 'utf8' }).status, 0);
  } finally {
    held.forEach((socket) => socket.destroy());
    await other.stop();
  }
});

test('more connections than the service has places for do not stop it', async () => {
  const small = path.join(folder, 'full');
  const other = await startServer({ args: ['--socket', small, '--max-connections', '10', '--unlimited-addresses', '127.0.0.1'] });
  const ways = [{ path: small }, { host: '127.0.0.1', port: Number(new URL(other.url).port) }];
  try {
    for (const way of ways) { // each has its turn, then both at once
      const held = await Promise.all(Array.from({ length: 100 }, (_, i) => new Promise((resolve) => {
        const socket = net.connect(i % 5 ? way : ways[0], () => resolve(socket));
        socket.on('error', () => resolve(socket));
      })));
      await Promise.all(held.map((socket) => new Promise((resolve) => { socket.on('close', resolve).resume(); setTimeout(resolve, 500); })));
      held.forEach((socket) => socket.destroy());
      for (let alive = false, end = Date.now() + 20_000; !alive;) { // places come free as the ends are seen
        const answer = await fetch(`${other.url}/healthz`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
        alive = answer?.status === 200;
        assert.ok(alive || Date.now() < end, 'the service answers again');
      }
    }
  } finally {
    await other.stop();
  }
});

test('users that are there alone, if the setting says so; a socket that is taken; one that was left', asOthers, async () => {
  const only = path.join(folder, 'known');
  fs.writeFileSync(only, '');
  await assert.rejects(startServer({ args: ['--socket', only] }), /known is there already, and is no socket/);
  fs.unlinkSync(only);
  await assert.rejects(startServer({ args: ['--socket', SOCKET] }), /somebody listens on it/);
  await assert.rejects(startServer({ args: ['--socket', path.join(folder, 'x'.repeat(120))] }), /socket: .* 107 are possible/);
  await assert.rejects(startServer({ args: ['--socket', only, '--admin-group', 'no such'] }), /no group "no such"/);
  const killed = await startServer({ args: ['--socket', only] });
  await killed.kill();
  assert.ok(fs.existsSync(only));
  const other = await startServer({ args: ['--socket', only, '--socket-users', 'known'] });
  const words = ['--reuid', '23001', '--regid', '23001', '--clear-groups', 'curl', '-sS', '-X', 'POST', '--unix-socket', only, 'http://localhost/api/v1/login'];
  const { detail } = JSON.parse(spawnSync('setpriv', words, { encoding: 'utf8' }).stdout);
  assert.match(detail, /there is no user uid23001, and an administrator has to make one/);
  await other.stop();
  removeFolder(killed.dataDir);
});
