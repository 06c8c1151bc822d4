// server: the real binary, started for a test on a free loopback port.
//
// startServer({args, env, dataDir}) resolves once the server answers. The data
// folder is the given one, or a fresh one that stop() removes. TOKENFATE_BUILD
// names the build folder (default: build).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const START_SECONDS = 60; // sanitized builds start slowly
const STOP_SECONDS = 60;

export const BINARY = path.resolve(process.env.TOKENFATE_BUILD ?? 'build', 'tokenfate');

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

// Resolves with the address in "listening on http://…" (or https), rejects if the process
// ends or says nothing for too long.
function listening(child, log) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${BINARY} ${why}\n${log()}`));
    const timer = setTimeout(() => fail(`did not listen within ${START_SECONDS} s`), 1000 * START_SECONDS);
    const look = () => {
      const [, url] = /listening on (https?:\/\/[^\s"']+:\d+)/.exec(log()) ?? [];
      if (url) settle(() => resolve(url));
    };
    const ended = (code, signal) => settle(() => fail(`ended with ${signal ?? code}`));
    const failed = (error) => settle(() => fail(error.message));
    const settle = (end) => {
      clearTimeout(timer);
      child.stdout.off('data', look);
      child.stderr.off('data', look);
      child.off('exit', ended);
      child.off('error', failed);
      end();
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('exit', ended);
    child.on('error', failed);
  });
}

// A trainer of a server that was killed may still be writing its last file.
export const removeFolder = (folder) => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });

// files: the limit of its open files.
export async function startServer({ args = [], env = {}, dataDir, files } = {}) {
  const data = dataDir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'tokenfate-test-'));
  const [program, ...first] = files ? ['sh', '-c', `ulimit -n ${files}; exec "$0" "$@"`, BINARY] : [BINARY];
  const child = spawn(program, [...first, 'serve', '--listen', '127.0.0.1:0', '--data', data, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  // A test that fails may leave its server behind: that must not keep this process
  // alive (the exit handler ends the server).
  for (const handle of [child, child.stdout, child.stderr]) handle.unref();
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  const log = () => text;
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => {
    running.delete(child);
    resolve({ code, signal });
  }));

  const kill = async (signal = 'SIGKILL') => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 1000 * STOP_SECONDS);
    const how = await ended;
    clearTimeout(timer);
    return how;
  };
  const stop = async () => {
    const asked = running.has(child);
    const how = asked ? await kill('SIGTERM') : await ended;
    if (!dataDir) removeFolder(data);
    // A fault on the way out is a fault, whatever the test was about.
    if (asked && how.code !== 0) throw new Error(`the server did not end well: ${JSON.stringify(how)}\n${text}`);
    return how;
  };

  let url;
  try {
    url = await listening(child, log);
  } catch (error) {
    child.kill('SIGKILL');
    if (!dataDir) removeFolder(data);
    throw error;
  }
  const api = (route, init) => fetch(`${url}/api/v1${route}`, init);
  return { url, api, pid: child.pid, dataDir: data, log, kill, stop };
}
