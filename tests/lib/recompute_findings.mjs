// recompute_findings: the numbers and verdicts of docs/SCIENCE.md section 5 once
// more, independently of lab/findings: from what anyone can download (the CSV of
// the epochs, the token counts, the tracked tokens) and the spec. Used by
// tests/api/findings.test.mjs; by hand, against a running server:
//   node tests/lib/recompute_findings.mjs http://127.0.0.1:8080 JOB [JOB...]
// compares every number and verdict of GET /jobs/JOB/findings?with=... and ends
// with the number of differences.

const missing = (x) => x === null || x === undefined || !Number.isFinite(x);
const average = (xs) => {
  const there = xs.filter((x) => !missing(x));
  return there.length ? there.reduce((a, b) => a + b, 0) / there.length : null;
};

/** Rows of a CSV of records as objects; empty cells are null. */
export function parseCsv(text) {
  const [head, ...lines] = text.trim().split(/\r?\n/).map((line) => line.split(','));
  return lines.map((cells) => Object.fromEntries(cells.map((cell, i) => [head[i], cell === '' ? null : Number(cell)])));
}

// ln of the ratio of two series' variances of batch-to-batch changes, both over the
// triples of neighbouring epochs in which both have all of their values.
function logRoughnessRatio(masked, plain) {
  const triples = [...masked.keys()].filter((i) => i + 2 < masked.length && [i, i + 1, i + 2].every((at) => !missing(masked[at]) && !missing(plain[at])));
  const sum = (xs) => triples.reduce((total, i) => total + (xs[i] - 2 * xs[i + 1] + xs[i + 2]) ** 2, 0);
  return triples.length ? Math.log(sum(masked) / sum(plain)) : null;
}

// The best model without context under the job's own loss (SCIENCE 3.7), as functions
// of a token's count: null where the targets of training do not follow the counts.
function bestWithoutContext({ spec, corpus }) {
  const { class_weight: a = 0, logit_adjustment: tau = 0, label_smoothing: epsilon = 0 } = spec.loss ?? {};
  const { oversample, inject } = spec.data ?? {};
  if (oversample || inject?.doses.some((dose) => dose > 0)) return { p: () => null, entropy: null };
  const [V, N] = [corpus.vocabulary, corpus.tokens];
  const types = [...corpus.counts_of_counts, [0, V - corpus.types]];
  const total = (f) => types.reduce((sum, [count, n]) => sum + n * f(count), 0);
  const weight = (count) => (count ? count * count ** -a : 0);
  const weights = total(weight);
  const unscaled = (count) => ((1 - epsilon) * weight(count) / weights + epsilon / V) / ((count + 1) / (N + V)) ** tau;
  const scale = total(unscaled);
  const isPlain = !a && !tau && !epsilon;
  return {
    p: (count) => unscaled(count) / scale,
    entropy: isPlain ? -total((count) => (count ? count / N * Math.log(count / N) : 0)) : null,
  };
}

/** Numbers of one run: {claim: {id: value}}. `counts` gives the counts of counts. */
export function numbersOfRun({ rows, spec, corpus, tokens, stepsPerEpoch = 1 }) {
  const trained = rows.length > 1;
  const tail = rows.slice(-Math.max(1, Math.floor(rows.length / 10)));
  const head = rows.slice(0, tail.length);
  const [zero, last] = [rows[0], rows.at(-1)];
  const column = (group, field) => `groups.${group}.${field}`;
  const end = (group, field) => (trained ? average(tail.map((row) => row[column(group, field)])) : null);
  const all = (group, field) => (trained ? average(rows.map((row) => row[column(group, field)])) : null);
  const at0 = (group, field) => zero[column(group, field)];
  const names = ['most_common', 'least_common', 'never_used'];
  const [most, least, never] = names;
  const V = corpus.vocabulary;
  const N = corpus.tokens;
  const sz = spec.model.logit_scale_value * spec.model.init_std * Math.sqrt(spec.model.d_model);
  const fresh = !spec.init_from;
  const level = fresh ? -Math.log(V) - sz * sz / 2 : null;
  const mask = spec.groups.mask;
  const masked = mask === 'none' ? 'columns' : mask;
  const gap = (which) => rows.map((row) => {
    const [a, b] = [row[column(most, `mean_logp.${which}`)], row[column(never, `mean_logp.${which}`)]];
    return missing(a) || missing(b) ? null : a - b;
  });
  const alone = (which) => rows.map((row) => row[column(most, `mean_logp.${which}`)]);
  const change = (group) => (trained ? end(group, 'mean_logp.none') - at0(group, 'mean_logp.none') : null);
  const difference = (a, b) => (missing(a) || missing(b) ? null : a - b);
  const counts = Object.fromEntries(names.map((name) => [name, tokens.filter((token) => token.group === name).map((token) => token.count)]));
  const best = bestWithoutContext({ spec, corpus });
  const bestLogp = (name) => {
    const logp = counts[name].map((count) => (best.p(count) ? Math.log(best.p(count)) : null));
    return logp.includes(null) ? null : average(logp);
  };
  const bestMass = (name) => (best.p(1) === null ? null : counts[name].reduce((sum, count) => sum + best.p(count), 0));
  const share = (name) => counts[name].reduce((sum, count) => sum + count / N, 0);
  const steps = (rows.length - 1) * stepsPerEpoch;
  const { optimizer, lr, weight_decay: decay, decay_embeddings: spared } = spec.train;
  const lambda = spared ? decay : 0;
  const left = optimizer === 'adamw' || optimizer === 'sgd' || lambda === 0 ? (1 - lr * lambda) ** steps : null;
  const decayed = left === null ? null : 1 - left;
  // How far never_used's rows are from where decay alone would have taken them, at least.
  const undecayed = (rows) => {
    const [start, shift] = [at0(never, `${rows}_norm`), last[column(never, `${rows}_shift`)]];
    return !trained || missing(start) || decayed === null ? null : Math.abs(shift / start - decayed);
  };
  const inputNorm = at0(never, 'input_norm');
  const levels = names.map((name) => at0(name, 'mean_logp.none'));
  return {
    vocabulary: { types_share: [corpus.types / V] },
    untrained: {
      level: [V === 50257 && fresh ? average(levels) : null, level],
      spread: [fresh ? Math.max(...levels) - Math.min(...levels) : null],
      token_sd: [fresh ? Math.max(...names.map((name) => at0(name, 'sd'))) / sz : null],
    },
    batch: {
      advantage: [all(most, 'advantage')],
      stability: [logRoughnessRatio(gap(masked), gap('none'))],
      stability_windows: [logRoughnessRatio(gap('windows'), gap('none'))],
      stability_alone: [logRoughnessRatio(alone(masked), alone('none'))],
      kept: [all(most, `tokens_kept.${masked}`)],
      kept_windows: [all(most, 'tokens_kept.windows')],
      advantage_start: [trained ? average(head.map((row) => row[column(most, 'advantage')])) : null],
      advantage_end: [end(most, 'advantage')],
      advantage_rare: [all(least, 'advantage')],
    },
    common: {
      distance: [difference(end(most, `mean_logp.${mask}`), level)],
      probability: [difference(end(most, 'ln_mean_p'), -Math.log(V)), difference(bestLogp(most), -Math.log(V))],
      logp: [end(most, 'mean_logp.none')],
      jensen_gap: [difference(end(most, 'ln_mean_p'), end(most, 'mean_logp.none'))],
      loss: [trained ? average(tail.map((row) => row.loss)) : null, best.entropy],
    },
    rare: {
      rare_change: [change(least), difference(bestLogp(least), level)],
      never_change: [change(never)],
      never_below_rare: [difference(change(never), change(least))],
      never_below_common: [difference(change(never), change(most))],
      rare_exposure: [last[column(least, 'exposure')],
        best.p(1) === null ? null : steps * spec.train.batch_size * spec.model.seq_len * share(least) / counts[least].length],
    },
    embeddings: {
      output_moved: [undecayed('output')],
      input_moved: [undecayed('input')],
      output_shift: [trained ? last[column(never, 'output_shift')] / at0(never, 'output_norm') : null, decayed],
      input_norm: [trained ? last[column(never, 'input_norm')] : null, missing(inputNorm) || left === null ? null : inputNorm * left],
    },
    mass: {
      mass: [end(most, 'mass'), bestMass(most)],
      linear_difference: [trained ? (end(least, 'mean_p') - end(never, 'mean_p')) / end(most, 'mean_p') : null],
      log_difference: [difference(end(least, 'mean_logp.none'), end(never, 'mean_logp.none'))],
      mass_first: [at0(most, 'mass'), fresh ? counts[most].length / V : null],
    },
  };
}

// What is judged: bounds as docs/SCIENCE.md section 5 declares them, and the
// groups whose members must be what their name says.
const RULES = {
  vocabulary: { types_share: [0.18, 0.22, ''] },
  untrained: { level: [-11, -10.8, ''], spread: [-Infinity, 0.1, ''], token_sd: [-Infinity, 1.25, ''] },
  batch: { advantage: [0.1, Infinity, 'm'], stability: [-Infinity, -0.1, 'mn'] },
  common: { distance: [-1, 1, 'm'], probability: [1, Infinity, 'm'] },
  rare: {
    rare_change: [-Infinity, -0.1, 'l'], never_change: [-Infinity, -0.1, 'n'],
    never_below_rare: [-Infinity, -0.1, 'ln'], never_below_common: [-Infinity, -0.1, 'mn'],
  },
  embeddings: { output_moved: [1e-3, Infinity, 'n'], input_moved: [1e-3, Infinity, 'n?'] },
  mass: { mass: [0.5, Infinity, 'm'], linear_difference: [-0.01, 0.01, 'mln'], log_difference: [0.1, Infinity, 'ln'] },
};

// Quantile 0.975 of Student's distribution, by integrating its density (Simpson).
export function studentHalf(degrees) {
  const density = (x) => (1 + x * x / degrees) ** (-(degrees + 1) / 2);
  const integral = (t) => {
    const n = 20000;
    let sum = density(0) + density(t);
    for (let i = 1; i < n; i++) sum += density(t * i / n) * (i % 2 ? 4 : 2);
    return sum * t / n / 3;
  };
  // The whole half line, substituting x = tan a.
  let half = 0;
  const m = 200000;
  for (let i = 0; i < m; i++) {
    const a = (i + 0.5) / m * Math.PI / 2;
    half += density(Math.tan(a)) / Math.cos(a) ** 2 * Math.PI / 2 / m;
  }
  let [low, high] = [0, 100];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (integral(middle) / half < 0.95) low = middle;
    else high = middle;
  }
  return low;
}

// The groups of a run that are what they are called: m, l, n.
function trueGroups({ tokens, corpus }) {
  const of = (name) => tokens.filter((token) => token.group === name).map((token) => token.count);
  const [most, least, never] = ['most_common', 'least_common', 'never_used'].map(of);
  const types = (test) => corpus.counts_of_counts.reduce((sum, [count, n]) => sum + (test(count) ? n : 0), 0);
  let good = '';
  if (Math.min(...most) > 0 && types((count) => count > Math.min(...most)) < most.length) good += 'm';
  if (Math.min(...least) > 0 && types((count) => count < Math.max(...least)) < least.length) good += 'l';
  if (Math.max(...never) === 0) good += 'n';
  return good;
}

/** {claim: {verdict, numbers: {id: {value, sd, half, closed_form, verdict}}}} of runs that repeat each other. */
export function recompute(runs) {
  const each = runs.map(numbersOfRun);
  const good = runs.map(trueGroups);
  const t = runs.length > 1 ? studentHalf(runs.length - 1) : null;
  const result = {};
  for (const [claim, numbers] of Object.entries(each[0])) {
    const found = {};
    for (const id of Object.keys(numbers)) {
      const values = each.map((run) => run[claim][id][0]).filter((x) => !missing(x));
      const value = average(values);
      const sd = values.length > 1 ? Math.sqrt(values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (values.length - 1)) : null;
      const half = sd === null ? null : (values.length === runs.length ? t : studentHalf(values.length - 1)) * sd / Math.sqrt(values.length);
      const rule = RULES[claim][id];
      let verdict = 'shown';
      if (rule) {
        const [low, high, needs] = rule;
        const [a, b] = [value - (half ?? 0), value + (half ?? 0)];
        const groups = [...needs.replace('?', '')].every((group) => good.every((names) => names.includes(group)));
        if (!values.length || !groups) verdict = 'not testable here';
        else if (values.length < runs.length) verdict = 'undetermined';
        else if (a > low && b < high) verdict = 'supported';
        else if (b <= low || a >= high) verdict = 'not supported';
        else verdict = 'undetermined';
      }
      found[id] = { value, sd, half, closed_form: average(each.map((run) => run[claim][id][1])), verdict };
    }
    const parts = Object.entries(found)
      .filter(([id, { verdict }]) => RULES[claim][id] && !(RULES[claim][id][2].includes('?') && verdict === 'not testable here'))
      .map(([, { verdict }]) => verdict);
    const verdict = ['not supported', 'not testable here', 'undetermined'].find((word) => parts.includes(word)) ?? 'supported';
    result[claim] = { verdict, numbers: found };
  }
  return result;
}

/** What recompute needs of a job, fetched with api(route) -> Response. */
export async function fetchRun(api, id) {
  const json = async (route) => (await api(route)).json();
  const { spec, corpus, epoch } = await json(`/jobs/${id}`);
  const rows = [];
  while (rows.length <= epoch) rows.push(...parseCsv(await (await api(`/jobs/${id}/epochs?format=csv&from=${rows.length}`)).text()));
  const { variant, tokenizer } = spec.corpus;
  spec.model.logit_scale_value = spec.model.logit_scale === 'inv_sqrt_d' ? 1 / Math.sqrt(spec.model.d_model) : spec.model.logit_scale;
  return {
    rows, spec,
    corpus: await json(`/corpora/${corpus.name === 'gulliver-synthetic' ? corpus.name : corpus.sha256}/frequencies?variant=${variant}&tokenizer=${tokenizer}&limit=1`),
    tokens: (await json(`/jobs/${id}/tokens`)).tokens,
    stepsPerEpoch: spec.train.steps_per_epoch,
  };
}

/** Lines that say where an answer of /findings and the recomputation part. */
export function differences(answer, expected) {
  const lines = [];
  const close = (a, b) => (missing(a) ? missing(b) : !missing(b) && Math.abs(a - b) <= 1e-7 * Math.max(1, Math.abs(a), Math.abs(b)));
  const seen = Object.fromEntries(answer.findings.map((finding) => [finding.id, finding]));
  for (const [claim, { verdict, numbers }] of Object.entries(expected)) {
    if (seen[claim]?.verdict !== verdict) lines.push(`${claim}: verdict "${seen[claim]?.verdict}", recomputed "${verdict}"`);
    const found = Object.fromEntries((seen[claim]?.numbers ?? []).map((number) => [number.id, number]));
    for (const id of new Set([...Object.keys(numbers), ...Object.keys(found)])) {
      for (const field of ['value', 'sd', 'half', 'closed_form', 'verdict']) {
        const [a, b] = [found[id]?.[field], numbers[id]?.[field]];
        if (!found[id] || !numbers[id] || !(field === 'verdict' ? a === b : close(a, b))) lines.push(`${claim}.${id}.${field}: ${a}, recomputed ${b}`);
      }
    }
  }
  return lines;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [url, ...ids] = process.argv.slice(2);
  const api = (route) => fetch(`${url}/api/v1${route}`);
  const answer = await (await api(`/jobs/${ids[0]}/findings?with=${ids.slice(1).join(',')}`)).json();
  const lines = differences(answer, recompute(await Promise.all(ids.map((id) => fetchRun(api, id)))));
  for (const line of lines) console.log(line);
  for (const finding of answer.findings) console.log(`${finding.verdict.padEnd(18)} ${finding.claim}\n    ${finding.measured}${finding.cause ? `\n    ${finding.cause}` : ''}`);
  console.log(`${lines.length} differences`);
  process.exitCode = lines.length ? 1 : 0;
}
