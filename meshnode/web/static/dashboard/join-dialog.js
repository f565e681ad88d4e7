/** Asks the PIN that another node shows, and joins it. */
import { useState } from "preact/hooks";
import { api } from "/static/api.js";
import { ActionButton, Dialog, Problem, useAction } from "/static/dashboard/parts.js";
import { goTo } from "/static/dashboard/route.js";
import { putNode, say } from "/static/dashboard/store.js";
import { labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { text } from "/static/text-dashboard.js";

const words = text.join;
const JOIN_MS = 75000; // the other node may think for a minute

/** With `to` known (nearby, scanned) it asks for the PIN only. */
export function JoinDialog({ name, to: given = "", onClose }) {
  const [to, setTo] = useState(given);
  const [pin, setPin] = useState("");
  const [short, setShort] = useState(false);
  const joining = useAction(async () => {
    const { node, was } = await api.post("/api/v1/pairing/join", { to: to.trim(), pin }, { timeout_ms: JOIN_MS });
    putNode(node);
    say(`${words.done(labelOf(node))} ${words.was[was] ?? ""}`.trim());
    onClose();
    goTo("nodes", node.id);
  });
  const submit = (event) => {
    event.preventDefault();
    setShort(pin.length !== 6);
    if (pin.length === 6 && to.trim()) joining.run();
  };
  const type = (event) => {
    const digits = event.currentTarget.value.replace(/\D/g, "").slice(0, 6);
    event.currentTarget.value = digits.length > 3 ? `${digits.slice(0, 3)} ${digits.slice(3)}` : digits;
    setPin(digits);
    setShort(false);
  };
  return html`
    <${Dialog} title=${name ? words.title(name) : words.title_any} onClose=${onClose}>
      <form class="dialog-body" onSubmit=${submit}>
        <p>${name ? words.lead(name) : words.lead_any}</p>
        ${!name && html`
          <div class="field">
            <label for="join-to">${words.to}</label>
            <input class="input" id="join-to" required maxlength="512" autocomplete="off" autocapitalize="off" spellcheck=${false}
              placeholder=${words.to_hint} data-focus=${!given} value=${to} onInput=${(event) => setTo(event.currentTarget.value)} />
          </div>`}
        <div class="field">
          <label for="join-pin">${words.pin}</label>
          <input class="input pin" id="join-pin" inputmode="numeric" autocomplete="off" maxlength="12" aria-invalid=${short}
            data-focus=${Boolean(given)} onInput=${type} />
        </div>
        <div class="problem" role="alert">${short && html`<p class="error">${words.pin_short}</p>`}</div>
        <${Problem} error=${joining.error} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>${text.cancel}</button>
          <${ActionButton} action=${joining} type="submit" tone="primary">${joining.busy ? words.busy : words.go}<//>
        </div>
      </form>
    <//>`;
}
