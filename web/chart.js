// One line chart: uPlot on a canvas. This module adds colours from CSS variables that
// follow the theme, a legend that shows the values at the cursor and switches lines
// off, labelled horizontal lines for closed forms, zoom shared by several charts, a
// keyboard cursor, and the export as a picture.

import uPlot from "./vendor/uPlot.esm.js";
import { h, setText } from "./dom.js";
import { count, fixed, NONE, significant, tickLabels } from "./format.js";
import { fence } from "./outliers.js";
import { axisStyle, axisWidth, dotted, font, SCREEN, swatch, textWidth } from "./pen.js";
import { pictureButton } from "./picture.js";

const REDRAW_MS = 120; // shortest time between two redraws of live data
const LABEL_GAP = 14; // pixels between labels of horizontal lines, and between their rows
const LABEL_LEFT = 6; // pixels between a line and its label
const MARGIN = 22; // least pixels right of the plot: half a label of the x axis
const OUTLIER = 9; // pixels of the triangle of a value beyond the axis
const BANDED_MAX = 4; // with more lines their bands would be one mud, so none is drawn
const BAND_ALPHAS = [0.1, 0.16]; // opacity of a series' bands, the innermost last
const NARROW = 520; // pixels: narrower charts have fewer axis labels

// Last epoch on the x axis. The axis doubles as the job grows, up to the job's end;
// with the whole range from the start, a young job would be a dot in the corner.
export function horizon(lastEpoch, epochs) {
  let reach = 20;
  while (reach < lastEpoch) reach *= 2;
  return Math.max(1, Math.min(reach, Math.max(epochs, lastEpoch)));
}

// Cursor and zoom that several charts over the same epochs share.
export class Linked {
  constructor(onchange) {
    this.key = uPlot.sync(`linked-${Math.random()}`).key;
    this.charts = new Set();
    this.full = [0, 1];
    this.zoom = null;
    this.onchange = onchange;
  }

  get range() {
    return this.zoom ?? this.full;
  }

  setFull(from, to) {
    this.full = [from, to];
  }

  setZoom(zoom) {
    this.zoom = zoom;
    for (const chart of this.charts) chart.redraw();
    this.onchange(zoom);
  }
}

// options: {label, height, linked, subject, xLabel, bare}. subject() returns {name,
// file} of the job or sweep that is drawn; bare hides the epoch in the legend. Call
// show(content) to draw.
export class Chart {
  constructor(options) {
    this.options = options;
    this.hidden = new Set(); // keys of series switched off
    this.content = null;
    this.plot = null;
    this.canvas = h("div.plot", {
      tabIndex: 0,
      role: "img",
      "aria-label": options.label,
      onkeydown: (event) => this.onKey(event),
      onblur: () => this.moveCursor(null),
    });
    this.legend = h("div.legend", { role: "group", "aria-label": `${options.label}: series` });
    this.save = pictureButton(options.label, () => this.figure());
    this.save.disabled = true; // until the first epoch
    this.beyond = h("span.meta.beyond", { hidden: true });
    this.root = h("div.chart", null, this.canvas, h("div.under", null, this.legend, this.beyond, this.save));
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.canvas);
    this.onTheme = () => this.build();
    document.addEventListener("themechange", this.onTheme);
    options.linked.charts.add(this);
  }

  destroy() {
    clearTimeout(this.timer);
    this.observer.disconnect();
    document.removeEventListener("themechange", this.onTheme);
    this.options.linked.charts.delete(this);
    this.plot?.destroy();
    this.plot = null;
  }

  // content: {title, note, x, series: [{key, label, title, color, dash, sparse, values,
  // band, note}], lines: [{key, label, value, color}], y: {label, min, log, format}}.
  // title and note of the content appear in the picture only. band: pairs of arrays
  // [low, high], the outermost first; drawn while few lines are shown. note(index) of a series: small text beside the
  // value. sparse: some epochs have no value, and the line bridges them.
  show(content) {
    const before = this.content;
    this.content = content;
    this.save.disabled = content.x.length === 0;
    if (!this.plot || !sameShape(before, content)) {
      this.build();
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.redraw();
    }, REDRAW_MS);
  }

  redraw() {
    if (!this.plot) return;
    const [min, max] = this.options.linked.range;
    this.plot.batch(() => {
      this.plot.setData(this.data(), false);
      this.plot.setScale("x", { min, max });
    });
    this.updateLegend();
  }

  // uPlot's columns: x, then for each series the edges of its bands and its line.
  // uplotSeries has the same order.
  data() {
    const rows = [];
    for (const series of this.content.series) {
      for (const [low, high] of series.band ?? []) rows.push(high, low);
      rows.push(series.values);
    }
    const shown = this.content.series.filter(({ key }) => !this.hidden.has(key)).map(({ values }) => values);
    const lines = this.shownLines().map(({ value }) => value); // they widen the axis too
    this.fence = this.content.y.log ? null : fence([...shown, lines]);
    const clipped = this.fence ? rows.map((row) => row.map((value) => (value === null ? null : this.fence.clip(value)))) : rows;
    return [this.content.x, ...clipped];
  }

  // Series with values that lie beyond the axis: [{color, at: [{index, isHigh}]}].
  outliers() {
    if (!this.fence) return [];
    return this.content.series
      .filter(({ key }) => !this.hidden.has(key))
      .map(({ color, values }) => ({ color, at: values.flatMap((value, index) => (this.fence.isOut(value) ? [{ index, isHigh: value > 0 }] : [])) }));
  }

  beyondText() {
    const n = this.outliers().reduce((sum, { at }) => sum + at.length, 0);
    return n ? `Triangles: ${count(n)} ${n === 1 ? "value" : "values"} beyond the axis.` : "";
  }

  build() {
    if (!this.content || !this.canvas.isConnected) return;
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    this.plot?.destroy();
    this.buildLegend();
    this.plot = new uPlot(this.screenOptions(width), this.data(), this.canvas);
    this.redraw();
  }

  plotOptions({ width, height, xLabel }, pen) {
    const { series, bands } = this.uplotSeries(pen);
    return {
      width,
      height,
      series,
      bands,
      padding: [10 * pen.zoom, (plot) => this.marginWidth(plot.width / pen.zoom) * pen.zoom, 0, 0],
      legend: { show: false },
      scales: { x: { time: false }, y: this.yScale() },
      axes: this.axes(width / pen.zoom, xLabel, pen),
      hooks: { draw: [(plot) => this.drawLines(plot, pen), (plot) => this.drawOutliers(plot, pen)] },
    };
  }

  screenOptions(width) {
    const { linked, height, xLabel } = this.options;
    const options = this.plotOptions({ width, height, xLabel }, SCREEN);
    const noPoints = { show: false };
    return {
      ...options,
      cursor: {
        y: false, // a horizontal line would look like a closed form
        points: noPoints,
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => linked.setZoom(null) },
        sync: { key: linked.key, scales: ["x", null], filters: { pub: isMove, sub: isMove } },
      },
      hooks: { ...options.hooks, setCursor: [() => this.updateLegend()], setSelect: [(plot) => this.onSelect(plot)] },
    };
  }

  // The figure for picture.js: the visible lines over the visible epochs.
  figure() {
    const { title, note, series } = this.content;
    const drawn = series.filter(({ key, values }) => !this.hidden.has(key) && values.some(Number.isFinite));
    const [min, max] = this.options.linked.range;
    return {
      title,
      note: [note, this.beyondText()].filter(Boolean).join(" "),
      subject: this.options.subject(),
      legend: drawn,
      options: (size, pen) => {
        const options = this.plotOptions({ ...size, xLabel: "epoch" }, pen);
        return { ...options, scales: { ...options.scales, x: { time: false, range: [min, max] } } };
      },
      data: this.data(),
    };
  }

  uplotSeries({ zoom, color }) {
    const series = [{}];
    const bands = [];
    const banded = this.content.series.filter(({ key, band }) => band && !this.hidden.has(key)).length;
    for (const item of this.content.series) {
      const show = !this.hidden.has(item.key);
      const alphas = BAND_ALPHAS.slice(-(item.band?.length ?? 0));
      for (const index of (item.band ?? []).keys()) {
        const edge = { show: show && banded <= BANDED_MAX, stroke: "transparent", width: 0, spanGaps: Boolean(item.sparse), points: { show: false } };
        bands.push({ series: [series.length, series.length + 1], fill: color(item.color, alphas[index]) });
        series.push({ ...edge }, { ...edge });
      }
      series.push({
        show,
        stroke: color(item.color),
        width: (item.dash ? 1.25 : 1.75) * zoom,
        dash: item.dash?.map((length) => length * zoom),
        spanGaps: Boolean(item.sparse),
        points: { show: (plot) => plot.data[0].length < 2, size: 5 * zoom }, // one epoch makes no line
      });
    }
    return { series, bands };
  }

  yScale() {
    const { y } = this.content;
    if (y.log) return { distr: 3 };
    return {
      range: (plot, low, high) => {
        const shown = this.shownLines().map((line) => line.value);
        const min = Math.min(...shown, Math.max(low ?? Infinity, this.fence?.low ?? -Infinity));
        const max = Math.max(...shown, Math.min(high ?? -Infinity, this.fence?.high ?? Infinity));
        if (!(min <= max)) return [0, 1];
        const pad = (max - min) * 0.05 || 0.5;
        return [y.min ?? min - pad, max + pad];
      },
    };
  }

  axes(width, xLabel, pen) {
    const { y } = this.content;
    const { zoom } = pen;
    const common = axisStyle(pen);
    return [
      {
        ...common,
        size: 28 * zoom,
        label: xLabel ?? "",
        labelSize: xLabel ? common.labelSize : 0,
        space: (width < NARROW ? 60 : 70) * zoom,
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6],
      },
      {
        ...common,
        size: axisWidth(y.log ? 62 : 54, pen),
        label: y.label,
        space: 34 * zoom,
        values: (plot, splits, axis, space, step) => (y.log ? splits.map((value) => (value === null ? "" : significant(value, 1))) : tickLabels(splits, step)),
      },
    ];
  }

  shownLines() {
    return (this.content.lines ?? []).filter(
      (line) => Number.isFinite(line.value) && !this.hidden.has(line.key),
    );
  }

  // Closed forms as dotted horizontal lines, each with its name and value in the right
  // margin, so that no label lies on a curve.
  drawLines(plot, { zoom, color }) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio * zoom;
    const end = bbox.left + bbox.width;
    const lines = this.shownLines()
      .map((line) => ({ ...line, y: plot.valToPos(line.value, "y", true) }))
      .filter((line) => line.y >= bbox.top - 1 && line.y <= bbox.top + bbox.height + 1);
    for (const line of lines)
      dotted(ctx, ratio, color(line.color), () => {
        ctx.moveTo(bbox.left, line.y);
        ctx.lineTo(end, line.y);
      });
    const rows = this.labelRows(plot.width / zoom);
    const labels = spread(lines.filter(({ label }) => label), LABEL_GAP * rows * ratio, bbox.top + bbox.height);
    ctx.save();
    ctx.font = font(ratio);
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    for (const { line, at } of labels) {
      ctx.fillStyle = color(line.color);
      const texts = labelTexts(line, rows);
      texts.forEach((text, i) => ctx.fillText(text, end + LABEL_LEFT * ratio, at + (i - (rows - 1) / 2) * LABEL_GAP * ratio));
    }
    ctx.restore();
  }

  // A triangle at the edge that a curve leaves through, one for values that lie together.
  drawOutliers(plot, { zoom, color }) {
    const { ctx, bbox } = plot;
    const size = OUTLIER * devicePixelRatio * zoom;
    ctx.save();
    for (const { color: variable, at } of this.outliers()) {
      ctx.fillStyle = color(variable);
      let last = -Infinity;
      for (const { index, isHigh } of at) {
        const x = plot.valToPos(plot.data[0][index], "x", true);
        if (x - last < size || x < bbox.left || x > bbox.left + bbox.width) continue;
        last = x;
        const tip = isHigh ? bbox.top : bbox.top + bbox.height;
        const foot = tip + (isHigh ? size : -size);
        ctx.beginPath();
        ctx.moveTo(x, tip);
        ctx.lineTo(x - size / 2, foot);
        ctx.lineTo(x + size / 2, foot);
        ctx.fill();
      }
    }
    ctx.restore();
  }

  // Rows of a label in the margin: a narrow chart writes the value below the name.
  labelRows(width) {
    return width < NARROW ? 2 : 1;
  }

  // Width of the right margin in pixels of the design: the longest label, at least MARGIN.
  marginWidth(width) {
    const texts = (this.content.lines ?? []).filter(({ label }) => label).flatMap((line) => labelTexts(line, this.labelRows(width)));
    return Math.max(MARGIN, ...texts.map((text) => LABEL_LEFT + Math.ceil(textWidth(text))));
  }

  buildLegend() {
    this.entries = this.content.series.map((item) => {
      const value = h("span.value");
      const note = h("span.note");
      const button = h(
        "button",
        {
          type: "button",
          title: item.title ?? "",
          "aria-pressed": String(!this.hidden.has(item.key)),
          onclick: () => this.toggle(item.key),
        },
        swatch(item),
        h("span", null, item.label),
        value,
        note,
      );
      return { button, value, note };
    });
    this.at = h("span.at");
    if (this.options.bare) this.at.hidden = true;
    this.legend.replaceChildren(this.at, ...this.entries.map((entry) => entry.button));
  }

  toggle(key) {
    if (!this.hidden.delete(key)) this.hidden.add(key);
    this.build();
  }

  updateLegend() {
    const { x, series, y } = this.content;
    const cursor = this.plot?.cursor.idx;
    const index = cursor ?? x.length - 1;
    setText(this.beyond, this.beyondText());
    this.beyond.hidden = !this.beyond.textContent;
    setText(this.at, index >= 0 ? `epoch ${x[index].toLocaleString("en-GB")}` : "no epochs yet");
    series.forEach((item, i) => {
      const value = item.values[index];
      setText(this.entries[i].value, value === null || value === undefined ? NONE : y.format(value));
      setText(this.entries[i].note, item.note ? item.note(index) : "");
    });
  }

  onSelect(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const from = plot.posToVal(left, "x");
    const to = plot.posToVal(left + width, "x");
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 1) this.options.linked.setZoom([from, to]);
  }

  onKey(event) {
    const { x } = this.content;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    const now = this.plot?.cursor.idx ?? x.length - 1;
    const edge = { Home: 0, End: x.length - 1 }[event.key];
    if (event.key === "Escape") this.moveCursor(null);
    else if (step !== undefined) this.moveCursor(Math.max(0, Math.min(x.length - 1, now + step)));
    else if (edge !== undefined) this.moveCursor(edge);
    else return;
    event.preventDefault();
  }

  moveCursor(index) {
    if (!this.plot || !this.content.x.length) return;
    if (index === null) this.plot.setCursor({ left: -10, top: -10 }, true, true);
    else {
      const left = this.plot.valToPos(this.content.x[index], "x");
      this.plot.setCursor({ left, top: this.plot.over.clientHeight / 2 }, true, true);
    }
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    if (!this.plot) this.build();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: this.options.height });
  }
}

const labelTexts = ({ label, value }, rows) => (rows === 1 ? [`${label} ${fixed(value, 2)}`] : [label, fixed(value, 2)]);

// Places for labels beside their lines, from top to bottom, at least `gap` apart: one that
// would overlap the one above moves down, and all move up that would not fit above `bottom`.
function spread(lines, gap, bottom) {
  const labels = [...lines].sort((a, b) => a.y - b.y).map((line) => ({ line, at: line.y }));
  labels.forEach((label, i) => (label.at = Math.max(label.at, i ? labels[i - 1].at + gap : 0)));
  labels.reverse().forEach((label, i) => (label.at = Math.min(label.at, i ? labels[i - 1].at - gap : bottom)));
  return labels;
}

const isMove = (type) => type === "mousemove" || type === "mouseleave";

const lineLabels = ({ lines }) => (lines ?? []).map(({ label, value }) => `${label} ${value}`).join();

// Whether the present plot can take new data. Otherwise it must be built again.
function sameShape(a, b) {
  if (!a || a.y.log !== b.y.log || a.y.label !== b.y.label) return false;
  if (a.series.length !== b.series.length || lineLabels(a) !== lineLabels(b)) return false;
  return a.series.every((series, i) => {
    const other = b.series[i];
    return series.key === other.key && (series.band?.length ?? 0) === (other.band?.length ?? 0);
  });
}
