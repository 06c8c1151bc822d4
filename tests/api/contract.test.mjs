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

// The table in server/routes.c, as text: the one place a route is declared.
const table = () => [...fs.readFileSync('server/routes.c', 'utf8').matchAll(/"(GET|POST|PATCH|PUT|DELETE)",\s*"(\/[^"]*)"/g)]
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

test('the dashboard calls only what is there', () => {
  const known = new Set(documented().map((route) => route.split(' ')[1].replace(/^\/api\/v1/, '')));
  const calls = fs.readdirSync('web').filter((name) => name.endsWith('.js')).flatMap((name) => [
    ...fs.readFileSync(path.join('web', name), 'utf8').matchAll(/['"`](?:\/api\/v1)?(\/(?:jobs|corpora|presets|devices|events|whoami|session|tokenize|version)[^'"`?]*)/g)]
    .map(([, call]) => call.replace(/\$\{[^}]*\}/g, '{}').replace(/\/$/, '')));
  assert.ok(calls.length > 5, 'no calls found');
  for (const call of calls) {
    const pattern = new RegExp(`^${call.replaceAll('{}', '[^/]+')}$`);
    assert.ok([...known].some((route) => pattern.test(route)), `${call} is no route`);
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
