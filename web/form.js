// New experiment: one spec object with two views, generated fields and raw JSON. It
// starts from a preset or from the spec of an earlier job. Each error of the server is
// shown beside the field that its pointer names.

import * as api from "./api.js";
import { h, notice, problemNotice, setText, uniqueId, announce } from "./dom.js";
import { FIELDSETS, TEXT_KINDS, setValue, textToTokens, tokensToText, valueAt } from "./fields.js";
import { bytes, count } from "./format.js";
import { recordBytes } from "./record_bytes.js";

const FIRST_PRESET = "gulliver";
const VOCABULARIES = { gpt2: 50257, cl100k_base: 100277, bytes: 256 };

// crypto.randomUUID exists only in secure contexts, not on plain http to another host;
// crypto.getRandomValues exists in both.
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

class Form {
  constructor(view, { preset, from }, kept) {
    this.kept = kept; // {spec, preset, sent}: what was entered, from which preset, what was sent
    this.view = view;
    this.spec = {};
    this.controls = new Map(); // pointer -> {show(), setError(text), focus()}
    this.preset = preset;
    this.from = from;
    this.closed = false;
    this.loads = 0;
  }

  async open() {
    const [presets, corpora] = await Promise.all([
      api.getPresets(),
      api.getCorpora().catch(() => ({ corpora: [] })),
    ]);
    if (this.closed) return;
    this.corpora = corpora.corpora.map((corpus) => corpus.name);
    this.build(presets.presets);
    if (this.kept.spec) this.resume();
    else if (this.from) await this.startFromJob(this.from);
    else await this.startFromPreset(this.preset ?? FIRST_PRESET);
  }

  // The form as it was left.
  resume() {
    this.setSpec(this.kept.spec);
    this.presets.value = this.kept.preset ?? "";
    setText(this.origin, "As you left it.");
    window.scrollTo(0, this.kept.top);
  }

  // Settings that come replace all that is entered, so nothing can be entered until they are
  // there. Of several that were asked for the last count, whatever comes first: null for the others.
  async loaded(settings) {
    const load = ++this.loads;
    const sets = this.view.querySelectorAll("form.spec fieldset");
    for (const set of sets) set.disabled = true;
    try {
      const loaded = await settings;
      return load === this.loads ? loaded : null;
    } catch (problem) {
      if (load === this.loads) throw problem;
      return null;
    } finally {
      if (load === this.loads) for (const set of sets) set.disabled = false;
    }
  }

  async startFromPreset(name) {
    const spec = await this.loaded(api.getPreset(name));
    if (!spec) return;
    this.setSpec(spec);
    Object.assign(this.kept, { preset: name, spec: undefined });
    this.presets.value = name;
    setText(this.origin, "");
  }

  async startFromJob(id) {
    const job = await this.loaded(api.getJob(id));
    if (!job) return;
    this.setSpec(structuredClone(job.spec));
    this.presets.value = "";
    this.origin.replaceChildren(
      "The settings of ",
      h("a", { href: `#/jobs/${id}` }, job.name || id),
      ", to be changed and run again.",
    );
  }

  setSpec(spec) {
    this.spec = spec;
    this.clearErrors();
    this.refresh();
  }

  // Update every control and the raw text from the spec.
  refresh() {
    for (const control of this.controls.values()) control.show();
    this.showRaw();
    this.showSize();
  }

  showRaw() {
    this.raw.value = JSON.stringify(this.spec, null, 2);
    setText(this.rawError, "");
  }

  showSize() {
    const text = sizeText(this.spec);
    setText(this.size, text);
  }

  build(presets) {
    this.presets = h(
      "select",
      { id: "preset", onchange: () => this.guard(() => this.startFromPreset(this.presets.value)) },
      h("option", { value: "", disabled: true, hidden: true }, "an earlier job"),
      ...presets.map((preset) => h("option", { value: preset.name }, preset.name)),
    );
    this.origin = h("p.quiet");
    this.summary = h("div", { tabIndex: -1 });
    this.size = h("p.quiet.size");
    this.submit = h("button.primary", { type: "submit" }, "Submit experiment");
    this.view.replaceChildren(
      h("h1", null, "New experiment"),
      h("div.startfrom", null, h("label", { for: "preset" }, "Start from preset"), this.presets, this.origin),
      this.summary,
      h(
        "form.spec",
        { noValidate: true, onsubmit: (event) => this.onSubmit(event) },
        ...FIELDSETS.map((set) => this.fieldset(set)),
        this.rawPanel(),
        h("div.submitbar", null, this.submit, this.size),
      ),
    );
  }

  fieldset(set) {
    const rows = set.fields.map((field) => this.row(field));
    return h("fieldset.panel", null, h("legend", null, set.title), h("div.fields", null, ...rows));
  }

  row(field) {
    const id = uniqueId("field");
    const help = h("span.help", { id: `${id}-help` }, field.help ?? "");
    const error = h("span.error", { id: `${id}-error` });
    const input = this.input(field, id);
    const label = h("label", { for: id }, field.label);
    const classes = `field${field.kind === "flag" ? " flag" : ""}${field.wide ? " wide" : ""}`;
    const row = h("div", { className: classes, dataset: { pointer: field.at } });
    row.append(...(field.kind === "flag" ? [input.element, label] : [label, input.element]), help, error);
    const target = input.target ?? input.element;
    target.setAttribute("aria-describedby", `${id}-help ${id}-error`);
    this.controls.set(field.at, {
      show: input.show,
      focus: () => target.focus(),
      setError: (text) => {
        setText(error, text);
        row.classList.toggle("bad", text !== "");
        if (text) target.setAttribute("aria-invalid", "true");
        else target.removeAttribute("aria-invalid");
      },
    });
    return row;
  }

  changed(field, value) {
    setValue(this.spec, field.at, value);
    this.kept.spec = this.spec;
    this.controls.get(field.at).setError("");
    this.showRaw();
    this.showSize();
  }

  input(field, id) {
    if (field.kind === "flag") return this.flag(field, id);
    if (field.kind === "choice") return this.choice(field, id);
    if (field.kind === "groups") return this.customGroups(field, id);
    if (field.kind === "members") return this.members(field, id);
    return this.text(field, id);
  }

  text(field, id) {
    const kind = TEXT_KINDS[field.kind];
    const numeric = ["integer", "number", "seed"].includes(field.kind);
    const element = h(field.kind === "lines" ? "textarea" : "input", {
      id,
      spellcheck: field.kind === "lines",
      autocomplete: "off",
      inputMode: numeric ? "decimal" : "text",
      oninput: () => this.changed(field, kind.read(element.value)),
    });
    if (field.kind === "lines") element.rows = 2;
    const suggestions = field.kind === "corpus" ? this.corpora : field.words;
    const list = suggestions && h("datalist", { id: `${id}-list` }, ...suggestions.map((value) => h("option", { value })));
    if (list) element.setAttribute("list", list.id);
    return {
      element: list ? h("div", null, element, list) : element,
      target: element,
      show: () => (element.value = kind.show(valueAt(this.spec, field.at))),
    };
  }

  flag(field, id) {
    const element = h("input", {
      id,
      type: "checkbox",
      onchange: () => this.changed(field, element.checked),
    });
    return { element, show: () => (element.checked = valueAt(this.spec, field.at) === true) };
  }

  choice(field, id) {
    const element = h("select", { id, onchange: () => this.changed(field, element.value) });
    const show = () => {
      const value = valueAt(this.spec, field.at);
      const known = field.options.some(([option]) => option === value);
      const options = known || value === undefined ? field.options : [[value, String(value)], ...field.options];
      element.replaceChildren(...options.map(([option, label]) => h("option", { value: option }, label)));
      element.value = value ?? "";
    };
    return { element, show };
  }

  // Control of an object: a checkbox switches it on and off, a text field edits each
  // member.
  members(field, id) {
    const toggle = h("input", { id, type: "checkbox", onchange: () => edit(toggle.checked ? structuredClone(field.start) : null) });
    const list = h("div.members");
    const edit = (value) => {
      this.changed(field, value);
      show();
    };
    const show = () => {
      const value = valueAt(this.spec, field.at) ?? null;
      toggle.checked = value !== null;
      list.replaceChildren(...(value === null ? [] : field.members.map((member) => this.member(field, member, value))));
    };
    return { element: h("div", null, toggle, list), target: toggle, show };
  }

  member(field, member, value) {
    const kind = TEXT_KINDS[member.kind];
    const element = h("input", {
      value: kind.show(value[member.at]),
      autocomplete: "off",
      oninput: () => this.changed(field, { ...valueAt(this.spec, field.at), [member.at]: kind.read(element.value) }),
    });
    return h("label", null, h("span", null, member.label), element);
  }

  customGroups(field, id) {
    const list = h("div.customs");
    const add = h("button", { type: "button", id, onclick: () => edit([...groups(), { name: "", tokens: [] }]) }, "Add a group");
    const groups = () => valueAt(this.spec, field.at) ?? [];
    const edit = (value) => {
      this.changed(field, value);
      show();
    };
    const show = () => {
      list.replaceChildren(...groups().map((group, index) => this.customGroup(field, groups, edit, index)));
    };
    return { element: h("div", null, list, add), target: add, show };
  }

  customGroup(field, groups, edit, index) {
    const group = groups()[index];
    const update = (changes) => {
      const next = groups().map((other, i) => (i === index ? { ...other, ...changes } : other));
      this.changed(field, next);
    };
    const name = h("input", {
      value: group.name,
      "aria-label": `Name of custom group ${index + 1}`,
      placeholder: "name",
      oninput: () => update({ name: name.value }),
    });
    const tokens = h("textarea", {
      value: tokensToText(group.tokens),
      rows: 4,
      spellcheck: false,
      "aria-label": `Tokens of custom group ${index + 1}, one a line`,
      oninput: () => update({ tokens: textToTokens(tokens.value) }),
    });
    const remove = h(
      "button.quiet",
      { type: "button", onclick: () => edit(groups().filter((_, i) => i !== index)) },
      "Remove",
    );
    return h("div.custom", null, name, tokens, remove);
  }

  rawPanel() {
    this.rawError = h("p.error", { role: "status", id: "raw-error" });
    this.raw = h("textarea.raw", {
      rows: 18,
      spellcheck: false,
      "aria-label": "The spec as JSON",
      "aria-describedby": "raw-error",
      oninput: () => this.onRaw(),
    });
    return h("details.panel", null, h("summary", null, "Advanced: the spec as JSON"), this.raw, this.rawError);
  }

  onRaw() {
    let spec;
    try {
      spec = JSON.parse(this.raw.value);
      if (typeof spec !== "object" || spec === null || Array.isArray(spec)) throw new Error("not an object");
    } catch (error) {
      setText(this.rawError, `Not used yet: ${error.message}`);
      return;
    }
    setText(this.rawError, "");
    this.spec = this.kept.spec = spec;
    for (const control of this.controls.values()) control.show();
    this.showSize();
  }

  clearErrors() {
    this.summary.replaceChildren();
    for (const control of this.controls.values()) control.setError("");
  }

  // The control whose pointer equals the pointer or is its nearest prefix.
  controlFor(pointer) {
    for (let at = pointer; at !== ""; at = at.slice(0, at.lastIndexOf("/")))
      if (this.controls.has(at)) return this.controls.get(at);
    return null;
  }

  showProblem(problem) {
    this.clearErrors();
    let first = null;
    const elsewhere = [];
    for (const { pointer, detail } of problem.errors ?? []) {
      const control = this.controlFor(pointer);
      control?.setError(detail);
      first ??= control;
      if (!control) elsewhere.push(h("li", null, h("code", null, pointer), ` ${detail}`));
    }
    const many = problem.errors?.length ?? 0;
    const said = many ? `${many} ${many === 1 ? "field needs" : "fields need"} attention.` : problem.message;
    this.summary.replaceChildren(
      notice("bad", "Not submitted", said, elsewhere.length ? h("ul", null, ...elsewhere) : null),
    );
    if (first) first.focus();
    else this.summary.focus();
  }

  // Idempotency key: the same spec keeps its key, so a second request (lost answer,
  // double click) creates no second job.
  keyFor(body) {
    if (this.kept.sent?.body !== body) this.kept.sent = { body, key: randomKey() };
    return this.kept.sent.key;
  }

  async onSubmit(event) {
    event.preventDefault();
    if (this.rawError.textContent) {
      this.raw.closest("details").open = true;
      this.raw.focus();
      return;
    }
    this.submit.disabled = true;
    try {
      const body = JSON.stringify(this.spec);
      const job = await api.createJob(body, this.keyFor(body));
      announce("Experiment submitted");
      location.hash = `#/jobs/${job.id}`;
    } catch (problem) {
      this.showProblem(problem);
    } finally {
      this.submit.disabled = false;
    }
  }

  async guard(action) {
    try {
      await action();
    } catch (problem) {
      this.summary.replaceChildren(problemNotice("Cannot load these settings", problem));
    }
  }
}

// Text with the number of the model's parameters, of positions in a step, and the bytes of the records.
function sizeText(spec) {
  const records = recordBytes(spec);
  return [modelText(spec), records && `about ${bytes(records)} of records`].filter(Boolean).join(", ");
}

function modelText(spec) {
  const { d_model: d, n_layers: layers, seq_len: T, tie } = spec.model ?? {};
  const positions = (spec.train?.batch_size ?? 0) * T;
  if (![d, layers, T, positions].every((value) => Number.isFinite(value) && value > 0)) return "";
  const { tokenizer = "gpt2", vocabulary = "all" } = spec.corpus ?? {};
  const known = vocabulary === "all" && spec.model.head !== "adaptive" && VOCABULARIES[tokenizer];
  if (!known) return `${count(positions)} positions a step`;
  const embeddings = known * d * (tie === "tied" ? 1 : 2);
  const head = spec.model.head_bias ? known : 0;
  const blocks = layers * (12 * d * d + 13 * d);
  const parameters = embeddings + head + T * d + blocks + 2 * d;
  return `${count(parameters)} parameters, ${count(positions)} positions a step`;
}

export function render(view, params, kept) {
  const form = new Form(view, params, kept);
  form.open().catch((problem) => {
    if (!form.closed) view.replaceChildren(h("h1", null, "New experiment"), problemNotice("Cannot open the form", problem));
  });
  return () => (form.closed = true);
}
