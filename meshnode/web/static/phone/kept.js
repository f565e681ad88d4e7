/**
 * What the browser keeps: this device's id and name for good (no secret among them), the invite until it is over.
 * A browser that keeps nothing (private windows, blocked storage) gets memory instead.
 */

const OWN = "meshnode.device";
const INVITE = "meshnode.invite";
const ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const memory = new Map();

function read(store, key) {
  try {
    return window[store].getItem(key) ?? memory.get(key) ?? null;
  } catch {
    return memory.get(key) ?? null;
  }
}

function write(store, key, value) {
  memory.set(key, value);
  try {
    window[store].setItem(key, value);
  } catch {
    // memory has it
  }
}

function remove(store, key) {
  memory.delete(key);
  try {
    window[store].removeItem(key);
  } catch {
    // nothing was kept
  }
}

/** `{id, name}`; the id is drawn at the first call, the name may be "". */
export function ownDevice() {
  const kept = keptDevice();
  const name = typeof kept.name === "string" ? kept.name : "";
  if (typeof kept.id === "string" && ID.test(kept.id)) return { id: kept.id, name };
  return draw(name);
}

/** Keep the device's id and name, and with whom it is paired. */
export function keepDevice({ id, name, pairedWith }) {
  write("localStorage", OWN, JSON.stringify({ id, name, pairedWith }));
}

/** A new id, where the node knows the former one as somebody else. */
export const renewId = () => draw(ownDevice().name);

/** Whether this device was paired here, as far as it knows. */
export const wasPaired = () => typeof keptDevice().pairedWith === "string";

/** Others ended it: id and name stay, so that the owner is told who comes back. */
export const forgetPairing = () => keepDevice(ownDevice());

/** It left: nothing of it stays. */
export const forgetDevice = () => remove("localStorage", OWN);

function keptDevice() {
  try {
    return JSON.parse(read("localStorage", OWN)) ?? {};
  } catch {
    return {}; // damaged
  }
}

function draw(name) {
  const fresh = { id: `phone-${randomUuid()}`, name };
  keepDevice(fresh);
  return fresh;
}

/** The invite of this tab, for a reload before it is over. */
export const keptInvite = () => read("sessionStorage", INVITE) ?? "";

/** Keep the invite for a reload. */
export const keepInvite = (fragment) => write("sessionStorage", INVITE, fragment);

/** It is used or void: keep it no longer. */
export const dropInvite = () => remove("sessionStorage", INVITE);

function randomUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID() is missing in older browsers
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
