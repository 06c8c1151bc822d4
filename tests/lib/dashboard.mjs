// dashboard: what the files of dashboard tests share. useDashboard() gives a file one browser
// and one server, and each test a fresh page (open) whose console must stay clean.
import { after, afterEach, before, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { chartTexts, idle, openBrowser, openPage, skip } from './browser.mjs';
import { finished, submit, tiny } from './experiments.mjs';
import { startServer } from './server.mjs';

export const small = (change = {}) => tiny({ model: { d_model: 32, n_heads: 2, seq_len: 16 }, groups: { size: 50 }, ...change });

export let browser, server, page, complaints, context;

export function useDashboard() {
  before(async () => {
    if (skip) return;
    [browser, server] = await Promise.all([openBrowser(), startServer()]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(() => {
    complaints = [];
    context = undefined;
  });
  // Nothing a test does may leave an error or a policy violation in the console.
  afterEach(async () => {
    if (skip) return;
    await context?.close();
    assert.deepEqual(complaints, []);
  });
}

// options: url of another server, and those of openPage.
export async function open(hash = '', { url = server.url, ...options } = {}) {
  ({ page, context, complaints } = await openPage(browser, options));
  await page.goto(`${url}/${hash}`);
}

export const field = (pointer) => page.locator(`[data-pointer="${pointer}"]`).locator('input, select, textarea').first();
export const choose = (name, value) => page.locator(`[data-name="${name}"] input[value="${value}"]`).check({ force: true });
export const badge = (state) => page.locator(`.runline .badge[data-state="${state}"]`).waitFor({ timeout: 120_000 });
export const legend = (n, label) => page.locator('.chart').nth(n).locator('.legend button', { hasText: label }).first().locator('.value').innerText();
export const number = (text) => Number(text.replace('\u2212', '-').replaceAll(',', ''));
export const jobId = () => new URL(page.url()).hash.split('/')[2];
// Some finished job, for tests that need no particular one.
export async function anyJob() {
  const { jobs } = await (await server.api('/jobs?state=succeeded&limit=1')).json();
  return jobs[0] ?? finished(server, (await submit(server, tiny())).id);
}
// Opens the comparison of made-up jobs: values of the loss of each, by epoch.
export async function openCompared(runs, options) {
  await open('#/devices', options);
  const jobs = runs.map((_, i) => ({ id: `run-${i + 1}`, name: `run ${i + 1}` }));
  const epochs = Array.from({ length: Math.max(...runs.map((values) => values.length)) }, (_, i) => i);
  const series = runs.map((values) => epochs.map((i) => values[i] ?? null));
  await page.route('**/api/v1/compare?*', (route) => {
    const { length: asked } = new URL(route.request().url()).searchParams.get('jobs').split(',');
    return route.fulfill({ json: { jobs: jobs.slice(0, asked), differs: [], epochs, series: { '/loss': series.slice(0, asked) } } });
  });
  const texts = await chartTexts(page);
  await page.goto(`${server.url}/#/compare?jobs=${jobs.map(({ id }) => id)}`);
  await page.locator('.chart canvas').waitFor();
  await idle(page);
  return texts;
}
export const post = async (path, body) =>
  (await server.api(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();
export const job = async (id) => (await server.api(`/jobs/${id}`)).json();
