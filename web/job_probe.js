// Form that asks the job's model for the next token after a text.

import * as api from "./api.js";
import { announce, h, problemNotice, uniqueId } from "./dom.js";
import { count, fixed, significant, visible } from "./format.js";
import { modelEpochs } from "./models.js";

function tokenTable(label, tokens) {
  const head = ["Token", "Rank", "log p", "p"].map((text, i) => h(i ? "th.number" : "th", { scope: "col" }, text));
  const rows = tokens.map(({ text, rank, logp }) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, h("code", null, visible(text))),
      h("td.number", null, count(rank)),
      h("td.number", null, fixed(logp, 3)),
      h("td.number", null, significant(Math.exp(logp))),
    ),
  );
  return h("div", null, h("h3", null, label), h("table.groups", { "aria-label": label }, h("thead", null, h("tr", null, ...head)), h("tbody", null, ...rows)));
}

export class JobProbe {
  constructor(id) {
    this.id = id;
    const [text, tokens, epoch] = ["text", "tokens", "epoch"].map(uniqueId);
    this.text = h("textarea", { id: text, rows: 2, required: true, value: "My father had a small" });
    this.tokens = h("input", { id: tokens, value: "estate, Yahoo" });
    this.epoch = h("select", { id: epoch });
    this.button = h("button.primary", { type: "submit" }, "Ask");
    this.result = h("div.probe", { "aria-live": "polite" });
    const form = h(
      "form",
      { onsubmit: (event) => this.ask(event) },
      h("p", null, h("label", { for: text }, "Text"), this.text),
      h("p", null, h("label", { for: tokens }, "Also show these words, separated by commas"), this.tokens),
      h("p.controls", null, h("label", { for: epoch }, "Model at epoch "), this.epoch, this.button),
    );
    this.element = h("section.panel.prober", { hidden: true }, h("h2", null, "Ask the model"), form, this.result);
  }

  update(job) {
    const models = modelEpochs(job);
    this.element.hidden = models.length === 0;
    if (models.join() === this.models) return;
    this.models = models.join();
    this.epoch.replaceChildren(...models.map((epoch) => h("option", { value: epoch }, count(epoch))));
    this.epoch.value = models.at(-1);
  }

  // GPT-2's tokens of words inside a text begin with a space: " estate" follows "small".
  named() {
    return this.tokens.value.split(",").map((word) => word.trim()).filter(Boolean).map((word) => ` ${word}`);
  }

  async ask(event) {
    event.preventDefault();
    this.button.disabled = true;
    try {
      const answer = await api.probeJob(this.id, { text: this.text.value, tokens: this.named(), epoch: Number(this.epoch.value) });
      const tables = [tokenTable("Likeliest next tokens", answer.top)];
      if (answer.tokens.length) tables.push(tokenTable("Named tokens", answer.tokens));
      this.result.replaceChildren(...tables);
      announce(`Likeliest next token: ${answer.top[0].text}`);
    } catch (problem) {
      this.result.replaceChildren(problemNotice("No answer", problem));
    } finally {
      this.button.disabled = false;
    }
  }
}
