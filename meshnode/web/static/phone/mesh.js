/** A paired device: heartbeats while the page is seen, a live view of the mesh, its name, its leaving. */
import { signal } from "@preact/signals";
import { api } from "/static/api.js";
import { openConnection } from "/static/connection.js";
import { dropInvite, forgetDevice, forgetPairing, keepDevice } from "/static/phone/kept.js";
import { device, isBusy, node, offer, page, show } from "/static/phone/state.js";

const HEARTBEAT_MS = 60000;
const SETTLE_MS = 120; // several events at once are one look
const REVOKED = 4001;
const LOOKS_MS = [100, 900, 2000];
const PATIENCE_MS = 10000; // between two times that a token ends and another is there

/** The nodes that this device may see; null until they were read. */
export const nodes = signal(null);

/** Our trust level at the node. */
export const level = signal(1);

let live = null;
let beating = 0;
let settling = 0;
let isLeaving = false;
let entered = 0;

/** Show the mesh and keep it fresh until `leaveMesh`. */
export function enterMesh({ isNew = false } = {}) {
  leaveMesh();
  offer.value = null;
  nodes.value = null;
  show("mesh", { isNew });
  live = openConnection({ topics: ["mesh.node.*"], onEvent: hear, refresh: look, onOver: over });
  document.addEventListener("visibilitychange", seen);
  window.addEventListener("pageshow", seen);
  window.addEventListener("online", seen);
  seen();
}

/** Stop all that `enterMesh` started; harmless when repeated. */
export function leaveMesh() {
  live?.stop();
  live = null;
  clearInterval(beating);
  clearTimeout(settling);
  document.removeEventListener("visibilitychange", seen);
  window.removeEventListener("pageshow", seen);
  window.removeEventListener("online", seen);
}

/** Read the nodes anew. */
async function look() {
  const answer = await api.get("/api/v1/mesh");
  nodes.value = answer.nodes;
  const here = answer.nodes.find((one) => one.is_current);
  if (here) node.value = { ...node.value, name: here.name };
}

/** Something has changed about a node; about us, perhaps: our level comes with a heartbeat. */
function hear({ topic, data }) {
  if (topic === "mesh.node.updated" && data?.id === device.value.id) beat();
  lookSoon();
}

function lookSoon() {
  clearTimeout(settling);
  settling = setTimeout(() => live?.refresh(), SETTLE_MS);
}

/** Visible, or visible again: beat now and from now on; hidden: don't. */
function seen() {
  clearInterval(beating);
  if (document.hidden || live === null) return;
  beat();
  beating = setInterval(beat, HEARTBEAT_MS);
}

async function beat() {
  const own = live;
  try {
    take(await api.post("/api/node/heartbeat", {}));
  } catch (error) {
    if (error.status === 401 && own === live) over(0, error.code); // else: the view says whether anybody answers
  }
}

/** What the node knows of us. */
function take({ device: row, node: its }) {
  if (its?.name) node.value = { ...node.value, name: its.name };
  if (!row) return;
  level.value = row.trust_level;
  device.value = { ...device.value, id: row.id, name: row.name };
  keepDevice({ id: row.id, name: row.name, pairedWith: node.value.name });
}

/** Call this device something else. Raises the ApiError. */
export async function rename(name) {
  take(await api.post("/api/node/heartbeat", { name }));
  live?.refresh();
}

/** The node wants us no more: because it was told so, because the token ended, or because another page paired anew. */
async function over(code, reason) {
  if (isLeaving || live === null) return;
  leaveMesh();
  if (reason === "bad_origin") {
    show("blocked", { why: reason });
    return;
  }
  if (code !== REVOKED && Date.now() - entered > PATIENCE_MS && (await hasNewCookie())) {
    entered = Date.now();
    enterMesh();
    return;
  }
  if (page.value.name !== "mesh") return; // another invite was opened meanwhile
  forgetPairing();
  show(code === REVOKED ? "revoked" : "unpaired");
}

/** Whether another page of this browser has paired again: its answer may be some moments behind the socket's end. */
async function hasNewCookie() {
  for (const wait of LOOKS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (page.value.name !== "mesh") return false;
    if (await isPaired()) return page.value.name === "mesh";
  }
  return false;
}

/** Whether the node knows our cookie; told by what it tells only to who has one. */
export async function isPaired() {
  try {
    return Array.isArray((await api.get("/api/node/identity")).capabilities);
  } catch {
    return false;
  }
}

/** Revoke ourselves. Raises the ApiError. */
export async function removeItself() {
  isLeaving = true;
  isBusy.value = true;
  try {
    await api.delete("/api/v1/session");
  } catch (error) {
    isBusy.value = false;
    if (error.status !== 401) throw error; // 401: it has happened already
  } finally {
    isLeaving = false;
  }
  leaveMesh();
  dropInvite();
  forgetDevice();
  show("removed");
}
