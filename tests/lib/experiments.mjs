// experiments: specs and small helpers that the API, crash and browser tests share.
import fs from 'node:fs';
import path from 'node:path';

const folders = (process.env.TOKENFATE_CORPUS_PATH ?? 'corpora').split(':');
// The real text where there is one, the built-in synthetic corpus elsewhere.
export const GULLIVER = folders.map((folder) => path.join(folder, 'pg829.txt')).find((file) => fs.existsSync(file));
export const CORPUS = GULLIVER ? 'gulliver' : 'gulliver-synthetic';
export const SANITIZED = /build-(address|thread|undefined)/.test(process.env.TOKENFATE_BUILD ?? '');

const merge = (base, change) => Object.fromEntries([...new Set([...Object.keys(base), ...Object.keys(change)])].map((key) => [
  key, typeof base[key] === 'object' && base[key] && !Array.isArray(base[key]) ? merge(base[key], change[key] ?? {}) : change[key] ?? base[key],
]));

// A job of a second or two. In fp32, which every processor computes in: `auto` depends on it.
export const tiny = (change = {}) => merge({
  name: 'tiny',
  corpus: { id: CORPUS },
  model: { d_model: 16, n_layers: 1, n_heads: 2, seq_len: 8 },
  train: { epochs: 8, batch_size: 2, precision: 'fp32', snapshots: [] },
  groups: { size: 20 },
  resources: {},
}, change);

// gulliver in small: long enough to be killed in the middle.
export const small = (change = {}) => merge(tiny({
  name: 'small', model: { d_model: 32, n_layers: 2, n_heads: 2, seq_len: 16 }, train: { epochs: 500, batch_size: 2 },
}), change);

export async function submit(server, spec) {
  const answer = await server.api('/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(spec),
  });
  const body = await answer.json();
  if (answer.status !== 201) throw new Error(`POST /jobs: ${answer.status} ${JSON.stringify(body)}`);
  return body;
}

const FINAL = ['succeeded', 'failed', 'cancelled'];

export async function finished(server, id, seconds = 300) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
    const job = await (await server.api(`/jobs/${id}?wait=5`)).json();
    if (FINAL.includes(job.state)) return job;
  }
  throw new Error(`job ${id} did not end within ${seconds} s`);
}

export const epochsOf = async (server, id) => {
  const all = [];
  for (;;) {
    const page = await (await server.api(`/jobs/${id}/epochs?from=${all.length}`)).json();
    all.push(...page.epochs);
    if (page.next == null) return all;
  }
};

// An answer as CSV: its header line, its rows as numbers (null where a cell is empty) and
// where it goes on.
export async function csvOf(server, path) {
  const answer = await server.api(path, { headers: { Accept: 'text/csv' } });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${text}`);
  const type = `${answer.headers.get('content-type')}, ${answer.headers.get('vary')}`;
  if (type !== 'text/csv; charset=utf-8, Accept' || !text.endsWith('\r\n')) throw new Error(`GET ${path} is no CSV: ${type}`);
  const [header, ...rows] = text.slice(0, -2).split('\r\n').map((line) => line.split(','));
  const [, link] = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '') ?? [];
  const next = link && new URL(link, answer.url).href.slice(`${server.url}/api/v1`.length);
  return { header, rows: rows.map((row) => row.map((cell) => (cell === '' ? null : Number(cell)))), next };
}

// Waits until a job has stored the given epoch.
export async function reached(server, id, epoch, seconds = 120) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const job = await (await server.api(`/jobs/${id}`)).json();
    if (job.epoch >= epoch || FINAL.includes(job.state)) return job;
  }
  throw new Error(`job ${id} did not reach epoch ${epoch}`);
}

// Records without what two runs of the same experiment may differ in.
export const bits = (records) => records.map(({ job, tokens_per_second, ...rest }) => rest);

// Reads an event stream until stop(events) is true; answers the events. A stream
// that breaks off is an error, unless partial asks for what came until then.
export async function events(server, query, stop, { headers = {}, seconds = 120, partial = false } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), 1000 * seconds);
  const seen = [];
  try {
    const answer = await server.api(`/events${query}`, { headers, signal: abort.signal });
    if (answer.status !== 200) throw new Error(`GET /events: ${answer.status}`);
    let text = '';
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const event = {};
        for (const line of text.slice(0, end).split('\n')) {
          const [, key, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
          if (key) event[key] = value;
        }
        if (event.data) seen.push({ ...event, data: JSON.parse(event.data) });
      }
      if (stop(seen)) break;
    }
  } catch (error) {
    if (abort.signal.aborted) throw new Error(`no end of the event stream after ${seconds} s; ${seen.length} events`);
    if (!partial) throw error;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  return seen;
}
