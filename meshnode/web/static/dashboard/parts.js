/** Small parts that several sections are made of. */
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { describeError } from "/static/api.js";
import { calmNow, now } from "/static/clock.js";
import { caller, say } from "/static/dashboard/store.js";
import { fingerprintGroups, formatAgo, formatCountdown, formatMoment, secondsUntil, sentence } from "/static/format.js";
import { html } from "/static/html.js";
import { Check, Copy, Cross } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

/** A time in words, the exact one on demand. */
export function Ago({ at, words = (ago) => ago }) {
  return html`<time datetime=${at} title=${formatMoment(at)}>${words(formatAgo(at, calmNow.value))}</time>`;
}

/** Time left until a moment, second by second. */
export function Countdown({ at, words }) {
  const seconds = secondsUntil(at, now.value);
  return html`<span role="timer" class=${seconds <= 30 ? "countdown soon" : "countdown"}>${words(formatCountdown(seconds))}</span>`;
}

/** What to say of a node's status, and its dot. */
export function statusOf(node) {
  if (node.is_current) return { dot: "online", words: text.status.online };
  if (node.trust === "revoked") return { dot: "revoked", words: text.revoked };
  if (node.trust === "unconfirmed") return { dot: "stale", words: text.unconfirmed };
  if (node.trust === "announced" || !node.last_seen) return { dot: "offline", words: text.never_seen };
  if (node.status === "online") return { dot: "online", words: text.status.online };
  const words = text.status_reason[node.status_reason] ?? text.status[node.status] ?? node.status;
  return { dot: node.status, words: node.status === "stale" ? text.status.stale : words };
}

/** A node's status: dot, words, and when it was last seen. */
export function Status({ node }) {
  const { dot, words } = statusOf(node);
  const shows_time = node.last_seen && !node.is_current && !(node.status === "online" && node.trust === "paired");
  return html`
    <span class="status">
      <span class=${`dot ${dot}`}></span>
      <span>${words}${shows_time && html`<span class="soft"> · <${Ago} at=${node.last_seen} words=${text.nodes.last} /></span>`}</span>
    </span>`;
}

/** Marks this node, and the device that looks at it. */
export function Mark({ node }) {
  if (node.is_current) return html`<span class="badge accent">${text.this_node}</span>`;
  return node.id === caller.value.node_id ? html`<span class="badge accent">${text.this_device}</span>` : null;
}

/** A fingerprint in groups to read aloud. */
export function Fingerprint({ of }) {
  return html`<span class="fingerprint mono">${fingerprintGroups(of).join(" ")}</span>`;
}

/** A button that copies. */
export function CopyButton({ value, label }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2500);
    return () => clearTimeout(timer);
  }, [copied]);
  async function copy() {
    if (await toClipboard(value)) {
      setCopied(true);
      say(text.copied);
    }
  }
  return html`
    <button type="button" class="button copy" aria-label=${label} onClick=${copy}>
      <${copied ? Check : Copy} /><span>${copied ? text.copied : text.copy}</span>
    </button>`;
}

async function toClipboard(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    return false; // refused: the text stands beside the button, to be selected
  }
}

/** Something empty, and what to do. */
export function Empty({ icon: Icon, title, children }) {
  return html`<div class="card empty"><${Icon} size=${40} /><h2>${title}</h2>${children}</div>`;
}

/** Facts as pairs; those without a value are left out. */
export function Facts({ rows }) {
  return html`<dl class="facts">
    ${rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/** A dialog that takes the focus and gives it back; Escape closes it. */
export function Dialog({ title, onClose, wide, children }) {
  const element = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    dialog.querySelector('[data-focus="true"]')?.focus();
    return () => {
      dialog.close();
      requestAnimationFrame(() => {
        if (before?.isConnected) before.focus();
        else if (document.activeElement === document.body) document.getElementById("main")?.focus();
      });
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`
    <dialog class=${wide ? "dialog wide" : "dialog"} ref=${element} aria-labelledby=${id} onCancel=${cancel}>
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id=${id}>${title}</h2>
          <button type="button" class="button quiet icon" aria-label=${text.close} onClick=${onClose}><${Cross} /></button>
        </div>
        ${children}
      </div>
    </dialog>`;
}

/** Runs one thing at a time: {busy, error, run}; what goes wrong is kept to be shown. */
export function useAction(action) {
  const [state, setState] = useState({ busy: false, error: null });
  const mounted = useRef(true);
  useEffect(() => () => {
    mounted.current = false;
  }, []);
  async function run(...given) {
    if (state.busy) return;
    setState({ busy: true, error: null });
    try {
      await action(...given);
      if (mounted.current) setState({ busy: false, error: null });
    } catch (error) {
      if (mounted.current) setState({ busy: false, error });
    }
  }
  return { ...state, run };
}

/** Text of the node's: a sentence, unless plain; what stands in backticks is typed. */
export function Prose({ of, plain }) {
  return (plain ? of : sentence(of)).split("`").map((part, at) => (at % 2 ? html`<code key=${at}>${part}</code>` : part));
}

/** An error as a person reads it; heard at once. */
export function Problem({ error }) {
  return html`<div class="problem" role="alert">${error && html`<p class="error"><${Prose} of=${describeError(error)} /></p>`}</div>`;
}

/** A button that shows it is at work. */
export function ActionButton({ action, tone = "", type = "button", children, ...more }) {
  return html`
    <button type=${type} class=${`button ${tone}`} aria-disabled=${action.busy} onClick=${type === "submit" ? undefined : () => action.run()} ...${more}>
      ${action.busy && html`<span class="spinner"></span>`}<span>${children}</span>
    </button>`;
}
