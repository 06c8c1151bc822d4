// processes: the child processes of a server, and the one that reads a text.
import fs from 'node:fs';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

// A child is listed with the thread that started it.
export const childrenOf = (server) => fs.readdirSync(`/proc/${server.pid}/task`)
  .flatMap((task) => fs.readFileSync(`/proc/${server.pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number));

const niceness = (pid) => Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[16]);

// The process that reads a text, stopped while it reads: that is when it is at the lowest
// priority. `known`: the children before.
export async function stopReader(server, known, seconds = 60) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(10)) {
    const pid = childrenOf(server).find((child) => !known.includes(child));
    if (!pid || niceness(pid) !== 19) continue;
    process.kill(pid, 'SIGSTOP');
    return pid;
  }
  assert.fail(`no process reads a text within ${seconds} s`);
}

// A text of n bytes or some more, which no other number makes.
export function largeText(n, number = 0) {
  const words = Array.from({ length: 500 }, (_, i) => `${'abcdefghij'[i % 10]}${'klmnopqrst'[i % 7]}${'uvwxyz'[i % 6]}${'aeiou'[i % 5]}`);
  let line = `Text ${number} of its kind:`;
  for (let i = 0; line.length < 4000; i++) line += ` ${words[(i * i + number) % words.length]}`;
  return Buffer.from(`${line}\r\n`.repeat(Math.ceil(n / (line.length + 2))));
}
