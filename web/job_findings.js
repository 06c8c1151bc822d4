// The study's claims, judged by the measurements of this job: verdict, sentence with
// the numbers, the rule that was declared beforehand, and the numbers themselves.

import * as api from "./api.js";
import { h, scrolling } from "./dom.js";
import { count, fixed, NONE, significant } from "./format.js";
import { isEnded } from "./state.js";

const VERDICTS = {
  supported: "good",
  "not supported": "bad",
  undetermined: "wait",
};

const known = (value) => typeof value === "number" && Number.isFinite(value);
const number = (value) => (known(value) && Math.abs(value) >= 0.01 && Math.abs(value) < 1e4 ? fixed(value, 3) : significant(value));

function bounds({ low, high }) {
  if (known(low) && known(high)) return `${number(low)} to ${number(high)}`;
  if (known(low)) return `at least ${number(low)}`;
  return known(high) ? `at most ${number(high)}` : "";
}

function numbersTable({ numbers }) {
  const head = ["Number", "Measured", "Closed form", "Bound"].map((label, i) => h(i ? "th.number" : "th", { scope: "col" }, label));
  const rows = numbers.map((row) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, row.what),
      h("td.number", null, known(row.half) ? `${number(row.value)} ± ${number(row.half)}` : number(row.value)),
      h("td.number", null, row.closed_form === null ? NONE : number(row.closed_form)),
      h("td.number", null, bounds(row)),
    ),
  );
  return scrolling("Numbers of this finding", h("table.groups", { "aria-label": "Numbers of this finding" }, h("thead", null, h("tr", null, ...head)), h("tbody", null, ...rows)));
}

function findingItem(finding) {
  const kind = VERDICTS[finding.verdict];
  return h(
    "li.finding",
    null,
    h("div.claim", null, h(`span.verdict${kind ? `.${kind}` : ""}`, null, finding.verdict), h("strong", null, finding.claim)),
    h("p", null, finding.measured),
    finding.cause ? h("p", null, finding.cause) : null,
    h("details", null, h("summary", null, "Rule and numbers"), h("p.help", null, `${finding.rule} (study, section ${finding.section})`), numbersTable(finding)),
  );
}

export class JobFindings {
  constructor(id) {
    this.id = id;
    this.list = h("ol.findings");
    this.note = h("p.help");
    this.element = h("section.panel", { hidden: true }, h("h2", null, "Findings: the study’s claims in this run"), this.note, this.list);
  }

  // Claims are judged after the end of the job, because verdicts on its first epochs
  // would mislead.
  async update(job) {
    const state = `${job.state} ${job.epoch}`;
    if (!isEnded(job) || (job.epoch ?? -1) < 1 || this.state === state) return;
    this.state = state;
    if (job.error?.code === "diverged") return this.showDiverged(job);
    let answer;
    try {
      answer = await api.getFindings(this.id);
    } catch {
      return; // the text was deleted; the rest of the page does not need the findings
    }
    const { findings, runs, epoch, end_from: from } = answer;
    const seeds = runs.length === 1 ? "One seed: each verdict holds for this run." : `Over ${runs.length} seeds; ± is the 95 % interval.`;
    this.note.textContent = `${seeds} “At the end” is the mean over epochs ${count(from)} to ${count(epoch)}.`;
    this.list.replaceChildren(...findings.map(findingItem));
    this.element.hidden = false;
  }

  showDiverged(job) {
    this.note.textContent = `The run diverged at epoch ${count(job.error.epoch)}. The claims are not judged, because what was measured until then is no result.`;
    this.list.replaceChildren();
    this.element.hidden = false;
  }
}
