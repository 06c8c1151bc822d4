// The one event stream of all tabs where the browser has no shared worker: the tab with
// the lease owns it and tells the others over a channel. The lease stands in localStorage
// and is renewed every second. When it is given back or runs out (the tab was closed, it
// crashed, or the browser slows its timers), another tab takes it.
//
// localStorage has no atomic change. So a tab that takes the lease waits before it looks
// whether it holds it, and an owner that sees another one's name steps back. Nothing is lost
// or told twice meanwhile: a new owner goes on from the oldest position among the tabs, and
// each tab drops what is not after its own. A tab without storage or channel leads itself.

import { apiRoot } from "./api.js";
import { Stream } from "./stream.js";

const KEY = `tokenfate-stream ${apiRoot}`;
const RENEW_MS = 1000;
const LEASE_MS = 5000;
const SETTLE_MS = 200; // until all tabs see a change of the lease and have told their position

// Ids are "EVENT" or "EVENT.EPOCH".
const parts = (id) => id.split(".").map(Number);
function isAfter(id, other) {
  if (other === undefined) return true;
  const [[event, epoch = 0], [otherEvent, otherEpoch = 0]] = [parts(id), parts(other)];
  return event === otherEvent ? epoch > otherEpoch : event > otherEvent;
}

function readLease() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export class StreamLease {
  constructor(tell) {
    this.tell = tell;
    this.name = String(Math.random());
    this.stream = new Stream((message) => this.pass(message));
    this.isAlone = typeof BroadcastChannel !== "function";
    this.channel = this.isAlone ? { postMessage() {} } : new BroadcastChannel(KEY);
    this.channel.onmessage = ({ data }) => this.hear(data);
    addEventListener("storage", ({ key }) => key === KEY && this.look());
    setInterval(() => this.look(), RENEW_MS);
  }

  start() {
    this.wanted = true;
    this.look();
    if (this.leads) this.tell(this.stream.status);
    else this.channel.postMessage({ type: "status?" });
  }

  // From now on this tab hears of a login alone.
  stop() {
    this.wanted = false;
    if (this.leads) this.stepBack();
    if (!this.isAlone && readLease()?.owner === this.name) localStorage.removeItem(KEY);
  }

  session() {
    this.stopStream();
    this.channel.postMessage({ type: "session" });
  }

  // Take, keep or give up the lease, as it stands.
  look() {
    const isMine = this.isAlone || this.renew();
    if (!isMine && this.leads) this.stepBack();
    if (!isMine || !this.wanted) return;
    if (this.leads) this.stream.start(this.lastId); // it was stopped at a logout
    else this.claim();
  }

  // False: another tab has the lease.
  renew() {
    const lease = readLease();
    if (lease && lease.owner !== this.name && lease.until >= Date.now()) return false;
    try {
      if (this.wanted) localStorage.setItem(KEY, JSON.stringify({ owner: this.name, until: Date.now() + LEASE_MS }));
    } catch {
      this.isAlone = true;
    }
    return true;
  }

  claim() {
    if (this.claiming) return;
    this.positions = [this.lastId];
    this.channel.postMessage({ type: "position?" });
    this.claiming = setTimeout(() => {
      this.claiming = undefined;
      if (this.wanted && (this.isAlone || readLease()?.owner === this.name)) this.lead();
    }, SETTLE_MS);
  }

  lead() {
    this.leads = true;
    const known = this.positions.filter((id) => id !== undefined);
    const oldest = known.reduce((a, b) => (isAfter(a, b) ? b : a), known[0]);
    this.mustReset = oldest === undefined && this.positions.length > 1;
    this.stream.start(oldest);
  }

  stepBack() {
    this.leads = false;
    this.stream.stop();
  }

  // The login has changed: positions count for nothing.
  stopStream() {
    this.stream.stop();
    this.lastId = undefined;
  }

  // A message of the own stream.
  pass(message) {
    this.channel.postMessage(message);
    this.take(message);
    if (message.type === "status" && message.data && this.mustReset) {
      this.mustReset = false;
      this.pass({ type: "reset" });
    }
  }

  take(message) {
    if (message.type === "reset") this.lastId = message.id;
    else if (message.id) {
      if (!isAfter(message.id, this.lastId)) return;
      this.lastId = message.id;
    }
    this.tell(message);
  }

  // A message of another tab.
  hear(message) {
    if (message.type === "status?") this.leads && this.channel.postMessage(this.stream.status);
    else if (message.type === "position?") this.channel.postMessage({ type: "position", at: this.lastId });
    else if (message.type === "position") this.positions?.push(message.at);
    else if (message.type === "session") {
      this.stopStream();
      this.tell(message);
    } else if (this.wanted) this.take(message);
  }
}
