// Every token of the vocabulary at a snapshot: log p against how often it occurs
// in the text. Loaded when it is opened: it is one number for each token.

import uPlot from "/vendor/uPlot.esm.js";
import * as api from "./api.js";
import { color } from "./chart.js";
import { h, problemNotice, setText, uniqueId } from "./dom.js";
import { count, fixed } from "./format.js";
import { modelEpochs } from "./models.js";

const HEIGHT = 360;
const NEVER = 0.5; // where count 0 stands on the logarithmic axis
const SPREAD = 0.22; // equal counts are spread by up to this factor, so that they do not hide one another
const FONT = "12px system-ui, sans-serif";

// Tokens left to right; equal counts side by side, the same way at every drawing.
function points({ counts, logp, ids }) {
  const shown = ids.map((id, i) => {
    const jitter = 1 + SPREAD * (((id * 2654435761) % 4096) / 2048 - 1);
    return [(counts[i] || NEVER) * jitter, logp[i]];
  });
  shown.sort((a, b) => a[0] - b[0]);
  return [shown.map(([x]) => x), shown.map(([, y]) => y)];
}

// Every token as a translucent square.
function dots(plot, index) {
  const { ctx } = plot;
  const [xs, ys] = [plot.data[0], plot.data[index]];
  const size = 2 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = color("--group-0", 0.35);
  for (let i = 0; i < xs.length; i++)
    if (ys[i] !== null) ctx.fillRect(plot.valToPos(xs[i], "x", true) - size / 2, plot.valToPos(ys[i], "y", true) - size / 2, size, size);
  ctx.restore();
  return null;
}

export class JobSpectrum {
  constructor(id) {
    this.id = id;
    const select = uniqueId("snapshot");
    this.epochs = h("select", { id: select, onchange: () => this.load() });
    this.canvas = h("div.plot", { role: "img", "aria-label": "Mean log p of every token against its count in the text" });
    this.summary = h("p.help");
    this.details = h(
      "details",
      { ontoggle: () => this.details.open && !this.data && this.load() },
      h("summary", null, "Every token of the vocabulary against its count"),
      h("p.controls", null, h("label", { for: select }, "Model at epoch "), this.epochs),
      this.canvas,
      this.summary,
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
      this.describe(snapshot);
      this.draw();
    } catch (problem) {
      this.summary.replaceChildren(problemNotice("Not loaded", problem));
    }
  }

  describe({ counts, logp }) {
    const mean = (wanted) => {
      const of = logp.filter((_, i) => wanted(counts[i]));
      return of.length ? `${fixed(of.reduce((a, b) => a + b) / of.length, 2)} (${count(of.length)} tokens)` : "none";
    };
    setText(this.summary, `Mean log p, nats: never in the text ${mean((n) => n === 0)}, once ${mean((n) => n === 1)}, more often ${mean((n) => n > 1)}. Equal counts are spread a little.`);
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!this.data || width === 0 || (this.plot?.width === width && this.drawn === this.data && this.theme === document.documentElement.dataset.theme)) return;
    this.plot?.destroy();
    this.drawn = this.data;
    this.theme = document.documentElement.dataset.theme;
    const axis = { stroke: color("--muted"), grid: { stroke: color("--grid"), width: 1 }, ticks: { stroke: color("--grid"), width: 1, size: 4 }, font: FONT, labelFont: FONT };
    const tick = (value) => (value < 1 ? "" : Number.isInteger(Math.log10(value)) ? count(value) : "");
    this.plot = new uPlot(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [10, 22, 0, 0],
        scales: { x: { time: false, distr: 3, range: (plot, low, high) => [NEVER / 2, Math.max(2, high * 1.5)] } },
        axes: [
          { ...axis, label: "count in the text (0 at the left edge)", labelSize: 18, values: (plot, splits) => splits.map(tick) },
          { ...axis, size: 54, label: "log p, nats", labelSize: 18, values: (plot, splits) => splits.map((value) => fixed(value, 0)) },
        ],
        series: [{}, { paths: dots, points: { show: false }, stroke: color("--group-0") }],
      },
      this.data,
      this.canvas,
    );
  }
}
