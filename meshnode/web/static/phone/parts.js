/** What the pages are made of: the sheet that takes the focus, sentences with code in them, something to copy. */
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "/static/html.js";
import { Check, Copy } from "/static/icons.js";
import { announcement } from "/static/phone/state.js";
import { text } from "/static/text-phone.js";

/** One page: its heading is focused when it appears, so that it is read out, unless something in it takes the focus. */
export function Sheet({ title, Icon, tone = "", takesFocus = true, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = text.documentTitle(title);
  }, [title]);
  useEffect(() => {
    if (takesFocus) heading.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, []);
  return html`
    <div class="sheet">
      ${Icon && html`<span class=${`sheet-icon ${tone}`}><${Icon} size=${28} /></span>`}
      <h1 tabindex="-1" ref=${heading}>${title}</h1>
      ${children}
    </div>`;
}

/** A sentence whose `backticks` become code. */
export function Said({ children, class: named = "" }) {
  const parts = String(children).split("`");
  return html`<p class=${named}>${parts.map((part, at) => (at % 2 ? html`<code class="inline">${part}</code>` : part))}</p>`;
}

/** A command line, with a button that copies it. */
export function Command({ line, canCopy = true, label = text.nodeInvite.commandLabel }) {
  const [state, setState] = useState("");
  const code = useRef(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(line);
      setState("copied");
      announcement.value = text.nodeInvite.copied;
    } catch {
      getSelection().selectAllChildren(code.current);
      setState("failed");
      announcement.value = text.nodeInvite.copyFailed;
    }
  };
  return html`
    <div class="command">
      <code ref=${code} role="region" tabindex="0" aria-label=${label}>${line}</code>
      ${canCopy && html`
        <button type="button" class="button wide" onClick=${copy}>
          <${state === "copied" ? Check : Copy} />${state === "copied" ? text.nodeInvite.copied : text.nodeInvite.copy}
        </button>`}
      ${state === "failed" && html`<p class="hint">${text.nodeInvite.copyFailed}</p>`}
    </div>`;
}
