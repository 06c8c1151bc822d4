// study_page: the figure of docs/study.md and the numbers it is drawn from, from the
// finished runs that page_runs.mjs queued.
//   node tests/lib/study_page.mjs FIGURE.svg URL [URL...]
// Curves are means over BIN records, because one record is one batch; the levels are
// forms 1 and 2 of GET /jobs/{id}/theory.
import fs from 'node:fs';
import { call, jobsOf, PAGES } from './page_runs.mjs';
import { atEnd, cell, chartSvg, COLORS, finishedRuns, mean, provenance, recordsOf, summary, table } from './page_tools.mjs';

const BIN = 5;
const GROUPS = ['most_common', 'least_common', 'never_used'];
const [figure, ...urls] = process.argv.slice(2);
const runs = finishedRuns(await jobsOf(urls, 'study'));
for (const run of runs) run.rows = await recordsOf(run.url, run.job);
const of = (setting) => runs.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);
const settings = PAGES.study.map(({ setting }) => setting).filter((setting) => of(setting).length);

const binned = (rows, value) => {
  const out = [value(rows[0])];
  for (let from = 1; from + BIN <= rows.length; from += BIN) out.push(mean(rows.slice(from, from + BIN).map(value)));
  return out;
};
const line = (setting, label, color, value) => {
  const curves = of(setting).map(({ rows }) => binned(rows, value));
  const sums = curves[0].map((_, i) => summary(curves.map((curve) => curve[i])));
  return { label, color, x: curves[0].map((_, i) => (i ? 1 + BIN * (i - 1) + (BIN - 1) / 2 : 0)), y: sums.map((sum) => sum.mean), half: sums.map(({ half }) => half ?? 0) };
};
const logp = (group) => (record) => record[`groups.${group}.mean_logp.none`];
const gap = (record) => record['groups.most_common.ln_mean_p'] - record['groups.most_common.mean_logp.none'];

console.log(await provenance(runs));
console.log(table(['at the end', 'seeds', 'loss', ...GROUPS.map((group) => `\`${group}\``), 'Jensen gap of `most_common`', 'mass of `most_common`'], settings.map((setting) => [
  setting, of(setting).map(({ seed }) => seed).join(', '), cell(of(setting).map(({ rows }) => atEnd(rows, 'loss'))),
  ...GROUPS.map((group) => cell(of(setting).map(({ rows }) => atEnd(rows, `groups.${group}.mean_logp.none`)))),
  cell(of(setting).map(({ rows }) => mean(rows.slice(-50).map(gap)))), cell(of(setting).map(({ rows }) => atEnd(rows, 'groups.most_common.mass')), { digits: 3 }),
])), '\n');
console.log(table(['epoch, seed 1', 'loss', 'mean log p', 'mean ln(mean p)', 'gap'], [20, 100, 200, 300, 500].map((epoch) => {
  const record = of('gulliver')[0].rows[epoch];
  return [epoch, ...[record.loss, logp('most_common')(record), record['groups.most_common.ln_mean_p'], gap(record)].map((x) => x.toFixed(2))];
})));

const [{ url, job }] = of('gulliver');
const theory = await call(url, `/jobs/${job.id}/theory`);
fs.writeFileSync(figure, chartSvg([
  {
    title: 'gulliver: mean log p', xLabel: 'epoch', yLabel: 'nats', series: GROUPS.map((group, i) => line('gulliver', group, COLORS[i], logp(group))),
    lines: [{ y: theory.levels.find(({ id }) => id === 'untrained').value, label: 'untrained' }, { y: theory.groups.most_common.context_free, label: 'ln(c/N), most_common' }],
  },
  { title: 'Jensen gap of most_common', xLabel: 'epoch', yLabel: 'mean ln(mean p) minus mean log p, nats', series: settings.map((setting, i) => line(setting, setting, COLORS[3 + i], gap)) },
], 'The three groups and the Jensen gap: mean over seeds, bands are 95 % intervals'));
