// The event stream of this tab. All views share one EventSource, because browsers open
// only six connections per host over HTTP/1.1.
//
// A stream without a position starts at the present. A view therefore subscribes, waits
// for ready(), loads over REST and applies events by epoch: no event is missed. The
// browser reconnects by itself with Last-Event-ID. When it gives up (the server answered
// with an error), a new stream continues after the last id seen. Views get `reset` and
// load again only if no position is known or the server sends `reset`.

import { eventsUrl, getWhoami } from "./api.js";

const TYPES = ["job", "epoch", "device"];
const RETRY_FIRST = 1000;
const RETRY_MAX = 30_000;

const listeners = new Map();
let source = null;
let lastId;
let retryDelay = RETRY_FIRST;
let retryTimer;
let opened = deferred();
let everOpened = false;

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

function emit(type, data) {
  for (const listener of listeners.get(type) ?? []) listener(data);
}

// type: job, epoch, device (the listener gets the event's data), reset (load again),
// status (the listener gets true when connected). Returns the function that ends the
// subscription.
export function subscribe(type, listener) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(listener);
  return () => listeners.get(type).delete(listener);
}

// Resolves when the stream is open, or after two seconds without one: without a stream
// the dashboard still shows what it can load.
export function ready() {
  return Promise.race([opened.promise, new Promise((resolve) => setTimeout(resolve, 2000))]);
}

function onOpen() {
  retryDelay = RETRY_FIRST;
  if (everOpened && lastId === undefined) emit("reset");
  everOpened = true;
  opened.resolve();
  emit("status", true);
}

function onError() {
  emit("status", false);
  if (source?.readyState !== EventSource.CLOSED) return;
  source = null;
  getWhoami().catch(() => {}); // EventSource hides the status; a 401 here opens the login page
  clearTimeout(retryTimer);
  retryTimer = setTimeout(start, retryDelay);
  retryDelay = Math.min(2 * retryDelay, RETRY_MAX);
}

function onEvent(event) {
  if (event.lastEventId) lastId = event.lastEventId;
  emit(event.type, JSON.parse(event.data));
}

export function start() {
  if (source) return;
  clearTimeout(retryTimer);
  source = new EventSource(eventsUrl(lastId));
  source.addEventListener("open", onOpen);
  source.addEventListener("error", onError);
  for (const type of TYPES) source.addEventListener(type, onEvent);
  source.addEventListener("reset", (event) => {
    lastId = event.lastEventId || undefined;
    emit("reset");
  });
}

export function stop() {
  clearTimeout(retryTimer);
  source?.close();
  source = null;
  lastId = undefined;
  everOpened = false;
  opened = deferred();
  emit("status", false);
}
