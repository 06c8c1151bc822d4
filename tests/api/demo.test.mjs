// `make demo`, `demo-stop` and `serve`'s first question, as someone meets them who has just
// cloned the repository: config/demo.mjs in a folder of its own, on a terminal and without.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { GULLIVER, SANITIZED, tiny } from '../lib/experiments.mjs';

const SCRIPT = path.resolve('config/demo.mjs');
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-demo-'));
const data = path.join(home, 'data');
const pidFile = path.join(data, 'demo.pid');
const texts = path.join(home, 'texts');
const offline = path.join(home, 'offline.cjs');
fs.mkdirSync(data);
fs.mkdirSync(texts);
// No test reaches beyond this machine.
fs.writeFileSync(offline, `const own = fetch;
  globalThis.fetch = (url, init) => (/^http:..(127|\\[::1)/.test(url) ? own(url, init) : Promise.reject(new Error('offline')));`);
const env = { ...process.env, TOKENFATE_CORPUS_PATH: texts, NODE_OPTIONS: `--require ${offline}`, EPOCHS: '2' };
delete env.NODE_TEST_CONTEXT;

const words = (action) => [SCRIPT, action, path.dirname(BINARY)];
const demo = (action, change = {}) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, words(action), { cwd: home, env: { ...env, ...change }, encoding: 'utf8', timeout: 60_000 });
  return { status, stdout, said: stdout + stderr };
};
const address = () => fs.readFileSync(path.join(data, 'address'), 'utf8').trim();
const alive = (pid) => { try { return process.kill(pid, 0); } catch { return false; } };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const post = async (route, body) => (await fetch(`${address()}/api/v1${route}`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
})).json();

after(() => {
  demo('stop');
  removeFolder(home);
});

const START = [process.execPath, ...words('start')];

// A program on a terminal of so many columns. at(text, child) sees what it has printed so far.
async function onTerminal(columns, program, change = {}, at = () => {}) {
  const line = `stty cols ${columns} rows 24; exec ${program.map((word) => `'${word}'`).join(' ')}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { cwd: home, env: { ...env, ...change }, stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => at(text += more, child));
  const timer = setTimeout(() => child.kill(), 50_000);
  const status = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  return { status, text };
}
// Lines that the terminal draws over each other, as they stood.
const drawn = (text) => text.split('\r\x1b[K').slice(1).map((line) => line.split(/[\r\n]/)[0]);

test('a number in demo.pid that belongs to somebody else', { timeout: 60_000 }, async () => {
  const other = spawn('sleep', ['60']);
  fs.writeFileSync(pidFile, `${other.pid}\n`);
  const { status, said } = demo('stop');
  assert.deepEqual([status, said], [0, 'No demo service is running.\n']);
  await sleep(100);
  assert.ok(alive(other.pid), 'the sleep was ended');
  assert.equal(demo('free').status, 0);
  other.kill();
});

test('a service that was started otherwise is used, and is not stopped', { timeout: 60_000 }, async () => {
  const server = await startServer({ dataDir: data });
  fs.writeFileSync(pidFile, '1\n');
  const { status, stdout, said } = demo('start');
  assert.equal(status, 0, said);
  assert.match(stdout, new RegExp(`Service at ${server.url} [^]*The service stays up; end it where it was started \\(process ${server.pid}\\)`));
  const stopped = demo('stop');
  assert.equal(stopped.status, 1);
  assert.match(stopped.said, new RegExp(`the service at ${server.url} was not started by \`make demo\`; .*process ${server.pid}`));
  assert.equal((await server.stop()).code, 0);
});

test('other people of the machine are named, once', { timeout: 60_000 }, () => {
  const person = ([, , uid, , , , shell]) => Number(uid) >= 1000 && Number(uid) < 61184 && Number(uid) !== process.getuid() && !/(nologin|false)$/.test(shell);
  const first = fs.readFileSync('/etc/passwd', 'utf8').trim().split('\n').map((line) => line.split(':')).find(person)?.[0];
  const lines = demo('start').stdout.match(/^Beware: whoever has an account on this machine is an administrator here .*$/gm) ?? [];
  assert.equal(lines.length, first ? 1 : 0);
  if (first) assert.ok(lines[0].includes(first), lines[0]);
  assert.doesNotMatch(demo('start').stdout, /Beware/, 'the service runs, and has said so');
  demo('stop');
});

test('without the text: the closing lines say what to do, and do it', { timeout: 60_000 }, async () => {
  const { status, stdout, said } = demo('start');
  assert.equal(status, 0, said);
  assert.match(stdout, /No text: pg829.txt is not in .*offline[^]*gulliver-synthetic: 2 epochs/);
  assert.match(stdout, /^(No GPU: .+\. Training on the CPU\.|Training on cuda:.*)$/m);
  assert.ok(alive(Number(fs.readFileSync(pidFile, 'utf8'))));
  const [submit] = /curl -d .*/.exec(stdout);
  const first = spawnSync('bash', ['-c', submit], { encoding: 'utf8' }).stdout;
  assert.equal(JSON.parse(first).corpus.name, 'gulliver-synthetic', first);
  const id = JSON.parse(first).id;
  await post(`/jobs/${id}/cancel`);
  const upload = /curl -T FILE .*/.exec(stdout)[0].replace('FILE', 'book.txt').replace('NAME', 'book');
  fs.writeFileSync(path.join(home, 'book.txt'), 'Many words, and many more words. '.repeat(40));
  const second = spawnSync('bash', ['-c', upload], { cwd: home, encoding: 'utf8' }).stdout;
  assert.equal(JSON.parse(second).name, 'book', second);
  const file = new RegExp(`as (${texts}/pg829.txt),\nthen \`make demo\` again`);
  assert.match(stdout, file);
});

test('the text that came later is given to the service that runs', { skip: !GULLIVER && 'no text' }, () => {
  fs.symlinkSync(path.resolve(GULLIVER), path.join(texts, 'pg829.txt'));
  const { status, stdout, said } = demo('start');
  assert.equal(status, 0, said);
  assert.match(stdout, /\ngulliver: 2 epochs/);
  assert.doesNotMatch(stdout, /no text/i);
});

test('`make serve` beside it names the address and the end of it', () => {
  const { status, said } = demo('free');
  assert.equal(status, 1);
  assert.equal(said, `demo: a service has ./data already, at ${address()}; \`make demo-stop\` ends it\n`);
  const serve = spawnSync(BINARY, ['serve', '--data', data, '--listen', '127.0.0.1:0'], { encoding: 'utf8' });
  assert.equal(serve.status, 1);
  assert.match(serve.stderr, new RegExp(`a tokenfate server is running on ${data}, at ${address()}`));
});

for (const columns of [80, 40]) {
  test(`progress on a terminal of ${columns} columns`, { timeout: 60_000 }, async () => {
    const { status, text } = await onTerminal(columns, START, { EPOCHS: '30' });
    assert.equal(status, 0, text);
    const lines = drawn(text).filter((line) => /epoch \d/.test(line));
    assert.ok(lines.length >= 1, text);
    for (const line of lines) assert.ok(line.length < columns, `${line.length} columns: ${line}`);
    assert.ok(columns < 80 || lines.every((line) => /^\[[= ]{8,30}\] epoch/.test(line)), lines.join('\n'));
  });
}

for (const [columns, last] of [[200, 'tokens\\/s'], [80, '(most|least)_common -[0-9.]+'], [35, 'loss [0-9.]+']]) {
  test(`\`tokenfate run\` on a terminal of ${columns} columns`, { timeout: 60_000 }, async () => {
    const spec = path.join(home, 'run.json');
    fs.writeFileSync(spec, JSON.stringify(tiny({ corpus: { id: 'gulliver-synthetic' }, train: { epochs: 300 } })));
    const { status, text } = await onTerminal(columns, [BINARY, 'run', spec]);
    assert.equal(status, 0, text);
    const lines = drawn(text).filter((line) => /^epoch [1-9]/.test(line));
    assert.ok(lines.length >= 1, text);
    for (const line of lines) assert.match(line, new RegExp(`^epoch [^]*${last}$`));
    for (const line of lines) assert.ok(line.length < columns, line);
  });
}

test('Ctrl-C leaves the job and says so; the next one says behind what it waits', { timeout: 60_000 }, async () => {
  const { text } = await onTerminal(80, START, { EPOCHS: '100000' }, (text, child) => {
    if (/epoch [1-9]/.test(text) && !child.sent) child.sent = child.stdin.write('\x03');
  });
  const id = /Job ([0-9a-f-]{36})/.exec(text)[1];
  assert.match(text, new RegExp(`The job goes on: ${address()}/#/jobs/${id}`));
  const job = await (await fetch(`${address()}/api/v1/jobs/${id}`)).json();
  assert.equal(job.state, 'running');
  const cancel = new RegExp(`curl -X POST ${address()}/api/v1/jobs/${id}/cancel`);
  assert.match(text, cancel);
  assert.match(text, /make demo-stop/);

  const second = await onTerminal(80, START, {}, (text, child) => {
    const [line] = cancel.exec(text) ?? [];
    if (line && !child.sent) child.sent = spawn('bash', ['-c', `${line} -s -o /dev/null`]);
  });
  assert.equal(second.status, 0, second.text);
  assert.match(second.text, new RegExp(`It waits: cpu is busy\\.\r\n  ${id} runs: .*, epoch \\d+/100000`));
  assert.equal((await (await fetch(`${address()}/api/v1/jobs/${id}`)).json()).state, 'cancelled');
});

const TRAINER = path.join(path.dirname(BINARY), 'tokenfate-trainer');
const helpOf = (program, ...args) => spawnSync(program, args, { cwd: home, encoding: 'utf8' });

test('--help after every command and all of its words, whatever else is wrong', () => {
  const usages = [...helpOf(BINARY, 'help').stdout.matchAll(/^  tokenfate (\S+) ?(.*?)  /gm)].map(([, name, rest]) => [name, rest]);
  assert.ok(usages.length >= 9, JSON.stringify(usages));
  for (const [name, rest] of usages) {
    const verbs = rest.split('|').map((verb) => verb.trim().split(' ').filter((word) => /^[a-z]+$/.test(word)));
    for (const words of [[], ...verbs, ['x', 'y', 'z'], ['--bogus']]) {
      for (const ask of ['--help', '-h']) {
        const { status, stdout, stderr } = helpOf(BINARY, name, ...words, ask);
        assert.deepEqual([status, stderr], [0, ''], `${name} ${words.join(' ')} ${ask}`);
        assert.ok(stdout.startsWith(`usage: tokenfate ${name}`) && stdout.includes('--log-level'), stdout);
      }
    }
    assert.equal(helpOf(BINARY, 'help', name).stdout, helpOf(BINARY, name, '--help').stdout);
  }
  for (const ask of ['--help', '-h']) assert.match(helpOf(TRAINER, '--bogus', ask).stdout, /^usage: tokenfate-trainer .*\n[^]*--help/);
  assert.equal(helpOf(BINARY, 'help', 'nothing').status, 2);
  assert.deepEqual(fs.readdirSync(home).filter((name) => name.startsWith('-')), []);
});

test('demo-stop ends the service', { timeout: 60_000 }, async () => {
  const pid = Number(fs.readFileSync(pidFile, 'utf8'));
  const { status, said } = demo('stop');
  assert.deepEqual([status, said], [0, 'Stopped.\n']);
  const ended = () => { try { return / Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8')); } catch { return true; } };
  for (let tries = 0; !ended() && tries < 50; tries++) await sleep(100);
  assert.ok(ended());
  assert.ok(!fs.existsSync(pidFile));
});

// The made-up machine (tests/cards/cards.h), with a proof of a few checks: it computes on the processor.
test('with a GPU: found, compared, said in two lines, trained on and named', { timeout: 240_000, skip: SANITIZED && 'too slow' }, () => {
  demo('stop');
  const cards = path.join(path.dirname(BINARY), 'tests', 'cards'), trainer = path.join(home, 'trainer');
  fs.writeFileSync(trainer, `#!/bin/sh
case "$1" in --qualify) exec '${cards}/tokenfate-trainer' "$@" --only 'promise p';; esac
exec '${cards}/tokenfate-trainer' "$@"
`, { mode: 0o755 });
  const { status, stdout, stderr } = spawnSync(process.execPath, words('start'), {
    cwd: home, encoding: 'utf8', timeout: 220_000,
    env: { ...env, EPOCHS: '1', CARDS: '1', LD_LIBRARY_PATH: cards, TOKENFATE_TRAINER: trainer },
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, new RegExp(['cuda:0, processor as a GPU: comparing it with the reference',
    'Training on cuda:0, processor as a GPU: 4 checks hold', 'Job [^]*', 'Trained on cuda:0: processor as a GPU, bf16\\.', ''].join('\n')));
});
