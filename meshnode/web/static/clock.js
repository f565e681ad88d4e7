/** The time of the node, as signals that tick only while something shows them. */
import { computed, signal } from "@preact/signals-core";

const SKEW_MIN_MS = 2500; // an HTTP date counts whole seconds
let offsetMs = 0;
let timer = 0;

const tick = () => {
  now.value = Date.now() + offsetMs;
};

/** Milliseconds by the node's clock; changes every second. */
export const now = signal(Date.now(), {
  watched() {
    tick();
    timer = setInterval(tick, 1000);
  },
  unwatched() {
    clearInterval(timer);
  },
});

/** The same in steps of ten seconds, for "3 minutes ago". */
export const calmNow = computed(() => Math.floor(now.value / 10000) * 10000 + 9999);

/** Milliseconds by the node's clock, at this moment. */
export function nodeTime() {
  return Date.now() + offsetMs;
}

/** Take over the node's clock from the Date header of an answer. */
export function learnClock(date) {
  const at = Date.parse(date ?? "");
  if (Number.isNaN(at)) return;
  const seen = at + 500 - Date.now();
  if (Math.abs(seen - offsetMs) > SKEW_MIN_MS) offsetMs = Math.abs(seen) > SKEW_MIN_MS ? seen : 0;
}
