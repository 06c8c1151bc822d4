// Table of a job's tracked tokens, with sort and filter, and above it a chart with the
// histories of the selected tokens.

import * as api from "./api.js";
import { Chart, Linked } from "./chart.js";
import { h, problemNotice, scrolling, setText } from "./dom.js";
import { count, fixed, groupLabel, signed, visible } from "./format.js";

const SHOWN = 25; // rows before "show all"
const DRAWN_MAX = 6; // histories in the chart; more could not be told apart

const change = (token) =>
  Number.isFinite(token.first) && Number.isFinite(token.last) ? token.last - token.first : null;

const COLUMNS = [
  { key: "text", label: "Token", value: (token) => token.text },
  { key: "id", label: "Id", number: true, value: (token) => token.id },
  { key: "group", label: "Group", value: (token) => token.group },
  { key: "count", label: "Corpus count", number: true, value: (token) => token.count },
  { key: "first", label: "First log p", number: true, value: (token) => token.first },
  { key: "last", label: "Last log p", number: true, value: (token) => token.last },
  { key: "change", label: "Change", number: true, value: change },
];

export class TokenTable {
  constructor(id, subject) {
    this.id = id;
    this.tokens = [];
    this.drawn = new Map(); // token id -> {epochs, logp}
    this.sort = { key: null, down: true };
    this.all = false;
    this.linked = new Linked(() => {});
    this.chart = new Chart({ label: "Log p of the chosen tokens by epoch", height: 240, linked: this.linked, subject, xLabel: "epoch" });
    this.build();
  }

  destroy() {
    this.closed = true;
    this.chart.destroy();
  }

  build() {
    this.search = h("input", { type: "search", placeholder: "Find a token or id", "aria-label": "Find a token", oninput: () => this.show() });
    this.group = h("select", { "aria-label": "Group", onchange: () => this.show() });
    this.body = h("tbody");
    this.head = h("tr");
    this.more = h("button.quiet", { type: "button", onclick: () => this.showAll() });
    this.message = h("div");
    this.chart.root.hidden = true;
    this.element = h(
      "section.panel.tokens",
      null,
      h("h2", null, "Tracked tokens"),
      h("p.help", null, "␣ is a space, ⏎ a line end. Choose tokens to draw their history."),
      h("div.filters", null, this.search, this.group),
      this.message,
      this.chart.root,
      scrolling("Tracked tokens", h("table", { "aria-label": "Tracked tokens" }, h("thead", null, this.head), this.body)),
      this.more,
    );
    this.showHead();
  }

  showHead() {
    const cells = COLUMNS.map((column) => {
      const sorted = this.sort.key === column.key ? (this.sort.down ? "descending" : "ascending") : "none";
      const button = h("button.sort", { type: "button", onclick: () => this.sortBy(column.key) }, column.label);
      return h(column.number ? "th.number" : "th", { scope: "col", "aria-sort": sorted }, button);
    });
    this.head.replaceChildren(h("th", { scope: "col" }, "Draw"), ...cells);
  }

  async load() {
    try {
      const { tokens } = await api.getTokens(this.id);
      if (this.closed) return;
      this.tokens = tokens;
      this.message.replaceChildren();
      this.showGroups();
      this.show();
      await this.refreshDrawn();
    } catch (problem) {
      if (!this.closed && problem.status !== 401) this.message.replaceChildren(problemNotice("Cannot load the tokens", problem));
    }
  }

  showGroups() {
    this.groups = [...new Set(this.tokens.map((token) => token.group))];
    if (this.group.options.length === this.groups.length + 1) return;
    const options = this.groups.map((name) => h("option", { value: name }, groupLabel(name)));
    this.group.replaceChildren(h("option", { value: "" }, "all groups"), ...options);
  }

  sortBy(key) {
    this.sort = { key, down: this.sort.key === key ? !this.sort.down : key !== "text" && key !== "group" };
    this.showHead();
    this.show();
  }

  showAll() {
    this.all = !this.all;
    this.show();
  }

  wanted() {
    const text = this.search.value;
    const found = this.tokens.filter(
      (token) =>
        (!this.group.value || token.group === this.group.value) &&
        (!text || token.text.includes(text) || visible(token.text).includes(text) || String(token.id) === text),
    );
    const column = COLUMNS.find(({ key }) => key === this.sort.key);
    if (!column) return found;
    const sign = this.sort.down ? -1 : 1;
    return found.sort((a, b) => sign * compare(column.value(a), column.value(b)));
  }

  show() {
    const found = this.wanted();
    const shown = this.all ? found : found.slice(0, SHOWN);
    this.body.replaceChildren(...shown.map((token) => this.row(token)));
    this.more.hidden = found.length <= SHOWN;
    setText(this.more, this.all ? "Show fewer" : `Show all ${count(found.length)}`);
  }

  row(token) {
    const box = h("input", {
      type: "checkbox",
      checked: this.drawn.has(token.id),
      "aria-label": `Draw ${visible(token.text)}`,
      onchange: () => this.draw(token, box.checked),
    });
    return h(
      "tr",
      null,
      h("td", null, box),
      h("td", null, h("code.token", null, visible(token.text))),
      h("td.number", null, String(token.id)),
      h("td", null, h(`span.dot.group-${this.groups.indexOf(token.group)}`), groupLabel(token.group)),
      h("td.number", null, count(token.count)),
      h("td.number", null, fixed(token.first, 3)),
      h("td.number", null, fixed(token.last, 3)),
      h("td.number", null, signed(change(token), 2)),
    );
  }

  async draw(token, on) {
    if (!on) this.drawn.delete(token.id);
    else {
      if (this.drawn.size >= DRAWN_MAX) this.drawn.delete(this.drawn.keys().next().value);
      this.drawn.set(token.id, { text: token.text, epochs: [], logp: [] });
      this.show();
    }
    await this.refreshDrawn();
  }

  async refreshDrawn() {
    try {
      await Promise.all(
        [...this.drawn].map(async ([id, history]) => Object.assign(history, await api.getTokenHistory(this.id, id))),
      );
    } catch (problem) {
      this.message.replaceChildren(problemNotice("Cannot load the history", problem));
    }
    if (!this.closed) this.drawChart();
  }

  drawChart() {
    const histories = [...this.drawn];
    this.chart.root.hidden = histories.length === 0;
    if (!histories.length) return;
    const x = histories.map(([, history]) => history.epochs).reduce((a, b) => (b.length > a.length ? b : a));
    this.linked.setFull(0, Math.max(1, x.at(-1) ?? 1));
    this.chart.show({
      title: "Mean log p of tracked tokens",
      note: "Mean over positions, without a mask. ␣ is a space, ⏎ a line end.",
      x,
      y: { label: "log p, nats", format: (value) => fixed(value, 3) },
      series: histories.map(([id, history], index) => ({
        key: String(id),
        label: visible(history.text),
        color: `--own-${index}`,
        values: history.logp,
      })),
    });
  }
}

function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b);
  return (a ?? -Infinity) - (b ?? -Infinity);
}
