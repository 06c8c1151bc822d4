// Every page of the dashboard: contrast, names of controls, narrow screens. With
// TOKENFATE_SCREENSHOTS=1 the pictures of the README.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { accessibilityFaults, idle, skip } from '../lib/browser.mjs';
import { anyJob, badge, open, page, post, server, useDashboard } from '../lib/dashboard.mjs';
import { CORPUS, finished, submit, tiny } from '../lib/experiments.mjs';

useDashboard();

for (const dark of [false, true]) {
  test(`every page is legible and labelled in ${dark ? 'dark' : 'light'}, and fits a narrow screen`, { skip }, async () => {
    const { id } = await anyJob();
    const sweep = await post('/sweeps', { base: tiny({ train: { epochs: 2 } }), vary: { 'train.seed': [1, 2] } });
    await open('', { dark });
    for (const hash of ['#/jobs', `#/jobs/${id}`, '#/sweeps', `#/sweeps/${sweep.id}`, `#/compare?jobs=${id}`, '#/new', '#/queue', '#/devices', '#/corpora', '#/usage', '#/account']) {
      await page.goto(`${server.url}/${hash}`);
      await page.locator('main h1').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.closest('main')?.id), 'view', `${hash} has the focus`);
      assert.equal(await page.locator('main').evaluate((main) => getComputedStyle(main).outlineStyle), 'none', 'a view is no control');
      for (const width of [1280, 400]) {
        await page.setViewportSize({ width, height: 900 });
        await idle(page);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${hash} is ${overflow} pixels wider than ${width}`);
        assert.deepEqual(await accessibilityFaults(page), [], `${hash} at ${width}`);
      }
    }
  });
}

// `make screenshots` takes the pictures of the README.
if (process.env.TOKENFATE_SCREENSHOTS === '1') test('pictures of a running and of a finished experiment', { skip }, async () => {
  const folder = path.resolve('docs/images');
  fs.mkdirSync(folder, { recursive: true });
  const preset = await (await server.api('/presets/gulliver')).json();
  const { id } = await submit(server, { ...preset, corpus: { ...preset.corpus, id: CORPUS } });
  await open(`#/jobs/${id}`);
  await page.waitForFunction(() => document.querySelector('.runline progress')?.value >= 260, undefined, { timeout: 600_000 });
  await page.screenshot({ path: path.join(folder, 'job-running.png') });
  await finished(server, id, 900);
  await badge('succeeded');
  await page.waitForTimeout(1000);
  await page.screenshot({ path: path.join(folder, 'job-finished.png') });
});
