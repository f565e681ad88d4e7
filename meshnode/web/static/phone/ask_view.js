/** The PIN entry: the first thing on the page and the only one that is needed. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { now } from "/static/clock.js";
import { fingerprintGroups, formatCountdown, secondsUntil } from "/static/format.js";
import { html } from "/static/html.js";
import { Chevron, Clock, Warning } from "/static/icons.js";
import { keepDevice } from "/static/phone/kept.js";
import { enterMesh } from "/static/phone/mesh.js";
import { end } from "/static/phone/opening.js";
import { digitsOf, isWholePin, pair, spellPin } from "/static/phone/pairing.js";
import { Sheet } from "/static/phone/parts.js";
import { announcement, device, isBusy, node, nodeName, offer, trouble } from "/static/phone/state.js";
import { describeError } from "/static/api.js";
import { text } from "/static/text-phone.js";

const NAME_MAX = 64;
const WARN_S = 60;
const ATTEMPTS = 3; // as long as none was spent, nobody needs to know

/** The page that asks. */
export function Asking() {
  const [pin, setPin] = useState("");
  const pinField = useRef(null);
  const caret = useRef(null);
  const nameField = useRef(null);
  const wrong = trouble.value;
  const isWaiting = wrong?.kind === "wait";
  useEffect(() => {
    pinField.current.focus();
  }, []);
  useEffect(() => {
    if (["wrongPin", "pinShape", "other"].includes(wrong?.kind)) pinField.current.select();
    if (wrong?.kind === "nameEmpty") nameField.current.focus();
  }, [wrong]);
  useLayoutEffect(() => {
    if (caret.current !== null) pinField.current.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  });

  const type = ({ target }) => {
    const spelled = spellPin(target.value);
    const before = digitsOf(target.value.slice(0, target.selectionStart ?? target.value.length)).length;
    caret.current = Math.min(before > 3 ? before + 1 : before, spelled.length);
    target.value = spelled; // also where the state stays the same and nothing is rendered
    setPin(spelled);
  };
  const paste = (event) => {
    event.preventDefault(); // maxlength would cut what stands around the digits
    const spelled = spellPin(event.clipboardData?.getData("text") ?? "");
    if (spelled) setPin(spelled);
  };
  const submit = (event) => {
    event.preventDefault();
    if (isBusy.value || isWaiting) return;
    const name = device.value.name.trim();
    if (!isWholePin(pin)) {
      trouble.value = { kind: "pinShape" };
      pinField.current.focus();
    } else if (!name) trouble.value = { kind: "nameEmpty" };
    else {
      device.value = { ...device.value, name };
      pinField.current.focus();
      pair(pin);
    }
  };
  const named = ({ target }) => {
    device.value = { ...device.value, name: target.value };
  };
  const isPinWrong = wrong?.kind === "wrongPin" || wrong?.kind === "pinShape";
  const isNameWrong = wrong?.kind === "nameEmpty";
  const left = offer.value?.attemptsLeft ?? ATTEMPTS;
  const isSpent = left < ATTEMPTS && !wrong;

  return html`
    <${Sheet} title=${text.asking.title(nodeName())} takesFocus=${false}>
      <form class="ask" onSubmit=${submit} noValidate>
        <div class="field">
          <div class="label-line">
            <label for="pin">${text.asking.pin}</label>
            <${TimeLeft} />
          </div>
          <input id="pin" class="input pin" ref=${pinField} value=${pin} onInput=${type} onPaste=${paste}
            type="text" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{3} ?[0-9]{3}" maxlength="7"
            enterkeyhint="go" autofocus required spellcheck=${false} readOnly=${isBusy.value}
            aria-invalid=${isPinWrong ? "true" : "false"} aria-describedby=${isNameWrong ? "pin-hint" : "trouble pin-hint"} />
          <p id="pin-hint" class="hint">${text.asking.pinHint}${isSpent && html`${" "}<span class="nowrap">${text.asking.attemptsLeft(left)}</span>`}</p>
        </div>
        <div id="trouble" class="trouble" role="alert">${wrong && !isNameWrong && html`<${Trouble} trouble=${wrong} />`}</div>
        <button class="button primary wide" type="submit" aria-disabled=${isBusy.value || isWaiting ? "true" : "false"}>
          ${isBusy.value ? html`<span class="spinner" aria-hidden="true"></span>${text.asking.submitting}` : text.asking.submit}
        </button>
        <div class="field">
          <label for="device-name">${text.asking.deviceName[device.value.form]}</label>
          <input id="device-name" class="input" ref=${nameField} type="text" maxlength=${NAME_MAX} value=${device.value.name}
            onInput=${named} onChange=${() => keepDevice(device.value)} autocomplete="off" enterkeyhint="go" required
            readOnly=${isBusy.value} aria-invalid=${isNameWrong ? "true" : "false"}
            aria-describedby=${isNameWrong ? "name-trouble" : undefined} />
          ${isNameWrong && html`<p id="name-trouble" class="error" role="alert">${text.errors.nameEmpty}</p>`}
        </div>
      </form>
      ${offer.value?.isAgain && html`
        <div class="notice"><div><p>${text.asking.again}</p>
          <button type="button" class="link" onClick=${() => enterMesh()}>${text.asking.showMesh}</button></div></div>`}
      <${Fingerprint} />
      <${Trust} />
    <//>`;
}

/** Minutes and seconds until the offer expires; then the page for that. */
function TimeLeft() {
  const at = offer.value?.expiresAt;
  const seconds = at ? secondsUntil(at, now.value) : null;
  useEffect(() => {
    if (seconds === WARN_S) announcement.value = text.asking.expiring;
    if (seconds === 0 && !isBusy.value) end("over", "expired", offer.value?.isAgain);
  }, [seconds, isBusy.value]);
  if (seconds === null) return null;
  const time = formatCountdown(seconds);
  return html`<span class=${`time-left ${seconds <= WARN_S ? "soon" : ""}`} role="timer"><${Clock} size=${16} />${text.asking.timeLeft(time)}</span>`;
}

function Trouble({ trouble: { kind, attempts, until, error } }) {
  if (kind === "wait") return html`<${Wait} until=${until} />`;
  const said = {
    pinShape: () => text.errors.pinShape,
    wrongPin: () => text.errors.wrongPin(attempts),
    unreachable: () => text.errors.unreachable(nodeName()),
    stuck: () => text.errors.stuck(nodeName()),
    other: () => text.errors.other(describeError(error)),
  }[kind]();
  return html`<p class="notice bad"><${Warning} />${said}</p>`;
}

/** Counts the waiting time down; then the button works again. */
function Wait({ until }) {
  const seconds = Math.max(0, Math.ceil((until - now.value) / 1000));
  useEffect(() => {
    if (seconds > 0) return;
    trouble.value = null;
    announcement.value = text.errors.waitOver;
  }, [seconds === 0]);
  return html`<p class="notice warn"><${Warning} /><span>${text.errors.wait}${" "}
    <span class="nowrap" aria-live="off">${text.errors.waitUntil(formatCountdown(seconds))}</span></span></p>`;
}

/** Of the node's key, as the node's own screen shows it. */
function Fingerprint() {
  return html`
    <div class="fingerprint">
      <h2>${text.trust.fingerprint(nodeName())}</h2>
      <p class="groups">${fingerprintGroups(node.value.fingerprint).map((group) => html`<span>${group}</span>${" "}`)}</p>
    </div>`;
}

/** Why the browser warned, and what to compare with what. */
function Trust() {
  const { certificate } = node.value;
  const bytes = (certificate.match(/../g) ?? []).map((byte) => byte.toUpperCase());
  return html`
    <details class="trust">
      <summary><${Chevron} size=${18} />${text.trust.summary}</summary>
      <div class="trust-body">
        <p>${text.trust.why(nodeName())}</p>
        <p>${text.trust.how}</p>
        <dl>
          <dt>${text.trust.certificate}</dt>
          <dd class="hash">${bytes.map((byte, at) => html`${at > 0 && html`:<wbr />`}${byte}`)}</dd>
        </dl>
      </div>
    </details>`;
}
