// What charts are drawn with: the colours behind CSS variables, and how many pixels
// one pixel of the design takes. On the screen that is one CSS pixel; on paper
// several, and the colours are those of the light theme.

import { h } from "./dom.js";

export const DOTS = 3; // pixels of a picture for each of the design: 300 dpi at 18 cm

// The colour behind a CSS variable, resolved for the present theme or a given one.
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

// uPlot itself multiplies by the screen's ratio.
export const paper = () => ({ zoom: DOTS / devicePixelRatio, color: (variable, alpha) => color(variable, alpha, "light") });

// uPlot reads whole pixels only.
export const font = (zoom, size = 12) => `${Math.round(size * zoom)}px system-ui, sans-serif`;

// What the axes of all charts share.
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

// A line of a closed form: dotted.
export function dotted(ctx, ratio, stroke, draw) {
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 1.25 * ratio;
  ctx.setLineDash([2 * ratio, 4 * ratio]);
  ctx.beginPath();
  draw();
  ctx.stroke();
  ctx.setLineDash([]);
}
