// The page of texts in a real browser: a name that is taken, its replacement, deletion.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { accessibilityFaults, openBrowser, openPage, skip } from '../lib/browser.mjs';
import { startServer } from '../lib/server.mjs';

let browser, server;
before(async () => {
  if (!skip) [browser, server] = await Promise.all([openBrowser(), startServer()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('a taken name is refused, replaced on demand, and its texts are deleted one by one', { skip }, async () => {
  const { page, context, complaints } = await openPage(browser, { expected: [409] });
  await page.goto(`${server.url}/#/corpora`);
  const upload = async (name, text) => {
    await page.getByLabel('File').setInputFiles({ name: `${name}.txt`, mimeType: 'text/plain', buffer: Buffer.from(text) });
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Upload' }).click();
  };
  const rows = page.locator('td', { hasText: /^hamster$/ });
  const texts = async () => (await (await server.api('/corpora')).json()).corpora.filter(({ name }) => name === 'hamster').length;
  await upload('hamster', 'The hamster sleeps by day. '.repeat(40));
  await rows.first().waitFor();
  await upload('hamster', 'The hamster runs by night. '.repeat(40));
  await page.locator('.notice.bad', { hasText: /another text/ }).waitFor();
  await page.getByLabel('Replace an older text').check();
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.locator('.notice.good', { hasText: /Uploaded/ }).waitFor();
  assert.equal(await texts(), 2);
  assert.deepEqual(await accessibilityFaults(page), []);
  for (const left of [1, 0]) { // the older one first, by its address
    await page.getByRole('button', { name: 'Delete hamster' }).last().click();
    await page.locator('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.locator('.notice.good', { hasText: /Deleted/ }).waitFor();
    await page.waitForFunction((n) => [...document.querySelectorAll('td:first-child')].filter((cell) => cell.textContent === 'hamster').length === n, left);
    assert.equal(await texts(), left);
    const { corpora } = await (await server.api('/corpora')).json();
    const deletable = await page.locator('tbody tr').filter({ has: page.getByRole('button', { name: /^Delete/ }) }).locator('td:first-child').allInnerTexts();
    assert.deepEqual(deletable, corpora.filter(({ reserved }) => !reserved).map(({ name }) => name));
    assert.ok(corpora.some(({ name, reserved }) => name === 'gulliver-synthetic' && reserved));
  }
  await context.close();
  assert.deepEqual(complaints, []);
});
