// Entry module of the dashboard. It routes the address after "#" to a view, updates
// the header (user, connection, theme), and shows the login page after a 401. A view
// exports render(element, params, kept), which returns a function that closes the view.
// kept is an object of the entry in the browser's history: what the view leaves in it, the
// view finds again after Back or Forward; `top` in it is how far the page was scrolled.

import * as api from "./api.js";
import * as live from "./live.js";
import { h, setText } from "./dom.js";
import * as account from "./account.js";
import * as compare from "./compare.js";
import * as corpora from "./corpora.js";
import * as devices from "./devices.js";
import * as form from "./form.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as login from "./login.js";
import * as queue from "./queue.js";
import * as sweeps from "./sweeps.js";
import * as sweep from "./sweep.js";
import * as usage from "./usage.js";

const ROUTES = [
  { path: /^\/jobs$/, nav: "jobs", title: "Jobs", view: jobs },
  { path: /^\/jobs\/(?<id>[\w-]+)$/, nav: "jobs", title: "Job", view: job },
  { path: /^\/sweeps$/, nav: "sweeps", title: "Sweeps", view: sweeps },
  { path: /^\/sweeps\/(?<id>[\w-]+)$/, nav: "sweeps", title: "Sweep", view: sweep },
  { path: /^\/compare$/, nav: "jobs", title: "Compare", view: compare },
  { path: /^\/new$/, nav: "new", title: "New experiment", view: form },
  { path: /^\/queue$/, nav: "queue", title: "Queue", view: queue },
  { path: /^\/devices$/, nav: "devices", title: "Devices", view: devices },
  { path: /^\/usage$/, nav: "usage", title: "Usage", view: usage },
  { path: /^\/account$/, nav: "account", title: "My account", view: account },
  { path: /^\/corpora$/, nav: "corpora", title: "Corpora", view: corpora },
];

const view = document.getElementById("view");
const logoutButton = document.getElementById("logout");
const keptOf = new Map(); // id of an entry in the history: its object
let kept = {}; // of the entry that is shown
let endView = () => {};
let isFirst = true; // no view has been shown
let loggedOut = false;
let isTold = false; // by another tab: it need not be told

// The ids are random: entries outlive this page, and the map does not.
function keptOfEntry() {
  const id = history.state?.entry ?? Math.random();
  history.replaceState({ entry: id }, "");
  if (!keptOf.has(id)) keptOf.set(id, {});
  return keptOf.get(id);
}

function leave() {
  kept.top = window.scrollY;
  endView();
  endView = () => {};
}

function show(route, params, keptNext = {}) {
  leave();
  kept = keptNext;
  document.title = `${route.title} · tokenfate`;
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === route.nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view.replaceChildren();
  window.scrollTo(0, 0);
  endView = route.view.render(view, params, kept);
  takeFocus();
}

// What had the focus is gone: the keyboard and screen readers go on in the new view, which
// may focus one of its own controls. The first view leaves it at the top of the page.
function takeFocus() {
  if (!isFirst && !view.contains(document.activeElement)) view.focus({ preventScroll: true });
  isFirst = false;
}

function navigate() {
  if (loggedOut) return;
  const [path, query = ""] = (location.hash.slice(1) || "/jobs").split("?");
  const params = Object.fromEntries(new URLSearchParams(query));
  for (const route of ROUTES) {
    const match = route.path.exec(path);
    if (match) return show(route, { ...params, ...match.groups }, keptOfEntry());
  }
  leave();
  view.replaceChildren(h("h1", null, "Not here"), h("p", null, "No page has this address. ", h("a", { href: "#/jobs" }, "All jobs")));
  takeFocus();
}

function askForLogin(problem) {
  if (loggedOut && !problem) return;
  loggedOut = true;
  if (!isTold) live.tellSession();
  logoutButton.hidden = true;
  setText(document.getElementById("user"), "");
  live.stop();
  const onlogin = () => {
    live.tellSession();
    enter();
  };
  show({ title: "Log in", view: login }, { onlogin, problem });
}

// The address of a one-time link, which is used up: it does not stay in the address bar.
async function enterByLink() {
  const [, code] = /^#\/login\/([0-9a-f]+)$/.exec(location.hash) ?? [];
  if (!code) return enter();
  history.replaceState(history.state, "", "#/jobs");
  try {
    await api.loginByLink(code);
  } catch (problem) {
    askForLogin(problem);
    return undefined;
  }
  loggedOut = false;
  live.tellSession();
  return enter();
}

async function showUser() {
  const user = await api.getWhoami();
  setText(document.getElementById("user"), user.name);
  logoutButton.hidden = !user.auth;
}

// Another tab has logged in or out, or the login has expired: follow it.
async function onSession() {
  isTold = true;
  await (loggedOut ? enter() : showUser().then(live.start, () => {}));
  isTold = false;
}

async function enter() {
  try {
    await showUser();
  } catch (problem) {
    if (problem.status === 401) return;
  }
  loggedOut = false;
  live.start();
  navigate();
  api.getVersion().then(
    ({ version }) => setText(document.getElementById("version"), version),
    () => {},
  );
}

function showTheme() {
  setText(document.getElementById("theme"), window.tokenfateTheme.isDark() ? "Light" : "Dark");
}

document.getElementById("theme").addEventListener("click", () => window.tokenfateTheme.toggle());
document.addEventListener("themechange", showTheme);
logoutButton.addEventListener("click", () => api.logout().then(() => askForLogin(), () => {}));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.focus();
});
live.subscribe("status", (on) => {
  const element = document.getElementById("live");
  element.dataset.on = on;
  setText(element, on ? "live" : "reconnecting");
});
live.subscribe("session", onSession);
api.onUnauthorized(() => askForLogin());
history.scrollRestoration = "manual"; // the views are not there yet when the browser would
window.addEventListener("hashchange", () => (location.hash.startsWith("#/login/") ? enterByLink() : navigate()));
showTheme();
enterByLink();
