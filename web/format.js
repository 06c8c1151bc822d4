// Text of numbers, times and tokens. Pure functions. A value that was not measured is
// an en dash, never a zero; so is an undefined or infinite one, which is null in the
// API.

export const NONE = "–";
const MINUS = "\u2212";
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

const known = (value) => typeof value === "number" && Number.isFinite(value);

const DECIMALS = 9; // most of them: float32 has no more digits
const LARGE = 1e5; // such values come from a diverged run; their decimals mean nothing

export function fixed(value, digits = 3) {
  if (!known(value)) return NONE;
  if (Math.abs(value) >= LARGE) return significant(value);
  return minus(value.toFixed(digits));
}

// A number that rounds to zero has no sign.
const minus = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS));

// A number in the form of toExponential(), with a power of ten.
function power(text) {
  const [mantissa, exponent] = text.split("e");
  const raised = [...exponent.replace("+", "")].map((digit) => SUPERSCRIPT[digit]).join("");
  return `${mantissa.replace("-", MINUS)} × 10${raised}`;
}

// `digits` significant digits, with a power of ten outside 0.001 .. 99999.
export function significant(value, digits = 3) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < LARGE) {
    const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return value.toFixed(decimals).replace("-", MINUS);
  }
  return power(value.toExponential(digits - 1));
}

// Mean and half interval, {mean, half}, in as many decimals as the interval (without one,
// the mean) has to show two digits, at least three.
export function interval({ mean, half }) {
  if (!known(mean)) return NONE;
  const scale = Math.abs(half || mean);
  const digits = scale > 0 ? Math.max(3, 1 - Math.floor(Math.log10(scale))) : 3;
  const text = (value) => (digits > DECIMALS ? significant(value, 2) : fixed(value, digits));
  return known(half) ? `${text(mean)} ± ${text(half)}` : text(mean);
}

// Labels of the ticks of an axis, `step` apart: as many digits as tell them apart.
export function tickLabels(values, step) {
  const largest = Math.max(...values.map(Math.abs));
  if (largest >= LARGE || largest < 1e-3) {
    const size = Math.floor(Math.log10(largest));
    const digits = decimals(step / 10 ** size);
    return values.map((value) => (value === 0 ? "0" : power(scaled(value, size, digits))));
  }
  return values.map((value) => minus(value.toFixed(decimals(step))));
}

// All ticks of an axis have the exponent of the largest.
const scaled = (value, size, digits) => `${(value / 10 ** size).toFixed(digits)}e${size}`;

// Decimals that a tick step needs: one of 1, 2, 2.5 and 5 times a power of ten.
function decimals(step) {
  for (let digits = 0; digits < DECIMALS; digits++) {
    const whole = step * 10 ** digits;
    if (Math.abs(whole - Math.round(whole)) < 1e-6 * whole) return digits;
  }
  return DECIMALS;
}

// All digits of a number that somebody has set, in the shorter of the two forms.
export function exact(value) {
  const plain = String(value);
  const raised = power(value.toExponential());
  return plain.includes("e") || raised.length < plain.length ? raised : plain.replace("-", MINUS);
}

// Nothing is counted up to here.
const COUNTED = 1e15;

export function count(value) {
  if (!known(value)) return NONE;
  if (Math.abs(value) >= COUNTED) return significant(value);
  return Math.round(value).toLocaleString("en-GB").replace("-", MINUS);
}

export function signed(value, digits = 2) {
  if (!known(value)) return NONE;
  return (value >= 0 ? "+" : MINUS) + fixed(Math.abs(value), digits);
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value < 1000 ? value.toPrecision(3) : significant(value)} ${units[unit]}`;
}

// A duration in its two largest units.
export function duration(seconds) {
  if (!known(seconds) || seconds < 0) return NONE;
  if (seconds < 1) return "under 1 s";
  const whole = Math.round(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${count(amount)} ${unit}`).join(" ");
}

export const between = (from, to) =>
  from && to ? duration((Date.parse(to) - Date.parse(from)) / 1000) : NONE;

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// "14:05" for today, "21 Nov 14:05" for this year, otherwise with the year.
export function time(text, now = new Date()) {
  if (!text) return NONE;
  const date = new Date(text);
  if (date.toDateString() === now.toDateString()) return CLOCK.format(date);
  const year = date.getFullYear() === now.getFullYear() ? "" : ` ${date.getFullYear()}`;
  return `${DAY.format(date)}${year} ${CLOCK.format(date)}`;
}

// An expected time and its range: "about 14:20 – 14:35"; within the minute that begins now "in a
// moment".
export function expected({ earliest, latest }, now = new Date()) {
  const [from, to] = [earliest, latest].map((text) => new Date(Math.max(Date.parse(text), now)));
  if (to - now < 60_000) return "in a moment";
  const words = time(from, now);
  const isSameDay = from.toDateString() === to.toDateString();
  const last = isSameDay ? CLOCK.format(to) : time(to, now);
  return words.endsWith(last) ? `about ${words}` : `about ${words} – ${last}`;
}

export const fullTime = (text) => (text ? FULL.format(new Date(text)) : NONE);

const WHITESPACE = { " ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\ufeff": "BOM" };

// Text of a token with symbols for its invisible characters.
export function visible(text) {
  return [...text]
    .map((letter) => {
      if (WHITESPACE[letter]) return WHITESPACE[letter];
      const code = letter.codePointAt(0);
      return code < 32 || code === 127 ? `\\x${code.toString(16).padStart(2, "0")}` : letter;
    })
    .join("");
}

export const groupLabel = (name) =>
  name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

export const shortId = (id) => id.slice(0, 8);

// File name without extension.
export const fileStem = (name, id) => `${name.replace(/[^\w.-]+/g, "-")}-${shortId(id)}`;
