// run: runs suites of tests and closes with one line, `N passed, N failed[, N skipped]`.
//   node tests/run.mjs BUILD SUITE...          every job of the suites (table SUITES)
//   node tests/run.mjs BUILD one SUITE/JOB...  these jobs alone, named as in a failure
// A job is one program or one file of tests. JOBS of them run at the same time (default:
// as many as processors), long ones first; the output of a job appears whole when it ends.
// The counts come from each program's own summary, and a job that ends without one counts
// as one failure. Runs on Node 18, which Debian 12 has.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const LIMIT_MS = 1800_000; // for one job: a hang is a failure, not a wait
const SLOWEST = 10;
const SHOWN = 20; // lines of a failure, named again at the end
const JOBS = Number(process.env.JOBS) || os.availableParallelism?.() || os.cpus().length;
const SAN_BUILD = 'build-address-undefined';
const [build, ...wanted] = process.argv.slice(2);

// Begun first, so that none of them is left over at the end. The rest takes seconds.
const LONG = [
  'gpu_ops', 'cuda_ops', 'cuda_model', 'kill', 'dashboard_charts', 'dashboard_runs', 'tabs', 'remedies', 'presets', 'adaptive', 'gulliver',
  'server_workers',
];
const rank = (job) => {
  const at = LONG.indexOf(job.name.split('/')[1]);
  return at < 0 ? LONG.length : at;
};

// Jobs that check how long something takes, or count what the whole machine does: they
// run alone, after the others.
const ALONE = new Set([
  'unit/server_trainer_process', // waits of 60 ms to 2 s, with bounds
  'unit/config_message', // a wait for a message, with bounds
  'api/threads', // where the threads of a trainer may run
]);

// API files that run under the sanitizers: those that put bytes of others through the
// service, or many requests at once. The rest checks published numbers of long trainings,
// whose code the unit programs run under the sanitizers already.
const SANITIZED_API = [
  'adaptive', // an adaptive head through worker, probe and records
  'auth', // headers, cookies, tokens
  'backup', // a folder copied beside a server, and put back
  'cli', // commands of users, by socket and by address
  'commands', // the command line against a running server and without one
  'contract', // every route, the documents served
  'devices', // two workers, trainers with the CUDA layer
  'errors', // bodies, uploads, headers that are refused
  'events', // event streams
  'findings', // answers built from records
  'limits', // connections that are late or too many
  'logins', // refused credentials, lines of the log as JSON
  'jobs', // submit, hold, cancel, wait, export
  'notify', // messages to receivers that answer badly
  'outside', // a client of another kind
  'probe', // a model read back from a checkpoint
  'readers', // clients that are slow, many or gone
  'socket', // accounts of the machine, their logins, one-time links
  'spectrum', // large answers in JSON and CSV
  'sweeps', // many jobs in one body, comparisons
  'tls', // the same server behind GnuTLS
  'tokenizer', // random Unicode through the tokenizer
  'uploads', // bodies of every type, texts made, replaced and deleted
  'users', // users and tokens, made and removed
];

// OpenMP threads that spin while they wait take the processor from the job beside them.
const base = { GOMP_SPINCOUNT: '0', ...process.env };
// Third-party code keeps caches until the process ends: oneDNN and OpenMP.
const LSAN = 'suppressions=tests/lib/lsan.supp:print_suppressions=0';

const last = (text, pattern) => {
  const found = [...text.matchAll(pattern)].at(-1);
  return found ? Number(found[1]) : undefined;
};
// How a kind of program counts: passed, failed, skipped.
const CMOCKA = ['PASSED', 'FAILED', 'SKIPPED']
  .map((word) => new RegExp(`^\\[ +${word} +\\][^0-9\\n]*(\\d+) test`, 'gm'));
const NODE = ['pass', 'fail', 'skipped'].map((word) => new RegExp(`^[^a-zA-Z\\n]*${word} (\\d+)$`, 'gm'));
const CHECK = [/^(\d+) passed/gm, /, (\d+) failed/g, /, (\d+) skipped/g];
const COMPLAINTS = new RegExp(['^ *not ok ', '^ *\u2716 ', '^ *error: ', '^\\[ +FAILED +\\] [^0-9]', '^\\[ +ERROR +\\]',
  'ERROR: .*Sanitizer', 'runtime error:', '^(FAIL|failed) '].join('|'));
const ROUTINE = /^\[ +(RUN|OK) /;

const names = (folder, ending) => fs.readdirSync(folder).filter((name) => ending.test(name))
  .map((name) => name.replace(ending, '')).sort();
const units = () => names('tests/unit', /\.cu?$/);
const files = (folder) => names(`tests/${folder}`, /\.test\.mjs$/);

const unit = (name, dir, program, env = {}, runner = []) => ({
  name, count: CMOCKA, command: [...runner, path.join(dir, 'tests', program)],
  env: { TOKENFATE_BUILD: dir, TOKENFATE_SHARE: path.join(build, 'share'), ...env },
});
const file = (name, dir, folder, stem, env = {}) => ({
  name, count: NODE, command: [process.execPath, '--test', `tests/${folder}/${stem}.test.mjs`],
  env: { TOKENFATE_BUILD: dir, ...env },
});
const filesOf = (folder) => () => files(folder).map((stem) => file(`${folder}/${stem}`, build, folder, stem));

const SUITES = {
  unit: () => units().map((program) => unit(`unit/${program}`, build, program)),
  api: filesOf('api'),
  browser: filesOf('browser'),
  crash: filesOf('crash'),
  gpu: () => [{ name: 'gpu/check', count: CHECK, env: {},
    command: ['python3', path.join(build, 'gpu-kit', 'check.py'), '--out', path.join(build, 'gpu-check')] }],
  // When a unit program ends, what its stack still points to is left over: a leak seen in
  // every run, not in those where nothing happened to be left.
  san: () => [
    ...units().map((program) => unit(`san/${program}`, SAN_BUILD, program,
      { LSAN_OPTIONS: `${LSAN}:use_stacks=0:use_registers=0` })),
    ...SANITIZED_API.map((stem) => file(`san/api-${stem}`, SAN_BUILD, 'api', stem, { LSAN_OPTIONS: LSAN })),
  ],
  // All orders of threads of the CUDA layer; memory that was never written, seen by valgrind
  // in the plain C loops, which the faster ones are checked against; more kills.
  deep: () => [
    ...['cuda_ops', 'cuda_model', 'cuda_products'].map((program) => unit(`deep/${program}`, build, program, { CUDA_HOST_DEEP: '1' })),
    ...['gpu_model', 'gpu_adaptive'].map((program) => unit(`deep/valgrind-${program}`, build, program,
      { TOKENFATE_ISA: 'plain' }, ['valgrind', '-q', '--error-exitcode=9'])),
    file('deep/kill', build, 'crash', 'kill', { KILLS: '60' }),
  ],
};

function jobsWanted() {
  const [first, ...rest] = wanted;
  if (first !== 'one') return wanted.flatMap((suite) => SUITES[suite]());
  return rest.map((name) => {
    const found = SUITES[name.split('/')[0]]?.().find((job) => job.name === name);
    if (!found) throw new Error(`there is no ${name}; a name is SUITE/JOB, suites: ${Object.keys(SUITES).join(' ')}`);
    return found;
  });
}

const groups = new Set();
const end = (group) => { try { process.kill(-group, 'SIGKILL'); } catch { /* it has ended */ } };
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    groups.forEach(end);
    process.exit(1);
  });
}

// Runs a job in a process group of its own, so that a hang ends with its children.
function run(job) {
  return new Promise((resolve) => {
    const began = Date.now();
    const parts = [];
    const child = spawn(job.command[0], job.command.slice(1),
      { env: { ...base, ...job.env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      parts.push(Buffer.from(`\nerror: ended after ${LIMIT_MS / 1000} s without a result\n`));
      end(child.pid);
    }, LIMIT_MS);
    if (child.pid) groups.add(child.pid);
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => parts.push(data));
    child.on('error', (error) => parts.push(Buffer.from(`error: ${error.message}\n`)));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      groups.delete(child.pid);
      const text = Buffer.concat(parts).toString().replace(/\x1b\[[0-9;]*m/g, '');
      resolve({ job, text, status: signal ?? code, seconds: (Date.now() - began) / 1000 });
    });
  });
}

const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const took = [];

function settle({ job, text, status, seconds }) {
  let [passed, failed, skipped] = job.count.map((pattern) => last(text, pattern));
  if ((status !== 0 && !failed) || (passed === undefined && failed === undefined)) failed = 1;
  total.passed += passed ?? 0;
  total.failed += failed ?? 0;
  total.skipped += skipped ?? 0;
  took.push({ name: job.name, seconds });
  const lines = text.split('\n').filter((line) => !ROUTINE.test(line));
  console.log(`== ${job.name}: ${job.command.join(' ')} (${seconds.toFixed(1)} s)\n${lines.join('\n').trimEnd()}`);
  if (!failed) return;
  failures.push(`failed in ${job.name} (status ${status}):`,
    ...lines.filter((line) => COMPLAINTS.test(line)).slice(0, SHOWN),
    `rerun: make test-one T=${job.name}${build === 'build' ? '' : ` BUILD=${build}`}`);
}

async function main() {
  const jobs = jobsWanted().sort((a, b) => rank(a) - rank(b));
  const aside = (job) => ALONE.has(job.name.replace(/^san\//, 'unit/'));
  const alone = jobs.filter(aside);
  const queue = jobs.filter((job) => !aside(job));
  const worker = async () => { for (let job; (job = queue.shift());) settle(await run(job)); };
  await Promise.all(Array.from({ length: JOBS }, worker));
  for (const job of alone) settle(await run(job));
  const slowest = took.sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
  console.log('\nslowest:');
  for (const { name, seconds } of slowest) console.log(`${seconds.toFixed(1).padStart(8)} s  ${name}`);
  console.log();
  if (failures.length) console.log(failures.join('\n'));
  const { passed, failed, skipped } = total;
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failed ? 1 : 0;
}

await main();
