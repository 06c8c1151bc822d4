// limits of connections, against the real binary: requests that come a byte at a time end, one
// address does not take the connections of others, and few descriptors are no silence.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { submit, tiny } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

const MOST = 200; // connections in all
const EACH = MOST / 4; // of one address
const LATE_MS = 10_000; // head_seconds is 1 here; a busy machine looks late

let server;
before(async () => {
  server = await startServer({ args: ['--head-seconds', '1', '--max-connections', String(MOST), '--unlimited-addresses', '127.0.0.1'] });
});
after(async () => { assert.deepEqual(await server.stop(), { code: 0, signal: null }); });

// A connection from a loopback address that sends `text`, and then a byte now and then. All it
// was answered, once it has ended, and after how many ms.
function trickle(text, { localAddress = '127.0.0.1', byte = 'a', every = 100 } = {}) {
  const { hostname: host, port } = new URL(server.url);
  const began = performance.now();
  let answer = '';
  const socket = net.connect({ host, port: Number(port), localAddress });
  socket.on('connect', () => socket.write(text));
  const timer = byte && setInterval(() => socket.write(byte), every);
  const ended = new Promise((resolve) => {
    socket.on('data', (data) => { answer += data; }).on('error', () => {}).on('close', () => {
      clearInterval(timer);
      resolve({ answer, ms: performance.now() - began });
    });
  });
  return { socket, ended };
}

const statusFrom = (localAddress, url = server.url) => new Promise((resolve, reject) => {
  http.get(`${url}/healthz`, { localAddress, agent: false, timeout: LATE_MS }, (answer) => {
    answer.resume().on('end', () => resolve(answer.statusCode));
  }).on('error', reject).on('timeout', function late() { this.destroy(new Error('no answer')); });
});

const late = (ended, why) => {
  assert.match(ended.answer, new RegExp(`HTTP/1.1 408 [^]*problem\\+json[^]*"code":"slow"[^]*${why}`));
  assert.ok(ended.ms > 900 && ended.ms < LATE_MS, `${ended.ms} ms`);
};

test('a head that comes a byte at a time is ended with 408, on a kept connection too', async () => {
  const whole = 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
  const [head, line, kept] = await Promise.all([
    trickle('GET /healthz HTTP/1.1\r\nX: ').ended, trickle('GET /').ended, trickle(`${whole}GET /`).ended,
  ]);
  late(head, 'head');
  late(line, 'head');
  assert.match(kept.answer, /^HTTP\/1.1 200 /);
  late(kept, 'head');
});

test('a body that comes a byte at a time is ended with 408; one that is slow enough is not', async () => {
  const post = (length) => `POST /api/v1/tokenize HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  const refused = post(1000).replace('tokenize', 'nothing');
  const [slow, drained, fast] = await Promise.all([
    trickle(post(1000)).ended, trickle(refused).ended,
    trickle(`${post(4000)}{"text": "${'a'.repeat(4000 - 12 - 15)}`, { byte: 'b', every: 150 }).ended, // 15 bytes take 2 s
  ]);
  late(slow, 'bytes of the body');
  late(drained, 'bytes of the body');
  assert.match(fast.answer, /^HTTP\/1.1 400 /); // it has no end: read whole, and then refused
});

test('half-sent requests of one address leave the others their answers', async () => {
  const held = Array.from({ length: MOST + 20 }, () => trickle('GET /healthz HTTP/1.1\r\n', { localAddress: '127.0.0.2', byte: '' }));
  const refusals = held.slice(0, -EACH).map(({ ended }) => ended);
  const first = await Promise.race(refusals);
  assert.match(first.answer, /^HTTP\/1.1 429 [^]*Retry-After: \d+[^]*problem\+json|problem\+json[^]*Retry-After: \d+/);
  assert.equal(await statusFrom('127.0.0.3'), 200);
  assert.equal(await statusFrom('127.0.0.1'), 200);
  held.forEach(({ socket }) => socket.destroy());
});

test('beyond all connections the answer is 503 with Retry-After, and then there is room again', async () => {
  const held = Array.from({ length: MOST + 30 }, () => trickle('', { byte: '' }));
  const answers = await Promise.all(Array.from({ length: 30 }, () => Promise.race(held.map(({ ended }) => ended))));
  assert.match(answers[0].answer, /^HTTP\/1.1 503 [^]*Retry-After: \d+/);
  held.forEach(({ socket }) => socket.destroy());
  let status;
  for (let tries = 0; tries < 100 && status !== 200; tries++) {
    status = await statusFrom('127.0.0.1');
    await sleep(20);
  }
  assert.equal(status, 200);
});

test('with 64 descriptors the server says what it serves, and serves it', async () => {
  const small = await startServer({ files: 64 });
  const [, most] = /max_connections is (\d+) instead of 2000: the limit of open files \(ulimit -n\) is 64/.exec(small.log());
  const { hostname: host, port } = new URL(small.url);
  const sockets = Array.from({ length: 100 }, () => net.connect({ host, port: Number(port) }).on('error', () => {}));
  const refused = await new Promise((resolve) => sockets.forEach((socket) => socket.on('data', (data) => resolve(String(data)))));
  assert.match(refused, new RegExp(`^HTTP/1.1 503 [^]*"${most} connections are open`));
  sockets.forEach((socket) => socket.destroy());
  await sleep(200);
  assert.equal(await statusFrom('127.0.0.1', small.url), 200);
  await small.stop();
});

test('a limit of the size of files refuses what is larger and does not end the server', async (t) => {
  const small = await startServer();
  try {
    const limited = spawnSync('prlimit', ['--pid', small.pid, '--fsize=2000000']);
    if (limited.status !== 0) return t.skip('needs prlimit of util-linux');
    const upload = (n) => small.api(`/corpora?name=of-${n}`, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'word '.repeat(n) });
    const refused = await upload(600_000);
    assert.equal(refused.status, 500);
    assert.match((await refused.json()).detail, /File too large/);
    assert.equal((await upload(1000)).status, 201);
    // Nor does a job fail for it, or say where the data folder lies.
    const job = await submit(small, tiny({ corpus: { id: 'gulliver-synthetic', tokenizer: 'gpt2' }, model: { d_model: 64 }, train: { epochs: 1 } }));
    let waits;
    for (const end = Date.now() + 60_000; waits?.code !== 'refused' && Date.now() < end; await sleep(50)) ({ waits } = await (await small.api(`/jobs/${job.id}`)).json());
    assert.match(waits.message, /^cpu: cannot write .*File too large/);
    assert.ok(!waits.message.includes(small.dataDir), waits.message);
  } finally {
    await small.stop();
  }
});

test('too few descriptors, and addresses that are none, are told at the start', async () => {
  await assert.rejects(startServer({ files: 40 }), /the limit of 40 open files \(ulimit -n\) is too low: \d+ are needed/);
  await assert.rejects(startServer({ args: ['--trusted-proxies', '10.0.0.0/8, proxy'] }), /trusted_proxies: "proxy" is neither an address nor a network/);
});
