// Building elements. Text only ever becomes text nodes: there is no innerHTML
// anywhere in the dashboard, so no name, note or token can become markup.

// h("a.quiet", {href: "#/new", onclick: f}, "New"): tag with classes, then
// properties (on… = listener, a key with "-" or role = attribute, rest =
// property; undefined, null and false leave attributes out), then children.
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) setProp(element, key, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function setProp(element, key, value) {
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "dataset") Object.assign(element.dataset, value);
  else if (key.includes("-") || key === "role" || key === "for") {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value);
  } else if (value !== undefined) element[key] = value;
}

// Writes only what differs, so that live updates neither disturb a selection
// nor make a screen reader speak again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let serial = 0;
export const uniqueId = (stem) => `${stem}-${++serial}`;

// Hands a file to whoever sits there.
export function saveFile(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// A sentence for screen readers.
export function announce(text) {
  setText(document.getElementById("announce"), text);
}

export function notice(kind, title, ...detail) {
  const role = kind === "bad" ? "alert" : "note";
  return h(`div.notice.${kind}`, { role }, h("strong", null, title), h("div", null, ...detail));
}

export function problemNotice(title, problem) {
  const detail = problem.message || problem.title || "unknown error";
  return notice("bad", title, detail);
}

// One of several, as a row of radio buttons: {legend, name, options: [[value, label]]}.
export function segmented({ legend, name, options, value, onchange }) {
  const group = uniqueId(name);
  const inputs = options.map(([option, label]) => {
    const input = h("input", {
      type: "radio",
      name: group,
      value: option,
      checked: option === value,
      onchange: () => onchange(option),
    });
    return h("label", null, input, h("span", null, label));
  });
  return h("fieldset.segmented", { dataset: { name } }, h("legend", null, legend), ...inputs);
}
