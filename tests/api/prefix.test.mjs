// Behind a reverse proxy that strips a prefix: every address in an answer leads back
// through the proxy when it is resolved against the answer's own address (RFC 3986).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { startProxy } from '../lib/proxy.mjs';
import { startServer } from '../lib/server.mjs';
import { tiny, submit, finished, events } from '../lib/experiments.mjs';

let server, proxy, token;
before(async () => {
  server = await startServer({ args: ['--auth', 'on'] });
  token = /token[^a-z0-9_]*([A-Za-z0-9_-]{40,})/i.exec(server.log())[1];
  proxy = await startProxy(server.url, '/lab/tf');
  const plain = proxy.api;
  proxy.api = (route, init = {}) => plain(route, { ...init, headers: { Authorization: `Bearer ${token}`, ...init.headers } });
});
after(async () => {
  await proxy?.stop();
  await server?.stop();
});

const post = (route, body, headers = { 'Content-Type': 'application/json' }) =>
  proxy.api(route, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
const follow = (reference, answer, init) => fetch(new URL(reference, answer.url), { headers: { Authorization: `Bearer ${token}` }, ...init });
const location = (answer) => answer.headers.get('location');

test('Location leads to what was made', async () => {
  const made = [
    await post('/jobs', tiny({ train: { epochs: 2 } })),
    await post('/sweeps', { base: tiny({ train: { epochs: 2 } }), vary: { 'train.seed': [1, 2] } }),
    await post('/corpora?name=prefixed', 'A text of a few words. '.repeat(200), { 'Content-Type': 'text/plain' }),
    await post('/users', { name: 'ada', admin: false }),
    await post('/users/ada/tokens', { label: 'laptop' }),
  ];
  for (const answer of made) {
    assert.equal(answer.status, 201, `${answer.url}: ${await answer.clone().text()}`);
    const shown = await follow(location(answer), answer);
    assert.equal(shown.status, 200, `${answer.url} says ${location(answer)}`);
    const { id, name, sha256 } = await answer.json();
    const found = await shown.json();
    assert.deepEqual([found.id ?? found.name, found.sha256], [id ?? name, sha256]);
  }
});

test('links of a job and of a sweep, in lists, alone and after a change', async () => {
  const sweep = await (await post('/sweeps', { base: tiny({ train: { epochs: 2 } }), vary: { 'train.seed': [3, 4] } })).json();
  const { id } = await submit(proxy, tiny({ train: { epochs: 3 } }));
  await finished(proxy, id);
  const answers = [await proxy.api('/jobs?limit=1'), await proxy.api(`/jobs/${id}`), await proxy.api('/sweeps'),
    await proxy.api(`/sweeps/${sweep.id}`), await post(`/sweeps/${sweep.id}/cancel`, {})];
  const needs = { probe: 405, events: 200 };
  for (const answer of answers) {
    const body = await answer.json();
    const { links } = body.jobs?.[0]?.links ? body.jobs[0] : body.sweeps?.[0] ?? body;
    for (const [name, link] of Object.entries(links)) {
      const abort = new AbortController();
      const shown = await follow(link, answer, { signal: abort.signal });
      assert.equal(shown.status, needs[name] ?? 200, `${answer.url}: ${name} is ${link}`);
      abort.abort();
    }
  }
  const held = await submit(proxy, tiny({ train: { epochs: 100000 } }));
  const answer = await post(`/jobs/${held.id}/cancel`, {});
  const self = await follow((await answer.json()).links.self, answer);
  assert.equal((await self.json()).id, held.id);
});

test('the Link of a page leads to the next one', async () => {
  const { id } = await submit(proxy, tiny({ train: { epochs: 9 } }));
  await finished(proxy, id);
  for (const route of [`/jobs/${id}/epochs?limit=4&format=csv`, `/jobs/${id}/tokens?group=never_used&limit=4&format=csv`]) {
    const epochs = [];
    for (let answer = await proxy.api(route); ;) {
      assert.equal(answer.status, 200);
      epochs.push(...(await answer.text()).trim().split('\r\n').slice(1).map((line) => Number(line.split(',')[0])));
      const [, next] = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '') ?? [];
      if (!next) break;
      answer = await follow(next, answer);
    }
    assert.deepEqual(epochs, [...Array(10).keys()], route);
  }
});

test('the event stream comes through as it is written', async () => {
  const stream = await proxy.api('/events');
  assert.equal(stream.headers.get('x-accel-buffering'), 'no');
  await stream.body.cancel();
  const { id } = await submit(proxy, tiny({ train: { epochs: 40 } }));
  const seen = await events(proxy, `?after=0&jobs=${id}`, (all) => all.some(({ event, data }) => event === 'job' && data.state === 'succeeded'));
  assert.deepEqual(seen.filter(({ event }) => event === 'epoch').flatMap(({ data }) => data.records.map(({ epoch }) => epoch)), [...Array(41).keys()]);
});

test('the cookie is of the API below the prefix alone', async () => {
  const answer = await fetch(`${proxy.url}/api/v1/session`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ token }) });
  assert.equal(answer.status, 200);
  const cookie = answer.headers.get('set-cookie');
  // Without Path a browser takes the folder of the address that it asked (RFC 6265, 5.1.4).
  assert.doesNotMatch(cookie, /path|domain/i);
  const out = await fetch(`${proxy.url}/api/v1/session`, { method: 'DELETE', headers: { Cookie: cookie.split(';')[0] } });
  assert.match(out.headers.get('set-cookie'), /Max-Age=0/);
  assert.doesNotMatch(out.headers.get('set-cookie'), /path|domain/i);
});

test('no answer and no file of the page has an address from the root', () => {
  const lines = (folder, ending) => fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return lines(file, ending);
    return ending.test(file) ? fs.readFileSync(file, 'utf8').split('\n').map((line) => `${file}: ${line.trim()}`) : [];
  });
  const inAnswers = lines('server', /\.c$/).filter((line) => /"<?\/api\/v1\//.test(line));
  assert.deepEqual(inAnswers.filter((line) => !line.startsWith('server/api/routes.c')), []);
  const inPage = lines('web', /\.(html|css|js)$/).filter((line) => /(href|src)="\/|url\(["']?\/|(from|import\(|URL\() ?["'`]\//.test(line));
  assert.deepEqual(inPage, []);
});

test('the API description names itself as what paths start from', async () => {
  const answer = await proxy.api('/openapi.json');
  const { servers, paths } = await answer.json();
  const base = new URL(servers[0].url, answer.url).href.replace(/\/$/, '');
  assert.equal(base, proxy.url);
  assert.ok(paths['/api/v1/jobs']);
});
