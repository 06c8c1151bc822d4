// commit: which sources a benchmark measured: the commit, or outside a repository the
// build's name.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const git = (...args) => execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

export function commit() {
  try {
    return git('rev-parse', '--short=10', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') ? ', changed' : '');
  } catch {
    return `build ${readFileSync(join(process.env.TOKENFATE_BUILD ?? 'build', 'build-id'), 'utf8').trim()}`;
  }
}
