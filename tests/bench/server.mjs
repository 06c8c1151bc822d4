// server: a POST beside the deletion of a long job, in the milliseconds of a client:
//
//   node tests/bench/server.mjs OUT.json [BUILD...]
//
// Each BUILD (default: TOKENFATE_BUILD) runs in a process of its own, one after the other.
// The 150,000 epochs are written into the database by SQL while no server runs: training
// them would take hours and say nothing about DELETE. Clients send a POST every 20 ms
// whether or not the ones before are answered, so a blocked writer shows in every request
// that it delays. Ratios to the idle server are what counts; nothing here passes or fails.

import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { commit } from './commit.mjs';
import { childrenOf } from '../lib/processes.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';
import { finished, reached, small, submit, tiny } from '../lib/experiments.mjs';

const EPOCHS = 150_000;
const RECORD_BYTES = 1800; // with TOKEN_BYTES the 3.0 KB a record has in the default groups
const TOKEN_BYTES = 1200;
const EVENT_EPOCHS = 10; // epochs that one `epoch` event announces
const POST_MS = 20;
const IDLE_POSTS = 500;
const WARM_POSTS = 50; // not timed: connections, caches and statements are made
const WATCH_MS = 50; // between two looks at the files
const SHRUNK = 0.1; // of the size before: the space is given back
const SHRUNK_SECONDS = 30; // a build that has not given it back by then does not do so
const DRAIN_SECONDS = 30; // after the last POST, for the WAL to be truncated

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sizeOf = (file) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;

function quantile(times, q) {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];
}

const summary = ({ accepted, refused }) => ({
  posts: accepted.length, refused, p50: quantile(accepted, 0.5), p99: quantile(accepted, 0.99), most: Math.max(...accepted),
});

// The column of `epochs` that names the job is the first one in every schema.
const FILL = `
import sqlite3, sys
path, job, epochs, record, tokens, step = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
db = sqlite3.connect(path)
key = [row[1] for row in db.execute("PRAGMA table_info(epochs)")][0]
seq = db.execute("SELECT seq FROM jobs WHERE id = ?", (job,)).fetchone()[0]
db.execute("DELETE FROM epochs WHERE %s = ?" % key, (seq,))
db.executemany("INSERT INTO epochs (%s, epoch, record, tokens) VALUES (?, ?, randomblob(?), randomblob(?))" % key,
               ((seq, epoch, record, tokens) for epoch in range(epochs)))
db.executemany("INSERT INTO events (type, job, epoch_first, epoch_last) VALUES ('epoch', ?, ?, ?)",
               ((job, epoch, epoch + step - 1) for epoch in range(0, epochs, step)))
db.execute("UPDATE jobs SET epoch = ? - 1, epochs = ? WHERE id = ?", (epochs, epochs, job))
db.commit()
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.close()
`;

function fill(database, id) {
  execFileSync('python3', ['-c', FILL, database, id, ...[EPOCHS, RECORD_BYTES, TOKEN_BYTES, EVENT_EPOCHS].map(String)]);
}

const posted = JSON.stringify(tiny({ name: 'beside', resources: { device: 'cpu' } }));

/** What is refused (503: too many requests wait) is counted, and has no time. */
async function post(server, times) {
  const begun = performance.now();
  const answer = await server.api('/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: posted,
  });
  await answer.arrayBuffer();
  if (answer.status === 201) times.accepted.push(performance.now() - begun);
  else if (answer.status === 503) times.refused++;
  else throw new Error(`POST /jobs: ${answer.status}`);
}

/** Send a POST every POST_MS until `over`; resolves with the times of all of them, once all are answered. */
async function posts(server, over) {
  const times = { accepted: [], refused: 0 }, open = [];
  const begun = performance.now();
  for (let n = 0; !over(n); n++) {
    open.push(post(server, times));
    await sleep(Math.max(0, begun + (n + 1) * POST_MS - performance.now()));
  }
  await Promise.all(open);
  return times;
}

/** Milliseconds from `begun` until the condition holds; null if it does not in time. */
async function when(begun, seconds, holds) {
  while (performance.now() - begun < 1000 * seconds) {
    if (holds()) return performance.now() - begun;
    await sleep(WATCH_MS);
  }
  return null;
}

/** Take the device with a job whose trainer stands still: what is posted after it waits, and no training disturbs the
 * figures. */
async function occupy(server) {
  const { id } = await submit(server, small({ resources: { device: 'cpu' } }));
  await reached(server, id, 1);
  for (const trainer of childrenOf(server)) process.kill(trainer, 'SIGSTOP');
}

async function filledServer(dataDir) {
  const args = ['--max-queue', '100000', '--user-queued', '0', '--cancel-seconds', '1'];
  const first = await startServer({ dataDir, args });
  const { id } = await finished(first, (await submit(first, tiny({ name: 'long' }))).id);
  await first.stop();
  fill(path.join(dataDir, 'tokenfate.db'), id);
  const server = await startServer({ dataDir, args });
  await occupy(server);
  return { server, id };
}

async function deletion(server, id, database) {
  const wal = `${database}-wal`;
  const before = sizeOf(database);
  let walMost = 0, isOver = false;
  const begun = performance.now();
  const beside = posts(server, () => isOver);
  const answered = server.api(`/jobs/${id}`, { method: 'DELETE' }).then((answer) => {
    if (answer.status !== 204) throw new Error(`DELETE: ${answer.status}`);
    return performance.now() - begun;
  });
  const shrunk = await when(begun, SHRUNK_SECONDS, () => {
    walMost = Math.max(walMost, sizeOf(wal));
    return sizeOf(database) < SHRUNK * before;
  });
  const answeredMs = await answered;
  isOver = true;
  const times = await beside;
  await when(performance.now(), DRAIN_SECONDS, () => sizeOf(wal) === 0);
  return {
    answered_ms: answeredMs, shrunk_ms: shrunk, beside: summary(times), file_before: before, file_after: sizeOf(database),
    wal_most: walMost, wal_after: sizeOf(wal),
  };
}

async function measure() {
  const dataDir = fs.mkdtempSync(path.join(tmpdir(), 'tokenfate-bench-'));
  try {
    const { server, id } = await filledServer(dataDir);
    await posts(server, (n) => n === WARM_POSTS);
    const idle = summary(await posts(server, (n) => n === IDLE_POSTS));
    const result = await deletion(server, id, path.join(dataDir, 'tokenfate.db'));
    await server.stop();
    const ratio = Object.fromEntries(['p50', 'p99'].map((q) => [q, result.beside[q] / idle[q]]));
    return { idle, ...result, ratio };
  } finally {
    removeFolder(dataDir);
  }
}

function measureIn(build) {
  const child = spawnSync(process.execPath, [process.argv[1], '--one'], {
    env: { ...process.env, TOKENFATE_BUILD: build }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.status !== 0) throw new Error(`${build}: the measurement ended with ${child.status ?? child.signal}`);
  return { build: fs.readFileSync(path.join(build, 'build-id'), 'utf8').trim(), ...JSON.parse(child.stdout) };
}

function print({ build, idle, beside, ratio, answered_ms, shrunk_ms, file_before, file_after, wal_most, wal_after }) {
  const ms = (x) => `${x.toFixed(1)} ms`;
  const mb = (x) => `${(x / 1e6).toFixed(1)} MB`;
  console.log(`build ${build}: DELETE of ${EPOCHS} epochs answered in ${ms(answered_ms)}`);
  console.log(`  POST idle p50 ${ms(idle.p50)}, p99 ${ms(idle.p99)}; beside it p50 ${ms(beside.p50)} (${ratio.p50.toFixed(1)} times), `
    + `p99 ${ms(beside.p99)} (${ratio.p99.toFixed(1)} times), most ${ms(beside.most)}, ${beside.refused} refused`);
  console.log(`  file ${mb(file_before)} -> ${mb(file_after)}${shrunk_ms === null ? '' : ` after ${ms(shrunk_ms)}`}; `
    + `WAL at most ${mb(wal_most)}, ${mb(wal_after)} at the end`);
}

if (process.argv[2] === '--one') {
  console.log(JSON.stringify(await measure()));
} else {
  const [out, ...builds] = process.argv.slice(2);
  if (!out) throw new Error('usage: server.mjs OUT.json [BUILD...]');
  if (!builds.length) builds.push(process.env.TOKENFATE_BUILD ?? 'build');
  const report = {
    date: new Date().toISOString(), processor: cpus()[0].model.trim(), threads: availableParallelism(), commit: commit(),
    load: [loadavg()[0]], epochs: EPOCHS, post_every_ms: POST_MS, builds: [],
  };
  for (const build of builds) {
    report.builds.push(measureIn(build));
    print(report.builds.at(-1));
  }
  report.load.push(loadavg()[0]);
  fs.writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
}
