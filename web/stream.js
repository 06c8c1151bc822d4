// One connection to the server's event stream. Whoever owns it (the shared worker, or the
// tab with the lease) gives a function that is told messages:
//   { type: "job" | "epoch" | "device", data, id }   an event, its data as JSON text
//   { type: "reset", id }                            events are missing: load again
//   { type: "status", data }                         connected or not
//   { type: "session" }                              the server does not know the login any more
//
// A stream without a position starts at the present. The browser reconnects by itself with
// Last-Event-ID. When it gives up (the server answered with an error), a new stream goes on
// after the last id seen. `reset` comes only if no position is known or the server says so.

import { eventsUrl, getWhoami } from "./api.js";

const TYPES = ["job", "epoch", "device"];
const RETRY_FIRST = 1000;
const RETRY_MAX = 30_000;

export class Stream {
  constructor(tell) {
    this.tell = tell;
    this.stop();
  }

  get status() {
    return { type: "status", data: this.source?.readyState === EventSource.OPEN };
  }

  start(after) {
    if (this.source || this.retryTimer) return;
    this.lastId = after ?? this.lastId;
    this.connect();
  }

  stop() {
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    this.retryDelay = RETRY_FIRST;
    this.source?.close();
    this.source = null;
    this.lastId = undefined;
    this.everOpened = false;
  }

  connect() {
    this.retryTimer = undefined;
    const source = (this.source = new EventSource(eventsUrl(this.lastId)));
    source.addEventListener("open", () => this.onOpen());
    source.addEventListener("error", () => this.onError());
    for (const type of TYPES) source.addEventListener(type, ({ data, lastEventId }) => this.onEvent(type, data, lastEventId));
    source.addEventListener("reset", ({ lastEventId }) => this.onEvent("reset", undefined, lastEventId));
  }

  onOpen() {
    this.retryDelay = RETRY_FIRST;
    this.tell({ type: "status", data: true });
    if (this.everOpened && this.lastId === undefined) this.tell({ type: "reset" });
    this.everOpened = true;
  }

  onEvent(type, data, id) {
    this.lastId = id || undefined;
    this.tell({ type, data, id: this.lastId });
  }

  // EventSource hides the status of an answer, so whoami tells whether it is the login.
  async onError() {
    this.tell({ type: "status", data: false });
    const { source } = this;
    if (source?.readyState !== EventSource.CLOSED) return;
    const problem = await getWhoami().then(() => null, (error) => error);
    if (this.source !== source) return;
    this.source = null;
    if (problem?.status === 401) {
      this.stop();
      this.tell({ type: "session" });
      return;
    }
    this.retryTimer = setTimeout(() => this.connect(), this.retryDelay);
    this.retryDelay = Math.min(2 * this.retryDelay, RETRY_MAX);
  }
}
