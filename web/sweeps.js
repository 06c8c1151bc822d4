// List of sweeps, newest first.

import * as api from "./api.js";
import { h, problemNotice, scrollable, scrolling } from "./dom.js";
import { time } from "./format.js";
import { stateList } from "./sweep.js";

const EXAMPLE = `curl ${api.apiRoot}/sweeps -H 'Content-Type: application/json' -d '
{"name": "ties", "base": {"train": {"epochs": 500}},
 "vary": {"model.tie": ["tied", "untied"], "train.seed": [1, 2, 3]}}'`;

function row(sweep) {
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, h("a.name", { href: `#/sweeps/${sweep.id}` }, sweep.name || sweep.id)),
    h("td", null, stateList(sweep.states)),
    h("td", null, sweep.user),
    h("td", null, time(sweep.submitted_at)),
  );
}

export function render(view) {
  const body = h("tbody");
  const heads = ["Sweep", "Jobs", "User", "Submitted"].map((text) => h("th", { scope: "col" }, text));
  const table = h("table.groups", { "aria-label": "Sweeps", hidden: true }, h("thead", null, h("tr", null, ...heads)), body);
  const message = h("div");
  const more = h("button", { type: "button", hidden: true }, "Older sweeps");
  const load = async (cursor) => {
    try {
      const { sweeps, next } = await api.getSweeps(cursor);
      body.append(...sweeps.map(row));
      table.hidden = body.children.length === 0;
      if (table.hidden) message.replaceChildren(h("p", null, "No sweep yet. A sweep submits every combination of some fields’ values at once:"), scrollable("Command", h("pre", null, EXAMPLE)));
      more.hidden = !next;
      more.onclick = () => load(next);
    } catch (problem) {
      if (problem.status !== 401) message.replaceChildren(problemNotice("Cannot load the sweeps", problem));
    }
  };
  view.replaceChildren(h("h1", null, "Sweeps"), message, h("div.panel", null, scrolling("Sweeps", table)), h("div.more", null, more));
  load();
  return () => {};
}
