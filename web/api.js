// The HTTP API as functions, one per call of the dashboard. No other module contains
// a path below /api/v1. The paths start at the folder of this file, which a reverse proxy
// may have put below a prefix. Every failure is thrown as a Problem (RFC 9457), a lost
// connection too (status 0). A 401 also calls the listener of onUnauthorized, which
// can replace any view by the login page.

import { saveFile } from "./dom.js";

class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", errors = [] }) {
    super(detail || title || `HTTP ${status}`);
    this.status = status;
    this.title = title;
    this.errors = errors;
  }
}

const ROOT = new URL(".", import.meta.url).href.slice(0, -1);

// The address of the API for people: examples show it.
export const apiRoot = `${ROOT}/api/v1`;

let unauthorized = () => {};

export function onUnauthorized(listener) {
  unauthorized = listener;
}

async function problemOf(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.includes("json")) {
    const detail = `${response.status} ${response.statusText}`.trim();
    return new Problem({ status: response.status, detail });
  }
  const body = await response.json().catch(() => ({}));
  return new Problem({ ...body, status: response.status });
}

async function call(method, path, { json, body, headers = {}, signal } = {}) {
  const init = { method, signal, headers: { Accept: "application/json", ...headers } };
  if (json !== undefined) {
    init.body = typeof json === "string" ? json : JSON.stringify(json);
    init.headers["Content-Type"] = "application/json";
  } else if (body !== undefined) {
    init.body = body;
  }
  let response;
  try {
    response = await fetch(ROOT + path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No connection", detail: "The server cannot be reached." });
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (problem.status === 401) unauthorized();
    throw problem;
  }
  if (response.status === 204) return null;
  const text = await response.text();
  return text === "" ? null : JSON.parse(text);
}

// Append the parameters that have a value. The paths below are whole literals, so
// that a test can compare them with the route table.
function at(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export const login = (token) => call("POST", "/api/v1/session", { json: { token } });
export const loginByLink = (link) => call("POST", "/api/v1/session", { json: { link } });
export const logout = () => call("DELETE", "/api/v1/session");
export const getWhoami = () => call("GET", "/api/v1/whoami");
const userTokens = (user) => `/api/v1/users/${user}/tokens`; // letters, digits and ._- only
export const getUserTokens = (user) => call("GET", userTokens(user));
export const issueToken = (user, body) => call("POST", userTokens(user), { json: body });
export const rotateToken = (user, id) => call("POST", `/api/v1/users/${user}/tokens/${id}/rotate`);
export const revokeToken = (user, id) => call("DELETE", `/api/v1/users/${user}/tokens/${id}`);
const userNotify = (user) => `/api/v1/users/${user}/notify`;
export const getNotify = (user) => call("GET", userNotify(user));
export const addNotify = (user, body) => call("POST", userNotify(user), { json: body });
export const removeNotify = (user, id) => call("DELETE", `/api/v1/users/${user}/notify/${id}`);
export const newNotifySecret = (user) => call("POST", `/api/v1/users/${user}/notify_secret`);
export const getVersion = () => call("GET", "/api/v1/version");
export const getQueue = (filter) => call("GET", at("/api/v1/queue", filter));
export const drainQueue = () => call("POST", "/api/v1/queue/drain");
export const pauseQueue = () => call("POST", "/api/v1/queue/pause");
export const resumeQueue = () => call("POST", "/api/v1/queue/resume");
export const getDevices = () => call("GET", "/api/v1/devices");
export const getUsage = (question) => call("GET", at("/api/v1/usage", question));
export const usageCsvUrl = (question) => ROOT + at("/api/v1/usage", { ...question, format: "csv" });
export const getRetention = (question) => call("GET", at("/api/v1/retention", question));
export const eventsUrl = (after) => ROOT + at("/api/v1/events", { after });

// Job ids are UUIDs (letters, digits and "-") and need no escaping.
export const getJobs = (filter, signal) => call("GET", at("/api/v1/jobs", filter), { signal });
export const getJob = (id) => call("GET", `/api/v1/jobs/${id}`);
export const createJob = (spec, key) =>
  call("POST", "/api/v1/jobs", { json: spec, headers: { "Idempotency-Key": key } });
export const patchJob = (id, changes) => call("PATCH", `/api/v1/jobs/${id}`, { json: changes });
export const deleteJob = (id) => call("DELETE", `/api/v1/jobs/${id}`);
export const cancelJob = (id) => call("POST", `/api/v1/jobs/${id}/cancel`);
export const holdJob = (id) => call("POST", `/api/v1/jobs/${id}/hold`);
export const releaseJob = (id) => call("POST", `/api/v1/jobs/${id}/release`);
export const bulkJobs = (request) => call("POST", "/api/v1/jobs/bulk", { json: request });
export const retryJob = (id, from) => call("POST", at(`/api/v1/jobs/${id}/retry`, { from }));

const epochsPath = (id) => `/api/v1/jobs/${id}/epochs`;
const tokensPath = (id) => `/api/v1/jobs/${id}/tokens`;
export const getEpochs = (id, from, to, limit) =>
  call("GET", at(epochsPath(id), { from, to, limit }));
// Pointers are separated by commas, so a comma inside a group name is written ~2.
const listOf = (pointers) => pointers.map((pointer) => pointer.replaceAll(",", "~2")).join(",");
export const getSeries = (id, to, points, pointers) =>
  call("GET", at(epochsPath(id), { to, points, series: listOf(pointers) }));
export const getTokens = (id) => call("GET", tokensPath(id));
export const getTokenHistory = (id, token) => call("GET", at(tokensPath(id), { token }));

export const getSpectrum = (id, epoch) => call("GET", at(`/api/v1/jobs/${id}/spectrum`, { epoch }));
export const getTheory = (id) => call("GET", `/api/v1/jobs/${id}/theory`);
export const getFindings = (id) => call("GET", `/api/v1/jobs/${id}/findings`);
export const probeJob = (id, question) => call("POST", `/api/v1/jobs/${id}/probe`, { json: question });
export const compareJobs = (ids, series, points) =>
  call("GET", at("/api/v1/compare", { jobs: ids.join(","), series, points }));

export const getSweeps = (cursor) => call("GET", at("/api/v1/sweeps", { cursor }));
export const getSweep = (id, points, epoch) => call("GET", at(`/api/v1/sweeps/${id}`, { points, epoch }));

export const logUrl = (id) => ROOT + `/api/v1/jobs/${id}/log`;
export const checkpointUrl = (id, epoch) => ROOT + at(`/api/v1/jobs/${id}/checkpoint`, { epoch });
export const checkpointConfigUrl = (id) => ROOT + `/api/v1/jobs/${id}/checkpoint/config.json`;

export const getPresets = () => call("GET", "/api/v1/presets");
export const getPreset = (name) => call("GET", `/api/v1/presets/${encodeURIComponent(name)}`);
export const getCorpora = () => call("GET", "/api/v1/corpora");
export const createCorpus = (name, file, replace) =>
  call("POST", at("/api/v1/corpora", { name, replace }), {
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
  });

export const deleteCorpus = (id) => call("DELETE", `/api/v1/corpora/${encodeURIComponent(id)}`);

// Save all epochs as one CSV file. The server answers in pages and gives the next one
// in a Link header. Only the first page keeps its header line.
export async function downloadCsv(id, filename) {
  const pages = [];
  for (let url = ROOT + at(epochsPath(id), { format: "csv" }); url; ) {
    const response = await fetch(url);
    if (!response.ok) throw await problemOf(response);
    const text = await response.text();
    pages.push(pages.length ? text.slice(text.indexOf("\n") + 1) : text);
    const [, next] = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "") ?? [];
    url = next && new URL(next, url).href;
  }
  saveFile(new Blob(pages, { type: "text/csv" }), filename);
}
