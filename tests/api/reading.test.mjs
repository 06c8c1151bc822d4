// Large texts: they are read beside the requests, by another process, into files that jobs share.
// What only the tokens of a text can tell about a job is told when they are there.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeFolder, startServer } from '../lib/server.mjs';
import { SANITIZED, finished, submit, tiny } from '../lib/experiments.mjs';
import { childrenOf, largeText, stopReader } from '../lib/processes.mjs';

const SOON = SANITIZED ? 20_000 : 2_000; // ms of an answer that reads no text
const RAW = { 'Content-Type': 'application/octet-stream' };
const READ_NOW = 8 << 20; // bytes: smaller texts are read in the request

let texts = 0;
const makeText = (n) => largeText(n, texts++);
const large = () => makeText(READ_NOW + 1000);

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const ask = async (route, { at = server, ...init } = {}) => {
  const began = Date.now();
  const answer = await at.api(route, init);
  const body = await answer.json().catch(() => null);
  return { status: answer.status, headers: answer.headers, body, ms: Date.now() - began };
};
const post = (route, body, at = server) =>
  ask(route, { at, method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
const upload = async (name, body, at = server) => {
  const { status, body: text } = await ask(`/corpora?name=${name}`, { at, method: 'POST', headers: RAW, body });
  assert.ok(status === 200 || status === 201, JSON.stringify(text));
  return text.id;
};
const spec = (name, change = {}) => tiny({ train: { epochs: 2 }, ...change, corpus: { id: name, ...change.corpus } });
const folder = (id, at = server) => path.join(at.dataDir, 'tokens', id);
const filesOf = (id, at = server) => (fs.existsSync(folder(id, at)) ? fs.readdirSync(folder(id, at)).sort() : []);
const until = async (what, condition, seconds = 60) => {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(20)) if (await condition()) return;
  assert.fail(`not within ${seconds} s: ${what}`);
};

test('a job on a large text is accepted at once, waits for it and then runs', async () => {
  const id = await upload('long', large());
  const { status, body: job, ms } = await post('/jobs', spec('long'));
  assert.equal(status, 201);
  assert.ok(ms < SOON, `${ms} ms`);
  if (job.waits !== null) { // else it was read by then
    assert.equal(job.state, 'queued');
    assert.deepEqual(job.waits, { code: 'reading', message: 'its text is being read' });
    assert.deepEqual([job.memory_bytes, job.groups, job.corpus.tokens, job.theory.untrained], [null, null, null, null]);
    assert.deepEqual([job.corpus.name, job.corpus.sha256], ['long', id]);
  }
  const end = await finished(server, job.id);
  assert.equal(end.state, 'succeeded', JSON.stringify(end.error));
  assert.deepEqual(end.groups.map(({ size }) => size), [20, 20, 20]);
  assert.ok(end.memory_bytes > 0 && end.corpus.tokens > 1e6 && end.theory.untrained < 0);
  assert.deepEqual(filesOf(id), ['lf.gpt2']);
  const text = await ask('/corpora/long');
  assert.equal(text.body.tokens, end.corpus.tokens);
});

test('the records are those of a text that is read in the request', async () => {
  const stars = (word) => `*** ${word} OF THE PROJECT GUTENBERG EBOOK ***\n`;
  const small = Buffer.concat([Buffer.from(stars('START')), makeText(100_000), Buffer.from(stars('END'))]);
  const held = { data: { holdout: 4 }, corpus: { variant: 'body' } };
  await upload('in-the-request', small);
  const job = await submit(server, spec('in-the-request', held));
  assert.equal(job.waits, null);
  assert.ok(job.groups.length === 3 && job.memory_bytes > 0);
  assert.deepEqual(filesOf(job.corpus.sha256), ['body.gpt2', 'body.gpt2.words', 'lf.gpt2']);
  const end = await finished(server, job.id);
  assert.equal(end.state, 'succeeded', JSON.stringify(end.error));
  // The same by the trainer alone, which encodes the text itself.
  const alone = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-alone-'));
  try {
    fs.writeFileSync(path.join(alone, 'in-the-request'), small);
    const trainer = path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tokenfate-trainer');
    const lines = execFileSync(trainer, [], { env: { ...process.env, TOKENFATE_CORPUS_PATH: alone },
      input: JSON.stringify(spec('in-the-request', held)), encoding: 'utf8' })
      .trim().split('\n').map((line) => JSON.parse(line)).filter((line) => 'loss' in line);
    const { epochs } = (await ask(`/jobs/${job.id}/epochs`)).body;
    const facts = ({ epoch, loss, log_z, holdout, groups }) => ({ epoch, loss, log_z, holdout, groups });
    assert.ok(epochs[0].holdout.unseen_word_loss !== undefined);
    assert.deepEqual(epochs.map(facts), lines.map(facts));
  } finally { removeFolder(alone); }
});

test('what only the tokens can tell ends the job with the field that is to blame', async () => {
  await upload('judged', large());
  const cases = [
    [{ corpus: { variant: 'body' } }, '/corpus/variant'],
    [{ groups: { size: 20_000 } }, '/groups/size'],
    [{ model: { head: 'adaptive', cutoffs: [60_000], tie: 'untied' } }, '/model/cutoffs/0'],
  ];
  const jobs = [];
  for (const [change] of cases) jobs.push(await post('/jobs', spec('judged', change)));
  for (const [i, [, pointer]] of cases.entries()) {
    const { status, body } = jobs[i];
    if (status === 422) { assert.ok(body.errors.some((error) => error.pointer === pointer), JSON.stringify(body)); continue; }
    assert.equal(status, 201, JSON.stringify(body));
    const end = await finished(server, body.id);
    assert.equal(end.state, 'failed');
    assert.equal(end.error.code, 'invalid');
    assert.ok(end.error.errors.some((error) => error.pointer === pointer && error.detail), JSON.stringify(end.error));
    assert.equal(end.started_at, null);
    assert.equal(end.groups, null);
  }
  assert.equal((await post('/jobs', spec('judged', { corpus: { variant: 'body' } }))).status, 422, 'the text has been found wanting');
});

// ---- with the reader stopped in the middle ----

test('beside a text that is being read the API answers, jobs are held, cancelled and deleted', async () => {
  const other = await startServer();
  try {
    const known = childrenOf(other);
    const id = await upload('slow', makeText(4 * READ_NOW), other);
    const stopped = await stopReader(other, known);
    const jobs = [];
    for (let i = 0; i < 4; i++) jobs.push(await submit(other, spec('slow', { train: { seed: i + 1 } })));
    const sweep = await post('/sweeps', { base: spec('slow'), vary: { 'train.seed': [11, 12] } }, other);
    assert.equal(sweep.status, 201, JSON.stringify(sweep.body));
    for (const job of jobs) assert.deepEqual(job.waits, { code: 'reading', message: 'its text is being read' });
    const text = await ask('/corpora/slow', { at: other });
    assert.equal(text.status, 503);
    assert.ok(Number(text.headers.get('retry-after')) > 0);
    assert.ok(text.ms < SOON, `${text.ms} ms`);
    assert.equal((await ask('/corpora/slow', { at: other, method: 'DELETE' })).status, 409);
    for (const route of ['theory', 'findings', 'tokens', 'epochs', 'batch?epoch=0', 'spectrum']) {
      const { status, ms } = await ask(`/jobs/${jobs[0].id}/${route}`, { at: other });
      assert.ok([200, 404, 409, 422, 503].includes(status) && ms < SOON, `${route}: ${status} in ${ms} ms`);
    }
    const [held, cancelled] = jobs;
    assert.equal((await post(`/jobs/${held.id}/hold`, {}, other)).body.state, 'held');
    assert.equal((await post(`/jobs/${cancelled.id}/cancel`, {}, other)).body.state, 'cancelled');
    assert.equal((await ask(`/jobs/${cancelled.id}`, { at: other, method: 'DELETE' })).status, 204);
    assert.equal((await submit(other, spec('gulliver-synthetic'))).waits, null, 'other texts do not wait');
    process.kill(stopped, 'SIGCONT');
    for (const job of jobs.slice(2)) assert.equal((await finished(other, job.id)).state, 'succeeded');
    const after = (await ask(`/jobs/${held.id}`, { at: other })).body;
    assert.equal(after.state, 'held');
    assert.equal(after.groups.length, 3);
    await post(`/jobs/${held.id}/release`, {}, other);
    assert.equal((await finished(other, held.id)).state, 'succeeded');
    assert.deepEqual(filesOf(id, other), ['lf.gpt2']);
  } finally { await other.stop(); }
});

test('a job whose text is read does not wait for another text', async () => {
  const other = await startServer();
  try {
    const known = childrenOf(other);
    const id = await upload('first', large(), other);
    const job = await submit(other, spec('first'));
    await post(`/jobs/${job.id}/cancel`, {}, other);
    await until('its tokens', () => filesOf(id, other).includes('lf.gpt2'));
    await upload('slow', makeText(4 * READ_NOW), other);
    const stopped = await stopReader(other, known);
    await post(`/jobs/${job.id}/retry`, {}, other);
    assert.equal((await finished(other, job.id, 30)).state, 'succeeded');
    // Nor does one whose tokens are gone go to and fro, although the server has them in memory.
    fs.rmSync(path.join(folder(id, other), 'lf.gpt2'));
    const bare = await submit(other, spec('first', { train: { seed: 2 } }));
    await until('it waits', async () => (await ask(`/jobs/${bare.id}`, { at: other })).body.waits?.code === 'reading');
    await sleep(4500);
    const { history } = (await ask(`/jobs/${bare.id}/history`, { at: other })).body;
    assert.equal(history.filter(({ action }) => action === 'start').length, 1, JSON.stringify(history));
    process.kill(stopped, 'SIGCONT');
    assert.equal((await finished(other, bare.id, 60)).state, 'succeeded');
  } finally { await other.stop(); }
});

test('a server that is killed while a text is read goes on after its next start', async () => {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-reading-'));
  try {
    const first = await startServer({ dataDir });
    const known = childrenOf(first);
    const id = await upload('slow', makeText(4 * READ_NOW), first);
    await stopReader(first, known);
    const job = await submit(first, spec('slow'));
    assert.deepEqual(job.waits, { code: 'reading', message: 'its text is being read' });
    await first.kill('SIGKILL');
    assert.ok(!filesOf(id, first).includes('lf.gpt2'));
    const second = await startServer({ dataDir });
    assert.equal((await finished(second, job.id)).state, 'succeeded');
    await second.stop();
  } finally { removeFolder(dataDir); }
});

test('a text that costs three processes fails its jobs, and another one is read', async () => {
  const other = await startServer({ args: ['--trainer', path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tests/fake_trainer')] });
  try {
    await upload('deadly', large(), other);
    const job = await submit(other, spec('deadly'));
    const end = await finished(other, job.id, 120);
    assert.equal(end.state, 'failed');
    assert.equal(end.error.code, 'device');
    assert.match(end.error.message, /process that read the text .*exited with status 5/);
  } finally { await other.stop(); }
});

test('a text that cannot be read for a reason that may pass holds up no other text', async () => {
  const waits = async (id) => (await ask(`/jobs/${id}`)).body.waits?.message;
  const bytes = large();
  const inTheWay = folder(createHash('sha256').update(bytes).digest('hex')); // a file, where a folder is to be
  fs.mkdirSync(path.dirname(inTheWay), { recursive: true });
  fs.writeFileSync(inTheWay, '');
  await upload('blocked', bytes);
  const blocked = await submit(server, spec('blocked'));
  await until('its failure', async () => /^its text is being read; it is tried again after: ./.test(await waits(blocked.id)), 20);
  await upload('free', large());
  const free = await submit(server, spec('free'));
  assert.equal((await finished(server, free.id, 20)).state, 'succeeded');
  fs.rmSync(inTheWay);
  assert.equal((await finished(server, blocked.id, 60)).state, 'succeeded');
});

// ---- the files ----

test('token files that are gone or damaged are made again, and the job succeeds', async () => {
  const id = await upload('worn', large());
  const first = await finished(server, (await submit(server, spec('worn'))).id);
  assert.equal(first.state, 'succeeded');
  const file = path.join(folder(id), 'lf.gpt2');
  const hash = () => createHash('sha256').update(fs.readFileSync(file)).digest('hex');
  const made = hash();
  fs.rmSync(file);
  assert.equal((await finished(server, (await submit(server, spec('worn', { train: { seed: 2 } }))).id)).state, 'succeeded');
  assert.equal(hash(), made);
  const at = fs.openSync(file, 'r+');
  fs.writeSync(at, Buffer.from([255, 255, 255, 127]), 0, 4, 600_000);
  fs.closeSync(at);
  // Another stream of the same files, so that the trainer opens them anew.
  const again = await finished(server, (await submit(server, spec('worn', { corpus: { shuffled: true } }))).id);
  assert.equal(again.state, 'succeeded', JSON.stringify(again.error));
  assert.equal(hash(), made);
});

test('a text that was deleted before it was read and comes again is read', async () => {
  const known = childrenOf(server);
  const bytes = large();
  await upload('before-it', makeText(4 * READ_NOW));
  const stopped = await stopReader(server, known);
  const id = await upload('comes-again', bytes);
  assert.equal((await ask(`/corpora/${id}`, { method: 'DELETE' })).status, 204);
  process.kill(stopped, 'SIGCONT');
  await until('the reader has missed it', () => new RegExp(`text ${id} (could not be read|was deleted)`).test(server.log()));
  await upload('comes-again', bytes);
  const job = await submit(server, spec('comes-again'));
  assert.equal((await finished(server, job.id, 60)).state, 'succeeded');
});

test('the tokens of a text go with it', async () => {
  const id = await upload('going', large());
  await until('its tokens', () => filesOf(id).includes('lf.gpt2'));
  assert.equal((await ask(`/corpora/${id}`, { method: 'DELETE' })).status, 204);
  assert.ok(!fs.existsSync(folder(id)));
});

test('the memory of the server does not grow with a text', { skip: SANITIZED }, async () => {
  const anonymous = () => Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) * 1024;
  const before = anonymous();
  const n = 48 << 20;
  await upload('flat', makeText(n));
  const end = await finished(server, (await submit(server, spec('flat'))).id);
  assert.equal(end.state, 'succeeded');
  const grown = anonymous() - before;
  assert.ok(grown < n / 8, `${grown} bytes for a text of ${n} bytes`);
});
