// What is done to many jobs at once. A question with numbers comes first: a dry run tells how many
// jobs take the action and which cannot; those are left out.

import * as api from "./api.js";
import { h, problemNotice, setText } from "./dom.js";
import { typedNumber } from "./fields.js";
import { count } from "./format.js";
import { confirmed, formField } from "./job_actions.js";

const STATES = "queued,held,running,succeeded,failed,cancelled";

export const jobsText = (n) => (n === 1 ? "1 job" : `${count(n)} jobs`);

const tagsOf = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);

// ask: what follows the question; done: the participle; fields: what the user enters first.
const ACTIONS = {
  hold: { label: "Hold", ask: "Those that run write a checkpoint first.", done: "held", kind: "primary" },
  release: { label: "Release", ask: "", done: "released", kind: "primary" },
  cancel: { label: "Cancel", ask: "Their epochs so far are kept.", done: "cancelled", kind: "danger" },
  retry: { label: "Retry", ask: "They go on from their last checkpoints.", done: "retried", kind: "primary" },
  delete: { label: "Delete", ask: "Their epochs and models go for good.", done: "deleted", kind: "danger" },
  tag: {
    label: "Tag",
    ask: "",
    done: "tagged",
    kind: "primary",
    fields: { add: ["Tags to add", "Separated by commas."], remove: ["Tags to remove", "Separated by commas."] },
    read: ({ add, remove }) => ({ add: tagsOf(add), remove: tagsOf(remove) }),
  },
  priority: {
    label: "Priority",
    ask: "",
    done: "given the priority",
    kind: "primary",
    fields: { priority: ["Priority", "−100 to 100; larger runs first, among the jobs of one user."] },
    read: ({ priority }) => ({ priority: typedNumber(priority) }),
  },
};

// A dialog for the fields of an action; resolves to what a dry run with them says and to the
// arguments, or to null. `request` is the body without them.
function entered({ label, fields, read }, request) {
  return new Promise((resolve) => {
    const inputs = Object.fromEntries(
      Object.entries(fields).map(([key, [name, help]]) => [key, formField(name, h("input", { autocomplete: "off" }), help)]),
    );
    const result = h("div");
    let answer = null;
    const next = async (event) => {
      event.preventDefault();
      const given = read(Object.fromEntries(Object.entries(inputs).map(([key, { input }]) => [key, input.value])));
      try {
        answer = { given, look: await api.bulkJobs({ ...request, ...given, dry_run: true }) };
        dialog.close();
      } catch (problem) {
        const errors = problem.errors ?? [];
        const keyOf = ({ pointer }) => pointer.split("/")[1];
        for (const [key, each] of Object.entries(inputs)) each.setError(errors.filter((error) => keyOf(error) === key).map(({ detail }) => detail).join("; "));
        inputs[errors.map(keyOf).find((key) => inputs[key])]?.input.focus();
        const elsewhere = errors.filter((error) => !inputs[keyOf(error)]);
        result.replaceChildren(...(errors.length && !elsewhere.length ? [] : [problemNotice("Not done", Object.assign(problem, { errors: elsewhere }))]));
      }
    };
    const dialog = h(
      "dialog.edit",
      { onclose: () => finish() },
      h(
        "form",
        { onsubmit: next },
        h("h2", null, label),
        ...Object.values(inputs).map(({ element }) => element),
        result,
        h("div.buttons", null, h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Back"), h("button.primary", { type: "submit" }, "Next")),
      ),
    );
    const finish = () => {
      dialog.remove();
      resolve(answer);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

function question({ label, ask }, { done, unfit, matched, refused }) {
  const left = unfit ? `${count(unfit)} of ${count(matched)} are left out, for example: ${refused[0].detail}.` : "";
  return [`${label} ${jobsText(done)}?`, ask, left].filter(Boolean).join(" ");
}

// Ask, and do it. Resolves to a sentence about what was done, or to null if the user goes back.
// Throws Problems.
export async function actOnJobs(action, filter) {
  const one = ACTIONS[action];
  const request = { filter, action, unfit: "skip" };
  const first = one.fields ? await entered(one, request) : { given: {}, look: await api.bulkJobs({ ...request, dry_run: true }) };
  if (!first) return null;
  const { given, look } = first;
  if (look.done === 0) throw Object.assign(new Error(look.refused[0]?.detail ?? "no job matches any more"), { errors: [] });
  if (!(await confirmed(question(one, look), `${one.label} ${jobsText(look.done)}`, one.kind))) return null;
  const { done } = await api.bulkJobs({ ...request, ...given });
  return `${jobsText(done)} ${one.done}`;
}

// The bar above a list: how many jobs are selected, and what can be done with them. list: rows()
// ids of the rows; picks, the set of selected ids; filter() of the list; isWhole() whether the rows
// are all that match; onchange, called after the selection has changed.
export class SelectionBar {
  constructor(list) {
    this.list = list;
    this.all = null; // {filter, matched}: everything that matches is selected
    this.said = ""; // what was done last, until something is selected
    this.shown = h("input", { type: "checkbox", onchange: () => this.pickShown(this.shown.checked) });
    this.status = h("span", { role: "status" });
    this.whole = h("button.quiet", { type: "button", onclick: () => this.pickAll() }, "Select all that match");
    this.clear = h("button.quiet", { type: "button", onclick: () => this.reset() }, "Clear");
    this.actions = h(
      "span.actions",
      { role: "group", "aria-label": "For the selected jobs" },
      ...Object.entries(ACTIONS).map(([action, { label }]) => h("button", { type: "button", onclick: () => this.act(action) }, label)),
    );
    this.message = h("div");
    this.element = h("div", null, h("div.selection", null, h("label.check", null, this.shown, "All shown"), this.status, this.whole, this.clear, this.actions), this.message);
    this.update();
  }

  get filter() {
    return this.all ? this.all.filter : { ids: [...this.list.picks] };
  }

  // Of what the list shows; an empty filter names every job by its state.
  listFilter() {
    const given = Object.entries(this.list.filter()).filter(([, value]) => value);
    return given.length ? Object.fromEntries(given) : { state: STATES };
  }

  reset() {
    this.all = null;
    this.list.picks.clear();
    this.changed();
    this.shown.focus();
  }

  changed() {
    this.list.onchange();
    this.update();
  }

  // A row was picked or given up, or the list has changed.
  update() {
    const rows = this.list.rows();
    if (this.all) for (const id of rows) this.list.picks.add(id); // rows that have come since
    if (this.all) this.list.onchange();
    if (this.all || this.list.picks.size) this.said = "";
    const picked = this.all ? this.all.matched : this.list.picks.size;
    const unseen = [...this.list.picks].filter((id) => !rows.includes(id)).length;
    const isEvery = rows.length > 0 && rows.every((id) => this.list.picks.has(id));
    this.shown.checked = isEvery;
    this.shown.indeterminate = !isEvery && picked > 0;
    this.element.hidden = rows.length === 0 && picked === 0;
    for (const part of [this.clear, this.actions]) part.hidden = picked === 0;
    this.whole.hidden = !isEvery || this.list.isWhole() || this.all !== null;
    if (this.all) setText(this.status, `All ${count(picked)} that match are selected`);
    else setText(this.status, picked ? `${count(picked)} selected${unseen ? `, ${count(unseen)} of them not shown` : ""}` : this.said);
    if (!this.whole.hidden) this.countAll();
  }

  pickShown(on) {
    this.all = null;
    for (const id of this.list.rows()) if (on) this.list.picks.add(id);
    if (!on) this.list.picks.clear();
    this.changed();
  }

  // How many match only the server knows.
  async countAll() {
    const filter = this.listFilter();
    const key = JSON.stringify([filter, this.list.rows()]);
    if (this.counted === key) return;
    this.counted = key;
    setText(this.whole, "Select all that match");
    try {
      const { matched } = await api.bulkJobs({ filter, action: "hold", dry_run: true });
      if (this.counted === key) setText(this.whole, `Select all ${count(matched)} that match`);
    } catch (problem) {
      if (problem.status !== 401) this.message.replaceChildren(problemNotice("Cannot count the jobs", problem));
    }
  }

  async pickAll() {
    const filter = this.listFilter();
    try {
      const { matched } = await api.bulkJobs({ filter, action: "hold", dry_run: true });
      this.all = { filter, matched };
      this.update();
      this.clear.focus(); // the button that was pressed is hidden
    } catch (problem) {
      this.message.replaceChildren(problemNotice("Cannot select the jobs", problem));
    }
  }

  // Rows that are picked one by one end the selection of everything.
  picked() {
    this.all = null;
    this.changed();
  }

  async act(action) {
    this.message.replaceChildren();
    try {
      const said = await actOnJobs(action, this.filter);
      if (!said) return;
      this.all = null;
      this.list.picks.clear();
      this.said = said;
      this.changed();
      this.shown.focus();
    } catch (problem) {
      this.message.replaceChildren(problemNotice("Not done", problem));
    }
  }
}
