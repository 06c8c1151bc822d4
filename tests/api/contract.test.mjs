// openapi.json, the route table and the calls of the dashboard say the same.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { startServer } from '../lib/server.mjs';

let server, openapi;
before(async () => {
  server = await startServer();
  openapi = await (await server.api('/openapi.json')).json();
});
after(async () => { await server.stop(); });

// The table in server/api/routes.c, as text: the one place a route is declared.
const table = () => [...fs.readFileSync('server/api/routes.c', 'utf8').matchAll(/"(GET|POST|PATCH|PUT|DELETE)",\s*"(\/[^"]*)"/g)]
  .map(([, method, route]) => `${method} ${route.replace(/\{[a-z_]+\}/g, '{}')}`);
const documented = () => Object.entries(openapi.paths).flatMap(([route, methods]) => Object.keys(methods)
  .filter((method) => ['get', 'post', 'patch', 'put', 'delete'].includes(method))
  .map((method) => `${method.toUpperCase()} ${route.replace(/\{[a-z_]+\}/g, '{}')}`));

test('openapi.json is 3.1 or later and lists exactly the routes of the table', () => {
  assert.match(openapi.openapi, /^3\.[1-9]/);
  const api = table().filter((route) => !/ \/$| \/(vendor|web)\b|\*/.test(route));
  assert.ok(api.length > 25, `${api.length} routes found in the table`);
  assert.deepEqual(documented().sort(), api.sort());
});

test('every operation has a summary and a documented answer', () => {
  for (const [route, methods] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (method === 'parameters') continue;
      assert.ok(operation.summary && Object.keys(operation.responses).length > 0, `${method} ${route}`);
    }
  }
});

test('what the flags of a route answer is documented: 429 and 503 of heavy ones, 304 of those with a tag', () => {
  const rows = [...fs.readFileSync('server/api/routes.c', 'utf8').matchAll(/\{"([A-Z]+)",\s*"([^"]+)",\s*\w+,\s*([A-Z_| 0]+),/g)];
  assert.equal(rows.length, table().length);
  const needs = { ROUTE_HEAVY: ['429', '503'], ROUTE_ETAG: ['304'], ROUTE_BODY_JSON: ['400', '415', '422'] };
  const missing = rows.flatMap(([, method, route, flags]) => Object.entries(needs).filter(([flag]) => flags.includes(flag))
    .flatMap(([, statuses]) => statuses.filter((status) => !openapi.paths[route][method.toLowerCase()].responses[status]).map((status) => `${status} of ${method} ${route}`)));
  assert.deepEqual(missing, []);
});

test('the dashboard calls only what is there, and only from api.js', () => {
  const known = documented().map((route) => route.split(' ')[1]);
  const called = (file) => [...fs.readFileSync(path.join('web', file), 'utf8').matchAll(/["'`](\/api\/v1\/[^"'`?]*)/g)].map(([, call]) => call);
  const calls = called('api.js');
  assert.ok(calls.length > 15, `${calls.length} calls found`);
  for (const call of calls) {
    const plain = call.replace(/\$\{[^}]*\}/g, '{}');
    assert.ok(known.includes(plain), `${call} is no route`);
  }
  for (const file of fs.readdirSync('web').filter((name) => name.endsWith('.js') && name !== 'api.js')) {
    assert.deepEqual(called(file), [], `${file} writes a path of the API`);
  }
});

test('presets are complete specs, version and devices answer', async () => {
  const { presets } = await (await server.api('/presets')).json();
  assert.ok(presets.length >= 6);
  for (const { name } of presets) {
    const spec = await (await server.api(`/presets/${name}`)).json();
    assert.ok(spec.model.d_model && spec.train.epochs && spec.groups.size && spec.corpus.id, name);
  }
  const { devices } = await (await server.api('/devices')).json();
  const cpu = devices.find((device) => device.id === 'cpu');
  assert.ok(cpu.available && cpu.memory_bytes > 0);
  for (const device of devices) assert.ok(device.available || device.reason.length > 10, JSON.stringify(device));
  assert.ok((await (await server.api('/version')).json()).version);
});
