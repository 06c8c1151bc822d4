// The user's own limits, and bearer tokens: list, issue, rotate, revoke. The text of a token is
// on the page after the answer that made it, and nowhere else. Below, who is told of the user's jobs.

import * as api from "./api.js";
import { announce, h, notice, problemNotice, scrollable } from "./dom.js";
import { bytes, count, fullTime, NONE, time } from "./format.js";
import { confirmed } from "./job_actions.js";
import { notifications } from "./notify.js";

const DAY = 86400;
const LIVES = [
  ["", "no end"],
  [DAY, "a day"],
  [30 * DAY, "30 days"],
  [365 * DAY, "a year"],
];

// What each limit counts, and how its values are written.
const LIMITS = {
  queued: ["Jobs queued or held", count],
  running: ["Jobs that run at the same time", count],
  stored_bytes: ["Stored: records, models, checkpoints, texts", bytes],
  device_hours: ["Hours on devices in the last seven days", (hours) => `${Number(hours.toFixed(1))} h`],
  largest_bytes: ["Memory of one job", bytes],
};

function limitRow([name, { limit, own, present }]) {
  const [label, write] = LIMITS[name];
  const full = limit !== null && present !== null && present >= limit;
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, label),
    h("td.number", null, present === null ? NONE : write(present), full ? h("strong", null, " (full)") : null),
    h("td.number", null, limit === null ? "no limit" : write(limit)),
    h("td", null, own ? "yours" : "everybody’s"),
  );
}

function limitsOf(limits) {
  const head = [h("th", null, "Limit"), h("th.number", null, "You have"), h("th.number", null, "You may have"), h("th", null, "Set")];
  const table = h(
    "table",
    { "aria-label": "Limits" },
    h("thead", null, h("tr", null, ...head)),
    h("tbody", null, ...Object.entries(limits).map(limitRow)),
  );
  return [
    h("h2", null, "My limits"),
    h("p.quiet", null, "An administrator can change them."),
    scrollable("Limits", h("div.panel.tablepanel", null, table)),
  ];
}

function row(token, act) {
  const name = token.label || token.id;
  return h(
    "tr",
    null,
    h("td", null, token.label),
    h("td", null, h("code", null, token.id)),
    h("td", { title: fullTime(token.created_at) }, time(token.created_at)),
    h("td", { title: fullTime(token.expires_at) }, token.expires_at ? time(token.expires_at) : "never"),
    h(
      "td",
      null,
      h("button", { type: "button", "aria-label": `Rotate ${name}`, onclick: () => act.rotate(token) }, "Rotate"),
      " ",
      h("button", { type: "button", "aria-label": `Revoke ${name}`, onclick: () => act.revoke(token) }, "Revoke"),
    ),
  );
}

function table(tokens, act) {
  return h(
    "table",
    { "aria-label": "Tokens" },
    h("thead", null, h("tr", null, ...["Label", "Id", "Made", "Ends", ""].map((text) => h("th", null, text)))),
    h("tbody", null, ...tokens.map((token) => row(token, act))),
  );
}

function issueForm(issue) {
  const label = h("input", { id: "token-label", maxLength: 64, autocomplete: "off" });
  const life = h("select", { id: "token-life" }, ...LIVES.map(([value, text]) => h("option", { value }, text)));
  const onsubmit = (event) => {
    event.preventDefault();
    issue({ label: label.value.trim(), ...(life.value && { expires_in: Number(life.value) }) });
  };
  return h(
    "form.panel",
    { onsubmit },
    h("h2", null, "Issue a token"),
    h("div.field", null, h("label", { for: "token-label" }, "Label"), label, h("span.help", null, "What it is for.")),
    h("div.field", null, h("label", { for: "token-life" }, "Lives"), life),
    h("div", null, h("button.primary", { type: "submit" }, "Issue")),
  );
}

function tokensOf(view, user) {
  const list = scrollable("Tokens", h("div.panel.tablepanel"));
  const result = h("div", { role: "status" });
  const load = async () => {
    const { tokens } = await api.getUserTokens(user);
    list.replaceChildren(tokens.length ? table(tokens, act) : h("p.quiet", null, "No tokens."));
  };
  const attempt = async (run) => {
    try {
      result.replaceChildren(...(await run()));
      await load();
    } catch (problem) {
      result.replaceChildren(problemNotice("Not done", problem));
    }
  };
  const shown = ({ token }, more) => {
    announce("Token made");
    return [notice("good", "Copy it: it is shown this once", h("code.secret", null, token)), ...more];
  };
  const act = {
    issue: (body) => attempt(async () => shown(await api.issueToken(user, body), [])),
    rotate: (token) => {
      const old = h("p.quiet", null, "The old one, and the logins made with it, end in a minute.");
      return attempt(async () => shown(await api.rotateToken(user, token.id), [old]));
    },
    revoke: async (token) => {
      const name = token.label || token.id;
      if (!(await confirmed(`Revoke ${name}? The logins made with it end too.`, "Revoke"))) return;
      await attempt(async () => {
        await api.revokeToken(user, token.id);
        return [notice("good", "Revoked", `${name} is refused.`)];
      });
    },
  };
  view.append(h("h2", null, "Tokens"), result, list, issueForm(act.issue));
  load().catch((problem) => list.replaceChildren(problemNotice("Cannot load the list", problem)));
}

export function render(view) {
  view.replaceChildren(h("h1", null, "My account"));
  api.getWhoami().then(
    ({ name, auth, limits }) => {
      view.append(...limitsOf(limits));
      if (auth) tokensOf(view, name);
      else view.append(h("p", null, "This server asks nobody for a token."));
      view.append(notifications(name));
    },
    (problem) => view.append(problemNotice("Who you are is not known", problem)),
  );
  return () => {};
}
