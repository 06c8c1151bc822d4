// The dashboard in a real browser against the real server: experiments from the form, live to
// their end, and after it.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { pixels, skip } from '../lib/browser.mjs';
import { badge, complaints, field, job, jobId, legend, number, open, page, server, small, useDashboard } from '../lib/dashboard.mjs';
import { CORPUS, epochsOf, finished, reached, submit, tiny } from '../lib/experiments.mjs';
import { childrenOf, largeText, stopReader } from '../lib/processes.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';

useDashboard();

test('an experiment from the form runs live to its end', { skip }, async () => {
  await open('#/new');
  await page.getByLabel('Start from preset').selectOption('gulliver');
  const values = {
    '/name': 'from the form', '/tags': 'browser, live', '/corpus/id': CORPUS, '/model/d_model': '32', '/model/n_layers': '1',
    '/model/n_heads': '2', '/model/seq_len': '16', '/train/epochs': '1000', '/train/batch_size': '2', '/groups/size': '50',
  };
  for (const [pointer, value] of Object.entries(values)) await field(pointer).fill(value);
  await page.getByRole('button', { name: 'Submit experiment' }).click();
  await page.locator('h1', { hasText: 'from the form' }).waitFor();
  const id = jobId();

  await badge('running');
  await page.waitForFunction(() => document.querySelector('.runline progress')?.value > 5);
  const early = await pixels(page);
  const epoch = number(await page.locator('.runline .progress span').innerText().then((text) => text.split('/')[0]));
  assert.ok(early.drawn > 1000, `${early.drawn} pixels drawn`);
  await page.waitForFunction((least) => {
    const { value, max } = document.querySelector('.runline progress');
    return value > least || value === max;
  }, epoch);
  await badge('succeeded');
  await page.waitForFunction(() => document.querySelector('.legend .at').textContent === 'epoch 1,000');
  assert.notEqual((await pixels(page)).hash, early.hash, 'the chart did not move');

  const last = (await epochsOf(server, id)).at(-1);
  assert.equal(number(await legend(0, 'Never used')).toFixed(3), last.groups.never_used.mean_logp.columns.toFixed(3));
  assert.equal(number(await legend(1, 'Loss')).toFixed(3), last.loss.toFixed(3));
  assert.deepEqual((await job(id)).tags, ['browser', 'live']);
});

test('what is entered while a preset is on its way is not overwritten by it', { skip }, async () => {
  await open('#/new');
  await field('/name').fill('before');
  const late = (name, ms) => page.route(`**/presets/${name}`, async (route) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    await route.continue();
  });
  await late('gulliver-holdout', 300);
  await late('gulliver', 1000);
  const first = page.waitForResponse('**/presets/gulliver-holdout');
  await page.getByLabel('Start from preset').selectOption('gulliver-holdout');
  await page.getByLabel('Start from preset').selectOption('gulliver');
  await (await first).finished();
  await page.waitForTimeout(100); // what the first brings is in the page, if it may be
  await field('/name').fill('after');
  await page.waitForTimeout(1500);
  assert.equal(await field('/name').inputValue(), 'after');
});

test('the server’s errors stand at their fields', { skip }, async () => {
  await open('#/new', { expected: [422] });
  await field('/corpus/id').fill(CORPUS);
  await field('/model/d_model').fill('100');
  await field('/model/n_heads').fill('12');
  await field('/train/lr').fill('fast');
  await page.getByRole('button', { name: 'Submit experiment' }).click();
  const errors = (pointer) => page.locator(`[data-pointer="${pointer}"] .error`).innerText();
  await page.locator('.notice.bad').waitFor();
  assert.match(`${await errors('/model/d_model')}${await errors('/model/n_heads')}`, /100/);
  assert.notEqual(await errors('/train/lr'), '');
  assert.equal(await errors('/train/epochs'), '');
  assert.equal(await field('/train/lr').getAttribute('aria-invalid'), 'true');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-invalid')), 'true', 'focus is on the first bad field');

  await page.getByText('Advanced: the spec as JSON').click();
  const raw = page.getByLabel('The spec as JSON');
  const spec = JSON.parse(await raw.inputValue());
  assert.equal(spec.model.d_model, 100, 'the fields and the JSON are one object');
  await raw.fill(JSON.stringify({ ...tiny(), colour: 'blue' }));
  assert.equal(await field('/train/epochs').inputValue(), String(tiny().train.epochs));
  await page.getByRole('button', { name: 'Submit experiment' }).click();
  await page.locator('.notice code', { hasText: '/colour' }).waitFor();
  await raw.fill('{"name": ');
  await page.getByRole('button', { name: 'Submit experiment' }).click();
  assert.match(await page.locator('#raw-error').innerText(), /Not used yet/);
});

test('a finished job runs again with changes, once however often it is sent', { skip }, async () => {
  const custom = [{ name: 'articles', tokens: [' the', 257] }];
  const first = await submit(server, small({ name: 'again', train: { epochs: 10, seed: 7 }, groups: { custom } }));
  await finished(server, first.id);
  await open(`#/jobs/${first.id}`);
  await page.getByRole('link', { name: 'Run again with changes' }).click();
  await page.locator('h1', { hasText: 'New experiment' }).waitFor();
  await page.waitForFunction(() => document.querySelector('[data-pointer="/train/seed"] input')?.value === '7');
  assert.equal(await page.getByLabel('Name of custom group 1').inputValue(), 'articles');
  await field('/train/seed').fill('8');
  // The first answer gets lost on its way: what is sent again is the same job.
  await page.route('**/api/v1/jobs', async (route) => {
    await route.fetch();
    await route.abort();
  }, { times: 1 });
  await page.getByRole('button', { name: 'Submit experiment' }).click();
  await page.locator('.notice.bad', { hasText: 'cannot be reached' }).waitFor();
  complaints.length = 0;
  await page.getByRole('button', { name: 'Submit experiment' }).dblclick();
  await page.waitForURL((url) => /#\/jobs\/[\w-]+$/.test(url.hash) && !url.hash.includes(first.id));
  const second = await job(jobId());
  const [a, b] = [(await job(first.id)).spec, second.spec].map((spec) => structuredClone(spec));
  assert.equal(b.train.seed, 8);
  b.train.seed = 7;
  assert.deepEqual(b, a);
  const { jobs } = await (await server.api('/jobs?q=again')).json();
  assert.equal(jobs.length, 2);
  await badge('succeeded');
  assert.equal(await page.locator('.tiles > div').count(), 5);
});

test('a job that diverged says so, and a retry starts over on the same page', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'too fast', train: { epochs: 60, lr: 1e9, optimizer: 'sgd' } }));
  const failed = await finished(server, id);
  assert.equal(failed.error.code, 'diverged');
  await open(`#/jobs/${id}`);
  await badge('failed');
  assert.match(await page.locator('.notice.bad').innerText(), new RegExp(`diverged.*epoch ${failed.error.epoch}`, 's'));
  await page.getByText(`The run diverged at epoch ${failed.error.epoch}. The claims are not judged`).waitFor();
  assert.equal(await page.locator('.verdict').count(), 0);
  const rows = await page.locator('.chart canvas').first().evaluate((canvas) => {
    const data = window.readPixels(canvas);
    const at = new Set();
    for (let i = 0; i < data.length; i += 4) if ([0xa8, 0x35, 0x7f].every((c, k) => Math.abs(data[i + k] - c) < 6)) at.add(Math.floor(i / 4 / canvas.width));
    return at.size;
  });
  assert.ok(rows > 30, `the curve of the group never used leaves the plot: it is in ${rows} rows`);
  assert.doesNotMatch(await page.locator('main').innerText(), /(?<![0-9a-f])[\d,]{16,}/);
  assert.equal(await page.getByRole('button', { name: 'Retry', exact: true }).count(), 0);
  await page.getByRole('button', { name: 'Start over', exact: true }).click();
  await page.locator('dialog button.danger').click();
  await page.waitForFunction(() => document.querySelector('dl.facts').textContent.includes('Attempt2'));
  await badge('failed');
  const last = (await epochsOf(server, id)).at(-1).epoch;
  await page.waitForFunction((epoch) => document.querySelector('.legend .at').textContent === `epoch ${epoch}`, last);
  await page.setViewportSize({ width: 400, height: 900 });
  await page.goto(`${server.url}/#/jobs?q=too fast`);
  await page.locator('table.jobs .name').first().waitFor();
  const wider = await page.locator('td.number').evaluateAll((cells) => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent));
  assert.deepEqual(wider, [], 'numbers lie on each other');
});

test('a job on a text that is being read says so, and runs when it is read', { skip }, async () => {
  const known = childrenOf(server);
  const headers = { 'Content-Type': 'application/octet-stream' };
  await server.api('/corpora?name=large', { method: 'POST', headers, body: largeText(32 << 20) });
  const reader = await stopReader(server, known);
  const { id } = await submit(server, tiny({ name: 'on a large text', corpus: { id: 'large' } }));
  await open(`#/jobs/${id}`);
  await page.locator('.notice.info', { hasText: 'its text is being read' }).waitFor();
  assert.equal(await page.locator('.notice.bad').count(), 0);
  process.kill(reader, 'SIGCONT');
  await badge('succeeded');
  await page.locator('tr.theory').first().waitFor(); // the closed forms, which need the text
  assert.deepEqual(complaints, []);
});

test('a running job is held with what it has, and goes on when it is released', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'held in between', train: { epochs: 1500 } }));
  await reached(server, id, 20);
  await open(`#/jobs/${id}`);
  await page.getByRole('button', { name: 'Hold', exact: true }).click();
  await badge('held');
  const { epoch, state } = await (await server.api(`/jobs/${id}`)).json();
  assert.ok(state === 'held' && epoch >= 20, `${state} at ${epoch}`);
  await page.getByRole('button', { name: 'Release', exact: true }).click();
  await badge('running');
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.locator('dialog button.danger').click();
  await badge('cancelled');
  assert.ok((await (await server.api(`/jobs/${id}`)).json()).epoch >= epoch, 'no epoch was lost');
});

test('what a finished job leaves can be downloaded', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'to take home', train: { epochs: 12, snapshots: [4] } }));
  await finished(server, id);
  await open(`#/jobs/${id}`);
  const [csv] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'All epochs as CSV' }).click()]);
  assert.equal(csv.suggestedFilename(), `to-take-home-${id.slice(0, 8)}.csv`);
  const lines = fs.readFileSync(await csv.path(), 'utf8').trim().split(/\r?\n/);
  assert.equal(lines.length, 1 + 13);
  assert.ok(lines[0].split(',').includes('groups.never_used.ln_mean_p'));
  const links = await page.locator('.downloads a').evaluateAll((all) => all.map((link) => link.href));
  assert.equal(links.length, 4, 'two models, config.json, log');
  for (const link of links) {
    const answer = await fetch(link);
    assert.equal(answer.status, 200, link);
    await answer.arrayBuffer();
  }
});

test('the page outlives its server: killed, started again, no epoch lost', { skip }, async () => {
  const first = await startServer({ args: ['--checkpoint-seconds', '1'] });
  let second;
  try {
    const { id } = await submit(first, small({ name: 'survivor', train: { epochs: 600 } }));
    await open(`#/jobs/${id}`, { url: first.url });
    await page.waitForFunction(() => document.querySelector('.runline progress')?.value > 20);
    await first.kill('SIGKILL');
    await page.locator('#live', { hasText: 'reconnecting' }).waitFor();
    second = await startServer({ args: ['--listen', new URL(first.url).host], dataDir: first.dataDir });
    await page.locator('#live', { hasText: /^live$/ }).waitFor({ timeout: 60_000 });
    await badge('succeeded');
    await page.waitForFunction(() => document.querySelector('.legend .at').textContent === 'epoch 600');
    const records = await epochsOf(second, id);
    await page.locator('.plot').first().focus();
    await page.keyboard.press('Home');
    for (let epoch = 0; epoch < 40; epoch++) {
      assert.equal(await page.locator('.legend .at').first().innerText(), `epoch ${epoch}`);
      assert.equal(number(await legend(1, 'Loss')).toFixed(3), records[epoch].loss.toFixed(3));
      await page.keyboard.press('ArrowRight');
    }
    const gone = (text) => /ERR_(CONNECTION|INCOMPLETE|EMPTY|SOCKET)/.test(text);
    complaints.splice(0, complaints.length, ...complaints.filter((text) => !gone(text)));
  } finally {
    await first.kill();
    await second?.stop();
    removeFolder(first.dataDir);
  }
});
