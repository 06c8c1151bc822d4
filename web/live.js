// The event stream as views see it. All tabs of a browser share one connection, because
// browsers open only six per host over HTTP/1.1: a shared worker owns it, or one of the
// tabs where there are no shared workers.
//
// A view subscribes, waits for ready(), loads over REST and applies events by epoch: no
// event is missed. It gets `reset` and loads again if events are missing.

import { StreamLease } from "./stream_lease.js";

const READY_MS = 2000;

const listeners = new Map();
let opened = deferred();
let isLate = false; // a view has loaded without a stream

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

function emit(type, data) {
  for (const listener of listeners.get(type) ?? []) listener(data);
}

// type: job, epoch, device (the listener gets the event's data), reset (load again),
// status (the listener gets true when connected), session (another tab has logged in or
// out, or the login has expired). Returns the function that ends the subscription.
export function subscribe(type, listener) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(listener);
  return () => listeners.get(type).delete(listener);
}

// Resolves when the stream is open, or after two seconds without one: without a stream
// the dashboard still shows what it can load.
export function ready() {
  const waited = new Promise((resolve) => setTimeout(resolve, READY_MS, "late"));
  return Promise.race([opened.promise, waited]).then((how) => (isLate ||= how === "late"));
}

function onStatus(isOpen) {
  emit("status", isOpen);
  if (!isOpen) return;
  opened.resolve();
  if (isLate) emit("reset");
  isLate = false;
}

// A message of stream.js.
function onMessage({ type, data }) {
  if (type === "session") isLate = true; // the stream starts at the present again
  if (type === "status") onStatus(data);
  else emit(type, data && JSON.parse(data));
}

// The worker's side of this interface is stream_worker.js.
function workerOwner() {
  const worker = new SharedWorker(new URL("stream_worker.js", import.meta.url), { type: "module", name: "tokenfate" });
  const { port } = worker;
  port.onmessage = ({ data }) => onMessage(data);
  worker.onerror = () => {
    owner = leaseOwner(); // a browser without modules in workers
    owner.start();
  };
  addEventListener("pagehide", () => port.postMessage("bye"));
  return { start: () => port.postMessage("start"), session: () => port.postMessage("session"), stop: () => {} };
}

function leaseOwner() {
  const lease = new StreamLease(onMessage);
  addEventListener("pagehide", () => lease.stop());
  return lease;
}

let owner = typeof SharedWorker === "function" ? workerOwner() : leaseOwner();

export const start = () => owner.start();

// After a logout, and until start().
export function stop() {
  owner.stop();
  opened = deferred();
  emit("status", false);
}

// Tell the other tabs that this one has logged in or out.
export const tellSession = () => owner.session();

// A page that comes back out of the browser's cache has missed what it was not told.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  owner.start();
  emit("reset");
});
