// Main charts of one job: mean log p of the groups with quantile bands and closed
// forms, tokens that the mask keeps, loss and log Z. All three share the epoch axis,
// the cursor and the zoom.

import { Chart, horizon, Linked } from "./chart.js";
import { h, segmented, setText } from "./dom.js";
import { groupPointer } from "./epochs.js";
import { fixed, groupLabel, significant } from "./format.js";
import { countLines, entropyLine, formCurves, optimumLines } from "./forms.js";

const MASKS = [
  ["columns", "columns"],
  ["windows", "windows"],
  ["positions", "positions"],
  ["none", "none"],
];
const MASK_HELP = {
  columns: "Tokens of a group that occur anywhere in the batch leave the group.",
  windows: "A token leaves its group only in the windows that contain it.",
  positions: "Positions whose input token is of the group are dropped.",
  none: "Nothing is left out.",
};
const FORMS_HELP =
  "Dotted, in the group’s colour: mean ln(c/N) of its counts, and the optimum without context under this loss where that differs; grey: untrained, −ln V − s²/2.";
const VIEWS = [
  ["logp", "mean log p"],
  ["p", "p, linear"],
  ["logscale", "p, log"],
];

const nats = { label: "nats", format: (value) => fixed(value, 3) };

const Y = {
  logp: { ...nats, label: "mean log p, nats" },
  p: { label: "mean p", min: 0, format: significant },
  logscale: { label: "mean p", log: true, format: significant },
  loss: nats,
  kept: { label: "tokens", min: 0, format: (value) => String(value) },
};

const groupColor = (index) => `--group-${index}`;

export class JobCharts {
  constructor(onmask, subject) {
    this.onmask = onmask;
    this.view = "logp";
    this.bands = true;
    this.geometric = false; // draw mean ln(mean p) too
    this.chosenMask = null;
    this.linked = new Linked((zoom) => (this.resetZoom.hidden = !zoom));
    const chart = (label, height, more) => new Chart({ label, height, linked: this.linked, subject, ...more });
    this.main = chart("Mean log p of the groups by epoch", 400, { xLabel: "epoch" });
    this.loss = chart("Loss and log Z by epoch", 190);
    this.kept = chart("Tokens of each group that the mask leaves, by epoch", 120, { bare: true });
    this.build();
  }

  get mask() {
    return this.chosenMask ?? this.job?.mask ?? "columns";
  }

  destroy() {
    for (const chart of [this.main, this.loss, this.kept]) chart.destroy();
  }

  build() {
    this.resetZoom = h("button.quiet", { type: "button", hidden: true, onclick: () => this.linked.setZoom(null) }, "Whole range");
    this.help = h("p.help");
    this.bandsBox = this.checkbox("Bands", "bands", "5–95 % and 25–75 % of the per-token means, without a mask; drawn while at most four groups are shown");
    this.geometricBox = this.checkbox("mean ln(mean p)", "geometric", "Mean over tokens of ln(mean over positions of p), without a mask");
    this.maskControl = h("div");
    this.controls = h(
      "div.controls",
      null,
      this.maskControl,
      segmented({ legend: "View", name: "view", options: VIEWS, value: this.view, onchange: (view) => this.set({ view }) }),
    );
    this.keptPanel = h("div", null, h("h3", null, "Tokens the mask leaves"), this.kept.root);
    const head = h("div.panelhead", null, h("h2", null, "Group log p"), this.resetZoom, this.bandsBox, this.geometricBox);
    this.element = h(
      "section.charts",
      null,
      h("div.panel.main", null, head, this.controls, this.main.root, this.help),
      h("div.panel.side", null, h("h2", null, "Loss and log Z"), this.loss.root, this.keptPanel),
    );
  }

  checkbox(label, key, title) {
    const input = h("input", { type: "checkbox", checked: this[key], onchange: () => this.set({ [key]: input.checked }) });
    return h("label.check", { title }, input, ` ${label}`);
  }

  set(changes) {
    Object.assign(this, changes);
    this.update(this.job, this.epochs, this.forms);
    if ("chosenMask" in changes) this.onmask();
  }

  // Built at the first update, because the headline mask is a field of the job.
  buildMaskControl() {
    if (this.maskControl.firstChild) return;
    this.maskControl.append(
      segmented({ legend: "Mask", name: "mask", options: MASKS, value: this.mask, onchange: (chosenMask) => this.set({ chosenMask }) }),
    );
  }

  // forms: the answer of /theory, null before it arrives.
  update(job, epochs, forms) {
    this.job = job;
    this.epochs = epochs;
    this.forms = forms;
    this.buildMaskControl();
    const logp = this.view === "logp";
    this.linked.setFull(0, horizon(epochs.lastEpoch, job.epochs));
    this.maskControl.firstChild.disabled = !logp;
    for (const box of [this.bandsBox, this.geometricBox]) box.firstChild.disabled = !logp;
    setText(this.help, this.helpText(logp));
    this.keptPanel.hidden = this.mask === "none" || !logp;
    const shared = { x: epochs.x, note: this.helpText(logp) };
    const title = logp ? `Mean log p of the groups, mask ${this.mask}` : "Mean p of the groups";
    this.main.show({ ...shared, title, y: Y[this.view], series: [...this.mainSeries(logp), ...(logp ? this.mainForms() : [])], lines: logp ? this.closedForms() : [] });
    this.loss.show({ x: epochs.x, title: "Loss and log Z", y: Y.loss, series: this.lossSeries(), lines: this.lossLines() });
    this.kept.show({ ...shared, title: `Tokens that mask ${this.mask} leaves`, note: MASK_HELP[this.mask], y: Y.kept, series: this.keptSeries() });
  }

  helpText(logp) {
    if (!logp) return "Mean p over tokens and positions is measured without a mask: it is dominated by the most probable tokens, where the mean of log p is not.";
    const bands = this.bands ? " Bands: 5–95 % and 25–75 % of the per-token means, without a mask; with more than four groups, hide some in the legend to see them." : "";
    return `${MASK_HELP[this.mask]}${bands} ${FORMS_HELP}`;
  }

  mainSeries(logp) {
    const { epochs } = this;
    return epochs.groups.flatMap((name, index) => {
      const column = (quantity) => epochs.column(groupPointer(name, quantity));
      const quantity = logp ? `mean_logp/${this.mask}` : "mean_p";
      const line = { key: name, label: groupLabel(name), color: groupColor(index), values: column(quantity) };
      if (!logp) return [line];
      if (this.bands) line.band = epochs.band(name, "quantiles");
      line.note = this.keptNote(column(`tokens_kept/${this.mask}`), column("tokens_kept/none"));
      if (!this.geometric) return [line];
      const dashed = {
        key: `${name}/ln_mean_p`,
        label: `${groupLabel(name)}, mean ln(mean p)`,
        color: groupColor(index),
        dash: [6, 4],
        values: column("ln_mean_p"),
      };
      return [line, dashed];
    });
  }

  // The predicted curves start at the mean log p measured without a mask, whichever mask
  // is chosen; the label says so.
  mainForms() {
    return formCurves(this.forms, "mean_logp/none", this.epochs, this.mask === "none" ? "" : " (mask none)");
  }

  keptNote(kept, all) {
    return (at) => (kept[at] === undefined || kept[at] === null ? "" : `${kept[at]} of ${all[at]} tokens`);
  }

  closedForms() {
    const { theory } = this.job;
    if (!theory) return [];
    const untrained = { key: "untrained", color: "--muted", value: theory.untrained, label: "untrained" };
    return [untrained, ...countLines(theory.groups, this.epochs.groups), ...optimumLines(this.forms, this.epochs.groups)];
  }

  lossSeries() {
    return [
      { key: "loss", label: "Loss", color: "--ink", values: this.epochs.column("/loss") },
      { key: "log_z", label: "log Z", color: "--log-z", values: this.epochs.column("/log_z") },
    ];
  }

  lossLines() {
    const level = this.job.theory?.untrained;
    const untrained = Number.isFinite(level) ? [{ key: "untrained", color: "--muted", value: -level, label: "untrained" }] : [];
    return [...untrained, ...entropyLine(this.forms)];
  }

  keptSeries() {
    return this.epochs.groups.map((name, index) => ({
      key: name,
      label: groupLabel(name),
      color: groupColor(index),
      values: this.epochs.column(groupPointer(name, `tokens_kept/${this.mask}`)),
    }));
  }
}
