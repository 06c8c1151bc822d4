// page_tools: what the scripts behind the pages of measurements share: records of a
// job as columns, means with their 95 % interval over seeds, and charts as SVG.
import { call } from './page_runs.mjs';
import { parseCsv, studentHalf } from './recompute_findings.mjs';

export const TAIL = 50; // records: "at the end" is a mean over the last tenth of 500 epochs
export const COUNT_CLASSES = ['0', '1', '2–3', '4–9', '10–29', '30–99', '100–999', '≥ 1000'];

const known = (x) => x !== null && x !== undefined && Number.isFinite(x);
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean and half the 95 % interval (Student's t) over seeds; null without values. */
export function summary(values) {
  const there = values.filter(known);
  if (!there.length) return null;
  const middle = mean(there);
  if (there.length < 2) return { mean: middle, half: null, n: 1 };
  const variance = there.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (there.length - 1);
  return { mean: middle, half: studentHalf(there.length - 1) * Math.sqrt(variance / there.length), n: there.length };
}

const signed = (x, digits) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(digits)}`;
/** The same as text; of a single run the value alone. */
export function cell(values, { digits = 2, sign = false } = {}) {
  const { mean: middle, half } = summary(values) ?? {};
  if (!known(middle)) return '–';
  const text = sign ? signed(middle, digits) : signed(middle, digits).replace('+', '');
  return half === null ? text : `${text} ± ${half.toFixed(digits)}`;
}

export const row = (cells) => `| ${cells.join(' | ')} |`;
export const table = (head, rows) => [row(head), `|${'---|'.repeat(head.length)}`, ...rows.map(row)].join('\n');

/** The records of a finished job: an array of {column: value or null}. */
export async function recordsOf(url, job) {
  const answer = await fetch(`${url}/api/v1/jobs/${job.id}/epochs?to=${job.epochs}`, { headers: { Accept: 'text/csv' } });
  if (!answer.ok) throw new Error(`records of ${job.id}: ${answer.status}`);
  const rows = parseCsv(await answer.text());
  if (rows.length !== job.epochs + 1) throw new Error(`${job.id}: ${rows.length} records, ${job.epochs + 1} expected`);
  return rows;
}

/** Mean of a column over the last TAIL records; null if any is missing. */
export function atEnd(rows, column) {
  const values = rows.slice(-TAIL).map((record) => record[column]);
  return values.every(known) ? mean(values) : null;
}

/** The finished runs among jobsOf(): those that ended otherwise are named and left out. */
export function finishedRuns(runs) {
  const bad = runs.filter(({ job }) => job.state === 'failed' || job.state === 'cancelled');
  for (const { setting, seed, job } of bad) console.log(`(${setting}, seed ${seed}: ${job.state}: ${job.error?.message ?? job.error ?? 'no reason given'})`);
  return runs.filter(({ job }) => job.state === 'succeeded');
}

export async function provenance(runs) {
  const builds = new Set();
  for (const { url } of runs) builds.add((await call(url, '/version')).version);
  const days = runs.map(({ job }) => job.finished_at.slice(0, 10)).sort();
  return `build ${[...builds].join(', ')}; ${[...new Set([days[0], days.at(-1)])].join(' to ')}; ${runs.length} runs`;
}

/* ---- charts ---- */

export const COLORS = ['#0b6fb8', '#d1495b', '#2f8f4e', '#8a5cc2', '#c77700', '#12939a', '#7a4a2b', '#5b6770', '#d06bb3', '#93a11a'];
const WIDTH = 430, HEIGHT = 300, LEFT = 52, RIGHT = 26, TOP = 28, BOTTOM = 40, LEGEND = 18, KEY = 198, NAMES_WIDTH = 108, BESIDE = 2.2;
const GRID = '#e3e6ea', AXIS = '#9aa3ad';
const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

function niceTicks(low, high) {
  const rough = (high - low) / 7;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// Points that follow each other, so that a missing value is a gap.
function pieces(series) {
  const all = [[]];
  series.x.forEach((x, i) => (known(series.y[i]) ? all.at(-1).push(i) : all.push([])));
  return all.filter((piece) => piece.length);
}

const axisNumber = (x) => String(x).replace('-', '−');
const withBand = ({ y, half }) => y.flatMap((value, i) => (known(value) ? [value - (half?.[i] ?? 0), value + (half?.[i] ?? 0)] : []));

function bandSvg(one, piece, X, Y) {
  const at = (i, shift) => `${X(one.x[i])} ${Y(one.y[i] + shift * one.half[i])}`;
  return `<path d="M${piece.map((i) => at(i, 1)).join('L')}L${[...piece].reverse().map((i) => at(i, -1)).join('L')}Z" fill="${one.color}" fill-opacity=".15"/>`;
}

const barsSvg = (one, piece, X, Y) => piece.map((i) => `<path d="M${X(one.x[i])} ${Y(one.y[i] - one.half[i])}V${Y(one.y[i] + one.half[i])}" stroke="${one.color}" stroke-opacity=".6"/>`).join('');

function linesSvg(panel, left, top) {
  const { xTicks, series, lines = [], bars } = panel;
  const xs = series.flatMap(({ x }) => x);
  const ys = [...series.flatMap(withBand), ...lines.map(({ y }) => y)];
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [yMin, yMax] = [Math.min(...ys), Math.max(...ys)];
  const pad = (yMax - yMin) * 0.04;
  const [y0, y1] = [yMin - pad, yMax + pad];
  const X = (x) => (left + LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const Y = (y) => (top + TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const out = [];
  for (const y of niceTicks(y0, y1)) out.push(`<path d="M${X(x0)} ${Y(y)}H${X(x1)}" stroke="${y ? GRID : AXIS}"/><text x="${left + LEFT - 6}" y="${Number(Y(y)) + 4}" text-anchor="end">${axisNumber(y)}</text>`);
  for (const { x, label } of xTicks ?? niceTicks(x0, x1).map((x) => ({ x, label: axisNumber(x) }))) out.push(`<text x="${X(x)}" y="${top + HEIGHT - BOTTOM + 16}" text-anchor="middle">${escape(label)}</text>`);
  for (const { y, label } of lines) out.push(`<path d="M${X(x0)} ${Y(y)}H${X(x1)}" stroke="#444" stroke-dasharray="4 3"/><text x="${X(x1)}" y="${Number(Y(y)) - 4}" text-anchor="end" fill="#444">${escape(label)}</text>`);
  series.forEach((one, number) => {
    const beside = bars ? (number - (series.length - 1) / 2) * BESIDE : 0; // so that the bars of two series can be told apart
    const at = (x) => (Number(X(x)) + beside).toFixed(1);
    for (const piece of pieces(one)) {
      if (one.half) out.push((bars ? barsSvg : bandSvg)(one, piece, at, Y));
      out.push(`<path d="M${piece.map((i) => `${at(one.x[i])} ${Y(one.y[i])}`).join('L')}" fill="none" stroke="${one.color}" stroke-width="1.6"${one.dash ? ' stroke-dasharray="5 3"' : ''}/>`);
    }
  });
  return out;
}

// One line for each of panel.rows, with a dot and its interval for each series.
function dotsSvg(panel, left, top) {
  const { rows, series } = panel;
  const values = [0, ...series.flatMap(withBand)];
  const [v0, v1] = [Math.min(...values), Math.max(...values)];
  const height = (HEIGHT - TOP - BOTTOM) / rows.length;
  const X = (value) => (left + NAMES_WIDTH + (value - v0) / (v1 - v0) * (WIDTH - NAMES_WIDTH - RIGHT)).toFixed(1);
  const out = niceTicks(v0, v1).map((value) => `<path d="M${X(value)} ${top + TOP}V${top + HEIGHT - BOTTOM}" stroke="${value ? GRID : AXIS}"/><text x="${X(value)}" y="${top + HEIGHT - BOTTOM + 16}" text-anchor="middle">${axisNumber(value)}</text>`);
  rows.forEach((name, i) => {
    const middle = top + TOP + height * (i + 0.5);
    out.push(`<text x="${left + NAMES_WIDTH - 8}" y="${(middle + 4).toFixed(1)}" text-anchor="end">${escape(name)}</text>`);
    series.forEach(({ y, half, color }, number) => {
      if (!known(y[i])) return;
      const at = (middle + (number - (series.length - 1) / 2) * height / (series.length + 1)).toFixed(1);
      out.push(`<path d="M${X(y[i] - half[i])} ${at}H${X(y[i] + half[i])}" stroke="${color}" stroke-width="1.4"/><circle cx="${X(y[i])}" cy="${at}" r="2.6" fill="${color}"/>`);
    });
  });
  return out;
}

function panelSvg(panel, left, top) {
  const { title, xLabel, yLabel, rows } = panel;
  const out = [`<text x="${left + LEFT}" y="${top + 17}" font-weight="600">${escape(title)}</text>`];
  out.push(`<text x="${left + (LEFT + WIDTH - RIGHT) / 2}" y="${top + HEIGHT - 6}" text-anchor="middle">${escape(xLabel)}</text>`);
  if (yLabel) out.push(`<text transform="translate(${left + 12} ${top + (TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escape(yLabel)}</text>`);
  return [...out, ...(rows ? dotsSvg : linesSvg)(panel, left, top)].join('\n');
}

/** Panels in lines of `perLine`, under each line the legend of its series. A panel is
 * {title, xLabel, yLabel, xTicks?: [{x, label}], bars?, series: [{label, color, dash?, x,
 * y, half?}], lines?: [{y, label}]}, or with rows: [name] a chart of dots, one of y a row.
 * half: half the width of the band, or of a bar at each point if `bars`. The background
 * is the picture's own, so that it can be read on a dark page too. */
export function chartSvg(panels, description, perLine = panels.length) {
  const out = [];
  const perLegend = Math.max(1, Math.floor(WIDTH * perLine / KEY));
  let top = 0;
  for (let from = 0; from < panels.length; from += perLine) {
    const line = panels.slice(from, from + perLine);
    const legend = [...new Map(line.flatMap(({ series }) => series.map(({ label, color, dash }) => [label, { color, dash }])))];
    out.push(...line.map((panel, i) => panelSvg(panel, i * WIDTH, top)));
    legend.forEach(([label, { color, dash }], i) => {
      const [x, y] = [LEFT + KEY * (i % perLegend), top + HEIGHT + 14 + LEGEND * Math.floor(i / perLegend)];
      out.push(`<path d="M${x} ${y - 4}h22" stroke="${color}" stroke-width="3"${dash ? ' stroke-dasharray="5 3"' : ''}/><text x="${x + 28}" y="${y}">${escape(label)}</text>`);
    });
    top += HEIGHT + 14 + LEGEND * Math.ceil(legend.length / perLegend);
  }
  return [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH * perLine} ${top}" font-family="system-ui, sans-serif" font-size="11" fill="#222" role="img">`,
    `<title>${escape(description)}</title><rect width="100%" height="100%" fill="#fff"/>`, ...out, '</svg>', ''].join('\n');
}
