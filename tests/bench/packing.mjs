// packing: what several jobs at once are worth. The same jobs twice, through the server: one after the
// other with all cores each, and one on each core at the same time, in turns:
//
//   node tests/bench/packing.mjs OUT.json [ROUNDS]
//
// Work is counted in epochs a minute, from the first job's start to the last one's end, so the
// starts of trainers count too. A table on standard output, everything as JSON. Nothing passes or
// fails.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { startServer } from '../lib/server.mjs';
import { submit, finished } from '../lib/experiments.mjs';
import { commit } from './commit.mjs';
import { table } from './report.mjs';

const CORES = availableParallelism();
const EPOCHS = { small: 1500, gulliver: 60 };
const shapes = {
  small: { d_model: 32, n_layers: 2, n_heads: 2, seq_len: 16 },
  gulliver: { d_model: 128, n_layers: 4, n_heads: 4, seq_len: 64 },
};
const preset = JSON.parse(readFileSync('config/presets/gulliver.json', 'utf8'));
const specOf = (shape, seed, threads) => ({
  ...preset, corpus: { ...preset.corpus, id: 'gulliver-synthetic' }, model: { ...preset.model, ...shapes[shape] },
  train: { ...preset.train, epochs: EPOCHS[shape], seed, snapshots: [] }, resources: { threads },
});

/** Epochs a minute of as many jobs as there are cores. */
async function rate(server, shape, threads) {
  const jobs = [];
  for (let seed = 1; seed <= CORES; seed++) jobs.push(await submit(server, specOf(shape, seed, threads)));
  const ended = [];
  for (const { id } of jobs) ended.push(await finished(server, id, 3600));
  const bad = ended.find(({ state }) => state !== 'succeeded');
  if (bad) throw new Error(JSON.stringify(bad.error));
  const began = Math.min(...ended.map(({ started_at: at }) => Date.parse(at)));
  const seconds = (Math.max(...ended.map(({ finished_at: at }) => Date.parse(at))) - began) / 1e3;
  return { epochs: 60 * CORES * EPOCHS[shape] / seconds, precision: ended[0].provenance.precision };
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const [out, rounds = '3'] = process.argv.slice(2);
const load = [loadavg()[0]];
const server = await startServer();
const rows = [];
for (const shape of Object.keys(shapes)) {
  const rates = { [CORES]: [], 1: [] };
  let precision;
  for (let round = 0; round < Number(rounds); round++) {
    for (const threads of [CORES, 1]) {
      const one = await rate(server, shape, threads);
      rates[threads].push(one.epochs);
      precision = one.precision;
    }
  }
  const ratios = rates[1].map((value, i) => value / rates[CORES][i]);
  rows.push({ shape, precision, one_after_the_other: median(rates[CORES]), at_once: median(rates[1]), ratio: median(ratios), ratios });
}
await server.stop();
load.push(loadavg()[0]);
const report = { date: new Date().toISOString(), processor: cpus()[0].model.trim(), cores: CORES, commit: commit(), load, rows };
writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
console.log(`${report.processor}, ${CORES} cores, ${report.date.slice(0, 10)}, commit ${report.commit}, load ${load.map((x) => x.toFixed(1)).join(' before and ')} after.`);
console.log(table(
  ['shape', 'precision', `one after the other, ${CORES} threads: epochs a minute`, 'at once, 1 thread each', 'ratio'],
  rows.map((row) => [row.shape, row.precision, row.one_after_the_other.toFixed(0), row.at_once.toFixed(0), row.ratio.toFixed(2)]),
));
