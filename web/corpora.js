// List of the texts that experiments can use, deletion of a text, and the upload of a new one.

import * as api from "./api.js";
import { announce, h, notice, problemNotice, scrollable } from "./dom.js";
import { bytes, fullTime, time } from "./format.js";
import { confirmed } from "./job_actions.js";

const SHA256 = /^[0-9a-f]{64}$/;

// A text without an address is built into the program.
function addressOf({ id }) {
  return SHA256.test(id) ? h("code", { title: id }, id.slice(0, 16)) : h("span.quiet", null, "built in");
}

// The server keeps its own texts.
function deletion(corpus, remove) {
  const act = (event) => remove(corpus, event.target);
  return corpus.reserved ? null : h("button", { type: "button", "aria-label": `Delete ${corpus.name}`, onclick: act }, "Delete");
}

function row(corpus, remove) {
  return h(
    "tr",
    null,
    h("td", null, corpus.name),
    h("td.number", null, bytes(corpus.bytes || null)),
    h("td", null, addressOf(corpus)),
    h("td", { title: fullTime(corpus.created_at) }, time(corpus.created_at)),
    h("td", null, corpus.user ?? ""),
    h("td", null, deletion(corpus, remove)),
  );
}

function table(corpora, remove) {
  const headings = ["Name", "Size", "sha256", "Added", "User", ""];
  return h(
    "table",
    { "aria-label": "Corpora" },
    h("thead", null, h("tr", null, ...headings.map((text) => h(text === "Size" ? "th.number" : "th", null, text)))),
    h("tbody", null, ...corpora.map((corpus) => row(corpus, remove))),
  );
}

export function render(view) {
  const list = scrollable("Corpora", h("div.panel.tablepanel"));
  const result = h("div", { role: "status" });
  // A name that was given to another text since must not take that one with it, so the
  // text goes by its address unless it is what the name stands for.
  const remove = async (corpus, button) => {
    if (!(await confirmed(`Delete the text ${corpus.name} for good?`, "Delete"))) return;
    button.disabled = true;
    try {
      const { corpora } = await api.getCorpora();
      const stands = corpora.find(({ name }) => name === corpus.name);
      await api.deleteCorpus(stands?.id === corpus.id ? corpus.name : corpus.id);
      result.replaceChildren(notice("good", "Deleted", `${corpus.name} is gone.`));
      announce("Corpus deleted");
      await load();
    } catch (problem) {
      result.replaceChildren(problemNotice("Not deleted", problem));
      button.disabled = false;
    }
  };
  const load = async () => {
    try {
      const { corpora } = await api.getCorpora();
      list.replaceChildren(corpora.length ? table(corpora, remove) : h("p.quiet", null, "No texts yet."));
    } catch (problem) {
      list.replaceChildren(problemNotice("Cannot load the list", problem));
    }
  };

  const file = h("input", {
    type: "file",
    id: "corpus-file",
    required: true,
    onchange: () => {
      if (!name.value && file.files[0]) name.value = file.files[0].name.replace(/\.[^.]*$/, "");
    },
  });
  const name = h("input", { id: "corpus-name", required: true, maxLength: 100, autocomplete: "off" });
  const replace = h("input", { type: "checkbox", id: "corpus-replace" });
  const send = h("button.primary", { type: "submit" }, "Upload");
  const upload = async (event) => {
    event.preventDefault();
    send.disabled = true;
    result.replaceChildren(h("p.quiet", null, `Uploading ${bytes(file.files[0].size)} …`));
    try {
      const corpus = await api.createCorpus(name.value.trim().normalize("NFC"), file.files[0], replace.checked || undefined);
      result.replaceChildren(notice("good", "Uploaded", `${corpus.name ?? name.value} can now be used.`));
      announce("Corpus uploaded");
      await load();
    } catch (problem) {
      result.replaceChildren(problemNotice("Not uploaded", problem));
    } finally {
      send.disabled = false;
    }
  };

  view.replaceChildren(
    h("h1", null, "Corpora"),
    list,
    h(
      "form.panel.upload",
      { onsubmit: upload },
      h("h2", null, "Add a text"),
      h("div.field", null, h("label", { for: "corpus-file" }, "File"), file, h("span.help", null, "Plain text, UTF-8.")),
      h("div.field", null, h("label", { for: "corpus-name" }, "Name"), name, h("span.help", null, "It stands for this text from now on.")),
      h(
        "div.field",
        null,
        h("label", { for: "corpus-replace" }, replace, " Replace an older text"),
        h("span.help", null, "Only your own; the older one keeps its address. Otherwise a name that is taken is refused."),
      ),
      h("div", null, send),
      result,
    ),
  );
  load();
  return () => {};
}
