/** What the page knows: signals, how they are loaded, and which event reloads what. */
import { computed, signal } from "@preact/signals";
import { api } from "/static/api.js";
import { isPublic, link } from "/static/dashboard/session.js";
import { watchOffer } from "/static/dashboard/offers.js";

const SETTLE_MS = 60;
const ONE_BY_ONE_MAX = 5; // changed nodes …
const WHOLE_MAX = 30; // … of more than this: a short list is loaded whole
export const ACTIVITY_STEP = 100;

export const status = signal(null); // GET /api/v1/node
export const nodes = signal(null);
export const requests = signal([]);
export const offers = signal([]); // open ones, this page's own among them
export const discovered = signal(null);
export const entries = signal(null);
export const entries_limit = signal(ACTIVITY_STEP);
export const toasts = signal([]);

export const own = computed(() => status.value?.node ?? null);
export const caller = computed(() => status.value?.caller ?? { role: isPublic ? "device" : "owner", level: isPublic ? 2 : 3, node_id: null });
export const isOwner = computed(() => caller.value.role === "owner");
export const strangers = computed(() => {
  const known = new Set((nodes.value ?? []).filter((n) => ["self", "paired", "unconfirmed"].includes(n.trust)).map((n) => n.id));
  return (discovered.value ?? []).filter((n) => !known.has(n.id));
});

/** Load all that is on screen, or shown as a number. Nodes come from memory; what needs the disk may be missing. */
export async function refresh() {
  const beside = [loadRequests, loadOffers, loadDiscovered, watchOffer, loadSeenEntries].map((load) => load().catch(raiseEnding));
  const [own_status, all] = await Promise.all([api.get("/api/v1/node"), api.get("/api/v1/nodes"), ...beside]);
  status.value = own_status;
  nodes.value = all.nodes;
}

/** Not connected, or not allowed: that ends the whole load; other troubles only leave a gap. */
function raiseEnding(error) {
  if (isEnding(error)) throw error;
}

const isEnding = (error) => !error.status || error.status === 401 || error.status === 403;

async function loadOffers() {
  offers.value = (await api.get("/api/v1/pairing/offers")).offers.filter((one) => one.state === "open");
}

export async function loadRequests() {
  requests.value = (await api.get("/api/v1/pairing/requests")).requests;
}

export async function loadDiscovered() {
  discovered.value = (await api.get("/api/v1/discovered")).nodes;
}

export async function loadEntries() {
  entries.value = (await api.get(`/api/v1/audit?limit=${entries_limit.value}`)).entries;
}

async function loadStatus() {
  status.value = await api.get("/api/v1/node");
}

/** Put a node that an answer brought into the list. */
export function putNode(node) {
  const all = nodes.value ?? [];
  const at = all.findIndex((n) => n.id === node.id);
  nodes.value = at < 0 ? [...all, node] : all.with(at, node);
}

export function dropNode(id) {
  nodes.value = (nodes.value ?? []).filter((n) => n.id !== id);
}

/** A node's path: `id:` means exactly that one. */
export const nodePath = (id, rest = "") => `/api/v1/nodes/${encodeURIComponent(`id:${id}`)}${rest}`;

async function loadNode(id) {
  try {
    putNode((await api.get(nodePath(id))).node);
  } catch (error) {
    if (error.code === "node_unknown") dropNode(id);
    else throw error;
  }
}

// ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const touched = new Set();
const due = new Set();
let settling = 0;

/** One event of the node's: what it touches is loaded again, a burst at once. */
export function onEvent({ topic, data }) {
  if (topic.startsWith("mesh.pairing.")) {
    due.add(loadRequests);
    due.add(loadOffers);
    due.add(watchOffer);
    due.add(loadSeenEntries);
  } else if (topic.startsWith("mesh.notice.")) {
    due.add(loadStatus);
    due.add(loadSeenEntries);
  } else if (topic === "mesh.node.forgotten") {
    dropNode(data.id);
    due.add(loadStatus);
    due.add(loadSeenEntries);
  } else if (topic.startsWith("mesh.node.") && data?.id) {
    touched.add(data.id);
    due.add(loadStatus);
    if (/\.(paired|revoked|updated)$/.test(topic)) due.add(loadSeenEntries);
  } else {
    due.add(refresh);
  }
  clearTimeout(settling);
  settling = setTimeout(settle, SETTLE_MS);
}

async function loadSeenEntries() {
  if (entries.value !== null) await loadEntries();
}

async function settle() {
  const ids = [...touched];
  const loads = [...due];
  touched.clear();
  due.clear();
  if (ids.length > ONE_BY_ONE_MAX || (ids.length && (nodes.value?.length ?? 0) <= WHOLE_MAX)) {
    loads.push(async () => {
      nodes.value = (await api.get("/api/v1/nodes")).nodes;
    });
  } else {
    loads.push(...ids.map((id) => () => loadNode(id)));
  }
  const done = await Promise.allSettled(loads.map((load) => load()));
  if (done.some((one) => one.status === "rejected" && isEnding(one.reason))) link.current?.refresh(); // it says so
}

/** Say for a moment what was done; screen readers hear it. */
export function say(words, tone = "good") {
  const toast = { words, tone, id: Math.random() };
  toasts.value = [...toasts.value.slice(-2), toast];
  setTimeout(() => {
    toasts.value = toasts.value.filter((one) => one !== toast);
  }, 6000);
}
