// /readyz finds out whether a write would fail, and says why; /metrics is text that Prometheus
// reads, with a bounded number of series.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startServer } from '../lib/server.mjs';
import { finished, submit, tiny } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { await server.stop(); });

const ready = async ({ url }) => {
  const answer = await fetch(`${url}/readyz`);
  return [answer.status, await answer.json()];
};

test('ready: every check is ok', async () => {
  assert.deepEqual(await ready(server), [200, {
    ready: true, reasons: [], checks: { database: 'ok', disk: 'ok', devices: 'ok', server: 'ok' },
  }]);
});

// A folder of 40 MiB of its own; undefined where nobody may mount one.
function smallDisk(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder]);
  t.after(() => {
    if (mounted.status === 0) spawnSync('umount', [folder]);
    fs.rmdirSync(folder);
  });
  return mounted.status === 0 ? folder : undefined;
}

test('a full disk: not ready, with the reason; ready again when there is room', async (t) => {
  const folder = smallDisk(t);
  if (!folder) return t.skip('mounting a small disk needs root');
  const small = await startServer({ dataDir: path.join(folder, 'data') });
  try {
    assert.equal((await ready(small))[0], 200);
    fs.writeFileSync(path.join(folder, 'ballast'), Buffer.alloc(26 << 20));
    const [little, { reasons, checks }] = await ready(small);
    assert.equal(little, 503);
    assert.match(checks.disk, /^\d+ bytes are free, less than 16 MiB$/);
    assert.deepEqual([checks.database, reasons], ['ok', [checks.disk]]);
    const book = (name) => small.api(`/corpora?name=${name}`, { method: 'POST', headers: { 'Content-Type': 'text/plain' },
      body: Array.from({ length: 2000 }, (_, i) => `${name} ${i}`).join('\n') });
    assert.equal((await book('first')).status, 201);
    const fill = fs.openSync(path.join(folder, 'rest'), 'w');
    const fillUp = () => { try { for (;;) fs.writeSync(fill, Buffer.alloc(4096)); } catch (error) { assert.equal(error.code, 'ENOSPC'); } };
    fillUp();
    fs.ftruncateSync(fill, fs.fstatSync(fill).size - 300_000); // enough for a job, too little for its tokens
    const job = await submit(small, tiny({ train: { epochs: 1 }, corpus: { id: 'first', variant: 'raw' } }));
    let waits;
    for (const end = Date.now() + 20_000; !/No space left/.test(waits?.message) && Date.now() < end;) {
      ({ waits } = await (await small.api(`/jobs/${job.id}`)).json());
    }
    assert.match(waits.message, /No space left/);
    fillUp();
    await new Promise((resolve) => setTimeout(resolve, 1100)); // it writes once a second at most
    const [none, full] = await ready(small);
    assert.deepEqual([none, full.ready, full.reasons.length], [503, false, 2]);
    assert.match(full.checks.database, /full/);
    assert.doesNotMatch(JSON.stringify(full), new RegExp(folder));
    for (const answer of [await book('second'), await small.api('/jobs', { method: 'POST', body: '{"corpus": {"id": "gulliver-synthetic"}}', headers: { 'Content-Type': 'application/json' } })]) {
      const { detail } = await answer.json();
      assert.equal(answer.status, 503, detail);
      assert.match(detail, /No space left on device|disk is full/);
      assert.ok(Number(answer.headers.get('retry-after')) > 0);
    }
    fs.closeSync(fill);
    for (const name of ['ballast', 'rest']) fs.unlinkSync(path.join(folder, name));
    assert.deepEqual((await ready(small))[1].reasons, []);
    assert.equal((await finished(small, job.id, 60)).state, 'succeeded');
  } finally {
    await small.stop();
  }
});

// Families of a text in format 0.0.4, or an error: what `promtool check metrics` refuses.
function parse(text) {
  assert.ok(text.endsWith('\n'));
  const families = new Map(), series = new Set();
  let family;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, word, name, rest] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line) ?? [];
    if (word === 'HELP') {
      assert.ok(!families.has(name), `${name} comes twice`);
      families.set(name, family = { name, help: rest, samples: [] });
    } else if (word === 'TYPE') {
      assert.equal(name, family.name);
      assert.ok(!family.type && !family.samples.length && /^(counter|gauge|histogram|summary)$/.test(rest), line);
      family.type = rest;
    } else {
      const [, sample, labels = '', value] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line) ?? assert.fail(`"${line}"`);
      assert.ok(family.type, line);
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      assert.ok(suffixes.some((suffix) => sample === family.name + suffix), `${sample} among ${family.name}`);
      if (labels) assert.match(labels, /^\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*")*\}$/);
      assert.ok(!series.has(sample + labels), `${sample}${labels} comes twice`);
      series.add(sample + labels);
      family.samples.push({ sample, labels, value: Number(value) });
    }
  }
  for (const { name, type, samples } of families.values()) {
    if (type === 'counter') assert.match(name, /_total$/);
    if (type === 'histogram') checkHistogram(name, samples);
  }
  return families;
}

function checkHistogram(name, samples) {
  const of = new Map();
  for (const { sample, labels, value } of samples) {
    const key = labels.replace(/,?le="[^"]*"/, '').replace('{}', '');
    if (!of.has(key)) of.set(key, { buckets: [] });
    const le = /le="([^"]*)"/.exec(labels)?.[1];
    if (sample.endsWith('_bucket')) of.get(key).buckets.push([le === '+Inf' ? Infinity : Number(le), value]);
    else of.get(key)[sample.slice(name.length + 1)] = value;
  }
  for (const [key, { buckets, sum, count }] of of) {
    assert.ok(buckets.length >= 2 && buckets.at(-1)[0] === Infinity, `${name} ${key}`);
    buckets.reduce(([bound, n], [next, more]) => { assert.ok(bound < next && n <= more, `${name} ${key}`); return [next, more]; }, [-Infinity, 0]);
    assert.equal(buckets.at(-1)[1], count);
    assert.ok(sum >= 0 && (count > 0 || sum === 0), `${name} ${key}`);
  }
}

test('/metrics: valid, with disk, commits, queue, users, and latencies by route', async () => {
  const job = await finished(server, (await submit(server, tiny({ train: { epochs: 1 } }))).id);
  for (const name of ['nobody', '%20', 'a"b', '0123']) await fetch(`${server.url}/api/v1/jobs/${name}`);
  for (const name of ['/nowhere', '/api/v1/nowhere', '/app.js']) await fetch(server.url + name);
  await server.api(`/jobs/${job.id}?wait=1`);
  const answer = await fetch(`${server.url}/metrics`);
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const families = parse(await answer.text());
  const value = (name, labels = '') => families.get(`tokenfate_${name}`.replace(/_(bucket|sum|count)$/, ''))
    .samples.find(({ sample, labels: found }) => sample === `tokenfate_${name}` && found === labels)?.value;
  const { bavail, bsize } = fs.statfsSync?.(server.dataDir) ?? {};
  if (bsize) assert.ok(Math.abs(value('disk_free_bytes') / (bavail * bsize) - 1) < 0.2);
  assert.ok(value('commit_seconds_count') > 5 && value('commit_seconds_sum') > 0);
  assert.equal(value('queue_wait_seconds_count'), 1);
  assert.equal(value('user_jobs', '{user="local",state="succeeded"}'), 1);
  assert.equal(value('http_request_seconds_count', '{route="POST /api/v1/jobs"}'), 1);
  assert.ok(value('http_request_seconds_count', '{route="GET /api/v1/jobs/{id}"}') >= 4);
  const routes = new Set(families.get('tokenfate_http_request_seconds').samples.map(({ labels }) => /route="([^"]*)"/.exec(labels)[1]));
  const known = new Set(Object.entries((await (await server.api('/openapi.json')).json()).paths)
    .flatMap(([route, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${route}`)));
  for (const route of routes) assert.ok(known.has(route) || ['files', 'none', 'GET /'].includes(route), route);
  assert.ok(routes.has('none'));
});
