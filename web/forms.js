// Closed forms of a job, as GET /jobs/{id}/theory gives them (docs/SCIENCE.md, section
// 3), in the shape that charts draw.

import { fixed, groupLabel } from "./format.js";

// Curves about a quantity of a group, beside the measured ones: dashed, in the
// group's colour. A long job's curve has fewer points than its epochs. aside: in what
// they differ from the lines that are drawn.
export function formCurves(forms, quantity, epochs, aside = "") {
  if (!forms) return [];
  return forms.curves
    .filter((curve) => curve.quantity === quantity)
    .map(({ form, group, what, epochs: at, predicted }) => {
      const value = new Map(at.map((epoch, i) => [epoch, predicted[i]]));
      return {
        key: `${group}/form ${form}${aside}`,
        label: `${groupLabel(group)}, form ${form}${aside}`,
        title: what,
        color: `--group-${epochs.groups.indexOf(group)}`,
        dash: [6, 4],
        sparse: true,
        values: epochs.x.map((epoch) => value.get(epoch) ?? null),
      };
    });
}

// The loss of the best model without context.
export function entropyLine(forms) {
  const value = forms?.levels.find(({ id }) => id === "entropy")?.value;
  return Number.isFinite(value) ? [{ key: "entropy", color: "--muted", value, label: `entropy of the counts ${fixed(value, 2)}` }] : [];
}

// Mean ln(c/N) of each group that has one; levels: {name: {context_free}}, keyOf: the
// series that a line belongs to.
export function countLines(levels, groups, keyOf = (name) => name) {
  return groups.flatMap((name, index) => {
    const value = levels?.[name]?.context_free;
    return Number.isFinite(value) ? [{ key: keyOf(name), color: `--group-${index}`, value, label: `${groupLabel(name)}: mean ln(c/N) = ${fixed(value, 2)}` }] : [];
  });
}

// What a group's mean log p tends to without context under the job's own loss, where
// that is not the ln(c/N) that is drawn anyway.
export function optimumLines(forms, groups) {
  return groups.flatMap((name, index) => {
    const { optimum, context_free: counts } = forms?.groups[name] ?? {};
    if (!Number.isFinite(optimum) || Math.abs(optimum - counts) < 1e-6) return [];
    return [{ key: name, color: `--group-${index}`, value: optimum, label: `${groupLabel(name)}: best without context under this loss = ${fixed(optimum, 2)}` }];
  });
}
