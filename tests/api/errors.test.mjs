// Hostile and mistaken requests: every one is answered as API.md says, names the
// field and the value, and the service goes on.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { startServer } from '../lib/server.mjs';
import { tiny, finished, submit } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const send = async (body, headers = { 'Content-Type': 'application/json' }, path = '/jobs', method = 'POST') => {
  const answer = await server.api(path, { method, headers, body });
  assert.equal(answer.headers.get('content-type'), 'application/problem+json', `${method} ${path}`);
  const problem = await answer.json();
  assert.equal(problem.status, answer.status);
  for (const key of ['type', 'title', 'detail']) assert.equal(typeof problem[key], 'string', key);
  return problem;
};

const cases = [
  ['not JSON', '{"name": ', 400, null],
  ['empty body', '', 400, null],
  ['an array', '[]', 400, null],
  ['a duplicate field', '{"name": "a", "name": "b"}', 400, null],
  ['NaN for a number', '{"train": {"lr": NaN}}', 422, '/train/lr'],
  ['a negative NaN', '{"train": {"lr": -NaN}}', 422, '/train/lr'],
  ['a number beyond a double', '{"train": {"lr": 1e999}}', 422, '/train/lr'],
  ['an integer beyond 64 bits', '{"train": {"seed": 99999999999999999999}}', 422, '/train/seed'],
  ['NaN for a text', '{"name": NaN}', 400, null],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, null],
  ['an unknown field', { train: { learning_rate: 1 } }, 422, '/train/learning_rate'],
  ['an unknown section', { trian: {} }, 422, '/trian'],
  ['heads that do not divide', { model: { d_model: 100, n_heads: 12 } }, 422, '/model/d_model'],
  ['a string for a number', { train: { lr: '0.1' } }, 422, '/train/lr'],
  ['a negative learning rate', { train: { lr: -1 } }, 422, '/train/lr'],
  ['a fraction of an epoch', { train: { epochs: 1.5 } }, 422, '/train/epochs'],
  ['too many epochs', { train: { epochs: 1e12 } }, 422, '/train/epochs'],
  ['a word that is none', { groups: { mask: 'rows' } }, 422, '/groups/mask'],
  ['a text that is not there', { corpus: { id: 'hamlet' } }, 422, '/corpus/id'],
  ['a path as a text', { corpus: { id: '../../etc/passwd' } }, 422, '/corpus/id'],
  ['a group beyond the limit', { ...tiny(), groups: { size: 5001 } }, 422, '/groups/size'],
  ['a custom token that is two', { ...tiny(), groups: { custom: [{ name: 'mine', tokens: ['Lilliputian empire'] }] } }, 422, '/groups/custom/0/tokens/0'],
  ['a custom id outside the vocabulary', { ...tiny(), groups: { custom: [{ name: 'mine', tokens: [50257] }] } }, 422, '/groups/custom/0/tokens/0'],
  ['a zero character in a text', '{"name": "a\\u0000b", "tags": ["x", "\\u0000"]}', 422, '/tags/1'],
  ['a real number beyond 2^53 for an integer', '{"train": {"seed": 9007199254740993.0}}', 422, '/train/seed'],
  ['a seed above 2^53', '{"train": {"seed": 9007199254740993}}', 422, '/train/seed'],
];
for (const [name, body, status, pointer] of cases) {
  test(`POST /jobs with ${name}: ${status}${pointer ? ` at ${pointer}` : ''}`, async () => {
    const raw = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const problem = await send(raw);
    assert.equal(problem.status, status, JSON.stringify(problem));
    if (pointer) assert.ok(problem.errors.some((error) => error.pointer === pointer), JSON.stringify(problem.errors));
  });
}

test('every bad field is reported at once, with its value', async () => {
  const problem = await send(JSON.stringify({ model: { d_model: 100, n_heads: 12 }, train: { lr: 0, batch_size: 0 }, nope: 1 }));
  assert.deepEqual(problem.errors.map((error) => error.pointer).sort(), ['/model/d_model', '/nope', '/train/batch_size', '/train/lr']);
  assert.match(problem.errors.find((error) => error.pointer === '/model/d_model').detail, /100.*12/);
});

// The line that the error names is run as it stands.
test('a text that is not there: what is, and how to bring one', async () => {
  const detailOf = async (id) => (await send(JSON.stringify(tiny({ corpus: { id } })))).errors[0].detail;
  const detail = await detailOf('hamlet');
  assert.match(detail, /^there is no text "hamlet" on this server; "gulliver-synthetic" is built in; upload: curl /);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-errors-'));
  fs.writeFileSync(path.join(folder, 'FILE'), 'To be, or not to be, that is the question. '.repeat(9));
  const line = /curl .*$/.exec(detail)[0].replace('NAME', 'hamlet');
  const { stdout } = spawnSync('bash', ['-c', line], { cwd: folder, encoding: 'utf8' });
  fs.rmSync(folder, { recursive: true });
  assert.equal(JSON.parse(stdout).name, 'hamlet', stdout);
  assert.equal((await server.api('/corpora/hamlet', { method: 'DELETE' })).status, 204);
  const bare = await startServer({ args: ['--corpus-path', '/nonexistent'] });
  const answer = await bare.api('/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
  const [{ pointer, detail: known }] = (await answer.json()).errors;
  await bare.stop();
  assert.equal(pointer, '/corpus/id');
  assert.equal(known, `there is no text "gulliver" on this server; "gulliver-synthetic" is built in; upload: curl -T pg829.txt `
    + `-X POST '${new URL(bare.url).host}/api/v1/corpora?name=gulliver' from https://www.gutenberg.org/cache/epub/829/pg829.txt`);
});

test('a text, a job to start from, a holdout and a cutoff that are not possible are named together', async () => {
  const nobody = '00000000-0000-4000-8000-000000000000';
  const pointers = async (spec) => (await send(JSON.stringify(spec))).errors.map(({ pointer }) => pointer);
  assert.deepEqual(await pointers(tiny({ corpus: { id: 'hamlet' }, init_from: nobody })), ['/corpus/id', '/init_from']);
  assert.deepEqual(await pointers(tiny({ init_from: nobody, groups: { custom: [{ name: 'mine', tokens: [50257] }] } })), ['/init_from', '/groups/custom/0/tokens/0']);
  assert.deepEqual(await pointers(tiny({ corpus: { variant: 'body' }, data: { holdout: 1000 }, model: { head: 'adaptive', tie: 'untied', cutoffs: [100, 50257] } })), ['/data/holdout', '/model/cutoffs/1']);
});

const json = (path, text, method = 'POST') => server.api(path, { method, headers: { 'Content-Type': 'application/json' }, body: text });

test('an integer is one however JSON writes it: 3, 3.0 and 3e0', async () => {
  const text = JSON.stringify(tiny({ name: 'reals', train: { seed: 9 } })).replace(/"epochs":\d+/, '"epochs":3e0').replace(/"seed":\d+/, '"seed":7.0');
  assert.match(text, /3e0.*7\.0|7\.0.*3e0/);
  const answer = await json('/jobs', text);
  assert.equal(answer.status, 201);
  const job = await answer.json();
  assert.deepEqual([job.spec.train.epochs, job.spec.train.seed], [3, 7]);
  const patched = await json(`/jobs/${job.id}`, '{"priority": 2.0}', 'PATCH');
  assert.equal((await patched.json()).priority, 2);
  const sweep = await json('/sweeps', `{"base": ${text}, "vary": {"train.seed": [1.0, 2e0]}}`);
  assert.equal(sweep.status, 201);
  const { settings } = await sweep.json();
  const seeds = await Promise.all(settings[0].jobs.map(async ({ id }) => (await (await server.api(`/jobs/${id}`)).json()).spec.train.seed));
  assert.deepEqual(seeds, [1, 2]);
  await finished(server, job.id);
  const probed = await json(`/jobs/${job.id}/probe`, '{"ids": [11.0, 284], "tokens": [11e0], "top": 1.0}');
  const answered = await probed.json();
  assert.deepEqual(answered.ids, [11, 284], JSON.stringify(answered));
  const half = await send('{"text": "a", "top": 1.5}', undefined, `/jobs/${job.id}/probe`);
  assert.equal(half.errors[0].pointer, '/top');
});

test('a byte order mark before JSON is skipped, a zero character is named', async () => {
  const mark = '\ufeff';
  for (const [path, body, status] of [['/jobs', JSON.stringify(tiny()), 201], ['/sweeps', JSON.stringify({ base: tiny(), vary: { 'train.seed': [5] } }), 201],
    ['/tokenize', '{"text": "a"}', 200], ['/session', '{"token": "x"}', 200]]) {
    const answer = await json(path, mark + body);
    assert.equal(answer.status, status, `${path}: ${await answer.text()}`);
  }
  for (const [path, body, pointer] of [['/sweeps', '{"vary": {"corpus.id": ["a\\u0000"]}}', '/vary/corpus.id/0'], ['/users', '{"name": "\\u0000"}', '/name']]) {
    const problem = await send(body, undefined, path);
    assert.deepEqual([problem.status, problem.errors[0].pointer], [422, pointer]);
    assert.match(problem.errors[0].detail, /U\+0000/);
  }
});

test('a query parameter that repeats is a union where it is a list, else it is named', async () => {
  const jobs = async (query) => (await (await server.api(`/jobs${query}`)).json()).jobs.map(({ id }) => id);
  const all = await jobs('?state=running&state=queued,held&state=&state=failed&state=succeeded,cancelled&state=queued');
  assert.deepEqual(all, await jobs(''));
  assert.ok(all.length > 1);
  const bad = await send(undefined, {}, '/jobs?state=failed&state=asleep', 'GET');
  assert.deepEqual([bad.status, bad.errors[0].pointer], [422, 'state']);
  for (const [path, pointer] of [['/jobs?limit=1&limit=2', 'limit'], ['/jobs?q=a&q=a', 'q'], ['/corpora/gulliver-synthetic?variant=body&variant=full', 'variant'], ['/jobs?limit', 'limit']]) {
    const problem = await send(undefined, {}, path, 'GET');
    assert.deepEqual([problem.status, problem.errors[0].pointer], [422, pointer], path);
  }
  const ids = all.slice(0, 2);
  const both = await (await server.api(`/compare?jobs=${ids[0]}&jobs=${ids[1]}&series=/loss`)).json();
  assert.ok(both.jobs, JSON.stringify(both));
  assert.deepEqual(both.jobs.map(({ id }) => id), ids);
});

test('an empty body is called empty', async () => {
  for (const path of ['/jobs', '/sweeps', '/tokenize', '/jobs/00000000-0000-4000-8000-000000000000/probe']) {
    const problem = await send('', { 'Content-Type': 'application/json' }, path);
    assert.deepEqual([problem.status, /empty/.test(problem.detail)], [400, true], `${path}: ${problem.detail}`);
  }
});

test('a tokenizer that is not there is named, without a path of this machine', async () => {
  for (const [path, pointer] of [['/corpora/gulliver-synthetic?tokenizer=gpt3', 'tokenizer'], ['/corpora/gulliver-synthetic/frequencies?tokenizer=../gpt2', 'tokenizer']]) {
    const problem = await send(undefined, {}, path, 'GET');
    assert.deepEqual([problem.status, problem.errors?.[0].pointer], [422, pointer], JSON.stringify(problem));
    assert.match(problem.errors[0].detail, /^there is no tokenizer "[^"]*"$/);
  }
  const problem = await send('{"text": "a", "tokenizer": "gpt3"}', { 'Content-Type': 'application/json' }, '/tokenize');
  assert.deepEqual([problem.status, problem.errors[0]], [422, { pointer: '/tokenizer', detail: 'there is no tokenizer "gpt3"' }]);
});

test('wrong content type 415, unknown job 404, unknown path 404, wrong method 405 with Allow', async () => {
  assert.equal((await send('{}', { 'Content-Type': 'text/plain' })).status, 415);
  assert.equal((await send(undefined, {}, '/jobs/00000000-0000-4000-8000-000000000000', 'GET')).status, 404);
  assert.equal((await send(undefined, {}, '/jobs/not-a-uuid', 'GET')).status, 404);
  assert.equal((await send(undefined, {}, '/nothing', 'GET')).status, 404);
  const web = async (path, method) => { const answer = await fetch(`${server.url}${path}`, { method }); await answer.arrayBuffer(); return [answer.status, answer.headers.get('allow')]; };
  assert.deepEqual(await web('/nothing', 'POST'), [404, null]);
  assert.deepEqual(await web('/nothing.js', 'DELETE'), [404, null]);
  assert.deepEqual(await web('/app.js', 'POST'), [405, 'GET, HEAD']);
  const answer = await server.api('/jobs', { method: 'PUT' });
  assert.equal(answer.status, 405);
  assert.deepEqual(answer.headers.get('allow').split(/, */).filter((m) => m !== 'HEAD' && m !== 'OPTIONS').sort(), ['GET', 'POST']);
  await answer.arrayBuffer();
});

test('bad query values are named', async () => {
  for (const path of ['/jobs?limit=x', '/jobs?limit=-1', '/jobs?state=sleeping', '/jobs?cursor=%21']) {
    assert.ok([400, 422].includes((await send(undefined, {}, path, 'GET')).status), path);
  }
});

test('a body of 1 GB is refused with 413 without being read into memory', async () => {
  const { hostname, port } = new URL(server.url);
  const answer = await new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, path: '/api/v1/jobs', method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Content-Length': String(2 ** 30), Expect: '100-continue' } });
    request.on('response', resolve).on('error', reject);
    request.on('continue', () => request.write(Buffer.alloc(1 << 16, 0x20)));
    request.flushHeaders();
  });
  assert.equal(answer.statusCode, 413);
  answer.destroy();
  const chunk = Buffer.alloc(1 << 20, 0x20);
  const outcome = await new Promise((resolve) => {
    const request = http.request({ hostname, port, path: '/api/v1/jobs', method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' } });
    request.on('response', (r) => { r.resume(); resolve(r.statusCode); }).on('error', (e) => resolve(e.code));
    let sent = 0;
    const more = () => { while (sent++ < 1024) if (!request.write(chunk)) { request.once('drain', more); return; } request.end(); };
    more();
  });
  assert.ok(outcome === 413 || outcome === 'EPIPE' || outcome === 'ECONNRESET', String(outcome));
});

test('an address or a head that is too long is named by status', async () => {
  const get = (path, headers = {}) => new Promise((resolve, reject) => {
    http.get(server.url + path, { headers, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (data) => { text += data; }).on('end', () => resolve([answer.statusCode, answer.headers['content-type'], JSON.parse(text).status]));
    }).on('error', reject);
  });
  assert.deepEqual(await get(`/healthz?${'a'.repeat(9000)}`), [414, 'application/problem+json', 414]);
  assert.deepEqual(await get('/healthz', { 'X-Long': 'a'.repeat(40000) }), [431, 'application/problem+json', 431]);
});

const raw = (text) => new Promise((resolve) => {
  const { hostname, port } = new URL(server.url);
  let answer = '';
  const socket = net.connect(Number(port), hostname, () => socket.write(text));
  socket.on('data', (data) => { answer += data; }).on('close', () => resolve(answer)).on('error', () => resolve(answer));
  socket.setTimeout(3000, () => socket.destroy());
});

test('request smuggling and foreign hosts are refused', async () => {
  const head = 'POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n';
  assert.match(await raw(`${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`), /^HTTP\/1.1 400/);
  assert.match(await raw(`${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`), /^HTTP\/1.1 400/);
  assert.match(await raw('GET /api/v1/jobs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'), /^HTTP\/1.1 (400|403|421)/);
  const twice = (name, value) => raw(`GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n${`${name}: ${value}\r\n`.repeat(name === 'Host' ? 1 : 2)}Connection: close\r\n\r\n`);
  for (const [name, value] of [['Host', '127.0.0.1'], ['Authorization', 'Bearer x'], ['Range', 'bytes=0-1']]) {
    assert.match(await twice(name, value), new RegExp(`^HTTP/1.1 400[^]*problem\\+json[^]*2 headers ${name}`), name);
  }
  assert.match(await raw('GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1.1 400[^]*problem\+json[^]*no Host/);
  const cross = await server.api('/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json', Origin: 'http://evil.example' }, body: JSON.stringify(tiny()) });
  assert.equal(cross.status, 403);
  await cross.arrayBuffer();
});

test('an address may be sent whole, with the host that the header names', async () => {
  const get = (target) => raw(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n`);
  assert.match(await get('http://127.0.0.1:1/healthz'), /^HTTP\/1.1 200 /);
  assert.match(await get('HTTP://127.0.0.1:1/api/v1/jobs?limit=x'), /^HTTP\/1.1 422 [^]*"pointer":"limit"/);
  for (const target of ['http://evil.example/healthz', 'http://127.0.0.1:12/healthz', 'http://127.0.0.1:1', 'ftp://127.0.0.1:1/healthz']) {
    assert.match(await get(target), /^HTTP\/1.1 400 [^]*problem\+json/, target);
  }
});

test('web paths do not leave their folder', async () => {
  for (const path of ['/../config/spec.h', '/%2e%2e/%2e%2e/etc/passwd', '/vendor/../../presets/gulliver.json', '/..%2fpresets%2fgulliver.json']) {
    assert.match(await raw(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`), /^HTTP\/1.1 (400|403|404)/, path);
  }
});

test('a learning rate that diverges fails the job with its code and epoch, and the next job runs', async () => {
  const job = await finished(server, (await submit(server, tiny({ train: { lr: 1e30, optimizer: 'sgd', epochs: 50 } }))).id);
  assert.equal(job.state, 'failed');
  assert.equal(job.error.code, 'diverged');
  assert.ok(Number.isInteger(job.error.epoch) && job.error.epoch >= 1, JSON.stringify(job.error));
  assert.equal((await finished(server, (await submit(server, tiny())).id)).state, 'succeeded');
});

test('corpora: bytes that are not UTF-8 are refused with the offset; an upload is addressed by its hash', async () => {
  const upload = (bytes, name) => server.api(`/corpora?name=${name}`, {
    method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: bytes });
  const bad = await upload(Buffer.concat([Buffer.from('abc'), Buffer.from([0xc0, 0x80])]), 'bad');
  assert.equal(bad.status, 422);
  assert.match((await bad.json()).detail, /\b3\b/);
  const text = Buffer.from('A voyage to Lilliput, a voyage to Brobdingnag. '.repeat(400));
  const good = await upload(text, 'voyages');
  assert.equal(good.status, 201);
  const { createHash } = await import('node:crypto');
  const corpus = await good.json();
  assert.equal(corpus.id, createHash('sha256').update(text).digest('hex'));
  const large = await send(JSON.stringify(tiny({ corpus: { id: 'voyages' } })));
  assert.equal(large.errors[0].pointer, '/groups/size', 'a group may hold at most half of the used types');
  const job = await finished(server, (await submit(server, tiny({ corpus: { id: 'voyages' }, groups: { size: 3 } }))).id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  assert.equal(job.spec.corpus.id, corpus.id);
  const frequencies = await (await server.api(`/corpora/${corpus.id}/frequencies`)).json();
  assert.ok(frequencies.tokens > 0 && frequencies.types > 5);
});

test('the service still answers after all of this', async () => {
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  assert.match(await (await fetch(`${server.url}/metrics`)).text(), /^# (HELP|TYPE) /m);
});
