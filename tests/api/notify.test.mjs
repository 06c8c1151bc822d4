// Messages that jobs have ended: signed, kept until they are delivered, one for a sweep, and only to
// addresses that may be reached.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { finished, submit, tiny } from '../lib/experiments.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';

const data = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
const ALLOWED = ['--notify-private', '127.0.0.0/8, ::1'];
let server;
const start = async (args = ALLOWED) => { server = await startServer({ args, dataDir: data }); };

// A receiver that keeps what it gets; answer(request, n) tells the status of the n-th.
class Receiver {
  constructor() {
    this.got = [];
    this.answer = () => 204;
  }

  async listen(port = 0) {
    this.server = http.createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request.setEncoding('utf8')) body += chunk;
      const message = { path: request.url, headers: request.headers, body };
      const status = this.answer(message, this.got.push(message));
      if (status) response.writeHead(status, status === 302 ? { Location: '/elsewhere' } : {}).end();
    });
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  async close() {
    this.server.closeAllConnections?.();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async until(n, seconds = 60) {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
      if (this.got.length >= n) return this.got;
    }
    throw new Error(`${this.got.length} of ${n} messages: ${JSON.stringify(this.got)}\n${server.log()}`);
  }
}
const receiver = new Receiver();

const ask = async (method, route, body) => {
  const answer = await server.api(route, {
    method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json().catch(() => null) };
};
const ok = async (...request) => {
  const { status, body } = await ask(...request);
  assert.ok(status < 300, `${request[0]} ${request[1]}: ${status} ${JSON.stringify(body)}`);
  return body;
};
const short = (change) => tiny({ train: { epochs: 2 }, ...change });
const pending = async () => (await ok('GET', '/users/local/notify')).pending;

before(async () => {
  await receiver.listen();
  await start();
});
after(async () => {
  await server.stop();
  await receiver.close();
  removeFolder(data);
});

test('a job tells its own addresses and those of its user, signed, in three formats', { timeout: 120_000 }, async () => {
  const { secret } = await ok('POST', '/users/local/notify_secret');
  const mine = await ok('POST', '/users/local/notify', { url: `${receiver.url}/mine?key=hidden`, on: ['succeeded', 'failed'] });
  assert.deepEqual([mine.url, mine.on, mine.format], [`${receiver.url}/\u2026`, ['succeeded', 'failed'], 'json']);
  const told = await ok('GET', '/users/local/notify');
  assert.deepEqual(told, { notify: [mine], has_secret: true, pending: [] });
  const job = await submit(server, { ...short({ name: 'a <b> & c' }), notify: [
    { url: `http://user:word@127.0.0.1:${receiver.port}/slack/T0/secret`, format: 'slack', on: ['succeeded'] },
    { url: `${receiver.url}/ntfy`, format: 'ntfy' },
    { url: `${receiver.url}/failures`, on: ['failed'] },
  ] });
  assert.deepEqual(job.notify.map(({ url, format }) => [url, format]), [[`${receiver.url}/\u2026`, 'slack'], [`${receiver.url}/\u2026`, 'ntfy'], [`${receiver.url}/\u2026`, 'json']]);
  assert.ok(!JSON.stringify(job).includes('secret'), 'no address in the answer, and none in the spec');
  const ended = await finished(server, job.id);
  const got = await receiver.until(3);
  const at = (where) => got.filter(({ path: found }) => found.startsWith(where));
  const [json] = at('/mine?key=hidden');
  const message = JSON.parse(json.body);
  assert.deepEqual([message.event, message.job.id, message.job.state], ['succeeded', job.id, 'succeeded']);
  assert.ok(Math.abs(message.job.loss - ended.summary.loss) < 1e-9);
  assert.equal(json.headers['tokenfate-id'], message.id);
  for (const { headers, body } of got) {
    const wanted = createHmac('sha256', secret).update(`${headers['tokenfate-timestamp']}.${body}`).digest('hex');
    assert.equal(headers['tokenfate-signature'], `sha256=${wanted}`);
    assert.ok(Math.abs(Number(headers['tokenfate-timestamp']) - Date.now() / 1000) < 120);
  }
  assert.equal(new Set(got.map(({ headers }) => headers['tokenfate-id'])).size, 3);
  const [slack] = at('/slack/T0/secret');
  assert.match(JSON.parse(slack.body).text, /^a &lt;b&gt; &amp; c \(local\) succeeded at epoch 2 of 2, loss \d/);
  const [ntfy] = at('/ntfy');
  assert.match(ntfy.body, /^a <b> & c \(local\) succeeded/);
  assert.deepEqual([ntfy.headers.title, ntfy.headers['content-type']], ['tokenfate: succeeded', 'text/plain; charset=utf-8']);

  const held = await submit(server, { ...tiny({ train: { epochs: 100_000 } }), notify: [{ url: `${receiver.url}/held`, on: ['held'] }] });
  await ok('POST', `/jobs/${held.id}/hold`);
  const [, , , holding] = await receiver.until(4);
  assert.deepEqual([holding.path, JSON.parse(holding.body).event], ['/held', 'held']);
  await ok('POST', `/jobs/${held.id}/cancel`);
  assert.equal((await ask('DELETE', `/users/local/notify/${mine.id}`)).status, 204);
  assert.equal((await ask('DELETE', `/users/local/notify/${mine.id}`)).status, 404);
  assert.deepEqual(await pending(), []);
});

test('of a sweep there is one message, at its end', { timeout: 120_000 }, async () => {
  const before = receiver.got.length;
  const sweep = await ok('POST', '/sweeps', { name: 'three', base: short(), vary: { 'train.seed': [1, 2, 3] }, notify: [{ url: `${receiver.url}/sweep` }] });
  assert.equal(sweep.notify.length, 1);
  const got = await receiver.until(before + 1);
  const { event, sweep: told } = JSON.parse(got[before].body);
  assert.deepEqual([event, told], ['succeeded', { id: sweep.id, name: 'three', user: 'local', jobs: { succeeded: 3 } }]);
  await finished(server, (await submit(server, { ...short(), notify: [{ url: `${receiver.url}/later` }] })).id);
  assert.equal((await receiver.until(before + 2))[before + 1].path, '/later', 'no second one');
});

test('what is not delivered is tried again: faults, silence, redirects, kill -9', { timeout: 180_000 }, async () => {
  receiver.got.length = 0;
  // The first try of each path fails in its own way.
  const first = { '/broken': 500, '/moved': 302, '/silent': 0 };
  const seen = new Set();
  receiver.answer = ({ path: where }) => {
    if (seen.has(where) || !(where in first)) return 200;
    seen.add(where);
    return first[where];
  };
  const paths = ['/broken', '/moved', '/silent', '/good'];
  await submit(server, { ...short(), notify: paths.map((where) => ({ url: receiver.url + where })) });
  const got = await receiver.until(7, 90);
  const ids = (where) => got.filter((message) => message.path === where).map(({ headers }) => headers['tokenfate-id']);
  for (const where of ['/broken', '/moved', '/silent']) {
    assert.equal(ids(where).length, 2, where);
    assert.equal(new Set(ids(where)).size, 1, `${where}: one id`);
  }
  assert.equal(ids('/good').length, 1);
  assert.equal(ids('/elsewhere').length, 0, 'a redirect is not followed');
  for (const end = Date.now() + 20_000; (await pending()).length && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 50));

  receiver.got.length = 0;
  await receiver.close();
  const { id } = await submit(server, { ...short(), notify: [{ url: `${receiver.url}/after` }] });
  await finished(server, id);
  let [waiting] = await pending();
  for (const end = Date.now() + 20_000; !waiting.error && Date.now() < end; [waiting] = await pending()) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.match(waiting.error, /connect/);
  await server.kill();
  await receiver.listen(receiver.port);
  await start();
  const [message] = await receiver.until(1);
  assert.equal(message.headers['tokenfate-id'], waiting.id);
  assert.equal(JSON.parse(message.body).job.id, id);
});

test('private addresses are not connected to unless the setting allows them', { timeout: 120_000 }, async () => {
  receiver.got.length = 0;
  await server.stop();
  await start([]);
  const urls = [`${receiver.url}/a`, `http://localhost:${receiver.port}/b`, `http://[::ffff:127.0.0.1]:${receiver.port}/c`, `http://0:${receiver.port}/d`];
  await submit(server, { ...short(), notify: urls.map((url) => ({ url })) });
  let all = [];
  for (const end = Date.now() + 60_000; Date.now() < end && !(all.length === 4 && all.every(({ error }) => error)); all = await pending()) await new Promise((resolve) => setTimeout(resolve, 50));
  for (const { error } of all) assert.match(error, /private/);
  assert.equal(all.length, 4);
  assert.deepEqual(receiver.got, []);
  await server.stop();
  await start();
  await receiver.until(3);
  assert.deepEqual(receiver.got.map(({ path: where }) => where).sort(), ['/a', '/b', '/c'], '0.0.0.0 is not in the list');
});

test('bad lists are refused, and name what is wrong', async () => {
  const bad = [
    [{}, '/notify'], [[{}], '/notify/0/url'], [[{ url: 'ftp://x/' }], '/notify/0/url'], [[{ url: 'http://' }], '/notify/0/url'], [[{ url: 1 }], '/notify/0/url'],
    [[{ url: 'http://x/', on: ['ended'] }], '/notify/0/on/0'], [[{ url: 'http://x/', on: [] }], '/notify/0/on'], [[{ url: 'http://x/', format: 'xml' }], '/notify/0/format'],
    [[{ url: 'http://x/', to: 1 }], '/notify/0/to'], [Array(11).fill({ url: 'http://x/' }), '/notify'], [[{ url: `http://x/${'y'.repeat(2100)}` }], '/notify/0/url'],
  ];
  for (const [notify, pointer] of bad) {
    for (const [route, body] of [['/jobs', { ...short(), notify }], ['/sweeps', { base: short(), vary: { 'train.seed': [1] }, notify }]]) {
      const answer = await ask('POST', route, body);
      assert.deepEqual([answer.status, answer.body.errors?.[0].pointer], [422, pointer], JSON.stringify(notify).slice(0, 100));
    }
  }
  const own = await ask('POST', '/users/local/notify', { url: 'mailto:x' });
  assert.deepEqual([own.status, own.body.errors[0].pointer], [422, '/url']);
  for (let i = 0; i < 10; i++) await ok('POST', '/users/local/notify', { url: `http://example.org/${i}` });
  assert.equal((await ask('POST', '/users/local/notify', { url: 'http://example.org/more' })).status, 409);
});
