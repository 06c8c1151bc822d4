// remedies_page: the tables and the figure of docs/remedies.md, from the finished runs
// that page_runs.mjs queued.
//   node tests/lib/remedies_page.mjs FIGURE.svg URL [URL...]
// Every number but the baseline's own is a difference from the baseline of the same
// seed. Groups, spectrum and loss are means over the last tenth of the records, the
// held-out text is evaluated with the final model.
import fs from 'node:fs';
import { jobsOf, PAGES } from './page_runs.mjs';
import { atEnd, cell, chartSvg, COLORS, COUNT_CLASSES, finishedRuns, provenance, recordsOf, summary, table } from './page_tools.mjs';

const group = (name, field) => (rows) => atEnd(rows, `groups.${name}.${field}`);
const end = (column) => (rows) => atEnd(rows, column);
const final = (column) => (rows) => rows.at(-1)[column];
const classes = (make, column) => COUNT_CLASSES.map((label, i) => [label, make(`${column}.${i}`)]);
const TABLES = {
  groups: [
    ['`most_common`', group('most_common', 'mean_logp.none')], ['… ln of mean p', group('most_common', 'ln_mean_p')], ['`least_common`', group('least_common', 'mean_logp.none')],
    ['`never_used`', group('never_used', 'mean_logp.none')], ['never − least', (rows) => (group('never_used', 'mean_logp.none')(rows) ?? NaN) - group('least_common', 'mean_logp.none')(rows)],
    ['mean log Z', end('log_z')], ['training loss', end('loss')],
  ],
  spectrum: classes(end, 'logp_by_count'),
  'held-out loss': [['all', final('holdout.loss')], ...classes(final, 'holdout_loss_by_count')],
};

const [figure, ...urls] = process.argv.slice(2);
const runs = finishedRuns(await jobsOf(urls, 'remedies'));
const rows = new Map();
for (const run of runs) rows.set(run, await recordsOf(run.url, run.job));
const settings = PAGES.remedies.map(({ setting }) => setting).filter((setting) => runs.some((run) => run.setting === setting));
const of = (setting) => runs.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);
const baseline = new Map(of('baseline').map((run) => [run.seed, rows.get(run)]));
const own = (setting, value) => of(setting).map((run) => value(rows.get(run)));
const effect = (setting, value) => of(setting).filter(({ seed }) => baseline.has(seed)).map((run) => {
  const [a, b] = [value(rows.get(run)), value(baseline.get(run.seed))];
  return a === null || b === null ? null : a - b;
});

console.log(await provenance(runs));
console.log(settings.map((setting) => `${setting}: seeds ${of(setting).map(({ seed }) => seed).join(', ')}`).join('\n'), '\n');
for (const [name, columns] of Object.entries(TABLES)) {
  console.log(table([name, ...columns.map(([label]) => label)], settings.map((setting) => [
    `${setting} (${of(setting).length})`, ...columns.map(([, value]) => (setting === 'baseline' ? cell(own(setting, value)) : cell(effect(setting, value), { sign: true }))),
  ])), '\n');
}
console.log(table(['number of', ...COUNT_CLASSES], [
  ['tokens', ...COUNT_CLASSES.map((_, i) => cell(own('baseline', final(`tokens_by_count.${i}`)), { digits: 0 }))],
  ['held-out targets', ...COUNT_CLASSES.map((_, i) => cell(own('baseline', final(`holdout_n_by_count.${i}`)), { digits: 0 }))],
]));

const x = COUNT_CLASSES.map((_, i) => i);
const panel = (title, yLabel, columns) => ({
  title, xLabel: 'occurrences in the training text', yLabel, xTicks: x.map((i) => ({ x: i, label: COUNT_CLASSES[i] })),
  series: settings.filter((setting) => setting !== 'baseline').map((setting, i) => {
    const sums = columns.map(([, value]) => summary(effect(setting, value)));
    return { label: setting, color: COLORS[i], x, y: sums.map((sum) => sum?.mean ?? null), half: sums.map((sum) => sum?.half ?? 0) };
  }),
});
fs.writeFileSync(figure, chartSvg([
  panel('Spectrum at the end', 'mean log p minus baseline, nats', TABLES.spectrum),
  panel('Held-out text, final model', 'loss minus baseline, nats', TABLES['held-out loss'].slice(1)),
], 'Remedies minus baseline by count class: mean over seeds, bands are 95 % intervals'));
