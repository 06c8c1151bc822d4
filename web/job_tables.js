// Tables of one job: every quantity of every group at the last and the first epoch,
// and the panels with times, downloads, settings and provenance.

import * as api from "./api.js";
import { h, problemNotice, scrollable, scrolling, setText } from "./dom.js";
import { describe, FIELDSETS, valueAt } from "./fields.js";
import { between, bytes, count, fileStem, fixed, fullTime, groupLabel, NONE, shortId, significant } from "./format.js";
import { modelEpochs } from "./models.js";

const nats = (value) => fixed(value, 3);
const MASKS = ["columns", "windows", "positions", "none"];

// Quantities of a group in the order of the rows. at: keys below the group.
const QUANTITIES = [
  ...MASKS.map((mask) => ({ at: ["mean_logp", mask], label: `Mean log p, mask ${mask}`, format: nats, kept: mask })),
  { at: ["sd"], label: "SD of per-token means", format: nats },
  ...[5, 25, 50, 75, 95].map((percent, i) => ({ at: ["quantiles", i], label: `Quantile ${percent} %`, format: nats })),
  { at: ["ln_mean_p"], label: "Mean ln(mean p)", format: nats },
  { label: "Jensen gap: mean ln(mean p) − mean log p", format: nats, value: (group) => difference(group.ln_mean_p, group.mean_logp.none) },
  { at: ["mean_p"], label: "Mean p", format: significant },
  { at: ["mass"], label: "Probability mass", format: significant },
  { at: ["mean_logit"], label: "Mean logit", format: nats },
  { at: ["target_loss"], label: "Loss where it is the target", format: nats },
  { at: ["exposure"], label: "Exposure: times a target so far", format: significant },
  { at: ["advantage"], label: "Advantage of standing in the window", format: nats },
  { at: ["output_norm"], label: "Norm of output rows", format: significant },
  { at: ["output_shift"], label: "Shift of output rows", format: significant },
  { at: ["input_norm"], label: "Norm of input rows", format: significant },
  { at: ["input_shift"], label: "Shift of input rows", format: significant },
  { at: ["grad", "softmax"], label: "Gradient, softmax part", format: significant },
  { at: ["grad", "target"], label: "Gradient, target part", format: significant },
  { at: ["grad", "input"], label: "Gradient, input part", format: significant },
  { at: ["grad", "zloss"], label: "Gradient, z-loss part", format: significant },
  { at: ["cos_minus_h"], label: "Cosine to −mean h", format: nats },
  { at: ["cos_within"], label: "Cosine within the group", format: nats },
];

const difference = (a, b) => (Number.isFinite(a) && Number.isFinite(b) ? a - b : null);

function valueOf(quantity, group) {
  if (!group) return undefined;
  return quantity.value ? quantity.value(group) : quantity.at.reduce((value, key) => value?.[key], group);
}

// What a job waits for and what waits for it, with links; nothing for a job on its own.
export function orderPanel({ after = [], awaited_by: awaitedBy = [] }) {
  const line = ({ job, name, state, job_state: now }, wanted) =>
    h("li", null, h("a", { href: `#/jobs/${job}` }, name || shortId(job)), ` ${now}${state === "any" ? `, ${wanted}` : ""}`);
  const list = (title, edges, wanted) => (edges.length ? [h("h3", null, title), h("ul.downloads", null, ...edges.map((edge) => line(edge, wanted)))] : []);
  const parts = [...list("Waits for", after, "however it ends"), ...list("Waiting for this job", awaitedBy, "however this one ends")];
  return parts.length ? [h("section.panel.order", null, h("h2", null, "Order"), ...parts)] : [];
}

export class GroupTable {
  constructor() {
    this.body = h("tbody");
    this.head = h("tr");
    this.empty = h("p.quiet", null, "No epoch has been measured yet.");
    this.table = h("table.groups", { "aria-label": "Groups: present value, start below" }, h("thead", null, this.head), this.body);
    this.element = scrolling("Groups", this.empty, this.table);
  }

  update(job, epochs) {
    const { groups, first, last } = epochs;
    this.empty.hidden = last !== null;
    this.table.hidden = last === null;
    if (!last) return;
    const shown = QUANTITIES.filter((quantity) =>
      groups.some((name) => Number.isFinite(valueOf(quantity, last.groups[name])) || Number.isFinite(valueOf(quantity, first?.groups[name]))),
    );
    const shape = `${groups.join()}|${shown.map((quantity) => quantity.label).join()}`;
    if (this.shape !== shape) this.build(groups, shown, job);
    this.shape = shape;
    for (const { quantity, name, now, start } of this.cells) {
      const group = last.groups[name];
      const kept = quantity.kept && quantity.kept !== "none" ? `${group.tokens_kept?.[quantity.kept]} of ${group.tokens_kept?.none} tokens, ` : "";
      setText(now, quantity.format(valueOf(quantity, group)));
      setText(start, `${kept}from ${quantity.format(valueOf(quantity, first?.groups[name]))}`);
    }
  }

  build(groups, shown, job) {
    this.cells = [];
    const headings = groups.map((name, i) => h("th.number", { scope: "col" }, h(`span.dot.group-${i}`), groupLabel(name)));
    this.head.replaceChildren(h("th", { scope: "col" }, "Quantity"), ...headings);
    this.body.replaceChildren(...theoryRows(groups, job.theory), ...shown.map((quantity) => this.row(quantity, groups)));
  }

  row(quantity, groups) {
    const cells = groups.map((name) => {
      const now = h("span.now");
      const start = h("span.start");
      this.cells.push({ quantity, name, now, start });
      return h("td.number", null, now, start);
    });
    return h("tr", null, h("th", { scope: "row" }, quantity.label), ...cells);
  }
}

function theoryRows(groups, theory) {
  if (!theory) return [];
  const row = (label, values) =>
    h("tr.theory", null, h("th", { scope: "row" }, label), ...values.map((text) => h("td.number", null, text)));
  const contextFree = (name) => {
    const value = theory.groups?.[name]?.context_free;
    return Number.isFinite(value) ? nats(value) : "−∞, a count is 0";
  };
  return [
    row("Closed form: untrained, −ln V − s²/2", groups.map(() => nats(theory.untrained))),
    row("Closed form: context-free, mean ln(c/N)", groups.map(contextFree)),
  ];
}

function facts(title, entries, ...more) {
  const rows = entries.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]);
  return h("section.panel", null, h("h2", null, title), h("dl.facts", null, ...rows), ...more);
}

export function timesPanel(job) {
  return facts("Run", [
    ["User", job.user ?? NONE],
    ["Submitted", fullTime(job.submitted_at)],
    ["Started", fullTime(job.started_at)],
    ["Finished", fullTime(job.finished_at)],
    ["Waited", between(job.submitted_at, job.started_at)],
    ["Ran", between(job.started_at, job.finished_at)],
    ["Attempt", String(job.attempt ?? NONE)],
    ["Priority", String(job.priority ?? 0)],
    ["Device", job.device ?? NONE],
    ["Memory needed", bytes(job.memory_bytes)],
  ]);
}

export function downloads(job) {
  const result = h("div");
  const file = fileStem(job.name || "job", job.id);
  const csv = async () => {
    try {
      await api.downloadCsv(job.id, `${file}.csv`);
    } catch (problem) {
      result.replaceChildren(problemNotice("Not downloaded", problem));
    }
  };
  const link = (href, name, text) => h("li", null, h("a", { href, download: name }, text));
  const ready = (job.epoch ?? -1) >= 0;
  const models = modelEpochs(job);
  return h(
    "section.panel",
    null,
    h("h2", null, "Downloads"),
    h(
      "ul.downloads",
      null,
      ready ? h("li", null, h("button.link", { type: "button", onclick: csv }, "All epochs as CSV")) : null,
      ...models.map((epoch) => link(api.checkpointUrl(job.id, epoch), `${file}-${epoch}.safetensors`, `Model at epoch ${count(epoch)} (safetensors)`)),
      models.length ? link(api.checkpointConfigUrl(job.id), "config.json", "Model's config.json") : null,
      link(api.logUrl(job.id), `${file}.log`, "Trainer's log"),
    ),
    result,
  );
}

function corpusFacts({ corpus }) {
  const { name, tokens, types, once, vocabulary } = corpus;
  const used = `${count(types)} of ${count(vocabulary)} types, ${count(once)} once`;
  return [h("dt", null, "Text"), h("dd", null, name ?? NONE), h("dt", null, "Tokens"), h("dd", null, count(tokens)), h("dt", null, "Used"), h("dd", null, used)];
}

export function specPanel(job) {
  const spec = job.spec ?? {};
  const sets = FIELDSETS.filter((set) => set.title !== "Experiment").map((set) => {
    const rows = set.fields
      .filter((field) => field.kind !== "corpus" && valueAt(spec, field.at) !== undefined)
      .flatMap((field) => [h("dt", null, field.label), h("dd", null, describe(field, valueAt(spec, field.at)))]);
    const known = set.title === "Corpus" ? corpusFacts(job) : [];
    return h("div", null, h("h3", null, set.title), h("dl.facts", null, ...known, ...rows));
  });
  const raw = h("details", null, h("summary", null, "As JSON, to be posted again"), scrollable("The spec as JSON", h("pre", null, JSON.stringify(spec, null, 2))));
  return h("section.panel.settings", null, h("h2", null, "Settings"), h("div.sets", null, ...sets), raw);
}

export function provenancePanel(job) {
  const entries = Object.entries(job.provenance ?? {}).map(([key, value]) => [
    key.replaceAll("_", " "),
    typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? NONE),
  ]);
  const none = entries.length ? [] : [h("p.quiet", null, "Fixed when the job first starts.")];
  return facts("Provenance", entries, ...none);
}
