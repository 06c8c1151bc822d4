// Table of all fields of a job's spec. The form is generated from it, and the job page
// prints specs with it. The form shows limits and does not enforce them: only the
// server validates, and its answer names each bad field by its pointer.
//
// kind: text, lines, tags, integer, number, flag, choice (one of `options`), integers
// (a list), range (two integers, empty = null), word (a number, or one of `words`),
// seed (an integer, empty = null), job (an id, empty = null), groups (custom groups),
// corpus (one of the known texts), members (an object with fields, or null for off;
// `start` is its value when it is switched on).

import { exact } from "./format.js";

export const FIELDSETS = [
  {
    title: "Experiment",
    fields: [
      { at: "/name", label: "Name", kind: "text", help: "At most 120 bytes." },
      { at: "/tags", label: "Tags", kind: "tags", help: "Separated by commas; at most 16." },
      { at: "/notes", label: "Notes", kind: "lines", wide: true, help: "What this run is to show." },
      { at: "/init_from", label: "Start from job", kind: "job", help: "Id of a job whose model is trained on; empty: new weights." },
    ],
  },
  {
    title: "Corpus",
    fields: [
      { at: "/corpus/id", label: "Text", kind: "corpus", help: "A corpus by name or sha256." },
      {
        at: "/corpus/variant",
        label: "Variant",
        kind: "choice",
        options: [
          ["raw", "raw: bytes as downloaded"],
          ["lf", "lf: no BOM, LF line ends"],
          ["body", "body: without Gutenberg's frame"],
        ],
      },
      {
        at: "/corpus/tokenizer",
        label: "Tokenizer",
        kind: "choice",
        options: [
          ["gpt2", "gpt2: 50,257 tokens"],
          ["cl100k_base", "cl100k_base: 100,277 tokens"],
          ["bytes", "bytes: 256 tokens"],
        ],
      },
      {
        at: "/corpus/vocabulary",
        label: "Vocabulary",
        kind: "choice",
        options: [
          ["all", "all tokens"],
          ["used", "only those the text uses"],
        ],
      },
      {
        at: "/corpus/shuffled",
        label: "Shuffle the token stream",
        kind: "flag",
        help: "A control: same counts and groups, no context.",
      },
    ],
  },
  {
    title: "Model",
    fields: [
      { at: "/model/d_model", label: "Width d_model", kind: "integer", help: "1 to 8192, a multiple of the heads." },
      { at: "/model/n_layers", label: "Layers", kind: "integer", help: "1 to 128." },
      { at: "/model/n_heads", label: "Heads", kind: "integer", help: "1 to 128." },
      { at: "/model/seq_len", label: "Window seq_len", kind: "integer", help: "1 to 1024 tokens." },
      {
        at: "/model/tie",
        label: "Embeddings",
        kind: "choice",
        options: [
          ["tied", "tied"],
          ["untied", "untied"],
          ["untied_equal", "untied, equal at the start"],
        ],
      },
      {
        at: "/model/logit_scale",
        label: "Logit scale",
        kind: "word",
        words: ["inv_sqrt_d"],
        help: "A number, or inv_sqrt_d for 1/√d.",
      },
      {
        at: "/model/activation",
        label: "Activation",
        kind: "choice",
        options: [
          ["gelu", "GELU, exact"],
          ["gelu_new", "GELU, tanh"],
          ["relu", "ReLU"],
        ],
      },
      { at: "/model/head_bias", label: "Bias in the output layer", kind: "flag" },
      { at: "/model/init_std", label: "Std of weights", kind: "number", help: "At the start." },
      { at: "/model/position_std", label: "Std of positions", kind: "number", help: "At the start." },
      {
        at: "/model/head",
        label: "Head",
        kind: "choice",
        options: [
          ["full", "full softmax"],
          ["adaptive", "adaptive softmax"],
        ],
      },
      {
        at: "/model/cutoffs",
        label: "Cutoffs",
        kind: "integers",
        help: "Adaptive head: first rank of each cluster, e.g. 2000, 10000.",
      },
    ],
  },
  {
    title: "Training",
    fields: [
      { at: "/train/epochs", label: "Epochs", kind: "integer", help: "1 to 1,000,000." },
      {
        at: "/train/steps_per_epoch",
        label: "Steps per epoch",
        kind: "word",
        words: ["pass"],
        help: "A number, or pass: once through the text.",
      },
      { at: "/train/batch_size", label: "Batch size", kind: "integer", help: "1 to 4096 windows." },
      {
        at: "/train/sampling",
        label: "Windows",
        kind: "choice",
        options: [
          ["random", "random offsets"],
          ["shuffle", "each once per pass"],
        ],
      },
      { at: "/train/shuffle_offset", label: "Offset of each pass", kind: "flag", help: "Windows each once per pass: cut anew for every pass." },
      {
        at: "/train/optimizer",
        label: "Optimiser",
        kind: "choice",
        options: [
          ["adamw", "AdamW"],
          ["adam", "Adam with L2"],
          ["sgd", "SGD"],
          ["momentum", "SGD with momentum"],
        ],
      },
      { at: "/train/lr", label: "Learning rate", kind: "number" },
      { at: "/train/weight_decay", label: "Weight decay", kind: "number" },
      { at: "/train/decay_embeddings", label: "Decay embeddings too", kind: "flag" },
      { at: "/train/beta1", label: "Beta 1", kind: "number", help: "Adam." },
      { at: "/train/beta2", label: "Beta 2", kind: "number", help: "Adam." },
      { at: "/train/eps", label: "Epsilon", kind: "number", help: "Adam." },
      { at: "/train/momentum", label: "Momentum", kind: "number", help: "SGD with momentum." },
      { at: "/train/grad_clip", label: "Gradient clip", kind: "number", help: "L2 norm; 0 is off." },
      {
        at: "/train/precision",
        label: "Precision",
        kind: "choice",
        options: [
          ["auto", "auto"],
          ["fp32", "fp32"],
          ["bf16", "bf16"],
        ],
        help: "auto: bf16 where the device multiplies it.",
      },
      { at: "/train/seed", label: "Seed", kind: "integer", help: "0 to 2⁵³ − 1." },
      { at: "/train/seed_weights", label: "Seed of weights", kind: "seed", help: "Empty: the seed." },
      { at: "/train/seed_data", label: "Seed of batches", kind: "seed", help: "Empty: the seed." },
      { at: "/train/seed_groups", label: "Seed of groups", kind: "seed", help: "Empty: the seed." },
      { at: "/train/record_every", label: "Record every", kind: "integer", help: "Epochs between two records; the first and the last epoch always have one." },
      {
        at: "/train/snapshots",
        label: "Snapshots",
        kind: "integers",
        help: "Epochs whose model is kept, e.g. 0, 100; the last always is.",
      },
    ],
  },
  {
    title: "Loss",
    fields: [
      { at: "/loss/class_weight", label: "Class weight", kind: "number", help: "Exponent a of the weight c^−a of a target; 0 is off." },
      { at: "/loss/logit_adjustment", label: "Logit adjustment", kind: "number", help: "τ; 0 is off." },
      { at: "/loss/label_smoothing", label: "Label smoothing", kind: "number", help: "ε; 0 is off." },
      { at: "/loss/z_loss", label: "z-loss", kind: "number", help: "Factor of (log Z)²; 0 is off." },
    ],
  },
  {
    title: "Data",
    fields: [
      {
        at: "/data/oversample",
        label: "Oversample a group",
        kind: "members",
        start: { group: "least_common", factor: 10 },
        members: [
          { at: "group", label: "Group", kind: "text" },
          { at: "factor", label: "Factor", kind: "number" },
        ],
        help: "Windows with a target of the group come that many times as often.",
      },
      {
        at: "/data/inject",
        label: "Insert never-used tokens",
        kind: "members",
        start: { tokens: 20, doses: [0, 1, 2, 4, 8], epochs: null },
        members: [
          { at: "tokens", label: "Tokens per dose", kind: "integer" },
          { at: "doses", label: "Doses", kind: "integers" },
          { at: "epochs", label: "Epochs from, to", kind: "range" },
        ],
        help: "Each is a target exactly dose times, at drawn places; groups dose_0, dose_1, … follow them.",
      },
      { at: "/data/holdout", label: "Hold out", kind: "integer", help: "One of so many blocks of 1,024 tokens; 0: none. Variant body." },
      { at: "/eval/windows", label: "Evaluation windows", kind: "integer", help: "Fixed ones, held out if there are such; 0: none." },
      { at: "/eval/every", label: "Evaluate every", kind: "integer", help: "Epochs." },
    ],
  },
  {
    title: "Groups",
    fields: [
      { at: "/groups/size", label: "Tokens per group", kind: "integer", help: "1 to 5000, at most half of the used types." },
      {
        at: "/groups/selection",
        label: "Selection",
        kind: "choice",
        options: [
          ["frequency", "by frequency"],
          ["published-2025", "as published 2025"],
          ["published-2026", "as published 2026"],
        ],
      },
      {
        at: "/groups/ties",
        label: "Ties",
        kind: "choice",
        options: [
          ["seeded", "seeded draw"],
          ["id", "lowest ids"],
        ],
      },
      {
        at: "/groups/mask",
        label: "Headline mask",
        kind: "choice",
        options: [
          ["columns", "columns"],
          ["windows", "windows"],
          ["positions", "positions"],
          ["none", "none"],
        ],
        help: "All four are recorded; this one stands in lists.",
      },
      {
        at: "/groups/custom",
        label: "Custom groups",
        kind: "groups",
        wide: true,
        help: "At most 5. One token a line: its text, leading space included, or #id.",
      },
    ],
  },
  {
    title: "Resources",
    fields: [
      { at: "/resources/device", label: "Device", kind: "text", help: "auto, cpu, cuda or cuda:N." },
      { at: "/resources/priority", label: "Priority", kind: "integer", help: "−100 to 100; larger first." },
      { at: "/resources/max_seconds", label: "Time limit in seconds", kind: "integer", help: "0: none." },
      { at: "/resources/max_attempts", label: "Attempts", kind: "integer", help: "Faults of the device before it fails." },
      { at: "/resources/threads", label: "Threads", kind: "integer", help: "On the CPU; 0: as the server is set up." },
    ],
  },
];

// Value at a pointer, or undefined. Field names contain neither "~" nor "/", so the
// pointer needs no unescaping.
export function valueAt(spec, pointer) {
  return pointer.slice(1).split("/").reduce((value, key) => value?.[key], spec);
}

export function setValue(spec, pointer, value) {
  const keys = pointer.slice(1).split("/");
  const last = keys.pop();
  let place = spec;
  for (const key of keys) place = place[key] ??= {};
  place[last] = value;
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

// The typed text as a number if it is one. Any other text is sent unchanged, so that
// the server refuses it with a reason.
export function typedNumber(text) {
  const trimmed = text.trim();
  return NUMBER.test(trimmed) ? Number(trimmed) : trimmed;
}

const listed = (text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");

const tokenLine = (token) => (typeof token === "number" ? `#${token}` : token);
const lineToken = (line) => (/^#\d+$/.test(line) ? Number(line.slice(1)) : line);

export const tokensToText = (tokens) => (tokens ?? []).map(tokenLine).join("\n");
export const textToTokens = (text) => text.split("\n").filter((line) => line !== "").map(lineToken);

// Conversion between a value of the spec (show) and the text of its control (read).
export const TEXT_KINDS = {
  text: { show: (value) => value ?? "", read: (text) => text },
  lines: { show: (value) => value ?? "", read: (text) => text },
  corpus: { show: (value) => value ?? "", read: (text) => text },
  tags: { show: (value) => (value ?? []).join(", "), read: listed },
  integer: { show: (value) => String(value ?? ""), read: typedNumber },
  number: { show: (value) => String(value ?? ""), read: typedNumber },
  word: { show: (value) => String(value ?? ""), read: typedNumber },
  seed: {
    show: (value) => String(value ?? ""),
    read: (text) => (text.trim() === "" ? null : typedNumber(text)),
  },
  job: { show: (value) => value ?? "", read: (text) => (text.trim() === "" ? null : text.trim()) },
  integers: {
    show: (value) => (value ?? []).join(", "),
    read: (text) => listed(text).map(typedNumber),
  },
  range: {
    show: (value) => (value ?? []).join(", "),
    read: (text) => (text.trim() === "" ? null : listed(text).map(typedNumber)),
  },
};

// Text of a value on the job page.
export function describe(field, value) {
  if (value === undefined || value === null || value === "") return "–";
  if (field.kind === "flag") return value ? "yes" : "no";
  if (field.kind === "groups")
    return value.map((group) => `${group.name} (${group.tokens.length} tokens)`).join(", ") || "–";
  if (field.kind === "members")
    return field.members.map((member) => `${member.label.toLowerCase()} ${describe(member, value[member.at])}`).join("; ");
  if (Array.isArray(value)) return value.map((each) => describe(field, each)).join(", ") || "–";
  const option = field.options?.find(([name]) => name === value);
  if (option) return option[1];
  return typeof value === "number" ? exact(value) : String(value);
}
