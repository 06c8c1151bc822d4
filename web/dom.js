// Functions that build elements. The dashboard never uses innerHTML: text becomes text
// nodes only, so a name, note or token cannot inject markup.

// h("a.quiet", {href: "#/new", onclick: f}, "New") makes an element: tag with classes,
// then props, then children. A prop that starts with "on" is a listener; dataset is
// merged; a key with "-", role and for are attributes (undefined, null and false leave
// them out); all others are properties.
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

// Set the text only if it differs: a write would clear the user's selection and make a
// screen reader repeat the text.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Makes an element a region that may be wider than its place. The keyboard scrolls what has
// the focus, so it takes the focus while something is hidden; `name` is what it is then
// called.
export function scrollable(name, region) {
  const observer = new ResizeObserver(() => {
    const isWider = region.scrollWidth > region.clientWidth;
    for (const [key, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": name }))
      if (isWider) region.setAttribute(key, value);
      else region.removeAttribute(key);
  });
  for (const element of [region, ...region.children]) observer.observe(element);
  return region;
}

export const scrolling = (name, ...children) => scrollable(name, h("div.scroll", null, ...children));

let serial = 0;
export const uniqueId = (stem) => `${stem}-${++serial}`;

// Save a blob as a file of the user.
export function saveFile(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Let screen readers say a sentence.
export function announce(text) {
  setText(document.getElementById("announce"), text);
}

export function notice(kind, title, ...detail) {
  const role = kind === "bad" ? "alert" : "note";
  return h(`div.notice.${kind}`, { role }, h("strong", null, title), h("div", null, ...detail));
}

// Name of the field that a pointer names, for people: "/train/batch_size" is "Train batch size".
export function fieldName(pointer) {
  const words = pointer === "q" ? "search" : pointer.replace(/^\//, "").replace(/[/_]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function problemNotice(title, problem) {
  const said = (problem.errors ?? []).map(({ pointer, detail }) => `${fieldName(pointer)}: ${detail}`).join("; ");
  return notice("bad", title, said || problem.message || problem.title || "unknown error");
}

// A choice as a row of radio buttons; options: [[value, label]].
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
