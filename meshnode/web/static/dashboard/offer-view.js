/** An offer on screen: QR code, PIN, time left, and live what the other side does. */
import { useEffect, useState } from "preact/hooks";
import { cancelOffer, clearOffer, offer } from "/static/dashboard/offers.js";
import { ActionButton, CopyButton, Countdown, Problem, Prose, useAction } from "/static/dashboard/parts.js";
import { goTo, pathTo } from "/static/dashboard/route.js";
import { nodes } from "/static/dashboard/store.js";
import { formatPin, labelOf } from "/static/format.js";
import { html } from "/static/html.js";
import { Check, Chevron, Clock, Cross, Warning } from "/static/icons.js";
import { text } from "/static/text-dashboard.js";

const words = text.offer;

/** The offer this page has opened; `making` opens another one. */
export function OfferView({ making }) {
  const { dialect, seen } = offer.value;
  const [before] = useState(dialect);
  useEffect(() => () => {
    if (offer.value && offer.value.seen.state !== "open") clearOffer(); // what is over need not wait for us
  }, []);
  return html`
    <a class="back" href=${pathTo("connect")}><${Chevron} />${text.back}</a>
    <h1>${words.title[before]}</h1>
    ${seen.activity.paired
      ? html`<${Paired} activity=${seen.activity} />`
      : seen.state === "open" ? html`<${Open} />` : html`<${Over} making=${making} />`}`;
}

function Open() {
  const { shown, dialect, seen } = offer.value;
  const cancelling = useAction(async () => {
    await cancelOffer();
    goTo("connect");
  });
  return html`
    <div class="card offer">
      ${shown.qr_svg && html`
        <img class="qr offer-qr" alt=${words.qr(words.what[dialect])} src=${`data:image/svg+xml;charset=utf-8,${encodeURIComponent(shown.qr_svg)}`} />`}
      <div class="offer-side">
        ${shown.pin && html`<div><p class="label">${words.pin}</p><p class="pin-shown">${formatPin(shown.pin)}</p></div>`}
        ${!shown.pin && shown.code && html`
          <div><p class="label">${words.code}</p><p class="code-shown mono">${shown.code}</p><${CopyButton} value=${shown.code} label=${words.copy_code} /></div>`}
        <p class="offer-time"><${Clock} /><${Countdown} at=${shown.expires_at} words=${text.time.left} /></p>
        <${Doing} seen=${seen} />
        <ol class="steps">${words.steps[dialect].map((step) => html`<li key=${step}><${Prose} of=${step} plain /></li>`)}</ol>
      </div>
      <div class="offer-foot">
        <div class="offer-lines">
          ${shown.url && html`<${CopyLine} label=${words.link} value=${shown.url} name=${words.copy_link} />`}
          ${dialect === "mesh" && html`<${CopyLine} label=${words.command} value=${`meshnode join '${shown.url}'`} name=${words.copy_command} />`}
        </div>
        <${Problem} error=${cancelling.error} />
        <div class="offer-last">
          ${shown.linking_code && html`<p class="small soft">${words.linking}: <span class="mono">${shown.linking_code}</span></p>`}
          <${ActionButton} action=${cancelling}>${words.cancel}<//>
        </div>
      </div>
    </div>`;
}

function CopyLine({ label, value, name }) {
  return html`
    <div class="field">
      <span class="label small">${label}</span>
      <div class="copy-line"><code class="mono">${value}</code><${CopyButton} value=${value} label=${name} /></div>
    </div>`;
}

/** What happens to it, in one line that keeps its place. */
function Doing({ seen }) {
  const { activity } = seen;
  const who = activity.name || activity.visitor || activity.joiner || (activity.visitor === "" ? words.a_phone : words.somebody);
  let line = html`<span class="spinner"></span><span>${words.waiting}</span>`;
  let tone = "";
  if (activity.wrong) {
    tone = "bad";
    const shut = seen.pin_attempts === 0 ? ` ${words.pin_closed}` : "";
    line = html`<${Warning} /><span>${words.wrong(who, activity.attempts_left)}${shut}</span>`;
  } else if (activity.joiner || activity.visitor !== undefined) {
    tone = "active";
    line = html`<span class="spinner"></span><span>${words.opened(who)}</span>`;
  }
  return html`<p class=${`notice doing ${tone}`} role="status">${line}</p>`;
}

function Paired({ activity }) {
  const node = (nodes.value ?? []).find((one) => one.id === activity.paired);
  const name = node ? labelOf(node) : activity.name;
  return html`
    <div class="card empty done" role="status">
      <span class="done-mark"><${Check} size=${40} /></span>
      <h2>${words.paired_title(name)}</h2>
      <p>${words.paired_body(activity.address)} ${words.was[activity.was] ?? ""}</p>
      <div class="buttons">
        <a class="button primary" href=${pathTo("nodes", activity.paired)}>${words.show(name)}</a>
        <button type="button" class="button" onClick=${() => { clearOffer(); goTo("connect"); }}>${words.another}</button>
      </div>
    </div>`;
}

function Over({ making }) {
  const { dialect, seen } = offer.value;
  const [title, body] = words.over[seen.state] ?? words.over.gone;
  const knows = seen.state === "used" && seen.activity.name;
  return html`
    <div class="card empty" role="status">
      ${seen.state === "used" ? html`<span class="spinner"></span>` : seen.state === "burned" ? html`<${Cross} size=${40} />` : html`<${Clock} size=${40} />`}
      <h2>${knows ? words.knows(seen.activity.name) : title}</h2>
      <p>${body}</p>
      <${Problem} error=${making.error} />
      <div class="buttons">
        <button type="button" class="button primary" onClick=${() => making.run(dialect)}>${words.again}</button>
      </div>
    </div>`;
}
