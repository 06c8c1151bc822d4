// Pictures of charts that the dashboard saves for print.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { savedPicture, skip } from '../lib/browser.mjs';
import { choose, open, page, server, small, useDashboard } from '../lib/dashboard.mjs';
import { finished, submit } from '../lib/experiments.mjs';

useDashboard();

test('every chart is saved as a picture for print: what is shown, on white, in light colours', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'to print', train: { epochs: 60 } }));
  await finished(server, id);
  const file = `to-print-${id.slice(0, 8)}`;
  const GROUPS = ['0072b2', 'b86e00', 'a8357f']; // of the light theme
  const UNTRAINED = '59606a';
  await open(`#/jobs/${id}`, { dark: true });
  await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 60');
  const button = (name) => page.getByRole('button', { name: `Save picture: ${name}` });
  const main = button('Mean log p of the groups by epoch');
  const shown = await savedPicture(page, main, [...GROUPS, UNTRAINED]);
  assert.equal(shown.name, `${file}-mean-log-p-of-the-groups-mask-columns.png`);
  assert.equal(shown.width, 2280);
  assert.ok(shown.height > 1300 && shown.height < 2000, `${shown.height} pixels high`);
  assert.deepEqual(new Set(shown.corners), new Set(['ffffff']));
  assert.ok(shown.colors > 50 && shown.times.every((n) => n > 1000), JSON.stringify(shown));
  assert.ok(shown.dotted[0] > 0 && shown.dotted[3] > 0, 'closed forms are drawn');
  assert.equal(await page.locator('#announce').innerText(), `Picture saved as ${shown.name}`);

  await page.locator('.legend button', { hasText: 'Never used' }).first().click();
  const without = await savedPicture(page, main, GROUPS);
  assert.ok(without.times[2] === 0 && without.times[1] > 1000, 'a line that is switched off is not in the picture');
  await choose('view', 'logscale');
  assert.equal((await savedPicture(page, main, GROUPS)).name, `${file}-mean-p-of-the-groups.png`);

  await choose('view', 'logp');
  await page.locator('.tokens tbody input').first().check();
  await page.locator('.tokens canvas').waitFor();
  await page.locator('.spectrum summary').click();
  await page.locator('.spectrum canvas').waitFor();
  const names = {
    'Loss and log Z by epoch': 'loss-and-log-z',
    'Tokens of each group that the mask leaves, by epoch': 'tokens-that-mask-columns-leaves',
    'The chosen quantity by epoch': 'spectrum-log-p-by-count-in-the-text',
    'Log p of the chosen tokens by epoch': 'mean-log-p-of-tracked-tokens',
    'Mean log p of every token against its count in the text': 'log-p-of-every-token-against-its-count-epoch-60',
  };
  for (const [name, stem] of Object.entries(names)) {
    const picture = await savedPicture(page, button(name), []);
    assert.equal(picture.name, `${file}-${stem}.png`);
    assert.ok(picture.colors > 20 && picture.corners.every((color) => color === 'ffffff'), name);
  }
  assert.equal(await page.locator('button.save:visible').count(), 1 + Object.keys(names).length);
});
