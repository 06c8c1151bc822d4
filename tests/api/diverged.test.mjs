// A run that diverged has no verdicts, neither in the API nor on the command line.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { BINARY, startServer } from '../lib/server.mjs';
import { finished, submit, tiny } from '../lib/experiments.mjs';

let server, job;
before(async () => {
  server = await startServer();
  job = await finished(server, (await submit(server, tiny({ train: { lr: 1e30, optimizer: 'sgd', epochs: 50 } }))).id);
  assert.equal(job.error.code, 'diverged');
});
after(async () => { await server.stop(); });

test('findings of a diverged run are undetermined and say at which epoch it diverged', async () => {
  const answer = await (await server.api(`/jobs/${job.id}/findings`)).json();
  assert.equal(answer.findings.length, 7);
  for (const { id, verdict, measured, cause, numbers } of answer.findings) {
    assert.deepEqual([verdict, measured], ['undetermined', `the run diverged at epoch ${job.error.epoch}`], id);
    assert.match(cause, /no result/);
    for (const number of numbers) assert.ok(['undetermined', 'shown'].includes(number.verdict), `${id} ${number.id}`);
  }
});

test('a retry of a diverged run is refused, because the same run diverges again; from the start it does', async () => {
  const retry = (query) => server.api(`/jobs/${job.id}/retry${query}`, { method: 'POST' });
  for (const query of ['', '?from=checkpoint']) {
    const answer = await retry(query);
    assert.equal(answer.status, 409);
    assert.match((await answer.json()).detail, /diverges again.*from=start/);
  }
  assert.equal((await (await retry('?from=start')).json()).epoch, null);
  const again = await finished(server, job.id);
  assert.deepEqual([again.state, again.attempt, again.error], ['failed', 2, job.error]);
});

test('tokenfate show gives no verdict of a diverged run', () => {
  const { stdout, stderr, status } = spawnSync(BINARY, ['show', job.id, '--data', server.dataDir], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const claims = stdout.slice(stdout.indexOf('claims'));
  assert.equal(claims.match(new RegExp(`undetermined: the run diverged at epoch ${job.error.epoch}`, 'g'))?.length, 7, stdout);
  assert.doesNotMatch(claims, /^ +(supported|not supported|not testable)/m);
});
