// A card proves itself (tokenfate-trainer --qualify): a clean one passes; a seeded fault
// (tests/cards/cards.h) fails, and the line that does not hold names it. Checks are picked by
// name, because the made-up machine computes on the processor.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const cards = path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tests', 'cards');
function qualify(fault, only, { precision = 'fp32', seconds = 60, device = 'cuda:0', env = {} } = {}) {
  const { status, stdout, stderr } = spawnSync(path.join(cards, 'tokenfate-trainer'),
    ['--qualify', '--device', device, '--precision', precision, '--only', only, '--seconds', String(seconds)],
    { encoding: 'utf8', env: { ...process.env, LD_LIBRARY_PATH: cards, CARDS: '1', CARDS_FAULT: fault, ...env } });
  const lines = stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  return { status, stderr, lines, checks: lines.filter(({ type }) => type === 'check'), verdicts: lines.filter(({ type }) => type === 'verdict') };
}

test('a clean card passes in both precisions, with the margin of each check', () => {
  const { status, stderr, checks, verdicts } = qualify('', 'promise p', { precision: 'auto' });
  assert.equal(status, 0, stderr);
  assert.deepEqual(verdicts.map(({ precision, state, reason }) => [precision, state, reason]),
    [['fp32', 'passed', null], ['bf16', 'passed', null]]);
  assert.equal(checks.length, 4);
  const { checks: [add], verdicts: [verdict] } = qualify('', 'operation add', { precision: 'bf16' });
  assert.ok(add.holds && add.error > 0 && add.error < add.bound, JSON.stringify(add));
  assert.ok(Math.abs(add.margin - add.bound / add.error) < 1e-9 * add.margin);
  assert.match(add.where, /^case \d+, array \d+$/);
  assert.match(verdict.isa, /^sm_90, cuBLASLt 13/);
});

test('each seeded fault fails and is named', () => {
  const seeded = [
    ['operation', 'operation add', 'operation add', 'internal', /^add, case \d+, array 0: relative error/],
    ['tail', 'ones of long', 'ones of long sums', 'internal', /a sum of 11528 ones is 11520/],
    ['product', 'ones of long', 'ones of long sums', 'device', /a wrong product of 64 x 64 x 11528, algorithm \d+, k in \d parts?: error/],
    ['barrier', 'operation squares', 'operation squares', 'internal', /relative error/],
    ['replay', 'replay small', 'replay small', 'nondeterministic', /a step that is replayed has other bits/],
    ['device', 'operation add', 'operation add', 'device', /cudaErrorIllegalAddress/],
    ['crash', 'operation add', 'operation add', 'device', /killed by signal 6/],
  ];
  for (const [fault, only, name, code, reason] of seeded) {
    const { status, checks, verdicts: [verdict] } = qualify(fault, only);
    const broken = checks.find(({ holds }) => !holds);
    assert.equal(status, 1, fault);
    assert.deepEqual([broken?.name, broken?.code, verdict.state], [name, code, 'failed'], fault);
    assert.match(broken.reason, reason);
    assert.ok(verdict.reason.startsWith(`${name}: `), verdict.reason);
  }
});

test('a hang fails after two time limits; beside other programs it was no try', () => {
  const { checks: [hang], verdicts: [verdict] } = qualify('hang', 'operation add', { seconds: 1 });
  assert.deepEqual([hang.name, hang.code, verdict.state], ['operation add', 'timeout', 'failed']);
  assert.ok(verdict.ms >= 2000, `${verdict.ms}`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-qualify-'));
  const state = path.join(folder, 'state');
  fs.writeFileSync(state, '100 55 40');
  const beside = qualify('hang', 'operation add', { seconds: 1, env: { CARDS_STATE: state } });
  fs.rmSync(folder, { recursive: true });
  assert.equal(beside.verdicts[0].state, 'could_not_try');
  assert.match(beside.verdicts[0].reason, /other programs used the card/);
});

test('whatever the driver refuses of a recording, the card passes without', () => {
  const reasons = ['cudaStreamBeginCapture', 'feed_kernel', 'cublasLtMatmul', 'cudaStreamEndCapture', 'cudaGraphInstantiate'];
  for (const [i, call] of reasons.entries()) {
    const { status, checks, verdicts: [verdict] } = qualify('', 'replay small', { env: { CARDS_REFUSES: String(i + 1) } });
    assert.deepEqual([status, checks.length, verdict.state], [0, 1, 'passed'], call);
    assert.match(verdict.reason, new RegExp(`^without graphs: .*${call}`));
  }
});

test('memory beside a job is what the process has; where that is not told there is no verdict', () => {
  const memory = (env) => {
    const { checks: [check], verdicts: [{ state }] } = qualify('', 'memory beside', { env });
    return [state, check.note, check.reason];
  };
  const MIB = 1 << 20, allowed = '1073741824 allowed';
  assert.deepEqual(memory({}), ['passed', `${600 * MIB} bytes beside a job, ${allowed}`, null]);
  assert.deepEqual(memory({ CARDS_OWN: '0' }), ['passed', `0 bytes beside a job, ${allowed}, by all programs`, null]);
  const [state, , reason] = memory({ CARDS_OWN: '2000' });
  assert.equal(state, 'could_not_try');
  assert.match(reason, new RegExp(`^driver and context take ${2000 * MIB} bytes beside a job`));
});

test('a full card, or none, could not be tried', () => {
  const { status, checks: [open], verdicts: [full] } = qualify('memory', 'operation add');
  assert.deepEqual([status, open.name, open.code, full.state], [1, 'open', 'no_memory', 'could_not_try']);
  assert.match(full.reason, /bytes wanted/);
  const { verdicts: [none] } = qualify('', 'operation add', { device: 'cuda:7' });
  assert.deepEqual([none.state, none.checks], ['could_not_try', 0]);
});

test('the processor is a device like any other', () => {
  for (const precision of ['fp32', 'bf16']) {
    const { status, stderr, checks } = qualify('', 'ones', { precision, device: 'cpu' });
    assert.equal(status, 0, stderr);
    assert.deepEqual(checks.map(({ name, holds }) => [name, holds]), [['ones of long sums', true], ['ones of the presets', true]]);
  }
});

test('a check that is not there is no proof', () => {
  const { verdicts: [verdict] } = qualify('', 'no such check');
  assert.deepEqual([verdict.state, verdict.checks], ['could_not_try', 0]);
});
