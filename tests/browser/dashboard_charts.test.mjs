// The dashboard in a real browser against the real server: what charts and tables show, of one
// job, of a sweep, of a comparison.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { chartTexts, horizontals, idle, pixels, savedPicture, skip } from '../lib/browser.mjs';
import { choose, complaints, context, legend, number, open, openCompared, page, post, server, small, useDashboard } from '../lib/dashboard.mjs';
import { epochsOf, finished, submit, tiny } from '../lib/experiments.mjs';
import { significant } from '../../web/format.js';

useDashboard();

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
  await idle(page);
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

test('closed forms are named in the margin, the cursor is one vertical line, tokens have own colours', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'margins', train: { epochs: 30 } }));
  await finished(server, id);
  for (const width of [1280, 400]) {
    await open('#/devices', { width });
    const texts = await chartTexts(page);
    await page.goto(`${server.url}/#/jobs/${id}`);
    await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 30');
    await page.locator('tr.theory').first().waitFor();
    await idle(page);
    const plot = await page.locator('.u-over').first().evaluate(({ offsetLeft, offsetWidth }) => offsetLeft + offsetWidth);
    const { right: end } = await page.locator('.chart canvas').first().evaluate((canvas) => ({ right: canvas.width }));
    const labels = (await texts()).filter(({ text }) => /^(untrained|ln\(c\/N\))/.test(text));
    assert.equal(labels.length, 3, 'untrained, most common, least common');
    for (const { text, left, right } of labels) assert.ok(left >= plot && right <= end, `${text} from ${left} to ${right}, the plot ends at ${plot}, the canvas at ${end}`);
    const rows = labels.map(({ y }) => y).sort((a, b) => a - b);
    for (const i of [1, 2]) assert.ok(rows[i] - rows[i - 1] >= 13, `labels at ${rows}`);
    assert.equal(await page.locator('.u-cursor-y').count(), 0);
    for (const i of [0, 1]) await page.locator('.tokens tbody input').nth(i).check();
    const colours = (selector) => page.locator(`${selector} .swatch`).evaluateAll((all) => all.map((swatch) => getComputedStyle(swatch).borderColor));
    await page.locator('.tokens .swatch').nth(1).waitFor();
    const groups = await colours('.charts .main');
    for (const colour of await colours('.tokens')) assert.ok(!groups.includes(colour), `${colour} is a group's`);
    if (width === 1280) await context.close();
  }
});

test('the table of groups and the tracked tokens show what the API says', { skip }, async () => {
  const { id } = await submit(server, small({ name: 'tables', train: { epochs: 20 } }));
  await finished(server, id);
  const last = (await epochsOf(server, id)).at(-1).groups;
  const { tokens } = await (await server.api(`/jobs/${id}/tokens`)).json();
  await open(`#/jobs/${id}`);
  const row = page.locator('table[aria-label^="Groups:"] tr', { hasText: 'mean ln(mean p)' }).first();
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

test('an axis repeats no label, however little the values differ', { skip }, async () => {
  const texts = await openCompared([[-5.541, -5.543, -5.5405, -5.5442]]);
  const labels = (await texts()).map(({ text }) => text).filter((text) => /^\u22125\.5/.test(text));
  assert.ok(labels.length > 3, `${labels}`);
  assert.equal(new Set(labels).size, labels.length, `${labels}`);
});

test('a run that diverged does not flatten the others: its values are clipped and marked', { skip }, async () => {
  const good = Array.from({ length: 40 }, (_, i) => 10.8 - i / 10);
  const texts = await openCompared([good, [10.8, 12, 4e15, -3e33]]);
  const ticks = (await texts()).filter(({ text, left }) => left < 60 && /^[\d.]+$/.test(text)).map(({ text }) => Number(text));
  assert.ok(ticks.length > 3 && Math.max(...ticks) < 20, `ticks ${ticks}`);
  await page.getByText('Triangles: 2 values beyond the axis.').waitFor();
  const rows = await page.locator('.chart canvas').evaluate((canvas) => {
    const data = window.readPixels(canvas);
    const colour = [0xb8, 0x6e, 0x00];
    const at = new Set();
    for (let i = 0; i < data.length; i += 4) if (colour.every((c, k) => Math.abs(data[i + k] - c) < 6)) at.add(Math.floor(i / 4 / canvas.width));
    return [...at].sort((a, b) => a - b);
  });
  const { offsetTop: top, offsetHeight: height } = await page.locator('.u-over').evaluate(({ offsetTop, offsetHeight }) => ({ offsetTop, offsetHeight }));
  assert.ok(rows[0] < top + 9 && rows.at(-1) > top + height - 9, `marks at both edges of ${top} + ${height}: ${rows[0]} .. ${rows.at(-1)}`);
  await page.locator('.plot').focus();
  for (const key of ['Home', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
  assert.equal(await legend(0, 'run 2'), '4.00 × 10¹⁵', 'the legend tells the value');
  await page.locator('.legend button', { hasText: 'run 2' }).click();
  await page.getByText('beyond the axis').waitFor({ state: 'hidden' });
});

test('a comparison draws twenty runs, each its own way, and says which it leaves out', { skip }, async () => {
  await openCompared(Array.from({ length: 22 }, (_, i) => [i, i + 1]));
  await page.getByText('The first 20 of 22 jobs are.').waitFor();
  const styles = await page.locator('.legend .swatch').evaluateAll((all) => all.map((swatch) => getComputedStyle(swatch).borderTop));
  assert.equal(styles.length, 20);
  assert.equal(new Set(styles).size, 20, 'no two lines look the same');
});

test('bands are drawn while few groups are shown: eight would be mud', { skip }, async () => {
  const custom = Array.from({ length: 5 }, (_, i) => ({ name: `own ${i}`, tokens: [300 + 3 * i, 301 + 3 * i, 302 + 3 * i] }));
  const { id } = await submit(server, small({ name: 'eight', train: { epochs: 30 }, groups: { custom } }));
  await finished(server, id);
  await open(`#/jobs/${id}`);
  await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 30');
  await page.locator('tr.theory').first().waitFor();
  await idle(page);
  const drawn = async (on) => {
    await page.getByLabel('Bands').setChecked(on);
    await page.waitForTimeout(200);
    return (await pixels(page)).hash;
  };
  assert.equal(await drawn(false), await drawn(true), 'no bands of eight groups');
  for (let i = 4; i < 8; i++) await page.locator('.main .legend button').nth(i).click();
  assert.notEqual(await drawn(false), await drawn(true), 'bands of four groups');
});

test('what acts on all jobs of a sweep asks first, with their number', { skip }, async () => {
  const sweep = await post('/sweeps', { base: tiny({ train: { epochs: 200_000 } }), vary: { 'train.seed': [1, 2, 3] } });
  const states = async () => (await (await server.api(`/sweeps/${sweep.id}`)).json()).states;
  await open(`#/sweeps/${sweep.id}`);
  const cancel = page.getByRole('button', { name: 'Cancel all' });
  await cancel.click();
  await page.locator('dialog', { hasText: 'Cancel 3 jobs' }).waitFor();
  assert.equal(await page.locator('main .danger').count(), 0, 'no red button where nothing is wrong');
  await page.getByRole('button', { name: 'Back' }).click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal((await states()).cancelled, 0);
  await cancel.click();
  await page.getByRole('button', { name: 'Cancel 3 jobs' }).click();
  await page.locator('.meta', { hasText: '3 cancelled' }).waitFor();
});

test('the curve of each setting of a sweep goes to its own end', { skip }, async () => {
  const sweep = await post('/sweeps', { base: tiny(), vary: { 'train.epochs': [6, 30], 'train.seed': [1, 2] } });
  await open(`#/sweeps/${sweep.id}`);
  await page.locator('.meta', { hasText: '4 succeeded' }).waitFor({ timeout: 120_000 });
  await page.waitForFunction(() => document.querySelector('.legend .at')?.textContent === 'epoch 30');
  const { settings } = await (await server.api(`/sweeps/${sweep.id}?epoch=30`)).json();
  await page.locator('.panelhead select').selectOption('/loss');
  const long = settings.find(({ setting }) => setting['train.epochs'] === 30).series['/loss'].value.mean;
  assert.equal(number(await legend(0, 'epochs 30')).toFixed(3), long.toFixed(3));
  assert.equal(await legend(0, 'epochs 6'), '–');
  await page.getByText('At epoch 6: mean over seeds').waitFor();
});

test('a sweep and a comparison: means over seeds, effects, what differs', { skip }, async () => {
  await open('#/sweeps');
  const sweep = await post('/sweeps', { name: 'widths', base: tiny({ train: { epochs: 6 } }), vary: { 'model.d_model': [16, 32], 'train.seed': [1, 2] } });
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
