// remedies_page: the tables and the figure of docs/remedies.md, from the finished runs
// that page_runs.mjs queued.
//   node tests/lib/remedies_page.mjs FIGURE.svg URL [URL...]
// Every number but the baseline's own is a difference from the remedy's baseline with the
// same seed. Groups, spectrum and training loss are means over the last tenth of the
// records, the held-out text is evaluated with the final model.
import fs from 'node:fs';
import { jobsOf, PAGES } from './page_runs.mjs';
import { atEnd, cell, chartSvg, COLORS, COUNT_CLASSES, finishedRuns, provenance, recordsOf, summary, table } from './page_tools.mjs';

const BASELINES = { adaptive: 'untied', rebalanced: 'continued' }; // all others: 'baseline'
const OWN = ['baseline', 'continued'];
const RECOVERY_EPOCHS = [0, 50, 100, 150, 200, 250];
const GROUPS = ['most_common', 'least_common', 'never_used'];

const minus = (a, b) => (rows) => (a(rows) === null || b(rows) === null ? null : a(rows) - b(rows));
const group = (name, field) => (rows) => atEnd(rows, `groups.${name}.${field}`);
const untrained = (name) => (rows) => rows[0][`groups.${name}.mean_logp.none`];
const end = (column) => (rows) => atEnd(rows, column);
const final = (column) => (rows) => rows.at(-1)[column];
const classes = (make, column) => COUNT_CLASSES.map((label, i) => [label, make(`${column}.${i}`)]);
const TABLES = {
  groups: [
    ['`most_common`', group('most_common', 'mean_logp.none')], ['… mean ln(mean p)', group('most_common', 'ln_mean_p')], ['`least_common`', group('least_common', 'mean_logp.none')],
    ['`never_used`', group('never_used', 'mean_logp.none')], ['never − least', minus(group('never_used', 'mean_logp.none'), group('least_common', 'mean_logp.none'))],
    ['mean log Z', end('log_z')], ['training loss', end('loss')], ['objective', end('objective')],
  ],
  'change since record 0': GROUPS.map((name) => [`\`${name}\``, minus(group(name, 'mean_logp.none'), untrained(name))]),
  masks: GROUPS.flatMap((name) => ['columns', 'windows', 'positions'].map((mask) => [`${name}, ${mask}`, group(name, `mean_logp.${mask}`)])),
  spectrum: classes(end, 'logp_by_count'),
  'held-out loss': [['all', final('holdout.loss')], ...classes(final, 'holdout_loss_by_count')],
};

const [figure, ...urls] = process.argv.slice(2);
const runs = finishedRuns([...await jobsOf(urls, 'remedies'), ...await jobsOf(urls, 'recovery')]);
for (const run of runs) run.rows = await recordsOf(run.url, run.job);
const of = (setting) => runs.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);
const present = (page) => PAGES[page].map(({ setting }) => setting).filter((setting) => of(setting).length);
const settings = present('remedies');
const own = (setting, value) => of(setting).map(({ rows }) => value(rows));
const effect = (setting, value) => of(setting).flatMap(({ seed, rows }) => {
  const reference = of(BASELINES[setting] ?? 'baseline').find((run) => run.seed === seed);
  const [a, b] = reference ? [value(rows), value(reference.rows)] : [null, null];
  return a === null || b === null ? [] : [a - b];
});
const shown = (setting, value) => (OWN.includes(setting) ? cell(own(setting, value)) : cell(effect(setting, value), { sign: true }));

console.log(await provenance(runs));
for (const setting of [...settings, ...present('recovery')]) console.log(`${setting}: seeds ${of(setting).map(({ seed }) => seed).join(', ')}; minus ${OWN.includes(setting) ? 'nothing' : BASELINES[setting] ?? 'baseline'}`);
for (const [name, columns] of Object.entries(TABLES)) {
  console.log(`\n${table([name, ...columns.map(([label]) => label)], [...settings, ...present('recovery')].map((setting) => [setting, ...columns.map(([, value]) => shown(setting, value))]))}`);
}
console.log(`\n${table(['record 0', ...GROUPS], settings.map((setting) => [setting, ...GROUPS.map((name) => cell(own(setting, untrained(name))))]))}`);
console.log(`\n${table(['number of', ...COUNT_CLASSES], [
  ['tokens', ...COUNT_CLASSES.map((_, i) => cell(own('baseline', final(`tokens_by_count.${i}`)), { digits: 0 }))],
  ['held-out targets', ...COUNT_CLASSES.map((_, i) => cell(own('baseline', final(`holdout_n_by_count.${i}`)), { digits: 0 }))],
])}`);
console.log(`\n${table(['exposure at the end', ...GROUPS], [...settings, ...present('recovery')].map((setting) => [setting, ...GROUPS.map((name) => cell(own(setting, final(`groups.${name}.exposure`)), { digits: 1 }))]))}`);
const recovery = [
  ...GROUPS.map((name) => [name, (epoch) => (rows) => rows[epoch][`groups.${name}.eval.mean_logp`]]),
  ['held-out loss', (epoch) => (rows) => rows[epoch]['holdout.loss']], ['… of tokens that occur once', (epoch) => (rows) => rows[epoch]['holdout_loss_by_count.1']],
];
for (const setting of present('recovery')) {
  console.log(`\n${table([`${setting}, epoch`, ...RECOVERY_EPOCHS], recovery.map(([label, at]) => [label, ...RECOVERY_EPOCHS.map((epoch) => shown(setting, at(epoch)))]))}`);
}

const drawn = settings.filter((setting) => setting !== 'baseline');
const x = COUNT_CLASSES.map((_, i) => i);
const sums = (list) => ({ y: list.map((sum) => sum?.mean ?? null), half: list.map((sum) => sum?.half ?? 0) });
const dots = (title, series) => ({
  title, xLabel: 'nats, minus baseline', rows: drawn,
  series: series.map(([label, color, value]) => ({ label, color, ...sums(drawn.map((setting) => summary(effect(setting, value)))) })),
});
const lines = (title, yLabel, columns) => ({
  title, xLabel: 'occurrences in the training text', yLabel, xTicks: x.map((i) => ({ x: i, label: COUNT_CLASSES[i] })), bars: true,
  series: drawn.map((setting, i) => ({ label: setting, color: COLORS[i], x, ...sums(columns.map(([, value]) => summary(effect(setting, value)))) })),
});
const heldOut = Object.fromEntries(TABLES['held-out loss']);
fs.writeFileSync(figure, chartSvg([
  dots('Mean log p of the groups at the end (right: higher)', GROUPS.map((name, i) => [name, COLORS[i], group(name, 'mean_logp.none')])),
  dots('Loss on held-out text (left: better)', [['all held-out text', COLORS[7], heldOut.all], ['tokens that occur once', COLORS[4], heldOut['1']], ['tokens that the text never had', COLORS[3], heldOut['0']]]),
  lines('Spectrum at the end', 'mean log p minus baseline, nats', TABLES.spectrum),
  lines('Loss on held-out text by the target\'s count', 'loss minus baseline, nats', TABLES['held-out loss'].slice(1)),
], 'Remedies minus their baselines: mean of paired differences over three seeds, bars are 95 % intervals', 2));
