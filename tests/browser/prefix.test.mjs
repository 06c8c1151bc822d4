// The dashboard behind a reverse proxy that strips a prefix: login, live list, downloads.
// The proxy notes every address that leaves the prefix.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { openBrowser, openPage, skip } from '../lib/browser.mjs';
import { epochsOf, submit, tiny } from '../lib/experiments.mjs';
import { startProxy } from '../lib/proxy.mjs';
import { startServer } from '../lib/server.mjs';

let browser, server, proxy, token;
before(async () => {
  if (skip) return;
  [browser, server] = await Promise.all([openBrowser(), startServer({ args: ['--auth', 'on'] })]);
  proxy = await startProxy(server.url, '/lab/tf');
  token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
});
after(async () => {
  await browser?.close();
  await proxy?.stop();
  await server?.stop();
});

test('login, a live list, a job and what it leaves, all below the prefix', { skip }, async () => {
  const { page, context, complaints } = await openPage(browser, { expected: [401] });
  await page.goto(`${proxy.url}/`);
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.locator('#live', { hasText: /^live$/ }).waitFor();
  const command = await page.locator('.empty pre').innerText();
  assert.ok(command.includes(`${proxy.url}/api/v1/jobs`), command);

  const api = (route, init) => proxy.api(route, { ...init, headers: { ...init?.headers, Authorization: `Bearer ${token}` } });
  const { id } = await submit({ api }, tiny({ name: 'far away', train: { epochs: 1010 } }));
  await page.locator('tr', { hasText: 'far away' }).locator('.badge[data-state="succeeded"]').waitFor({ timeout: 120_000 }); // live
  await page.getByRole('link', { name: 'far away' }).click();
  await page.locator('.chart canvas').first().waitFor();
  const [csv] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'All epochs as CSV' }).click()]);
  assert.equal(fs.readFileSync(await csv.path(), 'utf8').trim().split(/\r?\n/).length, 1 + (await epochsOf({ api }, id)).length, 'two pages');
  for (const link of await page.locator('.downloads a').evaluateAll((all) => all.map(({ href }) => href))) {
    assert.equal((await page.evaluate((url) => fetch(url).then(({ status }) => status), link)), 200, link);
  }
  const [cookie, ...others] = await context.cookies();
  assert.deepEqual([cookie.path, others], ['/lab/tf/api/v1', []]);
  await page.reload();
  await page.locator('.runline .badge').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Token', { exact: true }).waitFor();
  assert.deepEqual(await context.cookies(), []);
  assert.deepEqual(proxy.astray, [], 'addresses outside the prefix');
  assert.deepEqual(complaints, []);
  await context.close();
});
