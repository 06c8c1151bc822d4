// gap_page: what becomes of the common tokens when training goes on: the numbers of
// docs/study.md, "Common tokens", and their figure, from the finished runs of page `long`
// that page_runs.mjs queued.
//   node tests/lib/gap_page.mjs FIGURE.svg URL [URL...]
// Numbers are means over BIN records around an epoch, because one record is one batch.
import fs from 'node:fs';
import { call, jobsOf } from './page_runs.mjs';
import { cell, chartSvg, COLORS, finishedRuns, mean, provenance, recordsOf, summary, table } from './page_tools.mjs';

const BIN = 50;
const EPOCHS = [100, 250, 500, 1000, 2000, 3000, 4000, 5000];
const GROUPS = ['most_common', 'least_common', 'never_used', 'most_2025', 'least_2025', 'never_2026'];
const MASKS = ['none', 'columns', 'windows', 'positions'];
const [figure, ...urls] = process.argv.slice(2);
const runs = finishedRuns(await jobsOf(urls, 'long'));
for (const run of runs) run.rows = await recordsOf(run.url, run.job);
const of = (setting) => runs.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);

const logp = (group, mask = 'none') => (record) => record[`groups.${group}.mean_logp.${mask}`];
const geometric = (group) => (record) => record[`groups.${group}.ln_mean_p`];
const gap = (record) => geometric('most_common')(record) - logp('most_common')(record);
const loss = (record) => record.loss;
const around = (rows, epoch, value) => {
  const end = Math.min(rows.length, epoch + BIN / 2);
  const values = rows.slice(end - BIN, end).map(value).filter((x) => x !== null && x !== undefined);
  return values.length ? mean(values) : null;
};
const cells = (setting, epoch, value, options) => cell(of(setting).map(({ rows }) => around(rows, epoch, value)), options);

console.log(await provenance(runs));
for (const setting of new Set(runs.map((run) => run.setting))) {
  console.log(`\n${setting}, seeds ${of(setting).map(({ seed }) => seed).join(', ')}`);
  console.log(table(['epoch', 'loss', 'mean log p', 'mean ln(mean p)', 'Jensen gap', 'mass', ...GROUPS.slice(1).map((group) => `\`${group}\``)], EPOCHS.map((epoch) => [
    epoch, cells(setting, epoch, loss), cells(setting, epoch, logp('most_common')), cells(setting, epoch, geometric('most_common')), cells(setting, epoch, gap),
    cells(setting, epoch, (record) => record['groups.most_common.mass'], { digits: 3 }), ...GROUPS.slice(1).map((group) => cells(setting, epoch, logp(group))),
  ])));
  console.log(table(['epoch', ...MASKS.map((mask) => `most_common, ${mask}`), 'tokens kept, columns', 'most_2025: mean ln(mean p)', 'mass'], EPOCHS.map((epoch) => [
    epoch, ...MASKS.map((mask) => cells(setting, epoch, logp('most_common', mask))), cells(setting, epoch, (record) => record['groups.most_common.tokens_kept.columns'], { digits: 0 }),
    cells(setting, epoch, geometric('most_2025')), cells(setting, epoch, (record) => record['groups.most_2025.mass'], { digits: 3 }),
  ])));
}

const epochsOf = (rows) => [...Array(Math.floor(rows.length / BIN)).keys()].map((i) => i * BIN);
const binned = (rows, value) => epochsOf(rows).map((from) => mean(rows.slice(from, from + BIN).map(value)));
function curve(setting, label, color, value) {
  const each = of(setting).map(({ rows }) => binned(rows, value));
  const sums = each[0].map((_, i) => summary(each.map((values) => values[i])));
  return { label, color, x: epochsOf(of(setting)[0].rows).map((from) => from + BIN / 2), y: sums.map((sum) => sum.mean), half: sums.map(({ half }) => half ?? 0) };
}
// The loss falls as training goes on, so the axis runs from right to left.
const path = (run, label, color) => ({ label, color, x: binned(run.rows, loss), y: binned(run.rows, gap) });

const [{ url, job }] = of('gulliver');
const theory = await call(url, `/jobs/${job.id}/theory`);
const untrained = { y: theory.levels.find(({ id }) => id === 'untrained').value, label: 'untrained' };
// Where the common tokens pass the untrained level and the ends of the margin "near" it.
for (const mask of ['none', 'columns']) {
  console.log(table([`most_common, ${mask}, is below`, 'from epoch', 'at loss'], [1, 0, -1].map((margin) => {
    const passed = of('gulliver').map(({ rows }) => {
      const at = epochsOf(rows).find((from) => mean(rows.slice(from, from + BIN).map(logp('most_common', mask))) < untrained.y + margin);
      return at === undefined ? {} : { epoch: at + BIN / 2, loss: mean(rows.slice(at, at + BIN).map(loss)) };
    });
    return [(untrained.y + margin).toFixed(2), cell(passed.map(({ epoch }) => epoch), { digits: 0 }), cell(passed.map((one) => one.loss))];
  })));
}
fs.writeFileSync(figure, chartSvg([
  {
    title: 'Mean log p, 5,000 epochs', xLabel: 'epoch', yLabel: 'nats', lines: [untrained, { y: theory.groups.most_common.context_free, label: 'ln(c/N), most_common' }],
    series: [...GROUPS.slice(0, 4).map((group, i) => curve('gulliver', group, COLORS[i], logp(group))), curve('shuffled-control', 'most_common, shuffled', COLORS[4], logp('most_common'))],
  },
  {
    title: 'Jensen gap against loss', xLabel: 'loss, nats', yLabel: 'mean ln(mean p) minus mean log p, nats',
    series: [...of('gulliver').map((run, i) => path(run, `gulliver, seed ${run.seed}`, COLORS[5 + i])), ...of('shuffled-control').map((run) => path(run, 'shuffled', COLORS[4]))],
  },
], 'The groups over 5,000 epochs, and the Jensen gap of the common tokens against the loss: means over 50 records'));
