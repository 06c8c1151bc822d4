// `tokenfate backup` beside a running server with jobs in every state, while jobs and
// texts are deleted; `tokenfate restore` of it; what both refuse.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { bits, epochsOf, finished, reached, small, submit, tiny } from '../lib/experiments.mjs';

const args = ['--checkpoint-seconds', '1'];
const top = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-backup-'));
const run = (...words) => {
  const { status, stdout, stderr } = spawnSync(BINARY, words, { encoding: 'utf8' });
  return { code: status, out: stdout.trim(), err: stderr.trim() };
};
const post = async (server, route, body, type = 'application/json') => {
  const answer = await server.api(route, { method: 'POST', headers: { 'Content-Type': type }, body: type === 'application/json' ? JSON.stringify(body) : body });
  assert.ok(answer.ok, `${route}: ${await answer.clone().text()}`);
  return answer.json();
};
const show = async (server, id) => (await server.api(`/jobs/${id}`)).json();
const model = async (server, id) => Buffer.from(await (await server.api(`/jobs/${id}/checkpoint`)).arrayBuffer());
const files = (folder) => fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory()
  ? files(path.join(folder, entry.name)) : [path.join(folder, entry.name)]));

let server, jobs, text, doomed;
const copy = path.join(top, 'copy');
before(async () => {
  server = await startServer({ args });
  text = (await post(server, '/corpora?name=book', 'It was a dark and stormy night; the rain fell in torrents. '.repeat(40), 'text/plain')).id;
  const brief = (change = {}) => tiny({ corpus: { id: 'gulliver-synthetic' }, train: { epochs: 1 }, ...change });
  jobs = {};
  jobs.succeeded = (await submit(server, tiny({ train: { snapshots: [2, 5] } }))).id;
  jobs.failed = (await submit(server, tiny({ train: { lr: 1e30, optimizer: 'sgd', epochs: 50 } }))).id;
  const sweep = await post(server, '/sweeps', { base: tiny(), vary: { 'train.seed': [1, 2] } });
  jobs.sweep = sweep.id;
  const many = await Promise.all(Array.from({ length: 12 }, () => submit(server, brief())));
  doomed = many.map(({ id }) => id);
  const killed = (await submit(server, small({ train: { epochs: 5000 } }))).id;
  await reached(server, killed, 3);
  await post(server, `/jobs/${killed}/cancel`);
  jobs.cancelled = killed;
  await finished(server, killed);
  jobs.running = (await submit(server, small({ train: { epochs: 5000 } }))).id;
  jobs.queued = (await submit(server, tiny())).id;
  jobs.held = (await submit(server, tiny())).id;
  await post(server, `/jobs/${jobs.held}/hold`);
  const checkpoint = path.join(server.dataDir, 'jobs', jobs.running, 'checkpoint');
  for (let i = 0; i < 600 && !fs.existsSync(checkpoint); i++) await new Promise((resolve) => { setTimeout(resolve, 50); });
});
after(async () => {
  await server.stop();
  removeFolder(top);
});

// Deletes what is doomed, one after the other, and texts that come and go, until told to stop.
async function deletions(state) {
  for (let i = 0; !state.over || i < 3; i++) {
    const id = doomed.pop();
    if (id) assert.equal((await server.api(`/jobs/${id}`, { method: 'DELETE' })).status, 204);
    const { id: gone } = await post(server, `/corpora?name=gone${i}`, `a text that goes, ${i}, `.repeat(50), 'text/plain');
    assert.equal((await server.api(`/corpora/${gone}`, { method: 'DELETE' })).status, 204);
  }
}

test('a backup beside a running server has every file that its database names', async () => {
  const state = { over: false };
  const deleting = deletions(state);

  const child = spawn(BINARY, ['backup', copy, '--data', server.dataDir]);
  let out = '', err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const code = await new Promise((resolve) => { child.on('exit', resolve); });

  state.over = true;
  await deleting;
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /copy: \d+ jobs, \d+ texts; \d+ files linked, \d+ copied/);
  assert.deepEqual(fs.readdirSync(copy).sort(), ['corpora', 'jobs', 'tokenfate.db']);
  assert.equal(fs.statSync(copy).mode & 0o777, 0o700);
  const at = (...parts) => path.join(copy, 'jobs', ...parts);
  const stat = fs.statSync(at(jobs.succeeded, 'model', 'epoch-0000008.safetensors'));
  assert.ok(stat.nlink > 1, 'a model is linked');
  assert.equal(fs.statSync(at(jobs.running, 'log')).nlink, 1, 'a log grows');
  assert.equal(fs.statSync(path.join(copy, 'tokenfate.db')).nlink, 1);
  assert.deepEqual(files(copy).filter((file) => /\.new$|\/\.|secret|lock|address/.test(file)), []);
});

test('on another file system the files are copied', { skip: !fs.existsSync('/dev/shm') }, () => {
  const away = fs.mkdtempSync('/dev/shm/tokenfate-backup-');
  try {
    assert.deepEqual(run('backup', away, '--data', server.dataDir).err, '');
    const name = path.join('jobs', jobs.succeeded, 'model', 'epoch-0000008.safetensors');
    assert.deepEqual(fs.readFileSync(path.join(away, name)), fs.readFileSync(path.join(server.dataDir, name)));
    assert.equal(fs.statSync(path.join(away, name)).nlink, 1);
  } finally { removeFolder(away); }
});

test('backup refuses a folder with something in it, one in the data folder, and a folder without data', () => {
  const refused = (words, why) => {
    const { code, out, err } = run(...words);
    assert.deepEqual([code, out], [1, ''], words.join(' '));
    assert.match(err, why);
  };
  refused(['backup', copy, '--data', server.dataDir], /copy is not empty: it has /);
  refused(['backup', path.join(server.dataDir, 'b'), '--data', server.dataDir], /b lies in the data folder/);
  assert.equal(fs.existsSync(path.join(server.dataDir, 'b')), false);
  refused(['backup', path.join(top, 'none'), '--data', path.join(top, 'nothing')], /nothing/);
  assert.equal(fs.existsSync(path.join(top, 'none')), false);
  refused(['restore', copy, '--data', server.dataDir], /a tokenfate server is running/);
  const full = path.join(top, 'full');
  fs.mkdirSync(full);
  fs.writeFileSync(path.join(full, 'notes'), '');
  refused(['restore', copy, '--data', full], /full is not empty: it has notes/);
  refused(['restore', full, '--data', path.join(top, 'new')], /full is no backup, or one that was not finished/);
  for (const words of [['backup'], ['restore'], ['backup', 'a', 'b']]) assert.equal(run(...words).code, 2);
});

test('a restored folder has all jobs, texts and models, and goes on with what ran', { timeout: 300_000 }, async () => {
  const data = path.join(top, 'restored');
  assert.equal((await show(server, jobs.running)).state, 'running');
  const { code, out, err } = run('restore', copy, '--data', data);
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /restored: \d+ jobs/);
  const log = fs.readFileSync(path.join(server.dataDir, 'jobs', jobs.succeeded, 'log'), 'utf8');
  const second = await startServer({ args, dataDir: data });
  try {
    for (const name of ['succeeded', 'failed', 'cancelled', 'held']) {
      const [one, two] = [await show(server, jobs[name]), await show(second, jobs[name])];
      assert.equal(two.state, name);
      assert.deepEqual(two, one);
      assert.deepEqual(await epochsOf(second, two.id), await epochsOf(server, one.id));
    }
    assert.deepEqual(await model(second, jobs.succeeded), await model(server, jobs.succeeded));
    for (const epoch of [2, 5]) assert.equal((await second.api(`/jobs/${jobs.succeeded}/checkpoint?epoch=${epoch}`)).status, 200);
    const sweeps = await Promise.all([server, second].map(async (at) => (await at.api(`/sweeps/${jobs.sweep}`)).json()));
    assert.deepEqual(sweeps[1], sweeps[0]);
    assert.equal((await (await second.api('/corpora/book')).json()).id, text);
    assert.deepEqual(await (await second.api(`/jobs/${jobs.failed}/history`)).json(), await (await server.api(`/jobs/${jobs.failed}/history`)).json());

    // The same bits on both sides, from where the copy was taken.
    const { epoch } = await show(second, jobs.running);
    const going = await reached(second, jobs.running, epoch + 20);
    assert.deepEqual([going.state, going.attempt], ['running', 1]);
    const [, from] = [...fs.readFileSync(path.join(data, 'jobs', jobs.running, 'log'), 'utf8').matchAll(/started at epoch (\d+)/g)].at(-1);
    assert.ok(Number(from) > 0, 'it goes on from its checkpoint');
    await reached(server, jobs.running, epoch + 20);
    const records = async (at) => bits((await (await at.api(`/jobs/${jobs.running}/epochs?from=0&to=${epoch + 20}&limit=5000`)).json()).epochs);
    assert.deepEqual(await records(second), await records(server));
    for (const at of [second, server]) await post(at, `/jobs/${jobs.running}/cancel`);
    assert.equal((await finished(second, jobs.queued)).state, 'succeeded');

    // What happens to one side leaves the other as it is.
    for (const name of ['succeeded', 'failed']) assert.equal((await second.api(`/jobs/${jobs[name]}`, { method: 'DELETE' })).status, 204);
    assert.equal((await second.api('/corpora/book', { method: 'DELETE' })).status, 204);
    assert.ok((await model(server, jobs.succeeded)).length > 1000);
    assert.equal((await server.api('/corpora/book')).status, 200);
    assert.equal(fs.readFileSync(path.join(server.dataDir, 'jobs', jobs.succeeded, 'log'), 'utf8'), log);
    assert.equal(/ error /.test(second.log()), false, second.log());
  } finally { await second.stop(); }
});

test('a backup that lacks a file is restored, and the file is named', () => {
  const broken = path.join(top, 'broken');
  assert.equal(spawnSync('cp', ['-a', copy, broken]).status, 0);
  const name = `jobs/${jobs.succeeded}/model/epoch-0000005.safetensors`;
  fs.rmSync(path.join(broken, name));
  fs.truncateSync(path.join(broken, 'corpora', text), 10);
  const { code, err } = run('restore', broken, '--data', path.join(top, 'half'));
  assert.equal(code, 1);
  assert.deepEqual(err.split('\n'), [`tokenfate: corpora/${text} is missing or not whole`, `tokenfate: ${name} is missing or not whole`]);
  fs.writeFileSync(path.join(broken, 'tokenfate.db'), 'no database');
  const none = path.join(top, 'quarter');
  const foreign = run('restore', broken, '--data', none);
  assert.equal(foreign.code, 1);
  assert.match(foreign.err, /not a database|not a tokenfate database/);
  assert.deepEqual(fs.readdirSync(none), ['lock']);
});
