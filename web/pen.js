// A pen holds what differs between screen and paper: `zoom`, the pixels per pixel of
// the design, and color(), which resolves CSS variables. On the screen zoom is 1 (CSS
// pixels); on paper it is larger, and the colours are those of the light theme.

import { h } from "./dom.js";

export const DOTS = 3; // picture pixels per pixel of the design: 300 dpi at 18 cm

// Resolve a CSS variable to a colour, for the present or a given theme.
export function color(variable, alpha = 1, theme = "inherit") {
  const probe = h("span", { hidden: true });
  probe.style.colorScheme = theme;
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  const parts = resolved.match(/[\d.]+/g).slice(0, 3);
  return `rgba(${parts.join(", ")}, ${alpha})`;
}

export const SCREEN = { zoom: 1, color };

// uPlot multiplies all sizes by devicePixelRatio, so the zoom divides by it.
export const paper = () => ({ zoom: DOTS / devicePixelRatio, color: (variable, alpha) => color(variable, alpha, "light") });

// The font size is rounded, because uPlot parses whole pixels only.
export const font = (zoom, size = 12) => `${Math.round(size * zoom)}px system-ui, sans-serif`;

const ruler = h("canvas").getContext("2d");

// Width of a text in pixels of the design.
export function textWidth(text) {
  ruler.font = font(1);
  return ruler.measureText(text).width;
}

// Width of a y axis: what its longest label needs, at least `least` pixels of the design.
export const axisWidth = (least, { zoom }) => (plot, labels) =>
  zoom * Math.max(least, 12 + 7 * Math.max(0, ...(labels ?? []).map((label) => label.length)));

// How the index-th of many lines looks that are no groups: each dash has all group colours.
const COLOURS = 8;
const DASHES = [undefined, [7, 4], [2, 3]];
export const LINE_STYLES = COLOURS * DASHES.length;
export const lineStyle = (index) => ({ color: `--group-${index % COLOURS}`, dash: DASHES[Math.floor(index / COLOURS)] });

// Sample of a line for legends and heads of tables.
export function swatch({ color: variable, dash }) {
  const element = h(dash ? `span.swatch.${dash[0] > 3 ? "dashed" : "dotted"}` : "span.swatch");
  element.style.borderColor = `var(${variable})`;
  return element;
}

// uPlot options common to the axes of all charts.
export function axisStyle({ zoom, color: ink }) {
  const line = { stroke: ink("--grid"), width: zoom };
  return {
    stroke: ink("--muted"),
    grid: line,
    ticks: { ...line, size: 4 * zoom },
    gap: 5 * zoom,
    font: font(zoom),
    labelFont: font(zoom),
    labelGap: 2 * zoom,
    labelSize: 18 * zoom,
  };
}

// Stroke the path that draw() makes as a dotted line, the style of closed forms.
export function dotted(ctx, ratio, stroke, draw) {
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 1.25 * ratio;
  ctx.setLineDash([2 * ratio, 4 * ratio]);
  ctx.beginPath();
  draw();
  ctx.stroke();
  ctx.setLineDash([]);
}
