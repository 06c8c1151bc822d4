// demo: the main experiment for someone who has just cloned the repository.
//   node config/demo.mjs start BUILD   find the text, start the service, run the
//                                      gulliver preset, print the table of results
//   node config/demo.mjs stop BUILD    stop the service that start left running
// Called by `make demo` and `make demo-stop`. Talks to the service as any user
// does, over HTTP; the service stays up, its process id in data/demo.pid.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const [action, build] = process.argv.slice(2);
const DATA = 'data';
const PID_FILE = path.join(DATA, 'demo.pid');
const ADDRESS_FILE = path.join(DATA, 'address');
const TEXT = 'pg829.txt';
const TEXT_URL = 'https://www.gutenberg.org/cache/epub/829/pg829.txt';
const TEXT_FOLDERS = (process.env.TOKENFATE_CORPUS_PATH ?? 'corpora').split(':');
const TEXT_BYTES_MIN = 500_000; // shorter is an error page, not the book
const DOWNLOAD_MS = 20_000;
const START_MS = 30_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fail = (message) => { console.error(`demo: ${message}`); process.exit(1); };

async function download(folder) {
  console.log(`Downloading Gulliver's Travels from Project Gutenberg ...`);
  const answer = await fetch(TEXT_URL, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (!answer.ok || bytes.length < TEXT_BYTES_MIN) throw new Error(`answer ${answer.status}, ${bytes.length} bytes`);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, `${TEXT}.part`), bytes);
  fs.renameSync(path.join(folder, `${TEXT}.part`), path.join(folder, TEXT));
}

// Name of the corpus to train on: the real text wherever one is to be had, else
// the built-in synthetic one under its own name.
async function corpus() {
  if (TEXT_FOLDERS.some((folder) => fs.existsSync(path.join(folder, TEXT)))) return 'gulliver';
  try {
    await download(TEXT_FOLDERS[0]);
    return 'gulliver';
  } catch (error) {
    console.log(`No text: ${TEXT} is not in ${TEXT_FOLDERS.join(' or ')}, and the download failed (${error.cause?.code ?? error.message}).`);
    console.log('Running gulliver-synthetic instead: independent draws with the token counts of Gulliver\'s Travels.');
    return 'gulliver-synthetic';
  }
}

const read = (file) => { try { return fs.readFileSync(file, 'utf8').trim(); } catch { return ''; } };

function running() {
  const pid = Number(read(PID_FILE));
  try { process.kill(pid, 0); return pid > 0 ? pid : 0; } catch { return 0; }
}

const healthy = async (url) => {
  try { return (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2000) })).ok; } catch { return false; }
};

const portFree = (port) => new Promise((resolve) => {
  const probe = net.createServer().once('error', () => resolve(false));
  probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
});

async function service() {
  if (running() && await healthy(read(ADDRESS_FILE))) return read(ADDRESS_FILE);
  fs.mkdirSync(DATA, { recursive: true });
  fs.rmSync(ADDRESS_FILE, { force: true });
  const listen = await portFree(8080) ? '127.0.0.1:8080' : '127.0.0.1:0';
  if (listen.endsWith(':0')) console.log('Port 8080 is taken; using another one.');
  const log = fs.openSync(path.join(DATA, 'log'), 'a');
  const child = spawn(path.join(build, 'tokenfate'), ['serve', '--listen', listen, '--data', DATA],
    { detached: true, stdio: ['ignore', log, log] });
  fs.writeFileSync(PID_FILE, `${child.pid}\n`);
  child.unref();
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(100)) {
    const url = read(ADDRESS_FILE);
    if (await healthy(url)) return url;
    if (child.exitCode !== null) break;
  }
  return fail(`the service did not start; see ${DATA}/log:\n${read(path.join(DATA, 'log')).split('\n').slice(-5).join('\n')}`);
}

async function api(url, method, route, body) {
  const answer = await fetch(`${url}/api/v1${route}`, {
    method, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body && JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) fail(`${method} ${route}: ${answer.status} ${result.detail ?? ''} ${JSON.stringify(result.errors ?? [])}`);
  return result;
}

function progress(job) {
  const done = Math.max(job.epoch, 0);
  const bar = '='.repeat(Math.round(30 * done / job.epochs)).padEnd(30);
  const eta = job.eta_seconds == null ? '' : `  about ${Math.round(job.eta_seconds)} s left`;
  const loss = job.summary?.loss == null ? '' : `  loss ${job.summary.loss.toFixed(3)}`;
  const line = `[${bar}] epoch ${done}/${job.epochs}${loss}${eta}`;
  if (process.stdout.isTTY) process.stdout.write(`\r${line.padEnd(90)}`);
  else if (done >= progress.next) { console.log(line); progress.next = done + job.epochs / 10; }
}
progress.next = 0;

async function start() {
  const id = await corpus();
  const url = await service();
  console.log(`Service at ${url} (log: ${DATA}/log)`);
  const devices = (await api(url, 'GET', '/devices')).devices;
  const gpu = devices.find((device) => device.kind !== 'cpu' && device.available);
  if (!gpu) console.log(`No GPU: ${devices.find((device) => device.kind !== 'cpu')?.reason ?? 'none found'}. Training on the CPU.`);
  const spec = await api(url, 'GET', '/presets/gulliver');
  if (id !== spec.corpus.id) Object.assign(spec, { name: id, corpus: { ...spec.corpus, id } });
  let job = await api(url, 'POST', '/jobs', spec);
  console.log(`Job ${job.id}: ${spec.name}, ${spec.train.epochs} epochs`);
  while (!['succeeded', 'failed', 'cancelled'].includes(job.state)) {
    await sleep(500);
    job = await api(url, 'GET', `/jobs/${job.id}`);
    progress(job);
  }
  if (process.stdout.isTTY) console.log();
  if (job.state !== 'succeeded') fail(`the job ${job.state}: ${JSON.stringify(job.error)}`);
  const table = spawnSync(path.join(build, 'tokenfate'), ['show', job.id, '--data', DATA], { stdio: 'inherit' });
  if (table.status !== 0) fail(`tokenfate show ended with ${table.status}`);
  console.log(`\nDashboard: ${url}/#/jobs/${job.id}`);
  console.log('The service stays up; `make demo-stop` ends it.');
}

async function stop() {
  const pid = running();
  if (!pid) return console.log('No demo service is running.');
  process.kill(pid, 'SIGTERM');
  while (running()) await sleep(100);
  fs.rmSync(PID_FILE, { force: true });
  return console.log('Stopped.');
}

const actions = { start, stop };
await (actions[action] ?? (() => fail('usage: demo.mjs start|stop BUILD')))();
