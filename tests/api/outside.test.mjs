// Records recomputed from outside: PyTorch and our own few lines of GPT-2 on the
// model and the batch that the service hands out (outside_check.py).
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startServer } from '../lib/server.mjs';
import { finished, small, submit } from '../lib/experiments.mjs';

const python = '/usr/bin/python3'; // the one that has Debian's torch
const run = promisify(execFile);
let server;
before(async () => { server = await startServer(); });
after(async () => { await server?.stop(); });

const train = { epochs: 100, snapshots: [0], batch_size: 4 };
const cases = {
  'tied, exact GELU': small({ train, groups: { size: 50 } }),
  'untied, scaled, biased, with a group of its own': small({
    model: { tie: 'untied', logit_scale: 'inv_sqrt_d', head_bias: true, activation: 'gelu_new' },
    train: { ...train, steps_per_epoch: 2, sampling: 'shuffle', lr: 0.01 },
    groups: { size: 30, custom: [{ name: 'articles', tokens: [' the', ' a', ' an', 0] }] },
  }),
};

for (const [name, spec] of Object.entries(cases)) {
  test(`outside check: ${name}`, { timeout: 300_000 }, async () => {
    const { id } = await submit(server, spec);
    const job = await finished(server, id);
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
    const { stdout } = await run(python, ['tests/api/outside_check.py', server.url, id, '0', '100'])
      .catch((error) => assert.fail(`${error.stdout}${error.stderr}`));
    assert.match(stdout, /epoch 0: loss [\d.]+, largest difference/);
    assert.match(stdout, /epoch 100: loss [\d.]+, largest difference/);
  });
}
