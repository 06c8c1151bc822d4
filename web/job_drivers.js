// Chart of one selectable quantity by epoch: of each group, of count classes of the
// whole vocabulary, or of the model. It shares the epochs of the main charts and draws
// the closed forms of /theory for this quantity.

import { Chart } from "./chart.js";
import { h, setText, uniqueId } from "./dom.js";
import { CLASSES, groupPointer } from "./epochs.js";
import { count, fixed, groupLabel, significant } from "./format.js";
import { countLines, entropyLine, formCurves } from "./forms.js";

const nats = { label: "nats", format: (value) => fixed(value, 3) };
const plain = (label) => ({ label, format: significant });
const cosine = { label: "cosine", format: (value) => fixed(value, 3) };

const tokensAxis = { label: "tokens", log: true, format: (value) => count(value) };
const positions = { ...tokensAxis, label: "positions" };

const EVALUATED = "Windows that are the same for every epoch and every seed, evaluated every so many epochs.";

// Each entry has exactly one source of its series:
// - of: pointer below a group. minus: a second pointer that is subtracted. quantiles:
//   the array whose bands are drawn.
// - classes: array of the record over the count classes. sizes: the array with the
//   number of tokens or positions in each class.
// - run: [label, pointer, colour] of numbers of the model.
// Horizontal lines: optima (closed form of each class), counts (mean ln(c/N) of each
// group), entropy (entropy of the counts).
const QUANTITIES = {
  "Whole vocabulary": [
    { key: "by_count", label: "Spectrum: log p by count in the text", classes: "logp_by_count", sizes: "tokens_by_count", unit: "tokens", optima: true, y: nats, help: "Mean log p over tokens and positions, tokens put together by how often they occur in the text. Dotted: the best model without context under this loss." },
    { key: "by_exposure", label: "Spectrum: log p by exposure", classes: "logp_by_exposure", sizes: "tokens_by_exposure", unit: "tokens", y: nats, help: "Mean log p over tokens and positions, tokens put together by how often they were a target so far." },
    { key: "tokens_by_exposure", label: "Tokens in each class of exposure", classes: "tokens_by_exposure", y: tokensAxis, help: "How many tokens of the vocabulary were a target that often so far: the classes of the spectrum by exposure." },
    { key: "tokens_by_count", label: "Tokens in each class of counts", classes: "tokens_by_count", y: tokensAxis, help: "How many tokens of the vocabulary occur that often in the text: the classes of the spectrum by count." },
  ],
  "Log p of the groups": [
    { key: "jensen", label: "Jensen gap: mean ln(mean p) − mean log p", of: "ln_mean_p", minus: "mean_logp/none", y: nats, help: "Grows as the model learns where a token belongs: mean p stays, the mean of its logarithm sinks." },
    { key: "mean_logit", label: "Mean logit", of: "mean_logit", y: plain("logit"), help: "log p mixes the logit with log Z; this is the logit." },
    { key: "mass", label: "Probability mass", of: "mass", y: { ...plain("p"), min: 0 }, help: "Sum of p over the group's tokens, mean over positions." },
    { key: "sd", label: "Spread of the tokens' mean log p", of: "sd", y: nats, help: "Standard deviation over the tokens of the group." },
    { key: "advantage", label: "Advantage of standing in the window", of: "advantage", y: nats, help: "Mean log p of a token in windows whose input contains it, minus in windows that do not, same epoch." },
    { key: "target_loss", label: "Loss where it is the target", of: "target_loss", y: nats, help: "" },
    { key: "exposure", label: "Exposure", of: "exposure", y: plain("times a target"), help: "How often the tokens of the group were the target of an update so far, mean over tokens." },
  ],
  "Gradient of the output rows": [
    { key: "softmax", label: "Gradient, softmax part", of: "grad/softmax", y: plain("mean norm"), help: "What pushes every output row down, whether its token occurs or not: (s/N) Σ p(i) h." },
    { key: "target", label: "Gradient, target part", of: "grad/target", y: plain("mean norm"), help: "What pulls a row up where its token is the target." },
    { key: "input", label: "Gradient, input part", of: "grad/input", y: plain("mean norm"), help: "Of a tied model: what comes from the token as input." },
    { key: "zloss", label: "Gradient, z-loss part", of: "grad/zloss", y: plain("mean norm"), help: "What the z-loss adds." },
  ],
  "Embedding rows": [
    { key: "cos_minus_h", label: "Cosine of the mean row to −mean h", of: "cos_minus_h", y: cosine, help: "1: the group's mean output row points away from the mean hidden state, the direction that suppresses a token everywhere." },
    { key: "cos_within", label: "Cosine within the group", of: "cos_within", y: cosine, help: "Mean cosine between output rows of the group: towards 1 its tokens become one direction." },
    { key: "output_shift", label: "Shift of output rows", of: "output_shift", y: plain("mean norm"), help: "How far output rows are from where they started." },
    { key: "output_norm", label: "Norm of output rows", of: "output_norm", y: plain("mean norm"), help: "" },
    { key: "input_shift", label: "Shift of input rows", of: "input_shift", y: plain("mean norm"), help: "Untied models only: a row that is never fed moves by decay alone." },
    { key: "input_norm", label: "Norm of input rows", of: "input_norm", y: plain("mean norm"), help: "Untied models only." },
  ],
  "The model": [
    { key: "objective", label: "What is minimised", run: [["Objective", "/objective", "--ink"], ["Loss", "/loss", "--log-z"]], entropy: true, y: nats, help: "The objective differs from the loss under class weights, label smoothing, logit adjustment and z-loss; the loss is always the plain cross-entropy." },
    { key: "grad_norm", label: "Norm of the whole gradient", run: [["Gradient norm", "/grad_norm", "--ink"]], y: plain("norm"), help: "L2 norm over all parameters, before clipping." },
    { key: "h_norm", label: "Norm of mean h", run: [["‖mean h‖₂", "/h_norm", "--ink"], ["‖mean h‖₁", "/h_l1", "--log-z"]], y: plain("norm"), help: "The common direction of the hidden states, along which tokens that are never a target are pushed down." },
    { key: "tokens_per_second", label: "Tokens per second", run: [["Tokens per second", "/tokens_per_second", "--ink"]], y: { label: "tokens/s", min: 0, format: count }, help: "Since the epoch before, measuring included. The one number of a record that another run does not repeat." },
  ],
  "Fixed windows": [
    { key: "eval_loss", label: "Loss on fixed windows", run: [["Training part", "/eval/loss", "--ink"], ["Held-out part", "/holdout/loss", "--log-z"]], sparse: true, entropy: true, y: nats, help: EVALUATED },
    { key: "eval_log_z", label: "log Z on fixed windows", run: [["Training part", "/eval/log_z", "--ink"], ["Held-out part", "/holdout/log_z", "--log-z"]], sparse: true, y: nats, help: EVALUATED },
    { key: "eval_by_count", label: "Loss on fixed windows by the target's count", classes: "eval_loss_by_count", sizes: "eval_n_by_count", unit: "positions", sparse: true, y: nats, help: EVALUATED },
    { key: "eval_n_by_count", label: "Positions of fixed windows by the target's count", classes: "eval_n_by_count", sparse: true, y: positions, help: "How many positions each class of the loss on fixed windows has." },
    { key: "holdout_by_count", label: "Loss on held-out text by the target's count", classes: "holdout_loss_by_count", sizes: "holdout_n_by_count", unit: "positions", sparse: true, y: nats, help: `${EVALUATED} Class 0: tokens that the text never had.` },
    { key: "holdout_n_by_count", label: "Positions of held-out text by the target's count", classes: "holdout_n_by_count", sparse: true, y: positions, help: "How many positions each class of the loss on held-out text has." },
    { key: "eval_spectrum", label: "Spectrum on fixed windows: log p by count", classes: "eval_logp_by_count", sizes: "tokens_by_count", unit: "tokens", sparse: true, optima: true, y: nats, help: `${EVALUATED} Mean log p over tokens and positions, tokens put together by how often they occur in the text.` },
    { key: "words", label: "Loss of held-out words", run: [["Words never seen in training", "/holdout/unseen_word_loss", "--ink"], ["Seen words", "/holdout/seen_word_loss", "--log-z"]], sparse: true, y: { ...nats, label: "nats a word" }, help: `${EVALUATED} Words that the training part never has are plausible all the same: the book has them.` },
    { key: "word_tokens", label: "Loss of held-out words, by token", run: [["Words never seen in training", "/holdout/unseen_word_token_loss", "--ink"], ["Seen words", "/holdout/seen_word_token_loss", "--log-z"]], sparse: true, y: { ...nats, label: "nats a token" }, help: `${EVALUATED} Unseen words have more tokens than seen ones.` },
    { key: "eval_logp", label: "Mean log p on fixed windows", of: "eval/mean_logp", quantiles: "eval_quantiles", sparse: true, counts: true, y: nats, help: `${EVALUATED} Without a mask. Bands: 5–95 % and 25–75 % of the per-token means.` },
    { key: "eval_sd", label: "Spread of the tokens' mean log p on fixed windows", of: "eval/sd", sparse: true, y: nats, help: `Standard deviation over the tokens of the group. ${EVALUATED}` },
    { key: "eval_ln_mean_p", label: "Mean ln(mean p) on fixed windows", of: "eval/ln_mean_p", sparse: true, counts: true, y: nats, help: `${EVALUATED} A calibrated model's tends to ln(c/N), with context or without.` },
    { key: "eval_jensen", label: "Jensen gap on fixed windows", of: "eval/ln_mean_p", minus: "eval/mean_logp", sparse: true, y: nats, help: `mean ln(mean p) − mean log p. ${EVALUATED}` },
    { key: "eval_mean_p", label: "Mean p on fixed windows", of: "eval/mean_p", sparse: true, y: { ...plain("mean p"), log: true }, help: EVALUATED },
    { key: "eval_mean_logit", label: "Mean logit on fixed windows", of: "eval/mean_logit", sparse: true, y: plain("logit"), help: EVALUATED },
    { key: "eval_target_loss", label: "Loss on fixed windows where it is the target", of: "eval/target_loss", sparse: true, y: nats, help: EVALUATED },
  ],
};
const ALL = Object.values(QUANTITIES).flat();

// Note beside the value of a class: the number of tokens or positions in it.
function sizeNote({ sizes, unit }, index, epochs) {
  if (!sizes) return undefined;
  const column = epochs.column(`/${sizes}/${index}`);
  return (at) => (Number.isFinite(column[at]) ? `${count(column[at])} ${unit}` : "");
}

export class JobDrivers {
  constructor(linked, subject) {
    [this.chosen] = ALL;
    this.chart = new Chart({ label: "The chosen quantity by epoch", height: 280, linked, subject, xLabel: "epoch" });
    const id = uniqueId("quantity");
    this.select = h("select", { id, onchange: () => this.choose(this.select.value) });
    this.help = h("p.help");
    this.element = h(
      "section.panel.drivers",
      null,
      h("div.panelhead", null, h("h2", null, "What moves the tokens"), h("label", { for: id }, "Quantity "), this.select),
      this.chart.root,
      this.help,
    );
  }

  destroy() {
    this.chart.destroy();
  }

  choose(key) {
    this.chosen = ALL.find((quantity) => quantity.key === key);
    this.update(this.epochs, this.forms);
  }

  // Offer only quantities that this job measures: an untied model has no input part.
  offer(epochs) {
    const measured = ALL.filter((quantity) => this.series(quantity, epochs).some(({ values }) => values.some(Number.isFinite)));
    const keys = measured.map(({ key }) => key).join();
    if (this.offered === keys) return;
    this.offered = keys;
    const options = (list) => list.filter((quantity) => measured.includes(quantity)).map(({ key, label }) => h("option", { value: key }, label));
    const parts = Object.entries(QUANTITIES).map(([label, list]) => h("optgroup", { label }, ...options(list)));
    this.select.replaceChildren(...parts.filter((part) => part.firstChild));
    if (!measured.includes(this.chosen) && measured.length) [this.chosen] = measured;
    this.select.value = this.chosen.key;
  }

  // The keys contain the quantity, so the chart is built again for another quantity.
  series(quantity, epochs) {
    const { key, sparse } = quantity;
    const line = (label, color, values) => ({ key: `${key}/${label}`, label, color, sparse, values });
    if (quantity.run) return quantity.run.map(([label, pointer, color]) => line(label, color, epochs.column(pointer)));
    if (quantity.classes)
      return CLASSES.map((label, index) => ({ ...line(label, `--group-${index}`, epochs.column(`/${quantity.classes}/${index}`)), note: sizeNote(quantity, index, epochs) }));
    return epochs.groups.map((name, index) => ({
      ...line(groupLabel(name), `--group-${index}`, this.values(quantity, name, epochs)),
      band: quantity.quantiles && epochs.band(name, quantity.quantiles),
    }));
  }

  values({ of, minus }, group, epochs) {
    const values = epochs.column(groupPointer(group, of));
    if (!minus) return values;
    const less = epochs.column(groupPointer(group, minus));
    return values.map((value, i) => (value === null || less[i] === null ? null : value - less[i]));
  }

  lines({ key, optima, counts, entropy }) {
    if (!this.forms) return [];
    if (entropy) return entropyLine(this.forms);
    if (counts) return countLines(this.forms.groups, this.epochs.groups, (name) => `${key}/${groupLabel(name)}`);
    if (!optima) return [];
    return this.forms.classes.map(({ optimum }, index) => ({ key: `by_count/${CLASSES[index]}`, color: `--group-${index}`, value: optimum, label: "" }));
  }

  // forms: the answer of /theory, null before it arrives.
  update(epochs, forms) {
    this.epochs = epochs;
    this.forms = forms;
    this.offer(epochs);
    this.element.hidden = this.select.options.length === 0;
    if (this.element.hidden) return;
    setText(this.help, this.chosen.help);
    const series = [...this.series(this.chosen, epochs), ...formCurves(forms, this.chosen.of, epochs)];
    this.chart.show({ title: this.chosen.label, note: this.chosen.help, x: epochs.x, y: this.chosen.y, series, lines: this.lines(this.chosen) });
  }
}
