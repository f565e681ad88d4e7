/** From the address to the first page: read the invite, find the node, look whether this device is paired. */
import { api } from "/static/api.js";
import { describeDevice } from "/static/phone/device.js";
import { hexOfBase64url, parseInvite } from "/static/phone/invite.js";
import { dropInvite, keepInvite, keptInvite, ownDevice, wasPaired } from "/static/phone/kept.js";
import { enterMesh, leaveMesh } from "/static/phone/mesh.js";
import { device, isBusy, node, offer, page, show } from "/static/phone/state.js";

const RETRY_MS = [1000, 2000, 3000, 5000];
const BLOCKED = ["not_local", "bad_origin", "proxy_not_configured"];
const OVER = {
  offer_burned: "burned",
  code_expired: "expired",
  code_used: "used",
  offer_replaced: "replaced",
  offer_closed: "closed",
  code_unknown: "unknown",
};

let run = 0;
let wake = () => {};

/** Begin, and again whenever the address gets another fragment: a second scan doesn't load the page anew. */
export function begin() {
  window.addEventListener("hashchange", () => {
    if (location.hash) open();
  });
  document.addEventListener("visibilitychange", recheck);
  return open();
}

/** Don't wait for the next try. */
export const tryNow = () => wake();

/** Read the address and go where it leads. */
export async function open() {
  const own = (run += 1);
  const invite = takeInvite();
  leaveMesh();
  offer.value = null;
  if (invite.kind === "broken") {
    show("broken");
    return;
  }
  show("opening");
  const described = describeDevice();
  const identity = await untilAnswered(() => api.get("/api/node/identity"), own);
  const described_now = await described;
  if (own !== run || identity === null) return;
  const kept = ownDevice();
  device.value = { ...described_now, ...kept, name: kept.name || described_now.name };
  takeIdentity(identity);
  const isPaired = Array.isArray(identity.capabilities); // told only to who has a token
  if (invite.kind === "node") show("node_invite", { url: `${location.origin}/p#${invite.fragment}`, isPaired });
  else if (invite.kind === "phone") await ask(invite, isPaired, own);
  else if (isPaired) enterMesh();
  else show(wasPaired() ? "unpaired" : "empty");
}

/** The invite in the address, which then no longer shows it; or that of this tab before a reload. */
function takeInvite() {
  const fragment = location.hash;
  if (!fragment) return parseInvite(keptInvite());
  history.replaceState(null, "", location.pathname);
  const invite = parseInvite(fragment);
  if (invite.fragment) keepInvite(invite.fragment);
  else dropInvite();
  return invite;
}

function takeIdentity({ node_id, name, fingerprint, tls_sha256 }) {
  node.value = { id: node_id, name, fingerprint, certificate: hexOfBase64url(tls_sha256) };
}

/** Show the PIN entry, if the offer still stands. */
async function ask(invite, isPaired, own) {
  if (!node.value.certificate.startsWith(invite.cert)) {
    end("blocked", "certificate", isPaired);
    return;
  }
  const opened = await untilAnswered(() => tellOpened(invite.code).catch(refuse), own);
  if (own !== run) return;
  if (opened?.refusal) {
    refused(opened.refusal, isPaired);
    return;
  }
  offer.value = {
    code: invite.code,
    link: invite.link,
    isAgain: isPaired,
    expiresAt: opened?.expires_at ?? null,
    attemptsLeft: opened?.attempts_left ?? null,
  };
  show("asking");
}

/** The node shows its owner that somebody is there, and tells how much time and how many attempts are left. */
const tellOpened = (code) => api.post("/p/opened", { code, name: device.value.name });

/** Whoever comes back to the page sees at once whether the offer still stands. */
async function recheck() {
  const of = offer.value;
  if (document.hidden || page.value.name !== "asking" || isBusy.value) return;
  try {
    const { expires_at, attempts_left } = await tellOpened(of.code);
    if (offer.value === of) offer.value = { ...of, expiresAt: expires_at, attemptsLeft: attempts_left };
  } catch (error) {
    if (offer.value === of && !isBusy.value) refused(error, of.isAgain);
  }
}

/** Of a refusal: what is final is an answer too; only the rest is tried again. */
function refuse(error) {
  if (error.code in OVER || BLOCKED.includes(error.code)) return { refusal: error };
  if (error.status === 0 || error.status >= 500 || error.code === "rate_limited") throw error;
  return null; // it is a courtesy; the PIN can be entered without
}

/** Go to the page that an error stands for; false if it stands for none. */
export function refused(error, isPaired = false) {
  if (error.code in OVER) end("over", OVER[error.code], isPaired);
  else if (BLOCKED.includes(error.code)) show("blocked", { why: error.code });
  else return false;
  return true;
}

/** The offer is over: the invite is kept no longer. */
export function end(name, why, isPaired = false) {
  dropInvite();
  show(name, { why, isPaired });
}

/** What `ask` resolves to, tried again by itself as often as it takes; null if another `open` began meanwhile. */
async function untilAnswered(ask, own) {
  for (let failures = 0; own === run; failures += 1) {
    try {
      return await ask();
    } catch (error) {
      if (own !== run) return null;
      const why = error.status === 404 ? "salita" : BLOCKED.find((code) => code === error.code);
      if (why) {
        show("blocked", { why });
        return null;
      }
      if (page.value.name !== "unreachable") show("unreachable");
      const wait = error.retry_after ? error.retry_after * 1000 : RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
      await pause(wait);
    }
  }
  return null;
}

/** Wait, unless the phone wakes up, gets a network, or the person presses the button. */
export function pause(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", awake);
      window.removeEventListener("online", done);
      wake = () => {};
      resolve();
    };
    const awake = () => document.hidden || done();
    const timer = setTimeout(done, ms);
    document.addEventListener("visibilitychange", awake);
    window.addEventListener("online", done);
    wake = done;
  });
}
