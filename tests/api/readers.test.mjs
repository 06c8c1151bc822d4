// readers of large answers, against the real binary: others are answered beside them, clients
// that left cost nothing, clients take turns, and an answer in pieces is the same bytes as its
// parts.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../lib/server.mjs';
import { SANITIZED, finished, submit, tiny } from '../lib/experiments.mjs';

const EPOCHS = SANITIZED ? 400 : 1500;
const SECONDS = SANITIZED ? 60 : 10; // a short request beside large ones

let server;
let job;
let large;
before(async () => {
  server = await startServer({
    args: ['--auth', 'off', '--trusted-proxies', '127.0.0.9, 127.0.0.16/28', '--trainer', path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tests/fake_trainer')], env: { FAKE_TRAINER_MS: '0' },
  });
  job = await finished(server, (await submit(server, tiny({ name: 'long', train: { epochs: EPOCHS } }))).id);
  assert.equal(job.state, 'succeeded');
  large = `/api/v1/jobs/${job.id}/epochs?limit=20000`;
});
after(async () => { assert.deepEqual(await server.stop(), { code: 0, signal: null }); });

// A request whose answer nobody reads.
function silent(route, { localAddress, headers = '' } = {}) {
  const { hostname: host, port } = new URL(server.url);
  const socket = net.connect({ host, port: Number(port), localAddress });
  socket.on('error', () => {});
  socket.pause();
  socket.write(`GET ${route} HTTP/1.1\r\nHost: ${host}:${port}\r\n${headers}\r\n`);
  return socket;
}

// A request from a loopback address: its answer with headers and bytes.
function from(localAddress, route, method = 'GET', headers = {}) {
  return new Promise((resolve, reject) => {
    http.request(server.url + route, { method, localAddress, agent: false, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, bytes: Buffer.concat(parts) }));
    }).on('error', reject).end();
  });
}

async function answersSoon(route) {
  const answer = await fetch(server.url + route, { signal: AbortSignal.timeout(1000 * SECONDS) });
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
}

test('short requests are answered beside 40 clients that never read a large answer', async () => {
  const sockets = Array.from({ length: 40 }, () => silent(large));
  await sleep(500);
  for (let i = 0; i < 3; i++) await answersSoon('/api/v1/jobs?limit=1');
  await answersSoon(`/api/v1/jobs/${job.id}/epochs?limit=1`); // a heavy one, too
  sockets.forEach((socket) => socket.destroy());
});

test('clients that left before their turn leave no work behind', async () => {
  const sockets = Array.from({ length: 60 }, () => silent(large));
  await sleep(300);
  sockets.forEach((socket) => socket.destroy());
  await answersSoon(`/api/v1/jobs/${job.id}/epochs?limit=1`);
});

test('the second client is answered before the first one has its tenth answer', async () => {
  const order = [];
  const first = Array.from({ length: 20 }, () => from('127.0.0.1', large).then(({ status }) => order.push(status)));
  await sleep(200);
  const { status } = await from('127.0.0.2', large);
  order.push('second');
  assert.equal(status, 200);
  await Promise.all(first);
  assert.ok(order.indexOf('second') < 9, order.join(' '));
  assert.equal(order.filter((x) => x === 200).length, 20);
});

test('one client has at most 64 large requests under way; others are not refused', async () => {
  const sockets = Array.from({ length: 64 }, () => silent(large));
  await sleep(1000);
  const refused = await from('127.0.0.1', large);
  assert.equal(refused.status, 429);
  assert.match(refused.headers['retry-after'], /^\d+$/);
  assert.equal((await from('127.0.0.2', `/api/v1/jobs/${job.id}/epochs?limit=1`)).status, 200);
  sockets.forEach((socket) => socket.destroy());
});

test('behind a trusted proxy a client is the rightmost address that is no proxy', async () => {
  const proxied = { localAddress: '127.0.0.9', headers: 'X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.17\r\n' };
  const sockets = Array.from({ length: 64 }, () => silent(large, proxied));
  await sleep(1000);
  const one = `/api/v1/jobs/${job.id}/epochs?limit=1`;
  const status = async (address, forwarded) => (await from(address, one, 'GET', { 'X-Forwarded-For': forwarded })).status;
  assert.equal(await status('127.0.0.18', '192.0.2.7, 192.0.2.1'), 429);
  assert.equal(await status('127.0.0.9', '192.0.2.1, 192.0.2.7'), 200);
  assert.equal(await status('127.0.0.9', '192.0.2.1, unknown'), 200); // whoever asked unknown: the proxy itself
  assert.equal(await status('127.0.0.2', '192.0.2.1'), 200); // no proxy, not believed
  sockets.forEach((socket) => socket.destroy());
});

const page = async (route) => (await from('127.0.0.1', `/api/v1/jobs/${job.id}/${route}`)).bytes;

test('an answer in pieces has the bytes of its parts', async () => {
  const whole = await from('127.0.0.1', large);
  assert.equal(whole.headers['transfer-encoding'], 'chunked');
  const rows = [];
  const csv = [];
  const tokens = [];
  const STEP = 20; // epochs of an answer that is one piece
  for (let n = 0; n <= EPOCHS; n += STEP) {
    const text = String(await page(`epochs?from=${n}&limit=${STEP}`));
    rows.push(text.slice(text.indexOf('[') + 1, text.lastIndexOf(']')));
    const lines = (route) => page(route).then((bytes) => String(bytes).split('\r\n'));
    csv.push(...(await lines(`epochs?format=csv&from=${n}&limit=${STEP}`)).slice(n ? 1 : 0, -1));
    tokens.push(...(await lines(`tokens?format=csv&from=${n}&limit=${STEP}`)).slice(n ? 1 : 0, -1));
  }
  // Each row of JSON stands on lines of its own, and the last line of the list differs.
  const json = String(whole.bytes);
  const inside = json.slice(json.indexOf('[') + 1, json.lastIndexOf(']'));
  assert.equal(inside.replaceAll(/\s/g, ''), rows.join(',').replaceAll(/\s/g, ''));
  assert.equal(JSON.parse(json).epochs.length, EPOCHS + 1);
  assert.equal(String(await page('epochs?format=csv')), csv.map((line) => `${line}\r\n`).join(''));
  assert.equal(String(await page('tokens?format=csv')), tokens.map((line) => `${line}\r\n`).join(''));
});

test('HEAD of a large answer has its headers; an answer of one piece has its length', async () => {
  const head = await from('127.0.0.1', large, 'HEAD');
  assert.equal(head.status, 200);
  assert.match(head.headers['content-type'], /json/);
  const { hostname: host, port } = new URL(server.url);
  for (const route of [large, '/api/v1/events', `/api/v1/events?after=0&jobs=${job.id}`]) {
    const text = await new Promise((resolve) => {
      let got = '';
      const socket = net.connect({ host, port: Number(port) }, () => socket.write(`HEAD ${route} HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
      socket.on('data', (data) => { got += data; }).on('close', () => resolve(got)).setTimeout(1000 * SECONDS, () => socket.destroy());
    });
    assert.match(text, /^HTTP\/1\.. 200 /, route);
    assert.equal(text.indexOf('\r\n\r\n'), text.length - 4, 'no body, not even the last chunk');
  }
  const one = await from('127.0.0.1', `/api/v1/jobs/${job.id}/epochs?limit=1`);
  assert.equal(Number(one.headers['content-length']), one.bytes.length);
});

// Milliseconds of processor time that the server has used.
function used() {
  const [, rest] = fs.readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ');
  const fields = rest.split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12])); // 100 ticks a second
}

test('an answer whose client leaves while it is made is not made to its end', async () => {
  const answer = await server.api('/sweeps', { method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ base: tiny({ train: { epochs: EPOCHS } }), vary: { 'train.seed': [1, 2, 3] } }) });
  const sweep = await answer.json();
  for (const { id } of sweep.settings[0].jobs) await finished(server, id);
  const many = Array(20).fill(job.id).join(',');
  for (const route of [`/compare?jobs=${many}&points=1000`, `/sweeps/${sweep.id}?points=1000`, `/jobs/${sweep.settings[0].jobs[0].id}/findings`]) {
    const TIMES = 8;
    const start = performance.now();
    let began = used();
    for (let i = 0; i < TIMES; i++) await answersSoon(`/api/v1${route}`);
    const whole = used() - began;
    const each = (performance.now() - start) / TIMES;
    began = used();
    for (let i = 0; i < TIMES; i++) {
      const socket = silent(`/api/v1${route}`);
      await sleep(each / 4); // it is being made
      socket.destroy();
      await sleep(each);
    }
    await answersSoon(`/api/v1/jobs/${job.id}/epochs?limit=1`); // nothing is left over
    const left = used() - began;
    assert.ok(left < 0.75 * whole, `${route.slice(0, 20)}: ${left} ms of ${whole} ms`);
  }
});

test('a job that is deleted in the middle of its answer breaks the answer off', async () => {
  const doomed = await finished(server, (await submit(server, tiny({ name: 'doomed', train: { epochs: EPOCHS } }))).id);
  const broken = new Promise((resolve, reject) => {
    http.get(`${server.url}/api/v1/jobs/${doomed.id}/epochs?limit=20000`, { agent: false }, async (answer) => {
      assert.equal(answer.statusCode, 200);
      const gone = await server.api(`/jobs/${doomed.id}`, { method: 'DELETE' });
      assert.equal(gone.status, 204);
      answer.on('error', resolve);
      answer.on('end', () => reject(new Error('it ended like a whole one')));
      answer.resume();
    }).on('error', reject);
  });
  assert.equal((await broken).code, 'ECONNRESET');
  assert.match(server.log(), /broken off, /);
});

test('the server ends in time with large answers under way', async () => {
  const sockets = Array.from({ length: 20 }, () => silent(large));
  const reading = Array.from({ length: 4 }, () => from('127.0.0.1', large).catch((error) => error));
  await sleep(500);
  const start = performance.now();
  assert.deepEqual(await server.kill('SIGTERM'), { code: 0, signal: null });
  assert.ok(performance.now() - start < 1000 * (SANITIZED ? 30 : 12), `${performance.now() - start} ms`);
  await Promise.all(reading);
  sockets.forEach((socket) => socket.destroy());
});
