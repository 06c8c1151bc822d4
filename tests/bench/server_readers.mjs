// server_readers: do readers of large answers slow down everybody else?
//
//   node tests/bench/server_readers.mjs OUT.json [SECONDS]
//
// A job with 6,000 epochs (made by the fake trainer) is read by 8 clients that ask again as soon
// as they have an answer, 40 clients ask for it and never read, and a job trains. Meanwhile
// short requests are timed, one at a time of each kind; the same requests are timed on the idle
// server before and after. What counts is the ratio to idle; goals are printed beside. Nothing
// here passes or fails.
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { removeFolder, startServer } from '../lib/server.mjs';
import { finished, small, submit, tiny } from '../lib/experiments.mjs';
import { commit } from './commit.mjs';
import { table } from './report.mjs';

const [out = 'bench-server-readers.json', seconds = '20'] = process.argv.slice(2);
const BUILD = process.env.TOKENFATE_BUILD ?? 'build';
const EPOCHS = 6000;
const READERS = 8;
const SILENT = 40;
const GOALS = { 'GET /jobs?limit=1': 100, 'POST /jobs': 300, '/healthz': 20 }; // ms at p99


/** One request on a connection of its own. */
function ask(server, route, { method = 'GET', body, signal, onBytes = () => {} } = {}) {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const request = http.request(server.url + route, { method, signal, agent: false,
      headers: body ? { 'Content-Type': 'application/json' } : {} }, (answer) => {
      answer.on('data', (chunk) => onBytes(chunk.length));
      answer.on('end', () => resolve({ status: answer.statusCode, ms: performance.now() - start }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function makeLongJob(dataDir) {
  const server = await startServer({ dataDir, args: ['--trainer', path.resolve(BUILD, 'tests/fake_trainer')],
    env: { FAKE_TRAINER_MS: '0' } });
  const { id } = await submit(server, tiny({ name: 'long', train: { epochs: EPOCHS } }));
  const job = await finished(server, id);
  await server.stop();
  if (job.state !== 'succeeded') throw new Error(`the long job is ${job.state}`);
  return id;
}

// Jobs that are timed ask for a device that is not there, so they wait and load nothing.
const KINDS = {
  'GET /jobs?limit=1': (server) => ask(server, '/api/v1/jobs?limit=1'),
  'POST /jobs': (server) => ask(server, '/api/v1/jobs', { method: 'POST', body: JSON.stringify(tiny({ resources: { device: 'cuda:0' } })) }),
  '/healthz': (server) => ask(server, '/healthz'),
};

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

/** Requests of every kind, back to back with a pause, for so many seconds: ms. */
async function probe(server, duration) {
  const end = performance.now() + 1000 * duration;
  const times = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, []]));
  let failed = 0;
  await Promise.all(Object.entries(KINDS).map(async ([kind, send]) => {
    while (performance.now() < end) {
      const answer = await send(server);
      if (answer.status >= 400) failed++;
      times[kind].push(answer.ms);
      await sleep(20);
    }
  }));
  const figures = Object.fromEntries(Object.entries(times).map(([kind, list]) => {
    const sorted = list.sort((a, b) => a - b);
    return [kind, { n: sorted.length, p50: at(sorted, 0.5), p99: at(sorted, 0.99), max: sorted.at(-1) }];
  }));
  return { failed, load: os.loadavg()[0], figures };
}

/** Clients that ask and never read. */
function openSilent(server, route, n) {
  const { hostname, port } = new URL(server.url);
  return Array.from({ length: n }, () => {
    const socket = net.connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.pause();
    socket.write(`GET ${route} HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`);
    return socket;
  });
}

// The readers run in a thread of their own: what they read must not delay the clock of the probes.
async function load({ url, route }) {
  const read = { answers: 0, bytes: 0, refused: 0 };
  const stop = new AbortController();
  parentPort.once('message', () => stop.abort());
  const silent = openSilent({ url }, route, SILENT);
  await Promise.all(Array.from({ length: READERS }, async () => {
    while (!stop.signal.aborted) {
      const onBytes = (n) => { read.bytes += n; };
      const answer = await ask({ url }, route, { signal: stop.signal, onBytes }).catch(() => null);
      if (answer?.status === 200) read.answers++;
      else if (answer) read.refused++, await sleep(1000);
    }
  }));
  silent.forEach((socket) => socket.destroy());
  parentPort.postMessage(read);
}

async function underLoad(server, id) {
  const training = await submit(server, small({ name: 'trains', train: { epochs: 1000000 } }));
  const readers = new Worker(new URL(import.meta.url), { workerData: { url: server.url, route: `/api/v1/jobs/${id}/epochs?limit=20000` } });
  await sleep(2000);
  const measured = await probe(server, Number(seconds));
  const done = once(readers, 'message');
  readers.postMessage('stop');
  const [read] = await done;
  const { epoch } = await (await server.api(`/jobs/${training.id}`)).json();
  await server.api(`/jobs/${training.id}/cancel`, { method: 'POST' });
  await finished(server, training.id);
  return { ...measured, read, trained_epochs: epoch };
}

async function main() {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-bench-'));
  try {
    const id = await makeLongJob(dataDir);
    const server = await startServer({ dataDir });
    const before = await probe(server, Number(seconds) / 2);
    const loaded = await underLoad(server, id);
    const after = await probe(server, Number(seconds) / 2);
    const stopping = performance.now();
    await server.stop();
    const stopped = performance.now();
    const result = { commit: commit(), cpus: os.cpus().length, epochs: EPOCHS, readers: READERS, silent: SILENT, seconds: Number(seconds),
      idle_before: before, loaded, idle_after: after, goals_p99_ms: GOALS, stop_ms: stopped - stopping };
    const ms = (value) => value.toFixed(1);
    console.log(table(['request', 'idle p99', 'loaded p50', 'loaded p99', 'ratio', 'max', 'goal p99'], Object.keys(KINDS).map((kind) => {
      const idle = Math.max(before.figures[kind].p99, after.figures[kind].p99);
      const { p50, p99, max } = loaded.figures[kind];
      return [kind, ms(idle), ms(p50), ms(p99), (p99 / idle).toFixed(2), ms(max), String(GOALS[kind])];
    })));
    console.log(`ms; ${loaded.read.answers} large answers read to the end, ${(loaded.read.bytes / 1e6).toFixed(0)} MB, ${loaded.trained_epochs} epochs trained; `
      + `load ${before.load.toFixed(1)}, ${loaded.load.toFixed(1)}, ${after.load.toFixed(1)}`);
    fs.writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
  } finally {
    removeFolder(dataDir);
  }
}

await (isMainThread ? main() : load(workerData));
