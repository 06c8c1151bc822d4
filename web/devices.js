// List of devices: memory, job, the proof of a GPU, and the reason if a device is unavailable.

import * as api from "./api.js";
import * as live from "./live.js";
import { h, problemNotice } from "./dom.js";
import { bytes, fullTime, shortId, significant } from "./format.js";

const REFRESH_MS = 5000; // utilisation and temperature change without an event

function memory(device) {
  if (!device.memory_bytes) return null;
  const used = device.memory_bytes - (device.free_bytes ?? 0);
  return h(
    "div.memory",
    null,
    h("meter", { min: 0, max: device.memory_bytes, value: used, "aria-label": "Memory in use" }),
    h("span", null, `${bytes(device.free_bytes)} free of ${bytes(device.memory_bytes)}`),
  );
}

// A GPU whose proof is to come or under way is not broken, and is told of by `proof`.
const isProving = ({ proof }) => proof?.state === "running" || proof?.state === "never";

function activity(device) {
  if (!device.available && isProving(device)) return null;
  if (!device.available) return h("p.reason", null, device.reason || "No reason was given.");
  if (!device.jobs.length) return h("p.quiet", null, "Idle");
  const links = device.jobs.flatMap(({ id, threads }, i) => [
    i ? ", " : "", h("a", { href: `#/jobs/${id}` }, `job ${shortId(id)}`),
    threads && device.jobs.length > 1 ? ` (${threads} thread${threads === 1 ? "" : "s"})` : "",
  ]);
  return h("p", null, "Working on ", ...links);
}

// Utilisation, temperature and driver, where the device reports them.
function condition(device) {
  const parts = [];
  if (device.utilisation_percent !== null) parts.push(`${device.utilisation_percent} % busy`);
  if (device.temperature_celsius !== null) parts.push(`${device.temperature_celsius} °C`);
  if (device.driver) parts.push(`driver ${device.driver}`);
  return parts.length ? h("p.quiet", null, parts.join(", ")) : null;
}

// How a GPU was compared with the reference: null where nothing has to be proved.
function proof(device) {
  const { proof: one } = device;
  if (!one) return null;
  const words = {
    never: "Not proved yet", running: "Being compared with the reference", passed: "Proved",
    failed: "Found wrong", could_not_try: "Could not be proved yet",
  };
  const without = one.state === "passed" && one.reason; // what it does without
  const made = one.state === "never" ? [] : [fullTime(one.started_at)];
  if (one.checks > 0) made.push(`${one.checks} checks in ${one.seconds.toFixed(1)} s`);
  const { worst } = one;
  return h(
    "div.proof",
    null,
    h("p", null, [words[one.state], ...(without ? ["without graphs"] : []), ...made].join(", ")),
    without && h("p.quiet", null, one.reason),
    worst && h("p.quiet", null, `Nearest to its bound: ${worst.check} in ${worst.precision}, error ${significant(worst.error)} of ${significant(worst.bound)}`),
    one.library && h("p.quiet", null, one.library),
  );
}

function card(device) {
  const state = !device.available ? (isProving(device) ? "proving" : "unavailable") : device.jobs.length ? "busy" : "ready";
  return h(
    "article.panel.device",
    null,
    h("h2", null, device.id, " ", h("span.badge", { dataset: { state } }, state)),
    h("p.quiet", null, device.name || device.kind),
    memory(device),
    condition(device),
    activity(device),
    proof(device),
  );
}

export function render(view) {
  const list = h("div.cards", { "aria-live": "polite" });
  view.replaceChildren(h("h1", null, "Devices"), list);
  let closed = false;
  const load = async () => {
    try {
      const { devices } = await api.getDevices();
      if (!closed) list.replaceChildren(...devices.map(card));
    } catch (problem) {
      if (!closed) list.replaceChildren(problemNotice("Cannot ask for the devices", problem));
    }
  };
  const ends = [live.subscribe("device", load), live.subscribe("job", load), live.subscribe("reset", load)];
  live.ready().then(load);
  const again = setInterval(load, REFRESH_MS);
  return () => {
    closed = true;
    clearInterval(again);
    for (const end of ends) end();
  };
}
