/** The offer this page has opened: made, watched, cancelled. Its PIN lives in memory only. */
import { computed, signal } from "@preact/signals";
import { api } from "/static/api.js";

const WATCH_MS = 2000;

/** {shown: the answer of POST offers, dialect, seen: the answer of GET offers/ID} or null. */
export const offer = signal(null);
export const isOpen = computed(() => offer.value?.seen.state === "open");

let timer = 0;
let turn = 0;

/** Open an offer of a dialect; an earlier one of ours is over then. */
export async function openOffer(dialect) {
  const own = (turn += 1);
  const before = offer.value;
  const shown = await api.post("/api/v1/pairing/offers", { dialect, qr_svg: true });
  if (own !== turn) return; // pressed twice: the later one counts
  if (before && before.dialect !== dialect) closeQuietly(before);
  const seen = { state: "open", expires_at: shown.expires_at, activity: {} };
  offer.value = { shown, dialect, seen };
  clearInterval(timer);
  timer = setInterval(() => {
    if (["open", "used"].includes(offer.value?.seen.state)) watchOffer().catch(() => {});
    else clearInterval(timer);
  }, WATCH_MS);
}

/** Ask the node what has become of it. */
export async function watchOffer() {
  const own = offer.value;
  if (!own || !["open", "used"].includes(own.seen.state) || own.seen.activity.paired) return;
  let seen;
  try {
    seen = await api.get(`/api/v1/pairing/offers/${own.shown.offer_id}`);
  } catch (error) {
    if (error.code !== "offer_closed") throw error;
    seen = { ...own.seen, state: "gone" };
  }
  if (offer.value?.shown === own.shown) offer.value = { ...own, seen };
}

/** Cancel it, and be without one. */
export async function cancelOffer() {
  const own = offer.value;
  if (!own) return;
  await api.delete(`/api/v1/pairing/offers/${own.shown.offer_id}`);
  if (offer.value?.shown === own.shown) clearOffer();
}

/** Be without one; a finished one is only put away. */
export function clearOffer() {
  clearInterval(timer);
  offer.value = null;
}

function closeQuietly(other) {
  if (other.seen.state === "open") api.delete(`/api/v1/pairing/offers/${other.shown.offer_id}`).catch(() => {});
}
