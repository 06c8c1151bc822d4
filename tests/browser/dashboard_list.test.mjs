// The dashboard in a real browser against the real server: the list of jobs, what is done with a
// job, devices, texts, themes, login.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { accessibilityFaults, idle, pixels, skip } from '../lib/browser.mjs';
import { anyJob, badge, choose, field, job, number, open, page, post, server, small, useDashboard } from '../lib/dashboard.mjs';
import { finished, reached, submit } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

useDashboard();

const ENDLESS = { name: 'endless', train: { epochs: 200000 } };

test('the empty list says how to submit the first experiment', { skip }, async () => {
  await open();
  const command = await page.locator('.empty pre').innerText();
  assert.match(command, /curl .*@config\/presets\/gulliver\.json/s);
  assert.ok(command.includes(`${server.url}/api/v1/jobs`));
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

test('the lines under a row of the list meet', { skip }, async () => {
  await anyJob();
  await open('');
  await page.locator('table.jobs .name').first().waitFor();
  const ends = await page.locator('table.jobs tbody tr').evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.getBoundingClientRect().bottom)));
  for (const cells of ends) assert.deepEqual(new Set(cells).size, 1, `cells of a row end at ${cells}`);
});

test('a sweep larger than the page loses no job of the list', { skip }, async () => {
  const running = await submit(server, small(ENDLESS));
  const seeds = (n) => ({ base: small(ENDLESS), vary: { 'train.seed': Array.from({ length: n }, (_, i) => i + 1) } });
  const first = await post('/sweeps', seeds(40));
  await open('');
  const ids = () => page.locator('table.jobs .name').evaluateAll((links) => links.map((link) => link.hash.split('/')[2]));
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 25);
  await page.getByRole('button', { name: 'Older jobs' }).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length > 25);
  const second = await post('/sweeps', seeds(90));
  await page.getByRole('button', { name: '65 more new jobs' }).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 90);
  const all = (await (await server.api('/jobs?limit=200')).json()).jobs.map(({ id }) => id);
  assert.deepEqual(await ids(), all.slice(0, 90));
  const older = page.getByRole('button', { name: 'Older jobs' });
  for (let n = 90; n < all.length; n = Math.min(n + 25, all.length)) {
    await older.click();
    await page.waitForFunction((least) => document.querySelectorAll('tbody tr').length > least, n);
  }
  assert.deepEqual(await ids(), all);
  assert.equal(await older.isVisible(), false);

  for (const i of [30, 31]) await page.locator('tbody tr').nth(i).locator('input').check();
  await page.evaluate(() => window.scrollTo(0, 1500));
  await page.locator('tbody tr').nth(30).locator('.name').click();
  await page.locator('h1', { hasText: 'endless' }).waitFor();
  await page.goBack();
  await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n, all.length);
  await idle(page);
  assert.equal(await page.evaluate(() => window.scrollY), 1500);
  await page.getByRole('link', { name: 'Compare 2 jobs' }).waitFor();
  for (const sweep of [first, second]) await post(`/sweeps/${sweep.id}/cancel`);
  await post(`/jobs/${running.id}/cancel`);
});

test('Back finds a half-filled form as it was left; a new one is empty', { skip }, async () => {
  await open('#/new');
  const loaded = () => page.waitForFunction(() => document.querySelector('[data-pointer="/train/epochs"] input')?.value);
  await loaded();
  const preset = await field('/name').inputValue();
  await field('/name').fill('half filled');
  await field('/train/epochs').fill('77');
  await page.getByRole('link', { name: 'Devices' }).click();
  await page.locator('h1', { hasText: 'Devices' }).waitFor();
  await page.goBack();
  await page.getByText('As you left it.').waitFor();
  assert.equal(await field('/name').inputValue(), 'half filled');
  assert.equal(await field('/train/epochs').inputValue(), '77');
  await page.getByRole('link', { name: 'Devices' }).click();
  await page.getByRole('link', { name: 'New experiment' }).click();
  await loaded();
  assert.equal(await field('/name').inputValue(), preset);
});

test('hold, release, rename, cancel, delete', { skip }, async () => {
  const running = await submit(server, small(ENDLESS));
  await reached(server, running.id, 1);
  const waiting = await submit(server, small({ name: 'waiting' }));
  await open(`#/jobs/${waiting.id}`, { expected: [422] });
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  await badge('queued');
  await press('Hold');
  await badge('held');
  await press('Release');
  await badge('queued');
  await press('Rename, notes');
  await page.getByLabel('Name', { exact: true }).fill('renamed');
  await page.getByLabel('Notes').fill('why it was run');
  for (const typed of ['high', '', '900']) {
    await page.getByLabel('Priority').fill(typed);
    await press('Save');
    const said = page.locator('dialog .field', { has: page.getByLabel('Priority') }).locator('.error');
    await said.filter({ hasText: typed || /./ }).waitFor();
    assert.doesNotMatch(await page.locator('dialog').innerText(), /\/priority|null/, 'words, not pointers');
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-invalid')), 'true');
  }
  await page.getByLabel('Priority').fill('7');
  await press('Save');
  await page.locator('h1', { hasText: 'renamed' }).waitFor();
  assert.equal((await job(waiting.id)).priority, 7);
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

test('usage by user, job and day; the address has the question', { skip }, async () => {
  const { id } = await anyJob();
  const told = await job(id);
  await open('');
  await page.getByRole('link', { name: 'Usage' }).click();
  const cells = (row) => page.locator('table.usage').locator(row).locator('th, td').allInnerTexts();
  await page.locator('table.usage').waitFor();
  const { total } = await (await server.api('/usage')).json();
  const [, , cpu, jobs, succeeded] = await cells('tfoot tr');
  assert.deepEqual([jobs, succeeded].map(number), [total.jobs, total.succeeded]);
  assert.notEqual(cpu, '\u2013');
  await page.locator('table.usage').getByRole('link', { name: told.user }).click();
  await page.locator(`table.usage a[href="#/jobs/${id}"]`).waitFor();
  assert.match(page.url(), /by=job&.*user=local/);
  await page.getByRole('button', { name: 'Only local: show all' }).click();
  await page.waitForFunction(() => !location.hash.includes('user='));
  await choose('by', 'day');
  const today = new Date().toISOString().slice(0, 10);
  await page.getByRole('link', { name: today }).waitFor();
  await page.getByLabel('From').fill('2001-02-03');
  await page.waitForFunction(() => location.hash.includes('since=2001-02-03'));
  await page.goBack();
  await page.waitForFunction(() => document.querySelector('input[type="date"]')?.value !== '2001-02-03');
  assert.match(await page.getByRole('link', { name: 'CSV' }).getAttribute('href'), /usage\?by=day&since=.*format=csv/);
});

test('what is to go is told on three pages, and a pin keeps it', { skip }, async () => {
  const { id } = await finished(server, (await submit(server, small({ name: 'keepsake', train: { epochs: 2 } }))).id);
  const entry = { job: id, name: 'keepsake', user: 'local', part: 'models', bytes: 12345678, announced_at: '2031-01-01T00:00:00Z', due_at: '2031-01-08T12:00:00Z' };
  await open('');
  await page.route('**/api/v1/retention*', (route) => {
    const { job: asked } = Object.fromEntries(new URL(route.request().url()).searchParams);
    return route.fulfill({ json: { settings: {}, stored_bytes: 1, retention: asked && asked !== id ? [] : [entry, { ...entry, part: 'job' }], next: null } });
  });
  await page.goto(`${server.url}/#/usage`);
  await page.locator('table', { hasText: 'keepsake' }).getByText('whole job').waitFor();
  await page.getByRole('link', { name: 'Jobs' }).click();
  await page.locator('.notice', { hasText: /First the models of keepsake, from 8 Jan 2031.*and 1 others/s }).getByRole('link', { name: 'keepsake' }).click();
  await page.locator('.notice', { hasText: /The models \(12.3 MB\) from 8 Jan 2031/ }).waitFor();
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.getByRole('button', { name: 'Pin', exact: true }).click();
  await page.getByRole('button', { name: 'Unpin' }).waitFor();
  assert.equal((await job(id)).pinned, true);
  assert.equal(await page.locator('.notice').count(), 0);
  await page.getByRole('button', { name: 'Unpin' }).click();
  await page.locator('.notice', { hasText: 'The models' }).waitFor();
});

test('an address is told of jobs, and is shown without its path', { skip }, async () => {
  await open('#/account');
  await page.getByText('Nobody is told.').waitFor();
  await page.getByLabel('Address', { exact: true }).fill('https://hooks.example.org/services/T0/B0/secret');
  await page.getByLabel('Format').selectOption('Slack, Mattermost');
  await page.getByLabel('held').uncheck();
  await page.getByRole('button', { name: 'Add' }).click();
  const row = page.locator('table', { hasText: 'hooks.example.org' }).locator('tbody tr');
  await row.waitFor();
  assert.deepEqual((await row.locator('td').allInnerTexts()).slice(0, 3), ['https://hooks.example.org/\u2026', 'succeeded, failed', 'Slack, Mattermost']);
  await page.getByRole('button', { name: 'New secret' }).click();
  assert.match(await page.locator('code.secret').innerText(), /^[0-9a-f]{64}$/);
  assert.deepEqual(await accessibilityFaults(page), []);
  await page.getByRole('button', { name: /^Remove https/ }).click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await page.getByText('Nobody is told.').waitFor();
});

test('devices say how they were proved', { skip }, async () => {
  const { devices: [cpu] } = await (await server.api('/devices')).json();
  const worst = { check: 'operation update', precision: 'fp32', error: 2.99e-6, bound: 4.29e-6 };
  const proof = { state: 'passed', started_at: '2026-01-31T12:00:00Z', seconds: 9.14, checks: 98, library: 'sm_90, cuBLASLt 13.0.0', reason: null, worst };
  const cards = [
    { proof }, { proof: { ...proof, state: 'running', checks: 7, worst: null }, available: false, reason: 'it is being compared' },
    { proof: { ...proof, state: 'never', started_at: null, checks: 0, worst: null, library: null }, available: false, reason: 'not yet' },
    { proof: { ...proof, state: 'failed', reason: 'operation add: wrong' }, available: false, reason: 'operation add: wrong' },
    { proof: { ...proof, reason: 'without graphs: cudaStreamEndCapture: refused' } },
  ].map((more, i) => ({ ...cpu, id: `cuda:${i}`, kind: 'cuda', available: true, reason: null, ...more }));
  await open('#/jobs');
  await page.route('**/api/v1/devices', (route) => route.fulfill({ json: { devices: [cpu, ...cards] } }));
  await page.goto(`${server.url}/#/devices`);
  await page.locator('.device', { hasText: 'cuda:0' }).waitFor();
  const say = async (id) => (await page.locator('.device', { hasText: id }).innerText()).replace(/\s+/g, ' ');
  assert.match(await say('cuda:0'), /ready .* Proved, .*2026.*, 98 checks in 9\.1 s Nearest to its bound: operation update in fp32, error 2\.99 × 10⁻⁶ of 4\.29 × 10⁻⁶ sm_90, cuBLASLt/i);
  assert.match(await say('cuda:1'), /proving .* Being compared with the reference, .*7 checks/i);
  assert.doesNotMatch(await say('cuda:1'), /it is being compared/, 'that is no fault');
  assert.match(await say('cuda:2'), /proving .* Not proved yet/i);
  assert.match(await say('cuda:3'), /unavailable .* operation add: wrong Found wrong/i);
  assert.match(await say('cuda:4'), /ready .* Proved, without graphs, .*98 checks in 9\.1 s without graphs: cudaStreamEndCapture: refused Nearest/i);
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

test('with authentication on, a token opens the page', { skip }, async () => {
  const guarded = await startServer({ args: ['--auth', 'on'] });
  try {
    const token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(guarded.log())[1];
    await open('#/new', { url: guarded.url, expected: [401] });
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

    await page.locator('#user').click(); // one's own limits and tokens
    await page.locator('h1', { hasText: 'My account' }).waitFor();
    const limits = page.getByRole('table', { name: 'Limits' });
    assert.deepEqual(await limits.locator('tr', { hasText: 'queued or held' }).locator('td').allInnerTexts(), ['0', '2,000', 'everybody’s']);
    assert.deepEqual(await limits.locator('tr', { hasText: 'Memory' }).locator('td').allInnerTexts(), ['–', 'no limit', 'everybody’s']);
    await page.getByLabel('Label', { exact: true }).fill('laptop');
    await page.getByLabel('Lives').selectOption('a day');
    await page.getByRole('button', { name: 'Issue' }).click();
    const made = await page.locator('code.secret').innerText();
    const whoami = async (text) => (await guarded.api('/whoami', { headers: { Authorization: `Bearer ${text}` } })).status;
    assert.equal(await whoami(made), 200);
    await page.getByRole('button', { name: 'Rotate laptop' }).click();
    await page.getByRole('table', { name: 'Tokens' }).locator('tbody tr').nth(2).waitFor();
    const rotated = await page.locator('code.secret').innerText();
    assert.notEqual(rotated, made);
    assert.equal(await whoami(rotated), 200);
    await page.getByRole('button', { name: 'Revoke laptop' }).last().click();
    await page.getByRole('button', { name: 'Revoke', exact: true }).last().click();
    await page.locator('.notice.good', { hasText: 'Revoked' }).waitFor();
    assert.deepEqual([await whoami(made), await whoami(rotated)], [200, 401]);
    await page.setViewportSize({ width: 400, height: 900 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    await idle(page);
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

    // A one-time link opens it too, and once.
    const headers = { Authorization: `Bearer ${token}` };
    const { code } = await (await guarded.api('/login/link', { method: 'POST', headers })).json();
    await page.goto(`${guarded.url}/#/login/${code}`); // on the page that is open
    await page.locator('#user', { hasText: 'admin' }).waitFor();
    assert.equal(new URL(page.url()).hash, '#/jobs', 'the code is not left in the address');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token', { exact: true }).waitFor();
    await page.goto('about:blank');
    await page.goto(`${guarded.url}/#/login/${code}`); // on a new one
    await page.locator('.notice.bad', { hasText: 'was used' }).waitFor();
    assert.equal(await page.locator('#user').innerText(), '');
  } finally {
    await guarded.stop();
  }
});

test('selected jobs, and all that match, are acted upon after a question with their number', { skip }, async () => {
  await post('/queue/drain');
  const { settings: [{ jobs }] } = await post('/sweeps', { base: small({ tags: ['bulk'] }), vary: { 'train.seed': Array.from({ length: 30 }, (_, i) => i) } });
  const states = async () => (await (await server.api(`/jobs?tag=bulk&limit=200`)).json()).jobs.map(({ state }) => state);
  const all = (state) => jobs.map(() => state);
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  const status = (text) => page.locator('.selection [role="status"]', { hasText: text }).waitFor();
  await open('#/jobs?q=bulk', { expected: [422] });
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 25);
  await page.locator('tbody input').first().focus(); // the keyboard is enough
  await page.keyboard.press('Space');
  await status(/^1 selected$/);
  await press('Hold');
  await page.locator('dialog', { hasText: 'Hold 1 job?' }).waitFor();
  assert.deepEqual(await accessibilityFaults(page), []);
  await press('Back');
  assert.deepEqual(await states(), all('queued'), 'nothing before the answer');
  await press('Hold');
  await press('Hold 1 job');
  await status(/^1 job held$/);
  assert.deepEqual((await states()).filter((state) => state === 'held').length, 1);

  await page.getByLabel('All shown').check();
  await status(/^25 selected$/);
  await press('Select all 30 that match');
  await status(/^All 30 that match are selected$/);
  assert.deepEqual(await accessibilityFaults(page), []);
  await press('Hold');
  await page.locator('dialog', { hasText: 'Hold 29 jobs?' }).waitFor();
  assert.match(await page.locator('dialog').innerText(), /1 of 30 are left out, for example: job [0-9a-f-]{36} is held and cannot be held\./);
  await press('Hold 29 jobs');
  await status(/^29 jobs held$/);
  assert.deepEqual(await states(), all('held'));

  await page.getByLabel('All shown').check();
  await press('Priority');
  await page.getByLabel('Priority', { exact: true }).fill('900');
  await press('Next');
  await page.locator('dialog .error', { hasText: '900 is outside' }).waitFor();
  await page.getByLabel('Priority', { exact: true }).fill('5');
  await press('Next');
  await press('Priority 25 jobs');
  await status(/^25 jobs given the priority$/);
  await page.getByLabel('All shown').check();
  await press('Tag');
  await page.getByLabel('Tags to add').fill('late, later');
  await page.getByLabel('Tags to remove').fill('none');
  await press('Next');
  await press('Tag 25 jobs');
  await status(/^25 jobs tagged$/);
  assert.equal((await (await server.api('/jobs?tag=later&limit=200')).json()).jobs.filter(({ priority }) => priority === 5).length, 25);

  await page.getByLabel('Search jobs').fill('later');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 25);
  await page.setViewportSize({ width: 400, height: 900 });
  await page.getByLabel('All shown').check();
  await status(/^25 selected$/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.deepEqual(await accessibilityFaults(page), []);
  await press('Cancel');
  await press('Cancel 25 jobs');
  await status(/^25 jobs cancelled$/);
  await page.getByLabel('All shown').check();
  await press('Delete');
  await press('Delete 25 jobs');
  await page.getByText('No job matches this filter.').waitFor();
  assert.deepEqual(await states(), all('held').slice(25));
});

test('a sweep is cancelled after a question; its page and its jobs tell limit and order', { skip }, async () => {
  await post('/queue/drain');
  const first = await submit(server, small({ name: 'comes first' }));
  const sweep = await post('/sweeps', { base: { ...small(), after: [{ job: first.id, state: 'any' }] }, vary: { 'train.seed': [1, 2, 3] }, max_running: 2 });
  const [{ id }] = sweep.settings[0].jobs;
  await open(`#/jobs/${first.id}`);
  const order = page.locator('.order');
  await order.getByText('Waiting for this job').waitFor();
  assert.equal(await order.locator('a').count(), 3);
  assert.match(await order.innerText(), /queued, however this one ends/);
  await idle(page);
  assert.deepEqual(await accessibilityFaults(page), []);
  await order.locator(`a[href="#/jobs/${id}"]`).click();
  await order.getByText('Waits for').waitFor();
  await page.locator('.notice', { hasText: `job ${first.id} is queued` }).waitFor();
  await post(`/jobs/${first.id}/hold`);
  await order.locator('li', { hasText: 'comes first held, however it ends' }).waitFor();
  await page.goto(`${server.url}/#/sweeps/${sweep.id}`);
  await page.getByText('3 queued · at most 2 at once').waitFor();
  await page.getByRole('button', { name: 'Cancel all' }).click();
  await page.locator('dialog', { hasText: 'Cancel 3 jobs? Their epochs so far are kept.' }).waitFor();
  await page.getByRole('button', { name: 'Cancel 3 jobs' }).click();
  await page.getByText('3 cancelled · at most 2 at once').waitFor();
  await post(`/jobs/${first.id}/cancel`);
  await post('/queue/resume');
});
