// The dashboard in a real browser against the real server: what a researcher
// does, from the empty list to a finished experiment and its rerun.
import { test, before, after, beforeEach, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { accessibilityFaults, horizontals, openBrowser, openPage, pixels, savedPicture, skip } from '../lib/browser.mjs';
import { CORPUS, epochsOf, finished, reached, submit, tiny } from '../lib/experiments.mjs';
import { removeFolder, startServer } from '../lib/server.mjs';
import { significant } from '../../web/format.js';

const small = (change = {}) => tiny({ model: { d_model: 32, n_heads: 2, seq_len: 16 }, groups: { size: 50 }, ...change });
const ENDLESS = { name: 'endless', train: { epochs: 200000 } };

let browser, server, page, complaints, context;

before(async () => {
  if (skip) return;
  [browser, server] = await Promise.all([openBrowser(), startServer()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(hash = '', options = {}) {
  ({ page, context, complaints } = await openPage(browser, options));
  await page.goto(`${server.url}/${hash}`);
}
// Nothing a test does may leave an error or a policy violation in the console.
afterEach(async () => {
  if (skip) return;
  await context?.close();
  assert.deepEqual(complaints ?? [], []);
});
beforeEach(() => {
  complaints = [];
  context = undefined;
});

const field = (pointer) => page.locator(`[data-pointer="${pointer}"]`).locator('input, select, textarea').first();
const choose = (name, value) => page.locator(`[data-name="${name}"] input[value="${value}"]`).check({ force: true });
const badge = (state) => page.locator(`.runline .badge[data-state="${state}"]`).waitFor({ timeout: 120_000 });
const legend = (n, label) => page.locator('.chart').nth(n).locator('.legend button', { hasText: label }).first().locator('.value').innerText();
const number = (text) => Number(text.replace('\u2212', '-').replaceAll(',', ''));
const jobId = () => new URL(page.url()).hash.split('/')[2];
// Some finished job, for tests that need no particular one.
async function anyJob() {
  const { jobs } = await (await server.api('/jobs?state=succeeded&limit=1')).json();
  return jobs[0] ?? finished(server, (await submit(server, tiny())).id);
}
const post = async (path, body) =>
  (await server.api(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();
const postSweep = (body) => post('/sweeps', body);
const job = async (id) => (await server.api(`/jobs/${id}`)).json();


test('the empty list says how to submit the first experiment', { skip }, async () => {
  await open();
  const command = await page.locator('.empty pre').innerText();
  assert.match(command, /curl .*@config\/presets\/gulliver\.json/s);
  assert.ok(command.includes(`${server.url}/api/v1/jobs`));
});

test('an experiment from the form runs live to its end', { skip }, async () => {
  await open('#/new');
  await page.getByLabel('Start from preset').selectOption('gulliver');
  const values = {
    '/name': 'from the form', '/tags': 'browser, live', '/corpus/id': CORPUS, '/model/d_model': '32', '/model/n_layers': '1',
    '/model/n_heads': '2', '/model/seq_len': '16', '/train/epochs': '2000', '/train/batch_size': '2', '/groups/size': '50',
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
  await page.waitForFunction(() => document.querySelector('.legend .at').textContent === 'epoch 2,000');
  assert.notEqual((await pixels(page)).hash, early.hash, 'the chart did not move');

  const last = (await epochsOf(server, id)).at(-1);
  assert.equal(number(await legend(0, 'Never used')).toFixed(3), last.groups.never_used.mean_logp.columns.toFixed(3));
  assert.equal(number(await legend(1, 'Loss')).toFixed(3), last.loss.toFixed(3));
  assert.deepEqual((await job(id)).tags, ['browser', 'live']);
});

test('the list shows jobs live, filters them, and takes names for text', { skip }, async () => {
  const other = await submit(server, small({ name: 'needle', train: { epochs: 2 } }));
  await finished(server, other.id);
  await open();
  await page.locator('tr', { hasText: 'needle' }).locator('.badge[data-state="succeeded"]').waitFor();
  const name = '<img src=x onerror=alert(1)>';
  const { id } = await submit(server, small({ name, train: { epochs: 300 } }));
  const row = page.locator('tbody tr', { has: page.locator(`a[href="#/jobs/${id}"]`) });
  await row.waitFor();
  assert.equal(await row.locator('.name').innerText(), name);
  await page.waitForFunction((job) => document.querySelector(`a[href="#/jobs/${job}"]`).closest('tr').querySelector('progress').value > 1, id);
  await row.locator('.badge[data-state="succeeded"]').waitFor({ timeout: 120_000 });
  const shown = await row.locator('td[data-label="Never used"]').innerText();
  assert.equal(number(shown).toFixed(2), (await job(id)).summary.groups.never_used.mean_logp.toFixed(2));

  await page.getByLabel('Search jobs').fill('needle');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await choose('state', 'failed');
  await page.getByText('No job matches this filter.').waitFor();
  assert.match(page.url(), /#\/jobs\?state=failed&q=needle$/);
});

test('masks and views change the curves, closed forms are drawn in', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'charts', train: { epochs: 60 } }));
  const done = await finished(server, id);
  const last = (await epochsOf(server, id)).at(-1).groups;
  await open(`#/jobs/${id}`);
  await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 60');

  const seen = new Set();
  for (const mask of ['columns', 'windows', 'positions', 'none']) {
    await choose('mask', mask);
    const wanted = last.most_common.mean_logp[mask]?.toFixed(3) ?? '–';
    await page.waitForFunction((text) => document.querySelector('.legend .value').textContent.replace('\u2212', '-') === text, wanted);
    const note = await page.locator('.legend button').first().locator('.note').innerText();
    assert.equal(note, `${last.most_common.tokens_kept[mask]} of ${last.most_common.tokens_kept.none} tokens`);
    await page.waitForTimeout(200);
    seen.add((await pixels(page)).hash);
  }
  assert.ok(seen.size >= 3, 'masks draw different curves');

  const rows = await page.locator('tr.theory').allInnerTexts();
  assert.ok(rows[0].replaceAll('\u2212', '-').includes(done.theory.untrained.toFixed(3)));
  assert.ok(rows[1].replaceAll('\u2212', '-').includes(done.theory.groups.most_common.context_free.toFixed(3)));
  assert.ok((await horizontals(page, 0, '--muted', 0.2)).length > 0, 'the untrained level is drawn');
  assert.ok((await horizontals(page, 0, '--group-0', 0.2)).length > 0, 'the context-free level is drawn');

  const logarithmic = (await pixels(page)).hash;
  await choose('view', 'p');
  await page.waitForFunction(() => document.querySelector('[data-name="mask"]').disabled);
  assert.deepEqual(await horizontals(page, 0, '--muted', 0.2), [], 'no level in nats on an axis of p');
  const linear = (await pixels(page)).hash;
  await choose('view', 'logscale');
  await page.waitForTimeout(200);
  assert.equal(new Set([logarithmic, linear, (await pixels(page)).hash]).size, 3);

  await choose('view', 'logp');
  const before = await page.locator('.chart').first().locator('.legend button').count();
  await page.getByLabel('mean ln(mean p)').check();
  assert.equal(await page.locator('.chart').first().locator('.legend button').count(), 2 * before);
});

test('a form of mean log p is drawn under every mask, and says when it is about another', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'plain sgd', train: { epochs: 30, optimizer: 'sgd', lr: 0.5, weight_decay: 0 } }));
  await finished(server, id);
  const { curves } = await (await server.api(`/jobs/${id}/theory`)).json();
  const { predicted, group } = curves.find(({ quantity }) => quantity === 'mean_logp/none');
  assert.equal(group, 'never_used');
  await open(`#/jobs/${id}`);
  for (const mask of ['columns', 'positions', 'none']) {
    await page.locator('[data-name="mask"]').waitFor();
    await choose('mask', mask);
    const label = `Never used, form 3.6${mask === 'none' ? '' : ' (mask none)'}`;
    const entry = page.locator('.charts .main .legend button').filter({ has: page.getByText(label, { exact: true }) });
    await page.waitForFunction((wanted) => [...document.querySelectorAll('.charts .main .legend button')].some((button) => button.textContent.includes(wanted)), label);
    assert.equal(number(await entry.locator('.value').innerText()).toFixed(3), predicted.at(-1).toFixed(3), mask);
  }
});

test('the legend tells the values at the cursor, by mouse and by keyboard, and hides lines', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'cursor', train: { epochs: 50 } }));
  await finished(server, id);
  const records = await epochsOf(server, id);
  await open(`#/jobs/${id}`);
  const at = page.locator('.legend .at').first();
  await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 50');
  await page.locator('.plot').first().focus();
  await page.keyboard.press('Home');
  assert.equal(await at.innerText(), 'epoch 0');
  await page.keyboard.press('ArrowRight');
  assert.equal(await at.innerText(), 'epoch 1');
  assert.equal(number(await legend(1, 'Loss')).toFixed(3), records[1].loss.toFixed(3), 'the other charts follow');
  await page.keyboard.press('Escape');
  assert.equal(await at.innerText(), 'epoch 50');

  const box = await page.locator('.u-over').first().boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  assert.equal(await at.innerText(), 'epoch 25');
  const whole = (await pixels(page)).hash;
  await page.mouse.move(box.x + 20, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 3, box.y + 60, { steps: 3 });
  await page.mouse.up();
  const reset = page.getByRole('button', { name: 'Whole range' });
  await reset.waitFor();
  assert.notEqual((await pixels(page)).hash, whole);
  await reset.click();

  const entry = page.locator('.legend button').first();
  await entry.click();
  assert.equal(await page.locator('.legend button').first().getAttribute('aria-pressed'), 'false');
  assert.notEqual((await pixels(page)).hash, whole);
});

test('the table of groups and the tracked tokens show what the API says', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'tables', train: { epochs: 20 } }));
  await finished(server, id);
  const last = (await epochsOf(server, id)).at(-1).groups;
  const { tokens } = await (await server.api(`/jobs/${id}/tokens`)).json();
  await open(`#/jobs/${id}`);
  const row = page.locator('table.groups tr', { hasText: 'mean ln(mean p)' }).first();
  await row.waitFor();
  const shown = await row.locator('.now').allInnerTexts();
  assert.deepEqual(shown.map((text) => number(text).toFixed(3)), ['most_common', 'least_common', 'never_used'].map((name) => last[name].ln_mean_p.toFixed(3)));

  const table = page.locator('.tokens table');
  const spaced = tokens.find((token) => /^ [a-z]+$/.test(token.text));
  await page.getByLabel('Find a token').fill(spaced.text);
  const found = table.locator('tbody tr').filter({ has: page.getByText(spaced.text.replace(' ', '␣'), { exact: true }) });
  assert.match(await found.innerText(), new RegExp(`\\b${spaced.id}\\b`));
  await found.getByRole('checkbox').check();
  const chart = page.locator('.tokens .chart');
  await chart.locator('canvas').waitFor();
  const history = await (await server.api(`/jobs/${id}/tokens?token=${spaced.id}`)).json();
  assert.equal(number(await chart.locator('.value').innerText()).toFixed(3), history.logp.at(-1).toFixed(3));
  await page.getByLabel('Find a token').fill('');
  await table.getByRole('button', { name: 'Corpus count' }).click();
  const counts = (await table.locator('tbody tr td:nth-child(5)').allInnerTexts()).map(number);
  assert.deepEqual(counts, tokens.map((token) => token.count).sort((a, b) => b - a).slice(0, counts.length));
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

test('hold, release, rename, cancel, delete', { skip }, async () => {
  const running = await submit(server, small(ENDLESS));
  await reached(server, running.id, 1);
  const waiting = await submit(server, small({ name: 'waiting' }));
  await open(`#/jobs/${waiting.id}`);
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  await badge('queued');
  await press('Hold');
  await badge('held');
  await press('Release');
  await badge('queued');
  await press('Rename, notes');
  await page.getByLabel('Name', { exact: true }).fill('renamed');
  await page.getByLabel('Notes').fill('why it was run');
  await press('Save');
  await page.locator('h1', { hasText: 'renamed' }).waitFor();
  assert.equal((await job(waiting.id)).notes, 'why it was run');
  await press('Cancel');
  await page.locator('dialog button.danger').click();
  await badge('cancelled');
  await press('Delete');
  await page.locator('dialog button.danger').click();
  await page.waitForURL((url) => url.hash === '#/jobs');
  assert.equal((await server.api(`/jobs/${waiting.id}`)).status, 404);

  await page.goto(`${server.url}/#/jobs/${running.id}`);
  await badge('running');
  await press('Cancel');
  await page.locator('dialog button.danger').click();
  await badge('cancelled');
  assert.equal((await job(running.id)).state, 'cancelled');
});

test('a job that diverged says so, and starts over on the same page', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'too fast', train: { epochs: 60, lr: 1e9, optimizer: 'sgd' } }));
  const failed = await finished(server, id);
  assert.equal(failed.error.code, 'diverged');
  await open(`#/jobs/${id}`);
  await badge('failed');
  assert.match(await page.locator('.notice.bad').innerText(), new RegExp(`diverged.*epoch ${failed.error.epoch}`, 's'));
  await page.getByText(`The run diverged at epoch ${failed.error.epoch}. The claims are not judged`).waitFor();
  assert.equal(await page.locator('.verdict').count(), 0);
  assert.doesNotMatch(await page.locator('main').innerText(), /[\d,]{16,}|\de[+-]?\d/);
  assert.equal(await page.getByRole('button', { name: 'Retry', exact: true }).count(), 0);
  await page.getByRole('button', { name: 'Start over', exact: true }).click();
  await page.locator('dialog button.danger').click();
  await page.waitForFunction(() => document.querySelector('dl.facts').textContent.includes('Attempt2'));
  await badge('failed');
  const last = (await epochsOf(server, id)).at(-1).epoch;
  await page.waitForFunction((epoch) => document.querySelector('.legend .at').textContent === `epoch ${epoch}`, last);
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

test('the page outlives its server: killed, started again, no epoch lost', { skip }, async () => {
  const first = await startServer({ args: ['--checkpoint-seconds', '1'] });
  let second;
  try {
    const { id } = await submit(first, small({ name: 'survivor', train: { epochs: 1200 } }));
    ({ page, context, complaints } = await openPage(browser));
    await page.goto(`${first.url}/#/jobs/${id}`);
    await page.waitForFunction(() => document.querySelector('.runline progress')?.value > 20);
    await first.kill('SIGKILL');
    await page.locator('#live', { hasText: 'reconnecting' }).waitFor();
    second = await startServer({ args: ['--listen', new URL(first.url).host], dataDir: first.dataDir });
    await page.locator('#live', { hasText: /^live$/ }).waitFor({ timeout: 60_000 });
    await badge('succeeded');
    await page.waitForFunction(() => document.querySelector('.legend .at').textContent === 'epoch 1,200');
    const records = await epochsOf(second, id);
    await page.locator('.plot').first().focus();
    await page.keyboard.press('Home');
    for (let epoch = 0; epoch < 40; epoch++) {
      assert.equal(await page.locator('.legend .at').first().innerText(), `epoch ${epoch}`);
      assert.equal(number(await legend(1, 'Loss')).toFixed(3), records[epoch].loss.toFixed(3));
      await page.keyboard.press('ArrowRight');
    }
    complaints = complaints.filter((text) => !/ERR_(CONNECTION|INCOMPLETE|EMPTY|SOCKET)/.test(text));
  } finally {
    await first.kill();
    await second?.stop();
    removeFolder(first.dataDir);
  }
});

test('devices say what they do, or why they cannot', { skip }, async () => {
  const { devices } = await (await server.api('/devices')).json();
  await open('#/devices');
  await page.locator('.device').first().waitFor();
  assert.equal(await page.locator('.device').count(), devices.length);
  for (const device of devices.filter((each) => !each.available)) await page.getByText(device.reason).first().waitFor();
});

test('a text is uploaded and can be used; one that is not UTF-8 is refused', { skip }, async () => {
  await open('#/corpora', { expected: [400, 422] });
  const upload = async (name, bytes) => {
    await page.getByLabel('File').setInputFiles({ name: `${name}.txt`, mimeType: 'text/plain', buffer: Buffer.from(bytes) });
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Upload' }).click();
  };
  await upload('hamster', 'The hamster sleeps by day and runs by night. '.repeat(400));
  await page.locator('td', { hasText: /^hamster$/ }).waitFor();
  await upload('broken', [0x61, 0xff, 0x62]);
  await page.locator('.notice.bad', { hasText: /UTF-8/ }).waitFor();
  const { corpora } = await (await server.api('/corpora')).json();
  assert.ok(corpora.some((corpus) => corpus.name === 'hamster'));
  assert.ok(!corpora.some((corpus) => corpus.name === 'broken'));
});

test('light and dark: the system’s, or the one chosen, and it stays', { skip }, async () => {
  const brightness = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3);
  await anyJob();
  await open('', { dark: true });
  assert.ok(await brightness() < 60);
  await page.locator('table.jobs .name').first().click();
  await page.locator('.chart canvas').first().waitFor();
  const dark = (await pixels(page)).hash;
  await page.getByRole('button', { name: 'Light' }).click();
  assert.ok(await brightness() > 200);
  assert.notEqual((await pixels(page)).hash, dark, 'charts follow the theme');
  await page.reload();
  assert.ok(await brightness() > 200);
});

test('what moves the tokens, findings, the whole vocabulary, a question to the model', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'explained', train: { epochs: 40, snapshots: [20] }, eval: { windows: 4, every: 10 } }));
  await finished(server, id);
  const last = (await epochsOf(server, id)).at(-1);
  const theory = await (await server.api(`/jobs/${id}/theory`)).json();
  await open(`#/jobs/${id}`);
  const drivers = page.locator('.drivers');
  const shown = async (label) => number(await drivers.locator('.legend button', { hasText: label }).first().locator('.value').innerText());
  await drivers.locator('select').selectOption('by_count');
  assert.equal((await shown('1000 and more')).toFixed(3), last.logp_by_count[7].toFixed(3));
  await drivers.locator('select').selectOption('cos_within');
  assert.equal((await shown('Never used')).toFixed(3), last.groups.never_used.cos_within.toFixed(3));
  const offered = await drivers.locator('option').evaluateAll((options) => options.map(({ value }) => value));
  assert.ok(offered.includes('softmax') && !offered.includes('input_shift'), 'a tied model has no input rows');
  assert.ok(offered.includes('eval_loss') && !offered.includes('holdout_by_count'), 'nothing is held out');
  await drivers.locator('select').selectOption('eval_loss');
  assert.equal((await shown('Training part')).toFixed(3), last.eval.loss.toFixed(3));
  await drivers.locator('select').selectOption('jensen');
  const { ln_mean_p: geometric, mean_logp: { none } } = last.groups.most_common;
  assert.equal((await shown('Most common')).toFixed(3), (geometric - none).toFixed(3));
  const chosen = async (key, label, value) => {
    await drivers.locator('select').selectOption(key);
    assert.equal((await shown(label)).toFixed(3), value.toFixed(3), key);
  };
  const { eval: evaluated } = last.groups.most_common;
  await chosen('eval_ln_mean_p', 'Most common', evaluated.ln_mean_p);
  assert.ok((await horizontals(page, 3, '--group-0', 0.2)).length > 0, 'beside mean ln(c/N)');
  await chosen('eval_jensen', 'Most common', evaluated.ln_mean_p - evaluated.mean_logp);
  await drivers.locator('select').selectOption('eval_mean_p');
  assert.equal(await drivers.locator('.legend .value').first().innerText(), significant(evaluated.mean_p));
  await chosen('eval_mean_logit', 'Most common', Number(evaluated.mean_logit.toPrecision(3)));
  await chosen('eval_sd', 'Most common', evaluated.sd);
  await chosen('eval_log_z', 'Training part', last.eval.log_z);
  await chosen('eval_n_by_count', '1000 and more', last.eval_n_by_count[7]);
  await chosen('eval_spectrum', '1000 and more', last.eval_logp_by_count[7]);
  await chosen('tokens_by_exposure', '0', last.tokens_by_exposure[0]);
  await chosen('tokens_by_count', '0', last.tokens_by_count[0]);
  await chosen('tokens_per_second', 'Tokens per second', Math.round(last.tokens_per_second));
  await chosen('by_exposure', '0', last.logp_by_exposure[0]);
  const sizes = await drivers.locator('.legend .note').allInnerTexts();
  assert.deepEqual(sizes.map((text) => number(text.replace(' tokens', ''))), last.tokens_by_exposure, 'what each class holds');
  await drivers.locator('select').selectOption('mean_logit');
  const [curve] = theory.curves.filter(({ quantity }) => quantity === 'mean_logit');
  await drivers.locator('.legend button', { hasText: `Never used, form ${curve.form}` }).waitFor();
  await drivers.locator('.plot').focus();
  for (const key of ['Home', ...Array(5).fill('ArrowRight')]) await page.keyboard.press(key);
  assert.match(await drivers.locator('.legend .at').innerText(), /^epoch 5$/);
  assert.equal(await shown('form'), Number(curve.predicted[5].toPrecision(3)), 'the closed form beside what was measured');

  const { findings } = await (await server.api(`/jobs/${id}/findings`)).json();
  await page.locator('.finding').first().waitFor();
  assert.deepEqual(await page.locator('.finding .verdict').allInnerTexts(), findings.map(({ verdict }) => verdict));
  assert.deepEqual(await page.locator('.finding strong').allInnerTexts(), findings.map(({ claim }) => claim));

  await page.locator('.spectrum summary').click();
  await page.locator('.spectrum .help', { hasText: 'Mean log p' }).waitFor();
  const painted = () => page.locator('.spectrum canvas').evaluate((canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((value, i) => i % 4 === 3 && value > 0).length);
  assert.ok(await painted() > 5000, 'dots are drawn');
  const inked = await page.locator('.spectrum canvas').evaluate((canvas) => {
    const data = window.readPixels(canvas);
    return data.filter((value, i) => i % 4 === 3 && value > 200 && data[i - 3] < 50 && data[i - 1] < 60).length;
  });
  assert.ok(inked > 60, `ln(c/N) is drawn: ${inked} pixels`);

  await page.locator('.prober textarea').fill('the king');
  await page.locator('.prober input').fill('the');
  await page.locator('.prober button').click();
  await page.locator('.probe table').first().waitFor();
  const answer = await post(`/jobs/${id}/probe`, { text: 'the king', tokens: [' the'] });
  assert.equal(number(await page.locator('.probe table').nth(1).locator('td').nth(1).innerText()).toFixed(3), answer.tokens[0].logp.toFixed(3));
  await page.locator('.prober textarea').fill('a '.repeat(80));
  await page.locator('.prober button').click();
  await page.locator('.probe .notice.bad', { hasText: 'the model reads 1 to 16' }).waitFor();
  complaints.length = 0; // the browser notes the refusal
});

test('a sweep and a comparison: means over seeds, effects, what differs', { skip }, async () => {
  await open('#/sweeps');
  const sweep = await postSweep({ name: 'widths', base: tiny({ train: { epochs: 6 } }), vary: { 'model.d_model': [16, 32], 'train.seed': [1, 2] } });
  await page.goto(`${server.url}/#/sweeps/${sweep.id}`);
  await page.locator('.meta', { hasText: '4 succeeded' }).waitFor({ timeout: 120_000 }); // live
  const { settings } = await (await server.api(`/sweeps/${sweep.id}`)).json();
  const row = page.locator('tbody tr').first();
  const cell = async (i) => number((await row.locator('td').nth(i).locator('.now').innerText()).split(' ')[0]);
  for (const i of [0, 1]) assert.equal((await cell(i)).toFixed(3), settings[i].series['/loss'].value.mean.toFixed(3));
  const effect = (await row.locator('td').nth(1).locator('.start').innerText()).split(' ')[1];
  assert.equal(number(effect).toFixed(3), settings[1].series['/loss'].effect.mean.toFixed(3));
  assert.ok((await pixels(page)).drawn > 500);
  const save = page.getByRole('button', { name: /^Save picture/ });
  const picture = await savedPicture(page, save, ['0072b2', 'b86e00']);
  assert.match(picture.name, new RegExp(`^widths-${sweep.id.slice(0, 8)}-never-used-mean-logp.*\\.png$`));
  assert.ok(picture.times.every((n) => n > 300), 'both settings are in it');
  await page.goto(`${server.url}/#/sweeps`);
  await page.locator('a', { hasText: 'widths' }).waitFor();

  await page.goto(`${server.url}/#/jobs?q=widths`);
  for (const i of [0, 3]) await page.locator('tbody tr').nth(i).locator('input[type="checkbox"]').check();
  await page.getByRole('link', { name: 'Compare 2 jobs' }).click();
  const differing = page.locator('table[aria-label="Settings that differ"]');
  await differing.waitFor();
  assert.deepEqual(await differing.locator('tbody th').allInnerTexts(), ['model.d_model', 'train.seed']);
  const compared = await savedPicture(page, save, ['0072b2', 'b86e00']);
  assert.match(compared.name, /^comparison-[0-9a-f]{8}-[0-9a-f]{8}-loss\.png$/);
  assert.ok(compared.times.every((n) => n > 300), 'both jobs are in it');
});

for (const dark of [false, true]) {
  test(`every page is legible and labelled in ${dark ? 'dark' : 'light'}, and fits a narrow screen`, { skip }, async () => {
    const { id } = await anyJob();
    const sweep = await postSweep({ base: tiny({ train: { epochs: 2 } }), vary: { 'train.seed': [1, 2] } });
    await open('', { dark });
    for (const hash of ['#/jobs', `#/jobs/${id}`, '#/sweeps', `#/sweeps/${sweep.id}`, `#/compare?jobs=${id}`, '#/new', '#/devices', '#/corpora', '#/account']) {
      for (const width of [1280, 400]) {
        await page.setViewportSize({ width, height: 900 });
        await page.goto(`${server.url}/${hash}`);
        await page.locator('main h1').waitFor();
        await page.waitForTimeout(400);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${hash} is ${overflow} pixels wider than ${width}`);
        assert.deepEqual(await accessibilityFaults(page), [], `${hash} at ${width}`);
      }
    }
  });
}

test('with authentication on, a token opens the page', { skip }, async () => {
  const guarded = await startServer({ args: ['--auth', 'on'] });
  try {
    const token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(guarded.log())[1];
    ({ page, context, complaints } = await openPage(browser, { expected: [401] }));
    await page.goto(`${guarded.url}/#/new`);
    await page.getByLabel('Token', { exact: true }).fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('.notice.bad').waitFor();
    await page.getByLabel('Token', { exact: true }).fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('h1', { hasText: 'New experiment' }).waitFor();
    assert.equal(await page.locator('#user').innerText(), 'admin');
    await page.locator('#live', { hasText: /^live$/ }).waitFor();
    assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read the cookie');
    await page.reload();
    await page.locator('h1', { hasText: 'New experiment' }).waitFor();
    await page.locator('#live', { hasText: /^live$/ }).waitFor();

    await page.locator('#user').click(); // one's own tokens
    await page.getByLabel('Label').fill('laptop');
    await page.getByLabel('Lives').selectOption('a day');
    await page.getByRole('button', { name: 'Issue' }).click();
    const made = await page.locator('code.secret').innerText();
    const whoami = async (text) => (await guarded.api('/whoami', { headers: { Authorization: `Bearer ${text}` } })).status;
    assert.equal(await whoami(made), 200);
    await page.getByRole('button', { name: 'Rotate laptop' }).click();
    await page.locator('tbody tr').nth(2).waitFor();
    const rotated = await page.locator('code.secret').innerText();
    assert.notEqual(rotated, made);
    assert.equal(await whoami(rotated), 200);
    await page.getByRole('button', { name: 'Revoke laptop' }).last().click();
    await page.getByRole('button', { name: 'Revoke', exact: true }).last().click();
    await page.locator('.notice.good', { hasText: 'Revoked' }).waitFor();
    assert.deepEqual([await whoami(made), await whoami(rotated)], [200, 401]);
    await page.setViewportSize({ width: 400, height: 900 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.goto(`${guarded.url}/#/new`);
    await page.locator('h1', { hasText: 'New experiment' }).waitFor();

    await page.evaluate(() => fetch('/api/v1/session', { method: 'DELETE' })); // as another tab does
    await page.getByLabel('Token', { exact: true }).fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('h1', { hasText: 'New experiment' }).waitFor();
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token', { exact: true }).waitFor();
    await page.reload();
    await page.getByLabel('Token', { exact: true }).waitFor();
  } finally {
    await guarded.stop();
  }
});

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
