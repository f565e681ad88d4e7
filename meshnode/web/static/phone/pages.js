/** Every page but the two with a life of their own: one heading, what happened, what to do. */
import { html } from "/static/html.js";
import { Check, Clock, Cross, Desktop, Phone, Refresh, Warning } from "/static/icons.js";
import { enterMesh } from "/static/phone/mesh.js";
import { open, tryNow } from "/static/phone/opening.js";
import { Command, Said, Sheet } from "/static/phone/parts.js";
import { nodeName, page } from "/static/phone/state.js";
import { text } from "/static/text-phone.js";

/** Looking for the node. */
export const Opening = () => html`
  <${Sheet} title=${text.opening.title} takesFocus=${false}><p class="soft">${text.opening.finding}</p><//>`;

/** No invite, never paired. */
export const Empty = () => html`
  <${Sheet} title=${text.empty.title} Icon=${Phone}>
    <p>${text.empty.what}</p>
    <${Command} line=${text.empty.command} canCopy=${false} />
    <p>${text.empty.then}</p>
  <//>`;

/** A fragment that is none. */
export const Broken = () => html`
  <${Sheet} title=${text.broken.title} Icon=${Warning} tone="warn"><p>${text.broken.what}</p><//>`;

/** An invite for a computer, opened in a browser. */
export const NodeInvite = () => html`
  <${Sheet} title=${text.nodeInvite.title} Icon=${Desktop}>
    <p>${text.nodeInvite.what(nodeName())}</p>
    <p>${text.nodeInvite.how}</p>
    <${Command} line=${text.nodeInvite.command(page.value.url)} />
    <${Said} class="soft small">${text.nodeInvite.phone}<//>
    ${page.value.isPaired && html`<${ShowMesh} />`}
  <//>`;

const OVER_ICONS = { burned: Cross, expired: Clock, used: Check };

/** The offer is used or void. */
export function Over() {
  const { why, isPaired } = page.value;
  return html`
    <${Sheet} title=${text.over[why].title} Icon=${OVER_ICONS[why] ?? Clock} tone=${why === "burned" ? "bad" : "warn"}>
      <p>${text.over[why].what}</p>
      <${Said} class="soft small">${text.over.how}<//>
      ${isPaired && html`<${ShowMesh} />`}
    <//>`;
}

/** Nothing that a PIN could change. */
export const Blocked = () => html`
  <${Sheet} title=${text.blocked[page.value.why].title} Icon=${Warning} tone="bad">
    <${Said}>${text.blocked[page.value.why].what}<//>
    ${page.value.why !== "certificate" && html`
      <button type="button" class="button primary wide" onClick=${open}><${Refresh} />${text.blocked.retry}</button>`}
    ${page.value.isPaired && html`<${ShowMesh} />`}
  <//>`;

/** The node doesn't answer yet. */
export const Unreachable = () => html`
  <${Sheet} title=${text.unreachable.title} Icon=${Warning} tone="warn">
    <p>${text.unreachable.what}</p>
    <p class="trying" role="status"><span class="spinner" aria-hidden="true"></span>${text.unreachable.trying}</p>
    <button type="button" class="button wide" onClick=${tryNow}><${Refresh} />${text.unreachable.retry}</button>
  <//>`;

/** It left by itself. */
export const Removed = () => html`
  <${Sheet} title=${text.removed.title} Icon=${Check} tone="good">
    <p>${text.removed.what(nodeName())}</p>
    <p class="soft">${text.removed.back}</p>
  <//>`;

/** Somebody else ended it while this page was open. */
export const Revoked = () => html`
  <${Sheet} title=${text.revoked.title} Icon=${Cross} tone="bad">
    <p>${text.revoked.what(nodeName())}</p>
    <p>${text.revoked.back}</p>
    <${Said} class="soft small">${text.over.how}<//>
  <//>`;

/** It was paired once. */
export const Unpaired = () => html`
  <${Sheet} title=${text.unpaired.title} Icon=${Phone} tone="warn">
    <p>${text.unpaired.what(nodeName())}</p>
    <p>${text.unpaired.back}</p>
    <${Said} class="soft small">${text.over.how}<//>
  <//>`;

const ShowMesh = () => html`
  <button type="button" class="button wide" onClick=${() => enterMesh()}>${text.over.showMesh}</button>`;
