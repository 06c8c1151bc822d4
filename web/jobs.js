// List of jobs, newest first, updated by the event stream. `epoch` events carry
// progress and headline numbers. After a `job` event the job is fetched again.
//
// The rows are an unbroken run of the server's order, and `next` is the cursor after the last
// of them. A first page that does not reach the known rows replaces them; the count of the
// new jobs it leaves out stands at the top.

import * as api from "./api.js";
import * as live from "./live.js";
import { SelectionBar } from "./bulk.js";
import { h, problemNotice, scrollable, segmented, setText } from "./dom.js";
import { count, duration, fixed, fullTime, groupLabel, shortId, time } from "./format.js";
import { ofMine } from "./retention.js";
import { progressBar, stateBadge } from "./state.js";

const PAGE = 25;
const PAGE_MAX = 200; // largest page of the API
const GROWTH = 200; // rows that new jobs add before the list starts again at its first page
const SEARCH_HELP =
  'Words of name, notes and tags, the beginning of an id, and any setting: lr<0.01  d_model:64,128  tie!=tied  ' +
  'tag:"my tag"  user:me  state:failed  loss>5. A - before a term excludes what it fits.';
const SEARCH_MS = 250; // pause in typing after which the search starts
const REFETCH_MS = 250; // `job` events are collected for this time, after the last answer
const COMPARE_MAX = 20; // jobs of one comparison
const REFETCH_ONE_BY_ONE = 8; // with more changed jobs the whole list is loaded
const MAIN_GROUPS = ["most_common", "least_common", "never_used"];
const STATES = ["", "queued", "held", "running", "succeeded", "failed", "cancelled"];

// Mean log p of a group under the job's headline mask.
function headline(job, group) {
  const mean = job.summary?.groups?.[group]?.mean_logp;
  if (mean === null || typeof mean !== "object") return mean;
  return mean[job.mask ?? "columns"];
}

class Row {
  constructor(job, picks, onpick) {
    this.pick = h("input", {
      type: "checkbox",
      checked: picks.has(job.id),
      onchange: () => {
        if (this.pick.checked) picks.add(job.id);
        else picks.delete(job.id);
        onpick();
      },
    });
    this.name = h("a.name", { href: `#/jobs/${job.id}` });
    this.meta = h("span.meta");
    this.badge = stateBadge();
    this.bar = progressBar();
    this.loss = h("td.number", { dataset: { label: "Loss" }, role: "cell" });
    this.groups = MAIN_GROUPS.map((group, index) =>
      h("td.number", { dataset: { label: groupLabel(group), group: index }, role: "cell" }),
    );
    this.device = h("span");
    this.user = h("span");
    this.when = h("span");
    this.element = h(
      "tr",
      { role: "row" },
      h("td.job", { role: "cell" }, h("div", null, this.pick, h("div", null, this.name, this.meta))),
      h("td.state", { role: "cell" }, this.badge.element, this.bar.element),
      this.loss,
      ...this.groups,
      h("td.where", { role: "cell" }, this.device, this.user),
      h("td.when", { role: "cell" }, this.when),
    );
    this.update(job);
  }

  update(job) {
    this.job = job;
    setText(this.name, job.name || shortId(job.id));
    this.pick.setAttribute("aria-label", `Select ${job.name || shortId(job.id)}`);
    setText(this.meta, [shortId(job.id), ...(job.tags ?? [])].join(" · "));
    this.badge.update(job);
    this.bar.update(job);
    setText(this.loss, fixed(job.summary?.loss, 3));
    MAIN_GROUPS.forEach((group, i) => setText(this.groups[i], fixed(headline(job, group), 2)));
    setText(this.device, job.device ?? "");
    setText(this.user, job.user ?? "");
    setText(this.when, whenText(job));
    this.when.title = fullTime(job.submitted_at);
  }
}

function whenText(job) {
  if (job.state === "running" && Number.isFinite(job.eta_seconds)) return `${duration(job.eta_seconds)} left`;
  return time(job.finished_at ?? job.submitted_at);
}

class JobList {
  constructor(view, { state = "", q = "" }, kept) {
    this.view = view;
    this.kept = kept;
    this.filter = { state, q };
    this.rows = new Map(); // id -> Row, newest first
    this.next = null;
    this.room = 0; // most rows before the list starts again
    this.since = ""; // newest submission when the user last asked for rows
    this.news = new Set(); // ids of jobs submitted after it
    this.dirty = new Set();
    this.picks = new Set(kept.picks); // ids of the selected jobs
    this.unsubscribe = [
      live.subscribe("job", (data) => this.onJob(data)),
      live.subscribe("epoch", (data) => this.onEpochs(data)),
      live.subscribe("reset", () => this.reload()),
    ];
    this.build();
    this.showCompare();
  }

  close() {
    this.closed = true;
    Object.assign(this.kept, { rows: this.rows.size, picks: this.picks });
    for (const end of this.unsubscribe) end();
    clearTimeout(this.searchTimer);
    clearTimeout(this.refetchTimer);
    this.loading?.abort();
  }

  build() {
    const search = h("input", {
      type: "search",
      value: this.filter.q,
      placeholder: "Words, or lr<0.01 tie:untied user:me",
      title: SEARCH_HELP,
      "aria-label": "Search jobs",
      oninput: () => {
        clearTimeout(this.searchTimer);
        this.searchTimer = setTimeout(() => this.setFilter({ q: search.value.trim() }), SEARCH_MS);
      },
    });
    const states = segmented({
      legend: "State",
      name: "state",
      value: this.filter.state,
      options: STATES.map((state) => [state, state || "all"]),
      onchange: (state) => this.setFilter({ state }),
    });
    this.body = h("tbody", { role: "rowgroup" });
    this.table = h(
      "table.jobs",
      { role: "table", "aria-label": "Jobs", hidden: true },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...headings())),
      this.body,
    );
    this.message = h("div.message");
    this.selection = new SelectionBar({
      picks: this.picks,
      rows: () => [...this.rows.keys()],
      filter: () => this.filter,
      isWhole: () => !this.next,
      onchange: () => this.showPicks(),
    });
    this.compare = h("a.button", { hidden: true }, "Compare jobs");
    this.newer = h("button.quiet", { type: "button", hidden: true, onclick: () => this.loadNews() });
    this.older = h("button", { type: "button", hidden: true, onclick: () => this.loadOlder() }, "Older jobs");
    this.view.replaceChildren(
      h("div.pagehead", null, h("h1", null, "Jobs"), this.compare, h("a.button.primary", { href: "#/new" }, "New experiment")),
      ofMine(),
      h("div.filters", null, search, states),
      this.message,
      this.selection.element,
      h("div.more", { role: "status" }, this.newer),
      scrollable("Jobs", h("div.panel.tablepanel", null, this.table)),
      h("div.more", null, this.older),
    );
  }

  showCompare() {
    this.compare.hidden = this.picks.size < 2 || this.picks.size > COMPARE_MAX;
    setText(this.compare, `Compare ${this.picks.size} jobs`);
    this.compare.href = `#/compare?jobs=${[...this.picks].join()}`;
  }

  // Rows follow the set of picks, which the bar changes too.
  showPicks() {
    for (const [id, row] of this.rows) row.pick.checked = this.picks.has(id);
    this.showCompare();
  }

  // The address contains the filter, so that a filtered list can be linked to.
  setFilter(changes) {
    Object.assign(this.filter, changes);
    const given = Object.entries(this.filter).filter(([, value]) => value);
    history.replaceState(history.state, "", `#/jobs${given.length ? `?${new URLSearchParams(given)}` : ""}`);
    this.rows.clear();
    this.selection.picked();
    this.reload();
  }

  // The rows are what the user asked for: news counts from here.
  settle() {
    this.room = this.rows.size + GROWTH;
    this.since = this.rows.values().next().value?.job.submitted_at ?? "";
    this.news.clear();
  }

  async reload() {
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    try {
      const { rows = 0, top } = this.kept; // of the list as it was left, once
      const page = await api.getJobs({ ...this.filter, limit: Math.max(PAGE, Math.min(rows, PAGE_MAX)) }, loading.signal);
      if (loading.signal.aborted) return;
      const isFirst = this.rows.size === 0;
      this.merge(page);
      if (isFirst) this.settle();
      this.message.replaceChildren();
      this.show();
      if (top !== undefined) window.scrollTo(0, top);
      Object.assign(this.kept, { rows: undefined, top: undefined });
    } catch (problem) {
      if (problem.name !== "AbortError" && problem.status !== 401)
        this.message.replaceChildren(problemNotice("Cannot load the jobs", problem));
    }
  }

  // The known rows after the last one of the first page stay, and so does the cursor after
  // them. An unknown last one leaves a gap of unknown length: then the page is all.
  merge({ jobs, next }) {
    const before = this.rows;
    const known = [...before];
    const at = next ? known.findIndex(([id]) => id === jobs.at(-1).id) : -1;
    const isJoined = at >= 0 && jobs.length + known.length - at - 1 <= this.room;
    if (!isJoined) this.next = next;
    const rows = jobs.map((job) => [job.id, this.rowFor(before, job)]);
    this.rows = new Map(isJoined ? [...rows, ...known.slice(at + 1)] : rows);
  }

  newRow(job) {
    return new Row(job, this.picks, () => this.selection.picked());
  }

  rowFor(rows, job) {
    const row = rows.get(job.id);
    if (!row) return this.newRow(job);
    row.update(job);
    return row;
  }

  async loadOlder(limit = PAGE) {
    this.older.disabled = this.newer.disabled = true;
    try {
      const from = this.next;
      const page = await api.getJobs({ ...this.filter, limit, cursor: from });
      if (this.next !== from) return; // the list has started again meanwhile
      for (const job of page.jobs) if (!this.rows.has(job.id)) this.rows.set(job.id, this.newRow(job));
      this.next = page.next;
      this.room = this.rows.size + GROWTH;
      if (this.missing() === 0) this.settle();
      this.show();
    } catch (problem) {
      this.message.replaceChildren(problemNotice("Cannot load older jobs", problem));
    } finally {
      this.older.disabled = this.newer.disabled = false;
    }
  }

  // New jobs that are not in the list lie right after its rows.
  loadNews() {
    return this.loadOlder(Math.min(PAGE_MAX, this.missing()));
  }

  missing() {
    return [...this.news].filter((id) => !this.rows.has(id)).length;
  }

  show() {
    this.showRows([...this.rows.values()].map((row) => row.element));
    const missing = this.next ? this.missing() : 0;
    this.newer.hidden = missing === 0;
    setText(this.newer, `${count(missing)} more new ${missing === 1 ? "job" : "jobs"}`);
    this.older.hidden = !this.next;
    this.table.hidden = this.rows.size === 0;
    this.selection.update();
    if (this.table.hidden) this.message.replaceChildren(this.emptyState());
  }

  // Rows that stay are not moved, so that they keep the focus.
  showRows(wanted) {
    const { body } = this;
    const stays = new Set(wanted);
    for (const element of [...body.children]) if (!stays.has(element)) element.remove();
    wanted.forEach((element, i) => {
      if (body.children[i] !== element) body.insertBefore(element, body.children[i] ?? null);
    });
  }

  emptyState() {
    if (this.filter.q || this.filter.state)
      return h("div.empty", null, h("p", null, "No job matches this filter."), h("a.button", { href: "#/jobs" }, "Show all jobs"));
    const command = [
      "curl -H 'Content-Type: application/json' \\",
      "     -d @config/presets/gulliver.json \\",
      `     ${api.apiRoot}/jobs`,
    ].join("\n");
    return h(
      "div.empty",
      null,
      h("p", null, "No experiments yet. Submit the first one from a terminal:"),
      scrollable("Command", h("pre", null, command)),
      h("p", null, "or ", h("a", { href: "#/new" }, "fill in the form"), "."),
    );
  }

  onEpochs({ job: id, to, records }) {
    const row = this.rows.get(id);
    if (!row || !records.length) return;
    const summary = records[records.length - 1];
    row.update({ ...row.job, epoch: to, summary });
    this.dirtyLater(id);
  }

  // An `epoch` event has no estimate of the time left, so fetch the job from time to time.
  dirtyLater(id) {
    const row = this.rows.get(id);
    if (Date.now() - (row.fetchedAt ?? 0) < 3000) return;
    row.fetchedAt = Date.now();
    this.onJob({ id });
  }

  onJob({ id, state, submitted_at: submitted }) {
    if (state === "deleted") {
      this.rows.delete(id);
      this.news.delete(id);
      if (this.picks.delete(id)) this.showCompare();
      this.show();
      return;
    }
    this.countNews(id, state, submitted);
    this.dirty.add(id);
    this.refetchLater();
  }

  // Which jobs a search finds only the server knows.
  countNews(id, state, submitted) {
    if (this.filter.q || !(submitted > this.since)) return;
    if (!this.filter.state || state === this.filter.state) this.news.add(id);
    else this.news.delete(id);
  }

  // The next collection starts after the answers of the last one, so a busy server gets no
  // more requests than it can answer.
  refetchLater() {
    this.refetchTimer ??= setTimeout(async () => {
      await this.refetch();
      this.refetchTimer = undefined;
      if (this.dirty.size && !this.closed) this.refetchLater();
    }, REFETCH_MS);
  }

  async refetch() {
    const ids = [...this.dirty];
    this.dirty.clear();
    const unknown = ids.some((id) => !this.rows.has(id));
    if (unknown || ids.length > REFETCH_ONE_BY_ONE) return this.reload();
    await Promise.all(ids.map((id) => this.refetchOne(id)));
    this.show();
  }

  async refetchOne(id) {
    try {
      const job = await api.getJob(id);
      if (this.filter.state && job.state !== this.filter.state) this.rows.delete(id);
      else this.rows.get(id)?.update(job);
    } catch (problem) {
      if (problem.status === 404) this.rows.delete(id);
    }
  }
}

function headings() {
  const swatch = (index) => h(`span.dot.group-${index}`);
  return [
    h("th", { role: "columnheader" }, "Experiment"),
    h("th", { role: "columnheader" }, "State"),
    h("th.number", { role: "columnheader" }, "Loss"),
    ...MAIN_GROUPS.map((group, index) =>
      h("th.number", { role: "columnheader", title: "Mean log p under the headline mask" }, swatch(index), groupLabel(group)),
    ),
    h("th", { role: "columnheader" }, "Device, user"),
    h("th", { role: "columnheader" }, "Time"),
  ];
}

export function render(view, params, kept) {
  const list = new JobList(view, params, kept);
  live.ready().then(() => list.reload());
  return () => list.close();
}
