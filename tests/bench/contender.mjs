// contender: a benchmark's competitor as a process one talks to: it gets a spec,
// answers once it is ready, then does one step for each command. Competitors of one
// shape stay open side by side and sleep while another one steps, so that their
// steps can be interleaved: what disturbs the machine disturbs all of them alike.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Contender {
  /** name: for people; command, args, env: the process. */
  constructor({ name, command, args, env = {}, ...about }) {
    Object.assign(this, { name, command, args, env, about, answers: [] });
  }

  /** Starts the process on a spec; resolves to its first line, rejects with its last complaint. */
  async open(spec) {
    this.child = spawn(this.command, this.args, { env: { ...process.env, ...this.env } });
    this.complaint = '';
    this.child.stderr.on('data', (data) => (this.complaint = String(data).trim().split('\n').at(-1)));
    this.child.stdin.on('error', () => {}); // a process that ended has said why
    this.closed = new Promise((resolve) => {
      this.child.once('error', (error) => resolve((this.complaint ||= error.message)));
      this.child.once('close', resolve);
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.ready = await this.ask(JSON.stringify(spec));
    return this.ready;
  }

  async ask(line) {
    this.child.stdin.write(`${line}\n`);
    const { value, done } = await this.lines.next();
    if (!done) return JSON.parse(value);
    await this.closed;
    throw new Error(this.complaint || `${this.name} ended without a word`);
  }

  /** Asks and keeps the answer. */
  async step(command) {
    this.answers.push(await this.ask(command));
  }

  /** Ends the process and waits until it is gone. */
  async close() {
    this.child.stdin.end('end\n');
    await this.closed;
  }
}

/** Middle value, of an even number the mean of the two. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
