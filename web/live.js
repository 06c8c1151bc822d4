// The one event stream of this tab. Browsers open six connections per host over
// HTTP/1.1, so every view shares this EventSource.
//
// A stream without a position begins at the present: open it first, load by REST
// after `ready()`, then apply events by epoch, and nothing is missed. The browser
// reconnects by itself with Last-Event-ID; when it gives up (the server answered
// with an error) a new stream continues after the last id seen. Only where no
// position is known, or the server says `reset`, are views told to load again.

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

// type: job, epoch, device (data: the event's), reset (load again), status
// (true: connected). Returns the function that ends the subscription.
export function subscribe(type, listener) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(listener);
  return () => listeners.get(type).delete(listener);
}

// Resolves once the stream is open, or after a moment without one: a dashboard
// that cannot stream still shows what it can load.
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
  getWhoami().catch(() => {}); // if it was a 401, the page asks for a login
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
