// Jobs side by side: the settings that differ, and one number of each job by epoch.
// The address contains the ids of the jobs.

import * as api from "./api.js";
import { Chart, Linked } from "./chart.js";
import { h, notice, problemNotice, scrolling, uniqueId } from "./dom.js";
import { exact, fixed, groupLabel, NONE, shortId } from "./format.js";
import { lineStyle, swatch } from "./pen.js";

const POINTS = 400;
const MAX = 20; // of the API

function show(value) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "number") return exact(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function differences({ jobs, differs }) {
  if (!differs.length) return h("p", null, "Their settings are the same.");
  const head = jobs.map(({ id, name }, i) => h("th", { scope: "col" }, swatch(lineStyle(i)), h("a", { href: `#/jobs/${id}` }, name || shortId(id))));
  const rows = differs.map(({ field, values }) => h("tr", null, h("th", { scope: "row" }, field.slice(1).replaceAll("/", ".")), ...values.map((value) => h("td", null, show(value)))));
  return scrolling("Settings that differ", h("table.groups", { "aria-label": "Settings that differ" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Setting"), ...head)), h("tbody", null, ...rows)));
}

export function render(view, { jobs = "" }) {
  const asked = jobs.split(",").filter(Boolean);
  const ids = asked.slice(0, MAX);
  const left = asked.length > MAX ? [notice("info", "Not all are compared", `The first ${MAX} of ${asked.length} jobs are.`)] : [];
  const linked = new Linked(() => {});
  const subject = () => ({ name: `Jobs ${ids.map(shortId).join(", ")}`, file: `comparison-${ids.map(shortId).join("-")}` });
  const chart = new Chart({ label: "The chosen number of each job by epoch", height: 380, linked, subject, xLabel: "epoch" });
  const id = uniqueId("series");
  const select = h("select", { id });
  const table = h("div");
  const body = h("div", { hidden: true }, h("section.panel", null, h("div.panelhead", null, h("h2", null, "By epoch"), h("label", { for: id }, "Number "), select), chart.root), h("section.panel", null, h("h2", null, "Settings that differ"), table));
  view.replaceChildren(h("h1", null, "Compare"), ...left, body);

  const draw = ({ jobs: shown, epochs, series }) => {
    linked.setFull(0, Math.max(1, epochs.at(-1)));
    const number = select.selectedOptions[0].textContent;
    chart.show({
      title: number,
      x: epochs,
      y: { label: number, format: (value) => fixed(value, 3) },
      series: shown.map(({ id: job, name }, i) => ({ key: job, label: name || shortId(job), ...lineStyle(i), values: series[select.value][i] })),
    });
  };
  api.compareJobs(ids, undefined, POINTS).then(
    (answer) => {
      body.hidden = false;
      select.replaceChildren(...Object.keys(answer.series).map((pointer) => h("option", { value: pointer }, groupLabel(pointer.slice(1).replace("groups/", "").replaceAll("/", " ").replaceAll("_", " ")))));
      select.onchange = () => draw(answer);
      table.replaceChildren(differences(answer));
      draw(answer);
    },
    (problem) => {
      if (problem.status !== 401) view.replaceChildren(h("h1", null, "Compare"), problemNotice("Cannot compare", problem));
    },
  );
  return () => chart.destroy();
}
