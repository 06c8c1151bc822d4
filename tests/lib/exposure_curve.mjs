// exposure_curve: the observational exposure response of docs/exposure.md, from what
// a running service tells about finished jobs that differ in their seed.
//   node tests/lib/exposure_curve.mjs http://127.0.0.1:8080 JOB JOB [...]
// For every tracked token that occurs once: the first epoch whose batch has it as a
// target, and its mean log p minus that of never_used k updates after that update
// began (record first + k; k = 0 is measured just before it). Per job the mean over
// tokens, then mean and 95 % interval over jobs. One step per epoch.
import { studentHalf } from './recompute_findings.mjs';

const LAGS = [-20, -5, -1, 0, 1, 2, 3, 5, 10, 20, 50, 100, 150, 200];
const [url, ...ids] = process.argv.slice(2);
const json = async (route) => (await fetch(`${url}/api/v1${route}`)).json();
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

async function curveOf(id) {
  const { epoch: last } = await json(`/jobs/${id}`);
  const once = (await json(`/jobs/${id}/tokens`)).tokens.filter((token) => token.group === 'least_common' && token.count === 1);
  const wanted = new Set(once.map((token) => token.id));
  const first = new Map();
  for (let epoch = 0; epoch < last; epoch++) {
    const { targets } = await json(`/jobs/${id}/batch?epoch=${epoch}`);
    for (const target of targets.flat()) if (wanted.has(target) && !first.has(target)) first.set(target, epoch);
  }
  const never = [];
  while (never.length <= last) never.push(...(await json(`/jobs/${id}/epochs?from=${never.length}`)).epochs.map(({ groups }) => groups.never_used.mean_logp.none));
  const history = new Map();
  for (const { id: token } of once) history.set(token, (await json(`/jobs/${id}/tokens?token=${token}`)).logp);
  const away = (token, epoch) => history.get(token)[epoch] - never[epoch];
  const points = LAGS.map((lag) => [...first].filter(([, epoch]) => epoch + lag >= 0 && epoch + lag <= last).map(([token, epoch]) => away(token, epoch + lag)));
  const unexposed = once.filter((token) => !first.has(token.id)).map((token) => away(token.id, last));
  return { exposed: first.size, unexposed: unexposed.length, end: mean(unexposed), points: points.map(mean), n: points.map((values) => values.length) };
}

const interval = (values) => {
  const middle = mean(values);
  if (values.length < 2) return `${middle.toFixed(3)} (one run)`;
  const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  return `${middle.toFixed(3)} ± ${(studentHalf(values.length - 1) * sd / Math.sqrt(values.length)).toFixed(3)}`;
};

const curves = [];
for (const id of ids) curves.push(await curveOf(id));
console.log(`exposed: ${curves.map(({ exposed }) => exposed).join(', ')}; never a target: ${curves.map(({ unexposed }) => unexposed).join(', ')}, at the end ${interval(curves.map(({ end }) => end))} from never_used`);
LAGS.forEach((lag, i) => console.log(`${String(lag).padStart(4)}  ${interval(curves.map(({ points }) => points[i]))}  (${curves.map(({ n }) => n[i]).join(', ')} tokens)`));
