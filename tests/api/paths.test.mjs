// No answer names a folder of the server, whatever is broken on its disk; the log does.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { removeFolder, startServer } from '../lib/server.mjs';
import { finished, submit, tiny } from '../lib/experiments.mjs';

let server;
const programs = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-paths-'));
const trainer = path.join(programs, 'tokenfate-trainer'); // a copy that can be taken away
before(async () => {
  fs.copyFileSync(path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tokenfate-trainer'), trainer);
  server = await startServer({ args: ['--trainer', trainer] });
});
after(async () => { await server.stop(); removeFolder(programs); });

const FOLDERS = () => [server.dataDir, process.cwd(), path.resolve(process.env.TOKENFATE_BUILD ?? 'build'), '/tmp/', '/usr/', '/home/', '/root/'];
const text = (word) => Buffer.from(`${word} is a word of its own, and Lilliput another. `.repeat(200));
const ask = async (route, { status, method = 'GET', type, body } = {}) => {
  const answer = await server.api(route, { method, headers: type ? { 'Content-Type': type } : {}, body });
  const said = await answer.text();
  if (status) assert.equal(answer.status, status, `${route}: ${said}`);
  for (const folder of FOLDERS()) assert.ok(!said.includes(folder), `${method} ${route} names ${folder}: ${said.slice(0, 600)}`);
  return said;
};
const upload = (name, status = 201) => ask(`/corpora?name=${name}`, { method: 'POST', type: 'text/plain', body: text(name), status });
const spec = (id) => tiny({ corpus: { id }, groups: { size: 3 }, train: { epochs: 2 } });
const post = (route, body, status) => ask(route, { method: 'POST', type: 'application/json', body: JSON.stringify(body), status });

test('what says how the server is and runs names no folder', async () => {
  for (const route of ['/devices', '/version', '/presets', '/whoami', '/corpora', '/jobs', '/openapi.json']) await ask(route, { status: 200 });
  for (const route of ['/healthz', '/readyz', '/metrics']) {
    const said = await (await fetch(`${server.url}${route}`)).text();
    for (const folder of FOLDERS()) assert.ok(!said.includes(folder), `${route}: ${said}`);
  }
});

test('a text whose file is gone: count, submission, a queued job and its log', async () => {
  const { id } = JSON.parse(await upload('vanished'));
  const held = await submit(server, { ...spec('vanished'), resources: { device: 'cpu' } });
  const job = await finished(server, held.id);
  const again = JSON.parse(await upload('vanished-too'));
  fs.rmSync(path.join(server.dataDir, 'corpora', again.id));
  await ask('/corpora/vanished-too');
  await ask('/corpora/vanished-too/frequencies');
  await post('/jobs', spec('vanished-too'));
  await post('/sweeps', { base: spec('vanished-too'), vary: { 'train.seed': [1, 2] } });
  // A job that finds its text, and a trainer that does not.
  const slow = await submit(server, { ...spec('vanished'), train: { ...spec('x').train, epochs: 3 } });
  fs.rmSync(path.join(server.dataDir, 'corpora', id));
  const ended = await finished(server, slow.id);
  for (const route of [`/jobs/${slow.id}`, `/jobs/${slow.id}/log`, `/jobs/${job.id}/log`, '/jobs']) await ask(route, { status: 200 });
  if (ended.state === 'failed') assert.ok(ended.error.message.length > 10, JSON.stringify(ended.error));
  assert.ok(server.log().includes(server.dataDir), 'the log of the server names it');
});

test('a model that cannot be read', async () => {
  await upload('whole');
  const { id } = await finished(server, (await submit(server, spec('whole'))).id);
  const folder = path.join(server.dataDir, 'jobs', id, 'model');
  const model = fs.readdirSync(folder).find((name) => /0000002\.safetensors$/.test(name));
  for (const spoil of [(file) => fs.writeFileSync(file, 'no model'), (file) => { fs.rmSync(file); fs.mkdirSync(file); }]) {
    spoil(path.join(folder, model));
    await ask(`/jobs/${id}/checkpoint`);
    await ask(`/jobs/${id}/indicators`);
    await post(`/jobs/${id}/probe`, { text: 'A word' });
    const next = JSON.parse(await post('/jobs', { ...spec('whole'), init_from: id }));
    if (next.id) await finished(server, next.id), await ask(`/jobs/${next.id}`), await ask(`/jobs/${next.id}/log`);
  }
});

test('a folder of texts that is not there', async () => {
  const corpora = path.join(server.dataDir, 'corpora');
  fs.renameSync(corpora, `${corpora}.aside`);
  try {
    const { detail } = JSON.parse(await upload('nowhere', 500));
    assert.match(detail, /No such file/);
    await ask('/corpora/whole/frequencies?tokenizer=bytes');
    await ask('/corpora/whole', { method: 'DELETE' });
  } finally { fs.renameSync(`${corpora}.aside`, corpora); }
  assert.match(server.log(), new RegExp(`cannot make ${server.dataDir}/corpora/.upload`));
});

test('a trainer that cannot be started, and a job that waits for it', async () => {
  fs.renameSync(trainer, `${trainer}.aside`);
  for (const task of fs.readdirSync(`/proc/${server.pid}/task`)) {
    const children = fs.readFileSync(`/proc/${server.pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean);
    for (const child of children) process.kill(Number(child), 'SIGKILL');
  }
  const { id } = await submit(server, tiny());
  let job;
  try {
    for (const end = Date.now() + 20_000; !job?.waits?.message.includes('cannot start') && Date.now() < end;) job = JSON.parse(await ask(`/jobs/${id}`));
    assert.equal(job.waits.code, 'device_unavailable');
    assert.match(job.waits.message, /cpu is not available: cannot start/);
    await ask('/devices', { status: 200 });
    await ask('/jobs', { status: 200 });
  } finally { fs.renameSync(`${trainer}.aside`, trainer); }
  assert.equal((await finished(server, id)).state, 'succeeded');
});
