// Converts the closed forms of GET /jobs/{id}/theory (docs/SCIENCE.md, section 3) to
// series and lines of charts.

import { groupLabel } from "./format.js";

// Predicted curves of a quantity of the groups: dashed, in the colour of the group. The
// curve of a long job has fewer points than the job has epochs, so it is sparse. aside:
// text in the label if the curves are not about the same mask as the measured ones.
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

// Line at the entropy of the counts: the loss of the best model without context.
export function entropyLine(forms) {
  const value = forms?.levels.find(({ id }) => id === "entropy")?.value;
  return Number.isFinite(value) ? [{ key: "entropy", color: "--muted", value, label: "entropy" }] : [];
}

// Lines at mean ln(c/N) of the groups that have this level. levels: {name:
// {context_free}}; keyOf(name): key of the series that hides the line with it.
export function countLines(levels, groups, keyOf = (name) => name) {
  return groups.flatMap((name, index) => {
    const value = levels?.[name]?.context_free;
    return Number.isFinite(value) ? [{ key: keyOf(name), color: `--group-${index}`, value, label: "ln(c/N)" }] : [];
  });
}

// Lines at the limit of the groups' mean log p without context under the job's own
// loss, unless it equals ln(c/N), which countLines draws.
export function optimumLines(forms, groups) {
  return groups.flatMap((name, index) => {
    const { optimum, context_free: counts } = forms?.groups[name] ?? {};
    if (!Number.isFinite(optimum) || Math.abs(optimum - counts) < 1e-6) return [];
    return [{ key: name, color: `--group-${index}`, value: optimum, label: "optimum" }];
  });
}
