// The commands for people who live in ssh: login by account, one-time link and token; submit, queue,
// jobs, watch, log, cancel, hold, release, retry, get; what they print and how they exit.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { SANITIZED, tiny } from '../lib/experiments.mjs';

const ROOT = process.getuid() === 0 && spawnSync('setpriv', ['--version']).status === 0;
const byAccount = ROOT || process.getuid() >= 1000 ? {} : { skip: 'this account is none of a person' };
const asOthers = ROOT ? {} : { skip: 'only root can act as another account' };
const UID = 23101; // without a name on any machine
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-cli-'));
fs.chmodSync(folder, 0o755);
const SOCKET = path.join(folder, 'socket');
const PROGRAM = path.join(folder, 'tokenfate'); // where every account may run it
const data = path.join(folder, 'service'); // not ./data, which every command looks for
const configOf = (name) => path.join(folder, name);
let server, admin;

const envOf = (name, change = {}) => {
  const env = { ...process.env, XDG_CONFIG_HOME: configOf(name), http_proxy: 'http://127.0.0.1:9', ...change };
  for (const key of ['TOKENFATE_URL', 'TOKENFATE_TOKEN', 'TOKENFATE_SOCKET', 'TOKENFATE_DATA']) if (!(key in change)) delete env[key];
  return env;
};
// config: the folder of the login; env, input, uid as needed.
const run = (words, { config = 'own', env, input = '', uid } = {}) => {
  const [program, ...rest] = uid ? ['setpriv', '--reuid', uid, '--regid', uid, '--clear-groups', PROGRAM, ...words].map(String) : [BINARY, ...words];
  const { status, stdout, stderr } = spawnSync(program, rest, { env: envOf(config, env), input, cwd: folder, encoding: 'utf8', timeout: 120_000, maxBuffer: 1 << 28 });
  return { code: status, out: stdout.trimEnd(), err: stderr.trimEnd() };
};
const ok = (words, how) => {
  const done = run(words, how);
  assert.equal(done.code, 0, `${words.join(' ')}: ${JSON.stringify(done)}`);
  return done.out;
};
const refused = (words, code, why, how) => {
  const done = run(words, how);
  assert.equal(done.code, code, `${words.join(' ')}: ${JSON.stringify(done)}`);
  assert.match(done.err, why);
};
const state = async (id) => (await (await server.api(`/jobs/${id}`, { headers: { Authorization: `Bearer ${admin}` } })).json()).state;
const until = async (id, wanted) => {
  for (const end = Date.now() + 60_000; await state(id) !== wanted; await new Promise((resolve) => setTimeout(resolve, 50))) {
    assert.ok(Date.now() < end, `job ${id} is ${await state(id)}`);
  }
};
const spec = (change) => JSON.stringify(tiny(change));
const EPOCHS = SANITIZED ? 20 : 1200; // three pages of records
const ENDLESS = spec({ name: 'endless', train: { epochs: 1_000_000 } });

before(async () => {
  fs.copyFileSync(BINARY, PROGRAM);
  fs.chmodSync(PROGRAM, 0o755);
  server = await startServer({ dataDir: data, args: ['--socket', SOCKET] });
  admin = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
});
after(async () => {
  await server.stop();
  removeFolder(folder);
});

test('without a login: what to do, and its own exit code', () => {
  refused(['jobs'], 4, /no server is known: `tokenfate login`/);
  refused(['jobs', '--url', 'http://127.0.0.1:1'], 4, /127\.0\.0\.1:1.*connect/i);
  refused(['jobs', '--url', 'lab:8080'], 1, /"lab:8080" is no address/);
  refused(['login'], 4, /\/run\/tokenfate\/socket.*\n.*login --url/);
  refused(['logout'], 1, /there is no login/);
  refused(['jobs', '--bogus'], 2, /--bogus/);
  refused(['watch'], 2, /^usage: tokenfate watch ID$/);
  // Who may read the data folder needs none.
  assert.match(ok(['jobs', '--data', data]), /^job +user/);
});

test('login by account: the token is kept for its owner alone', byAccount, () => {
  assert.match(ok(['login', '--socket', SOCKET]), new RegExp(` at ${server.url} \\(.*own/tokenfate/login.json\\)$`));
  const file = path.join(configOf('own'), 'tokenfate/login.json');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const login = JSON.parse(fs.readFileSync(file, 'utf8'));
  assert.deepEqual([login.url, login.socket], [server.url, SOCKET]);
  assert.match(login.token, /^tf_[0-9a-f]{64}$/);
  assert.match(ok(['jobs']), /^job /);
});

test('two accounts are two users, and neither changes the other\'s jobs', asOthers, async () => {
  const other = { config: 'other', uid: UID, env: { XDG_CONFIG_HOME: path.join(folder, 'home') } };
  fs.mkdirSync(path.join(folder, 'home'));
  fs.chownSync(path.join(folder, 'home'), UID, UID);
  assert.match(ok(['login', '--socket', SOCKET], other), new RegExp(`^uid${UID} at `));
  const id = ok(['submit', '-'], { ...other, input: ENDLESS });
  await until(id, 'running');
  const mine = ok(['submit', '-'], { input: ENDLESS });
  refused(['cancel', mine], 1, new RegExp(`belongs to root, and uid${UID} is not`), other);
  assert.equal(ok(['hold', mine]), `${mine} held`);
  assert.match(ok(['queue'], other), new RegExp(`^the queue is open\\n[^]*${id} +uid${UID} +running `));
  ok(['cancel', mine, id]);
  await until(id, 'cancelled');
});

test('login with a token over TCP, by the environment, and logout', async () => {
  refused(['login', '--url', server.url], 1, /standard input has no token/, { config: 'tcp' });
  refused(['login', '--url', server.url], 1, /not known.*\n.*tokenfate login/, { config: 'tcp', input: 'tf_wrong\n' });
  const made = await (await server.api('/users/admin/tokens', { method: 'POST', body: '{}',
    headers: { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' } })).json();
  assert.match(ok(['login', '--url', `${server.url}/`], { config: 'tcp', input: `${made.token}\n` }), /^admin, an administrator, at /);
  assert.match(ok(['jobs'], { config: 'tcp' }), /^job /);
  assert.match(ok(['jobs'], { config: 'none', env: { TOKENFATE_URL: server.url, TOKENFATE_TOKEN: made.token } }), /^job /);
  // Another server never gets the login's token.
  refused(['jobs', '--url', server.url.replace('127.0.0.1', 'localhost')], 1, /wants a token/, { config: 'tcp' });
  ok(['logout'], { config: 'tcp' });
  assert.equal((await server.api('/whoami', { headers: { Authorization: `Bearer ${made.token}` } })).status, 401, 'the token has ended');
  refused(['jobs'], 4, /no server is known/, { config: 'tcp' });
});

test('login --browser prints a link that works once', byAccount, async () => {
  const [, base, code] = /^(http:.*)\/#\/login\/([0-9a-f]{64})$/.exec(ok(['login', '--browser']));
  assert.equal(base, server.url);
  const open = () => server.api('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ link: code }) });
  assert.deepEqual([(await open()).status, (await open()).status], [200, 401]);
  // The login that is there is used; without one it is made, and kept.
  const file = (config) => fs.readFileSync(path.join(configOf(config), 'tokenfate/login.json'), 'utf8');
  const before = file('own');
  assert.match(ok(['login', '--browser', '--socket', SOCKET]), /^http:\S+$/);
  assert.equal(file('own'), before);
  assert.match(ok(['login', '--browser', '--socket', SOCKET], { config: 'new' }), /^http:\S+$/);
  assert.match(ok(['jobs'], { config: 'new' }), /^job /);
});

const as = () => ({ config: 'none', env: { TOKENFATE_URL: server.url, TOKENFATE_TOKEN: admin } });

test('submit: a file, standard input, a preset, changed fields; every wrong field is named', () => {
  const file = path.join(folder, 'spec.json');
  fs.writeFileSync(file, spec({ name: 'of a file' }));
  const id = ok(['submit', file, '--set', 'train.epochs=2', '--set=name=set here', '--set', 'tags=["a","b"]'], as());
  assert.match(id, /^[0-9a-f-]{36}$/);
  const { jobs: [job] } = JSON.parse(ok(['jobs', '--json', '--q', id], as()));
  assert.deepEqual([job.name, job.epochs, job.tags], ['set here', 2, ['a', 'b']]);
  const preset = JSON.parse(ok(['submit', '--preset', 'gulliver', '--set', 'corpus.id=gulliver-synthetic', '--set', 'train.epochs=1',
    '--set', 'train.snapshots=[]', '--set', 'name=preset', '--json'], as()));
  assert.equal(preset.name, 'preset');
  assert.match(ok(['cancel', preset.id], as()), new RegExp(`^${preset.id} `));
  refused(['submit', '-', '--set', 'train.lr=0', '--set', 'model.d_model=15'], 1, /tokenfate: \/train\/lr: 0 is outside[^]*tokenfate: \/model\/d_model: 15 /, { ...as(), input: spec({}) });
  refused(['submit', '-', '--set', 'name.first=x'], 1, /--set name\.first=x: name has no fields/, { ...as(), input: spec({}) });
  refused(['submit', '-'], 1, /standard input: /, { ...as(), input: '{' });
  refused(['submit', path.join(folder, 'nothing')], 1, /nothing: cannot open/, as());
  refused(['submit', '--preset', 'nothing'], 1, /nothing/, as());
  refused(['submit', '--preset', '../jobs'], 1, /there is no preset "\.\.\/jobs"/, as());
  for (const words of [[], ['a', 'b'], ['a', '--preset', 'b']]) refused(['submit', ...words], 2, /^usage: tokenfate submit FILE/, as());
  refused(['submit', '-', '--set'], 2, /--set needs/, as());
});

test('watch shows the job to its end; log and get have what it left', { timeout: 120_000 }, () => {
  const id = ok(['submit', '-'], { ...as(), input: spec({ name: 'watched', train: { epochs: EPOCHS } }) });
  const watched = run(['watch', id.slice(0, 13)], as());
  assert.equal(watched.code, 0, watched.err);
  assert.match(watched.err, new RegExp(`epoch ${EPOCHS}/${EPOCHS} +loss \\d+\\.\\d+ [^]*\\nsucceeded$`));
  assert.equal(JSON.parse(ok(['watch', id, '--json'], as())).state, 'succeeded');
  assert.match(ok(['log', id], as()), /started at epoch 0/);
  const csv = ok(['get', id, 'epochs'], as()).trim().split('\r\n');
  assert.deepEqual(csv[0].split(',').slice(0, 2), ['epoch', 'loss']);
  const all = Array.from({ length: EPOCHS + 1 }, (_, epoch) => epoch);
  assert.deepEqual(csv.slice(1).map((line) => Number(line.split(',')[0])), all);
  const records = ok(['get', id, 'epochs', '--json'], as()).split('\n').map((line) => JSON.parse(line));
  assert.deepEqual(records.map(({ epoch }) => epoch), all);
  const model = path.join(folder, 'model.safetensors');
  ok(['get', id, 'model', '--out', model], as());
  const head = Number(fs.readFileSync(model).readBigUInt64LE(0));
  assert.ok(JSON.parse(fs.readFileSync(model).subarray(8, 8 + head)));
  refused(['get', id, 'model', '--epoch', '3', '--out', path.join(folder, 'none')], 1, /no model of epoch 3/, as());
  assert.ok(!fs.existsSync(path.join(folder, 'none')));
  refused(['get', id, 'picture'], 2, /^usage: tokenfate get/, as());
});

test('Ctrl-C ends the watch and not the job', { timeout: 120_000 }, async () => {
  const id = ok(['submit', '-'], { ...as(), input: ENDLESS });
  await until(id, 'running');
  const child = spawn(BINARY, ['watch', id], { env: envOf('none', as().env), stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (more) => (said += more));
  while (!said.includes('epoch')) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill('SIGINT');
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 130, said);
  assert.match(said, new RegExp(`the job goes on; .*watch ${id}.*cancel ${id}`));
  assert.equal(await state(id), 'running');
  assert.match(ok(['hold', id], as()), /running, ends after its present step$/);
  await until(id, 'held');
  assert.equal(ok(['release', id], as()), `${id} queued`);
  await until(id, 'running');
  ok(['cancel', id], as());
  await until(id, 'cancelled');
  assert.equal(run(['watch', id], as()).code, 3);
  assert.match(ok(['retry', id, '--from', 'start'], as()), /queued$/);
  refused(['retry', id, '--from', 'yesterday'], 1, /from: "yesterday" is neither/, as());
  ok(['cancel', id], as());
});

test('the queue is closed and opened by administrators', async () => {
  assert.match(ok(['queue', 'drain'], as()), /^the queue is draining\n/);
  const id = ok(['submit', '-'], { ...as(), input: spec() });
  assert.match(ok(['queue'], as()), new RegExp(`^the queue is draining\\n[^]*${id} +admin +queued `));
  assert.match(ok(['queue', 'resume'], as()), /^the queue is open\n/);
  await until(id, 'succeeded');
  refused(['queue', 'stop'], 2, /^usage: tokenfate queue/, as());
});

test('ids may be abbreviated if that names one job', () => {
  refused(['log', 'zzz'], 1, /"zzz" is neither a job's id nor the beginning of one/, as());
  refused(['log', 'abc'], 1, /"abc" is neither/, as());
  refused(['log', '00000000-0000'], 1, /there is no job 00000000-0000/, as());
  refused(['cancel', '00000000-0000-4000-8000-000000000000'], 1, /there is no job/, as());
});
