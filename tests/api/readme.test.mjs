// Every block of the README, as it stands there: those of commands are run one after the other
// by one shell, as somebody does who pastes them; what they print is compared where the README
// shows it. Three things differ: the address of the service, the repository's, and the size of
// the gulliver preset, of which the folder has a copy that trains in seconds.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder, startServer } from '../lib/server.mjs';
import { GULLIVER, finished } from '../lib/experiments.mjs';

const readme = fs.readFileSync('README.md', 'utf8');
const blocks = [...readme.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map(([, language, text]) => ({ language, text }));
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-readme-'));
const texts = path.join(home, 'corpora');
const LISTEN = 'http://127.0.0.1:8080';
const ENDLESS_SECONDS = 5; // until what never ends by itself is ended, as Ctrl-C would
const PRESET = { model: { d_model: 16, n_layers: 1, n_heads: 2, seq_len: 8 }, train: { batch_size: 2 } };

let server;
before(async () => {
  const preset = JSON.parse(fs.readFileSync('config/presets/gulliver.json', 'utf8'));
  for (const section of Object.keys(PRESET)) Object.assign(preset[section], PRESET[section]);
  for (const folder of ['config/presets', 'bin', 'corpora']) fs.mkdirSync(path.join(home, folder), { recursive: true });
  fs.writeFileSync(path.join(home, 'config/presets/gulliver.json'), JSON.stringify(preset));
  fs.symlinkSync(path.dirname(BINARY), path.join(home, 'build'));
  const words = Array.from({ length: 40_000 }, (_, i) => `w${Math.floor(3000 * ((i * 0.618) % 1) ** 3)}`).join(' ');
  fs.writeFileSync(path.join(home, 'book.txt'), words);
  if (GULLIVER) fs.symlinkSync(path.resolve(GULLIVER), path.join(texts, 'pg829.txt'));
  else fs.writeFileSync(path.join(texts, 'pg829.txt'), words);
  // Every curl notes what it was answered, and ends.
  fs.writeFileSync(path.join(home, 'bin/curl'), `#!/bin/sh
case $1 in -N) limit=${ENDLESS_SECONDS} ;; *) limit=120 ;; esac
PATH=\${PATH#*:} exec timeout $limit curl -w '%{stderr}answered %{http_code}\\n' "$@"\n`, { mode: 0o755 });
  server = await startServer({ env: { TOKENFATE_CORPUS_PATH: texts } });
});
after(async () => {
  await server.stop();
  removeFolder(home);
});

// Commands find the server as they do after `make serve`: by the data folder, and no login.
const env = () => ({ ...process.env, TOKENFATE_CORPUS_PATH: texts, TOKENFATE_DATA: server.dataDir, XDG_CONFIG_HOME: path.join(home, 'no login'), PATH: `${home}/bin:${process.env.PATH}` });
const bash = (text) => spawnSync('bash', ['-c', text], { cwd: home, env: env(), encoding: 'utf8', maxBuffer: 1 << 28 });

// A line that sets up or builds is not run: what it calls is there.
function checkMake(line) {
  const [target] = /^make ([a-z-]+) *(#.*)?$/.exec(line)?.slice(1) ?? assert.fail(line);
  assert.match(fs.readFileSync('Makefile', 'utf8'), new RegExp(`^${target}:.*## `, 'm'), line);
}
function checkClone(line) {
  assert.match(line, /^git clone ADDRESS tokenfate && cd tokenfate$/);
  if (!fs.existsSync('.git')) return;
  const { status, stdout, stderr } = bash(`${line.replace('ADDRESS', `--quiet --depth 1 'file://${process.cwd()}'`)} && ls`);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^Makefile$/m);
}
const aside = [
  [/^make /, checkMake],
  [/^git clone /, checkClone],
  [/^apt-get update && apt-get install -y /, (line) => assert.match(line, / git make$/)],
];
const asideOf = (line) => aside.find(([pattern]) => pattern.test(line))?.[1];

const commands = blocks.filter(({ language }) => language === 'sh');
const lines = commands.flatMap(({ text }) => text.split('\n').filter(Boolean));

test('what sets up, builds and serves', () => {
  const found = lines.filter(asideOf);
  assert.ok(found.length >= 5, found.join('\n'));
  for (const line of found) asideOf(line)(line);
  for (const target of ['demo', 'test', 'serve']) assert.ok(found.some((line) => line.startsWith(`make ${target}`)), target);
  for (const [, target] of readme.matchAll(/`make ([a-z-]+)[^`]*`/g)) checkMake(`make ${target}`);
});

const state = path.join(home, 'state'); // what the shell of one block leaves to the next one's
const run = (text) => bash(`touch ${state}; . ${state}\nset -u\n${text.replace(LISTEN, server.url)}\n{ declare -p API ID WIDE SWEEP 2>/dev/null; declare -f post made; } > ${state}`);
const shown = []; // what each block printed

for (const [index, { text }] of commands.entries()) {
  if (text.split('\n').filter(Boolean).every(asideOf)) continue;
  test(`block ${index + 1}: ${text.trim().split('\n').at(-1)}`, { timeout: 300_000 }, async () => {
    assert.ok(!text.split('\n').some(asideOf), 'a block that is run has nothing to set up');
    const { status, stdout, stderr } = run(text);
    shown[index] = stdout;
    const said = `${text}\n${stdout.slice(-2000)}\n${stderr.slice(-4000)}`;
    assert.equal(status, 0, said);
    assert.doesNotMatch(stderr, /unbound variable|command not found|No such file|curl: \((?!28)/, said);
    // Only the block whose answer the README shows below it is refused.
    const answers = [...stderr.matchAll(/answered (\d+)/g)].map(([, code]) => Number(code));
    const calls = text.split('\n').filter((line) => /^curl |^post |\$\(post /.test(line)).length;
    assert.equal(answers.length, calls - (text.match(/^curl -N /gm) ?? []).length, said);
    const refused = blocks[blocks.indexOf(commands[index]) + 1]?.text.includes('"errors"');
    for (const code of answers) assert.ok(refused ? code === 422 : code >= 200 && code < 300, `${code}\n${said}`);
    const variable = (name) => new RegExp(`declare -- ${name}="([^"]*)"`).exec(fs.readFileSync(state, 'utf8'))?.[1];
    if (variable('SWEEP')) await server.api(`/sweeps/${variable('SWEEP')}/cancel`, { method: 'POST' }); // minutes of training
    if (variable('ID')) assert.equal((await finished(server, variable('ID'))).state, 'succeeded');
  });
}

test('what it made is there', async () => {
  assert.ok(fs.statSync(path.join(home, 'model.safetensors')).size > 1e6);
  const { sweeps } = await (await server.api('/sweeps')).json();
  assert.equal(sweeps.length, 1);
  const { jobs } = await (await server.api('/jobs?state=cancelled')).json();
  assert.ok(jobs.some(({ name }) => name === 'wide'));
});

test('the error is the one that is shown', () => {
  const at = commands.findIndex((block) => blocks[blocks.indexOf(block) + 1]?.text.includes('"errors"'));
  let rest = shown[at];
  for (const part of blocks[blocks.indexOf(commands[at]) + 1].text.trim().split('…')) {
    assert.ok(rest.includes(part), `${JSON.stringify(part)} is not in ${rest}`);
    rest = rest.slice(rest.indexOf(part) + part.length);
  }
});
