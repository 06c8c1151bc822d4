// The event stream: every fact once, in order, from any position, for any number
// of readers.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startServer } from '../lib/server.mjs';
import { tiny, submit, finished, epochsOf, events, bits } from '../lib/experiments.mjs';

let server;
before(async () => { server = await startServer({ args: ['--max-streams', '20'] }); });
after(async () => { await server.stop(); });

const over = (id) => (seen) => seen.some((event) => event.event === 'job' && event.data.id === id
  && ['succeeded', 'failed', 'cancelled'].includes(event.data.state));
const records = (seen, id) => seen.filter((event) => event.event === 'epoch' && event.data.job === id)
  .flatMap((event) => { assert.equal(event.data.records.length, event.data.to - event.data.from + 1); return event.data.records; });

test('a stream from before the job tells every epoch once, equal to REST', async () => {
  const job = await submit(server, tiny({ train: { epochs: 60 } }));
  const seen = await events(server, `?after=0&jobs=${job.id}`, over(job.id));
  const epochs = records(seen, job.id);
  assert.deepEqual(epochs.map((record) => record.epoch), [...Array(61).keys()]);
  assert.deepEqual(bits(epochs), bits(await epochsOf(server, job.id)));
  const states = seen.filter((event) => event.event === 'job').map((event) => event.data.state);
  assert.deepEqual([...new Set(states)], ['queued', 'running', 'succeeded']);
  const ids = seen.map((event) => Number(event.id));
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b));
});

test('cut anywhere and resumed with Last-Event-ID: no gap, no repeat', async () => {
  const job = await submit(server, tiny({ train: { epochs: 80 } }));
  await finished(server, job.id);
  const whole = await events(server, `?after=0&jobs=${job.id}`, over(job.id));
  for (let cut = 1; cut < whole.length; cut++) {
    const rest = await events(server, `?jobs=${job.id}`, over(job.id), { headers: { 'Last-Event-ID': whole[cut - 1].id } });
    assert.deepEqual([...records(whole.slice(0, cut), job.id), ...records(rest, job.id)].map((record) => record.epoch), [...Array(81).keys()]);
  }
});

test('a position that is not kept any more, or not yet given out, is answered with reset', async () => {
  const seen = await events(server, '?after=999999999999', (all) => all.length > 0, { seconds: 20 });
  assert.equal(seen[0].event, 'reset');
});

test('readers beyond the limit get 503 with Retry-After, not silence', async () => {
  const abort = new AbortController();
  const open = [];
  let refused;
  for (let i = 0; i < 30 && !refused; i++) {
    const answer = await server.api('/events', { signal: abort.signal });
    if (answer.status === 200) open.push(answer);
    else refused = answer;
  }
  assert.equal(open.length, 20);
  assert.equal(refused.status, 503);
  assert.match(refused.headers.get('retry-after'), /^\d+$/);
  await refused.arrayBuffer();
  abort.abort();
  assert.equal((await server.api('/jobs')).status, 200);
});
