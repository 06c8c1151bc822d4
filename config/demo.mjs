// demo: the main experiment for someone who has just cloned the repository.
//   node config/demo.mjs start BUILD   find the text, start the service, run the gulliver
//                                      preset (EPOCHS=n: shorter), print the table of results
//   node config/demo.mjs stop BUILD    stop the service that start left running
//   node config/demo.mjs free BUILD    fail, with its address, if a service has ./data
// Called by `make demo`, `demo-stop` and `serve`. Talks to the service as any user does, over
// HTTP; the service stays up, its process id in data/demo.pid.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const [action, build] = process.argv.slice(2);
const DATA = 'data';
const PID_FILE = path.join(DATA, 'demo.pid');
const ADDRESS_FILE = path.join(DATA, 'address');
const SECRET_FILE = path.join(DATA, 'secret');
const LOCK_FILE = path.join(DATA, 'lock');
const TEXT = 'pg829.txt';
const TEXT_URL = 'https://www.gutenberg.org/cache/epub/829/pg829.txt';
const TEXT_FOLDERS = (process.env.TOKENFATE_CORPUS_PATH ?? 'corpora').split(':');
const TEXT_BYTES_MIN = 500_000; // shorter is an error page, not the book
const DOWNLOAD_MS = 20_000;
const START_MS = 30_000;
const COLUMNS = 80; // of a terminal that does not say
const BAR = 30;
const BAR_MIN = 8; // a shorter bar shows nothing
const PLAIN_LINES = 10; // progress lines without a terminal

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fail = (message) => { console.error(`demo: ${message}`); process.exit(1); };
const read = (file) => { try { return fs.readFileSync(file, 'utf8').trim(); } catch { return ''; } };

/* ---- the text ---- */

const textFile = () => TEXT_FOLDERS.map((folder) => path.join(folder, TEXT)).find((file) => fs.existsSync(file));

async function download(folder) {
  console.log('Downloading Gulliver\'s Travels from Project Gutenberg ...');
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
  if (textFile()) return 'gulliver';
  try {
    await download(TEXT_FOLDERS[0]);
    return 'gulliver';
  } catch (error) {
    console.log(`No text: ${TEXT} is not in ${TEXT_FOLDERS.join(' or ')}, and the download failed (${error.cause?.code ?? error.message}).`);
    console.log('Running gulliver-synthetic instead: independent draws with the token counts of Gulliver\'s Travels.');
    return 'gulliver-synthetic';
  }
}

// What to do about a missing text: the service has no "gulliver", which the defaults name.
function sayHowToAddText(url) {
  console.log(`
This service has no text "gulliver", which a spec names by default. Until it has, name the built-in source:
  curl -d '{"corpus": {"id": "gulliver-synthetic"}}' -H 'Content-Type: application/json' ${url}/api/v1/jobs
The text: save ${TEXT_URL} as ${path.join(TEXT_FOLDERS[0], TEXT)},
then \`make demo\` again. Any other text of yours:
  curl -T FILE -X POST '${url}/api/v1/corpora?name=NAME'`);
}

/* ---- the service ---- */

// The process that serves ./data, or 0: the `tokenfate serve` that has the folder's lock
// open. A number in a file proves nothing; after a crash it may be anybody's.
function server() {
  const open = (file) => { try { return fs.statSync(file); } catch { return {}; } };
  const lock = open(LOCK_FILE);
  const serves = (pid) => {
    const [program, command] = read(`/proc/${pid}/cmdline`).split('\0');
    if (path.basename(program) !== 'tokenfate' || command !== 'serve') return false;
    try {
      return fs.readdirSync(`/proc/${pid}/fd`).map((fd) => open(`/proc/${pid}/fd/${fd}`))
        .some((file) => file.ino === lock.ino && file.dev === lock.dev);
    } catch { return false; } // it has ended, or it is another user's
  };
  return lock.ino ? Number(fs.readdirSync('/proc').find((name) => /^\d+$/.test(name) && serves(name)) ?? 0) : 0;
}

const isOurs = (pid) => Number(read(PID_FILE)) === pid;
const howToEnd = (pid) => (isOurs(pid) ? '`make demo-stop` ends it' : `end it where it was started (process ${pid})`);

const healthy = async (url) => {
  try { return (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2000) })).ok; } catch { return false; }
};

const portFree = (port) => new Promise((resolve) => {
  const probe = net.createServer().once('error', () => resolve(false));
  probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
});

async function launch() {
  fs.mkdirSync(DATA, { recursive: true, mode: 0o700 });
  fs.rmSync(ADDRESS_FILE, { force: true });
  const listen = await portFree(8080) ? '127.0.0.1:8080' : '127.0.0.1:0';
  if (listen.endsWith(':0')) console.log('Port 8080 is taken; using another one.');
  const log = fs.openSync(path.join(DATA, 'log'), 'a');
  launch.logFrom = fs.fstatSync(log).size;
  const child = spawn(path.join(build, 'tokenfate'), ['serve', '--listen', listen, '--data', DATA],
    { detached: true, stdio: ['ignore', log, log] });
  fs.writeFileSync(PID_FILE, `${child.pid}\n`);
  child.unref();
  return child;
}
launch.logFrom = Infinity; // of a service that ran before

async function service() {
  const child = server() ? { exitCode: null } : await launch();
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(100)) {
    const url = read(ADDRESS_FILE);
    if (await healthy(url)) return url;
    if (child.exitCode !== null) break;
  }
  return fail(`the service did not start; see ${DATA}/log:\n${read(path.join(DATA, 'log')).split('\n').slice(-5).join('\n')}`);
}

// A service without logins says so in its log where others have accounts on this machine.
function sayNeighbours() {
  const [line] = /whoever has an account on this machine[^"\n]*/.exec(read(path.join(DATA, 'log')).slice(launch.logFrom)) ?? [];
  if (line) console.log(`Beware: ${line}`);
}

// The folder's secret opens a service that somebody started with authentication too.
const ask = (url, route, init = {}) => fetch(`${url}/api/v1${route}`, {
  ...init, headers: { ...init.headers, Authorization: `Bearer ${read(SECRET_FILE)}` },
});

async function api(url, method, route, body) {
  const answer = await ask(url, route, {
    method, headers: body ? { 'Content-Type': 'application/json' } : {}, body: body && JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) fail(`${method} ${route}: ${answer.status} ${result.detail ?? ''} ${JSON.stringify(result.errors ?? [])}`);
  return result;
}

// A service that was started without the text takes it when it is uploaded.
async function upload(url) {
  if ((await ask(url, '/corpora/gulliver')).ok) return;
  const answer = await ask(url, '/corpora?name=gulliver', { method: 'POST', body: fs.readFileSync(textFile()) });
  if (!answer.ok) fail(`the text: ${answer.status} ${(await answer.json()).detail}`);
}

/* ---- progress ---- */

// On a terminal one line, never wider than it; elsewhere lines one below the other.
const show = (line) => process.stdout.write(`\r\x1b[K${line.slice(0, (process.stdout.columns || COLUMNS) - 1)}`);
const endLine = () => { if (process.stdout.isTTY) process.stdout.write('\r\x1b[K'); };

const left = (job) => (job.eta_seconds == null ? '' : `, about ${Math.round(job.eta_seconds)} s left`);
const epochOf = (job) => `epoch ${Math.max(job.epoch, 0)}/${job.epochs}`;

function progress(job) {
  const done = Math.max(job.epoch, 0);
  const loss = job.summary?.loss == null ? '' : `  loss ${job.summary.loss.toFixed(3)}`;
  const words = `${epochOf(job)}${loss}${left(job)}`;
  const width = Math.min(BAR, (process.stdout.columns || COLUMNS) - words.length - 4);
  const bar = width < BAR_MIN ? '' : `[${'='.repeat(Math.round(width * done / job.epochs)).padEnd(width)}] `;
  if (process.stdout.isTTY) show(bar + words);
  else if (done >= progress.next) { console.log(words); progress.next = done + job.epochs / PLAIN_LINES; }
}
progress.next = 0;

// Why a job waits, and behind which jobs: said once for each reason.
async function waiting(url, job) {
  if (process.stdout.isTTY) show(`waiting: ${job.waits.message}`);
  if (job.waits.message === waiting.said) return;
  waiting.said = job.waits.message;
  const { jobs } = await api(url, 'GET', '/jobs?state=running');
  endLine();
  console.log(`It waits: ${job.waits.message}.`);
  for (const other of jobs) {
    console.log(`  ${other.id} runs: ${other.name}, ${epochOf(other)}${left(other)}; to cancel it:`);
    console.log(`  curl -X POST ${url}/api/v1/jobs/${other.id}/cancel`);
  }
}

function leave(url, id) {
  endLine();
  console.log(`The job goes on: ${url}/#/jobs/${id}`);
  console.log(`To cancel it:      curl -X POST ${url}/api/v1/jobs/${id}/cancel`);
  console.log('To end the service: make demo-stop (a job that runs goes on when a service has ./data again)');
  process.exit(130);
}

/* ---- actions ---- */

async function submit(url, id) {
  const spec = await api(url, 'GET', '/presets/gulliver');
  if (id !== spec.corpus.id) Object.assign(spec, { name: id, corpus: { ...spec.corpus, id } });
  if (process.env.EPOCHS) spec.train.epochs = Number(process.env.EPOCHS);
  return api(url, 'POST', '/jobs', spec);
}

async function follow(url, submitted) {
  let job = submitted;
  process.on('SIGINT', () => leave(url, job.id));
  while (!['succeeded', 'failed', 'cancelled'].includes(job.state)) {
    await sleep(500);
    job = await api(url, 'GET', `/jobs/${job.id}`);
    if (job.state === 'queued' && job.waits) await waiting(url, job);
    else progress(job);
  }
  endLine();
  return job;
}

// On which device the job will run: a GPU proves itself first, which takes seconds.
async function sayDevice(url) {
  const gpus = async () => (await api(url, 'GET', '/devices')).devices.filter(({ kind }) => kind !== 'cpu');
  const isProving = ({ proof }) => proof?.state === 'running' || proof?.state === 'never';
  let [gpu] = await gpus();
  if (gpu && isProving(gpu)) {
    console.log(`${gpu.id}, ${gpu.name}: comparing it with the reference`);
    for (; isProving(gpu); [gpu] = await gpus()) await sleep(200);
  }
  if (!gpu?.available) console.log(`No GPU: ${gpu?.reason ?? 'none found'}. Training on the CPU.`);
  else console.log(`Training on ${gpu.id}, ${gpu.name}${gpu.proof ? `: ${gpu.proof.checks} checks hold` : ''}`);
}

async function start() {
  const id = await corpus();
  const url = await service();
  console.log(`Service at ${url} (log: ${DATA}/log)`);
  sayNeighbours();
  await sayDevice(url);
  if (id === 'gulliver') await upload(url);
  const submitted = await submit(url, id);
  console.log(`Job ${submitted.id}: ${submitted.name}, ${submitted.epochs} epochs`);
  const job = await follow(url, submitted);
  if (job.state !== 'succeeded') fail(`the job ${job.state}: ${JSON.stringify(job.error)}`);
  console.log(`Trained on ${job.device}: ${job.provenance.device}, ${job.provenance.precision}.`);
  const table = spawnSync(path.join(build, 'tokenfate'), ['show', job.id, '--data', DATA], { stdio: 'inherit' });
  if (table.status !== 0) fail(`tokenfate show ended with ${table.status}`);
  if (id !== 'gulliver') sayHowToAddText(url);
  console.log(`\nDashboard: ${url}/#/jobs/${job.id}`);
  console.log(`The service stays up; ${howToEnd(server())}.`);
}

async function stop() {
  const pid = server();
  if (pid && !isOurs(pid)) fail(`the service at ${read(ADDRESS_FILE)} was not started by \`make demo\`; ${howToEnd(pid)}`);
  if (pid) process.kill(pid, 'SIGTERM');
  while (pid && server() === pid) await sleep(100);
  fs.rmSync(PID_FILE, { force: true });
  return console.log(pid ? 'Stopped.' : 'No demo service is running.');
}

function free() {
  const pid = server();
  if (pid) fail(`a service has ./${DATA} already, at ${read(ADDRESS_FILE) || 'an address to come'}; ${howToEnd(pid)}`);
}

const actions = { start, stop, free };
await (actions[action] ?? (() => fail('usage: demo.mjs start|stop|free BUILD')))();
