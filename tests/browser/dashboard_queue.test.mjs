// The page of the queue: what it tells follows the server, and its buttons do what they say.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { accessibilityFaults, skip } from '../lib/browser.mjs';
import { job, open, page, post, server, small, useDashboard } from '../lib/dashboard.mjs';
import { finished, reached, submit } from '../lib/experiments.mjs';

useDashboard();

const section = (title) => page.locator('section.panel', { has: page.locator('h2', { hasText: new RegExp(`^${title}`) }) });
const names = (title) => section(title).locator('tbody .name').allInnerTexts();
const row = (name) => page.locator('table.queue tbody tr', { has: page.locator('.name', { hasText: name }) });
const press = (name, button) => row(name).getByRole('button', { name: new RegExp(`^${button}: `) }).click();
const until = async (what, holds) => {
  for (const end = Date.now() + 60_000; Date.now() < end; await page.waitForTimeout(100)) if (await holds()) return;
  assert.fail(`${what}: ${await page.locator('main').innerText()}`);
};
const order = (...wanted) => until(wanted.join(), async () => (await names('Waiting')).join() === wanted.join());
const TIME = /^(about \d\d:\d\d( – \d\d:\d\d)?|in a moment|about .*\d\d:\d\d – .*\d\d:\d\d)$/;

test('who runs, who waits, why and until when; hold, release, put first, urgent, drain, pause', { skip }, async () => {
  const runs = await submit(server, small({ name: 'runs', train: { epochs: 100_000 } }));
  await reached(server, runs.id, 20);
  const jobs = [];
  for (const name of ['one', 'two', 'three']) jobs.push(await submit(server, small({ name, train: { epochs: 200 } })));
  await open('#/queue');
  await order('one', 'two', 'three');
  assert.deepEqual(await names('Running'), ['runs']);
  assert.deepEqual(await section('Waiting').locator('td.place').allInnerTexts(), ['1', '2', '3']);
  await until('reasons', async () => (await section('Waiting').locator('td.why').allInnerTexts()).join() ===
    'cpu is busy,other jobs of its user are before it,other jobs of its user are before it');
  for (const text of await page.locator('table.queue :is(td.start, td.end)').allInnerTexts()) assert.match(text, TIME);
  assert.equal(await page.locator('tr.mine').count(), 4);
  assert.match(await row('one').innerText(), /local \(you\)/);
  const bar = row('runs').locator('progress');
  const before = await bar.evaluate(({ value }) => value);
  await until('its progress', async () => await bar.evaluate(({ value }) => value) > before);

  await press('three', 'Put first');
  await order('three', 'one', 'two');
  assert.equal((await job(jobs[2].id)).priority, 1);
  await press('two', 'Urgent');
  await order('two', 'three', 'one');
  await row('two').locator('.badge', { hasText: 'urgent, by local' }).waitFor();
  await press('two', 'Not urgent');
  await order('three', 'one', 'two');
  await press('one', 'Hold');
  await order('three', 'two');
  await until('it is held', async () => (await names('Held')).join() === 'one');
  assert.equal(await row('one').locator('td.why').innerText(), 'it is held until it is released');
  await press('one', 'Release');
  await order('three', 'one', 'two');

  await page.goto(`${server.url}/#/jobs/${jobs[1].id}`);
  const told = page.locator('.notice.info');
  await told.getByRole('link', { name: 'Place 3 in the queue' }).waitFor();
  assert.match(await told.innerText(), /starts (about|in a moment).*ends (about|in a moment)/s);
  await page.goto(`${server.url}/#/jobs/${runs.id}`);
  await page.locator('.runline', { hasText: /ends (about \d|in a moment)/ }).waitFor();

  await page.goto(`${server.url}/#/queue`);
  const whole = (name) => page.getByRole('group', { name: 'The whole queue' }).getByRole('button', { name });
  await whole('Drain').click();
  await page.locator('dialog button.danger').click();
  await page.getByText('local is draining the queue').waitFor();
  await until('no times', async () => (await section('Waiting').locator('td.start').allInnerTexts()).join() === 'not known,not known,not known');
  assert.deepEqual(await accessibilityFaults(page), []);
  await whole('Pause').click();
  await page.locator('dialog button.danger').click();
  await page.getByText('local has paused the queue').waitFor();
  await until('it waits', async () => (await names('Running')).length === 0);
  await whole('Resume').click();
  await page.getByText('Jobs start as devices become free.').waitFor();
  for (const { id } of [runs, ...jobs]) await post(`/jobs/${id}/cancel`);
  await page.getByText('No job waits.').waitFor();
  await page.getByText('No job runs.').waitFor();
  await finished(server, runs.id);
});

test('users change their own jobs alone', { skip }, async () => {
  const runs = await submit(server, small({ name: 'runs', train: { epochs: 100_000 } }));
  await reached(server, runs.id, 1);
  const waits = [await submit(server, small({ name: 'one' })), await submit(server, small({ name: 'two' }))];
  await open('#/devices');
  await page.route('**/api/v1/whoami', (route) => route.fulfill({ json: { name: 'ada', admin: false, auth: false } }));
  await page.goto(`${server.url}/#/queue`);
  await order('one', 'two');
  assert.equal(await page.locator('main button:visible').count(), 0);
  assert.equal(await page.locator('tr.mine').count(), 0);
  await page.unroute('**/api/v1/whoami');
  await page.route('**/api/v1/whoami', (route) => route.fulfill({ json: { name: 'local', admin: false, auth: false } }));
  await until('own ones', async () => (await page.locator('tr.mine').count()) === 3);
  assert.deepEqual(await page.locator('main button:visible').allInnerTexts(), ['Hold', 'Hold', 'Hold', 'Put first']);
  for (const { id } of [runs, ...waits]) await post(`/jobs/${id}/cancel`);
});
