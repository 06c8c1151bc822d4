// Values of a diverged run, which would flatten every curve of a chart. Pure functions.

const LARGE = 1e5; // no probability, loss or norm of a sound run comes near
const RATIO = 1000; // of a value to the lower quartile: counts are large, but all of them
const BEYOND = 3; // a clipped value lies this many spans of the others beyond them

// The range that a chart shows, {low, high, clip(value), isOut(value)}, or null if no value
// is an outlier. rows: arrays of values (null: none). An outlier is clipped to a value that
// lies just outside, because a canvas cannot draw a line to 1e33.
export function fence(rows) {
  let largest = 0;
  for (const row of rows) for (const value of row) if (value > largest || -value > largest) largest = Math.abs(value);
  if (largest <= LARGE) return null;
  const values = rows.flat().filter(Number.isFinite);
  const sizes = values.map(Math.abs).sort((a, b) => a - b);
  const limit = Math.max(LARGE, RATIO * sizes[Math.floor((sizes.length - 1) / 4)]);
  if (largest <= limit) return null;
  const isOut = (value) => Math.abs(value) > limit;
  const sound = values.filter((value) => !isOut(value));
  const [low, high] = sound.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const reach = BEYOND * (high - low || 1);
  const clip = (value) => (!isOut(value) ? value : value > 0 ? high + reach : low - reach);
  return { low, high, clip, isOut };
}
