// Shared worker of all tabs of this browser: owns their one event stream and tells every
// tab what comes. A tab says "start" when it wants messages, "bye" when it closes, and
// "session" after a login or logout, which the other tabs hear of. The worker ends with
// its last tab.

import { Stream } from "./stream.js";

const ports = new Set();

function tellAll(message, except) {
  for (const port of ports) if (port !== except) port.postMessage(message);
}

const stream = new Stream(tellAll);

const ORDERS = {
  start(port) {
    ports.add(port); // of a page that comes back after its "bye"
    stream.start();
    port.postMessage(stream.status);
  },
  bye(port) {
    ports.delete(port);
  },
  session(port) {
    stream.stop();
    tellAll({ type: "session" }, port);
  },
};

self.addEventListener("connect", ({ ports: [port] }) => {
  ports.add(port);
  port.onmessage = ({ data }) => ORDERS[data](port);
});
