// What of the jobs goes by itself, and when: a sentence on a job's page and above the list, a table
// on the page of usage. Nothing is shown where nothing is to go.

import * as api from "./api.js";
import { h, notice, scrolling } from "./dom.js";
import { bytes, count, fullTime, NONE, shortId, time } from "./format.js";

const PARTS = { state: "training state", models: "models", job: "whole job" };
const TABLE_ROWS = 100;

// An element that fills itself with what show(answer) makes of GET /retention; without an answer
// it stays empty: the page is about something else. question: the parameters, or their promise.
function filled(question, show) {
  const place = h("div");
  Promise.resolve(question)
    .then(api.getRetention)
    .then((answer) => answer.retention.length && place.replaceChildren(...show(answer)), () => {});
  return place;
}

const sentence = ({ part, bytes: size, due_at: due }) => `The ${PARTS[part]} (${bytes(size)}) from ${fullTime(due)} on. `;

export const ofJob = (id) =>
  filled({ job: id }, ({ retention }) => [notice("info", "Goes by itself unless it is pinned", ...retention.map(sentence))]);

export const ofMine = () =>
  filled(api.getWhoami().then(({ name: user }) => ({ user })), ({ retention: [first, ...others], next }) => [
    notice(
      "info",
      "Something of your jobs goes by itself",
      `First the ${PARTS[first.part]} of `,
      h("a", { href: `#/jobs/${first.job}` }, first.name || shortId(first.job)),
      `, from ${fullTime(first.due_at)} on`,
      others.length ? [", and ", h("a", { href: "#/usage" }, `${count(others.length)}${next ? " and more" : ""} others`)] : "",
      ". Pin a job to keep it.",
    ),
  ]);

function row({ job, name, user, part, bytes: size, due_at: due }) {
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, h("a.name", { href: `#/jobs/${job}` }, name || shortId(job))),
    h("td", null, user || NONE),
    h("td", null, PARTS[part]),
    h("td.number", null, bytes(size)),
    h("td", { title: fullTime(due) }, time(due)),
  );
}

export const ofAll = () =>
  filled({ limit: TABLE_ROWS }, ({ retention, next }) => [
    h("h2", null, "What goes by itself"),
    h(
      "div.panel",
      null,
      scrolling(
        "What goes by itself",
        h(
          "table.groups",
          { "aria-label": "What goes by itself" },
          h("thead", null, h("tr", null, ...["Job", "User", "Part", "Size", "From"].map((text) => h(text === "Size" ? "th.number" : "th", { scope: "col" }, text)))),
          h("tbody", null, ...retention.map(row)),
        ),
      ),
    ),
    h("p.quiet", null, next ? `The first ${TABLE_ROWS}. ` : "", "A pinned job, an unfinished one and one from whose model another starts lose nothing."),
  ]);
