// rooms: checks #include lines against the table of rooms in CONTRIBUTING.md. A file belongs
// to the row with the longest path that it starts with; it may include its own room, the
// rooms and the libraries of that row, and the C library. Prints each violation.
import fs from 'node:fs';
import { execFileSync } from 'node:child_process';

const libraries = {
  'jansson': /^jansson\.h$/,
  'libsodium': /^sodium\.h$/,
  'PCRE2': /^pcre2\.h$/,
  'oneDNN': /^(oneapi\/dnnl\/)?dnnl\w*\.h$/,
  'OpenMP': /^omp\.h$/,
  'CUDA': /^(cuda\w*|cublas\w*)\.h$/,
  'SQLite': /^sqlite3\.h$/,
  'libutf8proc': /^utf8proc\.h$/,
  'libmicrohttpd': /^microhttpd\.h$/,
  'libuuid': /^uuid\/uuid\.h$/,
  'libcurl': /^curl\/curl\.h$/,
};
const libc = new RegExp('^(' + ['assert', 'cpuid', 'ctype', 'dirent', 'dlfcn', 'errno', 'fcntl', 'fenv', 'float', 'glob',
  'getopt', 'gnu/libc-version', 'argp', 'grp', 'pwd', 'immintrin', 'inttypes', 'limits', 'linux/tcp', 'locale', 'math', 'netdb',
  'netinet/\\w+',
  'arpa/inet', 'poll',
  'pthread', 'sched', 'semaphore', 'signal', 'spawn', 'stdarg', 'stdatomic', 'stdbool', 'stddef', 'stdint', 'stdio',
  'stdlib', 'string', 'strings', 'sys/\\w+', 'syslog', 'termios', 'time', 'unistd', 'wchar'].join('|') + ')\\.h$');

// Rows `| path | holds | rooms | libraries |` of C rooms. Words in backquotes are paths.
const paths = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map((m) => m[1]);
const rows = fs.readFileSync('CONTRIBUTING.md', 'utf8').split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => cells.length === 6 && /^`(config|lab|gpu|db|server)\//.test(cells[1]))
  .map(([, path, , rooms, libs]) => ({ path: paths(path)[0], rooms: paths(rooms),
    libs: libs.split(/,\s*/).filter(Boolean) }));
if (rows.length < 10) throw new Error('CONTRIBUTING.md has no table of rooms');
for (const row of rows)
  for (const lib of row.libs)
    if (!libraries[lib]) console.log(`CONTRIBUTING.md: ${row.path}: no library is called ${lib}`);

// A folder's name stands for the files that lie directly in it.
const lies = (file, room) => file === room || (room.endsWith('/') && file.startsWith(room) &&
  !file.slice(room.length).includes('/'));
const allowed = (row, include) => include[0] === '<'
  ? libc.test(include.slice(1, -1)) || row.libs.some((lib) => libraries[lib].test(include.slice(1, -1)))
  : [row.path, ...row.rooms].some((room) => lies(include.slice(1, -1), room));

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'config', 'lab', 'gpu', 'db', 'server'],
  { encoding: 'utf8' }).split('\n').filter((file) => /\.(c|h|cu|cuh)$/.test(file) && fs.existsSync(file));
for (const file of files) {
  const row = rows.filter(({ path }) => file.startsWith(path)).sort((a, b) => b.path.length - a.path.length)[0];
  if (!row) {
    console.log(`${file}: no room in CONTRIBUTING.md holds it`);
    continue;
  }
  for (const [, include] of fs.readFileSync(file, 'utf8').matchAll(/^#include\s+([<"][^>"]+[>"])/gm))
    if (!allowed(row, include)) console.log(`${file}: ${row.path} may not include ${include}`);
}
