/** English text that both pages use; each page's own is in text-dashboard.js and text-phone.js. */

const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;
const attempts = (n) => (n === 0 ? "No attempts left." : `${count(n, "attempt", "attempts")} left.`);

export const text = {
  locale: "en-GB",
  product: "meshnode",
  count,
  attempts,

  status: { online: "Online", stale: "Not heard lately", offline: "Offline" },
  status_reason: {
    left: "Offline: it was switched off",
    silent: "Offline",
    removed_us: "It has removed this node",
    wrong_node_at_address: "Offline: another node answers at its address",
  },
  never_seen: "Never seen",
  revoked: "Revoked",
  unconfirmed: "Pairing not yet confirmed by the other side",

  kind: {
    desktop: "Computer",
    phone: "Phone",
    server: "Server",
    browser: "Browser",
    other: "Device",
  },

  time: {
    never: "never",
    now: "just now",
    under_minute: "less than a minute ago",
    minutes: (n) => `${count(n, "minute", "minutes")} ago`,
    hours: (n) => `${count(n, "hour", "hours")} ago`,
    days: (n) => (n === 1 ? "yesterday" : `${n} days ago`),
    left: (clock) => `${clock} left`,
  },

  connection: {
    connecting: "Connecting …",
    live: "Live",
    polling: "Updates every five seconds",
    lost: "Not connected",
    over: "Signed out",
  },

  /** By the code of the problem; what is not here says what the node said. */
  errors: {
    unexpected: "Something went wrong in this page. Reload it and try again.",
    no_answer: "The node does not answer. Is it running, and are you on the same network?",
    bad_answer: "The answer made no sense. Is something between this page and the node?",
    bad_pin: (error) =>
      error.attempts_left === null ? "That PIN is wrong." : `That PIN is wrong. ${attempts(error.attempts_left)}`,
    no_open_offer: "That node shows no PIN now. Press “Connect a device” there, or run meshnode pair.",
    code_unknown: "That code is not known here. Ask for a new one.",
    code_used: "That code has been used. Every code works once; ask for a new one.",
    code_expired: "That code has expired. Ask for a new one.",
    offer_burned: "Too many wrong PINs, so that code is closed. Ask for a new one.",
    offer_replaced: "A newer code was made after this one. Use that one.",
    offer_closed: "That code was cancelled. Ask for a new one.",
    locked_out: (error) =>
      `Too many wrong PINs. ${wait(error)} Scanning the QR code or opening the link still works.`,
    rate_limited: (error) => `Too many tries in a short time. ${wait(error)}`,
    pairing_busy: "Somebody else is pairing with that node. Try again in a few seconds.",
    not_local: "Pairing works on the same network only. Join the node’s network and try again.",
    not_permitted: "This device is not allowed to do that.",
    token_required: "This page is not signed in.",
    ticket_unknown: "That link has been used or is older than a minute.",
    token_expired: "This page is no longer signed in.",
    unreachable: "No answer from there. Check that the node is running, and that its firewall lets TCP port 6969 in.",
    certificate_mismatch: "Another machine answered in its place. Make a new code and use its link.",
    disk_full: "The node’s disk is full. Free some space; it goes on by itself then.",
    database_error: "The node cannot write its database. Look at its disk.",
    starting: "The node is starting. Try again in a second.",
  },
};

function wait(error) {
  if (!error.retry_after) return "Wait a little and try again.";
  const seconds = Math.ceil(error.retry_after);
  const words = seconds < 90 ? count(seconds, "second", "seconds") : count(Math.ceil(seconds / 60), "minute", "minutes");
  return `Try again in ${words}.`;
}
