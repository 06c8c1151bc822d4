// Live page of one job. It loads the job and its epochs over REST, then applies the
// events of the stream in order. All steps run in one queue, so an event that arrives
// during a load is applied after it. A gap between the loaded and the arriving epochs
// is fetched. If the epochs go back, the job was retried and is loaded again.

import * as api from "./api.js";
import * as live from "./live.js";
import { announce, h, notice, problemNotice, setText } from "./dom.js";
import { Epochs } from "./epochs.js";
import { count, duration, expected, fileStem, fixed, groupLabel, shortId } from "./format.js";
import { JobActions } from "./job_actions.js";
import { JobCharts } from "./job_charts.js";
import { JobDrivers } from "./job_drivers.js";
import { JobFindings } from "./job_findings.js";
import { JobProbe } from "./job_probe.js";
import { downloads, GroupTable, orderPanel, provenancePanel, specPanel, timesPanel } from "./job_tables.js";
import * as retention from "./retention.js";
import { isEnded, progressBar, stateBadge } from "./state.js";
import { JobSpectrum } from "./job_spectrum.js";
import { TokenTable } from "./job_tokens.js";

const TABLES_MS = 250; // shortest time between two updates of the tables
const WAITING_MS = 10_000; // expected times of a job that waits change without an event
const FETCH_MS = 3000; // greatest age of a running job's estimates and tokens

class JobPage {
  constructor(view, id) {
    this.view = view;
    this.id = id;
    this.epochs = new Epochs();
    this.forms = null; // the answer of /theory
    this.tail = live.ready(); // last promise of the queue
    this.closed = false;
    this.unsubscribe = [
      live.subscribe("epoch", (data) => data.job === id && this.enqueue(() => this.onEpochs(data))),
      live.subscribe("job", (data) => this.isNeighbour(data.id) && this.enqueue(() => this.refetch())),
      live.subscribe("job", (data) => data.id === id && this.enqueue(() => (data.state === "deleted" ? this.showGone() : this.refetch()))),
      live.subscribe("reset", () => this.enqueue(() => this.reload())),
    ];
    this.waiting = setInterval(() => this.job?.state === "queued" && this.enqueue(() => this.refetch()), WAITING_MS);
    this.enqueue(() => this.reload());
  }

  close() {
    this.closed = true;
    clearInterval(this.waiting);
    for (const end of this.unsubscribe) end();
    clearTimeout(this.tablesTimer);
    for (const part of [this.charts, this.drivers, this.spectrum, this.tokens]) part?.destroy();
  }

  // A job that this one waits for, or that waits for it.
  isNeighbour(id) {
    return [...(this.job?.after ?? []), ...(this.job?.awaited_by ?? [])].some(({ job }) => job === id);
  }

  enqueue(step) {
    this.tail = this.tail.then(async () => {
      if (this.closed) return;
      try {
        await step();
      } catch (problem) {
        this.showProblem(problem);
      }
    });
    return this.tail;
  }

  showProblem(problem) {
    if (this.closed || problem.status === 401) return;
    if (problem.status === 404) this.showGone();
    else if (this.banner) this.banner.replaceChildren(problemNotice("Cannot load", problem));
    else this.view.replaceChildren(problemNotice("Cannot load this job", problem));
  }

  showGone() {
    this.close();
    this.view.replaceChildren(
      h("h1", null, "No such job"),
      h("p", null, `There is no job ${this.id}; it may have been deleted. `, h("a", { href: "#/jobs" }, "All jobs")),
    );
  }

  async reload() {
    this.job = await api.getJob(this.id);
    await this.epochs.load(this.id, this.job.epoch ?? -1);
    if (this.closed) return;
    if (!this.banner) this.build();
    this.update();
    this.tokens.load();
    this.loadForms();
  }

  // The curves of /theory end at the epoch of the request. They are fetched after every
  // change of state and not after every epoch, because the server reads all records for
  // each request.
  async loadForms() {
    if (!this.job.groups) return; // the text is not read yet
    try {
      this.forms = await api.getTheory(this.id);
      if (!this.closed) this.updateLive();
    } catch (problem) {
      this.showProblem(problem);
    }
  }

  async refetch() {
    const before = this.job ?? {};
    const job = await api.getJob(this.id);
    const restarted = (job.epoch ?? -1) < this.epochs.lastEpoch;
    this.job = job;
    this.fetchedAt = Date.now();
    if (restarted || !this.banner) return this.reload();
    await this.fill(job.epoch ?? -1);
    this.update();
    if (before.state !== job.state || !before.groups !== !job.groups) {
      announce(`Job ${job.name || shortId(job.id)} is ${job.state}`);
      this.tokens.load();
      this.loadForms();
    }
  }

  // Fetch the epochs after the last loaded one up to `to`.
  async fill(to) {
    const from = this.epochs.lastEpoch + 1;
    if (to >= from) await this.epochs.loadRange(this.id, from, to);
  }

  async onEpochs({ records }) {
    if (!records.length || !this.banner) return;
    // Only records that were missed are fetched, not epochs that have none.
    const every = this.job.spec?.train?.record_every ?? 1;
    if (records[0].epoch > this.epochs.lastEpoch + every) await this.fill(records[0].epoch - 1);
    for (const record of records) this.epochs.apply(record);
    const last = this.epochs.last;
    this.job = { ...this.job, epoch: Math.max(this.job.epoch ?? -1, last.epoch) };
    this.updateLive();
    if (Date.now() - (this.fetchedAt ?? 0) > FETCH_MS) {
      this.fetchedAt = Date.now();
      this.enqueue(() => this.refetch());
      this.tokens.load();
    }
  }

  build() {
    this.title = h("h1");
    this.badge = stateBadge();
    this.bar = progressBar();
    this.speed = h("span.quiet");
    this.banner = h("div");
    this.retention = h("div");
    this.notes = h("p.notes");
    this.tags = h("span.meta");
    this.tiles = h("dl.tiles");
    this.actions = new JobActions(
      () => this.job,
      () => this.enqueue(() => this.refetch()),
      (problem) => this.banner.replaceChildren(problemNotice("Not done", problem)),
    );
    const subject = () => pictureSubject(this.job);
    this.charts = new JobCharts(() => this.update(), subject);
    this.drivers = new JobDrivers(this.charts.linked, subject);
    this.spectrum = new JobSpectrum(this.id, subject);
    this.findings = new JobFindings(this.id);
    this.probe = new JobProbe(this.id);
    this.groupTable = new GroupTable();
    this.tokens = new TokenTable(this.id, subject);
    this.order = h("div");
    this.facts = h("div.facts");
    this.view.replaceChildren(
      h(
        "div.pagehead",
        null,
        h("div", null, h("p.crumb", null, h("a", { href: "#/jobs" }, "Jobs"), " / ", h("code", null, this.id)), this.title, this.tags),
        this.actions.element,
      ),
      h("div.runline", null, this.badge.element, this.bar.element, this.speed),
      this.banner,
      this.retention,
      this.notes,
      this.order,
      this.tiles,
      this.charts.element,
      this.findings.element,
      this.drivers.element,
      h("section.panel", null, h("h2", null, "Groups"), this.groupTable.element),
      this.spectrum.element,
      this.tokens.element,
      this.probe.element,
      this.facts,
    );
  }

  // Update everything that depends on the job. A live epoch needs only updateLive.
  update() {
    if (this.closed || !this.banner) return;
    const { job } = this;
    const name = job.name || shortId(job.id);
    document.title = `${name} · tokenfate`;
    setText(this.title, name);
    const sweep = job.sweep ? [h("a", { href: `#/sweeps/${job.sweep}` }, "of a sweep")] : [];
    const marks = [...(job.tags ?? []), ...(job.pinned ? ["pinned"] : [])];
    this.tags.replaceChildren(marks.join(" · "), marks.length && job.sweep ? " · " : "", ...sweep);
    const mayLose = isEnded(job) && !job.pinned;
    if (this.mayLose !== mayLose) this.retention.replaceChildren(...(mayLose ? [retention.ofJob(job.id)] : []));
    this.mayLose = mayLose;
    setText(this.notes, job.notes ?? "");
    this.notes.hidden = !job.notes;
    this.badge.update(job);
    this.banner.replaceChildren(...banners(job));
    this.order.replaceChildren(...orderPanel(job));
    this.actions.update();
    this.spectrum.update(job);
    this.findings.update(job);
    this.probe.update(job);
    this.facts.replaceChildren(timesPanel(job), h("div", null, downloads(job), provenancePanel(job)), specPanel(job));
    this.updateLive();
    this.updateTables();
  }

  updateLive() {
    const { job, epochs } = this;
    this.bar.update(job);
    setText(this.speed, speedText(job, epochs.last));
    this.charts.update(job, epochs, this.forms);
    this.drivers.update(epochs, this.forms);
    this.updateTiles();
    this.tablesTimer ??= setTimeout(() => {
      this.tablesTimer = undefined;
      this.updateTables();
    }, TABLES_MS);
  }

  updateTables() {
    this.groupTable.update(this.job, this.epochs);
  }

  updateTiles() {
    const wanted = [["loss", "Loss", undefined], ...this.epochs.groups.map((name, i) => [name, groupLabel(name), i])];
    if (this.tileKeys !== wanted.map(([key]) => key).join()) this.buildTiles(wanted);
    const { last, first } = this.epochs;
    const mask = this.charts.mask;
    for (const [key] of wanted) {
      const tile = this.tileParts.get(key);
      const value = key === "loss" ? last?.loss : last?.groups[key].mean_logp[mask];
      const start = key === "loss" ? first?.loss : first?.groups[key].mean_logp[mask];
      setText(tile.value, fixed(value, key === "loss" ? 3 : 2));
      setText(tile.note, tileNote(key, last, mask, start));
    }
  }

  buildTiles(wanted) {
    this.tileKeys = wanted.map(([key]) => key).join();
    this.tileParts = new Map();
    const tiles = wanted.map(([key, label, index]) => {
      const value = h("span.value");
      const note = h("span.note");
      this.tileParts.set(key, { value, note });
      const dot = index === undefined ? null : h(`span.dot.group-${index}`);
      return h("div", null, h("dt", null, dot, label), h("dd", null, value, note));
    });
    this.tiles.replaceChildren(...tiles);
  }
}

function tileNote(key, last, mask, start) {
  const from = start === undefined || start === null ? "" : `from ${fixed(start, key === "loss" ? 3 : 2)}`;
  if (key === "loss" || mask === "none") return from;
  const { tokens_kept: kept } = last.groups[key];
  return [from, `${kept[mask]} of ${kept.none} tokens`].filter(Boolean).join(" · ");
}

// Subject line and file name of pictures from this page.
function pictureSubject(job) {
  const at = `epoch ${count(Math.max(0, job.epoch ?? 0))} of ${count(job.epochs)}`;
  return { name: [job.name, `job ${shortId(job.id)}`, at].filter(Boolean).join(" · "), file: fileStem(job.name || "job", job.id) };
}

function speedText(job, last) {
  const parts = [];
  if (job.state === "running" && last?.tokens_per_second)
    parts.push(`${count(last.tokens_per_second)} tokens/s`);
  if (job.state === "running" && job.expected_end) parts.push(`ends ${expected(job.expected_end)}`);
  else if (job.state === "running" && Number.isFinite(job.eta_seconds)) parts.push(`${duration(job.eta_seconds)} left`);
  if (job.device) parts.push(job.device);
  if (isEnded(job) && job.started_at && job.finished_at)
    parts.push(`took ${duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000)}`);
  return parts.join(" · ");
}

// Why it waits, and when its turn is expected.
function waitingText({ waits, place, expected_start: start, expected_end: end }) {
  if (!place || !start) return waits.message;
  return [`${waits.message}. `, h("a", { href: "#/queue" }, `Place ${count(place)} in the queue`), `: starts ${expected(start)}, ends ${expected(end)}`];
}

function banners(job) {
  const shown = [];
  if (job.waits && !isEnded(job) && job.state !== "running") shown.push(notice("info", job.state === "held" ? "Held" : "Waiting", waitingText(job)));
  if (job.error) {
    const at = Number.isInteger(job.error.epoch) && job.error.epoch >= 0 ? ` (epoch ${job.error.epoch})` : "";
    shown.push(notice("bad", `Failed: ${job.error.code}${at}`, job.error.message ?? ""));
  }
  return shown;
}

export function render(view, { id }) {
  const page = new JobPage(view, id);
  return () => page.close();
}
