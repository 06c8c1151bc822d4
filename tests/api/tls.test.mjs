// TLS, and what goes in clear without it, against the real binary. The certificate is made for
// this test by openssl, which ca-certificates brings.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { tiny } from '../lib/experiments.mjs';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-tls-'));
const [cert, key, other] = ['cert.pem', 'key.pem', 'other.pem'].map((name) => path.join(folder, name));
const make = (out, keyout) => execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
  '-keyout', keyout, '-out', out, '-days', '2', '-subj', '/CN=lab.example', '-addext', 'subjectAltName=DNS:lab.example,IP:127.0.0.1'], { stdio: 'ignore' });

const socket = path.join(folder, 'socket');
let server, token;
before(async () => {
  make(cert, key);
  make(other, path.join(folder, 'other-key.pem'));
  server = await startServer({ args: ['--socket', socket, '--tls-cert', cert, '--tls-key', key] });
  token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())?.[1];
});
after(async () => {
  await server.stop();
  removeFolder(folder);
});

const call = (route, { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
  const request = https.request(server.url + route, { method, ca: fs.readFileSync(cert), agent: false,
    headers: { Authorization: `Bearer ${token}`, ...headers, ...(body ? { 'Content-Type': 'application/json' } : {}) } }, (answer) => {
    let text = '';
    answer.on('data', (data) => { text += data; }).on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text })).on('error', reject);
  });
  request.on('error', reject).end(body);
});

test('the address is https, answers are read with the certificate, and it is known to the commands', async () => {
  assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await call('/healthz')).status, 200);
  const made = await call('/api/v1/jobs', { method: 'POST', body: JSON.stringify(tiny()) });
  assert.equal(made.status, 201);
  const page = await call('/app.js');
  assert.equal(page.text, fs.readFileSync('web/app.js', 'utf8'));
  const command = (...words) => spawnSync(BINARY, [...words, '--data', server.dataDir], { encoding: 'utf8' });
  const { status, stderr } = command('user', 'add', 'ada');
  assert.deepEqual([status, stderr], [0, '']);
  assert.match((await call('/api/v1/users/ada')).text, /"ada"/);
  // Another server's certificate at this address gets no secret.
  fs.copyFileSync(other, path.join(server.dataDir, 'certificate'));
  const fooled = command('user', 'add', 'ben');
  assert.deepEqual([fooled.status, /certificate/i.test(fooled.stderr)], [1, true], fooled.stderr);
  fs.copyFileSync(cert, path.join(server.dataDir, 'certificate'));
});

test('the Unix socket speaks TLS too, and is known by its path', { skip: process.getuid() > 0 && process.getuid() < 1000 }, () => {
  const env = { ...process.env, XDG_CONFIG_HOME: path.join(folder, 'config') };
  const command = (...words) => spawnSync(BINARY, words, { encoding: 'utf8', env, cwd: folder });
  const login = command('login', '--socket', socket);
  assert.equal(login.status, 0, login.stderr);
  assert.ok(login.stdout.includes(` at ${server.url} (`), login.stdout);
  assert.equal(command('jobs').status, 0);
  // By its address the same server is known to the system's authorities, and this one is not.
  const { status, stderr } = command('jobs', '--url', server.url);
  assert.deepEqual([status, /certificate/i.test(stderr)], [1, true], stderr);
});

test('cookies are Secure, TLS 1.1 and plain HTTP are not spoken', async () => {
  const login = await call('/api/v1/session', { method: 'POST', body: JSON.stringify({ token }) });
  assert.match(login.headers['set-cookie'][0], /; Secure\b/);
  const { port } = new URL(server.url);
  const old = await new Promise((resolve) => {
    tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, () => resolve('spoken')).on('error', (error) => resolve(error.code));
  });
  assert.notEqual(old, 'spoken');
  await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`));
  assert.equal((await call('/healthz')).status, 200);
});

test('events come through TLS, and a stream whose client left is found', async () => {
  const streams = async () => Number(/^tokenfate_event_streams (\d+)/m.exec((await call('/metrics')).text)[1]);
  const stream = await new Promise((resolve, reject) => {
    https.get(`${server.url}/api/v1/events?after=0`, { ca: fs.readFileSync(cert), agent: false, headers: { Authorization: `Bearer ${token}` } }, (answer) => {
      answer.once('data', (data) => resolve({ answer, text: String(data) }));
    }).on('error', reject);
  });
  assert.match(stream.text, /^(retry|id|event|data): |^: /m);
  assert.equal(await streams(), 1);
  stream.answer.destroy();
  for (let tries = 0; tries < 300 && await streams(); tries++) await new Promise((resolve) => { setTimeout(resolve, 50); });
  assert.equal(await streams(), 0);
});

test('a key without its certificate, files that are none, and pairs that do not fit are told at the start', async () => {
  await assert.rejects(startServer({ args: ['--tls-key', key] }), /tls_cert and tls_key belong together: tls_cert is not set/);
  await assert.rejects(startServer({ args: ['--tls-cert', '/nowhere.pem', '--tls-key', key] }), /tls_cert: .*nowhere/);
  await assert.rejects(startServer({ args: ['--tls-cert', other, '--tls-key', key] }), /with tls_cert .*other\.pem: .+/);
});

test('without TLS an address that is not loopback is warned of, unless a proxy is trusted; cookies obey it', async () => {
  const warning = /can read tokens and cookies: set tls_cert and tls_key/;
  const open = await startServer({ args: ['--listen', '0.0.0.0:0'] });
  assert.match(open.log(), warning);
  await open.stop();
  const proxied = await startServer({ args: ['--trusted-proxies', '127.0.0.1'] });
  assert.doesNotMatch(proxied.log(), warning);
  const [, secret] = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(proxied.log()) ?? assert.fail('a trusted proxy brings others: authentication is on');
  const cookie = async (headers) => (await proxied.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify({ token: secret }) })).headers.get('set-cookie');
  assert.match(await cookie({ 'X-Forwarded-Proto': 'https' }), /; Secure\b/);
  assert.doesNotMatch(await cookie({}), /Secure/);
  await proxied.stop();
});
