// exposure_page: the tables and the figure of docs/exposure.md, from the finished runs of
// pages `insertions` and `study` that page_runs.mjs queued.
//   node tests/lib/exposure_page.mjs FIGURE.svg URL [URL...]
// rise(k) of a token = its mean log p k updates after the update of its first exposure
// began, minus that at k = 0, less the same of a control over the same records. Randomised:
// the tokens of dose_1 against the mean of dose_0; observed: the tokens of least_common
// that occur once against never_used. Of a run the mean over tokens; then over seeds.
// Insertions end LAST_LAG records before the run does, so every inserted token has all k
// from 0 to there; beyond, and before the exposure, the tokens that have the record.
// Contrasts of settings are paired: a seed has the same tokens at the same places in all.
import fs from 'node:fs';
import { call, jobsOf, PAGES } from './page_runs.mjs';
import { atEnd, cell, chartSvg, COLORS, finishedRuns, mean, provenance, recordsOf, summary, table, TAIL } from './page_tools.mjs';
import { studentHalf } from './recompute_findings.mjs';

const LAGS = [-20, -5, 1, 2, 3, 5, 10, 20, 50, 100, 200];
const LAST_LAG = 100, FIRST_LAG = -20;
const LATE = [100, 200]; // the updates since the insertion between which the rows' later fall is taken
const DOSES = [1, 2, 4, 8];
const NAMES = {
  adamw: 'AdamW, β1 0.9, β2 0.999', 'beta2-0.9': 'AdamW, β1 0.9, β2 0.9', 'beta1-0': 'AdamW, β1 0, β2 0.999', 'beta1-0-beta2-0.9': 'AdamW, β1 0, β2 0.9', sgd: 'SGD',
};

// Epochs at which each token was a target, once for each position. Batches depend on the
// seed and on the data's settings alone, so the runs of a page share them.
const batches = new Map();
async function exposuresOf({ url, job, seed }, page) {
  const key = `${page} ${seed}`;
  if (!batches.has(key)) {
    const when = new Map();
    for (let epoch = 0; epoch < job.epochs; epoch++) {
      const { targets } = await call(url, `/jobs/${job.id}/batch?epoch=${epoch}`);
      for (const target of targets.flat()) when.set(target, [...when.get(target) ?? [], epoch]);
    }
    batches.set(key, when);
  }
  return batches.get(key);
}

const historyOf = async ({ url, job }, token) => (await call(url, `/jobs/${job.id}/tokens?token=${token}`)).logp;
const average = (curves) => curves[0].map((_, epoch) => mean(curves.map((curve) => curve[epoch])));
const spreadOf = (values) => { // variance of their mean
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1) / values.length;
};
const withError = (treated, control) => ({ value: mean(treated) - mean(control), half: studentHalf(treated.length + control.length - 2) * Math.sqrt(spreadOf(treated) + spreadOf(control)) });

// curves: [{logp, exposures}] of tokens exposed at least once, control: the control's mean.
function responses(curves, control) {
  const length = control.length;
  const change = (series, at, lag) => series[at + lag] - series[at];
  const having = (lag, once) => curves.filter(({ exposures: [at, next] }) => at + lag >= 0 && at + lag < length && (!once || next === undefined || next >= at + lag));
  const average = (lag, value, once) => mean(having(lag, once).map(value));
  return {
    times: curves.map(({ exposures: [at] }) => at),
    number: (lag, once) => having(lag, once).length,
    own: (lag) => average(lag, ({ logp, exposures: [at] }) => change(logp, at, lag)),
    fall: (lag) => average(lag, ({ exposures: [at] }) => change(control, at, lag)),
    rise: (lag, once) => average(lag, ({ logp, exposures: [at] }) => change(logp, at, lag) - change(control, at, lag), once),
    late: (series) => {
      const [from, to] = LATE;
      return mean(having(to).map(({ logp, exposures: [at] }) => (series ?? logp)[at + to] - (series ?? logp)[at + from]));
    },
    part: (lag, chosen) => mean(curves.filter(({ exposures: [at] }) => chosen(at)).map(({ logp, exposures: [at] }) => change(logp, at, lag) - change(control, at, lag))),
  };
}

async function insertedRun(run) {
  const rows = await recordsOf(run.url, run.job);
  const exposures = await exposuresOf(run, 'insertions');
  const { tokens } = await call(run.url, `/jobs/${run.job.id}/tokens`);
  const dosed = new Map();
  for (const dose of [0, ...DOSES]) {
    const curves = [];
    for (const { id } of tokens.filter(({ group }) => group === `dose_${dose}`)) {
      const times = exposures.get(id) ?? [];
      if (times.length !== dose) throw new Error(`token ${id} of dose_${dose} was a target ${times.length} times`);
      curves.push({ logp: await historyOf(run, id), exposures: times });
    }
    dosed.set(dose, curves);
  }
  const ends = (dose) => dosed.get(dose).map(({ logp }) => mean(logp.slice(-TAIL)));
  const end = (group) => atEnd(rows, `groups.${group}.mean_logp.none`);
  const control = average(dosed.get(0).map(({ logp }) => logp));
  const shapes = dosed.get(1).map(({ exposures: [at] }) => at);
  return {
    ...run, ...responses(dosed.get(1), control), control, loss: atEnd(rows, 'loss'), never: end('never_used'), check: end('dose_0') - end('never_used'),
    doses: DOSES.map((dose) => end(`dose_${dose}`) - end('dose_0')),
    // Intervals from the tokens that were dealt to the doses, in this run alone.
    dealt: DOSES.map((dose) => withError(ends(dose), ends(0))),
    dealtRise: (lag) => withError(
      dosed.get(1).map(({ logp, exposures: [at] }) => logp[at + lag] - logp[at] - (control[at + lag] - control[at])),
      dosed.get(0).map(({ logp }) => mean(shapes.map((at) => logp[at + lag] - logp[at] - (control[at + lag] - control[at])))),
    ),
    above: DOSES.map((dose) => mean(ends(dose).flatMap((value) => ends(0).map((other) => Number(value > other))))),
  };
}

async function observedRun(run) {
  const rows = await recordsOf(run.url, run.job);
  const never = rows.map((record) => record['groups.never_used.mean_logp.none']);
  const exposures = await exposuresOf(run, 'study');
  const once = (await call(run.url, `/jobs/${run.job.id}/tokens`)).tokens.filter(({ group, count }) => group === 'least_common' && count === 1);
  const curves = [], unseen = [];
  for (const { id } of once) {
    const logp = await historyOf(run, id);
    if (exposures.has(id)) curves.push({ logp, exposures: exposures.get(id) });
    else unseen.push(mean(logp.slice(-TAIL)));
  }
  const end = mean(never.slice(-TAIL));
  return { ...run, ...responses(curves, never), before: mean(curves.map(({ logp, exposures: [at] }) => logp[at] - never[at])), never: end, unseen: mean(unseen) - end, left: unseen.length, targets: curves.reduce((sum, curve) => sum + curve.exposures.length, 0) };
}

// Step j of a row whose gradient is one pulse at update `at` and zero otherwise, in units of
// lr times the pulse's sign: Adam with its corrections (Kingma & Ba 2015, algorithm 1).
function pulseStep({ optimizer, beta1, beta2 }, at, j) {
  if (optimizer === 'sgd') return j === 0 ? 1 : 0;
  const updates = at + j + 1;
  return (1 - beta1) * beta1 ** j / (1 - beta1 ** updates) * Math.sqrt((1 - beta2 ** updates) / ((1 - beta2) * beta2 ** j));
}
// The displacement after k updates, mean over the times of the insertions.
const pulse = (train, times, lag) => mean(times.map((at) => [...Array(lag).keys()].reduce((sum, j) => sum + pulseStep(train, at, j), 0)));

const [figure, ...urls] = process.argv.slice(2);
const measured = [], observed = [];
for (const run of finishedRuns(await jobsOf(urls, 'insertions'))) measured.push(await insertedRun(run));
for (const run of finishedRuns(await jobsOf(urls, 'study')).filter(({ setting }) => setting === 'gulliver')) observed.push(await observedRun(run));
const settings = PAGES.insertions.map(({ setting }) => setting).filter((setting) => measured.some((run) => run.setting === setting));
const bySeed = (runs) => runs.sort((a, b) => a.seed - b.seed);
const of = (setting) => bySeed(measured.filter((run) => run.setting === setting));
const over = (value, options) => settings.map((setting) => cell(of(setting).map(value), options));
const heads = settings.map((setting) => NAMES[setting]);
const [first, ...others] = settings;
bySeed(observed);

const pulsed = (setting, lag) => mean(of(setting).map(({ job, times }) => pulse(job.spec.train, times, lag)));

const print = (...parts) => console.log(`\n${table(...parts)}`);
console.log(await provenance([...measured, ...observed]));
for (const setting of settings) console.log(`${NAMES[setting]}: seeds ${of(setting).map(({ seed }) => seed).join(', ')}`);
console.log(`observed: seeds ${observed.map(({ seed }) => seed).join(', ')}; tokens never a target ${observed.map(({ left }) => left).join(', ')}, at the end ${cell(observed.map(({ unseen }) => unseen), { digits: 3 })} from never_used; targets ${observed.map(({ targets }) => targets).join(', ')}; level before the exposure ${cell(observed.map(({ before }) => before), { digits: 3 })}`);
print(['k', 'observed', 'observed, until the second exposure', 'inserted once', 'tokens, observed', '… until the second'], LAGS.map((lag) => [
  lag, cell(observed.map(({ rise }) => rise(lag)), { digits: 3 }), cell(observed.map(({ rise }) => rise(lag, true)), { digits: 3 }), cell(of(first).map(({ rise }) => rise(lag)), { digits: 3 }),
  observed.map(({ number }) => number(lag)).join(', '), observed.map(({ number }) => number(lag, true)).join(', '),
]));
print(['k', ...heads], LAGS.map((lag) => [lag, ...over(({ rise }) => rise(lag), { digits: 3 })]));
print(['rise(k) / rise(1)', ...heads], [2, 3, 5, 10, 20].map((lag) => [lag, ...settings.map((setting) => `${cell(of(setting).map(({ rise }) => rise(lag) / rise(1)))} (${(pulsed(setting, lag) / pulsed(setting, 1)).toFixed(1)})`)]));
print(['at the end', ...heads], [
  ['loss', ...over(({ loss }) => loss)], ['`never_used`', ...over(({ never }) => never)], ['dose 0 − `never_used`', ...over(({ check }) => check, { sign: true })],
  ...DOSES.map((dose, i) => [`dose ${dose} − dose 0`, ...over(({ doses }) => doses[i], { sign: true })]),
  ...DOSES.map((dose, i) => [`P(dose ${dose} > dose 0)`, ...over(({ above }) => above[i])]),
]);
const paired = (setting, value) => of(setting).flatMap((run) => of(first).filter(({ seed }) => seed === run.seed).map((reference) => value(run) - value(reference)));
print([`minus ${NAMES[first]}, same seed`, ...others.map((setting) => NAMES[setting])], [
  ...[1, 10, 100].map((lag) => [`rise(${lag})`, ...others.map((setting) => cell(paired(setting, ({ rise }) => rise(lag)), { sign: true }))]),
  ['ln of rise(1)', ...others.map((setting) => cell(paired(setting, ({ rise }) => Math.log(rise(1))), { sign: true }))],
  ['… of a pulse', ...others.map((setting) => (setting === 'sgd' ? '–' : Math.log(pulsed(setting, 1) / pulsed(first, 1)).toFixed(2)))],
  ...DOSES.map((dose, i) => [`dose ${dose} − dose 0 at the end`, ...others.map((setting) => cell(paired(setting, ({ doses }) => doses[i]), { sign: true }))]),
]);
const within = ({ value, half }) => `${value.toFixed(2)} ± ${half.toFixed(2)}`;
print(['in one run, interval over its tokens', 'seed', 'rise(1)', 'rise(10)', 'rise(100)', ...DOSES.map((dose) => `dose ${dose}`)], settings.flatMap((setting) => of(setting).map((run) => [
  NAMES[setting], run.seed, ...[1, 10, 100].map((lag) => within(run.dealtRise(lag))), ...run.dealt.map(within),
])));
print([`change from k = ${LATE[0]} to ${LATE[1]}`, ...heads], [
  ['inserted once', ...over(({ late }) => late(), { sign: true })], ['control', ...over(({ late, control }) => late(control), { sign: true })], ['difference', ...over(({ late, control }) => late() - late(control), { sign: true })],
]);
print(['insertion at', 'k', ...heads], [1, 10, 100].flatMap((lag) => [['epochs 0–199', (at) => at < 200], ['epochs 200–399', (at) => at >= 200]].map(([label, chosen]) => [label, lag, ...over(({ part }) => part(lag, chosen))])));
const spill = of(first).flatMap((run) => observed.filter(({ seed }) => seed === run.seed).map(({ never }) => run.never - never));
console.log(`\nnever_used with insertions minus without, same seed: ${cell(spill, { sign: true, digits: 3 })}`);

const lags = [...Array(LAST_LAG - FIRST_LAG + 1).keys()].map((i) => i + FIRST_LAG);
const line = (label, color, runs, xs, value, dash) => {
  const sums = xs.map((_, i) => summary(runs.map((run) => value(run, i))));
  return { label, color, dash, x: xs.map((x, i) => (typeof x === 'number' ? x : i)), y: sums.map(({ mean: middle }) => middle), half: sums.map(({ half }) => half ?? 0) };
};
const color = (setting) => COLORS[settings.indexOf(setting)];
const axis = { xLabel: 'updates since the first exposure (k)', yLabel: 'rise above the control, nats' };
const ofSetting = (setting) => line(NAMES[setting], color(setting), of(setting), lags, (run, i) => run.rise(lags[i]));
const logDose = DOSES.map(Math.log2);
fs.writeFileSync(figure, chartSvg([
  { title: 'Observed and randomised, AdamW', ...axis, series: [
    { ...ofSetting(first), label: 'inserted once (randomised)' }, line('occurs once (observed)', COLORS[6], observed, lags, (run, i) => run.rise(lags[i]), true),
    line('… until its second exposure', COLORS[5], observed, lags, (run, i) => run.rise(lags[i], true), true)] },
  { title: 'Level at the end, by dose', xLabel: 'insertions (dose)', yLabel: 'nats above dose 0', xTicks: DOSES.map((dose, i) => ({ x: logDose[i], label: dose })), bars: true,
    series: settings.map((setting) => line(NAMES[setting], color(setting), of(setting), logDose, (run, i) => run.doses[i])) },
  { title: 'Inserted once: the first moment', ...axis, series: [first, 'beta1-0', 'sgd'].map(ofSetting) },
  { title: 'Inserted once: the second moment', ...axis, series: [first, 'beta2-0.9', 'beta1-0-beta2-0.9'].map(ofSetting) },
], `Exposure response: mean over ${of(first).length} seeds, bands and bars are 95 % intervals`, 2));
