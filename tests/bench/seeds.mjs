// seeds: does bf16 measure what fp32 measures? The gulliver preset with several seeds,
// each in fp32 and in bf16, through the trainer itself:
//
//   node tests/bench/seeds.mjs OUT.json [SEEDS]
//
// One epoch cannot be compared: a change of 1e-6 in the weights alone moves it by
// tenths. So each group's mean log p is averaged over the last epochs of a run, and
// the question is put to the differences seed by seed (a paired comparison): their
// mean, with Student's 95 % interval, beside the interval that the seeds themselves
// have in fp32. A table on standard output, everything as JSON. Nothing passes or fails.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { studentHalf } from '../lib/recompute_findings.mjs';
import { commit } from './commit.mjs';
import { table } from './report.mjs';

const BUILD = process.env.TOKENFATE_BUILD ?? 'build';
const PRECISIONS = ['fp32', 'bf16'];
const LAST = 100; // epochs that are averaged over, before the end and with it

function specOf(seed, precision) {
  const spec = JSON.parse(readFileSync('config/presets/gulliver.json', 'utf8'));
  return { ...spec, train: { ...spec.train, seed, precision } };
}

const meanOf = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

/** Mean and half of the 95 % interval. */
function estimate(values) {
  const mean = meanOf(values);
  const sd = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1));
  return { mean, half: studentHalf(values.length - 1) * sd / Math.sqrt(values.length) };
}

/** Means over the run's last epochs: the loss and each group's mean log p. */
async function run(seed, precision) {
  const spec = specOf(seed, precision);
  const child = spawn(join(BUILD, 'tokenfate-trainer'), ['--corpus-path', process.env.TOKENFATE_CORPUS_PATH ?? 'corpora'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const began = Date.now();
  const seen = {};
  let started;
  let failed = 'it ended without a word';
  child.stdin.end(JSON.stringify(spec));
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text);
    if (line.type === 'started') started = line;
    if (line.type === 'failed') failed = line.text;
    if (line.type === 'done') failed = null;
    if (line.type || line.epoch < spec.train.epochs - LAST) continue;
    (seen.loss ??= []).push(line.loss);
    for (const [name, group] of Object.entries(line.groups)) (seen[name] ??= []).push(group.mean_logp.none);
  }
  if (failed) throw new Error(`seed ${seed}, ${precision}: ${failed}`);
  const means = Object.fromEntries(Object.entries(seen).map(([name, values]) => [name, meanOf(values)]));
  return { seed, precision, seconds: (Date.now() - began) / 1e3, isa: started.isa, build: started.build, means };
}

function summarise(runs, names, seeds) {
  const value = (seed, precision, name) => runs.find((r) => r.seed === seed && r.precision === precision).means[name];
  return names.map((name) => {
    const [fp32, bf16] = PRECISIONS.map((precision) => seeds.map((seed) => value(seed, precision, name)));
    const difference = estimate(bf16.map((x, i) => x - fp32[i]));
    return { name, fp32: estimate(fp32), bf16: estimate(bf16), difference };
  });
}

function print(report) {
  const number = ({ mean, half }) => `${mean.toFixed(4)} ± ${half.toFixed(4)}`;
  const seconds = PRECISIONS.map((precision) => meanOf(report.runs.filter((r) => r.precision === precision).map((r) => r.seconds)));
  console.log(`${report.processor}, ${report.threads} threads, ${report.date.slice(0, 10)}, commit ${report.commit}, ${report.runs[0].isa}.`);
  console.log(`gulliver, seeds 1-${report.seeds}, means over its last ${LAST + 1} records, mean over the seeds ± half of the 95 % interval;`);
  console.log(`a run took ${seconds[0].toFixed(0)} s in fp32, ${seconds[1].toFixed(0)} s in bf16; load average ${report.load.map((x) => x.toFixed(1)).join(' before and ')} after.\n`);
  const rows = report.summary.map((one) => [
    one.name, number(one.fp32), number(one.bf16), number(one.difference),
    Math.abs(one.difference.mean) <= one.difference.half ? 'holds 0' : 'does not hold 0',
    Math.abs(one.difference.mean) <= one.fp32.half ? 'within' : 'outside',
  ]);
  console.log(table(['mean over the last records', 'fp32', 'bf16', 'bf16 - fp32, by seed', 'its interval', "fp32's interval"], rows));
}

const [out, count = '5'] = process.argv.slice(2);
if (!out || !(Number(count) >= 2)) throw new Error('usage: seeds.mjs OUT.json [SEEDS, at least 2]');
const seeds = Array.from({ length: Number(count) }, (_, i) => i + 1);
const started = new Date();
const sources = commit();
const load = [loadavg()[0]];
const runs = [];
for (const seed of seeds)
  for (const precision of PRECISIONS) {
    runs.push(await run(seed, precision));
    process.stderr.write(`seeds: seed ${seed}, ${precision}: ${runs.at(-1).seconds.toFixed(0)} s\n`);
  }
load.push(loadavg()[0]);
const report = {
  date: started.toISOString(), processor: cpus()[0].model.trim(), threads: availableParallelism(), commit: sources, load,
  seeds: seeds.length, epochs_averaged: LAST + 1, runs, summary: summarise(runs, Object.keys(runs[0].means), seeds),
};
writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
print(report);
