// insertions_page: the tables and the figure of docs/exposure.md's randomised part,
// from the finished runs that page_runs.mjs queued.
//   node tests/lib/insertions_page.mjs FIGURE.svg URL [URL...]
// Dose 1, one insertion a token: rise(k) = the token's mean log p k updates after the
// update of its insertion began, minus that at k = 0, less the same of dose_0, the
// control, over the same records; mean over the dose's tokens, then over seeds. Every
// token has all k from 0 to LAST_LAG, because insertions end that far before the run
// does; beyond, and before the insertion, the tokens that have the record. Contrasts
// are paired: the same seed has the same tokens at the same places in every setting.
import fs from 'node:fs';
import { call, jobsOf, PAGES } from './page_runs.mjs';
import { atEnd, cell, chartSvg, COLORS, finishedRuns, mean, provenance, recordsOf, summary, table } from './page_tools.mjs';

const LAGS = [-20, -5, 1, 2, 3, 5, 10, 20, 50, 100, 200];
const LAST_LAG = 100;
const DOSES = [1, 2, 4, 8];
const NAMES = {
  adamw: 'AdamW, β1 0.9, β2 0.999', 'beta2-0.9': 'AdamW, β1 0.9, β2 0.9', 'beta1-0': 'AdamW, β1 0, β2 0.999', 'beta1-0-beta2-0.9': 'AdamW, β1 0, β2 0.9', sgd: 'SGD',
};

// Places of insertions depend on seed and text alone, so one job of a seed tells them.
async function insertionsOf({ url, job }, wanted) {
  const when = new Map();
  for (let epoch = 0; epoch < job.spec.data.inject.epochs[1]; epoch++) {
    const { targets } = await call(url, `/jobs/${job.id}/batch?epoch=${epoch}`);
    for (const target of targets.flat()) if (wanted.has(target)) when.set(target, [...when.get(target) ?? [], epoch]);
  }
  for (const token of wanted) if (when.get(token)?.length !== 1) throw new Error(`token ${token} of dose_1 was a target ${when.get(token)?.length ?? 0} times`);
  return when;
}

async function measure(run, places) {
  const { url, job, seed } = run;
  const rows = await recordsOf(url, job);
  const control = rows.map((record) => record['groups.dose_0.mean_logp.none']);
  const dosed = (await call(url, `/jobs/${job.id}/tokens`)).tokens.filter(({ group }) => group === 'dose_1').map(({ id }) => id);
  if (!places.has(seed)) places.set(seed, await insertionsOf(run, new Set(dosed)));
  const when = places.get(seed);
  const curves = [];
  for (const token of dosed) {
    const { logp } = await call(url, `/jobs/${job.id}/tokens?token=${token}`);
    curves.push({ logp, at: when.get(token)[0] });
  }
  const part = (lag, series) => {
    const there = curves.filter(({ at }) => at + lag >= 0 && at + lag < rows.length);
    return mean(there.map(({ logp, at }) => (series ?? logp)[at + lag] - (series ?? logp)[at]));
  };
  const own = (lag) => part(lag), fall = (lag) => part(lag, control);
  const end = (group) => atEnd(rows, `groups.${group}.mean_logp.none`);
  return {
    ...run, own, fall, rise: (lag) => own(lag) - fall(lag), loss: atEnd(rows, 'loss'),
    doses: DOSES.map((dose) => end(`dose_${dose}`) - end('dose_0')), check: end('dose_0') - end('never_used'), never: end('never_used'),
  };
}

// Displacement after k updates in units of the first one's, of a row whose gradient is
// one pulse and zero otherwise: the moments' decay alone.
function pulse({ optimizer, beta1, beta2 }, lag) {
  const ratio = optimizer === 'sgd' ? 0 : beta1 / Math.sqrt(beta2);
  let sum = 0;
  for (let k = 0; k < lag; k++) sum += ratio ** k;
  return sum;
}

const [figure, ...urls] = process.argv.slice(2);
const runs = finishedRuns(await jobsOf(urls, 'insertions'));
const places = new Map();
const measured = [];
for (const run of runs) measured.push(await measure(run, places));
const settings = PAGES.insertions.map(({ setting }) => setting).filter((setting) => measured.some((run) => run.setting === setting));
const of = (setting) => measured.filter((run) => run.setting === setting).sort((a, b) => a.seed - b.seed);
const over = (value, options) => settings.map((setting) => cell(of(setting).map(value), options));
const heads = settings.map((setting) => NAMES[setting]);

console.log(await provenance(measured));
console.log(settings.map((setting) => `${NAMES[setting]}: seeds ${of(setting).map(({ seed }) => seed).join(', ')}`).join('\n'), '\n');
console.log(table(['at the end', ...heads], [
  ['loss', ...over(({ loss }) => loss)],
  ['`never_used`', ...over(({ never }) => never)],
  ['dose 0 − `never_used`', ...over(({ check }) => check, { sign: true })],
  ...DOSES.map((dose, i) => [`dose ${dose} − dose 0`, ...over(({ doses }) => doses[i], { sign: true })]),
]), '\n');
console.log(table(['k', ...heads], LAGS.map((lag) => [lag, ...over(({ rise }) => rise(lag), { digits: 3 })])), '\n');
console.log(table(['rise(k) / rise(1)', ...heads], [2, 3, 5, 10, 20].map((lag) => [lag, ...settings.map((setting) => `${cell(of(setting).map(({ rise }) => rise(lag) / rise(1)))} (${pulse(of(setting)[0].job.spec.train, lag).toFixed(1)})`)])), '\n');
const [first, ...others] = settings;
const paired = (setting, value) => of(setting).flatMap((run) => of(first).filter(({ seed }) => seed === run.seed).map((reference) => value(run) - value(reference)));
console.log(table([`minus ${NAMES[first]}, same seed`, ...others.map((setting) => NAMES[setting])], [
  ...[1, 10, 100].map((lag) => [`rise(${lag})`, ...others.map((setting) => cell(paired(setting, ({ rise }) => rise(lag)), { sign: true }))]),
  ['ln of rise(1)', ...others.map((setting) => cell(paired(setting, ({ rise }) => Math.log(rise(1))), { sign: true }))],
  ...DOSES.map((dose, i) => [`dose ${dose} − dose 0 at the end`, ...others.map((setting) => cell(paired(setting, ({ doses }) => doses[i]), { sign: true }))]),
]), '\n');
console.log(table(['own change, control\'s change', ...heads], [1, 10, 20, 100].map((lag) => [lag, ...settings.map((setting) => `${cell(of(setting).map(({ own }) => own(lag)))}, ${cell(of(setting).map(({ fall }) => fall(lag)))}`)])));

const lags = [...Array(LAST_LAG + 21).keys()].map((i) => i - 20);
const line = (setting, xs, value) => {
  const sums = xs.map((_, i) => summary(of(setting).map((run) => value(run, i))));
  return { label: NAMES[setting], color: COLORS[PAGES.insertions.findIndex((page) => page.setting === setting)], y: sums.map(({ mean: middle }) => middle), half: sums.map(({ half }) => half ?? 0) };
};
fs.writeFileSync(figure, chartSvg([
  { title: 'One insertion', xLabel: 'updates since the insertion (k)', yLabel: 'rise above dose 0, nats', series: settings.map((setting) => ({ ...line(setting, lags, (run, i) => run.rise(lags[i])), x: lags })) },
  { title: 'At the end, by dose', xLabel: 'insertions (dose)', yLabel: 'nats above dose 0', xTicks: DOSES.map((dose, i) => ({ x: i, label: dose })), series: settings.map((setting) => ({ ...line(setting, DOSES, (run, i) => run.doses[i]), x: DOSES.map((_, i) => i) })) },
], 'Exposure response to inserted tokens: mean over seeds, bands are 95 % intervals'));
