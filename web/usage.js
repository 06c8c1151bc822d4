// What users, jobs or days have had of the devices. The address has the question, so that it can
// be shared and Back asks the one before.

import * as api from "./api.js";
import { h, problemNotice, scrolling, segmented } from "./dom.js";
import { bytes, count, duration, NONE, shortId } from "./format.js";
import * as retention from "./retention.js";

const BY = [["user", "User"], ["job", "Job"], ["day", "Day"]];
const HEADS = { user: "User", job: "Job", day: "Day (UTC)" };
const ROWS = { user: 1000, job: 100, day: 400 };

const addressOf = (question) => `#/usage?${new URLSearchParams(Object.entries(question).filter(([, value]) => value))}`;

// The first cell: a user's jobs and a day's users are a click away.
function subject(row, { by, since, until }) {
  if (by === "user") return h("a.name", { href: addressOf({ by: "job", since, until, user: row.user }) }, row.user);
  if (by === "day") return h("a.name", { href: addressOf({ by: "user", since: row.day, until: row.day }) }, row.day);
  if (row.job === null) return h("span.quiet", null, "Jobs of days long ago");
  if (row.state === null) return h("span.quiet", null, `${shortId(row.job)}, deleted`);
  return h("a.name", { href: `#/jobs/${row.job}` }, row.name || shortId(row.job));
}

// A meter shows the part of the whole.
function numbers(row, devices, whole) {
  const had = new Map(row.devices.map(({ device, device_seconds: seconds }) => [device, seconds]));
  const share = whole > 0 ? row.device_seconds / whole : 0;
  return [
    h(
      "td.number",
      { title: `${row.device_seconds.toFixed(1)} s` },
      duration(row.device_seconds),
      h("meter", { min: 0, max: 1, value: share, "aria-label": `${Math.round(100 * share)} % of all` }),
    ),
    ...devices.map((device) => h("td.number", null, had.has(device) ? duration(had.get(device)) : NONE)),
    h("td.number", null, count(row.jobs)),
    ...["succeeded", "failed", "cancelled"].map((end) => h("td.number", null, count(row[end]))),
    h("td.number", null, bytes(row.stored_bytes)),
  ];
}

function table({ usage, total }, question) {
  const devices = total.devices.map(({ device }) => device);
  const head = (text) => h("th.number", { scope: "col" }, text);
  const row = (cell, ...cells) => h("tr", null, h("th", { scope: "row" }, cell), ...cells);
  return h(
    "table.groups.usage",
    { "aria-label": "Usage" },
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        h("th", { scope: "col" }, HEADS[question.by]),
        question.by === "job" ? h("th", { scope: "col" }, "User") : null,
        ...["Device time", ...devices, "Jobs", "Succeeded", "Failed", "Cancelled", "Stored"].map(head),
      ),
    ),
    h(
      "tbody",
      null,
      ...usage.map((entry) =>
        row(subject(entry, question), question.by === "job" ? h("td", null, entry.user ?? NONE) : null, ...numbers(entry, devices, total.device_seconds)),
      ),
    ),
    h("tfoot", null, row("All", question.by === "job" ? h("td") : null, ...numbers(total, devices, total.device_seconds))),
  );
}

function controls(question) {
  const ask = (change) => (location.hash = addressOf({ ...question, ...change }));
  const date = (name, label) => h(
    "label",
    null,
    `${label} `,
    h("input", { type: "date", value: question[name], max: "9999-12-31", onchange: ({ target }) => target.value && ask({ [name]: target.value }) }),
  );
  return h(
    "div.filters",
    null,
    segmented({ legend: "By", name: "by", options: BY, value: question.by, onchange: (by) => ask({ by }) }),
    date("since", "From"),
    date("until", "to"),
    question.user ? h("button", { type: "button", onclick: () => ask({ user: "" }) }, `Only ${question.user}: show all`) : null,
    h("a", { href: api.usageCsvUrl({ ...question, limit: 10_000 }), download: "usage.csv" }, "CSV"),
  );
}

export function render(view, { by, since, until, user }) {
  const asked = { by: HEADS[by] ? by : "user", since, until, user };
  const place = h("div");
  let closed = false;
  view.replaceChildren(h("h1", null, "Usage"), place);
  api.getUsage({ ...asked, limit: ROWS[asked.by] }).then(
    (answer) => {
      if (closed) return;
      const question = { ...asked, since: answer.since, until: answer.until };
      place.replaceChildren(
        controls(question),
        h("div.panel", null, scrolling("Usage", table(answer, question))),
        answer.next ? h("p.quiet", null, `The first ${count(ROWS[asked.by])}; CSV has more.`) : "",
        h("p.quiet", null, "Days are in UTC. Device time is counted when it is had, and a running job’s last seconds may be missing. Stored are records and files of jobs, measured every hour."),
        retention.ofAll(),
      );
    },
    (problem) => !closed && place.replaceChildren(problemNotice("Cannot ask for the usage", problem)),
  );
  return () => (closed = true);
}
