// Scatter plot of the whole vocabulary at a snapshot: mean log p of each token against
// its count in the text, beside ln(c/N). The data are loaded when the panel is opened,
// because they have one number for each token.

import uPlot from "./vendor/uPlot.esm.js";
import * as api from "./api.js";
import { h, problemNotice, setText, uniqueId } from "./dom.js";
import { count, fixed } from "./format.js";
import { modelEpochs } from "./models.js";
import { axisStyle, axisWidth, dotted, SCREEN } from "./pen.js";
import { pictureButton } from "./picture.js";

const HEIGHT = 360;
const NEVER = 0.5; // position of count 0 on the logarithmic axis
const SPREAD = 0.22; // jitter of equal counts, relative, so that points do not hide each other
const LABEL = "Mean log p of every token against its count in the text";

// Points from left to right. The jitter is a hash of the id, so every drawing is equal.
function points({ counts, logp, ids }) {
  const shown = ids.map((id, i) => {
    const jitter = 1 + SPREAD * (((id * 2654435761) % 4096) / 2048 - 1);
    return [(counts[i] || NEVER) * jitter, logp[i]];
  });
  shown.sort((a, b) => a[0] - b[0]);
  return [shown.map(([x]) => x), shown.map(([, y]) => y)];
}

// Path function of uPlot: draws each token as a translucent square.
function dots(plot, index, { zoom, color }) {
  const { ctx } = plot;
  const [xs, ys] = [plot.data[0], plot.data[index]];
  const size = 2 * devicePixelRatio * zoom;
  ctx.save();
  ctx.fillStyle = color("--group-0", 0.35);
  for (let i = 0; i < xs.length; i++)
    if (ys[i] !== null) ctx.fillRect(plot.valToPos(xs[i], "x", true) - size / 2, plot.valToPos(ys[i], "y", true) - size / 2, size, size);
  ctx.restore();
  return null;
}

// Draw ln(c/N) from count c = 1 on; it is a straight line on the logarithmic axis.
function countLine(plot, total, { zoom, color }) {
  const { ctx } = plot;
  const at = (occurs) => [plot.valToPos(occurs, "x", true), plot.valToPos(Math.log(occurs / total), "y", true)];
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  dotted(ctx, 1.5 * devicePixelRatio * zoom, color("--ink"), () => {
    ctx.moveTo(...at(1));
    ctx.lineTo(...at(plot.scales.x.max));
  });
  ctx.restore();
}

const tick = (value) => (value === NEVER ? "0" : value >= 1 && Number.isInteger(Math.log10(value)) ? count(value) : "");

export class JobSpectrum {
  constructor(id, subject) {
    this.id = id;
    this.subject = subject;
    const select = uniqueId("snapshot");
    this.epochs = h("select", { id: select, onchange: () => this.load() });
    this.canvas = h("div.plot", { role: "img", "aria-label": LABEL });
    this.summary = h("p.help");
    this.save = pictureButton(LABEL, () => this.figure());
    this.save.hidden = true;
    this.details = h(
      "details",
      { ontoggle: () => this.details.open && !this.data && this.load() },
      h("summary", null, "Every token of the vocabulary against its count"),
      h("p.controls", null, h("label", { for: select }, "Model at epoch "), this.epochs),
      this.canvas,
      h("div.under", null, this.summary, this.save),
    );
    this.element = h("section.panel.spectrum", { hidden: true }, h("h2", null, "Whole vocabulary"), this.details);
    this.onTheme = () => this.draw();
    document.addEventListener("themechange", this.onTheme);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
  }

  destroy() {
    document.removeEventListener("themechange", this.onTheme);
    this.observer.disconnect();
    this.plot?.destroy();
  }

  update(job) {
    const models = modelEpochs(job);
    this.element.hidden = models.length === 0;
    if (models.join() === this.models) return;
    this.models = models.join();
    this.epochs.replaceChildren(...models.map((epoch) => h("option", { value: epoch }, count(epoch))));
    this.epochs.value = models.at(-1);
  }

  async load() {
    try {
      const snapshot = await api.getSpectrum(this.id, this.epochs.value);
      this.data = points(snapshot);
      this.shown = snapshot;
      this.save.hidden = false;
      setText(this.summary, this.note());
      this.draw();
    } catch (problem) {
      this.summary.replaceChildren(problemNotice("Not loaded", problem));
    }
  }

  note() {
    const { counts, logp } = this.shown;
    const mean = (wanted) => {
      const of = logp.filter((_, i) => wanted(counts[i]));
      return of.length ? `${fixed(of.reduce((a, b) => a + b) / of.length, 2)} (${count(of.length)} tokens)` : "none";
    };
    return `Mean log p, nats: never in the text ${mean((n) => n === 0)}, once ${mean((n) => n === 1)}, more often ${mean((n) => n > 1)}. Equal counts are spread a little. Dotted: ln(c/N), the best model without context.`;
  }

  options(size, pen) {
    const axis = axisStyle(pen);
    const total = this.shown.counts.reduce((a, b) => a + b);
    const lowest = Math.log(1 / total);
    return {
      ...size,
      legend: { show: false },
      cursor: { show: false },
      padding: [10 * pen.zoom, 22 * pen.zoom, 0, 0],
      scales: {
        x: { time: false, distr: 3, range: (plot, low, high) => [NEVER / 2, Math.max(2, high * 1.5)] },
        y: { range: (plot, low, high) => [Math.min(low, lowest) - 0.5, high + 0.5] },
      },
      axes: [
        { ...axis, size: 28 * pen.zoom, label: "count in the text", filter: (plot, splits) => splits, values: (plot, splits) => splits.map(tick) },
        { ...axis, size: axisWidth(54, pen), space: 30 * pen.zoom, label: "log p, nats", values: (plot, splits) => splits.map((value) => fixed(value, 0)) },
      ],
      series: [{}, { paths: (plot, index) => dots(plot, index, pen), points: { show: false }, stroke: pen.color("--group-0") }],
      hooks: { draw: [(plot) => countLine(plot, total, pen)] },
    };
  }

  figure() {
    return {
      title: `log p of every token against its count, epoch ${count(this.shown.epoch)}`,
      note: this.note(),
      subject: this.subject(),
      legend: [
        { label: "one token", color: "--group-0", dot: true },
        { label: "ln(c/N), best without context", color: "--ink", dash: [2, 3] },
      ],
      options: (size, pen) => this.options(size, pen),
      data: this.data,
    };
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!this.data || width === 0 || (this.plot?.width === width && this.drawn === this.data && this.theme === document.documentElement.dataset.theme)) return;
    this.plot?.destroy();
    this.drawn = this.data;
    this.theme = document.documentElement.dataset.theme;
    this.plot = new uPlot(this.options({ width, height: HEIGHT }, SCREEN), this.data, this.canvas);
  }
}
