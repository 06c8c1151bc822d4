// modules: looks at the object files of a build (nm): no circle of calls among the modules of
// a room, and a public function is declared in the header of the file that defines it and in
// no other. A module is one source file; the variants of a file that is compiled for each
// instruction set are one module. Prints each violation.
//   node tests/lib/modules.mjs BUILD
import fs from 'node:fs';
import { execFileSync } from 'node:child_process';

const build = process.argv[2];
const rooms = ['config', 'lab', 'gpu', 'db', 'server'];
const run = (...words) => execFileSync(words[0], words.slice(1), { encoding: 'utf8', maxBuffer: 1 << 28 });
const tracked = run('git', 'ls-files', '-co', '--exclude-standard', ...rooms).split('\n').filter(fs.existsSync);

// Symbols that each module defines and uses; objects of files that are gone are left out.
const defines = {}, uses = {}, owner = {};
for (const source of tracked.filter((file) => /\.(c|cu)$/.test(file))) {
  const module = source.replace(/\.\w+$/, '');
  const folder = `${build}/obj/${source.slice(0, source.lastIndexOf('/'))}`;
  const name = module.slice(module.lastIndexOf('/') + 1);
  const objects = !fs.existsSync(folder) ? [] : fs.readdirSync(folder)
    .filter((file) => file === `${name}.o` || new RegExp(`^${name}\\.(plain|avx\\w*|amx)\\.o$`).test(file));
  defines[module] = new Set();
  uses[module] = new Set();
  for (const object of objects)
    for (const line of run('nm', `${folder}/${object}`).split('\n')) {
      const [, kind, symbol] = line.match(/([A-Za-z]) (\S+)$/) ?? [];
      if (kind === 'U') uses[module].add(symbol);
      else if ('TDBR'.includes(kind ?? '-')) {
        defines[module].add(symbol);
        owner[symbol] ??= module;
      }
    }
}
const modules = Object.keys(defines);
if (!modules.some((module) => defines[module].size)) throw new Error(`${build} has no objects`);

// Tarjan's strongly connected components.
const calls = (module) => [...uses[module]].map((symbol) => owner[symbol]).filter((to) => to && to !== module);
const index = {}, low = {}, stack = [];
let next = 0;
function visit(module) {
  index[module] = low[module] = next++;
  stack.push(module);
  for (const to of new Set(calls(module))) {
    if (index[to] === undefined) visit(to);
    if (stack.includes(to)) low[module] = Math.min(low[module], low[to]);
  }
  if (low[module] !== index[module]) return;
  const circle = stack.splice(stack.indexOf(module));
  if (circle.length < 2) return;
  console.log(`a circle of ${circle.length} modules:`);
  for (const from of circle)
    for (const symbol of uses[from])
      if (owner[symbol] !== from && circle.includes(owner[symbol]))
        console.log(`  ${from} calls ${owner[symbol]}: ${symbol}`);
}
for (const module of modules) if (index[module] === undefined) visit(module);

// Prototypes start in the first column; `request_handler a, b;` declares by a type.
const headers = tracked.filter((file) => /\.(h|cuh)$/.test(file)).map((file) => ({ file,
  text: fs.readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '') }));
const declared = new Map();
for (const { file, text } of headers)
  for (const [statement] of text.matchAll(/^(?!#|static|struct \w+ \{|union|enum \w* ?\{)[a-z][^;{}]*;/gm)) {
    const names = statement.startsWith('request_handler') ? statement.match(/\w+/g).slice(1)
      : [statement.match(/\b(\w+)\(/)?.[1]];
    for (const name of names)
      if (name) declared.set(name, [...(declared.get(name) ?? []), file]);
  }
// C++ mangles a function's name to its length, itself and its parameters.
const plain = (symbol) => {
  const [, length, rest] = symbol.match(/^_Z(\d+)(.*)/) ?? [];
  return length ? rest.slice(0, length) : symbol;
};
// The variants for each instruction set have one header for all of them (gpu/cpu/cpu_loops.h).
const variant = /_(plain|avx\w*|amx)$/;
for (const module of modules)
  for (const symbol of new Set([...defines[module]].map(plain)))
    if (!variant.test(symbol))
      for (const file of declared.get(symbol) ?? [])
        if (file.replace(/\.\w+$/, '') !== module) console.log(`${file} declares ${symbol} of ${module}`);
