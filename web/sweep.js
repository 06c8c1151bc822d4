// Page of one sweep: for each setting the mean over seeds with its 95 % interval, the
// effect against the first setting, and curves with bands. Updated while its jobs run. The
// table compares all settings at one epoch; the curve of each goes to its own end.

import * as api from "./api.js";
import * as live from "./live.js";
import { actOnJobs } from "./bulk.js";
import { Chart, Linked } from "./chart.js";
import { h, notice, problemNotice, scrolling, setText, uniqueId } from "./dom.js";
import { count, exact, fileStem, fixed, fullTime, groupLabel, interval, NONE, shortId } from "./format.js";
import { LINE_STYLES, lineStyle, swatch } from "./pen.js";

const POINTS = 200;
const REFRESH_MS = 2000; // events are collected for this time

export const stateList = (states) =>
  Object.entries(states)
    .filter(([, n]) => n > 0)
    .map(([state, n]) => `${count(n)} ${state}`)
    .join(", ") || "no jobs";

const settingLabel = (setting) =>
  Object.entries(setting)
    .map(([field, value]) => `${field.split(".").at(-1)} ${typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? exact(value) : value}`)
    .join(", ") || "all seeds";

// Readable label of a pointer such as "/groups/never_used/mean_logp/none".
function seriesLabel(pointer) {
  const parts = pointer.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (parts[0] !== "groups") return groupLabel(parts.join(" "));
  return `${groupLabel(parts[1])}: ${parts.slice(2).join(" ").replaceAll("_", " ")}`;
}

// Where the curve of a setting ends: the last epoch that all its jobs with records have. Jobs
// that broke off count only if there are no others.
function lastEpoch({ jobs }) {
  const begun = jobs.filter(({ epoch }) => epoch >= 0);
  const whole = begun.filter(({ state }) => state !== "failed" && state !== "cancelled");
  return Math.min(...(whole.length ? whole : begun).map(({ epoch }) => epoch));
}

class SweepPage {
  constructor(view, id) {
    this.view = view;
    this.id = id;
    this.unsubscribe = [live.subscribe("job", (data) => data.sweep === id && this.later()), live.subscribe("reset", () => this.later())];
    this.linked = new Linked(() => {});
    this.load();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    for (const end of this.unsubscribe) end();
    this.chart?.destroy();
  }

  later() {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.load();
    }, REFRESH_MS);
  }

  async load() {
    try {
      this.sweep = await api.getSweep(this.id, POINTS);
      const last = Math.max(...this.sweep.settings.map(lastEpoch));
      this.drawn = last > this.sweep.epoch ? await api.getSweep(this.id, POINTS, last) : this.sweep;
      if (this.closed) return;
      if (!this.banner) this.build();
      this.show();
    } catch (problem) {
      if (this.closed || problem.status === 401) return;
      (this.banner ?? this.view).replaceChildren(problemNotice("Cannot load this sweep", problem));
    }
  }

  build() {
    this.banner = h("div");
    this.states = h("span.meta");
    const id = uniqueId("series");
    this.select = h("select", { id, onchange: () => this.draw() });
    this.chart = new Chart({ label: "The chosen number by epoch, mean over seeds with its 95 % interval", height: 340, linked: this.linked, subject: () => this.subject(), xLabel: "epoch" });
    this.head = h("tr");
    this.body = h("tbody");
    this.caption = h("p.help");
    this.cancel = h("button", { type: "button", onclick: () => this.cancelAll() }, "Cancel all");
    this.jobs = h("ul.downloads");
    this.view.replaceChildren(
      h(
        "div.pagehead",
        null,
        h("div", null, h("p.crumb", null, h("a", { href: "#/sweeps" }, "Sweeps"), " / ", h("code", null, this.id)), h("h1", null, this.sweep.name), this.states),
        h("div.actions", null, this.cancel),
      ),
      this.banner,
      h("section.panel", null, h("div.panelhead", null, h("h2", null, "By epoch"), h("label", { for: id }, "Number "), this.select), this.chart.root),
      h("section.panel", null, h("h2", null, "By setting"), this.caption, scrolling("Settings", h("table.groups", { "aria-label": "Settings" }, h("thead", null, this.head), this.body))),
      h("section.panel", null, h("h2", null, "Jobs"), this.jobs),
    );
  }

  show() {
    const { sweep } = this;
    document.title = `${sweep.name} · tokenfate`;
    const limit = sweep.max_running ? ` · at most ${count(sweep.max_running)} at once` : "";
    setText(this.states, `${stateList(sweep.states)}${limit} · submitted ${fullTime(sweep.submitted_at)}`);
    this.cancel.hidden = this.unended === 0;
    const pointers = Object.keys(sweep.settings[0]?.series ?? {});
    if (this.pointers !== pointers.join()) {
      this.pointers = pointers.join();
      this.select.replaceChildren(...pointers.map((pointer) => h("option", { value: pointer }, seriesLabel(pointer))));
      this.select.value = pointers.find((pointer) => pointer.includes("never_used/mean_logp")) ?? pointers[0];
    }
    this.showTable(pointers);
    this.showJobs();
    this.draw();
  }

  subject() {
    const { name, id, settings } = this.sweep;
    return { name: `${name} · sweep ${shortId(id)} · ${count(settings.length)} settings`, file: fileStem(name, id) };
  }

  draw() {
    const { settings, epochs } = this.drawn;
    const pointer = this.select.value;
    this.linked.setFull(0, Math.max(1, epochs.at(-1)));
    const series = settings.slice(0, LINE_STYLES).map((each, index) => {
      const { setting, curves } = each;
      const end = lastEpoch(each);
      const upToEnd = (values) => values.map((value, i) => (epochs[i] <= end ? value : null));
      const [mean, half] = [curves[pointer].mean, curves[pointer].half].map(upToEnd);
      const edge = (sign) => mean.map((value, i) => (value === null || half[i] === null ? null : value + sign * half[i]));
      return { key: settingLabel(setting), label: settingLabel(setting), ...lineStyle(index), values: mean, band: [[edge(-1), edge(1)]] };
    });
    const note = settings.length > LINE_STYLES ? [notice("info", "Not all are drawn", `The first ${LINE_STYLES} of ${settings.length} settings are.`)] : [];
    this.banner.replaceChildren(...note);
    this.chart.show({ title: seriesLabel(pointer), note: "Mean over seeds; band: its 95 % interval, while at most four settings are shown.", x: epochs, y: { label: seriesLabel(pointer), format: (value) => fixed(value, 3) }, series });
  }

  showTable(pointers) {
    const { settings, epoch } = this.sweep;
    setText(this.caption, `At epoch ${count(epoch)}: mean over seeds ± half of the 95 % interval; below, the effect against the first setting, seed by seed.`);
    this.head.replaceChildren(h("th", { scope: "col" }, "Number"), ...settings.map(({ setting }, i) => h("th.number", { scope: "col" }, swatch(lineStyle(i % LINE_STYLES)), settingLabel(setting))));
    this.body.replaceChildren(
      ...pointers.map((pointer) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, seriesLabel(pointer)),
          ...settings.map(({ series }, i) => {
            const { value, effect } = series[pointer];
            return h("td.number", null, h("span.now", null, interval(value)), h("span.start", null, i === 0 ? `${value.n} seeds` : `effect ${effect ? interval(effect) : NONE}`));
          }),
        ),
      ),
    );
  }

  showJobs() {
    this.jobs.replaceChildren(
      ...this.sweep.settings.flatMap(({ setting, jobs }) =>
        jobs.map(({ id, state, seeds }) => h("li", null, h("a", { href: `#/jobs/${id}` }, [settingLabel(setting), ...Object.values(seeds).map((seed) => `seed ${seed}`)].join(", ")), ` ${state}`)),
      ),
    );
  }

  get unended() {
    const { queued, held, running } = this.sweep.states;
    return queued + held + running;
  }

  async cancelAll() {
    try {
      if (await actOnJobs("cancel", { sweep: this.id, state: "queued,held,running" })) this.load();
    } catch (problem) {
      this.banner.replaceChildren(problemNotice("Not cancelled", problem));
    }
  }
}

export function render(view, { id }) {
  const page = new SweepPage(view, id);
  return () => page.close();
}
