/** Times, fingerprints, PINs and addresses as people read them. */
import { text } from "/static/text.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

/** How long ago an RFC 3339 time was, in words. */
export function formatAgo(at, nowMs) {
  if (!at) return text.time.never;
  const seconds = Math.max(0, (nowMs - Date.parse(at)) / 1000);
  if (seconds < 20) return text.time.now;
  if (seconds < MINUTE) return text.time.under_minute;
  if (seconds < HOUR) return text.time.minutes(Math.floor(seconds / MINUTE));
  if (seconds < DAY) return text.time.hours(Math.floor(seconds / HOUR));
  if (seconds < 30 * DAY) return text.time.days(Math.floor(seconds / DAY));
  return formatDay(at);
}

/** A date without its time. */
export function formatDay(at) {
  return new Intl.DateTimeFormat(text.locale, { dateStyle: "medium" }).format(new Date(at));
}

/** Date and time. */
export function formatMoment(at) {
  return new Intl.DateTimeFormat(text.locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
}

/** The time of day. */
export function formatClock(at) {
  return new Intl.DateTimeFormat(text.locale, { timeStyle: "short" }).format(new Date(at));
}

/** Whole seconds until an RFC 3339 time, never below zero. */
export function secondsUntil(at, nowMs) {
  return Math.max(0, Math.ceil((Date.parse(at) - nowMs) / 1000));
}

/** 299 → "4:59". */
export function formatCountdown(seconds) {
  return `${Math.floor(seconds / MINUTE)}:${String(seconds % MINUTE).padStart(2, "0")}`;
}

/** "123456" → "123 456". */
export function formatPin(pin) {
  return pin.length === 6 ? `${pin.slice(0, 3)} ${pin.slice(3)}` : pin;
}

/** A fingerprint as its groups of four. */
export function fingerprintGroups(fingerprint) {
  return (fingerprint ?? "").toUpperCase().match(/[A-Z0-9]{4}/g) ?? [];
}

/** HOST:PORT, IPv6 in brackets. */
export function formatHostPort(host, port) {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Where a node is: a thin client listens on no port. */
export function formatAddress(node, host = node.hostname) {
  return node.fingerprint ? formatHostPort(host, node.port) : host;
}

/** What a node is called here. */
export function labelOf(node) {
  return node.alias || node.name;
}

/** The first letter made large: details of errors begin small. */
export function sentence(words) {
  if (!words) return "";
  const begun = words[0].toUpperCase() + words.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
