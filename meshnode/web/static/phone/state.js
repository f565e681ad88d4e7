/** What the phone page knows. Exactly one page is shown; `show` is the only way to another. */
import { signal } from "@preact/signals";
import { ownDevice } from "/static/phone/kept.js";
import { text } from "/static/text-phone.js";

/**
 * opening · empty · broken · node_invite {url} · asking · over {why} · blocked {why} · unreachable · mesh {isNew} ·
 * removed · revoked · unpaired. The rest of the state hangs on these.
 */
export const page = signal({ name: "opening" });

/** The node whose page this is: `{name, fingerprint, certificate (hex), id}`. */
export const node = signal({ name: "", fingerprint: "", certificate: "", id: "" });

/** This device: `{id, name, form, kind, info}`. */
export const device = signal({ ...ownDevice(), form: "phone", kind: "phone", info: {} });

/** The offer being answered: `{code, link, cert, expiresAt, attemptsLeft, isAgain}`; null when there is none. */
export const offer = signal(null);

/** What became of the last try: `{kind, …}` of `text.errors`, or null. */
export const trouble = signal(null);

/** Whether a request that the person asked for is under way. */
export const isBusy = signal(false);

/** Said to screen readers when it changes. */
export const announcement = signal("");

/** The node's name, or words for it. */
export const nodeName = () => node.value.name || text.fallbackNode;

/** Go to another page; what went wrong on the last one is forgotten. */
export function show(name, more = {}) {
  trouble.value = null;
  isBusy.value = false;
  announcement.value = "";
  page.value = { name, ...more };
}
