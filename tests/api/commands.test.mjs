// `tokenfate user` and `token`: the same words and the same results through a
// running server and without one.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';

// A proxy that the environment names must never see the secret.
const env = { ...process.env, http_proxy: 'http://127.0.0.1:9', all_proxy: 'http://127.0.0.1:9', no_proxy: '' };
const command = (data, ...words) => {
  const { status, stdout, stderr } = spawnSync(BINARY, [...words, '--data', data], { env, encoding: 'utf8' });
  return { code: status, out: stdout.trim(), err: stderr.trim() };
};
const folder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-commands-'));
const whoami = async (server, token) => {
  const answer = await server.api('/whoami', { headers: { Authorization: `Bearer ${token}` } });
  const { limits, ...who } = await answer.json(); // user_limits.test.mjs
  return { status: answer.status, ...who };
};

// expect(token, status): is it accepted or refused?
async function everything(data, expect) {
  const run = (...words) => command(data, ...words);
  const done = (...words) => {
    const { code, out, err } = run(...words);
    assert.deepEqual([code, err], [0, ''], words.join(' '));
    return out;
  };
  const refused = (words, why) => {
    const { code, out, err } = run(...words);
    assert.deepEqual([code, out], [1, ''], words.join(' '));
    assert.match(err, why);
  };
  done('user', 'add', 'ada', '--admin');
  done('user', 'add', 'ben');
  refused(['user', 'add', 'ben'], /there is a user "ben" already/);
  refused(['user', 'add', 'a/b'], /\/name: "a\/b" has other characters/);
  refused(['user', 'disable', 'carl'], /there is no user "carl"/);
  assert.match(done('user', 'list'), /^ada +admin +active [^]*^ben +user +active /m);
  done('user', 'bind', 'ben', '23200');
  refused(['user', 'bind', 'ada', '23200'], /uid 23200 is ben already/);
  refused(['user', 'bind', 'ada', '-'], /UID: "-" is not an integer/);
  refused(['user', 'bind', 'ada', '4294967295'], /UID: "?4294967295/);
  refused(['user', 'bind', 'carl', '23201'], /there is no user "carl"/);
  assert.match(done('user', 'list'), /^ben +user +active +\S+ uid 23200$/m);
  done('user', 'unbind', 'ben');
  assert.doesNotMatch(done('user', 'list'), /uid/);

  const token = done('token', 'issue', 'ben', 'laptop');
  const other = done('token', 'issue', 'ben');
  assert.match(token, /^tf_[0-9a-f]{64}$/);
  await expect(token, 200);
  const lines = done('token', 'list', 'ben').split('\n');
  assert.match(lines[0], /^[0-9a-f]{16} ben +\d{4}-\d\d-\d\d - +laptop$/);
  assert.match(lines[1], /command line$/);
  refused(['token', 'issue', 'ben', 'a\u001b[2J'], /\/label: .*control/);
  refused(['token', 'issue', 'carl'], /there is no user "carl"/);

  done('user', 'disable', 'ben');
  assert.match(done('user', 'list'), /^ben +user +disabled /m);
  await expect(token, 401);
  refused(['token', 'issue', 'ben'], /ben is disabled/);
  done('user', 'enable', 'ben');
  await expect(token, 200);

  const ending = done('token', 'issue', 'ben', '--expires-in', '86400', 'a day');
  await expect(ending, 200);
  const listed = done('token', 'list', 'ben').split('\n').find((line) => line.endsWith('a day'));
  assert.match(listed, /\d{4}-\d\d-\d\d \d{4}-\d\d-\d\dT\d\d:\d\dZ a day$/);
  const rotated = done('token', 'rotate', ending);
  assert.notEqual(rotated, ending);
  await expect(rotated, 200);
  assert.equal(done('token', 'list', 'ben').match(/Z a day$/gm).length, 2);
  done('token', 'revoke', ending);
  done('token', 'revoke', done('token', 'rotate', rotated));
  done('token', 'revoke', rotated);
  done('token', 'revoke', done('token', 'issue', 'ben', '--expires-at', '2030-01-01T00:00:00Z'));
  refused(['token', 'issue', 'ben', '--expires-at', '2020-01-01T00:00:00Z'], /\/expires_at: -\d+ s from now/);
  refused(['token', 'issue', 'ben', '--expires-at', 'soon'], /"soon" is not a time/);
  refused(['token', 'rotate', 'tf_nothing'], /no such token/);
  done('token', 'revoke', token);
  await expect(token, 401);
  await expect(other, 200);
  refused(['token', 'revoke', token], /no such token/);
  done('token', 'revoke', lines[1].slice(0, 16));
  await expect(other, 401);
  assert.equal(done('token', 'list', 'ben'), '');
  for (const words of [['user', 'add'], ['user', 'enable'], ['user', 'add', 'x', 'y'], ['token', 'issue'], ['token', 'revoke']])
    assert.equal(run(...words).code, 2, words.join(' '));
}

test('through a running server that wants credentials', async () => {
  const server = await startServer({ args: ['--auth', 'on'] });
  try {
    const began = Date.now();
    await everything(server.dataDir, async (token, status) => assert.equal((await whoami(server, token)).status, status));
    assert.ok(Date.now() - began < 20000, 'nobody waited for the lock');
    command(server.dataDir, 'user', 'disable', 'admin');
    const last = command(server.dataDir, 'user', 'disable', 'ada');
    assert.equal(last.code, 1);
    assert.match(last.err, /ada is the last administrator/);
  } finally { await server.stop(); }
});

test('through a running server that wants none', async () => {
  const server = await startServer();
  try {
    await everything(server.dataDir, async (token) => assert.equal((await whoami(server, token)).name, 'local'));
    assert.match(command(server.dataDir, 'user', 'list').out, /^ada +admin/m);
  } finally { await server.stop(); }
});

test('without a server', async () => {
  const data = folder();
  await everything(data, async (token, status) => {
    const server = await startServer({ args: ['--auth', 'on'], dataDir: data });
    const who = await whoami(server, token);
    await server.stop();
    assert.equal(who.status, status);
  });
  removeFolder(data);
});

test('the secret is for its owner alone, of one run, and makes nobody a session', async () => {
  const data = folder();
  const start = () => startServer({ args: ['--auth', 'on'], dataDir: data });
  const file = path.join(data, 'secret');
  const first = await start();
  const secret = fs.readFileSync(file, 'utf8').trim();
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.match(secret, /^tf_[0-9a-f]{64}$/);
  assert.deepEqual(await whoami(first, secret), { status: 200, name: 'local', admin: true, auth: true });
  for (const wrong of [secret.slice(0, -1), `${secret}0`, secret.replace(/.$/, (last) => (last === '0' ? '1' : '0'))])
    assert.equal((await whoami(first, wrong)).status, 401);
  const login = await first.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token: secret }) });
  assert.equal(login.status, 401);
  assert.equal(first.log().includes(secret), false);
  await first.kill();
  assert.ok(fs.existsSync(file));
  const second = await start();
  assert.equal((await whoami(second, secret)).status, 401);
  await second.stop();
  assert.equal(fs.existsSync(file) || fs.existsSync(path.join(data, 'address')), false);
  removeFolder(data);
});

test('the data folder is for its owner alone: made so, and corrected at the start', async () => {
  const above = folder();
  const data = path.join(above, 'made', 'data');
  const mode = (at) => fs.statSync(at).mode & 0o777;
  await (await startServer({ dataDir: data })).stop();
  assert.equal(mode(data), 0o700);
  fs.chmodSync(data, 0o755);
  const second = await startServer({ dataDir: data });
  assert.match(second.log(), /data was open to others \(mode 0755\): it is 0700/);
  assert.equal(mode(data), 0o700);
  await second.stop();
  const third = await startServer({ dataDir: data });
  assert.doesNotMatch(third.log(), /open to others/);
  await third.stop();
  fs.rmSync(data, { recursive: true });
  assert.equal(command(data, 'user', 'add', 'ada').code, 0);
  assert.equal(mode(data), 0o700);
  removeFolder(above);
});

test('compact gives space back without a server, and refuses beside one', async () => {
  const data = folder();
  const database = path.join(data, 'tokenfate.db');
  const run = (...words) => command(data, 'compact', ...words);
  assert.match(run().err, /tokenfate\.db: No such file/);
  const server = await startServer({ dataDir: data });
  const beside = run();
  assert.deepEqual([beside.code, beside.out], [1, '']);
  assert.match(beside.err, /a tokenfate server is running on/);
  await server.stop();
  const fill = 'CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(8000000)); DROP TABLE filler';
  execFileSync('python3', ['-c', 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])', database, fill]);
  const before = fs.statSync(database).size;
  assert.ok(before > 8000000);
  assert.equal(run('now').code, 2);
  assert.deepEqual(run(), { code: 0, out: '', err: '' });
  assert.ok(fs.statSync(database).size < before / 10);
  await (await startServer({ dataDir: data })).stop();
  removeFolder(data);
});

test('a lock whose holder does not answer is waited for', async () => {
  const data = folder();
  const holder = spawn('flock', ['-F', path.join(data, 'lock'), 'sleep', '1.5']);
  await new Promise((resolve) => { setTimeout(resolve, 300); });
  fs.writeFileSync(path.join(data, 'address'), 'http://127.0.0.1:9\n'); // of a server that was killed
  fs.writeFileSync(path.join(data, 'secret'), 'tf_0\n');
  assert.deepEqual(command(data, 'user', 'add', 'ada'), { code: 0, out: '', err: '' });
  await new Promise((resolve) => { if (holder.exitCode === null) holder.on('exit', resolve); else resolve(); });
  const longer = spawn('flock', ['-F', path.join(data, 'lock'), 'sleep', '30']);
  await new Promise((resolve) => { setTimeout(resolve, 300); });
  const { code, err } = command(data, 'user', 'add', 'ben');
  longer.kill();
  assert.equal(code, 1);
  assert.match(err, /a server holds .* does not answer/);
  removeFolder(data);
});

test('what answers in other words than ours is no success', async () => {
  const data = folder();
  const holder = spawn('flock', ['-F', path.join(data, 'lock'), 'sleep', '30']);
  const other = net.createServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')));
  await new Promise((resolve) => { other.listen(0, '127.0.0.1', resolve); });
  fs.writeFileSync(path.join(data, 'address'), `http://127.0.0.1:${other.address().port}\n`);
  fs.writeFileSync(path.join(data, 'secret'), 'tf_0\n');
  await new Promise((resolve) => { setTimeout(resolve, 300); });
  const child = spawn(BINARY, ['user', 'add', 'ada', '--data', data]);
  let text = '';
  child.stderr.on('data', (chunk) => (text += chunk));
  const code = await new Promise((resolve) => { child.on('exit', resolve); });
  holder.kill();
  other.close();
  assert.equal(code, 1);
  assert.match(text, /words that are not ours/);
  removeFolder(data);
});
