// report: bench.mjs' figures as Markdown, as docs/cpu-report.md shows them.

const round = (x, digits = 0) => x.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (x, digits = 1) => `${round(100 * x, digits)} %`;

export function table(header, rows, right = 1) {
  const cells = [header, ...rows].map((row) => row.map(String));
  const width = header.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const line = (row) => `| ${row.map((c, i) => (i < right ? c.padEnd(width[i]) : c.padStart(width[i]))).join(' | ')} |`;
  const rule = `|${width.map((w, i) => (i < right ? '-'.repeat(w + 2) : `${'-'.repeat(w + 1)}:`)).join('|')}|`;
  return [line(cells[0]), rule, ...cells.slice(1).map(line)].join('\n');
}

function conditions(r) {
  const { flops, read, update } = r.machine;
  const rates = Object.entries(flops).map(([k, v]) => `${k.replace(/_(fp32|bf16)$/, ' $1')} ${round(v / 1e9)}`);
  return [
    `${r.processor}, ${r.threads} threads, ${r.date.slice(0, 10)}, commit ${r.commit}, load average ${round(r.load[0], 1)} before and`,
    `${round(r.load[1], 1)} after, ${round(r.seconds)} s. Best rates in this run: ${rates.join(', ')} GFLOP/s;`,
    `reading ${round(read / 1e9)}, AdamW's streams ${round(update / 1e9)} GB/s.`,
  ].join('\n');
}

function speed(rows) {
  const body = rows.map((row) => {
    const peer = rows.find((p) => p.engine === 'PyTorch' && p.shape === row.shape && p.precision === row.precision);
    return [
      `${row.shape} (${row.words})`, row.engine, row.precision, row.isa ?? '', round(row.tokens_per_second), round(row.ms, 1),
      `${round(row.least, 1)}-${round(row.most, 1)}`, row.steps, peer && peer !== row ? round(peer.ms / row.ms, 1) : '',
      ...(row.floor_ms ? [round((row.tokens_per_second * row.ms) / row.floor_ms), percent(row.floor_ms / row.ms, 0)] : ['', '']),
    ];
  });
  return table(['shape', 'engine', 'precision', 'instructions', 'tokens/s', 'ms a step', 'range', 'steps', 'times PyTorch', 'floor, tokens/s', 'of the floor'], body, 4);
}

function shares(rows, best) {
  const shown = rows.filter((row) => row.operations && row.isa === best);
  const names = Object.keys(shown[0].operations);
  const other = (row) => row.ms - names.reduce((sum, op) => sum + row.operations[op], 0);
  const cell = (ms, row) => `${round(ms, 2)} ms ${percent(ms / row.ms)}`;
  return table(
    ['operation', ...shown.map((row) => `${row.shape} ${row.precision}`)],
    [...names.map((op) => [op, ...shown.map((row) => cell(row.operations[op], row))]), ['everything else', ...shown.map((row) => cell(other(row), row))]],
  );
}

function statistics(rows, best) {
  const shown = rows.filter((row) => row.statistics !== null && row.statistics !== undefined && row.isa === best);
  const direct = ['tracked', 'window_sums', 'weighted_sums', 'gather_rows', 'scores', 'sum_squares', 'download', 'measure'];
  return table(
    ['statistics', 'step with over step without', 'their own operations'],
    shown.map((row) => [`${row.shape} ${row.precision}`, percent(row.statistics), percent(direct.reduce((sum, op) => sum + row.operations[op], 0) / row.ms)]),
  );
}

const duration = (ms) => (ms < 120e3 ? `${round(ms / 1e3)} s` : `${round(ms / 60e3, 1)} minutes`);

/** How long the presets take as they are: a step of the run times all of them. */
function wholeRuns(rows) {
  const lines = rows.filter((row) => row.run_steps).map((row) => (
    `${row.shape}, ${row.engine} ${row.precision}${row.isa ? ` ${row.isa}` : ''}: ${row.run_steps} steps x ${round(row.ms, 1)} ms = ${duration(row.run_steps * row.ms)}`));
  return ['Whole runs, extrapolated from the steps above:', ...lines].join('\n');
}

function memory(m) {
  if (m.failed) return `Peak memory of the trainer: not measured (${m.failed})`;
  return `Peak resident memory of tokenfate-trainer, gulliver preset, ${m.epochs} epochs: ${round(m.bytes / 1e6)} MB.`;
}

export function printReport(report) {
  const { best } = report;
  const parts = [conditions(report), speed(report.rows), shares(report.rows, best)];
  if (report.rows.some((row) => typeof row.statistics === 'number')) parts.push(statistics(report.rows, best));
  if (report.rows.some((row) => row.run_steps)) parts.push(wholeRuns(report.rows));
  const refused = Object.entries(report.refused).map(([engine, why]) => `Not measured here: ${engine} (${why}).`);
  parts.push([memory(report.memory), ...refused].join('\n'));
  console.log(parts.join('\n\n'));
}
