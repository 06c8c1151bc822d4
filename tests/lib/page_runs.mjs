// page_runs: queues the runs behind docs/exposure.md, docs/remedies.md and
// docs/study.md on a running service, and lists them.
//   node tests/lib/page_runs.mjs URL rates|remedies|words|recovery|insertions|study|long|size [SEED...] [SETTING...]
//   node tests/lib/page_runs.mjs URL list
// One sweep per setting, over the seeds (default 1 2 3). Every job carries the tags
// `page:NAME` and `setting:SETTING`, by which the page scripts find it. Jobs of an
// earlier seed get a higher priority, so that a queue stopped halfway has complete
// seeds. Several services may share the work: the page scripts take several URLs.
// `recovery` starts from the baselines of `remedies`, so they must have finished on the
// same service; its batches are drawn with seeds of their own, or they would be theirs again.
// `long`, `size` and `words` take the precision that the machine multiplies best.
import { pathToFileURL } from 'node:url';

const PRECISION = 'fp32';
const HELD_OUT = { data: { holdout: 10 }, corpus: { variant: 'body' }, eval: { windows: 224, every: 250 } };
const RATES = [0.1, 0.2, 0.25, 0.35, 0.5, 0.7, 1, 2, 4, 8, 16];
const RATE_EPOCHS = 150;
const TOP_PRIORITY = 100;
const LONG = { train: { epochs: 5000 }, eval: { windows: 64, every: 250 } };
const SIZE = { train: { snapshots: [100, 250] }, eval: { windows: 32, every: 25 } };
const RECOVERY = { train: { epochs: 250 }, eval: { windows: 224, every: 50 } };
const RECOVERY_DATA_SEED = 100; // added to the seed

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const merge = (base, change) => Object.entries(change).reduce(
  (all, [key, value]) => ({ ...all, [key]: isObject(value) && isObject(all[key]) ? merge(all[key], value) : value }), base);

/** Settings of a page: [{setting, preset, change}], the baseline first. */
export const PAGES = {
  rates: RATES.map((lr) => ({ setting: `lr-${lr}`, preset: 'gulliver-sgd', change: { train: { lr, epochs: RATE_EPOCHS } } })),
  remedies: ['holdout', 'label-smoothing', 'z-loss', 'logit-adjustment', 'class-weight', 'oversample', 'used', 'untied', 'adaptive', 'sgd']
    .map((remedy) => ({ setting: remedy === 'holdout' ? 'baseline' : remedy, preset: `gulliver-${remedy}`, change: HELD_OUT })),
  insertions: [
    { setting: 'adamw', preset: 'gulliver-inject', change: {} },
    { setting: 'beta2-0.9', preset: 'gulliver-inject', change: { train: { beta2: 0.9 } } },
    { setting: 'beta1-0', preset: 'gulliver-inject', change: { train: { beta1: 0 } } },
    { setting: 'beta1-0-beta2-0.9', preset: 'gulliver-inject', change: { train: { beta1: 0, beta2: 0.9 } } },
    { setting: 'sgd', preset: 'gulliver-sgd', change: {}, injected: true },
  ],
  recovery: [
    { setting: 'continued', preset: 'gulliver-holdout', change: merge(HELD_OUT, RECOVERY), from: 'baseline' },
    { setting: 'rebalanced', preset: 'gulliver-oversample', change: merge(HELD_OUT, RECOVERY), from: 'baseline' },
  ],
  study: ['gulliver', 'synthetic-control', 'shuffled-control'].map((preset) => ({ setting: preset, preset, change: {} })),
  words: ['holdout', 'label-smoothing', 'logit-adjustment']
    .map((remedy) => ({ setting: remedy === 'holdout' ? 'baseline' : remedy, preset: `gulliver-${remedy}`, change: HELD_OUT, precision: 'auto' })),
  long: ['gulliver', 'shuffled-control'].map((preset) => ({ setting: preset, preset, change: LONG, published: true, precision: 'auto' })),
  size: [{ setting: 'study', preset: 'gulliver-study', change: SIZE, published: true, precision: 'auto' }],
};

export async function call(url, route, method = 'GET', body = undefined) {
  const answer = await fetch(`${url}/api/v1${route}`, { method, headers: body && { 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${url}/api/v1${route}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** All jobs of a page on these services: [{url, setting, seed, job}]. */
export async function jobsOf(urls, page) {
  const found = [];
  for (const url of urls) {
    for (let cursor = ''; cursor !== null;) {
      const { jobs, next } = await call(url, `/jobs?tag=page:${page}&limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      for (const { id } of jobs) {
        const job = await call(url, `/jobs/${id}`);
        const setting = job.tags.find((tag) => tag.startsWith('setting:')).slice('setting:'.length);
        found.push({ url, setting, seed: job.spec.train.seed, job });
      }
      cursor = next;
    }
  }
  return found;
}

// One job a seed, from the model that the named setting of `remedies` ended with.
async function queueFrom(url, base, from, seeds) {
  const sources = (await jobsOf([url], 'remedies')).filter(({ setting, job }) => setting === from && job.state === 'succeeded');
  for (const seed of seeds) {
    const source = sources.find((run) => run.seed === seed);
    if (!source) throw new Error(`${url} has no finished run of "${from}" with seed ${seed}`);
    const change = { init_from: source.job.id, train: { seed, seed_data: RECOVERY_DATA_SEED + seed }, resources: { priority: TOP_PRIORITY - seed } };
    console.log(`seed ${seed}: job ${(await call(url, '/jobs', 'POST', merge(base, change))).id}`);
  }
}

// The members of one of the published selections, as a job that follows them has them.
async function published(url, selection, variant) {
  const tiny = { name: selection, corpus: { variant }, model: { d_model: 8, n_layers: 1, n_heads: 1, seq_len: 8 }, train: { epochs: 1, batch_size: 1 }, groups: { selection, ties: 'id' } };
  const { id } = await call(url, '/jobs', 'POST', tiny);
  for (let state = ''; state !== 'succeeded'; ({ state } = await call(url, `/jobs/${id}?wait=30`))) if (state === 'failed') throw new Error(`job ${id} failed`);
  const { tokens } = await call(url, `/jobs/${id}/tokens`);
  return (group) => tokens.filter((token) => token.group === group).map((token) => token.id);
}

async function publishedGroups(url, variant) {
  const [of2025, of2026] = [await published(url, 'published-2025', variant), await published(url, 'published-2026', variant)];
  return [{ name: 'most_2025', tokens: of2025('most_common') }, { name: 'least_2025', tokens: of2025('least_common') }, { name: 'never_2026', tokens: of2026('never_used') }];
}

async function queue(url, page, seeds, only) {
  for (const { setting, preset, change, injected, from, published: followed, precision = PRECISION } of PAGES[page]) {
    if (only && !only.includes(setting)) continue;
    let base = merge(await call(url, `/presets/${preset}`), change);
    if (followed) base = merge(base, { groups: { custom: await publishedGroups(url, base.corpus.variant) } });
    if (injected) base = merge(base, { data: { inject: (await call(url, '/presets/gulliver-inject')).data.inject } });
    base = merge(base, { train: { precision }, tags: [...base.tags, `page:${page}`, `setting:${setting}`] });
    if (from) {
      await queueFrom(url, base, from, seeds);
      continue;
    }
    const sweep = await call(url, '/sweeps', 'POST', { base, vary: { 'train.seed': seeds } });
    const { jobs } = await call(url, `/jobs?sweep=${sweep.id}&limit=100`);
    for (const { id } of jobs) {
      const { spec } = await call(url, `/jobs/${id}`);
      await call(url, `/jobs/${id}`, 'PATCH', { priority: TOP_PRIORITY - spec.train.seed });
    }
    console.log(`${setting}: sweep ${sweep.id}, ${jobs.length} jobs`);
  }
}

async function list(url) {
  for (const page of Object.keys(PAGES)) {
    for (const { setting, seed, job } of (await jobsOf([url], page)).reverse()) {
      console.log([page, setting, seed, job.id, job.state, `${job.epoch}/${job.epochs}`, job.summary?.loss ?? ''].join(' '));
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [url, page, ...rest] = process.argv.slice(2);
  const seeds = rest.filter((word) => /^\d+$/.test(word)).map(Number);
  const only = rest.filter((word) => !/^\d+$/.test(word));
  if (page === 'list') await list(url);
  else if (PAGES[page]) await queue(url, page, seeds.length ? seeds : [1, 2, 3], only.length ? only : null);
  else throw new Error(`"${page}" is not one of list, ${Object.keys(PAGES).join(', ')}`);
}
