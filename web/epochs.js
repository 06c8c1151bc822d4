// The epochs of one job as columns for charts: `x` (epoch numbers) and, for each JSON
// pointer into the record ("/groups/never_used/mean_logp/columns"), an array as long
// as x. The data come from one load over REST and then from live records. apply() is
// idempotent, because a record can come by both ways. The caller fills gaps
// (lastEpoch, loadRange).
//
// A long job is loaded as POINTS buckets (the last value of each). When live records
// make the columns longer than POINTS_MAX, every second point is dropped. So the
// number of points is bounded, and the last record is always exact.

import { getEpochs, getSeries } from "./api.js";

const WHOLE_MAX = 3000; // a shorter job is loaded record by record: about 7 MB of JSON
const PAGE = 1000; // records per request
const SERIES = 64; // most curves per request
const ADDRESS = 6000; // most characters of curve names in the address of a request
const POINTS = 1500; // buckets of a longer job
const POINTS_MAX = 6000; // longer columns are halved

const MASKS = ["columns", "windows", "positions", "none"];

function flatten(value, pointer, out) {
  if (value === null || typeof value === "number") out.set(pointer, value);
  else if (typeof value === "object")
    for (const [key, inner] of Object.entries(value)) flatten(inner, `${pointer}/${escapeKey(key)}`, out);
  return out;
}

const escapeKey = (key) => key.replaceAll("~", "~0").replaceAll("/", "~1");

export const groupPointer = (group, quantity) => `/groups/${escapeKey(group)}/${quantity}`;

// Classes of tokens by count, lowest first (docs/SCIENCE.md, section 2).
export const CLASSES = ["0", "1", "2–3", "4–9", "10–29", "30–99", "100–999", "1000 and more"];
const classPointers = (array) => CLASSES.map((_, index) => `/${array}/${index}`);

// Quantities of a group that job_drivers.js draws, one at a time.
const DRIVERS = [
  "grad/softmax",
  "grad/target",
  "grad/input",
  "grad/zloss",
  "cos_minus_h",
  "cos_within",
  "output_norm",
  "output_shift",
  "input_norm",
  "input_shift",
  "exposure",
  "target_loss",
  "advantage",
  "mean_logit",
  "mass",
  "sd",
  "eval/mean_logp",
  "eval/ln_mean_p",
  "eval/mean_p",
  "eval/mean_logit",
  "eval/target_loss",
  "eval/sd",
];

// Numbers of the whole model, and arrays over the count classes of its vocabulary.
const RUN = ["/loss", "/log_z", "/objective", "/grad_norm", "/h_norm", "/h_l1", "/tokens_per_second", "/eval/loss", "/eval/log_z", "/holdout/loss", "/holdout/log_z",
  "/holdout/unseen_word_loss", "/holdout/unseen_word_token_loss", "/holdout/seen_word_loss", "/holdout/seen_word_token_loss"];
const ARRAYS = ["logp_by_count", "tokens_by_count", "logp_by_exposure", "tokens_by_exposure", "eval_loss_by_count", "eval_n_by_count", "eval_logp_by_count", "holdout_loss_by_count", "holdout_n_by_count"];

// Pointers of all curves of one group.
function drawnPointers(group) {
  const quantities = [
    ...MASKS.map((mask) => `mean_logp/${mask}`),
    ...MASKS.map((mask) => `tokens_kept/${mask}`),
    ...["quantiles", "eval_quantiles"].flatMap((array) => [0, 1, 3, 4].map((index) => `${array}/${index}`)),
    "ln_mean_p",
    "mean_p",
    ...DRIVERS,
  ];
  return quantities.map((quantity) => groupPointer(group, quantity));
}

// Distribute the pointers over as few requests as possible, because the server reads
// all records for each request.
function perRequest(pointers) {
  const requests = [[]];
  let room = ADDRESS;
  for (const pointer of pointers) {
    const size = encodeURIComponent(`${pointer},`).length;
    if (size > room || requests.at(-1).length === SERIES) {
      requests.push([]);
      room = ADDRESS;
    }
    requests.at(-1).push(pointer);
    room -= size;
  }
  return requests;
}

export class Epochs {
  constructor() {
    this.clear();
  }

  clear() {
    this.x = [];
    this.columns = new Map();
    this.first = null; // the record of epoch 0
    this.last = null; // the newest record
  }

  get lastEpoch() {
    return this.last ? this.last.epoch : -1;
  }

  get groups() {
    return Object.keys(this.last?.groups ?? {});
  }

  // The column of a pointer; all null if it was never measured.
  column(pointer) {
    return this.columns.get(pointer) ?? this.x.map(() => null);
  }

  // Edges of the bands that hold the middle 90 and 50 % of a group's tokens; `array` has
  // the quantiles 5, 25, 50, 75 and 95 %.
  band(group, array) {
    return [[0, 4], [1, 3]].map((edges) => edges.map((index) => this.column(groupPointer(group, `${array}/${index}`))));
  }

  apply(record) {
    if (record.epoch <= this.lastEpoch) return;
    if (record.epoch === 0) this.first = record;
    this.last = record;
    const values = flatten(record.groups ?? {}, "/groups", new Map());
    for (const [key, value] of Object.entries(record))
      if (key !== "groups" && key !== "epoch") flatten(value, `/${key}`, values);
    for (const pointer of values.keys())
      if (!this.columns.has(pointer)) this.columns.set(pointer, this.x.map(() => null));
    this.x.push(record.epoch);
    for (const [pointer, column] of this.columns) column.push(values.get(pointer) ?? null);
    if (this.x.length > POINTS_MAX) this.halve();
  }

  // Keep every second point, counted from the newest, so that the last one stays.
  halve() {
    const keep = (_, index, all) => (all.length - 1 - index) % 2 === 0;
    this.x = this.x.filter(keep);
    for (const [pointer, column] of this.columns) this.columns.set(pointer, column.filter(keep));
  }

  // Load epochs 0 to `to`; -1: there is none.
  async load(id, to) {
    this.clear();
    if (to < 0) return;
    if (to < WHOLE_MAX) return this.loadRange(id, 0, to);
    const [{ epochs: first }, { epochs: last }] = await Promise.all([
      getEpochs(id, 0, 0),
      getEpochs(id, to, to),
    ]);
    await this.loadPoints(id, to, Object.keys(last[0].groups));
    this.first = first[0];
    this.last = last[0];
  }

  // Append the epochs from .. to that exist; the server answers in pages.
  async loadRange(id, from, to) {
    for (let start = from; start !== null && start <= to;) {
      const { epochs, next } = await getEpochs(id, start, to, PAGE);
      for (const record of epochs) this.apply(record);
      start = next ?? null;
    }
  }

  // All requests end at the same epoch. Otherwise a job that grows between them would
  // have other buckets in each answer.
  async loadPoints(id, to, groups) {
    const pointers = [...RUN, ...ARRAYS.flatMap(classPointers), ...groups.flatMap(drawnPointers)];
    const answers = await Promise.all(perRequest(pointers).map((some) => getSeries(id, to, POINTS, some)));
    for (const { series } of answers)
      for (const [pointer, buckets] of Object.entries(series)) {
        if (this.x.length === 0) this.x = [...buckets.epoch];
        this.columns.set(pointer, [...buckets.last]);
      }
  }
}
