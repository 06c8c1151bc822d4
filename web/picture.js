// Export of a chart as a PNG for print: title, plot, legend and note on white. Colours
// (light theme) and size do not depend on the screen.

import uPlot from "./vendor/uPlot.esm.js";
import { announce, h, saveFile } from "./dom.js";
import { DOTS, font, paper } from "./pen.js";

// Sizes in pixels of the design; each is DOTS pixels of the picture.
const WIDTH = 760;
const PLOT = 400;
const MARGIN = 20;
const LINE = 17;
const SWATCH = 22;

// Draw the plot into an element that is not in the page.
async function drawPlot({ options, data }, pen) {
  const size = { width: (WIDTH - 2 * MARGIN) * pen.zoom, height: PLOT * pen.zoom };
  const base = options(size, pen);
  return new Promise((resolve) => {
    const hooks = { ...base.hooks, ready: [resolve] };
    new uPlot({ ...base, ...size, legend: { show: false }, cursor: { show: false }, hooks }, data, h("div"));
  });
}

function wrap(ctx, words, width) {
  const lines = [""];
  for (const word of words.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (ctx.measureText(longer).width > width && lines.at(-1)) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

// A sheet that grows with its content, from top to bottom. Its height is known only at
// the end, and setting the size of a canvas clears it, so strokes are recorded and
// drawn by png().
class Sheet {
  constructor(pen) {
    this.pen = pen;
    this.canvas = h("canvas");
    this.ctx = this.canvas.getContext("2d");
    this.top = MARGIN - LINE / 2; // text is placed by its baseline
    this.strokes = []; // drawing functions, in order
  }

  text(words, { size = 12, weight = "", ink = "--ink", gap = 0 } = {}) {
    if (!words) return;
    this.top += gap;
    const face = `${weight} ${font(1, size)}`;
    this.ctx.font = face;
    for (const line of wrap(this.ctx, words, WIDTH - 2 * MARGIN)) {
      const base = (this.top += LINE * (size / 12));
      this.strokes.push(() => this.write(line, MARGIN, base, face, ink));
    }
  }

  write(words, x, y, face, ink) {
    this.ctx.font = face;
    this.ctx.fillStyle = this.pen.color(ink);
    this.ctx.fillText(words, x, y);
  }

  image(canvas) {
    const top = (this.top += 8);
    this.top += PLOT;
    this.strokes.push(() => this.ctx.drawImage(canvas, MARGIN, top, canvas.width / DOTS, canvas.height / DOTS));
  }

  legend(entries) {
    const face = font(1);
    this.ctx.font = face;
    let x = MARGIN;
    this.top += LINE;
    for (const entry of entries) {
      const width = SWATCH + 7 + this.ctx.measureText(entry.label).width;
      if (x > MARGIN && x + width > WIDTH - MARGIN) [x, this.top] = [MARGIN, this.top + LINE];
      const [left, base] = [x, this.top];
      this.strokes.push(() => {
        this.swatch(entry, left, base - 4);
        this.write(entry.label, left + SWATCH + 7, base, face, "--ink");
      });
      x += width + 20;
    }
  }

  swatch({ color, dash, dot }, x, y) {
    const { ctx } = this;
    ctx.fillStyle = ctx.strokeStyle = this.pen.color(color);
    if (dot) return ctx.fillRect(x + SWATCH / 2 - 2, y - 2, 4, 4);
    ctx.lineWidth = dash ? 1.5 : 2.5;
    ctx.setLineDash(dash ?? []);
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x + SWATCH, y);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  async png() {
    this.canvas.width = WIDTH * DOTS;
    this.canvas.height = Math.ceil(this.top + MARGIN) * DOTS;
    this.ctx.fillStyle = "white";
    this.ctx.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.ctx.scale(DOTS, DOTS);
    for (const stroke of this.strokes) stroke();
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }
}

const slug = (title) => title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");

// figure: {title, note, subject: {name, file}, legend: [{label, color, dash, dot}],
// options, data}. options(size, pen) returns the options of uPlot, data its columns.
async function savePicture(figure) {
  const pen = paper();
  const plot = await drawPlot(figure, pen);
  const sheet = new Sheet(pen);
  sheet.text(figure.title, { size: 16, weight: "600" });
  sheet.text(figure.subject.name, { ink: "--muted" });
  sheet.image(plot.ctx.canvas);
  sheet.legend(figure.legend);
  sheet.text(figure.note, { size: 11, ink: "--muted", gap: 5 });
  const picture = await sheet.png();
  plot.destroy();
  const name = `${figure.subject.file}-${slug(figure.title)}.png`;
  saveFile(picture, name);
  announce(`Picture saved as ${name}`);
}

// The button under a chart; figure() returns the figure of its present content.
export function pictureButton(label, figure) {
  return h("button.save", { type: "button", "aria-label": `Save picture: ${label}`, title: "This chart as PNG, for print", onclick: () => savePicture(figure()).catch((error) => announce(`The picture was not saved: ${error.message}`)) }, "Save picture");
}
