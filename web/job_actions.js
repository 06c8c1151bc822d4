// Buttons for the actions that the present state of a job allows. One table lists the
// states of each action. The server decides; its 409 is shown.

import * as api from "./api.js";
import { h, problemNotice, setText, uniqueId } from "./dom.js";
import { typedNumber } from "./fields.js";
import { isCancelling, isEnded } from "./state.js";

const ACTIONS = [
  {
    label: "Hold", // a running job writes a checkpoint first
    states: ["queued", "running"],
    when: (job) => !job.hold_requested,
    run: (job) => api.holdJob(job.id),
  },
  { label: "Release", states: ["held"], run: (job) => api.releaseJob(job.id) },
  {
    label: "Cancel",
    states: ["queued", "held", "running"],
    ask: "Cancel this job? Its epochs so far are kept.",
    run: (job) => api.cancelJob(job.id),
  },
  {
    label: "Retry",
    states: ["failed", "cancelled"],
    when: (job) => job.error?.code !== "diverged", // it would diverge again
    ask: "Go on with this job from its last checkpoint? Its epochs so far are kept.",
    kind: "primary",
    run: (job) => api.retryJob(job.id),
  },
  {
    label: "Start over",
    states: ["failed", "cancelled"],
    ask: "Run this job again from the start? Its present epochs are dropped.",
    run: (job) => api.retryJob(job.id, "start"),
  },
  {
    label: "Pin", // nothing of it goes by itself
    states: ["succeeded", "failed", "cancelled"],
    when: (job) => !job.pinned,
    run: (job) => api.patchJob(job.id, { pinned: true }),
  },
  {
    label: "Unpin",
    states: ["succeeded", "failed", "cancelled"],
    when: (job) => job.pinned,
    run: (job) => api.patchJob(job.id, { pinned: false }),
  },
  {
    label: "Delete",
    states: ["succeeded", "failed", "cancelled"],
    ask: "Delete this job, its epochs and its model for good?",
    run: (job) => api.deleteJob(job.id),
    then: "#/jobs",
  },
];

// Show a modal question. Resolves to true if the user confirms. kind: class of the button;
// danger is for what ends or destroys something.
export function confirmed(question, action, kind = "danger") {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { onclose: () => finish(dialog.returnValue === "yes") },
      h(
        "form",
        { method: "dialog" },
        h("p", null, question),
        h(
          "div.buttons",
          null,
          h("button.quiet", { value: "no" }, "Back"),
          h(`button.${kind}`, { value: "yes" }, action),
        ),
      ),
    );
    const finish = (answer) => {
      dialog.remove();
      resolve(answer);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A control with its label and, beside it, what the server says about it.
export function formField(label, input, help) {
  input.id = uniqueId("edit");
  const error = h("span.error", { id: `${input.id}-error` });
  input.setAttribute("aria-describedby", error.id);
  const element = h("div.field", null, h("label", { for: input.id }, label), input, help && h("span.help", null, help), error);
  const setError = (text) => {
    setText(error, text);
    element.classList.toggle("bad", text !== "");
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  return { element, input, setError };
}

// Dialog that changes name, notes, tags and priority of a job.
function edit(job, ondone) {
  const name = h("input", { value: job.name ?? "", autocomplete: "off" });
  const tags = h("input", { value: (job.tags ?? []).join(", "), autocomplete: "off" });
  const notes = h("textarea", { value: job.notes ?? "", rows: 4 });
  const priority = h("input", { value: String(job.priority ?? 0), inputMode: "numeric", autocomplete: "off" });
  const result = h("div");
  const fields = {
    name: formField("Name", name),
    tags: formField("Tags", tags, "Separated by commas."),
    notes: formField("Notes", notes),
    ...(isEnded(job) ? {} : { priority: formField("Priority", priority, "−100 to 100; larger runs first.") }),
  };
  const changes = () => ({
    name: name.value,
    notes: notes.value,
    tags: tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
    ...(isEnded(job) ? {} : { priority: typedNumber(priority.value) }),
  });
  const save = async (event) => {
    event.preventDefault();
    try {
      await api.patchJob(job.id, changes());
      dialog.close();
      ondone();
    } catch (problem) {
      showProblem(problem);
    }
  };
  // The errors of a list are those of its field; what has no field stands below.
  const showProblem = (problem) => {
    const errors = problem.errors ?? [];
    const fieldOf = ({ pointer }) => pointer.split("/").map((key) => fields[key]).find(Boolean);
    for (const each of Object.values(fields)) each.setError(errors.filter((error) => fieldOf(error) === each).map(({ detail }) => detail).join("; "));
    const known = errors.filter(fieldOf);
    if (known.length) fieldOf(known[0]).input.focus();
    const elsewhere = errors.filter((error) => !fieldOf(error));
    const isAllShown = known.length > 0 && elsewhere.length === 0;
    result.replaceChildren(...(isAllShown ? [] : [problemNotice("Not saved", Object.assign(problem, { errors: elsewhere }))]));
  };
  const dialog = h(
    "dialog.edit",
    { onclose: () => dialog.remove() },
    h(
      "form",
      { onsubmit: save },
      h("h2", null, "Name and notes"),
      ...Object.values(fields).map(({ element }) => element),
      result,
      h(
        "div.buttons",
        null,
        h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Back"),
        h("button.primary", { type: "submit" }, "Save"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

export class JobActions {
  constructor(job, ondone, onproblem) {
    this.job = job;
    this.ondone = ondone;
    this.onproblem = onproblem;
    this.element = h("div.actions", { role: "group", "aria-label": "Actions" });
  }

  update() {
    const job = this.job();
    const actions = isCancelling(job) ? [] : ACTIONS.filter((action) => action.states.includes(job.state) && (action.when?.(job) ?? true));
    if (this.shown?.join() === actions.map((action) => action.label).join()) return;
    this.shown = actions.map((action) => action.label);
    this.element.replaceChildren(
      h("a.button", { href: `#/new?from=${job.id}` }, "Run again with changes"),
      h("button", { type: "button", onclick: () => edit(this.job(), this.ondone) }, "Rename, notes"),
      ...actions.map((action) => h("button", { type: "button", onclick: (event) => this.run(action, event.target) }, action.label)),
    );
  }

  async run(action, button) {
    if (action.ask && !(await confirmed(action.ask, action.label, action.kind))) return;
    button.disabled = true;
    try {
      await action.run(this.job());
      if (action.then) location.hash = action.then;
      else this.ondone();
    } catch (problem) {
      this.onproblem(problem);
    } finally {
      button.disabled = false;
    }
  }
}
