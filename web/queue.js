// The queue: who runs and until when, who waits in which order, why and until when, and who is
// held. One's own jobs are marked and can be held, released and put first; administrators do so
// with all jobs, put jobs before those of all users, and close the queue.

import * as api from "./api.js";
import * as live from "./live.js";
import { h, problemNotice, setText } from "./dom.js";
import { expected, fullTime, shortId } from "./format.js";
import { confirmed } from "./job_actions.js";
import { progressBar } from "./state.js";

const REFRESH_MS = 5000; // expected times change without an event
const BETWEEN_MS = 1000; // the server makes one table a second
const PAGE = 100;
const PRIORITY_MAX = 100;

const STATES = {
  open: { words: () => "Jobs start as devices become free.", actions: ["drain", "pause"] },
  draining: { words: (who) => `${who} is draining the queue: running jobs go on, no job starts.`, actions: ["pause", "resume"] },
  paused: { words: (who) => `${who} has paused the queue: jobs wait with their checkpoints, no job starts.`, actions: ["drain", "resume"] },
};
const CHANGES = {
  drain: { label: "Drain", run: api.drainQueue, ask: "Start no more jobs? Running ones go on." },
  pause: { label: "Pause", run: api.pauseQueue, ask: "Start no more jobs, and stop the running ones? They write checkpoints and go on later with the same bits." },
  resume: { label: "Resume", run: api.resumeQueue },
};

// An expected time, and how likely it is, for those who look closer.
function when(cell, time, none) {
  setText(cell, time ? expected(time) : none);
  cell.title = time ? `likely ${fullTime(time.likely)}, nine of ten between ${fullTime(time.earliest)} and ${fullTime(time.latest)}` : "";
}

// A row of one of the tables. Cells are changed in place: what has the focus keeps it.
class Row {
  constructor(page, columns) {
    this.page = page;
    this.name = h("a.name");
    this.who = h("span.meta");
    this.urgent = h("span.badge", { dataset: { state: "held" } });
    this.bar = progressBar();
    this.cells = Object.fromEntries(columns.map(({ key, label }) => [key, h(`td.${key}`, { role: "cell", dataset: { label } })]));
    this.actions = h("div.actions");
    this.cells.job.append(this.name, this.who, this.urgent);
    this.cells.offers.append(this.actions);
    this.cells.bar?.append(this.bar.element);
    this.element = h("tr", { role: "row" }, ...Object.values(this.cells));
  }

  update(job) {
    const { cells } = this;
    const isMine = job.user === this.page.user.name;
    this.job = job;
    this.element.classList.toggle("mine", isMine);
    this.name.href = `#/jobs/${job.id}`;
    setText(this.name, job.name || shortId(job.id));
    setText(this.who, isMine ? `${job.user} (you)` : job.user);
    setText(this.urgent, job.urgent ? `urgent, by ${job.urgent}` : "");
    this.urgent.hidden = !job.urgent;
    if (cells.bar) this.bar.update(job);
    if (cells.place) setText(cells.place, job.place ? String(job.place) : "–");
    if (cells.device) setText(cells.device, job.device);
    if (cells.why) setText(cells.why, job.waits?.message ?? "about to start");
    if (cells.start) when(cells.start, job.expected_start, "not known");
    if (cells.end) when(cells.end, job.expected_end, "not known");
    this.offer(isMine);
  }

  offer(isMine) {
    const { job, page } = this;
    const isMay = isMine || page.user.admin;
    const offers = [
      isMay && job.state !== "held" && !job.hold_requested && ["Hold", () => api.holdJob(job.id)],
      isMay && job.state === "held" && ["Release", () => api.releaseJob(job.id)],
      isMay && job.state === "queued" && page.isBehind(job) && ["Put first", () => api.patchJob(job.id, { priority: page.firstPriority(job) })],
      page.user.admin && job.state === "queued" && (job.urgent
        ? ["Not urgent", () => api.patchJob(job.id, { urgent: false })]
        : ["Urgent", () => api.patchJob(job.id, { urgent: true })]),
    ].filter(Boolean);
    const labels = offers.map(([label]) => label).join();
    this.runs = Object.fromEntries(offers);
    if (this.shown === labels) return;
    this.shown = labels;
    this.actions.replaceChildren(...offers.map(([label]) =>
      h("button", { type: "button", "aria-label": `${label}: ${job.name || shortId(job.id)}`, onclick: ({ target }) => page.act(target, this.runs[label]) }, label)));
  }
}

// A table whose rows are kept by job.
class Table {
  constructor(page, title, columns, empty) {
    this.page = page;
    this.columns = columns;
    this.rows = new Map();
    this.title = title;
    this.heading = h("h2");
    this.empty = h("p.quiet", null, empty);
    this.body = h("tbody", { role: "rowgroup" });
    const headings = columns.map(({ label }) => h("th", { role: "columnheader" }, label));
    this.table = h("table.queue", { role: "table" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...headings)), this.body);
    this.element = h("section.panel", null, this.heading, this.empty, this.table);
  }

  update(jobs, total = jobs.length) {
    const rows = jobs.map((job) => {
      const row = this.rows.get(job.id) ?? new Row(this.page, this.columns);
      row.update(job);
      return [job.id, row];
    });
    this.rows = new Map(rows);
    setText(this.heading, total ? `${this.title} (${total.toLocaleString("en-GB")})` : this.title);
    this.empty.hidden = jobs.length > 0;
    this.table.hidden = jobs.length === 0;
    const elements = rows.map(([, { element }]) => element);
    if (elements.length !== this.body.children.length || elements.some((element, i) => this.body.children[i] !== element))
      this.body.replaceChildren(...elements);
  }
}

const JOB = { key: "job", label: "Experiment" };
const OFFERS = { key: "offers", label: "Actions" };
const WHY = { key: "why", label: "Why" };
const START = { key: "start", label: "Expected start" };
const END = { key: "end", label: "Expected end" };

class QueuePage {
  constructor(view) {
    this.user = { name: "", admin: false };
    this.limit = PAGE;
    this.jobs = [];
    this.words = h("p");
    this.buttons = h("div.actions", { role: "group", "aria-label": "The whole queue" });
    this.result = h("div");
    this.running = new Table(this, "Running", [JOB, { key: "bar", label: "Progress" }, { key: "device", label: "Device" }, END, OFFERS], "No job runs.");
    this.waiting = new Table(this, "Waiting", [{ key: "place", label: "Place" }, JOB, WHY, START, END, OFFERS], "No job waits.");
    this.held = new Table(this, "Held", [JOB, WHY, OFFERS], "No job is held.");
    this.more = h("p.more", { hidden: true }, h("button", { type: "button", onclick: () => this.showMore() }, "Show more"));
    this.waiting.element.append(this.more);
    view.replaceChildren(
      h("div.pagehead", null, h("div", null, h("h1", null, "Queue"), this.words), this.buttons),
      this.result,
      this.running.element,
      this.waiting.element,
      this.held.element,
      h("p.help", null, "Times are as expected if nobody submits anything more; nine of ten lie in the range. Users take turns by their shares; a priority orders one's own jobs."),
    );
    this.ends = ["job", "device", "reset"].map((type) => live.subscribe(type, () => this.soon()));
    this.again = setInterval(() => this.soon(), REFRESH_MS);
    live.ready().then(() => this.load());
  }

  close() {
    this.closed = true;
    clearInterval(this.again);
    clearTimeout(this.timer);
    for (const end of this.ends) end();
  }

  // A burst of events is one load.
  soon() {
    this.timer ??= setTimeout(() => this.load(), Math.max(0, (this.loadedAt ?? 0) + BETWEEN_MS - Date.now()));
  }

  async load() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.loadedAt = Date.now();
    try {
      const [user, queue, held] = await Promise.all([api.getWhoami(), api.getQueue({ limit: this.limit }), api.getJobs({ state: "held" })]);
      if (this.closed) return;
      this.user = user;
      this.update(queue, held.jobs);
      if (this.isProblem) this.result.replaceChildren();
      this.isProblem = false;
    } catch (problem) {
      if (this.closed || problem.status === 401) return;
      this.isProblem = true;
      this.result.replaceChildren(problemNotice("Cannot load the queue", problem));
    }
  }

  update(queue, held) {
    const { running, waiting, jobs, next } = queue;
    this.jobs = jobs;
    this.queue(queue);
    this.running.update(jobs.filter(({ state }) => state === "running"), running);
    this.waiting.update(jobs.filter(({ state }) => state === "queued"), waiting);
    this.held.update(held);
    this.more.hidden = next === null;
  }

  queue({ state, actor }) {
    const { words, actions } = STATES[state];
    setText(this.words, words(actor ?? "Somebody"));
    this.words.className = state === "open" ? "quiet" : "closed";
    const shown = this.user.admin ? actions : [];
    if (this.shown === shown.join()) return;
    this.shown = shown.join();
    this.buttons.replaceChildren(...shown.map((action) =>
      h("button", { type: "button", onclick: ({ target }) => this.change(target, action) }, CHANGES[action].label)));
  }

  async change(button, action) {
    const { ask, label, run } = CHANGES[action];
    if (!ask || await confirmed(ask, label)) await this.act(button, run);
  }

  async act(button, run) {
    button.disabled = true;
    try {
      await run();
      this.result.replaceChildren();
    } catch (problem) {
      this.isProblem = false; // it stays until the next action
      this.result.replaceChildren(problemNotice("Not done", problem));
    } finally {
      button.disabled = false;
    }
    await this.load();
  }

  // Jobs of the same user that wait before it.
  before(job) {
    return this.jobs.slice(0, this.jobs.findIndex(({ id }) => id === job.id)).filter(({ state, user }) => state === "queued" && user === job.user);
  }

  isBehind(job) {
    return this.before(job).length > 0 && this.firstPriority(job) !== job.priority;
  }

  firstPriority(job) {
    return Math.min(PRIORITY_MAX, Math.max(job.priority, ...this.before(job).map(({ priority }) => priority + 1)));
  }

  showMore() {
    this.limit = Math.min(1000, this.limit + PAGE);
    this.load();
  }
}

export function render(view) {
  const page = new QueuePage(view);
  return () => page.close();
}
