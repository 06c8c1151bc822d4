// Setting up and installing, without touching this machine: config/deps.sh and make's targets
// with programs of their own first in PATH.
import { test, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BINARY, removeFolder } from '../lib/server.mjs';

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-setup-'));
after(() => removeFolder(home));

// A folder of programs: a text is a script, null the machine's own.
let folders = 0;
function programs(table) {
  const folder = path.join(home, `bin${folders++}`);
  fs.mkdirSync(folder);
  for (const [name, script] of Object.entries(table)) {
    if (script === null) fs.symlinkSync(spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim(), path.join(folder, name));
    else fs.writeFileSync(path.join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return folder;
}
const env = (PATH) => ({ ...process.env, PATH, MAKEFLAGS: '', MAKELEVEL: '' });
const run = (command, args, PATH = process.env.PATH) => spawnSync(command, args, { env: env(PATH), encoding: 'utf8' });
const done = path.join(home, 'installed');

// A machine that lacks jansson until apt-get has run.
const lacking = (uid, apt = '') => `${programs({
  id: `echo ${uid}`,
  'dpkg-query': `case "$*" in *libjansson-dev) [ -e ${done} ] || exit 1 ;; esac; echo install ok installed`,
  'apt-get': `echo "$*" >> ${home}/apt; case $1 in install) ${apt} ;; esac`,
})}:${process.env.PATH}`;

test('without root: one line that can be pasted, with the lists first', () => {
  const { status, stdout, stderr } = run('config/deps.sh', ['build'], lacking(1000));
  assert.deepEqual([status, stdout], [1, '']);
  assert.equal(stderr, 'missing packages; run:  sudo sh -c \'apt-get update && apt-get install -y --no-install-recommends libjansson-dev\'\n');
  assert.ok(!fs.existsSync(path.join(home, 'apt')));
});

const lines = ['dlstatus:1:0.0:Retrieving file 1 of 3', 'dlstatus:1:10.5:Retrieving file 2 of 3', 'dlstatus:2:80.0:Retrieving file 3 of 3',
  'pmstatus:libjansson-dev:50.0:Unpacking libjansson-dev (amd64)', 'pmstatus:dpkg-exec:100.0000:Running dpkg'];
const says = lines.map((line) => `echo '${line}' >&3`).join('; ');

test('as root: apt\'s progress, a line each quarter', () => {
  const { status, stdout, stderr } = run('config/deps.sh', ['build'], lacking(0, `echo noise; ${says}; touch ${done}`));
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, 'installing: libjansson-dev\ndownloading, 0 %\ndownloading, 80 %\ninstalling, 50 %\ninstalling, 100 %\n');
  assert.match(fs.readFileSync(path.join(home, 'apt'), 'utf8'), /^update -qq\ninstall -y --no-install-recommends libjansson-dev .*\n$/);
  fs.rmSync(done);
});

test('and on a terminal one line', async () => {
  const PATH = lacking(0, `${says}; touch ${done}`);
  const child = spawn('script', ['-qec', 'config/deps.sh build', '/dev/null'], { env: env(PATH), stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => (text += more));
  assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  assert.match(text, /\r\x1b\[Kinstalling, 50 %: Unpacking libjansson-dev \(amd64\)\r\x1b\[K/);
  assert.ok(text.endsWith('\r\x1b[K'), JSON.stringify(text));
  fs.rmSync(done);
});

test('an apt that fails is not passed over', () => {
  const { status, stderr } = run('config/deps.sh', ['build'], lacking(0, 'echo "E: no network" >&2; exit 100'));
  assert.equal(status, 1);
  assert.equal(stderr, 'E: no network\ncould not be installed: libjansson-dev\n');
});

const NEEDED = { sh: null, nproc: null, uname: null, find: null, cat: null, dirname: null, git: null };

test('targets that need no packages ask for none', () => {
  const bare = programs({ ...NEEDED, make: null });
  assert.deepEqual(['demo-stop'].map((target) => run('make', [target], bare).stdout), ['No demo service is running.\n']);
  for (const [target, what] of [['fmt', /apt-get install -y clang-format/], ['docker', /neither a Docker engine that runs nor buildah; run: .*buildah/]]) {
    const { status, stderr } = run('make', [target], bare);
    assert.equal(status, 2);
    assert.match(stderr, what);
  }
  const tools = programs({ ...NEEDED, make: null, 'clang-format': `echo $# > ${home}/formatted`, buildah: `echo "$*" > ${home}/image` });
  assert.equal(run('make', ['fmt'], tools).status, 0);
  assert.ok(Number(fs.readFileSync(path.join(home, 'formatted'), 'utf8')) > 100);
  assert.equal(run('make', ['docker'], tools).status, 0);
  assert.match(fs.readFileSync(path.join(home, 'image'), 'utf8'), /^bud .*--target cpu -t tokenfate:cpu \.\n$/);
});

for (const [DESTDIR, PREFIX] of [['', path.join(home, 'my programs')], [path.join(home, 'a root'), '/opt/R&D | one']]) {
  test(`make install into "${path.relative(home, DESTDIR)}" "${path.relative(home, PREFIX)}"`, () => {
    const args = ['-o', 'all', 'install', 'NVCC=', `BUILD=${path.dirname(BINARY)}`, `PREFIX=${PREFIX}`, `DESTDIR=${DESTDIR}`];
    const { status, stdout, stderr } = run('make', args);
    assert.deepEqual([status, stderr], [0, '']);
    const program = path.join(`${DESTDIR}${PREFIX}`, 'bin/tokenfate');
    assert.equal(stdout, `  ${program}\n`);
    assert.equal(run(program, ['version']).stdout, run(BINARY, ['version']).stdout);
    const unit = fs.readFileSync(path.join(`${DESTDIR}${PREFIX}`, 'lib/systemd/system/tokenfate.service'), 'utf8');
    assert.ok(unit.includes(`\nExecStart="${PREFIX}/bin/tokenfate" serve\n`), unit);
    for (const file of ['share/tokenfate/presets/gulliver.json', 'share/man/man1/tokenfate.1', 'share/bash-completion/completions/tokenfate',
      'lib/sysusers.d/tokenfate.conf', 'lib/tmpfiles.d/tokenfate.conf']) assert.ok(fs.existsSync(path.join(`${DESTDIR}${PREFIX}`, file)), file);
  });
}

test('the service lets the driver make its devices and keep its code, as root and before it is shut in', () => {
  const unit = fs.readFileSync('config/tokenfate.service', 'utf8');
  const value = (key) => unit.match(new RegExp(`^${key}=(.*)$`, 'm'))?.[1];
  // NoNewPrivileges stops the driver's own setuid helper, for all cards and for unified memory.
  assert.match(value('ExecStartPre'), /^\+-\/bin\/sh -c '.*nvidia-smi -L; nvidia-modprobe -u'$/);
  assert.match(unit, /^Environment=.*CUDA_CACHE_PATH=%S\/tokenfate\//m);
  assert.equal(value('DevicePolicy'), 'auto');
  assert.doesNotMatch(unit, /^(PrivateDevices=yes|DeviceAllow=)/m);
  const said = (tools) => {
    const bin = fs.mkdtempSync(path.join(home, 'bin-'));
    for (const tool of tools) fs.writeFileSync(path.join(bin, tool), `#!/bin/sh\necho ${tool} "$@"\n`, { mode: 0o755 });
    return spawnSync('/bin/sh', ['-c', value('ExecStartPre').match(/'(.*)'/)[1]], { encoding: 'utf8', env: { PATH: bin } });
  };
  assert.equal(said(['nvidia-smi', 'nvidia-modprobe']).stdout, 'nvidia-smi -L\nnvidia-modprobe -u\n');
  const none = said([]);
  assert.deepEqual([none.status, none.stdout, none.stderr], [0, '', ''], 'nothing to say where there is no GPU');
});

test('the installed service has logins, a socket that everybody reaches, and one account', () => {
  const unit = fs.readFileSync('config/tokenfate.service', 'utf8');
  assert.match(unit, /^Environment=TOKENFATE_AUTH=on TOKENFATE_SOCKET=%t\/tokenfate\/socket$/m);
  assert.match(unit, /^RuntimeDirectory=tokenfate$/m);
  assert.doesNotMatch(unit, /^RuntimeDirectoryMode=/m, 'the default, 0755, lets everybody through');
  assert.match(unit, /^User=tokenfate$/m);
  assert.match(fs.readFileSync('config/sysusers.conf', 'utf8'), /^u tokenfate - /m);
  assert.match(unit, /^RestrictAddressFamilies=.*\bAF_UNIX\b/m);
});

const commands = () => [...run(BINARY, ['help']).stdout.matchAll(/^  tokenfate (\S+)/gm)].map(([, name]) => name);

test('the man page has every command, and the options that help names', () => {
  const page = fs.readFileSync('config/tokenfate.1', 'utf8').replaceAll('\\-', '-');
  for (const name of commands()) {
    if (name === 'version') continue; // --version is everybody's
    assert.match(page, new RegExp(`^\\.BR? (.*(fB|[\\s",]))?${name}\\b`, 'm'), name);
  }
  for (const name of ['submit', 'jobs', 'retry', 'get', 'run', 'login']) {
    const [usage] = run(BINARY, ['help', name]).stdout.split('\n');
    for (const [option] of usage.matchAll(/--[a-z-]+/g)) assert.ok(page.includes(option), `${name} ${option}`);
  }
});

test('the completion offers commands, their words and their options', () => {
  const complete = (...words) => run('bash', ['-c', `. config/tokenfate.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tokenfate; echo "\${COMPREPLY[@]}"`, 'bash', 'tokenfate', ...words],
    `${path.dirname(BINARY)}:${process.env.PATH}`).stdout.trim();
  assert.deepEqual(complete('').split(' ').sort(), commands().sort());
  assert.deepEqual([complete('wa'), complete('get', 'x', 'e'), complete('user', 'una'), complete('user', 'unb')], ['watch', 'epochs', '', 'unbind']);
  assert.equal(complete('jobs', '--s'), '--state --sweep');
});

const noDpkg = spawnSync('dpkg-deb', ['--version']).status === 0 ? {} : { skip: 'no dpkg-deb' };
test('make deb: a package of what is installed, with what it depends on', noDpkg, () => {
  const build = path.dirname(BINARY);
  const before = new Set(fs.readdirSync(build));
  const { status, stdout, stderr } = run('make', ['-o', 'all', 'deb', 'NVCC=', `BUILD=${build}`]);
  assert.equal(status, 0, stderr);
  const file = stdout.trim();
  const ask = (...words) => run('dpkg-deb', [...words, file]).stdout;
  try {
    const control = ask('--field');
    assert.match(control, /^Version: \d+\.\d+\.\d+/m);
    for (const library of ['libmicrohttpd12', 'libsqlite3-0', 'libdnnl', 'libgomp1', 'systemd']) assert.match(control, new RegExp(`^Depends:.*\\b${library}`, 'm'));
    const list = ask('--contents');
    for (const name of ['usr/bin/tokenfate', 'usr/bin/tokenfate-trainer', 'usr/lib/systemd/system/tokenfate.service', 'usr/share/man/man1/tokenfate.1.gz',
      'usr/share/tokenfate/web/app.js', 'usr/share/doc/tokenfate/operations.md', 'etc/tokenfate/environment']) {
      assert.match(list, new RegExp(`^-\\S+ root/root .* \\./${name}$`, 'm'), name);
    }
    assert.doesNotMatch(list, /usr\/local| \.\/(var|run)\//);
    const unpacked = path.join(home, 'deb');
    run('dpkg-deb', ['--raw-extract', file, unpacked]);
    assert.match(fs.readFileSync(path.join(unpacked, 'usr/lib/systemd/system/tokenfate.service'), 'utf8'), /^ExecStart="\/usr\/bin\/tokenfate" serve$/m);
    for (const script of ['postinst', 'prerm', 'postrm']) assert.equal(run('sh', ['-n', path.join(unpacked, 'DEBIAN', script)]).status, 0, script);
    assert.equal(run(path.join(unpacked, 'usr/bin/tokenfate'), ['version']).stdout, run(BINARY, ['version']).stdout);
  } finally {
    fs.rmSync(file);
  }
  assert.deepEqual(fs.readdirSync(build).filter((name) => !before.has(name)), [], 'nothing else is left');
});

test('the CUDA backend is compiled for the newer architectures that nvcc knows', () => {
  const codes = (...known) => {
    const nvcc = path.join(fs.mkdtempSync(path.join(home, 'nvcc-')), 'nvcc');
    fs.writeFileSync(nvcc, `#!/bin/sh\nfor a in 80 90 ${known.join(' ')}; do echo compute_$a; done\n`, { mode: 0o755 });
    const { stdout, stderr } = run('make', ['-n', 'V=1', `NVCC=${nvcc}`, `BUILD=${path.join(home, 'cuda')}`, `${path.join(home, 'cuda')}/obj/gpu/cuda/gemm.o`]);
    assert.equal(stderr, '');
    return [...stdout.matchAll(/,code=(\w+)/g)].map(([, code]) => code).join(' ');
  };
  assert.equal(codes(), 'sm_80 sm_86 sm_89 sm_90 compute_90');
  assert.equal(codes(100, 103, 120, 121), 'sm_80 sm_86 sm_89 sm_90 sm_100 sm_120 compute_120');
});

test('the CUDA backend is built with the nvcc that is found, from CUDA 12 on', () => {
  const found = path.join(home, 'found');
  fs.mkdirSync(found);
  fs.writeFileSync(path.join(found, 'build-id'), 'a build\n');
  const made = (release) => {
    const PATH = `${programs({ nvcc: `echo "Cuda compilation tools, release ${release}, V${release}.1"` })}:${process.env.PATH}`;
    const { stdout, stderr } = run('env', ['-u', 'NVCC', 'make', '-n', 'V=1', `BUILD=${found}`, 'programs'], PATH);
    assert.equal(stderr, '');
    return [/libtokenfate-cuda\.so/.test(stdout), /nvcc is older than CUDA 12: built without CUDA/.test(stdout)];
  };
  assert.deepEqual(made('11.8'), [false, true]);
  assert.deepEqual(made('12.0'), [true, false]);
  assert.deepEqual(made('13.1'), [true, false]);
});

test('a build says a line a room, and its commands with V=1', () => {
  const build = path.join(home, 'build');
  const args = ['-B', `${build}/libdb.a`, 'NVCC=', `BUILD=${build}`];
  const quiet = run('make', args);
  assert.deepEqual([quiet.status, quiet.stderr], [0, '']);
  assert.match(quiet.stdout, /^  db: \d+ files\n$/);
  assert.match(run('make', ['-n', 'V=1', ...args]).stdout, /gcc .*db\/jobs\.c/);
  assert.match(run('make', ['V=1', `${build}/obj/db/db.o`, '-W', 'db/db.c', 'NVCC=', `BUILD=${build}`]).stdout, /gcc .*db\/db\.c/);
});
