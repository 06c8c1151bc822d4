// Login page, shown instead of any other view while the API answers 401. The token is
// posted once. After that the browser has a session cookie that scripts cannot read.

import { login } from "./api.js";
import { h, problemNotice } from "./dom.js";

// problem: of a one-time link that did not work.
export function render(view, { onlogin, problem: refused }) {
  const token = h("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: false,
  });
  const send = h("button.primary", { type: "submit" }, "Log in");
  const result = h("div", null, refused ? problemNotice("The link let nobody in", refused) : null);
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    try {
      await login(token.value.trim());
      onlogin();
    } catch (problem) {
      result.replaceChildren(problemNotice("Not logged in", problem));
      token.select();
    } finally {
      send.disabled = false;
    }
  };
  view.replaceChildren(
    h(
      "form.panel.login",
      { onsubmit: submit },
      h("h1", null, "Log in"),
      h(
        "p.quiet",
        null,
        "This server asks for a token. On its machine ",
        h("code", null, "tokenfate login --browser"),
        " prints a link instead; ",
        h("code", null, "tokenfate token issue"),
        " makes a token.",
      ),
      h("div.field", null, h("label", { for: "token" }, "Token"), token),
      h("div", null, send),
      result,
    ),
  );
  token.focus();
  return () => {};
}
