// Where the messages of a user's jobs go: list, add, remove, the secret of their signatures, and
// what could not be delivered yet. An address is shown without its path, which may be a secret.

import * as api from "./api.js";
import { announce, h, notice, problemNotice, scrollable } from "./dom.js";
import { count, fullTime, time } from "./format.js";
import { confirmed } from "./job_actions.js";

const EVENTS = ["succeeded", "failed", "held"];
const FORMATS = [["json", "JSON"], ["slack", "Slack, Mattermost"], ["ntfy", "ntfy"]];
const NAMES = Object.fromEntries(FORMATS);

function targets(list, remove) {
  const row = (target) =>
    h(
      "tr",
      null,
      h("td", null, h("code", null, target.url)),
      h("td", null, target.on.join(", ")),
      h("td", null, NAMES[target.format]),
      h("td", null, h("button", { type: "button", "aria-label": `Remove ${target.url}`, onclick: () => remove(target) }, "Remove")),
    );
  return h(
    "table",
    { "aria-label": "Notifications" },
    h("thead", null, h("tr", null, ...["Address", "Told when", "Format", ""].map((text) => h("th", null, text)))),
    h("tbody", null, ...list.map(row)),
  );
}

function pending(messages) {
  const line = ({ url, tries, error, due_at: due }) =>
    h("li", { title: fullTime(due) }, h("code", null, url), tries ? ` ${tries === 1 ? "one try" : `${count(tries)} tries`}: ${error}; again at ${time(due)}` : " on its way");
  return notice("info", "Not delivered yet", h("ul", null, ...messages.map(line)));
}

function addForm(add) {
  const url = h("input", { id: "notify-url", type: "url", required: true, maxLength: 2048, autocomplete: "off", placeholder: "https://" });
  const format = h("select", { id: "notify-format" }, ...FORMATS.map(([value, text]) => h("option", { value }, text)));
  const boxes = EVENTS.map((event) => h("input", { type: "checkbox", value: event, checked: true }));
  const onsubmit = (event) => {
    event.preventDefault();
    add({ url: url.value.trim(), format: format.value, on: boxes.filter((box) => box.checked).map((box) => box.value) });
  };
  return h(
    "form.panel",
    { onsubmit },
    h("h2", null, "Be told of your jobs"),
    h("div.field", null, h("label", { for: "notify-url" }, "Address"), url, h("span.help", null, "The server posts there. It is shown without its path afterwards.")),
    h("div.field", null, h("label", { for: "notify-format" }, "Format"), format),
    h("div.filters", { role: "group", "aria-label": "Told when" }, ...EVENTS.map((event, i) => h("label", null, boxes[i], ` ${event}`))),
    h("div", null, h("button.primary", { type: "submit" }, "Add")),
  );
}

export function notifications(user) {
  const list = scrollable("Notifications", h("div.panel.tablepanel"));
  const waiting = h("div");
  const result = h("div", { role: "status" });
  const secret = h("button", { type: "button" }, "New secret");
  const load = async () => {
    const { notify, has_secret: has, pending: messages } = await api.getNotify(user);
    list.replaceChildren(notify.length ? targets(notify, act.remove) : h("p.quiet", null, "Nobody is told."));
    waiting.replaceChildren(...(messages.length ? [pending(messages)] : []));
    act.has = has;
  };
  const attempt = async (run) => {
    try {
      result.replaceChildren(...(await run()));
      await load();
    } catch (problem) {
      result.replaceChildren(problemNotice("Not done", problem));
    }
  };
  const act = {
    add: (body) => attempt(async () => {
      await api.addNotify(user, body);
      return [];
    }),
    remove: async (target) => {
      if (!(await confirmed(`Tell ${target.url} nothing any more?`, "Remove"))) return;
      await attempt(async () => {
        await api.removeNotify(user, target.id);
        return [];
      });
    },
    secret: async () => {
      if (act.has && !(await confirmed("Replace the secret? Messages are signed with the new one at once.", "Replace"))) return;
      await attempt(async () => {
        const made = await api.newNotifySecret(user);
        announce("Secret made");
        return [notice("good", "Copy it: it is shown this once", h("code.secret", null, made.secret))];
      });
    },
  };
  secret.onclick = act.secret;
  load().catch((problem) => list.replaceChildren(problemNotice("Cannot load the list", problem)));
  return h(
    "section",
    null,
    h("h2", null, "Notifications"),
    result,
    waiting,
    list,
    addForm(act.add),
    h("p", null, secret, " ", h("span.quiet", null, "With a secret messages are signed: Tokenfate-Signature is the HMAC-SHA256 of Tokenfate-Timestamp, a dot and the body.")),
  );
}
