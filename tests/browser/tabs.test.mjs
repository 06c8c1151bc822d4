// Many tabs of one browser: one event stream for all of them, whoever is closed, with shared
// workers and without, on plain http to another name: in no secure context.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { newTab, openBrowser, openPage, skip } from '../lib/browser.mjs';
import { finished, submit, tiny } from '../lib/experiments.mjs';
import { startServer } from '../lib/server.mjs';

let browser, server;
before(async () => {
  if (skip) return;
  const args = ['--allowed-hosts', 'lab.test', '--auth', 'on'];
  [browser, server] = await Promise.all([openBrowser(), startServer({ args })]);
  const { api } = server;
  server.token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
  server.headers = { Authorization: `Bearer ${server.token}` };
  server.api = (route, init) => api(route, { ...init, headers: { ...init?.headers, ...server.headers } });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const TABS = 8; // browsers open six connections a host
const WAYS = [
  { how: 'a shared worker' },
  { how: 'the lease', without: 'SharedWorker' },
];
const streams = async () => Number(/^tokenfate_event_streams (\d+)/m.exec(await (await fetch(`${server.url}/metrics`, { headers: server.headers })).text())[1]);
// The server notices a client that is gone when it next writes to it.
async function hasOneStream() {
  for (let tries = 0; tries < 100 && await streams() !== 1; tries++) await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(await streams(), 1);
}
const isLive = (page) => page.locator('#live', { hasText: /^live$/ }).waitFor();

// Tabs of one browser at the list of jobs, logged in by the first.
async function openTabs(n, { without }) {
  const url = server.url.replace('127.0.0.1', 'lab.test');
  const { context, page, complaints } = await openPage(browser, { expected: [401] });
  await context.addInitScript((names) => names?.split(' ').forEach((name) => delete window[name]), without);
  await page.goto(url);
  await page.getByLabel('Token', { exact: true }).fill(server.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await isLive(page);
  const [isSecure, hasWorkers] = await page.evaluate(() => [isSecureContext, 'SharedWorker' in window]);
  assert.deepEqual([isSecure, hasWorkers], [false, !without]);
  const tabs = [page];
  while (tabs.length < n) {
    const tab = await newTab(context, complaints, [401]);
    await tab.goto(url);
    await isLive(tab);
    tabs.push(tab);
  }
  return { context, tabs, complaints };
}

// From now on a tab notes the epochs that it is told of.
const note = (page) => page.evaluate(async () => {
  const live = await import('./live.js');
  window.told = [];
  window.ended = false;
  live.subscribe('epoch', ({ records }) => window.told.push(...records.map(({ epoch }) => epoch)));
  live.subscribe('job', ({ state }) => (window.ended ||= state === 'cancelled'));
  live.subscribe('reset', () => window.told.push('reset'));
});
const hasSeen = (page, more) => page.waitForFunction((n) => window.told.length >= n, more);

for (const way of WAYS) {
  test(`${TABS} tabs share one stream (${way.how}); two end and no event is lost`, { skip }, async () => {
    const { context, tabs, complaints } = await openTabs(TABS, way);
    for (const link of ['Sweeps', 'Devices', 'New experiment', 'Jobs']) await tabs[0].getByRole('link', { name: link, exact: true }).first().click();
    await hasOneStream();
    await Promise.all(tabs.map(note));
    const { id } = await submit(server, tiny({ train: { epochs: 500000 } }));
    for (const tab of tabs) await hasSeen(tab, 20);
    await tabs.shift().close();
    const seeMore = async (tab) => hasSeen(tab, await tab.evaluate(() => window.told.length) + 50);
    for (const tab of tabs) await seeMore(tab);
    tabs.shift().goto('chrome://crash').catch(() => {}); // it says no goodbye
    for (const tab of tabs) await seeMore(tab);
    await server.api(`/jobs/${id}/cancel`, { method: 'POST' });
    const { epoch } = await finished(server, id);
    for (const [i, tab] of tabs.entries()) {
      await tab.waitForFunction(() => window.ended);
      const told = await tab.evaluate(() => window.told);
      assert.deepEqual(told, [...Array(epoch + 1).keys()], `tab ${i + 3}`);
    }
    await hasOneStream();
    await tabs.at(-1).reload();
    await tabs.at(-1).locator('table.jobs').waitFor();
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test(`logout and login reach all tabs (${way.how})`, { skip }, async () => {
    const { context, tabs, complaints } = await openTabs(3, way);
    const [first, , last] = tabs;
    await last.getByRole('button', { name: 'Log out' }).click();
    for (const tab of tabs) await tab.getByLabel('Token', { exact: true }).waitFor();
    await first.getByLabel('Token', { exact: true }).fill(server.token);
    await first.getByRole('button', { name: 'Log in' }).click();
    for (const tab of tabs) {
      await tab.locator('h1', { hasText: 'Jobs' }).waitFor();
      await isLive(tab);
      assert.equal(await tab.locator('#user').innerText(), 'admin');
    }
    await hasOneStream();
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test('a browser with neither workers nor channels has a stream in each tab', { skip }, async () => {
  const { context, tabs, complaints } = await openTabs(2, { without: 'SharedWorker BroadcastChannel' });
  await Promise.all(tabs.map(note));
  const { id } = await submit(server, tiny({ train: { epochs: 30 } }));
  await finished(server, id);
  for (const tab of tabs) await tab.waitForFunction(() => window.told.at(-1) === 30);
  assert.deepEqual(complaints, []);
  await context.close();
});
